//! What a command line asks for where a word list cannot say it: tar's letters, the direction of rsync and of uploads, where
//! dd reads.
//!
//! One function a rule: arguments in, [`Ruling`] out. Tested through tests/kinds.

use super::tools::{Doing, Rule};
use super::words::{is_built, is_live, place_says};

/// A fact with its weight, before it is told.
#[derive(Clone, Debug)]
pub struct Fact {
    /// For (positive) or against a backup.
    pub weight: f64,
    /// In words.
    pub text: String,
}

/// What a rule found.
#[derive(Clone, Debug)]
pub struct Ruling<'a> {
    /// What is done.
    pub doing: Doing,
    /// How much that says.
    pub weight: f64,
    /// In words: `creates an archive`. The tool's name goes before it.
    pub text: &'static str,
    /// What else speaks for or against.
    pub facts: Vec<Fact>,
    /// What is written to.
    pub targets: Vec<&'a str>,
    /// Whether context (who started it, where it writes) may add to it.
    pub open: bool,
}

impl<'a> Ruling<'a> {
    fn new(doing: Doing, weight: f64, text: &'static str) -> Self {
        Self { doing, weight, text, facts: Vec::new(), targets: Vec::new(), open: doing == Doing::Backup }
    }

    fn fact(&mut self, weight: f64, text: impl Into<String>) {
        self.facts.push(Fact { weight, text: text.into() });
    }

    fn sources<'b>(&mut self, sources: impl IntoIterator<Item = &'b str>) {
        let (mut live, mut built) = (None, None);
        for source in sources {
            if is_live(source) && !is_built(source) {
                live.get_or_insert(source);
            } else if is_built(source) {
                built.get_or_insert(source);
            }
        }
        if let Some(path) = live {
            self.fact(READS_LIVE, format!("it reads {path}"));
        } else if let Some(path) = built {
            self.fact(READS_BUILT, format!("it reads what a build made: {path}"));
        }
    }

    fn target(mut self, target: &'a str) -> Self {
        self.targets.push(target);
        self
    }
}

/// An archive is created: by itself anything from a release to a backup.
const ARCHIVES: f64 = 0.4;
/// What is packed or copied is what the host lives from.
const READS_LIVE: f64 = 0.3;
/// What is packed or copied comes from a build.
const READS_BUILT: f64 = -0.6;
/// An option that only backups use: `--link-dest`, `--listed-incremental`.
const BACKUP_OPTION: f64 = 0.5;
/// An option that backups use more than others: `--one-file-system`, `--numeric-ids`.
const CAREFUL_OPTION: f64 = 0.25;
/// A block device is read to its end.
const READS_DEVICE: f64 = 0.65;
/// Local files go to a bucket.
const UPLOADS: f64 = 0.5;
/// Files go to another host or place.
const COPIES: f64 = 0.2;
/// Work that is no backup, by its words.
const SURE: f64 = 0.9;

/// Applies a rule.
pub fn apply<'a>(rule: Rule, name: &str, args: &[&'a str]) -> Ruling<'a> {
    match rule {
        Rule::Tar => tar(args),
        Rule::Cpio => cpio(args),
        Rule::Zip => zip(args),
        Rule::Image => image(args),
        Rule::Dd => dd(args),
        Rule::Dump => dump(args),
        Rule::Rsync => rsync(args),
        Rule::Cloud => cloud(name, args),
        Rule::Cp => cp(args),
        Rule::Transfer => transfer(name, args),
        Rule::Duplicity => duplicity(args),
    }
}

