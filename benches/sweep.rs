//! What one sample of this host costs in CPU time: `cargo bench --bench sweep -- [proc|kernel] [SAMPLES]`.
//!
//! Start the processes to be counted before; the figures of the design were taken with 5,000 that sleep. The floor of `proc` is a
//! bare sweep through `schedstat` files kept open. With `kernel`, the bare read of the same iterator is measured in turns with the
//! samples: the same records of the same host, and nothing done with them.

use std::{io::Read, path::Path, time::Duration};

use aya::{Btf, Ebpf, EbpfLoader, programs::Iter};
use rustix::{
    process::getpid,
    time::{ClockId, clock_gettime},
};
use whytop::kernel::{Choice, ProcRoot, Reader};

const OBJECT: &[u8] = include_bytes!("../src/kernel/bpf/tasks.bpf.o");

/// The iterator with nothing around it.
struct Bare {
    ebpf: Ebpf,
    buffer: Vec<u8>,
}

impl Bare {
    fn load() -> anyhow::Result<Self> {
        let types = Btf::from_sys_fs()?;
        let mut ebpf = EbpfLoader::new().btf(Some(&types)).load(OBJECT)?;
        let mut bare = Self {
            buffer: vec![0; 32 * 1024],
            ebpf: {
                program(&mut ebpf)?.load("task", &types)?;
                ebpf
            },
        };
        bare.read()?;
        Ok(bare)
    }

    /// Nanoseconds of CPU for one read of all tasks.
    fn read(&mut self) -> anyhow::Result<u64> {
        let start = cpu();
        let program = program(&mut self.ebpf)?;
        let link = program.attach()?;
        let mut file = program.take_link(link)?.into_file()?;
        while file.read(&mut self.buffer)? > 0 {}
        drop(file);
        Ok(cpu() - start)
    }
}

fn program(ebpf: &mut Ebpf) -> anyhow::Result<&mut Iter> {
    let program = ebpf.program_mut("tasks").ok_or_else(|| anyhow::anyhow!("no program"))?;
    Ok(program.try_into()?)
}

fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

fn memory() -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", getpid())).unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("VmHWM") || line.starts_with("VmRSS"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}

fn main() -> anyhow::Result<()> {
    let samples = std::env::args().find_map(|word| word.parse::<u32>().ok()).unwrap_or(50);
    let choice = if std::env::args().any(|word| word == "kernel") { Choice::Kernel } else { Choice::Proc };
    let whytop = Path::new(env!("CARGO_BIN_EXE_whytop"));
    let mut reader = Reader::with_loader(ProcRoot::open(Path::new("/proc"))?, choice, whytop)?;
    let first = reader.sample()?;
    reader.settle(Duration::from_secs(5));
    let second = reader.sample()?;
    let ms = |nanos: u64| nanos as f64 / 1e6;
    println!("first: {} tasks, {:.1} ms CPU", first.cost.tasks, ms(first.cost.cpu));
    println!("identities: {} in {:.1} ms CPU, that sample included", second.identities.len(), ms(second.cost.cpu));
    drop((first, second));
    println!("memory: {}", memory());
    let mut bare = (choice == Choice::Kernel).then(Bare::load).transpose()?;
    let (mut spent, mut wall, mut floor, mut rows, mut tasks) = (0, 0, 0, 0, 0);
    for _ in 0..samples {
        if let Some(bare) = &mut bare {
            floor += bare.read()?;
        }
        let start = cpu();
        let sample = reader.sample()?;
        spent += cpu() - start;
        wall += sample.cost.sampling;
        rows += sample.tasks.len();
        tasks = sample.cost.tasks;
    }
    let samples = f64::from(samples);
    let (spent, wall, floor) = (ms(spent) / samples, ms(wall) / samples, ms(floor) / samples);
    let each = spent * 1e3 / f64::from(tasks.max(1));
    println!(
        "then: {tasks} tasks, {:.0} of them changed, {spent:.2} ms CPU, {wall:.2} ms wall, {each:.2} µs a task",
        rows as f64 / samples
    );
    if bare.is_some() {
        println!("floor: {floor:.2} ms CPU for the bare read, so {:.2} times that", spent / floor);
    }
    Ok(())
}
