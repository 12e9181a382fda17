//! What holds for every host, written or random.

use std::collections::HashSet;
use std::sync::Arc;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use whytop::analysis::diagnosis::{Contention, Diagnosis, Job, JobId, Severity};
use whytop::history::Limits;
use whytop::monitor::Monitor;
use whytop::sample::{
    BlockDevice, Cgroup, CgroupIo, Cost, CpuClock, CpuTimes, Disk, FileRef, Gap, Host, HostFacts, Identity, IoBytes, IoLimit,
    LoadAverage, Memory, Mount, OpenFile, Process, Resident, Sample, Storage, Task, TaskState, Wait,
};
use whytop::units::{ProcessId, SECOND, TaskId};

use crate::format::{self, Row, Scenario, Series, TICKS};
use crate::play::Play;

const CHANNELS: [&str; 8] = [
    "folio_wait_bit_common",
    "percpu_rwsem_wait",
    "rpc_wait_bit_killable",
    "request_wait_answer",
    "__mutex_lock",
    "try_to_free_pages",
    "kernel_clone",
    "something_new",
];
const COMMANDS: [&str; 10] = [
    "nginx: worker process",
    "tar cf /b/x.tar /srv",
    "restic backup /home",
    "make -j8",
    "fsfreeze -f /srv",
    "/usr/sbin/mariadbd",
    "sshfs ann@web: /mnt",
    "python3 /opt/report.py",
    "-bash",
    "\u{1b}[31mred\n",
];

/// Everything that a person or a program may read.
fn told(diagnosis: &Diagnosis) -> String {
    let Diagnosis { verdict, jobs, waits, disks, load, .. } = diagnosis;
    format!("{verdict:?}\n{jobs:?}\n{waits:?}\n{disks:?}\n{load:?}")
}

/// The same sample in another order.
fn shuffled(mut sample: Sample, rng: &mut Rng) -> Sample {
    rng.shuffle(&mut sample.processes);
    rng.shuffle(&mut sample.tasks);
    rng.shuffle(&mut sample.identities);
    rng.shuffle(&mut sample.open_files);
    rng.shuffle(&mut sample.resident);
    rng.shuffle(&mut sample.cgroups);
    rng.shuffle(&mut sample.clocks);
    rng.shuffle(&mut sample.host.disks);
    if let Some(storage) = &mut sample.storage {
        rng.shuffle(&mut Arc::make_mut(storage).devices);
    }
    sample
}

fn monitor() -> Monitor {
    let (name, kernel) = ("web".to_owned(), "6.18.0".to_owned());
    Monitor::new(&HostFacts { name, kernel, cpus: 4, ticks_per_second: TICKS, own_pid: None, root: true }, Limits::default())
}

fn check_order(scenario: &Scenario, seed: u64) {
    let play = Play::new(scenario, None);
    let mut rng = Rng::with_seed(seed);
    let (mut straight, mut mixed) =
        (Monitor::new(&play.facts(), Limits::default()), Monitor::new(&play.facts(), Limits::default()));
    for (second, sample) in play.samples() {
        let other = mixed.ingest(shuffled(sample.clone(), &mut rng));
        let one = straight.ingest(sample);
        let (one, other) = (told(&one), told(&other));
        let at =
            one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b).map_or(0, |((at, _), _)| at.saturating_sub(200));
        assert!(one == other, "{} at {second} s: {}\n{}", scenario.name, &one[at..at + 400], &other[at..at + 400]);
    }
}

#[test]
fn the_order_of_processes_and_tasks_changes_nothing() {
    for (seed, scenario) in (1..).zip(format::all()) {
        check_order(&scenario, seed);
    }
}

/// Everything about it stays as it is, all the time.
fn is_steady(scenario: &Scenario) -> bool {
    let steady = |series: &Series| matches!(series, Series::Steady(_));
    scenario.disk.iter().all(|disk| disk.during.is_none() && steady(&disk.util))
        && scenario.process.iter().all(|row| {
            let parts = [row.runs_during, row.moves_during, row.stuck_during];
            let whole = parts.iter().all(Option::is_none) && row.ends.is_none() && row.storm.is_none() && row.age() > 2.0;
            whole && steady(&row.stuck) && steady(&row.runnable)
        })
}

