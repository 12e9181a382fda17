//! The recogniser of backups over cases: tests/kinds/*.toml, each a job and what it must be taken for. `cargo test --test kinds --
//! --nocapture score` prints how many of them the whole of whytop gets right. All files but one were looked at while weights were chosen:
//! what they hold must stay right, and says little of jobs that nobody thought of. `unseen.toml` was not; only `score` reads it.
//!
//! Whole hosts, process tables with a label, are in `hosts.jsonl` and, those that came last, in `hosts-last.jsonl`: `… --nocapture whole_hosts`.
//! `WHYTOP_SCENES=file.jsonl cargo test --test kinds -- --nocapture scenes` scores whole scenes (process tables with a label) too;
//! without the variable that test says that it was skipped. `WHYTOP_SCENES_NO_FILES` and `WHYTOP_SCENES_NO_ARGUMENTS` hide what only
//! root sees; `WHYTOP_SCENES_AGE` is how long the processes have been up, in seconds, and `WHYTOP_SCENES_STEP` by how many
//! each is younger than its parent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test ends where it fails")]

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use whytop::analysis::diagnosis::{Finding, Kind};
use whytop::analysis::kind::catalogue::DATA;
use whytop::analysis::kind::{
    Catalogue, JobShape, Launcher, OpenFiles, ProcessShape, Recent, backup_part, backup_strength, judge,
};
use whytop::sample::IoBytes;
use whytop::units::ProcessId;

#[path = "kinds/scenes.rs"]
mod scenes;
#[path = "kinds/stage.rs"]
mod stage;

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
    /// What its work is called.
    work: Option<String>,
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
    /// Tasks that wait for a disk or a CPU.
    #[serde(default)]
    waiting: f64,
    /// I/O cannot be seen.
    #[serde(default)]
    hidden: bool,
    #[serde(default)]
    terminal: bool,
    #[serde(default)]
    reads: Vec<String>,
    #[serde(default)]
    writes: Vec<String>,
    /// Of what is written, what lies on another host's disk.
    #[serde(default)]
    away: Vec<String>,
    /// Of what is written, what was seen to grow.
    #[serde(default)]
    grows: Vec<String>,
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    nice: i8,
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
    waiting: f64,
    reads: Vec<String>,
    writes: Vec<String>,
    away: Vec<String>,
    grows: Vec<String>,
    nice: i8,
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
            nice: self.nice,
            age: self.age,
            cpu_seconds: self.cores * self.age,
            io: self.io.map(|(read, write)| {
                let (read, written) = ((read * 1e6 * self.age) as u64, (write * 1e6 * self.age) as u64);
                IoBytes { read, written, read_any: read, written_any: written }
            }),
            recent: (self.waiting > 0.0).then(|| Recent {
                cpu_cores: self.cores,
                read_bytes: self.io.map(|(read, _)| read * 1e6),
                write_bytes: self.io.map(|(_, write)| write * 1e6),
                waiting: self.waiting,
            }),
            files: OpenFiles { reading: &self.reads, writing: &self.writes, away: &self.away, growing: &self.grows },
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
    /// Its processes, the root with the number 100.
    fn owned(&self) -> Vec<Owned> {
        self.processes
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
                    waiting: actor.waiting,
                    reads: actor.reads.clone(),
                    writes: actor.writes.clone(),
                    away: actor.away.clone(),
                    grows: actor.grows.clone(),
                    nice: actor.nice,
                }
            })
            .collect()
    }

    fn judge(&self) -> (Finding, Option<usize>) {
        let actors = self.owned();
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
        let container = (launcher == Launcher::ContainerEngine).then_some("3f4e5a6b7c8d");
        let job = JobShape { processes: processes(&actors), unit: self.unit.as_deref(), container, launcher };
        (judge(&job, &Catalogue::built_in()), backup_part(&job, &Catalogue::built_in()))
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
        if self.work.is_some() && finding.work != self.work {
            wrong.push(format!("work {:?}, wanted {:?}", finding.work, self.work));
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

/// The file that nothing was fitted to.
const UNSEEN: &str = "unseen";

/// The files of cases, by name, with their cases.
fn corpus() -> Vec<(String, Vec<Case>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, Vec<Case>)> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| {
            let cases = toml::from_str::<Cases>(&fs::read_to_string(&path).unwrap());
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, cases.unwrap_or_else(|e| panic!("{}: {e}", path.display())).case)
        })
        .collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    files
}

