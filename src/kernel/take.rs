//! Puts what the kernel's iterator gives into the table of tasks: the same changes as a sweep through `/proc` would find.
//!
//! Only records that differ from the batch before are looked at. What is in no record is read from `/proc`: long names of
//! kernel threads, I/O of a process whose threads come and go, where stuck tasks are stuck, and processes that a security
//! module keeps from the iterator. Tested by `tests/tiers.rs`.

use std::collections::hash_map::Entry;

use super::{
    files::Place,
    process::{Known, Looker, Visit, Watched},
    table::{Changes, Table},
    tier::{
        batch::{Batch, Step},
        record::Record,
        stuck::StuckTasks,
    },
    waits::{Census, Source},
};
use crate::{
    sample::GoneTask,
    units::{Pid, TaskId},
};

/// So many batches apart it is looked whether `/proc` has processes that the iterator has not. The pass costs as much as a tenth
/// of a batch.
const HIDDEN_LOOKS: u64 = 60;
/// So many batches in a row that have fewer tasks than the kernel counts are a hint that there are hidden ones. One is none: whatever
/// ended between the count and the batch is missing in it.
const SHORT_LOOKS: u32 = 3;
/// Bytes of a name in the kernel; a longer one is cut in the record.
const COMM: usize = 15;

/// A process that something happened to.
struct Touch {
    pid: Pid,
    /// A task of it is new or ran.
    ran: bool,
    /// A task of it came or went.
    churned: bool,
}

/// Tasks by what happened to them: the order in which it is told matters more than the order in which it is found.
#[derive(Default)]
struct Found<'a> {
    gone: Vec<Record<'a>>,
    leaders: Vec<Record<'a>>,
    threads: Vec<Record<'a>>,
}

impl Table {
    /// Takes over a batch, and the one before, which is without records if that sample came from somewhere else. `tasks`: how many
    /// there were just before, by the kernel's own count; `stuck` says where the stuck ones are.
    pub fn take(
        &mut self,
        looker: &mut Looker,
        (before, now): (&Batch, &Batch),
        tasks: Option<u64>,
        stuck: impl FnOnce() -> Option<StuckTasks>,
    ) -> Changes {
        let mut changes = Changes::default();
        let mut touched = Vec::new();
        self.pass += 1;
        self.newcomers.doubt();
        looker.unsettled = true;
        let mut found = Found::default();
        for tid in std::mem::take(&mut self.strays) {
            found.threads.extend(now.find(tid).filter(|record| !record.leads()));
        }
        now.compare(before, |step| match step {
            Step::New(record) | Step::Changed(record) if record.leads() => found.leaders.push(record),
            Step::New(record) | Step::Changed(record) => found.threads.push(record),
            Step::Gone(record) => found.gone.push(record),
        });
        if before.len() == 0 {
            self.take_over(looker, now, &mut changes, &mut touched);
        }
        for record in found.gone.iter().filter(|record| record.leads()) {
            let id = (record.tgid(), record.start(looker.tick));
            if let Entry::Occupied(known) = self.processes.entry(id.0)
                && known.get().process.id.start == id.1
            {
                changes.gone_processes.push(known.remove().process.id);
            }
        }
        found.gone.retain(|record| !record.leads());
        found.gone.sort_unstable_by_key(|record| (record.tgid(), record.tid()));
        for ended in found.gone.chunk_by(|one, other| one.tgid() == other.tgid()) {
            let Some(known) = ended.first().and_then(|record| self.processes.get_mut(&record.tgid())) else { continue };
            let ids: Vec<TaskId> =
                ended.iter().map(|record| TaskId { tid: record.tid(), start: record.start(looker.tick) }).collect();
            let before = changes.gone_tasks.len();
            known.lose(&ids, &mut changes.gone_tasks);
            if changes.gone_tasks.len() > before {
                touched.push(Touch { pid: known.process.id.pid, ran: true, churned: true });
            }
        }
        for record in found.leaders {
            touched.push(self.take_leader(looker, record, &mut changes));
        }
        found.threads.sort_unstable_by_key(|record| (record.tgid(), record.tid()));
        // A stray that also changed is in there twice.
        found.threads.dedup_by_key(|record| record.tid());
        for threads in found.threads.chunk_by(|one, other| one.tgid() == other.tgid()) {
            match self.take_threads(looker, threads) {
                Some(touch) => touched.push(touch),
                // Its process was not there yet when the iterator passed, or is there no more.
                None => self.strays.extend(threads.iter().map(|record| record.tid())),
            }
        }
        self.settle(looker, touched, &mut changes);
        let look = before.len() == 0 || self.pass.is_multiple_of(HIDDEN_LOOKS) || self.falls_short(now, tasks);
        self.visit_hidden(looker, now, look, &mut changes);
        let census = Census::take(&self.processes);
        let stuck = census.due.then(stuck).flatten();
        self.look_at_stuck(looker, census, &Source::Iterator { batch: now, stuck }, &mut changes);
        self.hand_over(looker, &mut changes);
        changes
    }

