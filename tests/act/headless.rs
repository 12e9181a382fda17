//! Acting without a screen, by the binary: whom it finds, what it asks, what it refuses, what it answers.
//!
//! Each test starts a job of its own and names it by its identity; nothing else of this host is touched.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid as RawPid, Resource, Rlimit, geteuid, prlimit};
use serde_json::Value;

use super::actors::*;
use super::guards::listener;

/// Each looks at the host for a second or more and mostly waits, so they do it side by side.
#[test]
fn without_a_screen() {
    let all: [(&str, fn()); 10] = [
        ("kill_says_what_it_would_do_refuses_unasked_and_does_it", kill_says_what_it_would_do_refuses_unasked_and_does_it),
        ("pause_and_resume_find_the_job_again", pause_and_resume_find_the_job_again),
        ("what_is_known_from_a_pause_only_goes_on_and_no_more", what_is_known_from_a_pause_only_goes_on_and_no_more),
        ("a_proof_answers_what_it_has_shown", a_proof_answers_what_it_has_shown),
        ("what_was_done_is_told_though_no_more_can_be_seen", what_was_done_is_told_though_no_more_can_be_seen),
        ("a_listening_service_takes_a_word_even_with_yes", a_listening_service_takes_a_word_even_with_yes),
        ("bad_words_are_one_line_and_an_error", bad_words_are_one_line_and_an_error),
        ("an_ordinary_user_is_told_what_would_help_with_roots_job", an_ordinary_user_is_told_what_would_help_with_roots_job),
        ("on_a_terminal_it_asks", on_a_terminal_it_asks),
        ("what_was_refused_is_written_down_with_who_asked", what_was_refused_is_written_down_with_who_asked),
    ];
    std::thread::scope(|scope| {
        for (name, test) in all {
            std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, test).unwrap();
        }
    });
}

struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn whytop(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_whytop"));
        // The iterator is loaded by a process of its own, which these short looks need not pay for.
        command.args(arguments).args(["--tier", "proc"]).env("WHYTOP_RUNTIME_DIR", self.folder.path());
        command.arg("--trace").arg(self.folder.path().join("actions.log"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.whytop(arguments).output().unwrap()
    }
}

fn trace(host: &Host) -> Vec<Value> {
    let trace = std::fs::read_to_string(host.folder.path().join("actions.log")).unwrap_or_default();
    trace.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What the trace has seen later of what was done.
fn seen(host: &Host) -> Vec<String> {
    let seen = trace(host).into_iter().filter(|line| line["step"] == "seen");
    seen.map(|line| line["result"].as_str().unwrap().to_owned()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)))
}

/// A pipeline of its own session, as cron starts one, and its identity.
fn nightly() -> (Job, String) {
    let mut job = Job::script("sleep 600 | sleep 600", &[]);
    until("the pipeline runs", || tree(job.pid()).iter().filter(|seen| seen.name == "sleep").count() == 2);
    job.members();
    let id = format!("tree:{}", job.id());
    (job, id)
}

