//! The core under screen, headless mode, replay and tests alike: a sample in, a diagnosis out.
//!
//! Knows no clock and no kernel: time is in the samples. Tested by `tests/scenarios.rs`.

mod limits;
mod weigh;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use compact_str::CompactString;
use jiff::{SignedDuration, Timestamp};

use crate::analysis::blame::{self, DISK_BUSY, Incumbent, Totals};
use crate::analysis::brief::{self, Brief, Young};
use crate::analysis::diagnosis::{
    Activity, Contention, CpuUse, Diagnosis, DiskUse, Job, JobId, LedgerLine, Load, Resource, Severity, TrendPoint, Verdict,
    WaitGroup,
};
use crate::analysis::earlier::Earlier;
use crate::analysis::freezes::Freezes;
use crate::analysis::jobs::{Instant, Jobs};
use crate::analysis::kind::Catalogue;
use crate::analysis::ledger::{Counted, Ledger};
use crate::analysis::past::{Past, Run};
use crate::analysis::stalls::Cgroups;
use crate::analysis::storage::Layers;
use crate::analysis::table::{Entry, Table, Used};
use crate::analysis::waits;
use crate::analysis::wedge;
use crate::analysis::window::{Recent, Window};
use crate::history::{History, Limits};
use crate::sample::{Gap, Host, HostFacts, Sample, TaskState};
use crate::units::{Nanos, Pid, ProcessId, SECOND, clean};

/// A kernel thread that has been in uninterruptible sleep for so many seconds is one that always is: nothing that it could do for
/// somebody takes that long.
const ALWAYS: f64 = 120.0;

/// The part that a culprit took counts half after this many seconds: a disk works off a burst in a few.
const FADING: f64 = 3.0;

/// Folds samples into diagnoses.
#[derive(Debug)]
pub struct Monitor {
    facts: Arc<HostFacts>,
    table: Table,
    jobs: Jobs,
    window: Window,
    ledger: Ledger,
    layers: Layers,
    cgroups: Cgroups,
    freezes: Freezes,
    history: History,
    before: Option<(Nanos, Host)>,
    troubles: Vec<Trouble>,
    /// The jobs of processes that did something within the window: what those did that have ended counts on.
    of_late: HashMap<ProcessId, JobId>,
    past: Past,
    earlier: Earlier,
    /// Jobs that somebody at this screen told to end: how long they ran says nothing of how long such a run takes.
    cut_short: HashSet<JobId>,
    /// What is wrong with what whytop was told to know.
    complaints: Vec<Gap>,
}

/// Contention that goes on: since when, and when it was last seen.
#[derive(Debug)]
struct Trouble {
    resource: Resource,
    device: Option<String>,
    since: Timestamp,
    incumbent: Option<Incumbent>,
}

impl Trouble {
    fn culprit(&self) -> Option<&JobId> {
        self.incumbent.as_ref().map(|incumbent| &incumbent.job)
    }
}

impl Monitor {
    /// A monitor of this host, with an empty past.
    pub fn new(facts: &HostFacts, limits: Limits) -> Self {
        Self {
            // From strangers, like everything that is printed.
            facts: Arc::new(HostFacts { name: clean(&facts.name), kernel: clean(&facts.kernel), ..*facts }),
            table: Table::new(Catalogue::built_in()),
            jobs: Jobs::default(),
            window: Window::default(),
            ledger: Ledger::default(),
            layers: Layers::default(),
            cgroups: Cgroups::default(),
            freezes: Freezes::default(),
            history: History::new(limits),
            before: None,
            troubles: Vec::new(),
            of_late: HashMap::new(),
            past: Past::default(),
            earlier: Earlier::default(),
            cut_short: HashSet::new(),
            complaints: Vec::new(),
        }
    }

    /// The same, knowing this of programs. Nothing has been taken in yet.
    #[must_use]
    pub fn knowing(self, catalogue: Arc<Catalogue>, complaints: Vec<Gap>) -> Self {
        Self { table: Table::new(catalogue), complaints, ..self }
    }

    /// The same, on a host where a timer starts these units.
    #[must_use]
    pub fn timing(self, timed: HashSet<String>) -> Self {
        Self { jobs: Jobs::timing(timed), ..self }
    }

    /// The same, with what other whytops saw of earlier runs.
    #[must_use]
    pub fn remembering(mut self, runs: Vec<Run>) -> Self {
        for run in runs {
            self.past.add(run);
        }
        self
    }

    /// The runs that ended since this was asked last.
    pub fn take_runs(&mut self) -> Vec<Run> {
        self.past.take_fresh()
    }

    /// What does not change about the host, fit to be printed.
    pub fn facts(&self) -> &Arc<HostFacts> {
        &self.facts
    }

