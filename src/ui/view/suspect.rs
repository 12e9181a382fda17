//! The suspect: who takes what the others wait for, or which backup runs; who started it, and the keys that end it.

use ratatui::style::Style;

use super::panel::{Panel, Row};
use super::text::{UNKNOWN, ago, clock, cores, known, of_all, percent, tasks, width as cells};
use crate::action::Signal;
use crate::analysis::diagnosis::{Diagnosis, Job, JobFacts, Kind, Member, Resource, WaitGroup};
use crate::ui::keys::{Choice, Command, Rights, Screen, shown};
use crate::ui::state::State;
use crate::units::{count, rate};

/// Whether the panel is about a job that others wait for, not about a backup that merely runs.
fn is_culprit(diagnosis: &Diagnosis, job: &Job) -> bool {
    diagnosis.verdict.worst.culprit.as_ref() == Some(&job.facts.id)
}

/// The words on the bar.
pub fn title(diagnosis: &Diagnosis, job: &Job) -> String {
    let backup = job.facts.finding.kind == Kind::Backup;
    if !is_culprit(diagnosis, job) {
        return "CO-LOCATED BACKUP DETECTED: it runs, nobody waits for it".to_owned();
    }
    let work = job.facts.finding.work.as_ref();
    let takes = match (diagnosis.verdict.worst.resource, job.facts.finding.kind) {
        (Resource::Cpu, Kind::Kernel) if work.is_none() => "TAKE THE CPU",
        (Resource::Cpu, _) => "TAKES THE CPU",
        (Resource::Disk, Kind::Kernel) if work.is_none() => "TAKE THE DISK",
        (Resource::Disk, _) => "TAKES THE DISK",
        (Resource::FrozenFilesystem, _) => "FROZE A FILESYSTEM",
        (Resource::NetworkFilesystem, _) => "LOADS THE FILE SERVER",
        (Resource::Memory, _) => "TAKES THE MEMORY",
        (Resource::Lock, _) => "HOLDS A LOCK",
        (Resource::None, _) => "RUNS",
    };
    if backup {
        return format!("CO-LOCATED BACKUP DETECTED: IT {takes}");
    }
    if let Some(work) = work {
        return format!("CO-LOCATED {} DETECTED: IT {takes}", work.to_uppercase());
    }
    let kind = match job.facts.finding.kind {
        Kind::Batch | Kind::Backup => "BATCH JOB",
        Kind::Service => "SERVICE",
        Kind::Interactive => "COMMAND OF A LOGIN",
        Kind::Kernel => "KERNEL THREADS",
        Kind::Unknown => "A JOB",
    };
    format!("{kind} {takes}")
}

/// The panel, or `None` without a suspect.
pub fn panel(state: &State, width: usize) -> Option<Panel> {
    let diagnosis = state.diagnosis.as_deref()?;
    let job = state.suspect()?;
    let theme = &state.theme;
    let culprit = is_culprit(diagnosis, job);
    let (bar, name) = if culprit { (theme.culprit_bar, theme.culprit) } else { (theme.amber_bar, theme.amber) };
    let facts = &job.facts;
    let room = width.saturating_sub(12);
    let row = |rank, label, text| Row { rank, label, text };
    let mut rows = vec![
        row(0, "who", who(facts, room, name, theme.plain)),
        row(5, "command", vec![(working_command(facts), theme.plain)]),
        row(3, "started", started(state, facts, theme.plain)),
        row(1, "takes", takes(diagnosis, job, name, theme.plain)),
    ];
    if culprit {
        rows.push(row(2, "waiting", waiting(diagnosis, theme.victim, theme.plain)));
    }
    if let Some(evidence) = facts.finding.evidence.iter().find(|evidence| evidence.weight > 0.0) {
        rows.push(row(4, "because", vec![(evidence.text.clone(), theme.plain)]));
    }
    if let Some(other) = diagnosis.verdict.backup.as_ref().filter(|id| **id != facts.id).and_then(|id| diagnosis.job(id)) {
        rows.push(row(4, "also", vec![(format!("{} runs: a backup", other.facts.name), theme.amber)]));
    }
    rows.push(row(1, "", hints(state, job)));
    let sure = if culprit { diagnosis.verdict.worst.confidence } else { facts.finding.confidence };
    Some(Panel { title: title(diagnosis, job), aside: format!("{} sure", percent(sure)), bar, label: theme.dim, rows })
}

/// `nightly.sh 4711 → tar 4712 | gzip 4713`; where the processes have other names than job and tool, those come first.
fn who(facts: &JobFacts, room: usize, name: Style, plain: Style) -> Vec<(String, Style)> {
    let mut text = Vec::new();
    if facts.root_member().is_none_or(|root| root.name != facts.name) {
        text.push((format!("{}  ", facts.name), name));
    }
    let shown = |tool: &String| *tool == facts.name || facts.members.iter().take(8).any(|member| member.name == *tool);
    if let Some(tool) = facts.finding.tool.as_ref().filter(|tool| !shown(tool)) {
        text.push((format!("({tool})  "), name));
    }
    let taken: usize = text.iter().map(|piece| cells(&piece.0)).sum();
    let chain = chain(facts, room.saturating_sub(taken));
    match chain.strip_prefix(facts.name.as_str()) {
        Some(rest) if text.is_empty() => text.extend([(facts.name.clone(), name), (rest.to_owned(), plain)]),
        _ => text.push((chain, plain)),
    }
    text
}

