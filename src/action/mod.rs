//! The words of acting on a job: what is asked of the world, and what it answers. Plain data.
//!
//! `ui` and the headless commands ask with these, `act` answers with these, and neither imports the other. Nothing here touches a
//! process. `aim` has what is known before the key (who, and what each action would do here), `outcome` what comes back after it.

mod aim;
mod outcome;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::aim::{Aim, Aimed, Candidate, Confirmation, Disk, Frozen, Offer, Offers, Rival, Subject};
pub use self::outcome::{Deed, Hit, Landing, Outcome, Remaining, Report, Standing, Still};
use crate::units::ProcessId;

/// For how long a proof pauses its suspect if nobody says otherwise, in seconds: twice what the numbers of the screen are averages
/// over, and short enough for most clients and locks to bear.
pub const PROOF_SECONDS: u32 = 10;
/// The shortest proof: two looks after the numbers are of the pause alone ([`crate::proof`]).
pub const SHORTEST_PROOF: u32 = 6;
/// The longest: whoever is connected to the job gives it up by then.
pub const LONGEST_PROOF: u32 = 60;

/// The signals that whytop sends, in the order in which it offers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM: please end, and clean up. The first choice.
    Terminate,
    /// SIGINT: as Ctrl-C would; some tools clean up on this one only.
    Interrupt,
    /// SIGHUP: as a lost terminal would; a few tools end well on this one only.
    Hangup,
    /// SIGKILL: end now, no clean-up.
    Kill,
    /// SIGSTOP: pause; locks and open files stay held.
    Stop,
    /// SIGCONT: go on after a pause.
    Continue,
}

impl Signal {
    /// Those that should end a job, in the order of the dialog.
    pub const ENDS: [Self; 4] = [Self::Terminate, Self::Interrupt, Self::Hangup, Self::Kill];

    /// `SIGTERM`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Hangup => "SIGHUP",
            Self::Kill => "SIGKILL",
            Self::Stop => "SIGSTOP",
            Self::Continue => "SIGCONT",
        }
    }

    /// One that ends, by its name with or without `SIG`, in either case: `TERM`, `sigkill`.
    pub fn that_ends(name: &str) -> Option<Self> {
        let wanted = name.to_ascii_uppercase();
        let wanted = wanted.strip_prefix("SIG").unwrap_or(&wanted);
        Self::ENDS.into_iter().find(|signal| &signal.name()[3..] == wanted)
    }

    /// What the signal asks of whoever gets it, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Terminate => "ask it to end; it may clean up",
            Self::Interrupt => "as Ctrl-C does; it may clean up",
            Self::Hangup => "as a lost terminal does; it may clean up",
            Self::Kill => "end it now; no clean-up",
            Self::Stop => "pause it; locks and files stay held",
            Self::Continue => "let it go on after a pause",
        }
    }

    /// Whether the job should be gone afterwards.
    pub const fn ends(self) -> bool {
        !matches!(self, Self::Stop | Self::Continue)
    }

    /// Whether a process may catch it, clean up, and end in its own time.
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Terminate | Self::Interrupt | Self::Hangup)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What can be done about a job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// End it by this signal.
    End(Signal),
    /// Stop it until it is told to go on.
    Pause,
    /// Let it go on.
    Resume,
    /// Stop it for so long, and see whether others then wait no longer. It goes on by itself.
    Prove {
        /// For how long.
        seconds: u32,
    },
    /// Let everybody else go first: niceness 19, idle I/O class, smallest weights.
    Deprioritise,
    /// Put back what pausing and deprioritising changed.
    Undo,
    /// Thaw a frozen filesystem.
    Thaw {
        /// Where it is mounted.
        mount: String,
    },
    /// Have the service manager stop it, so that nothing starts it again.
    StopUnit {
        /// Its name there.
        unit: String,
    },
}

