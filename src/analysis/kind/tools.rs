//! An entry of the knowledge base: what a tool is, the words that tell what it does, and what is known of ending it.
//!
//! Knows names and words only; what a command line means is for `rules`, what a job means for `weigh`, and where entries come from for
//! `catalogue`.

use std::cmp::Reverse;
use std::sync::Arc;

use serde::Deserialize;

use crate::analysis::diagnosis::Advice;
use crate::units::clean;

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
    pub words: Arc<Words>,
}

/// An entry of the knowledge base. The head of `tools/copies.toml` says what each field is for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own in the data files")]
pub struct Words {
    names: Vec<String>,
    /// What it is.
    pub role: Role,
    #[serde(default)]
    each: bool,
    /// What its work is called, where it is no backup: `virus scan`.
    pub work: Option<String>,
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
    #[serde(default)]
    maybe: Vec<String>,
    /// With none of the words.
    pub otherwise: Option<Doing>,
    /// What runs below it is its business.
    #[serde(default)]
    pub decides: bool,
    /// Others do the work for it.
    #[serde(default)]
    pub conducts: bool,
    /// It does its work itself.
    #[serde(default)]
    pub itself: bool,
    /// Its own program takes orders instead of serving.
    #[serde(default)]
    pub orders: bool,
    /// What it was told is not seen, and data goes through it both ways.
    #[serde(default)]
    pub mover: bool,
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

/// Signals that a tool may take better than SIGTERM.
const SIGNALS: [&str; 4] = ["SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"];

impl Words {
    /// An entry in which every name is a program of its own.
    #[must_use]
    pub fn of_group(self) -> Self {
        Self { each: true, ..self }
    }

    /// Every name with what it is called for people.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let first = self.names.first();
        self.names.iter().map(move |name| (name.as_str(), if self.each { name } else { first.unwrap_or(name) }.as_str()))
    }

    /// What is wrong with the entry.
    pub fn fault(&self) -> Option<String> {
        let bad_name =
            |name: &&String| name.is_empty() || name.contains(['/', ' ']) || name.bytes().any(|b| b.is_ascii_uppercase());
        if self.names.is_empty() {
            return Some("names is empty".to_owned());
        }
        // A rules file may be somebody else's, and what it says is shown on a terminal.
        if let Some(text) = self.texts().find(|text| clean(text) != **text) {
            return Some(format!("'{text}' holds a character that is not for a terminal: give plain text on one line"));
        }
        if let Some(name) = self.names.iter().find(bad_name) {
            return Some(format!("'{name}' is no name: give the program's or script's own, in lower case and without its path"));
        }
        let lists = [&self.backup, &self.batch, &self.quiet, &self.agent, &self.maybe];
        let words = || lists.into_iter().flatten();
        if words().any(|word| word.trim_matches(['~', ' ']).is_empty()) {
            return Some("a word is empty".to_owned());
        }
        if let Some(word) = words().find(|word| word.starts_with('~') && word.bytes().any(|b| b.is_ascii_uppercase())) {
            return Some(format!("'{word}' must be in lower case: it is looked for without regard to case"));
        }
        if let Some(word) = words().find(|word| lists.iter().filter(|list| list.contains(word)).count() > 1) {
            return Some(format!("'{word}' is in two lists"));
        }
        if let Some(weight) = self.weight.filter(|weight| *weight <= 0.0 || *weight >= 1.0) {
            return Some(format!("weight is {weight}: give a number between 0 and 1"));
        }
        let unknown = self.better_signal.as_ref().filter(|signal| !SIGNALS.contains(&signal.as_str()));
        unknown.map(|signal| format!("better_signal is '{signal}': give one of {}", SIGNALS.join(", ")))
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let lists = [&self.names, &self.backup, &self.batch, &self.quiet, &self.agent, &self.maybe, &self.sinks];
        let advice = [&self.consequence, &self.better_signal, &self.cleanup, &self.holds, &self.gentle, &self.resume];
        lists.into_iter().flatten().chain(advice.into_iter().chain([&self.work]).flatten())
    }

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

    /// Whether the entry lists a word by which it makes backups, and one by which it stays and waits to be asked.
    pub fn may_serve(&self) -> bool {
        let stays = |word: &String| matches!(word.as_str(), "server" | "serve" | "daemon" | "watch");
        self.has_backup_words() && self.quiet.iter().chain(&self.agent).any(stays)
    }

    /// The word by which it was told to take orders that are not seen, where none says what they are.
    pub fn hidden_orders(&self, args: &[&str]) -> Option<&str> {
        let word = self.maybe.iter().find(|word| position(word, args).is_some())?;
        Some(word.trim_start_matches('~'))
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
