//! One known process and its tasks: what was read of them last, and how to see with the least reads what changed.
//!
//! The order of reads matters. `schedstat` comes before `stat` and before the list of threads: whatever a task did after
//! its `schedstat` was read, it must have run for, and the next look sees that. What changed is told by `apply`, of a task and of
//! a process, whoever read it: files here, the kernel's iterator in `take`. Tested through [`crate::kernel::Reader`].

use compact_str::CompactString;
use rustix::io::Errno;

use super::{
    files::{Files, Kept, Place},
    parse::{SchedStat, Stat},
    tier::record::{Moved, Record},
};
use crate::{
    sample::{GoneTask, IoBytes, Process, Task, TaskState},
    units::{Nanos, Pid, ProcessId, SECOND, TaskId},
};

/// A task that slept through more looks than this is not searched for on the run queue.
const QUEUED_LOOKS: u8 = 16;

/// A task, as it was at the last look.
pub(super) struct Watched {
    pub task: Task,
    /// It has to be in the next sample.
    pub dirty: bool,
    pub turn: Turn,
    /// The pass in which was looked up last where it was stuck; 0: none.
    pub looked_up: u32,
    /// It is stuck, and this user may not see where.
    pub wait_denied: bool,
    pub file: Kept,
    /// What it moved itself, where the kernel's iterator said so.
    pub moved: Option<Moved>,
    /// The CPU it ran on last, as its `stat` said. `None`: that was not read, or does not say.
    pub cpu: Option<u32>,
    sched: Option<SchedStat>,
    /// Looks since it ran, as far as they go.
    idle: u8,
}

/// Whether it is a task's turn to be looked up where it is stuck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Turn {
    /// It was stuck at a look that had no room for it, and has not run since.
    PassedOver,
    /// It is stuck, and where has not been looked up since it last ran.
    Due,
    /// It is not stuck, or that was looked up.
    Over,
}

/// What a look at a task showed.
enum Look {
    /// It did not run and was not in a state that changes without running.
    Same,
    /// It may have changed: its `stat` says how.
    Due(Option<SchedStat>),
}

/// What a look at a process showed.
pub(super) enum Visit {
    /// It goes on; whether any of its tasks ran.
    Alive { ran: bool },
    /// It is gone.
    Gone,
    /// Its number belongs to another process now.
    Reused,
}

/// A process, as it was at the last look.
pub(super) struct Known {
    pub process: Process,
    pub leader: Watched,
    /// Its other tasks.
    pub others: Vec<Watched>,
    pub dirty: bool,
    /// Its I/O is hidden from this user.
    pub io_denied: bool,
    /// The last pass that found it.
    pub pass: u64,
    /// Its control group of version 2, as the kernel's iterator says. `None`: that was not asked.
    pub cgroup: Option<u64>,
    threads: u32,
}

/// Reused room and facts for looking at processes.
pub(super) struct Looker {
    pub files: Files,
    pub tick: Nanos,
    /// Tasks were started since the pass before, or just before that.
    pub unsettled: bool,
    pub tids: Vec<Pid>,
}

impl Looker {
    pub fn new(files: Files, ticks_per_second: u64) -> Self {
        Self { files, tick: SECOND / ticks_per_second.max(1), unsettled: true, tids: Vec::new() }
    }
}

impl Watched {
    /// Begins to watch a task; `None` if it is gone already or its line makes no sense.
    fn admit(looker: &mut Looker, pid: Pid, tid: Pid) -> Option<Self> {
        let place = Place::Thread(pid, tid);
        let mut file = None;
        let sched = looker.files.schedstat(place, &mut file);
        let stat = looker.files.stat(place).ok().flatten()?;
        Some(Self::new(pid, tid, &stat, looker.tick, sched, file))
    }

    fn new(pid: Pid, tid: Pid, stat: &Stat<'_>, tick: Nanos, sched: Option<SchedStat>, file: Kept) -> Self {
        let id = TaskId { tid, start: stat.start };
        let task = Task { id, pid, state: stat.state, cpu: 0, run_delay: None, wait: None };
        let mut watched = Self {
            task,
            dirty: true,
            turn: Turn::Over,
            looked_up: 0,
            wait_denied: false,
            file,
            moved: None,
            cpu: stat.cpu,
            sched: None,
            idle: 0,
        };
        watched.apply(stat.state, stat.ticks.saturating_mul(tick), sched);
        watched
    }

