//! The parent's side of a pause that ends by itself: starts the watchdog, listens to it, and stands in for it should it be lost.
//!
//! What a pause proves is judged elsewhere ([`crate::proof`]). One of the homes of clocks. Tested by `tests/act/pause.rs`.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use rustix::process::geteuid;

use super::cgroup::Group;
use super::hand::{Armed, Hand};
use super::salvo::Blow;
use super::stat::Stat;
use super::survey::Tools;
use super::watchdog::{Answer, Watch};
use crate::action::{Action, Candidate, Outcome, Subject};
use crate::units::ProcessId;

/// By then a watchdog has stopped the job, or it never will: on a host in trouble a new process takes its time.
const START: Duration = Duration::from_secs(10);
/// So long after its time a watchdog is taken for lost.
const GRACE: Duration = Duration::from_secs(3);

/// A watchdog that was killed is gone within this, unless it is stuck.
const END: Duration = Duration::from_millis(100);

/// What reaches a proof while it runs.
pub enum Word {
    /// The watchdog's.
    Answer(Answer),
    /// It will say no more.
    Lost,
    /// Enough: let the job go on now.
    Enough,
}

/// A pause under way.
pub struct Proof {
    ticket: u64,
    subject: Subject,
    seconds: u32,
    words: Receiver<Word>,
    child: Child,
    pipe: Option<ChildStdin>,
    only: bool,
    /// The watchdog has ended.
    is_lost: bool,
    /// Who is to be stopped, and ran before.
    held: Vec<(ProcessId, String)>,
    /// Who did not.
    stood: Vec<ProcessId>,
    /// The control groups that were frozen.
    frozen: Vec<Group>,
}

