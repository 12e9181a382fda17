//! What kernel functions mean in plain words: what a task waits for, what helps, and what does not.
//!
//! Data. The functions were read from the kernel's sources, 4.18 to 6.18, and met on hosts; one that is not in here stays without a
//! meaning. Tested in place and by `tests/scenarios.rs`.

use crate::analysis::diagnosis::Resource;
use crate::sample::Wait;

/// A place in the kernel, by how its functions begin, and what waiting there means.
#[derive(Debug)]
pub struct Meaning {
    place: Place,
    functions: &'static [&'static str],
    /// What is short there.
    pub resource: Resource,
    /// What the task does there: `waits for the disk`.
    pub words: &'static str,
    /// What ends the wait. Empty: nothing has to.
    pub helps: &'static str,
}

impl Meaning {
    fn covers(&self, function: &str) -> bool {
        self.functions.iter().any(|beginning| function.starts_with(beginning))
    }
}

/// Where one of the functions has to be.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// It is the one that the task sleeps in.
    Innermost,
    /// It is anywhere on the stack: whoever called, called for this.
    Anywhere,
}

use Place::{Anywhere, Innermost};
use Resource::{Disk, FrozenFilesystem, Lock, Memory, NetworkFilesystem};

/// What a task does that has come to the limit of its own control group: others have nothing to do with it.
pub const OWN_LIMIT: &str = "is at the memory limit of its control group";

