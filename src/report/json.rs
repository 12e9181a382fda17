//! The diagnosis as JSON, schema 1: names and meanings stay, new fields may be added.
//!
//! `null` is "not known", a number is measured. Tested by `tests/once.rs`, which walks the contract.

use compact_str::CompactString;
use jiff::Timestamp;
use serde::Serialize;

use crate::analysis::diagnosis::{Account, Contention, Diagnosis, Job, JobId, Resource, Stalls, StuckTask};
use crate::analysis::gap;
use crate::site::{Reply, Site};
use crate::units::{Pid, SECOND};

/// The version of the contract.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    at: Timestamp,
    host: Host<'a>,
    load: Load<'a>,
    pressure: Option<Pressure>,
    verdict: Verdict<'a>,
    jobs: Vec<JobOut<'a>>,
    waits: Vec<Wait<'a>>,
    wedged: Vec<WedgedOut<'a>>,
    disks: Vec<Disk<'a>>,
    probe: Option<Probe<'a>>,
    gaps: Vec<String>,
    cost: Cost,
}

/// How the site under probe answered.
#[derive(Serialize)]
struct Probe<'a> {
    url: &'a str,
    well: bool,
    status: Option<u16>,
    latency_ms: Option<f64>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Host<'a> {
    name: &'a str,
    kernel: &'a str,
    cpus: usize,
    uptime_s: u64,
}

#[derive(Serialize)]
struct Load<'a> {
    avg1: Option<f64>,
    avg5: Option<f64>,
    avg15: Option<f64>,
    now: u32,
    runnable: u32,
    uninterruptible: u32,
    always: u32,
    jobs: Vec<LoadJob<'a>>,
    average: Option<Average<'a>>,
}

/// The one-minute average as a sum.
#[derive(Serialize)]
struct Average<'a> {
    jobs: Vec<AveragePart<'a>>,
    before: f64,
    unseen: f64,
}

#[derive(Serialize)]
struct AveragePart<'a> {
    job: &'a str,
    average: f64,
}

#[derive(Serialize)]
struct LoadJob<'a> {
    job: &'a str,
    runnable: u32,
    uninterruptible: u32,
}

#[derive(Serialize)]
struct Pressure {
    cpu: CpuPressure,
    io: FullPressure,
    memory: FullPressure,
}

#[derive(Serialize)]
struct CpuPressure {
    some10: f64,
}

#[derive(Serialize)]
struct FullPressure {
    some10: f64,
    full10: f64,
}

#[derive(Serialize)]
struct Verdict<'a> {
    severity: &'static str,
    resource: &'static str,
    device: Option<&'a str>,
    headline: &'a str,
    culprit: Option<&'a str>,
    also: Vec<&'a str>,
    share: Option<f64>,
    victims: Vec<&'a str>,
    waiting: f64,
    evidence: Vec<&'a str>,
    backup: Option<&'a str>,
    confidence: f64,
    since: Option<Timestamp>,
    others: Vec<Other<'a>>,
}

/// What is short beside the worst.
#[derive(Serialize)]
struct Other<'a> {
    severity: &'static str,
    resource: &'static str,
    device: Option<&'a str>,
    headline: &'a str,
    culprit: Option<&'a str>,
    also: Vec<&'a str>,
    victims: Vec<&'a str>,
    evidence: Vec<&'a str>,
    confidence: f64,
}

/// A job, as the contract has it.
#[derive(Serialize)]
pub(super) struct JobOut<'a> {
    id: &'a str,
    name: &'a str,
    kind: &'static str,
    tool: Option<&'a str>,
    work: Option<&'a str>,
    confidence: f64,
    evidence: Vec<&'a str>,
    launched_by: Option<&'a str>,
    unit: Option<&'a str>,
    container: Option<&'a str>,
    user: Option<&'a str>,
    root_pid: Option<Pid>,
    pids: Vec<Pid>,
    carried_pids: Vec<Pid>,
    started_at: Option<Timestamp>,
    role: &'static str,
    cpu_cores: Option<f64>,
    cpu_wait_s_per_s: Option<f64>,
    read_bytes_s: Option<f64>,
    write_bytes_s: Option<f64>,
    runnable: u32,
    uninterruptible: u32,
    share: Share,
    usual: Option<UsualOut>,
    resident_bytes: Option<u64>,
    memory_growth_bytes_s: Option<f64>,
    disks: Option<Vec<&'a str>>,
    stalls: StallsOut,
}

