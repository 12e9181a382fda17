//! The ledger: the one-minute load average as a sum over jobs.
//!
//! The kernel keeps one number; here each job gets one of its own by the same formula (`kernel/sched/loadavg.c`), so that they add up to
//! the kernel's but for what happened before whytop looked and between its looks, and that is said too. Pure. Tested in place.

use std::collections::{BTreeMap, HashMap};

use crate::analysis::diagnosis::{Account, AccountLine, JobId};
use crate::units::{Nanos, SECOND};

/// Time constant of the one-minute average, in seconds.
const TIME_CONSTANT: f64 = 60.0;
/// A job that has ended is named until less than this is left of it; the average itself is printed with two digits.
const NEGLIGIBLE: f64 = 0.02;

/// The averages of jobs.
#[derive(Debug, Default)]
pub struct Ledger {
    parts: BTreeMap<JobId, Part>,
    /// What the kernel had counted before the first sample and cannot be told apart.
    before: f64,
    at: Option<Nanos>,
}

#[derive(Debug)]
struct Part {
    name: String,
    average: f64,
    /// Tasks at the newest sample.
    tasks: f64,
}

/// What of a job counts in the load at this instant.
pub struct Counted<'a> {
    /// The job.
    pub job: &'a JobId,
    /// Its name.
    pub name: &'a str,
    /// Its tasks that are runnable or in uninterruptible sleep.
    pub tasks: u32,
    /// For how long some of its stuck tasks have been so, in seconds, where that is known: at first sight they have a past.
    pub stuck_for: &'a [f64],
}

