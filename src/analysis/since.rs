//! Since when tasks are stuck: what was seen of them at each sample, and the kernel's own clocks of when they ran last.
//!
//! A CPU's clock and the time since boot do not run alike: that clock stands while the host is suspended, while a hypervisor has the
//! CPU, and on many kernels while it serves interrupts. So it falls behind for good, and an instant of one may not be turned into one of
//! the other by what held between them at another time. What does hold: a CPU whose clock says `k` at a sample ran a task at its
//! clock's `r` at least `k - r` before that sample. Each sample gives such a bound, the earliest counts; and nobody has been
//! stuck since before he was seen running, or otherwise, or was born.
//!
//! Pure. Tested in place, and by `tests/scenarios/clock-that-falls-behind.toml`.

use rustc_hash::FxHashMap;

use crate::analysis::diagnosis::Stuck;
use crate::sample::{CpuClock, Task};
use crate::units::{Nanos, Pid, SECOND, TaskId};

/// Off by no more than this is exact, to people, and so is a part of it: `for 2 h` may be eight minutes longer.
const EXACT: Nanos = SECOND;
const EXACT_PART: f64 = 0.1;

/// Tasks in uninterruptible sleep.
#[derive(Debug, Default)]
pub(super) struct Spells(FxHashMap<TaskId, Spell>);

/// One of them. All instants but `ran` are times since boot.
#[derive(Clone, Copy, Debug)]
struct Spell {
    pid: Pid,
    /// It began after this: the task was seen running or otherwise, or was not there.
    after: Nanos,
    /// It began before this: the first sample that saw it so, and not running since.
    seen: Nanos,
    /// When it ran last, by the clock of that CPU. `None`: not known, or not yet.
    ran: Option<CpuClock>,
    /// The least by which that clock was behind the time since boot at a sample since; negative: ahead.
    behind: Option<i64>,
}

impl Spells {
    /// A task was seen stuck at this sample. `after`: when it was last seen otherwise, or running. `None`: it has been so since a
    /// sample before.
    pub fn note(&mut self, task: &Task, now: Nanos, after: Option<Nanos>, born: Nanos) {
        let ran = task.wait.as_ref().and_then(|wait| wait.last_ran);
        let anew = |after| Spell { pid: task.pid, after, seen: now, ran, behind: None };
        match (self.0.get_mut(&task.id), after) {
            // Where it was stuck before was looked up late, or the kernel counts too coarsely to show that it ran.
            (Some(spell), None) if ran.is_none() || spell.ran.is_none() || spell.ran == ran => spell.ran = ran.or(spell.ran),
            (Some(spell), after) => *spell = anew(after.unwrap_or(spell.seen)),
            (None, after) => drop(self.0.insert(task.id, anew(after.unwrap_or(born)))),
        }
    }

    /// It is not stuck any more.
    pub fn end(&mut self, id: TaskId) {
        self.0.remove(&id);
    }

    /// Takes in what time it is on the CPUs, and forgets the tasks that are not there any more.
    pub fn settle(&mut self, clocks: &[CpuClock], now: Nanos, is_there: impl Fn(Pid, TaskId) -> bool) {
        self.0.retain(|id, spell| {
            let ran = |at: &&CpuClock| spell.ran.is_some_and(|ran| ran.cpu == at.cpu && ran.clock <= at.clock);
            if let Some(newest) = clocks.iter().find(ran) {
                let behind = now.cast_signed().saturating_sub(newest.clock.cast_signed());
                spell.behind = Some(spell.behind.map_or(behind, |known| known.min(behind)));
            }
            is_there(spell.pid, *id)
        });
    }

    /// For how long it has been stuck.
    pub fn length(&self, id: TaskId, now: Nanos) -> Option<Stuck> {
        self.0.get(&id).map(|spell| spell.length(now))
    }
}

