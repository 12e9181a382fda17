//! A control group that holds the job and nobody else: the kernel can then kill or freeze all of it in one stroke.
//!
//! Version 2 only, wherever it is mounted, controllers or not: `cgroup.kill` (Linux 5.14) and `cgroup.freeze` (5.2) belong to the
//! core. Whether there is a bystander inside is asked anew before each stroke. Between the question and the stroke only somebody
//! who moves processes by hand could put one there. Never waits for a disk: these files are the kernel's own.
//!
//! Tested in place on made-up trees, and by `tests/act/cgroup.rs` on real ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::units::{Pid, clean};

/// Where version 2 may be mounted: alone, or beside version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Most groups below the job's that are looked into.
const GROUPS: usize = 512;
/// What stops a group, and tells whether it was told to stop.
const FREEZE: &str = "cgroup.freeze";
/// What weighs a group against those beside it.
const CPU_WEIGHT: &str = "cpu.weight";
const WEIGHTS: [&str; 3] = [CPU_WEIGHT, "io.weight", "io.bfq.weight"];
/// The smallest weights there are (`cgroup-v2.rst`: 1 to 10,000, by default 100).
const SMALLEST: &str = "1";

/// A group, and what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group(PathBuf);

/// What the weights of a group were.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupWeights {
    /// File and former content.
    files: Vec<(PathBuf, String)>,
}

/// Where version 2 is mounted. `None`: nowhere.
pub fn root() -> Option<PathBuf> {
    ROOTS.into_iter().map(PathBuf::from).find(|root| root.join("cgroup.controllers").exists())
}

impl Group {
    /// The lowest group that all these processes are in. `None`: it is the host's, or cannot be told.
    pub fn of(pids: &[Pid], root: &Path) -> Option<Self> {
        let mut common: Option<PathBuf> = None;
        for pid in pids {
            // Who has ended meanwhile is in none.
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { continue };
            let path = PathBuf::from(path_of(&text)?);
            common = Some(match common {
                None => path,
                Some(common) => common.ancestors().find(|above| path.starts_with(above))?.to_owned(),
            });
        }
        Self::at(root, common?.to_str()?)
    }

    /// The group of this unit of the service manager, in which one of these processes is.
    pub fn of_unit(pids: &[Pid], unit: &str, root: &Path) -> Option<Self> {
        let text = pids.iter().find_map(|pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).ok())?;
        let path = Path::new(path_of(&text)?);
        let group = path.ancestors().find(|above| above.file_name().is_some_and(|name| name == unit))?;
        Self::at(root, group.to_str()?)
    }

    /// Itself and those it is in, but for the host's own, which has no such file.
    fn upwards(&self) -> impl Iterator<Item = Self> {
        self.0.ancestors().take_while(|group| group.join(FREEZE).exists()).map(|group| Self(group.to_owned()))
    }

    /// The lowest with weights of those that hold these processes and nobody else, itself or above.
    pub fn weighed(&self, is_ours: impl Fn(&Pid) -> bool) -> Option<Self> {
        let is_own = |group: &Self| group.processes().is_ok_and(|inside| !inside.is_empty() && inside.iter().all(&is_ours));
        self.upwards().take_while(is_own).find(Self::has_weights)
    }

    /// The path of the lowest, itself or above, that gets a share of the CPUs as a whole. `None`: each process gets its own.
    pub fn shares_cpus(&self, root: &Path) -> Option<String> {
        let weighed = self.upwards().find(|group| group.0.join(CPU_WEIGHT).exists())?;
        Some(format!("/{}", weighed.0.strip_prefix(root).ok()?.display()))
    }

    /// The group of this path, as the kernel writes it.
    fn at(root: &Path, path: &str) -> Option<Self> {
        let inside = path.strip_prefix('/')?;
        // A group outside whytop's own namespace begins with `..`, and one that was removed ends with a word in brackets.
        (!inside.is_empty() && !inside.contains("..") && !inside.ends_with(" (deleted)")).then(|| Self(root.join(inside)))
    }

    /// All processes inside, those in groups below too.
    pub fn processes(&self) -> io::Result<Vec<Pid>> {
        let mut pids = Vec::new();
        let mut groups = vec![self.0.clone()];
        let mut next = 0;
        while next < groups.len() {
            let group = groups[next].clone();
            next += 1;
            let procs = fs::read_to_string(group.join("cgroup.procs"))?;
            pids.extend(procs.lines().filter_map(|line| line.parse::<Pid>().ok()));
            let below = fs::read_dir(&group)?.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            groups.extend(below.map(|entry| entry.path()));
            if groups.len() > GROUPS {
                return Err(io::Error::other("more groups than can be looked into"));
            }
        }
        // Zero stands for a process of another PID namespace: a stranger.
        Ok(pids)
    }

    /// Kills everything inside.
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.0.join("cgroup.kill"), "1")
    }

    /// Stops everything inside, or lets it go on.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        fs::write(self.0.join(FREEZE), if frozen { "1" } else { "0" })
    }

    /// The group that keeps it still: itself, or one above it.
    pub fn frozen(&self) -> Option<Self> {
        self.upwards().find(Self::is_frozen)
    }

    /// How it is let go by hand.
    pub fn remedy(&self) -> String {
        format!("echo 0 >{}", clean(&self.0.join(FREEZE).to_string_lossy()))
    }

    /// Whether it has been told to stop.
    pub fn is_frozen(&self) -> bool {
        fs::read_to_string(self.0.join(FREEZE)).is_ok_and(|text| text.trim() == "1")
    }

    /// Whether it has weights of its own: the controllers are there and handed down to it.
    pub fn has_weights(&self) -> bool {
        self.weight_files().next().is_some()
    }

    /// Gives it the smallest weights, and answers what it had.
    pub fn lower(&self) -> GroupWeights {
        let mut before = GroupWeights::default();
        for file in self.weight_files() {
            if let Ok(had) = fs::read_to_string(&file)
                && fs::write(&file, SMALLEST).is_ok()
            {
                before.files.push((file, first_word_of_default(&had)));
            }
        }
        before
    }

    fn weight_files(&self) -> impl Iterator<Item = PathBuf> {
        WEIGHTS.into_iter().map(|name| self.0.join(name)).filter(|file| file.exists())
    }
}

