//! The binary without a screen: `once`, its JSON contract, exit codes, bad input. On made-up hosts for what must be exact, on
//! this host for what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::io::Read;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::fake_proc::FakeProc;
use serde_json::Value;

fn whytop(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_whytop")).args(arguments).env_remove("NO_COLOR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn once(proc: &Path, more: &[&str]) -> Output {
    whytop(&[&["once", "--proc", proc.to_str().unwrap()], more].concat())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// A calm host: nginx, and a backup under cron that waits for nobody.
fn calm_host() -> FakeProc {
    let host = FakeProc::new();
    host.process(1, "systemd").parent(0).cgroup("0::/init.scope").write();
    host.process(900, "nginx").cmdline(&["nginx: master process"]).cgroup("0::/system.slice/nginx.service").uid(33).write();
    host.process(500, "cron").cmdline(&["/usr/sbin/cron", "-f"]).cgroup("0::/system.slice/cron.service").write();
    host.process(501, "cron").parent(500).cmdline(&["/usr/sbin/CRON", "-f"]).cgroup("0::/system.slice/cron.service").write();
    host.process(502, "restic")
        .parent(501)
        .group(502, 502)
        .cmdline(&["restic", "backup", "/srv"])
        .cgroup("0::/system.slice/cron.service")
        .start(8_639_000)
        .ran(4_000_000_000)
        .io(400_000_000, 100_000_000, 500_000_000, 200_000_000)
        .write();
    host
}

/// The same with four workers stuck on a frozen filesystem.
fn frozen_host() -> FakeProc {
    let host = calm_host();
    for pid in 901..905 {
        host.process(pid, "nginx")
            .parent(900)
            .group(900, 900)
            .cmdline(&["nginx: worker process"])
            .cgroup("0::/system.slice/nginx.service")
            .state('D')
            .wait(
                "percpu_rwsem_wait",
                &format!("{} 0x3 0x7f 0x10 0x0 0x0 0x0 0x7ffdc0de0010 0x7f12c0de0020", syscalls::Sysno::write.id()),
            )
            .write();
    }
    host
}

/// Every field of the contract with the kinds of value it may have: `o` object, `a` array, `s` string, `n` number, `?` or null.
const CONTRACT: &[(&str, &str)] = &[
    ("/schema", "n"),
    ("/at", "s"),
    ("/host", "o"),
    ("/host/name", "s"),
    ("/host/kernel", "s"),
    ("/host/cpus", "n"),
    ("/host/uptime_s", "n"),
    ("/load/avg1", "n?"),
    ("/load/avg5", "n?"),
    ("/load/avg15", "n?"),
    ("/load/now", "n"),
    ("/load/runnable", "n"),
    ("/load/uninterruptible", "n"),
    ("/load/always", "n"),
    ("/load/jobs", "a"),
    ("/load/jobs/0/job", "s"),
    ("/load/jobs/0/runnable", "n"),
    ("/load/jobs/0/uninterruptible", "n"),
    ("/pressure", "o?"),
    ("/pressure/cpu/some10", "n"),
    ("/pressure/io/some10", "n"),
    ("/pressure/io/full10", "n"),
    ("/pressure/memory/some10", "n"),
    ("/pressure/memory/full10", "n"),
    ("/verdict/severity", "s"),
    ("/verdict/resource", "s"),
    ("/verdict/headline", "s"),
    ("/verdict/device", "s?"),
    ("/verdict/evidence", "a"),
    ("/verdict/culprit", "s?"),
    ("/verdict/victims", "a"),
    ("/verdict/backup", "s?"),
    ("/verdict/confidence", "n"),
    ("/verdict/since", "s?"),
    ("/jobs/0/id", "s"),
    ("/jobs/0/name", "s"),
    ("/jobs/0/kind", "s"),
    ("/jobs/0/tool", "s?"),
    ("/jobs/0/work", "s?"),
    ("/jobs/0/confidence", "n"),
    ("/jobs/0/evidence", "a"),
    ("/jobs/0/launched_by", "s?"),
    ("/jobs/0/unit", "s?"),
    ("/jobs/0/container", "s?"),
    ("/jobs/0/user", "s?"),
    ("/jobs/0/root_pid", "n?"),
    ("/jobs/0/pids", "a"),
    ("/jobs/0/carried_pids", "a"),
    ("/jobs/0/started_at", "s?"),
    ("/jobs/0/role", "s"),
    ("/jobs/0/cpu_cores", "n?"),
    ("/jobs/0/cpu_wait_s_per_s", "n?"),
    ("/jobs/0/read_bytes_s", "n?"),
    ("/jobs/0/write_bytes_s", "n?"),
    ("/jobs/0/runnable", "n"),
    ("/jobs/0/uninterruptible", "n"),
    ("/jobs/0/share/cpu", "n?"),
    ("/jobs/0/share/disk", "n?"),
    ("/jobs/0/usual", "o?"),
    ("/jobs/0/resident_bytes", "n?"),
    ("/jobs/0/disks", "a?"),
    ("/jobs/0/stalls/cpu", "n?"),
    ("/jobs/0/stalls/io", "n?"),
    ("/jobs/0/stalls/memory", "n?"),
    ("/jobs/0/stalls/throttled_s_per_s", "n?"),
    ("/jobs/0/stalls/limit_hits_s", "n?"),
    ("/waits/0/job", "s"),
    ("/waits/0/tasks", "n"),
    ("/waits/0/syscall", "s?"),
    ("/waits/0/wchan", "s?"),
    ("/waits/0/path", "s?"),
    ("/waits/0/device", "s?"),
    ("/waits/0/devices", "a"),
    ("/waits/0/meaning", "s?"),
    ("/waits/0/longest_s", "n?"),
    ("/waits/0/longest_exact", "b?"),
    ("/wedged", "a"),
    ("/disks", "a"),
    ("/probe", "o?"),
    ("/gaps", "a"),
    ("/cost/tier", "s"),
    ("/cost/tier_reason", "s?"),
    ("/cost/sample_ms", "n"),
    ("/cost/cpu_ms", "n"),
    ("/cost/tasks", "n"),
    ("/cost/look_ms", "n?"),
    ("/cost/interval_s", "n?"),
];

#[test]
fn the_json_keeps_its_contract() {
    let host = frozen_host();
    let answer = json(&once(host.path(), &["--json"]));
    for (path, kinds) in CONTRACT {
        let value = answer.pointer(path).unwrap_or_else(|| panic!("no {path}"));
        let kind = match value {
            Value::Null => '?',
            Value::Number(_) => 'n',
            Value::String(_) => 's',
            Value::Array(_) => 'a',
            Value::Object(_) => 'o',
            Value::Bool(_) => 'b',
        };
        assert!(kinds.contains(kind), "{path} is {value}");
    }
}

#[test]
fn contention_is_told_and_exits_with_1() {
    let host = frozen_host();
    let output = once(host.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let answer = json(&output);
    assert_eq!(answer["verdict"]["severity"], "contention");
    assert_eq!(answer["verdict"]["resource"], "frozen_filesystem");
    assert_eq!(answer["verdict"]["victims"][0], "unit:/system.slice/nginx.service");
    assert_eq!(answer["load"]["uninterruptible"], 4);
    assert_eq!(answer["waits"][0]["syscall"], "write");
    assert_eq!(answer["waits"][0]["tasks"], 4);
    let text = text(&once(host.path(), &[]).stdout);
    assert!(text.contains("CONTENTION: a filesystem is frozen; 4 tasks of nginx wait for it"), "{text}");
}

#[test]
fn a_calm_host_exits_with_0_and_its_backup_is_named() {
    let host = calm_host();
    let output = once(host.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(0));
    let answer = json(&output);
    assert_eq!(answer["verdict"]["severity"], "calm");
    assert_eq!(answer["verdict"]["culprit"], Value::Null);
    let jobs = answer["jobs"].as_array().unwrap();
    let backup = jobs.iter().find(|job| job["id"] == answer["verdict"]["backup"]).expect("the backup");
    assert_eq!((&backup["kind"], &backup["tool"], &backup["root_pid"]), (&"backup".into(), &"restic".into(), &502.into()));
    assert!(backup["launched_by"].as_str().unwrap().starts_with("cron"), "{backup}");
    let text = text(&once(host.path(), &[]).stdout);
    assert!(text.contains("CO-LOCATED BACKUP DETECTED"), "{text}");
    assert!(text.contains("kill -TERM 502"), "{text}");
}

#[test]
fn what_is_not_known_is_null_and_named() {
    let host = frozen_host();
    host.remove_file("pressure");
    host.process(901, "nginx").parent(900).state('D').wait("0", "").write();
    let answer = json(&once(host.path(), &["--json"]));
    assert_eq!(answer["pressure"], Value::Null);
    let gaps = answer["gaps"].to_string();
    assert!(gaps.contains("pressure"), "{gaps}");
    let hidden = answer["waits"].as_array().unwrap().iter().find(|wait| wait["wchan"].is_null()).expect("a hidden wait");
    assert_eq!(hidden["meaning"], Value::Null);
}

#[test]
fn hostile_names_stay_text() {
    let host = calm_host();
    host.process_of_bytes(666, b") R 1 (\x1b[2J\n\xff")
        .cmdline(&["/tmp/\x1b]0;owned\x07\nevil", "\u{202e}gpj.exe"])
        .state('D')
        .write();
    let output = once(host.path(), &[]);
    let shown = text(&output.stdout);
    assert!(!shown.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{shown:?}");
    let answer = json(&once(host.path(), &["--json"]));
    let job = answer["jobs"].as_array().unwrap().iter().find(|job| job["root_pid"] == 666).expect("the hostile process");
    assert_eq!(job["name"], "\\x1b]0;owned\\x07\\nevil");
    assert_eq!(job["uninterruptible"], 1, "the state was read from behind the name");
}

#[test]
fn colours_are_for_terminals() {
    let host = frozen_host();
    assert!(!once(host.path(), &[]).stdout.contains(&0x1b));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let host = calm_host();
    let mut child = Command::new(env!("CARGO_BIN_EXE_whytop"))
        .args(["once", "--json", "--proc", host.path().to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(complaint, "");
}

#[test]
fn bad_input_is_one_line_and_exit_2() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    for (arguments, says) in [
        (&["--bogus"][..], "--bogus"),
        (&["--interval", "5"], "250ms to 60s"),
        (&["--interval", "100ms"], "250ms to 60s"),
        (&["--interval", "2m"], "250ms to 60s"),
        (&["--interval=-1s"], "250ms to 60s"),
        (&["--proc", empty, "once"], "no proc file system"),
        (&["--proc", "/no/such/place", "once"], "/no/such/place"),
        (&["--proc", "/etc/passwd", "once"], "/etc/passwd"),
        (&["twice"], "twice"),
        (&["--read-only", "kill", "--culprit", "--yes"], "--read-only"),
        (&["undo", "--culprit", "--yes", "--read-only"], "--read-only"),
        (&["--read-only", "watchdog"], "--read-only"),
        (&["explain", "1", "--probe", "http://localhost/"], "--probe"),
        (&["prove", "--culprit", "--watch", "9"], "--watch"),
        (&[], "whytop once"),
    ] {
        let output = whytop(arguments);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{arguments:?}: {complaint}");
        assert!(complaint.starts_with("whytop: ") && complaint.contains(says), "{arguments:?}: {complaint}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn help_and_version_are_no_errors() {
    for argument in ["--help", "--version"] {
        let output = whytop(&[argument]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("whytop"));
    }
}

#[test]
fn this_host_is_told_truly() {
    let start = Instant::now();
    let output = whytop(&["once", "--json"]);
    let took = start.elapsed();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{}", text(&output.stderr));
    let answer = json(&output);
    let own = i64::from(std::process::id());
    let jobs = answer["jobs"].as_array().unwrap();
    let mine: Vec<&Value> =
        jobs.iter().filter(|job| job["pids"].as_array().unwrap().iter().any(|pid| pid.as_i64() == Some(own))).collect();
    assert_eq!(mine.len(), 1, "each process is in one job");
    let cpus = std::thread::available_parallelism().unwrap().get();
    assert!(answer["host"]["cpus"].as_u64().unwrap() >= cpus as u64);
    let used: f64 = jobs.iter().filter_map(|job| job["cpu_cores"].as_f64()).sum();
    assert!((0.0..=answer["host"]["cpus"].as_f64().unwrap() * 1.5).contains(&used), "{used} CPUs in use");
    assert!(took.as_secs() < 10, "{took:?}");
}
