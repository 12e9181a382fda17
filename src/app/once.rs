//! The verdict without a terminal: look for a second, print, leave.

use std::io::{ErrorKind, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::tz::TimeZone;

use super::probed::Probed;
use crate::analysis::diagnosis::{Diagnosis, Severity};
use crate::cli::Cli;
use crate::kernel::WatchedReader;
use crate::monitor::Monitor;
use crate::report;
use crate::sample::Pace;
use crate::units::Nanos;

/// From one sample to the next. The first is short so that command lines are in the picture early; together a second, so that a
/// disk's bursts even out and the answer still comes at once.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(400)];

/// Prints the verdict of now. Answers 0 (calm, watch) or 1 (contention).
pub fn run(mut reader: WatchedReader, mut monitor: Monitor, cli: &Cli, json: bool) -> Result<u8> {
    let asked = cli.probe.clone().map(Probed::once).transpose()?;
    let diagnosis = look(&mut reader, &mut monitor)?;
    let site = asked.map(Probed::answered);
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
