//! The two tiers against each other, task by task, on this very host: what `/proc` says before and after is what the kernel's
//! iterator says in between. Where the iterator cannot be had, the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    collections::HashMap,
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::{PoisonError, RwLock},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use whytop::{
    kernel::{Choice, ProcRoot, Reader},
    sample::{GoneTask, IoBytes, ProcReason, Process, Sample, Task, TaskState, Tier, Wait},
    units::{ProcessId, TaskId},
};

/// Longer than anything takes on a host that does other things beside.
const LONG: Duration = Duration::from_mins(1);
/// Set in the environment of a test that is run again to be looked at.
const ROLE: &str = "WHYTOP_TIERS_ROLE";
/// Stuck tasks of which each takes some 170 bytes of the 64 KiB that are read of them in one sample: not all of them are.
const MANY: usize = 500;
/// Held for writing by whoever makes more stuck tasks than are looked up for one picture, and for reading by whoever compares pictures.
static QUIET: RwLock<()> = RwLock::new(());
const HOSTILE: [&str; 4] = [") R 1 (", "a\nb\\c", "x) D 1 2 3", "\u{1b}]0;x\u{7}"];

fn root() -> ProcRoot {
    ProcRoot::open(Path::new("/proc")).unwrap()
}

/// Why the iterator cannot be had here, and not through our fault.
fn excuse() -> Option<String> {
    if !geteuid().is_root() {
        return Some("not root".to_owned());
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("this kernel carries no BTF".to_owned());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).unwrap();
    let may = |number: u32| capabilities & (1 << number) != 0;
    // CAP_SYS_ADMIN, or CAP_PERFMON and CAP_BPF.
    if !(may(21) || (may(38) && may(39))) {
        return Some("root without the right to load BPF".to_owned());
    }
    // The number of the first PID namespace is part of the kernel's interface (PROC_PID_INIT_INO).
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap();
    (namespace != Path::new("pid:[4026531836]")).then(|| "in a PID namespace".to_owned())
}

/// A reader of the kernel tier, or nothing and a word about why.
fn kernel() -> Option<Reader> {
    if let Some(excuse) = excuse() {
        println!("skipped: {excuse}");
        return None;
    }
    Some(Reader::with_loader(root(), Choice::Kernel, Path::new(env!("CARGO_BIN_EXE_whytop"))).unwrap())
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
        for GoneTask { pid, id } in &sample.gone_tasks {
            assert_eq!(self.tasks.remove(id).map(|task| task.pid), Some(*pid), "{id:?} is gone and was never there");
        }
        self.processes.extend(sample.processes.iter().map(|process| (process.id, process.clone())));
        self.tasks.extend(sample.tasks.iter().map(|task| (task.id, task.clone())));
        assert_eq!(self.tasks.len(), sample.cost.tasks as usize, "what was told is what there is");
    }

    fn of(reader: &mut Reader) -> Self {
        let mut picture = Self::default();
        picture.fold(&reader.sample().unwrap());
        picture
    }

    fn process(&self, pid: i32) -> &Process {
        self.processes.values().find(|process| process.id.pid == pid).unwrap_or_else(|| panic!("no process {pid}"))
    }

    fn task(&self, tid: i32) -> &Task {
        self.tasks.values().find(|task| task.id.tid == tid).unwrap_or_else(|| panic!("no task {tid}"))
    }
}

fn proc() -> Picture {
    Picture::of(&mut Reader::new(root()).unwrap())
}

