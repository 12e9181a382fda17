//! Looks at a scene: with the program itself, with one that has been watching, and as often as is asked for.

use std::env;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use super::Scene;
use super::others::Others;
use super::stage::{PATIENCE, Stage, go_on};
use super::truth::Truth;

/// So often is each scene made anew, when this is set in the environment.
const RUNS: &str = "WHYTOP_LIVE_RUNS";
/// An answer is promised within this time, from the start of the program.
const PROMISED: Duration = Duration::from_secs(2);
/// And from one that runs already within two of its looks, a second each and a twentieth more: the trouble begins right after a look here.
const NOTICED: Duration = Duration::from_millis(2200);
/// Right answers of so many: 19 of 20.
const RIGHT: (usize, usize) = (19, 20);

/// One line of the table.
struct Row {
    scene: &'static str,
    right: usize,
    asked: usize,
    /// From the start of the program to its answer.
    answered: Vec<Duration>,
    /// From the beginning of the trouble to the first right verdict of a whytop that runs.
    noticed: Vec<Duration>,
}

/// What many runs came to.
static TABLE: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Makes the scene, and has whytop tell what is true of it.
pub fn hold_to_the_truth(name: &'static str, scene: Scene) -> Result<(), Failed> {
    match env::var(RUNS).ok().map(|runs| runs.parse::<usize>()) {
        None => some_looks(name, scene),
        Some(Ok(runs @ 1..)) => many_runs(name, scene, runs),
        Some(_) => Err(format!("{RUNS} is no number of runs").into()),
    }
}

/// One look, and two more if it is wrong, which must both be right: hosts on which tests run have troubles of their own at times.
fn some_looks(name: &str, scene: Scene) -> Result<(), Failed> {
    let others = Others::count();
    let mut stage = Stage::new(false);
    let truth = match scene(&mut stage) {
        Ok(truth) => truth,
        Err(why) => return skip(name, &why),
    };
    let is_right = || look(&stage, &truth).judged.is_ok();
    if is_right() || (is_right() && is_right()) {
        return Ok(());
    }
    others.disturb().map_or_else(|| Err("two looks are wrong".into()), |why| skip(name, &why))
}

#[expect(clippy::unnecessary_wraps, reason = "what becomes of a scene that cannot be had")]
fn skip(name: &str, why: &str) -> Result<(), Failed> {
    println!("skipped: {name}: {why}");
    Ok(())
}

fn many_runs(name: &'static str, scene: Scene, runs: usize) -> Result<(), Failed> {
    let mut row = Row { scene: name, right: 0, asked: 0, answered: Vec::new(), noticed: Vec::new() };
    for _ in 0..runs {
        let mut stage = Stage::new(true);
        let truth = match scene(&mut stage) {
            Ok(truth) => truth,
            Err(why) => return skip(name, &why),
        };
        let look = look(&stage, &truth);
        row.asked += 1;
        row.answered.push(look.took);
        let (noticed, before) = stage.noticed(|answer| truth.judge(answer));
        let in_time = look.took < PROMISED && noticed.is_some_and(|noticed| noticed < NOTICED);
        row.right += usize::from(look.judged.is_ok() && in_time);
        println!(
            "    {} the one that watches was right after {noticed:.2?}; before: {before:?}",
            if in_time { "and" } else { "LATE:" }
        );
        row.noticed.extend(noticed);
    }
    let enough = row.right * RIGHT.1 >= row.asked * RIGHT.0;
    let words = format!("{} of {} are right", row.right, row.asked);
    TABLE.lock().unwrap_or_else(PoisonError::into_inner).push(row);
    if enough { Ok(()) } else { Err(words.into()) }
}

/// What one look came to.
struct Look {
    judged: Result<(), String>,
    took: Duration,
}

/// Asks the program, judges its answer and says so.
fn look(stage: &Stage, truth: &Truth) -> Look {
    let start = Instant::now();
    let child = stage.whytop().args(["once", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    let took = start.elapsed();
    go_on();
    assert!(took < PATIENCE, "whytop took {took:?}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {complaint}"));
    let verdict = &answer["verdict"];
    let code = i32::from(verdict["severity"] == "contention");
    assert_eq!(output.status.code(), Some(code), "the exit code is that of {}", verdict["severity"]);
    let judged = truth.judge(&answer);
    let said = format!("{:.2} s, {}: {}", took.as_secs_f64(), verdict["severity"], verdict["headline"]);
    match &judged {
        Ok(()) => println!("    right in {said}"),
        Err(why) => println!("    WRONG in {said}: {why}\n{}", excerpt(&answer)),
    }
    Look { judged, took }
}

/// What is worth reading of a wrong answer.
fn excerpt(answer: &Value) -> String {
    let is_part = |job: &&Value| {
        job["role"] != "bystander" || ["cpu_cores", "cpu_wait_s_per_s"].iter().any(|what| job[*what].as_f64() > Some(0.1))
    };
    let mut jobs: Vec<Value> = answer["jobs"].as_array().into_iter().flatten().filter(is_part).cloned().collect();
    for job in jobs.iter_mut().filter_map(Value::as_object_mut) {
        job.retain(|key, _| !["evidence", "pids", "confidence", "started_at", "user", "container"].contains(&key.as_str()));
    }
    let parts = ["verdict", "waits", "disks", "pressure", "gaps"].map(|part| format!("      {part}: {}", answer[part]));
    format!("{}\n      jobs: {}", parts.join("\n"), Value::from(jobs))
}

/// Prints what many runs came to, if there were many.
pub fn print_table() {
    let rows = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    println!("scene                                    right/asked   answers after   a watching one tells after");
    for Row { scene, right, asked, answered, noticed } in rows.iter() {
        let (answered, told) = (median(answered), noticed.len());
        println!("{scene:40} {right:>5}/{asked:<5} {answered:>13}   {:>13} ({told}/{asked})", median(noticed));
    }
}

fn median(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get(times.len() / 2).map_or("n/a".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
