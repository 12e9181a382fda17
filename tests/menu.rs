//! The actions on the screen: the menu, what has to be typed, proof by pause, what stands and what has not landed. On the real loop with a
//! world that records what it is asked.

mod common;

use common::diagnosis::{after, amber, at, calm, nightly_id, outage, process, site_id};
use common::stage::{Call, Ended, Play, outcome};
use whytop::action::{
    Action, Deed, Hit, Landing, Offer, Offers, Outcome, PROOF_SECONDS, Refusal, Remaining, Report, Signal, Standing, Still,
};
use whytop::analysis::diagnosis::{Diagnosis, JobId, Resource, Severity};
use whytop::site::{Failure, Reply};
use whytop::ui::event::Event;
use whytop::ui::theme::Depth;
use whytop::units::ProcessId;

const JOB: [(i32, &str); 3] = [(4711, "nightly.sh"), (4712, "tar"), (4713, "gzip")];
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 15)];
const PROVE: Action = Action::Prove { seconds: PROOF_SECONDS };

fn play() -> Play {
    Play::new(110, 32)
}

/// Compares the last screen of a play with its snapshot, at each size.
fn check(name: &str, play: impl Fn(Play) -> Play) {
    for (width, height) in SIZES {
        let ended = play(Play::new(width, height)).ends();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), ended.screen);
        });
    }
}

fn did(action: Action, seconds: i64) -> Outcome {
    Outcome { action, ..outcome(Signal::Terminate, seconds, &JOB) }
}

fn member(pid: i32) -> ProcessId {
    process(pid, 1, "", "", "").id
}

/// A pause of the nightly job, by an earlier whytop.
fn paused() -> Standing {
    let processes = JOB.iter().map(|(pid, name)| (member(*pid), (*name).to_owned())).collect();
    Standing {
        job: nightly_id().to_string(),
        name: "nightly.sh".into(),
        deed: Deed::Paused,
        since: at(-432),
        by: "root".into(),
        processes,
    }
}

fn ordered(ended: &Ended) -> Vec<Action> {
    ended.orders.iter().map(|order| order.action.clone()).collect()
}

#[test]
fn every_action_is_in_the_menu_with_its_key_and_what_it_does_here() {
    let ended = play().sees(outage()).types("m").ends();
    for row in [
        "(•) k SIGTERM",
        "( ) K SIGKILL",
        "( ) p prove, 10 s   stops 3 processes for so long and compares who waits",
        "( ) P pause",
        "–  r resume        it is not paused",
        "( ) d deprioritise  niceness 19",
        "–  u undo",
        "–  t thaw          no filesystem is frozen",
        "–  s stop unit     systemd does not run here: end the job instead",
    ] {
        ended.shows(row);
    }
    assert_eq!(ended.orders, []);
}

#[test]
fn a_key_chooses_its_action_on_the_overview_and_in_the_menu() {
    for (key, action) in [
        ("k", Action::End(Signal::Terminate)),
        ("K", Action::End(Signal::Kill)),
        ("p", PROVE),
        ("P", Action::Pause),
        ("d", Action::Deprioritise),
    ] {
        for script in [format!("{key}<enter>"), format!("m{key}<enter>"), format!("<enter>{key}<enter>")] {
            assert_eq!(ordered(&play().sees(outage()).types(&script).ends()), std::slice::from_ref(&action), "{script}");
        }
    }
}

#[test]
fn what_cannot_work_here_is_not_done_and_says_why() {
    let ended = play().sees(outage()).types("t<enter>").ends();
    assert_eq!(ended.orders, []);
    ended.shows("nothing done: no filesystem is frozen, as far as anybody waits for one");
    ended.shows("leaves; this cannot be done here");
    let ended = play().refusing_all(Refusal::NotPermitted).sees(outage()).types("d<enter>").ends();
    assert_eq!(ended.orders, []);
    ended.shows("nothing done: nightly.sh 4711 belongs to another user");
}

#[test]
fn what_to_beware_of_stands_below_the_chosen_action() {
    play().sees(outage()).types("p").ends().shows("Locks and connections that it has stay held");
    play().sees(outage()).types("d").ends().shows("sda has the scheduler none: the I/O class has no effect there");
    play().sees(outage()).types("k").ends().shows("The archive it is writing stays behind");
}

