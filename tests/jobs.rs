//! Jobs are put together bit by bit, from what changed, and a large one is judged by a few of its processes. Neither may be seen: a host
//! that was watched from the start has the jobs that it has for somebody who looks at it for the first time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use whytop::analysis::diagnosis::{Diagnosis, Job, Kind};
use whytop::history::Limits;
use whytop::monitor::Monitor;
use whytop::sample::{Cost, Host, HostFacts, Identity, IoBytes, Process, Sample, Task, TaskState};
use whytop::units::{Pid, ProcessId, SECOND, TaskId};

const TICKS: u64 = 100;

/// A process of the host, as it is now.
#[derive(Clone, Debug, PartialEq)]
struct Actor {
    start: u64,
    parent: Pid,
    group: Pid,
    session: Pid,
    tty: bool,
    comm: &'static str,
    argv: &'static [&'static str],
    cgroup: &'static str,
    /// Bytes read so far; CPU time follows.
    read: u64,
    state: TaskState,
}

impl Actor {
    fn process(&self, pid: Pid) -> Process {
        Process {
            id: ProcessId { pid, start: self.start },
            parent: self.parent,
            group: self.group,
            session: self.session,
            tty: if self.tty { 136 << 8 } else { 0 },
            comm: self.comm.into(),
            kernel_thread: self.comm.starts_with("kworker"),
            forked_only: false,
            zombie: false,
            nice: 0,
            io: Some(IoBytes { read: self.read, read_any: self.read, ..IoBytes::default() }),
        }
    }

    fn task(&self, pid: Pid) -> Task {
        let id = TaskId { tid: pid, start: self.start };
        Task { id, pid, state: self.state, cpu: self.read, run_delay: Some(0), wait: None }
    }

    fn identity(&self) -> Arc<Identity> {
        Arc::new(Identity {
            argv: self.argv.iter().map(|word| (*word).to_owned()).collect(),
            exe: None,
            uid: Some(0),
            user: Some("root".to_owned()),
            cgroup: Some(self.cgroup.to_owned()),
            ..Identity::default()
        })
    }
}

type World = BTreeMap<Pid, Actor>;

fn monitor() -> Monitor {
    let facts = HostFacts {
        name: "web".to_owned(),
        kernel: "6.1".to_owned(),
        cpus: 2,
        ticks_per_second: TICKS,
        own_pid: None,
        root: true,
    };
    Monitor::new(&facts, Limits::default())
}

/// What changed from one world to the next, at this second.
fn sample(second: u64, before: Option<&World>, now: &World) -> Sample {
    let empty = World::new();
    let old = before.unwrap_or(&empty);
    let is_same = |pid: &Pid, actor: &Actor| old.get(pid).is_some_and(|old| old.start == actor.start);
    let gone = old.iter().filter(|(pid, actor)| now.get(pid).is_none_or(|new| new.start != actor.start));
    let changed = || now.iter().filter(|(pid, actor)| old.get(pid) != Some(actor));
    let named = changed().filter(|(pid, actor)| {
        let of = |actor: &Actor| (actor.argv, actor.cgroup);
        !is_same(pid, actor) || old.get(pid).map(of) != Some(of(actor))
    });
    Sample {
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_000_000 + second.cast_signed()),
        since_boot: (100_000 + second) * SECOND,
        keyframe: before.is_none(),
        host: Host::default(),
        processes: changed().map(|(pid, actor)| actor.process(*pid)).collect(),
        tasks: changed().map(|(pid, actor)| actor.task(*pid)).collect(),
        gone_processes: gone.map(|(pid, actor)| ProcessId { pid: *pid, start: actor.start }).collect(),
        gone_tasks: Vec::new(),
        clocks: Vec::new(),
        awake: Vec::new(),
        storage: None,
        open_files: Vec::new(),
        resident: Vec::new(),
        cgroups: Vec::new(),
        identities: named.map(|(pid, actor)| (ProcessId { pid: *pid, start: actor.start }, actor.identity())).collect(),
        gaps: Vec::new(),
        cost: Cost::default(),
    }
}

