//! What each job uses: what its processes did, the disks that goes to, the memory they hold, and what their control groups say.
//!
//! Pure, like all of [`super`]. Tested by `tests/scenarios.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use compact_str::CompactString;

use super::Monitor;
use crate::analysis::blame::DISK_NOISE;
use crate::analysis::diagnosis::{DiskUse, Job, JobId, Kind, Role, Share, Stalls, Usage};
use crate::analysis::jobs::{Instant, IoSeen};
use crate::analysis::storage::is_stacked;
use crate::analysis::window::Recent;
use crate::units::{ProcessId, clean};

/// Of what a job moves, the part of which the disk must be known before it counts as known.
const MOSTLY: f64 = 0.8;

/// Less than this is no use of a CPU that counts, in CPUs.
const CPU_NOISE: f64 = 0.01;

impl Monitor {
    /// Every job with what it uses.
    pub(super) fn weigh(
        &self,
        recent: &HashMap<ProcessId, Recent>,
        disks: &[DiskUse],
        io_hidden: bool,
        instant: Instant,
    ) -> Vec<Job> {
        let rates = self.window.has_rates();
        let mut jobs: Vec<Job> = self
            .jobs
            .iter()
            .map(|(facts, io)| {
                // Seen, and nothing moved, until somebody did: a measured zero.
                let still = (rates && io != IoSeen::Nothing).then_some(0.0);
                let usage = Usage { cpu_cores: rates.then_some(0.0), read_bytes: still, write_bytes: still, ..Usage::default() };
                let usual = self.past.usual(facts);
                let facts = Arc::clone(facts);
                let age = facts.root.map(|root| instant.age(root));
                let (role, share) = (Role::Bystander, Share::default());
                Job {
                    facts,
                    role,
                    usage,
                    stalls: Stalls::default(),
                    runnable: 0,
                    uninterruptible: 0,
                    share,
                    disks: None,
                    age,
                    usual,
                    earlier: None,
                }
            })
            .collect();
        let by_id: HashMap<&JobId, usize> = self.jobs.iter().enumerate().map(|(at, (facts, _))| (&facts.id, at)).collect();
        // In order, for sums of fractions depend on it and equals shall stay equal.
        let mut ordered: Vec<(&ProcessId, &Recent)> = recent.iter().collect();
        ordered.sort_unstable_by_key(|(id, _)| **id);
        for (id, recent) in ordered {
            if let Some(job) = self.jobs.index_of(*id).and_then(|index| jobs.get_mut(index)) {
                accumulate(&mut job.usage, &recent.usage);
                job.runnable += recent.runnable;
                job.uninterruptible += recent.stuck;
            } else if let Some(job) = self.of_late.get(id).and_then(|id| jobs.get_mut(*by_id.get(id)?)) {
                // It has ended, and what it did lately was done all the same.
                accumulate(&mut job.usage, &Usage { stuck: 0.0, ..recent.usage });
            }
        }
        // Little seen of a process whose counters went back says nothing: it is not known, rather than none.
        for (id, _) in recent.iter().filter(|(_, recent)| recent.lost) {
            let Some(job) = self.jobs.index_of(*id).and_then(|index| jobs.get_mut(index)) else { continue };
            job.usage.cpu_cores = job.usage.cpu_cores.filter(|cores| *cores >= CPU_NOISE);
            forget_little_io(&mut job.usage);
        }
        for (id, cores) in self.window.brief() {
            if let Some(job) = by_id.get(id).and_then(|index| jobs.get_mut(*index)) {
                *job.usage.cpu_cores.get_or_insert(0.0) += cores;
            }
        }
        self.look_up_disks(&mut jobs, recent);
        self.add_up_memory(&mut jobs, instant);
        let cpu: f64 = jobs.iter().filter_map(|job| job.usage.cpu_cores).sum();
        for (job, _) in jobs.iter_mut().zip(self.jobs.iter()).filter(|(_, (_, io))| *io != IoSeen::Everything) {
            // Much seen of a part is at least that much of the whole; little seen of a part says nothing.
            forget_little_io(&mut job.usage);
        }
        self.ask_cgroups(&mut jobs);
        // A kernel thread that serves a stacked device (loop, dm) moves the same bytes a second time, for a program.
        let is_program = |job: &Job| job.facts.finding.kind != Kind::Kernel;
        let seen: f64 = jobs.iter().filter(|job| is_program(job)).filter_map(|job| job.usage.disk_bytes()).sum();
        // What hidden processes move shows in the disks' own counters. Stacked devices (dm, md, loop) would count it twice.
        let moved: f64 = disks.iter().filter(|disk| !is_stacked(&disk.name)).map(|disk| disk.read_bytes + disk.write_bytes).sum();
        let bytes = if io_hidden { seen.max(moved) } else { seen };
        for job in &mut jobs {
            job.share.cpu = job.usage.cpu_cores.filter(|_| cpu > 0.0).map(|cores| cores / cpu);
            let whole = |part: f64| if is_program(job) { bytes } else { bytes + part };
            job.share.disk = job.usage.disk_bytes().filter(|part| whole(*part) > 0.0).map(|part| part / whole(part));
        }
        jobs
    }

