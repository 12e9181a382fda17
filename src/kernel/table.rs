//! All processes known, and one pass over them: who is new, who ran, who is gone.
//!
//! Gives [`Changes`], in the terms of a sample. Reads through `files` only and knows no clock. Tested through
//! [`crate::kernel::Reader`].

use std::collections::{BTreeMap, HashMap};

use rustix::io::Errno;

use super::{
    newcomers::{Newcomers, Started},
    process::{Known, Looker, Visit},
    waits::{self, Census, Source},
};
use crate::{
    sample::{CpuClock, GoneTask, Process, Task, TaskState},
    units::{Nanos, Pid, ProcessId},
};

/// What one pass found.
#[derive(Default)]
pub(super) struct Changes {
    pub processes: Vec<Process>,
    pub tasks: Vec<Task>,
    pub gone_processes: Vec<ProcessId>,
    pub gone_tasks: Vec<GoneTask>,
    /// The newest instant known on each CPU that a stuck task ran on last.
    pub clocks: Vec<CpuClock>,
    pub awake: Vec<u32>,
    /// User processes that are new or ran, for whoever wants to know who they are.
    pub active: Vec<ProcessId>,
    /// Processes that were put into another control group: their unit may be another one, although they need not have run.
    pub regrouped: Vec<ProcessId>,
    /// Tasks there are now.
    pub total: usize,
    /// Processes whose I/O is hidden.
    pub io_denied: u32,
    /// Some program's I/O is not known: hidden, or this kernel keeps no account of it.
    pub io_unknown: bool,
    /// Stuck user tasks whose wait channel is hidden.
    pub wait_denied: u32,
    /// The kernel keeps no run delay.
    pub no_run_delay: bool,
}

/// Most tasks that are searched for on the run queue in one sample: 512 times 15 µs are 8 ms.
const QUEUED_READS: usize = 512;

/// One process in so many is read again in a pass although it did not run: others may change its niceness, group, session and terminal.
/// On a host of 5,000 that is one in a hundred of a sample's cost, and each is read once in ten minutes.
const ASLEEP: usize = 512;

/// Beginnings of the kernel functions in which tasks wait for a semaphore or a memory area's lock, 4.18 to 6.18.
const LOCKS: [&str; 6] = ["rwsem_", "__vma_", "vma_", "__down", "down_", "call_rwsem_"];

/// All processes known.
#[derive(Default)]
pub(super) struct Table {
    /// In boxes: a map this large moves house now and then, and is half empty after that.
    pub(super) processes: HashMap<Pid, Box<Known>>,
    pub(super) pass: u64,
    pub(super) newcomers: Newcomers,
    /// Some process has a parent that is not known: look again whether it has another by now.
    loose_ends: bool,
    /// Tasks that the kernel's iterator gave without their process, to be looked for in its next batch.
    pub(super) strays: Vec<Pid>,
    /// Processes that the kernel's iterator does not give although they are there.
    pub(super) hidden: Vec<Pid>,
    /// Batches of that iterator in a row that had fewer tasks than there are.
    pub(super) short: u32,
    pub(super) clocks: BTreeMap<u32, Nanos>,
    /// Processes read again so far although they did not run.
    reread: usize,
}

impl Table {
    /// A process, by number.
    pub fn get(&self, id: ProcessId) -> Option<&Process> {
        self.processes.get(&id.pid).map(|known| &known.process).filter(|process| process.id == id)
    }

    /// All processes but kernel threads, in no order.
    pub fn programs(&self) -> impl Iterator<Item = ProcessId> {
        self.processes.values().filter(|known| !known.process.kernel_thread).map(|known| known.process.id)
    }

    /// The processes, kernel threads left out, that have tasks in uninterruptible sleep.
    pub fn stuck(&self) -> impl Iterator<Item = ProcessId> {
        let is_stuck = |known: &Known| known.watched().any(|watched| watched.task.state == TaskState::Uninterruptible);
        self.processes.values().filter(move |known| !known.process.kernel_thread && is_stuck(known)).map(|known| known.process.id)
    }

    /// Whether a task of this process is stuck in a lock, or in what could be one: then it may be the lock that reading its command
    /// line takes. Whoever waits for a disk holds it only for others to read, too.
    pub fn may_be_wedged(&self, id: ProcessId) -> bool {
        let lock = |wchan: &str| LOCKS.iter().any(|lock| wchan.starts_with(lock));
        let stuck = |task: &Task| {
            let wchan = task.wait.as_ref().and_then(|wait| wait.wchan.as_deref());
            task.state == TaskState::Uninterruptible && wchan.is_none_or(lock)
        };
        let known = self.processes.get(&id.pid).filter(|known| known.process.id == id);
        known.is_some_and(|known| known.watched().any(|watched| stuck(&watched.task)))
    }

    /// Has the next pass read the directory: somebody is there that was passed over.
    pub fn doubt(&mut self) {
        self.newcomers.doubt();
    }

