//! Same job, other tree: what `docker exec` and its like have started runs below the container's shim, and belongs to whoever asked for
//! it. Ending the client would leave it running.
//!
//! Pure. Known by the command line: the client's, behind `exec`, is the worker's own. Where two would fit nobody is joined. Tested by
//! `tests/scenarios.rs`.

use crate::analysis::jobs::assign::Draft;
use crate::analysis::jobs::standing::Origin;
use crate::analysis::jobs::{Scene, in_tree_order, launcher};
use crate::analysis::kind;
use crate::analysis::name::base;
use crate::analysis::table::Entry;
use crate::units::Pid;

/// Gives each draft the workers that it started in containers.
pub fn join(scene: &Scene, mut drafts: Vec<Draft>) -> Vec<Draft> {
    let wanted: Vec<(usize, &Entry)> = (0..)
        .zip(&drafts)
        .flat_map(|(at, draft)| draft.members.iter().map(move |pid| (at, *pid)))
        .filter_map(|(at, pid)| Some((at, scene.table.get(pid).filter(|entry| entry.executes_elsewhere())?)))
        .collect();
    for (asked, client) in wanted {
        let workers: Vec<usize> = (0..drafts.len()).filter(|at| *at != asked && is_worker(scene, &drafts[*at], client)).collect();
        let [worker] = workers[..] else { continue };
        let joined = std::mem::take(&mut drafts[worker].members);
        let mut members = std::mem::take(&mut drafts[asked].members);
        members.extend(joined);
        drafts[asked].members = in_tree_order(scene.table, drafts[asked].root, members);
    }
    drafts.retain(|draft| !draft.members.is_empty());
    drafts
}

/// Whether this is what the client started: a tree in a container, with that command line, and not older than the client.
fn is_worker(scene: &Scene, draft: &Draft, client: &Entry) -> bool {
    let entry = |pid: Pid| scene.table.get(pid);
    let Some(root) = draft.root.and_then(entry).filter(|root| draft.members.contains(&root.process.id.pid)) else { return false };
    let inside = matches!(root.standing.origin, Some(Origin::Container(_)));
    let command = client.identity.as_ref().and_then(|identity| kind::executed_elsewhere(&identity.argv));
    let own = root.identity.as_ref().map(|identity| identity.argv.as_slice());
    // An image may have a program of its own, that is given the words behind its name.
    let same = own.zip(command).is_some_and(|(own, command)| own == command || own.len() > 1 && own[1..] == *command);
    // A shell that was given one command became it.
    let became = || {
        let Some([shell, option, line]) = command else { return false };
        let is_shell = launcher::is_shell(base(shell)) && matches!(option.as_str(), "-c" | "-lc");
        is_shell && own.is_some_and(|own| own.iter().map(String::as_str).eq(line.split_whitespace()))
    };
    inside && (same || became()) && root.process.id.start >= client.process.id.start
}
