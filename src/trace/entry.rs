//! One line of the trace: as JSON for the file, as a sentence for the journal.

use std::env;
use std::fs;

use jiff::Timestamp;
use rustix::process::{getpid, getuid};
use serde::Serialize;
use sysinfo::Users;

use crate::action::{Action, Aim, Candidate, Order, Outcome};
use crate::grounds::Grounds;
use crate::units::{Pid, clean};

/// Processes that are written down by name; a job of thousands is told by their number.
const NAMED: usize = 64;
/// No login has this number: the kernel's word for "nobody logged in".
const NO_LOGIN: u32 = u32::MAX;
/// Bytes of a sentence for the journal: a datagram is taken whole or not at all, and old syslog servers cut at 1024.
const SENTENCE: usize = 1000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// The same in all lines of one action; counted by each whytop for itself.
    pub ticket: u64,
    /// Whether it was asked for, or this is what came of it, or what was seen of it later.
    pub step: Step,
    /// What was done: `SIGTERM`.
    pub action: String,
    /// The job's name, cleaned.
    pub job: String,
    /// The processes that it was meant for, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    /// How many more than those there were.
    pub targets_more: usize,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Grounds>,
    /// What came of it, or is seen of it, as the screen said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

/// Which of the lines of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Somebody asked for it. Written first: what it does may be the end of the host.
    Asked,
    /// It is done, or was refused.
    Result,
    /// Some time later: who is left of those who were told to end, or what a pause has shown.
    Seen,
}

/// A process that is acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Target {
    pid: Pid,
    start_ticks: u64,
    name: String,
    command: String,
    user: Option<String>,
}

impl Entry {
    /// Somebody asks for this, on what is aimed at.
    pub fn asked(at: Timestamp, order: &Order, aim: &Aim, grounds: Grounds) -> Self {
        let meant = |candidate: &&Candidate| order.only.as_ref().is_none_or(|only| only.contains(&candidate.id));
        let mut targets: Vec<Target> = aim.reachable().filter(meant).map(target).collect();
        let targets_more = targets.len().saturating_sub(NAMED);
        targets.truncate(NAMED);
        Self {
            at,
            ticket: order.ticket,
            step: Step::Asked,
            action: order.action.to_string(),
            job: aim.job.clone(),
            targets,
            targets_more,
            evidence: Some(grounds),
            result: None,
        }
    }

    /// This came of it.
    pub fn result(outcome: &Outcome) -> Self {
        let Outcome { at, ticket, action, job, .. } = outcome;
        Self { step: Step::Result, ..Self::seen(*at, *ticket, action, job, outcome.to_string()) }
    }

    /// This is seen of it later.
    pub fn seen(at: Timestamp, ticket: u64, action: &Action, job: &str, words: String) -> Self {
        Self {
            at,
            ticket,
            step: Step::Seen,
            action: action.to_string(),
            job: job.to_owned(),
            targets: Vec::new(),
            targets_more: 0,
            evidence: None,
            result: Some(words),
        }
    }
}

fn target(candidate: &Candidate) -> Target {
    Target {
        pid: candidate.id.pid,
        start_ticks: candidate.id.start,
        name: candidate.name.clone(),
        command: candidate.command.clone(),
        user: candidate.user.clone(),
    }
}

/// Who acts. `sudo_user` is what the environment says, and anybody may say anything there; `login` is the kernel's word for who logged
/// in, whatever became of him since.
#[derive(Clone, Debug, Serialize)]
pub struct Who {
    user: Option<String>,
    uid: u32,
    sudo_user: Option<String>,
    login: Option<String>,
    login_uid: Option<u32>,
    whytop_pid: i32,
}

impl Who {
    /// Whoever runs this. Asks the user database, which may take its time.
    pub fn now() -> Self {
        let users = Users::new_with_refreshed_list().ok();
        let name = |id: u32| users.as_ref()?.iter().find(|user| **user.id() == id).map(|user| clean(user.name()));
        let uid = getuid().as_raw();
        let login_uid = fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
        let login_uid = login_uid.filter(|login| *login != NO_LOGIN);
        Self {
            user: name(uid),
            uid,
            sudo_user: env::var("SUDO_USER").ok().filter(|user| !user.is_empty()).map(|user| clean(&user)),
            login: login_uid.and_then(name),
            login_uid,
            whytop_pid: getpid().as_raw_nonzero().get(),
        }
    }

    /// `ann (as root by sudo)`, `root`
    fn words(&self) -> String {
        let user = self.user.clone().unwrap_or_else(|| self.uid.to_string());
        match (&self.sudo_user, &self.login) {
            (Some(sudo), _) => format!("{sudo} (as {user} by sudo)"),
            (None, Some(login)) if *login != user => format!("{user} (logged in as {login})"),
            _ => user,
        }
    }
}

/// The line for the file.
pub(super) fn json(who: &Who, entry: &Entry) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        entry: &'a Entry,
        #[serde(flatten)]
        who: &'a Who,
    }
    // Plain strings and numbers: nothing in it can fail.
    let mut line = serde_json::to_string(&Line { entry, who }).unwrap_or_default();
    line.push('\n');
    line
}

/// The sentence for the journal: `ann (as root by sudo) asks for SIGTERM to nightly.sh (nightly.sh 4711, tar 4712); load 40.1; …`
pub(super) fn sentence(who: &Who, entry: &Entry) -> String {
    let Entry { action, job, .. } = entry;
    let mut text = match &entry.result {
        Some(result) => format!("{}: {result}", who.words()),
        None => format!("{} asks for {action} to {job}", who.words()),
    };
    if !entry.targets.is_empty() {
        let names: Vec<String> = entry.targets.iter().map(|target| format!("{} {}", target.name, target.pid)).collect();
        let more = if entry.targets_more > 0 { format!(" and {} more", entry.targets_more) } else { String::new() };
        text.push_str(&[" (", &names.join(", "), &more, ")"].concat());
    }
    if let Some(grounds) = &entry.evidence {
        let load = grounds.load1.map(|load| format!("load {load:.1}"));
        let site = grounds.site.as_ref().map(|site| format!("site {site}"));
        for part in [load, site, grounds.headline.clone()].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(&part);
        }
    }
    // Once more, as a whole: a line end would begin a line of somebody else's.
    let text = clean(&text);
    let mut end = text.len().min(SENTENCE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
