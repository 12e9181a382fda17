//! A proof by pause: how long the suspect still stands still, whether the others wait less, and what that has shown.

use super::panel::{Panel, Row, gauge};
use super::text::{tasks, width as text_width};
use crate::proof::Shown;
use crate::ui::keys::{Choice, Command, Screen, shown};
use crate::ui::state::{State, Trial};
use crate::units::{count, span};

/// Cells of a row that are no text: edge and label.
const SPARE: usize = 12;

/// The panel, or `None` without a proof.
pub fn panel(state: &State, width: usize) -> Option<Panel> {
    let trial = state.trial.as_ref()?;
    let (theme, proof) = (&state.theme, &trial.proof);
    let left = state.now.map_or(0.0, |now| proof.left(now));
    let result = proof.shown();
    let (title, bar) = match result {
        _ if trial.is_running() => (running(&proof.who(), left), theme.amber_bar),
        Shown::Cause => (format!("PROVEN: {} is the cause", proof.name), theme.culprit_bar),
        Shown::Part => (format!("PROVEN: {} is a part of the cause", proof.name), theme.amber_bar),
        Shown::NotTheCause => (format!("NOT PROVEN: {} is not the cause", proof.name), theme.good_bar),
        Shown::Nothing(_) => (format!("NOTHING SHOWN by pausing {}", proof.name), theme.amber_bar),
    };
    let row = |rank, label, text| Row { rank, label, text };
    let now = if trial.is_running() { proof.waiting_now } else { proof.waiting_during().unwrap_or(proof.waiting_now) };
    let done = if proof.waiting_before > 0.0 { 1.0 - now / proof.waiting_before } else { 0.0 };
    let style = if matches!(result, Shown::Cause) { theme.good } else { theme.victim };
    let mut numbers = vec![(format!("waiting tasks {} → {}   ", tasks(proof.waiting_before.round()), tasks(now.round())), style)];
    let bar_cells = width.saturating_sub(48).clamp(8, 40);
    numbers.extend(gauge(done, bar_cells, style, theme.dim).into_iter().map(|span| (span.content.into_owned(), span.style)));
    let mut rows = vec![row(0, "", numbers)];
    let said = match result {
        Shown::Nothing(why) => why.to_owned(),
        // The title and the numbers say the rest of it.
        _ if text_width(&proof.sentence()) > width.saturating_sub(SPARE) => proof.judgement(),
        _ => proof.sentence(),
    };
    rows.push(row(1, if trial.is_running() { "so far" } else { "shown" }, vec![(said, theme.strong)]));
    if let Some(gets) = proof.gets().and_then(|(before, during)| proof.short.instead(during, before)) {
        rows.push(row(3, "victims", vec![(format!("they {gets} while it stood still"), theme.plain)]));
    }
    if let Some((before, during)) = trial.site_before.as_ref().zip(trial.site_during.as_ref()) {
        let style = if during.well == Some(true) { theme.good } else { theme.culprit };
        let text = format!("{} → {} while it stood still", before.words, during.words);
        rows.push(row(2, "site", vec![(text, style)]));
    }
    if let Some(gone_on) = proof.gone_on_at {
        let since = state.now.map_or(0.0, |now| now.duration_since(gone_on).as_secs_f64());
        let text = format!("it goes on since {}; {} wait now", span(since.max(0.0).floor()), whole(proof.waiting_now));
        rows.push(row(3, "now", vec![(text, theme.plain)]));
    }
    let would_hit = state.target().is_some_and(|target| target.job == proof.job);
    let key = |command| shown(Screen::Overview, command).to_owned();
    let mut keys = Vec::new();
    if trial.is_running() {
        keys.extend([(key(Command::Choose(Choice::Resume)), theme.key), (" let it go on now   ".to_owned(), theme.strong)]);
    }
    if would_hit {
        let end = Command::Choose(Choice::End(crate::action::Signal::Terminate));
        keys.extend([(key(end), theme.key), (" end it   ".to_owned(), theme.strong)]);
        let slow = Command::Choose(Choice::Deprioritise);
        keys.extend([(key(slow), theme.key), (" deprioritise it   ".to_owned(), theme.strong)]);
    }
    if !trial.is_running() {
        keys.extend([(key(Command::Back), theme.key), (" dismiss".to_owned(), theme.strong)]);
    }
    rows.push(row(1, "", keys));
    Some(Panel { title, aside: format!("pause of {} s", proof.seconds), bar, label: theme.dim, rows })
}

/// `PROOF BY PAUSE: nightly.sh stands still, 7 s to go`
fn running(name: &str, left: f64) -> String {
    if left > 0.0 {
        format!("PROOF BY PAUSE: {name} stands still, {:.0} s to go", left.ceil())
    } else {
        format!("PROOF BY PAUSE: {name} goes on…")
    }
}

fn whole(waiting: f64) -> String {
    count(waiting.round().max(0.0) as usize, "task")
}

/// Whether the proof's own pause is on the screen already.
pub fn shows_pause_of(trial: Option<&Trial>, job: &str) -> bool {
    trial.is_some_and(|trial| trial.is_running() && trial.proof.job.as_str() == job)
}
