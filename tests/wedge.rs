//! A process that blocks whoever looks at it: the screen goes on, keys work, and the process is named as what it is.
//!
//! As root with nothing made up: a loop filesystem is frozen under a process of two threads, of which one faults on a page of it and
//! the other unmaps that page, so that the process's `mmap_lock` is held for good. As anybody: a made-up proc tree in which command
//! lines are pipes that nobody writes. Has a main function of its own because the wedged process must do as it is told: this program
//! starts itself again with a role.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/fake_proc.rs"]
mod fake_proc;
#[path = "common/screen.rs"]
#[allow(dead_code, reason = "each test program uses a part of it")]
mod screen;

use std::collections::HashSet;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use fake_proc::{FakeProc, FakeProcess};
use libtest_mimic::{Arguments, Trial};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use screen::{PATIENCE, Terminal};
use serde_json::Value;
use whytop::analysis::diagnosis::{Resource, Severity, Verdict};
use whytop::history::Limits;
use whytop::kernel::{ProcRoot, Reader};
use whytop::monitor::Monitor;
use whytop::sample::{Gap, HostFacts, Sample};
use whytop::units::ProcessId;

const WHYTOP: &str = env!("CARGO_BIN_EXE_whytop");
/// `once` looks for a second; on a sick host it answers as on any other.
const ANSWER: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).is_some_and(|role| role == "role=wedge") {
        role::wedge(Path::new(&arguments[2]));
    }
    let trials = vec![
        test("a_real_wedge", a_real_wedge),
        test("a_pipe_for_a_command_line", a_pipe_for_a_command_line),
        test("newcomers_are_named_beside_thirty_stuck_in_a_lock", || newcomers_are_named(Sign::Lock)),
        test("newcomers_are_named_beside_thirty_stuck_somewhere", || newcomers_are_named(Sign::Hidden)),
        test("newcomers_are_named_beside_thirty_that_show_nothing", || newcomers_are_named(Sign::None)),
        test("a_suspect_that_goes_on_is_named", a_suspect_that_goes_on_is_named),
        test("suspects_that_wait_for_their_turn_hold_no_descriptor", suspects_that_wait_for_their_turn_hold_no_descriptor),
        test("who_waits_for_its_lock_waits_for_the_same", who_waits_for_its_lock_waits_for_the_same),
        test("a_process_that_blocks_its_observers_is_worth_a_look", a_process_that_blocks_its_observers_is_worth_a_look),
        test("own_readers_are_not_counted", own_readers_are_not_counted),
        test("memory_is_locked_and_the_priority_raised", memory_is_locked),
        test("a_list_of_users_that_does_not_come_costs_no_name_but_theirs", users_do_not_come),
        test("a_look_that_fails_is_not_the_last", a_look_that_fails_is_not_the_last),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that fails by panicking, as usual.
fn test(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

/// What one look of `whytop once --json` says, and how long it took.
fn once(arguments: &[&str]) -> (Value, Duration) {
    once_as(&mut Command::new(WHYTOP), arguments)
}

/// The same, started by this command.
fn once_as(command: &mut Command, arguments: &[&str]) -> (Value, Duration) {
    let start = Instant::now();
    let command = command.args(["once", "--json"]).args(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait_with_output()));
    let Ok(output) = ended.recv_timeout(PATIENCE) else {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("whytop once does not answer");
    };
    let output = output.unwrap();
    let took = start.elapsed();
    let answer = serde_json::from_slice(&output.stdout);
    (answer.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr))), took)
}

/// The answer, within the time that was promised: a machine that is busy with other tests takes its time without any wedge, too, so
/// it gets three times what it took before, and three tries.
fn once_in_time(arguments: &[&str], usual: Duration) -> Value {
    let promised = ANSWER.max(usual * 3);
    let mut took = Vec::new();
    for _ in 0..3 {
        let (answer, time) = once(arguments);
        if time < promised {
            return answer;
        }
        took.push(time);
    }
    panic!("{took:?} instead of {promised:?}")
}

