//! What whytop knows of programs: `tools.toml`, compiled in, parsed once, found by name.
//!
//! Knows names and words only; what a command line means is for `rules`, what a job means for `weigh`. A data file that does
//! not parse leaves the catalogue empty instead of ending the program: tests/kinds.rs sees to it that it parses.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::analysis::diagnosis::Advice;

/// What a program is, whatever it was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Makes backups and little else.
    Backup,
    /// Packs files: a backup if what it packs and where it puts it say so.
    Archiver,
    /// Copies files: a backup if source and target say so.
    Copier,
    /// Waits for its server or its hour, then backs up, all in one process or by children.
    Agent,
    /// Runs to its end and copies nothing to keep.
    Batch,
    /// Part of a pipeline: compresses, encrypts, sends.
    Helper,
    /// Somebody looks at something.
    Viewer,
    /// Serves others.
    Server,
    /// A client or tool box: its words decide.
    Client,
    /// A shell or another program that only starts others.
    Shell,
}

/// What a process does, as far as its program and its words tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Makes a copy to keep.
    Backup,
    /// Works, and makes no copy to keep.
    Batch,
    /// Looks, lists or waits: no load worth a name.
    Quiet,
    /// Could back up at any time: whether it does, its activity tells.
    Agent,
    /// Cannot be told.
    Unknown,
}

/// Rules that need code: see `rules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Mode letters, old and new style.
    Tar,
    /// `-o` out, `-i` in.
    Cpio,
    /// zip, 7z, rar.
    Zip,
    /// Makes an image of files or a disk.
    Image,
    /// `if=` and `of=`.
    Dd,
    /// dump's level.
    Dump,
    /// rsync's direction.
    Rsync,
    /// Local path and bucket.
    Cloud,
    /// cp.
    Cp,
    /// scp, sftp, lftp, curl.
    Transfer,
    /// duplicity's direction.
    Duplicity,
}

/// One tool.
#[derive(Clone, Debug)]
pub struct Tool {
    /// What it is called for people.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Words and options.
    pub words: &'static Words,
}

/// What an entry says beside names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    names: Vec<String>,
    role: Role,
    #[serde(default)]
    each: bool,
    /// How much its doing says, where the role's own weight does not fit.
    pub weight: Option<f64>,
    /// Needs code.
    pub rule: Option<Rule>,
    #[serde(default)]
    backup: Vec<String>,
    #[serde(default)]
    batch: Vec<String>,
    #[serde(default)]
    quiet: Vec<String>,
    #[serde(default)]
    agent: Vec<String>,
    /// With none of the words.
    pub otherwise: Option<Doing>,
    /// What runs below it is its business.
    #[serde(default)]
    pub decides: bool,
    /// Others do the work for it.
    #[serde(default)]
    pub conducts: bool,
    /// Clients that make it a clone when they read from it.
    #[serde(default)]
    pub sinks: Vec<String>,
    consequence: Option<String>,
    better_signal: Option<String>,
    cleanup: Option<String>,
    holds: Option<String>,
    gentle: Option<String>,
    resume: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    role: Role,
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tool: Vec<Words>,
    group: Vec<Group>,
}

/// The catalogue.
#[derive(Default)]
pub struct Tools {
    all: Vec<Tool>,
    by_name: HashMap<&'static str, usize>,
    /// By the first 15 bytes: all that the kernel keeps of a longer name.
    by_cut_name: HashMap<&'static str, usize>,
}

/// Bytes of a program's name that the kernel keeps.
pub const COMM: usize = 15;

/// The data file, for the tests.
pub const DATA: &str = include_str!("tools.toml");

/// The catalogue; empty if the data file is broken.
pub fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| toml::from_str(DATA).map(Tools::from_file).unwrap_or_default())
}

