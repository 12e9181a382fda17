//! CPU time of processes that came and went between two looks: a fork storm, a build of small files.
//!
//! Nobody sees them, but the host's own count knows that somebody ran, and the young processes that are there at a look are
//! a sample of those that were there before them. Pure. Tested by `tests/scenarios.rs`.

use std::collections::{BTreeMap, HashMap};

use crate::analysis::diagnosis::JobId;
use crate::units::{Nanos, SECOND};

/// A job has brief processes if it has so many at one look that were not there at the look before; one or two begin anywhere.
const LEAST: usize = 3;

/// A process that was not there at the look before.
pub struct Young<'a> {
    /// Its job.
    pub job: &'a JobId,
    /// Seconds since it started, at least one clock tick.
    pub age: f64,
    /// CPU time since then.
    pub cpu: Nanos,
}

/// CPU seconds by job. `seconds`: between the two looks; `unexplained`: CPU seconds that no process which was seen has used.
pub fn used<'a>(young: impl Iterator<Item = Young<'a>>, seconds: f64, unexplained: f64) -> HashMap<JobId, f64> {
    let mut jobs: BTreeMap<&JobId, (usize, f64)> = BTreeMap::new();
    for Young { job, age, cpu } in young.filter(|young| young.age > 0.0 && young.age <= seconds) {
        let cpu = cpu as f64 / SECOND as f64;
        let (number, missing) = jobs.entry(job).or_default();
        *number += 1;
        // As many were at work all the time as are now; what these have used themselves is known already.
        *missing += cpu / age * (seconds - age);
    }
    jobs.retain(|_, (number, _)| *number >= LEAST);
    let all: f64 = jobs.values().map(|(_, missing)| missing).sum();
    let part = if all > 0.0 { (unexplained / all).clamp(0.0, 1.0) } else { 0.0 };
    jobs.into_iter().map(|(job, (_, missing))| (job.clone(), missing * part)).collect()
}