/// The screen goes on and its keys work.
fn drive(terminal: &Terminal) {
    let clock = |screen: &vt100::Screen| screen.contents().lines().next().and_then(|line| line.trim_end().get(..).map(last_word));
    for _ in 0..2 {
        let before = std::cell::RefCell::new(None);
        terminal.wait("the clock moves", |screen| {
            let now = clock(screen);
            let mut before = before.borrow_mut();
            before.get_or_insert_with(|| now.clone()) != &now
        });
    }
    terminal.send("?");
    terminal.wait_for(&["KEYS AND WORDS"]);
    terminal.send("\x1b");
    // Two escapes in one piece would be another key.
    terminal
        .wait("the overview is back", |screen| screen.contents().contains("TAKES") && !screen.contents().contains("KEYS AND"));
    terminal.send("\x1b[B");
    terminal.wait_for(&["›"]);
    terminal.send("\r");
    terminal.wait_for(&["PROCESSES"]);
    terminal.send("\x1b");
    // A key right behind the escape would be another key, and the detail screen may have the word, too: IT TAKES THE CPU.
    terminal
        .wait("the overview is back", |screen| screen.contents().contains("TAKES") && !screen.contents().contains("PROCESSES"));
}

fn last_word(line: &str) -> String {
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// A frozen filesystem with a wedged process on it. Thaws, ends, unmounts, whatever happened in between.
struct Trouble {
    dir: tempfile::TempDir,
    mount: PathBuf,
    mounted: bool,
    frozen: bool,
    wedge: Option<Child>,
}

impl Trouble {
    /// Fails with the reason where this host does not allow it.
    fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root".into());
        }
        let dir = tempfile::tempdir().unwrap();
        let (disk, mount) = (dir.path().join("disk"), dir.path().join("mount"));
        File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        fs::create_dir(&mount).unwrap();
        let mut trouble = Self { dir, mount, mounted: false, frozen: false, wedge: None };
        tool("mkfs.ext4", &["-q".as_ref(), disk.as_ref()])?;
        tool("mount", &["-o".as_ref(), "loop".as_ref(), disk.as_ref(), trouble.mount.as_ref()])?;
        trouble.mounted = true;
        let file = trouble.mount.join("data");
        let wedge = Command::new(env::current_exe().unwrap())
            .arg("role=wedge")
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let wedge = trouble.wedge.insert(wedge);
        let mut said = BufReader::new(wedge.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "mapped");
        let mut go = wedge.stdin.take().unwrap();
        let pid = wedge.id();
        tool("fsfreeze", &["-f".as_ref(), trouble.mount.as_ref()])?;
        trouble.frozen = true;
        go.write_all(b"go\n").unwrap();
        let start = Instant::now();
        while stuck_tasks(pid) < 2 {
            assert!(start.elapsed() < PATIENCE, "both threads of {pid} get stuck");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(trouble)
    }

    fn pid(&self) -> u32 {
        self.wedge.as_ref().map(Child::id).unwrap()
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        if self.frozen {
            let _ = tool("fsfreeze", &["-u".as_ref(), self.mount.as_ref()]);
        }
        if let Some(mut wedge) = self.wedge.take() {
            let _ = wedge.kill();
            let _ = wedge.wait();
        }
        // Whatever has it open ends a moment later.
        let start = Instant::now();
        while self.mounted && tool("umount", &[self.mount.as_ref()]).is_err() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(50));
        }
        let _ = fs::remove_file(self.dir.path().join("disk"));
    }
}

fn tool(program: &str, arguments: &[&std::ffi::OsStr]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {complaint}")) }
}

/// Tasks of this process in state D.
fn stuck_tasks(pid: u32) -> usize {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let stat = |task: fs::DirEntry| fs::read_to_string(task.path().join("stat")).ok();
    tasks.flatten().filter_map(stat).filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D'))).count()
}

fn a_real_wedge() {
    let (_, usual) = once(&[]);
    let trouble = match Trouble::make() {
        Ok(trouble) => trouble,
        Err(why) => return println!("skipped: {why}"),
    };
    let pid = trouble.pid();
    let mut terminal = Terminal::start(Path::new(WHYTOP), &["--interval", "500ms"], 160, 40);
    terminal.wait_for(&[&format!("{pid} blocks whoever looks at it (mmap_lock held)"), "it waits for a frozen filesystem"]);
    drive(&terminal);
    terminal.send("q");
    assert!(terminal.end().success(), "a reader that is stuck keeps nobody from leaving");

    let answer = once_in_time(&[], usual);
    let wedged = answer["wedged"].as_array().unwrap();
    let found = wedged.iter().find(|wedged| wedged["pid"] == pid).unwrap_or_else(|| panic!("{pid} is not in {wedged:?}"));
    assert_eq!(found["meaning"], "waits for a frozen filesystem", "{found}");
    assert_eq!(found["wchan"], "percpu_rwsem_wait", "{found}");
    assert!(found["job"].is_string() && found["since_s"].as_f64().unwrap() > 0.0, "{found}");
    assert_eq!(answer["verdict"]["resource"], "frozen_filesystem", "{}", answer["verdict"]);
    // Whoever reads a command line of a wedged process waits in a read for its lock: that is whytop alone.
    let waits = answer["waits"].as_array().unwrap();
    let own: Vec<&Value> = waits.iter().filter(|wait| wait["job"] == found["job"] && wait["syscall"] == "read").collect();
    assert!(own.is_empty(), "whytop's own readers are counted: {own:?}");
}

