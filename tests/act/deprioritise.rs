//! Behind everybody else, thread by thread, and back exactly as it was.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use ioprio::{Class, Priority, Target, get_priority};
use rustix::process::{Pid as RawPid, getuid, setpriority_process};
use whytop::action::{Action, Deed, Order, Report, Subject};
use whytop::units::Pid;

use super::actors::*;

/// Three threads beside the first.
pub fn threads() {
    for _ in 0..3 {
        std::thread::spawn(|| std::thread::sleep(super::LIFE));
    }
    std::thread::sleep(super::LIFE);
}

/// Niceness and I/O class of every thread.
fn weights(pid: Pid) -> Vec<(Pid, i32, Option<Class>)> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut tids: Vec<Pid> = entries.map(|entry| entry.file_name().to_str().unwrap().parse().unwrap()).collect();
    tids.sort_unstable();
    tids.into_iter()
        .map(|tid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap();
            let nice = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap();
            let io = get_priority(Target::Process(ioprio::Pid::from_raw(tid))).map(Priority::class);
            (tid, nice, io.ok().flatten())
        })
        .collect()
}

#[test]
fn every_thread_goes_behind_and_back_as_it_was() {
    let job = Job::start(role("threads", "").stdout(Stdio::null()));
    let threads = || fs::read_dir(format!("/proc/{}/task", job.pid())).map_or(0, Iterator::count);
    // The test harness has threads of its own.
    until("all threads are there", || threads() >= 5);
    let last = weights(job.pid()).last().unwrap().0;
    setpriority_process(RawPid::from_raw(last), 5).unwrap();
    let before = weights(job.pid());
    let folder = tempfile::tempdir().unwrap();
    let tools = whytop::act::Tools { ledger: Some(folder.path().join("standing.json")), ..forgetful() };
    let hands = Hands::new(tools.clone());

    let outcome = hands.act(&subject(&job.root()), Action::Deprioritise);
    assert!(outcome.worked_wholly(), "{outcome}");
    let lowered = weights(job.pid());
    assert_eq!(lowered.len(), before.len());
    assert!(lowered.iter().all(|(_, nice, io)| (*nice, *io) == (19, Some(Class::Idle))), "{lowered:?}");
    let stands = hands.hear("that it stands", |report| match report {
        Report::Standing(standing) => standing.first().map(|standing| standing.deed),
        _ => None,
    });
    assert_eq!(stands, Deed::Deprioritised);
    let again = hands.act(&subject(&job.root()), Action::Deprioritise);
    assert!(again.error.is_some_and(|error| error.contains("undo puts it back")));
    drop(hands);

    if !getuid().is_root() {
        println!("skipped: only root may raise a priority again");
        return;
    }
    // The next whytop knows what they had.
    let hands = Hands::new(tools);
    let outcome = hands.act(&subject(&job.root()), Action::Undo);
    assert!(outcome.worked_wholly(), "{outcome}");
    assert_eq!(weights(job.pid()), before);
}

#[test]
fn children_born_meanwhile_go_behind_with_it() {
    let job = Job::script("sleep 600 & sleep 600 & wait", &[]);
    until("they sleep", || tree(job.pid()).len() == 3);
    let hands = Hands::new(forgetful());
    let outcome = hands.act(&subject(&job.root()), Action::Deprioritise);
    assert_eq!((outcome.sent(), outcome.late), (3, 2), "{outcome}");
    assert!(tree(job.pid()).iter().all(|seen| weights(seen.id.pid)[0].1 == 19));
    if getuid().is_root() {
        hands.act(&subject(&job.root()), Action::Undo);
        assert!(tree(job.pid()).iter().all(|seen| weights(seen.id.pid)[0].1 == 0));
    }
}

