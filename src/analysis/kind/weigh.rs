//! Weighs what the processes of a job say: what they do, are called, read and write, who started them.

use std::collections::HashMap;

use super::catalogue::Catalogue;
use super::files::is_kept;
use super::places::{is_dump, place_says};
use super::read::{Reading, read, shown};
use super::rules::Fact;
use super::scale::Scale;
use super::strangers::take_for_the_thing;
use super::tools::{Doing, Role};
use super::words::name_says;
use super::work;
use super::{JobShape, Launcher, ProcessShape};
use crate::analysis::diagnosis::{Evidence, Finding, Kind};
use crate::units::rate;

/// From here on it is called a backup: more likely than not.
pub const CALLED_BACKUP: f64 = 0.5;
/// A backup agent that works, without a word of what it does.
const AGENT_WORKS: f64 = 0.75;
/// A backup tool is there whose arguments are hidden, and it hardly works: it may only look.
const THERE: f64 = 0.1;
/// An archive goes through a compressor or to another host.
const PIPED: f64 = 0.25;
/// A program nobody knows reads a lot.
const READS_MUCH: f64 = 0.2;
/// Bytes per second that are a lot for one job.
const MUCH: f64 = 8.0e6;
/// It reads as fast as copying does; so does a scanner on a fast disk.
const STREAMS: f64 = 0.25;
/// Bytes per second from which that is so.
const STREAMING: f64 = 50.0e6;
/// Nothing that speaks for a backup says more than this: other batch work has the same habits.
const VAGUE: f64 = 0.25;
/// What that takes off.
const ONLY_VAGUE: f64 = -0.25;
/// What it takes off if nothing comes out either: who reads everything and writes nothing searches it, counts it, scans it.
const NO_SINK: f64 = -0.5;
/// What a place, a date or an archive's ending counts for in the hands of a program nobody knows: reports and pictures go to the NAS too.
const UNTOLD: f64 = 0.4;
/// It goes into a table, a document or a picture: what a program makes, not what it keeps.
const MAKES: f64 = -0.4;
/// Another host unpacks what is packed here to the same place.
const MOVES: f64 = -0.6;
/// What a program that nobody knows gathers goes to another host.
const SENDS: f64 = 0.35;
/// A program that was started over SSH goes through the host for what has changed.
const FETCHED: f64 = 0.25;
/// A program that nobody knows feeds a shell that writes a file on another host.
const WRITES_THERE: f64 = 0.5;
/// From here on what a program that nobody knows is called or reads says something.
const TELLING: f64 = 0.2;
/// A service writes far more than it reads: it keeps what others send.
const KEEPS: f64 = -0.5;
/// What it writes was seen to grow from one look to the next, in order, as archives and dumps do.
const GROWS: f64 = 0.15;
/// Started by something that starts backups at night; everything else at night too.
const SCHEDULED: f64 = 0.15;
/// Somebody packs or copies something at a terminal.
const BY_HAND: f64 = -0.25;
/// A CI runner or configuration management packs or copies, and not to where backups are kept.
const BY_AUTOMATION: f64 = -0.5;
/// The only thing that works in the job is known, and is no backup.
const OTHER_WORK: f64 = -0.8;
/// Bytes per second that are nothing for a backup.
const NEXT_TO_NOTHING: f64 = 0.3e6;
/// Bytes per second that are too few where nothing but a unit's name speaks for one.
const LITTLE: f64 = 2.0e6;
/// Burns CPU and moves nothing.
const MOVES_NOTHING: f64 = -0.6;
/// Named like a backup, and idle.
const IDLE: f64 = -0.7;
/// A tool that does its work itself has done nothing since it started: it waits for its turn, or for somebody to type.
const RESTS: f64 = -0.6;
/// Started so that it gives way to everybody else: backups often are, and so is other batch work.
const GIVES_WAY: f64 = 0.1;
/// Niceness of those that give way.
const NICE: i8 = 10;
/// Seconds after which a unit is a service rather than the run of a timer.
pub const SETTLED: f64 = 86_400.0;
/// Bytes per second that weigh as much as a whole CPU when shares of work are compared.
const BYTES_PER_CORE: f64 = 50.0e6;

