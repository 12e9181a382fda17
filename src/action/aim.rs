//! Before the key: the job that is meant, which of its processes would be hit, and what each action would do here.
//!
//! Plain data, as [`super`] has it.

use std::fmt;

use super::{Action, Refusal, Signal, Standing};
use crate::units::{Nanos, ProcessId};

/// A process that an action may hit, as the screen showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which process, for good.
    pub id: ProcessId,
    /// Its short name, already cleaned.
    pub name: String,
    /// Its whole command line, already cleaned.
    pub command: String,
    /// Whose it is, if that is known.
    pub user: Option<String>,
    /// A kernel thread, which takes no signal.
    pub kernel_thread: bool,
}

impl From<(ProcessId, String)> for Candidate {
    /// One of which no more is known than its short name.
    fn from((id, name): (ProcessId, String)) -> Self {
        Self { id, command: name.clone(), name, user: None, kernel_thread: false }
    }
}

/// A disk that a job works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name.
    pub name: String,
    /// Its I/O scheduler. `None`: not known.
    pub scheduler: Option<String>,
}

/// Filesystems that are frozen, as far as somebody waits for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Their mount points.
    pub mounts: Vec<String>,
    /// There is one whose mount point is not known.
    pub elsewhere: bool,
    /// The job that is meant froze them.
    pub by_it: bool,
}

/// A job, as the screen knew it when somebody asked to act on it. All text in it is cleaned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Its identity, as in the JSON.
    pub job: String,
    /// Its name, for people.
    pub name: String,
    /// All its processes, root first, each parent before its children.
    pub candidates: Vec<Candidate>,
    /// When the host was looked at for them, since boot: who is older and not among them is another job's.
    pub seen: Nanos,
    /// Its unit, by the service manager's name.
    pub unit: Option<String>,
    /// Who started it, in words.
    pub launched_by: Option<String>,
    /// It waits for what another one takes.
    pub is_victim: bool,
    /// A backup or a batch run: it ends by itself, and nobody connects to it.
    pub ends_by_itself: bool,
    /// The disks it works on. `None`: not known.
    pub disks: Option<Vec<Disk>>,
    /// The control groups of the units that wait for a CPU.
    pub cpu_rivals: Vec<String>,
    /// Filesystems that somebody waits for because they are frozen.
    pub frozen: Frozen,
    /// What stays held while it is paused. A sentence.
    pub holds: Option<String>,
}

impl Subject {
    /// What was done to a job whose processes may bear other names by now, to be put back.
    pub fn of_standing(standing: &Standing) -> Self {
        let candidates = standing.processes.iter().cloned().map(Candidate::from).collect();
        Self { job: standing.job.clone(), name: standing.name.clone(), candidates, ..Self::default() }
    }

    /// Its processes.
    pub fn ids(&self) -> Vec<ProcessId> {
        self.candidates.iter().map(|candidate| candidate.id).collect()
    }
}

/// A candidate after the check: held by a pidfd (`Ok`), or not to be hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aimed {
    /// The process.
    pub candidate: Candidate,
    /// Whether a signal would reach exactly this process.
    pub check: Result<(), Refusal>,
}

/// The answer to "aim at this job": every process of it, root first, each checked; and what can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The job's name, cleaned.
    pub job: String,
    /// All its processes, in the order in which they would be hit.
    pub targets: Vec<Aimed>,
    /// What can be said of each action at once. What takes a look around follows as [`super::Report::Offers`].
    pub offers: Offers,
}

impl Aim {
    /// The processes that a signal would reach.
    pub fn reachable(&self) -> impl Iterator<Item = &Candidate> {
        self.targets.iter().filter(|aimed| aimed.check.is_ok()).map(|aimed| &aimed.candidate)
    }

    /// The command line that would do it with more rights; `None` where rights are not what is missing.
    pub fn sudo_line(&self, signal: Signal) -> Option<String> {
        let denied: Vec<String> = self
            .targets
            .iter()
            .filter(|aimed| aimed.check == Err(Refusal::NotPermitted))
            .map(|aimed| aimed.candidate.id.pid.to_string())
            .collect();
        let name = signal.name().trim_start_matches("SIG");
        (!denied.is_empty()).then(|| format!("sudo kill -{name} {}", denied.join(" ")))
    }
}

/// An action, and what it would do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The action.
    pub action: Action,
    /// What it does here. A sentence without its full stop.
    pub does: String,
    /// Why it cannot work here, and what to do instead. `None`: it can.
    pub why_not: Option<String>,
    /// What to beware of. Sentences.
    pub beware: Vec<String>,
}

impl Offer {
    /// Whether it can be ordered.
    pub const fn is_open(&self) -> bool {
        self.why_not.is_none()
    }
}

/// What can be done about a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// The job's identity.
    pub job: String,
    /// Every action there is, in the order of the menu.
    pub offers: Vec<Offer>,
    /// What must be typed before an action that halts the job. `None`: nothing.
    pub confirmation: Option<Confirmation>,
    /// Whether all has been looked at: ports, unit, timers. Until then an order waits for it.
    pub complete: bool,
}

impl Offers {
    /// The offer of this action.
    pub fn find(&self, action: &Action) -> Option<&Offer> {
        self.offers.iter().find(|offer| offer.action == *action)
    }

    /// What must be typed before this action.
    pub fn confirmation_for(&self, action: &Action) -> Option<&Confirmation> {
        self.confirmation.as_ref().filter(|_| action.halts())
    }
}

/// A word that has to be typed, because the job is most likely not the one that should be halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    /// Why. A sentence without its full stop.
    pub why: String,
    /// The word.
    pub word: String,
}

impl Confirmation {
    /// Longest word that anybody is asked to type.
    const LONGEST: usize = 24;

    /// Asks for the job's name, or for its root's number where the name cannot be typed.
    pub fn of(subject: &Subject, why: String) -> Self {
        let typeable = subject.name.len() <= Self::LONGEST && subject.name.bytes().all(|byte| byte.is_ascii_graphic());
        let root = subject.candidates.first().map_or_else(|| "yes".to_owned(), |root| root.id.pid.to_string());
        let word = if typeable && !subject.name.is_empty() { subject.name.clone() } else { root };
        Self { why, word }
    }

    /// Whether this is what was asked for.
    pub fn is_met_by(&self, typed: Option<&str>) -> bool {
        typed.is_some_and(|typed| typed.trim() == self.word)
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: type {} to do it all the same", self.why, self.word)
    }
}