#[test]
fn every_case_is_taken_for_what_it_is() {
    let corpus = corpus();
    let cases = || corpus.iter().filter(|(file, _)| file != UNSEEN).flat_map(|(_, cases)| cases);
    let complaints: Vec<String> = cases().filter_map(Case::complaint).collect();
    assert!(complaints.is_empty(), "{} of {} cases:\n{}", complaints.len(), cases().count(), complaints.join("\n"));
    assert!(cases().count() >= 190, "only {} cases were read", cases().count());
}

/// `cargo test --test kinds -- --nocapture score` prints it: each case on a host of its own, through the monitor.
#[test]
fn score() {
    let (mut fitted, mut unseen) = (Sum::default(), Sum::default());
    for (file, cases) in corpus() {
        let mut sum = Sum::default();
        for case in &cases {
            let answer = stage::play(case);
            if answer.wanted != answer.said || answer.said && (!answer.root || answer.members < 1.0) {
                println!("  {file}: {}: {answer:?}", case.name);
            }
            sum.add(&answer);
            if file == UNSEEN { unseen.add(&answer) } else { fitted.add(&answer) }
        }
        println!(
            "{file}: {} cases, {} of {} backups found, {} false alarms",
            cases.len(),
            sum.found,
            sum.wanted,
            sum.false_alarms
        );
    }
    println!("looked at while weights were chosen: {fitted}");
    println!("{UNSEEN}: {unseen}");
    assert!(fitted.precision() >= 0.97 && fitted.recall() >= 0.95 && fitted.whole() >= 0.95, "see above");
    // A hold against a landslide: twenty cases are too few for more.
    assert!(unseen.precision() >= 0.75 && unseen.recall() >= 0.7, "see above");
}

/// What came out of many cases.
#[derive(Default)]
struct Sum {
    found: f64,
    wanted: f64,
    false_alarms: f64,
    roots: f64,
    members: f64,
}

impl Sum {
    fn add(&mut self, answer: &stage::Answer) {
        let one = |is: bool| f64::from(u8::from(is));
        self.wanted += one(answer.wanted);
        self.found += one(answer.wanted && answer.said);
        self.false_alarms += one(!answer.wanted && answer.said);
        self.roots += one(answer.root);
        self.members += answer.members;
    }

    fn precision(&self) -> f64 {
        self.found / (self.found + self.false_alarms)
    }

    fn recall(&self) -> f64 {
        self.found / self.wanted
    }

    /// How often what was found was found from its root to its last process.
    fn whole(&self) -> f64 {
        self.roots.min(self.members) / self.found
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (roots, members) = (self.roots / self.found, self.members / self.found);
        write!(f, "precision {:.3} recall {:.3} root {roots:.3} members {members:.3}", self.precision(), self.recall())
    }
}

/// The data files as they are written, to look for what the catalogue would quietly take.
#[derive(Deserialize)]
struct Data {
    #[serde(default)]
    tool: Vec<toml::Table>,
    #[serde(default)]
    group: Vec<toml::Table>,
}

#[test]
fn the_data_files_are_sound() {
    let known = Catalogue::built_in();
    let mut names = HashSet::new();
    for (file, text) in DATA {
        assert_eq!(Catalogue::default().learn(text), [], "{file}");
        let data: Data = toml::from_str(text).unwrap();
        for table in data.tool.iter().chain(&data.group) {
            let list = table["names"].as_array().unwrap();
            for name in list {
                let name = name.as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{file}: {name} is there twice");
                assert!(known.find(name).is_some(), "{file}: {name} is not found");
            }
            for key in ["consequence", "holds", "resume"] {
                if let Some(text) = table.get(key).and_then(toml::Value::as_str) {
                    assert!(text.ends_with('.'), "{file}: {list:?}: {key} is a sentence: {text}");
                }
            }
        }
    }
    assert_eq!(names.len(), known.len(), "the catalogue holds every name");
}

