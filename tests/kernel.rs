//! The kernel room, through its one door: made-up trees for what must be exact, the real `/proc` for what must be true.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;
#[path = "kernel/mistaken.rs"]
mod mistaken;

use std::{
    collections::HashMap,
    fs::{self, OpenOptions, Permissions},
    io::Write,
    ops::ControlFlow,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use common::fake_proc::FakeProc;
use whytop::{
    kernel::{ProcRoot, Reader, WatchedReader},
    sample::{CpuClock, Gap, Host, Identity, IoBytes, Process, Sample, Task, TaskState, Wait},
    sampler::{Config, Sampler, Seen},
    units::{ProcessId, TaskId},
};

const LONG: Duration = Duration::from_secs(5);

fn reader(path: &Path) -> Reader {
    Reader::new(ProcRoot::open(path).unwrap()).unwrap()
}

fn watched(path: &Path) -> WatchedReader {
    let path = path.to_owned();
    WatchedReader::start(move || Reader::new(ProcRoot::open(&path)?)).unwrap()
}

fn process(sample: &Sample, pid: i32) -> &Process {
    sample.processes.iter().find(|process| process.id.pid == pid).unwrap_or_else(|| panic!("no process {pid} in {sample:#?}"))
}

fn task(sample: &Sample, tid: i32) -> &Task {
    sample.tasks.iter().find(|task| task.id.tid == tid).unwrap_or_else(|| panic!("no task {tid} in {sample:#?}"))
}

fn rows(sample: &Sample) -> (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>) {
    let sorted = |mut numbers: Vec<i32>| {
        numbers.sort_unstable();
        numbers
    };
    (
        sorted(sample.processes.iter().map(|process| process.id.pid).collect()),
        sorted(sample.tasks.iter().map(|task| task.id.tid).collect()),
        sorted(sample.gone_processes.iter().map(|id| id.pid).collect()),
        sorted(sample.gone_tasks.iter().map(|gone| gone.id.tid).collect()),
    )
}

fn nothing() -> (Vec<i32>, Vec<i32>, Vec<i32>, Vec<i32>) {
    Default::default()
}

/// The newest identity of a process in this sample.
fn identity_in(sample: &Sample, pid: i32) -> Option<Identity> {
    sample.identities.iter().rfind(|(id, _)| id.pid == pid).map(|(_, identity)| Identity::clone(identity))
}

/// Takes samples until the identity of a process comes. One that was overdue is not waited for by `settle`, so this asks again.
fn identity(reader: &mut Reader, pid: i32) -> Identity {
    let begin = Instant::now();
    while begin.elapsed() < LONG {
        reader.settle(LONG);
        if let Some(identity) = identity_in(&reader.sample().unwrap(), pid) {
            return identity;
        }
    }
    panic!("no identity of {pid}")
}

#[test]
fn the_first_sample_is_all_there_is() {
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    proc.process(42, "backup").parent(1).group(40, 41).tty(34816).nice(-5).schedstat(5, 6, 7).io(1, 2, 3, 4).start(900).write();
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    assert!(sample.keyframe);
    assert_eq!(rows(&sample), (vec![1, 42], vec![1, 42], vec![], vec![]));
    let expected = Process {
        id: ProcessId { pid: 42, start: 900 },
        parent: 1,
        group: 40,
        session: 41,
        tty: 34816,
        comm: "backup".into(),
        kernel_thread: false,
        forked_only: false,
        zombie: false,
        nice: -5,
        io: Some(IoBytes { read: 1, written: 2, read_any: 3, written_any: 4 }),
    };
    assert_eq!(process(&sample, 42), &expected);
    let expected =
        Task { id: TaskId { tid: 42, start: 900 }, pid: 42, state: TaskState::Sleeping, cpu: 5, run_delay: Some(6), wait: None };
    assert_eq!(task(&sample, 42), &expected);
    assert_eq!((sample.gaps, sample.cost.tasks, sample.since_boot), (vec![], 2, 86_400_000_000_000));
}

#[test]
fn the_host_s_counters_are_read() {
    let proc = FakeProc::new();
    let mut reader = reader(proc.path());
    let host = reader.sample().unwrap().host;
    let load = host.load.unwrap();
    assert_eq!((load.avg1, load.avg5, load.avg15), (0.52, 0.41, 0.33));
    let cpu = host.cpu.unwrap();
    assert_eq!((cpu.busy, cpu.idle, cpu.iowait), (150, 1000, 20));
    let pressure = host.pressure.unwrap();
    assert_eq!((pressure.cpu_some10, pressure.io_full10), (1.5, 0.5));
    assert_eq!(host.memory.unwrap().total, 1_024_000);
    let disks: Vec<_> =
        host.disks.iter().map(|disk| (disk.name.as_str(), disk.reads + disk.writes, disk.read_bytes, disk.busy_ms)).collect();
    assert_eq!(disks, [("sda", 30, 40_960, 9)]);
    let facts = reader.facts();
    assert_eq!((facts.cpus, facts.own_pid), (2, None));
    proc.file("sys/kernel/hostname", "web1\n");
    proc.file("sys/kernel/osrelease", "6.1.0-fake\n");
    let facts = reader.facts();
    assert_eq!((facts.name.as_str(), facts.kernel.as_str()), ("web1", "6.1.0-fake"));
}

#[test]
fn a_host_file_that_is_missing_is_a_gap_and_no_zero() {
    let proc = FakeProc::new();
    let mut reader = reader(proc.path());
    proc.remove_file("pressure");
    proc.file("meminfo", "nonsense\n");
    proc.file("diskstats", "8 0 sda 1\n   8 16 sdb 10 0 80 5 20 0 160 7 0 9 12\n");
    proc.remove_file("loadavg");
    let sample = reader.sample().unwrap();
    assert_eq!((sample.host.pressure, sample.host.memory, sample.host.load), (None, None, None));
    assert_eq!(sample.host.disks.len(), 1, "a bad line costs one row");
    assert!(sample.gaps.contains(&Gap::NoPressure));
    let mut files: Vec<&str> = Vec::new();
    files.extend(sample.gaps.iter().filter_map(|gap| if let Gap::Host { file, .. } = gap { Some(file.as_str()) } else { None }));
    assert_eq!(files, ["loadavg", "meminfo", "diskstats"]);
}

#[test]
fn a_later_sample_has_only_what_changed() {
    let proc = FakeProc::new();
    let init = proc.process(1, "init").write();
    let backup = proc.process(42, "backup").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    let sample = reader.sample().unwrap();
    assert!(!sample.keyframe);
    assert_eq!((rows(&sample), sample.cost.tasks), (nothing(), 2));

    let backup = backup.ran(1_000_000).write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![], vec![42], vec![], vec![]), "it ran, and nothing else about it changed");
    backup.ran(1).io(4096, 0, 0, 0).comm("tar").write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![42], vec![42], vec![], vec![]));
    assert_eq!(process(&sample, 42).comm, "tar");

    // A task that did not run is not read: what its stat says now must not show.
    init.state('D').write();
    assert_eq!(rows(&reader.sample().unwrap()), nothing());
}

