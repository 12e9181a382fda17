//! From rows to samples: counters that grow at the given rates, as they are or with noise on them.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use whytop::analysis::diagnosis::Diagnosis;
use whytop::history::Limits;
use whytop::monitor::Monitor;
use whytop::sample::{
    Cgroup, CgroupIo, Controlled, Cost, CpuClock, CpuTimes, Disk, Gap, Host, HostFacts, Identity, IoBytes, IoLimit, LoadAverage,
    Memory, Pressure, Process, Resident, Sample, Task, TaskState, Wait,
};
use whytop::units::{Nanos, Pid, ProcessId, SECOND, TaskId};

use crate::format::{CgroupRow, DiskRow, Row, Scenario, TICKS, UP};

/// The clock of the one CPU that all ran on is behind the time since boot by this much.
const CLOCK_BEHIND: f64 = 1000.0;
/// The kernel counts the load each so many seconds (`LOAD_FREQ`).
const LOAD_STEP: f64 = 5.004;

/// What is not as it is written: rates and counts of stuck tasks, anew at each sample, and what cannot be seen, for the whole run.
#[derive(Clone, Copy)]
pub struct Noise(pub u64);

impl Noise {
    /// A number from 0 to 1 that belongs to these two.
    fn unit(self, one: u64, two: u64) -> f64 {
        let mut x =
            self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ one.wrapping_mul(0xBF58_476D_1CE4_E5B9) ^ two.wrapping_mul(0x94D0_49BB);
        for _ in 0..2 {
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        }
        ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn hides(self, what: u64) -> bool {
        self.unit(what, 99) < 0.15
    }
}

/// What may be hidden from view, each at random.
const FILES: u64 = 1;
const STACKS: u64 = 2;
const CHANNELS: u64 = 3;
const CLOCKS: u64 = 4;
const STORAGE: u64 = 5;
const PRESSURE: u64 = 6;
/// Who looks is an ordinary user: no bytes, no wait channels, no files.
const RIGHTS: u64 = 7;

/// What control groups say, so many of them.
const CGROUPS: u64 = 8;

/// A scenario as it goes on.
pub struct Play<'a> {
    pub scenario: &'a Scenario,
    pub times: Vec<f64>,
    noise: Option<Noise>,
    /// The kernel's one-minute average at each of the times.
    averages: Vec<f64>,
}

impl<'a> Play<'a> {
    pub fn new(scenario: &'a Scenario, noise: Option<Noise>) -> Self {
        let mut times = vec![0.0, 0.2 * scenario.step];
        while times.last().unwrap() + scenario.step <= scenario.seconds + 0.01 {
            times.push(times.last().unwrap() + scenario.step);
        }
        let mut play = Self { scenario, times, noise, averages: Vec::new() };
        play.averages = play.averages();
        play
    }

    pub fn facts(&self) -> HostFacts {
        HostFacts {
            name: "web-07".to_owned(),
            kernel: "6.18.0".to_owned(),
            cpus: self.scenario.cpus,
            ticks_per_second: TICKS,
            own_pid: self.scenario.own,
            root: !self.scenario.ordinary_user && !self.hides(RIGHTS),
        }
    }

    pub fn samples(&self) -> impl Iterator<Item = (f64, Sample)> {
        (0..self.times.len()).map(|k| (self.times[k], self.sample(k)))
    }

    pub fn run(&self) -> Vec<(f64, Diagnosis)> {
        let mut monitor = Monitor::new(&self.facts(), Limits::default());
        let diagnoses: Vec<_> = self.samples().map(|(second, sample)| (second, monitor.ingest(sample))).collect();
        assert_eq!(monitor.history().samples().len(), diagnoses.len(), "every sample is in the ring");
        diagnoses
    }

    fn hides(&self, what: u64) -> bool {
        self.noise.is_some_and(|noise| noise.hides(what))
    }

    fn hides_io(&self, row: &Row) -> bool {
        row.io_hidden || self.hides(RIGHTS)
    }

    /// A rate's factor in the interval that ends at sample `k`.
    fn factor(&self, row: &Row, k: usize) -> f64 {
        self.noise.map_or(1.0, |noise| 0.5 + noise.unit(row.pid as u64, k as u64))
    }

