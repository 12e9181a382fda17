//! What the analysis says: the answer that the screen, the text, the JSON and the tests all read.
//!
//! Plain data. Text in it that came from a process (names, commands, units) has been cleaned when the diagnosis was made,
//! so no printer can forget to. `None` means not known, and a [`Gap`] says why. [`verdict`] has the sentence, [`load`] the load and the disks,
//! [`waiting`] those who are stuck.

mod load;
mod verdict;
mod waiting;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use compact_str::CompactString;
use jiff::Timestamp;

pub use self::load::{Account, AccountLine, CpuUse, DiskUse, LedgerLine, Load, TrendPoint};
pub use self::verdict::{Contention, Resource, Severity, Verdict};
pub use self::waiting::{Level, Stuck, StuckTask, WaitGroup, Wedged};
use crate::sample::{Cost, Gap, HostFacts, Memory, Pressure, TaskState};
use crate::units::{Nanos, ProcessId};

/// All that is known of the host at one instant.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    /// The instant of the newest sample.
    pub at: Timestamp,
    /// Time since boot at that instant.
    pub since_boot: Nanos,
    /// The host.
    pub host: Arc<HostFacts>,
    /// The load and what it is made of.
    pub load: Load,
    /// CPU use of the whole host, in CPUs. `None` until there are two samples.
    pub cpu: Option<CpuUse>,
    /// Pressure stall information.
    pub pressure: Option<Pressure>,
    /// Memory.
    pub memory: Option<Memory>,
    /// The one sentence, and what stands behind it.
    pub verdict: Verdict,
    /// Every job, by what it takes and how it waits: culprit and victims first.
    pub jobs: Vec<Job>,
    /// Stuck tasks, grouped by job and place, most tasks first.
    pub waits: Vec<WaitGroup>,
    /// Processes that block whoever looks at them, by number.
    pub wedged: Vec<Wedged>,
    /// How many processes could not be looked at because of them.
    pub behind: u32,
    /// Disks that moved anything, busiest first.
    pub disks: Vec<DiskUse>,
    /// What each process that did anything did. One that is not in here slept, or is in `halted`.
    pub activity: HashMap<ProcessId, Activity>,
    /// Processes that stand still or have ended.
    pub halted: HashMap<ProcessId, TaskState>,
    /// Runnable and stuck tasks over the ring, oldest first.
    pub trend: Vec<TrendPoint>,
    /// What could not be seen, each once.
    pub gaps: Vec<Gap>,
    /// What whytop itself costs.
    pub cost: Cost,
}

impl Diagnosis {
    /// The job with this identity, if it still has processes.
    pub fn job(&self, id: &JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.facts.id == *id)
    }

    /// The job that the panel is about: the culprit, else a backup that runs.
    pub fn suspect(&self) -> Option<&Job> {
        let id = self.verdict.worst.culprit.as_ref().or(self.verdict.backup.as_ref())?;
        self.job(id)
    }
}

/// A job's name for good: it survives re-sorting and, as long as the job lives, every change in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(Arc<str>);

impl JobId {
    /// The processes of a unit of the service manager. Its start is not part of it: a unit that restarts stays the same job to
    /// an operator, and actions go by processes anyway.
    pub fn unit(name: &str) -> Self {
        Self(format!("unit:{name}").into())
    }

    /// The processes of a container.
    pub fn container(id: &str) -> Self {
        Self(format!("container:{id}").into())
    }

    /// A process and what descends from it.
    pub fn tree(root: ProcessId) -> Self {
        Self(format!("tree:{root}").into())
    }

    /// The process that a tree is called after. `None`: it is no tree.
    pub fn root_of_tree(&self) -> Option<ProcessId> {
        let (pid, start) = self.0.strip_prefix("tree:")?.split_once('@')?;
        Some(ProcessId { pid: pid.parse().ok()?, start: start.parse().ok()? })
    }

    /// Another job under the same root: the root was gone for a moment, what was left of its tree went on under its name, and it came back.
    #[must_use]
    pub fn again(&self) -> Self {
        Self(format!("{}'", self.0).into())
    }

    /// Kernel threads of one subsystem.
    pub fn kernel(subsystem: &str) -> Self {
        Self(format!("kernel:{subsystem}").into())
    }

