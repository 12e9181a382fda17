//! Who holds the memory: one `statm` a process, looked up while memory is short and not at all while there is enough.
//!
//! `statm` gives numbers that the kernel keeps anyway and takes no lock of the process, unlike `smaps`. When memory gets short all
//! processes are looked at, so many a sample, and then those that ran. Tested by `tests/kernel.rs`.

use rustix::param::page_size;

use super::{
    files::Place,
    parse,
    process::Looker,
    table::{Changes, Table},
};
use crate::{
    sample::{Host, Resident},
    units::{Nanos, ProcessId, SECOND},
};

/// Memory is short when somebody waited for it in this part of the last ten seconds, in percent.
const HELD_UP: f64 = 1.0;
/// Where the kernel does not say who waits: when less than this part of all can still be had.
const SCARCE: u64 = 10;
/// It is taken for short for this much longer: pressure comes and goes.
const LINGERS: Nanos = 30 * SECOND;
/// Most processes looked at in one sample: at 8 µs each it takes 8 ms.
const LOOKS: usize = 1024;

/// Remembers who is still to be looked at.
#[derive(Default)]
pub(super) struct Holders {
    left: Vec<ProcessId>,
    short: Option<Nanos>,
}

impl Holders {
    /// What those hold that are worth a look.
    pub fn look(
        &mut self,
        looker: &mut Looker,
        table: &Table,
        changes: &Changes,
        now: Nanos,
        host: &Host,
    ) -> Vec<(ProcessId, Resident)> {
        if is_short(host) {
            if self.short.replace(now).is_none() {
                self.left = table.programs().collect();
            }
        } else if self.short.is_none_or(|short| now.saturating_sub(short) >= LINGERS) {
            *self = Self::default();
            return Vec::new();
        }
        // Those that run may grow; a sleeper that was not looked at yet may hold most of all.
        let mut wanted: Vec<ProcessId> = changes.active.iter().copied().take(LOOKS / 2).collect();
        while wanted.len() < LOOKS
            && let Some(id) = self.left.pop()
        {
            wanted.push(id);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let page = page_size() as u64;
        let held = |id: ProcessId| {
            table.get(id)?;
            let text = looker.files.read(Place::Process(id.pid), "statm").ok()?;
            let (resident, shared) = parse::statm(text)?;
            let private = resident.saturating_sub(shared);
            Some((id, Resident { private: private.saturating_mul(page), shared: shared.saturating_mul(page) }))
        };
        wanted.into_iter().filter_map(held).collect()
    }
}

fn is_short(host: &Host) -> bool {
    match (host.pressure, host.memory) {
        (Some(pressure), _) => pressure.memory_some10 >= HELD_UP,
        (None, Some(memory)) => memory.available.is_some_and(|available| available < memory.total / SCARCE),
        (None, None) => false,
    }
}
