//! The diagnosis for everything that is no screen: text for a chat, JSON for a program.
//!
//! Imports what the analysis says, never the kernel or the screen. Tested by `tests/once.rs` and `tests/explain.rs`.

mod explain;
mod json;
mod text;

pub use explain::Explained;
pub use json::json;
pub use text::text;
