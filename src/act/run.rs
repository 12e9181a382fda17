//! Running another program for an answer, within a time: `systemctl`, `fsfreeze`.
//!
//! By its arguments, never through a shell. One of the homes of clocks. Tested by `tests/act/units.rs`, with made-up programs.

#![allow(clippy::disallowed_methods, reason = "waiting for a program takes pauses and an end in real time")]

use std::env;
use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::geteuid;

use crate::units::clean;

/// Between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked at after it was killed.
const LAST_LOOKS: usize = 20;
/// Most bytes of its answer that are read.
const BYTES: u64 = 64 * 1024;

/// Where a program is. `None`: not installed.
pub fn find(program: &str, search: &OsStr) -> Option<PathBuf> {
    env::split_paths(search).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs it and gives what it printed; or why that did not work, cleaned.
pub fn run(program: &str, arguments: &[&str], search: &OsStr, deadline: Duration) -> Result<String, String> {
    let path = find(program, search).ok_or_else(|| format!("{program} is not installed"))?;
    let mut command = Command::new(path);
    // Answers are read, so they must not depend on the operator's language; and nothing may ask for a password.
    command.args(arguments).env("LC_ALL", "C").env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0");
    // Where a user's own service manager listens; `su` does not say.
    if env::var_os("XDG_RUNTIME_DIR").is_none() {
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{}", geteuid().as_raw()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("{program} could not be started: {error}"))?;
    let end = Instant::now() + deadline;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => sleep(PAUSE),
            Ok(None) => {
                let _ = child.kill();
                // It may be stuck in the very disk that is the trouble; then it goes when that lets it.
                for _ in 0..LAST_LOOKS {
                    if matches!(child.try_wait(), Ok(Some(_))) {
                        break;
                    }
                    sleep(PAUSE);
                }
                return Err(format!("{program} has not answered within {} s", deadline.as_secs()));
            }
            Err(error) => return Err(format!("{program} was lost: {error}")),
        }
    };
    let (out, error) = answers(&mut child);
    if status.success() {
        return Ok(out);
    }
    let line = error.lines().chain(out.lines()).find(|line| !line.trim().is_empty()).unwrap_or("without a word").trim();
    Err(format!("{program} says: {}", clean(line)))
}

/// What it printed. Little enough for a pipe to hold, so it can be read when the program has ended.
fn answers(child: &mut Child) -> (String, String) {
    let read = |pipe: Option<&mut dyn Read>| {
        let mut text = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(BYTES).read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let out = read(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let error = read(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    (out, error)
}