    /// As printed in the JSON.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of work a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Makes a copy of this host's data to keep.
    Backup,
    /// Other work that runs to its end and that nobody waits for.
    Batch,
    /// Serves others until it is told to stop.
    Service,
    /// Somebody sits in front of it.
    Interactive,
    /// Kernel threads.
    Kernel,
    /// Cannot be told.
    Unknown,
}

impl Kind {
    /// As in the JSON and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Batch => "batch",
            Self::Service => "service",
            Self::Interactive => "interactive",
            Self::Kernel => "kernel",
            Self::Unknown => "unknown",
        }
    }
}

/// What a job has to do with the trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes what others wait for.
    Culprit,
    /// Waits for it.
    Victim,
    /// Neither.
    Bystander,
}

impl Role {
    /// As in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Culprit => "culprit",
            Self::Victim => "victim",
            Self::Bystander => "bystander",
        }
    }
}

/// A job: what is known of it, and what it does now.
#[derive(Clone, Debug)]
pub struct Job {
    /// What changes only when the job's processes do; shared from one diagnosis to the next.
    pub facts: Arc<JobFacts>,
    /// Its part in the trouble.
    pub role: Role,
    /// What it uses.
    pub usage: Usage,
    /// How long it was held up, by its own control group's count.
    pub stalls: Stalls,
    /// Its runnable tasks at this instant.
    pub runnable: u32,
    /// Its tasks in uninterruptible sleep at this instant.
    pub uninterruptible: u32,
    /// Its share of what all jobs together use.
    pub share: Share,
    /// Disks, and what is stacked on them, that what it moves goes to or comes from. `None`: not known.
    pub disks: Option<Vec<CompactString>>,
    /// Seconds since its root started.
    pub age: Option<f64>,
    /// How long earlier runs of the same work took. `None`: too few ended while a whytop watched.
    pub usual: Option<Usual>,
    /// How it fared before the culprit came that it waits for. `None`: it waits for nobody, or whytop did not watch then.
    pub earlier: Option<Level>,
}

/// How long a job's earlier runs took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usual {
    /// How many are known.
    pub runs: usize,
    /// Seconds the one in the middle took.
    pub seconds: f64,
}

/// What a job is.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// For good.
    pub id: JobId,
    /// Short, for people: the unit, the script, the command.
    pub name: String,
    /// What kind of work.
    pub finding: Finding,
    /// Who started it: `cron`, `ssh (ann)`, `login shell (ann, pts/3)`.
    pub launched_by: Option<String>,
    /// Unit of the service manager.
    pub unit: Option<String>,
    /// Container, short id or name.
    pub container: Option<String>,
    /// The control group of its root, as the kernel writes it. `None`: not known, or the host's own.
    pub cgroup: Option<String>,
    /// User of the root process, or the number where there is no name.
    pub user: Option<String>,
    /// The process to hit first. `None` for kernel threads.
    pub root: Option<ProcessId>,
    /// When the root started.
    pub started_at: Option<Timestamp>,
    /// All its processes: root first, each parent before its children.
    pub members: Vec<Arc<Member>>,
    /// Processes of other jobs that work for it, in order of their numbers: counted in what it takes, never signalled with it.
    pub carried: Vec<Arc<Member>>,
}

impl JobFacts {
    /// The root process's own entry.
    pub fn root_member(&self) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| Some(member.id) == self.root)
    }
}

/// A process of a job, as people know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// For good.
    pub id: ProcessId,
    /// Parent's number.
    pub parent: i32,
    /// Short name: the script or program, without its path.
    pub name: CompactString,
    /// The whole command line, or the kernel's name in brackets while it is not known.
    pub command: String,
    /// Whose it is.
    pub user: Option<CompactString>,
    /// A kernel thread.
    pub kernel_thread: bool,
}

/// What a job was taken for, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The kind.
    pub kind: Kind,
    /// The tool that does the work, where it was recognised: `tar`, `restic`.
    pub tool: Option<String>,
    /// What the work of a batch job is called, where it is known: `virus scan`, `package upgrade`.
    pub work: Option<String>,
    /// How sure, 0 to 1.
    pub confidence: f64,
    /// For and against, strongest first.
    pub evidence: Vec<Evidence>,
    /// What is known of ending, pausing and slowing it.
    pub advice: Advice,
}

