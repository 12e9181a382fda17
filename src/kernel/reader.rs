//! One reader for one proc tree: keeps what it saw and gives samples of what changed.
//!
//! Puts the parts together, takes the clocks and names the gaps. Decides nothing about what the numbers mean. Tested by
//! `tests/kernel.rs`, on made-up trees and the real one.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context;
use jiff::Timestamp;
use rustix::{
    param::clock_ticks_per_second,
    process::geteuid,
    time::{ClockId, Timespec, clock_gettime},
};
use sysinfo::System;

use super::{
    cgroups::Cgroups,
    files::Files,
    holders::{HeldUp, Holders},
    host::HostReader,
    identity::Identities,
    movers::Movers,
    newcomers::Started,
    own::Own,
    process::Looker,
    root::ProcRoot,
    storage::StorageReader,
    table::Table,
    tier::{Choice, KernelTier},
    watched::Progress,
};
use crate::{
    sample::{Cost, Gap, Glance, HostFacts, Overdue, Pressure, ProcReason, Sample, Tier},
    units::{Nanos, Pid, SECOND},
};

/// How long a sample waits for the command lines of who is new in it.
const IDENTITY_GRACE: Duration = Duration::from_millis(30);

/// Reads one proc tree, again and again.
pub struct Reader {
    root: ProcRoot,
    looker: Looker,
    table: Table,
    host: HostReader,
    identities: Identities,
    movers: Movers,
    holders: Holders,
    cgroups: Cgroups,
    /// Who was held up at the last sample, and when that was.
    before: Option<(Nanos, Option<Pressure>)>,
    storage: StorageReader,
    tier: KernelTier,
    own: Option<Own>,
    cpu: Nanos,
    begun: bool,
}

impl Reader {
    /// A reader of files that has not read anything yet. Raises the process's limit of open files, and starts the threads that
    /// read command lines.
    pub fn new(root: ProcRoot) -> anyhow::Result<Self> {
        Self::with_tier(root, Choice::Proc)
    }

    /// The same with a choice of how tasks are read. Fails if that is the kernel's iterator and it cannot be had.
    pub fn with_tier(root: ProcRoot, choice: Choice) -> anyhow::Result<Self> {
        let tier = KernelTier::new(choice, &root, None)?;
        Self::with(root, tier)
    }

    /// The same, and the iterator is loaded by a process of its own: by this program, which has to be whytop.
    pub fn with_loader(root: ProcRoot, choice: Choice, program: &Path) -> anyhow::Result<Self> {
        let tier = KernelTier::new(choice, &root, Some(program))?;
        Self::with(root, tier)
    }

    /// The same with an iterator program other than the one that comes with whytop: `tests/tiers.rs` compiles one.
    pub fn with_object(root: ProcRoot, object: &[u8]) -> anyhow::Result<Self> {
        Self::with(root, KernelTier::with_object(object)?)
    }

    fn with(root: ProcRoot, tier: KernelTier) -> anyhow::Result<Self> {
        let identities = Identities::new(&root)?;
        Ok(Self {
            looker: Looker::new(Files::new(root.clone()), clock_ticks_per_second()),
            table: Table::default(),
            host: HostReader::new(root.clone()),
            identities,
            movers: Movers::new(&root),
            holders: Holders::default(),
            cgroups: Cgroups::new(&root),
            before: None,
            storage: StorageReader::new(&root)?,
            tier,
            own: None,
            root,
            cpu: nanos(clock_gettime(ClockId::ProcessCPUTime)),
            begun: false,
        })
    }

    /// Goes on locking this process's memory when that may be done, and names what of it could not be.
    #[must_use]
    pub fn keeping(mut self, own: Own) -> Self {
        self.own = Some(own);
        self
    }

    /// Where it is told which process is being read.
    pub(super) fn progress(&self) -> Progress {
        self.looker.files.progress().clone()
    }

