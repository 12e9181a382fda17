//! Bytes of the per-process files to numbers: `stat`, `schedstat`, `sched`, `io`, `statm`, `wchan`, `syscall`, `stack`.
//!
//! Pure and, but for `stack`, without allocation, because it runs for each task that ran, each time. Whatever the bytes are, it never
//! panics: a line that makes no sense is `None` and costs one row. Tested in place, by properties.

use compact_str::CompactString;

use crate::{
    sample::{IoBytes, TaskState},
    units::{Nanos, Pid},
};

/// Flag of a kernel thread (`PF_KTHREAD`, include/linux/sched.h), the same since 2.6.36.
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Flag of a process that forked and has not called exec (`PF_FORKNOEXEC`).
const FORKED_ONLY: u64 = 0x0000_0040;

/// What `/proc/PID/stat` says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    /// The name, as the kernel prints it: some kernels write a line end as `\n` and a backslash as `\\` here.
    pub comm: &'a [u8],
    pub state: TaskState,
    pub parent: Pid,
    pub group: Pid,
    pub session: Pid,
    pub tty: i32,
    pub kernel_thread: bool,
    pub forked_only: bool,
    /// User and system time, in clock ticks: of the whole process in `PID/stat`, of the one thread below `task/`.
    pub ticks: u64,
    pub nice: i8,
    pub threads: u32,
    pub start: u64,
    /// The CPU it ran on last. `None`: not on the line.
    pub cpu: Option<u32>,
}

/// What `/proc/PID/schedstat` says of a task: if all three are the same, it did not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchedStat {
    pub run: Nanos,
    pub delay: Nanos,
    pub slices: u64,
}

/// A system call that a task is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub number: u32,
    /// As they came in.
    pub args: Option<[u64; 6]>,
}

/// Most functions kept of a stack. What matters is near the top; a file system on a network on a block device has a dozen.
pub(super) const FRAMES: usize = 16;

/// Reads a `stat` line. The name may hold anything, `) R 1 (` included, so the line is cut at its last parenthesis.
pub(super) fn stat(line: &[u8]) -> Option<Stat<'_>> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = line.get(open + 1..close)?;
    let mut fields = words(line.get(close + 1..)?);
    let state = state(*fields.next()?.first()?);
    let parent = pid(fields.next()?)?;
    let group = pid(fields.next()?)?;
    let session = pid(fields.next()?)?;
    let tty = pid(fields.next()?)?;
    // `nth` skips: field 8 here, fields 10 to 13 and so on below (numbers as in proc(5)).
    let flags = number(fields.nth(1)?)?;
    let user = number(fields.nth(4)?)?;
    let system = number(fields.next()?)?;
    let nice = signed(fields.nth(3)?)?;
    let threads = number(fields.next()?)?;
    let start = number(fields.nth(1)?)?;
    let cpu = fields.nth(16).and_then(number).and_then(|cpu| u32::try_from(cpu).ok());
    let kernel_thread = flags & KERNEL_THREAD != 0;
    Some(Stat {
        comm,
        state,
        parent,
        group,
        session,
        tty,
        kernel_thread,
        // Kernel threads never exec and carry the flag for life: of them it says nothing.
        forked_only: flags & FORKED_ONLY != 0 && !kernel_thread,
        ticks: user.saturating_add(system),
        nice: i8::try_from(nice).ok()?,
        threads: u32::try_from(threads).ok()?,
        start,
        cpu,
    })
}

/// Reads a `schedstat` line. Three zeros are `None`: a kernel that keeps no numbers (schedstats not built in, delay
/// accounting off) prints them for every task, and a task that never ran has nothing to compare either.
pub(super) fn schedstat(line: &[u8]) -> Option<SchedStat> {
    let mut fields = words(line);
    let run = number(fields.next()?)?;
    let delay = number(fields.next()?)?;
    let slices = number(fields.next()?)?;
    (run != 0 || delay != 0 || slices != 0).then_some(SchedStat { run, delay, slices })
}

