//! The answer in words: the load as a sum over jobs, and the verdict's sentence.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{Pieces, ago, clock, fit, percent, width as cells, wrap, wrap_after};
use crate::analysis::diagnosis::{Diagnosis, JobId, Severity};
use crate::analysis::wedge;
use crate::ui::state::State;
use crate::units::count;

/// Parts of the average below this are not worth a word.
const WORTH: f64 = 0.05;

/// `41 = site-worker 38 + nightly.sh 3`, largest first, as far as there is room: `+ 12 others 14`.
pub fn ledger(state: &State, diagnosis: &Diagnosis, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let load = &diagnosis.load;
    let mut line = Pieces::new(width);
    if load.ledger.is_empty() {
        line.push(" nobody runs or is stuck", theme.dim);
        return line.line();
    }
    line.push(&format!(" {} ", load.now()), theme.strong).push("=", theme.dim);
    let parts = load.ledger.len();
    for (index, part) in load.ledger.iter().enumerate() {
        let tasks = part.runnable + part.uninterruptible;
        let name = format!(" {}", fit(&part.name, 24));
        let number = format!(" {tasks}");
        let plus = if index == 0 { "" } else { " +" };
        let left: u32 = load.ledger[index..].iter().map(|part| part.runnable + part.uninterruptible).sum();
        let others = format!(" + {} {left}", count(parts - index, "other"));
        let needed = cells(&name) + number.len() + plus.len();
        let reserve = if index + 1 == parts { 0 } else { others.len() };
        if index > 0 && needed + reserve > line.room() {
            line.push(&others, theme.dim);
            break;
        }
        line.push(plus, theme.dim).push(&name, style_of(state, diagnosis, &part.job)).push(&number, theme.strong);
    }
    line.line()
}

/// `1 min 40.1 = site-worker 35.2 + nightly.sh 2.9 + 1.1 from before + 0.9 unseen`: the one-minute average, as far as there is room.
/// `None`: it is not known.
pub fn account(state: &State, diagnosis: &Diagnosis, width: usize) -> Option<Line<'static>> {
    let theme = &state.theme;
    let account = diagnosis.load.account.as_ref()?;
    let mut line = Pieces::new(width);
    line.push(" 1 min ", theme.dim).push(&format!("{:.1}", account.average), theme.strong).push(" =", theme.dim);
    // What is of no job has its words always: the others have to fit beside them.
    let rest = [(account.before, "from before"), (account.unseen, "unseen")];
    let rest = rest.iter().filter(|(part, _)| part.abs() >= WORTH).map(|(part, what)| {
        let sign = if *part < 0.0 { '-' } else { '+' };
        format!(" {sign} {:.1} {what}", part.abs())
    });
    let rest: String = rest.collect();
    let parts: Vec<_> = account.lines.iter().filter(|part| part.average >= WORTH).collect();
    for (index, part) in parts.iter().enumerate() {
        let plus = if index == 0 { "" } else { " +" };
        let (name, number) = (format!(" {}", fit(&part.name, 24)), format!(" {:.1}", part.average));
        let left: f64 = parts[index..].iter().map(|part| part.average).sum();
        let others = format!("{plus} {} {left:.1}", count(parts.len() - index, "other"));
        let reserve = rest.len() + if index + 1 == parts.len() { 0 } else { others.len() };
        if index > 0 && plus.len() + cells(&name) + number.len() + reserve > line.room() {
            line.push(&others, theme.dim);
            break;
        }
        line.push(plus, theme.dim).push(&name, style_of(state, diagnosis, &part.job)).push(&number, theme.strong);
    }
    let rest = if parts.is_empty() { rest.trim_start_matches(" +") } else { &rest };
    line.push(if parts.is_empty() && rest.is_empty() { " nothing" } else { rest }, theme.dim);
    Some(line.line())
}

/// How a job's name is shown: as what it has to do with the trouble.
pub fn style_of(state: &State, diagnosis: &Diagnosis, job: &JobId) -> Style {
    let verdict = &diagnosis.verdict;
    if verdict.worst.culprit.as_ref() == Some(job) {
        state.theme.culprit
    } else if verdict.backup.as_ref() == Some(job) {
        state.theme.amber
    } else if verdict.worst.victims.contains(job) {
        state.theme.victim
    } else {
        state.theme.plain
    }
}

