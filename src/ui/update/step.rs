//! Movements: of the selection, of the choice in the menu, and through what is longer than the screen.

use ratatui::layout::Rect;

use crate::ui::dialog::{Dialog, Pane};
use crate::ui::state::{Mode, State, target_of};
use crate::ui::view;

/// A movement.
#[derive(Clone, Copy)]
pub(super) enum Step {
    By(isize),
    Page(isize),
    First,
    Last,
}

impl Step {
    /// From `at`, among `length` rows of which `page` are visible.
    fn from(self, at: usize, length: usize, page: usize) -> usize {
        let last = length.saturating_sub(1);
        let moved = match self {
            Self::By(by) => at.saturating_add_signed(by),
            Self::Page(by) => at.saturating_add_signed(by.saturating_mul(page.max(1).cast_signed())),
            Self::First => 0,
            Self::Last => last,
        };
        moved.min(last)
    }
}

/// Moves in whatever is open.
pub(super) fn step(state: &mut State, step: Step) {
    let area = state.area;
    // Only what this screen needs: a held arrow key comes through here for each repeat.
    let list_page = if matches!(step, Step::Page(_)) { view::list_page(state) } else { 1 };
    let help_length = if matches!(state.mode, Mode::Help { .. }) { view::help_length(state) } else { 0 };
    match &mut state.mode {
        Mode::Overview => {
            let length = state.rows(state.focus).len();
            // The first press shows where the selection is; from then on it moves.
            let row = match (state.selected_row(state.focus), &state.selected, step) {
                (Some(row), ..) => step.from(row, length, list_page),
                (None, Some(_), _) => step.from(state.row, length, list_page),
                (None, None, Step::Last) => length.saturating_sub(1),
                (None, None, _) => 0,
            };
            select(state, row);
        }
        Mode::Detail(detail) => {
            let job = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&detail.job));
            let length = view::detail_length(job, state.diagnosis.as_deref(), area);
            detail.scroll = scroll(step, detail.scroll, length, view::page(area));
        }
        Mode::Help { scroll: at } => *at = scroll(step, *at, help_length, view::page(area)),
        Mode::Dialog(dialog) => in_dialog(dialog, step, area),
    }
}

fn in_dialog(dialog: &mut Dialog, step: Step, area: Rect) {
    let (targets, page) = (dialog.aim.targets.len(), view::dialog_page(dialog, area));
    match (dialog.pane, step) {
        (Pane::Actions, Step::By(_)) => dialog.choose_at(step.from(dialog.place(), dialog.offers().len(), 1)),
        (Pane::Actions, _) => dialog.scroll = scroll(step, dialog.scroll, targets, page),
        (Pane::Processes, _) => {
            dialog.cursor = step.from(dialog.cursor, targets, page);
            // The process at the cursor is among those that are seen.
            dialog.scroll = dialog.scroll.clamp((dialog.cursor + 1).saturating_sub(page), dialog.cursor);
        }
    }
}

/// The first line shown after a step, so that the last page stays full.
fn scroll(step: Step, at: usize, length: usize, page: usize) -> usize {
    step.from(at, length.saturating_sub(page) + 1, page)
}

/// Chooses the job in this row of the list in focus.
pub(super) fn select(state: &mut State, row: usize) {
    state.row = row;
    state.selected = state.job_at(state.focus, row).map(target_of);
}