/// Puts a pipe that nobody writes in place of a command line.
fn block(proc: &FakeProc, pid: i32) {
    let path = proc.path().join(format!("{pid}/cmdline"));
    fs::remove_file(&path).unwrap();
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

/// A worker that faults on a page of a frozen filesystem, while its second thread waits for the memory area.
fn wedged_worker(proc: &FakeProc) -> FakeProcess {
    let worker = proc
        .process(4711, "site-worker")
        .cgroup("0::/system.slice/site.service")
        .state('D')
        .thread(4712, "site-worker", 'D')
        .wait("percpu_rwsem_wait", "running")
        .write();
    proc.file("4711/task/4712/wchan", "__vma_start_write");
    block(proc, 4711);
    worker
}

fn a_pipe_for_a_command_line() {
    let proc = FakeProc::new();
    proc.process(1, "systemd").parent(0).write();
    proc.process(8, "tar").cmdline(&["tar", "cf", "/backup/srv.tar", "/srv"]).write();
    wedged_worker(&proc);
    let path = proc.path().to_str().unwrap();
    let mut terminal = Terminal::start(Path::new(WHYTOP), &["--proc", path, "--interval", "500ms"], 160, 40);
    let told = "site-worker 4711 blocks whoever looks at it (mmap_lock held); it waits for a frozen filesystem";
    terminal.wait_for(&[told, "ps, htop and top -c hang here"]);
    drive(&terminal);
    terminal.send("q");
    assert!(terminal.end().success());

    let answer = once_in_time(&["--proc", path], Duration::ZERO);
    let [wedged] = answer["wedged"].as_array().unwrap().as_slice() else { panic!("{}", answer["wedged"]) };
    assert_eq!((&wedged["pid"], &wedged["name"]), (&4711.into(), &"site-worker".into()));
    assert_eq!(wedged["job"], "unit:/system.slice/site.service");
    assert_eq!((&wedged["wchan"], &wedged["meaning"]), (&"percpu_rwsem_wait".into(), &"waits for a frozen filesystem".into()));
    assert_eq!(wedged["syscall"], Value::Null, "it faulted, which is no call");
    assert!((0.5..2.0).contains(&wedged["since_s"].as_f64().unwrap()), "{wedged}");
    assert_eq!(answer["verdict"]["resource"], "frozen_filesystem");
    assert!(answer["gaps"].to_string().contains("4711"), "{}", answer["gaps"]);
    let text = Command::new(WHYTOP).args(["once", "--proc", path]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(told), "{text}");
}

/// What thirty processes show whose command lines do not come.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    /// They wait for a lock.
    Lock,
    /// They are stuck, and this user may not see where.
    Hidden,
    /// Nothing: somebody else holds their lock.
    None,
}

fn reader(proc: &FakeProc) -> Reader {
    Reader::new(ProcRoot::open(proc.path()).unwrap()).unwrap()
}

/// The processes whose command lines came with this sample.
fn named(sample: &Sample) -> impl Iterator<Item = i32> {
    let came = sample.identities.iter().filter(|(_, identity)| !identity.argv.is_empty());
    came.map(|(id, _)| id.pid).collect::<Vec<_>>().into_iter()
}

fn overdue(sample: &Sample) -> (Vec<ProcessId>, u32) {
    let gap = sample.gaps.iter().find_map(|gap| match gap {
        Gap::IdentityOverdue { reads, behind } => Some((reads.iter().map(|read| read.id).collect(), *behind)),
        _ => None,
    });
    gap.unwrap_or_default()
}

