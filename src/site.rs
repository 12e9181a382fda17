//! What is known of the site that is probed: the last answer, since when it fails, how long its answers took. Plain data, and no clock.
//!
//! [`crate::probe`] asks and tells it as [`News`]; screen, report and recovery read it. Text of a server is cleaned before it gets here.
//! Tested in place and by `tests/probe.rs`.

use std::collections::VecDeque;
use std::fmt;

use jiff::Timestamp;

use crate::units::span;

/// A question that is open for longer is news: in a whole outage the first answer to fail would else come only with the deadline. As
/// long as from one question to the next, so that a slow site is not called silent each time.
const LATE_SECONDS: f64 = 2.0;
/// An answer that takes longer is worth a colour, in seconds: people notice that they wait, and begin to click again.
pub const SLOW_SECONDS: f64 = 1.0;
/// Answers kept for the trend: two minutes and more.
const KEPT: usize = 80;

/// An answer with a status.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reply {
    /// The status of HTTP.
    pub status: u16,
    /// From the question to the end of the page, in seconds.
    pub seconds: f64,
}

impl Reply {
    /// Whether it means that the site does its work. One that asks for a login (401) or lets nobody in (403) does.
    pub const fn is_well(&self) -> bool {
        self.status < 400 || matches!(self.status, 401 | 403)
    }
}

impl fmt::Display for Reply {
    /// `200 in 38 ms`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            short if short < 0.9995 => write!(f, "{} in {:.0} ms", self.status, (short * 1000.0).max(1.0)),
            long => write!(f, "{} in {}", self.status, span(long)),
        }
    }
}

/// Why there was no answer. Each prints so that `for 12 s` may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing came in time.
    NoAnswer,
    /// Nobody listens there.
    Refused,
    /// The connection ended before the answer did.
    HungUp,
    /// The name has no address, or nobody tells it.
    NoName {
        /// Whether the name servers said so; else they say nothing.
        told: bool,
    },
    /// The certificate is not good, and why.
    Certificate(String),
    /// An encrypted connection could not be had, and why.
    Encryption(String),
    /// What answers does not speak HTTP.
    NotHttp,
    /// Something else, as the system says it.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer"),
            Self::Refused => f.write_str("connection refused"),
            Self::HungUp => f.write_str("hangs up without an answer"),
            Self::NoName { told: true } => f.write_str("its name is not known"),
            Self::NoName { told: false } => f.write_str("no name server answers"),
            Self::Certificate(why) => write!(f, "its certificate {why}"),
            Self::Encryption(why) => write!(f, "no encrypted connection ({why})"),
            Self::NotHttp => f.write_str("what answers is not HTTP"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// The end of one question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When it was asked.
    pub asked: Timestamp,
    /// What came of it.
    pub result: Result<Reply, Failure>,
}

impl Answer {
    fn is_well(&self) -> bool {
        self.result.as_ref().is_ok_and(Reply::is_well)
    }
}

/// What whoever asks tells.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// A question went out.
    Asked(Timestamp),
    /// It is over.
    Answered(Answer),
}

/// A site under probe.
#[derive(Clone, Debug)]
pub struct Site {
    /// What is asked for, without secrets and fit to be printed.
    pub url: String,
    /// The question that is open.
    open: Option<Timestamp>,
    /// Oldest first.
    answers: VecDeque<Answer>,
    /// When the first of the questions was asked that failed in a row.
    failing: Option<Timestamp>,
    /// The last good reply.
    good: Option<Reply>,
}

/// How the site stands at one instant.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Whether it answers as it should. `None`: no answer yet.
    pub well: Option<bool>,
    /// In words: `200 in 38 ms`, `503 for 12 s`, `no answer for 12 s`.
    pub words: String,
    /// Since when it fails.
    pub since: Option<Timestamp>,
    /// The answer is good, but slow.
    pub slow: bool,
}

