//! How those who wait fared before the culprit came: what they should come back to when it is gone.
//!
//! A disk that is busy with its own site's work has readers stuck in it at any instant, with a backup and without: what it was like
//! before tells what the backup's part in it is. Pure. Tested by `tests/words.rs`.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::diagnosis::{Diagnosis, JobId, Level, Resource};
use super::window::WINDOW_SECONDS;

/// Over so many seconds before it came: a throttled disk lets all of its readers wait in one moment and none in the next.
const SECONDS: i64 = 15;
/// Fewer looks than this say nothing.
const LOOKS: usize = 3;
/// So far back looks are kept: a script does this and that before it takes the disk, and is called a culprit only then.
const KEPT: i64 = 90;
/// For so many seconds a culprit that is none for a while is still the same one.
const FORGOTTEN: i64 = 120;
/// Looks that follow one another faster than this, in seconds, are not all kept.
const APART: f64 = 0.9;
/// Most jobs that are kept of one look: those that wait and those that take.
const JOBS: usize = 32;
/// Fewer waiting tasks than this are none.
const WAITS: f64 = 0.01;

/// How each job that did anything fared at one instant, where a disk is short and where CPUs are.
type Look = Vec<(JobId, [Level; 2])>;

/// How jobs fared lately, and how the victims of each culprit did before it came.
#[derive(Debug, Default)]
pub struct Earlier {
    looks: VecDeque<(Timestamp, Look)>,
    culprits: HashMap<JobId, Came>,
}

#[derive(Debug)]
struct Came {
    seen: Timestamp,
    /// The mean of the looks right before it. `None`: nobody watched.
    fared: Option<Look>,
}

/// What is counted: the two that come in a measure.
const MEASURES: [Resource; 2] = [Resource::Disk, Resource::Cpu];

impl Earlier {
    /// Takes in what was seen, and tells each victim's job in it how it fared before its culprit came.
    pub fn update(&mut self, diagnosis: &mut Diagnosis) {
        let now = diagnosis.at;
        self.culprits.retain(|_, came| seconds(came.seen, now) <= FORGOTTEN);
        let verdict = &diagnosis.verdict;
        // Since when those go on is not known: a culprit among them that was there before may have been one all along.
        let others = verdict.others.iter().map(|other| (other, None));
        let mut told: Vec<(JobId, Level)> = Vec::new();
        for (short, since) in others.chain([(&verdict.worst, verdict.since)]) {
            let Some(culprit) = short.culprit.as_ref().and_then(|id| diagnosis.job(id)) else { continue };
            let (looks, oldest) = (&self.looks, self.looks.front().map(|(at, _)| *at));
            let started = culprit.facts.started_at.filter(|started| oldest.is_some_and(|oldest| *started >= oldest));
            let came = match self.culprits.entry(culprit.facts.id.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(unknown) => {
                    let Some(came) = started.into_iter().chain(since).min() else { continue };
                    unknown.insert(Came { seen: now, fared: before(looks, came) })
                }
            };
            came.seen = now;
            let Some(fared) = &came.fared else { continue };
            for victim in &short.victims {
                // Who did nothing then is in none of the looks.
                let [disk, cpu] = fared.iter().find(|(id, _)| id == victim).map(|(_, levels)| *levels).unwrap_or_default();
                let level = match short.resource {
                    Resource::Disk => disk,
                    Resource::Cpu => cpu,
                    _ => Level { gets: None, ..disk },
                };
                told.push((victim.clone(), level));
            }
        }
        // Of the worst contention last.
        for (id, level) in told {
            if let Some(job) = diagnosis.jobs.iter_mut().find(|job| job.facts.id == id) {
                job.earlier = Some(level);
            }
        }
        self.keep(diagnosis);
    }

    fn keep(&mut self, diagnosis: &Diagnosis) {
        let is_fresh = self.looks.back().is_none_or(|(at, _)| diagnosis.at.duration_since(*at).as_secs_f64() >= APART);
        // Before the second sample nothing is known of what anybody gets.
        if diagnosis.cpu.is_none() || !is_fresh {
            return;
        }
        let levels = diagnosis.jobs.iter().map(|job| (&job.facts.id, MEASURES.map(|short| Level::of(job, short))));
        let does =
            |levels: &[Level; 2]| levels.iter().any(|level| level.waiting >= WAITS || level.gets.is_some_and(|gets| gets > 0.0));
        let look = levels.filter(|(_, levels)| does(levels)).take(JOBS).map(|(id, levels)| (id.clone(), levels)).collect();
        self.looks.push_back((diagnosis.at, look));
        while self.looks.front().is_some_and(|(at, _)| seconds(*at, diagnosis.at) > KEPT) {
            self.looks.pop_front();
        }
    }
}

/// The mean of the looks right before this instant. One that reaches back before the first saw whytop's own start.
fn before(looks: &VecDeque<(Timestamp, Look)>, came: Timestamp) -> Option<Look> {
    let first = looks.front()?.0.checked_add(SignedDuration::from_secs_f64(WINDOW_SECONDS)).ok()?;
    let is_before = |at: Timestamp| (first..=came).contains(&at) && seconds(at, came) <= SECONDS;
    let before: Vec<&Look> = looks.iter().filter(|(at, _)| is_before(*at)).map(|(_, look)| look).collect();
    let parts = before.len() as f64;
    if before.len() < LOOKS {
        return None;
    }
    let mut all: HashMap<&JobId, [Vec<Level>; 2]> = HashMap::new();
    for (id, levels) in before.into_iter().flatten() {
        let [disk, cpu] = all.entry(id).or_default();
        disk.push(levels[0]);
        cpu.push(levels[1]);
    }
    let mean = |levels: Vec<Level>| {
        let sum = Level::sum(levels);
        Level { waiting: sum.waiting / parts, gets: sum.gets.map(|gets| gets / parts) }
    };
    Some(all.into_iter().map(|(id, levels)| (id.clone(), levels.map(mean))).collect())
}

fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}
