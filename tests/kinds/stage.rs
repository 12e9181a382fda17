//! Puts a case on a host: with whoever starts such jobs above it and others beside it, as samples for the monitor. So the boundaries of
//! jobs are scored too: the root, and every member and nothing else.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use whytop::analysis::diagnosis::{Diagnosis, Job, Kind};
use whytop::history::Limits;
use whytop::monitor::Monitor;
use whytop::sample::{
    Cost, FileRef, Host, HostFacts, Identity, IoBytes, Mount, OpenFile, Process, Sample, Storage, Task, TaskState, Tier,
};
use whytop::units::{ProcessId, SECOND, TaskId};

use super::{Case, Owned};

/// Clock ticks a second.
const TICKS: u64 = 100;
/// Time since boot at the first sample, in seconds; processes of weeks must fit in.
const UPTIME: f64 = 2_000_000.0;

/// What a case's host answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Answer {
    /// A backup runs there.
    pub wanted: bool,
    /// The backup was found, or one was seen that is none.
    pub said: bool,
    /// The process to hit first is right.
    pub root: bool,
    /// Members that are right, of all that are or should be.
    pub members: f64,
}

/// A process of the host. CPUs, and MB/s read and written.
pub struct Actor {
    pub pid: i32,
    pub parent: i32,
    pub session: i32,
    pub group: i32,
    pub tty: i32,
    pub comm: String,
    pub argv: Vec<String>,
    pub exe: Option<String>,
    pub cgroup: String,
    pub user: String,
    pub age: f64,
    pub cores: f64,
    pub io: Option<(f64, f64)>,
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    /// Those of them that lie on another host's disk.
    pub away: Vec<String>,
    pub nice: i8,
}

fn idle(pid: i32, parent: i32, comm: &str, command: &str, cgroup: &str) -> Actor {
    let titled = command.contains(": ");
    Actor {
        pid,
        parent,
        session: pid,
        group: pid,
        tty: 0,
        comm: comm.into(),
        argv: if titled { vec![command.into()] } else { command.split(' ').map(str::to_owned).collect() },
        exe: None,
        cgroup: cgroup.into(),
        user: "root".into(),
        age: 1_000_000.0,
        cores: 0.0,
        io: Some((0.0, 0.0)),
        reads: Vec::new(),
        writes: Vec::new(),
        away: Vec::new(),
        nice: 0,
    }
}

/// What runs everywhere and must not be taken for anything.
fn beside() -> Vec<Actor> {
    let mut actors = vec![
        idle(1, 0, "systemd", "/sbin/init", "/init.scope"),
        idle(20, 1, "cron", "/usr/sbin/cron -f", "/system.slice/cron.service"),
        idle(21, 1, "sshd", "sshd: /usr/sbin/sshd -D [listener]", "/system.slice/ssh.service"),
        idle(22, 1, "nginx", "nginx: master process /usr/sbin/nginx", "/system.slice/nginx.service"),
        idle(23, 22, "nginx", "nginx: worker process", "/system.slice/nginx.service"),
        idle(24, 1, "mysqld", "/usr/sbin/mysqld", "/system.slice/mysql.service"),
        idle(25, 1, "bareos-fd", "/usr/sbin/bareos-fd -f", "/system.slice/bareos-filedaemon.service"),
        idle(30, 21, "sshd", "sshd: ann [priv]", "/user.slice/user-1000.slice/session-3.scope"),
        idle(31, 30, "sshd", "sshd: ann@pts/3", "/user.slice/user-1000.slice/session-3.scope"),
        idle(32, 31, "bash", "-bash", "/user.slice/user-1000.slice/session-3.scope"),
        idle(33, 32, "tail", "tail -f /var/log/backup.log", "/user.slice/user-1000.slice/session-3.scope"),
    ];
    (actors[4].cores, actors[4].io) = (0.2, Some((0.1, 0.0)));
    (actors[5].cores, actors[5].io) = (0.2, Some((2.0, 1.5)));
    for actor in actors.iter_mut().filter(|actor| actor.pid > 31) {
        (actor.session, actor.tty) = (32, 34819);
    }
    actors
}

