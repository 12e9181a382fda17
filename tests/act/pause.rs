//! Pauses: those that end by themselves whatever happens to whytop, those that stay, and what is remembered of them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid as RawPid, Signal as KernelSignal, kill_process};
use whytop::act::Tools;
use whytop::action::{Action, Deed, Order, Report, Standing, Subject};
use whytop::units::{Pid, ProcessId};

use super::actors::*;

fn with_ledger(folder: &Path) -> Tools {
    Tools { ledger: Some(folder.join("run/standing.json")), trace: Some(folder.join("trace")), ..forgetful() }
}

fn kill(pid: Pid, signal: KernelSignal) {
    kill_process(RawPid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Proves for a minute, says when the job stands still, and stays.
pub fn prove_for_long(argument: &str) {
    let (id, ledger) = argument.split_once(' ').unwrap();
    let (pid, start) = id.split_once('@').unwrap();
    let id = ProcessId { pid: pid.parse().unwrap(), start: start.parse().unwrap() };
    let hands = Hands::new(with_ledger(Path::new(ledger)));
    let subject = Subject { candidates: vec![(id, "theirs".to_owned()).into()], ..subject(&[]) };
    println!("\nOUTCOME {}", hands.act(&subject, Action::Prove { seconds: 60 }));
    std::thread::sleep(super::LIFE);
}

/// The watchdogs of this process.
fn watchdogs(parent: Pid) -> Vec<Pid> {
    let is_one = |pid: Pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').nth(1) == Some("watchdog")
    };
    census().into_values().filter(|seen| seen.parent == parent && is_one(seen.id.pid)).map(|seen| seen.id.pid).collect()
}

#[test]
fn a_proof_ends_by_itself() {
    let mut job = Job::tree("n(n()s())");
    let members = job.members();
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new(with_ledger(folder.path()));
    let begun = Instant::now();
    let stopped = hands.act(&subject(&members), Action::Prove { seconds: 1 });
    assert_eq!(stopped.to_string().split(" (").next().unwrap(), "nightly is paused for 1 s: 3 processes");
    until("all stand still", || members.iter().all(|member| state(member.id.pid) == 'T'));
    let gone_on = hands.outcome();
    assert_eq!((gone_on.ticket, &gone_on.action, gone_on.sent()), (stopped.ticket, &Action::Resume, 3), "{gone_on}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // No longer than its watchdog needs to end: nobody is kept waiting for the answer. A busy host may be slow once.
    let is_prompt = |took: Duration| took < Duration::from_millis(3900);
    let again = || {
        let begun = Instant::now();
        assert!(hands.act(&subject(&members), Action::Prove { seconds: 1 }).worked());
        hands.outcome();
        begun.elapsed()
    };
    assert!(is_prompt(took) || (0..5).any(|_| is_prompt(again())), "it takes three seconds longer");
    assert!(gone_on.notes.is_empty(), "{gone_on}");
    assert!(members.iter().all(|member| !matches!(state(member.id.pid), 'T' | '-')));
    drop(hands);
    assert!(!folder.path().join("trace").exists(), "its whytop was there to write it down");
}

#[test]
fn a_proof_is_cut_short_by_letting_the_job_go_on() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    let subject = subject(&job.root());
    assert!(hands.act(&subject, Action::Prove { seconds: 60 }).worked());
    let again = hands.act(&subject, Action::Prove { seconds: 60 });
    assert!(!again.worked(), "{again}");
    hands.act(&subject, Action::Resume);
    until("it goes on", || state(job.pid()) == 'S');
    let last = hands.hear("the end of the proof", |report| match report {
        Report::Standing(standing) => Some(standing),
        _ => None,
    });
    assert_eq!(last, []);
}

#[test]
fn quitting_in_the_middle_of_a_proof_lets_the_job_go_on() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    assert!(hands.act(&subject(&job.root()), Action::Prove { seconds: 60 }).worked());
    let begun = Instant::now();
    drop(hands);
    // Whoever was just told to go on may run before it sleeps again.
    assert_ne!(state(job.pid()), 'T');
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A proof in another process, and the job that it has stopped.
fn proof_elsewhere(folder: &Path) -> (Job, Job) {
    let job = Job::sleeper();
    let mut prover = role("prove", &format!("{} {}", job.id(), folder.display()));
    let prover = Job::start(prover.stdout(Stdio::null()));
    until("it stands still", || state(job.pid()) == 'T');
    (job, prover)
}

#[test]
fn whytop_is_killed_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // A trace on a disk that does not answer: whoever opens a pipe to write waits for somebody who reads.
    let trace = folder.path().join("trace");
    assert!(Command::new("mkfifo").arg(&trace).status().unwrap().success());
    let (job, mut prover) = proof_elsewhere(folder.path());
    kill(prover.pid(), KernelSignal::KILL);
    prover.child.wait().unwrap();
    until("it goes on", || state(job.pid()) == 'S');
    // And nobody thinks that it is paused.
    let hands = Hands::new(with_ledger(folder.path()));
    assert_eq!(standing(&hands), []);
    // Nobody else would write it down.
    let mut pipe = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(trace).unwrap();
    let mut line = String::new();
    until("its watchdog has written that down", || {
        // Nothing yet is an error, and so is a pipe that nobody has opened to write.
        let _ = pipe.read_to_string(&mut line);
        line.ends_with('\n')
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let said = format!("nightly goes on: 1 process (theirs {}); its watchdog did it, as whytop was gone", job.pid());
    assert_eq!(
        (line["step"].as_str(), line["action"].as_str(), line["result"].as_str()),
        (Some("result"), Some("resume"), Some(&*said))
    );
}

#[test]
fn the_watchdog_is_killed_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (job, prover) = proof_elsewhere(folder.path());
    let [watchdog] = watchdogs(prover.pid())[..] else { panic!("one watchdog") };
    kill(watchdog, KernelSignal::KILL);
    until("it goes on", || state(job.pid()) == 'S');
    assert!(prover.lives());
}

#[test]
fn a_watchdog_that_is_told_to_end_lets_the_job_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (job, prover) = proof_elsewhere(folder.path());
    for watchdog in watchdogs(prover.pid()) {
        kill(watchdog, KernelSignal::TERM);
    }
    until("it goes on", || state(job.pid()) == 'S');
}

