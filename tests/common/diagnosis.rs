//! Builds diagnoses for tests of printers: a few named scenes, made of jobs that read like a sentence.
#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use whytop::analysis::diagnosis::{
    Account, AccountLine, Activity, Advice, Contention, CpuUse, Diagnosis, DiskUse, Evidence, Finding, Job, JobFacts, JobId,
    Kind, LedgerLine, Load, Member, Resource, Role, Severity, Share, Stalls, Stuck, StuckTask, TrendPoint, Usage, Verdict,
    WaitGroup, Wedged,
};
use whytop::sample::{Cost, Gap, Glance, Host, HostFacts, LoadAverage, Memory, Pressure, TaskState, Tier};
use whytop::units::{ProcessId, SECOND};

/// The instant of every scene, in UTC: 14:27:31 on 2026-03-14.
pub fn at(seconds_later: i64) -> Timestamp {
    let base: Timestamp = "2026-03-14T14:27:31Z".parse().expect("a timestamp");
    base + SignedDuration::from_secs(seconds_later)
}

/// A process of a job.
pub fn process(pid: i32, parent: i32, name: &str, command: &str, user: &str) -> Arc<Member> {
    Arc::new(Member {
        id: ProcessId { pid, start: 1000 + u64::from(pid.unsigned_abs()) },
        parent,
        name: name.into(),
        command: command.into(),
        user: Some(user.into()),
        kernel_thread: false,
    })
}

/// A job that does nothing yet.
pub fn job(id: &JobId, name: &str, kind: Kind, members: Vec<Arc<Member>>) -> Job {
    Job {
        facts: Arc::new(JobFacts {
            id: id.clone(),
            name: name.into(),
            finding: Finding { kind, tool: None, work: None, confidence: 0.6, evidence: vec![], advice: Advice::default() },
            launched_by: None,
            unit: None,
            container: None,
            user: members.first().and_then(|m| m.user.as_ref()).map(ToString::to_string),
            root: members.first().map(|m| m.id),
            started_at: Some(at(-86_400 * 3)),
            members,
            carried: Vec::new(),
        }),
        role: Role::Bystander,
        stalls: Stalls::default(),
        usage: Usage {
            cpu_cores: Some(0.0),
            cpu_wait: Some(0.0),
            read_bytes: Some(0.0),
            write_bytes: Some(0.0),
            stuck: 0.0,
            resident: None,
            memory_growth: None,
        },
        runnable: 0,
        uninterruptible: 0,
        share: Share { cpu: Some(0.0), disk: Some(0.0) },
        disks: None,
        age: None,
        usual: None,
        earlier: None,
    }
}

/// Changes what a job is.
pub fn facts(job: &mut Job) -> &mut JobFacts {
    Arc::make_mut(&mut job.facts)
}

/// Sets what a job uses: CPUs, bytes read and written per second.
pub fn uses(job: &mut Job, cpu: f64, read: f64, write: f64) {
    job.usage.cpu_cores = Some(cpu);
    job.usage.read_bytes = Some(read);
    job.usage.write_bytes = Some(write);
}