    /// Begins to watch a task that the kernel's iterator found.
    pub fn found(record: Record<'_>, tick: Nanos) -> Self {
        let stat = record.stat(&[], tick);
        Self { moved: record.moved(), ..Self::new(record.tgid(), record.tid(), &stat, tick, record.sched(), None) }
    }

    /// Takes over what the iterator says of it; true if it ran since.
    pub fn take(&mut self, record: Record<'_>) -> bool {
        self.moved = record.moved();
        self.apply(record.state(), 0, record.sched())
    }

    /// Whether it ran since the last look, as the iterator says.
    pub fn ran_since(&self, record: Record<'_>) -> bool {
        record.sched() != self.sched
    }

    fn look(&mut self, looker: &mut Looker, place: Place) -> Look {
        let sched = looker.files.schedstat(place, &mut self.file);
        // Runnable and stuck tasks change state without running: taken off the queue, or woken and still queued.
        let restless = matches!(self.task.state, TaskState::Runnable | TaskState::Uninterruptible);
        if sched.is_some() && sched == self.sched && !restless {
            self.idle = self.idle.saturating_add(1);
            Look::Same
        } else {
            Look::Due(sched)
        }
    }

    /// Takes over what was read; true if the task ran since, as far as this kernel lets one see.
    fn apply(&mut self, state: TaskState, ticks: Nanos, sched: Option<SchedStat>) -> bool {
        let ran = sched.is_none() || sched != self.sched;
        self.sched = sched;
        self.idle = 0;
        let stuck = state == TaskState::Uninterruptible;
        self.turn = match self.turn {
            _ if !stuck => Turn::Over,
            turn if !ran && (turn != Turn::Over || self.task.wait.is_some()) => turn,
            _ => Turn::Due,
        };
        let next = Task {
            state,
            cpu: sched.map_or(ticks, |sched| sched.run),
            run_delay: sched.map(|sched| sched.delay),
            wait: self.task.wait.take().filter(|_| stuck),
            ..self.task
        };
        self.wait_denied &= stuck;
        // A wait taken out above was in the last sample: its loss is a change, and comes with a change of state.
        self.dirty |= (next.state, next.cpu, next.run_delay) != (self.task.state, self.task.cpu, self.task.run_delay);
        self.task = next;
        ran
    }

    /// Whether it slept at the last look and was not read at this one, but ran not long ago.
    fn may_be_queued(&self) -> bool {
        self.task.state == TaskState::Sleeping && (1..=QUEUED_LOOKS).contains(&self.idle)
    }

    /// Whether it ran since the look before, or woke.
    pub fn ran_lately(&self) -> bool {
        self.idle == 0
    }

    /// Whether it ran although the kernel says it never did: then the kernel keeps no such numbers.
    pub fn lacks_run_delay(&self) -> bool {
        self.task.run_delay.is_none() && self.task.cpu > 0
    }
}

impl Known {
    /// Begins to watch a process; `None` if it is gone already or its line makes no sense.
    pub fn admit(looker: &mut Looker, pid: Pid, pass: u64) -> Option<Self> {
        let mut file = None;
        let sched = looker.files.schedstat(Place::Process(pid), &mut file);
        let tick = looker.tick;
        let stat = looker.files.stat(Place::Process(pid)).ok().flatten()?;
        let leader = Watched::new(pid, pid, &stat, tick, sched, file);
        let mut known = Self::new(leader, &stat, pass);
        if known.threads > 1 {
            known.list_threads(looker, &mut Vec::new());
        }
        if known.leader.sched.is_none()
            && let Some(ticks) = known.leader_ticks(looker)
        {
            known.leader.task.cpu = ticks;
        }
        known.settle_zombie();
        known.read_io(looker);
        Some(known)
    }

    fn new(leader: Watched, stat: &Stat<'_>, pass: u64) -> Self {
        let id = ProcessId { pid: leader.task.id.tid, start: leader.task.id.start };
        let process = described(id, stat, false, None);
        Self { process, leader, others: Vec::new(), dirty: true, io_denied: false, pass, cgroup: None, threads: stat.threads }
    }

    /// Begins to watch a process that the kernel's iterator found. The name may be longer than the iterator's.
    pub fn found(record: Record<'_>, comm: &[u8], tick: Nanos, pass: u64) -> Self {
        let known = Self::new(Watched::found(record, tick), &record.stat(comm, tick), pass);
        Self { cgroup: Some(record.cgroup()), ..known }
    }

