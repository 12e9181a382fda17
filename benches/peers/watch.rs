//! One monitor in a terminal of its own, and what it costs: its CPU time and that of its threads and children, its memory, and how
//! long it takes to its first screen with something on it.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    num::NonZero,
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use pty_process::{
    Size,
    blocking::{Command, Pty, open},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};

/// Size of the terminal.
const ROWS: u16 = 40;
const COLUMNS: u16 = 120;
/// From the first screen to the beginning of the measurement, or as long as that takes.
const SETTLE: Duration = Duration::from_secs(3);
/// A monitor that shows nothing for so long shows nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// A monitor that was told to end has this long.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A program that watches the host.
#[derive(Clone)]
pub struct Monitor {
    /// As it is called in the tables.
    pub name: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<&'static str>,
    /// Its screen is full when one of these is on it: the head of a list of processes, or a verdict.
    pub full: &'static [&'static str],
}

/// What one watch of a monitor gave.
#[derive(Clone, Copy)]
pub struct Cost {
    /// CPU milliseconds a second.
    pub cpu: f64,
    /// Resident memory at the end, in MiB.
    pub resident: f64,
    /// The most there ever was of it, in MiB.
    pub peak: f64,
    /// Seconds from exec to the first full screen.
    pub first: f64,
    /// CPUs that everybody else used meanwhile, the bench and the kernel's own work included.
    pub others: f64,
}

/// Watches a monitor for so long. The inner error says in a line why it could not be: the monitor ended, or showed nothing.
pub fn watch(monitor: &Monitor, home: &Path, span: Duration) -> Result<Result<Cost, String>> {
    let begin = Instant::now();
    let mut session = Session::start(monitor, home)?;
    let shown = match session.news.recv_timeout(PATIENCE) {
        Ok(shown) => shown,
        Err(RecvTimeoutError::Timeout) => return Ok(Err("shows no full screen".to_owned())),
        Err(RecvTimeoutError::Disconnected) => return Ok(Err(session.last_line())),
    };
    if session.ends_within(SETTLE.min(span)) {
        return Ok(Err(session.last_line()));
    }
    let (before, host, start) = (Meter::read(session.pid()), busy()?, Instant::now());
    if session.ends_within(span) {
        return Ok(Err(session.last_line()));
    }
    let (after, elapsed) = (Meter::read(session.pid()), start.elapsed().as_secs_f64());
    let used = after.since(&before) as f64 / 1e9;
    let all = (busy()? - host) as f64 / clock_ticks_per_second() as f64;
    Ok(Ok(Cost {
        cpu: used * 1e3 / elapsed,
        resident: after.memory("VmRSS:"),
        peak: after.memory("VmHWM:"),
        first: (shown - begin).as_secs_f64(),
        others: ((all - used) / elapsed).max(0.0),
    }))
}

/// A monitor that runs. What it prints is taken away as it comes.
struct Session {
    child: Child,
    /// When the screen was full; closed when the monitor has let go of its terminal.
    news: Receiver<Instant>,
    stop: Arc<AtomicBool>,
    drain: Option<JoinHandle<String>>,
}

impl Session {
    fn start(monitor: &Monitor, home: &Path) -> Result<Self> {
        let (pty, pts) = open().context("open a pseudo-terminal")?;
        pty.resize(Size::new(ROWS, COLUMNS))?;
        let child = Command::new(&monitor.program)
            .args(&monitor.arguments)
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", home)
            .env("XDG_CONFIG_HOME", home)
            // Else atop, as root, has the kernel write a record of every process that ends.
            .env("ATOPACCT", "")
            .env_remove("NO_COLOR")
            .env_remove("COLUMNS")
            .env_remove("LINES")
            .spawn(pts)
            .with_context(|| format!("start {}", monitor.name))?;
        let (tell, news) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, full) = (Arc::clone(&stop), monitor.full);
        let drain = Some(thread::spawn(move || drain(&pty, full, &tell, &told)));
        Ok(Self { child, news, stop, drain })
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn ends_within(&self, span: Duration) -> bool {
        self.news.recv_timeout(span) == Err(RecvTimeoutError::Disconnected)
    }