/// The terminal in which `whytop prove` runs is torn down in the middle of the proof.
#[test]
fn a_terminal_dies_and_the_job_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job::script("sleep 600 & wait", &[]);
    until("it works", || tree(job.pid()).len() == 2);
    let id = job.id();
    let (pty, pts) = pty_process::blocking::open().unwrap();
    let command = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_whytop"))
        .args(["prove", "--seconds", "60", "--yes", "--tier", "proc", "--job", &format!("tree:{id}")])
        .arg("--trace")
        .arg(folder.path().join("trace"))
        .env("WHYTOP_RUNTIME_DIR", folder.path());
    let mut child = command.spawn(pts).unwrap();
    let members = job.members();
    until("all stand still", || members.iter().all(|member| state(member.id.pid) == 'T'));
    drop(pty);
    until("all go on", || members.iter().all(|member| !matches!(state(member.id.pid), 'T' | '-')));
    child.wait().unwrap();
}

/// Somebody may have a reason to have stopped an editor.
#[test]
fn who_stood_still_before_a_pause_stays_so_after_it() {
    let mut job = Job::script("sleep 600 & sleep 601 & wait", &[]);
    until("they sleep", || tree(job.pid()).iter().filter(|seen| seen.name == "sleep").count() == 2);
    let members = job.members();
    let stood = members[1].id;
    kill(stood.pid, KernelSignal::STOP);
    until("it stands", || state(stood.pid) == 'T');
    let hands = Hands::new(forgetful());
    let nightly = subject(&members);
    let paused = hands.act(&nightly, Action::Pause);
    assert!(paused.worked_wholly() && paused.sent() == 2, "{paused}");
    until("all stand still", || members.iter().all(|member| state(member.id.pid) == 'T'));
    let gone_on = hands.act(&nightly, Action::Resume);
    assert!(gone_on.worked_wholly() && gone_on.sent() == 2, "{gone_on}");
    assert!(gone_on.to_string().ends_with("; 1 process stood still before and stays so: resume once more"), "{gone_on}");
    assert_eq!(members.iter().filter(|member| state(member.id.pid) == 'T').count(), 1);
    assert_eq!(state(stood.pid), 'T');

    let proven = hands.act(&nightly, Action::Prove { seconds: 1 });
    assert_eq!(proven.sent(), 2, "{proven}");
    assert_eq!(hands.outcome().sent(), 2);
    assert_eq!(state(stood.pid), 'T');
    assert!(hands.act(&nightly, Action::Resume).worked());
    assert_ne!(state(stood.pid), 'T');
}

// ---- What is remembered ----

#[test]
fn a_job_of_which_one_process_goes_on_is_still_known_for_paused() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job::tree("n(n()n())");
    let members = job.members();
    let hands = Hands::new(with_ledger(folder.path()));
    assert_eq!(hands.act(&subject(&members), Action::Pause).sent(), 3);
    let order = Order { only: Some(vec![members[1].id]), ..Order::whole(2, Action::Resume) };
    hands.order(&subject(&members), order);
    assert_eq!(hands.outcome().sent(), 1);
    drop(hands);
    let hands = Hands::new(with_ledger(folder.path()));
    let [known] = &standing(&hands)[..] else { panic!("it is forgotten") };
    let still: Vec<ProcessId> = known.processes.iter().map(|(id, _)| *id).collect();
    assert_eq!(still, [members[0].id, members[2].id]);
    assert!(hands.act(&Subject::of_standing(known), Action::Resume).worked());
    assert!(members.iter().all(|member| state(member.id.pid) != 'T'));
    assert_eq!(standing(&hands), []);
}

