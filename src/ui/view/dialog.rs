//! The menu of actions: whom they hit, whom not and why, what each would do here or why it cannot, and what to heed before the key.
//!
//! Laid out once in [`Plan`], which `update` asks too: how many processes a page has must not be known in two places.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::text::{Pieces, fit, left, right, width as cells, wrap};
use crate::action::{Action, Aimed, Confirmation, Offer, Refusal};
use crate::analysis::advice;
use crate::ui::dialog::{Dialog, Pane, label};
use crate::ui::keys::{BINDINGS, Choice, Command, Screen, shown};
use crate::ui::state::State;
use crate::ui::theme::{Depth, Theme};
use crate::units::count;

/// Cells of the box at most; wider lines are hard to read.
const WIDEST: u16 = 110;
/// Cells of an action's name.
const NAME: usize = 14;
/// Rows of the actions that stay, however small the screen: the chosen one and its neighbours.
const FEWEST_ACTIONS: usize = 3;
/// Processes that are shown before there is room for all else.
const SOME_PROCESSES: usize = 3;
/// Lines of what to heed that stay, and that there are at the most.
const HEED: (usize, usize) = (2, 6);

/// How many lines each part gets.
struct Plan {
    area: Rect,
    inner: usize,
    /// Processes shown at once.
    page: usize,
    /// Actions shown at once.
    actions: usize,
    /// Blank lines before the actions, and before what to heed.
    blanks: (usize, usize),
    heading: Vec<Line<'static>>,
    heed: Vec<Line<'static>>,
    closing: Vec<Line<'static>>,
}

impl Plan {
    fn new(theme: &Theme, dialog: &Dialog, area: Rect) -> Self {
        // Slivers of the overview beside the box would only be noise.
        let width = if area.width < WIDEST + 8 { area.width } else { WIDEST };
        let inner = usize::from(width.saturating_sub(2));
        // The last two lines of the screen stay: the message and the keys.
        let room = usize::from(area.height.saturating_sub(2 + 2));
        let (heading, closing) = (heading(theme, dialog, inner), closing(theme, dialog, inner));
        let mut heed = heed(theme, dialog, inner);
        let targets = dialog.aim.targets.len();
        let offers = if dialog.typed.is_some() { 1 } else { dialog.offers().len() };
        let mut rest = room.saturating_sub(heading.len() + closing.len());
        let mut take = |wish: usize| {
            let taken = wish.min(rest);
            rest -= taken;
            taken
        };
        // A line for the process, and one that says how many more there are.
        let mut processes = take(targets.min(2));
        let mut actions = take(offers.min(FEWEST_ACTIONS));
        let mut heeded = take(heed.len().min(HEED.0));
        actions += take(offers - actions);
        let blank = take(1);
        processes += take(targets.min(SOME_PROCESSES) - processes);
        heeded += take(heed.len().min(HEED.1) - heeded);
        let blanks = (blank, take(usize::from(heeded > 0)));
        processes += take(targets - processes);
        let is_cut = heeded < heed.len();
        heed.truncate(heeded);
        // A command that is cut in the middle must not look like a whole one.
        if let Some(last) = heed.last_mut().filter(|_| is_cut) {
            last.push_span("…");
        }
        let page = if processes < targets { processes.saturating_sub(1).max(1) } else { processes };
        let used = heading.len() + processes + actions + heeded + blanks.0 + blanks.1 + closing.len();
        let height = (used as u16 + 2).min(area.height.saturating_sub(2));
        let x = area.x + (area.width - width) / 2;
        let y = area.y + area.height.saturating_sub(2).saturating_sub(height) / 2;
        let area = Rect { x, y, width, height }.intersection(area);
        Self { area, inner, page, actions, blanks, heading, heed, closing }
    }
}

/// How many processes are seen at once.
pub fn page(dialog: &Dialog, area: Rect) -> usize {
    Plan::new(&Theme::new(Depth::Letters), dialog, area).page
}