    /// Takes over what the iterator says of it and its first task; true if that one ran since.
    pub fn take(&mut self, record: Record<'_>, comm: &[u8], tick: Nanos) -> bool {
        self.threads = record.threads();
        self.apply(&record.stat(comm, tick));
        self.leader.take(record)
    }

    /// Takes the I/O of the process for the sum of its tasks'. While threads come and go one may be counted twice, here and
    /// among those that ended, or not at all: then the kernel's own sum is read.
    pub fn sum_io(&mut self, looker: &mut Looker, churned: bool) {
        if self.tasks() != self.threads as usize || (churned && self.tasks() > 1) {
            return self.read_io(looker);
        }
        // A kernel without an account of I/O has none for any task.
        let sum = self.watched().try_fold(Moved::default(), |sum, watched| Some(sum.with(watched.moved?)));
        self.io_denied = false;
        self.set_io(sum.map(Moved::settled));
    }

    /// Forgets those of its other tasks that are named, in order of their numbers.
    pub fn lose(&mut self, ended: &[TaskId], gone: &mut Vec<GoneTask>) {
        let pid = self.process.id.pid;
        self.others.retain(|thread| {
            let id = thread.task.id;
            let stays = ended.binary_search(&id).is_err();
            if !stays {
                gone.push(GoneTask { pid, id });
            }
            stays
        });
    }

    /// Looks what became of it.
    pub fn visit(&mut self, looker: &mut Looker, pass: u64, gone: &mut Vec<GoneTask>) -> Visit {
        let pid = self.process.id.pid;
        let place = Place::Process(pid);
        let mut ran = false;
        if let Look::Due(sched) = self.leader.look(looker, place) {
            let tick = looker.tick;
            match looker.files.stat(place) {
                // Hidden or unreadable all of a sudden (hidepid): as it was, until the directory says it is gone.
                Err(Errno::NOENT | Errno::SRCH) => return Visit::Gone,
                Err(_) | Ok(None) => {}
                Ok(Some(stat)) if stat.start != self.process.id.start => return Visit::Reused,
                Ok(Some(stat)) => {
                    let (state, ticks) = (stat.state, stat.ticks.saturating_mul(tick));
                    self.leader.cpu = stat.cpu;
                    self.threads = stat.threads;
                    self.apply(&stat);
                    let ticks = if sched.is_none() { self.leader_ticks(looker).unwrap_or(ticks) } else { ticks };
                    ran = self.leader.apply(state, ticks, sched);
                }
            }
        }
        if self.threads > 1 || !self.others.is_empty() {
            ran |= self.visit_threads(looker, ran, gone);
        }
        if ran {
            self.read_io(looker);
        }
        self.settle_zombie();
        self.pass = pass;
        Visit::Alive { ran }
    }

    /// Reads the process's own line again, for what others change about it (its parent's death gives it a new one).
    pub fn reread(&mut self, looker: &mut Looker) {
        if let Ok(Some(stat)) = looker.files.stat(Place::Process(self.process.id.pid))
            && stat.start == self.process.id.start
        {
            self.apply(&stat);
        }
    }

    /// Looks whether tasks that slept have been woken and have not had a CPU since, which leaves no trace in `schedstat`.
    /// Takes its reads from the budget.
    pub fn seek_queued(&mut self, looker: &mut Looker, budget: &mut usize) {
        let pid = self.process.id.pid;
        for watched in std::iter::once(&mut self.leader).chain(&mut self.others).filter(|task| task.may_be_queued()) {
            if *budget == 0 {
                return;
            }
            *budget -= 1;
            let tid = watched.task.id.tid;
            let place = if tid == pid { Place::Process(pid) } else { Place::Thread(pid, tid) };
            if let Ok(Some(stat)) = looker.files.stat(place)
                && stat.start == watched.task.id.start
                && stat.state != watched.task.state
            {
                watched.apply(stat.state, watched.task.cpu, watched.sched);
            }
        }
    }

    /// All its tasks.
    pub fn watched(&self) -> impl Iterator<Item = &Watched> {
        std::iter::once(&self.leader).chain(&self.others)
    }

    /// How many tasks it has.
    pub fn tasks(&self) -> usize {
        1 + self.others.len()
    }

