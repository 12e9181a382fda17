//! A sample: what the kernel said at one instant. Raw counters only: nothing derived, nothing formatted.
//!
//! A sample carries what *changed* since the sample before it: processes and tasks that are new or that ran, and
//! the names of those that went. Most of a host sleeps, so this keeps a refresh, the ring and a recording small; the full
//! picture is folded together again by `analysis::table`. A **keyframe** carries everything.
//!
//! Plain data: no clock is read here, no file is opened, and a recording made of samples can be analysed on another host.

mod cgroup;
mod storage;

use std::sync::Arc;

use compact_str::CompactString;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::cgroup::{Cgroup, CgroupIo, Controlled, IoLimit};
pub use self::storage::{BlockDevice, FileRef, Mount, OpenFile, Storage};
use crate::units::{Nanos, Pid, ProcessId, TaskId};

/// What does not change while the host is up. Comes once, before the samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// The node's name (`uname -n`).
    pub name: String,
    /// Kernel release (`uname -r`).
    pub kernel: String,
    /// Online CPUs, from `/proc/stat`. At least 1.
    pub cpus: usize,
    /// Clock ticks a second: the unit of start times. 100 on every Linux that matters here.
    pub ticks_per_second: u64,
    /// The process that samples, left out of every count. `None` in a recording of another host.
    pub own_pid: Option<Pid>,
    /// Whether the sampler runs as root, so that a missing number can be explained.
    pub root: bool,
}

/// What can be told of the host before its tasks are read: a few files of a fixed size, however many tasks there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// Wall-clock time, for people.
    pub at: Timestamp,
    /// Time since boot (`CLOCK_BOOTTIME`).
    pub since_boot: Nanos,
    /// Counters of the whole host; without its disks, which take longer.
    pub host: Host,
    /// Tasks that run or wait for a CPU, whytop's own left out, and all tasks there are (`/proc/loadavg`). `None`: not readable.
    pub tasks: Option<(u32, u32)>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
}

/// Everything that was read at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Wall-clock time, for people.
    pub at: Timestamp,
    /// Time since boot (`CLOCK_BOOTTIME`), for arithmetic: it never jumps.
    pub since_boot: Nanos,
    /// True if `processes` and `tasks` are all there are; otherwise they are changes against the sample before.
    pub keyframe: bool,
    /// Counters of the whole host.
    pub host: Host,
    /// Processes that are new or changed.
    pub processes: Vec<Process>,
    /// Tasks that are new or changed: a task that did not run since the last sample is as it was.
    pub tasks: Vec<Task>,
    /// Processes that are gone, all their tasks with them.
    pub gone_processes: Vec<ProcessId>,
    /// Tasks that are gone while their process goes on.
    pub gone_tasks: Vec<GoneTask>,
    /// The newest instant known on each CPU that a stuck task ran on last: the difference to the task's own says since when it is stuck.
    #[serde(default)]
    pub clocks: Vec<CpuClock>,
    /// Those of these CPUs, by number, that something is known to have run on since the sample before. What is known of the others' clocks
    /// may be old.
    #[serde(default)]
    pub awake: Vec<u32>,
    /// What lies below the paths. Comes with the first sample and again when it changed; it is read off the sampling path and may
    /// come late.
    #[serde(default)]
    pub storage: Option<Arc<Storage>>,
    /// Open files of processes that move much, as far as somebody looked: regular files, block devices and pipes. An empty list is a
    /// process that has none of them.
    #[serde(default)]
    pub open_files: Vec<(ProcessId, Vec<OpenFile>)>,
    /// Memory in use, looked up while memory is short: of all processes when that begins, then of those that ran.
    #[serde(default)]
    pub resident: Vec<(ProcessId, Resident)>,
    /// Control groups of processes at work, looked up while somebody is held up, or while what processes move is hidden.
    #[serde(default)]
    pub cgroups: Vec<Cgroup>,
    /// Identities that arrived since the last sample: they are read off the sampling path and come late.
    pub identities: Vec<(ProcessId, Arc<Identity>)>,
    /// What could not be read, and why.
    pub gaps: Vec<Gap>,
    /// What taking this sample cost.
    pub cost: Cost,
}

