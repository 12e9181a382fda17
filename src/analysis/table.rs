//! The table of processes: samples (changes) folded into the full picture of now, and what each change used up.
//!
//! Pure. A counter that went back or that grew by more than can be, and the past of a process that was there before whytop looked, are
//! unknown and add nothing; a process born since the last sample brings all it used. Tested by `tests/scenarios.rs` and
//! `tests/kernel/mistaken.rs`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::analysis::diagnosis::{Member, Stuck};
use crate::analysis::jobs::{Standing, shape, subsystem};
use crate::analysis::kind::{self, Catalogue};
use crate::analysis::memory::Holding;
use crate::analysis::name::display_name;
use crate::analysis::since::{Look, Spells};
use crate::sample::{Identity, IoBytes, OpenFile, Process, Sample, Storage, Task, TaskState};
use crate::units::{Nanos, Pid, ProcessId, SECOND, TaskId, clean};

/// A task's time may be brought up to date this late: a CPU without a tick of its own (`nohz_full`) does so once a second. More time in
/// one interval than the interval and this is another task's: a thread that calls exec takes its first thread's place, and brings its
/// own count (`a_thread_that_calls_exec_brings_its_own_count`).
const BELATED: Nanos = SECOND;
/// Who holds the memory is known for this long after the last look.
const MEMORY_KNOWN: Nanos = 10 * SECOND;

/// So many bytes further a file stands that grows, from one look to the next, seconds later: a log does not get there.
const GROWS: u64 = 1 << 20;

/// Every process of the host, as of the newest sample.
#[derive(Debug, Default)]
pub struct Table {
    /// In boxes: a map this large moves house now and then, and is half empty after that.
    entries: FxHashMap<Pid, Box<Entry>>,
    /// Processes with tasks that count in the load.
    restless: FxHashSet<Pid>,
    /// Processes whose first task is stopped or has ended.
    halted: FxHashSet<Pid>,
    /// Tasks in uninterruptible sleep, and what is known of when that began.
    spells: Spells,
    structure: u64,
    before: Option<Nanos>,
    /// When somebody last looked who holds the memory.
    weighed: Option<Nanos>,
    /// What ended children had moved: when their parent reaps them the kernel adds it to the parent's own count
    /// (`kernel/exit.c`, `wait_task_zombie`), although it was seen already, in the children's. Kept for this sample and the next,
    /// because the parent may have been read before the child was reaped.
    inherited: HashMap<ProcessId, (IoBytes, u8)>,
    /// What is known of programs.
    catalogue: Arc<Catalogue>,
    storage: Arc<Storage>,
}

/// One process.
#[derive(Debug)]
pub struct Entry {
    /// Its newest counters.
    pub process: Process,
    /// Who it is, once that is known.
    pub identity: Option<Arc<Identity>>,
    /// The same for people: cleaned, and shared with every diagnosis.
    pub member: Arc<Member>,
    /// Its tasks, in order of their numbers.
    pub tasks: Vec<Task>,
    /// Its open files. `None`: nobody looked.
    pub files: Option<Files>,
    /// Memory in use. `None`: nobody looked.
    pub resident: Option<Box<Holding>>,
    /// How it stands among jobs.
    pub standing: Standing,
    /// How strongly it alone says that a backup is at work, 0 to 1 (`kind::backup_strength`).
    pub strength: f64,
}

/// Types of file systems whose files are on another host's disk.
const AWAY: [&str; 14] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "davfs",
    "9p",
    "afs",
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.davfs2",
    "fuse.curlftpfs",
];

/// A process's open files, by what they are open for.
#[derive(Debug, Default)]
pub struct Files {
    /// All of them.
    pub all: Vec<OpenFile>,
    /// Paths of those that are only read.
    pub reading: Vec<String>,
    /// Paths of those that are written.
    pub writing: Vec<String>,
    /// Those of them that lie on another host's disk, with what is mounted there.
    pub away: Vec<String>,
    /// Those of them that were written further since the look before, in order: an archive that grows.
    pub growing: Vec<String>,
}

