//! What must not be forgotten, in amber: jobs that are paused or slowed, and signals that have not landed.

use ratatui::text::Line;

use super::text::{Pieces, clock};
use super::trial;
use crate::action::{Landing, Standing};
use crate::landing;
use crate::ui::keys::{Choice, Command, Rights, Screen, shown};
use crate::ui::state::State;
use crate::units::{count, span};

/// Lines at the most.
const MOST: usize = 3;

/// One line each: paused jobs before slowed ones, then signals on their way that no panel shows.
pub fn lines(state: &State, width: usize) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let mut standing: Vec<&Standing> =
        state.standing.iter().filter(|standing| !trial::shows_pause_of(state.trial.as_ref(), &standing.job)).collect();
    standing.sort_by_key(|standing| (!standing.is_paused(), std::cmp::Reverse(standing.since)));
    let shown_by_panel =
        |landing: &&Landing| state.watch.as_ref().is_none_or(|watch| watch.recovery.outcome.ticket != landing.ticket);
    let landings: Vec<&Landing> = state.landings.iter().filter(shown_by_panel).collect();
    let all = standing.len() + landings.len();
    let mut out: Vec<Line<'static>> = standing.into_iter().map(|standing| stands(state, standing, width)).collect();
    out.extend(landings.into_iter().map(|landing| {
        let mut line = Pieces::new(width);
        line.push(&format!(" {} ", landing.signal), theme.amber_bar).push(" ", theme.plain);
        line.push(&landing::sentence(landing, state.diagnosis.as_deref()), theme.amber);
        line.line()
    }));
    if all > MOST {
        out.truncate(MOST - 1);
        let mut line = Pieces::new(width);
        line.push(&format!(" and {} more that are paused, slowed or not gone yet", all + 1 - MOST), theme.amber);
        out.push(line.line());
    }
    out
}

/// ` PAUSED  nightly.sh since 14:20:03 (7 m 12 s) by root: 3 processes   r lets it go on`
fn stands(state: &State, standing: &Standing, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let mut line = Pieces::new(width);
    let (word, choice, does) = if standing.is_paused() {
        (" PAUSED ", Choice::Resume, " lets it go on")
    } else {
        (" SLOWED ", Choice::Undo, " undoes it")
    };
    line.push(word, theme.amber_bar).push(" ", theme.plain).push(&standing.name, theme.amber);
    let since = clock(standing.since, state.now, &state.zone);
    let ago = state.now.map(|now| format!(" ({})", span(now.duration_since(standing.since).as_secs_f64().max(0.0).floor())));
    let by = format!(" since {since}{} by {}", ago.unwrap_or_default(), standing.by);
    let hint = [("   ", theme.plain), (shown(Screen::Overview, Command::Choose(choice)), theme.key), (does, theme.plain)];
    let hint = if state.rights == Rights::Act { &hint[..] } else { &[] };
    // How to undo it is worth more than who did it, and both more than how many processes it is.
    let whole = format!("{by}: {}", count(standing.processes.len(), "process"));
    for text in [&whole, &by, ""] {
        if line.push_whole(&[&[(text, theme.plain)][..], hint].concat()) {
            break;
        }
    }
    line.line()
}
