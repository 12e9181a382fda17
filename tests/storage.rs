//! The way from a path to its disk: made-up trees for what must be exact; real loop devices, a frozen filesystem and a silent FUSE daemon
//! for what must be true and must not block. The latter need root, and say so where they cannot run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;
#[path = "storage/fuse.rs"]
mod fuse;

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use common::fake_proc::FakeProc;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use syscalls::Sysno;
use whytop::{
    kernel::{Choice, ProcRoot, Reader},
    sample::{FileRef, Gap, OpenFile, Sample, Storage, TaskState, Wait},
    units::ProcessId,
};

const LONG: Duration = Duration::from_secs(10);
/// Set in the environment of this program when it is to act.
const ROLE: &str = "WHYTOP_STORAGE_ROLE";
const ROOT: &str = "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n";
const NAS: &str = "99 27 0:52 / /mnt/my\\040nas rw - nfs4 nas:/export rw\n";

fn reader(path: &Path) -> Reader {
    Reader::new(ProcRoot::open(path).unwrap()).unwrap()
}

fn live() -> Reader {
    reader(Path::new("/proc"))
}

/// Takes samples, a few a second and not in a rush, until one gives what is looked for.
fn until<T>(reader: &mut Reader, what: &str, mut found: impl FnMut(&Sample) -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        let sample = reader.sample().unwrap();
        if let Some(found) = found(&sample) {
            return found;
        }
        assert!(begin.elapsed() < LONG, "{what} does not come");
        reader.settle(LONG);
        thread::park_timeout(Duration::from_millis(20));
    }
}

fn storage(reader: &mut Reader) -> Arc<Storage> {
    until(reader, "storage", |sample| sample.storage.clone())
}

fn points(storage: &Storage) -> Vec<(u32, &str)> {
    storage.mounts.iter().map(|mount| (mount.id, mount.point.as_str())).collect()
}

fn wait(sample: &Sample, tid: i32) -> Option<&Wait> {
    sample.tasks.iter().find(|task| task.id.tid == tid).and_then(|task| task.wait.as_deref())
}

fn file(path: &str, mount: Option<u32>) -> FileRef {
    FileRef { path: path.to_owned(), mount }
}

fn info(position: u64, flags: &str, mount: u32) -> String {
    format!("pos:\t{position}\nflags:\t{flags}\nmnt_id:\t{mount}\nino:\t7\n")
}

fn disks(proc: &FakeProc, names: &[&str]) {
    let line = |name: &&str| format!("   8 0 {name} 10 0 80 5 20 0 160 7 0 9 12 0 0 0 0\n");
    proc.file("diskstats", &names.iter().map(line).collect::<String>());
}

/// What `syscall` says of a task that reads from its descriptor 3.
fn reads_descriptor_3() -> String {
    format!("{} 0x3 0x0 0x0 0x0 0x0 0x0 0x7ffc0000a000 0x7f0000001000\n", Sysno::read.id())
}

#[test]
fn mounts_and_devices_come_once_and_again_when_they_changed() {
    let proc = FakeProc::new();
    proc.file("self/mountinfo", "1 1 0:1 / /not/this rw - tmpfs t rw\n");
    proc.file("1/mountinfo", &format!("{ROOT}nonsense\n{NAS}"));
    let sys = tempfile::tempdir().unwrap();
    let device = |place: &str, number: &str| {
        let dir = sys.path().join("devices").join(place);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("dev"), number).unwrap();
        fs::create_dir_all(sys.path().join("class/block")).unwrap();
        symlink(&dir, sys.path().join("class/block").join(dir.file_name().unwrap())).unwrap();
        dir
    };
    device("vda", "254:0\n");
    fs::write(device("vda/vda1", "254:1\n").join("partition"), "1\n").unwrap();
    let mut reader = Reader::new(ProcRoot::open(proc.path()).unwrap().with_sys(sys.path())).unwrap();
    assert_eq!(reader.sample().unwrap().storage, None, "the first sample does not wait for it");
    reader.settle(LONG);
    let first = reader.sample().unwrap().storage.expect("it was waited for");
    assert_eq!(points(&first), [(27, "/"), (99, "/mnt/my nas")]);
    let devices: Vec<_> = first.devices.iter().map(|device| (device.name.as_str(), device.below.join(" "))).collect();
    assert_eq!(devices, [("vda", String::new()), ("vda1", "vda".to_owned())]);
    reader.settle(LONG);
    assert_eq!(reader.sample().unwrap().storage, None, "once is enough");

    // A disk that shows up is a reason to look; what is as it was is not told again.
    disks(&proc, &["sda", "vdb"]);
    proc.file("1/mountinfo", ROOT);
    device("vdb", "254:16\n");
    let second = storage(&mut reader);
    assert_eq!(points(&second), [(27, "/")]);
    assert_eq!(second.devices.len(), 3);
    assert_eq!(second.mount(27), first.mount(27));
}

