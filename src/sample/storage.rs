//! Files, mounts and block devices: the way from a path to the disks below it, as the kernel tells it.
//!
//! Plain data, as [`super`] has it.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

/// A file by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRef {
    /// As its process sees it (`/proc/PID/fd/N`): a path, or `pipe:[4711]` and the like. From a stranger.
    pub path: String,
    /// The mount it was opened on (`mnt_id` of `/proc/PID/fdinfo/N`), which is worth more than the path: in a container paths have other
    /// meanings.
    pub mount: Option<u32>,
}

/// A file that a process has open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpenFile {
    /// Its descriptor.
    pub fd: u32,
    /// Which.
    pub file: FileRef,
    /// Open for reading.
    pub reading: bool,
    /// Open for writing.
    pub writing: bool,
    /// Where in the file the next byte is read or written. `None`: there is no such place (a pipe).
    pub position: Option<u64>,
}

/// Mounts and block devices: the way from a path to the disks below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    /// `/proc/self/mountinfo`, in its order: of two mounts on one point the later hides the earlier.
    pub mounts: Vec<Mount>,
    /// `/sys/class/block`: disks, partitions and what is stacked on them, in order of their names.
    pub devices: Vec<BlockDevice>,
    /// Mounts of other mount namespaces (containers), as far as an open file was on one. Their points are paths inside: they can be
    /// found by number only.
    #[serde(default)]
    pub foreign: Vec<Mount>,
}

impl Storage {
    /// The mount of that number, in whichever namespace.
    pub fn mount(&self, id: u32) -> Option<&Mount> {
        self.mounts.iter().chain(&self.foreign).find(|mount| mount.id == id)
    }
}

/// One mount (`proc(5)`, `/proc/PID/mountinfo`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Mount number, one for the whole host.
    pub id: u32,
    /// Device number, major and minor. Major 0: no block device (NFS, overlay, btrfs, tmpfs).
    pub device: (u32, u32),
    /// Where it is mounted, for this process.
    pub point: String,
    /// Type: `ext4`, `nfs4`, `fuse.sshfs`.
    pub kind: CompactString,
    /// What is mounted: `/dev/sda1`, `server:/export`, `overlay`.
    pub source: String,
    /// An overlay's upper directory, where writes go.
    pub upper: Option<String>,
}

/// One block device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Kernel name, as `/proc/diskstats` has it: `sda1`, `dm-3`, `md0`, `loop0`.
    pub name: CompactString,
    /// The device mapper's name, below `/dev/mapper`: `vg-root` (`dm/name`). `None`: not of the device mapper.
    #[serde(default)]
    pub mapped: Option<CompactString>,
    /// Device number, major and minor.
    pub device: (u32, u32),
    /// What it is made of: the disk of a partition, the slaves of `dm` and `md`. Empty: a disk, or a loop device.
    pub below: Vec<CompactString>,
    /// The file behind a loop device (`loop/backing_file`).
    pub backing: Option<String>,
    /// The I/O scheduler in force (`queue/scheduler`). `None`: it has none of its own, as partitions and stacked devices.
    #[serde(default)]
    pub scheduler: Option<CompactString>,
}