impl Spell {
    fn length(&self, now: Nanos) -> Stuck {
        let stuck = |since: Nanos, exact| Stuck { seconds: now.saturating_sub(since) as f64 / SECOND as f64, exact };
        let Some((ran, behind)) = self.ran.zip(self.behind) else { return stuck(self.seen, false) };
        let since = ran.clock.saturating_add_signed(behind).max(self.after).min(self.seen);
        // What the clock missed of the part that nobody saw, if it was as slow then as it has been since boot; it had to be after `after`.
        let slow = behind.max(0) as f64 / ran.clock.max(1) as f64;
        let missed = (self.seen.saturating_sub(since) as f64 * slow).min(since.saturating_sub(self.after) as f64);
        let allowed = (now.saturating_sub(since) as f64 * EXACT_PART).max(EXACT as f64);
        stuck(since, missed <= allowed)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::sample::{TaskState, Wait};

    const ID: TaskId = TaskId { tid: 7, start: 0 };
    const HOUR: Nanos = 3600 * SECOND;
    /// When these tests begin, since boot.
    const BEGIN: Nanos = 10 * HOUR;

    /// One task that is watched, on the only CPU.
    #[derive(Default)]
    struct Watch(Spells);

    impl Watch {
        /// A sample at this second sees it stuck, having run last at this instant of the CPU's clock, which says `clock` now.
        fn sees(&mut self, second: f64, ran: Option<Nanos>, after: Option<f64>, clock: Option<Nanos>) -> (f64, bool) {
            let at = |clock| CpuClock { cpu: 0, clock };
            let wait = Some(Box::new(Wait { last_ran: ran.map(at), ..Wait::default() }));
            let task = Task { id: ID, pid: 7, state: TaskState::Uninterruptible, cpu: 0, run_delay: None, wait };
            let now = instant(second);
            self.0.note(&task, now, after.map(instant), 0);
            self.0.settle(&clock.map(at).into_iter().collect::<Vec<_>>(), now, |_, _| true);
            let Stuck { seconds, exact } = self.0.length(ID, now).unwrap();
            ((seconds * 10.0).round() / 10.0, exact)
        }
    }

    fn instant(second: f64) -> Nanos {
        BEGIN + (second * SECOND as f64) as Nanos
    }

    #[test]
    fn the_clock_tells_of_the_time_before_anybody_looked() {
        // The clock is half a minute behind after ten hours, and all of it is known at the first look.
        let now = BEGIN - 30 * SECOND;
        assert_eq!(Watch::default().sees(0.0, Some(now - 2 * HOUR), None, Some(now)), (7200.0, true));
        // Of a CPU that has had nothing to do for an hour it is known how late it was then; of the rest, later.
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(now - 2 * HOUR), None, Some(now - HOUR)), (3600.0, false));
        assert_eq!(watch.sees(1.0, Some(now - 2 * HOUR), None, Some(now + SECOND)), (7201.0, true));
        // Nobody may see the clock, or what it said then.
        assert_eq!(Watch::default().sees(0.0, None, None, Some(now)), (0.0, false));
        assert_eq!(Watch::default().sees(0.0, Some(now - HOUR), None, None), (0.0, false));
    }

    #[test]
    fn a_clock_that_stood_makes_no_wait_longer() {
        let mut watch = Watch::default();
        let clock = BEGIN - SECOND;
        watch.sees(0.0, Some(clock - HOUR), None, Some(clock));
        // A hypervisor takes most of the CPU for a minute, and then whytop sees it run and get stuck anew.
        watch.sees(60.0, Some(clock - HOUR), None, Some(clock + 20 * SECOND));
        assert_eq!(watch.sees(61.0, Some(clock + 20 * SECOND), Some(60.0), Some(clock + 21 * SECOND)), (1.0, true));
        assert_eq!(watch.sees(121.0, Some(clock + 20 * SECOND), None, Some(clock + 31 * SECOND)), (61.0, true));
        // A night of sleep: it is still stuck, and for all of it.
        assert_eq!(watch.sees(30_000.0, Some(clock + 20 * SECOND), None, Some(clock + 32 * SECOND)), (29_940.0, true));
    }

    #[test]
    fn a_host_that_slept_is_not_sure_of_what_was_before() {
        // Of ten hours since boot it was awake for two.
        let clock = 2 * HOUR;
        assert_eq!(Watch::default().sees(0.0, Some(clock - HOUR), None, Some(clock)), (3600.0, false));
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(clock - 100 * SECOND), None, Some(clock)), (100.0, false));
        assert_eq!(watch.sees(4000.0, Some(clock - 100 * SECOND), None, Some(clock + 4000 * SECOND)), (4100.0, true));
    }

    #[test]
    fn nobody_waits_since_before_he_was_seen_otherwise() {
        let clock = BEGIN;
        // Two CPUs drift apart: the clock of this one went ahead.
        assert_eq!(Watch::default().sees(1.0, Some(clock), Some(0.0), Some(clock + HOUR)), (1.0, true));
        let mut watch = Watch::default();
        assert_eq!(watch.sees(60.0, Some(clock + SECOND), Some(0.0), Some(clock + 60 * SECOND)), (59.0, true));
        // It ran, although no time that it ran for was counted.
        assert_eq!(watch.sees(90.0, Some(clock + 80 * SECOND), None, Some(clock + 90 * SECOND)), (10.0, true));
        // Born a moment ago.
        let mut young = Spells::default();
        let ran = Some(CpuClock { cpu: 0, clock });
        let wait = Some(Box::new(Wait { last_ran: ran, ..Wait::default() }));
        let task = Task { id: ID, pid: 7, state: TaskState::Uninterruptible, cpu: 0, run_delay: None, wait };
        young.note(&task, BEGIN, None, BEGIN - SECOND);
        young.settle(&[CpuClock { cpu: 0, clock: clock + HOUR }], BEGIN, |_, _| true);
        assert_eq!(young.length(ID, BEGIN), Some(Stuck { seconds: 1.0, exact: true }));
    }
}
