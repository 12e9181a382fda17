//! What a pause has shown: whether others wait no longer while the suspect stands still.
//!
//! Fed with each new diagnosis, like [`crate::recovery`]; reads no clock of its own. Tested by `tests/words.rs`.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::action::Outcome;
use crate::analysis::diagnosis::{Diagnosis, Job, JobId, Level, Resource};

/// The numbers of a diagnosis are averages over the last seconds: before so many of them have passed they are still of the time
/// before the pause. (`analysis::window` looks back three seconds and what is left of one interval.)
const SETTLE_SECONDS: f64 = 4.0;
/// From this share of the tasks that waited on it is not the cause.
const NO_CAUSE: f64 = 0.75;
/// Of whatever gives others so many times as much it is a part: less than [`Level::MUCH_MORE`], and more than comes by itself.
const MORE: f64 = 1.75;
/// More that wait than this share are not relieved, whatever they get.
const NOT_LESS: f64 = 1.15;
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
    /// What is short.
    pub short: Resource,
    /// What was taken of it before. `None`: not known.
    taken: Option<f64>,
    victims: Vec<Victim>,
    /// Somebody who waited has ended before the pause had.
    lost: bool,
    wrote: bool,
}

/// A job that waited before, and is still there.
#[derive(Clone, Debug, PartialEq)]
struct Victim {
    job: JobId,
    before: Level,
    /// How it fared before the suspect came.
    earlier: Option<Level>,
    /// By the looks at the paused job, once the numbers are of the pause alone.
    during: Vec<Level>,
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
        let (against, _) = before.verdict.against(&job);
        let (short, waiters) = (against.resource, &against.victims);
        let ids: Vec<&JobId> = if waiters.is_empty() {
            before.jobs.iter().filter(|other| other.usage.waiting() > 0.0).map(|other| &other.facts.id).collect()
        } else {
            waiters.iter().collect()
        };
        let others = ids.into_iter().filter(|id| **id != job);
        let victim = |id: &JobId| {
            let found = before.job(id)?;
            // What it was like before the culprit came says nothing of another one.
            let earlier = found.earlier.filter(|_| against.culprit.as_ref() == Some(&job));
            Some(Victim { job: id.clone(), before: Level::of(found, short), earlier, during: Vec::new() })
        };
        let victims: Vec<Victim> = others.filter_map(victim).collect();
        let waiting = victims.iter().map(|victim| victim.before.waiting).sum();
        let wrote = before.job(&job).and_then(|job| job.usage.write_bytes).is_some_and(|bytes| bytes >= WRITES);
        Self {
            taken: Level::taken(before, &job),
            job,
            name: outcome.job.clone(),
            stopped_at: outcome.at,
            seconds,
            gone_on_at: None,
            whole: outcome.worked_wholly() && !picked,
            waiting_before: waiting,
            waiting_now: waiting,
            short,
            victims,
            lost: false,
            wrote,
        }
    }

    /// Takes in the next diagnosis.
    pub fn observe(&mut self, now: &Diagnosis) {
        let jobs: HashMap<&JobId, &Job> = now.jobs.iter().map(|job| (&job.facts.id, job)).collect();
        let level = |victim: &Victim| Some(Level::of(jobs.get(&victim.job)?, self.short));
        if self.gone_on_at.is_none_or(|gone_on| now.at <= gone_on) {
            // Whoever has ended waits no longer, whatever the suspect does: that is neither for it nor against it.
            let all = self.victims.len();
            self.victims.retain(|victim| jobs.contains_key(&victim.job));
            self.lost |= self.victims.len() < all;
            self.waiting_before = self.victims.iter().map(|victim| victim.before.waiting).sum();
            let is_settled = now.at.duration_since(self.stopped_at).as_secs_f64() >= SETTLE_SECONDS;
            for victim in self.victims.iter_mut().filter(|_| is_settled) {
                let level = level(victim);
                victim.during.extend(level);
            }
        }
        self.waiting_now = self.victims.iter().filter_map(level).map(|level| level.waiting).sum();
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
        let look = |at: usize| self.victims.iter().filter_map(|victim| victim.during.get(at)).map(|level| level.waiting).sum();
        middle((0..self.looks()).map(|at| Some(look(at))))
    }

    /// What those who waited most got of what is short, before and while it stood still. `None`: not known, or it comes in no measure.
    pub fn gets(&self) -> Option<(f64, f64)> {
        let before = Level::gets_of_most(self.victims.iter().map(|victim| (victim.before, victim.before)));
        let look = |at: usize| {
            let levels = self.victims.iter().filter_map(move |victim| Some((victim.before, *victim.during.get(at)?)));
            Level::gets_of_most(levels)
        };
        before.zip(middle((0..self.looks()).map(look)))
    }

    /// Tasks of the victims that waited before the suspect came. `None`: whytop did not watch then.
    pub fn waiting_earlier(&self) -> Option<f64> {
        let earlier: Option<Vec<Level>> = self.victims.iter().map(|victim| victim.earlier).collect();
        earlier.filter(|earlier| !earlier.is_empty()).map(|earlier| Level::sum(earlier).waiting)
    }

    fn looks(&self) -> usize {
        self.victims.first().map_or(0, |victim| victim.during.len())
    }

    /// How many times as much they got while it stood still, where no more of them waited.
    fn times(&self, left: f64) -> f64 {
        let gets = self.gets().filter(|_| left <= NOT_LESS);
        gets.and_then(|gets| Level::times(gets, self.taken, self.short)).unwrap_or_default()
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
        let as_earlier = self.waiting_earlier().is_some_and(|earlier| is_less && during <= earlier * Level::AS_BEFORE);
        let times = self.times(left);
        match (left <= Level::RESIDUE || as_earlier || times >= Level::MUCH_MORE, self.whole) {
            (true, _) => Shown::Cause,
            // The others may wait for the part that ran on.
            (false, false) => Shown::Nothing("only a part of it stood still, and others went on waiting"),
            (false, true) if is_less || times >= MORE => Shown::Part,
            (false, true) => Shown::NotTheCause,
        }
    }

    /// What stands still: `nightly.sh`, `a part of nightly.sh`.
    pub fn who(&self) -> String {
        if self.whole { self.name.clone() } else { format!("a part of {}", self.name) }
    }

    /// `waiting tasks 38 → 2 while nightly.sh stood still: it is the cause`; where they wait on for their own work, what they got of it:
    /// `waiting tasks 40 → 29 while nightly.sh stood still, and they moved 8.4 MB/s instead of 0.7 MB/s: it is the cause; …`
    pub fn sentence(&self) -> String {
        let shown = self.shown();
        let Some(during) = self.waiting_during().filter(|_| !matches!(shown, Shown::Nothing(_))) else {
            let Shown::Nothing(why) = shown else { return String::new() };
            return format!("pausing {} shows nothing: {why}", self.name);
        };
        let is_rest = matches!(shown, Shown::Cause) && during > self.waiting_before * Level::RESIDUE;
        let gets = self.gets().filter(|_| is_rest || !matches!(shown, Shown::Cause));
        let gets = gets.and_then(|(before, during)| self.short.instead(during, before));
        let gets = gets.map(|gets| format!(", and they {gets}")).unwrap_or_default();
        let (who, said) = (self.who(), self.judgement());
        format!("waiting tasks {:.0} → {during:.0} while {who} stood still{gets}: {said}", self.waiting_before)
    }

    /// `it is the cause`
    pub fn judgement(&self) -> String {
        let shown = self.shown();
        let is_rest = self.waiting_during().is_some_and(|during| during > self.waiting_before * Level::RESIDUE);
        match shown {
            Shown::Nothing(why) => why.to_owned(),
            Shown::Cause if is_rest => match self.waiting_earlier() {
                Some(earlier) => format!("it is the cause; before it came {earlier:.0} waited too"),
                None => "it is the cause; those who still wait, wait for their own work".to_owned(),
            },
            Shown::Cause => "it is the cause".to_owned(),
            Shown::Part => "it is a part of the cause, and there is another".to_owned(),
            Shown::NotTheCause if self.wrote => {
                "it is not the cause, unless what it wrote before is still on its way to the disk".to_owned()
            }
            Shown::NotTheCause => "it is not the cause".to_owned(),
        }
    }
}

/// The look in the middle. `None`: there is none, or one of them does not know.
fn middle(looks: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut looks: Vec<f64> = looks.collect::<Option<_>>()?;
    looks.sort_by(f64::total_cmp);
    looks.get(looks.len() / 2).copied()
}
