//! The keys that act, and what comes back: the menu is opened and asked, orders go out, their outcomes are judged and watched.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Effect;
use crate::action::{Action, Aim, Confirmation, Landing, Order, Outcome, Report, Standing, Still, Subject};
use crate::analysis::advice;
use crate::analysis::diagnosis::JobId;
use crate::grounds::Grounds;
use crate::landing;
use crate::proof::Proof;
use crate::recovery::Recovery;
use crate::ui::dialog::{Dialog, doing};
use crate::ui::keys::Choice;
use crate::ui::state::{Mode, Pending, State, Target, Tone, Trial, Watch, is_kernel};
use crate::ui::view;
use crate::units::count;

/// Longest word that is taken from the keyboard; those that are asked for are shorter.
const LONGEST_WORD: usize = 64;

/// A key that means this action.
pub(super) fn choose(state: &mut State, choice: Choice) -> Vec<Effect> {
    if let Mode::Dialog(dialog) = &mut state.mode {
        dialog.choose(choice);
        return Vec::new();
    }
    if choice.puts_back()
        && let Some((subject, action)) = put_back(state, choice)
    {
        return at_once(state, subject, action);
    }
    let Some(target) = state.target().or_else(|| (choice == Choice::Thaw).then(|| state.held_up_by_a_freeze())?) else {
        let nothing = match choice {
            Choice::Thaw => "no filesystem is frozen, as far as anybody waits for one",
            Choice::Resume => "nothing is paused",
            Choice::Undo => "there is nothing to undo",
            _ => "nobody is to blame: select a job first",
        };
        state.say(nothing, Tone::Plain);
        return Vec::new();
    };
    let job = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&target.job));
    if job.is_some_and(is_kernel) {
        state.say(format!("{} is the kernel's own work: kernel threads take no signals", target.name), Tone::Bad);
        return Vec::new();
    }
    let subject = state.subject(&target);
    if subject.candidates.is_empty() {
        // Never slide on to another job: the key was meant for this one.
        state.say(format!("{} has ended: nothing to signal", target.name), Tone::Plain);
        state.selected = None;
        return Vec::new();
    }
    vec![Effect::Aim { job: target.job, subject: Box::new(subject), choice }]
}

/// What is to be put back: a pause that proves something, what was done to the job that is selected, else what was done last.
fn put_back(state: &State, choice: Choice) -> Option<(Subject, Action)> {
    let action = if choice == Choice::Resume { Action::Resume } else { Action::Undo };
    if let Some(trial) = state.trial.as_ref().filter(|trial| trial.is_running()) {
        let target = Target { job: trial.proof.job.clone(), name: trial.proof.name.clone() };
        return Some((state.subject(&target), Action::Resume));
    }
    let fits = |standing: &&Standing| choice == Choice::Undo || standing.is_paused();
    let chosen = match &state.mode {
        Mode::Detail(detail) => Some(&detail.job),
        _ => state.selected.as_ref().map(|selected| &selected.job),
    };
    let of_chosen = |job: &JobId| state.standing.iter().filter(fits).find(|standing| standing.job == job.as_str());
    let standing = match chosen {
        Some(job) => of_chosen(job),
        None => state.standing.iter().filter(fits).max_by_key(|standing| standing.since),
    }?;
    let job =
        state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.jobs.iter().find(|job| job.facts.id.as_str() == standing.job));
    let subject = match job {
        Some(job) => state.subject(&Target { job: job.facts.id.clone(), name: standing.name.clone() }),
        None => Subject::of_standing(standing),
    };
    Some((subject, action))
}

fn at_once(state: &mut State, subject: Subject, action: Action) -> Vec<Effect> {
    state.ticket += 1;
    state.say(doing(&action, &subject.name), Tone::Plain);
    let grounds = Box::new(Grounds::of(&subject.job, state.diagnosis.as_deref(), state.condition().as_ref()));
    let order = Order::whole(state.ticket, action);
    vec![Effect::Act { subject: Box::new(subject), order, grounds }]
}

/// Takes in the answer to [`Effect::Aim`] and opens the menu.
pub fn aimed(state: &mut State, job: JobId, choice: Choice, aim: Aim) {
    state.revision += 1;
    if aim.targets.is_empty() {
        state.say(format!("{} has no processes any more: nothing to signal", aim.job), Tone::Bad);
        return;
    }
    let mut dialog = Dialog::open(job, aim, choice);
    if let Some(found) = state.diagnosis.as_ref().and_then(|diagnosis| diagnosis.job(&dialog.job)) {
        dialog.advice = found.facts.finding.advice.clone();
        dialog.lasts = advice::run_time(found);
    }
    if let Mode::Detail(detail) = &state.mode {
        dialog.from = Some(detail.clone());
    }
    state.mode = Mode::Dialog(Box::new(dialog));
}

