//! Whatever strangers write: any bytes in the files of a process or of the host, any command line, any control group, any flag. No
//! panic, no failed sample, no field moved by a name, nothing on the screen that a terminal would obey.
//!
//! Through the public ways in: made-up trees for [`Reader`], samples for [`Monitor`], argument lists for [`Cli`]. The parsers of
//! single lines have properties of their own beside them. `PROPTEST_CASES` makes it longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Parser;
use common::fake_proc::FakeProc;
use jiff::tz::TimeZone;
use proptest::{collection::vec, prelude::*, sample::select};
use whytop::{
    analysis::kind::{Catalogue, catalogue::DATA},
    cli::Cli,
    history::Limits,
    kernel::{ProcRoot, Reader},
    monitor::Monitor,
    report,
    sample::{Gap, Host, HostFacts, Identity, IoBytes, Process, Sample, Task, TaskState, Wait},
    units::{ProcessId, TaskId, clean},
};

const LONG: Duration = Duration::from_secs(10);

/// What is allowed in text that goes to a terminal.
fn is_harmless(text: &str) -> bool {
    let hidden = |c: char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    !text.chars().any(|c| (c.is_control() && c != '\n') || hidden(c))
}

/// Without the styles that whytop itself gives it, of which those of a stranger cannot be told: in JSON they would show.
fn without_styles(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |done, piece| match piece.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').strip_prefix('m') {
        Some(rest) => done + rest,
        None => done + "\u{1b}[" + piece,
    })
}

/// Every string in a document that is for people: the name of a job for programs is what the kernel says, whatever that is.
fn strings(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Array(values) => values.iter().flat_map(strings).collect(),
        serde_json::Value::Object(values) => {
            let ids = ["id", "job", "culprit", "backup", "victims"];
            values.iter().filter(|(name, _)| !ids.contains(&name.as_str())).flat_map(|(_, value)| strings(value)).collect()
        }
        _ => Vec::new(),
    }
}

/// Folds a sample into a verdict and prints it both ways.
fn digest(monitor: &mut Monitor, sample: Sample) -> Result<(), TestCaseError> {
    let diagnosis = monitor.ingest(sample);
    let text = without_styles(&report::text(&diagnosis, None, &TimeZone::UTC));
    prop_assert!(is_harmless(&text), "{:?}", text);
    let json = report::json(&diagnosis, None).expect("it can be told in JSON");
    let value: serde_json::Value = serde_json::from_str(&json).expect("what is printed is JSON");
    prop_assert_eq!(&value["schema"], 1);
    prop_assert!(strings(&value).iter().all(|text| is_harmless(text) && !text.contains('\n')), "{:#}", value);
    for job in &diagnosis.jobs {
        prop_assert!((0.0..=1.0).contains(&job.facts.finding.confidence), "{:?}", job.facts.finding);
        let words = job.facts.finding.evidence.iter().map(|evidence| &evidence.text).chain([&job.facts.name]);
        for text in words.chain(job.facts.members.iter().map(|member| &member.command)) {
            prop_assert!(is_harmless(text) && !text.contains('\n'), "{:?}", text);
        }
    }
    Ok(())
}

