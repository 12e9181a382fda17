//! What the samples mean. Pure: no files, clocks, threads.

pub mod diagnosis;
pub mod kind;
