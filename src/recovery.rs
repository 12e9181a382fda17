//! The clock after an action: does the host recover, how far has it come, what remains of the job. After one that puts back what was done
//! (resume, undo): do others wait again.
//!
//! Fed with each new diagnosis; reads no clock of its own, so a replay shows the same recovery. Tested by `tests/loop.rs` and
//! `tests/words.rs`, its arithmetic in place.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use crate::action::{Action, Outcome, Signal};
use crate::analysis::diagnosis::{Diagnosis, Job, JobId, Level, Resource};
use crate::site::Condition;
use crate::units::{ProcessId, span};

/// After this many seconds with a process of the job still alive, SIGKILL is offered. Long enough for `borg` and `rsync` to
/// clean up (0.4 to 1.9 s were measured), short enough for somebody whose site is down.
pub const PATIENCE_SECONDS: f64 = 10.0;
/// How many diagnoses in a row must agree before the word "recovered" is said.
const AGREEING: u32 = 2;
/// Time constant of the one-minute load average, in seconds (`kernel/sched/loadavg.c`).
const LOAD_SECONDS: f64 = 60.0;
/// After something was put back, so many tasks more that wait are no longer what comes and goes by itself.
const AGAIN: f64 = 1.0;
/// Seconds before which a look says nothing of what came of it: whoever stops a unit looks at once, for its processes.
const SOONEST: f64 = 0.5;
/// Jobs that are named with their own numbers; the rest is counted.
const NAMED: usize = 3;

/// What is watched after an action on a job.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The job that was acted on.
    pub job: JobId,
    /// What was done.
    pub outcome: Outcome,
    /// Tasks of others that waited when it was done.
    pub waiting_before: f64,
    /// Tasks of the same jobs that wait now.
    pub waiting_now: f64,
    /// The same by job: those that waited most first.
    pub victims: Vec<Victim>,
    /// What is short.
    pub short: Resource,
    /// What those who waited most got of it when it was done, and get now. `None`: not known, or it comes in no measure.
    pub gets: Option<(f64, f64)>,
    /// Tasks of theirs that waited before the culprit came. `None`: whytop did not watch then.
    pub waiting_earlier: Option<f64>,
    /// The one-minute load average when it was done.
    pub load_before: Option<f64>,
    /// The load average now.
    pub load_now: Option<f64>,
    /// The web site under probe.
    pub site: Option<SiteChange>,
    /// Processes of the job that are still there, with their short names.
    pub alive: Vec<(ProcessId, String)>,
    /// Seconds since the action, by the newest sample.
    pub elapsed: f64,
    /// Seconds from the action until the victims no longer waited.
    pub recovered_after: Option<f64>,
    /// When the load average will read what, if nothing else happens.
    pub forecast: Option<Forecast>,
    /// What was taken of it when it was done. `None`: not known.
    taken: Option<f64>,
    agreeing: u32,
}

/// A job that waited when the action was done.
#[derive(Clone, Debug)]
pub struct Victim {
    /// Which.
    pub job: JobId,
    /// Its name, which outlives it.
    pub name: String,
    /// How it fared.
    pub before: Level,
    /// How it fares now.
    pub now: Level,
}

/// The web site under probe, before and after.
#[derive(Clone, Debug)]
pub struct SiteChange {
    /// How it stood when the action was done.
    pub before: Condition,
    /// How it stands.
    pub now: Condition,
    /// Seconds from the action until it answered as it should. `None`: it does not yet, or it did all along.
    pub back_after: Option<f64>,
}

impl SiteChange {
    /// Whether it fails now as it did before.
    pub fn is_down(&self) -> bool {
        self.before.well == Some(false) && self.now.well != Some(true)
    }

    /// `the site answers again: 200 in 38 ms; before: no answer for 41 s`
    pub fn sentence(&self) -> String {
        let (before, now) = (&self.before.words, &self.now.words);
        match (self.before.well, self.now.well) {
            (Some(false), Some(true)) => format!("the site answers again: {now}; before: {before}"),
            (Some(false), _) => format!("the site does not answer yet: {now}; before: {before}"),
            (_, Some(false)) => format!("the site fails: {now}; before: {before}"),
            (_, _) => format!("{before} → {now}"),
        }
    }
}

/// What the one-minute load average will read, and when.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The value.
    pub load: f64,
    /// The instant.
    pub at: Timestamp,
}

