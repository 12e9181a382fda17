//! All that the screen knows, owned by one thread. Only `update` changes it; `view` reads it.
//!
//! A selection is a job's identity, never a row: re-sorting cannot move it to another job. What can be derived from a
//! diagnosis and is needed with every frame (which job is in which list) is derived once, when the diagnosis comes.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;

use super::dialog::Dialog;
use super::keys::{Rights, Screen};
use super::theme::{Depth, Theme};
use crate::action::{Landing, Standing, Subject};
use crate::analysis::diagnosis::{Diagnosis, Job, JobId, Kind, Resource, Role, Severity};
use crate::proof::Proof;
use crate::recovery::Recovery;
use crate::sample::{Glance, HostFacts};
use crate::site::{Condition, Site};
use crate::subject;
use crate::units::ProcessId;

/// How long a message stays if no key dismisses it, in seconds: long enough to read two lines aloud.
const MESSAGE_SECONDS: i64 = 20;
/// From how many waiting tasks on average a job is listed among those that wait. Less is the noise of any busy host.
const WAITS_FROM: f64 = 0.05;

/// What is open, with what belongs to it.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Verdict, suspect, lists.
    Overview,
    /// One job.
    Detail(Detail),
    /// Keys and words.
    Help {
        /// First line shown.
        scroll: usize,
    },
    /// Which action on which processes.
    Dialog(Box<Dialog>),
}

impl Mode {
    /// Which keys are in force.
    pub fn screen(&self) -> Screen {
        match self {
            Self::Overview => Screen::Overview,
            Self::Detail(_) => Screen::Detail,
            Self::Help { .. } => Screen::Help,
            Self::Dialog(dialog) if dialog.typed.is_some() => Screen::Confirm,
            Self::Dialog(_) => Screen::Dialog,
        }
    }
}

/// The job that the detail screen is about.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Which.
    pub job: JobId,
    /// Its name, which outlives it.
    pub name: String,
    /// First line shown.
    pub scroll: usize,
}

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Jobs that wait.
    Waits,
    /// Jobs by what they take: all there are, the idle ones last.
    Takes,
}

/// A job that the user chose or that an action would hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub job: JobId,
    /// Its name, which outlives it.
    pub name: String,
}

/// How a message is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// For your information.
    Plain,
    /// It worked.
    Good,
    /// It did not.
    Bad,
}

/// The visible line.
#[derive(Clone, Debug)]
pub struct Message {
    /// The words.
    pub text: String,
    /// How they are meant.
    pub tone: Tone,
    /// When it goes away by itself.
    pub until: Option<Timestamp>,
}

/// An order on its way: what the outcome will belong to.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Of the order.
    pub ticket: u64,
    /// The job.
    pub job: JobId,
    /// What the operator saw when sending it.
    pub before: Option<Arc<Diagnosis>>,
    /// How the site under probe stood then.
    pub site: Option<Condition>,
    /// Only some processes of the job are meant.
    pub picked: bool,
}

/// An action that is being watched.
#[derive(Clone, Debug)]
pub struct Watch {
    /// How far it has come.
    pub recovery: Recovery,
    /// The diagnosis that the operator acted on.
    pub before: Arc<Diagnosis>,
}

/// A proof by pause: the suspect stands still, or did.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Of the order.
    pub ticket: u64,
    /// What it has shown so far.
    pub proof: Proof,
    /// The diagnosis that the operator acted on.
    pub before: Arc<Diagnosis>,
    /// How the site under probe stood then.
    pub site_before: Option<Condition>,
    /// How it stood last while the suspect stood still.
    pub site_during: Option<Condition>,
}

impl Trial {
    /// Whether the suspect stands still.
    pub const fn is_running(&self) -> bool {
        self.proof.gone_on_at.is_none()
    }
}

