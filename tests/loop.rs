//! The real loop on a test backend, with keys as a string and a world that records what it is asked.

mod common;

use std::sync::Arc;

use common::diagnosis::{
    after, around, at, calm, cpu_backup, crowd, database_id, facts, job, nightly_id, outage, process, site_id,
};
use common::stage::{Call, Ended, Play, outcome};
use whytop::action::{Action, Hit, Outcome, Refusal, Signal};
use whytop::analysis::diagnosis::{JobId, Kind, Usual};
use whytop::sample::Gap;
use whytop::site::{Failure, News, Reply};
use whytop::ui::event::Event;

const JOB: [(i32, &str); 3] = [(4711, "nightly.sh"), (4712, "tar"), (4713, "gzip")];

fn play() -> Play {
    Play::new(110, 32)
}

fn aim(job: &str, pids: &[i32]) -> Call {
    Call::Aim(job.into(), pids.to_vec())
}

#[track_caller]
fn shows(ended: &Ended, text: &str) {
    ended.shows(text);
}

#[track_caller]
fn hides(ended: &Ended, text: &str) {
    ended.hides(text);
}

#[test]
fn k_and_enter_end_the_culprit_root_first() {
    let ended = play().sees(outage()).types("k<enter>").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713]), Call::Order(Action::End(Signal::Terminate))]);
    shows(&ended, "sending SIGTERM to nightly.sh: 3 processes");
}

#[test]
fn keys_typed_at_once_work_in_their_order() {
    let ended = play().sees(outage()).types("k<down><enter>q").ends_at_once();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713]), Call::Order(Action::End(Signal::Interrupt))]);
}

#[test]
fn the_root_comes_first_wherever_it_stands() {
    let mut scene = outage();
    facts(&mut scene.jobs[0]).members.rotate_left(1);
    let ended = play().sees(scene).types("k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
}

#[test]
fn a_process_that_cannot_be_looked_at_is_not_aimed_at() {
    let mut scene = outage();
    scene.gaps.push(Gap::Shunned { pids: vec![4712] });
    let ended = play().sees(scene).types("k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4713])]);
}

#[test]
fn k_alone_sends_nothing_and_esc_lets_go() {
    let ended = play().sees(outage()).types("k<esc>").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713]), Call::Release]);
    shows(&ended, "CO-LOCATED BACKUP DETECTED");
    hides(&ended, "SIGTERM");
}

#[test]
fn capital_k_proposes_sigkill() {
    let ended = play().sees(outage()).types("K<enter>").ends();
    assert_eq!(ended.calls.last(), Some(&Call::Order(Action::End(Signal::Kill))));
}

#[test]
fn the_arrows_choose_the_action() {
    for (keys, action) in [
        ("k<enter>", Action::End(Signal::Terminate)),
        ("k<down><enter>", Action::End(Signal::Interrupt)),
        ("k<down><down><up><enter>", Action::End(Signal::Interrupt)),
        ("k<down><down><down><down><down><enter>", Action::Pause),
        ("K<up><up><up><up><enter>", Action::End(Signal::Terminate)),
    ] {
        let ended = play().sees(outage()).types(keys).ends();
        assert_eq!(ended.calls.last(), Some(&Call::Order(action)), "{keys}");
    }
}

#[test]
fn a_selected_job_is_what_k_means() {
    let ended = play().sees(outage()).types("<down><down><down>k").ends();
    assert_eq!(ended.calls, [aim("postgresql", &[801, 811])]);
    shows(&ended, "End postgresql");
}

