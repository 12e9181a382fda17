//! Blame: joins those who wait with those who take, and says it in one sentence.
//!
//! Pure. Two shapes of contention are told: tasks runnable without a CPU, and tasks stuck in uninterruptible sleep while
//! somebody keeps the disk busy. Every threshold is a constant here, and `tests/scenarios.rs` pins it.

use crate::analysis::diagnosis::{DiskUse, Job, JobId, Kind, Resource, Role, Severity, Verdict, WaitGroup, Wedged};
use crate::analysis::{waits, wedge};
use crate::sample::Pressure;
use crate::units::{count, rate};

/// From this many waiting tasks on (an average over the window) it is contention. One or two tasks wait on any host that works.
const CONTENTION_TASKS: f64 = 2.0;
/// From this many on it is worth a look.
const WATCH_TASKS: f64 = 0.7;
/// A job waits for a CPU when its tasks lose this much to waiting: seconds per second.
const CPU_VICTIM_WAIT: f64 = 0.2;
/// A job waits in uninterruptible sleep when it has this many such tasks on average.
const STUCK_VICTIM_TASKS: f64 = 0.5;
/// CPUs are short only when nearly all of them are busy; below that, run delay is the scheduler's own doing.
const CPU_BUSY_SHARE: f64 = 0.85;
/// Whoever takes less than this share of a resource is not what makes others wait for it.
const CULPRIT_SHARE: f64 = 0.2;
/// A backup need not take most of a CPU to be the one to go: it shares fairly with the service it robs.
const CPU_CULPRIT_SHARE: f64 = 0.15;
/// Nor is whoever takes much less than the largest taker, however easily it could be spared: ending it frees too little.
const CULPRIT_OF_LARGEST: f64 = 0.4;
/// Disk traffic below this is no reason for anybody to wait, in bytes per second: a slow disk does ten times as much.
pub const DISK_NOISE: f64 = 200_000.0;

/// A backup that uses this many CPUs is at work, even if its I/O is hidden.
const AT_WORK_CORES: f64 = 0.02;

/// How sure it is that a process whose command line does not come holds its `mmap_lock`.
const WEDGED_SURE: f64 = 0.8;

/// What stands in the way of whom counts by what can be done about it: ending a backup costs nobody a page, ending the
/// service is the outage itself.
const fn blame_weight(kind: Kind) -> f64 {
    match kind {
        Kind::Backup => 3.0,
        Kind::Batch => 2.0,
        Kind::Unknown | Kind::Interactive => 1.0,
        Kind::Service => 0.6,
        Kind::Kernel => 0.3,
    }
}

/// What the host as a whole says, beside its jobs.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// Online CPUs.
    pub cpus: f64,
    /// CPUs in use. `None` before the second sample.
    pub cpu_busy: Option<f64>,
    /// I/O bytes of some processes are hidden, for want of rights.
    pub io_hidden: bool,
    /// Some disk is busy, or tasks wait for I/O; or neither can be told.
    pub disk_pressed: bool,
}

/// A disk with requests in flight for less than this share of the time keeps nobody waiting.
const DISK_BUSY: f64 = 0.2;
/// Nor does anybody wait when I/O held somebody up for less than this part of the last ten seconds, in percent.
const IO_PRESSURE: f64 = 5.0;

/// Whether disks could be what anybody waits for.
pub fn disk_pressed(disks: &[DiskUse], pressure: Option<Pressure>) -> bool {
    let busy = disks.iter().any(|disk| disk.util >= DISK_BUSY);
    busy || pressure.map_or(disks.is_empty(), |pressure| pressure.io_some10 >= IO_PRESSURE)
}

