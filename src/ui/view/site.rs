//! The web site under probe: how it stands, beside the load; and on tall screens a line of its own, with its last answers.

use ratatui::style::Style;
use ratatui::text::Line;

use super::text::{Pieces, clock, fit, width as cells};
use crate::site::Condition;
use crate::ui::state::State;

/// From quick to slow; the steps double from 25 ms on, so that a site's usual noise stays in one of them.
const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Answers that the lowest step stands for, in seconds.
const LOWEST_STEP: f64 = 0.025;
/// No good answer. A letter, because colour is never the only carrier.
const FAILED: char = '×';
/// Cells of the URL at the most.
const URL: usize = 40;

/// How it stands, in words and style: `200 in 38 ms`, `no answer for 12 s`. `None`: nothing is probed.
pub fn condition(state: &State) -> Option<(String, Style)> {
    let Condition { well, words, slow, .. } = state.condition()?;
    let theme = &state.theme;
    let style = match well {
        Some(true) if slow => theme.amber,
        Some(true) => theme.good,
        Some(false) => theme.culprit,
        None => theme.dim,
    };
    Some((words, style))
}

/// `SITE http://localhost/  no answer for 12 s, since 14:27:19; before: 200 in 38 ms   ▁▁▁▂▁××××`
pub fn line(state: &State, width: usize) -> Option<Line<'static>> {
    let (words, style) = condition(state)?;
    let (site, theme) = (state.site.as_ref()?, &state.theme);
    let mut line = Pieces::new(width);
    line.push(" SITE ", theme.dim).push(&fit(&site.url, URL), theme.strong).push("  ", theme.plain).push(&words, style);
    if let Some(since) = state.condition()?.since {
        line.push_whole(&[(&format!(", since {}", clock(since, state.now, &state.zone)), style)]);
        if let Some(good) = site.good() {
            line.push_whole(&[(&format!("; before: {good}"), theme.plain)]);
        }
    }
    let room = line.room().saturating_sub(3);
    let newest: Vec<char> = site.trend().rev().take(room).map(|took| took.map_or(FAILED, step)).collect();
    let bars: String = newest.into_iter().rev().collect();
    if cells(&bars) > 1 {
        line.push_right(&format!("{bars} "), theme.dim);
    }
    Some(line.line())
}

fn step(seconds: f64) -> char {
    let doubled = (seconds / LOWEST_STEP).log2().ceil().clamp(0.0, (STEPS.len() - 1) as f64);
    STEPS.get(doubled as usize).copied().unwrap_or(FAILED)
}
