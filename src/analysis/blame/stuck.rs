//! Tasks in uninterruptible sleep: what keeps them there, disk by disk and filesystem by filesystem, and who.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use std::collections::BTreeMap;

use compact_str::CompactString;

use super::{
    CULPRIT_SHARE, Case, DISK_BUSY, DISK_NOISE, MOSTLY_MEMORY, Taking, Totals, WATCH_TASKS, WEDGED_SURE, blame_weight,
    filesystem, flush, is_program, memory, waiting_jobs,
};
use crate::analysis::diagnosis::{Job, Kind, Resource, WaitGroup, Wedged};
use crate::analysis::limits::{Limit, Scarce};
use crate::analysis::storage::is_stacked;
use crate::analysis::wedge;

/// A job waits in uninterruptible sleep when it has this many such tasks on average.
const VICTIM_TASKS: f64 = 0.5;
/// A backup that uses this many CPUs is at work, even if its I/O is hidden.
const AT_WORK_CORES: f64 = 0.02;
/// How sure it is that those wait for nobody whom the kernel sees at a limit of their own.
const OWN_LIMIT_SURE: f64 = 0.8;
/// A unit that waits in uninterruptible sleep waits for what held it up for this part of the time.
pub const HELD_UP: f64 = 0.1;
/// Whoever was stuck for so many seconds before somebody started does not wait because of him.
const BEFORE: f64 = 5.0;
/// Nobody waits this long for a disk that answers: such a task waits for something that will not come, whoever else is at work.
const FORGOTTEN: f64 = 600.0;
/// A file server is silent when somebody has waited for one answer for so many seconds: a busy one takes a fraction of that for each
/// (`busy-file-server.toml`), and one that is gone never answers.
const SILENT: f64 = 5.0;
/// Kernel work that takes a disk away on its own account, by the names of `analysis::jobs::kernel`.
const KERNEL_WORK: [&str; 5] =
    ["kernel: md resync", "kernel: btrfs scrub", "kernel: zfs scrub", "kernel: device mapper", "kernel: drbd"];

/// Kernel work for others: named only where those it works for have finished, and nobody else moves anything
/// (`left-behind-in-the-journal.toml`).
const FOR_OTHERS: [&str; 2] = ["kernel: journal", "kernel: writeback"];
/// How sure that is.
const FOR_OTHERS_SURE: f64 = 0.5;

/// What tasks wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// `None`: it cannot be seen.
    resource: Option<Resource>,
    device: Option<String>,
    mount: Option<String>,
    /// Which of the control groups that have come to a limit they are in, where that is what is short.
    limit: Option<usize>,
}

/// Every case there is.
pub fn cases<'a>(jobs: &[Job], waits: &[WaitGroup], wedged: &[Wedged], totals: Totals<'a>) -> Vec<Case<'a>> {
    let victims = waiting_jobs(jobs, VICTIM_TASKS, |job| job.usage.stuck);
    let general = place_of(waits.iter());
    let mut places: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
    for i in victims {
        // One that is between two waits at this instant waits for what most do.
        let own: Vec<&WaitGroup> = waits.iter().filter(|group| group.job == jobs[i].facts.id).collect();
        let place = if own.is_empty() { general.clone() } else { place_of(own.into_iter()) };
        let place = if place.resource.is_some() { place } else { felt(&jobs[i]).unwrap_or(place) };
        let place = match place {
            Place { resource: Some(Resource::Disk), device: None, .. } => Place { device: own_disk(&jobs[i], totals), ..place },
            place => place,
        };
        let place = at_limit(jobs, i, waits, place, totals);
        places.entry(place).or_default().push(i);
    }
    join_unknown(&mut places);
    join_wedged(&mut places, wedged);
    join_locks(&mut places, jobs, waits);
    places.into_iter().filter_map(|(place, victims)| case(jobs, waits, wedged, place, victims, totals)).collect()
}

