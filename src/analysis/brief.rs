//! CPU time of processes that came and went between two looks: a fork storm, a build of small files.
//!
//! Nobody sees them, but the host's own count knows that somebody ran, and the young processes that are there at a look are
//! a sample of those that were there before them. Pure. Tested by `tests/scenarios.rs`.

use std::collections::{BTreeMap, HashMap};

use crate::analysis::diagnosis::JobId;
use crate::units::{Nanos, SECOND};

/// A job has brief processes if it had so many, at the looks of the window together, that were not there at the look before; one or two
/// begin anywhere. Pinned by `storm-of-a-few`.
pub const LEAST: usize = 3;

/// A process that was not there at the look before.
pub struct Young<'a> {
    /// Its job.
    pub job: &'a JobId,
    /// Seconds since it started, at least one clock tick.
    pub age: f64,
    /// CPU time since then.
    pub cpu: Nanos,
    /// Time runnable without a CPU since then.
    pub run_delay: Nanos,
}

impl Young<'_> {
    /// The part of its life that it had a CPU. Start times are told in ticks, and most of a storm live shorter than one: of those, what
    /// they did with their time is all that is known of it.
    fn at_work(&self, tick: f64) -> f64 {
        let [cpu, known] = [self.cpu, self.cpu.saturating_add(self.run_delay)].map(|nanos| nanos as f64 / SECOND as f64);
        let age = if self.age > tick { self.age } else { known.min(tick) };
        if age > 0.0 { cpu / age } else { 0.0 }
    }
}

/// What a job's brief processes used between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Brief {
    /// So many of them were there at the second look.
    pub number: usize,
    /// CPU seconds that nobody saw.
    pub seconds: f64,
}

/// By job. `seconds`: between the two looks; `unexplained`: CPU seconds that no process which was seen has used; `tick`: what start times
/// are told in, in seconds.
pub fn used<'a>(young: impl Iterator<Item = Young<'a>>, seconds: f64, unexplained: f64, tick: f64) -> HashMap<JobId, Brief> {
    let mut jobs: BTreeMap<&JobId, Brief> = BTreeMap::new();
    for young in young.filter(|young| young.age > 0.0 && young.age <= seconds) {
        let brief = jobs.entry(young.job).or_default();
        brief.number += 1;
        // As many were at work all the time as are now; what these have used themselves is known already.
        brief.seconds += young.at_work(tick) * (seconds - young.age);
    }
    let all: f64 = jobs.values().map(|brief| brief.seconds).sum();
    let part = if all > 0.0 { (unexplained / all).clamp(0.0, 1.0) } else { 0.0 };
    jobs.into_iter().map(|(job, brief)| (job.clone(), Brief { seconds: brief.seconds * part, ..brief })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops around `/bin/true`, as they were met: each process lives for less than a millisecond.
    #[test]
    fn those_that_live_shorter_than_a_tick_are_known_by_their_own_clocks() {
        let job = JobId::kernel("x");
        let young = |cpu, run_delay| Young { job: &job, age: 0.01, cpu, run_delay };
        let storm = [young(777_966, 1773), young(684_898, 2383), young(29_374, 9724), young(0, 0)];
        let used = used(storm.into_iter(), 0.4, 0.71, 0.01);
        let brief = used[&job];
        assert_eq!(brief.number, 4);
        assert!((0.7..=0.71).contains(&brief.seconds), "{brief:?}");
    }
}
