//! The hand that aims: it holds the processes of one job from the opening of the dialog to the key.
//!
//! Aiming reads `/proc` only, so it may be done on the screen's thread. Tested by `tests/act.rs`.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cgroup::Group;
use super::guard::{Guard, is_backend, proc_is_ours};
use super::held::Held;
use super::offers;
use super::stat::in_ticks;
use crate::action::{Aim, Aimed, Candidate, Refusal, Subject};
use crate::units::ProcessId;

/// File descriptors left for everybody else when a job is held: reading `/proc`, the screen, a recording.
const SPARE_DESCRIPTORS: u64 = 64;

/// Aims at one job at a time.
#[derive(Debug)]
pub struct Hand {
    own_host: bool,
    armed: Option<Armed>,
}

impl Hand {
    /// `own_host`: whether the processes on the screen are those that system calls reach. Not so with `--proc PATH`.
    pub fn new(own_host: bool) -> Self {
        Self { own_host: own_host && proc_is_ours(), armed: None }
    }

    /// Aims at processes of this host, and hands over what is held.
    pub(super) fn armed(subject: &Subject) -> Armed {
        Self::new(true).hold_all(subject)
    }

    /// Checks and holds each candidate, in their order; says who would be hit, and why the others would not. Lets go of
    /// whatever was held before.
    pub fn aim(&mut self, subject: &Subject) -> Aim {
        // One job at a time: also so that there is room for its descriptors.
        self.release();
        let armed = self.hold_all(subject);
        let aim = armed.aim();
        self.armed = Some(armed);
        aim
    }

    fn hold_all(&self, subject: &Subject) -> Armed {
        let guard = Guard::now();
        let mut room = make_room(subject.candidates.len() as u64);
        let targets: Vec<Target> = subject
            .candidates
            .iter()
            .map(|candidate| {
                let held = if room == 0 {
                    Err(Refusal::Failed("more processes than file descriptors (ulimit -n)".to_owned()))
                } else {
                    self.hold(candidate, &guard)
                };
                room = room.saturating_sub(held.is_ok().into());
                Target { candidate: candidate.clone(), held }
            })
            .collect();
        Armed {
            since: in_ticks(subject.seen),
            subject: subject.clone(),
            only: false,
            frozen: Vec::new(),
            spared: Vec::new(),
            targets,
        }
    }

    fn hold(&self, candidate: &Candidate, guard: &Guard) -> Result<Held, Refusal> {
        if !self.own_host {
            return Err(Refusal::OtherHost);
        }
        if let Some(refusal) = guard.refuse(candidate.id.pid) {
            return Err(refusal);
        }
        if candidate.kernel_thread {
            return Err(Refusal::KernelThread);
        }
        if is_backend(candidate) {
            return Err(Refusal::Backend);
        }
        Held::open(candidate.id)
    }

    /// Hands over what is held, to be sent to ([`Armed::send`], or [`super::Worker`]). `None` if nothing was aimed at.
    pub fn arm(&mut self) -> Option<Armed> {
        self.armed.take()
    }

    /// Lets go.
    pub fn release(&mut self) {
        self.armed = None;
    }
}

/// A job, held and ready to be hit once. May go to another thread.
#[derive(Debug)]
pub struct Armed {
    pub(super) subject: Subject,
    /// When the host was looked at for the list, in ticks.
    pub(super) since: u64,
    /// Nobody is looked for beyond those who are held.
    pub(super) only: bool,
    /// The control groups by which it was paused.
    pub(super) frozen: Vec<Group>,
    /// Who is left as he is, though he belongs to the job.
    pub(super) spared: Vec<ProcessId>,
    pub(super) targets: Vec<Target>,
}

impl Armed {
    fn aim(&self) -> Aim {
        let targets = self.aimed();
        let offers = offers::of(&self.subject, &targets, None);
        Aim { job: self.subject.name.clone(), targets, offers }
    }

    /// Each target with its check, in words.
    pub(super) fn aimed(&self) -> Vec<Aimed> {
        let aimed = |target: &Target| Aimed {
            candidate: target.candidate.clone(),
            check: target.held.as_ref().map(|_| ()).map_err(Clone::clone),
        };
        self.targets.iter().map(aimed).collect()
    }

    /// Lets go of all but these, and looks for nobody else.
    #[must_use]
    pub fn only(mut self, picked: &[ProcessId]) -> Self {
        self.targets.retain(|target| picked.contains(&target.candidate.id));
        self.only = true;
        self
    }

    /// It was paused by these control groups, and goes on with them, whoever else is inside by now.
    #[must_use]
    pub(super) fn paused_by(self, frozen: Vec<Group>) -> Self {
        Self { frozen, ..self }
    }

    /// Lets go of these, and of them only.
    #[must_use]
    pub(super) fn sparing(mut self, spared: Vec<ProcessId>) -> Self {
        self.targets.retain(|target| !spared.contains(&target.candidate.id));
        Self { spared, ..self }
    }

    /// Those who are held.
    pub(super) fn held(&self) -> Vec<ProcessId> {
        self.targets.iter().filter_map(|target| Some(target.held.as_ref().ok()?.id)).collect()
    }

    /// The same, with their short names.
    pub(super) fn held_by_name(&self) -> Vec<(ProcessId, String)> {
        let held = self.targets.iter().filter(|target| target.held.is_ok());
        held.map(|target| (target.candidate.id, target.candidate.name.clone())).collect()
    }
}

/// One process of it.
#[derive(Debug)]
pub(super) struct Target {
    pub candidate: Candidate,
    pub held: Result<Held, Refusal>,
}

/// How many processes can be held. The soft limit is often 1024 for the sake of select(2), which whytop does not use, so it
/// is raised where that is too low.
fn make_room(wanted: u64) -> u64 {
    let used = SPARE_DESCRIPTORS + fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let limit = getrlimit(Resource::Nofile);
    let (soft, hard) = (limit.current.unwrap_or(u64::MAX), limit.maximum.unwrap_or(u64::MAX));
    let soft = if soft < hard && soft.saturating_sub(used) < wanted {
        let raised = hard.min(used + wanted);
        let accepted = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
        accepted.map_or(soft, |()| raised)
    } else {
        soft
    };
    soft.saturating_sub(used)
}
