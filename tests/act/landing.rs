//! Signals that do not land: ignored, pending in a system call that does not return, and zombies.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid as RawPid, geteuid, getuid, kill_process};
use whytop::action::{Action, Frozen, Landing, Refusal, Report, Signal, Still, Subject};
use whytop::units::Pid;

use super::actors::*;

/// Starts a child and never waits for it.
pub fn neglect() {
    let child = Command::new("sleep").arg("600").spawn().unwrap();
    std::thread::sleep(super::LIFE);
    drop(child);
}

/// Waits in the kernel for a child that does not start a program.
#[allow(unsafe_code, reason = "state D without root takes clone(CLONE_VFORK), for which no safe wrapper exists")]
pub fn vfork() {
    // SAFETY: without CLONE_VM the child has its own copy of everything, and only sleeps.
    unsafe {
        if libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
}

fn landing(hands: &Hands, what: &str, mut is_it: impl FnMut(&Landing) -> bool) -> Landing {
    hands.hear(what, |report| match report {
        Report::Landing(landing) => is_it(&landing).then_some(landing),
        _ => None,
    })
}

/// The niceness of those who look after the dying.
fn watches() -> Vec<i32> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten().map(|task| task.path());
    let stats =
        tasks.filter_map(|task| fs::read_to_string(task.join("stat")).ok()).filter(|stat| stat.contains("(whytop-landing"));
    stats.map(|stat| stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()).collect()
}

fn stuck(pid: Pid) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().any(|task| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('D'))
    })
}

#[test]
fn whoever_ignores_the_signal_is_named_and_goes_with_the_next() {
    let mut job = Job::script("trap '' TERM; while :; do sleep 600; done", &[]);
    until("it ignores", || tree(job.pid()).len() == 2);
    let hands = Hands::new(forgetful());
    let members = subject(&job.members());
    assert_eq!(hands.act(&members, Action::End(Signal::Terminate)).sent(), 2);
    // The sleeper ignores it with its parent.
    let left = landing(&hands, "who is left", |landing| !landing.left.is_empty());
    assert_eq!(left.left.iter().map(|left| &left.still).collect::<Vec<_>>(), [&Still::Ignores, &Still::Ignores]);
    let words = whytop::landing::sentence(&left, None);
    assert!(words.contains("ignores SIGTERM: only SIGKILL ends it"), "{words}");
    until("watching does not go before others", || watches().iter().all(|nice| *nice == 0));

    assert_eq!(hands.act(&members, Action::End(Signal::Kill)).sent(), 2);
    job.child.wait().unwrap();
    let gone = landing(&hands, "that all are gone", |landing| landing.signal == Signal::Kill && landing.left.is_empty());
    assert!(whytop::landing::sentence(&gone, None).starts_with("nightly is gone, "));
}

#[test]
fn an_order_that_hits_nobody_leaves_the_earlier_watch_alone() {
    let mut job = Job::script("trap '' TERM; while :; do sleep 600; done", &[]);
    until("it ignores", || tree(job.pid()).len() == 2);
    let hands = Hands::new(forgetful());
    let members = subject(&job.members());
    assert_eq!(hands.act(&members, Action::End(Signal::Terminate)).sent(), 2);
    landing(&hands, "who is left", |landing| !landing.left.is_empty());
    let mut stale = members;
    stale.candidates.iter_mut().for_each(|candidate| candidate.id.start += 1);
    assert_eq!(hands.act(&stale, Action::End(Signal::Kill)).sent(), 0);
    job.child.kill().unwrap();
    job.child.wait().unwrap();
    landing(&hands, "that the first signal's are still watched", |landing| landing.left.len() < 2);
}

#[test]
fn a_zombie_is_named_with_the_parent_that_does_not_reap_it() {
    let parent = Job::start(role("neglect", "").stdout(Stdio::null()));
    let child = || tree(parent.pid()).into_iter().find(|seen| seen.name == "sleep");
    until("the child sleeps", || child().is_some());
    let child = child().unwrap();
    let hands = Hands::new(forgetful());
    assert_eq!(hands.act(&subject(&[candidate(&child)]), Action::End(Signal::Kill)).sent(), 1);
    let left = landing(&hands, "the zombie", |landing| !landing.left.is_empty());
    let Still::Zombie { parent: named, .. } = &left.left[0].still else { panic!("{left:?}") };
    assert_eq!(named.pid, parent.pid());
    let words = whytop::landing::of_one(&left.left[0], &left, None);
    assert!(words.contains("has ended and is a zombie: its parent"), "{words}");
}

