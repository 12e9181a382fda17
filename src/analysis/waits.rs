//! What stuck tasks wait in: grouped, named, and in plain words.
//!
//! Pure. The table of wait channels is data; a kernel function that is not in it stays without a meaning.

use std::collections::BTreeMap;

use crate::analysis::diagnosis::{Resource, WaitGroup};
use crate::analysis::jobs::Jobs;
use crate::analysis::table::Table;
use crate::sample::{Process, TaskState, Wait};
use crate::units::{Pid, clean};

/// A wait channel by its beginning, what is short there, and what that means.
struct Meaning {
    beginnings: &'static [&'static str],
    resource: Resource,
    words: &'static str,
}

/// Read from `Documentation/` and the functions themselves, kernels 4.18 to 6.18. The first that fits counts.
const MEANINGS: [Meaning; 10] = [
    Meaning {
        beginnings: &[
            "io_schedule",
            "folio_wait_bit",
            "wait_on_page_bit",
            "blk_mq_get_tag",
            "wbt_wait",
            "rq_qos_wait",
            "blk_io_schedule",
        ],
        resource: Resource::Disk,
        words: "waits for the disk",
    },
    Meaning {
        beginnings: &["jbd2_log_wait_commit", "wait_transaction_locked", "xfs_log_force", "jbd2_journal", "start_this_handle"],
        resource: Resource::Disk,
        words: "waits for the filesystem's journal",
    },
    Meaning {
        beginnings: &["balance_dirty_pages"],
        resource: Resource::Disk,
        words: "is slowed down: too much is waiting to be written",
    },
    Meaning {
        beginnings: &["percpu_rwsem_wait", "sb_start_write", "__sb_start_write"],
        resource: Resource::FrozenFilesystem,
        words: "waits for a frozen filesystem",
    },
    Meaning {
        beginnings: &["rpc_wait_bit_killable", "nfs_wait", "nfs4_", "rpc_"],
        resource: Resource::NetworkFilesystem,
        words: "waits for the NFS server",
    },
    Meaning {
        beginnings: &["request_wait_answer", "fuse_"],
        resource: Resource::NetworkFilesystem,
        words: "waits for a FUSE daemon",
    },
    Meaning {
        beginnings: &["rwsem_down", "__access_remote_vm", "__mutex_lock", "__vma_start_write", "__down"],
        resource: Resource::Lock,
        words: "waits for a lock in the kernel",
    },
    Meaning {
        beginnings: &["wait_for_vfork_done", "kernel_clone", "_do_fork", "__do_sys_vfork"],
        resource: Resource::None,
        words: "waits for its child to start a program",
    },
    Meaning {
        beginnings: &["exit_mm", "do_exit", "do_coredump"],
        resource: Resource::None,
        words: "is ending, with much memory to give back",
    },
    Meaning {
        beginnings: &["throttle_direct_reclaim", "congestion_wait"],
        resource: Resource::Memory,
        words: "waits for memory",
    },
];

fn meaning(wchan: &str) -> Option<&'static Meaning> {
    MEANINGS.iter().find(|meaning| meaning.beginnings.iter().any(|beginning| wchan.starts_with(beginning)))
}

/// What is short where a task waits in this kernel function. `None`: not in the table.
pub fn resource(wchan: &str) -> Option<Resource> {
    meaning(wchan).map(|meaning| meaning.resource)
}

/// What waiting in this kernel function means, as part of a sentence: `waits for the disk`. `None`: not in the table.
pub fn words(wchan: &str) -> Option<&'static str> {
    meaning(wchan).map(|meaning| meaning.words)
}

/// A system call's name on this machine. `None`: no such number.
pub(super) fn syscall_name(number: u32) -> Option<String> {
    syscalls::Sysno::new(number as usize).map(|call| call.name().to_owned())
}

/// All stuck tasks of programs, put together by job and place, most tasks first. `own`: whytop itself, whose readers of command
/// lines get stuck in what they look at and are no news.
pub fn groups(table: &Table, jobs: &Jobs, own: Option<Pid>) -> Vec<WaitGroup> {
    let facts: Vec<_> = jobs.iter().map(|(facts, _)| facts).collect();
    let mut groups: BTreeMap<(usize, Option<&str>, Option<u32>), u32> = BTreeMap::new();
    let counts = |process: &Process| !process.kernel_thread && Some(process.id.pid) != own;
    for entry in table.restless().filter(|entry| counts(&entry.process)) {
        let Some(job) = jobs.index_of(entry.process.id) else { continue };
        for task in entry.tasks.iter().filter(|task| task.state == TaskState::Uninterruptible) {
            let wait = task.wait.as_deref();
            let place = (job, wait.and_then(|Wait { wchan, .. }| wchan.as_deref()), wait.and_then(|wait| wait.syscall));
            *groups.entry(place).or_default() += 1;
        }
    }
    let mut groups: Vec<WaitGroup> = groups
        .into_iter()
        .map(|((job, wchan, syscall), tasks)| WaitGroup {
            job: facts[job].id.clone(),
            tasks,
            syscall: syscall.and_then(syscall_name),
            wchan: wchan.map(clean),
            path: None,
            device: None,
            meaning: wchan.and_then(meaning).map(|meaning| meaning.words.to_owned()),
            longest: None,
        })
        .collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.tasks));
    groups
}
