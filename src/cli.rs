//! The command line: what may be asked, and nothing else. Parsing reads no file and starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Parser, Subcommand};
use jiff::SignedDuration;

use crate::action::{LONGEST_PROOF, PROOF_SECONDS, SHORTEST_PROOF, Signal};
use crate::kernel::Choice;
use crate::probe::Address;
use crate::units::Pid;

/// Shortest and longest time between two samples. Faster would make whytop part of the load; slower is no monitor.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_mins(1);

/// Says why the load is high, who waits, who takes it, and gives you the key that ends it.
///
/// Without a command it opens the screen: `k` ends the culprit, `?` lists the keys, `q` quits.
#[derive(Debug, Parser)]
#[command(
    name = "whytop",
    version,
    after_help = "Exit status: 0 calm, done, or the screen was left; 1 contention (once), or an action refused or done in part; 2 an error, \
                  told on standard error."
)]
pub struct Cli {
    /// Time between two samples, 250ms to 60s
    #[arg(long, global = true, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    pub interval: Duration,
    /// Read this proc file system instead; its processes are shown and cannot be acted on
    #[arg(long, global = true, value_name = "PATH", default_value = "/proc")]
    pub proc: PathBuf,
    /// How to read tasks
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub tier: Choice,
    /// Ask this web site each two seconds, and show beside the load how it answers
    #[arg(long, global = true, value_name = "URL")]
    pub probe: Option<Address>,
    /// Only look: no key and no command acts on a process
    #[arg(long, global = true)]
    pub read_only: bool,
    /// Append what was done to this file [default: /var/log/whytop.log as root, else whytop/actions.log below `$XDG_STATE_HOME`]
    #[arg(long, global = true, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Add the tools of this rules file to those that are known; may be given more than once
    #[arg(long, global = true, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// What to do instead of opening the screen
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What whytop does without a screen.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look for a second, print the verdict and leave
    Once {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what a process's job is taken for, with every piece of evidence
    Explain {
        /// The process
        #[arg(value_parser = clap::value_parser!(Pid).range(1..))]
        pid: Pid,
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Act on a job.
    #[command(flatten)]
    Act(Act),
    /// Loads the task iterator for the whytop that started this one
    #[command(hide = true)]
    LoadIterator,
    /// Pauses a job for the whytop that started this one, and lets it go on whatever becomes of that
    #[command(hide = true)]
    Watchdog,
}

/// What can be done to a job without a screen.
#[derive(Debug, Subcommand)]
pub enum Act {
    /// End a job: send it a signal, its root first, and see who is left
    Kill {
        /// TERM, INT, HUP or KILL
        #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = signal)]
        signal: Signal,
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Stop a job until it is told to go on
    Pause {
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Let a job go on
    Resume {
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Stop a job for some seconds, see whether others then wait no longer, and let it go on
    Prove {
        /// For how long, 6 to 60
        #[arg(long, value_name = "SECONDS", default_value_t = PROOF_SECONDS, value_parser = seconds_of_a_proof())]
        seconds: u32,
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Let everybody else go before a job: niceness 19, idle I/O class
    Deprioritise {
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Put back what pause and deprioritise have changed
    Undo {
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Have systemd stop the unit of a job
    StopUnit {
        /// Whom, and how to ask
        #[command(flatten)]
        target: Target,
    },
    /// Thaw a frozen filesystem that somebody waits for
    Thaw {
        /// Where it is mounted
        mount: String,
        /// How to ask
        #[command(flatten)]
        manner: Manner,
    },
}

impl Act {
    /// The job that is meant; `None`: no job, but a filesystem.
    pub const fn target(&self) -> Option<&Target> {
        match self.meant() {
            Ok(target) => Some(target),
            Err(_) => None,
        }
    }

    /// How to ask and how to answer.
    pub const fn manner(&self) -> &Manner {
        match self.meant() {
            Ok(target) => &target.manner,
            Err(manner) => manner,
        }
    }

    /// The job, or how to ask where none is meant.
    const fn meant(&self) -> Result<&Target, &Manner> {
        match self {
            Self::Kill { target, .. }
            | Self::Pause { target }
            | Self::Resume { target }
            | Self::Prove { target, .. }
            | Self::Deprioritise { target }
            | Self::Undo { target }
            | Self::StopUnit { target } => Ok(target),
            Self::Thaw { manner, .. } => Err(manner),
        }
    }
}

/// Whom an action is for.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Whom.
    #[command(flatten)]
    pub whom: Whom,
    /// To these processes of the job and nobody else
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub only: Vec<Pid>,
    /// How to ask.
    #[command(flatten)]
    pub manner: Manner,
}

/// The job.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Whom {
    /// The job with this id, as in the JSON of `once`
    #[arg(long, value_name = "ID")]
    pub job: Option<String>,
    /// The job that takes what others wait for, at this moment
    #[arg(long)]
    pub culprit: bool,
}

/// How to ask and how to answer.
#[derive(Args, Clone, Debug)]
pub struct Manner {
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// The word that is asked for where the job is a victim, or a service that listens on a port
    #[arg(long, value_name = "WORD")]
    pub confirm: Option<String>,
    /// Watch for up to so long, 0 to 60, whether others wait no longer [default: 6 where somebody waits for the job, else 0]
    #[arg(long, value_name = "SECONDS", value_parser = RangedI64ValueParser::<u32>::new().range(0..=i64::from(LONGEST_PROOF)))]
    pub watch: Option<u32>,
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

fn seconds_of_a_proof() -> RangedI64ValueParser<u32> {
    RangedI64ValueParser::new().range(i64::from(SHORTEST_PROOF)..=i64::from(LONGEST_PROOF))
}

fn signal(text: &str) -> Result<Signal, String> {
    Signal::that_ends(text)
        .ok_or_else(|| "give TERM, INT, HUP or KILL; `whytop pause` and `resume` stop a job and let it go on".to_owned())
}

fn interval(text: &str) -> Result<Duration, String> {
    let wanted = || "give 250ms to 60s, such as 500ms or 2s".to_owned();
    let interval: SignedDuration = text.parse().map_err(|_| wanted())?;
    let interval = Duration::try_from(interval).map_err(|_| wanted())?;
    if INTERVALS.contains(&interval) { Ok(interval) } else { Err(wanted()) }
}

/// The first line of a command line error: one line is what somebody reads on a bad day.
pub fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    format!("{line}; whytop --help tells what there is")
}
