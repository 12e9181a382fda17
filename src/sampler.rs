//! The thread that takes samples: a tick, a request or a stop.
//!
//! Owns the rhythm and nothing else: what is read is for [`crate::kernel`], what becomes of a sample for the sink. With
//! `kernel` it is the only place that may look at a clock or wait. Tested by `tests/kernel.rs`, on small trees.

use std::{
    ops::ControlFlow,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    kernel::WatchedReader,
    sample::{Glance, Pace, Sample},
    units::Nanos,
};

/// The second sample comes this soon, so that there are rates, and something to show, at once.
const FIRST_GAP: Duration = Duration::from_millis(200);
/// A nudged sample waits this long: an action takes a moment to show, and several of them in a row make one sample.
const NUDGE: Duration = Duration::from_millis(150);
/// Each interval is longer or shorter by up to this share. The kernel samples the load each 5.004 s: a monitor
/// that ticks in step with it would be running each time it counts, and show up in the load it shows.
const JITTER: f64 = 0.05;
/// A look, what becomes of it included, may take a third of a CPU at the most: on a host so large the interval grows instead.
const CPU_SHARE: u32 = 3;
/// And half of the time. Where it waits for its turn on a CPU it costs nobody anything, but looks must not follow each other without
/// a pause.
const TIME_SHARE: u32 = 2;

/// How to sample.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// From one sample to the next.
    pub interval: Duration,
}

/// What the sampler gives.
#[derive(Debug)]
pub enum Seen {
    /// The host as a whole, once, before the first sample: that one takes a second where there are 50,000 tasks.
    Glance(Box<Glance>),
    /// A sample.
    Sample(Box<Sample>),
}

enum Request {
    Nudge,
    Stop,
}

/// A running sampler. Dropping it asks the thread to stop and does not wait for it: a read may be stuck.
#[derive(Debug)]
pub struct Sampler {
    requests: Sender<Request>,
}

impl Sampler {
    /// Starts to sample. The sink runs on the sampler's thread; `Break` ends it.
    pub fn start<F>(reader: WatchedReader, config: Config, sink: F) -> Result<Self>
    where
        F: FnMut(Result<Seen>) -> ControlFlow<()> + Send + 'static,
    {
        let (requests, inbox) = channel();
        thread::Builder::new()
            .name("sampler".to_owned())
            .spawn(move || run(reader, config, sink, &inbox))
            .context("start the sampling thread")?;
        Ok(Self { requests })
    }

    /// Asks for a sample within 200 ms, to see what an action did.
    pub fn nudge(&self) {
        // Nobody there to ask: it has stopped.
        let _ = self.requests.send(Request::Nudge);
    }

    /// Asks it to stop; does not wait until it has.
    pub fn stop(&self) {
        let _ = self.requests.send(Request::Stop);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run<F>(mut reader: WatchedReader, config: Config, mut sink: F, inbox: &Receiver<Request>)
where
    F: FnMut(Result<Seen>) -> ControlFlow<()>,
{
    if sink(reader.glance().map(|glance| Seen::Glance(Box::new(glance)))).is_break() {
        return;
    }
    let mut before: Option<Look> = None;
    loop {
        let start = Instant::now();
        let cpu = cpu_time() + reader.spent();
        let pace = before.map(|look| look.pace(start));
        let sample = reader.sample().map(|mut sample| {
            sample.cost.pace = pace;
            Seen::Sample(Box::new(sample))
        });
        if sink(sample).is_break() {
            return;
        }
        let took = start.elapsed();
        let mut stretched = false;
        let pause = if before.is_none() {
            // The first look sees everything anew, which says nothing of the ones to come.
            reader.settle(FIRST_GAP.saturating_sub(took));
            FIRST_GAP
        } else {
            let least = ((cpu_time() + reader.spent()).saturating_sub(cpu) * CPU_SHARE).max(took * TIME_SHARE);
            stretched = least > config.interval;
            config.interval.mul_f64(1.0 + JITTER * (2.0 * fastrand::f64() - 1.0)).max(least)
        };
        before = Some(Look { start, took, stretched });
        if wait(inbox, start + pause).is_break() {
            return;
        }
    }
}

/// What this thread has had of the CPUs so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A look at the host, analysis included.
#[derive(Clone, Copy)]
struct Look {
    start: Instant,
    took: Duration,
    stretched: bool,
}

impl Look {
    /// How the next look follows this one.
    fn pace(self, next: Instant) -> Pace {
        let nanos = |time: Duration| time.as_nanos() as Nanos;
        Pace { look: nanos(self.took), interval: nanos(next.duration_since(self.start)), stretched: self.stretched }
    }
}

/// Waits until the next sample is due; `Break` if there is to be none.
fn wait(inbox: &Receiver<Request>, mut due: Instant) -> ControlFlow<()> {
    loop {
        match inbox.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Request::Nudge) => due = due.min(Instant::now() + NUDGE),
            Ok(Request::Stop) | Err(RecvTimeoutError::Disconnected) => return ControlFlow::Break(()),
            Err(RecvTimeoutError::Timeout) => return ControlFlow::Continue(()),
        }
    }
}
