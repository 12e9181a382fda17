//! After the key: what was done, to whom, what is left, and what still stands.
//!
//! Plain data, as [`super`] has it. Every outcome prints as one sentence that says what to do where it did not work.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, Offers, Refusal, Signal, Subject};
use crate::units::{Pid, ProcessId, count};

/// Whatever comes back from acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// All that could be found out about what each action would do.
    Offers(Offers),
    /// What became of an order. A proof answers twice with one ticket: when its suspect stands still ([`Action::Prove`]), and when it
    /// goes on again ([`Action::Resume`]).
    Outcome(Outcome),
    /// What is left of a job that was told to end.
    Landing(Landing),
    /// All that was done and can be put back, at the start and whenever it changes.
    Standing(Vec<Standing>),
}

/// What became of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hit {
    /// The process.
    pub id: ProcessId,
    /// Its short name, cleaned.
    pub name: String,
    /// Whether it worked.
    pub result: Result<(), Refusal>,
}

/// What was done to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the order.
    pub ticket: u64,
    /// When it was done.
    pub at: Timestamp,
    /// The job's identity, as in the JSON: two jobs may bear one name.
    pub id: String,
    /// The job's name, cleaned.
    pub job: String,
    /// What was asked for.
    pub action: Action,
    /// One entry a process, in the order in which they were hit.
    pub hits: Vec<Hit>,
    /// Of those hit, how many were not among the candidates: born into the job meanwhile, and found by a second look.
    pub late: usize,
    /// Why nothing was done at all, and what to do instead. A sentence without its full stop.
    pub error: Option<String>,
    /// What else is worth a word: what has no effect here, what brings the job back. Cleaned.
    pub notes: Vec<String>,
    /// It is known that root gave the order: more rights than that are not to be had.
    pub by_root: bool,
}

impl Outcome {
    /// Nothing done yet.
    pub fn new(ticket: u64, at: Timestamp, subject: &Subject, action: Action) -> Self {
        let (id, job) = (subject.job.clone(), subject.name.clone());
        Self { ticket, at, id, job, action, hits: Vec::new(), late: 0, error: None, notes: Vec::new(), by_root: false }
    }

    /// How many processes it worked for.
    pub fn sent(&self) -> usize {
        self.hits.iter().filter(|hit| hit.result.is_ok()).count()
    }

    /// Whether anything was done.
    pub fn worked(&self) -> bool {
        let by_process = !matches!(self.action, Action::Thaw { .. } | Action::StopUnit { .. });
        self.error.is_none() && (!by_process || self.sent() > 0)
    }

    /// Whether everything was done that was asked for; who has ended by himself is no loss.
    pub fn worked_wholly(&self) -> bool {
        self.worked() && self.hits.iter().all(|hit| hit.result.as_ref().err().is_none_or(Refusal::is_no_loss))
    }

    /// Who stood still before a pause, and is left so.
    pub fn stood(&self) -> Vec<ProcessId> {
        let stood = |hit: &&Hit| hit.result == Err(Refusal::Stopped);
        self.hits.iter().filter(stood).map(|hit| hit.id).collect()
    }

    fn said(&self) -> String {
        let job = &self.job;
        match (&self.action, self.worked()) {
            (Action::End(signal), true) => format!("{signal} sent to {job}"),
            (Action::End(signal), false) => format!("{signal} not sent to {job}"),
            (Action::Pause, true) => format!("{job} is paused"),
            (Action::Pause, false) => format!("{job} is not paused"),
            (Action::Resume, true) => format!("{job} goes on"),
            (Action::Resume, false) => format!("{job} was not told to go on"),
            (Action::Prove { seconds }, true) => format!("{job} is paused for {seconds} s"),
            (Action::Prove { .. }, false) => format!("{job} is not paused, so nothing is proven"),
            (Action::Deprioritise, true) => format!("{job} goes behind everybody else"),
            (Action::Deprioritise, false) => format!("{job} keeps its priority"),
            (Action::Undo, true) if !self.worked_wholly() => format!("{job} is not wholly as it was before"),
            (Action::Undo, true) => format!("{job} is as it was before"),
            (Action::Undo, false) => format!("nothing was put back for {job}"),
            (Action::Thaw { mount }, true) => format!("{mount} is thawed"),
            (Action::Thaw { mount }, false) => format!("{mount} is not thawed"),
            (Action::StopUnit { unit }, true) => format!("{unit} is stopped"),
            (Action::StopUnit { unit }, false) => format!("{unit} is not stopped"),
        }
    }
}

