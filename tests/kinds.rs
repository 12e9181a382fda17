//! The recogniser of backups over cases: tests/kinds/*.toml, each a job and what it must be taken for.
//!
//! `WHYTOP_SCENES=file.jsonl cargo test --test kinds -- --nocapture scenes` scores whole scenes (process tables with a label) too;
//! without the variable that test says that it was skipped. `WHYTOP_SCENES_NO_FILES` and `WHYTOP_SCENES_NO_ARGUMENTS` hide what only
//! root sees; `WHYTOP_SCENES_AGE` is how long the processes have been up, in seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use whytop::analysis::diagnosis::{Finding, Kind};
use whytop::analysis::kind::tools::{DATA, tools};
use whytop::analysis::kind::{JobShape, Launcher, OpenFiles, ProcessShape, backup_part, backup_strength, judge};
use whytop::sample::IoBytes;
use whytop::units::ProcessId;

#[path = "kinds/scenes.rs"]
mod scenes;

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
    /// Where the backup begins inside it.
    part: Option<usize>,
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
    below: i32,
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
            leaf: true,
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

/// These processes as one job's.
fn processes<'a>(owned: impl IntoIterator<Item = &'a Owned>) -> Vec<ProcessShape<'a>> {
    let mut shapes: Vec<ProcessShape> = owned.into_iter().map(Owned::shape).collect();
    let parents: Vec<i32> = shapes.iter().map(|shape| shape.parent).collect();
    for shape in &mut shapes {
        shape.leaf = !parents.contains(&shape.id.pid);
    }
    shapes
}

impl Case {
    fn judge(&self) -> (Finding, Option<usize>) {
        let actors: Vec<Owned> = self
            .processes
            .iter()
            .zip(0..)
            .map(|(actor, at)| {
                let argv = actor.title.clone().map_or_else(|| split(&actor.run), |title| vec![title]);
                let comm = actor.comm.clone().unwrap_or_else(|| cut(argv.first().map_or("", String::as_str)));
                Owned {
                    pid: 100 + at,
                    parent: if at == 0 { 1 } else { 100 + actor.below },
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
        let job = JobShape { processes: processes(&actors), unit: self.unit.as_deref(), container: None, launcher };
        (judge(&job), backup_part(&job))
    }

    fn complaint(&self) -> Option<String> {
        let (finding, part) = self.judge();
        let mut wrong = Vec::new();
        if self.part.is_some() && part != self.part {
            wrong.push(format!("part {part:?}, wanted {:?}", self.part));
        }
        if finding.kind.name() != self.kind {
            wrong.push(format!("kind {}, wanted {}", finding.kind.name(), self.kind));
        }
        if self.tool.is_some() && finding.tool != self.tool {
            wrong.push(format!("tool {:?}, wanted {:?}", finding.tool, self.tool));
        }
        if self.better_signal.is_some() && finding.advice.better_signal != self.better_signal {
            wrong.push(format!("signal {:?}, wanted {:?}", finding.advice.better_signal, self.better_signal));
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
        if path.extension().is_none_or(|end| end != "toml") {
            continue;
        }
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
    let start = std::time::Instant::now();
    for process in &owned {
        backup_strength(&process.shape());
    }
    println!("5,000 processes: judge {judged:?}, strength {:?}", start.elapsed());
    // 5 µs each is what a release build must keep; a debug build on a busy machine takes tens of times that.
    assert!(judged.as_millis() < 2500, "{judged:?}");
}
