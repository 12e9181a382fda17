//! What is measured from inside, each in a process of its own: a sweep against its floor, and memory with a full ring.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use whytop::{
    history::Limits,
    kernel::{Choice, ProcRoot, Reader},
    monitor::Monitor,
    units::SECOND,
};

use super::floor::{BareFiles, BareIterator, cpu};

/// Turns of a sweep and its floor.
const TURNS: usize = 60;
/// Samples in ten minutes, with some to spare.
const SAMPLES: u64 = 620;
/// How long command lines may take to come.
const SETTLE: Duration = Duration::from_secs(20);

/// What is to be measured.
#[derive(Clone, Copy)]
pub enum Question {
    /// A sweep and its floor, in turns.
    Floor,
    /// Memory with a full ring.
    Ring,
}

impl Question {
    fn role(self) -> &'static str {
        match self {
            Self::Floor => "role=floor",
            Self::Ring => "role=ring",
        }
    }
}

/// Median CPU milliseconds.
#[derive(Serialize, Deserialize)]
pub struct Floor {
    /// For one sample.
    pub sample: f64,
    /// For the bare reads.
    pub bare: f64,
    /// Tasks in the sample.
    pub tasks: u32,
}

/// Memory of reader and monitor, in MiB.
#[derive(Serialize, Deserialize)]
pub struct Ring {
    /// Resident after ten minutes' samples of the crowd.
    pub resident: f64,
    /// What the ring has of that, by its own count.
    pub kept: f64,
    /// Samples in it: those of ten minutes, or fewer where they are so full of changes that it is at its bound.
    pub samples: usize,
    /// Resident when every task ran between any two samples, so that the ring is at its bound.
    pub bound: f64,
    /// The most there ever was.
    pub peak: f64,
}

/// Starts this program again and has it answer. The inner error says in a line why it could not.
pub fn ask<T: DeserializeOwned>(question: Question, tier: &str) -> Result<Result<T, String>> {
    let output = Command::new(std::env::current_exe()?).args([question.role(), tier]).output().context("start this program")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(said.lines().next().unwrap_or("no word").trim_start_matches("Error: ").to_owned()));
    }
    Ok(Ok(serde_json::from_slice(&output.stdout)?))
}

/// Answers on standard output, if that is what this process was started for.
pub fn answer(arguments: &[String]) -> Option<Result<()>> {
    let [role, tier] = arguments else { return None };
    let role = [Question::Floor, Question::Ring].into_iter().find(|question| question.role() == role)?;
    let tier = if tier == "kernel" { Choice::Kernel } else { Choice::Proc };
    Some(match role {
        Question::Floor => floor(tier).and_then(|floor| print(&floor)),
        Question::Ring => ring(tier).and_then(|ring| print(&ring)),
    })
}

fn print<T: Serialize>(answer: &T) -> Result<()> {
    println!("{}", serde_json::to_string(answer)?);
    Ok(())
}

fn reader(tier: Choice) -> Result<Reader> {
    Reader::with_tier(ProcRoot::open(Path::new("/proc"))?, tier)
}

fn floor(tier: Choice) -> Result<Floor> {
    let mut reader = reader(tier)?;
    reader.sample()?;
    reader.settle(SETTLE);
    let mut bare: Box<dyn FnMut() -> Result<u64>> = if tier == Choice::Kernel {
        let mut bare = BareIterator::load()?;
        Box::new(move || bare.read())
    } else {
        let mut bare = BareFiles::open()?;
        Box::new(move || Ok(bare.read()))
    };
    let (mut samples, mut bares, mut tasks) = (Vec::new(), Vec::new(), 0);
    for _ in 0..TURNS {
        bares.push(bare()? as f64 / 1e6);
        let start = cpu();
        let sample = reader.sample()?;
        samples.push((cpu() - start) as f64 / 1e6);
        tasks = sample.cost.tasks;
    }
    Ok(Floor { sample: super::median(&samples), bare: super::median(&bares), tasks })
}

fn ring(tier: Choice) -> Result<Ring> {
    let mut reader = reader(tier)?;
    let mut monitor = Monitor::new(&reader.facts(), Limits::default());
    let first = reader.sample()?;
    let (begin, tasks) = (first.since_boot, first.tasks.clone());
    monitor.ingest(first);
    reader.settle(SETTLE);
    // As fast as they come, under the times at which they would have come: the ring goes by those.
    for second in 1..=SAMPLES {
        let mut sample = reader.sample()?;
        sample.since_boot = begin + second * SECOND;
        monitor.ingest(sample);
    }
    let (resident, kept) = (memory("VmRSS:")?, monitor.history().bytes());
    let samples = monitor.history().samples().len();
    for second in 1..=60 {
        let mut sample = reader.sample()?;
        sample.since_boot = begin + (SAMPLES + second) * SECOND;
        sample.tasks.clone_from(&tasks);
        sample.tasks.shrink_to_fit();
        monitor.ingest(sample);
    }
    Ok(Ring { resident, kept: kept as f64 / 1_048_576.0, samples, bound: memory("VmRSS:")?, peak: memory("VmHWM:")? })
}

/// A line of this process's `status`, in MiB.
fn memory(name: &str) -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix(name)) else { bail!("no {name} in status") };
    Ok(line.split_whitespace().next().context("a number")?.parse::<f64>()? / 1024.0)
}
