//! A host on which everything comes and goes, and readers that look at it meanwhile: thousands of forks a second, numbers that are
//! used again, a program that becomes another, one that changes its name while it is read. Both tiers, where both can be had.
//!
//! Readers and makers of churn are processes of their own (this program again, in a role): so what is counted is theirs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::{HashMap, HashSet, VecDeque},
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Signal, set_parent_process_death_signal},
    time::{ClockId, clock_gettime},
};
use whytop::{
    history::Limits,
    kernel::{Choice, ProcRoot, Reader},
    monitor::Monitor,
    sample::{Process, Sample, Task},
    units::{ProcessId, TaskId},
};

/// Set in the environment of a test that is run again to play a part.
const ROLE: &str = "WHYTOP_CHURN_ROLE";
/// How long it goes on.
const SPAN: Duration = Duration::from_secs(20);
/// Processes and threads started in a second. On a host that others keep busy it takes longer until all of them were started.
const RATE: u64 = 2000;
/// All of them, at the least.
const FORKS: u64 = RATE * SPAN.as_secs();
/// From one sample to the next.
const INTERVAL: Duration = Duration::from_millis(250);
/// One sample may take this long at the most, unoptimised and on CPUs of which nothing is left for it.
const SLOWEST: Duration = Duration::from_secs(2);
/// Memory may grow by this much in the second half: room that a table once needed is kept, and the allocator gives back whole pages only.
const GROWTH_KIB: u64 = 2048;
/// Descriptors beyond one for each task and what was open before: those of identities that are being read.
const SPARE: usize = 16;
const LONG: Duration = Duration::from_secs(10);

fn root() -> ProcRoot {
    ProcRoot::open(Path::new("/proc")).unwrap()
}

/// The readers that can be had here. Whether the kernel's may be missing is for `tests/tiers.rs` to judge.
fn readers() -> Vec<(&'static str, Reader)> {
    let mut readers = vec![("proc", Reader::new(root()).unwrap())];
    match Reader::with_tier(root(), Choice::Kernel) {
        Ok(reader) => readers.push(("kernel", reader)),
        Err(error) => println!("skipped for the kernel tier: {error:#}"),
    }
    readers
}

/// Everything, folded together from samples.
#[derive(Default)]
struct Picture {
    processes: HashMap<ProcessId, Process>,
    tasks: HashMap<TaskId, Task>,
}

impl Picture {
    fn fold(&mut self, sample: &Sample) {
        for id in &sample.gone_processes {
            assert!(self.processes.remove(id).is_some(), "{id} is gone and was never there");
            self.tasks.retain(|_, task| task.pid != id.pid);
        }
        for gone in &sample.gone_tasks {
            assert!(self.tasks.remove(&gone.id).is_some(), "{gone:?} is gone and was never there");
        }
        self.processes.extend(sample.processes.iter().map(|process| (process.id, process.clone())));
        self.tasks.extend(sample.tasks.iter().map(|task| (task.id, task.clone())));
        let ids: HashSet<TaskId> = sample.tasks.iter().map(|task| task.id).collect();
        let again = |id: &&ProcessId| sample.processes.iter().any(|process| process.id.pid == id.pid);
        assert_eq!(
            self.tasks.len(),
            sample.cost.tasks as usize,
            "what was told is what there is: {:?}; {} of {} tasks told twice, gone {} tasks and {} processes, {} of these back again",
            sample.cost,
            sample.tasks.len() - ids.len(),
            sample.tasks.len(),
            sample.gone_tasks.len(),
            sample.gone_processes.len(),
            sample.gone_processes.iter().filter(again).count(),
        );
    }

    fn process(&self, pid: i32) -> Option<&Process> {
        self.processes.values().find(|process| process.id.pid == pid)
    }
}