/// Processes that start in the middle of a jam get their names, whatever the jam is made of: one may be the backup.
fn newcomers_are_named(sign: Sign) {
    let proc = FakeProc::new();
    for pid in 100..130 {
        // Of one program only where that is all there is to tell them by.
        let name = if sign == Sign::None { "site-worker".to_owned() } else { format!("worker-{pid}") };
        let process = proc.process(pid, &name);
        match sign {
            Sign::Lock => process.state('D').wait("rwsem_down_read_slowpath", "running"),
            Sign::Hidden => process.state('D').wait("0", ""),
            Sign::None => process,
        }
        .write();
        block(&proc, pid);
    }
    for pid in 200..300 {
        proc.process(pid, "fine").write();
    }
    let mut reader = reader(&proc);
    let start = Instant::now();
    let mut names: HashSet<i32> = HashSet::new();
    // Until the jam is complete: everybody is named, being looked at, or known to be left out.
    loop {
        let sample = reader.sample().unwrap();
        names.extend(named(&sample));
        let (stuck, behind) = overdue(&sample);
        if (200..300).all(|pid| names.contains(&pid)) && stuck.len() >= 6 && stuck.len() + behind as usize == 30 {
            assert!(stuck.len() <= 8, "threads are bounded: {stuck:?}");
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{} are named, {stuck:?} and {behind} more are stuck", names.len());
        reader.settle(Duration::from_millis(250));
    }
    // A backup that has just started and waits for the disk already, and another that does not.
    proc.process(500, "tar").cmdline(&["tar", "cf", "-", "/srv"]).state('D').wait("folio_wait_bit_common", "running").write();
    proc.process(501, "gzip").write();
    let wanted = if sign == Sign::Hidden { &[501][..] } else { &[500, 501] };
    let start = Instant::now();
    while !wanted.iter().all(|pid| names.contains(pid)) {
        assert!(start.elapsed() < Duration::from_secs(2), "no name after {:?}", start.elapsed());
        names.extend(named(&reader.sample().unwrap()));
        reader.settle(Duration::from_millis(100));
    }
}

/// Where nobody may see what it waits for, a process in D behind a jam is a suspect only as long as it is in D.
fn a_suspect_that_goes_on_is_named() {
    let proc = FakeProc::new();
    for pid in 100..130 {
        proc.process(pid, "site-worker").state('D').wait("0", "").write();
        block(&proc, pid);
    }
    let mut reader = reader(&proc);
    let start = Instant::now();
    while overdue(&reader.sample().unwrap()).0.len() < 6 {
        assert!(start.elapsed() < PATIENCE);
        reader.settle(Duration::from_millis(250));
    }
    let tar = proc.process(500, "tar").state('D').wait("0", "").write();
    assert!(named(&reader.sample().unwrap()).next().is_none());
    tar.state('S').ran(1_000_000).write();
    let start = Instant::now();
    while !named(&reader.sample().unwrap()).any(|pid| pid == 500) {
        assert!(start.elapsed() < Duration::from_secs(2));
        reader.settle(Duration::from_millis(100));
    }
}

/// Where descriptors are few they are needed for looking.
fn suspects_that_wait_for_their_turn_hold_no_descriptor() {
    let proc = FakeProc::new();
    for pid in 100..250 {
        proc.process(pid, "site-worker").state('D').wait("rwsem_down_read_slowpath", "running").write();
        block(&proc, pid);
    }
    let mut limited = Command::new("sh");
    let (answer, _) =
        once_as(limited.args(["-c", "ulimit -n 100 && exec \"$0\" \"$@\"", WHYTOP]), &["--proc", proc.path().to_str().unwrap()]);
    assert_eq!(answer["load"]["uninterruptible"], 150, "{answer}");
    assert!(answer["wedged"].as_array().is_some_and(|wedged| wedged.len() >= 6), "{}", answer["wedged"]);
}

/// whytop's own readers wait for the lock of what they look at, in state D: they are in no count.
fn own_readers_are_not_counted() {
    let proc = FakeProc::new();
    wedged_worker(&proc);
    let mut own = proc.process(77, "whytop").wait("rwsem_down_read_slowpath", &format!("{} 0x5", syscalls::Sysno::read.id()));
    for tid in 78..84 {
        own = own.thread(tid, "identity", 'D');
    }
    own.thread(90, "sampler", 'R').write();
    let mut reader = reader(&proc);
    let facts = HostFacts { own_pid: Some(77), ..reader.facts() };
    let mut monitor = Monitor::new(&facts, Limits::default());
    for _ in 0..3 {
        let diagnosis = monitor.ingest(reader.sample().unwrap());
        assert_eq!((diagnosis.load.runnable, diagnosis.load.uninterruptible), (0, 2));
        assert_eq!(diagnosis.waits.iter().map(|wait| wait.tasks).sum::<u32>(), 2, "{:?}", diagnosis.waits);
        let own = diagnosis.jobs.iter().find(|job| job.facts.members.iter().any(|member| member.id.pid == 77)).unwrap();
        assert_eq!((own.runnable, own.uninterruptible), (0, 0));
        assert!(own.usage.stuck.abs() < f64::EPSILON, "{:?}", own.usage);
    }
}

/// Tools that look at a wedged process wait for its lock: all of them wait for what it waits for.
fn who_waits_for_its_lock_waits_for_the_same() {
    let proc = FakeProc::new();
    wedged_worker(&proc);
    for pid in 600..620 {
        proc.process(pid, "ps")
            .state('D')
            .wait("rwsem_down_read_slowpath", &format!("{} 0x5", syscalls::Sysno::read.id()))
            .write();
    }
    let verdict = verdict(&proc);
    assert_eq!(
        (verdict.worst.severity, verdict.worst.resource),
        (Severity::Contention, Resource::FrozenFilesystem),
        "{verdict:?}"
    );
}

/// Somebody else holds the lock of a process that sleeps: nobody is stuck yet but whoever looks.
fn a_process_that_blocks_its_observers_is_worth_a_look() {
    let proc = FakeProc::new();
    proc.process(4711, "site-worker").write();
    block(&proc, 4711);
    let verdict = verdict(&proc);
    assert_eq!((verdict.worst.severity, verdict.worst.resource), (Severity::Watch, Resource::Lock), "{verdict:?}");
    assert_eq!(verdict.worst.headline, "site-worker 4711 blocks whoever looks at it");
}

/// What is said of the tree once a command line is overdue.
fn verdict(proc: &FakeProc) -> Verdict {
    let mut reader = reader(proc);
    let mut monitor = Monitor::new(&reader.facts(), Limits::default());
    let start = Instant::now();
    loop {
        let diagnosis = monitor.ingest(reader.sample().unwrap());
        if !diagnosis.wedged.is_empty() {
            return diagnosis.verdict;
        }
        assert!(start.elapsed() < PATIENCE);
        reader.settle(Duration::from_millis(250));
    }
}

/// A pipe in place of the list of users: everybody has his command line, users go by number, and a gap says why; when it comes at last they
/// have names.
fn users_do_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("passwd");
    mknodat(CWD, &list, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let script = "mount --make-rprivate / && mount --bind \"$0\" /etc/passwd && exec \"$@\"";
    let within = |program: &[&str]| -> Vec<String> {
        let first = ["--mount", "sh", "-c", script, list.to_str().unwrap()];
        first.iter().chain(program).map(|&word| word.to_owned()).collect()
    };
    if !Command::new("unshare").args(within(&["true"])).output().is_ok_and(|output| output.status.success()) {
        return println!("skipped: no file can be put in place of another here");
    }
    let proc = FakeProc::new();
    proc.process(1, "systemd").parent(0).uid(4242).write();
    proc.process(8, "tar").uid(4242).cmdline(&["tar", "cf", "/backup/srv.tar", "/srv"]).write();
    let path = proc.path().to_str().unwrap();
    let (_, usual) = once(&["--proc", path]);
    let (answer, took) = once_as(Command::new("unshare").args(within(&[WHYTOP])), &["--proc", path]);
    assert!(took < ANSWER.max(usual * 3), "{took:?}, and {usual:?} on any other day");
    assert!(answer["gaps"].to_string().contains("/etc/passwd: no answer"), "{}", answer["gaps"]);
    assert!(answer["jobs"].to_string().contains("it writes to a backup target: /backup/srv.tar"), "{}", answer["jobs"]);

    let arguments = within(&[WHYTOP, "--proc", path, "--interval", "250ms"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut terminal = Terminal::start(Path::new("unshare"), &arguments, 160, 40);
    terminal.wait_for(&["/etc/passwd: no answer"]);
    fs::write(&list, "root:x:0:0::/root:/bin/sh\nann:x:4242:4242::/home/ann:/bin/sh\n").unwrap();
    terminal.wait("the list has come", |screen| !screen.contents().contains("no answer"));
    terminal.send("\x1b[B");
    terminal.wait_for(&["›"]);
    terminal.send("\r");
    terminal.wait_for(&["PROCESSES", " ann "]);
    terminal.send("q");
    assert!(terminal.end().success());
}

/// Beside program and libraries a small host's data take 4 MB; stacks that are taken in whole 15 MB more.
const RESIDENT: u64 = 12_000;

/// `VmLck` and niceness of the running program, as root; without the right to more, the limit is kept and said.
fn memory_is_locked() {
    // A small tree, so that its own memory is small.
    let proc = FakeProc::new();
    proc.process(1, "init").write();
    let path = proc.path().to_str().unwrap();
    let mut terminal = Terminal::start(Path::new(WHYTOP), &["--proc", path], 80, 24);
    terminal.wait_for(&["TAKES"]);
    let status = fs::read_to_string(format!("/proc/{}/status", terminal.pid())).unwrap();
    let kilobytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    };
    let (locked, mapped) = (kilobytes("VmLck:"), kilobytes("VmSize:"));
    let resident = kilobytes("RssAnon:");
    let (answer, _) = once(&["--proc", path]);
    let gap = answer["gaps"].as_array().unwrap().iter().any(|gap| gap.as_str().unwrap().contains("locked in memory"));
    if gap {
        assert!(locked < mapped, "{locked} kB of {mapped} kB are locked, and a gap says otherwise");
    } else {
        assert!(locked + 1024 > mapped, "{locked} kB of {mapped} kB are locked, and no gap says so");
    }
    // What is reserved and not used (stacks, arenas) has not been taken in with it.
    assert!(resident < RESIDENT, "{resident} kB of {mapped} kB are resident beside the program");
    let stat = fs::read_to_string(format!("/proc/{}/stat", terminal.pid())).unwrap();
    let nice: i32 = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().parse().unwrap();
    let own: i32 = rustix::process::getpriority_process(None).unwrap();
    if rustix::process::geteuid().is_root() && rustix::process::setpriority_process(None, own).is_ok() {
        assert!(nice == -10 || own <= -10, "niceness {nice}");
    } else {
        println!("skipped in part: only root has the right to a higher priority");
    }
    terminal.send("q");
    assert!(terminal.end().success());
}

/// What this program does when it plays the wedged process.
#[allow(unsafe_code, reason = "shared mappings of a file have no safe wrapper here")]
mod role {
    use std::fs::{self, File};
    use std::io::stdin;
    use std::os::fd::AsRawFd;
    use std::path::Path;
    use std::process::exit;
    use std::thread;
    use std::time::Duration;

    const LENGTH: usize = 65536;

    /// Maps the file, and when told to go, writes to the mapping in one thread and unmaps it in the other.
    pub fn wedge(path: &Path) -> ! {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap();
        file.set_len(LENGTH as u64).unwrap();
        // SAFETY: a new mapping of a file that nobody shortens; it is unmapped once, below. The write that is under way then ends
        // with the process, which exits as soon as it is unmapped.
        let page = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), LENGTH, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(page, libc::MAP_FAILED);
        let address = page as usize;
        // SAFETY: within the mapping. Read first, so that the write faults for nothing but the right to write.
        unsafe { std::ptr::read_volatile(address as *const u8) };
        println!("mapped");
        stdin().read_line(&mut String::new()).unwrap();
        // SAFETY: within the mapping, which is there as long as this write is under way.
        let writer = thread::spawn(move || unsafe { std::ptr::write_volatile(address as *mut u8, 1) });
        while !others_are_stuck() && !writer.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        // SAFETY: unmaps what was mapped above.
        unsafe { libc::munmap(address as *mut libc::c_void, LENGTH) };
        exit(0);
    }

    fn others_are_stuck() -> bool {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        stats.into_iter().any(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D')))
    }
}

/// The host, or whytop, has no descriptor left for a while.
fn a_look_that_fails_is_not_the_last() {
    let terminal = Terminal::start(Path::new(WHYTOP), &["--tier", "proc", "--interval", "250ms"], 120, 30);
    terminal.wait_for(&["LOAD", "q quit"]);
    let pid = rustix::process::Pid::from_raw(terminal.pid());
    let limit = |limit| rustix::process::prlimit(pid, rustix::process::Resource::Nofile, limit).unwrap();
    let none = rustix::process::Rlimit {
        current: Some(1),
        maximum: rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum,
    };
    let before = limit(none);
    terminal.wait_for(&["no new samples: list processes in /proc: Too many open files"]);
    limit(before);
    terminal.wait("a new sample", |screen| !screen.contents().contains("no new samples"));
    terminal.send("q");
    let mut terminal = terminal;
    assert!(terminal.end().success());
}