/// The one busy disk that a job moves anything on: page faults name no file, and most wait where they read.
fn own_disk(job: &Job, totals: Totals<'_>) -> Option<String> {
    let busy = |name: &&CompactString| totals.disks.iter().any(|disk| disk.name == **name && disk.util >= DISK_BUSY);
    let (above, below): (Vec<_>, Vec<_>) = job.disks.iter().flatten().filter(busy).partition(|name| is_stacked(name));
    // The uppermost counts, as it does for a file.
    match if above.is_empty() { below } else { above }.as_slice() {
        [only] => Some(only.to_string()),
        _ => None,
    }
}

/// The same place, with the limit that keeps a job there: of the disk that it waits for, or of memory. Whoever waits nobody knows where and is
/// at a limit of what it may move waits for that.
fn at_limit(jobs: &[Job], i: usize, waits: &[WaitGroup], place: Place, totals: Totals<'_>) -> Place {
    let below = |name: &str| {
        let own = || waits.iter().filter(|group| group.job == jobs[i].facts.id && !group.devices.is_empty());
        place.device.as_deref() == Some(name)
            || own().next().is_none()
            || own().any(|group| group.devices.iter().any(|device| device == name))
    };
    let fits = |limit: &Limit| match &limit.of {
        Scarce::Disk(name) => matches!(place.resource, None | Some(Resource::Disk)) && below(name),
        Scarce::Memory { .. } => place.resource == Some(Resource::Memory) && memory::is_limited(jobs, i, waits, totals),
        Scarce::Cpu(_) => false,
    };
    // The innermost that is come to: what it may have, those around it may have too.
    let comes_to_it = |limit: &Limit| !matches!(limit.of, Scarce::Memory { times, .. } if times == 0.0);
    let found = (0..)
        .zip(totals.limits)
        .filter(|(_, limit)| limit.has(i) && fits(limit))
        .max_by_key(|(_, limit)| (comes_to_it(limit), limit.path.len()));
    match found {
        Some((at, Limit { of: Scarce::Disk(name), .. })) => {
            let device = place.device.or_else(|| Some(name.clone()));
            Place { resource: Some(Resource::Disk), device, limit: Some(at), ..place }
        }
        found => Place { limit: found.map(|(at, _)| at), ..place },
    }
}

/// What a job waits for by the count of its own control group, where its tasks' waits cannot be seen.
fn felt(job: &Job) -> Option<Place> {
    let (io, memory) = (job.stalls.io.unwrap_or_default(), job.stalls.memory.unwrap_or_default());
    // Whoever waits for a page from swap waits for I/O too.
    let resource = match memory >= io * MOSTLY_MEMORY {
        true if memory >= HELD_UP => Resource::Memory,
        _ if io >= HELD_UP => Resource::Disk,
        _ => return None,
    };
    Some(Place { resource: Some(resource), ..Place::default() })
}

/// What most of these tasks wait for.
fn place_of<'a>(groups: impl Iterator<Item = &'a WaitGroup>) -> Place {
    let mut counts: BTreeMap<Place, u32> = BTreeMap::new();
    for group in groups.filter(|group| group.resource.is_some()) {
        let resource = group.resource;
        // The disk and the mount matter where they are what is short: whoever waits for a lock or for memory may have a file in hand too.
        let device = group.device.clone().filter(|_| resource == Some(Resource::Disk));
        let by_mount = matches!(resource, Some(Resource::FrozenFilesystem | Resource::NetworkFilesystem));
        let mount = group.mount.clone().filter(|_| by_mount);
        *counts.entry(Place { resource, device, mount, limit: None }).or_default() += group.tasks;
    }
    // The first of equals, so that the order of tasks does not matter.
    let most = counts.values().copied().max();
    counts.into_iter().find(|(_, tasks)| Some(*tasks) == most).map(|(place, _)| place).unwrap_or_default()
}