#[test]
fn new_and_gone_processes_come_once() {
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    proc.process(7, "sh").write();
    assert_eq!(rows(&reader.sample().unwrap()), (vec![7], vec![7], vec![], vec![]));
    proc.remove(7);
    assert_eq!(rows(&reader.sample().unwrap()), (vec![], vec![], vec![7], vec![]));
    assert_eq!(rows(&reader.sample().unwrap()), nothing());
}

#[test]
fn a_number_used_again_is_another_process() {
    let proc = FakeProc::new();
    let old = proc.process(7, "sh").thread(8, "w", 'S').write();
    let mut reader = reader(proc.path());
    let first = process(&reader.sample().unwrap(), 7).id;
    proc.remove(7);
    proc.process(7, "tar").write();
    let sample = reader.sample().unwrap();
    assert_eq!(sample.gone_processes, [first]);
    assert_eq!(process(&sample, 7).comm, "tar");
    assert_eq!(sample.cost.tasks, 1);
    drop(old);
}

#[test]
fn a_process_that_vanishes_between_two_reads_is_no_error() {
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    proc.process(7, "sh").thread(8, "w", 'S').write();
    proc.file("9/comm", "no stat here\n");
    proc.file("10/stat", "10 (no) sense\n");
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample).0, [1, 7]);
    assert_eq!(sample.gaps, []);
    for name in ["7/stat", "7/schedstat"] {
        proc.remove_file(name);
    }
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample), sample.gaps), ((vec![], vec![], vec![7], vec![]), vec![]));
}

#[test]
fn a_line_that_makes_no_sense_leaves_the_row_as_it_was() {
    let proc = FakeProc::new();
    proc.process(7, "sh").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    proc.file("7/schedstat", "1 2 3\n");
    proc.file("7/stat", "7 (sh\n");
    assert_eq!(rows(&reader.sample().unwrap()), nothing());
}

