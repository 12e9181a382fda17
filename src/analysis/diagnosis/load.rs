//! The load of a host and what it is made of, as numbers.
//!
//! Plain data, as [`super`] has it.

use jiff::Timestamp;

use super::JobId;
use crate::sample::LoadAverage;

/// One point of the trend: the tasks that counted in the load at that instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrendPoint {
    /// When.
    pub at: Timestamp,
    /// Runnable tasks.
    pub runnable: u32,
    /// Tasks in uninterruptible sleep.
    pub uninterruptible: u32,
}

/// The load averages beside what they average.
#[derive(Clone, Debug)]
pub struct Load {
    /// `/proc/loadavg`.
    pub averages: Option<LoadAverage>,
    /// Tasks running or waiting for a CPU at this instant, whytop's own left out.
    pub runnable: u32,
    /// Tasks in uninterruptible sleep at this instant.
    pub uninterruptible: u32,
    /// Those of them that are kernel threads and have been so for long: idle drivers, which are no news and wait for nobody.
    pub always: u32,
    /// The ledger: the same two numbers by job, largest first; jobs with neither are left out.
    pub ledger: Vec<LedgerLine>,
    /// The one-minute average as a sum over jobs. `None` without the average.
    pub account: Option<Account>,
}

impl Load {
    /// Tasks that count in the load at this instant.
    pub const fn now(&self) -> u32 {
        self.runnable + self.uninterruptible
    }
}

/// A job's part in the load of this instant.
#[derive(Clone, Debug)]
pub struct LedgerLine {
    /// The job.
    pub job: JobId,
    /// Its name, so that a printer needs no look-up.
    pub name: String,
    /// Its runnable tasks.
    pub runnable: u32,
    /// Its tasks in uninterruptible sleep.
    pub uninterruptible: u32,
}

impl LedgerLine {
    /// Its tasks that count in the load at this instant.
    pub const fn now(&self) -> u32 {
        self.runnable + self.uninterruptible
    }
}

/// The one-minute load average, taken apart. The parts add up to it.
#[derive(Clone, Debug)]
pub struct Account {
    /// The average.
    pub average: f64,
    /// Jobs with their parts, largest first.
    pub lines: Vec<AccountLine>,
    /// What is left of the time before whytop looked.
    pub before: f64,
    /// What fell between two looks, whytop's own tasks too; negative where its looks saw more than the kernel's own.
    pub unseen: f64,
}

/// A job's part in the one-minute load average.
#[derive(Clone, Debug)]
pub struct AccountLine {
    /// The job; it may have ended.
    pub job: JobId,
    /// Its name.
    pub name: String,
    /// Its part, in tasks.
    pub average: f64,
}

/// CPU use of the whole host over the last interval, in CPUs (0 to the number of CPUs).
#[derive(Clone, Copy, Debug)]
pub struct CpuUse {
    /// Somebody ran.
    pub busy: f64,
    /// Nobody wanted to run. `None`: the kernel's count went back, as it may by a little.
    pub idle: Option<f64>,
    /// Idle with a disk request pending.
    pub iowait: f64,
    /// Taken by the hypervisor; part of `busy`.
    pub steal: f64,
}

impl CpuUse {
    /// How many of so many CPUs had no rest. Where a hypervisor takes time without a word, the kernel misses ticks and counts too little of
    /// what runs, but its idle time comes from a clock: then what was not idle was busy.
    pub fn without_rest(&self, cpus: f64) -> f64 {
        let counted = self.idle.map(|idle| self.busy + idle + self.iowait).filter(|counted| *counted > 0.0);
        counted.map_or(self.busy, |counted| self.busy.max(self.busy / counted * cpus))
    }
}

/// What one disk did over the last interval.
#[derive(Clone, Debug, PartialEq)]
pub struct DiskUse {
    /// Kernel name.
    pub name: String,
    /// Bytes read per second.
    pub read_bytes: f64,
    /// Bytes written per second.
    pub write_bytes: f64,
    /// Reads completed per second.
    pub reads: f64,
    /// Writes completed per second.
    pub writes: f64,
    /// Share of the time in which a request was in flight, 0 to 1.
    pub util: f64,
    /// Requests in flight, on average: those that wait in the queue and those at work.
    pub queue: f64,
    /// Mean time of a request, in milliseconds. `None`: no request ended.
    pub await_ms: Option<f64>,
    /// I/O scheduler.
    pub scheduler: Option<String>,
}
