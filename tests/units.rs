//! What is looked up only while somebody is held up: who holds the memory, and what control groups say of units. On made-up trees, of
//! version 2, version 1 and both at once.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod common;

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use common::fake_proc::{FakeProc, FakeProcess};
use rustix::param::page_size;
use tempfile::TempDir;
use whytop::{
    kernel::{ProcRoot, Reader},
    sample::{Cgroup, CgroupIo, IoLimit, Resident, Sample},
};

const LONG: Duration = Duration::from_secs(10);
const CALM: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=5000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";
const HELD_UP: &str = "some avg10=40.00 avg60=9.00 avg300=0.00 total=9000\nfull avg10=2.00 avg60=0.00 avg300=0.00 total=1\n";

fn host() -> FakeProc {
    let proc = FakeProc::new();
    for name in ["cpu", "io", "memory"] {
        proc.file(&format!("pressure/{name}"), CALM);
    }
    proc
}

/// A process that holds so many pages, and so many that others may have too.
fn holder(proc: &FakeProc, pid: i32, resident: u64, shared: u64) -> FakeProcess {
    let process = proc.process(pid, "holder").write();
    proc.file(&format!("{pid}/statm"), &format!("99999 {resident} {shared} 10 0 500 0\n"));
    process
}

fn held(sample: &Sample) -> Vec<(i32, u64, u64)> {
    let page = page_size() as u64;
    let pages = |(id, held): &(whytop::units::ProcessId, Resident)| (id.pid, held.private / page, held.shared / page);
    sample.resident.iter().map(pages).collect()
}

#[test]
fn who_holds_the_memory_is_asked_while_it_is_short() {
    let proc = host();
    let one = holder(&proc, 41, 3000, 100);
    holder(&proc, 42, 50, 50);
    let mut reader = Reader::new(ProcRoot::open(proc.path()).unwrap()).unwrap();
    assert_eq!(held(&reader.sample().unwrap()), [], "there is enough");
    // The averages have not heard of it yet.
    proc.file("pressure/memory", &CALM.replace("total=5000", "total=5000000"));
    assert_eq!(held(&reader.sample().unwrap()), [(41, 2900, 100), (42, 0, 50)]);
    proc.file("41/statm", "99999 4000 100 10 0 500 0\n");
    proc.file("pressure/memory", HELD_UP);
    one.ran(5_000_000).write();
    assert_eq!(held(&reader.sample().unwrap()), [(41, 3900, 100)], "who did not run holds what it held");
}

#[test]
fn without_pressure_little_that_is_left_says_it() {
    let proc = host();
    holder(&proc, 41, 3000, 100);
    proc.remove_file("pressure");
    let mut reader = Reader::new(ProcRoot::open(proc.path()).unwrap()).unwrap();
    assert_eq!(held(&reader.sample().unwrap()), []);
    let memory = fs::read_to_string(proc.path().join("meminfo")).unwrap();
    proc.file("meminfo", &memory.replace("MemAvailable:  1000 kB", "MemAvailable:  90 kB"));
    assert_eq!(held(&reader.sample().unwrap()), [(41, 2900, 100)]);
}

/// Files of a control group, below the mount points.
fn cgroup(sys: &TempDir, place: &str, files: &[(&str, &str)]) {
    let dir = sys.path().join("fs/cgroup").join(place);
    fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        fs::write(dir.join(name), text).unwrap();
    }
}

/// The groups in the second sample: who is in which comes with the first.
fn groups(proc: &FakeProc, sys: &Path, worker: impl Fn(&FakeProc) -> FakeProcess) -> Vec<Cgroup> {
    worker(proc).write();
    let mut reader = Reader::new(ProcRoot::open(proc.path()).unwrap().with_sys(sys)).unwrap();
    reader.sample().unwrap();
    reader.settle(LONG);
    // It ran: who slept was held up by nothing.
    worker(proc).write();
    reader.sample().unwrap().cgroups
}

/// A process of a unit; written again, it has run.
fn worker(proc: &FakeProc) -> FakeProcess {
    proc.process(50, "worker").start(900).cgroup("1:name=systemd:/system.slice/web.service\n0::/\n")
}

const PRESSURE: &str = "some avg10=1.00 avg60=0.00 avg300=0.00 total=700\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n";

#[test]
fn while_nobody_is_held_up_no_group_is_asked() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    cgroup(&sys, "", &[("cgroup.controllers", "io memory")]);
    cgroup(&sys, "system.slice/web.service", &[("io.stat", "8:0 rbytes=1 wbytes=2\n"), ("io.pressure", PRESSURE)]);
    assert_eq!(groups(&proc, sys.path(), worker), []);
    proc.process(51, "hidden").no_io().write();
    assert_eq!(groups(&proc, sys.path(), worker), [], "nor one whose own processes hide nothing");
}

