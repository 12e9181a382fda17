//! What an action without a screen would do, and what became of it: text for people, JSON for programs (schema 1: names and meanings
//! stay, new fields may be added; `null` is "not known" or "not looked at").
//!
//! Every refusal and every outcome is one sentence that says what to do instead. Tested by `tests/act/headless.rs` and `tests/words.rs`.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::action::{Action, Aim, Hit, Landing, Outcome, Still, Subject};
use crate::analysis::diagnosis::Diagnosis;
use crate::landing;
use crate::proof::{Proof, Shown};
use crate::recovery::Recovery;
use crate::site::Condition;
use crate::units::{Pid, ProcessId, clean};

/// The version of the contract.
const SCHEMA: u32 = 1;

/// What would be done.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The job's identity; empty where none was found.
    pub job: String,
    /// Its name.
    pub name: String,
    /// What.
    pub action: String,
    /// What it does here.
    pub does: String,
    /// Why it cannot be done.
    pub why_not: Option<String>,
    /// What to beware of.
    pub beware: Vec<String>,
    /// What has to be typed first, and why.
    pub confirm: Option<(String, String)>,
    /// Its processes: number, user, command line, and why it is not hit.
    pub processes: Vec<(Pid, Option<String>, String, Option<String>)>,
}

/// What became of it.
#[derive(Clone, Debug)]
pub struct Done {
    /// The first answer.
    pub outcome: Outcome,
    /// Who is left of those who were told to end. `None`: nobody was, or nothing is known yet.
    pub left: Option<Landing>,
    /// What a pause has shown.
    pub proof: Option<Proof>,
    /// That the job goes on after it.
    pub gone_on: Option<Outcome>,
    /// Who waits, the load and the site, before and after. `None`: nothing was done, or it was a proof.
    pub recovery: Option<Recovery>,
    /// How the site under probe stood before a proof, and last while the suspect stood still.
    pub site: Option<(Condition, Condition)>,
    /// Why it was not watched to the end, in a sentence. `None`: it was.
    pub unseen: Option<String>,
}

impl Done {
    /// Nothing but the first answer.
    pub const fn new(outcome: Outcome) -> Self {
        Self { outcome, left: None, proof: None, gone_on: None, recovery: None, site: None, unseen: None }
    }

    /// Whether all came of it that was asked for: whoever was told to end is gone, and whoever was stopped for a proof goes on.
    pub fn is_whole(&self) -> bool {
        let all_gone = match self.outcome.action {
            // No word of them is no proof that they are gone.
            Action::End(_) => self.left.as_ref().is_some_and(|landing| landing.left.is_empty()),
            Action::StopUnit { .. } => self.recovery.as_ref().is_none_or(|recovery| recovery.alive.is_empty()),
            _ => true,
        };
        self.outcome.worked_wholly() && all_gone && self.goes_on()
    }

    /// Processes of a stopped unit that run on, by the last look. `None`: no unit was stopped, or there was no such look.
    fn outlived(&self) -> Option<&[(ProcessId, String)]> {
        let stopped = self.recovery.as_ref().filter(|recovery| matches!(recovery.outcome.action, Action::StopUnit { .. }));
        stopped.filter(|recovery| self.unseen.is_none() || recovery.alive.is_empty()).map(|recovery| &recovery.alive[..])
    }

    fn goes_on(&self) -> bool {
        self.gone_on.as_ref().is_none_or(Outcome::worked_wholly)
    }
}

impl Plan {
    /// For no job at all.
    pub fn unaimed(why: &str) -> Self {
        Self { why_not: Some(why.to_owned()), ..Self::default() }
    }

