//! Who processes are, read off the sampling path.
//!
//! Reading a command line takes a lock of the process that is looked at, and when that process is stuck the read never
//! returns. So threads of a pool read, and the sampler asks and collects without waiting. A thread that got stuck is given up
//! on (never joined, so it cannot keep whytop from exiting), and the process it is stuck on is named: that is evidence.
//!
//! [`Identities`] decides when to ask, `pool` has the threads, `read` the files, `names` the users. Tested through [`crate::kernel::Reader`].

mod names;
mod pool;
mod read;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use compact_str::CompactString;

use self::{
    names::Names,
    pool::{Ask, Pool},
};
use super::root::ProcRoot;
use crate::{
    sample::{Identity, Process},
    units::{Nanos, ProcessId, SECOND},
};

/// Programs start by stages (a shell forks, then execs; a daemon sets its title): one that was younger than this when it was
/// first read is read once more.
const YOUNG: Nanos = 2 * SECOND;
/// A process that runs may change its title (`nginx: worker`, `postgres: backup`): read it again after this long.
const STALE: Duration = Duration::from_secs(5);

/// What is known and asked of all processes.
pub(super) struct Identities {
    pool: Pool,
    names: Names,
    /// Lists of users' names that had come at the last look.
    lists: u64,
    entries: HashMap<ProcessId, Entry>,
    /// Processes to ask for once more at the next sample.
    young: Vec<ProcessId>,
}

struct Entry {
    comm: CompactString,
    forked_only: bool,
    last: Option<Arc<Identity>>,
    asked: Instant,
    pending: bool,
    /// It changed while a read was pending: ask again when that came back.
    again: bool,
}

impl Identities {
    pub fn new(root: &ProcRoot) -> anyhow::Result<Self> {
        Ok(Self { pool: Pool::start(root)?, names: Names::begin(), lists: 0, entries: HashMap::new(), young: Vec::new() })
    }

    /// Takes the answers that came; only what differs from the last answer.
    pub fn collect(&mut self) -> Vec<(ProcessId, Arc<Identity>)> {
        let mut fresh = self.named_late();
        for answer in self.pool.answers() {
            let Some(entry) = self.entries.get_mut(&answer.id) else { continue };
            let Some(mut identity) = answer.identity else {
                entry.pending = false;
                continue;
            };
            identity.user = identity.uid.and_then(|uid| self.names.look_up(uid));
            if answer.partial {
                // What it was called before it got stuck is better than nothing.
                identity.argv = entry.last.as_ref().map(|last| last.argv.clone()).unwrap_or_default();
            } else {
                entry.pending = false;
                if std::mem::take(&mut entry.again) {
                    self.young.push(answer.id);
                }
            }
            if entry.last.as_deref() != Some(&identity) {
                let identity = Arc::new(identity);
                entry.last = Some(Arc::clone(&identity));
                fresh.push((answer.id, identity));
            }
        }
        fresh
    }

    /// Those whose user has a name only now.
    fn named_late(&mut self) -> Vec<(ProcessId, Arc<Identity>)> {
        let lists = self.names.lists();
        if std::mem::replace(&mut self.lists, lists) == lists {
            return Vec::new();
        }
        let mut fresh = Vec::new();
        for (id, entry) in &mut self.entries {
            let Some(last) = entry.last.as_mut().filter(|last| last.user.is_none()) else { continue };
            let Some(user) = last.uid.and_then(|uid| self.names.look_up(uid)) else { continue };
            Arc::make_mut(last).user = Some(user);
            fresh.push((*id, Arc::clone(last)));
        }
        fresh
    }

    /// Whether the list of users does not come.
    pub fn lacks_names(&self) -> bool {
        self.names.is_overdue()
    }

    /// Has the next [`Self::ask`] ask for these, however short the last answer is ago.
    pub fn doubt(&mut self, ids: &[ProcessId]) {
        self.young.extend_from_slice(ids);
    }

    /// Asks for the processes that are new, ran or were asked for too early, and forgets the ones that are gone. `is_suspect`: whether
    /// the command line of this process may well not come.
    pub fn ask<'a>(
        &mut self,
        active: &[ProcessId],
        gone: &[ProcessId],
        since_boot: Nanos,
        tick: Nanos,
        process: impl Fn(ProcessId) -> Option<&'a Process>,
        is_suspect: impl Fn(ProcessId) -> bool,
    ) {
        // The one clock of this module: it only spaces questions, no number in a sample comes from it.
        let now = Instant::now();
        let mut asked = Vec::new();
        let mut young = std::mem::take(&mut self.young);
        for id in gone {
            self.entries.remove(id);
        }
        if !gone.is_empty() {
            self.pool.forget(&gone.iter().copied().collect::<HashSet<_>>());
        }
        for id in active {
            let Some(process) = process(*id).filter(|process| !process.zombie) else { continue };
            match self.entries.get_mut(id) {
                None => {
                    if since_boot.saturating_sub(id.start.saturating_mul(tick)) < YOUNG {
                        self.young.push(*id);
                    }
                    let entry = Entry {
                        comm: process.comm.clone(),
                        forked_only: process.forked_only,
                        last: None,
                        asked: now,
                        pending: true,
                        again: false,
                    };
                    self.entries.insert(*id, entry);
                    asked.push(*id);
                }
                Some(entry) => {
                    let renamed = entry.comm != process.comm || entry.forked_only != process.forked_only;
                    if renamed {
                        entry.comm.clone_from(&process.comm);
                        entry.forked_only = process.forked_only;
                    }
                    if renamed {
                        // An exec sets the name before the arguments are in place: what is read now may be empty.
                        self.young.push(*id);
                    }
                    if renamed || now.duration_since(entry.asked) >= STALE {
                        young.push(*id);
                    }
                }
            }
        }
        for id in young {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if entry.pending {
                entry.again = true;
            } else {
                entry.pending = true;
                entry.asked = now;
                asked.push(id);
            }
        }
        self.pool.ask(asked.into_iter().map(|id| Ask { id, suspect: is_suspect(id) }).collect());
        self.pool.reconsider(is_suspect);
    }

    /// The processes whose command line did not come within the deadline, with how long they have been read; and how many others
    /// wait behind them.
    pub fn overdue(&self) -> (Vec<(ProcessId, Duration)>, u32) {
        let (late, behind) = self.pool.overdue();
        let mut late: Vec<(ProcessId, Duration)> = late.into_iter().map(|late| (late.id, late.since.elapsed())).collect();
        late.sort_unstable();
        (late, behind as u32)
    }

    /// Waits until nothing is pending that may still come, or until the deadline is over.
    pub fn settle(&self, deadline: Duration) {
        let begin = Instant::now();
        self.pool.settle(deadline);
        self.names.settle(deadline.saturating_sub(begin.elapsed()));
    }
}
