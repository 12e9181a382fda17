//! The diagnosis for everything that is no screen: text for a chat, JSON for a program.
//!
//! Imports what the analysis says, never the kernel or the screen. Tested by `tests/once.rs`.

mod json;
mod text;

pub use json::json;
pub use text::text;

use crate::sample::Gap;
use crate::units::count;

/// A gap as a sentence: what is not known, why, and what would help. `root`: whytop runs as root already.
pub fn gap(gap: &Gap, root: bool) -> String {
    let help = if root { " even from root" } else { "; run as root to see it" };
    match gap {
        Gap::IoDenied { processes } => format!("disk use of {} is hidden{help}", count(*processes as usize, "process")),
        Gap::WaitDenied { tasks } => format!("what {} wait in is hidden{help}", count(*tasks as usize, "stuck task")),
        Gap::NoRunDelay => "this kernel does not say how long tasks wait for a CPU".to_owned(),
        Gap::NoPressure => "this kernel keeps no pressure information (PSI)".to_owned(),
        Gap::IdentityOverdue { pids } => {
            let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
            format!("looking at the command line of {} does not return: whoever looks is blocked", pids.join(", "))
        }
        Gap::Host { file, why } => format!("{file} could not be read: {why}"),
    }
}
