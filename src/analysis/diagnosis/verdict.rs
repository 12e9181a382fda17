//! What is the matter: what is short, who takes it, who waits for it.
//!
//! Plain data, as [`super`] has it.

use jiff::Timestamp;

use super::{JobId, Role};
use crate::units::rate;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody waits.
    Calm,
    /// Somebody waits, or will soon; or too little is known to blame anybody.
    Watch,
    /// Jobs wait, for something that another one takes.
    Contention,
}

impl Severity {
    /// As in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Watch => "watch",
            Self::Contention => "contention",
        }
    }
}

/// What is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// CPUs: tasks are runnable and do not run.
    Cpu,
    /// A disk or its queue.
    Disk,
    /// A filesystem that somebody froze.
    FrozenFilesystem,
    /// A file server, or a daemon that stands for one.
    NetworkFilesystem,
    /// Memory.
    Memory,
    /// A lock in the kernel.
    Lock,
    /// Nothing.
    None,
}

impl Resource {
    /// As in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Disk => "disk",
            Self::FrozenFilesystem => "frozen_filesystem",
            Self::NetworkFilesystem => "network_filesystem",
            Self::Memory => "memory",
            Self::Lock => "lock",
            Self::None => "none",
        }
    }

    /// What somebody got of it: `moved 8.4 MB/s instead of 0.7 MB/s`, `had 1.6 CPUs instead of 0.2`. `None`: it comes in no measure, or it
    /// is about as much as before.
    pub fn instead(self, now: f64, before: f64) -> Option<String> {
        const ABOUT: f64 = 1.25;
        if now <= before * ABOUT && before <= now * ABOUT {
            return None;
        }
        match self {
            Self::Disk => Some(format!("moved {} instead of {}", rate(now), rate(before))),
            Self::Cpu => Some(format!("had {now:.1} CPUs instead of {before:.1}")),
            _ => None,
        }
    }
}

/// What is the matter: the worst there is, and what else is short.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the one sentence is about; [`Severity::Calm`] where nothing is short.
    pub worst: Contention,
    /// What else is short, worst first.
    pub others: Vec<Contention>,
    /// A backup that runs, even when it hurts nobody.
    pub backup: Option<JobId>,
    /// Since when the worst has been like this: since the first of the victims that still wait got stuck, or as far as whytop saw it.
    pub since: Option<Timestamp>,
}

impl Verdict {
    /// Everything that is short, worst first.
    pub fn contentions(&self) -> impl Iterator<Item = &Contention> {
        std::iter::once(&self.worst).chain(&self.others)
    }

    /// The worst that this job has a part in, and which. Beside the worst of all, what is only worth a look gives nobody a part.
    pub fn about(&self, job: &JobId) -> Option<(&Contention, Role)> {
        let others = self.others.iter().filter(|short| short.severity == Severity::Contention);
        std::iter::once(&self.worst).chain(others).find_map(|short| Some((short, short.role(job)?)))
    }

    /// The worst that is short by this job's fault, alone or with others; the worst that there is, where it is accused of nothing. Whether
    /// it is accused.
    pub fn against(&self, job: &JobId) -> (&Contention, bool) {
        let accused = self.contentions().find(|contention| contention.role(job) == Some(Role::Culprit));
        (accused.unwrap_or(&self.worst), accused.is_some())
    }
}

/// One resource that is short.
#[derive(Clone, Debug)]
pub struct Contention {
    /// How bad it is.
    pub severity: Severity,
    /// What is short.
    pub resource: Resource,
    /// The disk that is short. `None`: it is no disk, or not known which.
    pub device: Option<String>,
    /// The sentence.
    pub headline: String,
    /// Who takes it.
    pub culprit: Option<JobId>,
    /// Who takes nearly as much: ending the culprit alone is not enough.
    pub also: Vec<JobId>,
    /// The culprit's part of what is short, 0 to 1. `None`: not known.
    pub share: Option<f64>,
    /// Who waits for it, most tasks first.
    pub victims: Vec<JobId>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// How many of the victims' tasks wait: in uninterruptible sleep (over the last seconds, or now where that are more), or runnable
    /// without a CPU (a fraction is time shared).
    pub waiting: f64,
    /// The numbers behind it: who waits and where, how busy that is, what the culprit takes.
    pub evidence: Vec<String>,
}

impl Contention {
    /// The part that this job has in it.
    fn role(&self, job: &JobId) -> Option<Role> {
        if self.culprit.as_ref() == Some(job) || self.also.contains(job) {
            return Some(Role::Culprit);
        }
        self.victims.contains(job).then_some(Role::Victim)
    }

    /// Nothing is short, as this sentence says.
    pub const fn none(headline: String, confidence: f64) -> Self {
        Self {
            severity: Severity::Calm,
            resource: Resource::None,
            device: None,
            headline,
            culprit: None,
            also: Vec::new(),
            share: None,
            victims: Vec::new(),
            confidence,
            waiting: 0.0,
            evidence: Vec::new(),
        }
    }
}