#[test]
fn what_cannot_be_written_down_is_known_as_long_as_whytop_runs() {
    // A folder that is not there and cannot be made.
    let tools = Tools { ledger: Some("/proc/whytop-test/standing.json".into()), ..forgetful() };
    let (first, second) = (Job::sleeper(), Job::sleeper());
    let hands = Hands::new(tools);
    assert_eq!(standing(&hands), []);
    let mine = |job: &Job| Subject { job: format!("tree:{}", job.id()), ..subject(&job.root()) };
    for (job, count) in [(&first, 1), (&second, 2)] {
        let paused = hands.act(&mine(job), Action::Pause);
        assert!(paused.to_string().contains("only this whytop knows of it"), "{paused}");
        hands.hear("what stands", |report| matches!(report, Report::Standing(all) if all.len() == count).then_some(()));
    }
    for job in [&first, &second] {
        let undone = hands.act(&mine(job), Action::Undo);
        assert!(undone.worked_wholly(), "{undone}");
        assert_ne!(state(job.pid()), 'T');
    }
    until("nothing stands", || standing(&hands).is_empty());
}

fn standing(hands: &Hands) -> Vec<Standing> {
    hands.hear("what stands", |report| match report {
        Report::Standing(standing) => Some(standing),
        _ => None,
    })
}

#[test]
fn a_job_left_paused_is_known_at_the_next_start_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = Job::tree("n(n())");
    let members = job.members();
    let hands = Hands::new(with_ledger(folder.path()));
    assert_eq!(standing(&hands), []);
    assert_eq!(hands.act(&subject(&members), Action::Pause).sent(), 2);
    drop(hands);
    until("it stands still: a pause outlives whytop", || state(job.pid()) == 'T');

    let hands = Hands::new(with_ledger(folder.path()));
    let known = standing(&hands);
    assert_eq!(known.len(), 1, "{known:?}");
    assert_eq!((known[0].name.as_str(), known[0].deed, known[0].processes.len()), ("nightly", Deed::Paused, 2));
    assert!(!known[0].by.is_empty());

    // By the next whytop, though the screen knows the job under another name.
    let again = Subject::of_standing(&known[0]);
    let outcome = hands.act(&again, Action::Undo);
    assert_eq!(outcome.to_string().split(" (").next().unwrap(), "nightly is as it was before: 2 processes");
    assert_eq!(standing(&hands), []);
    assert!(members.iter().all(|member| state(member.id.pid) == 'S'));

    // Or by somebody else, by hand.
    hands.act(&subject(&members), Action::Pause);
    assert_eq!(standing(&hands).len(), 1);
    for member in &members {
        kill(member.id.pid, KernelSignal::CONT);
    }
    assert_eq!(standing(&hands), []);
}

#[test]
fn what_another_boot_or_a_stranger_wrote_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job::sleeper();
    let hands = Hands::new(with_ledger(folder.path()));
    assert!(hands.act(&subject(&job.root()), Action::Pause).worked());
    drop(hands);
    let file = folder.path().join("run/standing.json");
    let page = fs::read_to_string(&file).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for wrong in [page.replace(boot.trim(), "another"), page.replace("\"start\":", "\"start\":1"), "{".to_owned(), String::new()]
    {
        fs::write(&file, &wrong).unwrap();
        assert_eq!(standing(&Hands::new(with_ledger(folder.path()))), [], "{wrong}");
    }
    fs::write(&file, &page).unwrap();
    assert_eq!(standing(&Hands::new(with_ledger(folder.path()))).len(), 1);
    let mode = Command::new("stat").args(["-c", "%a"]).arg(&file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "600");
}

/// Root does what the ledger says. A folder that somebody else made, or may write to, says nothing, and nothing is written there.
#[test]
fn a_ledger_that_others_can_write_to_is_none() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let job = Job::sleeper();
    let theirs = tempfile::tempdir().unwrap();
    let hands = Hands::new(with_ledger(theirs.path()));
    assert!(hands.act(&subject(&job.root()), Action::Pause).worked());
    drop(hands);
    let run = theirs.path().join("run");
    let known = || standing(&Hands::new(with_ledger(theirs.path()))).len();
    assert_eq!(known(), 1);

    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(known(), 0);
    let hands = Hands::new(with_ledger(theirs.path()));
    let gone_on = hands.act(&subject(&job.root()), Action::Resume);
    assert!(gone_on.worked(), "{gone_on}");
    let paused = hands.act(&subject(&job.root()), Action::Pause);
    let words = "only this whytop knows of it, as it could not be written down: ";
    assert!(
        paused.to_string().contains(words) && paused.to_string().contains("is another user's, or open to others"),
        "{paused}"
    );
    drop(hands);

    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(known(), 1);
    let file = run.join("standing.json");
    fs::rename(&file, theirs.path().join("elsewhere")).unwrap();
    symlink(theirs.path().join("elsewhere"), &file).unwrap();
    assert_eq!(known(), 0);
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(known(), 0);
}
