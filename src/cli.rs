//! The command line: what may be asked, and nothing else. Parsing reads no file and starts nothing.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use jiff::SignedDuration;

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
    after_help = "Exit status: 0 calm, or the screen was left; 1 contention (once); 2 an error, told on standard error."
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
    /// Loads the task iterator for the whytop that started this one
    #[command(hide = true)]
    LoadIterator,
    /// Pauses a job for the whytop that started this one, and lets it go on whatever becomes of that
    #[command(hide = true)]
    Watchdog,
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
