//! The outage itself, and the terminal's survival, with nothing made up: real processes stuck in state D, a real
//! `tar | gzip` under a script, the real binary in a real pseudo-terminal, keys typed, the recovery read off the screen.
//!
//! Has a main function of its own because the victims must be processes that do as they are told: this program starts itself
//! again under another name and with a role.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "common/screen.rs"]
mod screen;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use libtest_mimic::{Arguments, Trial};
use screen::{PATIENCE, Terminal};

const WHYTOP: &str = env!("CARGO_BIN_EXE_whytop");
/// The panel is promised within two seconds of the backup's start; test machines do other things beside.
const SOON: Duration = Duration::from_secs(4);
/// Stuck tasks: more than any disk of a test machine keeps waiting by itself.
const STUCK: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("role=site-worker") => roles::site_workers(Path::new(&arguments[2])),
        Some("role=store") => roles::store(Path::new(&arguments[2])),
        Some("role=panic") => roles::panic_on_the_screen(),
        Some("role=busy") => roles::busy(),
        _ => {}
    }
    let trials = vec![
        test_with(&["tar", "gzip"], "the_outage_from_the_panel_to_the_recovery", the_outage),
        test_with(&["tar", "gzip", "mkfifo"], "a_backup_that_burns_the_cpus", the_cpu_outage),
        test("the_terminal_is_given_back_at_the_end", quits),
        test("the_terminal_is_given_back_on_signals", signals),
        test("the_terminal_is_given_back_on_a_panic", panics),
        test("whoever_leaves_a_job_paused_is_told_how_it_goes_on", leaves_a_paused_job),
        test("a_lost_terminal_ends_the_program_within_a_second", hang_up),
        test("stopping_and_going_on", stop_and_continue),
        test("any_size_and_back", sizes),
    ];
    let mut arguments = Arguments::from_args();
    // The backup of one outage would be the other one's, too.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A test that fails by panicking, as usual.
fn test(name: &str, run: fn()) -> Trial {
    Trial::test(name, move || {
        run();
        Ok(())
    })
}

/// A test that needs these programs; without them it is reported as skipped.
fn test_with(programs: &[&str], name: &str, run: fn()) -> Trial {
    let path = env::var_os("PATH").unwrap_or_default();
    let missing = programs.iter().find(|program| !env::split_paths(&path).any(|folder| folder.join(program).exists()));
    if let Some(program) = missing {
        eprintln!("{name}: skipped, because {program} is not installed");
    }
    test(name, run).with_ignored_flag(missing.is_some())
}

/// Processes of a test, ended with it whatever happens.
struct Stage {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Stage {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), children: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// This program under another name, in a role, in a session of its own: the leader's number is that of the session.
    fn play(&mut self, name: &str, arguments: &[&str]) -> i32 {
        let program = self.path(name);
        if !program.exists() {
            fs::copy(env::current_exe().unwrap(), &program).unwrap();
        }
        self.start(Command::new(program).args(arguments))
    }

    fn start(&mut self, command: &mut Command) -> i32 {
        #[allow(unsafe_code, reason = "a session of its own needs code between fork and exec")]
        // SAFETY: setsid is async-signal-safe and touches no memory of ours.
        unsafe {
            command.pre_exec(|| if libc::setsid() < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) });
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let pid = child.id().cast_signed();
        self.children.push(child);
        pid
    }

    /// Takes note of the end of one.
    fn reap(&mut self, pid: i32) {
        let child = self.children.iter_mut().find(|child| child.id().cast_signed() == pid).unwrap();
        child.wait().unwrap();
    }

    /// A script with these lines, run as cron runs one.
    fn script(&mut self, name: &str, lines: &str) -> i32 {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{lines}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.start(Command::new(path).arg(self.folder.path()))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in &mut self.children {
            for pid in session(child.id().cast_signed()) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = child.wait();
        }
    }
}

/// Field of `/proc/PID/stat` after the name: 0 is the state, 3 the session.
fn stat_field(pid: i32, field: usize) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field).map(str::to_owned)
}

