//! A control group that holds the job and nobody else: the kernel can then kill or freeze all of it in one stroke.
//!
//! Version 2 only, wherever it is mounted, controllers or not: `cgroup.kill` (Linux 5.14) and `cgroup.freeze` (5.2) belong to the
//! core. Whether there is a bystander inside is asked anew before each stroke. Between the question and the stroke only somebody
//! who moves processes by hand could put one there. Never waits for a disk: these files are the kernel's own.
//!
//! Tested in place on made-up trees, and by `tests/act/cgroup.rs` on real ones.

use std::ffi::OsStr;
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

/// How the folder of a service or a scope ends: what systemd runs is in one of these, and slices hold them.
const UNITS: [&str; 2] = [".service", ".scope"];
const SLICE: &str = ".slice";

/// A group, and what is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group(PathBuf);

/// The files that weigh a job as a whole against others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnWeights(Vec<PathBuf>);

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

    /// Of each kind of weight the lowest, itself or above, up to its service or scope, that these processes have and nobody else.
    pub fn own_weights(&self, is_ours: impl Fn(&Pid) -> bool) -> OwnWeights {
        let is_own = |group: &Self| group.processes().is_ok_and(|inside| !inside.is_empty() && inside.iter().all(&is_ours));
        // A slice may hold nobody else now: whatever is started in there later would bear its weight.
        let below = self.upwards().position(|group| group.ends_with(&UNITS)).unwrap_or_default();
        let own: Vec<Self> =
            self.upwards().take(below + 1).take_while(|group| !group.ends_with(&[SLICE]) && is_own(group)).collect();
        let lowest = |name| own.iter().map(|group| group.0.join(name)).find(|file| file.exists());
        OwnWeights(WEIGHTS.into_iter().filter_map(lowest).collect())
    }

    fn ends_with(&self, kinds: &[&str]) -> bool {
        self.0.file_name().and_then(OsStr::to_str).is_some_and(|name| kinds.iter().any(|kind| name.ends_with(kind)))
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
}

impl OwnWeights {
    /// Whether there are none: the controllers are not there, or not handed down.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one says what part of the CPUs the job gets.
    pub fn are_of_cpus(&self) -> bool {
        self.0.iter().any(|file| file.ends_with(CPU_WEIGHT))
    }

    /// Makes them the smallest, and answers what they were.
    pub fn lower(&self) -> GroupWeights {
        let mut before = GroupWeights::default();
        for file in &self.0 {
            if let Ok(had) = fs::read_to_string(file)
                && fs::write(file, SMALLEST).is_ok()
            {
                before.files.push((file.clone(), first_word_of_default(&had)));
            }
        }
        before
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
        fs::write(folder.path().join(FREEZE), "0\n").unwrap();
        fs::write(folder.path().join("cgroup.procs"), "7\n").unwrap();
        let own = Group(folder.path().to_owned()).own_weights(|pid| *pid == 7);
        assert_eq!(own, OwnWeights(vec![cpu.clone(), io.clone()]));
        let before = own.lower();
        assert_eq!([&cpu, &io].map(|file| fs::read_to_string(file).unwrap()), ["1", "1"]);
        assert!(before.restore());
        assert_eq!([&cpu, &io].map(|file| fs::read_to_string(file).unwrap()), ["250", "100"]);
    }

    /// As systemd 252 hands the controllers down: slices are weighed, and the services of a slice only where somebody asked for it.
    #[test]
    fn what_is_weighed_may_be_above_the_jobs_own_group_and_is_never_a_slice() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let make = |path: &str, procs: &str, weights: &[&str]| {
            fs::create_dir_all(root.join(path)).unwrap();
            for (name, text) in [("cgroup.procs", procs), (FREEZE, "0\n")] {
                fs::write(root.join(path).join(name), text).unwrap();
            }
            for weight in weights {
                fs::write(root.join(path).join(weight), "100\n").unwrap();
            }
        };
        make("system.slice", "", &[CPU_WEIGHT]);
        make("system.slice/backup.service", "", &[CPU_WEIGHT, "io.weight"]);
        make("system.slice/backup.service/main", "7\n8\n", &["io.weight"]);
        make("system.slice/shop.service", "9\n", &[]);
        make("dumps.slice", "", &[CPU_WEIGHT]);
        make("dumps.slice/dump.service", "5\n", &["io.weight"]);
        make("dumps.slice/dumps-old.slice", "", &[CPU_WEIGHT]);
        make("dumps.slice/dumps-old.slice/a.scope", "4\n", &[]);
        make("dumps.slice/dumps-old.slice/b.scope", "3\n", &[]);
        let [backup, shop, dump, scopes] = [
            "system.slice/backup.service/main",
            "system.slice/shop.service",
            "dumps.slice/dump.service",
            "dumps.slice/dumps-old.slice",
        ]
        .map(|path| Group(root.join(path)));
        let own = |group: &Group, ours: &[Pid]| group.own_weights(|pid| ours.contains(pid)).0;
        let files = ["system.slice/backup.service/cpu.weight", "system.slice/backup.service/main/io.weight"];
        assert_eq!(own(&backup, &[7, 8]), files.map(|file| root.join(file)), "each kind from where it is");
        assert!(own(&backup, &[7]).is_empty(), "somebody else is in there");
        assert!(own(&shop, &[9]).is_empty(), "the slice holds others");
        // Whatever is started in the slice tomorrow would run at that weight.
        assert_eq!(own(&dump, &[3, 4, 5]), [root.join("dumps.slice/dump.service/io.weight")]);
        assert!(!dump.own_weights(|_| true).are_of_cpus(), "so niceness counts within the slice, and that is said");
        assert!(own(&scopes, &[3, 4]).is_empty());
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
        assert!(!group.is_frozen() && group.own_weights(|_| true).is_empty());
    }
}
