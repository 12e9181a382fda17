//! What the kernel's second iterator writes about the stuck tasks: the system call each is in, and its kernel stack.
//!
//! The same as `/proc/TID/{syscall,stack}` say, in lines, and without the lock that those files wait for; of thousands of stuck tasks the
//! first hundred or two only, for a stack costs as much as fifty records. The others' files are read, lock and all (`kernel::waits`).
//! Text to numbers and nothing else; whatever the bytes are, it does not panic. Tested in place and, against those files, by
//! `tests/tiers.rs`.

use std::io::Read;

use compact_str::CompactString;

use crate::{
    kernel::parse::{self, Call, FRAMES},
    units::Pid,
};

/// The kernel hands out this much at a time at the most (`bpf_seq_read`: eight pages), and walks on only when that was read.
const CHUNK: usize = 32 * 1024;
/// Most that is read for a sample: some 130 tasks with deep stacks, twice of what is looked up in one.
const MOST: usize = 2 * CHUNK;

/// One stuck task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Stuck {
    pub tid: Pid,
    /// `None`: a kernel thread, or outside of any system call.
    pub call: Option<Call>,
    /// The kernel's functions, innermost first.
    pub stack: Vec<CompactString>,
}

/// The stuck tasks of an instant, in the order of thread ids.
#[derive(Default)]
pub(in crate::kernel) struct StuckTasks {
    tasks: Vec<Stuck>,
    /// There were more of them than are read.
    cut: bool,
}

impl StuckTasks {
    /// Reads what there is, or as much of it as is read for one sample.
    pub fn read(source: impl Read) -> std::io::Result<Self> {
        let mut text = Vec::with_capacity(CHUNK);
        source.take(MOST as u64).read_to_end(&mut text)?;
        let mut read = Self::parse(&text);
        read.cut = text.len() >= MOST;
        if read.cut {
            // Of the last one some lines are missing.
            read.tasks.pop();
        }
        Ok(read)
    }

    fn parse(text: &[u8]) -> Self {
        let mut tasks: Vec<Stuck> = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if line.starts_with(b" ") {
                let stack = tasks.last_mut().map(|task| &mut task.stack).filter(|stack| stack.len() < FRAMES);
                if let Some((stack, name)) = stack.zip(parse::frame(line)) {
                    stack.push(CompactString::from_utf8_lossy(name));
                }
                continue;
            }
            let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
            let Some(tid) = parse::pid(&line[..end]) else { continue };
            tasks.push(Stuck { tid, call: parse::syscall(&line[end..]), stack: Vec::new() });
        }
        tasks.sort_by_key(|task| task.tid);
        Self { tasks, cut: false }
    }

    /// Whether whoever is not found may all the same have been stuck.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// A task, by number.
    pub fn find(&self, tid: Pid) -> Option<&Stuck> {
        self.tasks.binary_search_by_key(&tid, |task| task.tid).ok().and_then(|at| self.tasks.get(at))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_make_tasks() {
        let text = b"7 0 3 7ffd 1000 0 0 0\n io_schedule+0x46/0x80\n fuse_wait+0x1/0x2 [fuse]\n9 -1\n kthread+0xf8/0x220\n";
        let tasks = StuckTasks::read(&text[..]).unwrap();
        let expected = Stuck {
            tid: 7,
            call: Some(Call { number: 0, args: Some([3, 0x7ffd, 0x1000, 0, 0, 0]) }),
            stack: vec!["io_schedule".into(), "fuse_wait".into()],
        };
        assert_eq!(tasks.find(7), Some(&expected));
        assert_eq!(tasks.find(9), Some(&Stuck { tid: 9, call: None, stack: vec!["kthread".into()] }));
        assert_eq!(tasks.find(8), None);
    }

    #[test]
    fn of_thousands_the_first_are_read() {
        let frames = " io_schedule+0x46/0x80\n".repeat(16);
        let lines: Vec<String> = (1..=10_000).map(|tid| format!("{tid} 0 3 7ffd 1000 0 0 0\n{frames}")).collect();
        let text = lines.concat();
        let mut source = text.as_bytes();
        let tasks = StuckTasks::read(&mut source).unwrap();
        assert_eq!(text.len() - source.len(), MOST, "the kernel walks no further than it is asked");
        assert!(tasks.is_cut() && (100..1000).contains(&tasks.tasks.len()), "{}", tasks.tasks.len());
        assert!(tasks.tasks.iter().all(|task| task.stack.len() == 16), "one is cut short");
        assert_eq!((tasks.find(1).is_some(), tasks.find(10_000)), (true, None));
        assert!(!StuckTasks::read(&text.as_bytes()[..MOST - 1]).unwrap().is_cut());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ 0-9a-f+x/\n-]{0,80}") {
            let _ = StuckTasks::parse(&bytes).find(1);
            let _ = StuckTasks::parse(text.as_bytes()).find(1);
        }
    }
}
