//! Those who are stuck: what they wait for, where, and since when.
//!
//! Plain data, as [`super`] has it.

use std::fmt;

use super::{Diagnosis, Job, JobId, Resource};
use crate::units::{Pid, ProcessId, span};

/// How a job fares, or several together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Level {
    /// Its tasks that wait, on average.
    pub waiting: f64,
    /// What it gets of what is short: bytes a second of a disk, CPUs. `None`: not known, or it comes in no such measure.
    pub gets: Option<f64>,
}

impl Level {
    /// At most this share of the tasks that waited still does: that is relief. Not zero: a disk that is busy again with its own site's
    /// work has a few tasks in D at any instant (5 to 11 of 40 workers in the reference outage before its backup).
    pub const RESIDUE: f64 = 0.35;
    /// What waited before the culprit came comes back to about this share of that: the disk is busy with its own site's work then and
    /// now.
    pub const AS_BEFORE: f64 = 1.25;
    /// A disk that its own site keeps busy has as many stuck in it as before, and they get ever so much more done: so many times as much
    /// is relief too. (12 in the reference outage, where 40 stuck tasks became 25; what nobody keeps from working gets more or less by a
    /// half from one look to the next.)
    pub const MUCH_MORE: f64 = 3.0;

    /// How this job fares where so much is short.
    pub fn of(job: &Job, short: Resource) -> Self {
        let gets = match short {
            Resource::Disk => job.usage.disk_bytes(),
            Resource::Cpu => job.usage.cpu_cores,
            _ => None,
        };
        Self { waiting: job.usage.waiting(), gets }
    }

    /// Of what several get, each by how it fared before: what those who waited most get together. Of the others one that moves much,
    /// whatever the rest waits for, would drown them.
    pub fn gets_of_most(levels: impl Iterator<Item = (Self, Self)> + Clone) -> Option<f64> {
        let all: f64 = levels.clone().map(|(before, _)| before.waiting).sum();
        Self::sum(levels.filter(|(before, _)| before.waiting >= all * MOST).map(|(_, now)| now)).gets
    }

    /// All of them together, as far as it is known.
    pub fn sum(levels: impl IntoIterator<Item = Self>) -> Self {
        levels.into_iter().fold(Self::default(), |all, one| Self {
            waiting: all.waiting + one.waiting,
            gets: match (all.gets, one.gets) {
                (None, None) => None,
                (all, one) => Some(all.unwrap_or_default() + one.unwrap_or_default()),
            },
        })
    }

    /// What this job takes of what is short, or who is accused of it in its stead, if that takes more. `None`: not known.
    pub fn taken(before: &Diagnosis, job: &JobId) -> Option<f64> {
        let (against, is_accused) = before.verdict.against(job);
        let accused = before.verdict.worst.culprit.as_ref().filter(|_| !is_accused);
        let takes = |id: &JobId| Self::of(before.job(id)?, against.resource).gets;
        takes(job).map(|taken| taken.max(accused.and_then(takes).unwrap_or_default()))
    }

    /// How many times as much others got after somebody had taken so much less. `None`: not known, too little to be told from nothing,
    /// or what they gained is no real part of what was taken.
    pub fn times((before, now): (f64, f64), taken: Option<f64>, short: Resource) -> Option<f64> {
        let least = if short == Resource::Cpu { LEAST_CPUS } else { LEAST_BYTES };
        let is_part = now - before >= taken? * PART;
        (now >= least && is_part).then(|| now / before.max(least / 10.0))
    }
}

/// From this part of the waiting tasks on somebody is one of those who wait most.
const MOST: f64 = 0.25;
/// Less than so many bytes a second of a disk, or CPUs, is what anybody gets now and then: by it nobody is told to fare better. A site
/// whose disk is throttled to 8 MB/s got 0.3 MB/s beside a backup (`tests/words.rs`).
const LEAST_BYTES: f64 = 262_144.0;
const LEAST_CPUS: f64 = 0.1;
/// What others gain by a suspect's absence is at least this part of what it took. (Nearly all of it in the reference outage.)
const PART: f64 = 0.1;

/// Tasks of one job that are stuck in the same place.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitGroup {
    /// The job.
    pub job: JobId,
    /// How many tasks.
    pub tasks: u32,
    /// System call by name. `None`: hidden, or not in one.
    pub syscall: Option<String>,
    /// Kernel function. `None`: hidden.
    pub wchan: Option<String>,
    /// The file. `None`: not known.
    pub path: Option<String>,
    /// The device. `None`: not known.
    pub device: Option<String>,
    /// All devices below the file, the uppermost first: `dm-0`, `sda2`, `sda`. Empty: not known, or none.
    pub devices: Vec<String>,
    /// What the wait channel means, in plain words.
    pub meaning: Option<String>,
    /// What is short there. `None`: not known; `Resource::None`: nothing is.
    pub resource: Option<Resource>,
    /// What ends the wait, in plain words.
    pub helps: Option<&'static str>,
    /// The mount point that the file is below.
    pub mount: Option<String>,
    /// The type of the filesystem there: `ext4`, `nfs4`, `fuse.sshfs`.
    pub filesystem: Option<String>,
    /// What is mounted there: `/dev/sda1`, `nas:/export`.
    pub source: Option<String>,
    /// How long the longest of them has been stuck.
    pub longest: Option<Stuck>,
    /// How long each of them has been stuck at least, in seconds.
    pub shortest: Option<f64>,
    /// Those that are stuck longest, a few.
    pub examples: Vec<StuckTask>,
}

/// A task in uninterruptible sleep: what a claim comes down to.
#[derive(Clone, Debug, PartialEq)]
pub struct StuckTask {
    /// Its process.
    pub pid: Pid,
    /// Its number.
    pub tid: Pid,
    /// For how long, in seconds.
    pub stuck_for: Option<Stuck>,
    /// The kernel's functions on its stack, innermost first. Empty: not allowed to look.
    pub stack: Vec<String>,
}

impl WaitGroup {
    /// Whether this is what such a contention is about, as far as it is known what they wait for.
    pub fn is_for(&self, resource: Resource) -> bool {
        resource != Resource::Cpu && self.resource.is_none_or(|known| known == resource)
    }

    /// The longest wait of these groups.
    pub fn longest<'a>(groups: impl Iterator<Item = &'a Self>) -> Option<Stuck> {
        groups.filter_map(|group| group.longest).reduce(Stuck::longer)
    }
}

/// For how long a task has been stuck, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stuck {
    /// Seconds.
    pub seconds: f64,
    /// By the kernel's own clock of when it ran last; otherwise that long at least, for whytop has seen it so.
    pub exact: bool,
}

impl Stuck {
    /// The longer one.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        if other.seconds > self.seconds { other } else { self }
    }
}

/// `2 m 14 s`, `at least 2 m 14 s`
impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.exact { "" } else { "at least " }, span(self.seconds))
    }
}

/// A process whose command line does not come, because its `mmap_lock` is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Wedged {
    /// The process.
    pub id: ProcessId,
    /// Its short name.
    pub name: String,
    /// The job it belongs to.
    pub job: Option<JobId>,
    /// The system call that its own task is stuck in. `None`: hidden, not in one, or none of its tasks is stuck.
    pub syscall: Option<String>,
    /// The kernel function. `None`: hidden, or none of its tasks is stuck.
    pub wchan: Option<String>,
    /// What that means, in plain words.
    pub meaning: Option<String>,
    /// What is short there.
    pub resource: Option<Resource>,
    /// How long its command line has been waited for, in seconds: it may have been stuck for longer.
    pub since: f64,
}