/// Draws the menu into the middle of the area.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, dialog: &Dialog) {
    let theme = &state.theme;
    let plan = Plan::new(theme, dialog, area);
    if plan.area.width < 4 || plan.area.height < 3 {
        return;
    }
    Clear.render(plan.area, buffer);
    let looking = if dialog.aim.offers.complete { "" } else { "looking closer… " };
    let title = format!(" {} {} {looking}", verb(&dialog.chosen), dialog.aim.job);
    Block::bordered()
        .border_type(BorderType::Rounded)
        .border_style(if dialog.chosen.halts() { theme.culprit } else { theme.amber })
        .title(Line::styled(fit(&title, plan.inner), theme.strong))
        .render(plan.area, buffer);
    let mut lines = plan.heading;
    lines.extend(processes(theme, dialog, plan.page, plan.inner));
    lines.extend(std::iter::repeat_n(Line::default(), plan.blanks.0));
    lines.extend(actions(theme, dialog, plan.actions, plan.inner));
    lines.extend(std::iter::repeat_n(Line::default(), plan.blanks.1));
    lines.extend(plan.heed);
    lines.extend(plan.closing);
    for (index, line) in lines.iter().take(usize::from(plan.area.height) - 2).enumerate() {
        buffer.set_line(plan.area.x + 1, plan.area.y + 1 + index as u16, line, plan.area.width - 2);
    }
}

/// How many are hit and how many not.
fn heading(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    let all = dialog.aim.targets.len();
    let reachable = dialog.aim.reachable().count();
    let hit = dialog.reach();
    let text = match (reachable, all - reachable) {
        _ if matches!(dialog.chosen, Action::Thaw { .. }) => {
            "no process is hit: whoever waits for the filesystem goes on".to_owned()
        }
        (0, _) if is_denied(dialog) => format!("you lack the rights to act on any of {}", count(all, "process")),
        (0, _) => format!("nothing would be hit: none can be reached of {}", count(all, "process")),
        _ if hit < reachable => {
            format!("{hit} of {} picked: nobody else is hit, also nobody born meanwhile", count(all, "process"))
        }
        (_, 0) => format!("{} would be hit, in this order", count(all, "process")),
        (_, missed) => format!("{hit} of {} would be hit, {missed} not", count(all, "process")),
    };
    let style = if reachable == 0 { theme.culprit } else { theme.strong };
    text_lines(&text, style, inner, 2)
}

fn is_denied(dialog: &Dialog) -> bool {
    dialog.aim.targets.iter().any(|aimed| aimed.check == Err(Refusal::NotPermitted))
}

fn processes(theme: &Theme, dialog: &Dialog, page: usize, inner: usize) -> Vec<Line<'static>> {
    let targets = &dialog.aim.targets;
    let first = dialog.scroll.min(targets.len().saturating_sub(page));
    let pid_cells = widest(targets, |aimed| aimed.candidate.id.pid.to_string()).max(3);
    let user_cells = widest(targets, |aimed| aimed.candidate.user.clone().unwrap_or_else(|| "-".to_owned())).clamp(1, 12);
    let rows = targets.iter().enumerate().skip(first).take(page);
    let mut lines: Vec<Line<'static>> =
        rows.map(|(index, aimed)| target(theme, dialog, index, aimed, (pid_cells, user_cells), inner)).collect();
    if targets.len() > page {
        let (up, down) = (shown(Screen::Dialog, Command::PageUp), shown(Screen::Dialog, Command::PageDown));
        let text = format!("  {}-{} of {}   {up} {down}", first + 1, (first + page).min(targets.len()), targets.len());
        lines.push(text_line(&text, theme.dim, inner));
    }
    lines
}

/// One process: `4712  root  tar cf - /srv`, or why it is not hit.
fn target(
    theme: &Theme,
    dialog: &Dialog,
    index: usize,
    aimed: &Aimed,
    (pid_cells, user_cells): (usize, usize),
    inner: usize,
) -> Line<'static> {
    let candidate = &aimed.candidate;
    let mut line = Pieces::new(inner);
    let at = dialog.pane == Pane::Processes && dialog.cursor == index;
    line.push(if at { "› " } else { "  " }, theme.key);
    let hit = dialog.hits(aimed);
    let (mark, style) = match (&aimed.check, hit) {
        (Ok(()), true) => ("● ", theme.culprit),
        (Ok(()), false) => ("○ ", theme.dim),
        (Err(_), _) => ("– ", theme.dim),
    };
    let text = if hit { theme.plain } else { theme.dim };
    line.push(mark, style).push(&right(&candidate.id.pid.to_string(), pid_cells), theme.strong).push("  ", text);
    line.push(&left(candidate.user.as_deref().unwrap_or("-"), user_cells), text).push("  ", text);
    match &aimed.check {
        Ok(()) => line.push(&candidate.command, text),
        Err(refusal) => {
            let why = refusal.to_string();
            // The reason is what must not be cut off.
            let room = line.room().saturating_sub(cells(&why) + 2);
            let who = fit(&candidate.command, room.max(cells(&candidate.name).min(16)));
            line.push(&who, text).push("  ", text).push(&why, theme.amber)
        }
    };
    line.line()
}

