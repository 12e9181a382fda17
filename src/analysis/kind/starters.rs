//! Programs that are there to start others: the first process of a container, a clock. What they start decides what the job is, and where
//! it begins.
//!
//! Pure. Tested by tests/kinds.rs.

use super::read::Reading;
use super::strangers::title_of;
use super::tools::{Doing, Role};
use super::weigh::{CALLED_BACKUP, Read, SETTLED, judge, strength};
use super::words::{name_says, words};
use super::{Catalogue, JobShape, Launcher, ProcessShape};
use crate::analysis::diagnosis::Kind;

/// Of known programs those that serve nobody, though most of them never end.
const STARTERS: [&str; 21] = [
    "init",
    "systemd",
    "cron",
    "crond",
    "fcron",
    "atd",
    "tini",
    "dumb-init",
    "docker-init",
    "catatonit",
    "s6-svscan",
    "s6-supervise",
    "s6-linux-init",
    "s6-rc",
    "runit",
    "my_init",
    "circusd",
    "runsv",
    "runsvdir",
    "supervisord",
    "run-parts",
];

/// Seconds by which a service is older than what it started for a backup.
const OLDER: f64 = 60.0;

/// Words in the names of programs that start others by the clock.
const CLOCKS: [&str; 6] = ["cron", "crond", "supercronic", "ofelia", "sched", "scheduler"];

