//! The tables: what each monitor cost in each shape, and the figures that were aimed at beside those that were reached.

use std::{
    fmt::{self, Display, Formatter},
    fs, thread,
};

use anyhow::{Context, Result};

use super::{
    inside::{Floor, Ring},
    median,
    watch::Cost,
};

/// The most that a sample may cost, in bare reads.
const FLOOR: [f64; 2] = [1.3, 1.5];
/// The most memory that may be resident with a full ring, in MiB.
const MEMORY: f64 = 24.0;
/// The longest that the first verdict may take, in seconds.
const FIRST: f64 = 0.6;

/// One monitor in one shape.
pub struct Line {
    pub name: &'static str,
    /// Of each round.
    pub costs: Vec<Cost>,
    /// Why there are none.
    pub missing: Option<String>,
}

impl Line {
    pub fn new(name: &'static str) -> Self {
        Self { name, costs: Vec::new(), missing: None }
    }

    fn median(&self, of: impl Fn(&Cost) -> f64) -> Option<f64> {
        let numbers: Vec<f64> = self.costs.iter().map(of).collect();
        (!numbers.is_empty() && self.missing.is_none()).then(|| median(&numbers))
    }

    fn cpu(&self) -> Option<f64> {
        self.median(|cost| cost.cpu)
    }
}

/// All monitors in one shape.
pub struct Shape {
    pub name: String,
    /// Tasks on the host, those of kernel and bench included.
    pub tasks: usize,
    pub lines: Vec<Line>,
}

impl Shape {
    /// Which of these took least CPU time, and how much.
    pub fn cheapest(&self, names: &[&str]) -> Option<(&'static str, f64)> {
        let lines = self.lines.iter().filter(|line| names.contains(&line.name));
        lines.filter_map(|line| Some((line.name, line.cpu()?))).min_by(|a, b| a.1.total_cmp(&b.1))
    }

    fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "\n{} ({} tasks in all)", self.name, self.tasks)?;
        let heads = ["CPU ms/s", "(least", "most)", "MiB", "peak MiB", "first screen s"];
        let [cpu, least, most, resident, peak, first] = heads;
        writeln!(f, "  {:22}{cpu:>10}{least:>9}{most:>9}{resident:>9}{peak:>10}{first:>16}", "")?;
        for line in &self.lines {
            write!(f, "  {:22}", line.name)?;
            if let Some(why) = &line.missing {
                writeln!(f, "n/a: {why}")?;
                continue;
            }
            let shown = |of: fn(&Cost) -> f64| line.median(of).unwrap_or_default();
            let all = || line.costs.iter().map(|cost| cost.cpu);
            let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
            let (cpu, resident) = (shown(|cost| cost.cpu), shown(|cost| cost.resident));
            let (peak, first) = (shown(|cost| cost.peak), shown(|cost| cost.first));
            writeln!(f, "{cpu:>10.1}{least:>9.1}{most:>9.1}{resident:>9.1}{peak:>10.1}{first:>16.2}")?;
        }
        Ok(())
    }
}

/// What was measured from inside, of both tiers.
pub struct Inside {
    pub procs: usize,
    pub floors: [Result<Floor, String>; 2],
    pub rings: [Result<Ring, String>; 2],
}

const TIERS: [&str; 2] = ["proc", "kernel"];

impl Display for Inside {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        writeln!(f, "\n{} processes, from inside", self.procs)?;
        for (tier, floor) in TIERS.iter().zip(&self.floors) {
            match floor {
                Ok(Floor { sample, bare, tasks }) => {
                    writeln!(f, "  {tier}: a sample of {tasks} tasks {sample:.2} ms CPU, its bare reads {bare:.2} ms")?;
                }
                Err(why) => writeln!(f, "  {tier}: n/a: {why}")?,
            }
        }
        for (tier, ring) in TIERS.iter().zip(&self.rings) {
            match ring {
                Ok(Ring { resident, kept, samples, bound, peak }) => writeln!(
                    f,
                    "  {tier}: {resident:.1} MiB resident with {samples} samples, {kept:.1} MiB of it in the ring; \
                     {bound:.1} MiB with the ring at its bound; peak {peak:.1} MiB"
                )?,
                Err(why) => writeln!(f, "  {tier}: n/a: {why}")?,
            }
        }
        Ok(())
    }
}

impl Inside {
    /// What one tier was to reach.
    pub fn goals(&self, tier: usize, monitor: &str) -> [Goal; 2] {
        let ratio = self.floors[tier].as_ref().ok().map(|floor| floor.sample / floor.bare);
        let resident = self.rings[tier].as_ref().ok().map(|ring| ring.resident);
        [
            Goal { what: format!("{monitor}: a sample, to its bare reads"), reached: ratio, most: FLOOR[tier] },
            Goal { what: format!("{monitor}: MiB with a full ring, {} processes", self.procs), reached: resident, most: MEMORY },
        ]
    }
}

/// A figure that was aimed at.
pub struct Goal {
    what: String,
    /// `None`: it could not be measured here.
    reached: Option<f64>,
    most: f64,
}

impl Goal {
    /// CPU time of a monitor, to that of another.
    pub fn cpu(shape: &Shape, monitor: &str, other: Option<(&'static str, f64)>, most: f64) -> Self {
        let cpu = shape.line(monitor).and_then(Line::cpu);
        let reached = cpu.zip(other).map(|(cpu, (_, other))| cpu / other);
        let name = other.map_or("a peer", |(name, _)| name);
        Self { what: format!("{monitor}: CPU time to that of {name}, {}", shape.name), reached, most }
    }

    /// Time to the first verdict.
    pub fn first(shape: &Shape, monitor: &str) -> Self {
        let reached = shape.line(monitor).and_then(|line| line.median(|cost| cost.first));
        Self { what: format!("{monitor}: seconds to the first verdict, {}", shape.name), reached, most: FIRST }
    }
}

/// Prints what was aimed at and what was reached.
pub fn goals(goals: &[Goal]) {
    println!("\n{:82}{:>10}{:>10}", "", "measured", "target");
    for Goal { what, reached, most } in goals {
        let (reached, met) = match reached {
            Some(reached) => (format!("{reached:.2}"), if reached <= most { "met" } else { "not met" }),
            None => ("n/a".to_owned(), ""),
        };
        println!("{what:82}{reached:>10}{:>10}  {met}", format!("≤ {most:.2}"));
    }
}

/// Prints what the figures were taken on.
pub fn host() -> Result<()> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}"));
    let cpus = thread::available_parallelism()?;
    println!("{cpus} CPUs, Linux {}, load average {}", read("sys/kernel/osrelease")?.trim(), read("loadavg")?.trim());
    Ok(())
}

/// How many tasks there are on this host.
pub fn tasks() -> Result<usize> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let tasks = load.split(' ').nth(3).and_then(|tasks| tasks.split_once('/'));
    Ok(tasks.context("no number of tasks in loadavg")?.1.parse()?)
}

/// Prints how much else went on.
pub fn noise<'a>(lines: impl Iterator<Item = &'a Line>) {
    let others: Vec<f64> = lines.flat_map(|line| line.costs.iter().map(|cost| cost.others)).collect();
    let most = others.iter().copied().fold(0.0, f64::max);
    println!("\nmeanwhile everybody else used {:.2} CPUs (median), {most:.2} at the most", median(&others));
}
