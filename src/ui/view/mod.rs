//! Draws the state; changes nothing. One file for each region:
//!
//! ```text
//!  whytop  web-07  Linux 6.18  2 CPUs  up 12 d 4 h         self 1.2 % cpu  14:27:31   header
//!  LOAD 40.1 31.2 14.8   NOW 41 = 3 R + 38 D   SITE no answer for 12 s   STALL io 93 %
//!  SITE http://localhost/  no answer for 12 s, since 14:27:19, before: 200 in 38 ms   (tall screens, --probe)
//!  DISK sda 98 % busy  42 ms a request  reads 8.1 MB/s  writes 2.1 MB/s               (tall screens)
//!  41 = site-worker 38 + nightly.sh 3                                                 verdict (ledger)
//!  1 min 40.1 = site-worker 35.2 + nightly.sh 2.9 + 1.1 from before + 0.9 unseen      verdict (account)
//!   CONTENTION  nightly.sh takes 91 % of sda: 38 tasks of site-worker wait for it     verdict
//!  site-worker 4711 blocks whoever looks at it (mmap_lock held): ps, htop and t…      verdict (wedged)
//!   PAUSED  rsync since 14:20:03 (7 m 28 s) by ann: 1 process   r lets it go on      standing
//!  CO-LOCATED BACKUP DETECTED: IT TAKES THE DISK                            96 % sure suspect, or
//!  ▌ who      nightly.sh (tar)   nightly.sh 4711 → tar 4712 | gzip 4713               recovery
//!  ▌ …
//!  ▌          k end it   Enter evidence
//!  WAITS         D   cpu  for              TAKES             cpu    read   write disk lists
//!  site-worker  38   0.1  the disk         nightly.sh       0.94  8.1 MB  2.1 MB 91 %
//!  R   3 ▁▁▁▁▂▁▁▂▁▁▁▁▂▁▁▁                                                             trend
//!  D  38 ▁▁▁▁▁▁▁▃▅▇██████
//!  SIGTERM sent to nightly.sh: 3 processes (nightly.sh 4711, tar 4712, gzip 4713)     footer (message)
//!  k end nightly.sh   Enter evidence   ↓ select   Tab other list   ? help   q quit    footer (keys)
//! ```
//!
//! What goes first where there is little room: blank lines, the trend, rows of the panel by rank, the lists. The verdict and
//! the keys stay to the last. The snapshots in `tests/screens.rs` show all of it.

mod detail;
mod dialog;
mod footer;
mod header;
mod help;
mod lists;
mod panel;
mod recovery;
mod site;
mod standing;
mod suspect;
mod text;
mod trend;
mod trial;
mod verdict;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use crate::analysis::diagnosis::{Diagnosis, Job};
use crate::ui::dialog::Dialog;
use crate::ui::keys::{Command, shown};
use crate::ui::state::{Detail, Mode, State};
use crate::units::count;
use panel::Panel;
use text::Pieces;

/// Below this there is only room for one line.
const SMALLEST: (u16, u16) = (20, 5);
/// Lines around the text of the detail and help screens: header, load, title, message, keys.
const FRAME_LINES: u16 = 5;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let buffer = frame.buffer_mut();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        draw_one_line(buffer, area, state);
        return;
    }
    match &state.mode {
        Mode::Overview => draw_overview(buffer, area, state),
        Mode::Detail(detail) => draw_detail(buffer, area, state, detail),
        Mode::Help { scroll } => draw_help(buffer, area, state, *scroll),
        Mode::Dialog(open) => {
            match &open.from {
                Some(detail) => draw_detail(buffer, area, state, detail),
                None => draw_overview(buffer, area, state),
            }
            let beneath = Rect { height: area.height.saturating_sub(2), ..area };
            buffer.set_style(beneath, state.theme.beneath);
            dialog::draw(buffer, area, state, open);
        }
    }
}

/// Rows of a page on the detail and help screens.
pub fn page(area: Rect) -> usize {
    usize::from(area.height.saturating_sub(FRAME_LINES)).max(1)
}

/// Rows of a page of the list in focus.
pub fn list_page(state: &State) -> usize {
    let Some(diagnosis) = state.diagnosis.as_deref() else { return 1 };
    let regions = Regions::new(state, diagnosis, state.area);
    let places = lists::places(state, regions.lists);
    let place = places.iter().find(|(list, _)| *list == state.focus);
    place.map_or(1, |(_, area)| usize::from(area.height.saturating_sub(1)).max(1))
}

/// Lines of the detail screen.
pub fn detail_length(job: Option<&Job>, diagnosis: Option<&Diagnosis>, area: Rect) -> usize {
    detail::length(None, job, diagnosis, usize::from(area.width))
}

/// Lines of the help screen.
pub fn help_length(state: &State) -> usize {
    help::lines(state, usize::from(state.area.width)).len()
}

/// Processes that the dialog shows at once.
pub fn dialog_page(open: &Dialog, area: Rect) -> usize {
    dialog::page(open, area)
}

