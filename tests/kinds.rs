//! The recogniser of backups over cases: tests/kinds/*.toml, each a job and what it must be taken for.
//!
//! `WHYTOP_SCENES=file.jsonl cargo test --test kinds -- --nocapture scenes` scores whole scenes (process tables with a label) too;
//! without the variable that test says that it was skipped. `WHYTOP_SCENES_NO_FILES` and `WHYTOP_SCENES_NO_ARGUMENTS` hide what only
//! root sees; `WHYTOP_SCENES_AGE` is how long the processes have been up, in seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use whytop::analysis::diagnosis::{Finding, Kind};
use whytop::analysis::kind::tools::{DATA, tools};
use whytop::analysis::kind::{JobShape, Launcher, OpenFiles, ProcessShape, backup_strength, judge};
use whytop::sample::IoBytes;
use whytop::units::ProcessId;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

/// A job and what it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    kind: String,
    tool: Option<String>,
    /// Confidence that must be reached.
    least: Option<f64>,
    /// Confidence that must not be passed.
    most: Option<f64>,
    /// A part of one of the sentences of evidence.
    says: Option<String>,
    better_signal: Option<String>,
    #[serde(default)]
    launcher: String,
    unit: Option<String>,
    processes: Vec<Actor>,
}

/// A process of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Actor {
    /// Command line; words in single quotes stay together.
    #[serde(default)]
    run: String,
    /// A title that the process gave itself: one argument.
    title: Option<String>,
    comm: Option<String>,
    exe: Option<String>,
    /// Place of the parent in the list; the first process without.
    #[serde(default)]
    below: usize,
    #[serde(default = "a_minute")]
    age: f64,
    /// CPUs.
    #[serde(default)]
    cpu: f64,
    /// MB/s.
    #[serde(default)]
    read: f64,
    #[serde(default)]
    write: f64,
    /// I/O cannot be seen.
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    terminal: bool,
    #[serde(default)]
    reads: Vec<String>,
    #[serde(default)]
    writes: Vec<String>,
    #[serde(default)]
    user: Option<String>,
}

const fn a_minute() -> f64 {
    60.0
}

fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn cut(name: &str) -> String {
    name.rsplit('/').next().unwrap().chars().take(15).collect()
}

/// Everything a shape borrows.
struct Owned {
    pid: i32,
    parent: i32,
    comm: String,
    argv: Vec<String>,
    exe: Option<String>,
    user: Option<String>,
    terminal: bool,
    age: f64,
    cores: f64,
    io: Option<(f64, f64)>,
    reads: Vec<String>,
    writes: Vec<String>,
}

impl Owned {
    fn shape(&self) -> ProcessShape<'_> {
        ProcessShape {
            id: ProcessId { pid: self.pid, start: 1 },
            parent: self.parent,
            group: self.pid,
            comm: &self.comm,
            argv: &self.argv,
            exe: self.exe.as_deref(),
            user: self.user.as_deref(),
            on_terminal: self.terminal,
            age: self.age,
            cpu_seconds: self.cores * self.age,
            io: self.io.map(|(read, write)| {
                let (read, written) = ((read * 1e6 * self.age) as u64, (write * 1e6 * self.age) as u64);
                IoBytes { read, written, read_any: read, written_any: written }
            }),
            recent: None,
            files: OpenFiles { reading: &self.reads, writing: &self.writes },
        }
    }
}

impl Case {
    fn judge(&self) -> Finding {
        let actors: Vec<Owned> = self
            .processes
            .iter()
            .enumerate()
            .map(|(at, actor)| {
                let argv = actor.title.clone().map_or_else(|| split(&actor.run), |title| vec![title]);
                let comm = actor.comm.clone().unwrap_or_else(|| cut(argv.first().map_or("", String::as_str)));
                Owned {
                    pid: 100 + at as i32,
                    parent: if at == 0 { 1 } else { 100 + actor.below as i32 },
                    comm,
                    argv,
                    exe: actor.exe.clone(),
                    user: actor.user.clone(),
                    terminal: actor.terminal,
                    age: actor.age,
                    cores: actor.cpu,
                    io: (!actor.hidden).then_some((actor.read, actor.write)),
                    reads: actor.reads.clone(),
                    writes: actor.writes.clone(),
                }
            })
            .collect();
        let launcher = match self.launcher.as_str() {
            "cron" => Launcher::Cron,
            "at" => Launcher::At,
            "service" => Launcher::ServiceManager,
            "ssh" => Launcher::SshCommand,
            "shell" => Launcher::Shell,
            "container" => Launcher::ContainerEngine,
            "supervisor" => Launcher::Supervisor,
            "automation" => Launcher::Automation,
            "" => Launcher::Unknown,
            other => panic!("{}: launcher {other}", self.name),
        };
        judge(&JobShape {
            processes: actors.iter().map(Owned::shape).collect(),
            unit: self.unit.as_deref(),
            container: None,
            launcher,
        })
    }