/// How its own control group was held up.
#[derive(Serialize)]
struct StallsOut {
    cpu: Option<f64>,
    io: Option<f64>,
    memory: Option<f64>,
    throttled_s_per_s: Option<f64>,
    limit_hits_s: Option<f64>,
}

/// How long earlier runs took.
#[derive(Serialize)]
struct UsualOut {
    runs: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct Share {
    cpu: Option<f64>,
    disk: Option<f64>,
}

#[derive(Serialize)]
struct Wait<'a> {
    job: &'a str,
    tasks: u32,
    syscall: Option<&'a str>,
    wchan: Option<&'a str>,
    path: Option<&'a str>,
    device: Option<&'a str>,
    devices: Vec<&'a str>,
    meaning: Option<&'a str>,
    longest_s: Option<f64>,
    longest_exact: Option<bool>,
    resource: Option<&'static str>,
    mount: Option<&'a str>,
    filesystem: Option<&'a str>,
    source: Option<&'a str>,
    helps: Option<&'static str>,
    examples: Vec<Stuck<'a>>,
}

#[derive(Serialize)]
struct Stuck<'a> {
    pid: Pid,
    tid: Pid,
    #[serde(rename = "stuck_s")]
    seconds: Option<f64>,
    exact: Option<bool>,
    stack: Vec<&'a str>,
}

#[derive(Serialize)]
struct WedgedOut<'a> {
    pid: Pid,
    name: &'a str,
    job: Option<&'a str>,
    wchan: Option<&'a str>,
    syscall: Option<&'a str>,
    meaning: Option<&'a str>,
    since_s: f64,
}

#[derive(Serialize)]
struct Disk<'a> {
    name: &'a str,
    read_bytes_s: f64,
    write_bytes_s: f64,
    reads_s: f64,
    writes_s: f64,
    util: f64,
    queue: f64,
    await_ms: Option<f64>,
    scheduler: Option<&'a str>,
}

#[derive(Serialize)]
struct Cost {
    tier: &'static str,
    tier_reason: Option<&'static str>,
    sample_ms: f64,
    cpu_ms: f64,
    tasks: u32,
    look_ms: Option<f64>,
    interval_s: Option<f64>,
}

/// The whole diagnosis as one JSON object, with a line end.
pub fn json(diagnosis: &Diagnosis, site: Option<&Site>) -> serde_json::Result<String> {
    let mut text = serde_json::to_string_pretty(&document(diagnosis, site))?;
    text.push('\n');
    Ok(text)
}

