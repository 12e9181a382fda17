//! whytop: says why the load is high, who waits, who takes it, and gives you the key that ends it.
//!
//! Data flows one way, and each step has one room:
//!
//! ```text
//! kernel ──▶ sample ──▶ history ──▶ analysis ──▶ diagnosis ──▶ ui::view | report
//! (reads)    (raw)      (ring)      (pure)                        │
//!                                             key ▶ command ▶ update ▶ effect ▶ act ▶ outcome ▶ (back as an event)
//! ```

pub mod act;
pub mod action;
pub mod analysis;
pub mod app;
pub mod cli;
pub mod history;
pub mod kernel;
pub mod monitor;
pub mod recovery;
pub mod report;
pub mod sample;
pub mod sampler;
pub mod ui;
pub mod units;
