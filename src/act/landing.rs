//! After the signal: who is still there, and why, until all are gone.
//!
//! A task in uninterruptible sleep takes no signal, not even SIGKILL, before its system call returns: the kernel keeps it in the
//! pending masks of `/proc/PID/status`. A process that has ended and that its parent does not wait for is gone but for its number.
//! One of the homes of clocks. Tested by `tests/act/landing.rs`.

#![allow(clippy::disallowed_methods, reason = "looking again and again takes pauses in real time")]

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::setpriority_process;

use super::cgroup::{self, Group};
use super::held::kernel_signal;
use super::stat::{Signals, Stat};
use crate::action::{Landing, Outcome, Remaining, Signal, Still};
use crate::units::{Pid, ProcessId, clean};

/// A process that is gone within this is not worth a word: most end in milliseconds, and their parents wait for them.
const GRACE: Duration = Duration::from_millis(800);
/// Between two looks: soon at first, and ever more seldom. Whoever is still there after an hour may be so for days, and is told of all the
/// same when he goes.
const PAUSE: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(10);
/// The part of the time gone by that lies between two looks.
const PART: u32 = 40;
/// A look at a crowd of stuck processes costs; it may take one part in so many of a CPU.
const SHARE: u32 = 20;
/// Most threads of a process that are looked at.
const THREADS: usize = 256;

/// Looks until all whom the signal was sent to are gone, or `stop` says so. Reports each change.
pub fn watch(outcome: &Outcome, signal: Signal, stop: &AtomicBool, mut report: impl FnMut(Landing)) {
    let hit = outcome.hits.iter().filter(|hit| hit.result.is_ok());
    let mut left: Vec<Remaining> = hit.map(|hit| Remaining { id: hit.id, name: hit.name.clone(), still: Still::Runs }).collect();
    // Born of a thread that goes before everybody else, which watching is not worth.
    let _ = setpriority_process(None, 0);
    let begun = Instant::now();
    let mut is_news = true;
    while !stop.load(Ordering::Relaxed) {
        let looked = Instant::now();
        is_news |= look(&mut left, signal);
        let cost = looked.elapsed();
        if is_news && (left.is_empty() || begun.elapsed() >= GRACE) {
            let (ticket, sent_at, id, job) = (outcome.ticket, outcome.at, outcome.id.clone(), outcome.job.clone());
            report(Landing { ticket, at: Timestamp::now(), sent_at, id, job, signal, left: left.clone() });
            is_news = false;
        }
        if left.is_empty() {
            return;
        }
        sleep((begun.elapsed() / PART).clamp(PAUSE, SELDOM).max((cost * SHARE).min(SELDOM)));
    }
}

/// Leaves those who are still there, with why as of now; whether anything has changed.
fn look(left: &mut Vec<Remaining>, signal: Signal) -> bool {
    let before = left.len();
    let mut has_changed = false;
    left.retain_mut(|remaining| {
        let Some(still) = still(remaining.id, signal) else { return false };
        has_changed |= still != remaining.still;
        remaining.still = still;
        true
    });
    has_changed || left.len() < before
}

fn still(id: ProcessId, signal: Signal) -> Option<Still> {
    let stat = Stat::read(id.pid).ok().flatten().filter(|stat| stat.id == id)?;
    if stat.has_ended() {
        let parent = Stat::read(stat.parent).ok().flatten()?;
        return Some(Still::Zombie { parent: parent.id, parent_name: clean(&parent.name) });
    }
    let number = kernel_signal(signal).as_raw();
    let process = Signals::read(&format!("/proc/{}", id.pid)).unwrap_or_default();
    if let Some(tid) = stuck_with(&stat, process, number) {
        let wchan = fs::read_to_string(format!("/proc/{}/task/{tid}/wchan", id.pid)).ok();
        let wchan = wchan.filter(|name| !matches!(name.as_str(), "" | "0")).map(|name| clean(&name));
        return Some(Still::Pending { tid, wchan });
    }
    if stat.is_stopped()
        || cgroup::root().and_then(|root| Group::of(&[id.pid], &root)).is_some_and(|group| group.frozen().is_some())
    {
        return Some(Still::Stopped);
    }
    Some(match signal {
        Signal::Kill => Still::Runs,
        _ if process.is_ignored(number) => Still::Ignores,
        _ if process.is_blocked(number) => Still::Blocks,
        _ => Still::Runs,
    })
}

/// A task of it that is in uninterruptible sleep with the signal pending, for the process or for that task.
fn stuck_with(stat: &Stat, process: Signals, number: i32) -> Option<Pid> {
    if stat.is_stuck() && process.is_pending(number) {
        return Some(stat.id.pid);
    }
    // The first of them is what has been looked at.
    if stat.is_single() {
        return None;
    }
    let is_stuck = |path: &str| {
        fs::read(format!("{path}/stat")).ok().and_then(|text| Stat::parse(&text)).is_some_and(|task| task.is_stuck())
    };
    tasks(stat.id.pid).into_iter().find(|tid| {
        let path = format!("/proc/{}/task/{tid}", stat.id.pid);
        is_stuck(&path) && (process.is_pending(number) || Signals::read(&path).is_some_and(|own| own.is_pending(number)))
    })
}

fn tasks(pid: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(THREADS).collect()
}