    fn complaint(&self) -> Option<String> {
        let finding = self.judge();
        let mut wrong = Vec::new();
        if finding.kind.name() != self.kind {
            wrong.push(format!("kind {}, wanted {}", finding.kind.name(), self.kind));
        }
        if self.tool.is_some() && finding.tool != self.tool {
            wrong.push(format!("tool {:?}, wanted {:?}", finding.tool, self.tool));
        }
        if self.better_signal.is_some() && finding.better_signal != self.better_signal {
            wrong.push(format!("signal {:?}, wanted {:?}", finding.better_signal, self.better_signal));
        }
        if self.least.is_some_and(|least| finding.confidence < least) || self.most.is_some_and(|most| finding.confidence > most) {
            wrong.push(format!("confidence {:.2}", finding.confidence));
        }
        if let Some(says) = &self.says
            && !finding.evidence.iter().any(|evidence| evidence.text.contains(says))
        {
            wrong.push(format!("no evidence says '{says}'"));
        }
        (!wrong.is_empty()).then(|| format!("{}: {}\n{}", self.name, wrong.join(", "), told(&finding)))
    }
}

fn told(finding: &Finding) -> String {
    let evidence: Vec<String> = finding.evidence.iter().map(|e| format!("      {:+.2} {}", e.weight, e.text)).collect();
    format!("    {} {:?} {:.2}\n{}", finding.kind.name(), finding.tool, finding.confidence, evidence.join("\n"))
}

#[test]
fn every_case_is_taken_for_what_it_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds");
    let mut complaints = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let cases: Cases =
            toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        count += cases.case.len();
        complaints.extend(cases.case.iter().filter_map(Case::complaint));
    }
    assert!(complaints.is_empty(), "{} of {count} cases:\n{}", complaints.len(), complaints.join("\n"));
    assert!(count >= 60, "only {count} cases were read");
}

/// The data file as it is written, to look for what the catalogue would quietly take.
#[derive(Deserialize)]
struct Data {
    tool: Vec<toml::Table>,
    group: Vec<toml::Table>,
}

#[test]
fn the_data_file_is_sound() {
    let data: Data = toml::from_str(DATA).unwrap();
    let mut names = HashSet::new();
    let text = |table: &toml::Table, key: &str| table.get(key).and_then(toml::Value::as_str).map(str::to_owned);
    for table in data.tool.iter().chain(&data.group) {
        let list = table["names"].as_array().unwrap();
        assert!(!list.is_empty(), "an entry without names: {table:?}");
        for name in list {
            let name = name.as_str().unwrap();
            assert_eq!(name, name.to_lowercase(), "names are looked up in lower case");
            assert!(!name.contains('/') && !name.contains(' '), "{name} is no name");
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            assert!(tools().find(name).is_some(), "{name} is not found");
        }
        for key in ["backup", "batch", "quiet", "agent"] {
            for word in table.get(key).and_then(toml::Value::as_array).into_iter().flatten() {
                let word = word.as_str().unwrap();
                assert!(!word.trim().is_empty(), "{list:?}: empty word in {key}");
                assert!(!word.starts_with('~') || word == word.to_lowercase(), "{list:?}: {word} must be in lower case");
                let lists = ["backup", "batch", "quiet", "agent"];
                let holding = lists.iter().filter(|other| {
                    table
                        .get(**other)
                        .and_then(toml::Value::as_array)
                        .is_some_and(|words| words.iter().filter_map(toml::Value::as_str).any(|other| other == word))
                });
                assert_eq!(holding.count(), 1, "{list:?}: {word} is in two lists");
            }
        }
        if let Some(weight) = table.get("weight").and_then(toml::Value::as_float) {
            assert!(weight > 0.0 && weight < 1.0, "{list:?}: weight {weight}");
        }
        if let Some(consequence) = text(table, "consequence") {
            assert!(consequence.ends_with('.'), "{list:?}: a consequence is a sentence: {consequence}");
        }
        if let Some(signal) = text(table, "better_signal") {
            assert!(["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"].contains(&signal.as_str()), "{list:?}: {signal}");
        }
    }
    assert_eq!(names.len(), tools().len(), "the catalogue holds every name");
}

