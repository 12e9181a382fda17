//! Where the stuck tasks are stuck: their wait channel and system call, for a bounded number of them.
//!
//! Reads `wchan` and `syscall`, which the kernel prints without waiting for the task. Tested through
//! [`crate::kernel::Reader`].

use std::collections::HashMap;

use compact_str::CompactString;
use rustix::io::Errno;

use super::{
    files::Place,
    parse,
    process::{Known, Looker, Watched},
};
use crate::{
    sample::{TaskState, Wait},
    units::Pid,
};

/// Most tasks looked up for one sample. On a host with thousands of them stuck, the first tell what it is about, and the
/// others get their turn in the samples after, for they stay where they are.
const LOOKUPS: usize = 64;

/// Looks up where tasks are stuck that have got stuck, users' tasks first.
pub(super) fn look_up(processes: &mut HashMap<Pid, Known>, looker: &mut Looker) {
    let mut left = LOOKUPS;
    for kernel in [false, true] {
        for known in processes.values_mut().filter(|known| known.process.kernel_thread == kernel) {
            let pid = known.process.id.pid;
            for watched in std::iter::once(&mut known.leader).chain(&mut known.others) {
                if !watched.wait_due {
                    continue;
                }
                if left == 0 {
                    return;
                }
                left -= 1;
                let tid = watched.task.id.tid;
                let place = if tid == pid { Place::Process(pid) } else { Place::Thread(pid, tid) };
                watched.wait_due = false;
                look_up_one(watched, place, kernel, looker);
            }
        }
    }
}

fn look_up_one(watched: &mut Watched, place: Place, kernel: bool, looker: &mut Looker) {
    let read = looker.files.read(place, "wchan");
    let wchan = read.map(|text| parse::wchan(text).map(CompactString::from_utf8_lossy));
    let hidden = matches!(wchan, Ok(None) | Err(Errno::ACCESS | Errno::PERM));
    // `0` also stands for a task that has been woken meanwhile: that one is not stuck, and nothing is hidden.
    if let Ok(Some(stat)) = looker.files.stat(place).as_ref().map(Option::as_ref)
        && hidden
        && stat.state != TaskState::Uninterruptible
    {
        watched.dirty |= watched.task.state != stat.state || watched.task.wait.is_some();
        watched.task.state = stat.state;
        watched.task.wait = None;
        watched.wait_denied = false;
        return;
    }
    watched.wait_denied = hidden;
    let wchan = wchan.ok().flatten();
    let read = (!kernel).then(|| looker.files.read(place, "syscall").ok().and_then(parse::syscall));
    let syscall = read.flatten();
    let wait = Some(Wait { wchan, syscall });
    watched.dirty |= wait != watched.task.wait;
    watched.task.wait = wait;
}
