//! The kernel's description of its own types (BTF), cut down to the few that the iterator touches.
//!
//! All of it is 100,000 types and more, and what is made of them are 20 MB in small pieces, of which most are never given back. So
//! what is not needed is replaced by the smallest type there is, under the same number, for numbers are what the kernel
//! goes by. Bytes in, bytes out; format: the kernel's Documentation/bpf/btf.rst. Tested in place and by `tests/tiers.rs`.

use std::collections::HashSet;

/// Structures that the program reads, and the kernel's function that it takes part in.
const WANTED: [&[u8]; 18] = [
    b"bpf_iter_task",
    b"bpf_iter__task",
    b"bpf_iter_meta",
    b"seq_file",
    b"task_struct",
    b"task_io_accounting",
    b"signal_struct",
    b"sched_entity",
    b"sched_info",
    b"pid",
    b"upid",
    b"tty_struct",
    b"tty_driver",
    b"thread_info",
    b"css_set",
    b"cgroup",
    b"kernfs_node",
    b"pt_regs",
];

const MAGIC: u16 = 0xeb9f;
/// Bytes of what all types begin with: name, kind with number of members, size or other type.
const COMMON: usize = 12;
/// A structure that is defined elsewhere, and has no name.
const NOTHING: [u8; COMMON] = [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];

/// What kinds there are, as far as it matters here.
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const TYPE_TAG: u32 = 18;

/// One type, where it is.
#[derive(Clone, Copy)]
struct Type<'a> {
    bytes: &'a [u8],
}

impl<'a> Type<'a> {
    /// Cuts the first type off; `None` if it is of a kind that is not known.
    fn cut(section: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let info = word(section, 4)?;
        let members = (info & 0xffff) as usize;
        let more = match info >> 24 & 0x1f {
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG.
            2 | 7..=12 | 16 | 18 => 0,
            // INT, VAR, DECL_TAG.
            1 | 14 | 17 => 4,
            ARRAY => 12,
            // ENUM, FUNC_PROTO.
            6 | 13 => members * 8,
            // STRUCT, UNION, DATASEC, ENUM64.
            STRUCT | UNION | 15 | 19 => members * 12,
            _ => return None,
        };
        let (bytes, rest) = section.split_at_checked(COMMON + more)?;
        Some((Self { bytes }, rest))
    }

    fn kind(self) -> u32 {
        word(self.bytes, 4).unwrap_or(0) >> 24 & 0x1f
    }

    /// The types that it is made of. A pointer is made of nothing: what it points to matters to nobody who does not follow it, and
    /// whoever does finds the structure by name.
    fn parts(self) -> impl Iterator<Item = u32> {
        let offsets = match self.kind() {
            STRUCT | UNION => (COMMON + 4..self.bytes.len()).step_by(12),
            // The element, and the index.
            ARRAY => (COMMON..self.bytes.len() - 4).step_by(4),
            TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => (8..COMMON).step_by(4),
            _ => (0..0).step_by(1),
        };
        offsets.filter_map(move |at| word(self.bytes, at))
    }
}

