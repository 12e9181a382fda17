//! Sending: the signal to everybody who is held, then the looks for those born meanwhile.
//!
//! Takes up to [`PATIENCE`], so it belongs on a thread that nobody waits for. The reasons stand in [`super`].
//! One of the homes of clocks. Tested by `tests/act.rs`.

#![allow(clippy::disallowed_methods, reason = "looking again takes a pause and an end in real time")]

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::family::{Family, Kin};
use super::guard::Guard;
use super::hand::{Armed, Target};
use super::held::{Held, kernel_signal};
use super::look::Look;
use super::stat::{Stat, answers, now_in_ticks};
use crate::action::{Candidate, Hit, Outcome, Refusal, Signal};
use crate::units::{ProcessId, clean};

/// How long the looks go on at the most. A job that still bears children then ignores the signal.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many whole looks there are at the most.
const LOOKS: usize = 50;
/// How many looks in a row must find nobody new.
const QUIET_LOOKS: usize = 2;
/// How many times in a row a chase must find nobody before it is given up for a whole look.
const MISSES: usize = 3;
/// Between two looks that found nobody: one tick, the resolution of start times.
const PAUSE: Duration = Duration::from_millis(10);

impl Armed {
    /// Sends the signal to every process that is held, the first candidate first, and then to those born meanwhile.
    /// Blocks for some ten milliseconds, and up to two seconds with a job that keeps forking. Always answers.
    pub fn send(self, signal: Signal) -> Outcome {
        let mut outcome = Outcome { at: Timestamp::now(), job: self.job, signal, hits: Vec::new(), late: 0 };
        let planned: Vec<(ProcessId, String)> =
            self.targets.iter().map(|target| (target.candidate.id, target.candidate.name.clone())).collect();
        // There was no room to hold them; a look may find them below their parents.
        let not_held: HashSet<ProcessId> = self
            .targets
            .iter()
            .filter(|target| matches!(target.held, Err(Refusal::Failed(_))))
            .map(|target| target.candidate.id)
            .collect();
        let salvo = Salvo {
            outcome: &mut outcome,
            guard: Guard::now(),
            family: Family::since(self.since, not_held.clone()),
            sent: HashSet::new(),
            woken: HashSet::new(),
            not_held,
        };
        let complete = catch_unwind(AssertUnwindSafe(|| salvo.fire(self.targets)));
        if complete.is_err() {
            // A fault of ours must not hide what was done before it.
            for (id, name) in planned.into_iter().skip(outcome.hits.len()) {
                outcome.hits.push(Hit { id, name, result: Err(Refusal::Failed("whytop failed on the way".to_owned())) });
            }
        }
        outcome
    }
}

struct Salvo<'outcome> {
    outcome: &'outcome mut Outcome,
    guard: Guard,
    family: Family,
    /// Whom the signal went out to.
    sent: HashSet<ProcessId>,
    /// Who was stopped and is told to go on.
    woken: HashSet<ProcessId>,
    /// Candidates that have no descriptor, and a result that says so.
    not_held: HashSet<ProcessId>,
}

impl Salvo<'_> {
    fn fire(mut self, targets: Vec<Target>) {
        for target in &targets {
            match &target.held {
                Ok(held) => self.family.admit(held.id),
                Err(Refusal::Failed(_)) => {}
                // Refused once is enough.
                Err(_) => self.family.disown(target.candidate.id),
            }
        }
        // Before the first signal, as long as all children are below their parents.
        let born = Look::now().map(|look| self.family.find_new(&look, &self.guard)).unwrap_or_default();
        for Target { candidate: Candidate { id, name, .. }, held } in targets {
            let result = held.and_then(|held| self.hit(&held));
            self.outcome.hits.push(Hit { id, name, result });
        }
        self.hit_late(born);
        self.look_again();
    }

    fn look_again(&mut self) {
        let end = Instant::now() + PATIENCE;
        let mut quiet = 0;
        for _ in 0..LOOKS {
            let is_quiet = Look::now().map_or(true, |look| {
                let woke = self.wake(&look);
                !self.chase(look, end) && !woke
            });
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet >= QUIET_LOOKS || Instant::now() >= end {
                return;
            }
            if is_quiet {
                sleep(PAUSE);
            }
        }
    }

    /// Hits whom the look shows, the newest first, and looks at the newest numbers again after each: a job that keeps forking
    /// must be overtaken at its front, and on a host in trouble the time to hit those behind it is the time in which it gets
    /// away. Whether there was anybody.
    fn chase(&mut self, mut look: Look, end: Instant) -> bool {
        let mut waiting = self.family.find_new(&look, &self.guard);
        let (mut was_anybody, mut misses) = (false, 0);
        loop {
            was_anybody |= self.hit_late(waiting.pop());
            if was_anybody && Instant::now() < end {
                let newcomers = look.newcomers();
                let born = self.family.find_among(newcomers.iter().collect(), &look, &self.guard);
                misses = if born.is_empty() { misses + 1 } else { 0 };
                waiting.extend(born);
            } else {
                // Nothing to chase, or no more time; but whoever is known is hit.
                misses = MISSES;
            }
            if waiting.is_empty() && misses >= MISSES {
                return was_anybody;
            }
        }
    }

    fn hit(&mut self, held: &Held) -> Result<(), Refusal> {
        let signal = self.outcome.signal;
        if signal.is_request() && answers(held.id.pid, kernel_signal(signal).as_raw()) {
            self.family.may_answer(held.id, now_in_ticks());
        }
        let result = held.send(signal);
        match &result {
            Ok(()) => {
                self.sent.insert(held.id);
            }
            // Who has ended was a member still, and so are its orphans.
            Err(Refusal::Gone) => {}
            Err(_) => self.family.disown(held.id),
        }
        result
    }

    /// Hits those whom a look has found; whether there may be more, because somebody was hit, or ended before he could be
    /// and may have borne another.
    fn hit_late(&mut self, kin: impl IntoIterator<Item = (Stat, Kin)>) -> bool {
        let mut may_be_more = false;
        for (stat, kin) in kin {
            if self.not_held.remove(&stat.id) {
                // One entry a process: this one replaces the refusal.
                self.outcome.hits.retain(|hit| hit.id != stat.id);
            }
            let result = match kin {
                Kin::Born => Held::open(stat.id).and_then(|held| self.hit(&held)),
                Kin::Answer => Err(Refusal::Answer),
            };
            match &result {
                Ok(()) => {
                    self.outcome.late += 1;
                    may_be_more = true;
                }
                // It was never part of the answer.
                Err(Refusal::Gone | Refusal::Reused) => {
                    may_be_more = true;
                    continue;
                }
                Err(Refusal::Answer) => {}
                Err(_) => self.family.disown(stat.id),
            }
            self.outcome.hits.push(Hit { id: stat.id, name: clean(&stat.name), result });
        }
        may_be_more
    }

    /// A stopped process keeps SIGTERM and SIGINT pending until it goes on. It is told to after all have been asked, so that
    /// none goes on working in between. Whether there was one.
    fn wake(&mut self, look: &Look) -> bool {
        if !self.outcome.signal.is_request() {
            return false;
        }
        let woken_before = self.woken.len();
        for stat in look.eldest_first().into_iter().filter(|stat| stat.is_stopped()) {
            if self.sent.contains(&stat.id) && self.woken.insert(stat.id) {
                // If it has ended meanwhile, all the better.
                let _ = Held::open(stat.id).and_then(|held| held.send(Signal::Continue));
            }
        }
        self.woken.len() > woken_before
    }
}