#[test]
fn the_first_press_of_an_arrow_selects_the_first_row() {
    let ended = play().sees(outage()).types("<down>k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
    let ended = play().sees(outage()).types("<tab>k").ends();
    assert_eq!(ended.calls.len(), 1);
    shows(&ended, "End site-worker");
}

#[test]
fn esc_takes_the_selection_back() {
    let ended = play().sees(outage()).types("<down><down><esc>k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
}

#[test]
fn sorting_does_not_move_the_selection() {
    // In the outage postgresql is third; when it takes the most, and the jobs come in another order, it is second.
    let mut sorted = outage();
    sorted.jobs.reverse();
    for job in &mut sorted.jobs {
        if job.facts.id == database_id() {
            job.share.disk = Some(0.99);
        }
    }
    let ended = play().sees(outage()).types("<down><down><down>").sees(sorted.clone()).types("k").ends();
    assert_eq!(ended.calls, [aim("postgresql", &[801, 811])]);
    // And the next step starts from where the job is now.
    let ended = play().sees(outage()).types("<down><down><down>").sees(sorted).types("<up>k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
}

#[test]
fn k_on_a_job_that_ended_hits_nobody_else() {
    let mut without = outage();
    without.jobs.retain(|job| job.facts.id != database_id());
    let ended = play().sees(outage()).types("<down><down><down>").sees(without).types("k<enter>").ends();
    assert_eq!(ended.calls, []);
    // The Enter that followed only opens the suspect's evidence.
    shows(&ended, "EVIDENCE");
    let mut without = outage();
    without.jobs.retain(|job| job.facts.id != database_id());
    let ended = play().sees(outage()).types("<down><down><down>").sees(without).types("k").ends();
    shows(&ended, "postgresql has ended");
}

#[test]
fn the_dialog_is_frozen_while_answers_arrive() {
    let before = play().sees(outage()).types("k").ends();
    let mut more = outage();
    facts(&mut more.jobs[0]).members.push(process(4999, 4711, "xz", "xz -9 newcomer", "root"));
    let later = play().sees(outage()).types("k").sees(more.clone()).sees(cpu_backup()).sees(more).ends();
    hides(&later, "newcomer");
    let dialog = |ended: &Ended| -> Vec<String> {
        ended.screen.lines().filter_map(|line| Some(line[line.find('│')?..].to_owned())).collect()
    };
    assert_eq!(dialog(&before), dialog(&later));
    assert_eq!(later.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
}

#[test]
fn a_job_that_cannot_be_reached_gets_nothing() {
    let ended = play().refusing_all(Refusal::NotPermitted).sees(outage()).types("k<enter>").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
    shows(&ended, "you lack the rights to act");
    shows(&ended, "sudo kill -TERM 4711 4712 4713");
    shows(&ended, "nothing done: nightly.sh 4711 belongs to another user");
}

#[test]
fn the_line_for_root_names_the_chosen_signal() {
    let ended = play().refusing_all(Refusal::NotPermitted).sees(outage()).types("K").ends();
    shows(&ended, "sudo kill -KILL 4711 4712 4713");
}

#[test]
fn who_is_not_hit_is_named_with_the_reason() {
    let ended = play().refusing(4711, Refusal::Ancestor).sees(outage()).types("k").ends();
    shows(&ended, "2 of 3 processes would be hit, 1 not");
    shows(&ended, "is what whytop runs in");
    shows(&ended, "The archive it is writing stays behind");
}

#[test]
fn a_dialog_that_cannot_be_read_cannot_be_confirmed() {
    let ended = Play::new(30, 8).sees(outage()).types("k<enter>").ends();
    assert!(!ended.calls.contains(&Call::Order(Action::End(Signal::Terminate))), "{:?}", ended.calls);
}

#[test]
fn kernel_threads_take_no_signals() {
    let id = JobId::kernel("writeback");
    let ended = play().sees(around(vec![job(&id, "kernel writeback", Kind::Kernel, vec![])])).types("<down>k").ends();
    assert_eq!(ended.calls, []);
    shows(&ended, "kernel threads take no signals");
}

#[test]
fn k_on_a_calm_host_ends_nobody() {
    let ended = play().sees(calm()).types("k<enter>").ends();
    assert_eq!(ended.calls, []);
    shows(&play().sees(calm()).types("k").ends(), "select a job first");
}

/// Two signals under way: the first answer is the first job's, whatever was done since.
#[test]
fn outcomes_belong_to_the_signals_in_their_order() {
    let ended = play()
        .sees(outage())
        .types("k<enter><down><down><down>k<enter>postgresql<enter>")
        .hears(outcome(Signal::Terminate, 1, &JOB))
        .sees(after(13, 30, &[4712]))
        .types("K")
        .ends();
    let aims: Vec<&Call> = ended.calls.iter().filter(|call| matches!(call, Call::Aim(..))).collect();
    assert_eq!(aims, [&aim("nightly.sh", &[4711, 4712, 4713]), &aim("postgresql", &[801, 811]), &aim("nightly.sh", &[4712])]);
}

#[test]
fn k_before_the_first_answer_does_nothing() {
    let ended = play().then(Event::Tick(at(0))).types("k<enter><down><tab><pgdn>").ends();
    assert_eq!(ended.calls, []);
    shows(&ended, "measuring…");
}

#[test]
fn the_detail_screen_acts_on_its_own_job() {
    let ended = play().sees(outage()).types("<down><down><down><enter>").sees(outage()).types("k<esc>").ends();
    assert_eq!(ended.calls, [aim("postgresql", &[801, 811]), Call::Release]);
    shows(&ended, "postgresql: service, victim");
}

#[test]
fn the_outcome_is_a_visible_line() {
    let hits = vec![
        Hit { id: process(4711, 1, "", "", "").id, name: "nightly.sh".into(), result: Ok(()) },
        Hit { id: process(4712, 1, "", "", "").id, name: "tar".into(), result: Err(Refusal::NotPermitted) },
    ];
    let outcome = |by_root| Outcome { hits: hits.clone(), by_root, ..outcome(Signal::Terminate, 1, &[]) };
    let ended = play().sees(outage()).types("k<enter>").hears(outcome(false)).ends();
    shows(&ended, "SIGTERM sent to nightly.sh: 1 process (nightly.sh 4711); tar 4712 belongs to another user");
    assert!(outcome(false).to_string().ends_with("belongs to another user: sudo whytop reaches it"));
    // Whoever is root already is not helped by more of it.
    assert!(outcome(true).to_string().ends_with("belongs to another user"));
    let told = |by_root| play().sees(outage()).types("k<enter>").hears(outcome(by_root)).ends();
    shows(&told(false), "another user: sudo");
    hides(&told(true), "another user: sudo");
}

#[test]
fn a_message_goes_after_a_while_or_with_a_key() {
    let line = "SIGTERM sent to nightly.sh: 3 processes";
    let told = || play().sees(calm()).hears(outcome(Signal::Terminate, 0, &JOB));
    shows(&told().then(Event::Tick(at(19))).ends(), line);
    hides(&told().then(Event::Tick(at(20))).ends(), line);
    hides(&told().types("<down>").ends(), line);
}

#[test]
fn the_recovery_reaches_recovered() {
    let acted = || play().sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB));
    let ended = acted().sees(after(4, 21, &[4712])).ends();
    shows(&ended, "RECOVERING");
    shows(&ended, "stuck tasks 38 → 21");
    shows(&ended, "tar 4712 still runs");
    shows(&ended, "40.1 → 40.1; the average will read 29");
    let ended = acted().sees(after(7, 6, &[])).sees(after(9, 3, &[])).ends();
    shows(&ended, "RECOVERED after 8 s");
    shows(&ended, "stuck tasks 38 → 3");
    hides(&ended, "CO-LOCATED");
}

#[test]
fn a_second_k_out_of_habit_does_not_end_the_site() {
    let ended = play()
        .sees(outage())
        .types("k<enter>")
        .hears(outcome(Signal::Terminate, 1, &JOB))
        .sees(after(7, 6, &[]))
        .types("k<enter>")
        .ends();
    assert_eq!(ended.calls.len(), 2, "{:?}", ended.calls);
}

#[test]
fn esc_dismisses_the_recovery() {
    let acted = play().sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(4, 21, &[4712]));
    let ended = acted.types("<esc>").ends();
    hides(&ended, "RECOVERING");
    shows(&ended, "CO-LOCATED BACKUP DETECTED");
}

#[test]
fn what_outlives_its_signal_gets_sigkill_with_two_keys() {
    let acted =
        play().sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(12, 36, &[4711, 4712]));
    let ended = acted.types("K<enter>").ends();
    assert_eq!(ended.calls[2..], [aim("nightly.sh", &[4711, 4712]), Call::Order(Action::End(Signal::Kill))]);
}

