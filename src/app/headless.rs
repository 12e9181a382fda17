//! Acting without a screen, for scripts and runbooks: the same aim, the same guards, the same hands.
//!
//! Looks for a second, says what would be done, asks (or refuses to do it unasked), orders, and prints what became of it. Answers 0
//! where all was done, 1 where it was refused or done in part. Tested by `tests/act/headless.rs`.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::note::{landed, shown};
use super::once;
use crate::act::{Armed, Hand, Tools, Worker};
use crate::action::{Action, Aim, Confirmation, Landing, Offers, Order, Outcome, Report, Standing, Subject};
use crate::analysis::diagnosis::Diagnosis;
use crate::cli::{Act, Cli, Manner};
use crate::grounds::Grounds;
use crate::kernel::WatchedReader;
use crate::monitor::Monitor;
use crate::proof::Proof;
use crate::report::{self, Plan};
use crate::subject;
use crate::trace::{Entry, Places, Trace};
use crate::units::ProcessId;

/// For how long systemd and cron's tables are waited for before the rest is enough.
const SURVEY: Duration = Duration::from_secs(5);
/// For how long those who were told to end are watched: most need milliseconds, and whoever needs longer is named.
const LANDING: Duration = Duration::from_secs(3);
/// Longer than any order takes that is answered at all (`systemctl stop` has 100 s).
const ANSWER: Duration = Duration::from_mins(2);
/// From one look to the next while a proof runs.
const LOOK: Duration = Duration::from_secs(1);
/// There is one order here.
const TICKET: u64 = 1;

/// Done, all of it.
const DONE: u8 = 0;
/// Refused, or done in part.
const REFUSED: u8 = 1;

/// Does what is asked; answers the exit code.
pub fn run(mut reader: WatchedReader, mut monitor: Monitor, cli: &Cli, act: &Act) -> Result<u8> {
    let manner = act.manner();
    let facts = reader.facts()?;
    let before = once::look(&mut reader, &mut monitor)?;
    let (reports, inbox) = channel();
    let places = Places::usual(cli.trace.as_deref());
    let tools = Tools { trace: Some(places.file.clone()), ..Tools::of_this_host() };
    let worker = Worker::start(tools, move |report| {
        // Whoever listens may have heard enough.
        let _ = reports.send(report);
    });
    let subject = match find(act, &before, &inbox) {
        Ok(subject) => subject,
        Err(why) => return refuse(&Plan::unaimed(&why), &why, manner),
    };
    let action = action_of(act, &subject);
    let mut hand = Hand::new(facts.own_pid.is_some());
    let mut aim = hand.aim(&subject);
    worker.survey(subject.clone(), aim.clone());
    if let Some(offers) = surveyed(&inbox) {
        aim.offers = offers;
    }
    let only = match picked(act, &aim) {
        Ok(only) => only,
        Err(why) => return refuse(&Plan::unaimed(&why), &why, manner),
    };
    let plan = Plan::of(&subject, &aim, &action, only.as_deref());
    if let Some(why) = &plan.why_not {
        return refuse(&plan, why, manner);
    }
    if manner.dry_run {
        once::print(&if manner.json { report::plan_json(&plan)? } else { report::plan_text(&plan) })?;
        return Ok(DONE);
    }
    let confirmed = match agreed(&plan, aim.offers.confirmation_for(&action), manner)? {
        Ok(confirmed) => confirmed,
        Err(why) => return refuse(&plan, &why, manner),
    };
    let Some(armed) = hand.arm() else { bail!("nothing is held to act on") };
    let order = Order { ticket: TICKET, action: action.clone(), only, confirmed };
    let trace = Trace::start(places, |_| ());
    trace.note(Entry::asked(Timestamp::now(), &order, &aim, Grounds::of(&subject.job, Some(&before), None)));
    let mut watching = Watching { reader, monitor, before, subject: &subject };
    let done = carry_out(&worker, &inbox, armed, order, &mut watching)?;
    trace.note(Entry::result(&done.outcome));
    if let Some(gone_on) = &done.gone_on {
        trace.note(Entry::result(gone_on));
    }
    if let Some(left) = &done.left {
        trace.note(landed(left));
    }
    if let Some(proof) = &done.proof {
        trace.note(shown(Timestamp::now(), TICKET, proof));
    }
    drop(worker);
    once::print(&if manner.json {
        report::done_json(&plan, &done, &watching.before)?
    } else {
        report::done_text(&done, &watching.before)
    })?;
    if let Some(words) = trace.finish() {
        writeln!(anstream::stderr().lock(), "whytop: {words}").context("write to standard error")?;
    }
    Ok(if done.is_whole() { DONE } else { REFUSED })
}

