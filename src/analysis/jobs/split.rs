//! A part that is another job: a dump started by a web application, a `tar` below a panel's daemon. The smallest subtree
//! that holds the evidence becomes a job of its own; the service's own workers stay where they are.
//!
//! Pure. Where such a part begins is the recogniser's to say. Tested by `tests/scenarios.rs`.

use std::collections::HashSet;

use rustc_hash::FxHashMap;

use crate::analysis::diagnosis::JobId;
use crate::analysis::jobs::assign::Draft;
use crate::analysis::jobs::gist::Gist;
use crate::analysis::jobs::standing::Origin;
use crate::analysis::jobs::{Scene, base_of, in_tree_order, lineage};
use crate::analysis::kind::{self, JobShape, Launcher};
use crate::analysis::table::Entry;
use crate::units::{Pid, ProcessId};

/// Parts below this are not looked for: most jobs hold no process that says anything of a backup, and are passed over.
const STRONG: f64 = 0.5;

/// Whether this process may be where a backup begins.
pub fn is_strong(entry: &Entry) -> bool {
    entry.strength >= STRONG
}

/// Cuts every draft that holds a backup which it is not itself. Who works for a client (`clients`) stays where it is, and hides nobody: a
/// server that sends a base backup may archive by another tool meanwhile.
pub fn split(scene: &Scene, drafts: Vec<Draft>, clients: &FxHashMap<ProcessId, Pid>) -> Vec<Draft> {
    let mut whole = Vec::with_capacity(drafts.len());
    for mut draft in drafts {
        while let Some(part) = cut(scene, &mut draft, clients) {
            whole.push(part);
        }
        whole.push(draft);
    }
    whole
}

/// Takes one such part out of the draft.
fn cut(scene: &Scene, draft: &mut Draft, clients: &FxHashMap<ProcessId, Pid>) -> Option<Draft> {
    let own = |pid: Pid| scene.table.get(pid).filter(|entry| !clients.contains_key(&entry.process.id));
    if draft.members.len() < 2 || !draft.members.iter().any(|pid| own(*pid).is_some_and(is_strong)) {
        return None;
    }
    let (unit, container) = match draft.origin() {
        Some(Origin::Unit(path)) => (Some(base_of(path)), None),
        Some(Origin::Container(id)) => (None, Some(&**id)),
        Some(Origin::Kernel(_)) | None => (None, None),
    };
    let root = draft.root.and_then(|pid| scene.table.get(pid));
    let launcher = root.map_or(Launcher::Unknown, |root| lineage(scene, root, draft.origin()).0);
    let gist = Gist::of(scene.table, &draft.members);
    let strong = (0..draft.members.len()).filter(|at| own(draft.members[*at]).is_some_and(is_strong));
    let processes =
        scene.shapes(&gist, &gist.with(strong), |at| draft.members.get(at).copied().filter(|pid| own(*pid).is_some()));
    let shape = JobShape { processes: processes.clone(), unit, container, launcher };
    let top = processes.get(kind::backup_part(&shape, scene.table.catalogue())?)?.id;
    if draft.root == Some(top.pid) {
        return None;
    }
    // Members stand in tree order: whoever is below the top comes after it.
    let mut below: HashSet<Pid> = HashSet::from([top.pid]);
    for entry in draft.members.iter().filter_map(|pid| scene.table.get(*pid)) {
        if below.contains(&entry.process.parent) {
            below.insert(entry.process.id.pid);
        }
    }
    let (part, rest) = draft.members.iter().partition(|pid| below.contains(pid));
    draft.members = rest;
    let members = in_tree_order(scene.table, Some(top.pid), part);
    Some(Draft { id: JobId::tree(top), key: None, root: Some(top.pid), members })
}
