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

/// Who froze the filesystem: whose command did it, as far as one is seen or was; else the one script whose next step began just then.
pub fn freezer(jobs: &[Job], waits: &[&WaitGroup], mount: Option<&str>, victims: &[usize], totals: Totals<'_>) -> Option<Found> {
    by_command(jobs, mount, totals).or_else(|| by_next_step(jobs, waits, victims, totals))
}

/// Whose freeze command lives, was seen to run, or stands in the line of a shell.
fn by_command(jobs: &[Job], mount: Option<&str>, totals: Totals<'_>) -> Option<Found> {
    let freezes = |member: &Member| {
        acts(&member.command).any(|act| matches!(act, Act::Freeze(point) if mount.is_none_or(|mount| point == mount)))
    };
    let members = || (0..).zip(jobs).flat_map(|(at, job)| job.facts.members.iter().map(move |member| (at, member)));
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
    let (job, member) = running.next()?;
    Some(Found { job, sure: here(0.8), because: format!("its command line freezes it: {}", member.command) })
}

/// Nothing names it: a script that sleeps, or works on the snapshot, while it is frozen. Where two may be it, neither is.
fn by_next_step(jobs: &[Job], waits: &[&WaitGroup], victims: &[usize], totals: Totals<'_>) -> Option<Found> {
    let frozen_for = WaitGroup::longest(waits.iter().copied())?.seconds;
    let age = |member: &Member| totals.instant.age(member.id);
    let next_step = |job: &Job| {
        let root = job.facts.root_member().filter(|root| age(root) >= frozen_for)?;
        let steps = job.facts.members.iter().filter(|member| member.id != root.id);
        steps.map(|member| &**member).find(|member| (-FELT_LATE..=NEXT_STEP).contains(&(frozen_for - age(member)))).cloned()
    };
    let may_be = |i: &usize| {
        let kind = jobs[*i].facts.finding.kind;
        matches!(kind, Kind::Backup | Kind::Batch | Kind::Unknown | Kind::Interactive) && !victims.contains(i)
    };
    let mut found = (0..jobs.len()).filter(may_be).filter_map(|i| Some((i, next_step(&jobs[i])?)));
    let (job, member): (usize, Member) = found.next()?;
    let because = format!("its {} {} began as the filesystem froze", member.name, member.id.pid);
    found.next().is_none().then_some(Found { job, sure: 0.5, because })
}

/// The daemon behind a FUSE mount: by its name (`fuse.sshfs` is served by `sshfs`), or by the mount point among its arguments where it
/// stands still. `silent`: somebody has waited for it for long; until then only one that is stopped serves nobody.
pub fn silent_daemon(
    jobs: &[Job],
    waits: &[&WaitGroup],
    mount: Option<&str>,
    victims: &[usize],
    silent: bool,
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
        (score >= 2 && (silent || stopped)).then_some((score, stopped))
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