/// What the knowledge base says of a tool, for whoever is about to press a key. `None`: nothing is known, which is not the same as nothing
/// to heed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// What ending it leaves behind, and how to clean up. A sentence or two.
    pub consequence: Option<String>,
    /// The signal that it takes best, where it is not SIGTERM: `SIGINT`, `SIGHUP`.
    pub better_signal: Option<String>,
    /// The command that cleans up after it.
    pub cleanup: Option<String>,
    /// What stays held while it is paused: a lock, a frozen filesystem. A sentence.
    pub holds: Option<String>,
    /// How to make it gentle instead of ending it. A sentence or a command.
    pub gentle: Option<String>,
    /// How its work is taken up again after it was ended. A sentence.
    pub resume: Option<String>,
}

/// One fact for (positive) or against (negative weight) a finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The fact, in words.
    pub text: String,
    /// How much it says, -1 to 1.
    pub weight: f64,
}

/// What a job uses, over the last few seconds. `None`: not known yet, or hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPUs in use: 1.0 is one CPU all the time.
    pub cpu_cores: Option<f64>,
    /// Tasks runnable without a CPU, on average: seconds waited per second.
    pub cpu_wait: Option<f64>,
    /// Bytes read from block devices, per second.
    pub read_bytes: Option<f64>,
    /// Bytes written towards block devices, per second.
    pub write_bytes: Option<f64>,
    /// Tasks in uninterruptible sleep, on average over the same seconds.
    pub stuck: f64,
    /// Bytes of memory in use, of the processes that were looked at. `None`: nobody looked, for memory is not short.
    pub resident: Option<u64>,
    /// Bytes of memory per second that those of its processes took which took more than they gave back. `None`: as for `resident`.
    pub memory_growth: Option<f64>,
}

impl Usage {
    /// Bytes to and from block devices, per second, as far as known.
    pub fn disk_bytes(&self) -> Option<f64> {
        match (self.read_bytes, self.write_bytes) {
            (None, None) => None,
            (read, write) => Some(read.unwrap_or_default() + write.unwrap_or_default()),
        }
    }

    /// Tasks that wait, for a CPU or for something else, on average.
    pub fn waiting(&self) -> f64 {
        self.stuck + self.cpu_wait.unwrap_or_default()
    }
}

/// How a job's own control group was held up, over the last few seconds. `None`: it shares its group with others, nobody asked, or the
/// kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stalls {
    /// Part of the time in which some of its tasks waited for a CPU, 0 to 1.
    pub cpu: Option<f64>,
    /// The same for I/O.
    pub io: Option<f64>,
    /// The same for memory.
    pub memory: Option<f64>,
    /// Seconds per second in which its own limit of CPU time kept it from running, summed over CPUs.
    pub throttled: Option<f64>,
    /// Times per second that it came to its own limit of memory.
    pub limited: Option<f64>,
}

impl Stalls {
    /// Adds what another group of the same job says. Of parts of the time the larger one holds for both.
    pub fn join(&mut self, other: Self) {
        let join = |one: &mut Option<f64>, other: Option<f64>, both: fn(f64, f64) -> f64| {
            if let Some(other) = other {
                *one = Some(one.map_or(other, |one| both(one, other)));
            }
        };
        join(&mut self.cpu, other.cpu, f64::max);
        join(&mut self.io, other.io, f64::max);
        join(&mut self.memory, other.memory, f64::max);
        join(&mut self.throttled, other.throttled, |one, other| one + other);
        join(&mut self.limited, other.limited, |one, other| one + other);
    }
}

/// Shares of a whole, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Of the CPU time that all jobs used.
    pub cpu: Option<f64>,
    /// Of the bytes that all jobs moved from and to block devices.
    pub disk: Option<f64>,
}

/// What one process did, over the last few seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activity {
    /// The most telling state among its tasks: stuck before runnable before the rest.
    pub state: TaskState,
    /// Its runnable tasks.
    pub runnable: u32,
    /// Its tasks in uninterruptible sleep.
    pub uninterruptible: u32,
    /// What it used.
    pub usage: Usage,
}
