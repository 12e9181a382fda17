//! What one process's job is taken for, and every piece of evidence for and against: as text and as JSON.
//!
//! The JSON is an object of its own; the names of a job's fields are those of the diagnosis. Tested by `tests/knowledge.rs`.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use anstyle::Style;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::json::{JobOut, job_out, rounded};
use super::text::{command_of_root, started, usage};
use crate::analysis::advice;
use crate::analysis::diagnosis::{Diagnosis, Evidence, Job, Kind, Member};
use crate::units::{Pid, count};

/// Lineage is followed this far up; deeper is a circle, written by hand.
const DEEPEST: usize = 64;
/// Processes listed in the text.
const LISTED: usize = 40;

/// A process, with its job and those above it.
#[derive(Debug)]
pub struct Explained<'a> {
    diagnosis: &'a Diagnosis,
    job: &'a Job,
    member: &'a Member,
    /// The first process first, this one last.
    lineage: Vec<&'a Member>,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    pid: Pid,
    name: &'a str,
    command: &'a str,
    lineage: Vec<ProcessOut<'a>>,
    job: JobOut<'a>,
    work: Option<&'a str>,
    #[serde(rename = "for")]
    speaks_for: Vec<EvidenceOut<'a>>,
    against: Vec<EvidenceOut<'a>>,
    advice: AdviceOut<'a>,
    age_s: Option<f64>,
    usual_s: Option<f64>,
    members: Vec<ProcessOut<'a>>,
    carried: Vec<ProcessOut<'a>>,
}

#[derive(Serialize)]
struct ProcessOut<'a> {
    pid: Pid,
    parent: Pid,
    name: &'a str,
    command: &'a str,
    user: Option<&'a str>,
}

#[derive(Serialize)]
struct EvidenceOut<'a> {
    weight: f64,
    text: &'a str,
}

#[derive(Serialize)]
struct AdviceOut<'a> {
    consequence: Option<&'a str>,
    better_signal: Option<&'a str>,
    cleanup: Option<&'a str>,
    holds: Option<&'a str>,
    gentle: Option<&'a str>,
    resume: Option<&'a str>,
}

impl<'a> Explained<'a> {
    /// The process with this number. `None`: there is none.
    pub fn of(diagnosis: &'a Diagnosis, pid: Pid) -> Option<Self> {
        let mut by_pid: HashMap<Pid, (&'a Job, &'a Member)> = HashMap::new();
        for job in &diagnosis.jobs {
            by_pid.extend(job.facts.members.iter().map(|member| (member.id.pid, (job, &**member))));
        }
        let (job, member) = *by_pid.get(&pid)?;
        let mut lineage = vec![member];
        while let Some((_, above)) = lineage.last().and_then(|last| by_pid.get(&last.parent)).filter(|_| lineage.len() < DEEPEST)
        {
            lineage.push(above);
        }
        lineage.reverse();
        Some(Self { diagnosis, job, member, lineage })
    }

    /// As one JSON object, with a line end.
    pub fn json(&self) -> serde_json::Result<String> {
        let finding = &self.job.facts.finding;
        let advice = &finding.advice;
        let document = Document {
            schema: 1,
            pid: self.member.id.pid,
            name: &self.member.name,
            command: &self.member.command,
            lineage: self.lineage.iter().map(|member| process(member)).collect(),
            job: job_out(self.job),
            work: finding.work.as_deref(),
            speaks_for: self.evidence(true).map(evidence).collect(),
            against: self.evidence(false).map(evidence).collect(),
            advice: AdviceOut {
                consequence: advice.consequence.as_deref(),
                better_signal: advice.better_signal.as_deref(),
                cleanup: advice.cleanup.as_deref(),
                holds: advice.holds.as_deref(),
                gentle: advice.gentle.as_deref(),
                resume: advice.resume.as_deref(),
            },
            age_s: self.job.age.map(|age| rounded(age, 1)),
            usual_s: self.job.usual.map(|usual| rounded(usual.seconds, 1)),
            members: self.job.facts.members.iter().map(|member| process(member)).collect(),
            carried: self.job.facts.carried.iter().map(|member| process(member)).collect(),
        };
        let mut text = serde_json::to_string_pretty(&document)?;
        text.push('\n');
        Ok(text)
    }