    /// The last words of a monitor that ended.
    fn last_line(&mut self) -> String {
        let screen = self.drain.take().and_then(|drain| drain.join().ok()).unwrap_or_default();
        let line = screen.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        format!("ended: {line}")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::TERM);
        if !self.ends_within(LAST_WORDS) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        self.stop.store(true, Ordering::SeqCst);
        if let Some(drain) = self.drain.take() {
            let _ = drain.join();
        }
    }
}

/// Takes away what the monitor prints, until it ends; answers its screen, as far as that was followed.
fn drain(mut pty: &Pty, full: &[&str], tell: &Sender<Instant>, stop: &AtomicBool) -> String {
    let size = |number: u16| NonZero::new(number).unwrap_or(NonZero::<u16>::MIN);
    let mut parser = vt100::Parser::new(size(ROWS), size(COLUMNS), 0);
    let mut bytes = vec![0; 65536];
    let mut looking = true;
    while !stop.load(Ordering::SeqCst) {
        let mut ready = [PollFd::new(pty, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if !poll(&mut ready, Some(&timeout)).is_ok_and(|count| count > 0) {
            continue;
        }
        let now = Instant::now();
        // An error is the monitor's end.
        let Ok(count @ 1..) = pty.read(&mut bytes) else { break };
        if looking {
            // Following the screen costs CPU time, so that ends where the measurement begins.
            parser.process(&bytes[..count]);
            let screen = parser.screen().contents();
            if full.iter().any(|word| screen.contains(word)) {
                looking = false;
                let _ = tell.send(now);
            }
        }
    }
    parser.screen().contents()
}

/// What a monitor, its threads and its children have used.
#[derive(Default)]
struct Meter {
    /// Nanoseconds on a CPU, by thread.
    threads: HashMap<i32, u64>,
    /// The same in clock ticks, with threads and children that have ended.
    ticks: u64,
    statuses: Vec<String>,
}

impl Meter {
    fn read(pid: Pid) -> Self {
        let mut meter = Self::default();
        let mut due = vec![pid.as_raw_nonzero().get()];
        while let Some(pid) = due.pop() {
            let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
            // User and system time, its own and that of children it waited for.
            let stat = read("stat");
            let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
            meter.ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
            meter.statuses.push(read("status"));
            for entry in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let run = read(&format!("task/{tid}/schedstat"));
                meter.threads.insert(tid, run.split(' ').next().and_then(|run| run.parse().ok()).unwrap_or(0));
                due.extend(read(&format!("task/{tid}/children")).split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
        }
        meter
    }

    /// Nanoseconds since.
    fn since(&self, before: &Self) -> u64 {
        let used = |(tid, run): (&i32, &u64)| run.saturating_sub(before.threads.get(tid).copied().unwrap_or(0));
        let seen: u64 = self.threads.iter().map(used).sum();
        // Threads that came and went are in the ticks only. Those are cut off, user and system time each.
        let ticks = self.ticks.saturating_sub(before.ticks).saturating_sub(2);
        seen.max(ticks * 1_000_000_000 / clock_ticks_per_second())
    }

    /// A line of `status` summed over the processes, in MiB.
    fn memory(&self, name: &str) -> f64 {
        let lines = self.statuses.iter().filter_map(|status| status.lines().find_map(|line| line.strip_prefix(name)));
        lines.filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok()).sum::<f64>() / 1024.0
    }
}

/// Clock ticks in which any CPU was busy.
fn busy() -> Result<u64> {
    let stat = fs::read_to_string("/proc/stat")?;
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    // All but idle and waiting for a disk; guest time is in user time.
    Ok(ticks.iter().take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, ticks)| ticks).sum())
}