fn check_interval(scenario: &Scenario) {
    let last = |step: f64| {
        let scenario = Scenario { step, seconds: 6.2 * step, ..scenario.clone() };
        Play::new(&scenario, None).run().pop().unwrap().1
    };
    let (one, two) = (last(1.0), last(2.0));
    let said = |diagnosis: &Diagnosis| {
        let verdict = &diagnosis.verdict;
        (
            verdict.worst.severity,
            verdict.worst.resource,
            verdict.worst.culprit.clone(),
            verdict.worst.victims.clone(),
            verdict.worst.device.clone(),
        )
    };
    assert_eq!(said(&one), said(&two), "{}: {} / {}", scenario.name, one.verdict.worst.headline, two.verdict.worst.headline);
    for job in &one.jobs {
        let other = two.job(&job.facts.id).unwrap();
        let rates = |job: &Job| {
            let usage = job.usage;
            let megabytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / 1e6);
            [usage.cpu_cores, usage.cpu_wait, megabytes(usage.read_bytes), megabytes(usage.write_bytes), Some(usage.stuck)]
        };
        for (one, two) in rates(job).into_iter().zip(rates(other)) {
            let same = match (one, two) {
                (Some(one), Some(two)) => (one - two).abs() <= 1e-5 * one.abs().max(1.0),
                (one, two) => one == two,
            };
            assert!(same, "{}: {}: {one:?} becomes {two:?}", scenario.name, job.facts.name);
        }
    }
}

#[test]
fn a_longer_interval_changes_no_rate() {
    let steady: Vec<Scenario> = format::all().into_iter().filter(is_steady).collect();
    assert!(steady.len() >= 40, "{}", steady.len());
    steady.iter().for_each(check_interval);
}

prop_compose! {
    fn row(pid: i32)(
        command in 0..COMMANDS.len(),
        under in prop::sample::select(vec![None, Some("cron"), Some("shell"), Some("unit")]),
        age in 3.0..5000.0_f64,
        (fifths, wait, runnable) in (0..10_u32, 0.0..4.0_f64, 0..5_u32),
        (stuck, channel, stuck_for) in (prop_oneof![3 => Just(0), 1 => 1..30_u32], 0..CHANNELS.len(), prop::option::of(0.0..500.0_f64)),
        (read_mb, write_mb, io_hidden) in (prop_oneof![1 => Just(0.0), 1 => 0.0..90.0], prop_oneof![1 => Just(0.0), 1 => 0.0..90.0], prop::bool::weighted(0.1)),
        (on, files) in (prop::option::of(0..3_usize), prop::option::of(0..3_usize)),
        resident_mb in prop::option::of(0.0..6000.0_f64),
    ) -> Row {
        let paths = ["/srv/x", "/data/y", "/mnt/z"];
        let mut row = Row { age: Some(age), cmd: COMMANDS[command].to_owned(), ..Row::bare(pid, "", age) };
        match under {
            Some("unit") => row.unit = Some(format!("u{pid}")),
            other => row.under = other.map(str::to_owned),
        }
        Row {
            // Coarse, and no two the same: the host counts in hundredths, so that nothing may lie that near to a threshold.
            cpu: if stuck > 0 { 0.0 } else { f64::from(fifths) * 0.2 + f64::from(pid) * 7e-7 },
            wait,
            runnable: Series::Steady(f64::from(runnable)),
            stuck: Series::Steady(f64::from(stuck)),
            wchan: Some(CHANNELS[channel].to_owned()),
            stuck_for: stuck_for.map(|seconds| seconds.min(age)),
            on: on.map(|at| paths[at].to_owned()),
            files: files.map(|at| format!("rw {}", paths[at])).into_iter().collect(),
            read_mb,
            write_mb,
            io_hidden,
            resident_mb,
            ..row
        }
    }
}

