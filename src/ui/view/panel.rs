//! A panel: a filled title line, and labelled rows with a coloured edge below it. Rows that do not fit go by rank.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::text::{Pieces, left};

/// Cells of a row's label.
const LABEL: usize = 9;

/// A row: its rank (0 stays longest), its label, and the text in styled pieces.
#[derive(Debug)]
pub struct Row {
    /// 0 stays longest.
    pub rank: u8,
    /// What it is about.
    pub label: &'static str,
    /// The text.
    pub text: Vec<(String, Style)>,
}

/// A panel before it is fitted into its place.
#[derive(Debug)]
pub struct Panel {
    /// On the bar.
    pub title: String,
    /// At the bar's right end.
    pub aside: String,
    /// Style of the bar.
    pub bar: Style,
    /// Style of the labels.
    pub label: Style,
    /// In the order of the screen.
    pub rows: Vec<Row>,
}

impl Panel {
    /// How many lines it would like.
    pub fn wanted(&self) -> usize {
        self.rows.len() + 1
    }

    /// The panel in this place.
    pub fn lines(mut self, width: usize, height: usize) -> Vec<Line<'static>> {
        if height == 0 {
            return Vec::new();
        }
        while self.rows.len() + 1 > height {
            let Some(last) = self.rows.iter().enumerate().max_by_key(|(index, row)| (row.rank, *index)).map(|row| row.0) else {
                break;
            };
            self.rows.remove(last);
        }
        let mut bar = Pieces::new(width);
        bar.push(" ", self.bar).push(&self.title, self.bar);
        bar.push_right(&format!("{} ", self.aside), self.bar);
        bar.fill(self.bar);
        let mut out = vec![bar.line()];
        // The edge is the bar turned round a corner.
        let edge = self.bar.bg.map_or_else(Style::new, |back| Style::new().fg(back));
        for row in self.rows {
            let mut line = Pieces::new(width);
            line.push("▌", edge).push(" ", Style::new()).push(&left(row.label, LABEL), self.label);
            for (text, style) in &row.text {
                line.push(text, *style);
            }
            out.push(line.line());
        }
        out
    }
}

/// A line that is heavy for a share of its length.
pub fn gauge(share: f64, cells: usize, style: Style, rest: Style) -> Vec<Span<'static>> {
    let full = (share.clamp(0.0, 1.0) * cells as f64).round() as usize;
    vec![Span::styled("━".repeat(full), style), Span::styled("─".repeat(cells - full), rest)]
}