    /// For an action on what was aimed at; `only`: on these processes of it.
    pub fn of(subject: &Subject, aim: &Aim, action: &Action, only: Option<&[ProcessId]>) -> Self {
        let offer = aim.offers.offers.iter().find(|offer| {
            // The time of a proof is the caller's.
            offer.action == *action || matches!((&offer.action, action), (Action::Prove { .. }, Action::Prove { .. }))
        });
        let is_meant = |id| only.is_none_or(|only| only.contains(&id));
        let targets = aim.targets.iter().filter(|aimed| is_meant(aimed.candidate.id));
        let processes = targets.map(|aimed| {
            let candidate = &aimed.candidate;
            let refusal = aimed.check.as_ref().err().map(ToString::to_string);
            (candidate.id.pid, candidate.user.clone(), candidate.command.clone(), refusal)
        });
        let confirm = aim.offers.confirmation_for(action).map(|asked| (asked.word.clone(), asked.why.clone()));
        Self {
            job: subject.job.clone(),
            name: subject.name.clone(),
            action: action.to_string(),
            does: offer.map(|offer| offer.does.clone()).unwrap_or_default(),
            why_not: match offer {
                Some(offer) => offer.why_not.clone(),
                None => Some("it is not offered for this job".to_owned()),
            },
            beware: offer.map(|offer| offer.beware.clone()).unwrap_or_default(),
            confirm,
            processes: processes.collect(),
        }
    }
}

/// What would be done, for whoever is asked.
pub fn plan_text(plan: &Plan) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", plan.name, plan.action);
    let _ = writeln!(out, "  {}", plan.does);
    for (pid, user, command, refusal) in &plan.processes {
        let user = user.as_deref().unwrap_or("-");
        let not = refusal.as_ref().map(|why| format!("  (not: {why})")).unwrap_or_default();
        let _ = writeln!(out, "  {pid:>7} {user:<10} {command}{not}");
    }
    for beware in &plan.beware {
        let _ = writeln!(out, "  ! {beware}");
    }
    if let Some((word, why)) = &plan.confirm {
        let _ = writeln!(out, "  ! {why}: it takes --confirm {word}");
    }
    out
}

/// What became of it. `diagnosis`: it knows what those wait for who are still there.
pub fn done_text(done: &Done, diagnosis: &Diagnosis) -> String {
    let mut out = format!("{}\n", done.outcome);
    if let Some(left) = &done.left {
        let _ = writeln!(out, "{}", landing::sentence(left, Some(diagnosis)));
    }
    for (id, name) in done.outlived().unwrap_or_default() {
        let _ = writeln!(out, "{name} {} still runs", id.pid);
    }
    if let Some(gone_on) = &done.gone_on {
        let _ = writeln!(out, "{gone_on}");
    }
    if done.outcome.action == Action::Pause && done.outcome.worked() {
        let _ = writeln!(out, "{} lets it go on", resume(&done.outcome.id));
    }
    if let Some(proof) = &done.proof {
        let _ = writeln!(out, "{}", proof.sentence());
    }
    if let Some((before, during)) = &done.site {
        let _ = writeln!(out, "site: {} → {} while it stood still", before.words, during.words);
    }
    if let Some(recovery) = done.recovery.as_ref().filter(|recovery| recovery.elapsed > 0.0 || recovery.is_wanted()) {
        let _ = writeln!(out, "{}", recovery.sentence());
    }
    if let Some(unseen) = &done.unseen {
        let _ = writeln!(out, "{unseen}");
    }
    out
}

/// The command that lets a job go on: `whytop resume --job 'tree:4711@9'`
pub fn resume(job: &str) -> String {
    format!("whytop resume --job '{}'", clean(job).replace('\'', r"'\''"))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    action: &'a str,
    job: Option<&'a str>,
    name: Option<&'a str>,
    /// `planned`, `done`, `partly`, `refused`.
    result: &'static str,
    /// One sentence.
    message: String,
    does: &'a str,
    beware: &'a [String],
    confirm: Option<&'a str>,
    processes: Vec<ProcessOut<'a>>,
    late: usize,
    notes: Vec<&'a str>,
    left: Option<Vec<LeftOut>>,
    proof: Option<ProofOut>,
    /// Of every action that was done but a proof.
    recovery: Option<RecoveryOut>,
}

/// Who waits for what the job took, before and after: averages over the last two seconds.
#[derive(Serialize)]
struct RecoveryOut {
    /// For how long it was watched; 0: only the numbers of before are known.
    watched_s: f64,
    /// When they waited no longer.
    recovered_after_s: Option<f64>,
    /// `disk`, `cpu`, …: what is short.
    short: &'static str,
    waiting_before: f64,
    waiting_after: Option<f64>,
    /// The one-minute average, which follows slowly.
    load_before: Option<f64>,
    load_after: Option<f64>,
    victims: Vec<VictimOut>,
    site: Option<SiteOut>,
    sentence: String,
}