fn host() -> impl Strategy<Value = Scenario> {
    let rows = prop::collection::vec((2..100_i32).prop_flat_map(|n| row(n * 100)), 1..10);
    (rows, 0.0..1.0_f64, 0.0..1.0_f64, any::<bool>()).prop_map(|(mut process, one, two, ordinary_user)| {
        process.sort_by_key(|row| row.pid);
        process.dedup_by_key(|row| row.pid);
        let disk =
            |name: &str, util: f64| format::DiskRow { name: name.to_owned(), util: Series::Steady(util), ..Default::default() };
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut scenario = Scenario {
            name: "random host".to_owned(),
            cpus: 2,
            seconds: 4.2,
            step: 1.0,
            ordinary_user,
            memory_mb: Some(8000.0),
            disk: vec![disk("sda", one), disk("sdb", two)],
            device: words(&["sda", "sdb", "dm-0 < sda"]),
            mount: words(&["/ sda", "/data sdb", "/srv dm-0", "/mnt web: fuse.sshfs"]),
            process,
            ..Scenario::default()
        };
        scenario.expand();
        scenario
    })
}

fn io(read: u64) -> IoBytes {
    IoBytes { read, ..IoBytes::default() }
}

fn process(pid: i32, start: u64, io: Option<IoBytes>) -> Process {
    Process {
        id: ProcessId { pid, start },
        parent: 1,
        group: pid,
        session: pid,
        tty: 0,
        comm: "x".into(),
        kernel_thread: false,
        forked_only: false,
        zombie: false,
        nice: 0,
        io,
    }
}

fn task(pid: i32, start: u64, cpu: u64) -> Task {
    Task { id: TaskId { tid: pid, start }, pid, state: TaskState::Sleeping, cpu, run_delay: Some(cpu), wait: None }
}

/// A sample `tenths` of a second after 1000 s of uptime.
fn sample(tenths: u64, processes: Vec<Process>, tasks: Vec<Task>) -> Sample {
    Sample {
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_millis(100 * tenths.cast_signed()),
        since_boot: 1000 * SECOND + tenths * SECOND / 10,
        keyframe: false,
        host: Host::default(),
        processes,
        tasks,
        gone_processes: Vec::new(),
        gone_tasks: Vec::new(),
        clocks: Vec::new(),
        awake: Vec::new(),
        storage: None,
        open_files: Vec::new(),
        resident: Vec::new(),
        cgroups: Vec::new(),
        identities: Vec::new(),
        gaps: Vec::new(),
        cost: Cost::default(),
    }
}

