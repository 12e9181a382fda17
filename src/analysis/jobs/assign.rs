//! The boundaries: which process belongs to which job, by evidence in this order: unit or container, the launcher above,
//! session and process group.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use crate::analysis::diagnosis::JobId;
use crate::analysis::jobs::standing::Origin;
use crate::analysis::jobs::{in_tree_order, launcher};
use crate::analysis::kind::Launcher;
use crate::analysis::table::{Entry, Table};
use crate::units::{Pid, ProcessId};

/// No real process tree is deeper; a broken one (a proc tree written by hand) may hold a circle.
pub const DEEPEST: usize = 4096;
/// A climb longer than this is noted down, so that a tree of thousands, one below the other, is not climbed by each of them.
const LONG_CLIMB: usize = 16;

/// A job before it gets its facts.
#[derive(Clone, Debug)]
pub struct Draft {
    /// For good.
    pub id: JobId,
    /// What it was grouped by. `None`: it was cut out of such a group.
    pub key: Option<Key>,
    /// The process to hit first.
    pub root: Option<Pid>,
    /// Root first, parents before children.
    pub members: Vec<Pid>,
}

impl Draft {
    /// What makes these processes one job, whatever their place in the tree. `None`: they descend from one process, or are what is left
    /// of such a tree.
    pub fn origin(&self) -> Option<&Origin> {
        match &self.key {
            Some(Key::Named(origin)) => Some(origin),
            _ => None,
        }
    }
}

/// What a process is grouped by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Its own facts.
    Named(Origin),
    /// Below this process.
    Below(Pid),
    /// The pipeline with this process group, typed into the shell with this number.
    Typed(Pid, Pid),
    /// What is left of this session and process group: its leader and the parents have ended. A script's leftovers share one group, the
    /// pipelines that an ended login left behind do not.
    LeftOf(Pid, Pid),
}

/// Every process of the table in exactly one group, each in no order.
pub fn groups(table: &Table) -> FxHashMap<Key, Vec<Pid>> {
    let mut groups: FxHashMap<Key, Vec<Pid>> = FxHashMap::default();
    let mut climbs = Climbs { table, noted: FxHashMap::default() };
    for entry in table.iter() {
        let pid = entry.process.id.pid;
        let key = climbs.key(entry, 1);
        groups.entry(key).or_default().push(pid);
    }
    groups
}

/// Ways up the tree.
struct Climbs<'t> {
    table: &'t Table,
    /// Where long ones ended.
    noted: FxHashMap<Pid, &'t Entry>,
}

impl<'t> Climbs<'t> {
    /// `hops`: how many session leaders may still be asked. A proc tree that was written by hand may hold a circle of them.
    fn key(&mut self, entry: &'t Entry, hops: usize) -> Key {
        if let Some(origin) = &entry.standing.origin {
            return Key::Named(origin.clone());
        }
        let top = self.top_of(entry);
        let pid = top.process.id.pid;
        if launches_as(self.table, top).is_some() {
            return Key::Below(pid);
        }
        match self.table.get(top.process.parent) {
            Some(parent) if parent.process.id.pid != 1 => {
                if launcher::is_shell(&parent.process.comm) && launches(self.table, parent, top) {
                    Key::Typed(top.process.group, parent.process.id.pid)
                } else {
                    Key::Below(pid)
                }
            }
            _ => self.orphan_key(top, hops),
        }
    }

    /// The key of a topmost process whose parent is the first process: a daemon, or what its parent left behind.
    fn orphan_key(&mut self, top: &'t Entry, hops: usize) -> Key {
        let (pid, session) = (top.process.id.pid, top.process.session);
        if session == pid || session == 0 || pid == 1 {
            return Key::Below(pid);
        }
        match self.table.get(session) {
            None => Key::LeftOf(session, top.process.group),
            Some(leader) if leader.process.id.pid == 1 => Key::Below(pid),
            Some(leader) if launches_as(self.table, leader).is_some() => Key::Typed(top.process.group, session),
            // The leader of its session lives: it is one job with it, by two forks instead of one.
            Some(leader) if hops > 0 => self.key(leader, hops - 1),
            Some(_) => Key::Below(pid),
        }
    }

    /// The topmost process that belongs to the same job only.
    fn top_of(&mut self, entry: &'t Entry) -> &'t Entry {
        let mut top = entry;
        let mut way = Vec::new();
        for climbed in 0..DEEPEST {
            if climbed >= LONG_CLIMB {
                if let Some(known) = self.noted.get(&top.process.id.pid) {
                    top = known;
                    break;
                }
                way.push(top.process.id.pid);
            }
            match parent_in_job(self.table, top) {
                Some(parent) => top = parent,
                None => break,
            }
        }
        self.noted.extend(way.into_iter().map(|pid| (pid, top)));
        top
    }
}

/// The parent, if it belongs to the same job only.
fn parent_in_job<'t>(table: &'t Table, entry: &Entry) -> Option<&'t Entry> {
    if launches_as(table, entry).is_some() {
        return None;
    }
    let parent = table.get(entry.process.parent)?;
    let apart = parent.process.id.pid == 1
        || parent.process.kernel_thread
        || parent.standing.walled
        || launches(table, parent, entry)
        || starts_a_job(entry, parent);
    (!apart).then_some(parent)
}

