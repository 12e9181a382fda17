//! A case in words: the one sentence that somebody reads on a bad day.
//!
//! Pure text. Tested by `tests/scenarios.rs`.

use super::{CULPRIT_SHARE, Case, Totals, WEDGED_SURE, proof};
use crate::analysis::diagnosis::{Contention, Job, Kind, Resource, Severity, WaitGroup, Wedged};
use crate::units::{count, rate};

/// From this many waiting tasks on (an average over the window) it is contention. One or two tasks wait on any host that works.
const CONTENTION_TASKS: f64 = 2.0;
/// And from this many for each CPU on where they wait for one: a host of two has few tasks that could run, and whoever waits there waits long
/// (`two-cpus-and-a-backup.toml`). Never from less than one on.
const CONTENTION_OF_A_CPU: f64 = 0.5;
/// Where so few wait, whoever is accused of it takes this many times what the one has who waits most, or is work that can wait: of two equals
/// neither robs the other (`two-equals-on-two-cpus.toml`).
const MORE_THAN_VICTIM: f64 = 1.5;

/// Memory that is taken faster than this is worth a word, in bytes per second: a job of a fair size fills a host with it within minutes.
const MUCH_GROWTH: f64 = 10_000_000.0;

/// What one or two waiting tasks say of who takes it is worth this much of what many say.
const FEW_WAIT: f64 = 0.6;

/// Nobody waits.
pub fn calm(jobs: &[Job], backup: Option<usize>, totals: Totals<'_>) -> Contention {
    let headline = match backup {
        Some(i) => format!("calm: nobody waits; a backup runs ({})", jobs[i].facts.name),
        None => "calm: nobody waits".to_owned(),
    };
    // Who waits for a CPU shows at the second look only.
    Contention::none(headline, if totals.cpu_busy.is_some() { 0.9 } else { 0.4 })
}

/// Nobody seems to wait, but a process cannot be looked at: whoever tries does.
pub fn blocked(wedged: &Wedged) -> Contention {
    let headline = format!("{} {} blocks whoever looks at it", wedged.name, wedged.id.pid);
    Contention { severity: Severity::Watch, resource: Resource::Lock, ..Contention::none(headline, WEDGED_SURE) }
}

/// Puts a case into words.
pub fn tell(jobs: &[Job], waits: &[WaitGroup], case: &Case<'_>, totals: Totals<'_>) -> Contention {
    let beyond_dispute = matches!(case.resource, Resource::FrozenFilesystem | Resource::NetworkFilesystem) && !case.answers;
    let few_cpus = (CONTENTION_OF_A_CPU * totals.cpus).clamp(1.0, CONTENTION_TASKS);
    let many = if robs_on_few_cpus(jobs, case) { few_cpus } else { CONTENTION_TASKS };
    let least = totals.least(many, case.resource);
    let severity =
        if case.waiting >= least && (case.culprit.is_some() || beyond_dispute) { Severity::Contention } else { Severity::Watch };
    let who_waits = waiting_words(jobs, case);
    let place = |what: &str| match &case.mount {
        Some(mount) => format!("{what} {mount}"),
        None => format!("a {what}"),
    };
    let headline = match (case.culprit, severity) {
        (Some(i), Severity::Contention) => format!("{}; {who_waits}", taking_words(jobs, i, case, totals)),
        _ if case.resource == Resource::FrozenFilesystem => format!("{} is frozen; {who_waits}", place("filesystem")),
        _ if case.answers => format!("{who_waits}, none for long as far as is seen"),
        _ if case.resource == Resource::NetworkFilesystem => match &case.mount {
            Some(mount) => format!("the file server of {mount} does not answer; {who_waits}"),
            None => format!("a file server does not answer; {who_waits}"),
        },
        (Some(i), _) => format!("{}; {who_waits}", taking_words(jobs, i, case, totals)),
        (None, _)
            if totals.io_hidden
                && !case.own_limit
                && !matches!(case.resource, Resource::Cpu | Resource::Lock | Resource::Memory) =>
        {
            format!("{who_waits}; whose I/O it is cannot be seen without root")
        }
        (None, _) if case.resource == Resource::Lock => format!("{who_waits}; who holds it cannot be seen"),
        (None, _) if case.own_limit => match case.limit.filter(|limit| limit.is_above) {
            Some(limit) => format!("{who_waits}, at the limit of the control group {}", limit.path),
            None => format!("{who_waits}, at the limit of their own control group"),
        },
        (None, _) if totals.cpu_busy.is_none() => format!("{who_waits}; who takes it from them is not known yet"),
        (None, _) => format!("{who_waits}; no other job takes it from them"),
    };
    let id = |i: usize| jobs[i].facts.id.clone();
    let few = case.culprit.is_some() && severity != Severity::Contention;
    let confidence = case.confidence * if few { FEW_WAIT } else { 1.0 };
    // Below contention nobody is accused: the numbers are in the lists for whoever wants to look.
    let culprit = case.culprit.filter(|_| severity == Severity::Contention).map(id);
    Contention {
        severity,
        resource: case.resource,
        device: case.device.clone(),
        headline,
        also: case.also.iter().filter(|_| culprit.is_some()).map(|&i| id(i)).collect(),
        culprit,
        share: case.share,
        victims: case.victims.iter().map(|&i| id(i)).collect(),
        confidence,
        waiting: waiting(jobs, &case.victims, case.resource),
        evidence: proof::proof(jobs, waits, case, totals),
    }
}