#[test]
fn the_screen_says_that_a_job_outlived_its_signal() {
    let ended =
        play().sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(12, 36, &[4712])).ends();
    shows(&ended, "tar still runs after 11 s: press K to send SIGKILL");
}

#[test]
fn survivors_are_hit_under_whatever_name_they_have_now() {
    // The script died of SIGTERM, tar did not: it is a job of its own by now, and nobody's suspect.
    let mut orphaned = after(12, 36, &[4712]);
    for job in &mut orphaned.jobs {
        if job.facts.id == nightly_id() {
            facts(job).id = JobId::tree(process(4712, 1, "", "", "").id);
            facts(job).name = "tar".into();
            facts(job).root = None;
        }
    }
    orphaned.verdict.worst.culprit = Some(site_id());
    let ended = play()
        .sees(outage())
        .types("k<enter>")
        .hears(outcome(Signal::Terminate, 1, &JOB))
        .sees(orphaned)
        .types("K<enter>")
        .ends();
    assert_eq!(ended.calls[2..], [aim("nightly.sh", &[4712]), Call::Order(Action::End(Signal::Kill))]);
}

#[test]
fn a_second_signal_is_measured_against_the_outage() {
    let ended = play()
        .sees(outage())
        .types("k<enter>")
        .hears(outcome(Signal::Terminate, 1, &JOB))
        .sees(after(12, 20, &[4711, 4712]))
        .types("K<enter>")
        .hears(Outcome { ticket: 2, ..outcome(Signal::Kill, 13, &JOB[..2]) })
        .sees(after(15, 2, &[]))
        .ends();
    shows(&ended, "stuck tasks 38 → 2");
}

