//! tar, cpio, zip, images, dd, dump: what is packed, and is it packed at all.

use super::super::places::place_says;
use super::super::tools::Doing;

use super::{ARCHIVES, BACKUP_OPTION, CAREFUL_OPTION, COPIES, READS_DEVICE, Ruling, SURE, has, has_letter};

pub fn tar<'a>(args: &[&'a str]) -> Ruling<'a> {
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
                    skip = usize::from(value.is_none());
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

pub fn cpio<'a>(args: &[&'a str]) -> Ruling<'a> {
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

pub fn zip<'a>(args: &[&'a str]) -> Ruling<'a> {
    if args.is_empty() {
        return Ruling::new(Doing::Unknown, 0.0, "runs");
    }
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

pub fn image<'a>(args: &[&'a str]) -> Ruling<'a> {
    let mut plain: Vec<&str> =
        args.iter().copied().filter(|arg| arg.starts_with(['/', '.']) || arg.contains(['/', '.'])).collect();
    let target = args
        .iter()
        .position(|arg| matches!(*arg, "-o" | "-output" | "-outdev"))
        .and_then(|at| args.get(at + 1).copied())
        .or_else(|| if plain.len() > 1 { plain.pop() } else { None });
    // A disc is burnt, a volume is filled with what an image holds.
    let fills = |target: &&str| target.starts_with("/dev/") && !target.starts_with("/dev/sr") && !target.starts_with("/dev/dvd");
    if target.as_ref().is_some_and(fills) {
        return Ruling::new(Doing::Batch, SURE, "writes to a device");
    }
    let mut ruling = Ruling::new(Doing::Backup, ARCHIVES, "makes an image");
    if let Some(source) = plain.iter().find(|path| path.starts_with("/dev/")) {
        ruling.fact(READS_DEVICE, format!("it reads the device {source}"));
    }
    ruling.sources(plain.into_iter().filter(|path| Some(*path) != target));
    if let Some(target) = target { ruling.target(target) } else { ruling }
}

pub fn dd<'a>(args: &[&'a str]) -> Ruling<'a> {
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

pub fn dump<'a>(args: &[&'a str]) -> Ruling<'a> {
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