impl Tools {
    fn from_file(file: File) -> Self {
        let groups = file.group.into_iter().map(|group| Words {
            names: group.names,
            role: group.role,
            each: true,
            weight: None,
            rule: None,
            backup: Vec::new(),
            batch: Vec::new(),
            quiet: Vec::new(),
            agent: Vec::new(),
            otherwise: None,
            decides: false,
            conducts: false,
            sinks: Vec::new(),
            consequence: None,
            better_signal: None,
            cleanup: None,
            holds: None,
            gentle: None,
            resume: None,
        });
        let mut catalogue = Self::default();
        for words in file.tool.into_iter().chain(groups) {
            // Read once and kept to the end of the program: the names can then be keys.
            let words: &'static Words = Box::leak(Box::new(words));
            let first = words.names.first();
            for name in &words.names {
                let shown = if words.each { name } else { first.unwrap_or(name) };
                let index = catalogue.all.len();
                catalogue.all.push(Tool { name: shown.clone(), role: words.role, words });
                catalogue.by_name.insert(name, index);
                if name.len() > COMM && name.is_char_boundary(COMM) {
                    catalogue.by_cut_name.insert(&name[..COMM], index);
                }
            }
        }
        catalogue
    }

    /// The tool with this name: as it is, in lower case, without what versions and platforms add (`restic_0.16_linux_amd64`,
    /// `php-fpm8.2`), or cut by the kernel.
    pub fn find(&self, name: &str) -> Option<&Tool> {
        self.find_exactly(name).or_else(|| {
            let mut short = name;
            while let Some(shorter) = without_suffix(short) {
                if let Some(tool) = self.find_exactly(shorter) {
                    return Some(tool);
                }
                short = shorter;
            }
            None
        })
    }

    fn find_exactly(&self, name: &str) -> Option<&Tool> {
        let lower;
        let name = if name.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = name.to_ascii_lowercase();
            lower.as_str()
        } else {
            name
        };
        let index = self.by_name.get(name).or_else(|| if name.len() == COMM { self.by_cut_name.get(name) } else { None })?;
        self.all.get(*index)
    }

    /// How many names are known. For the tests.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether the data file was broken.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// The name without its last part that tells a version, a platform or a file type; `None` when there is none.
fn without_suffix(name: &str) -> Option<&str> {
    const PARTS: [&str; 24] = [
        "sh",
        "py",
        "pl",
        "rb",
        "exe",
        "bin",
        "jar",
        "phar",
        "php",
        "js",
        "linux",
        "linux64",
        "linuxold64",
        "amd64",
        "x64",
        "x86",
        "64",
        "arm64",
        "aarch64",
        "static",
        "musl",
        "glibc",
        "orig",
        "real",
    ];
    if let Some(at) = name.rfind(['-', '_', '.', '@']) {
        let part = &name[at + 1..];
        let version = part.strip_prefix('v').unwrap_or(part).starts_with(|c: char| c.is_ascii_digit());
        // `partclone.ext4`, `updatedb.plocate`: after a dot anything may go.
        if at > 0 && (version || part.is_empty() || PARTS.contains(&part) || name.as_bytes()[at] == b'.') {
            return Some(&name[..at]);
        }
    }
    let short = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (short.len() < name.len() && short.len() > 1).then_some(short)
}

impl Words {
    /// For whoever is about to end, pause or slow it.
    pub fn advice(&self) -> Advice {
        Advice {
            consequence: self.consequence.clone(),
            better_signal: self.better_signal.clone(),
            cleanup: self.cleanup.clone(),
            holds: self.holds.clone(),
            gentle: self.gentle.clone(),
            resume: self.resume.clone(),
        }
    }

    /// Whether the entry lists words that make a backup.
    pub const fn has_backup_words(&self) -> bool {
        !self.backup.is_empty()
    }