    /// Leaves these processes out from now on, until they go on.
    pub(super) fn shun(&mut self, pids: &[Pid]) {
        self.looker.files.shun(pids);
    }

    /// The same of everybody in uninterruptible sleep.
    pub(super) fn shun_uninterruptible(&mut self) {
        self.looker.files.shun_uninterruptible();
    }

    /// The processes that are left out.
    pub(super) fn shunned(&self) -> Vec<Pid> {
        self.looker.files.shunned().to_vec()
    }

    /// What does not change about this host.
    pub fn facts(&self) -> HostFacts {
        let below = |name: &str| {
            let text = fs::read_to_string(self.root.path().join("sys/kernel").join(name)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty() && !self.root.is_live())
        };
        let stat = fs::read_to_string(self.root.path().join("stat")).unwrap_or_default();
        let is_cpu = |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        HostFacts {
            name: below("hostname").or_else(|| System::host_name().ok()).unwrap_or_default(),
            kernel: below("osrelease").or_else(|| System::kernel_version().ok()).unwrap_or_default(),
            cpus: stat.lines().filter(is_cpu).count().max(1),
            ticks_per_second: clock_ticks_per_second(),
            own_pid: self.root.is_live().then(|| std::process::id().cast_signed()),
            root: geteuid().is_root(),
        }
    }

    /// Looks at the host as a whole, tasks not included: for something to show while the first sample is taken.
    pub fn glance(&mut self) -> Glance {
        let mut gaps = Vec::new();
        let at = Timestamp::now();
        let since_boot = self.since_boot(&mut gaps);
        let (host, tasks) = self.host.glance(&mut gaps);
        // This very thread runs.
        let own = u32::from(self.root.is_live());
        let tasks = tasks.map(|(running, all)| (running.saturating_sub(own), all));
        Glance { at, since_boot, host, tasks, gaps }
    }

