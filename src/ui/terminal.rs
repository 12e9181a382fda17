//! The real terminal: raw mode and the alternate screen, given back under all circumstances; and the keys from it.
//!
//! Everything here can be called twice, and on a terminal that is dead or no longer read by anybody: nothing hangs, nothing
//! panics. Tested through a pty.

use std::io::{self, IsTerminal, Stdout, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, KeyEventKind};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, queue};
use ratatui::Terminal;
use ratatui::backend::{Backend, ClearType, CrosstermBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use super::event::Event;

/// How long the last bytes may take. A terminal whose other end is gone, but not hung up yet, takes none at all.
const FAREWELL: Duration = Duration::from_millis(500);
/// How often to look whether the terminal is still there.
const PULSE: Duration = Duration::from_millis(500);

/// Whether the terminal is ours, so that it is given back once.
static OURS: AtomicBool = AtomicBool::new(false);
static HOOK: Once = Once::new();

/// The backend of the real screen: crossterm's, but for the size. Crossterm opens `/dev/tty` to ask for it, with every frame; the
/// terminal that is drawn on is open already, and a frame opens no file.
#[derive(Debug)]
pub struct Screen(CrosstermBackend<Writer>);

impl Backend for Screen {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        self.0.draw(content)
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.0.hide_cursor()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.0.show_cursor()
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        self.0.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.0.set_cursor_position(position)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.0.clear_region(clear_type)
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(io::stdout())?;
        Ok(Size::new(size.ws_col, size.ws_row))
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        self.0.window_size()
    }

    fn flush(&mut self) -> io::Result<()> {
        Backend::flush(&mut self.0)
    }
}

/// Collects a frame and writes it at once.
///
/// Of a dead terminal it tells once, and not with the first failure but with the flush after it: every frame has two.
/// Ratatui's clean-up has one, and would complain about it on standard error, which is the same dead terminal: that panics.
#[derive(Debug)]
pub struct Writer {
    stdout: Stdout,
    frame: Vec<u8>,
    health: Health,
}

/// What is known of the other end.
#[derive(Debug)]
enum Health {
    Alive,
    Failed(io::Error),
    Dead,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if matches!(self.health, Health::Alive) {
            self.frame.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match std::mem::replace(&mut self.health, Health::Dead) {
            Health::Failed(error) => return Err(error),
            Health::Dead => return Ok(()),
            Health::Alive => self.health = Health::Alive,
        }
        // Once the terminal is given back, what is left of a frame would land on the shell's screen.
        if !self.frame.is_empty() && OURS.load(Ordering::SeqCst) {
            let mut stdout = self.stdout.lock();
            if let Err(error) = stdout.write_all(&self.frame).and_then(|()| stdout.flush()) {
                self.health = Health::Failed(error);
            }
        }
        self.frame.clear();
        Ok(())
    }
}

/// The terminal is ours as long as this lives.
#[derive(Debug)]
pub struct Guard(());

