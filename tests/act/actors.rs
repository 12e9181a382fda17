//! What the tests of acting share: this host's processes read independently of the code under test, jobs and bystanders that end
//! with their test, and a worker whose reports can be waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid as RawPid, kill_process};
use whytop::act::{Blow, Hand, Tools, Worker};
use whytop::action::{Action, Aim, Candidate, Offers, Order, Outcome, Refusal, Report, Signal, Subject};
use whytop::units::{Pid, ProcessId};

/// Nobody was looked at before: everything below a member counts as born since.
pub const UNSEEN: u64 = 0;
/// Names the part that this binary plays when a test starts it again.
pub const ROLE: &str = "WHYTOP_TEST_ROLE";
/// What the part is about.
pub const ARGUMENT: &str = "WHYTOP_TEST_ARGUMENT";

// ---- The processes of this host, read independently of the code under test ----

#[derive(Clone, Debug)]
pub struct Seen {
    pub id: ProcessId,
    pub name: String,
    pub state: char,
    pub parent: Pid,
    pub session: Pid,
}

pub fn census() -> BTreeMap<Pid, Seen> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok());
    pids.filter_map(|pid| Some((pid, seen(pid)?))).collect()
}

/// A process that lives: a zombie does not.
pub fn seen(pid: Pid) -> Option<Seen> {
    let text = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned();
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let state = fields[0].chars().next()?;
    (state != 'Z' && state != 'X').then(|| Seen {
        id: ProcessId { pid, start: fields[19].parse().unwrap() },
        name: head.split_once('(').unwrap().1.to_owned(),
        state,
        parent: fields[1].parse().unwrap(),
        session: fields[3].parse().unwrap(),
    })
}

pub fn lives(id: ProcessId) -> bool {
    seen(id.pid).is_some_and(|seen| seen.id == id)
}

/// The living descendants of a process with itself first, parents before children.
pub fn tree(root: Pid) -> Vec<Seen> {
    tree_in(&census(), root)
}

/// The same among these.
pub fn tree_in(all: &BTreeMap<Pid, Seen>, root: Pid) -> Vec<Seen> {
    let mut found: Vec<Seen> = all.get(&root).cloned().into_iter().collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].id.pid;
        found.extend(all.values().filter(|seen| seen.parent == parent).cloned());
        next += 1;
    }
    found
}

pub fn in_session(session: Pid) -> Vec<Seen> {
    census().into_values().filter(|seen| seen.session == session).collect()
}

pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        // A look at all processes is dear where many tests look.
        sleep(Duration::from_millis(5));
    }
}

// ---- Jobs and bystanders ----

/// Whoever runs the tests by nohup(1) has SIGHUP ignored, and every process that they start would inherit that.
#[expect(unsafe_code, reason = "what is done with a signal is the C library's to say")]
fn heed_hangups() {
    // SAFETY: no handler is installed, so there is none that could do what a handler may not.
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_DFL) };
}

/// A process of the test, and whatever descends from it; all ended with it.
pub struct Job {
    pub child: Child,
    pub members: BTreeSet<ProcessId>,
    /// Nobody of it is left to be ended.
    pub is_over: bool,
}

impl Job {
    pub fn start(command: &mut Command) -> Self {
        heed_hangups();
        Self { child: command.stdin(Stdio::null()).spawn().unwrap(), members: BTreeSet::new(), is_over: false }
    }

    /// A shell script as cron would start it: the leader of a session of its own.
    pub fn script(text: &str, arguments: &[&Path]) -> Self {
        let mut command = Command::new("setsid");
        let job = Self::start(command.args(["sh", "-c", text, "job"]).args(arguments));
        until("the script leads its session", || {
            seen(job.pid()).is_some_and(|seen| seen.session == job.pid() && seen.name == "sh")
        });
        job
    }

    pub fn sleeper() -> Self {
        let job = Self::start(Command::new("sleep").arg("600"));
        until("it sleeps", || seen(job.pid()).is_some_and(|seen| seen.name == "sleep"));
        job
    }

    /// The shape of a tree: see [`plant`].
    pub fn tree(shape: &str) -> Self {
        let mut job = Self::start(role("tree", shape).stdout(Stdio::null()));
        let size = shape.matches('(').count();
        until("the tree has grown", || tree(job.pid()).len() == size);
        job.members();
        job
    }

    pub fn pid(&self) -> Pid {
        self.child.id().cast_signed()
    }

    pub fn id(&self) -> ProcessId {
        seen(self.pid()).expect("it lives").id
    }

    /// Not yet waited for, so its number is its own.
    pub fn lives(&self) -> bool {
        seen(self.pid()).is_some()
    }

    /// All living members, as candidates, root first.
    pub fn members(&mut self) -> Vec<Candidate> {
        self.members_in(&census())
    }

    /// The same among these.
    pub fn members_in(&mut self, all: &BTreeMap<Pid, Seen>) -> Vec<Candidate> {
        let tree = tree_in(all, self.pid());
        self.members.extend(tree.iter().map(|seen| seen.id));
        tree.iter().map(candidate).collect()
    }