#[test]
fn single_processes_can_be_picked() {
    let ended = play().sees(outage()).types("k<tab><down> <enter>").ends();
    assert_eq!(ended.orders[0].only, Some(vec![member(4712)]));
    let picked = play().sees(outage()).types("k<tab><down> ").ends();
    picked.shows("1 of 3 processes picked: nobody else is hit");
    picked.shows("sends SIGTERM to 1 process ");
    let both = play().sees(outage()).types("k<tab><down> <down> <enter>").ends();
    assert_eq!(both.orders[0].only, Some(vec![member(4712), member(4713)]));
    // None picked again is the whole job, with whoever is born into it.
    let none = play().sees(outage()).types("k<tab>  <enter>").ends();
    assert_eq!(none.orders[0].only, None, "{:?}", none.orders);
}

#[test]
fn a_process_that_cannot_be_reached_cannot_be_picked() {
    let ended = play().refusing(4711, Refusal::Ancestor).sees(outage()).types("k<tab> <enter>").ends();
    assert_eq!(ended.orders[0].only, None);
}

#[test]
fn a_long_job_scrolls_with_the_cursor() {
    let ended = Play::new(80, 24).sees(outage()).types("<tab>k<tab><end> ").ends();
    ended.shows("41 of 41");
    ended.shows("› ● ");
}

#[test]
fn a_victim_has_to_be_named_before_it_is_ended() {
    let opened = || play().sees(outage()).types("<tab>k<enter>");
    let asked = opened().ends();
    assert_eq!(asked.orders, []);
    asked.shows("site-worker is one of those that wait, not the cause.");
    asked.shows("Type site-worker to do it all the same: it sends SIGTERM to 41 processes");
    // A second Enter, a wrong word, and keys that mean something elsewhere.
    for wrong in ["<enter>", "site<enter>", "q<enter>", "kKpd<enter>"] {
        let ended = opened().types(wrong).ends();
        assert_eq!((ended.orders.len(), ended.left), (0, 0), "{wrong}");
        ended.shows("nothing done: that is not site-worker");
    }
    let ended = opened().types("site-worker<enter>").ends();
    assert_eq!(ended.orders.len(), 1);
    assert_eq!(ended.orders[0].confirmed.as_deref(), Some("site-worker"));
    opened().types("site-worker").ends().shows("Enter does it");
}

#[test]
fn esc_leaves_the_word_first_and_the_menu_then_and_control_c_everything() {
    let opened = || play().sees(outage()).types("<tab>k<enter>sit");
    let back = opened().types("<esc>").ends();
    back.shows("( ) K SIGKILL");
    assert!(!back.calls.contains(&Call::Release), "still held");
    assert_eq!(opened().types("<esc><esc>").ends().calls.last(), Some(&Call::Release));
    let quit = opened().types("<ctrl-c>k").ends();
    assert_eq!((quit.left, quit.calls.last()), (1, Some(&Call::Release)));
}

#[test]
fn slowing_a_victim_needs_no_word() {
    let ended = play().sees(outage()).types("<tab>d<enter>").ends();
    assert_eq!(ordered(&ended), [Action::Deprioritise]);
}

/// Two actions, one of which cannot work.
fn few(job: &str) -> Offers {
    let offer = |action, why_not: Option<&str>| Offer {
        action,
        does: "does it".into(),
        why_not: why_not.map(str::to_owned),
        beware: vec!["cron starts it again at 03:00.".into()],
    };
    let offers = vec![offer(Action::End(Signal::Terminate), None), offer(Action::Pause, Some("it holds a freeze"))];
    Offers { job: job.into(), offers, confirmation: None, complete: true }
}

#[test]
fn what_is_found_out_later_gets_into_the_open_menu() {
    let told = |job: &str| play().sees(outage()).types("k").reports(Report::Offers(few(job))).ends();
    let ended = told(nightly_id().as_str());
    ended.shows("cron starts it");
    ended.shows("it holds a freeze");
    told(site_id().as_str()).hides("cron starts it");
    // The chosen one is not offered any more.
    let ended = play().sees(outage()).types("d").reports(Report::Offers(few(nightly_id().as_str()))).types("<enter>").ends();
    assert_eq!(ordered(&ended), [Action::End(Signal::Terminate)]);
}