/// Judges the jobs, sets their roles, and puts culprit and victims first.
pub fn judge(jobs: &mut [Job], waits: &[WaitGroup], wedged: &[Wedged], totals: Totals) -> Verdict {
    let backup = strongest_backup(jobs);
    let stuck = stuck_case(jobs, waits, wedged, totals);
    let cpu = cpu_case(jobs, totals);
    let case = match (stuck, cpu) {
        // Nobody gets to see who has the CPUs, with any other tool, before this one is solved.
        (Some(stuck), Some(_)) if Some(stuck.resource) == wedge::resource(wedged) => Some(stuck),
        (Some(stuck), Some(cpu)) if cpu.weight() > stuck.weight() => Some(cpu),
        (Some(stuck), _) => Some(stuck),
        (None, cpu) => cpu,
    };
    let verdict = match case {
        None => match wedged.first() {
            None => calm(jobs, backup),
            Some(first) => blocked(first, jobs, backup),
        },
        Some(case) => tell(jobs, &case, backup, totals),
    };
    for job in jobs.iter_mut() {
        job.role = if verdict.culprit.as_ref() == Some(&job.facts.id) {
            Role::Culprit
        } else if verdict.victims.contains(&job.facts.id) {
            Role::Victim
        } else {
            Role::Bystander
        };
    }
    verdict
}

/// One resource that somebody waits for.
#[derive(Clone, Debug)]
struct Case {
    resource: Resource,
    /// Indices of the jobs that wait, most first; the culprit is not among them.
    victims: Vec<usize>,
    waiting: f64,
    culprit: Option<usize>,
    /// Of the resource, 0 to 1, where it is known.
    share: Option<f64>,
    /// Whether the waits themselves say what they wait for, or only the circumstances do.
    seen: bool,
    confidence: f64,
}

impl Case {
    /// A case with a culprit is worth more than a larger one without: something can be done about it.
    fn weight(&self) -> f64 {
        self.waiting * if self.culprit.is_some() { 2.0 } else { 1.0 }
    }
}

/// The backup that is most worth a panel: the busiest of the sure ones.
fn strongest_backup(jobs: &[Job]) -> Option<usize> {
    let weight =
        |job: &Job| job.usage.cpu_cores.unwrap_or_default() + job.share.disk.unwrap_or_default() + job.facts.finding.confidence;
    (0..jobs.len())
        .filter(|&i| jobs[i].facts.finding.kind == Kind::Backup)
        .max_by(|&a, &b| weight(&jobs[a]).total_cmp(&weight(&jobs[b])))
}

fn is_program(job: &Job) -> bool {
    job.facts.finding.kind != Kind::Kernel
}

/// Indices of jobs for which `wait` is at least `least`, most first.
fn waiting_jobs(jobs: &[Job], least: f64, wait: impl Fn(&Job) -> f64) -> Vec<usize> {
    let mut found: Vec<usize> = (0..jobs.len()).filter(|&i| is_program(&jobs[i]) && wait(&jobs[i]) >= least).collect();
    found.sort_by(|&a, &b| wait(&jobs[b]).total_cmp(&wait(&jobs[a])));
    found
}

/// Tasks stuck in uninterruptible sleep, and who keeps the disk from them.
fn stuck_case(jobs: &[Job], waits: &[WaitGroup], wedged: &[Wedged], totals: Totals) -> Option<Case> {
    let mut victims = waiting_jobs(jobs, STUCK_VICTIM_TASKS, |job| job.usage.stuck);
    let all: f64 = victims.iter().map(|&i| jobs[i].usage.stuck).sum();
    if all < WATCH_TASKS {
        return None;
    }
    // Whoever waits for a lock waits for its holder. One that blocks all who look at it holds one, and what it waits for itself is
    // what they all wait for. It also says more than waits that nobody knows or that are for no resource.
    let known = match stuck_resource(waits) {
        vague @ (None | Some(Resource::Lock | Resource::None)) => wedge::resource(wedged).or(vague),
        known => known,
    };
    let anybody = |_: Kind| true;
    let backups = |kind: Kind| kind == Kind::Backup;
    let culprit = match known {
        Some(Resource::FrozenFilesystem) => freezer(jobs),
        Some(Resource::NetworkFilesystem) => None,
        Some(Resource::Disk) => disk_culprit(jobs, &victims, anybody),
        // They wait for what is no resource (their own children). Still, what a backup does beside them is worth a word.
        Some(Resource::None) => disk_culprit(jobs, &victims, backups),
        _ if totals.disk_pressed => disk_culprit(jobs, &victims, anybody),
        _ => disk_culprit(jobs, &victims, backups),
    };
    victims.retain(|&i| Some(i) != culprit);
    let waiting: f64 = victims.iter().map(|&i| jobs[i].usage.stuck).sum();
    let share = culprit.and_then(|i| jobs[i].share.disk);
    let confidence = match (culprit, share, known) {
        // It is seen in the kernel's own names, and felt.
        (None, ..) if known.is_some() && known == wedge::resource(wedged) => WEDGED_SURE,
        (None, ..) => 0.4,
        (Some(_), _, Some(Resource::None)) => 0.3,
        (Some(_), Some(share), Some(_)) => (0.6 + 0.4 * share).min(0.95),
        (Some(_), Some(share), None) => (0.45 + 0.4 * share).min(0.8),
        (Some(_), None, _) => 0.5,
    };
    let seen = known.is_some_and(|resource| resource != Resource::None);
    let resource = match known {
        Some(resource) if seen => resource,
        _ if culprit.is_some() => Resource::Disk,
        _ => Resource::None,
    };
    Some(Case { resource, victims, waiting, culprit, share, seen, confidence })
}

