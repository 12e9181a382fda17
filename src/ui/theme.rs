//! What each meaning looks like: styles by role, for terminals of 256 colours, of 16, of none, and dumb ones.
//!
//! Colour is never the only carrier: each role also has its letter or word on the screen. Reads no environment; the
//! caller passes what it found there. Tested in place.

use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Letters only (`TERM=dumb`).
    Letters,
    /// Bold and reverse; no colour (`NO_COLOR`, <https://no-color.org>).
    Monochrome,
    /// The sixteen colours, as the user's palette has them.
    Sixteen,
    /// The 256 colour cube.
    Cube,
}

impl Depth {
    /// From the values of `NO_COLOR`, `TERM` and `COLORTERM`.
    pub fn choose(no_color: Option<&str>, term: Option<&str>, colorterm: Option<&str>) -> Self {
        let term = term.unwrap_or_default();
        if term.is_empty() || term == "dumb" {
            Self::Letters
        } else if no_color.is_some_and(|value| !value.is_empty()) || term.starts_with("vt1") || term.starts_with("vt2") {
            Self::Monochrome
        } else if term.contains("256") || term.contains("direct") || colorterm.is_some_and(|value| !value.is_empty()) {
            Self::Cube
        } else {
            Self::Sixteen
        }
    }
}

/// Styles by meaning. A `_bar` fills a line, the others are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Title of a suspect that others wait for.
    pub culprit_bar: Style,
    /// Its name and numbers.
    pub culprit: Style,
    /// Title of a backup that merely runs, and of what wants a decision.
    pub amber_bar: Style,
    /// What to keep an eye on.
    pub amber: Style,
    /// Whoever waits.
    pub victim: Style,
    /// Title of a recovery that is complete.
    pub good_bar: Style,
    /// What is well.
    pub good: Style,
    /// Labels and what matters less.
    pub dim: Style,
    /// The main words of a line.
    pub strong: Style,
    /// Headings of lists and sections.
    pub title: Style,
    /// The selected row, whatever its cells looked like.
    pub selected: Style,
    /// A key in a hint.
    pub key: Style,
    /// What lies beneath a dialog.
    pub beneath: Style,
    /// Everything else.
    pub plain: Style,
}

impl Theme {
    /// The styles for this depth. The cube's are near the Okabe-Ito palette, which people who see colours otherwise tell apart.
    pub const fn new(depth: Depth) -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        match depth {
            Depth::Letters => Self {
                culprit_bar: plain,
                culprit: plain,
                amber_bar: plain,
                amber: plain,
                victim: plain,
                good_bar: plain,
                good: plain,
                dim: plain,
                strong: plain,
                title: plain,
                selected: plain,
                key: plain,
                beneath: plain,
                plain,
            },
            Depth::Monochrome => Self {
                culprit_bar: bold.add_modifier(Modifier::REVERSED),
                culprit: bold,
                amber_bar: plain.add_modifier(Modifier::REVERSED),
                amber: bold,
                victim: plain,
                good_bar: plain.add_modifier(Modifier::REVERSED),
                good: bold,
                dim: plain,
                strong: bold,
                title: bold,
                selected: Style::reset().add_modifier(Modifier::REVERSED),
                key: bold,
                beneath: Style::reset(),
                plain,
            },
            Depth::Sixteen => Self {
                culprit_bar: bold.fg(Color::White).bg(Color::Red),
                culprit: bold.fg(Color::Red),
                amber_bar: plain.fg(Color::Black).bg(Color::Yellow),
                amber: plain.fg(Color::Yellow),
                victim: plain.fg(Color::Cyan),
                good_bar: plain.fg(Color::Black).bg(Color::Green),
                good: plain.fg(Color::Green),
                dim: plain.add_modifier(Modifier::DIM),
                strong: bold,
                title: bold,
                selected: Style::reset().add_modifier(Modifier::REVERSED),
                key: bold.fg(Color::Cyan),
                beneath: Style::reset().add_modifier(Modifier::DIM),
                plain,
            },
            Depth::Cube => Self {
                culprit_bar: bold.fg(Color::Indexed(231)).bg(Color::Indexed(160)),
                culprit: bold.fg(Color::Indexed(203)),
                amber_bar: bold.fg(Color::Indexed(16)).bg(Color::Indexed(214)),
                amber: plain.fg(Color::Indexed(214)),
                victim: plain.fg(Color::Indexed(74)),
                good_bar: bold.fg(Color::Indexed(16)).bg(Color::Indexed(36)),
                good: plain.fg(Color::Indexed(36)),
                dim: plain.fg(Color::Indexed(245)),
                strong: bold,
                title: bold,
                selected: Style::reset().add_modifier(Modifier::REVERSED),
                key: bold.fg(Color::Indexed(74)),
                beneath: Style::reset().fg(Color::Indexed(240)),
                plain,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_chooses_the_depth() {
        let choose = |no_color, term, colorterm| Depth::choose(no_color, Some(term), colorterm);
        assert_eq!(choose(None, "xterm-256color", None), Depth::Cube);
        assert_eq!(choose(None, "linux", None), Depth::Sixteen);
        assert_eq!(choose(None, "xterm", Some("truecolor")), Depth::Cube);
        assert_eq!(choose(Some("1"), "xterm-256color", Some("truecolor")), Depth::Monochrome);
        assert_eq!(choose(Some(""), "xterm-256color", None), Depth::Cube, "an empty NO_COLOR is not set");
        assert_eq!(choose(None, "dumb", None), Depth::Letters);
        assert_eq!(Depth::choose(None, None, None), Depth::Letters);
    }

    #[test]
    fn no_color_means_no_colour() {
        let theme = format!("{:?}", Theme::new(Depth::Monochrome)).replace("Color::Reset", "");
        assert!(!theme.contains("Color") && !theme.contains("red()"), "{theme}");
    }
}