/// Counters of the whole host. `None` where this kernel or this reader does not have them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// `/proc/loadavg`.
    pub load: Option<LoadAverage>,
    /// First line of `/proc/stat`, summed over CPUs.
    pub cpu: Option<CpuTimes>,
    /// `/proc/pressure/*`; absent when the kernel was built or booted without PSI.
    pub pressure: Option<Pressure>,
    /// `/proc/meminfo`.
    pub memory: Option<Memory>,
    /// Whole disks of `/proc/diskstats`: no partitions, no RAM disks, none that never did anything.
    pub disks: Vec<Disk>,
}

/// The kernel's exponentially damped averages of runnable plus uninterruptible tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadAverage {
    /// Over one minute.
    pub avg1: f64,
    /// Over five minutes.
    pub avg5: f64,
    /// Over fifteen minutes.
    pub avg15: f64,
}

/// CPU time of all CPUs since boot, in clock ticks (`proc(5)`, `/proc/stat`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuTimes {
    /// Time that some task, interrupt or hypervisor had the CPU: all but idle and iowait.
    pub busy: u64,
    /// Idle with no disk request pending.
    pub idle: u64,
    /// Idle with a disk request pending. A kind of idle, not a kind of busy.
    pub iowait: u64,
    /// Taken by the hypervisor; part of `busy`.
    pub steal: u64,
}

/// Pressure stall information: share of the last ten seconds in which tasks were held up, 0 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Some task waited for a CPU.
    pub cpu_some10: f64,
    /// Some task waited for I/O.
    pub io_some10: f64,
    /// All tasks that were not idle waited for I/O.
    pub io_full10: f64,
    /// Some task waited for memory.
    pub memory_some10: f64,
    /// All tasks that were not idle waited for memory.
    pub memory_full10: f64,
    /// Time since boot in which some task waited: the averages above take seconds to tell what has just begun. `None`: not written down.
    #[serde(default)]
    pub totals: Option<PressureTotals>,
}

/// Time since boot in which some task was held up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PressureTotals {
    /// It waited for a CPU.
    pub cpu: Nanos,
    /// For I/O.
    pub io: Nanos,
    /// For memory.
    pub memory: Nanos,
}

/// Memory, in bytes (`/proc/meminfo`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Usable by the kernel.
    pub total: u64,
    /// An estimate of what new work can have without swapping.
    pub available: Option<u64>,
    /// Swap space.
    pub swap_total: u64,
    /// Unused swap space.
    pub swap_free: u64,
}

/// One block device since boot (`/proc/diskstats`; kernel: Documentation/admin-guide/iostats.rst).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// Kernel name: `sda`, `nvme0n1`, `dm-3`, `loop0`.
    pub name: CompactString,
    /// Reads completed.
    pub reads: u64,
    /// Writes completed.
    pub writes: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Milliseconds that requests took which have ended, summed over requests.
    pub request_ms: u64,
    /// Milliseconds in which at least one request was in flight.
    pub busy_ms: u64,
    /// Milliseconds, each counted as often as requests were in flight: a request that never ends counts too.
    pub queue_ms: u64,
}

/// One process: what its tasks have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Number and start.
    pub id: ProcessId,
    /// Parent; 0 for the first process and for `kthreadd`.
    pub parent: Pid,
    /// Process group: the pipeline, to a shell.
    pub group: Pid,
    /// Session.
    pub session: Pid,
    /// Controlling terminal's device number; 0 for none.
    pub tty: i32,
    /// The name the kernel knows, cut at 15 bytes (longer for kernel threads). From a stranger: clean it before it is shown.
    pub comm: CompactString,
    /// A kernel thread: no program, takes no signal.
    pub kernel_thread: bool,
    /// Forked, but has not started a program of its own yet, so its command line is still its parent's.
    pub forked_only: bool,
    /// Ended, and waits for its parent to take notice.
    pub zombie: bool,
    /// Niceness of the first task, -20 to 19.
    pub nice: i8,
    /// Bytes moved since the process started. `None`: not allowed to look (`/proc/PID/io` needs the same user or root).
    pub io: Option<IoBytes>,
}