/// Tasks of which the disk is not known most likely wait for the one that is, if it is the only one.
fn join_unknown(places: &mut BTreeMap<Place, Vec<usize>>) {
    for resource in [Resource::Disk, Resource::FrozenFilesystem, Resource::NetworkFilesystem] {
        let unknown = Place { resource: Some(resource), ..Place::default() };
        let mut known = places.keys().filter(|place| place.resource == Some(resource) && **place != unknown);
        if let (Some(only), None) = (known.next().cloned(), known.next()) {
            let more = places.remove(&unknown).unwrap_or_default();
            places.entry(only).or_default().extend(more);
        }
    }
}

/// Whoever waits for a lock waits for its holder. One that blocks all who look at it holds one, and what it waits for itself is what they
/// all wait for. It also says more than waits that nobody knows or that are for no resource.
fn join_wedged(places: &mut BTreeMap<Place, Vec<usize>>, wedged: &[Wedged]) {
    let Some(resource) = wedge::resource(wedged) else { return };
    for vague in [None, Some(Resource::Lock), Some(Resource::None)] {
        if let Some(more) = places.remove(&Place { resource: vague, ..Place::default() }) {
            let known = places.keys().find(|place| place.resource == Some(resource)).cloned();
            let known = known.unwrap_or(Place { resource: Some(resource), ..Place::default() });
            places.entry(known).or_default().extend(more);
        }
    }
}

/// Who waits for a lock waits for what its owner waits for: for the place of the task that has been stuck longer than all of them.
fn join_locks(places: &mut BTreeMap<Place, Vec<usize>>, jobs: &[Job], waits: &[WaitGroup]) {
    let longest = |members: &[usize], lock: bool| {
        let of_them = |group: &&WaitGroup| members.iter().any(|&i| jobs[i].facts.id == group.job);
        let same = |group: &&WaitGroup| (group.resource == Some(Resource::Lock)) == lock;
        WaitGroup::longest(waits.iter().filter(of_them).filter(same)).map_or(0.0, |stuck| stuck.seconds)
    };
    let lock = Place { resource: Some(Resource::Lock), ..Place::default() };
    let Some(waiting) = places.get(&lock) else { return };
    let since = longest(waiting, true);
    let owner = places
        .iter()
        .filter(|(place, _)| **place != lock && !matches!(place.resource, None | Some(Resource::None)))
        .map(|(place, members)| (place, longest(members, false)))
        .filter(|(_, longest)| *longest >= since)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(place, _)| place.clone());
    if let Some(owner) = owner {
        let behind = places.remove(&lock).unwrap_or_default();
        places.entry(owner).or_default().extend(behind);
    }
}