#[test]
fn a_tree_without_mounts_says_nothing() {
    let proc = FakeProc::new();
    let mut reader = reader(proc.path());
    for _ in 0..3 {
        let sample = reader.sample().unwrap();
        assert_eq!((sample.storage, sample.gaps), (None, vec![]));
        reader.settle(LONG);
    }
}

#[test]
fn thousands_of_mounts_are_cut_and_named() {
    let proc = FakeProc::new();
    let lines: Vec<String> = (0..4_097).map(|id| format!("{id} 1 0:5 / /{id} rw - tmpfs t rw\n")).collect();
    proc.file("1/mountinfo", &lines.concat());
    let mut reader = reader(proc.path());
    let (storage, gaps) = until(&mut reader, "storage", |sample| Some((sample.storage.clone()?, sample.gaps.clone())));
    assert_eq!(storage.mounts.len(), 4_096);
    let gap = Gap::Host { file: "1/mountinfo".to_owned(), why: "more than 4096 mounts: the others are left out".to_owned() };
    for gaps in [gaps, reader.sample().unwrap().gaps] {
        assert_eq!(gaps.as_slice(), std::slice::from_ref(&gap), "for as long as it is so");
    }
}

#[test]
fn a_mount_table_that_does_not_answer_is_a_gap_and_holds_nobody_up() {
    let proc = FakeProc::new();
    proc.file("1/mountinfo", "");
    proc.remove_file("1/mountinfo");
    let fifo = proc.path().join("1/mountinfo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Somebody has it open to write, so opening it to read does not wait; reading does.
    let mut writer = OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
    let mut reader = reader(proc.path());
    let mut slowest = 0;
    let why = until(&mut reader, "the gap", |sample| {
        slowest = sample.cost.sampling.max(slowest);
        assert_eq!(sample.storage, None);
        match sample.gaps.as_slice() {
            [Gap::Host { file, why }] if file == "1/mountinfo" => Some(why.clone()),
            _ => None,
        }
    });
    assert_eq!(why, "no answer within 2 s");
    assert!(slowest < 500_000_000, "a sample took {slowest} ns");

    writer.write_all(ROOT.as_bytes()).unwrap();
    drop(writer);
    let (storage, gaps) = until(&mut reader, "storage", |sample| Some((sample.storage.clone()?, sample.gaps.clone())));
    assert_eq!((points(&storage), gaps), (vec![(27, "/")], vec![]));
}

#[test]
fn a_stuck_task_has_the_file_of_its_call() {
    let proc = FakeProc::new();
    let call = |number: u32, args: [u64; 3]| {
        format!("{number} {:#x} {:#x} {:#x} 0x0 0x0 0x0 0x7ffc0000a000 0x7f0000001000\n", args[0], args[1], args[2])
    };
    let number = |call: Sysno| call.id() as u32;
    let stuck = |pid: i32, syscall: &str| {
        proc.process(pid, "x").state('D').wait("io_schedule", syscall).write();
        proc.descriptor(&pid.to_string(), 3, "/srv/www/a b", &info(0, "0100000", 27));
        proc.descriptor(&pid.to_string(), 4, "pipe:[4711]", &info(0, "01", 15));
        proc.descriptor(&pid.to_string(), 5, "/dev/nvidia0", &info(0, "02", 24));
    };
    let cases = [
        (10, call(number(Sysno::pread64), [3, 0, 0]), Some(file("/srv/www/a b", Some(27)))),
        (11, call(number(Sysno::read), [4, 0, 0]), Some(file("pipe:[4711]", None))),
        (12, call(number(Sysno::ioctl), [5, 0, 0]), Some(file("/dev/nvidia0", None))),
        (13, call(number(Sysno::sendfile), [4, 3, 0]), Some(file("/srv/www/a b", Some(27)))),
        (14, call(number(Sysno::sendfile), [3, 4, 0]), Some(file("/srv/www/a b", Some(27)))),
        (15, call(number(Sysno::splice), [4, 0, 4]), Some(file("pipe:[4711]", None))),
        // A directory's descriptor is not the file, and the path is in the task's memory.
        (16, call(number(Sysno::openat), [3, 0, 0]), None),
        (17, call(number(Sysno::fsync), [9, 0, 0]), None),
        (18, call(number(Sysno::fsync), [0xffff_ff9c, 0, 0]), None),
        (19, call(number(Sysno::write), [0xffff_ffff_0000_0003, 0, 0]), Some(file("/srv/www/a b", Some(27)))),
        (20, "-1 0x7f 0x8\n".to_owned(), None),
        (21, format!("{} 0x3\n", number(Sysno::read)), None),
    ];
    for (pid, syscall, _) in &cases {
        stuck(*pid, syscall);
    }
    // A thread may have descriptors of its own.
    proc.process(30, "x").thread(31, "x", 'D').wait("io_schedule", &call(number(Sysno::fsync), [3, 0, 0])).write();
    proc.descriptor("30", 3, "/not/this", &info(0, "0", 27));
    proc.descriptor("30/task/31", 3, "/but/this", &info(0, "0", 28));
    // A kernel thread is in no system call, whatever the file says.
    let kworker = proc.process(32, "kworker").flags(0x0020_0000).state('D');
    kworker.wait("io_schedule", &call(number(Sysno::read), [3, 0, 0])).write();
    proc.descriptor("32", 3, "/not/this", &info(0, "0", 27));

    let sample = reader(proc.path()).sample().unwrap();
    for (pid, syscall, expected) in cases {
        assert_eq!(wait(&sample, pid).unwrap().file, expected, "{syscall}");
    }
    assert_eq!(wait(&sample, 31).unwrap().file, Some(file("/but/this", Some(28))));
    assert_eq!(wait(&sample, 32).unwrap().file, None);
}

#[test]
fn a_mount_of_a_container_is_looked_for_in_its_namespace() {
    let proc = FakeProc::new();
    proc.file("1/mountinfo", ROOT);
    let overlay = "600 599 0:61 / / rw - overlay overlay rw,lowerdir=/l/A,upperdir=/var/lib/x/diff,workdir=/w\n";
    let line = |id: u32| format!("{id} 600 0:5 / /{id} rw - tmpfs t rw\n");
    for pid in [40, 41] {
        proc.process(pid, "php").state('D').wait("io_schedule", &reads_descriptor_3()).write();
        proc.descriptor(&pid.to_string(), 3, "/var/www/index.php", &info(0, "0100000", 600));
        proc.file(&format!("{pid}/mountinfo"), &format!("{overlay}{}{}", line(601), ROOT));
        proc.link(&format!("{pid}/ns/mnt"), "mnt:[4026532999]");
    }
    proc.process(42, "sh").state('D').wait("io_schedule", &reads_descriptor_3()).write();
    proc.descriptor("42", 3, "/lost", &info(0, "0100000", 700));
    let mut reader = reader(proc.path());
    let found =
        until(&mut reader, "the foreign mount", |sample| sample.storage.clone().filter(|storage| !storage.foreign.is_empty()));
    assert_eq!(points(&found), [(27, "/")], "its points are no points here");
    let foreign: Vec<_> = found.foreign.iter().map(|mount| (mount.id, mount.upper.as_deref())).collect();
    assert_eq!(foreign, [(600, Some("/var/lib/x/diff"))]);
    assert_eq!(found.mount(600).map(|mount| mount.kind.as_str()), Some("overlay"));
    assert_eq!(found.mount(700), None);

    // One that is not there either is looked for, and nothing new comes of it.
    proc.process(43, "php").state('D').wait("io_schedule", &reads_descriptor_3()).write();
    proc.descriptor("43", 3, "/var/www/gone", &info(0, "0100000", 701));
    proc.link("43/ns/mnt", "mnt:[4026532999]");
    proc.file("43/mountinfo", overlay);
    assert!(wait(&reader.sample().unwrap(), 43).is_some());
    reader.settle(LONG);
    assert_eq!(reader.sample().unwrap().storage, None);
}

/// A sample so many seconds after the first. Time comes from the tree.
fn at(proc: &FakeProc, reader: &mut Reader, seconds: f64) -> Vec<(ProcessId, Vec<OpenFile>)> {
    proc.file("uptime", &format!("{} 1.00\n", 86_400.0 + seconds));
    reader.sample().unwrap().open_files
}

fn pids(found: &[(ProcessId, Vec<OpenFile>)]) -> Vec<i32> {
    found.iter().map(|(id, _)| id.pid).collect()
}

#[test]
fn who_moves_much_is_looked_at() {
    let proc = FakeProc::new();
    disks(&proc, &["sda"]);
    let tar = proc.process(42, "tar").io(500, 0, 0, 0).write();
    proc.descriptor("42", 0, "/dev/null", &info(0, "0100000", 24));
    proc.descriptor("42", 1, "pipe:[4711]", &info(0, "01", 15));
    proc.descriptor("42", 2, "socket:[5]", &info(0, "02", 9));
    proc.descriptor("42", 3, "/srv/www/a", &info(4096, "0100000", 27));
    proc.descriptor("42", 4, "/backup/x.tar (deleted)", &info(512, "0102001", 28));
    proc.descriptor("42", 5, "/srv/www", &info(0, "0200000", 27));
    proc.descriptor("42", 6, "/dev/sda1", &info(1 << 40, "0100002", 24));
    proc.descriptor("42", 7, "anon_inode:[eventpoll]", &info(0, "02", 16));
    proc.descriptor("42", 8, "/memfd:x (deleted)", &info(0, "02", 1));
    proc.descriptor("42", 9, "/srv/by-path", &info(0, "010000000", 27));
    let mut reader = reader(proc.path());
    assert_eq!(at(&proc, &mut reader, 0.0), []);
    let tar = tar.ran(1).io(900_500, 0, 0, 0).write();
    assert_eq!(at(&proc, &mut reader, 1.0), [], "less than a megabyte a second");
    let tar = tar.ran(1).io(1_900_500, 0, 0, 0).write();
    let open = |fd, path: &str, mount, (reading, writing), position| OpenFile {
        fd,
        file: file(path, mount),
        reading,
        writing,
        position,
    };
    let expected = vec![
        open(1, "pipe:[4711]", None, (false, true), None),
        open(3, "/srv/www/a", Some(27), (true, false), Some(4096)),
        open(4, "/backup/x.tar (deleted)", Some(28), (false, true), Some(512)),
        open(6, "/dev/sda1", None, (true, true), Some(1 << 40)),
    ];
    assert_eq!(at(&proc, &mut reader, 2.0), [(tar.id(), expected)]);

    let tar = tar.ran(1).io(90_000_000, 0, 0, 0).write();
    assert_eq!(at(&proc, &mut reader, 4.0), [], "not again so soon");
    let tar = tar.ran(1).io(190_000_000, 0, 0, 0).write();
    proc.remove_file("42/fd");
    assert_eq!(at(&proc, &mut reader, 5.0), [], "not allowed to look");
    proc.descriptor("42", 2, "socket:[5]", &info(0, "02", 9));
    let tar = tar.ran(1).io(190_000_000, 0, 99_000_000, 0).write();
    assert_eq!(at(&proc, &mut reader, 8.0), [(tar.id(), vec![])], "it has no file, and that is known");
    // A counter that goes back moves nothing; time that stands still tells nothing.
    let tar = tar.ran(1).io(0, 0, 0, 0).write();
    assert_eq!(at(&proc, &mut reader, 20.0), []);
    tar.ran(1).io(900_000_000, 0, 0, 0).write();
    assert_eq!(at(&proc, &mut reader, 20.0), []);
}

#[test]
fn a_new_process_is_measured_by_its_age() {
    let proc = FakeProc::new();
    let start = |age: u64| (86_400 - age) * 100;
    let process = |pid: i32, age: u64, written: u64| {
        proc.process(pid, "x").start(start(age)).io(0, written, 0, 0).write();
        proc.descriptor(&pid.to_string(), 3, "/x", &info(0, "01", 27));
    };
    process(42, 100, 200_000_000);
    process(43, 1_000, 200_000_000);
    let mut reader = reader(proc.path());
    assert_eq!(pids(&at(&proc, &mut reader, 0.0)), [42], "in the first sample already");
    // A hundredth of a second is too short to tell.
    process(44, 0, 900_000);
    process(45, 0, 1_100_000);
    assert_eq!(pids(&at(&proc, &mut reader, 0.25)), [45]);
}

#[test]
fn the_ones_that_move_most_have_their_turn_first() {
    let proc = FakeProc::new();
    let process = |pid: i32, moved: u64| {
        let process = proc.process(pid, "x").io(0, 0, 0, moved);
        let process = if moved > 0 { process.start(u64::from(pid.unsigned_abs())).ran(moved) } else { process };
        process.write();
    };
    for pid in 50..60 {
        proc.process(pid, "x").start(pid.unsigned_abs().into()).write();
        proc.descriptor(&pid.to_string(), 3, "/x", &info(0, "01", 27));
    }
    let mut reader = reader(proc.path());
    assert_eq!(at(&proc, &mut reader, 0.0), []);
    let mut turns = Vec::new();
    for second in 1_u64..=4 {
        for pid in 50..60 {
            process(pid, second * 1_000_000 * u64::from((pid - 49).unsigned_abs()));
        }
        turns.push(pids(&at(&proc, &mut reader, second as f64)));
    }
    assert_eq!(turns, [vec![59, 58, 57, 56], vec![55, 54, 53, 52], vec![51, 50], vec![59, 58, 57, 56]]);
}

/// This program again, to be looked at. It ends with its test.
struct Actor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// Why it cannot play its role.
    excuse: Option<String>,
}

