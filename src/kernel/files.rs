//! Opening, keeping and reading the small files of processes.
//!
//! A file that is kept open and read again costs a quarter of one that is opened each time (2.3 against 10.1 µs,
//! measured), but it costs the kernel 6 kB, so how many are kept is bounded. Reads bytes only: what they mean is for `parse`.
//! Tested through [`crate::kernel::Reader`].

use std::{fmt::Write, os::fd::OwnedFd};

use rustix::{
    fs::{Mode, OFlags, RawDir, SeekFrom, openat, readlinkat_raw, seek},
    io::{Errno, pread},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

use super::{
    parse::{self, SchedStat, Stat},
    root::ProcRoot,
    watched::Progress,
};
use crate::units::Pid;

/// Descriptors left to the rest of whytop: terminal, recordings, the identity readers, children it starts.
const SPARE: u64 = 256;
/// Most files kept open: 6 kB of kernel memory each make 100 MB at the very most, on a host of as many tasks.
const KEPT_MAX: u64 = 16_384;
/// Room for the largest file read here in one go; a `stat` line has at most a kilobyte.
const BUFFER: usize = 4096;
/// Room for directory entries, a thousand or so for each call.
const ENTRIES: usize = 32 * 1024;
/// Room for the entries of as many descriptors, the directory itself and its parent: the kernel makes an inode for each that it lists.
const FEW_ENTRIES: usize = 24 * (DESCRIPTORS + 2);

/// Most descriptors listed in one go.
pub(super) const DESCRIPTORS: usize = 64;

/// Whose files: a process (and its first task), or one thread of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Process(Pid),
    Thread(Pid, Pid),
}

/// A `schedstat` file, kept open where that is worth something.
pub(super) type Kept = Option<OwnedFd>;

/// Reads files below one proc root.
pub(super) struct Files {
    root: ProcRoot,
    path: String,
    buffer: Vec<u8>,
    entries: Vec<u8>,
    kept: usize,
    bound: usize,
    progress: Progress,
    reads: u32,
    /// Processes that must not be looked at, by number: whoever did got stuck.
    shunned: Vec<Pid>,
}

impl Files {
    pub fn new(root: ProcRoot) -> Self {
        // A regular file goes on to be readable when its directory is gone: there only a fresh open tells.
        let bound = if root.is_procfs() { raise_descriptor_limit() } else { 0 };
        Self {
            root,
            path: String::new(),
            buffer: vec![0; BUFFER],
            entries: Vec::with_capacity(ENTRIES),
            kept: 0,
            bound,
            progress: Progress::default(),
            reads: 0,
            shunned: Vec::new(),
        }
    }

    /// Where it is told what is being read.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Processes that must not be looked at.
    pub fn shunned(&self) -> &[Pid] {
        &self.shunned
    }

    /// Leaves these processes out.
    pub fn shun(&mut self, pids: &[Pid]) {
        self.shunned.extend_from_slice(pids);
        self.shunned.sort_unstable();
        self.shunned.dedup();
    }

    /// Whether it is left out.
    pub fn is_shunned(&self, pid: Pid) -> bool {
        self.shunned.binary_search(&pid).is_ok()
    }

    /// Leaves out everybody whose first task is in uninterruptible sleep.
    pub fn shun_uninterruptible(&mut self) {
        let mut pids = Vec::new();
        // Where nothing can be listed nobody will be looked at either.
        let _ = self.list_processes(&mut pids);
        pids.retain(|pid| self.is_uninterruptible(*pid));
        self.shun(&pids);
    }

    /// Looks whether those left out may be looked at again: they have ended, or go on. True if any may.
    pub fn reconsider(&mut self) -> bool {
        let before = std::mem::take(&mut self.shunned);
        let after: Vec<Pid> = before.iter().copied().filter(|pid| self.is_uninterruptible(*pid)).collect();
        let fewer = after.len() < before.len();
        self.shunned = after;
        fewer
    }