/// The actions, as many as there is room for around the chosen one.
fn actions(theme: &Theme, dialog: &Dialog, room: usize, inner: usize) -> Vec<Line<'static>> {
    let offers = dialog.offers();
    let place = dialog.place();
    let first = place.saturating_sub(room / 2).min(offers.len().saturating_sub(room));
    let rows = offers.iter().enumerate().skip(first).take(room);
    rows.map(|(index, offer)| action(theme, offer, index == place, inner)).collect()
}

/// `(•) k SIGTERM      asks 3 processes to end, its root first; they may clean up`
fn action(theme: &Theme, offer: &Offer, chosen: bool, inner: usize) -> Line<'static> {
    let mut line = Pieces::new(inner);
    let open = offer.is_open();
    let mark = match (chosen, open) {
        (true, true) => "  (•) ",
        (true, false) => "  (–) ",
        (false, true) => "  ( ) ",
        (false, false) => "   –  ",
    };
    let name = match (chosen, open) {
        (true, true) => theme.strong,
        (false, true) => theme.plain,
        (_, false) => theme.dim,
    };
    line.push(mark, if chosen { theme.key } else { theme.dim });
    line.push(&left(key(&offer.action), 2), if open { theme.key } else { theme.dim });
    line.push(&left(&label(&offer.action), NAME), name);
    line.push(offer.why_not.as_ref().unwrap_or(&offer.does), if chosen && open { theme.plain } else { theme.dim });
    line.line()
}

/// The key that chooses it.
fn key(action: &Action) -> &'static str {
    let chooses = |choice: Choice| choice != Choice::Any && choice.means(action);
    let mut rows = BINDINGS.iter().filter(|binding| binding.screens.contains(&Screen::Dialog));
    rows.find(|binding| matches!(binding.command, Command::Choose(choice) if chooses(choice))).map_or("", |binding| binding.shown)
}

/// What to know of the chosen action before the key: all of a line that is cut off above, and what to beware of.
fn heed(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    let Some(offer) = dialog.offer() else { return Vec::new() };
    let mut out = Vec::new();
    let room = inner.saturating_sub(8 + NAME);
    let whole = offer.why_not.as_ref().unwrap_or(&offer.does);
    let style = if offer.is_open() { theme.plain } else { theme.amber };
    if cells(whole) > room {
        out.extend(text_lines(whole, style, inner, 3));
    }
    if !offer.is_open() {
        out.extend(as_root(theme, dialog, inner));
        return out;
    }
    let mut texts = offer.beware.clone();
    if offer.action.ends() {
        texts.insert(0, advice::before_ending(&dialog.advice));
    } else if offer.action == Action::Deprioritise {
        texts.extend(dialog.advice.gentle.clone());
    }
    texts.retain(|text| !text.is_empty());
    out.extend(text_lines(&texts.join(" "), theme.amber, inner, HEED.1));
    if let Some(lasts) = dialog.lasts.as_ref().filter(|_| offer.action.ends()) {
        let mut words = lasts.chars();
        let first = words.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        out.extend(text_lines(&format!("{first}{}.", words.as_str()), theme.plain, inner, 2));
    }
    out
}

/// What to do where this user may not: the line to copy, whole.
fn as_root(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    let Action::End(signal) = dialog.chosen else { return Vec::new() };
    let Some(command) = dialog.aim.sudo_line(signal) else { return Vec::new() };
    let mut out = text_lines("As root it would be:", theme.plain, inner, 1);
    out.extend(text_lines(&command, theme.strong, inner, 3));
    out
}

