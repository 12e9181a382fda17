//! Acting on real processes: who is hit, who is not, and that nobody of the job is left.
//!
//! Every job here is started by its test and ended by it, also when it fails. Nothing waits for a time: conditions are
//! polled until a deadline. Some tests need root (numbers given away again, another user's process); they say so and pass
//! where they cannot run. The whole file is to pass as an ordinary user too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]

#[path = "act/actors.rs"]
mod actors;
#[path = "act/cgroup.rs"]
mod cgroup;
#[path = "act/deprioritise.rs"]
mod deprioritise;
#[path = "act/guards.rs"]
mod guards;
#[path = "act/headless.rs"]
mod headless;
#[path = "act/landing.rs"]
mod landing;
#[path = "act/pause.rs"]
mod pause;
#[path = "act/units.rs"]
mod units;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use actors::*;
use rustix::process::{Pid as RawPid, Resource, Rlimit, getuid, kill_process, setpgid, setrlimit, setsid};
use whytop::act::{Hand, Worker};
use whytop::action::{Action, Candidate, Order, Refusal, Report, Signal, Subject};
use whytop::units::{Pid, ProcessId};

/// No process of a test outlives this, should everything else fail.
const LIFE: Duration = Duration::from_mins(10);

// ---- This binary in another part ----

/// Not a test, but what [`role`] starts.
#[test]
fn part() {
    let argument = std::env::var(ARGUMENT).unwrap_or_default();
    match std::env::var(ROLE).as_deref() {
        Ok("tree") => plant(&argument),
        Ok("aim") => print_aim(&argument),
        Ok("crowd") => print_crowd(&argument),
        Ok("listen") => guards::listen(&argument),
        Ok("prove") => pause::prove_for_long(&argument),
        Ok("threads") => deprioritise::threads(),
        Ok("half") => deprioritise::print_half(),
        Ok("neglect") => landing::neglect(),
        Ok("vfork") => landing::vfork(),
        Ok("own") => units::print_own(&argument),
        _ => {}
    }
}

/// Grows a tree of processes: `n(…)` is a plain one with its children, `g(…)` leads a group, `s(…)` a session of its own.
fn plant(shape: &str) {
    let children = &shape[2..shape.len() - 1];
    match &shape[..1] {
        "g" => setpgid(None, None).unwrap(),
        "s" => drop(setsid()),
        _ => {}
    }
    let (mut depth, mut begin) = (0, 0);
    let mut kept = Vec::new();
    for (at, letter) in children.char_indices() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if letter == ')' && depth == 0 {
            kept.push(role("tree", &children[begin..=at]).spawn().unwrap());
            begin = at + 1;
        }
    }
    sleep(LIFE);
}

fn print_aim(argument: &str) {
    let (pid, start) = argument.split_once('@').unwrap();
    let id = ProcessId { pid: pid.parse().unwrap(), start: start.parse().unwrap() };
    let target = Candidate { id, name: "theirs".to_owned(), command: String::new(), user: None, kernel_thread: false };
    let mut hand = Hand::new(true);
    let aim = aim(&mut hand, &[target]);
    println!("\nCHECK {:?}", aim.targets[0].check);
    println!("SUDO {:?}", aim.sudo_line(Signal::Terminate));
    println!("OUTCOME {}", strike(&mut hand, Signal::Terminate));
}

/// Aims at 120 processes with few file descriptors, of which there may be more (`soft`) or not (`hard`).
fn print_crowd(argument: &str) {
    let mut job = Job::script("i=0; while [ $i -lt 120 ]; do sleep 600 & i=$((i+1)); done; wait", &[]);
    until("the crowd is there", || tree(job.pid()).iter().filter(|seen| seen.name == "sleep").count() == 120);
    let maximum = if argument == "soft" { 1000 } else { 100 };
    setrlimit(Resource::Nofile, Rlimit { current: Some(100), maximum: Some(maximum) }).unwrap();
    let mut hand = Hand::new(true);
    let aim = aim(&mut hand, &job.members());
    let held = aim.reachable().count();
    let outcome = strike(&mut hand, Signal::Kill);
    println!("\nHELD {held} OF {} SENT {} ENTRIES {}", aim.targets.len(), outcome.sent(), outcome.hits.len());
}

