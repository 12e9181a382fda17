//! Which control groups are at a limit, and which jobs are in them.
//!
//! Pure, like all of [`super`]. Tested by `tests/scenarios.rs`.

use std::collections::{BTreeSet, HashMap};

use super::Monitor;
use crate::analysis::diagnosis::Job;
use crate::analysis::limits::{Limit, Scarce};
use crate::analysis::stalls::Rates;
use crate::sample::{Cgroup, IoLimit};
use crate::units::clean;

/// A group that moves this much of what it may, by what its jobs say, comes to that: they tell it over a longer time, in which it may have
/// begun.
const NEARLY_FULL: f64 = 0.7;

impl Monitor {
    /// Every limit that a control group has come to, or may have.
    pub(super) fn limits(&self, jobs: &[Job]) -> Vec<Limit> {
        let mut paths: Vec<&str> = self.cgroups.paths().collect();
        paths.sort_unstable();
        if paths.is_empty() {
            return Vec::new();
        }
        let members = self.members();
        let mut limits: Vec<Limit> = Vec::new();
        for path in paths {
            let Some(group) = self.cgroups.newest(path) else { continue };
            match self.cgroups.rates(path, &self.layers) {
                Some(rates) => limits.extend(reached(&rates, group).into_iter().map(|of| members.limit(path, of))),
                // Asked for once: its counters do not tell yet whether it comes to a limit.
                None => limits.extend(self.nearly_reached(path, group, jobs, &members)),
            }
        }
        limits
    }

    /// The limits that a group most likely comes to, by what its jobs say; and that of its memory, where who waits for that tells the rest.
    fn nearly_reached(&self, path: &str, group: &Cgroup, jobs: &[Job], members: &Members<'_>) -> Vec<Limit> {
        let memory = group.memory_limit.map(|bytes| members.limit(path, Scarce::Memory { times: 0.0, bytes: Some(bytes) }));
        let named = group.io_limits.iter().filter_map(|most| Some((most, &self.layers.numbered(most.device)?.name)));
        let disks = named.map(|(most, name)| (most, members.limit(path, Scarce::Disk(clean(name)))));
        let disks = disks.filter(|(most, limit)| is_nearly_full(**most, limit, jobs)).map(|(_, limit)| limit);
        disks.chain(memory).collect()
    }

    /// Which jobs have processes directly in which group, in the hierarchies of CPU time, of memory and of block devices.
    fn members(&self) -> Members<'_> {
        let mut members = Members::default();
        for entry in self.table.iter() {
            let (Some(identity), Some(job)) = (&entry.identity, self.jobs.index_of(entry.process.id)) else { continue };
            let groups = [identity.cpu_group(), identity.memory_group(), identity.io_group()];
            for (jobs, group) in members.0.iter_mut().zip(groups) {
                if let Some(group) = group {
                    jobs.entry(group).or_default().insert(job);
                }
            }
        }
        members
    }
}

/// By hierarchy and path.
#[derive(Default)]
struct Members<'a>([HashMap<&'a str, BTreeSet<usize>>; 3]);

impl Members<'_> {
    fn limit(&self, path: &str, of: Scarce) -> Limit {
        let [cpu, memory, io] = &self.0;
        let groups = match of {
            Scarce::Cpu(_) => cpu,
            Scarce::Memory { .. } => memory,
            Scarce::Disk(_) => io,
        };
        let is_below = |group: &str| group.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let jobs: BTreeSet<usize> =
            groups.iter().filter(|(group, _)| is_below(group)).flat_map(|(_, jobs)| jobs.iter().copied()).collect();
        Limit { path: clean(path), of, jobs: jobs.into_iter().collect(), is_above: !groups.contains_key(path) }
    }
}

/// What a group has no more of. That its memory has a limit is told in any case: where all that are in it are stuck, nobody comes to it again.
fn reached(rates: &Rates, group: &Cgroup) -> Vec<Scarce> {
    let cpu = rates.stalls.throttled.filter(|seconds| *seconds > 0.0).map(Scarce::Cpu);
    let times = rates.stalls.limited.unwrap_or_default();
    let bytes = group.memory_limit;
    let memory = (times > 0.0 || bytes.is_some()).then_some(Scarce::Memory { times, bytes });
    let disks = rates.full.iter().map(|name| Scarce::Disk(clean(name)));
    cpu.into_iter().chain(memory).chain(disks).collect()
}

/// By what the jobs in a group say that they move, of those that are known to move it on this disk.
fn is_nearly_full(most: IoLimit, limit: &Limit, jobs: &[Job]) -> bool {
    let Scarce::Disk(name) = &limit.of else { return false };
    let is_there = |job: &&Job| job.disks.as_ref().is_some_and(|disks| disks.iter().any(|disk| *disk == name.as_str()));
    let inside = || limit.jobs.iter().filter_map(|&i| jobs.get(i)).filter(is_there);
    let is = |most: Option<u64>, moved: f64| most.is_some_and(|most| most > 0 && moved >= most as f64 * NEARLY_FULL);
    is(most.read, inside().filter_map(|job| job.usage.read_bytes).sum())
        || is(most.written, inside().filter_map(|job| job.usage.write_bytes).sum())
}
