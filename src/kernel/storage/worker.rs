//! The thread that reads mounts and block devices, and what is on its way through it.
//!
//! It may get stuck for good on a mount that does not come about: then it is never joined, and what it is at is named. Knows nothing
//! of when to ask. Tested by `tests/storage.rs`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    fs, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{super::root::ProcRoot, block, mountinfo};
use crate::{
    sample::{BlockDevice, Gap, Mount, Storage},
    units::Pid,
};

/// A read that takes longer is overdue. It takes some milliseconds where there are many mounts.
const DEADLINE: Duration = Duration::from_secs(2);
/// Most mounts of the own namespace that are kept, some 200 bytes each. Hosts with hundreds of containers have a few thousand.
const MOUNTS: usize = 4096;
/// Most mounts of other namespaces that are kept; the ones read longest ago go first.
const FOREIGN: usize = 1024;
/// Most namespaces read for one request.
const NAMESPACES: usize = 16;
/// A mount that a namespace did not have is not looked for there again so soon, whoever asks.
const TRIED: Duration = Duration::from_secs(30);

/// What to read.
#[derive(Default)]
pub(super) struct Request {
    /// The own mount table and all block devices.
    pub tables: bool,
    /// Mounts that are in the namespace of that process.
    pub wanted: HashSet<(Pid, u32)>,
}

impl Request {
    fn is_empty(&self) -> bool {
        !self.tables && self.wanted.is_empty()
    }
}

/// What the thread and those who ask share.
pub(super) struct Shared {
    root: ProcRoot,
    /// The own mount table, below the proc root. `None`: that tree has none.
    table: Option<&'static str>,
    state: Mutex<State>,
    work: Condvar,
    back: Condvar,
}

#[derive(Default)]
struct State {
    request: Request,
    /// Since when it reads, and what.
    running: Option<(Instant, String)>,
    answer: Option<Arc<Storage>>,
    gaps: Vec<Gap>,
    closing: bool,
}

/// What was read so far.
#[derive(Default)]
struct Known {
    mounts: Vec<Mount>,
    devices: Vec<BlockDevice>,
    foreign: BTreeMap<u32, (Instant, Mount)>,
    tried: HashMap<(OsString, u32), Instant>,
    told: Option<Arc<Storage>>,
}

impl Shared {
    /// Starts the thread.
    pub fn start(root: &ProcRoot, table: Option<&'static str>) -> io::Result<Arc<Self>> {
        let shared =
            Arc::new(Self { root: root.clone(), table, state: Mutex::default(), work: Condvar::new(), back: Condvar::new() });
        let worker = Arc::clone(&shared);
        thread::Builder::new().name("storage".to_owned()).spawn(move || worker.work())?;
        Ok(shared)
    }

    /// Adds to what is to be read.
    pub fn ask(&self, request: Request) {
        if !request.is_empty() {
            let mut state = self.lock();
            state.request.tables |= request.tables;
            state.request.wanted.extend(request.wanted);
            self.work.notify_one();
        }
    }

    /// What is new since the last call, if anything is; and what could not be read.
    pub fn collect(&self, gaps: &mut Vec<Gap>) -> Option<Arc<Storage>> {
        let mut state = self.lock();
        gaps.extend(state.gaps.iter().cloned());
        if let Some((_, file)) = state.overdue() {
            gaps.push(Gap::Host { file: file.clone(), why: format!("no answer within {} s", DEADLINE.as_secs()) });
        }
        state.answer.take()
    }

