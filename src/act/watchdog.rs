//! A pause that ends by itself: a process of its own stops the job and lets it go on, whatever becomes of whytop and its terminal.
//!
//! It is whytop once more, in a session of its own, so that neither a lost terminal nor Ctrl-C reaches it. It is told what to do
//! through a pipe and *does the stopping itself*: at no instant is anybody stopped whom only whytop knows of. When the pipe closes
//! (whytop ended, was killed, or changed its mind), when it is told to end, or when the time is over, all go on. Its parent, as long as
//! it lives, looks whether that has happened, and else does it itself ([`super::proof`]). Of a parent that lives no longer, whoever started
//! this is told, once all go on: there is a line of the trace that nobody else would write.
//!
//! Only a SIGKILL to both at once, or the end of the host's power, leaves a job stopped; the ledger then names it at the next start.
//! One of the homes of clocks. Tested by `tests/act/pause.rs`.

#![allow(clippy::disallowed_methods, reason = "a pause has an end in real time")]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{getppid, setsid};
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::cgroup::Group;
use super::hand::{Armed, Hand};
use super::salvo::Blow;
use crate::action::{Action, Candidate, Hit, LONGEST_PROOF, Outcome, Subject};
use crate::units::{Nanos, ProcessId};

/// What a watchdog is told, as one line.
#[derive(Debug, Serialize, Deserialize)]
pub struct Watch {
    /// Of the order.
    pub ticket: u64,
    /// The job's name.
    pub name: String,
    /// Whom to stop, root first, with their short names.
    pub processes: Vec<(ProcessId, String)>,
    /// When the host was looked at for them, since boot.
    pub seen: Nanos,
    /// They and nobody else.
    pub only: bool,
    /// For how long.
    pub seconds: u32,
}

impl Watch {
    /// For how long it may be. Whoever tells it may be anybody who may start whytop as root.
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.min(LONGEST_PROOF).into())
    }
}

/// What it answers: one line when they stand still, and one when they go on.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Whether they go on.
    pub goes_on: bool,
    /// Who was hit.
    pub hits: Vec<Hit>,
    /// How many of them were born meanwhile.
    pub late: usize,
    /// The control groups that were frozen.
    pub frozen: Vec<Group>,
    /// Why it does not go on.
    pub error: Option<String>,
    /// What else is worth a word.
    pub notes: Vec<String>,
}

/// Reads what to do from `input`, does it, and answers to `output`. Where nobody hears that all go on, `alone` is told what became of it.
pub fn run(input: impl Read + AsFd, mut output: impl Write, alone: impl FnOnce(Outcome)) -> io::Result<()> {
    let parent = getppid();
    // Fails only where it is so already.
    let _ = setsid();
    let told = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&told))?;
    }
    let mut input = BufReader::new(input);
    let mut line = String::new();
    input.read_line(&mut line)?;
    let watch: Watch = serde_json::from_str(&line)?;
    let mut frozen = Vec::new();
    let stopped = hold(&watch, &watch.processes).strike(0, Action::Pause, Blow::Stop(&mut frozen));
    // Whoever listened may be gone; those who stand still go on all the same.
    let heard = answer(&mut output, &stopped, &frozen);
    if heard.is_ok() && stopped.sent() > 0 {
        wait(input.get_ref().as_fd(), &told, watch.time());
    }
    let hit: Vec<(ProcessId, String)> =
        stopped.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| (hit.id, hit.name.clone())).collect();
    let go_on = hold(&watch, &hit).paused_by(frozen).sparing(stopped.stood());
    let mut gone_on = go_on.strike(watch.ticket, Action::Resume, Blow::Continue);
    if answer(&mut output, &gone_on, &[]).is_err() || getppid() != parent {
        gone_on.notes.push("its watchdog did it, as whytop was gone".to_owned());
        alone(gone_on);
    }
    Ok(())
}

fn hold(watch: &Watch, processes: &[(ProcessId, String)]) -> Armed {
    let candidates = processes.iter().cloned().map(Candidate::from).collect();
    let subject = Subject { name: watch.name.clone(), candidates, seen: watch.seen, ..Subject::default() };
    let armed = Hand::armed(&subject);
    if watch.only { armed.only(&subject.ids()) } else { armed }
}

fn answer(output: &mut impl Write, outcome: &Outcome, frozen: &[Group]) -> io::Result<()> {
    let answer = Answer {
        goes_on: outcome.action == Action::Resume,
        hits: outcome.hits.clone(),
        late: outcome.late,
        frozen: frozen.to_vec(),
        error: outcome.error.clone(),
        notes: outcome.notes.clone(),
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}

/// Until the time is over, the pipe closes, or somebody says so.
fn wait(pipe: impl AsFd, told: &AtomicBool, time: Duration) {
    let end = Instant::now() + time;
    while !told.load(Ordering::SeqCst) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let mut pipes = [PollFd::new(&pipe, PollFlags::IN)];
        // A signal interrupts the wait with an error. Anything on the pipe, or its end, means: enough.
        if poll(&mut pipes, Some(&timeout)).is_ok_and(|ready| ready > 0) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_longer_than_a_proof_may_be() {
        let told = |seconds| Watch { ticket: 1, name: String::new(), processes: Vec::new(), seen: 0, only: true, seconds }.time();
        assert_eq!([6, 60, u32::MAX].map(told), [6, 60, 60].map(Duration::from_secs));
    }
}
