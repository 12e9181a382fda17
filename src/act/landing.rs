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
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// A look at a crowd of stuck processes costs; it may take one part in so many of a CPU, but comes at least this often.
const SHARE: u32 = 20;
const SELDOM: Duration = Duration::from_secs(2);
/// Whoever is still there after this is on the screen anyway.
const PATIENCE: Duration = Duration::from_mins(30);
/// Most threads of a process that are looked at.
const THREADS: usize = 256;

/// Looks until all whom the signal was sent to are gone, or `stop` says so. Reports each change.
pub fn watch(outcome: &Outcome, signal: Signal, stop: &AtomicBool, mut report: impl FnMut(Landing)) {
    let hit: Vec<(ProcessId, String)> =
        outcome.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| (hit.id, hit.name.clone())).collect();
    // Born of a thread that goes before everybody else, which watching is not worth.
    let _ = setpriority_process(None, 0);
    let begun = Instant::now();
    let mut told: Option<Vec<Remaining>> = None;
    while !stop.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
        let looked = Instant::now();
        let left = look(&hit, signal);
        let cost = looked.elapsed();
        if (left.is_empty() || begun.elapsed() >= GRACE) && told.as_ref() != Some(&left) {
            let (ticket, sent_at, id, job) = (outcome.ticket, outcome.at, outcome.id.clone(), outcome.job.clone());
            report(Landing { ticket, at: Timestamp::now(), sent_at, id, job, signal, left: left.clone() });
            told = Some(left.clone());
        }
        if left.is_empty() {
            return;
        }
        sleep((cost * SHARE).clamp(PAUSE, SELDOM));
    }
}

/// Who of them is still there.
pub fn look(hit: &[(ProcessId, String)], signal: Signal) -> Vec<Remaining> {
    hit.iter().filter_map(|(id, name)| Some(Remaining { id: *id, name: name.clone(), still: still(*id, signal)? })).collect()
}

fn still(id: ProcessId, signal: Signal) -> Option<Still> {
    let stat = Stat::read(id.pid).ok().flatten().filter(|stat| stat.id == id)?;
    if stat.has_ended() {
        let parent = Stat::read(stat.parent).ok().flatten()?;
        return Some(Still::Zombie { parent: parent.id, parent_name: clean(&parent.name) });
    }
    let number = kernel_signal(signal).as_raw();
    let process = Signals::read(&format!("/proc/{}", id.pid)).unwrap_or_default();
    for tid in tasks(id.pid) {
        let path = format!("/proc/{}/task/{tid}", id.pid);
        let is_stuck =
            fs::read(format!("{path}/stat")).ok().and_then(|text| Stat::parse(&text)).is_some_and(|task| task.is_stuck());
        let is_pending = || process.is_pending(number) || Signals::read(&path).is_some_and(|own| own.is_pending(number));
        if is_stuck && is_pending() {
            let wchan = fs::read_to_string(format!("{path}/wchan")).ok().filter(|name| !matches!(name.as_str(), "" | "0"));
            return Some(Still::Pending { tid, wchan: wchan.map(|name| clean(&name)) });
        }
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

fn tasks(pid: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(THREADS).collect()
}
