//! What a process's own facts say about the job it belongs to, before anybody looks at its place in the tree.
//!
//! Pure. Worked out when a process is new or changes, and kept: with each process that comes or goes all others are asked. Tested
//! through `analysis::jobs`.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use crate::analysis::cgroup::{Place, place};
use crate::analysis::jobs::{kernel, launcher};
use crate::analysis::kind::{Launcher, executed_elsewhere};
use crate::sample::{Identity, Process};

/// What makes processes one job, whatever their place in the tree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// They are in one unit, by its control group path.
    Unit(Arc<str>),
    /// They are in one container.
    Container(Arc<str>),
    /// They are kernel threads of one subsystem.
    Kernel(&'static str),
}

/// How a process stands among jobs.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What it launches as, if it does not belong to what it starts.
    pub launcher: Option<Launcher>,
    /// What it belongs to by itself. `None`: its place in the tree tells.
    pub origin: Option<Origin>,
    /// Its control group is a unit's or a container's own: what it started and is not in there belongs to somebody else.
    pub walled: bool,
    /// It is a client that runs a command in a container.
    pub client: bool,
    /// The same for processes of one name, program and command line.
    pub likeness: u64,
}

impl Standing {
    /// Of this process, as far as its identity is known.
    pub fn of(process: &Process, identity: Option<&Identity>) -> Self {
        let launcher = launcher::launcher(process, identity);
        let mut likeness = DefaultHasher::new();
        process.comm.hash(&mut likeness);
        identity.map(|identity| (&identity.argv, &identity.exe, &identity.user)).hash(&mut likeness);
        let client = identity.is_some_and(|identity| executed_elsewhere(&identity.argv).is_some());
        let starts = launcher.is_some_and(|launcher| launcher != Launcher::Shell || process.tty != 0);
        let mut standing = Self { launcher, origin: None, walled: false, client, likeness: likeness.finish() };
        if process.kernel_thread {
            standing.origin = Some(Origin::Kernel(kernel::subsystem(&process.comm)));
            return standing;
        }
        match identity.and_then(|identity| identity.cgroup.as_deref()).map_or(Place::Nowhere, place) {
            Place::Unit { path, .. } => {
                standing.origin = Some(Origin::Unit(path.into()));
                standing.walled = true;
            }
            Place::Container(id) => {
                standing.origin = Some(Origin::Container(id.into()));
                standing.walled = true;
            }
            // The launcher itself is its own service's job; a shell without a terminal is there for one of its jobs.
            Place::Launcher(path) if starts && path.ends_with(".service") && !path.contains("/user@") => {
                standing.origin = Some(Origin::Unit(path.into()));
            }
            Place::Launcher(_) | Place::Nowhere => {}
        }
        standing
    }
}