#[test]
fn hostile_names_are_names() {
    let proc = FakeProc::new();
    let names = ["(a b)", ") R 1 (", "a\nb", "", "x) D 1 2 3 4 5", "))))((", "\u{1b}]0;x\u{7}"];
    for (pid, name) in (10..).zip(names) {
        proc.process(pid, name).parent(0).write();
    }
    proc.process_of_bytes(9, b"\xff\xfe)").parent(0).write();
    let sample = reader(proc.path()).sample().unwrap();
    for (pid, name) in (10..).zip(names) {
        let process = process(&sample, pid);
        assert_eq!((process.comm.as_str(), process.parent), (name, 0));
        assert_eq!(task(&sample, process.id.pid).state, TaskState::Sleeping);
    }
    assert_eq!(process(&sample, 9).comm, "\u{fffd}\u{fffd})");
}

#[test]
fn threads_come_and_go_and_run_alone() {
    let proc = FakeProc::new();
    let server = proc.process(42, "server").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    let server = server.ran(1).thread(43, "worker", 'S').thread(44, "worker", 'D').wait("io_schedule", "0 0x3").write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![], vec![42, 43, 44], vec![], vec![]));
    assert_eq!(
        task(&sample, 44).wait,
        Some(Box::new(Wait { wchan: Some("io_schedule".into()), syscall: Some(0), ..Wait::default() }))
    );
    assert_eq!(sample.cost.tasks, 3);

    // Only the worker ran, but what it moved shows on the process.
    let server = server.thread_ran(43, 5).io(4096, 0, 0, 0).write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![42], vec![43], vec![], vec![]));
    assert_eq!(process(&sample, 42).io.unwrap().read, 4096);

    // The worker started another and a third one ended, while the first thread slept.
    let server = server.thread_ran(43, 5).thread(45, "new", 'S').without_thread(44).write();
    assert_eq!(rows(&reader.sample().unwrap()), (vec![], vec![43, 45], vec![], vec![44]));

    // The first thread ends before the others: no zombie until they do.
    let server = server.ran(1).state('Z').write();
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample).0, task(&sample, 42).state), (vec![], TaskState::Dead));
    server.without_thread(43).without_thread(45).write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![42], vec![], vec![], vec![43, 45]));
    assert!(process(&sample, 42).zombie);
}

#[test]
fn a_child_gets_another_parent_without_running() {
    let proc = FakeProc::new();
    proc.process(1, "init").parent(0).write();
    let shell = proc.process(7, "sh").write();
    let left = proc.process(8, "left").parent(7).write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    // The shell is a zombie: its children have a new parent already.
    shell.ran(1).state('Z').write();
    left.clone().parent(1).write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample).0, [7, 8]);
    assert_eq!(process(&sample, 8).parent, 1);

    let shell = proc.process(17, "sh").write();
    let left = proc.process(18, "left").parent(17).write();
    reader.sample().unwrap();
    proc.remove(shell.pid());
    left.parent(1).write();
    let sample = reader.sample().unwrap();
    assert_eq!(rows(&sample), (vec![18], vec![], vec![7 + 10], vec![]));
    assert_eq!(process(&sample, 18).parent, 1);
}

#[test]
fn a_runnable_task_is_looked_at_although_it_did_not_run() {
    let proc = FakeProc::new();
    let queued = proc.process(7, "queued").state('R').write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    queued.state('T').write();
    assert_eq!(task(&reader.sample().unwrap(), 7).state, TaskState::Stopped);
}

#[test]
fn a_task_that_was_woken_and_got_no_cpu_yet_is_found() {
    let proc = FakeProc::new();
    let woken = proc.process(7, "woken").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    woken.state('R').write();
    assert_eq!(rows(&reader.sample().unwrap()), nothing(), "nobody says that there is one to be found");
    proc.file("stat", "cpu  1 1 1 1\ncpu0 1 1 1 1\nprocs_running 2\n");
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample).1, task(&sample, 7).state), (vec![7], TaskState::Runnable));
}

