//! Counters of the whole host: load, CPU time, pressure, memory, disks.
//!
//! Each file that cannot be read is one gap and one `None`; none of them costs the sample. Never asks a file system how full
//! it is (`statvfs` blocks on a dead server). Tested in place and through [`crate::kernel::Reader`].

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek},
};

use super::{parse, root::ProcRoot};
use crate::{
    sample::{CpuTimes, Disk, Gap, Host, LoadAverage, Memory, Pressure, PressureTotals},
    units::{Nanos, Pid},
};

/// The kernel counts disk traffic in these, whatever the disk's own sector size is.
const SECTOR: u64 = 512;
/// Bytes that most of the files have room in: then one read gets all.
const ROOM: usize = 8 * 1024;

/// Reads host counters, and notes what the pass over the tasks wants to know beforehand.
pub(super) struct HostReader {
    root: ProcRoot,
    /// Files that are read again and again: to open one takes longer than to read it.
    kept: Vec<(&'static str, File)>,
    /// Runnable tasks for which there was no CPU at the last read, at the least.
    pub queued: usize,
    /// Tasks that were ever started, at the last read. `None`: this kernel does not say.
    pub forks: Option<u64>,
    /// The number given to a task last, at the last read. `None`: this kernel does not say.
    pub last_pid: Option<Pid>,
    /// Tasks there were at the last read. `None`: this kernel does not say.
    pub tasks: Option<u64>,
}

impl HostReader {
    pub fn new(root: ProcRoot) -> Self {
        Self { root, kept: Vec::new(), queued: 0, forks: None, last_pid: None, tasks: None }
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
        (host, load.and_then(|(_, tasks)| tasks))
    }

    fn text(&mut self, name: &'static str) -> Result<String, String> {
        self.try_text(name).map_err(|error| error.to_string())
    }

    fn try_text(&mut self, name: &'static str) -> io::Result<String> {
        let kept = self.kept.iter().position(|(kept, _)| *kept == name).map(|at| self.kept.swap_remove(at).1);
        let mut file = kept.map_or_else(|| File::open(self.root.path().join(name)), Ok)?;
        file.rewind()?;
        let mut text = String::with_capacity(ROOM);
        file.read_to_string(&mut text)?;
        // In a made-up tree there may be another file of that name the next time.
        if self.root.is_procfs() {
            self.kept.push((name, file));
        }
        Ok(text)
    }

    fn load(&mut self) -> Result<(LoadAverage, Option<(u32, u32)>), String> {
        let text = self.text("loadavg")?;
        let (tasks, last) = tasks_and_last(&text);
        self.tasks = tasks.map(|(_, all)| all.into());
        // It is the reader's namespace that the kernel answers for, whosever tree this is.
        self.last_pid = last.filter(|_| self.root.is_live() || !self.root.is_procfs());
        let averages = load_average(&text).ok_or_else(|| "it does not begin with three numbers".to_owned())?;
        Ok((averages, tasks))
    }

    fn cpu(&mut self) -> Result<CpuTimes, String> {
        self.forks = None;
        let text = self.text("stat")?;
        let running = text.lines().find_map(|line| line.strip_prefix("procs_running ")?.trim().parse::<usize>().ok());
        // Emulated kernels print a zero, for good.
        let forks = text.lines().find_map(|line| line.strip_prefix("processes ")?.trim().parse().ok());
        self.forks = forks.filter(|forks| *forks > 0);
        let cpus = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
        self.queued = running.unwrap_or(0).saturating_sub(cpus);
        cpu_times(text.lines().next().unwrap_or_default()).ok_or_else(|| "its first line is no cpu line".to_owned())
    }

    fn memory(&mut self) -> Result<Memory, String> {
        memory(&self.text("meminfo")?).ok_or_else(|| "a line is missing or makes no sense".to_owned())
    }

