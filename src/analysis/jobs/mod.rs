//! From processes to jobs: what an operator thinks and acts in.
//!
//! A job is what gets signalled, so a wrong boundary is a wrong kill. [`assign`] draws the boundaries, [`split`] takes a
//! backup out of the service that started it, [`launcher`] knows who starts jobs without being part of them. Here the
//! parts become [`JobFacts`], which are kept for as long as nothing about the job changes.
//!
//! Pure. Tested by `tests/scenarios.rs` on written process trees.

mod assign;
mod kernel;
mod launcher;
mod split;

pub use kernel::subsystem;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::analysis::cgroup::container_of;
use crate::analysis::diagnosis::{Finding, JobFacts, JobId, Kind, Member, Usage};
use crate::analysis::jobs::assign::{Draft, Origin};
use crate::analysis::kind::{self, JobShape, Launcher, OpenFiles, ProcessShape};
use crate::analysis::table::{Entry, Table};
use crate::analysis::window::Recent;
use crate::units::{Nanos, Pid, ProcessId, SECOND, clean};

/// A job at work is judged again this often: an idle agent that begins to copy becomes a backup. Just under the default
/// interval, so that its jitter does not make it two.
const JUDGE_AGAIN: Nanos = SECOND / 10 * 9;

/// The jobs of a host, kept from one sample to the next.
#[derive(Debug, Default)]
pub struct Jobs {
    structure: Option<u64>,
    kept: Vec<Kept>,
    of: HashMap<ProcessId, usize>,
}

#[derive(Debug)]
struct Kept {
    facts: Arc<JobFacts>,
    launcher: Launcher,
    /// When what its processes did lately was last looked at; `None` before the first interval.
    judged: Option<Nanos>,
}

/// The instant of a sample, both ways of telling it.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    /// Wall-clock time.
    pub at: Timestamp,
    /// Time since boot.
    pub since_boot: Nanos,
    /// Unit of start times.
    pub ticks_per_second: u64,
    /// There was a sample before, so what processes did lately is known.
    pub rates: bool,
}

impl Instant {
    /// Seconds since a process started.
    fn age(&self, id: ProcessId) -> f64 {
        let now = self.since_boot as f64 / SECOND as f64;
        (now - id.start as f64 / self.ticks_per_second as f64).max(0.0)
    }

    /// Wall-clock time of a start.
    fn started_at(&self, id: ProcessId) -> Option<Timestamp> {
        let age = SignedDuration::try_from_secs_f64(self.age(id)).ok()?;
        self.at.checked_sub(age).ok()
    }
}

impl Jobs {
    /// Brings the jobs up to date with the table; `recent` is what processes did lately.
    pub fn update(&mut self, table: &Table, recent: &HashMap<ProcessId, Recent>, now: Instant) {
        if self.structure != Some(table.structure()) {
            self.rebuild(&Scene { table, recent, now });
            self.structure = Some(table.structure());
        }
        for kept in &mut self.kept {
            let due = kept.judged.is_none_or(|judged| now.since_boot.saturating_sub(judged) >= JUDGE_AGAIN);
            if due && kept.facts.members.iter().any(|member| recent.contains_key(&member.id)) {
                let finding = judge(&Scene { table, recent, now }, &kept.facts, kept.launcher);
                if finding != kept.facts.finding {
                    kept.facts = Arc::new(JobFacts { finding, ..(*kept.facts).clone() });
                }
                kept.judged = now.rates.then_some(now.since_boot);
            }
        }
    }

