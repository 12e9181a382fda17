//! What this program does when it plays a part: it comes on stage in a session of its own, says that it is ready, waits for its cue, and
//! acts until it is ended.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::stdin;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, exit};
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal, setsid};
use rustix::time::{ClockId, clock_gettime};
use whytop::history::Limits;
use whytop::kernel::{Choice, ProcRoot, Reader, WatchedReader};
use whytop::monitor::Monitor;
use whytop::report;
use whytop::sampler::{Config, Sampler, Seen};

use super::fuse;

/// In the environment: the control groups to join.
pub const GROUPS: &str = "WHYTOP_LIVE_GROUPS";
/// Of memory and disks.
const PAGE: usize = 4096;

/// Plays this role, as its arguments say.
pub fn play(role: &str, arguments: &[String]) -> ! {
    // Whatever becomes of the test.
    set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    if role == "watch" {
        watch();
    }
    setsid().unwrap();
    let groups = env::var_os(GROUPS).unwrap_or_default();
    for group in env::split_paths(&groups).filter(|group| group.is_absolute()) {
        fs::write(group.join("cgroup.procs"), "0").unwrap();
    }
    let text = |at: usize| arguments[at].as_str();
    let number = |at: usize| arguments[at].parse::<u64>().unwrap();
    let threads = || number(0) as usize;
    match role {
        "burn" => {
            cue();
            each(threads(), |_| loop_for_good(|| {}));
        }
        "serve" => {
            let (work, rest) = (Duration::from_micros(number(1)), Duration::from_micros(number(2)));
            cue();
            each(threads(), |_| loop_for_good(|| serve(work, rest)));
        }
        "read" => {
            let (path, bytes, rest) = (Path::new(text(1)), number(2) as usize, Duration::from_micros(number(3)));
            File::open(path).unwrap();
            cue();
            each(threads(), |_| read(path, bytes, rest));
        }
        "sync" => {
            let (folder, bytes, rest) = (Path::new(text(1)), number(2) as usize, Duration::from_micros(number(3)));
            cue();
            each(threads(), |thread| sync(&folder.join(format!("{}-{thread}", std::process::id())), bytes, rest));
        }
        "append" => {
            let files: Vec<File> = (0..threads()).map(|thread| File::create(format!("{}-{thread}", text(1))).unwrap()).collect();
            cue();
            each(threads(), |thread| once(|| drop(files[thread].write_at(&[1; PAGE], 0))));
        }
        "fetch" => {
            let file = File::open(text(1)).unwrap();
            cue();
            each(threads(), |thread| once(|| drop(file.read_at(&mut [0; PAGE], (thread * 8 * PAGE) as u64))));
        }
        "fill" => {
            let (folder, bytes) = (Path::new(text(1)), number(2));
            cue();
            each(threads(), |thread| fill(&folder.join(format!("fill-{thread}")), bytes));
        }
        "hold" => {
            let bytes = number(0) as usize;
            cue();
            hold(bytes);
        }
        "vfork" => {
            cue();
            each(threads(), |_| once(wait_for_a_child));
        }
        "fuse" => {
            let say = |mounted: Result<(), String>| println!("{}", mounted.map_or_else(|why| why, |()| "ready".to_owned()));
            fuse::serve(Path::new(text(0)), text(1), say);
        }
        "exec" => {
            cue();
            panic!("{}", Command::new(text(0)).args(&arguments[1..]).exec());
        }
        other => panic!("no role is called {other}"),
    }
    exit(0)
}

/// Waits for its cue; without one it is over.
fn cue() {
    println!("ready");
    if stdin().read_line(&mut String::new()).unwrap() == 0 {
        exit(0);
    }
}

/// So many threads do the same; over when all are.
fn each(threads: usize, act: impl Fn(usize) + Sync) {
    let act = &act;
    thread::scope(|scope| {
        for thread in 0..threads {
            let builder = thread::Builder::new().stack_size(128 << 10);
            builder.spawn_scoped(scope, move || act(thread)).unwrap();
        }
    });
}

fn loop_for_good(mut act: impl FnMut()) {
    loop {
        act();
        std::hint::black_box(());
    }
}

/// And rests when that is over.
fn once(act: impl FnOnce()) {
    act();
    loop {
        thread::park();
    }
}

/// A request: it takes so much of a CPU, however long that takes.
fn serve(work: Duration, rest: Duration) {
    let used = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let end = used() + work;
    while used() < end {}
    thread::sleep(rest);
}

/// Reads at random and past the cache, for good.
fn read(path: &Path, bytes: usize, rest: Duration) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).unwrap();
    let places = file.metadata().unwrap().len() / bytes as u64;
    let mut room = vec![0; bytes + PAGE];
    let aligned = room.as_ptr().align_offset(PAGE);
    let buffer = &mut room[aligned..aligned + bytes];
    loop {
        file.read_exact_at(buffer, fastrand::u64(..places) * bytes as u64).unwrap();
        if !rest.is_zero() {
            thread::sleep(rest);
        }
    }
}

/// Writes and waits until it is on the disk, for good.
fn sync(path: &Path, bytes: usize, rest: Duration) {
    let file = File::create(path).unwrap();
    let data = vec![1; bytes];
    loop {
        for at in 0..16 {
            file.write_all_at(&data, at * bytes as u64).unwrap();
            file.sync_all().unwrap();
            thread::sleep(rest);
        }
        file.set_len(0).unwrap();
    }
}

/// Writes into the cache, for good, and never the same twice: it keeps coming to the limit of its memory.
fn fill(path: &Path, bytes: u64) {
    let data = vec![1; 64 << 10];
    let file = loop {
        // One that finds no memory tries again, here and below.
        match File::create(path) {
            Ok(file) => break file,
            Err(_) => thread::yield_now(),
        }
    };
    loop {
        for at in (0..bytes).step_by(data.len()) {
            let _ = file.write_all_at(&data, at);
        }
        let _ = file.set_len(0);
    }
}

/// Holds memory for good, and keeps coming back to all of it.
fn hold(bytes: usize) -> ! {
    let mut held = vec![1_u8; bytes];
    loop {
        held.iter_mut().step_by(PAGE).for_each(|byte| *byte = byte.wrapping_add(1));
        thread::sleep(Duration::from_millis(20));
    }
}

/// A parent waits in D for its child's exec, and this child never calls it.
#[expect(unsafe_code, reason = "only the kernel can make a task wait like this")]
fn wait_for_a_child() {
    // SAFETY: without CLONE_VM the child has its own copy of everything, and does nothing but wait for its end.
    unsafe {
        if libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0) == 0 {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
}

/// Prints each diagnosis as one line of JSON, as the screen would draw it.
fn watch() -> ! {
    let make = || Reader::with_loader(ProcRoot::open(Path::new("/proc"))?, Choice::Auto, Path::new(env!("CARGO_BIN_EXE_whytop")));
    let mut reader = WatchedReader::start(make).unwrap();
    let mut monitor = Monitor::new(&reader.facts().unwrap(), Limits::default());
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let interval = Duration::from_secs(1);
    let _sampler = Sampler::start(reader, Config { interval }, move |seen| {
        let _ = &end;
        if let Seen::Sample(sample) = seen.unwrap() {
            let json = report::json(&monitor.ingest(*sample), None).unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            println!("{value}");
        }
        ControlFlow::Continue(())
    });
    let _ = ended.recv();
    exit(1)
}