#[test]
fn the_directory_is_read_when_something_was_started() {
    let proc = FakeProc::new();
    let stat = |forks| proc.file("stat", &format!("cpu  1 1 1 1\ncpu0 1 1 1 1\nprocesses {forks}\nprocs_running 1\n"));
    proc.process(1, "init").write();
    proc.process(7, "old").write();
    stat(50);
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    proc.process(8, "new").write();
    assert_eq!(rows(&reader.sample().unwrap()), nothing(), "nobody was started, so nobody is looked for");
    stat(51);
    assert_eq!(rows(&reader.sample().unwrap()).0, [8]);
    // Whoever is gone is missed without the directory.
    proc.remove(7);
    assert_eq!(rows(&reader.sample().unwrap()), (vec![], vec![], vec![7], vec![]));
    // A number used again needs a start, too.
    proc.remove(8);
    proc.process(8, "newer").write();
    stat(52);
    assert_eq!(rows(&reader.sample().unwrap()), (vec![8], vec![8], vec![8], vec![]));
    // One that could not be read is tried again, count or no count.
    proc.file("9/comm", "no stat yet\n");
    stat(53);
    assert_eq!(rows(&reader.sample().unwrap()), nothing());
    proc.process(9, "late").write();
    assert_eq!(rows(&reader.sample().unwrap()).0, [9]);
    // Emulated kernels always say 0.
    stat(0);
    reader.sample().unwrap();
    proc.process(10, "uncounted").write();
    assert_eq!(rows(&reader.sample().unwrap()).0, [10]);
}

#[test]
fn a_few_new_numbers_are_tried_without_the_directory() {
    let proc = FakeProc::new();
    let say = |forks: u32, last_pid: u32| {
        proc.file("stat", &format!("cpu  1 1 1 1\ncpu0 1 1 1 1\nprocesses {forks}\nprocs_running 1\n"));
        proc.file("loadavg", &format!("0.52 0.41 0.33 1/200 {last_pid}\n"));
    };
    proc.process(7, "old").write();
    say(50, 100);
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    proc.process(500, "out of order").write();
    proc.process(102, "new").write();
    proc.process(103, "its thread").write();
    proc.file("103/status", "Name:\tx\nTgid:\t102\n");
    say(52, 103);
    assert_eq!(rows(&reader.sample().unwrap()).0, [102], "the one that was started, not its thread, and nobody else");
    // It had its number before and comes into sight only now.
    proc.process(101, "slow").write();
    say(53, 104);
    assert_eq!(rows(&reader.sample().unwrap()).0, [101]);
    // More were started than numbers were handed out: somebody asked for one.
    say(56, 106);
    assert_eq!(rows(&reader.sample().unwrap()).0, [103, 500]);
    // Without any hint it takes longer.
    proc.process(600, "restored").write();
    let samples = (0..100).take_while(|_| rows(&reader.sample().unwrap()).0 != [600]).count();
    assert!((5..40).contains(&samples), "found after {samples}");
    // Numbers begin anew.
    proc.process(20, "wrapped").write();
    say(57, 20);
    assert_eq!(rows(&reader.sample().unwrap()).0, [20]);
}

#[test]
fn without_schedstat_the_time_comes_in_ticks() {
    let proc = FakeProc::new();
    let old = proc.process(7, "old").cpu_ticks(1, 2).thread(8, "w", 'S').thread_ticks(8, 10, 0).no_schedstat().write();
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    let tick = 1_000_000_000 / reader.facts().ticks_per_second;
    assert_eq!((task(&sample, 7).cpu, task(&sample, 8).cpu), (3 * tick, 10 * tick), "each its own");
    assert_eq!((task(&sample, 7).run_delay, sample.gaps), (None, vec![Gap::NoRunDelay]));
    assert_eq!(rows(&reader.sample().unwrap()), nothing());
    old.cpu_ticks(2, 2).write();
    assert_eq!(rows(&reader.sample().unwrap()), (vec![], vec![7], vec![], vec![]));
}

#[test]
fn io_of_others_is_hidden_and_counted() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: nothing is hidden from root");
        return;
    }
    let proc = FakeProc::new();
    let other = proc.process(7, "other").write();
    fs::set_permissions(proc.path().join("7/io"), Permissions::from_mode(0o0)).unwrap();
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    assert_eq!((process(&sample, 7).io, sample.gaps), (None, vec![Gap::IoDenied { processes: 1 }]));
    assert_eq!(reader.sample().unwrap().gaps, [Gap::IoDenied { processes: 1 }], "the gap lasts");
    drop(other);
}

