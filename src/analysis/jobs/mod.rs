//! From processes to jobs: what an operator thinks and acts in.
//!
//! A job is what gets signalled, so a wrong boundary is a wrong kill. [`standing`] is what a process's own facts say, [`assign`] draws
//! the boundaries, [`split`] takes a backup out of the service that started it, [`join`] adds what it runs in
//! containers, [`carried`] finds what works for it and is not to be hit, [`launcher`] knows who starts jobs without being part of them, [`gist`] is what of a large job is judged. Here the parts become [`JobFacts`], which are kept for as long as nothing about the
//! job changes.
//!
//! Pure. Tested by `tests/scenarios.rs` on written process trees.

mod assign;
mod carried;
mod gist;
mod join;
mod kernel;
mod launcher;
mod split;
mod standing;

pub use kernel::subsystem;
pub use standing::Standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustc_hash::FxHashMap;

use crate::analysis::cgroup::container_of;
use crate::analysis::diagnosis::{Advice, Finding, JobFacts, JobId, Kind, Member, Usage};
use crate::analysis::jobs::assign::{Draft, Key};
use crate::analysis::jobs::gist::Gist;
use crate::analysis::jobs::standing::Origin;
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
    /// Job and place among its members.
    of: FxHashMap<ProcessId, (usize, usize)>,
    /// The job that a process works for, where that is not its own.
    carried_by: FxHashMap<ProcessId, usize>,
    ended: Vec<Arc<JobFacts>>,
    /// Units that a timer starts.
    timed: HashSet<String>,
}

#[derive(Debug)]
struct Kept {
    facts: Arc<JobFacts>,
    /// What its processes were grouped by. `None`: it was cut out of such a group.
    key: Option<Key>,
    launcher: Launcher,
    gist: Gist,
    io: IoSeen,
    /// When what its processes did lately was last looked at; `None` before the first interval.
    judged: Option<Nanos>,
}

/// Of how many of a job's processes the I/O may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoSeen {
    /// Of all.
    Everything,
    /// Of some.
    Partly,
    /// Of none.
    Nothing,
}

