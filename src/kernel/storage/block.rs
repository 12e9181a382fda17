//! Block devices and what they are made of, from `/sys/class/block`.
//!
//! Opens no device. Runs on the thread of `storage` only: attributes of a device that is being removed may be slow. Tested in place, on
//! made-up trees, and by `tests/storage.rs`.

use std::{fs, io, path::Path};

use compact_str::CompactString;

use super::mountinfo;
use crate::sample::BlockDevice;

/// Most devices that are looked at.
const DEVICES: usize = 4096;

/// The devices of a sys tree, in order of their names; none if it has no such directory.
pub(super) fn read(sys: &Path) -> io::Result<Vec<BlockDevice>> {
    let class = match fs::read_dir(sys.join("class/block")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        class => class?,
    };
    // A device that goes while it is looked at is left out.
    let mut devices: Vec<_> = class.take(DEVICES).filter_map(|entry| device(&entry.ok()?.path())).collect();
    devices.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(devices)
}

fn device(path: &Path) -> Option<BlockDevice> {
    let attribute = |name: &str| {
        let text = String::from_utf8_lossy(&fs::read(path.join(name)).ok()?).into_owned();
        Some(text.strip_suffix('\n').unwrap_or(&text).to_owned()).filter(|text| !text.is_empty())
    };
    let device = mountinfo::device(attribute("dev")?.as_bytes())?;
    let below = if attribute("partition").is_some() {
        // The entry is a link into the tree of devices, where a partition lies in the directory of its disk.
        fs::read_link(path).ok().and_then(|link| link.parent().and_then(name)).into_iter().collect()
    } else {
        let entries = fs::read_dir(path.join("slaves")).into_iter().flatten();
        let mut slaves: Vec<CompactString> = entries.filter_map(|entry| name(&entry.ok()?.path())).collect();
        slaves.sort_unstable();
        slaves
    };
    let mapped = attribute("dm/name").map(CompactString::from);
    let scheduler = attribute("queue/scheduler").and_then(|list| chosen(&list).map(CompactString::from));
    Some(BlockDevice { name: name(path)?, mapped, device, below, backing: attribute("loop/backing_file"), scheduler })
}

/// The one in brackets.
fn chosen(list: &str) -> Option<&str> {
    let (_, rest) = list.split_once('[')?;
    rest.split_once(']').map(|(name, _)| name)
}

/// The device of a directory: a slash in its name (`cciss/c0d0`) is an exclamation mark there.
fn name(path: &Path) -> Option<CompactString> {
    Some(path.file_name()?.to_string_lossy().replace('!', "/").into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use std::os::unix::fs::symlink;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A device with these attributes, as the kernel lays it out.
    fn make(sys: &Path, place: &str, attributes: &[(&str, &str)], slaves: &[&str]) {
        let dir = sys.join("devices").join(place);
        for (name, text) in attributes {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        for slave in slaves {
            fs::create_dir_all(dir.join("slaves").join(slave)).unwrap();
        }
        let class = sys.join("class/block");
        fs::create_dir_all(&class).unwrap();
        symlink(Path::new("../../devices").join(place), class.join(dir.file_name().unwrap())).unwrap();
    }

    #[test]
    fn devices_are_stacked_on_others() {
        let sys = tempfile::tempdir().unwrap();
        let sys = sys.path();
        make(sys, "pci0/block/sda", &[("dev", "8:0"), ("queue/scheduler", "none [mq-deadline] kyber bfq")], &[]);
        make(sys, "pci0/block/sda/sda1", &[("dev", "8:1"), ("partition", "1")], &[]);
        make(sys, "pci0/block/cciss!c0d0", &[("dev", "104:0")], &[]);
        make(sys, "pci0/block/cciss!c0d0/cciss!c0d0p1", &[("dev", "104:1"), ("partition", "1")], &[]);
        make(sys, "virtual/block/md0", &[("dev", "9:0")], &["sdb1", "sda1"]);
        make(sys, "virtual/block/dm-3", &[("dev", "253:3"), ("dm/name", "vg-root")], &["md0"]);
        make(sys, "virtual/block/loop0", &[("dev", "7:0"), ("loop/backing_file", "/var/my images/a.img")], &[]);
        make(sys, "virtual/block/loop1", &[("dev", "7:1"), ("loop/backing_file", ""), ("queue/scheduler", "none")], &[]);
        make(sys, "virtual/block/odd", &[("dev", "nonsense")], &[]);
        make(sys, "virtual/block/gone", &[], &[]);
        let devices = read(sys).unwrap();
        let rows: Vec<_> = devices
            .iter()
            .map(|it| (it.name.as_str(), it.device, it.below.join(" "), it.mapped.as_deref(), it.backing.as_deref()))
            .collect();
        let schedulers: Vec<_> = devices.iter().filter_map(|it| Some((it.name.as_str(), it.scheduler.as_deref()?))).collect();
        assert_eq!(schedulers, [("sda", "mq-deadline")]);
        let row = |name, device, below: &str| (name, device, below.to_owned(), None, None);
        assert_eq!(
            rows,
            [
                row("cciss/c0d0", (104, 0), ""),
                row("cciss/c0d0p1", (104, 1), "cciss/c0d0"),
                ("dm-3", (253, 3), "md0".to_owned(), Some("vg-root"), None),
                ("loop0", (7, 0), String::new(), None, Some("/var/my images/a.img")),
                row("loop1", (7, 1), ""),
                row("md0", (9, 0), "sda1 sdb1"),
                row("sda", (8, 0), ""),
                row("sda1", (8, 1), "sda"),
            ]
        );
    }

    #[test]
    fn the_scheduler_in_force_is_in_brackets() {
        assert_eq!(
            (chosen("none [mq-deadline] kyber"), chosen("[none] bfq"), chosen("none")),
            (Some("mq-deadline"), Some("none"), None)
        );
    }

    #[test]
    fn a_tree_without_devices_has_none() {
        assert_eq!(read(tempfile::tempdir().unwrap().path()).unwrap(), []);
    }

    proptest! {
        // Each makes a tree of files.
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_make_it_panic(dev in r"[0-9]{0,11}:?[0-9]{0,11}\n?", scheduler in r"(\[|\]| |\PC){0,12}",
                                  which in 0..5_usize, bytes in vec(any::<u8>(), 0..24)) {
            let sys = tempfile::tempdir().unwrap();
            let sys = sys.path();
            make(sys, "virtual/block/dm-0", &[("dev", &dev), ("dm/name", "x"), ("queue/scheduler", &scheduler), ("loop/backing_file", "/x")], &["sda"]);
            make(sys, "pci0/block/sda", &[("dev", "8:0"), ("partition", "1")], &[]);
            let attribute = ["dev", "dm/name", "queue/scheduler", "loop/backing_file", "partition"][which];
            fs::write(sys.join("devices/virtual/block/dm-0").join(attribute), bytes).unwrap();
            let devices = read(sys).unwrap();
            // The other one is read, whatever this one says.
            prop_assert!(devices.iter().any(|device| device.name == "sda" && device.below == ["block"]));
        }
    }
}
