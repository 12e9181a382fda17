//! What on the host is short for somebody, and who holds the memory: one `statm` a process, looked up while memory is short and not at all while there is enough.
//!
//! `statm` gives numbers that the kernel keeps anyway and takes no lock of the process, unlike `smaps`. When memory gets short all
//! processes are looked at, so many a sample, and then those that ran. Tested by `tests/units.rs`.

use rustix::param::page_size;

use super::{
    files::Place,
    parse,
    process::Looker,
    table::{Changes, Table},
};
use crate::{
    sample::{Host, Pressure, PressureTotals, Resident},
    units::{Nanos, ProcessId, SECOND},
};

/// Somebody was held up when he waited in this part of the last ten seconds, in percent, or of the time since the sample before.
const HELD_UP: f64 = 1.0;
/// Where the kernel does not say who waits: when less than this part of all can still be had.
const SCARCE: u64 = 10;
/// It is taken for short for this much longer: pressure comes and goes.
const LINGERS: Nanos = 30 * SECOND;
/// Most processes looked at in one sample: at 8 µs each it takes 8 ms.
const LOOKS: usize = 1024;

/// What somebody on the host is held up by.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeldUp {
    pub cpu: bool,
    pub io: bool,
    pub memory: bool,
}

impl HeldUp {
    /// By two samples, so many nanoseconds apart.
    pub fn between(before: Option<Pressure>, now: Option<Pressure>, span: Nanos) -> Self {
        let Some(now) = now else { return Self::default() };
        let totals = before.and_then(|before| before.totals).zip(now.totals);
        let held_up = |share10: f64, total: fn(PressureTotals) -> Nanos| {
            let lately = totals.map_or(0, |(before, now)| total(now).saturating_sub(total(before)));
            share10 >= HELD_UP || lately as f64 * 100.0 >= HELD_UP * span as f64 && lately > 0
        };
        Self {
            cpu: held_up(now.cpu_some10, |totals| totals.cpu),
            io: held_up(now.io_some10, |totals| totals.io),
            memory: held_up(now.memory_some10, |totals| totals.memory),
        }
    }
}

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
        held_up: HeldUp,
    ) -> Vec<(ProcessId, Resident)> {
        if is_short(host, held_up) {
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

fn is_short(host: &Host, held_up: HeldUp) -> bool {
    match (host.pressure, host.memory) {
        (Some(_), _) => held_up.memory,
        (None, Some(memory)) => memory.available.is_some_and(|available| available < memory.total / SCARCE),
        (None, None) => false,
    }
}
