//! Loading in a process of its own, so that the memory it takes goes with it.
//!
//! aya takes in all of the kernel's types before it does anything: 20 MB in small pieces, which a process that had them does not
//! get rid of again. So a child loads the programs and pins them into a BPF file system that is mounted nowhere and that it was
//! given as its standard input; whytop keeps that directory and opens an iterator there as it opens any file. Nothing is left behind:
//! the directory goes with its last descriptor, and the programs with it. Tested by `tests/tiers.rs`.

use std::{
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use aya::programs::links::FdLink;
use rustix::{
    event::{PollFd, PollFlags, poll},
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen},
    process::{Pid, PidfdFlags, Signal, pidfd_open, set_parent_process_death_signal},
    time::Timespec,
};

use super::{
    LOADING,
    iterator::{self, OBJECT, PROGRAMS},
};

/// The subcommand under which whytop loads the programs for another whytop.
const LOAD: &str = "load-iterator";

/// Has this program, which is whytop, load the iterator. Gives the directory that holds it.
pub(super) fn load(program: &Path) -> anyhow::Result<OwnedFd> {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).context("open a BPF file system")?;
    fsconfig_create(&context).context("make a BPF file system")?;
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let directory = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags).context("mount a BPF file system")?;
    let mut child = Command::new(program)
        .arg(LOAD)
        .stdin(directory.try_clone().context("copy a descriptor")?)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", program.display()))?;
    if !ends(&child).context("wait for the loader")? {
        // Not waited for: it may be stuck for good.
        let _ = child.kill();
        bail!("the loader has not ended within {} s", LOADING.as_secs());
    }
    let output = child.wait_with_output().context("wait for the loader")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("the loader said nothing"));
    }
    Ok(directory)
}

/// Waits until it has ended, as long as loading may take. Whether it has.
fn ends(child: &Child) -> rustix::io::Result<bool> {
    let handle = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let patience = Timespec::try_from(LOADING).ok();
    Ok(poll(&mut [PollFd::new(&handle, PollFlags::IN)], patience.as_ref())? > 0)
}

/// Loads the iterator and pins it into the directory that is this process's standard input.
pub fn serve() -> anyhow::Result<()> {
    // Whoever wanted it has no use for it any more.
    set_parent_process_death_signal(Some(Signal::KILL)).context("be ended with whytop")?;
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