/// Unit, control group, root, and every process with its parent and name.
type Seen = (Option<String>, Option<String>, Option<Pid>, BTreeSet<(Pid, Pid, String)>);

fn jobs(diagnosis: &Diagnosis) -> BTreeSet<Seen> {
    let seen = |job: &Job| {
        let members = job.facts.members.iter().map(|member| (member.id.pid, member.parent, member.name.to_string()));
        (job.facts.unit.clone(), job.facts.cgroup.clone(), job.facts.root.map(|root| root.pid), members.collect())
    };
    diagnosis.jobs.iter().map(seen).collect()
}

/// What happens to a host in one second.
#[derive(Clone, Debug)]
enum Event {
    /// A fork, of the nth living process; whether it makes a session, or a group.
    Fork(usize, bool, bool),
    /// It becomes another program.
    Exec(usize, usize),
    /// It ends; its children go to the first process.
    End(usize),
    /// It is moved to another control group.
    Move(usize, usize),
    /// It works.
    Work(usize),
}

const PROGRAMS: [(&str, &[&str]); 8] = [
    ("bash", &["-bash"]),
    ("sh", &["sh", "/opt/run.sh"]),
    ("cron", &["/usr/sbin/cron"]),
    ("php-fpm", &["php-fpm: pool www"]),
    ("nginx", &["nginx: worker process"]),
    ("sshd", &["sshd: ann@notty"]),
    ("sudo", &["sudo", "worker"]),
    ("worker", &["worker", "--all"]),
];
const CGROUPS: [&str; 4] =
    ["/", "/system.slice/nginx.service", "/system.slice/cron.service", "/user.slice/user-1000.slice/session-3.scope"];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (any::<usize>(), any::<bool>(), any::<bool>()).prop_map(|(who, session, group)| Event::Fork(who, session, group)),
        3 => (any::<usize>(), 0..PROGRAMS.len()).prop_map(|(who, what)| Event::Exec(who, what)),
        2 => any::<usize>().prop_map(Event::End),
        1 => (any::<usize>(), 0..CGROUPS.len()).prop_map(|(who, to)| Event::Move(who, to)),
        2 => any::<usize>().prop_map(Event::Work),
    ]
}

fn happen(world: &mut World, next: &mut Pid, event: &Event) {
    let pick = |who: usize| world.keys().copied().nth(who % world.len()).unwrap();
    match *event {
        Event::Fork(who, session, group) => {
            let parent = pick(who);
            *next += 1;
            let mut child = Actor { start: 1_000 + u64::from(next.unsigned_abs()), parent, read: 0, ..world[&parent].clone() };
            if session {
                (child.session, child.group, child.tty) = (*next, *next, false);
            } else if group {
                child.group = *next;
            }
            world.insert(*next, child);
        }
        Event::Exec(who, what) => {
            let pid = pick(who);
            if pid != 1 {
                let actor = world.get_mut(&pid).unwrap();
                (actor.comm, actor.argv) = PROGRAMS[what];
            }
        }
        Event::End(who) => {
            let pid = pick(who);
            if pid != 1 {
                world.remove(&pid);
                for orphan in world.values_mut().filter(|actor| actor.parent == pid) {
                    orphan.parent = 1;
                }
            }
        }
        Event::Move(who, to) => world.get_mut(&pick(who)).unwrap().cgroup = CGROUPS[to],
        Event::Work(who) => world.get_mut(&pick(who)).unwrap().read += 1_000_000,
    }
}

fn init() -> Actor {
    let argv = &["/sbin/init"];
    Actor {
        start: 1,
        parent: 0,
        group: 1,
        session: 1,
        tty: false,
        comm: "systemd",
        argv,
        cgroup: "/init.scope",
        read: 0,
        state: TaskState::Sleeping,
    }
}