#[test]
fn hostile_text_does_not_reach_the_evidence() {
    let argv: Vec<String> = ["/opt/x/\x1b[31mbackup\n.sh", "--dump", "/mnt/nas/\u{202e}a.tar.gz"].map(str::to_owned).into();
    let owned = Owned {
        pid: 7,
        parent: 1,
        comm: "back\x1bup".into(),
        argv,
        exe: None,
        user: None,
        terminal: false,
        age: 9.0,
        cores: 1.0,
        io: Some((50.0, 50.0)),
        reads: Vec::new(),
        writes: vec!["/mnt/backup/\x07.tar".into()],
    };
    let finding = judge(&JobShape {
        processes: vec![owned.shape()],
        unit: Some("a\x1bbackup.service"),
        container: None,
        launcher: Launcher::Cron,
    });
    assert_eq!(finding.kind, Kind::Backup, "{}", told(&finding));
    let texts = finding.evidence.iter().map(|evidence| &evidence.text).chain(&finding.tool);
    for text in texts {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn odd_shapes_are_survived() {
    let empty = JobShape { processes: Vec::new(), unit: None, container: None, launcher: Launcher::Unknown };
    assert_eq!(judge(&empty).kind, Kind::Unknown);
    for argv in [
        vec![],
        vec![""],
        vec!["", ""],
        vec!["-"],
        vec!["sh", "-c"],
        vec!["sh", "-c", ""],
        vec!["tar", "-"],
        vec!["é", "ü:ö", "'\""],
        vec!["sh", "-c", "é'ü|$(("],
    ] {
        let owned = Owned {
            pid: 7,
            parent: 7,
            comm: "éééééééé".into(),
            argv: argv.iter().map(|arg| (*arg).to_owned()).collect(),
            exe: Some("/é (deleted)".into()),
            user: None,
            terminal: false,
            age: 0.0,
            cores: f64::NAN,
            io: None,
            reads: Vec::new(),
            writes: Vec::new(),
        };
        let _ = judge(&JobShape {
            processes: vec![owned.shape(), owned.shape()],
            unit: Some(""),
            container: None,
            launcher: Launcher::Unknown,
        });
        let _ = backup_strength(&owned.shape());
    }
}

#[test]
fn a_table_of_five_thousand_processes_takes_milliseconds() {
    let lines = [
        "nginx: worker process",
        "/usr/bin/python3 /srv/app/venv/bin/gunicorn app.wsgi -w 4",
        "tar cf - /srv/www",
        "/opt/x/unknown --flag value /srv/data",
        "/bin/sh -c 'cd / && x | gzip > /srv/y.gz'",
        "java -Xmx4g -cp /a:/b org.example.Main serve",
    ];
    let owned: Vec<Owned> = (0..5000)
        .map(|at| Owned {
            pid: 100 + at,
            parent: 1,
            comm: "x".into(),
            argv: split(lines[at as usize % lines.len()]),
            exe: None,
            user: None,
            terminal: false,
            age: 60.0,
            cores: 0.1,
            io: Some((1.0, 1.0)),
            reads: Vec::new(),
            writes: Vec::new(),
        })
        .collect();
    tools();
    let start = std::time::Instant::now();
    for process in &owned {
        judge(&JobShape { processes: vec![process.shape()], unit: None, container: None, launcher: Launcher::Cron });
    }
    let judged = start.elapsed();
    for process in &owned {
        backup_strength(&process.shape());
    }
    println!("5,000 processes: judge {judged:?}, strength {:?}", start.elapsed() - judged);
    // 5 µs each is what a release build must keep; a debug build on a busy machine takes tens of times that.
    assert!(judged.as_millis() < 2500, "{judged:?}");
}

// ---- Scenes ----------------------------------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Scene {
    id: String,
    label: String,
    tool: String,
    why: String,
    processes: Vec<Extra>,
    culprit_pid: Option<i32>,
    tree_pids: Vec<i32>,
    #[serde(default)]
    hard: bool,
}

#[derive(Deserialize)]
struct Extra {
    pid: i32,
    ppid: i32,
    comm: String,
    exe: Option<String>,
    argv: Vec<String>,
    cgroup: Option<String>,
    user: serde_json::Value,
    cpu_pct: f64,
    read_mb_s: f64,
    write_mb_s: f64,
    #[serde(default)]
    open_files: Vec<String>,
}

/// Roughly what the job builder does: units, else trees below launchers; the culprit's tree as labelled.
fn jobs<'a>(scene: &Scene, owned: &'a BTreeMap<i32, Owned>) -> Vec<(i32, JobShape<'a>, Option<String>)> {
    const SHARED: [&str; 14] = [
        "cron",
        "crond",
        "ssh",
        "sshd",
        "atd",
        "containerd",
        "docker",
        "gitlab-runner",
        "pm2",
        "pvedaemon",
        "supervisor",
        "nagios-nrpe",
        "anacron",
        "rsync@",
    ];
    let by_pid: HashMap<i32, &Extra> = scene.processes.iter().map(|p| (p.pid, p)).collect();
    let tree: HashSet<i32> = scene.tree_pids.iter().copied().collect();
    let launches = |p: &Extra| {
        let name = p.argv.first().map_or("", |first| first.split(' ').next().unwrap().rsplit('/').next().unwrap());
        p.pid <= 2
            || [
                "cron",
                "CRON",
                "crond",
                "CROND",
                "atd",
                "anacron",
                "run-parts",
                "containerd-shim",
                "gitlab-runner",
                "systemd",
                "PM2",
                "dockerd",
            ]
            .iter()
            .any(|l| p.comm.starts_with(l))
            || p.argv.first().is_some_and(|a| a.starts_with("sshd") || a.starts_with("PM2"))
            || p.argv.len() == 1 && name.trim_start_matches('-') == "bash"
            || p.argv.iter().any(|a| a.contains("run-parts"))
    };
    let key = |p: &Extra| -> (String, i32) {
        if tree.contains(&p.pid) {
            return ("tree".into(), scene.culprit_pid.unwrap_or(p.pid));
        }
        let unit = p.cgroup.as_deref().and_then(|c| c.rsplit('/').next()).unwrap_or("");
        if unit.ends_with(".service") && !SHARED.iter().any(|s| unit.starts_with(s)) {
            return (unit.into(), 0);
        }
        let mut top = p;
        while let Some(parent) = by_pid.get(&top.ppid).filter(|parent| !launches(parent) && !tree.contains(&parent.pid)) {
            top = parent;
        }
        (String::new(), top.pid)
    };
    let mut groups: BTreeMap<(String, i32), Vec<i32>> = BTreeMap::new();
    for p in &scene.processes {
        if !p.argv.is_empty() && p.pid != 1 {
            groups.entry(key(p)).or_default().push(p.pid);
        }
    }
    groups
        .into_iter()
        .map(|((group, root), mut pids)| {
            if let Some(at) = pids.iter().position(|pid| *pid == root) {
                pids.remove(at);
                pids.insert(0, root);
            }
            let root = by_pid[&pids[0]];
            let unit =
                root.cgroup.as_deref().and_then(|c| c.rsplit('/').next()).filter(|u| u.ends_with(".service")).map(str::to_owned);
            let unit = unit.filter(|u| !SHARED.iter().any(|s| u.starts_with(s)));
            let up = by_pid.get(&root.ppid);
            let up_name = up.map_or("", |p| p.comm.as_str());
            let up_title = up.and_then(|p| p.argv.first()).map_or("", String::as_str);
            let launcher = if ["cron", "crond", "run-parts", "anacron"].contains(&up_name) {
                Launcher::Cron
            } else if up_name == "atd" {
                Launcher::At
            } else if up_name.starts_with("containerd-shim") {
                Launcher::ContainerEngine
            } else if up_name == "gitlab-runner" {
                Launcher::Automation
            } else if up_title.contains("notty") {
                Launcher::SshCommand
            } else if up_title.ends_with("bash") {
                Launcher::Shell
            } else if up_name.starts_with("PM2") {
                Launcher::Supervisor
            } else if root.ppid == 1 && unit.is_some() {
                Launcher::ServiceManager
            } else {
                Launcher::Unknown
            };
            let _ = group;
            (root.pid, pids.iter().map(|pid| owned[pid].shape()).collect::<Vec<_>>(), unit, launcher)
        })
        .map(|(root, processes, unit, launcher)| (root, JobShape { processes, unit: None, container: None, launcher }, unit))
        .collect()
}