impl Action {
    /// Whether the job should be gone afterwards.
    pub const fn ends(&self) -> bool {
        match self {
            Self::End(signal) => signal.ends(),
            Self::StopUnit { .. } => true,
            _ => false,
        }
    }

    /// Whether it takes back what was done before.
    pub const fn puts_back(&self) -> bool {
        matches!(self, Self::Resume | Self::Undo)
    }

    /// Whether the job stands still afterwards, or is gone: what its users lose.
    pub const fn halts(&self) -> bool {
        self.ends() || matches!(self, Self::Pause | Self::Prove { .. })
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(signal) => signal.fmt(f),
            Self::Pause => f.write_str("pause"),
            Self::Resume => f.write_str("resume"),
            Self::Prove { seconds } => write!(f, "proof by a pause of {seconds} s"),
            Self::Deprioritise => f.write_str("deprioritise"),
            Self::Undo => f.write_str("undo"),
            Self::Thaw { mount } => write!(f, "thaw {mount}"),
            Self::StopUnit { unit } => write!(f, "stop {unit}"),
        }
    }
}

/// An action that was asked for, on what is held at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Chosen by whoever asks; every answer to this order bears it.
    pub ticket: u64,
    /// What to do.
    pub action: Action,
    /// To these processes of the job and nobody else, also not to those born meanwhile. `None`: to the whole job.
    pub only: Option<Vec<ProcessId>>,
    /// What was typed where a [`Confirmation`] is asked for.
    pub confirmed: Option<String>,
}

impl Order {
    /// The action on the whole job, with nothing typed.
    pub const fn whole(ticket: u64, action: Action) -> Self {
        Self { ticket, action, only: None, confirmed: None }
    }
}

/// Why a process is not hit. Each prints as the end of a sentence about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It ended already.
    Gone,
    /// It ended already, and its parent does not take notice.
    Zombie {
        /// The parent.
        parent: ProcessId,
        /// Its short name, cleaned.
        name: String,
    },
    /// It stood still before, and whoever stopped it may want it so.
    Stopped,
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
    /// A process of a database server that works for one client.
    Backend,
    /// The kernel says that this user may not.
    NotPermitted,
    /// The processes on the screen are not this host's (`--proc`), so nothing here may be hit.
    OtherHost,
    /// Started by a member in answer to the signal: most likely its clean-up, so it is left alone.
    Answer,
    /// Something else, as the system call says.
    Failed(String),
}

impl Refusal {
    /// Whether nothing of what was asked for is missing because of it.
    pub const fn is_no_loss(&self) -> bool {
        matches!(self, Self::Gone | Self::Zombie { .. } | Self::Stopped | Self::Answer)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("has ended already"),
            Self::Zombie { parent, name } => {
                write!(f, "has ended and is a zombie: its parent {name} {} does not reap it", parent.pid)
            }
            Self::Stopped => f.write_str("was stopped before and stays so"),
            Self::Reused => f.write_str("has ended; its number belongs to another process now"),
            Self::Init => f.write_str("is PID 1: the host would go down"),
            Self::KernelThread => f.write_str("is a kernel thread and takes no signals"),
            Self::Own => f.write_str("is whytop itself"),
            Self::Ancestor => f.write_str("is what whytop runs in"),
            Self::Backend => f.write_str("is a database backend: its server ends it (SELECT pg_terminate_backend)"),
            Self::NotPermitted => f.write_str("belongs to another user"),
            Self::OtherHost => f.write_str("is read from another proc tree than this host's"),
            Self::Answer => f.write_str("was started in answer to the signal (clean-up?) and is left alone"),
            Self::Failed(why) => write!(f, "could not be reached: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_ends_goes_by_any_of_its_names() {
        for name in ["TERM", "SIGTERM", "sigterm", "term"] {
            assert_eq!(Signal::that_ends(name), Some(Signal::Terminate), "{name}");
        }
        for name in ["STOP", "CONT", "USR1", "", "SIG", "15"] {
            assert_eq!(Signal::that_ends(name), None, "{name}");
        }
    }
}
