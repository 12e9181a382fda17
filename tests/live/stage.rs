//! The stage: the cast, the disks and control groups under them, and the trouble they are in. Whatever happens, it is cleared: the
//! trouble is taken back first, then the cast is ended, then the ground is taken away.

use std::any::Any;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::iter;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, RawPid, Signal, geteuid, kill_process_group};
use serde_json::Value;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

use super::actor::GROUPS;

/// How long anything may take on a machine that does other things beside.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// What is waited for is looked at this often.
const GLANCE: Duration = Duration::from_millis(10);
/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// Set by a signal that asks this program to end.
static ENDS: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whoever ends this program finds the host as it was: the signal fails the scene that stands, which is then cleared, and those to come.
pub fn clear_up_on_signals() {
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&ENDS)).unwrap();
    }
}

/// Fails once it was asked to end.
pub fn go_on() {
    assert!(!ENDS.load(Ordering::SeqCst), "asked to end");
}

/// A scene as it stands.
pub struct Stage {
    folder: TempDir,
    /// What is done to the ground under the cast; undone first, last one first.
    troubles: Vec<Box<dyn Any>>,
    cast: Vec<Player>,
    /// Disks and control groups; taken away last, last one first.
    ground: Vec<Box<dyn Any>>,
    /// Control groups that all who come on stage join.
    joined: Vec<PathBuf>,
    nobody: bool,
    watched: bool,
    watcher: Option<Watcher>,
    /// When the last of the cast began to act. `None`: nobody did.
    begun: Option<Instant>,
}

impl Stage {
    /// An empty one; `watched`: a whytop sees the trouble begin.
    pub fn new(watched: bool) -> Self {
        go_on();
        let folder = tempfile::tempdir().unwrap();
        // For those who are nobody.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            folder,
            troubles: Vec::new(),
            cast: Vec::new(),
            ground: Vec::new(),
            joined: Vec::new(),
            nobody: false,
            watched,
            watcher: None,
            begun: None,
        }
    }

    /// How long after the last of the cast began to act the one that watches said what is right, if it did, and what it said before.
    /// Where nobody acts: how long after it began to watch.
    pub fn noticed(&mut self, judge: impl Fn(&Value) -> Result<(), String>) -> (Option<Duration>, Vec<String>) {
        self.be_watched();
        let begun = self.begun;
        self.watcher.as_ref().map(|watcher| watcher.first(begun, judge)).unwrap_or_default()
    }

    /// Before anything happens, and when the stage is set: disks are there before the bad day.
    fn be_watched(&mut self) {
        if self.watched && self.watcher.is_none() {
            self.watcher = Some(Watcher::start(self));
        }
    }

    /// A path that is nobody else's.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The cast, and whytop, are nobody from now on.
    pub fn become_nobody(&mut self) -> Result<(), String> {
        needs_root()?;
        self.nobody = true;
        Ok(())
    }

    /// whytop, where everybody can reach it.
    pub fn whytop(&self) -> Command {
        let program = if self.nobody { self.linked("whytop", env!("CARGO_BIN_EXE_whytop").as_ref()) } else { WHYTOP.into() };
        self.user(Command::new(program))
    }

    fn user(&self, mut command: Command) -> Command {
        if self.nobody {
            // Root's other groups go with it.
            command.uid(NOBODY).gid(NOBODY).current_dir("/");
        }
        command
    }

    /// A program under another name.
    fn linked(&self, name: &str, program: &Path) -> PathBuf {
        let link = self.path(name);
        // A hundred megabytes: written only where nothing else is possible.
        if !link.exists() && fs::hard_link(program, &link).is_err() {
            fs::copy(program, &link).unwrap();
        }
        link
    }

    /// This program in a role, as a job of its own under this name; it is ready to act.
    pub fn play(&mut self, name: &str, role: &[&str]) -> Result<RawPid, String> {
        let joined = self.joined.clone();
        self.enter(name, role, &joined)
    }

    /// The same as a service: in a unit of its own, where there are control groups for that.
    pub fn serve(&mut self, name: &str, role: &[&str]) -> Result<RawPid, String> {
        let mut groups = self.joined.clone();
        if let Some(unified) = unified().filter(|_| geteuid().is_root() && !self.nobody) {
            let slice = self.group(unified.join(own_slice()))?;
            groups.push(self.group(slice.join(format!("{name}.service")))?);
        }
        self.enter(name, role, &groups)
    }

    /// A script with these lines, as cron would run it.
    pub fn script(&mut self, name: &str, lines: &str) -> Result<RawPid, String> {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.play("launcher", &["role=exec", path.to_str().unwrap()])
    }

    fn enter(&mut self, name: &str, role: &[&str], groups: &[PathBuf]) -> Result<RawPid, String> {
        let program = self.linked(name, &env::current_exe().unwrap());
        let mut command = self.user(Command::new(program));
        let child = command
            .args(role)
            .env(GROUPS, env::join_paths(groups).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let player = Player::new(child)?;
        let pid = player.pid();
        self.cast.push(player);
        Ok(pid)
    }

    /// Lets it begin to act.
    pub fn go(&mut self, pid: RawPid) {
        self.be_watched();
        let player = self.cast.iter_mut().find(|player| player.pid() == pid).unwrap();
        player.input.write_all(b"go\n").unwrap();
        self.begun = Some(Instant::now());
    }

    /// Puts up something that stands under the cast.
    pub fn ground(&mut self, thing: impl Any) {
        self.ground.push(Box::new(thing));
    }

    /// Makes trouble that ends with this.
    pub fn trouble(&mut self, thing: impl Any) {
        self.troubles.push(Box::new(thing));
    }

    /// The control group in which all who come on stage from now on share limits: `old` is the controller's name in version 1, `new`
    /// in version 2.
    pub fn limits(&mut self, old: &str, new: &str) -> Result<Limits, String> {
        self.limits_at(old, new, &[own_slice()])
    }

    /// The same for a service alone: where the service manager would have its limits.
    pub fn limits_of(&mut self, service: &str, old: &str, new: &str) -> Result<Limits, String> {
        self.limits_at(old, new, &[own_slice(), format!("{service}.service")])
    }

    /// The same, and the limits are those of the slice that the service is in.
    pub fn limits_above(&mut self, service: &str, old: &str, new: &str) -> Result<Limits, String> {
        let Limits { mut path, version } = self.limits_of(service, old, new)?;
        path.pop();
        Ok(Limits { path, version })
    }

    fn limits_at(&mut self, old: &str, new: &str, names: &[String]) -> Result<Limits, String> {
        let v1 = Path::new("/sys/fs/cgroup").join(old);
        let (mut path, version) = if v1.join("cgroup.procs").exists() {
            (v1, Version::One)
        } else {
            (unified().ok_or("there are no control groups")?.to_owned(), Version::Two)
        };
        for name in names {
            if matches!(version, Version::Two) {
                let handed_on = fs::write(path.join("cgroup.subtree_control"), format!("+{new}"));
                handed_on.map_err(|error| format!("hand on the controller for {new}: {error}"))?;
            }
            path = self.group(path.join(name))?;
        }
        self.joined.push(path.clone());
        Ok(Limits { path, version })
    }

    fn group(&mut self, path: PathBuf) -> Result<PathBuf, String> {
        if !path.exists() {
            fs::create_dir(&path).map_err(|error| format!("make a control group: {error}"))?;
            self.ground(Group(path.clone()));
        }
        Ok(path)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        while self.troubles.pop().is_some() {}
        // All of them before one is waited for: they may hold up each other.
        for player in &self.cast {
            player.kill();
        }
        self.cast.clear();
        while self.ground.pop().is_some() {}
    }
}

