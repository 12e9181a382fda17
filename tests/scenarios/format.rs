//! How a host is written down: the rows of a scenario file. What each field means is said at the top of `tests/scenarios.rs`.

use std::path::{Path, PathBuf};
use std::{fs, iter};

use serde::Deserialize;
use whytop::sample::{BlockDevice, FileRef, Mount, OpenFile, Storage};
use whytop::units::{Pid, ProcessId};

use crate::expect::Expect;

pub const TICKS: u64 = 100;
/// Seconds of uptime at the first sample.
pub const UP: f64 = 1_000_000.0;
/// Number of the first mount of a scenario.
const FIRST_MOUNT: u32 = 20;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    #[serde(skip)]
    pub name: String,
    #[serde(default)]
    pub about: String,
    #[serde(default = "two")]
    pub cpus: usize,
    pub busy: Option<f64>,
    pub idle: Option<f64>,
    #[serde(default = "three")]
    pub seconds: f64,
    #[serde(default = "one")]
    pub step: f64,
    #[serde(default)]
    pub ordinary_user: bool,
    #[serde(default)]
    pub stolen: f64,
    pub own: Option<Pid>,
    pub io_pressure: Option<f64>,
    pub memory_pressure: Option<f64>,
    pub memory_mb: Option<f64>,
    pub memory_free_mb: Option<f64>,
    #[serde(default)]
    pub disk: Vec<DiskRow>,
    #[serde(default)]
    pub device: Vec<String>,
    #[serde(default)]
    pub mount: Vec<String>,
    pub process: Vec<Row>,
    #[serde(default)]
    pub cgroup: Vec<CgroupRow>,
    #[serde(default)]
    pub expect: Phases,
    pub changes: Option<usize>,
}

/// One expectation, or one for each part of the time.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Phases {
    One(Box<Expect>),
    Many(Vec<Expect>),
}

impl Default for Phases {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskRow {
    pub name: String,
    pub util: Series,
    #[serde(default)]
    pub read_mb: f64,
    #[serde(default)]
    pub write_mb: f64,
    pub during: Option<[f64; 2]>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CgroupRow {
    pub unit: String,
    pub path: Option<String>,
    pub on: String,
    pub read_mb: f64,
    pub write_mb: f64,
    pub partly: bool,
    pub cpu: Option<f64>,
    pub io: Option<f64>,
    pub memory: Option<f64>,
    pub throttled: Option<f64>,
    pub limited: Option<f64>,
    pub most_mb: Option<f64>,
    pub memory_mb: Option<f64>,
}

/// A number that stays, or one for each sample, over and over.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Series {
    Steady(f64),
    Cycle(Vec<f64>),
}

impl Default for Series {
    fn default() -> Self {
        Self::Steady(0.0)
    }
}

impl Series {
    pub fn at(&self, sample: usize) -> f64 {
        match self {
            Self::Steady(value) => *value,
            Self::Cycle(values) => values[sample % values.len()],
        }
    }