/// What a process used up between two samples, and how its tasks stood at the second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Used {
    /// CPU time.
    pub cpu: Nanos,
    /// Time runnable without a CPU. `None`: the kernel does not say.
    pub run_delay: Option<Nanos>,
    /// Bytes from block devices. `None`: hidden.
    pub read: Option<u64>,
    /// Bytes towards block devices. `None`: hidden.
    pub written: Option<u64>,
    /// A counter went back, or grew by more than can be: what it used is not known, or not all.
    pub lost: bool,
    /// The task that waited for a CPU most, and for how long.
    pub hungriest: Option<(Pid, Nanos)>,
    /// Tasks runnable at the second sample.
    pub runnable: u32,
    /// Tasks in uninterruptible sleep at the second sample.
    pub stuck: u32,
}

impl Table {
    /// An empty one, for whoever knows this of programs.
    pub fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, ..Self::default() }
    }

    /// What is known of programs.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Folds one sample in; answers what each process used since the one before. Processes that did nothing are left out.
    pub fn apply(&mut self, sample: &Sample, ticks_per_second: u64) -> HashMap<ProcessId, Used> {
        let mut used: HashMap<ProcessId, Used> = HashMap::new();
        let before = self.before;
        let tick = SECOND / ticks_per_second.max(1);
        let newborn = |start: u64| before.is_some_and(|before| start.saturating_mul(tick) >= before);
        // A task may be read at the end of this sample that was read at the beginning of the one before.
        let most = before
            .map(|before| sample.since_boot.saturating_sub(before).saturating_add(sample.cost.sampling).saturating_add(BELATED));
        self.inherited.retain(|_, (_, samples)| {
            *samples -= 1;
            *samples > 0
        });
        if sample.keyframe {
            let tasks: HashSet<TaskId> = sample.tasks.iter().map(|task| task.id).collect();
            for entry in self.entries.values_mut() {
                entry.tasks.retain(|task| tasks.contains(&task.id));
            }
            let present: HashSet<ProcessId> = sample.processes.iter().map(|p| p.id).collect();
            let gone: Vec<Pid> =
                self.entries.values().map(|entry| entry.process.id).filter(|id| !present.contains(id)).map(|id| id.pid).collect();
            for pid in gone {
                self.bequeath(pid);
                self.entries.remove(&pid);
                self.structure += 1;
            }
        }
        for id in &sample.gone_processes {
            if self.entries.get(&id.pid).is_some_and(|entry| entry.process.id == *id) {
                self.bequeath(id.pid);
                self.entries.remove(&id.pid);
                self.structure += 1;
            }
        }
        for process in &sample.processes {
            let entry = self.entries.get_mut(&process.id.pid).filter(|entry| entry.process.id == process.id);
            let moved = match &entry {
                Some(entry) => moved_bytes(entry.process.io, process.io).map(|moved| match self.inherited.get_mut(&process.id) {
                    Some((inherited, _)) => without(moved, inherited),
                    None => moved,
                }),
                None if newborn(process.id.start) => process.io,
                None => None,
            };
            if let Some(moved) = moved {
                let used = used.entry(process.id).or_default();
                (used.read, used.written) = (Some(moved.read), Some(moved.written));
            } else if entry.as_ref().is_some_and(|entry| entry.process.io.is_some() && process.io.is_some()) {
                used.entry(process.id).or_default().lost = true;
            }
            if let Some(entry) = entry {
                let restructured = structure_of(&entry.process) != structure_of(process);
                self.structure += u64::from(restructured);
                let renamed = restructured || entry.process.comm != process.comm || entry.process.tty != process.tty;
                entry.process = process.clone();
                if renamed {
                    entry.describe();
                }
            } else {
                self.structure += 1;
                self.entries.insert(process.id.pid, Box::new(Entry::new(process)));
            }
        }
        for tasks in sample.tasks.chunk_by(|one, other| one.pid == other.pid) {
            let Some(entry) = tasks.first().and_then(|task| self.entries.get_mut(&task.pid)) else { continue };
            let known = entry.tasks.len();
            for task in tasks {
                let at = entry.tasks[..known].binary_search_by_key(&task.id.tid, |old| old.id.tid).ok();
                let (cpu, run_delay) = match at.map(|at| &entry.tasks[at]).filter(|old| old.id == task.id) {
                    Some(old) => {
                        let cpu = task.cpu.checked_sub(old.cpu).filter(|cpu| most.is_none_or(|most| *cpu <= most));
                        let delay = task.run_delay.zip(old.run_delay).and_then(|(new, old)| new.checked_sub(old));
                        (cpu, delay.filter(|_| cpu.is_some()))
                    }
                    None if newborn(task.id.start) => (Some(task.cpu), task.run_delay),
                    None => (None, None),
                };
                let lost = cpu.is_none() && at.is_some_and(|at| entry.tasks[at].id == task.id);
                if lost || cpu.is_some() || run_delay.is_some() {
                    let used = used.entry(entry.process.id).or_default();
                    used.lost |= lost;
                    used.cpu = used.cpu.saturating_add(cpu.unwrap_or_default());
                    // Of equals the one with the lowest number, in whatever order they come.
                    let hunger = run_delay.filter(|delay| *delay > 0).map(|delay| (delay, std::cmp::Reverse(task.id.tid)));
                    let most = used.hungriest.map(|(tid, delay)| (delay, std::cmp::Reverse(tid)));
                    used.hungriest = most.max(hunger).map(|(delay, std::cmp::Reverse(tid))| (tid, delay));
                    used.run_delay = match (used.run_delay, run_delay) {
                        (None, None) => None,
                        (a, b) => Some(a.unwrap_or_default().saturating_add(b.unwrap_or_default())),
                    };
                }
                if task.state == TaskState::Uninterruptible {
                    // It was woken and fell asleep again if it ran meanwhile; otherwise it sleeps on.
                    let old = at.map(|at| &entry.tasks[at]).filter(|old| old.id == task.id);
                    let sleeps_on = |old: &Task| old.state == task.state && cpu == Some(0);
                    let after = old.filter(|old| !sleeps_on(old)).and(before);
                    self.spells.note(task, sample.since_boot, after, task.id.start.saturating_mul(tick));
                } else {
                    self.spells.end(task.id);
                }
                match at {
                    // Or a thread id that was reused inside the process: the old one is gone.
                    Some(at) => entry.tasks[at] = task.clone(),
                    None => entry.tasks.push(task.clone()),
                }
            }
            if entry.tasks.len() > known {
                entry.tasks.sort_unstable_by_key(|task| task.id.tid);
            }
        }
        let mut gone = sample.gone_tasks.clone();
        gone.sort_unstable();
        for gone in gone.chunk_by(|one, other| one.pid == other.pid) {
            if let Some(entry) = gone.first().and_then(|task| self.entries.get_mut(&task.pid)) {
                entry.tasks.retain(|task| gone.binary_search_by_key(&task.id, |gone| gone.id).is_err());
            }
        }
        for (id, identity) in &sample.identities {
            if let Some(entry) = self.entries.get_mut(&id.pid).filter(|entry| entry.process.id == *id) {
                entry.identity = Some(Arc::clone(identity));
                entry.describe();
                self.structure += 1;
            }
        }
        if let Some(storage) = &sample.storage {
            self.storage = Arc::clone(storage);
        }
        for (id, files) in &sample.open_files {
            let Some(entry) = self.entries.get_mut(&id.pid).filter(|entry| entry.process.id == *id) else { continue };
            let paths = |writing: bool| {
                let those = files.iter().filter(|file| file.writing == writing);
                those.map(|file| file.file.path.clone()).collect()
            };
            let away = files.iter().filter(|file| file.writing).filter_map(|file| away(&self.storage, file)).collect();
            let growing = growing(entry.files.as_ref().map(|files| files.all.as_slice()).unwrap_or_default(), files);
            entry.files = Some(Files { reading: paths(false), writing: paths(true), away, growing, all: files.clone() });
        }
        for (id, resident) in &sample.resident {
            self.weighed = Some(sample.since_boot);
            if let Some(entry) = self.entries.get_mut(&id.pid).filter(|entry| entry.process.id == *id) {
                let start = id.start.saturating_mul(tick);
                let first = || Holding::first(*resident, sample.since_boot, start);
                let holding = entry.resident.as_ref().map_or_else(first, |known| known.then(*resident, sample.since_boot));
                entry.resident = Some(Box::new(holding));
            }
        }
        for pid in sample
            .processes
            .iter()
            .map(|process| process.id.pid)
            .chain(sample.identities.iter().map(|(id, _)| id.pid))
            .chain(sample.open_files.iter().map(|(id, _)| id.pid))
        {
            if let Some(entry) = self.entries.get_mut(&pid) {
                entry.strength = kind::backup_strength(&shape(entry), &self.catalogue);
            }
        }
        self.restless.extend(sample.tasks.iter().filter(|task| task.state.counts_in_load()).map(|task| task.pid));
        let entries = &self.entries;
        self.restless.retain(|pid| {
            let Some(entry) = entries.get(pid) else { return false };
            let stands = |state| entry.tasks.iter().filter(|task| task.state == state).count() as u32;
            let (runnable, stuck) = (stands(TaskState::Runnable), stands(TaskState::Uninterruptible));
            if runnable + stuck > 0 {
                let used = used.entry(entry.process.id).or_default();
                (used.runnable, used.stuck) = (runnable, stuck);
            }
            runnable + stuck > 0
        });
        let halts = |task: &&Task| task.id.tid == task.pid && matches!(task.state, TaskState::Stopped | TaskState::Dead);
        self.halted.extend(sample.tasks.iter().filter(halts).map(|task| task.pid));
        self.halted.retain(|pid| entries.get(pid).is_some_and(|entry| entry.tasks.iter().any(|task| halts(&task))));
        let is_there = |pid: Pid, id| entries.get(&pid).is_some_and(|entry| entry.task(id).is_some());
        let look = Look { now: sample.since_boot, before, clocks: &sample.clocks, awake: &sample.awake };
        self.spells.settle(look, is_there);
        self.before = Some(sample.since_boot);
        used
    }

    /// Notes what this process, which is gone, leaves to its parent's count.
    fn bequeath(&mut self, pid: Pid) {
        let Some(child) = self.entries.get(&pid) else { return };
        let (Some(io), Some(parent)) = (child.process.io, self.entries.get(&child.process.parent)) else { return };
        let (sum, samples) = self.inherited.entry(parent.process.id).or_default();
        *samples = 2;
        sum.read = sum.read.saturating_add(io.read);
        sum.written = sum.written.saturating_add(io.written);
        sum.read_any = sum.read_any.saturating_add(io.read_any);
        sum.written_any = sum.written_any.saturating_add(io.written_any);
    }

    /// Whether files of this host may be on another one's disk.
    pub fn has_files_away(&self) -> bool {
        self.storage.mounts.iter().any(|mount| AWAY.contains(&mount.kind.as_str()))
    }

    /// The process that has this number now.
    pub fn get(&self, pid: Pid) -> Option<&Entry> {
        self.entries.get(&pid).map(AsRef::as_ref)
    }

    /// All processes, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().map(AsRef::as_ref)
    }

    /// Every task in uninterruptible sleep, with its process.
    pub fn stuck(&self) -> impl Iterator<Item = (ProcessId, &Task)> {
        self.restless().flat_map(|entry| {
            let stuck = entry.tasks.iter().filter(|task| task.state == TaskState::Uninterruptible);
            stuck.map(|task| (entry.process.id, task))
        })
    }

    /// For how long this task, which is in uninterruptible sleep, has been so at the newest sample.
    pub fn stuck_for(&self, task: &Task) -> Option<Stuck> {
        self.spells.length(task.id, self.before?)
    }

    /// Whether what is known of memory was looked up lately. While memory is short somebody looks at each sample.
    pub fn knows_memory(&self) -> bool {
        self.before.zip(self.weighed).is_some_and(|(now, weighed)| now.saturating_sub(weighed) < MEMORY_KNOWN)
    }

    /// Processes with tasks that are runnable or in uninterruptible sleep, in no order.
    pub fn restless(&self) -> impl Iterator<Item = &Entry> {
        self.restless.iter().filter_map(|pid| self.get(*pid))
    }

    /// Processes whose first task is stopped or has ended, with its state.
    pub fn halted(&self) -> impl Iterator<Item = (ProcessId, TaskState)> {
        let state = |entry: &Entry| entry.tasks.iter().find(|task| task.id.tid == task.pid).map(|task| task.state);
        self.halted.iter().filter_map(|pid| self.get(*pid)).filter_map(move |entry| Some((entry.process.id, state(entry)?)))
    }

    /// A number that changes whenever jobs may have to be put together anew: somebody came, went, took another name or parent.
    pub fn structure(&self) -> u64 {
        self.structure
    }
}