impl IoSeen {
    fn of<'a>(mut entries: impl Iterator<Item = &'a Entry>) -> Self {
        let Some(first) = entries.next().map(|entry| entry.process.hides_io()) else { return Self::Everything };
        match (entries.all(|entry| entry.process.hides_io() == first), first) {
            (true, false) => Self::Everything,
            (true, true) => Self::Nothing,
            (false, _) => Self::Partly,
        }
    }
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
    pub fn age(&self, id: ProcessId) -> f64 {
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
    /// No jobs yet, on a host where a timer starts these units.
    pub fn timing(timed: HashSet<String>) -> Self {
        Self { timed, ..Self::default() }
    }

    /// Brings the jobs up to date with the table; `recent` is what processes did lately.
    pub fn update(&mut self, table: &Table, recent: &HashMap<ProcessId, Recent>, now: Instant) {
        let timed = std::mem::take(&mut self.timed);
        let scene = Scene { table, recent, now, timed: &timed };
        if self.structure != Some(table.structure()) {
            self.rebuild(&scene);
            self.structure = Some(table.structure());
        }
        let mut active: HashMap<usize, Vec<usize>> = HashMap::new();
        for (job, at) in recent.keys().filter_map(|id| self.of.get(id)) {
            active.entry(*job).or_default().push(*at);
        }
        for (job, active) in active {
            let Some(kept) = self.kept.get_mut(job) else { continue };
            if kept.judged.is_none_or(|judged| now.since_boot.saturating_sub(judged) >= JUDGE_AGAIN) {
                let finding = judge(&scene, &kept.facts, kept.launcher, &kept.gist, active);
                if finding != kept.facts.finding {
                    kept.facts = Arc::new(JobFacts { finding, ..(*kept.facts).clone() });
                }
                kept.judged = now.rates.then_some(now.since_boot);
            }
        }
        self.timed = timed;
    }

    /// The jobs that have ended since this was asked last.
    pub fn take_ended(&mut self) -> Vec<Arc<JobFacts>> {
        std::mem::take(&mut self.ended)
    }

    /// Every job, and how much of its I/O may be seen.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<JobFacts>, IoSeen)> {
        self.kept.iter().map(|kept| (&kept.facts, kept.io))
    }

    /// The job of this process.
    pub fn of(&self, id: ProcessId) -> Option<&Arc<JobFacts>> {
        self.kept.get(self.index_of(id)?).map(|kept| &kept.facts)
    }

    /// Where in [`Jobs::iter`] the job that this process works for stands: its own, but for what another job carries.
    pub fn index_of(&self, id: ProcessId) -> Option<usize> {
        self.carried_by.get(&id).copied().or_else(|| self.home_of(id))
    }

    /// Where in [`Jobs::iter`] the job stands that this process is a member of.
    pub fn home_of(&self, id: ProcessId) -> Option<usize> {
        self.of.get(&id).map(|(job, _)| *job)
    }

    /// Puts the processes together anew. With each process that comes or goes it is asked about all of them, and nearly all stay where
    /// they were: those jobs are handed on as they are.
    fn rebuild(&mut self, scene: &Scene) {
        let groups = assign::groups(scene.table);
        let clients = carried::clients(scene.table, scene.now.ticks_per_second);
        let old = std::mem::take(&mut self.kept);
        let ids: Vec<JobId> = old.iter().map(|kept| kept.facts.id.clone()).collect();
        let place = |id: ProcessId| self.of.get(&id).copied();
        let mut changed: Vec<(Key, Vec<Pid>)> = Vec::new();
        let mut same: Vec<usize> = Vec::new();
        // With a client about, what it started in a container may have to be given to it.
        let executes = scene.table.iter().any(Entry::executes_elsewhere);
        for (key, members) in groups {
            let apart = executes && matches!(key, Key::Named(Origin::Container(_)));
            match unchanged(scene.table, &old, place, &key, &members).filter(|_| !apart) {
                Some(job) => same.push(job),
                None => changed.push((key, members)),
            }
        }
        changed.sort_unstable();
        let taken: HashSet<JobId> = same.iter().map(|job| ids[*job].clone()).collect();
        let previous = |id: ProcessId| place(id).and_then(|(job, _)| ids.get(job));
        let drafts = split::split(scene, assign::drafts(scene.table, changed, previous, taken.clone()), &clients);
        let mut drafts = join::join(scene, drafts);
        let mut names = taken;
        for draft in &mut drafts {
            while !names.insert(draft.id.clone()) {
                draft.id = draft.id.again();
            }
        }

        let mut old: Vec<Option<Kept>> = old.into_iter().map(Some).collect();
        same.sort_unstable();
        self.kept.extend(same.into_iter().filter_map(|job| old[job].take()));
        for kept in &mut self.kept {
            // The one thing about its processes that may change without the job.
            kept.io = IoSeen::of(kept.facts.members.iter().filter_map(|member| scene.table.get(member.id.pid)));
        }
        let mut old: HashMap<JobId, Kept> = old.into_iter().flatten().map(|kept| (kept.facts.id.clone(), kept)).collect();
        self.kept.extend(drafts.into_iter().map(|draft| {
            let known = old.remove(&draft.id);
            keep_or_make(scene, draft, known.as_ref())
        }));
        let lives = |root: ProcessId| scene.table.get(root.pid).is_some_and(|entry| entry.process.id == root);
        let ended = old.into_values().filter(|kept| kept.facts.root.is_some_and(|root| !lives(root)));
        self.ended.extend(ended.map(|kept| kept.facts));
        self.of.clear();
        for (job, kept) in self.kept.iter().enumerate() {
            self.of.extend(kept.facts.members.iter().enumerate().map(|(at, member)| (member.id, (job, at))));
        }
        self.carry(scene.table, clients);
    }

    /// Gives each job what works for it.
    fn carry(&mut self, table: &Table, clients: FxHashMap<ProcessId, Pid>) {
        self.carried_by.clear();
        for (id, client) in clients {
            let Some(job) = table.get(client).and_then(|client| self.home_of(client.process.id)) else { continue };
            if self.home_of(id) != Some(job) {
                self.carried_by.insert(id, job);
            }
        }
        let mut carried: HashMap<usize, Vec<Arc<Member>>> = HashMap::new();
        for (id, job) in &self.carried_by {
            carried.entry(*job).or_default().extend(table.get(id.pid).map(|entry| Arc::clone(&entry.member)));
        }
        for (job, kept) in self.kept.iter_mut().enumerate() {
            let mut carried = carried.remove(&job).unwrap_or_default();
            carried.sort_unstable_by_key(|member| member.id);
            if carried != kept.facts.carried {
                kept.facts = Arc::new(JobFacts { carried, ..(*kept.facts).clone() });
            }
        }
    }
}

