//! What was done and can be put back: paused jobs, lowered priorities. Kept in memory, and in a file that outlives this process.
//!
//! The file is on a filesystem in memory (`/run`), so writing it waits for no disk; it names the boot it belongs to. Several whytops
//! share it: each change reads it anew under a lock. What it says of a process counts only as long as that very process lives, and of
//! a pause only as long as something of the job is stopped: whoever let it go by other means has undone it.
//!
//! Tested by `tests/act/pause.rs` and `tests/act/deprioritise.rs`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::cgroup::{self, Group, GroupWeights};
use super::stat::Stat;
use super::weights::Before;
use crate::action::{Deed, Standing};
use crate::units::{ProcessId, clean};

/// Overrides where the file is, for hosts without `/run`, and for tests.
const PLACE: &str = "WHYTOP_RUNTIME_DIR";

/// What stands, with what is needed to put it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// For people.
    pub standing: Standing,
    /// What the threads had before.
    #[serde(default)]
    pub before: Vec<Before>,
    /// What their control group had before.
    #[serde(default)]
    pub weights: GroupWeights,
}

#[derive(Default, Serialize, Deserialize)]
struct Page {
    boot: String,
    entries: Vec<Entry>,
}

/// The ledger of this user.
#[derive(Debug)]
pub struct Ledger {
    file: Option<PathBuf>,
    /// What is known where there is no file.
    memory: Mutex<Vec<Entry>>,
}

/// Where this user's ledger is. `None`: there is no place in memory for it.
pub fn place() -> Option<PathBuf> {
    let below = |folder: &str| std::env::var_os(folder).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || {
        if geteuid().is_root() {
            Some(PathBuf::from("/run/whytop"))
        } else {
            below("XDG_RUNTIME_DIR").map(|folder| folder.join("whytop"))
        }
    };
    below(PLACE).or_else(usual).map(|folder| folder.join("standing.json"))
}

impl Ledger {
    /// The ledger in this file.
    pub fn at(file: Option<PathBuf>) -> Self {
        Self { file, memory: Mutex::default() }
    }

    /// What still stands.
    pub fn entries(&self) -> Vec<Entry> {
        let memory = || self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let entries = self.file.as_deref().and_then(|file| read(file).ok()).unwrap_or_else(memory);
        entries.into_iter().filter_map(of_now).collect()
    }

    /// The same, for people.
    pub fn standing(&self) -> Vec<Standing> {
        self.entries().into_iter().map(|entry| entry.standing).collect()
    }

    /// What stands for this job.
    pub fn of(&self, job: &str) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.standing.job == job).collect()
    }

    /// Adds an entry, or takes the one of the same job and deed further. An error: it is remembered by this process only.
    pub fn add(&self, entry: Entry) -> io::Result<()> {
        self.change(|entries| {
            let same = |old: &&mut Entry| old.standing.job == entry.standing.job && old.standing.deed == entry.standing.deed;
            match entries.iter_mut().find(same) {
                // What is older is what has to be put back.
                Some(old) => {
                    let fresh = entry.before.into_iter().filter(|before| !old.before.contains(before));
                    old.before.extend(fresh.collect::<Vec<_>>());
                    old.standing.processes = entry.standing.processes;
                    if old.weights.is_empty() {
                        old.weights = entry.weights;
                    }
                }
                None => entries.push(entry),
            }
        })
    }

    /// Strikes out what was put back.
    pub fn strike(&self, job: &str, deed: Deed) -> io::Result<()> {
        self.change(|entries| entries.retain(|entry| entry.standing.job != job || entry.standing.deed != deed))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> io::Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &self.file else {
            change(&mut memory);
            return Ok(());
        };
        let lock = locked(file);
        let known = read(file).unwrap_or_else(|_| memory.clone());
        let mut entries: Vec<Entry> = known.into_iter().filter_map(of_now).collect();
        change(&mut entries);
        memory.clone_from(&entries);
        lock.and_then(|_lock| write(file, entries))
    }
}

/// Holds others off while the file is changed. They hold it for a moment only.
fn locked(file: &Path) -> io::Result<File> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

fn read(file: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    // A page that makes no sense, or of another boot, says nothing of the processes of now.
    let page: Page = serde_json::from_slice(&text).unwrap_or_default();
    Ok(if page.boot == boot() { page.entries } else { Vec::new() })
}

/// In one stroke: a reader sees the old page or the new one.
fn write(file: &Path, entries: Vec<Entry>) -> io::Result<()> {
    let fresh = file.with_extension("new");
    let page = serde_json::to_vec(&Page { boot: boot(), entries })?;
    File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?.write_all(&page)?;
    fs::rename(fresh, file)
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// The entry as of now: without those who have ended. `None`: nothing of it stands.
fn of_now(mut entry: Entry) -> Option<Entry> {
    let living = |id: ProcessId| Stat::read(id.pid).ok().flatten().filter(|stat| stat.id == id && !stat.has_ended());
    let mut is_paused = false;
    entry.standing.processes.retain(|(id, _)| {
        let stat = living(*id);
        is_paused |= stat.as_ref().is_some_and(|stat| stat.is_stopped() || is_frozen(*id));
        stat.is_some()
    });
    // Written by this user, and still text that came from elsewhere once.
    entry.standing.name = clean(&entry.standing.name);
    entry.standing.by = clean(&entry.standing.by);
    for (_, name) in &mut entry.standing.processes {
        *name = clean(name);
    }
    let stands = match entry.standing.deed {
        Deed::Paused => is_paused,
        Deed::Deprioritised => !entry.standing.processes.is_empty(),
    };
    stands.then_some(entry)
}

fn is_frozen(id: ProcessId) -> bool {
    cgroup::root().and_then(|root| Group::of(&[id.pid], &root)).is_some_and(|group| group.is_frozen())
}