/// Living processes of a session.
fn session(leader: i32) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat_field(*pid, 3) == Some(leader.to_string()) && stat_field(*pid, 0).as_deref() != Some("Z")).collect()
}

/// A file that does not compress, so that what packs it writes as much as it reads.
fn random_file(path: &Path, bytes: usize) {
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(bytes).collect();
    fs::write(path, noise).unwrap();
}

fn in_state_d(leader: i32) -> usize {
    session(leader).into_iter().filter(|pid| stat_field(*pid, 0).as_deref() == Some("D")).count()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "not so within {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A site whose answers wait as long as one of these workers is stuck; answers its address.
fn site(workers: i32) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serve = move |mut visitor: TcpStream| {
        let mut lines = BufReader::new(&visitor).lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| !line.is_empty()) {}
        while in_state_d(workers) > 0 {
            thread::sleep(Duration::from_millis(50));
        }
        // Whoever asked may be gone by now.
        let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    };
    thread::spawn(move || {
        for visitor in listener.incoming().flatten() {
            thread::spawn(move || serve(visitor));
        }
    });
    address
}

/// Whether two numbers with an arrow between them stand somewhere, the first at least half of all workers and the second at most a
/// quarter: `tasks 16 → 0`.
fn tells_of_relief(screen: &vt100::Screen) -> bool {
    let text = screen.contents();
    let mut changes = text.split("tasks ").skip(1).filter_map(|rest| {
        let mut words = rest.split_whitespace();
        let before: usize = words.next()?.parse().ok()?;
        let after: usize = words.nth(1)?.parse().ok()?;
        Some((before, after))
    });
    changes.any(|(before, after)| before >= STUCK / 2 && after <= STUCK / 4)
}

/// The backup of the outage: at work until it is ended, and holding up the workers by `turn` in all that time. What stores it is slow, so
/// that it is not also accused of taking the CPUs for which other work on a test machine waits.
const BACKUP: &str =
    r#"echo $$ >"$1/turn"; cd "$1/srv"; while tar cf - . | gzip -1 | "$1/store" role=store "$1/srv.tar.gz"; do :; done"#;