#[test]
fn q_and_control_c_quit_from_everywhere() {
    for open in ["", "<enter>", "?", "k"] {
        for quit in ["q", "<ctrl-c>"] {
            let ended = play().sees(outage()).types(open).types(quit).types("k").ends();
            assert_eq!(ended.left, 1, "{open}{quit} did not end the loop");
            let held = ended.calls.iter().any(|call| matches!(call, Call::Aim(..)));
            assert_eq!(held, ended.calls.contains(&Call::Release), "what is held is let go: {:?}", ended.calls);
        }
    }
}

#[test]
fn a_signal_to_whytop_ends_it() {
    let ended = play().sees(outage()).types("k").then(Event::Quit).types("<enter>").ends();
    assert_eq!(ended.left, 1);
    assert_eq!(ended.calls.last(), Some(&Call::Release));
}

#[test]
fn suspending_draws_everything_again() {
    let whole = play().sees(outage()).ends();
    for suspend in [play().sees(outage()).types("<ctrl-z>"), play().sees(outage()).then(Event::Suspend)] {
        let ended = suspend.ends();
        assert_eq!(ended.calls, [Call::Suspend]);
        assert_eq!(ended.screen, whole.screen);
    }
}

#[test]
fn an_unchanged_screen_is_not_drawn_again() {
    let drawn = |play: Play| play.ends().frames;
    let idle = drawn(play().sees(outage()).then(Event::Tick(at(1))));
    // A second tick within the same second, and keys that are bound to nothing.
    assert_eq!(drawn(play().sees(outage()).then(Event::Tick(at(1))).then(Event::Tick(at(1))).types("xyz")), idle);
    assert_eq!(drawn(play().sees(outage()).then(Event::Tick(at(1))).then(Event::Tick(at(2)))), idle + 1);
}

#[test]
fn held_keys_do_not_lag() {
    let scene = Arc::new(crowd(5000));
    let keys = "<down>".repeat(200);
    let ended = play().sees_shared(&scene).types(&keys).ends_at_once();
    assert!(ended.frames <= 3, "{} frames for 200 keys that were all there", ended.frames);
    let stepwise = play().sees_shared(&scene).types(&keys).ends();
    assert_eq!(ended.screen, stepwise.screen);
}

#[test]
fn a_flood_of_events_is_taken_in_whole() {
    let scene = Arc::new(crowd(2000));
    let ended = play().sees_shared(&scene).types(&"<down>".repeat(1001)).types("k").ends_at_once();
    assert_eq!(ended.calls.len(), 1);
    let stepwise = play()
        .sees_shared(&scene)
        .types("<down>")
        .types(&"<pgdn>".repeat(0))
        .types(&"<down>".repeat(1000))
        .types("k")
        .ends_at_once();
    assert_eq!(ended.calls, stepwise.calls);
}

#[test]
fn stopped_samples_are_said() {
    let ended = play().sees(calm()).then(Event::LookFailed("open /proc/stat: gone".into())).ends();
    shows(&ended, "no new samples: open /proc/stat: gone");
}

#[test]
fn an_old_verdict_is_not_shown_as_if_it_were_new() {
    let silent = |seconds| play().sees(outage()).then(Event::Tick(at(seconds))).ends();
    hides(&silent(4), "no look for");
    shows(&silent(12), "no look for 12 s");
}

/// The answer of a site that is well.
const fn reply(status: u16, seconds: f64) -> Reply {
    Reply { status, seconds }
}

#[test]
fn the_site_stands_beside_the_load() {
    let probed = || play().probing("http://localhost/").sees(outage());
    shows(&probed().ends(), "SITE asked…");
    let good = || probed().site_answers(0, Ok(reply(200, 0.038)));
    shows(&good().ends(), "SITE 200 in 38 ms");
    let silent = good().then(Event::Site(News::Asked(at(2)))).then(Event::Tick(at(14))).ends();
    shows(&silent, "SITE no answer for 12 s");
    shows(&silent, "http://localhost/  no answer for 12 s, since 14:27:33; before: 200 in 38 ms");
    shows(&good().site_answers(2, Ok(reply(503, 0.01))).then(Event::Tick(at(9))).ends(), "SITE 503 for 7 s");
    shows(&good().site_answers(2, Err(Failure::Refused)).then(Event::Tick(at(9))).ends(), "SITE connection refused for 7 s");
    hides(&play().sees(outage()).ends(), "SITE");
}

