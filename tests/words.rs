//! Between the diagnosis and an action: what is known of a job before it, what a pause has shown, and why a process is still there
//! after it. All on made-up diagnoses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::diagnosis::{after, at, calm, database_id, facts, nightly_id, outage, site_id};
use common::stage::outcome;
use whytop::action::{Action, Hit, Landing, Outcome, Refusal, Remaining, Signal, Still};
use whytop::analysis::diagnosis::{Contention, Diagnosis, JobId, Level, Resource};
use whytop::analysis::earlier::Earlier;
use whytop::proof::{Proof, Shown};
use whytop::recovery::Recovery;
use whytop::report::{self, Done, Plan};
use whytop::site::Condition;
use whytop::units::ProcessId;
use whytop::{landing, subject};

/// The nightly script, all of it stopped at the first instant.
fn stopped() -> Outcome {
    let job = [(4711, "nightly.sh"), (4712, "tar"), (4713, "gzip")];
    Outcome { action: Action::Prove { seconds: 10 }, ..outcome(Signal::Terminate, 0, &job) }
}

fn proof(before: &Diagnosis) -> Proof {
    Proof::begin(nightly_id(), &stopped(), false, 10, before)
}

fn look(proof: &mut Proof, looks: impl IntoIterator<Item = Diagnosis>) {
    for now in looks {
        proof.observe(&now);
    }
}

/// So many seconds into the pause, with so many tasks of the site and the database that wait.
fn waiting(seconds: i64, site: f64, database: f64) -> Diagnosis {
    let mut scene = after(seconds, 0, &[4711, 4712, 4713]);
    for job in &mut scene.jobs {
        if job.facts.id == site_id() || job.facts.id == database_id() {
            job.usage.stuck = if job.facts.id == site_id() { site } else { database };
            job.usage.cpu_wait = Some(0.0);
        }
    }
    scene
}

