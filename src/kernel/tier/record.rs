//! What the iterator writes about a task: a fixed number of bytes, in the layout of `bpf/tasks.bpf.c`.
//!
//! Bytes to numbers and nothing else; whatever the bytes are, it does not panic. Tested in place and, against what `/proc`
//! says of the same tasks, by `tests/tiers.rs`.

use crate::{
    kernel::parse::{SchedStat, Stat},
    sample::{CpuClock, IoBytes, TaskState},
    units::{Nanos, Pid},
};

/// Bytes of one record.
pub(in crate::kernel) const RECORD: usize = 160;
/// The first four bytes of each. Another layout gets another number.
const MAGIC: u32 = 0x7774_0002;

/// Flags: the iterator's own, then the kernel's `PF_*` (include/linux/sched.h).
const HAS_IO: u32 = 0x0000_0001;
const WORKER: u32 = 0x0000_0020;
const FORKED_ONLY: u32 = 0x0000_0040;
const KERNEL_THREAD: u32 = 0x0020_0000;

/// One task, as the kernel gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Record<'a>(&'a [u8; RECORD]);

/// I/O of one task; of the first task of a process with what the ended ones have left behind. Summed over the tasks it is what
/// `/proc/PID/io` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kernel) struct Moved {
    pub read_any: u64,
    pub written_any: u64,
    pub read: u64,
    pub written: u64,
    pub cancelled: u64,
}

impl Moved {
    /// With another task's.
    pub fn with(self, other: Self) -> Self {
        Self {
            read_any: self.read_any.wrapping_add(other.read_any),
            written_any: self.written_any.wrapping_add(other.written_any),
            read: self.read.wrapping_add(other.read),
            written: self.written.wrapping_add(other.written),
            cancelled: self.cancelled.wrapping_add(other.cancelled),
        }
    }

    /// In the terms of a sample: what was cancelled was not written.
    pub fn settled(self) -> IoBytes {
        IoBytes {
            read: self.read,
            written: self.written.saturating_sub(self.cancelled),
            read_any: self.read_any,
            written_any: self.written_any,
        }
    }
}

impl<'a> Record<'a> {
    /// Takes bytes for a record; `None` if they are none.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let record = Self(bytes.try_into().ok()?);
        (record.word(0) == MAGIC && record.tid() > 0 && record.tgid() > 0).then_some(record)
    }

    /// For bytes that were looked at by [`Self::new`] before.
    pub fn checked(bytes: &'a [u8; RECORD]) -> Self {
        Self(bytes)
    }

    /// The process it belongs to.
    pub fn tgid(self) -> Pid {
        self.word(4).cast_signed()
    }

    /// Its own number.
    pub fn tid(self) -> Pid {
        self.word(8).cast_signed()
    }

    /// Whether it is its process's first task.
    pub fn leads(self) -> bool {
        self.tid() == self.tgid()
    }

    /// Start, in ticks of this length: the kernel rounds down for `/proc/PID/stat` too (`nsec_to_clock_t`).
    pub fn start(self, tick: Nanos) -> u64 {
        self.long(64) / tick.max(1)
    }

    /// Whether two records are of one task: the number may be another's by now.
    pub fn is_of(self, other: Record<'_>) -> bool {
        (self.tid(), self.tgid(), self.long(64)) == (other.tid(), other.tgid(), other.long(64))
    }

    /// The name, cut at 15 bytes.
    pub fn comm(self) -> &'a [u8] {
        let comm = &self.0[48..64];
        &comm[..comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len())]
    }

    pub fn kernel_thread(self) -> bool {
        self.word(28) & KERNEL_THREAD != 0
    }

    /// A kernel thread that works for others, and is called after what it did last.
    pub fn worker(self) -> bool {
        self.kernel_thread() && self.word(28) & WORKER != 0
    }

    /// The tasks of its process.
    pub fn threads(self) -> u32 {
        self.word(44)
    }

    /// The numbers of `schedstat`, by the rule that holds for the file: three zeros are none.
    pub fn sched(self) -> Option<SchedStat> {
        let (run, delay, slices) = (self.long(72), self.long(80), self.long(88));
        (run != 0 || delay != 0 || slices != 0).then_some(SchedStat { run, delay, slices })
    }

    /// What it moved; `None` if this kernel keeps no account of I/O.
    pub fn moved(self) -> Option<Moved> {
        (self.word(28) & HAS_IO != 0).then(|| Moved {
            read_any: self.long(96),
            written_any: self.long(104),
            read: self.long(112),
            written: self.long(120),
            cancelled: self.long(128),
        })
    }

    pub fn state(self) -> TaskState {
        state(self.word(32), self.word(36))
    }

    /// When it ran last, and on which CPU. `None`: it never did, or waits for its turn on another one.
    pub fn last_ran(self) -> Option<CpuClock> {
        let clock = self.long(136);
        (clock != 0).then(|| CpuClock { cpu: self.word(152), clock })
    }

    /// The same for a task whose clock is certainly that CPU's: one on the queue may have come from elsewhere.
    pub fn ran_there(self) -> Option<CpuClock> {
        self.last_ran().filter(|_| self.word(156) != 0 || self.state() != TaskState::Runnable)
    }

    /// Its group in the default hierarchy (cgroup version 2). 0: this kernel has none.
    pub fn cgroup(self) -> u64 {
        self.long(144)
    }

    /// The same as the line in `/proc/PID/stat`, under a name that may be longer.
    pub fn stat(self, comm: &[u8], tick: Nanos) -> Stat<'_> {
        Stat {
            comm,
            state: self.state(),
            parent: self.word(12).cast_signed(),
            group: self.word(16).cast_signed(),
            session: self.word(20).cast_signed(),
            tty: self.word(24).cast_signed(),
            kernel_thread: self.kernel_thread(),
            // Kernel threads never exec and carry the flag for life: of them it says nothing.
            forked_only: self.word(28) & FORKED_ONLY != 0 && !self.kernel_thread(),
            // A task without `schedstat` never ran.
            ticks: 0,
            nice: self.word(40).cast_signed().clamp(-20, 19) as i8,
            threads: self.threads(),
            start: self.start(tick),
            cpu: Some(self.word(152)),
        }
    }

    fn word(self, at: usize) -> u32 {
        self.0[at..].first_chunk().copied().map_or(0, u32::from_ne_bytes)
    }

    fn long(self, at: usize) -> u64 {
        self.0[at..].first_chunk().copied().map_or(0, u64::from_ne_bytes)
    }
}

