//! Who moves most, by the I/O counters of two samples, and which files those processes have open.
//!
//! Looks at few processes a sample, at few descriptors of each, and at none while nobody moves much. Looks at links and `fdinfo` only, as
//! `descriptors` does. Time comes with the sample. Tested by `tests/storage.rs`.

use rustc_hash::FxHashMap;
use rustix::fs::OFlags;

use super::{
    descriptors,
    files::{DESCRIPTORS, Place},
    process::Looker,
    root::ProcRoot,
    table::Changes,
};
use crate::{
    sample::{Disk, FileRef, IoBytes, OpenFile},
    units::{Nanos, Pid, ProcessId, SECOND},
};

/// Bytes a second from which a process moves much: a disk of spinning plates gives as much to scattered reads.
const MUCH: u64 = 1_000_000;
/// Most processes looked at in one sample: at 64 files each and 13 µs a file it takes 3 ms.
const LOOKS: usize = 4;
/// A process is looked at again only after this long.
const SPACING: Nanos = 3 * SECOND;

/// Remembers what everybody moved.
pub(super) struct Movers {
    /// The process that samples.
    own: Option<Pid>,
    seen: FxHashMap<ProcessId, Seen>,
    last: Option<Nanos>,
}

struct Seen {
    io: IoBytes,
    looked: Option<Nanos>,
    /// The descriptor that the next look begins with.
    next: u32,
}

impl Movers {
    pub fn new(root: &ProcRoot) -> Self {
        let own = root.is_live().then(|| std::process::id().cast_signed());
        Self { own, seen: FxHashMap::default(), last: None }
    }

    /// Looks at the processes that moved most since the last sample, or since they started where they are new.
    pub fn look(
        &mut self,
        looker: &mut Looker,
        changes: &Changes,
        now: Nanos,
        disks: &[Disk],
    ) -> Vec<(ProcessId, Vec<OpenFile>)> {
        let since = self.last.replace(now).and_then(|last| now.checked_sub(last)).filter(|since| *since > 0);
        for id in &changes.gone_processes {
            self.seen.remove(id);
        }
        let mut movers = Vec::new();
        for process in changes.processes.iter().filter(|process| !process.kernel_thread && Some(process.id.pid) != self.own) {
            let Some(io) = process.io else { continue };
            let id = process.id;
            let (moved, span, earlier) = if let Some(seen) = self.seen.get_mut(&id) {
                (most(io, std::mem::replace(&mut seen.io, io)), since, seen.looked)
            } else {
                self.seen.insert(id, Seen { io, looked: None, next: 0 });
                // Starting a program moves some: it takes a second to tell.
                let age = now.saturating_sub(id.start.saturating_mul(looker.tick));
                (most(io, IoBytes::default()), Some(age.max(SECOND)), None)
            };
            let rate = span.map(|span| u128::from(moved) * u128::from(SECOND) / u128::from(span));
            let rested = earlier.is_none_or(|earlier| now.saturating_sub(earlier) >= SPACING);
            movers.extend(rate.filter(|rate| *rate >= MUCH.into() && rested).map(|rate| (rate, id)));
        }
        movers.sort_unstable_by(|one, other| other.cmp(one));
        movers.truncate(LOOKS);
        movers.into_iter().filter_map(|(_, id)| Some((id, self.open_files(looker, id, now, disks)?))).collect()
    }

    /// `None`: it is gone, or this user may not look.
    fn open_files(&mut self, looker: &mut Looker, id: ProcessId, now: Nanos, disks: &[Disk]) -> Option<Vec<OpenFile>> {
        let seen = self.seen.get_mut(&id)?;
        seen.looked = Some(now);
        let (place, files) = (Place::Process(id.pid), &mut looker.files);
        let mut listed = Vec::new();
        files.list_descriptors(id.pid, seen.next, &mut listed).ok()?;
        // Where there are more, the next look goes on behind these.
        seen.next = listed.last().filter(|_| listed.len() >= DESCRIPTORS).map_or(0, |last| last.saturating_add(1));
        let mut found = Vec::new();
        for fd in listed {
            let Some(path) = descriptors::link(files, place, fd) else { continue };
            let (pipe, plain) = (path.starts_with("pipe:["), descriptors::has_plain_info(&path));
            if !pipe && !plain && !is_disk(&path, disks) {
                continue;
            }
            let Some(info) = descriptors::info(files, place, fd) else { continue };
            let access = info.flags & OFlags::RWMODE;
            if info.flags.intersects(OFlags::PATH | OFlags::DIRECTORY) {
                continue;
            }
            found.push(OpenFile {
                fd,
                file: FileRef { path, mount: info.mount.filter(|_| plain) },
                reading: access != OFlags::WRONLY,
                writing: access != OFlags::RDONLY,
                position: info.position.filter(|_| !pipe),
            });
        }
        found.sort_unstable_by_key(|open| open.fd);
        // The number may have been used again since the sweep.
        let stat = files.stat(place).ok().flatten()?;
        (stat.start == id.start).then_some(found)
    }
}

/// The counter that grew most. One that went back (a write was cancelled) did not.
fn most(now: IoBytes, before: IoBytes) -> u64 {
    let grown = [
        now.read.saturating_sub(before.read),
        now.written.saturating_sub(before.written),
        now.read_any.saturating_sub(before.read_any),
        now.written_any.saturating_sub(before.written_any),
    ];
    grown.into_iter().fold(0, u64::max)
}

/// Whether a path is that of a disk, a partition or a mapped device, as far as the name tells.
fn is_disk(path: &str, disks: &[Disk]) -> bool {
    let Some(name) = path.strip_prefix("/dev/") else { return false };
    let is_part = |disk: &str| {
        name.strip_prefix(disk).is_some_and(|part| part.strip_prefix('p').unwrap_or(part).bytes().all(|c| c.is_ascii_digit()))
    };
    (name.starts_with("mapper/") && name != "mapper/control") || disks.iter().any(|disk| is_part(&disk.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_told_by_name() {
        let disk = |name: &str| Disk {
            name: name.into(),
            reads: 1,
            writes: 0,
            read_bytes: 0,
            write_bytes: 0,
            request_ms: 0,
            busy_ms: 0,
            queue_ms: 0,
        };
        let disks = [disk("sda"), disk("nvme0n1"), disk("dm-0")];
        for path in ["/dev/sda", "/dev/sda12", "/dev/nvme0n1p2", "/dev/dm-0", "/dev/mapper/vg-root"] {
            assert!(is_disk(path, &disks), "{path}");
        }
        for path in ["/dev/null", "/dev/sdb", "/dev/sdax", "/dev/mapper/control", "/srv/dev/sda", "/dev/nvme0", "/dev/"] {
            assert!(!is_disk(path, &disks), "{path}");
        }
    }

    #[test]
    fn a_counter_that_goes_back_is_no_traffic() {
        let io = |read, written| IoBytes { read, written, read_any: 0, written_any: 0 };
        assert_eq!(most(io(10, 0), io(3, 500)), 7);
    }
}