/// The same once the database has ended.
fn without_database(seconds: i64, site: f64) -> Diagnosis {
    let mut scene = waiting(seconds, site, 0.0);
    scene.jobs.retain(|job| job.facts.id != database_id());
    scene
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

/// A disk that the site's own work fills: as many wait as before, and they get more of it.
fn busy(seconds: i64, stuck: f64, moved: f64) -> Diagnosis {
    let mut scene = waiting(seconds, stuck, 0.0);
    let site = scene.jobs.iter_mut().find(|job| job.facts.id == site_id()).unwrap();
    (site.usage.read_bytes, site.usage.write_bytes) = (Some(moved), Some(0.0));
    scene
}

#[test]
fn a_disk_that_its_own_site_keeps_busy_tells_the_cause_by_what_the_site_gets() {
    let shown = |stuck: f64, moved: f64, earlier: Option<f64>| {
        let mut before = busy(0, 40.0, 0.7e6);
        for job in before.jobs.iter_mut().filter(|job| job.facts.id == site_id() || job.facts.id == database_id()) {
            job.earlier = earlier
                .filter(|_| job.facts.id == site_id())
                .or(earlier.map(|_| 0.0))
                .map(|waiting| Level { waiting, gets: None });
        }
        let mut proof = proof(&before);
        look(&mut proof, [5, 7, 9].map(|seconds| busy(seconds, stuck, moved)));
        (proof.shown(), proof.sentence())
    };
    // As in the reference outage: whose 40 workers fill a disk of 8 MB/s alone.
    let moved =
        "waiting tasks 40 → 29 while nightly.sh stood still, and they moved 8.4 MB/s instead of 700 kB/s: it is the cause; ";
    assert_eq!(shown(29.0, 8.4e6, None), (Shown::Cause, format!("{moved}those who still wait, wait for their own work")));
    assert_eq!(shown(29.0, 8.4e6, Some(24.0)), (Shown::Cause, format!("{moved}before it came 24 waited too")));
    assert_eq!(shown(29.0, 0.7e6, Some(24.0)).0, Shown::Cause);
    assert_eq!(shown(29.0, 0.7e6, Some(10.0)).0, Shown::Part);
    assert_eq!(shown(40.0, 8.4e6, None).0, Shown::Cause);
    assert_eq!(shown(40.0, 1.6e6, None).0, Shown::Part);
    assert_eq!(shown(40.0, 0.8e6, None).0, Shown::NotTheCause);
    // Whoever gets much more, and waits more than before, does other work.
    assert_eq!(shown(50.0, 8.4e6, None).0, Shown::NotTheCause);
}

#[test]
fn what_comes_and_goes_by_itself_beside_what_was_taken_convicts_nobody() {
    let shown = |suspect: &JobId, taken: f64, during: f64| {
        let mut before = busy(0, 40.0, 0.08e6);
        let (nightly, database) = (nightly_id(), database_id());
        for job in &mut before.jobs {
            match &job.facts.id {
                id if *id == nightly => (job.usage.read_bytes, job.usage.write_bytes) = (Some(taken), Some(0.0)),
                id if *id == database => (job.usage.read_bytes, job.usage.write_bytes) = (Some(0.0), Some(0.5e6)),
                _ => {}
            }
        }
        let mut proof = Proof::begin(suspect.clone(), &stopped(), false, 10, &before);
        look(&mut proof, [5, 7, 9].map(|seconds| busy(seconds, 40.0, during)));
        proof.shown()
    };
    // An innocent job is paused, and then the accused one: what the site gets is three times as much, and still next to nothing.
    assert_eq!(shown(&database_id(), 200e6, 0.3e6), Shown::NotTheCause);
    assert_eq!(shown(&nightly_id(), 200e6, 0.3e6), Shown::NotTheCause);
    // The reference outage.
    assert_eq!(shown(&nightly_id(), 8e6, 8.4e6), Shown::Cause);
}

/// So many seconds before the outage: the site's own work alone, so much of it.
fn before_the_backup(seconds: i64, stuck: f64) -> Diagnosis {
    let mut scene = busy(0, stuck, 8.3e6);
    scene.at = at(-seconds);
    scene.jobs.retain(|job| job.facts.id != nightly_id());
    (scene.verdict.worst.culprit, scene.verdict.worst.victims, scene.verdict.since) = (None, vec![], None);
    scene
}

/// The outage, so many seconds later; the backup began twelve seconds before it, and was accused two seconds later.
fn during(seconds: i64) -> Diagnosis {
    let mut scene = busy(0, 40.0, 0.7e6);
    scene.at = at(seconds);
    scene
}

#[test]
fn how_the_site_fared_before_the_backup_came_is_known_as_long_as_that_goes_on() {
    let told = |earlier: &mut Earlier, mut scene: Diagnosis| {
        earlier.update(&mut scene);
        scene.job(&site_id()).unwrap().earlier
    };
    let watched = |from: i64| {
        let mut earlier = Earlier::default();
        for second in (12..=from).rev() {
            // A throttled disk: all of them in one moment and few in the next.
            told(&mut earlier, before_the_backup(second, if second % 2 == 0 { 38.0 } else { 10.0 }));
        }
        earlier
    };
    let is_mean = |level: Option<Level>| {
        let level = level.unwrap();
        (level.waiting - 24.0).abs() < 1.0 && (level.gets.unwrap() - 8.3e6).abs() < 1.0
    };
    let mut earlier = watched(60);
    assert!(is_mean(told(&mut earlier, during(0))));
    assert_eq!(during(0).job(&site_id()).unwrap().earlier, None);
    // An hour later, though nothing of that time is kept, and though nobody was accused for a while.
    for second in (1..3600).step_by(10).filter(|second| !(1000..1060).contains(second)) {
        assert!(is_mean(told(&mut earlier, during(second))), "{second}");
    }
    // Whoever opens whytop in the outage does not know, and neither who opened it a moment before it.
    assert_eq!(told(&mut Earlier::default(), during(0)), None);
    assert_eq!(told(&mut watched(14), during(0)), None);
    // A culprit that had been there for days came when it was accused.
    let mut old = during(0);
    let accused = old.jobs.iter_mut().find(|job| job.facts.id == nightly_id()).unwrap();
    facts(accused).started_at = Some(at(-86_400));
    assert!(is_mean(told(&mut watched(60), old)));
}

#[test]
fn the_host_has_recovered_when_it_is_as_before_the_culprit_came_or_the_disk_is_its_own_again() {
    let watch = |earlier: Option<f64>, looks: &[(f64, f64)], culprit: Option<JobId>, is_gone: bool| {
        let mut before = busy(0, 40.0, 0.7e6);
        before.verdict.worst.victims = vec![site_id()];
        before.jobs.iter_mut().find(|job| job.facts.id == site_id()).unwrap().earlier =
            earlier.map(|waiting| Level { waiting, gets: None });
        let mut recovery = Recovery::begin(nightly_id(), outcome(Signal::Terminate, 0, &[(4711, "nightly.sh")]), &before, None);
        for (seconds, (stuck, moved)) in (1..).zip(looks) {
            let mut now = busy(seconds, *stuck, *moved);
            now.verdict.worst.culprit = culprit.clone();
            now.jobs.retain(|job| !is_gone || job.facts.id != nightly_id());
            recovery.observe(&now);
        }
        (recovery.recovered_after, recovery.rest())
    };
    let recover = |earlier, looks: &[(f64, f64)], culprit: bool| watch(earlier, looks, culprit.then(database_id), true);
    let own = "they wait for their own work: nobody else is to blame for it";
    assert_eq!(recover(None, &[(38.0, 2.0e6), (30.0, 6.0e6), (29.0, 8.4e6)], false), (Some(3.0), Some(own.to_owned())));
    let before = "they wait for their own work: 24 did before it came";
    assert_eq!(recover(Some(24.0), &[(40.0, 0.7e6), (29.0, 0.7e6), (29.0, 0.7e6)], false), (Some(3.0), Some(before.to_owned())));
    assert_eq!(recover(None, &[(5.0, 0.3e6), (5.0, 0.3e6)], false), (Some(2.0), None));
    // Somebody else takes it now; as many wait, and get as little; and what it was like before was no better.
    assert_eq!(recover(None, &[(29.0, 8.4e6), (29.0, 8.4e6)], true), (None, None));
    assert_eq!(recover(None, &[(29.0, 0.9e6), (29.0, 0.9e6)], false), (None, None));
    assert_eq!(recover(Some(39.0), &[(39.0, 0.9e6), (39.0, 0.9e6)], false), (None, None));
    // What was told to end and goes on is no recovery, whatever they get meanwhile: it is still accused.
    let better = [(40.0, 8.4e6), (40.0, 8.4e6)];
    assert_eq!(watch(None, &better, Some(nightly_id()), false), (None, None));
    assert_eq!(watch(None, &better, None, false), (None, None));
    assert_eq!(watch(None, &better, None, true), (Some(2.0), Some(own.to_owned())));
    // Three times next to nothing is next to nothing.
    let mut huge = busy(0, 40.0, 0.08e6);
    huge.verdict.worst.victims = vec![site_id()];
    for job in huge.jobs.iter_mut().filter(|job| job.facts.id == nightly_id()) {
        job.usage.read_bytes = Some(200e6);
    }
    let mut noise = Recovery::begin(nightly_id(), outcome(Signal::Terminate, 0, &[(4711, "nightly.sh")]), &huge, None);
    for seconds in 1..4 {
        let mut now = busy(seconds, 40.0, 0.3e6);
        now.verdict.worst.culprit = None;
        now.jobs.retain(|job| job.facts.id != nightly_id());
        noise.observe(&now);
    }
    assert_eq!(noise.recovered_after, None);
}

/// A thaw is aimed at one of those that wait, where nobody is known to have frozen anything: he is the one to be relieved.
#[test]
fn whoever_a_filesystem_is_thawed_for_is_seen_to_recover() {
    let mut frozen = busy(0, 30.0, 0.0);
    (frozen.verdict.worst.culprit, frozen.verdict.worst.resource) = (None, Resource::FrozenFilesystem);
    frozen.verdict.worst.victims = vec![site_id()];
    let thaw = Outcome { action: Action::Thaw { mount: "/srv".to_owned() }, ..outcome(Signal::Terminate, 0, &[]) };
    let mut recovery = Recovery::begin(site_id(), thaw, &frozen, None);
    assert_eq!((recovery.waiting_before, recovery.victims.len()), (30.0, 1));
    for (seconds, stuck) in [(2, 30.0), (4, 2.0), (6, 2.0)] {
        recovery.observe(&busy(seconds, stuck, 0.0));
    }
    assert_eq!((recovery.recovered_after, recovery.waiting_now), (Some(6.0), 2.0));
    // Its processes are there as before.
    assert!(!recovery.alive.is_empty() && recovery.complete());
}

/// What came of an action at the first instant, after these looks.
fn recovery(done: &Outcome, site: Option<Condition>, looks: impl IntoIterator<Item = Diagnosis>) -> Recovery {
    let mut recovery = Recovery::begin(nightly_id(), done.clone(), &outage(), site);
    for now in looks {
        recovery.observe(&now);
    }
    recovery
}

fn ended() -> Outcome {
    outcome(Signal::Terminate, 0, &[(4711, "nightly.sh")])
}

/// `systemctl stop` has done well, and left those alone whom the unit says to (`KillMode=process`).
#[test]
fn what_runs_on_after_its_unit_was_stopped_is_told() {
    let stop = Outcome { action: Action::StopUnit { unit: "nightly.service".into() }, hits: Vec::new(), ..ended() };
    let stopped = |looks: Vec<Diagnosis>| Done { recovery: Some(recovery(&stop, None, looks)), ..Done::new(stop.clone()) };
    let left = stopped(vec![after(2, 3, &[4712]), after(3, 3, &[4712]), after(12, 3, &[4712])]);
    let recovery = left.recovery.as_ref().unwrap();
    assert_eq!(recovery.alive, [(ProcessId { pid: 4712, ..recovery.alive[0].0 }, "tar".to_owned())]);
    assert!(!recovery.complete() && recovery.outlived() && !left.is_whole());
    assert!(report::done_text(&left, &outage()).contains("\ntar 4712 still runs\n"));
    let json: serde_json::Value = serde_json::from_str(&report::done_json(&Plan::default(), &left, &outage()).unwrap()).unwrap();
    assert_eq!((&json["result"], &json["left"][0]["pid"]), (&"partly".into(), &4712.into()), "{json:#}");
    let gone = stopped(vec![after(2, 3, &[]), after(3, 3, &[])]);
    assert!(gone.recovery.as_ref().unwrap().complete() && gone.is_whole());
}

#[test]
fn what_came_of_it_is_told_in_numbers_without_a_screen_too() {
    let site = |well, words: &str| Condition { well: Some(well), words: words.to_owned(), since: None, slow: false };
    let mut over = recovery(&ended(), Some(site(false, "no answer for 41 s")), [after(4, 21, &[])]);
    let not_yet = over.sentence();
    assert!(not_yet.starts_with("not recovered after 4 s: waiting tasks 38 → 21 (site-worker 38 → 21, "), "{not_yet}");
    over.observe(&after(6, 4, &[]));
    over.observe(&after(7, 3, &[]));
    over.observe_site(site(true, "200 in 38 ms"), at(7));
    let said = over.sentence();
    assert!(
        said.starts_with("recovered after 7 s: waiting tasks 38 → 3 (site-worker 38 → 3, postgresql 0.7 → 0); load 40.1 → "),
        "{said}"
    );
    assert!(said.ends_with("; the site answers again: 200 in 38 ms; before: no answer for 41 s"), "{said}");
    let done = Done { recovery: Some(over), ..Done::new(ended()) };
    let json: serde_json::Value = serde_json::from_str(&report::done_json(&Plan::default(), &done, &outage()).unwrap()).unwrap();
    let told = &json["recovery"];
    assert_eq!((&told["watched_s"], &told["recovered_after_s"], &told["short"]), (&7.0.into(), &7.0.into(), &"disk".into()));
    assert_eq!(told["load_before"], 40.12);
    assert!(told["waiting_after"].as_f64().is_some_and(|waiting| (3.0..3.5).contains(&waiting)), "{told:#}");
    let site = &told["site"];
    assert_eq!(
        (&site["well_before"], &site["well_after"], &site["after"]),
        (&false.into(), &true.into(), &"200 in 38 ms".into())
    );
    let victim = &told["victims"][0];
    assert_eq!(victim["name"], "site-worker");
    assert!(victim["waiting_before"].as_f64().is_some_and(|waiting| (37.5..38.5).contains(&waiting)), "{victim}");
    assert!(victim["waiting_after"].as_f64().is_some_and(|waiting| (3.0..3.5).contains(&waiting)), "{victim}");
    // Nobody watched: what is not known is no zero.
    let blind = recovery(&ended(), None, []);
    assert_eq!(blind.sentence(), "before it 38 tasks waited, load 40.1");
    // Nor has anything come of it yet, a moment after.
    let hasty = Diagnosis { at: ended().at + std::time::Duration::from_millis(300), ..after(1, 21, &[]) };
    assert_eq!(recovery(&ended(), None, [hasty]).sentence(), blind.sentence());
    let done = Done { recovery: Some(blind), ..done };
    let json: serde_json::Value = serde_json::from_str(&report::done_json(&Plan::default(), &done, &outage()).unwrap()).unwrap();
    assert_eq!((&json["recovery"]["watched_s"], &json["recovery"]["waiting_after"]), (&0.0.into(), &serde_json::Value::Null));
}

#[test]
fn whoever_waits_again_after_a_pause_is_told_though_nobody_waited_before() {
    let resumed = |stuck: u32| {
        let done = Outcome { action: Action::Resume, ..ended() };
        let mut recovery = Recovery::begin(nightly_id(), done, &after(-1, 0, &[4711, 4712, 4713]), None);
        recovery.observe(&after(6, stuck, &[4711, 4712, 4713]));
        (recovery.wait_again(), recovery.sentence())
    };
    let (again, said) = resumed(30);
    assert!(again && said.starts_with("others wait again after 6 s: waiting tasks 0 → 30 (site-worker 0.1 → 30"), "{said}");
    let (again, said) = resumed(0);
    assert!(!again && said.starts_with("nobody waits more after 6 s: waiting tasks 0 → 0; load "), "{said}");
}

/// A second contention has no beginning of its own that is known: how they fared before it was named may be its own doing.
#[test]
fn a_second_culprit_older_than_what_was_watched_has_no_time_before_it() {
    let earlier = |started: i64| {
        let mut earlier = Earlier::default();
        for second in (12..=60).rev() {
            earlier.update(&mut before_the_backup(second, 24.0));
        }
        let mut scene = during(0);
        let verdict = &mut scene.verdict;
        let unknown = Contention { culprit: None, victims: Vec::new(), ..verdict.worst.clone() };
        verdict.others = vec![std::mem::replace(&mut verdict.worst, unknown)];
        let accused = scene.jobs.iter_mut().find(|job| job.facts.id == nightly_id()).unwrap();
        facts(accused).started_at = Some(at(started));
        earlier.update(&mut scene);
        scene.job(&site_id()).unwrap().earlier.map(|level| level.waiting.round())
    };
    assert_eq!(earlier(-12), Some(24.0));
    assert_eq!(earlier(-86_400), None);
}

#[test]
fn whoever_takes_nearly_as_much_is_measured_by_what_he_is_accused_of() {
    let mut scene = outage();
    for job in &mut scene.jobs {
        job.earlier = Some(Level { waiting: 24.0, gets: None });
    }
    let verdict = &mut scene.verdict;
    let cpu = Contention { resource: Resource::Cpu, victims: vec![database_id()], ..verdict.worst.clone() };
    let other = Contention { culprit: Some(site_id()), also: vec![nightly_id()], ..cpu.clone() };
    verdict.worst.culprit = Some(JobId::unit("tar.service"));
    verdict.others = vec![other];
    let (against, is_accused) = scene.verdict.against(&nightly_id());
    assert!(is_accused && against.resource == Resource::Cpu);
    let recovery = Recovery::begin(nightly_id(), ended(), &scene, None);
    let victims: Vec<&JobId> = recovery.victims.iter().map(|victim| &victim.job).collect();
    assert_eq!((recovery.short, victims), (Resource::Cpu, vec![&database_id()]));
    // Of the time before the one who takes most: the second may have been there.
    assert_eq!(recovery.waiting_earlier, None);
    scene.verdict.others = vec![Contention { culprit: Some(nightly_id()), ..cpu }];
    assert_eq!(Recovery::begin(nightly_id(), ended(), &scene, None).waiting_earlier, Some(24.0));
    assert!(!scene.verdict.against(&database_id()).1, "a victim is accused of nothing");
}

/// The answer of a stop that could not be watched says so, and not that everybody runs on.
#[test]
fn what_could_not_be_watched_is_neither_gone_nor_there() {
    let stop = Outcome { action: Action::StopUnit { unit: "nightly.service".into() }, hits: Vec::new(), ..ended() };
    let why = "what came of it could not be watched to the end: the reader failed";
    let done = Done { recovery: Some(recovery(&stop, None, [])), unseen: Some(why.into()), ..Done::new(stop) };
    let text = report::done_text(&done, &outage());
    assert!(text.ends_with(&format!("\n{why}\n")) && !text.contains("still runs"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&report::done_json(&Plan::default(), &done, &outage()).unwrap()).unwrap();
    assert_eq!((&json["result"], &json["left"], &json["notes"][0]), (&"partly".into(), &serde_json::Value::Null, &why.into()));
}

#[test]
fn a_pause_that_shows_nothing_says_so() {
    let mut early = proof(&outage());
    early.observe(&after(2, 3, &[4711]));
    assert_eq!(early.shown(), Shown::Nothing("too early to tell"));
    assert!((early.left(at(4)) - 6.0).abs() < 0.01);
    early.end(at(3));
    assert_eq!(early.sentence(), "pausing nightly.sh shows nothing: it stood still for too short a time to tell");
    assert!(early.left(at(4)).abs() < 0.01);
    let idle = proof(&calm());
    assert_eq!(idle.shown(), Shown::Nothing("nobody waited before, so a pause can show nothing"));
}

#[test]
fn a_few_who_wait_a_little_less_convict_nobody() {
    let shown = |before: f64, during: f64| {
        let mut proof = proof(&waiting(0, before, 0.0));
        look(&mut proof, [5, 7, 9].map(|seconds| waiting(seconds, during, 0.0)));
        proof.shown()
    };
    let chance = Shown::Nothing("so few waited that some less may be chance");
    for (before, during, what) in [
        (1.2, 0.9, Shown::NotTheCause),
        (1.0, 0.99, Shown::NotTheCause),
        (1.4, 0.95, chance),
        (1.2, 0.4, chance),
        (1.4, 0.2, Shown::Cause),
    ] {
        assert_eq!(shown(before, during), what, "{before} → {during}");
    }
}

#[test]
fn whoever_ended_in_the_pause_was_not_relieved_by_it() {
    let mut ended = proof(&waiting(0, 2.0, 30.0));
    ended.observe(&waiting(5, 2.0, 30.0));
    look(&mut ended, [6, 8].map(|seconds| without_database(seconds, 2.0)));
    assert_eq!((ended.shown(), ended.waiting_before, ended.waiting_during()), (Shown::NotTheCause, 2.0, Some(2.0)));
    // Those that are still there are relieved all the same.
    let mut relieved = proof(&waiting(0, 9.0, 30.0));
    look(&mut relieved, [3, 5, 6, 8].map(|seconds| without_database(seconds, 0.5)));
    assert_eq!(relieved.shown(), Shown::Cause);
    let mut nobody = proof(&waiting(0, 0.0, 30.0));
    look(&mut nobody, [3, 5, 6].map(|seconds| without_database(seconds, 0.0)));
    assert_eq!(nobody.shown(), Shown::Nothing("those who waited have ended meanwhile, whatever they waited for"));
    // After the pause anybody may end.
    let mut over = proof(&waiting(0, 2.0, 30.0));
    over.observe(&waiting(6, 0.0, 1.0));
    over.end(at(10));
    over.observe(&without_database(12, 2.0));
    assert_eq!((over.shown(), over.waiting_now), (Shown::Cause, 2.0));
}

#[test]
fn a_part_that_stood_still_acquits_nobody() {
    let denied = Hit { id: ProcessId { pid: 4720, start: 9 }, name: "rsync".to_owned(), result: Err(Refusal::NotPermitted) };
    let mut partly = stopped();
    partly.hits.push(denied);
    let sentence = |stopped: &Outcome, picked: bool, waiting: u32| {
        let mut proof = Proof::begin(nightly_id(), stopped, picked, 10, &outage());
        look(&mut proof, [5, 7, 9].map(|seconds| after(seconds, waiting, &[4711, 4712, 4713])));
        proof.sentence()
    };
    for (stopped, picked) in [(&partly, false), (&stopped(), true)] {
        let nothing = "pausing nightly.sh shows nothing: only a part of it stood still, and others went on waiting";
        assert_eq!(sentence(stopped, picked, 37), nothing);
        assert_eq!(sentence(stopped, picked, 20), nothing);
        let cause = "waiting tasks 38 → 2 while a part of nightly.sh stood still: it is the cause";
        assert_eq!(sentence(stopped, picked, 2), cause);
    }
    assert!(sentence(&stopped(), false, 37).contains("it is not the cause"));
}

#[test]
fn a_look_at_the_time_before_a_short_pause_decides_nothing() {
    let mut short = Proof::begin(nightly_id(), &stopped(), false, 3, &outage());
    short.observe(&after(3, 37, &[4711, 4712, 4713]));
    assert_eq!(short.shown(), Shown::Nothing("too early to tell"));
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
    let gone = subject::of(&scene, &database_id(), "x", &[job.ids()[1]]);
    assert_eq!(gone.candidates.last().map(|candidate| candidate.id), Some(job.ids()[1]));

    scene.waits[0].resource = Some(Resource::FrozenFilesystem);
    scene.waits[0].mount = Some("/srv".to_owned());
    scene.verdict.worst.resource = Resource::FrozenFilesystem;
    let freezer = subject::of(&scene, &nightly_id(), "nightly.sh", &[]);
    assert!(freezer.frozen.by_it && !freezer.frozen.elsewhere);
    assert_eq!(freezer.frozen.mounts, ["/srv"]);
    assert!(!subject::of(&scene, &site_id(), "site-worker", &[]).frozen.by_it);
}

#[test]
fn what_is_pending_waits_for_what_the_diagnosis_knows() {
    let still = Still::Pending { tid: 4719, wchan: Some("folio_wait_bit_common".to_owned()) };
    let left = vec![Remaining { id: ProcessId { pid: 4711, start: 1 }, name: "tar".to_owned(), still }];
    let id = nightly_id().to_string();
    let landing = Landing { ticket: 1, at: at(40), sent_at: at(0), id, job: "nightly.sh".to_owned(), signal: Signal::Kill, left };
    let said = "1 process of nightly.sh left: tar 4711: SIGKILL is pending for 40 s; it waits for the disk for 9.4 s (what helps: slow \
                or stop the disk's heaviest user)";
    assert_eq!(landing::sentence(&landing, Some(&outage())), said);
}
