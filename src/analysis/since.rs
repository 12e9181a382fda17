//! Since when tasks are stuck: what was seen of them at each sample, and the kernel's own clocks of when they ran last.
//!
//! A CPU's clock and the time since boot do not run alike: that clock stands while the host is suspended, while a hypervisor has the
//! CPU, and on many kernels while it serves interrupts. So it falls behind for good, and an instant of one may not be turned into one of
//! the other by what held between them at another time. What does hold: a CPU whose clock says `k` at a sample ran a task at its
//! clock's `r` at least `k - r` before that sample. Each sample gives such a bound, the earliest counts; and nobody has been
//! stuck since before he was seen running, or otherwise, or was born.
//!
//! A clock is read off a task that ran, so where nothing runs the reading is old, and looks like a clock that fell behind. Its bound holds
//! all the same, but may be short by as much as the reading is old: nothing less is known unless something ran there since the sample before.
//!
//! Pure. Tested in place, and by `tests/scenarios/clock-that-falls-behind.toml`.

use rustc_hash::FxHashMap;

use crate::analysis::diagnosis::Stuck;
use crate::sample::{CpuClock, Task};
use crate::units::{Nanos, Pid, SECOND, TaskId};

/// Off by no more than this is exact, to people, and so is a part of it: `for 2 h` may be eight minutes longer. The second between two
/// samples, and what one may come late.
const EXACT: Nanos = SECOND + SECOND / 4;
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
    behind: Option<Behind>,
}

/// By how much a CPU's clock was behind the time since boot when it was read; negative: ahead.
#[derive(Clone, Copy, Debug)]
struct Behind {
    /// By no more than this: the least at a sample since.
    most: i64,
    /// By no less, for it was read after a sample before. `None`: all of it may be the age of the reading.
    least: Option<i64>,
}

/// What a sample says of the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    pub now: Nanos,
    /// The sample before was then.
    pub before: Option<Nanos>,
    /// See [`crate::sample::Sample`].
    pub clocks: &'a [CpuClock],
    pub awake: &'a [u32],
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
    pub fn settle(&mut self, look: Look<'_>, is_there: impl Fn(Pid, TaskId) -> bool) {
        self.0.retain(|id, spell| {
            let ran = |at: &&CpuClock| spell.ran.is_some_and(|ran| ran.cpu == at.cpu && ran.clock <= at.clock);
            if let Some(newest) = look.clocks.iter().find(ran) {
                spell.behind = Some(Behind::at(look, *newest, spell.behind));
            }
            is_there(spell.pid, *id)
        });
    }

    /// For how long it has been stuck.
    pub fn length(&self, id: TaskId, now: Nanos) -> Option<Stuck> {
        self.0.get(&id).map(|spell| spell.length(now))
    }
}

impl Behind {
    /// By one more reading, and what was known.
    fn at(look: Look<'_>, newest: CpuClock, known: Option<Self>) -> Self {
        let behind_at = |instant: Nanos| instant.cast_signed().saturating_sub(newest.clock.cast_signed());
        let most = known.map_or(i64::MAX, |known| known.most).min(behind_at(look.now));
        // A clock that was behind by more than the most at the sample before has stood meanwhile: it does not tell how it was then.
        let least = look.before.filter(|_| look.awake.contains(&newest.cpu)).map(behind_at).filter(|least| *least <= most);
        Self { most, least: least.max(known.and_then(|known| known.least)) }
    }
}

