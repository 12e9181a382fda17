//! Scores whole scenes: see the head of kinds.rs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;
use whytop::analysis::diagnosis::{Job, Kind};

use super::stage::{Actor, Answer, ask, backups, score};
use super::{Sum, told};

#[derive(Deserialize)]
struct Scene {
    id: String,
    label: String,
    tool: String,
    why: String,
    processes: Vec<Extra>,
    culprit_pid: Option<i32>,
    #[serde(default)]
    culprit_alt: Vec<i32>,
    tree_pids: HashSet<i32>,
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
    #[serde(default)]
    nice: i8,
    cpu_pct: f64,
    read_mb_s: f64,
    write_mb_s: f64,
    #[serde(default)]
    open_files: Vec<String>,
}

/// What of a process can be seen.
struct Sight {
    files: bool,
    arguments: bool,
    age: f64,
    /// How much younger each process is than its parent, as far as that goes.
    step: f64,
}

impl Scene {
    /// Its processes on a host, kernel threads left out: they are known without being judged.
    fn actors(&self, sight: &Sight) -> Vec<Actor> {
        let by_pid: HashMap<i32, &Extra> = self.processes.iter().map(|process| (process.pid, process)).collect();
        let mut groups: HashMap<i32, i32> = HashMap::new();
        let mut placed: BTreeMap<i32, (i32, i32)> = BTreeMap::new();
        let mut order: Vec<&Extra> = self.processes.iter().filter(|process| !process.argv.is_empty()).collect();
        order.sort_by_key(|process| self.depth(process, &by_pid));
        for process in &order {
            let parent = by_pid.get(&process.ppid);
            let typed = parent.is_some_and(|parent| is_shell(parent));
            let place = match parent {
                Some(parent) if typed => {
                    let session = placed.get(&parent.pid).map_or(parent.pid, |place| place.0);
                    (session, *groups.entry(parent.pid).or_insert(process.pid))
                }
                Some(parent) if parent.pid != 1 && !launches(parent) => {
                    *placed.get(&parent.pid).unwrap_or(&(process.pid, process.pid))
                }
                _ => (process.pid, process.pid),
            };
            placed.insert(process.pid, place);
        }
        let deepest = order.iter().map(|process| self.depth(process, &by_pid)).max().unwrap_or_default();
        let seniority = |process: &Extra| (deepest - self.depth(process, &by_pid)) as f64 * sight.step;
        order
            .iter()
            .map(|process| Actor { age: sight.age + seniority(process), ..process.actor(placed[&process.pid], sight) })
            .collect()
    }

    fn depth(&self, process: &Extra, by_pid: &HashMap<i32, &Extra>) -> usize {
        let above = std::iter::successors(by_pid.get(&process.ppid), |above| by_pid.get(&above.ppid));
        above.take(self.processes.len()).count()
    }
}

impl Extra {
    fn actor(&self, (session, group): (i32, i32), sight: &Sight) -> Actor {
        let writes = self.write_mb_s > 0.0 && sight.files;
        let any = self.open_files.iter().any(|file| like_a_sink(file));
        let is_sink = |file: &String| writes && (like_a_sink(file) || !any && Some(file) == self.open_files.last());
        let (written, read) = self.open_files.iter().filter(|_| sight.files).cloned().partition(is_sink);
        Actor {
            pid: self.pid,
            parent: self.ppid,
            session,
            group,
            tty: 0,
            comm: self.comm.clone(),
            argv: self.argv.iter().take(if sight.arguments { usize::MAX } else { 1 }).cloned().collect(),
            exe: self.exe.clone(),
            cgroup: self.cgroup.clone().unwrap_or_default(),
            user: self.user.as_str().map_or_else(|| self.user.to_string(), str::to_owned),
            age: sight.age,
            cores: self.cpu_pct / 100.0,
            io: Some((self.read_mb_s, self.write_mb_s)),
            reads: read,
            writes: written,
            away: Vec::new(),
            nice: self.nice,
        }
    }
}

/// Somebody types into it.
fn is_shell(process: &Extra) -> bool {
    let name = process.argv[0].trim_start_matches('-').rsplit('/').next().unwrap_or_default();
    process.argv.len() == 1 && ["bash", "sh", "zsh", "fish"].contains(&name)
}

