//! The signal dialog: whom it hits, whom not and why, which signal, and what is known of the consequence.
//!
//! Laid out once in [`Plan`], which `update` asks too: how many processes a page has must not be known in two places.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::text::{Pieces, left, right, width as cells, wrap};
use crate::action::{Aimed, Signal};
use crate::analysis::advice;
use crate::ui::keys::{Command, Screen, shown};
use crate::ui::state::{Dialog, State};
use crate::ui::theme::Theme;
use crate::ui::update::SIGNALS;
use crate::units::count;

/// Cells of the box at most; wider lines are hard to read.
const WIDEST: u16 = 100;

/// What goes where.
struct Plan {
    area: Rect,
    inner: usize,
    /// Processes shown at once.
    page: usize,
    heading: Vec<(String, Style)>,
    rest: Vec<Line<'static>>,
}

/// How many processes are seen at once.
pub fn page(dialog: &Dialog, area: Rect) -> usize {
    plan(&Theme::new(crate::ui::theme::Depth::Letters), dialog, area).page
}

/// Draws the dialog into the middle of the area.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, dialog: &Dialog) {
    let theme = &state.theme;
    let plan = plan(theme, dialog, area);
    if plan.area.width < 4 || plan.area.height < 3 {
        return;
    }
    Clear.render(plan.area, buffer);
    let title = format!(" {} {} ", verb(dialog.signal), dialog.aim.job);
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(theme.culprit)
        .title(Line::styled(super::text::fit(&title, plan.inner), theme.strong))
        .render(plan.area, buffer);
    let mut lines: Vec<Line<'static>> = plan.heading.iter().map(|(text, style)| text_line(text, *style, plan.inner)).collect();
    let targets = &dialog.aim.targets;
    let first = dialog.scroll.min(targets.len().saturating_sub(plan.page));
    let pid_cells = widest(targets, |aimed| aimed.candidate.id.pid.to_string()).max(3);
    let user_cells = widest(targets, |aimed| aimed.candidate.user.clone().unwrap_or_else(|| "-".to_owned())).clamp(1, 12);
    for aimed in targets.iter().skip(first).take(plan.page) {
        lines.push(target(theme, aimed, pid_cells, user_cells, plan.inner));
    }
    if targets.len() > plan.page {
        let (up, down) = (shown(Screen::Dialog, Command::PageUp), shown(Screen::Dialog, Command::PageDown));
        let text = format!("  {}-{} of {}   {up} {down}", first + 1, (first + plan.page).min(targets.len()), targets.len());
        lines.push(text_line(&text, theme.dim, plan.inner));
    }
    lines.extend(plan.rest);
    for (index, line) in lines.iter().take(usize::from(plan.area.height) - 2).enumerate() {
        buffer.set_line(plan.area.x + 1, plan.area.y + 1 + index as u16, line, plan.area.width - 2);
    }
}

fn plan(theme: &Theme, dialog: &Dialog, area: Rect) -> Plan {
    // The last two lines of the screen stay: the message and the keys.
    let room = usize::from(area.height.saturating_sub(2 + 2));
    // Slivers of the overview beside the box would only be noise.
    let width = if area.width < WIDEST + 8 { area.width } else { WIDEST };
    let inner = usize::from(width.saturating_sub(2));
    let heading = heading(theme, dialog, inner);
    let targets = dialog.aim.targets.len();
    // Advice goes first, then all but the chosen signal; at least two processes and the closing line stay.
    let mut rest = closing(theme, dialog, inner, true, true);
    for (all_signals, advice) in [(true, false), (false, false)] {
        if heading.len() + targets.min(3) + 1 + rest.len() <= room {
            break;
        }
        rest = closing(theme, dialog, inner, all_signals, advice);
    }
    let left_over = room.saturating_sub(heading.len() + rest.len());
    let page = if targets <= left_over { targets } else { left_over.saturating_sub(1).max(1) };
    let scrollbar = usize::from(targets > page);
    let height = (heading.len() + page + scrollbar + rest.len() + 2).min(usize::from(area.height.saturating_sub(2)));
    let x = area.x + (area.width - width) / 2;
    let y = area.y + area.height.saturating_sub(2).saturating_sub(height as u16) / 2;
    Plan { area: Rect { x, y, width, height: height as u16 }.intersection(area), inner, page, heading, rest }
}

