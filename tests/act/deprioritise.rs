//! Behind everybody else, thread by thread, and back exactly as it was.

use std::fs;
use std::process::Stdio;

use ioprio::{Class, Priority, Target, get_priority};
use rustix::process::{Pid as RawPid, getuid, setpriority_process};
use whytop::action::{Action, Deed, Report};
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
