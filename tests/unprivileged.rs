//! The same host seen by root and by nobody: real stuck tasks, a real backup, and the program itself run as both, side by side.
//! What may be read decides, so the verdict is the same; what may not be read is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::{
    env,
    fs::{self, File},
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
};

use rustix::process::{Pid, Signal, geteuid, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

/// Set in the environment of a test that is run again to play a part.
const ROLE: &str = "WHYTOP_UNPRIVILEGED_ROLE";
/// Stuck tasks: more than any disk of a test machine keeps waiting by itself.
const STUCK: usize = 16;
/// How often they may look, two seconds each.
const LOOKS: usize = 15;
/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// Processes of a test in a session of their own, as a service or a cron run has one; ended with it.
struct Actor {
    child: Child,
}

impl Actor {
    fn start(program: &Path, arguments: &[&str], role: &str) -> Self {
        let mut command = Command::new("setsid");
        command.arg(program).args(arguments).env(ROLE, role).current_dir(program.parent().unwrap());
        Self { child: command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap() }
    }

    /// This program again, under another name, which says when its part has begun.
    fn play(folder: &Path, name: &str, role: &str) -> Self {
        let program = folder.join(name);
        fs::copy(env::current_exe().unwrap(), &program).unwrap();
        let mut actor = Self::start(&program, &["actor", "--exact", "--nocapture", "--test-threads=1"], role);
        let mut lines = BufReader::new(actor.child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("ready")), "the actor ended");
        actor
    }

    /// A script with these lines.
    fn script(folder: &Path, name: &str, lines: &str) -> Self {
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self::start(&path, &[], "")
    }

    /// The job that it is.
    fn job<'a>(&self, seen: &'a Value) -> &'a Value {
        let is_root = |job: &&Value| job["root_pid"] == self.child.id();
        seen["jobs"].as_array().unwrap().iter().find(is_root).map_or(&Value::Null, |job| &job["id"])
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// No test of its own: what the actors do.
#[test]
fn actor() {
    match env::var(ROLE).as_deref() {
        Ok("stuck") => {
            for _ in 0..STUCK {
                thread::spawn(wait_for_a_child);
            }
            while tasks_in_d() < STUCK {
                thread::yield_now();
            }
            println!("ready");
            thread::park();
        }
        Ok("busy") => {
            println!("ready");
            for _ in 0..thread::available_parallelism().unwrap().get() {
                thread::spawn(|| {
                    loop {
                        std::hint::black_box(0);
                    }
                });
            }
            thread::park();
        }
        _ => {}
    }
}

/// A parent waits in D for its child's exec, and this child never calls it.
#[expect(unsafe_code, reason = "only the kernel can make a task wait like this")]
fn wait_for_a_child() {
    // SAFETY: without CLONE_VM the child has its own copy of everything, and does nothing but wait for its end.
    unsafe {
        if libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) == 0 {
            loop {
                libc::pause();
            }
        }
    }
}

fn tasks_in_d() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats.filter(|stat| stat.rsplit(')').next().unwrap().trim_start().starts_with('D')).count()
}

/// The program where everybody can reach it: what root built may lie where nobody else can look.
fn program() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("whytop");
    fs::copy(env!("CARGO_BIN_EXE_whytop"), &program).unwrap();
    for path in [folder.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (folder, program)
}

/// What root and nobody see, at the same time.
fn seen() -> [Value; 2] {
    let (_folder, program) = program();
    let start = |nobody: bool| {
        let mut command = Command::new(&program);
        command.args(["once", "--json"]).current_dir("/").stdout(Stdio::piped()).stderr(Stdio::piped());
        if nobody {
            // Root's other groups go with it.
            command.uid(NOBODY).gid(NOBODY);
        }
        command.spawn().unwrap()
    };
    [start(false), start(true)].map(|child| {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
    })
}

