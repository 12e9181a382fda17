//! Tasks that are runnable without a CPU, and who has the CPUs.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use super::{Case, Taking, Totals, WATCH_TASKS, waiting_jobs};
use crate::analysis::diagnosis::{Job, Resource};

/// A job waits for a CPU when its tasks lose this much to waiting: seconds per second.
const VICTIM_WAIT: f64 = 0.2;
/// CPUs are short only when nearly all of them are busy; below that, run delay is the scheduler's own doing.
const BUSY_SHARE: f64 = 0.85;
/// A backup need not take most of a CPU to be the one to go: it shares fairly with the service it robs.
const CULPRIT_SHARE: f64 = 0.15;

/// A job that its own limit keeps from running for this long, in seconds per second, waits for that and for nobody.
const THROTTLED: f64 = 0.2;

/// The case, if there is one.
pub fn case(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    contended(jobs, totals).or_else(|| throttled(jobs, totals))
}

fn wait(job: &Job) -> f64 {
    job.usage.cpu_wait.unwrap_or_default()
}

fn is_throttled(job: &Job) -> bool {
    job.stalls.throttled.is_some_and(|seconds| seconds >= THROTTLED)
}

/// Those who come to a limit of their own and wait for nobody: it need not be busy for that.
fn throttled(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    let victims: Vec<usize> = waiting_jobs(jobs, VICTIM_WAIT, wait).into_iter().filter(|&i| is_throttled(&jobs[i])).collect();
    let waiting: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    (waiting >= totals.least(WATCH_TASKS, Resource::Cpu)).then(|| Case {
        resource: Resource::Cpu,
        device: None,
        mount: None,
        victims,
        waiting,
        culprit: None,
        also: Vec::new(),
        share: None,
        seen: true,
        own_limit: true,
        because: None,
        confidence: 0.9,
    })
}

/// Those who wait because all CPUs are busy.
fn contended(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    if totals.cpu_busy? < BUSY_SHARE * totals.cpus {
        return None;
    }
    let mut victims = waiting_jobs(jobs, VICTIM_WAIT, wait);
    victims.retain(|&i| !is_throttled(&jobs[i]));
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
    // Kernel threads too: interrupts, or encryption for somebody.
    let taken = taking.most(others_wait);
    let (culprit, mut also) = taken.map_or((None, Vec::new()), |(culprit, also)| (Some(culprit), also));
    // Whoever waits for a CPU more than it has one is robbed, however much it takes.
    also.retain(|&i| wait(&jobs[i]) < jobs[i].usage.cpu_cores.unwrap_or_default());
    victims.retain(|&i| Some(i) != culprit && !also.contains(&i));
    let waiting: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    let share = culprit.map(share);
    let confidence = share.map_or(0.4, |share| (0.6 + 0.4 * share).min(0.95));
    let (device, mount) = (None, None);
    let (own_limit, because) = (false, None);
    Some(Case {
        resource: Resource::Cpu,
        device,
        mount,
        victims,
        waiting,
        culprit,
        also,
        share,
        seen: true,
        own_limit,
        because,
        confidence,
    })
}
