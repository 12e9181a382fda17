//! What tests share: made-up hosts, made-up diagnoses.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod diagnosis;
pub mod fake_proc;
pub mod stage;