/// This program again, in a role: it ends by itself, or when its input does.
struct Actor {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Actor {
    fn start(role: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Waits for a line with this word, and answers what stands behind it.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the actor ended and never said {word:?}");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Closes its input and waits for its end. Answers what it said last.
    fn end(mut self, word: &str) -> String {
        drop(self.child.stdin.take());
        let said = self.hear(word);
        self.output.read_to_string(&mut String::new()).unwrap();
        assert!(self.child.wait().unwrap().success());
        said
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No test of its own: what the actors do.
#[test]
fn actor() {
    let Ok(role) = env::var(ROLE) else { return };
    match role.as_str() {
        "fork" => fork(),
        tier => look(if tier == "kernel" { Choice::Kernel } else { Choice::Proc }),
    }
}

/// Starts and ends processes and threads, for a time and until it was so many: processes as fast as they come, threads for what is
/// missing.
fn fork() {
    let (processes, threads) = (AtomicU64::new(0), AtomicU64::new(0));
    let begin = Instant::now();
    let started = || processes.load(Ordering::Relaxed) + threads.load(Ordering::Relaxed);
    let is_over = || begin.elapsed() >= SPAN && (started() >= FORKS || begin.elapsed() >= 3 * SPAN);
    println!("ready");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Each lives until a hundred others were started, and is a zombie for a while after that.
                let (mut alive, mut ended) = (VecDeque::new(), VecDeque::new());
                while !is_over() {
                    let child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
                    processes.fetch_add(1, Ordering::Relaxed);
                    alive.push_back(child);
                    if alive.len() > 100 {
                        let mut oldest: Child = alive.pop_front().unwrap();
                        drop(oldest.stdin.take());
                        ended.push_back(oldest);
                    }
                    if ended.len() > 10 {
                        ended.pop_front().unwrap().wait().unwrap();
                    }
                }
                for mut child in ended.into_iter().chain(alive) {
                    child.wait().unwrap();
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                // These live for a while, and run when they are told to end.
                let mut alive = VecDeque::new();
                while !is_over() {
                    let due = (begin.elapsed().as_secs_f64() * RATE as f64 * 1.1) as u64;
                    if started() >= due {
                        thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    alive.push_back(thread::spawn(thread::park));
                    threads.fetch_add(1, Ordering::Relaxed);
                    if alive.len() > 50 {
                        let oldest = alive.pop_front().unwrap();
                        oldest.thread().unpark();
                        oldest.join().unwrap();
                    }
                }
                for thread in alive {
                    thread.thread().unpark();
                    thread.join().unwrap();
                }
            });
        }
    });
    let took = begin.elapsed();
    let (processes, threads) = (processes.into_inner(), threads.into_inner());
    println!("done {processes} {threads} {}", took.as_millis());
}

/// Samples until its input ends, and then looks whether anything was left behind.
fn look(tier: Choice) {
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    let mut reader = Reader::with_tier(root(), tier).unwrap();
    let mut picture = Picture::default();
    // Without a ring: that is allowed to grow.
    let mut monitor = Monitor::new(&reader.facts(), Limits { span: 0, bytes: 0 });
    let mut sample = |reader: &mut Reader, picture: &mut Picture| {
        let sample = reader.sample().unwrap();
        let took = Duration::from_nanos(sample.cost.sampling);
        picture.fold(&sample);
        monitor.ingest(sample);
        took
    };
    // The first samples are not measured: tables grow to their size, and every command line is read.
    for _ in 0..5 {
        sample(&mut reader, &mut picture);
        reader.settle(LONG);
    }
    let mut before = Own::read(picture.tasks.len(), tier);
    println!("ready");
    let (tell, told) = channel::<()>();
    thread::spawn(move || {
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        drop(tell);
    });
    let (begin, mut is_grown) = (Instant::now(), false);
    let (mut samples, mut slowest) = (0, Duration::ZERO);
    while told.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
        slowest = slowest.max(sample(&mut reader, &mut picture));
        samples += 1;
        // By now tables and the allocator's arenas have the size that so many forks take.
        if !is_grown && begin.elapsed() >= SPAN / 2 {
            is_grown = true;
            before.resident = Own::read(picture.tasks.len(), tier).resident;
        }
    }
    reader.settle(LONG);
    // One that passed while a thread was in exec may say so only now.
    sample(&mut reader, &mut picture);
    let first = listing();
    sample(&mut reader, &mut picture);
    let (_, second) = listing();
    let after = Own::read(picture.tasks.len(), tier);
    compare(&picture, &first, &second);
    assert!(slowest < SLOWEST, "a sample took {slowest:?}");
    // Unoptimised, and with other tests' crowds on the host, what is made of a sample takes as long again.
    assert!(2 * samples >= SPAN.as_secs(), "only {samples} samples");
    assert!(after.descriptors <= before.descriptors + SPARE, "descriptors beside tasks: {before:?}, and then {after:?}");
    assert!(after.resident <= before.resident + GROWTH_KIB, "memory: {before:?}, and then {after:?}");
    println!("done {samples} samples, the slowest {slowest:.1?}; before {before:?}, after {after:?}");
}

/// What a process has of its own.
#[derive(Debug)]
struct Own {
    /// Open files, without those kept for tasks.
    descriptors: usize,
    /// Resident memory, in KiB.
    resident: u64,
}