/// Whether a verdict accuses the backup on behalf of the victim.
fn accuses(seen: &Value, resource: &str, backup: &Actor, victim: &Actor) -> bool {
    let (verdict, culprit) = (&seen["verdict"], backup.job(seen));
    let victims = verdict["victims"].as_array().unwrap();
    verdict["severity"] == "contention"
        && verdict["resource"] == resource
        && !culprit.is_null()
        && (&verdict["culprit"], &verdict["backup"]) == (culprit, culprit)
        && victims.contains(victim.job(seen))
}

/// Looks until both tell this; answers what they saw then. On a host that others keep busy, too, they may have more to tell at times.
fn agreed(is_told: impl Fn(&Value) -> bool) -> [Value; 2] {
    let mut last = Vec::new();
    for _ in 0..LOOKS {
        let both = seen();
        if both.iter().all(&is_told) {
            return both;
        }
        last = both.iter().map(|seen| seen["verdict"].clone()).collect();
    }
    panic!("root and nobody never agreed: {last:#?}")
}

fn gaps(seen: &Value) -> Vec<&str> {
    seen["gaps"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

fn may_be_both() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: only root can be somebody else, too");
    }
    root
}

/// The tests make the host busy, each in its own way.
static STAGE: Mutex<()> = Mutex::new(());

#[test]
fn nobody_sees_who_is_stuck_beside_which_backup_as_root_does() {
    if !may_be_both() {
        return;
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("srv")).unwrap();
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(32 << 20).collect();
    fs::write(folder.path().join("srv/database"), noise).unwrap();
    let workers = Actor::play(folder.path(), "site-worker", "stuck");
    let backup = Actor::script(folder.path(), "nightly-backup.sh", "while tar cf - srv | gzip -1 >srv.tar.gz; do :; done");
    let row = |seen: &Value, id: &Value| {
        let mut jobs = seen["jobs"].as_array().unwrap().iter();
        jobs.find(|row| row["id"] == *id).cloned().unwrap_or_default()
    };
    let stuck = |seen: &Value| row(seen, workers.job(seen))["uninterruptible"].as_u64().unwrap_or_default();
    // Whether somebody is accused besides, of the CPUs, is for the other test.
    let [root, nobody] = agreed(|seen| row(seen, backup.job(seen))["kind"] == "backup" && stuck(seen) == STUCK as u64);
    assert_eq!((stuck(&root), stuck(&nobody)), (STUCK as u64, STUCK as u64), "the state is for everybody to read");
    assert!(!gaps(&root).iter().any(|gap| gap.contains("needs root")), "{:?}", gaps(&root));
    let named = |what: &str| gaps(&nobody).iter().any(|gap| gap.starts_with(what) && gap.contains("needs root"));
    assert!(named("disk use of ") && named("what holds "), "{:?}", gaps(&nobody));
    let wait = |seen: &Value| {
        let job = workers.job(seen);
        seen["waits"].as_array().unwrap().iter().find(|wait| wait["job"] == *job).expect("where they wait").clone()
    };
    assert!(wait(&root)["wchan"].is_string() && wait(&nobody)["wchan"].is_null(), "hidden is null and no guess");
}

#[test]
fn nobody_accuses_the_backup_on_the_cpus_as_root_does() {
    if !may_be_both() {
        return;
    }
    let _stage = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("srv")).unwrap();
    File::create(folder.path().join("srv/database")).unwrap().set_len(64 << 30).unwrap();
    let server = Actor::play(folder.path(), "shop-server", "busy");
    let cpus = thread::available_parallelism().unwrap().get();
    let pipelines = ["tar cf - srv | gzip -9 >/dev/null &"].repeat(cpus).join("\n");
    let backup = Actor::script(folder.path(), "full-backup.sh", &format!("{pipelines}\nwait"));
    let [_, nobody] = agreed(|seen| accuses(seen, "cpu", &backup, &server));
    assert!(gaps(&nobody).iter().any(|gap| gap.starts_with("disk use of ") && gap.contains("needs root")));
}