/// State D, but of the kind that SIGKILL ends: nothing is pending.
#[test]
fn a_wait_that_can_be_killed_ends() {
    let mut job = Job::start(role("vfork", "").stdout(Stdio::null()));
    until("it is stuck", || stuck(job.pid()));
    job.members();
    let hands = Hands::new(forgetful());
    assert!(hands.act(&subject(&job.root()), Action::End(Signal::Kill)).worked());
    job.child.wait().unwrap();
    landing(&hands, "that it is gone", |landing| !landing.left.iter().any(|left| left.id.pid == job.pid()));
}

/// A small filesystem of its own, frozen; it is thawed and goes with this.
struct Ice {
    folder: tempfile::TempDir,
}

impl Ice {
    fn new() -> Result<Self, String> {
        if !geteuid().is_root() {
            return Err("only root can freeze a filesystem".to_owned());
        }
        let ice = Self { folder: tempfile::tempdir().unwrap() };
        let disk = ice.folder.path().join("disk");
        File::create(&disk).unwrap().set_len(32 << 20).unwrap();
        fs::create_dir(ice.point()).unwrap();
        tool("mkfs.ext4", &["-q", "-F", disk.to_str().unwrap()])?;
        tool("mount", &["-o", "loop", disk.to_str().unwrap(), ice.point().to_str().unwrap()])?;
        tool("fsfreeze", &["--freeze", ice.point().to_str().unwrap()])?;
        Ok(ice)
    }

    fn point(&self) -> PathBuf {
        self.folder.path().join("mount")
    }
}

impl Drop for Ice {
    fn drop(&mut self) {
        let point = self.point();
        let _ = tool("fsfreeze", &["--unfreeze", point.to_str().unwrap()]);
        let _ = tool("umount", &["-l", point.to_str().unwrap()]);
    }
}

fn tool(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())) }
}

#[test]
fn sigkill_is_pending_on_a_frozen_filesystem_until_it_is_thawed() {
    let ice = match Ice::new() {
        Ok(ice) => ice,
        Err(why) => return println!("skipped: {why}"),
    };
    let mut job = Job::start(Command::new("sh").args(["-c", "echo x >\"$0\""]).arg(ice.point().join("file")));
    until("it is stuck", || stuck(job.pid()));
    let hands = Hands::new(forgetful());
    let mount = ice.point().to_str().unwrap().to_owned();
    let frozen = Frozen { mounts: vec![mount.clone()], ..Frozen::default() };
    let subject = Subject { frozen, ..subject(&job.root()) };
    assert_eq!(hands.act(&subject, Action::End(Signal::Kill)).sent(), 1);
    let left = landing(&hands, "what is pending", |landing| !landing.left.is_empty());
    let Still::Pending { wchan, .. } = &left.left[0].still else { panic!("{left:?}") };
    assert!(wchan.as_ref().is_none_or(|wchan| wchan.contains("rwsem") || wchan.contains("sb_start")), "{wchan:?}");
    assert!(whytop::landing::sentence(&left, None).contains("SIGKILL is pending for "));

    let thawed = hands.act(&subject, Action::Thaw { mount: mount.clone() });
    assert_eq!(thawed.to_string(), format!("{mount} is thawed"));
    job.child.wait().unwrap();
    landing(&hands, "that it is gone", |landing| landing.left.is_empty());
    let again = hands.act(&subject, Action::Thaw { mount });
    assert!(!again.worked() && again.to_string().contains("fsfreeze says: "), "{again}");
    assert!(getuid().is_root());
}

/// It is gone, and its number stays: whoever asks for it is told whose fault that is.
#[test]
fn a_zombie_of_before_is_named_with_its_parent() {
    let parent = Job::start(role("neglect", "").stdout(Stdio::null()));
    let child = || tree(parent.pid()).into_iter().find(|seen| seen.name == "sleep");
    until("the child sleeps", || child().is_some());
    let child = child().unwrap();
    kill_process(RawPid::from_raw(child.id.pid).unwrap(), rustix::process::Signal::KILL).unwrap();
    until("it has ended", || seen(child.id.pid).is_none());
    let refused = refusal(candidate(&child)).unwrap();
    assert!(matches!(&refused, Refusal::Zombie { parent: named, .. } if named.pid == parent.pid()), "{refused:?}");
    let end = format!(" {} does not reap it", parent.pid());
    assert!(refused.to_string().starts_with("has ended and is a zombie: its parent ") && refused.to_string().ends_with(&end));
}
