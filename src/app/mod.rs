//! Puts the rooms together: reader and monitor for [`once`], and with them screen, keys and actions for [`screen`].
//!
//! The only place that knows all rooms. Decides nothing about the host. Tested by `tests/once.rs` and `tests/outage.rs`, which
//! run the binary.

mod once;
mod screen;

use std::path::Path;

use anyhow::Result;

use crate::cli::{Cli, Command};
use crate::kernel::own::Own;
use crate::kernel::{self, ProcRoot, Reader};

/// Does what the command line asks; answers the exit code.
pub fn run(cli: &Cli) -> Result<u8> {
    let reader = || {
        let own = Own::secure();
        let reader = Reader::with_loader(ProcRoot::open(&cli.proc)?, cli.tier, Path::new("/proc/self/exe"))?;
        anyhow::Ok(reader.keeping(own))
    };
    match cli.command {
        Some(Command::Once { json }) => once::run(reader()?, json),
        Some(Command::LoadIterator) => kernel::load_iterator().map(|()| 0),
        None => screen::run(reader()?, cli),
    }
}