/// The job that this group was, if nothing about it changed.
fn unchanged(
    table: &Table,
    old: &[Kept],
    place: impl Fn(ProcessId) -> Option<(usize, usize)>,
    key: &Key,
    members: &[Pid],
) -> Option<usize> {
    let entry = |pid: &Pid| table.get(*pid);
    let (job, _) = place(entry(members.first()?)?.process.id)?;
    let kept = old.get(job).filter(|kept| kept.key.as_ref() == Some(key) && kept.facts.members.len() == members.len())?;
    let root = kept.facts.root.and_then(|root| table.get(root.pid));
    let kept = Some(kept).filter(|kept| kept.facts.cgroup.as_deref() == root.and_then(Entry::cgroup))?;
    let stays = |pid: &Pid| {
        // Where a backup may begin inside a job depends on what it does: that is looked at each time.
        let entry = entry(pid).filter(|entry| members.len() == 1 || !split::is_strong(entry))?;
        // And what it may have started in a container is looked for among all.
        let entry = Some(entry).filter(|entry| !entry.executes_elsewhere())?;
        let (_, at) = place(entry.process.id).filter(|place| place.0 == job)?;
        Arc::ptr_eq(&kept.facts.members[at], &entry.member).then_some(())
    };
    members.iter().all(|pid| stays(pid).is_some()).then_some(job)
}

fn keep_or_make(scene: &Scene, draft: Draft, old: Option<&Kept>) -> Kept {
    let Scene { table, now, .. } = *scene;
    let members: Vec<Arc<Member>> =
        draft.members.iter().filter_map(|pid| table.get(*pid)).map(|entry| Arc::clone(&entry.member)).collect();
    let gist = Gist::of(table, &draft.members);
    let io = IoSeen::of(draft.members.iter().filter_map(|pid| table.get(*pid)));
    let root = draft.root.and_then(|pid| table.get(pid));
    let cgroup = root.and_then(Entry::cgroup);
    if let Some(old) = old
        && old.facts.root.map(|root| root.pid) == draft.root
        && old.facts.cgroup.as_deref() == cgroup
        && old.facts.members.len() == members.len()
        && old.facts.members.iter().zip(&members).all(|(old, new)| Arc::ptr_eq(old, new))
    {
        return Kept { facts: Arc::clone(&old.facts), key: draft.key, gist, io, ..*old };
    }
    let (mut launcher, mut launched_by) = root.map_or((Launcher::Unknown, None), |root| lineage(scene, root, draft.origin()));
    if let Some(old) = old
        && launched_by.is_none()
    {
        // Its starter has gone, and was known.
        (launcher, launched_by) = (old.launcher, old.facts.launched_by.clone());
    }
    let short = |id: &str| clean(&id.chars().take(12).collect::<String>());
    let (unit, container) = match draft.origin() {
        Some(Origin::Unit(path)) => (Some(clean(base_of(path))), container_of(path).map(short)),
        Some(Origin::Container(id)) => (None, Some(short(id))),
        Some(Origin::Kernel(_)) => (None, None),
        // A part that was cut out of a container still runs in there.
        None => (None, cgroup.and_then(container_of).map(short)),
    };
    let name = match (draft.origin(), root) {
        (Some(Origin::Unit(path)), _) => clean(base_of(path).trim_end_matches(".service")),
        (Some(Origin::Kernel(subsystem)), _) => format!("kernel: {subsystem}"),
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
        cgroup: cgroup.map(str::to_owned),
        user: root.and_then(|root| root.member.user.as_deref().map(str::to_owned)),
        root: root.map(|root| root.process.id),
        started_at: root.and_then(|root| now.started_at(root.process.id)),
        members,
        carried: Vec::new(),
    };
    facts.finding = if let Some(Origin::Kernel(subsystem)) = draft.origin() {
        let (work, advice) = kernel::work(subsystem).map(|(work, advice)| (work.to_owned(), advice)).unzip();
        Finding { kind: Kind::Kernel, confidence: 1.0, work, advice: advice.unwrap_or_default(), ..unjudged() }
    } else {
        let active = (0..).zip(&facts.members).filter(|(_, member)| scene.recent.contains_key(&member.id)).map(|(at, _)| at);
        judge(scene, &facts, launcher, &gist, active.collect())
    };
    Kept { facts: Arc::new(facts), key: draft.key, launcher, gist, io, judged: now.rates.then_some(now.since_boot) }
}

/// `nginx.service` of `/system.slice/nginx.service`.
fn base_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn unjudged() -> Finding {
    Finding { kind: Kind::Unknown, tool: None, work: None, confidence: 0.0, evidence: Vec::new(), advice: Advice::default() }
}

/// Seconds after which what a timer started is no run of its work but a service that it keeps alive.
const RUN: f64 = 86_400.0;