    /// Takes a sample: everything the first time, what changed after that. Fails only if the tree itself cannot be listed.
    pub fn sample(&mut self) -> anyhow::Result<Sample> {
        let start = Instant::now();
        let mut gaps = Vec::new();
        if self.looker.files.reconsider() {
            self.table.doubt();
        }
        let at = Timestamp::now();
        let since_boot = self.since_boot(&mut gaps);
        let host = self.host.read(&mut gaps);
        let changes = match self.tier.read() {
            Some(mut read) => self.table.take(&mut self.looker, (read.before, read.now), self.host.tasks, || read.stuck()),
            None => self
                .table
                .sweep(&mut self.looker, self.host.queued, Started::new(self.host.forks, self.host.last_pid))
                .with_context(|| format!("list processes in {}", self.root.path().display()))?,
        };
        let tier = self.tier.tier();
        if let Some(own) = self.own.as_mut().filter(|_| tier != Tier::Proc(ProcReason::Loading)) {
            own.complete();
        }
        let open_files = self.movers.look(&mut self.looker, &changes, since_boot, &host.disks);
        let before = self.before.replace((since_boot, host.pressure));
        let held_up = before.map_or_else(
            || HeldUp::between(None, host.pressure, 0),
            |(at, pressure)| HeldUp::between(pressure, host.pressure, since_boot.saturating_sub(at)),
        );
        let resident = self.holders.look(&mut self.looker, &self.table, &changes, since_boot, &host, held_up);
        let waits = changes.tasks.iter().filter_map(|task| Some((task.pid, task.wait.as_ref()?.file.as_ref()?)));
        let opened = open_files.iter().flat_map(|(id, files)| files.iter().map(|open| (id.pid, &open.file)));
        let storage = self.storage.update(&host.disks, waits.chain(opened), &mut gaps);
        let mut identities = self.identities.collect();
        let table = &self.table;
        let tick = self.looker.tick;
        self.identities.doubt(&changes.regrouped);
        self.identities.ask(
            &changes.active,
            &changes.gone_processes,
            since_boot,
            tick,
            |id| table.get(id).filter(|process| !self.looker.files.is_shunned(process.id.pid)),
            |id| table.may_be_wedged(id),
        );
        // Reading a command line takes a fraction of a millisecond, on most days: wait for it a moment, so that a new process comes
        // with its name and not a sample later. Not so for a whole host at once.
        if self.begun {
            self.identities.settle(IDENTITY_GRACE);
            identities.extend(self.identities.collect());
        }
        let identities: Vec<_> = identities.into_iter().filter(|(id, _)| table.get(*id).is_some()).collect();
        self.cgroups.note(&identities, &changes.gone_processes);
        let cgroups = self.cgroups.look(table, &changes, held_up);

        gaps.extend((changes.io_denied > 0).then_some(Gap::IoDenied { processes: changes.io_denied }));
        gaps.extend((changes.wait_denied > 0).then_some(Gap::WaitDenied { tasks: changes.wait_denied }));
        gaps.extend(changes.no_run_delay.then_some(Gap::NoRunDelay));
        let (overdue, behind) = self.identities.overdue();
        if !overdue.is_empty() {
            let began = |took: Duration| since_boot.saturating_sub(took.as_nanos() as Nanos);
            let reads = overdue.into_iter().map(|(id, took)| Overdue { id, since: began(took) }).collect();
            gaps.push(Gap::IdentityOverdue { reads, behind });
        }
        let names = self.identities.lacks_names();
        gaps.extend(
            names.then(|| Gap::Host { file: "/etc/passwd".to_owned(), why: "no answer, so users go by number".to_owned() }),
        );
        gaps.extend(self.own.as_ref().and_then(Own::gap));

        let cpu = nanos(clock_gettime(ClockId::ProcessCPUTime));
        let cost = Cost {
            sampling: start.elapsed().as_nanos() as Nanos,
            cpu: cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu)),
            tasks: changes.total as u32,
            pace: None,
            tier,
        };
        // The first sample is somebody's first picture: nothing stands in its way.
        self.tier.begin();
        Ok(Sample {
            at,
            since_boot,
            keyframe: !std::mem::replace(&mut self.begun, true),
            host,
            processes: changes.processes,
            tasks: changes.tasks,
            gone_processes: changes.gone_processes,
            gone_tasks: changes.gone_tasks,
            clocks: changes.clocks,
            awake: changes.awake,
            storage,
            open_files,
            resident,
            cgroups,
            identities,
            gaps,
            cost,
        })
    }

    /// Waits until the command lines, mounts and devices asked for have come, or until the deadline is over. Returns early when only
    /// reads are left that are overdue already.
    pub fn settle(&self, deadline: Duration) {
        let start = Instant::now();
        self.identities.settle(deadline);
        self.storage.settle(deadline.saturating_sub(start.elapsed()));
    }

    /// The uptime of the tree that is read: of a tree from another host, the clock here knows nothing.
    fn since_boot(&self, gaps: &mut Vec<Gap>) -> Nanos {
        if self.root.is_live() {
            return nanos(clock_gettime(ClockId::Boottime));
        }
        let uptime = fs::read_to_string(self.root.path().join("uptime")).map_err(|error| error.to_string());
        let seconds = uptime.and_then(|text| {
            let word = text.split_whitespace().next().and_then(|word| word.parse::<f64>().ok());
            word.filter(|seconds| seconds.is_finite()).ok_or_else(|| "its first word is no number".to_owned())
        });
        match seconds {
            Ok(seconds) => (seconds * SECOND as f64).round() as Nanos,
            Err(why) => {
                gaps.push(Gap::Host { file: "uptime".to_owned(), why });
                nanos(clock_gettime(ClockId::Boottime))
            }
        }
    }
}

fn nanos(time: Timespec) -> Nanos {
    Nanos::try_from(time.tv_sec).unwrap_or(0).saturating_mul(SECOND).saturating_add(Nanos::try_from(time.tv_nsec).unwrap_or(0))
}