#[test]
fn where_a_task_is_stuck_is_looked_up_while_it_is() {
    let proc = FakeProc::new();
    let stuck = proc.process(7, "stuck").state('D').wait("rpc_wait_bit_killable", "0 0x3 0x7f").write();
    proc.process(8, "hidden").state('D').wait("0", "-1 0x7f 0x8").write();
    proc.process(9, "kernel").state('D').flags(0x0020_0040).wait("io_schedule", "0 0x0").write();
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    let wait = |wchan: Option<&str>, syscall| Some(Box::new(Wait { wchan: wchan.map(Into::into), syscall, ..Wait::default() }));
    assert_eq!(task(&sample, 7).wait, wait(Some("rpc_wait_bit_killable"), Some(0)));
    assert_eq!(task(&sample, 8).wait, wait(None, None));
    assert_eq!(task(&sample, 9).wait, wait(Some("io_schedule"), None));
    assert!(process(&sample, 9).kernel_thread && !process(&sample, 9).forked_only);
    assert_eq!(sample.gaps, [Gap::WaitDenied { tasks: 1 }]);
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample), sample.gaps), (nothing(), vec![Gap::WaitDenied { tasks: 1 }]));
    stuck.state('S').write();
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample).1, task(&sample, 7).wait.clone()), (vec![7], None));
}

#[test]
fn a_stuck_task_s_call_stack_and_clock_are_read() {
    let proc = FakeProc::new();
    let clock = |cpu, clock| CpuClock { cpu, clock };
    proc.process(7, "stuck")
        .state('D')
        .wait("rpc_wait_bit_killable", "0 0x3 0x7f 0x1000 0x0 0x0 0x0 0x7ffc0000a000 0x7f0000001000")
        .stack("[<0>] rpc_wait_bit_killable+0x1e/0xa0 [sunrpc]\n[<0>] nfs_getattr+0x1/0x2 [nfs]\n")
        .last_ran(1, "5000.000001")
        .write();
    let worker = proc.process(8, "worker").last_ran(1, "7000.500000").write();
    proc.process(9, "elsewhere").last_ran(0, "9000.000000").write();
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    let expected = Wait {
        wchan: Some("rpc_wait_bit_killable".into()),
        syscall: Some(0),
        args: Some([3, 0x7f, 0x1000, 0, 0, 0]),
        stack: Some(vec!["rpc_wait_bit_killable".into(), "nfs_getattr".into()]),
        file: None,
        last_ran: Some(clock(1, 5_000_000_001)),
    };
    assert_eq!(task(&sample, 7).wait.as_deref(), Some(&expected));
    assert_eq!(sample.clocks, [clock(1, 7_000_500_000)], "of the CPUs in question and no other");
    assert_eq!(sample.awake, [0_u32; 0], "that may have been long ago");
    let mut told = || {
        let sample = reader.sample().unwrap();
        (sample.clocks, sample.awake)
    };
    // What did not run is not asked, and what was known stays known.
    let worker = worker.last_ran(1, "8000.000000").write();
    assert_eq!(told(), (vec![clock(1, 7_000_500_000)], vec![]));
    let worker = worker.ran(5).write();
    assert_eq!(told(), (vec![clock(1, 8_000_000_000)], vec![1]));
    // It went to another CPU.
    worker.ran(5).last_ran(0, "9999.000000").write();
    assert_eq!(told(), (vec![clock(1, 8_000_000_000)], vec![]));
    // Another one that is stuck is looked up now, and may have been so for long.
    proc.process(6, "stuck").state('D').wait("io_schedule", "0 0x3").last_ran(1, "8500.000000").write();
    assert_eq!(told(), (vec![clock(1, 8_500_000_000)], vec![]));
    proc.remove(6);
    proc.remove(7);
    assert_eq!(told(), (vec![], vec![]));
}

#[test]
fn an_identity_comes_once_and_again_when_it_changes() {
    let proc = FakeProc::new();
    let cron = "0::/system.slice/cron.service";
    let shell = proc.process(7, "sh").flags(0x40).cmdline(&["sh", "-c", "x"]).cgroup(cron).uid(0).write();
    proc.process(2, "kthreadd").flags(0x0020_0040).write();
    let mut reader = reader(proc.path());
    assert!(process(&reader.sample().unwrap(), 7).forked_only);
    reader.settle(LONG);
    let sample = reader.sample().unwrap();
    let expected = Identity {
        argv: ["sh", "-c", "x"].map(str::to_owned).to_vec(),
        exe: None,
        uid: Some(0),
        user: Some("root".to_owned()),
        cgroup: Some("/system.slice/cron.service".to_owned()),
        ..Identity::default()
    };
    assert_eq!(sample.identities, [(shell.id(), Arc::new(expected))]);
    shell.ran(1).flags(0).comm("tar").cmdline(&["tar", "cf"]).write();
    let sample = reader.sample().unwrap();
    assert!(!process(&sample, 7).forked_only);
    // Mostly it comes with the sample that shows the change.
    let changed = identity_in(&sample, 7).unwrap_or_else(|| identity(&mut reader, 7));
    assert_eq!(changed.argv, ["tar", "cf"]);
    assert_eq!(reader.sample().unwrap().identities, []);
}

