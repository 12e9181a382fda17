//! Bad days made for real on this host: each scene has a truth that is known, because this program made it, and `whytop once --json` is
//! held to it: what is short, who takes it, who waits.
//!
//! One look must be right, or else the two after it; where the host has other work meanwhile it is no judge, and says so. With
//! `WHYTOP_LIVE_RUNS=20` each scene is made anew so many times and looked at once, beside a whytop that watched it begin; what came of
//! it is printed as a table, and 19 of 20 must be right and in time. Most scenes need root; where something lacks, they say what and
//! pass. Has a main function of its own because the cast must do as it is told: this program starts itself again under other names and
//! with roles.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "live/actor.rs"]
mod actor;
#[path = "live/cpu.rs"]
mod cpu;
#[path = "live/disk.rs"]
mod disk;
#[path = "storage/fuse.rs"]
mod fuse;
#[path = "live/look.rs"]
mod look;
#[path = "live/memory.rs"]
mod memory;
#[path = "live/others.rs"]
mod others;
#[path = "live/silent.rs"]
mod silent;
#[path = "live/stage.rs"]
mod stage;
#[path = "live/truth.rs"]
mod truth;

use std::env;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use stage::Stage;
use truth::Truth;

/// Sets the scene and says what is true of it; or why it cannot be had here.
type Scene = fn(&mut Stage) -> Result<Truth, String>;

/// Every scene there is.
const SCENES: [(&str, Scene); 21] = [
    ("cpu_hog_beside_a_busy_service", cpu::hog),
    ("cpu_hog_seen_by_an_ordinary_user", cpu::hog_for_nobody),
    ("fork_storm", cpu::storm),
    ("cpu_quota_of_its_own", cpu::quota),
    ("cpu_quota_of_the_slice_above", cpu::quota_above),
    ("cpu_hog_within_a_quota", cpu::hog_within_a_quota),
    ("disk_hog_on_a_throttled_disk", disk::hog),
    ("two_hogs_on_two_disks", disk::two_hogs),
    ("disk_limit_of_its_own", disk::limit_of_its_own),
    ("fsync_storm_against_a_journal", disk::fsync_storm),
    ("two_hundred_threads_of_one_process", disk::two_hundred_threads),
    ("frozen_filesystem", silent::frozen),
    ("stopped_fuse_daemon", silent::stopped_daemon),
    ("reclaim_in_a_limited_control_group", memory::reclaim),
    ("memory_hog_in_a_limited_control_group", memory::hog),
    ("stuck_in_vfork_through_nobodys_fault", cpu::vfork),
    ("stuck_in_vfork_seen_by_an_ordinary_user", cpu::vfork_for_nobody),
    ("busy_and_nobody_waits", cpu::busy),
    ("busy_server_beside_a_harmless_hog", disk::busy),
    ("backup_that_hurts_nobody", cpu::harmless_backup),
    ("idle_host", cpu::idle),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    if let Some(role) = arguments.get(1).and_then(|first| first.strip_prefix("role=")) {
        actor::play(role, &arguments[2..]);
    }
    stage::clear_up_on_signals();
    let trial = |(name, scene)| Trial::test(name, move || look::hold_to_the_truth(name, scene));
    let mut arguments = Arguments::from_args();
    // Each of them wants the host for itself.
    arguments.test_threads = Some(1);
    let conclusion = libtest_mimic::run(&arguments, SCENES.into_iter().map(trial).collect());
    look::print_table();
    conclusion.exit_code()
}
