//! What the screen shows, at three sizes; and that no size, host or name makes it panic.

#![allow(clippy::expect_used, reason = "a test that cannot be set up has failed")]

mod common;

use std::sync::Arc;

use common::diagnosis::{after, amber, around, at, calm, cpu_backup, crowd, glance, outage, strange, wedge};
use common::stage::{Play, outcome};
use whytop::action::{Refusal, Signal};
use whytop::analysis::diagnosis::Diagnosis;
use whytop::sample::{Gap, Pace};
use whytop::site::{Failure, News, Reply};
use whytop::ui::event::Event;
use whytop::ui::theme::Depth;

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (60, 15)];
const JOB: [(i32, &str); 3] = [(4711, "nightly.sh"), (4712, "tar"), (4713, "gzip")];

/// Compares the last screen of a play with its snapshot, at each size.
fn check(name: &str, play: impl Fn(Play) -> Play) {
    for (width, height) in SIZES {
        let ended = play(Play::new(width, height)).ends();
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("{name}-{width}x{height}"), ended.screen);
        });
    }
}

#[test]
fn measuring() {
    check("measuring", |play| play.then(Event::Tick(at(0))));
}

#[test]
fn glance_before_the_tasks_are_read() {
    check("glance", |play| play.glances(glance()));
}

#[test]
fn process_that_cannot_be_looked_at() {
    check("wedge", |play| play.sees(wedge(22)));
    check("wedge-detail", |play| play.sees(wedge(0)).types("<enter>"));
}

#[test]
fn stretched_interval() {
    check("stretched", |play| {
        let mut scene = calm();
        scene.cost.pace = Some(Pace { look: 1_200_000_000, interval: 3_600_000_000, stretched: true });
        play.sees(scene)
    });
}

#[test]
fn what_is_whytop_s_own_fault_stands_on_a_calm_host() {
    check("not-locked", |play| {
        let mut scene = calm();
        scene.gaps = vec![Gap::NotLocked { program: false, limit: Some(64 * 1024) }];
        play.sees(scene)
    });
}

#[test]
fn calm_host() {
    check("calm", |play| play.sees(calm()));
}

#[test]
fn disk_outage() {
    check("outage", |play| play.sees(outage()));
}

#[test]
fn cpu_culprit() {
    check("cpu", |play| play.sees(cpu_backup()));
}

#[test]
fn backup_that_merely_runs() {
    check("amber", |play| play.sees(amber()));
}

#[test]
fn dialog() {
    check("dialog", |play| play.refusing(4713, Refusal::Gone).sees(outage()).types("k"));
}

#[test]
fn dialog_without_rights() {
    check("dialog-denied", |play| play.refusing_all(Refusal::NotPermitted).sees(outage()).types("k<enter>"));
}

#[test]
fn dialog_of_many_processes() {
    check("dialog-many", |play| play.sees(outage()).types("<tab>k<pgdn>"));
}

#[test]
fn detail() {
    check("detail", |play| play.sees(outage()).types("<enter>"));
}

/// A victim's: the claim down to the task, its system call, file and stack.
#[test]
fn detail_of_a_victim() {
    check("detail_of_a_victim", |play| play.sees(outage()).types("<tab><up><enter>"));
}

#[test]
fn help() {
    check("help", |play| play.sees(calm()).types("?"));
}

#[test]
fn selection() {
    check("selection", |play| play.sees(outage()).types("<down><down>"));
}

#[test]
fn recovering() {
    check("recovering", |play| {
        play.sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(4, 21, &[4712]))
    });
}

#[test]
fn recovered() {
    check("recovered", |play| {
        play.sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(7, 6, &[])).sees(after(
            9,
            3,
            &[],
        ))
    });
}

/// The site came back with its tasks.
#[test]
fn recovered_site() {
    check("recovered-site", |play| {
        play.probing("http://localhost/")
            .sees(outage())
            .site_answers(-44, Ok(Reply { status: 200, seconds: 0.031 }))
            .site_answers(-40, Err(Failure::NoAnswer))
            .types("k<enter>")
            .hears(outcome(Signal::Terminate, 1, &JOB))
            .sees(after(7, 6, &[]))
            .sees(after(9, 3, &[]))
            .site_answers(10, Ok(Reply { status: 200, seconds: 0.038 }))
    });
}