    /// Waits until nothing is on its way that may still come, or until the deadline is over.
    pub fn settle(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        let mut state = self.lock();
        while (state.running.is_some() || !state.request.is_empty()) && state.overdue().is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            // Nobody reports that a read became overdue.
            let due = state.running.as_ref().map_or(DEADLINE, |(since, _)| DEADLINE.saturating_sub(since.elapsed()));
            let wait = left.min(due + Duration::from_millis(1));
            state = self.back.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Ends the thread, as soon as it comes back.
    pub fn close(&self) {
        self.lock().closing = true;
        self.work.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, file: &str) {
        self.lock().running = Some((Instant::now(), file.to_owned()));
    }

    fn work(&self) {
        let mut known = Known::default();
        let mut state = self.lock();
        while !state.closing {
            if state.request.is_empty() {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let request = std::mem::take(&mut state.request);
            // Also before the first file: between this and the next lock nothing may look as if all were done.
            state.running = Some((Instant::now(), "mountinfo".to_owned()));
            drop(state);
            let gaps = request.tables.then(|| known.read_tables(self));
            known.read_foreign(self, &request.wanted);
            let storage = known.news();
            state = self.lock();
            state.running = None;
            state.answer = storage.or(state.answer.take());
            if let Some(gaps) = gaps {
                state.gaps = gaps;
            }
            self.back.notify_all();
        }
    }
}

impl State {
    fn overdue(&self) -> Option<&(Instant, String)> {
        self.running.as_ref().filter(|(since, _)| since.elapsed() > DEADLINE)
    }
}

impl Known {
    /// Reads the own mount table and all block devices. What cannot be read stays as it was.
    fn read_tables(&mut self, shared: &Shared) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |file: &str, why: String| gaps.push(Gap::Host { file: file.to_owned(), why });
        if let Some(sys) = shared.root.sys() {
            let class = sys.join("class/block").display().to_string();
            shared.begin(&class);
            match block::read(sys) {
                Ok(devices) => self.devices = devices,
                Err(error) => gap(&class, error.to_string()),
            }
        }
        if let Some(table) = shared.table {
            shared.begin(table);
            let mut left = MOUNTS;
            let mut cut = false;
            let read = mountinfo::read(&shared.root.path().join(table), |_| {
                cut = left == 0;
                left = left.saturating_sub(1);
                (!cut).then_some(true)
            });
            match read {
                Ok(mounts) => self.mounts = mounts,
                Err(error) => gap(table, error.to_string()),
            }
            if cut {
                gap(table, format!("more than {MOUNTS} mounts: the others are left out"));
            }
        }
        gaps
    }

    /// Looks for mounts in the namespaces of the processes that have files open there.
    fn read_foreign(&mut self, shared: &Shared, wanted: &HashSet<(Pid, u32)>) {
        let now = Instant::now();
        self.tried.retain(|_, tried| now.duration_since(*tried) < TRIED);
        let mut namespaces: HashMap<OsString, (Pid, HashSet<u32>)> = HashMap::new();
        // Numbers are one space for the whole host: what the own table has is not elsewhere.
        let own: HashSet<u32> = self.mounts.iter().map(|mount| mount.id).collect();
        for (pid, id) in wanted.iter().filter(|(_, id)| !own.contains(id)) {
            let name = format!("{pid}/ns/mnt");
            shared.begin(&name);
            // Gone, or not allowed to look.
            let Ok(namespace) = fs::read_link(shared.root.path().join(name)) else { continue };
            let namespace = namespace.into_os_string();
            let full = namespaces.len() >= NAMESPACES && !namespaces.contains_key(&namespace);
            if !full && !self.tried.contains_key(&(namespace.clone(), *id)) {
                namespaces.entry(namespace).or_insert((*pid, HashSet::new())).1.insert(*id);
            }
        }
        for (namespace, (pid, ids)) in namespaces {
            let table = format!("{pid}/mountinfo");
            shared.begin(&table);
            let Ok(mounts) = mountinfo::read(&shared.root.path().join(table), |id| Some(ids.contains(&id))) else { continue };
            self.tried.extend(ids.into_iter().map(|id| ((namespace.clone(), id), now)));
            self.foreign.extend(mounts.into_iter().map(|mount| (mount.id, (now, mount))));
        }
        while self.foreign.len() > FOREIGN {
            let Some(oldest) = self.foreign.iter().min_by_key(|(_, (read, _))| *read).map(|(id, _)| *id) else { break };
            self.foreign.remove(&oldest);
        }
    }

    /// All that is known, if it is not what was told last.
    fn news(&mut self) -> Option<Arc<Storage>> {
        // A number that the own table has again belongs to that mount now.
        for mount in &self.mounts {
            self.foreign.remove(&mount.id);
        }
        let foreign = self.foreign.values().map(|(_, mount)| mount.clone()).collect();
        let storage = Storage { mounts: self.mounts.clone(), devices: self.devices.clone(), foreign };
        let told = self.told.as_deref().is_some_and(|told| *told == storage);
        // A tree that has neither of them says nothing, not that there are none.
        if told || (self.told.is_none() && storage == Storage::default()) {
            return None;
        }
        self.told = Some(Arc::new(storage));
        self.told.clone()
    }
}
