//! Memory that is short: who holds it and who takes more, for the host as a whole and in a control group that has come to its limit.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use super::stuck::HELD_UP;
use super::{CULPRIT_SHARE, Taking, Totals, WATCH_TASKS, is_program};
use crate::analysis::diagnosis::{Job, Kind, Resource, WaitGroup};
use crate::analysis::limits::{Limit, Scarce};
use crate::analysis::waits::OWN_LIMIT;
use crate::sample::Memory;

/// Whoever comes to its own limit of memory this often, times a second, is held up by it. Page cache alone fills up any group now and
/// then, and costs nobody anything (`full-of-page-cache.toml`).
const LIMITED: f64 = 1.0;
/// The host is short of memory when less than this part of it can still be had: then it is not only their own limit
/// (`limit-on-a-short-host.toml`). Its pressure does not tell, for that of a group at its own limit is counted in it.
const SCARCE: f64 = 0.1;
/// Whoever grows counts for what it holds this many seconds later: those who wait do so because memory is being taken, more than because it
/// was (`grows-beside-a-database.toml`).
const AHEAD: f64 = 10.0;
/// And so much more than whoever holds as much and does not grow, from this part of the memory on within that time.
const GROWS: f64 = 2.0;
const GROWS_FROM: f64 = 0.05;
/// Kernel work that looks for memory, and how much of a CPU it takes where it finds little. Named only where no job holds or takes much: it
/// works whenever memory is short (`nobody-holds-much.toml`).
const RECLAIM: &str = "kernel: reclaim";
const RECLAIM_CORES: f64 = 0.1;

/// A job's part in the memory: of what its control group may have, where that is what is short, else of all there is.
pub fn share(job: &Job, limit: Option<&Limit>, totals: Totals<'_>) -> Option<f64> {
    let allowed = limit.map(|limit| if let Scarce::Memory { bytes, .. } = limit.of { bytes } else { None });
    let all = allowed.unwrap_or_else(|| totals.memory.map(|memory| memory.total));
    let (held, all) = job.usage.resident.zip(all.filter(|all| *all > 0))?;
    Some((held as f64 / all as f64).min(1.0))
}

/// The same, as it counts for who is to blame.
fn weight(job: &Job, limit: Option<&Limit>, totals: Totals<'_>) -> Option<f64> {
    let held = share(job, limit, totals)?;
    let bytes = job.usage.resident.filter(|bytes| *bytes > 0)? as f64;
    let grows = job.usage.memory_growth.unwrap_or_default() * AHEAD * held / bytes;
    Some(((held + grows) * if grows >= GROWS_FROM { GROWS } else { 1.0 }).min(1.0))
}

pub fn is_reclaim(job: &Job) -> bool {
    job.facts.finding.kind == Kind::Kernel && job.facts.name == RECLAIM
}

/// The kernel's search for memory, where it is at work for those who wait, and who holds what is known.
pub fn reclaim(jobs: &[Job], victims: &[usize], waits: &[WaitGroup], totals: Totals<'_>) -> Option<usize> {
    let robbed = victims.iter().all(|&v| !is_limited(jobs, v, waits, totals));
    let most = jobs.iter().filter_map(|job| share(job, None, totals)).reduce(f64::max)?;
    let at_work = |job: &Job| job.usage.stuck > 0.0 || job.usage.cpu_cores.is_some_and(|cores| cores >= RECLAIM_CORES);
    (robbed && most < CULPRIT_SHARE).then(|| jobs.iter().position(|job| is_reclaim(job) && at_work(job))).flatten()
}

/// Whether those of its tasks that wait for memory do so at a limit of its control group; where they cannot be seen, whether it comes to one.
pub fn is_limited(jobs: &[Job], job: usize, waits: &[WaitGroup], totals: Totals<'_>) -> bool {
    let Job { facts, stalls, .. } = &jobs[job];
    let own: Vec<&WaitGroup> =
        waits.iter().filter(|group| group.job == facts.id && group.resource == Some(Resource::Memory)).collect();
    // Version 1 does not count for how long it was held up.
    let held_up = stalls.memory.is_none_or(|part| part >= HELD_UP);
    let scarce = |memory: Memory| memory.available.is_some_and(|free| (free as f64) < memory.total as f64 * SCARCE);
    let often = |limit: &Limit| limit.has(job) && matches!(limit.of, Scarce::Memory { times, .. } if times >= LIMITED);
    let comes_to_it = held_up && totals.limits.iter().any(often) && !totals.memory.is_some_and(scarce);
    if own.is_empty() { comes_to_it } else { own.iter().all(|group| group.meaning.as_deref() == Some(OWN_LIMIT)) }
}

/// Who holds the memory that others wait for. Whoever has come to a limit waits for nobody outside of the control group that has it.
pub fn culprit(
    jobs: &[Job],
    waits: &[WaitGroup],
    victims: &[usize],
    limit: Option<&Limit>,
    totals: Totals<'_>,
) -> Option<(usize, Vec<usize>)> {
    let is_robbed = |v: &usize| limit.is_some() || !is_limited(jobs, *v, waits, totals);
    let robbed: Vec<usize> = victims.iter().copied().filter(is_robbed).collect();
    let inside = |i: usize| limit.is_none_or(|limit| limit.has(i));
    let weight = |i: usize| weight(&jobs[i], limit, totals).filter(|_| inside(i)).unwrap_or_default();
    // Nor does whoever holds more than the one accused.
    let others_wait = |i: usize| {
        let tasks = robbed.iter().filter(|&&v| weight(v) < weight(i)).map(|&v| jobs[v].usage.stuck).sum::<f64>();
        tasks >= totals.least(WATCH_TASKS, Resource::Memory)
    };
    let taking = Taking { jobs, resource: Resource::Memory, device: None, totals, least: CULPRIT_SHARE, share: weight };
    let (culprit, mut also) = taking.most(|i| is_program(&jobs[i]) && inside(i) && others_wait(i))?;
    also.retain(|i| !(victims.contains(i) && jobs[*i].facts.finding.kind == Kind::Service));
    Some((culprit, also))
}