/// The nightly job stands still: whoever waited before, so many wait after so many seconds.
fn still(seconds: i64, waiting: u32) -> Diagnosis {
    let mut scene = after(seconds, waiting, &[4711, 4712, 4713]);
    scene.verdict.worst.culprit = None;
    scene.verdict.backup = None;
    scene
}

/// A proof that has run its course.
fn proof(play: Play, waiting: u32) -> Play {
    let seen = play.sees(outage()).types("p<enter>").hears(did(PROVE, 1));
    let during = seen.sees(still(3, waiting)).sees(still(6, waiting)).sees(still(8, waiting)).sees(still(10, waiting));
    during.hears(did(Action::Resume, 11)).then(Event::Tick(at(12)))
}

#[test]
fn a_proof_counts_down_and_says_what_it_has_shown() {
    let running = || play().sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(3, 20));
    let early = running().ends();
    early.shows("PROOF BY PAUSE: nightly.sh stands still, 8 s to go");
    early.shows("too early to tell");
    let later = running().sees(still(6, 2)).ends();
    later.shows("PROOF BY PAUSE: nightly.sh stands still, 5 s to go");
    later.shows("waiting tasks 38 → 2");
    later.shows("while nightly.sh stood still: it is the cause");
    let ended = proof(play(), 2).ends();
    ended.shows("PROVEN: nightly.sh is the cause");
    ended.shows("waiting tasks 38 → 2 while nightly.sh stood still: it is the cause");
    ended.shows("it goes on since 1 s");
    proof(play(), 37).ends().shows("NOT PROVEN: nightly.sh is not the cause");
    proof(play(), 20).ends().shows("PROVEN: nightly.sh is a part of the cause");
}

#[test]
fn a_proof_of_picked_processes_acquits_nobody() {
    let seen = play().sees(outage()).types("p<tab> <enter>").hears(did(PROVE, 1));
    let ended = seen.sees(still(6, 37)).sees(still(8, 37)).ends();
    ended.shows("PROOF BY PAUSE: a part of nightly.sh stands still");
    ended.shows("only a part of it stood still, and others went on waiting");
    ended.hides("not the cause");
}

#[test]
fn the_time_of_a_proof_is_chosen_within_its_bounds() {
    for (keys, seconds) in [
        ("p<right><enter>", 15),
        ("p<left><enter>", 6),
        ("p<left><left><enter>", 6),
        ("p<right><right><right><right><right><right><right><enter>", 60),
        ("p<right><left><enter>", 10),
        // It stays while another action is looked at, which has no time to change.
        ("p<right>k<right>p<enter>", 15),
        ("p<right><up><down><enter>", 15),
        // Whoever types a word changes nothing.
        ("<tab>p<right><enter><right>site-worker<enter>", 15),
    ] {
        let ended = play().sees(outage()).types(keys).ends();
        assert_eq!(ordered(&ended), [Action::Prove { seconds }], "{keys}");
        ended.shows(&format!("for {seconds} s"));
    }
    let chosen = play().sees(outage()).types("p<right><right>").ends();
    chosen.shows("(•) p prove, 20 s   stops 3 processes for so long");
    chosen.shows("Enter pauses 3 processes for 20 s");
    chosen.shows("← → time");
    play().sees(outage()).types("k").ends().hides("← → time");
    // What is found out meanwhile keeps it.
    let subject = whytop::subject::of(&outage(), &nightly_id(), "nightly.sh", &[]);
    let found = Report::Offers(common::stage::offers(&subject, &[]));
    let ended = play().sees(outage()).types("p<right>").reports(found).types("<enter>").ends();
    assert_eq!(ordered(&ended), [Action::Prove { seconds: 15 }]);
}

