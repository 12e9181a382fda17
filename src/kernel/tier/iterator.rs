//! The kernel's task iterator: loads the BPF programs and opens an iterator for each batch.
//!
//! With `loader` the only file that knows of BPF. Loading takes a tenth of a second and much memory, so it happens off the sampling
//! path and, where whytop can start itself, in a process of its own; a read takes a microsecond a task, no lock of any
//! task, and cannot block. Tested by `tests/tiers.rs`.

use std::{
    fs::{self, File},
    os::fd::OwnedFd,
    path::Path,
};

use anyhow::{Context, Error, anyhow};
use aya::{
    Btf, Ebpf, EbpfLoader, Endianness,
    programs::{Iter, iter::IterLink},
};
use rustix::{
    fs::{Mode, OFlags, openat},
    param::clock_ticks_per_second,
    thread::{CapabilitySet, capabilities},
};

use super::{batch::Batch, loader, stuck::StuckTasks, types};
use crate::{kernel::parse, sample::ProcReason, units::SECOND};

/// The programs, compiled: see the head of their source for how.
pub(super) const OBJECT: &[u8] = include_bytes!("../bpf/tasks.bpf.o");
/// Their names in there: all tasks, and where the stuck ones are stuck. The first has to load, the second may.
pub(super) const PROGRAMS: [&str; 2] = ["tasks", "stuck"];
/// The kernel's description of its own types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// A loaded iterator.
pub(super) struct Iterator {
    programs: Programs,
    /// The second program is there.
    tells_stuck: bool,
}

enum Programs {
    /// In a directory of a BPF file system: a file each, and to open it is to begin.
    Pinned(OwnedFd),
    /// In this process.
    Loaded(Box<Ebpf>),
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Refusal {
    pub reason: ProcReason,
    pub error: Error,
}

impl Refusal {
    fn new(reason: ProcReason, error: impl Into<Error>) -> Self {
        Self { reason, error: error.into() }
    }
}

impl Iterator {
    /// Loads the programs and looks whether what they give is true. In a process of its own if it is told which program whytop is.
    pub fn load(program: Option<&Path>) -> Result<Self, Refusal> {
        preflight()?;
        let directory = program.and_then(|program| loader::load(program).ok());
        // Whatever is wrong with the other process: if it is wrong here, too, this one says what.
        directory.and_then(|directory| Self::with(Programs::Pinned(directory)).ok()).map_or_else(|| Self::load_object(OBJECT), Ok)
    }

    /// Loads another object, in this process.
    pub fn load_object(object: &[u8]) -> Result<Self, Refusal> {
        preflight()?;
        let ebpf = open(object).map_err(|error| Refusal::new(ProcReason::Refused, error))?;
        Self::with(Programs::Loaded(Box::new(ebpf)))
    }

    fn with(programs: Programs) -> Result<Self, Refusal> {
        let mut iterator = Self { programs, tells_stuck: true };
        let mut batch = Batch::default();
        iterator.read(&mut batch).map_err(|error| Refusal::new(ProcReason::Refused, error))?;
        check(&batch)?;
        iterator.tells_stuck = iterator.stuck().is_some();
        Ok(iterator)
    }

    /// Reads all tasks of this instant.
    pub fn read(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        let [tasks, _] = PROGRAMS;
        let file = self.begin(tasks)?;
        batch.read(file).context("read the task iterator")
    }

    /// Reads where the stuck tasks of this instant are stuck. `None`: this kernel does not say so here.
    pub fn stuck(&mut self) -> Option<StuckTasks> {
        let [_, stuck] = PROGRAMS;
        self.tells_stuck.then(|| StuckTasks::read(self.begin(stuck).ok()?).ok()).flatten()
    }

    /// An iterator runs once, so each batch has its own.
    fn begin(&mut self, name: &str) -> anyhow::Result<File> {
        match &mut self.programs {
            Programs::Pinned(directory) => {
                let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                file.map(File::from).context("open the task iterator")
            }
            Programs::Loaded(ebpf) => link(ebpf, name)?.into_file().context("open the task iterator"),
        }
    }
}

/// What has to be so before it is worth a try.
fn preflight() -> Result<(), Refusal> {
    // The kernel would refuse it all the same, but only after a tenth of a second of work.
    let rights = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if !rights.contains(CapabilitySet::BPF | CapabilitySet::PERFMON) && !rights.contains(CapabilitySet::SYS_ADMIN) {
        return Err(Refusal::new(ProcReason::NotRoot, anyhow!("only root may load it, or whoever has CAP_BPF and CAP_PERFMON")));
    }
    if !fs::exists(TYPES).unwrap_or(false) {
        let error = anyhow!("this kernel carries no type information ({TYPES}, CONFIG_DEBUG_INFO_BTF)");
        return Err(Refusal::new(ProcReason::NoTypes, error));
    }
    Ok(())
}

/// Loads an object into this process.
pub(super) fn open(object: &[u8]) -> anyhow::Result<Ebpf> {
    #[expect(clippy::needless_late_init, reason = "it is read later than the loader is made, and has to live longer")]
    let types;
    // It begins by taking in all of the kernel's types, whether one wants it or not. That is let go of before anything else is
    // made, so that nothing small lies on top of it and the memory goes back: 4 MB stay so, 20 otherwise.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    types = few_types().context("read the kernel's types")?;
    let mut ebpf = loader.btf(Some(&types)).load(object).context("fit the task iterator to this kernel")?;
    let [tasks, stuck] = PROGRAMS;
    program(&mut ebpf, tasks)?
        .load("task", &types)
        .map_err(|error| anyhow!(first_line(&error)))
        .context("load the task iterator")?;
    // Not on kernels before 5.15: then it is not there, and the files are read.
    let _ = program(&mut ebpf, stuck)?.load("task", &types);
    Ok(ebpf)
}

/// What a loaded program is begun through.
pub(super) fn link(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<IterLink> {
    let program = program(ebpf, name)?;
    let link = program.attach().context("attach the task iterator")?;
    program.take_link(link).context("attach the task iterator")
}

fn few_types() -> anyhow::Result<Btf> {
    let mut raw = fs::read(TYPES)?;
    if let Some(few) = types::sieve(&raw) {
        raw = few;
    }
    Ok(Btf::parse(&raw, Endianness::default())?)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut Iter> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    program.try_into().context("it is no iterator")
}

/// The kernel explains a refusal in pages; its first words are the error.
fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Looks whether the iterator and `/proc` speak of the same things, by this process: in a container it has another number in
/// the kernel than here, and in a time namespace another start.
fn check(batch: &Batch) -> Result<(), Refusal> {
    let own = |name: &str| {
        let file = format!("/proc/self/{name}");
        fs::read(&file).with_context(|| format!("read {file}")).map_err(|error| Refusal::new(ProcReason::Refused, error))
    };
    if parse::schedstat(&own("schedstat")?).is_none() {
        return Err(Refusal::new(ProcReason::NoSchedstat, anyhow!("this kernel keeps no run times (kernel.sched_schedstats)")));
    }
    let line = own("stat")?;
    let tick = SECOND / clock_ticks_per_second().max(1);
    let known = parse::stat(&line);
    let found = batch.find(std::process::id().cast_signed());
    match (known, found) {
        (Some(known), Some(found)) if known.start == found.start(tick) && found.leads() => Ok(()),
        _ => {
            let error = anyhow!("processes have other numbers here than in the kernel: this is a container");
            Err(Refusal::new(ProcReason::Namespace, error))
        }
    }
}
