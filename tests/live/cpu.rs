//! Who needs a CPU and has none, and who seems to and does not.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;

use super::stage::{Stage, needs_root, own_slice, retry, tool, wait_for_tasks};
use super::truth::Truth;

/// Tasks of the hog for each CPU.
const GREED: usize = 6;
/// Loops that fork, for each CPU.
const FORKERS: usize = 4;
/// Workers of the service for each CPU.
const WORKERS: usize = 4;
/// A request takes 3 ms of a CPU, and the next one comes 17 ms after it: alone, the workers need about half of the CPUs.
const REQUEST: [&str; 2] = ["3000", "17000"];
/// The part of a CPU that a service may have.
const QUOTA: f64 = 0.3;
/// Stuck tasks: more than any disk of a test machine keeps waiting by itself.
const STUCK: usize = 16;

fn cpus() -> usize {
    thread::available_parallelism().unwrap().get()
}

/// Requests come in, and each has to wait for a CPU.
pub fn hog(stage: &mut Stage) -> Result<Truth, String> {
    let shop = stage.serve("shop-server", &["role=serve", &(WORKERS * cpus()).to_string(), REQUEST[0], REQUEST[1]])?;
    let hog = stage.play("render-farm", &["role=burn", &(GREED * cpus()).to_string()])?;
    stage.go(shop);
    stage.go(hog);
    wait_for_tasks(hog, 'R', GREED * cpus());
    Ok(Truth::contention("cpu").through(hog).hurts(&[shop]))
}

/// The same for those who may not read much.
pub fn hog_for_nobody(stage: &mut Stage) -> Result<Truth, String> {
    stage.become_nobody()?;
    hog(stage)
}

/// A service that its own quota keeps from running: nobody else is to blame.
pub fn quota(stage: &mut Stage) -> Result<Truth, String> {
    needs_root()?;
    let limits = stage.limits_of("shop-server", "cpu", "cpu")?;
    let shop = stage.serve("shop-server", &["role=serve", &(WORKERS * cpus()).to_string(), REQUEST[0], REQUEST[1]])?;
    stage.trouble(limits.cpu(QUOTA)?);
    stage.go(shop);
    wait_for_tasks(shop, 'R', WORKERS);
    Ok(Truth::watch("cpu").hurts(&[shop]))
}

/// The quota is that of the slice which the service is in.
pub fn quota_above(stage: &mut Stage) -> Result<Truth, String> {
    needs_root()?;
    let limits = stage.limits_above("shop-server", "cpu", "cpu")?;
    let shop = stage.serve("shop-server", &["role=serve", &(WORKERS * cpus()).to_string(), REQUEST[0], REQUEST[1]])?;
    stage.trouble(limits.cpu(QUOTA)?);
    stage.go(shop);
    wait_for_tasks(shop, 'R', WORKERS);
    Ok(Truth::watch("cpu").hurts(&[shop]).said(format!("at the limit of the control group /{}", own_slice())))
}

/// A service and a hog have one quota, and the hog takes it.
pub fn hog_within_a_quota(stage: &mut Stage) -> Result<Truth, String> {
    needs_root()?;
    let limits = stage.limits("cpu", "cpu")?;
    let shop = stage.serve("shop-server", &["role=serve", &(WORKERS * cpus()).to_string(), REQUEST[0], REQUEST[1]])?;
    let hog = stage.play("render-farm", &["role=burn", &(GREED * cpus()).to_string()])?;
    stage.trouble(limits.cpu(QUOTA)?);
    stage.go(shop);
    stage.go(hog);
    wait_for_tasks(hog, 'R', GREED * cpus());
    Ok(Truth::contention("cpu").through(hog).hurts(&[shop]))
}

