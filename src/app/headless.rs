//! Acting without a screen, for scripts and runbooks: the same aim, the same guards, the same hands.
//!
//! Looks for a second, says what would be done, asks (or refuses to do it unasked), orders, watches some seconds where somebody waits for
//! the job, and prints what became of it. Answers 0 where all was done, 1 where it was refused or done in part. Tested by
//! `tests/act/headless.rs` and `tests/outage.rs`.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::note::{landed, shown};
use super::once;
use super::probed::Probed;
use crate::act::{Hand, Tools, Worker};
use crate::action::{Action, Aim, Confirmation, Offers, Order, Outcome, Report, Standing, Subject};
use crate::analysis::diagnosis::{Diagnosis, JobId, WaitGroup};
use crate::cli::{Act, Cli, Manner};
use crate::grounds::Grounds;
use crate::kernel::WatchedReader;
use crate::monitor::Monitor;
use crate::proof::Proof;
use crate::recovery::Recovery;
use crate::report::{self, Plan};
use crate::site::Condition;
use crate::subject;
use crate::trace::{Entry, Places, Trace};
use crate::units::ProcessId;

/// For how long systemd and cron's tables are waited for before the rest is enough.
const SURVEY: Duration = Duration::from_secs(5);
/// For how long those who were told to end are watched: most need milliseconds, and whoever needs longer is named.
const LANDING: Duration = Duration::from_secs(3);
/// Longer than any order takes that is answered at all (`systemctl stop` has 100 s).
const ANSWER: Duration = Duration::from_mins(2);
/// For how long it is watched whether others wait no longer: the numbers are averages over three seconds, and two looks must agree. A
/// script that ends what nobody waits for is not kept.
const WATCH: Duration = Duration::from_secs(6);
/// From one look to the next while a proof runs, or what came of an action is watched.
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
    let mut probed = cli.probe.clone().map(Probed::again).transpose()?;
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
    let trace = Trace::start(places, |_| ());
    let mut asked = Asked { order: Order::whole(TICKET, action), aim, subject, trace };
    asked.order.only = match picked(act, &asked.aim) {
        Ok(only) => only,
        Err(why) => return asked.refuse(&Plan::unaimed(&why), &why, &before, manner),
    };
    let plan = Plan::of(&asked.subject, &asked.aim, &asked.order.action, asked.order.only.as_deref());
    if manner.dry_run && plan.why_not.is_none() {
        once::print(&if manner.json { report::plan_json(&plan)? } else { report::plan_text(&plan) })?;
        return Ok(DONE);
    }
    if let Some(why) = &plan.why_not {
        return asked.refuse(&plan, why, &before, manner);
    }
    asked.order.confirmed = match agreed(&plan, asked.aim.offers.confirmation_for(&asked.order.action), manner)? {
        Ok(confirmed) => confirmed,
        Err(why) => return asked.refuse(&plan, &why, &before, manner),
    };
    let site_before = probed.as_mut().map(Probed::known);
    let Some(armed) = hand.arm() else { bail!("nothing is held to act on") };
    asked.note(&before, site_before.as_ref());
    let Asked { order, subject, trace, .. } = asked;
    let watch = manner.watch.map(|seconds| Duration::from_secs(seconds.into()));
    let mut watching = Watching { reader, monitor, before, subject: &subject, probed, site_before, watch };
    let action = order.action.clone();
    let picked = order.only.is_some();
    worker.order(armed, order);
    let mut done = report::Done::new(outcome_of(&inbox, ANSWER)?);
    trace.note(Entry::result(&done.outcome));
    match action {
        _ if !done.outcome.worked() => {}
        Action::Prove { seconds } => prove(&inbox, &mut done, picked, seconds, &mut watching)?,
        _ => watch_over(&inbox, &mut done, &mut watching),
    }
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
        // What is known of it besides its processes is old: enough to put them back, not to end them.
        let puts_back = matches!(act, Act::Resume { .. } | Act::Undo { .. });
        return of_job(diagnosis, id).or_else(|why| puts_back.then(|| standing(inbox, id)).flatten().ok_or(why));
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

/// An order that somebody gives, on what is aimed at.
struct Asked {
    order: Order,
    aim: Aim,
    subject: Subject,
    trace: Trace,
}

impl Asked {
    /// Writes down that it was asked for, and why.
    fn note(&self, before: &Diagnosis, site: Option<&Condition>) {
        let grounds = Grounds::of(&self.subject.job, Some(before), site);
        self.trace.note(Entry::asked(Timestamp::now(), &self.order, &self.aim, grounds));
    }

    /// Does nothing, and says and writes down why. Nobody acts where he only asks what would be done.
    fn refuse(self, plan: &Plan, why: &str, before: &Diagnosis, manner: &Manner) -> Result<u8> {
        if !manner.dry_run {
            self.note(before, None);
            let outcome = Outcome::new(TICKET, Timestamp::now(), &self.subject, self.order.action.clone());
            self.trace.note(Entry::result(&Outcome { error: Some(why.to_owned()), ..outcome }));
        }
        let code = refuse(plan, why, manner)?;
        // Where it cannot be written, nothing was done that is missing there.
        self.trace.finish();
        Ok(code)
    }
}

