//! Where the stuck tasks are stuck, for a bounded number of them: wait channel, system call, its file, stack, and when they ran last.
//!
//! Reads `wchan`, `syscall`, `stack` and `sched` of a task when it got stuck, and not again while it stays so; where the kernel's
//! iterator is there, only the first of them, and the next two of whoever is stuck beyond those that it is read for (`tier/stuck.rs`).
//! Those two wait for a lock that a process holds while it calls exec: where it is stuck in that, the look stands still, is given up
//! ([`crate::kernel::WatchedReader`]), and goes on without that process. The file comes from `descriptors`. Tested through [`crate::kernel::Reader`] and by `tests/tiers.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use compact_str::CompactString;
use rustix::io::Errno;

use super::{
    descriptors,
    files::Place,
    parse::{self, Call},
    process::{Known, Looker, Turn, Watched},
    tier::{batch::Batch, record::Record, stuck::StuckTasks},
};
use crate::{
    sample::{CpuClock, TaskState, Wait},
    units::{Nanos, Pid},
};

/// Most tasks looked up for one sample. On a host with thousands of them stuck, the first tell what it is about, and the others get
/// their turn in the samples after: first those that stayed where they are.
const LOOKUPS: usize = 64;
/// Most tasks asked for the time on one CPU, and on all: a file each. One that ran in the last second tells it to the second.
const CLOCK_READS: usize = 4;
const CLOCK_READS_MAX: usize = 64;

/// Where to look, beside `wchan`.
pub(super) enum Source<'a> {
    /// In the files of the task.
    Files,
    /// In what the kernel's iterators gave; in the files where they gave nothing, or not all.
    Iterator {
        batch: &'a Batch,
        /// `None`: this kernel has no such iterator, or nobody got stuck.
        stuck: Option<StuckTasks>,
    },
}

/// Who is stuck, so that nobody goes through all tasks where nobody is.
#[derive(Clone, Copy, Default)]
pub(super) struct Census {
    /// Some task is stuck.
    pub stuck: bool,
    /// Where some task is stuck was not looked up yet.
    pub due: bool,
}

impl Census {
    pub fn take(processes: &HashMap<Pid, Box<Known>>) -> Self {
        processes.values().flat_map(|known| known.watched()).fold(Self::default(), |census, watched| Self {
            stuck: census.stuck || watched.task.state == TaskState::Uninterruptible,
            due: census.due || watched.turn != Turn::Over,
        })
    }
}

/// Looks up where tasks are stuck that have got stuck. Users' tasks come first; of those, who has stayed so since a look that had no room
/// for it, and then whose last turn is the longest ago: tasks that get stuck anew for each look keep nobody from it. Of whoever
/// does not get a turn it is not known where it is stuck, for where it was the last time says nothing.
pub(super) fn look_up(processes: &mut HashMap<Pid, Box<Known>>, looker: &mut Looker, source: &Source<'_>, pass: u32) {
    let mut due: Vec<(bool, Turn, u32, Pid, usize)> = Vec::new();
    for (pid, known) in &*processes {
        let tasks = known.watched().enumerate().filter(|(_, watched)| watched.turn != Turn::Over);
        due.extend(tasks.map(|(at, task)| (known.process.kernel_thread, task.turn, task.looked_up, *pid, at)));
    }
    due.sort_unstable();
    for (turn, (kernel, _, _, pid, at)) in due.into_iter().enumerate() {
        let Some(known) = processes.get_mut(&pid) else { continue };
        let Some(watched) = std::iter::once(&mut known.leader).chain(&mut known.others).nth(at) else { continue };
        if turn >= LOOKUPS {
            watched.turn = Turn::PassedOver;
            watched.dirty |= watched.task.wait.take().is_some();
            continue;
        }
        watched.turn = Turn::Over;
        watched.looked_up = pass;
        look_up_one(watched, place(pid, watched), kernel, looker, source);
    }
}

fn place(pid: Pid, watched: &Watched) -> Place {
    let tid = watched.task.id.tid;
    if tid == pid { Place::Process(pid) } else { Place::Thread(pid, tid) }
}

fn look_up_one(watched: &mut Watched, place: Place, kernel: bool, looker: &mut Looker, source: &Source<'_>) {
    let mut read = || looker.files.read(place, "wchan").map(|text| parse::wchan(text).map(CompactString::from_utf8_lossy));
    // One that is woken for an instant, and goes on to wait for the same, is nowhere in that instant.
    let wchan = match read() {
        Ok(None) => read(),
        wchan => wchan,
    };
    let hidden = matches!(wchan, Ok(None) | Err(Errno::ACCESS | Errno::PERM));
    // `0` also stands for a task that has been woken meanwhile: that one is not stuck, and nothing is hidden.
    if let Ok(Some(stat)) = looker.files.stat(place).as_ref().map(Option::as_ref)
        && hidden
        && stat.state != TaskState::Uninterruptible
    {
        watched.dirty |= watched.task.state != stat.state || watched.task.wait.is_some();
        watched.task.state = stat.state;
        watched.task.wait = None;
        watched.wait_denied = false;
        return;
    }
    let (call, stack) = call_and_stack(watched, place, kernel, looker, source);
    // One that has just gone to sleep may be kept on the run queue for its turn's sake (6.12 and up): then it has a stack and no channel.
    let wchan = wchan.ok().flatten().or_else(|| stack.as_ref().and_then(|stack| stack.first().cloned()));
    watched.wait_denied = hidden && wchan.is_none();
    let last_ran = last_ran(watched, place, looker, source);
    let (syscall, args) = (call.map(|call| call.number), call.and_then(|call| call.args));
    let file = call.and_then(|call| descriptors::of_call(&mut looker.files, place, call));
    let wait = Some(Box::new(Wait { wchan, syscall, args, stack, last_ran, file }));
    watched.dirty |= wait != watched.task.wait;
    watched.task.wait = wait;
}

