//! Which processes there may be that are not known yet, without reading the directory of all of them each time.
//!
//! The kernel counts what it starts (`processes` in `/proc/stat`) and hands out numbers in order (the last one is in
//! `/proc/loadavg`): when few were handed out, those few are tried. Reading the directory costs as much as half of a sweep, so it
//! is left for when this does not add up, and for now and then. Tested through [`crate::kernel::Reader`].

use rustix::io::Errno;

use super::{files::Place, parse, process::Looker};
use crate::units::Pid;

/// Most numbers tried instead of reading the directory: 1.5 µs each where there is nobody, 15 where there is.
const TRIED_MAX: Pid = 64;
/// Numbers before the last one that are tried again: they were handed out, and who has them was not in sight yet.
const OVERLAP: Pid = 16;
/// So many passes apart the directory is read whatever the counts say: a number can be asked for out of order (`clone3`, `set_tid`).
const LISTED_APART: u32 = 30;

/// What the host said before a pass about the tasks it ever started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Started {
    forks: u64,
    last_pid: Pid,
}

impl Started {
    /// `None` where the kernel does not say.
    pub fn new(forks: Option<u64>, last_pid: Option<Pid>) -> Option<Self> {
        Some(Self { forks: forks?, last_pid: last_pid? })
    }
}

/// All processes that were there when somebody looked last, by number.
#[derive(Default)]
pub(super) struct Newcomers {
    pub pids: Vec<Pid>,
    /// As it was before they were looked for last; `None`: the directory has to be read.
    seen: Option<Started>,
    /// Passes until it is read in any case.
    left: u32,
    /// Passes for which it is true that a process may have threads that are not known.
    pub unsettled: u8,
}

impl Newcomers {
    /// The next look is to read the directory.
    pub fn doubt(&mut self) {
        self.seen = None;
    }

    /// Puts whoever is new into the list; some may be gone again. `is_known`: those are not tried.
    pub fn look(&mut self, looker: &mut Looker, started: Option<Started>, is_known: impl Fn(Pid) -> bool) -> Result<(), Errno> {
        self.left = self.left.saturating_sub(1);
        self.unsettled = self.unsettled.saturating_sub(1);
        let seen = self.seen.take().filter(|_| self.left > 0);
        // Nobody is there now that was not there then, if none was started since before that.
        if let (Some(seen), Some(started)) = (seen, started)
            && seen.forks == started.forks
        {
            self.seen = Some(seen);
            return Ok(());
        }
        // A thread that starts another may not be seen to have run before the next pass.
        self.unsettled = 2;
        let tried = seen.zip(started).is_some_and(|(seen, started)| self.try_numbers(looker, seen, started, is_known).is_some());
        if !tried {
            looker.files.list_processes(&mut self.pids)?;
            self.left = LISTED_APART;
        }
        self.seen = started;
        Ok(())
    }

    /// `None`: too many, or it does not add up.
    fn try_numbers(&mut self, looker: &mut Looker, seen: Started, now: Started, is_known: impl Fn(Pid) -> bool) -> Option<()> {
        let handed_out = now.last_pid.checked_sub(seen.last_pid).filter(|count| (0..=TRIED_MAX).contains(count))?;
        // Each one that was started has a number; numbers in use are passed over, so there may be more of them, and not fewer.
        (now.forks.checked_sub(seen.forks)? <= u64::try_from(handed_out).ok()?).then_some(())?;
        for pid in (seen.last_pid - OVERLAP).max(1)..=now.last_pid {
            if is_known(pid) {
                continue;
            }
            match looker.files.read(Place::Process(pid), "status").map(parse::tgid) {
                Ok(tgid) if tgid? == pid => self.pids.push(pid),
                // A thread, or nobody.
                Ok(_) | Err(Errno::NOENT | Errno::SRCH) => {}
                Err(_) => return None,
            }
        }
        Some(())
    }
}
