//! A process that cannot be mistaken for another: opened, compared with its start time, and signalled through what was opened.
//!
//! Does not know jobs, and does not know whom to spare ([`super::guard`] does). Tested by `tests/act.rs`.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid as RawPid, PidfdFlags, pidfd_open, pidfd_send_signal, test_kill_process};

use super::stat::Stat;
use crate::action::{Refusal, Signal};
use crate::units::{ProcessId, clean};

/// A process, held by a pidfd.
#[derive(Debug)]
pub struct Held {
    /// Which process.
    pub id: ProcessId,
    descriptor: OwnedFd,
}

impl Held {
    /// Opens it, and makes sure that it is the one meant, lives, and may be signalled by this user.
    pub fn open(id: ProcessId) -> Result<Self, Refusal> {
        let pid = RawPid::from_raw(id.pid.max(0)).ok_or(Refusal::Gone)?;
        let descriptor = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
            Errno::SRCH => Refusal::Gone,
            // The number is that of a thread now (`ENOENT` since Linux 6.9).
            Errno::INVAL | Errno::NOENT => Refusal::Reused,
            errno => failed(errno),
        })?;
        let stat = Stat::read(id.pid).map_err(|error| Refusal::Failed(error.to_string()))?.ok_or(Refusal::Gone)?;
        if stat.id.start != id.start {
            return Err(Refusal::Reused);
        }
        if stat.is_kernel_thread() {
            return Err(Refusal::KernelThread);
        }
        // Signal 0 through a pidfd is not to be had without unsafe code, so the kernel is asked by number. If the process
        // still lives afterwards, the number was its own when it was asked.
        let permission = test_kill_process(pid);
        let held = Self { id, descriptor };
        if held.has_ended() {
            return Err(ended(id));
        }
        permission.map(|()| held).map_err(refusal)
    }

    /// A pidfd is readable once its process has ended, all threads of it.
    pub fn has_ended(&self) -> bool {
        let mut descriptors = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut descriptors, Some(&at_once)).is_ok_and(|ready| ready > 0)
    }

    /// Sends a signal to exactly this process. (The kernel takes one for a zombie as well, so ask before.)
    pub fn send(&self, signal: Signal) -> Result<(), Refusal> {
        if self.has_ended() {
            return Err(Refusal::Gone);
        }
        pidfd_send_signal(&self.descriptor, kernel_signal(signal)).map_err(refusal)
    }
}

/// How it has ended: with a parent that knows, or not.
fn ended(id: ProcessId) -> Refusal {
    let zombie = Stat::read(id.pid).ok().flatten().filter(|stat| stat.id == id && stat.has_ended());
    let parent = zombie.and_then(|stat| Stat::read(stat.parent).ok().flatten());
    parent.map_or(Refusal::Gone, |parent| Refusal::Zombie { parent: parent.id, name: clean(&parent.name) })
}

/// The kernel's name for it.
pub fn kernel_signal(signal: Signal) -> rustix::process::Signal {
    use rustix::process::Signal as Kernel;
    match signal {
        Signal::Terminate => Kernel::TERM,
        Signal::Interrupt => Kernel::INT,
        Signal::Hangup => Kernel::HUP,
        Signal::Kill => Kernel::KILL,
        Signal::Stop => Kernel::STOP,
        Signal::Continue => Kernel::CONT,
    }
}

/// What an error of the kernel's says about the process.
pub fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::SRCH => Refusal::Gone,
        Errno::PERM | Errno::ACCESS => Refusal::NotPermitted,
        errno => failed(errno),
    }
}

fn failed(errno: Errno) -> Refusal {
    Refusal::Failed(errno.to_string())
}