/// What is met most is told of before the key: what ending it leaves behind, and how its work is taken up again.
#[test]
fn of_the_most_common_tools_it_is_known_what_ending_them_does() {
    let known = Catalogue::built_in();
    for name in [
        "borg",
        "borgmatic",
        "restic",
        "rustic",
        "kopia",
        "duplicity",
        "duply",
        "rdiff-backup",
        "rsnapshot",
        "tarsnap",
        "duplicacy",
        "duplicati",
        "burp",
        "btrbk",
        "btrfs",
        "zfs",
        "syncoid",
        "dar",
        "rsync",
        "rclone",
        "aws",
        "cp",
        "scp",
        "tar",
        "zip",
        "dd",
        "dump",
        "xfsdump",
        "partclone",
        "mysqldump",
        "mydumper",
        "xtrabackup",
        "mariabackup",
        "pg_dump",
        "pg_basebackup",
        "pgbackrest",
        "barman",
        "wal-g",
        "mongodump",
        "rman",
        "vzdump",
        "proxmox-backup-client",
        "bacula-fd",
        "bpbkar",
        "dsmc",
        "save",
        "avtar",
        "gitlab-backup",
        "ipa-backup",
        "apt-get",
        "dpkg",
        "logrotate",
        "updatedb",
        "mandb",
        "clamscan",
        "freshclam",
        "aide",
        "fstrim",
        "mdadm",
        "zpool",
        "e2scrub",
        "find",
        "rm",
        "sort",
        "sha256sum",
        "pg_restore",
        "ffmpeg",
    ] {
        let advice = known.find(name).unwrap_or_else(|| panic!("{name} is not known")).words.advice();
        assert!(advice.consequence.is_some() && advice.resume.is_some(), "{name}: {advice:?}");
    }
}

#[test]
fn hostile_text_does_not_reach_the_evidence() {
    let argv: Vec<String> = ["/opt/x/\x1b[31mbackup\n.sh", "--dump", "/mnt/nas/\u{202e}a.tar.gz"].map(str::to_owned).into();
    let mut owned = Owned {
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
        waiting: 0.0,
        reads: Vec::new(),
        writes: vec!["/mnt/backup/\x07.tar".into()],
        away: Vec::new(),
        grows: Vec::new(),
        nice: 0,
    };
    let job =
        JobShape { processes: vec![owned.shape()], unit: Some("a\x1bbackup.service"), container: None, launcher: Launcher::Cron };
    let finding = judge(&job, &Catalogue::built_in());
    assert_eq!(finding.kind, Kind::Backup, "{}", told(&finding));
    harmless(&finding);

    // Tools that are known have rules of their own for what they are told.
    let far = "long/".repeat(200);
    let far = format!("/home/{far}");
    for line in [
        ["rsync", "-a", "/home/\x1b]0;owned\x07x", "/mnt/backup/\x1b[2J"],
        ["cp", "-a", "/var/lib/mysql/\x1b[31m", "/srv/mysql-20260301\x1b[2J"],
        ["tar", "-cf", "/mnt/backup/\u{202e}a.tar", "/home/\x1b[2J"],
        ["dd", "if=/dev/vg0/\x1b[2J", "of=/mnt/backup/\x07.img", "bs=1M"],
        ["rsync", "--server", "--sender", &far],
    ] {
        owned.argv = line.map(str::to_owned).into();
        let job = JobShape { processes: vec![owned.shape()], unit: None, container: None, launcher: Launcher::Cron };
        harmless(&judge(&job, &Catalogue::built_in()));
    }
}

fn harmless(finding: &Finding) {
    for text in finding.evidence.iter().map(|evidence| &evidence.text).chain(&finding.tool) {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}'), "{text:?}");
        assert!(text.chars().count() < 200, "{text:?}");
    }
}

