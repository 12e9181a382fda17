//! Everything that can happen to the screen: one enum on one channel, so there is one order of events.
//!
//! Plain data. Whoever sends one (input thread, sampler, signals, actor) knows nothing of the screen.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use crossterm::event::KeyEvent;
use jiff::Timestamp;

use crate::action::Report;
use crate::analysis::diagnosis::Diagnosis;
use crate::sample::{Glance, HostFacts};
use crate::site::News;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key went down.
    Key(KeyEvent),
    /// The terminal has another size; it is asked for the new one when drawing.
    Resize,
    /// The host as a whole, before its tasks have been read: something to show until there is an answer.
    Glance(Arc<HostFacts>, Box<Glance>),
    /// There is a new answer.
    Diagnosis(Arc<Diagnosis>),
    /// Time passed. The only clock the screen has, beside the one in each diagnosis.
    Tick(Timestamp),
    /// What comes back from acting.
    Report(Report),
    /// What the probe of a web site tells.
    Site(News),
    /// That what was done is not written down, or `None`: it is again.
    Trace(Option<String>),
    /// Somebody asked to suspend (SIGTSTP).
    Suspend,
    /// Somebody asked to end (SIGTERM, SIGINT, SIGHUP, or the terminal is gone).
    Quit,
    /// A look at the host failed, and why. The next one may not.
    LookFailed(String),
}

/// Where events come from: a channel, or a script in a test.
pub trait Events {
    /// Blocks until there is one. `None`: there will never be another one.
    fn next(&mut self) -> Option<Event>;
    /// The next one, if it is there already.
    fn pending(&mut self) -> Option<Event>;
}

impl Events for Receiver<Event> {
    fn next(&mut self) -> Option<Event> {
        self.recv().ok()
    }

    fn pending(&mut self) -> Option<Event> {
        self.try_recv().ok()
    }
}

/// A script: each event is drawn before the next one comes.
impl Events for VecDeque<Event> {
    fn next(&mut self) -> Option<Event> {
        self.pop_front()
    }

    fn pending(&mut self) -> Option<Event> {
        None
    }
}