fn kill_says_what_it_would_do_refuses_unasked_and_does_it() {
    let host = Host::new();
    let (mut job, id) = nightly();
    let members: Vec<i64> = tree(job.pid()).iter().map(|seen| seen.id.pid.into()).collect();

    let planned = host.run(&["kill", "--job", &id, "--dry-run", "--json"]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned.stderr));
    let plan = json(&planned);
    assert_eq!((&plan["schema"], &plan["result"], &plan["action"]), (&1.into(), &"planned".into(), &"SIGTERM".into()));
    assert_eq!(plan["job"], id);
    let pids: Vec<i64> = plan["processes"].as_array().unwrap().iter().map(|process| process["pid"].as_i64().unwrap()).collect();
    assert_eq!(pids[0], i64::from(job.pid()), "the root first");
    assert_eq!(pids.len(), members.len());
    assert_eq!(plan["does"], "asks 3 processes to end, its root first; they may clean up");

    let unasked = host.run(&["kill", "--job", &id]);
    assert_eq!(unasked.status.code(), Some(1));
    let said = "whytop: refused: nobody is there to be asked: --yes does it unasked, --dry-run says what it would do\n";
    assert_eq!(text(&unasked.stderr), said);
    assert!(job.lives());

    let done = host.run(&["kill", "--job", &id, "--yes", "--json"]);
    job.child.wait().unwrap();
    let answer = json(&done);
    // The sleepers may be waited for by nobody for a moment, where the host's first process is slow to do so.
    assert!(matches!(answer["result"].as_str(), Some("done" | "partly")), "{answer:#}");
    assert_eq!(done.status.code(), Some(i32::from(answer["result"] != "done")));
    assert!(answer["message"].as_str().unwrap().starts_with("SIGTERM sent to "), "{answer:#}");
    assert!(answer["processes"].as_array().unwrap().iter().all(|process| process["hit"] == true), "{answer:#}");
    until("all are gone", || in_session(job.pid()).is_empty());
    let seen = seen(&host);
    let [landed] = &seen[..] else { panic!("who is left, or that nobody is: {seen:?}") };
    assert!(landed.contains(" is gone, ") || landed.contains(" left: "), "{landed}");

    let gone = host.run(&["kill", "--job", &id, "--yes", "--json"]);
    assert_eq!((gone.status.code(), &json(&gone)["result"]), (Some(1), &"refused".into()));
}

fn pause_and_resume_find_the_job_again() {
    let host = Host::new();
    let (mut job, id) = nightly();
    let paused = host.run(&["pause", "--job", &id, "--yes"]);
    assert_eq!(paused.status.code(), Some(0), "{}{}", text(&paused.stdout), text(&paused.stderr));
    assert!(text(&paused.stdout).contains(" is paused: 3 processes ("), "{}", text(&paused.stdout));
    until("all stand still", || job.members().iter().all(|member| state(member.id.pid) == 'T'));
    let again = host.run(&["pause", "--job", &id, "--yes"]);
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(text(&again.stderr), "whytop: refused: it is paused already: let it go on first\n");
    let resumed = host.run(&["undo", "--job", &id, "--yes", "--json"]);
    assert_eq!((resumed.status.code(), &json(&resumed)["result"]), (Some(0), &"done".into()), "{}", text(&resumed.stdout));
    assert!(job.members().iter().all(|member| state(member.id.pid) == 'S'));
}

