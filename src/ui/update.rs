//! What an event does to the state, and which effects it asks for. Performs nothing itself.
//!
//! Tested through the real loop with a scripted channel (`tests/loop.rs`).

use std::sync::Arc;

use jiff::Timestamp;
use ratatui::layout::Rect;

use super::event::Event;
use super::keys::{self, Command};
use super::state::{Detail, Dialog, List, Mode, Pending, State, Target, Tone, Watch, is_kernel, target_of};
use super::view;
use crate::action::{Action, Aim, Order, Outcome, Report, Signal, Subject};
use crate::analysis::advice;
use crate::analysis::diagnosis::{Diagnosis, JobId, Severity};
use crate::grounds::Grounds;
use crate::recovery::Recovery;
use crate::site::News;
use crate::units::count;

/// Something for the world to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// End.
    Quit,
    /// Give the terminal back and stop, until the shell says go on.
    Suspend,
    /// Forget what the terminal shows.
    Redraw,
    /// Check these processes and hold them; the answer goes to [`aimed`] before the next event.
    Aim {
        /// Whose they are.
        job: JobId,
        /// The job with its processes.
        subject: Box<Subject>,
        /// What the dialog proposes.
        preselect: Signal,
    },
    /// Order an action on what is held; the answer comes as [`Event::Report`].
    Order {
        /// What.
        order: Order,
        /// Why.
        grounds: Box<Grounds>,
    },
    /// Let go of what is held.
    Release,
}

/// The signals that the dialog offers, in its order.
pub const SIGNALS: [Signal; 5] = [Signal::Terminate, Signal::Interrupt, Signal::Kill, Signal::Stop, Signal::Continue];
/// Seconds after which the panel of a complete recovery makes room by itself.
const RECOVERY_STAYS_SECONDS: f64 = 300.0;
/// Seconds for which the good news stays, whatever comes next.
const RECOVERED_SHOWS_SECONDS: f64 = 8.0;

/// Takes in one event.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) => {
            let Some(binding) = keys::lookup(state.mode.screen(), state.rights, key) else { return Vec::new() };
            state.revision += 1;
            state.message = None;
            return perform(state, binding.command);
        }
        Event::Resize => {
            state.revision += 1;
            // Also when the size is the same again by now: in between the terminal cut off what no longer fitted.
            return vec![Effect::Redraw];
        }
        Event::Glance(host, glance) => {
            state.revision += 1;
            state.now = state.now.max(Some(glance.at));
            state.glance = Some((host, glance));
        }
        Event::Diagnosis(diagnosis) => {
            state.revision += 1;
            learn(state, diagnosis);
        }
        Event::Tick(at) => tick(state, at),
        Event::Site(news) => {
            state.revision += 1;
            if let News::Asked(at) = news {
                state.pass(at);
            }
            if let Some(site) = &mut state.site {
                site.learn(news);
            }
            if let Some(now) = state.now {
                state.pass(now);
            }
        }
        Event::Report(report) => {
            state.revision += 1;
            hear(state, report);
        }
        Event::Trace(untraced) => {
            state.revision += 1;
            state.untraced = untraced;
        }
        Event::SamplerFailed(why) => {
            state.revision += 1;
            state.failed = Some(why);
        }
        Event::Suspend => return vec![Effect::Suspend],
        Event::Quit => return quit(state),
    }
    Vec::new()
}

/// Takes in the answer to [`Effect::Aim`] and opens the dialog.
pub fn aimed(state: &mut State, job: JobId, preselect: Signal, aim: Aim) {
    state.revision += 1;
    if aim.targets.is_empty() {
        state.say(format!("{} has no processes any more: nothing to signal", aim.job), Tone::Bad);
        return;
    }
    let found = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&job));
    let advice = found.map(|found| found.facts.finding.advice.clone()).unwrap_or_default();
    let lasts = found.filter(|found| found.usual.is_some()).and_then(advice::run_time);
    let from = match &state.mode {
        Mode::Detail(detail) => Some(detail.clone()),
        _ => None,
    };
    let dialog = Dialog { job, aim, signal: preselect, advice, lasts, scroll: 0, from };
    state.mode = Mode::Dialog(Box::new(dialog));
}

/// Says that a suspend did not work.
pub fn suspend_failed(state: &mut State, why: &str) {
    state.revision += 1;
    state.say(format!("could not suspend: {why}"), Tone::Bad);
}