impl Actor {
    fn start(role: &str, path: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env("WHYTOP_STORAGE_PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut actor = Self { child, input, output, excuse: None };
        actor.excuse = actor.hear();
        actor
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits until it says that it is ready, or that it cannot be.
    fn hear(&mut self) -> Option<String> {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the actor ended");
        }
        line.trim_end().split_once("ready: ").map(|(_, why)| why.to_owned())
    }

    /// Tells it to go on, and does not wait for what comes of it.
    fn tell(&mut self) {
        self.input.write_all(b"go on\n").unwrap();
    }

    /// Stops it, and waits until each of its threads stands: until then the one that answers still does.
    fn stop(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
        await_true("the stop", || self.states().iter().all(|state| *state == 'T'));
    }

    /// Whether its test's thread sleeps where signals do not reach it.
    fn is_stuck(&self) -> bool {
        self.states().contains(&'D')
    }

    /// The state of each thread.
    fn states(&self) -> Vec<char> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        let stats = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        stats.filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next()).collect()
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn await_true(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < LONG, "{what} does not come");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// No test of its own: what the actors do.
#[test]
fn actor() {
    let Ok(role) = env::var(ROLE) else { return };
    let path = PathBuf::from(env::var_os("WHYTOP_STORAGE_PATH").unwrap());
    let go_on = || {
        println!("ready");
        assert!(std::io::stdin().read_line(&mut String::new()).unwrap() > 0);
    };
    let move_much = || {
        let mut zeros = vec![0; 1 << 20];
        let mut source = File::open("/dev/zero").unwrap();
        (0..64).for_each(|_| source.read_exact(&mut zeros).unwrap());
    };
    match role.as_str() {
        "fuse" => {
            let say = |mounted: Result<(), String>| match mounted {
                Ok(()) => println!("ready"),
                Err(why) => println!("ready: {why}"),
            };
            fuse::serve(&path, "fuse", say);
        }
        "write" => {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            go_on();
            file.write_all(&[1; 4096]).unwrap();
        }
        "read" => {
            let mut file = File::open(&path).unwrap();
            move_much();
            go_on();
            let _ = file.read(&mut vec![0; 1 << 20]);
        }
        // Behind more descriptors than one look takes.
        "many" => {
            let _many: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
            let _file = File::open(&path).unwrap();
            loop {
                move_much();
                go_on();
            }
        }
        other => panic!("no role is called {other}"),
    }
    go_on();
}

/// Runs a program; what it printed if it succeeded.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("{program}: {}", text(&output.stderr))) }
}

