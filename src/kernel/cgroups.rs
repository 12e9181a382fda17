//! Counters of control groups: what a unit or container moved where its processes do not tell, and how long it was held up.
//!
//! Asks for nothing while nothing is hidden and nobody is held up, and then for the groups of processes at work, and while somebody is held up
//! for those above them, which may have limits too, so many a sample. Files of
//! a control group are made up by the kernel and answer at once; none of those read here takes the lock of all groups. Version 2 is asked
//! first, then the hierarchies of version 1: a hybrid host has a part of each. Tested in place and by `tests/units.rs`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    iter::successors,
    path::{Path, PathBuf},
    sync::Arc,
};

use compact_str::CompactString;
use rustc_hash::FxHashMap;

use super::{
    holders::HeldUp,
    host::total,
    parse,
    root::ProcRoot,
    table::{Changes, Table},
};
use crate::{
    sample::{Cgroup, CgroupIo, Identity, IoLimit, Process},
    units::{Nanos, ProcessId},
};

/// Most groups read for one sample: at up to a dozen files each and 8 µs a file it takes 6 ms.
const GROUPS: usize = 64;
/// Most of a file that is read: a line of `io.stat` has a hundred bytes, and a group has one for each disk.
const BYTES: u64 = 16 * 1024;
/// Version 1 says that there is no limit of memory with the largest number of pages there can be.
const NO_LIMIT: u64 = 1 << 62;

/// Which group each process is in, and where groups are found.
pub(super) struct Cgroups {
    trees: Trees,
    identities: FxHashMap<ProcessId, Arc<Identity>>,
    /// The group that was read last, where there are more than can be read.
    last: String,
}

/// Where the hierarchies are mounted. `None`: not on this host.
#[derive(Debug, Default)]
struct Trees {
    unified: Option<PathBuf>,
    block: Option<PathBuf>,
    cpu: Option<PathBuf>,
    memory: Option<PathBuf>,
}

/// Why a group is worth a look.
#[derive(Clone, Copy, Default)]
struct Worth {
    /// Some process in there hides what it moves.
    hides: bool,
    /// Some task in there or below is stuck.
    stuck: bool,
}

/// What is worth asking for.
#[derive(Clone, Copy)]
struct Wanted {
    /// Bytes, where those of some processes are not known.
    bytes: bool,
    held_up: HeldUp,
}

impl Cgroups {
    pub fn new(root: &ProcRoot) -> Self {
        let trees = root.sys().map(|sys| Trees::find(&sys.join("fs/cgroup"))).unwrap_or_default();
        Self { trees, identities: FxHashMap::default(), last: String::new() }
    }

    /// Takes in who processes are, and forgets those that are gone.
    pub fn note(&mut self, identities: &[(ProcessId, Arc<Identity>)], gone: &[ProcessId]) {
        for id in gone {
            self.identities.remove(id);
        }
        self.identities.extend(identities.iter().map(|(id, identity)| (*id, Arc::clone(identity))));
    }

    /// The counters of those groups that are worth a look.
    pub fn look(&mut self, table: &Table, changes: &Changes, held_up: HeldUp) -> Vec<Cgroup> {
        let anybody = held_up.cpu || held_up.io || held_up.memory;
        if !(changes.io_unknown || anybody) {
            return Vec::new();
        }
        let mut paths: BTreeMap<&str, Worth> = BTreeMap::new();
        let at_work = changes.active.iter().copied().map(|id| (id, false));
        for (id, stuck) in at_work.chain(table.stuck().map(|id| (id, true))) {
            let Some(identity) = self.identities.get(&id) else { continue };
            let own = identity.cgroup.as_deref().filter(|path| is_plain(path));
            if let Some(path) = own {
                paths.entry(path).or_default().hides |= table.get(id).is_some_and(Process::hides_io);
            }
            let limiting = [identity.cpu_group(), identity.memory_group(), identity.io_group()];
            let limiting = limiting.into_iter().flatten().filter(|path| anybody && is_plain(path));
            for path in own.into_iter().chain(limiting.flat_map(|path| successors(Some(path), |path| above(path)))) {
                paths.entry(path).or_default().stuck |= stuck;
            }
        }
        // The limits of those who are stuck are known at every look, however many groups there are; the others have their turns.
        let worth = paths.into_iter().filter(|(_, worth)| worth.hides || anybody);
        let mut worth: Vec<(bool, bool, &str, bool)> =
            worth.map(|(path, worth)| (!worth.stuck, path <= self.last.as_str(), path, worth.hides)).collect();
        worth.sort_unstable();
        let chosen: Vec<(CompactString, bool)> =
            worth.into_iter().take(GROUPS).map(|(_, _, path, hides)| (path.into(), hides)).collect();
        if let Some((last, _)) = chosen.last().filter(|_| chosen.len() >= GROUPS) {
            self.last = last.to_string();
        }
        let read = chosen.into_iter().map(|(path, bytes)| self.read(path, Wanted { bytes, held_up }));
        read.filter(|read| *read != Cgroup { path: read.path.clone(), ..Cgroup::default() }).collect()
    }