impl<'a> Read<'a, '_> {
    /// Whether a program that nobody knows was started to stay, as it calls itself or as its unit is called.
    pub fn stays(&self, reading: &Reading<'a>) -> bool {
        self.serves() && (reading.is_called_resident() || self.is_its_daemon(reading))
    }

    /// Whether this process came up with its service, was there long before that part, and is there for more than it. Its age alone says
    /// so of a program that has been up for a day and is no script: a script takes its steps one after the other, in any language, and its
    /// first copy may take days. To end only what it has just started would leave it to start the next.
    pub fn was_there_before(&self, above: usize, part: usize) -> bool {
        let processes = &self.job.processes;
        let (reading, age) = (&self.readings[above], processes[above].age);
        let unasked = !matches!(self.job.launcher, Launcher::Shell | Launcher::Automation);
        let is_named = reading.facts.iter().any(|fact| fact.weight >= 0.5);
        let program = &reading.program;
        let settled = !program.script && !program.shell && !program.bare && age > processes[part].age + SETTLED;
        let old = age > processes[part].age + OLDER;
        let serves = || settled || self.is_called_server(above) || self.has_others(above, part);
        unasked && !is_named && processes[0].age < age + OLDER && old && serves()
    }

    /// Whether it, or what started it, is called a server or was told to be one: `server.js`, `shop-http`, `airflow celery worker`.
    fn is_called_server(&self, at: usize) -> bool {
        const CALLED: [&str; 7] = ["server", "daemon", "httpd", "http", "web", "api", "wsgi"];
        const TOLD: [&str; 5] = ["serve", "webserver", "daemon", "worker", "scheduler"];
        let processes = &self.job.processes;
        let parent = |at: &usize| processes[..*at].iter().position(|other| other.id.pid == processes[*at].parent);
        std::iter::successors(Some(at), parent).any(|at| {
            let reading = &self.readings[at];
            let called = || words(reading.program.name).any(|word| CALLED.iter().any(|known| known.eq_ignore_ascii_case(word)));
            let told = || reading.program.args.iter().take(2).any(|arg| TOLD.contains(arg));
            // `web-dump.sh` dumps the web.
            let speaks = reading.program.shell || name_says(reading.program.name).weight > 0.0;
            let serves = || reading.tool.is_none() && !speaks && (called() || told());
            self.serves() && (reading.role() == Some(Role::Server) && !reading.only_starts() || serves())
        })
    }

    /// Whether several other programs that it started, servers or unknown, were there as long before that part: what looks after many. Not its
    /// own forks, other copies, or what its output goes through: a script has such too.
    fn has_others(&self, above: usize, part: usize) -> bool {
        let processes = &self.job.processes;
        let (started, own) = (processes[above].id.pid, processes[above].argv);
        let looked_after = |(other, reading): &(&ProcessShape, &Reading)| {
            let stays = reading.role().is_none_or(|role| role == Role::Server) && !reading.program.shell && !reading.program.bare;
            let copies = reading.doing == Doing::Backup || reading.facts.iter().any(|fact| fact.weight > 0.0);
            other.parent == started && other.argv != own && other.age > processes[part].age + OLDER && stays && !copies
        };
        processes.iter().zip(&self.readings).filter(looked_after).count() > 1
    }

    /// Whether this process was forked by its like, which stays, and says by its title what it is at for it: `pgmoneta: main` and
    /// `pgmoneta: backup/shop`.
    pub fn is_forked_for(&self, above: usize, part: usize) -> bool {
        let title = |at: usize| title_of(&self.job.processes[at]);
        let (Some((server, _)), Some((worker, _))) = (title(above), title(part)) else { return false };
        self.serves() && server == worker
    }

    /// Whether it is the daemon that its unit is called after: `incusd` of `incus.service`. Not by its last letter alone: `upload` of
    /// `upload.service` ends.
    fn is_its_daemon(&self, reading: &Reading<'a>) -> bool {
        let unit = self.job.unit.and_then(|unit| unit.strip_suffix(".service"));
        let stem = reading.program.name.strip_suffix('d');
        reading.tool.is_none() && !reading.program.script && stem.is_some() && stem == unit
    }

    /// Whether it is one of the like processes by which a server answers many at once: its parent was started by the same command, or
    /// several of its children were. A script that forks is not, unless it is called a server; nor what is called a backup.
    pub fn is_one_of_many(&self, at: usize) -> bool {
        let processes = &self.job.processes;
        let (process, reading) = (&processes[at], &self.readings[at]);
        let alike = |other: &ProcessShape| other.argv == process.argv && !other.argv.is_empty();
        let is_named = reading.facts.iter().any(|fact| fact.weight > 0.0);
        let by_parent = processes[..at].iter().any(|other| other.id.pid == process.parent && alike(other));
        let children = processes.iter().filter(|other| other.parent == process.id.pid && alike(other)).count();
        let scripted = reading.program.shell || reading.program.script && !self.is_called_server(at);
        self.serves() && reading.tool.is_none() && !scripted && !is_named && (by_parent || children > 1)
    }

    /// Whether this process and all below it rest while its service works: what it is called says nothing of that work. Not the root,
    /// which everything else stands for.
    pub fn stands_by(&self, at: usize) -> bool {
        let processes = &self.job.processes;
        let rests = |at: usize| !self.readings[at].pace.works() && !self.readings[at].pace.held_up;
        if at == 0 || !self.serves() || !rests(at) || (0..processes.len()).all(rests) {
            return false;
        }
        let mut below = vec![processes[at].id.pid];
        for (child, process) in processes.iter().enumerate().skip(at + 1) {
            if below.contains(&process.parent) {
                if !rests(child) {
                    return false;
                }
                below.push(process.id.pid);
            }
        }
        true
    }

    /// Whether it works, or what is below it.
    fn is_busy(&self, at: usize) -> bool {
        let processes = &self.job.processes;
        let mut below = vec![processes[at].id.pid];
        (at..processes.len()).any(|child| {
            let within = child == at || below.contains(&processes[child].parent);
            if within {
                below.push(processes[child].id.pid);
            }
            within && self.readings[child].pace.works()
        })
    }

    /// Whether nothing in this job has done anything since it started, and this tool is one that does its work itself.
    pub fn rests(&self, lead: &Reading<'a>) -> bool {
        lead.tool.is_some_and(|tool| tool.words.itself) && self.readings.iter().all(|reading| reading.pace.rests())
    }
}

