//! The knowledge base from outside: `explain`, and rules files that add to it. On made-up hosts; `real_tools.rs` has real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/screen.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod screen;

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::fake_proc::FakeProc;
use jiff::tz::TimeZone;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::{Pid, Signal, kill_process};
use screen::Terminal;
use serde_json::Value;
use whytop::history::Limits;
use whytop::kernel::{ProcRoot, Reader};
use whytop::monitor::Monitor;
use whytop::report::Explained;

/// whytop on this tree, with this folder for the user's configuration.
fn command(host: &FakeProc, config: &Path, arguments: &[&str]) -> Command {
    let mut whytop = Command::new(env!("CARGO_BIN_EXE_whytop"));
    whytop.args(arguments).args(["--proc", host.path().to_str().unwrap()]);
    whytop.env("WHYTOP_HOST_RULES", "").env("XDG_CONFIG_HOME", config).env_remove("NO_COLOR");
    whytop
}

fn whytop(host: &FakeProc, config: &Path, arguments: &[&str]) -> Output {
    command(host, config, arguments).output().unwrap()
}

/// Runs all of them at once: each looks for a second.
fn at_once<const N: usize>(commands: [Command; N]) -> [Output; N] {
    let start = |mut command: Command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    commands.map(start).map(|child| child.wait_with_output().unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

/// Cron runs a script, which runs borg; beside it a program that nobody knows.
fn host() -> FakeProc {
    let host = FakeProc::new();
    let cron = "0::/system.slice/cron.service";
    host.process(1, "systemd").parent(0).cgroup("0::/init.scope").write();
    host.process(500, "cron").cmdline(&["/usr/sbin/cron", "-f"]).cgroup(cron).write();
    host.process(501, "cron").parent(500).cmdline(&["/usr/sbin/CRON", "-f"]).cgroup(cron).write();
    host.process(502, "nightly.sh")
        .parent(501)
        .group(502, 502)
        .cmdline(&["/bin/sh", "/root/nightly.sh"])
        .cgroup(cron)
        .start(8_639_000)
        .write();
    host.process(503, "borg")
        .parent(502)
        .group(502, 502)
        .cmdline(&["/usr/bin/python3", "/usr/bin/borg", "create", "/mnt/r::a", "/srv"])
        .cgroup(cron)
        .start(8_639_000)
        .ran(4_000_000_000)
        .io(400_000_000, 100_000_000, 500_000_000, 200_000_000)
        .write();
    host.process(700, "nightsafe")
        .parent(501)
        .group(700, 700)
        .cmdline(&["/opt/nightsafe", "take"])
        .cgroup(cron)
        .start(8_639_000)
        .ran(4_000_000_000)
        .io(400_000, 100_000, 500_000, 200_000)
        .write();
    host
}

fn job_of(answer: &Value, pid: i64) -> Value {
    let jobs = answer["jobs"].as_array().unwrap();
    jobs.iter().find(|job| job["pids"].as_array().unwrap().iter().any(|one| one == pid)).expect("its job").clone()
}

#[test]
fn a_process_is_explained_with_its_job_lineage_evidence_and_advice() {
    let (host, none) = (host(), tempfile::tempdir().unwrap());
    let asked = [["explain", "503"].as_slice(), &["explain", "503", "--json"]];
    let [output, answer] = at_once(asked.map(|words| command(&host, none.path(), words)));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = text(&output.stdout);
    for part in [
        "borg 503 belongs to nightly.sh: backup (borg)",
        "systemd 1 > cron 500 > cron 501 > nightly.sh 502 > borg 503",
        "borg runs with 'create'",
        "what speaks for it:",
        "borg break-lock REPO",
        "best by    SIGINT",
        "the next run sends only what is missing",
        "2 processes:",
    ] {
        assert!(told.to_lowercase().contains(&part.to_lowercase()), "no '{part}' in:\n{told}");
    }
    let answer = json(&answer);
    assert_eq!(answer["against"], serde_json::json!([]));
    assert_eq!((&answer["pid"], &answer["name"], &answer["job"]["kind"]), (&503.into(), &"borg".into(), &"backup".into()));
    let lineage: Vec<i64> = answer["lineage"].as_array().unwrap().iter().map(|one| one["pid"].as_i64().unwrap()).collect();
    assert_eq!(lineage, [1, 500, 501, 502, 503]);
    let first = &answer["for"][0];
    assert!(first["weight"].as_f64().unwrap() > 0.9 && first["text"].as_str().unwrap().contains("create"), "{first}");
    assert_eq!(answer["advice"]["better_signal"], "SIGINT");
    assert_eq!(answer["members"].as_array().unwrap().len(), 2);
}

/// The screens give numbers of tasks: "its task 4712 waited".
#[test]
fn a_thread_is_explained_as_its_process() {
    let (host, none) = (host(), tempfile::tempdir().unwrap());
    host.process(900, "shop").thread(901, "worker", 'D').write();
    let asked = [["explain", "901"].as_slice(), &["explain", "901", "--json"]];
    let [output, answer] = at_once(asked.map(|words| command(&host, none.path(), words)));
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(told.starts_with("901 is a thread of 900\n") && told.contains("shop 900"), "{told}");
    assert_eq!(json(&answer)["pid"], 900);
}

#[test]
fn what_cannot_be_explained_is_one_line_and_exit_2() {
    let (host, none) = (host(), tempfile::tempdir().unwrap());
    for (pid, says) in [("4711", "no process 4711"), ("0", "0"), ("-3", "-3"), ("x", "x")] {
        let output = whytop(&host, none.path(), &["explain", pid]);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{pid}: {complaint}");
        assert!(complaint.lines().count() == 1 && complaint.starts_with("whytop: ") && complaint.contains(says), "{complaint}");
    }
}

/// What speaks against is told as well, with its weight: a script that is called like a backup, and rests.
#[test]
fn what_speaks_against_a_backup_is_told() {
    let (host, none) = (host(), tempfile::tempdir().unwrap());
    let cron = "0::/system.slice/cron.service";
    let script = ["/bin/sh", "/root/nightly-backup.sh"];
    host.process(800, "nightly-backup.").parent(501).group(800, 800).cmdline(&script).cgroup(cron).start(8_000_000).write();
    let asked = [["explain", "800"].as_slice(), &["explain", "800", "--json"]];
    let [told, answer] = at_once(asked.map(|words| command(&host, none.path(), words)));
    let (told, answer) = (text(&told.stdout), json(&answer));
    let against = told.split_once("what speaks against a backup:\n").map_or_else(|| panic!("{told}"), |(_, rest)| rest);
    assert!(against.starts_with("  -0.70 it does next to nothing\n"), "{told}");
    assert!(told.contains("what speaks for it:\n  +") && !told.contains("nightly-backup.sh: backup"), "{told}");
    assert_eq!(answer["against"], serde_json::json!([{ "weight": -0.7, "text": "it does next to nothing" }]));
    assert_ne!(answer["job"]["kind"], "backup");
}

#[test]
fn every_process_of_this_host_can_be_explained() {
    let mut reader = Reader::new(ProcRoot::open(Path::new("/proc")).unwrap()).unwrap();
    let mut monitor = Monitor::new(&reader.facts(), Limits::default());
    monitor.ingest(reader.sample().unwrap());
    reader.settle(Duration::from_millis(300));
    let diagnosis = monitor.ingest(reader.sample().unwrap());
    let pids: Vec<i32> = diagnosis.jobs.iter().flat_map(|job| &job.facts.members).map(|member| member.id.pid).collect();
    assert!(pids.contains(&std::process::id().cast_signed()), "{pids:?}");
    for pid in &pids {
        let explained = Explained::of(&diagnosis, *pid).unwrap_or_else(|| panic!("{pid} is not explained"));
        let told = anstream::adapter::strip_str(&explained.text(&TimeZone::UTC)).to_string();
        let steers = |c: char| c.is_control() && c != '\n';
        let head = told.lines().next().unwrap_or_default();
        assert!(head.contains(&format!(" {pid} belongs to ")) && head.contains(": ") && !told.contains(steers), "{told}");
        let answer: Value = serde_json::from_str(&explained.json().unwrap()).unwrap();
        let line = answer["lineage"].as_array().unwrap();
        let named = |one: &Value| !one["name"].as_str().unwrap().trim().is_empty();
        assert!(answer["pid"] == *pid && line.last().unwrap()["pid"] == *pid && line.iter().all(named), "{answer}");
        let members = answer["members"].as_array().unwrap();
        assert!(members.iter().any(|one| one["pid"] == *pid), "{answer}");
        let weighs = |one: &Value, sign: f64| (0.0..=1.0).contains(&(one["weight"].as_f64().unwrap() * sign));
        assert!(answer["for"].as_array().unwrap().iter().all(|one| weighs(one, 1.0)), "{answer}");
        assert!(answer["against"].as_array().unwrap().iter().all(|one| weighs(one, -1.0)), "{answer}");
    }
}

/// Code on a command line is hostile as a name: it is long, and says nothing of who runs it.
#[test]
fn an_interpreter_with_code_keeps_its_own_name() {
    let (host, none) = (host(), tempfile::tempdir().unwrap());
    let python = ["python3", "-c", "import time; time.sleep(20)"];
    host.process(810, "python3").cmdline(&python).cgroup("0::/user.slice/user-0.slice/session-4.scope").write();
    let told = text(&whytop(&host, none.path(), &["explain", "810"]).stdout);
    assert!(told.starts_with("python3 810 belongs to python3: "), "{told}");
}

/// Each file adds to what those before it say: compiled in, the host's, the user's.
#[test]
fn the_hosts_rules_count_and_the_users_win_over_them() {
    let (host, folder) = (host(), tempfile::tempdir().unwrap());
    let rules = folder.path().join("etc-rules.toml");
    let (safe, borg) = ("[[group]]\nrole = \"batch\"\nwork = \"night watch\"\nnames = [\"nightsafe\"]\n", "names = [\"borg\"]\n");
    let bad = "[[tool]]\nnames = [\"x\"]\nrole = \"bakcup\"\n";
    fs::write(&rules, format!("{safe}[[group]]\nrole = \"batch\"\nwork = \"count\"\n{borg}{bad}")).unwrap();
    let said = |answer: &Value, pid: i64| {
        let job = job_of(answer, pid);
        (job["kind"].as_str().unwrap().to_owned(), job["work"].as_str().unwrap_or_default().to_owned())
    };
    let own = |kind: &str, work: &str| (kind.to_owned(), work.to_owned());
    let users = folder.path().join("users");
    fs::create_dir_all(users.join("whytop")).unwrap();
    let entry = "[[tool]]\nnames = [\"nightsafe\"]\nrole = \"backup\"\nbackup = [\"take\"]\n";
    fs::write(users.join("whytop/rules.toml"), entry).unwrap();
    let look = |config: &Path| {
        let mut whytop = command(&host, config, &["once", "--json"]);
        whytop.env("WHYTOP_HOST_RULES", &rules);
        whytop
    };
    let [answer, of_the_user] = at_once([look(folder.path()), look(&users)]).map(|output| json(&output));
    assert_eq!((said(&answer, 700), said(&answer, 503)), (own("batch", "night watch"), own("batch", "count")));
    let gaps = answer["gaps"].to_string();
    assert!(gaps.contains("etc-rules.toml:11") && gaps.contains("bakcup"), "{gaps}");
    assert_eq!((said(&of_the_user, 700), said(&of_the_user, 503)), (own("backup", ""), own("batch", "count")));
}

#[test]
fn rules_that_were_asked_for_add_to_what_is_known() {
    let (host, folder) = (host(), tempfile::tempdir().unwrap());
    let [mine, more] = ["mine.toml", "more.toml"].map(|name| folder.path().join(name));
    let entry = "[[tool]]\nnames = [\"nightsafe\"]\nrole = \"backup\"\nbackup = [\"take\"]\ncleanup = \"nightsafe unlock\"\n";
    fs::write(&mine, entry).unwrap();
    fs::write(&more, "[[group]]\nrole = \"batch\"\nwork = \"night watch\"\nnames = [\"nightsafe\", \"borg\"]\n").unwrap();
    let [mine, more] = [&mine, &more].map(|file| file.to_str().unwrap());
    let asked = [
        ["once", "--json"].as_slice(),
        &["explain", "700", "--json", "--rules", mine],
        &["once", "--json", "--rules", mine, "--rules", more],
    ];
    let answers = at_once(asked.map(|words| command(&host, folder.path(), words)));
    let [before, with_mine, with_both] = answers.map(|output| json(&output));
    assert_ne!(job_of(&before, 700)["kind"], "backup", "nobody knows it");
    assert_eq!((&with_mine["job"]["kind"], &with_mine["job"]["tool"]), (&"backup".into(), &"nightsafe".into()));
    assert_eq!(with_mine["advice"]["cleanup"], "nightsafe unlock");
    // The later file wins, over the earlier and over what is compiled in.
    for pid in [503, 700] {
        let job = job_of(&with_both, pid);
        assert_eq!((&job["kind"], &job["work"]), (&"batch".into(), &"night watch".into()), "{job}");
    }
}

#[test]
fn a_bad_entry_that_was_asked_for_is_an_error_with_file_line_and_reason() {
    let (host, folder) = (host(), tempfile::tempdir().unwrap());
    let file = folder.path().join("bad.toml");
    for (rules, line, reason) in [
        ("[[tool]]\nnames = [\"x\"]\nrole = \"bakcup\"\n", 3, "bakcup"),
        ("[[tool]]\nnames = [\"x\"]\n", 1, "role"),
        ("# ours\n\n[[tool]]\nnames = [\"x\"]\nrole = \"backup\"\nverbs = [\"go\"]\n", 6, "verbs"),
        ("[[tool]]\nnames = [\"/opt/X\"]\nrole = \"backup\"\n", 1, "/opt/X"),
        ("[[tool]]\nnames = [\"x\"]\nrole = \"backup\"\nbackup = [\"go\"]\nquiet = [\"go\"]\n", 1, "two lists"),
        ("[[tool]]\nnames = [\"x\"]\nrole = \"backup\"\nbetter_signal = \"SIGBUS\"\n", 1, "SIGBUS"),
        ("[[tool]]\nnames = [\"x\"\nrole = \"backup\"\n", 3, ""),
    ] {
        fs::write(&file, rules).unwrap();
        let output = whytop(&host, folder.path(), &["once", "--rules", file.to_str().unwrap()]);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{rules}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        let place = format!("{}:{line}: ", file.display());
        assert!(complaint.contains(&place) && complaint.contains(reason), "no '{place}' or '{reason}' in: {complaint}");
    }
    for missing in ["/no/such/rules.toml", "/"] {
        let output = whytop(&host, folder.path(), &["once", "--rules", missing]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(missing), "{}", text(&output.stderr));
    }
}

/// Rules files are passed on between hosts and people.
#[test]
fn nothing_that_a_rules_file_says_steers_the_terminal() {
    let (host, folder) = (host(), tempfile::tempdir().unwrap());
    let file = folder.path().join("hostile.toml");
    let entry = "[[tool]]\nnames = [\"nightsafe\"]\nrole = \"backup\"\n";
    for hostile in [
        "[[tool]]\nnames = [\"nightsafe\"]\nrole = \"bak\\u001b[31mcup\\u0007\"\n".to_owned(),
        "[[tool]]\nnames = [\"nightsafe\\u001b[2J/\"]\nrole = \"backup\"\n".to_owned(),
        format!("{entry}cleanup = \"rm \\u001b[2J\\u001b]0;owned\\u0007 x\"\n"),
        format!("{entry}work = \"a\\u202eb\"\n"),
        format!("{entry}backup = [\"\\u009b2J\"]\n"),
        format!("{entry}better_signal = \"\\u001b[2J\"\n"),
    ] {
        fs::write(&file, &hostile).unwrap();
        for words in [["once"].as_slice(), &["explain", "700"]] {
            let output = whytop(&host, folder.path(), &[words, &["--rules", file.to_str().unwrap()]].concat());
            let complaint = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{hostile}: {complaint}");
            let steers = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
            assert!(!complaint.contains(steers) && complaint.lines().count() == 1, "{hostile}: {complaint:?}");
        }
    }
}

#[test]
fn of_the_users_own_file_the_good_entries_count_and_the_bad_one_is_told_once() {
    let (host, config) = (host(), tempfile::tempdir().unwrap());
    fs::create_dir(config.path().join("whytop")).unwrap();
    let file = config.path().join("whytop/rules.toml");
    let rules = "[[tool]]\nnames = [\"x\"]\nrole = \"bakcup\"\n\n[[tool]]\nnames = [\"nightsafe\"]\nrole = \"backup\"\n";
    fs::write(&file, rules).unwrap();
    let answer = json(&whytop(&host, config.path(), &["once", "--json"]));
    assert_eq!(job_of(&answer, 700)["kind"], "backup");
    let gaps: Vec<&str> = answer["gaps"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let told: Vec<&&str> = gaps.iter().filter(|gap| gap.contains("rules.toml:3")).collect();
    assert_eq!(told.len(), 1, "{gaps:?}");
    assert!(told[0].contains("bakcup"), "{told:?}");
}

/// The user's own rules file is told of, and did not keep whytop waiting.
fn goes_on_without(host: &FakeProc, config: &Path, why: &str) {
    let start = Instant::now();
    let answer = json(&whytop(host, config, &["once", "--json"]));
    let gaps = answer["gaps"].to_string();
    assert!(gaps.contains("rules.toml") && gaps.contains(why), "{gaps}");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[test]
fn a_pipe_for_a_rules_file_is_refused() {
    let (host, config) = (host(), tempfile::tempdir().unwrap());
    fs::create_dir(config.path().join("whytop")).unwrap();
    let made = Command::new("mkfifo").arg(config.path().join("whytop/rules.toml")).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: mkfifo is not installed");
        return;
    }
    goes_on_without(&host, config.path(), "no regular file");
}

/// A timer is told by the files that enable it: nobody asks the service manager.
#[test]
fn what_a_timer_starts_is_told_from_what_stays() {
    let (host, none) = (FakeProc::new(), tempfile::tempdir().unwrap());
    host.process(1, "systemd").parent(0).cgroup("0::/init.scope").write();
    let enabled = none.path().join("etc/systemd/system/timers.target.wants");
    fs::create_dir_all(&enabled).unwrap();
    std::os::unix::fs::symlink("/usr/lib/systemd/system/pack.timer", enabled.join("pack.timer")).unwrap();
    for (pid, unit) in [(600, "pack.service"), (601, "stay.service")] {
        let process = host.process(pid, "tar").cmdline(&["tar", "-czf", "/srv/out/www.tgz", "/srv/www"]);
        process.cgroup(&format!("0::/system.slice/{unit}")).start(8_639_000).ran(4_000_000_000).write();
    }
    let mut whytop = command(&host, none.path(), &["once", "--json"]);
    let answer = json(&whytop.env("WHYTOP_UNITS_BELOW", none.path()).output().unwrap());
    let told = |pid: i64| {
        let job = job_of(&answer, pid);
        (job["launched_by"].as_str().unwrap().to_owned(), job["evidence"].to_string().contains("its unit has a timer"))
    };
    assert_eq!(told(600), ("the service manager (it has a timer)".to_owned(), true));
    assert_eq!(told(601), ("the service manager".to_owned(), false));
}

/// A job that somebody called cron starts whenever it is told to, in a whytop that watches and in one that comes later.
#[test]
fn earlier_runs_are_known_to_the_next_whytop() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let script = |name: &str, text: String| {
        fs::write(path(name), text).unwrap();
        fs::set_permissions(path(name), Permissions::from_mode(0o755)).unwrap();
    };
    let here = folder.path().display();
    script("cron", format!("#!/bin/sh\nwhile read go; do {here}/nightly.sh; done\n"));
    let work = format!("case $long in ever) while [ -e {here}/pid ]; do sleep 0.2; done;; *) sleep $long;; esac");
    script("nightly.sh", format!("#!/bin/sh\necho $$ > {here}/pid\nread -r long < {here}/long\n{work}\n"));
    fs::write(path("long"), "1.2\n").unwrap();
    let mut cron = Command::new(path("cron")).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut go = cron.stdin.take().unwrap();
    let place = format!("WHYTOP_RUNTIME_DIR={here}");
    let arguments = [&place, "WHYTOP_HOST_RULES=", env!("CARGO_BIN_EXE_whytop"), "--interval", "250ms"];
    let mut terminal = Terminal::start(Path::new("/usr/bin/env"), &arguments, 120, 40);
    terminal.wait_for(&["LOAD"]);
    let runs = || -> usize {
        let page = fs::read(path("runs.json")).unwrap_or_default();
        let runs: Vec<Value> = serde_json::from_slice(&page).unwrap_or_default();
        runs.iter().filter(|run| run["work"]["name"] == "nightly.sh").count()
    };
    let begun = Instant::now();
    while runs() < 2 {
        assert!(begun.elapsed() < Duration::from_mins(2), "no two runs are kept");
        // One that fell between two looks is not kept: then there is another.
        let (before, sent) = (runs(), Instant::now());
        writeln!(go).unwrap();
        while runs() == before && sent.elapsed() < Duration::from_secs(6) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    terminal.send("q");
    assert!(terminal.end().success());

    // In this order: whoever tells its number from now on stays.
    fs::write(path("long"), "ever\n").unwrap();
    fs::remove_file(path("pid")).unwrap();
    writeln!(go).unwrap();
    drop(go);
    let pid = loop {
        if let Some(pid) = fs::read_to_string(path("pid")).ok().filter(|pid| pid.ends_with('\n')) {
            break pid.trim().to_owned();
        }
        assert!(begun.elapsed() < Duration::from_mins(3), "the last run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    };
    let doubtful = path("doubtful");
    fs::create_dir(&doubtful).unwrap();
    fs::copy(path("runs.json"), doubtful.join("runs.json")).unwrap();
    fs::set_permissions(doubtful.join("runs.json"), Permissions::from_mode(0o666)).unwrap();
    let explain = |runs: &Path| {
        let mut whytop = Command::new(env!("CARGO_BIN_EXE_whytop"));
        whytop.args(["explain", &pid, "--json"]).env("WHYTOP_RUNTIME_DIR", runs);
        whytop
    };
    let [known, doubtful] = at_once([explain(folder.path()), explain(&doubtful)]).map(|output| json(&output));
    let _ = cron.kill();
    let _ = cron.wait();
    let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
    assert!(known["usual_s"].as_f64().is_some_and(|seconds| (1.0..60.0).contains(&seconds)), "{known}");
    assert_eq!(doubtful["usual_s"], Value::Null, "others could have written it: {doubtful}");
}

/// A filesystem whose daemon says nothing, not even at first: whoever looks for a file there waits for good.
#[test]
fn a_rules_file_that_never_answers_does_not_keep_anybody_waiting() {
    let (host, config) = (host(), tempfile::tempdir().unwrap());
    let point = config.path().join("whytop");
    fs::create_dir(&point).unwrap();
    let mounted = || -> Result<File, String> {
        let device = File::options().read(true).write(true).open("/dev/fuse").map_err(|error| format!("/dev/fuse: {error}"))?;
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let data = CString::new(data).expect("no zero");
        mount("silent", &point, "fuse", MountFlags::empty(), data.as_c_str()).map_err(|error| format!("mount: {error}"))?;
        Ok(device)
    };
    let daemon = match mounted() {
        Ok(daemon) => daemon,
        Err(why) => return println!("skipped: {why}"),
    };
    let judged = catch_unwind(AssertUnwindSafe(|| goes_on_without(&host, config.path(), "cannot be read in time")));
    // Nobody waits for it any more when the daemon is gone, and the folder can be removed.
    drop(daemon);
    let gone = unmount(&point, UnmountFlags::DETACH);
    if let Err(failed) = judged {
        resume_unwind(failed);
    }
    gone.unwrap();
}