    fn read(&self, path: CompactString, wanted: Wanted) -> Cgroup {
        let trees = &self.trees;
        let file = |tree: &Option<PathBuf>, name: &str| read(tree.as_ref()?, &path, name);
        let mut cgroup = Cgroup::default();
        if wanted.held_up.io {
            cgroup.io_limits = file(&trees.unified, "io.max").map_or_else(
                || old_limits(|name| file(&trees.block, &format!("blkio.throttle.{name}_device"))),
                |text| io_max(&text),
            );
        }
        let has_limits = !cgroup.io_limits.is_empty();
        if wanted.bytes || has_limits {
            cgroup.io = file(&trees.unified, "io.stat").map(|text| io_stat(&text));
            cgroup.io_whole = cgroup.io.is_some();
            if cgroup.io.is_none() {
                // A limit is for all that are below it.
                let counted = |name: &str| {
                    let all = file(&trees.block, &format!("blkio.throttle.{name}_recursive")).filter(|_| has_limits);
                    all.or_else(|| file(&trees.block, &format!("blkio.throttle.{name}")))
                };
                let requests = if has_limits { counted("io_serviced") } else { None };
                cgroup.io = counted("io_service_bytes").map(|bytes| serviced(&bytes, requests.as_deref()));
            }
        }
        if wanted.held_up.cpu {
            cgroup.cpu_stalled = file(&trees.unified, "cpu.pressure").and_then(|text| total(&text));
            cgroup.throttled = file(&trees.unified, "cpu.stat").and_then(|text| throttled(&text));
            if cgroup.throttled.is_none() {
                cgroup.throttled = file(&trees.cpu, "cpu.stat").and_then(|text| throttled(&text));
            }
        }
        if wanted.held_up.io {
            cgroup.io_stalled = file(&trees.unified, "io.pressure").and_then(|text| total(&text));
        }
        if wanted.held_up.memory {
            cgroup.memory_stalled = file(&trees.unified, "memory.pressure").and_then(|text| total(&text));
            // Its own limit, as far as the kernel tells that from the limits of those below it.
            let events = file(&trees.unified, "memory.events.local").or_else(|| file(&trees.unified, "memory.events"));
            cgroup.limited = events.and_then(|text| limited(&text));
            let limits: &[&str] =
                if cgroup.limited.is_some() { &["memory.max", "memory.high"] } else { &["memory.limit_in_bytes"] };
            let tree = if cgroup.limited.is_some() { &trees.unified } else { &trees.memory };
            let number = |name: &str| file(tree, name).and_then(|text| parse::number(text.trim().as_bytes()));
            cgroup.memory_limit = limits.iter().filter_map(|name| number(name)).min().filter(|bytes| *bytes < NO_LIMIT);
            if cgroup.limited.is_none() {
                cgroup.limited = number("memory.failcnt");
            }
        }
        Cgroup { path, ..cgroup }
    }
}