    /// With noise as without, the CPUs are as busy: what one gets, another does not.
    fn cpu_factor(&self, row: &Row, k: usize) -> f64 {
        if self.noise.is_none() {
            return 1.0;
        }
        let sum = |factor: &dyn Fn(&Row) -> f64| self.scenario.process.iter().map(|row| row.cpu * factor(row)).sum::<f64>();
        let noisy = sum(&|row| self.factor(row, k));
        self.factor(row, k) * if noisy > 0.0 { sum(&|_| 1.0) / noisy } else { 1.0 }
    }

    /// What a rate has come to at sample `k`, with what it was in the last minute before.
    fn amount(&self, row: &Row, rate: f64, during: Option<[f64; 2]>, k: usize, factor: impl Fn(usize) -> f64) -> f64 {
        let [from, to] = during.unwrap_or([f64::MIN, f64::MAX]);
        let (from, to) = (from.max(-row.age()), to.min(row.ends.unwrap_or(f64::MAX)));
        let within = |a: f64, b: f64| (b.min(to) - a.max(from)).max(0.0);
        let past = within(-60.0, 0.0);
        rate * (past + (1..=k).map(|k| within(self.times[k - 1], self.times[k]) * factor(k)).sum::<f64>())
    }

    fn bytes(&self, row: &Row, rate: f64, k: usize) -> f64 {
        self.amount(row, rate, row.moves_during, k, |k| self.factor(row, k)) * 1e6
    }

    /// Stuck tasks at sample `k`.
    fn stuck(&self, row: &Row, k: usize) -> u32 {
        let second = self.times[k];
        let during = row.stuck_during.is_none_or(|[from, to]| second >= from && second < to);
        // What has been stuck for long does not come and go.
        let when = if row.stuck_for.is_some_and(|seconds| seconds > 1.0) { 0 } else { k as u64 };
        let share = self.noise.map_or(1.0, |noise| 0.5 + 0.5 * noise.unit(row.pid as u64 + 7_000_000, when));
        if during { (row.stuck.at(k) * share).round() as u32 } else { 0 }
    }

    fn runnable(&self, row: &Row, k: usize) -> u32 {
        let second = self.times[k];
        if row.runs_during.is_none_or(|[from, to]| second >= from && second < to) { row.runnable.at(k) as u32 } else { 0 }
    }

    fn process(&self, row: &Row, k: usize) -> Process {
        let rows = &self.scenario.process;
        let second = self.times[k];
        let parent_lives = rows.iter().any(|other| other.pid == row.parent() && other.alive(second));
        let reaped: Vec<&Row> =
            rows.iter().filter(|child| child.parent() == row.pid && child.ends.is_some_and(|ends| second >= ends)).collect();
        // The kernel adds what a child moved to its parent's count when the child is reaped.
        let bytes = |mb: fn(&Row) -> f64| {
            let children: f64 = reaped.iter().map(|child| self.bytes(child, mb(child), k)).sum();
            (self.bytes(row, mb(row), k) + children) as u64
        };
        let parent = match row.pid {
            1 => 0,
            _ if parent_lives => row.parent(),
            _ => 1,
        };
        Process {
            id: row.id(),
            parent,
            group: row.group(),
            session: row.session(),
            tty: if row.tty { 136 << 8 } else { 0 },
            comm: row.comm.as_str().into(),
            kernel_thread: row.kernel,
            forked_only: false,
            zombie: false,
            nice: 0,
            io: (!self.hides_io(row)).then(|| IoBytes {
                read: bytes(|row| row.read_mb),
                written: bytes(|row| row.write_mb),
                read_any: bytes(|row| row.read_mb),
                written_any: bytes(|row| row.write_mb),
            }),
        }
    }