    /// These processes are being told to end: their job's run is not one that ended by itself.
    pub fn told_to_end(&mut self, processes: &[ProcessId]) {
        let jobs = processes.iter().filter_map(|id| self.jobs.of(*id)).map(|facts| facts.id.clone());
        self.cut_short.extend(jobs);
    }

    /// Takes in the next sample and says what is the matter.
    pub fn ingest(&mut self, sample: Sample) -> Diagnosis {
        let seconds =
            self.before.as_ref().map_or(0.0, |(before, _)| sample.since_boot.saturating_sub(*before) as f64 / SECOND as f64);
        let mut used = self.table.apply(&sample, self.facts.ticks_per_second);
        let mut own_cpu = 0;
        // whytop runs whenever it looks, and so does whoever it started to load the task iterator: it would count itself, and the job it was
        // started from would stand accused of what it takes. Its cost has a place of its own.
        used.retain(|id, used| {
            let parent = self.table.get(id.pid).map(|entry| entry.process.parent);
            let is_own = self.facts.own_pid.is_some_and(|own| id.pid == own || parent == Some(own));
            own_cpu += if is_own { used.cpu } else { 0 };
            !is_own
        });
        self.window.push(seconds, used);
        let recent = self.window.recent();
        let instant = Instant {
            at: sample.at,
            since_boot: sample.since_boot,
            ticks_per_second: self.facts.ticks_per_second,
            rates: self.window.has_rates(),
        };
        self.jobs.update(&self.table, &recent, instant);
        for ended in self.jobs.take_ended() {
            if self.cut_short.remove(&ended.id) {
                continue;
            }
            self.past.note(&ended, ended.root.map_or(0.0, |root| instant.age(root)));
        }

        for id in recent.keys() {
            if let Some(facts) = self.jobs.of(*id) {
                self.of_late.insert(*id, facts.id.clone());
            }
        }
        self.of_late.retain(|id, _| recent.contains_key(id));

        let cpu = self.cpu_use(&sample, seconds);
        self.window.add_brief(self.brief(cpu, seconds, instant, own_cpu));
        if let Some(storage) = &sample.storage {
            self.layers.update(storage);
        }
        self.cgroups.update(&sample.cgroups, sample.since_boot);
        let disks = self.disk_use(&sample, seconds);
        let io_hidden = sample.gaps.iter().any(|gap| matches!(gap, Gap::IoDenied { .. }));
        let mut jobs = self.weigh(&recent, &disks, io_hidden, instant);
        // Of stacked devices the uppermost that is busy is the one that is short: a loop device may be throttled on an idle disk.
        let busy = |device: &CompactString| disks.iter().any(|disk| disk.name == *device && disk.util >= DISK_BUSY);
        let disk = |below: &[CompactString]| below.iter().find(|device| busy(device)).or(below.first()).map(|name| clean(name));
        let waits = waits::groups(&self.table, &self.jobs, &self.layers, self.facts.own_pid, disk);
        self.freezes.update(&self.table, &self.jobs, &sample);
        self.freezes.settle(&waits, sample.since_boot);
        let (wedged, behind) = wedge::wedged(&self.table, &self.jobs, &sample);
        let limits = self.limits(&jobs);
        let incumbents: Vec<Incumbent> = self.troubles.iter().filter_map(|trouble| trouble.incumbent.clone()).collect();
        let totals = Totals {
            cpus: self.facts.cpus as f64,
            cpu_busy: cpu.map(|cpu| cpu.without_rest(self.facts.cpus as f64)),
            io_hidden: io_hidden && !self.facts.root,
            disk_pressed: blame::disk_pressed(&disks, sample.host.pressure, self.io_stalled(&sample, seconds)),
            memory: sample.host.memory,
            pressure: sample.host.pressure,
            disks: &disks,
            limits: &limits,
            incumbents: &incumbents,
            freezes: &self.freezes,
            table: &self.table,
            recent: &recent,
            instant,
        };
        let mut verdict = blame::judge(&mut jobs, &waits, &wedged, totals);
        self.remember(&mut verdict, &waits, sample.at, seconds);
        blame::order(&mut jobs, &verdict);

        let load = self.load(&sample, &jobs);
        let point = TrendPoint { at: sample.at, runnable: load.runnable, uninterruptible: load.uninterruptible };
        let gaps = sample.gaps.iter().chain(&self.complaints).cloned().collect();
        let (at, since_boot, host, cost) = (sample.at, sample.since_boot, sample.host.clone(), sample.cost);
        self.before = Some((since_boot, host.clone()));
        self.history.push(sample, point);
        let mut diagnosis = Diagnosis {
            at,
            since_boot,
            host: Arc::clone(&self.facts),
            load,
            cpu,
            pressure: host.pressure,
            memory: host.memory,
            verdict,
            jobs,
            waits,
            wedged,
            behind,
            disks,
            activity: recent.iter().map(|(id, recent)| (*id, self.activity(*id, recent))).collect(),
            halted: self.table.halted().collect(),
            trend: self.history.trend(),
            gaps,
            cost,
        };
        self.earlier.update(&mut diagnosis);
        diagnosis
    }

