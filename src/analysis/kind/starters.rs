//! Programs that are there to start others: the first process of a container, a clock. What they start decides what the job is, and where
//! it begins.
//!
//! Pure. Tested by tests/kinds.rs.

use super::Catalogue;
use super::read::Reading;
use super::weigh::{Read, judge};
use super::words::words;
use crate::analysis::diagnosis::Kind;

/// Of known programs those that serve nobody, though most of them never end.
const STARTERS: [&str; 16] = [
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
    "runsv",
    "runsvdir",
    "supervisord",
    "run-parts",
];

/// Words in the names of programs that start others by the clock.
const CLOCKS: [&str; 6] = ["cron", "crond", "supercronic", "ofelia", "sched", "scheduler"];

impl<'a> Read<'a, '_> {
    /// Whether a program that nobody knows was started to stay, as it calls itself.
    pub fn stays(&self, reading: &Reading<'a>) -> bool {
        self.serves() && reading.is_called_resident()
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

    /// Whether a program that nobody knows calls itself one that stays: `backup-daemon`, `VVAgent`, `queue.js`; what is called a backup as
    /// well is rather the worker that makes it (`backup-worker.sh`).
    fn is_called_resident(&self) -> bool {
        const ENDINGS: [&str; 4] = ["agent", "agentd", "daemon", "sshd"];
        const WORDS: [&str; 3] = ["queue", "worker", "consumer"];
        let name = self.program.name.to_ascii_lowercase();
        let is_worker = || words(&name).any(|word| WORDS.contains(&word)) && self.facts.iter().all(|fact| fact.weight < 0.5);
        let called = ENDINGS.iter().any(|ending| name.ends_with(ending)) || is_worker();
        self.tool.is_none() && (called || self.program.is_told_to_stay())
    }
}

/// The one that stands below who only starts it, if that makes the job a backup: in a container its first process and its clock, in a
/// service a program that stays.
pub fn below_starters(read: &Read, known: &Catalogue) -> Option<usize> {
    let processes = &read.job.processes;
    let in_container = read.job.container.is_some();
    let starts = |above: &Reading| in_container && above.only_starts() || read.stays(above) && !above.pace.works();
    let mut at = 0;
    while starts(read.readings.get(at)?) {
        let mut below = (0..processes.len()).filter(|child| processes[*child].parent == processes[at].id.pid && *child > at);
        at = below.next().filter(|_| below.next().is_none())?;
    }
    (at > 0 && judge(read.job, known).kind == Kind::Backup).then_some(at)
}
