//! The help screen: every key of the table, and the words of the screen in plain ones.

use ratatui::text::Line;

use super::text::{Pieces, left, wrap};
use crate::analysis::gap;
use crate::ui::keys::bindings;
use crate::ui::state::State;

/// What the words on the screen mean.
const WORDS: &[(&str, &str)] = &[
    ("load", "the kernel's damped average of tasks that run, want to run (R), or are stuck in the kernel (D)"),
    ("NOW", "the same tasks at this instant: it moves at once, the average needs minutes"),
    ("job", "what you think and act in: a unit, a cron run, a container, a command, with all its processes"),
    ("culprit", "the job that takes most of what the others wait for"),
    ("victim", "a job whose tasks wait because of others"),
    ("STALL", "share of the last ten seconds in which somebody was held up (PSI)"),
    ("cpu", "in WAITS: tasks that want a CPU and have none; in TAKES: CPUs in use"),
    ("‖", "before a job: it is paused, and goes on when it is told to"),
    ("n/a", "not known; never a zero"),
];

/// All lines at this width.
pub fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut out = Vec::new();
    let mut entry = |name: &str, cells: usize, text: &str, style| {
        for (index, part) in wrap(text, width.saturating_sub(cells + 3), 4).iter().enumerate() {
            let mut line = Pieces::new(width);
            let name = if index == 0 { name } else { "" };
            line.push("  ", theme.plain).push(&left(name, cells), style).push(part, theme.plain);
            out.push(line.line());
        }
    };
    for binding in bindings(state.rights) {
        let note = if binding.acts { " (acts on processes)" } else { "" };
        entry(binding.shown, 9, &format!("{}{note}", binding.help), theme.key);
    }
    entry("", 9, "—", theme.dim);
    for (word, meaning) in WORDS {
        entry(word, 9, meaning, theme.strong);
    }
    if let Some(diagnosis) = &state.diagnosis {
        entry("self", 9, &format!("what whytop itself takes; {}", gap::reads(diagnosis.cost.tier)), theme.strong);
    }
    out
}
