//! The trace of actions: what is written where, by whom it is read, and that nobody waits for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::diagnosis::{at, nightly_id, outage, process};
use common::stage::outcome;
use serde_json::Value;
use whytop::action::{Action, Aim, Aimed, Candidate, Offers, Order, Signal};
use whytop::grounds::Grounds;
use whytop::trace::{Entry, Places, Trace};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn candidate(pid: i32, name: &str, command: &str) -> Candidate {
    let id = process(pid, 1, name, command, "root").id;
    Candidate { id, name: name.into(), command: command.into(), user: Some("root".into()), kernel_thread: false }
}

/// SIGTERM to the nightly job, as the screen orders it in the outage.
fn asked() -> Entry {
    let targets = [candidate(4711, "nightly.sh", "/bin/sh /usr/local/sbin/nightly.sh"), candidate(4712, "tar", "tar cf - /srv")];
    asked_for("nightly.sh", &targets, Grounds::of(nightly_id().as_str(), Some(&outage()), None))
}

fn asked_for(job: &str, targets: &[Candidate], grounds: Grounds) -> Entry {
    let targets = targets.iter().map(|candidate| Aimed { candidate: candidate.clone(), check: Ok(()) }).collect();
    let aim = Aim { job: job.to_owned(), targets, offers: Offers::default() };
    Entry::asked(at(0), &Order::whole(1, Action::End(Signal::Terminate)), &aim, grounds)
}

fn start(file: &Path, log: &Path) -> (Trace, Receiver<Option<String>>) {
    let (send, told) = channel();
    let trace = Trace::start(Places { file: file.to_owned(), log: log.to_owned() }, move |words| send.send(words).unwrap_or(()));
    (trace, told)
}

/// A pipe that nobody reads: whoever opens it to write stands still, as on a disk that is stuck.
fn stuck_disk(folder: &Path) -> std::path::PathBuf {
    let pipe = folder.join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    pipe
}

/// Reads lines from what was a stuck disk.
fn unstick(pipe: &Path, lines: usize) -> String {
    let mut reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(pipe).unwrap();
    let (mut text, start) = (String::new(), Instant::now());
    while text.lines().count() < lines || !text.ends_with('\n') {
        let mut some = vec![0; 65536];
        if let Ok(count) = reader.read(&mut some) {
            text.push_str(std::str::from_utf8(&some[..count]).unwrap());
        }
        assert!(start.elapsed() < PATIENCE, "not written: {text:?}");
        std::thread::yield_now();
    }
    text
}

