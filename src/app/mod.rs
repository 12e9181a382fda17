//! Puts the rooms together: reader and monitor for [`once`], with them actions for [`headless`], and screen and keys for [`screen`].
//!
//! The only place that knows all rooms. Decides nothing about the host. Tested by `tests/once.rs` and `tests/outage.rs`, which
//! run the binary, and by `tests/act/headless.rs`.

mod headless;
mod once;
mod screen;

use std::io::{stdin, stdout};
use std::path::Path;

use anyhow::{Context, Result};

use crate::act::watchdog;
use crate::cli::{Cli, Command};
use crate::kernel::own::Own;
use crate::kernel::{self, ProcRoot, Reader, WatchedReader};

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
        Some(Command::Once { json }) => once::run(reader()?, *json),
        Some(Command::Act(act)) => headless::run(reader()?, act),
        Some(Command::LoadIterator) => kernel::load_iterator().map(|()| 0),
        Some(Command::Watchdog) => {
            // What it needs to let a job go on must not have to come from a stuck disk.
            Own::secure().complete();
            watchdog::run(stdin(), stdout()).map(|()| 0).context("watch over a pause")
        }
        None => screen::run(reader()?, cli),
    }
}