fn tar<'a>(args: &[&'a str]) -> Ruling<'a> {
    const TAKES_VALUE: &str = "fCXTbgVIHLKNF";
    let mut mode = None;
    let mut file = None;
    let mut sources = Vec::new();
    let mut facts: Vec<(f64, &str)> = Vec::new();
    let mut skip = 0;
    for (at, arg) in args.iter().copied().enumerate() {
        if skip > 0 {
            skip -= 1;
            continue;
        }
        let letters = if let Some(long) = arg.strip_prefix("--") {
            let (option, value) = long.split_once('=').map_or((long, None), |(option, value)| (option, Some(value)));
            let next = || value.or_else(|| args.get(at + 1).copied());
            match option {
                "create" | "append" | "update" => mode = mode.or(Some('c')),
                "extract" | "get" => mode = mode.or(Some('x')),
                "list" | "diff" | "compare" | "test-label" => mode = mode.or(Some('t')),
                "delete" => mode = mode.or(Some('d')),
                "file" => {
                    file = next();
                    skip = usize::from(value.is_none());
                }
                "directory" => {
                    sources.extend(next());
                    skip = usize::from(value.is_none());
                }
                "listed-incremental" | "incremental" | "newer" | "after-date" | "newer-mtime" => facts.push((BACKUP_OPTION, arg)),
                "one-file-system" | "numeric-owner" | "acls" | "xattrs" | "selinux" | "totals" | "rsyncable" => {
                    facts.push((CAREFUL_OPTION, arg));
                }
                "files-from" | "exclude-from" | "label" | "use-compress-program" | "transform" => {
                    skip = usize::from(value.is_none())
                }
                _ => {}
            }
            continue;
        } else if let Some(cluster) = arg.strip_prefix('-').filter(|cluster| !cluster.is_empty()) {
            cluster
        } else if at == 0 && arg.bytes().all(|b| b.is_ascii_alphabetic()) {
            // Old style: the letters first, then their values in order.
            skip = arg.chars().filter(|letter| TAKES_VALUE.contains(*letter)).count();
            let place = arg.chars().filter(|letter| TAKES_VALUE.contains(*letter)).position(|letter| letter == 'f');
            file = file.or_else(|| place.and_then(|place| args.get(1 + place).copied()));
            mode = mode.or_else(|| arg.chars().find_map(mode_of));
            continue;
        } else {
            sources.push(arg);
            continue;
        };
        for (place, letter) in letters.char_indices() {
            mode = mode.or_else(|| mode_of(letter));
            if letter == 'g' {
                facts.push((BACKUP_OPTION, "-g"));
            }
            if TAKES_VALUE.contains(letter) {
                let rest = &letters[place + 1..];
                let value = if rest.is_empty() {
                    skip = 1;
                    args.get(at + 1).copied()
                } else {
                    Some(rest)
                };
                match letter {
                    'f' => file = value,
                    'C' => sources.extend(value),
                    _ => {}
                }
                break;
            }
        }
    }
    match mode {
        Some('c') => {
            let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "creates an archive");
            ruling.sources(sources);
            for (weight, option) in facts {
                ruling.fact(weight, format!("option {option}"));
            }
            match file {
                Some(file) if file != "-" => ruling.target(file),
                _ => ruling,
            }
        }
        Some('x') => Ruling::new(Doing::Batch, SURE, "extracts an archive"),
        Some('d') => Ruling::new(Doing::Batch, SURE, "changes an archive"),
        Some(_) => Ruling::new(Doing::Quiet, SURE, "lists an archive"),
        None => Ruling::new(Doing::Unknown, 0.0, "runs"),
    }
}

fn mode_of(letter: char) -> Option<char> {
    match letter {
        'c' | 'r' | 'u' => Some('c'),
        'x' => Some('x'),
        't' | 'd' => Some('t'),
        _ => None,
    }
}

/// Whether a cluster of short options (`-oav`) holds this letter.
fn has_letter(args: &[&str], letter: char) -> bool {
    args.iter().any(|arg| arg.starts_with('-') && !arg.starts_with("--") && arg[1..].contains(letter))
}

fn has(args: &[&str], options: &[&str]) -> bool {
    args.iter().any(|arg| options.contains(arg))
}

