//! Where what a job reads goes to: out again, into another database, through a shell on another host, nowhere.
//!
//! Pure. Tested by tests/kinds.rs.

use super::files::{is_kept, lives_with, reads_home, top};
use super::places::{is_live, place_says};
use super::program::{basename, commands};
use super::read::{Reading, shown};
use super::rules::apply;
use super::scale::Scale;
use super::tools::{Doing, Role, Rule};
use super::weigh::Read;
use super::words::words;
use super::work::of_word;
use super::{Launcher, ProcessShape};

/// Part of what is read that comes out again where it is copied, however well it packs. An index or a report is smaller.
const COMES_OUT: f64 = 0.1;
/// What is read lies where it is written to, and all of that is kept already: it is packed better, signed, cut, made safe against bad blocks.
const KEPT_ALREADY: f64 = -0.6;

impl<'a> Read<'a, '_> {
    /// A database or a filesystem is copied into another one: what reads from the dump.
    pub fn clone_sink(&self, of: &Reading<'a>) -> Option<&'a str> {
        // `zfs send tank/prod | zfs receive tank/stage`
        let receives = |reading: &&Reading| reading.doing == Doing::Batch && reading.program.name == of.program.name;
        let into_copy = |reading: &Reading<'_>| reading.program.args.iter().any(|arg| place_says(arg).copy > 0.0);
        // What is called a copy at both ends is a copy that is kept.
        if let Some(receiver) = self.readings.iter().filter(receives).find(|reading| into_copy(reading) && !into_copy(of)) {
            return Some(receiver.program.name);
        }
        // The snapshot says it: `zfs send -R tank/data@migrate`.
        let is_passage = |word: &str| matches!(of_word(word), Some("migration" | "clone"));
        let mut snapshots = of.program.args.iter().filter_map(|arg| arg.split_once('@'));
        if of.program.name == "zfs" && snapshots.any(|(_, snapshot)| words(snapshot).any(is_passage)) {
            return Some("zfs receive");
        }
        let sinks = of.tool.map(|tool| tool.words.sinks.as_slice()).filter(|sinks| !sinks.is_empty())?;
        let over_ssh =
            self.readings.iter().filter(|reading| reading.program.name == "ssh").flat_map(|ssh| ssh.program.args.iter());
        if let Some(sink) =
            sinks.iter().find(|sink| over_ssh.clone().any(|arg| arg.split_whitespace().any(|word| basename(word) == *sink)))
        {
            return Some(sink);
        }
        let kept = !of.targets.is_empty()
            || of
                .program
                .args
                .iter()
                .any(|arg| arg.starts_with("--file") || arg.starts_with("--result-file") || matches!(*arg, "-f" | "-r"))
            || self.readings.iter().any(|reading| self.passes_on(reading));
        let takes_in = |reading: &&Reading| {
            reading.doing == Doing::Unknown && reading.role() == Some(Role::Client) || reading.doing == Doing::Batch
        };
        let local = self.readings.iter().filter(takes_in);
        sinks.iter().find(|sink| local.clone().any(|reading| reading.program.name == *sink)).map(String::as_str).filter(|_| !kept)
    }

    /// Whether something goes through this helper, or would if the host let it: with who feeds it held up, it gets nothing.
    pub fn passes_on(&self, reading: &Reading) -> bool {
        let held_up = || self.readings.iter().any(|one| one.pace.held_up);
        reading.role() == Some(Role::Helper) && (reading.pace.works() || held_up())
    }

    /// Whether what the job reads comes out again, or goes into a pipe to somewhere.
    pub fn has_sink(&self) -> bool {
        let sum = |of: fn(&Reading) -> Option<f64>| self.readings.iter().filter_map(of).sum::<f64>();
        let (read, written) = (sum(|reading| reading.pace.read), sum(|reading| reading.pace.write));
        written >= read * COMES_OUT
            || self.readings.iter().any(|reading| {
                // A target that it was told is one, whether its writes are seen or not.
                let told = |target: &&str| {
                    place_says(target).place > 0.0 && reading.program.args.iter().any(|arg| arg.contains(*target))
                };
                self.passes_on(reading) || reading.targets.iter().any(told)
            })
    }

    /// Whether this is what a program makes rather than what it keeps: a table, a document, a picture. Who copies files one by one writes
    /// such ones too, under the names that they are read by.
    pub fn makes(&self, target: &str) -> bool {
        const PRODUCTS: [&str; 34] = [
            "csv", "tsv", "xlsx", "xls", "ods", "pdf", "html", "json", "jsonl", "ndjson", "xml", "parquet", "avro", "orc",
            "feather", "arrow", "h5", "npz", "npy", "png", "jpg", "svg", "mp4", "mkv", "webm", "docx", "webp", "avif", "jpeg",
            "gif", "hevc", "ivf", "mp3", "opus",
        ];
        let name = basename(target);
        let is_product = words(name).any(|word| PRODUCTS.iter().any(|product| product.eq_ignore_ascii_case(word)));
        let read = || self.job.processes.iter().flat_map(|process| process.files.reading);
        // `a.y4m` becomes `a.ivf`: one kind of file is made out of another. `a.db.gz` is still the file.
        let turned = || {
            let kind = |file: &'a str| file.rsplit_once('.');
            let Some((stem, _)) = name.rsplit_once('.').filter(|_| place_says(target).archive == 0.0) else { return false };
            let told = self.readings.iter().filter(|reading| reading.tool.is_none()).flat_map(|reading| &reading.program.args);
            let told = told.copied().filter(|arg| arg.contains('/') && *arg != target);
            let from = read().map(String::as_str).chain(told).filter_map(|file| kind(basename(file)));
            from.into_iter().any(|(from, ending)| from == stem && !name.ends_with(ending))
        };
        (is_product || turned()) && !read().any(|file| basename(file) == name)
    }

    /// Against a backup: all that is seen to be read lies in the place for backups that is written to. Not where a script says that it makes
    /// one, which may pack in a second step what it dumped in the first.
    pub fn weigh_store(&self, scale: &mut Scale, target: &str) {
        let named = self.readings.iter().any(|reading| reading.facts.iter().any(|fact| fact.weight >= 0.5));
        let counts = |reading: &Reading| !matches!(reading.role(), Some(Role::Viewer | Role::Server | Role::Shell));
        let of_note = |file: &&str| is_live(file) || place_says(file).place > 0.0;
        let mut read = self
            .job
            .processes
            .iter()
            .zip(&self.readings)
            .filter(|(_, reading)| counts(reading))
            .flat_map(|(process, _)| process.files.reading)
            .map(String::as_str)
            .filter(of_note)
            .peekable();
        let first = read.peek().copied();
        let there = top(target).is_some() && is_kept(target);
        if let Some(first) = first.filter(|_| !named && there && read.all(|file| is_kept(file) && top(file) == top(target))) {
            scale.put(KEPT_ALREADY, || format!("all that it reads is kept there already: {}", shown(first)));
        }
    }

    /// Where another host unpacks what is packed here, if that is the same place there: it moves, or has a twin.
    pub fn unpacked_in_place(&self, packer: &Reading<'a>) -> Option<&'a str> {
        if packer.role() != Some(Role::Archiver) {
            return None;
        }
        let bare = |path: &str| path.trim_end_matches('/').to_owned();
        let sources = packer.program.args.iter().copied().filter(|arg| arg.starts_with('/') && arg.len() > 1);
        let over_ssh = || self.readings.iter().filter(|reading| reading.program.name == "ssh");
        let unpacks_in = |place: &str| {
            over_ssh().any(|ssh| {
                let line = ssh.program.args.join(" ");
                commands(&line).iter().any(|command| {
                    let Some(at) = command.words.iter().position(|word| basename(word) == "tar") else { return false };
                    let args = &command.words[at + 1..];
                    let places = args.iter().skip_while(|arg| !matches!(**arg, "-C" | "--directory")).skip(1).take(1);
                    apply(Rule::Tar, "tar", args).doing == Doing::Batch
                        && places.map(|there| bare(there)).any(|there| there == place)
                })
            })
        };
        sources.into_iter().find(|place| unpacks_in(&bare(place)))
    }

    /// A program that nobody knows and reads all over the host, and the `ssh` below it that is busy.
    pub fn sends_what_it_gathers(&self) -> Option<(&Reading<'a>, &Reading<'a>)> {
        let all = || self.job.processes.iter().zip(&self.readings);
        all().find_map(|(process, from)| {
            if from.tool.is_some() || !from.gathers || !from.pace.only_reads() {
                return None;
            }
            let pipes = |below: &ProcessShape, pipe: &Reading| {
                below.parent == process.id.pid && pipe.program.name == "ssh" && pipe.pace.works()
            };
            all().find(|(below, pipe)| pipes(below, pipe)).map(|(_, pipe)| (from, pipe))
        })
    }

    /// Whether a program that was started over SSH goes through all of the host for what has changed: nothing is written here because all
    /// of it goes up the session.
    pub fn goes_up_the_session(&self) -> Option<&'a str> {
        const SINCE: [&str; 6] = ["--since", "--newer", "--newer-than", "--changed-since", "--modified-since", "--newer-mtime"];
        let since = |reading: &Reading<'a>| {
            let mut args = reading.program.args.iter().copied();
            args.find(|arg| SINCE.contains(&arg.split('=').next().unwrap_or(arg)))
        };
        let gathers = |reading: &&Reading<'a>| reading.tool.is_none() && reading.gathers && reading.pace.only_reads();
        let over_ssh = self.job.launcher == Launcher::SshCommand;
        self.readings.iter().filter(|_| over_ssh).filter(gathers).find_map(since)
    }

    /// Whether an agent works, by itself or by a helper that was installed with it.
    pub fn agent_works(&self, at: usize) -> bool {
        let agent = &self.readings[at];
        let children = || {
            let below = self.job.processes.iter().zip(&self.readings).skip(at + 1);
            below.filter(|(process, _)| process.parent == self.job.processes[at].id.pid)
        };
        // A tool of which nobody saw what it was told works by what its database started for it.
        let serves_it = |reading: &Reading<'a>| agent.role() == Some(Role::Backup) && reading.role() == Some(Role::Server);
        let helps = |reading: &Reading<'a>| {
            let together = || reading.tool.is_none() && lives_with(agent.program.path, reading.program.path);
            reading.pace.copies() && (together() || serves_it(reading))
        };
        agent.pace.copies() || children().any(|(_, reading)| helps(reading))
    }

    /// Whether what programs that nobody knows read was seen, and is nothing but their own: an application works on its data.
    pub fn reads_its_own(&self) -> bool {
        let strangers = || self.job.processes.iter().zip(&self.readings).filter(|(_, reading)| reading.tool.is_none());
        strangers().any(|(process, _)| !process.files.reading.is_empty())
            && strangers().all(|(process, reading)| reads_home(reading.program.path, process.files.reading))
    }

    /// Whether it was started to serve: such a program writes to the NAS in the course of its work.
    pub fn serves(&self) -> bool {
        matches!(self.job.launcher, Launcher::ServiceManager | Launcher::Supervisor | Launcher::ContainerEngine)
    }

    /// What writes a file on another host, through a shell there: `ssh store 'cat > /pool/db'`.
    pub fn file_elsewhere(&self) -> Option<&Reading<'a>> {
        self.readings.iter().find(|reading| {
            let line = || reading.program.args.join(" ");
            reading.program.name == "ssh"
                && reading.pace.works()
                && commands(&line()).iter().any(|command| {
                    command.output.is_some_and(|output| !output.starts_with("/dev/"))
                        && command.words.iter().any(|word| matches!(basename(word), "cat" | "tee" | "dd" | "gzip" | "zstd"))
                })
        })
    }
}
