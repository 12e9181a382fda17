//! The hand that aims: it holds the processes of one job from the opening of the dialog to the key.
//!
//! Aiming reads `/proc` only, so it may be done on the screen's thread. Tested by `tests/act.rs`.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::guard::{Guard, proc_is_ours};
use super::held::Held;
use super::stat::in_ticks;
use crate::action::{Aim, Aimed, Candidate, Refusal};
use crate::units::Nanos;

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

    /// Checks and holds each candidate, in their order; says who would be hit, and why the others would not. Lets go of
    /// whatever was held before. `seen` is when the host was looked at for this list, since boot: who is older and not on it
    /// is not hit, whosever child he is.
    pub fn aim(&mut self, job: &str, candidates: &[Candidate], seen: Nanos) -> Aim {
        self.release();
        let since = in_ticks(seen);
        let guard = Guard::now();
        let mut room = make_room(candidates.len() as u64);
        let targets: Vec<Target> = candidates
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
        let armed = Armed { job: job.to_owned(), since, targets };
        let aim = armed.aim();
        self.armed = Some(armed);
        aim
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
    pub(super) job: String,
    /// When the host was looked at for the list, in ticks.
    pub(super) since: u64,
    pub(super) targets: Vec<Target>,
}

impl Armed {
    fn aim(&self) -> Aim {
        let aimed = |target: &Target| Aimed {
            candidate: target.candidate.clone(),
            check: target.held.as_ref().map(|_| ()).map_err(Clone::clone),
        };
        Aim { job: self.job.clone(), targets: self.targets.iter().map(aimed).collect() }
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