    pub fn root(&self) -> Vec<Candidate> {
        seen(self.pid()).iter().map(candidate).collect()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // The child is not waited for before the end, so its number still is its own, and so is its session's.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.members();
        }
        let in_session: Vec<ProcessId> = in_session(self.pid()).into_iter().map(|seen| seen.id).collect();
        for id in self.members.iter().copied().chain(in_session) {
            if lives(id) {
                let _ = kill_process(RawPid::from_raw(id.pid).unwrap(), rustix::process::Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn candidate(seen: &Seen) -> Candidate {
    Candidate { id: seen.id, name: seen.name.clone(), command: String::new(), user: None, kernel_thread: false }
}

pub fn subject(candidates: &[Candidate]) -> Subject {
    Subject {
        job: "tree".to_owned(),
        name: "nightly".to_owned(),
        candidates: candidates.to_vec(),
        seen: UNSEEN,
        ..Subject::default()
    }
}

pub fn aim(hand: &mut Hand, candidates: &[Candidate]) -> Aim {
    hand.aim(&subject(candidates))
}

pub fn strike(hand: &mut Hand, signal: Signal) -> Outcome {
    let armed = hand.arm().unwrap();
    match signal {
        Signal::Stop => armed.strike(1, Action::Pause, Blow::Stop(&mut Vec::new())),
        signal => armed.strike(1, Action::End(signal), Blow::Signal(signal)),
    }
}

pub fn send(candidates: &[Candidate], signal: Signal) -> Outcome {
    let mut hand = Hand::new(true);
    aim(&mut hand, candidates);
    strike(&mut hand, signal)
}

/// Aims at one process, and gives the reason why not.
pub fn refusal(candidate: Candidate) -> Option<Refusal> {
    let aim = aim(&mut Hand::new(true), &[candidate]);
    assert_eq!(aim.targets.len(), 1);
    aim.targets[0].check.clone().err()
}

pub fn ids(candidates: &[Candidate]) -> Vec<ProcessId> {
    candidates.iter().map(|candidate| candidate.id).collect()
}

pub fn hit_ids(outcome: &Outcome) -> Vec<ProcessId> {
    outcome.hits.iter().filter(|hit| hit.result.is_ok()).map(|hit| hit.id).collect()
}

// ---- This binary in another part ----

pub fn role(name: &str, argument: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "part", "--nocapture", "--test-threads=1"]).env(ROLE, name).env(ARGUMENT, argument);
    command.stderr(Stdio::null());
    command
}

// ---- A worker ----

/// A host of which acting remembers nothing.
pub fn forgetful() -> Tools {
    Tools { ledger: None, own: env!("CARGO_BIN_EXE_whytop").into(), ..Tools::of_this_host() }
}

/// A worker, and what it reports.
pub struct Hands {
    pub worker: Worker,
    pub reports: Receiver<Report>,
}

impl Hands {
    pub fn new(tools: Tools) -> Self {
        let (sender, reports) = channel();
        let worker = Worker::start(tools, move |report| {
            let _ = sender.send(report);
        });
        Self { worker, reports }
    }

    /// Orders it for this subject.
    pub fn order(&self, subject: &Subject, order: Order) {
        let mut hand = Hand::new(true);
        hand.aim(subject);
        self.worker.order(hand.arm().unwrap(), order);
    }

    /// Orders it, and waits for what becomes of it.
    pub fn act(&self, subject: &Subject, action: Action) -> Outcome {
        self.order(subject, Order::whole(1, action));
        self.outcome()
    }

    /// The next report of which this makes something.
    pub fn hear<T>(&self, what: &str, mut pick: impl FnMut(Report) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let report = self.reports.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let report = report.unwrap_or_else(|_| panic!("not within 30 s: {what}"));
            if let Some(found) = pick(report) {
                return found;
            }
        }
    }

    /// What is offered for a job, once all has been looked at.
    pub fn offers(&self, subject: &Subject) -> Offers {
        let aim = Hand::new(true).aim(subject);
        self.worker.survey(subject.clone(), aim);
        self.hear("all offers", |report| match report {
            Report::Offers(offers) if offers.complete => Some(offers),
            _ => None,
        })
    }

    pub fn outcome(&self) -> Outcome {
        self.hear("an outcome", |report| match report {
            Report::Outcome(outcome) => Some(outcome),
            _ => None,
        })
    }
}

/// The signals that end a sleeper. Not SIGINT where the tests were started to ignore it, as a shell does in the background: their
/// children inherit that.
pub fn deadly() -> Vec<Signal> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignores_interrupt = u64::from_str_radix(ignored.trim(), 16).unwrap() >> 1 & 1 == 1;
    let signals = [Signal::Terminate, Signal::Interrupt, Signal::Kill].into_iter();
    signals.filter(|signal| *signal != Signal::Interrupt || !ignores_interrupt).collect()
}

/// The state of a process by the kernel's letter; `-`: it is gone.
pub fn state(pid: Pid) -> char {
    seen(pid).map_or('-', |seen| seen.state)
}