impl fmt::Display for Outcome {
    /// The visible line: `SIGTERM sent to nightly.sh: 3 processes (nightly.sh 4711, tar 4712, gzip 4713)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 6;
        f.write_str(&self.said())?;
        if let Some(error) = &self.error {
            write!(f, ": {error}")?;
        }
        let sent: Vec<String> =
            self.hits.iter().filter(|h| h.result.is_ok()).map(|h| format!("{} {}", h.name, h.id.pid)).collect();
        if !sent.is_empty() {
            let more = if sent.len() > NAMED { ", …" } else { "" };
            write!(f, ": {} ({}{more})", count(sent.len(), "process"), sent[..sent.len().min(NAMED)].join(", "))?;
        }
        if self.late > 0 {
            write!(f, ", {} of them found on a second look", self.late)?;
        }
        // Whoever ended by itself in between needs no word.
        let told = |hit: &&Hit| !matches!(hit.result, Ok(()) | Err(Refusal::Gone));
        for hit in self.hits.iter().filter(told).take(NAMED) {
            if let Err(refusal) = &hit.result {
                write!(f, "; {} {} {refusal}", hit.name, hit.id.pid)?;
            }
        }
        let untold = self.hits.iter().filter(told).count().saturating_sub(NAMED);
        if untold > 0 {
            write!(f, "; and {untold} more not")?;
        }
        if !self.by_root && self.hits.iter().any(|hit| hit.result == Err(Refusal::NotPermitted)) {
            f.write_str(": sudo whytop reaches it")?;
        }
        for note in &self.notes {
            write!(f, "; {note}")?;
        }
        Ok(())
    }
}

/// What is left of a job some time after it was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landing {
    /// Of the order.
    pub ticket: u64,
    /// When it was looked at.
    pub at: Timestamp,
    /// When the signal went out.
    pub sent_at: Timestamp,
    /// The job's identity, as in the JSON.
    pub id: String,
    /// The job's name, cleaned.
    pub job: String,
    /// What was sent last.
    pub signal: Signal,
    /// Who is still there. Empty: all are gone, and there will be no more of these.
    pub left: Vec<Remaining>,
}

/// A process that is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The process.
    pub id: ProcessId,
    /// Its short name, cleaned.
    pub name: String,
    /// Why.
    pub still: Still,
}

/// Why a process is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Still {
    /// It got the signal, and runs: it cleans up, or does not care.
    Runs,
    /// It ignores the signal.
    Ignores,
    /// It blocks the signal for now.
    Blocks,
    /// The signal waits until a system call returns that it is stuck in.
    Pending {
        /// The task that is stuck.
        tid: Pid,
        /// The kernel function it is stuck in. `None`: hidden.
        wchan: Option<String>,
    },
    /// The signal waits until it is told to go on: somebody stopped it, or its control group is frozen.
    Stopped,
    /// It has ended, and its parent does not take notice.
    Zombie {
        /// The parent.
        parent: ProcessId,
        /// Its short name, cleaned.
        parent_name: String,
    },
}

/// What was done, and can be put back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The job's identity, as in the JSON.
    pub job: String,
    /// Its name, cleaned.
    pub name: String,
    /// What.
    pub deed: Deed,
    /// Since when.
    pub since: Timestamp,
    /// Who did it.
    pub by: String,
    /// To which processes, with their short names; those that have ended are left out.
    pub processes: Vec<(ProcessId, String)>,
}

/// What can be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deed {
    /// Paused: it does nothing until it is told to go on.
    Paused,
    /// Deprioritised.
    Deprioritised,
}

impl Standing {
    /// Whether it does nothing until it is told to go on.
    pub fn is_paused(&self) -> bool {
        self.deed == Deed::Paused
    }
}

impl fmt::Display for Standing {
    /// `nightly.sh is paused since … by root: 3 processes`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let deed = match self.deed {
            Deed::Paused => "is paused",
            Deed::Deprioritised => "goes behind everybody else",
        };
        write!(f, "{} {deed}, by {}: {}", self.name, self.by, count(self.processes.len(), "process"))
    }
}