fn perform(state: &mut State, command: Command) -> Vec<Effect> {
    match command {
        Command::Quit => return quit(state),
        Command::Suspend => return vec![Effect::Suspend],
        Command::Redraw => return vec![Effect::Redraw],
        Command::Back => return back(state),
        Command::Aim(signal) => return aim(state, signal),
        Command::Send => return send(state),
        Command::Help => state.mode = Mode::Help { scroll: 0 },
        Command::Detail => {
            if let Some(Target { job, name }) = state.shown() {
                state.mode = Mode::Detail(Detail { job, name, scroll: 0 });
            }
        }
        Command::SwitchList => {
            state.focus = if state.focus == List::Waits { List::Takes } else { List::Waits };
            select(state, 0);
        }
        Command::Up => step(state, Step::By(-1)),
        Command::Down => step(state, Step::By(1)),
        Command::PageUp => step(state, Step::Page(-1)),
        Command::PageDown => step(state, Step::Page(1)),
        Command::First => step(state, Step::First),
        Command::Last => step(state, Step::Last),
    }
    Vec::new()
}

fn quit(state: &State) -> Vec<Effect> {
    let held = matches!(state.mode, Mode::Dialog(_)).then_some(Effect::Release);
    held.into_iter().chain([Effect::Quit]).collect()
}

fn back(state: &mut State) -> Vec<Effect> {
    match std::mem::replace(&mut state.mode, Mode::Overview) {
        Mode::Overview if state.watch.is_some() => state.watch = None,
        Mode::Overview => state.selected = None,
        Mode::Detail(_) | Mode::Help { .. } => {}
        Mode::Dialog(dialog) => {
            if let Some(detail) = dialog.from {
                state.mode = Mode::Detail(detail);
            }
            return vec![Effect::Release];
        }
    }
    Vec::new()
}

fn aim(state: &mut State, preselect: Signal) -> Vec<Effect> {
    let Some(target) = state.target() else {
        state.say("nobody is to blame: select a job first", Tone::Plain);
        return Vec::new();
    };
    let job = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&target.job));
    if job.is_some_and(is_kernel) {
        state.say(format!("{} is the kernel's own work: kernel threads take no signals", target.name), Tone::Bad);
        return Vec::new();
    }
    let subject = state.subject(&target);
    if subject.candidates.is_empty() {
        // Never slide on to another job: the key was meant for this one.
        state.say(format!("{} has ended: nothing to signal", target.name), Tone::Plain);
        state.selected = None;
        return Vec::new();
    }
    vec![Effect::Aim { job: target.job, subject: Box::new(subject), preselect }]
}

fn send(state: &mut State) -> Vec<Effect> {
    let Mode::Dialog(dialog) = &state.mode else { return Vec::new() };
    if !view::shows_dialog(state.area) {
        state.say("the screen is too small to show whom this would hit: nothing sent", Tone::Bad);
        return Vec::new();
    }
    let (signal, job, reachable) = (dialog.signal, dialog.job.clone(), dialog.aim.reachable().count());
    if reachable == 0 {
        let why = match dialog.aim.targets.iter().find_map(|aimed| Some((&aimed.candidate, aimed.check.as_ref().err()?))) {
            Some((candidate, refusal)) => format!("nothing sent: {} {} {refusal}", candidate.name, candidate.id.pid),
            None => "nothing sent: no process is left".to_owned(),
        };
        state.say(why, Tone::Bad);
        return Vec::new();
    }
    let name = dialog.aim.job.clone();
    // A second signal to the same job goes on with the first one's clock: what it is measured against is the outage, not
    // the half recovered host of this instant.
    let earlier = state.watch.as_ref().filter(|watch| watch.recovery.job == job && !watch.recovery.complete());
    let before = earlier.map(|watch| watch.before.clone()).or_else(|| state.diagnosis.clone());
    let site = earlier.map_or_else(|| state.condition(), |watch| watch.recovery.site.as_ref().map(|site| site.before.clone()));
    let grounds = Box::new(Grounds::of(&job, state.diagnosis.as_deref(), state.condition().as_ref()));
    state.ticket += 1;
    let order = Order::whole(state.ticket, action_of(signal));
    state.pending.push_back(Pending { ticket: order.ticket, job, before, site });
    state.mode = Mode::Overview;
    state.selected = None;
    state.say(format!("sending {signal} to {name}: {}", count(reachable, "process")), Tone::Plain);
    vec![Effect::Order { order, grounds }]
}

const fn action_of(signal: Signal) -> Action {
    match signal {
        Signal::Stop => Action::Pause,
        Signal::Continue => Action::Resume,
        signal => Action::End(signal),
    }
}

fn hear(state: &mut State, report: Report) {
    match report {
        Report::Offers(offers) => {
            if let Mode::Dialog(dialog) = &mut state.mode
                && dialog.job.as_str() == offers.job
            {
                dialog.aim.offers = offers;
            }
        }
        Report::Outcome(outcome) => judge(state, outcome),
        Report::Landing(landing) => state.landing = Some(landing),
        Report::Standing(standing) => state.standing = standing,
    }
}

