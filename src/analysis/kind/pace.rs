//! How much a process works, and whether what it takes in comes out again.
//!
//! Pure. Tested by tests/kinds.rs.

use super::ProcessShape;

/// CPUs in use, since the start or lately, from which on a process works: an idle agent takes less than a hundredth.
const WORKING_CORES: f64 = 0.12;
/// Seconds of CPU time and bytes that a process takes to start, and little more. In all: what was told to go slowly has a low rate.
const STARTED_CPU: f64 = 1.0;
const STARTED_BYTES: u64 = 1_000_000;
/// Seconds after which that says something: who starts reads his configuration and calls his server first.
const RESTED: f64 = 30.0;
/// CPUs that only hashing or packing takes.
const HASHING_CORES: f64 = 0.5;
/// Bytes per second moved, from which on it works.
const WORKING_BYTES: f64 = 2.0e6;
/// Below one second an average since the start is noise.
const SHORTEST_AGE: f64 = 1.0;

/// What a process uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// CPUs.
    pub cores: f64,
    /// Bytes per second read, `None` if hidden.
    pub read: Option<f64>,
    /// Bytes per second written.
    pub write: Option<f64>,
    /// Disks get far more from it than it gets from them: it receives what others back up, or restores.
    pub stores: bool,
    /// It would do more if it got what it waits for.
    pub held_up: bool,
    /// Seconds since it started.
    age: f64,
    /// Seconds of CPU time since then.
    cpu: f64,
    /// Bytes moved since then, both ways.
    moved: u64,
}

/// From this many waiting tasks on, on average, a process is held up.
const HELD_UP: f64 = 0.3;

/// How many times more it writes than it reads when it stores what others send.
const STORES: f64 = 3.0;

impl Pace {
    /// The faster of the mean since the start and of late.
    pub fn of(process: &ProcessShape) -> Self {
        let age = process.age.max(SHORTEST_AGE);
        let mut pace = Self { cores: process.cpu_seconds / age, age: process.age, cpu: process.cpu_seconds, ..Self::default() };
        if let Some(io) = process.io {
            pace.read = Some(io.read.max(io.read_any) as f64 / age);
            pace.write = Some(io.written.max(io.written_any) as f64 / age);
            pace.stores = io.written as f64 > io.read as f64 * STORES;
            pace.moved = io.read.max(io.read_any).saturating_add(io.written.max(io.written_any));
        }
        if let Some(recent) = process.recent {
            pace.cores = pace.cores.max(recent.cpu_cores);
            pace.held_up = recent.waiting >= HELD_UP;
            pace.read = faster(pace.read, recent.read_bytes);
            pace.write = faster(pace.write, recent.write_bytes);
            if let (Some(read), Some(write)) = (recent.read_bytes, recent.write_bytes) {
                pace.stores = write > read * STORES;
            }
        }
        pace
    }

    /// Whether it started within the last second: what it has not done yet says nothing.
    pub fn newborn(self) -> bool {
        self.age < SHORTEST_AGE
    }

    /// Whether it has done next to nothing since it started, as far as that may be seen, and had the time to.
    pub fn rests(self) -> bool {
        let still = self.cpu < STARTED_CPU && self.moved < STARTED_BYTES;
        still && self.read.is_some() && !self.held_up && self.age >= RESTED
    }

    /// Bytes per second both ways.
    pub fn bytes(self) -> f64 {
        self.read.unwrap_or_default() + self.write.unwrap_or_default()
    }

    /// Whether that is the work of a backup agent: data moves, or much is computed. A daemon's own bookkeeping is neither.
    pub fn copies(self) -> bool {
        match self.read {
            Some(_) => !self.stores && (self.bytes() >= WORKING_BYTES || self.cores >= HASHING_CORES),
            None => self.cores >= WORKING_CORES,
        }
    }

    /// Whether it takes in far more than it writes, and fast.
    pub fn only_reads(self) -> bool {
        self.read.is_some_and(|read| read > WORKING_BYTES && read > self.write.unwrap_or_default() * STORES)
    }

    /// Whether what it takes in comes out smaller.
    pub fn shrinks(self) -> bool {
        self.read.is_some_and(|read| read > WORKING_BYTES && read > self.write.unwrap_or_default())
    }

    /// Whether at least this part of what it takes in comes out again. `false`: not seen, or it takes in next to nothing.
    pub fn comes_out(self, part: f64) -> bool {
        self.read.zip(self.write).is_some_and(|(read, write)| read > WORKING_BYTES && write >= read * part)
    }

    /// Whether data goes through it, as far as that may be seen.
    pub fn moves(self) -> bool {
        if self.read.is_some() { self.bytes() >= WORKING_BYTES } else { self.works() }
    }

    /// Whether that is work.
    pub fn works(self) -> bool {
        self.cores >= WORKING_CORES || self.bytes() >= WORKING_BYTES
    }
}

fn faster(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    a.into_iter().chain(b).reduce(f64::max)
}
