//! The ledger against the kernel's own arithmetic: it adds up, and what it could not see is no more than one look of the kernel.

use crate::format;
use crate::play::Play;

/// One look of the kernel weighs this much of what it saw: `1 - e^(-5/60)`. Whether whytop saw the same at that instant is luck.
const LOOK: f64 = 0.08;
/// What the steps of its fixed point and the time between looks make beside it.
const REST: f64 = 0.35;

#[test]
fn the_account_adds_up_and_little_is_unseen() {
    let mut worst: Vec<(f64, String)> = Vec::new();
    for scenario in format::all() {
        // What was before the first sample is known where each stuck task says since when.
        let told = scenario.process.iter().all(|row| {
            (row.stuck.most() == 0.0 || row.stuck_for.is_some() || row.stuck_during.is_some())
                && row.runs_during.is_some() | (row.runnable.most() == 0.0)
                && row.storm.is_none()
        });
        let mut most = 0_u32;
        for (second, diagnosis) in Play::new(&scenario, None).run() {
            let account = diagnosis.load.account.as_ref().unwrap();
            let lines: f64 = account.lines.iter().map(|line| line.average).sum();
            let sum = lines + account.before + account.unseen;
            assert!((sum - account.average).abs() < 1e-9, "{} at {second} s: {sum} is not {}", scenario.name, account.average);
            assert!(account.lines.iter().all(|line| line.average >= 0.0), "{}: {account:?}", scenario.name);
            most = most.max(diagnosis.load.now());
            if told {
                let may_be = LOOK * f64::from(most) + REST;
                assert!(
                    account.unseen.abs() <= may_be,
                    "{} at {second} s: {} unseen, {may_be} allowed",
                    scenario.name,
                    account.unseen
                );
                worst.push((
                    account.unseen.abs(),
                    format!("{} at {second} s, {most} tasks, average {:.1}", scenario.name, account.average),
                ));
            }
        }
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    worst.dedup_by(|a, b| a.1.split(' ').next() == b.1.split(' ').next());
    assert!(worst.len() >= 10, "{}", worst.len());
    println!("unseen, worst first:");
    for (unseen, scenario) in worst.iter().take(8) {
        println!("  {unseen:>5.2}  {scenario}");
    }
}