/// An ext4 filesystem in a file, by way of a loop device and, where there is a device mapper, a mapped one. All of it goes with this.
struct Image {
    folder: tempfile::TempDir,
    device: String,
    mapped: Option<String>,
    mounted: bool,
}

impl Image {
    fn new() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("not root".to_owned());
        }
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("my image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        let image = image.to_str().unwrap();
        run("mkfs.ext4", &["-q", "-F", image])?;
        let device = run("losetup", &["--find", "--show", image])?;
        Ok(Self { folder, device, mapped: None, mounted: false })
    }

    /// Puts a mapped device on top, if that can be had.
    fn map(&mut self) -> Result<(), String> {
        let name = format!("whytop-test-{}", std::process::id());
        let table = format!("0 {} linear {} 0", (32 << 20) / 512, self.device);
        run("dmsetup", &["create", &name, "--table", &table])?;
        self.mapped = Some(name);
        Ok(())
    }

    fn mount(&mut self) -> Result<(), String> {
        fs::create_dir(self.point()).unwrap();
        let device = self.mapped.as_ref().map_or(self.device.clone(), |name| format!("/dev/mapper/{name}"));
        run("mount", &[&device, self.point().to_str().unwrap()])?;
        self.mounted = true;
        fs::write(self.file(), vec![7; 1 << 20]).unwrap();
        Ok(())
    }

    fn point(&self) -> PathBuf {
        self.folder.path().join("mount point")
    }

    fn file(&self) -> PathBuf {
        self.point().join("a file")
    }

    fn freeze(&self) -> Result<Frozen, String> {
        run("fsfreeze", &["-f", self.point().to_str().unwrap()])?;
        Ok(Frozen(self.point()))
    }
}