proptest! {
    #[test]
    fn a_host_watched_from_the_start_has_the_jobs_of_a_first_look(
        seconds in prop::collection::vec(prop::collection::vec(event(), 0..12), 1..12),
    ) {
        let mut world = World::from([(1, init())]);
        let mut next = 1;
        let mut watching = monitor();
        watching.ingest(sample(0, None, &world));
        for (second, events) in (1..).zip(&seconds) {
            let before = world.clone();
            for event in events {
                happen(&mut world, &mut next, event);
            }
            let watched = watching.ingest(sample(second, Some(&before), &world));
            let fresh = monitor().ingest(sample(second, None, &world));
            prop_assert_eq!(jobs(&watched), jobs(&fresh), "at second {}", second);
            let ids: BTreeSet<_> = watched.jobs.iter().map(|job| &job.facts.id).collect();
            prop_assert_eq!(ids.len(), watched.jobs.len(), "no two jobs under one identity");
            for job in &watched.jobs {
                prop_assert!(job.facts.root.is_none() || job.facts.root_member().is_some(), "a job's root is one of its own");
            }
        }
    }
}

/// A service of that many equal processes below one.
fn service(count: Pid, comm: &'static str, argv: &'static [&'static str]) -> World {
    let cgroup = "/system.slice/pool.service";
    let member = |pid: Pid, parent: Pid| {
        (
            pid,
            Actor {
                start: 500,
                parent,
                group: 10,
                session: 10,
                tty: false,
                comm,
                argv,
                cgroup,
                read: 0,
                state: TaskState::Sleeping,
            },
        )
    };
    [(1, init()), member(10, 1)].into_iter().chain((0..count).map(|at| member(100 + at, 10))).collect()
}

#[test]
fn the_one_that_works_speaks_for_itself_among_hundreds_alike() {
    let mut world = service(400, "bacula-fd", &["/usr/sbin/bacula-fd", "-f"]);
    let mut watching = monitor();
    watching.ingest(sample(0, None, &world));
    let mut kind = Vec::new();
    for second in 1..4 {
        let before = world.clone();
        if second > 1 {
            world.get_mut(&433).unwrap().read += 80_000_000;
        }
        let diagnosis = watching.ingest(sample(second, Some(&before), &world));
        let job = diagnosis.jobs.iter().find(|job| job.facts.unit.as_deref() == Some("pool.service")).unwrap();
        assert_eq!(job.facts.members.len(), 401);
        kind.push(job.facts.finding.kind);
    }
    assert_eq!(kind, [Kind::Service, Kind::Backup, Kind::Backup], "an idle agent, and one that copies");
}

#[test]
fn a_stranger_below_one_of_hundreds_alike_is_split_out() {
    let mut world = service(400, "php-fpm", &["php-fpm: pool www"]);
    let dump = Actor { parent: 433, comm: "mysqldump", argv: &["mysqldump", "--all-databases"], ..world[&433].clone() };
    let gzip = Actor { parent: 433, comm: "gzip", argv: &["gzip"], ..world[&433].clone() };
    let mut watching = monitor();
    watching.ingest(sample(0, None, &world));
    let before = world.clone();
    world.extend([(900, dump), (901, gzip)]);
    let diagnosis = watching.ingest(sample(1, Some(&before), &world));
    let split: Vec<_> = diagnosis.jobs.iter().filter(|job| job.facts.finding.kind == Kind::Backup).collect();
    assert_eq!(split.len(), 1);
    assert_eq!(split[0].facts.root.map(|root| root.pid), Some(900));
}

/// Nothing is heard of a process that stands still, and yet it does not sleep.
#[test]
fn who_stands_still_is_known_to_for_as_long_as_it_does() {
    let mut world = service(3, "site", &["/srv/site"]);
    let mut watching = monitor();
    watching.ingest(sample(0, None, &world));
    let mut stands = Vec::new();
    for second in 1..12 {
        let before = world.clone();
        match second {
            2 => world.get_mut(&101).unwrap().state = TaskState::Stopped,
            10 => world.get_mut(&101).unwrap().state = TaskState::Sleeping,
            _ => {}
        }
        let diagnosis = watching.ingest(sample(second, Some(&before), &world));
        stands.push(diagnosis.halted.get(&ProcessId { pid: 101, start: 500 }).copied());
        assert!(diagnosis.halted.len() <= 1);
    }
    assert_eq!(stands[0], None);
    assert!(stands[1..9].iter().all(|state| *state == Some(TaskState::Stopped)), "{stands:?}");
    assert_eq!(stands[9..], [None, None]);
}

#[test]
fn what_earlier_runs_took_is_told_of_the_next_one() {
    let cron = Actor { parent: 1, comm: "cron", argv: &["/usr/sbin/cron"], cgroup: "/system.slice/cron.service", ..init() };
    let nightly = |start: u64| Actor {
        start,
        parent: 20,
        group: 30,
        session: 30,
        comm: "nightly.sh",
        argv: &["/bin/sh", "/root/nightly.sh"],
        ..cron.clone()
    };
    let usual = |diagnosis: &Diagnosis| {
        let job = diagnosis.jobs.iter().find(|job| job.facts.name == "nightly.sh").unwrap();
        job.usual.map(|usual| (usual.runs, usual.seconds.round()))
    };
    let mut watching = monitor();
    let mut before: Option<World> = None;
    let mut told = Vec::new();
    // Runs of three and five seconds, each with a pause behind it, one of a second that somebody at the screen ended, and another.
    for second in 0..19 {
        let mut world = World::from([(1, init()), (20, cron.clone())]);
        let start = match second {
            0..3 => Some(0),
            5..10 => Some(5),
            12..14 => Some(12),
            16.. => Some(16),
            _ => None,
        };
        if let Some(start) = start {
            world.insert(30, nightly((100_000 + start) * TICKS));
        }
        let diagnosis = watching.ingest(sample(second, before.as_ref(), &world));
        if start.is_some() {
            told.push(usual(&diagnosis));
        }
        if second == 13 {
            watching.told_to_end(&[ProcessId { pid: 30, start: (100_000 + 12) * TICKS }]);
        }
        before = Some(world);
    }
    assert_eq!(told[..8], [None; 8], "the first run, and the second: one run is no habit");
    assert_eq!(told[8..10], [Some((2, 3.0)); 2], "the third: the shorter of two is in the middle");
    assert_eq!(told[10..], [Some((2, 3.0)); 3], "the fourth: the third was told to end");
}

/// `cron` starts `anacron` each hour, which waits for its hour and starts `run-parts` by a shell: none of them is part of the job.
#[test]
fn what_anacron_starts_is_a_job_of_its_own() {
    let cgroup = "/system.slice/anacron.service";
    let at = |parent, comm, argv| Actor { start: 900, parent, group: 300, session: 300, comm, argv, cgroup, ..init() };
    let work = |parent, comm, argv| Actor { read: 400_000_000, start: 9_900_000, ..at(parent, comm, argv) };
    let mut world = World::from([
        (1, init()),
        (300, at(1, "anacron", &["/usr/sbin/anacron", "-d", "-q", "-s"])),
        (301, at(300, "sh", &["/bin/sh", "-c", "run-parts --report /etc/cron.daily"])),
        (302, at(301, "run-parts", &["run-parts", "--report", "/etc/cron.daily"])),
        (303, work(302, "site-backup", &["/bin/sh", "/etc/cron.daily/site-backup"])),
        (304, work(303, "tar", &["tar", "-czf", "/mnt/backup/www-2026-03-01.tar.gz", "/srv/www"])),
    ]);
    let mut watching = monitor();
    watching.ingest(sample(0, None, &world));
    let before = world.clone();
    world.get_mut(&304).unwrap().read += 80_000_000;
    let diagnosis = watching.ingest(sample(1, Some(&before), &world));
    let job = diagnosis.jobs.iter().find(|job| job.facts.members.iter().any(|member| member.id.pid == 304)).unwrap();
    let pids: Vec<Pid> = job.facts.members.iter().map(|member| member.id.pid).collect();
    let finding = &job.facts.finding;
    assert_eq!((pids, job.facts.launched_by.as_deref()), (vec![303, 304], Some("cron (root)")), "{finding:?}");
    assert_eq!((finding.kind, finding.tool.as_deref()), (Kind::Backup, Some("tar")));
    assert!(finding.evidence.iter().any(|piece| piece.text == "started by cron"), "{:?}", finding.evidence);
}
