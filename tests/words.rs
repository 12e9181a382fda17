//! Between the diagnosis and an action: what is known of a job before it, what a pause has shown, and why a process is still there
//! after it. All on made-up diagnoses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::diagnosis::{after, at, calm, nightly_id, outage, site_id};
use whytop::action::{Action, Landing, Outcome, Remaining, Signal, Still};
use whytop::analysis::diagnosis::{Diagnosis, Resource};
use whytop::proof::{Proof, Shown};
use whytop::units::ProcessId;
use whytop::{landing, subject};

/// The nightly script, stopped for ten seconds at the first instant.
fn proof(before: &Diagnosis) -> Proof {
    let stopped = Outcome::new(1, at(0), "nightly.sh".to_owned(), Action::Prove { seconds: 10 });
    Proof::begin(nightly_id(), &stopped, 10, before)
}

/// What is said after a pause in which so many tasks of the site went on waiting.
fn after_a_pause(waiting: u32) -> (Shown, String) {
    let mut proof = proof(&outage());
    // The first looks are averages that reach back before the pause.
    for (seconds, stuck) in [(1, 38), (2, 38), (3, 20), (5, waiting), (6, waiting), (8, waiting + 1)] {
        proof.observe(&after(seconds, stuck, &[4711, 4712, 4713]));
    }
    proof.end(at(10));
    proof.observe(&after(12, 38, &[4711, 4712, 4713]));
    (proof.shown(), proof.sentence())
}

#[test]
fn a_pause_shows_the_cause_a_part_of_it_or_none() {
    let said = "waiting tasks 38 → 2 while nightly.sh stood still: it is the cause";
    assert_eq!(after_a_pause(2), (Shown::Cause, said.to_owned()));
    let said = "waiting tasks 38 → 20 while nightly.sh stood still: it is a part of the cause, and there is another";
    assert_eq!(after_a_pause(20), (Shown::Part, said.to_owned()));
    let said = "waiting tasks 38 → 36 while nightly.sh stood still: it is not the cause, unless what it wrote before is still on \
                its way to the disk";
    assert_eq!(after_a_pause(36), (Shown::NotTheCause, said.to_owned()));
}

#[test]
fn a_pause_that_shows_nothing_says_so() {
    let mut early = proof(&outage());
    early.observe(&after(2, 3, &[4711]));
    assert_eq!(early.shown(), Shown::Nothing("too early to tell"));
    assert!((early.left(at(4)) - 6.0).abs() < 0.01);
    early.end(at(3));
    assert_eq!(early.sentence(), "nightly.sh is paused: it stood still for too short a time to tell");
    assert!(early.left(at(4)).abs() < 0.01);
    let idle = proof(&calm());
    assert_eq!(idle.shown(), Shown::Nothing("nobody waited before, so a pause can show nothing"));
}

#[test]
fn a_subject_has_the_root_first_and_what_an_action_must_heed() {
    let mut scene = outage();
    let job = subject::of(&scene, &nightly_id(), "nightly.sh", &[]);
    assert_eq!(job.ids().iter().map(|id| id.pid).collect::<Vec<_>>(), [4711, 4712, 4713]);
    assert!(job.ends_by_itself && !job.is_victim && !job.frozen.by_it);
    assert_eq!((job.job.as_str(), job.seen), (nightly_id().as_str(), scene.since_boot));
    let site = subject::of(&scene, &site_id(), "site-worker", &[]);
    assert!(site.is_victim && !site.ends_by_itself);
    // A survivor under another job's name is still meant.
    let gone = subject::of(&scene, &common::diagnosis::database_id(), "x", &[job.ids()[1]]);
    assert_eq!(gone.candidates.last().map(|candidate| candidate.id), Some(job.ids()[1]));

    scene.waits[0].resource = Some(Resource::FrozenFilesystem);
    scene.waits[0].mount = Some("/srv".to_owned());
    scene.verdict.resource = Resource::FrozenFilesystem;
    let freezer = subject::of(&scene, &nightly_id(), "nightly.sh", &[]);
    assert!(freezer.frozen.by_it && !freezer.frozen.elsewhere);
    assert_eq!(freezer.frozen.mounts, ["/srv"]);
    assert!(!subject::of(&scene, &site_id(), "site-worker", &[]).frozen.by_it);
}

#[test]
fn what_is_pending_waits_for_what_the_diagnosis_knows() {
    let still = Still::Pending { tid: 4719, wchan: Some("folio_wait_bit_common".to_owned()) };
    let left = vec![Remaining { id: ProcessId { pid: 4711, start: 1 }, name: "tar".to_owned(), still }];
    let landing = Landing { ticket: 1, at: at(40), sent_at: at(0), job: "nightly.sh".to_owned(), signal: Signal::Kill, left };
    let said = "1 process of nightly.sh left: tar 4711: SIGKILL is pending for 40 s; it waits for the disk for 9.4 s (what helps: slow \
                or stop the disk's heaviest user)";
    assert_eq!(landing::sentence(&landing, Some(&outage())), said);
}