/// Hundreds of processes a second, each gone before anybody looks twice.
pub fn storm(stage: &mut Stage) -> Result<Truth, String> {
    let shop = stage.serve("shop-server", &["role=serve", &(WORKERS * cpus()).to_string(), REQUEST[0], REQUEST[1]])?;
    // Some milliseconds of work each, as a script's greps and seds have.
    let count = "/bin/sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'";
    let loops = format!("(while :; do {count}; done) & ").repeat(FORKERS * cpus());
    let storm = stage.script("count.sh", &format!("{loops} wait"))?;
    let before = forks();
    stage.go(shop);
    stage.go(storm);
    assert!(retry(|| forks() > before + 50), "it forks");
    Ok(Truth::contention("cpu").through(storm).hurts(&[shop]))
}

/// Forks so far on this host, threads included.
fn forks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    stat.lines().find_map(|line| line.strip_prefix("processes ")).unwrap().trim().parse().unwrap()
}

/// The load is high, and means nothing.
pub fn vfork(stage: &mut Stage) -> Result<Truth, String> {
    let parent = stage.play("launcher", &["role=vfork", &STUCK.to_string()])?;
    stage.go(parent);
    wait_for_tasks(parent, 'D', STUCK);
    Ok(Truth::watch("none").hurts(&[parent]).stuck(STUCK as u64))
}

/// The same for those who may not read where tasks wait.
pub fn vfork_for_nobody(stage: &mut Stage) -> Result<Truth, String> {
    stage.become_nobody()?;
    vfork(stage)
}

/// What others may use of the CPUs beside a scene in which nobody waits: whoever waits for a build beside it does wait.
const QUIET: f64 = 0.2;

/// Waits until the host has nothing else to do; fails with the reason where it goes on and on.
pub fn needs_quiet() -> Result<(), String> {
    let busy = || -> f64 {
        let stat = fs::read_to_string("/proc/stat").unwrap();
        let all: Vec<f64> = stat.lines().next().unwrap().split_whitespace().skip(1).map(|ticks| ticks.parse().unwrap()).collect();
        // All but idle and waiting for a disk (proc(5)), in seconds; guests are counted in the first two.
        (all[..8].iter().sum::<f64>() - all[3] - all[4]) / clock_ticks_per_second() as f64
    };
    let mut used = 0.0;
    for _ in 0..10 {
        let (start, before) = (Instant::now(), busy());
        thread::sleep(Duration::from_millis(300));
        used = (busy() - before) / start.elapsed().as_secs_f64();
        if used <= QUIET {
            return Ok(());
        }
    }
    Err(format!("others keep {used:.1} CPUs busy"))
}

/// Somebody computes, and there are CPUs for everybody.
pub fn busy(stage: &mut Stage) -> Result<Truth, String> {
    needs_quiet()?;
    let others = cpus() - 1;
    if others == 0 {
        return Err("there is one CPU only".to_owned());
    }
    let hog = stage.play("render-farm", &["role=burn", &others.to_string()])?;
    let shop = stage.serve("shop-server", &["role=serve", "4", "1000", "99000"])?;
    stage.go(shop);
    stage.go(hog);
    wait_for_tasks(hog, 'R', others);
    Ok(Truth::calm().aside(hog).aside(shop))
}

/// A real backup that is in nobody's way.
pub fn harmless_backup(stage: &mut Stage) -> Result<Truth, String> {
    for program in ["tar", "gzip"] {
        tool(program, &["--version"])?;
    }
    needs_quiet()?;
    let site = stage.path("site");
    fs::create_dir(&site).unwrap();
    fs::write(site.join("database"), vec![1; 32 << 20]).unwrap();
    let lines = format!("cd {} && while tar cf - site | gzip -1 >site.tar.gz; do :; done", stage.path("").display());
    let backup = stage.script("nightly-backup.sh", &lines)?;
    stage.go(backup);
    assert!(retry(|| stage.path("site.tar.gz").exists()), "a copy is made");
    Ok(Truth::calm().beside(backup))
}

/// Nothing at all.
pub fn idle(_stage: &mut Stage) -> Result<Truth, String> {
    needs_quiet()?;
    Ok(Truth::calm())
}
