//! What each order does, from the guards to the outcome.
//!
//! The guards that ask for a typed word stand here and not in the screen, so that no way in can go around them. Tested by
//! `tests/act.rs`, `tests/act/guards.rs`, `tests/act/pause.rs`, `tests/act/deprioritise.rs`.

use std::collections::HashSet;
use std::collections::hash_map::Entry as MapEntry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::geteuid;

use super::autogroup;
use super::cgroup::{self, Group};
use super::hand::{Armed, Hand};
use super::landing;
use super::ledger::{Entry, Former};
use super::offers;
use super::proof::{Proof, Word};
use super::run;
use super::salvo::Blow;
use super::stat::{Stat, now_in_ticks};
use super::survey::Survey;
use super::unit::{self, Manager};
use super::weights::Before;
use super::worker::{Busy, Shared, locked};
use crate::action::{Action, Candidate, Deed, Hit, Order, Outcome, Report, Signal, Standing, Subject};
use crate::units::{Pid, ProcessId, count};

/// For how long thawing may take: it waits for nothing but the filesystem's own lock.
const THAW: Duration = Duration::from_secs(10);
/// For how long whoever quits waits for a suspect to go on: the watchdog's grace, and two looks at a job that forks. Should that not be
/// enough, the watchdog does it alone.
const PROOF: Duration = Duration::from_secs(8);
/// For how long he waits for another program, which goes on by itself.
const ASKED: Duration = Duration::from_secs(1);

/// Carries it out and reports what became of it, now or from a thread of its own.
pub fn carry_out(shared: &Arc<Shared>, armed: Armed, order: Order) {
    let Order { ticket, action, only, confirmed } = order;
    let armed = match &only {
        Some(picked) => armed.only(picked),
        None => armed,
    };
    let subject = armed.subject.clone();
    if let Some(error) = forbidden(shared, &armed, &action, confirmed.as_deref()) {
        return shared.report(Report::Outcome(refused(ticket, &subject, action, error)));
    }
    let outcome = match action {
        Action::End(signal) => {
            let frozen = if armed.only { Vec::new() } else { before_pause(shared, &subject).frozen };
            let outcome = armed.paused_by(frozen).strike(ticket, Action::End(signal), Blow::Signal(signal));
            shared.report(Report::Outcome(outcome.clone()));
            cut(shared, &subject);
            return watch(shared, &subject, outcome, signal);
        }
        Action::Prove { seconds } => return prove(shared, ticket, seconds, armed),
        Action::Thaw { .. } | Action::StopUnit { .. } => return elsewhere(shared, ticket, subject, action),
        Action::Pause => pause(shared, ticket, armed),
        Action::Resume => resume(shared, ticket, Action::Resume, armed),
        Action::Deprioritise => deprioritise(shared, ticket, armed),
        Action::Undo => undo(shared, ticket, armed),
    };
    shared.report(Report::Outcome(outcome));
    shared.report(Report::Standing(shared.ledger.standing()));
}

/// Why the order is not carried out, and what to do instead.
fn forbidden(shared: &Shared, armed: &Armed, action: &Action, confirmed: Option<&str>) -> Option<String> {
    let standing = shared.ledger.of(&armed.subject.job).into_iter().map(|entry| entry.standing.deed).collect();
    let survey = Survey::quick(&armed.subject, &armed.held(), standing, &shared.tools);
    let targets = armed.aimed();
    let offers = offers::of(&armed.subject, &targets, Some(&survey));
    // What a signal cannot reach is told process by process.
    let closed = if matches!(action, Action::End(_)) {
        None
    } else {
        offers::of_one(&armed.subject, &targets, Some(&survey), action)
            .map_or_else(|| Some("it is not offered for this job".to_owned()), |offer| offer.why_not)
    };
    let unconfirmed = offers.confirmation_for(action).filter(|asked| !asked.is_met_by(confirmed)).map(ToString::to_string);
    closed.or(unconfirmed)
}

fn refused(ticket: u64, subject: &Subject, action: Action, error: String) -> Outcome {
    Outcome { error: Some(error), ..Outcome::new(ticket, Timestamp::now(), subject, action) }
}