const WHYTOP: &str = env!("CARGO_BIN_EXE_whytop");

/// Fails with the reason as anybody else.
pub fn needs_root() -> Result<(), String> {
    if geteuid().is_root() { Ok(()) } else { Err("needs root".to_owned()) }
}

/// One of the cast, with all that descend from it.
struct Player {
    child: Child,
    input: ChildStdin,
}

impl Player {
    /// Waits until it is ready, or says why it cannot be.
    fn new(mut child: Child) -> Result<Self, String> {
        let input = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let player = Self { child, input };
        let said = lines.next().and_then(Result::ok).expect("a word of the actor");
        if said == "ready" { Ok(player) } else { Err(said) }
    }

    fn pid(&self) -> RawPid {
        self.child.id().cast_signed()
    }

    /// All of its session at once: none gets away by a fork.
    fn kill(&self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A control group, taken away when the last of its members is gone.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        retry(|| fs::remove_dir(&self.0).is_ok());
    }
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

/// What is limited of a disk.
#[derive(Clone, Copy)]
pub enum Way {
    Reads,
    Writes,
}

/// A control group that limits its members.
pub struct Limits {
    path: PathBuf,
    version: Version,
}

impl Limits {
    /// No more bytes a second from or to this device (`7:0`), until that ends.
    pub fn disk(&self, number: &str, way: Way, bytes: u64) -> Result<Limit, String> {
        let (file, set, unset) = match (self.version, way) {
            (Version::One, Way::Reads) => ("blkio.throttle.read_bps_device", bytes.to_string(), "0"),
            (Version::One, Way::Writes) => ("blkio.throttle.write_bps_device", bytes.to_string(), "0"),
            (Version::Two, Way::Reads) => ("io.max", format!("rbps={bytes}"), "rbps=max"),
            (Version::Two, Way::Writes) => ("io.max", format!("wbps={bytes}"), "wbps=max"),
        };
        Limit::set(self.path.join(file), &format!("{number} {set}"), format!("{number} {unset}"))
    }

    /// No more than this part of a CPU, until that ends.
    pub fn cpu(&self, part: f64) -> Result<Limit, String> {
        let quota = (part * 100_000.0) as u32;
        let (file, set, unset) = match self.version {
            Version::One => ("cpu.cfs_quota_us", quota.to_string(), "-1"),
            Version::Two => ("cpu.max", format!("{quota} 100000"), "max"),
        };
        Limit::set(self.path.join(file), &set, unset.to_owned())
    }

