//! Which file a descriptor stands for: `fd/N` and `fdinfo/N` of a task.
//!
//! Asks the kernel for the name it has in memory and the numbers of the open file; never opens or stats what the descriptor leads to,
//! for that may block for good. `fdinfo` calls into the driver of some devices, so it is read for files, block devices and
//! pipes only. Tested in place and by `tests/storage.rs`.

use rustix::fs::OFlags;
use syscalls::Sysno;

use super::{
    files::{Files, Place},
    parse::{self, Call},
};
use crate::sample::FileRef;

/// What `fdinfo/N` says (`proc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Info {
    /// `None`: none that a file can have.
    pub position: Option<u64>,
    /// As for open(2).
    pub flags: OFlags,
    /// `None`: kernels before 3.15.
    pub mount: Option<u32>,
}

/// The file that a system call is about. Where the call takes two, the first one that has a path.
pub(super) fn of_call(files: &mut Files, place: Place, call: Call) -> Option<FileRef> {
    let args = call.args?;
    let mut found = None;
    for index in descriptors(Sysno::new(call.number as usize)?) {
        // A descriptor is an int, whatever is in the register's upper half.
        let fd = u32::try_from((args[*index] as u32).cast_signed()).ok();
        let file = fd.and_then(|fd| file(files, place, fd));
        let is_path = file.as_ref().is_some_and(|file| file.path.starts_with('/'));
        found = found.filter(|_| !is_path).or(file);
        if is_path {
            break;
        }
    }
    found
}

/// Which arguments of a system call are descriptors of files that it may wait for.
fn descriptors(call: Sysno) -> &'static [usize] {
    match call {
        Sysno::read
        | Sysno::write
        | Sysno::pread64
        | Sysno::pwrite64
        | Sysno::readv
        | Sysno::writev
        | Sysno::preadv
        | Sysno::pwritev
        | Sysno::preadv2
        | Sysno::pwritev2
        | Sysno::fsync
        | Sysno::fdatasync
        | Sysno::ftruncate
        | Sysno::fallocate
        | Sysno::sync_file_range
        | Sysno::syncfs
        | Sysno::getdents64
        | Sysno::fstat
        | Sysno::fstatfs
        | Sysno::fadvise64
        | Sysno::readahead
        | Sysno::lseek
        | Sysno::flock
        | Sysno::ioctl
        | Sysno::fchmod
        | Sysno::fchown => &[0],
        Sysno::splice | Sysno::copy_file_range => &[0, 2],
        // The output comes first here.
        Sysno::sendfile => &[1, 0],
        _ => &[],
    }
}

fn file(files: &mut Files, place: Place, fd: u32) -> Option<FileRef> {
    let path = link(files, place, fd)?;
    let mount = has_plain_info(&path).then(|| info(files, place, fd)).flatten().and_then(|info| info.mount);
    Some(FileRef { path, mount })
}

/// The name of what a descriptor stands for.
pub(super) fn link(files: &mut Files, place: Place, fd: u32) -> Option<String> {
    let link = files.read_link(place, &format!("fd/{fd}")).ok()?;
    Some(String::from_utf8_lossy(link).into_owned())
}

/// Position, flags and mount.
pub(super) fn info(files: &mut Files, place: Place, fd: u32) -> Option<Info> {
    parse_info(files.read(place, &format!("fdinfo/{fd}")).ok()?)
}

/// Whether this is a file on a mount that can be seen: not a device, whose driver would be asked, and not memory or a pipe, which are
/// on mounts of the kernel's own.
pub(super) fn has_plain_info(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("/memfd:") && (!path.starts_with("/dev/") || path.starts_with("/dev/shm/"))
}

fn parse_info(text: &[u8]) -> Option<Info> {
    let value = |name: &[u8]| {
        let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
        parse::words(line).next()
    };
    let octal = std::str::from_utf8(value(b"flags:")?).ok()?;
    Some(Info {
        position: value(b"pos:").and_then(parse::number).filter(|position| i64::try_from(*position).is_ok()),
        flags: OFlags::from_bits_retain(u32::from_str_radix(octal, 8).ok()?),
        mount: value(b"mnt_id:").and_then(parse::number).and_then(|mount| u32::try_from(mount).ok()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_info_gives_its_numbers() {
        let text = b"pos:\t4096\nflags:\t0100002\nmnt_id:\t27\nino:\t12\nlock:\t1: POSIX  ADVISORY  WRITE 9 08:01:12 0 EOF\n";
        assert_eq!(
            parse_info(text),
            Some(Info { position: Some(4096), flags: OFlags::from_bits_retain(0o10_0002), mount: Some(27) })
        );
        let old = Info { position: None, flags: OFlags::RDONLY, mount: None };
        assert_eq!(parse_info(b"pos:\t-1\nflags:\t00\n"), Some(old));
        assert_eq!((parse_info(b"pos:\t0\n"), parse_info(b"flags:\t9\n"), parse_info(b"flags:\n")), (None, None, None));
    }

    #[test]
    fn drivers_are_not_asked() {
        for path in ["/srv/x", "/dev/shm/x", "/devices", "/"] {
            assert!(has_plain_info(path), "{path}");
        }
        for path in ["/dev/dri/card0", "/dev/fuse", "/memfd:x (deleted)", "anon_inode:[io_uring]", "pipe:[1]", "socket:[1]", ""] {
            assert!(!has_plain_info(path), "{path}");
        }
    }

    #[test]
    fn calls_have_their_descriptors() {
        assert_eq!(descriptors(Sysno::pread64), [0]);
        assert_eq!(descriptors(Sysno::sendfile), [1, 0]);
        for call in [Sysno::openat, Sysno::close, Sysno::statx, Sysno::futex, Sysno::mmap] {
            assert_eq!(descriptors(call), [0; 0], "{call}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), word in "[-+0-9a-z]{0,30}") {
            let _ = (parse_info(&bytes), parse_info(format!("pos: {word}\nflags: {word}\nmnt_id:{word}").as_bytes()));
        }
    }
}