/// Bytes that are like those of a file, and bytes that are like nothing.
fn like(file: &'static [u8]) -> BoxedStrategy<Vec<u8>> {
    let words = [
        "0",
        "-1",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999",
        "1e400",
        "nan",
        ")",
        "(",
        ") R 1 (",
        "\0",
        "\n",
        " ",
        ":",
        "é",
        "\u{2028}",
        "kB",
        "\x1b]0;x\x07",
        "[",
        "]",
        "=",
        "/",
    ];
    let words = select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec());
    let piece = prop_oneof![words.clone(), vec(any::<u8>(), 0..6)];
    // Some pieces in place of some of what is there.
    let spliced = vec((any::<prop::sample::Index>(), 0..8_usize, piece), 1..6).prop_map(move |pieces| {
        let mut bytes = file.to_vec();
        for (at, less, piece) in pieces {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..(at + less).min(bytes.len()), piece);
        }
        bytes
    });
    // A word in place of another: what is left is a line, and makes sense but for that.
    let number = select(vec!["0", "18446744073709551615", "-1"]).prop_map(|word| word.as_bytes().to_vec());
    // Numbers that are none, or as large as there are.
    let renumbered = vec(prop::option::of(number), 80).prop_map(move |numbers| {
        let mut numbers = numbers.into_iter().cycle();
        let words =
            file.split_inclusive(u8::is_ascii_whitespace).map(|word| match (word.trim_ascii(), numbers.next().flatten()) {
                (digits, Some(number)) if digits.iter().all(u8::is_ascii_digit) => [&number, &word[digits.len()..]].concat(),
                _ => word.to_vec(),
            });
        words.collect::<Vec<_>>().concat()
    });
    let reworded = vec((any::<prop::sample::Index>(), words.clone()), 1..4).prop_map(move |pieces| {
        let mut all: Vec<Vec<u8>> = file.split_inclusive(u8::is_ascii_whitespace).map(<[u8]>::to_vec).collect();
        for (at, piece) in pieces {
            let word = at.get_mut(&mut all);
            let end = word.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |last| last + 1);
            word.splice(..end, piece);
        }
        all.concat()
    });
    let cut = any::<prop::sample::Index>().prop_map(move |end| file[..end.index(file.len() + 1)].to_vec());
    prop_oneof![3 => spliced, 2 => reworded, 2 => renumbered, 1 => cut, 1 => vec(any::<u8>(), 0..300), 1 => vec(Just(0), 0..3)]
        .boxed()
}

const STAT: &[u8] = b"7 (sh) S 1 7 7 34816 -1 4194304 1 2 3 4 500 60 7 8 20 -5 2 0 9876 1234 5 18446744073709551615\n";
const IO: &[u8] = b"rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";

/// A file of process 7 or of its second thread, with something in it.
fn process_file() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let status = b"Name:\tx\nUid:\t1000\t33\t0\t0\nGid:\t1\t1\t1\t1\n";
    let cgroup = b"4:memory:/docker/1:2\n1:name=systemd:/system.slice/cron.service\n0::/system.slice/nginx.service\n";
    let one = |name: &'static str, file: &'static [u8]| like(file).prop_map(move |bytes| (name, bytes));
    prop_oneof![
        one("stat", STAT),
        one("task/8/stat", STAT),
        one("schedstat", b"123456 789 12\n"),
        one("task/8/schedstat", b"123456 789 12\n"),
        one("io", IO),
        one("wchan", b"io_schedule"),
        one("syscall", b"0 0x3 0x7f12 0x1000 0x0 0x0 0x0 0x7ffd 0x7f34\n"),
        one("status", status),
        one("cgroup", cgroup),
        one("cmdline", b"/bin/sh\0-c\0tar cf - /srv | gzip >/mnt/nas/x.gz\0"),
    ]
}

/// A file of the whole host.
fn host_file() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let memory = b"MemTotal: 1024 kB\nMemFree: 1 kB\nMemAvailable: 5 kB\nBuffers: 1 kB\nCached: 1 kB\nSwapCached: 1 kB\nActive: 1 kB\n\
        Inactive: 1 kB\nSwapTotal: 9 kB\nSwapFree: 8 kB\nDirty: 1 kB\nWriteback: 1 kB\nMapped: 1 kB\nSlab: 1 kB\nCommitted_AS: 1 kB\n\
        VmallocTotal: 1 kB\nVmallocUsed: 1 kB\nVmallocChunk: 1 kB\n";
    let pressure = b"some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=1\n";
    let one = |name: &'static str, file: &'static [u8]| like(file).prop_map(move |bytes| (name, bytes));
    prop_oneof![
        one("stat", b"cpu  100 0 50 1000 20 0 0 0 0 0\ncpu0 100 0 50 1000 20 0 0 0 0 0\nprocesses 77\nprocs_running 3\n"),
        one("loadavg", b"0.52 0.41 0.33 1/200 4711\n"),
        one("uptime", b"86400.00 172000.00\n"),
        one("meminfo", memory),
        one("diskstats", b"   8 0 sda 10 0 80 5 20 0 160 7 0 9 12 0 0 0 0\n   8 1 sda1 1 0 8 5 2 0 1 7 0 9 12\n"),
        one("pressure/cpu", pressure),
        one("pressure/io", pressure),
        one("pressure/memory", pressure),
    ]
}

