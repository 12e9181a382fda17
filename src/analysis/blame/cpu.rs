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

/// A job that its own limit keeps from running for this long, in seconds per second, waits for that, if nobody else has the CPUs.
const THROTTLED: f64 = 0.2;
/// While all CPUs are busy it has to be kept from running for this part of the time (`cpu-quota-beside-a-hog.toml`): whoever is held back
/// less is robbed of the rest (`nipped-by-a-quota.toml`).
const MOSTLY_THROTTLED: f64 = 0.4;

/// The case, if there is one.
pub fn case(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    contended(jobs, totals).or_else(|| throttled(jobs, totals))
}

fn wait(job: &Job) -> f64 {
    job.usage.cpu_wait.unwrap_or_default()
}

/// The part of the time for which its own limit keeps a job from running. The kernel counts that for each CPU on which it has tasks.
fn held_back(job: &Job, totals: Totals<'_>) -> f64 {
    let wanted = f64::from(job.runnable).max(wait(job)).clamp(1.0, totals.cpus.max(1.0));
    (job.stalls.throttled.unwrap_or_default() / wanted).min(1.0)
}

/// What a job loses to others: what its own limit does not explain of its wait.
fn robbed(job: &Job, totals: Totals<'_>) -> f64 {
    wait(job) * (1.0 - held_back(job, totals))
}

fn all_busy(totals: Totals<'_>) -> Option<bool> {
    totals.cpu_busy.map(|busy| busy >= BUSY_SHARE * totals.cpus)
}

fn is_throttled(job: &Job, totals: Totals<'_>) -> bool {
    let comes_to_it = job.stalls.throttled.is_some_and(|seconds| seconds >= THROTTLED);
    comes_to_it && (all_busy(totals) != Some(true) || held_back(job, totals) >= MOSTLY_THROTTLED)
}

/// Those who come to a limit of their own and wait for nobody: it need not be busy for that.
fn throttled(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    let victims = waiting_jobs(jobs, VICTIM_WAIT, wait);
    let victims: Vec<usize> = victims.into_iter().filter(|&i| is_throttled(&jobs[i], totals)).collect();
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
        answers: false,
        because: None,
        confidence: 0.9,
    })
}

/// Those who wait because all CPUs are busy.
fn contended(jobs: &[Job], totals: Totals<'_>) -> Option<Case> {
    if !all_busy(totals)? {
        return None;
    }
    let lost = |i: usize| robbed(&jobs[i], totals);
    let mut victims = waiting_jobs(jobs, VICTIM_WAIT, |job| robbed(job, totals));
    victims.retain(|&i| !is_throttled(&jobs[i], totals));
    let all: f64 = victims.iter().copied().map(lost).sum();
    if all < totals.least(WATCH_TASKS, Resource::Cpu) {
        return None;
    }
    // The counts of tasks and of the host are not of one instant, so the sum may come to a little more than there is.
    let share = |i: usize| (jobs[i].usage.cpu_cores.unwrap_or_default() / totals.cpus).min(1.0);
    let others_wait =
        |i: usize| victims.iter().copied().filter(|&v| v != i).map(lost).sum::<f64>() >= totals.least(WATCH_TASKS, Resource::Cpu);
    let taking = Taking { jobs, resource: Resource::Cpu, device: None, totals, least: CULPRIT_SHARE, share };
    // Kernel threads too: interrupts, or encryption for somebody.
    let taken = taking.most(others_wait);
    let (culprit, mut also) = taken.map_or((None, Vec::new()), |(culprit, also)| (Some(culprit), also));
    // Whoever waits for a CPU more than it has one is robbed, however much it takes.
    also.retain(|&i| wait(&jobs[i]) < jobs[i].usage.cpu_cores.unwrap_or_default());
    victims.retain(|&i| Some(i) != culprit && !also.contains(&i));
    let waiting: f64 = victims.iter().copied().map(lost).sum();
    let share = culprit.map(share);
    let confidence = share.map_or(0.4, |share| (0.6 + 0.4 * share).min(0.95));
    let (device, mount) = (None, None);
    let (own_limit, answers, because) = (false, false, None);
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
        answers,
        because,
        confidence,
    })
}
