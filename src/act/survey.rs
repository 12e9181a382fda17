//! A look around before the key: what the actions would meet here.
//!
//! First what `/proc` tells, which takes a moment; then what other programs and files tell, which may take as long as a stuck disk
//! likes. So it runs on a thread of its own, and no order waits for its second half. Tested by `tests/act/guards.rs` and `tests/act/units.rs`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use rustix::process::geteuid;

use super::autogroup;
use super::cgroup::{self, Group};
use super::cron;
use super::guard::Guard;
use super::ports;
use super::run;
use super::stat::Stat;
use super::unit::{self, Manager, UnitFacts};
use crate::action::{Deed, Subject};
use crate::units::{Pid, ProcessId, clean, count};

pub use super::ports::{Port, Ports};

/// Processes that end with a unit and are named; the rest is counted.
const NAMED: usize = 3;

/// What of this host acting leans on. Another one can be put together for a test.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Where programs are looked for (`PATH`).
    pub search: OsString,
    /// Whether systemd is the service manager.
    pub has_systemd: bool,
    /// Below which `etc` and `var` hold the crontabs.
    pub crontabs: PathBuf,
    /// whytop itself, to be started as a watchdog.
    pub own: PathBuf,
    /// Where what stands is written down. `None`: nowhere, it is forgotten with this process.
    pub ledger: Option<PathBuf>,
    /// Where a watchdog writes down that it was left alone. `None`: nowhere.
    pub trace: Option<PathBuf>,
}

impl Tools {
    /// Those of this host.
    pub fn of_this_host() -> Self {
        Self {
            // Administrators' programs are often not on an ordinary user's path, and cron's is short.
            search: {
                let mut search = std::env::var_os("PATH").unwrap_or_default();
                search.push(":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin");
                search
            },
            has_systemd: fs::metadata("/run/systemd/system").is_ok_and(|folder| folder.is_dir()),
            crontabs: PathBuf::from("/"),
            own: PathBuf::from("/proc/self/exe"),
            ledger: super::ledger::place(),
            trace: None,
        }
    }
}

/// Who is in a unit's control group and is not of the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlsoInUnit {
    /// whytop, or what it runs in.
    Whytop,
    /// Others. A sentence that names them.
    Others(String),
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whether this user may do all.
    pub is_root: bool,
    /// What the job listens on.
    pub ports: Ports,
    /// How many of its processes are stopped.
    pub stopped: usize,
    /// What whytop did to it that can be put back.
    pub standing: Vec<Deed>,
    /// Whether the scheduler weighs a session of its own as one, and whether one that it shares with others. `None`: not looked yet.
    pub sessions: Option<(bool, bool)>,
    /// It has a control group of its own with weights.
    pub has_weights: bool,
    /// The control group that gets a share of the CPUs as a whole, where others are in there too. `None`: there is none.
    pub shares_cpus: Option<String>,
    /// Whether systemd is the service manager.
    pub has_systemd: bool,
    /// Which service manager runs its unit.
    pub manager: Manager,
    /// Who acts.
    pub uid: u32,
    /// Whether `fsfreeze` is installed. `None`: not looked for yet.
    pub has_fsfreeze: Option<bool>,
    /// Who else would be stopped with its unit.
    pub also_in_unit: Option<AlsoInUnit>,
    /// What the service manager says of its unit. `None`: no unit, no answer, or not asked yet.
    pub unit: Option<UnitFacts>,
    /// When cron starts it again. A sentence.
    pub cron: Option<String>,
}

impl Survey {
    /// What `/proc` and `/sys` tell. Waits for no disk, and touches no other folder: any of them may lie on a filesystem that hangs.
    pub fn quick(subject: &Subject, held: &[ProcessId], standing: Vec<Deed>, tools: &Tools) -> Self {
        let pids: Vec<Pid> = held.iter().map(|id| id.pid).collect();
        let root = cgroup::root();
        let group = root.as_ref().and_then(|root| Group::of(&pids, root));
        let weighed = group.as_ref().and_then(|group| group.weighed(|pid| pids.contains(pid)));
        let is_frozen = group.as_ref().is_some_and(|group| group.frozen().is_some());
        let stopped = |id: &&ProcessId| is_frozen || Stat::read(id.pid).is_ok_and(|stat| stat.is_some_and(|s| s.is_stopped()));
        let guard = Guard::now();
        let unit = subject.unit.as_deref().zip(root.as_ref()).and_then(|(unit, root)| Group::of_unit(&pids, unit, root));
        let in_unit = unit.and_then(|unit| unit.processes().ok()).unwrap_or_default();
        let also_in_unit = if in_unit.iter().any(|pid| *pid > 0 && guard.refuse(*pid).is_some()) {
            Some(AlsoInUnit::Whytop)
        } else {
            others(subject, &in_unit).map(AlsoInUnit::Others)
        };
        Self {
            is_root: geteuid().is_root(),
            ports: ports::of(held),
            stopped: held.iter().filter(stopped).count(),
            standing,
            sessions: None,
            has_weights: weighed.is_some(),
            shares_cpus: group.filter(|_| weighed.is_none()).zip(root).and_then(|(group, root)| group.shares_cpus(&root)),
            has_systemd: tools.has_systemd,
            manager: Manager::of(&subject.job),
            uid: geteuid().as_raw(),
            has_fsfreeze: None,
            also_in_unit,
            unit: None,
            cron: None,
        }
    }

    /// What programs and files tell: the service manager, cron's tables.
    #[must_use]
    pub fn ask(mut self, subject: &Subject, held: &[ProcessId], tools: &Tools) -> Self {
        let pids: Vec<Pid> = held.iter().map(|id| id.pid).collect();
        let sessions = autogroup::of(&pids);
        self.sessions = Some((sessions.has_own(), sessions.shared));
        if let Some(unit) =
            subject.unit.as_ref().filter(|_| self.has_systemd && (self.manager == Manager::Host || self.manager.obeys(self.uid)))
        {
            self.unit = Some(unit::ask(unit, self.manager, tools));
        }
        if !subject.frozen.mounts.is_empty() {
            self.has_fsfreeze = Some(run::find("fsfreeze", &tools.search).is_some());
        }
        if subject.launched_by.as_ref().is_some_and(|launcher| launcher.contains("cron")) {
            self.cron = cron::next_run(subject, &tools.crontabs);
        }
        self
    }
}

/// `Not of this job, but in php-fpm.service too, and stopped with it: mysqldump 4712 and 3 more processes.`
fn others(subject: &Subject, in_unit: &[Pid]) -> Option<String> {
    let members: HashSet<Pid> = subject.candidates.iter().map(|candidate| candidate.id.pid).collect();
    let others: Vec<Stat> =
        in_unit.iter().filter(|pid| !members.contains(pid)).filter_map(|pid| Stat::read(*pid).ok()?).collect();
    let named: Vec<String> = others.iter().take(NAMED).map(|stat| format!("{} {}", clean(&stat.name), stat.id.pid)).collect();
    let more = others.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {} more", count(more, "process")) } else { String::new() };
    let unit = subject.unit.as_ref()?;
    (!named.is_empty()).then(|| format!("Not of this job, but in {unit} too, and stopped with it: {}{more}.", named.join(", ")))
}