fn case<'a>(
    jobs: &[Job],
    waits: &[WaitGroup],
    wedged: &[Wedged],
    place: Place,
    mut victims: Vec<usize>,
    totals: Totals<'a>,
) -> Option<Case<'a>> {
    let tasks = |i: usize| jobs[i].usage.stuck;
    victims.sort_by(|&a, &b| tasks(b).total_cmp(&tasks(a)));
    let least = totals.least(WATCH_TASKS, place.resource.unwrap_or(Resource::Disk));
    if victims.iter().map(|&i| tasks(i)).sum::<f64>() < least {
        return None;
    }
    let device = place.device.as_deref();
    let limit = place.limit.and_then(|at| totals.limits.get(at));
    let disk = || disk_culprit(jobs, waits, &victims, device, limit, totals);
    let mount = place.mount.as_deref();
    let here: Vec<&WaitGroup> = waits
        .iter()
        .filter(|group| group.resource == place.resource && victims.iter().any(|&i| jobs[i].facts.id == group.job))
        .filter(|group| mount.is_none() || group.mount.is_none() || group.mount.as_deref() == mount)
        .collect();
    let served = place.resource == Some(Resource::NetworkFilesystem);
    let silent = place.resource == wedge::resource(wedged)
        || here.iter().any(|group| group.longest.is_some_and(|stuck| stuck.seconds >= SILENT));
    let found = match place.resource {
        Some(Resource::FrozenFilesystem) => filesystem::freezer(jobs, &here, mount, &victims, totals),
        Some(Resource::NetworkFilesystem) => filesystem::silent_daemon(jobs, &here, mount, &victims, silent, totals),
        _ => None,
    };
    let answers = served && !silent && found.is_none();
    let known = place.resource;
    // Where nobody sees what they wait for, pressure tells memory from disks.
    let on_memory = known == Some(Resource::Memory) || known.is_none() && totals.memory_pressed();
    let by_nobody = || (on_memory && limit.is_none()).then(|| memory::reclaim(jobs, &victims, waits, totals)).flatten();
    let (culprit, also) = match known {
        Some(Resource::FrozenFilesystem | Resource::NetworkFilesystem) => (found.as_ref().map(|found| found.job), Vec::new()),
        _ if on_memory => {
            let taken = memory::culprit(jobs, waits, &victims, limit, totals);
            taken.map_or_else(|| (by_nobody(), Vec::new()), |(culprit, also)| (Some(culprit), also))
        }
        Some(Resource::Lock) => (lock_owner(jobs, waits, &victims), Vec::new()),
        Some(Resource::Disk) => disk(),
        None if totals.disk_pressed => disk(),
        // They wait for what is no resource (their own children), or for nobody knows what while the disks rest: a backup that runs beside
        // them has nothing to do with that (`busy-file-server.toml`, its waits unseen).
        _ => (None, Vec::new()),
    };
    let on_disks = culprit.is_none() && known == Some(Resource::Disk) && limit.is_none();
    let writer = on_disks.then(|| flush::writer(jobs, waits, &victims, device, totals)).flatten();
    let culprit = culprit.or(writer.as_ref().map(|writer| writer.job));
    victims.retain(|&i| Some(i) != culprit && !also.contains(&i));
    let waiting: f64 = victims.iter().map(|&i| tasks(i)).sum();
    let on_disk = known == Some(Resource::Disk) && limit.is_some();
    let limited = on_disk || on_memory && victims.iter().all(|&v| memory::is_limited(jobs, v, waits, totals));
    let own_limit = culprit.is_none() && limited;
    let seen = known.is_some_and(|resource| resource != Resource::None);
    let share = culprit.and_then(|i| match known {
        _ if writer.is_some() || on_memory && memory::is_reclaim(&jobs[i]) => None,
        _ if on_memory => memory::share(&jobs[i], limit, totals),
        Some(Resource::Lock | Resource::FrozenFilesystem | Resource::NetworkFilesystem) => None,
        _ => disk_share(jobs, i, device, limit, totals),
    });
    let confidence = match (culprit, share, known) {
        // It is seen in the kernel's own names, and felt.
        (None, ..) if known.is_some() && known == wedge::resource(wedged) => WEDGED_SURE,
        (None, _, Some(Resource::FrozenFilesystem | Resource::NetworkFilesystem)) if !answers => 0.9,
        (None, ..) if own_limit => OWN_LIMIT_SURE,
        (None, ..) => 0.4,
        (Some(_), _, Some(Resource::FrozenFilesystem | Resource::NetworkFilesystem)) => {
            found.as_ref().map_or(0.4, |found| found.sure)
        }
        (Some(_), ..) if writer.is_some() => flush::SURE,
        (Some(i), ..) if is_for_others(&jobs[i]) || memory::is_reclaim(&jobs[i]) => FOR_OTHERS_SURE,
        (Some(_), Some(share), Some(Resource::Memory)) => (0.6 + 0.4 * share).min(0.95),
        (Some(i), Some(share), Some(_)) => (0.6 + 0.4 * share).min(0.95) * which_disk(&jobs[i], device, totals),
        (Some(_), Some(share), None) if on_memory => (0.45 + 0.4 * share).min(0.8),
        (Some(i), Some(share), None) => (0.45 + 0.4 * share).min(0.8) * which_disk(&jobs[i], device, totals),
        (Some(_), None, _) => 0.5,
    };
    let resource = match known {
        Some(resource) if seen => resource,
        _ if on_memory => Resource::Memory,
        _ if culprit.is_some() => Resource::Disk,
        _ => Resource::None,
    };
    let because = found.map(|found| found.because).or(writer.map(|writer| writer.because));
    let Place { device, mount, .. } = place;
    Some(Case {
        resource,
        device,
        mount,
        victims,
        waiting,
        culprit,
        also,
        share,
        seen,
        own_limit,
        limit,
        answers,
        because,
        confidence,
    })
}