fn monitor(reader: &Reader) -> Monitor {
    Monitor::new(&reader.facts(), Limits::default())
}

fn reader(path: &Path) -> Reader {
    Reader::new(ProcRoot::open(path).unwrap()).unwrap()
}

/// Samples until every command line that was asked for has come. A thread that panics over one is never heard of again.
fn look_until_all_is_read(reader: &mut Reader, monitor: &mut Monitor) -> Result<(), TestCaseError> {
    let begin = Instant::now();
    loop {
        let asked = reader.sample().unwrap();
        reader.settle(LONG);
        let answered = reader.sample().unwrap();
        let overdue = answered.gaps.iter().any(|gap| matches!(gap, Gap::IdentityOverdue { .. }));
        for sample in [asked, answered] {
            prop_assert!(!sample.gone_processes.iter().any(|id| id.pid == 1), "it cost another row");
            digest(monitor, sample)?;
        }
        if !overdue {
            return Ok(());
        }
        prop_assert!(begin.elapsed() < LONG, "a reader of command lines is lost");
    }
}

/// Fewer cases where each takes a tree of files.
fn trees() -> ProptestConfig {
    let all = ProptestConfig::default();
    // A thread that is lost takes ten seconds to be missed.
    ProptestConfig { cases: all.cases.div_ceil(4), max_shrink_time: 20_000, ..all }
}

proptest! {
    #![proptest_config(trees())]

    #[test]
    fn any_bytes_about_a_process_cost_no_sample(
        before in vec(process_file(), 0..3),
        after in vec(process_file(), 1..4),
        state in select(vec!['S', 'D', 'R', 'Z']),
    ) {
        let proc = FakeProc::new();
        proc.process(1, "init").parent(0).write();
        let shell = proc.process(7, "sh").thread(8, "w", state).state(state).wait("io_schedule", "0").write();
        let write = |files: &[(&str, Vec<u8>)]| {
            for (name, bytes) in files {
                fs::write(proc.path().join("7").join(name), bytes).unwrap();
            }
        };
        write(&before);
        let mut reader = reader(proc.path());
        let mut monitor = monitor(&reader);
        look_until_all_is_read(&mut reader, &mut monitor)?;
        // Another name, so that it is asked who it is now.
        shell.ran(1).comm("tar").write();
        write(&after);
        look_until_all_is_read(&mut reader, &mut monitor)?;
    }

    #[test]
    fn any_name_moves_no_field(comm in vec(any::<u8>(), 0..64), letter in select(vec!['S', 'D', 'T', 'Z'])) {
        let proc = FakeProc::new();
        let written = proc.process_of_bytes(7, &comm).parent(3).group(5, 6).nice(-7).state(letter).write();
        let sample = reader(proc.path()).sample().unwrap();
        let [process] = &sample.processes[..] else { panic!("{sample:?}") };
        let fields = (process.id, process.parent, process.group, process.session, process.nice);
        prop_assert_eq!(fields, (written.id(), 3, 5, 6, -7));
        prop_assert_eq!(process.comm.as_str(), String::from_utf8_lossy(&comm));
        let state = match letter { 'S' => TaskState::Sleeping, 'D' => TaskState::Uninterruptible, 'T' => TaskState::Stopped, _ => TaskState::Dead };
        prop_assert_eq!(sample.tasks[0].state, state);
    }

}

