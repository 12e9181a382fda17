//! What the kernel's second iterator writes about the stuck tasks: the system call each is in, and its kernel stack.
//!
//! The same as `/proc/TID/{syscall,stack}` say, in lines, and without the lock that those files wait for. Text to numbers and
//! nothing else; whatever the bytes are, it does not panic. Tested in place and, against those files, by `tests/tiers.rs`.

use std::io::Read;

use compact_str::CompactString;

use crate::{
    kernel::parse::{self, Call, FRAMES},
    units::Pid,
};

/// The kernel hands out this much at a time at the most (`bpf_seq_read`: eight pages).
const CHUNK: usize = 32 * 1024;

/// One stuck task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kernel) struct Stuck {
    pub tid: Pid,
    /// `None`: a kernel thread, or outside of any system call.
    pub call: Option<Call>,
    /// The kernel's functions, innermost first.
    pub stack: Vec<CompactString>,
}

/// All stuck tasks of an instant, in the order of thread ids.
#[derive(Default)]
pub(in crate::kernel) struct StuckTasks(Vec<Stuck>);

impl StuckTasks {
    /// Reads all there is.
    pub fn read(mut source: impl Read) -> std::io::Result<Self> {
        let mut text = Vec::with_capacity(CHUNK);
        source.read_to_end(&mut text)?;
        Ok(Self::parse(&text))
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
        Self(tasks)
    }

    /// A task, by number.
    pub fn find(&self, tid: Pid) -> Option<&Stuck> {
        self.0.binary_search_by_key(&tid, |task| task.tid).ok().and_then(|at| self.0.get(at))
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

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[ 0-9a-f+x/\n-]{0,80}") {
            let _ = StuckTasks::parse(&bytes).find(1);
            let _ = StuckTasks::parse(text.as_bytes()).find(1);
        }
    }
}
