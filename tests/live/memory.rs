//! Memory that is short for those in one control group.

use super::disk::{Disk, SLOW};
use super::stage::{Limit, Stage, wait_for_memory, wait_for_tasks};
use super::truth::Truth;

/// More than the cast needs for itself, and less than it writes.
const LIMIT: u64 = 16 << 20;
/// What each thread writes before it begins anew.
const FILE: u64 = 24 << 20;

/// What a service and a job may have together, and what the job holds of it for good.
const SHARED: u64 = 64 << 20;
const HELD: u64 = 44 << 20;

/// A job holds most of what it and a service may have, and the service has to look for every page.
pub fn hog(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let limits = stage.limits("memory", "memory")?;
    let index = stage.serve("index-server", &["role=fill", "8", disk.mount.to_str().unwrap(), &FILE.to_string()])?;
    let hog = stage.play("report", &["role=hold", &HELD.to_string()])?;
    stage.trouble(limits.memory(SHARED)?);
    if let Some(limit) = Limit::writes_of_all(&disk.number, SLOW)? {
        stage.trouble(limit);
    }
    stage.go(hog);
    wait_for_memory(hog, HELD);
    stage.go(index);
    wait_for_tasks(index, 'D', 6);
    Ok(Truth::contention("memory").through(hog).hurts(&[index]))
}

/// A job that comes to a limit of its own: nobody else is to blame.
pub fn reclaim(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let limits = stage.limits("memory", "memory")?;
    let index = stage.serve("index-server", &["role=fill", "8", disk.mount.to_str().unwrap(), &FILE.to_string()])?;
    stage.trouble(limits.memory(LIMIT)?);
    if let Some(limit) = Limit::writes_of_all(&disk.number, SLOW)? {
        stage.trouble(limit);
    }
    stage.go(index);
    wait_for_tasks(index, 'D', 6);
    Ok(Truth::watch("memory").hurts(&[index]).stuck(6))
}