// ---- Ending a job ----

#[test]
fn a_pipeline_ends_with_its_script_first() {
    let bystander = Job::sleeper();
    let folder = tempfile::tempdir().unwrap();
    let next = folder.path().join("rotated");
    let mut job = Job::script("tail -f /dev/null | cat; echo done >\"$1\"", &[&next]);
    until("the pipeline runs", || {
        let names: Vec<String> = tree(job.pid()).into_iter().map(|seen| seen.name).collect();
        names.len() == 3 && names.iter().any(|name| name == "tail") && names.iter().any(|name| name == "cat")
    });
    let candidates = job.members();

    let outcome = send(&candidates, Signal::Terminate);
    let order: Vec<ProcessId> = outcome.hits.iter().map(|hit| hit.id).collect();
    assert_eq!(order, ids(&candidates), "{outcome}");
    assert_eq!(outcome.hits[0].result, Ok(()));
    // The end of the pipeline may have read the end of its input before it was asked.
    assert!(outcome.hits.iter().all(|hit| matches!(hit.result, Ok(()) | Err(Refusal::Gone))), "{outcome}");
    assert_eq!(outcome.late, 0, "{outcome}");
    assert!(outcome.to_string().starts_with("SIGTERM sent to nightly: "), "{outcome}");
    assert!(outcome.to_string().contains(&format!(" (sh {}", job.pid())), "{outcome}");
    until("the pipeline is gone", || in_session(job.pid()).is_empty());
    assert_eq!(job.child.wait().unwrap().signal(), Some(15));
    assert!(!next.exists(), "the script went on to its next step");
    assert!(bystander.lives());
}

/// The root is all that the screen has seen of a job that forks as fast as it can.
#[test]
fn whoever_is_born_while_the_job_is_killed_is_killed_too() {
    let bystander = Job::sleeper();
    for round in 0..12 {
        let mut job = Job::script("i=0; while [ $i -lt 3000 ]; do sleep 600 & i=$((i+1)); done; wait", &[]);
        until("it forks", || in_session(job.pid()).len() > 10);
        let outcome = send(&job.root(), Signal::Kill);
        assert_eq!(outcome.hits[0].id.pid, job.pid());
        assert!(outcome.late > 0, "{outcome}");
        assert_eq!(outcome.sent(), outcome.late + 1, "{outcome}");
        let killed: BTreeSet<ProcessId> = hit_ids(&outcome).into_iter().collect();
        let left: Vec<Seen> = in_session(job.pid()).into_iter().filter(|seen| !killed.contains(&seen.id)).collect();
        assert!(left.is_empty(), "round {round}: {} not hit: {:?}", left.len(), left.first());
        until("all are gone", || in_session(job.pid()).is_empty());
        assert_eq!(job.child.wait().unwrap().signal(), Some(9));
    }
    assert!(bystander.lives());
}

/// Each process bears the next one and stays: at any instant the newest is the one that the look has not seen.
#[test]
fn a_chain_that_grows_while_it_is_killed_has_an_end() {
    let bystander = Job::sleeper();
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    fs::write(&link, "[ \"$2\" -gt 0 ] && sh \"$1\" \"$1\" $(($2 - 1)) &\nexec sleep 600\n").unwrap();
    for signal in [Signal::Kill, Signal::Terminate, Signal::Kill, Signal::Terminate] {
        let mut job = Job::script("sh \"$1\" \"$1\" 1500 & wait", &[&link]);
        until("the chain grows", || in_session(job.pid()).len() > 8);
        let outcome = send(&job.root(), signal);
        assert!(outcome.late > 0, "{outcome}");
        until("all are gone", || in_session(job.pid()).is_empty());
        job.child.wait().unwrap();
    }
    assert!(bystander.lives());
}

