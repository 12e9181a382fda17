//! What one sample of this host costs in CPU time: `cargo bench --bench sweep -- [proc|kernel] [SAMPLES]`.
//!
//! With `kernel`, the bare read of the same iterator (nothing done with what it gives) is measured between the samples, so that
//! both see the same host; the floor of `proc` is `../shared/lab/procsweep.c`.
//!
//! Start the processes to be counted before; the figures of the design were taken with 5,000 that sleep.

use std::{path::Path, time::Duration};

use whytop::kernel::{Choice, ProcRoot, Reader};

fn main() -> anyhow::Result<()> {
    let samples = std::env::args().find_map(|word| word.parse::<u32>().ok()).unwrap_or(50);
    let choice = if std::env::args().any(|word| word == "kernel") { Choice::Kernel } else { Choice::Proc };
    let mut reader = Reader::with_tier(ProcRoot::open(Path::new("/proc"))?, choice)?;
    let first = reader.sample()?;
    reader.settle(Duration::from_secs(5));
    let second = reader.sample()?;
    let ms = |nanos: u64| nanos as f64 / 1e6;
    println!("first: {} tasks, {:.1} ms CPU", first.cost.tasks, ms(first.cost.cpu));
    println!("identities: {} in {:.1} ms CPU, that sample included", second.identities.len(), ms(second.cost.cpu));
    let (mut cpu, mut wall, mut rows, mut tasks) = (0, 0, 0, 0);
    for _ in 0..samples {
        let sample = reader.sample()?;
        cpu += sample.cost.cpu;
        wall += sample.cost.sampling;
        rows += sample.tasks.len();
        tasks = sample.cost.tasks;
    }
    let samples = f64::from(samples);
    let (cpu, wall) = (ms(cpu) / samples, ms(wall) / samples);
    let each = cpu * 1e3 / f64::from(tasks.max(1));
    println!(
        "then: {tasks} tasks, {:.0} of them changed, {cpu:.2} ms CPU, {wall:.2} ms wall, {each:.2} µs a task",
        rows as f64 / samples
    );
    Ok(())
}
