//! The second tier: all tasks in one read, from the kernel's own task iterator, where the rights allow it.
//!
//! [`Choice`] is what the user wants, [`KernelTier`] how far it has come: the iterator is loaded on a thread of its own, after
//! the first sample came from `/proc`, and takes over when it is ready. What it cannot do, `/proc` goes on doing.
//!
//! `iterator` loads and reads, `types` spares it most of the kernel's type information, `batch` holds the records of an instant and finds what differs, `record` is one of them; what
//! they mean for the table of tasks is for `kernel::take`. Tested by `tests/tiers.rs`, task by task against `/proc`.

pub(super) mod batch;
mod iterator;
pub(super) mod record;
mod types;

use std::{
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
};

use anyhow::Context;
use clap::ValueEnum;

use self::{
    batch::Batch,
    iterator::{Iterator, Refusal},
};
use super::root::ProcRoot;
use crate::sample::{ProcReason, Tier};

/// So many failed reads in a row are enough: it does not come back.
const FAILURES: u32 = 3;

/// How tasks are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// By the kernel's task iterator where it can be had, else from `/proc`
    #[default]
    Auto,
    /// From `/proc` only
    Proc,
    /// By the kernel's task iterator or not at all: needs root and a kernel with BTF
    Kernel,
}

/// The iterator and how far it has come.
pub(super) struct KernelTier {
    state: State,
    now: Batch,
    before: Batch,
    /// Reads that failed, one after the other.
    failures: u32,
}

enum State {
    /// To be loaded after the first sample.
    Idle,
    Loading(Receiver<Result<Iterator, Refusal>>),
    // Boxed: the others are small, and it is touched once a sample.
    Ready(Box<Iterator>),
    Off(ProcReason),
}

impl KernelTier {
    /// Fails only if the iterator was asked for by name and cannot be had.
    pub fn new(choice: Choice, root: &ProcRoot) -> anyhow::Result<Self> {
        let state = match choice {
            Choice::Proc => State::Off(ProcReason::Asked),
            Choice::Auto if !root.is_live() => State::Off(ProcReason::OtherTree),
            Choice::Auto => State::Idle,
            Choice::Kernel if !root.is_live() => {
                anyhow::bail!("--tier kernel: {} is not the /proc of this host", root.path().display())
            }
            Choice::Kernel => {
                let loaded = start().context("start a thread").and_then(|answer| answer.recv().context("the loader ended"));
                let iterator = loaded.and_then(|loaded| loaded.map_err(|refusal| refusal.error)).context("--tier kernel")?;
                State::Ready(Box::new(iterator))
            }
        };
        Ok(Self { state, now: Batch::default(), before: Batch::default(), failures: 0 })
    }

    /// With an iterator program from elsewhere.
    pub fn with_object(object: &[u8]) -> anyhow::Result<Self> {
        let iterator = Iterator::load_object(object).map_err(|refusal| refusal.error)?;
        Ok(Self { state: State::Ready(Box::new(iterator)), now: Batch::default(), before: Batch::default(), failures: 0 })
    }

    /// Which tier gave the last batch, or was to give it.
    pub fn tier(&self) -> Tier {
        match self.state {
            State::Ready(_) if self.failures > 0 => Tier::Proc(ProcReason::Failed),
            State::Ready(_) => Tier::Kernel,
            State::Idle | State::Loading(_) => Tier::Proc(ProcReason::Loading),
            State::Off(reason) => Tier::Proc(reason),
        }
    }

    /// Begins to load, if that is still to be done.
    pub fn begin(&mut self) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        self.state = start().map_or(State::Off(ProcReason::Failed), State::Loading);
    }

    /// All tasks of this instant, with those of the instant before (none the first time). `None`: read `/proc`.
    pub fn read(&mut self) -> Option<(&Batch, &Batch)> {
        if let State::Loading(answer) = &self.state {
            self.state = match answer.try_recv() {
                Ok(Ok(iterator)) => State::Ready(Box::new(iterator)),
                Ok(Err(refusal)) => State::Off(refusal.reason),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Disconnected) => State::Off(ProcReason::Failed),
            };
        }
        let State::Ready(iterator) = &mut self.state else { return None };
        std::mem::swap(&mut self.now, &mut self.before);
        if iterator.read(&mut self.now).is_err() || self.now.len() == 0 {
            // Memory may be short for a moment. `/proc` misses nothing meanwhile, and what it finds is compared anew after that.
            (self.now, self.before) = Default::default();
            self.failures += 1;
            if self.failures >= FAILURES {
                self.state = State::Off(ProcReason::Failed);
            }
            return None;
        }
        self.failures = 0;
        Some((&self.before, &self.now))
    }
}

/// Loads the iterator on a thread of its own. That is not joined: whoever leaves meanwhile does not wait for it.
fn start() -> std::io::Result<Receiver<Result<Iterator, Refusal>>> {
    let (send, receive) = channel();
    let load = move || {
        // Nobody there to hear: the reader was dropped.
        let _ = send.send(Iterator::load());
    };
    thread::Builder::new().name("tier".to_owned()).spawn(load)?;
    Ok(receive)
}