    pub fn most(&self) -> f64 {
        match self {
            Self::Steady(value) => *value,
            Self::Cycle(values) => values.iter().copied().fold(0.0, f64::max),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a file, written by hand")]
pub struct Row {
    pub pid: Pid,
    pub parent: Option<Pid>,
    pub group: Option<Pid>,
    pub session: Option<Pid>,
    pub tty: bool,
    pub comm: String,
    pub argv: Vec<String>,
    pub cmd: String,
    pub cgroup: Option<String>,
    pub unit: Option<String>,
    pub under: Option<String>,
    pub user: Option<String>,
    pub kernel: bool,
    pub age: Option<f64>,
    pub ends: Option<f64>,
    pub cpu: f64,
    pub wait: f64,
    pub runnable: Series,
    pub stuck: Series,
    pub wchan: Option<String>,
    pub stack: String,
    pub call: Option<String>,
    pub on: Option<String>,
    pub stuck_for: Option<f64>,
    pub read_mb: f64,
    pub write_mb: f64,
    pub io_hidden: bool,
    pub files: Vec<String>,
    pub disk: Option<String>,
    pub resident_mb: Option<f64>,
    pub shared_mb: f64,
    pub grows_mb: f64,
    pub stopped: bool,
    pub storm: Option<f64>,
    pub lives: Option<f64>,
    pub runs_during: Option<[f64; 2]>,
    pub moves_during: Option<[f64; 2]>,
    pub stuck_during: Option<[f64; 2]>,
}

fn two() -> usize {
    2
}

fn three() -> f64 {
    3.2
}

fn one() -> f64 {
    1.0
}

impl Row {
    pub fn id(&self) -> ProcessId {
        ProcessId { pid: self.pid, start: ((UP - self.age()) * TICKS as f64) as u64 }
    }

    /// Seconds before the first sample that it started; negative: after it.
    pub fn age(&self) -> f64 {
        self.age.unwrap_or(86_400.0)
    }

    pub fn alive(&self, second: f64) -> bool {
        second >= -self.age() && self.ends.is_none_or(|ends| second < ends)
    }

    pub fn parent(&self) -> Pid {
        self.parent.unwrap_or(if self.kernel { 2 } else { 1 })
    }

    pub fn group(&self) -> Pid {
        self.group.unwrap_or(self.pid)
    }

    pub fn session(&self) -> Pid {
        self.session.unwrap_or(self.pid)
    }

    /// Seconds that a child of a storm lives.
    pub fn lives(&self) -> f64 {
        self.lives.unwrap_or(0.04)
    }

    pub fn bare(pid: Pid, comm: &str, age: f64) -> Self {
        Self { pid, comm: comm.to_owned(), age: Some(age), ..Self::default() }
    }

    /// Fills in what the short forms stand for; answers the rows of those that started it.
    fn expand(&mut self) -> Vec<Self> {
        if !self.cmd.is_empty() {
            self.argv = self.cmd.split_whitespace().map(str::to_owned).collect();
        }
        if self.comm.is_empty() {
            let program = self.argv.first().map_or("", String::as_str);
            let program = program.rsplit('/').next().unwrap_or_default().trim_start_matches('-').trim_end_matches(':');
            self.comm = program.chars().take(15).collect();
        }
        if let Some(unit) = &self.unit {
            self.cgroup = Some(format!("/system.slice/{unit}.service"));
        }
        let cron = || Some("/system.slice/cron.service".to_owned());
        match self.under.as_deref() {
            None => Vec::new(),
            Some("cron") => {
                (self.parent, self.cgroup) = (Some(self.pid - 1), cron());
                let daemon = Self { cmd: "/usr/sbin/cron -f".to_owned(), cgroup: cron(), ..Self::bare(500, "", 86_400.0) };
                let run = Self::bare(self.pid - 1, "cron", self.age());
                let (parent, group) = (Some(500), Some(500));
                let run = Self { parent, group, session: group, cmd: "/usr/sbin/CRON -f".to_owned(), cgroup: cron(), ..run };
                vec![daemon, run]
            }
            Some("shell") => {
                let shell = Self { user: self.user.clone(), ..Self::bare(self.pid - 1, "bash", 86_400.0) };
                (self.parent, self.session, self.tty) = (Some(shell.pid), Some(shell.pid), true);
                vec![Self { cmd: "-bash".to_owned(), tty: true, ..shell }]
            }
            Some(other) => panic!("under = {other:?}"),
        }
    }
}

impl Scenario {
    pub fn parse(name: &str, text: &str) -> Self {
        let mut scenario: Self = toml::from_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        name.clone_into(&mut scenario.name);
        assert!(!scenario.about.is_empty(), "{name}: says nothing about itself");
        scenario.expand();
        scenario
    }

    /// Fills in what the short forms stand for.
    pub fn expand(&mut self) {
        let mut more: Vec<Row> = self.process.iter_mut().flat_map(Row::expand).collect();
        if !self.process.iter().any(|row| row.pid == 1) {
            more.push(Row {
                cmd: "/sbin/init".to_owned(),
                cgroup: Some("/init.scope".to_owned()),
                ..Row::bare(1, "systemd", UP)
            });
        }
        for mut row in more {
            if !self.process.iter().any(|known| known.pid == row.pid) {
                row.expand();
                self.process.push(row);
            }
        }
    }

    /// What must be said, with the seconds from when to when.
    pub fn phases(&self) -> Vec<(f64, f64, &Expect)> {
        let expects: Vec<&Expect> = match &self.expect {
            Phases::One(expect) => vec![expect],
            Phases::Many(expects) => expects.iter().collect(),
        };
        let span = |expect: &Expect| (expect.by.unwrap_or(self.seconds - 0.01), expect.until.unwrap_or(f64::MAX));
        expects.into_iter().map(|expect| (span(expect).0 - 1e-9, span(expect).1 + 1e-9, expect)).collect()
    }

    pub fn storage(&self) -> Option<Storage> {
        if self.mount.is_empty() && self.device.is_empty() {
            return None;
        }
        let names = |text: &str| text.split_whitespace().map(Into::into).collect();
        let devices: Vec<BlockDevice> = (0..)
            .zip(&self.device)
            .map(|(minor, text)| {
                let (rest, backing) = text.split_once(" @ ").map_or((text.as_str(), None), |(name, file)| (name, Some(file)));
                let (name, below) = rest.split_once(" < ").unwrap_or((rest, ""));
                BlockDevice {
                    name: name.into(),
                    device: (8, minor),
                    below: names(below),
                    backing: backing.map(str::to_owned),
                    mapped: None,
                    scheduler: None,
                }
            })
            .collect();
        let mounts = (0..).zip(&self.mount).map(|(at, text)| {
            let words: Vec<&str> = text.split_whitespace().collect();
            let found = devices.iter().find(|device| device.name == words[1]);
            let upper = words.iter().find_map(|word| word.strip_prefix("upper="));
            Mount {
                id: FIRST_MOUNT + at,
                device: found.map_or((0, 100 + at), |device| device.device),
                point: words[0].to_owned(),
                kind: words.get(2).filter(|word| !word.contains('=')).copied().unwrap_or("ext4").into(),
                source: found.map_or(words[1].to_owned(), |device| format!("/dev/{}", device.name)),
                upper: upper.map(str::to_owned),
            }
        });
        Some(Storage { mounts: mounts.collect(), devices: devices.clone(), foreign: Vec::new() })
    }

    /// A path, or `PATH @MOUNTPOINT` where the path is another process's idea.
    pub fn file(&self, text: &str) -> FileRef {
        let (path, point) = text.split_once(" @").map_or((text, None), |(path, point)| (path, Some(point)));
        let points = self.mount.iter().map(|mount| mount.split_whitespace().next().unwrap_or_default());
        let id = point.map(|point| {
            iter::zip(FIRST_MOUNT.., points).find(|(_, known)| *known == point).unwrap_or_else(|| panic!("no mount {point}")).0
        });
        FileRef { path: path.to_owned(), mount: id }
    }

    pub fn open_files(&self, row: &Row) -> Vec<OpenFile> {
        let files = iter::zip(3.., &row.files).map(|(fd, text)| {
            let (mode, file) = text.split_once(' ').unwrap_or_else(|| panic!("{}: {text:?} has no mode", self.name));
            OpenFile { fd, file: self.file(file), reading: mode.contains('r'), writing: mode.contains('w'), position: Some(0) }
        });
        files.collect()
    }

    /// This device and all below it.
    pub fn devices_below(&self, name: &str) -> Vec<String> {
        let line = self.device.iter().find(|line| line.split_whitespace().next() == Some(name));
        let below = line.and_then(|line| Some(line.split_once(" < ")?.1)).unwrap_or_default();
        let below = below.split_whitespace().flat_map(|name| self.devices_below(name));
        iter::once(name.to_owned()).chain(below).collect()
    }
}

/// Every scenario file, by name.
pub fn all() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect();
    paths.sort();
    let load = |path: &PathBuf| Scenario::parse(&path.file_stem().unwrap().to_string_lossy(), &fs::read_to_string(path).unwrap());
    paths.iter().map(load).collect()
}