/// Takes a character of the word that has to be typed; false where none is asked for.
pub(super) fn typed(state: &mut State, key: KeyEvent) -> bool {
    let Mode::Dialog(dialog) = &mut state.mode else { return false };
    let Some(word) = &mut dialog.typed else { return false };
    match key.code {
        KeyCode::Char(c) if (key.modifiers - KeyModifiers::SHIFT).is_empty() && word.len() < LONGEST_WORD => word.push(c),
        KeyCode::Char(_) if !key.modifiers.contains(KeyModifiers::CONTROL) => {}
        KeyCode::Backspace => {
            word.pop();
        }
        _ => return false,
    }
    state.message = None;
    true
}

/// Picks the process at the cursor.
pub(super) fn pick(state: &mut State) {
    if let Mode::Dialog(dialog) = &mut state.mode {
        dialog.pane = super::Pane::Processes;
        dialog.pick();
    }
}

/// Has the proof in the menu take longer, or shorter.
pub(super) fn prove_for(state: &mut State, longer: bool) {
    if let Mode::Dialog(dialog) = &mut state.mode {
        dialog.prove_for(longer);
    }
}

/// Orders what the menu says, if it can be and was confirmed.
pub(super) fn order(state: &mut State) -> Vec<Effect> {
    let Mode::Dialog(dialog) = &mut state.mode else { return Vec::new() };
    if !view::shows_dialog(state.area) {
        state.say("the screen is too small to show whom this would hit: nothing sent", Tone::Bad);
        return Vec::new();
    }
    if let Some(why) = why_not(dialog) {
        state.say(why, Tone::Bad);
        return Vec::new();
    }
    match (dialog.confirmation(), &dialog.typed) {
        (Some(_), None) => {
            dialog.typed = Some(String::new());
            return Vec::new();
        }
        (Some(asked), Some(typed)) if !asked.is_met_by(Some(typed)) => {
            let text = not_typed(asked);
            state.say(text, Tone::Bad);
            return Vec::new();
        }
        _ => {}
    }
    state.ticket += 1;
    let order = dialog.order(state.ticket);
    let (job, name, reach) = (dialog.job.clone(), dialog.aim.job.clone(), dialog.reach());
    let mut words = doing(&order.action, &name);
    if dialog.is_by_process() {
        words = format!("{words}: {}", count(reach, "process"));
    }
    // A second action on the same job goes on with the first one's clock: what it is measured against is the outage, not the half
    // recovered host of this instant.
    let earlier = state.watch.as_ref().filter(|watch| watch.recovery.job == job && !watch.recovery.complete());
    // What was put back has brought the outage about once more: a new one.
    let earlier = earlier.filter(|watch| !watch.recovery.outcome.action.puts_back());
    let proven = state.trial.as_ref().filter(|trial| trial.proof.job == job && trial.is_running());
    let before = earlier.map(|watch| &watch.before).or_else(|| proven.map(|trial| &trial.before));
    let before = before.cloned().or_else(|| state.diagnosis.clone());
    let site = match (earlier, proven) {
        (Some(watch), _) => watch.recovery.site.as_ref().map(|site| site.before.clone()),
        (None, Some(trial)) => trial.site_before.clone(),
        (None, None) => state.condition(),
    };
    let grounds = Box::new(Grounds::of(job.as_str(), state.diagnosis.as_deref(), state.condition().as_ref()));
    state.pending.push_back(Pending { ticket: order.ticket, job, before, site, picked: order.only.is_some() });
    state.mode = Mode::Overview;
    state.selected = None;
    state.say(words, Tone::Plain);
    vec![Effect::Order { order, grounds }]
}

/// Why the chosen action cannot be ordered, in a sentence that says what to do instead.
fn why_not(dialog: &Dialog) -> Option<String> {
    let name = &dialog.aim.job;
    let Some(offer) = dialog.offer() else { return Some(format!("nothing can be done about {name} here")) };
    if let Some(why) = &offer.why_not {
        return Some(format!("nothing done: {why}"));
    }
    if dialog.is_by_process() && dialog.reach() == 0 {
        let refused = dialog.aim.targets.iter().find_map(|aimed| Some((&aimed.candidate, aimed.check.as_ref().err()?)));
        return Some(match refused {
            Some((candidate, refusal)) => format!("nothing done: {} {} {refusal}", candidate.name, candidate.id.pid),
            None => format!("nothing done: no process of {name} is left"),
        });
    }
    None
}

fn not_typed(asked: &Confirmation) -> String {
    format!("nothing done: that is not {}", asked.word)
}

/// Takes in what comes back from acting.
pub(super) fn hear(state: &mut State, report: Report) -> Vec<Effect> {
    match report {
        Report::Offers(offers) => {
            if let Mode::Dialog(dialog) = &mut state.mode
                && dialog.job.as_str() == offers.job
            {
                dialog.learn(offers);
            }
        }
        Report::Outcome(outcome) => return judge(state, outcome),
        Report::Landing(landing) => land(state, landing),
        Report::Standing(standing) => state.standing = standing,
    }
    Vec::new()
}

