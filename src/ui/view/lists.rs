//! The two lists, side by side where there is room: who waits, and who takes. Formats only the rows that are seen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::text::{Pieces, UNKNOWN, cores, fit, known, left, percent, right, tasks};
use super::verdict::style_of;
use crate::analysis::diagnosis::{Diagnosis, Job, Kind, Resource, Stuck, WaitGroup};
use crate::ui::state::{List, State};
use crate::units::{bytes, span};

/// Below this width the lists stand on top of each other.
pub const SIDE_BY_SIDE_FROM: u16 = 70;
/// Cells between the lists.
const GAP: u16 = 3;

/// Draws both lists, or where there is no room for two the one in focus.
pub fn draw(buffer: &mut Buffer, area: Rect, state: &State, diagnosis: &Diagnosis) {
    for (list, place) in places(state, area) {
        draw_one(buffer, place, state, diagnosis, list);
    }
}

/// Where each list goes.
pub fn places(state: &State, area: Rect) -> Vec<(List, Rect)> {
    if area.width >= SIDE_BY_SIDE_FROM {
        let first = (area.width - GAP) * 46 / 100;
        let waits = Rect { width: first, ..area };
        let takes = Rect { x: area.x + first + GAP, width: area.width - first - GAP, ..area };
        return vec![(List::Waits, waits), (List::Takes, takes)];
    }
    if area.height < 8 {
        return vec![(state.focus, area)];
    }
    // As much as those that wait need, up to half.
    let height = (state.waits.len().max(1) as u16 + 1).min(area.height / 2);
    let waits = Rect { height, ..area };
    let takes = Rect { y: area.y + height, height: area.height - height, ..area };
    vec![(List::Waits, waits), (List::Takes, takes)]
}

fn draw_one(buffer: &mut Buffer, area: Rect, state: &State, diagnosis: &Diagnosis, list: List) {
    if area.height == 0 || area.width == 0 {
        return;
    }
    let width = usize::from(area.width);
    let rows = state.rows(list);
    let visible = usize::from(area.height - 1);
    let chosen = state.selected_row(list);
    let first = first_row(chosen, rows.len(), visible);
    let columns = Columns::new(list, width, diagnosis.verdict.worst.resource);
    buffer.set_line(area.x, area.y, &heading(state, &columns, rows.len(), first, visible), area.width);
    if rows.is_empty() && visible > 0 {
        let text = if list == List::Waits { " nobody waits" } else { " no jobs yet" };
        buffer.set_stringn(area.x, area.y + 1, text, width, state.theme.dim);
    }
    for (line, index) in rows.iter().enumerate().skip(first).take(visible) {
        let Some(job) = diagnosis.jobs.get(*index) else { continue };
        let y = area.y + 1 + (line - first) as u16;
        let selected = chosen == Some(line);
        buffer.set_line(area.x, y, &row(state, diagnosis, &columns, job, selected), area.width);
        if selected && list == state.focus {
            buffer.set_style(Rect { x: area.x, y, width: area.width, height: 1 }, state.theme.selected);
        }
    }
}

/// The first row shown, so that the chosen one is in the middle as far as the ends allow.
fn first_row(chosen: Option<usize>, rows: usize, visible: usize) -> usize {
    let last = rows.saturating_sub(visible);
    chosen.map_or(0, |chosen| chosen.saturating_sub(visible / 2).min(last))
}

/// Widths of the columns; 0 leaves one out. The last one takes what is left.
struct Columns {
    list: List,
    width: usize,
    resource: Resource,
    name: usize,
    kind: usize,
    longest: usize,
}

impl Columns {
    fn new(list: List, width: usize, resource: Resource) -> Self {
        let (kind, longest) = match list {
            List::Waits => (0, if width >= 48 { 10 } else { 0 }),
            List::Takes => (if width >= 50 { 13 } else { 0 }, 0),
        };
        let fixed = match list {
            List::Waits => 12 + longest,
            List::Takes => 27 + kind,
        };
        let name = match list {
            List::Waits => (width.saturating_sub(fixed) / 2).clamp(8, 24),
            List::Takes => width.saturating_sub(fixed + 1).clamp(8, 40),
        };
        Self { list, width, resource, name, kind, longest }
    }

    /// Which share the list of takers shows.
    fn share(&self, job: &Job) -> Option<f64> {
        if self.resource == Resource::Disk { job.share.disk } else { job.share.cpu }
    }
}