impl Entry {
    fn new(process: &Process) -> Self {
        let member = Arc::new(member(process, None));
        let standing = Standing::of(process, None);
        Self {
            process: process.clone(),
            identity: None,
            member,
            tasks: Vec::with_capacity(1),
            files: None,
            resident: None,
            standing,
            strength: 0.0,
        }
    }

    /// Whether it is a client that runs a command in a container.
    pub fn executes_elsewhere(&self) -> bool {
        self.standing.client
    }

    fn task(&self, id: TaskId) -> Option<&Task> {
        let at = self.tasks.binary_search_by_key(&id.tid, |task| task.id.tid).ok()?;
        self.tasks.get(at).filter(|task| task.id == id)
    }

    /// Works out anew what depends on its name and identity.
    fn describe(&mut self) {
        let fresh = member(&self.process, self.identity.as_deref());
        if *self.member != fresh {
            self.member = Arc::new(fresh);
        }
        self.standing = Standing::of(&self.process, self.identity.as_deref());
    }
}

/// What a job's boundaries depend on. A kernel worker takes another name with each piece of work; only its subsystem counts.
fn structure_of(process: &Process) -> (Pid, Pid, Pid, &str, bool, bool) {
    let name = if process.kernel_thread { subsystem(&process.comm) } else { process.comm.as_str() };
    (process.parent, process.group, process.session, name, process.forked_only, process.hides_io())
}

