//! After an action: does the host recover, what remains of the job, and when the load average will have noticed.

use ratatui::style::Style;

use super::panel::{Panel, Row, gauge};
use super::text::{UNKNOWN, clock, tasks};
use crate::action::{Action, Landing, Signal, Still};
use crate::analysis::diagnosis::Resource;
use crate::landing;
use crate::recovery::{PATIENCE_SECONDS, Recovery, SiteChange};
use crate::ui::keys::{Choice, Command, Screen, shown};
use crate::ui::state::{State, Watch};
use crate::ui::theme::Theme;
use crate::units::{count, span};

/// From this part of the tasks that waited on, the host is called recovering: less is what any busy host does by itself.
const BETTER: f64 = 0.8;

/// The panel, or `None` without an action to watch.
pub fn panel(state: &State, width: usize) -> Option<Panel> {
    let Watch { recovery, before } = state.watch.as_ref()?;
    let theme = &state.theme;
    let ended = recovery.outcome.action.ends() && recovery.alive.is_empty();
    let quiet = recovery.waiting_before < 1.0;
    let back = recovery.site.as_ref().and_then(|site| site.back_after);
    let (title, bar) = match recovery.recovered_after {
        _ if recovery.outlived() => (outlived(state, recovery), theme.culprit_bar),
        Some(seconds) if recovery.site_is_down() => {
            (format!("TASKS RECOVERED after {}, the site has not yet", span(seconds)), theme.amber_bar)
        }
        Some(seconds) => (format!("RECOVERED after {}", span(seconds.max(back.unwrap_or_default()))), theme.good_bar),
        None if recovery.outcome.action.puts_back() => {
            let (words, bar) = if recovery.wait_again() {
                ("others wait again", theme.culprit_bar)
            } else {
                ("nobody waits more than before", theme.good_bar)
            };
            (format!("IT GOES ON since {}: {words}", span(recovery.elapsed)), bar)
        }
        None if quiet && back.is_some() => {
            (format!("RECOVERED: the site answers again after {}", span(back.unwrap_or_default())), theme.good_bar)
        }
        None if quiet && ended => ("ENDED: nobody waited for it".to_owned(), theme.good_bar),
        None if recovery.waiting_now < recovery.waiting_before * BETTER => {
            (format!("RECOVERING: {} so far", span(recovery.elapsed)), theme.amber_bar)
        }
        None => (format!("NO EFFECT YET after {}", span(recovery.elapsed)), theme.amber_bar),
    };
    let row = |rank, label, text| Row { rank, label, text };
    let noun = if before.verdict.worst.resource == Resource::Cpu { "waiting tasks" } else { "stuck tasks" };
    let mut rows = vec![row(0, "", waiting(recovery, noun, width, theme.victim, theme.good, theme.dim))];
    if let Some(site) = &recovery.site {
        rows.push(row(1, "site", vec![site_change(site, theme)]));
    }
    let victims = recovery.by_victim(tasks);
    if recovery.victims.len() > 1 && !victims.is_empty() {
        rows.push(row(5, "victims", vec![(victims, theme.plain)]));
    }
    let gets = recovery.gets.and_then(|(before, now)| recovery.short.instead(now, before)).map(|gets| format!("they {gets}"));
    let fares: Vec<String> = recovery.rest().into_iter().chain(gets).collect();
    if !fares.is_empty() {
        let style = if recovery.recovered_after.is_some() { theme.good } else { theme.plain };
        let label = if recovery.victims.len() > 1 { "" } else { "victims" };
        rows.push(row(2, label, vec![(fares.join("; "), style)]));
    }
    rows.push(row(1, "job", remains(state, recovery)));
    rows.push(row(3, "load", vec![(load(state, recovery), theme.plain)]));
    if state.message.is_none() {
        rows.push(row(4, "sent", vec![(recovery.outcome.to_string(), theme.dim)]));
    }
    if recovery.recovered_after.is_some() && recovery.outlived() {
        let text = format!("RECOVERED after {}", span(recovery.recovered_after.unwrap_or_default()));
        rows.insert(0, row(2, "", vec![(text, theme.good)]));
    }
    let back = shown(Screen::Overview, Command::Back);
    let mut keys = vec![(back.to_owned(), theme.key), (" dismiss".to_owned(), theme.strong)];
    if recovery.outlived() && would_hit(state, recovery) {
        let kill = shown(Screen::Overview, Command::Choose(Choice::End(Signal::Kill)));
        keys.splice(0..0, [(kill.to_owned(), theme.key), (" send SIGKILL   ".to_owned(), theme.strong)]);
    }
    rows.push(row(1, "", keys));
    let aside = match &recovery.outcome.action {
        Action::End(signal) => format!("{signal} to {}", recovery.outcome.job),
        action => format!("{action}: {}", recovery.outcome.job),
    };
    Some(Panel { title, aside, bar, label: theme.dim, rows })
}