/// Whether somebody who could be spared, or takes far more than they have, has the CPUs that a few wait for.
fn robs_on_few_cpus(jobs: &[Job], case: &Case<'_>) -> bool {
    let cores = |i: usize| jobs[i].usage.cpu_cores.unwrap_or_default();
    let robs = |i: usize| {
        let spared = matches!(jobs[i].facts.finding.kind, Kind::Backup | Kind::Batch);
        spared || case.victims.first().is_some_and(|&victim| cores(i) >= MORE_THAN_VICTIM * cores(victim))
    };
    case.resource == Resource::Cpu && case.culprit.is_some_and(robs)
}

/// `the backup nightly.sh (tar)`
fn called(job: &Job) -> String {
    let tool = job.facts.finding.tool.as_deref().filter(|tool| *tool != job.facts.name);
    let tool = tool.map(|tool| format!(" ({tool})")).unwrap_or_default();
    match job.facts.finding.kind {
        Kind::Backup => format!("the backup {}{tool}", job.facts.name),
        Kind::Batch => match &job.facts.finding.work {
            Some(work) => format!("the {work} {}{tool}", job.facts.name),
            None => format!("{}{tool}", job.facts.name),
        },
        _ => format!("{}{tool}", job.facts.name),
    }
}

fn taking_words(jobs: &[Job], culprit: usize, case: &Case<'_>, totals: Totals<'_>) -> String {
    let job = &jobs[culprit];
    let earlier = totals.incumbent(job, case.resource, case.device.as_deref()).map(|incumbent| incumbent.share);
    let disk = case.device.as_deref().map_or_else(|| "the disk".to_owned(), |device| format!("the disk {device}"));
    let takes = match (case.resource, case.share) {
        (Resource::Cpu, _) => {
            let cores = job.usage.cpu_cores.unwrap_or_default();
            let whose = case.limit.map(|limit| format!(" that {} may use", limit.path)).unwrap_or_default();
            format!("takes {:.0} % of the CPUs{whose}", case.share.unwrap_or_default().max(0.0) * 100.0)
                + &if cores >= 1.0 { format!(" ({cores:.1} CPUs)") } else { String::new() }
        }
        (Resource::FrozenFilesystem, _) => format!("froze {}", case.mount.as_deref().unwrap_or("a filesystem")),
        (Resource::NetworkFilesystem, _) => format!("does not serve {}", case.mount.as_deref().unwrap_or("its filesystem")),
        (Resource::Memory, Some(share)) => {
            let whose = case.limit.map(|limit| format!(" that {} may have", limit.path)).unwrap_or_default();
            let growth = job.usage.memory_growth.filter(|growth| *growth >= MUCH_GROWTH);
            let grows = growth.map(|growth| format!(" and takes {} more", rate(growth))).unwrap_or_default();
            format!("holds {:.0} % of the memory{whose}{grows}", share * 100.0)
        }
        (Resource::Memory, None) => "looks for memory, and no job holds much of it".to_owned(),
        (Resource::Lock, _) => "has been stuck longest and holds the lock, most likely".to_owned(),
        (Resource::Disk, Some(share)) if earlier.is_some_and(|earlier| earlier >= CULPRIT_SHARE && share < CULPRIT_SHARE) => {
            format!("took {:.0} % of {disk} a moment ago", earlier.unwrap_or_default() * 100.0)
        }
        (Resource::Disk, None) if case.because.is_some() => {
            format!("wrote what the kernel writes out to {disk} now, most likely")
        }
        (_, Some(share)) => {
            let bytes = job.usage.disk_bytes().map(|bytes| format!(" ({})", rate(bytes))).unwrap_or_default();
            format!("takes {:.0} % of {disk}{bytes}", share * 100.0)
        }
        (_, None) => "is at work, probably on the disk they wait for".to_owned(),
    };
    let also = match case.also.as_slice() {
        [] => String::new(),
        [one] => format!(", {} nearly as much", called(&jobs[*one])),
        [first, rest @ ..] => format!(", {} and {} nearly as much", called(&jobs[*first]), count(rest.len(), "other job")),
    };
    format!("{} {takes}{also}", called(job))
}

/// Tasks of these jobs that wait: on average, or now where that are more, which is what whoever counts sees.
fn waiting(jobs: &[Job], whose: &[usize], resource: Resource) -> f64 {
    let tasks = |i: usize| match resource {
        Resource::Cpu => jobs[i].usage.cpu_wait.unwrap_or_default(),
        _ => jobs[i].usage.stuck.max(f64::from(jobs[i].uninterruptible)),
    };
    whose.iter().map(|&i| tasks(i)).sum()
}

fn waiting_words(jobs: &[Job], case: &Case<'_>) -> String {
    let server =
        case.mount.as_ref().map_or_else(|| "for a file server".to_owned(), |mount| format!("for the file server of {mount}"));
    let for_what = match case.resource {
        _ if !case.seen => "in the kernel",
        _ if case.answers => server.as_str(),
        Resource::Cpu => "for a CPU",
        Resource::Disk => "for the disk",
        Resource::FrozenFilesystem | Resource::NetworkFilesystem => "for it",
        Resource::Memory => "for memory",
        Resource::Lock => "for a kernel lock",
        Resource::None => "in the kernel",
    };
    let shown: Vec<usize> = if case.victims.is_empty() { case.culprit.into_iter().collect() } else { case.victims.clone() };
    let total = waiting(jobs, &shown, case.resource);
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
