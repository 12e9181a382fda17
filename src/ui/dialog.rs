//! The menu of actions on one job: what is chosen, which processes are picked, what has been typed.
//!
//! Frozen while it is open: the processes it lists are those that were aimed at, and what it lists is what it hits. Only the offers get
//! better while more is found out. Tested through the real loop (`tests/loop.rs`).

use super::keys::Choice;
use super::state::Detail;
use crate::action::{
    Action, Aim, Aimed, Confirmation, LONGEST_PROOF, Offer, Offers, Order, PROOF_SECONDS, SHORTEST_PROOF, Signal,
};
use crate::analysis::diagnosis::{Advice, JobId};
use crate::units::ProcessId;

/// The times that a proof may take, in seconds: few enough to come to each with some keys.
const TIMES: [u32; 7] = [SHORTEST_PROOF, PROOF_SECONDS, 15, 20, 30, 45, LONGEST_PROOF];

/// What the arrows move in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// The actions.
    Actions,
    /// The processes.
    Processes,
}

/// The open menu.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Which job.
    pub job: JobId,
    /// Its processes, each checked; and what can be done.
    pub aim: Aim,
    /// The action that Enter orders.
    pub chosen: Action,
    /// For how long a proof is to stop it, in seconds.
    pub seconds: u32,
    /// What the arrows move in.
    pub pane: Pane,
    /// The process that the arrows are at.
    pub cursor: usize,
    /// Those that are meant and nobody else. Empty: the whole job.
    pub picked: Vec<ProcessId>,
    /// First process shown.
    pub scroll: usize,
    /// What was typed so far, where a word has to be.
    pub typed: Option<String>,
    /// What is known of ending this tool.
    pub advice: Advice,
    /// How long it has run, and when it would end by itself.
    pub lasts: Option<String>,
    /// The detail screen it was opened from, to go back to.
    pub from: Option<Detail>,
}

impl Dialog {
    /// The menu of this job, with a choice.
    pub fn open(job: JobId, aim: Aim, choice: Choice) -> Self {
        let mut dialog = Self {
            job,
            aim,
            chosen: Action::End(Signal::Terminate),
            seconds: PROOF_SECONDS,
            pane: Pane::Actions,
            cursor: 0,
            picked: Vec::new(),
            scroll: 0,
            typed: None,
            advice: Advice::default(),
            lasts: None,
            from: None,
        };
        dialog.choose(choice);
        dialog
    }

    /// All offers, in the order of the menu.
    pub fn offers(&self) -> &[Offer] {
        &self.aim.offers.offers
    }

    /// The place of the chosen one among them.
    pub fn place(&self) -> usize {
        self.offers().iter().position(|offer| offer.action == self.chosen).unwrap_or_default()
    }

    /// The chosen one.
    pub fn offer(&self) -> Option<&Offer> {
        self.aim.offers.find(&self.chosen)
    }

    /// Chooses what a key means: of several the first that is open.
    pub fn choose(&mut self, choice: Choice) {
        self.pane = Pane::Actions;
        let meant = || self.aim.offers.offers.iter().filter(|offer| choice.means(&offer.action));
        let found = meant().find(|offer| offer.is_open()).or_else(|| meant().next());
        if let Some(offer) = found {
            self.chosen = offer.action.clone();
        }
    }

    /// Chooses the offer at this place.
    pub fn choose_at(&mut self, place: usize) {
        if let Some(offer) = self.offers().get(place) {
            self.chosen = offer.action.clone();
        }
    }

    /// Takes in what was found out meanwhile.
    pub fn learn(&mut self, offers: Offers) {
        self.aim.offers = offers;
        self.time_proofs();
        if self.offer().is_none() {
            self.choose(Choice::Any);
        }
    }

    /// Has the proof take longer, or shorter, as far as that goes. Nothing else has a time.
    pub fn prove_for(&mut self, longer: bool) {
        if !Choice::Prove.means(&self.chosen) {
            return;
        }
        let mut times = TIMES.into_iter();
        let next = if longer { times.find(|time| *time > self.seconds) } else { times.rfind(|time| *time < self.seconds) };
        self.seconds = next.unwrap_or(self.seconds);
        self.time_proofs();
    }

    fn time_proofs(&mut self) {
        let offered = self.aim.offers.offers.iter_mut().map(|offer| &mut offer.action);
        for action in offered.chain([&mut self.chosen]) {
            if let Action::Prove { seconds } = action {
                *seconds = self.seconds;
            }
        }
    }

    /// Picks the process at the cursor, or leaves it out again.
    pub fn pick(&mut self) {
        let Some(aimed) = self.aim.targets.get(self.cursor) else { return };
        let id = aimed.candidate.id;
        if let Some(at) = self.picked.iter().position(|picked| *picked == id) {
            self.picked.remove(at);
        } else if aimed.check.is_ok() {
            self.picked.push(id);
        }
    }

    /// Whether the action is done process by process, so that some can be picked.
    pub const fn is_by_process(&self) -> bool {
        !matches!(self.chosen, Action::Thaw { .. } | Action::StopUnit { .. } | Action::Undo)
    }

    /// Whether this process would be hit. A thaw hits none.
    pub fn hits(&self, aimed: &Aimed) -> bool {
        let meant = self.picked.is_empty() || !self.is_by_process() || self.picked.contains(&aimed.candidate.id);
        aimed.check.is_ok() && meant && !matches!(self.chosen, Action::Thaw { .. })
    }

    /// How many processes would be hit.
    pub fn reach(&self) -> usize {
        self.aim.targets.iter().filter(|aimed| self.hits(aimed)).count()
    }

    /// What has to be typed before the chosen action.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.aim.offers.confirmation_for(&self.chosen)
    }

    /// The chosen action as an order.
    pub fn order(&self, ticket: u64) -> Order {
        let only = (!self.picked.is_empty() && self.is_by_process()).then(|| self.picked.clone());
        Order { ticket, action: self.chosen.clone(), only, confirmed: self.typed.clone() }
    }
}

/// An action's name in the menu.
pub fn label(action: &Action) -> String {
    match action {
        Action::End(signal) => signal.name().to_owned(),
        Action::Prove { seconds } => format!("prove, {seconds} s"),
        Action::Pause => "pause".to_owned(),
        Action::Resume => "resume".to_owned(),
        Action::Deprioritise => "deprioritise".to_owned(),
        Action::Undo => "undo".to_owned(),
        Action::Thaw { .. } => "thaw".to_owned(),
        Action::StopUnit { .. } => "stop unit".to_owned(),
    }
}

/// The action as it is being done: `sending SIGTERM to nightly.sh`.
pub fn doing(action: &Action, job: &str) -> String {
    match action {
        Action::End(signal) => format!("sending {signal} to {job}"),
        Action::Prove { seconds } => format!("pausing {job} for {seconds} s"),
        Action::Pause => format!("pausing {job}"),
        Action::Resume => format!("letting {job} go on"),
        Action::Deprioritise => format!("letting everybody go before {job}"),
        Action::Undo => format!("putting {job} back as it was"),
        Action::Thaw { mount } => format!("thawing {mount}"),
        Action::StopUnit { unit } => format!("stopping {unit}"),
    }
}