/// Whose command lines are overdue, and how many wait behind them.
fn overdue(sample: &Sample) -> (Vec<i32>, u32) {
    match sample.gaps.as_slice() {
        [] => (vec![], 0),
        [Gap::IdentityOverdue { reads, behind }] => (reads.iter().map(|read| read.id.pid).collect(), *behind),
        gaps => panic!("other gaps: {gaps:?}"),
    }
}

#[test]
fn a_command_line_that_never_comes_stops_nobody() {
    let proc = FakeProc::new();
    let path = proc.path().join("7/cmdline");
    let service = proc.process(7, "wedged").cgroup("0::/system.slice/web.service").uid(0).write();
    fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    proc.process(8, "fine").write();
    let mut reader = reader(proc.path());
    let begin = Instant::now();
    assert_eq!(reader.sample().unwrap().gaps, []);
    reader.settle(Duration::from_secs(20));
    let sample = reader.sample().unwrap();
    assert!(begin.elapsed() < LONG, "it took {:?}", begin.elapsed());
    assert_eq!(overdue(&sample), (vec![7], 0));
    let identities: HashMap<i32, Arc<Identity>> =
        sample.identities.into_iter().map(|(id, identity)| (id.pid, identity)).collect();
    assert_eq!(identities[&8].argv, ["fine"]);
    assert_eq!(identities[&7].cgroup.as_deref(), Some("/system.slice/web.service"), "the rest of it does not block");
    assert!(identities[&7].argv.is_empty());
    // New ones are read meanwhile, and the gap lasts as long as it is true.
    proc.process(9, "new").write();
    let sample = reader.sample().unwrap();
    assert_eq!(overdue(&sample), (vec![7], 0));
    assert_eq!(identity_in(&sample, 9).unwrap_or_else(|| identity(&mut reader, 9)).argv, ["new"]);
    // Somebody lets go.
    OpenOptions::new().write(true).open(&path).unwrap().write_all(b"php-fpm\0").unwrap();
    assert_eq!(identity(&mut reader, 7).argv, ["php-fpm"]);
    assert_eq!(reader.sample().unwrap().gaps, []);
    drop(service);
}

#[test]
fn more_stuck_command_lines_than_threads_leave_the_rest_their_units() {
    let proc = FakeProc::new();
    for pid in 100..120 {
        proc.process(pid, "wedged").cgroup("0::/system.slice/web.service").write();
        let path = proc.path().join(format!("{pid}/cmdline"));
        fs::remove_file(&path).unwrap();
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    }
    let mut reader = reader(proc.path());
    let mut units = std::collections::HashSet::new();
    let begin = Instant::now();
    while units.len() < 20 && begin.elapsed() < Duration::from_secs(30) {
        let sample = reader.sample().unwrap();
        assert!(Duration::from_nanos(sample.cost.sampling) < Duration::from_secs(1));
        units.extend(sample.identities.into_iter().filter(|(_, who)| who.cgroup.is_some()).map(|(id, _)| id));
        reader.settle(Duration::from_secs(1));
    }
    assert_eq!(units.len(), 20);
}

