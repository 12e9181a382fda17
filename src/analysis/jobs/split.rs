//! A part that is another job: a dump started by a web application, a `tar` below a panel's daemon. The smallest subtree
//! that holds the evidence becomes a job of its own; the service's own workers stay where they are.
//!
//! Pure. Tested by `tests/jobs.rs`.

use std::collections::{HashMap, HashSet};

use crate::analysis::diagnosis::JobId;
use crate::analysis::jobs::assign::{DEEPEST, Draft, Origin};
use crate::analysis::jobs::{in_tree_order, launcher};
use crate::analysis::name::{base, is_interpreter};
use crate::analysis::table::{Entry, Table};
use crate::units::Pid;

/// From this strength on a process alone says "a backup is at work here" (`kind::backup_strength`): a tool with the verb that
/// copies. Weaker signs (a name, a path) do not cut a service in two.
const STRONG: f64 = 0.6;
/// A script whose own name or arguments speak of a backup belongs to what it starts.
const SUPPORTING: f64 = 0.3;
/// Other children that a backup script may have without being a server: a filter in the pipeline, a progress meter.
const STRANGERS: usize = 1;

/// Programs that stand in a backup's pipeline or script without being evidence themselves.
const HELPERS: [&str; 30] = [
    "gzip", "pigz", "zstd", "pzstd", "xz", "pixz", "bzip2", "pbzip2", "lbzip2", "lz4", "lzop", "brotli", "7z", "gpg", "openssl",
    "age", "ssh", "scp", "curl", "nc", "socat", "pv", "mbuffer", "split", "tee", "cat", "sleep", "logger", "mail", "sed",
];

/// Cuts every draft that holds a backup which it is not itself.
pub fn split(table: &Table, drafts: Vec<Draft>) -> Vec<Draft> {
    drafts.into_iter().flat_map(|draft| split_one(table, draft)).collect()
}

fn split_one(table: &Table, draft: Draft) -> Vec<Draft> {
    let strong: Vec<Pid> = draft.members.iter().copied().filter(|pid| strength(table, *pid) >= STRONG).collect();
    let Some(root) = draft.root.filter(|root| !strong.is_empty() && !strong.contains(root) && draft.members.len() > 1) else {
        return vec![draft];
    };
    let tree = Tree::new(table, &draft, &strong);
    let tops: HashSet<Pid> = strong.iter().map(|pid| tree.climb(*pid, root)).collect();
    if tops.contains(&root) {
        return vec![draft];
    }
    let mut rest = draft.members.clone();
    let mut parts = Vec::new();
    for &top in draft.members.iter().filter(|pid| tops.contains(pid)) {
        let part: Vec<Pid> = rest.iter().copied().filter(|pid| tree.is_below(*pid, top)).collect();
        // A top below another top went with that one.
        let Some(entry) = table.get(top).filter(|_| part.contains(&top)) else { continue };
        rest.retain(|pid| !part.contains(pid));
        let id = JobId::tree(entry.process.id);
        parts.push(Draft { id, origin: Origin::Tree, root: Some(top), members: in_tree_order(table, Some(top), part) });
    }
    parts.push(Draft { members: rest, ..draft });
    parts
}

fn strength(table: &Table, pid: Pid) -> f64 {
    table.get(pid).map_or(0.0, |entry| entry.strength)
}

/// The draft's processes as a tree.
struct Tree<'t> {
    table: &'t Table,
    parents: HashMap<Pid, Pid>,
    children: HashMap<Pid, Vec<Pid>>,
    /// Strong processes and all that is above them.
    on_the_way: HashSet<Pid>,
    by_service: bool,
}

impl<'t> Tree<'t> {
    fn new(table: &'t Table, draft: &Draft, strong: &[Pid]) -> Self {
        let present: HashSet<Pid> = draft.members.iter().copied().collect();
        let mut parents = HashMap::new();
        let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
        for &pid in &draft.members {
            if let Some(parent) = table.get(pid).map(|entry| entry.process.parent).filter(|parent| present.contains(parent)) {
                parents.insert(pid, parent);
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut on_the_way = HashSet::new();
        for &pid in strong {
            let mut at = Some(pid);
            while let Some(pid) = at.filter(|pid| on_the_way.insert(*pid)) {
                at = parents.get(&pid).copied();
            }
        }
        let by_service = matches!(draft.origin, Origin::Unit(_) | Origin::Container(_));
        Self { table, parents, children, on_the_way, by_service }
    }

    /// From a strong process upwards, as far as everything there only carries the backup.
    fn climb(&self, from: Pid, root: Pid) -> Pid {
        let mut top = from;
        for _ in 0..DEEPEST {
            let Some(parent) = self.parents.get(&top).copied().filter(|_| top != root) else { break };
            if !self.table.get(parent).is_some_and(|entry| self.carries(entry)) {
                break;
            }
            top = parent;
        }
        top
    }

    /// A shell, a wrapper, or a script that speaks of backups itself, and that does little else.
    fn carries(&self, entry: &Entry) -> bool {
        let comm = entry.process.comm.as_str();
        let argv = entry.identity.as_ref().map(|identity| identity.argv.as_slice()).unwrap_or_default();
        let program = argv.first().map_or(comm, |first| base(first));
        let shell = launcher::is_shell(comm) || launcher::is_shell(program);
        let wrapper = launcher::is_wrapper(comm);
        // The main program of a service that happens to be Python serves; under cron it is the script that makes the backup.
        let script = is_interpreter(program) && !self.by_service;
        if !(shell || wrapper || script || entry.strength >= SUPPORTING) {
            return false;
        }
        let strangers = self.children.get(&entry.process.id.pid).into_iter().flatten().filter(|child| {
            let helper = self.table.get(**child).is_some_and(|entry| HELPERS.contains(&entry.process.comm.as_str()));
            !self.on_the_way.contains(child) && !helper
        });
        strangers.count() <= STRANGERS
    }

    fn is_below(&self, pid: Pid, top: Pid) -> bool {
        let mut at = pid;
        for _ in 0..DEEPEST {
            if at == top {
                return true;
            }
            match self.parents.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        false
    }
}
