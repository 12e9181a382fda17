//! rsync, clients of object stores, cp, scp and their like, duplicity: from where to where.

use super::super::files::is_database;
use super::super::places::{is_built, is_live, place_says};
use super::super::tools::{Doing, contains_ignoring_case};
use super::{BACKUP_OPTION, CAREFUL_OPTION, COPIES, Ruling, SURE, UPLOADS, has, has_letter};

/// Nothing but logs is copied: they are gathered somewhere to be read.
const SHIPS_LOGS: f64 = -0.5;
/// From a directory into the same one of another host: its twin, which serves the same.
const SAME_PLACE: f64 = -0.4;
/// Before an upgrade somebody puts a database's files aside; who moves them to another disk gives no date.
const KEEPS_DATABASE: f64 = 0.4;

/// A disk that is there to be taken away is kept like a tree that lives, what is gone there as well.
const MIRRORS: f64 = 0.3;

/// Files that are taken away from where they were: nothing is there twice. Not where a dump that was made here goes to where backups are kept:
/// that is a backup's last step.
fn moves<'a>(sources: &[&str], target: &str) -> Option<Ruling<'a>> {
    let is_dump = |source: &&str| place_says(source).place > 0.4 || place_says(source).archive > 0.0;
    let last_step = (is_remote(target) || place_says(target).place > 0.4) && sources.iter().any(is_dump);
    (!last_step).then(|| Ruling::new(Doing::Batch, SURE, "moves files"))
}

/// A disk that somebody plugs in.
fn is_removable(path: &str) -> bool {
    ["/media/", "/run/media/", "/mnt/usb", "/mnt/stick"].iter().any(|place| path.starts_with(place))
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

pub fn rsync<'a>(args: &[&'a str]) -> Ruling<'a> {
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
    let letters = |arg: &&str| arg.starts_with('-') && arg.len() < 9 && arg[1..].bytes().all(|b| b.is_ascii_alphabetic());
    let dry = args.iter().filter(|arg| letters(arg)).any(|arg| arg.contains('n'));
    if starts("--list-only") || starts("--dry-run") || dry {
        return Ruling::new(Doing::Quiet, SURE, "only lists");
    }
    let mut sources = operands(args, &VALUES);
    let Some(target) = sources.pop().filter(|_| !sources.is_empty()) else {
        return Ruling::new(Doing::Unknown, 0.0, "runs");
    };
    let from_remote = sources.iter().any(|source| is_remote(source));
    if let Some(ruling) = moves(&sources, target).filter(|_| starts("--remove-source-files") || starts("--remove-sent-files")) {
        return ruling;
    }
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
    let mut versions = false;
    for option in ["--link-dest", "--backup-dir", "--compare-dest", "--copy-dest", "--backup"] {
        if let Some(arg) = args.iter().find(|arg| arg.starts_with(option)) {
            ruling.fact(BACKUP_OPTION, format!("option {arg}"));
            versions = true;
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
        let mirrors = is_removable(target) && sources.iter().any(|source| is_live(source) && !is_removable(source));
        ruling.fact(if mirrors { MIRRORS } else { 0.1 }, "option --delete");
    }
    if !from_remote {
        ruling.sources(sources.iter().copied());
        let there = target.split_once(':').map_or(target, |(_, path)| path.trim_start_matches(':'));
        let same = |source: &&str| source.len() > 1 && source.trim_end_matches('/') == there.trim_end_matches('/');
        if sources.iter().all(|source| source.starts_with("/var/log/")) {
            ruling.fact(SHIPS_LOGS, "it only copies logs");
        } else if is_remote(target) && place.place < 0.2 && sources.iter().any(same) {
            ruling.fact(SAME_PLACE, "it keeps another host like this one: the same place there");
        }
        if let Some(database) = sources.iter().find(|source| is_database(source)).filter(|_| place.dated > 0.0) {
            ruling.fact(KEEPS_DATABASE, format!("it keeps the files of a database under a date: {database}"));
        } else if !is_remote(target) && place.place < 0.2 {
            ruling.fact(-0.3, "it copies within this host");
        }
    } else if place.place < 0.4 && !(versions && place.dated > 0.0) {
        // One of many dated trees is a version that is kept, also where a backup host fetches them.
        ruling.fact(-0.5, "it copies to this host");
    }
    ruling.target(target)
}

