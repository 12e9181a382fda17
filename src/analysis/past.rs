//! How long earlier runs of the same work took, as far as they ended while whytop watched.
//!
//! Bounded: the newest runs of the names seen last. Pure. Tested in place and by `tests/jobs.rs`.

use std::collections::VecDeque;

use crate::analysis::diagnosis::{JobFacts, Kind, Usual};

/// Names remembered: more recurring jobs than a host has in a night.
const NAMES: usize = 64;
/// Runs remembered of each: enough for a middle, few enough to follow data that grows.
const RUNS: usize = 8;
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
    names: Vec<(Work, VecDeque<f64>)>,
}

/// What makes two jobs runs of the same work: their name, and who started them.
type Work = (String, Option<String>);

impl Past {
    /// Remembers a job that ended after so many seconds.
    pub fn note(&mut self, facts: &JobFacts, seconds: f64) {
        if !matches!(facts.finding.kind, Kind::Backup | Kind::Batch) || seconds < SHORTEST {
            return;
        }
        let work = (facts.name.clone(), facts.launched_by.clone());
        let known = self.names.iter().position(|(known, _)| *known == work);
        let (work, mut runs) = known.map(|at| self.names.remove(at)).unwrap_or((work, VecDeque::new()));
        if runs.len() == RUNS {
            runs.pop_front();
        }
        runs.push_back(seconds);
        if self.names.len() == NAMES {
            self.names.remove(0);
        }
        self.names.push((work, runs));
    }

    /// How long earlier runs of this job's work took, if there were enough to say so.
    pub fn usual(&self, facts: &JobFacts) -> Option<Usual> {
        let same = |work: &Work| work.0 == facts.name && work.1 == facts.launched_by;
        let (_, runs) = self.names.iter().find(|(work, _)| same(work))?;
        let mut sorted: Vec<f64> = runs.iter().copied().collect();
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
            user: None,
            root: None,
            started_at: None,
            members: Vec::new(),
            carried: Vec::new(),
        }
    }

    #[test]
    fn the_middle_of_the_newest_runs_counts() {
        let (nightly, site) = (job("nightly.sh", Kind::Backup), job("site", Kind::Service));
        let mut past = Past::default();
        assert_eq!(past.usual(&nightly), None);
        past.note(&nightly, 0.2);
        past.note(&site, 90.0);
        assert_eq!((past.usual(&nightly), past.usual(&site)), (None, None));
        past.note(&nightly, 900.0);
        assert_eq!(past.usual(&nightly), None, "one run is no habit");
        for seconds in [610.0, 600.0] {
            past.note(&nightly, seconds);
        }
        assert_eq!(past.usual(&nightly), Some(Usual { runs: 3, seconds: 610.0 }));
        assert_eq!(past.usual(&JobFacts { launched_by: None, ..nightly.clone() }), None, "somebody else's run");
        past.note(&nightly, 3.0);
        assert_eq!(past.usual(&nightly), Some(Usual { runs: 3, seconds: 610.0 }), "one that crashed says nothing");
        for _ in 0..20 {
            past.note(&nightly, 50.0);
        }
        assert_eq!(past.usual(&nightly), Some(Usual { runs: RUNS, seconds: 50.0 }));
        for number in 0..NAMES {
            past.note(&job(&number.to_string(), Kind::Batch), 5.0);
        }
        assert_eq!(past.usual(&nightly), None, "the oldest is forgotten");
    }
}
