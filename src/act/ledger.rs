//! What was done and can be put back: paused jobs, lowered priorities. Kept in memory, and in a file that outlives this process.
//!
//! The file is on a filesystem in memory (`/run`), so writing it waits for no disk; it names the boot it belongs to. Several whytops
//! share it: each change reads it anew under a lock. What it says of a process counts only as long as that very process lives, and of
//! a pause only as long as something of the job is stopped: whoever let it go by other means has undone it. What it says is done by
//! this user, root perhaps: so nothing is read or written that another user could have put there.
//!
//! Tested by `tests/act/pause.rs` and `tests/act/deprioritise.rs`.

use std::collections::HashSet;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::autogroup::Autogroup;
use super::cgroup::{self, Group, GroupWeights};
use super::held::kernel_signal;
use super::stat::{Signals, Stat};
use super::weights::Before;
use crate::action::{Deed, Signal, Standing};
use crate::units::{ProcessId, clean};

/// Overrides where the file is, for hosts without `/run`, and for tests.
const PLACE: &str = "WHYTOP_RUNTIME_DIR";

/// What stands, with what is needed to put it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// For people.
    pub standing: Standing,
    /// To put it back.
    #[serde(flatten)]
    pub former: Former,
}

/// How it was before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Former {
    /// When it was changed, in ticks since boot: who was born since inherited the change.
    pub at: u64,
    /// What the threads had.
    pub before: Vec<Before>,
    /// What their control group had.
    pub weights: GroupWeights,
    /// What their sessions had.
    pub sessions: Vec<Autogroup>,
    /// The control groups that were not frozen.
    pub frozen: Vec<Group>,
    /// Who stood still already.
    pub stood: Vec<ProcessId>,
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
    memory: Mutex<Memory>,
}

/// What is known where there is no file, or none that can be written.
#[derive(Debug, Default)]
struct Memory {
    entries: Vec<Entry>,
    /// The file does not say it: the last change could not be written there.
    is_ahead: bool,
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
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        self.known(&memory).into_iter().filter_map(of_now).collect()
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
            match entries.iter_mut().find(|old| is_same(old, &entry)) {
                // What is older is what has to be put back.
                Some(old) => {
                    let (Entry { standing, former }, had) = (entry, &mut old.former);
                    had.before.extend(without(former.before, &had.before));
                    had.sessions.extend(without(former.sessions, &had.sessions));
                    had.frozen.extend(without(former.frozen, &had.frozen));
                    had.stood.extend(without(former.stood, &had.stood));
                    old.standing.processes.extend(without(standing.processes, &old.standing.processes));
                    if had.weights.is_empty() {
                        had.weights = former.weights;
                    }
                }
                None => entries.push(entry),
            }
        })
    }

    /// Strikes out those to whom it was put back. The entry of a job goes with the last of them.
    pub fn strike(&self, job: &str, deed: Deed, whom: &HashSet<ProcessId>) -> io::Result<()> {
        self.change(|entries| {
            entries.retain_mut(|entry| {
                if entry.standing.job != job || entry.standing.deed != deed {
                    return true;
                }
                entry.standing.processes.retain(|(id, _)| !whom.contains(id));
                !entry.standing.processes.is_empty()
            });
        })
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Entry>)) -> io::Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = &self.file else {
            change(&mut memory.entries);
            return Ok(());
        };
        let lock = locked(file);
        let mut entries: Vec<Entry> = self.known(&memory).into_iter().filter_map(of_now).collect();
        change(&mut entries);
        memory.entries.clone_from(&entries);
        let written = lock.and_then(|_lock| write(file, entries));
        memory.is_ahead = written.is_err();
        written
    }

    /// What the file says; and before that, what could not be written there.
    fn known(&self, memory: &Memory) -> Vec<Entry> {
        let Some(mut entries) = self.file.as_deref().and_then(|file| read(file).ok()) else { return memory.entries.clone() };
        if memory.is_ahead {
            let is_newer = |old: &Entry| memory.entries.iter().any(|entry| is_same(entry, old));
            entries.retain(|old| !is_newer(old));
            entries.extend(memory.entries.iter().cloned());
        }
        entries
    }
}