/// Its root was killed by somebody else: what is left of it is no job of that name any more.
fn what_is_known_from_a_pause_only_goes_on_and_no_more() {
    let host = Host::new();
    let (mut job, id) = nightly();
    let paused = host.run(&["pause", "--job", &id, "--yes"]);
    assert_eq!(paused.status.code(), Some(0), "{}{}", text(&paused.stdout), text(&paused.stderr));
    let left: Vec<_> = job.members().into_iter().skip(1).map(|member| member.id).collect();
    until("all stand still", || left.iter().all(|id| state(id.pid) == 'T'));
    job.child.kill().unwrap();
    job.child.wait().unwrap();
    let killed = host.run(&["kill", "--job", &id, "--yes"]);
    assert_eq!(killed.status.code(), Some(1), "{}", text(&killed.stdout));
    assert!(text(&killed.stderr).contains(&format!("there is no job {id} (any more)")), "{}", text(&killed.stderr));
    assert!(left.iter().all(|id| lives(*id)));
    let resumed = host.run(&["resume", "--job", &id, "--yes"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    until("they go on", || left.iter().all(|id| state(id.pid) == 'S'));
}

fn a_proof_answers_what_it_has_shown() {
    let host = Host::new();
    let (job, id) = nightly();
    let site = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", site.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut visitor in site.incoming().flatten() {
            let _ = visitor.read(&mut [0; 4096]);
            let _ = visitor.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let proven = host.run(&["prove", "--seconds", "6", "--job", &id, "--yes", "--json", "--probe", &url]);
    let answer = json(&proven);
    assert_eq!(proven.status.code(), Some(0), "{answer:#}");
    assert_eq!(answer["action"], "proof by a pause of 6 s");
    // A sleeper is nobody's cause, whoever else waits on this host meanwhile.
    let shown = answer["proof"]["shown"].as_str().unwrap();
    assert!(matches!(shown, "nothing" | "not_the_cause" | "part" | "cause"), "{answer:#}");
    let site = &answer["proof"]["site"];
    let asked = [&site["before"], &site["after"]].map(|words| words.as_str().is_some_and(|words| words.starts_with("204 in ")));
    assert_eq!(asked, [true, true], "{answer:#}");
    assert_eq!(seen(&host), [answer["proof"]["sentence"].as_str().unwrap()]);
    assert_eq!(state(job.pid()), 'S');
}

/// From the moment at which it was done, whytop may open no file any more: each look fails.
fn what_was_done_is_told_though_no_more_can_be_seen() {
    let mut jobs = [Job::script("while :; do sleep 1; done", &[]), Job::script("trap '' TERM; while :; do sleep 1; done", &[])];
    let acts = [&["prove", "--seconds", "6"][..], &["kill", "--watch", "60"]];
    let said = [" is paused for 6 s", "SIGTERM sent to "];
    let all = jobs.iter().zip(acts).map(|(job, act)| {
        let host = Host::new();
        let id = format!("tree:{}", job.id());
        let mut whytop = host.whytop(&[act, &["--job", &id, "--yes", "--json"]].concat());
        let child = whytop.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        (host, child)
    });
    let all: Vec<_> = all.collect();
    for (host, child) in &all {
        let log = host.folder.path().join("actions.log");
        until("it is done", || std::fs::read_to_string(&log).is_ok_and(|log| log.contains(r#""step":"result""#)));
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        prlimit(RawPid::from_raw(child.id().cast_signed()), Resource::Nofile, none).unwrap();
    }
    for ((_, child), said) in all.into_iter().zip(said) {
        let output = child.wait_with_output().unwrap();
        let answer = json(&output);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", text(&output.stderr));
        assert!(matches!(answer["result"].as_str(), Some("done" | "partly")), "{answer:#}");
        assert!(answer["message"].as_str().unwrap().contains(said), "{answer:#}");
        let notes = answer["notes"].as_array().unwrap();
        let why = notes.iter().filter_map(Value::as_str).find(|note| note.contains("could not be watched to the end: "));
        // On a busy machine the pause may be over before the files are taken away; whoever ignores a signal is watched for a minute.
        assert!(why.is_some() || said.contains("paused"), "{answer:#}");
    }
    for job in &mut jobs {
        job.members();
    }
}

fn a_listening_service_takes_a_word_even_with_yes() {
    let host = Host::new();
    let (mut job, _) = listener("0.0.0.0:0");
    let group = job.pid();
    // A child of the tests is part of whatever job they are.
    let once = host.run(&["once", "--json"]);
    let jobs = json(&once)["jobs"].as_array().unwrap().clone();
    let own = jobs.iter().find(|job| job["pids"].as_array().unwrap().contains(&group.into())).unwrap()["id"].clone();
    let arguments = ["kill", "--signal", "KILL", "--job", own.as_str().unwrap(), "--yes", "--only", &group.to_string()];
    let refused = host.run(&arguments);
    assert_eq!(refused.status.code(), Some(1), "{}", text(&refused.stdout));
    let said = text(&refused.stderr);
    assert!(said.contains("--confirm ") && said.contains(" does it all the same"), "{said}");
    assert!(job.lives());
    let word = said.split("--confirm ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let done = host.run(&[&arguments[..], &["--confirm", &word]].concat());
    assert_eq!(job.child.wait().unwrap().signal(), Some(9), "{}{}", text(&done.stdout), text(&done.stderr));
}

fn bad_words_are_one_line_and_an_error() {
    let host = Host::new();
    for (arguments, said) in [
        (&["kill", "--job", "x", "--signal", "STOP"][..], "give TERM, INT, HUP or KILL"),
        (&["kill"], "required"),
        (&["kill", "--job", "x", "--culprit"], "cannot be used with"),
        (&["prove", "--job", "x", "--seconds", "5"], "6..=60"),
    ] {
        let output = host.run(arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(said) && error.lines().count() == 1, "{error}");
    }
    let unknown = host.run(&["kill", "--job", "tree:1@2", "--yes"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = "whytop: refused: there is no job tree:1@2 (any more): whytop once --json lists those there are\n";
    assert_eq!(text(&unknown.stderr), said);
    let warm = host.run(&["thaw", "/", "--yes"]);
    assert_eq!(warm.status.code(), Some(1));
    assert!(text(&warm.stderr).contains("nobody waits for / to be thawed"), "{}", text(&warm.stderr));
}

fn an_ordinary_user_is_told_what_would_help_with_roots_job() {
    if !geteuid().is_root() {
        return println!("skipped: there is no job of root's to start");
    }
    let host = Host::new();
    // Another user must be able to start the program.
    let program = host.folder.path().join("whytop");
    // Copied by somebody else: what another test is just starting may still have a copy of ours open to be written.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_whytop")).arg(&program).status().unwrap().success());
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(host.folder.path(), open).unwrap();
    let (job, id) = nightly();
    let mut command = Command::new(&program);
    command.args(["pause", "--job", &id, "--yes", "--tier", "proc"]).env_remove("WHYTOP_RUNTIME_DIR");
    command.arg("--trace").arg(host.folder.path().join("actions.log"));
    let output = command.stdin(Stdio::null()).uid(65_534).gid(65_534).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "whytop: refused: it belongs to root: sudo whytop\n");
    assert_eq!(state(job.pid()), 'S');
}

fn what_was_refused_is_written_down_with_who_asked() {
    let host = Host::new();
    let (job, id) = nightly();
    let dry = host.run(&["resume", "--job", &id, "--dry-run"]);
    assert_eq!(dry.status.code(), Some(1));
    assert_eq!(trace(&host), Vec::<Value>::new(), "nobody asked for it to be done");
    let unasked = host.whytop(&["kill", "--job", &id]).env("SUDO_USER", "ann\x1b[2J").output().unwrap();
    assert_eq!(unasked.status.code(), Some(1), "{}", text(&unasked.stdout));
    let lines = trace(&host);
    let [asked, result] = &lines[..] else { panic!("two lines: {lines:#?}") };
    assert_eq!(
        (&asked["step"], &asked["action"], &asked["sudo_user"]),
        (&"asked".into(), &"SIGTERM".into(), &"ann\\x1b[2J".into())
    );
    assert_eq!(asked["targets"][0]["pid"], job.pid());
    let said = result["result"].as_str().unwrap();
    assert!(result["step"] == "result" && said.starts_with("SIGTERM not sent to "), "{result}");
    assert!(said.ends_with(": nobody is there to be asked: --yes does it unasked, --dry-run says what it would do"), "{result}");
    assert!(job.lives());
}

/// On a terminal it asks, and takes anything but a yes for a no.
fn on_a_terminal_it_asks() {
    let host = Host::new();
    let (mut job, id) = nightly();
    for (answer, code) in [("\n", 1), ("y\n", 0)] {
        let (mut pty, pts) = pty_process::blocking::open().unwrap();
        let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_whytop"))
            .args(["deprioritise", "--job", &id, "--tier", "proc"])
            .arg("--trace")
            .arg(host.folder.path().join("actions.log"))
            .env("WHYTOP_RUNTIME_DIR", host.folder.path());
        let mut child = command.spawn(pts).unwrap();
        // The terminal keeps the line until it is read.
        pty.write_all(answer.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
    let nice = std::fs::read_to_string(format!("/proc/{}/stat", job.pid())).unwrap();
    assert_eq!(nice.rsplit_once(')').unwrap().1.split_whitespace().nth(16), Some("19"));
    job.members();
}
