//! One job: who it is, the evidence for and against, its processes as a tree, and where it waits.
//!
//! A job may have thousands of processes: rows are only named here, and formatted when they are seen.

use std::collections::{HashMap, HashSet};

use ratatui::style::Style;
use ratatui::text::Line;

use super::suspect::{started, takes};
use super::text::{Pieces, UNKNOWN, cores, known, left, percent, right, wrap};
use crate::analysis::advice;
use crate::analysis::diagnosis::{Diagnosis, Evidence, Job, Member, Role, StuckTask, WaitGroup};
use crate::sample::{Gap, TaskState};
use crate::ui::state::{Detail, State};
use crate::units::{bytes, count, span};

/// A line that is not formatted yet.
enum Row<'a> {
    Blank,
    Section(String),
    Field(&'static str, Vec<(String, Style)>),
    Evidence(&'a Evidence),
    Header,
    Process(&'a Member, usize),
    Wait(&'a WaitGroup),
    Place(String),
    Helps(&'static str),
    Stuck(&'a StuckTask),
    Stack(String),
}

/// Lines of a stack that are shown.
const STACK_LINES: usize = 4;

/// The title of the screen.
pub fn title(detail: &Detail, job: Option<&Job>) -> String {
    match job {
        None => format!("{} has ended", detail.name),
        Some(job) => {
            let tool = job.facts.finding.tool.as_ref().map(|tool| format!(" ({tool})")).unwrap_or_default();
            let finding = &job.facts.finding;
            let kind = finding.work.as_deref().unwrap_or_else(|| finding.kind.name());
            format!("{}: {kind}{tool}, {}", job.facts.name, job.role.name())
        }
    }
}

/// The style of the title's bar.
pub fn bar(state: &State, job: Option<&Job>) -> Style {
    match job.map(|job| job.role) {
        Some(Role::Culprit) => state.theme.culprit_bar,
        _ => state.theme.selected,
    }
}

/// How many lines there are to scroll through.
pub fn length(state: Option<&State>, job: Option<&Job>, diagnosis: Option<&Diagnosis>, width: usize) -> usize {
    match (job, diagnosis) {
        (Some(job), Some(diagnosis)) => rows(state, job, diagnosis, width).len(),
        _ => 0,
    }
}

/// The lines that are seen.
pub fn lines(state: &State, job: &Job, diagnosis: &Diagnosis, scroll: usize, width: usize, height: usize) -> Vec<Line<'static>> {
    let rows = rows(Some(state), job, diagnosis, width);
    let first = scroll.min(rows.len().saturating_sub(height));
    rows.iter().skip(first).take(height).map(|row| line(state, diagnosis, row, width)).collect()
}

fn rows<'a>(state: Option<&State>, job: &'a Job, diagnosis: &'a Diagnosis, width: usize) -> Vec<Row<'a>> {
    let facts = &job.facts;
    let plain = Style::new();
    let text = |words: String| vec![(words, plain)];
    let mut rows = Vec::new();
    let begun = state.map_or_else(Vec::new, |state| started(state, facts, plain));
    rows.push(Row::Field("started", begun));
    let places: Vec<String> = [("unit", &facts.unit), ("container", &facts.container)]
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")))
        .collect();
    if !places.is_empty() {
        rows.push(Row::Field("runs in", text(places.join(", "))));
    }
    rows.push(Row::Field("takes", takes(diagnosis, job, plain, plain)));
    let waiting = known(job.usage.cpu_wait, super::text::tasks);
    let now = format!("{} stuck, {} runnable now; {waiting} want a CPU on average", job.uninterruptible, job.runnable);
    rows.push(Row::Field("tasks", text(now)));
    if let Some(account) = &diagnosis.load.account
        && let Some(part) = account.lines.iter().find(|part| part.job == facts.id)
    {
        rows.push(Row::Field("load", text(format!("{:.1} of the {:.1} of the last minute", part.average, account.average))));
    }
    for wedged in diagnosis.wedged.iter().filter(|wedged| wedged.job.as_ref() == Some(&facts.id)) {
        let waits = wedged.meaning.as_ref().map(|meaning| format!(" and {meaning}")).unwrap_or_default();
        let since = span(wedged.since);
        let words = format!("{} {} blocks whoever looks at it, for {since} or longer,{waits}", wedged.name, wedged.id.pid);
        let words = words.trim_end_matches(',');
        for (index, part) in wrap(words, width.saturating_sub(14), 2).into_iter().enumerate() {
            rows.push(Row::Field(if index == 0 { "wedged" } else { "" }, text(part)));
        }
    }
    if let Some(lasts) = job.usual.and_then(|_| advice::run_time(job)) {
        rows.push(Row::Field("so far", text(lasts)));
    }
    for (about, words) in advice::lines(&facts.finding.advice) {
        for (index, part) in wrap(words, width.saturating_sub(14), 6).into_iter().enumerate() {
            rows.push(Row::Field(if index == 0 { about.label() } else { "" }, text(part)));
        }
    }
    if let Some((claim, _)) = diagnosis.verdict.about(&facts.id) {
        rows.push(Row::Blank);
        let sure = format!("CLAIM, {} sure: {}", percent(claim.confidence), claim.headline);
        rows.extend(wrap(&sure, width.saturating_sub(2), 3).into_iter().map(Row::Section));
        for line in &claim.evidence {
            rows.extend(wrap(line, width.saturating_sub(14), 3).into_iter().map(|part| Row::Field("", text(part))));
        }
    }
    let waits: Vec<&WaitGroup> = diagnosis.waits.iter().filter(|wait| wait.job == facts.id).collect();
    if !waits.is_empty() {
        rows.push(Row::Blank);
        rows.push(Row::Section("WAITS".to_owned()));
        for wait in &waits {
            rows.push(Row::Wait(wait));
            rows.extend(place(wait).map(Row::Place));
            rows.extend(wait.helps.map(Row::Helps));
            for task in &wait.examples {
                rows.push(Row::Stuck(task));
                let stack = task.stack.join(" < ");
                rows.extend(wrap(&stack, width.saturating_sub(15), STACK_LINES).into_iter().map(Row::Stack));
            }
        }
        // Once for all of them.
        if diagnosis.gaps.iter().any(|gap| matches!(gap, Gap::WaitDenied { .. })) {
            rows.push(Row::Place("system calls, files and stacks are hidden from this user: root sees them".to_owned()));
        }
    }
    rows.push(Row::Blank);
    rows.push(Row::Section(format!(
        "EVIDENCE that it is a {} job: {} sure",
        facts.finding.kind.name(),
        percent(facts.finding.confidence)
    )));
    if facts.finding.evidence.is_empty() {
        rows.push(Row::Field("", text("none for or against".to_owned())));
    }
    rows.extend(facts.finding.evidence.iter().map(Row::Evidence));
    rows.push(Row::Blank);
    rows.push(Row::Section(format!("PROCESSES: {}", count(facts.members.len(), "process"))));
    rows.push(Row::Header);
    rows.extend(tree(facts.members.iter().map(AsRef::as_ref)).into_iter().map(|(member, depth)| Row::Process(member, depth)));
    if !facts.carried.is_empty() {
        rows.push(Row::Blank);
        rows.push(Row::Section("WORKS FOR IT, and gets none of its signals".to_owned()));
        rows.push(Row::Header);
        rows.extend(facts.carried.iter().map(|member| Row::Process(member, 0)));
    }
    rows
}

/// The processes in the order of a tree, with their depth. A process whose parent is not in the job starts a tree.
fn tree<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<(&'a Member, usize)> {
    let members: Vec<&Member> = members.collect();
    let known: HashSet<i32> = members.iter().map(|member| member.id.pid).collect();
    let mut children: HashMap<i32, Vec<&Member>> = HashMap::new();
    let mut stack: Vec<(&Member, usize)> = Vec::new();
    for member in members.iter().rev() {
        if known.contains(&member.parent) && member.parent != member.id.pid {
            children.entry(member.parent).or_default().push(member);
        } else {
            stack.push((member, 0));
        }
    }
    let mut out = Vec::with_capacity(members.len());
    while let Some((member, depth)) = stack.pop() {
        out.push((member, depth));
        // Taken out, so that numbers that contradict each other cannot make a circle.
        for child in children.remove(&member.id.pid).unwrap_or_default() {
            stack.push((child, depth + 1));
        }
    }
    out
}

fn line(state: &State, diagnosis: &Diagnosis, row: &Row<'_>, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut line = Pieces::new(width);
    line.push(" ", theme.plain);
    match row {
        Row::Blank => {}
        Row::Section(text) => {
            line.push(text, theme.title);
        }
        Row::Field(label, text) => {
            line.push(&left(label, 11), theme.dim);
            for (text, style) in text {
                line.push(text, *style);
            }
        }
        Row::Evidence(evidence) => {
            let (sign, style) = if evidence.weight < 0.0 { ("against", theme.dim) } else { ("for", theme.strong) };
            line.push(&left(sign, 8), style).push(&right(&format!("{:+.2}", evidence.weight), 6), theme.dim);
            line.push("  ", theme.plain).push(&evidence.text, theme.plain);
        }
        Row::Header => {
            line.push(&process_head(width), theme.dim);
        }
        Row::Process(member, depth) => process(state, diagnosis, member, *depth, width, &mut line),
        Row::Wait(wait) => {
            line.push(&right(&count(wait.tasks as usize, "task"), 10), theme.victim).push("  ", theme.plain);
            line.push(wait.meaning.as_deref().unwrap_or(UNKNOWN), theme.plain);
            let longest = wait.longest.map(|stuck| format!("longest {stuck}"));
            let known = [&longest, &wait.syscall, &wait.wchan];
            for text in known.into_iter().flatten() {
                line.push(" · ", theme.dim).push(text, theme.dim);
            }
        }
        Row::Place(words) => {
            line.push(&" ".repeat(12), theme.plain).push(words, theme.plain);
        }
        Row::Stack(words) => {
            line.push(&" ".repeat(14), theme.plain).push(words, theme.dim);
        }
        Row::Helps(words) => {
            line.push(&" ".repeat(12), theme.plain).push("helps: ", theme.dim).push(words, theme.plain);
        }
        Row::Stuck(task) => {
            line.push(&right(&task.tid.to_string(), 10), theme.dim).push("  ", theme.plain);
            let since = task.stuck_for.map_or_else(|| UNKNOWN.to_owned(), |stuck| stuck.to_string());
            line.push("stuck for ", theme.dim).push(&since, theme.plain);
            if task.tid != task.pid {
                line.push(&format!(", a thread of {}", task.pid), theme.dim);
            }
        }
    }
    line.line()
}

/// `on /srv/www/index.html: /srv/www (ext4) on dm-0 < sda2 < sda`. `None`: nothing of it is known.
fn place(wait: &WaitGroup) -> Option<String> {
    let file = wait.path.as_ref().map(|path| format!("on {path}"));
    let mount = wait.mount.as_ref().map(|mount| match &wait.filesystem {
        Some(kind) => format!("{mount} ({kind})"),
        None => mount.clone(),
    });
    // Another host's disk has a name here, too.
    let devices = (!wait.devices.is_empty()).then(|| wait.devices.join(" < ")).or(wait.source.clone());
    let below = match (mount, devices) {
        (Some(mount), Some(devices)) => Some(format!("{mount} on {devices}")),
        (mount, devices) => mount.or(devices),
    };
    match (file, below) {
        (Some(file), Some(below)) => Some(format!("{file}: {below}")),
        (file, below) => file.or(below),
    }
}

/// Whether the columns of what a process uses have room.
const fn has_usage(width: usize) -> bool {
    width >= 60
}

/// Whether there is room for how many CPUs more it wants than it has.
const fn has_wait(width: usize) -> bool {
    width >= 100
}

fn process_head(width: usize) -> String {
    let wants = if has_wait(width) { "  wants" } else { "" };
    let usage = if has_usage(width) { format!("   cpu{wants}    read   write") } else { String::new() };
    format!("{}  {} S{usage}  command", right("pid", 8), left("user", 9))
}

fn process(state: &State, diagnosis: &Diagnosis, member: &Member, depth: usize, width: usize, line: &mut Pieces) {
    let theme = &state.theme;
    let activity = diagnosis.activity.get(&member.id);
    // Who does nothing sleeps or stands still: that is measured, not unknown.
    let resting = || diagnosis.halted.get(&member.id).copied().unwrap_or(TaskState::Sleeping);
    let letter = letter(activity.map_or_else(resting, |activity| activity.state));
    let user = member.user.as_deref().unwrap_or("-");
    line.push(&right(&member.id.pid.to_string(), 8), theme.plain).push("  ", theme.plain);
    line.push(&left(user, 9), theme.dim);
    line.push(&format!(" {letter}"), if letter == "D" { theme.victim } else { theme.plain });
    if has_usage(width) {
        let usage = activity.map(|activity| activity.usage);
        let style = if usage.is_some() { theme.plain } else { theme.dim };
        let column =
            |value: Option<f64>, print: fn(f64) -> String| if usage.is_some() { known(value, print) } else { "-".to_owned() };
        line.push(&right(&column(usage.and_then(|u| u.cpu_cores), cores), 6), style);
        if has_wait(width) {
            line.push(&right(&column(usage.and_then(|u| u.cpu_wait), cores), 7), style);
        }
        line.push(&right(&column(usage.and_then(|u| u.read_bytes), bytes), 8), style);
        line.push(&right(&column(usage.and_then(|u| u.write_bytes), bytes), 8), style);
    }
    line.push("  ", theme.plain);
    if depth > 0 {
        line.push(&format!("{}└ ", "  ".repeat((depth - 1).min(12))), theme.dim);
    }
    line.push(&member.command, theme.plain);
}

const fn letter(state: TaskState) -> &'static str {
    match state {
        TaskState::Runnable => "R",
        TaskState::Uninterruptible => "D",
        TaskState::Sleeping => "S",
        TaskState::Stopped => "T",
        TaskState::Dead => "Z",
    }
}