fn cpio<'a>(args: &[&'a str]) -> Ruling<'a> {
    if has_letter(args, 'o') || has_letter(args, 'w') || has(args, &["--create"]) {
        let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "creates an archive");
        ruling.sources(args.iter().copied().filter(|arg| arg.starts_with('/')));
        ruling
    } else if has_letter(args, 'p') {
        Ruling::new(Doing::Backup, COPIES, "copies a tree")
    } else {
        Ruling::new(Doing::Batch, SURE, "unpacks an archive")
    }
}

fn zip<'a>(args: &[&'a str]) -> Ruling<'a> {
    let mut plain = args.iter().copied().filter(|arg| !arg.starts_with('-') && *arg != "--");
    let first = plain.next();
    match first {
        Some("a" | "u" | "c" | "add" | "cf" | "cvf" | "m") => {
            let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "creates an archive");
            let target = plain.next();
            ruling.sources(plain);
            if let Some(target) = target { ruling.target(target) } else { ruling }
        }
        Some("x" | "e" | "extract" | "xf" | "xvf") => Ruling::new(Doing::Batch, SURE, "unpacks an archive"),
        Some("t" | "b" | "h" | "d" | "rr" | "test") => Ruling::new(Doing::Batch, SURE, "tests or changes an archive"),
        Some("l" | "v" | "lb" | "list" | "i" | "tf") => Ruling::new(Doing::Quiet, SURE, "lists an archive"),
        Some(target) if !has(args, &["-T", "-d", "-F", "-FF", "-sf"]) => {
            let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "creates an archive");
            ruling.sources(plain);
            ruling.target(target)
        }
        _ => Ruling::new(Doing::Batch, SURE, "tests or changes an archive"),
    }
}

fn image<'a>(args: &[&'a str]) -> Ruling<'a> {
    let mut plain: Vec<&str> =
        args.iter().copied().filter(|arg| arg.starts_with(['/', '.']) || arg.contains(['/', '.'])).collect();
    let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "makes an image");
    let target = args
        .iter()
        .position(|arg| matches!(*arg, "-o" | "-output" | "-outdev"))
        .and_then(|at| args.get(at + 1).copied())
        .or_else(|| if plain.len() > 1 { plain.pop() } else { None });
    if let Some(source) = plain.iter().find(|path| path.starts_with("/dev/")) {
        ruling.fact(READS_DEVICE, format!("it reads the device {source}"));
    }
    ruling.sources(plain.into_iter().filter(|path| Some(*path) != target));
    if let Some(target) = target { ruling.target(target) } else { ruling }
}

fn dd<'a>(args: &[&'a str]) -> Ruling<'a> {
    let value = |key: &str| args.iter().find_map(|arg| arg.strip_prefix(key));
    let input = value("if=").or_else(|| args.iter().copied().find(|arg| arg.starts_with("/dev/")));
    let output = value("of=");
    let is_disk = |path: &str| {
        path.starts_with("/dev/")
            && ![
                "/dev/zero",
                "/dev/urandom",
                "/dev/random",
                "/dev/null",
                "/dev/shm",
                "/dev/fd",
                "/dev/stdin",
                "/dev/stdout",
                "/dev/tty",
            ]
            .iter()
            .any(|other| path.starts_with(other))
    };
    let ruling = match (input, output) {
        (_, Some(output)) if is_disk(output) => return Ruling::new(Doing::Batch, SURE, "writes to a device"),
        (Some(input), _) if is_disk(input) => {
            let mut ruling = Ruling::new(Doing::Backup, READS_DEVICE, "reads a whole device");
            if place_says(input).place > 0.4 {
                ruling.fact(0.4, format!("{input} is a snapshot by its name"));
            }
            ruling
        }
        (Some(input), _) if input.starts_with("/dev/") => return Ruling::new(Doing::Batch, SURE, "writes noise or zeros"),
        (Some(_), _) => Ruling::new(Doing::Backup, 0.1, "copies a file"),
        (None, _) => Ruling::new(Doing::Unknown, 0.0, "writes what it is given"),
    };
    if let Some(output) = output { ruling.target(output) } else { ruling }
}