/// Workers are stuck in D, and the site does not answer, for as long as a real backup works. A pause proves that it is the cause; it goes
/// on, and the outage with it; then it is ended with two keys, the host recovers, and the site answers again.
fn the_outage() {
    let mut stage = Stage::new();
    fs::create_dir(stage.path("srv")).unwrap();
    random_file(&stage.path("srv/database"), 32 << 20);
    let turn = stage.path("turn");
    let workers = stage.play("site-worker", &["role=site-worker", turn.to_str().unwrap()]);
    let url = format!("http://{}/", site(workers));

    let trace = stage.path("actions.log");
    let mut terminal = Terminal::start(
        Path::new(WHYTOP),
        &["--interval", "500ms", "--trace", trace.to_str().unwrap(), "--probe", &url],
        120,
        40,
    );
    // Not the first glance at the load: the tasks have been read.
    terminal.wait_for(&["LOAD", "TAKES", "SITE 200 in "]);
    fs::copy(env::current_exe().unwrap(), stage.path("store")).unwrap();
    let backup = stage.script("nightly-backup.sh", BACKUP);
    wait_until("the workers are stuck", || in_state_d(workers) == STUCK);
    wait_until("tar, gzip and what stores run", || session(backup).len() >= 4);

    let seen = terminal.wait_for(&["CO-LOCATED BACKUP DETECTED", "nightly-backup.sh", "tar", "site-worker"]);
    assert!(seen < SOON, "the panel came after {seen:?}");
    // In the ledger: the sum above it has whoever else is stuck on this host.
    let stuck = format!("site-worker {STUCK}");
    terminal.wait("the stuck workers are counted", |screen| screen.contents().contains(&stuck));
    terminal.wait_for(&["SITE no answer for "]);

    terminal.send("p");
    terminal.wait_for(&["prove, 10 s", "nightly-backup.sh", "tar", "Enter"]);
    // Longer, as it is cut short as soon as it has shown what it was for.
    terminal.send("\x1b[C");
    terminal.wait_for(&["prove, 15 s"]);
    terminal.send("\r");
    terminal.wait_for(&["PROOF BY PAUSE", "nightly-backup.sh stands still"]);
    wait_until("no worker is stuck meanwhile", || in_state_d(workers) == 0);
    terminal.wait_for(&["SITE 200 in "]);
    terminal.wait_for(&["while nightly-backup.sh stood still: it is the cause"]);
    terminal.wait("how the site answered meanwhile", |screen| {
        let text = screen.contents();
        text.lines()
            .any(|line| line.contains("no answer for ") && line.contains("→ 200 in ") && line.contains("while it stood still"))
    });
    terminal.send("r");
    terminal.wait_for(&["PROVEN: nightly-backup.sh is the cause"]);
    terminal.wait("the pause is told in numbers", tells_of_relief);
    wait_until("the outage is back", || in_state_d(workers) == STUCK);
    terminal.wait("it is seen", |screen| screen.contents().contains(&stuck));
    terminal.wait_for(&["SITE no answer for "]);

    terminal.send("k");
    terminal.wait_for(&["SIGTERM", "nightly-backup.sh", "tar", "gzip", "Enter", "Esc"]);
    terminal.send("\r");
    terminal.wait_for(&["SIGTERM sent to nightly-backup.sh"]);
    wait_until("all of it is gone", || session(backup).is_empty());
    stage.reap(backup);
    wait_until("no worker is stuck", || in_state_d(workers) == 0);
    terminal.wait_for(&["RECOVERED after ", "the site answers again: 200 in ", "; before: no answer for ", "load"]);
    terminal.wait("the victims are told in numbers", tells_of_relief);
    assert!(session(workers).len() > STUCK, "the workers live on");

    terminal.send("q");
    assert!(terminal.end().success());
    let trace = fs::read_to_string(trace).unwrap();
    let of =
        |action: &str| trace.lines().filter(move |line| line.contains(&format!("\"action\":\"{action}\""))).collect::<Vec<_>>();
    let [asked, result, seen, ..] = of("SIGTERM")[..] else { panic!("three lines: {trace}") };
    for part in ["asked", "SIGTERM", "nightly-backup.sh", "tar cf - .", "headline", "load1", "no answer for "] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    assert!(result.contains("SIGTERM sent to nightly-backup.sh"), "{result}");
    // Whether they are gone or somebody is left for a while, this host's scheduler decides.
    assert!(
        seen.contains("\"step\":\"seen\"") && (seen.contains("nightly-backup.sh is gone") || seen.contains(" left: ")),
        "{seen}"
    );
    let proven = of("proof by a pause of 15 s");
    assert!(proven.iter().any(|line| line.contains("stood still: it is the cause")), "{trace}");
}

