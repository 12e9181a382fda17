//! Mount tables: the lines of `mountinfo`, and reading them within bounds.
//!
//! Reading one takes the lock of all mount namespaces, which a mount in progress may hold for as long as its server is silent: only
//! for the thread of `storage`. Never touches what is mounted. Whatever the bytes are, the parser does not panic. Tested in place, by
//! properties, and by `tests/storage.rs`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use compact_str::CompactString;

use super::super::parse;
use crate::sample::Mount;

/// Most bytes read of one table: an overlay of many layers takes a few kilobytes a line.
const BYTES: u64 = 16 * 1024 * 1024;

/// Gives each mount of a table for which `keep` says so, by number, until `keep` says no more (`None`). Lines that make no sense are
/// left out.
pub(super) fn read(path: &Path, mut keep: impl FnMut(u32) -> Option<bool>) -> io::Result<Vec<Mount>> {
    let mut file = BufReader::with_capacity(64 * 1024, File::open(path)?.take(BYTES));
    let mut mounts = Vec::new();
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        if let Some(id) = id(&line) {
            match keep(id) {
                Some(true) => mounts.extend(mount(&line)),
                Some(false) => {}
                None => break,
            }
        }
        line.clear();
    }
    Ok(mounts)
}

fn id(line: &[u8]) -> Option<u32> {
    u32::try_from(parse::number(line.split(|byte| *byte == b' ').next()?)?).ok()
}

/// Reads a line (`proc(5)`, `/proc/PID/mountinfo`). Fields are divided by one blank each, for a source may be empty.
pub(super) fn mount(line: &[u8]) -> Option<Mount> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let id = id(line)?;
    let mut fields = line.split(|byte| *byte == b' ').skip(2);
    let device = device(fields.next()?)?;
    let point = decoded(fields.nth(1)?);
    // Mount options, then any number of optional fields up to a dash.
    fields.next()?;
    fields.find(|field| *field == b"-")?;
    let kind = CompactString::from(decoded(fields.next()?));
    let source = decoded(fields.next()?);
    let option = |option: &[u8]| option.strip_prefix(b"upperdir=").map(decoded);
    let options = fields.next().filter(|_| kind == "overlay");
    let upper = options.and_then(|options| options.split(|byte| *byte == b',').find_map(option));
    Some(Mount { id, device, point, kind, source, upper })
}

/// A device number: `8:1`.
pub(super) fn device(text: &[u8]) -> Option<(u32, u32)> {
    let colon = text.iter().position(|byte| *byte == b':')?;
    let part = |text: &[u8]| u32::try_from(parse::number(text)?).ok();
    Some((part(&text[..colon])?, part(&text[colon + 1..])?))
}

