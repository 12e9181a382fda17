//! The diagnosis as text, fit to paste into a chat: the verdict first, then what stands behind it.
//!
//! Styled with escape sequences; whoever prints it strips them where they do not belong (`anstream` does).

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use jiff::tz::TimeZone;

use crate::analysis::advice::{self, About};
use crate::analysis::diagnosis::{Diagnosis, Job, JobFacts, Kind, Severity, Usage};
use crate::analysis::{gap, wedge};
use crate::site::Site;
use crate::units::{count, rate, span};

/// Jobs and wait groups listed at the most; a chat is no place for all of them.
const LISTED: usize = 8;
/// CPUs, or a share of the disk, that make a job worth a line.
const NOTABLE: f64 = 0.05;
/// Bytes per second below which a share of the disk is a share of nothing.
const NOTABLE_BYTES: f64 = 100_000.0;

/// The whole report.
pub fn text(diagnosis: &Diagnosis, site: Option<&Site>, zone: &TimeZone) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ = write(&mut out, diagnosis, site, zone);
    out
}

fn write(out: &mut String, diagnosis: &Diagnosis, site: Option<&Site>, zone: &TimeZone) -> std::fmt::Result {
    let verdict = &diagnosis.verdict;
    let (word, style) = match verdict.worst.severity {
        Severity::Calm => ("CALM", AnsiColor::Green.on_default().bold()),
        Severity::Watch => ("WATCH", AnsiColor::Yellow.on_default().bold()),
        Severity::Contention => ("CONTENTION", AnsiColor::Red.on_default().bold()),
    };
    let at = diagnosis.at.to_zoned(zone.clone());
    writeln!(
        out,
        "{} ({}, Linux {}) at {}, up {}",
        diagnosis.host.name,
        count(diagnosis.host.cpus, "CPU"),
        diagnosis.host.kernel,
        at.strftime("%Y-%m-%d %H:%M:%S %Z"),
        span(diagnosis.since_boot as f64 / 1e9),
    )?;
    let headline = verdict.worst.headline.trim_start_matches("calm: ");
    writeln!(out, "{style}{word}{style:#}: {headline}")?;
    if let Some(words) = wedge::words(&diagnosis.wedged, diagnosis.behind) {
        writeln!(out, "{style}WEDGED{style:#}: {words}")?;
    }
    for line in &verdict.worst.evidence {
        writeln!(out, "  {line}")?;
    }
    load(out, diagnosis)?;
    if let Some((site, last)) = site.and_then(|site| Some((site, site.last()?))) {
        let words = last.result.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        writeln!(out, "site: {words} ({})", site.url)?;
    }
    if let Some(suspect) = diagnosis.suspect() {
        writeln!(out)?;
        describe(out, diagnosis, suspect, zone)?;
    }
    waits(out, diagnosis)?;
    takes(out, diagnosis)?;
    let root = diagnosis.host.root;
    let own = diagnosis.gaps.iter().filter(|known| gap::is_own(known)).map(|known| gap::words(known, root));
    let tier = diagnosis.cost.tier;
    let notes = own.chain(gap::tier(tier).map(|_| gap::reads(tier))).collect();
    for (title, lines) in [("not seen", gap::unseen(diagnosis.gaps.iter(), root)), ("note", notes)] {
        if !lines.is_empty() {
            writeln!(out, "\n{title}:\n  {}", lines.join("\n  "))?;
        }
    }
    Ok(())
}

fn load(out: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    let load = &diagnosis.load;
    match load.averages {
        Some(avg) => write!(out, "load {:.2} {:.2} {:.2}", avg.avg1, avg.avg5, avg.avg15)?,
        None => write!(out, "load n/a")?,
    }
    write!(out, "; now {} = {} runnable + {} uninterruptible", load.now(), load.runnable, load.uninterruptible)?;
    let parts: Vec<String> =
        load.ledger.iter().take(4).map(|line| format!("{} {}", line.name, line.runnable + line.uninterruptible)).collect();
    if !parts.is_empty() {
        let more = load.ledger.len().saturating_sub(parts.len());
        let more = if more > 0 { format!(", {more} more") } else { String::new() };
        write!(out, " ({}{more})", parts.join(", "))?;
    }
    writeln!(out)?;
    if let Some(account) = &load.account {
        let parts = account.lines.iter().filter(|part| part.average >= NOTABLE).take(4);
        let parts = parts.map(|part| format!("{} {:.1}", part.name, part.average));
        let rest = [(account.before, "from before"), (account.unseen, "unseen")];
        let rest = rest.iter().filter(|(part, _)| part.abs() >= NOTABLE).map(|(part, what)| format!("{part:.1} {what}"));
        let parts: Vec<String> = parts.chain(rest).collect();
        if !parts.is_empty() {
            writeln!(out, "its last minute, {:.2}, is {}", account.average, parts.join(" + "))?;
        }
    }
    match diagnosis.pressure {
        Some(p) => writeln!(
            out,
            "pressure: cpu {:.0} %, io {:.0} % (full {:.0} %), memory {:.0} % (full {:.0} %)",
            p.cpu_some10, p.io_some10, p.io_full10, p.memory_some10, p.memory_full10
        ),
        None => writeln!(out, "pressure: n/a"),
    }
}