fn pause(shared: &Shared, ticket: u64, armed: Armed) -> Outcome {
    let subject = armed.subject.clone();
    let mut frozen = Vec::new();
    let mut outcome = armed.strike(ticket, Action::Pause, Blow::Stop(&mut frozen));
    let former = Former { frozen, stood: outcome.stood(), ..Former::default() };
    write_down(shared, &subject, &mut outcome, Deed::Paused, former);
    outcome
}

fn resume(shared: &Shared, ticket: u64, action: Action, armed: Armed) -> Outcome {
    let subject = armed.subject.clone();
    cut(shared, &subject);
    let armed = with_recorded(shared, armed, Deed::Paused);
    let former = if armed.only { Former::default() } else { before_pause(shared, &subject) };
    // Who stood still before it was paused is not told to go on: somebody may want it so.
    let mut outcome = armed.paused_by(former.frozen).sparing(former.stood.clone()).strike(ticket, action, Blow::Continue);
    if outcome.error.is_none() {
        let _ = shared.ledger.strike(&subject.job, Deed::Paused, &done(&outcome));
    }
    let stands =
        |id: &&ProcessId| Stat::read(id.pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.id == **id && stat.is_stopped()));
    let still = former.stood.iter().filter(stands).count();
    if still > 0 {
        outcome.notes.push(format!("{} stood still before and stays so: resume once more", count(still, "process")));
    }
    outcome
}

fn deprioritise(shared: &Shared, ticket: u64, armed: Armed) -> Outcome {
    let subject = armed.subject.clone();
    let pids: Vec<Pid> = armed.held().iter().map(|id| id.pid).collect();
    let (only, at) = (armed.only, now_in_ticks());
    let mut before: Vec<Before> = Vec::new();
    let mut outcome = armed.strike(ticket, Action::Deprioritise, Blow::Lower(&mut before));
    let group = if only { None } else { cgroup::root().and_then(|root| Group::of(&pids, &root)) };
    let hit = |pid: &Pid| outcome.hits.iter().any(|hit| hit.id.pid == *pid && hit.result.is_ok());
    let weighed = group.as_ref().and_then(|group| group.weighed(hit));
    let weights = weighed.as_ref().map(Group::lower).unwrap_or_default();
    let mut sessions = Vec::new();
    if outcome.worked() {
        let hit: Vec<Pid> = outcome.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| hit.id.pid).collect();
        let groups = autogroup::of(&hit);
        if groups.shared {
            outcome.notes.push(offers::SHARED_SESSION.trim_end_matches('.').to_owned());
        }
        sessions = groups.lower();
        let above = group.filter(|_| weighed.is_none()).zip(cgroup::root());
        let above = above.and_then(|(group, root)| group.shares_cpus(&root));
        let vain = offers::among_its_own(&subject, above.as_deref());
        outcome
            .notes
            .extend(vain.into_iter().chain(offers::without_effect(&subject)).map(|note| note.trim_end_matches('.').to_owned()));
    }
    write_down(
        shared,
        &subject,
        &mut outcome,
        Deed::Deprioritised,
        Former { at, before, weights, sessions, ..Former::default() },
    );
    outcome
}

/// Puts back what stands, the priorities first: whoever goes on should go on as before.
fn undo(shared: &Shared, ticket: u64, armed: Armed) -> Outcome {
    let subject = armed.subject.clone();
    let entries = shared.ledger.of(&subject.job);
    let entry = |deed: Deed| entries.iter().find(|entry| entry.standing.deed == deed);
    let restored = entry(Deed::Deprioritised).map(|lowered| restore(shared, ticket, &armed, &lowered.former));
    if entry(Deed::Paused).is_none()
        && let Some(restored) = restored
    {
        return restored;
    }
    let resumed = resume(shared, ticket, Action::Undo, armed);
    match restored {
        Some(restored) => both(restored, resumed),
        None => resumed,
    }
}

fn restore(shared: &Shared, ticket: u64, armed: &Armed, former: &Former) -> Outcome {
    let (subject, picked) = (&armed.subject, armed.only);
    // What is held is still needed, to let it go on.
    let again = Hand::armed(subject);
    let again = if picked { again.only(&armed.held()) } else { with_recorded(shared, again, Deed::Deprioritised) };
    let mut restored = again.strike(ticket, Action::Undo, Blow::Restore(former));
    if !picked && !former.weights.restore() {
        restored.notes.push("the weights of its control group could not be put back".to_owned());
    }
    let hit = restored.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| hit.id.pid);
    if !picked && !autogroup::restore(&former.sessions, hit) {
        restored.notes.push("the niceness of its session could not be put back".to_owned());
    }
    let is_missing = |hit: &Hit| hit.result.as_ref().is_err_and(|refusal| !refusal.is_no_loss());
    if restored.hits.iter().any(is_missing) {
        restored.notes.push("its priorities could not all be put back: only root may raise one again".to_owned());
    }
    let _ = shared.ledger.strike(&subject.job, Deed::Deprioritised, &done(&restored));
    restored
}

