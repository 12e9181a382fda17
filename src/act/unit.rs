//! What systemd says of a job's unit: whether it brings it back, and what else starts it; and stopping it.
//!
//! Asked through `systemctl`, which is the interface that stays the same from version to version. Tested by `tests/act/units.rs` with a
//! made-up `systemctl`.

use std::collections::HashMap;
use std::time::Duration;

use super::run;
use super::survey::Tools;
use crate::units::clean;

/// For how long a question may take. systemd answers in milliseconds unless the host is very sick.
const ANSWER: Duration = Duration::from_secs(2);
/// For how long stopping may take before whoever asked is told that it goes on: systemd's own patience before SIGKILL is 90 s.
const STOP: Duration = Duration::from_secs(100);

/// What systemd says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// On what it starts the unit again by itself. `None`: never.
    pub restart: Option<String>,
    /// What else starts it, each a sentence.
    pub triggers: Vec<String>,
    /// Why it cannot be stopped by hand.
    pub why_not: Option<String>,
}

/// Asks for the unit. What is not answered is not known.
pub fn ask(unit: &str, tools: &Tools) -> UnitFacts {
    let facts = match show(unit, "LoadState,Restart,TriggeredBy,RefuseManualStop", tools) {
        Ok(facts) => facts,
        Err(why) => return UnitFacts { why_not: Some(format!("{why}; end the job instead")), ..UnitFacts::default() },
    };
    let fact = |name: &str| facts.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let why_not = match (fact("LoadState"), fact("RefuseManualStop")) {
        (Some("not-found"), _) => Some(format!("systemd knows no {unit}: end the job instead")),
        (_, Some("yes")) => Some(format!("{unit} refuses to be stopped by hand: end the job instead")),
        _ => None,
    };
    let triggers = fact("TriggeredBy").unwrap_or_default().split_whitespace().map(|by| trigger(by, tools)).collect();
    UnitFacts { restart: fact("Restart").filter(|restart| *restart != "no").map(clean), triggers, why_not }
}

/// `nightly.timer starts it again at Sun 2026-11-29 02:00:00 UTC, unless that is stopped too: systemctl stop nightly.timer.`
fn trigger(unit: &str, tools: &Tools) -> String {
    let name = clean(unit);
    let remedy = format!("unless that is stopped too: systemctl stop {name}");
    match unit.rsplit_once('.').map(|(_, kind)| kind) {
        Some("timer") => {
            let facts = show(unit, "NextElapseUSecRealtime,NextElapseUSecMonotonic", tools).unwrap_or_default();
            let next = |name: &str| facts.get(name).filter(|text| !text.is_empty() && *text != "infinity");
            let when = next("NextElapseUSecRealtime").map(|at| format!(" at {}", clean(at)));
            let when = when.or_else(|| next("NextElapseUSecMonotonic").map(|up| format!(" {} after boot", clean(up))));
            format!("{name} starts it again{}, {remedy}.", when.unwrap_or_default())
        }
        Some("socket") => format!("{name} starts it again when somebody connects, {remedy}."),
        Some("path") => format!("{name} starts it again when a file changes, {remedy}."),
        _ => format!("{name} starts it again, {remedy}."),
    }
}

/// Properties of a unit, by name.
fn show(unit: &str, properties: &str, tools: &Tools) -> Result<HashMap<String, String>, String> {
    // `--` keeps a unit whose name begins with a dash from being an option.
    let text = run::run("systemctl", &["show", "--no-pager", "-p", properties, "--", unit], &tools.search, ANSWER)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

/// Stops it. Blocks until systemd says that it has stopped.
pub fn stop(unit: &str, tools: &Tools) -> Result<(), String> {
    run::run("systemctl", &["stop", "--no-ask-password", "--", unit], &tools.search, STOP).map(|_| ())
}