fn action_of(act: &Act, subject: &Subject) -> Action {
    match act {
        Act::Kill { signal, .. } => Action::End(*signal),
        Act::Pause { .. } => Action::Pause,
        Act::Resume { .. } => Action::Resume,
        Act::Prove { seconds, .. } => Action::Prove { seconds: *seconds },
        Act::Deprioritise { .. } => Action::Deprioritise,
        Act::Undo { .. } => Action::Undo,
        Act::StopUnit { .. } => Action::StopUnit { unit: subject.unit.clone().unwrap_or_default() },
        Act::Thaw { mount, .. } => Action::Thaw { mount: mount.clone() },
    }
}

/// The job that is meant, on this very look; or why there is none.
fn find(act: &Act, diagnosis: &Diagnosis, inbox: &Receiver<Report>) -> Result<Subject, String> {
    let Some(target) = act.target() else {
        let Act::Thaw { mount, .. } = act else { return Err("no job is named".to_owned()) };
        // A filesystem belongs to no job. Which ones are frozen is known from whoever waits for them.
        let frozen = subject::frozen(diagnosis, None);
        if !frozen.mounts.contains(mount) {
            return Err(format!(
                "nobody waits for {mount} to be thawed, as far as is seen: fsfreeze --unfreeze {mount} thaws it all the same"
            ));
        }
        return Ok(Subject { name: mount.clone(), frozen, ..Subject::default() });
    };
    if let Some(id) = &target.whom.job {
        return of_job(diagnosis, id).or_else(|why| standing(inbox, id).ok_or(why));
    }
    let culprit = diagnosis.verdict.worst.culprit.as_ref();
    let culprit = culprit.ok_or_else(|| format!("nobody is to blame right now ({})", diagnosis.verdict.worst.headline))?;
    of_job(diagnosis, culprit.as_str())
}

fn of_job(diagnosis: &Diagnosis, id: &str) -> Result<Subject, String> {
    let job = diagnosis.jobs.iter().find(|job| job.facts.id.as_str() == id);
    let job = job.ok_or_else(|| format!("there is no job {id} (any more): whytop once --json lists those there are"))?;
    Ok(subject::of(diagnosis, &job.facts.id, &job.facts.name, &[]))
}

/// A job that was acted on before, whose processes may bear other names by now.
fn standing(inbox: &Receiver<Report>, id: &str) -> Option<Subject> {
    let deadline = Instant::now() + SURVEY;
    let mut all: Vec<Standing> = Vec::new();
    while let Ok(report) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Report::Standing(standing) = report {
            all = standing;
            break;
        }
    }
    all.iter().find(|standing| standing.job == id).map(Subject::of_standing)
}

/// What each action would do, as fully as it is known within the time.
fn surveyed(inbox: &Receiver<Report>) -> Option<Offers> {
    let deadline = Instant::now() + SURVEY;
    let mut known = None;
    while let Ok(report) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Report::Offers(offers) = report {
            let complete = offers.complete;
            known = Some(offers);
            if complete {
                break;
            }
        }
    }
    known
}

/// The processes that were picked inside the job. `None`: all.
fn picked(act: &Act, aim: &Aim) -> Result<Option<Vec<ProcessId>>, String> {
    let Some(target) = act.target().filter(|target| !target.only.is_empty()) else { return Ok(None) };
    let find = |pid: &i32| {
        let found = aim.targets.iter().find(|aimed| aimed.candidate.id.pid == *pid).map(|aimed| aimed.candidate.id);
        found.ok_or_else(|| format!("{pid} is no process of {}", aim.job))
    };
    target.only.iter().map(find).collect::<Result<Vec<_>, _>>().map(Some)
}

/// What was typed, if anything had to be; or why nothing is done.
fn agreed(plan: &Plan, asked: Option<&Confirmation>, manner: &Manner) -> Result<Result<Option<String>, String>> {
    if let Some(asked) = asked.filter(|asked| !asked.is_met_by(manner.confirm.as_deref())) {
        if manner.yes || !stdin().is_terminal() {
            return Ok(Err(format!("{}: --confirm {} does it all the same", asked.why, asked.word)));
        }
        let typed = ask(plan, &format!("{asked}: "))?;
        let met = asked.is_met_by(Some(&typed));
        return Ok(if met { Ok(Some(typed)) } else { Err("that is not the word: nothing was done".to_owned()) });
    }
    if manner.yes {
        return Ok(Ok(manner.confirm.clone()));
    }
    if !stdin().is_terminal() {
        return Ok(Err("nobody is there to be asked: --yes does it unasked, --dry-run says what it would do".to_owned()));
    }
    let typed = ask(plan, "Do it? [y/N] ")?;
    let yes = matches!(typed.to_ascii_lowercase().as_str(), "y" | "yes");
    Ok(if yes { Ok(manner.confirm.clone()) } else { Err("nothing was done".to_owned()) })
}