/// What this process launches as. Not a shell that a CI runner feeds the lines of its job: nobody types into it, though it looks like that.
fn launches_as(table: &Table, entry: &Entry) -> Option<Launcher> {
    /// A runner's login shell starts the one that is fed.
    const SHELLS_BELOW: usize = 3;
    let is_shell = |entry: &&Entry| launcher::is_shell(&entry.process.comm) && entry.process.tty == 0;
    let fed = || {
        let parent = |entry: &&Entry| table.get(entry.process.parent);
        let mut above = std::iter::successors(parent(&entry), parent).take(SHELLS_BELOW);
        above.find(|above| !is_shell(above)).is_some_and(|above| above.standing.launcher == Some(Launcher::Automation))
    };
    entry.standing.launcher.filter(|launcher| *launcher != Launcher::Shell || !is_shell(&entry) || !fed())
}

/// Whether this parent starts jobs, and this child is one. A shell that runs what somebody types puts each pipeline into a group of
/// its own; one that reads a script from a pipe (`bash -s < backup.sh`, `curl | sh`) looks the same by its command line, and does not.
fn launches(table: &Table, parent: &Entry, child: &Entry) -> bool {
    let shell = launcher::is_shell(&parent.process.comm);
    launches_as(table, parent).is_some() && (!shell || child.process.group != parent.process.group)
}

/// A process that made a session of its own and runs another program than its parent: somebody set it apart on purpose.
/// A server that gives each worker a session (`PostgreSQL`) keeps the program's name, and a wrapper that does so (`sudo`) is part
/// of its command.
fn starts_a_job(process: &Entry, parent: &Entry) -> bool {
    process.process.session == process.process.id.pid
        && !process.process.forked_only
        && process.process.comm != parent.process.comm
        && !launcher::is_wrapper(&parent.process.comm)
}

/// The jobs of these groups. `previous` keeps a job's identity when its root has ended; `taken` are in use elsewhere.
pub fn drafts<'a>(
    table: &Table,
    groups: Vec<(Key, Vec<Pid>)>,
    previous: impl Fn(ProcessId) -> Option<&'a JobId>,
    mut taken: HashSet<JobId>,
) -> Vec<Draft> {
    let mut drafts: Vec<Draft> = groups.into_iter().filter_map(|(key, members)| draft(table, key, members)).collect();
    taken.extend(drafts.iter().map(|draft| draft.id.clone()));
    for draft in drafts.iter_mut().filter(|draft| draft.origin().is_none()) {
        // A tree whose root has ended goes on under the name it had, so that what an operator watches does not change its name.
        let was = |pid: &Pid| table.get(*pid).and_then(|entry| previous(entry.process.id));
        let old = draft.members.iter().find_map(was);
        // One that lives and is in another job now takes the name with it.
        let lives = |root: ProcessId| table.get(root.pid).is_some_and(|entry| entry.process.id == root);
        if let Some(old) = old
            && old.root_of_tree().is_some_and(|root| !lives(root))
            && taken.insert(old.clone())
        {
            draft.id = old.clone();
        }
    }
    drafts
}

fn draft(table: &Table, key: Key, members: Vec<Pid>) -> Option<Draft> {
    let start = |pid: &Pid| table.get(*pid).map(|entry| entry.process.id.start).unwrap_or_default();
    let present: HashSet<Pid> = members.iter().copied().collect();
    let is_top = |pid: &&Pid| table.get(**pid).is_some_and(|entry| !present.contains(&entry.process.parent));
    let oldest_top = members.iter().filter(is_top).min_by_key(|pid| (start(pid), **pid)).copied();
    let root = match key {
        Key::Named(Origin::Kernel(_)) => None,
        Key::Named(_) | Key::LeftOf(..) => oldest_top,
        // Not so if it belongs elsewhere by itself: a shell in a unit of launchers.
        Key::Below(pid) => Some(pid).filter(|pid| present.contains(pid)).or(oldest_top),
        Key::Typed(group, _) => members.iter().find(|pid| **pid == group).copied().or(oldest_top),
    };
    let id = match &key {
        Key::Named(Origin::Unit(path)) => JobId::unit(path),
        Key::Named(Origin::Container(id)) => JobId::container(id),
        Key::Named(Origin::Kernel(subsystem)) => JobId::kernel(subsystem),
        _ => JobId::tree(table.get(root?)?.process.id),
    };
    Some(Draft { id, key: Some(key), root, members: in_tree_order(table, root, members) })
}
