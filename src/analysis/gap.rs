//! What could not be seen, as words: one wording for screen and report.
//!
//! Pure text. Tested through `tests/once.rs` and `tests/screens.rs`.

use crate::sample::{Gap, ProcReason, Tier};
use crate::units::{clean, count};

/// Processes named at the most.
const NAMED: usize = 4;

/// What is not known and why, as part of a sentence: `disk use of 212 processes (needs root)`. `root`: whytop is root already.
pub fn words(gap: &Gap, root: bool) -> String {
    let help = if is_denied(gap) { denied(root) } else { "" };
    format!("{}{help}", what(gap))
}

/// All that is not seen; those that this user may not see together, so that it is said once who may.
pub fn unseen<'a>(gaps: impl Iterator<Item = &'a Gap>, root: bool) -> Vec<String> {
    let (hidden, others): (Vec<&Gap>, Vec<&Gap>) = gaps.filter(|known| !is_own(known)).partition(|known| is_denied(known));
    let hidden: Vec<String> = hidden.into_iter().map(what).collect();
    let hidden = (!hidden.is_empty()).then(|| format!("{}{}", hidden.join(" and "), denied(root)));
    hidden.into_iter().chain(others.into_iter().map(what)).collect()
}

const fn is_denied(gap: &Gap) -> bool {
    matches!(gap, Gap::IoDenied { .. } | Gap::WaitDenied { .. })
}

const fn denied(root: bool) -> &'static str {
    if root { " (hidden even from root)" } else { " (needs root)" }
}

fn what(gap: &Gap) -> String {
    match gap {
        Gap::IoDenied { processes } => format!("disk use of {}", count(*processes as usize, "process")),
        Gap::WaitDenied { tasks } => format!("what holds {}", count(*tasks as usize, "stuck task")),
        Gap::NoRunDelay => "waiting for a CPU (kernel without schedstat)".to_owned(),
        Gap::NoPressure => "pressure (kernel without PSI)".to_owned(),
        Gap::IdentityOverdue { reads, behind } => {
            let named: Vec<String> = reads.iter().take(NAMED).map(|read| read.id.pid.to_string()).collect();
            let rest = reads.len().saturating_sub(NAMED);
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            let behind = if *behind > 0 { format!(", {behind} more not looked at") } else { String::new() };
            format!("command lines of {}{more} (whoever reads them hangs){behind}", named.join(", "))
        }
        Gap::Shunned { pids } => {
            let named: Vec<String> = pids.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if pids.len() > NAMED { ", …" } else { "" };
            format!("state of {}{more}: whoever reads it hangs (an exec that waits)", named.join(", "))
        }
        Gap::NotLocked { program, limit } => {
            let what = if *program { "whytop's own data" } else { "whytop itself" };
            let why = limit.map_or_else(|| "refused".to_owned(), |limit| format!("limit {} KiB", limit / 1024));
            format!("{what} is not locked in memory ({why}): it may answer late when memory is short")
        }
        Gap::Rules { file, why } => format!("rules left out: {}: {}", clean(file), clean(why)),
        Gap::Host { file, why } => format!("{file}: {why}"),
    }
}

/// Whether it is about whytop's own footing; all others are about what it does not see.
pub const fn is_own(gap: &Gap) -> bool {
    matches!(gap, Gap::NotLocked { .. } | Gap::Rules { .. })
}

/// How tasks are read, for whoever wonders what whytop costs.
pub fn reads(tier: Tier) -> String {
    match tier {
        Tier::Kernel => "tasks are read by the kernel's task iterator (BPF), all at once".to_owned(),
        Tier::Proc(_) => {
            let why = self::tier(tier).map(|why| format!(": {why}")).unwrap_or_default();
            format!("tasks are read from /proc, file by file{why}")
        }
    }
}

/// Why tasks are read from `/proc`, where the kernel's iterator would cost less. `None`: they are not, or nobody knows.
pub fn tier(tier: Tier) -> Option<&'static str> {
    let Tier::Proc(reason) = tier else { return None };
    match reason {
        ProcReason::Unsaid => None,
        ProcReason::Asked => Some("asked for"),
        ProcReason::Loading => Some("the task iterator is being loaded"),
        ProcReason::OtherTree => Some("another proc tree is read"),
        ProcReason::NotRoot => Some("the task iterator needs root, or CAP_BPF and CAP_PERFMON"),
        ProcReason::NoTypes => Some("this kernel carries no type information (BTF)"),
        ProcReason::NoSchedstat => Some("this kernel keeps no run times (schedstats)"),
        ProcReason::Namespace => Some("in a container processes have other numbers than in the kernel"),
        ProcReason::Refused => Some("the kernel does not take the task iterator"),
        ProcReason::Failed => Some("the task iterator failed"),
    }
}