    /// The process that the task with this number belongs to, as far as it was looked at.
    pub fn process_of(&self, tid: Pid) -> Option<Pid> {
        let has = |entry: &&Entry| entry.tasks.iter().any(|task| task.id.tid == tid);
        self.table.get(tid).or_else(|| self.table.iter().find(has)).map(|entry| entry.process.id.pid)
    }

    /// The samples that are still in memory.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The load averages, what they are made of, and the tasks of now by job.
    fn load(&mut self, sample: &Sample, jobs: &[Job]) -> Load {
        let mut ledger: Vec<LedgerLine> = jobs
            .iter()
            .filter(|job| job.runnable + job.uninterruptible > 0)
            .map(|job| LedgerLine {
                job: job.facts.id.clone(),
                name: job.facts.name.clone(),
                runnable: job.runnable,
                uninterruptible: job.uninterruptible,
            })
            .collect();
        ledger.sort_by_key(|line| std::cmp::Reverse(line.now()));
        let mut stuck_for: HashMap<&JobId, Vec<f64>> = HashMap::new();
        for (id, task) in self.table.stuck() {
            let job = self.jobs.of(id).map(|facts| &facts.id);
            if let Some((job, stuck)) = job.zip(self.table.stuck_for(task)) {
                stuck_for.entry(job).or_default().push(stuck.seconds);
            }
        }
        let (mut kernel, mut program) = (Vec::new(), 0.0_f64);
        for (id, task) in self.table.stuck() {
            let seconds = self.table.stuck_for(task).map_or(0.0, |stuck| stuck.seconds);
            match self.table.get(id.pid) {
                Some(entry) if entry.process.kernel_thread => kernel.push(seconds),
                // A parent may wait for days for its child to start a program, and holds up nobody.
                _ if waits::is_nobodys_trouble(task) => {}
                _ => program = program.max(seconds),
            }
        }
        // One that got stuck about when programs did may well wait for the same.
        let always = kernel.iter().filter(|seconds| **seconds >= program + ALWAYS).count() as u32;
        let account = sample.host.load.map(|averages| {
            let counted = ledger.iter().map(|line| Counted {
                job: &line.job,
                name: &line.name,
                tasks: line.now(),
                stuck_for: stuck_for.get(&line.job).map(Vec::as_slice).unwrap_or_default(),
            });
            self.ledger.add(sample.since_boot, averages.avg1, counted)
        });
        Load {
            averages: sample.host.load,
            runnable: ledger.iter().map(|line| line.runnable).sum(),
            uninterruptible: ledger.iter().map(|line| line.uninterruptible).sum(),
            always,
            ledger,
            account,
        }
    }

    fn activity(&self, id: ProcessId, recent: &Recent) -> Activity {
        let entry = self.table.get(id.pid).filter(|entry| entry.process.id == id);
        let resting = entry.and_then(|entry| entry.tasks.iter().find(|task| task.id.tid == id.pid)).map(|task| task.state);
        let state = match (recent.stuck, recent.runnable, resting) {
            (1.., _, _) => TaskState::Uninterruptible,
            (0, 1.., _) => TaskState::Runnable,
            (0, 0, Some(state)) => state,
            (0, 0, None) => TaskState::Sleeping,
        };
        Activity { state, runnable: recent.runnable, uninterruptible: recent.stuck, usage: recent.usage }
    }

    /// Keeps the beginning of contention that goes on. One that was there before whytop looked began when the first of the victims got
    /// stuck, as far as they still are.
    fn remember(&mut self, verdict: &mut Verdict, waits: &[WaitGroup], at: Timestamp, seconds: f64) {
        let before = std::mem::take(&mut self.troubles);
        let go_on = |short: &Contention| {
            let Contention { resource, device, culprit, .. } = short;
            let of_it = || before.iter().filter(|trouble| trouble.resource == *resource && trouble.culprit() == culprit.as_ref());
            let same = of_it().find(|trouble| trouble.device == *device);
            let stuck = waits.iter().filter(|group| short.victims.contains(&group.job) && group.is_for(*resource));
            let longest = WaitGroup::longest(stuck).map_or(0.0, |stuck| stuck.seconds);
            let first = SignedDuration::try_from_secs_f64(longest).ok().and_then(|longest| at.checked_sub(longest).ok());
            // Of stacked devices now the one and now the other may be the busy one.
            let since = same.or(of_it().next()).map_or(at, |trouble| trouble.since).min(first.unwrap_or(at));
            let known = same.and_then(|trouble| trouble.incumbent.as_ref());
            let faded = known.map_or(0.0, |incumbent| incumbent.share * 0.5_f64.powf(seconds / FADING));
            let share = short.share.unwrap_or_default().max(faded);
            let accused = known.map_or(0.0, |incumbent| incumbent.accused + seconds);
            let incumbent =
                culprit.clone().map(|job| Incumbent { job, resource: *resource, device: device.clone(), share, accused });
            Trouble { resource: *resource, device: device.clone(), since, incumbent }
        };
        let is_contended = |short: &&Contention| short.severity == Severity::Contention;
        self.troubles = verdict.contentions().filter(is_contended).map(go_on).collect();
        let leads = is_contended(&&verdict.worst);
        verdict.since = self.troubles.first().filter(|_| leads).map(|trouble| trouble.since);
    }

