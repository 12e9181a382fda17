//! Users' names, read by a thread of their own: the list may lie on a disk that does not answer, and then users go by their numbers.
//!
//! Whoever asks gets what is known at that moment. Tested in place, and by `tests/wedge.rs` with a list that never comes.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use sysinfo::Users;

/// The list is read again at most this often, however many unknown numbers come along (containers have many).
const AGE: Duration = Duration::from_mins(1);
/// A read that takes longer is overdue. It takes a fraction of a millisecond.
const DEADLINE: Duration = Duration::from_millis(500);

/// How the list is read. `None`: it cannot be for now.
type Read = fn() -> Option<HashMap<u32, String>>;

/// Users' names, as far as they were asked for and have come.
pub(super) struct Names {
    read: Read,
    deadline: Duration,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    back: Condvar,
}

#[derive(Default)]
struct State {
    names: HashMap<u32, String>,
    /// When the last read ended.
    loaded: Option<Instant>,
    /// Since when the list is being read.
    running: Option<Instant>,
    lists: u64,
}

impl Names {
    /// Begins to read the list of this host.
    pub fn begin() -> Self {
        Self::with(DEADLINE, || {
            let users = Users::new_with_refreshed_list().ok()?;
            let names: HashMap<u32, String> = users.iter().map(|user| (**user.id(), user.name().to_owned())).collect();
            // A file that cannot be opened gives a list of nobody.
            (!names.is_empty()).then_some(names)
        })
    }

    fn with(deadline: Duration, read: Read) -> Self {
        let names = Self { read, deadline, shared: Arc::default() };
        names.reread(&mut names.shared.lock());
        names
    }

    /// This user's name, if it is known by now.
    pub fn look_up(&self, uid: u32) -> Option<String> {
        let mut state = self.shared.lock();
        let name = state.names.get(&uid).cloned();
        if name.is_none() && state.running.is_none() && state.loaded.is_none_or(|loaded| loaded.elapsed() >= AGE) {
            self.reread(&mut state);
        }
        name
    }

    /// How many lists have come: with each there may be names that were asked for in vain.
    pub fn lists(&self) -> u64 {
        self.shared.lock().lists
    }

    /// Whether the list does not come.
    pub fn is_overdue(&self) -> bool {
        self.shared.lock().running.is_some_and(|since| since.elapsed() >= self.deadline)
    }

    /// Waits until the list has come or is overdue, or until the deadline is over.
    pub fn settle(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut state = self.shared.lock();
        while let Some(since) = state.running {
            let left = end.min(since + self.deadline).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.shared.back.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn reread(&self, state: &mut State) {
        let (shared, read) = (Arc::clone(&self.shared), self.read);
        // Not joined, ever: it may be stuck for good.
        let started = thread::Builder::new().name("names".to_owned()).spawn(move || {
            let names = read();
            let mut state = shared.lock();
            (state.running, state.loaded) = (None, Some(Instant::now()));
            if let Some(names) = names {
                state.names = names;
                state.lists += 1;
            }
            shared.back.notify_all();
        });
        match started {
            Ok(_) => state.running = Some(Instant::now()),
            Err(_) => state.loaded = Some(Instant::now()),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn whoever_asks_gets_what_is_known() {
        static GATE: Mutex<()> = Mutex::new(());
        let closed = GATE.lock();
        let read = || {
            let _open = GATE.lock();
            Some(HashMap::from([(0, "root".to_owned())]))
        };
        let names = Names::with(LONG, read);
        assert_eq!((names.look_up(0), names.lists(), names.is_overdue()), (None, 0, false));
        // Nobody waits for what does not come, however much patience he has.
        let late = Names::with(Duration::from_millis(20), read);
        late.settle(LONG);
        assert_eq!((late.look_up(0), late.is_overdue()), (None, true));
        drop(closed);
        let begin = Instant::now();
        while names.lists() == 0 {
            assert!(begin.elapsed() < LONG, "it does not come");
            thread::yield_now();
        }
        assert_eq!((names.look_up(0).as_deref(), names.is_overdue()), (Some("root"), false));
        assert_eq!((names.look_up(1), names.is_overdue()), (None, false), "and is not read again so soon");
    }

    #[test]
    fn a_list_that_is_expected_is_waited_for() {
        let names = Names::with(LONG, || {
            thread::yield_now();
            Some(HashMap::from([(0, "root".to_owned())]))
        });
        names.settle(LONG);
        assert_eq!(names.look_up(0).as_deref(), Some("root"));
    }
}
