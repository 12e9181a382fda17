//! Counters of the whole host: load, CPU time, pressure, memory, disks.
//!
//! Each file that cannot be read is one gap and one `None`; none of them costs the sample. Never asks a file system how full
//! it is (`statvfs` blocks on a dead server). Tested in place and through [`crate::kernel::Reader`].

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind},
    path::Path,
};

use compact_str::CompactString;
use procfs::{DiskStat, FromBufRead, FromRead};

use super::{parse, root::ProcRoot};
use crate::sample::{CpuTimes, Disk, Gap, Host, LoadAverage, Memory, Pressure};

/// The kernel counts disk traffic in these, whatever the disk's own sector size is.
const SECTOR: u64 = 512;

/// Reads host counters and remembers what does not change about disks.
pub(super) struct HostReader {
    root: ProcRoot,
    disks: HashMap<String, DiskFacts>,
    /// Runnable tasks for which there was no CPU at the last read, at the least.
    pub queued: usize,
    /// Tasks that were ever started, at the last read. `None`: this kernel does not say.
    pub forks: Option<u64>,
}

/// What is looked up once for each disk.
struct DiskFacts {
    partition: bool,
    scheduler: Option<CompactString>,
}

impl HostReader {
    pub fn new(root: ProcRoot) -> Self {
        Self { root, disks: HashMap::new(), queued: 0, forks: None }
    }

    /// Reads everything there is.
    pub fn read(&mut self, gaps: &mut Vec<Gap>) -> Host {
        let host = self.glance(gaps).0;
        Host { disks: self.disks(gaps), ..host }
    }

    /// Reads what takes a fraction of a millisecond on any host: all but the disks. The other two are the tasks that run or wait for a
    /// CPU and all tasks there are.
    pub fn glance(&mut self, gaps: &mut Vec<Gap>) -> (Host, Option<(u32, u32)>) {
        let load = noted(gaps, "loadavg", self.load());
        let host = Host {
            load: load.map(|(load, _)| load),
            cpu: noted(gaps, "stat", self.cpu()),
            pressure: self.pressure(gaps),
            memory: noted(gaps, "meminfo", self.memory()),
            disks: Vec::new(),
        };
        (host, load.map(|(_, tasks)| tasks))
    }

    fn open(&self, name: &str) -> Result<io::BufReader<fs::File>, String> {
        fs::File::open(self.root.path().join(name)).map(io::BufReader::new).map_err(|error| error.to_string())
    }

    fn load(&self) -> Result<(LoadAverage, (u32, u32)), String> {
        let load = procfs::LoadAverage::from_read(self.open("loadavg")?).map_err(|error| error.to_string())?;
        let averages = LoadAverage { avg1: hundredths(load.one), avg5: hundredths(load.five), avg15: hundredths(load.fifteen) };
        Ok((averages, (load.cur, load.max)))
    }

    fn cpu(&mut self) -> Result<CpuTimes, String> {
        self.forks = None;
        let text = fs::read_to_string(self.root.path().join("stat")).map_err(|error| error.to_string())?;
        let running = text.lines().find_map(|line| line.strip_prefix("procs_running ")?.trim().parse::<usize>().ok());
        // Emulated kernels print a zero, for good.
        let forks = text.lines().find_map(|line| line.strip_prefix("processes ")?.trim().parse().ok());
        self.forks = forks.filter(|forks| *forks > 0);
        let cpus = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
        self.queued = running.unwrap_or(0).saturating_sub(cpus);
        cpu_times(text.lines().next().unwrap_or_default()).ok_or_else(|| "its first line is no cpu line".to_owned())
    }

    fn memory(&self) -> Result<Memory, String> {
        let info = procfs::Meminfo::from_buf_read(self.open("meminfo")?).map_err(|error| error.to_string())?;
        Ok(Memory {
            total: info.mem_total,
            available: info.mem_available,
            swap_total: info.swap_total,
            swap_free: info.swap_free,
        })
    }

    fn pressure(&self, gaps: &mut Vec<Gap>) -> Option<Pressure> {
        let read = |name: &str| fs::read_to_string(self.root.path().join("pressure").join(name));
        let [cpu, io, memory] = match (read("cpu"), read("io"), read("memory")) {
            (Ok(cpu), Ok(io), Ok(memory)) => [cpu, io, memory],
            (cpu, io, memory) => {
                let error = [cpu, io, memory].into_iter().find_map(Result::err)?;
                // Booted with `psi=0` the files are there and answer EOPNOTSUPP.
                gaps.push(match error.kind() {
                    ErrorKind::NotFound | ErrorKind::Unsupported => Gap::NoPressure,
                    _ => Gap::Host { file: "pressure".to_owned(), why: error.to_string() },
                });
                return None;
            }
        };
        let parsed = || {
            Some(Pressure {
                // CPU has no `full` line before 5.13, and for the whole host it says nothing.
                cpu_some10: avg10(&cpu, "some")?,
                io_some10: avg10(&io, "some")?,
                io_full10: avg10(&io, "full")?,
                memory_some10: avg10(&memory, "some")?,
                memory_full10: avg10(&memory, "full")?,
            })
        };
        noted(gaps, "pressure", parsed().ok_or_else(|| "a line makes no sense".to_owned()))
    }