    /// CPU seconds of processes that came and went in the newest interval, by job.
    fn brief(&self, cpu: Option<CpuUse>, seconds: f64, instant: Instant, own_cpu: Nanos) -> HashMap<JobId, Brief> {
        let Some(cpu) = cpu else { return HashMap::new() };
        let seen = self.window.newest().map(|(_, used)| used.cpu as f64).sum::<f64>() + own_cpu as f64;
        let unexplained = (cpu.busy - cpu.steal) * seconds - seen / SECOND as f64;
        let of = |(id, used): (ProcessId, &Used)| (id, used.cpu, used.run_delay.unwrap_or_default());
        let mut newest: Vec<(ProcessId, Nanos, Nanos)> = self.window.newest().map(of).collect();
        newest.sort_unstable();
        let tick = 1.0 / instant.ticks_per_second as f64;
        let young = newest.into_iter().filter_map(|(id, cpu, run_delay)| {
            Some(Young { job: &self.jobs.of(id)?.id, age: instant.age(id).max(tick), cpu, run_delay })
        });
        brief::used(young, seconds, unexplained, tick)
    }

    fn cpu_use(&self, sample: &Sample, seconds: f64) -> Option<CpuUse> {
        let (_, before) = self.before.as_ref()?;
        let (old, new) = before.cpu.zip(sample.host.cpu)?;
        let cpus = |old: u64, new: u64| Some(new.checked_sub(old)? as f64 / self.facts.ticks_per_second as f64 / seconds);
        (seconds > 0.0).then_some(())?;
        Some(CpuUse {
            busy: cpus(old.busy, new.busy)?,
            idle: cpus(old.idle, new.idle),
            iowait: cpus(old.iowait, new.iowait)?,
            steal: cpus(old.steal, new.steal)?,
        })
    }

    /// The part of the newest interval in which I/O held somebody up.
    fn io_stalled(&self, sample: &Sample, seconds: f64) -> Option<f64> {
        let (_, before) = self.before.as_ref().filter(|_| seconds > 0.0)?;
        let (old, new) = before.pressure?.totals.zip(sample.host.pressure?.totals)?;
        Some(new.io.checked_sub(old.io)? as f64 / SECOND as f64 / seconds)
    }

    fn disk_use(&self, sample: &Sample, seconds: f64) -> Vec<DiskUse> {
        let Some((_, before)) = self.before.as_ref().filter(|_| seconds > 0.0) else { return Vec::new() };
        let mut disks: Vec<DiskUse> = sample
            .host
            .disks
            .iter()
            .filter_map(|new| {
                let old = before.disks.iter().find(|old| old.name == new.name)?;
                let (reads, writes) = (new.reads.checked_sub(old.reads)?, new.writes.checked_sub(old.writes)?);
                let requests = reads.saturating_add(writes);
                let (read, written) =
                    (new.read_bytes.checked_sub(old.read_bytes)?, new.write_bytes.checked_sub(old.write_bytes)?);
                let (busy, took) = (new.busy_ms.checked_sub(old.busy_ms)?, new.request_ms.checked_sub(old.request_ms)?);
                let queued = new.queue_ms.checked_sub(old.queue_ms)?;
                let scheduler = self.layers.device(&new.name).and_then(|device| device.scheduler.as_deref());
                (requests > 0 || busy > 0).then(|| DiskUse {
                    name: clean(&new.name),
                    read_bytes: read as f64 / seconds,
                    write_bytes: written as f64 / seconds,
                    reads: reads as f64 / seconds,
                    writes: writes as f64 / seconds,
                    util: (busy as f64 / 1000.0 / seconds).min(1.0),
                    queue: queued as f64 / 1000.0 / seconds,
                    await_ms: (requests > 0).then(|| took as f64 / requests as f64),
                    scheduler: scheduler.map(clean),
                })
            })
            .collect();
        disks.sort_by(|a, b| b.util.total_cmp(&a.util).then_with(|| a.name.cmp(&b.name)));
        disks
    }
}