    fn pressure(&mut self, gaps: &mut Vec<Gap>) -> Option<Pressure> {
        let mut read = |name| self.try_text(name);
        let [cpu, io, memory] = match (read("pressure/cpu"), read("pressure/io"), read("pressure/memory")) {
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
        let totals = || Some(PressureTotals { cpu: total(&cpu)?, io: total(&io)?, memory: total(&memory)? });
        let parsed = || {
            Some(Pressure {
                // CPU has no `full` line before 5.13, and for the whole host it says nothing.
                cpu_some10: avg10(&cpu, "some")?,
                io_some10: avg10(&io, "some")?,
                io_full10: avg10(&io, "full")?,
                memory_some10: avg10(&memory, "some")?,
                memory_full10: avg10(&memory, "full")?,
                totals: totals(),
            })
        };
        noted(gaps, "pressure", parsed().ok_or_else(|| "a line makes no sense".to_owned()))
    }

    fn disks(&mut self, gaps: &mut Vec<Gap>) -> Vec<Disk> {
        let Some(text) = noted(gaps, "diskstats", self.text("diskstats")) else { return Vec::new() };
        let mut disks = Vec::new();
        let mut bad = false;
        // Each disk's partitions follow it (`diskstats_show`, block/genhd.c).
        let mut whole = "";
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match DiskLine::read(line) {
                Some(line) if is_partition(line.name, whole) => {}
                Some(line) => {
                    whole = line.name;
                    disks.extend(line.disk());
                }
                None => bad = true,
            }
        }
        if bad {
            gaps.push(Gap::Host { file: "diskstats".to_owned(), why: "a line makes no sense".to_owned() });
        }
        disks
    }
}

/// What is wanted of a line of `diskstats` (kernel: Documentation/admin-guide/iostats.rst).
struct DiskLine<'a> {
    name: &'a str,
    reads: u64,
    sectors_read: u64,
    read_ms: u64,
    writes: u64,
    sectors_written: u64,
    write_ms: u64,
    busy_ms: u64,
    queue_ms: u64,
}

impl<'a> DiskLine<'a> {
    /// The device's numbers and name, then the fields; kernels from 4.18 and 5.5 have some more of them.
    fn read(line: &'a str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace().skip(2);
        let name = words.next()?;
        let mut fields = words.map(|word| parse::number(word.as_bytes()));
        // `nth` skips: merged requests before what was moved, requests in flight before the time that there was one.
        let mut field = |skip| fields.nth(skip)?;
        let (reads, sectors_read, read_ms) = (field(0)?, field(1)?, field(0)?);
        let (writes, sectors_written, write_ms) = (field(0)?, field(1)?, field(0)?);
        let (busy_ms, queue_ms) = (field(1)?, field(0)?);
        Some(Self { name, reads, sectors_read, read_ms, writes, sectors_written, write_ms, busy_ms, queue_ms })
    }

    /// The disk. `None`: one that is there in case somebody wants it, and never did anything.
    fn disk(&self) -> Option<Disk> {
        let in_reserve = ["loop", "ram", "zram"].iter().any(|prefix| self.name.starts_with(prefix));
        (!in_reserve || self.reads > 0 || self.writes > 0).then(|| Disk {
            name: self.name.into(),
            reads: self.reads,
            writes: self.writes,
            read_bytes: self.sectors_read.saturating_mul(SECTOR),
            write_bytes: self.sectors_written.saturating_mul(SECTOR),
            request_ms: self.read_ms.saturating_add(self.write_ms),
            busy_ms: self.busy_ms,
            queue_ms: self.queue_ms,
        })
    }
}

/// Turns an error into a gap.
fn noted<T>(gaps: &mut Vec<Gap>, file: &str, read: Result<T, String>) -> Option<T> {
    read.map_err(|why| gaps.push(Gap::Host { file: file.to_owned(), why })).ok()
}

/// The first three numbers of `loadavg`.
fn load_average(text: &str) -> Option<LoadAverage> {
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next()?.parse().ok().filter(|value: &f64| value.is_finite());
    Some(LoadAverage { avg1: next()?, avg5: next()?, avg15: next()? })
}

/// The numbers behind the averages, `2/418 4711`: tasks that run or wait for a CPU, all tasks, and the number given out last.
fn tasks_and_last(text: &str) -> (Option<(u32, u32)>, Option<Pid>) {
    let mut words = text.split_ascii_whitespace().skip(3);
    let pair = |word: &str| word.split_once('/').and_then(|(running, all)| Some((running.parse().ok()?, all.parse().ok()?)));
    (words.next().and_then(pair), words.next().and_then(|word| word.parse().ok()))
}