/// What the analysis must never say, whatever it is told.
fn check_sense(diagnosis: &Diagnosis) -> Result<(), TestCaseError> {
    let verdict = &diagnosis.verdict;
    let part = |share: f64| (0.0..=1.0).contains(&share);
    let amount = |value: f64| value.is_finite() && value >= 0.0;
    let contended = |severity| severity == Severity::Contention;
    for Contention { culprit, also, victims, share, confidence, waiting, .. } in verdict.contentions() {
        prop_assert!(share.is_none_or(part) && part(*confidence) && amount(*waiting), "{verdict:?}");
        for id in culprit.iter().chain(also) {
            prop_assert!(!victims.contains(id), "a victim of itself: {verdict:?}");
            prop_assert!(diagnosis.job(id).is_some_and(|job| !job.facts.members.is_empty()), "nobody: {verdict:?}");
        }
        prop_assert!(culprit.as_ref().is_none_or(|id| !also.contains(id)), "{verdict:?}");
        prop_assert!(victims.iter().all(|id| diagnosis.job(id).is_some()), "{verdict:?}");
    }
    let ids: HashSet<&JobId> = diagnosis.jobs.iter().map(|job| &job.facts.id).collect();
    prop_assert_eq!(ids.len(), diagnosis.jobs.len(), "two jobs under one name: {:?}", ids);
    prop_assert_eq!(verdict.since.is_some(), contended(verdict.worst.severity));
    prop_assert!(verdict.since.is_none_or(|since| since <= diagnosis.at));
    let words = verdict.contentions().flat_map(|short| std::iter::once(&short.headline).chain(&short.evidence));
    prop_assert!(words.flat_map(|words| words.chars()).all(|c| !c.is_control()), "{verdict:?}");
    for Job { usage, share, age, stalls, .. } in &diagnosis.jobs {
        prop_assert!([stalls.cpu, stalls.io, stalls.memory].into_iter().flatten().all(part), "{stalls:?}");
        prop_assert!([stalls.throttled, stalls.limited].into_iter().flatten().all(amount), "{stalls:?}");
        let rates = [usage.cpu_cores, usage.cpu_wait, usage.read_bytes, usage.write_bytes, *age];
        prop_assert!(rates.into_iter().flatten().chain([usage.stuck]).all(amount), "{usage:?}");
        prop_assert!([share.cpu, share.disk].into_iter().flatten().all(|share| (0.0..=1.0 + 1e-9).contains(&share)), "{share:?}");
    }
    for group in &diagnosis.waits {
        prop_assert!([group.longest.map(|stuck| stuck.seconds), group.shortest].into_iter().flatten().all(amount), "{group:?}");
        prop_assert!(group.shortest <= group.longest.map(|stuck| stuck.seconds) && diagnosis.job(&group.job).is_some());
    }
    prop_assert!(diagnosis.disks.iter().all(|disk| part(disk.util) && amount(disk.read_bytes) && amount(disk.write_bytes)));
    if let Some(account) = &diagnosis.load.account {
        let lines: f64 = account.lines.iter().map(|line| line.average).sum();
        prop_assert!((lines + account.before + account.unseen - account.average).abs() < 1e-6, "{account:?}");
        prop_assert!(amount(account.before) && account.lines.iter().all(|line| amount(line.average)), "{account:?}");
    }
    Ok(())
}

/// What the control group of process 50 says.
fn unit_group(io: Vec<CgroupIo>) -> Cgroup {
    Cgroup { path: "/system.slice/web.service".into(), io: Some(io), io_whole: true, ..Cgroup::default() }
}

/// A host with one process, 50, that is a unit and hides what it moves.
fn of_unit(tenths: u64, first: bool, group: Option<Cgroup>) -> Sample {
    let plain = sample(tenths, vec![process(50, 90_000, None)], vec![task(50, 90_000, tenths * SECOND / 20)]);
    let cgroup = Some("/system.slice/web.service".to_owned());
    let identity = Identity { argv: vec!["web".to_owned()], cgroup, ..Identity::default() };
    let disk =
        BlockDevice { name: "sda".into(), device: (8, 1), below: Vec::new(), backing: None, mapped: None, scheduler: None };
    Sample {
        identities: if first { vec![(ProcessId { pid: 50, start: 90_000 }, Arc::new(identity))] } else { Vec::new() },
        storage: first.then(|| Arc::new(Storage { mounts: Vec::new(), devices: vec![disk], foreign: Vec::new() })),
        cgroups: group.into_iter().collect(),
        ..plain
    }
}

/// Counters as they come: mostly small steps, sometimes nonsense.
fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..4 * SECOND, 1 => any::<u64>(), 1 => Just(u64::MAX)]
}

fn start() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(90_000_u64), 1 => 99_900..100_200_u64, 1 => any::<u64>()]
}

prop_compose! {
    fn any_process()(pid in 1..12_i32, start in start(), parent in 0..12_i32, command in 0..COMMANDS.len(), kernel in prop::bool::weighted(0.2),
                     io in prop::option::of((counter(), counter()))) -> (Process, Identity) {
        let io = io.map(|(read, written)| IoBytes { read, written, ..IoBytes::default() });
        let argv: Vec<String> = COMMANDS[command].split(' ').map(str::to_owned).collect();
        let comm = if kernel { "md0_resync".into() } else { argv[0].as_str().into() };
        let kernel_thread = kernel;
        let identity = Identity { argv, user: Some("root".to_owned()), cgroup: (pid % 3 == 0).then(|| format!("/system.slice/{pid}.service")), ..Identity::default() };
        (Process { parent, comm, kernel_thread, ..process(pid, start, io) }, identity)
    }
}

