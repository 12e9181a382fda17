//! The ring: the samples of the last minutes, bounded in time and in memory.
//!
//! Holds raw samples, so that a better analysis can look at them again. They are changes against each other, so a host of 5,000
//! sleeping processes costs little; one of 5,000 busy ones is bounded by [`Limits::bytes`], at the price of a shorter ring.
//! No threads, no clock: age is told by the samples. Tested in place.

use std::collections::VecDeque;
use std::mem::size_of;

use compact_str::CompactString;

use crate::analysis::diagnosis::TrendPoint;
use crate::sample::{
    Cgroup, CgroupIo, Controlled, CpuClock, Gap, GoneTask, Identity, IoLimit, OpenFile, Overdue, Process, Resident, Sample, Task,
    Wait,
};
use crate::units::{Nanos, Pid, ProcessId, SECOND};

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The oldest sample is at most this much older than the newest.
    pub span: Nanos,
    /// All samples together take at most this much memory, but for the newest, which is always kept.
    pub bytes: usize,
}

impl Default for Limits {
    /// Ten minutes, and what fits beside everything else into 24 MiB of resident memory.
    fn default() -> Self {
        Self { span: 600 * SECOND, bytes: 10 << 20 }
    }
}

/// Samples, oldest first.
#[derive(Debug, Default)]
pub struct History {
    limits: Limits,
    kept: VecDeque<Kept>,
    bytes: usize,
    trend: VecDeque<(Nanos, TrendPoint)>,
}

#[derive(Debug)]
struct Kept {
    sample: Sample,
    bytes: usize,
}

impl History {
    /// An empty ring.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds the newest sample with what counted in the load then, and drops what is too old or too much.
    pub fn push(&mut self, mut sample: Sample, point: TrendPoint) {
        // It is here for long, and was filled without knowing how much would come.
        sample.processes.shrink_to_fit();
        sample.tasks.shrink_to_fit();
        sample.identities.shrink_to_fit();
        sample.resident.shrink_to_fit();
        sample.cgroups.shrink_to_fit();
        sample.open_files.shrink_to_fit();
        let newest = sample.since_boot;
        let oldest = newest.saturating_sub(self.limits.span);
        let bytes = weight(&sample);
        self.bytes += bytes;
        self.trend.push_back((newest, point));
        self.kept.push_back(Kept { sample, bytes });
        while self.kept.len() > 1 && (self.bytes > self.limits.bytes || self.kept[0].sample.since_boot < oldest) {
            self.bytes -= self.kept.pop_front().map_or(0, |kept| kept.bytes);
        }
        // A point is 24 bytes: the trend goes back the whole span even where the samples do not.
        while self.trend.front().is_some_and(|(at, _)| *at < oldest) {
            self.trend.pop_front();
        }
    }

    /// The samples, oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = &Sample> {
        self.kept.iter().map(|kept| &kept.sample)
    }

    /// Runnable and stuck tasks over the span, oldest first.
    pub fn trend(&self) -> Vec<TrendPoint> {
        self.trend.iter().map(|(_, point)| *point).collect()
    }

    /// Memory the samples take, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// About how much memory a sample takes.
fn weight(sample: &Sample) -> usize {
    let identities: usize = sample
        .identities
        .iter()
        .map(|(_, identity)| {
            let words: usize = identity.argv.iter().map(|word| word.capacity() + size_of::<String>()).sum();
            let Controlled { cpu, memory, io } = &identity.controlled;
            let paths = [&identity.exe, &identity.user, &identity.cgroup, cpu, memory, io];
            let paths = paths.into_iter().flatten().map(String::capacity).sum::<usize>();
            size_of::<(ProcessId, Identity)>() + words + paths
        })
        .sum();
    let waits: usize = sample.tasks.iter().filter_map(|task| task.wait.as_deref()).map(wait_weight).sum();
    let files: usize = sample
        .open_files
        .iter()
        .map(|(_, files)| {
            let paths: usize = files.iter().map(|open| open.file.path.capacity()).sum();
            size_of::<(ProcessId, Vec<OpenFile>)>() + files.capacity() * size_of::<OpenFile>() + paths
        })
        .sum();
    let gaps: usize = sample
        .gaps
        .iter()
        .map(|gap| match gap {
            Gap::IdentityOverdue { reads, .. } => reads.capacity() * size_of::<Overdue>(),
            Gap::Shunned { pids } => pids.capacity() * size_of::<Pid>(),
            Gap::Rules { file, why } | Gap::Host { file, why } => file.capacity() + why.capacity(),
            Gap::IoDenied { .. } | Gap::WaitDenied { .. } | Gap::NoRunDelay | Gap::NoPressure | Gap::NotLocked { .. } => 0,
        })
        .sum();
    let groups: usize = sample
        .cgroups
        .iter()
        .map(|cgroup| {
            let path = if cgroup.path.is_heap_allocated() { cgroup.path.capacity() } else { 0 };
            let limits = cgroup.io_limits.capacity() * size_of::<IoLimit>();
            path + limits + cgroup.io.as_ref().map_or(0, |devices| devices.capacity() * size_of::<CgroupIo>())
        })
        .sum();
    size_of::<Kept>()
        + sample.processes.capacity() * size_of::<Process>()
        + sample.tasks.capacity() * size_of::<Task>()
        + sample.gone_processes.capacity() * size_of::<ProcessId>()
        + sample.gone_tasks.capacity() * size_of::<GoneTask>()
        + sample.host.disks.capacity() * size_of::<crate::sample::Disk>()
        + sample.resident.capacity() * size_of::<(ProcessId, Resident)>()
        + sample.cgroups.capacity() * size_of::<Cgroup>()
        + sample.clocks.capacity() * size_of::<CpuClock>()
        + sample.awake.capacity() * size_of::<u32>()
        + sample.gaps.capacity() * size_of::<Gap>()
        + identities
        + waits
        + files
        + gaps
        + groups
}

