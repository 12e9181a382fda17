//! The real binary in a real pseudo-terminal, read by a terminal emulator: keys in, screens out.

use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Command, Pty};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long anything may take on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs in a pseudo-terminal of its own.
pub struct Terminal {
    pty: Arc<Pty>,
    child: Child,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

struct Shared {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Terminal {
    /// Starts a program at this size.
    pub fn start(program: &Path, arguments: &[&str], columns: u16, rows: u16) -> Self {
        let [lines, width] = [rows, columns].map(|size| NonZero::new(size).expect("a size"));
        let (pty, pts) = pty_process::blocking::open().expect("open a pseudo-terminal");
        pty.resize(Size::new(rows, columns)).expect("size the pseudo-terminal");
        let command =
            Command::new(program).args(arguments).env("TERM", "xterm-256color").env_remove("NO_COLOR").env("RUST_BACKTRACE", "0");
        let child = command.spawn(pts).expect("start the program");
        let pty = Arc::new(pty);
        let shared = Arc::new(Shared {
            parser: Mutex::new(vt100::Parser::new(lines, width, 0)),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let (from, to) = (Arc::clone(&pty), Arc::clone(&shared));
        let reader = Some(thread::spawn(move || read(&from, &to)));
        Self { pty, child, shared, reader }
    }

    /// Whether the program has the alternate screen.
    pub fn is_alternate(&self) -> bool {
        self.shared.parser.lock().unwrap().screen().alternate_screen()
    }

    /// Whether the terminal echoes and edits lines, as a shell expects to find it.
    pub fn is_cooked(&self) -> bool {
        let modes = rustix::termios::tcgetattr(self.pty.as_fd()).expect("read the terminal's modes").local_modes;
        modes.contains(rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO)
    }

    /// Waits until the screen satisfies the condition; fails with the screen if it never does.
    pub fn wait(&self, what: &str, condition: impl Fn(&vt100::Screen) -> bool) -> Duration {
        let start = Instant::now();
        let mut parser = self.shared.parser.lock().unwrap();
        while !condition(parser.screen()) {
            let left = PATIENCE.saturating_sub(start.elapsed());
            assert!(!left.is_zero(), "not seen in {PATIENCE:?}: {what}. The screen:\n{}", parser.screen().contents());
            parser = self.shared.changed.wait_timeout(parser, left).unwrap().0;
        }
        start.elapsed()
    }

    /// Waits until all these texts are on the screen.
    pub fn wait_for(&self, texts: &[&str]) -> Duration {
        self.wait(&format!("{texts:?}"), |screen| texts.iter().all(|text| screen.contents().contains(text)))
    }

    /// Types.
    pub fn send(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("type");
    }

    /// Changes the size, here and for the program.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.shared
            .parser
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(NonZero::new(rows).expect("a size"), NonZero::new(columns).expect("a size"));
        self.pty.resize(Size::new(rows, columns)).expect("resize");
    }

    /// The program's number.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for the program's end.
    pub fn end(&mut self) -> ExitStatus {
        await_end(&mut self.child)
    }

    /// Takes the terminal away, as a broken connection does, and answers how long the program went on.
    pub fn hang_up(mut self) -> Duration {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.reader.take().map(JoinHandle::join);
        let start = Instant::now();
        // Closes the last handle: the kernel tells the program.
        let (nowhere, _other_end) = pty_process::blocking::open().expect("open a pseudo-terminal");
        drop(std::mem::replace(&mut self.pty, Arc::new(nowhere)));
        await_end(&mut self.child);
        start.elapsed()
    }
}

fn read(pty: &Pty, shared: &Shared) {
    let mut bytes = vec![0; 65536];
    while !shared.stop.load(Ordering::SeqCst) {
        let mut ready = [PollFd::new(pty, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) | Err(_) => continue,
            Ok(_) => {}
        }
        // An error is the program's end.
        let Ok(count @ 1..) = (&mut &*pty).read(&mut bytes) else { return };
        shared.parser.lock().unwrap().process(&bytes[..count]);
        shared.changed.notify_all();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a child's end, with patience that has an end too.
pub fn await_end(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait for the program") {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the program does not end");
        thread::sleep(Duration::from_millis(10));
    }
}