    /// No more memory than this, until that ends; nobody is killed for it.
    pub fn memory(&self, bytes: u64) -> Result<Limit, String> {
        let (file, unset) = match self.version {
            Version::One => {
                let killer = fs::write(self.path.join("memory.oom_control"), "1");
                killer.map_err(|error| format!("keep the out-of-memory killer away: {error}"))?;
                ("memory.limit_in_bytes", "-1")
            }
            Version::Two => ("memory.high", "max"),
        };
        Limit::set(self.path.join(file), &bytes.to_string(), unset.to_owned())
    }
}

/// A limit that is set; taken back with this, so that those whom it holds up can end.
pub struct Limit {
    file: PathBuf,
    unset: String,
}

impl Limit {
    /// No more bytes a second to this device, whoever writes them: in version 1 the kernel's own writers are in nobody's group but the
    /// root's. In version 2 whoever is at its limit of memory is held up without that.
    pub fn writes_of_all(number: &str, bytes: u64) -> Result<Option<Self>, String> {
        let file = Path::new("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device");
        let set = || Self::set(file.to_owned(), &format!("{number} {bytes}"), format!("{number} 0"));
        file.exists().then(set).transpose()
    }

    fn set(file: PathBuf, set: &str, unset: String) -> Result<Self, String> {
        fs::write(&file, set).map_err(|error| format!("set {}: {error}", file.display()))?;
        Ok(Self { file, unset })
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        let _ = fs::write(&self.file, &self.unset);
    }
}

/// Where control groups of version 2 are.
fn unified() -> Option<&'static Path> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    roots.into_iter().find(|root| root.join("cgroup.controllers").exists())
}

/// The control group that all of this is in.
pub fn own_slice() -> String {
    format!("whytop-live-{}.slice", std::process::id())
}

/// A whytop that runs as the screen does, and was there before the trouble.
struct Watcher {
    child: Child,
    started: Instant,
    /// What it said before anybody acted.
    early: Vec<(Instant, Value)>,
    answers: Receiver<(Instant, Value)>,
}

impl Watcher {
    /// Starts it and waits until it knows what moves.
    fn start(stage: &Stage) -> Self {
        let program = stage.linked("watcher", &env::current_exe().unwrap());
        let started = Instant::now();
        let mut child =
            stage.user(Command::new(program)).arg("role=watch").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (send, answers) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let answer = serde_json::from_str(&line).unwrap();
                if send.send((Instant::now(), answer)).is_err() {
                    break;
                }
            }
        });
        let early = (0..2).map(|_| answers.recv_timeout(PATIENCE).expect("the watcher watches")).collect();
        Self { child, started, early, answers }
    }

    /// How long after this instant, or else after it was started, the first answer came that is right (`None`: none did), and what was wrong with those before.
    fn first(&self, begun: Option<Instant>, judge: impl Fn(&Value) -> Result<(), String>) -> (Option<Duration>, Vec<String>) {
        let begun = begun.unwrap_or(self.started);
        let end = Instant::now() + PATIENCE;
        let later = iter::from_fn(|| self.answers.recv_timeout(end.saturating_duration_since(Instant::now())).ok());
        let mut wrong = Vec::new();
        for (at, answer) in self.early.iter().cloned().chain(later).filter(|(at, _)| *at > begun) {
            match judge(&answer) {
                Ok(()) => return (Some(at - begun), wrong),
                Err(why) => wrong.push(why),
            }
        }
        (None, wrong)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a program to its end. Its words, or its complaint.
pub fn tool(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(said(&output.stdout)) } else { Err(format!("{program}: {}", said(&output.stderr))) }
}

/// Tries again for as long as patience lasts; answers whether it worked.
pub fn retry(mut attempt: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if attempt() {
            return true;
        }
        if start.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(GLANCE);
    }
}

/// Waits until so many tasks of this process are in this state (as in `/proc/PID/stat`).
pub fn wait_for_tasks(pid: RawPid, state: char, least: usize) {
    let count = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let lines = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
        lines.filter(|line| line.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(state))).count()
    };
    assert!(retry(|| count() >= least), "{} tasks of {pid} are in state {state}, of {least}: {}", count(), places(pid));
}

/// Waits until this process holds so many bytes.
pub fn wait_for_memory(pid: RawPid, least: u64) {
    let held = || {
        let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or_default();
        pages * rustix::param::page_size() as u64
    };
    assert!(retry(|| held() >= least), "{pid} holds {} of {least}", held());
}

/// Where the tasks of a process are, for a message.
fn places(pid: RawPid) -> String {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.take(8).fold(String::new(), |mut said, task| {
        let wchan = fs::read_to_string(task.path().join("wchan")).unwrap_or_default();
        let _ = write!(said, "{wchan} ");
        said
    })
}
