//! All records of one instant, in the order of thread ids, and what differs between two instants.
//!
//! Most tasks sleep, so most records are the same bytes as before: those are compared and left alone. Reads whatever
//! gives bytes; knows no BPF. Tested in place.

use std::{
    cmp::Ordering,
    io::{self, ErrorKind, Read},
};

use anyhow::{Result, bail};

use super::record::{RECORD, Record};
use crate::units::Pid;

/// The kernel hands out this much at a time at the most (`bpf_seq_read`: eight pages), so asking for more saves nothing.
const CHUNK: usize = 32 * 1024;

/// Records in a buffer that is used again.
#[derive(Default)]
pub(in crate::kernel) struct Batch {
    bytes: Vec<u8>,
    used: usize,
}

/// What became of a task between two batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kernel) enum Step<'a> {
    New(Record<'a>),
    Changed(Record<'a>),
    Gone(Record<'a>),
}

impl Batch {
    /// Reads all there is. What is no record makes the whole batch useless, for then nothing is certain.
    pub fn read(&mut self, mut source: impl Read) -> Result<()> {
        self.used = 0;
        loop {
            if self.bytes.len() < self.used + CHUNK {
                // An eighth more: a host that grows is not copied each time, and little room stays empty.
                self.bytes.reserve_exact((self.bytes.len() / 8).max(CHUNK));
                self.bytes.resize(self.bytes.capacity(), 0);
            }
            match source.read(&mut self.bytes[self.used..]) {
                Ok(0) => break,
                Ok(length) => self.used += length,
                Err(error) if retried(&error) => {}
                Err(error) => {
                    self.used = 0;
                    return Err(error.into());
                }
            }
        }
        self.settle().inspect_err(|_| self.used = 0)
    }

    /// Checks the records, and puts them in order: a thread that calls exec takes its first thread's number, and comes under that in its
    /// own place, and a second time in the other one, if it does so while the iterator passes. It counts once.
    fn settle(&mut self) -> Result<()> {
        if !self.used.is_multiple_of(RECORD) {
            bail!("the iterator gave part of a record");
        }
        let rows = self.bytes[..self.used].as_chunks_mut::<RECORD>().0;
        if rows.iter().any(|row| Record::new(row).is_none()) {
            bail!("the iterator gave what is no record");
        }
        let tid = |row: &[u8; RECORD]| Record::checked(row).tid();
        if rows.is_sorted_by(|one, next| tid(one) < tid(next)) {
            return Ok(());
        }
        rows.sort_by_key(tid);
        let mut kept = 0;
        for at in 0..rows.len() {
            if kept == 0 || tid(&rows[at]) > tid(&rows[kept - 1]) {
                rows[kept] = rows[at];
                kept += 1;
            }
        }
        self.used = kept * RECORD;
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.used / RECORD
    }

    /// The record of a task, by number.
    pub fn find(&self, tid: Pid) -> Option<Record<'_>> {
        let rows = self.rows();
        let at = rows.binary_search_by_key(&tid, |row| Record::checked(row).tid()).ok()?;
        rows.get(at).map(Record::checked)
    }

    /// All of them, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows().iter().map(Record::checked)
    }

    /// Goes through what differs from the batch before.
    pub fn compare<'a>(&'a self, before: &'a Batch, mut step: impl FnMut(Step<'a>)) {
        let (mut old, mut new) = (before.rows(), self.rows());
        loop {
            let order = match (old.first(), new.first()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(gone), Some(fresh)) => Record::checked(gone).tid().cmp(&Record::checked(fresh).tid()),
            };
            if let [first, rest @ ..] = old
                && order.is_le()
            {
                old = rest;
                if let [fresh, rest @ ..] = new
                    && order.is_eq()
                {
                    new = rest;
                    let (gone, fresh) = (Record::checked(first), Record::checked(fresh));
                    if gone == fresh {
                        continue;
                    }
                    if fresh.is_of(gone) {
                        step(Step::Changed(fresh));
                        continue;
                    }
                    step(Step::Gone(gone));
                    step(Step::New(fresh));
                    continue;
                }
                step(Step::Gone(Record::checked(first)));
            } else if let [first, rest @ ..] = new {
                new = rest;
                step(Step::New(Record::checked(first)));
            }
        }
    }

    fn rows(&self) -> &[[u8; RECORD]] {
        self.bytes[..self.used].as_chunks().0
    }
}

