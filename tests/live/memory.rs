//! Memory that is short for those in one control group.

use super::disk::{Disk, SLOW};
use super::stage::{Limit, Stage, wait_for_tasks};
use super::truth::Truth;

/// More than the cast needs for itself, and less than it writes.
const LIMIT: u64 = 16 << 20;
/// What each thread writes before it begins anew.
const FILE: u64 = 24 << 20;

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
