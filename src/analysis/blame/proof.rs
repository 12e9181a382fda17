//! The numbers behind a case: who waits and where, how busy what they wait for is, what the accused takes.
//!
//! Pure text. Tested by `tests/scenarios.rs`.

use super::{Case, Totals, stuck};
use crate::analysis::diagnosis::{DiskUse, Job, Resource, Stuck, WaitGroup};
use crate::analysis::limits::{Limit, Scarce};
use crate::units::{SECOND, bytes, count, rate, span};

/// Wait groups and jobs told of at the most.
const TOLD: usize = 3;
/// A unit that was held up for less than this part of the time was not held up.
const HELD_UP: f64 = 0.05;

/// What the case rests on, strongest first.
pub fn proof(jobs: &[Job], waits: &[WaitGroup], case: &Case<'_>, totals: Totals<'_>) -> Vec<String> {
    let mut lines: Vec<String> = case.because.iter().cloned().collect();
    lines.extend(case.victims.iter().take(TOLD).flat_map(|&i| victim(jobs, waits, i, case, totals)));
    match case.resource {
        Resource::Cpu => lines.extend(totals.cpu_busy.map(|busy| {
            let runnable: u32 = jobs.iter().map(|job| job.runnable).sum();
            format!("{busy:.1} of {:.0} CPUs are busy, {} runnable now", totals.cpus, count(runnable as usize, "task"))
        })),
        Resource::Disk => {
            let of_case = |disk: &&DiskUse| case.device.as_ref().is_none_or(|device| disk.name == *device);
            lines.extend(totals.disks.iter().find(of_case).map(disk));
        }
        Resource::Memory => lines.extend(totals.memory.as_ref().map(|memory| {
            let free = memory.available.map_or_else(String::new, |free| format!(", {} of it can be had", bytes(free as f64)));
            let swap = memory.swap_total.saturating_sub(memory.swap_free);
            let swap = if swap > 0 { format!(", {} are swapped out", bytes(swap as f64)) } else { String::new() };
            format!("{} of memory{free}{swap}", bytes(memory.total as f64))
        })),
        Resource::FrozenFilesystem if case.culprit.is_none() && case.seen => lines.extend(frozen(jobs, waits, case, totals)),
        _ => {}
    }
    let of_victims = |limit: &&Limit| case.victims.iter().any(|&i| limit.has(i)) && is_short(limit, case.resource);
    let limits =
        totals.limits.iter().filter(|limit| case.limit.map_or_else(|| case.own_limit && of_victims(limit), |own| own == *limit));
    lines.extend(limits.take(TOLD).map(limit));
    lines.extend(case.culprit.into_iter().chain(case.also.iter().copied()).take(TOLD).filter_map(|i| taker(&jobs[i], case)));
    let pressure = totals.pressure.and_then(|pressure| match case.resource {
        Resource::Cpu => Some(("a CPU", pressure.cpu_some10)),
        Resource::Disk => Some(("I/O", pressure.io_some10)),
        Resource::Memory => Some(("memory", pressure.memory_some10)),
        _ => None,
    });
    lines.extend(pressure.map(|(what, share)| format!("somebody waited for {what} in {share:.0} % of the last ten seconds")));
    lines
}

/// `40 tasks of bash in pread64 on /mnt/www (ext4 on loop4): waits for the disk, the longest for 12 s`, and what its unit says.
fn victim(jobs: &[Job], waits: &[WaitGroup], i: usize, case: &Case<'_>, totals: Totals<'_>) -> Vec<String> {
    let job = &jobs[i];
    let name = &job.facts.name;
    let mut lines = Vec::new();
    let own = || waits.iter().filter(|group| group.job == job.facts.id && case.resource != Resource::Cpu);
    // What it waits for elsewhere is no proof of this; where nothing it waits in fits, as behind a lock, all of it is worth a look.
    let any_fits = case.seen && own().any(|group| fits(group, case));
    for group in own().filter(|group| !any_fits || fits(group, case)).take(TOLD) {
        let call = group.syscall.as_ref().map(|call| format!(" in {call}")).unwrap_or_default();
        let path = group.path.as_ref().map(|path| format!(" on {path}")).unwrap_or_default();
        let below = group.device.as_ref().or(group.source.as_ref());
        let place = match (&group.filesystem, below) {
            (Some(kind), Some(below)) => format!(" ({kind} on {below})"),
            (Some(only), None) | (None, Some(only)) => format!(" ({only})"),
            (None, None) => String::new(),
        };
        let meaning = group.meaning.as_ref().map(|meaning| format!(": {meaning}")).unwrap_or_default();
        let longest = group.examples.first().and_then(|task| task.stuck_for).map(since).unwrap_or_default();
        lines.push(format!("{} of {name}{call}{path}{place}{meaning}{longest}", count(group.tasks as usize, "task")));
    }
    if case.resource == Resource::Cpu {
        let (wait, has) = (job.usage.cpu_wait.unwrap_or_default(), job.usage.cpu_cores.unwrap_or_default());
        let own = job.facts.members.iter().filter_map(|member| totals.recent.get(&member.id)?.hungriest);
        let hungriest = own.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
        let hungriest = hungriest.map_or_else(String::new, |(tid, part)| {
            format!("; its task {tid} waited for one in {:.0} % of the time", part * 100.0)
        });
        lines.push(format!("{name} wants {wait:.1} CPUs more than the {has:.1} it has{hungriest}"));
    }
    let stalls = job.stalls;
    let stalled = match case.resource {
        Resource::Cpu => Some(("a CPU", stalls.cpu)),
        Resource::Disk => Some(("I/O", stalls.io)),
        Resource::Memory => Some(("memory", stalls.memory)),
        _ => None,
    };
    if let Some((what, Some(share))) = stalled.filter(|(_, share)| share.is_some_and(|share| share >= HELD_UP)) {
        lines.push(format!("{name} waited for {what} in {:.0} % of the time, by its own unit's count", share * 100.0));
    }
    lines
}

