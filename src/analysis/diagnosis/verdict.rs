//! What is the matter: what is short, who takes it, who waits for it.
//!
//! Plain data, as [`super`] has it.

use jiff::Timestamp;

use super::JobId;
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

/// The one sentence, and what stands behind it: the worst contention there is, and the others.
#[derive(Clone, Debug)]
pub struct Verdict {
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
    /// A backup that runs, even when it hurts nobody.
    pub backup: Option<JobId>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// Since when it has been like this: since the first of the victims that still wait got stuck, or as far as whytop saw it.
    pub since: Option<Timestamp>,
    /// How many of the victims' tasks wait: in uninterruptible sleep, or runnable without a CPU (a fraction is time shared).
    pub waiting: f64,
    /// The numbers behind it: who waits and where, how busy that is, what the culprit takes.
    pub evidence: Vec<String>,
    /// What else is short, worst first.
    pub others: Vec<Contention>,
}

impl Verdict {
    /// What is short by this job's fault, and who waits for it; what is short at all, where it is accused of nothing. Whether it is accused.
    pub fn against(&self, job: &JobId) -> (Resource, &[JobId], bool) {
        if self.culprit.as_ref() != Some(job)
            && let Some(other) = self.others.iter().find(|other| other.culprit.as_ref() == Some(job))
        {
            return (other.resource, &other.victims, true);
        }
        (self.resource, &self.victims, self.culprit.as_ref() == Some(job))
    }
}

/// One resource that is short, beside the worst.
#[derive(Clone, Debug)]
pub struct Contention {
    /// How bad it is.
    pub severity: Severity,
    /// What is short.
    pub resource: Resource,
    /// The disk, if it is one and known.
    pub device: Option<String>,
    /// The sentence.
    pub headline: String,
    /// Who takes it.
    pub culprit: Option<JobId>,
    /// Who takes nearly as much.
    pub also: Vec<JobId>,
    /// The culprit's part of what is short, 0 to 1. `None`: not known.
    pub share: Option<f64>,
    /// Who waits for it, most tasks first.
    pub victims: Vec<JobId>,
    /// How sure that is, 0 to 1.
    pub confidence: f64,
    /// How many of the victims' tasks wait.
    pub waiting: f64,
    /// The numbers behind it.
    pub evidence: Vec<String>,
}
