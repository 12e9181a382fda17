//! What is configured: the rules files that add to the knowledge base, and which units a timer starts. Read once, at the start; never on
//! the way of a sample or a key.
//!
//! A home directory may lie on a file server that is silent, and whytop is wanted most on such a day: each file is read by a thread of
//! its own, and after a moment whytop goes on without it. Tested by tests/knowledge.rs.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::analysis::kind::Catalogue;
use crate::analysis::kind::catalogue::Complaint;
use crate::sample::Gap;
use crate::units::clean;

/// Beyond this it is no list of tools.
const LARGEST: u64 = 1 << 20;
/// More than any host has.
const MOST_TIMERS: usize = 4096;
/// A disk that works answers long before.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of programs, and what is wrong with the files in the usual places.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Compiled in, then this host's, then the user's, then those that were asked for: the later wins.
    pub catalogue: Arc<Catalogue>,
    /// One for each file with bad entries; the good ones are in the catalogue.
    pub complaints: Vec<Gap>,
    /// Units that a timer starts.
    pub timed: HashSet<String>,
}

/// Reads the rules files in the usual places, the host's and the user's, and these ones, which must be there and sound.
pub fn knowledge(asked: &[PathBuf], host: Option<PathBuf>, home: Option<PathBuf>) -> Result<Knowledge> {
    let mut catalogue = Catalogue::built_in();
    let mut complaints = Vec::new();
    for path in host.into_iter().chain(home) {
        match read(&path) {
            Ok(text) => {
                let wrong = Arc::make_mut(&mut catalogue).learn(&text);
                if let Some(first) = wrong.first() {
                    complaints.push(Gap::Rules { file: place(&path, first.line), why: all(first, wrong.len()) });
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => complaints.push(Gap::Rules { file: path.display().to_string(), why: error.to_string() }),
        }
    }
    for path in asked {
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => bail!("rules {}: {error}", clean(&path.display().to_string())),
        };
        let wrong = Arc::make_mut(&mut catalogue).learn(&text);
        if let Some(first) = wrong.first() {
            bail!("rules {}: {}", place(path, first.line), all(first, wrong.len()));
        }
    }
    Ok(Knowledge { catalogue, complaints, timed: HashSet::new() })
}

impl Knowledge {
    /// The same, with the units that a timer starts, as files below this root have it.
    #[must_use]
    pub fn timing(self, root: Option<&Path>) -> Self {
        Self { timed: root.map(timed).unwrap_or_default(), ..self }
    }
}

/// The host's rules file, unless the environment names another; an empty name stands for none.
pub fn host(instead: Option<PathBuf>) -> Option<PathBuf> {
    let path = instead.unwrap_or_else(|| PathBuf::from("/etc/whytop/rules.toml"));
    Some(path).filter(|path| !path.as_os_str().is_empty())
}

/// The user's own rules file, by what the environment says.
pub fn home(config: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    let config = config.filter(|config| config.is_absolute()).or_else(|| Some(home?.join(".config")))?;
    Some(config.join("whytop/rules.toml"))
}

fn place(path: &Path, line: usize) -> String {
    format!("{}:{line}", clean(&path.display().to_string()))
}

/// The first complaint, and how many more there are.
fn all(first: &Complaint, count: usize) -> String {
    match count {
        1 => first.why.clone(),
        _ => format!("{} (and {} more)", first.why, count - 1),
    }
}

/// The units below this root that a timer starts: of each timer that is enabled, or was made at run time, the one that it names. What cannot
/// be read has none, and that no host is worse off for: who is started by a timer is one fact among others.
fn timed(root: &Path) -> HashSet<String> {
    let root = root.to_owned();
    patiently(move || Ok(enabled_timers(&root))).unwrap_or_default()
}

/// By files: to ask the service manager would be a question to somebody who may be as stuck as all others.
fn enabled_timers(root: &Path) -> HashSet<String> {
    const FOLDERS: [&str; 6] = [
        "run/systemd/transient",
        "run/systemd/generator/timers.target.wants",
        "run/systemd/system/timers.target.wants",
        "etc/systemd/system/timers.target.wants",
        "usr/lib/systemd/system/timers.target.wants",
        "lib/systemd/system/timers.target.wants",
    ];
    let files = FOLDERS.iter().filter_map(|folder| fs::read_dir(root.join(folder)).ok()).flatten().take(MOST_TIMERS);
    files.filter_map(|file| started_by(&file.ok()?.path())).collect()
}

/// The unit that this timer starts: of its own name, if it names no other.
fn started_by(timer: &Path) -> Option<String> {
    let name = timer.file_name()?.to_str()?.strip_suffix(".timer")?;
    let text = read_file(timer).unwrap_or_default();
    let named = text.lines().find_map(|line| line.trim().strip_prefix("Unit=")).map(str::trim);
    Some(named.map_or_else(|| format!("{name}.service"), str::to_owned))
}

fn read(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    patiently(move || read_file(&path))
}

/// What this finds out, unless that takes long.
fn patiently<T: Send + 'static>(find_out: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let (send, answer) = channel();
    let read = move || {
        // Nobody waits any more when it comes late.
        let _ = send.send(find_out());
    };
    thread::Builder::new().name("rules".to_owned()).spawn(read)?;
    answer.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it cannot be read in time")))
}

fn read_file(path: &Path) -> io::Result<String> {
    // Opening a pipe would wait for whoever writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than a list of tools can be"));
    }
    Ok(text)
}