fn document<'a>(diagnosis: &'a Diagnosis, site: Option<&'a Site>) -> Document<'a> {
    let averages = diagnosis.load.averages;
    let verdict = &diagnosis.verdict;
    Document {
        schema: SCHEMA,
        at: diagnosis.at,
        host: Host {
            name: &diagnosis.host.name,
            kernel: &diagnosis.host.kernel,
            cpus: diagnosis.host.cpus,
            uptime_s: diagnosis.since_boot / SECOND,
        },
        load: Load {
            avg1: averages.map(|load| load.avg1),
            avg5: averages.map(|load| load.avg5),
            avg15: averages.map(|load| load.avg15),
            now: diagnosis.load.now(),
            runnable: diagnosis.load.runnable,
            uninterruptible: diagnosis.load.uninterruptible,
            always: diagnosis.load.always,
            jobs: diagnosis
                .load
                .ledger
                .iter()
                .map(|line| LoadJob { job: line.job.as_str(), runnable: line.runnable, uninterruptible: line.uninterruptible })
                .collect(),
            average: diagnosis.load.account.as_ref().map(account),
        },
        pressure: diagnosis.pressure.map(|pressure| Pressure {
            cpu: CpuPressure { some10: pressure.cpu_some10 },
            io: FullPressure { some10: pressure.io_some10, full10: pressure.io_full10 },
            memory: FullPressure { some10: pressure.memory_some10, full10: pressure.memory_full10 },
        }),
        verdict: Verdict {
            severity: verdict.worst.severity.name(),
            resource: verdict.worst.resource.name(),
            headline: &verdict.worst.headline,
            device: verdict.worst.device.as_deref(),
            culprit: verdict.worst.culprit.as_ref().map(JobId::as_str),
            also: ids(&verdict.worst.also),
            share: verdict.worst.share.map(|share| rounded(share, 3)),
            victims: ids(&verdict.worst.victims),
            waiting: rounded(verdict.worst.waiting, 2),
            evidence: texts(&verdict.worst.evidence),
            backup: verdict.backup.as_ref().map(JobId::as_str),
            confidence: rounded(verdict.worst.confidence, 2),
            since: verdict.since,
            others: verdict.others.iter().map(other).collect(),
        },
        jobs: diagnosis.jobs.iter().map(job_out).collect(),
        waits: diagnosis
            .waits
            .iter()
            .map(|wait| Wait {
                job: wait.job.as_str(),
                tasks: wait.tasks,
                syscall: wait.syscall.as_deref(),
                wchan: wait.wchan.as_deref(),
                path: wait.path.as_deref(),
                device: wait.device.as_deref(),
                devices: texts(&wait.devices),
                meaning: wait.meaning.as_deref(),
                longest_s: wait.longest.map(|stuck| rounded(stuck.seconds, 1)),
                longest_exact: wait.longest.map(|stuck| stuck.exact),
                resource: wait.resource.map(Resource::name),
                mount: wait.mount.as_deref(),
                filesystem: wait.filesystem.as_deref(),
                source: wait.source.as_deref(),
                helps: wait.helps,
                examples: wait.examples.iter().map(stuck).collect(),
            })
            .collect(),
        wedged: diagnosis
            .wedged
            .iter()
            .map(|wedged| WedgedOut {
                pid: wedged.id.pid,
                name: &wedged.name,
                job: wedged.job.as_ref().map(JobId::as_str),
                wchan: wedged.wchan.as_deref(),
                syscall: wedged.syscall.as_deref(),
                meaning: wedged.meaning.as_deref(),
                since_s: rounded(wedged.since, 1),
            })
            .collect(),
        disks: diagnosis
            .disks
            .iter()
            .map(|disk| Disk {
                name: &disk.name,
                read_bytes_s: disk.read_bytes.round(),
                write_bytes_s: disk.write_bytes.round(),
                reads_s: rounded(disk.reads, 1),
                writes_s: rounded(disk.writes, 1),
                util: rounded(disk.util, 3),
                queue: rounded(disk.queue, 2),
                await_ms: disk.await_ms.map(|ms| rounded(ms, 2)),
                scheduler: disk.scheduler.as_deref(),
            })
            .collect(),
        probe: site.and_then(probe),
        gaps: diagnosis.gaps.iter().map(|known| gap::words(known, diagnosis.host.root)).collect(),
        cost: Cost {
            tier: diagnosis.cost.tier.name(),
            tier_reason: gap::tier(diagnosis.cost.tier),
            sample_ms: rounded(diagnosis.cost.sampling as f64 / 1e6, 2),
            cpu_ms: rounded(diagnosis.cost.cpu as f64 / 1e6, 2),
            tasks: diagnosis.cost.tasks,
            look_ms: diagnosis.cost.pace.map(|pace| rounded(pace.look as f64 / 1e6, 2)),
            interval_s: diagnosis.cost.pace.map(|pace| rounded(pace.interval as f64 / 1e9, 3)),
        },
    }
}