/// Bytes between two readings; `None` where either is hidden or the counter went back.
fn moved_bytes(old: Option<IoBytes>, new: Option<IoBytes>) -> Option<IoBytes> {
    let (old, new) = old.zip(new)?;
    Some(IoBytes {
        read: new.read.checked_sub(old.read)?,
        written: new.written.checked_sub(old.written)?,
        read_any: new.read_any.checked_sub(old.read_any)?,
        written_any: new.written_any.checked_sub(old.written_any)?,
    })
}

/// What was moved less what was inherited; takes off the inheritance what it explained.
fn without(moved: IoBytes, inherited: &mut IoBytes) -> IoBytes {
    let take = |moved: u64, inherited: &mut u64| {
        let explained = moved.min(*inherited);
        *inherited -= explained;
        moved - explained
    };
    IoBytes {
        read: take(moved.read, &mut inherited.read),
        written: take(moved.written, &mut inherited.written),
        read_any: take(moved.read_any, &mut inherited.read_any),
        written_any: take(moved.written_any, &mut inherited.written_any),
    }
}

/// A file on another host's disk, with what is mounted there: `/mnt/n/site.tar (nas:/export)`.
fn away(storage: &Storage, file: &OpenFile) -> Option<String> {
    let mount = file.file.mount.and_then(|id| storage.mount(id))?;
    AWAY.contains(&mount.kind.as_str()).then(|| format!("{} ({})", file.file.path, mount.source))
}