#[test]
fn scenes() {
    let Ok(path) = std::env::var("WHYTOP_SCENES") else {
        println!("skipped: WHYTOP_SCENES names no file of scenes");
        return;
    };
    let with_files = std::env::var_os("WHYTOP_SCENES_NO_FILES").is_none();
    let bare = std::env::var_os("WHYTOP_SCENES_NO_ARGUMENTS").is_some();
    let age: f64 = std::env::var("WHYTOP_SCENES_AGE").ok().and_then(|age| age.parse().ok()).unwrap_or(60.0);
    let (mut hit, mut missed, mut false_alarms) = (0, 0, 0);
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let scene: Scene = serde_json::from_str(line).unwrap();
        let owned: BTreeMap<i32, Owned> = scene
            .processes
            .iter()
            .map(|p| {
                let written = p.write_mb_s > 0.0 && with_files;
                let is_sink = |file: &str| place_like_a_sink(file);
                let any = p.open_files.iter().any(|file| is_sink(file));
                let (writes, reads): (Vec<String>, Vec<String>) = p
                    .open_files
                    .iter()
                    .filter(|_| with_files)
                    .cloned()
                    .partition(|file| written && (is_sink(file) || !any && Some(file) == p.open_files.last()));
                let user = p.user.as_str().map_or_else(|| p.user.to_string(), str::to_owned);
                (
                    p.pid,
                    Owned {
                        pid: p.pid,
                        parent: p.ppid,
                        comm: p.comm.clone(),
                        argv: p.argv.iter().take(if bare { 1 } else { usize::MAX }).cloned().collect(),
                        exe: p.exe.clone(),
                        user: Some(user),
                        terminal: false,
                        age,
                        cores: p.cpu_pct / 100.0,
                        io: Some((p.read_mb_s, p.write_mb_s)),
                        reads,
                        writes,
                    },
                )
            })
            .collect();
        let mut found = false;
        for (root, mut job, unit) in jobs(&scene, &owned) {
            job.unit = unit.as_deref();
            let finding = judge(&job);
            let is_culprit = scene.label == "backup" && scene.culprit_pid == Some(root);
            let strength = job.processes.iter().map(backup_strength).fold(0.0, f64::max);
            if is_culprit {
                found = finding.kind == Kind::Backup;
                if !found {
                    println!(
                        "MISS {} {} hard={} strength {strength:.2} {}\n{}",
                        scene.id,
                        scene.tool,
                        scene.hard,
                        scene.why,
                        told(&finding)
                    );
                } else if finding.confidence < 0.7 {
                    println!("low  {} {}\n{}", scene.id, scene.tool, told(&finding));
                }
            } else if finding.kind == Kind::Backup {
                false_alarms += 1;
                println!("FALSE {} {} {} {}\n{}", scene.id, scene.label, scene.tool, scene.why, told(&finding));
            } else if scene.label != "backup" && scene.culprit_pid == Some(root) && finding.kind != Kind::Batch {
                println!("batch? {} {}\n{}", scene.id, scene.tool, told(&finding));
            } else if !is_culprit && strength >= 0.5 {
                println!("strong? {} {} {strength:.2} root {root}", scene.id, scene.tool);
            }
        }
        if scene.label == "backup" {
            if found {
                hit += 1;
            } else {
                missed += 1;
            }
        }
    }
    println!(
        "backup: {hit} found, {missed} missed, {false_alarms} false: precision {:.3} recall {:.3}",
        f64::from(hit) / f64::from(hit + false_alarms),
        f64::from(hit) / f64::from(hit + missed)
    );
}

fn place_like_a_sink(file: &str) -> bool {
    [
        ".gz", ".tgz", ".bz2", ".xz", ".zst", ".lz4", ".tar", "dump", ".sql", ".bak", ".vma", ".img", ".7z", ".zip", ".tmp",
        ".part", ".dat", ".rdb", ".ldif", "back", "/mnt/", "nas",
    ]
    .iter()
    .any(|part| file.contains(part))
}