fn probe(site: &Site) -> Option<Probe<'_>> {
    let result = &site.last()?.result;
    let reply = result.as_ref().ok();
    Some(Probe {
        url: &site.url,
        well: reply.is_some_and(Reply::is_well),
        status: reply.map(|reply| reply.status),
        latency_ms: reply.map(|reply| rounded(reply.seconds * 1000.0, 1)),
        error: result.as_ref().err().map(ToString::to_string),
    })
}

fn ids(jobs: &[JobId]) -> Vec<&str> {
    jobs.iter().map(JobId::as_str).collect()
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

fn other(contention: &Contention) -> Other<'_> {
    Other {
        severity: contention.severity.name(),
        resource: contention.resource.name(),
        device: contention.device.as_deref(),
        headline: &contention.headline,
        culprit: contention.culprit.as_ref().map(JobId::as_str),
        also: ids(&contention.also),
        victims: ids(&contention.victims),
        evidence: texts(&contention.evidence),
        confidence: rounded(contention.confidence, 2),
    }
}

fn account(account: &Account) -> Average<'_> {
    let parts = account.lines.iter();
    Average {
        jobs: parts.map(|part| AveragePart { job: part.job.as_str(), average: rounded(part.average, 2) }).collect(),
        before: rounded(account.before, 2),
        unseen: rounded(account.unseen, 2),
    }
}

fn stuck(task: &StuckTask) -> Stuck<'_> {
    Stuck {
        pid: task.pid,
        tid: task.tid,
        seconds: task.stuck_for.map(|stuck| rounded(stuck.seconds, 1)),
        exact: task.stuck_for.map(|stuck| stuck.exact),
        stack: task.stack.iter().map(String::as_str).collect(),
    }
}

/// A job, as the contract has it.
pub(super) fn job_out(job: &Job) -> JobOut<'_> {
    let facts = &job.facts;
    JobOut {
        id: facts.id.as_str(),
        name: &facts.name,
        kind: facts.finding.kind.name(),
        tool: facts.finding.tool.as_deref(),
        work: facts.finding.work.as_deref(),
        confidence: rounded(facts.finding.confidence, 2),
        evidence: facts.finding.evidence.iter().map(|evidence| evidence.text.as_str()).collect(),
        launched_by: facts.launched_by.as_deref(),
        unit: facts.unit.as_deref(),
        container: facts.container.as_deref(),
        user: facts.user.as_deref(),
        root_pid: facts.root.map(|root| root.pid),
        pids: facts.members.iter().map(|member| member.id.pid).collect(),
        carried_pids: facts.carried.iter().map(|member| member.id.pid).collect(),
        started_at: facts.started_at,
        role: job.role.name(),
        cpu_cores: job.usage.cpu_cores.map(|cores| rounded(cores, 3)),
        cpu_wait_s_per_s: job.usage.cpu_wait.map(|wait| rounded(wait, 3)),
        read_bytes_s: job.usage.read_bytes.map(f64::round),
        write_bytes_s: job.usage.write_bytes.map(f64::round),
        runnable: job.runnable,
        uninterruptible: job.uninterruptible,
        share: Share { cpu: job.share.cpu.map(|share| rounded(share, 3)), disk: job.share.disk.map(|share| rounded(share, 3)) },
        usual: job.usual.map(|usual| UsualOut { runs: usual.runs, seconds: rounded(usual.seconds, 1) }),
        resident_bytes: job.usage.resident,
        memory_growth_bytes_s: job.usage.memory_growth.map(|growth| rounded(growth, 0)),
        disks: job.disks.as_ref().map(|disks| disks.iter().map(CompactString::as_str).collect()),
        stalls: stalls(job.stalls),
    }
}

fn stalls(stalls: Stalls) -> StallsOut {
    let part = |part: Option<f64>| part.map(|part| rounded(part, 3));
    StallsOut {
        cpu: part(stalls.cpu),
        io: part(stalls.io),
        memory: part(stalls.memory),
        throttled_s_per_s: part(stalls.throttled),
        limit_hits_s: part(stalls.limited),
    }
}

/// Digits that were not measured are not printed.
pub(super) fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