prop_compose! {
    fn any_task()(pid in 1..12_i32, tid in 1..30_i32, start in start(), (cpu, delay) in (counter(), counter()), state in 0..4_usize,
                  channel in 0..CHANNELS.len(), clock in prop::option::of((0..3_u32, counter())), file in 0..4_usize) -> Task {
        let states = [TaskState::Uninterruptible, TaskState::Uninterruptible, TaskState::Runnable, TaskState::Sleeping];
        let paths = ["/srv/x", "/data/y", "/dev/loop0", "pipe:[1]"];
        let last_ran = clock.map(|(cpu, clock)| CpuClock { cpu, clock });
        let file = Some(FileRef { path: paths[file].to_owned(), mount: None });
        let wait = Some(Box::new(Wait { wchan: Some(CHANNELS[channel].into()), last_ran, file, ..Wait::default() }));
        Task { id: TaskId { tid, start }, pid, state: states[state], cpu, run_delay: Some(delay), wait }
    }
}

prop_compose! {
    fn any_sample()(step in 0..30_u64, keyframe in any::<bool>(), processes in prop::collection::vec(any_process(), 0..10),
                    tasks in prop::collection::vec(any_task(), 0..16), numbers in prop::collection::vec(counter(), 12),
                    (load, gone, hidden) in (0.0..50.0_f64, prop::collection::vec((1..12_i32, start()), 0..4), any::<bool>())) -> (u64, Sample) {
        let (processes, identities): (Vec<Process>, Vec<_>) = processes.into_iter().unzip();
        let identities = processes.iter().map(|process| process.id).zip(identities.into_iter().map(Arc::new)).collect();
        let device = |name: &str, minor, below: &[&str]| BlockDevice {
            name: name.into(), device: (8, minor), below: below.iter().map(|name| (*name).into()).collect(), backing: Some("/srv/img".to_owned()), mapped: None, scheduler: None,
        };
        let mount = |id, minor, point: &str| Mount {
            id, device: (8, minor), point: point.to_owned(), kind: "fuse.sshfs".into(), source: "/dev/loop0".to_owned(), upper: Some("/srv/up".to_owned()),
        };
        let disk = |name: &str, at: usize| Disk {
            name: name.into(), reads: numbers[at], writes: numbers[at], read_bytes: numbers[at + 1], write_bytes: numbers[at + 2], request_ms: 1,
            busy_ms: numbers[at], queue_ms: numbers[at + 1],
        };
        let ids: Vec<ProcessId> = processes.iter().map(|process| process.id).collect();
        let open = |path: &str| OpenFile { fd: 3, file: FileRef { path: path.to_owned(), mount: None }, reading: true, writing: true, position: Some(0) };
        let cgroup = |at: usize| Cgroup {
            path: if at == 3 { "/system.slice".into() } else { format!("/system.slice/{}.service", at * 3).into() },
            io: (at != 2).then(|| vec![CgroupIo { device: (8, 1), read: numbers[at], written: numbers[at + 1], ..CgroupIo::default() }, CgroupIo { device: (8, 2), read: numbers[at + 2], ..CgroupIo::default() }]),
            io_whole: at == 1,
            cpu_stalled: Some(numbers[at + 3]),
            io_stalled: Some(numbers[at + 4]),
            memory_stalled: Some(numbers[at + 5]),
            throttled: Some(numbers[at + 6]),
            limited: Some(numbers[at + 7]),
            io_limits: vec![IoLimit { device: (8, 1), read: Some(numbers[at] / 8), writes: Some(0), ..IoLimit::default() }],
            memory_limit: Some(numbers[at + 2]),
        };
        let plain = sample(0, processes, tasks);
        (step, Sample {
            keyframe,
            identities,
            gone_processes: gone.into_iter().map(|(pid, start)| ProcessId { pid, start }).collect(),
            clocks: vec![CpuClock { cpu: 0, clock: numbers[9] }, CpuClock { cpu: 1, clock: numbers[10] }],
            awake: (0..(numbers[9] % 3) as u32).collect(),
            storage: keyframe.then(|| Arc::new(Storage {
                mounts: vec![mount(1, 1, "/"), mount(2, 2, "/srv"), mount(3, 9, "/data")],
                devices: vec![device("sda", 1, &["loop0"]), device("loop0", 2, &["sda", "loop0"])],
                foreign: Vec::new(),
            })),
            open_files: ids.iter().map(|id| (*id, vec![open("/srv/x"), open("/data/y")])).collect(),
            resident: ids.iter().map(|id| (*id, Resident { private: numbers[11], shared: numbers[5] })).collect(),
            cgroups: (1..4).map(cgroup).collect(),
            gaps: if hidden { vec![Gap::IoDenied { processes: 3 }] } else { Vec::new() },
            host: Host {
                load: Some(LoadAverage { avg1: load, avg5: 0.0, avg15: 0.0 }),
                cpu: Some(CpuTimes { busy: numbers[6], idle: numbers[7], iowait: 0, steal: numbers[8] }),
                pressure: None,
                memory: Some(Memory { total: numbers[8], available: None, swap_total: 0, swap_free: 0 }),
                disks: vec![disk("sda", 0), disk("loop0", 3)],
            },
            ..plain
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_changes_nothing_on_any_host(scenario in host(), seed in any::<u64>()) {
        check_order(&scenario, seed);
    }

    #[test]
    fn a_longer_interval_changes_no_rate_on_any_host(scenario in host()) {
        check_interval(&scenario);
    }

    #[test]
    fn any_host_gets_an_answer_that_makes_sense(scenario in host()) {
        for (_, diagnosis) in Play::new(&scenario, None).run() {
            check_sense(&diagnosis)?;
        }
    }

    /// Another process under the same number: what is counted is its own, and only if it was born since the look before.
    #[test]
    fn a_reused_number_gives_no_rate(old in 0..1u64 << 40, new in 0..1u64 << 40, born in 95_000..100_010_u64, announced in any::<bool>()) {
        let mut monitor = monitor();
        monitor.ingest(sample(0, vec![process(50, 90_000, Some(io(old)))], vec![task(50, 90_000, old)]));
        let mut second = sample(10, vec![process(50, born, Some(io(new)))], vec![task(50, born, new)]);
        if announced {
            second.gone_processes.push(ProcessId { pid: 50, start: 90_000 });
        }
        let diagnosis = monitor.ingest(second);
        let job = diagnosis.jobs.iter().find(|job| job.facts.root == Some(ProcessId { pid: 50, start: born })).unwrap();
        let own = if born >= 100_000 { new as f64 } else { 0.0 };
        let is = |rate: Option<f64>, want: f64| (rate.unwrap_or_default() - want).abs() <= 1e-9 * want;
        let (usage, cpus) = (job.usage, own / SECOND as f64);
        prop_assert!(is(usage.read_bytes, own) && is(usage.cpu_cores, cpus) && is(usage.cpu_wait, cpus), "{usage:?} {own}");
    }

    /// Each step forward counts; a step back does not, nor one of more CPU time than a task can have. Nothing is made of these: bytes
    /// or CPU time, while the other goes on.
    #[test]
    fn a_counter_that_goes_back_is_no_spike(counters in prop::collection::vec(0..1u64 << 50, 2..6), bytes in any::<bool>()) {
        let mut monitor = monitor();
        let mut last = None;
        let most = if bytes { u64::MAX } else { 3 * SECOND / 2 };
        let counters: Vec<u64> = counters.iter().map(|counter| if bytes { *counter } else { counter % (3 * SECOND) }).collect();
        for (at, counter) in (0..).zip(&counters) {
            let (read, cpu) = if bytes { (*counter, at * SECOND) } else { (at * SECOND, *counter) };
            let sample = sample(5 * at, vec![process(50, 90_000, Some(io(read)))], vec![task(50, 90_000, cpu)]);
            last = Some(monitor.ingest(sample));
        }
        let diagnosis = last.unwrap();
        let usage = diagnosis.jobs.iter().find(|job| job.facts.root.is_some_and(|root| root.pid == 50)).unwrap().usage;
        let told = if bytes { usage.read_bytes } else { usage.cpu_cores.map(|cpus| cpus * SECOND as f64) };
        let forward: u64 = counters.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0])).filter(|step| *step <= most).sum();
        let rate = forward as f64 / (0.5 * (counters.len() - 1) as f64);
        prop_assert!(told.map_or(rate < 1e7, |told| (told - rate).abs() <= 1e-6 * rate.max(1.0)), "{usage:?} {rate}");
        if counters.windows(2).all(|pair| pair[1] < pair[0]) {
            prop_assert!(told.is_none(), "unknown is no zero: {usage:?}");
        }
    }

    /// A control group does the same all the time, and is asked for now and then: what is told of it is that, or nothing.
    #[test]
    fn a_group_asked_for_now_and_then_has_its_true_rate_or_none(asked in prop::collection::vec((1..150_u64, any::<bool>()), 2..30)) {
        let mut monitor = monitor();
        let mut tenths = 0;
        let mut told = 0;
        for (at, (step, asked)) in asked.iter().enumerate() {
            tenths += step;
            let counted = tenths * SECOND / 10;
            let moved = vec![CgroupIo { device: (8, 1), read: tenths * 1_000_000, ..CgroupIo::default() }];
            let group = Cgroup { throttled: Some(counted / 30), memory_stalled: Some(counted / 5), limited: Some(tenths), ..unit_group(moved) };
            let diagnosis = monitor.ingest(of_unit(tenths, at == 0, asked.then_some(group)));
            let job = diagnosis.jobs.iter().find(|job| job.facts.root.is_some_and(|root| root.pid == 50)).unwrap();
            let rates = [(job.stalls.throttled, 1.0 / 30.0), (job.stalls.memory, 0.2), (job.stalls.limited, 10.0), (job.usage.read_bytes, 1e7)];
            for (rate, truth) in rates {
                prop_assert!(rate.is_none_or(|rate| (rate - truth).abs() <= 1e-6 * truth), "{rate:?} is told and {truth} is true");
            }
            told += usize::from(job.usage.read_bytes.is_some());
        }
        let twice = asked.windows(2).any(|pair| pair[0].1 && pair[1].1 && pair[1].0 <= 50);
        prop_assert!(told > 0 || !twice, "nothing is told");
    }

    /// Bytes of a disk that nobody knows, or counted anew, leave the sum unknown: nobody moved nothing.
    #[test]
    fn a_group_with_a_disk_that_cannot_be_told_moves_no_measured_zero(from in 1..1u64 << 40, less in 1..1u64 << 40, known in any::<bool>()) {
        let mut monitor = monitor();
        let io = |read: u64| vec![CgroupIo { device: (8, if known { 1 } else { 77 }), read, ..CgroupIo::default() }];
        let (first, second) = if known { (from + less, from) } else { (from, from + less) };
        monitor.ingest(of_unit(0, true, Some(unit_group(io(first)))));
        let diagnosis = monitor.ingest(of_unit(10, false, Some(unit_group(io(second)))));
        let job = diagnosis.jobs.iter().find(|job| job.facts.root.is_some_and(|root| root.pid == 50)).unwrap();
        prop_assert_eq!(job.usage.read_bytes, None);
    }

    #[test]
    fn no_samples_make_it_talk_nonsense(samples in prop::collection::vec(any_sample(), 1..8)) {
        let mut monitor = monitor();
        let mut tenths = 0;
        for (step, random) in samples {
            tenths += step;
            let instant = sample(tenths, Vec::new(), Vec::new());
            let diagnosis = monitor.ingest(Sample { at: instant.at, since_boot: instant.since_boot, ..random });
            check_sense(&diagnosis)?;
        }
    }
}