/// A daemon that the script had started is another job on the screen, though a child of this one.
#[test]
fn a_child_that_was_seen_and_not_meant_lives_on() {
    let mut job = Job::script("setsid sleep 600 & sleep 601 & wait", &[]);
    let daemon = |job: &Job| tree(job.pid()).into_iter().find(|seen| seen.session == seen.id.pid && seen.id.pid != job.pid());
    until("the daemon has its session", || daemon(&job).is_some_and(|seen| seen.name == "sleep") && tree(job.pid()).len() == 3);
    let daemon = daemon(&job).unwrap();
    let meant: Vec<Candidate> = job.members().into_iter().filter(|candidate| candidate.id != daemon.id).collect();

    let mut hand = Hand::new(true);
    // The list was made a tick after the daemon's start, as any list that shows it was.
    let tick = 1_000_000_000 / rustix::param::clock_ticks_per_second();
    hand.aim(&Subject { seen: (daemon.id.start + 1) * tick, ..subject(&meant) });
    let outcome = strike(&mut hand, Signal::Kill);
    assert_eq!(hit_ids(&outcome), ids(&meant), "{outcome}");
    assert_eq!(outcome.late, 0);
    job.child.wait().unwrap();
    assert!(lives(daemon.id), "the daemon was hit: {outcome}");
    kill_process(RawPid::from_raw(daemon.id.pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_child_that_moves_to_its_own_session_is_found_below_its_parent() {
    let bystander = Job::sleeper();
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    // Two commands in the brackets, so that the shell forks for them and `setsid` need not.
    let mut job = Job::script("(read -r go <\"$1\"; exec setsid sleep 600) & wait", &[&gate]);
    until("the child waits", || tree(job.pid()).len() == 2);
    let mut hand = Hand::new(true);
    aim(&mut hand, &job.root());

    fs::write(&gate, "go\n").unwrap();
    let moved = || tree(job.pid()).into_iter().find(|seen| seen.session == seen.id.pid && seen.id.pid != job.pid());
    until("the child has moved", || moved().is_some_and(|seen| seen.name == "sleep"));
    let child = moved().unwrap().id;
    job.members();

    let outcome = strike(&mut hand, Signal::Terminate);
    assert_eq!(hit_ids(&outcome)[1..], [child], "{outcome}");
    assert_eq!(outcome.late, 1);
    until("the child is gone", || !lives(child));
    assert_eq!(job.child.wait().unwrap().signal(), Some(15));
    assert!(bystander.lives());
}

#[test]
fn the_clean_up_of_a_script_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let unlocked = folder.path().join("unlocked");
    let script = "trap 'sh -c \"sleep 0.5; echo yes\" >\"$1\"; exit 3' TERM; sleep 600 & wait";
    let mut job = Job::script(script, &[&unlocked]);
    until("it works", || tree(job.pid()).iter().any(|seen| seen.name == "sleep"));
    let outcome = send(&job.members(), Signal::Terminate);
    assert_eq!(outcome.sent(), 2, "{outcome}");
    assert_eq!(outcome.late, 0, "{outcome}");
    assert_eq!(job.child.wait().unwrap().code(), Some(3), "{outcome}");
    assert_eq!(fs::read_to_string(&unlocked).unwrap_or_default(), "yes\n", "{outcome}");
}

#[test]
fn a_stopped_process_is_let_go_on_to_its_end() {
    let bystander = Job::sleeper();
    for signal in deadly() {
        let mut job = Job::sleeper();
        assert_eq!(send(&job.root(), Signal::Stop).sent(), 1);
        until("it has stopped", || seen(job.pid()).is_some_and(|seen| seen.state == 'T'));
        assert_eq!(send(&job.root(), signal).sent(), 1);
        until("it has ended", || !job.lives());
        assert!(job.child.wait().unwrap().signal().is_some());
    }
    assert!(bystander.lives());
}

#[test]
fn a_paused_job_goes_on() {
    let mut job = Job::tree("s(n(n())g())");
    let members = job.members();
    let stopped = || members.iter().filter(|member| seen(member.id.pid).is_some_and(|seen| seen.state == 'T')).count();
    assert_eq!(send(&job.root(), Signal::Stop).sent(), 4);
    until("all have stopped", || stopped() == 4);
    assert_eq!(send(&members, Signal::Continue).sent(), 4);
    until("all go on", || stopped() == 0);
    assert!(members.iter().all(|member| lives(member.id)));
}

// ---- Whom not to hit ----

#[test]
fn a_process_with_another_start_is_not_the_one() {
    let job = Job::sleeper();
    for start in [job.id().start - 1, job.id().start + 1] {
        let mut target = job.root().remove(0);
        target.id.start = start;
        assert_eq!(refusal(target.clone()), Some(Refusal::Reused));
        let outcome = send(&[target], Signal::Kill);
        assert_eq!(outcome.sent(), 0);
        let said =
            format!("SIGKILL not sent to nightly; sleep {} has ended; its number belongs to another process now", job.pid());
        assert_eq!(outcome.to_string(), said);
    }
    assert!(job.lives());
}

#[test]
fn who_has_ended_is_gone() {
    let mut job = Job::sleeper();
    let target = job.root().remove(0);
    let mut hand = Hand::new(true);
    assert_eq!(aim(&mut hand, std::slice::from_ref(&target)).reachable().count(), 1);
    job.child.kill().unwrap();
    until("it is a zombie", || seen(job.pid()).is_none());
    let refused = refusal(target.clone());
    let own = std::process::id().cast_signed();
    assert!(matches!(&refused, Some(Refusal::Zombie { parent, .. }) if parent.pid == own), "{refused:?}");
    let outcome = strike(&mut hand, Signal::Kill);
    assert_eq!(outcome.hits[0].result, Err(Refusal::Gone), "a zombie that was held");
    job.child.wait().unwrap();
    assert_eq!(refusal(target), Some(Refusal::Gone));
    assert_eq!(outcome.to_string(), "SIGKILL not sent to nightly");
}

/// The number of a process that was aimed at goes to another one before the key comes.
#[test]
fn the_next_owner_of_a_number_is_not_hit() {
    let last = Path::new("/proc/sys/kernel/ns_last_pid");
    if !getuid().is_root() {
        println!("skipped: only root can have a number given away again");
        return;
    }
    for _ in 0..100 {
        let mut job = Job::sleeper();
        let target = job.root().remove(0);
        let mut hand = Hand::new(true);
        assert_eq!(aim(&mut hand, std::slice::from_ref(&target)).reachable().count(), 1);
        let now_in_start_times = || {
            let mut child = Job::start(&mut Command::new("true"));
            let start = fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
            child.child.wait().unwrap();
            start.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse::<u64>().unwrap()
        };
        until("the next process is told apart by its start", || now_in_start_times() > target.id.start);
        job.child.kill().unwrap();
        job.child.wait().unwrap();
        if fs::write(last, (job.pid() - 1).to_string()).is_err() {
            println!("skipped: {} cannot be written here", last.display());
            return;
        }
        let owner = Job::sleeper();
        if owner.pid() != job.pid() {
            continue; // Another process of this host was quicker.
        }
        assert_eq!(refusal(target), Some(Refusal::Reused));
        let outcome = strike(&mut hand, Signal::Kill);
        assert_eq!(outcome.hits[0].result, Err(Refusal::Gone));
        assert_eq!(outcome.hits.len(), 1);
        assert!(owner.lives());
        return;
    }
    println!("skipped: the number always went to somebody else");
}

#[test]
fn init_and_whytop_and_what_it_runs_in_are_never_hit() {
    let all = census();
    let own = std::process::id().cast_signed();
    let mut refused = vec![(all[&own].clone(), Refusal::Own, "is whytop itself")];
    let mut next = all[&own].parent;
    while next > 0 {
        let (reason, sentence) = match next {
            1 => (Refusal::Init, "is PID 1: the host would go down"),
            _ => (Refusal::Ancestor, "is what whytop runs in"),
        };
        refused.push((all[&next].clone(), reason, sentence));
        next = all[&next].parent;
    }
    assert!(refused.len() >= 2);
    for (seen, reason, sentence) in refused {
        assert_eq!(refusal(candidate(&seen)), Some(reason));
        // SIGCONT, should the guard ever fail here.
        let outcome = send(&[candidate(&seen)], Signal::Continue);
        assert_eq!(outcome.hits.len(), 1, "nor its children: {outcome}");
        let said = format!("SIGCONT not sent to nightly; {} {} {sentence}", seen.name, seen.id.pid);
        assert_eq!(outcome.to_string(), said);
        assert!(lives(seen.id));
    }
    let zero = Seen { id: ProcessId { pid: 0, start: 0 }, ..all[&own].clone() };
    assert!(matches!(refusal(candidate(&zero)), Some(Refusal::Failed(_))));
}

#[test]
fn a_kernel_thread_is_refused_whether_it_is_known_for_one_or_not() {
    let Some(thread) = census().into_values().find(|seen| seen.name == "kthreadd") else {
        println!("skipped: no kernel threads are seen in this container");
        return;
    };
    for kernel_thread in [true, false] {
        let target = Candidate { kernel_thread, ..candidate(&thread) };
        let refused = refusal(target).unwrap();
        assert_eq!(refused, Refusal::KernelThread);
        assert_eq!(refused.to_string(), "is a kernel thread and takes no signals");
    }
    assert!(lives(thread.id));
}

#[test]
fn another_proc_tree_is_never_acted_on() {
    let job = Job::sleeper();
    let mut hand = Hand::new(false);
    let aim = aim(&mut hand, &job.root());
    assert_eq!(aim.targets[0].check, Err(Refusal::OtherHost));
    let outcome = strike(&mut hand, Signal::Kill);
    assert_eq!((outcome.sent(), outcome.hits.len()), (0, 1));
    assert!(job.lives());
}

#[test]
fn another_users_process_is_refused_with_the_line_that_would_do_it() {
    let job = Job::sleeper();
    let (theirs, mut aimer) = if getuid().is_root() {
        let mut command = role("aim", &job.id().to_string());
        command.uid(65_534).gid(65_534);
        (job.id(), command)
    } else {
        let is_roots = |seen: &Seen| {
            let status = fs::read_to_string(format!("/proc/{}/status", seen.id.pid)).unwrap_or_default();
            status.lines().any(|line| line.starts_with("Uid:\t0\t0\t0")) && status.contains("VmSize:")
        };
        let foreign = census().into_values().filter(is_roots).find(|seen| {
            // Those above the tests are refused for that reason, and that is the better one.
            !matches!(refusal(candidate(seen)), Some(Refusal::Init | Refusal::Ancestor | Refusal::Gone))
        });
        let Some(foreign) = foreign else {
            println!("skipped: no process of root to aim at");
            return;
        };
        (foreign.id, role("aim", &foreign.id.to_string()))
    };
    let output = match aimer.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => {
            println!("skipped: this binary cannot be run by another user: {error}");
            return;
        }
    };
    let pid = theirs.pid;
    assert!(output.contains("\nCHECK Err(NotPermitted)\n"), "{output}");
    assert!(output.contains(&format!("\nSUDO Some(\"sudo kill -TERM {pid}\")\n")), "{output}");
    let said = format!("\nOUTCOME SIGTERM not sent to nightly; theirs {pid} belongs to another user: sudo whytop reaches it\n");
    assert!(output.contains(&said), "{output}");
    assert!(lives(theirs));
}

// ---- The hand and the worker ----

/// Whether this process holds that one by a pidfd.
fn is_held(pid: Pid) -> bool {
    let line = format!("Pid:\t{pid}\n");
    let descriptors = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    descriptors.filter_map(|entry| fs::read_to_string(entry.path()).ok()).any(|info| info.contains(&line))
}

#[test]
fn the_hand_holds_one_job_at_a_time() {
    let (first, second) = (Job::sleeper(), Job::sleeper());
    let mut hand = Hand::new(true);
    aim(&mut hand, &first.root());
    let held_after_aiming = is_held(first.pid());
    aim(&mut hand, &second.root());
    let held_after_the_next = (is_held(first.pid()), is_held(second.pid()));
    hand.release();
    assert!(hand.arm().is_none());
    // The standard library may hold its children by pidfds as well; then there is nothing to be told from it.
    let held_by_others = is_held(second.pid());
    if !held_by_others {
        assert!(held_after_aiming);
        assert_eq!(held_after_the_next, (false, true));
    }
    aim(&mut hand, &first.root());
    assert_eq!(strike(&mut hand, Signal::Continue).sent(), 1);
    assert!(hand.arm().is_none());
}

#[test]
fn a_job_may_be_larger_than_the_limit_of_open_files() {
    let report = |limit: &str| {
        let output = role("crowd", limit).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, report) = text.split_once("\nHELD ").unwrap_or_else(|| panic!("it failed: {text}"));
        report.lines().next().unwrap().to_owned()
    };
    assert_eq!(report("soft"), "121 OF 121 SENT 121 ENTRIES 121");
    // With fewer than needed, the others are found below the script.
    let report = report("hard");
    let (held, rest) = report.split_once(' ').unwrap();
    assert!((1..100).contains(&held.parse().unwrap()), "{report}");
    assert_eq!(rest, "OF 121 SENT 121 ENTRIES 121");
}

