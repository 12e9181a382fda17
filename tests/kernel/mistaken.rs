//! What could be mistaken for something else: a failed read for an end, where a task was stuck for where it is, another task's count for
//! its own, another program's call for one of ours.

use std::fs;

use syscalls::Sysno;
use whytop::{
    analysis::diagnosis::Diagnosis,
    history::Limits,
    kernel::Reader,
    monitor::Monitor,
    sample::{IoBytes, Sample},
    units::SECOND,
};

use super::{
    common::fake_proc::{FakeProc, FakeProcess},
    nothing, process, reader, rows, task,
};

fn monitor(reader: &Reader) -> Monitor {
    Monitor::new(&reader.facts(), Limits::default())
}

#[test]
fn a_thread_whose_state_cannot_be_read_has_not_ended() {
    let proc = FakeProc::new();
    let server = proc.process(42, "server").thread(43, "worker", 'D').wait("io_schedule", "0 0x3").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    let server = server.thread_ran(43, 5).write();
    // A directory opens and does not read, whoever one is.
    proc.remove_file("42/task/43/stat");
    fs::create_dir(proc.path().join("42/task/43/stat")).unwrap();
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample), sample.cost.tasks), (nothing(), 2));
    server.thread_ran(43, 5).write();
    let sample = reader.sample().unwrap();
    assert_eq!((rows(&sample), task(&sample, 43).cpu), ((vec![], vec![43], vec![], vec![]), 10));
}

#[test]
fn many_stuck_tasks_get_their_turn_users_first() {
    let proc = FakeProc::new();
    for pid in 100..160 {
        proc.process(pid, "kernel").state('D').flags(0x0020_0000).wait("io_schedule", "").write();
        proc.process(pid + 100, "user").state('D').wait("io_schedule", "1").write();
    }
    let mut reader = reader(proc.path());
    let sample = reader.sample().unwrap();
    let waits = |sample: &Sample| sample.tasks.iter().filter(|task| task.wait.is_some()).count();
    assert_eq!(waits(&sample), 64);
    assert!(sample.tasks.iter().all(|task| task.id.tid < 200 || task.wait.is_some()));
    assert_eq!(waits(&reader.sample().unwrap()), 56);
    assert_eq!(waits(&reader.sample().unwrap()), 0);
}

#[test]
fn who_gets_stuck_anew_each_time_keeps_nobody_from_a_turn() {
    let proc = FakeProc::new();
    let worker = |pid| proc.process(pid, "worker").state('D').wait("folio_wait_bit_common", "0").write();
    let mut workers: Vec<FakeProcess> = (100..200).map(worker).collect();
    let frozen = proc.process(500, "frozen").state('D').wait("percpu_rwsem_wait", "1").write();
    let mut reader = reader(proc.path());
    let mut look = || {
        workers = workers.drain(..).map(|worker| worker.ran(1_000_000).write()).collect();
        let sample = reader.sample().unwrap();
        let known = sample.tasks.iter().filter(|task| task.wait.is_some()).count();
        assert_eq!(known, 64, "where the others were the last time says nothing");
        sample
    };
    let waits = |sample: &Sample| sample.tasks.iter().find(|task| task.id.tid == 500).map(|task| task.wait.is_some());
    assert_eq!(waits(&look()), Some(false));
    assert_eq!(waits(&look()), Some(true));
    frozen.ran(1_000_000).write();
    assert_eq!(waits(&look()), Some(false), "it ran, and has just had a turn");
    assert_eq!(waits(&look()), Some(true), "it stayed");
    assert_eq!(waits(&look()), None, "and stays");
}

#[test]
fn another_reader_finds_no_task_that_has_ended() {
    let proc = FakeProc::new();
    let server = proc.process(42, "server").thread(43, "worker", 'D').wait("io_schedule", "0 0x3").write();
    let mut first = reader(proc.path());
    let mut monitor = monitor(&first);
    let stuck = |diagnosis: &Diagnosis| (diagnosis.load.uninterruptible, diagnosis.waits.len());
    assert_eq!(stuck(&monitor.ingest(first.sample().unwrap())), (1, 1));
    server.without_thread(43).write();
    proc.file("uptime", "86401.00 172001.00\n");
    assert_eq!(stuck(&monitor.ingest(reader(proc.path()).sample().unwrap())), (0, 0));
}

#[test]
fn a_thread_that_calls_exec_brings_its_own_count() {
    let proc = FakeProc::new();
    let server = proc.process(42, "server").schedstat(SECOND, 0, 5).thread(43, "worker", 'S').write();
    let mut reader = reader(proc.path());
    let mut monitor = monitor(&reader);
    monitor.ingest(reader.sample().unwrap());
    // It has the first thread's number and start now.
    server.comm("tar").without_thread(43).schedstat(3600 * SECOND, 60 * SECOND, 9000).write();
    proc.file("uptime", "86401.00 172001.00\n");
    let diagnosis = monitor.ingest(reader.sample().unwrap());
    for job in &diagnosis.jobs {
        let usage = (job.usage.cpu_cores.unwrap_or_default(), job.usage.cpu_wait.unwrap_or_default());
        assert!(usage.0 < 0.1 && usage.1 < 0.1, "{}: {usage:?}", job.facts.name);
    }
}

#[test]
fn what_others_change_about_a_sleeper_is_seen_in_time() {
    let proc = FakeProc::new();
    for pid in 1..9 {
        proc.process(pid, "sleeper").write();
    }
    let tar = proc.process(42, "tar").write();
    let mut reader = reader(proc.path());
    reader.sample().unwrap();
    tar.nice(19).group(7, 7).io(1, 2, 3, 4).write();
    let sample = (0..9).map(|_| reader.sample().unwrap()).find(|sample| !sample.processes.is_empty());
    let sample = sample.expect("nobody looks");
    let tar = process(&sample, 42);
    assert_eq!((rows(&sample).1, tar.nice, tar.group), (vec![], 19, 7));
    assert_eq!(tar.io, Some(IoBytes::default()), "it did not run, so it moved nothing");
}

#[test]
fn a_32_bit_call_has_another_number() {
    let proc = FakeProc::new();
    let stuck = |pid: i32, place: &str, entry: &str| {
        let process = proc
            .process(pid, "stuck")
            .state('D')
            .wait("io_schedule", &format!("{} 0x4 0x0 0x10 0x0 0x0 0x0 {place}\n", Sysno::fsync.id()));
        process.stack(&format!("[<0>] io_schedule+0x46/0x80\n[<0>] {entry}+0xa8/0x1c0\n")).write();
        proc.descriptor(&pid.to_string(), 4, "/srv/site.db", "pos:\t0\nflags:\t02\nmnt_id:\t9\n");
    };
    stuck(7, "0xffd41a00 0xf7f3a549", "do_fast_syscall_32");
    stuck(8, "0xffd41a00 0xf7f3a549", "");
    stuck(9, "0x7ffd3df4e068 0x557ed4e35130", "do_int80_emulation");
    stuck(10, "0x7ffd3df4e068 0x557ed4e35130", "entry_SYSENTER_compat_after_hwframe");
    stuck(11, "0x7ffd3df4e068 0x401234", "do_syscall_64");
    let sample = reader(proc.path()).sample().unwrap();
    let call = |pid| {
        let wait = task(&sample, pid).wait.as_ref().unwrap();
        (wait.syscall, wait.args.is_some(), wait.file.is_some())
    };
    assert_eq!([7, 8, 9, 10].map(call), [(None, false, false); 4]);
    assert_eq!(call(11), (Some(Sysno::fsync.id().cast_unsigned()), true, true));
}