#[test]
fn version_2_says_how_a_unit_was_held_up() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    for name in ["cpu", "io", "memory"] {
        proc.file(&format!("pressure/{name}"), HELD_UP);
    }
    cgroup(&sys, "", &[("cgroup.controllers", "io memory cpu")]);
    let files = [
        ("io.stat", "8:0 rbytes=1 wbytes=2\n"),
        ("io.pressure", PRESSURE),
        ("cpu.pressure", PRESSURE),
        ("memory.pressure", PRESSURE),
        ("cpu.stat", "usage_usec 9\nnr_throttled 2\nthrottled_usec 33\n"),
        ("memory.events", "low 0\nhigh 4\nmax 3\noom 0\noom_kill 0\n"),
        ("memory.max", "8192\n"),
        ("memory.high", "4096\n"),
        ("io.max", "8:0 rbps=max wbps=5 riops=max wiops=max\n"),
    ];
    cgroup(&sys, "system.slice/web.service", &files);
    let expected = Cgroup {
        path: "/system.slice/web.service".into(),
        // Its processes tell what they move themselves, but there is a limit of it.
        io: Some(vec![CgroupIo { device: (8, 0), read: 1, written: 2, ..CgroupIo::default() }]),
        io_whole: true,
        cpu_stalled: Some(700_000),
        io_stalled: Some(700_000),
        memory_stalled: Some(700_000),
        throttled: Some(33_000),
        limited: Some(7),
        io_limits: vec![IoLimit { device: (8, 0), written: Some(5), ..IoLimit::default() }],
        memory_limit: Some(4096),
    };
    assert_eq!(groups(&proc, sys.path(), worker), [expected]);
}

#[test]
fn what_processes_hide_their_unit_tells_in_either_version() {
    let told = |files: &dyn Fn(&TempDir)| {
        let (proc, sys) = (host(), tempfile::tempdir().unwrap());
        // Another one hides something too, of which no group tells.
        proc.process(51, "hidden").no_io().write();
        files(&sys);
        let groups = groups(&proc, sys.path(), |proc| worker(proc).no_io());
        groups.into_iter().map(|group| (group.io, group.io_whole)).collect::<Vec<_>>()
    };
    let io = |read, written| Some(vec![CgroupIo { device: (8, 0), read, written, reads: 1, writes: 1 }]);
    let new = |sys: &TempDir| {
        cgroup(sys, "", &[("cgroup.controllers", "io")]);
        cgroup(sys, "system.slice/web.service", &[("io.stat", "8:0 rbytes=11 wbytes=12 rios=1 wios=1 dbytes=0 dios=0\n")]);
    };
    assert_eq!(told(&new), [(io(11, 12), true)]);
    let io = |read, written| Some(vec![CgroupIo { device: (8, 0), read, written, ..CgroupIo::default() }]);
    // A hybrid host: version 2 is there, without the controllers.
    let hybrid = |sys: &TempDir| {
        cgroup(sys, "unified", &[("cgroup.controllers", "")]);
        cgroup(sys, "unified/system.slice/web.service", &[("io.pressure", PRESSURE)]);
        let bytes = "8:0 Read 21\n8:0 Write 22\n8:0 Sync 40\n8:0 Async 3\n8:0 Discard 0\n8:0 Total 43\nTotal 43\n";
        cgroup(sys, "blkio/system.slice/web.service", &[("blkio.throttle.io_service_bytes", bytes)]);
    };
    assert_eq!(told(&hybrid), [(io(21, 22), false)]);
    assert_eq!(told(&|_| {}), [], "no such hierarchies here");
}

#[test]
fn version_1_counts_limits_too() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    for name in ["cpu", "memory"] {
        proc.file(&format!("pressure/{name}"), HELD_UP);
    }
    cgroup(&sys, "memory/system.slice/web.service", &[("memory.failcnt", "17\n")]);
    cgroup(&sys, "cpu/system.slice/web.service", &[("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 44\n")]);
    let found = groups(&proc, sys.path(), worker);
    assert_eq!(
        found.iter().map(|group| (group.limited, group.throttled, group.cpu_stalled)).collect::<Vec<_>>(),
        [(Some(17), Some(44), None)]
    );
}