    /// As text for a person, with escape sequences.
    pub fn text(&self, zone: &TimeZone) -> String {
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(&mut out, zone);
        out
    }

    fn write(&self, out: &mut String, zone: &TimeZone) -> std::fmt::Result {
        let (facts, bold) = (&self.job.facts, Style::new().bold());
        let finding = &facts.finding;
        let what = match (&finding.work, &finding.tool) {
            (Some(work), Some(tool)) => format!("{} ({work}, by {tool})", finding.kind.name()),
            (Some(one), None) | (None, Some(one)) => format!("{} ({one})", finding.kind.name()),
            (None, None) => finding.kind.name().to_owned(),
        };
        let sure = (finding.confidence * 100.0).round();
        let what = match finding.kind {
            Kind::Unknown => "nothing tells what kind of work that is".to_owned(),
            Kind::Kernel => match &finding.work {
                Some(work) => format!("threads of the kernel that take no signal ({work})"),
                None => "threads of the kernel that take no signal".to_owned(),
            },
            _ => format!("{what}, {sure:.0} % sure"),
        };
        writeln!(
            out,
            "{bold}{} {}{bold:#} belongs to {bold}{}{bold:#}: {what}",
            self.member.name, self.member.id.pid, facts.name
        )?;
        let line = |out: &mut String, label: &str, text: &str| writeln!(out, "  {label:<11}{text}");
        line(out, "command", &self.member.command)?;
        let lineage: Vec<String> = self.lineage.iter().map(|member| format!("{} {}", member.name, member.id.pid)).collect();
        line(out, "lineage", &lineage.join(" > "))?;
        if facts.root.is_some_and(|root| root != self.member.id) {
            line(out, "root", &command_of_root(facts))?;
        }
        let carries = |job: &&Job| job.facts.carried.iter().any(|carried| carried.id == self.member.id);
        if let Some(other) = self.diagnosis.jobs.iter().find(carries) {
            line(out, "works for", &format!("{}, and gets none of its signals", other.facts.name))?;
        }
        line(out, "started", &started(self.diagnosis, facts, zone))?;
        line(out, "takes", &usage(self.job))?;
        if let Some(lasts) = advice::run_time(self.job) {
            line(out, "so far", &lasts)?;
        }
        for (speaks_for, title) in [(true, "what speaks for it:"), (false, "what speaks against a backup:")] {
            let mut pieces = self.evidence(speaks_for).peekable();
            if pieces.peek().is_some() {
                writeln!(out, "{title}")?;
            }
            for piece in pieces {
                writeln!(out, "  {:+.2} {}", piece.weight, piece.text)?;
            }
        }
        let heed = advice::lines(&finding.advice);
        if !heed.is_empty() {
            writeln!(out, "before you act:")?;
        }
        for (about, words) in heed {
            line(out, about.label(), words)?;
        }
        processes(out, &count(facts.members.len(), "process"), &facts.members)?;
        if facts.carried.is_empty() {
            Ok(())
        } else {
            processes(out, "works for it, and gets none of its signals", &facts.carried)
        }
    }

    fn evidence(&self, speaks_for: bool) -> impl Iterator<Item = &'a Evidence> {
        self.job.facts.finding.evidence.iter().filter(move |piece| (piece.weight > 0.0) == speaks_for)
    }
}

fn processes(out: &mut String, title: &str, members: &[Arc<Member>]) -> std::fmt::Result {
    writeln!(out, "{title}:")?;
    for member in members.iter().take(LISTED) {
        writeln!(out, "  {:>8} {:<9} {}", member.id.pid, member.user.as_deref().unwrap_or("-"), member.command)?;
    }
    if members.len() > LISTED {
        writeln!(out, "  and {} more", members.len() - LISTED)?;
    }
    Ok(())
}

fn process(member: &Member) -> ProcessOut<'_> {
    let user = member.user.as_deref();
    ProcessOut { pid: member.id.pid, parent: member.parent, name: &member.name, command: &member.command, user }
}

fn evidence(piece: &Evidence) -> EvidenceOut<'_> {
    EvidenceOut { weight: rounded(piece.weight, 2), text: &piece.text }
}