/// What is known of a freeze that nobody was seen to make.
fn frozen(jobs: &[Job], waits: &[WaitGroup], case: &Case<'_>, totals: Totals<'_>) -> Option<String> {
    let of_victim = |group: &&WaitGroup| case.victims.iter().any(|&i| jobs[i].facts.id == group.job);
    let longest = WaitGroup::longest(waits.iter().filter(of_victim).filter(|group| fits(group, case)))?;
    let began = span(longest.seconds);
    let seen = totals.freezes.last_seen(case.mount.as_deref());
    Some(match seen {
        Some(seen) => {
            let job = jobs.iter().find(|job| job.facts.id == seen.job);
            let who = job.map_or("somebody who is gone", |job| &job.facts.name);
            let ago = span(totals.instant.since_boot.saturating_sub(seen.at) as f64 / SECOND as f64);
            format!(
                "{who} ran {} {ago} ago, and nobody had to wait until {began} ago: it may be that, or another freeze since",
                seen.command
            )
        }
        None => format!("nobody was seen to freeze it, at least {began} ago"),
    })
}

fn is_short(limit: &Limit, resource: Resource) -> bool {
    match limit.of {
        Scarce::Cpu(_) => resource == Resource::Cpu,
        Scarce::Memory { .. } => resource == Resource::Memory,
        Scarce::Disk(_) => resource == Resource::Disk,
    }
}

/// `/shop.slice is at its limit of memory (512 MiB), 12 times a second`
fn limit(limit: &Limit) -> String {
    let at = match &limit.of {
        Scarce::Cpu(seconds) => format!("of CPU time, which keeps it from running for {seconds:.2} s a second"),
        Scarce::Memory { times, bytes: most } => {
            let most = most.map(|most| format!(" ({})", bytes(most as f64))).unwrap_or_default();
            let often = if *times >= 1.0 { format!(", {times:.0} times a second") } else { String::new() };
            format!("of memory{most}{often}")
        }
        Scarce::Disk(device) => format!("of what it may move from and to {device}"),
    };
    format!("{} is at its limit {at}", limit.path)
}

/// Whether those wait for what the case is about, as far as that is known.
fn fits(group: &WaitGroup, case: &Case<'_>) -> bool {
    let same = |own: &Option<String>, of_case: &Option<String>| own.is_none() || of_case.is_none() || own == of_case;
    let by_mount = matches!(case.resource, Resource::FrozenFilesystem | Resource::NetworkFilesystem);
    let place = if by_mount { same(&group.mount, &case.mount) } else { same(&group.device, &case.device) };
    group.resource == Some(case.resource) && (place || !by_mount && case.resource != Resource::Disk)
}

fn since(stuck: Stuck) -> String {
    format!(", the longest for {stuck}")
}

/// `loop4 is 98 % busy: 400 requests/s take 42 ms each, 31 in flight, reads 16 MB/s, writes 0 B/s`
fn disk(disk: &DiskUse) -> String {
    let each = disk.await_ms.map_or_else(
        || "no request ended".to_owned(),
        |ms| format!("{:.0} requests/s take {ms:.0} ms each", disk.reads + disk.writes),
    );
    format!(
        "{} is {:.0} % busy: {each}, {:.0} in flight, reads {}, writes {}",
        disk.name,
        disk.util * 100.0,
        disk.queue,
        rate(disk.read_bytes),
        rate(disk.write_bytes)
    )
}

fn taker(job: &Job, case: &Case<'_>) -> Option<String> {
    let name = &job.facts.name;
    match case.resource {
        Resource::Cpu => job.usage.cpu_cores.map(|cores| format!("{name} takes {cores:.1} CPUs")),
        Resource::Memory => job.usage.resident.map(|held| {
            let grows = job.usage.memory_growth.filter(|growth| *growth >= 1.0);
            let grows = grows.map(|growth| format!(", {} more than before", rate(growth))).unwrap_or_default();
            format!("{name} holds {} of memory{grows}", bytes(held as f64))
        }),
        Resource::Disk => {
            let moved = job.usage.disk_bytes()?;
            let known = stuck::on_disk(job, case.device.as_deref()).is_some() && job.disks.is_some();
            let where_to = match (&case.device, known) {
                (Some(device), true) => format!(", its files are on {device}"),
                (Some(_), false) => ", on which disk cannot be seen".to_owned(),
                (None, _) => String::new(),
            };
            Some(format!("{name} moves {}{where_to}", rate(moved)))
        }
        _ => None,
    }
}