impl Site {
    /// Before the first question.
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), open: None, answers: VecDeque::new(), failing: None, good: None }
    }

    /// Takes in what was told.
    pub fn learn(&mut self, news: News) {
        match news {
            News::Asked(at) => self.open = Some(at),
            News::Answered(answer) => {
                self.open = None;
                if answer.is_well() {
                    self.failing = None;
                    self.good = answer.result.as_ref().ok().copied();
                } else if self.failing.is_none() {
                    self.failing = Some(answer.asked);
                }
                if self.answers.len() == KEPT {
                    self.answers.pop_front();
                }
                self.answers.push_back(answer);
            }
        }
    }

    /// How it stands at this instant.
    pub fn condition(&self, now: Timestamp) -> Condition {
        let seconds = |since: Timestamp| now.duration_since(since).as_secs_f64();
        let bad = |what: &str, since: Timestamp| {
            let words = format!("{what} for {}", span(seconds(since).max(0.0).floor()));
            Condition { well: Some(false), words, since: Some(since), slow: false }
        };
        let late = self.open.filter(|open| seconds(*open) > LATE_SECONDS);
        match (self.answers.back(), late) {
            // Whatever it said last, it says nothing now.
            (last, Some(open)) => {
                let refused = last.filter(|last| !last.is_well()).and_then(|last| last.result.as_ref().err());
                bad(&refused.unwrap_or(&Failure::NoAnswer).to_string(), self.failing.unwrap_or(open))
            }
            (None, None) => Condition { well: None, words: "asked…".to_owned(), since: None, slow: false },
            (Some(Answer { asked, result }), None) => match result {
                Ok(reply) if reply.is_well() => {
                    let slow = reply.seconds >= SLOW_SECONDS;
                    Condition { well: Some(true), words: reply.to_string(), since: None, slow }
                }
                Ok(reply) => bad(&reply.status.to_string(), self.failing.unwrap_or(*asked)),
                Err(failure) => bad(&failure.to_string(), self.failing.unwrap_or(*asked)),
            },
        }
    }

    /// The newest answer.
    pub fn last(&self) -> Option<&Answer> {
        self.answers.back()
    }

    /// The last good reply before it began to fail.
    pub fn good(&self) -> Option<Reply> {
        self.good
    }

    /// How long each of the last answers took, oldest first; `None` where there was no good one.
    pub fn trend(&self) -> impl DoubleEndedIterator<Item = Option<f64>> + '_ {
        self.answers.iter().map(|answer| answer.result.as_ref().ok().filter(|reply| reply.is_well()).map(|reply| reply.seconds))
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn answered(asked: i64, result: Result<(u16, f64), Failure>) -> News {
        let result = result.map(|(status, seconds)| Reply { status, seconds });
        News::Answered(Answer { asked: at(asked), result })
    }

    fn words(site: &Site, now: i64) -> String {
        site.condition(at(now)).words
    }

    #[test]
    fn a_site_is_asked_answers_falls_silent_and_comes_back() {
        let mut site = Site::new("http://intranet/");
        assert_eq!((site.condition(at(0)).well, words(&site, 0)), (None, "asked…".to_owned()));
        site.learn(answered(0, Ok((200, 0.038))));
        assert_eq!(words(&site, 1), "200 in 38 ms");
        site.learn(News::Asked(at(2)));
        assert_eq!(words(&site, 4), "200 in 38 ms", "not late yet");
        assert_eq!((site.condition(at(5)).well, words(&site, 5)), (Some(false), "no answer for 3 s".to_owned()));
        site.learn(answered(2, Err(Failure::NoAnswer)));
        site.learn(News::Asked(at(12)));
        assert_eq!(words(&site, 13), "no answer for 11 s", "it fails since the first question that failed");
        site.learn(answered(12, Ok((503, 0.01))));
        assert_eq!(words(&site, 14), "503 for 12 s");
        assert_eq!(site.condition(at(14)).since, Some(at(2)));
        site.learn(answered(14, Ok((200, 1.24))));
        let condition = site.condition(at(15));
        assert_eq!((condition.well, condition.words.as_str(), condition.slow), (Some(true), "200 in 1.2 s", true));
        assert_eq!(site.trend().collect::<Vec<_>>(), [Some(0.038), None, None, Some(1.24)]);
    }

    #[test]
    fn a_reason_stays_while_the_next_question_is_open() {
        let mut site = Site::new("http://intranet/");
        site.learn(answered(0, Err(Failure::Refused)));
        site.learn(News::Asked(at(2)));
        assert_eq!(words(&site, 9), "connection refused for 9 s");
    }

    #[test]
    fn a_login_is_an_answer_and_a_missing_page_is_none() {
        let well = |status| Reply { status, seconds: 0.1 }.is_well();
        assert!([200, 204, 302, 401, 403].into_iter().all(well));
        assert!(![404, 429, 500, 502, 503].into_iter().any(well));
    }
}