#[test]
fn the_recovery_names_the_site_with_its_numbers() {
    let acted = || {
        play()
            .probing("http://localhost/")
            .sees(outage())
            .site_answers(-40, Err(Failure::NoAnswer))
            .types("k<enter>")
            .hears(outcome(Signal::Terminate, 1, &JOB))
    };
    let tasks_only = acted().sees(after(7, 6, &[])).sees(after(9, 3, &[]));
    shows(&tasks_only.ends(), "TASKS RECOVERED after 8 s, the site has not yet");
    let all = acted().sees(after(7, 6, &[])).sees(after(9, 3, &[])).site_answers(10, Ok(reply(200, 0.038))).ends();
    shows(&all, "RECOVERED after 9 s");
    shows(&all, "the site answers again: 200 in 38 ms; before: no answer for 40 s");
    shows(&all, "40.1 → 40.1");
    shows(&all, "site-worker 38 → 3, postgresql 0.7 → 0");
}

#[test]
fn an_order_carries_what_was_known() {
    let probed = play().probing("http://localhost/").sees(outage()).site_answers(-40, Err(Failure::NoAnswer));
    let ended = probed.types("k<enter>").ends();
    assert_eq!(ended.grounds.len(), 1);
    let grounds = &ended.grounds[0];
    assert_eq!(grounds.job, nightly_id().to_string());
    assert_eq!((grounds.load1, grounds.kind, grounds.site.as_deref()), (Some(40.12), Some("backup"), Some("no answer for 40 s")));
}

#[test]
fn who_may_only_look_cannot_act_and_is_not_told_how() {
    for script in ["", "k<enter>", "K<enter>", "<down>k<enter>", "<enter>k<enter>", "?"] {
        let ended = play().read_only().sees(outage()).types(script).ends();
        assert_eq!(ended.calls, [], "{script}");
        shows(&ended, "read-only");
        hides(&ended, "k end");
        hides(&ended, "acts on processes");
    }
}

#[test]
fn a_trace_that_is_not_written_is_told_until_it_is() {
    let untraced = || play().sees(outage()).then(Event::Trace(Some("the trace is not written yet".into())));
    let acted = || untraced().hears(outcome(Signal::Terminate, 0, &JOB));
    shows(&acted().ends(), "the trace is not written yet");
    shows(&acted().ends(), "SIGTERM sent to nightly.sh");
    shows(&untraced().types("<down>").ends(), "the trace is not written yet");
    hides(&untraced().then(Event::Trace(None)).ends(), "the trace is not written yet");
}

#[test]
fn batch_work_is_called_by_its_name_and_has_the_same_keys() {
    let mut scene = outage();
    let finding = &mut facts(&mut scene.jobs[0]).finding;
    (finding.kind, finding.work, finding.tool) = (Kind::Batch, Some("virus scan".into()), Some("clamscan".into()));
    shows(&play().sees(scene.clone()).ends(), "CO-LOCATED VIRUS SCAN DETECTED: IT TAKES THE DISK");
    shows(&play().sees(scene.clone()).types("<enter>").ends(), "nightly.sh: virus scan (clamscan), culprit");
    let ended = play().sees(scene).types("k").ends();
    assert_eq!(ended.calls, [aim("nightly.sh", &[4711, 4712, 4713])]);
}

#[test]
fn the_dialog_says_what_to_heed_before_the_key() {
    let mut scene = outage();
    (scene.jobs[0].age, scene.jobs[0].usual) = (Some(130.0), Some(Usual { runs: 3, seconds: 680.0 }));
    let advice = &mut facts(&mut scene.jobs[0]).finding.advice;
    advice.consequence = Some("It leaves a stale lock.".into());
    advice.cleanup = Some("restic unlock".into());
    advice.better_signal = Some("SIGINT".into());
    advice.holds = Some("A lock in the repository.".into());
    let ended = play().sees(scene.clone()).types("k").ends();
    shows(&ended, "It has run for 2 m 10 s; 3 earlier runs here ended after 11 m 20 s: it would end by itself in about 9 m");
    shows(&ended, "It leaves a stale lock. Clean up: restic unlock. It takes SIGINT best.");
    // As long as it is not known when it would end: how long it has run.
    let mut first = scene.clone();
    first.jobs[0].usual = None;
    shows(&play().sees(first.clone()).types("k").ends(), "It has run for 2 m 10 s.");
    shows(&play().sees(first).types("<enter>").ends(), "it has run for 2 m 10 s");
    let detail = play().sees(scene).types("<enter>").ends();
    for text in ["restic unlock", "A lock in the repository.", "it has run for 2 m 10 s"] {
        shows(&detail, text);
    }
}