/// The processes as `nightly.sh 4711 → tar 4712 | gzip 4713`, in at most so many cells.
pub fn chain(facts: &JobFacts, room: usize) -> String {
    let mut out = String::new();
    let mut before: Option<&Member> = None;
    let members = &facts.members;
    for (index, member) in members.iter().enumerate() {
        let join = match before {
            None => "",
            Some(before) if member.parent == before.id.pid => " → ",
            Some(_) => " | ",
        };
        let part = format!("{join}{} {}", member.name, member.id.pid);
        let left = members.len() - index;
        let rest = format!(" + {left} more");
        let reserve = if left == 1 { 0 } else { rest.len() };
        if index > 0 && cells(&out) + cells(&part) + reserve > room {
            out.push_str(&rest);
            break;
        }
        out.push_str(&part);
        before = Some(member);
    }
    out
}

/// The command line of the process that does the work.
fn working_command(facts: &JobFacts) -> String {
    let tool = facts.finding.tool.as_deref();
    let worker = facts.members.iter().find(|member| Some(member.name.as_str()) == tool);
    worker.or_else(|| facts.root_member()).map_or_else(|| UNKNOWN.to_owned(), |member| member.command.clone())
}

/// `14:17:02, 12 s ago, by cron, as root`
pub fn started(state: &State, facts: &JobFacts, plain: Style) -> Vec<(String, Style)> {
    let mut parts = Vec::new();
    match facts.started_at {
        Some(at) => {
            parts.push(clock(at, state.now, &state.zone));
            parts.extend(ago(at, state.now));
        }
        None => parts.push(UNKNOWN.to_owned()),
    }
    parts.extend(facts.launched_by.as_ref().map(|by| format!("by {by}")));
    parts.extend(facts.user.as_ref().map(|user| format!("as {user}")));
    vec![(parts.join(", "), plain)]
}

/// `reads 8.1 MB/s, writes 2.1 MB/s (91 % of all)   0.94 CPUs`, what is short first.
pub fn takes(diagnosis: &Diagnosis, job: &Job, strong: Style, plain: Style) -> Vec<(String, Style)> {
    let usage = &job.usage;
    let on_cpu = diagnosis.verdict.worst.resource == Resource::Cpu;
    let (cpu_style, disk_style) = if on_cpu { (strong, plain) } else { (plain, strong) };
    // The share of what is not short would only be one number more.
    let share = if on_cpu { of_all(job.share.cpu) } else { of_all(job.share.disk) };
    let (cpu_share, disk_share) = if on_cpu { (share.as_str(), "") } else { ("", share.as_str()) };
    let cpu = format!("{} CPUs{cpu_share}", known(usage.cpu_cores, cores));
    let disk = match usage.disk_bytes() {
        None => format!("disk {UNKNOWN}"),
        Some(_) => format!("reads {}, writes {}{disk_share}", known(usage.read_bytes, rate), known(usage.write_bytes, rate)),
    };
    let mut parts = vec![(cpu, cpu_style), (disk, disk_style)];
    if !on_cpu {
        parts.reverse();
    }
    parts.insert(1, ("   ".to_owned(), plain));
    parts
}

/// `38 tasks of site-worker, the longest for 2 m 14 s`
fn waiting(diagnosis: &Diagnosis, victim: Style, plain: Style) -> Vec<(String, Style)> {
    let verdict = &diagnosis.verdict;
    let Some(first) = verdict.worst.victims.first() else {
        return vec![("nobody yet".to_owned(), plain)];
    };
    let name = diagnosis.job(first).map_or_else(|| first.to_string(), |job| job.facts.name.clone());
    let noun = if tasks(verdict.worst.waiting) == "1" { "task" } else { "tasks" };
    let mut text = format!("{} {noun} of {name}", tasks(verdict.worst.waiting));
    if verdict.worst.victims.len() > 1 {
        text = format!("{text} and {}", count(verdict.worst.victims.len() - 1, "other job"));
    }
    let worst = &verdict.worst;
    let of_victims = diagnosis.waits.iter().filter(|wait| worst.victims.contains(&wait.job) && wait.is_for(worst.resource));
    let longest = WaitGroup::longest(of_victims).map(|stuck| format!(", the longest for {stuck}")).unwrap_or_default();
    vec![(text, victim), (longest, plain)]
}

/// The keys that act on the suspect; if something else is selected, that is what they would act on.
fn hints(state: &State, job: &Job) -> Vec<(String, Style)> {
    let theme = &state.theme;
    let target = state.target();
    if target.as_ref().is_some_and(|target| target.job != job.facts.id) {
        let name = target.map(|target| target.name).unwrap_or_default();
        return vec![
            (shown(Screen::Overview, Command::Back).to_owned(), theme.key),
            (format!(" unselects {name}; then the keys act on {} again", job.facts.name), theme.dim),
        ];
    }
    let end = (shown(Screen::Overview, Command::Choose(Choice::End(Signal::Terminate))), " end it   ");
    let prove = (shown(Screen::Overview, Command::Choose(Choice::Prove)), " prove it by a pause   ");
    let evidence = (shown(Screen::Overview, Command::Detail), " evidence");
    let keys = if state.rights == Rights::Act { vec![end, prove, evidence] } else { vec![evidence] };
    keys.into_iter().flat_map(|(key, does)| [(key.to_owned(), theme.key), (does.to_owned(), theme.strong)]).collect()
}