#[derive(Serialize)]
struct VictimOut {
    job: String,
    name: String,
    waiting_before: f64,
    waiting_after: Option<f64>,
}

/// The site of `--probe` at two instants: whether it answers as it should, and how.
#[derive(Serialize)]
struct SiteOut {
    well_before: Option<bool>,
    before: String,
    /// `after`: after the action; of a proof while the suspect stood still.
    well_after: Option<bool>,
    after: String,
}

#[derive(Serialize)]
struct ProcessOut<'a> {
    pid: Pid,
    user: Option<&'a str>,
    command: &'a str,
    /// Whether it is, or was, hit.
    hit: bool,
    why_not: Option<String>,
}

#[derive(Serialize)]
struct LeftOut {
    pid: Pid,
    name: String,
    /// `runs`, `ignores`, `blocks`, `pending`, `stopped`, `zombie`.
    state: &'static str,
    words: String,
}

#[derive(Serialize)]
struct ProofOut {
    /// `cause`, `part`, `not_the_cause`, `nothing`.
    shown: &'static str,
    waiting_before: f64,
    waiting_during: Option<f64>,
    /// Before the suspect came.
    waiting_earlier: Option<f64>,
    /// What they got of what is short, bytes a second or CPUs, before and meanwhile.
    got_before: Option<f64>,
    got_during: Option<f64>,
    site: Option<SiteOut>,
    sentence: String,
}

impl<'a> Document<'a> {
    fn of(plan: &'a Plan, result: &'static str, message: String) -> Self {
        let known = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let processes = plan.processes.iter().map(|(pid, user, command, refusal)| ProcessOut {
            pid: *pid,
            user: user.as_deref(),
            command,
            hit: refusal.is_none() && plan.why_not.is_none(),
            why_not: refusal.clone(),
        });
        Self {
            schema: SCHEMA,
            action: &plan.action,
            job: known(&plan.job),
            name: known(&plan.name),
            result,
            message,
            does: &plan.does,
            beware: &plan.beware,
            confirm: plan.confirm.as_ref().map(|(word, _)| word.as_str()),
            processes: processes.collect(),
            late: 0,
            notes: Vec::new(),
            left: None,
            proof: None,
            recovery: None,
        }
    }

    fn print(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map(|text| text + "\n").context("put the outcome into JSON")
    }
}

/// What would be done, for a program.
pub fn plan_json(plan: &Plan) -> Result<String> {
    let message = format!("{} {}", plan.name, plan.does);
    Document::of(plan, "planned", message).print()
}

/// Why nothing is done, for a program.
pub fn refused_json(plan: &Plan, why: &str) -> Result<String> {
    let mut document = Document::of(plan, "refused", why.to_owned());
    for process in &mut document.processes {
        process.hit = false;
    }
    document.print()
}

/// What became of it, for a program.
pub fn done_json(plan: &Plan, done: &Done, diagnosis: &Diagnosis) -> Result<String> {
    let outcome = &done.outcome;
    let result = match (outcome.worked(), done.is_whole()) {
        (_, true) => "done",
        (true, false) => "partly",
        (false, _) => "refused",
    };
    let failed = done.gone_on.as_ref().filter(|_| !done.goes_on());
    let message = failed.map_or_else(|| outcome.to_string(), |gone_on| format!("{outcome}; {gone_on}"));
    let mut document = Document::of(plan, result, message);
    document.processes = outcome.hits.iter().map(|hit| hit_out(plan, hit)).collect();
    document.late = outcome.late;
    document.notes = outcome.notes.iter().chain(&done.unseen).map(String::as_str).collect();
    document.left = match outcome.action {
        Action::StopUnit { .. } => done.outlived().map(|outlived| outlived.iter().map(runs_out).collect()),
        _ => done.left.as_ref().map(|landing| left_out(landing, diagnosis)),
    };
    document.recovery = done.recovery.as_ref().map(recovery_out);
    document.proof = done.proof.as_ref().map(|proof| ProofOut {
        shown: match proof.shown() {
            Shown::Cause => "cause",
            Shown::Part => "part",
            Shown::NotTheCause => "not_the_cause",
            Shown::Nothing(_) => "nothing",
        },
        waiting_before: proof.waiting_before,
        waiting_during: proof.waiting_during(),
        waiting_earlier: proof.waiting_earlier(),
        got_before: proof.gets().map(|(before, _)| before),
        got_during: proof.gets().map(|(_, during)| during),
        site: done.site.as_ref().map(|(before, during)| site_out(before, during)),
        sentence: proof.sentence(),
    });
    document.print()
}

