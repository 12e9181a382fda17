//! Tasks that are runnable without a CPU, and who has the CPUs.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use super::{Case, Taking, Totals, WATCH_TASKS, waiting_jobs};
use crate::analysis::diagnosis::{Job, Resource};
use crate::analysis::limits::{Limit, Scarce};

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

/// Whoever takes less than this part of what a control group may have is not what makes the others in it wait (`two-in-a-limited-slice.toml`).
const MOST_OF_LIMIT: f64 = 0.5;

/// Every case there is: those that all CPUs are busy for, and those in control groups that are at a limit.
pub fn cases<'a>(jobs: &[Job], totals: Totals<'a>) -> Vec<Case<'a>> {
    let mut found: Vec<Case<'a>> = contended(jobs, totals).into_iter().collect();
    let mut alone = Vec::new();
    for (limit, victims) in throttled(jobs, totals) {
        match robbed_within(jobs, limit, &victims, totals) {
            Some(case) => found.push(case),
            None => alone.push((limit, victims)),
        }
    }
    if found.is_empty() {
        found.extend(held_up(jobs, &alone, totals));
    }
    found
}

fn wait(job: &Job) -> f64 {
    job.usage.cpu_wait.unwrap_or_default()
}

fn cores(job: &Job) -> f64 {
    job.usage.cpu_cores.unwrap_or_default()
}

/// The limit that keeps a job from running most, and for which part of the time. The kernel counts that for each CPU on which the group has
/// tasks.
fn held_back<'a>(jobs: &[Job], job: usize, totals: Totals<'a>) -> Option<(&'a Limit, f64)> {
    let part = |limit: &'a Limit| {
        let Scarce::Cpu(seconds) = limit.of else { return None };
        let wanted: f64 = limit.jobs.iter().map(|&i| f64::from(jobs[i].runnable).max(wait(&jobs[i]))).sum();
        limit.has(job).then(|| (limit, (seconds / wanted.clamp(1.0, totals.cpus.max(1.0))).min(1.0)))
    };
    totals.limits.iter().filter_map(part).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// What a job loses to others: what a limit does not explain of its wait.
fn robbed(jobs: &[Job], job: usize, totals: Totals<'_>) -> f64 {
    wait(&jobs[job]) * (1.0 - held_back(jobs, job, totals).map_or(0.0, |(_, part)| part))
}

fn all_busy(totals: Totals<'_>) -> Option<bool> {
    totals.cpu_busy.map(|busy| busy >= BUSY_SHARE * totals.cpus)
}

/// The limit that a job waits for rather than for others.
fn limit_of<'a>(jobs: &[Job], job: usize, totals: Totals<'a>) -> Option<&'a Limit> {
    let (limit, part) = held_back(jobs, job, totals)?;
    let comes_to_it = matches!(limit.of, Scarce::Cpu(seconds) if seconds >= THROTTLED);
    (comes_to_it && (all_busy(totals) != Some(true) || part >= MOSTLY_THROTTLED)).then_some(limit)
}

/// Those who come to a limit and wait for nobody outside of it: it need not be busy for that.
fn throttled<'a>(jobs: &[Job], totals: Totals<'a>) -> Vec<(&'a Limit, Vec<usize>)> {
    let mut found: Vec<(&Limit, Vec<usize>)> = Vec::new();
    for i in waiting_jobs(jobs, VICTIM_WAIT, wait) {
        let Some(limit) = limit_of(jobs, i, totals) else { continue };
        match found.iter_mut().find(|(known, _)| *known == limit) {
            Some((_, victims)) => victims.push(i),
            None => found.push((limit, vec![i])),
        }
    }
    found
}