/// Among the sessions that the scheduler weighs as one, niceness counts inside of one only: the session has its own.
#[test]
fn a_session_of_its_own_goes_behind_as_one_and_back() {
    let of = |pid: Pid| fs::read_to_string(format!("/proc/{pid}/autogroup")).ok();
    let is_on = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|text| text.trim() == "1");
    let nice = |pid: Pid| of(pid).and_then(|text| text.trim().rsplit_once(" nice ").map(|(_, nice)| nice.to_owned()));
    if !is_on || of(1).is_none() || !getuid().is_root() {
        return println!("skipped: the scheduler does not weigh sessions here, or this user may not put a priority back");
    }
    let in_group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_weighed = |line: &str| line.split(':').nth(1).is_some_and(|names| names.split(',').any(|name| name == "cpu"));
    if in_group.lines().any(|line| is_weighed(line) && !line.ends_with(":/")) || !in_group.lines().any(is_weighed) {
        return println!("skipped: whether control groups weigh the CPUs of this test is not told by version 1");
    }
    let mut job = Job::script("sleep 600 & wait", &[]);
    until("it works", || tree(job.pid()).len() == 2);
    let members = job.members();
    assert_eq!(nice(job.pid()).as_deref(), Some("0"));
    let hands = Hands::new(forgetful());
    let slowed = hands.act(&subject(&members), Action::Deprioritise);
    assert!(slowed.worked_wholly() && !slowed.to_string().contains("session"), "{slowed}");
    assert_eq!(nice(job.pid()).as_deref(), Some("19"));
    assert!(hands.act(&subject(&members), Action::Undo).worked_wholly());
    assert_eq!(nice(job.pid()).as_deref(), Some("0"));

    // The child is another job, in the session of its shell: that is left as it is.
    let shell = Job::script("sleep 600 & wait", &[]);
    until("it works", || tree(shell.pid()).len() == 2);
    let child = tree(shell.pid()).into_iter().find(|seen| seen.name == "sleep").unwrap();
    let slowed = hands.act(&Subject { job: "other".to_owned(), ..subject(&[candidate(&child)]) }, Action::Deprioritise);
    assert!(slowed.to_string().contains("It shares its session with others: niceness counts among those"), "{slowed}");
    assert_eq!(nice(child.id.pid).as_deref(), Some("0"));
}

#[test]
fn undo_leaves_alone_whom_nobody_touched() {
    if !getuid().is_root() {
        return println!("skipped: only root may raise a priority again");
    }
    let mut job = Job::script("sleep 600 & nice -n 10 sleep 601 & wait", &[]);
    until("they sleep", || tree(job.pid()).iter().filter(|seen| seen.name == "sleep").count() == 2);
    let members = job.members();
    let nice = |at: usize| weights(members[at].id.pid)[0].1;
    let polite = (0..3).find(|at| nice(*at) == 10).unwrap();
    let picked = (1..3).find(|at| *at != polite).unwrap();
    let hands = Hands::new(forgetful());
    let subject = subject(&members);
    let slow = |ticket: u64, only: usize, action: Action| {
        hands.order(&subject, Order { only: Some(vec![members[only].id]), ..Order::whole(ticket, action) });
        hands.outcome()
    };
    assert_eq!(slow(1, picked, Action::Deprioritise).sent(), 1);
    assert_eq!((nice(picked), nice(polite), nice(0)), (19, 10, 0));
    let undone = hands.act(&subject, Action::Undo);
    assert!(undone.worked_wholly(), "{undone}");
    assert_eq!((nice(picked), nice(polite), nice(0)), (0, 10, 0), "{undone}");

    // Of two, one is put back, and the other one stays known.
    assert!(hands.act(&subject, Action::Deprioritise).worked_wholly());
    assert_eq!(slow(3, polite, Action::Undo).sent(), 1);
    assert_eq!((nice(picked), nice(polite), nice(0)), (19, 10, 19));
    assert!(hands.act(&subject, Action::Undo).worked_wholly());
    assert_eq!((nice(picked), nice(polite), nice(0)), (0, 10, 0));
}

/// Deprioritises a job, pauses it and undoes both, as an ordinary user.
pub fn print_half() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    for action in [Action::Deprioritise, Action::Pause, Action::Undo] {
        println!("\nOUTCOME {}", hands.act(&subject(&job.root()), action));
    }
    until("it sleeps again", || state(job.pid()) == 'S');
    println!("STATE {} {}", state(job.pid()), weights(job.pid())[0].1);
}

#[test]
fn undo_says_what_it_could_not_put_back() {
    let mut command = role("half", "");
    if getuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !said.contains("goes behind everybody else: 1 process") {
        return println!("skipped: another user cannot start this program: {said}");
    }
    assert!(said.contains("OUTCOME nightly is not wholly as it was before: 1 process (sleep "), "{said}");
    assert!(said.contains("its priorities could not all be put back: only root may raise one again"), "{said}");
    assert!(said.contains("STATE S 19"), "{said}");
}