/// Shows the plan beside the answer's own channel, and reads a line.
fn ask(plan: &Plan, question: &str) -> Result<String> {
    let mut terminal = stderr().lock();
    write!(terminal, "{}{question}", report::plan_text(plan)).and_then(|()| terminal.flush()).context("ask")?;
    let mut line = String::new();
    stdin().lock().read_line(&mut line).context("read the answer")?;
    Ok(line.trim().to_owned())
}

fn refuse(plan: &Plan, why: &str, manner: &Manner) -> Result<u8> {
    if manner.json {
        once::print(&report::refused_json(plan, why)?)?;
    } else {
        writeln!(anstream::stderr().lock(), "whytop: refused: {why}").context("write to standard error")?;
    }
    Ok(REFUSED)
}

/// Looks while an order is carried out.
struct Watching<'a> {
    reader: WatchedReader,
    monitor: Monitor,
    before: Diagnosis,
    subject: &'a Subject,
}

fn carry_out(
    worker: &Worker,
    inbox: &Receiver<Report>,
    armed: Armed,
    order: Order,
    watching: &mut Watching<'_>,
) -> Result<report::Done> {
    let (action, picked) = (order.action.clone(), order.only.is_some());
    worker.order(armed, order);
    let outcome = outcome_of(inbox, ANSWER)?;
    let mut done = report::Done { outcome, left: None, proof: None, gone_on: None };
    if !done.outcome.worked() {
        return Ok(done);
    }
    match action {
        Action::End(_) => done.left = landing(inbox),
        Action::Prove { seconds } => {
            let (proof, gone_on) = prove(inbox, &done.outcome, picked, seconds, watching)?;
            (done.proof, done.gone_on) = (proof, Some(gone_on));
        }
        _ => {}
    }
    Ok(done)
}

fn outcome_of(inbox: &Receiver<Report>, patience: Duration) -> Result<Outcome> {
    let deadline = Instant::now() + patience;
    loop {
        match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Report::Outcome(outcome)) => return Ok(outcome),
            Ok(_) => {}
            Err(_) => bail!("no answer within {} s: look with whytop once what became of it", patience.as_secs()),
        }
    }
}

/// Who is left. `None`: nobody has told yet.
fn landing(inbox: &Receiver<Report>) -> Option<Landing> {
    let deadline = Instant::now() + LANDING;
    let mut last = None;
    while let Ok(report) = inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        if let Report::Landing(landing) = report {
            let over = landing.left.is_empty();
            last = Some(landing);
            if over {
                break;
            }
        }
    }
    last
}

/// Looks once a second until the suspect goes on.
fn prove(
    inbox: &Receiver<Report>,
    stopped: &Outcome,
    picked: bool,
    seconds: u32,
    watching: &mut Watching<'_>,
) -> Result<(Option<Proof>, Outcome)> {
    let job = watching.before.jobs.iter().map(|job| &job.facts.id).find(|id| id.as_str() == watching.subject.job);
    let mut proof = job.map(|job| Proof::begin(job.clone(), stopped, picked, seconds, &watching.before));
    let patience = Instant::now() + Duration::from_secs(seconds.into()) + ANSWER;
    loop {
        let begun = Instant::now();
        let now = watching.monitor.ingest(watching.reader.sample()?);
        if let Some(proof) = &mut proof {
            proof.observe(&now);
        }
        match inbox.recv_timeout(LOOK.saturating_sub(begun.elapsed())) {
            Ok(Report::Outcome(outcome)) => {
                if let Some(proof) = &mut proof {
                    proof.end(outcome.at);
                }
                return Ok((proof, outcome));
            }
            Ok(_) => thread::sleep(LOOK.saturating_sub(begun.elapsed())),
            Err(RecvTimeoutError::Timeout) if Instant::now() < patience => {}
            Err(_) => bail!("no word that the job goes on: whytop resume --job {}", watching.subject.job),
        }
    }
}