/// About how much memory it takes where a task is stuck: ten times as much as the task.
fn wait_weight(wait: &Wait) -> usize {
    let text = |text: &CompactString| if text.is_heap_allocated() { text.capacity() } else { 0 };
    let frames = wait.stack.iter().map(|stack| stack.capacity() * size_of::<CompactString>());
    let names: usize = wait.stack.iter().flatten().chain(&wait.wchan).map(text).sum();
    let path = wait.file.as_ref().map_or(0, |file| file.path.capacity());
    size_of::<Wait>() + frames.sum::<usize>() + names + path
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::sample::{Cost, FileRef, Host, TaskState};
    use crate::units::TaskId;

    fn sample(seconds: u64, processes: usize) -> Sample {
        Sample {
            at: Timestamp::UNIX_EPOCH,
            since_boot: seconds * SECOND,
            keyframe: false,
            host: Host::default(),
            processes: Vec::with_capacity(processes),
            tasks: Vec::new(),
            gone_processes: Vec::new(),
            gone_tasks: Vec::new(),
            clocks: Vec::new(),
            awake: Vec::new(),
            storage: None,
            open_files: Vec::new(),
            resident: Vec::new(),
            cgroups: Vec::new(),
            identities: Vec::new(),
            gaps: Vec::new(),
            cost: Cost::default(),
        }
    }

    const POINT: TrendPoint = TrendPoint { at: Timestamp::UNIX_EPOCH, runnable: 1, uninterruptible: 2 };

    #[test]
    fn the_ring_is_bounded_in_time() {
        let mut history = History::new(Limits { span: 600 * SECOND, bytes: usize::MAX });
        for second in 0..2000 {
            history.push(sample(second, 0), POINT);
        }
        assert_eq!(history.samples().len(), 601);
        assert_eq!(history.trend().len(), 601);
    }

    #[test]
    fn what_control_groups_moved_counts_for_each_device() {
        let mut history = History::new(Limits { span: 600 * SECOND, bytes: usize::MAX });
        let io = CgroupIo { device: (8, 0), read: 1, written: 2, ..CgroupIo::default() };
        let group = || Cgroup { path: "/system.slice/web.service".into(), io: Some(vec![io; 20]), ..Cgroup::default() };
        let cgroups = (0..64).map(|_| group()).collect();
        history.push(Sample { cgroups, ..sample(0, 0) }, POINT);
        assert!(history.bytes() >= 64 * 20 * size_of::<CgroupIo>(), "{}", history.bytes());
    }

    #[test]
    fn where_tasks_are_stuck_and_what_is_open_counts() {
        let mut history = History::new(Limits { span: 600 * SECOND, bytes: usize::MAX });
        let name = "a_function_with_a_name_that_is_not_kept_in_place";
        let file = || FileRef { path: "/srv/site/upload/1.jpg".to_owned(), mount: None };
        let wait = || Wait { stack: Some(vec![name.into(); 14]), file: Some(file()), ..Wait::default() };
        let id = TaskId { tid: 7, start: 1 };
        let stuck =
            || Task { id, pid: 7, state: TaskState::Uninterruptible, cpu: 0, run_delay: None, wait: Some(Box::new(wait())) };
        let tasks = (0..60).map(|_| stuck()).collect();
        let open = || OpenFile { fd: 3, file: file(), reading: true, writing: false, position: None };
        let open_files = vec![(ProcessId { pid: 7, start: 1 }, (0..64).map(|_| open()).collect())];
        let gaps = vec![Gap::Shunned { pids: vec![1; 100] }];
        history.push(Sample { tasks, open_files, gaps, ..sample(0, 0) }, POINT);
        let (waits, files) = (60 * 14 * (size_of::<CompactString>() + name.len()), 64 * (size_of::<OpenFile>() + 23));
        assert!(history.bytes() >= waits + files + 400, "{} of {waits} and {files}", history.bytes());
    }

    #[test]
    fn the_ring_is_bounded_in_memory_and_keeps_the_newest() {
        let limit = 1 << 20;
        let mut history = History::new(Limits { span: 600 * SECOND, bytes: limit });
        for second in 0..100 {
            history.push(sample(second, 1000), POINT);
            assert!(history.bytes() <= limit);
        }
        assert_eq!(history.samples().last().map(|s| s.since_boot), Some(99 * SECOND));
        assert_eq!(history.trend().len(), 100, "the trend outlives the samples");
        let mut tiny = History::new(Limits { span: SECOND, bytes: 1 });
        tiny.push(sample(1, 1000), POINT);
        assert_eq!(tiny.samples().len(), 1);
    }
}