/// And while it is gone.
#[test]
fn silent_site() {
    check("silent-site", |play| {
        play.probing("https://intranet.example/login")
            .sees(outage())
            .site_answers(-44, Ok(Reply { status: 200, seconds: 0.031 }))
            .site_answers(-40, Err(Failure::NoAnswer))
            .then(Event::Site(News::Asked(at(-30))))
            .then(Event::Tick(at(1)))
    });
}

#[test]
fn nothing_may_be_done() {
    check("read-only", |play| play.read_only().sees(outage()));
}

#[test]
fn outlived() {
    check("outlived", |play| {
        play.sees(outage()).types("k<enter>").hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(12, 36, &[4711, 4712]))
    });
}

#[test]
fn samples_stopped() {
    check("failed", |play| {
        play.sees(calm()).then(Event::LookFailed("open /proc/stat: too many open files".into())).then(Event::Tick(at(5)))
    });
}

/// Every size from 1x1 to 70x20, each screen in turn, so that neighbouring sizes together see them all.
fn sweep(scene: Diagnosis, depth: Depth) {
    let scripts = ["", "<down><end>", "<enter><pgdn><end>", "?<pgdn><end>", "k<pgdn><down>", "k<enter>"];
    let scene = Arc::new(scene);
    for width in 1..=70u16 {
        for height in 1..=20u16 {
            let turn = usize::from(width * 7 + height);
            // Where little fits, every screen at every size; else they take turns.
            let count = if width <= 24 && height <= 8 { scripts.len() } else { 1 };
            for script in scripts.iter().cycle().skip(turn % scripts.len()).take(count) {
                let play = Play::new(width, height).depth(depth).sees_shared(&scene).types(script);
                let play = if *script == "k<enter>" {
                    play.hears(outcome(Signal::Terminate, 1, &JOB)).sees(after(12, 30, &[4712]))
                } else {
                    play
                };
                play.ends_at_once();
            }
        }
    }
}

#[test]
fn no_size_panics_in_the_outage() {
    sweep(outage(), Depth::Cube);
}

#[test]
fn no_size_panics_among_strange_names() {
    sweep(strange(), Depth::Monochrome);
}

#[test]
fn no_size_panics_beside_a_wedge() {
    sweep(wedge(22), Depth::Cube);
}

#[test]
fn no_size_panics_without_jobs() {
    sweep(around(vec![]), Depth::Letters);
}

#[test]
fn no_size_panics_in_a_crowd() {
    sweep(crowd(60), Depth::Sixteen);
}

#[test]
fn thousands_of_jobs_and_large_screens() {
    let crowd = Arc::new(crowd(5000));
    for (width, height) in [(1, 1), (20, 5), (80, 24), (120, 40), (300, 100)] {
        let ended = Play::new(width, height).sees_shared(&crowd).types("<end><up><pgup><tab><pgdn><enter>").ends_at_once();
        assert!(!ended.screen.is_empty());
        Play::new(width, height).sees(strange()).types("<enter><esc>k").ends();
    }
}

#[test]
fn the_end_of_a_long_list_can_be_seen() {
    let ended = Play::new(120, 30).sees(crowd(5000)).types("<end>").ends();
    assert!(ended.screen.contains("of 5000"), "{}", ended.screen);
    assert!(ended.screen.contains('›'), "the chosen row is visible\n{}", ended.screen);
}

#[test]
fn no_color_means_no_colour_in_any_cell() {
    use ratatui::style::Color;
    for script in ["", "k", "<enter>", "?", "<down>"] {
        let ended = Play::new(100, 30).depth(Depth::Monochrome).sees(outage()).types(script).ends();
        let coloured = ended.buffer.content.iter().find(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert!(coloured.is_none(), "{script}: {coloured:?}");
    }
}

#[test]
fn the_culprit_is_white_on_red_and_a_mere_backup_is_not() {
    use ratatui::style::Color;
    let bar = |scene| {
        let ended = Play::new(100, 30).depth(Depth::Sixteen).sees(scene).ends();
        let y = ended.screen.lines().position(|line| line.contains("CO-LOCATED BACKUP DETECTED")).expect("the title is there");
        let cell = ended.buffer[(2, y as u16)].clone();
        (cell.fg, cell.bg)
    };
    assert_eq!(bar(outage()), (Color::White, Color::Red));
    assert_eq!(bar(amber()), (Color::Black, Color::Yellow));
}
