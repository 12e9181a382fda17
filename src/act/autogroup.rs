//! Sessions that the scheduler weighs as one (`sched_autogroup_enabled`, sched(7)): there niceness counts among the processes of a session
//! and nowhere else, so that a whole job at 19 goes before a login shell as ever. The session has a niceness of its own.
//!
//! It is set only where a session holds the job and nobody else, and put back with the rest. Never waits for a disk. Tested in place and
//! by `tests/act/deprioritise.rs`.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::units::Pid;

/// Behind everybody else.
const LOWEST: i32 = 19;

/// A session's group, and the niceness that it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Autogroup {
    name: String,
    nice: i32,
}

/// The groups of the processes of a job.
#[derive(Debug, Default)]
pub struct Autogroups {
    /// Held by the job alone, with one of its processes.
    own: Vec<(Autogroup, Pid)>,
    /// Whether some are shared with others.
    pub shared: bool,
}

/// The groups that these processes are in, as far as the scheduler heeds them. Looks at all processes.
pub fn of(pids: &[Pid]) -> Autogroups {
    let is_on = fs::read_to_string("/proc/sys/kernel/sched_autogroup_enabled").is_ok_and(|text| text.trim() == "1");
    let mut own: BTreeMap<String, (Autogroup, Pid)> = BTreeMap::new();
    for pid in pids.iter().filter(|pid| is_on && is_weighed_by_session(**pid)) {
        if let Some(group) = read(*pid) {
            own.insert(group.name.clone(), (group, *pid));
        }
    }
    if own.is_empty() {
        return Autogroups::default();
    }
    let members: HashSet<Pid> = pids.iter().copied().collect();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = all.filter_map(|entry| entry.file_name().to_str()?.parse::<Pid>().ok()).filter(|pid| !members.contains(pid));
    let before = own.len();
    for group in others.filter_map(read) {
        own.remove(&group.name);
    }
    let shared = own.len() < before;
    Autogroups { own: own.into_values().collect(), shared }
}

impl Autogroups {
    /// Whether there is one that the job has for itself.
    pub fn has_own(&self) -> bool {
        !self.own.is_empty()
    }

    /// Sets those that the job has for itself behind all others, and answers what they had. One that may not be set is left.
    pub fn lower(self) -> Vec<Autogroup> {
        self.own.into_iter().filter(|(group, pid)| group.nice != LOWEST && write(*pid, LOWEST)).map(|(group, _)| group).collect()
    }
}

/// Puts back what they had, through whichever of these processes is still in them. Whether all could be that are still there.
pub fn restore(groups: &[Autogroup], pids: impl Iterator<Item = Pid>) -> bool {
    let mut left: Vec<&Autogroup> = groups.iter().collect();
    let mut failed = false;
    for pid in pids {
        let Some(now) = read(pid).filter(|_| !left.is_empty()) else { continue };
        if let Some(at) = left.iter().position(|group| group.name == now.name) {
            let group = left.remove(at);
            failed |= now.nice == LOWEST && !write(pid, group.nice);
        }
    }
    !failed
}

/// Whoever has a control group of its own for the CPUs is weighed by that instead.
fn is_weighed_by_session(pid: Pid) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let root = super::cgroup::root();
    text.lines().all(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { return true };
        let has_weight = |root: &Path| {
            let group = root.join(path.trim_start_matches('/'));
            group.ancestors().take_while(|above| *above != root).any(|above| above.join("cpu.weight").exists())
        };
        let is_cpu = controllers.split(',').any(|name| name == "cpu");
        let is_weighed = is_cpu || controllers.is_empty() && root.as_deref().is_some_and(has_weight);
        path == "/" || !is_weighed
    })
}

fn read(pid: Pid) -> Option<Autogroup> {
    parse(&fs::read_to_string(format!("/proc/{pid}/autogroup")).ok()?)
}

/// `/autogroup-25 nice 0`
fn parse(text: &str) -> Option<Autogroup> {
    let (name, nice) = text.trim().split_once(" nice ")?;
    Some(Autogroup { name: name.to_owned(), nice: nice.parse().ok()? })
}

fn write(pid: Pid, nice: i32) -> bool {
    fs::write(format!("/proc/{pid}/autogroup"), nice.to_string()).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_kernels_line_is_read() {
        assert_eq!(parse("/autogroup-25 nice -5\n"), Some(Autogroup { name: "/autogroup-25".to_owned(), nice: -5 }));
        assert_eq!(parse(""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r"(/autogroup-[0-9]{0,22})?( nice )?(-?[0-9]{0,22}|\PC{0,20})\n?") {
            let _ = parse(&text);
        }
    }
}
