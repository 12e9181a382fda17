//! Real tools, really running: backups and what only looks like them, all on stage at once, below a launcher called cron. Some look must
//! name each of them for what it is, and no look may call one of them something else again. A tool that is not installed is skipped, and
//! named; `WHYTOP_TOOLS_WANTED=8` says how many backup tools, and how many others, must be there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// whytop looks until it has seen everything at work. The first look may come while repositories are still being made, and a look-alike that
/// runs over and over may be between two runs. Nobody waits this long but where something is wrong.
const LONGEST: Duration = Duration::from_mins(3);
/// So many looks there are at the least: a kind that changes from one to the next must have the chance to.
const LOOKS: usize = 3;

/// A line for the launcher, and what must be said of it.
struct Act {
    name: &'static str,
    /// What must be installed.
    needs: &'static str,
    /// A shell line; `T` stands for the folder of the stage.
    line: String,
    wants: Wants,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wants {
    /// A backup, by this tool.
    Backup(&'static str),
    /// A backup whose other end is on the stage, too: this is said of it.
    Pulled(&'static str),
    /// Anything but a backup, by this program, which is to be seen at it.
    Other(&'static str),
}

impl Wants {
    /// What is to be seen at work and is no backup.
    fn program(self) -> Option<&'static str> {
        if let Self::Other(program) = self { Some(program) } else { None }
    }
}

fn act(name: &'static str, needs: &'static str, line: &str, wants: Wants) -> Act {
    Act { name, needs, line: line.to_owned(), wants }
}

fn acts() -> Vec<Act> {
    let backup = |tool: &'static str| Wants::Backup(tool);
    let mut acts = vec![
        act("tar", "tar", "tar -czf T/backup/usr-2026-03-01.tar.gz /usr", backup("tar")),
        act("rsync push", "rsync", "rsync -a --delete --numeric-ids --bwlimit=8M /usr/ T/backup/tree/", backup("rsync")),
        act(
            "rsync pull",
            "rsync",
            "rsync -a --bwlimit=8M -e T/sshd web1:/usr/ T/pulled/",
            Wants::Pulled("rsync sends files of this host to one that asked for them"),
        ),
        act("borg", "borg", "borg init -e none T/borg && borg create T/borg::a /usr", backup("borg")),
        act("restic", "restic", "restic -r T/restic init && restic -r T/restic backup /usr", backup("restic")),
        act("duplicity", "duplicity", "duplicity full --no-encryption /usr file://T/duplicity", backup("duplicity")),
        act("rdiff-backup", "rdiff-backup", "rdiff-backup backup /usr T/rdiff", backup("rdiff-backup")),
        act("dar", "dar", "dar -c T/backup/usr -R /usr -z1 -Q", backup("dar")),
        act("apt unpack", "dpkg-deb", "while :; do dpkg-deb -x T/big.deb T/unpacked; done", Wants::Other("dpkg-deb")),
        act("git gc", "git", "while :; do git -C T/repo gc --aggressive --force; done", Wants::Other("git")),
        act("updatedb", "updatedb", "while :; do updatedb -l 0 -o T/files.db -U /usr; done", Wants::Other("updatedb")),
        act(
            "logrotate",
            "logrotate",
            "while :; do cp T/noise T/log/app.log; PATH=$PATH:/usr/sbin logrotate -f -s T/state T/rotate.conf; done",
            Wants::Other("logrotate"),
        ),
        act("tar -x", "tar", "while :; do tar -xzf T/release-42.tar.gz -C T/extracted; done", Wants::Other("tar")),
        act("rsync deploy", "rsync", "rsync -a --bwlimit=1M -e T/sshd T/app/dist/ web2:T/www/", Wants::Other("rsync")),
        act(
            "cargo build",
            "cargo",
            "cd T/crate && while :; do touch src/main.rs; cargo build --offline --target-dir T/crate/target; done",
            Wants::Other("cargo"),
        ),
        act("find", "find", "while :; do find /usr -type f -size +1M; done", Wants::Other("find")),
        act("sort", "sort", "while :; do sort -R -S 16M -T T T/lines; done", Wants::Other("sort")),
        act("less backup.log", "script", "sleep 600 | script -qfc 'less T/backup.log' /dev/null", Wants::Other("less")),
    ];
    if postgres().is_some() {
        acts.push(act("pg_dump", "pg_dump", "pg_dump -h T shop | gzip -9 > T/shop.sql.gz", backup("pg_dump")));
    } else {
        println!("skipped: no postgres server is installed to take a pg_dump of");
    }
    acts
}

/// The folder of a server's programs, the newest there is.
fn postgres() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    versions.filter(|bin| bin.join("initdb").exists()).max()
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// Everything that was started, which ends with it.
struct Stage {
    folder: TempDir,
    launcher: Option<Child>,
    /// The sessions of the lines.
    sessions: Vec<i32>,
    /// The server's programs and data.
    server: Option<(PathBuf, PathBuf)>,
}

impl Stage {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes what the tools work on.
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("stage.").tempdir().unwrap();
        let stage = Self { folder, launcher: None, sessions: Vec::new(), server: None };
        for name in [
            "backup",
            "pulled",
            "unpacked",
            "extracted",
            "log",
            "www",
            "app/dist",
            "crate/src",
            "deb/DEBIAN",
            "deb/opt/x",
            "repo",
        ] {
            fs::create_dir_all(stage.path(name)).unwrap();
        }
        // By these names they are known as launchers.
        stage.script(
            "cron",
            "#!/bin/sh\nfor line; do setsid /bin/sh -c \"$line\" </dev/null >/dev/null 2>&1 & echo $!; done\nwait\n",
        );
        stage.script("sshd", "#!/bin/sh\nshift\nsetsid \"$@\"\n");
        let mut noise = vec![0_u8; 24 << 20];
        fastrand::Rng::with_seed(1).fill(&mut noise);
        for name in ["noise", "app/dist/app.bin", "deb/opt/x/data.bin"] {
            fs::write(stage.path(name), &noise).unwrap();
        }
        let lines: Vec<String> = (0..400_000_u64).map(|number| (number * 7919 % 1_000_003).to_string()).collect();
        let lines = lines.join("\n");
        fs::write(stage.path("lines"), &lines).unwrap();
        fs::write(stage.path("backup.log"), &lines).unwrap();
        fs::write(stage.path("rotate.conf"), stage.fill("T/log/app.log {\n rotate 2\n compress\n missingok\n nocreate\n}\n"))
            .unwrap();
        fs::set_permissions(stage.path("rotate.conf"), Permissions::from_mode(0o644)).unwrap();
        fs::write(
            stage.path("deb/DEBIAN/control"),
            "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n",
        )
        .unwrap();
        fs::write(
            stage.path("crate/Cargo.toml"),
            "[package]\nname = \"x\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        )
        .unwrap();
        let functions = (0..3000).map(|n| format!("fn f{n}(x: u64) -> String {{ format!(\"{{}} {n}\", x + {n}) }}\n"));
        let calls = (0..3000).map(|n| format!("s += f{n}({n}).len();"));
        let program =
            functions.collect::<String>() + "fn main() { let mut s = 0;" + &calls.collect::<String>() + "println!(\"{s}\") }\n";
        fs::write(stage.path("crate/src/main.rs"), program).unwrap();
        for (tool, line) in [
            ("dpkg-deb", "dpkg-deb --root-owner-group -Znone -b T/deb T/big.deb"),
            ("tar", "tar -czf T/release-42.tar.gz -C T/deb opt"),
            (
                "git",
                "cd T/repo && git init -q . && cp -r T/lines /usr/share/perl5 /usr/share/doc/git . ; \
                 git add . && git -c user.name=a -c user.email=a@b commit -qm x",
            ),
        ] {
            let made = stage.command(&stage.fill(line)).status().is_ok_and(|status| status.success());
            assert!(made || !is_installed(tool), "{tool} has nothing to work on: {line}");
        }
        stage
    }

    /// A line with the folder's name in it.
    fn fill(&self, line: &str) -> String {
        line.replace("T/", &format!("{}/", self.folder.path().display()))
            .replace("-h T", &format!("-h {}", self.folder.path().display()))
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", line])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// A database server with something to dump.
    fn serve(&mut self, bin: &Path) -> bool {
        let data = self.path("pg");
        let own = self.folder.path().display().to_string();
        let root = rustix::process::geteuid().is_root();
        // The server refuses to run as root, and its socket lies in the folder.
        let user = if root { "runuser -u postgres -- " } else { "" };
        let (bin_shown, data_shown) = (bin.display(), data.display());
        let made = format!(
            "chmod 755 {own} && mkdir {data_shown} && {{ [ -z '{user}' ] || chown postgres {data_shown} && chmod 1777 {own}; }} \
             && {user}{bin_shown}/initdb -N -D {data_shown} -A trust -U postgres \
             && {user}{bin_shown}/pg_ctl -w -D {data_shown} -l {data_shown}/log -o \"-k {own} -c listen_addresses= -c fsync=off\" start \
             && createdb -h {own} -U postgres shop \
             && psql -h {own} -U postgres -c 'create table t as select md5(i::text) a, md5((i*7)::text) b from generate_series(1,700000) i' shop"
        );
        self.server = Some((bin.to_owned(), data));
        self.command(&made).status().is_ok_and(|status| status.success())
    }

    /// Starts all lines, each in a session of its own as cron does.
    fn play(&mut self, acts: &[Act]) {
        let lines = acts.iter().map(|act| self.fill(&act.line));
        let mut launcher = Command::new(self.path("cron"))
            .args(lines)
            .envs([
                ("RESTIC_PASSWORD", "x"),
                ("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes"),
                ("PGUSER", "postgres"),
                ("LESS", ""),
            ])
            .env("HOME_CACHE", self.folder.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("BORG_BASE_DIR", self.path("borg-base"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = BufReader::new(launcher.stdout.take().unwrap()).lines();
        self.sessions = told.take(acts.len()).map(|line| line.unwrap().parse().unwrap()).collect();
        self.launcher = Some(launcher);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut own: HashSet<i32> = self.sessions.iter().copied().collect();
        own.extend(self.launcher.as_ref().map(|launcher| launcher.id().cast_signed()));
        for _ in 0..100 {
            // Whoever is in one of the sessions, or was started by somebody who is ours.
            let all = processes();
            let mut ours: Vec<i32> = Vec::new();
            for _ in 0..8 {
                let found = all
                    .iter()
                    .filter(|(pid, parent, session, _)| own.contains(session) || own.contains(parent) || own.contains(pid));
                ours = found.map(|(pid, ..)| *pid).collect();
                own.extend(&ours);
            }
            for pid in &ours {
                let _ = Pid::from_raw(*pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            if let Some(launcher) = &mut self.launcher {
                let _ = launcher.try_wait();
            }
            if ours.is_empty() {
                break;
            }
            std::thread::yield_now();
        }
        if let Some(launcher) = &mut self.launcher {
            let _ = launcher.wait();
        }
        if let Some((bin, data)) = &self.server {
            let user = if rustix::process::geteuid().is_root() { "runuser -u postgres -- " } else { "" };
            let stop = format!("{user}{}/pg_ctl -D {} -m immediate -w stop", bin.display(), data.display());
            let _ = self.command(&stop).status();
        }
    }
}

/// Number, parent, session and name of every process that has not ended.
fn processes() -> Vec<(i32, i32, i32, String)> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    entries
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (begin, end) = stat.rsplit_once(')')?;
            let rest: Vec<&str> = end.split_whitespace().collect();
            let name = begin.split_once('(')?.1.to_owned();
            (rest[0] != "Z").then_some((pid, rest[1].parse().ok()?, rest[3].parse().ok()?, name))
        })
        .collect()
}

/// Every process of a line that is played, whatever session it has gone to.
fn processes_of(session: i32) -> HashSet<i32> {
    let all = processes();
    let mut own: HashSet<i32> = HashSet::from([session]);
    loop {
        let before = own.len();
        own.extend(
            all.iter()
                .filter(|(_, parent, of, _)| own.contains(parent) || *of == session)
                .map(|(pid, ..)| *pid)
                .collect::<Vec<_>>(),
        );
        if own.len() == before {
            return own;
        }
    }
}

/// The processes of this name in a line that is played.
fn running(program: &str, session: i32) -> HashSet<i32> {
    let own = processes_of(session);
    processes().into_iter().filter(|(pid, .., name)| own.contains(pid) && name == program).map(|(pid, ..)| pid).collect()
}

fn look() -> Value {
    let none = std::env::temp_dir().join("no-configuration");
    let mut whytop = Command::new(env!("CARGO_BIN_EXE_whytop"));
    let output = whytop.args(["once", "--json"]).env("XDG_CONFIG_HOME", none).env("WHYTOP_HOST_RULES", "").output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn jobs(answer: &Value) -> impl Iterator<Item = &Value> {
    answer["jobs"].as_array().unwrap().iter()
}

fn holds(job: &Value, pid: i32) -> bool {
    job["pids"].as_array().unwrap().iter().any(|one| *one == pid)
}

/// What is said of it: the job's kind, tool and evidence.
fn told(job: Option<&Value>) -> String {
    job.map_or_else(
        || "it is not there".to_owned(),
        |job| format!("{} {} {} {}", job["kind"], job["tool"], job["work"], job["evidence"]),
    )
}

#[test]
fn each_tool_is_taken_for_what_it_is() {
    let mut stage = Stage::new();
    let served = postgres().is_some_and(|bin| stage.serve(&bin));
    let (acts, missing): (Vec<Act>, Vec<Act>) = acts().into_iter().partition(|act| {
        is_installed(act.needs) && act.wants.program().is_none_or(is_installed) && (act.name != "pg_dump" || served)
    });
    for act in missing {
        println!("skipped: {} is not installed, or does not run here", act.needs);
    }
    let other = |act: &&Act| act.wants.program().is_some();
    let tools: HashSet<&str> = acts.iter().filter(|act| !other(act)).map(|act| act.needs).collect();
    let wanted = std::env::var("WHYTOP_TOOLS_WANTED").map_or(0, |number| number.parse().unwrap());
    assert!(
        tools.len() >= wanted && acts.iter().filter(other).count() >= wanted,
        "not {wanted} of each are installed: {tools:?}"
    );
    stage.play(&acts);
    let begun = Instant::now();
    let mut unseen: Vec<(&Act, i32)> = acts.iter().zip(stage.sessions.iter().copied()).collect();
    let mut last = Value::Null;
    let mut looks = 0;
    while (!unseen.is_empty() || looks < LOOKS) && begun.elapsed() < LONGEST {
        looks += 1;
        let on_stage = || -> Vec<HashSet<i32>> {
            let at_work = |(act, session): (&Act, &i32)| match act.wants {
                Wants::Other(_) => processes_of(*session),
                Wants::Backup(tool) => running(tool, *session),
                Wants::Pulled(_) => HashSet::new(),
            };
            acts.iter().zip(&stage.sessions).map(at_work).collect()
        };
        let others = unseen.iter().filter_map(|(act, session)| act.wants.program().map(|program| (program, *session)));
        let before: HashSet<i32> = others.clone().flat_map(|(program, session)| running(program, session)).collect();
        let first = on_stage();
        let answer = look();
        let then = on_stage();
        for (((act, session), first), then) in acts.iter().zip(&stage.sessions).zip(first).zip(then) {
            if other(&act) {
                // Whatever of it was cut out into a job of its own, too.
                let own = first.union(&then).chain([session]);
                let job = own.filter_map(|pid| jobs(&answer).find(|job| holds(job, *pid))).find(|job| job["kind"] == "backup");
                assert!(job.is_none(), "{}: {}", act.name, told(job));
            } else if let Some(pid) = first.intersection(&then).next()
                && !unseen.iter().any(|(_, unseen)| unseen == session)
            {
                // It was seen to be one, and its tool ran from before this look until after it.
                let job = jobs(&answer).find(|job| holds(job, *pid));
                assert!(job.is_some_and(|job| job["kind"] == "backup"), "{} is one no more: {}", act.name, told(job));
            }
        }
        unseen.retain(|(act, session)| {
            !jobs(&answer).any(|job| match act.wants {
                Wants::Pulled(says) => job["kind"] == "backup" && job["evidence"].to_string().contains(says),
                Wants::Backup(tool) => {
                    holds(job, *session) && job["kind"] == "backup" && job["tool"] == tool && job["root_pid"] == *session
                }
                // Of many short runs none may last as long as a look: then what the job does was seen in one of them.
                Wants::Other(program) => {
                    let at_it = running(program, *session).iter().any(|pid| before.contains(pid) && holds(job, *pid));
                    job["kind"] != "backup" && (at_it || holds(job, *session) && job["tool"] == program)
                }
            })
        });
        last = answer;
    }
    let missed: Vec<String> = unseen
        .iter()
        .map(|(act, session)| format!("{}: {}", act.name, told(jobs(&last).find(|job| holds(job, *session)))))
        .collect();
    assert!(missed.is_empty(), "not seen in {looks} looks:\n{}", missed.join("\n"));
    let backups = acts.iter().filter(|act| act.wants.program().is_none()).count();
    println!("{} tools, {backups} backups among them, in {looks} looks", acts.len());
    for (act, session) in acts.iter().zip(&stage.sessions).filter(|(act, _)| act.wants.program().is_some()) {
        println!("{}: {}", act.name, told(jobs(&last).find(|job| holds(job, *session))));
    }
}
