//! The analysis on written scenarios: each file in `tests/scenarios/` describes a host in compact rows and what whytop must
//! say of it. The runner turns the rows into samples (counters that grow at the given rates) and feeds the monitor, so the
//! whole way from sample to verdict is under test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use whytop::analysis::diagnosis::Diagnosis;
use whytop::history::Limits;
use whytop::monitor::Monitor;
use whytop::sample::{
    Cost, CpuTimes, Gap, Host, HostFacts, Identity, IoBytes, LoadAverage, Pressure, Process, Sample, Task, TaskState, Wait,
};
use whytop::units::{Pid, ProcessId, SECOND, TaskId};

const TICKS: u64 = 100;
/// Seconds of uptime at the first sample.
const UP: f64 = 100_000.0;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scenario {
    /// What it is about; shown when it fails.
    about: String,
    #[serde(default = "two")]
    cpus: usize,
    /// CPUs in use; default: what the rows use together.
    busy: Option<f64>,
    /// Seconds from the first sample to the last; samples are taken at 0, 0.2, 1.2, 2.2, ...
    #[serde(default = "three")]
    seconds: f64,
    #[serde(default)]
    ordinary_user: bool,
    /// Share of the time that I/O held somebody up, in percent; without it there is no pressure information.
    io_pressure: Option<f64>,
    process: Vec<Row>,
    expect: Expect,
}

fn two() -> usize {
    2
}

fn three() -> f64 {
    3.2
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    pid: Pid,
    #[serde(default = "init")]
    parent: Pid,
    /// Default: its own.
    group: Option<Pid>,
    /// Default: its own.
    session: Option<Pid>,
    #[serde(default)]
    tty: bool,
    comm: String,
    #[serde(default)]
    argv: Vec<String>,
    #[serde(default)]
    cgroup: Option<String>,
    #[serde(default = "root")]
    user: String,
    #[serde(default)]
    kernel: bool,
    /// Seconds before the first sample that it started; negative: after it.
    #[serde(default = "day")]
    age: f64,
    /// Gone from this second on; its children go to init.
    ends: Option<f64>,
    /// CPUs in use.
    #[serde(default)]
    cpu: f64,
    /// Run delay, seconds per second.
    #[serde(default)]
    wait: f64,
    #[serde(default)]
    runnable: u32,
    #[serde(default)]
    stuck: u32,
    wchan: Option<String>,
    #[serde(default)]
    read_mb: f64,
    #[serde(default)]
    write_mb: f64,
    #[serde(default)]
    io_hidden: bool,
}

fn init() -> Pid {
    1
}

fn root() -> String {
    "root".to_owned()
}