#[test]
fn the_sampler_ticks_nudges_and_stops() {
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    let (sink, inbox) = mpsc::channel();
    let config = Config { interval: Duration::from_hours(1) };
    let sampler = Sampler::start(watched(proc.path()), config, move |seen| {
        if sink.send(seen).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    let sample = || match inbox.recv_timeout(LONG).unwrap().unwrap() {
        Seen::Sample(sample) => sample,
        Seen::Glance(glance) => panic!("{glance:?} where a sample belongs"),
    };
    let Seen::Glance(glance) = inbox.recv_timeout(LONG).unwrap().unwrap() else { panic!("no glance before the first sample") };
    assert_eq!((glance.tasks, glance.gaps), (Some((1, 200)), vec![]));
    let first = sample();
    assert!(first.keyframe);
    assert_eq!(glance.host, Host { disks: vec![], ..first.host.clone() });
    assert_eq!(first.cost.pace, None);
    let second = sample();
    assert_eq!(second.identities.len(), 1);
    assert!(second.cost.pace.is_some_and(|pace| !pace.stretched));
    assert!(inbox.try_recv().is_err(), "an hour to the next");
    sampler.nudge();
    assert!(inbox.recv_timeout(LONG).unwrap().is_ok());
    sampler.stop();
    assert!(matches!(inbox.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Disconnected)));
}

/// What becomes of a sample counts as much as the taking of it: both are done before the next one is due.
#[test]
fn a_slow_analysis_stretches_the_interval() {
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    let (sink, inbox) = mpsc::channel();
    let (analysis, interval) = (Duration::from_millis(60), Duration::from_millis(100));
    let config = Config { interval };
    let sampler = Sampler::start(watched(proc.path()), config, move |seen| {
        let Ok(Seen::Sample(sample)) = seen else { return ControlFlow::Continue(()) };
        // The slow analysis itself.
        std::thread::sleep(analysis);
        if sink.send(sample.cost).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    let paces: Vec<_> = (0..4).map(|_| inbox.recv_timeout(LONG).unwrap().pace).collect();
    assert_eq!(paces[0], None);
    for pace in paces[2..].iter().flatten() {
        assert!(pace.stretched, "{paces:?}");
        assert!(u128::from(pace.look) >= analysis.as_nanos(), "{paces:?}");
        assert!(pace.interval >= 2 * pace.look && u128::from(pace.interval) > interval.as_nanos(), "{paces:?}");
    }
    assert!(paces[1].is_some_and(|pace| !pace.stretched), "the second look comes soon in any case: {paces:?}");
    drop(sampler);
}

// The real thing, as root and as anybody.

fn live() -> Reader {
    reader(Path::new("/proc"))
}

fn start(program: &str, arguments: &[&str]) -> Child {
    Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

/// `spawn` returns as soon as the child has let go of its parent's memory, before it has arguments of its own.
fn wait_for_argv(reader: &mut Reader, first: &Sample, pid: i32, argv: &[&str]) {
    let begin = Instant::now();
    let mut seen = identity_in(first, pid).unwrap_or_default().argv;
    while seen != argv {
        assert!(begin.elapsed() < LONG, "process {pid} is {seen:?} and not {argv:?}");
        let sample = reader.sample().unwrap();
        seen = identity_in(&sample, pid).map_or(seen, |identity| identity.argv);
        reader.settle(LONG);
    }
}

fn reap(mut child: Child) {
    child.wait().unwrap();
}

#[test]
fn live_the_host_is_read() {
    let mut reader = live();
    let first = reader.sample().unwrap();
    let own = std::process::id().cast_signed();
    let facts = reader.facts();
    assert_eq!((facts.own_pid, facts.root), (Some(own), rustix::process::geteuid().is_root()));
    assert!(facts.cpus >= 1 && !facts.name.is_empty() && !facts.kernel.is_empty());
    assert_eq!(first.tasks.len(), first.cost.tasks as usize);
    let threads = first.tasks.iter().filter(|task| task.pid == own).count();
    assert!(threads > 1, "this test runs in a thread, and so do the readers of identities");
    assert!(first.host.load.is_some() && first.host.cpu.is_some() && first.host.memory.is_some());
    assert!(process(&first, own).io.is_some());
    let argv: Vec<String> = std::env::args().collect();
    assert_eq!(identity(&mut reader, own).argv, argv);
    let second = reader.sample().unwrap();
    assert!(!second.keyframe && second.since_boot > first.since_boot && second.at >= first.at);
    assert!(task(&second, second.tasks.iter().find(|task| task.pid == own).unwrap().id.tid).cpu > 0);
    let all: u64 = first.tasks.iter().map(|task| task.cpu).sum();
    assert!(all > 0 && all < first.since_boot * 1024);
    for gap in &second.gaps {
        assert!(!matches!(gap, Gap::Host { .. }), "{gap:?}");
    }
}

#[test]
fn live_a_child_is_seen_to_start_and_to_end() {
    let mut reader = live();
    reader.sample().unwrap();
    let mut child = start("cat", &[]);
    let pid = child.id().cast_signed();
    let sample = reader.sample().unwrap();
    assert_eq!(process(&sample, pid).parent, std::process::id().cast_signed());
    wait_for_argv(&mut reader, &sample, pid, &["cat"]);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(reader.sample().unwrap().gone_processes.iter().any(|id| id.pid == pid));
}

#[test]
fn live_an_exec_changes_who_it_is() {
    let mut reader = live();
    let mut child = start("sh", &["-c", "echo; read x; exec sleep 60"]);
    let pid = child.id().cast_signed();
    std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
    let sample = reader.sample().unwrap();
    wait_for_argv(&mut reader, &sample, pid, &["sh", "-c", "echo; read x; exec sleep 60"]);
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let sample = reader.sample().unwrap();
    wait_for_argv(&mut reader, &sample, pid, &["sleep", "60"]);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn live_churn_makes_no_error_and_leaks_no_descriptor() {
    // In a process of its own, so that the descriptors counted are this test's: other tests run beside it here.
    if std::env::var_os("WHYTOP_CHURN").is_none() {
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["live_churn_makes_no_error_and_leaks_no_descriptor", "--exact", "--test-threads=1"])
            .env("WHYTOP_CHURN", "1")
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut reader = live();
    for _ in 0..30 {
        let mut children: Vec<Child> = (0..10).map(|_| start("true", &[])).collect();
        reader.sample().unwrap();
        children.drain(..5).for_each(reap);
        reader.sample().unwrap();
        children.into_iter().for_each(reap);
    }
    reader.settle(LONG);
    let sample = reader.sample().unwrap();
    let kept = descriptors() - before;
    assert!(kept <= sample.cost.tasks as usize + 64, "{kept} descriptors for {} tasks", sample.cost.tasks);
    drop(reader);
    // The threads of the pool hold the root until they have ended, which nobody waits for.
    assert!(descriptors() <= before + 2);
}

/// What the kernel does with a process in the middle of an `exec` that waits: reading its `stat` does not return, its `status` does.
#[test]
fn a_process_whose_state_cannot_be_read_costs_no_sample() {
    let proc = FakeProc::new();
    proc.process(7, "worker").write();
    proc.process(9, "held").write();
    let (stat, status) = (proc.path().join("9/stat"), proc.path().join("9/status"));
    let (line, was) = (fs::read_to_string(&stat).unwrap(), fs::read_to_string(&status).unwrap());
    fs::remove_file(&stat).unwrap();
    assert!(Command::new("mkfifo").arg(&stat).status().unwrap().success());
    fs::write(&status, "Name:\theld\nState:\tD (disk sleep)\n").unwrap();

    let mut reader = watched(proc.path());
    let begun = Instant::now();
    let sample = reader.sample().unwrap();
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    let pids = |sample: &Sample| sample.processes.iter().map(|process| process.id.pid).collect::<Vec<_>>();
    assert_eq!(pids(&sample), [7]);
    assert!(sample.gaps.contains(&Gap::Shunned { pids: vec![9] }), "{:?}", sample.gaps);
    let begun = Instant::now();
    assert_eq!(pids(&reader.sample().unwrap()), [0; 0]);
    assert!(begun.elapsed() < Duration::from_millis(500), "it is left out from then on: {:?}", begun.elapsed());

    fs::write(&status, was).unwrap();
    fs::remove_file(&stat).unwrap();
    fs::write(&stat, line).unwrap();
    let sample = reader.sample().unwrap();
    assert_eq!(pids(&sample), [9], "it goes on");
    assert!(!sample.gaps.iter().any(|gap| matches!(gap, Gap::Shunned { .. })), "{:?}", sample.gaps);
}

/// Found one by one they would take half a second each, and a sample ends at sixteen.
#[test]
fn a_jam_of_processes_that_cannot_be_read_costs_no_sample_either() {
    let proc = FakeProc::new();
    proc.process(7, "worker").write();
    for pid in 20..40 {
        proc.process(pid, "held").write();
        let stat = proc.path().join(format!("{pid}/stat"));
        fs::remove_file(&stat).unwrap();
        assert!(Command::new("mkfifo").arg(&stat).status().unwrap().success());
        fs::write(proc.path().join(format!("{pid}/status")), "Name:\theld\nState:\tD (disk sleep)\n").unwrap();
    }
    let mut reader = watched(proc.path());
    let sample = reader.sample().unwrap();
    assert!(sample.processes.iter().any(|process| process.id.pid == 7));
    assert!(sample.gaps.contains(&Gap::Shunned { pids: (20..40).collect() }), "{:?}", sample.gaps);
}