    fn tasks(&self, row: &Row, k: usize) -> Vec<Task> {
        let (stuck, runnable) = (self.stuck(row, k), self.runnable(row, k));
        // No task has more than a CPU, at the noisiest.
        let busy = row.cpu * if self.noise.is_some() { 3.0 } else { 1.0 };
        let all = ((row.stuck.most() + row.runnable.most()) as u32).max(busy.ceil() as u32).max(1);
        let nanos = |amount: f64| (amount * SECOND as f64) as Nanos / u64::from(all);
        let cpu = if row.storm.is_some() { 0.0 } else { row.cpu };
        let cpu = nanos(self.amount(row, cpu, row.runs_during, k, |k| self.cpu_factor(row, k)));
        let delay = if row.storm.is_some() { 0.0 } else { row.wait };
        let delay = nanos(self.amount(row, delay, row.runs_during, k, |k| self.factor(row, k)));
        (0..all)
            .map(|n| Task {
                id: TaskId {
                    tid: row.pid + if n == 0 { 0 } else { 1_000_000 + row.pid * 1000 + n.cast_signed() },
                    start: row.id().start,
                },
                pid: row.pid,
                state: match n {
                    n if n < stuck => TaskState::Uninterruptible,
                    n if n < stuck + runnable => TaskState::Runnable,
                    _ if row.stopped => TaskState::Stopped,
                    _ => TaskState::Sleeping,
                },
                cpu,
                run_delay: Some(delay),
                wait: (n < stuck).then(|| Box::new(self.wait(row, k, n))),
            })
            .collect()
    }

    fn wait(&self, row: &Row, k: usize, task: u32) -> Wait {
        let stack: Vec<_> = row.stack.split_whitespace().map(Into::into).collect();
        let channel = row.wchan.as_deref().map(Into::into).or(stack.first().cloned());
        let first = (0..=k).rev().take_while(|k| self.stuck(row, *k) > task).last().unwrap_or(k);
        let began = if first == 0 { -row.stuck_for.unwrap_or_default() } else { self.times[first] - 0.05 };
        let known = row.stuck_for.filter(|_| !self.hides(CLOCKS));
        let channels = !self.hides(CHANNELS) && !self.hides(RIGHTS);
        let call = row.call.as_deref().map(|name| name.parse::<syscalls::Sysno>().unwrap_or_else(|()| panic!("no call {name}")));
        Wait {
            wchan: channel.filter(|_| channels),
            syscall: call.filter(|_| channels).map(|call| call.id().cast_unsigned()),
            stack: (!stack.is_empty() && !self.hides(STACKS) && channels).then_some(stack),
            last_ran: known.map(|_| self.clock(began)),
            file: row.on.as_deref().filter(|_| channels && !self.hides(FILES)).map(|text| self.scenario.file(text)),
            ..Wait::default()
        }
    }

    /// The children of a storm that live at sample `k`: each is born on time and has used its part since.
    fn storm(&self, row: &Row, k: usize) -> Vec<(Process, Task)> {
        let Some(rate) = row.storm else { return Vec::new() };
        let now = self.times[k] + 1000.0;
        let child = |n: u64| {
            let age = now - n as f64 / rate;
            let id =
                ProcessId { pid: row.pid + 1 + (n % 30_000) as Pid, start: ((UP + self.times[k] - age) * TICKS as f64) as u64 };
            let each = |all: f64| (all / rate / row.lives() * age * SECOND as f64) as Nanos;
            let process = self.process(row, k);
            let task = Task {
                id: TaskId { tid: id.pid, start: id.start },
                pid: id.pid,
                state: TaskState::Runnable,
                cpu: each(row.cpu),
                run_delay: Some(each(row.wait)),
                wait: None,
            };
            let io = process.io.map(|_| IoBytes::default());
            (Process { id, parent: row.pid, group: row.group(), session: row.session(), io, ..process }, task)
        };
        (((now - row.lives()) * rate) as u64 + 1..=(now * rate) as u64).map(child).collect()
    }

    /// What a unit's control group has come to at sample `k`.
    fn cgroup(&self, row: &CgroupRow, k: usize) -> Cgroup {
        let seconds = self.times[k] + 60.0;
        let nanos = |part: Option<f64>| part.map(|part| (part * seconds * SECOND as f64) as Nanos);
        let storage = self.scenario.storage().unwrap_or_default();
        let device = storage.devices.iter().find(|device| device.name == row.on.as_str()).map(|device| device.device);
        let bytes = |mb: f64| (mb * 1e6 * seconds) as u64;
        Cgroup {
            path: row.path.as_ref().map_or_else(|| format!("/system.slice/{}.service", row.unit), String::clone).into(),
            io: device.map(|device| {
                vec![CgroupIo { device, read: bytes(row.read_mb), written: bytes(row.write_mb), ..CgroupIo::default() }]
            }),
            io_whole: !row.partly,
            cpu_stalled: nanos(row.cpu),
            io_stalled: nanos(row.io),
            memory_stalled: nanos(row.memory),
            throttled: nanos(row.throttled),
            limited: row.limited.map(|times| (times * seconds) as u64),
            io_limits: device.zip(row.most_mb).map(|(device, mb)| limit(device, mb)).into_iter().collect(),
            memory_limit: row.memory_mb.map(|mb| (mb * 1e6) as u64),
        }
    }

