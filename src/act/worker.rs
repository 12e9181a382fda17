//! The threads that act, so that the screen never waits for it, and an answer for every order.
//!
//! The one that sends signals is started before it is needed: on a host in trouble a new thread may not be had. What takes longer
//! (a look around, a proof, systemd, the watch over those who do not go) has threads of its own, so that the next order is carried
//! out at once. Tested by `tests/act.rs` and `tests/act/pause.rs`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use rustix::process::setpriority_process;

use super::hand::Armed;
use super::ledger::Ledger;
use super::offers;
use super::orders;
use super::proof::Word;
use super::survey::{Survey, Tools};
use crate::action::{Aim, Deed, Order, Report, Standing, Subject};
use crate::units::ProcessId;

/// The nice value that goes first.
const FIRST: i32 = -20;
/// Looks around that may be under way at once: each may be stuck in a file, and a stuck one is not waited for.
const SURVEYS: usize = 4;
/// How often what stands is compared with what is: somebody else may have let a job go.
const STANDING: Duration = Duration::from_secs(2);
/// For how long the orders that were given are waited for at the end: one takes two seconds with a job that keeps forking.
const ORDERS: Duration = Duration::from_secs(3);

/// Carries out what it is given, in order, and reports what became of it.
pub struct Worker {
    shared: Arc<Shared>,
    orders: Option<Sender<(Armed, Order)>>,
    /// Disconnected once the thread that carries out orders has ended. `None`: there is none.
    over: Option<Receiver<()>>,
    standing: Option<Sender<()>>,
}

/// What a worker leaves behind when it has finished.
#[derive(Debug)]
pub struct Left {
    /// What was not waited for longer.
    pub busy: Vec<String>,
    /// What was done and stands.
    pub standing: Vec<Standing>,
}

/// A thread with something to do that others should know of when it is left behind.
pub(super) struct Busy {
    /// What it does.
    pub what: String,
    /// For how long it is waited for.
    pub patience: Duration,
    /// Disconnected once it has ended.
    pub over: Receiver<()>,
}

/// What all threads of a worker know.
pub(super) struct Shared {
    report: Mutex<Box<dyn FnMut(Report) + Send>>,
    pub tools: Tools,
    pub ledger: Ledger,
    /// Proofs under way, by job.
    pub proofs: Mutex<HashMap<String, Sender<Word>>>,
    /// Threads that are waited for at the end.
    pub busy: Mutex<Vec<Busy>>,
    /// Watches over those who do not go, by job.
    pub landings: Mutex<HashMap<String, Arc<AtomicBool>>>,
    surveys: AtomicUsize,
}

impl Shared {
    /// Tells whoever listens.
    pub fn report(&self, report: Report) {
        let mut receiver = locked(&self.report);
        // A receiver that panics must not take the orders with it that wait behind.
        let _ = catch_unwind(AssertUnwindSafe(|| receiver(report)));
    }
}