impl Ledger {
    /// Takes in the next sample: its instant since boot, the kernel's one-minute average, and the jobs with tasks that count.
    pub fn add<'a>(&mut self, at: Nanos, average: f64, counted: impl Iterator<Item = Counted<'a>>) -> Account {
        let kept = |seconds: f64| (-seconds / TIME_CONSTANT).exp();
        let keep = self.at.map(|before| kept(at.saturating_sub(before) as f64 / SECOND as f64));
        let mut tasks: HashMap<&JobId, f64> = HashMap::new();
        for job in counted {
            tasks.insert(job.job, f64::from(job.tasks));
            let fresh = || Part { name: job.name.to_owned(), average: 0.0, tasks: 0.0 };
            let part = self.parts.entry(job.job.clone()).or_insert_with(fresh);
            if part.name != job.name {
                job.name.clone_into(&mut part.name);
            }
            if keep.is_none() {
                part.average = job.stuck_for.iter().map(|seconds| 1.0 - kept(*seconds)).sum();
            }
        }
        for (job, part) in &mut self.parts {
            let now = tasks.get(job).copied().unwrap_or_default();
            if let Some(keep) = keep {
                // Between two looks it was, most likely, between what they saw.
                part.average = part.average * keep + f64::midpoint(part.tasks, now) * (1.0 - keep);
            }
            part.tasks = now;
        }
        let seen: f64 = self.parts.values().map(|part| part.average).sum();
        self.before = match keep {
            Some(keep) => self.before * keep,
            None => (average - seen).max(0.0),
        };
        self.at = Some(at);
        self.parts.retain(|_, part| part.average >= NEGLIGIBLE || part.tasks > 0.0);
        let line =
            |(job, part): (&JobId, &Part)| AccountLine { job: job.clone(), name: part.name.clone(), average: part.average };
        let mut lines: Vec<AccountLine> = self.parts.iter().map(line).collect();
        lines.sort_by(|a, b| b.average.total_cmp(&a.average).then_with(|| a.job.cmp(&b.job)));
        let named: f64 = lines.iter().map(|line| line.average).sum();
        Account { average, lines, before: self.before, unseen: average - named - self.before }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The kernel's own arithmetic: fixed point, one step each 5.004 s.
    struct Kernel {
        average: u64,
        next: f64,
    }

    impl Kernel {
        fn until(&mut self, seconds: f64, active: impl Fn(f64) -> u32) {
            const ONE: u64 = 1 << 11;
            while self.next <= seconds {
                let tasks = u64::from(active(self.next)) * ONE;
                let load = self.average * 1884 + tasks * (ONE - 1884);
                self.average = (load + if tasks >= self.average { ONE - 1 } else { 0 }) / ONE;
                self.next += 5.004;
            }
        }

        fn average(&self) -> f64 {
            self.average as f64 / 2048.0
        }
    }

    fn add(ledger: &mut Ledger, second: f64, average: f64, tasks: u32, stuck_for: &[f64]) -> Account {
        let job = JobId::unit("web");
        let counted = Counted { job: &job, name: "web", tasks, stuck_for };
        ledger.add((second * SECOND as f64) as Nanos, average, [counted].into_iter().filter(|job| job.tasks > 0))
    }

    #[test]
    fn at_first_sight_what_is_stuck_has_a_past() {
        let mut kernel = Kernel { average: 0, next: 0.0 };
        kernel.until(120.0, |_| 40);
        let account = add(&mut Ledger::default(), 120.0, kernel.average(), 40, &[120.0; 40]);
        assert!((account.lines[0].average - account.average).abs() < 0.5, "{account:?}");
        let account = add(&mut Ledger::default(), 120.0, kernel.average(), 40, &[]);
        assert!((account.before - account.average).abs() < 1e-9, "nothing is known of the time before: {account:?}");
    }

    #[test]
    fn a_job_that_has_ended_fades_as_the_kernel_lets_it() {
        let mut kernel = Kernel { average: 0, next: 0.0 };
        let mut ledger = Ledger::default();
        let active = |second: f64| if second < 60.0 { 20 } else { 0 };
        for second in (0..=300).map(f64::from) {
            kernel.until(second, active);
            let account = add(&mut ledger, second, kernel.average(), active(second), &[]);
            assert!(account.unseen.abs() <= 1.7, "{second}: one step of the kernel at the most: {account:?}");
            if (second - 120.0).abs() < 0.1 {
                assert!((account.lines[0].average - account.average).abs() < 0.7, "{account:?}");
            }
        }
        assert!(add(&mut ledger, 600.0, 0.0, 0, &[]).lines.is_empty(), "and is forgotten in the end");
    }

    proptest! {
        /// Tasks that come and go at any second: the kernel looks each five seconds and whytop each one, so they differ, by so much.
        #[test]
        fn it_adds_up(changes in prop::collection::vec((1..40_u32, 0..50_u32), 1..12), first in 0..5000_u32) {
            let mut steps = vec![(0, 0)];
            for (seconds, tasks) in changes {
                steps.push((steps.last().map_or(0, |step: &(u32, u32)| step.0) + seconds, tasks));
            }
            let active = |second: f64| steps.iter().rev().find(|step| f64::from(step.0) <= second).map_or(0, |step| step.1);
            let mut kernel = Kernel { average: 0, next: f64::from(first) / 1000.0 };
            let mut ledger = Ledger::default();
            let mut worst = 0.0_f64;
            let end = steps.last().map_or(0, |step| step.0) + 60;
            for second in (0..end).map(f64::from) {
                kernel.until(second, active);
                let account = add(&mut ledger, second, kernel.average(), active(second), &[]);
                let sum: f64 = account.lines.iter().map(|line| line.average).sum::<f64>() + account.before + account.unseen;
                prop_assert!((sum - account.average).abs() < 1e-6);
                worst = worst.max(account.unseen.abs());
            }
            // One look of the kernel weighs 8 % of what it sees; each change may fall just before or after it.
            let largest = steps.windows(2).map(|pair| pair[0].1.abs_diff(pair[1].1)).max().unwrap_or_default();
            prop_assert!(worst <= 0.6 + 0.25 * f64::from(largest), "{worst} with steps of {largest}");
        }
    }
}
