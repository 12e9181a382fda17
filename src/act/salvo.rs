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
use rustix::process::geteuid;

use super::cgroup::{self, Group};
use super::family::{Family, Kin};
use super::guard::Guard;
use super::hand::{Armed, Target};
use super::held::{Held, kernel_signal};
use super::ledger::Former;
use super::look::Look;
use super::stat::{Stat, answers, now_in_ticks};
use super::weights::{self, Before};
use crate::action::{Action, Candidate, Hit, Outcome, Refusal, Signal};
use crate::units::{Pid, ProcessId, clean};

/// How long the looks go on at the most. A job that still bears children then ignores the signal.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many whole looks there are at the most.
const LOOKS: usize = 50;
/// How many looks in a row must find nobody new.
const QUIET_LOOKS: usize = 2;
/// How many times in a row a chase must find nobody before it is given up for a whole look.
const MISSES: usize = 3;
/// How many generations may have been born into a control group since the last look.
const GENERATIONS: usize = 8;
/// Between two looks that found nobody: one tick, the resolution of start times.
const PAUSE: Duration = Duration::from_millis(10);

/// What is done to each process of a job.
pub enum Blow<'a> {
    /// A signal that ends is sent.
    Signal(Signal),
    /// It stops; the control group that it was frozen by is added here.
    Stop(&'a mut Vec<Group>),
    /// It goes on.
    Continue,
    /// It goes behind everybody else; what it had is added here.
    Lower(&'a mut Vec<Before>),
    /// It gets back what it had.
    Restore(&'a Former),
}

impl Armed {
    /// Does it to every process that is held, the first candidate first, and then to those born meanwhile; answers who was hit.
    /// Blocks for some ten milliseconds, and up to two seconds with a job that keeps forking. Always answers.
    pub fn strike(self, ticket: u64, action: Action, blow: Blow<'_>) -> Outcome {
        let mut outcome = Outcome::new(ticket, Timestamp::now(), &self.subject, action);
        outcome.by_root = geteuid().is_root();
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
            blow,
            only: self.only,
            frozen: self.frozen,
            stood: HashSet::new(),
            guard: Guard::now(),
            family: self.spared.into_iter().fold(Family::since(self.since, not_held.clone()), Family::without),
            sent: HashSet::new(),
            woken: HashSet::new(),
            struck: HashSet::new(),
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

struct Salvo<'a> {
    outcome: &'a mut Outcome,
    blow: Blow<'a>,
    /// Nobody but the targets.
    only: bool,
    /// The control groups by which the job was paused.
    frozen: Vec<Group>,
    /// Who stood still before the job was stopped, and is left so afterwards.
    stood: HashSet<ProcessId>,
    guard: Guard,
    family: Family,
    /// Whom the signal went out to.
    sent: HashSet<ProcessId>,
    /// Who was stopped and is told to go on.
    woken: HashSet<ProcessId>,
    /// Who was hit with the whole control group, and needs no blow of his own.
    struck: HashSet<Pid>,
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
        let mut born = if self.only { Vec::new() } else { self.find_born() };
        let held: Vec<ProcessId> = targets.iter().filter_map(|target| Some(target.held.as_ref().ok()?.id)).collect();
        if matches!(self.blow, Blow::Stop(_)) {
            let stands = |id: &ProcessId| Stat::read(id.pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.is_stopped()));
            self.stood = held.iter().copied().filter(stands).collect();
        }
        if matches!(self.blow, Blow::Continue) {
            self.thaw(&held, &mut born);
        }
        self.strike_group(&targets, &mut born);
        for Target { candidate: Candidate { id, name, .. }, held } in targets {
            let result = held.and_then(|held| self.hit(&held));
            self.outcome.hits.push(Hit { id, name, result });
        }
        self.hit_late(born);
        if matches!(self.blow, Blow::Signal(Signal::Kill)) {
            // Whoever joined it meanwhile would stand still for ever, and nobody would know why.
            self.thaw_recorded();
        }
        if !self.only {
            self.look_again();
        }
        if matches!(self.blow, Blow::Continue) {
            self.check_thawed(&held);
        }
    }

    fn find_born(&mut self) -> Vec<(Stat, Kin)> {
        Look::now().map(|look| self.family.find_new(&look, &self.guard)).unwrap_or_default()
    }

    /// Where a control group holds the job and nobody else, all of it is killed or frozen in one stroke.
    fn strike_group(&mut self, targets: &[Target], born: &mut Vec<(Stat, Kin)>) {
        let kills = matches!(self.blow, Blow::Signal(Signal::Kill));
        if !kills && !matches!(self.blow, Blow::Stop(_)) {
            return;
        }
        let held = targets.iter().filter_map(|target| target.held.as_ref().ok());
        let pids: Vec<Pid> = held.filter(|held| !held.has_ended()).map(|held| held.id.pid).collect();
        let Some(group) = self.own_group(&pids) else { return };
        let Some(inside) = self.inside_if_ours(&group, born) else { return };
        let living = targets.iter().filter_map(|target| target.held.as_ref().ok()).filter(|held| !held.has_ended());
        let mut struck: HashSet<Pid> = living.map(|held| held.id.pid).chain(born.iter().map(|(stat, _)| stat.id.pid)).collect();
        struck.retain(|pid| inside.contains(pid));
        let worked = if kills { group.kill() } else { group.freeze(true) };
        if worked.is_ok() {
            self.struck = struck;
            // Those born in the last instant stand still with the others.
            self.struck.extend(group.processes().unwrap_or_default());
            self.outcome.notes.push("all at once, by its control group".to_owned());
            if let Blow::Stop(frozen) = &mut self.blow {
                frozen.push(group);
            }
        }
    }

    /// The control group that all of these are in. `None`: where processes were picked, they alone are meant.
    fn own_group(&self, pids: &[Pid]) -> Option<Group> {
        if self.only || pids.is_empty() { None } else { Group::of(pids, &cgroup::root()?) }
    }

    /// Who is in the group, if everybody there is a member of the job as of this instant. Members found on the way are added.
    fn inside_if_ours(&mut self, group: &Group, born: &mut Vec<(Stat, Kin)>) -> Option<HashSet<Pid>> {
        for _ in 0..QUIET_LOOKS {
            let inside = group.processes().ok()?;
            let strangers: Vec<Pid> = inside.iter().copied().filter(|pid| !self.is_ours(*pid)).collect();
            if strangers.is_empty() {
                return Some(inside.into_iter().collect());
            }
            if strangers.iter().any(|pid| self.guard.refuse(*pid).is_some()) {
                return None;
            }
            // Born into the job since the last look, perhaps.
            born.extend(self.find_born());
        }
        None
    }

    /// A member, or a child of one that no look has seen yet.
    fn is_ours(&self, pid: Pid) -> bool {
        let mut next = pid;
        for _ in 0..GENERATIONS {
            // Zero: a process of another namespace.
            if next <= 0 {
                return false;
            }
            match Stat::read(next) {
                Ok(Some(stat)) if self.family.has(stat.id) => return true,
                Ok(Some(stat)) if !stat.has_ended() && self.family.is_newer(stat.id) => next = stat.parent,
                // Who has ended since the group was read is nobody's bystander.
                Ok(stat) => return next == pid && stat.is_none_or(|stat| stat.has_ended()),
                Err(_) => return false,
            }
        }
        false
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
        let result = match &mut self.blow {
            Blow::Stop(_) if self.stood.contains(&held.id) => Err(Refusal::Stopped),
            Blow::Signal(_) | Blow::Stop(_) if self.struck.contains(&held.id.pid) => Ok(()),
            Blow::Stop(_) => held.send(Signal::Stop),
            Blow::Continue => held.send(Signal::Continue),
            Blow::Signal(signal) => {
                if signal.is_request() && answers(held.id.pid, kernel_signal(*signal).as_raw()) {
                    self.family.may_answer(held.id, now_in_ticks());
                }
                held.send(*signal)
            }
            Blow::Lower(before) => weights::lower(held, before),
            Blow::Restore(former) => weights::restore(held, &former.before, former.at),
        };
        match &result {
            Ok(()) => {
                self.sent.insert(held.id);
            }
            // Who has ended was a member still, and so are its orphans; who stood still is one.
            Err(Refusal::Gone | Refusal::Stopped) => {}
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
                Err(Refusal::Gone | Refusal::Reused | Refusal::Zombie { .. }) => {
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

    /// A stopped process keeps a request pending until it goes on. It is told to after all have been asked, so that none goes on
    /// working in between. Whether there was one.
    fn wake(&mut self, look: &Look) -> bool {
        let Blow::Signal(signal) = self.blow else { return false };
        if !signal.is_request() {
            return false;
        }
        let woken_before = self.woken.len();
        for stat in look.eldest_first().into_iter().filter(|stat| stat.is_stopped()) {
            if self.sent.contains(&stat.id) && self.woken.insert(stat.id) {
                // If it has ended meanwhile, all the better.
                let _ = Held::open(stat.id).and_then(|held| held.send(Signal::Continue));
            }
        }
        let sent: Vec<ProcessId> = self.sent.iter().copied().collect();
        self.thaw(&sent, &mut Vec::new());
        self.woken.len() > woken_before
    }

    /// Lets go the control groups by which the job was paused. One that nobody wrote down is let go only where it holds the job and
    /// nobody else.
    fn thaw(&mut self, members: &[ProcessId], born: &mut Vec<(Stat, Kin)>) {
        self.thaw_recorded();
        let living = |id: &&ProcessId| Stat::read(id.pid).is_ok_and(|stat| stat.is_some_and(|stat| !stat.has_ended()));
        let pids: Vec<Pid> = members.iter().filter(living).map(|id| id.pid).collect();
        let Some(group) = self.own_group(&pids).and_then(|group| group.frozen()) else { return };
        if self.inside_if_ours(&group, born).is_some() {
            let _ = group.freeze(false);
        }
    }

    /// Whoever else is inside by now: to let go harms nobody.
    fn thaw_recorded(&self) {
        for group in self.frozen.iter().filter(|group| group.is_frozen()) {
            let _ = group.freeze(false);
        }
    }

    /// SIGCONT "works" for whoever stands still with his control group, and changes nothing.
    fn check_thawed(&mut self, members: &[ProcessId]) {
        let Some(root) = cgroup::root() else { return };
        let recorded = self.frozen.iter().find(|group| group.is_frozen()).cloned();
        let still = recorded.or_else(|| members.iter().find_map(|id| Group::of(&[id.pid], &root)?.frozen()));
        if let Some(group) = still {
            let remedy = group.remedy();
            self.outcome.error = Some(format!("its control group is frozen, and all in it with it: {remedy} lets them go on"));
        }
    }
}