impl GroupWeights {
    /// Puts them back. Whether all could be.
    pub fn restore(&self) -> bool {
        let is_weight = |file: &Path| file.file_name().is_some_and(|name| WEIGHTS.iter().any(|weight| name == *weight));
        self.files.iter().fold(true, |all, (file, had)| is_weight(file) && fs::write(file, had).is_ok() && all)
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}

/// The value for whatever has none of its own: `default 100` of `io.weight`, `100` of `cpu.weight`.
fn first_word_of_default(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("default ").unwrap_or(line).trim().to_owned()
}

/// The version 2 path in `/proc/PID/cgroup`.
fn path_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_and_foreign_groups_are_no_jobs() {
        let root = Path::new("/cg");
        assert_eq!(Group::at(root, "/system.slice/a.service"), Some(Group("/cg/system.slice/a.service".into())));
        for path in ["/", "", "/../other", "/gone (deleted)"] {
            assert_eq!(Group::at(root, path), None, "{path}");
        }
        assert_eq!(path_of("9:cpu:/x\n0::/a b\n"), Some("/a b"));
        assert_eq!(path_of("9:cpu:/x\n"), None);
    }

    #[test]
    fn weights_are_lowered_and_put_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let [cpu, io] = ["cpu.weight", "io.weight"].map(|name| folder.path().join(name));
        fs::write(&cpu, "250\n").unwrap();
        fs::write(&io, "default 100\n8:0 300\n").unwrap();
        let group = Group(folder.path().to_owned());
        assert!(group.has_weights());
        let before = group.lower();
        assert_eq!([&cpu, &io].map(|file| fs::read_to_string(file).unwrap()), ["1", "1"]);
        assert!(before.restore());
        assert_eq!([&cpu, &io].map(|file| fs::read_to_string(file).unwrap()), ["250", "100"]);
    }

    /// As systemd 252 hands the controllers down: slices are weighed, and the services of a slice only where somebody asked for it.
    #[test]
    fn the_group_that_is_weighed_may_be_above_the_jobs_own() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let make = |path: &str, procs: &str, has_weight: bool| {
            fs::create_dir_all(root.join(path)).unwrap();
            fs::write(root.join(path).join("cgroup.procs"), procs).unwrap();
            fs::write(root.join(path).join(FREEZE), "0\n").unwrap();
            if has_weight {
                fs::write(root.join(path).join(CPU_WEIGHT), "100\n").unwrap();
            }
        };
        make("system.slice", "", true);
        make("system.slice/backup.service", "", true);
        make("system.slice/backup.service/main", "7\n8\n", false);
        make("system.slice/shop.service", "9\n", false);
        let [backup, shop] = ["backup.service/main", "shop.service"].map(|name| Group(root.join("system.slice").join(name)));
        let weighed = |group: &Group, ours: &[Pid]| group.weighed(|pid| ours.contains(pid)).map(|group| group.0);
        assert_eq!(weighed(&backup, &[7, 8]), Some(root.join("system.slice/backup.service")));
        assert_eq!(weighed(&backup, &[7]), None, "somebody else is in there");
        assert_eq!(weighed(&shop, &[9]), None, "the slice holds others");
        let shares = |group: &Group| group.shares_cpus(root);
        assert_eq!(shares(&backup).as_deref(), Some("/system.slice/backup.service"));
        assert_eq!(shares(&shop).as_deref(), Some("/system.slice"));
    }

    #[test]
    fn processes_of_groups_below_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "7\n").unwrap();
        fs::write(folder.path().join("below/cgroup.procs"), "8\n0\n").unwrap();
        let group = Group(folder.path().to_owned());
        assert_eq!(group.processes().unwrap(), [7, 8, 0]);
        assert!(!group.is_frozen() && !group.has_weights());
    }
}