impl Process {
    /// Whether it may move bytes that nobody sees. A zombie moves none.
    pub const fn hides_io(&self) -> bool {
        self.io.is_none() && !self.zombie
    }
}

/// `/proc/PID/io`: bytes since the process started, all its tasks together, ended ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IoBytes {
    /// Fetched from a block device.
    pub read: u64,
    /// Sent towards a block device: counted when the page is dirtied, less what was truncated before it got there.
    pub written: u64,
    /// Passed through `read(2)` and the like: files in the page cache, pipes and sockets too.
    pub read_any: u64,
    /// Passed through `write(2)` and the like.
    pub written_any: u64,
}

/// Memory of a process, in bytes (`/proc/PID/statm`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resident {
    /// Nobody else has it.
    pub private: u64,
    /// Of files, and memory that is shared by name: others may have the same.
    pub shared: u64,
}

/// One task (thread).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Thread id and start.
    pub id: TaskId,
    /// The process it belongs to.
    pub pid: Pid,
    /// What it is doing.
    pub state: TaskState,
    /// CPU time since it started.
    pub cpu: Nanos,
    /// Time it was runnable without a CPU, since it started. `None`: kernel without schedstat.
    pub run_delay: Option<Nanos>,
    /// Where it is stuck; looked up for tasks in uninterruptible sleep only.
    pub wait: Option<Box<Wait>>,
}

/// A task that ended before its process did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GoneTask {
    /// The process it belonged to.
    pub pid: Pid,
    /// Thread id and start.
    pub id: TaskId,
}

/// The state letter of `/proc/PID/stat`, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// `R`: on a CPU or on the run queue; counts in the load.
    Runnable,
    /// `D`: sleeps and takes no signal until what it waits for happens; counts in the load.
    Uninterruptible,
    /// `S`, and `I` (an idle kernel thread): waits for something to do.
    Sleeping,
    /// `T` or `t`: stopped by a signal or a debugger.
    Stopped,
    /// `Z` or `X`: ended.
    Dead,
}

impl TaskState {
    /// Whether the kernel counts such a task in the load average (`kernel/sched/loadavg.c`).
    pub const fn counts_in_load(self) -> bool {
        matches!(self, Self::Runnable | Self::Uninterruptible)
    }
}

/// Where a task is stuck.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// The kernel function it sleeps in (`/proc/TID/wchan`). `None`: not allowed to look.
    pub wchan: Option<CompactString>,
    /// The system call's number (`/proc/TID/syscall`). `None`: not allowed to look, or not in one.
    pub syscall: Option<u32>,
    /// The system call's arguments, as they came in. `None` where the number is.
    #[serde(default)]
    pub args: Option<[u64; 6]>,
    /// The kernel's functions on the task's stack, innermost first, without those of the scheduler; at most sixteen
    /// (`/proc/TID/stack`). `None`: not allowed to look.
    #[serde(default)]
    pub stack: Option<Vec<CompactString>>,
    /// When it ran last. `None`: the kernel does not say.
    #[serde(default)]
    pub last_ran: Option<CpuClock>,
    /// The file that the system call is about, where that is one of its arguments by descriptor. `None`: it is not, or not allowed to look.
    #[serde(default)]
    pub file: Option<FileRef>,
}

/// An instant on one CPU's own clock (`rq_clock_task`, kernel/sched/core.c): those of two CPUs drift apart, so only instants of the
/// same CPU can be compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuClock {
    /// The CPU's number.
    pub cpu: u32,
    /// Nanoseconds; they stand for a moment while the CPU serves interrupts.
    pub clock: Nanos,
}

/// Who a process is: read off the sampling path, because reading a command line can block (`proc(5)`: it takes
/// the process's `mmap_lock`). All of it comes from strangers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// Program and arguments, bytes that are no UTF-8 replaced. Empty: a kernel thread, a zombie, or not readable.
    pub argv: Vec<String>,
    /// The program file. `None`: not allowed to look.
    pub exe: Option<String>,
    /// Effective user's number.
    pub uid: Option<u32>,
    /// Effective user's name, if it has one.
    pub user: Option<String>,
    /// The control group path: version 2's where it says something, else systemd's of version 1.
    pub cgroup: Option<String>,
    /// Where it is in the hierarchies of version 1.
    pub controlled: Controlled,
}