/// Looks while an order is carried out.
struct Watching<'a> {
    reader: WatchedReader,
    monitor: Monitor,
    before: Diagnosis,
    subject: &'a Subject,
    probed: Option<Probed>,
    /// How the site stood when the order was given.
    site_before: Option<Condition>,
    /// For how long the caller wants to know what comes of it. `None`: as [`WATCH`] says.
    watch: Option<Duration>,
}

impl Watching<'_> {
    /// What is the matter now. A look that fails is the last one: what was done by then is told all the same.
    fn look(&mut self, done: &mut report::Done) -> Option<Diagnosis> {
        if done.unseen.is_some() {
            return None;
        }
        match self.reader.sample() {
            Ok(sample) => Some(self.monitor.ingest(sample)),
            Err(error) => {
                done.unseen = Some(format!("what came of it could not be watched to the end: {error:#}"));
                None
            }
        }
    }

    /// The job that it is about. Of a filesystem, which belongs to none, one that waits for it.
    fn job(&self) -> Option<JobId> {
        let by_id = self.before.jobs.iter().map(|job| &job.facts.id).find(|id| id.as_str() == self.subject.job);
        let mount = |wait: &&WaitGroup| wait.mount.as_ref().is_some_and(|mount| self.subject.frozen.mounts.contains(mount));
        let waits = || self.before.waits.iter().filter(|_| self.subject.job.is_empty()).find(mount).map(|wait| &wait.job);
        by_id.or_else(waits).cloned()
    }
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

/// Watches who is left, and for whoever waits for the job how he fares.
fn watch_over(inbox: &Receiver<Report>, done: &mut report::Done, watching: &mut Watching<'_>) {
    let begun = Instant::now();
    let action = done.outcome.action.clone();
    let job = watching.job();
    let is_accused = job.as_ref().is_some_and(|job| watching.before.verdict.against(job).1);
    let site = watching.site_before.clone();
    let mut recovery = job.map(|job| Recovery::begin(job, done.outcome.clone(), &watching.before, site));
    let is_for_others = is_accused || matches!(action, Action::Thaw { .. }) || watching.site_before.is_some();
    let is_wanted = !action.puts_back() && is_for_others && recovery.as_ref().is_some_and(Recovery::is_wanted);
    let patience = watching.watch.unwrap_or(if is_wanted { WATCH } else { Duration::ZERO });
    let mut next_look = begun;
    loop {
        // A look may have taken longer than all of the time that there was.
        for report in inbox.try_iter() {
            if let Report::Landing(landing) = report {
                done.left = Some(landing);
            }
        }
        let is_blind = done.unseen.is_some();
        let is_landed = match action {
            Action::End(_) => done.left.as_ref().is_some_and(|landing| landing.left.is_empty()),
            Action::StopUnit { .. } => is_blind || recovery.as_ref().is_none_or(|recovery| recovery.alive.is_empty()),
            _ => true,
        };
        let is_landed = is_landed || begun.elapsed() >= LANDING;
        let is_told = is_blind || begun.elapsed() >= patience || recovery.as_ref().is_none_or(Recovery::complete);
        if is_landed && is_told {
            break;
        }
        let looks = !is_blind && (!is_told || matches!(action, Action::StopUnit { .. }));
        // Whoever is told of meanwhile brings no look forward: two of the same moment would agree about nothing.
        if let Some(recovery) = recovery.as_mut().filter(|_| looks && Instant::now() >= next_look) {
            next_look = Instant::now() + LOOK;
            let now = watching.look(done);
            if let Some(probed) = &mut watching.probed {
                recovery.observe_site(probed.now(), Timestamp::now());
            }
            let Some(now) = now else { continue };
            recovery.observe(&now);
        }
        let ends = if is_told { LANDING } else { patience };
        let until_look = if looks { next_look.saturating_duration_since(Instant::now()) } else { LOOK };
        let pause = until_look.min(ends.saturating_sub(begun.elapsed()));
        match inbox.recv_timeout(pause) {
            Ok(Report::Landing(landing)) => done.left = Some(landing),
            // Whoever would tell is gone.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(pause),
            _ => {}
        }
    }
    done.recovery = recovery;
}

/// Looks once a second until the suspect goes on.
fn prove(
    inbox: &Receiver<Report>,
    done: &mut report::Done,
    picked: bool,
    seconds: u32,
    watching: &mut Watching<'_>,
) -> Result<()> {
    let mut proof = watching.job().map(|job| Proof::begin(job, &done.outcome, picked, seconds, &watching.before));
    let patience = Instant::now() + Duration::from_secs(seconds.into()) + ANSWER;
    loop {
        let begun = Instant::now();
        let now = watching.look(done);
        if let Some((proof, now)) = proof.as_mut().zip(now) {
            proof.observe(&now);
        }
        let during = watching.probed.as_mut().map(Probed::now);
        done.site = watching.site_before.clone().zip(during);
        match inbox.recv_timeout(LOOK.saturating_sub(begun.elapsed())) {
            Ok(Report::Outcome(outcome)) => {
                if let Some(proof) = &mut proof {
                    proof.end(outcome.at);
                }
                (done.proof, done.gone_on) = (proof, Some(outcome));
                return Ok(());
            }
            Ok(_) => thread::sleep(LOOK.saturating_sub(begun.elapsed())),
            Err(RecvTimeoutError::Timeout) if Instant::now() < patience => {}
            Err(_) => bail!("no word that the job goes on: whytop resume --job {}", watching.subject.job),
        }
    }
}