impl Spell {
    fn length(&self, now: Nanos) -> Stuck {
        let stuck = |since: Nanos, exact| Stuck { seconds: now.saturating_sub(since) as f64 / SECOND as f64, exact };
        let Some((ran, behind)) = self.ran.zip(self.behind) else { return stuck(self.seen, false) };
        let since = ran.clock.saturating_add_signed(behind.most).max(self.after).min(self.seen);
        // What the clock missed of the part that nobody saw, if it was as slow then as it has been since boot, and how old its reading
        // was; it had to be after `after`.
        let slow = behind.most.max(0) as f64 / ran.clock.max(1) as f64;
        let age = behind.least.map_or(f64::INFINITY, |least| behind.most.saturating_sub(least).max(0) as f64);
        let missed = (self.seen.saturating_sub(since) as f64 * slow + age).min(since.saturating_sub(self.after) as f64);
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
    const BEGIN: Nanos = 30 * 24 * HOUR;

    /// One task that is watched, on the only CPU.
    #[derive(Default)]
    struct Watch {
        spells: Spells,
        /// The sample before, and what was known of the clock then.
        before: Option<(Nanos, Option<Nanos>)>,
    }

    impl Watch {
        /// A sample at this second sees it stuck, having run last at this instant of the CPU's clock, which was read as `clock`.
        fn sees(&mut self, second: f64, ran: Option<Nanos>, after: Option<f64>, clock: Option<Nanos>) -> (f64, bool) {
            let at = |clock| CpuClock { cpu: 0, clock };
            let wait = Some(Box::new(Wait { last_ran: ran.map(at), ..Wait::default() }));
            let task = Task { id: ID, pid: 7, state: TaskState::Uninterruptible, cpu: 0, run_delay: None, wait };
            let now = instant(second);
            let before = self.before.replace((now, clock));
            let ran_since = before.is_some_and(|(_, known)| known.is_some() && known < clock);
            let clocks: Vec<_> = clock.map(at).into_iter().collect();
            let awake: &[u32] = if ran_since { &[0] } else { &[] };
            self.spells.note(&task, now, after.map(instant), 0);
            self.spells.settle(Look { now, before: before.map(|(now, _)| now), clocks: &clocks, awake }, |_, _| true);
            let Stuck { seconds, exact } = self.spells.length(ID, now).unwrap();
            ((seconds * 10.0).round() / 10.0, exact)
        }
    }

    fn instant(second: f64) -> Nanos {
        BEGIN + (second * SECOND as f64) as Nanos
    }

    #[test]
    fn the_clock_tells_of_the_time_before_anybody_looked() {
        // The clock is half a minute behind after a month. All of it is known at the first look, and that it is, at the second.
        let now = BEGIN - 30 * SECOND;
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(now - 2 * HOUR), None, Some(now)), (7200.0, false));
        assert_eq!(watch.sees(1.0, Some(now - 2 * HOUR), None, Some(now + SECOND)), (7201.0, true));
        // And stays so, whatever runs there.
        assert_eq!(watch.sees(60.0, Some(now - 2 * HOUR), None, Some(now + SECOND)), (7260.0, true));
        // What ran last at the second look did so long before it.
        let mut watch = Watch::default();
        watch.sees(0.0, Some(now - 100 * SECOND), None, Some(now));
        assert_eq!(watch.sees(1.0, Some(now - 100 * SECOND), None, Some(now + SECOND / 10)), (101.0, true));
        // Nobody may see the clock, or what it said then.
        assert_eq!(Watch::default().sees(0.0, None, None, Some(now)), (0.0, false));
        assert_eq!(Watch::default().sees(0.0, Some(now - HOUR), None, None), (0.0, false));
    }

    #[test]
    fn where_nothing_runs_no_wait_is_known_for_sure() {
        let now = BEGIN - 30 * SECOND;
        // Nothing has run there for an hour, nor does for a while.
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(now - 2 * HOUR), None, Some(now - HOUR)), (3600.0, false));
        assert_eq!(watch.sees(1.0, Some(now - 2 * HOUR), None, Some(now - HOUR)), (3601.0, false));
        assert_eq!(watch.sees(10.0, Some(now - 2 * HOUR), None, Some(now + 10 * SECOND)), (7210.0, true));
        // Nothing has since it got stuck itself.
        let mut watch = Watch::default();
        let ran = now - 300 * SECOND;
        assert_eq!(watch.sees(0.0, Some(ran), None, Some(ran)), (0.0, false));
        assert_eq!(watch.sees(100.0, Some(ran), None, Some(ran)), (100.0, false));
        assert_eq!(watch.sees(101.0, Some(ran), None, Some(now + 101 * SECOND)), (401.0, true));
        // The host slept before anything did: it may have been stuck for those five minutes, or not.
        let mut watch = Watch::default();
        watch.sees(0.0, Some(ran), None, Some(ran));
        assert_eq!(watch.sees(1.0, Some(ran), None, Some(ran)), (1.0, false));
        assert_eq!(watch.sees(1000.0, Some(ran), None, Some(now)), (1000.0, false));
        assert_eq!(watch.sees(1001.0, Some(ran), None, Some(now + SECOND)), (1001.0, false));
        // It was seen otherwise a moment before: nothing needs to be known of the CPU.
        let mut watch = Watch::default();
        watch.sees(0.0, Some(now - HOUR), None, Some(now - HOUR));
        assert_eq!(watch.sees(1.0, Some(now), Some(0.0), Some(now)), (0.0, true));
        assert_eq!(watch.sees(9.0, Some(now), None, Some(now)), (8.0, true));
        // The time between two samples is not known so well where they are far apart.
        assert_eq!(watch.sees(60.0, Some(now + 50 * SECOND), Some(9.0), Some(now + 50 * SECOND)), (0.0, false));
        assert_eq!(watch.sees(61.0, Some(now + 50 * SECOND), None, Some(now + 61 * SECOND)), (11.0, true));
    }

    #[test]
    fn a_clock_that_stood_makes_no_wait_longer() {
        let mut watch = Watch::default();
        let clock = BEGIN - SECOND;
        assert_eq!(watch.sees(0.0, Some(clock - HOUR), None, Some(clock)), (3600.0, false));
        assert_eq!(watch.sees(1.0, Some(clock - HOUR), None, Some(clock + SECOND)), (3601.0, true));
        // A hypervisor takes most of the CPU for a minute, and then whytop sees it run and get stuck anew.
        watch.sees(60.0, Some(clock - HOUR), None, Some(clock + 20 * SECOND));
        assert_eq!(watch.sees(61.0, Some(clock + 20 * SECOND), Some(60.0), Some(clock + 21 * SECOND)), (1.0, true));
        assert_eq!(watch.sees(121.0, Some(clock + 20 * SECOND), None, Some(clock + 31 * SECOND)), (61.0, true));
        // A night of sleep: it is still stuck, and for all of it.
        assert_eq!(watch.sees(30_000.0, Some(clock + 20 * SECOND), None, Some(clock + 32 * SECOND)), (29_940.0, true));
    }

    #[test]
    fn a_host_that_slept_is_not_sure_of_what_was_before() {
        // Of a month since boot it was awake for two weeks.
        let clock = BEGIN / 2;
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(clock - HOUR), None, Some(clock)), (3600.0, false));
        assert_eq!(watch.sees(1.0, Some(clock - HOUR), None, Some(clock + SECOND)), (3601.0, false));
        let mut watch = Watch::default();
        assert_eq!(watch.sees(0.0, Some(clock - 100 * SECOND), None, Some(clock)), (100.0, false));
        assert_eq!(watch.sees(1.0, Some(clock - 100 * SECOND), None, Some(clock + SECOND)), (101.0, false));
        assert_eq!(watch.sees(4000.0, Some(clock - 100 * SECOND), None, Some(clock + 4000 * SECOND)), (4100.0, true));
    }

    #[test]
    fn nobody_waits_since_before_he_was_seen_otherwise() {
        let clock = BEGIN;
        // Two CPUs drift apart: the clock of this one went ahead.
        assert_eq!(Watch::default().sees(1.0, Some(clock), Some(0.0), Some(clock + HOUR)), (1.0, true));
        let mut watch = Watch::default();
        assert_eq!(watch.sees(60.0, Some(clock + SECOND), Some(0.0), Some(clock + 60 * SECOND)), (59.0, true));
        watch.sees(89.0, Some(clock + SECOND), None, Some(clock + 89 * SECOND));
        // It ran, although no time that it ran for was counted.
        assert_eq!(watch.sees(90.0, Some(clock + 80 * SECOND), None, Some(clock + 90 * SECOND)), (10.0, true));
        // Born a moment ago.
        let mut young = Spells::default();
        let ran = Some(CpuClock { cpu: 0, clock });
        let wait = Some(Box::new(Wait { last_ran: ran, ..Wait::default() }));
        let task = Task { id: ID, pid: 7, state: TaskState::Uninterruptible, cpu: 0, run_delay: None, wait };
        young.note(&task, BEGIN, None, BEGIN - SECOND);
        let clocks = [CpuClock { cpu: 0, clock: clock + HOUR }];
        young.settle(Look { now: BEGIN, before: None, clocks: &clocks, awake: &[] }, |_, _| true);
        assert_eq!(young.length(ID, BEGIN), Some(Stuck { seconds: 1.0, exact: true }));
    }
}