/// A service that needs the CPUs beside a backup that has them.
fn the_cpu_outage() {
    let mut stage = Stage::new();
    fs::create_dir(stage.path("srv")).unwrap();
    File::create(stage.path("srv/database")).unwrap().set_len(64 << 30).unwrap();
    let cpus = thread::available_parallelism().unwrap().get();
    let pipeline = r#"(cd "$1/srv" && tar cf - . | gzip -9 >/dev/null) &"#;
    // So many that two of them wait at any time, whatever else runs.
    for _ in 0..2 * cpus {
        stage.play("shop-server", &["role=busy"]);
    }
    let backup = stage.script("full-backup.sh", &format!("{}\nwait", [pipeline].repeat(cpus).join("\n")));

    // The disk of the trace is the one that is stuck: whoever opens a pipe that nobody reads waits for ever.
    let pipe = stage.path("actions.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut terminal = Terminal::start(Path::new(WHYTOP), &["--interval", "500ms", "--trace", pipe.to_str().unwrap()], 100, 30);
    terminal.wait_for(&["CO-LOCATED BACKUP DETECTED", "full-backup.sh", "shop-server", "CONTENTION"]);
    // A runbook finds the same one, and has a second for it: on a busy test machine not always the first.
    wait_until("the culprit is found without a screen", || {
        let planned = Command::new(WHYTOP).args(["kill", "--culprit", "--dry-run", "--json"]).output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
        plan["result"] == "planned" && plan["name"] == "full-backup.sh" && plan["processes"][0]["pid"] == backup
    });
    assert!(session(backup).len() > cpus, "a dry run does nothing");
    terminal.send("k");
    terminal.wait_for(&["SIGTERM", "full-backup.sh", "gzip"]);
    terminal.send("\r");
    wait_until("the whole backup is gone", || session(backup).is_empty());
    terminal.wait_for(&["SIGTERM sent to full-backup.sh"]);
    terminal.wait_for(&["the trace of what was done is not written yet"]);
    terminal.send("?");
    terminal.wait_for(&["KEYS AND WORDS"]);
    terminal.send("q");
    assert!(terminal.end().success());
    terminal.wait("whoever leaves is told", |screen| {
        !screen.alternate_screen() && screen.contents().contains("whytop: the trace of what was done is not written yet")
    });
}

fn started() -> Terminal {
    let terminal = Terminal::start(Path::new(WHYTOP), &["--interval", "250ms"], 80, 24);
    terminal.wait_for(&["LOAD"]);
    assert!(terminal.is_alternate());
    assert!(!terminal.is_cooked());
    terminal
}

fn assert_given_back(terminal: &Terminal) {
    terminal.wait("the main screen is back", |screen| !screen.alternate_screen());
    assert!(terminal.is_cooked(), "line editing and echo are back");
}

fn quits() {
    for keys in ["q", "\x03"] {
        let mut terminal = started();
        terminal.send(keys);
        assert!(terminal.end().success());
        assert_given_back(&terminal);
    }
}

fn leaves_a_paused_job() {
    let mut stage = Stage::new();
    let turn = stage.path("turn");
    let workers = stage.play("site-worker", &["role=site-worker", turn.to_str().unwrap()]);
    let job = stage.script("nightly.sh", r#"echo $$ >"$1/turn"; sleep 600; :"#);
    let id = || Some(format!("tree:{job}@{}", stat_field(job, 19)?));
    wait_until("the script sleeps", || session(job).len() == 2);
    let trace = stage.path("actions.log");
    let here = format!("WHYTOP_RUNTIME_DIR={}", stage.folder.path().display());
    let whytop = |arguments: &[&str]| [&[&*here, WHYTOP, "--trace", trace.to_str().unwrap()], arguments].concat().join(" ");
    let run = |arguments: &[&str]| Command::new("sh").args(["-c", &format!("env {}", whytop(arguments))]).output().unwrap();
    wait_until("the workers are stuck", || in_state_d(workers) == STUCK);
    // Nobody is accused here: whoever wants to know what comes of it says for how long he waits for that.
    let url = format!("http://{}/", site(workers));
    let paused = run(&["pause", "--yes", "--json", "--watch", "30", "--probe", &url, "--job", &id().unwrap()]);
    assert!(paused.status.success(), "{}", String::from_utf8_lossy(&paused.stderr));
    let told: serde_json::Value = serde_json::from_slice(&paused.stdout).unwrap();
    let recovery = &told["recovery"];
    let [before, after, when] = ["waiting_before", "waiting_after", "recovered_after_s"].map(|name| recovery[name].as_f64());
    assert!(before >= Some(STUCK as f64 * 0.75) && after <= Some(STUCK as f64 * 0.4) && when.is_some(), "{told:#}");
    let site = &recovery["site"];
    assert_eq!((&site["well_before"], &site["well_after"]), (&false.into(), &true.into()), "{told:#}");
    assert!(recovery["sentence"].as_str().unwrap().contains("the site answers again: 200 in "), "{told:#}");
    let mut terminal = Terminal::start(Path::new("/bin/sh"), &["-c", &format!("exec env {}", whytop(&[]))], 120, 40);
    terminal.wait_for(&["LOAD", "PAUSED", "nightly.sh"]);
    terminal.send("q");
    assert!(terminal.end().success());
    let told = format!("whytop: nightly.sh is still paused (2 processes): whytop resume --job '{}' lets it go on", id().unwrap());
    terminal.wait("whoever leaves is told", |screen| {
        !screen.alternate_screen() && screen.contents().replace('\n', "").contains(&told)
    });
    let resumed = run(&["resume", "--yes", "--job", &id().unwrap()]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    wait_until("it goes on", || stat_field(job, 0).as_deref() == Some("S"));
}

fn signal(terminal: &Terminal, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(terminal.pid()).unwrap(), signal).unwrap();
}

fn signals() {
    for kind in [rustix::process::Signal::TERM, rustix::process::Signal::HUP, rustix::process::Signal::INT] {
        let mut terminal = started();
        signal(&terminal, kind);
        terminal.end();
        assert_given_back(&terminal);
    }
}

fn panics() {
    let mut terminal = Terminal::start(&env::current_exe().unwrap(), &["role=panic"], 80, 24);
    assert!(!terminal.end().success());
    assert_given_back(&terminal);
    terminal.wait_for(&["the test panics here"]);
}

fn hang_up() {
    let took = started().hang_up();
    assert!(took < Duration::from_secs(1), "it went on for {took:?}");
}

fn stop_and_continue() {
    let mut terminal = started();
    terminal.send("\x1a");
    let pid = terminal.pid();
    wait_until("it is stopped", || stat_field(pid, 0).as_deref() == Some("T"));
    assert_given_back(&terminal);
    signal(&terminal, rustix::process::Signal::CONT);
    terminal.wait("the screen is back", |screen| screen.alternate_screen() && screen.contents().contains("LOAD"));
    assert!(!terminal.is_cooked());
    terminal.send("q");
    assert!(terminal.end().success());
}

fn sizes() {
    let mut terminal = started();
    for (columns, rows) in [(1, 1), (20, 5), (200, 60), (1, 1), (80, 24)] {
        terminal.resize(columns, rows);
    }
    terminal.wait_for(&["LOAD"]);
    terminal.send("q");
    assert!(terminal.end().success());
}

/// What this program does when it plays a part in its own tests.
#[allow(unsafe_code, reason = "state D without root takes clone(CLONE_VFORK), for which no safe wrapper exists")]
mod roles {
    use std::fs;
    use std::io::{Read, Write};
    use std::path::Path;
    use std::process::exit;
    use std::time::Duration;

    use super::STUCK;

    /// Processes that sit in uninterruptible sleep while whoever is named in this file works, and live on.
    pub fn site_workers(turn: &Path) -> ! {
        for _ in 0..STUCK {
            // SAFETY: this process has one thread, and so have its children, each with memory of its own.
            unsafe {
                if libc::fork() == 0 {
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    loop {
                        wait_while(|| !is_taken(turn));
                        let child = libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0);
                        if child == 0 {
                            // The parent stays in D until this child is gone.
                            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                            wait_while(|| is_taken(turn));
                            libc::_exit(0);
                        }
                        libc::waitpid(child as i32, std::ptr::null_mut(), 0);
                    }
                }
            }
        }
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    }

    fn wait_while(condition: impl Fn() -> bool) {
        while condition() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the process of this file lives, and does not stand still.
    fn is_taken(turn: &Path) -> bool {
        let pid = fs::read_to_string(turn).ok().and_then(|text| text.trim().parse().ok());
        pid.and_then(|pid| super::stat_field(pid, 0)).is_some_and(|state| !matches!(state.as_str(), "T" | "Z" | "X"))
    }

    /// Stores what it is given, a megabyte a second of it: the backup takes longer than the test.
    pub fn store(file: &Path) -> ! {
        let mut file = fs::File::create(file).unwrap();
        let mut some = vec![0; 1 << 16];
        while let Ok(count @ 1..) = std::io::stdin().read(&mut some) {
            file.write_all(&some[..count]).unwrap();
            std::thread::sleep(Duration::from_millis(64));
        }
        exit(0);
    }

    /// Keeps a CPU busy.
    pub fn busy() -> ! {
        loop {
            std::hint::black_box(0);
        }
    }

    /// Opens the screen as the program does, and panics.
    pub fn panic_on_the_screen() -> ! {
        let _screen = whytop::ui::terminal::Guard::enter();
        let stop = std::panic::catch_unwind(|| panic!("the test panics here"));
        exit(i32::from(stop.is_err()) * 101);
    }
}
