//! What was written to memory goes to the disk when the kernel gets to it. Meanwhile whoever wrote it does nothing, or waits like all
//! others, and nobody is seen to take what the disk is busy with.
//!
//! Who it was is told by what each has written since it started. Pure. Tested by `tests/scenarios.rs`.

use super::stuck::others_wait;
use super::{CULPRIT_SHARE, DISK_NOISE, Totals, blame_weight, is_program};
use crate::analysis::diagnosis::{DiskUse, Job, WaitGroup};
use crate::analysis::storage::is_stacked;
use crate::units::{bytes, rate, span};

/// Of what a disk takes in, the part that jobs are seen to write at this moment, up to which the kernel catches up with earlier writes. A
/// journal writes twice what is asked of it, or more (`own-journal.toml`).
const CATCHING_UP: f64 = 0.1;
/// A disk that takes in less than this is busy with small writes, which nobody has piled up. In bytes per second.
const PILED_UP: f64 = 1_000_000.0;
/// Written out by now, most likely, is what was written longer ago than this, in seconds: pages are dirty for 30 s
/// (`vm.dirty_expire_centisecs`), and longer where there are many and the disk is slow.
const WRITTEN_OUT: f64 = 600.0;
/// How much this says: the disk writes for nobody who writes now, and this one wrote enough.
pub const SURE: f64 = 0.5;

/// Who wrote what the disk takes in now.
pub struct Writer {
    pub job: usize,
    /// The numbers.
    pub because: String,
}

/// The job whose earlier writes this disk most likely takes in now, where others than itself wait for it. `None`: those who write now are
/// enough, or nobody is known to have written that much.
pub fn writer(jobs: &[Job], waits: &[WaitGroup], victims: &[usize], device: Option<&str>, totals: Totals<'_>) -> Option<Writer> {
    let asked = |disk: &&DiskUse| device.map_or_else(|| !is_stacked(&disk.name), |name| disk.name == name);
    let disks = || totals.disks.iter().filter(asked);
    let taken_in: f64 = disks().map(|disk| disk.write_bytes).sum();
    let given_out: f64 = disks().map(|disk| disk.read_bytes).sum();
    let written: f64 = jobs.iter().filter_map(|job| job.usage.write_bytes).sum();
    // What is swapped out is written for nobody either; and where some writers are hidden, it may be one of those.
    if taken_in < PILED_UP.max(given_out) || written > taken_in * CATCHING_UP || totals.memory_pressed() || totals.io_hidden {
        return None;
    }
    let past = |i: usize| {
        let past = Past::of(&jobs[i], device, totals)?;
        (past.rate() >= taken_in * CULPRIT_SHARE && others_wait(jobs, waits, victims, i, totals)).then_some((i, past))
    };
    let score = |(i, past): &(usize, Past)| past.rate() * blame_weight(jobs[*i].facts.finding.kind);
    let writers = (0..jobs.len()).filter(|&i| is_program(&jobs[i])).filter_map(past);
    let (job, past) = writers.max_by(|a, b| score(a).total_cmp(&score(b)))?;
    let because = format!(
        "{} has written {} since it started {} ago, and the kernel writes out {}, ten times what anybody writes now",
        jobs[job].facts.name,
        bytes(past.bytes),
        span(past.seconds),
        rate(taken_in)
    );
    Some(Writer { job, because })
}

/// What a job's processes have written, as far as that may have gone to this disk.
struct Past {
    bytes: f64,
    seconds: f64,
}

impl Past {
    /// `None`: nobody may see it, or most of it was long ago, or it is known to go elsewhere, or nobody knows where and there are several
    /// disks at it or other hosts' disks to be had.
    fn of(job: &Job, device: Option<&str>, totals: Totals<'_>) -> Option<Self> {
        let members = || job.facts.members.iter().filter_map(|member| totals.table.get(member.id.pid));
        let written: u64 = members().filter_map(|entry| entry.process.io).map(|io| io.written).sum();
        let seconds = job.age.filter(|age| (1.0..=WRITTEN_OUT).contains(age))?;
        if members().any(|entry| entry.files.as_ref().is_some_and(|files| !files.away.is_empty())) {
            return None;
        }
        let several = totals.disks.iter().filter(|disk| !is_stacked(&disk.name) && disk.write_bytes >= DISK_NOISE).count() > 1;
        let is_here = match (device, &job.disks) {
            (Some(device), Some(disks)) => disks.iter().any(|disk| disk == device),
            (_, None) => !several && !totals.table.has_files_away(),
            (None, Some(_)) => true,
        };
        is_here.then_some(Self { bytes: written as f64, seconds })
    }

    /// Bytes per second, over all of its life.
    fn rate(&self) -> f64 {
        self.bytes / self.seconds
    }
}