fn dump<'a>(args: &[&'a str]) -> Ruling<'a> {
    let level = args.iter().any(|arg| {
        let letters = arg.trim_start_matches('-');
        letters.starts_with(|c: char| c.is_ascii_digit()) && letters.len() < 9 && !letters.contains('/')
    });
    if level || has(args, &["-level"]) {
        let mut ruling = Ruling::new(Doing::Backup, SURE, "dumps a filesystem");
        ruling.open = false;
        ruling
    } else if has(args, &["-W", "-w", "-S"]) {
        Ruling::new(Doing::Quiet, SURE, "only looks")
    } else {
        Ruling::new(Doing::Backup, 0.3, "dumps something")
    }
}

/// `host:path`, `user@host:path`, `host::module`, `rsync://host/module`; not `/a:b`.
fn is_remote(path: &str) -> bool {
    path.contains("://") || path.find(':').is_some_and(|colon| path.find('/').is_none_or(|slash| colon < slash) && colon > 0)
}

/// Arguments that are no options and no options' values.
fn operands<'a>(args: &[&'a str], values: &[&str]) -> Vec<&'a str> {
    let mut out = Vec::new();
    let mut skip = false;
    for arg in args.iter().copied() {
        if std::mem::take(&mut skip) {
            continue;
        }
        if arg.starts_with('-') && arg.len() > 1 {
            // A cluster ends with the option that takes the value: `-ave ssh`.
            skip = values.contains(&arg)
                || !arg.starts_with("--")
                    && arg.len() > 2
                    && arg.chars().last().is_some_and(|last| last == 'e' && values.contains(&"-e"));
        } else {
            out.push(arg);
        }
    }
    out
}

fn rsync<'a>(args: &[&'a str]) -> Ruling<'a> {
    const VALUES: [&str; 30] = [
        "-e",
        "--rsh",
        "--exclude",
        "--include",
        "--exclude-from",
        "--include-from",
        "--files-from",
        "--link-dest",
        "--backup-dir",
        "--suffix",
        "--password-file",
        "--bwlimit",
        "--log-file",
        "-f",
        "--filter",
        "--port",
        "--timeout",
        "-T",
        "--temp-dir",
        "--compare-dest",
        "--copy-dest",
        "--rsync-path",
        "-M",
        "--max-size",
        "--min-size",
        "--partial-dir",
        "--log-file-format",
        "--out-format",
        "--chmod",
        "--config",
    ];
    let starts = |option: &str| args.iter().any(|arg| arg.starts_with(option));
    if starts("--daemon") {
        return Ruling::new(Doing::Agent, 0.3, "serves as a daemon");
    }
    if args.contains(&"--server") {
        return if args.contains(&"--sender") {
            let mut ruling = Ruling::new(Doing::Backup, 0.75, "sends files of this host to one that asked for them");
            ruling.sources(operands(&args[1..], &VALUES));
            ruling
        } else {
            Ruling::new(Doing::Batch, SURE, "receives files")
        };
    }
    if starts("--list-only") || starts("--dry-run") || args.contains(&"-n") {
        return Ruling::new(Doing::Quiet, SURE, "only lists");
    }
    let mut sources = operands(args, &VALUES);
    let Some(target) = sources.pop().filter(|_| !sources.is_empty()) else {
        return Ruling::new(Doing::Unknown, 0.0, "runs");
    };
    let from_remote = sources.iter().any(|source| is_remote(source));
    let place = place_says(target);
    if !is_remote(target)
        && !from_remote
        && sources.iter().any(|source| place_says(source).place > 0.2)
        && place.place < 0.2
        && is_live(target)
    {
        return Ruling::new(Doing::Batch, SURE, "restores from where backups lie");
    }
    let mut ruling = Ruling::new(
        Doing::Backup,
        COPIES,
        if from_remote { "fetches files from another host" } else { "copies files to another place" },
    );
    for option in ["--link-dest", "--backup-dir", "--compare-dest", "--copy-dest", "--backup"] {
        if let Some(arg) = args.iter().find(|arg| arg.starts_with(option)) {
            ruling.fact(BACKUP_OPTION, format!("option {arg}"));
            break;
        }
    }
    if starts("--numeric-ids")
        || starts("--one-file-system")
        || starts("--fake-super")
        || ['H', 'A', 'X', 'x'].iter().any(|l| has_letter(args, *l))
    {
        ruling.fact(CAREFUL_OPTION, "options that keep owners, links and filesystems apart");
    }
    if starts("--delete") {
        ruling.fact(0.1, "option --delete");
    }
    if !from_remote {
        ruling.sources(sources.iter().copied());
        if !is_remote(target) && place.place < 0.2 {
            ruling.fact(-0.3, "it copies within this host");
        }
    } else if place.place < 0.4 {
        ruling.fact(-0.5, "it copies to this host");
    }
    ruling.target(target)
}