/// The lines of `meminfo`, which counts in units of 1024 bytes. Kernels before 3.14 do not say what is available.
fn memory(text: &str) -> Option<Memory> {
    let bytes = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(parse::number(parse::words(rest.as_bytes()).next()?)?.saturating_mul(1024))
    };
    Some(Memory {
        total: bytes("MemTotal")?,
        available: bytes("MemAvailable"),
        swap_total: bytes("SwapTotal")?,
        swap_free: bytes("SwapFree")?,
    })
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

/// Time in which some task was held up, since boot; in the file it is in microseconds.
pub(super) fn total(text: &str) -> Option<Nanos> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = line.split(' ').find_map(|word| word.strip_prefix("total="))?;
    parse::number(total.as_bytes())?.checked_mul(1000)
}

/// Whether a device is a partition of this disk: its name is the disk's with a number behind it, and a `p` between two digits
/// (`disk_name`, block/partitions/core.c).
fn is_partition(name: &str, disk: &str) -> bool {
    let Some(rest) = name.strip_prefix(disk).filter(|_| !disk.is_empty()) else { return false };
    let number = if disk.ends_with(|c: char| c.is_ascii_digit()) { rest.strip_prefix('p') } else { Some(rest) };
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_their_disk() {
        for (name, disk) in [
            ("sda1", "sda"),
            ("sdab12", "sdab"),
            ("nvme0n1p1", "nvme0n1"),
            ("mmcblk0p2", "mmcblk0"),
            ("cciss/c0d0p1", "cciss/c0d0"),
        ] {
            assert!(is_partition(name, disk), "{name} of {disk}");
        }
        for (name, disk) in [
            ("sda", ""),
            ("sdab", "sda"),
            ("dm-12", "dm-1"),
            ("md12", "md1"),
            ("loop10", "loop1"),
            ("nvme0n1", "nvme0"),
            ("xvda1", ""),
        ] {
            assert!(!is_partition(name, disk), "{name} of {disk}");
        }
    }

    #[test]
    fn guest_time_is_not_counted_twice() {
        let times = cpu_times("cpu  10 1 20 300 40 5 6 7 99 99\n");
        assert_eq!(times, Some(CpuTimes { busy: 49, idle: 300, iowait: 40, steal: 7 }));
        assert_eq!(cpu_times("cpu0 1 2 3 4"), None);
    }

    #[test]
    fn load_memory_and_disks_are_found() {
        let load = load_average("0.52 0.41 12.33 1/200 4711\n");
        assert_eq!(load, Some(LoadAverage { avg1: 0.52, avg5: 0.41, avg15: 12.33 }));
        assert_eq!(tasks_and_last("0.52 0.41 12.33 1/200 4711\n"), (Some((1, 200)), Some(4711)));
        assert_eq!(tasks_and_last("0.52 0.41 12.33"), (None, None));
        assert_eq!((load_average("0.52 0.41"), load_average("nan 0 0")), (None, None));
        let text = "MemTotal:  1000 kB\nMemAvailable:   20 kB\nSwapCached: 7 kB\nSwapTotal: 3 kB\nSwapFree: 1 kB\n";
        let memory_of =
            |text: &str| memory(text).map(|memory| (memory.total, memory.available, memory.swap_total, memory.swap_free));
        assert_eq!(memory_of(text), Some((1_024_000, Some(20_480), 3072, 1024)));
        assert_eq!(memory_of(&text.replace("MemAvailable", "Other")), Some((1_024_000, None, 3072, 1024)));
        assert_eq!(memory_of(&text.replace("1000", "x")), None);
        let line = DiskLine::read("   8  0 sda 1 2 3 4 5 6 7 8 9 10 11 12").unwrap();
        assert_eq!((line.name, line.reads, line.sectors_read, line.read_ms), ("sda", 1, 3, 4));
        assert_eq!((line.writes, line.sectors_written, line.write_ms, line.busy_ms, line.queue_ms), (5, 7, 8, 10, 11));
        assert!(DiskLine::read("8 0 sda 1 2 3 4 5 6 7 8 9 10").is_none());
    }

    #[test]
    fn pressure_is_found() {
        let text = "some avg10=4.50 avg60=0.91 avg300=0.00 total=681245\nfull avg10=2.10 avg60=0.12 avg300=0.00 total=3\n";
        assert_eq!((avg10(text, "some"), avg10(text, "full"), avg10("some", "some")), (Some(4.5), Some(2.1), None));
        assert_eq!((total(text), total("full total=3")), (Some(681_245_000), None));
    }
}
