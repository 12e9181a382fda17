//! `whytop explain PID`: what one process's job is taken for, and why.

use anyhow::{Context, Result, bail};
use jiff::tz::TimeZone;

use super::once::{look, print};
use crate::kernel::WatchedReader;
use crate::monitor::Monitor;
use crate::report;
use crate::units::Pid;

/// Prints what is known of the job of this process.
pub fn run(mut reader: WatchedReader, mut monitor: Monitor, pid: Pid, json: bool) -> Result<u8> {
    let diagnosis = look(&mut reader, &mut monitor)?;
    // Screen and report name tasks, too: "its task 4712 waited".
    let process = monitor.process_of(pid);
    let Some(explained) = report::Explained::of(&diagnosis, process.unwrap_or(pid)) else { bail!("no process {pid}") };
    let thread = process.filter(|process| *process != pid).map(|process| format!("{pid} is a thread of {process}\n"));
    let text = if json {
        explained.json().context("put the explanation into JSON")?
    } else {
        thread.unwrap_or_default() + &explained.text(&TimeZone::system())
    };
    print(&text)?;
    Ok(0)
}
