//! The second tier: all tasks in one read, from the kernel's own task iterator, where the rights allow it.
//!
//! [`Choice`] is what the user wants, [`KernelTier`] how far it has come: the iterator is loaded on a thread of its own, after
//! the first sample came from `/proc`, and takes over when it is ready. What it cannot do, `/proc` goes on doing.
//!
//! `iterator` loads and reads, `loader` does the loading in a process of its own, `types` spares it most of the kernel's type
//! information, `batch` holds the records of an instant and finds what differs, `record` is one of them, `stuck` says more of the
//! stuck ones; what they mean for the table of tasks is for `kernel::take`. Tested by `tests/tiers.rs`, task by task against `/proc`.

pub(super) mod batch;
mod iterator;
mod loader;
pub(super) mod record;
pub(super) mod stuck;
mod types;

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, TryRecvError, channel},
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;

use self::{
    batch::Batch,
    iterator::{Iterator, Refusal},
    stuck::StuckTasks,
};
use super::root::ProcRoot;
use crate::sample::{ProcReason, Tier};

/// Loading takes a tenth of a second; whoever asked for the iterator by name waits this long at the most.
const LOADING: Duration = Duration::from_secs(5);
/// So many failed reads in a row are enough: it does not come back.
const FAILURES: u32 = 3;

pub use loader::serve as load_iterator;

/// How tasks are to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// By the kernel's task iterator where it can be had, else from `/proc`
    #[default]
    Auto,
    /// From `/proc` only
    Proc,
    /// By the kernel's task iterator or not at all: needs root, or the right to load BPF, and a kernel with BTF
    Kernel,
}

/// The iterator and how far it has come.
pub(super) struct KernelTier {
    state: State,
    now: Batch,
    before: Batch,
    /// Reads that failed, one after the other.
    failures: u32,
    /// The program that whytop is, if it can be started to load the iterator.
    program: Option<PathBuf>,
}

/// What was read of all tasks at one instant.
pub(super) struct Read<'a> {
    /// The instant before; empty the first time.
    pub before: &'a Batch,
    pub now: &'a Batch,
    iterator: &'a mut Iterator,
}

impl Read<'_> {
    /// Where the stuck tasks are stuck. `None`: this kernel does not say so here.
    pub fn stuck(&mut self) -> Option<StuckTasks> {
        self.iterator.stuck()
    }
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
    pub fn new(choice: Choice, root: &ProcRoot, program: Option<&Path>) -> anyhow::Result<Self> {
        let state = match choice {
            Choice::Proc => State::Off(ProcReason::Asked),
            Choice::Auto if !root.is_live() => State::Off(ProcReason::OtherTree),
            Choice::Auto => State::Idle,
            Choice::Kernel if !root.is_live() => {
                anyhow::bail!("--tier kernel: {} is not the /proc of this host", root.path().display())
            }
            Choice::Kernel => {
                let loaded = start(program)
                    .context("start a thread")
                    .and_then(|answer| answer.recv_timeout(LOADING).context("the loader does not answer"));
                let iterator = loaded.and_then(|loaded| loaded.map_err(|refusal| refusal.error)).context("--tier kernel")?;
                State::Ready(Box::new(iterator))
            }
        };
        Ok(Self { program: program.map(Path::to_owned), ..Self::in_state(state) })
    }

    fn in_state(state: State) -> Self {
        Self { state, now: Batch::default(), before: Batch::default(), failures: 0, program: None }
    }

    /// With an iterator program from elsewhere.
    pub fn with_object(object: &[u8]) -> anyhow::Result<Self> {
        let iterator = Iterator::load_object(object).map_err(|refusal| refusal.error)?;
        Ok(Self::in_state(State::Ready(Box::new(iterator))))
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
        self.state = start(self.program.as_deref()).map_or(State::Off(ProcReason::Failed), State::Loading);
    }

    /// All tasks of this instant, with those of the instant before. `None`: read `/proc`.
    pub fn read(&mut self) -> Option<Read<'_>> {
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
        let State::Ready(iterator) = &mut self.state else { return None };
        Some(Read { before: &self.before, now: &self.now, iterator })
    }
}

/// Loads the iterator on a thread of its own. That is not joined: whoever leaves meanwhile does not wait for it.
fn start(program: Option<&Path>) -> std::io::Result<Receiver<Result<Iterator, Refusal>>> {
    let (send, receive) = channel();
    let program = program.map(Path::to_owned);
    let load = move || {
        // Nobody there to hear: the reader was dropped.
        let _ = send.send(Iterator::load(program.as_deref()));
    };
    thread::Builder::new().name("tier".to_owned()).spawn(load)?;
    Ok(receive)
}