pub fn cloud<'a>(name: &str, args: &[&'a str]) -> Ruling<'a> {
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
    if let (true, [sources @ .., target]) = (matches!(verb, "mv" | "move" | "moveto"), places.as_slice())
        && let Some(ruling) = moves(sources, target)
    {
        return ruling;
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

/// `daily.0` and `daily.1`: the same but for the number at the end.
fn is_next(one: &str, other: &str) -> bool {
    let numbered = |path: &'_ str| -> Option<(String, u32)> {
        let path = path.trim_end_matches('/');
        let stem = path.trim_end_matches(|c: char| c.is_ascii_digit());
        Some((stem.to_owned(), path[stem.len()..].parse().ok()?))
    };
    matches!((numbered(one), numbered(other)), (Some((stem, at)), Some((same, next))) if stem == same && at.abs_diff(next) == 1)
}

pub fn cp<'a>(args: &[&'a str]) -> Ruling<'a> {
    let mut sources = operands(args, &["-t", "-S"]);
    let tree = ['a', 'r', 'R', 'l'].iter().any(|letter| has_letter(args, *letter)) || has(args, &["--archive", "--recursive"]);
    let Some(target) = sources.pop() else { return Ruling::new(Doing::Unknown, 0.0, "runs") };
    let from_backup = sources.iter().any(|source| place_says(source).place > 0.2 && !is_database(source));
    if from_backup && place_says(target).place < 0.2 {
        return Ruling::new(Doing::Batch, SURE, "copies from where backups lie");
    }
    let mut ruling =
        Ruling::new(Doing::Backup, if tree { COPIES } else { 0.1 }, if tree { "copies a tree" } else { "copies files" });
    let turns = tree && has_letter(args, 'l') && matches!(sources.as_slice(), [source] if is_next(source, target));
    let database = sources.iter().copied().find(|source| tree && is_database(source));
    ruling.sources(sources);
    if turns {
        ruling.fact(BACKUP_OPTION, format!("versions are turned: {target}"));
    } else if place_says(target).weight() < 0.2 {
        ruling.fact(-0.3, "it copies within this host");
    }
    if let Some(database) = database.filter(|_| place_says(target).dated > 0.0) {
        ruling.fact(KEEPS_DATABASE, format!("it keeps the files of a database under a date: {database}"));
    }
    if has_letter(args, 'l') && tree {
        ruling.fact(0.3, "it links files that stayed the same");
    }
    ruling.target(target)
}

pub fn transfer<'a>(name: &str, args: &[&'a str]) -> Ruling<'a> {
    // The far end of a copy: whole trees of this host for one that asked for them.
    if name == "scp" && has(args, &["-f"]) && has(args, &["-r"]) {
        let mut ruling = Ruling::new(Doing::Backup, COPIES, "sends files of this host to one that asked for them");
        ruling.sources(operands(args, &[]));
        return ruling;
    }
    let up = match name {
        "curl" => args.iter().any(|arg| {
            // A cluster of letters ends with the first that takes the rest for its value.
            let letters = arg.strip_prefix('-').filter(|letters| !letters.starts_with('-')).unwrap_or_default();
            letters.chars().find(|letter| "TXHdoubFmeAwxKrCE".contains(*letter)) == Some('T') || *arg == "--upload-file"
        }),
        "lftp" => args.iter().any(|arg| arg.contains("mirror -R") || arg.contains("--reverse") || arg.contains("put ")),
        "smbclient" => args.iter().any(|arg| arg.starts_with("-T") || arg.contains("put ")),
        "scp" => args.len() > 1 && args.last().is_some_and(|last| is_remote(last)) && !has(args, &["-f", "-t"]),
        "wput" | "ncftpput" => true,
        _ => false,
    };
    if up && args.iter().any(|arg| contains_ignoring_case(arg, "--remove-source-files")) {
        return Ruling::new(Doing::Batch, SURE, "moves files");
    }
    if up {
        let mut ruling = Ruling::new(Doing::Backup, COPIES, "sends files away");
        // lftp and smbclient are given a line of their own commands.
        let words = || args.iter().flat_map(|arg| arg.split([' ', ';'])).filter(|word| word.starts_with('/'));
        ruling.sources(words());
        if let Some(place) = words().find(|word| place_says(word).place > 0.2) {
            return ruling.target(place);
        }
        let target = args.iter().copied().rfind(|arg| is_remote(arg) || arg.starts_with("//"));
        return if let Some(target) = target { ruling.target(target) } else { ruling };
    }
    // A download to where backups lie is how some mail and cloud systems are backed up.
    let saved = args
        .iter()
        .position(|arg| matches!((name, *arg), ("curl", "-o") | (_, "--output" | "-O" | "-P")))
        .and_then(|at| args.get(at + 1).copied());
    match saved.filter(|path| path.contains('/') && !path.contains("://") && place_says(path).weight() > 0.4) {
        Some(path) => Ruling::new(Doing::Backup, COPIES, "fetches data").target(path),
        None => Ruling::new(Doing::Unknown, 0.0, "transfers files"),
    }
}

pub fn duplicity<'a>(args: &[&'a str]) -> Ruling<'a> {
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