/// Whoever went so many seconds after the signal is told of, whether he stood on the screen until then or was dismissed.
const LATE_SECONDS: f64 = 10.0;
/// So many seconds a zombie stays on the screen: it holds nothing any more, and its parent may never reap it.
const ZOMBIES_STAY_SECONDS: f64 = 60.0;

/// What is left of a job that was told to end. That a signal landed late is told, whatever is on the screen by then.
fn land(state: &mut State, landing: Landing) {
    let later = |watch: &Watch| watch.recovery.outcome.ticket > landing.ticket && watch.recovery.outcome.action.ends();
    if state.watch.as_ref().is_some_and(|watch| watch.recovery.job.as_str() == landing.id && later(watch)) {
        // Seen before a later signal to the same job, and told after it.
        return;
    }
    let before = state.landings.iter().position(|known| known.ticket == landing.ticket).map(|at| state.landings.remove(at));
    if !landing.left.is_empty() {
        state.landings.push(landing);
        return;
    }
    let waited = before.is_some_and(|before| before.left.iter().any(|left| !matches!(left.still, Still::Runs)));
    if waited || landing.at.duration_since(landing.sent_at).as_secs_f64() >= LATE_SECONDS {
        state.say(landing::sentence(&landing, None), Tone::Good);
    }
}

/// Takes what nobody can do more about off the screen.
pub(super) fn forget_zombies(state: &mut State) {
    let Some(now) = state.now else { return };
    let is_old = |landing: &Landing| now.duration_since(landing.at).as_secs_f64() >= ZOMBIES_STAY_SECONDS;
    let is_dead = |landing: &Landing| landing.left.iter().all(|left| matches!(left.still, Still::Zombie { .. }));
    state.landings.retain(|landing| !(is_dead(landing) && is_old(landing)));
}

fn judge(state: &mut State, outcome: Outcome) -> Vec<Effect> {
    let tone = match (outcome.worked(), outcome.worked_wholly()) {
        (true, true) => Tone::Good,
        (true, false) => Tone::Plain,
        (false, _) => Tone::Bad,
    };
    state.say(outcome.to_string(), tone);
    if outcome.worked() && matches!(outcome.action, Action::End(_)) {
        // From now on the later signal is watched: nobody would take back what is said of the earlier one.
        state.landings.retain(|landing| landing.id != outcome.id || landing.ticket >= outcome.ticket);
    }
    let mut effects = Vec::new();
    if outcome.worked() && matches!(outcome.action, Action::Resume | Action::Undo) {
        effects.extend(goes_on(state, &outcome));
    }
    let Some(at) = state.pending.iter().position(|pending| pending.ticket == outcome.ticket) else { return effects };
    let Some(Pending { job, before, site, picked, .. }) = state.pending.remove(at) else { return effects };
    let (Some(before), true) = (before, outcome.worked()) else { return effects };
    if !matches!(outcome.action, Action::Resume | Action::Undo) {
        // The new action takes the old trial's place, and with it what can be seen of it.
        effects.extend(state.trial.take_if(|trial| trial.is_running()).as_ref().map(shown));
    }
    match outcome.action {
        Action::Prove { seconds } => {
            let proof = Proof::begin(job, &outcome, picked, seconds, &before);
            state.watch = None;
            state.trial = Some(Trial { ticket: outcome.ticket, proof, before, site_during: site.clone(), site_before: site });
        }
        Action::Resume | Action::Undo => {}
        _ => {
            let mut recovery = Recovery::begin(job, outcome, &before, site);
            // The answer may come after the first sample that shows its effect.
            if let Some(now) = &state.diagnosis {
                recovery.observe(now);
            }
            state.trial = None;
            state.watch = Some(Watch { recovery, before });
        }
    }
    if let Some(now) = state.now {
        state.pass(now);
    }
    effects
}

/// What this pause has shown, to be written down.
pub(super) fn shown(trial: &Trial) -> Effect {
    Effect::Shown { ticket: trial.ticket, proof: Box::new(trial.proof.clone()) }
}

/// The end of a pause: of a proof, or of an action that was watched and is no more.
fn goes_on(state: &mut State, outcome: &Outcome) -> Option<Effect> {
    let undone = |watch: &Watch| !watch.recovery.outcome.action.ends() && watch.recovery.job.as_str() == outcome.id;
    if state.watch.as_ref().is_some_and(undone) {
        state.watch = None;
    }
    let proven =
        |trial: &&mut Trial| trial.is_running() && (trial.ticket == outcome.ticket || trial.proof.job.as_str() == outcome.id);
    if let Some(trial) = state.trial.as_mut().filter(proven) {
        trial.proof.end(outcome.at);
        return Some(shown(trial));
    }
    // Nothing of greater concern is on the screen.
    if state.watch.is_none()
        && let Some(before) = state.diagnosis.clone()
        && let Some(job) = before.jobs.iter().find(|job| job.facts.id.as_str() == outcome.id)
    {
        let recovery = Recovery::begin(job.facts.id.clone(), outcome.clone(), &before, state.condition());
        state.watch = Some(Watch { recovery, before });
    }
    None
}