fn day() -> f64 {
    86_400.0
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    severity: Option<String>,
    resource: Option<String>,
    /// Job names; an empty string stands for none.
    culprit: Option<String>,
    victims: Option<Vec<String>>,
    backup: Option<String>,
    #[serde(default)]
    headline: Vec<String>,
    /// Second from which on the verdict must stand.
    by: Option<f64>,
    #[serde(default)]
    job: Vec<ExpectJob>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectJob {
    name: String,
    pids: Option<BTreeSet<Pid>>,
    root: Option<Pid>,
    kind: Option<String>,
    launched_by: Option<String>,
    unit: Option<String>,
    tool: Option<String>,
    /// The job keeps the identity it had at the first sample it was seen in.
    #[serde(default)]
    same_identity: bool,
}

impl Row {
    fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start: ((UP - self.age) * TICKS as f64) as u64 }
    }

    fn alive(&self, second: f64) -> bool {
        second >= -self.age && self.ends.is_none_or(|ends| second < ends)
    }

    /// Seconds it has been at work.
    fn worked(&self, second: f64) -> f64 {
        second + self.age.min(60.0)
    }

    fn process(&self, second: f64, rows: &[Row]) -> Process {
        let parent_lives = rows.iter().any(|row| row.pid == self.parent && row.alive(second));
        let reaped: Vec<&Row> =
            rows.iter().filter(|row| row.parent == self.pid && row.ends.is_some_and(|ends| second >= ends)).collect();
        // The kernel adds what a child moved to its parent's count when the child is reaped.
        let bytes = |mb: fn(&Row) -> f64| {
            let own = mb(self) * self.worked(second);
            let children: f64 = reaped.iter().map(|row| mb(row) * row.worked(row.ends.unwrap_or_default())).sum();
            ((own + children) * 1e6) as u64
        };
        Process {
            id: self.id(),
            parent: if self.pid == 1 {
                0
            } else if parent_lives {
                self.parent
            } else {
                1
            },
            group: self.group.unwrap_or(self.pid),
            session: self.session.unwrap_or(self.pid),
            tty: if self.tty { 136 << 8 } else { 0 },
            comm: self.comm.as_str().into(),
            kernel_thread: self.kernel,
            forked_only: false,
            zombie: false,
            nice: 0,
            io: (!self.io_hidden).then(|| IoBytes {
                read: bytes(|row| row.read_mb),
                written: bytes(|row| row.write_mb),
                read_any: bytes(|row| row.read_mb),
                written_any: bytes(|row| row.write_mb),
            }),
        }
    }

    fn tasks(&self, second: f64) -> Vec<Task> {
        let busy = (self.stuck + self.runnable).max(1);
        let nanos = |rate: f64| (rate * self.worked(second) * SECOND as f64) as u64 / u64::from(busy);
        (0..busy)
            .map(|n| Task {
                id: TaskId { tid: self.pid + if n == 0 { 0 } else { 1_000_000 + n.cast_signed() }, start: self.id().start },
                pid: self.pid,
                state: match n {
                    n if n < self.stuck => TaskState::Uninterruptible,
                    n if n < self.stuck + self.runnable => TaskState::Runnable,
                    _ => TaskState::Sleeping,
                },
                cpu: nanos(self.cpu),
                run_delay: Some(nanos(self.wait)),
                wait: (n < self.stuck)
                    .then(|| Box::new(Wait { wchan: self.wchan.as_deref().map(Into::into), ..Wait::default() })),
            })
            .collect()
    }

    fn identity(&self) -> Arc<Identity> {
        let (argv, user) = (self.argv.clone(), Some(self.user.clone()));
        Arc::new(Identity { argv, exe: None, uid: None, user, cgroup: self.cgroup.clone() })
    }
}

impl Scenario {
    fn facts(&self) -> HostFacts {
        HostFacts {
            name: "web-07".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpus: self.cpus,
            ticks_per_second: TICKS,
            own_pid: None,
            root: !self.ordinary_user,
        }
    }

    fn sample(&self, second: f64) -> Sample {
        let rows: Vec<&Row> = self.process.iter().filter(|row| row.alive(second)).collect();
        let busy = self.busy.unwrap_or_else(|| rows.iter().map(|row| row.cpu).sum());
        let ticks = |cpus: f64| (cpus * (UP + second) * TICKS as f64) as u64;
        let hidden = rows.iter().filter(|row| row.io_hidden).count() as u32;
        Sample {
            at: "2026-11-22T15:03:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(second),
            since_boot: ((UP + second) * SECOND as f64) as u64,
            keyframe: true,
            host: Host {
                load: Some(LoadAverage { avg1: 4.0, avg5: 2.0, avg15: 1.0 }),
                cpu: Some(CpuTimes { busy: ticks(busy), idle: ticks(self.cpus as f64 - busy), iowait: 0, steal: 0 }),
                pressure: self.io_pressure.map(|io| Pressure {
                    cpu_some10: 0.0,
                    io_some10: io,
                    io_full10: io,
                    memory_some10: 0.0,
                    memory_full10: 0.0,
                }),
                ..Host::default()
            },
            processes: rows.iter().map(|row| row.process(second, &self.process)).collect(),
            tasks: rows.iter().flat_map(|row| row.tasks(second)).collect(),
            gone_processes: Vec::new(),
            gone_tasks: Vec::new(),
            clocks: Vec::new(),
            storage: None,
            open_files: Vec::new(),
            resident: Vec::new(),
            identities: rows.iter().filter(|row| !row.kernel).map(|row| (row.id(), row.identity())).collect(),
            gaps: if hidden > 0 { vec![Gap::IoDenied { processes: hidden }] } else { Vec::new() },
            cost: Cost::default(),
        }
    }

    fn run(&self) -> Vec<(f64, Diagnosis)> {
        let mut monitor = Monitor::new(&self.facts(), Limits::default());
        let mut times = vec![0.0, 0.2];
        while times.last().unwrap() + 1.0 <= self.seconds + 0.01 {
            times.push(times.last().unwrap() + 1.0);
        }
        let diagnoses: Vec<_> = times.into_iter().map(|second| (second, monitor.ingest(self.sample(second)))).collect();
        assert_eq!(monitor.history().samples().len(), diagnoses.len(), "every sample is in the ring");
        diagnoses
    }
}