fn cloud<'a>(name: &str, args: &[&'a str]) -> Ruling<'a> {
    const VERBS: [&str; 22] = [
        "sync",
        "copy",
        "cp",
        "mv",
        "move",
        "bisync",
        "copyto",
        "moveto",
        "put",
        "mirror",
        "rsync",
        "upload",
        "up",
        "rcat",
        "upload-batch",
        "bulk-upload",
        "upload-file",
        "put-object",
        "pipe",
        "push",
        "sync-up",
        "-put",
    ];
    const VALUES: [&str; 22] = [
        "--profile",
        "--region",
        "--config",
        "--exclude",
        "--include",
        "--filter-from",
        "--transfers",
        "--bwlimit",
        "--storage-class",
        "--log-file",
        "--endpoint-url",
        "-c",
        "-e",
        "-i",
        "-f",
        "--checkers",
        "--log-level",
        "--exclude-from",
        "--acl",
        "-n",
        "--max-age",
        "--backup-dir",
    ];
    let Some(at) = args.iter().position(|arg| VERBS.contains(arg)) else {
        // A client that only uploads needs no word for it.
        if name.contains("put") || name.contains("upload") {
            let mut ruling = Ruling::new(Doing::Backup, UPLOADS, "uploads");
            ruling.sources(operands(args, &VALUES));
            return ruling;
        }
        return Ruling::new(Doing::Quiet, 0.5, "copies nothing");
    };
    let verb = args[at];
    let mut places = operands(&args[at + 1..], &VALUES);
    if verb == "rcat" || verb == "pipe" || places.first() == Some(&"-") {
        let ruling = Ruling::new(Doing::Backup, 0.7, "uploads what it is given");
        return if let Some(target) = places.pop() { ruling.target(target) } else { ruling };
    }
    if matches!(verb, "put-object" | "upload" | "upload-batch" | "bulk-upload" | "upload-file" | "up" | "push")
        || verb.starts_with("put")
    {
        let mut ruling = Ruling::new(Doing::Backup, UPLOADS, "uploads");
        ruling.sources(places.iter().copied());
        return if let Some(target) = places.into_iter().rfind(|place| place.contains(['/', ':'])) {
            ruling.target(target)
        } else {
            ruling
        };
    }
    let is_bucket = |place: &str| is_remote(place) || (name.starts_with("mc") && !place.starts_with(['/', '.', '~']));
    match places.as_slice() {
        [source, .., target] if is_bucket(target) && !is_bucket(source) => {
            let (source, target) = (*source, *target);
            let mut ruling = Ruling::new(Doing::Backup, UPLOADS, "uploads");
            ruling.sources([source]);
            if is_live(source) && !is_built(source) && matches!(verb, "sync" | "mirror" | "rsync" | "copy" | "bisync" | "cp") {
                ruling.fact(0.3, format!("{verb} of a tree"));
            }
            if has(args, &["--delete", "--delete-removed", "--delete-destination=true", "--backup-dir", "--recursive"]) {
                ruling.fact(0.1, "it keeps both sides alike");
            }
            ruling.target(target)
        }
        [source, .., target] if is_bucket(source) && !is_bucket(target) => Ruling::new(Doing::Batch, SURE, "downloads"),
        [source, .., target] if is_bucket(source) && is_bucket(target) => {
            Ruling::new(Doing::Backup, 0.2, "copies from bucket to bucket").target(target)
        }
        [_, .., target] => Ruling::new(Doing::Backup, COPIES, "copies files").target(target),
        _ => Ruling::new(Doing::Unknown, 0.0, "runs"),
    }
}

