//! A stage for the screen: a world that records what is asked of it, keys as a string, and the real loop on a test backend.
#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, TestBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use whytop::action::{
    Action, Aim, Aimed, Confirmation, Hit, Offer, Offers, Order, Outcome, PROOF_SECONDS, Refusal, Report, Signal, Subject,
};
use whytop::analysis::diagnosis::Diagnosis;
use whytop::grounds::Grounds;
use whytop::proof::Proof;
use whytop::sample::Glance;
use whytop::site::{Answer, Failure, News, Reply, Site};
use whytop::ui::event::{Event, Events};
use whytop::ui::keys::Rights;
use whytop::ui::state::State;
use whytop::ui::theme::Depth;
use whytop::ui::{World, run};
use whytop::units::Pid;

use super::diagnosis::{at, nightly_id};

/// The keys of a string: single characters, and `<enter>`, `<esc>`, `<tab>`, `<up>`, `<down>`, `<pgup>`, `<pgdn>`, `<home>`,
/// `<end>`, `<left>`, `<right>`, `<ctrl-c>` and the like.
pub fn keys(script: &str) -> Vec<Event> {
    let mut out = Vec::new();
    let mut rest = script;
    while let Some(c) = rest.chars().next() {
        let (code, modifiers, taken) = match rest.strip_prefix('<').and_then(|tail| tail.split_once('>')) {
            Some((name, _)) => {
                let (code, modifiers) = named(name);
                (code, modifiers, name.len() + 2)
            }
            None => (KeyCode::Char(c), KeyModifiers::NONE, c.len_utf8()),
        };
        out.push(Event::Key(KeyEvent::new(code, modifiers)));
        rest = &rest[taken..];
    }
    out
}

fn named(name: &str) -> (KeyCode, KeyModifiers) {
    let plain = KeyModifiers::NONE;
    match name {
        "enter" => (KeyCode::Enter, plain),
        "esc" => (KeyCode::Esc, plain),
        "tab" => (KeyCode::Tab, plain),
        "up" => (KeyCode::Up, plain),
        "down" => (KeyCode::Down, plain),
        "pgup" => (KeyCode::PageUp, plain),
        "pgdn" => (KeyCode::PageDown, plain),
        "home" => (KeyCode::Home, plain),
        "end" => (KeyCode::End, plain),
        "left" => (KeyCode::Left, plain),
        "right" => (KeyCode::Right, plain),
        other => match other.strip_prefix("ctrl-").and_then(|key| key.chars().next()) {
            Some(c) => (KeyCode::Char(c), KeyModifiers::CONTROL),
            None => panic!("no key is called {other}"),
        },
    }
}

/// What was asked of the world, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Aim(String, Vec<Pid>),
    Order(Action),
    Release,
    Suspend,
}

/// A world in which some processes cannot be reached.
#[derive(Default)]
pub struct FakeWorld {
    pub calls: Rc<RefCell<Vec<Call>>>,
    pub orders: Rc<RefCell<Vec<Order>>>,
    pub grounds: Rc<RefCell<Vec<Grounds>>>,
    pub proven: Rc<RefCell<Vec<String>>>,
    pub refused: Vec<(Pid, Refusal)>,
    pub refuse_all: Option<Refusal>,
}

impl World for FakeWorld {
    fn aim(&mut self, subject: &Subject) -> Aim {
        let pids = subject.candidates.iter().map(|candidate| candidate.id.pid).collect();
        self.calls.borrow_mut().push(Call::Aim(subject.name.clone(), pids));
        let check = |pid: Pid| match self.refused.iter().find(|(refused, _)| *refused == pid) {
            Some((_, why)) => Err(why.clone()),
            None => self.refuse_all.clone().map_or(Ok(()), Err),
        };
        let targets: Vec<Aimed> =
            subject.candidates.iter().map(|c| Aimed { candidate: c.clone(), check: check(c.id.pid) }).collect();
        let offers = offers(subject, &targets);
        Aim { job: subject.name.clone(), targets, offers }
    }

    fn order(&mut self, order: Order, grounds: Grounds) {
        self.grounds.borrow_mut().push(grounds);
        self.calls.borrow_mut().push(Call::Order(order.action.clone()));
        self.orders.borrow_mut().push(order);
    }

    fn shown(&mut self, ticket: u64, proof: &Proof) {
        self.proven.borrow_mut().push(format!("{ticket}: {}", proof.sentence()));
    }

    fn release(&mut self) {
        self.calls.borrow_mut().push(Call::Release);
    }

    fn suspend(&mut self) -> anyhow::Result<()> {
        self.calls.borrow_mut().push(Call::Suspend);
        Ok(())
    }
}

