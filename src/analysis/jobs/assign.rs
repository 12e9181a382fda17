//! The boundaries: which process belongs to which job, by evidence in this order: unit or container, the launcher above,
//! session and process group.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::analysis::cgroup::{Place, place};
use crate::analysis::diagnosis::JobId;
use crate::analysis::jobs::{in_tree_order, kernel, launcher};
use crate::analysis::table::{Entry, Table};
use crate::units::{Pid, ProcessId};

/// No real process tree is deeper; a broken one (a proc tree written by hand) may hold a circle.
pub const DEEPEST: usize = 4096;

/// A job before it gets its facts.
#[derive(Clone, Debug)]
pub struct Draft {
    /// For good.
    pub id: JobId,
    /// What makes these processes one job.
    pub origin: Origin,
    /// The process to hit first.
    pub root: Option<Pid>,
    /// Root first, parents before children.
    pub members: Vec<Pid>,
}

/// What makes processes one job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// They are in one unit, by its control group path.
    Unit(String),
    /// They are in one container.
    Container(String),
    /// They descend from one process, or are what is left of such a tree.
    Tree,
    /// They are kernel threads of one subsystem.
    Kernel(&'static str),
}

/// What a process is grouped by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Named(Origin),
    /// Below this process.
    Below(Pid),
    /// The pipeline with this process group, typed into the shell with this number.
    Typed(Pid, Pid),
    /// What is left of this session and process group: its leader and the parents have ended. A script's leftovers share one group, the
    /// pipelines that an ended login left behind do not.
    LeftOf(Pid, Pid),
}

/// Every process of the table in exactly one draft. `previous` keeps a job's identity when its root has ended.
pub fn assign(table: &Table, previous: &HashMap<ProcessId, &JobId>) -> Vec<Draft> {
    let mut groups: BTreeMap<Key, Vec<Pid>> = BTreeMap::new();
    for entry in table.iter() {
        groups.entry(key(table, entry)).or_default().push(entry.process.id.pid);
    }
    let mut drafts: Vec<Draft> = groups.into_iter().filter_map(|(key, members)| draft(table, key, members)).collect();
    keep_identities(table, &mut drafts, previous);
    drafts
}

fn cgroup_place(entry: &Entry) -> Place<'_> {
    entry.identity.as_ref().and_then(|identity| identity.cgroup.as_deref()).map_or(Place::Nowhere, place)
}

fn key(table: &Table, entry: &Entry) -> Key {
    key_within(table, entry, 1)
}

/// `hops`: how many session leaders may still be asked. A proc tree that was written by hand may hold a circle of them.
fn key_within(table: &Table, entry: &Entry, hops: usize) -> Key {
    if entry.process.kernel_thread {
        return Key::Named(Origin::Kernel(kernel::subsystem(&entry.process.comm)));
    }
    match cgroup_place(entry) {
        Place::Unit { path, .. } => return Key::Named(Origin::Unit(path.to_owned())),
        Place::Container(id) => return Key::Named(Origin::Container(id.to_owned())),
        // The launcher itself is its own service's job.
        Place::Launcher(path)
            if launcher::launcher(entry).is_some() && path.ends_with(".service") && !path.contains("/user@") =>
        {
            return Key::Named(Origin::Unit(path.to_owned()));
        }
        Place::Launcher(_) | Place::Nowhere => {}
    }
    let top = top_of(table, entry);
    let pid = top.process.id.pid;
    if launcher::launcher(top).is_some() {
        return Key::Below(pid);
    }
    match table.get(top.process.parent) {
        Some(parent) if parent.process.id.pid != 1 => {
            if launcher::is_shell(&parent.process.comm) && launcher::launches(parent, top) {
                Key::Typed(top.process.group, parent.process.id.pid)
            } else {
                Key::Below(pid)
            }
        }
        _ => orphan_key(table, top, hops),
    }
}

/// The key of a topmost process whose parent is the first process: a daemon, or what its parent left behind.
fn orphan_key(table: &Table, top: &Entry, hops: usize) -> Key {
    let (pid, session) = (top.process.id.pid, top.process.session);
    if session == pid || session == 0 || pid == 1 {
        return Key::Below(pid);
    }
    match table.get(session) {
        None => Key::LeftOf(session, top.process.group),
        Some(leader) if leader.process.id.pid == 1 => Key::Below(pid),
        Some(leader) if launcher::launcher(leader).is_some() => Key::Typed(top.process.group, session),
        // The leader of its session lives: it is one job with it, by two forks instead of one.
        Some(leader) if hops > 0 => key_within(table, leader, hops - 1),
        Some(_) => Key::Below(pid),
    }
}

/// The topmost process that belongs to the same job only.
fn top_of<'t>(table: &'t Table, entry: &'t Entry) -> &'t Entry {
    let mut top = entry;
    for _ in 0..DEEPEST {
        if launcher::launcher(top).is_some() {
            break;
        }
        let Some(parent) = table.get(top.process.parent) else { break };
        let apart = parent.process.id.pid == 1
            || parent.process.kernel_thread
            || launcher::launches(parent, top)
            || matches!(cgroup_place(parent), Place::Unit { .. } | Place::Container(_))
            || starts_a_job(top, parent);
        if apart {
            break;
        }
        top = parent;
    }
    top
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

fn draft(table: &Table, key: Key, members: Vec<Pid>) -> Option<Draft> {
    let start = |pid: &Pid| table.get(*pid).map(|entry| entry.process.id.start).unwrap_or_default();
    let present: HashSet<Pid> = members.iter().copied().collect();
    let is_top = |pid: &&Pid| table.get(**pid).is_some_and(|entry| !present.contains(&entry.process.parent));
    let oldest_top = members.iter().filter(is_top).min_by_key(|pid| (start(pid), **pid)).copied();
    let root = match key {
        Key::Named(Origin::Kernel(_)) => None,
        Key::Named(_) | Key::LeftOf(..) => oldest_top,
        Key::Below(pid) => Some(pid),
        Key::Typed(group, _) => members.iter().find(|pid| **pid == group).copied().or(oldest_top),
    };
    let (id, origin) = match key {
        Key::Named(Origin::Unit(name)) => (JobId::unit(&name), Origin::Unit(name)),
        Key::Named(Origin::Container(id)) => (JobId::container(&id), Origin::Container(id)),
        Key::Named(Origin::Kernel(subsystem)) => (JobId::kernel(subsystem), Origin::Kernel(subsystem)),
        _ => (JobId::tree(table.get(root?)?.process.id), Origin::Tree),
    };
    Some(Draft { id, origin, root, members: in_tree_order(table, root, members) })
}

/// A tree whose root has ended goes on under the name it had, so that what an operator watches does not change its name.
fn keep_identities(table: &Table, drafts: &mut [Draft], previous: &HashMap<ProcessId, &JobId>) {
    let mut taken: HashSet<JobId> = drafts.iter().map(|draft| draft.id.clone()).collect();
    for draft in drafts.iter_mut().filter(|draft| draft.origin == Origin::Tree) {
        let was = |pid: &Pid| table.get(*pid).and_then(|entry| previous.get(&entry.process.id)).copied();
        let old = draft.members.iter().find_map(was);
        if let Some(old) = old
            && old.as_str().starts_with("tree:")
            && taken.insert(old.clone())
        {
            draft.id = old.clone();
        }
    }
}
