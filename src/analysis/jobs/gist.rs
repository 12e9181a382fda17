//! What a large job is made of: of processes that are alike, a few speak for all.
//!
//! A server's five thousand equal workers say no more than four of them, and to judge a job takes reading each of its
//! processes. Pure. Tested in place.

use rustc_hash::{FxBuildHasher, FxHashMap};

use crate::analysis::table::Table;
use crate::units::Pid;

/// So many of a kind are kept: one more than make a server's workers (`kind::other`).
const ALIKE: u32 = 4;

/// The shape of a job's tree, by places in the list of its members.
#[derive(Debug, Default)]
pub struct Gist {
    /// The processes that speak for the others, with all above them; in order.
    pub kept: Vec<usize>,
    parents: Vec<Option<usize>>,
    has_children: Vec<bool>,
}

impl Gist {
    /// Of these members: of those that are alike, below parents that are alike, the first few. `members` is in tree order, parents first.
    pub fn of(table: &Table, members: &[Pid]) -> Self {
        let mut gist =
            Self { kept: Vec::new(), parents: Vec::with_capacity(members.len()), has_children: vec![false; members.len()] };
        let mut places: FxHashMap<Pid, usize> = FxHashMap::with_capacity_and_hasher(members.len(), FxBuildHasher);
        // Processes are alike if they and their parents are: (the parent's class, own likeness) → class, and how many there were.
        let mut classes: FxHashMap<(u32, u64), (u32, u32)> = FxHashMap::default();
        let mut class_of: Vec<u32> = Vec::with_capacity(members.len());
        let mut spoken_for = Vec::new();
        for (at, pid) in members.iter().enumerate() {
            let entry = table.get(*pid);
            let parent = entry.and_then(|entry| places.get(&entry.process.parent)).copied();
            if let Some(parent) = parent {
                gist.has_children[parent] = true;
            }
            let next = classes.len() as u32 + 1;
            let key = (parent.map_or(0, |parent| class_of[parent]), entry.map_or(0, |entry| entry.standing.likeness));
            let (class, count) = classes.entry(key).or_insert((next, 0));
            *count += 1;
            if *count <= ALIKE {
                spoken_for.push(at);
            }
            class_of.push(*class);
            gist.parents.push(parent);
            places.insert(*pid, at);
        }
        gist.kept = gist.with(spoken_for);
        gist
    }

    /// The processes that speak for the others, these ones, and all above them; in order.
    pub fn with(&self, others: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut places = self.kept.clone();
        for at in others {
            let mut next = Some(at);
            while let Some(at) = next.filter(|at| self.kept.binary_search(at).is_err()) {
                places.push(at);
                next = self.parents.get(at).copied().flatten();
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether this one has no children among them.
    pub fn is_leaf(&self, at: usize) -> bool {
        !self.has_children.get(at).copied().unwrap_or_default()
    }
}
