//! How long earlier runs of the same work took, as far as they ended while a whytop watched.
//!
//! Bounded: the newest runs of the names seen last. Pure; `runs` keeps them in a file. Tested in place and by `tests/jobs.rs`.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::analysis::diagnosis::{JobFacts, Kind, Usual};
use crate::units::ProcessId;

/// Names remembered: more recurring jobs than a host has in a night.
const NAMES: usize = 64;
/// Runs remembered of each: enough for a middle, few enough to follow data that grows.
const RUNS: usize = 8;
/// Runs that wait to be asked for: no more than are remembered, where nobody ever asks.
const FRESH: usize = NAMES * RUNS;
/// Fewer than this are no habit.
const HABIT: usize = 2;
/// A run shorter than this part of a long one did not get to its end: it crashed, or somebody ended it.
const WHOLE: f64 = 0.5;
/// A run shorter than this, in seconds, says that nothing was to be done.
const SHORTEST: f64 = 1.0;

/// Runs that ended.
#[derive(Debug, Default)]
pub struct Past {
    /// The name seen last stands last.
    names: Vec<(Work, VecDeque<Run>)>,
    /// Those that nobody has asked for yet, the newest last.
    fresh: VecDeque<Run>,
}

/// What makes two jobs runs of the same work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The job's name.
    pub name: String,
    /// Who started it.
    pub launched_by: Option<String>,
}

/// A run that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Of what.
    pub work: Work,
    /// Its root: another whytop may have seen the same run.
    pub root: ProcessId,
    /// How long it took.
    pub seconds: f64,
}

impl Past {
    /// Remembers a job that ended after so many seconds.
    pub fn note(&mut self, facts: &JobFacts, seconds: f64) {
        if !matches!(facts.finding.kind, Kind::Backup | Kind::Batch) || seconds < SHORTEST {
            return;
        }
        let Some(root) = facts.root else { return };
        let run = Run { work: Work { name: facts.name.clone(), launched_by: facts.launched_by.clone() }, root, seconds };
        if self.fresh.len() == FRESH {
            self.fresh.pop_front();
        }
        self.fresh.push_back(run.clone());
        self.add(run);
    }

    /// Takes in a run that was seen, by this whytop or another one.
    pub fn add(&mut self, run: Run) {
        let known = self.names.iter().position(|(work, _)| *work == run.work);
        let (work, mut runs) = known.map_or_else(|| (run.work.clone(), VecDeque::new()), |at| self.names.remove(at));
        runs.retain(|known| known.root != run.root);
        if runs.len() == RUNS {
            runs.pop_front();
        }
        runs.push_back(run);
        if self.names.len() == NAMES {
            self.names.remove(0);
        }
        self.names.push((work, runs));
    }

    /// All that are remembered, in the order in which they are forgotten.
    pub fn into_runs(self) -> Vec<Run> {
        self.names.into_iter().flat_map(|(_, runs)| runs).collect()
    }

    /// Those that were noted since this was asked last.
    pub fn take_fresh(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.fresh).into()
    }

    /// How long earlier runs of this job's work took, if there were enough to say so.
    pub fn usual(&self, facts: &JobFacts) -> Option<Usual> {
        let same = |work: &Work| work.name == facts.name && work.launched_by == facts.launched_by;
        let (_, runs) = self.names.iter().find(|(work, _)| same(work))?;
        let mut sorted: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        sorted.sort_by(f64::total_cmp);
        // Two thirds up: neither those that crashed nor the one that hung for a day.
        let long = sorted.get(sorted.len() * 2 / 3).copied().unwrap_or_default();
        sorted.retain(|seconds| *seconds >= long * WHOLE);
        if sorted.len() < HABIT {
            return None;
        }
        Some(Usual { runs: sorted.len(), seconds: *sorted.get((sorted.len().max(1) - 1) / 2)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::diagnosis::{Advice, Finding, JobId};

    fn job(name: &str, kind: Kind) -> JobFacts {
        let advice = Advice::default();
        JobFacts {
            id: JobId::unit(name),
            name: name.to_owned(),
            finding: Finding { kind, tool: None, work: None, confidence: 0.9, evidence: Vec::new(), advice },
            launched_by: Some("cron (root)".to_owned()),
            unit: None,
            container: None,
            cgroup: None,
            user: None,
            root: Some(ProcessId { pid: 7, start: 1 }),
            started_at: None,
            members: Vec::new(),
            carried: Vec::new(),
        }
    }

    #[test]
    fn the_middle_of_the_newest_runs_counts() {
        let (nightly, site) = (job("nightly.sh", Kind::Backup), job("site", Kind::Service));
        let mut past = Past::default();
        let mut start = 0;
        let mut note = |past: &mut Past, job: &JobFacts, seconds| {
            start += 1;
            past.note(&JobFacts { root: Some(ProcessId { pid: 7, start }), ..job.clone() }, seconds);
        };
        assert_eq!(past.usual(&nightly), None);
        note(&mut past, &nightly, 0.2);
        note(&mut past, &site, 90.0);
        assert_eq!((past.usual(&nightly), past.usual(&site)), (None, None));
        note(&mut past, &nightly, 900.0);
        assert_eq!(past.usual(&nightly), None, "one run is no habit");
        for seconds in [610.0, 600.0] {
            note(&mut past, &nightly, seconds);
        }
        assert_eq!(past.usual(&nightly), Some(Usual { runs: 3, seconds: 610.0 }));
        assert_eq!(past.usual(&JobFacts { launched_by: None, ..nightly.clone() }), None, "somebody else's run");
        note(&mut past, &nightly, 3.0);
        assert_eq!(past.usual(&nightly), Some(Usual { runs: 3, seconds: 610.0 }), "one that crashed says nothing");
        for _ in 0..20 {
            note(&mut past, &nightly, 50.0);
        }
        assert_eq!(past.usual(&nightly), Some(Usual { runs: RUNS, seconds: 50.0 }));
        for number in 0..NAMES {
            note(&mut past, &job(&number.to_string(), Kind::Batch), 5.0);
        }
        assert_eq!(past.usual(&nightly), None, "the oldest is forgotten");
    }

    #[test]
    fn runs_that_nobody_asks_for_are_not_kept_for_ever() {
        let (nightly, mut past) = (job("nightly.sh", Kind::Backup), Past::default());
        for start in 0..2000 {
            past.note(&JobFacts { root: Some(ProcessId { pid: 7, start }), ..nightly.clone() }, 5.0);
        }
        let fresh = past.take_fresh();
        assert_eq!((fresh.len(), fresh.last().map(|run| run.root.start)), (FRESH, Some(1999)));
    }

    #[test]
    fn a_run_that_two_have_seen_counts_once() {
        let nightly = job("nightly.sh", Kind::Backup);
        let (mut one, mut other) = (Past::default(), Past::default());
        one.note(&nightly, 60.0);
        one.note(&JobFacts { root: Some(ProcessId { pid: 7, start: 2 }), ..nightly.clone() }, 62.0);
        other.note(&nightly, 60.1);
        let fresh = one.take_fresh();
        assert_eq!((fresh.len(), one.take_fresh().len()), (2, 0));
        for run in fresh {
            other.add(run);
        }
        assert_eq!(other.usual(&nightly), Some(Usual { runs: 2, seconds: 60.0 }));
        assert_eq!(other.into_runs().len(), 2);
    }
}
