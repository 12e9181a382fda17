//! Tasks that are runnable without a CPU, and who has the CPUs.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use super::{Case, Taking, Totals, WATCH_TASKS, is_program, waiting_jobs};
use crate::analysis::diagnosis::{Job, Resource};

/// A job waits for a CPU when its tasks lose this much to waiting: seconds per second.
const VICTIM_WAIT: f64 = 0.2;
/// CPUs are short only when nearly all of them are busy; below that, run delay is the scheduler's own doing.
const BUSY_SHARE: f64 = 0.85;
/// A backup need not take most of a CPU to be the one to go: it shares fairly with the service it robs.
const CULPRIT_SHARE: f64 = 0.15;

/// The case, if there is one.
pub fn case(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    if totals.cpu_busy? < BUSY_SHARE * totals.cpus {
        return None;
    }
    let wait = |job: &Job| job.usage.cpu_wait.unwrap_or_default();
    let mut victims = waiting_jobs(jobs, VICTIM_WAIT, wait);
    let all: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    if all < totals.least(WATCH_TASKS, Resource::Cpu) {
        return None;
    }
    // The counts of tasks and of the host are not of one instant, so the sum may come to a little more than there is.
    let share = |i: usize| (jobs[i].usage.cpu_cores.unwrap_or_default() / totals.cpus).min(1.0);
    let others_wait = |i: usize| {
        victims.iter().filter(|&&v| v != i).map(|&v| wait(&jobs[v])).sum::<f64>() >= totals.least(WATCH_TASKS, Resource::Cpu)
    };
    let taking = Taking { jobs, resource: Resource::Cpu, device: None, totals, least: CULPRIT_SHARE, share };
    let taken = taking.most(|i| is_program(&jobs[i]) && others_wait(i));
    let (culprit, mut also) = taken.map_or((None, Vec::new()), |(culprit, also)| (Some(culprit), also));
    // Whoever waits for a CPU more than it has one is robbed, however much it takes.
    also.retain(|&i| wait(&jobs[i]) < jobs[i].usage.cpu_cores.unwrap_or_default());
    victims.retain(|&i| Some(i) != culprit && !also.contains(&i));
    let waiting: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    let share = culprit.map(share);
    let confidence = share.map_or(0.4, |share| (0.6 + 0.4 * share).min(0.95));
    let (device, mount) = (None, None);
    Some(Case { resource: Resource::Cpu, device, mount, victims, waiting, culprit, also, share, seen: true, confidence })
}
