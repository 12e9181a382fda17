//! The analysis on written scenarios: each file in `tests/scenarios/` describes a host in compact rows and what whytop must
//! say of it. The rows are turned into samples (counters that grow at the given rates) and feed the monitor, so the whole way
//! from sample to verdict is under test.
//!
//! ```text
//! about = "one line"          cpus = 2           busy = 1.9 (CPUs in use; default: what the rows use), idle = 0.0 (default: the rest)
//! seconds = 3.2, step = 1.0   samples at 0, 0.2, 1.2, 2.2, ...
//! ordinary_user, stolen = part of a CPU's time that its clock does not count         io_pressure, memory_pressure = percent     memory_mb = 8000 (memory_free_mb can be had)     own = 700 (the pid of whytop)
//! changes = 2                 the verdict turns at most so often (severity, culprit)
//! device = ["sda", "sda1 < sda", "dm-0 < sda1", "loop0 @ /img"]          what is stacked on what
//! mount = ["/ dm-0", "/nas nas:/x nfs4", "/m overlay overlay upper=/d"]  point, device or source, type (ext4), upper directory
//!
//! [[disk]]                    its counters: what the rows move, and read_mb, write_mb (a second) beside them
//! name, util (0 to 1), during = [from, to]
//!
//! [[process]]                 init and the launchers of `under` are added
//! pid, comm, argv             or cmd = "words", comm after the first
//! parent, group, session, tty, user, cgroup, kernel (a kernel thread)
//! unit = "nginx"              cgroup of that service         under = "cron" or "shell"
//! age, ends                   seconds it is older than the first sample; gone from this second on
//! cpu, wait                   CPUs in use, run delay in seconds a second         runs_during = [from, to]
//! read_mb, write_mb           a second, on `disk` (the first)                    moves_during = [from, to]
//! io_hidden, files = ["r /a", "w /b @/mount/point"], resident_mb, grows_mb (a second), shared_mb (beside it), stopped
//! runnable, stuck             tasks, or one number for each sample, over and over; stuck_during = [from, to]
//! wchan or stack = "innermost first", call = "pread64", on = "/file", stuck_for = seconds before the first sample
//! storm = 200, lives = 0.04   so many children a second, which live so long and use its `cpu` and `wait`
//!
//! [[cgroup]]                  what the control group of a unit, or at a path, says of it
//! unit or path, on, read_mb, write_mb a second, on a device; partly: version 1 does not count all of it
//! cpu, io, memory             parts of the time in which it was held up
//! throttled, limited          seconds a second at its own CPU limit, times a second at its own memory limit
//! most_mb, memory_mb          what it may move a second on that device, each way, and hold
//!
//! [expect]                    or [[expect]] for parts of the time: at every sample from `by` (the last) to `until`
//! severity, resource, device, culprit, also, victims, others = ["disk sdb tar"], backup, since (second): "" stands for none
//! evidence, unproven          parts of its lines, and what is in none        headline, unsaid            parts that are in it, and that are not        confidence = [from, to]
//! waits = [{ job, tasks, call, meaning, path, device, mount, longest (at the first sample), exact }]
//! account = { nginx = 12.0, before = 0.0 }, unseen = 0.4 (at most): the ledger; always: kernel threads in D
//! really = "one|other"        who it is, where whytop cannot know, or may name either
//! [[expect.job]]              name, pids, root, kind, launched_by, unit, tool, same_identity
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "scenarios/calibration.rs"]
mod calibration;
#[path = "scenarios/expect.rs"]
mod expect;
#[path = "scenarios/format.rs"]
mod format;
#[path = "scenarios/ledger.rs"]
mod ledger;
#[path = "scenarios/play.rs"]
mod play;
#[path = "scenarios/properties.rs"]
mod properties;

use expect::{changes, culprit, differences};
use play::Play;

#[test]
fn every_scenario_is_told_rightly() {
    let scenarios = format::all();
    let mut failures = Vec::new();
    for scenario in &scenarios {
        let name = format!("{} ({})", scenario.name, scenario.about);
        let diagnoses = Play::new(scenario, None).run();
        for (from, until, expect) in scenario.phases() {
            let judged: Vec<_> = diagnoses.iter().filter(|(second, _)| (from..=until).contains(second)).collect();
            assert!(!judged.is_empty(), "{name}: nothing judged");
            for (second, diagnosis) in judged {
                let wrong = differences(expect, *second, diagnosis, &diagnoses[0].1);
                if !wrong.is_empty() {
                    let said = &diagnosis.verdict.worst.headline;
                    failures.push(format!("{name} at {second} s, {said:?}:\n    {}", wrong.join("\n    ")));
                }
            }
        }
        let turns = changes(&diagnoses);
        if scenario.changes.is_some_and(|most| turns > most) {
            let told = |(_, diagnosis): &(f64, _)| culprit(diagnosis);
            let told: Vec<String> = diagnoses.iter().map(told).collect();
            failures.push(format!("{name}: turns {turns} times: {told:?}"));
        }
    }
    assert!(failures.is_empty(), "{} failures in {} scenarios:\n{}", failures.len(), scenarios.len(), failures.join("\n"));
}

#[test]
fn there_are_enough_of_them() {
    let scenarios = format::all();
    assert!(scenarios.len() >= 70, "{}", scenarios.len());
    let told = |what: &str| {
        scenarios
            .iter()
            .flat_map(format::Scenario::phases)
            .filter(|(.., expect)| expect.resource.as_deref() == Some(what))
            .count()
    };
    for resource in ["cpu", "disk", "frozen_filesystem", "network_filesystem", "memory", "lock", "none"] {
        assert!(told(resource) > 0, "none about {resource}");
    }
}
