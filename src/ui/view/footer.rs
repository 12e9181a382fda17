//! The last two lines: what there is to say, and the keys that work here, straight from the key table.

use ratatui::text::Line;

use super::text::{Pieces, fit, width as cells, wrap};
use crate::analysis::gap;
use crate::ui::keys::{Binding, Choice, Command, Screen, bindings};
use crate::ui::state::{State, Tone};

/// The keys of this screen. The one that acts says on whom.
pub fn keys(state: &State, width: usize) -> Line<'static> {
    let theme = &state.theme;
    let screen = state.mode.screen();
    let mut hints: Vec<(&Binding, String)> = Vec::new();
    for binding in bindings(state.rights).filter(|binding| !binding.hint.is_empty() && binding.screens.contains(&screen)) {
        let hint = match binding.command {
            Command::Choose(Choice::End(_)) => match state.target() {
                Some(_) if screen == Screen::Dialog => continue,
                Some(target) => format!("{} {}", binding.hint, fit(&target.name, 20)),
                None => continue,
            },
            Command::Choose(Choice::Resume) if !state.has_paused() || screen == Screen::Dialog => continue,
            Command::Choose(Choice::Undo) if state.standing.is_empty() || screen == Screen::Dialog => continue,
            Command::Choose(Choice::Prove | Choice::Any) if state.target().is_none() || screen == Screen::Dialog => continue,
            Command::Choose(Choice::Thaw) if state.held_up_by_a_freeze().is_none() || screen != Screen::Overview => continue,
            Command::Back if screen == Screen::Overview => match (&state.watch, &state.selected) {
                (Some(_), _) => "dismiss".to_owned(),
                (None, Some(_)) => "unselect".to_owned(),
                (None, None) if !state.landings.is_empty() => "dismiss".to_owned(),
                (None, None) => continue,
            },
            Command::Help | Command::Quit => binding.hint.to_owned(),
            _ if state.diagnosis.is_none() => continue,
            Command::Down if matches!(screen, Screen::Detail | Screen::Help) => "scroll".to_owned(),
            Command::Down if screen == Screen::Dialog => "choose".to_owned(),
            Command::Detail if state.shown().is_none() => continue,
            _ => binding.hint.to_owned(),
        };
        hints.push((binding, hint));
    }
    // What moves can be guessed; how to act, to leave and to learn more cannot.
    let needed = |hints: &[(&Binding, String)]| -> usize {
        hints.iter().map(|(binding, hint)| cells(binding.shown) + cells(hint) + 3).sum()
    };
    while needed(&hints) > width + 1 {
        let spare = |binding: &Binding| {
            matches!(
                binding.command,
                Command::Switch | Command::Down | Command::Detail | Command::Choose(Choice::Prove | Choice::Undo)
            )
        };
        match hints.iter().rposition(|(binding, _)| spare(binding)) {
            Some(last) => hints.remove(last),
            None => break,
        };
    }
    let mut line = Pieces::new(width);
    for (binding, hint) in hints {
        let gap = if line.room() == width { " " } else { "  " };
        line.push_whole(&[(gap, theme.plain), (binding.shown, theme.key), (" ", theme.plain), (&hint, theme.plain)]);
    }
    line.line()
}

/// The visible line: what just happened, else that the samples stopped, else what cannot be seen.
pub fn message(state: &State, width: usize, lines: usize) -> Vec<Line<'static>> {
    let theme = &state.theme;
    let said = match (&state.message, &state.failed) {
        (Some(message), _) => match message.tone {
            Tone::Plain => (message.text.clone(), theme.plain),
            Tone::Good => (message.text.clone(), theme.good),
            Tone::Bad => (message.text.clone(), theme.culprit),
        },
        (None, Some(why)) => (format!("no new samples: {why}"), theme.culprit),
        (None, None) => (gaps(state), theme.dim),
    };
    // That a trace is missing stays, whatever is said beside it.
    let untraced = state.untraced.as_ref().map(|untraced| (untraced.clone(), theme.amber));
    let mut out = Vec::new();
    for (text, style) in untraced.into_iter().chain([said]) {
        for text in wrap(&text, width.saturating_sub(2), lines.saturating_sub(out.len())) {
            let mut line = Pieces::new(width);
            line.push(" ", theme.plain).push(&text, style);
            out.push(line.line());
        }
    }
    out
}

/// How many lines the message would like, at most three.
pub fn wanted(state: &State, width: usize) -> usize {
    message(state, width, 3).len().max(1)
}

fn gaps(state: &State) -> String {
    let (gaps, root) = match (&state.diagnosis, &state.glance) {
        (Some(diagnosis), _) => (&diagnosis.gaps, diagnosis.host.root),
        (None, Some((host, glance))) => (&glance.gaps, host.root),
        (None, None) => return String::new(),
    };
    let unseen = gap::unseen(gaps.iter(), root);
    let mut lines = Vec::new();
    if !unseen.is_empty() {
        lines.push(format!("not seen: {}", unseen.join("; ")));
    }
    lines.extend(gaps.iter().filter(|known| gap::is_own(known)).map(|known| gap::words(known, root)));
    lines.join("; ")
}