/// What most of the stuck tasks wait for, where that may be seen; `Resource::None` if it is no resource.
fn stuck_resource(waits: &[WaitGroup]) -> Option<Resource> {
    let mut counts: Vec<(Resource, u32)> = Vec::new();
    for group in waits {
        let Some(resource) = group.wchan.as_deref().and_then(waits::resource) else { continue };
        match counts.iter_mut().find(|(known, _)| *known == resource) {
            Some((_, tasks)) => *tasks += group.tasks,
            None => counts.push((resource, group.tasks)),
        }
    }
    counts.into_iter().max_by_key(|(_, tasks)| *tasks).map(|(resource, _)| resource)
}

/// Who froze the filesystem: a job with a freeze command among its processes.
fn freezer(jobs: &[Job]) -> Option<usize> {
    let freezes = |name: &str| matches!(name, "fsfreeze" | "xfs_freeze");
    jobs.iter().position(|job| job.facts.members.iter().any(|member| freezes(&member.name)))
}

/// Who keeps the disk: by bytes where they may be seen, else a backup or batch job that is at work right now.
fn disk_culprit(jobs: &[Job], victims: &[usize], may_be: fn(Kind) -> bool) -> Option<usize> {
    // A lone victim that does all the I/O has only itself to blame.
    let others_wait = |i: usize| victims.iter().filter(|&&v| v != i).map(|&v| jobs[v].usage.stuck).sum::<f64>() >= WATCH_TASKS;
    let score = |i: usize| jobs[i].share.disk.unwrap_or_default() * blame_weight(jobs[i].facts.finding.kind);
    let moves = |job: &Job| job.usage.disk_bytes().is_some_and(|bytes| bytes >= DISK_NOISE);
    let largest = jobs.iter().filter(|job| is_program(job)).filter_map(|job| job.share.disk).fold(0.0, f64::max);
    let by_bytes = (0..jobs.len())
        .filter(|&i| is_program(&jobs[i]) && may_be(jobs[i].facts.finding.kind) && others_wait(i) && moves(&jobs[i]))
        .filter(|&i| jobs[i].share.disk.unwrap_or_default() >= largest * CULPRIT_OF_LARGEST)
        .filter(|&i| jobs[i].share.disk.is_some_and(|share| share >= CULPRIT_SHARE))
        .max_by(|&a, &b| score(a).total_cmp(&score(b)));
    if by_bytes.is_some() {
        return by_bytes;
    }
    // What it moves is hidden: a backup at work is still the first to look at, and so is a batch job that is stuck like its
    // victims. One that is seen to move nothing is not.
    let at_work = |job: &Job| match job.facts.finding.kind {
        Kind::Backup => job.usage.cpu_cores.is_some_and(|cpu| cpu >= AT_WORK_CORES) || job.usage.stuck > 0.0,
        Kind::Batch => job.usage.stuck > 0.0,
        _ => false,
    };
    let weight =
        |i: usize| blame_weight(jobs[i].facts.finding.kind) * (jobs[i].usage.cpu_cores.unwrap_or_default() + jobs[i].usage.stuck);
    (0..jobs.len())
        .filter(|&i| may_be(jobs[i].facts.finding.kind) && jobs[i].usage.disk_bytes().is_none())
        .filter(|&i| others_wait(i) && at_work(&jobs[i]))
        .max_by(|&a, &b| weight(a).total_cmp(&weight(b)))
}

