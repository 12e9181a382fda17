//! The threads that read identities, and what is on its way through them.
//!
//! A read goes in two steps: first the files that never block (unit, user's number, program), then the command line, which may. At
//! least one thread is always left for first steps, so that a stuck process still tells which service it belongs to. Of the
//! others, one is left for command lines of processes that show no sign of being stuck: a backup that starts while thirty
//! workers are stuck is named as on any other day. Suspects are read last, and by as many threads as there may be besides.
//!
//! A process keeps its directory open between the two steps, for that saves half of the second one. Not so a suspect, which may wait
//! for good, nor more of them than [`BACKLOG`]: descriptors are what a sick host is short of first.
//!
//! Knows when a read is overdue; what is in the files is for `read`, who is a suspect for the table. Tested through
//! [`crate::kernel::Reader`].

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use compact_str::CompactString;

use super::{
    super::root::ProcRoot,
    read::{self, Opened},
};
use crate::{sample::Identity, units::ProcessId};

/// Threads at the start: one for first steps and one for command lines.
const THREADS: usize = 2;
/// Threads at the most: others are started only when all that read command lines are stuck.
const THREADS_MAX: usize = 8;
/// With so many command lines waiting, they go before further first steps: a whole host's would take megabytes of queue, and memory that
/// is locked is never given back. No more of them hold a descriptor, which is half of what is left to all of whytop (`SPARE`).
const BACKLOG: usize = 128;
/// A read that takes longer is overdue. It takes some 20 µs when nothing is wrong, and a busy host some time to
/// schedule the thread.
const DEADLINE: Duration = Duration::from_millis(500);

/// What came back.
pub(super) struct Answer {
    pub id: ProcessId,
    /// Without the user's name. `None`: the process is gone.
    pub identity: Option<Identity>,
    /// The command line is missing and may come yet.
    pub partial: bool,
}

/// A pool of threads that read identities.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    root: ProcRoot,
    state: Mutex<State>,
    /// There is work, or it is time to end.
    work: Condvar,
    /// Something came back.
    back: Condvar,
}

/// A process to be read.
#[derive(Clone, Copy)]
pub(super) struct Ask {
    pub id: ProcessId,
    /// Its command line may well not come: one of its tasks is stuck in a way that goes with it.
    pub suspect: bool,
}

/// A read that does not come back.
pub(super) struct Late {
    pub id: ProcessId,
    /// Since when it has been read.
    pub since: Instant,
}

#[derive(Default)]
struct State {
    first: VecDeque<(Ask, Instant)>,
    second: VecDeque<Job>,
    /// Second steps that come after all others.
    suspects: VecDeque<Job>,
    running: Vec<Running>,
    answers: Vec<Answer>,
    threads: usize,
    tickets: u64,
    closing: bool,
}

/// A process whose command line is to be read.
struct Job {
    opened: Opened,
    identity: Identity,
    asked: Instant,
    suspect: bool,
    /// What there is of it without the command line was handed out.
    told: bool,
}

/// A read that a thread is in.
struct Running {
    ticket: u64,
    id: ProcessId,
    since: Instant,
    /// In the second step.
    second: bool,
    /// In the second step, and a suspect.
    suspect: bool,
    /// What it is that runs there.
    program: Program,
    /// In the second step: what the first one gave, until it was handed out.
    partial: Option<Identity>,
}

/// A program by its file, or by its name where the file may not be seen.
#[derive(Clone, PartialEq, Eq)]
enum Program {
    File(String),
    Name(CompactString),
}

impl Job {
    fn program(&self) -> Program {
        self.identity.exe.clone().map_or_else(|| Program::Name(self.opened.comm.clone()), Program::File)
    }

    /// To be read when all others are, which may be never.
    fn suspected(self) -> Self {
        Self { suspect: true, opened: self.opened.closed(), ..self }
    }

    /// What there is of it, once.
    fn half(&mut self) -> Option<Answer> {
        let untold = !std::mem::replace(&mut self.told, true);
        untold.then(|| Answer { id: self.opened.id, identity: Some(self.identity.clone()), partial: true })
    }
}

