//! What else this host does while a scene stands: a wrong answer beside a stranger's build or backup may be a right one.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use rustix::param::clock_ticks_per_second;
use rustix::process::{RawPid, getpid};

/// CPUs that others may use in all beside a scene.
const CPUS: f64 = 0.2;
/// Tasks of others that may be stuck when the answer comes.
const STUCK: usize = 1;

/// The work of everybody else up to now.
pub struct Others {
    since: Instant,
    used: HashMap<(RawPid, u64), u64>,
}

/// A process by `/proc/PID/stat` (proc(5)).
struct Seen {
    state: char,
    parent: RawPid,
    session: RawPid,
    /// With that of its children that it waited for, in ticks.
    used: u64,
    start: u64,
}

impl Others {
    /// Begins to count.
    pub fn count() -> Self {
        let used = others().into_iter().map(|(pid, seen)| ((pid, seen.start), seen.used)).collect();
        Self { since: Instant::now(), used }
    }

    /// What they do that a scene is not to be judged beside of, if they do.
    pub fn disturb(&self) -> Option<String> {
        let now = others();
        let before = |pid: RawPid, seen: &Seen| self.used.get(&(pid, seen.start)).copied().unwrap_or_default();
        let ticks: u64 = now.iter().map(|(pid, seen)| seen.used.saturating_sub(before(*pid, seen))).sum();
        let cpus = ticks as f64 / clock_ticks_per_second() as f64 / self.since.elapsed().as_secs_f64();
        let stuck = now.values().filter(|seen| seen.state == 'D').count();
        (cpus > CPUS || stuck > STUCK).then(|| format!("others use {cpus:.1} CPUs, and {stuck} of them are stuck"))
    }
}

/// All processes but the kernel's, this program, and those that it started.
fn others() -> HashMap<RawPid, Seen> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut all: HashMap<RawPid, Seen> = pids.filter_map(|pid| Some((pid, see(pid)?))).collect();
    let own = getpid().as_raw_nonzero().get();
    let is_below = |pid: RawPid, all: &HashMap<RawPid, Seen>| {
        let parent = |pid: &RawPid| all.get(pid).map(|seen| seen.parent);
        std::iter::successors(Some(pid), parent).take(all.len()).any(|above| above == own)
    };
    let ours: Vec<RawPid> = all.keys().copied().filter(|pid| is_below(*pid, &all)).collect();
    // Whose parent is gone is known by its session, which the cast have for themselves.
    let sessions: Vec<RawPid> =
        ours.iter().filter(|pid| **pid != own).map(|pid| all[pid].session).filter(|id| ours.contains(id)).collect();
    all.retain(|pid, seen| !ours.contains(pid) && !sessions.contains(&seen.session));
    all
}

/// `None`: it is gone, or the kernel's own.
fn see(pid: RawPid) -> Option<Seen> {
    const KTHREAD: u64 = 0x0020_0000;
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = line.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let id = |index: usize| fields.get(index)?.parse::<RawPid>().ok();
    (number(6)? & KTHREAD == 0).then_some(())?;
    let used = [11, 12, 13, 14].into_iter().filter_map(number).sum();
    Some(Seen { state: fields.first()?.chars().next()?, parent: id(1)?, session: id(3)?, used, start: number(19)? })
}
