//! The threads that read identities, and what is on its way through them.
//!
//! A read goes in two steps: first the files that never block (unit, user, program), then the command line, which may. At
//! least one thread is always left for first steps, so that a stuck process still tells which service it belongs to.
//! Knows when a read is overdue; what is in the files is for `read`. Tested through [`crate::kernel::Reader`].

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    super::root::ProcRoot,
    read::{self, Names, Opened},
};
use crate::{
    sample::Identity,
    units::{Pid, ProcessId},
};

/// Threads at the start: one for first steps and one for command lines.
const THREADS: usize = 2;
/// Threads at the most: another is started only when all that read command lines are stuck.
const THREADS_MAX: usize = 8;
/// A read that takes longer is overdue. It takes some 20 µs when nothing is wrong, and a busy host some time to
/// schedule the thread.
const DEADLINE: Duration = Duration::from_millis(500);

/// What came back.
pub(super) struct Answer {
    pub id: ProcessId,
    /// `None`: the process is gone.
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
    names: Mutex<Names>,
    /// There is work, or it is time to end.
    work: Condvar,
    /// Something came back.
    back: Condvar,
}

#[derive(Default)]
struct State {
    first: VecDeque<ProcessId>,
    second: VecDeque<Job>,
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
}

/// A read that a thread is in.
struct Running {
    ticket: u64,
    id: ProcessId,
    since: Instant,
    /// In the second step: what the first one gave, until it was handed out.
    second: bool,
    partial: Option<Identity>,
}

impl Pool {
    pub fn start(root: &ProcRoot) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared {
            root: root.clone(),
            state: Mutex::default(),
            names: Mutex::default(),
            work: Condvar::new(),
            back: Condvar::new(),
        });
        let pool = Self { shared };
        let mut state = pool.shared.lock();
        for _ in 0..THREADS {
            pool.shared.spawn(&mut state).context("start a thread that reads command lines")?;
        }
        drop(state);
        Ok(pool)
    }

    pub fn ask(&self, ids: Vec<ProcessId>) {
        if !ids.is_empty() {
            self.shared.lock().first.extend(ids);
            self.shared.work.notify_all();
        }
    }

    /// Drops what is queued for processes that are gone.
    pub fn forget(&self, gone: &HashSet<ProcessId>) {
        let mut state = self.shared.lock();
        state.first.retain(|id| !gone.contains(id));
        state.second.retain(|job| !gone.contains(&job.opened.id));
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
        // With all threads stuck, those who wait behind them are not left without a name either.
        if state.is_jammed() {
            let halves = state.second.iter().map(|job| (job.opened.id, job.identity.clone()));
            answers.extend(halves.map(|(id, identity)| Answer { id, identity: Some(identity), partial: true }));
        }
        answers
    }

    pub fn overdue(&self) -> Vec<Pid> {
        let state = self.shared.lock();
        state.running.iter().filter(|running| running.is_overdue()).map(|running| running.id.pid).collect()
    }

    /// Waits until all is back but what is overdue already: waiting does not bring that.
    pub fn settle(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        loop {
            self.shared.relieve(&mut state);
            let hopeless = state.running.iter().all(Running::is_overdue);
            let queued = !state.first.is_empty() || !(state.second.is_empty() || state.is_jammed());
            let left = end.saturating_duration_since(Instant::now());
            if (hopeless && !queued) || left.is_zero() {
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
    /// Threads in command lines; one fewer than there are at the most.
    fn in_second(&self) -> usize {
        self.running.iter().filter(|running| running.second).count()
    }

    fn stuck(&self) -> usize {
        self.running.iter().filter(|running| running.is_overdue()).count()
    }

    /// No more threads may be started and no command line can be read.
    fn is_jammed(&self) -> bool {
        self.threads >= THREADS_MAX && self.stuck() + 1 >= self.threads
    }

    fn enter(&mut self, id: ProcessId, partial: Option<Identity>) -> u64 {
        self.tickets += 1;
        let second = partial.is_some();
        self.running.push(Running { ticket: self.tickets, id, since: Instant::now(), second, partial });
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

    /// Starts another thread if work waits and all that could do it are stuck.
    fn relieve(self: &Arc<Self>, state: &mut State) {
        let waiting = !state.first.is_empty() || !state.second.is_empty();
        if waiting && state.threads < THREADS_MAX && state.stuck() + 1 >= state.threads {
            // Without another thread it goes on more slowly, and the processes are named as overdue.
            let _ = self.spawn(state);
        }
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            if state.closing {
                return;
            }
            if let Some(id) = state.first.pop_front() {
                let ticket = state.enter(id, None);
                drop(state);
                let half = read::first(&self.root, id, &self.names);
                state = self.lock();
                state.leave(ticket);
                match half {
                    Some((opened, identity)) => state.second.push_back(Job { opened, identity }),
                    None => state.answers.push(Answer { id, identity: None, partial: false }),
                }
                self.work.notify_one();
            } else if state.in_second() + 1 < state.threads
                && let Some(Job { opened, mut identity }) = state.second.pop_front()
            {
                let ticket = state.enter(opened.id, Some(identity.clone()));
                drop(state);
                identity.argv = read::command_line(&opened);
                state = self.lock();
                state.leave(ticket);
                state.answers.push(Answer { id: opened.id, identity: Some(identity), partial: false });
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            if state.first.is_empty() && state.second.is_empty() {
                self.back.notify_all();
            }
        }
    }
}
