//! A reader that cannot hang whoever asks it.
//!
//! The files that a sample reads answer at once, as far as is known. It is not always known: while a process waits in the middle of an
//! `exec` (its old memory is locked), reading its `stat`, `io`, `wchan`, `syscall` or `stack` never returns. So the reader has a thread of its
//! own that is watched, and notes which process it is reading. When it stands still there, it is left behind, the process is named and
//! left out, and another reader starts anew without it. One such process is a mishap and two are a jam, whose members would be found one
//! by one: then everybody in uninterruptible sleep is left out until he moves. Tested by `tests/kernel.rs` and `tests/wedge.rs`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::{
    thread::gettid,
    time::{ClockId, clock_gettime},
};

use super::reader::Reader;
use crate::{
    sample::{Gap, Glance, HostFacts, Sample},
    units::Pid,
};

/// Whether it stands still is looked at this often.
const LOOK: Duration = Duration::from_millis(100);
/// A read that takes longer does not return: it takes microseconds when nothing is wrong.
const STUCK: Duration = Duration::from_millis(400);
/// Without any process to blame, this long: then something else of `/proc` does not answer.
const HOPELESS: Duration = Duration::from_secs(30);
/// Readers left behind at the same time: each keeps its memory and a thread until what it reads answers.
const LEFT_BEHIND: usize = 16;

type Job = Box<dyn FnOnce(&mut Reader) + Send>;
type Make = Box<dyn Fn() -> anyhow::Result<Reader> + Send>;

/// Which process is being read, and a number that changes with each read; zero between reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// A read of this process begins.
    pub fn begin(&self, read: u32, pid: Pid) {
        self.0.store(u64::from(read) << 32 | u64::from(pid.cast_unsigned()), Relaxed);
    }

    /// It is over.
    pub fn end(&self) {
        self.0.store(0, Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A [`Reader`] on a thread of its own, under watch.
pub struct WatchedReader {
    make: Make,
    worker: Worker,
    shunned: Vec<Pid>,
    /// Those that are stuck.
    left_behind: Vec<JoinHandle<()>>,
    /// The last question got no answer.
    is_lost: bool,
    spent: Duration,
}

struct Worker {
    jobs: Sender<Job>,
    progress: Progress,
    /// The number of its thread.
    number: Arc<AtomicI32>,
    thread: JoinHandle<()>,
}

impl WatchedReader {
    /// Starts a reader; `make` makes it, and another one should it get stuck.
    pub fn start(make: impl Fn() -> anyhow::Result<Reader> + Send + 'static) -> anyhow::Result<Self> {
        let make: Make = Box::new(make);
        let worker = Worker::start(make()?)?;
        Ok(Self { make, worker, shunned: Vec::new(), left_behind: Vec::new(), is_lost: false, spent: Duration::ZERO })
    }

    /// See [`Reader::facts`].
    pub fn facts(&mut self) -> anyhow::Result<HostFacts> {
        self.run(|reader| reader.facts())
    }

    /// See [`Reader::glance`].
    pub fn glance(&mut self) -> anyhow::Result<Glance> {
        self.run(Reader::glance)
    }

    /// See [`Reader::sample`]. Comes within a second or two, whatever the processes are in.
    pub fn sample(&mut self) -> anyhow::Result<Sample> {
        let (sample, shunned, spent) = self.run(|reader| {
            let before = cpu_time();
            let sample = reader.sample();
            (sample, reader.shunned(), cpu_time().saturating_sub(before))
        })?;
        self.spent += spent;
        self.shunned = shunned;
        let mut sample = sample?;
        sample.gaps.extend((!self.shunned.is_empty()).then(|| Gap::Shunned { pids: self.shunned.clone() }));
        Ok(sample)
    }

    /// See [`Reader::settle`].
    pub fn settle(&mut self, deadline: Duration) {
        // It waits for nothing that a process could hold up; without a reader there is nothing to wait for.
        let _ = self.run(move |reader| reader.settle(deadline));
    }

    /// CPU time that samples have taken so far.
    pub fn spent(&self) -> Duration {
        self.spent
    }

    /// Has the reader do this; where it gets stuck, another one. After one that gave no answer a new one begins: what that one found is lost,
    /// and what it gives later would build on it.
    fn run<T: Send + 'static>(&mut self, job: impl Fn(&mut Reader) -> T + Clone + Send + 'static) -> anyhow::Result<T> {
        if self.is_lost {
            self.replace(false)?;
        }
        let answer = self.ask(job);
        self.is_lost = answer.is_err();
        answer
    }

    fn ask<T: Send + 'static>(&mut self, job: impl Fn(&mut Reader) -> T + Clone + Send + 'static) -> anyhow::Result<T> {
        let mut is_jam = false;
        loop {
            let (send, answer) = channel();
            let todo = job.clone();
            let told = self.worker.jobs.send(Box::new(move |reader| {
                // Nobody there to hear: it was given up on.
                let _ = send.send(todo(reader));
            }));
            told.ok().context("the reader has ended")?;
            match self.worker.watch(&answer)? {
                Watched::Answer(answer) => return Ok(answer),
                Watched::StuckAt(pid) => self.shunned.push(pid),
            }
            self.replace(is_jam)?;
            is_jam = true;
        }
    }

    /// Leaves the reader behind, and goes on with another one that sees everything anew, but for those that must not be looked at.
    fn replace(&mut self, is_jam: bool) -> anyhow::Result<()> {
        self.left_behind.retain(|thread| !thread.is_finished());
        if self.left_behind.len() >= LEFT_BEHIND {
            let last = self.shunned.last().map(|pid| format!(", the last at process {pid}")).unwrap_or_default();
            bail!("{LEFT_BEHIND} reads hang{last}");
        }
        let mut reader = (self.make)()?;
        reader.shun(&self.shunned);
        if is_jam {
            reader.shun_uninterruptible();
        }
        let before = std::mem::replace(&mut self.worker, Worker::start(reader)?);
        self.left_behind.push(before.thread);
        Ok(())
    }
}