impl Pool {
    pub fn start(root: &ProcRoot) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared { root: root.clone(), state: Mutex::default(), work: Condvar::new(), back: Condvar::new() });
        let pool = Self { shared };
        let mut state = pool.shared.lock();
        for _ in 0..THREADS {
            pool.shared.spawn(&mut state).context("start a thread that reads command lines")?;
        }
        drop(state);
        Ok(pool)
    }

    pub fn ask(&self, asks: Vec<Ask>) {
        if !asks.is_empty() {
            let now = Instant::now();
            let mut state = self.shared.lock();
            for ask in asks {
                if ask.suspect {
                    state.first.push_front((ask, now));
                } else {
                    state.first.push_back((ask, now));
                }
            }
            self.shared.relieve(&mut state);
            self.shared.work.notify_all();
        }
    }

    /// Drops what is queued for processes that are gone.
    pub fn forget(&self, gone: &HashSet<ProcessId>) {
        let mut state = self.shared.lock();
        state.first.retain(|(ask, _)| !gone.contains(&ask.id));
        state.second.retain(|job| !gone.contains(&job.opened.id));
        state.suspects.retain(|job| !gone.contains(&job.opened.id));
    }

    /// Looks at the suspects that still wait for their turn again: whoever was merely waiting for a disk has moved on by now.
    pub fn reconsider(&self, is_suspect: impl Fn(ProcessId) -> bool) {
        let mut state = self.shared.lock();
        let (still, cleared): (VecDeque<Job>, VecDeque<Job>) = std::mem::take(&mut state.suspects)
            .into_iter()
            .partition(|job| is_suspect(job.opened.id) || state.is_like_a_stuck_one(job));
        state.suspects = still;
        if !cleared.is_empty() {
            state.second.extend(cleared.into_iter().map(|job| Job { suspect: false, ..job }));
            self.shared.work.notify_all();
        }
    }

    /// What came back, and the first halves of what is overdue.
    pub fn answers(&self) -> Vec<Answer> {
        let mut state = self.shared.lock();
        self.shared.relieve(&mut state);
        let mut answers = std::mem::take(&mut state.answers);
        for running in state.running.iter_mut().filter(|running| running.is_overdue()) {
            let identity = running.partial.take();
            answers.extend(identity.map(|identity| Answer { id: running.id, identity: Some(identity), partial: true }));
        }
        // Those who wait behind stuck reads are not left without a name either.
        answers.extend(state.left_behind().into_iter().filter_map(Job::half));
        answers
    }

    /// The reads that do not come back, and how many others have been waiting behind them for as long.
    pub fn overdue(&self) -> (Vec<Late>, usize) {
        let mut state = self.shared.lock();
        // The first step reads nothing that the lock of a process's memory stands against: what is late there is late for another reason.
        let overdue = state.running.iter().filter(|running| running.second && running.is_overdue());
        let late: Vec<Late> = overdue.map(|running| Late { id: running.id, since: running.since }).collect();
        (late, state.left_behind().len())
    }

    /// Waits until all is back but what is overdue already: waiting does not bring that.
    pub fn settle(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        loop {
            self.shared.relieve(&mut state);
            let hopeless = state.running.iter().all(Running::is_overdue);
            let left = end.saturating_duration_since(Instant::now());
            if (hopeless && !state.has_work()) || left.is_zero() {
                return;
            }
            // Nobody reports what does not come back: wake in time to see the next read become overdue, or one that began
            // only after this look.
            let next = state.running.iter().map(|running| DEADLINE.saturating_sub(running.since.elapsed()));
            let next = next.filter(|wait| !wait.is_zero()).min().unwrap_or(DEADLINE) + Duration::from_millis(1);
            state = self.shared.back.wait_timeout(state, left.min(next)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
    }
}

impl Running {
    fn is_overdue(&self) -> bool {
        self.since.elapsed() > DEADLINE
    }
}

impl State {
    /// Threads in command lines.
    fn in_second(&self) -> usize {
        self.running.iter().filter(|running| running.second).count()
    }

    fn stuck(&self) -> usize {
        self.running.iter().filter(|running| running.is_overdue()).count()
    }

    /// Threads that may read command lines: of suspects when all threads are started, one fewer.
    fn seats(&self, suspects: bool) -> usize {
        let kept = usize::from(suspects && self.threads >= THREADS_MAX);
        self.threads.saturating_sub(1 + kept)
    }

    /// Whether anything is queued that a thread will get to: not what waits behind reads that do not come back.
    fn has_work(&self) -> bool {
        let jammed = |suspects: bool| self.threads >= THREADS_MAX && self.stuck() >= self.seats(suspects);
        !self.first.is_empty() || (!self.second.is_empty() && !jammed(false)) || (!self.suspects.is_empty() && !jammed(true))
    }

    /// A suspect to be read before anything else: whether it is stuck shows only half a second after its read began, and on a host of
    /// 5,000 processes its turn would come too late to be told in the first answer.
    fn first_suspect(&mut self) -> Option<Job> {
        let spare = self.threads > THREADS && self.in_second() < self.seats(true);
        let none_yet = !self.running.iter().any(|running| running.suspect);
        (spare && none_yet).then(|| self.suspects.pop_front()).flatten()
    }

    fn backlogged(&mut self) -> Option<Job> {
        (self.second.len() >= BACKLOG).then(|| self.next_second()).flatten()
    }

    /// Those that have waited for as long as is allowed, and not because there are many of them: behind suspects that are stuck wait
    /// all other suspects, and behind threads that are all stuck everybody.
    fn left_behind(&mut self) -> Vec<&mut Job> {
        let stuck = self.stuck();
        let all_stuck = stuck >= self.seats(false);
        let suspects = self.suspects.iter_mut().filter(|_| stuck > 0);
        let others = self.second.iter_mut().filter(|_| stuck > 0 && all_stuck);
        suspects.chain(others).filter(|job| job.asked.elapsed() > DEADLINE).collect()
    }

    /// The next command line to be read, if there is a thread for it.
    fn next_second(&mut self) -> Option<Job> {
        while self.in_second() < self.seats(false)
            && let Some(job) = self.second.pop_front()
        {
            if !self.is_like_a_stuck_one(&job) {
                return Some(job);
            }
            self.suspects.push_back(job.suspected());
        }
        (self.in_second() < self.seats(true)).then(|| self.suspects.pop_front()).flatten()
    }

    /// Whether it runs the program of one that is stuck, and was asked for before that was known: what holds one of a service's
    /// workers mostly holds all of them, and they need not be stuck themselves to be held. A worker that starts later begins anew.
    fn is_like_a_stuck_one(&self, job: &Job) -> bool {
        let mut stuck = self.running.iter().filter(|running| running.second && running.is_overdue());
        stuck.any(|running| running.since >= job.asked && running.program == job.program())
    }

    fn enter(&mut self, id: ProcessId, job: Option<&Job>) -> u64 {
        self.tickets += 1;
        self.running.push(Running {
            ticket: self.tickets,
            id,
            since: Instant::now(),
            second: job.is_some(),
            suspect: job.is_some_and(|job| job.suspect),
            program: job.map_or_else(|| Program::Name(CompactString::default()), Job::program),
            partial: job.filter(|job| !job.told).map(|job| job.identity.clone()),
        });
        self.tickets
    }

    fn leave(&mut self, ticket: u64) {
        self.running.retain(|running| running.ticket != ticket);
    }
}

impl Shared {
    // A panic in one thread is no reason to lose the others' answers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        let name = format!("identity-{}", state.threads);
        // Not joined, ever: it may be stuck for good.
        thread::Builder::new().name(name).spawn(move || shared.work())?;
        state.threads += 1;
        Ok(())
    }

    /// Starts another thread if work waits and all that could do it are stuck; all there may be if suspects wait, because they
    /// get stuck one by one.
    fn relieve(self: &Arc<Self>, state: &mut State) {
        let stuck = state.stuck();
        let waiting = !state.first.is_empty() || !state.second.is_empty() || !state.suspects.is_empty();
        // The first suspect gets a thread at once, beside the two that go on with all others.
        let suspected = !state.suspects.is_empty() || state.first.front().is_some_and(|(ask, _)| ask.suspect);
        let mut wanted = (waiting && stuck + 1 >= state.threads) || (suspected && state.threads == THREADS);
        while state.threads < THREADS_MAX && (wanted || (stuck > 0 && !state.suspects.is_empty())) {
            // Without another thread it goes on more slowly, and the processes are named as overdue.
            if self.spawn(state).is_err() {
                return;
            }
            wanted = false;
        }
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.closing {
                return;
            }
            // A suspect, a command line of too many, a first step, any other command line, in this order.
            let urgent = state.first_suspect().or_else(|| state.backlogged());
            let first = if urgent.is_none() { state.first.pop_front() } else { None };
            if let Some((ask, asked)) = first {
                let ticket = state.enter(ask.id, None);
                drop(state);
                let half = read::first(&self.root, ask.id);
                state = self.lock();
                state.leave(ticket);
                match half {
                    Some((opened, identity)) => {
                        let job = Job { opened, identity, asked, suspect: ask.suspect, told: false };
                        if job.suspect {
                            state.suspects.push_back(job.suspected());
                        } else {
                            let has_room = state.second.len() < BACKLOG;
                            state.second.push_back(if has_room { job } else { Job { opened: job.opened.closed(), ..job } });
                        }
                    }
                    None => state.answers.push(Answer { id: ask.id, identity: None, partial: false }),
                }
                self.work.notify_one();
            } else if let Some(job) = urgent.or_else(|| state.next_second()) {
                let ticket = state.enter(job.opened.id, Some(&job));
                drop(state);
                let Job { opened, mut identity, .. } = job;
                identity.argv = read::command_line(&self.root, &opened);
                state = self.lock();
                state.leave(ticket);
                state.answers.push(Answer { id: opened.id, identity: Some(identity), partial: false });
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if !state.has_work() {
                self.back.notify_all();
            }
        }
    }
}