#[test]
fn what_a_pause_has_shown_is_written_down_however_it_ends() {
    let cause = "1: waiting tasks 38 → 2 while nightly.sh stood still: it is the cause";
    assert_eq!(proof(play(), 2).ends().proven, [cause]);
    let running = || play().sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(6, 2));
    assert_eq!(running().ends().proven, [""; 0], "not before its end");
    // Ended, with the pause cut short by it; and left.
    let killed = Outcome { ticket: 2, ..outcome(Signal::Terminate, 7, &JOB) };
    let ended = running().types("k<enter>").hears(killed).hears(did(Action::Resume, 7)).ends();
    assert_eq!(ended.proven, [cause]);
    assert_eq!(running().types("q").ends().proven, [cause]);
    assert_eq!(proof(play(), 2).types("q").ends().proven, [cause], "once");
}

#[test]
fn what_was_proven_is_ended_with_two_keys() {
    let ended = proof(play(), 2).types("k<enter>").ends();
    assert_eq!(ordered(&ended), [PROVE, Action::End(Signal::Terminate)]);
    let during = play().sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(6, 2)).types("k<enter>").ends();
    assert_eq!(ordered(&during), [PROVE, Action::End(Signal::Terminate)]);
}

#[test]
fn a_proof_is_cut_short_with_one_key_and_not_lost_by_esc() {
    let running = || play().sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(3, 20));
    assert_eq!(ordered(&running().types("r").ends()), [PROVE, Action::Resume]);
    assert_eq!(ordered(&running().types("u").ends()), [PROVE, Action::Resume]);
    let ended = running().types("<esc>").ends();
    ended.shows("PROOF BY PAUSE");
    ended.shows("r lets it go on now");
    proof(play(), 2).types("<esc>").ends().hides("PROVEN");
}

#[test]
fn the_site_under_probe_is_part_of_the_proof() {
    let probed = |play: Play| play.probing("http://localhost/").sees(outage()).site_answers(-40, Err(Failure::NoAnswer));
    let ended = probed(play())
        .types("p<enter>")
        .hears(did(PROVE, 1))
        .sees(still(6, 2))
        .site_answers(7, Ok(Reply { status: 200, seconds: 0.04 }))
        .hears(did(Action::Resume, 11))
        .site_answers(12, Err(Failure::NoAnswer))
        .ends();
    ended.shows("no answer for 40 s → 200 in 40 ms while it stood still");
}

#[test]
fn a_paused_job_is_shown_until_it_runs_again() {
    let stands = || play().sees(calm()).reports(Report::Standing(vec![paused()]));
    let ended = stands().then(Event::Tick(at(1))).ends();
    ended.shows("PAUSED  nightly.sh since 14:20:19 (7 m 13 s) by root: 3 processes   r lets it go on");
    stands().reports(Report::Standing(vec![])).ends().hides("PAUSED");
    // At once, though it is in no list and nobody's suspect; who was aimed at is who was paused.
    let ended = stands().types("r").ends();
    assert_eq!(ended.calls, [Call::Aim("nightly.sh".into(), vec![4711, 4712, 4713]), Call::Order(Action::Resume)]);
    assert_eq!(ordered(&stands().types("u").ends()), [Action::Undo]);
    let ended = play().sees(outage()).reports(Report::Standing(vec![paused()])).ends();
    ended.shows("‖nightly.sh");
}

#[test]
fn undo_is_for_the_selected_job_or_for_what_was_done_last() {
    let slowed = Standing {
        job: site_id().to_string(),
        name: "site-worker".into(),
        deed: Deed::Deprioritised,
        since: at(-3),
        by: "ann".into(),
        processes: vec![(member(1201), "site-worker".into())],
    };
    let stands = || play().sees(outage()).reports(Report::Standing(vec![paused(), slowed.clone()]));
    stands().ends().shows("SLOWED  site-worker since 14:27:28");
    let name = |ended: &Ended| match &ended.calls[0] {
        Call::Aim(name, _) => name.clone(),
        other => format!("{other:?}"),
    };
    assert_eq!(name(&stands().types("u").ends()), "site-worker");
    assert_eq!(name(&stands().types("<down>u").ends()), "nightly.sh");
    assert_eq!(name(&stands().types("r").ends()), "nightly.sh", "the other one is not paused");
}