proptest! {
    #[test]
    fn any_bytes_about_the_host_are_a_gap(before in vec(host_file(), 0..3), after in vec(host_file(), 1..4)) {
        let proc = FakeProc::new();
        proc.process(7, "sh").write();
        let mut reader = reader(proc.path());
        let mut monitor = monitor(&reader);
        for files in [before, after, Vec::new()] {
            for (name, bytes) in &files {
                fs::write(proc.path().join(name), bytes).unwrap();
            }
            let sample = reader.sample().unwrap();
            prop_assert!(sample.cost.tasks == 1);
            digest(&mut monitor, sample)?;
            let _ = reader.facts();
        }
    }

    #[test]
    fn nothing_that_a_terminal_obeys_survives_cleaning(text in r"(\PC|\pC|[\x00-\x1f\x7f-\x9f]|\x1b\[[0-9;?]{0,4}[a-zA-Z]|\x1b\]0;[a-z]\x07|[\u{200b}-\u{202e}\u{2060}-\u{2069}\u{feff}\u{61c}]){0,40}") {
        let cleaned = clean(&text);
        prop_assert!(is_harmless(&cleaned) && !cleaned.contains('\n'), "{:?}", cleaned);
        prop_assert_eq!(clean(&cleaned), cleaned.as_str(), "what is clean stays as it is");
        if !text.contains('\\') && is_harmless(&text) && !text.contains(['\n', '\u{feff}']) {
            prop_assert_eq!(cleaned, text);
        }
    }

    #[test]
    fn an_interval_is_in_its_range_or_refused(text in r"(-|\+)?([0-9]{1,20}|[0-9]{1,3}(\.[0-9]{1,12})?|)( ?(ms|s|m|h|us|ns|d|w|y|é|\PC)){0,2}|PT?[0-9]{0,19}[SMHD]|\PC{0,12}") {
        if let Ok(cli) = Cli::try_parse_from(["whytop", &format!("--interval={text}")]) {
            prop_assert!((Duration::from_millis(250)..=Duration::from_mins(1)).contains(&cli.interval), "{:?}", cli.interval);
        }
    }
}

/// Every name that the catalogue knows, and words that command lines are made of.
fn vocabulary() -> Vec<String> {
    assert!(!Catalogue::built_in().is_empty());
    let lines = DATA.iter().flat_map(|(_, text)| text.lines());
    let quoted = lines.filter(|line| !line.starts_with('#')).flat_map(|line| line.split('"').skip(1).step_by(2));
    let mut words: Vec<String> = quoted.filter(|word| word.len() < 24).map(str::to_owned).collect();
    let more = [
        "sh",
        "bash",
        "-c",
        "-lc",
        "-ec",
        "python3.11",
        "-m",
        "env",
        "A=b",
        "su",
        "--command",
        "flock",
        "-n",
        "timeout",
        "5",
        "docker",
        "exec",
        "kubectl",
        "--",
        "-",
        "--",
        "-o",
        "-f",
        "-",
        "if=/dev/sda",
        "of=/mnt/nas/a.img",
        "/",
        "/srv",
        "/etc",
        ".",
        "cf",
        "czf",
        "-cvzf",
        "x",
        "host:",
        "host:/backup",
        "rsync://n/m",
        "s3://bucket/x",
        "--link-dest=/a",
        "--sender",
        "--server",
        "\"",
        "'",
        "\"a",
        "'b c'",
        "`",
        "$(",
        ")",
        "|",
        "&&",
        ";",
        ">",
        "2>",
        "2>&1",
        "<",
        "é",
        "\u{1b}[2J",
        "\u{202e}",
        "\0",
        "",
        " ",
        "tar c /srv | gzip -9 >/mnt/x-$(date +%F).gz",
        "[kworker/0:1]",
        "nginx: worker process",
        "postgres: walsender ann 10.0.0.2(4022) sending backup \"x\"",
        "/usr/bin/é",
        "-é",
        "--é=",
        "20240511",
        "2024-05-11",
    ];
    words.extend(more.map(str::to_owned));
    words
}

fn text() -> impl Strategy<Value = String> {
    let word = select(vocabulary());
    prop_oneof![
        6 => word.clone(),
        2 => (word.clone(), select(vec!["/usr/bin/", "-", "--", "/srv/", "./", "é/", "=", ""])).prop_map(|(word, before)| format!("{before}{word}")),
        1 => vec(word, 0..8).prop_map(|words| words.join(" ")),
        1 => r"\PC{0,12}",
        1 => r#"[a-z'"`$()|&;<> 2é-]{0,40}"#,
    ]
}

fn control_group() -> impl Strategy<Value = String> {
    let id = "3f4e5a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f7081";
    let parts = vec![
        "system.slice",
        "nginx.service",
        "cron.service",
        ".service",
        ".scope",
        "session-3.scope",
        "run-r1.scope",
        "machine-x.scope",
        "docker",
        "lxc",
        "lxc.payload.",
        "lxc.payload.é",
        "kubepods",
        "docker-3f4e5a6b7c8d.scope",
        "cri-containerd:",
        ":",
        "é.service",
        "user@1000.service",
        "init.scope",
        "sshd@4-é.service",
        "",
        id,
    ];
    vec(select(parts), 0..6).prop_map(|parts| parts.iter().fold(String::new(), |path, part| path + "/" + part))
}

