//! What the samples mean: who waits, for what, and who takes it.
//!
//! Pure: samples in, a [`diagnosis::Diagnosis`] out. No files, clocks, threads or formatting for a screen. It cannot fail: what
//! it could not know is a gap. `table` folds samples into the picture of now, `jobs` draws boundaries, `kind` says what a job is,
//! `blame` joins those who wait with those who take, `waits` says what they wait in, `since` since when, `wedge` who blocks whoever
//! looks, `storage` leads from a path to its disk, `interpreter` finds the script behind one, `stalls` has what control groups say of
//! units, `limits` which of them have come to one, `freezes` remembers who froze a filesystem, `memory` how memory grows, `ledger` takes the
//! load average apart, `past` remembers how long earlier runs took.

pub mod advice;
pub(crate) mod blame;
pub(crate) mod brief;
mod cgroup;
pub mod diagnosis;
pub mod earlier;
pub(crate) mod freezes;
pub mod gap;
mod interpreter;
pub(crate) mod jobs;
pub mod kind;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod memory;
mod name;
pub mod past;
mod since;
pub(crate) mod stalls;
pub(crate) mod storage;
pub(crate) mod table;
pub(crate) mod waits;
pub mod wedge;
pub(crate) mod window;