    /// What has gone through this disk at sample `k`: bytes read, bytes written.
    fn traffic(&self, disk: &DiskRow, k: usize) -> (f64, f64) {
        let first = self.scenario.disk.first().map_or("", |disk| disk.name.as_str());
        let mut sum = (0.0, 0.0);
        for row in self.scenario.process.iter().filter(|row| !row.kernel) {
            let on = row.disk.as_deref().unwrap_or(first);
            if self.scenario.devices_below(on).contains(&disk.name) {
                sum.0 += self.bytes(row, row.read_mb, k);
                sum.1 += self.bytes(row, row.write_mb, k);
            }
        }
        let more = |mb: f64| mb * 1e6 * (self.times[k] + 60.0);
        (sum.0 + more(disk.read_mb), sum.1 + more(disk.write_mb))
    }

    fn disk(&self, disk: &DiskRow, k: usize) -> Disk {
        let during = |k: usize| disk.during.is_none_or(|[from, to]| self.times[k] > from && self.times[k] <= to);
        let busy: f64 =
            (1..=k).filter(|k| during(*k)).map(|k| disk.util.at(k) * (self.times[k] - self.times[k - 1]) * 1000.0).sum();
        let (read, written) = self.traffic(disk, k);
        Disk {
            name: disk.name.as_str().into(),
            reads: (read / 65_536.0) as u64 + busy as u64,
            writes: (written / 65_536.0) as u64,
            read_bytes: read as u64,
            write_bytes: written as u64,
            request_ms: (busy * 4.0) as u64,
            busy_ms: busy as u64,
            queue_ms: (busy * 8.0) as u64,
        }
    }

    /// The kernel's own arithmetic (`kernel/sched/loadavg.c`), for as long before the first sample as it remembers.
    fn averages(&self) -> Vec<f64> {
        const ONE: u64 = 1 << 11;
        let active = |second: f64| -> u32 {
            let k = self.times.iter().rposition(|time| *time <= second).unwrap_or_default();
            let rows = self.scenario.process.iter().filter(|row| row.alive(second));
            rows.map(|row| {
                let stuck = if row.stuck_for.is_none_or(|seconds| second >= -seconds) { self.stuck(row, k) } else { 0 };
                let storm = row.storm.map_or(0, |rate| (rate * row.lives()).round() as u32);
                stuck + storm + self.runnable(row, k)
            })
            .sum()
        };
        let (mut average, mut next) = (0_u64, -120.0 * LOAD_STEP + 1.0);
        let until = |time: f64| {
            while next <= time {
                let tasks = u64::from(active(next)) * ONE;
                average = (average * 1884 + tasks * (ONE - 1884) + if tasks >= average { ONE - 1 } else { 0 }) / ONE;
                next += LOAD_STEP;
            }
            average as f64 / ONE as f64
        };
        self.times.iter().copied().map(until).collect()
    }