/// Both as one: what has failed for a process is told beside what has worked.
fn both(restored: Outcome, resumed: Outcome) -> Outcome {
    let mut all = resumed;
    for hit in restored.hits {
        if !all.hits.contains(&hit) {
            all.hits.push(hit);
        }
    }
    all.late = all.late.max(restored.late);
    all.error = all.error.or(restored.error);
    all.notes.extend(restored.notes);
    all
}

/// For whom it was done.
fn done(outcome: &Outcome) -> HashSet<ProcessId> {
    outcome.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| hit.id).collect()
}

/// To whom it was done.
fn recorded(shared: &Shared, subject: &Subject, deed: Deed) -> impl Iterator<Item = (ProcessId, String)> {
    let entries = shared.ledger.of(&subject.job).into_iter().filter(move |entry| entry.standing.deed == deed);
    entries.flat_map(|entry| entry.standing.processes)
}

/// How it was before it was paused, if it is.
fn before_pause(shared: &Shared, subject: &Subject) -> Former {
    let paused = shared.ledger.of(&subject.job).into_iter().find(|entry| entry.standing.deed == Deed::Paused);
    paused.map(|entry| entry.former).unwrap_or_default()
}

/// Those held, and those that it was done to and that the screen did not list under this job.
fn with_recorded(shared: &Shared, armed: Armed, deed: Deed) -> Armed {
    let known = armed.held();
    let unknown = recorded(shared, &armed.subject, deed).filter(|(id, _)| !known.contains(id));
    let more: Vec<Candidate> = unknown.map(Candidate::from).collect();
    if more.is_empty() || armed.only {
        return armed;
    }
    let mut subject = armed.subject.clone();
    subject.candidates.retain(|candidate| !more.iter().any(|more| more.id == candidate.id));
    subject.candidates.extend(more);
    Hand::armed(&subject)
}

fn write_down(shared: &Shared, subject: &Subject, outcome: &mut Outcome, deed: Deed, former: Former) {
    // Half of it may be done where it was refused.
    let is_changed = |hit: &&Hit| hit.result.is_ok() || former.before.iter().any(|had| had.process == hit.id);
    let processes: Vec<(ProcessId, String)> =
        outcome.hits.iter().filter(is_changed).map(|hit| (hit.id, hit.name.clone())).collect();
    if processes.is_empty() {
        return;
    }
    let (job, name) = (subject.job.clone(), subject.name.clone());
    let standing = Standing { job, name, deed, since: outcome.at, by: user(), processes };
    if let Err(error) = shared.ledger.add(Entry { standing, former }) {
        outcome.notes.push(format!("only this whytop knows of it, as it could not be written down: {error}"));
    }
}

/// Who gives the order, as far as that is known without a look into a file: `ann (as root)`.
fn user() -> String {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let by_environment = || name("USER").or_else(|| name("LOGNAME"));
    let uid = geteuid();
    if !uid.is_root() {
        return by_environment().unwrap_or_else(|| format!("user {}", uid.as_raw()));
    }
    let before = name("SUDO_USER").or_else(by_environment);
    before.filter(|before| before != "root").map_or_else(|| "root".to_owned(), |before| format!("{before} (as root)"))
}

/// Cuts a proof of this job short, if there is one.
fn cut(shared: &Shared, subject: &Subject) {
    if let Some(proof) = locked(&shared.proofs).get(&subject.job) {
        let _ = proof.send(Word::Enough);
    }
}

