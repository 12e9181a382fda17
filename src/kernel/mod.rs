//! The only readers of the kernel: a proc tree goes in, [`crate::sample::Sample`]s come out.
//!
//! What is read on the sampling path is bounded and cannot block: numbers the kernel prints without taking a lock of the
//! process. Command lines can block for good, so [`identity`] reads them on threads of their own. Nothing here knows
//! of jobs, rates or the screen.
//!
//! Each step has its file: [`root`] (is it a proc tree), `files` (open, keep, read), `parse` (bytes to numbers), `newcomers`, `table` and
//! `process` (who is new, ran or is gone), `waits` (where the stuck ones are), `host` (counters of the whole host), [`reader`]
//! (puts them together), [`own`] (whytop's own memory and priority). `storage` has mounts and block devices, read by a thread of its
//! own; `descriptors` says which file a descriptor is, `movers` which files the processes have open that move most, `holders` who holds the memory,
//! `cgroups` what the kernel counts for a unit or container as a whole. [`tier`] has the
//! kernel's own task iterator, which gives all tasks in one read where the rights
//! allow it, and `take` puts what it gives into the same table. Tested in place and, through [`Reader`], by `tests/kernel.rs` on
//! made-up trees and the real one, and by `tests/tiers.rs`, which compares the two tiers.

mod cgroups;
mod descriptors;
mod files;
mod holders;
mod host;
pub mod identity;
mod movers;
mod newcomers;
pub mod own;
mod parse;
mod process;
pub mod reader;
pub mod root;
mod storage;
mod table;
mod take;
pub mod tier;
mod waits;
mod watched;

pub use reader::Reader;
pub use root::ProcRoot;
pub use tier::{Choice, load_iterator};
pub use watched::WatchedReader;