#[test]
fn with_nothing_to_put_back_nothing_is_done() {
    for (key, says) in [("r", "nothing is paused"), ("u", "there is nothing to undo")] {
        let ended = play().sees(calm()).types(key).ends();
        assert_eq!(ended.calls, []);
        ended.shows(says);
    }
    // Somebody else may have stopped the suspect: the menu knows.
    let ended = play().sees(outage()).types("r").ends();
    assert_eq!(ended.orders, []);
    ended.shows("(–) r resume");
}

#[test]
fn a_pause_and_a_slowed_job_are_watched_and_undone() {
    let slowed =
        || play().sees(outage()).types("d<enter>").hears(did(Action::Deprioritise, 1)).sees(after(6, 4, &[4711, 4712, 4713]));
    let ended = slowed().ends();
    ended.shows("RECOVERING");
    ended.shows("it goes behind everybody else; u puts it back");
    slowed().reports(Report::Outcome(Outcome { ticket: 9, ..did(Action::Undo, 8) })).ends().hides("RECOVERING");
    let paused = play().sees(outage()).types("P<enter>").hears(did(Action::Pause, 1)).sees(after(6, 4, &[4711, 4712, 4713]));
    paused.ends().shows("3 processes paused; r lets it go on");
}

/// Undone, and now its effect shows in numbers, until somebody stands accused of it.
#[test]
fn what_goes_on_is_watched_until_somebody_is_accused() {
    let calm = |seconds, stuck| {
        let mut scene = still(seconds, stuck);
        scene.verdict.worst.severity = Severity::Calm;
        scene
    };
    let resumed = || play().sees(calm(0, 0)).reports(Report::Outcome(Outcome { ticket: 9, ..did(Action::Resume, 1) }));
    let ended = resumed().sees(calm(4, 0)).ends();
    ended.shows("IT GOES ON since 3 s: nobody waits more than before");
    ended.shows("nightly.sh as it was before");
    let ended = resumed().sees(calm(7, 12)).ends();
    ended.shows("IT GOES ON since 6 s: others wait again");
    ended.shows("stuck tasks 0 → 12");
    resumed().sees(calm(22, 0)).ends().hides("IT GOES ON");
    let accused = resumed().sees(calm(4, 12)).sees(after(6, 30, &[4711, 4712, 4713]));
    accused.ends().hides("IT GOES ON");
    // A new outage: nothing of the last one's clock.
    let killed =
        resumed().sees(calm(7, 12)).types("k<enter>").hears(Outcome { ticket: 1, ..outcome(Signal::Terminate, 8, &JOB) });
    killed.sees(calm(12, 0)).ends().shows("stuck tasks 12 → 0");
}

/// SIGKILL was sent to the nightly job, and this is left of it.
fn left(still: Still, seconds: i64) -> Landing {
    let left = vec![Remaining { id: member(4712), name: "tar".into(), still }];
    let (id, job) = (nightly_id().to_string(), "nightly.sh".into());
    Landing { ticket: 1, at: at(seconds), sent_at: at(1), id, job, signal: Signal::Kill, left }
}

fn killed() -> Play {
    play().sees(outage()).types("K<enter>").hears(outcome(Signal::Kill, 1, &JOB)).sees(after(4, 30, &[4712]))
}

#[test]
fn a_signal_that_cannot_land_says_what_it_waits_for() {
    let mut stuck = after(41, 30, &[4712]);
    let task = &mut stuck.waits[0].examples[0];
    (task.pid, task.tid) = (4712, 4712);
    let pending = Still::Pending { tid: 4712, wchan: Some("folio_wait_bit_common".into()) };
    let ended = killed().reports(Report::Landing(left(pending.clone(), 40))).sees(stuck).ends();
    // Until now, not until somebody last saw a change.
    ended.shows("tar 4712: SIGKILL is pending for 40 s; it waits for the disk for 9.4 s");
    let hidden = killed().reports(Report::Landing(left(Still::Pending { tid: 1, wchan: None }, 5))).ends();
    hidden.shows("tar 4712: SIGKILL is pending for 4 s; it is in a system call that does not return");
    let parent = Still::Zombie { parent: member(4700), parent_name: "cron".into() };
    killed()
        .reports(Report::Landing(left(parent, 5)))
        .ends()
        .shows("tar 4712 has ended and is a zombie: its parent cron 4700 does not reap it");
}