/// The menu as it is for root on a host without systemd where nothing is paused or frozen; a victim has to be typed.
pub fn offers(subject: &Subject, targets: &[Aimed]) -> Offers {
    let hit = targets.iter().filter(|aimed| aimed.check.is_ok()).count();
    let refused = targets.iter().find_map(|aimed| Some((&aimed.candidate, aimed.check.as_ref().err()?)));
    let refused = refused.map(|(candidate, why)| format!("{} {} {why}", candidate.name, candidate.id.pid));
    let beyond = refused.filter(|_| hit == 0);
    let offer = |action, does: String, why: Option<&str>| Offer {
        action,
        does,
        why_not: why.map(str::to_owned).or_else(|| beyond.clone()),
        beware: Vec::new(),
    };
    let mut all: Vec<Offer> = Signal::ENDS
        .into_iter()
        .map(|signal| offer(Action::End(signal), format!("{} ({hit} processes)", signal.meaning()), None))
        .collect();
    let prove = format!("stops {hit} processes for so long and compares who waits; they go on by themselves");
    all.extend([
        offer(Action::Prove { seconds: PROOF_SECONDS }, prove, None),
        offer(Action::Pause, format!("stops {hit} processes until told to go on"), None),
        offer(Action::Resume, "lets it go on".into(), Some("it is not paused")),
        offer(Action::Deprioritise, format!("niceness 19 and the idle I/O class for all threads of {hit} processes"), None),
        offer(Action::Undo, "puts it back".into(), Some("whytop has done nothing to it that can be put back")),
        offer(
            Action::Thaw { mount: String::new() },
            "thaws".into(),
            Some("no filesystem is frozen, as far as anybody waits for one"),
        ),
        offer(Action::StopUnit { unit: String::new() }, "stops".into(), Some("systemd does not run here: end the job instead")),
    ]);
    all[4].beware = vec!["Locks and connections that it has stay held for so long.".into()];
    all[7].beware = vec!["sda has the scheduler none: the I/O class has no effect there.".into()];
    let victim = || Confirmation::of(subject, format!("{} is one of those that wait, not the cause", subject.name));
    Offers { job: subject.job.clone(), offers: all, confirmation: subject.is_victim.then(victim), complete: true }
}

/// What became of the first signal to the nightly job.
pub fn outcome(signal: Signal, seconds: i64, pids: &[(Pid, &str)]) -> Outcome {
    let hits = pids
        .iter()
        .map(|(pid, name)| Hit {
            id: super::diagnosis::process(*pid, 1, name, name, "root").id,
            name: (*name).to_owned(),
            result: Ok(()),
        })
        .collect();
    let nightly = Subject { job: nightly_id().to_string(), name: "nightly.sh".into(), ..Subject::default() };
    Outcome { hits, ..Outcome::new(1, at(seconds), &nightly, Action::End(signal)) }
}

/// A play: events in order, and the screen after each.
pub struct Play {
    events: VecDeque<Event>,
    world: FakeWorld,
    size: (u16, u16),
    depth: Depth,
    site: Option<Site>,
    rights: Rights,
}

/// What came of a play.
pub struct Ended {
    /// What the world was asked.
    pub calls: Vec<Call>,
    /// All of what was ordered.
    pub orders: Vec<Order>,
    /// The evidence that orders were given on.
    pub grounds: Vec<Grounds>,
    /// What pauses have shown, as it was written down.
    pub proven: Vec<String>,
    /// The last screen.
    pub screen: String,
    /// Its cells, with their styles.
    pub buffer: ratatui::buffer::Buffer,
    /// How many frames were drawn.
    pub frames: usize,
    /// Events that nobody took, because the loop had ended.
    pub left: usize,
}

impl Ended {
    /// Says what was on the screen if a text is not on it.
    #[track_caller]
    pub fn shows(&self, text: &str) {
        assert!(self.screen.contains(text), "{text:?} is not on the screen:\n{}", self.screen);
    }

    #[track_caller]
    pub fn hides(&self, text: &str) {
        assert!(!self.screen.contains(text), "{text:?} is on the screen:\n{}", self.screen);
    }
}

impl Play {
    pub fn new(width: u16, height: u16) -> Self {
        Self {
            events: VecDeque::new(),
            world: FakeWorld::default(),
            size: (width, height),
            depth: Depth::Cube,
            site: None,
            rights: Rights::Act,
        }
    }

    pub fn depth(mut self, depth: Depth) -> Self {
        self.depth = depth;
        self
    }

    pub fn sees(mut self, diagnosis: Diagnosis) -> Self {
        self.events.push_back(Event::Diagnosis(Arc::new(diagnosis)));
        self
    }