/// What is wrong with this diagnosis, one line each.
fn differences(expect: &Expect, diagnosis: &Diagnosis, first: &Diagnosis) -> Vec<String> {
    let mut wrong = Vec::new();
    let verdict = &diagnosis.verdict;
    let name = |id: &whytop::analysis::diagnosis::JobId| diagnosis.job(id).map_or("?".to_owned(), |job| job.facts.name.clone());
    let mut check = |what: &str, want: Option<String>, got: String| {
        if let Some(want) = want.filter(|want| *want != got) {
            wrong.push(format!("{what}: expected {want:?}, got {got:?}"));
        }
    };
    check("severity", expect.severity.clone(), verdict.severity.name().to_owned());
    check("resource", expect.resource.clone(), verdict.resource.name().to_owned());
    check("culprit", expect.culprit.clone(), verdict.culprit.as_ref().map(name).unwrap_or_default());
    check("backup", expect.backup.clone(), verdict.backup.as_ref().map(name).unwrap_or_default());
    let victims: Vec<String> = verdict.victims.iter().map(name).collect();
    check("victims", expect.victims.as_ref().map(|want| format!("{want:?}")), format!("{victims:?}"));
    for part in &expect.headline {
        if !verdict.headline.contains(part) {
            wrong.push(format!("headline: no {part:?} in {:?}", verdict.headline));
        }
    }
    for want in &expect.job {
        let found = diagnosis.jobs.iter().find(|job| {
            job.facts.name == want.name && want.root.is_none_or(|root| job.facts.root.is_some_and(|id| id.pid == root))
        });
        let Some(job) = found else {
            let names: Vec<String> =
                diagnosis.jobs.iter().map(|job| format!("{} {:?}", job.facts.name, job.facts.root.map(|r| r.pid))).collect();
            wrong.push(format!("job {}: not there, only {names:?}", want.name));
            continue;
        };
        let facts = &job.facts;
        let mut check = |what: &str, want: Option<String>, got: String| {
            if let Some(want) = want.filter(|want| *want != got) {
                wrong.push(format!("job {}, {what}: expected {want:?}, got {got:?}", facts.name));
            }
        };
        let pids: BTreeSet<Pid> = facts.members.iter().map(|member| member.id.pid).collect();
        check("pids", want.pids.as_ref().map(|pids| format!("{pids:?}")), format!("{pids:?}"));
        check("kind", want.kind.clone(), facts.finding.kind.name().to_owned());
        check("launched by", want.launched_by.clone(), facts.launched_by.clone().unwrap_or_default());
        check("unit", want.unit.clone(), facts.unit.clone().unwrap_or_default());
        check("tool", want.tool.clone(), facts.finding.tool.clone().unwrap_or_default());
        if want.same_identity && first.job(&facts.id).is_none() {
            wrong.push(format!("job {}: has another identity than at first: {}", facts.name, facts.id));
        }
    }
    wrong
}

#[test]
fn every_scenario_is_told_rightly() {
    let mut paths: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut failures = Vec::new();
    for path in &paths {
        let scenario: Scenario =
            toml::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let diagnoses = scenario.run();
        let by = scenario.expect.by.unwrap_or(scenario.seconds - 0.01);
        let judged: Vec<_> = diagnoses.iter().filter(|(second, _)| *second >= by - 1e-9).collect();
        assert!(!judged.is_empty(), "{}: nothing judged", path.display());
        for (second, diagnosis) in judged {
            let wrong = differences(&scenario.expect, diagnosis, &diagnoses[0].1);
            if !wrong.is_empty() {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                failures.push(format!(
                    "{name} ({}) at {second} s, {:?}:\n    {}",
                    scenario.about,
                    diagnosis.verdict.headline,
                    wrong.join("\n    ")
                ));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {} scenarios:\n{}", failures.len(), paths.len(), failures.join("\n"));
}

#[test]
fn the_order_of_processes_changes_nothing() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")).unwrap() {
        let path = entry.unwrap().path();
        let mut scenario: Scenario = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let headlines = |scenario: &Scenario| scenario.run().into_iter().map(|(_, d)| d.verdict.headline).collect::<Vec<_>>();
        let straight = headlines(&scenario);
        scenario.process.reverse();
        assert_eq!(straight, headlines(&scenario), "{}", path.display());
    }
}
