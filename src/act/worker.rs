//! The thread that sends, so that the screen never waits for it, and an answer for every order.
//!
//! Started before it is needed: on a host in trouble a new thread may not be had. Tested by `tests/act.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::process::setpriority_process;

use super::hand::Armed;
use crate::action::{Outcome, Signal};

/// The nice value that goes first.
const FIRST: i32 = -20;

/// Sends what it is given, in order, and reports each outcome.
pub struct Worker {
    orders: Option<Sender<(Armed, Signal)>>,
    thread: Option<JoinHandle<()>>,
    on_outcome: Arc<Mutex<dyn FnMut(Outcome) + Send>>,
}

impl Worker {
    /// Starts the thread. Where there is none to be had, orders are carried out by whoever gives them.
    pub fn start(on_outcome: impl FnMut(Outcome) + Send + 'static) -> Self {
        let on_outcome: Arc<Mutex<dyn FnMut(Outcome) + Send>> = Arc::new(Mutex::new(on_outcome));
        let (orders, inbox) = channel::<(Armed, Signal)>();
        let answer = Arc::clone(&on_outcome);
        let thread = Builder::new().name("whytop-act".to_owned()).spawn(move || {
            // The host is in trouble, and this thread ends it: as root it goes before those who cause it. (For Linux
            // "this process" means this thread.)
            let _ = setpriority_process(None, FIRST);
            for (armed, signal) in inbox {
                let outcome = armed.send(signal);
                // A receiver that panics must not take the orders with it that wait behind.
                let _ = catch_unwind(AssertUnwindSafe(|| report(&answer, outcome)));
            }
        });
        Self { orders: Some(orders), thread: thread.ok(), on_outcome }
    }

    /// Orders the signal, and returns at once.
    pub fn hit(&self, armed: Armed, signal: Signal) {
        let refused = match &self.orders {
            Some(orders) => orders.send((armed, signal)).err().map(|error| error.0),
            None => Some((armed, signal)),
        };
        if let Some((armed, signal)) = refused {
            report(&self.on_outcome, armed.send(signal));
        }
    }
}

fn report(on_outcome: &Mutex<dyn FnMut(Outcome) + Send>, outcome: Outcome) {
    let mut on_outcome = on_outcome.lock().unwrap_or_else(PoisonError::into_inner);
    on_outcome(outcome);
}

impl Drop for Worker {
    /// Waits for what is under way: whoever quits right after the key still ends the job.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It catches its panics, so there is no error to pass on.
            let _ = thread.join();
        }
    }
}
