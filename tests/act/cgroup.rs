//! A control group that holds the job: killed and frozen in one stroke, and left alone with a bystander in it.

use std::fs;
use std::path::PathBuf;

use whytop::action::{Action, Signal};

use super::actors::*;

const NOTE: &str = "all at once, by its control group";

/// A group of its own; whatever is in there goes back when it goes.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Result<Self, String> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let root = roots.into_iter().find(|root| root.join("cgroup.controllers").exists());
        let root = root.ok_or("no version 2 of control groups here")?;
        let group = root.join(format!("whytop-test-{name}-{}", std::process::id()));
        fs::create_dir(&group).map_err(|error| format!("no control group can be made: {error}"))?;
        if !group.join("cgroup.kill").exists() {
            let _ = fs::remove_dir(&group);
            return Err("this kernel has no cgroup.kill".to_owned());
        }
        Ok(Self(group))
    }

    fn take(&self, job: &Job) {
        for seen in tree(job.pid()) {
            let taken = fs::write(self.0.join("cgroup.procs"), seen.id.pid.to_string());
            assert!(taken.is_ok() || !lives(seen.id), "{} {}: {taken:?}", seen.name, seen.id);
        }
    }

    fn processes(&self) -> usize {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines().count()
    }

    fn frozen(&self) -> String {
        fs::read_to_string(self.0.join("cgroup.events")).unwrap_or_default()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.freeze"), "0");
        let root = self.0.parent().unwrap().join("cgroup.procs");
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let _ = fs::write(&root, pid);
        }
        // The kernel takes a moment to let go of whoever ended inside.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

fn or_skip<T>(made: Result<T, String>) -> Option<T> {
    made.map_err(|why| println!("skipped: {why}")).ok()
}

#[test]
fn a_job_alone_in_its_group_is_killed_at_once() {
    let Some(group) = or_skip(Group::new("kill")) else { return };
    let bystander = Job::sleeper();
    let mut job = Job::script("i=0; while [ $i -lt 500 ]; do sleep 600 & i=$((i+1)); done; wait", &[]);
    group.take(&job);
    until("it forks", || in_session(job.pid()).len() > 20);
    group.take(&job);
    let outcome = send(&job.root(), Signal::Kill);
    assert_eq!(outcome.notes, [NOTE], "{outcome}");
    assert_eq!(outcome.sent(), outcome.late + 1, "{outcome}");
    until("all are gone", || in_session(job.pid()).is_empty());
    job.child.wait().unwrap();
    assert!(bystander.lives());
}

#[test]
fn a_group_with_a_bystander_in_it_is_left_alone() {
    let Some(group) = or_skip(Group::new("bystander")) else { return };
    let bystander = Job::sleeper();
    group.take(&bystander);
    for signal in [Signal::Stop, Signal::Kill] {
        let mut job = Job::script("sleep 600 & sleep 600 & wait", &[]);
        until("it works", || tree(job.pid()).len() == 3);
        group.take(&job);
        let members = job.members();
        let outcome = send(&members, signal);
        assert_eq!((outcome.sent(), outcome.notes.len()), (3, 0), "{outcome}");
        assert!(group.frozen().contains("frozen 0"), "{}", group.frozen());
        assert_eq!(state(bystander.pid()), 'S');
        send(&members, Signal::Kill);
        until("all are gone", || in_session(job.pid()).is_empty());
        job.child.wait().unwrap();
    }
    assert!(bystander.lives());
}

#[test]
fn a_paused_group_is_known_for_paused_and_goes_on() {
    let Some(group) = or_skip(Group::new("freeze")) else { return };
    let mut job = Job::script("while :; do sleep 0.01; done", &[]);
    group.take(&job);
    until("its children are born inside", || group.processes() == tree(job.pid()).len());
    let hands = Hands::new(forgetful());
    let members = subject(&job.root());
    let paused = hands.act(&members, Action::Pause);
    assert_eq!(paused.notes, [NOTE], "{paused}");
    until("it is frozen", || group.frozen().contains("frozen 1"));
    // Known by what stands, though none of them is in state T.
    let twice = hands.act(&members, Action::Pause);
    assert_eq!(twice.error.as_deref(), Some("it is paused already: let it go on first"));
    let gone_on = hands.act(&members, Action::Resume);
    assert!(gone_on.worked(), "{gone_on}");
    until("it goes on", || group.frozen().contains("frozen 0"));

    // A request that finds it frozen is taken when it goes on.
    assert!(hands.act(&members, Action::Pause).worked());
    until("it is frozen", || group.frozen().contains("frozen 1"));
    assert!(hands.act(&members, Action::End(Signal::Terminate)).worked());
    until("all are gone", || in_session(job.pid()).is_empty());
    job.child.wait().unwrap();
}