fn recovery_out(recovery: &Recovery) -> RecoveryOut {
    let is_seen = recovery.elapsed > 0.0;
    let victims = recovery.victims.iter().filter(|victim| victim.before.waiting > 0.0 || victim.now.waiting > 0.0);
    RecoveryOut {
        watched_s: recovery.elapsed,
        recovered_after_s: recovery.recovered_after,
        short: recovery.short.name(),
        waiting_before: recovery.waiting_before,
        waiting_after: is_seen.then_some(recovery.waiting_now),
        load_before: recovery.load_before,
        load_after: recovery.load_now.filter(|_| is_seen),
        victims: victims
            .map(|victim| VictimOut {
                job: victim.job.to_string(),
                name: victim.name.clone(),
                waiting_before: victim.before.waiting,
                waiting_after: is_seen.then_some(victim.now.waiting),
            })
            .collect(),
        site: recovery.site.as_ref().map(|site| site_out(&site.before, &site.now)),
        sentence: recovery.sentence(),
    }
}

fn site_out(before: &Condition, after: &Condition) -> SiteOut {
    SiteOut { well_before: before.well, before: before.words.clone(), well_after: after.well, after: after.words.clone() }
}

fn runs_out((id, name): &(ProcessId, String)) -> LeftOut {
    LeftOut { pid: id.pid, name: name.clone(), state: "runs", words: format!("{name} {} still runs", id.pid) }
}

fn hit_out<'a>(plan: &'a Plan, hit: &'a Hit) -> ProcessOut<'a> {
    let known = plan.processes.iter().find(|(pid, ..)| *pid == hit.id.pid);
    ProcessOut {
        pid: hit.id.pid,
        user: known.and_then(|(_, user, ..)| user.as_deref()),
        command: known.map_or(hit.name.as_str(), |(_, _, command, _)| command),
        hit: hit.result.is_ok(),
        why_not: hit.result.as_ref().err().map(ToString::to_string),
    }
}

fn left_out(landing: &Landing, diagnosis: &Diagnosis) -> Vec<LeftOut> {
    let state = |still: &Still| match still {
        Still::Runs => "runs",
        Still::Ignores => "ignores",
        Still::Blocks => "blocks",
        Still::Pending { .. } => "pending",
        Still::Stopped => "stopped",
        Still::Zombie { .. } => "zombie",
    };
    let left = landing.left.iter();
    left.map(|remaining| LeftOut {
        pid: remaining.id.pid,
        name: remaining.name.clone(),
        state: state(&remaining.still),
        words: landing::of_one(remaining, landing, Some(diagnosis)),
    })
    .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use crate::action::{Refusal, Signal};

    fn outcome(action: Action, result: Result<(), Refusal>) -> Outcome {
        let hit = Hit { id: ProcessId { pid: 4711, start: 9 }, name: "tar".to_owned(), result };
        let at = "2026-03-14T14:27:31Z".parse().unwrap();
        Outcome { hits: vec![hit], ..Outcome::new(1, at, &Subject::default(), action) }
    }

    #[test]
    fn a_proof_after_which_the_job_stands_still_is_not_all_done() {
        let proven = |went_on| Done {
            gone_on: Some(outcome(Action::Resume, went_on)),
            ..Done::new(outcome(Action::Prove { seconds: 10 }, Ok(())))
        };
        assert!(proven(Ok(())).is_whole());
        assert!(!proven(Err(Refusal::NotPermitted)).is_whole());
    }

    #[test]
    fn no_word_of_the_dying_is_no_word_of_their_end() {
        let done = Done::new(outcome(Action::End(Signal::Kill), Ok(())));
        assert!(!done.is_whole());
    }
}