/// Puts a diagnosis around jobs: ledger, shares and counts follow from them.
pub fn around(mut jobs: Vec<Job>) -> Diagnosis {
    let cpu: f64 = jobs.iter().filter_map(|j| j.usage.cpu_cores).sum();
    let disk: f64 = jobs.iter().filter_map(|j| j.usage.disk_bytes()).sum();
    for job in &mut jobs {
        job.share.cpu = job.usage.cpu_cores.map(|x| if cpu > 0.0 { x / cpu } else { 0.0 });
        job.share.disk = job.usage.disk_bytes().map(|x| if disk > 0.0 { x / disk } else { 0.0 });
    }
    let mut ledger: Vec<LedgerLine> = jobs
        .iter()
        .filter(|j| j.runnable + j.uninterruptible > 0)
        .map(|j| LedgerLine {
            job: j.facts.id.clone(),
            name: j.facts.name.clone(),
            runnable: j.runnable,
            uninterruptible: j.uninterruptible,
        })
        .collect();
    ledger.sort_by_key(|line| std::cmp::Reverse(line.runnable + line.uninterruptible));
    let (runnable, uninterruptible) = jobs.iter().fold((0, 0), |(r, d), j| (r + j.runnable, d + j.uninterruptible));
    Diagnosis {
        at: at(0),
        since_boot: (12 * 86_400 + 4 * 3600) * SECOND,
        host: Arc::new(HostFacts {
            name: "web-07".into(),
            kernel: "6.18.5".into(),
            cpus: 2,
            ticks_per_second: 100,
            own_pid: Some(9000),
            root: false,
        }),
        load: Load {
            averages: Some(LoadAverage { avg1: 0.31, avg5: 0.28, avg15: 0.25 }),
            runnable,
            uninterruptible,
            ledger,
            always: 0,
            account: None,
        },
        cpu: Some(CpuUse { busy: cpu, idle: None, iowait: 0.0, steal: 0.0 }),
        pressure: Some(Pressure {
            cpu_some10: 0.4,
            io_some10: 0.1,
            io_full10: 0.0,
            memory_some10: 0.0,
            memory_full10: 0.0,
            totals: None,
        }),
        memory: Some(Memory { total: 8_200_000_000, available: Some(3_200_000_000), swap_total: 0, swap_free: 0 }),
        verdict: Verdict {
            worst: Contention::none("Nobody waits for anything.".into(), 0.9),
            others: Vec::new(),
            backup: None,
            since: Some(at(-4000)),
        },
        jobs,
        waits: vec![],
        wedged: vec![],
        behind: 0,
        disks: vec![],
        activity: HashMap::new(),
        halted: HashMap::new(),
        trend: trend(|n| u32::from(n % 7 == 0), |_| 0),
        gaps: vec![],
        cost: Cost { sampling: 3_200_000, cpu: 24_000_000, tasks: 412, pace: None, tier: Tier::default() },
    }
}

/// A frozen filesystem under the site, and one of its workers that cannot be looked at; with others behind it.
pub fn wedge(behind: u32) -> Diagnosis {
    let mut site = job(&site_id(), "site-worker", Kind::Service, vec![process(4711, 1, "site-worker", "site-worker", "www")]);
    (site.uninterruptible, site.usage.stuck, site.role) = (12, 12.0, Role::Victim);
    let mut scene = around(vec![site]);
    scene.verdict.worst.severity = Severity::Contention;
    scene.verdict.worst.resource = Resource::FrozenFilesystem;
    scene.verdict.worst.headline = "a filesystem is frozen; 12 tasks of site-worker wait for it".into();
    scene.verdict.worst.victims = vec![site_id()];
    scene.wedged = vec![Wedged {
        id: process(4711, 1, "", "", "").id,
        name: "site-worker".into(),
        job: Some(site_id()),
        syscall: None,
        wchan: Some("percpu_rwsem_wait".into()),
        meaning: Some("waits for a frozen filesystem".into()),
        resource: Some(Resource::FrozenFilesystem),
        since: 12.4,
    }];
    scene.behind = behind;
    scene
}

/// The same host before its tasks have been read, in the outage.
pub fn glance() -> Glance {
    let outage = outage();
    let host = Host { load: outage.load.averages, pressure: outage.pressure, memory: outage.memory, ..Host::default() };
    Glance { at: outage.at, since_boot: outage.since_boot, host, tasks: Some((3, 50_132)), gaps: vec![] }
}

/// A trend of two minutes and more, one point each two seconds; the functions get the point's age in points, newest 0.
pub fn trend(runnable: impl Fn(u32) -> u32, stuck: impl Fn(u32) -> u32) -> Vec<TrendPoint> {
    (0..150u32)
        .rev()
        .map(|age| TrendPoint { at: at(-2 * i64::from(age)), runnable: runnable(age), uninterruptible: stuck(age) })
        .collect()
}

/// Identity of the site.
pub fn site_id() -> JobId {
    JobId::unit("site-worker.service")
}

/// Identity of the nightly script.
pub fn nightly_id() -> JobId {
    JobId::tree(ProcessId { pid: 4711, start: 5711 })
}

/// Identity of the database.
pub fn database_id() -> JobId {
    JobId::unit("postgresql.service")
}

fn site() -> Job {
    let mut members = vec![process(1201, 1, "site-worker", "/srv/site/bin/worker --listen 8080 --workers 40", "www-data")];
    members.extend(
        (0..40).map(|n| process(1300 + n, 1201, "site-worker", "/srv/site/bin/worker: serving /srv/site/www", "www-data")),
    );
    let mut site = job(&site_id(), "site-worker", Kind::Service, members);
    facts(&mut site).unit = Some("site-worker.service".into());
    facts(&mut site).launched_by = Some("systemd".into());
    uses(&mut site, 0.03, 310_000.0, 12_000.0);
    site
}