/// A limit holds for all that are below it: of a slice, of a pod.
#[test]
fn limits_above_a_unit_are_asked_for_too() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    for name in ["cpu", "io", "memory"] {
        proc.file(&format!("pressure/{name}"), HELD_UP);
    }
    cgroup(&sys, "", &[("cgroup.controllers", "io memory cpu")]);
    let slice = [
        ("cpu.stat", "usage_usec 9\nnr_throttled 2\nthrottled_usec 33\n"),
        // Its own comes first: the other one counts for those below it too.
        ("memory.events.local", "high 0\nmax 3\n"),
        ("memory.events", "high 90\nmax 90\n"),
        ("memory.max", "max\n"),
        ("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max\n"),
        ("io.stat", "8:0 rbytes=1 wbytes=2\n"),
    ];
    cgroup(&sys, "shop.slice", &slice);
    cgroup(&sys, "shop.slice/web.slice/web.service", &[("cpu.stat", "usage_usec 9\n")]);
    let worker = |proc: &FakeProc| proc.process(50, "worker").start(900).cgroup("0::/shop.slice/web.slice/web.service\n");
    let expected = Cgroup {
        path: "/shop.slice".into(),
        io: Some(vec![CgroupIo { device: (8, 0), read: 1, written: 2, ..CgroupIo::default() }]),
        io_whole: true,
        throttled: Some(33_000),
        limited: Some(3),
        io_limits: vec![IoLimit { device: (8, 0), read: Some(5), ..IoLimit::default() }],
        ..Cgroup::default()
    };
    assert_eq!(groups(&proc, sys.path(), worker), [expected], "those that say nothing are left out");
}

/// More groups are at work than are looked at for one sample.
#[test]
fn the_limit_of_who_is_stuck_is_in_every_sample() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    proc.file("pressure/io", HELD_UP);
    cgroup(&sys, "", &[("cgroup.controllers", "io memory cpu")]);
    let limit = [("io.max", "8:0 rbps=5 wbps=max riops=max wiops=max\n"), ("io.stat", "8:0 rbytes=1 wbytes=2\n")];
    let busy = |number: i32| proc.process(100 + number, "busy").start(900).cgroup(&format!("0::/pods/{number:03}\n"));
    for number in 0..200 {
        cgroup(&sys, &format!("pods/{number:03}"), &limit);
    }
    cgroup(&sys, "pods/stuck", &limit);
    proc.process(50, "stuck").cgroup("0::/pods/stuck\n").state('D').write();
    let all_run = || (0..200).for_each(|number| drop(busy(number).write()));
    all_run();
    let mut reader = Reader::new(ProcRoot::open(proc.path()).unwrap().with_sys(sys.path())).unwrap();
    reader.sample().unwrap();
    reader.settle(LONG);
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        all_run();
        let groups = reader.sample().unwrap().cgroups;
        assert!(groups.iter().any(|group| group.path == "/pods/stuck"), "{} others", groups.len());
        seen.extend(groups.into_iter().map(|group| group.path));
    }
    assert_eq!(seen.len(), 201, "and all others have their turn");
}

/// Each hierarchy of version 1 has groups of its own, and a process may be in another one in each.
#[test]
fn limits_of_version_1_are_found_where_the_process_is_in_that_hierarchy() {
    let (proc, sys) = (host(), tempfile::tempdir().unwrap());
    for name in ["cpu", "io", "memory"] {
        proc.file(&format!("pressure/{name}"), HELD_UP);
    }
    cgroup(&sys, "cpu/small", &[("cpu.stat", "nr_periods 3\nnr_throttled 2\nthrottled_time 44\n")]);
    cgroup(&sys, "memory/pod", &[("memory.failcnt", "17\n"), ("memory.limit_in_bytes", "4096\n")]);
    cgroup(&sys, "memory/pod/one", &[("memory.failcnt", "0\n"), ("memory.limit_in_bytes", "9223372036854771712\n")]);
    let slow = [
        ("blkio.throttle.read_bps_device", "8:0 5\n"),
        ("blkio.throttle.io_service_bytes", "8:0 Read 1\nTotal 1\n"),
        ("blkio.throttle.io_service_bytes_recursive", "8:0 Read 9\nTotal 9\n"),
        ("blkio.throttle.io_serviced_recursive", "8:0 Read 2\nTotal 2\n"),
    ];
    cgroup(&sys, "blkio/slow", &slow);
    let lines = "4:cpu,cpuacct:/small\n3:memory:/pod/one\n2:blkio:/slow\n1:name=systemd:/system.slice/web.service\n";
    let found = groups(&proc, sys.path(), |proc| proc.process(50, "worker").start(900).cgroup(lines));
    let paths: Vec<&str> = found.iter().map(|group| group.path.as_str()).collect();
    assert_eq!(paths, ["/pod", "/pod/one", "/slow", "/small"]);
    let memory = |at: usize| (found[at].limited, found[at].memory_limit);
    assert_eq!((memory(0), memory(1)), ((Some(17), Some(4096)), (Some(0), None)));
    assert_eq!(found[2].io_limits, [IoLimit { device: (8, 0), read: Some(5), ..IoLimit::default() }]);
    assert_eq!(
        found[2].io,
        Some(vec![CgroupIo { device: (8, 0), read: 9, reads: 2, ..CgroupIo::default() }]),
        "all that are below it"
    );
    assert_eq!(found[3].throttled, Some(44));
}
