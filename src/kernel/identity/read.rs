//! The files that say who a process is: `status`, `cgroup`, `exe`, and `cmdline`, which may never return.
//!
//! Runs on threads of the pool only. What cannot be read is `None`. Never reads `environ`, `maps` or `smaps`: they
//! block as the command line does, and nobody needs them. Tested in place.

use std::{fs::File, io::Read, os::fd::OwnedFd};

use compact_str::CompactString;
use rustix::fs::{Mode, OFlags, openat, readlinkat};

use super::super::{parse, root::ProcRoot};
use crate::{
    sample::{Controlled, Identity},
    units::ProcessId,
};

/// Most of a command line that is read: it says nothing new after that, and a stranger may make it megabytes long.
const COMMAND_LINE: u64 = 64 * 1024;
/// Most of any other file.
const OTHER: u64 = 16 * 1024;
/// Parts of a control group path that tell a job, where no version 2 or systemd hierarchy does.
const TELLING: [&str; 6] = [".service", ".scope", "docker", "kubepods", "lxc", "libpod"];

/// A process after the first step.
pub(super) struct Opened {
    pub id: ProcessId,
    /// Its name in the kernel.
    pub comm: CompactString,
    /// Its directory: held open, it stands for this process even when its number is reused.
    dir: Option<OwnedFd>,
}

/// A process's directory.
struct Directory<'a>(&'a OwnedFd);

/// Everything but the command line and the user's name; `None` if the process is gone or its number belongs to another.
pub(super) fn first(root: &ProcRoot, id: ProcessId) -> Option<(Opened, Identity)> {
    let (dir, comm) = open(root, id)?;
    let of = Directory(&dir);
    let uid = of.read("status", OTHER).and_then(|status| effective_uid(&status));
    let exe = readlinkat(&dir, "exe", Vec::new()).ok();
    let groups = of.read("cgroup", OTHER).map(lossy).unwrap_or_default();
    let cgroup = control_group(&groups);
    let identity = Identity {
        argv: Vec::new(),
        exe: exe.map(|exe| lossy(exe.into_bytes())),
        uid,
        user: None,
        cgroup: cgroup.map(str::to_owned),
        controlled: controlled(&groups, cgroup),
    };
    Some((Opened { id, comm, dir: Some(dir) }, identity))
}

/// The command line. May never return.
pub(super) fn command_line(root: &ProcRoot, opened: &Opened) -> Vec<String> {
    let again = if opened.dir.is_none() { open(root, opened.id).map(|(dir, _)| dir) } else { None };
    let text = opened.dir.as_ref().or(again.as_ref()).and_then(|dir| Directory(dir).read("cmdline", COMMAND_LINE));
    text.map(|text| arguments(&text)).unwrap_or_default()
}

/// The directory of a process and its name; `None` if it is gone or its number belongs to another.
fn open(root: &ProcRoot, id: ProcessId) -> Option<(OwnedFd, CompactString)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = openat(root.dir(), id.pid.to_string(), flags, Mode::empty()).ok()?;
    let text = Directory(&dir).read("stat", OTHER)?;
    let stat = parse::stat(&text).filter(|stat| stat.start == id.start)?;
    let comm = CompactString::from_utf8_lossy(stat.comm);
    Some((dir, comm))
}

impl Opened {
    /// The same, to be opened again when its turn comes.
    pub fn closed(self) -> Self {
        Self { dir: None, ..self }
    }
}

impl Directory<'_> {
    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let file = openat(self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = Vec::new();
        File::from(file).take(most).read_to_end(&mut text).ok()?;
        Some(text)
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Each argument ends with a zero byte. A title that a process wrote over them (`nginx: worker process`) is followed by many.
fn arguments(text: &[u8]) -> Vec<String> {
    let text = &text[..text.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
    if text.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn effective_uid(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    u32::try_from(parse::number(parse::words(line).nth(1)?)?).ok()
}

/// Number, controllers and path of each hierarchy. The path may hold colons.
fn hierarchies(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let (number, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((number, controllers, path))
    })
}

/// Where it is in the hierarchies of version 1, as far as that is elsewhere than this.
fn controlled(text: &str, cgroup: Option<&str>) -> Controlled {
    let of = |name: &str| {
        let found = hierarchies(text).find(|(_, controllers, _)| controllers.split(',').any(|controller| controller == name));
        found.map(|(.., path)| path).filter(|path| Some(*path) != cgroup).map(str::to_owned)
    };
    Controlled { cpu: of("cpu"), memory: of("memory"), io: of("blkio") }
}

/// The path that tells most: version 2's unless it is the root, else systemd's own, else any that names a unit or container.
fn control_group(text: &str) -> Option<&str> {
    let lines = || hierarchies(text);
    let of = |wanted: fn(&str, &str) -> bool| {
        lines().find(|(number, controllers, path)| wanted(number, controllers) && *path != "/").map(|(.., path)| path)
    };
    of(|number, controllers| number == "0" && controllers.is_empty())
        .or_else(|| of(|_, controllers| controllers == "name=systemd"))
        .or_else(|| lines().map(|(.., path)| path).find(|path| TELLING.iter().any(|part| path.contains(part))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_empty_ones_inside_and_lose_the_padding() {
        assert_eq!(arguments(b"tar\0\0cf\0"), ["tar", "", "cf"]);
        assert_eq!(arguments(b"nginx: worker process\0\0\0\0"), ["nginx: worker process"]);
        assert_eq!(arguments(b"\xff\0"), ["\u{fffd}"]);
        assert!(arguments(b"").is_empty() && arguments(b"\0\0").is_empty());
    }

    #[test]
    fn the_second_number_is_the_effective_user() {
        assert_eq!(effective_uid(b"Name:\tsu\nUid:\t1000\t33\t0\t0\nGid:\t1\t1\t1\t1\n"), Some(33));
        assert_eq!(effective_uid(b"Name:\tUid:\n"), None);
    }

    #[test]
    fn hierarchies_of_version_1_have_paths_of_their_own() {
        let text = "5:cpu,cpuacct:/a\n4:memory:/b:c\n3:blkio:/\n1:name=systemd:/a\n0::/\n";
        let own = |path: &str| Some(path.to_owned());
        assert_eq!(controlled(text, Some("/a")), Controlled { cpu: None, memory: own("/b:c"), io: own("/") });
        assert_eq!(controlled("0::/a\n", Some("/a")), Controlled::default());
    }

    #[test]
    fn the_control_group_that_tells_most_wins() {
        let unit = "/system.slice/cron.service";
        assert_eq!(control_group(&format!("1:name=systemd:/x\n0::{unit}\n")), Some(unit));
        assert_eq!(control_group(&format!("4:memory:/docker/1\n1:name=systemd:{unit}\n0::/\n")), Some(unit));
        assert_eq!(control_group("4:memory:/docker/1:2\n1:name=systemd:/\n0::/\n"), Some("/docker/1:2"));
        assert_eq!(control_group("4:memory:/plain\n0::/\n"), None);
    }
}