fn nightly() -> Job {
    let members = vec![
        process(4711, 4708, "nightly.sh", "/bin/sh /usr/local/sbin/nightly.sh", "root"),
        process(4712, 4711, "tar", "tar cf - --one-file-system /srv /etc /home", "root"),
        process(4713, 4711, "gzip", "gzip -1", "root"),
    ];
    let mut job = job(&nightly_id(), "nightly.sh", Kind::Backup, members);
    let facts = facts(&mut job);
    facts.launched_by = Some("cron".into());
    facts.unit = Some("cron.service".into());
    facts.started_at = Some(at(-12));
    facts.finding = Finding {
        kind: Kind::Backup,
        tool: Some("tar".into()),
        work: None,
        confidence: 0.96,
        evidence: vec![
            Evidence { text: "tar creates an archive (cf) of /srv, /etc and /home".into(), weight: 0.8 },
            Evidence { text: "its output is compressed by gzip in the same job".into(), weight: 0.35 },
            Evidence { text: "started by cron at night-job style: nightly.sh".into(), weight: 0.3 },
            Evidence { text: "it writes to /srv, which it also reads".into(), weight: -0.1 },
        ],
        advice: Advice {
            consequence: Some("The archive it is writing stays behind, cut off: delete it, it cannot be restored from.".into()),
            ..Advice::default()
        },
    };
    job
}

