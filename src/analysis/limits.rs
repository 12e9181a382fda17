//! Control groups that have come to a limit: of CPU time, of memory, of what they may move from and to a disk. All that are in one share it,
//! so that whoever takes most of it robs the others, and nobody outside does.
//!
//! Plain data; `monitor` fills it in. Tested by `tests/scenarios.rs`.

/// A control group at a limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Its path.
    pub path: String,
    /// Of what.
    pub of: Scarce,
    /// The jobs that have processes in it or below it, in order.
    pub jobs: Vec<usize>,
    /// No process is in it itself: it is a slice, a pod, or the like.
    pub is_above: bool,
}

/// What a control group may have no more of.
#[derive(Clone, Debug, PartialEq)]
pub enum Scarce {
    /// CPU time: seconds per second in which that kept its tasks from running, summed over CPUs.
    Cpu(f64),
    /// Memory.
    Memory {
        /// It comes to the limit so many times per second. 0: it has one.
        times: f64,
        /// The limit. `None`: not known.
        bytes: Option<u64>,
    },
    /// What it moves from and to this disk.
    Disk(String),
}

impl Limit {
    /// Whether this job has to do with what is scarce in it.
    pub fn has(&self, job: usize) -> bool {
        self.jobs.binary_search(&job).is_ok()
    }
}
