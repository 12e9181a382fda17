//! Which control groups are at a limit, and which jobs are in them.
//!
//! Pure, like all of [`super`]. Tested by `tests/scenarios.rs`.

use std::collections::BTreeSet;

use super::Monitor;
use crate::analysis::diagnosis::Job;
use crate::analysis::limits::{Limit, Scarce};
use crate::sample::{Identity, IoLimit};
use crate::units::clean;

/// A group that moves this much of what it may, by what its jobs say, comes to that: they tell it over a longer time, in which it may have
/// begun.
const NEARLY_FULL: f64 = 0.7;

impl Monitor {
    /// Every control group that comes to a limit of its own.
    pub(super) fn limits(&self, jobs: &[Job]) -> Vec<Limit> {
        let mut paths: Vec<&str> = self.cgroups.paths().collect();
        paths.sort_unstable();
        let mut limits: Vec<Limit> = Vec::new();
        for path in paths {
            let reached = self.reached(path).into_iter().map(|of| self.limit(path, of));
            limits.extend(reached);
            let untold =
                self.cgroups.untold(path, &self.layers).map(|(name, most)| (most, self.limit(path, Scarce::Disk(clean(name)))));
            limits.extend(untold.filter(|(most, limit)| is_nearly_full(*most, limit, jobs)).map(|(_, limit)| limit));
        }
        limits
    }

    /// What a group has no more of.
    fn reached(&self, path: &str) -> Vec<Scarce> {
        let Some(rates) = self.cgroups.rates(path, &self.layers) else { return Vec::new() };
        let cpu = rates.stalls.throttled.filter(|seconds| *seconds > 0.0).map(Scarce::Cpu);
        let memory = rates.stalls.limited.filter(|times| *times > 0.0);
        let memory = memory.map(|times| Scarce::Memory { times, bytes: rates.memory_limit });
        let disks = rates.full.iter().map(|name| Scarce::Disk(clean(name)));
        cpu.into_iter().chain(memory).chain(disks).collect()
    }

    fn limit(&self, path: &str, of: Scarce) -> Limit {
        let mut jobs = BTreeSet::new();
        let mut is_above = true;
        for entry in self.table.iter() {
            let (Some(identity), Some(job)) = (&entry.identity, self.jobs.index_of(entry.process.id)) else { continue };
            let below = group(identity, &of).and_then(|group| group.strip_prefix(path));
            if let Some(rest) = below.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
                is_above &= !rest.is_empty();
                jobs.insert(job);
            }
        }
        Limit { path: clean(path), of, jobs: jobs.into_iter().collect(), is_above }
    }
}

/// By what the jobs in a group say that they move.
fn is_nearly_full(most: IoLimit, limit: &Limit, jobs: &[Job]) -> bool {
    let inside = || limit.jobs.iter().filter_map(|&i| jobs.get(i));
    let is = |most: Option<u64>, moved: f64| most.is_some_and(|most| most > 0 && moved >= most as f64 * NEARLY_FULL);
    is(most.read, inside().filter_map(|job| job.usage.read_bytes).sum())
        || is(most.written, inside().filter_map(|job| job.usage.write_bytes).sum())
}

/// Where a process is, in the hierarchy that this is limited by.
fn group<'a>(identity: &'a Identity, of: &Scarce) -> Option<&'a str> {
    match of {
        Scarce::Cpu(_) => identity.cpu_group(),
        Scarce::Memory { .. } => identity.memory_group(),
        Scarce::Disk(_) => identity.io_group(),
    }
}