    fn disks(&mut self, gaps: &mut Vec<Gap>) -> Vec<Disk> {
        let Some(text) =
            noted(gaps, "diskstats", fs::read_to_string(self.root.path().join("diskstats")).map_err(|error| error.to_string()))
        else {
            return Vec::new();
        };
        let mut disks = Vec::new();
        let mut bad = None;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match DiskStat::from_line(line) {
                Ok(stat) => disks.extend(self.disk(&stat)),
                Err(error) => bad = Some(error.to_string()),
            }
        }
        if let Some(why) = bad {
            gaps.push(Gap::Host { file: "diskstats".to_owned(), why });
        }
        disks
    }

    fn disk(&mut self, stat: &DiskStat) -> Option<Disk> {
        let requests = stat.reads.saturating_add(stat.writes);
        let virtual_disk = ["loop", "ram", "zram"].iter().any(|name| stat.name.starts_with(name));
        if virtual_disk && requests == 0 {
            return None;
        }
        if !self.disks.contains_key(&stat.name) {
            self.disks.insert(stat.name.clone(), DiskFacts::look_up(&stat.name, self.root.is_live()));
        }
        let facts = self.disks.get(&stat.name).filter(|facts| !facts.partition)?;
        Some(Disk {
            name: stat.name.as_str().into(),
            requests,
            read_bytes: stat.sectors_read.saturating_mul(SECTOR),
            write_bytes: stat.sectors_written.saturating_mul(SECTOR),
            request_ms: stat.time_reading.saturating_add(stat.time_writing),
            busy_ms: stat.time_in_progress,
            scheduler: facts.scheduler.clone(),
        })
    }
}

impl DiskFacts {
    fn look_up(name: &str, live: bool) -> Self {
        if !live {
            return Self { partition: is_partition_name(name), scheduler: None };
        }
        // A slash in a disk's name (cciss/c0d0) is an exclamation mark in its directory's.
        let name = name.replace('/', "!");
        let partition = Path::new("/sys/class/block").join(&name).join("partition").exists();
        let list = fs::read_to_string(Path::new("/sys/block").join(&name).join("queue/scheduler")).unwrap_or_default();
        Self { partition, scheduler: chosen(&list).map(CompactString::from) }
    }
}

/// Turns an error into a gap.
fn noted<T>(gaps: &mut Vec<Gap>, file: &str, read: Result<T, String>) -> Option<T> {
    read.map_err(|why| gaps.push(Gap::Host { file: file.to_owned(), why })).ok()
}

/// The kernel prints two digits and the parser keeps a short float: back to the number that was printed.
fn hundredths(value: f32) -> f64 {
    (f64::from(value) * 100.0).round() / 100.0
}

/// The fields of a cpu line: user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user time already.
fn cpu_times(line: &str) -> Option<CpuTimes> {
    let mut words = parse::words(line.as_bytes());
    words.next().filter(|name| *name == b"cpu")?;
    let fields: Vec<u64> = words.map_while(parse::number).collect();
    let [user, nice, system, idle, rest @ ..] = fields.as_slice() else { return None };
    // Kernels before 2.6.11 have fewer fields.
    let [iowait, irq, softirq, steal] = [0, 1, 2, 3].map(|index| rest.get(index).copied().unwrap_or(0));
    let busy = [*user, *nice, *system, irq, softirq, steal].into_iter().fold(0, u64::saturating_add);
    Some(CpuTimes { busy, idle: *idle, iowait, steal })
}

fn avg10(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.split(' ').next() == Some(kind))?;
    line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The word in brackets.
fn chosen(list: &str) -> Option<&str> {
    let (_, rest) = list.split_once('[')?;
    rest.split_once(']').map(|(name, _)| name)
}

/// Where there is no `/sys` to ask: `sda1`, `vdb2`, `nvme0n1p1`, `mmcblk0p2`, but not `sda`, `nvme0n1`, `dm-0`, `md1`.
fn is_partition_name(name: &str) -> bool {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == name.len() {
        return false;
    }
    if name.starts_with("nvme") || name.starts_with("mmcblk") {
        return stem.strip_suffix('p').is_some_and(|disk| disk.ends_with(|c: char| c.is_ascii_digit()));
    }
    ["sd", "vd", "hd", "xvd"].iter().any(|prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_told_by_name() {
        let partitions = ["sda1", "sdab12", "vdb2", "nvme0n1p1", "mmcblk0p2"];
        let disks = ["sda", "vdb", "nvme0n1", "mmcblk0", "dm-0", "md1", "loop0", "zram0", "sr0"];
        assert!(partitions.into_iter().all(is_partition_name));
        assert!(!disks.into_iter().any(is_partition_name));
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let times = cpu_times("cpu  10 1 20 300 40 5 6 7 99 99\n");
        assert_eq!(times, Some(CpuTimes { busy: 49, idle: 300, iowait: 40, steal: 7 }));
        assert_eq!(cpu_times("cpu0 1 2 3 4"), None);
    }

    #[test]
    fn pressure_and_scheduler_are_found() {
        let text = "some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\nfull avg10=2.10 avg60=0.12 avg300=0.00 total=3\n";
        assert_eq!((avg10(text, "some"), avg10(text, "full"), avg10("some", "some")), (Some(4.5), Some(2.1), None));
        assert_eq!((chosen("none [mq-deadline] kyber bfq\n"), chosen("none\n")), (Some("mq-deadline"), None));
    }
}