/// Who starts such a job: the last of them is the parent of its root. And the control group of the job.
fn above(launcher: &str, unit: Option<&str>) -> (Vec<Actor>, String) {
    let cron = "/system.slice/cron.service";
    let session = "/user.slice/user-0.slice/session-9.scope";
    let own = unit.unwrap_or("work.service");
    match launcher {
        "cron" => (vec![idle(40, 20, "cron", "/usr/sbin/CRON -f -P", cron)], cron.into()),
        "at" => (vec![idle(40, 1, "atd", "/usr/sbin/atd -f", "/system.slice/atd.service")], "/system.slice/atd.service".into()),
        "service" => (Vec::new(), format!("/system.slice/{own}")),
        "ssh" => (
            vec![idle(40, 21, "sshd", "sshd: pull [priv]", session), idle(41, 40, "sshd", "sshd: pull@notty", session)],
            session.into(),
        ),
        "container" => {
            let shim = "/usr/bin/containerd-shim-runc-v2 -namespace moby";
            let id = "3f4e5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081";
            let shim = idle(40, 1, "containerd-shim", shim, "/system.slice/containerd.service");
            (vec![shim], format!("/system.slice/docker-{id}.scope"))
        }
        "supervisor" => {
            let unit = "/system.slice/supervisor.service";
            (vec![idle(40, 1, "supervisord", "/usr/bin/supervisord -n", unit)], unit.into())
        }
        "automation" => {
            let unit = "/system.slice/gitlab-runner.service";
            (vec![idle(40, 1, "gitlab-runner", "/usr/bin/gitlab-runner run", unit)], unit.into())
        }
        "shell" => {
            let bash = idle(40, 31, "bash", "-bash", "/user.slice/user-1000.slice/session-3.scope");
            (vec![Actor { tty: 34820, ..bash }], "/user.slice/user-1000.slice/session-3.scope".into())
        }
        _ => (Vec::new(), unit.map_or_else(|| "/".to_owned(), |unit| format!("/system.slice/{unit}"))),
    }
}

/// Plays the case and asks the monitor.
pub fn play(case: &Case) -> Answer {
    let owned = case.owned();
    let (launchers, cgroup) = above(&case.launcher, case.unit.as_deref());
    let starter = launchers.last().map_or(1, |last| last.pid);
    let by_hand = case.launcher == "shell";
    let root = owned[0].pid;
    let mut actors = beside();
    actors.extend(launchers);
    for process in &owned {
        let Owned { pid, comm, argv, exe, user, age, cores, io, reads, writes, away, nice, .. } = process;
        actors.push(Actor {
            pid: *pid,
            parent: if *pid == root { starter } else { process.parent },
            session: if by_hand { 40 } else { root },
            group: root,
            tty: if by_hand { 34820 } else { 0 },
            comm: comm.clone(),
            argv: argv.clone(),
            exe: exe.clone(),
            cgroup: cgroup.clone(),
            user: user.clone().unwrap_or_else(|| "root".into()),
            age: *age,
            cores: *cores,
            io: *io,
            reads: reads.clone(),
            writes: writes.clone(),
            away: away.clone(),
            nice: *nice,
        });
    }
    let wanted = case.kind == "backup" || case.part.is_some();
    let root = owned[case.part.unwrap_or(0)].pid;
    let mut tree = HashSet::from([root]);
    for process in &owned {
        if tree.contains(&process.parent) {
            tree.insert(process.pid);
        }
    }
    let diagnosis = ask(&actors);
    if !wanted {
        return Answer { wanted, said: backups(&diagnosis).next().is_some(), ..Answer::default() };
    }
    score(&diagnosis, &[root], &tree)
}

/// What whytop says of a host with these processes.
pub fn ask(actors: &[Actor]) -> Diagnosis {
    let name = "host".to_owned();
    let facts = HostFacts { name, kernel: "6.18".into(), cpus: 4, ticks_per_second: TICKS, own_pid: None, root: true };
    let mut monitor = Monitor::new(&facts, Limits::default());
    monitor.ingest(sample(actors, 0.0));
    monitor.ingest(sample(actors, 1.0))
}

/// The jobs that are taken for backups.
pub fn backups(diagnosis: &Diagnosis) -> impl Iterator<Item = &Job> {
    diagnosis.jobs.iter().filter(|job| job.facts.finding.kind == Kind::Backup)
}

