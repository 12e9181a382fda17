//! The way from a path to its disk: mounts and block devices, read off the sampling path.
//!
//! A mount table is read under a lock that a mount in progress holds for as long as its server is silent, and devices may be slow to
//! answer: so a thread reads, and the sampler asks and collects without waiting. Asks at the first sample, when the mount table
//! or the disks changed, and for mounts of other namespaces that an open file is on. Opens, stats and asks no mount point, ever.
//!
//! [`StorageReader`] decides when to ask, `worker` has the thread, `mountinfo` and `block` the files. Tested in place and by
//! `tests/storage.rs`.

mod block;
mod mountinfo;
mod worker;

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use compact_str::CompactString;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags, openat},
};

use self::worker::{Request, Shared};
use super::root::ProcRoot;
use crate::{
    sample::{Disk, FileRef, Gap, Storage},
    units::Pid,
};

/// Tables are read at most this often, however often something is mounted: some hosts start containers all the time.
const SPACING: Duration = Duration::from_secs(3);
/// A mount that is not in the own table is asked for again only after this long: its number may belong to another by then.
const WANTED: Duration = Duration::from_secs(30);
/// Most mounts that are remembered as asked for.
const WANTED_MAX: usize = 1024;
/// Mount tables of the host, below the proc root: of this process where the tree is the host's own, else of the first process.
const OWN: &str = "self/mountinfo";
const FIRST: &str = "1/mountinfo";

/// Keeps mounts and block devices up to date.
pub(super) struct StorageReader {
    shared: Arc<Shared>,
    /// The mount table, open to be told of changes.
    watched: Option<OwnedFd>,
    disks: Vec<CompactString>,
    due: bool,
    asked: Option<Instant>,
    /// Mounts of the own table, in order of their numbers.
    own: Vec<u32>,
    wanted: HashMap<(Pid, u32), Instant>,
}

impl StorageReader {
    /// Starts the thread and begins to watch the mount table. Opening one takes no lock; only reading does.
    pub fn new(root: &ProcRoot) -> anyhow::Result<Self> {
        let open = |name: &str| openat(root.dir(), name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        let names: &[&'static str] = if root.is_live() { &[OWN] } else { &[FIRST, OWN] };
        let (table, watched) = names.iter().find_map(|name| Some((*name, open(name)?))).unzip();
        Ok(Self {
            shared: Shared::start(root, table).context("start a thread that reads mounts")?,
            watched,
            disks: Vec::new(),
            due: true,
            asked: None,
            own: Vec::new(),
            wanted: HashMap::new(),
        })
    }

    /// Asks for what changed, and gives what came. `files`: who has which file open, for the mounts of other namespaces.
    pub fn update<'a>(
        &mut self,
        disks: &[Disk],
        files: impl Iterator<Item = (Pid, &'a FileRef)>,
        gaps: &mut Vec<Gap>,
    ) -> Option<Arc<Storage>> {
        let storage = self.shared.collect(gaps);
        if let Some(storage) = &storage {
            self.own = storage.mounts.iter().map(|mount| mount.id).collect();
            self.own.sort_unstable();
        }
        self.due |= self.watched.as_ref().is_some_and(is_changed);
        if !self.disks.iter().eq(disks.iter().map(|disk| &disk.name)) {
            self.disks = disks.iter().map(|disk| disk.name.clone()).collect();
            self.due = true;
        }
        // The one clock of this module: it only spaces questions, no number in a sample comes from it.
        let now = Instant::now();
        let mut request = Request::default();
        if self.due && self.asked.is_none_or(|asked| now.duration_since(asked) >= SPACING) {
            self.due = false;
            self.asked = Some(now);
            request.tables = true;
        }
        for (pid, file) in files {
            let Some(id) = file.mount.filter(|id| self.own.binary_search(id).is_err()) else { continue };
            if self.wanted.len() >= WANTED_MAX {
                self.wanted.retain(|_, asked| now.duration_since(*asked) < WANTED);
            }
            let asked = self.wanted.get(&(pid, id));
            if self.wanted.len() < WANTED_MAX && asked.is_none_or(|asked| now.duration_since(*asked) >= WANTED) {
                self.wanted.insert((pid, id), now);
                request.wanted.insert((pid, id));
            }
        }
        self.shared.ask(request);
        storage
    }

    /// Waits until nothing is on its way that may still come, or until the deadline is over.
    pub fn settle(&self, deadline: Duration) {
        self.shared.settle(deadline);
    }
}

impl Drop for StorageReader {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// Whether something was mounted or unmounted since the last call (`proc(5)`, `/proc/PID/mounts`). Does not wait.
fn is_changed(table: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(table, PollFlags::PRI)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok_and(|_| polled[0].revents().intersects(PollFlags::PRI | PollFlags::ERR))
}