fn lines(file: &Path) -> Vec<Value> {
    fs::read_to_string(file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn an_action_is_two_lines_with_who_whom_why_and_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/er/actions.log");
    for _ in 0..2 {
        let (trace, _) = start(&file, &folder.path().join("no-log"));
        trace.note(asked());
        trace.note(Entry::result(&outcome(Signal::Terminate, 1, &[(4711, "nightly.sh")])));
        assert_eq!(trace.finish(), None);
    }
    let lines = lines(&file);
    assert_eq!(lines.len(), 4, "the second run appends");
    let (asked, result) = (&lines[0], &lines[1]);
    assert_eq!((&asked["step"], &asked["action"], &asked["job"]), (&"asked".into(), &"SIGTERM".into(), &"nightly.sh".into()));
    assert_eq!((&asked["targets"][1]["pid"], &asked["targets"][1]["command"]), (&4712.into(), &"tar cf - /srv".into()));
    assert_eq!(asked["uid"], rustix::process::getuid().as_raw());
    assert_eq!(asked["at"], "2026-03-14T14:27:31Z");
    let evidence = &asked["evidence"];
    assert_eq!(
        (&evidence["load1"], &evidence["severity"], &evidence["tool"]),
        (&40.12.into(), &"contention".into(), &"tar".into())
    );
    assert!(evidence["headline"].as_str().unwrap().contains("95 %"), "{evidence}");
    assert!(evidence["evidence"][0].as_str().unwrap().contains("tar creates an archive"), "{evidence}");
    assert_eq!((&result["step"], &result["action"]), (&"result".into(), &"SIGTERM".into()));
    assert!(result["result"].as_str().unwrap().starts_with("SIGTERM sent to nightly.sh: 1 process"), "{result}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700), "for nobody else's eyes");
}

#[test]
fn the_systems_log_gets_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let (trace, _) = start(&folder.path().join("actions.log"), &socket);
    trace.note(asked());
    let mut datagram = [0; 4096];
    let count = log.recv(&mut datagram).unwrap();
    let line = std::str::from_utf8(&datagram[..count]).unwrap();
    assert!(line.starts_with("<85>") && line.contains(&format!(" whytop[{}]: ", std::process::id())), "{line}");
    assert!(
        line.contains(" asks for SIGTERM to nightly.sh (nightly.sh 4711, tar 4712); load 40.1; The backup nightly.sh"),
        "{line}"
    );
    // The log was started anew meanwhile.
    drop(log);
    fs::remove_file(&socket).unwrap();
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    trace.note(Entry::result(&outcome(Signal::Terminate, 1, &[(4711, "nightly.sh")])));
    let count = log.recv(&mut datagram).unwrap();
    assert!(std::str::from_utf8(&datagram[..count]).unwrap().contains(": SIGTERM sent to nightly.sh"));
}

#[test]
fn hostile_names_do_not_make_lines_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (file, socket) = (folder.path().join("actions.log"), folder.path().join("log"));
    let log = UnixDatagram::bind(&socket).unwrap();
    log.set_read_timeout(Some(PATIENCE)).unwrap();
    let (trace, _) = start(&file, &socket);
    let evil = "x\n<0>Mar 14 kernel: panic \x1b[2J\u{202e}".to_owned() + &"long ".repeat(1000);
    trace.note(asked_for(&evil, &[candidate(1, &evil, &evil)], Grounds::default()));
    let mut datagram = vec![0; 65536];
    let count = log.recv(&mut datagram).unwrap();
    let line = std::str::from_utf8(&datagram[..count]).unwrap();
    assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}') && line.len() < 1200, "{line:?}");
    assert_eq!(trace.finish(), None);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(!text.trim_end().chars().any(char::is_control), "{text:?}");
}

#[test]
fn a_disk_that_is_stuck_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = stuck_disk(folder.path());
    let (trace, told) = start(&pipe, &folder.path().join("no-log"));
    let start = Instant::now();
    trace.note(asked());
    assert!(start.elapsed() < Duration::from_millis(100), "whoever acts waited for {:?}", start.elapsed());
    let words = told.recv_timeout(PATIENCE).unwrap().expect("that it is late");
    assert!(words.contains("is not written yet") && words.contains("pipe does not answer"), "{words}");
    let start = Instant::now();
    assert_eq!(trace.finish(), Some(words), "whoever leaves is told");
    assert!(start.elapsed() < Duration::from_secs(5), "whoever leaves waited for {:?}", start.elapsed());
    // However much is done meanwhile, it is not kept without end.
    (0..1000).for_each(|_| trace.note(asked()));
    let text = unstick(&pipe, 256);
    assert!(text.starts_with("{\"at\":\"2026-03-14T14:27:31Z\","), "{text}");
    let lost = |words: Option<String>| words.is_some_and(|words| words.contains("lines of the trace are lost"));
    while !lost(told.recv_timeout(PATIENCE).unwrap()) {}
}

#[test]
fn what_cannot_be_written_is_told_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("actions.log");
    fs::create_dir(&file).unwrap();
    let (trace, told) = start(&file, &folder.path().join("no-log"));
    trace.note(asked());
    let words = told.recv_timeout(PATIENCE).unwrap().expect("that it failed");
    assert!(words.contains("is not written to") && words.contains("directory"), "{words}");
    fs::remove_dir(&file).unwrap();
    trace.note(asked());
    while told.recv_timeout(PATIENCE).expect("that it is written again").is_some() {}
    assert_eq!(lines(&file).len(), 1);
}

#[test]
fn a_link_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, target) = (folder.path().join("actions.log"), folder.path().join("shadow"));
    File::create(&target).unwrap();
    symlink(&target, &file).unwrap();
    let (trace, told) = start(&file, &folder.path().join("no-log"));
    trace.note(asked());
    assert!(told.recv_timeout(PATIENCE).unwrap().is_some());
    assert_eq!(fs::metadata(&target).unwrap().len(), 0);
}
