//! What the control group of a unit or container says of it: how long it was held up and by what, whether it came to limits of its own,
//! and what it moved where its processes do not tell.
//!
//! Rates between two true readings, over the same seconds as [`super::window`] where a group was asked for that often. Groups are asked for
//! while somebody is held up or hides what he moves, and so many at a time: that one was not asked for says nothing of it. Pure. Tested by
//! `tests/scenarios.rs`.

use std::collections::{HashMap, VecDeque};

use compact_str::CompactString;

use crate::analysis::diagnosis::Stalls;
use crate::analysis::storage::{Layers, is_stacked};
use crate::analysis::window::WINDOW_SECONDS;
use crate::sample::{Cgroup, CgroupIo, IoLimit};
use crate::units::{Nanos, SECOND};

/// Readings that are further apart say nothing of now.
const APART: Nanos = 10 * SECOND;
/// The same seconds as those of [`super::window`].
const SPAN: Nanos = WINDOW_SECONDS as Nanos * SECOND;

/// A group is at a limit of what it may move when it moves this much of it: the kernel lets requests through in bursts.
const FULL: f64 = 0.85;

/// The control groups that were asked for lately.
#[derive(Debug, Default)]
pub struct Cgroups {
    known: HashMap<CompactString, VecDeque<(Nanos, Cgroup)>>,
    /// When the newest samples were taken.
    now: Nanos,
    before: Nanos,
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
    /// The devices of which it moves as much as it may.
    pub full: Vec<CompactString>,
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
        self.before = std::mem::replace(&mut self.now, now);
        let before = self.before;
        for cgroup in cgroups {
            self.known.entry(cgroup.path.clone()).or_default().push_back((now, cgroup.clone()));
        }
        self.known.retain(|_, past| {
            // One that is older than the span stays, so that there is one to compare with.
            while past.get(1).is_some_and(|(at, _)| now.saturating_sub(*at) >= SPAN) {
                past.pop_front();
            }
            past.back().is_some_and(|(at, _)| now.saturating_sub(*at) < APART || *at >= before)
        });
    }

    /// Whether nothing is known of any.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// The paths of all that are known.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.known.keys().map(CompactString::as_str)
    }

    /// Whether two readings say something of now: near to each other, or of the newest samples.
    fn is_near(&self, from: Nanos, at: Nanos) -> bool {
        at.saturating_sub(from) <= APART || from >= self.before
    }

    /// What this group did lately. `None`: nobody asked for it twice, or not lately.
    pub fn rates(&self, path: &str, layers: &Layers) -> Option<Rates> {
        let past = self.known.get(path)?;
        let (at, new) = past.back().filter(|(at, _)| self.now.saturating_sub(*at) < SPAN)?;
        let earlier = || past.iter().filter(|(from, _)| from < at && self.is_near(*from, *at));
        let seconds = |from: Nanos| at.saturating_sub(from) as f64 / SECOND as f64;
        let grown = |counter: fn(&Cgroup) -> Option<u64>| {
            // Not everything is asked for each time.
            let (from, old) = earlier().find_map(|(from, old)| Some((*from, counter(old)?)))?;
            Some(counter(new)?.checked_sub(old)? as f64 / seconds(from))
        };
        let share = |counter: fn(&Cgroup) -> Option<u64>| grown(counter).map(|nanos| (nanos / SECOND as f64).min(1.0));
        let stalls = Stalls {
            cpu: share(|cgroup| cgroup.cpu_stalled),
            io: share(|cgroup| cgroup.io_stalled),
            memory: share(|cgroup| cgroup.memory_stalled),
            throttled: grown(|cgroup| cgroup.throttled).map(|nanos| nanos / SECOND as f64),
            limited: grown(|cgroup| cgroup.limited),
        };
        let read = earlier().find_map(|(from, old)| Some((*from, old.io.as_ref()?, old.io_whole)));
        let moved = new.io.as_ref().zip(read).and_then(|(new, (from, old, _))| {
            let device = |new: &CgroupIo| {
                let old = of(old, new.device);
                if (new.read, new.written) == (old.read, old.written) {
                    return None;
                }
                // One that is not known, or whose counters went back, leaves the sum unknown.
                let rate = |new: u64, old: u64| new.checked_sub(old).map(|bytes| bytes as f64 / seconds(from));
                let name = layers.numbered(new.device).map(|device| device.name.clone());
                let rates = rate(new.read, old.read).zip(rate(new.written, old.written));
                Some(name.zip(rates).map(|(name, (read, written))| (name, read, written)))
            };
            new.iter().filter_map(device).collect()
        });
        // Over the window, or lately: it may have come to it just now.
        let spans = earlier().next().into_iter().chain(earlier().next_back());
        let is_full = |limit: &&IoLimit| {
            let moved = spans.clone().filter_map(|(from, old)| {
                Some((of(new.io.as_ref()?, limit.device), of(old.io.as_ref()?, limit.device), seconds(*from)))
            });
            moved.into_iter().any(|(new, old, seconds)| reaches(limit, new, old, seconds))
        };
        let full = new.io_limits.iter().filter(is_full);
        let full = full.filter_map(|limit| layers.numbered(limit.device).map(|device| device.name.clone())).collect();
        let whole = new.io_whole && read.is_some_and(|(.., whole)| whole);
        Some(Rates { stalls, moved, whole, full })
    }

    /// The newest reading of this group, if there was one lately.
    pub fn newest(&self, path: &str) -> Option<&Cgroup> {
        let newest = self.known.get(path)?.back();
        newest.filter(|(at, _)| self.now.saturating_sub(*at) < SPAN).map(|(_, group)| group)
    }
}

/// The counters of one device; one that is not told of moved nothing.
fn of(io: &[CgroupIo], device: (u32, u32)) -> CgroupIo {
    io.iter().find(|io| io.device == device).copied().unwrap_or(CgroupIo { device, ..CgroupIo::default() })
}

fn reaches(limit: &IoLimit, new: CgroupIo, old: CgroupIo, seconds: f64) -> bool {
    let is = |most: Option<u64>, new: u64, old: u64| {
        most.zip(new.checked_sub(old)).is_some_and(|(most, grown)| most > 0 && grown as f64 >= most as f64 * FULL * seconds)
    };
    is(limit.read, new.read, old.read)
        || is(limit.written, new.written, old.written)
        || is(limit.reads, new.reads, old.reads)
        || is(limit.writes, new.writes, old.writes)
}
