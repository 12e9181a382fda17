//! All processes of this host at one instant (or nearly: reading 5,000 of them takes some 75 ms).
//!
//! Must not judge. Tested through [`super::family`] and `tests/act.rs`.

use std::collections::BTreeMap;
use std::{fs, io};

use super::stat::Stat;
use crate::units::Pid;

/// The processes that one look has seen, without those that had ended.
pub struct Look {
    by_pid: BTreeMap<Pid, Stat>,
    by_age: Vec<Pid>,
}

impl Look {
    /// Looks at `/proc`. A process that ends meanwhile, or cannot be read, is not there.
    pub fn now() -> io::Result<Self> {
        let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(Self::of(pids.filter_map(|pid| Stat::read(pid).ok().flatten())))
    }

    /// A look made of these.
    pub fn of(stats: impl Iterator<Item = Stat>) -> Self {
        let by_pid: BTreeMap<Pid, Stat> = stats.filter(|stat| !stat.has_ended()).map(|stat| (stat.id.pid, stat)).collect();
        let mut by_age: Vec<Pid> = by_pid.keys().copied().collect();
        by_age.sort_by_key(|pid| by_pid.get(pid).map(|stat| stat.id.start));
        Self { by_pid, by_age }
    }

    /// Who has this number.
    pub fn find(&self, pid: Pid) -> Option<&Stat> {
        self.by_pid.get(&pid)
    }

    /// Everybody, eldest first: parents before their children, but for those born in the same tick.
    pub fn eldest_first(&self) -> impl Iterator<Item = &Stat> {
        self.by_age.iter().filter_map(|pid| self.by_pid.get(pid))
    }
}
