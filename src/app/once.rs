//! The verdict without a terminal: look for a second, print, leave.

use std::io::{ErrorKind, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::analysis::diagnosis::{Diagnosis, Severity};
use crate::cli::Cli;
use crate::kernel::WatchedReader;
use crate::monitor::Monitor;
use crate::probe::{Address, DEADLINE, Probe};
use crate::report;
use crate::sample::Pace;
use crate::site::{Answer, Failure, News, Site};
use crate::units::Nanos;

/// From one sample to the next. The first is short so that command lines are in the picture early; together a second, so that a
/// disk's bursts even out and the answer still comes at once.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(400)];

/// A name server that says nothing may hold up a question beyond its deadline; then there is no answer.
const GRACE: Duration = Duration::from_secs(1);

/// Prints the verdict of now. Answers 0 (calm, watch) or 1 (contention).
pub fn run(mut reader: WatchedReader, mut monitor: Monitor, cli: &Cli, json: bool) -> Result<u8> {
    let asked = cli.probe.clone().map(Asked::start).transpose()?;
    let diagnosis = look(&mut reader, &mut monitor)?;
    let site = asked.map(Asked::wait);
    let text = if json {
        report::json(&diagnosis, site.as_ref()).context("put the diagnosis into JSON")?
    } else {
        report::text(&diagnosis, site.as_ref(), &TimeZone::system())
    };
    print(&text)?;
    Ok(u8::from(diagnosis.verdict.worst.severity == Severity::Contention))
}

/// The diagnosis of now, after a second.
pub fn look(reader: &mut WatchedReader, monitor: &mut Monitor) -> Result<Diagnosis> {
    let mut begun = Instant::now();
    let mut diagnosis = monitor.ingest(reader.sample()?);
    for pause in PAUSES {
        let look = begun.elapsed();
        // From beginning to beginning: on a host where a look takes long, the answer need not take longer by all of them.
        let left = pause.saturating_sub(look);
        reader.settle(left);
        thread::sleep(pause.saturating_sub(begun.elapsed()));
        let interval = std::mem::replace(&mut begun, Instant::now()).elapsed();
        let mut sample = reader.sample()?;
        let [look, interval] = [look, interval].map(|time| time.as_nanos() as Nanos);
        sample.cost.pace = Some(Pace { look, interval, stretched: false });
        diagnosis = monitor.ingest(sample);
    }
    Ok(diagnosis)
}

/// A site that was asked once, while the host is looked at.
struct Asked {
    site: Site,
    news: Receiver<News>,
    _probe: Probe,
}

impl Asked {
    fn start(address: Address) -> Result<Self> {
        let site = Site::new(&address.shown());
        let (send, news) = channel();
        let probe = Probe::start(address, move |told| {
            let last = matches!(told, News::Answered(_));
            if send.send(told).is_err() || last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Self { site, news, _probe: probe })
    }

    /// The site with its answer, or with none.
    fn wait(mut self) -> Site {
        let end = Instant::now() + DEADLINE + GRACE;
        while let Ok(told) = self.news.recv_timeout(end.saturating_duration_since(Instant::now())) {
            self.site.learn(told);
        }
        if self.site.last().is_none() {
            self.site.learn(News::Answered(Answer { asked: Timestamp::now(), result: Err(Failure::NoAnswer) }));
        }
        self.site
    }
}

/// Prints a text.
pub fn print(text: &str) -> Result<()> {
    // Strips colours where no terminal is, or NO_COLOR is set.
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read along has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("write to standard output"),
    }
}
