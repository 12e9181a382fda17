//! Freeze commands that were seen: `fsfreeze -f /srv` takes a moment, and the filesystem stays frozen for as long as its caller likes.
//!
//! Pure. Tested by `tests/scenarios.rs`.

use crate::analysis::diagnosis::{JobId, Resource, WaitGroup};
use crate::analysis::jobs::Jobs;
use crate::analysis::name::{base, is_interpreter};
use crate::analysis::table::Table;
use crate::sample::Sample;
use crate::units::{Nanos, ProcessId, SECOND};

/// Commands remembered at the most; the oldest go first.
const REMEMBERED: usize = 64;

/// Somebody writes to a filesystem in use within this time, and feels that it is frozen (`froze-it-long-ago.toml`).
const FELT_WITHIN: Nanos = 60 * SECOND;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Freezes {
    seen: Vec<Freeze>,
}

/// A command that froze a filesystem.
#[derive(Debug)]
pub struct Freeze {
    /// Who ran it. The process itself has mostly ended.
    pub job: JobId,
    /// The mount point it was given.
    pub mount: String,
    /// As it was typed.
    pub command: String,
    /// When it was first seen.
    pub at: Nanos,
    id: ProcessId,
    /// Since when somebody was seen waiting for that filesystem.
    felt: Option<Nanos>,
}

/// What a command line does to a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act<'a> {
    /// Freezes what is mounted there.
    Freeze(&'a str),
    /// Lets it go on.
    Thaw(&'a str),
}

impl Freezes {
    /// Takes in the commands of this sample.
    pub fn update(&mut self, table: &Table, jobs: &Jobs, sample: &Sample) {
        for (id, _) in &sample.identities {
            let Some(entry) = table.get(id.pid).filter(|entry| entry.process.id == *id) else { continue };
            // A shell that was given a line has it all the time: what it does of it shows in its children.
            let command = &entry.member.command;
            if !command.contains("freeze") || is_line(command) {
                continue;
            }
            for act in acts(command) {
                match act {
                    Act::Thaw(mount) => self.seen.retain(|freeze| freeze.mount != mount),
                    Act::Freeze(_) if self.seen.iter().any(|freeze| freeze.id == *id) => {}
                    Act::Freeze(mount) => self.seen.extend(jobs.of(*id).map(|facts| Freeze {
                        job: facts.id.clone(),
                        mount: mount.to_owned(),
                        command: command.clone(),
                        at: sample.since_boot,
                        id: *id,
                        felt: None,
                    })),
                }
            }
        }
        let surplus = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..surplus);
    }

    /// Forgets those of which it is seen that they are over: nobody waits any more for what somebody waited for.
    pub fn settle(&mut self, waits: &[WaitGroup], now: Nanos) {
        let of = |mount: &str| {
            let those = waits.iter().filter(|group| group.resource == Some(Resource::FrozenFilesystem));
            let longest = those
                .filter(|group| group.mount.as_deref().is_none_or(|own| own == mount))
                .map(|group| group.longest.map_or(0.0, |stuck| stuck.seconds));
            longest.reduce(f64::max).map(|longest| now.saturating_sub((longest * SECOND as f64) as Nanos))
        };
        self.seen.retain_mut(|freeze| {
            let since = of(&freeze.mount);
            let over = freeze.felt.is_some() && since.is_none();
            freeze.felt = freeze.felt.or(since);
            !over
        });
    }

    /// The last one that froze this mount point; any where that is not known. Not one that nobody felt for long: whoever thawed it was
    /// not seen, and it is somebody else's freeze that is felt now.
    pub fn last(&self, mount: Option<&str>) -> Option<&Freeze> {
        let felt_late = |freeze: &Freeze| freeze.felt.is_some_and(|felt| felt.saturating_sub(freeze.at) > FELT_WITHIN);
        self.last_seen(mount).filter(|freeze| !felt_late(freeze))
    }

    /// The last one that froze this mount point and was not seen to be thawed, however long nobody felt it.
    pub fn last_seen(&self, mount: Option<&str>) -> Option<&Freeze> {
        self.seen.iter().rev().find(|freeze| mount.is_none_or(|mount| freeze.mount == mount))
    }
}

/// What a command line does to filesystems, in its order: `fsfreeze -f /srv`, also inside of `sh -c "…"`.
pub fn acts(command: &str) -> impl Iterator<Item = Act<'_>> {
    let is_tool = |word: &str| matches!(base(word), "fsfreeze" | "xfs_freeze");
    let first = command.split_whitespace().next().unwrap_or_default();
    // Not so an editor or a pager that has it in an argument.
    let may_run = is_tool(first) || is_line(command) || matches!(base(first), "sudo" | "doas" | "env" | "timeout");
    let words = || command.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';', '&', '(', ')', '{', '}']));
    let at: Vec<usize> = words().enumerate().filter(|(_, word)| may_run && is_tool(word)).map(|(at, _)| at).collect();
    at.into_iter().filter_map(move |at| {
        let mut thaw = None;
        for word in words().skip(at + 1).take(4) {
            match word {
                "-f" | "--freeze" => thaw = Some(false),
                "-u" | "--unfreeze" => thaw = Some(true),
                _ if word.starts_with('/') => {
                    let mount = if word.len() > 1 { word.trim_end_matches('/') } else { word };
                    return thaw.map(|thaw| if thaw { Act::Thaw(mount) } else { Act::Freeze(mount) });
                }
                _ => {}
            }
        }
        None
    })
}

/// Whether it is a shell that was given a line.
pub fn is_line(command: &str) -> bool {
    let mut words = command.split_whitespace();
    let shell = words.next().map(base).is_some_and(|first| first.ends_with("sh") && is_interpreter(first));
    shell && words.take_while(|word| word.starts_with('-')).any(|word| !word.starts_with("--") && word.ends_with('c'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(command: &str) -> Vec<Act<'_>> {
        acts(command).collect()
    }

    #[test]
    fn a_command_line_says_what_it_freezes() {
        assert_eq!(told("fsfreeze -f /srv/"), [Act::Freeze("/srv")]);
        assert_eq!(told("/usr/sbin/xfs_freeze -u /srv"), [Act::Thaw("/srv")]);
        assert_eq!(told("fsfreeze --freeze /"), [Act::Freeze("/")]);
        assert_eq!(
            told("sh -c fsfreeze -f /srv && sleep 60; fsfreeze -u /srv"),
            [Act::Freeze("/srv"), Act::Thaw("/srv")],
            "in its order"
        );
        for nothing in
            ["vim fsfreeze -f /srv", "man fsfreeze", "fsfreeze", "fsfreeze -f", "/bin/sh /usr/local/sbin/fsfreeze.sh -f /srv", ""]
        {
            assert_eq!(told(nothing), [], "{nothing}");
        }
    }
}