/// Reads an `io` file.
pub(super) fn io(text: &[u8]) -> Option<IoBytes> {
    let mut io = IoBytes::default();
    let mut cancelled = 0;
    let mut seen = 0;
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = words(line);
        let (Some(name), Some(value)) = (fields.next(), fields.next()) else { continue };
        let slot = match name {
            b"rchar:" => &mut io.read_any,
            b"wchar:" => &mut io.written_any,
            b"read_bytes:" => &mut io.read,
            b"write_bytes:" => &mut io.written,
            b"cancelled_write_bytes:" => &mut cancelled,
            _ => continue,
        };
        *slot = number(value)?;
        seen += 1;
    }
    io.written = io.written.saturating_sub(cancelled);
    (seen == 5).then_some(io)
}

/// Pages in memory, and those of them that others may have too, in a `statm` file.
pub(super) fn statm(text: &[u8]) -> Option<(u64, u64)> {
    let mut fields = words(text);
    Some((number(fields.nth(1)?)?, number(fields.next()?)?))
}

/// The function name in a `wchan` file; `None` for `0`, which stands for "not allowed" and for "not asleep" alike.
pub(super) fn wchan(text: &[u8]) -> Option<&[u8]> {
    let name = text.trim_ascii();
    (!name.is_empty() && name != b"0").then_some(name)
}

/// The system call in a `syscall` file; `None` for `running` and for `-1`, asleep outside of any, and for those of a 32-bit program:
/// these have other numbers.
pub(super) fn syscall(text: &[u8]) -> Option<Call> {
    let mut words = words(text);
    let number = u32::try_from(number(words.next()?)?).ok()?;
    let mut args = [0; 6];
    let read = args.iter_mut().zip(words.by_ref()).map_while(|(slot, word)| hexadecimal(word).map(|arg| *slot = arg)).count();
    // Stack pointer and place in the program are last. A 64-bit program may lie that low, and its stacks do not.
    let is_low = |word: &[u8]| hexadecimal(word).is_some_and(|address| u32::try_from(address).is_ok());
    let all = cfg!(target_pointer_width = "64") && read == args.len();
    let is_32_bit = all && words.next().is_some_and(is_low) && words.next().is_some_and(is_low);
    (!is_32_bit).then_some(Call { number, args: (read == args.len()).then_some(args) })
}

/// Whether a `stack` file shows that the kernel was entered by a 32-bit call of x86, which a 64-bit program can do, too. The call's own
/// function says nothing: one without arguments has the same for both.
pub(super) fn entered_as_32_bit(text: &[u8]) -> bool {
    let is_entry = |name: &[u8]| {
        let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
        name.starts_with(b"entry_") && has(b"compat") || has(b"_int80_") || has(b"do_fast_syscall_32")
    };
    text.split(|byte| *byte == b'\n').filter_map(frame).any(is_entry)
}

/// The kernel's function in a line of a `stack` file, or of the iterator's: `[<0>] name+0x1/0x2 [module]`. `None`: the line holds a
/// bare address, as the last one did on kernels before 5.2.
pub(super) fn frame(line: &[u8]) -> Option<&[u8]> {
    let word = words(line).find(|word| !word.starts_with(b"[<"))?;
    let name = word.split(|byte| *byte == b'+').next()?;
    (!name.is_empty() && !name.starts_with(b"0x")).then_some(name)
}

/// The kernel's functions in a `stack` file, innermost first. `None`: it holds none, so the task is not asleep any more.
pub(super) fn stack(text: &[u8]) -> Option<Vec<CompactString>> {
    let frames = text.split(|byte| *byte == b'\n').filter_map(frame).take(FRAMES);
    let stack: Vec<CompactString> = frames.map(CompactString::from_utf8_lossy).collect();
    (!stack.is_empty()).then_some(stack)
}

/// The clock in a `sched` file, `se.exec_start`: milliseconds with six digits behind the point. `None`: it is not there (kernels without
/// `CONFIG_SCHED_DEBUG`), or it is 0 because the task never ran.
pub(super) fn last_ran(text: &[u8]) -> Option<Nanos> {
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"se.exec_start"))?;
    let value = words(line).last()?;
    let point = value.iter().position(|byte| *byte == b'.')?;
    let (whole, rest) = (number(&value[..point])?, number(&value[point + 1..])?);
    let clock = whole.checked_mul(1_000_000)?.checked_add(rest)?;
    (value.len() - point == 7 && clock > 0).then_some(clock)
}

/// The process that a task belongs to, from its `status`.
pub(super) fn tgid(text: &[u8]) -> Option<Pid> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    pid(line.trim_ascii())
}

