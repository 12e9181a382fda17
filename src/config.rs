//! What is configured: the rules files that add to the knowledge base. Read once, at the start; never on the way of a sample or a key.
//!
//! A home directory may lie on a file server that is silent, and whytop is wanted most on such a day: each file is read by a thread of
//! its own, and after a moment whytop goes on without it. Tested by tests/knowledge.rs.

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
/// A disk that works answers long before.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of programs, and what is wrong with the files in the usual places.
#[derive(Clone, Debug)]
pub struct Knowledge {
    /// Compiled in, then this host's, then the user's, then those that were asked for: the later wins.
    pub catalogue: Arc<Catalogue>,
    /// One for each file with bad entries; the good ones are in the catalogue.
    pub complaints: Vec<Gap>,
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
    Ok(Knowledge { catalogue, complaints })
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

fn read(path: &Path) -> io::Result<String> {
    let (send, answer) = channel();
    let owned = path.to_owned();
    let read = move || {
        // Nobody waits any more when it comes late.
        let _ = send.send(read_patiently(&owned));
    };
    thread::Builder::new().name("rules".to_owned()).spawn(read)?;
    answer.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "it cannot be read in time")))
}

fn read_patiently(path: &Path) -> io::Result<String> {
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
