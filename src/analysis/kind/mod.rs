//! What kind of work a job is, from evidence: what its processes are called, what their arguments ask for, who started
//! them, what they read and write.
//!
//! Pure. A job is judged when it is new or has changed, and while it works once a second: an idle agent that begins to copy has become
//! a backup. That is done when a sample has been taken, in the thread that took it, and looks at the few processes of the job's gist and at those
//! that did something. [`program`] finds what a process really runs, [`catalogue`] what
//! is known of it ([`tools`] is one entry), [`rules`] what its arguments ask for, [`words`] what names say and [`places`] what paths say, [`files`] what its
//! open files do; [`read`] puts that together for one process ([`strangers`]: one that nobody knows) and [`weigh`] for a job ([`sinks`]: where it all goes; [`starters`]: who
//! only starts others; [`scale`] adds up); [`other`] says what a job is that is no backup, and [`work`] what its work is called. Tested by
//! tests/kinds.rs over cases in tests/kinds, and in place.

#![forbid(unsafe_code)]

pub mod catalogue;
mod files;
mod other;
mod pace;
mod places;
mod program;
mod read;
mod rules;
mod scale;
mod sinks;
mod starters;
mod strangers;
pub mod tools;
mod weigh;
mod words;
mod work;

pub use catalogue::Catalogue;

use crate::analysis::diagnosis::Finding;
use crate::sample::IoBytes;
use crate::units::ProcessId;

/// A job as the recogniser sees it.
#[derive(Clone, Debug)]
pub struct JobShape<'a> {
    /// Its processes, root first, each parent before its children. Of many that are alike and rest a few do.
    pub processes: Vec<ProcessShape<'a>>,
    /// Unit of the service manager, if the job is one.
    pub unit: Option<&'a str>,
    /// Container, if the job is one.
    pub container: Option<&'a str>,
    /// Who started the root.
    pub launcher: Launcher,
}

/// A process as the recogniser sees it. Text is raw: as the process gave it.
#[derive(Clone, Copy, Debug)]
pub struct ProcessShape<'a> {
    /// Number and start.
    pub id: ProcessId,
    /// Parent's number.
    pub parent: i32,
    /// Process group: processes of one pipeline share it.
    pub group: i32,
    /// It has no children in its job.
    pub leaf: bool,
    /// Kernel's name, cut at 15 bytes.
    pub comm: &'a str,
    /// Command line; empty while it is not known.
    pub argv: &'a [String],
    /// Program file, if it may be seen.
    pub exe: Option<&'a str>,
    /// Effective user's name.
    pub user: Option<&'a str>,
    /// Has a controlling terminal.
    pub on_terminal: bool,
    /// Niceness.
    pub nice: i8,
    /// Seconds since it started.
    pub age: f64,
    /// CPU time since it started, in seconds.
    pub cpu_seconds: f64,
    /// Bytes moved since it started, if they may be seen.
    pub io: Option<IoBytes>,
    /// What it used over the last seconds. `None` at first sight: then the means since its start stand for it, which hide what a
    /// process does that has been up for weeks.
    pub recent: Option<Recent>,
    /// Its open files, as far as somebody looked.
    pub files: OpenFiles<'a>,
}

/// What a process used over the last seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recent {
    /// CPUs.
    pub cpu_cores: f64,
    /// Bytes read per second, if they may be seen.
    pub read_bytes: Option<f64>,
    /// Bytes written per second, if they may be seen.
    pub write_bytes: Option<f64>,
    /// Tasks that wait, for a disk or a CPU, on average.
    pub waiting: f64,
}

/// Paths of open files. Empty is the same as not known: it costs confidence, nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenFiles<'a> {
    /// Open for reading only.
    pub reading: &'a [String],
    /// Open for writing.
    pub writing: &'a [String],
    /// Of those that are written, what lies on another host's disk: the path, and what is mounted there.
    pub away: &'a [String],
    /// Of those that are written, what was seen to grow, in order.
    pub growing: &'a [String],
}

/// Who starts jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Launcher {
    /// cron, anacron, run-parts, fcron.
    Cron,
    /// at, batch.
    At,
    /// The service manager.
    ServiceManager,
    /// The service manager, for a unit that a timer starts.
    Timer,
    /// A command over SSH without a terminal: `ssh host command`.
    SshCommand,
    /// An interactive shell.
    Shell,
    /// A container engine.
    ContainerEngine,
    /// A supervisor: runit, s6, supervisord, pm2.
    Supervisor,
    /// A CI runner or configuration management.
    Automation,
    /// The first process, or nobody who still lives.
    Unknown,
}

/// What this job is, with the evidence for and against.
pub fn judge(job: &JobShape, known: &Catalogue) -> Finding {
    weigh::judge(job, known)
}

/// How strongly this process alone says "a backup is at work here", 0 to 1. Used to find where a backup that a service
/// started begins; cheap enough to run for every new process.
pub fn backup_strength(process: &ProcessShape, known: &Catalogue) -> f64 {
    weigh::strength(process, known)
}

/// Where a backup begins inside a job that is more than that: the place in `processes` of the topmost one that belongs to the backup
/// only. `None` if there is none. Other than [`backup_strength`] it knows what stands above and beside: the copy that a database
/// cluster makes for a new node, or a dump that feeds another database, is none.
pub fn backup_part(job: &JobShape, known: &Catalogue) -> Option<usize> {
    starters::part(job, known)
}

/// The command that a container engine's client runs in a container: what stands behind `docker exec CONTAINER` or
/// `docker run IMAGE`.
pub fn executed_elsewhere(argv: &[String]) -> Option<&[String]> {
    program::past_exec(argv).and_then(|at| argv.get(at..)).filter(|command| !command.is_empty())
}
