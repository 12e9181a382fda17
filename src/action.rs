//! The words of acting on a job: what is asked of the world, and what it answers. Plain data.
//!
//! `ui` asks with these, `act` answers with these, and neither imports the other. Nothing here touches a process.

use std::fmt;

use jiff::Timestamp;

use crate::units::{ProcessId, count};

/// The signals that whytop offers, in the order in which it offers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: please end, and clean up. The first choice.
    Terminate,
    /// SIGINT: as Ctrl-C would; some tools clean up on this one only.
    Interrupt,
    /// SIGKILL: end now, no clean-up.
    Kill,
    /// SIGSTOP: pause; locks and open files stay held.
    Stop,
    /// SIGCONT: go on after a pause.
    Continue,
}

impl Signal {
    /// Every signal, in the order of the dialog.
    pub const ALL: [Self; 5] = [Self::Terminate, Self::Interrupt, Self::Kill, Self::Stop, Self::Continue];

    /// `SIGTERM`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGSTOP",
            Self::Continue => "SIGCONT",
        }
    }

    /// What the signal asks of whoever gets it, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Terminate => "ask it to end; it may clean up",
            Self::Interrupt => "as Ctrl-C does; it may clean up",
            Self::Kill => "end it now; no clean-up",
            Self::Stop => "pause it; locks and files stay held",
            Self::Continue => "let it go on after a pause",
        }
    }

    /// Whether the job should be gone afterwards.
    pub const fn ends(self) -> bool {
        matches!(self, Self::Terminate | Self::Interrupt | Self::Kill)
    }

    /// Whether a process may catch it, clean up, and end in its own time.
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Terminate | Self::Interrupt)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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

/// Why a process is not hit. Each prints as the end of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It ended already.
    Gone,
    /// Another process has its number by now.
    Reused,
    /// PID 1: the host goes down with it.
    Init,
    /// A kernel thread.
    KernelThread,
    /// whytop itself.
    Own,
    /// An ancestor of whytop: the shell, the terminal multiplexer, the SSH connection it runs in.
    Ancestor,
    /// The kernel says that this user may not.
    NotPermitted,
    /// The processes on the screen are not this host's (`--proc`), so nothing here may be hit.
    OtherHost,
    /// Started by a member in answer to the signal: most likely its clean-up, so it is left alone.
    Answer,
    /// Something else, as the system call says.
    Failed(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("has ended already"),
            Self::Reused => f.write_str("has ended; its number belongs to another process now"),
            Self::Init => f.write_str("is PID 1: the host would go down"),
            Self::KernelThread => f.write_str("is a kernel thread and takes no signals"),
            Self::Own => f.write_str("is whytop itself"),
            Self::Ancestor => f.write_str("is what whytop runs in"),
            Self::NotPermitted => f.write_str("belongs to another user"),
            Self::OtherHost => f.write_str("is read from another proc tree than this host's"),
            Self::Answer => f.write_str("was started in answer to the signal (clean-up?) and is left alone"),
            Self::Failed(why) => write!(f, "could not be reached: {why}"),
        }
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

/// The answer to "aim at this job": every process of it, root first, each checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    /// The job's name, cleaned.
    pub job: String,
    /// All its processes, in the order in which they would be hit.
    pub targets: Vec<Aimed>,
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

/// What became of one process when the signal was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The process.
    pub id: ProcessId,
    /// Its short name, cleaned.
    pub name: String,
    /// Whether the kernel took the signal.
    pub result: Result<(), Refusal>,
}

/// What was done to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When the signals went out.
    pub at: Timestamp,
    /// The job's name, cleaned.
    pub job: String,
    /// The signal.
    pub signal: Signal,
    /// One entry a process, in the order in which they were hit.
    pub hits: Vec<Hit>,
    /// Of those hit, how many were not among the candidates: born into the job meanwhile, and found by a second look.
    pub late: usize,
}

impl Outcome {
    /// How many processes the kernel took the signal for.
    pub fn sent(&self) -> usize {
        self.hits.iter().filter(|hit| hit.result.is_ok()).count()
    }
}

impl fmt::Display for Outcome {
    /// The visible line: `SIGTERM sent to nightly.sh: 3 processes (nightly.sh 4711, tar 4712, gzip 4713)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 6;
        let sent: Vec<String> =
            self.hits.iter().filter(|h| h.result.is_ok()).map(|h| format!("{} {}", h.name, h.id.pid)).collect();
        if sent.is_empty() {
            write!(f, "{} not sent to {}", self.signal, self.job)?;
        } else {
            write!(f, "{} sent to {}: {}", self.signal, self.job, count(sent.len(), "process"))?;
            let more = if sent.len() > NAMED { ", …" } else { "" };
            write!(f, " ({}{more})", sent[..sent.len().min(NAMED)].join(", "))?;
        }
        if self.late > 0 {
            write!(f, ", {} of them found on a second look", self.late)?;
        }
        // Whoever ended by itself in between needs no word.
        for hit in &self.hits {
            if let Err(refusal) = &hit.result
                && !matches!(refusal, Refusal::Gone)
            {
                write!(f, "; {} {} {refusal}", hit.name, hit.id.pid)?;
            }
        }
        Ok(())
    }
}