/// Whether a screen of this size shows whom the dialog would hit: what cannot be read must not be confirmed.
pub const fn shows_dialog(area: Rect) -> bool {
    area.width >= 40 && area.height >= 11
}

/// Where the regions of the overview are. A height of 0 leaves one out.
struct Regions {
    header: Rect,
    load: Rect,
    site: Rect,
    disks: Rect,
    ledger: Rect,
    account: Rect,
    verdict: Rect,
    beside: Rect,
    standing: Rect,
    panel: Rect,
    lists: Rect,
    trend_title: Rect,
    trend: Rect,
    message: Rect,
    keys: Rect,
}

impl Regions {
    fn new(state: &State, diagnosis: &Diagnosis, area: Rect) -> Self {
        let (width, height) = (usize::from(area.width), area.height);
        let tall = height >= 30;
        let header = u16::from(height >= 9);
        let load = u16::from(height >= 7);
        let ledger = u16::from(height >= 11);
        let site = u16::from(tall && state.site.is_some());
        let disks = u16::from(tall);
        let message = if height < 9 { u16::from(state.message.is_some()) } else { footer::wanted(state, width) as u16 };
        let wish = verdict::wanted(diagnosis, width) as u16;
        let verdict = match height {
            0..9 => wish.min(2),
            9..30 => wish.clamp(1, 2),
            _ => wish + 1,
        };
        let beside = if height < 9 { 0 } else { verdict::beside(state, diagnosis, width, 2).len() as u16 };
        let standing = if height < 9 { 0 } else { standing::lines(state, width).len() as u16 };
        let keys = 1;
        let mut rest =
            height.saturating_sub(header + load + site + disks + ledger + verdict + beside + standing + message + keys);
        let unpanelled = rest;
        let mut take = |wanted: u16, keep: u16| -> u16 {
            let taken = wanted.min(rest.saturating_sub(keep));
            rest -= taken;
            taken
        };
        let lists_least = if area.width >= lists::SIDE_BY_SIDE_FROM { 4 } else { 3 };
        let panel_wish = panel(state, width).map_or(0, |panel| panel.wanted() as u16);
        let panel = take(panel_wish, if height >= 14 { lists_least } else { 0 });
        // A list is worth more than bars, but not more than its rows.
        let rows = state.waits.len().max(state.takes.len()) as u16 + 1;
        let lists_wish = rows.clamp(lists_least, 6);
        // Tall screens give the bars what the lists do not need.
        let spare = unpanelled.saturating_sub(panel + rows.max(lists_wish) + 5);
        let trend_wish = if tall { spare.clamp(5, 7) } else { 2 };
        let trend = match take(trend_wish, lists_wish) {
            0 | 1 => 0,
            taken => taken,
        };
        let trend_title = if tall && trend > 0 { take(1, lists_wish) } else { 0 };
        let account = if diagnosis.load.account.is_some() { take(1, lists_wish) } else { 0 };
        let gap_lists = take(1, lists_wish);
        let gap_panel = if panel > 0 { take(1, lists_wish) } else { 0 };
        let gap_verdict = take(1, lists_wish + 3);
        let gap_trend = if trend > 0 { take(1, lists_wish + 2) } else { 0 };
        let used = account + trend + trend_title + gap_panel + gap_lists + gap_verdict + gap_trend + panel;
        let lists =
            height.saturating_sub(header + load + site + disks + ledger + verdict + beside + standing + message + keys + used);
        let mut y = area.y;
        let mut next = |gap: u16, height: u16| {
            let place = Rect { x: area.x, y: y + gap, width: area.width, height }.intersection(area);
            y = y.saturating_add(gap + height);
            place
        };
        Self {
            header: next(0, header),
            load: next(0, load),
            site: next(0, site),
            disks: next(0, disks),
            ledger: next(0, ledger),
            account: next(0, account),
            verdict: next(gap_verdict, verdict),
            beside: next(0, beside),
            standing: next(0, standing),
            panel: next(gap_panel, panel),
            lists: next(gap_lists, lists),
            trend_title: next(gap_trend, trend_title),
            trend: next(0, trend),
            message: next(0, message),
            keys: next(0, keys),
        }
    }
}

/// The panel that is due: a proof by pause, what became of an action, else the suspect.
fn panel(state: &State, width: usize) -> Option<Panel> {
    trial::panel(state, width).or_else(|| recovery::panel(state, width)).or_else(|| suspect::panel(state, width))
}