impl Recovery {
    /// Starts the clock at the instant of the action; `before` is the diagnosis that the operator acted on.
    pub fn begin(job: JobId, outcome: Outcome, before: &Diagnosis, site: Option<Condition>) -> Self {
        let (against, _) = before.verdict.against(&job);
        let (short, waiters) = (against.resource, &against.victims);
        let mut ids: Vec<JobId> = if outcome.action.puts_back() {
            // Whoever will wait for it again may not do so yet.
            before.jobs.iter().map(|other| &other.facts.id).filter(|id| **id != job).cloned().collect()
        } else if waiters.is_empty() {
            before.jobs.iter().filter(|j| j.facts.id != job && j.usage.waiting() > 0.0).map(|j| j.facts.id.clone()).collect()
        } else {
            waiters.iter().filter(|id| **id != job).cloned().collect()
        };
        // Neither is done process by process: who is left is seen by looking.
        let whole = before.job(&job).filter(|_| matches!(outcome.action, Action::Thaw { .. } | Action::StopUnit { .. }));
        // Who is to be relieved by a thaw is the job that it is for.
        let thawed = whole.filter(|_| matches!(outcome.action, Action::Thaw { .. }));
        ids.extend(thawed.filter(|thawed| thawed.usage.stuck > 0.0).map(|thawed| thawed.facts.id.clone()));
        // What it was like before the culprit came says nothing of another one.
        let earlier: Option<Vec<Level>> = ids.iter().map(|id| before.job(id)?.earlier).collect();
        let earlier = earlier.filter(|earlier| against.culprit.as_ref() == Some(&job) && !earlier.is_empty());
        let mut victims: Vec<Victim> = ids
            .into_iter()
            .filter_map(|id| {
                let job = before.job(&id)?;
                let level = Level::of(job, short);
                Some(Victim { job: id, name: job.facts.name.clone(), before: level, now: level })
            })
            .collect();
        victims.sort_by(|a, b| b.before.waiting.total_cmp(&a.before.waiting));
        let waiting = victims.iter().map(|victim| victim.before.waiting).sum();
        let load = before.load.averages.map(|averages| averages.avg1);
        let hits = outcome.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| (hit.id, hit.name.clone()));
        let stay = whole.into_iter().flat_map(|whole| &whole.facts.members).map(|member| (member.id, member.name.to_string()));
        let alive = hits.chain(stay).collect();
        Self {
            taken: Level::taken(before, &job),
            job,
            outcome,
            waiting_before: waiting,
            waiting_now: waiting,
            short,
            gets: gets(&victims),
            waiting_earlier: earlier.map(|earlier| Level::sum(earlier).waiting),
            alive,
            elapsed: 0.0,
            recovered_after: None,
            forecast: None,
            victims,
            load_before: load,
            load_now: load,
            site: site.map(|before| SiteChange { now: before.clone(), before, back_after: None }),
            agreeing: 0,
        }
    }

    /// Takes in the next diagnosis.
    pub fn observe(&mut self, now: &Diagnosis) {
        self.elapsed = now.at.duration_since(self.outcome.at).as_secs_f64();
        if self.elapsed <= 0.0 {
            return;
        }
        // Over the last seconds, not at this instant: a disk that is throttled or flushed in bursts has all of its readers stuck in one
        // moment and none in the next.
        for victim in &mut self.victims {
            victim.now = now.job(&victim.job).map_or_else(Level::default, |job| Level::of(job, self.short));
        }
        self.waiting_now = self.victims.iter().map(|victim| victim.now.waiting).sum();
        self.gets = gets(&self.victims);
        self.load_now = now.load.averages.map(|averages| averages.avg1);
        let left = now.job(&self.job);
        let living: HashSet<ProcessId> =
            now.jobs.iter().flat_map(|job| job.facts.members.iter().map(|member| member.id)).collect();
        self.alive.retain(|(id, _)| living.contains(id));
        // Whoever was born into the job since then has survived it too.
        for member in left.filter(|job| is_whole_target(&self.outcome, job)).iter().flat_map(|job| &job.facts.members) {
            if !self.alive.iter().any(|(id, _)| *id == member.id) {
                self.alive.push((member.id, member.name.to_string()));
            }
        }
        self.forecast = forecast(now);
        if self.outcome.action.puts_back() {
            return;
        }
        let nobody_else = now.verdict.worst.culprit.as_ref().is_none_or(|culprit| *culprit == self.job);
        // What still waits then waits for its own work (40 → 25 stuck tasks and 12 times as much in the reference outage, whose workers
        // alone fill the disk in the end). As long as the job is there they may as well get more by chance.
        let is_over = nobody_else && (self.alive.is_empty() || !self.outcome.action.ends());
        let times = self.gets.filter(|_| is_over && self.waiting_now <= self.waiting_before);
        let times = times.and_then(|gets| Level::times(gets, self.taken, self.short));
        // What waited all the same before is nothing to be recovered from.
        let earlier = self.waiting_earlier.filter(|earlier| earlier * Level::AS_BEFORE < self.waiting_before);
        let calm = self.waiting_now <= (self.waiting_before * Level::RESIDUE).max(1.0)
            || earlier.is_some_and(|earlier| self.waiting_now <= earlier * Level::AS_BEFORE)
            || times.is_some_and(|times| times >= Level::MUCH_MORE);
        self.agreeing = if calm { self.agreeing + 1 } else { 0 };
        if self.agreeing >= AGREEING && self.recovered_after.is_none() && self.waiting_before >= 1.0 {
            self.recovered_after = Some(self.elapsed);
        }
    }

    /// Whether more wait than did before it was put back.
    pub fn wait_again(&self) -> bool {
        self.waiting_now >= self.waiting_before * Level::AS_BEFORE + AGAIN
    }

    /// Whether somebody or the site has something to be relieved of.
    pub fn is_wanted(&self) -> bool {
        self.waiting_before >= 1.0 || self.site_is_down()
    }

    /// Those who waited or wait, most first, and how many more there are: `site-worker 38 → 21, postgresql 0.7 → 0 and 3 more`.
    pub fn by_victim(&self, fmt: impl Fn(f64) -> String) -> String {
        let most = |victim: &&Victim| victim.before.waiting.max(victim.now.waiting);
        let mut named: Vec<&Victim> = self.victims.iter().collect();
        if self.outcome.action.puts_back() {
            named.retain(|victim| most(victim) >= AGAIN / 2.0);
            named.sort_by(|a, b| most(b).total_cmp(&most(a)));
        }
        let more = named.len().saturating_sub(NAMED);
        // As whole tasks, as in their sum; a part of one is time shared.
        let whole = |waiting: f64| fmt(if waiting >= 1.0 { waiting.round() } else { waiting });
        let change =
            |victim: &&Victim| format!("{} {} → {}", victim.name, whole(victim.before.waiting), whole(victim.now.waiting));
        let words: Vec<String> = named.iter().take(NAMED).map(change).collect();
        if more > 0 { format!("{} and {more} more", words.join(", ")) } else { words.join(", ") }
    }

    /// In one sentence: `recovered after 5 s: waiting tasks 38 → 3 (site-worker 38 → 3); load 40.1 → 38.2; the site answers again: …`
    pub fn sentence(&self) -> String {
        let load = |load: Option<f64>| load.map_or_else(|| "n/a".to_owned(), |load| format!("{load:.1}"));
        if self.elapsed < SOONEST {
            let site = self.site.as_ref().map(|site| format!("; site: {}", site.before.words)).unwrap_or_default();
            return format!("before it {:.0} tasks waited, load {}{site}", self.waiting_before, load(self.load_before));
        }
        let head = match self.recovered_after {
            Some(after) if self.site_is_down() => format!("the tasks recovered after {}: ", span(after)),
            Some(after) => format!("recovered after {}: ", span(after)),
            None if self.outcome.action.puts_back() && self.wait_again() => {
                format!("others wait again after {}: ", span(self.elapsed))
            }
            None if self.outcome.action.puts_back() => format!("nobody waits more after {}: ", span(self.elapsed)),
            None if self.waiting_before >= 1.0 => format!("not recovered after {}: ", span(self.elapsed)),
            None => String::new(),
        };
        let victims = self.by_victim(|waiting| match waiting {
            part if part > 0.0 && part < 1.0 => format!("{part:.1}"),
            whole => format!("{whole:.0}"),
        });
        let victims = if victims.is_empty() { victims } else { format!(" ({victims})") };
        let mut parts = vec![format!("{head}waiting tasks {:.0} → {:.0}{victims}", self.waiting_before, self.waiting_now)];
        parts.extend(self.rest());
        parts.push(format!("load {} → {}", load(self.load_before), load(self.load_now)));
        parts.extend(self.site.as_ref().map(SiteChange::sentence));
        parts.join("; ")
    }

    /// Why those who still wait are no sign of trouble: `they wait for their own work: 24 did before it came`. `None`: nobody does, or
    /// it has not recovered.
    pub fn rest(&self) -> Option<String> {
        self.recovered_after.filter(|_| self.waiting_now > (self.waiting_before * Level::RESIDUE).max(1.0))?;
        Some(match self.waiting_earlier {
            Some(earlier) => format!("they wait for their own work: {earlier:.0} did before it came"),
            None => "they wait for their own work: nobody else is to blame for it".to_owned(),
        })
    }

    /// Takes in how the site under probe stands.
    pub fn observe_site(&mut self, condition: Condition, at: Timestamp) {
        let Some(site) = &mut self.site else { return };
        if site.before.well == Some(false) && condition.well == Some(true) && site.back_after.is_none() {
            site.back_after = Some(at.duration_since(self.outcome.at).as_secs_f64().max(0.0));
        }
        site.now = condition;
    }

    /// Whether the site under probe failed when the action was done, and still does.
    pub fn site_is_down(&self) -> bool {
        self.site.as_ref().is_some_and(SiteChange::is_down)
    }

    /// Whether the job has outlived the patience for a signal that should have ended it.
    pub fn outlived(&self) -> bool {
        self.outcome.action.ends()
            && self.outcome.action != Action::End(Signal::Kill)
            && self.elapsed >= PATIENCE_SECONDS
            && !self.alive.is_empty()
    }

    /// Whether what the action was for has happened: an ended job is gone, nobody waits any more, and the site answers.
    pub fn complete(&self) -> bool {
        self.recovered_after.is_some() && !self.site_is_down() && (self.alive.is_empty() || !self.outcome.action.ends())
    }
}