/// Thaws the filesystem when it goes; it has to go before the writers are waited for.
struct Frozen(PathBuf);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = run("fsfreeze", &["-u", self.0.to_str().unwrap()]);
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run("umount", &["-l", self.point().to_str().unwrap()]);
        }
        if let Some(name) = &self.mapped {
            let _ = run("dmsetup", &["remove", "--retry", name]);
        }
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// What a test needs, or nothing and a word about why.
fn or_skip<T>(result: Result<T, String>) -> Option<T> {
    result.map_err(|why| println!("skipped: {why}")).ok()
}

#[test]
fn a_file_leads_through_the_loop_device_to_its_image() {
    let Some(mut image) = or_skip(Image::new()) else { return };
    let mut reader = live();
    let before = storage(&mut reader);
    // Without a device mapper the rest is still true.
    let _ = or_skip(image.map());
    let Some(()) = or_skip(image.mount()) else { return };
    let after = until(&mut reader, "the mount", |sample| {
        let storage = sample.storage.clone()?;
        storage.mounts.iter().any(|mount| Path::new(&mount.point) == image.point()).then_some(storage)
    });
    let mount = after.mounts.iter().find(|mount| Path::new(&mount.point) == image.point()).unwrap();
    assert!(before.mounts.iter().all(|before| before.point != mount.point));
    assert_eq!(mount.kind, "ext4");
    let mut device = after.devices.iter().find(|device| device.device == mount.device).expect("its device");
    if let Some(name) = &image.mapped {
        assert_eq!(device.mapped.as_deref(), Some(name.as_str()));
        assert_eq!(device.below.len(), 1);
        device = after.devices.iter().find(|below| below.name == device.below[0]).expect("what it is mapped to");
    }
    assert_eq!(image.device, format!("/dev/{}", device.name));
    assert_eq!(device.backing.as_deref(), image.folder.path().join("my image").to_str());
    let partitions =
        after.devices.iter().filter(|device| Path::new("/sys/class/block").join(&device.name).join("partition").exists());
    assert!(partitions.into_iter().all(|partition| partition.below.len() == 1));

    let actor = Actor::start("read", &image.file());
    let files = until(&mut reader, "the open file", |sample| {
        sample.open_files.iter().find(|(id, _)| id.pid == actor.pid()).map(|(_, files)| files.clone())
    });
    let open = files.iter().find(|open| Path::new(&open.file.path) == image.file()).expect("the file");
    assert_eq!((open.file.mount, open.reading, open.writing, open.position), (Some(mount.id), true, false, Some(0)));
    assert!(files.iter().all(|open| !open.file.path.starts_with("/dev/")), "{files:?}");
}