/// Those who wait because another one takes what all in their control group may have.
fn robbed_within<'a>(jobs: &[Job], limit: &'a Limit, victims: &[usize], totals: Totals<'a>) -> Option<Case<'a>> {
    let all: f64 = limit.jobs.iter().map(|&i| cores(&jobs[i])).sum();
    let share = |i: usize| if all > 0.0 && limit.has(i) { cores(&jobs[i]) / all } else { 0.0 };
    let lost = |culprit: usize| victims.iter().filter(|&&v| v != culprit).map(|&v| wait(&jobs[v])).sum::<f64>();
    let may_be = |i: usize| limit.has(i) && lost(i) >= totals.least(WATCH_TASKS, Resource::Cpu);
    let taking = Taking { jobs, resource: Resource::Cpu, device: None, totals, least: MOST_OF_LIMIT, share };
    let (culprit, _) = taking.most(may_be)?;
    let victims: Vec<usize> = victims.iter().copied().filter(|&i| i != culprit).collect();
    let confidence = (0.5 + 0.4 * share(culprit)).min(0.9);
    Some(Case {
        waiting: lost(culprit),
        culprit: Some(culprit),
        share: Some(share(culprit)),
        limit: Some(limit),
        ..blank(victims, confidence)
    })
}

/// Those whom a limit holds up, and nobody else.
fn held_up<'a>(jobs: &[Job], alone: &[(&'a Limit, Vec<usize>)], totals: Totals<'a>) -> Option<Case<'a>> {
    let mut victims: Vec<usize> = alone.iter().flat_map(|(_, victims)| victims.iter().copied()).collect();
    victims.sort_by(|&a, &b| wait(&jobs[b]).total_cmp(&wait(&jobs[a])));
    let waiting: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    let limit = match alone {
        [(only, _)] => Some(*only),
        _ => None,
    };
    (waiting >= totals.least(WATCH_TASKS, Resource::Cpu)).then(|| Case { waiting, own_limit: true, limit, ..blank(victims, 0.9) })
}

/// A case in which nobody is accused yet.
fn blank<'a>(victims: Vec<usize>, confidence: f64) -> Case<'a> {
    Case {
        resource: Resource::Cpu,
        device: None,
        mount: None,
        victims,
        waiting: 0.0,
        culprit: None,
        also: Vec::new(),
        share: None,
        seen: true,
        own_limit: false,
        limit: None,
        answers: false,
        because: None,
        confidence,
    }
}

/// Those who wait because all CPUs are busy.
fn contended<'a>(jobs: &[Job], totals: Totals<'a>) -> Option<Case<'a>> {
    if !all_busy(totals)? {
        return None;
    }
    let lost = |i: usize| robbed(jobs, i, totals);
    let mut victims = waiting_jobs(jobs, VICTIM_WAIT, wait);
    victims.retain(|&i| lost(i) >= VICTIM_WAIT && limit_of(jobs, i, totals).is_none());
    victims.sort_by(|&a, &b| lost(b).total_cmp(&lost(a)));
    let all: f64 = victims.iter().copied().map(lost).sum();
    if all < totals.least(WATCH_TASKS, Resource::Cpu) {
        return None;
    }
    // The counts of tasks and of the host are not of one instant, so the sum may come to a little more than there is.
    let share = |i: usize| (cores(&jobs[i]) / totals.cpus).min(1.0);
    let others_wait =
        |i: usize| victims.iter().copied().filter(|&v| v != i).map(lost).sum::<f64>() >= totals.least(WATCH_TASKS, Resource::Cpu);
    let taking = Taking { jobs, resource: Resource::Cpu, device: None, totals, least: CULPRIT_SHARE, share };
    // Kernel threads too: interrupts, or encryption for somebody.
    let taken = taking.most(others_wait);
    let (culprit, mut also) = taken.map_or((None, Vec::new()), |(culprit, also)| (Some(culprit), also));
    // Whoever waits for a CPU more than it has one is robbed, however much it takes.
    also.retain(|&i| wait(&jobs[i]) < cores(&jobs[i]));
    victims.retain(|&i| Some(i) != culprit && !also.contains(&i));
    let waiting: f64 = victims.iter().copied().map(lost).sum();
    let share = culprit.map(share);
    let confidence = share.map_or(0.4, |share| (0.6 + 0.4 * share).min(0.95));
    Some(Case { waiting, culprit, also, share, ..blank(victims, confidence) })
}
