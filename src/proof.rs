//! What a pause has shown: whether others wait no longer while the suspect stands still.
//!
//! Fed with each new diagnosis, like [`crate::recovery`]; reads no clock of its own. Tested by `tests/words.rs`.

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
/// Fewer tasks than this that waited before say nothing: that many come and go by themselves.
const ENOUGH: f64 = 1.0;
/// A writer's bytes are on their way to the disk for a while after it was stopped, so that a pause without effect says less.
const WRITES: f64 = 1e6;

/// A pause whose effect is being measured.
#[derive(Clone, Debug)]
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
    /// Tasks of others that waited before.
    pub waiting_before: f64,
    /// Tasks of the same jobs that wait by the newest look.
    pub waiting_now: f64,
    /// By the last looks at the paused job, once the numbers are of the pause alone.
    during: Vec<f64>,
    victims: Vec<JobId>,
    wrote: bool,
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
    /// Begins with the outcome that says that the job stands still; `before` is the diagnosis that the operator acted on.
    pub fn begin(job: JobId, outcome: &Outcome, seconds: u32, before: &Diagnosis) -> Self {
        let victims: Vec<JobId> = if before.verdict.victims.is_empty() {
            let waits = before.jobs.iter().filter(|other| other.facts.id != job && other.usage.waiting() > 0.0);
            waits.map(|other| other.facts.id.clone()).collect()
        } else {
            before.verdict.victims.iter().filter(|victim| **victim != job).cloned().collect()
        };
        let waiting = waiting_of(&victims, before);
        let wrote = before.job(&job).and_then(|job| job.usage.write_bytes).is_some_and(|bytes| bytes >= WRITES);
        Self {
            job,
            name: outcome.job.clone(),
            stopped_at: outcome.at,
            seconds,
            gone_on_at: None,
            waiting_before: waiting,
            waiting_now: waiting,
            during: Vec::new(),
            victims,
            wrote,
        }
    }

    /// Takes in the next diagnosis.
    pub fn observe(&mut self, now: &Diagnosis) {
        self.waiting_now = waiting_of(&self.victims, now);
        let paused = now.at.duration_since(self.stopped_at).as_secs_f64();
        let is_paused = self.gone_on_at.is_none_or(|gone_on| now.at <= gone_on);
        if is_paused && paused >= SETTLE_SECONDS.min(f64::from(self.seconds) * 0.8) {
            self.during.push(self.waiting_now);
        }
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
        let mut during = self.during.clone();
        during.sort_by(f64::total_cmp);
        during.get(during.len() / 2).copied()
    }

    /// What it has shown so far.
    pub fn shown(&self) -> Shown {
        if self.waiting_before < ENOUGH {
            return Shown::Nothing("nobody waited before, so a pause can show nothing");
        }
        let Some(during) = self.waiting_during() else {
            let why = match self.gone_on_at {
                Some(_) => "it stood still for too short a time to tell",
                None => "too early to tell",
            };
            return Shown::Nothing(why);
        };
        let left = during / self.waiting_before;
        if left <= CAUSE || during < ENOUGH {
            Shown::Cause
        } else if left < NO_CAUSE {
            Shown::Part
        } else {
            Shown::NotTheCause
        }
    }

    /// `waiting tasks 38 → 2 while nightly.sh stood still: it is the cause`
    pub fn sentence(&self) -> String {
        let name = &self.name;
        let shown = self.shown();
        let Some(during) = self.waiting_during().filter(|_| !matches!(shown, Shown::Nothing(_))) else {
            let Shown::Nothing(why) = shown else { return String::new() };
            return format!("{name} is paused: {why}");
        };
        let said = match shown {
            Shown::Cause => "it is the cause",
            Shown::Part => "it is a part of the cause, and there is another",
            _ if self.wrote => "it is not the cause, unless what it wrote before is still on its way to the disk",
            _ => "it is not the cause",
        };
        format!("waiting tasks {:.0} → {during:.0} while {name} stood still: {said}", self.waiting_before)
    }
}

/// Tasks of these jobs that wait, over the last seconds.
fn waiting_of(jobs: &[JobId], diagnosis: &Diagnosis) -> f64 {
    jobs.iter().filter_map(|id| diagnosis.job(id)).map(|job| job.usage.waiting()).sum()
}