    /// What these arguments make of the program, and the word that says so.
    pub fn doing(&self, args: &[&str]) -> Option<(Doing, &str)> {
        let lists = [
            (Doing::Batch, &self.batch),
            (Doing::Quiet, &self.quiet),
            (Doing::Agent, &self.agent),
            (Doing::Backup, &self.backup),
        ];
        // The first word wins; one behind an option may be that option's value (`--tag backup`) and counts only if no other does.
        // At the same place the longer one wins (`snapshot create` before `snapshot`).
        let ranked = lists.into_iter().flat_map(|(doing, words)| {
            let found = move |word: &'_ String| position(word, args).map(|(doubtful, at)| (doubtful, at, Reverse(word.len())));
            words.iter().filter_map(move |word| found(word).map(|rank| (rank, doing, word.as_str())))
        });
        ranked.min_by_key(|(rank, ..)| *rank).map(|(_, doing, word)| (doing, word.trim_start_matches('~').trim()))
    }
}

/// Where a word of the data file stands among the arguments, and whether that may be an option's value.
fn position(word: &str, args: &[&str]) -> Option<(bool, usize)> {
    if let Some(text) = word.strip_prefix('~') {
        return args.iter().position(|arg| contains_ignoring_case(arg, text)).map(|at| (false, at)).or_else(|| {
            // A text with spaces may be spread over arguments.
            (text.trim().contains(' ') && contains_ignoring_case(&args.join(" "), text)).then_some((false, args.len()))
        });
    }
    let mut parts = word.split(' ');
    let first = parts.next()?;
    let option = first.starts_with('-');
    for (at, arg) in args.iter().enumerate() {
        if !same(first, arg, option) {
            continue;
        }
        let rest = args[at + 1..].iter().filter(|arg| option || !arg.starts_with('-'));
        if parts.clone().zip(rest).filter(|(part, arg)| part.eq_ignore_ascii_case(arg)).count() == parts.clone().count() {
            let behind_option = at > 0 && args[at - 1].starts_with('-') && !args[at - 1].contains('=');
            return Some((behind_option && !option, at));
        }
    }
    None
}

/// Whether an argument is this word: exactly, `--option=value`, or a short option at the head of a cluster (`-cf`).
fn same(word: &str, arg: &str, option: bool) -> bool {
    if !option {
        return arg.eq_ignore_ascii_case(word);
    }
    match arg.strip_prefix(word) {
        Some("") => true,
        Some(rest) => {
            rest.starts_with('=') || word.len() == 2 && !word.starts_with("--") && !arg.starts_with("--") && rest.len() < 4
        }
        None => false,
    }
}

/// `text.contains(part)` without regard to the case of ASCII letters. `part` is in lower case.
pub fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.as_bytes().windows(part.len().max(1)).any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_platforms_do_not_hide_a_tool() {
        for (name, tool) in [
            ("restic_0.16.4_linux_amd64", "restic"),
            ("borg-linuxold64", "borg"),
            ("duplicacy_linux_x64_3.2.3", "duplicacy"),
            ("php-fpm8.2", "php-fpm"),
            ("BackupPC_dump", "backuppc_dump"),
            ("partclone.xfs", "partclone"),
            ("pg_backupcluste", "pg_backupcluster"),
        ] {
            assert_eq!(tools().find(name).map(|tool| tool.name.as_str()), Some(tool), "{name}");
        }
        assert!(tools().find("tart").is_none());
    }

    #[test]
    fn the_first_word_that_is_no_options_value_decides() {
        let doing = |name: &str, line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            tools().find(name).and_then(|tool| tool.words.doing(&args)).map(|(doing, _)| doing)
        };
        assert_eq!(doing("restic", "-r /srv/r --tag backup forget --prune"), Some(Doing::Batch));
        assert_eq!(doing("restic", "--quiet backup /srv"), Some(Doing::Backup));
        assert_eq!(doing("kopia", "snapshot list"), Some(Doing::Quiet));
        assert_eq!(doing("kopia", "--config-file=x snapshot create /srv"), Some(Doing::Backup));
        assert_eq!(doing("burp", "-a b"), Some(Doing::Backup));
        assert_eq!(doing("sqlite3", "app.db .BACKUP x"), Some(Doing::Backup));
    }
}