/// The task that has been stuck in it longest holds the lock, most likely; its job, where that is another one than those who wait.
fn lock_owner(jobs: &[Job], waits: &[WaitGroup], victims: &[usize]) -> Option<usize> {
    let longest = |i: usize| {
        let in_locks = waits.iter().filter(|group| group.job == jobs[i].facts.id && group.resource == Some(Resource::Lock));
        WaitGroup::longest(in_locks).map_or(0.0, |stuck| stuck.seconds)
    };
    let mut by_time: Vec<usize> = victims.to_vec();
    by_time.sort_by(|&a, &b| longest(b).total_cmp(&longest(a)));
    match by_time.as_slice() {
        [first, second, ..] if longest(*first) > longest(*second) => Some(*first),
        _ => None,
    }
}

/// How far to believe that the accused uses the disk that is waited for: with two busy disks it may as well be the other one.
fn which_disk(job: &Job, device: Option<&str>, totals: Totals<'_>) -> f64 {
    let busy = totals.disks.iter().filter(|disk| disk.util >= DISK_BUSY && !is_stacked(&disk.name)).count();
    match (device, &job.disks) {
        _ if busy < 2 => 1.0,
        (None, _) => 0.7,
        (Some(_), None) => 0.85,
        (Some(_), Some(_)) => 1.0,
    }
}

fn is_for_others(job: &Job) -> bool {
    !is_program(job) && FOR_OTHERS.contains(&job.facts.name.as_str())
}

/// Bytes per second that this job may move on this disk: all it moves, unless its files are known to lie elsewhere.
pub fn on_disk(job: &Job, device: Option<&str>) -> Option<f64> {
    let elsewhere = device.zip(job.disks.as_ref()).is_some_and(|(device, disks)| !disks.iter().any(|disk| disk == device));
    job.usage.disk_bytes().filter(|_| !elsewhere)
}

/// A job's part in what this disk moves, for those in a control group where that has come to a limit.
fn disk_share(jobs: &[Job], i: usize, device: Option<&str>, limit: Option<&Limit>, totals: Totals<'_>) -> Option<f64> {
    let Some(name) = device else { return jobs[i].share.disk };
    let own = on_disk(&jobs[i], device)?;
    let inside = |i: &usize| limit.is_none_or(|limit| limit.has(*i));
    let programs = (0..jobs.len()).filter(|i| is_program(&jobs[*i]) && inside(i));
    let seen: f64 = programs.filter_map(|i| on_disk(&jobs[i], device)).sum();
    let moved = totals.disks.iter().find(|disk| disk.name == name).map(|disk| disk.read_bytes + disk.write_bytes);
    // What hidden processes move shows in the disk's own counters.
    let all = if totals.io_hidden && limit.is_none() { seen.max(moved.unwrap_or_default()) } else { seen };
    let all = if is_program(&jobs[i]) { all } else { all + own };
    (all > 0.0).then_some(own / all)
}

/// Whether others wait on whose behalf this job may be accused of using a disk. A lone victim that does all the I/O has only itself to blame.
pub fn others_wait(jobs: &[Job], waits: &[WaitGroup], victims: &[usize], i: usize, totals: Totals<'_>) -> bool {
    let shortest = |v: usize| {
        let own = waits.iter().filter(|group| group.job == jobs[v].facts.id).filter_map(|group| group.shortest);
        own.reduce(f64::min).unwrap_or_default()
    };
    // Waits because of this one: not himself, and not since before there was one.
    let may_wait = |v: usize| {
        let alive = jobs[i].age;
        v != i && shortest(v) < FORGOTTEN && alive.is_none_or(|alive| shortest(v) <= alive + BEFORE)
    };
    let waiting: f64 = victims.iter().filter(|&&v| may_wait(v)).map(|&v| jobs[v].usage.stuck).sum();
    waiting >= totals.least(WATCH_TASKS, Resource::Disk)
}