/// A directory's name as a process number.
pub(super) fn pid(text: &[u8]) -> Option<Pid> {
    Pid::try_from(signed(text)?).ok()
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A decimal number, all of the word and no more than fits.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// A hexadecimal number, with or without `0x`.
fn hexadecimal(word: &[u8]) -> Option<u64> {
    let digits = word.strip_prefix(b"0x").unwrap_or(word);
    let is_number = digits.first().is_some_and(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| is_number)
}

fn signed(word: &[u8]) -> Option<i64> {
    match word.strip_prefix(b"-") {
        Some(digits) => i64::try_from(number(digits)?).ok().map(|value| -value),
        None => i64::try_from(number(word)?).ok(),
    }
}

fn state(letter: u8) -> TaskState {
    match letter {
        // `W` is "waking" in kernels 2.6.33 to 3.13.
        b'R' | b'W' => TaskState::Runnable,
        b'D' => TaskState::Uninterruptible,
        b'T' | b't' => TaskState::Stopped,
        b'Z' | b'X' | b'x' => TaskState::Dead,
        // `S`, `I` (idle), `P` (parked), and letters yet to be invented, which will not count in the load either.
        _ => TaskState::Sleeping,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::TaskState::{Dead, Runnable, Sleeping, Stopped, Uninterruptible};

    const TAIL: &str = " D 1 40 41 34816 -1 4194368 1 2 3 4 500 60 7 8 20 -5 3 0 9876 1234 5 18446744073709551615 \
                        1 1 0 0 0 0 0 0 0 0 0 0 17 11 0";

    fn line(comm: &[u8], tail: &str) -> Vec<u8> {
        [b"42 (", comm, b")", tail.as_bytes(), b"\n"].concat()
    }

    #[test]
    fn a_stat_line_gives_its_fields() {
        let line = line(b"backup", TAIL);
        let expected = Stat {
            comm: b"backup",
            state: Uninterruptible,
            parent: 1,
            group: 40,
            session: 41,
            tty: 34816,
            kernel_thread: false,
            forked_only: true,
            ticks: 560,
            nice: -5,
            threads: 3,
            start: 9876,
            cpu: Some(11),
        };
        assert_eq!(stat(&line), Some(expected));
    }

    #[test]
    fn a_kernel_thread_is_told_by_its_flag_and_is_never_forked_only() {
        let line = line(b"kworker/u8:3-events_unbound", &TAIL.replace("4194368", "69238880"));
        let stat = stat(&line).unwrap();
        assert!(stat.kernel_thread && !stat.forked_only);
    }

    #[test]
    fn letters_have_meanings() {
        let states: Vec<TaskState> = b"RDSITtZXPQ".iter().map(|letter| state(*letter)).collect();
        let expected = [Runnable, Uninterruptible, Sleeping, Sleeping, Stopped, Stopped, Dead, Dead, Sleeping, Sleeping].to_vec();
        assert_eq!(states, expected);
    }

    #[test]
    fn three_zeros_say_nothing() {
        assert_eq!(schedstat(b"0 0 0\n"), None);
        assert_eq!(schedstat(b"5 6\n"), None);
        assert_eq!(schedstat(b"5 6 7 8\n"), Some(SchedStat { run: 5, delay: 6, slices: 7 }));
        assert_eq!(schedstat(b"5 -6 7\n"), None);
        assert_eq!(schedstat(b"5 6 18446744073709551616\n"), None);
        assert_eq!(schedstat(b"0 17 1\n"), Some(SchedStat { run: 0, delay: 17, slices: 1 }));
    }

    #[test]
    fn cancelled_writes_were_not_written() {
        let text = b"rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";
        assert_eq!(io(text), Some(IoBytes { read: 4096, written: 4096, read_any: 9, written_any: 8 }));
        assert_eq!(io(b"rchar: 9\n"), None);
    }

    #[test]
    fn memory_is_what_is_resident_and_what_of_it_is_shared() {
        assert_eq!((statm(b"5000 300 120 40 0 90 0\n"), statm(b"5000 300\n"), statm(b"x y z")), (Some((300, 120)), None, None));
    }

    #[test]
    fn waits_say_none_where_the_kernel_says_nothing() {
        assert_eq!((wchan(b"0"), wchan(b""), wchan(b"io_schedule\n")), (None, None, Some(&b"io_schedule"[..])));
        assert_eq!((syscall(b"running\n"), syscall(b"-1 0x7f 0x8\n")), (None, None));
        let call = |number, args| Some(Call { number, args });
        assert_eq!(syscall(b"17 0x3 0x4\n"), call(17, None));
        let args = [3, 0x7f, 0, 0, 0, u64::MAX];
        assert_eq!(syscall(b"0 0x3 0x7f 0x0 0x0 0x0 0xffffffffffffffff 0x7ffc0000a000 0x7f0000001000\n"), call(0, Some(args)));
        assert_eq!(syscall(b"0 0x3 +7f 0x0 0x0 0x0 0x0 0x7ffc0000a000 0x7f0000001000\n"), call(0, None));
    }

    #[test]
    fn a_stack_gives_its_functions() {
        let text = b"[<0>] rpc_wait_bit_killable+0x1e/0xa0 [sunrpc]\n[<ffffffff8c>] do_syscall_64+0x5b/0x1a0\n\
                     [<ffffffffffffffff>] 0xffffffffffffffff\n";
        assert_eq!(stack(text), Some(vec!["rpc_wait_bit_killable".into(), "do_syscall_64".into()]));
        assert_eq!((stack(b""), stack(b"\n+\n")), (None, None));
        assert_eq!(stack(&b"[<0>] f+0x1/0x2\n".repeat(40)).map(|stack| stack.len()), Some(FRAMES));
    }

    #[test]
    fn a_clock_is_read_to_the_nanosecond() {
        let text =
            b"tar (7, #threads: 1)\n---\nse.exec_start                                :       9123456.654321\nse.x : 1.000000\n";
        assert_eq!(last_ran(text), Some(9_123_456_654_321));
        for text in [&b"se.exec_start : 0.000000\n"[..], b"se.exec_start : 5.1\n", b"se.exec_start : -5.100000\n", b""] {
            assert_eq!(last_ran(text), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (stat(&bytes), schedstat(&bytes), io(&bytes), statm(&bytes), wchan(&bytes), syscall(&bytes), pid(&bytes));
            let _ = (tgid(&bytes), stack(&bytes), frame(&bytes), last_ran(&bytes), last_ran(&[b"se.exec_start", &bytes[..]].concat()));
        }

        #[test]
        fn clocks_come_back(clock in 1_u64..) {
            let line = format!("se.exec_start   :  {}.{:06}\n", clock / 1_000_000, clock % 1_000_000);
            prop_assert_eq!(last_ran(line.as_bytes()), Some(clock));
        }

        #[test]
        fn nothing_that_looks_like_its_files_makes_it_panic(text in r"(-?[0-9]{1,3}|\[<0>\]|se\.exec_start :)[ 0-9a-fx+.\n]{0,60}") {
            let _ = (syscall(text.as_bytes()), stack(text.as_bytes()), last_ran(text.as_bytes()));
        }

        #[test]
        fn nothing_that_looks_like_a_line_makes_it_panic(text in r"[0-9 ()-]{0,20}\) [RSDZ]( -?[0-9]{1,22}){0,24}") {
            let _ = stat(text.as_bytes());
        }

        #[test]
        fn any_name_comes_back_and_moves_no_field(comm in prop::collection::vec(any::<u8>(), 0..64)) {
            let line = line(&comm, TAIL);
            let stat = stat(&line).unwrap();
            prop_assert_eq!(stat.comm, &comm[..]);
            prop_assert_eq!((stat.parent, stat.nice, stat.start), (1, -5, 9876));
        }

        #[test]
        fn a_name_made_of_a_line_is_a_name(inner in "[a-z]{0,4}\\) [RSDZ] [0-9]{1,6} [0-9]{1,6} \\(?[a-z\n]{0,4}") {
            let line = line(inner.as_bytes(), TAIL);
            let stat = stat(&line).unwrap();
            prop_assert_eq!(stat.comm, inner.as_bytes());
            prop_assert_eq!(stat.state, Uninterruptible);
        }

        #[test]
        fn numbers_come_back(run: u64, delay: u64, slices in 1_u64..) {
            let line = format!("{run} {delay} {slices}\n");
            prop_assert_eq!(schedstat(line.as_bytes()), Some(SchedStat { run, delay, slices }));
        }
    }
}
