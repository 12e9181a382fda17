//! The trace of actions: who did what to which processes, on which evidence, and what came of it. In the system's log, and in a file that is
//! only ever appended to.
//!
//! The disk below that file may be the one that is stuck. So nobody ever waits for it: [`Trace::note`] puts the entry into a bounded queue and
//! returns; the clerk, a thread that touches no disk, hands it on to two threads that write and may stand still there; and what has not been
//! written for [`LATE`] is told, for the screen. One of the homes of files, clocks and threads. Tested by `tests/trace.rs`.

#![allow(clippy::disallowed_methods, reason = "being late takes a clock")]

mod entry;
mod writers;

use std::collections::VecDeque;
use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

pub use self::entry::{Entry, Step, Who};
use self::writers::{ToFile, ToLog};
use crate::units::clean;

/// After this long without being written, an entry is late: a disk that answers at all takes a line at once, into memory.
const LATE: Duration = Duration::from_secs(2);
/// Entries that wait at the most: two for each action, and nobody acts a hundred times on a host whose disk is stuck.
const QUEUE: usize = 256;
/// Whoever leaves waits this long at the most until everything is written.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Where the trace goes.
#[derive(Clone, Debug)]
pub struct Places {
    /// The file.
    pub file: PathBuf,
    /// The socket of the system's log.
    pub log: PathBuf,
}

impl Places {
    /// The usual ones of this user, or this file.
    pub fn usual(file: Option<&Path>) -> Self {
        Self { file: file.map_or_else(usual_file, Path::to_owned), log: PathBuf::from("/dev/log") }
    }
}

fn usual_file() -> PathBuf {
    if geteuid().is_root() {
        return PathBuf::from("/var/log/whytop.log");
    }
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
    let state = state.or_else(|| Some(folder("HOME")?.join(".local/state")));
    state.unwrap_or_else(env::temp_dir).join("whytop").join("actions.log")
}

/// The trace. Cheap to ask; may be shared.
#[derive(Debug)]
pub struct Trace {
    clerk: Option<SyncSender<Message>>,
    lost: Arc<AtomicUsize>,
    file: PathBuf,
}

enum Message {
    Note(Box<Entry>),
    Written(Hand, io::Result<()>),
    Finish(Sender<Option<String>>),
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hand {
    File,
    Log,
}

impl Trace {
    /// Starts the threads. `tell` gets a sentence when the trace is not written, and `None` when it is again; it runs on the clerk's thread.
    pub fn start(places: Places, tell: impl FnMut(Option<String>) + Send + 'static) -> Self {
        let (send, inbox) = sync_channel(QUEUE);
        let file = places.file.clone();
        let lost: Arc<AtomicUsize> = Arc::default();
        let (to_hands, losing) = (send.clone(), Arc::clone(&lost));
        let clerk = thread::Builder::new()
            .name("trace".to_owned())
            .spawn(move || Clerk::new(&places, &to_hands, losing, tell).work(&inbox));
        Self { clerk: clerk.is_ok().then_some(send), lost, file }
    }

    /// Writes this down some time soon. Never waits.
    pub fn note(&self, entry: Entry) {
        let taken = self.clerk.as_ref().is_some_and(|clerk| clerk.try_send(Message::Note(Box::new(entry))).is_ok());
        self.lost.fetch_add(usize::from(!taken), Relaxed);
    }

    /// Waits a moment until everything is written; a sentence if it is not by then.
    pub fn finish(&self) -> Option<String> {
        self.finish_within(LAST_WAIT)
    }