    fn apply(&mut self, stat: &Stat<'_>) {
        let next = described(self.process.id, stat, self.process.zombie, self.process.io);
        if next != self.process {
            self.process = next;
            self.dirty = true;
        }
    }

    /// The first thread may end long before the others: a process is a zombie only when the last one ended.
    pub fn settle_zombie(&mut self) {
        let zombie = self.leader.task.state == TaskState::Dead && self.others.is_empty();
        self.dirty |= zombie != self.process.zombie;
        self.process.zombie = zombie;
    }

    /// True if any of its other tasks ran, came or went. The list is read only when one of them ran and the host started some task:
    /// only a thread of the process can start another.
    fn visit_threads(&mut self, looker: &mut Looker, leader_ran: bool, gone: &mut Vec<GoneTask>) -> bool {
        let pid = self.process.id.pid;
        let mut changed = false;
        let tick = looker.tick;
        self.others.retain_mut(|thread| {
            let place = Place::Thread(pid, thread.task.id.tid);
            let Look::Due(sched) = thread.look(looker, place) else { return true };
            match looker.files.stat(place) {
                Ok(Some(stat)) if stat.start == thread.task.id.start => {
                    thread.cpu = stat.cpu;
                    changed |= thread.apply(stat.state, stat.ticks.saturating_mul(tick), sched);
                    true
                }
                // Hidden or unreadable for now: as it was, as the first thread is.
                Err(errno) if !matches!(errno, Errno::NOENT | Errno::SRCH) => true,
                Ok(None) => true,
                Ok(Some(_)) | Err(_) => {
                    gone.push(GoneTask { pid, id: thread.task.id });
                    changed = true;
                    false
                }
            }
        });
        if (changed || leader_ran) && (looker.unsettled || self.tasks() != self.threads as usize) {
            self.list_threads(looker, gone);
        }
        changed
    }

    fn list_threads(&mut self, looker: &mut Looker, gone: &mut Vec<GoneTask>) {
        let pid = self.process.id.pid;
        let mut tids = std::mem::take(&mut looker.tids);
        if looker.files.list_threads(pid, &mut tids).is_ok() && !tids.is_empty() {
            tids.sort_unstable();
            self.others.retain(|thread| {
                let stays = tids.binary_search(&thread.task.id.tid).is_ok();
                if !stays {
                    gone.push(GoneTask { pid, id: thread.task.id });
                }
                stays
            });
            let watched = self.others.len();
            for tid in &tids {
                // The ones watched so far are in order: they came in order, and removals keep it.
                if *tid != pid && self.others[..watched].binary_search_by_key(tid, |thread| thread.task.id.tid).is_err() {
                    self.others.extend(Watched::admit(looker, pid, *tid));
                }
            }
            self.others.sort_unstable_by_key(|thread| thread.task.id.tid);
            self.threads = self.others.len() as u32 + 1;
        }
        looker.tids = tids;
    }

    /// Without schedstat the CPU time comes from `stat`, where the first task's line counts the whole process: its own
    /// is below `task/`. `None` for a process of one task.
    fn leader_ticks(&self, looker: &mut Looker) -> Option<Nanos> {
        let pid = self.process.id.pid;
        let tick = looker.tick;
        let stat = (self.threads > 1).then(|| looker.files.stat(Place::Thread(pid, pid)).ok().flatten()).flatten()?;
        Some(stat.ticks.saturating_mul(tick))
    }

    fn read_io(&mut self, looker: &mut Looker) {
        let read = looker.files.read(Place::Process(self.process.id.pid), "io").map(super::parse::io);
        self.io_denied = matches!(read, Err(Errno::ACCESS | Errno::PERM));
        let io = match read {
            Ok(Some(io)) => Some(io),
            _ if self.io_denied => None,
            // Gone while it was read, or nonsense: as it was.
            _ => self.process.io,
        };
        self.set_io(io);
    }

    fn set_io(&mut self, io: Option<IoBytes>) {
        self.dirty |= io != self.process.io;
        self.process.io = io;
    }
}

fn described(id: ProcessId, stat: &Stat<'_>, zombie: bool, io: Option<IoBytes>) -> Process {
    Process {
        id,
        parent: stat.parent,
        group: stat.group,
        session: stat.session,
        tty: stat.tty,
        comm: CompactString::from_utf8_lossy(stat.comm),
        kernel_thread: stat.kernel_thread,
        forked_only: stat.forked_only,
        zombie,
        nice: stat.nice,
        io,
    }
}