impl Trees {
    fn find(mounts: &Path) -> Self {
        let unified = [mounts.to_owned(), mounts.join("unified")];
        let there = |name: &str| Some(mounts.join(name)).filter(|path| path.is_dir());
        Self {
            unified: unified.into_iter().find(|path| path.join("cgroup.controllers").exists()),
            block: there("blkio"),
            cpu: there("cpu").or_else(|| there("cpu,cpuacct")),
            memory: there("memory"),
        }
    }
}

/// A path that leads down: those of processes outside of this namespace begin with `/..`.
fn is_plain(path: &str) -> bool {
    path.len() > 1 && !path.split('/').any(|part| part == "..")
}

/// The group that this one is in, but for the root, which has no limits.
fn above(path: &str) -> Option<&str> {
    path.trim_end_matches('/').rsplit_once('/').map(|(above, _)| above).filter(|above| !above.is_empty())
}

fn read(tree: &Path, group: &str, name: &str) -> Option<String> {
    let mut text = String::new();
    let file = File::open(tree.join(group.trim_start_matches('/')).join(name)).ok()?;
    file.take(BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The number behind this name.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| parse::number(line.strip_prefix(name)?.strip_prefix(' ')?.trim().as_bytes()))
}

/// Microseconds in version 2, nanoseconds in version 1. `None`: nothing limits it here.
fn throttled(text: &str) -> Option<Nanos> {
    value(text, "throttled_usec").and_then(|micros| micros.checked_mul(1000)).or_else(|| value(text, "throttled_time"))
}