/// Tasks runnable without a CPU, and who has the CPUs.
fn cpu_case(jobs: &[Job], totals: Totals) -> Option<Case> {
    if totals.cpu_busy? < CPU_BUSY_SHARE * totals.cpus {
        return None;
    }
    let wait = |job: &Job| job.usage.cpu_wait.unwrap_or_default();
    let mut victims = waiting_jobs(jobs, CPU_VICTIM_WAIT, wait);
    let all: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    if all < WATCH_TASKS {
        return None;
    }
    let share = |i: usize| jobs[i].usage.cpu_cores.unwrap_or_default() / totals.cpus;
    let others_wait = |i: usize| victims.iter().filter(|&&v| v != i).map(|&v| wait(&jobs[v])).sum::<f64>() >= WATCH_TASKS;
    let score = |i: usize| share(i) * blame_weight(jobs[i].facts.finding.kind);
    let largest = (0..jobs.len()).filter(|&i| is_program(&jobs[i])).map(share).fold(0.0, f64::max);
    let culprit = (0..jobs.len())
        .filter(|&i| is_program(&jobs[i]) && others_wait(i))
        .filter(|&i| share(i) >= CPU_CULPRIT_SHARE && share(i) >= largest * CULPRIT_OF_LARGEST)
        .max_by(|&a, &b| score(a).total_cmp(&score(b)));
    victims.retain(|&i| Some(i) != culprit);
    let waiting: f64 = victims.iter().map(|&i| wait(&jobs[i])).sum();
    let share = culprit.map(share);
    let confidence = share.map_or(0.4, |share| (0.6 + 0.4 * share).min(0.95));
    Some(Case { resource: Resource::Cpu, victims, waiting, culprit, share, seen: true, confidence })
}

fn calm(jobs: &[Job], backup: Option<usize>) -> Verdict {
    let headline = match backup {
        Some(i) => format!("calm: nobody waits; a backup runs ({})", jobs[i].facts.name),
        None => "calm: nobody waits".to_owned(),
    };
    Verdict {
        severity: Severity::Calm,
        resource: Resource::None,
        headline,
        culprit: None,
        victims: Vec::new(),
        backup: backup.map(|i| jobs[i].facts.id.clone()),
        confidence: 0.9,
        since: None,
        waiting: 0.0,
    }
}

/// Nobody seems to wait, but a process cannot be looked at: whoever tries does.
fn blocked(wedged: &Wedged, jobs: &[Job], backup: Option<usize>) -> Verdict {
    let headline = format!("{} {} blocks whoever looks at it", wedged.name, wedged.id.pid);
    Verdict { severity: Severity::Watch, resource: Resource::Lock, headline, confidence: WEDGED_SURE, ..calm(jobs, backup) }
}

/// Puts a case into words.
fn tell(jobs: &[Job], case: &Case, backup: Option<usize>, totals: Totals) -> Verdict {
    let beyond_dispute = matches!(case.resource, Resource::FrozenFilesystem | Resource::NetworkFilesystem);
    let severity = if case.waiting >= CONTENTION_TASKS && (case.culprit.is_some() || beyond_dispute) {
        Severity::Contention
    } else {
        Severity::Watch
    };
    let who_waits = waiting_words(jobs, case);
    let headline = match (case.culprit, severity) {
        (Some(i), Severity::Contention) => format!("{}; {who_waits}", taking_words(&jobs[i], case)),
        _ if case.resource == Resource::FrozenFilesystem => format!("a filesystem is frozen; {who_waits}"),
        _ if case.resource == Resource::NetworkFilesystem => format!("a file server does not answer; {who_waits}"),
        (Some(i), _) => format!("{}; {who_waits}", taking_words(&jobs[i], case)),
        (None, _) if totals.io_hidden && case.resource != Resource::Cpu => {
            format!("{who_waits}; whose I/O it is cannot be seen without root")
        }
        (None, _) => format!("{who_waits}; no other job takes it from them"),
    };
    let id = |i: usize| jobs[i].facts.id.clone();
    // Below contention nobody is accused: the numbers are in the lists for whoever wants to look.
    let culprit = case.culprit.filter(|_| severity == Severity::Contention).map(id);
    Verdict {
        severity,
        resource: case.resource,
        headline,
        culprit,
        victims: case.victims.iter().map(|&i| id(i)).collect(),
        backup: backup.map(id),
        confidence: case.confidence,
        since: None,
        waiting: case.waiting,
    }
}