impl Guard {
    /// Takes the terminal, and makes sure that a panic gives it back before it prints.
    pub fn enter() -> Result<Self> {
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            let screen = thread::current().id();
            std::panic::set_hook(Box::new(move |panic| {
                // Another thread's panic is caught where the thread was started, and told on the screen, which goes on.
                if thread::current().id() == screen {
                    restore();
                    before(panic);
                }
            }));
        });
        take()?;
        Ok(Self(()))
    }

    /// The screen on it.
    pub fn screen(&self) -> Result<Terminal<Screen>> {
        let writer = Writer { stdout: io::stdout(), frame: Vec::new(), health: Health::Alive };
        Terminal::new(Screen(CrosstermBackend::new(writer))).context("open the terminal")
    }

    /// Gives the terminal back, lets `stop` stop this process, and takes the terminal again. For `World::suspend`.
    pub fn lend(&self, stop: impl FnOnce() -> Result<()>) -> Result<()> {
        restore();
        let stopped = stop();
        take()?;
        stopped
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> Result<()> {
    enable_raw_mode().context("switch the terminal to raw mode")?;
    OURS.store(true, Ordering::SeqCst);
    // Bracketed paste makes a pasted "k" and line end one event, which is ignored, instead of two keys that end a job.
    let mut bytes = Vec::new();
    queue!(bytes, EnterAlternateScreen, EnableBracketedPaste, cursor::Hide)?;
    let mut stdout = io::stdout();
    stdout.write_all(&bytes).and_then(|()| stdout.flush()).context("write to the terminal")
}

/// Gives the terminal back, if it is ours.
pub fn restore() {
    if !OURS.swap(false, Ordering::SeqCst) {
        return;
    }
    // Takes effect at once: `TCSANOW` does not wait for output.
    let _ = disable_raw_mode();
    let mut bytes = Vec::new();
    let _ = queue!(bytes, DisableBracketedPaste, LeaveAlternateScreen, cursor::Show);
    // In a thread: a write to a terminal that nobody reads blocks for good. Past standard output's lock, which somebody
    // stuck in a write may hold.
    let (done, finished) = mpsc::channel();
    let farewell = thread::Builder::new().name("farewell".to_owned()).spawn(move || {
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(io::stdout(), rest) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
        let _ = done.send(());
    });
    if farewell.is_ok() {
        let _ = finished.recv_timeout(FAREWELL);
    }
}

/// Whether this error of [`super::run`] only says that the terminal is gone: then nobody is left to read about it.
pub fn is_gone(error: &anyhow::Error) -> bool {
    let gone = [Errno::IO, Errno::PIPE, Errno::NXIO, Errno::BADF, Errno::NODEV].map(Errno::raw_os_error);
    error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>()).any(|cause| {
        cause.kind() == io::ErrorKind::BrokenPipe || cause.raw_os_error().is_some_and(|number| gone.contains(&number))
    })
}

/// Reads keys and sends them until the receiver is gone; sends [`Event::Quit`] when the terminal is.
///
/// Two threads: crossterm's reader never returns from a terminal that was hung up (crossterm 0.29 takes the end of file and
/// `EIO` for "try again"), so another one feels the pulse and quits for it.
pub fn spawn_input(send: impl Fn(Event) -> bool + Clone + Send + 'static) -> Result<()> {
    // Crossterm listens for changes of the size from its first look on. That must be over before the first frame: one that changes
    // and changes back unheard leaves a screen in pieces. What there is to read stays there.
    let _ = crossterm::event::poll(Duration::ZERO);
    let pulse = send.clone();
    thread::Builder::new().name("keys".to_owned()).spawn(move || read_keys(&send)).context("start the input thread")?;
    thread::Builder::new().name("pulse".to_owned()).spawn(move || feel_pulse(&pulse)).context("start the input thread")?;
    Ok(())
}

fn read_keys(send: &impl Fn(Event) -> bool) {
    loop {
        let event = match crossterm::event::read() {
            Ok(crossterm::event::Event::Key(key)) if key.kind == KeyEventKind::Press => Event::Key(key),
            Ok(crossterm::event::Event::Resize(..)) => Event::Resize,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => Event::Quit,
        };
        let last = matches!(event, Event::Quit);
        if !send(event) || last {
            return;
        }
    }
}

fn feel_pulse(send: &impl Fn(Event) -> bool) {
    // The file that crossterm reads, if it is a terminal at all; else the one that is drawn on.
    let from_stdin = io::stdin().is_terminal();
    loop {
        thread::park_timeout(PULSE);
        let state = if from_stdin { rustix::termios::tcgetattr(io::stdin()) } else { rustix::termios::tcgetattr(io::stdout()) };
        if let Err(error) = state
            && error != Errno::INTR
        {
            send(Event::Quit);
            return;
        }
    }
}