    /// Which disks what a job moves goes to, where nearly all of it is known by open files.
    fn look_up_disks(&self, jobs: &mut [Job], recent: &HashMap<ProcessId, Recent>) {
        let mut known: HashMap<usize, (f64, BTreeSet<CompactString>)> = HashMap::new();
        for (id, recent) in recent.iter().filter(|(_, recent)| recent.usage.disk_bytes().is_some_and(|bytes| bytes > 0.0)) {
            let Some(entry) = self.table.get(id.pid) else { continue };
            let (Some(files), Some(job)) = (&entry.files, self.jobs.index_of(*id)) else { continue };
            let (reads, writes) = (recent.usage.read_bytes.unwrap_or_default(), recent.usage.write_bytes.unwrap_or_default());
            let touched =
                files.all.iter().filter(|file| file.writing && writes >= DISK_NOISE || file.reading && reads >= DISK_NOISE);
            let disks: Vec<CompactString> = touched.flat_map(|file| self.layers.devices(&file.file)).collect();
            if !disks.is_empty() {
                let (bytes, all) = known.entry(job).or_default();
                *bytes += reads + writes;
                all.extend(disks);
            }
        }
        for (job, (bytes, disks)) in known {
            let Some(job) = jobs.get_mut(job) else { continue };
            if job.usage.disk_bytes().is_some_and(|all| bytes >= all * MOSTLY) {
                job.disks = Some(disks.iter().map(|name| clean(name).into()).collect());
            }
        }
    }

    /// What each job holds of the memory, where somebody looked. What its processes share with each other (a database's buffers, the
    /// program's own file) counts once.
    fn add_up_memory(&self, jobs: &mut [Job], instant: Instant) {
        if !self.table.knows_memory() {
            return;
        }
        let mut shared = vec![0; jobs.len()];
        for entry in self.table.iter() {
            let (Some(held), Some(index)) = (&entry.resident, self.jobs.home_of(entry.process.id)) else { continue };
            let (Some(job), Some(most)) = (jobs.get_mut(index), shared.get_mut(index)) else { continue };
            let sum = job.usage.resident.get_or_insert(0);
            *sum = sum.saturating_add(held.now.private);
            *most = held.now.shared.max(*most);
            *job.usage.memory_growth.get_or_insert(0.0) += held.growth(instant.since_boot);
        }
        for (job, shared) in jobs.iter_mut().zip(shared) {
            job.usage.resident = job.usage.resident.map(|private| private.saturating_add(shared));
        }
    }

    /// What the control groups say of those jobs that have theirs for themselves: how they are held up, and what they move where that is
    /// hidden.
    fn ask_cgroups(&self, jobs: &mut [Job]) {
        if self.cgroups.is_empty() {
            return;
        }
        // By path: whose it is. `None`: of several.
        let mut owners: HashMap<&str, Option<usize>> = HashMap::new();
        for entry in self.table.iter() {
            let Some(path) = entry.identity.as_ref().and_then(|identity| identity.cgroup.as_deref()) else { continue };
            let index = self.jobs.home_of(entry.process.id);
            owners.entry(path).and_modify(|owner| *owner = owner.filter(|owner| Some(*owner) == index)).or_insert(index);
        }
        let mut owned: Vec<(&str, usize)> = owners.into_iter().filter_map(|(path, owner)| Some((path, owner?))).collect();
        owned.sort_unstable();
        let mut moved: BTreeMap<usize, Moved> = BTreeMap::new();
        for (path, index) in owned {
            let (Some(rates), Some(job)) = (self.cgroups.rates(path, &self.layers), jobs.get_mut(index)) else { continue };
            job.stalls.join(rates.stalls);
            let sum = moved.entry(index).or_insert(Moved { whole: true, ..Moved::default() });
            // What one of its groups moved and nobody knows leaves the sum a part.
            sum.whole &= rates.moved.is_some();
            if let Some((read, written)) = rates.bytes() {
                (sum.read, sum.written, sum.whole) = (sum.read + read, sum.written + written, sum.whole && rates.whole);
                let touched = rates.moved.into_iter().flatten().filter(|(_, read, written)| read + written >= DISK_NOISE);
                sum.disks.extend(touched.map(|(name, ..)| clean(&name).into()));
            }
        }
        for (index, Moved { read, written, whole, disks }) in moved {
            let io = self.jobs.iter().nth(index).map(|(_, io)| io);
            let Some(job) = jobs.get_mut(index).filter(|_| io != Some(IoSeen::Everything)) else { continue };
            if whole || read + written >= DISK_NOISE {
                job.usage.read_bytes = Some(job.usage.read_bytes.map_or(read, |seen| seen.max(read)));
                job.usage.write_bytes = Some(job.usage.write_bytes.map_or(written, |seen| seen.max(written)));
            }
            if !disks.is_empty() {
                job.disks = Some(disks.into_iter().collect());
            }
        }
    }
}

/// What a job's control groups moved, in bytes per second.
#[derive(Default)]
struct Moved {
    read: f64,
    written: f64,
    whole: bool,
    disks: BTreeSet<CompactString>,
}

fn forget_little_io(usage: &mut Usage) {
    if usage.disk_bytes().is_some_and(|bytes| bytes < DISK_NOISE) {
        (usage.read_bytes, usage.write_bytes) = (None, None);
    }
}

fn accumulate(sum: &mut Usage, more: &Usage) {
    let add = |sum: &mut Option<f64>, more: Option<f64>| {
        if let Some(more) = more {
            *sum = Some(sum.unwrap_or_default() + more);
        }
    };
    add(&mut sum.cpu_cores, more.cpu_cores);
    add(&mut sum.cpu_wait, more.cpu_wait);
    add(&mut sum.read_bytes, more.read_bytes);
    add(&mut sum.write_bytes, more.write_bytes);
    sum.stuck += more.stuck;
}
