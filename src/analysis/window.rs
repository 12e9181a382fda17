//! The last few seconds: what each process used, summed over the newest intervals, so that one quiet or loud sample does
//! not turn the verdict.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use std::collections::{HashMap, VecDeque};

use crate::analysis::brief::{Brief, LEAST};
use crate::analysis::diagnosis::{JobId, Usage};
use crate::analysis::table::Used;
use crate::units::{Pid, ProcessId, SECOND};

/// How far back rates look, in seconds: two samples at the default interval. Long enough to even out a disk's bursts, short
/// enough that a backup shows within two seconds of its start (`tests/outage.rs`).
pub const WINDOW_SECONDS: f64 = 2.0;
/// Two samples are as good as that if they come a little early, as their jitter makes them: a third one would keep what was before the trouble
/// in the picture for one look more.
pub const FULL_WINDOW: f64 = 0.9 * WINDOW_SECONDS;

/// The newest intervals between samples.
#[derive(Debug, Default)]
pub struct Window {
    intervals: VecDeque<Interval>,
}

#[derive(Debug)]
struct Interval {
    seconds: f64,
    used: HashMap<ProcessId, Used>,
    /// What processes used that came and went in it, by job.
    brief: HashMap<JobId, Brief>,
}

/// What one process did over the window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Recent {
    /// Rates and averages.
    pub usage: Usage,
    /// Runnable tasks at the newest sample.
    pub runnable: u32,
    /// Tasks in uninterruptible sleep at the newest sample.
    pub stuck: u32,
    /// The task that waited for a CPU most in the newest interval, and in which part of that.
    pub hungriest: Option<(Pid, f64)>,
    /// A counter went back: not all that it used is known.
    pub lost: bool,
}

impl Window {
    /// Adds what was used in the `seconds` up to the newest sample; 0 for the first one.
    pub fn push(&mut self, seconds: f64, used: HashMap<ProcessId, Used>) {
        if !self.has_rates() {
            // A sample before the first interval says how tasks stood then, and the newer one knows better.
            self.intervals.clear();
        }
        self.intervals.push_back(Interval { seconds, used, brief: HashMap::new() });
        while self.intervals.len() > 1 && self.seconds() - self.intervals[0].seconds >= FULL_WINDOW {
            self.intervals.pop_front();
        }
    }

    /// What each process did in the newest interval.
    pub fn newest(&self) -> impl Iterator<Item = (ProcessId, &Used)> {
        self.intervals.back().into_iter().flat_map(|newest| newest.used.iter().map(|(id, used)| (*id, used)))
    }

    /// Adds to the newest interval what processes used that nobody saw, by job.
    pub fn add_brief(&mut self, brief: HashMap<JobId, Brief>) {
        if let Some(newest) = self.intervals.back_mut() {
            newest.brief = brief;
        }
    }

    /// CPUs used by processes that nobody saw, by job.
    pub fn brief(&self) -> HashMap<&JobId, f64> {
        let total = self.seconds();
        let mut sums: HashMap<&JobId, Brief> = HashMap::new();
        for (job, brief) in self.intervals.iter().flat_map(|interval| &interval.brief).filter(|_| total > 0.0) {
            let sum = sums.entry(job).or_default();
            sum.number += brief.number;
            sum.seconds += brief.seconds;
        }
        sums.into_iter().filter(|(_, brief)| brief.number >= LEAST).map(|(job, brief)| (job, brief.seconds / total)).collect()
    }

    fn seconds(&self) -> f64 {
        self.intervals.iter().map(|interval| interval.seconds).sum()
    }

    /// What each process did that did anything.
    pub fn recent(&self) -> HashMap<ProcessId, Recent> {
        let total = self.seconds();
        let mut sums: HashMap<ProcessId, Recent> = HashMap::new();
        for interval in &self.intervals {
            for (id, used) in &interval.used {
                let recent = sums.entry(*id).or_default();
                recent.lost |= used.lost;
                let usage = &mut recent.usage;
                // Before the second sample there is no rate, but who is stuck is already known.
                let weight = if total > 0.0 { interval.seconds / total } else { 1.0 };
                usage.stuck += f64::from(used.stuck) * weight;
                if total > 0.0 {
                    add(&mut usage.cpu_cores, Some(used.cpu as f64 / SECOND as f64 / total));
                    add(&mut usage.cpu_wait, used.run_delay.map(|delay| delay as f64 / SECOND as f64 / total));
                    add(&mut usage.read_bytes, used.read.map(|bytes| bytes as f64 / total));
                    add(&mut usage.write_bytes, used.written.map(|bytes| bytes as f64 / total));
                }
            }
        }
        // Who has stopped waiting, for two samples, does not wait, whatever the average says: it would accuse whoever works next.
        let newest: Vec<&Interval> = self.intervals.iter().rev().take(2).collect();
        for (id, recent) in &mut sums {
            let lately = newest.iter().filter_map(|interval| interval.used.get(id)).map(|used| used.stuck).max();
            recent.usage.stuck = recent.usage.stuck.min(f64::from(lately.unwrap_or_default()));
        }
        if let Some(newest) = self.intervals.back() {
            for (id, used) in &newest.used {
                if let Some(recent) = sums.get_mut(id) {
                    (recent.runnable, recent.stuck) = (used.runnable, used.stuck);
                    let part = |delay: u64| (delay as f64 / SECOND as f64 / newest.seconds).min(1.0);
                    recent.hungriest = used.hungriest.filter(|_| newest.seconds > 0.0).map(|(tid, delay)| (tid, part(delay)));
                }
            }
        }
        sums
    }

    /// Whether rates are known: there were two samples.
    pub fn has_rates(&self) -> bool {
        self.seconds() > 0.0
    }
}

fn add(sum: &mut Option<f64>, more: Option<f64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or_default() + more);
    }
}
