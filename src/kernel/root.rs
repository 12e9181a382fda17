//! The proc tree that is read: the host's own `/proc`, another mount of it, or a made-up one.
//!
//! Defines [`ProcRoot`], which has looked once that the tree is one. Reads no process. Tested in place.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, fstatfs, openat, readlinkat};

/// An open proc tree. Cheap to clone: the copies share one directory descriptor.
#[derive(Clone, Debug)]
pub struct ProcRoot {
    path: PathBuf,
    dir: Arc<OwnedFd>,
    live: bool,
    procfs: bool,
    sys: Option<Arc<Path>>,
}

impl ProcRoot {
    /// Opens `path` and looks whether it is a proc tree, so that a wrong `--proc` is one clear line and no empty screen.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let wrong = |what: &str| format!("{} is no proc file system: {what} (give --proc a mounted proc)", path.display());
        let read = |name: &str| fs::read(path.join(name)).map_err(|_| wrong(&format!("it has no readable {name}")));
        let stat = read("stat").map_err(anyhow::Error::msg)?;
        if !stat.starts_with(b"cpu ") {
            bail!(wrong("its stat does not begin with a cpu line"));
        }
        for name in ["loadavg", "uptime"] {
            read(name).map_err(anyhow::Error::msg)?;
        }
        let dir = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .with_context(|| format!("open {}", path.display()))?;
        let procfs = fstatfs(&dir).is_ok_and(|stat| stat.f_type == PROC_SUPER_MAGIC);
        // In a PID namespace that has no proc of its own, this one is another namespace's: processes have other numbers there.
        let knows_us =
            || readlinkat(&dir, "self", Vec::new()).is_ok_and(|own| own.to_bytes() == std::process::id().to_string().as_bytes());
        let live = procfs && fs::canonicalize(path).is_ok_and(|path| path == Path::new("/proc")) && knows_us();
        let sys = live.then(|| Path::new("/sys").into());
        Ok(Self { path: path.to_owned(), dir: Arc::new(dir), live, procfs, sys })
    }

    /// The same with a sys tree that belongs to it. Without one, only the host's own has one.
    #[must_use]
    pub fn with_sys(self, path: &Path) -> Self {
        Self { sys: Some(path.into()), ..self }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the `/proc` of the host and PID namespace that whytop itself runs in.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether a kernel answers here. Only then does a descriptor stand for one process, whatever becomes of its number.
    pub(super) fn is_procfs(&self) -> bool {
        self.procfs
    }

    /// The sys tree that belongs to it. `None`: not known.
    pub(super) fn sys(&self) -> Option<&Path> {
        self.sys.as_deref()
    }

    /// The directory itself, to open files below it.
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.dir
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_proc_is_live() {
        let root = ProcRoot::open(Path::new("/proc")).unwrap();
        assert!(root.is_live() && root.is_procfs());
        assert!(ProcRoot::open(Path::new("/proc/")).unwrap().is_live());
    }

    #[test]
    fn another_directory_is_refused_in_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let error = |dir: &Path| format!("{:#}", ProcRoot::open(dir).unwrap_err());
        let path = dir.path().display();
        let hint = "(give --proc a mounted proc)";
        assert_eq!(error(dir.path()), format!("{path} is no proc file system: it has no readable stat {hint}"));
        fs::write(dir.path().join("stat"), "intr 1\n").unwrap();
        assert_eq!(error(dir.path()), format!("{path} is no proc file system: its stat does not begin with a cpu line {hint}"));
        fs::write(dir.path().join("stat"), "cpu  1 2 3 4\n").unwrap();
        assert_eq!(error(dir.path()), format!("{path} is no proc file system: it has no readable loadavg {hint}"));
        for name in ["loadavg", "uptime"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert!(!ProcRoot::open(dir.path()).unwrap().is_live());
    }
}