    /// One pass. `queued`: how many tasks at the least wait for a CPU; `started`: how many ever began. Both as the host said before
    /// this pass.
    pub fn sweep(&mut self, looker: &mut Looker, queued: usize, started: Option<Started>) -> Result<Changes, Errno> {
        let mut changes = Changes::default();
        self.newcomers.look(looker, started, |pid| self.processes.contains_key(&pid))?;
        looker.unsettled = self.newcomers.unsettled > 0;
        self.pass += 1;
        let mut unrest = self.loose_ends;
        let mut found = 0;
        let mut doubt = false;
        for pid in self.newcomers.pids.iter().copied() {
            let visit = match self.processes.get_mut(&pid) {
                Some(known) => {
                    let was_zombie = known.process.zombie;
                    let visit = known.visit(looker, self.pass, &mut changes.gone_tasks);
                    // Children get another parent when theirs ends, not when it is reaped.
                    unrest |= known.process.zombie && !was_zombie;
                    if matches!(visit, Visit::Alive { ran: true }) && !known.process.kernel_thread {
                        changes.active.push(known.process.id);
                    }
                    visit
                }
                None => Visit::Reused,
            };
            match visit {
                Visit::Alive { .. } => {
                    found += 1;
                    continue;
                }
                // Keeps an old pass number and is swept out below.
                Visit::Gone => continue,
                Visit::Reused => unrest = true,
            }
            if let Some(old) = self.processes.remove(&pid) {
                changes.gone_processes.push(old.process.id);
            }
            if let Some(known) = Known::admit(looker, pid, self.pass) {
                if !known.process.kernel_thread {
                    changes.active.push(known.process.id);
                }
                self.processes.insert(pid, Box::new(known));
                found += 1;
            } else {
                // Gone again, or not readable for now: only the directory tells.
                doubt = true;
            }
        }
        if doubt {
            self.newcomers.doubt();
        }
        // Nobody is missing if as many were found as are known.
        let pass = self.pass;
        if found < self.processes.len() {
            self.processes.retain(|_, known| {
                let stays = known.pass == pass;
                if !stays {
                    changes.gone_processes.push(known.process.id);
                }
                stays
            });
        }
        if !changes.gone_processes.is_empty() {
            self.newcomers.pids.retain(|pid| self.processes.contains_key(pid));
        }
        if unrest || !changes.gone_processes.is_empty() {
            self.tie_loose_ends(looker);
        }
        self.reread_some(looker);
        self.seek_queued(looker, queued);
        let census = Census::take(&self.processes);
        self.look_at_stuck(looker, census, &Source::Files, &mut changes);
        self.hand_over(looker, &mut changes);
        Ok(changes)
    }

    /// A task that was woken and got no CPU yet has the `schedstat` it slept with. Where the host has more runnable tasks than
    /// were found, beyond those that merely run, the ones that ran not long ago are read again.
    fn seek_queued(&mut self, looker: &mut Looker, queued: usize) {
        if queued == 0 {
            return;
        }
        let runnable = |known: &Known| known.watched().filter(|task| task.task.state == TaskState::Runnable).count();
        if self.processes.values().map(|known| runnable(known)).sum::<usize>() >= queued {
            return;
        }
        let mut budget = QUEUED_READS;
        for known in self.processes.values_mut() {
            known.seek_queued(looker, &mut budget);
        }
    }

    /// Reads a few processes again that need not have run, in turn.
    fn reread_some(&mut self, looker: &mut Looker) {
        let pids = &self.newcomers.pids;
        for turn in self.reread..=self.reread + pids.len() / ASLEEP {
            let next = pids.get(turn % pids.len().max(1)).and_then(|pid| self.processes.get_mut(pid));
            if let Some(known) = next.filter(|known| !known.process.kernel_thread) {
                known.reread(looker);
            }
        }
        self.reread += 1 + pids.len() / ASLEEP;
    }

    /// A process whose parent died has another one now although it did not run itself.
    fn tie_loose_ends(&mut self, looker: &mut Looker) {
        let orphans = |processes: &HashMap<Pid, Box<Known>>| -> Vec<Pid> {
            let lost = |parent: Pid| parent != 0 && processes.get(&parent).is_none_or(|known| known.process.zombie);
            processes.values().filter(|known| lost(known.process.parent)).map(|known| known.process.id.pid).collect()
        };
        for pid in orphans(&self.processes) {
            if let Some(known) = self.processes.get_mut(&pid) {
                known.reread(looker);
            }
        }
        self.loose_ends = !orphans(&self.processes).is_empty();
    }

    /// Where the stuck tasks are stuck, and what time it is where they ran.
    pub(super) fn look_at_stuck(&mut self, looker: &mut Looker, census: Census, source: &Source<'_>, changes: &mut Changes) {
        if census.due {
            waits::look_up(&mut self.processes, looker, source, self.pass as u32);
        }
        if census.stuck {
            (changes.clocks, changes.awake) = waits::clocks(&self.processes, looker, source, &mut self.clocks);
        } else {
            self.clocks.clear();
        }
    }

    /// Puts what changed into the changes, and counts.
    pub(super) fn hand_over(&mut self, looker: &mut Looker, changes: &mut Changes) {
        let mut kept = 0;
        for known in self.processes.values_mut() {
            if std::mem::take(&mut known.dirty) {
                changes.processes.push(known.process.clone());
            }
            changes.total += known.tasks();
            changes.io_denied += u32::from(known.io_denied);
            let user = !known.process.kernel_thread;
            changes.io_unknown |= user && known.process.hides_io();
            for watched in std::iter::once(&mut known.leader).chain(&mut known.others) {
                if std::mem::take(&mut watched.dirty) {
                    changes.tasks.push(watched.task.clone());
                }
                kept += usize::from(watched.file.is_some());
                changes.wait_denied += u32::from(watched.wait_denied && user);
                changes.no_run_delay |= watched.lacks_run_delay();
            }
        }
        looker.files.recount(kept);
    }
}
