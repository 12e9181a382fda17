//! Letting everybody else go first: niceness and I/O class of every thread, and how they are put back.
//!
//! Niceness belongs to a thread, not to a process, and so does the I/O class: each thread is set by itself and remembered by its
//! number and start. Neither can be set through a pidfd, so the process is held and asked for before and after: a number that
//! changed hands in between is the one instant that is not covered, and what it would do to the wrong one is the priority of one of the
//! job's.
//!
//! Tested by `tests/act/deprioritise.rs`.

use std::fs;

use ioprio::{Class, Priority, Target, get_priority, set_priority};
use rustix::io::Errno;
use rustix::process::{Pid as RawPid, getpriority_process, setpriority_process};
use serde::{Deserialize, Serialize};

use super::held::{Held, refusal};
use super::stat::Stat;
use crate::action::Refusal;
use crate::units::{Pid, ProcessId, TaskId};

/// Behind everybody else.
const LOWEST: i32 = 19;
/// How often the threads of a process are listed: those born while others are set inherit from whoever bore them.
const ROUNDS: usize = 4;

/// What a thread had before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Whose thread.
    pub process: ProcessId,
    task: TaskId,
    nice: i32,
    /// As `ioprio_get(2)` gives it.
    io: u16,
}

/// Whether this I/O scheduler looks at the class of a request. `none` and `kyber` do not.
pub fn heeds_classes(scheduler: &str) -> bool {
    matches!(scheduler, "bfq" | "mq-deadline" | "cfq")
}

/// Sets every thread of the process behind everybody else, and adds to `before` what each had.
pub fn lower(held: &Held, before: &mut Vec<Before>) -> Result<(), Refusal> {
    let idle = Priority::new(Class::Idle).inner();
    each_task(held, |task| {
        let had = Before { process: held.id, task, nice: nice(task.tid)?, io: io(task.tid)? };
        // First written down: half of it may be done when the other half is refused.
        if !before.iter().any(|known| known.task == task) {
            before.push(had);
        }
        set(task.tid, LOWEST, idle)
    })
}

/// Puts back what each thread of the process had; one that was born since gets what its process, or else its parent, had. Whoever is
/// not known and was born before (`since`, in ticks), or is not behind everybody else now, was never touched and is not.
pub fn restore(held: &Held, before: &[Before], since: u64) -> Result<(), Refusal> {
    let of = |pid: Pid| before.iter().find(|had| had.process.pid == pid);
    let own = of(held.id.pid).filter(|had| had.process == held.id);
    each_task(held, |task| {
        if let Some(had) = before.iter().find(|had| had.task == task).or(own) {
            return set(task.tid, had.nice, had.io);
        }
        let idle = Priority::new(Class::Idle).inner();
        let has_inherited = task.start >= since && nice(task.tid)? == LOWEST && io(task.tid)? == idle;
        let parent = Stat::read(held.id.pid).ok().flatten().and_then(|stat| of(stat.parent));
        let had = parent.or_else(|| before.first()).filter(|_| has_inherited);
        had.map_or(Ok(()), |had| set(task.tid, had.nice, had.io))
    })
}

/// Does it for every thread, those born meanwhile too.
fn each_task(held: &Held, mut apply: impl FnMut(TaskId) -> Result<(), Refusal>) -> Result<(), Refusal> {
    let mut done: Vec<TaskId> = Vec::new();
    let mut worked = Err(Refusal::Gone);
    for _ in 0..ROUNDS {
        let tasks = tasks(held.id.pid);
        if held.has_ended() {
            return Err(Refusal::Gone);
        }
        let fresh: Vec<TaskId> = tasks.into_iter().filter(|task| !done.contains(task)).collect();
        if fresh.is_empty() {
            break;
        }
        for task in fresh {
            done.push(task);
            match apply(task) {
                Ok(()) => worked = Ok(()),
                // A thread that has ended is no failure.
                Err(Refusal::Gone) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }
    worked
}

fn tasks(pid: Pid) -> Vec<TaskId> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let tids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    tids.filter_map(|tid| {
        let stat = Stat::parse(&fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?)?;
        Some(TaskId { tid, start: stat.id.start })
    })
    .collect()
}

fn nice(tid: Pid) -> Result<i32, Refusal> {
    getpriority_process(Some(raw(tid)?)).map_err(refusal)
}

fn io(tid: Pid) -> Result<u16, Refusal> {
    let got = get_priority(target(tid)).map(Priority::inner);
    got.map_err(|error| io_refusal(error.as_errno().map(|errno| errno as i32)))
}

fn set(tid: Pid, nice: i32, io: u16) -> Result<(), Refusal> {
    setpriority_process(Some(raw(tid)?), nice).map_err(|errno| match errno {
        // Of another user's process it says EPERM.
        Errno::ACCESS => Refusal::Failed("only root may raise a priority".to_owned()),
        errno => refusal(errno),
    })?;
    let done = set_priority(target(tid), Priority::from_inner(io));
    done.map_err(|error| io_refusal(error.as_errno().map(|errno| errno as i32)))
}

fn raw(tid: Pid) -> Result<RawPid, Refusal> {
    RawPid::from_raw(tid).ok_or(Refusal::Gone)
}

fn target(tid: Pid) -> Target {
    Target::Process(ioprio::Pid::from_raw(tid))
}

fn io_refusal(errno: Option<i32>) -> Refusal {
    errno.map_or_else(|| Refusal::Failed("the I/O class".to_owned()), |errno| refusal(Errno::from_raw_os_error(errno)))
}