#[test]
fn the_worker_answers_and_is_waited_for() {
    let mut job = Job::tree("n(n()n())");
    let Hands { worker, reports } = Hands::new(forgetful());
    let mut hand = Hand::new(true);
    aim(&mut hand, &job.root());
    worker.order(hand.arm().unwrap(), Order::whole(7, Action::Pause));
    aim(&mut hand, &job.root());
    worker.order(hand.arm().unwrap(), Order::whole(8, Action::End(Signal::Terminate)));
    drop(worker);
    let outcomes = reports.try_iter().filter_map(|report| match report {
        Report::Outcome(outcome) => Some((outcome.ticket, outcome.sent())),
        _ => None,
    });
    assert_eq!(outcomes.collect::<Vec<_>>(), [(7, 3), (8, 3)], "dropping it waits for the answers");
    assert_eq!(job.child.wait().unwrap().signal(), Some(15));
}

#[test]
fn the_worker_goes_on_though_a_report_has_failed() {
    let job = Job::sleeper();
    let (sender, outcomes) = mpsc::channel();
    let mut calls = 0;
    let worker = Worker::start(forgetful(), move |report| {
        let Report::Outcome(outcome) = report else { return };
        sender.send(outcome).unwrap();
        calls += 1;
        assert!(calls != 1, "the first report fails on purpose");
    });
    let mut hand = Hand::new(true);
    for ticket in 0..20 {
        aim(&mut hand, &job.root());
        let action = if ticket % 2 == 0 { Action::Pause } else { Action::Resume };
        worker.order(hand.arm().unwrap(), Order::whole(ticket, action));
        let outcome = outcomes.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!((outcome.ticket, outcome.sent()), (ticket, 1), "{outcome}");
    }
}