/// Undoes the kernel's escapes: a backslash and three octal digits for a blank, a line end, a backslash and others
/// (`mangle_path`, `fs/seq_file.c`).
fn decoded(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(|digit| matches!(digit, b'0'..=b'7')));
        let value =
            octal.and_then(|digits| u8::try_from(digits.iter().fold(0, |sum, digit| sum * 8 + u32::from(digit - b'0'))).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(line: &str) -> (u32, (u32, u32), String, String, String, Option<String>) {
        let mount = mount(line.as_bytes()).unwrap();
        (mount.id, mount.device, mount.point, mount.kind.into(), mount.source, mount.upper)
    }

    fn expected(
        id: u32,
        device: (u32, u32),
        point: &str,
        kind: &str,
        source: &str,
        upper: Option<&str>,
    ) -> (u32, (u32, u32), String, String, String, Option<String>) {
        (id, device, point.to_owned(), kind.to_owned(), source.to_owned(), upper.map(str::to_owned))
    }

    #[test]
    fn lines_of_all_kinds_give_their_fields() {
        assert_eq!(
            of("27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro\n"),
            expected(27, (254, 0), "/", "ext4", "/dev/vda1", None)
        );
        assert_eq!(
            of("61 27 254:0 /srv/data /mnt/bind rw shared:1 master:2 propagate_from:3 unbindable - ext4 /dev/vda1 rw"),
            expected(61, (254, 0), "/mnt/bind", "ext4", "/dev/vda1", None)
        );
        assert_eq!(
            of("48 27 0:44 /@home /home rw,noatime - btrfs /dev/mapper/luks-6f rw,ssd,subvolid=257,subvol=/@home"),
            expected(48, (0, 44), "/home", "btrfs", "/dev/mapper/luks-6f", None)
        );
        assert_eq!(
            of("99 27 0:52 / /mnt/nas rw - nfs4 nas.example:/export/my\\040files rw,vers=4.2,upperdir=/no"),
            expected(99, (0, 52), "/mnt/nas", "nfs4", "nas.example:/export/my files", None)
        );
        assert_eq!(
            of("412 27 0:61 / /var/lib/docker/overlay2/4f/merged rw - overlay overlay \
                rw,lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/a\\054b/diff,workdir=/w"),
            expected(412, (0, 61), "/var/lib/docker/overlay2/4f/merged", "overlay", "overlay", Some("/var/lib/docker/a,b/diff"))
        );
        assert_eq!(of("7 1 0:5 / /tab\\011and\\134 rw -  rw"), expected(7, (0, 5), "/tab\tand\\", "", "rw", None));
        assert_eq!(of("8 1 0:5 / /x rw - tmpfs  rw"), expected(8, (0, 5), "/x", "tmpfs", "", None));
        assert_eq!(
            of("9 1 0:5 / /x - - fuse.sshfs ann@host:\\043 rw"),
            expected(9, (0, 5), "/x", "fuse.sshfs", "ann@host:#", None)
        );
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        for line in
            ["", "27", "27 1 254:0 / / rw", "x 1 254:0 / / rw - ext4 a rw", "27 1 254 / / rw - ext4 a rw", "27 1 8: / / rw - e a"]
        {
            assert_eq!(mount(line.as_bytes()), None, "{line}");
        }
        assert_eq!(decoded(b"\\04"), "\\04");
        assert_eq!(decoded(b"\\400\\777\\08 \\"), "\\400\\777\\08 \\");
        assert_eq!(decoded(b"\\\\040"), "\\ ");
    }

    #[test]
    fn reading_ends_when_it_is_told_to() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = |id: u32| format!("{id} 1 0:5 / /{id} rw - tmpfs t rw\n");
        let text: String = (0..100).map(line).collect();
        std::fs::write(file.path(), text + "nonsense\n").unwrap();
        let points = |mounts: Vec<Mount>| mounts.into_iter().map(|mount| mount.point).collect::<Vec<_>>();
        assert_eq!(points(read(file.path(), |id| Some(id == 70)).unwrap()), ["/70"]);
        assert_eq!(points(read(file.path(), |id| (id < 2).then_some(true)).unwrap()), ["/0", "/1"]);
        assert_eq!(read(file.path(), |_| Some(true)).unwrap().len(), 100);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (mount(&bytes), device(&bytes), decoded(&bytes));
        }

        #[test]
        fn nothing_that_looks_like_a_line_makes_it_panic(text in r"[0-9]{1,11} [0-9]* [0-9:]{0,9}( [/a-z\\0-7=,-]{0,12}){0,12}") {
            let _ = mount(text.as_bytes());
        }

        #[test]
        fn any_path_comes_back(path in "[^\0]{1,40}", id: u32) {
            let escaped: String = path.bytes().map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}"),
                // Bytes of one character stay together: only what is escaped is changed.
                _ => char::from(byte).to_string(),
            }).collect();
            let line: Vec<u8> = format!("{id} 1 8:1 / ").into_bytes().into_iter()
                .chain(escaped.chars().map(|c| c as u8)).chain(*b" rw shared:5 - ext4 /dev/sda1 rw\n").collect();
            let mount = mount(&line).unwrap();
            prop_assert_eq!((mount.id, mount.point, mount.source), (id, path, "/dev/sda1".to_owned()));
        }
    }
}