    /// Every job.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<JobFacts>> {
        self.kept.iter().map(|kept| &kept.facts)
    }

    /// Where in [`Jobs::iter`] the job of this process stands.
    pub fn index_of(&self, id: ProcessId) -> Option<usize> {
        self.of.get(&id).copied()
    }

    fn rebuild(&mut self, scene: &Scene) {
        let table = scene.table;
        let previous: HashMap<ProcessId, &JobId> = self.of.iter().map(|(id, &job)| (*id, &self.kept[job].facts.id)).collect();
        let drafts = split::split(scene, assign::assign(table, &previous));
        let mut old: HashMap<JobId, Kept> =
            std::mem::take(&mut self.kept).into_iter().map(|kept| (kept.facts.id.clone(), kept)).collect();
        self.of.clear();
        for draft in drafts {
            let kept = old.remove(&draft.id);
            let kept = keep_or_make(scene, &draft, kept.as_ref());
            for member in &kept.facts.members {
                self.of.insert(member.id, self.kept.len());
            }
            self.kept.push(kept);
        }
    }
}

fn keep_or_make(scene: &Scene, draft: &Draft, old: Option<&Kept>) -> Kept {
    let Scene { table, now, .. } = *scene;
    let members: Vec<Arc<Member>> =
        draft.members.iter().filter_map(|pid| table.get(*pid)).map(|entry| Arc::clone(&entry.member)).collect();
    if let Some(old) = old
        && old.facts.members.len() == members.len()
        && old.facts.members.iter().zip(&members).all(|(old, new)| Arc::ptr_eq(old, new))
    {
        return Kept { facts: Arc::clone(&old.facts), ..*old };
    }
    let root = draft.root.and_then(|pid| table.get(pid));
    let (mut launcher, mut launched_by) = root.map_or((Launcher::Unknown, None), |root| lineage(table, root, &draft.origin));
    if let Some(old) = old
        && launched_by.is_none()
    {
        // Its starter has gone, and was known.
        (launcher, launched_by) = (old.launcher, old.facts.launched_by.clone());
    }
    let short = |id: &str| clean(&id.chars().take(12).collect::<String>());
    let (unit, container) = match &draft.origin {
        Origin::Unit(path) => (Some(clean(base_of(path))), container_of(path).map(short)),
        Origin::Container(id) => (None, Some(short(id))),
        Origin::Tree | Origin::Kernel(_) => (None, None),
    };
    let name = match (&draft.origin, root) {
        (Origin::Unit(path), _) => clean(base_of(path).trim_end_matches(".service")),
        (Origin::Kernel(subsystem), _) => format!("kernel: {subsystem}"),
        (_, Some(root)) => root.member.name.to_string(),
        (_, None) => draft.id.to_string(),
    };
    let mut facts = JobFacts {
        id: draft.id.clone(),
        name,
        finding: unjudged(),
        launched_by,
        unit,
        container,
        user: root.and_then(|root| root.member.user.as_deref().map(str::to_owned)),
        root: root.map(|root| root.process.id),
        started_at: root.and_then(|root| now.started_at(root.process.id)),
        members,
    };
    facts.finding = match draft.origin {
        Origin::Kernel(_) => Finding { kind: Kind::Kernel, confidence: 1.0, ..unjudged() },
        _ => judge(scene, &facts, launcher),
    };
    Kept { facts: Arc::new(facts), launcher, judged: now.rates.then_some(now.since_boot) }
}

/// `nginx.service` of `/system.slice/nginx.service`.
fn base_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn unjudged() -> Finding {
    Finding { kind: Kind::Unknown, tool: None, confidence: 0.0, evidence: Vec::new(), consequence: None, better_signal: None }
}

/// Who started the root: what kind of launcher, and in words.
fn lineage(table: &Table, root: &Entry, origin: &Origin) -> (Launcher, Option<String>) {
    match origin {
        Origin::Unit(_) => return (Launcher::ServiceManager, Some("the service manager".to_owned())),
        Origin::Container(_) => return (Launcher::ContainerEngine, Some("the container engine".to_owned())),
        Origin::Tree | Origin::Kernel(_) => {}
    }
    let parent = table.get(root.process.parent);
    let Some(parent) = parent.filter(|parent| parent.process.id.pid != 1 && !parent.process.kernel_thread) else {
        return (Launcher::Unknown, None);
    };
    let mut ancestor = Some(parent);
    let mut kind = Launcher::Unknown;
    let mut climbed = 0;
    while let Some(entry) = ancestor.filter(|entry| entry.process.id.pid != 1 && climbed < assign::DEEPEST) {
        if let Some(found) = launcher::launcher(entry) {
            // Set apart from the shell's session, as cron would run it: nobody sits in front of it.
            let by_hand = root.process.session == entry.process.session;
            kind = if found == Launcher::Shell && !by_hand { Launcher::Unknown } else { found };
            break;
        }
        ancestor = table.get(entry.process.parent);
        climbed += 1;
    }
    (kind, Some(launcher::describe(parent)))
}

