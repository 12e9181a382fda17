//! Kernel threads, put together by subsystem: one job each, named by what it does.
//!
//! Pure text.

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
        return if comm.contains("flush") || comm.contains("writeback") {
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