fn limited(text: &str) -> Option<u64> {
    value(text, "high")?.checked_add(value(text, "max")?)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`
fn io_stat(text: &str) -> Vec<CgroupIo> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let number = |name: &str| named(rest, name);
        let (read, written) = (number("rbytes=")?, number("wbytes=")?);
        let [reads, writes] = ["rios=", "wios="].map(|name| number(name).unwrap_or_default());
        Some(CgroupIo { device: device_number(device)?, read, written, reads, writes })
    };
    text.lines().filter_map(line).collect()
}

/// `8:0 rbps=1048576 wbps=max riops=max wiops=100`
fn io_max(text: &str) -> Vec<IoLimit> {
    let line = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let [read, written, reads, writes] = ["rbps=", "wbps=", "riops=", "wiops="].map(|name| named(rest, name));
        Some(IoLimit { device: device_number(device)?, read, written, reads, writes })
    };
    text.lines().filter_map(line).collect()
}

/// The number behind this name, in a line of several.
fn named(line: &str, name: &str) -> Option<u64> {
    parse::number(line.split(' ').find_map(|word| word.strip_prefix(name))?.as_bytes())
}

/// Which of the limits of a device.
type Place = fn(&mut IoLimit) -> &mut Option<u64>;

/// `8:0 1048576`, a line for each device and a file for each limit.
fn old_limits(file: impl Fn(&str) -> Option<String>) -> Vec<IoLimit> {
    let mut found: Vec<IoLimit> = Vec::new();
    let places: [(&str, Place); 4] = [
        ("read_bps", |limit| &mut limit.read),
        ("write_bps", |limit| &mut limit.written),
        ("read_iops", |limit| &mut limit.reads),
        ("write_iops", |limit| &mut limit.writes),
    ];
    for (name, place) in places {
        let text = file(name).unwrap_or_default();
        for (device, most) in text.lines().filter_map(|line| line.split_once(' ')) {
            let (Some(device), Some(most)) = (device_number(device), parse::number(most.trim().as_bytes())) else { continue };
            let at = found.iter().position(|known| known.device == device).unwrap_or_else(|| {
                found.push(IoLimit { device, ..IoLimit::default() });
                found.len() - 1
            });
            *place(&mut found[at]) = Some(most);
        }
    }
    found
}

/// Bytes and requests of version 1: `8:0 Read 1`, a line each.
fn serviced(bytes: &str, requests: Option<&str>) -> Vec<CgroupIo> {
    let mut found: Vec<CgroupIo> = Vec::new();
    let mut add = |text: &str, kinds: [fn(&mut CgroupIo) -> &mut u64; 2]| {
        for line in text.lines() {
            let mut words = line.split(' ');
            let (device, kind, number) = (words.next().and_then(device_number), words.next(), words.next());
            let Some((device, number)) = device.zip(number.and_then(|number| parse::number(number.as_bytes()))) else { continue };
            let at = found.iter().position(|known| known.device == device).unwrap_or_else(|| {
                found.push(CgroupIo { device, ..CgroupIo::default() });
                found.len() - 1
            });
            match kind {
                Some("Read") => *kinds[0](&mut found[at]) = number,
                Some("Write") => *kinds[1](&mut found[at]) = number,
                _ => {}
            }
        }
    };
    add(bytes, [|io| &mut io.read, |io| &mut io.written]);
    add(requests.unwrap_or_default(), [|io| &mut io.reads, |io| &mut io.writes]);
    found
}

fn device_number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn io(device: (u32, u32), [read, written, reads, writes]: [u64; 4]) -> CgroupIo {
        CgroupIo { device, read, written, reads, writes }
    }

    #[test]
    fn bytes_are_read_from_both_versions() {
        let new = "8:16 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0\n253:0 \n8:0 rbytes=5 wbytes=6\n";
        assert_eq!(io_stat(new), [io((8, 16), [1_459_200, 314_773_504, 192, 353]), io((8, 0), [5, 6, 0, 0])]);
        let old = "8:0 Read 11\n8:0 Write 12\n8:0 Sync 1\n8:0 Async 22\n8:0 Discard 0\n8:0 Total 23\n7:4 Read 3\nTotal 26\n";
        let requests = "8:0 Read 2\n8:0 Write 1\n7:4 Read 1\nTotal 4\n";
        assert_eq!(serviced(old, Some(requests)), [io((8, 0), [11, 12, 2, 1]), io((7, 4), [3, 0, 1, 0])]);
        assert_eq!((io_stat("").len(), serviced("Total 0\n", None).len()), (0, 0));
    }

    #[test]
    fn limits_of_devices_are_read_from_both_versions() {
        let new = io_max("8:16 rbps=2097152 wbps=max riops=max wiops=120\n7:0 rbps=1\n");
        let first = IoLimit { device: (8, 16), read: Some(2_097_152), writes: Some(120), ..IoLimit::default() };
        assert_eq!(new, [first, IoLimit { device: (7, 0), read: Some(1), ..IoLimit::default() }]);
        let old = old_limits(|name| match name {
            "read_bps" => Some("8:16 2097152\n7:0 1\n".to_owned()),
            "write_iops" => Some("8:16 120\n".to_owned()),
            _ => None,
        });
        assert_eq!(old, new);
    }

    #[test]
    fn what_is_above_a_group_ends_below_the_root() {
        let all: Vec<&str> = successors(Some("/a.slice/b.slice/c.service"), |path| above(path)).collect();
        assert_eq!(all, ["/a.slice/b.slice/c.service", "/a.slice/b.slice", "/a.slice"]);
    }

    #[test]
    fn time_is_told_in_nanoseconds_whatever_the_version() {
        assert_eq!(throttled("usage_usec 5\nnr_periods 1\nnr_throttled 1\nthrottled_usec 7\n"), Some(7000));
        assert_eq!(throttled("nr_periods 1\nnr_throttled 1\nthrottled_time 7\n"), Some(7));
        assert_eq!(throttled("usage_usec 5\n"), None);
        assert_eq!(limited("low 0\nhigh 5\nmax 3\noom 9\n"), Some(8));
    }

    #[test]
    fn only_paths_that_lead_down_are_followed() {
        assert!(is_plain("/system.slice/a..b.service"));
        assert!(!is_plain("/") && !is_plain("/../x.service") && !is_plain("/a/.."));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([0-9]{1,4}:[0-9]{1,11} |some |total=|rbytes=|wbytes=|Read |high |max |[0-9]{1,21}|\n| ){0,30}") {
            let _ = (io_max(&text), old_limits(|_| Some(text.clone())), serviced(&text, Some(&text)));
            let _ = (io_stat(&text), total(&text), throttled(&text), limited(&text));
        }
    }
}
