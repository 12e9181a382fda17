//! What acting must know of a process, from `/proc/PID/stat` and the signal masks of `/proc/PID/status`; and the time in ticks.
//!
//! A reader of its own, because acting must see the host as it is now, not as the last sample was. Neither file waits for
//! the memory lock of a wedged process (`cmdline` would). Tested in place.

use std::{fs, io};

use rustix::io::Errno;
use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};

use crate::units::{Nanos, Pid, ProcessId, SECOND};

/// `PF_KTHREAD` of `include/linux/sched.h`, in the flags of `stat`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One process at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which process.
    pub id: ProcessId,
    /// Its short name, raw.
    pub name: String,
    /// `R`, `S`, `D`, `T`, `Z`, …
    pub state: u8,
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// Threads that have not ended.
    threads: u64,
    flags: u64,
}

impl Stat {
    /// Reads it; `None` if there is no such process.
    pub fn read(pid: Pid) -> io::Result<Option<Self>> {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(text) => Self::parse(&text).map(Some).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat not understood"))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Splits at the last `)`: a process chooses its own name, which may hold blanks and brackets.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?;
        let fields: Vec<&str> = str::from_utf8(text.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
        Some(Self {
            id: ProcessId { pid, start: fields.get(19)?.parse().ok()? },
            name: String::from_utf8_lossy(text.get(open + 1..close)?).into_owned(),
            state: *fields.first()?.as_bytes().first()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            flags: fields.get(6)?.parse().ok()?,
            threads: fields.get(17)?.parse().ok()?,
        })
    }

    /// A kernel thread takes no signals.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Ended, and only not yet waited for. A first thread that has ended while others run is a zombie too, so count them.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    /// Stopped by a signal, so that it takes no other but SIGKILL and SIGCONT.
    pub fn is_stopped(&self) -> bool {
        self.state == b'T'
    }

    /// It has one thread.
    pub fn is_single(&self) -> bool {
        self.threads <= 1
    }

    /// In uninterruptible sleep, so that it takes no signal at all.
    pub fn is_stuck(&self) -> bool {
        self.state == b'D'
    }
}

/// The file of a process that ended before the open (`ENOENT`) or before the read (`ESRCH`).
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// What becomes of signals to a process or a thread: the masks of `status`, by signal number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    pending: u64,
    blocked: u64,
    ignored: u64,
    caught: u64,
}

impl Signals {
    /// Reads those of `/proc/PID` or `/proc/PID/task/TID`. `None`: it is gone.
    pub fn read(path: &str) -> Option<Self> {
        Some(Self::parse(&fs::read_to_string(format!("{path}/status")).ok()?))
    }

    fn parse(status: &str) -> Self {
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default()
        };
        Self {
            pending: mask("SigPnd:") | mask("ShdPnd:"),
            blocked: mask("SigBlk:"),
            ignored: mask("SigIgn:"),
            caught: mask("SigCgt:"),
        }
    }

    /// Sent, and not taken yet.
    pub const fn is_pending(self, signal: i32) -> bool {
        self.pending >> (signal - 1) & 1 == 1
    }

    /// Thrown away.
    pub const fn is_ignored(self, signal: i32) -> bool {
        self.ignored >> (signal - 1) & 1 == 1
    }

    /// Kept until it is wanted.
    pub const fn is_blocked(self, signal: i32) -> bool {
        self.blocked >> (signal - 1) & 1 == 1
    }

    /// Something of its own is done: it has a handler, or blocks the signal and fetches it.
    const fn is_answered(self, signal: i32) -> bool {
        // Shells and C libraries block everything for the instant of a vfork; whoever fetches signals blocks a few for good.
        let fetched = if self.blocked.count_ones() < u64::BITS / 2 { self.blocked } else { 0 };
        (fetched | self.caught) >> (signal - 1) & 1 == 1
    }
}

/// Whether the process does something of its own on this signal.
pub fn answers(pid: Pid, signal: i32) -> bool {
    Signals::read(&format!("/proc/{pid}")).is_some_and(|signals| signals.is_answered(signal))
}

/// Now, on the clock of start times: ticks since boot, suspended time included.
pub fn now_in_ticks() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    in_ticks(now.tv_sec.unsigned_abs() * SECOND + now.tv_nsec.unsigned_abs())
}

