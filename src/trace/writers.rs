//! The two hands that write: an append-only file, and the system's log. Each on a thread of its own, because each may stand still.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Zoned;
use rustix::fs::OFlags;

/// Facility `authpriv`, severity `notice`, as `sudo` logs (RFC 3164: 10 * 8 + 5).
const PRIORITY: u8 = 85;

/// Appends to the file, which is opened with the first line and again after an error.
#[derive(Debug)]
pub(super) struct ToFile {
    path: PathBuf,
    file: Option<File>,
}

impl ToFile {
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    /// The line as one write: what several of whytop append at once stays whole.
    pub fn write(&mut self, line: &str) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        file.write_all(line.as_bytes())?;
        self.file = Some(file);
        Ok(())
    }
}

/// Not through a link: in a folder that others may write to, it would lead anywhere.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}

/// Sends datagrams to the system's log.
#[derive(Debug)]
pub(super) struct ToLog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

impl ToLog {
    pub fn new(path: PathBuf) -> Self {
        Self { path, socket: None }
    }

    /// A log that takes nothing right now is not waited for; one that was started anew is found again.
    pub fn write(&mut self, sentence: &str) -> io::Result<()> {
        let pid = std::process::id();
        let line = format!("<{PRIORITY}>{} whytop[{pid}]: {sentence}", Zoned::now().strftime("%b %e %H:%M:%S"));
        if let Some(socket) = &self.socket
            && socket.send(line.as_bytes()).is_ok()
        {
            return Ok(());
        }
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        socket.send(line.as_bytes())?;
        self.socket = Some(socket);
        Ok(())
    }
}