    /// The same, for so long at the most.
    pub fn finish_within(&self, patience: Duration) -> Option<String> {
        let (done, answer) = channel();
        let asked = self.clerk.as_ref().is_some_and(|clerk| clerk.try_send(Message::Finish(done)).is_ok());
        let told = if asked { answer.recv_timeout(patience).ok() } else { None };
        told.unwrap_or_else(|| Some(not_yet(&self.file)))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(clerk) = &self.clerk {
            let _ = clerk.try_send(Message::End);
        }
    }
}

fn not_yet(file: &Path) -> String {
    format!("the trace of what was done is not written yet: {} does not answer", clean(&file.display().to_string()))
}

/// Who has the lines that are not written yet.
struct Pen {
    entries: Sender<Arc<Entry>>,
    /// When each of them was handed over.
    open: VecDeque<Instant>,
    error: Option<String>,
    /// The last entry is written.
    well: bool,
}

impl Pen {
    fn start(hand: Hand, told: &SyncSender<Message>, mut write: impl FnMut(&Entry) -> io::Result<()> + Send + 'static) -> Self {
        let (entries, inbox) = channel::<Arc<Entry>>();
        let told = told.clone();
        let started = thread::Builder::new().name("trace-write".to_owned()).spawn(move || {
            for entry in inbox {
                if told.send(Message::Written(hand, write(&entry))).is_err() {
                    return;
                }
            }
        });
        Self { entries, open: VecDeque::new(), error: started.err().map(|error| error.to_string()), well: false }
    }

    /// Whether there was room for it.
    fn hand_over(&mut self, entry: &Arc<Entry>) -> bool {
        let taken = self.open.len() < QUEUE && self.entries.send(Arc::clone(entry)).is_ok();
        if taken {
            self.open.push_back(Instant::now());
        }
        taken
    }

    fn late(&self) -> bool {
        self.open.front().is_some_and(|since| since.elapsed() >= LATE)
    }
}

/// Hands entries on and knows which are written. Touches no file itself.
struct Clerk<F> {
    places: Places,
    file: Pen,
    log: Pen,
    lost: Arc<AtomicUsize>,
    tell: F,
    told: Option<String>,
}

impl<F: FnMut(Option<String>)> Clerk<F> {
    fn new(places: &Places, hands: &SyncSender<Message>, lost: Arc<AtomicUsize>, tell: F) -> Self {
        let (mut to_file, mut to_log) = (ToFile::new(places.file.clone()), ToLog::new(places.log.clone()));
        // Found out by the threads that may stand still: users are looked up in files.
        let who: Arc<OnceLock<Who>> = Arc::default();
        let known = Arc::clone(&who);
        Self {
            places: places.clone(),
            file: Pen::start(Hand::File, hands, move |entry| to_file.write(&entry::json(who.get_or_init(Who::now), entry))),
            log: Pen::start(Hand::Log, hands, move |entry| to_log.write(&entry::sentence(known.get_or_init(Who::now), entry))),
            lost,
            tell,
            told: None,
        }
    }

    fn work(mut self, inbox: &Receiver<Message>) {
        let mut leaving: Option<Sender<Option<String>>> = None;
        loop {
            let open = self.file.open.front().or(self.log.open.front());
            let message = match open {
                Some(since) => inbox.recv_timeout(LATE.checked_sub(since.elapsed()).unwrap_or(LATE)),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match message {
                Ok(Message::Note(entry)) => {
                    let entry = Arc::from(entry);
                    self.log.hand_over(&entry);
                    if !self.file.hand_over(&entry) {
                        self.lost.fetch_add(1, Relaxed);
                    }
                }
                Ok(Message::Written(hand, result)) => self.written(hand, result),
                Ok(Message::Finish(done)) => leaving = Some(done),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(done) = leaving.take_if(|_| self.file.open.is_empty() && self.log.open.is_empty()) {
                let _ = done.send(self.words());
            }
            let words = self.words();
            if words != self.told {
                self.told.clone_from(&words);
                (self.tell)(words);
            }
        }
    }

    fn written(&mut self, hand: Hand, result: io::Result<()>) {
        let pen = if hand == Hand::File { &mut self.file } else { &mut self.log };
        pen.open.pop_front();
        pen.well = result.is_ok();
        pen.error = result.err().map(|error| error.to_string());
    }

    /// What is wrong with the file. A host without a system log has nothing wrong with it.
    fn words(&self) -> Option<String> {
        if self.file.late() {
            return Some(not_yet(&self.places.file));
        }
        let file = clean(&self.places.file.display().to_string());
        let Some(error) = &self.file.error else {
            let lost = self.lost.load(Relaxed);
            return (lost > 0).then(|| format!("{lost} lines of the trace are lost: too many waited for {file}"));
        };
        let elsewhere = if self.log.well { "; it is in the system's log" } else { "" };
        Some(format!("the trace of what was done is not written to {file}: {error}{elsewhere}"))
    }
}