/// See [`super::backup_strength`].
pub fn strength(process: &ProcessShape, known: &Catalogue) -> f64 {
    // Before its children are known, and whatever they are.
    let reading = read(&ProcessShape { leaf: false, ..*process }, known);
    let mut scale = Scale::default();
    match reading.doing {
        Doing::Backup => scale.put(reading.weight, String::new),
        Doing::Agent if reading.pace.copies() => scale.put(AGENT_WORKS, String::new),
        Doing::Unknown if reading.tool.is_none() && reading.pace.works() => {}
        _ => return 0.0,
    }
    for fact in reading.said() {
        scale.put(fact.weight, String::new);
    }
    if reading.open
        && (reading.pace.works() || reading.role() == Some(Role::Archiver))
        && let Some(place) = reading.targets.iter().map(|target| place_says(target).weight()).reduce(f64::max)
    {
        scale.put(place, String::new);
    }
    scale.confidence()
}

/// A job with the readings of its processes.
pub struct Read<'a, 'b> {
    /// The job.
    pub job: &'b JobShape<'a>,
    /// One for each process, in their order.
    pub readings: Vec<Reading<'a>>,
}

/// See [`super::judge`].
pub fn judge(job: &JobShape, known: &Catalogue) -> Finding {
    let read = Read::new(job, known);
    let mut scale = Scale::default();
    let lead = read.weigh(&mut scale);
    let confidence = scale.confidence();
    let serves = |root: &Reading| root.role() == Some(Role::Server) && root.doing != Doing::Backup && !root.only_starts();
    let root_serves = read.root().is_some_and(serves);
    if confidence >= CALLED_BACKUP && !(root_serves && job.processes.len() > 1) {
        let tool = lead.and_then(|at| read.readings.get(at)).filter(|reading| reading.doing != Doing::Unknown);
        return finding(Kind::Backup, tool, confidence, scale.sorted());
    }
    read.other_kind(scale)
}

/// A finding, with what is known of the tool.
pub fn finding(kind: Kind, by: Option<&Reading>, confidence: f64, evidence: Vec<Evidence>) -> Finding {
    let words = by.and_then(|reading| reading.tool).map(|tool| &tool.words);
    let work = by.filter(|_| kind == Kind::Batch).and_then(work::of);
    let advice = words.map(|words| words.advice()).unwrap_or_default();
    Finding { kind, tool: by.map(Reading::called), work, confidence, evidence, advice }
}

impl<'a, 'b> Read<'a, 'b> {
    pub fn new(job: &'b JobShape<'a>, known: &'a Catalogue) -> Self {
        let processes = &job.processes;
        let at: HashMap<i32, usize> = processes.iter().enumerate().map(|(at, process)| (process.id.pid, at)).collect();
        let mut readings: Vec<Reading<'a>> = processes.iter().map(|process| read(process, known)).collect();
        // What runs below a package manager or a log rotation is its business. Parents stand before their children.
        let mut covered = vec![false; processes.len()];
        for child in 0..processes.len() {
            let Some(&parent) = at.get(&processes[child].parent).filter(|parent| **parent < child) else { continue };
            covered[child] = covered[parent] || readings[parent].decides();
            if covered[child] {
                readings[child].cover();
            }
        }
        let mut read = Self { job, readings };
        if read.serves() || !read.readings.iter().any(|reading| reading.pace.moves()) {
            read.readings.iter_mut().for_each(take_for_the_thing);
        }
        read
    }

