//! What is written down of an action some time after it: who is left, and what a pause has shown.
//!
//! Joins the trace with the rooms that have the words. Tested by `tests/act/headless.rs` and `tests/terminal.rs`.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::action::{Action, Landing, Outcome, Standing, Still};
use crate::landing;
use crate::proof::Proof;
use crate::report::resume;
use crate::trace::{Entry, Places, Trace};
use crate::units::count;

/// For so long a watchdog whose whytop is gone stays, until what it did is written down: nobody waits for it.
const ALONE: Duration = Duration::from_mins(2);

/// Which landings are written down already. What is left of thousands changes with each of them; that some are left, that a signal is
/// pending, and that all are gone is told once.
#[derive(Debug, Default)]
pub(super) struct Landings {
    told: HashSet<(u64, bool)>,
}

impl Landings {
    /// Whether this one says something new.
    pub fn is_news(&mut self, landing: &Landing) -> bool {
        let pending = landing.left.iter().any(|left| matches!(left.still, Still::Pending { .. }));
        landing.left.is_empty() || self.told.insert((landing.ticket, pending))
    }
}

/// Who is left of a job that was told to end.
pub(super) fn landed(landing: &Landing) -> Entry {
    let Landing { at, ticket, signal, job, .. } = landing;
    Entry::seen(*at, *ticket, &Action::End(*signal), job, landing::sentence(landing, None))
}

/// What a pause has shown.
pub(super) fn shown(at: Timestamp, ticket: u64, proof: &Proof) -> Entry {
    Entry::seen(at, ticket, &Action::Prove { seconds: proof.seconds }, &proof.name, proof.sentence())
}

/// That a job goes on, by a watchdog whose whytop is gone.
pub(super) fn left_alone(outcome: &Outcome, file: Option<&Path>) {
    // Only where its whytop wrote too.
    if file.is_some() {
        let trace = Trace::start(Places::usual(file), |_| ());
        trace.note(Entry::result(outcome));
        trace.finish_within(ALONE);
    }
}

/// For whoever leaves: `nightly.sh is still paused (3 processes): whytop resume --job 'tree:4711@9' lets it go on`
pub(super) fn left_paused(standing: &Standing) -> String {
    let Standing { name, job, processes, .. } = standing;
    format!("{name} is still paused ({}): {} lets it go on", count(processes.len(), "process"), resume(job))
}
