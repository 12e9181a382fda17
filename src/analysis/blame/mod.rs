//! Blame: joins those who wait with those who take, and says it in one sentence.
//!
//! Pure. [`stuck`] has the tasks in uninterruptible sleep and what keeps them there, [`memory`] who holds the memory, [`filesystem`] who keeps a
//! filesystem from answering, [`flush`] whose earlier writes a disk is busy with, [`cpu`] those that are runnable without a CPU, [`words`]
//! the sentence, [`proof`] the numbers behind it. Every threshold is a constant, and `tests/scenarios.rs` pins it.

mod cpu;
mod filesystem;
mod flush;
mod memory;
mod proof;
mod stuck;
mod words;

use std::collections::HashMap;

use crate::analysis::diagnosis::{DiskUse, Job, JobId, Kind, Resource, Role, Verdict, WaitGroup, Wedged};
use crate::analysis::freezes::Freezes;
use crate::analysis::jobs::Instant;
use crate::analysis::limits::Limit;
use crate::analysis::table::Table;
use crate::analysis::wedge;
use crate::analysis::window::{FULL_WINDOW, Recent};
use crate::sample::{Memory, Pressure};
use crate::units::ProcessId;

/// From this many waiting tasks on (an average over the window) it is worth a look.
const WATCH_TASKS: f64 = 0.7;
/// Whoever takes less than this share of a resource is not what makes others wait for it.
const CULPRIT_SHARE: f64 = 0.2;
/// Nor is whoever takes much less than the largest taker, however easily it could be spared: ending it frees too little.
const CULPRIT_OF_LARGEST: f64 = 0.4;
/// Another one that takes this much of what the culprit does is named beside it: ending one of the two is not enough.
const ALSO_OF_CULPRIT: f64 = 0.6;
/// What has been going on goes on while there is this much of what it takes to begin.
const GOING_ON: f64 = 0.6;
/// Somebody else has to take this much more than the one who stands accused, once the rates hold nothing of before that accusation: whoever
/// was busy first is no culprit of what came a second later (`hog-a-second-later.toml`).
const INCUMBENT: f64 = 1.5;
/// And before that, this much: two that take turns at being a little ahead do not take turns at being accused (`now-one-now-the-other.toml`).
const NEW_INCUMBENT: f64 = 1.2;
/// How sure it is that a process whose command line does not come holds its `mmap_lock`.
const WEDGED_SURE: f64 = 0.8;
/// Disk traffic below this is no reason for anybody to wait, in bytes per second: a slow disk does ten times as much.
pub const DISK_NOISE: f64 = 200_000.0;
/// A disk with requests in flight for less than this share of the time keeps nobody waiting.
pub const DISK_BUSY: f64 = 0.2;
/// Nor does anybody wait when I/O held somebody up for less than this part of the last ten seconds, and of those since the sample
/// before, in percent.
const IO_PRESSURE: f64 = 5.0;

/// Memory is what is short when it held somebody up for this part of the last ten seconds, in percent.
const MEMORY_PRESSURE: f64 = 10.0;
/// And for this part of what I/O did.
const MOSTLY_MEMORY: f64 = 0.5;

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
pub struct Totals<'a> {
    /// Online CPUs.
    pub cpus: f64,
    /// CPUs in use. `None` before the second sample.
    pub cpu_busy: Option<f64>,
    /// I/O bytes of some processes are hidden, for want of rights.
    pub io_hidden: bool,
    /// Some disk is busy, or tasks wait for I/O; or neither can be told.
    pub disk_pressed: bool,
    /// Memory of the host.
    pub memory: Option<Memory>,
    /// Who was held up lately.
    pub pressure: Option<Pressure>,
    /// Disks that moved anything.
    pub disks: &'a [DiskUse],
    /// Control groups that have come to a limit.
    pub limits: &'a [Limit],
    /// Who was accused at the sample before, of what counted most first.
    pub incumbents: &'a [Incumbent],
    /// Freeze commands that were seen.
    pub freezes: &'a Freezes,
    /// All processes.
    pub table: &'a Table,
    /// What those did lately that did anything.
    pub recent: &'a HashMap<ProcessId, Recent>,
    /// Now.
    pub instant: Instant,
}