/// The severity's word and the sentence, in at most so many lines; then since when, where a line is left.
pub fn verdict(state: &State, diagnosis: &Diagnosis, width: usize, lines: usize) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let verdict = &diagnosis.verdict;
    let (word, style) = match verdict.worst.severity {
        Severity::Calm => (" CALM ", theme.good_bar),
        Severity::Watch => (" WATCH ", theme.amber_bar),
        Severity::Contention => (" CONTENTION ", theme.culprit_bar),
    };
    let indent = word.len() + 2;
    let room = width.saturating_sub(indent);
    // Where the word would eat the line, the sentence starts on the next one.
    if room < 24 && lines > 1 {
        let mut out = vec![Line::from(vec![Span::raw(" "), Span::styled(word.trim(), style)])];
        let rest = wrap(&verdict.worst.headline, width.saturating_sub(1), lines - 1);
        out.extend(rest.into_iter().map(|text| Line::from(vec![Span::raw(" "), Span::styled(text, theme.strong)])));
        return out;
    }
    let mut out: Vec<Line<'static>> = Vec::new();
    let hang = hang(indent, width);
    for (index, text) in wrap_after(&verdict.worst.headline, room, width.saturating_sub(hang), lines).into_iter().enumerate() {
        let start = if index == 0 { vec![Span::raw(" "), Span::styled(word, style), Span::raw(" ")] } else { blank(hang) };
        out.push(start.into_iter().chain([Span::styled(text, theme.strong)]).collect());
    }
    if out.len() < lines
        && let Some(since) = since(state, diagnosis)
    {
        let mut line = Pieces::new(width);
        line.push(&" ".repeat(hang), theme.plain).push(&since, theme.dim);
        out.push(line.line());
    }
    out
}

/// What else there is to know at once, in at most so many lines: who blocks whoever looks, and what else is short.
pub fn beside(state: &State, diagnosis: &Diagnosis, width: usize, lines: usize) -> Vec<Line<'static>> {
    let indent = 2;
    let words = wedge::words(&diagnosis.wedged, diagnosis.behind).unwrap_or_default();
    let mut wrapped = wrap(&words, width.saturating_sub(indent), lines);
    for other in diagnosis.verdict.others.iter().filter(|other| other.severity == Severity::Contention) {
        let left = lines.saturating_sub(wrapped.len());
        if left == 0 {
            break;
        }
        wrapped.extend(wrap(&format!("and {}", other.headline), width.saturating_sub(indent), left));
    }
    wrapped.into_iter().map(|text| blank(indent).into_iter().chain([Span::styled(text, state.theme.victim)]).collect()).collect()
}

/// `since 14:17:04 (10 m 27 s ago), 91 % sure`
fn since(state: &State, diagnosis: &Diagnosis) -> Option<String> {
    let since = diagnosis.verdict.since?;
    let ago = ago(since, state.now).map(|ago| format!(" ({ago})")).unwrap_or_default();
    let sure = match diagnosis.verdict.worst.severity {
        Severity::Calm => String::new(),
        _ => format!(", {} sure", percent(diagnosis.verdict.worst.confidence)),
    };
    Some(format!("since {}{ago}{sure}", clock(since, state.now, &state.zone)))
}

/// Where the sentence goes on: below its beginning, or where lines are short at the edge.
const fn hang(indent: usize, width: usize) -> usize {
    if width < 100 { 2 } else { indent }
}

fn blank(cells: usize) -> Vec<Span<'static>> {
    vec![Span::raw(" ".repeat(cells))]
}

/// How many lines the sentence would like, at most three.
pub fn wanted(diagnosis: &Diagnosis, width: usize) -> usize {
    let indent = 14;
    let others = width.saturating_sub(hang(indent, width));
    wrap_after(&diagnosis.verdict.worst.headline, width.saturating_sub(indent), others, 3).len().clamp(1, 3)
}
