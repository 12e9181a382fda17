//! What to heed before a key is pressed, in words: one wording for dialog, detail screen and report.
//!
//! Pure text. Tested in place and through `tests/screens.rs`.

use crate::analysis::diagnosis::{Advice, Job, Usual};
use crate::units::{count, span};

/// Of what a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// What ending it leaves behind.
    Ending,
    /// The signal it takes best.
    Signal,
    /// The command that cleans up.
    Cleanup,
    /// What stays held while it is paused.
    Pausing,
    /// How to make it gentle instead.
    Gentle,
    /// How its work is taken up again.
    Resuming,
}

impl About {
    /// A label of nine cells at the most.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ending => "ending it",
            Self::Signal => "best by",
            Self::Cleanup => "clean up",
            Self::Pausing => "paused",
            Self::Gentle => "gentler",
            Self::Resuming => "afterwards",
        }
    }
}

/// All that is known, in the order in which it is wanted.
pub fn lines(advice: &Advice) -> Vec<(About, &str)> {
    let known = [
        (About::Ending, &advice.consequence),
        (About::Signal, &advice.better_signal),
        (About::Cleanup, &advice.cleanup),
        (About::Resuming, &advice.resume),
        (About::Pausing, &advice.holds),
        (About::Gentle, &advice.gentle),
    ];
    known.into_iter().filter_map(|(about, words)| Some((about, words.as_deref()?))).collect()
}

/// What must be heeded before it is ended, in sentences. Empty: nothing is known.
pub fn before_ending(advice: &Advice) -> String {
    let mut sentences: Vec<String> = advice.consequence.iter().cloned().collect();
    sentences.extend(advice.cleanup.as_ref().map(|command| format!("Clean up: {command}.")));
    sentences.extend(advice.better_signal.as_ref().map(|signal| format!("It takes {signal} best.")));
    sentences.extend(advice.resume.clone());
    sentences.join(" ")
}

/// What must be heeded before it is paused. Empty: nothing is known.
pub fn before_pausing(advice: &Advice) -> String {
    advice.holds.as_ref().map(|holds| format!("While it is paused it holds: {holds}")).unwrap_or_default()
}

/// How long it has run, and when it would end by itself, where earlier runs are known: `it has run for 2 m 10 s`. `None`: since when it
/// runs is not known.
pub fn run_time(job: &Job) -> Option<String> {
    let age = job.age?;
    let so_far = format!("it has run for {}", span(age));
    let Some(Usual { runs, seconds }) = job.usual else { return Some(so_far) };
    let earlier = format!("{} here ended after {}", count(runs, "earlier run"), span(seconds));
    Some(if seconds > age {
        format!("{so_far}; {earlier}: it would end by itself in about {}", span(seconds - age))
    } else {
        format!("{so_far}, longer than usual: {earlier}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_becomes_sentences_and_nothing_else_does() {
        let none = Advice::default();
        assert_eq!((before_ending(&none), before_pausing(&none), lines(&none)), (String::new(), String::new(), Vec::new()));
        let some = Advice {
            consequence: Some("The dump is cut off.".into()),
            better_signal: Some("SIGINT".into()),
            cleanup: Some("rm DUMP".into()),
            holds: Some("Its table locks.".into()),
            ..Advice::default()
        };
        assert_eq!(before_ending(&some), "The dump is cut off. Clean up: rm DUMP. It takes SIGINT best.");
        assert_eq!(before_pausing(&some), "While it is paused it holds: Its table locks.");
        let labels: Vec<&str> = lines(&some).into_iter().map(|(about, _)| about.label()).collect();
        assert_eq!(labels, ["ending it", "best by", "clean up", "paused"]);
    }
}