// ---- Any tree ----

fn grow(random: &mut fastrand::Rng, depth: usize, budget: &mut usize, into: &mut String) {
    let _ = write!(into, "{}(", random.choice(["n", "n", "g", "s"]).unwrap());
    let children = if depth == 0 { 0 } else { random.usize(0..=3) };
    for _ in 0..children {
        if *budget > 0 {
            *budget -= 1;
            grow(random, depth - 1, budget, into);
        }
    }
    into.push(')');
}

/// Whatever the tree looks like, every member is hit once and nobody else, whether the screen knew all or the root only.
#[test]
fn of_any_tree_every_member_is_hit_and_nobody_else() {
    let seed = std::env::var("WHYTOP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("WHYTOP_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bystander = Job::tree("n(g(n())s())");
    let bystanders = bystander.members();
    for _ in 0..12 {
        let mut shape = String::new();
        grow(&mut random, 3, &mut 9, &mut shape);
        let mut job = Job::tree(&shape);
        let signal = random.choice(deadly()).unwrap();
        let members = job.members();
        fell(&mut job, &members, random.bool(), signal, &shape);
        assert!(bystanders.iter().all(|bystander| lives(bystander.id)), "{shape}");
    }
}

/// The same for five hundred trees of shells and sleepers, sessions of their own among them: ten at a time, of which five are struck
/// together while the other five stand beside them.
#[test]
fn of_five_hundred_trees_every_member_is_hit_and_nobody_else() {
    let seed = std::env::var("WHYTOP_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("WHYTOP_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..50 {
        let shapes: Vec<String> = (0..10)
            .map(|_| {
                let mut shape = String::new();
                grow(&mut random, 3, &mut 4, &mut shape);
                shape.replace('g', "n")
            })
            .collect();
        let mut wood: Vec<Job> = shapes.iter().map(|shape| Job::start(&mut shells(shape))).collect();
        until("the wood has grown", || {
            let all = census();
            wood.iter().zip(&shapes).all(|(job, shape)| {
                let tree = tree_in(&all, job.pid());
                tree.len() == shape.matches('(').count() && tree.iter().all(|seen| seen.name == "sleep")
            })
        });
        let all = census();
        let members: Vec<Vec<Candidate>> = wood.iter_mut().map(|job| job.members_in(&all)).collect();
        let (first, second) = wood.split_at_mut(5);
        for (jobs, at, beside) in [(first, 0, 5..10), (second, 5, 0..0)] {
            std::thread::scope(|scope| {
                for (job, at) in jobs.iter_mut().zip(at..) {
                    let signal = random.choice([Signal::Terminate, Signal::Hangup, Signal::Kill]).unwrap();
                    let (members, shape, knows_all) = (&members[at], &shapes[at], random.bool());
                    scope.spawn(move || fell(job, members, knows_all, signal, shape));
                }
            });
            let all = census();
            for (members, shape) in members[beside.clone()].iter().zip(&shapes[beside]) {
                let stands = |member: &Candidate| all.get(&member.id.pid).is_some_and(|seen| seen.id == member.id);
                assert!(members.iter().all(stands), "somebody of {shape} was hit, who stood beside");
            }
        }
    }
}

/// A tree of this shape, of shells that become sleepers: the code of each node is in a variable of its own, so that none has to be
/// quoted in another.
fn shells(shape: &str) -> Command {
    fn code(shape: &str, codes: &mut Vec<String>) -> String {
        let children = &shape[2..shape.len() - 1];
        let (mut depth, mut begin, mut out) = (0, 0, String::new());
        for (at, letter) in children.char_indices() {
            depth += i32::from(letter == '(') - i32::from(letter == ')');
            if letter == ')' && depth == 0 {
                let child = &children[begin..=at];
                let inside = code(child, codes);
                let number = codes.len();
                codes.push(inside);
                let _ = match &child[..1] {
                    "s" => write!(out, "setsid sh -c \"$N{number}\" & "),
                    _ => write!(out, "( eval \"$N{number}\" ) & "),
                };
                begin = at + 1;
            }
        }
        out + "exec sleep 600"
    }
    let mut codes = Vec::new();
    let root = code(shape, &mut codes);
    let mut command = Command::new("sh");
    command.arg("-c").arg(root).envs(codes.into_iter().enumerate().map(|(number, code)| (format!("N{number}"), code)));
    command
}

/// Strikes the job, of which the screen knew all or the root only, and sees that exactly its members are hit and go.
fn fell(job: &mut Job, members: &[Candidate], knows_all: bool, signal: Signal, shape: &str) {
    let candidates = if knows_all { members } else { &members[..1] };
    let outcome = send(candidates, signal);
    let hit = hit_ids(&outcome);
    let expected: BTreeSet<ProcessId> = ids(members).into_iter().collect();
    assert_eq!(hit.iter().copied().collect::<BTreeSet<_>>(), expected, "{shape} {outcome}");
    assert_eq!((outcome.hits.len(), outcome.late), (members.len(), members.len() - candidates.len()), "{shape} {outcome}");
    assert_eq!(hit[0], members[0].id, "the root first");
    if knows_all {
        assert_eq!(hit, ids(members), "in the order of the candidates");
    }
    until("every member is gone", || !expected.iter().any(|id| lives(*id)));
    job.child.wait().unwrap();
    job.is_over = true;
}