#[test]
fn it_is_watched_until_it_is_gone_also_behind_other_screens() {
    let pending = || Still::Pending { tid: 4712, wchan: Some("folio_wait_bit_common".into()) };
    let dismissed = || killed().reports(Report::Landing(left(pending(), 5))).types("<esc>");
    dismissed()
        .ends()
        .shows("SIGKILL  1 process of nightly.sh left: tar 4712: SIGKILL is pending for 4 s; it waits for the disk");
    let gone = |before: Play| {
        let gone = before.reports(Report::Landing(Landing { left: vec![], ..left(pending(), 42) })).ends();
        gone.hides("is pending");
        gone.shows("nightly.sh is gone, 41 s after SIGKILL");
    };
    gone(dismissed());
    // The next Esc takes the line away; that it is gone is told all the same.
    dismissed().ends().shows("Esc dismiss");
    dismissed().types("<esc>").ends().hides("is pending");
    gone(dismissed().types("<esc>"));
}

#[test]
fn a_zombie_does_not_stay_on_the_screen_for_ever() {
    let parent = Still::Zombie { parent: member(4700), parent_name: "cron".into() };
    let dead = || killed().reports(Report::Landing(left(parent.clone(), 5))).types("<esc>");
    dead().sees(after(60, 0, &[])).ends().shows("tar 4712 has ended and is a zombie");
    dead().sees(after(66, 0, &[])).ends().hides("zombie");
    let stuck = Still::Pending { tid: 4712, wchan: None };
    let pending = killed().reports(Report::Landing(left(stuck, 5))).types("<esc>").sees(after(7201, 0, &[4712]));
    pending.ends().shows("SIGKILL is pending for 2 h 00 m");
}

/// Nobody is known to have frozen it, so nobody is accused; to thaw it takes no selection.
#[test]
fn a_filesystem_is_thawed_though_nobody_is_to_blame() {
    let frozen = || {
        let mut scene = after(4, 30, &[]);
        (scene.verdict.worst.resource, scene.verdict.worst.severity) = (Resource::FrozenFilesystem, Severity::Contention);
        (scene.waits[0].resource, scene.waits[0].mount) = (Some(Resource::FrozenFilesystem), Some("/srv".into()));
        scene
    };
    play().sees(frozen()).ends().shows("t thaw");
    let menu = play().sees(frozen()).types("t").ends();
    menu.shows("Thaw for site-worker");
    let none = play().sees(after(4, 30, &[])).types("t").ends();
    none.shows("no filesystem is frozen, as far as anybody waits for one");
    none.hides("t thaw");
}

#[test]
fn a_refusal_is_a_sentence() {
    let error = Some("systemd does not answer; end the job with k instead".to_owned());
    let refused = Outcome { hits: vec![], error, ..did(Action::StopUnit { unit: "nightly.service".into() }, 1) };
    let ended = play().sees(outage()).types("k<enter>").hears(refused).ends();
    ended.shows("nightly.service is not stopped: systemd does not answer; end the job with k instead");
    ended.hides("RECOVERING");
    ended.hides("NO EFFECT YET");
}

/// The main way through an outage: SIGTERM, and SIGKILL ten seconds later.
#[test]
fn what_was_said_of_the_first_signal_goes_with_the_second() {
    let ignored = || Landing { signal: Signal::Terminate, ..left(Still::Ignores, 2) };
    let killed = || {
        let first = play().sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB));
        let outlived = first.reports(Report::Landing(ignored())).sees(after(12, 36, &[4711, 4712])).types("K<enter>");
        outlived.hears(Outcome { ticket: 2, ..outcome(Signal::Kill, 13, &JOB[..2]) })
    };
    killed().ends().hides("ignores SIGTERM");
    // The earlier watch was just about to say it.
    killed().reports(Report::Landing(ignored())).ends().hides("ignores SIGTERM");
    let pending = Still::Pending { tid: 4712, wchan: None };
    let late = Landing { ticket: 2, sent_at: at(13), ..left(pending, 15) };
    killed().reports(Report::Landing(late.clone())).ends().shows("tar 4712: SIGKILL is pending for 2 s");
    let gone = Landing { left: Vec::new(), at: at(16), ..late.clone() };
    let ended = killed().reports(Report::Landing(late)).reports(Report::Landing(gone)).sees(after(17, 2, &[])).types("<esc>");
    ended.ends().hides("tar 4712");
}

