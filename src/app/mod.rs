//! Puts the rooms together: reader and monitor for [`once`] and [`explain`], with them actions for [`headless`], and screen and keys for
//! [`screen`].
//!
//! The only place that knows all rooms. Decides nothing about the host. Tested by `tests/once.rs` and `tests/outage.rs`, which
//! run the binary, and by `tests/act/headless.rs`.

mod explain;
mod headless;
mod note;
mod once;
mod probed;
mod screen;

use std::env;
use std::io::{stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::act::watchdog;
use crate::cli::{Act, Cli, Command};
use crate::config::{self, Knowledge};
use crate::history::Limits;
use crate::kernel::own::Own;
use crate::kernel::{self, ProcRoot, Reader, WatchedReader};
use crate::monitor::Monitor;
use crate::runs;
use crate::sample::HostFacts;

/// Does what the command line asks; answers the exit code.
pub fn run(cli: &Cli) -> Result<u8> {
    match &cli.command {
        Some(Command::Once { json }) => {
            let (reader, monitor) = monitored(cli)?;
            once::run(reader, monitor, cli, *json)
        }
        Some(Command::Explain { .. }) if cli.probe.is_some() => {
            bail!("--probe: explain tells of a process and asks no site; whytop once does")
        }
        Some(Command::Explain { pid, json }) => {
            let (reader, monitor) = monitored(cli)?;
            explain::run(reader, monitor, *pid, *json)
        }
        // The watchdog stops whom it is told to: it is no way around.
        Some(Command::Act(_) | Command::Watchdog) if cli.read_only => {
            bail!("--read-only: nothing is done; whytop once says what is the matter")
        }
        Some(Command::Act(Act::Prove { target, .. })) if target.manner.watch.is_some() => {
            bail!("--watch: a proof watches for as long as it takes: --seconds")
        }
        Some(Command::Act(act)) => {
            let (reader, monitor) = monitored(cli)?;
            headless::run(reader, monitor, cli, act)
        }
        Some(Command::LoadIterator) => kernel::load_iterator().map(|()| 0),
        Some(Command::Watchdog) => {
            // What it needs to let a job go on must not have to come from a stuck disk.
            Own::secure().complete();
            let alone = |outcome| note::left_alone(&outcome, cli.trace.as_deref());
            watchdog::run(stdin(), stdout(), alone).map(|()| 0).context("watch over a pause")
        }
        None => {
            let (reader, knowledge) = informed(cli)?;
            screen::run(reader, knowledge, cli)
        }
    }
}

/// A reader, and what is known of programs on this host, to this user.
fn informed(cli: &Cli) -> Result<(WatchedReader, Knowledge)> {
    // First of all: what a thread had mapped by then would be made resident with the program, and kept.
    let own = Own::secure();
    let places = ["WHYTOP_HOST_RULES", "XDG_CONFIG_HOME", "HOME"];
    let [host, config, home] = places.map(|name| env::var_os(name).map(PathBuf::from));
    let knowledge = config::knowledge(&cli.rules, config::host(host), config::home(config, home))?;
    // Another proc is another host's, whose files are not to be seen from here.
    let own_files = (cli.proc == Path::new("/proc")).then(|| PathBuf::from("/"));
    let root = env::var_os("WHYTOP_UNITS_BELOW").map(PathBuf::from).or(own_files);
    let knowledge = knowledge.timing(root.as_deref());
    let (path, tier) = (cli.proc.clone(), cli.tier);
    let reader = WatchedReader::start(move || {
        let reader = Reader::with_loader(ProcRoot::open(&path)?, tier, Path::new("/proc/self/exe"))?;
        Ok(reader.keeping(own.clone()))
    })?;
    Ok((reader, knowledge))
}

/// The same, for whoever needs no more than an answer.
fn monitored(cli: &Cli) -> Result<(WatchedReader, Monitor)> {
    let (mut reader, knowledge) = informed(cli)?;
    let monitor = monitor(&reader.facts()?, knowledge);
    Ok((reader, monitor))
}

/// A monitor that knows all this, and what earlier whytops saw of this host.
fn monitor(facts: &HostFacts, knowledge: Knowledge) -> Monitor {
    let Knowledge { catalogue, complaints, timed } = knowledge;
    let runs = if facts.own_pid.is_some() { runs::known() } else { Vec::new() };
    Monitor::new(facts, Limits::default()).knowing(catalogue, complaints).timing(timed).remembering(runs)
}