/// The last lines: what Enter does, or the word that has to be typed first.
fn closing(theme: &Theme, dialog: &Dialog, inner: usize) -> Vec<Line<'static>> {
    if let (Some(typed), Some(asked)) = (&dialog.typed, dialog.confirmation()) {
        return to_type(theme, dialog, asked, typed, inner);
    }
    let mut line = Pieces::new(inner);
    line.push("  ", theme.plain);
    let (enter, tab) = (shown(Screen::Dialog, Command::Order), shown(Screen::Dialog, Command::Switch));
    if dialog.offer().is_some_and(Offer::is_open) && (dialog.reach() > 0 || !dialog.is_by_process()) {
        line.push(enter, theme.key).push(&format!(" {}   ", does(dialog)), theme.strong);
        if dialog.is_by_process() && dialog.aim.targets.len() > 1 {
            line.push_whole(&[(tab, theme.key), (" picks some   ", theme.plain)]);
        }
        line.push_whole(&[(shown(Screen::Dialog, Command::Back), theme.key), (" leaves", theme.plain)]);
        if Choice::Prove.means(&dialog.chosen) {
            let [shorter, longer] = [Command::Shorter, Command::Longer].map(|command| shown(Screen::Dialog, command));
            let keys = format!("   {shorter} {longer}");
            line.push_whole(&[(&keys, theme.key), (" time", theme.plain)]);
        }
    } else {
        line.push(shown(Screen::Dialog, Command::Back), theme.key).push(" leaves; this cannot be done here", theme.plain);
    }
    vec![line.line()]
}

fn to_type(theme: &Theme, dialog: &Dialog, asked: &Confirmation, typed: &str, inner: usize) -> Vec<Line<'static>> {
    let mut out = text_lines(&format!("{}.", asked.why), theme.culprit, inner, 3);
    let mut line = Pieces::new(inner);
    line.push("  Type ", theme.plain).push(&asked.word, theme.strong);
    line.push(&format!(" to do it all the same: it {}", does(dialog)), theme.plain);
    out.push(line.line());
    let mut line = Pieces::new(inner);
    let met = asked.is_met_by(Some(typed));
    line.push("  > ", theme.key).push(typed, theme.strong).push("▏", theme.key);
    if met {
        line.push("   ", theme.plain).push(shown(Screen::Confirm, Command::Order), theme.key).push(" does it", theme.strong);
    }
    line.push("   ", theme.plain).push(shown(Screen::Confirm, Command::Back), theme.key).push(" back", theme.plain);
    out.push(line.line());
    out
}

/// What Enter does: `sends SIGTERM to 3 processes`.
fn does(dialog: &Dialog) -> String {
    let hit = count(dialog.reach(), "process");
    match &dialog.chosen {
        Action::End(signal) => format!("sends {signal} to {hit}"),
        Action::Prove { seconds } => format!("pauses {hit} for {seconds} s"),
        Action::Pause => format!("pauses {hit}"),
        Action::Resume => format!("lets {hit} go on"),
        Action::Deprioritise => format!("puts {hit} behind everybody else"),
        Action::Undo => "puts it back as it was".to_owned(),
        Action::Thaw { mount } => format!("thaws {mount}"),
        Action::StopUnit { unit } => format!("stops {unit}"),
    }
}

fn text_lines(text: &str, style: Style, inner: usize, lines: usize) -> Vec<Line<'static>> {
    wrap(text, inner.saturating_sub(3), lines).iter().map(|line| text_line(line, style, inner)).collect()
}

fn text_line(text: &str, style: Style, inner: usize) -> Line<'static> {
    let mut line = Pieces::new(inner);
    line.push("  ", style).push(text, style);
    line.line()
}

fn widest(targets: &[Aimed], text: impl Fn(&Aimed) -> String) -> usize {
    targets.iter().take(1000).map(|aimed| cells(&text(aimed))).max().unwrap_or(0)
}

fn verb(action: &Action) -> &'static str {
    match action {
        Action::End(crate::action::Signal::Kill) => "Kill",
        Action::End(_) => "End",
        Action::Prove { .. } => "Prove by pause:",
        Action::Pause => "Pause",
        Action::Resume => "Resume",
        Action::Deprioritise => "Deprioritise",
        Action::Undo => "Undo what was done to",
        Action::Thaw { .. } => "Thaw for",
        Action::StopUnit { .. } => "Stop the unit of",
    }
}
