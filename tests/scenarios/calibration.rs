//! Whether a confidence means something: of the verdicts said with 0.9, nine in ten must be right, on the scenarios as they are
//! written and with noise on every number.
//!
//! A verdict is right if it names who it is and what is short; if it says that nobody else takes it, and nobody does; if it says
//! that it cannot know, and somebody waits; if it says that nobody waits, and nobody does.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;

use whytop::analysis::diagnosis::{Diagnosis, Severity};

use crate::expect::{Expect, culprit};
use crate::format::{self, Scenario};
use crate::play::{Noise, Play};

/// Runs of each scenario with noise.
const RUNS: u64 = 70;
/// A scenario this long, in seconds, would outweigh all others.
const LONG: f64 = 60.0;
/// What fewer of a band may be right than it says.
const SLACK: f64 = 0.1;
/// A band with fewer verdicts says nothing.
const ENOUGH: usize = 30;
/// The bands: from which confidence on.
const BANDS: [f64; 4] = [0.0, 0.4, 0.6, 0.9];

/// Verdicts of one kind and band: how many, how many were right, and the sum of what they said.
#[derive(Clone, Copy, Default)]
struct Band {
    said: usize,
    right: usize,
    confidence: f64,
}

impl Band {
    fn mean(self) -> f64 {
        self.confidence / self.said.max(1) as f64
    }

    fn right(self) -> f64 {
        self.right as f64 / self.said.max(1) as f64
    }
}

/// By kind of verdict and band, with the scenarios that were told wrongly and how often.
#[derive(Default)]
struct Table {
    bands: BTreeMap<(&'static str, usize), Band>,
    wrong: BTreeMap<(usize, String), usize>,
}

impl Table {
    fn add(&mut self, scenario: &Scenario, truth: &Expect, diagnosis: &Diagnosis) {
        let confidence = diagnosis.verdict.worst.confidence;
        let band = BANDS.iter().rposition(|from| confidence >= *from).unwrap();
        let right = is_right(truth, diagnosis);
        for kind in [kind(diagnosis), "all"] {
            let sum = self.bands.entry((kind, band)).or_default();
            sum.said += 1;
            sum.right += usize::from(right);
            sum.confidence += confidence;
        }
        if !right {
            let said = format!("{}: {} {:?}", scenario.name, kind(diagnosis), culprit(diagnosis));
            *self.wrong.entry((band, said)).or_default() += 1;
        }
    }

    fn join(&mut self, other: Self) {
        for (key, more) in other.bands {
            let sum = self.bands.entry(key).or_default();
            sum.said += more.said;
            sum.right += more.right;
            sum.confidence += more.confidence;
        }
        for (key, more) in other.wrong {
            *self.wrong.entry(key).or_default() += more;
        }
    }

    fn print(&self, title: &str) -> String {
        let mut text = format!("{title}\n{:<12} {:>6} {:>8} {:>8} {:>8}\n", "verdicts", "from", "number", "said", "right");
        for ((kind, band), sum) in &self.bands {
            let (said, right) = (sum.mean(), sum.right());
            let _ = writeln!(text, "{kind:<12} {:>6.1} {:>8} {said:>8.2} {right:>8.2}", BANDS[*band], sum.said);
        }
        let mut wrong: Vec<_> = self.wrong.iter().collect();
        wrong.sort_by_key(|((band, _), number)| std::cmp::Reverse((*band, **number)));
        for ((band, said), number) in wrong {
            let _ = writeln!(text, "  wrong {number:>5} times, from {:.1}: {said}", BANDS[*band]);
        }
        text
    }

    fn check(&self) {
        for ((kind, band), sum) in self.bands.iter().filter(|(_, sum)| sum.said >= ENOUGH) {
            let least = if *band + 1 == BANDS.len() { 0.9 } else { sum.mean() - SLACK };
            assert!(
                sum.right() >= least,
                "{kind} verdicts from {:.1}: {:.3} right, {least:.3} expected",
                BANDS[*band],
                sum.right()
            );
        }
    }
}

fn kind(diagnosis: &Diagnosis) -> &'static str {
    let verdict = &diagnosis.verdict;
    match verdict.worst.severity {
        Severity::Calm => "calm",
        Severity::Watch => "watch",
        Severity::Contention if verdict.worst.culprit.is_some() => "accusing",
        Severity::Contention => "contention",
    }
}

fn is_right(truth: &Expect, diagnosis: &Diagnosis) -> bool {
    let verdict = &diagnosis.verdict;
    let culprits: Vec<&str> = truth.really.iter().chain(&truth.culprit).flat_map(|names| names.split('|')).collect();
    let culprits: Vec<&str> = culprits.into_iter().filter(|name| !name.is_empty()).collect();
    let resource = truth.resource.as_deref().is_none_or(|resource| resource == verdict.worst.resource.name());
    let calm = truth.severity.as_deref() == Some("calm");
    let said = |words: &str| verdict.worst.headline.contains(words);
    match kind(diagnosis) {
        "accusing" => resource && culprits.contains(&culprit(diagnosis).as_str()),
        "contention" => resource,
        "calm" => calm,
        _ if said("no other job") || said("at the limit of") => culprits.is_empty() && !calm,
        _ if said("cannot be seen")
            || said("not known yet")
            || said("is frozen")
            || said("does not answer")
            || said("none for long") =>
        {
            !calm
        }
        _ => culprits.iter().any(|name| said(name)),
    }
}

/// What is true at this second. `None`: nothing is said about it.
fn truth(scenario: &Scenario, second: f64) -> Option<&Expect> {
    let phases = scenario.phases();
    let one = phases.len() == 1;
    let mut phases = phases.into_iter().filter(|(from, until, _)| one || (*from..=*until).contains(&second));
    let (.., truth) = phases.next()?;
    (truth.severity.is_some() || truth.culprit.is_some()).then_some(truth)
}

fn run(scenario: &Scenario, noise: Option<Noise>, table: &mut Table) {
    for (second, diagnosis) in Play::new(scenario, noise).run() {
        if let Some(truth) = truth(scenario, second) {
            table.add(scenario, truth, &diagnosis);
        }
    }
}

#[test]
fn calibration() {
    let scenarios: Vec<Scenario> = format::all().into_iter().filter(|scenario| scenario.seconds < LONG).collect();
    let mut clean = Table::default();
    for scenario in &scenarios {
        run(scenario, None, &mut clean);
    }
    let mut noisy = Table::default();
    thread::scope(|scope| {
        let half = |from: u64| {
            let scenarios = &scenarios;
            move || {
                let mut table = Table::default();
                let runs = (from..RUNS).step_by(2).flat_map(|n| scenarios.iter().map(move |scenario| (n, scenario)));
                runs.for_each(|(n, scenario)| run(scenario, Some(Noise(n)), &mut table));
                table
            }
        };
        let other = scope.spawn(half(1));
        noisy.join(half(0)());
        noisy.join(other.join().unwrap());
    });
    print!("{}{}", clean.print("as written"), noisy.print("with noise"));
    clean.check();
    noisy.check();
}