/// A time since boot, on the clock of start times.
pub fn in_ticks(since_boot: Nanos) -> u64 {
    since_boot / (SECOND / clock_ticks_per_second().max(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A living process, for the tests of kinship.
    pub fn living(pid: Pid, start: u64, parent: Pid, group: Pid, session: Pid) -> Stat {
        let (name, id) = (format!("p{pid}"), ProcessId { pid, start });
        Stat { id, name, state: b'S', parent, group, session, threads: 1, flags: 0 }
    }

    fn line(name: &str, state: char, flags: u64, threads: u64) -> Vec<u8> {
        format!("42 ({name}) {state} 7 8 9 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 {threads} 0 128251 3133440 412 1 2\n").into_bytes()
    }

    #[test]
    fn names_may_look_like_fields() {
        for name in ["tar", "a b", ") R 1 1 1 (", "", "((("] {
            let stat = Stat::parse(&line(name, 'T', 0, 1)).unwrap();
            assert_eq!(stat.name, name);
            assert_eq!((stat.id, stat.parent, stat.group, stat.session), (ProcessId { pid: 42, start: 128_251 }, 7, 8, 9));
            assert!(stat.is_stopped() && !stat.is_kernel_thread());
        }
        let bytes = [b"1 (\xff\xfe".as_slice(), &line("x", 'S', 0, 1)[5..]].concat();
        assert_eq!(Stat::parse(&bytes).unwrap().name, "\u{fffd}\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in r"[0-9]{0,20} ?\(?\PC{0,20}\)? ?[RSDTZ]?( -?[0-9]{1,21}){0,24}",
                                  status in r"(Sig(Pnd|Blk|Ign|Cgt)|ShdPnd):?[\t ]?([0-9a-f]{0,20}|\PC{0,8})\n?") {
            let _ = Stat::parse(&bytes);
            let _ = Stat::parse(text.as_bytes());
            let _ = Signals::parse(&status);
            let _ = Signals::parse(&String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn half_a_line_is_no_process() {
        let whole = line("x", 'S', 0, 1);
        for end in 0..whole.len() - 20 {
            assert!(Stat::parse(&whole[..end]).is_none_or(|stat| stat.id.pid == 42), "cut at {end}");
        }
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b")("), None);
    }

    #[test]
    fn a_zombie_with_living_threads_has_not_ended() {
        assert!(Stat::parse(&line("x", 'Z', 0, 1)).unwrap().has_ended());
        assert!(!Stat::parse(&line("x", 'Z', 0, 3)).unwrap().has_ended());
        assert!(Stat::parse(&line("x", 'I', 69_238_880, 1)).unwrap().is_kernel_thread());
    }

    #[test]
    fn a_handler_or_a_blocked_signal_is_an_answer() {
        let answers = |blocked: &str, caught: &str, signal: i32| {
            let status = format!("Name:\tx\nSigBlk:\t{blocked}\nSigIgn:\tffff\nSigCgt:\t{caught}\n");
            Signals::parse(&status).is_answered(signal)
        };
        assert!(answers("0000000000000000", "0000000000004000", 15));
        assert!(answers("0000000000004000", "0000000000000000", 15));
        assert!(!answers("0000000000000000", "0000000000004000", 2));
        assert!(!answers("fffffffe7ffbfeff", "0000000000000000", 15));
        assert!(!Signals::parse("").is_answered(15));
    }

    #[test]
    fn a_signal_is_pending_for_the_thread_or_for_all() {
        for line in ["SigPnd:\t0000000000000100", "ShdPnd:\t0000000000000100"] {
            let signals = Signals::parse(line);
            assert!(signals.is_pending(9) && !signals.is_pending(15), "{line}");
        }
        let signals = Signals::parse("SigIgn:\t0000000000004000\nSigBlk:\t0000000000000002\n");
        assert!(signals.is_ignored(15) && signals.is_blocked(2) && !signals.is_pending(15));
    }

    #[test]
    fn the_clock_is_the_one_of_start_times() {
        let before = now_in_ticks();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let start = Stat::read(child.id().cast_signed()).unwrap().map(|stat| stat.id.start);
        child.wait().unwrap();
        assert!((before..=now_in_ticks()).contains(&start.unwrap()));
    }
}