/// The first that fits counts: what a task was called for says more than the last function, which many share.
const MEANINGS: [Meaning; 22] = [
    Meaning {
        place: Innermost,
        functions: &["kernel_clone", "_do_fork", "__do_sys_vfork", "wait_for_vfork_done"],
        resource: Resource::None,
        words: "waits for its child to start a program",
        helps: "",
    },
    Meaning {
        place: Innermost,
        functions: &["__refrigerator", "do_freezer_trap"],
        resource: Resource::None,
        words: "is frozen by the control group freezer, as in a paused container",
        helps: "whoever paused it lets it run again",
    },
    Meaning {
        place: Anywhere,
        functions: &[
            "try_to_free_mem_cgroup_pages",
            "mem_cgroup_handle_over_high",
            "mem_cgroup_out_of_memory",
            "mem_cgroup_oom_synchronize",
            "try_charge_memcg",
        ],
        resource: Memory,
        words: OWN_LIMIT,
        helps: "a higher limit for its control group (memory.high, memory.max), or less work for it",
    },
    Meaning {
        place: Anywhere,
        functions: &[
            "shrink_node",
            "shrink_lruvec",
            "try_to_free_pages",
            "__alloc_pages_direct_reclaim",
            "throttle_direct_reclaim",
            "reclaim_throttle",
            "out_of_memory",
            "congestion_wait",
        ],
        resource: Memory,
        words: "waits for memory to be freed",
        helps: "end or limit the job that grows",
    },
    Meaning {
        place: Anywhere,
        functions: &["do_swap_page", "swap_read_folio", "swap_readpage", "swapin_readahead", "swap_cluster_readahead"],
        resource: Memory,
        words: "waits for its memory to come back from swap",
        helps: "end or limit the job that grows",
    },
    Meaning {
        place: Anywhere,
        functions: &["rpc_", "nfs_", "nfs3_", "nfs4_", "nlmclnt_"],
        resource: NetworkFilesystem,
        words: "waits for the NFS server",
        helps: "the server or the network; SIGKILL ends these, df and lsof would hang too",
    },
    Meaning {
        place: Anywhere,
        functions: &["cifs_", "smb2_", "smb3_", "SMB2_", "ceph_", "p9_client_", "v9fs_", "afs_"],
        resource: NetworkFilesystem,
        words: "waits for a file server",
        helps: "the server or the network",
    },
    Meaning {
        place: Anywhere,
        functions: &["request_wait_answer", "fuse_"],
        resource: NetworkFilesystem,
        words: "waits for a FUSE daemon",
        helps: "that daemon: let it run again, or end it",
    },
    Meaning {
        place: Anywhere,
        functions: &["freeze_super", "thaw_super", "super_lock", "iterate_supers", "grab_super"],
        resource: Lock,
        words: "waits for a filesystem that is being frozen, thawed or unmounted",
        helps: "whoever does that",
    },
    Meaning {
        place: Anywhere,
        functions: &["cgroup_attach", "cgroup_procs_write", "cgroup_threadgroup", "cgroup_lock", "cgroup_kn_lock"],
        resource: Lock,
        words: "waits for a change of control groups",
        helps: "the task that is stuck longest holds it, most likely",
    },
    Meaning {
        place: Innermost,
        functions: &["percpu_rwsem_wait", "__percpu_down_read", "sb_start_write", "__sb_start_write"],
        resource: FrozenFilesystem,
        words: "waits for a frozen filesystem",
        helps: "fsfreeze --unfreeze on its mount point, or the end of what froze it; killing these does nothing",
    },
    Meaning {
        place: Innermost,
        functions: &["balance_dirty_pages"],
        resource: Disk,
        words: "is slowed down: too much is waiting to be written",
        helps: "slow or stop the heaviest writer",
    },
    Meaning {
        place: Anywhere,
        functions: &[
            "jbd2_log_wait_commit",
            "wait_transaction_locked",
            "start_this_handle",
            "jbd2_journal_",
            "xfs_log_force",
            "xlog_",
            "btrfs_wait_for_commit",
            "btrfs_commit_transaction",
            "wait_current_trans",
        ],
        resource: Disk,
        words: "waits for the filesystem's journal",
        helps: "slow or stop the heaviest writer, or whoever calls fsync",
    },
    Meaning {
        place: Anywhere,
        functions: &[
            "md_super_wait",
            "md_write_start",
            "raid5_get_active_stripe",
            "raid5_make_request",
            "wait_barrier",
            "raise_barrier",
        ],
        resource: Disk,
        words: "waits for the RAID",
        helps: "slow its resync or check, or its heaviest user",
    },
    Meaning {
        place: Anywhere,
        functions: &[
            "file_write_and_wait_range",
            "__filemap_fdatawait_range",
            "filemap_fdatawait",
            "sync_inodes_sb",
            "wb_wait_for_completion",
        ],
        resource: Disk,
        words: "waits for its own data to be on the disk",
        helps: "slow or stop the disk's heaviest user",
    },
    Meaning {
        place: Innermost,
        functions: &[
            "io_schedule",
            "folio_wait_bit",
            "folio_wait_writeback",
            "wait_on_page_bit",
            "wait_on_page_writeback",
            "__wait_on_buffer",
            "__lock_buffer",
            "bit_wait_io",
            "blk_mq_get_tag",
            "blk_mq_submit_bio",
            "__bio_queue_enter",
            "wbt_wait",
            "rq_qos_wait",
            "blk_io_schedule",
            "submit_bio_wait",
            "blk_execute_rq",
            "__iomap_dio_rw",
            "iomap_dio_",
            "dio_await",
            "__blkdev_direct_IO",
            "do_blockdev_direct_IO",
            "__synchronous_bio",
        ],
        resource: Disk,
        words: "waits for the disk",
        helps: "slow or stop the disk's heaviest user; a signal to the one that waits comes later",
    },
    Meaning {
        place: Anywhere,
        functions: &["exit_mm", "do_exit", "do_coredump", "vfs_coredump"],
        resource: Resource::None,
        words: "is ending, with much memory to give back",
        helps: "",
    },
    Meaning {
        place: Innermost,
        functions: &[
            "__vma_start_write",
            "vma_start_write",
            "__access_remote_vm",
            "access_remote_vm",
            "lock_mm_and_find_vma",
            "do_user_addr_fault",
            "vm_mmap_pgoff",
            "__vm_munmap",
            "do_mprotect_pkey",
            "__do_sys_brk",
            "__x64_sys_brk",
            "dup_mmap",
            "m_start",
        ],
        resource: Lock,
        words: "waits for a process's map of memory (mmap_lock)",
        helps: "the task of that process which is stuck longest holds it; killing those who wait does nothing",
    },
    Meaning {
        place: Innermost,
        functions: &[
            "walk_component",
            "lookup_slow",
            "open_last_lookups",
            "path_openat",
            "filename_create",
            "do_unlinkat",
            "do_rmdir",
            "do_renameat2",
            "lock_rename",
            "iterate_dir",
            "lock_two_directories",
        ],
        resource: Lock,
        words: "waits for a directory in which another task is at work",
        helps: "the task that is stuck longest holds it, most likely; killing those who wait does nothing",
    },
    Meaning {
        place: Innermost,
        functions: &[
            "ext4_file_write_iter",
            "ext4_buffered_write_iter",
            "ext4_dio_write_iter",
            "generic_file_write_iter",
            "xfs_ilock",
            "btrfs_inode_lock",
            "do_truncate",
        ],
        resource: Lock,
        words: "waits for a file that another task writes",
        helps: "the task that is stuck longest holds it, most likely; killing those who wait does nothing",
    },
    Meaning {
        place: Innermost,
        functions: &["fdget_pos", "__fdget_pos", "__f_lock_pos"],
        resource: Lock,
        words: "waits for a file that another task of its process has in hand",
        helps: "the task that is stuck longest has it; killing those who wait does nothing",
    },
    Meaning {
        place: Innermost,
        functions: &["rwsem_down", "__mutex_lock", "__down", "down_read", "down_write", "mutex_lock", "rtnl_lock"],
        resource: Lock,
        words: "waits for a lock in the kernel",
        helps: "the task that is stuck longest holds it, most likely; killing those who wait does nothing",
    },
];

/// Filesystems that somebody else serves, by how their kinds begin, each with how functions of theirs begin that are in the table.
const SERVED: [(&str, &str); 8] = [
    ("fuse", "fuse_"),
    ("nfs", "nfs_"),
    ("cifs", "cifs_"),
    ("smb3", "smb3_"),
    ("ceph", "ceph_"),
    ("9p", "p9_client_"),
    ("afs", "afs_"),
    ("virtiofs", "fuse_"),
];