/// Whether they tell of one deed to one job.
fn is_same(one: &Entry, other: &Entry) -> bool {
    one.standing.job == other.standing.job && one.standing.deed == other.standing.deed
}

/// Those that are not known yet.
fn without<T: PartialEq>(all: Vec<T>, known: &[T]) -> Vec<T> {
    all.into_iter().filter(|one| !known.contains(one)).collect()
}

/// Holds others off while the file is changed. They hold it for a moment only.
pub fn locked(file: &Path) -> io::Result<File> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    if !is_ours(&fs::symlink_metadata(folder)?) {
        return Err(io::Error::other(format!("{} is another user's, or open to others", clean(&folder.to_string_lossy()))));
    }
    let lock = File::options().write(true).create(true).truncate(false).mode(0o600).open(folder.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    Ok(lock)
}

fn read(file: &Path) -> io::Result<Vec<Entry>> {
    // A page that makes no sense, or of another boot, says nothing of the processes of now.
    let page: Page = serde_json::from_slice(&read_own(file)?).unwrap_or_default();
    Ok(if page.boot == boot() { page.entries } else { Vec::new() })
}

/// What this user wrote there; nothing, if another one could have.
pub fn read_own(file: &Path) -> io::Result<Vec<u8>> {
    // Neither a link to elsewhere, nor a pipe that nobody writes to.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let mut page = match File::options().read(true).custom_flags(flags).open(file) {
        Ok(page) => page,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let meta = page.metadata()?;
    let folder = file.parent().map(fs::symlink_metadata).transpose()?;
    if !meta.is_file() || !is_ours(&meta) || !folder.is_none_or(|folder| is_ours(&folder)) {
        return Ok(Vec::new());
    }
    let mut text = Vec::new();
    page.read_to_end(&mut text)?;
    Ok(text)
}

/// Nobody else could have written there.
fn is_ours(meta: &Metadata) -> bool {
    meta.uid() == geteuid().as_raw() && meta.mode() & 0o022 == 0 && !meta.is_symlink()
}

fn write(file: &Path, entries: Vec<Entry>) -> io::Result<()> {
    write_own(file, &serde_json::to_vec(&Page { boot: boot(), entries })?)
}

/// In one stroke: a reader sees the old page or the new one.
pub fn write_own(file: &Path, page: &[u8]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    File::options().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?.write_all(page)?;
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
        is_paused = is_paused || stat.as_ref().is_some_and(|stat| stat.is_stopped() || is_frozen(*id) || is_to_stop(*id));
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

/// It stops as soon as its system call returns, or it gets a CPU.
fn is_to_stop(id: ProcessId) -> bool {
    let stop = kernel_signal(Signal::Stop).as_raw();
    Signals::read(&format!("/proc/{}", id.pid)).is_some_and(|signals| signals.is_pending(stop))
}

fn is_frozen(id: ProcessId) -> bool {
    cgroup::root().and_then(|root| Group::of(&[id.pid], &root)).is_some_and(|group| group.frozen().is_some())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A page of this boot with one entry, which stands: nobody has to be alive for the text to be read.
    fn page() -> Vec<u8> {
        let standing = serde_json::json!({ "job": "cron:7", "name": "nightly.sh", "by": "", "deed": "paused", "processes": [[{ "pid": 1, "start": 1 }, "x"]] });
        serde_json::to_vec(&serde_json::json!({ "boot": boot(), "entries": [standing] })).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn no_page_makes_it_panic(at: prop::sample::Index, less in 0..6_usize, bytes in prop::collection::vec(any::<u8>(), 0..6), any in prop::collection::vec(any::<u8>(), 0..60)) {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("ledger");
            let mut changed = page();
            let at = at.index(changed.len());
            let end = (at + less).min(changed.len());
            changed.splice(at..end, bytes);
            for page in [changed, any] {
                fs::write(&file, page).unwrap();
                let _ = Ledger::at(Some(file.clone())).entries();
            }
        }
    }
}
