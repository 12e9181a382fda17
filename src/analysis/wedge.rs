//! Processes that block whoever looks at them: a read of their command line does not come back.
//!
//! Reading a command line takes the process's `mmap_lock`. Where that read hangs, one of its tasks, or somebody on its behalf, holds
//! the lock for writing and waits for something else: what that is tells why `ps`, `htop` and `top -c` hang. Pure. Tested by
//! `tests/wedge.rs`.

use crate::analysis::diagnosis::{Resource, Wedged};
use crate::analysis::jobs::Jobs;
use crate::analysis::table::{Entry, Table};
use crate::analysis::waits::{meaning, syscall_name};
use crate::sample::{Gap, Overdue, Sample, TaskState, Wait};
use crate::units::{SECOND, clean};

/// The processes of this sample whose command line does not come, by number; and how many wait behind them to be looked at.
pub fn wedged(table: &Table, jobs: &Jobs, sample: &Sample) -> (Vec<Wedged>, u32) {
    let mut found = Vec::new();
    let mut behind = 0;
    for gap in &sample.gaps {
        let Gap::IdentityOverdue { reads, behind: more } = gap else { continue };
        behind += more;
        found.extend(reads.iter().filter_map(|read| describe(table, jobs, sample, read)));
    }
    (found, behind)
}

fn describe(table: &Table, jobs: &Jobs, sample: &Sample, read: &Overdue) -> Option<Wedged> {
    let entry = table.get(read.id.pid).filter(|entry| entry.process.id == read.id)?;
    let job = jobs.of(read.id);
    let wait = root_wait(entry);
    let wchan = wait.and_then(|wait| wait.wchan.as_deref());
    Some(Wedged {
        id: read.id,
        name: entry.member.name.to_string(),
        job: job.map(|facts| facts.id.clone()),
        syscall: wait.and_then(|wait| wait.syscall).and_then(syscall_name),
        wchan: wchan.map(clean),
        meaning: wait.and_then(meaning).map(|meaning| meaning.words.to_owned()),
        resource: wait.and_then(meaning).map(|meaning| meaning.resource),
        since: sample.since_boot.saturating_sub(read.since) as f64 / SECOND as f64,
    })
}

/// What the process itself waits in. Its tasks wait for each other, too: the one that waits for anything but a lock is where it
/// begins.
fn root_wait(entry: &Entry) -> Option<&Wait> {
    let rank = |wait: &&Wait| match meaning(wait).map(|meaning| meaning.resource) {
        Some(Resource::Lock | Resource::None) => 1,
        Some(_) => 0,
        None if wait.wchan.is_some() => 2,
        None => 3,
    };
    let stuck = entry.tasks.iter().filter(|task| task.state == TaskState::Uninterruptible);
    stuck.filter_map(|task| task.wait.as_deref()).min_by_key(rank)
}

/// What they are waiting for where it is something that can be short, as far as any of them tells.
pub fn resource(wedged: &[Wedged]) -> Option<Resource> {
    wedged.iter().filter_map(|wedged| wedged.resource).find(|resource| !matches!(resource, Resource::Lock | Resource::None))
}

/// `site-worker 4711 blocks whoever looks at it (mmap_lock held); it waits for a frozen filesystem: ps, htop and top -c hang here`.
/// `None`: there is none.
pub fn words(wedged: &[Wedged], behind: u32) -> Option<String> {
    let first = wedged.iter().find(|wedged| wedged.meaning.is_some()).or_else(|| wedged.first())?;
    let who = format!("{} {}", first.name, first.id.pid);
    let (blocks, it) = match wedged.len() {
        1 => (format!("{who} blocks whoever looks at it (mmap_lock held)"), "it"),
        others => (format!("{who} and {} more block whoever looks at them (mmap_lock held)", others - 1), "the first"),
    };
    let why = first.meaning.as_ref().map(|meaning| format!("; {it} {meaning}")).unwrap_or_default();
    let behind = if behind > 0 { format!("; {behind} more not looked at") } else { String::new() };
    Some(format!("{blocks}{why}: ps, htop and top -c hang here{behind}"))
}
