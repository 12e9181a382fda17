//! All processes of this host at one instant (or nearly: reading 5,000 of them takes some 75 ms).
//!
//! Must not judge. Tested through [`super::family`] and `tests/act.rs`.

use std::collections::HashMap;
use std::{fs, io};

use super::stat::Stat;
use crate::units::Pid;

/// The kernel's word for the number that it gave away last (`CONFIG_CHECKPOINT_RESTORE`, so on every distribution's kernel).
const NEWEST: &str = "/proc/sys/kernel/ns_last_pid";
/// More new numbers than this are not worth a try each: a whole look costs the same.
const MANY: Pid = 4096;

/// The processes that one look has seen.
pub struct Look {
    by_pid: HashMap<Pid, Stat>,
    /// Up to which number was given away when this look began, and when the one before it did.
    newest: [Option<Pid>; 2],
}

impl Look {
    /// Looks at `/proc`. A process that ends meanwhile, or cannot be read, is not there.
    pub fn now() -> io::Result<Self> {
        let newest = newest();
        let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let look = Self::of(pids.filter_map(|pid| Stat::read(pid).ok().flatten()));
        Ok(Self { newest: [newest; 2], ..look })
    }

    /// A look made of these.
    pub fn of(stats: impl Iterator<Item = Stat>) -> Self {
        Self { by_pid: stats.map(|stat| (stat.id.pid, stat)).collect(), newest: [None; 2] }
    }

    /// Adds those born since, as far as their numbers follow on those given away before, and returns them, eldest first.
    ///
    /// Costs a hundredth of a whole look, and misses numbers that were given away again: only a whole look can say that
    /// nobody is left. A number is given away an instant before its process can be seen, so each is tried twice.
    pub fn newcomers(&mut self) -> Vec<Stat> {
        let [since, before] = self.newest;
        let newest = newest();
        self.newest = [before, newest];
        let (Some(since), Some(newest)) = (since, newest) else { return Vec::new() };
        if newest - since > MANY {
            return Vec::new();
        }
        let unseen = (since + 1..=newest).filter(|pid| !self.by_pid.contains_key(pid));
        let mut born: Vec<Stat> = unseen.filter_map(|pid| Stat::read(pid).ok().flatten()).collect();
        self.by_pid.extend(born.iter().map(|stat| (stat.id.pid, stat.clone())));
        born.retain(|stat| !stat.has_ended());
        born
    }

    /// Who has this number and lives.
    pub fn find(&self, pid: Pid) -> Option<&Stat> {
        self.by_pid.get(&pid).filter(|stat| !stat.has_ended())
    }

    /// Everybody who lives, eldest first: parents before their children, but for those born in the same tick.
    pub fn eldest_first(&self) -> Vec<&Stat> {
        let mut living: Vec<&Stat> = self.by_pid.values().filter(|stat| !stat.has_ended()).collect();
        living.sort_unstable_by_key(|stat| (stat.id.start, stat.id.pid));
        living
    }
}

fn newest() -> Option<Pid> {
    fs::read_to_string(NEWEST).ok()?.trim().parse().ok()
}