/// A process may be called anything; one name that the reading does not survive would blind whytop.
#[test]
fn any_text_is_survived() {
    const PARTS: [&str; 22] = [
        "Datenübertragung",
        "publiées",
        "1Резерв",
        "backup",
        "BackUp",
        "bäckup",
        "备份",
        "é",
        "\u{1f4be}",
        "\u{301}",
        "dump",
        ".sh",
        "/",
        ":",
        " ",
        "-",
        "=",
        "20",
        "/dev/st",
        "@",
        "'",
        "$(date",
    ];
    let known = Catalogue::built_in();
    // Pieces in an order that is the same each time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut text = || {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as usize
        };
        (0..next() % 5).map(|_| PARTS[next() % PARTS.len()]).collect::<String>()
    };
    let whole = PARTS.iter().map(|part| (*part).to_owned());
    let texts: Vec<String> = whole.chain(std::iter::repeat_with(&mut text).take(3000)).collect();
    for (at, name) in texts.iter().enumerate() {
        let other = |step: usize| texts[(at * 7 + step) % texts.len()].clone();
        let argv = match at % 4 {
            0 => vec![name.clone(), other(1), other(2)],
            1 => vec!["python3".into(), format!("/opt/{name}"), other(1)],
            2 => vec!["sh".into(), "-c".into(), format!("{name} {} > {}", other(1), other(2))],
            _ => vec![["rsync", "tar", "ssh", "dd", "rclone", "curl"][at / 4 % 6].to_owned(), name.clone(), other(1), other(2)],
        };
        let paths = vec![format!("/{}", other(3)), other(4), format!("/mnt/{}", other(5))];
        let owned = Owned {
            pid: 7,
            parent: 1,
            comm: name.clone(),
            argv,
            exe: Some(format!("/usr/bin/{}", other(6))),
            user: Some(other(2)),
            terminal: false,
            age: 90.0,
            cores: 0.5,
            io: Some((20.0, 9.0)),
            waiting: 0.0,
            reads: paths.clone(),
            writes: paths.clone(),
            away: Vec::new(),
            grows: Vec::new(),
            nice: 0,
        };
        let unit = format!("{}.service", other(1));
        let launcher = if at % 2 == 0 { Launcher::ServiceManager } else { Launcher::Cron };
        let job = JobShape { processes: vec![owned.shape()], unit: Some(&unit), container: None, launcher };
        judge(&job, &known);
        backup_part(&job, &known);
        backup_strength(&job.processes[0], &known);
    }
}

#[test]
fn odd_shapes_are_survived() {
    let empty = JobShape { processes: Vec::new(), unit: None, container: None, launcher: Launcher::Unknown };
    let known = Catalogue::built_in();
    assert_eq!(judge(&empty, &known).kind, Kind::Unknown);
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
            waiting: 0.0,
            reads: Vec::new(),
            writes: Vec::new(),
            away: Vec::new(),
            grows: Vec::new(),
            nice: 0,
        };
        let processes = vec![owned.shape(), owned.shape()];
        let _ = judge(&JobShape { processes, unit: Some(""), container: None, launcher: Launcher::Unknown }, &known);
        let _ = backup_strength(&owned.shape(), &known);
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
            waiting: 0.0,
            reads: Vec::new(),
            writes: Vec::new(),
            away: Vec::new(),
            grows: Vec::new(),
            nice: 0,
        })
        .collect();
    let known = Catalogue::built_in();
    let start = std::time::Instant::now();
    for process in &owned {
        judge(&JobShape { processes: vec![process.shape()], unit: None, container: None, launcher: Launcher::Cron }, &known);
    }
    let judged = start.elapsed();
    let start = std::time::Instant::now();
    for process in &owned {
        backup_strength(&process.shape(), &known);
    }
    println!("5,000 processes: judge {judged:?}, strength {:?}", start.elapsed());
    // 5 µs each is what a release build must keep; a debug build on a busy machine takes tens of times that.
    assert!(judged.as_millis() < 2500, "{judged:?}");
}