/// Who is accused, of what: it takes less to go on than to begin, or the verdict would turn with each burst.
#[derive(Clone, Debug)]
pub struct Incumbent {
    /// The job.
    pub job: JobId,
    /// What it takes.
    pub resource: Resource,
    /// Of which disk: all of one that is idle is nothing on another.
    pub device: Option<String>,
    /// The part of it that it took when it took most lately, 0 to 1, fading. Its victims still wait while a burst is worked off.
    pub share: f64,
    /// For how long it has been accused, in seconds.
    pub accused: f64,
}

impl Incumbent {
    /// Whether it is this job, and this is what it takes.
    fn is(&self, job: &Job, resource: Resource, device: Option<&str>) -> bool {
        self.job == job.facts.id && self.resource == resource && self.device.as_deref() == device
    }
}

impl Totals<'_> {
    /// What it takes to say something, with a culprit that stands accused of this already.
    fn least(&self, tasks: f64, resource: Resource) -> f64 {
        if self.incumbents.iter().any(|incumbent| incumbent.resource == resource) { tasks * GOING_ON } else { tasks }
    }

    /// Whether those who wait for nobody knows what most likely wait for memory: that held somebody up for a good part of what I/O did, and
    /// whoever waits for a page from swap waits for I/O too.
    fn memory_pressed(&self) -> bool {
        let pressed = |pressure: Pressure| {
            pressure.memory_some10 >= MEMORY_PRESSURE && pressure.memory_some10 >= pressure.io_some10 * MOSTLY_MEMORY
        };
        self.pressure.is_some_and(pressed)
    }

    /// What this job stands accused of, if it is this.
    fn incumbent(&self, job: &Job, resource: Resource, device: Option<&str>) -> Option<&Incumbent> {
        self.incumbents.iter().find(|incumbent| incumbent.is(job, resource, device))
    }
}

/// Whether disks could be what anybody waits for. `lately`: the part of the time since the sample before in which I/O held somebody up.
pub fn disk_pressed(disks: &[DiskUse], pressure: Option<Pressure>, lately: Option<f64>) -> bool {
    let busy = disks.iter().any(|disk| disk.util >= DISK_BUSY);
    let now = lately.is_some_and(|part| part * 100.0 >= IO_PRESSURE);
    busy || now || pressure.map_or(disks.is_empty(), |pressure| pressure.io_some10 >= IO_PRESSURE)
}

/// Judges the jobs, sets their roles, and puts culprit and victims first.
pub fn judge(jobs: &mut [Job], waits: &[WaitGroup], wedged: &[Wedged], totals: Totals<'_>) -> Verdict {
    let backup = strongest_backup(jobs);
    let mut cases = stuck::cases(jobs, waits, wedged, totals);
    cases.extend(cpu::cases(jobs, totals));
    // Nobody gets to see who has the CPUs, with any other tool, before the one that blocks whoever looks is solved.
    let blocks = |case: &Case<'_>| Some(case.resource) == wedge::resource(wedged);
    // What counted most goes on to: two that are as bad as each other would take turns.
    let first = totals.incumbents.first();
    let weight = |case: &Case<'_>| {
        let leads = case.culprit.zip(first).is_some_and(|(i, first)| first.is(&jobs[i], case.resource, case.device.as_deref()));
        case.weight() * if leads { INCUMBENT } else { 1.0 }
    };
    cases.sort_by(|a, b| blocks(b).cmp(&blocks(a)).then(weight(b).total_cmp(&weight(a))));
    let mut told = cases.iter().map(|case| words::tell(jobs, waits, case, totals));
    let blocked = || wedged.first().map(words::blocked);
    let worst = told.next().or_else(blocked).unwrap_or_else(|| words::calm(jobs, backup, totals));
    let verdict = Verdict { worst, others: told.collect(), backup: backup.map(|i| jobs[i].facts.id.clone()), since: None };
    for job in jobs.iter_mut() {
        job.role = verdict.about(&job.facts.id).map_or(Role::Bystander, |(_, role)| role);
    }
    verdict
}