fn call_and_stack(
    watched: &mut Watched,
    place: Place,
    kernel: bool,
    looker: &mut Looker,
    source: &Source<'_>,
) -> (Option<Call>, Option<Vec<CompactString>>) {
    let tid = watched.task.id.tid;
    if let Source::Iterator { batch, stuck: Some(stuck) } = source
        && batch.find(tid).is_some()
    {
        if let Some(found) = stuck.find(tid) {
            return (found.call, Some(found.stack.clone()).filter(|stack| !stack.is_empty()));
        }
        if !stuck.is_cut() {
            // It was not stuck when that iterator passed. If it still is at the next sample, that one tells.
            watched.turn = Turn::Due;
            return (None, None);
        }
        // It comes after those that were read. Its files may make a reader wait, which is better than never to know of it.
    }
    let call = (!kernel).then(|| looker.files.read(place, "syscall").ok().and_then(parse::syscall)).flatten();
    let Ok(stack) = looker.files.read(place, "stack") else { return (call, None) };
    (call.filter(|_| !parse::entered_as_32_bit(stack)), parse::stack(stack))
}

fn last_ran(watched: &Watched, place: Place, looker: &mut Looker, source: &Source<'_>) -> Option<CpuClock> {
    if let Source::Iterator { batch, .. } = source
        && let Some(record) = batch.find(watched.task.id.tid)
    {
        return record.last_ran();
    }
    let clock = parse::last_ran(looker.files.read(place, "sched").ok()?)?;
    Some(CpuClock { cpu: watched.cpu?, clock })
}

/// The newest instant known on each CPU that a stuck task ran on last, and the numbers of those that something is known to have run on
/// since the sample before. `known`: the instants known then. That a stuck task's own is newer is no sign of it: that task may have been
/// looked up long after it ran.
pub(super) fn clocks(
    processes: &HashMap<Pid, Box<Known>>,
    looker: &mut Looker,
    source: &Source<'_>,
    known: &mut BTreeMap<u32, Nanos>,
) -> (Vec<CpuClock>, Vec<u32>) {
    let mut newest = BTreeMap::new();
    let waits = processes.values().flat_map(|known| known.watched()).filter_map(|watched| watched.task.wait.as_ref());
    for CpuClock { cpu, clock } in waits.filter_map(|wait| wait.last_ran) {
        let slot = newest.entry(cpu).or_insert(known.get(&cpu).copied().unwrap_or(clock));
        *slot = clock.max(*slot);
    }
    let mut awake = BTreeSet::new();
    let mut hear = |CpuClock { cpu, clock }, slot: &mut Nanos| {
        *slot = clock.max(*slot);
        if known.get(&cpu).is_some_and(|known| *known < clock) {
            awake.insert(cpu);
        }
    };
    if !newest.is_empty() {
        match source {
            Source::Files => ask_for_the_time(processes, looker, &mut newest, &mut hear),
            Source::Iterator { batch, .. } => {
                for told in batch.records().filter_map(Record::ran_there) {
                    newest.entry(told.cpu).and_modify(|slot| hear(told, slot));
                }
            }
        }
    }
    known.clone_from(&newest);
    (newest.into_iter().map(|(cpu, clock)| CpuClock { cpu, clock }).collect(), awake.into_iter().collect())
}

/// Reads the clock of a few tasks that ran since the sample before. The sleeping ones first: one on the queue may have come from
/// another CPU and have that one's.
fn ask_for_the_time(
    processes: &HashMap<Pid, Box<Known>>,
    looker: &mut Looker,
    newest: &mut BTreeMap<u32, Nanos>,
    hear: &mut impl FnMut(CpuClock, &mut Nanos),
) {
    let mut asked: BTreeMap<u32, usize> = BTreeMap::new();
    let mut left = CLOCK_READS_MAX;
    for state in [TaskState::Sleeping, TaskState::Runnable] {
        for known in processes.values() {
            for watched in known.watched().filter(|watched| watched.task.state == state && watched.ran_lately()) {
                let Some((cpu, slot)) = watched.cpu.and_then(|cpu| Some((cpu, newest.get_mut(&cpu)?))) else { continue };
                let asked = asked.entry(cpu).or_default();
                if *asked >= CLOCK_READS || left == 0 {
                    continue;
                }
                *asked += 1;
                left -= 1;
                let read = looker.files.read(place(known.process.id.pid, watched), "sched");
                if let Some(clock) = read.ok().and_then(parse::last_ran) {
                    hear(CpuClock { cpu, clock }, slot);
                }
            }
        }
    }
}