fn launches(process: &Extra) -> bool {
    const LAUNCHERS: [&str; 13] = [
        "systemd",
        "cron",
        "CRON",
        "anacron",
        "atd",
        "sshd",
        "containerd-shim",
        "conmon",
        "runc",
        "tini",
        "supervisord",
        "xinetd",
        "PM2",
    ];
    LAUNCHERS.iter().any(|launcher| process.comm.starts_with(launcher))
}

/// Both were written without knowledge of the rules. `hosts.jsonl` was looked at while weights were chosen; the last two sets,
/// `hosts-last.jsonl`, once their scores were noted: 62 of 64 and 60 of 63 backups, two and three false alarms, the right root in 0.95 and 0.97.
/// What is not read here of a process table was left out. No age is told there: all that is old together is the first look, and two minutes
/// from each process to what it started are the second, as the steps of a script are.
#[test]
fn whole_hosts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds");
    for (step, least, whole) in [(0.0, 0.97, 0.95), (120.0, 0.96, 0.93)] {
        let everything = Sight { files: true, arguments: true, age: 60.0, step };
        for name in ["hosts", "hosts-last"] {
            let sum = play_all(&folder.join(name).with_extension("jsonl"), &everything);
            println!("{name}, each {step} s younger than its parent: {sum}");
            assert!(sum.precision() >= 0.97 && sum.recall() >= least, "see above");
            assert!(sum.whole() >= whole, "see above");
        }
    }
}

#[test]
fn scenes() {
    let Ok(path) = std::env::var("WHYTOP_SCENES") else {
        println!("skipped: WHYTOP_SCENES names no file of scenes");
        return;
    };
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let seconds = |name: &str| std::env::var(name).ok().and_then(|seconds| seconds.parse().ok());
    let sight = Sight {
        files: !is_set("WHYTOP_SCENES_NO_FILES"),
        arguments: !is_set("WHYTOP_SCENES_NO_ARGUMENTS"),
        age: seconds("WHYTOP_SCENES_AGE").unwrap_or(60.0),
        step: seconds("WHYTOP_SCENES_STEP").unwrap_or_default(),
    };
    println!("{path}: {}", play_all(Path::new(&path), &sight));
}

/// Judges every scene of a file; prints those that come out wrong, with the evidence.
fn play_all(path: &Path, sight: &Sight) -> Sum {
    let mut sum = Sum::default();
    for line in fs::read_to_string(path).unwrap().lines() {
        let scene: Scene = serde_json::from_str(line).unwrap();
        let diagnosis = ask(&scene.actors(sight));
        let ours = |pid: i32| scene.processes.iter().any(|process| process.pid == pid);
        let answer = if scene.label == "backup" {
            let roots: Vec<i32> = scene.culprit_pid.iter().chain(&scene.culprit_alt).copied().collect();
            score(&diagnosis, &roots, &scene.tree_pids)
        } else {
            let said = backups(&diagnosis).any(|job| job.facts.root.is_some_and(|root| ours(root.pid)));
            Answer { said, ..Answer::default() }
        };
        if answer.wanted != answer.said || answer.said && (!answer.root || answer.members < 1.0) {
            println!("{} {} {} {answer:?}: {}", scene.id, scene.label, scene.tool, scene.why);
        }
        let about = |job: &&Job| {
            let is_culprit = job.facts.members.iter().any(|member| Some(member.id.pid) == scene.culprit_pid);
            is_culprit || job.facts.finding.kind == Kind::Backup
        };
        if answer.wanted != answer.said {
            for job in diagnosis.jobs.iter().filter(about) {
                println!("  {}\n{}", job.facts.name, told(&job.facts.finding));
            }
        }
        sum.add(&answer);
    }
    sum
}

fn like_a_sink(file: &str) -> bool {
    const ENDINGS: [&str; 25] = [
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".zst",
        ".lz4",
        ".tar",
        ".dump",
        ".sql",
        ".bak",
        ".xbstream",
        ".vma",
        ".img",
        ".qcow2",
        ".7z",
        ".zip",
        ".tmp",
        ".part",
        ".dat",
        ".rdb",
        ".ldif",
        ".cpio",
        ".dar",
        ".tbz2",
        ".txz",
    ];
    let ends = |ending: &str| {
        file.match_indices(ending).any(|(at, _)| !file[at + ending.len()..].starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    ENDINGS.iter().any(|ending| ends(ending)) || ["back", "dump", "/mnt/", "nas"].iter().any(|part| file.contains(part))
}