/// The state, by the kernel's own rule (`__task_state_index`, include/linux/sched.h, bits the same since 4.14; the last two are
/// younger, and no older kernel sets them).
fn state(state: u32, exit: u32) -> TaskState {
    const REPORT: u32 = 0x7f;
    const IDLE: u32 = 0x402;
    const LOCK_WAIT: u32 = 0x1000;
    const FROZEN: u32 = 0x8000;
    let reported = (state | exit) & REPORT;
    if state & (LOCK_WAIT | FROZEN) != 0 {
        return TaskState::Uninterruptible;
    }
    if state & IDLE == IDLE {
        return TaskState::Sleeping;
    }
    // The highest bit counts: S D T t X Z P.
    match reported.checked_ilog2() {
        None => TaskState::Runnable,
        Some(0 | 6) => TaskState::Sleeping,
        Some(1) => TaskState::Uninterruptible,
        Some(2 | 3) => TaskState::Stopped,
        Some(_) => TaskState::Dead,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub(in crate::kernel) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::TaskState::{Dead, Runnable, Sleeping, Stopped, Uninterruptible};

    /// The bytes of a task of this process, started then.
    pub fn record(tid: Pid, process: Pid, start: u64) -> Vec<u8> {
        let mut bytes = vec![0; RECORD];
        bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[4..8].copy_from_slice(&process.to_ne_bytes());
        bytes[8..12].copy_from_slice(&tid.to_ne_bytes());
        bytes[64..72].copy_from_slice(&start.to_ne_bytes());
        bytes
    }

    #[test]
    fn states_follow_the_kernel_s_rule() {
        let cases = [
            (0, 0, Runnable),
            (1, 0, Sleeping),
            (2, 0, Uninterruptible),
            (0x102, 0, Uninterruptible),
            (0x402, 0, Sleeping),
            (4, 0, Stopped),
            (8, 0, Stopped),
            (0x108, 0, Stopped),
            (0x80, 0x20, Dead),
            (0x80, 0x10, Dead),
            (0x80, 0x30, Dead),
            (0x40, 0, Sleeping),
            (0x1000, 0, Uninterruptible),
            (0x8001, 0, Uninterruptible),
        ];
        for (bits, exit, expected) in cases {
            assert_eq!(state(bits, exit), expected, "{bits:#x} {exit:#x}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), RECORD), length in 0..RECORD) {
            prop_assert!(Record::new(&bytes[..length]).is_none());
            bytes[..4].copy_from_slice(&MAGIC.to_ne_bytes());
            bytes[4..12].fill(1);
            let record = Record::new(&bytes).unwrap();
            let stat = record.stat(record.comm(), 0);
            prop_assert!((-20..=19).contains(&stat.nice));
            let _ = (record.sched(), record.moved(), record.leads(), record.worker(), record.ran_there(), record.cgroup());
        }
    }
}
