//! A site under probe where there is no screen: `once` waits for its answer, an action asks how it stands before, meanwhile and after.
//!
//! Tested by `tests/probe.rs` and `tests/outage.rs`.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use crate::probe::{Address, DEADLINE, Probe};
use crate::site::{Answer, Condition, Failure, News, Site};

/// A name server that says nothing may hold up a question beyond its deadline; then there is no answer.
const GRACE: Duration = Duration::from_secs(1);
/// Between two looks whether the open question is late by now.
const PAUSE: Duration = Duration::from_millis(100);

/// A site, and what is told of it.
pub(super) struct Probed {
    site: Site,
    news: Receiver<News>,
    _probe: Probe,
}

impl Probed {
    /// Asks once.
    pub fn once(address: Address) -> Result<Self> {
        Self::start(address, |told| matches!(told, News::Answered(_)))
    }

    /// Asks again and again.
    pub fn again(address: Address) -> Result<Self> {
        Self::start(address, |_| false)
    }

    fn start(address: Address, is_last: impl Fn(&News) -> bool + Send + 'static) -> Result<Self> {
        let site = Site::new(&address.shown());
        let (send, news) = channel();
        let probe = Probe::start(address, move |told| {
            let last = is_last(&told);
            if send.send(told).is_err() || last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Self { site, news, _probe: probe })
    }

    /// The site with its answer, or with none.
    pub fn answered(mut self) -> Site {
        let end = Instant::now() + DEADLINE + GRACE;
        while let Ok(told) = self.news.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.site.learn(told);
        }
        if self.site.last().is_none() {
            self.site.learn(News::Answered(Answer { asked: Timestamp::now(), result: Err(Failure::NoAnswer) }));
        }
        self.site
    }

    /// How it stands, as soon as that is known: when it answers, or its answer is late.
    pub fn known(&mut self) -> Condition {
        let end = Instant::now() + DEADLINE + GRACE;
        loop {
            let condition = self.now();
            if condition.well.is_some() || Instant::now() >= end {
                return condition;
            }
            if let Ok(told) = self.news.recv_timeout(PAUSE) {
                self.site.learn(told);
            }
        }
    }

    /// How it stands now.
    pub fn now(&mut self) -> Condition {
        for told in self.news.try_iter() {
            self.site.learn(told);
        }
        self.site.condition(Timestamp::now())
    }
}