    /// The first batch after sweeps through `/proc`: what is in the table and not in the batch is gone, or hidden from the iterator.
    fn take_over(&mut self, looker: &mut Looker, now: &Batch, changes: &mut Changes, touched: &mut Vec<Touch>) {
        // What files did not tell, and the batch does, need not have happened since.
        self.clocks.clear();
        let tick = looker.tick;
        let is_there =
            |pid: Pid, id: TaskId| now.find(id.tid).is_some_and(|record| record.tgid() == pid && record.start(tick) == id.start);
        let pass = self.pass;
        self.processes.retain(|pid, known| {
            if !is_there(*pid, known.leader.task.id) {
                let visit = known.visit(looker, pass, &mut changes.gone_tasks);
                let stays = matches!(visit, Visit::Alive { .. });
                if !stays {
                    changes.gone_processes.push(known.process.id);
                }
                return stays;
            }
            // Kept files cost the kernel memory, and nobody reads them now.
            known.leader.file = None;
            known.others.retain_mut(|thread| {
                thread.file = None;
                let stays = is_there(*pid, thread.task.id);
                if !stays {
                    changes.gone_tasks.push(GoneTask { pid: *pid, id: thread.task.id });
                    touched.push(Touch { pid: *pid, ran: true, churned: true });
                }
                stays
            });
            true
        });
    }

    fn take_leader(&mut self, looker: &mut Looker, record: Record<'_>, changes: &mut Changes) -> Touch {
        let pid = record.tgid();
        let tick = looker.tick;
        let mut comm = Vec::new();
        if let Some(known) = self.processes.get_mut(&pid) {
            if known.process.id.start == record.start(tick) {
                name(looker, record, Some(known), &mut comm);
                let threads = known.tasks();
                let mut ran = known.take(record, &comm, tick);
                if known.cgroup.replace(record.cgroup()).is_some_and(|cgroup| cgroup != record.cgroup()) {
                    ran = true;
                    changes.regrouped.push(known.process.id);
                }
                return Touch { pid, ran, churned: threads != record.threads() as usize };
            }
            changes.gone_processes.push(known.process.id);
        }
        name(looker, record, None, &mut comm);
        self.processes.insert(pid, Box::new(Known::found(record, &comm, tick, self.pass)));
        Touch { pid, ran: true, churned: false }
    }