/// How well a backup was found whose root is one of these, with these members.
pub fn score(diagnosis: &Diagnosis, roots: &[i32], tree: &HashSet<i32>) -> Answer {
    let pids = |job: &Job| job.facts.members.iter().map(|member| member.id.pid).collect::<HashSet<i32>>();
    let hits = backups(diagnosis).filter(|job| roots.iter().any(|root| pids(job).contains(root)));
    // Who works for it without being hit is told of in the answer, and stands in the label's tree.
    let whole = |job: &Job| {
        let carried = job.facts.carried.iter().map(|member| member.id.pid).filter(|pid| tree.contains(pid));
        pids(job).into_iter().chain(carried).collect::<HashSet<i32>>()
    };
    let alike = |job: &Job| whole(job).intersection(tree).count() as f64 / whole(job).union(tree).count() as f64;
    let Some(found) = hits.max_by(|one, other| alike(one).total_cmp(&alike(other))) else {
        return Answer { wanted: true, ..Answer::default() };
    };
    let root = found.facts.root.is_some_and(|id| roots.contains(&id.pid));
    Answer { wanted: true, said: true, root, members: alike(found) }
}

fn sample(actors: &[Actor], later: f64) -> Sample {
    let id = |actor: &Actor| ProcessId { pid: actor.pid, start: ((UPTIME - actor.age) * TICKS as f64) as u64 };
    let bytes = |rate: f64, age: f64| (rate * 1e6 * age) as u64;
    let nas =
        Mount { id: 77, device: (0, 50), point: "/".into(), kind: "nfs4".into(), source: "nas:/export".into(), upper: None };
    let is_away = |path: &str| actors.iter().flat_map(|actor| &actor.away).any(|away| away.starts_with(path));
    let file = |path: &String, writing: bool| OpenFile {
        fd: 3,
        file: FileRef { path: path.clone(), mount: is_away(path).then_some(nas.id) },
        reading: !writing,
        writing,
        position: None,
    };
    Sample {
        at: Timestamp::from_second(1_770_000_000 + later as i64).unwrap(),
        since_boot: ((UPTIME + later) * SECOND as f64) as u64,
        keyframe: true,
        host: Host::default(),
        processes: actors
            .iter()
            .map(|actor| Process {
                id: id(actor),
                parent: actor.parent,
                group: actor.group,
                session: actor.session,
                tty: actor.tty,
                comm: actor.comm.as_str().into(),
                kernel_thread: false,
                forked_only: false,
                zombie: false,
                nice: actor.nice,
                io: actor.io.map(|(read, write)| {
                    let age = actor.age + later;
                    let (read, written) = (bytes(read, age), bytes(write, age));
                    IoBytes { read, written, read_any: read, written_any: written }
                }),
            })
            .collect(),
        tasks: actors
            .iter()
            .map(|actor| Task {
                id: TaskId { tid: actor.pid, start: id(actor).start },
                pid: actor.pid,
                state: if actor.cores > 0.5 { TaskState::Runnable } else { TaskState::Sleeping },
                cpu: (actor.cores * (actor.age + later) * SECOND as f64) as u64,
                run_delay: Some(0),
                wait: None,
            })
            .collect(),
        gone_processes: Vec::new(),
        gone_tasks: Vec::new(),
        clocks: Vec::new(),
        awake: Vec::new(),
        storage: Some(Arc::new(Storage { foreign: vec![nas.clone()], ..Storage::default() })),
        open_files: actors
            .iter()
            .map(|actor| {
                let reads = actor.reads.iter().map(|path| file(path, false));
                (id(actor), reads.chain(actor.writes.iter().map(|path| file(path, true))).collect())
            })
            .collect(),
        resident: Vec::new(),
        cgroups: Vec::new(),
        identities: actors
            .iter()
            .map(|actor| {
                let (argv, exe, user) = (actor.argv.clone(), actor.exe.clone(), Some(actor.user.clone()));
                (
                    id(actor),
                    Arc::new(Identity {
                        argv,
                        exe,
                        uid: Some(0),
                        user,
                        cgroup: Some(actor.cgroup.clone()),
                        ..Identity::default()
                    }),
                )
            })
            .collect(),
        gaps: Vec::new(),
        cost: Cost { sampling: 0, cpu: 0, tasks: 0, pace: None, tier: Tier::default() },
    }
}
