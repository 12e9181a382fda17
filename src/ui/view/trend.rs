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

/// As many lines as asked for, at least two: a band for each, as high as its peak is against the other's, so that both have
/// one scale.
pub fn trend(state: &State, diagnosis: &Diagnosis, width: usize, lines: usize) -> Vec<Line<'static>> {
    let room = width.saturating_sub(LABEL + 1);
    let points = &diagnosis.trend;
    let shown = points.get(points.len().saturating_sub(room)..).unwrap_or_default();
    // A single task on an idle host is no mountain.
    let least = (diagnosis.host.cpus * 2) as u32;
    let peak = |value: fn(&TrendPoint) -> u32| shown.iter().map(value).max().unwrap_or(0).max(least).max(1);
    let (running, stuck) = (peak(|point| point.runnable), peak(|point| point.uninterruptible));
    let lines = lines.max(2);
    let share = f64::from(running) / f64::from(running + stuck);
    let upper = ((share * lines as f64).round() as usize).clamp(1, lines - 1);
    // Tasks that one line stands for, so that the higher peak fits its band.
    let step = (f64::from(running) / upper as f64).max(f64::from(stuck) / (lines - upper) as f64);
    let theme = &state.theme;
    let upper = Band { letter: "R", label: theme.plain, bars: theme.plain, height: upper, step, room };
    let lower = Band { letter: "D", label: theme.victim, bars: theme.victim, height: lines - upper.height, ..upper };
    let mut out = upper.lines(shown, |point| point.runnable);
    out.extend(lower.lines(shown, |point| point.uninterruptible));
    out
}

/// One of the two rows of bars.
struct Band {
    letter: &'static str,
    label: Style,
    bars: Style,
    height: usize,
    step: f64,
    room: usize,
}

impl Band {
    fn lines(&self, points: &[TrendPoint], value: impl Fn(&TrendPoint) -> u32) -> Vec<Line<'static>> {
        let newest = points.last().map_or_else(|| "-".to_owned(), |point| value(point).to_string());
        let eighths = |point: &TrendPoint| -> usize {
            let exact = (f64::from(value(point)) / self.step * 8.0).round() as usize;
            // Whoever is there at all is seen.
            if value(point) > 0 { exact.clamp(1, self.height * 8) } else { 0 }
        };
        let gap = " ".repeat(self.room.saturating_sub(points.len()));
        (0..self.height)
            .map(|row| {
                let below = (self.height - 1 - row) * 8;
                let cells: String = points.iter().map(|point| EIGHTHS[eighths(point).saturating_sub(below).min(8)]).collect();
                let last = row + 1 == self.height;
                let text = if last { format!(" {} {} ", self.letter, right(&newest, LABEL - 4)) } else { String::new() };
                Line::from(vec![
                    Span::styled(left(&text, LABEL), self.label),
                    Span::raw(gap.clone()),
                    Span::styled(cells, self.bars),
                ])
            })
            .collect()
    }
}

/// `tasks over the last 2 m 14 s`, for a heading.
pub fn title(diagnosis: &Diagnosis, width: usize) -> Option<String> {
    let room = width.saturating_sub(LABEL + 1);
    let points = &diagnosis.trend;
    let shown = points.get(points.len().saturating_sub(room)..)?;
    let seconds = shown.last()?.at.duration_since(shown.first()?.at).as_secs_f64();
    (seconds > 0.0).then(|| format!("running (R) and stuck (D) tasks over the last {}", span(seconds)))
}