/// A number that a counter may stand at: small, or as large as there are.
fn counter() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_000_000_000_u64, any::<u64>()]
}

#[derive(Clone, Debug)]
struct Stranger {
    pid: i32,
    parent: i32,
    start: u64,
    comm: String,
    identity: Option<(Vec<String>, Option<String>, Option<String>)>,
    counters: [u64; 4],
    state: TaskState,
    wchan: String,
}

fn stranger() -> impl Strategy<Value = Stranger> {
    let states = vec![TaskState::Runnable, TaskState::Uninterruptible, TaskState::Sleeping, TaskState::Stopped, TaskState::Dead];
    let identity = (vec(text(), 0..7), prop::option::of(text()), prop::option::of(control_group()));
    let who = (1..12_i32, 0..12_i32, prop_oneof![0..200_u64, any::<u64>()], text());
    let what =
        ([counter(), counter(), counter(), counter()], select(states), prop_oneof![Just("io_schedule".to_owned()), text()]);
    (who, prop::option::of(identity), what).prop_map(|((pid, parent, start, comm), identity, (counters, state, wchan))| {
        Stranger { pid, parent, start, comm, identity, counters, state, wchan }
    })
}

fn sample_of(strangers: &[Stranger], second: u64) -> Sample {
    let now = second * 1_000_000_000;
    let mut sample = Sample {
        at: jiff::Timestamp::from_second(1_700_000_000 + second.cast_signed()).unwrap(),
        since_boot: now,
        keyframe: true,
        host: Host::default(),
        processes: Vec::new(),
        tasks: Vec::new(),
        gone_processes: Vec::new(),
        gone_tasks: Vec::new(),
        clocks: Vec::new(),
        awake: Vec::new(),
        storage: None,
        open_files: Vec::new(),
        resident: Vec::new(),
        cgroups: Vec::new(),
        identities: Vec::new(),
        gaps: Vec::new(),
        cost: whytop::sample::Cost::default(),
    };
    for stranger in strangers {
        let id = ProcessId { pid: stranger.pid, start: stranger.start };
        if sample.processes.iter().any(|process| process.id.pid == id.pid) {
            continue;
        }
        let [cpu, delay, read, written] = stranger.counters.map(|counter| counter.saturating_mul(second));
        sample.processes.push(Process {
            id,
            parent: stranger.parent,
            group: stranger.parent,
            session: stranger.parent,
            tty: 0,
            comm: stranger.comm.as_str().into(),
            kernel_thread: stranger.parent == 2,
            forked_only: false,
            zombie: stranger.state == TaskState::Dead,
            nice: 0,
            io: (stranger.parent != 3).then_some(IoBytes { read, written, read_any: read, written_any: written }),
        });
        let wait = Wait {
            wchan: Some(stranger.wchan.as_str().into()),
            syscall: Some(stranger.parent.cast_unsigned()),
            ..Wait::default()
        };
        let wait = (stranger.state == TaskState::Uninterruptible).then(|| Box::new(wait));
        let task = TaskId { tid: id.pid, start: id.start };
        sample.tasks.push(Task { id: task, pid: id.pid, state: stranger.state, cpu, run_delay: Some(delay), wait });
        if let Some((argv, exe, cgroup)) = stranger.identity.clone() {
            let identity =
                Arc::new(Identity { argv, exe, uid: Some(0), user: Some(stranger.comm.clone()), cgroup, ..Identity::default() });
            sample.identities.push((id, identity));
        }
    }
    sample
}

proptest! {
    #[test]
    fn any_processes_make_a_verdict(strangers in vec(stranger(), 1..12), later in vec(stranger(), 0..3)) {
        let facts = HostFacts { name: "\u{1b}[2J".to_owned(), kernel: "x".to_owned(), cpus: 2, ticks_per_second: 100, own_pid: None, root: true };
        let mut monitor = Monitor::new(&facts, Limits::default());
        digest(&mut monitor, sample_of(&strangers, 1))?;
        digest(&mut monitor, sample_of(&strangers, 2))?;
        let strangers: Vec<Stranger> = later.into_iter().chain(strangers).collect();
        digest(&mut monitor, sample_of(&strangers, 3))?;
    }
}