fn draw_overview(buffer: &mut Buffer, area: Rect, state: &State) {
    let width = usize::from(area.width);
    let Some(diagnosis) = state.diagnosis.as_deref() else {
        draw_measuring(buffer, area, state);
        return;
    };
    let at = Regions::new(state, diagnosis, area);
    paint(buffer, at.header, [header::host(state, width)]);
    paint(buffer, at.load, [header::load(state, width)]);
    paint(buffer, at.site, site::line(state, width));
    paint(buffer, at.disks, [header::disks(state, diagnosis, width)]);
    paint(buffer, at.ledger, [verdict::ledger(state, diagnosis, width)]);
    paint(buffer, at.account, verdict::account(state, diagnosis, width));
    paint(buffer, at.verdict, verdict::verdict(state, diagnosis, width, usize::from(at.verdict.height)));
    paint(buffer, at.beside, verdict::beside(state, diagnosis, width, usize::from(at.beside.height)));
    paint(buffer, at.standing, standing::lines(state, width));
    if let Some(panel) = panel(state, width) {
        paint(buffer, at.panel, panel.lines(width, usize::from(at.panel.height)));
    }
    lists::draw(buffer, at.lists, state, diagnosis);
    if at.trend_title.height > 0
        && let Some(title) = trend::title(diagnosis, width)
    {
        buffer.set_stringn(at.trend_title.x + 1, at.trend_title.y, title, width.saturating_sub(1), state.theme.dim);
    }
    if at.trend.height > 0 {
        paint(buffer, at.trend, trend::trend(state, diagnosis, width, usize::from(at.trend.height)));
    }
    draw_footer(buffer, at.message, at.keys, state);
}

fn draw_measuring(buffer: &mut Buffer, area: Rect, state: &State) {
    let width = usize::from(area.width);
    paint(buffer, row(area, 0), [header::host(state, width)]);
    paint(buffer, row(area, 1), [header::load(state, width)]);
    let words = measuring(state);
    let y = area.height / 2;
    let x = area.width.saturating_sub(text::width(&words) as u16) / 2;
    buffer.set_stringn(area.x + x, area.y + y, words, width, state.theme.strong);
    draw_footer(buffer, row(area, area.height - 2), row(area, area.height - 1), state);
}

/// What stands where the verdict will.
fn measuring(state: &State) -> String {
    let tasks = state.glance.as_ref().and_then(|(_, glance)| glance.tasks).map(|(_, all)| all);
    match (&state.failed, tasks) {
        (Some(_), _) => "no samples".to_owned(),
        (None, Some(tasks)) => format!("reading {}…", count(tasks as usize, "task")),
        (None, None) => "measuring…".to_owned(),
    }
}

fn draw_footer(buffer: &mut Buffer, message: Rect, keys: Rect, state: &State) {
    let width = usize::from(keys.width);
    paint(buffer, message, footer::message(state, width, usize::from(message.height)));
    paint(buffer, keys, [footer::keys(state, width)]);
}

/// The lines that the detail and help screens have in common; returns where their text goes.
fn draw_frame(buffer: &mut Buffer, area: Rect, state: &State, title: &str, bar: ratatui::style::Style) -> Rect {
    let width = usize::from(area.width);
    paint(buffer, row(area, 0), [header::host(state, width)]);
    paint(buffer, row(area, 1), [header::load(state, width)]);
    let mut line = Pieces::new(width);
    line.push(" ", bar).push(title, bar).fill(bar);
    paint(buffer, row(area, 2), [line.line()]);
    draw_footer(buffer, row(area, area.height - 2), row(area, area.height - 1), state);
    Rect { y: area.y + 3, height: area.height.saturating_sub(FRAME_LINES), ..area }
}

fn draw_detail(buffer: &mut Buffer, area: Rect, state: &State, open: &Detail) {
    let diagnosis = state.diagnosis.as_deref();
    let job = diagnosis.and_then(|diagnosis| diagnosis.job(&open.job));
    let body = draw_frame(buffer, area, state, &detail::title(open, job), detail::bar(state, job));
    if let (Some(job), Some(diagnosis)) = (job, diagnosis) {
        let (width, height) = (usize::from(body.width), usize::from(body.height));
        paint(buffer, body, detail::lines(state, job, diagnosis, open.scroll, width, height));
    }
}

fn draw_help(buffer: &mut Buffer, area: Rect, state: &State, scroll: usize) {
    let body = draw_frame(buffer, area, state, "KEYS AND WORDS", state.theme.selected);
    let lines = help::lines(state, usize::from(body.width));
    let first = scroll.min(lines.len().saturating_sub(usize::from(body.height)));
    paint(buffer, body, lines.into_iter().skip(first));
}

/// Too small for a screen: the verdict, or how to leave.
fn draw_one_line(buffer: &mut Buffer, area: Rect, state: &State) {
    let text = match (&state.mode, &state.diagnosis) {
        (Mode::Dialog(_), _) => format!("too small: {} leaves", shown(state.mode.screen(), Command::Back)),
        (_, Some(diagnosis)) => diagnosis.verdict.worst.headline.clone(),
        (_, None) => measuring(state),
    };
    let width = usize::from(area.width);
    paint(buffer, area, text::wrap(&text, width, usize::from(area.height)).into_iter().map(Line::from));
}

/// One line of the area.
fn row(area: Rect, y: u16) -> Rect {
    Rect { y: area.y + y, height: 1, ..area }.intersection(area)
}

/// Puts lines into a place, as many as it has room for.
fn paint(buffer: &mut Buffer, place: Rect, lines: impl IntoIterator<Item = Line<'static>>) {
    for (y, line) in (place.y..place.bottom()).zip(lines) {
        buffer.set_line(place.x, y, &line, place.width);
    }
}
