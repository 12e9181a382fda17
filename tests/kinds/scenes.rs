//! Scores whole scenes: see the head of kinds.rs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;

use serde::Deserialize;
use whytop::analysis::diagnosis::Kind;
use whytop::analysis::kind::{Catalogue, JobShape, Launcher, backup_strength, judge};

use super::{Owned, processes, told};

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
            let started_by = if ["cron", "crond", "run-parts", "anacron"].contains(&up_name) {
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
            (root.pid, processes(pids.iter().map(|pid| &owned[pid])), unit, started_by)
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
    let known = Catalogue::built_in();
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
                        away: Vec::new(),
                        nice: 0,
                    },
                )
            })
            .collect();
        let mut found = false;
        for (root, mut job, unit) in jobs(&scene, &owned) {
            job.unit = unit.as_deref();
            let finding = judge(&job, &known);
            let is_culprit = scene.label == "backup" && scene.culprit_pid == Some(root);
            let strength = job.processes.iter().map(|process| backup_strength(process, &known)).fold(0.0, f64::max);
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