fn prove(shared: &Arc<Shared>, ticket: u64, seconds: u32, armed: Armed) {
    let subject = armed.subject.clone();
    let action = Action::Prove { seconds };
    let (to_proof, words) = channel();
    let is_free = match locked(&shared.proofs).entry(subject.job.clone()) {
        MapEntry::Occupied(_) => false,
        MapEntry::Vacant(place) => {
            place.insert(to_proof.clone());
            true
        }
    };
    if !is_free {
        let error = "it is paused for a proof already".to_owned();
        return shared.report(Report::Outcome(refused(ticket, &subject, action, error)));
    }
    let hands = Arc::clone(shared);
    let what = format!("letting {} go on", subject.name);
    // Starting a process, and telling it whom to stop, may take as long as a sick host likes.
    aside(shared, "whytop-proof", what, PROOF, move || {
        let started = Proof::start(ticket, seconds, &armed, &hands.tools, (to_proof, words));
        drop(armed);
        let mut proof = match started {
            Ok(proof) => proof,
            Err(error) => {
                locked(&hands.proofs).remove(&subject.job);
                return hands.report(Report::Outcome(refused(ticket, &subject, action, error)));
            }
        };
        let mut stopped = proof.stopped();
        let former = Former { frozen: proof.frozen(), stood: stopped.stood(), ..Former::default() };
        write_down(&hands, &subject, &mut stopped, Deed::Paused, former);
        hands.report(Report::Outcome(stopped.clone()));
        let gone_on = proof.gone_on(&stopped);
        locked(&hands.proofs).remove(&subject.job);
        if gone_on.error.is_none() {
            let _ = hands.ledger.strike(&subject.job, Deed::Paused, &done(&gone_on));
        }
        if stopped.worked() {
            hands.report(Report::Outcome(gone_on));
        }
        hands.report(Report::Standing(hands.ledger.standing()));
    });
}

/// Has another program do it.
fn elsewhere(shared: &Arc<Shared>, ticket: u64, subject: Subject, action: Action) {
    let hands = Arc::clone(shared);
    let what = format!("{action} ({})", subject.name);
    aside(shared, "whytop-ask", what, ASKED, move || {
        let tools = &hands.tools;
        let mut outcome = Outcome::new(ticket, Timestamp::now(), &subject, action.clone());
        let done = match &action {
            Action::Thaw { mount } => run::run("fsfreeze", &["--unfreeze", mount], &tools.search, THAW).map(|_| ()),
            Action::StopUnit { unit } => {
                let manager = Manager::of(&subject.job);
                let stopped = unit::stop(unit, manager, tools);
                // A timer is due anew when its unit has ended.
                outcome
                    .notes
                    .extend(unit::ask(unit, manager, tools).triggers.iter().map(|text| text.trim_end_matches('.').to_owned()));
                stopped
            }
            _ => Err("it is done by no other program".to_owned()),
        };
        outcome.at = Timestamp::now();
        outcome.error = done.err().map(|why| match action {
            Action::Thaw { .. } => format!("{why} (it may be thawed already)"),
            _ => format!("{why}; end the job instead"),
        });
        hands.report(Report::Outcome(outcome));
    });
}

/// Watches over those who do not go.
fn watch(shared: &Arc<Shared>, subject: &Subject, outcome: Outcome, signal: Signal) {
    if outcome.sent() == 0 {
        return;
    }
    let stop = Arc::new(AtomicBool::new(false));
    // A later order's watch takes over.
    if let Some(earlier) = locked(&shared.landings).insert(subject.job.clone(), Arc::clone(&stop)) {
        earlier.store(true, Ordering::Relaxed);
    }
    let hands = Arc::clone(shared);
    let _ = Builder::new()
        .name("whytop-landing".to_owned())
        .spawn(move || landing::watch(&outcome, signal, &stop, |landing| hands.report(Report::Landing(landing))));
}

/// Does it on a thread of its own that is waited for at the end, so long; without one, here.
fn aside(shared: &Shared, name: &str, what: String, patience: Duration, work: impl FnOnce() + Send + 'static) {
    let work = Arc::new(Mutex::new(Some(work)));
    let theirs = Arc::clone(&work);
    let (running, over) = channel::<()>();
    let run = move || {
        if let Some(work) = locked(&theirs).take() {
            // A fault of ours ends with this one order.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
        drop(running);
    };
    match Builder::new().name(name.to_owned()).spawn(run.clone()) {
        Ok(_) => {
            let mut busy = locked(&shared.busy);
            busy.retain(|busy| busy.over.try_recv() != Err(TryRecvError::Disconnected));
            busy.push(Busy { what, patience, over });
        }
        Err(_) => run(),
    }
}