/// How many are hit and how many not.
fn heading(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<(String, Style)> {
    let all = dialog.aim.targets.len();
    let hit = dialog.aim.reachable().count();
    let text = match (hit, all - hit) {
        (0, _) => {
            let denied = dialog.aim.sudo_line(dialog.signal).is_some();
            let why =
                if denied { "you lack the rights to signal any of" } else { "nothing would be hit: none can be reached of" };
            format!("{why} {}", count(all, "process"))
        }
        (_, 0) => format!("{} {} the signal, in this order", count(hit, "process"), if hit == 1 { "gets" } else { "get" }),
        (_, missed) => format!("{hit} of {} get the signal, {missed} will not", count(all, "process")),
    };
    let style = if hit == 0 { theme.culprit } else { theme.strong };
    wrap(&text, inner.saturating_sub(2), 2).into_iter().map(|line| (line, style)).collect()
}

/// One process: `4712  root  tar cf - /srv`, or why it is not hit.
fn target(theme: &Theme, aimed: &Aimed, pid_cells: usize, user_cells: usize, inner: usize) -> Line<'static> {
    let candidate = &aimed.candidate;
    let mut line = Pieces::new(inner);
    let (mark, style) = if aimed.check.is_ok() { ("  ● ", theme.culprit) } else { ("  – ", theme.dim) };
    let text = if aimed.check.is_ok() { theme.plain } else { theme.dim };
    line.push(mark, style).push(&right(&candidate.id.pid.to_string(), pid_cells), theme.strong).push("  ", text);
    line.push(&left(candidate.user.as_deref().unwrap_or("-"), user_cells), text).push("  ", text);
    match &aimed.check {
        Ok(()) => line.push(&candidate.command, text),
        Err(refusal) => {
            let why = refusal.to_string();
            // The reason is what must not be cut off.
            let room = line.room().saturating_sub(cells(&why) + 2);
            let who = super::text::fit(&candidate.command, room.max(cells(&candidate.name).min(16)));
            line.push(&who, text).push("  ", text).push(&why, theme.amber)
        }
    };
    line.line()
}

/// Everything below the processes.
fn closing(theme: &Theme, dialog: &Dialog, inner: usize, all_signals: bool, advice: bool) -> Vec<Line<'static>> {
    let mut out = vec![Line::default()];
    for signal in SIGNALS.into_iter().filter(|signal| all_signals || *signal == dialog.signal) {
        let chosen = signal == dialog.signal;
        let mut line = Pieces::new(inner);
        line.push(if chosen { "  (•) " } else { "  ( ) " }, if chosen { theme.key } else { theme.dim });
        line.push(&left(signal.name(), 9), if chosen { theme.strong } else { theme.plain });
        line.push(signal.meaning(), if chosen { theme.plain } else { theme.dim });
        if !all_signals {
            line.push_whole(&[("   ↑ ↓ others", theme.dim)]);
        }
        out.push(line.line());
    }
    if advice {
        out.extend(consequences(theme, dialog, inner));
    }
    if dialog.aim.reachable().next().is_none() {
        out.extend(without_rights(theme, dialog, inner));
    } else {
        out.push(Line::default());
        out.push(enter(theme, dialog, inner));
    }
    out
}

fn consequences(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    let heed = match dialog.signal {
        signal if signal.ends() => advice::before_ending(&dialog.advice),
        Signal::Stop => advice::before_pausing(&dialog.advice),
        _ => String::new(),
    };
    let text = dialog.lasts.iter().map(|lasts| capitalised(lasts)).chain([heed]).collect::<Vec<_>>().join(" ");
    let text = text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    let wrapped = wrap(text, inner.saturating_sub(3), 5);
    let lines = wrapped.iter().map(|line| text_line(line, theme.amber, inner));
    std::iter::once(Line::default()).chain(lines).collect()
}

/// A sentence of words that stand inside one elsewhere.
fn capitalised(words: &str) -> String {
    let mut rest = words.chars();
    rest.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), rest.as_str()))
}

/// What to do where this user may not: the line to copy, whole.
fn without_rights(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    let mut out = vec![Line::default()];
    if let Some(command) = dialog.aim.sudo_line(dialog.signal) {
        out.push(text_line("As root it would be:", theme.plain, inner));
        out.extend(
            wrap(&command, inner.saturating_sub(4), 3).iter().map(|line| text_line(&format!("  {line}"), theme.strong, inner)),
        );
    }
    let mut line = Pieces::new(inner);
    line.push("  ", theme.plain)
        .push(shown(Screen::Dialog, Command::Back), theme.key)
        .push(" leaves; nothing can be sent", theme.plain);
    out.push(line.line());
    out
}

fn enter(theme: &Theme, dialog: &Dialog, inner: usize) -> Line<'static> {
    let mut line = Pieces::new(inner);
    let hit = count(dialog.aim.reachable().count(), "process");
    line.push("  ", theme.plain).push(shown(Screen::Dialog, Command::Send), theme.key);
    line.push(&format!(" sends {} to {hit}   ", dialog.signal), theme.strong);
    line.push(shown(Screen::Dialog, Command::Back), theme.key).push(" leaves", theme.plain);
    line.line()
}

fn text_line(text: &str, style: Style, inner: usize) -> Line<'static> {
    let mut line = Pieces::new(inner);
    line.push("  ", style).push(text, style);
    line.line()
}

fn widest(targets: &[Aimed], text: impl Fn(&Aimed) -> String) -> usize {
    targets.iter().take(1000).map(|aimed| cells(&text(aimed))).max().unwrap_or(0)
}

const fn verb(signal: Signal) -> &'static str {
    match signal {
        Signal::Terminate | Signal::Interrupt | Signal::Hangup => "End",
        Signal::Kill => "Kill",
        Signal::Stop => "Pause",
        Signal::Continue => "Continue",
    }
}
