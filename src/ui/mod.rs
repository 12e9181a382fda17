//! The screen: event → update → effect, and a drawing of the state after each.
//!
//! [`run`] is the whole loop. It is generic over the terminal's backend and gets its events and its hands
//! ([`World`]) passed in, so tests run this very loop on a `TestBackend` with scripted events. Nothing in here reads a
//! clock, a file or a process.

pub mod dialog;
pub mod event;
pub mod keys;
pub mod state;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;

use anyhow::Result;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect};

use crate::action::{Aim, Order, Subject};
use crate::grounds::Grounds;
use crate::proof::Proof;
use event::Events;
use state::State;
use update::{Effect, aimed, suspend_failed, update};

/// How many events are taken in before the screen is drawn again, however many more are there: held keys must not lag, and
/// a flood of them must not starve the picture.
const EVENTS_A_FRAME: usize = 256;

/// The hands of the screen.
pub trait World {
    /// Checks the processes of this job and holds them until [`World::order`] or [`World::release`]. Must be quick: a key waits for
    /// it. What takes longer to find out about the actions follows as a report.
    fn aim(&mut self, subject: &Subject) -> Aim;
    /// Orders an action on what is held, for this reason, and lets go of it. What becomes of it comes as a report.
    fn order(&mut self, order: Order, grounds: Grounds);
    /// Writes down what the pause of this order has shown.
    fn shown(&mut self, ticket: u64, proof: &Proof);
    /// Lets go of what is held.
    fn release(&mut self);
    /// Gives the terminal back, stops this process, and takes the terminal again when it goes on.
    fn suspend(&mut self) -> Result<()>;
}

/// Runs the screen until somebody quits or the events end. An error is the terminal's; see [`terminal::is_gone`].
pub fn run<B>(terminal: &mut Terminal<B>, mut state: State, events: &mut dyn Events, world: &mut dyn World) -> Result<()>
where
    B: Backend,
    B::Error: Send + Sync + 'static,
{
    let mut drawn = None;
    loop {
        if drawn != Some(state.revision) {
            terminal.draw(|frame| {
                state.area = frame.area();
                view::draw(frame, &state);
            })?;
            drawn = Some(state.revision);
        }
        let Some(mut event) = events.next() else { return Ok(()) };
        for taken in 1.. {
            for effect in update(&mut state, event) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Aim { job, subject, choice } => {
                        let aim = world.aim(&subject);
                        aimed(&mut state, job, choice, aim);
                    }
                    Effect::Act { subject, order, grounds } => {
                        world.aim(&subject);
                        world.order(order, *grounds);
                    }
                    Effect::Order { order, grounds } => world.order(order, *grounds),
                    Effect::Shown { ticket, proof } => world.shown(ticket, &proof),
                    Effect::Release => world.release(),
                    Effect::Suspend => {
                        if let Err(error) = world.suspend() {
                            suspend_failed(&mut state, &format!("{error:#}"));
                        }
                        forget(terminal)?;
                        drawn = None;
                    }
                    Effect::Redraw => {
                        forget(terminal)?;
                        drawn = None;
                    }
                }
            }
            if taken >= EVENTS_A_FRAME {
                break;
            }
            match events.pending() {
                Some(next) => event = next,
                None => break,
            }
        }
    }
}

/// Clears the terminal, so that the next frame is drawn in full. Not `Terminal::clear`: that one asks the terminal where
/// the cursor is, and waits for an answer that the input thread would take away.
fn forget<B>(terminal: &mut Terminal<B>) -> Result<()>
where
    B: Backend,
    B::Error: Send + Sync + 'static,
{
    let area = Rect::from((Position::ORIGIN, terminal.size()?));
    terminal.resize(area)?;
    Ok(())
}