fn describe(out: &mut String, diagnosis: &Diagnosis, job: &Job, zone: &TimeZone) -> std::fmt::Result {
    let facts = &job.facts;
    let bold = Style::new().bold();
    let title = match (facts.finding.kind, &facts.finding.work) {
        (Kind::Backup, _) => "CO-LOCATED BACKUP DETECTED".to_owned(),
        (_, Some(work)) => format!("CO-LOCATED {} DETECTED", work.to_uppercase()),
        (_, None) => "CULPRIT".to_owned(),
    };
    let tool =
        facts.finding.tool.as_deref().filter(|tool| *tool != facts.name).map(|tool| format!(" ({tool})")).unwrap_or_default();
    writeln!(out, "{bold}{title}{bold:#}: {}{tool}", facts.name)?;
    if facts.root_member().is_some() {
        writeln!(out, "  command   {}", command_of_root(facts))?;
    }
    writeln!(out, "  started   {}", started(diagnosis, facts, zone))?;
    let members: Vec<String> =
        facts.members.iter().take(LISTED).map(|member| format!("{} {}", member.name, member.id.pid)).collect();
    let more = facts.members.len().saturating_sub(members.len());
    let more = if more > 0 { format!(", {more} more") } else { String::new() };
    writeln!(out, "  processes {}{more}", members.join(", "))?;
    if !facts.carried.is_empty() {
        let workers: Vec<String> = facts.carried.iter().take(LISTED).map(|member| member.command.clone()).collect();
        writeln!(out, "  for it    {} (not to be signalled)", workers.join(", "))?;
    }
    writeln!(out, "  takes     {}", usage(job))?;
    for evidence in facts.finding.evidence.iter().filter(|evidence| evidence.weight > 0.0).take(4) {
        writeln!(out, "  because   {}", evidence.text)?;
    }
    for (about, words) in advice::lines(&facts.finding.advice)
        .into_iter()
        .filter(|(about, _)| matches!(about, About::Ending | About::Signal | About::Cleanup))
    {
        writeln!(out, "  {:<9} {words}", about.label())?;
    }
    let pids: Vec<String> = facts.members.iter().map(|member| member.id.pid.to_string()).collect();
    let own_program = !facts.members.iter().any(|member| member.kernel_thread);
    if own_program && pids.len() <= LISTED {
        writeln!(out, "  to end it start whytop and press k (or: kill -TERM {})", pids.join(" "))?;
    } else if own_program {
        writeln!(out, "  to end it start whytop and press k")?;
    }
    Ok(())
}

/// The whole command line of the root, or nothing known.
pub(super) fn command_of_root(facts: &JobFacts) -> String {
    facts.root_member().map_or_else(|| "n/a".to_owned(), |root| root.command.clone())
}

/// `by cron (root) at 02:00:01 (12 m 10 s ago), as root`.
pub(super) fn started(diagnosis: &Diagnosis, facts: &JobFacts, zone: &TimeZone) -> String {
    if facts.finding.kind == Kind::Kernel {
        return "by the kernel".to_owned();
    }
    let by = facts.launched_by.as_deref().unwrap_or("n/a");
    let since = facts.started_at.map_or_else(
        || "n/a".to_owned(),
        |start| {
            let ago = span(diagnosis.at.duration_since(start).as_secs_f64());
            format!("{} ({ago} ago)", start.to_zoned(zone.clone()).strftime("%H:%M:%S"))
        },
    );
    format!("by {by} at {since}, as {}", facts.user.as_deref().unwrap_or("n/a"))
}

/// `0.60 CPUs, reads 6.5 MB/s, writes 0 B/s, 81 % of the disk`.
pub(super) fn usage(job: &Job) -> String {
    let Usage { cpu_cores, read_bytes, write_bytes, .. } = job.usage;
    let known = |value: Option<f64>| value.map_or_else(|| "n/a".to_owned(), rate);
    let cpu = cpu_cores.map_or_else(|| "CPU n/a".to_owned(), |cores| format!("{cores:.2} CPUs"));
    let share = job.share.disk.map(|share| format!(", {:.0} % of the disk", share * 100.0)).unwrap_or_default();
    format!("{cpu}, reads {}, writes {}{share}", known(read_bytes), known(write_bytes))
}

fn waits(out: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    if diagnosis.waits.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nstuck:")?;
    for wait in diagnosis.waits.iter().take(LISTED) {
        let name = diagnosis.job(&wait.job).map_or("n/a", |job| job.facts.name.as_str());
        let call = wait.syscall.as_deref().map(|call| format!(" in {call}")).unwrap_or_default();
        let place = wait.wchan.as_deref().map(|wchan| format!(" ({wchan})")).unwrap_or_default();
        let meaning = wait.meaning.as_deref().map(|meaning| format!(": {meaning}")).unwrap_or_default();
        writeln!(out, "  {} of {name}{call}{place}{meaning}", count(wait.tasks as usize, "task"))?;
    }
    Ok(())
}

fn takes(out: &mut String, diagnosis: &Diagnosis) -> std::fmt::Result {
    let moves = |job: &Job| job.usage.disk_bytes().is_some_and(|bytes| bytes >= NOTABLE_BYTES);
    let disk = |job: &Job| job.share.disk.filter(|_| moves(job)).unwrap_or_default();
    let weight = |job: &&Job| job.usage.cpu_cores.unwrap_or_default() + disk(job);
    let mut takers: Vec<&Job> = diagnosis.jobs.iter().filter(|job| weight(job) >= NOTABLE).collect();
    takers.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    if takers.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nbusiest:")?;
    for job in takers.into_iter().take(LISTED) {
        writeln!(out, "  {} ({}): {}", job.facts.name, job.facts.finding.kind.name(), usage(job))?;
    }
    Ok(())
}