/// Something that could not be read. Shown once, as a sentence; never turned into a zero.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Gap {
    /// I/O bytes of this many processes are hidden from this user.
    IoDenied {
        /// How many.
        processes: u32,
    },
    /// Wait channels of this many stuck tasks are hidden from this user.
    WaitDenied {
        /// How many.
        tasks: u32,
    },
    /// The kernel keeps no run delay (`CONFIG_SCHED_INFO`), so waiting for a CPU cannot be told.
    NoRunDelay,
    /// The kernel keeps no pressure information (`CONFIG_PSI`, or `psi=0` at boot).
    NoPressure,
    /// Command lines that did not come within the deadline: whoever looks at these processes is blocked.
    IdentityOverdue {
        /// Those that are being read, by number.
        reads: Vec<Overdue>,
        /// How many others wait for their turn, because all that could read them are stuck.
        behind: u32,
    },
    /// whytop's own memory is not locked, or only the program and not what it allocates.
    NotLocked {
        /// The program itself is.
        program: bool,
        /// Most bytes that may be locked. `None`: there is no limit, and it was refused.
        limit: Option<u64>,
    },
    /// Processes that are left out, for whoever reads their state hangs: they are in the middle of an `exec` that waits.
    Shunned {
        /// Their numbers.
        pids: Vec<Pid>,
    },
    /// A rules file, or entries of it, were left out.
    Rules {
        /// Which file, and the line.
        file: String,
        /// The reason, in words.
        why: String,
    },
    /// A file of the whole host could not be read or made no sense.
    Host {
        /// Which file; below the proc root, or the whole path.
        file: String,
        /// The error, in words.
        why: String,
    },
}

/// A read of a process that does not come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Overdue {
    /// The process.
    pub id: ProcessId,
    /// When the read began, since boot.
    pub since: Nanos,
}

/// What whytop itself cost for one refresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From the first read to the last, in wall-clock nanoseconds.
    pub sampling: Nanos,
    /// CPU time of the whole of whytop since the sample before, drawing included.
    pub cpu: Nanos,
    /// Tasks on this host when the sample was taken.
    pub tasks: u32,
    /// How the samples follow each other. `None`: this is the first, or nobody wrote it down.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// How tasks were read. Recordings from before there was a choice do not say.
    #[serde(default)]
    pub tier: Tier,
}

/// How the last two samples followed each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// What the sample before took, its analysis included, in wall-clock nanoseconds.
    pub look: Nanos,
    /// From that sample to this one, in nanoseconds.
    pub interval: Nanos,
    /// The interval is longer than it was asked for, because looks take so long.
    pub stretched: bool,
}

/// How tasks were read. Both tiers give the same numbers; the kernel's own iterator costs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tier {
    /// File by file, from `/proc`.
    Proc(ProcReason),
    /// All in one read, from the kernel's task iterator.
    Kernel,
}

impl Tier {
    /// As in the JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proc(_) => "proc",
            Self::Kernel => "kernel",
        }
    }
}

impl Default for Tier {
    fn default() -> Self {
        Self::Proc(ProcReason::Unsaid)
    }
}

/// Why tasks were read from `/proc` and not from the kernel's task iterator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProcReason {
    /// Nobody wrote it down.
    Unsaid,
    /// It was asked for.
    Asked,
    /// The iterator is being loaded.
    Loading,
    /// The tree that is read is not this host's own.
    OtherTree,
    /// Only root may load it.
    NotRoot,
    /// The kernel carries no type information (`CONFIG_DEBUG_INFO_BTF`).
    NoTypes,
    /// The kernel counts the time that tasks run and wait for nobody but itself (`schedstats` off).
    NoSchedstat,
    /// Processes have other numbers here than in the kernel: a container.
    Namespace,
    /// The kernel does not take the iterator.
    Refused,
    /// The iterator worked and then failed.
    Failed,
}
