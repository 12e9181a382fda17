//! What a pause has shown: whether others wait no longer while the suspect stands still.
//!
//! Fed with each new diagnosis, like [`crate::recovery`]; reads no clock of its own. Tested by `tests/words.rs`.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::action::Outcome;
use crate::analysis::diagnosis::{Diagnosis, JobId};

/// The numbers of a diagnosis are averages over the last seconds: before so many of them have passed they are still of the time
/// before the pause. (`analysis::window` looks back three seconds and what is left of one interval.)
const SETTLE_SECONDS: f64 = 4.0;
/// At most this share of the tasks that waited still does: it is the cause. The same as for "recovered".
const CAUSE: f64 = 0.35;
/// From this share on it is not.
const NO_CAUSE: f64 = 0.75;
/// Fewer tasks than this that waited before, or that wait less, say nothing: that many come and go by themselves.
const ENOUGH: f64 = 1.0;
/// A writer's bytes are on their way to the disk for a while after it was stopped, so that a pause without effect says less.
const WRITES: f64 = 1e6;

/// A pause whose effect is being measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The suspect.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// When it was stopped.
    pub stopped_at: Timestamp,
    /// For how long it is to stand still, in seconds.
    pub seconds: u32,
    /// When it went on.
    pub gone_on_at: Option<Timestamp>,
    /// Whether all of it stood still: nobody was out of reach, and nobody left out.
    pub whole: bool,
    /// Tasks of others that waited before.
    pub waiting_before: f64,
    /// Tasks of the same jobs that wait by the newest look.
    pub waiting_now: f64,
    victims: Vec<Victim>,
    /// Somebody who waited has ended before the pause had.
    lost: bool,
    wrote: bool,
}

/// A job that waited before, and is still there.
#[derive(Clone, Debug, PartialEq)]
struct Victim {
    job: JobId,
    before: f64,
    /// By the looks at the paused job, once the numbers are of the pause alone.
    during: Vec<f64>,
}

/// What it has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shown {
    /// Not enough yet, or nothing at all.
    Nothing(&'static str),
    /// The suspect is the cause.
    Cause,
    /// Others take as much.
    Part,
    /// It is not.
    NotTheCause,
}

impl Proof {
    /// Begins with the outcome that says that the job stands still; `before` is the diagnosis that the operator acted on. `picked`: only
    /// some processes of the job were meant.
    pub fn begin(job: JobId, outcome: &Outcome, picked: bool, seconds: u32, before: &Diagnosis) -> Self {
        let ids: Vec<&JobId> = if before.verdict.victims.is_empty() {
            before.jobs.iter().filter(|other| other.usage.waiting() > 0.0).map(|other| &other.facts.id).collect()
        } else {
            before.verdict.victims.iter().collect()
        };
        let others = ids.into_iter().filter(|id| **id != job);
        let victim = |id: &JobId| {
            let waiting = before.job(id)?.usage.waiting();
            Some(Victim { job: id.clone(), before: waiting, during: Vec::new() })
        };
        let victims: Vec<Victim> = others.filter_map(victim).collect();
        let waiting = victims.iter().map(|victim| victim.before).sum();
        let wrote = before.job(&job).and_then(|job| job.usage.write_bytes).is_some_and(|bytes| bytes >= WRITES);
        Self {
            job,
            name: outcome.job.clone(),
            stopped_at: outcome.at,
            seconds,
            gone_on_at: None,
            whole: outcome.worked_wholly() && !picked,
            waiting_before: waiting,
            waiting_now: waiting,
            victims,
            lost: false,
            wrote,
        }
    }

    /// Takes in the next diagnosis.
    pub fn observe(&mut self, now: &Diagnosis) {
        let waiting: HashMap<&JobId, f64> = now.jobs.iter().map(|job| (&job.facts.id, job.usage.waiting())).collect();
        if self.gone_on_at.is_none_or(|gone_on| now.at <= gone_on) {
            // Whoever has ended waits no longer, whatever the suspect does: that is neither for it nor against it.
            let all = self.victims.len();
            self.victims.retain(|victim| waiting.contains_key(&victim.job));
            self.lost |= self.victims.len() < all;
            self.waiting_before = self.victims.iter().map(|victim| victim.before).sum();
            let is_settled = now.at.duration_since(self.stopped_at).as_secs_f64() >= SETTLE_SECONDS;
            for victim in self.victims.iter_mut().filter(|_| is_settled) {
                victim.during.extend(waiting.get(&victim.job));
            }
        }
        self.waiting_now = self.victims.iter().filter_map(|victim| waiting.get(&victim.job)).sum();
    }

    /// The suspect goes on.
    pub const fn end(&mut self, at: Timestamp) {
        self.gone_on_at = Some(at);
    }

    /// Seconds until it goes on by itself, at this instant.
    pub fn left(&self, now: Timestamp) -> f64 {
        if self.gone_on_at.is_some() {
            return 0.0;
        }
        (f64::from(self.seconds) - now.duration_since(self.stopped_at).as_secs_f64()).max(0.0)
    }

    /// Tasks of the victims that waited while it stood still: the middle one of the looks. `None`: there was none yet.
    pub fn waiting_during(&self) -> Option<f64> {
        let looks = self.victims.first()?.during.len();
        let look = |at: usize| self.victims.iter().filter_map(|victim| victim.during.get(at)).sum();
        let mut during: Vec<f64> = (0..looks).map(look).collect();
        during.sort_by(f64::total_cmp);
        during.get(during.len() / 2).copied()
    }

    /// What it has shown so far.
    pub fn shown(&self) -> Shown {
        if self.waiting_before < ENOUGH {
            return Shown::Nothing(if self.lost {
                "those who waited have ended meanwhile, whatever they waited for"
            } else {
                "nobody waited before, so a pause can show nothing"
            });
        }
        let Some(during) = self.waiting_during() else {
            let why = match self.gone_on_at {
                Some(_) => "it stood still for too short a time to tell",
                None => "too early to tell",
            };
            return Shown::Nothing(why);
        };
        let left = during / self.waiting_before;
        let is_less = left < NO_CAUSE;
        if is_less && self.waiting_before - during < ENOUGH {
            return Shown::Nothing("so few waited that some less may be chance");
        }
        match (left <= CAUSE, self.whole) {
            (true, _) => Shown::Cause,
            // The others may wait for the part that ran on.
            (false, false) => Shown::Nothing("only a part of it stood still, and others went on waiting"),
            (false, true) if is_less => Shown::Part,
            (false, true) => Shown::NotTheCause,
        }
    }

    /// What stands still: `nightly.sh`, `a part of nightly.sh`.
    pub fn who(&self) -> String {
        if self.whole { self.name.clone() } else { format!("a part of {}", self.name) }
    }

    /// `waiting tasks 38 → 2 while nightly.sh stood still: it is the cause`
    pub fn sentence(&self) -> String {
        let shown = self.shown();
        let Some(during) = self.waiting_during().filter(|_| !matches!(shown, Shown::Nothing(_))) else {
            let Shown::Nothing(why) = shown else { return String::new() };
            return format!("pausing {} shows nothing: {why}", self.name);
        };
        let said = match shown {
            Shown::Cause => "it is the cause",
            Shown::Part => "it is a part of the cause, and there is another",
            _ if self.wrote => "it is not the cause, unless what it wrote before is still on its way to the disk",
            _ => "it is not the cause",
        };
        format!("waiting tasks {:.0} → {during:.0} while {} stood still: {said}", self.waiting_before, self.who())
    }
}
