//! The scalars that every room shares, and how they print: process and task identities, bytes, spans of time.
//!
//! Imports nothing of ours and reads nothing. Text that came from a process is made harmless here too ([`clean`]),
//! because every printer needs the same rule. Tested in place.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};

/// A process number (thread group id), as in `proc(5)`. It is reused: never keep it without a start time.
pub type Pid = i32;

/// A process for good: its number and when it started, which together are never reused while the host is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId {
    /// Thread group id.
    pub pid: Pid,
    /// Start, in clock ticks since boot (`/proc/PID/stat` field 22).
    pub start: u64,
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pid, self.start)
    }
}

/// A task (thread) for good: thread id and start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId {
    /// Thread id; equals the pid for the first thread of a process.
    pub tid: Pid,
    /// Start, in clock ticks since boot.
    pub start: u64,
}

/// Nanoseconds: of CPU, of waiting, or since boot. Monotonic; never wall-clock time.
pub type Nanos = u64;

/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

/// Bytes per second, for people: `8.1 MB/s`. Powers of 1000, as disks and networks are sold.
pub fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second))
}

/// A number of bytes, for people: `412 kB`, `8.1 MB`.
pub fn bytes(bytes: f64) -> String {
    const NAMES: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes.max(0.0);
    let mut name = 0;
    while value >= 999.5 && name + 1 < NAMES.len() {
        value /= 1000.0;
        name += 1;
    }
    let digits = usize::from(name > 0 && value < 9.95);
    format!("{value:.digits$} {}", NAMES[name])
}

/// A span of seconds, for people, two units at the most: `0.4 s`, `12 s`, `2 m 14 s`, `3 h 05 m`, `12 d 4 h`.
pub fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..=9 if seconds < 9.95 && seconds.fract() > 0.049 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} m {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} m", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A count with its noun: `1 task`, `38 tasks`.
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ if noun.ends_with("ss") => format!("{number} {noun}es"),
        _ => format!("{number} {noun}s"),
    }
}

/// Text of a stranger (a process name, an argument) made harmless for a terminal, a log or a shell transcript: control
/// characters, escape sequences' first bytes, line ends and direction overrides become visible `\x1b`-like text.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            // Bidirectional controls and zero-width characters reorder or hide what follows on the line.
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_two_significant_digits() {
        let shown: Vec<String> = [0.0, 999.0, 1000.0, 8_120_000.0, 999_600.0, 412e6].map(bytes).into();
        assert_eq!(shown, ["0 B", "999 B", "1.0 kB", "8.1 MB", "1.0 MB", "412 MB"]);
    }

    #[test]
    fn spans_use_two_units() {
        let shown: Vec<String> = [0.0, 0.4, 9.97, 12.3, 134.0, 11_100.0, 1_051_200.0].map(span).into();
        assert_eq!(shown, ["0 s", "0.4 s", "10 s", "12 s", "2 m 14 s", "3 h 05 m", "12 d 4 h"]);
    }

    #[test]
    fn no_control_character_survives_cleaning() {
        let hostile = "a\x1b]0;owned\x07\nb\u{9b}31m\u{202e}c\t";
        let cleaned = clean(hostile);
        assert_eq!(cleaned, "a\\x1b]0;owned\\x07\\nb\\x9b31m\\u{202e}c\\t");
        assert!(!cleaned.chars().any(char::is_control));
    }
}
