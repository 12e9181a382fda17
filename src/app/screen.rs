//! The screen in the real world: terminal, input, signals, sampler and actor, all sending to the one channel.

use std::any::Any;
use std::env;
use std::io::{IsTerminal, Write as _, stderr, stdout};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::note::{Landings, landed, left_paused, shown};
use crate::act::{Hand, Tools, Worker};
use crate::action::{Aim, Order, Report, Subject};
use crate::cli::Cli;
use crate::config::Knowledge;
use crate::grounds::Grounds;
use crate::kernel::WatchedReader;
use crate::probe::Probe;
use crate::proof::Proof;
use crate::runs::Keeper;
use crate::sampler::{Config, Sampler, Seen};
use crate::site::Site;
use crate::trace::{Entry, Places, Trace};
use crate::ui::World;
use crate::ui::event::{Event, Events};
use crate::ui::keys::Rights;
use crate::ui::state::State;
use crate::ui::terminal::{self, Guard};
use crate::ui::theme::Depth;
use crate::units::ProcessId;

/// The clock on the screen moves this often, also between samples.
const TICK: Duration = Duration::from_secs(1);
/// Whoever was told to end ends within a second, even if the terminal takes no more output.
const LAST_WORDS: Duration = Duration::from_millis(700);

/// Opens the screen and stays until somebody leaves it.
pub fn run(mut reader: WatchedReader, knowledge: Knowledge, cli: &Cli) -> Result<u8> {
    if !stdout().is_terminal() {
        bail!("standard output is no terminal; `whytop once` prints the verdict without one");
    }
    let facts = reader.facts()?;
    let own_host = facts.own_pid.is_some();
    // Reads a file: before the first frame, not on the way of a key.
    let zone = TimeZone::system();
    let (send, inbox) = channel();
    let told = end_on_signals(send.clone())?;
    let mut monitor = super::monitor(&facts, knowledge);
    let keeper = own_host.then(Keeper::start).transpose().context("start the thread that keeps earlier runs")?;
    let host = Arc::clone(monitor.facts());
    let (cut_short, ends) = channel::<Vec<ProcessId>>();
    let answers = send.clone();
    let failed = Arc::new(Mutex::new(None));
    let failure = Arc::clone(&failed);
    let sampler = Sampler::start(reader, Config { interval: cli.interval }, move |seen| {
        // A fault in the analysis must not leave a screen that stands still and says nothing.
        let event = catch_unwind(AssertUnwindSafe(|| {
            seen.map(|seen| match seen {
                Seen::Glance(glance) => Event::Glance(Arc::clone(&host), glance),
                Seen::Sample(sample) => {
                    for processes in ends.try_iter() {
                        monitor.told_to_end(&processes);
                    }
                    let diagnosis = Arc::new(monitor.ingest(*sample));
                    let ended = monitor.take_runs();
                    if let Some(keeper) = &keeper {
                        keeper.note(ended);
                    }
                    Event::Diagnosis(diagnosis)
                }
            })
        }));
        // What could not be read now may be there at the next look; what is known after a fault may be wrong.
        let is_fault = event.is_err();
        let event = event.unwrap_or_else(|panic| Err(anyhow!("whytop failed: {}", panic_words(&*panic))));
        let failed = event.as_ref().err().map(|error| format!("{error:#}"));
        let event = event.unwrap_or_else(|error| Event::LookFailed(format!("{error:#}")));
        *failure.lock().unwrap_or_else(PoisonError::into_inner) = failed;
        if answers.send(event).is_err() || is_fault { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let sampler = Arc::new(sampler);
    let mut state = State::new(zone, colours());
    if cli.read_only {
        state.rights = Rights::Look;
    }
    let untraced = send.clone();
    let places = Places::usual(cli.trace.as_deref());
    let tools = Tools { trace: Some(places.file.clone()), ..Tools::of_this_host() };
    let trace = Arc::new(Trace::start(places, move |words| {
        let _ = untraced.send(Event::Trace(words));
    }));
    let news = send.clone();
    let tell = move |told| if news.send(Event::Site(told)).is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    let probe = cli.probe.clone().map(|address| {
        state.site = Some(Site::new(&address.shown()));
        Probe::start(address, tell)
    });
    let _probe = probe.transpose()?;
    let worker = worker(tools, &send, &sampler, &trace);
    let guard = Guard::enter()?;
    let world =
        Host { guard: &guard, hand: Hand::new(own_host), worker: &worker, trace: Arc::clone(&trace), cut_short, aim: None };
    let ran = show(Inbox(inbox), &send, world, state);
    // Before anything is waited for: nobody is kept on a screen that is dead.
    drop(guard);
    let left = worker.finish();
    let busy = left.busy.iter().map(|what| format!("still under way, and left to itself: {what}"));
    for words in busy.chain(left.standing.iter().filter(|standing| standing.is_paused()).map(left_paused)) {
        // Nobody may be there to read it any more.
        let _ = writeln!(stderr(), "whytop: {words}");
    }
    if let Some(words) = trace.finish() {
        eprintln!("whytop: {words}");
    }
    match told.load(Ordering::SeqCst) {
        0 => {}
        signal => emulate_default_handler(signal).context("end as the signal asks")?,
    }
    match (ran, failed.lock().unwrap_or_else(PoisonError::into_inner).take()) {
        (Err(error), _) if !terminal::is_gone(&error) => Err(error),
        (_, Some(why)) => bail!("the last look failed: {why}"),
        _ => Ok(0),
    }
}

/// What a panic said.
fn panic_words(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<&str>().copied();
    words.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no words")
}

fn show(mut inbox: Inbox, send: &Sender<Event>, mut world: Host, state: State) -> Result<()> {
    let input = send.clone();
    terminal::spawn_input(move |event| input.send(event).is_ok())?;
    crate::ui::run(&mut world.guard.screen()?, state, &mut inbox, &mut world)
}

/// Starts what carries out orders; its answers go to the screen and into the trace.
fn worker(tools: Tools, send: &Sender<Event>, sampler: &Arc<Sampler>, trace: &Arc<Trace>) -> Worker {
    let (reports, look_again, results) = (send.clone(), Arc::clone(sampler), Arc::clone(trace));
    let mut landings = Landings::default();
    Worker::start(tools, move |report| {
        let changed = matches!(report, Report::Outcome(_));
        match &report {
            Report::Outcome(outcome) => results.note(Entry::result(outcome)),
            Report::Landing(landing) if landings.is_news(landing) => results.note(landed(landing)),
            _ => {}
        }
        // Nobody there to hear: the screen was left.
        let _ = reports.send(Event::Report(report));
        if changed {
            look_again.nudge();
        }
    })
}

/// How many colours the terminal has, by its own word.
fn colours() -> Depth {
    let [no_color, term, colorterm] = ["NO_COLOR", "TERM", "COLORTERM"].map(|name| env::var(name).ok());
    Depth::choose(no_color.as_deref(), term.as_deref(), colorterm.as_deref())
}

/// Turns signals into events; answers where the one that ends the program is written down.
fn end_on_signals(send: Sender<Event>) -> Result<Arc<AtomicI32>> {
    let told = Arc::new(AtomicI32::new(0));
    let written = Arc::clone(&told);
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP]).context("listen to signals")?;
    let listen = move || {
        for signal in signals.forever() {
            if signal == SIGTSTP {
                let _ = send.send(Event::Suspend);
                continue;
            }
            written.store(signal, Ordering::SeqCst);
            let _ = send.send(Event::Quit);
            thread::sleep(LAST_WORDS);
            // The screen is stuck in a write to a terminal that nobody reads.
            terminal::restore();
            let _ = emulate_default_handler(signal);
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(listen).context("start the signal thread")?;
    Ok(told)
}

/// The channel, with the clock for when nothing comes.
struct Inbox(Receiver<Event>);

impl Events for Inbox {
    fn next(&mut self) -> Option<Event> {
        match self.0.recv_timeout(TICK) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => Some(Event::Tick(Timestamp::now())),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn pending(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// The hands of the screen on this host.
struct Host<'a> {
    guard: &'a Guard,
    hand: Hand,
    worker: &'a Worker,
    trace: Arc<Trace>,
    /// To whoever notes how long runs take.
    cut_short: Sender<Vec<ProcessId>>,
    /// What is held.
    aim: Option<Aim>,
}

impl World for Host<'_> {
    fn aim(&mut self, subject: &Subject) -> Aim {
        let aim = self.hand.aim(subject);
        self.worker.survey(subject.clone(), aim.clone());
        self.aim = Some(aim.clone());
        aim
    }

    fn order(&mut self, order: Order, grounds: Grounds) {
        if let Some((armed, aim)) = self.hand.arm().zip(self.aim.take()) {
            self.trace.note(Entry::asked(Timestamp::now(), &order, &aim, grounds));
            if order.action.ends() {
                // Before it is done: the next sample may miss the job already.
                let all = || aim.targets.iter().map(|aimed| aimed.candidate.id).collect();
                let _ = self.cut_short.send(order.only.clone().unwrap_or_else(all));
            }
            self.worker.order(armed, order);
        }
    }

    fn shown(&mut self, ticket: u64, proof: &Proof) {
        self.trace.note(shown(Timestamp::now(), ticket, proof));
    }

    fn release(&mut self) {
        self.hand.release();
    }

    fn suspend(&mut self) -> Result<()> {
        self.guard.lend(|| emulate_default_handler(SIGTSTP).context("stop"))
    }
}
