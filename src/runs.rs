//! Earlier runs of jobs, in a file that outlives the whytop that saw them end: one that is started in the outage knows them.
//!
//! It lies beside the ledger of what was done, on a filesystem in memory, with the same checks of owner and mode, and is bounded as the past
//! itself is. Several whytops share it. A thread of its own writes, so no sample waits for the lock. Tested by tests/knowledge.rs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::act::ledger;
use crate::analysis::past::{Past, Run};
use crate::units::clean;

/// Whoever writes the file as whytops share it.
#[derive(Debug)]
pub struct Keeper(Sender<Vec<Run>>);

/// Where it is. `None`: there is no place in memory for it.
fn place() -> Option<PathBuf> {
    ledger::place().map(|ledger| ledger.with_file_name("runs.json"))
}

/// What this user's whytops saw so far.
pub fn known() -> Vec<Run> {
    place().map(|file| read(&file)).unwrap_or_default()
}

fn read(file: &Path) -> Vec<Run> {
    let page = ledger::read_own(file).unwrap_or_default();
    // A page that makes no sense says nothing.
    let mut runs: Vec<Run> = serde_json::from_slice(&page).unwrap_or_default();
    runs.retain(|run| run.seconds.is_finite() && run.seconds > 0.0);
    for work in runs.iter_mut().map(|run| &mut run.work) {
        // Written by this user, and still text that came from elsewhere once.
        work.name = clean(&work.name);
        work.launched_by = work.launched_by.as_deref().map(clean);
    }
    runs
}

fn add(file: &Path, fresh: Vec<Run>) -> io::Result<()> {
    let _lock = ledger::locked(file)?;
    let mut past = Past::default();
    for run in read(file).into_iter().chain(fresh) {
        past.add(run);
    }
    ledger::write_own(file, &serde_json::to_vec(&past.into_runs())?)
}

impl Keeper {
    /// Starts to keep what is noted.
    pub fn start() -> io::Result<Self> {
        let (send, noted) = channel::<Vec<Run>>();
        let keep = move || {
            for runs in noted {
                // What cannot be kept is known to this whytop alone.
                let _ = place().map(|file| add(&file, runs));
            }
        };
        thread::Builder::new().name("runs".to_owned()).spawn(keep)?;
        Ok(Self(send))
    }

    /// These runs have ended.
    pub fn note(&self, runs: Vec<Run>) {
        if !runs.is_empty() {
            let _ = self.0.send(runs);
        }
    }
}
