//! All processes of this host at one instant (or nearly: reading 5,000 of them takes some 75 ms).
//!
//! Must not judge. Tested through [`super::family`] and `tests/act.rs`.

use std::collections::BTreeMap;
use std::{fs, io, iter};

use super::stat::Stat;
use crate::units::Pid;

/// The processes that one look has seen.
pub struct Look {
    by_pid: BTreeMap<Pid, Stat>,
    by_age: Vec<(u64, Pid)>,
}

impl Look {
    /// Looks at `/proc`. A process that ends meanwhile, or cannot be read, is not there.
    pub fn now() -> io::Result<Self> {
        Self::of(iter::empty()).newcomers_added()
    }

    /// Looks at `/proc` for numbers that were not there before, and takes the others as they were: some fifty times faster,
    /// but blind to a number that was given away again in between. So only a whole look can say that nobody is left.
    pub fn newcomers_added(mut self) -> io::Result<Self> {
        let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(Self::of(pids.filter_map(|pid| self.by_pid.remove(&pid).or_else(|| Stat::read(pid).ok().flatten()))))
    }

    /// A look made of these.
    pub fn of(stats: impl Iterator<Item = Stat>) -> Self {
        let by_pid: BTreeMap<Pid, Stat> = stats.map(|stat| (stat.id.pid, stat)).collect();
        let living = by_pid.values().filter(|stat| !stat.has_ended());
        let mut by_age: Vec<(u64, Pid)> = living.map(|stat| (stat.id.start, stat.id.pid)).collect();
        by_age.sort_unstable();
        Self { by_pid, by_age }
    }

    /// Who has this number and lives.
    pub fn find(&self, pid: Pid) -> Option<&Stat> {
        self.by_pid.get(&pid).filter(|stat| !stat.has_ended())
    }

    /// Everybody who lives, eldest first: parents before their children, but for those born in the same tick.
    pub fn eldest_first(&self) -> impl Iterator<Item = &Stat> {
        self.by_age.iter().filter_map(|(_, pid)| self.by_pid.get(pid))
    }
}