impl Own {
    fn read(tasks: usize, tier: Choice) -> Self {
        let kept = if tier == Choice::Proc { tasks } else { 0 };
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident = line.trim().trim_end_matches(" kB").parse().unwrap();
        Self { descriptors: fs::read_dir("/proc/self/fd").unwrap().count().saturating_sub(kept), resident }
    }
}

/// Every task there is, with its process, and when the list was begun, on the clock of start times.
fn listing() -> (u64, HashMap<TaskId, i32>) {
    let now = clock_gettime(ClockId::Boottime);
    let second = clock_ticks_per_second();
    let begun = now.tv_sec.cast_unsigned() * second + now.tv_nsec.cast_unsigned() * second / 1_000_000_000;
    let numbers = |path: &str| -> Vec<i32> {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let mut tasks = HashMap::new();
    for pid in numbers("/proc") {
        for tid in numbers(&format!("/proc/{pid}/task")) {
            let Ok(stat) = fs::read(format!("/proc/{pid}/task/{tid}/stat")) else { continue };
            let stat = String::from_utf8_lossy(&stat).into_owned();
            let born = stat.rsplit(')').next().unwrap().split_whitespace().nth(19).unwrap().parse().unwrap();
            tasks.insert(TaskId { tid, start: born }, pid);
        }
    }
    (begun, tasks)
}

/// Who is in the picture was there before it or after it, unless born since; and who was there before and after is in it.
fn compare(picture: &Picture, (begun, before): &(u64, HashMap<TaskId, i32>), after: &HashMap<TaskId, i32>) {
    let is_stale = |id: &TaskId| id.start < *begun && !before.contains_key(id) && !after.contains_key(id);
    let stale: Vec<&Task> = picture.tasks.values().filter(|task| is_stale(&task.id)).collect();
    assert!(stale.is_empty(), "{} tasks are gone and not forgotten: {stale:#?}", stale.len());
    let leader = |process: &Process| TaskId { tid: process.id.pid, start: process.id.start };
    let stale: Vec<&Process> = picture.processes.values().filter(|process| is_stale(&leader(process))).collect();
    assert!(stale.is_empty(), "{} processes are gone and not forgotten: {stale:#?}", stale.len());
    let stays = |(id, pid): &(&TaskId, &i32)| after.get(id) == Some(pid);
    let missed: Vec<_> = before.iter().filter(stays).filter(|(id, _)| !picture.tasks.contains_key(id)).collect();
    assert!(missed.is_empty(), "not seen: {missed:?}");
}

/// Names made to look like the rest of the line.
const NAMES: [&str; 4] = ["aa) R 1 1 (aaa", ")))))))))))))))", "b b) Z 0 0 0 0", "(((((("];

/// Changes its name all the time, until it is killed.
fn renamer() -> Child {
    let rename = |name: &str| format!("printf %s '{name}' >/proc/$$/comm; ");
    let names: String = NAMES.into_iter().map(rename).collect();
    let script = format!("{names} echo ready; while :; do {names} done");
    Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Forks so far on this host, threads included.
fn forks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    stat.lines().find_map(|line| line.strip_prefix("processes ")).unwrap().trim().parse().unwrap()
}

#[test]
fn two_thousand_forks_a_second_leave_nothing_behind() {
    let mut watchers: Vec<Actor> = readers().iter().map(|(tier, _)| Actor::start(tier)).collect();
    for watcher in &mut watchers {
        watcher.hear("ready");
    }
    let before = forks();
    let said = Actor::start("fork").end("done ");
    let counted = forks() - before;
    let numbers: Vec<u64> = said.split(' ').map(|number| number.parse().unwrap()).collect();
    let [processes, threads, millis] = numbers[..] else { panic!("{said}") };
    let rate = 1000 * (processes + threads) / millis;
    println!("{processes} processes and {threads} threads in {millis} ms, {rate} a second; the kernel counted {counted} forks");
    assert!((FORKS..=counted).contains(&(processes + threads)), "{said} of {FORKS}; the kernel counted {counted}");
    if rate < RATE {
        println!("skipped in part: beside whatever else it does, this host gives {rate} forks a second and not {RATE}");
    }
    for watcher in watchers {
        println!("{}", watcher.end("done "));
    }
}

#[test]
fn a_program_that_becomes_another_stays_the_same_process() {
    for (tier, mut reader) in readers() {
        let mut picture = Picture::default();
        let mut child = Command::new("sh")
            .args(["-c", "echo; read x; exec sleep 60"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().cast_signed();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0]).unwrap();
        picture.fold(&reader.sample().unwrap());
        let shell = picture.process(pid).unwrap().clone();
        child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        let begin = Instant::now();
        while picture.process(pid).unwrap().comm != "sleep" {
            assert!(begin.elapsed() < LONG, "{tier}: it is {:?}", picture.process(pid));
            let sample = reader.sample().unwrap();
            assert!(!sample.gone_processes.contains(&shell.id), "{tier}");
            picture.fold(&sample);
        }
        let sleep = picture.process(pid).unwrap();
        assert_eq!((sleep.id, sleep.parent, shell.comm.as_str()), (shell.id, shell.parent, "sh"), "{tier}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_name_that_changes_while_it_is_read_moves_no_field() {
    for (tier, mut reader) in readers() {
        let mut child = renamer();
        let pid = child.id().cast_signed();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        let mut picture = Picture::default();
        let mut names = HashSet::new();
        let (mut samples, begin) = (0, Instant::now());
        while samples < 200 || !NAMES.iter().all(|name| names.contains(*name)) {
            assert!(begin.elapsed() < 3 * LONG, "{tier}: only {names:?}");
            samples += 1;
            picture.fold(&reader.sample().unwrap());
            let rows: Vec<&Process> = picture.processes.values().filter(|process| process.id.pid == pid).collect();
            let [process] = rows[..] else { panic!("{tier}: {rows:?}") };
            let own = std::process::id().cast_signed();
            assert_eq!((process.parent, process.zombie, process.kernel_thread), (own, false, false), "{tier}: {process:?}");
            // Since 6.13 the kernel copies it without a lock, so it may be half the one and half the other.
            let is_known = |c: char| NAMES.iter().any(|name| name.contains(c));
            assert!(process.comm.len() <= 15 && process.comm.chars().all(is_known), "{tier}: {process:?}");
            names.insert(process.comm.to_string());
        }
        println!("{tier}: {samples} samples, {} torn names", names.len() - NAMES.len());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Starts a program under this very number; nothing if the kernel does not let one.
fn start_as(pid: i32, command: &mut Command) -> Option<Child> {
    // Somebody else may be quicker.
    for _ in 0..200 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
        let mut child = command.spawn().unwrap();
        if child.id().cast_signed() == pid {
            return Some(child);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    None
}

#[test]
fn a_number_used_again_is_not_held_to_what_the_one_before_did() {
    let mut readers: Vec<(&str, Reader, Monitor)> = readers()
        .into_iter()
        .map(|(tier, reader)| {
            let monitor = Monitor::new(&reader.facts(), Limits::default());
            (tier, reader, monitor)
        })
        .collect();
    let mut old = Command::new("sh").args(["-c", "while :; do :; done"]).stdin(Stdio::null()).spawn().unwrap();
    let pid = old.id().cast_signed();
    let (begin, mut start, mut used) = (Instant::now(), 0, 0);
    // Until it has used up more than the new one can within the test.
    while used < 500_000_000 {
        assert!(begin.elapsed() < LONG, "it does not run");
        thread::sleep(Duration::from_millis(100));
        for (_, reader, monitor) in &mut readers {
            let sample = reader.sample().unwrap();
            if let Some(task) = sample.tasks.iter().find(|task| task.id.tid == pid) {
                (start, used) = (task.id.start, task.cpu);
            }
            monitor.ingest(sample);
        }
    }
    old.kill().unwrap();
    old.wait().unwrap();
    let Some(mut new) = start_as(pid, Command::new("sleep").arg("60").stdin(Stdio::null())) else {
        println!("skipped: /proc/sys/kernel/ns_last_pid gives no numbers here");
        return;
    };
    for (tier, reader, monitor) in &mut readers {
        let sample = reader.sample().unwrap();
        assert!(sample.gone_processes.contains(&ProcessId { pid, start }), "{tier}: the old one is gone");
        let process = sample.processes.iter().find(|process| process.id.pid == pid).expect("the new one is told").clone();
        assert!(process.id.start > start, "{tier}: {process:?}");
        let task = sample.tasks.iter().find(|task| task.id.tid == pid).expect("its task, too").clone();
        assert!(task.id.start == process.id.start && task.cpu < 200_000_000, "{tier}: {task:?}");
        let diagnosis = monitor.ingest(sample);
        let cores = diagnosis.activity.get(&process.id).and_then(|activity| activity.usage.cpu_cores).unwrap_or_default();
        assert!((0.0..0.1).contains(&cores), "{tier}: a rate across both: {cores} CPUs");
        let jobs: Vec<_> =
            diagnosis.jobs.iter().filter(|job| job.facts.members.iter().any(|member| member.id.pid == pid)).collect();
        assert!(jobs.len() == 1 && jobs[0].facts.members.iter().any(|member| member.id == process.id), "{tier}");
    }
    new.kill().unwrap();
    new.wait().unwrap();
}