fn taking_words(job: &Job, case: &Case) -> String {
    let tool = job
        .facts
        .finding
        .tool
        .as_deref()
        .filter(|tool| *tool != job.facts.name)
        .map(|tool| format!(" ({tool})"))
        .unwrap_or_default();
    let name = match job.facts.finding.kind {
        Kind::Backup => format!("the backup {}{tool}", job.facts.name),
        _ => format!("{}{tool}", job.facts.name),
    };
    let takes = match (case.resource, case.share) {
        (Resource::Cpu, _) => {
            let cores = job.usage.cpu_cores.unwrap_or_default();
            format!("takes {:.0} % of the CPUs", case.share.unwrap_or_default().max(0.0) * 100.0)
                + &if cores >= 1.0 { format!(" ({cores:.1} CPUs)") } else { String::new() }
        }
        (Resource::FrozenFilesystem, _) => "froze a filesystem".to_owned(),
        (_, Some(share)) => {
            let bytes = job.usage.disk_bytes().map(|bytes| format!(" ({})", rate(bytes))).unwrap_or_default();
            format!("takes {:.0} % of the disk{bytes}", share * 100.0)
        }
        (_, None) => "is at work, probably on the disk they wait for".to_owned(),
    };
    format!("{name} {takes}")
}

fn waiting_words(jobs: &[Job], case: &Case) -> String {
    let for_what = match case.resource {
        _ if !case.seen => "in the kernel",
        Resource::Cpu => "for a CPU",
        Resource::Disk => "for the disk",
        Resource::FrozenFilesystem | Resource::NetworkFilesystem => "for it",
        Resource::Memory => "for memory",
        Resource::Lock => "for a kernel lock",
        Resource::None => "in the kernel",
    };
    let shown: Vec<usize> = if case.victims.is_empty() { case.culprit.into_iter().collect() } else { case.victims.clone() };
    let tasks = |i: usize| match case.resource {
        Resource::Cpu => jobs[i].usage.cpu_wait.unwrap_or_default(),
        _ => jobs[i].usage.stuck.max(f64::from(jobs[i].uninterruptible)),
    };
    let total: f64 = shown.iter().map(|&i| tasks(i)).sum();
    let number = count(total.round().max(1.0) as usize, "task");
    let verb = match (case.seen, total.round() <= 1.0) {
        (true, true) => "waits",
        (true, false) => "wait",
        (false, true) => "is stuck",
        (false, false) => "are stuck",
    };
    match shown.split_first() {
        None => "nobody waits".to_owned(),
        Some((&first, [])) => format!("{number} of {} {verb} {for_what}", jobs[first].facts.name),
        Some((&first, [second])) => {
            format!("{number} of {} and {} {verb} {for_what}", jobs[first].facts.name, jobs[*second].facts.name)
        }
        Some((&first, rest)) => {
            format!("{number} of {} and {} other jobs {verb} {for_what}", jobs[first].facts.name, rest.len())
        }
    }
}

/// The order of the job list: culprit, victims by how much they wait, then the rest by what they take.
pub fn order(jobs: &mut [Job], victims: &[JobId]) {
    let rank = |job: &Job| match job.role {
        Role::Culprit => (0, 0.0),
        Role::Victim => (1, victims.iter().position(|id| *id == job.facts.id).unwrap_or_default() as f64),
        Role::Bystander => {
            (2, -(job.usage.cpu_cores.unwrap_or_default() + job.usage.waiting() + job.share.disk.unwrap_or_default()))
        }
    };
    jobs.sort_by(|a, b| {
        let (a_rank, b_rank) = (rank(a), rank(b));
        a_rank.0.cmp(&b_rank.0).then(a_rank.1.total_cmp(&b_rank.1)).then_with(|| a.facts.id.cmp(&b.facts.id))
    });
}