/// One resource that somebody waits for.
#[derive(Clone, Debug)]
struct Case<'a> {
    resource: Resource,
    /// The disk, where it is known.
    device: Option<String>,
    /// The mount point, where it is known.
    mount: Option<String>,
    /// Indices of the jobs that wait, most first; the culprit is not among them.
    victims: Vec<usize>,
    waiting: f64,
    culprit: Option<usize>,
    /// Those that take nearly as much as the culprit.
    also: Vec<usize>,
    /// Of the resource, 0 to 1, where it is known.
    share: Option<f64>,
    /// Whether the waits themselves say what they wait for, or only the circumstances do.
    seen: bool,
    /// Those who wait have come to limits of their own: nobody takes it from them.
    own_limit: bool,
    /// The control group that has come to a limit: whoever takes what it has is in there too.
    limit: Option<&'a Limit>,
    /// A file server that they wait for, and nobody for long: it answers, as far as is seen.
    answers: bool,
    /// What the culprit is told from, where it is not what it takes.
    because: Option<String>,
    confidence: f64,
}

impl Case<'_> {
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

/// Who takes most of something, weighed by what could be spared, among those that take enough; and who takes nearly as much.
struct Taking<'a, S: Fn(usize) -> f64> {
    jobs: &'a [Job],
    resource: Resource,
    device: Option<&'a str>,
    totals: Totals<'a>,
    /// From which part on.
    least: f64,
    /// A job's part of the resource, 0 to 1.
    share: S,
}

impl<S: Fn(usize) -> f64> Taking<'_, S> {
    fn is_incumbent(&self, i: usize) -> bool {
        self.totals.incumbent(&self.jobs[i], self.resource, self.device).is_some()
    }

    fn share(&self, i: usize) -> f64 {
        let now = (self.share)(i);
        // A disk works off a burst for seconds after; whoever has stopped running keeps nobody from a CPU.
        let lately = self.totals.incumbent(&self.jobs[i], self.resource, self.device).filter(|_| self.resource == Resource::Disk);
        lately.map_or(now, |incumbent| incumbent.share.max(now))
    }

    fn most(&self, may_be: impl Fn(usize) -> bool) -> Option<(usize, Vec<usize>)> {
        let everybody = || 0..self.jobs.len();
        let largest = everybody().filter(|&i| is_program(&self.jobs[i])).map(|i| self.share(i)).fold(0.0, f64::max);
        let takes = |i: &usize| {
            let going_on = if self.is_incumbent(*i) { GOING_ON } else { 1.0 };
            self.share(*i) >= self.least * going_on && self.share(*i) >= largest * CULPRIT_OF_LARGEST * going_on
        };
        let candidates: Vec<usize> = everybody().filter(|&i| may_be(i)).filter(takes).collect();
        let score = |i: usize| self.share(i) * blame_weight(self.jobs[i].facts.finding.kind);
        let bonus = |i: usize| match self.totals.incumbent(&self.jobs[i], self.resource, self.device) {
            Some(incumbent) if incumbent.accused >= FULL_WINDOW => INCUMBENT,
            Some(_) => NEW_INCUMBENT,
            None => 1.0,
        };
        let standing = |i: usize| score(i) * bonus(i);
        let culprit = candidates.iter().copied().max_by(|&a, &b| standing(a).total_cmp(&standing(b)))?;
        let mut also: Vec<usize> =
            candidates.into_iter().filter(|&i| i != culprit && score(i) >= score(culprit) * ALSO_OF_CULPRIT).collect();
        also.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
        Some((culprit, also))
    }
}

/// The order of the job list: culprits, victims by how much they wait, then the rest by what they take.
pub fn order(jobs: &mut [Job], verdict: &Verdict) {
    let rank = |job: &Job| match job.role {
        Role::Culprit => (0, f64::from(u8::from(verdict.worst.culprit.as_ref() != Some(&job.facts.id)))),
        Role::Victim => {
            let place = verdict.worst.victims.iter().position(|id| *id == job.facts.id);
            (1, place.map_or(f64::INFINITY, |place| place as f64))
        }
        Role::Bystander => {
            (2, -(job.usage.cpu_cores.unwrap_or_default() + job.usage.waiting() + job.share.disk.unwrap_or_default()))
        }
    };
    jobs.sort_by(|a, b| {
        let (a_rank, b_rank) = (rank(a), rank(b));
        a_rank.0.cmp(&b_rank.0).then(a_rank.1.total_cmp(&b_rank.1)).then_with(|| a.facts.id.cmp(&b.facts.id))
    });
}
