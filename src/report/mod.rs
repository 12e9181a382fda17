//! The diagnosis, and what became of an action, for everything that is no screen: text for a chat, JSON for a program.
//!
//! Imports what the analysis says, never the kernel or the screen. Tested by `tests/once.rs`, `tests/knowledge.rs` and
//! `tests/act/headless.rs`.

mod action;
mod explain;
mod json;
mod text;

pub use action::{Done, Plan, done_json, done_text, plan_json, plan_text, refused_json, resume};
pub use explain::Explained;
pub use json::json;
pub use text::text;
