//! What a process holds of the memory, and how fast that grows.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use crate::sample::Resident;
use crate::units::{Nanos, SECOND};

/// Growth is told over this long at the least, once it has been looked at for that long, and over twice as long at the most.
const SPAN: Nanos = 5 * SECOND;
/// Whoever was not looked at for so long did not run, and does not grow.
const STALE: Nanos = 3 * SECOND;

/// Memory of one process, as it was read lately.
#[derive(Clone, Copy, Debug)]
pub struct Holding {
    /// What it holds now.
    pub now: Resident,
    read: Nanos,
    /// Its own memory at two earlier times.
    older: (Nanos, u64),
    newer: (Nanos, u64),
}

impl Holding {
    /// The first reading. All that a young process holds it took since its start.
    pub fn first(now: Resident, read: Nanos, start: Nanos) -> Self {
        let since = if read.saturating_sub(start) <= 2 * SPAN { (start, 0) } else { (read, now.private) };
        Self { now, read, older: since, newer: since }
    }

    /// The next one.
    #[must_use]
    pub fn then(&self, now: Resident, read: Nanos) -> Self {
        let Self { older, newer, .. } = *self;
        let due = read.saturating_sub(newer.0) >= SPAN;
        let (older, newer) = if due { (newer, (read, now.private)) } else { (older, newer) };
        Self { now, read, older, newer }
    }

    /// Bytes per second that it took more than it gave back, at this time.
    pub fn growth(&self, at: Nanos) -> f64 {
        let seconds = self.read.saturating_sub(self.older.0) as f64 / SECOND as f64;
        let fresh = at.saturating_sub(self.read) <= STALE && seconds > 0.0;
        if fresh { self.now.private.saturating_sub(self.older.1) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(private: u64) -> Resident {
        Resident { private, shared: 7 }
    }

    #[test]
    fn growth_is_told_over_the_last_seconds() {
        let mut held = Holding::first(holds(1000), 100 * SECOND, 0);
        assert!(held.growth(100 * SECOND).abs() < 1e-9, "it may have held it for days");
        for second in 101..=120 {
            held = held.then(holds(1000 + 10 * (second - 100)), second * SECOND);
            assert!((held.growth(second * SECOND) - 10.0).abs() < 1e-9, "{held:?}");
        }
        for second in 121..=131 {
            held = held.then(holds(1200), second * SECOND);
        }
        assert!(held.growth(131 * SECOND).abs() < 1e-9, "it has stopped");
        assert!(held.then(holds(9000), 132 * SECOND).growth(140 * SECOND).abs() < 1e-9, "nobody looked since");
    }

    #[test]
    fn a_young_one_took_all_it_holds() {
        let held = Holding::first(holds(4000), 104 * SECOND, 100 * SECOND);
        assert!((held.growth(104 * SECOND) - 1000.0).abs() < 1e-9);
    }
}
