//! Text that fits: widths in terminal cells, cutting, wrapping, aligning, and lines built of styled pieces.
//!
//! Knows nothing of diagnoses. Tested in place.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::units;

/// Printed where a number is not known.
pub const UNKNOWN: &str = "n/a";

/// Cells that this text takes.
pub fn width(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.width() }
}

/// The longest head of the text that takes at most so many cells.
fn head(text: &str, cells: usize) -> &str {
    if text.is_ascii() {
        return text.get(..cells.min(text.len())).unwrap_or(text);
    }
    let mut end = 0;
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        // The emoji selector widens the character before it. All other sequences are at most as wide as their parts.
        taken += if c == '\u{fe0f}' { 1 } else { c.width().unwrap_or(0) };
        if taken > cells {
            break;
        }
        end = at + c.len_utf8();
    }
    text.get(..end).unwrap_or_default()
}

/// The text, cut with `…` if it takes more cells than that.
pub fn fit(text: &str, cells: usize) -> String {
    if width(text) <= cells {
        return text.to_owned();
    }
    match cells {
        0 => String::new(),
        _ => format!("{}…", head(text, cells - 1)),
    }
}

/// The text cut or filled to exactly that many cells, on the left.
pub fn left(text: &str, cells: usize) -> String {
    let fitted = fit(text, cells);
    let fill = cells.saturating_sub(width(&fitted));
    format!("{fitted}{:fill$}", "")
}

/// The same on the right.
pub fn right(text: &str, cells: usize) -> String {
    let fitted = fit(text, cells);
    let fill = cells.saturating_sub(width(&fitted));
    format!("{:fill$}{fitted}", "")
}

/// The text in at most so many lines of so many cells, broken at blanks; what does not fit ends in `…`.
pub fn wrap(text: &str, cells: usize, lines: usize) -> Vec<String> {
    wrap_after(text, cells, cells, lines)
}

/// The same with another room in the first line.
pub fn wrap_after(text: &str, first: usize, others: usize, lines: usize) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    if first == 0 || others == 0 || lines == 0 {
        return out;
    }
    let mut rest = text.trim();
    while !rest.is_empty() {
        let cells = if out.is_empty() { first } else { others };
        if width(rest) <= cells {
            out.push(rest.to_owned());
            break;
        }
        if out.len() + 1 == lines {
            out.push(fit(rest, cells));
            break;
        }
        let line = head(rest, cells);
        let next_is_blank = rest.get(line.len()..).is_some_and(|after| after.starts_with(' '));
        let line = match line.rfind(' ') {
            Some(blank) if !next_is_blank && blank > 0 => line.get(..blank).unwrap_or(line),
            _ => line,
        };
        if line.is_empty() {
            break;
        }
        out.push(line.trim_end().to_owned());
        rest = rest.get(line.len()..).unwrap_or_default().trim_start();
    }
    out
}

/// `14:17:02`, with the day if that is another one than today.
pub fn clock(at: Timestamp, now: Option<Timestamp>, zone: &TimeZone) -> String {
    let zoned = at.to_zoned(zone.clone());
    let today = now.is_none_or(|now| now.to_zoned(zone.clone()).date() == zoned.date());
    zoned.strftime(if today { "%H:%M:%S" } else { "%b %d %H:%M" }).to_string()
}

/// `12 s ago`, if it is not in the future.
pub fn ago(at: Timestamp, now: Option<Timestamp>) -> Option<String> {
    let seconds = now?.duration_since(at).as_secs_f64();
    (seconds >= 0.0).then(|| format!("{} ago", units::span(seconds)))
}

/// A share as `91 %`.
pub fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// CPUs in use: `0.94`, `12.3`.
pub fn cores(cores: f64) -> String {
    if cores < 9.995 { format!("{cores:.2}") } else { format!("{cores:.1}") }
}

/// A number of tasks on average: whole where it is, else with one digit.
pub fn tasks(tasks: f64) -> String {
    if tasks.fract() < 0.05 || tasks.fract() > 0.95 || tasks >= 9.95 { format!("{tasks:.0}") } else { format!("{tasks:.1}") }
}

/// ` (91 % of all)`, or nothing where the share is not known.
pub fn of_all(share: Option<f64>) -> String {
    share.map(|share| format!(" ({} of all)", percent(share))).unwrap_or_default()
}

/// What is known, printed; else `n/a`.
pub fn known(value: Option<f64>, print: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), print)
}

/// A line that is built from the left in styled pieces and never gets wider than its room.
#[derive(Debug)]
pub struct Pieces {
    spans: Vec<Span<'static>>,
    room: usize,
}

impl Pieces {
    /// An empty line with this much room.
    pub const fn new(room: usize) -> Self {
        Self { spans: Vec::new(), room }
    }

    /// Cells that are left.
    pub const fn room(&self) -> usize {
        self.room
    }

    /// Adds text, cut to what is left.
    pub fn push(&mut self, text: &str, style: Style) -> &mut Self {
        if self.room > 0 && !text.is_empty() {
            let fitted = fit(text, self.room);
            self.room = self.room.saturating_sub(width(&fitted));
            self.spans.push(Span::styled(fitted, style));
        }
        self
    }

    /// Adds all of these or none.
    pub fn push_whole(&mut self, pieces: &[(&str, Style)]) -> bool {
        let needed: usize = pieces.iter().map(|piece| width(piece.0)).sum();
        let fits = needed <= self.room;
        if fits {
            for (text, style) in pieces {
                self.push(text, *style);
            }
        }
        fits
    }

    /// Adds text at the right end, if at least two cells stay between it and what is there.
    pub fn push_right(&mut self, text: &str, style: Style) -> bool {
        let needed = width(text);
        if needed + 2 > self.room {
            return false;
        }
        let gap = self.room - needed;
        self.push(&" ".repeat(gap), style);
        self.push(text, style);
        true
    }

    /// Fills up with blanks of this style.
    pub fn fill(&mut self, style: Style) -> &mut Self {
        let blanks = " ".repeat(self.room);
        self.push(&blanks, style)
    }

    /// The line.
    pub fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_cells_not_characters() {
        assert_eq!(fit("backup", 6), "backup");
        assert_eq!(fit("backup", 5), "back…");
        assert_eq!(fit("備份工作", 5), "備份…");
        assert_eq!(width(&left("備份", 7)), 7);
        assert_eq!(right("9", 3), "  9");
        assert_eq!(fit("x", 0), "");
    }

    #[test]
    fn wrapping_breaks_at_blanks_and_says_that_it_cut() {
        assert_eq!(wrap("one two three", 8, 5), ["one two", "three"]);
        assert_eq!(wrap("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(wrap("one two three four", 8, 2), ["one two", "three f…"]);
        assert_eq!(wrap("abcdefghij", 4, 5), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("備", 1, 3), Vec::<String>::new(), "no room for any character must not loop");
    }

    #[test]
    fn pieces_never_outgrow_their_room() {
        let mut pieces = Pieces::new(10);
        pieces.push("1234567", Style::new());
        assert!(!pieces.push_whole(&[("too", Style::new()), ("long", Style::new())]));
        assert!(!pieces.push_right("xx", Style::new()));
        pieces.push("89abc", Style::new());
        assert_eq!(pieces.line().to_string(), "123456789…");
    }

    #[test]
    fn unknown_is_never_zero() {
        assert_eq!(known(None, percent), "n/a");
        assert_eq!(known(Some(0.0), percent), "0 %");
    }
}