    pub fn glances(mut self, glance: Glance) -> Self {
        self.events.push_back(Event::Glance(super::diagnosis::calm().host, Box::new(glance)));
        self
    }

    pub fn sees_shared(mut self, diagnosis: &Arc<Diagnosis>) -> Self {
        self.events.push_back(Event::Diagnosis(diagnosis.clone()));
        self
    }

    pub fn types(mut self, script: &str) -> Self {
        self.events.extend(keys(script));
        self
    }

    pub fn hears(mut self, outcome: Outcome) -> Self {
        self.events.push_back(Event::Report(Report::Outcome(outcome)));
        self
    }

    /// Nothing may be done.
    pub fn read_only(mut self) -> Self {
        self.rights = Rights::Look;
        self
    }

    /// A site is probed; what came of it follows as events.
    pub fn probing(mut self, url: &str) -> Self {
        self.site = Some(Site::new(url));
        self
    }

    /// The site answered a question that was asked at this second.
    pub fn site_answers(self, second: i64, result: Result<Reply, Failure>) -> Self {
        let news = News::Answered(Answer { asked: at(second), result });
        self.then(Event::Site(News::Asked(at(second)))).then(Event::Site(news))
    }

    pub fn reports(self, report: Report) -> Self {
        self.then(Event::Report(report))
    }

    pub fn then(mut self, event: Event) -> Self {
        self.events.push_back(event);
        self
    }

    pub fn refusing(mut self, pid: Pid, why: Refusal) -> Self {
        self.world.refused.push((pid, why));
        self
    }

    pub fn refusing_all(mut self, why: Refusal) -> Self {
        self.world.refuse_all = Some(why);
        self
    }

    /// Runs the real loop, one frame an event.
    pub fn ends(self) -> Ended {
        let state = self.state();
        let mut events = self.events;
        self.world.play(&mut events, self.size, state, VecDeque::len)
    }

    /// Runs the real loop with all events there at once, as after a stall.
    pub fn ends_at_once(self) -> Ended {
        let state = self.state();
        let mut events = Flood(self.events);
        self.world.play(&mut events, self.size, state, |events| events.0.len())
    }

    fn state(&self) -> State {
        let mut state = State::new(TimeZone::UTC, self.depth);
        state.site.clone_from(&self.site);
        state.rights = self.rights;
        state
    }
}

/// All events are pending at once.
struct Flood(VecDeque<Event>);

impl Events for Flood {
    fn next(&mut self) -> Option<Event> {
        self.0.pop_front()
    }

    fn pending(&mut self) -> Option<Event> {
        self.0.pop_front()
    }
}

impl FakeWorld {
    fn play<E: Events>(mut self, events: &mut E, size: (u16, u16), state: State, left: impl Fn(&E) -> usize) -> Ended {
        let backend = Counting { inner: TestBackend::new(size.0, size.1), frames: 0 };
        let mut terminal = Terminal::new(backend).expect("a test backend");
        run(&mut terminal, state, events, &mut self).expect("the loop ends well");
        let (calls, orders, grounds) = (self.calls.borrow().clone(), self.orders.borrow().clone(), self.grounds.borrow().clone());
        let proven = self.proven.borrow().clone();
        let Counting { inner, frames } = terminal.backend();
        let screen = text_of(inner.buffer());
        Ended { calls, orders, grounds, proven, screen, buffer: inner.buffer().clone(), frames: *frames, left: left(events) }
    }
}

/// A test backend that counts its frames.
struct Counting {
    inner: TestBackend,
    frames: usize,
}

impl Backend for Counting {
    type Error = Infallible;

    fn draw<'a, I>(&mut self, content: I) -> Result<(), Infallible>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.inner.draw(content)
    }

    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.inner.hide_cursor()
    }

    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.inner.show_cursor()
    }

    /// The real terminal would have to be asked, and the input thread would take its answer away.
    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        panic!("the loop must not ask the terminal where its cursor is")
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        self.inner.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.inner.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> Result<(), Infallible> {
        self.inner.clear_region(clear_type)
    }

    fn size(&self) -> Result<Size, Infallible> {
        self.inner.size()
    }

    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        self.inner.window_size()
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        self.frames += 1;
        self.inner.flush()
    }
}

/// The text of a screen, without blanks at line ends.
pub fn text_of(buffer: &ratatui::buffer::Buffer) -> String {
    let area = buffer.area;
    let mut out = String::new();
    for y in 0..area.height {
        let mut line = String::new();
        let mut skip = 0;
        for x in 0..area.width {
            let symbol = buffer[(x, y)].symbol();
            if skip == 0 {
                line.push_str(symbol);
            }
            skip = unicode_width::UnicodeWidthStr::width(symbol).max(skip).saturating_sub(1);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}