/// The kernel gives up for a moment after a million tasks, or for a signal.
fn retried(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;
    use crate::kernel::tier::record;

    /// A record of this number, started then, with something that changes.
    fn record(tid: Pid, start: u64, run: u64) -> Vec<u8> {
        let mut bytes = record::tests::record(tid, tid, start);
        bytes[72..80].copy_from_slice(&run.to_ne_bytes());
        bytes
    }

    fn batch(records: &[(Pid, u64, u64)]) -> Batch {
        let bytes: Vec<u8> = records.iter().flat_map(|(tid, start, run)| record(*tid, *start, *run)).collect();
        let mut batch = Batch::default();
        batch.read(bytes.as_slice()).unwrap();
        batch
    }

    fn steps(before: &[(Pid, u64, u64)], now: &[(Pid, u64, u64)]) -> Vec<(char, Pid)> {
        let mut steps = Vec::new();
        batch(now).compare(&batch(before), |step| {
            steps.push(match step {
                Step::New(record) => ('n', record.tid()),
                Step::Changed(record) => ('c', record.tid()),
                Step::Gone(record) => ('g', record.tid()),
            });
        });
        steps
    }

    #[test]
    fn only_what_differs_is_told() {
        let before = [(1, 1, 1), (5, 1, 1), (7, 1, 1), (9, 1, 1)];
        assert_eq!(steps(&before, &before), []);
        assert_eq!(steps(&[], &before[..2]), [('n', 1), ('n', 5)]);
        assert_eq!(steps(&before[..2], &[]), [('g', 1), ('g', 5)]);
        let now = [(1, 1, 2), (3, 1, 1), (7, 2, 1), (9, 1, 1), (10, 1, 1)];
        assert_eq!(steps(&before, &now), [('c', 1), ('n', 3), ('g', 5), ('g', 7), ('n', 7), ('n', 10)]);
    }

    #[test]
    fn a_batch_is_found_in_by_number() {
        let batch = batch(&[(1, 1, 1), (5, 2, 1), (7, 3, 1)]);
        assert_eq!(batch.len(), 3);
        assert_eq!(batch.find(5).map(|record| record.start(1)), Some(2));
        assert_eq!(batch.find(6), None);
    }

    #[test]
    fn more_than_a_chunk_is_read_and_the_room_is_used_again() {
        let records: Vec<(Pid, u64, u64)> = (1..2000).map(|tid| (tid, 1, 1)).collect();
        let mut batch = batch(&records);
        assert_eq!(batch.len(), 1999);
        batch.read(record(4, 1, 1).as_slice()).unwrap();
        assert_eq!((batch.len(), batch.find(5)), (1, None));
    }

    #[test]
    fn who_comes_twice_counts_once() {
        let of = |records: &[(Pid, u64, u64)]| {
            let batch = batch(records);
            let starts: Vec<(Pid, u64)> = batch.records().map(|record| (record.tid(), record.start(1))).collect();
            assert!(starts.iter().all(|(tid, start)| batch.find(*tid).is_some_and(|record| record.start(1) == *start)));
            starts
        };
        assert_eq!(of(&[(1, 1, 1), (4, 1, 1), (1, 2, 2), (5, 3, 3)]), [(1, 1), (4, 1), (5, 3)]);
        // The first thread has the higher number: none of those between the two is lost.
        assert_eq!(of(&[(1, 1, 1), (9, 2, 2), (4, 1, 1), (5, 3, 3), (9, 2, 2)]), [(1, 1), (4, 1), (5, 3), (9, 2)]);
    }

    #[test]
    fn nonsense_makes_no_batch() {
        let cut = &record(4, 1, 1)[..100];
        let zeros = [0; RECORD];
        for bytes in [cut, &zeros[..]] {
            let mut batch = batch(&[(1, 1, 1)]);
            assert!(batch.read(bytes).is_err());
            assert_eq!(batch.len(), 0);
        }
    }
}