fn judge(state: &mut State, outcome: Outcome) {
    let tone = if outcome.worked() { Tone::Good } else { Tone::Bad };
    state.say(outcome.to_string(), tone);
    let Some(at) = state.pending.iter().position(|pending| pending.ticket == outcome.ticket) else { return };
    let Some(Pending { job, before, site, .. }) = state.pending.remove(at) else { return };
    if let Some(before) = before
        && outcome.action.halts()
        && outcome.worked()
    {
        let mut recovery = Recovery::begin(job, outcome, &before, site);
        // The answer may come after the first sample that shows its effect.
        if let Some(now) = &state.diagnosis {
            recovery.observe(now);
        }
        state.watch = Some(Watch { recovery, before });
        if let Some(now) = state.now {
            state.pass(now);
        }
    }
}

fn learn(state: &mut State, diagnosis: Arc<Diagnosis>) {
    state.pass(diagnosis.at);
    state.failed = None;
    expire(state);
    state.learn(diagnosis);
    if let Some(row) = state.selected_row(state.focus) {
        state.row = row;
    }
    let over = state.watch.as_ref().is_some_and(|watch| {
        let recovery = &watch.recovery;
        let news = state.diagnosis.as_ref().is_some_and(|diagnosis| {
            let culprit = diagnosis.verdict.culprit.as_ref();
            diagnosis.verdict.severity == Severity::Contention && culprit.is_some_and(|id| *id != recovery.job)
        });
        let told = recovery.recovered_after.is_some_and(|after| recovery.elapsed >= after + RECOVERED_SHOWS_SECONDS);
        recovery.complete() && (news && told || recovery.elapsed >= RECOVERY_STAYS_SECONDS)
    });
    if over {
        state.watch = None;
    }
}

/// The clock shows whole seconds, so only a new one is a visible change.
fn tick(state: &mut State, at: Timestamp) {
    if state.now.is_none_or(|now| now.as_second() != at.as_second()) {
        state.revision += 1;
    }
    // Not only forward: whoever sets the clock back sees it go back.
    state.now = Some(at);
    state.pass(at);
    expire(state);
}

fn expire(state: &mut State) {
    let over = |until: Option<Timestamp>| until.zip(state.now).is_some_and(|(until, now)| now >= until);
    if state.message.as_ref().is_some_and(|message| over(message.until)) {
        state.message = None;
        state.revision += 1;
    }
}

/// A movement.
#[derive(Clone, Copy)]
enum Step {
    By(isize),
    Page(isize),
    First,
    Last,
}

impl Step {
    /// From `at`, among `length` rows of which `page` are visible.
    fn from(self, at: usize, length: usize, page: usize) -> usize {
        let last = length.saturating_sub(1);
        let moved = match self {
            Self::By(by) => at.saturating_add_signed(by),
            Self::Page(by) => at.saturating_add_signed(by.saturating_mul(page.max(1).cast_signed())),
            Self::First => 0,
            Self::Last => last,
        };
        moved.min(last)
    }
}

fn step(state: &mut State, step: Step) {
    let area = state.area;
    // Only what this screen needs: a held arrow key comes through here for each repeat.
    let list_page = if matches!(step, Step::Page(_)) { view::list_page(state) } else { 1 };
    let help_length = if matches!(state.mode, Mode::Help { .. }) { view::help_length(state) } else { 0 };
    match &mut state.mode {
        Mode::Overview => {
            let length = state.rows(state.focus).len();
            // The first press shows where the selection is; from then on it moves.
            let row = match (state.selected_row(state.focus), &state.selected, step) {
                (Some(row), ..) => step.from(row, length, list_page),
                (None, Some(_), _) => step.from(state.row, length, list_page),
                (None, None, Step::Last) => length.saturating_sub(1),
                (None, None, _) => 0,
            };
            select(state, row);
        }
        Mode::Detail(detail) => {
            let job = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&detail.job));
            let length = view::detail_length(job, state.diagnosis.as_deref(), area);
            detail.scroll = scroll(step, detail.scroll, length, view::page(area));
        }
        Mode::Help { scroll: at } => *at = scroll(step, *at, help_length, view::page(area)),
        Mode::Dialog(dialog) => match step {
            Step::By(_) => {
                let at = SIGNALS.iter().position(|signal| *signal == dialog.signal).unwrap_or_default();
                dialog.signal = SIGNALS[step.from(at, SIGNALS.len(), 1)];
            }
            _ => dialog.scroll = dialog_scroll(step, dialog, area),
        },
    }
}

fn dialog_scroll(step: Step, dialog: &Dialog, area: Rect) -> usize {
    let page = view::dialog_page(dialog, area);
    scroll(step, dialog.scroll, dialog.aim.targets.len(), page)
}

/// The first line shown after a step, so that the last page stays full.
fn scroll(step: Step, at: usize, length: usize, page: usize) -> usize {
    step.from(at, length.saturating_sub(page) + 1, page)
}

/// Chooses the job in this row of the list in focus.
fn select(state: &mut State, row: usize) {
    state.row = row;
    state.selected = state.job_at(state.focus, row).map(target_of);
}
