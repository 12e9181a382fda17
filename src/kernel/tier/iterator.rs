//! The kernel's task iterator: loads the BPF program and opens an iterator for each batch.
//!
//! The only file that knows of BPF. Loading takes a tenth of a second, so it happens on a thread of its own (which also gives its memory back
//! when it ends); a read takes a
//! microsecond a task, no lock of any task, and cannot block. Tested by `tests/tiers.rs`.

use std::fs;

use anyhow::{Context, Error, anyhow};
use aya::{Btf, Ebpf, EbpfLoader, Endianness, programs::Iter};
use rustix::{param::clock_ticks_per_second, process::geteuid};

use super::{batch::Batch, types};
use crate::{kernel::parse, sample::ProcReason, units::SECOND};

/// The program, compiled: see the head of its source for how.
const OBJECT: &[u8] = include_bytes!("../bpf/tasks.bpf.o");
/// Its name in there.
const PROGRAM: &str = "tasks";
/// The kernel's description of its own types.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// A loaded iterator.
pub(super) struct Iterator {
    ebpf: Ebpf,
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
    /// Loads the program and looks whether what it gives is true.
    pub fn load() -> Result<Self, Refusal> {
        Self::load_object(OBJECT)
    }

    /// The same with another object.
    pub fn load_object(object: &[u8]) -> Result<Self, Refusal> {
        if !geteuid().is_root() {
            return Err(Refusal::new(ProcReason::NotRoot, anyhow!("only root may load it")));
        }
        if !fs::exists(TYPES).unwrap_or(false) {
            let error = anyhow!("this kernel carries no type information ({TYPES}, CONFIG_DEBUG_INFO_BTF)");
            return Err(Refusal::new(ProcReason::NoTypes, error));
        }
        let refused = |error: Error| Refusal::new(ProcReason::Refused, error);
        let mut iterator = Self { ebpf: open(object).map_err(refused)? };
        let mut batch = Batch::default();
        iterator.read(&mut batch).map_err(refused)?;
        check(&batch)?;
        Ok(iterator)
    }

    /// Reads all tasks of this instant.
    pub fn read(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        // An iterator runs once, so each batch has its own.
        let program = program(&mut self.ebpf)?;
        let link = program.attach().context("attach the task iterator")?;
        let link = program.take_link(link).context("attach the task iterator")?;
        let file = link.into_file().context("open the task iterator")?;
        batch.read(file).context("read the task iterator")
    }
}

fn open(object: &[u8]) -> anyhow::Result<Ebpf> {
    #[expect(clippy::needless_late_init, reason = "it is read later than the loader is made, and has to live longer")]
    let types;
    // It begins by taking in all of the kernel's types, whether one wants it or not. That is let go of before anything else is
    // made, so that nothing small lies on top of it and the memory goes back: 4 MB stay so, 20 otherwise.
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    types = few_types().context("read the kernel's types")?;
    let mut ebpf = loader.btf(Some(&types)).load(object).context("fit the task iterator to this kernel")?;
    program(&mut ebpf)?.load("task", &types).map_err(|error| anyhow!(first_line(&error))).context("load the task iterator")?;
    Ok(ebpf)
}

fn few_types() -> anyhow::Result<Btf> {
    let mut raw = fs::read(TYPES)?;
    if let Some(few) = types::sieve(&raw) {
        raw = few;
    }
    Ok(Btf::parse(&raw, Endianness::default())?)
}

fn program(ebpf: &mut Ebpf) -> anyhow::Result<&mut Iter> {
    let program = ebpf.program_mut(PROGRAM).with_context(|| format!("the object has no program {PROGRAM}"))?;
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
