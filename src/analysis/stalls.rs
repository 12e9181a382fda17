//! What the control group of a unit or container says of it: how long it was held up and by what, whether it came to limits of its own,
//! and what it moved where its processes do not tell.
//!
//! Rates over the same seconds as [`super::window`]. A group that was not asked for again has not run since. Pure. Tested by
//! `tests/scenarios.rs`.

use std::collections::{HashMap, VecDeque};

use compact_str::CompactString;

use crate::analysis::diagnosis::Stalls;
use crate::analysis::storage::{Layers, is_stacked};
use crate::analysis::window::WINDOW_SECONDS;
use crate::sample::{Cgroup, CgroupIo};
use crate::units::{Nanos, SECOND};

/// A group that nobody asked for is forgotten after this long.
const KEPT: Nanos = 60 * SECOND;

/// The control groups that were asked for lately.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<CompactString, VecDeque<(Nanos, Cgroup)>>,
    asked: HashMap<CompactString, Nanos>,
    before: Option<Nanos>,
}

/// What a group did over the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rates {
    /// How it was held up.
    pub stalls: Stalls,
    /// What it moved, by device: bytes read, bytes written, per second. `None`: not known.
    pub moved: Option<Vec<(CompactString, f64, f64)>>,
    /// That is all of it.
    pub whole: bool,
}

impl Rates {
    /// Bytes read and written per second. What is stacked on a disk moves the same a second time.
    pub fn bytes(&self) -> Option<(f64, f64)> {
        let moved = self.moved.as_ref()?;
        let sum = |stacked: bool| {
            let those = moved.iter().filter(|(name, ..)| is_stacked(name) == stacked);
            those.fold((0.0, 0.0), |sum: (f64, f64), (_, read, written)| (sum.0 + read, sum.1 + written))
        };
        let (below, above) = (sum(false), sum(true));
        Some(if below.0 + below.1 > 0.0 { below } else { above })
    }
}

impl Cgroups {
    /// Takes in the counters of the sample of this instant.
    pub fn update(&mut self, cgroups: &[Cgroup], now: Nanos) {
        let before = self.before.replace(now).unwrap_or(now);
        for cgroup in cgroups {
            self.asked.insert(cgroup.path.clone(), now);
            let past = self.known.entry(cgroup.path.clone()).or_default();
            // It rested until the sample before, or somebody would have asked.
            if let Some((_, last)) = past.back().cloned().filter(|(at, _)| *at < before) {
                past.push_back((before, last));
            }
            past.push_back((now, cgroup.clone()));
        }
        self.asked.retain(|_, at| now.saturating_sub(*at) < KEPT);
        let span = (WINDOW_SECONDS * SECOND as f64) as Nanos;
        self.known.retain(|path, past| {
            while past.len() > 1 && past.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= span) {
                past.pop_front();
            }
            self.asked.contains_key(path)
        });
    }

    /// Whether nothing is known of any.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What this group did lately. `None`: nobody asked for it twice.
    pub fn rates(&self, path: &str, layers: &Layers) -> Option<Rates> {
        let now = self.before?;
        let past = self.known.get(path)?;
        let ((from, old), (_, new)) = (past.front()?, past.back()?);
        let seconds = now.checked_sub(*from).filter(|span| *span > 0)? as f64 / SECOND as f64;
        let grown = |counter: fn(&Cgroup) -> Option<u64>| Some(counter(new)?.checked_sub(counter(old)?)? as f64 / seconds);
        let share = |counter: fn(&Cgroup) -> Option<u64>| grown(counter).map(|nanos| (nanos / SECOND as f64).min(1.0));
        let stalls = Stalls {
            cpu: share(|cgroup| cgroup.cpu_stalled),
            io: share(|cgroup| cgroup.io_stalled),
            memory: share(|cgroup| cgroup.memory_stalled),
            throttled: grown(|cgroup| cgroup.throttled).map(|nanos| nanos / SECOND as f64),
            limited: grown(|cgroup| cgroup.limited),
        };
        let device = |new: &CgroupIo, old: &[CgroupIo]| {
            let zero = CgroupIo { device: new.device, read: 0, written: 0 };
            let old = old.iter().find(|old| old.device == new.device).unwrap_or(&zero);
            let rate = |new: u64, old: u64| new.checked_sub(old).map(|bytes| bytes as f64 / seconds);
            let name = layers.numbered(new.device)?.name.clone();
            Some((name, rate(new.read, old.read)?, rate(new.written, old.written)?))
        };
        let moved =
            new.io.as_ref().zip(old.io.as_ref()).map(|(new, old)| new.iter().filter_map(|one| device(one, old)).collect());
        Some(Rates { stalls, moved, whole: new.io_whole && old.io_whole })
    }
}
