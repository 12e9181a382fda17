//! What stuck tasks wait in: grouped, named, and in plain words.
//!
//! Pure. The table of wait channels is data; a kernel function that is not in it stays without a meaning.

mod meaning;

use std::collections::BTreeMap;

use compact_str::CompactString;

pub use self::meaning::{OWN_LIMIT, meaning, meaning_on};
use crate::analysis::diagnosis::{JobId, Resource, Stuck, StuckTask, WaitGroup};
use crate::analysis::jobs::Jobs;
use crate::analysis::storage::Layers;
use crate::analysis::table::Table;
use crate::sample::{Process, Task, TaskState};
use crate::units::{Pid, clean};

/// A system call's name on this machine. `None`: no such number.
pub(super) fn syscall_name(number: u32) -> Option<String> {
    syscalls::Sysno::new(number as usize).map(|call| call.name().to_owned())
}

/// Whether it waits for something that is short for nobody. Unknown: it may be.
pub fn is_nobodys_trouble(task: &Task) -> bool {
    task.wait.as_deref().and_then(|wait| meaning_on(wait, None)).is_some_and(|meaning| meaning.resource == Resource::None)
}

/// Stuck tasks named for a group.
const EXAMPLES: usize = 5;

/// What tasks of a job have in common that wait in one group.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    job: usize,
    /// The meaning; the wait channel where there is none.
    what: Option<&'a str>,
    syscall: Option<u32>,
    /// The mount point of the file; the file where that is not known.
    place: Option<&'a str>,
}

/// All stuck tasks of programs, put together by job, meaning, system call and mount; most tasks first. `own`: whytop itself, whose readers
/// of command lines get stuck in what they look at and are no news. `disk`: of the devices below a file the one that counts.
pub fn groups(
    table: &Table,
    jobs: &Jobs,
    layers: &Layers,
    own: Option<Pid>,
    disk: impl Fn(&[CompactString]) -> Option<String>,
) -> Vec<WaitGroup> {
    let counts = |process: &Process| !process.kernel_thread && Some(process.id.pid) != own;
    let facts: Vec<_> = jobs.iter().map(|(facts, _)| facts).collect();
    let mut groups: BTreeMap<Key<'_>, Vec<(&Task, Option<Stuck>)>> = BTreeMap::new();
    for entry in table.restless().filter(|entry| counts(&entry.process)) {
        let Some(job) = jobs.index_of(entry.process.id) else { continue };
        for task in entry.tasks.iter().filter(|task| task.state == TaskState::Uninterruptible) {
            let wait = task.wait.as_deref();
            let syscall = wait.and_then(|wait| wait.syscall);
            let file = wait.and_then(|wait| wait.file.as_ref());
            let mount = file.and_then(|file| layers.mount(file));
            let kind = mount.map(|mount| mount.kind.as_str());
            let what = wait.and_then(|wait| meaning_on(wait, kind).map(|meaning| meaning.words).or(wait.wchan.as_deref()));
            let place = file.map(|file| mount.map_or(file.path.as_str(), |mount| mount.point.as_str()));
            groups.entry(Key { job, what, syscall, place }).or_default().push((task, table.stuck_for(task)));
        }
    }
    let mut groups: Vec<WaitGroup> =
        groups.into_iter().map(|(key, tasks)| group(facts[key.job].id.clone(), &key, tasks, layers, &disk)).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks));
    groups
}

fn group(
    job: JobId,
    key: &Key<'_>,
    mut tasks: Vec<(&Task, Option<Stuck>)>,
    layers: &Layers,
    disk: &impl Fn(&[CompactString]) -> Option<String>,
) -> WaitGroup {
    let seconds = |stuck: &Option<Stuck>| stuck.map_or(-1.0, |stuck| stuck.seconds);
    tasks.sort_by(|a, b| seconds(&b.1).total_cmp(&seconds(&a.1)).then(a.0.id.cmp(&b.0.id)));
    let first = tasks.first().and_then(|(task, _)| task.wait.as_deref());
    let file = first.and_then(|wait| wait.file.as_ref());
    let mount = file.and_then(|file| layers.mount(file));
    let meaning = first.and_then(|wait| meaning_on(wait, mount.map(|mount| mount.kind.as_str())));
    let devices = file.map(|file| layers.devices(file)).unwrap_or_default();
    // One file is named; of many, what they are below.
    let mut paths = tasks.iter().filter_map(|(task, _)| Some(task.wait.as_ref()?.file.as_ref()?.path.as_str()));
    let path = paths.next().map(|first| if paths.all(|path| path == first) { first } else { key.place.unwrap_or(first) });
    let stuck_for = || tasks.iter().filter_map(|(_, stuck)| *stuck);
    let example = |(task, stuck_for): &(&Task, Option<Stuck>)| StuckTask {
        pid: task.pid,
        tid: task.id.tid,
        stuck_for: *stuck_for,
        stack: task.wait.iter().filter_map(|wait| wait.stack.as_ref()).flatten().map(|function| clean(function)).collect(),
    };
    WaitGroup {
        job,
        tasks: tasks.len() as u32,
        syscall: key.syscall.and_then(syscall_name),
        wchan: first.and_then(|wait| wait.wchan.as_deref()).map(clean),
        path: path.map(clean),
        device: disk(&devices),
        devices: devices.iter().map(|name| clean(name)).collect(),
        mount: mount.map(|mount| clean(&mount.point)),
        filesystem: mount.map(|mount| clean(&mount.kind)),
        source: mount.map(|mount| clean(&mount.source)).filter(|source| !source.is_empty()),
        meaning: meaning.map(|meaning| meaning.words.to_owned()),
        resource: meaning.map(|meaning| meaning.resource),
        helps: meaning.map(|meaning| meaning.helps).filter(|helps| !helps.is_empty()),
        longest: stuck_for().reduce(Stuck::longer),
        shortest: stuck_for().map(|stuck| stuck.seconds).reduce(f64::min),
        examples: tasks.iter().take(EXAMPLES).map(example).collect(),
    }
}