#[test]
fn many_descriptors_are_looked_at_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("the last one");
    fs::write(&path, "x").unwrap();
    let mut reader = live();
    let mut actor = Actor::start("many", &path);
    let pid = actor.pid();
    let mut looks = Vec::new();
    while looks.len() < 2 {
        actor.tell();
        actor.hear();
        let look = until(&mut reader, "a look", |sample| {
            Some(sample.open_files.iter().find(|(id, _)| id.pid == pid).map(|(_, files)| files.clone()))
        });
        let is_it = |open: &OpenFile| Path::new(&open.file.path) == path;
        looks.extend(look.map(|files| files.iter().any(is_it)));
        thread::park_timeout(Duration::from_millis(100));
    }
    assert_eq!(looks, [false, true]);
}

#[test]
fn a_writer_to_a_frozen_filesystem_is_named_with_its_file() {
    let Some(mut image) = or_skip(Image::new()) else { return };
    let Some(()) = or_skip(image.mount()) else { return };
    let mut readers = vec![live()];
    let root = ProcRoot::open(Path::new("/proc")).unwrap();
    let loader = Path::new(env!("CARGO_BIN_EXE_whytop"));
    let kernel = Reader::with_loader(root, Choice::Kernel, loader).map_err(|error| format!("no iterator: {error:#}"));
    readers.extend(or_skip(kernel));
    let storage = storage(&mut live());
    let mut actor = Actor::start("write", &image.file());
    let Some(frozen) = or_skip(image.freeze()) else { return };
    actor.tell();
    await_true("the stuck writer", || actor.is_stuck());
    for reader in &mut readers {
        let (wait, sampling) = until(reader, "the wait", |sample| {
            let stuck = |task: &&whytop::sample::Task| task.pid == actor.pid() && task.state == TaskState::Uninterruptible;
            let wait = sample.tasks.iter().find(stuck)?.wait.clone()?;
            Some((wait, sample.cost.sampling))
        });
        let mount = storage.mounts.iter().find(|mount| Path::new(&mount.point) == image.point()).expect("the mount");
        assert_eq!(wait.file, Some(file(image.file().to_str().unwrap(), Some(mount.id))), "{wait:?}");
        assert!(sampling < 1_000_000_000, "the sample took {sampling} ns");
    }
    drop(frozen);
    actor.hear();
}