/// All that the screen knows.
#[derive(Clone, Debug)]
pub struct State {
    /// The host as a whole, until the first answer came.
    pub glance: Option<(Arc<HostFacts>, Box<Glance>)>,
    /// The newest answer. `None` until the first one came.
    pub diagnosis: Option<Arc<Diagnosis>>,
    /// The web site under probe, if there is one.
    pub site: Option<Site>,
    /// Rows of the list of those that wait: indices into the diagnosis's jobs.
    pub waits: Vec<usize>,
    /// Rows of the list of those that take.
    pub takes: Vec<usize>,
    /// What is open.
    pub mode: Mode,
    /// The list that the arrows move in.
    pub focus: List,
    /// The job that the user chose, if any; it may have ended meanwhile.
    pub selected: Option<Target>,
    /// The row where it was last seen, for the next step of the arrows only.
    pub row: usize,
    /// Orders that were given and not answered yet.
    pub pending: VecDeque<Pending>,
    /// The newest order's.
    pub ticket: u64,
    /// Who is left of the job that was told to end last.
    pub landings: Vec<Landing>,
    /// What was done and can be put back.
    pub standing: Vec<Standing>,
    /// What became of the last action.
    pub watch: Option<Watch>,
    /// The proof by pause that goes on, or was made last.
    pub trial: Option<Trial>,
    /// The visible line.
    pub message: Option<Message>,
    /// Whether anything here may act.
    pub rights: Rights,
    /// That what was done is not written down yet, and why.
    pub untraced: Option<String>,
    /// Why the last look gave no sample.
    pub failed: Option<String>,
    /// The newest instant that any event told.
    pub now: Option<Timestamp>,
    /// For clock times.
    pub zone: TimeZone,
    /// Styles.
    pub theme: Theme,
    /// Size of the screen when it was last drawn, for pages and the ends of scrolling.
    pub area: Rect,
    /// Counts visible changes: an unchanged screen is not drawn again.
    pub revision: u64,
}

impl State {
    /// Before the first event.
    pub fn new(zone: TimeZone, depth: Depth) -> Self {
        Self {
            glance: None,
            diagnosis: None,
            site: None,
            waits: Vec::new(),
            takes: Vec::new(),
            mode: Mode::Overview,
            focus: List::Takes,
            selected: None,
            row: 0,
            pending: VecDeque::new(),
            ticket: 0,
            landings: Vec::new(),
            standing: Vec::new(),
            watch: None,
            trial: None,
            message: None,
            rights: Rights::Act,
            untraced: None,
            failed: None,
            now: None,
            zone,
            theme: Theme::new(depth),
            area: Rect::ZERO,
            revision: 0,
        }
    }

    /// Shows a line for a while.
    pub fn say(&mut self, text: impl Into<String>, tone: Tone) {
        let until = self.now.and_then(|now| now.checked_add(SignedDuration::from_secs(MESSAGE_SECONDS)).ok());
        self.message = Some(Message { text: text.into(), tone, until });
    }

    /// Takes in a new answer: what depends on it alone is derived here, once.
    pub fn learn(&mut self, diagnosis: Arc<Diagnosis>) {
        self.waits = rows_of_waits(&diagnosis);
        self.takes = rows_of_takes(&diagnosis);
        if let Some(watch) = &mut self.watch {
            watch.recovery.observe(&diagnosis);
        }
        if let Some(trial) = &mut self.trial {
            trial.proof.observe(&diagnosis);
        }
        self.diagnosis = Some(diagnosis);
        self.glance = None;
    }

    /// Whether a job stands still because somebody paused it here.
    pub fn has_paused(&self) -> bool {
        self.trial.as_ref().is_some_and(Trial::is_running) || self.standing.iter().any(Standing::is_paused)
    }

    /// How the site under probe stands now. `None`: there is none.
    pub fn condition(&self) -> Option<Condition> {
        Some(self.site.as_ref()?.condition(self.now?))
    }

    /// Follows the clock, and what depends on it.
    pub fn pass(&mut self, now: Timestamp) {
        self.now = Some(self.now.map_or(now, |before| before.max(now)));
        let condition = self.condition();
        let Some(condition) = condition else { return };
        if let Some(trial) = self.trial.as_mut().filter(|trial| trial.is_running()) {
            trial.site_during = Some(condition.clone());
        }
        if let Some(watch) = &mut self.watch {
            watch.recovery.observe_site(condition, now);
        }
    }

    /// The rows of a list.
    pub fn rows(&self, list: List) -> &[usize] {
        match list {
            List::Waits => &self.waits,
            List::Takes => &self.takes,
        }
    }

    /// The job in this row of a list.
    pub fn job_at(&self, list: List, row: usize) -> Option<&Job> {
        self.diagnosis.as_ref()?.jobs.get(*self.rows(list).get(row)?)
    }

