//! From a path to the disks below it: mounts, partitions, LVM, RAID, encryption, loop devices.
//!
//! Pure. Tested in place.

use std::sync::Arc;

use compact_str::CompactString;

use crate::sample::{BlockDevice, FileRef, Mount, Storage};

/// Devices stacked on each other are followed this far; deeper is a circle.
const DEEPEST: usize = 16;

/// Whether a device by this name is stacked on others, so that what it moves is moved a second time below.
pub fn is_stacked(name: &str) -> bool {
    ["dm-", "md", "loop", "zram"].iter().any(|prefix| name.starts_with(prefix))
}

/// The mounts and devices of the host, as of the newest sample that told.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    storage: Arc<Storage>,
}

impl Layers {
    /// Takes in newer ones.
    pub fn update(&mut self, storage: &Arc<Storage>) {
        self.storage = Arc::clone(storage);
    }

    /// A device, by its kernel name.
    pub fn device(&self, name: &str) -> Option<&BlockDevice> {
        self.storage.devices.iter().find(|device| device.name == name)
    }

    /// A device, by its number.
    pub fn numbered(&self, number: (u32, u32)) -> Option<&BlockDevice> {
        self.storage.devices.iter().find(|device| device.device == number)
    }

    /// The mount a file is on.
    pub fn mount(&self, file: &FileRef) -> Option<&Mount> {
        let known = file.mount.and_then(|id| self.storage.mount(id));
        known.or_else(|| self.mount_of_path(&file.path))
    }

    /// The devices below a file, the uppermost first: `dm-0`, `sda2`, `sda`. Empty: no block device, or not known.
    pub fn devices(&self, file: &FileRef) -> Vec<CompactString> {
        let mut found = Vec::new();
        match self.storage.devices.iter().find(|device| file.path.strip_prefix("/dev/") == Some(&device.name)) {
            // Opened itself, as an imager does.
            Some(device) => self.below(device, DEEPEST, &mut found),
            None => self.below_mount(self.mount(file), DEEPEST, &mut found),
        }
        found
    }

    /// The last mount that covers the path counts: it hides the ones before it.
    fn mount_of_path(&self, path: &str) -> Option<&Mount> {
        let covers = |mount: &&Mount| {
            path.strip_prefix(mount.point.trim_end_matches('/')).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.storage.mounts.iter().filter(covers).max_by_key(|mount| mount.point.len())
    }

    fn below_mount(&self, mount: Option<&Mount>, depth: usize, found: &mut Vec<CompactString>) {
        let Some((mount, depth)) = mount.zip(depth.checked_sub(1)) else { return };
        if let Some(upper) = &mount.upper {
            return self.below_mount(self.mount_of_path(upper).filter(|below| below.id != mount.id), depth, found);
        }
        let by_number = |device: &&BlockDevice| device.device == mount.device;
        // Filesystems that span devices (btrfs) have a number of their own, and name one of them.
        let by_name = |device: &&BlockDevice| {
            let mapped = device.mapped.as_deref();
            mount.source.strip_prefix("/dev/") == Some(&device.name)
                || mapped.is_some() && mount.source.strip_prefix("/dev/mapper/") == mapped
        };
        let devices = &self.storage.devices;
        if let Some(device) = devices.iter().find(by_number).or_else(|| devices.iter().find(by_name)) {
            self.below(device, depth, found);
        }
    }

    fn below(&self, device: &BlockDevice, depth: usize, found: &mut Vec<CompactString>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        if found.contains(&device.name) {
            return;
        }
        found.push(device.name.clone());
        for name in &device.below {
            if let Some(lower) = self.device(name) {
                self.below(lower, depth, found);
            }
        }
        if let Some(file) = &device.backing {
            self.below_mount(self.mount_of_path(file), depth, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(id: u32, device: (u32, u32), point: &str, source: &str, upper: Option<&str>) -> Mount {
        let (point, source, upper) = (point.to_owned(), source.to_owned(), upper.map(str::to_owned));
        Mount { id, device, point, kind: "ext4".into(), source, upper }
    }

    fn device(name: &str, minor: u32, below: &[&str], backing: Option<&str>) -> BlockDevice {
        let below = below.iter().map(|name| (*name).into()).collect();
        BlockDevice {
            name: name.into(),
            device: (8, minor),
            below,
            backing: backing.map(str::to_owned),
            mapped: None,
            scheduler: None,
        }
    }

    fn layers() -> Layers {
        let mounts = vec![
            mount(20, (8, 5), "/", "/dev/mapper/vg-root", None),
            mount(21, (8, 6), "/srv/www", "/dev/loop0", None),
            mount(22, (0, 40), "/var/lib/docker/overlay2/x/merged", "overlay", Some("/var/lib/docker/overlay2/x/diff")),
            mount(23, (0, 41), "/home", "/dev/sdb", None),
            mount(24, (0, 42), "/mnt/nas", "nas:/export", None),
        ];
        let devices = vec![
            device("sda", 0, &[], None),
            device("sda2", 2, &["sda"], None),
            device("dm-0", 5, &["sda2"], None),
            device("loop0", 6, &[], Some("/images/www.img")),
            device("sdb", 16, &[], None),
            device("circle", 30, &["circle"], None),
        ];
        let mut layers = Layers::default();
        layers.update(&Arc::new(Storage { mounts, devices, foreign: Vec::new() }));
        layers
    }

    fn devices(path: &str, mount: Option<u32>) -> Vec<CompactString> {
        layers().devices(&FileRef { path: path.to_owned(), mount })
    }

    #[test]
    fn a_path_leads_down_to_its_disk() {
        assert_eq!(devices("/etc/passwd", None), ["dm-0", "sda2", "sda"]);
        assert_eq!(devices("/srv/www/index.html", None), ["loop0", "dm-0", "sda2", "sda"], "through the image's own filesystem");
        assert_eq!(devices("/srv/wwwroot", None), ["dm-0", "sda2", "sda"], "a longer name is another directory");
        assert_eq!(devices("/home/ann/x", None), ["sdb"], "btrfs has a number of its own");
        assert_eq!(devices("/dev/sdb", None), ["sdb"]);
        assert_eq!(devices("/mnt/nas/x", None), [""; 0]);
        assert_eq!(devices("pipe:[4711]", None), [""; 0]);
        assert_eq!(devices("/dev/circle", None), ["circle"]);
    }

    #[test]
    fn in_a_container_the_mount_knows_better_than_the_path() {
        assert_eq!(devices("/var/www/index.html", Some(22)), ["dm-0", "sda2", "sda"]);
        assert_eq!(devices("/data/x", Some(21))[0], "loop0");
    }
}