#[test]
fn a_signal_that_hit_nobody_takes_nothing_back() {
    let denied = Hit { id: member(4712), name: "tar".into(), result: Err(Refusal::NotPermitted) };
    let refused = Outcome { ticket: 2, hits: vec![denied], ..outcome(Signal::Kill, 13, &[]) };
    let first = killed().reports(Report::Landing(left(Still::Runs, 5))).types("<esc>K<enter>");
    first.hears(refused).ends().shows("tar 4712 is on its way out");
}

/// The same name, of another user.
fn namesake(action: Action, seconds: i64) -> Outcome {
    let id = JobId::tree(member(6001)).to_string();
    Outcome { ticket: 9, id, ..did(action, seconds) }
}

#[test]
fn what_becomes_of_a_namesake_is_not_taken_for_this_job() {
    let proving = || play().sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(6, 2));
    proving().hears(namesake(Action::Resume, 7)).ends().shows("PROOF BY PAUSE: nightly.sh stands still");
    let paused = play().sees(outage()).types("P<enter>").hears(did(Action::Pause, 1)).sees(after(6, 4, &[4711, 4712, 4713]));
    paused.hears(namesake(Action::Undo, 7)).ends().shows("3 processes paused; r lets it go on");
    let other = Landing { ticket: 8, id: namesake(Action::Pause, 0).id, ..left(Still::Ignores, 2) };
    let stands = play().sees(outage()).types("K<enter>").reports(Report::Landing(other));
    stands.hears(Outcome { ticket: 9, ..outcome(Signal::Kill, 3, &JOB) }).ends().shows("tar 4712 ignores SIGKILL");
}

#[test]
fn who_may_only_look_sees_what_stands_and_no_key_for_it() {
    let ended = play().read_only().sees(calm()).reports(Report::Standing(vec![paused()])).types("ruk").ends();
    ended.shows("PAUSED  nightly.sh");
    ended.hides("r lets it go on");
    assert_eq!(ended.calls, []);
}

#[test]
fn screens_of_acting() {
    check("menu", |play| play.sees(outage()).types("p"));
    check("menu-closed", |play| play.sees(outage()).types("s"));
    check("menu-picked", |play| play.sees(outage()).types("k<tab><down> "));
    check("menu-typed", |play| play.sees(outage()).types("<tab>k<enter>site-w"));
    check("proof", |play| {
        play.sees(outage()).types("p<enter>").hears(did(PROVE, 1)).sees(still(3, 20)).sees(still(6, 2)).then(Event::Tick(at(7)))
    });
    check("proven", |play| proof(play, 2));
    check("paused", |play| play.sees(amber()).reports(Report::Standing(vec![paused()])).then(Event::Tick(at(1))));
    let pending = Still::Pending { tid: 4712, wchan: Some("folio_wait_bit_common".into()) };
    check("pending", |play| {
        let acted = play.sees(outage()).types("K<enter>").hears(outcome(Signal::Kill, 1, &JOB)).sees(after(4, 30, &[4712]));
        acted.reports(Report::Landing(left(pending.clone(), 5)))
    });
}

/// Every size from 1x1 to 70x20, the screens in turn.
#[test]
fn no_size_panics() {
    for width in 1..=70u16 {
        for height in 1..=20u16 {
            let play = Play::new(width, height).depth(Depth::Sixteen);
            match (width + height) % 4 {
                0 => proof(play, 2).ends_at_once(),
                1 => play.sees(outage()).types("m<tab><end> <pgup><home>").ends_at_once(),
                2 => play.sees(outage()).types("<tab>k<enter>site-worker").ends_at_once(),
                _ => play.sees(outage()).reports(Report::Standing(vec![paused(); 5])).types("t<enter>").ends_at_once(),
            };
        }
    }
}