impl Proof {
    /// Starts the watchdog and tells it what to do. `to_self`, `words`: both ends of a channel on which the pause can be cut short.
    pub fn start(
        ticket: u64,
        seconds: u32,
        armed: &Armed,
        tools: &Tools,
        (to_self, words): (Sender<Word>, Receiver<Word>),
    ) -> Result<Self, String> {
        let (subject, all, only) = (armed.subject.clone(), armed.held_by_name(), armed.only);
        let stands = |id: ProcessId| Stat::read(id.pid).is_ok_and(|stat| stat.is_some_and(|stat| stat.is_stopped()));
        let (name, processes) = (subject.name.clone(), all.clone());
        let (stood, held): (Vec<_>, Vec<_>) = all.into_iter().partition(|(id, _)| stands(*id));
        let stood = stood.into_iter().map(|(id, _)| id).collect();
        let watch = Watch { ticket, name, processes, seen: subject.seen, only, seconds };
        let failed = |error: &dyn std::fmt::Display| format!("the watchdog that would end the pause did not start: {error}");
        let mut line = serde_json::to_vec(&watch).map_err(|error| failed(&error))?;
        line.push(b'\n');
        let mut command = Command::new(&tools.own);
        command.arg("watchdog");
        if let Some(trace) = &tools.trace {
            command.arg("--trace").arg(trace);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| failed(&error))?;
        let (Some(mut pipe), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"no pipe to it"));
        };
        let listen = move || {
            for line in BufReader::new(answers).lines().map_while(Result::ok) {
                let Ok(answer) = serde_json::from_str(&line) else { break };
                if to_self.send(Word::Answer(answer)).is_err() {
                    return;
                }
            }
            let _ = to_self.send(Word::Lost);
        };
        thread::Builder::new().name("whytop-proof-ear".to_owned()).spawn(listen).map_err(|error| failed(&error))?;
        pipe.write_all(&line).map_err(|error| failed(&error))?;
        Ok(Self {
            ticket,
            subject,
            seconds,
            words,
            child,
            pipe: Some(pipe),
            only,
            is_lost: false,
            held,
            stood,
            frozen: Vec::new(),
        })
    }

    /// Waits until the job stands still.
    pub fn stopped(&mut self) -> Outcome {
        let action = Action::Prove { seconds: self.seconds };
        let mut outcome = Outcome::new(self.ticket, Timestamp::now(), &self.subject, action);
        outcome.by_root = geteuid().is_root();
        match self.words.recv_timeout(START) {
            Ok(Word::Answer(answer)) => {
                outcome.at = Timestamp::now();
                (outcome.hits, outcome.late, outcome.notes) = (answer.hits, answer.late, answer.notes);
                self.frozen = answer.frozen;
            }
            Ok(Word::Enough) => outcome.error = Some("it was told to go on before it stood still".to_owned()),
            lost => {
                self.is_lost = lost.is_ok();
                outcome.error = Some("the watchdog that would end the pause did not start; pause it by hand instead".to_owned());
            }
        }
        outcome
    }

    /// Waits until the job goes on, and sees to it that it does.
    pub fn gone_on(mut self, stopped: &Outcome) -> Outcome {
        let mut patience = GRACE + if stopped.worked() { Duration::from_secs(self.seconds.into()) } else { Duration::ZERO };
        if !stopped.worked() {
            self.pipe = None;
        }
        let mut outcome = Outcome::new(self.ticket, Timestamp::now(), &self.subject, Action::Resume);
        outcome.by_root = geteuid().is_root();
        let answered = loop {
            if self.is_lost {
                break None;
            }
            match self.words.recv_timeout(patience) {
                Ok(Word::Answer(answer)) if answer.goes_on => break Some(answer),
                // That they stand still, when nobody waited for it any more.
                Ok(Word::Answer(_)) => {}
                Ok(Word::Enough) => {
                    // The watchdog takes the end of the pipe for its cue.
                    self.pipe = None;
                    patience = GRACE;
                }
                Ok(Word::Lost) => self.is_lost = true,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break None,
            }
        };
        if let Some(answer) = answered {
            (outcome.hits, outcome.late, outcome.notes) = (answer.hits, answer.late, answer.notes);
            outcome.error = answer.error;
            self.pipe = None;
            // It has nothing left to do but to end.
            while !self.is_lost
                && let Ok(word) = self.words.recv_timeout(GRACE)
            {
                self.is_lost = matches!(word, Word::Lost);
            }
        } else {
            // It must not stop anybody after this. Its end is not waited for longer: it may be stuck, and then it sends nothing.
            let _ = self.child.kill();
            self.hear_its_end();
            outcome = self.resume(stopped);
            outcome.notes.push("whytop did it, as its watchdog was lost".to_owned());
        }
        outcome.at = Timestamp::now();
        outcome
    }

    /// Lets all go on who were stopped, or may have been.
    fn resume(&self, stopped: &Outcome) -> Outcome {
        let hit = stopped.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| (hit.id, hit.name.clone()));
        let late = hit.filter(|(id, _)| !self.held.iter().any(|(held, _)| held == id));
        let processes: Vec<(ProcessId, String)> = self.held.iter().cloned().chain(late).collect();
        let subject = Subject { candidates: processes.into_iter().map(Candidate::from).collect(), ..self.subject.clone() };
        let armed = Hand::armed(&subject);
        let armed = if self.only { armed.only(&subject.ids()) } else { armed };
        armed.paused_by(self.frozen.clone()).sparing(self.stood.clone()).strike(self.ticket, Action::Resume, Blow::Continue)
    }

    /// Its end of the pipe closes with it.
    fn hear_its_end(&self) {
        while !self.is_lost && matches!(self.words.recv_timeout(END), Ok(Word::Answer(_) | Word::Enough)) {}
    }

    /// The control groups by which the job stands still.
    pub fn frozen(&self) -> Vec<Group> {
        self.frozen.clone()
    }
}

impl Drop for Proof {
    /// The watchdog goes when its pipe closes. One that has said its last word is gone in a moment; another may be stuck.
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = if self.is_lost { self.child.wait().map(Some) } else { self.child.try_wait() };
    }
}
