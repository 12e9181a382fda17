//! A job of the diagnosis in the words of an action: who would be hit, and what the screen knows that an action must heed.
//!
//! Pure. The screen and the headless commands aim with what comes from here. Tested by `tests/words.rs` and `tests/loop.rs`.

use std::collections::HashSet;

use crate::action::{Candidate, Disk, Frozen, Subject};
use crate::analysis::diagnosis::{Diagnosis, Job, JobId, Kind, Member, Resource, Role};
use crate::sample::Gap;
use crate::units::ProcessId;

/// The job as a subject. `survivors`: those of it that outlived an action; they may bear other names by now and are still meant.
/// Without any process left it has no candidates.
pub fn of(diagnosis: &Diagnosis, id: &JobId, name: &str, survivors: &[ProcessId]) -> Subject {
    let job = diagnosis.job(id);
    let mut candidates: Vec<Candidate> = Vec::new();
    if let Some(job) = job {
        candidates.extend(job.facts.root_member().map(|member| candidate(member)));
        let rest = job.facts.members.iter().filter(|member| Some(member.id) != job.facts.root);
        candidates.extend(rest.map(|member| candidate(member)));
    }
    let known: HashSet<ProcessId> = candidates.iter().map(|candidate| candidate.id).collect();
    let members = diagnosis.jobs.iter().flat_map(|job| &job.facts.members);
    let elsewhere = members.filter(|member| survivors.contains(&member.id) && !known.contains(&member.id));
    candidates.extend(elsewhere.map(|member| candidate(member)));
    // To check one whose state cannot be read would hold up the screen as it held up the reader.
    let shunned = |pid| diagnosis.gaps.iter().any(|gap| matches!(gap, Gap::Shunned { pids } if pids.contains(&pid)));
    candidates.retain(|candidate| !shunned(candidate.id.pid));
    Subject {
        job: id.to_string(),
        name: name.to_owned(),
        candidates,
        seen: diagnosis.since_boot,
        unit: job.and_then(|job| job.facts.unit.clone()),
        launched_by: job.and_then(|job| job.facts.launched_by.clone()),
        is_victim: job.is_some_and(|job| job.role == Role::Victim),
        ends_by_itself: job.is_some_and(|job| matches!(job.facts.finding.kind, Kind::Backup | Kind::Batch)),
        disks: job.and_then(|job| disks(job, diagnosis)),
        cpu_rivals: cpu_rivals(diagnosis),
        frozen: frozen(diagnosis, Some(id)),
        holds: job.and_then(|job| job.facts.finding.advice.holds.clone()),
    }
}

fn candidate(member: &Member) -> Candidate {
    Candidate {
        id: member.id,
        name: member.name.to_string(),
        command: member.command.clone(),
        user: member.user.as_ref().map(ToString::to_string),
        kernel_thread: member.kernel_thread,
    }
}

fn disks(job: &Job, diagnosis: &Diagnosis) -> Option<Vec<Disk>> {
    let names = job.disks.as_ref()?;
    let of = |name: &str| diagnosis.disks.iter().find(|disk| disk.name == name);
    // What is stacked on disks has no queue of its own: only those with counters count.
    let disks = names.iter().filter_map(|name| of(name));
    Some(disks.map(|disk| Disk { name: disk.name.clone(), scheduler: disk.scheduler.clone() }).collect())
}

/// Where the units are that wait for a CPU: `/system.slice/shop.service`.
fn cpu_rivals(diagnosis: &Diagnosis) -> Vec<String> {
    let short = diagnosis.verdict.contentions().filter(|short| short.resource == Resource::Cpu);
    short.flat_map(|short| &short.victims).filter_map(|id| id.as_str().strip_prefix("unit:")).map(str::to_owned).collect()
}

/// Filesystems that somebody waits for because they are frozen. `id`: the job that may have done it.
pub fn frozen(diagnosis: &Diagnosis, id: Option<&JobId>) -> Frozen {
    let waits = diagnosis.waits.iter().filter(|wait| wait.resource == Some(Resource::FrozenFilesystem));
    let mut mounts: Vec<String> = waits.clone().filter_map(|wait| wait.mount.clone()).collect();
    mounts.sort();
    mounts.dedup();
    let elsewhere = waits.into_iter().any(|wait| wait.mount.is_none());
    Frozen { mounts, elsewhere, by_it: id.is_some_and(|id| froze(diagnosis, id)) }
}

fn froze(diagnosis: &Diagnosis, id: &JobId) -> bool {
    let mut contentions = diagnosis.verdict.contentions();
    contentions.any(|short| short.resource == Resource::FrozenFilesystem && short.culprit.as_ref() == Some(id))
}