    /// By `status`, which answers also where `stat` does not.
    fn is_uninterruptible(&mut self, pid: Pid) -> bool {
        let status = self.read(Place::Process(pid), "status");
        status.is_ok_and(|status| status.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"State:\tD")))
    }

    /// Says how many kept files there really are; the ones closed since are free again.
    pub fn recount(&mut self, kept: usize) {
        self.kept = kept;
    }

    /// The processes there are, by directory name.
    pub fn list_processes(&mut self, pids: &mut Vec<Pid>) -> Result<(), Errno> {
        self.path.clear();
        self.path.push('.');
        self.list(pids)
    }

    /// The threads of a process.
    pub fn list_threads(&mut self, pid: Pid, tids: &mut Vec<Pid>) -> Result<(), Errno> {
        self.path.clear();
        let _ = write!(self.path, "{pid}/task");
        self.list(tids)
    }

    fn list(&mut self, numbers: &mut Vec<Pid>) -> Result<(), Errno> {
        numbers.clear();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(self.root.dir(), self.path.as_str(), flags, Mode::empty())?;
        let mut entries = RawDir::new(dir, self.entries.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            numbers.extend(parse::pid(entry?.file_name().to_bytes()).filter(|pid| *pid > 0));
        }
        Ok(())
    }

    /// The descriptors of a process from this number on, not more than [`DESCRIPTORS`].
    pub fn list_descriptors(&mut self, pid: Pid, from: u32, fds: &mut Vec<u32>) -> Result<(), Errno> {
        fds.clear();
        let listed = self.list_descriptors_into(pid, from, fds);
        self.progress.end();
        listed
    }

    fn list_descriptors_into(&mut self, pid: Pid, from: u32, fds: &mut Vec<u32>) -> Result<(), Errno> {
        let dir = self.open_with(Place::Process(pid), "fd", OFlags::DIRECTORY)?;
        // An entry's place in this directory is its number behind `.` and `..` (fs/proc/fd.c); in no other.
        if from > 0 && self.root.is_procfs() {
            seek(&dir, SeekFrom::Start(u64::from(from) + 2))?;
        }
        let mut entries = RawDir::new(dir, &mut self.entries.spare_capacity_mut()[..FEW_ENTRIES]);
        while fds.len() < DESCRIPTORS
            && let Some(entry) = entries.next()
        {
            let number = parse::number(entry?.file_name().to_bytes()).and_then(|number| u32::try_from(number).ok());
            fds.extend(number.filter(|fd| *fd >= from));
        }
        Ok(())
    }

    /// Where one of a task's links leads, without going there.
    pub fn read_link(&mut self, place: Place, name: &str) -> Result<&[u8], Errno> {
        self.locate(place, name)?;
        let length = readlinkat_raw(self.root.dir(), self.path.as_str(), &mut self.buffer[..]);
        self.progress.end();
        Ok(&self.buffer[..length?])
    }

    /// A task's `schedstat`. A kept descriptor whose task is gone is dropped, and the number tried once more.
    pub fn schedstat(&mut self, place: Place, kept: &mut Kept) -> Option<SchedStat> {
        if let Some(file) = kept {
            match pread(&*file, &mut self.buffer[..], 0) {
                Ok(length) => return parse::schedstat(&self.buffer[..length]),
                Err(_) => *kept = None,
            }
        }
        let file = self.open(place, "schedstat").ok()?;
        let length = pread(&file, &mut self.buffer[..], 0);
        self.progress.end();
        let length = length.ok()?;
        if self.kept < self.bound {
            self.kept += 1;
            *kept = Some(file);
        }
        parse::schedstat(&self.buffer[..length])
    }

    /// A task's `stat`: an error if the task is gone, `None` if the line makes no sense.
    pub fn stat(&mut self, place: Place) -> Result<Option<Stat<'_>>, Errno> {
        self.read(place, "stat").map(parse::stat)
    }

    /// Opens, reads and closes one file of a task.
    pub fn read(&mut self, place: Place, name: &str) -> Result<&[u8], Errno> {
        let file = self.open(place, name)?;
        let length = pread(&file, &mut self.buffer[..], 0);
        self.progress.end();
        Ok(&self.buffer[..length?])
    }

    fn open(&mut self, place: Place, name: &str) -> Result<OwnedFd, Errno> {
        self.open_with(place, name, OFlags::empty())
    }

    fn open_with(&mut self, place: Place, name: &str, more: OFlags) -> Result<OwnedFd, Errno> {
        self.locate(place, name)?;
        let opened = openat(self.root.dir(), self.path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC | more, Mode::empty());
        if opened.is_err() {
            self.progress.end();
        }
        opened
    }

    /// Says where a file of a task is, and that it is being looked at; whoever calls this says when that is over.
    fn locate(&mut self, place: Place, name: &str) -> Result<(), Errno> {
        self.path.clear();
        let _ = match place {
            Place::Process(pid) => write!(self.path, "{pid}/{name}"),
            Place::Thread(pid, tid) => write!(self.path, "{pid}/task/{tid}/{name}"),
        };
        let pid = match place {
            Place::Process(pid) | Place::Thread(pid, _) => pid,
        };
        if self.is_shunned(pid) {
            return Err(Errno::ACCESS);
        }
        self.reads = self.reads.wrapping_add(1);
        self.progress.begin(self.reads, pid);
        Ok(())
    }
}

/// Raises the soft limit of open files to the hard one and says how many files may be kept, beside those that readers which got stuck
/// still keep.
fn raise_descriptor_limit() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let limit = if raised.is_ok() { maximum } else { current };
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    // No limit at all is `None`.
    limit.unwrap_or(u64::MAX).saturating_sub(SPARE).min(KEPT_MAX).saturating_sub(open) as usize
}