    fn host(&self, k: usize) -> Host {
        let second = self.times[k];
        let Scenario { cpus, io_pressure, memory_pressure, memory_mb, memory_free_mb, .. } = *self.scenario;
        let free = memory_free_mb.map(|mb| (mb * 1e6) as u64);
        let rows = self.scenario.process.iter();
        // The minute before the first sample counts, as it does for each row.
        let all = cpus as f64 * (second + 60.0);
        let used = || rows.map(|row| self.amount(row, row.cpu, row.runs_during, k, |k| self.cpu_factor(row, k))).sum();
        let busy = self.scenario.busy.map_or_else(used, |busy| busy * (second + 60.0)).min(all);
        let idle = self.scenario.idle.map_or(all - busy, |idle| idle * (second + 60.0));
        let ticks = |seconds: f64| (seconds * TICKS as f64) as u64;
        let pressure = (io_pressure.is_some() || memory_pressure.is_some()) && !self.hides(PRESSURE);
        let (io, memory) = (io_pressure.unwrap_or_default(), memory_pressure.unwrap_or_default());
        Host {
            load: Some(LoadAverage { avg1: self.averages[k], avg5: 2.0, avg15: 1.0 }),
            cpu: Some(CpuTimes { busy: ticks(busy), idle: ticks(idle), iowait: 0, steal: 0 }),
            pressure: pressure.then_some(Pressure {
                cpu_some10: 0.0,
                io_some10: io,
                io_full10: io,
                memory_some10: memory,
                memory_full10: memory,
                totals: None,
            }),
            memory: memory_mb.map(|mb| Memory { total: (mb * 1e6) as u64, available: free, swap_total: 0, swap_free: 0 }),
            disks: self.scenario.disk.iter().map(|disk| self.disk(disk, k)).collect(),
        }
    }

    /// The CPU's clock at this second. It does not count what a hypervisor took.
    fn clock(&self, second: f64) -> CpuClock {
        let stolen = self.scenario.stolen * second.max(0.0);
        CpuClock { cpu: 0, clock: ((UP + second - CLOCK_BEHIND - stolen) * SECOND as f64) as u64 }
    }

    pub fn sample(&self, k: usize) -> Sample {
        let second = self.times[k];
        let rows: Vec<&Row> = self.scenario.process.iter().filter(|row| row.alive(second)).collect();
        let hidden = rows.iter().filter(|row| self.hides_io(row)).count() as u32;
        let storms: Vec<_> = rows.iter().flat_map(|row| self.storm(row, k)).collect();
        let identity = |row: &Row| Identity {
            argv: row.argv.clone(),
            exe: None,
            uid: None,
            user: Some(row.user.clone().unwrap_or_else(|| "root".to_owned())),
            cgroup: row.cgroup.clone(),
            controlled: Controlled::default(),
        };
        let clocks = rows.iter().any(|row| row.stuck_for.is_some()) && !self.hides(CLOCKS);
        let files = rows.iter().filter(|row| !row.files.is_empty() && !self.hides(FILES) && !self.hides_io(row));
        let resident = |row: &&Row| {
            let private = row.resident_mb? + row.grows_mb * second;
            Some((row.id(), Resident { private: (private * 1e6) as u64, shared: (row.shared_mb * 1e6) as u64 }))
        };
        Sample {
            at: "2026-11-22T15:03:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs_f64(second),
            since_boot: ((UP + second) * SECOND as f64) as u64,
            keyframe: true,
            host: self.host(k),
            processes: rows.iter().map(|row| self.process(row, k)).chain(storms.iter().map(|(one, _)| one.clone())).collect(),
            tasks: rows.iter().flat_map(|row| self.tasks(row, k)).chain(storms.iter().map(|(_, one)| one.clone())).collect(),
            gone_processes: Vec::new(),
            gone_tasks: Vec::new(),
            clocks: if clocks { vec![self.clock(second)] } else { Vec::new() },
            awake: if clocks && k > 0 { vec![0] } else { Vec::new() },
            storage: if k == 0 && !self.hides(STORAGE) { self.scenario.storage().map(Arc::new) } else { None },
            open_files: files.map(|row| (row.id(), self.scenario.open_files(row))).collect(),
            resident: rows.iter().filter_map(resident).collect(),
            cgroups: if self.hides(CGROUPS) {
                Vec::new()
            } else {
                self.scenario.cgroup.iter().map(|row| self.cgroup(row, k)).collect()
            },
            identities: rows.iter().filter(|row| !row.kernel).map(|row| (row.id(), Arc::new(identity(row)))).collect(),
            gaps: if hidden > 0 { vec![Gap::IoDenied { processes: hidden }] } else { Vec::new() },
            cost: Cost::default(),
        }
    }
}

/// So many megabytes a second, each way.
fn limit(device: (u32, u32), mb: f64) -> IoLimit {
    let most = Some((mb * 1e6) as u64);
    IoLimit { device, read: most, written: most, ..IoLimit::default() }
}
