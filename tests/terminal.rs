//! The real terminal: taken and given back on a pty, also in a panic and when its other end disappears.
//!
//! Each test starts this very program again on a pty, where it runs `on_a_terminal` as told by [`ROLE`].

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot be set up has failed")]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::process::Child;
use std::sync::{Arc, atomic::AtomicBool, mpsc};
use std::thread;
use std::time::Duration;

use common::diagnosis::{at, outage};
use common::stage::FakeWorld;
use jiff::tz::TimeZone;
use pty_process::blocking::{Command, Pty, open};
use whytop::action::{Aim, Order, Subject};
use whytop::grounds::Grounds;
use whytop::proof::Proof;
use whytop::ui::event::Event;
use whytop::ui::state::State;
use whytop::ui::terminal::{Guard, is_gone, spawn_input};
use whytop::ui::theme::Depth;
use whytop::ui::{World, run};

/// What the program on the pty does: `live`, `panic` at the first `k`, or `busy`: draws all the time and reads no keys.
const ROLE: &str = "WHYTOP_TEST_ROLE";
const TAKE: &str = "\x1b[?1049h";
const GIVE: &str = "\x1b[?1049l";
/// Long enough for a busy machine; a hang is for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing by itself; on a pty the screen.
#[test]
fn on_a_terminal() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // As the real program: a hang-up is an event, not the end.
    let hung_up = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, hung_up).expect("a signal handler");
    let (sender, mut events) = mpsc::sync_channel(16);
    let guard = Guard::enter().expect("the terminal is taken");
    let mut terminal = guard.screen().expect("a screen");
    let _ = sender.send(Event::Diagnosis(Arc::new(outage())));
    if role == "busy" {
        thread::spawn(move || (0..1_000_000_000).all(|second| sender.send(Event::Tick(at(second))).is_ok()));
    } else {
        spawn_input(move |event| sender.send(event).is_ok()).expect("the input thread starts");
    }
    let mut world: Box<dyn World> = if role == "panic" { Box::new(Clumsy) } else { Box::new(FakeWorld::default()) };
    let ended = run(&mut terminal, State::new(TimeZone::UTC, Depth::Cube), &mut events, world.as_mut());
    drop(terminal);
    drop(guard);
    let well = match (role.as_str(), &ended) {
        (_, Err(error)) => is_gone(error),
        (role, Ok(())) => role != "busy",
    };
    std::process::exit(if well { 0 } else { 3 });
}

/// A world that fails in the worst way.
struct Clumsy;

impl World for Clumsy {
    fn aim(&mut self, _subject: &Subject) -> Aim {
        panic!("clumsy")
    }

    fn order(&mut self, _order: Order, _grounds: Grounds) {}

    fn shown(&mut self, _ticket: u64, _proof: &Proof) {}

    fn release(&mut self) {}

    fn suspend(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}

fn start(role: &str) -> (Pty, Child) {
    let (pty, other_end) = open().expect("a pty");
    pty.resize(pty_process::Size::new(24, 80)).expect("a size");
    let program = std::env::current_exe().expect("this program");
    let child = Command::new(program)
        .args(["--exact", "on_a_terminal", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env("TERM", "xterm-256color")
        .spawn(other_end)
        .expect("the program starts");
    (pty, child)
}

/// Reads until the frame with the outage is there in full.
fn read_frame(pty: &mut Pty) -> String {
    read_until(pty, |text| text.contains("DETECTED") && text.ends_with("\x1b[?25l"))
}

/// Reads until the program closes the terminal.
fn read_rest(pty: &mut Pty) -> String {
    read_until(pty, |_| false)
}

fn read_until(pty: &mut Pty, enough: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    loop {
        match pty.read(&mut some) {
            Ok(0) => break,
            Ok(length) => all.extend_from_slice(&some[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // EIO: the other end is closed.
            Err(_) => break,
        }
        if enough(&String::from_utf8_lossy(&all)) {
            break;
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The exit code, or a failure after [`PATIENCE`].
fn code_of(mut child: Child) -> Option<i32> {
    let (sender, receiver) = mpsc::channel();
    let pid = i32::try_from(child.id()).expect("a pid");
    thread::spawn(move || sender.send(child.wait()));
    if let Ok(status) = receiver.recv_timeout(PATIENCE) {
        return status.expect("a status").code();
    }
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    panic!("the program on the terminal hangs")
}

#[test]
fn q_gives_the_terminal_back() {
    let (mut pty, child) = start("live");
    let drawn = read_frame(&mut pty);
    assert!(drawn.contains(TAKE), "{drawn:?}");
    pty.write_all(b"q").expect("a key is typed");
    let rest = read_rest(&mut pty);
    assert!(rest.contains(GIVE), "{rest:?}");
    assert_eq!(code_of(child), Some(0));
}

#[test]
fn a_panic_is_printed_on_the_shell_s_screen() {
    let (mut pty, child) = start("panic");
    read_frame(&mut pty);
    pty.write_all(b"k").expect("a key is typed");
    let rest = read_rest(&mut pty);
    let (given, panicked) = (rest.find(GIVE), rest.find("clumsy"));
    assert!(given.is_some() && given < panicked, "{rest:?}");
    assert_eq!(rest.matches(GIVE).count(), 1, "given back once: {rest:?}");
    assert_ne!(code_of(child), Some(0));
}

#[test]
fn a_terminal_that_disappears_ends_the_program() {
    let (mut pty, child) = start("live");
    read_frame(&mut pty);
    drop(pty);
    assert_eq!(code_of(child), Some(0));
}

#[test]
fn a_terminal_that_disappears_between_frames_is_an_error_that_says_so() {
    let (mut pty, child) = start("busy");
    read_until(&mut pty, |text| text.contains("DETECTED"));
    drop(pty);
    assert_eq!(code_of(child), Some(0));
}

#[test]
fn a_pasted_text_is_no_key() {
    let (mut pty, child) = start("panic");
    read_frame(&mut pty);
    // The first k would panic.
    pty.write_all(b"\x1b[200~k\r\x1b[201~q").expect("a text is pasted");
    read_rest(&mut pty);
    assert_eq!(code_of(child), Some(0));
}
