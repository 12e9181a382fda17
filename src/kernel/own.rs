//! whytop's own footing on a sick host: memory that is not taken away, and a turn on the CPU when many want one.
//!
//! A key must not wait until a stuck disk gives back a page of the program. So what is mapped at the start (program, libraries)
//! is made resident and locked before there are threads, and what comes later is locked as it is touched: stacks and arenas are
//! reserved large and used little. The second half waits until the task iterator was loaded, because locked memory cannot be given
//! back (`madvise(2)` refuses), and loading takes much of it for a moment.
//!
//! Without the rights all this is left undone and a gap says so; nothing here can fail. Only the program itself does this, never a
//! [`crate::kernel::Reader`] by itself. Tested by `tests/wedge.rs`, on the running program.

use rustix::{
    mm::{MlockAllFlags, mlockall},
    param::page_size,
    process::{Resource, Rlimit, getpriority_process, getrlimit, setpriority_process, setrlimit},
};

use crate::sample::Gap;

/// Before others of the same host, behind what an operator set apart for more: the weight is nine times that of niceness 0, so that
/// a key is answered among a hundred runnable tasks, and all of whytop takes some percent of a CPU.
const NICE: i32 = -10;
/// What is left of the limit for the stack of the first thread, which counts in it when it grows: a stack that may not grow is the
/// end of the program. It needs less than 200 KiB.
const STACK: u64 = 512 * 1024;

/// What was secured.
#[derive(Clone, Debug)]
pub struct Own {
    held: Held,
    /// Most memory that may be locked, in bytes. `None`: as much as one likes.
    limit: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// What was mapped at the start, and no more than that.
    Program,
    /// The same, and the rest is to follow.
    Begun,
    All,
}

impl Own {
    /// Locks what is mapped, and raises the priority. To be called before there are threads: they inherit it.
    pub fn secure() -> Self {
        // Whoever started it with `nice` wants it so. An error leaves the priority as it is; the limit is `RLIMIT_NICE` or CAP_SYS_NICE.
        if getpriority_process(None).is_ok_and(|nice| nice == 0) {
            let _ = setpriority_process(None, NICE);
        }
        let Rlimit { maximum, .. } = getrlimit(Resource::Memlock);
        // Where nothing may be locked it works only for whoever no limit holds for (CAP_IPC_LOCK, in the first user namespace).
        let nothing = setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum });
        let free = nothing.is_ok() && mlockall(MlockAllFlags::CURRENT).is_ok();
        let raised = setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum });
        let limit = if raised.is_ok() { maximum } else { getrlimit(Resource::Memlock).current };
        if free || (limit.is_none() && mlockall(MlockAllFlags::CURRENT).is_ok()) {
            return Self { held: Held::Begun, limit: None };
        }
        let fits = limit.zip(mapped()).is_some_and(|(limit, mapped)| mapped + STACK <= limit);
        let held = if fits && mlockall(MlockAllFlags::CURRENT).is_ok() { Held::Program } else { Held::Nothing };
        Self { held, limit }
    }

    /// Locks whatever comes from now on, as it is touched, where no limit stands against it: beyond a limit every later allocation
    /// would fail.
    pub fn complete(&mut self) {
        if self.held == Held::Begun {
            let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
            self.held = if mlockall(all).is_ok() { Held::All } else { Held::Program };
        }
    }

    /// What could not be had.
    pub fn gap(&self) -> Option<Gap> {
        match self.held {
            Held::All | Held::Begun => None,
            Held::Program | Held::Nothing => Some(Gap::NotLocked { program: self.held == Held::Program, limit: self.limit }),
        }
    }
}

/// Bytes mapped by this process, which is what the limit counts.
fn mapped() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').next()?.parse::<u64>().ok()? * page_size() as u64)
}