/// What came of a job.
enum Watched<T> {
    Answer(T),
    /// It stands still at this process.
    StuckAt(Pid),
}

impl Worker {
    fn start(mut reader: Reader) -> anyhow::Result<Self> {
        let (jobs, inbox) = channel::<Job>();
        let progress = reader.progress();
        let number = Arc::new(AtomicI32::new(0));
        let told = Arc::clone(&number);
        let work = move || {
            told.store(gettid().as_raw_pid(), Relaxed);
            for job in inbox {
                job(&mut reader);
            }
        };
        // Never joined: it may be stuck for good.
        let thread = thread::Builder::new().name("reader".to_owned()).spawn(work).context("start a thread that reads")?;
        Ok(Self { jobs, progress, number, thread })
    }

    /// Waits for its answer as long as it moves. Counts its own looks and not the time: whytop may have been stopped itself.
    fn watch<T>(&self, answer: &Receiver<T>) -> anyhow::Result<Watched<T>> {
        let mut last = self.progress.now();
        let mut still = Duration::ZERO;
        loop {
            match answer.recv_timeout(LOOK) {
                Ok(answer) => return Ok(Watched::Answer(answer)),
                Err(RecvTimeoutError::Disconnected) => bail!("the reader failed"),
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.progress.now();
            // One that merely waits for its turn on a CPU is not stuck.
            still = if now == last && !self.is_runnable() { still + LOOK } else { Duration::ZERO };
            last = now;
            if now != 0 && still >= STUCK {
                return Ok(Watched::StuckAt((now as u32).cast_signed()));
            }
            if still >= HOPELESS {
                bail!("/proc has not answered for {} seconds", HOPELESS.as_secs());
            }
        }
    }

    /// Whether its thread runs or waits for a CPU.
    fn is_runnable(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/self/task/{}/status", self.number.load(Relaxed)));
        status.is_ok_and(|status| status.lines().any(|line| line.starts_with("State:") && line.contains('R')))
    }
}

/// What this thread has had of the CPUs so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