fn others() -> Vec<Job> {
    let mut database = job(
        &database_id(),
        "postgresql",
        Kind::Service,
        vec![
            process(801, 1, "postgres", "/usr/lib/postgresql/17/bin/postgres -D /var/lib/postgresql/17/main", "postgres"),
            process(811, 801, "postgres", "postgres: 17/main: checkpointer", "postgres"),
        ],
    );
    uses(&mut database, 0.02, 0.0, 41_000.0);
    let sshd = job(
        &JobId::unit("ssh.service"),
        "sshd",
        Kind::Service,
        vec![process(702, 1, "sshd", "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "root")],
    );
    let journal = {
        let mut job = job(
            &JobId::unit("systemd-journald.service"),
            "systemd-journald",
            Kind::Service,
            vec![process(301, 1, "systemd-journald", "/usr/lib/systemd/systemd-journald", "root")],
        );
        uses(&mut job, 0.01, 0.0, 8_000.0);
        job
    };
    let mut vim = job(
        &JobId::tree(ProcessId { pid: 5200, start: 6200 }),
        "vim",
        Kind::Interactive,
        vec![process(5200, 5100, "vim", "vim /etc/nginx/nginx.conf", "ann")],
    );
    facts(&mut vim).launched_by = Some("login shell (ann, pts/3)".into());
    let mut writeback = job(&JobId::kernel("writeback"), "kernel writeback", Kind::Kernel, vec![]);
    facts(&mut writeback).members = vec![Arc::new(Member {
        id: ProcessId { pid: 91, start: 2 },
        parent: 2,
        name: "kworker/u4:2-flush-8:0".into(),
        command: "[kworker/u4:2-flush-8:0]".into(),
        user: Some("root".into()),
        kernel_thread: true,
    })];
    facts(&mut writeback).root = None;
    facts(&mut writeback).started_at = None;
    uses(&mut writeback, 0.01, 0.0, 0.0);
    vec![database, journal, writeback, sshd, vim]
}

fn activity_of(jobs: &[Job]) -> HashMap<ProcessId, Activity> {
    let mut all = HashMap::new();
    for job in jobs {
        for member in job.facts.members.iter().take(39) {
            let state = if job.uninterruptible > 0 { TaskState::Uninterruptible } else { TaskState::Runnable };
            let share =
                |x: Option<f64>| x.map(|x| if member.name == job.facts.finding.tool.as_deref().unwrap_or("") { x } else { 0.0 });
            let usage = Usage {
                cpu_cores: share(job.usage.cpu_cores),
                cpu_wait: Some(0.0),
                read_bytes: share(job.usage.read_bytes),
                write_bytes: share(job.usage.write_bytes),
                stuck: 0.0,
                resident: None,
                memory_growth: None,
            };
            if job.usage.waiting() > 0.5 || job.runnable > 0 {
                all.insert(member.id, Activity { state, runnable: 0, uninterruptible: 0, usage });
            }
        }
    }
    all
}

/// A host where nothing is wrong.
pub fn calm() -> Diagnosis {
    let mut jobs = vec![site()];
    uses(&mut jobs[0], 0.22, 120_000.0, 4_000.0);
    jobs[0].runnable = 1;
    jobs.extend(others());
    let mut scene = around(jobs);
    scene.disks = vec![disk(0.03, 1.2, 120_000.0, 53_000.0)];
    scene
}

fn disk(util: f64, await_ms: f64, read: f64, write: f64) -> DiskUse {
    DiskUse {
        name: "sda".into(),
        read_bytes: read,
        write_bytes: write,
        reads: (read / 65_536.0).round(),
        writes: (write / 16_384.0).round(),
        util,
        queue: util * await_ms / 10.0,
        await_ms: Some(await_ms),
        scheduler: Some("mq-deadline".into()),
    }
}

/// The outage: a nightly tar takes the disk, 38 tasks of the site are stuck.
pub fn outage() -> Diagnosis {
    let (mut site, mut nightly) = (site(), nightly());
    site.role = Role::Victim;
    site.uninterruptible = 38;
    site.usage.stuck = 37.6;
    site.usage.cpu_wait = Some(0.1);
    nightly.role = Role::Culprit;
    nightly.runnable = 1;
    nightly.uninterruptible = 2;
    nightly.usage.stuck = 1.8;
    uses(&mut nightly, 0.94, 6_900_000.0, 1_200_000.0);
    let mut others = others();
    others[0].role = Role::Victim;
    others[0].uninterruptible = 1;
    others[0].usage.stuck = 0.7;
    let mut jobs = vec![nightly, site];
    jobs.extend(others);
    let activity = activity_of(&jobs);
    let mut scene = around(jobs);
    scene.activity = activity;
    scene.load.averages = Some(LoadAverage { avg1: 40.12, avg5: 31.2, avg15: 14.83 });
    scene.pressure = Some(Pressure {
        cpu_some10: 12.0,
        io_some10: 97.0,
        io_full10: 93.0,
        memory_some10: 0.0,
        memory_full10: 0.0,
        totals: None,
    });
    scene.disks = vec![disk(0.98, 42.0, 7_210_000.0, 1_261_000.0)];
    scene.trend = trend(
        |n| if n < 14 { 2 + n % 2 } else { n % 2 },
        |n| match n {
            0..8 => 38 + n % 3,
            8..14 => 3 * (14 - n),
            _ => 0,
        },
    );
    scene.waits = vec![
        WaitGroup {
            job: site_id(),
            tasks: 36,
            syscall: Some("pread64".into()),
            wchan: Some("folio_wait_bit_common".into()),
            path: Some("/srv/site/www".into()),
            device: Some("sda".into()),
            devices: vec!["dm-0".into(), "sda2".into(), "sda".into()],
            meaning: Some("waits for the disk".into()),
            longest: Some(Stuck { seconds: 9.4, exact: true }),
            resource: None,
            helps: Some("slow or stop the disk's heaviest user"),
            mount: Some("/srv".into()),
            filesystem: Some("ext4".into()),
            source: None,
            shortest: None,
            examples: vec![StuckTask {
                pid: 4711,
                tid: 4719,
                stuck_for: Some(Stuck { seconds: 9.4, exact: true }),
                stack: ["folio_wait_bit_common", "filemap_read", "vfs_read"].map(str::to_owned).to_vec(),
            }],
        },
        WaitGroup {
            job: site_id(),
            tasks: 2,
            syscall: Some("fsync".into()),
            wchan: Some("jbd2_log_wait_commit".into()),
            path: Some("/srv/site/var/session.db".into()),
            device: None,
            devices: Vec::new(),
            meaning: Some("waits for the filesystem journal".into()),
            longest: Some(Stuck { seconds: 11.4, exact: false }),
            resource: None,
            helps: None,
            mount: Some("/srv".into()),
            filesystem: Some("ext4".into()),
            source: None,
            shortest: None,
            examples: Vec::new(),
        },
        WaitGroup {
            job: nightly_id(),
            tasks: 2,
            syscall: Some("read".into()),
            wchan: Some("io_schedule".into()),
            path: None,
            device: Some("sda".into()),
            devices: Vec::new(),
            meaning: Some("waits for the disk".into()),
            longest: Some(Stuck { seconds: 0.2, exact: true }),
            resource: None,
            helps: None,
            mount: None,
            filesystem: None,
            source: None,
            shortest: None,
            examples: Vec::new(),
        },
        WaitGroup {
            job: database_id(),
            tasks: 1,
            syscall: None,
            wchan: None,
            path: None,
            device: None,
            devices: Vec::new(),
            meaning: None,
            longest: None,
            resource: None,
            helps: None,
            mount: None,
            filesystem: None,
            source: None,
            shortest: None,
            examples: Vec::new(),
        },
    ];
    let part = |job, name: &str, average| AccountLine { job, name: name.to_owned(), average };
    scene.load.account = Some(Account {
        average: 40.1,
        lines: vec![
            part(site_id(), "site-worker", 35.2),
            part(nightly_id(), "nightly.sh", 2.9),
            part(database_id(), "postgresql", 0.9),
        ],
        before: 0.4,
        unseen: 0.7,
    });
    let worst = Contention {
        device: None,
        also: Vec::new(),
        share: None,
        severity: Severity::Contention,
        resource: Resource::Disk,
        headline:
            "The backup nightly.sh (tar, started by cron 12 s ago) takes 95 % of the disk sda: 38 tasks of site-worker and \
                   1 of postgresql wait for it."
                .into(),
        culprit: Some(nightly_id()),
        victims: vec![site_id(), database_id()],
        confidence: 0.94,
        evidence: vec![
            "38 tasks of site-worker in pread64 on /srv/site/www (ext4 on sda): waits for the disk, the longest for 10 s".into(),
            "sda is 98 % busy: 380 requests/s take 42 ms each, 31 in flight, reads 8.1 MB/s, writes 2.1 MB/s".into(),
            "nightly.sh moves 9.3 MB/s, its files are on sda".into(),
            "somebody waited for I/O in 93 % of the last ten seconds".into(),
        ],
        waiting: 39.0,
    };
    scene.verdict = Verdict { worst, others: Vec::new(), backup: Some(nightly_id()), since: Some(at(-10)) };
    scene
}

/// A compressing backup takes both CPUs.
pub fn cpu_backup() -> Diagnosis {
    let mut scene = outage();
    for job in &mut scene.jobs {
        job.uninterruptible = 0;
        job.usage.stuck = 0.0;
        if job.facts.id == nightly_id() {
            job.runnable = 4;
            uses(job, 1.81, 2_400_000.0, 300_000.0);
            job.usage.cpu_wait = Some(2.0);
            let facts = facts(job);
            facts.name = "restic".into();
            facts.finding.tool = Some("restic".into());
            facts.finding.advice.better_signal = Some("SIGINT".into());
            facts.finding.advice.consequence = Some("The repository stays locked: run restic unlock afterwards.".into());
            facts.finding.evidence =
                vec![Evidence { text: "restic backup: the program and its subcommand".into(), weight: 0.97 }];
            facts.members = vec![process(4711, 4708, "restic", "restic backup --repo sftp:vault:/web-07 /srv", "root")];
        }
        if job.facts.id == site_id() {
            job.runnable = 9;
            job.usage.cpu_wait = Some(8.4);
        }
    }
    let jobs = std::mem::take(&mut scene.jobs);
    let mut around = around(jobs);
    around.load.averages = Some(LoadAverage { avg1: 12.4, avg5: 6.02, avg15: 2.11 });
    around.pressure =
        Some(Pressure { cpu_some10: 96.0, io_some10: 1.0, io_full10: 0.0, memory_some10: 0.0, memory_full10: 0.0, totals: None });
    around.trend = trend(|n| if n < 30 { 13 - n % 3 } else { 1 }, |_| 0);
    around.disks = vec![disk(0.11, 2.0, 2_700_000.0, 380_000.0)];
    let worst = Contention {
        resource: Resource::Cpu,
        headline: "The backup restic takes 1.8 of 2 CPUs: 8.4 tasks of site-worker want one and have none.".into(),
        victims: vec![site_id()],
        waiting: 8.4,
        ..scene.verdict.worst
    };
    around.verdict = Verdict { worst, ..scene.verdict };
    around
}

/// The same nightly job, but nobody waits for it.
pub fn amber() -> Diagnosis {
    let mut nightly = nightly();
    nightly.runnable = 1;
    uses(&mut nightly, 0.31, 2_100_000.0, 400_000.0);
    let mut jobs = vec![nightly, site()];
    jobs.extend(others());
    let mut scene = around(jobs);
    scene.disks = vec![disk(0.21, 1.9, 2_400_000.0, 460_000.0)];
    scene.verdict.worst.severity = Severity::Watch;
    scene.verdict.worst.headline = "The backup nightly.sh (tar) runs since 12 s; nobody waits for it.".into();
    scene.verdict.backup = Some(nightly_id());
    scene.verdict.since = Some(at(-12));
    scene.gaps = vec![Gap::IoDenied { processes: 12 }, Gap::NoPressure, Gap::WaitDenied { tasks: 3 }];
    scene.pressure = None;
    scene
}

/// The host some seconds after the nightly job was hit: so many tasks of the site are still stuck, and these processes of
/// the job are still there.
pub fn after(seconds: i64, stuck: u32, alive: &[i32]) -> Diagnosis {
    let mut scene = outage();
    scene.at = at(seconds);
    scene.since_boot += seconds.unsigned_abs() * SECOND;
    scene.jobs.retain_mut(|job| {
        if job.facts.id == site_id() {
            job.uninterruptible = stuck;
            job.usage.stuck = f64::from(stuck);
        } else if job.facts.id == nightly_id() {
            facts(job).members.retain(|member| alive.contains(&member.id.pid));
            job.uninterruptible = 0;
            job.usage.stuck = 0.0;
        } else {
            job.uninterruptible = 0;
            job.usage.stuck = 0.0;
        }
        !job.facts.members.is_empty()
    });
    let (runnable, stuck_now) = scene.jobs.iter().fold((0, 0), |(r, d), j| (r + j.runnable, d + j.uninterruptible));
    scene.load.runnable = runnable;
    scene.load.uninterruptible = stuck_now;
    scene.load.ledger.retain_mut(|line| {
        let job = scene.jobs.iter().find(|job| job.facts.id == line.job);
        line.uninterruptible = job.map_or(0, |job| job.uninterruptible);
        line.runnable = job.map_or(0, |job| job.runnable);
        line.uninterruptible + line.runnable > 0
    });
    scene.waits.retain(|wait| stuck > 0 && wait.job == site_id());
    scene.trend.push(TrendPoint { at: scene.at, runnable, uninterruptible: stuck_now });
    if alive.is_empty() {
        let worst = Contention {
            severity: if stuck > 4 { Severity::Watch } else { Severity::Calm },
            resource: scene.verdict.worst.resource,
            waiting: f64::from(stuck),
            evidence: scene.verdict.worst.evidence,
            ..Contention::none(format!("{stuck} tasks of site-worker are stuck; nobody is to blame for it."), 0.94)
        };
        scene.verdict = Verdict { worst, others: Vec::new(), backup: None, since: scene.verdict.since };
    }
    scene
}

/// So many jobs, each of which does a little.
pub fn crowd(jobs: usize) -> Diagnosis {
    let all = (0..i32::try_from(jobs).expect("not that many"))
        .map(|n| {
            let pid = 10_000 + n;
            let id = JobId::tree(ProcessId { pid, start: 1 });
            let mut job = job(&id, &format!("job-{n:04}"), Kind::Batch, vec![process(pid, 1, "job", "job --number", "nobody")]);
            uses(&mut job, 0.001 * f64::from(n % 50), 1000.0 * f64::from(n % 17), 0.0);
            job.uninterruptible = u32::from(n % 5 == 0);
            job.usage.stuck = f64::from(job.uninterruptible);
            job
        })
        .collect();
    around(all)
}

/// The outage among strangers: wide characters, emoji, and names that were hostile before they were cleaned.
pub fn strange() -> Diagnosis {
    let mut scene = outage();
    let names = ["備份工作站-夜間", "🔥💾👩‍💻 backup", "\\x1b]0;owned\\x07\\n", "a\u{301}e\u{301}", "", "x".repeat(300).leak()];
    for (index, job) in scene.jobs.iter_mut().enumerate() {
        let name = names[index % names.len()];
        let facts = facts(job);
        facts.name = name.into();
        facts.finding.tool = Some(name.into());
        facts.launched_by = Some(name.into());
        facts.members = facts
            .members
            .iter()
            .map(|member| Arc::new(Member { name: name.into(), command: name.repeat(3), ..(**member).clone() }))
            .collect();
    }
    for (index, line) in scene.load.ledger.iter_mut().enumerate() {
        line.name = names[index % names.len()].into();
    }
    scene.verdict.worst.headline = "備份工作站 🔥 takes 91 % of the disk 磁碟: 38 tasks of 網站 wait".into();
    for wait in &mut scene.waits {
        wait.meaning = Some("等待磁碟 🔥".into());
        wait.longest = Some(Stuck { seconds: 1e9, exact: true });
    }
    scene
}
