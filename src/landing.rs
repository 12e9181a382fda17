//! What is left of a job that was told to end, in words: what each process waits for, and what would help.
//!
//! Joins what acting saw ([`crate::action::Landing`]) with the diagnosis, which knows what a stuck task waits for and since when. Pure.
//! Tested in
//! place and by `tests/words.rs`.

use crate::action::{Landing, Remaining, Signal, Still};
use crate::analysis::diagnosis::{Diagnosis, Stuck, WaitGroup};
use crate::units::{Pid, count, span};

/// Processes that are named; the rest is counted.
const NAMED: usize = 3;

/// All that is left, as one line: `SIGKILL to nightly.sh: tar 4712: pending; it waits for the disk for 40 s`.
pub fn sentence(landing: &Landing, diagnosis: Option<&Diagnosis>) -> String {
    let Landing { signal, job, left, .. } = landing;
    if left.is_empty() {
        let seconds = landing.at.duration_since(landing.sent_at).as_secs_f64();
        return format!("{job} is gone, {} after {signal}", span(seconds));
    }
    let named: Vec<String> = left.iter().take(NAMED).map(|remaining| of_one(remaining, landing, diagnosis)).collect();
    let more = left.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{} of {job} left: {}{more}", count(left.len(), "process"), named.join("; "))
}

/// One of them: `tar 4712: SIGKILL is pending; it waits for the disk for 40 s`.
pub fn of_one(remaining: &Remaining, landing: &Landing, diagnosis: Option<&Diagnosis>) -> String {
    let signal = landing.signal;
    let who = format!("{} {}", remaining.name, remaining.id.pid);
    // The landing is as old as its last change; what it says goes on.
    let now = diagnosis.map_or(landing.at, |diagnosis| diagnosis.at.max(landing.at));
    let since = span(now.duration_since(landing.sent_at).as_secs_f64());
    match &remaining.still {
        Still::Runs if signal == Signal::Kill => format!("{who} is on its way out"),
        Still::Runs => format!("{who} got {signal} {since} ago and still runs: it cleans up, or does not heed it"),
        Still::Ignores => format!("{who} ignores {signal}: only SIGKILL ends it"),
        Still::Blocks => format!("{who} blocks {signal} for now: only SIGKILL ends it at once"),
        Still::Stopped => format!("{who} is stopped and takes {signal} when it goes on: resume it"),
        Still::Zombie { parent, parent_name } => {
            format!("{who} has ended and is a zombie: its parent {parent_name} {} does not reap it", parent.pid)
        }
        Still::Pending { tid, wchan } => {
            let why = match diagnosis.and_then(|diagnosis| wait_of(diagnosis, remaining.id.pid, *tid, wchan.as_deref())) {
                Some((group, stuck)) => waits(group, stuck),
                None => wchan.as_ref().map_or("it is in a system call that does not return".to_owned(), |wchan| {
                    format!("it is in a system call that does not return ({wchan})")
                }),
            };
            format!("{who}: {signal} is pending for {since}; {why}")
        }
    }
}

fn waits(group: &WaitGroup, stuck: Option<Stuck>) -> String {
    let what = group.meaning.clone().or_else(|| group.wchan.clone().map(|wchan| format!("is stuck in {wchan}")));
    let what = what.unwrap_or_else(|| "is stuck".to_owned());
    let time = stuck.or(group.longest).map(|stuck| format!(" for {stuck}")).unwrap_or_default();
    let helps = group.helps.filter(|helps| !helps.is_empty()).map(|helps| format!(" (what helps: {helps})")).unwrap_or_default();
    format!("it {what}{time}{helps}")
}

/// The wait that this task is in; failing that, one of the same process or kernel function.
fn wait_of<'a>(diagnosis: &'a Diagnosis, pid: Pid, tid: Pid, wchan: Option<&str>) -> Option<(&'a WaitGroup, Option<Stuck>)> {
    let tasks = || diagnosis.waits.iter().flat_map(|group| group.examples.iter().map(move |task| (group, task)));
    let found = tasks().find(|(_, task)| task.tid == tid).or_else(|| tasks().find(|(_, task)| task.pid == pid));
    let found = found.map(|(group, task)| (group, task.stuck_for));
    found.or_else(|| {
        let wchan = wchan?;
        diagnosis.waits.iter().find(|group| group.wchan.as_deref() == Some(wchan)).map(|group| (group, None))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use crate::units::ProcessId;

    fn landing(signal: Signal, still: Still) -> Landing {
        let left = vec![Remaining { id: ProcessId { pid: 4712, start: 9 }, name: "tar".to_owned(), still }];
        let [sent_at, at] = ["2026-03-14T14:27:31Z", "2026-03-14T14:27:43Z"].map(|at| at.parse().unwrap());
        Landing { ticket: 1, at, sent_at, id: "tree:4711@9".to_owned(), job: "nightly.sh".to_owned(), signal, left }
    }

    #[test]
    fn each_says_why_it_is_still_there_and_what_helps() {
        let parent = ProcessId { pid: 77, start: 1 };
        for (signal, still, said) in [
            (Signal::Terminate, Still::Runs, "tar 4712 got SIGTERM 12 s ago and still runs: it cleans up, or does not heed it"),
            (Signal::Terminate, Still::Ignores, "tar 4712 ignores SIGTERM: only SIGKILL ends it"),
            (Signal::Interrupt, Still::Stopped, "tar 4712 is stopped and takes SIGINT when it goes on: resume it"),
            (
                Signal::Kill,
                Still::Pending { tid: 4712, wchan: Some("io_schedule".to_owned()) },
                "tar 4712: SIGKILL is pending for 12 s; it is in a system call that does not return (io_schedule)",
            ),
            (
                Signal::Kill,
                Still::Zombie { parent, parent_name: "bad".to_owned() },
                "tar 4712 has ended and is a zombie: its parent bad 77 does not reap it",
            ),
        ] {
            let landing = landing(signal, still);
            assert_eq!(sentence(&landing, None), format!("1 process of nightly.sh left: {said}"));
        }
        let gone = Landing { left: Vec::new(), ..landing(Signal::Kill, Still::Runs) };
        assert_eq!(sentence(&gone, None), "nightly.sh is gone, 12 s after SIGKILL");
    }
}
