//! Puts the rooms together: reader and monitor for [`once`] and [`explain`], with them actions for [`headless`], and screen and keys for
//! [`screen`].
//!
//! The only place that knows all rooms. Decides nothing about the host. Tested by `tests/once.rs` and `tests/outage.rs`, which
//! run the binary, and by `tests/act/headless.rs`.

mod explain;
mod headless;
mod once;
mod screen;

use std::env;
use std::io::{stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::act::watchdog;
use crate::cli::{Cli, Command};
use crate::config::{self, Knowledge};
use crate::history::Limits;
use crate::kernel::own::Own;
use crate::kernel::{self, ProcRoot, Reader, WatchedReader};
use crate::monitor::Monitor;

/// Does what the command line asks; answers the exit code.
pub fn run(cli: &Cli) -> Result<u8> {
    let reader = || {
        let (own, path, tier) = (Own::secure(), cli.proc.clone(), cli.tier);
        WatchedReader::start(move || {
            let reader = Reader::with_loader(ProcRoot::open(&path)?, tier, Path::new("/proc/self/exe"))?;
            Ok(reader.keeping(own.clone()))
        })
    };
    match &cli.command {
        Some(Command::Once { json }) => {
            let knowledge = knowledge(cli)?;
            let mut reader = reader()?;
            let monitor = monitor(&mut reader, knowledge)?;
            once::run(reader, monitor, cli, *json)
        }
        Some(Command::Explain { pid, json }) => {
            let knowledge = knowledge(cli)?;
            let mut reader = reader()?;
            let monitor = monitor(&mut reader, knowledge)?;
            explain::run(reader, monitor, *pid, *json)
        }
        Some(Command::Act(_)) if cli.read_only => {
            bail!("--read-only: nothing is done; whytop once says what is the matter")
        }
        Some(Command::Act(act)) => {
            let knowledge = knowledge(cli)?;
            let mut reader = reader()?;
            let monitor = monitor(&mut reader, knowledge)?;
            headless::run(reader, monitor, cli, act)
        }
        Some(Command::LoadIterator) => kernel::load_iterator().map(|()| 0),
        Some(Command::Watchdog) => {
            // What it needs to let a job go on must not have to come from a stuck disk.
            Own::secure().complete();
            watchdog::run(stdin(), stdout()).map(|()| 0).context("watch over a pause")
        }
        None => {
            let knowledge = knowledge(cli)?;
            screen::run(reader()?, knowledge, cli)
        }
    }
}

/// What is known of programs on this host, to this user.
fn knowledge(cli: &Cli) -> Result<Knowledge> {
    let [config, home] = ["XDG_CONFIG_HOME", "HOME"].map(|name| env::var_os(name).map(PathBuf::from));
    config::knowledge(&cli.rules, config::home(config, home))
}

fn monitor(reader: &mut WatchedReader, knowledge: Knowledge) -> Result<Monitor> {
    Ok(Monitor::new(&reader.facts()?, Limits::default()).knowing(knowledge.catalogue, knowledge.complaints))
}