impl Reading<'_> {
    /// Whether it only starts others.
    pub fn only_starts(&self) -> bool {
        match self.tool {
            Some(tool) => STARTERS.contains(&tool.name.as_str()),
            None => !self.program.script && words(self.program.name).any(|word| CLOCKS.contains(&word)),
        }
    }

    /// Whether what runs below is its business; not so a build tool that was told to back up (`make backup`) or to run some program
    /// (`npm exec elasticdump`).
    pub fn decides(&self) -> bool {
        self.tool.is_some_and(|tool| tool.words.decides)
            && !matches!(self.program.args.first(), Some(&("exec" | "dlx")))
            && !self.program.args.iter().take(3).any(|arg| {
                let says = name_says(arg);
                says.weight > 0.5 && !says.cancelled && !arg.contains('/')
            })
    }

    /// Whether a program that nobody knows calls itself one that stays: `backup-daemon`, `VVAgent`, `queue.js`; what is called a backup as
    /// well is rather the worker that makes it (`backup-worker.sh`).
    fn is_called_resident(&self) -> bool {
        const ENDINGS: [&str; 4] = ["agent", "agentd", "daemon", "sshd"];
        const WORDS: [&str; 6] = ["queue", "worker", "consumer", "dispatcher", "launcher", "listener"];
        let name = self.program.name.to_ascii_lowercase();
        // `WALinuxAgent-2.13.1-py3.egg` is as resident as any other version of it.
        let versioned = name.match_indices('-').find(|(at, _)| name[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
        let name = versioned.map_or(name.as_str(), |(at, _)| &name[..at]).trim_end_matches(".jar");
        let is_worker = || words(name).any(|word| WORDS.contains(&word)) && self.facts.iter().all(|fact| fact.weight < 0.5);
        let called = ENDINGS.iter().any(|ending| name.ends_with(ending)) || is_worker();
        self.tool.is_none() && (called || self.program.is_told_to_stay())
    }
}

/// Whether a unit was started for one client that called this program, and ends with it: `amanda@3-10.0.0.9:731-10.0.0.4:10080.service`.
fn is_connection(unit: &str, program: &str) -> bool {
    let parts = unit.strip_suffix(".service").and_then(|unit| unit.split_once('@'));
    let Some((_, instance)) = parts.filter(|(name, _)| program.starts_with(name)) else { return false };
    let mut parts = instance.splitn(2, '-');
    let counted = parts.next().is_some_and(|count| !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit()));
    counted && parts.next().is_some_and(|ends| ends.matches(':').count() > 1)
}

/// See [`super::backup_part`].
pub fn part(job: &JobShape, known: &Catalogue) -> Option<usize> {
    let read = Read::new(job, known);
    let processes = &job.processes;
    let weight = |at: usize| strength(&processes[at], known);
    let says = |at: &usize| {
        let reading = &read.readings[*at];
        // An agent's own processes beside it (a watchdog, a pause container) do not take part in what it does.
        let works = reading.doing == Doing::Agent && reading.pace.copies() && !read.undoes(*at);
        (works || reading.doing == Doing::Backup)
            && weight(*at) >= CALLED_BACKUP
            && read.clone_sink(reading).is_none()
            && !read.has_other_work(reading)
    };
    let Some(mut at) = (0..processes.len()).find(says) else { return below_starters(&read, known) };
    while let Some(parent) = processes[..at].iter().position(|process| process.id.pid == processes[at].parent) {
        let above = &read.readings[parent];
        // An agent that cron or its server started is there for this run only.
        let resident = !matches!(job.launcher, Launcher::Cron | Launcher::At | Launcher::Timer | Launcher::SshCommand);
        let waits = above.role() == Some(Role::Agent) || above.doing == Doing::Agent || read.stays(above);
        let called = job.unit.is_some_and(|unit| is_connection(unit, above.program.name));
        let serves =
            above.role() == Some(Role::Server) || waits && resident && !called || above.decides() || read.is_one_of_many(parent);
        let settled = resident && (read.was_there_before(parent, at) || read.is_forked_for(parent, at));
        // Nor is what runs a server beside it.
        let beside = (0..processes.len()).any(|other| {
            let reading = &read.readings[other];
            let is_server = reading.role() == Some(Role::Server) && reading.doing != Doing::Backup;
            processes[other].parent == processes[parent].id.pid && is_server
        });
        if serves || settled || beside || above.only_starts() && above.tool.is_none() {
            break;
        }
        at = parent;
    }
    Some(at)
}

/// The one that stands below who only starts it, if that makes the job a backup: in a container its first process and its clock, in a
/// service a program that stays.
fn below_starters(read: &Read, known: &Catalogue) -> Option<usize> {
    let processes = &read.job.processes;
    let in_container = read.job.container.is_some();
    let waits = |above: &Reading| read.stays(above) || above.role() == Some(Role::Agent) && read.serves();
    let starts = |above: &Reading| in_container && above.only_starts() || waits(above) && !above.pace.works();
    let mut at = 0;
    while starts(read.readings.get(at)?) {
        let below = |at: usize| (at + 1..processes.len()).filter(move |child| processes[*child].parent == processes[at].id.pid);
        let mut busy = below(at).filter(|child| below(at).nth(1).is_none() || read.is_busy(*child));
        at = busy.next().filter(|_| busy.next().is_none())?;
    }
    (at > 0 && judge(read.job, known).kind == Kind::Backup).then_some(at)
}