/// Paths of files that are written and stand further now than at the look before.
fn growing(before: &[OpenFile], now: &[OpenFile]) -> Vec<String> {
    let same = |one: &OpenFile, other: &OpenFile| one.fd == other.fd && one.file.path == other.file.path;
    let grows = |file: &&OpenFile| {
        let old = before.iter().find(|old| same(old, file)).and_then(|old| old.position);
        file.writing && old.zip(file.position).is_some_and(|(old, new)| new.saturating_sub(old) >= GROWS)
    };
    now.iter().filter(grows).map(|file| file.file.path.clone()).collect()
}

/// The facts for people, made harmless.
fn member(process: &Process, identity: Option<&Identity>) -> Member {
    let argv = identity.map(|identity| identity.argv.as_slice()).unwrap_or_default();
    let name = display_name(&process.comm, argv);
    let command = if argv.is_empty() { format!("[{}]", process.comm) } else { argv.join(" ") };
    let user = identity.and_then(|identity| match (&identity.user, identity.uid) {
        (Some(name), _) => Some(clean(name).into()),
        (None, Some(uid)) => Some(uid.to_string().into()),
        (None, None) => None,
    });
    Member {
        id: process.id,
        parent: process.parent,
        name: clean(&name).into(),
        command: clean(&command),
        user,
        kernel_thread: process.kernel_thread,
    }
}