fn cp<'a>(args: &[&'a str]) -> Ruling<'a> {
    let mut sources = operands(args, &["-t", "-S"]);
    let tree = ['a', 'r', 'R', 'l'].iter().any(|letter| has_letter(args, *letter)) || has(args, &["--archive", "--recursive"]);
    let Some(target) = sources.pop() else { return Ruling::new(Doing::Unknown, 0.0, "runs") };
    let from_backup = sources.iter().any(|source| place_says(source).place > 0.2);
    if from_backup && place_says(target).place < 0.2 {
        return Ruling::new(Doing::Batch, SURE, "copies from where backups lie");
    }
    let mut ruling =
        Ruling::new(Doing::Backup, if tree { COPIES } else { 0.1 }, if tree { "copies a tree" } else { "copies files" });
    ruling.sources(sources);
    if has_letter(args, 'l') && tree {
        ruling.fact(0.3, "it links files that stayed the same");
    }
    ruling.target(target)
}

fn transfer<'a>(name: &str, args: &[&'a str]) -> Ruling<'a> {
    let up = match name {
        "curl" => has_letter(args, 'T') || has(args, &["--upload-file"]),
        "lftp" => args.iter().any(|arg| arg.contains("mirror -R") || arg.contains("--reverse") || arg.contains("put ")),
        "smbclient" => args.iter().any(|arg| arg.starts_with("-T") || arg.contains("put ")),
        "scp" => args.len() > 1 && args.last().is_some_and(|last| is_remote(last)) && !has(args, &["-f", "-t"]),
        "wput" | "ncftpput" => true,
        _ => false,
    };
    if up {
        let ruling = Ruling::new(Doing::Backup, COPIES, "sends files away");
        let target = args.iter().copied().rfind(|arg| is_remote(arg) || arg.starts_with("//"));
        return if let Some(target) = target { ruling.target(target) } else { ruling };
    }
    // A download to where backups lie is how some mail and cloud systems are backed up.
    let saved =
        args.iter().position(|arg| matches!(*arg, "-o" | "--output" | "-O" | "-P")).and_then(|at| args.get(at + 1).copied());
    match saved.filter(|path| path.contains('/') && !path.contains("://") && place_says(path).weight() > 0.4) {
        Some(path) => Ruling::new(Doing::Backup, COPIES, "fetches data").target(path),
        None => Ruling::new(Doing::Unknown, 0.0, "transfers files"),
    }
}

fn duplicity<'a>(args: &[&'a str]) -> Ruling<'a> {
    let places = operands(
        args,
        &["--exclude", "--include", "--encrypt-key", "--sign-key", "--name", "--archive-dir", "--tempdir", "--volsize"],
    );
    let mut ruling = match places.iter().rev().take(2).collect::<Vec<_>>().as_slice() {
        [target, source, ..] if source.contains("://") && !target.contains("://") => {
            return Ruling::new(Doing::Batch, SURE, "restores");
        }
        [..] => Ruling::new(Doing::Backup, 0.93, "backs up"),
    };
    ruling.open = false;
    ruling
}