/// What kind of work the job is.
fn judge(scene: &Scene, facts: &JobFacts, launcher: Launcher) -> Finding {
    if facts.finding.kind == Kind::Kernel {
        return facts.finding.clone();
    }
    let processes = scene.shapes(facts.members.iter().map(|member| member.id.pid));
    kind::judge(&JobShape { processes, unit: facts.unit.as_deref(), container: facts.container.as_deref(), launcher })
}

/// All that jobs are made from.
struct Scene<'a> {
    table: &'a Table,
    recent: &'a HashMap<ProcessId, Recent>,
    now: Instant,
}

impl Scene<'_> {
    /// These processes as the recogniser sees them.
    fn shapes(&self, pids: impl Iterator<Item = Pid>) -> Vec<ProcessShape<'_>> {
        pids.filter_map(|pid| self.table.get(pid))
            .map(|entry| {
                let id = entry.process.id;
                let usage = self.recent.get(&id).map(|recent| recent.usage);
                // Not in the map: it slept, which is known only once there are rates.
                let recent = usage.and_then(|usage| {
                    let Usage { read_bytes, write_bytes, .. } = usage;
                    Some(kind::Recent { cpu_cores: usage.cpu_cores?, read_bytes, write_bytes, waiting: usage.waiting() })
                });
                ProcessShape { age: self.now.age(id), recent, ..shape(entry) }
            })
            .collect()
    }
}

/// A process as the recogniser sees it, but for what only time tells: its age and what it did lately.
pub fn shape(entry: &Entry) -> ProcessShape<'_> {
    let identity = entry.identity.as_ref();
    ProcessShape {
        id: entry.process.id,
        parent: entry.process.parent,
        group: entry.process.group,
        comm: &entry.process.comm,
        argv: identity.map(|identity| identity.argv.as_slice()).unwrap_or_default(),
        exe: identity.and_then(|identity| identity.exe.as_deref()),
        user: identity.and_then(|identity| identity.user.as_deref()),
        on_terminal: entry.process.tty != 0,
        age: 0.0,
        cpu_seconds: entry.tasks.iter().map(|task| task.cpu).sum::<Nanos>() as f64 / SECOND as f64,
        io: entry.process.io,
        recent: None,
        files: OpenFiles::default(),
    }
}

/// Orders a job's processes: root first, each parent before its children, the rest by age.
fn in_tree_order(table: &Table, root: Option<Pid>, mut members: Vec<Pid>) -> Vec<Pid> {
    members.sort_by_key(|pid| table.get(*pid).map(|entry| entry.process.id.start).unwrap_or_default());
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let present: std::collections::HashSet<Pid> = members.iter().copied().collect();
    let mut tops: Vec<Pid> = Vec::new();
    for &pid in &members {
        let parent = table.get(pid).map(|entry| entry.process.parent).unwrap_or_default();
        if Some(pid) == root || !present.contains(&parent) {
            tops.push(pid);
        } else {
            children.entry(parent).or_default().push(pid);
        }
    }
    tops.sort_by_key(|pid| Some(*pid) != root);
    let mut ordered = Vec::with_capacity(members.len());
    let mut stack: Vec<Pid> = tops.into_iter().rev().collect();
    while let Some(pid) = stack.pop() {
        ordered.push(pid);
        if let Some(below) = children.remove(&pid) {
            stack.extend(below.into_iter().rev());
        }
    }
    ordered
}
