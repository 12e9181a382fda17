//! A made-up proc tree in a temporary directory, to be changed between two samples.
//!
//! ```ignore
//! let proc = FakeProc::new();
//! let backup = proc.process(42, "backup").parent(1).state('D').schedstat(5, 6, 7).cmdline(&["tar", "cf"]).write();
//! backup.state('S').ran(1_000_000).write();
//! proc.remove(42);
//! ```
//!
//! A process comes with all its files but `wchan`, `syscall`, `stack` and `sched`, which are written when given. Each start time is new
//! unless one is given, and so are the slices in `schedstat`, so a number used twice makes two processes.

#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::expect_used, reason = "tests fail by panicking")]

use std::{
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use whytop::units::ProcessId;

/// The tree. Its directory goes when it does.
pub struct FakeProc {
    dir: TempDir,
    starts: Cell<u64>,
}

/// A process to be written, or one that was and is to be changed: all setters, then [`FakeProcess::write`].
#[derive(Clone)]
pub struct FakeProcess {
    dir: PathBuf,
    main: FakeTask,
    threads: Vec<FakeTask>,
    parent: i32,
    group: Option<i32>,
    session: Option<i32>,
    tty: i32,
    flags: u64,
    nice: i32,
    io: Option<[u64; 4]>,
    cmdline: Vec<u8>,
    cgroup: String,
    uid: u32,
    wait: Option<(String, String)>,
    stack: Option<String>,
}

#[derive(Clone)]
struct FakeTask {
    tid: i32,
    comm: Vec<u8>,
    state: char,
    ticks: (u64, u64),
    schedstat: Option<(u64, u64, u64)>,
    start: u64,
    last_ran: Option<(u32, String)>,
}

impl FakeProc {
    /// A host of two CPUs, up for a day, without any process.
    pub fn new() -> Self {
        let proc = Self { dir: tempfile::tempdir().expect("a temporary directory"), starts: Cell::new(1000) };
        let cpu = "100 0 50 1000 20 0 0 0 0 0";
        proc.file("stat", &format!("cpu  {cpu}\ncpu0 {cpu}\ncpu1 {cpu}\nintr 1\nprocs_running 1\n"));
        proc.file("loadavg", "0.52 0.41 0.33 1/200 4711\n");
        proc.file("uptime", "86400.00 172000.00\n");
        let memory = ["MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive"];
        let more = ["SwapTotal", "SwapFree", "Dirty", "Writeback", "Mapped", "Slab", "Committed_AS"];
        let vmalloc = ["VmallocTotal", "VmallocUsed", "VmallocChunk"];
        let lines = memory.iter().chain(&more).chain(&vmalloc).map(|name| format!("{name}:  1000 kB\n"));
        proc.file("meminfo", &lines.collect::<String>());
        let line = |number: u32, name: &str| format!("   8 {number} {name} 10 0 80 5 20 0 160 7 0 9 12 0 0 0 0\n");
        proc.file("diskstats", &(line(0, "sda") + &line(1, "sda1") + "   7 0 loop0 0 0 0 0 0 0 0 0 0 0 0\n"));
        let pressure = "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n";
        for name in ["cpu", "io", "memory"] {
            proc.file(&format!("pressure/{name}"), pressure);
        }
        proc
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file, directories and all.
    pub fn file(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("create a directory");
        fs::write(path, text).expect("write a file");
    }

    /// Removes a file or directory, with all there is in it.
    pub fn remove_file(&self, name: &str) {
        let path = self.path().join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("remove a file");
    }

    /// Begins a process: asleep, of root, child of process 1, with the name as its command line.
    pub fn process(&self, pid: i32, comm: &str) -> FakeProcess {
        self.process_of_bytes(pid, comm.as_bytes())
    }

    /// The same, for a name that is no UTF-8.
    pub fn process_of_bytes(&self, pid: i32, comm: &[u8]) -> FakeProcess {
        let start = self.starts.replace(self.starts.get() + 1);
        let main = FakeTask::new(pid, comm, 'S', start);
        FakeProcess {
            dir: self.path().join(pid.to_string()),
            main,
            threads: Vec::new(),
            parent: i32::from(pid != 1),
            group: None,
            session: None,
            tty: 0,
            flags: 0x0040_0000,
            nice: 0,
            io: Some([0; 4]),
            cmdline: [comm, b"\0"].concat(),
            cgroup: "0::/\n".to_owned(),
            uid: 0,
            wait: None,
            stack: None,
        }
    }

    /// An open file of a process (`42`) or a thread (`42/task/43`), with the lines of its `fdinfo`.
    pub fn descriptor(&self, holder: &str, fd: u32, target: &str, info: &str) {
        self.file(&format!("{holder}/fdinfo/{fd}"), info);
        self.link(&format!("{holder}/fd/{fd}"), target);
    }

    /// A symbolic link, over what was there.
    pub fn link(&self, name: &str, target: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("create a directory");
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(target, path).expect("make a link");
    }

    /// The process ends and is reaped.
    pub fn remove(&self, pid: i32) {
        self.remove_file(&pid.to_string());
    }
}

impl Default for FakeProc {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeTask {
    fn new(tid: i32, comm: &[u8], state: char, start: u64) -> Self {
        Self { tid, comm: comm.to_owned(), state, ticks: (0, 0), schedstat: Some((0, 0, start)), start, last_ran: None }
    }

    fn write(&self, dir: &Path, process: &FakeProcess, threads: usize) {
        let FakeProcess { parent, tty, flags, nice, .. } = process;
        let pid = process.main.tid;
        let group = process.group.unwrap_or(pid);
        let session = process.session.unwrap_or(pid);
        let (user, system) = self.ticks;
        let Self { tid, state, start, .. } = self;
        let tail = format!(
            ") {state} {parent} {group} {session} {tty} -1 {flags} 0 0 0 0 {user} {system} 0 0 20 {nice} {threads} 0 {start} 0 0"
        );
        let tail = match &self.last_ran {
            Some((cpu, _)) => format!("{tail} 0 0 0 0 0 0 0 0 0 0 0 0 0 17 {cpu} 0\n"),
            None => tail + "\n",
        };
        let stat = [format!("{tid} (").as_bytes(), &self.comm, tail.as_bytes()].concat();
        fs::create_dir_all(dir).expect("create a directory");
        if let Some((_, clock)) = &self.last_ran {
            fs::write(dir.join("sched"), format!("x (1, #threads: 1)\nse.exec_start   :   {clock}\n")).expect("write sched");
        }
        fs::write(dir.join("stat"), stat).expect("write stat");
        match self.schedstat {
            Some((run, delay, slices)) => {
                fs::write(dir.join("schedstat"), format!("{run} {delay} {slices}\n")).expect("write schedstat");
            }
            None => drop(fs::remove_file(dir.join("schedstat"))),
        }
    }
}

impl FakeProcess {
    /// The process number.
    pub fn pid(&self) -> i32 {
        self.main.tid
    }

    /// Number and start, as samples have them.
    pub fn id(&self) -> ProcessId {
        ProcessId { pid: self.main.tid, start: self.main.start }
    }

    /// Another name, as after an exec.
    pub fn comm(mut self, comm: &str) -> Self {
        comm.as_bytes().clone_into(&mut self.main.comm);
        self
    }

    /// Another parent.
    pub fn parent(mut self, parent: i32) -> Self {
        self.parent = parent;
        self
    }

    /// Process group and session; its own number unless given.
    pub fn group(mut self, group: i32, session: i32) -> Self {
        self.group = Some(group);
        self.session = Some(session);
        self
    }

    /// The controlling terminal's device number.
    pub fn tty(mut self, tty: i32) -> Self {
        self.tty = tty;
        self
    }

    /// The state letter of the first thread.
    pub fn state(mut self, state: char) -> Self {
        self.main.state = state;
        self
    }

    /// User and system time.
    pub fn cpu_ticks(mut self, user: u64, system: u64) -> Self {
        self.main.ticks = (user, system);
        self
    }

    /// Run time, run delay and slices of the first thread.
    pub fn schedstat(mut self, run: u64, delay: u64, slices: u64) -> Self {
        self.main.schedstat = Some((run, delay, slices));
        self
    }

    /// As on a kernel without it; for the threads there are, too.
    pub fn no_schedstat(mut self) -> Self {
        for task in self.threads.iter_mut().chain([&mut self.main]) {
            task.schedstat = None;
        }
        self
    }

    /// The first thread ran for so long, in one slice.
    pub fn ran(mut self, nanos: u64) -> Self {
        let (run, delay, slices) = self.main.schedstat.unwrap_or_default();
        self.main.schedstat = Some((run + nanos, delay, slices + 1));
        self
    }

    /// When it started, in clock ticks since boot.
    pub fn start(mut self, start: u64) -> Self {
        self.main.start = start;
        self
    }

    /// Niceness.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = nice;
        self
    }

    /// `PF_` flags, as in include/linux/sched.h: 0x40 forked only, 0x200000 kernel thread.
    pub fn flags(mut self, flags: u64) -> Self {
        self.flags = flags;
        self
    }

    /// What it moves cannot be seen.
    pub fn no_io(mut self) -> Self {
        self.io = None;
        self
    }

    /// Bytes from and to disks, and bytes through read(2) and write(2).
    pub fn io(mut self, read: u64, written: u64, read_any: u64, written_any: u64) -> Self {
        self.io = Some([read, written, read_any, written_any]);
        self
    }

    /// Arguments.
    pub fn cmdline(mut self, argv: &[&str]) -> Self {
        self.cmdline = argv.iter().flat_map(|argument| argument.bytes().chain([0])).collect();
        self
    }

    /// Lines of `cgroup`.
    pub fn cgroup(mut self, lines: &str) -> Self {
        self.cgroup = format!("{}\n", lines.trim_end());
        self
    }

    /// Effective user.
    pub fn uid(mut self, uid: u32) -> Self {
        self.uid = uid;
        self
    }

    /// What `wchan` and `syscall` say, of the process and of its threads.
    pub fn wait(mut self, wchan: &str, syscall: &str) -> Self {
        self.wait = Some((wchan.to_owned(), syscall.to_owned()));
        self
    }

    /// What `stack` says, of the process and of its threads.
    pub fn stack(mut self, stack: &str) -> Self {
        self.stack = Some(stack.to_owned());
        self
    }

    /// The CPU that the first thread ran on last, and that one's clock then, in milliseconds.
    pub fn last_ran(mut self, cpu: u32, clock: &str) -> Self {
        self.main.last_ran = Some((cpu, clock.to_owned()));
        self
    }

    /// Another thread, or what became of it; it started with the process.
    pub fn thread(mut self, tid: i32, comm: &str, state: char) -> Self {
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.tid == tid) {
            thread.state = state;
            return self;
        }
        let mut thread = FakeTask::new(tid, comm.as_bytes(), state, self.main.start);
        thread.schedstat = self.main.schedstat.map(|_| (0, 0, tid.unsigned_abs().into()));
        self.threads.push(thread);
        self
    }

    /// That thread ran for so long, in one slice.
    pub fn thread_ran(mut self, tid: i32, nanos: u64) -> Self {
        for thread in self.threads.iter_mut().filter(|thread| thread.tid == tid) {
            let (run, delay, slices) = thread.schedstat.unwrap_or_default();
            thread.schedstat = Some((run + nanos, delay, slices + 1));
        }
        self
    }

    /// That thread's own user and system time.
    pub fn thread_ticks(mut self, tid: i32, user: u64, system: u64) -> Self {
        for thread in self.threads.iter_mut().filter(|thread| thread.tid == tid) {
            thread.ticks = (user, system);
        }
        self
    }

    /// That thread ended.
    pub fn without_thread(mut self, tid: i32) -> Self {
        self.threads.retain(|thread| thread.tid != tid);
        self
    }

    /// Writes it as it is now, over what was there; gives it back for the next change.
    pub fn write(self) -> Self {
        let tasks: Vec<&FakeTask> = [&self.main].into_iter().chain(&self.threads).collect();
        let task_dir = self.dir.join("task");
        let _ = fs::remove_dir_all(&task_dir);
        for task in &tasks {
            let dir = task_dir.join(task.tid.to_string());
            task.write(&dir, &self, tasks.len());
            self.write_wait(&dir);
        }
        // In `PID/stat` the times are those of all threads.
        let sum = |part: fn(&FakeTask) -> u64| tasks.iter().map(|task| part(task)).sum();
        let whole = FakeTask { ticks: (sum(|task| task.ticks.0), sum(|task| task.ticks.1)), ..self.main.clone() };
        whole.write(&self.dir, &self, tasks.len());
        self.write_wait(&self.dir);
        let file = |name: &str, text: &[u8]| fs::write(self.dir.join(name), text).expect("write a file");
        // A test may have put something in place of the command line that must not be opened.
        if fs::symlink_metadata(self.dir.join("cmdline")).map_or(true, |there| there.is_file()) {
            file("cmdline", &self.cmdline);
        }
        file("cgroup", self.cgroup.as_bytes());
        let uid = self.uid;
        file("status", format!("Name:\tx\nTgid:\t{}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n", self.main.tid).as_bytes());
        if let Some([read, written, read_any, written_any]) = self.io {
            let text = format!(
                "rchar: {read_any}\nwchar: {written_any}\nsyscr: 0\nsyscw: 0\nread_bytes: {read}\nwrite_bytes: {written}\n\
                 cancelled_write_bytes: 0\n"
            );
            file("io", text.as_bytes());
        }
        self
    }

    fn write_wait(&self, dir: &Path) {
        if let Some((wchan, syscall)) = &self.wait {
            fs::write(dir.join("wchan"), wchan).expect("write wchan");
            fs::write(dir.join("syscall"), syscall).expect("write syscall");
        }
        if let Some(stack) = &self.stack {
            fs::write(dir.join("stack"), stack).expect("write stack");
        }
    }
}
