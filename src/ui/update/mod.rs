//! What an event does to the state, and which effects it asks for. Performs nothing itself. `act` has the keys that act and what comes
//! back from them, `step` the movements.
//!
//! Tested through the real loop with a scripted channel (`tests/loop.rs`).

mod act;
mod step;

use std::sync::Arc;

use jiff::Timestamp;

pub use self::act::aimed;
use self::step::{Step, select, step};
use super::dialog::Pane;
use super::event::Event;
use super::keys::{self, Choice, Command, Screen};
use super::state::{Detail, List, Mode, State, Target, Tone, Trial};
use crate::action::{Order, Subject};
use crate::analysis::diagnosis::{Diagnosis, JobId, Severity};
use crate::grounds::Grounds;
use crate::proof::Proof;
use crate::site::News;

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
        /// What the menu proposes.
        choice: Choice,
    },
    /// Check these processes and order this at once.
    Act {
        /// The job with its processes.
        subject: Box<Subject>,
        /// What.
        order: Order,
        /// Why.
        grounds: Box<Grounds>,
    },
    /// Order an action on what is held; the answer comes as [`Event::Report`].
    Order {
        /// What.
        order: Order,
        /// Why.
        grounds: Box<Grounds>,
    },
    /// Write down what a pause has shown, now that it is over.
    Shown {
        /// Of the order.
        ticket: u64,
        /// The pause.
        proof: Box<Proof>,
    },
    /// Let go of what is held.
    Release,
}

/// Seconds after which the panel of a complete recovery makes room by itself.
const RECOVERY_STAYS_SECONDS: f64 = 300.0;
/// Seconds for which it is watched whether others wait again for what goes on: the numbers are of that time alone after four.
const PUT_BACK_STAYS_SECONDS: f64 = 20.0;
/// Seconds for which the good news stays, whatever comes next.
const RECOVERED_SHOWS_SECONDS: f64 = 8.0;

/// Takes in one event.
pub fn update(state: &mut State, event: Event) -> Vec<Effect> {
    match event {
        Event::Key(key) => {
            if act::typed(state, key) {
                state.revision += 1;
                return Vec::new();
            }
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
            return act::hear(state, report);
        }
        Event::Trace(untraced) => {
            state.revision += 1;
            state.untraced = untraced;
        }
        Event::LookFailed(why) => {
            state.revision += 1;
            state.failed = Some(why);
        }
        Event::Suspend => return vec![Effect::Suspend],
        Event::Quit => return quit(state),
    }
    Vec::new()
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
        Command::Choose(choice) => return act::choose(state, choice),
        Command::Order => return act::order(state),
        Command::Pick => act::pick(state),
        Command::Shorter => act::prove_for(state, false),
        Command::Longer => act::prove_for(state, true),
        Command::Help => state.mode = Mode::Help { scroll: 0 },
        Command::Detail => {
            if let Some(Target { job, name }) = state.shown() {
                state.mode = Mode::Detail(Detail { job, name, scroll: 0 });
            }
        }
        Command::Switch => switch(state),
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
    // It is cut short now, and nobody looks any more.
    let shown = state.trial.as_ref().filter(|trial| trial.is_running()).map(act::shown);
    held.into_iter().chain(shown).chain([Effect::Quit]).collect()
}

fn switch(state: &mut State) {
    if let Mode::Dialog(dialog) = &mut state.mode {
        dialog.pane = if dialog.pane == Pane::Actions { Pane::Processes } else { Pane::Actions };
        return;
    }
    state.focus = if state.focus == List::Waits { List::Takes } else { List::Waits };
    select(state, 0);
}

fn back(state: &mut State) -> Vec<Effect> {
    match std::mem::replace(&mut state.mode, Mode::Overview) {
        Mode::Overview if state.trial.as_ref().is_some_and(Trial::is_running) => {
            let resume = keys::shown(Screen::Overview, Command::Choose(Choice::Resume));
            state.say(format!("it goes on by itself in some seconds; {resume} lets it go on now"), Tone::Plain);
        }
        Mode::Overview if state.trial.is_some() => state.trial = None,
        Mode::Overview if state.watch.is_some() => state.watch = None,
        Mode::Overview if state.selected.is_none() => state.landings.clear(),
        Mode::Overview => state.selected = None,
        Mode::Detail(_) | Mode::Help { .. } => {}
        Mode::Dialog(mut dialog) if dialog.typed.is_some() => {
            dialog.typed = None;
            state.mode = Mode::Dialog(dialog);
        }
        Mode::Dialog(dialog) => {
            if let Some(detail) = dialog.from {
                state.mode = Mode::Detail(detail);
            }
            return vec![Effect::Release];
        }
    }
    Vec::new()
}

fn learn(state: &mut State, diagnosis: Arc<Diagnosis>) {
    state.pass(diagnosis.at);
    state.failed = None;
    expire(state);
    state.learn(diagnosis);
    if let Some(row) = state.selected_row(state.focus) {
        state.row = row;
    }
    let other = |job: &JobId| {
        state.diagnosis.as_ref().is_some_and(|diagnosis| {
            let culprit = diagnosis.verdict.worst.culprit.as_ref();
            diagnosis.verdict.worst.severity == Severity::Contention && culprit.is_some_and(|id| id != job)
        })
    };
    let over = state.watch.as_ref().is_some_and(|watch| {
        let recovery = &watch.recovery;
        if recovery.outcome.action.puts_back() {
            // The panel of whoever is accused now says more.
            return recovery.elapsed >= PUT_BACK_STAYS_SECONDS || state.suspect_is_accused();
        }
        let told = recovery.recovered_after.is_some_and(|after| recovery.elapsed >= after + RECOVERED_SHOWS_SECONDS);
        recovery.complete() && (other(&recovery.job) && told || recovery.elapsed >= RECOVERY_STAYS_SECONDS)
    });
    let shown = state.trial.as_ref().is_some_and(|trial| {
        let since = trial.proof.gone_on_at.zip(state.now).map(|(gone_on, now)| now.duration_since(gone_on).as_secs_f64());
        since.is_some_and(|since| other(&trial.proof.job) && since >= RECOVERED_SHOWS_SECONDS || since >= RECOVERY_STAYS_SECONDS)
    });
    if over {
        state.watch = None;
    }
    if shown {
        state.trial = None;
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
    act::forget_zombies(state);
    let over = |until: Option<Timestamp>| until.zip(state.now).is_some_and(|(until, now)| now >= until);
    if state.message.as_ref().is_some_and(|message| over(message.until)) {
        state.message = None;
        state.revision += 1;
    }
}