/// What waiting there means. `None`: not in the table, or nothing may be seen.
pub fn meaning(wait: &Wait) -> Option<&'static Meaning> {
    let stack = wait.stack.as_deref().unwrap_or_default();
    let innermost = wait.wchan.iter().chain(stack.first());
    let anywhere = wait.wchan.iter().chain(stack);
    MEANINGS.iter().find(|meaning| match meaning.place {
        Innermost => innermost.clone().any(|function| meaning.covers(function)),
        Anywhere => anywhere.clone().any(|function| meaning.covers(function)),
    })
}

/// The same, of a task that has a file of this kind of filesystem in hand: pages are read ahead by nobody's call, so that who waits for
/// one waits in a function that disks and servers share.
pub fn meaning_on(wait: &Wait, filesystem: Option<&str>) -> Option<&'static Meaning> {
    let seen = meaning(wait)?;
    let served = SERVED.iter().find(|(kind, _)| filesystem.is_some_and(|filesystem| filesystem.starts_with(kind)));
    let served = served.filter(|_| seen.resource == Disk);
    let by_server = served.and_then(|(_, function)| MEANINGS.iter().find(|meaning| meaning.covers(function)));
    Some(by_server.unwrap_or(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(wchan: &str, stack: &[&str]) -> Option<&'static str> {
        let stack = stack.iter().map(|function| (*function).into()).collect();
        meaning(&Wait { wchan: Some(wchan.into()), stack: Some(stack), ..Wait::default() }).map(|meaning| meaning.words)
    }

    /// Stacks as they were met.
    #[test]
    fn the_stack_says_what_the_wait_channel_does_not() {
        let read = ["folio_wait_bit_common", "filemap_get_pages", "filemap_read", "vfs_read", "__x64_sys_pread64"];
        assert_eq!(words(read[0], &read), Some("waits for the disk"));
        let swap = ["folio_wait_bit_common", "do_swap_page", "__handle_mm_fault", "exc_page_fault"];
        assert_eq!(words(swap[0], &swap), Some("waits for its memory to come back from swap"));
        let frozen = ["percpu_rwsem_wait", "ext4_page_mkwrite", "do_page_mkwrite", "do_wp_page", "exc_page_fault"];
        assert_eq!(words(frozen[0], &frozen), Some("waits for a frozen filesystem"));
        let moved = ["percpu_rwsem_wait", "cgroup_attach_lock", "cgroup_procs_write_start", "cgroup_procs_write"];
        assert_eq!(words(moved[0], &moved), Some("waits for a change of control groups"));
        let wedged = ["__vma_start_write", "vms_gather_munmap_vmas", "do_vmi_munmap", "__x64_sys_munmap"];
        assert_eq!(words(wedged[0], &wedged), Some("waits for a process's map of memory (mmap_lock)"));
        let fuse = ["folio_wait_bit_common", "filemap_read", "fuse_file_read_iter", "vfs_read"];
        assert_eq!(words(fuse[0], &fuse), Some("waits for a FUSE daemon"));
    }

    #[test]
    fn without_a_stack_the_wait_channel_must_do() {
        assert_eq!(words("rpc_wait_bit_killable", &[]), Some("waits for the NFS server"));
        assert_eq!(words("something_new", &[]), None);
        assert!(meaning(&Wait::default()).is_none());
    }

    #[test]
    fn a_page_that_a_server_owes_is_not_the_disks() {
        let stack = ["folio_wait_bit_common", "filemap_get_pages", "filemap_read", "vfs_read"].map(Into::into).to_vec();
        let wait = Wait { wchan: Some("folio_wait_bit_common".into()), stack: Some(stack), ..Wait::default() };
        let on = |filesystem: &str| meaning_on(&wait, Some(filesystem)).map(|meaning| meaning.words);
        assert_eq!(on("fuse.sshfs"), Some("waits for a FUSE daemon"));
        assert_eq!(on("nfs4"), Some("waits for the NFS server"));
        assert_eq!(on("9p"), Some("waits for a file server"));
        assert_eq!(on("ext4"), Some("waits for the disk"));
        assert_eq!(meaning_on(&wait, None).map(|meaning| meaning.words), Some("waits for the disk"));
        for (_, function) in SERVED {
            assert!(
                MEANINGS.iter().any(|meaning| meaning.resource == NetworkFilesystem && meaning.covers(function)),
                "{function}"
            );
        }
        let frozen = Wait { wchan: Some("percpu_rwsem_wait".into()), ..Wait::default() };
        assert_eq!(meaning_on(&frozen, Some("fuse")).map(|meaning| meaning.words), Some("waits for a frozen filesystem"));
    }

    #[test]
    fn no_meaning_is_out_of_reach() {
        for (at, meaning) in MEANINGS.iter().enumerate() {
            for function in meaning.functions {
                let shadows = |earlier: &&Meaning| earlier.functions.iter().any(|beginning| function.starts_with(beginning));
                let earlier = MEANINGS[..at].iter().find(shadows);
                assert!(earlier.is_none(), "{function} never gets to {}: {earlier:?}", meaning.words);
            }
        }
    }
}
