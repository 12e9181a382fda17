//! Runnable and stuck tasks over the last minutes: two rows of bars on one scale, the newest at the right edge.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{left, right};
use crate::analysis::diagnosis::{Diagnosis, TrendPoint};
use crate::ui::state::State;
use crate::units::span;

/// Eighths of a cell, from nothing to all of it.
const EIGHTHS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
/// Cells for the letter and the newest number, `  D 38 `.
const LABEL: usize = 9;

/// As many lines as asked for, in two bands of equal height.
pub fn trend(state: &State, diagnosis: &Diagnosis, width: usize, lines: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(LABEL + 1);
    let points = &diagnosis.trend;
    let shown = points.get(points.len().saturating_sub(room)..).unwrap_or_default();
    let peak = shown.iter().map(|point| point.runnable.max(point.uninterruptible)).max().unwrap_or(0);
    let height = (lines / 2).max(1);
    let theme = &state.theme;
    let mut out = band(shown, ("R", theme.plain, theme.amber), peak, (height, room), |point| point.runnable);
    out.extend(band(shown, ("D", theme.victim, theme.victim), peak, (height, room), |point| point.uninterruptible));
    out.truncate(lines);
    out
}

fn band(
    points: &[TrendPoint],
    (letter, label, bars): (&str, Style, Style),
    peak: u32,
    (height, room): (usize, usize),
    value: impl Fn(&TrendPoint) -> u32,
) -> Vec<Line<'static>> {
    let newest = points.last().map_or_else(|| "-".to_owned(), |point| value(point).to_string());
    let eighths = |point: &TrendPoint| -> usize {
        let full = height * 8;
        let exact = f64::from(value(point)) / f64::from(peak.max(1)) * full as f64;
        // Whoever is there at all is seen.
        if value(point) > 0 { (exact.round() as usize).clamp(1, full) } else { 0 }
    };
    (0..height)
        .map(|row| {
            let below = (height - 1 - row) * 8;
            let cells: String = points.iter().map(|point| EIGHTHS[eighths(point).saturating_sub(below).min(8)]).collect();
            let text = if row + 1 == height { format!(" {letter} {} ", right(&newest, LABEL - 4)) } else { " ".repeat(LABEL) };
            let gap = " ".repeat(room.saturating_sub(points.len()));
            Line::from(vec![Span::styled(left(&text, LABEL), label), Span::raw(gap), Span::styled(cells, bars)])
        })
        .collect()
}

/// `tasks over the last 2 m 14 s`, for a heading.
pub fn title(diagnosis: &Diagnosis, width: usize) -> Option<String> {
    let room = width.saturating_sub(LABEL + 1);
    let points = &diagnosis.trend;
    let shown = points.get(points.len().saturating_sub(room)..)?;
    let seconds = shown.last()?.at.duration_since(shown.first()?.at).as_secs_f64();
    (seconds > 0.0).then(|| format!("running (R) and stuck (D) tasks over the last {}", span(seconds)))
}