    /// The row of the selected job in this list.
    pub fn selected_row(&self, list: List) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        let jobs = &self.diagnosis.as_ref()?.jobs;
        self.rows(list).iter().position(|index| jobs.get(*index).is_some_and(|job| job.facts.id == selected.job))
    }

    /// The job that the panel is about: the culprit, else a backup that runs, as long as it has processes.
    pub fn suspect(&self) -> Option<&Job> {
        let diagnosis = self.diagnosis.as_ref()?;
        let verdict = &diagnosis.verdict;
        let find = |id: &Option<JobId>| id.as_ref().and_then(|id| diagnosis.job(id));
        find(&verdict.worst.culprit).or_else(|| find(&verdict.backup))
    }

    /// Whether somebody is to blame for what others wait for.
    pub fn suspect_is_accused(&self) -> bool {
        let worst = self.diagnosis.as_ref().map(|diagnosis| &diagnosis.verdict.worst);
        worst.is_some_and(|worst| worst.severity == Severity::Contention && worst.culprit.is_some())
    }

    /// The job that `k` is about: the one on the detail screen, the one the user chose, one that was acted on and is still there, or the
    /// suspect. Never just the first of a list: on a calm host, or once the culprit is gone, that is whoever does the host's
    /// own work, and a `k` out of habit must not end it.
    pub fn target(&self) -> Option<Target> {
        if let Mode::Detail(detail) = &self.mode {
            return Some(Target { job: detail.job.clone(), name: detail.name.clone() });
        }
        if self.selected.is_some() {
            return self.selected.clone();
        }
        if let Some(Trial { proof, .. }) = &self.trial {
            return Some(Target { job: proof.job.clone(), name: proof.name.clone() });
        }
        // What was paused or slowed is still there.
        if let Some(watch) = &self.watch
            && (watch.recovery.outlived() || !watch.recovery.outcome.action.ends() && !watch.recovery.alive.is_empty())
        {
            return Some(Target { job: watch.recovery.job.clone(), name: watch.recovery.outcome.job.clone() });
        }
        self.suspect().map(target_of)
    }

    /// Whoever waits for a frozen filesystem: that belongs to no job, and nobody may be known to have frozen it.
    pub fn held_up_by_a_freeze(&self) -> Option<Target> {
        let diagnosis = self.diagnosis.as_ref()?;
        let frozen = diagnosis.waits.iter().filter(|wait| wait.resource == Some(Resource::FrozenFilesystem));
        // Kernel threads are never acted on, whatever for.
        frozen.filter_map(|wait| diagnosis.job(&wait.job)).find(|job| !is_kernel(job)).map(target_of)
    }

    /// The job that Enter shows: the same, else the first of the list in focus.
    pub fn shown(&self) -> Option<Target> {
        self.target().or_else(|| self.job_at(self.focus, 0).map(target_of))
    }

    /// The job with every process that an action on it is meant for. One that was hit and lost its root has its survivors under
    /// other names by now: they are still meant.
    pub fn subject(&self, target: &Target) -> Subject {
        let Some(diagnosis) = &self.diagnosis else { return Subject::default() };
        let survivors: Vec<ProcessId> = match &self.watch {
            Some(watch) if watch.recovery.job == target.job => watch.recovery.alive.iter().map(|(id, _)| *id).collect(),
            _ => Vec::new(),
        };
        subject::of(diagnosis, &target.job, &target.name, &survivors)
    }
}

/// A job as a target.
pub fn target_of(job: &Job) -> Target {
    Target { job: job.facts.id.clone(), name: job.facts.name.clone() }
}

/// Whether the job is the kernel's own work, which takes no signals.
pub fn is_kernel(job: &Job) -> bool {
    job.facts.finding.kind == Kind::Kernel
        || !job.facts.members.is_empty() && job.facts.members.iter().all(|member| member.kernel_thread)
}

/// Tasks of a job that wait, now or on average: whichever is more, so that a burst between two samples shows too.
pub fn waiting_of(job: &Job) -> f64 {
    f64::from(job.uninterruptible).max(job.usage.stuck) + job.usage.cpu_wait.unwrap_or_default()
}

fn rows_of_waits(diagnosis: &Diagnosis) -> Vec<usize> {
    let mut rows: Vec<(usize, f64)> = diagnosis
        .jobs
        .iter()
        .enumerate()
        .map(|(index, job)| (index, waiting_of(job)))
        .filter(|row| row.1 >= WAITS_FROM)
        .collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.into_iter().map(|row| row.0).collect()
}

fn rows_of_takes(diagnosis: &Diagnosis) -> Vec<usize> {
    let resource = diagnosis.verdict.worst.resource;
    let weight = |job: &Job| -> f64 {
        let cpu = job.usage.cpu_cores.unwrap_or_default() / diagnosis.host.cpus.max(1) as f64;
        let disk = job.share.disk.unwrap_or_default();
        // The culprit leads, then who takes most of what is short; the other resource only orders the rest.
        let taken = match resource {
            Resource::Cpu => cpu + disk / 1000.0,
            Resource::Disk | Resource::FrozenFilesystem => disk + cpu / 1000.0,
            _ => cpu + disk / 10.0,
        };
        taken + if job.role == Role::Culprit { 10.0 } else { 0.0 }
    };
    let mut rows: Vec<(usize, f64)> = diagnosis.jobs.iter().enumerate().map(|(index, job)| (index, weight(job))).collect();
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    rows.into_iter().map(|row| row.0).collect()
}