    /// New and changed threads of one process, in order. `None` if it is not known.
    fn take_threads(&mut self, looker: &mut Looker, records: &[Record<'_>]) -> Option<Touch> {
        let pid = records.first()?.tgid();
        let known = self.processes.get_mut(&pid)?;
        let mut touch = Touch { pid, ran: false, churned: false };
        let watched = known.others.len();
        for record in records.iter().copied() {
            match known.others[..watched].binary_search_by_key(&record.tid(), |thread| thread.task.id.tid) {
                Ok(at) if known.others[at].task.id.start == record.start(looker.tick) => {
                    touch.ran |= known.others[at].take(record);
                }
                Ok(at) => {
                    known.others[at] = Watched::found(record, looker.tick);
                    touch.churned = true;
                }
                Err(_) => {
                    known.others.push(Watched::found(record, looker.tick));
                    touch.churned = true;
                }
            }
        }
        if known.others.len() > watched {
            known.others.sort_unstable_by_key(|thread| thread.task.id.tid);
        }
        touch.ran |= touch.churned;
        Some(touch)
    }

    /// Whether the iterator has been giving fewer tasks than there are.
    fn falls_short(&mut self, now: &Batch, tasks: Option<u64>) -> bool {
        let hidden = self.hidden.iter().filter_map(|pid| self.processes.get(pid)).map(|known| known.tasks()).sum::<usize>();
        let is_short = tasks.is_some_and(|tasks| tasks > (now.len() + hidden) as u64);
        self.short = if is_short { self.short + 1 } else { 0 };
        let look = self.short >= SHORT_LOOKS;
        if look {
            self.short = 0;
        }
        look
    }

    /// Looks at the processes that the iterator does not give, as a sweep would; `look`: for new ones, too.
    fn visit_hidden(&mut self, looker: &mut Looker, now: &Batch, look: bool, changes: &mut Changes) {
        if look {
            let mut pids = std::mem::take(&mut self.newcomers.pids);
            // Without a list there is nothing to look for, until the next time.
            if looker.files.list_processes(&mut pids).is_ok() {
                self.hidden = pids.iter().copied().filter(|pid| !now.find(*pid).is_some_and(Record::leads)).collect();
            }
            self.newcomers.pids = pids;
        }
        let pass = self.pass;
        let mut hidden = std::mem::take(&mut self.hidden);
        // One that was merely born after the batch was read is in the next.
        hidden.retain(|pid| {
            if now.find(*pid).is_some_and(Record::leads) {
                return false;
            }
            let mut visit = Visit::Reused;
            if let Some(known) = self.processes.get_mut(pid) {
                visit = known.visit(looker, pass, &mut changes.gone_tasks);
            }
            if let Visit::Alive { ran } = visit {
                changes.active.extend(self.processes.get(pid).filter(|_| ran).map(|known| known.process.id));
                return true;
            }
            changes.gone_processes.extend(self.processes.remove(pid).map(|known| known.process.id));
            if !matches!(visit, Visit::Reused) {
                return false;
            }
            let Some(known) = Known::admit(looker, *pid, pass) else { return false };
            changes.active.push(known.process.id);
            self.processes.insert(*pid, Box::new(known));
            true
        });
        self.hidden = hidden;
    }

    /// Works out what the changes of its tasks mean for each process.
    fn settle(&mut self, looker: &mut Looker, mut touched: Vec<Touch>, changes: &mut Changes) {
        touched.sort_unstable_by_key(|touch| touch.pid);
        for touches in touched.chunk_by(|one, other| one.pid == other.pid) {
            let Some(known) = touches.first().and_then(|touch| self.processes.get_mut(&touch.pid)) else { continue };
            known.settle_zombie();
            known.sum_io(looker, touches.iter().any(|touch| touch.churned));
            if touches.iter().any(|touch| touch.ran) && !known.process.kernel_thread {
                changes.active.push(known.process.id);
            }
        }
    }
}

/// A process's name as `/proc/PID/stat` has it. Kernel threads may have longer ones than a record holds, and workers are called
/// after what they did last, so those are read when they are new, were renamed or ran.
fn name(looker: &mut Looker, record: Record<'_>, known: Option<&Known>, comm: &mut Vec<u8>) {
    comm.clear();
    comm.extend(record.comm());
    let place = Place::Process(record.tgid());
    // Cut or not escaped is better than none: what cannot be read stays as it is.
    if record.kernel_thread() {
        if comm.len() < COMM && !record.worker() {
            return;
        }
        let was = known.filter(|known| !(record.worker() && known.leader.ran_since(record)));
        if let Some(known) = was.filter(|known| known.process.comm.as_bytes().starts_with(comm)) {
            comm.clear();
            comm.extend(known.process.comm.as_bytes());
        } else if let Ok(text) = looker.files.read(place, "comm") {
            comm.clear();
            comm.extend(text.strip_suffix(b"\n").unwrap_or(text));
        }
    } else if comm.iter().any(|byte| matches!(byte, b'\n' | b'\\')) {
        // Whether these two are escaped depends on the kernel.
        if let Ok(Some(stat)) = looker.files.stat(place) {
            comm.clear();
            comm.extend(stat.comm);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::collections::{BTreeSet, HashMap, HashSet};

    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::{files::Files, root::ProcRoot, tier::record::tests::record};

    /// The tasks of an instant: number, process and start.
    type Instant = BTreeSet<(Pid, Pid, u64)>;

    /// Few numbers, so that they are used again, by first tasks and others. A process that is new may come without its first task, which
    /// the iterator passed a moment too early.
    fn instants() -> impl Strategy<Value = Vec<Instant>> {
        let process = (1..4_u64, vec((1..9_i32, 0..3_u64), 0..4), any::<bool>());
        vec(btree_map(1..9_i32, process, 0..5), 1..8).prop_map(|hosts| {
            let mut instants: Vec<Instant> = Vec::new();
            for host in hosts {
                let mut taken: HashSet<Pid> = host.keys().copied().collect();
                let mut instant = Instant::new();
                for (pid, (start, others, late)) in host {
                    let first = (pid, pid, 10 * start);
                    let is_new = instants.last().is_none_or(|last| !last.contains(&first));
                    instant.extend(Some(first).filter(|_| !(late && is_new)));
                    let others = others.into_iter().filter(|(tid, _)| taken.insert(*tid));
                    instant.extend(others.map(|(tid, later)| (tid, pid, 10 * start + later)).collect::<Vec<_>>());
                }
                instants.push(instant);
            }
            instants
        })
    }

    fn batch(instant: &Instant) -> Batch {
        let bytes: Vec<u8> = instant.iter().flat_map(|(tid, process, start)| record(*tid, *process, *start)).collect();
        let mut batch = Batch::default();
        batch.read(bytes.as_slice()).unwrap();
        batch
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever comes, goes and is used again: what was told, folded together, is what there is.
        #[test]
        fn what_is_told_is_what_the_iterator_gave(instants in instants()) {
            let empty = tempfile::tempdir().unwrap();
            for name in ["stat", "loadavg", "uptime"] {
                std::fs::write(empty.path().join(name), "cpu 0\n").unwrap();
            }
            let mut looker = Looker { tick: 1, ..Looker::new(Files::new(ProcRoot::open(empty.path()).unwrap()), 1) };
            let (mut table, mut told, mut before) = (Table::default(), HashMap::new(), Batch::default());
            for instant in &instants {
                let now = batch(instant);
                let changes = table.take(&mut looker, (&before, &now), None, || None);
                for gone in &changes.gone_processes {
                    told.retain(|_, pid| *pid != gone.pid);
                }
                for gone in &changes.gone_tasks {
                    prop_assert!(told.remove(&gone.id).is_some(), "{gone:?} was never told");
                }
                told.extend(changes.tasks.iter().map(|task| (task.id, task.pid)));
                prop_assert_eq!(told.len(), changes.total, "what was told is what there is");
                let leads = |pid: Pid| instant.iter().any(|(tid, process, _)| (*tid, *process) == (pid, pid));
                let complete: Instant = instant.iter().copied().filter(|(_, process, _)| leads(*process)).collect();
                prop_assert_eq!(told.iter().map(|(id, pid)| (id.tid, *pid, id.start)).collect::<Instant>(), complete);
                before = now;
            }
        }
    }
}
