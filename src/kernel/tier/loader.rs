//! Loading in a process of its own, so that the memory it takes goes with it.
//!
//! aya takes in all of the kernel's types before it does anything: 20 MB in small pieces, which a process that had them does not
//! get rid of again. So a child loads the programs and pins them into a BPF file system that is mounted nowhere and that it was
//! given as its standard input; whytop keeps that directory and opens an iterator there as it opens any file. Nothing is left behind:
//! the directory goes with its last descriptor, and the programs with it. Tested by `tests/tiers.rs`.

use std::{
    os::fd::OwnedFd,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use aya::programs::links::FdLink;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::iterator::{self, OBJECT, PROGRAMS};

/// The subcommand under which whytop loads the programs for another whytop.
const LOAD: &str = "load-iterator";

/// Has this program, which is whytop, load the iterator. Gives the directory that holds it.
pub(super) fn load(program: &Path) -> anyhow::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).context("open a BPF file system")?;
    fsconfig_create(&context).context("make a BPF file system")?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let directory = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).context("mount a BPF file system")?;
    let output = Command::new(program)
        .arg(LOAD)
        .stdin(directory.try_clone().context("copy a descriptor")?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("start {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("the loader said nothing"));
    }
    Ok(directory)
}

/// Loads the iterator and pins it into the directory that is this process's standard input.
pub fn serve() -> anyhow::Result<()> {
    let mut ebpf = iterator::open(OBJECT)?;
    let mut pin = |name: &str| {
        let link = FdLink::try_from(iterator::link(&mut ebpf, name)?).context("take the iterator's link")?;
        link.pin(format!("/proc/self/fd/0/{name}")).map(drop).with_context(|| format!("pin the iterator {name}"))
    };
    let [tasks, stuck] = PROGRAMS;
    pin(tasks)?;
    // Needs a younger kernel, and whoever opens it finds out.
    let _ = pin(stuck);
    Ok(())
}
