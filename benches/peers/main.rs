//! whytop beside the monitors that are installed, in one run: `cargo bench --bench peers`.
//!
//! Three shapes of host: 5,000 processes that sleep, 250 processes of 20 threads, and the host as it is. In each every monitor is
//! watched in a terminal of its own, one after the other, round after round, and the medians are compared. Then a sample against
//! the bare reads it is made of, and memory with a full ring. All figures are CPU time, so another load on the host disturbs them
//! less than it would disturb times; how much of it there was is told at the end. The peers refresh each second, as whytop does.
//! `cargo bench --bench peers -- --help` has options for a shorter run.

#![forbid(unsafe_code)]

mod crowd;
#[path = "../common/floor.rs"]
mod floor;
mod inside;
mod report;
mod watch;

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, anyhow};
use clap::Parser;
use crowd::Crowd;
use inside::Question;
use report::{Goal, Inside, Line, Shape};
use rustix::process::{Signal, set_parent_process_death_signal};
use watch::{Monitor, watch};

/// Threads of a process in the second shape.
const THREADS: usize = 20;
const WHYTOP: &str = env!("CARGO_BIN_EXE_whytop");
const PROC: &str = "whytop --tier proc";
const KERNEL: &str = "whytop --tier kernel";

/// Compares whytop with the monitors that are installed.
#[derive(Parser)]
#[command(name = "cargo bench --bench peers --")]
struct Options {
    /// Seconds that each monitor is watched in a round, after it has settled
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds; the medians are shown
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Processes in the first shape; the second has as many threads
    #[arg(long, default_value_t = 5000)]
    procs: usize,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, threads] = arguments.as_slice()
        && role == crowd::ROLE
    {
        return crowd::sleep(threads.parse()?);
    }
    if arguments.first().is_some_and(|argument| argument.starts_with("role=")) {
        // With the one who asked.
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    if let Some(answered) = inside::answer(&arguments) {
        // In one line, for the one who asked.
        return answered.map_err(|error| anyhow!("{error:#}"));
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("peers: runs for minutes, and only by `cargo bench --bench peers`");
        return Ok(());
    }
    bench(&Options::parse())
}

fn bench(options: &Options) -> Result<()> {
    let home = tempfile::tempdir()?;
    fs::create_dir(home.path().join("btop"))?;
    fs::write(home.path().join("btop/btop.conf"), "update_ms = 1000\n")?;
    report::host()?;

    let (procs, groups) = (options.procs, options.procs.div_ceil(THREADS));
    let crowd = Crowd::of_processes(procs)?;
    let full = compare(format!("{procs} processes that sleep"), &monitors("top"), options, home.path())?;
    println!("{full}");
    let inside = Inside {
        procs,
        floors: [inside::ask(Question::Floor, "proc")?, inside::ask(Question::Floor, "kernel")?],
        rings: [inside::ask(Question::Ring, "proc")?, inside::ask(Question::Ring, "kernel")?],
    };
    println!("{inside}");
    drop(crowd);

    let crowd = Crowd::of_threads(groups, THREADS)?;
    let name = format!("{groups} processes of {THREADS} threads");
    let threads = compare(name, &monitors("top -H"), options, home.path())?;
    println!("{threads}");
    drop(crowd);

    let idle = compare("the host as it is".to_owned(), &monitors("top"), options, home.path())?;
    println!("{idle}");

    let cheapest = |shape: &Shape| shape.cheapest(&["top", "htop", "btop"]);
    let only = |shape: &Shape, name: &'static str| shape.cheapest(&[name]);
    let mut goals = Vec::new();
    for (monitor, tier, share) in [(PROC, 0, 0.25), (KERNEL, 1, 0.10)] {
        goals.push(Goal::cpu(&full, monitor, cheapest(&full), share));
        goals.push(Goal::cpu(&threads, monitor, only(&threads, "top -H"), share));
        goals.push(Goal::cpu(&idle, monitor, only(&idle, "top"), 1.0));
        goals.extend(inside.goals(tier, monitor));
        goals.push(Goal::first(&full, monitor));
    }
    report::goals(&goals);
    let watched = [&full, &threads, &idle];
    report::noise(watched.iter().flat_map(|shape| shape.lines.iter()));
    Ok(())
}

/// Watches every monitor in every round, in turns.
fn compare(name: String, monitors: &[Monitor], options: &Options, home: &Path) -> Result<Shape> {
    let tasks = report::tasks()?;
    let mut lines: Vec<Line> = monitors.iter().map(|monitor| Line::new(monitor.name)).collect();
    for round in 1..=options.rounds {
        for (monitor, line) in monitors.iter().zip(&mut lines) {
            if line.missing.is_some() {
                continue;
            }
            eprintln!("{name}: round {round} of {}: {}", options.rounds, monitor.name);
            match watch(monitor, home, Duration::from_secs(options.seconds))? {
                Ok(cost) => line.costs.push(cost),
                Err(why) => line.missing = Some(why),
            }
        }
    }
    Ok(Shape { name, tasks, lines })
}

/// whytop in both tiers, and whichever peers are installed.
fn monitors(top: &'static str) -> Vec<Monitor> {
    const VERDICTS: &[&str] = &["CALM", "WATCH", "CONTENTION"];
    let whytop = |name, tier| Monitor { name, program: WHYTOP.into(), arguments: vec!["--tier", tier], full: VERDICTS };
    let mut monitors = vec![whytop(PROC, "proc"), whytop(KERNEL, "kernel")];
    let mut add = |name: &'static str, arguments: &[&'static str], full: &'static [&'static str]| {
        let program = name.split(' ').next().unwrap_or(name);
        match find(program) {
            Some(program) => monitors.push(Monitor { name, program, arguments: arguments.to_vec(), full }),
            None => println!("{program} is not installed"),
        }
    };
    if top == "top -H" {
        add(top, &["-H", "-d", "1"], &["COMMAND"]);
        add("htop", &["-d", "10"], &["Command"]);
        // btop has no list of threads.
    } else {
        add(top, &["-d", "1"], &["COMMAND"]);
        add("htop", &["-d", "10"], &["Command"]);
        add("btop", &[], &["Pid:"]);
    }
    add("atop", &["1"], &["CMD"]);
    monitors
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The middle one, or the mean of the two in the middle; 0 of none.
fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