/// What is as it was when `/proc` was read before and after must be so in between, and what grew must have grown no further.
/// Gives the number of tasks for which there was no doubt.
fn compare(before: &Picture, between: &Picture, after: &Picture) -> usize {
    let mut wrong = Vec::new();
    let mut certain = 0;
    let own = std::process::id().cast_signed();
    for (id, old) in &before.tasks {
        let Some(new) = after.tasks.get(id).filter(|task| task.pid != own && task.pid == old.pid) else { continue };
        let Some(task) = between.tasks.get(id) else {
            wrong.push(format!("{old:?} is missing"));
            continue;
        };
        // One that runs says that it sleeps while it gets ready to, and its time is not counted until it does: of one that was seen runnable
        // and is otherwise as it was, nothing is certain. A tier that says so of all leaves too few that are.
        let sleeps = [old, task].iter().all(|task| task.state != TaskState::Runnable);
        if old == new && sleeps {
            certain += 1;
            if task != old {
                wrong.push(format!("/proc says {old:?}\nkernel says {task:?}"));
            }
        } else if !(old.cpu..=new.cpu).contains(&task.cpu) || !(old.run_delay..=new.run_delay).contains(&task.run_delay) {
            wrong.push(format!("{task:?} is not between\n{old:?} and\n{new:?}"));
        }
    }
    for (id, old) in &before.processes {
        let Some(new) = after.processes.get(id).filter(|process| process.id.pid != own) else { continue };
        let Some(process) = between.processes.get(id) else {
            wrong.push(format!("{old:?} is missing"));
            continue;
        };
        let of = |picture: &Picture| -> HashMap<TaskId, Task> {
            picture.tasks.iter().filter(|(_, task)| task.pid == id.pid).map(|(id, task)| (*id, task.clone())).collect()
        };
        let still = old == new && of(before) == of(after);
        if still && process != old {
            wrong.push(format!("/proc says {old:?}\nkernel says {process:?}"));
        }
        if let (Some(least), Some(io), Some(most)) = (old.io, process.io, new.io)
            && !is_between(least, io, most)
        {
            wrong.push(format!("{io:?} of {old:?} is not between that and {most:?}"));
        }
        if old.io.is_some() != process.io.is_some() && new.io.is_some() == old.io.is_some() {
            wrong.push(format!("/proc says {old:?}\nkernel says {process:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    certain
}

fn is_between(least: IoBytes, io: IoBytes, most: IoBytes) -> bool {
    // Bytes written can become fewer: what is truncated before it reached the disk is taken off again.
    let all = |io: IoBytes| [io.read, io.read_any, io.written_any];
    all(least).iter().zip(all(io)).zip(all(most)).all(|((least, io), most)| (*least..=most).contains(&io))
}

/// One bracket.
fn bracket(picture: impl FnOnce() -> Picture) -> (usize, Picture) {
    let before = proc();
    let between = picture();
    (compare(&before, &between, &proc()), between)
}

/// This test program again, as somebody to look at. It and all below it end with it.
struct Actor {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Actor {
    fn start(role: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["actor", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut actor = Self { child, input, output };
        actor.hear();
        actor
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the word that it did what it was told.
    fn hear(&mut self) {
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the actor ended");
        }
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.input, "{word}").unwrap();
        self.hear();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

fn rest() -> ! {
    loop {
        thread::park();
    }
}

/// A parent waits in D for its child's exec, and this child never calls it.
fn get_stuck() {
    let flags = libc::CLONE_VFORK | libc::SIGCHLD;
    #[expect(unsafe_code, reason = "only the kernel can make a task wait like this")]
    // SAFETY: without CLONE_VM the child has its own copy of everything, and does nothing but wait for its end.
    unsafe {
        if libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) == 0 {
            loop {
                libc::pause();
            }
        }
    }
}

/// No test of its own: what the actors do.
#[test]
fn actor() {
    let Ok(role) = env::var(ROLE) else { return };
    match role.as_str() {
        "threads" => {
            for index in 0..20 {
                let worker = move || {
                    fs::write("/proc/thread-self/comm", HOSTILE[index % HOSTILE.len()]).unwrap();
                    rest()
                };
                thread::spawn(worker);
            }
        }
        "zombie" => {
            #[expect(clippy::zombie_processes, reason = "that is what it is for")]
            let child = Command::new("true").stdout(Stdio::null()).spawn().unwrap();
            while !fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ") {
                thread::yield_now();
            }
        }
        "stuck" => {
            println!("ready");
            get_stuck();
        }
        // More than the iterator's second program is asked for.
        "many" => {
            for _ in 0..MANY {
                thread::Builder::new().stack_size(64 * 1024).spawn(get_stuck).unwrap();
            }
        }
        // The first thread's name is the process's.
        _ => fs::write("/proc/self/comm", HOSTILE[role.parse::<usize>().unwrap()]).unwrap(),
    }
    println!("ready");
    let mut line = String::new();
    let mut scratch = None;
    while std::io::stdin().read_line(&mut line).unwrap() > 0 {
        match line.trim() {
            "thread" => drop(thread::spawn(rest)),
            // A thread that moves bytes and ends: what it moved stays with its process.
            "write" => thread::spawn(|| fs::write("/dev/null", vec![0; 12_345])).join().unwrap().unwrap(),
            "file" => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&vec![0; 100_000]).unwrap();
                scratch = Some(file);
            }
            "cancel" => drop(scratch.take().map(|file| file.set_len(0))),
            "fork" => drop(Command::new("sleep").arg("1000").stdout(Stdio::null()).spawn().unwrap()),
            "reap" => drop(Command::new("true").stdout(Stdio::null()).status().unwrap()),
            _ => {}
        }
        println!("ready");
        line.clear();
    }
}

#[test]
fn every_task_is_the_same_by_both_tiers() {
    let Some(mut reader) = kernel() else { return };
    let _quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let mut threads = Actor::start("threads");
    for word in ["write", "file", "cancel", "thread"] {
        threads.tell(word);
    }
    let zombie = Actor::start("zombie");
    let stuck: [Actor; 5] = std::array::from_fn(|_| Actor::start("stuck"));
    let stopped = Actor::start("0");
    kill_process(Pid::from_child(&stopped.child), Signal::STOP).unwrap();
    let hostile: Vec<Actor> = (0..HOSTILE.len()).map(|index| Actor::start(&index.to_string())).collect();
    // Everybody comes to rest: the second thread of each waits for a line, the first for the second.
    let begin = Instant::now();
    let is_settled = |picture: &Picture| {
        let states = |pid: i32| picture.tasks.values().filter(move |task| task.pid == pid).map(|task| task.state);
        stuck.iter().all(|stuck| states(stuck.pid()).any(|state| state == TaskState::Uninterruptible))
            && states(stopped.pid()).all(|state| state == TaskState::Stopped)
    };
    while !is_settled(&proc()) {
        assert!(begin.elapsed() < LONG, "the actors are not in place");
    }

    let (certain, picture) = bracket(|| Picture::of(&mut reader));
    assert!(certain > 40, "only {certain} of {} tasks slept", picture.tasks.len());
    // `compare` says that they are as in `/proc`; this says that they were there to be compared.
    assert_eq!(picture.tasks.values().filter(|task| task.pid == threads.pid()).count(), 23);
    assert!(picture.process(threads.pid()).io.unwrap().written_any > 112_345);
    assert!(picture.processes.values().any(|process| process.zombie && process.parent == zombie.pid()));
    for stuck in &stuck {
        let waits: Vec<&Wait> =
            picture.tasks.values().filter(|task| task.pid == stuck.pid()).filter_map(|task| task.wait.as_deref()).collect();
        let [Wait { wchan: Some(wchan), syscall, args: Some(args), stack: Some(frames), last_ran: Some(_), .. }] = waits[..]
        else {
            panic!("{waits:#?}");
        };
        let call = (i64::from(syscall.unwrap()), args[0]);
        assert_eq!(call, (libc::SYS_clone, (libc::CLONE_VFORK | libc::SIGCHLD).cast_unsigned().into()));
        // The wait channel leaves out inlined parts that the stack does not know either.
        assert!(frames.contains(wchan) && frames.len() > 2, "{wchan} in {frames:?}");
        assert!(frames.iter().all(|name| !name.contains(['+', ' ', '['])), "{frames:?}");
    }
    assert_eq!(picture.task(stopped.pid()).state, TaskState::Stopped);
    for (actor, name) in hostile.iter().zip(HOSTILE) {
        // Whether these are escaped depends on the kernel.
        let escaped = name.replace('\\', "\\\\").replace('\n', "\\n");
        assert!([name, &escaped].contains(&picture.process(actor.pid()).comm.as_str()));
    }
    assert!(picture.processes.values().any(|process| process.kernel_thread && process.comm.len() > 15));
}

/// Nanoseconds since which a task has been stuck, by what a sample says and what was said of it before.
fn stuck_for(sample: &Sample, picture: &Picture, pid: i32) -> Option<u64> {
    let wait = picture.tasks.values().find(|task| task.pid == pid && task.wait.is_some())?.wait.as_deref()?;
    let last_ran = wait.last_ran?;
    let newest = sample.clocks.iter().find(|clock| clock.cpu == last_ran.cpu)?;
    Some(newest.clock.checked_sub(last_ran.clock).expect("the newest is the newest"))
}

#[test]
fn since_when_a_task_is_stuck_can_be_told_by_both_tiers() {
    // Of its own children an ordinary user may see the clock, too.
    let readers = kernel().map(|kernel| (kernel, 0.5)).into_iter().chain([(Reader::new(root()).unwrap(), 1.0)]);
    let before = Instant::now();
    let actor = Actor::start("stuck");
    for (mut reader, slack) in readers {
        let mut picture = Picture::default();
        let begin = Instant::now();
        loop {
            let sample = reader.sample().unwrap();
            picture.fold(&sample);
            let most = before.elapsed().as_secs_f64();
            if let Some(stuck) = stuck_for(&sample, &picture, actor.pid()) {
                let stuck = stuck as f64 / 1e9;
                // What else runs on that CPU tells the time there, and interrupts are no part of it.
                assert!(stuck < most + 0.05, "stuck for {stuck} of {most} s");
                if stuck > 1.0 && stuck > begin.elapsed().as_secs_f64() - slack {
                    break;
                }
            }
            assert!(begin.elapsed() < LONG, "{:?} after {most} s", stuck_for(&sample, &picture, actor.pid()));
        }
    }
}

#[test]
fn of_more_stuck_tasks_than_are_read_at_once_each_gets_its_turn() {
    let Some(mut reader) = kernel() else { return };
    let _alone = QUIET.write().unwrap_or_else(PoisonError::into_inner);
    let actor = Actor::start("many");
    let begin = Instant::now();
    let mut picture = Picture::default();
    let known = |picture: &Picture| {
        let waits = picture.tasks.values().filter(|task| task.pid == actor.pid()).filter_map(|task| task.wait.as_deref());
        waits.filter(|wait| wait.wchan.is_some() && wait.syscall.is_some() && wait.stack.is_some()).count()
    };
    while known(&picture) < MANY {
        assert!(begin.elapsed() < LONG, "where {} of {MANY} are stuck is known", known(&picture));
        picture.fold(&reader.sample().unwrap());
    }
}

/// A folder that is removed with all that is left in it.
struct Group(std::path::PathBuf);

impl Group {
    fn new(mount: &str, name: &str) -> Self {
        let path = Path::new(mount).join(format!("whytop-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn take(&self, actor: &Actor) {
        fs::write(self.0.join("cgroup.procs"), actor.pid().to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn who_is_put_into_another_control_group_is_looked_at_again() {
    let Some(mut reader) = kernel() else { return };
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let path = words.next()?;
        (words.next()? == "cgroup2").then_some(path)
    });
    let Some(mount) = mount else {
        println!("skipped: no control groups of version 2 are mounted");
        return;
    };
    // Dropped in this order: a group with somebody in it cannot be removed.
    let groups = [Group::new(mount, "a"), Group::new(mount, "b")];
    let actor = Actor::start("0");
    groups[0].take(&actor);
    let in_group = |sample: &Sample, group: &Group| {
        let name = group.0.file_name().unwrap().to_str().unwrap();
        let identities = sample.identities.iter().filter(|(id, _)| id.pid == actor.pid());
        identities.filter_map(|(_, identity)| identity.cgroup.as_deref()).any(|path| path.ends_with(name))
    };
    for group in [&groups[0], &groups[1], &groups[0]] {
        group.take(&actor);
        // At once, although the last answer is younger than any is asked again without a reason.
        let begin = Instant::now();
        while !in_group(&reader.sample().unwrap(), group) {
            assert!(begin.elapsed() < Duration::from_secs(2), "it is not in {:?}", group.0);
            reader.settle(LONG);
        }
    }
    // Reads of an identity are answered by now, and nothing holds the groups.
    drop(actor);
}

#[test]
fn who_is_hidden_from_the_iterator_is_found_within_a_few_samples() {
    if let Some(excuse) = excuse() {
        println!("skipped: {excuse}");
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel/bpf/tasks.bpf.c");
    let source = fs::read_to_string(source).unwrap();
    let first = "\trecord.group = ";
    assert_eq!(source.matches(first).count(), 1);
    let hide = format!("\tif (task->comm[0] == 'H' && task->comm[1] == '1' && task->comm[2] == 'd')\n\t\treturn 0;\n{first}");
    let Some(object) = compile(&source.replace(first, &hide)) else { return };
    let mut reader = Reader::with_object(root(), &object).unwrap();
    let mut picture = Picture::default();
    let mut look = |picture: &mut Picture| picture.fold(&reader.sample().unwrap());
    for _ in 0..5 {
        look(&mut picture);
    }
    let mut child = Command::new("sh")
        .args(["-c", "printf H1dden > /proc/self/comm; echo ready; read x"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = child.id().cast_signed();
    let is_there = |picture: &Picture| picture.processes.values().any(|process| process.id.pid == pid);
    let mut samples = 0;
    while !is_there(&picture) {
        samples += 1;
        assert!(samples < 20, "it is not found");
        look(&mut picture);
    }
    assert_eq!(picture.process(pid).comm, "H1dden");
    drop(child.stdin.take());
    child.wait().unwrap();
    look(&mut picture);
    assert!(!is_there(&picture));
}

#[test]
fn the_iterator_is_loaded_here_where_nobody_else_can() {
    if let Some(excuse) = excuse() {
        println!("skipped: {excuse}");
        return;
    }
    for program in ["true", "false", "/no/such/program"] {
        let mut reader = Reader::with_loader(root(), Choice::Kernel, Path::new(program)).unwrap();
        assert_eq!(reader.sample().unwrap().cost.tier, Tier::Kernel);
    }
}

#[test]
fn the_loader_without_a_directory_says_so() {
    for nobody in [false, true] {
        let output = whytop(nobody, &["load-iterator"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        assert!(said.starts_with("whytop: ") && output.stdout.is_empty(), "{said}");
    }
    let help = String::from_utf8(whytop(false, &["--help"]).stdout).unwrap();
    assert!(help.contains("once") && !help.contains("load-iterator"), "{help}");
}

#[test]
fn changes_are_the_same_by_both_tiers() {
    let Some(mut reader) = kernel() else { return };
    let _quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let mut picture = Picture::of(&mut reader);
    let mut look = |actors: &[&Actor]| {
        let (certain, _) = bracket(|| {
            picture.fold(&reader.sample().unwrap());
            Picture { processes: picture.processes.clone(), tasks: picture.tasks.clone() }
        });
        assert!(certain > actors.len());
        actors.iter().map(|actor| picture.tasks.values().filter(|task| task.pid == actor.pid()).count()).collect::<Vec<_>>()
    };
    let mut one = Actor::start("0");
    let mut other = Actor::start("threads");
    assert_eq!(look(&[&one, &other]), [2, 22]);
    for _ in 0..10 {
        for word in ["thread", "write", "file", "fork"] {
            one.tell(word);
        }
        for word in ["write", "cancel", "reap", "thread"] {
            other.tell(word);
        }
        look(&[]);
        for word in ["cancel", "write", "reap"] {
            one.tell(word);
        }
        look(&[]);
    }
    assert_eq!(look(&[&one, &other]), [12, 32]);
    drop(other);
    assert_eq!(look(&[&one]), [12]);
    // Its children have another parent now.
    kill_process(Pid::from_child(&one.child), Signal::KILL).unwrap();
    one.child.wait().unwrap();
    assert_eq!(look(&[&one]), [0]);
}

#[test]
fn the_switch_to_the_kernel_breaks_nothing() {
    if let Some(excuse) = excuse() {
        println!("skipped: {excuse}");
        return;
    }
    let _quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let mut actor = Actor::start("threads");
    // So that the clocks are asked for.
    let _stuck = Actor::start("stuck");
    let mut reader = Reader::with_tier(root(), Choice::Auto).unwrap();
    let mut picture = Picture::default();
    let begin = Instant::now();
    let mut tiers = Vec::new();
    let mut awake = Vec::new();
    while awake.len() < 3 || awake.iter().all(Vec::is_empty) {
        assert!(begin.elapsed() < LONG, "it does not come: {:?} {awake:?}", tiers.last());
        actor.tell("thread");
        actor.tell("write");
        let before = Picture { processes: picture.processes.clone(), tasks: picture.tasks.clone() };
        let (_, _) = bracket(|| {
            let sample = reader.sample().unwrap();
            picture.fold(&sample);
            tiers.push(sample.cost.tier);
            awake.extend((sample.cost.tier == Tier::Kernel).then_some(sample.awake));
            Picture { processes: picture.processes.clone(), tasks: picture.tasks.clone() }
        });
        // Whoever computes rates from two samples in a row, one of each tier, gets no spike and nothing negative.
        for (id, task) in picture.tasks.iter().filter(|(_, task)| task.pid == actor.pid()) {
            let earlier = before.tasks.get(id).map_or(0, |task| task.cpu);
            assert!(task.cpu >= earlier && task.cpu - earlier < 1_000_000_000);
        }
        if let Some(earlier) = before.processes.values().find(|process| process.id.pid == actor.pid()) {
            let now = picture.process(actor.pid()).io.unwrap();
            assert!((12_345..100_000).contains(&(now.written_any - earlier.io.unwrap().written_any)));
        }
    }
    assert_eq!(tiers[0], Tier::Proc(ProcReason::Loading), "the first picture waits for nothing");
    assert!(tiers.is_sorted_by_key(|tier| *tier == Tier::Kernel));
    assert!(awake[0].is_empty(), "what the files did not tell need not be new");
}

/// The object of a source, or nothing and a word about why.
fn compile(source: &str) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["tasks.bpf.c", "tasks.bpf.o"].map(|name| dir.path().join(name));
    fs::write(&from, source).unwrap();
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpfel", "-c"]).arg(from).arg("-o").arg(&to);
    let Ok(output) = clang.output() else {
        println!("skipped: clang is not installed");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(fs::read(&to).unwrap())
}

#[test]
fn the_object_is_what_its_source_says() {
    let Some(mut committed) = kernel() else { return };
    let _quiet = QUIET.read().unwrap_or_else(PoisonError::into_inner);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernel/bpf/tasks.bpf.c");
    let Some(object) = compile(&fs::read_to_string(source).unwrap()) else { return };
    let _stuck = Actor::start("stuck");
    let mut compiled = Reader::with_object(root(), &object).unwrap();
    // The first picture of each, with all readers in place before: a moment later little slept through it.
    let mut again = kernel().unwrap();
    let before = Picture::of(&mut committed);
    let between = Picture::of(&mut compiled);
    let certain = compare(&before, &between, &Picture::of(&mut again));
    assert!(certain > 20, "only {certain} of {} tasks slept", between.tasks.len());
}

/// The binary, as this user or as nobody.
fn whytop(nobody: bool, arguments: &[&str]) -> Output {
    started_by(&[], nobody, arguments)
}

/// The same, started by another program.
fn started_by(starter: &[&str], nobody: bool, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("whytop");
    // What root built may lie where nobody else can look. Another process copies it: while this one had the copy open for writing, the
    // children that other tests start would have it open, too, and nobody could start it.
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_whytop")).arg(&program).status().unwrap().success());
    for path in [dir.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(starter.first().map_or(program.as_os_str(), OsStr::new));
    if !starter.is_empty() {
        command.args(&starter[1..]).arg(&program);
    }
    if nobody && geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command.args(arguments).current_dir("/").output().unwrap()
}

fn cost(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let document: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}; {}, and said {said:?}", output.status));
    document["cost"].clone()
}

#[test]
fn the_flag_decides() {
    let cost_of = |nobody, tier| cost(&whytop(nobody, &["once", "--json", "--tier", tier]));
    let asked = cost_of(false, "proc");
    assert_eq!((&asked["tier"], &asked["tier_reason"]), (&"proc".into(), &"asked for".into()));
    let ordinary = cost_of(true, "auto");
    assert_eq!(
        (&ordinary["tier"], &ordinary["tier_reason"]),
        (&"proc".into(), &"the task iterator needs root, or CAP_BPF and CAP_PERFMON".into())
    );

    let refused = whytop(true, &["once", "--tier", "kernel"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    let why = "whytop: --tier kernel: only root may load it, or whoever has CAP_BPF and CAP_PERFMON\n";
    assert_eq!((refused.status.code(), said.as_str()), (Some(2), why));
    assert!(refused.stdout.is_empty());
    let other = whytop(false, &["once", "--tier", "guess"]);
    assert_eq!(other.status.code(), Some(2));

    if let Some(excuse) = excuse() {
        println!("skipped: {excuse}");
        return;
    }
    let kernel = cost_of(false, "kernel");
    assert_eq!((&kernel["tier"], &kernel["tier_reason"]), (&"kernel".into(), &serde_json::Value::Null));
}

#[test]
fn two_capabilities_are_enough() {
    if let Some(excuse) = excuse().or_else(|| (!Path::new("/usr/bin/setpriv").exists()).then(|| "no setpriv".to_owned())) {
        println!("skipped: {excuse}");
        return;
    }
    let (user, rights) = (["--reuid=65534", "--regid=65534", "--clear-groups"], "+bpf,+perfmon");
    let rights = [format!("--inh-caps={rights}"), format!("--ambient-caps={rights}")];
    let starter = [&["/usr/bin/setpriv"][..], &user, &[&rights[0], &rights[1]]].concat();
    let cost = cost(&started_by(&starter, false, &["once", "--json", "--tier", "kernel"]));
    assert_eq!((&cost["tier"], &cost["tier_reason"]), (&"kernel".into(), &serde_json::Value::Null));
}

#[test]
fn the_proc_of_another_namespace_is_not_this_host_s() {
    let unshare = ["unshare", "--pid", "--fork"];
    if !Command::new(unshare[0]).args(&unshare[1..]).arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: no PID namespace can be made here");
        return;
    }
    let refused = started_by(&unshare, false, &["once", "--tier", "kernel"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(said, "whytop: --tier kernel: /proc is not the /proc of this host\n");
}