/// They end in this order: what waits for the daemon takes no signal.
struct Scene {
    daemon: Actor,
    reader: Actor,
}

#[test]
fn a_silent_fuse_daemon_holds_up_nobody_who_looks() {
    if !geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path().join("point");
    fs::create_dir(&point).unwrap();
    let mounted = fuse::Point(point.clone());
    let daemon = Actor::start("fuse", &point);
    if let Some(why) = &daemon.excuse {
        println!("skipped: {why}");
        return;
    }
    let path = point.join("file");
    let mut scene = Scene { daemon, reader: Actor::start("read", &path) };
    scene.daemon.stop();
    scene.reader.tell();
    let begin = Instant::now();
    let pid = scene.reader.pid();
    let mut reader = live();
    let files = until(&mut reader, "the open file", |sample| {
        sample.open_files.iter().find(|(id, _)| id.pid == pid).map(|(_, files)| files.clone())
    });
    assert!(begin.elapsed() < Duration::from_secs(3));
    let open = files.iter().find(|open| Path::new(&open.file.path) == path).expect("the file");
    let id = open.file.mount.expect("its mount");
    let mount = until(&mut reader, "the mount", |sample| sample.storage.as_ref().and_then(|storage| storage.mount(id).cloned()));
    assert_eq!((Path::new(&mount.point), mount.kind.as_str(), mount.device.0), (point.as_path(), "fuse", 0));
    drop(scene);
    drop(mounted);
}
