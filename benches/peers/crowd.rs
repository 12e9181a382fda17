//! The host to be looked at: many processes, or processes of many threads, all asleep.
//!
//! Every member reads a pipe that nobody writes and of which only the bench has the other end: when the bench ends, however it ends,
//! they all see the end of the file and go.

use std::{
    fs,
    io::{self, PipeReader, PipeWriter, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What a member is told that this program starts as a process of many threads.
pub const ROLE: &str = "role=threads";
/// Enough for a thread that only sleeps.
const STACK: usize = 16 * 1024;
/// How long a crowd may take to fall asleep.
const PATIENCE: Duration = Duration::from_mins(1);

/// Processes that sleep until this is dropped.
pub struct Crowd {
    gate: Option<PipeWriter>,
    members: Vec<Child>,
}

impl Crowd {
    /// Processes of one thread: the smallest program there is everywhere that waits for its input.
    pub fn of_processes(number: usize) -> Result<Self> {
        Self::gather(number, 1, || Ok(Command::new("cat")))
    }

    /// Processes of this many threads each.
    pub fn of_threads(number: usize, threads: usize) -> Result<Self> {
        Self::gather(number, threads, || {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([ROLE, &threads.to_string()]);
            Ok(command)
        })
    }

    fn gather(number: usize, threads: usize, command: impl Fn() -> Result<Command>) -> Result<Self> {
        let (door, gate): (PipeReader, PipeWriter) = io::pipe()?;
        let mut crowd = Self { gate: Some(gate), members: Vec::with_capacity(number) };
        for index in 0..number {
            let mut command = command()?;
            command.stdin(door.try_clone()?).stdout(Stdio::null());
            crowd.members.push(command.spawn().with_context(|| format!("start process {index} of {number}"))?);
        }
        let start = Instant::now();
        while !crowd.members.iter().all(|member| is_asleep(member.id(), threads)) {
            ensure!(start.elapsed() < PATIENCE, "the processes that were started do not come to rest");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.gate = None;
        for member in &mut self.members {
            // It ends by itself; only its number is to be given back.
            let _ = member.wait();
        }
    }
}

/// Whether its first thread sleeps and all of its threads are there.
fn is_asleep(pid: u32, threads: usize) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.first() == Some(&"S") && fields.get(17).and_then(|count| count.parse().ok()) == Some(threads)
}

/// What a member of many threads does.
pub fn sleep(threads: usize) -> Result<()> {
    for _ in 1..threads {
        thread::Builder::new().stack_size(STACK).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