/// Who started the root: what kind of launcher, and in words.
fn lineage(scene: &Scene, root: &Entry, origin: Option<&Origin>) -> (Launcher, Option<String>) {
    let table = scene.table;
    match origin {
        Some(Origin::Unit(path)) if scene.timed.contains(base_of(path)) && scene.now.age(root.process.id) < RUN => {
            return (Launcher::Timer, Some("the service manager (it has a timer)".to_owned()));
        }
        Some(Origin::Unit(_)) => return (Launcher::ServiceManager, Some("the service manager".to_owned())),
        Some(Origin::Container(_)) => return (Launcher::ContainerEngine, Some("the container engine".to_owned())),
        Some(Origin::Kernel(_)) | None => {}
    }
    let parent = table.get(root.process.parent);
    let Some(parent) = parent.filter(|parent| parent.process.id.pid != 1 && !parent.process.kernel_thread) else {
        return (Launcher::Unknown, None);
    };
    let mut ancestor = Some(parent);
    let mut kind = Launcher::Unknown;
    let mut climbed = 0;
    while let Some(entry) = ancestor.filter(|entry| entry.process.id.pid != 1 && climbed < assign::DEEPEST) {
        if let Some(found) = entry.standing.launcher {
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

/// What kind of work the job is, by its gist and the processes that did something lately.
fn judge(scene: &Scene, facts: &JobFacts, launcher: Launcher, gist: &Gist, active: Vec<usize>) -> Finding {
    if facts.finding.kind == Kind::Kernel {
        return facts.finding.clone();
    }
    let processes = scene.shapes(gist, &gist.with(active), |at| Some(facts.members.get(at)?.id.pid));
    let shape = JobShape { processes, unit: facts.unit.as_deref(), container: facts.container.as_deref(), launcher };
    kind::judge(&shape, scene.table.catalogue())
}

/// All that jobs are made from.
struct Scene<'a> {
    table: &'a Table,
    recent: &'a HashMap<ProcessId, Recent>,
    now: Instant,
    timed: &'a HashSet<String>,
}

impl Scene<'_> {
    /// The processes in these places of a job as the recogniser sees them.
    fn shapes(&self, gist: &Gist, places: &[usize], pid: impl Fn(usize) -> Option<Pid>) -> Vec<ProcessShape<'_>> {
        let entries = places.iter().filter_map(|at| Some((*at, self.table.get(pid(*at)?)?)));
        entries
            .map(|(at, entry)| {
                let id = entry.process.id;
                let usage = self.recent.get(&id).map(|recent| recent.usage);
                // Not in the map: it slept, which is known only once there are rates.
                let recent = usage.and_then(|usage| {
                    let Usage { read_bytes, write_bytes, .. } = usage;
                    Some(kind::Recent { cpu_cores: usage.cpu_cores?, read_bytes, write_bytes, waiting: usage.waiting() })
                });
                ProcessShape { age: self.now.age(id), leaf: gist.is_leaf(at), recent, ..shape(entry) }
            })
            .collect()
    }
}

/// A process as the recogniser sees it, but for what its job and time tell: children, age, and what it did lately.
pub fn shape(entry: &Entry) -> ProcessShape<'_> {
    let identity = entry.identity.as_ref();
    ProcessShape {
        id: entry.process.id,
        parent: entry.process.parent,
        group: entry.process.group,
        leaf: false,
        comm: &entry.process.comm,
        argv: identity.map(|identity| identity.argv.as_slice()).unwrap_or_default(),
        exe: identity.and_then(|identity| identity.exe.as_deref()),
        user: identity.and_then(|identity| identity.user.as_deref()),
        on_terminal: entry.process.tty != 0,
        nice: entry.process.nice,
        age: 0.0,
        cpu_seconds: entry.tasks.iter().map(|task| task.cpu as f64).sum::<f64>() / SECOND as f64,
        io: entry.process.io,
        recent: None,
        files: entry
            .files
            .as_ref()
            .map(|files| OpenFiles {
                reading: &files.reading,
                writing: &files.writing,
                away: &files.away,
                growing: &files.growing,
            })
            .unwrap_or_default(),
    }
}

/// Orders a job's processes: root first, each parent before its children, the rest by age.
fn in_tree_order(table: &Table, root: Option<Pid>, mut members: Vec<Pid>) -> Vec<Pid> {
    members.sort_by_key(|pid| (table.get(*pid).map(|entry| entry.process.id.start).unwrap_or_default(), *pid));
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    let present: HashSet<Pid> = members.iter().copied().collect();
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
    if ordered.len() < members.len() {
        // Their parents are each other's children, as only a tree written by hand has them.
        let reached: HashSet<Pid> = ordered.iter().copied().collect();
        ordered.extend(members.into_iter().filter(|pid| !reached.contains(pid)));
    }
    ordered
}
