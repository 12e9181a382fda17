//! Filesystems that do not answer: who froze them, and whose daemon should serve them.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use super::{Totals, is_program};
use crate::analysis::diagnosis::{Job, Kind, Member, WaitGroup};
use crate::analysis::freezes::{Act, acts, is_line};
use crate::sample::TaskState;
use crate::units::{SECOND, span};

/// The next step of a script begins within so many seconds after those who write felt the freeze: it writes out what is dirty first.
const NEXT_STEP: f64 = 2.0;
/// And not before that, but for a moment: somebody has to write for it to be felt.
const FELT_LATE: f64 = 0.5;

/// A freeze command says so much less where it is not known which filesystem is frozen.
const ANY_MOUNT: f64 = 0.8;

/// Somebody who keeps others from a filesystem.
pub struct Found {
    /// The job.
    pub job: usize,
    /// How sure that is, 0 to 1.
    pub sure: f64,
    /// What it is told from.
    pub because: String,
}

/// Who froze the filesystem: whose freeze command lives, was seen to run, or stands in a shell's line; else the one script whose next
/// step began as the filesystem froze.
pub fn freezer(jobs: &[Job], waits: &[&WaitGroup], mount: Option<&str>, victims: &[usize], totals: Totals<'_>) -> Option<Found> {
    let freezes = |member: &Member| {
        acts(&member.command).any(|act| matches!(act, Act::Freeze(point) if mount.is_none_or(|mount| point == mount)))
    };
    let members = || (0..).zip(jobs).flat_map(|(job, facts)| facts.facts.members.iter().map(move |member| (job, member)));
    let mut running = members().filter(|(_, member)| freezes(member));
    // A command for another filesystem is one like this where it is not known which one is frozen.
    let here = |sure: f64| if mount.is_some() { sure } else { sure * ANY_MOUNT };
    if let Some((job, member)) = running.clone().find(|(_, member)| !is_line(&member.command)) {
        let because = format!("{} runs as {}: {}", member.name, member.id.pid, member.command);
        return Some(Found { job, sure: here(0.95), because });
    }
    if let Some(seen) = totals.freezes.last(mount)
        && let Some(job) = jobs.iter().position(|job| job.facts.id == seen.job)
    {
        let ago = totals.instant.since_boot.saturating_sub(seen.at) as f64 / SECOND as f64;
        let because = format!("it ran {}, {} ago", seen.command, span(ago));
        return Some(Found { job, sure: here(0.9), because });
    }
    if let Some((job, member)) = running.next() {
        return Some(Found { job, sure: here(0.8), because: format!("its command line freezes it: {}", member.command) });
    }
    // Nothing names it: a script that sleeps, or works on the snapshot, while it is frozen. Where two may be it, neither is.
    let frozen_for = waits.iter().filter_map(|group| group.longest).reduce(f64::max)?;
    let next_step = |job: &Job| {
        let root = job.facts.root.filter(|root| totals.instant.age(*root) >= frozen_for)?;
        let step = |member: &&std::sync::Arc<Member>| {
            let after = frozen_for - totals.instant.age(member.id);
            member.id != root && (-FELT_LATE..=NEXT_STEP).contains(&after)
        };
        job.facts.members.iter().find(step).cloned()
    };
    let could = |job: &Job| matches!(job.facts.finding.kind, Kind::Backup | Kind::Batch | Kind::Unknown | Kind::Interactive);
    let mut between = (0..jobs.len()).filter(|i| could(&jobs[*i]) && !victims.contains(i));
    let mut between = between.by_ref().filter_map(|i| Some((i, next_step(&jobs[i])?)));
    match (between.next(), between.next()) {
        (Some((job, member)), None) => {
            let because = format!("its {} {} began as the filesystem froze", member.name, member.id.pid);
            Some(Found { job, sure: 0.5, because })
        }
        _ => None,
    }
}

/// The daemon behind a FUSE mount: by its name (`fuse.sshfs` is served by `sshfs`), or by the mount point among its arguments where it
/// stands still.
pub fn silent_daemon(
    jobs: &[Job],
    waits: &[&WaitGroup],
    mount: Option<&str>,
    victims: &[usize],
    totals: Totals<'_>,
) -> Option<Found> {
    let kinds: Vec<&str> =
        waits.iter().filter_map(|group| group.filesystem.as_deref()).filter(|kind| kind.starts_with("fuse")).collect();
    if kinds.is_empty() {
        return None;
    }
    let stopped = |member: &Member| {
        let entry = totals.table.get(member.id.pid).filter(|entry| entry.process.id == member.id);
        entry.is_some_and(|entry| entry.tasks.iter().any(|task| task.state == TaskState::Stopped))
    };
    let score = |member: &Member| {
        let named = kinds.iter().any(|kind| kind.strip_prefix("fuse.") == Some(&member.name));
        let given =
            mount.is_some_and(|mount| member.command.split_whitespace().skip(1).any(|word| word.trim_end_matches('/') == mount));
        let stopped = stopped(member);
        let score = 2 * u8::from(named) + u8::from(given) + u8::from(stopped);
        (score >= 2).then_some((score, stopped))
    };
    let members = (0..jobs.len()).filter(|i| !victims.contains(i) && is_program(&jobs[*i]));
    let members = members.flat_map(|i| jobs[i].facts.members.iter().map(move |member| (i, member)));
    let ((_, stopped), job, member) = members
        .filter_map(|(i, member)| Some((score(member)?, i, member)))
        .max_by_key(|(score, i, _)| (*score, usize::MAX - i))?;
    let state = if stopped { "is stopped" } else { "does not answer" };
    let because = format!("{} {}, which serves it, {state}", member.name, member.id.pid);
    Some(Found { job, sure: if stopped { 0.9 } else { 0.8 }, because })
}