/// Who keeps the disk: by bytes where they may be seen, else a backup or batch job that is at work right now. With those that take
/// nearly as much.
fn disk_culprit(
    jobs: &[Job],
    waits: &[WaitGroup],
    victims: &[usize],
    device: Option<&str>,
    limit: Option<&Limit>,
    totals: Totals<'_>,
) -> (Option<usize>, Vec<usize>) {
    // A disk that is seen to rest keeps nobody waiting, but for one that is throttled: what a control group holds back is not counted as
    // in flight. Then whoever is to blame has to be seen with files on it.
    let rests = |name: &str| totals.disks.iter().any(|disk| disk.name == name && disk.util < DISK_BUSY);
    let rests = device.is_some_and(rests) && !totals.disk_pressed && limit.is_none();
    let others_wait = |i: usize| others_wait(jobs, waits, victims, i, totals);
    let takes_part = |job: &Job| is_program(job) || KERNEL_WORK.contains(&job.facts.name.as_str());
    let stands_accused = |job: &Job| totals.incumbent(job, Resource::Disk, device).is_some();
    let moves = |job: &Job| {
        (!rests || job.disks.is_some()) && on_disk(job, device).is_some_and(|bytes| bytes >= DISK_NOISE || stands_accused(job))
    };
    let inside = |i: usize| limit.is_none_or(|limit| limit.has(i));
    let share = |i: usize| disk_share(jobs, i, device, limit, totals).filter(|_| inside(i)).unwrap_or_default();
    let candidate = |i: usize| inside(i) && takes_part(&jobs[i]) && others_wait(i) && moves(&jobs[i]);
    let taking = Taking { jobs, resource: Resource::Disk, device, totals, least: CULPRIT_SHARE, share };
    let taken = taking.most(candidate);
    if taken.is_none() && (rests || limit.is_some()) {
        return (None, Vec::new());
    }
    if let Some((culprit, also)) = taken {
        // Whoever mostly waits for the disk is robbed of it, even if it gets as much as the robber.
        let robbed = |i: &usize| victims.contains(i) && jobs[*i].facts.finding.kind == Kind::Service;
        return (Some(culprit), also.into_iter().filter(|i| !robbed(i)).collect());
    }
    // A writer that has finished leaves its work to the kernel. Whoever still writes has it done on his own behalf.
    let programs: f64 = jobs.iter().filter(|job| is_program(job)).filter_map(|job| on_disk(job, device)).sum();
    let left_behind = (0..jobs.len()).filter(|&i| programs < DISK_NOISE && !totals.io_hidden && is_for_others(&jobs[i]));
    let left_behind = left_behind.filter(|&i| others_wait(i) && moves(&jobs[i]));
    if let Some(kernel) = left_behind.max_by(|&a, &b| share(a).total_cmp(&share(b))) {
        return (Some(kernel), Vec::new());
    }
    // What it moves is hidden: a backup at work is still the first to look at, and so is a batch job that is stuck like its
    // victims. One that is seen to move nothing is not.
    let at_work = |job: &Job| match job.facts.finding.kind {
        Kind::Backup => job.usage.cpu_cores.is_some_and(|cpu| cpu >= AT_WORK_CORES) || job.usage.stuck > 0.0,
        Kind::Batch => job.usage.stuck > 0.0,
        _ => false,
    };
    let weight =
        |i: usize| blame_weight(jobs[i].facts.finding.kind) * (jobs[i].usage.cpu_cores.unwrap_or_default() + jobs[i].usage.stuck);
    let hidden = (0..jobs.len())
        .filter(|&i| jobs[i].usage.disk_bytes().is_none())
        .filter(|&i| others_wait(i) && at_work(&jobs[i]))
        .max_by(|&a, &b| weight(a).total_cmp(&weight(b)));
    (hidden, Vec::new())
}