/// `40.1 → 38.2, and will read 29 at 14:28:32`; where there is nothing to foretell: it is low already, or what runs now keeps it high.
fn load(state: &State, recovery: &Recovery) -> String {
    let (Some(before), Some(now), Some(diagnosis)) = (recovery.load_before, recovery.load_now, &state.diagnosis) else {
        return UNKNOWN.to_owned();
    };
    let then = match recovery.forecast {
        Some(forecast) => {
            format!("the average will read {} at {}", tasks(forecast.load), clock(forecast.at, state.now, &state.zone))
        }
        None if now <= 2.0 * diagnosis.host.cpus as f64 => "the average is low".to_owned(),
        None => "the tasks of now keep the average where it is".to_owned(),
    };
    format!("{before:.1} → {now:.1}; {then}")
}

fn site_change(site: &SiteChange, theme: &Theme) -> (String, Style) {
    let style = match (site.before.well, site.now.well) {
        (Some(false), Some(true)) => theme.good,
        (Some(false), _) => theme.amber,
        (_, Some(false)) => theme.culprit,
        (_, _) if site.now.slow => theme.amber,
        (_, _) => theme.good,
    };
    (site.sentence(), style)
}

/// `stuck tasks 38 → 3   ██████████░░`: the bar is what is done.
fn waiting(recovery: &Recovery, noun: &str, width: usize, victim: Style, good: Style, dim: Style) -> Vec<(String, Style)> {
    let before = tasks(recovery.waiting_before.round());
    let now = tasks(recovery.waiting_now.round());
    let style = if recovery.recovered_after.is_some() { good } else { victim };
    let mut text = vec![(format!("{noun} {before} → {now}   "), style)];
    if recovery.waiting_before >= 1.0 {
        let done = 1.0 - recovery.waiting_now / recovery.waiting_before;
        let cells = width.saturating_sub(44).clamp(8, 40);
        text.extend(gauge(done, cells, style, dim).into_iter().map(|span| (span.content.into_owned(), span.style)));
    }
    text
}

/// What is left of the job.
fn remains(state: &State, recovery: &Recovery) -> Vec<(String, Style)> {
    let (good, amber) = (state.theme.good, state.theme.amber);
    let alive = &recovery.alive;
    let landing = state.landings.iter().find(|landing| landing.ticket == recovery.outcome.ticket);
    let text = match (&recovery.outcome.action, alive.as_slice()) {
        (action, alive) if action.puts_back() && !alive.is_empty() => {
            (format!("{} as it was before: {}", recovery.outcome.job, names(recovery)), good)
        }
        (action, []) if !action.ends() => ("nothing of it is left".to_owned(), good),
        (Action::Pause, alive) => {
            let resume = shown(Screen::Overview, Command::Choose(Choice::Resume));
            (format!("{} paused; {resume} lets it go on", count(alive.len(), "process")), amber)
        }
        (Action::Deprioritise, _) => {
            let undo = shown(Screen::Overview, Command::Choose(Choice::Undo));
            (format!("it goes behind everybody else; {undo} puts it back"), amber)
        }
        (Action::Thaw { mount }, _) => (format!("{mount} is thawed"), good),
        (_, []) => ("nothing of it runs any more".to_owned(), good),
        // Why it is still there says more than that it is.
        (_, _) if landing.is_some_and(|landing| landing.left.iter().any(|left| left.still != Still::Runs)) => {
            (landing.map(|landing| left(landing, state)).unwrap_or_default(), amber)
        }
        (_, alive) => {
            let verb = if alive.len() == 1 { "runs" } else { "run" };
            (format!("{} still {verb}", names(recovery)), amber)
        }
    };
    vec![text]
}

/// The first of those that are left, with why, and how many more there are.
fn left(landing: &Landing, state: &State) -> String {
    let stuck = landing.left.iter().find(|left| left.still != Still::Runs);
    let first = stuck.map(|left| landing::of_one(left, landing, state.diagnosis.as_deref())).unwrap_or_default();
    match landing.left.len() {
        0 | 1 => first,
        all => format!("{first}; and {} more", all - 1),
    }
}

/// `tar 4712, gzip 4713 and 3 more`
fn names(recovery: &Recovery) -> String {
    const NAMED: usize = 4;
    let named: Vec<String> = recovery.alive.iter().take(NAMED).map(|(id, name)| format!("{name} {}", id.pid)).collect();
    let more = recovery.alive.len().saturating_sub(NAMED);
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

/// Whether the keys would act on this job now, not on another one that was selected.
fn would_hit(state: &State, recovery: &Recovery) -> bool {
    state.target().is_some_and(|target| target.job == recovery.job)
}

/// `tar still runs after 10 s: press K to send SIGKILL`; names the key only where it would act on this job.
fn outlived(state: &State, recovery: &Recovery) -> String {
    let who = recovery.alive.first().map_or_else(|| recovery.outcome.job.clone(), |alive| alive.1.clone());
    let who = if recovery.alive.len() > 1 { format!("{who} and {} more", recovery.alive.len() - 1) } else { who };
    let verb = if recovery.alive.len() > 1 { "run" } else { "runs" };
    let after = span(recovery.elapsed.max(PATIENCE_SECONDS).floor());
    let key = shown(Screen::Overview, Command::Choose(Choice::End(Signal::Kill)));
    let hint = if would_hit(state, recovery) {
        format!("press {key} to send SIGKILL")
    } else {
        "unselect with Esc to send SIGKILL".to_owned()
    };
    format!("{who} still {verb} after {after}: {hint}")
}
