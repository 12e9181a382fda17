//! What the kernel counts for a control group as a whole, and which groups a process is in.
//!
//! Plain data, as [`super`] has it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use super::Identity;
use crate::units::Nanos;

/// One control group since it was made. `None`: nobody asked, or the kernel does not count it there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Its path, as in [`Identity::cgroup`].
    pub path: CompactString,
    /// What its tasks moved, device by device (`io.stat`; version 1: `blkio.throttle.io_service_bytes`).
    pub io: Option<Vec<CgroupIo>>,
    /// That is all of it, what the kernel writes later on behalf of its tasks too: version 2.
    pub io_whole: bool,
    /// Time in which some of its tasks waited for a CPU (`cpu.pressure`, version 2 alone has these three).
    pub cpu_stalled: Option<Nanos>,
    /// The same for I/O.
    pub io_stalled: Option<Nanos>,
    /// The same for memory.
    pub memory_stalled: Option<Nanos>,
    /// Time in which it was kept from running by its own limit of CPU time, summed over CPUs (`cpu.stat`).
    pub throttled: Option<Nanos>,
    /// How often it came to its own limit of memory (`memory.events`: high and max; version 1: `memory.failcnt`).
    pub limited: Option<u64>,
    /// What it may move from and to each device that it has a limit for (`io.max`; version 1: `blkio.throttle.*_device`).
    pub io_limits: Vec<IoLimit>,
    /// Bytes of memory that it may have (`memory.max`, `memory.high`; version 1: `memory.limit_in_bytes`). `None`: as many as there are.
    pub memory_limit: Option<u64>,
}

/// What a control group moved from and to one device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupIo {
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Requests to read; in version 1 only where there is a limit.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

/// The most that a control group may move from and to one device in a second. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoLimit {
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// Bytes read.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: Option<u64>,
    /// Requests to read.
    pub reads: Option<u64>,
    /// Requests to write.
    pub writes: Option<u64>,
}

/// A process's control groups in the hierarchies of version 1, which may differ from each other. `None`: there is no such hierarchy, or it is
/// as in [`Identity::cgroup`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Controlled {
    /// Of CPU time.
    pub cpu: Option<String>,
    /// Of memory.
    pub memory: Option<String>,
    /// Of block devices.
    pub io: Option<String>,
}

impl Identity {
    /// The control group that may limit its CPU time.
    pub fn cpu_group(&self) -> Option<&str> {
        self.controlled.cpu.as_deref().or(self.cgroup.as_deref())
    }

    /// The same for its memory.
    pub fn memory_group(&self) -> Option<&str> {
        self.controlled.memory.as_deref().or(self.cgroup.as_deref())
    }

    /// The same for what it moves.
    pub fn io_group(&self) -> Option<&str> {
        self.controlled.io.as_deref().or(self.cgroup.as_deref())
    }
}