    /// The topmost process.
    pub fn root(&self) -> Option<&Reading<'a>> {
        self.readings.first()
    }

    /// How much of the job's work this process does.
    pub fn share(&self, of: &Reading) -> f64 {
        let work = |reading: &Reading| reading.pace.cores + reading.pace.bytes() / BYTES_PER_CORE;
        let total: f64 = self.readings.iter().map(work).sum();
        if total > 0.0 { work(of) / total } else { 0.0 }
    }

    /// Whether any of it works, or would if the host let it: on the worst minute a backup is starved like everybody else.
    fn works(&self) -> bool {
        let starts = |reading: &Reading| reading.pace.newborn() && reading.doing == Doing::Backup;
        let at_it = |reading: &Reading| reading.pace.works() || reading.pace.held_up || starts(reading);
        self.readings.iter().any(|reading| at_it(reading) && !matches!(reading.role(), Some(Role::Viewer | Role::Server)))
    }

    /// Puts everything on the scale; the process that says most for a backup.
    fn weigh(&self, scale: &mut Scale) -> Option<usize> {
        let mut lead: Option<(usize, f64)> = None;
        let (mut packs, mut copies) = (false, false);
        let mut sure = false;
        let mut telling = false;
        let counts = |reading: &Reading<'a>| {
            reading.doing == Doing::Backup && self.clone_sink(reading).is_none() && !self.has_other_work(reading)
        };
        // Below a tool that makes backups a copy needs no place that says so.
        let told = self.readings.iter().any(|reading| counts(reading) && !reading.open && reading.weight >= CALLED_BACKUP);
        for (at, reading) in self.readings.iter().enumerate() {
            let weight = match reading.doing {
                Doing::Backup if !counts(reading) => continue,
                Doing::Backup => reading.weight,
                Doing::Agent if self.agent_works(at) && !self.undoes(at) => AGENT_WORKS,
                _ => {
                    telling |= reading.tells() && !reading.targets.iter().any(|target| self.makes(target));
                    continue;
                }
            };
            if reading.doing == Doing::Agent {
                let what = if reading.pace.bytes() > 0.0 {
                    rate(reading.pace.bytes())
                } else {
                    format!("{:.1} CPUs", reading.pace.cores)
                };
                scale.put_once(weight, &format!("{} can make backups, and it works: {what}", reading.called()));
            } else {
                scale.put_once(weight, &reading.text);
            }
            for fact in reading.said().filter(|fact| fact.weight > 0.0 || !told) {
                scale.put_once(fact.weight, &fact.text);
            }
            if let Some(place) = self.unpacked_in_place(reading).filter(|_| !told) {
                scale.put(MOVES, || format!("another host unpacks it to the same place: {}", shown(place)));
            }
            packs |= reading.open && reading.role() == Some(Role::Archiver);
            copies |= reading.open;
            sure |= !reading.open;
            if lead.is_none_or(|(_, best)| weight > best) {
                lead = Some((at, weight));
            }
        }
        let other = self.other_work();
        let strangers_count = !sure && other.is_none();
        if strangers_count {
            telling |= self.weigh_names(scale);
            if let Some(pipe) = self.file_elsewhere().filter(|_| lead.is_none()) {
                scale.put(WRITES_THERE, || format!("{} writes what it is given to a file on another host", pipe.called()));
                telling = true;
            }
            if let Some((from, pipe)) = self.sends_what_it_gathers() {
                scale.put(SENDS, || format!("what {} gathers goes through {}", from.called(), pipe.called()));
                telling = true;
            }
            if let Some(since) = self.goes_up_the_session() {
                scale.put(FETCHED, || format!("started over SSH, it was told {}", shown(since)));
                telling = true;
            }
            let hidden = |at: &usize| self.readings[*at].doing == Doing::Agent && self.readings[*at].program.args.is_empty();
            if let Some(at) = (0..self.readings.len())
                .find(|at| hidden(at) && self.readings[*at].role() == Some(Role::Backup) && !self.undoes(*at))
            {
                scale.put(THERE, || format!("{} runs, with arguments that are hidden", self.readings[at].called()));
            }
        } else if let Some(other) = other.filter(|_| !sure) {
            scale.put(OTHER_WORK, || other.text.clone());
        }
        if let Some(lead) = lead.map(|(at, _)| &self.readings[at]).filter(|lead| sure && self.rests(lead)) {
            scale.put(RESTS, || format!("{} has done next to nothing since it started", lead.called()));
        }
        if sure {
            self.weigh_unit(scale, false);
        } else {
            self.weigh_flow(scale, packs, copies || telling);
        }
        // Who was told to save an image does that for a build, too.
        let builds = lead.is_some_and(|(at, _)| self.readings[at].tool.is_some_and(|tool| tool.words.work.is_some()));
        self.weigh_launcher(scale, !sure || builds);
        let stranger = lead.is_none() && !telling;
        if scale.confidence() >= CALLED_BACKUP {
            if stranger && !self.has_sink() {
                scale.put(NO_SINK, || "hardly anything of what it reads is seen to go anywhere".into());
            } else if stranger && self.serves() || scale.facts.iter().all(|fact| fact.weight <= VAGUE) {
                scale.put(ONLY_VAGUE, || "none of it is telling by itself".into());
            }
        }
        lead.map(|(at, _)| at)
    }

    /// Its arguments are hidden, and what started it says that it deals with backups that are there: `restic-prune.service`,
    /// `borg-prune.sh`, a database server that archives its log. Or it only reads where such tools keep what they made.
    pub fn undoes(&self, at: usize) -> bool {
        let reading = &self.readings[at];
        if !reading.program.args.is_empty() || reading.role() != Some(Role::Backup) {
            return false;
        }
        let cancels = |name: &str| name_says(name.rsplit_once('.').map_or(name, |(stem, _)| stem)).cancelled;
        let process = &self.job.processes[at];
        let above = self.job.processes.iter().position(|above| above.id.pid == process.parent);
        let below = |above: &Reading| {
            above.tool.is_none() && cancels(above.program.name)
                || above.role() == Some(Role::Server) && above.program.name == "postgres"
        };
        let files = process.files;
        self.job.unit.is_some_and(cancels)
            || above.is_some_and(|above| below(&self.readings[above]))
            || !files.reading.is_empty() && files.reading.iter().chain(files.writing).all(|file| is_kept(file))
    }

    /// A conductor whose orchestra plays something else: `rsnapshot` that only deletes.
    pub fn has_other_work(&self, conductor: &Reading<'a>) -> bool {
        let conducts = conductor.tool.is_some_and(|tool| tool.words.conducts);
        conducts
            && !self
                .readings
                .iter()
                .any(|reading| reading.doing == Doing::Backup && !reading.tool.is_some_and(|tool| tool.words.conducts))
            && self.other_work().is_some()
    }

    /// The batch work that this job does most of the time, if it does any.
    fn other_work(&self) -> Option<&Reading<'a>> {
        self.readings
            .iter()
            .filter(|reading| reading.doing == Doing::Batch && !reading.text.is_empty())
            .filter(|reading| {
                matches!(reading.role(), Some(Role::Backup | Role::Agent)) || self.share(reading) >= 0.5 || !self.works()
            })
            .max_by(|a, b| self.share(a).total_cmp(&self.share(b)))
    }

    /// Names of scripts, programs nobody knows, the unit, and what such programs read; whether the unit's name is telling.
    fn weigh_names(&self, scale: &mut Scale) -> bool {
        let mut named = false;
        let strangers = self.readings.iter().enumerate().filter(|(_, reading)| reading.tool.is_none());
        for (_, reading) in strangers.filter(|(at, _)| !self.stands_by(*at)) {
            for fact in reading.said() {
                scale.put_once(fact.weight, &fact.text);
                named |= fact.weight > 0.0;
            }
        }
        let unit = self.weigh_unit(scale, true);
        // Services are called after what they manage; one that runs to its end and moves data is another matter.
        let least = if named { NEXT_TO_NOTHING } else { LITTLE };
        if !named && !unit {
            return false;
        }
        if !self.works() {
            scale.put(IDLE, || "it does next to nothing".into());
        } else if !self.readings.iter().any(|reading| matches!(reading.doing, Doing::Backup | Doing::Agent)) {
            let bytes: f64 = self.readings.iter().map(|reading| reading.pace.bytes()).sum();
            let seen = self.readings.iter().any(|reading| reading.pace.read.is_some());
            if seen && bytes < least && !self.readings.iter().any(|reading| self.passes_on(reading)) {
                scale.put(MOVES_NOTHING, || "it moves hardly any data".into());
            }
        }
        unit
    }

    fn weigh_unit(&self, scale: &mut Scale, cancels: bool) -> bool {
        let Some(unit) = self.job.unit else { return false };
        if self.root().is_some_and(|root| matches!(root.role(), Some(Role::Server | Role::Agent | Role::Viewer | Role::Batch))) {
            return false;
        }
        let says = name_says(unit.rsplit_once('.').map_or(unit, |(stem, _)| stem));
        if says.cancelled && cancels && says.weight > 0.0 {
            scale.put(-0.6, || format!("unit is called {}", shown(unit)));
            return false;
        }
        if says.weight > 0.0 && !says.cancelled {
            scale.put_once(says.weight * 0.9, &format!("unit is called {}", shown(unit)));
        }
        says.weight > 0.0 && !says.cancelled
    }

    /// Where data comes from and goes to, for archivers, copiers and programs nobody knows.
    fn weigh_flow(&self, scale: &mut Scale, packs: bool, copies: bool) {
        let reads = |r: &Reading| r.tool.is_none() && (r.program.script && !r.program.bare || !r.habits.is_empty());
        let source = copies || self.readings.iter().any(reads);
        let piped = self.readings.iter().any(|reading| reading.tool.is_none() && !reading.program.bare)
            && self.readings.iter().any(|reading| self.passes_on(reading));
        let stranger_moves = self.readings.iter().any(|reading| reading.tool.is_none() && reading.pace.bytes() > MUCH);
        if !source && !stranger_moves && !piped {
            return;
        }
        let target = self
            .readings
            .iter()
            .filter(|reading| {
                !matches!(reading.role(), Some(Role::Viewer | Role::Server | Role::Batch)) && reading.doing != Doing::Batch
            })
            .flat_map(|reading| reading.targets.iter())
            .map(|target| (place_says(target), *target))
            .max_by(|a, b| a.0.weight().total_cmp(&b.0.weight()));
        // It is there, and the archiver is: it need not have got a CPU yet for that.
        let helper = self.readings.iter().find(|reading| reading.role() == Some(Role::Helper) && reading.program.name != "cat");
        if packs && let Some(helper) = helper {
            scale.put(PIPED, || format!("its output goes through {}", helper.called()));
        }
        if let Some((says, target)) = target.filter(|_| packs || self.works()) {
            // All of it may be any program's output.
            let reads_live = self.readings.iter().any(|reading| !reading.habits.is_empty());
            let dumps = says.dated > 0.0 && is_dump(target);
            let untold = says.place == 0.0 && !reads_live && !dumps || self.reads_its_own();
            let makes = !copies && self.makes(target);
            if makes {
                scale.put(MAKES, || format!("it makes a table, a document or a picture: {}", shown(target)));
            }
            let vague = makes || !copies && (untold || !self.has_sink() || self.serves());
            // Where nobody told it to write there, that a disk is mounted says as much as that much is read.
            let told = self.readings.iter().any(|reading| reading.program.args.contains(&target));
            let only_mounted = !copies && !told && says.place < 0.4 && says.dated == 0.0 && says.archive == 0.0;
            let most = if only_mounted { VAGUE } else { 1.0 };
            scale.put(if vague { says.weight() * UNTOLD } else { says.weight().min(most) }, || {
                match (says.place > 0.0, says.dated > 0.0) {
                    (true, _) => format!("it writes to a backup target: {}", shown(target)),
                    (false, true) => format!("it writes a file with a date in its name: {}", shown(target)),
                    (false, false) => format!("it writes an archive: {}", shown(target)),
                }
            });
            if self.job.processes.iter().any(|process| process.files.growing.iter().any(|grown| grown == target)) {
                scale.put(GROWS, || format!("it grows: {}", shown(target)));
            }
            if self.serves() && !packs && self.readings.iter().any(|reading| reading.tool.is_none() && reading.pace.stores) {
                scale.put(KEEPS, || "it writes far more than it reads".into());
            }
            self.weigh_store(scale, target);
            if says.copy > 0.0 {
                scale.put(-says.copy, || format!("the target is a copy to work on: {}", shown(target)));
            }
        }
        let read: f64 = self.readings.iter().filter_map(|reading| reading.pace.read).sum();
        let scheduled = match self.job.launcher {
            Launcher::Cron | Launcher::At | Launcher::SshCommand => true,
            Launcher::ServiceManager | Launcher::Timer => self.job.processes.first().is_some_and(|root| root.age < SETTLED),
            _ => false,
        };
        if read > MUCH && scheduled {
            scale.put(if read >= STREAMING { STREAMS } else { READS_MUCH }, || format!("it reads {}", rate(read)));
        }
        let polite = self.job.processes.iter().zip(&self.readings).any(|(process, reading)| process.nice >= NICE && reading.open);
        if polite {
            scale.put(GIVES_WAY, || "it was started to give way to others".into());
        }
    }

    fn weigh_launcher(&self, scale: &mut Scale, open: bool) {
        if scale.confidence() < 0.2 {
            return;
        }
        match self.job.launcher {
            Launcher::Cron => scale.put(SCHEDULED, || "started by cron".into()),
            Launcher::At => scale.put(SCHEDULED, || "started by at".into()),
            Launcher::Timer => scale.put(SCHEDULED, || "its unit has a timer".into()),
            Launcher::SshCommand => scale.put(SCHEDULED, || "started over SSH, without a terminal".into()),
            Launcher::Automation if open => {
                let keeps = self.readings.iter().flat_map(|reading| &reading.targets).any(|target| is_kept(target));
                scale.put(if keeps { BY_HAND } else { BY_AUTOMATION }, || {
                    "started by a CI runner or configuration management".into()
                });
            }
            Launcher::Shell if open => scale.put(BY_HAND, || "started by hand".into()),
            _ => {}
        }
    }
}

impl Reading<'_> {
    /// Everything it says for or against a backup.
    fn said(&self) -> impl Iterator<Item = &Fact> {
        self.facts.iter().chain(&self.habits)
    }

    /// Whether a program that nobody knows tells of a backup by more than habits; or it gathers from all over the host.
    fn tells(&self) -> bool {
        self.facts.iter().any(|fact| fact.weight >= TELLING)
            || self.gathers && self.targets.iter().any(|t| place_says(t).place > 0.0)
    }

    /// Part of somebody else's business.
    fn cover(&mut self) {
        if matches!(self.doing, Doing::Backup | Doing::Agent) {
            self.doing = Doing::Unknown;
        }
        self.facts.clear();
        self.habits.clear();
        self.targets.clear();
        self.open = false;
    }
}