/// What those who waited most got, and get.
fn gets(victims: &[Victim]) -> Option<(f64, f64)> {
    let before = Level::gets_of_most(victims.iter().map(|victim| (victim.before, victim.before)));
    before.zip(Level::gets_of_most(victims.iter().map(|victim| (victim.before, victim.now))))
}

/// The job is the action's target as a whole (a unit keeps its name when only a part of it was hit).
fn is_whole_target(outcome: &Outcome, job: &Job) -> bool {
    matches!(outcome.action, Action::StopUnit { .. })
        || job.facts.root.is_some_and(|root| outcome.hits.iter().any(|hit| hit.id == root))
}

/// When the one-minute load average will be back in the range of this host: L(t) = n + (L0 - n) * e^(-t/60).
/// `None` if it is there already, or the tasks of now keep it up.
fn forecast(now: &Diagnosis) -> Option<Forecast> {
    let load = now.load.averages?.avg1;
    let tasks = f64::from(now.load.now());
    let cpus = now.host.cpus as f64;
    // "Normal" is a load the CPUs can carry; the average only ever approaches the tasks of now, so aim a step above them.
    let target = (2.0 * cpus).max((tasks * 1.25).ceil() + 1.0);
    if load <= target {
        return None;
    }
    let seconds = seconds_until(load, tasks, target);
    let at = now.at.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()?;
    Some(Forecast { load: target, at })
}

/// How long the one-minute load average takes from `load` to `target` while so many tasks count, in seconds.
fn seconds_until(load: f64, tasks: f64, target: f64) -> f64 {
    LOAD_SECONDS * ((load - tasks) / (target - tasks)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel does it: one step each 5.004 s, in its own fixed-point constant for e^(-5/60).
    fn steps_until(mut load: f64, tasks: f64, target: f64) -> f64 {
        let keep = 1884.0 / 2048.0;
        let mut seconds = 0.0;
        while load > target {
            load = load * keep + tasks * (1.0 - keep);
            seconds += 5.004;
        }
        seconds
    }

    #[test]
    fn the_average_falls_as_the_kernel_lets_it() {
        for (load, tasks, target) in [(40.0, 0.0, 8.0), (40.0, 2.0, 4.0), (12.0, 5.0, 8.0)] {
            let (said, kernels) = (seconds_until(load, tasks, target), steps_until(load, tasks, target));
            assert!((said - kernels).abs() <= 6.0, "{load} to {target}: said {said:.0} s, the kernel takes {kernels:.0} s");
        }
        assert!((seconds_until(40.0, 0.0, 8.0) - 97.0).abs() < 1.0);
    }
}
