//! Kernel threads, put together by subsystem: one job each, named by what it does; and what is known of those that do work which somebody
//! started.
//!
//! Pure text.

use crate::analysis::diagnosis::Advice;

/// Prefix of a kernel thread's name, and the subsystem. The first that fits counts.
const SUBSYSTEMS: [(&str, &str); 26] = [
    ("jbd2/", "journal"),
    ("xfsaild", "journal"),
    ("xfs-", "journal"),
    ("ext4-", "journal"),
    ("kswapd", "reclaim"),
    ("kcompactd", "reclaim"),
    ("khugepaged", "reclaim"),
    ("ksoftirqd", "interrupts"),
    ("irq/", "interrupts"),
    ("rcu", "rcu"),
    ("nfsd", "nfs server"),
    ("lockd", "nfs server"),
    ("btrfs-scrub", "btrfs scrub"),
    ("btrfs", "btrfs"),
    ("dsl_scan", "zfs scrub"),
    ("txg_", "zfs"),
    ("z_", "zfs"),
    ("zvol", "zfs"),
    ("dp_sync", "zfs"),
    ("drbd", "drbd"),
    ("kcopyd", "device mapper"),
    ("dmcrypt", "disk encryption"),
    ("kcryptd", "disk encryption"),
    ("loop", "loop devices"),
    ("nvme", "disk driver"),
    ("scsi", "disk driver"),
];

/// The subsystem of a kernel thread.
pub fn subsystem(comm: &str) -> &'static str {
    if comm.starts_with("kworker") {
        // `kworker/u8:0+flush-254:0` writes back; `kworker/R-slub_flushwq` does not.
        return if comm.contains("flush-") || comm.contains("writeback") {
            "writeback"
        } else if comm.contains("loop") {
            "loop devices"
        } else if comm.contains("crypt") {
            "disk encryption"
        } else {
            "workers"
        };
    }
    if comm.starts_with("md") && comm.ends_with("_resync") {
        return "md resync";
    }
    if comm.starts_with("md") && comm.contains("_raid") {
        return "md";
    }
    SUBSYSTEMS.iter().find(|(prefix, _)| comm.starts_with(prefix)).map_or("other threads", |(_, name)| name)
}

/// What work of its own the subsystem does, and how that is stopped: it takes no signal. `None`: it works for whoever writes or reads.
pub fn work(subsystem: &str) -> Option<(&'static str, Advice)> {
    let (work, cleanup, gentle, resume) = match subsystem {
        "md resync" => (
            "raid resync",
            "echo idle > /sys/block/MD/md/sync_action",
            "echo 10000 > /proc/sys/dev/raid/speed_limit_max",
            "A check starts again, a rebuild goes on by itself.",
        ),
        "btrfs scrub" => ("scrub", "btrfs scrub cancel MOUNT", "btrfs scrub limit -s 50m MOUNT", "btrfs scrub resume MOUNT."),
        "zfs scrub" => ("scrub", "zpool scrub -s POOL", "zpool scrub -p POOL pauses it.", "zpool scrub POOL goes on."),
        "drbd" => (
            "replication",
            "drbdadm disconnect RESOURCE",
            "drbdadm disk-options --c-max-rate=10M RESOURCE",
            "drbdadm connect RESOURCE.",
        ),
        _ => return None,
    };
    let consequence = Some("Kernel threads take no signal: the command below stops it.".to_owned());
    let [cleanup, gentle, resume] = [cleanup, gentle, resume].map(|words| Some(words.to_owned()));
    Some((work, Advice { consequence, cleanup, gentle, resume, ..Advice::default() }))
}