/// The lock, whoever panicked while he had it.
pub(super) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Worker {
    /// Starts the threads. Where there is none to be had, orders are carried out by whoever gives them.
    pub fn start(tools: Tools, on_report: impl FnMut(Report) + Send + 'static) -> Self {
        let ledger = Ledger::at(tools.ledger.clone());
        let shared = Arc::new(Shared {
            report: Mutex::new(Box::new(on_report)),
            tools,
            ledger,
            proofs: Mutex::default(),
            busy: Mutex::default(),
            landings: Mutex::default(),
            surveys: AtomicUsize::new(0),
        });
        let (orders, inbox) = channel::<(Armed, Order)>();
        let hands = Arc::clone(&shared);
        let (running, over) = channel::<()>();
        let thread = Builder::new().name("whytop-act".to_owned()).spawn(move || {
            // The host is in trouble, and this thread ends it: as root it goes before those who cause it. (For Linux
            // "this process" means this thread.)
            let _ = setpriority_process(None, FIRST);
            for (armed, order) in inbox {
                orders::carry_out(&hands, armed, order);
            }
            drop(running);
        });
        let standing = watch_standing(&shared);
        Self { shared, orders: Some(orders), over: thread.is_ok().then_some(over), standing }
    }

    /// Orders the action on what is held, and returns at once.
    pub fn order(&self, armed: Armed, order: Order) {
        let refused = match &self.orders {
            Some(orders) if self.over.is_some() => orders.send((armed, order)).err().map(|error| error.0),
            _ => Some((armed, order)),
        };
        if let Some((armed, order)) = refused {
            orders::carry_out(&self.shared, armed, order);
        }
    }

    /// Looks around for what the actions on this job would meet, and reports it; returns at once.
    pub fn survey(&self, subject: Subject, aim: Aim) {
        let shared = Arc::clone(&self.shared);
        if shared.surveys.fetch_add(1, Ordering::SeqCst) >= SURVEYS {
            // Those before are stuck, and this one would be too: what can be said without waiting is said.
            shared.surveys.fetch_sub(1, Ordering::SeqCst);
            let survey = quick(&shared, &subject, &aim);
            shared.report(Report::Offers(offers::of(&subject, &aim.targets, Some(&survey))));
            return;
        }
        let look = move || {
            let survey = quick(&shared, &subject, &aim);
            let mut known = offers::of(&subject, &aim.targets, Some(&survey));
            known.complete = false;
            shared.report(Report::Offers(known));
            let held: Vec<ProcessId> = aim.reachable().map(|candidate| candidate.id).collect();
            let survey = survey.ask(&subject, &held, &shared.tools);
            shared.report(Report::Offers(offers::of(&subject, &aim.targets, Some(&survey))));
            shared.surveys.fetch_sub(1, Ordering::SeqCst);
        };
        // Without a thread the menu stays as it is: orders look for themselves at what must not be overlooked.
        let _ = Builder::new().name("whytop-survey".to_owned()).spawn(look);
    }
}

fn quick(shared: &Shared, subject: &Subject, aim: &Aim) -> Survey {
    let held: Vec<ProcessId> = aim.reachable().map(|candidate| candidate.id).collect();
    let standing: Vec<Deed> = shared.ledger.of(&subject.job).into_iter().map(|entry| entry.standing.deed).collect();
    Survey::quick(subject, &held, standing, &shared.tools)
}

/// Reports what stands, now and whenever it changes.
fn watch_standing(shared: &Arc<Shared>) -> Option<Sender<()>> {
    let (end, ended) = channel::<()>();
    let shared = Arc::clone(shared);
    let watch = move || {
        let mut told = None;
        loop {
            let now = shared.ledger.standing();
            if told.as_ref() != Some(&now) {
                shared.report(Report::Standing(now.clone()));
                told = Some(now);
            }
            if ended.recv_timeout(STANDING) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    Builder::new().name("whytop-standing".to_owned()).spawn(watch).ok().map(|_| end)
}

impl Worker {
    /// Waits a while for what is under way: whoever quits right after the key still ends the job. A proof under way is cut short, and
    /// its suspect goes on before this process ends.
    pub fn finish(mut self) -> Left {
        let busy = self.wind_up();
        Left { busy, standing: self.shared.ledger.standing() }
    }

    fn wind_up(&mut self) -> Vec<String> {
        self.orders = None;
        self.standing = None;
        let mut left = Vec::new();
        if self.over.take().is_some_and(|over| !ends_within(&over, ORDERS)) {
            left.push("the last order".to_owned());
        }
        for stop in locked(&self.shared.landings).values() {
            stop.store(true, Ordering::Relaxed);
        }
        for proof in locked(&self.shared.proofs).values() {
            let _ = proof.send(Word::Enough);
        }
        let busy: Vec<Busy> = locked(&self.shared.busy).drain(..).collect();
        left.extend(busy.into_iter().filter(|busy| !ends_within(&busy.over, busy.patience)).map(|busy| busy.what));
        left
    }
}

fn ends_within(over: &Receiver<()>, patience: Duration) -> bool {
    over.recv_timeout(patience) != Err(RecvTimeoutError::Timeout)
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.wind_up();
    }
}