/// Leaves out what is not needed. `None`: this is no description, or one of a kind that is not known here.
pub(super) fn sieve(raw: &[u8]) -> Option<Vec<u8>> {
    let magic = raw.first_chunk().copied().map(u16::from_le_bytes)?;
    if magic != MAGIC {
        return None;
    }
    let header = word(raw, 4)? as usize;
    let section = |offset: usize, length: usize| {
        let start = header.checked_add(word(raw, offset)? as usize)?;
        raw.get(start..start.checked_add(word(raw, length)? as usize)?)
    };
    let (mut rest, strings) = (section(8, 12)?, section(16, 20)?);
    let mut types = Vec::new();
    while !rest.is_empty() {
        let (cut, left) = Type::cut(rest)?;
        types.push(cut);
        rest = left;
    }

    // Type numbers begin with 1; 0 is void.
    let is_wanted = |cut: &Type<'_>| name(strings, word(cut.bytes, 0)).is_some_and(|name| WANTED.contains(&name));
    let mut due: Vec<u32> = (1..).zip(&types).filter(|(_, cut)| is_wanted(cut)).map(|(number, _)| number).collect();
    let mut needed: HashSet<u32> = due.iter().copied().collect();
    while let Some(number) = due.pop() {
        let Some(cut) = types.get((number as usize).wrapping_sub(1)) else { continue };
        due.extend(cut.parts().filter(|part| needed.insert(*part)));
    }

    let mut out = Vec::with_capacity(24 + types.len() * COMMON + strings.len() + 64 * 1024);
    out.extend([0; 24]);
    for (number, cut) in (1..).zip(&types) {
        out.extend(if needed.contains(&number) { cut.bytes } else { &NOTHING });
    }
    let length = u32::try_from(out.len() - 24).ok()?;
    out.extend(strings);
    // Magic, version 1, no flags; length of the header; where the types are and the strings.
    out[..4].copy_from_slice(raw.get(..4)?);
    for (at, value) in [(4, 24), (8, 0), (12, length), (16, length), (20, u32::try_from(strings.len()).ok()?)] {
        out[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    Some(out)
}

/// The iterator's object is little-endian, and so is whoever it runs on.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn name(strings: &[u8], at: Option<u32>) -> Option<&[u8]> {
    let text = strings.get(at? as usize..)?;
    // Longer than any that is wanted: not looked at to its end.
    text.iter().take(32).position(|byte| *byte == 0).map(|end| &text[..end])
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `int`, `typedef int T`, a pointer to `more`, `struct pid { T first; struct more *other; }`, `struct more { int a; }`, and an
    /// array of those.
    fn description() -> Vec<u8> {
        let types: [&[u32]; 6] = [
            &[1, 0x0100_0000, 4, 0x0100_0020],
            &[5, 0x0800_0000, 1],
            &[0, 0x0200_0000, 5],
            &[7, 0x0400_0002, 16, 11, 2, 0, 17, 3, 64],
            &[23, 0x0400_0001, 4, 28, 1, 0],
            &[0, 0x0300_0000, 0, 5, 1, 2],
        ];
        let strings = b"\0int\0T\0pid\0first\0other\0more\0a\0";
        let types: Vec<u8> = types.concat().iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        let head: Vec<u8> = header.iter().flat_map(|word| u32::to_le_bytes(*word)).collect();
        [&[0x9f, 0xeb, 1, 0][..], &head, &types, strings].concat()
    }

    #[test]
    fn what_is_needed_keeps_its_place() {
        let raw = description();
        let out = sieve(&raw).unwrap();
        // The first four types are 76 bytes and stay; the other two become nothing.
        assert_eq!(out[24..24 + 76], raw[24..24 + 76]);
        assert_eq!(out[24 + 76..24 + 100], [NOTHING, NOTHING].concat());
        assert!(out.ends_with(b"more\0a\0"));
    }

    #[test]
    fn this_kernel_s_description_is_understood() {
        let Ok(raw) = std::fs::read("/sys/kernel/btf/vmlinux") else {
            println!("skipped: this kernel carries no BTF");
            return;
        };
        let out = sieve(&raw).unwrap();
        assert!(out.len() < raw.len() * 4 / 5, "{} of {} bytes are left", out.len(), raw.len());
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let mut raw = description();
        assert_eq!(sieve(b""), None);
        raw[31] = 0x1f;
        assert_eq!(sieve(&raw), None, "a kind that is yet to come");
        raw[0] = 0;
        assert_eq!(sieve(&raw), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..200_usize, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut raw = description();
            raw.resize(raw.len().max(at + bytes.len()), 0);
            raw[at..at + bytes.len()].copy_from_slice(&bytes);
            let _ = sieve(&raw);
            let _ = sieve(&bytes);
        }
    }
}