fn heading(state: &State, columns: &Columns, rows: usize, first: usize, visible: usize) -> Line<'static> {
    let theme = &state.theme;
    let focused = state.focus == columns.list;
    let mut name = match columns.list {
        List::Waits => "WAITS".to_owned(),
        List::Takes => "TAKES".to_owned(),
    };
    if rows > visible && visible > 0 {
        name = format!("{name} {}-{} of {rows}", first + 1, (first + visible).min(rows));
    }
    let mark = if focused { "▸" } else { " " };
    let mut line = Pieces::new(columns.width);
    line.push(mark, theme.key).push(&left(&name, columns.name), theme.title);
    match columns.list {
        List::Waits => {
            line.push("  D", theme.dim).push("   cpu", theme.dim);
            if columns.longest > 0 {
                line.push(&right("longest", columns.longest), theme.dim);
            }
            line.push("  for", theme.dim);
        }
        List::Takes => {
            if columns.kind > 0 {
                line.push(&format!(" {}", left("kind", columns.kind - 1)), theme.dim);
            }
            line.push("  cpu", theme.dim).push("    read", theme.dim).push("   write", theme.dim);
            line.push(if columns.resource == Resource::Disk { " disk" } else { " cpus" }, theme.dim);
        }
    }
    line.line()
}

fn row(state: &State, diagnosis: &Diagnosis, columns: &Columns, job: &Job, selected: bool) -> Line<'static> {
    let theme = &state.theme;
    let style = style_of(state, diagnosis, &job.facts.id);
    let idle = job.usage.cpu_cores.unwrap_or_default() < 0.005 && job.usage.disk_bytes().unwrap_or_default() < 1.0;
    let number = if idle && columns.list == List::Takes { theme.dim } else { theme.plain };
    let mut line = Pieces::new(columns.width);
    let paused = state.standing.iter().any(|standing| standing.is_paused() && standing.job == job.facts.id.as_str());
    let (mark, style) = match (selected, paused) {
        (true, _) => ("›", style),
        (false, true) => ("‖", theme.amber),
        (false, false) => (" ", style),
    };
    line.push(mark, theme.key).push(&left(&job.facts.name, columns.name), style);
    match columns.list {
        List::Waits => waits(state, diagnosis, columns, job, &mut line, number),
        List::Takes => takes(columns, job, &mut line, number, (theme.dim, theme.amber)),
    }
    line.line()
}

fn waits(state: &State, diagnosis: &Diagnosis, columns: &Columns, job: &Job, line: &mut Pieces, number: Style) {
    let mut groups = diagnosis.waits.iter().filter(|wait| wait.job == job.facts.id);
    let longest = WaitGroup::longest(groups.clone());
    let group = groups.next();
    let stuck = if job.uninterruptible > 0 { job.uninterruptible.to_string() } else { tasks(job.usage.stuck) };
    line.push(&right(&stuck, 4), if stuck == "0" { state.theme.dim } else { state.theme.victim });
    line.push(&right(&known(job.usage.cpu_wait, tasks), 6), number);
    if columns.longest > 0 {
        let sign = |stuck: Stuck| format!("{}{}", if stuck.exact { "" } else { "≥ " }, span(stuck.seconds));
        let longest = longest.map_or_else(|| "-".to_owned(), sign);
        line.push(&right(&longest, columns.longest), number);
    }
    line.push("  ", number);
    let (place, at) = where_it_waits(job, group);
    line.push(&place, number).push_whole(&[(&at, state.theme.dim)]);
}

/// `the disk`, `the filesystem journal`; what it means in words if that is known, else the kernel's names. Then which one.
fn where_it_waits(job: &Job, group: Option<&WaitGroup>) -> (String, String) {
    let on_cpu = job.usage.cpu_wait.unwrap_or_default() > job.usage.stuck.max(f64::from(job.uninterruptible));
    let Some(group) = group.filter(|_| !on_cpu) else {
        return (if on_cpu { "a CPU" } else { "-" }.to_owned(), String::new());
    };
    let place = match (&group.meaning, &group.wchan, &group.syscall) {
        (Some(meaning), ..) => meaning.trim_start_matches("waits for ").to_owned(),
        (None, Some(wchan), _) => wchan.clone(),
        (None, None, Some(syscall)) => syscall.clone(),
        (None, None, None) => UNKNOWN.to_owned(),
    };
    let at = group.path.as_ref().or(group.device.as_ref()).map(|at| format!(" ({at})")).unwrap_or_default();
    (place, at)
}

fn takes(columns: &Columns, job: &Job, line: &mut Pieces, number: Style, (dim, backup): (Style, Style)) {
    let usage = &job.usage;
    if columns.kind > 0 {
        let finding = &job.facts.finding;
        let kind = match &finding.tool {
            Some(tool) if *tool != job.facts.name => format!("{} {tool}", finding.kind.name()),
            _ => finding.kind.name().to_owned(),
        };
        let style = if finding.kind == Kind::Backup { backup } else { dim };
        line.push(&format!(" {}", left(&fit(&kind, columns.kind - 2), columns.kind - 1)), style);
    }
    line.push(&right(&known(usage.cpu_cores, cores), 5), number);
    line.push(&right(&known(usage.read_bytes, bytes), 8), number);
    line.push(&right(&known(usage.write_bytes, bytes), 8), number);
    line.push(&right(&known(columns.share(job), percent), 5), number);
}
