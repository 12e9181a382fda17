//! The knowledge base: what whytop knows of programs, found by name. Compiled in from `tools/*.toml`, and added to from files of the
//! user's, which come as text: reading them is not done here.
//!
//! A bad entry is refused with its line and the reason, and the others stay. A value owned by whoever judges, shared by `Arc`. Tested
//! in place, by tests/kinds.rs and tests/knowledge.rs.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

use super::tools::{Tool, Words};
use crate::units::clean;

/// The data files, for the tests: name and text.
pub const DATA: [(&str, &str); 8] = [
    ("copies.toml", include_str!("tools/copies.toml")),
    ("archives.toml", include_str!("tools/archives.toml")),
    ("databases.toml", include_str!("tools/databases.toml")),
    ("agents.toml", include_str!("tools/agents.toml")),
    ("applications.toml", include_str!("tools/applications.toml")),
    ("batch.toml", include_str!("tools/batch.toml")),
    ("programs.toml", include_str!("tools/programs.toml")),
    ("servers.toml", include_str!("tools/servers.toml")),
];

/// Bytes of a program's name that the kernel keeps.
pub const COMM: usize = 15;

/// Why an entry was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Line of the file, from 1.
    pub line: usize,
    /// In words.
    pub why: String,
}

/// What is known of programs.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    all: Vec<Tool>,
    by_name: HashMap<String, usize>,
    /// By the first 15 bytes: all that the kernel keeps of a longer name.
    by_cut_name: HashMap<String, usize>,
}

/// A rules file, or an entry of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    tool: Vec<Words>,
    #[serde(default)]
    group: Vec<Words>,
}

impl Catalogue {
    /// What is compiled in. Parsed once: it is a constant.
    pub fn built_in() -> Arc<Self> {
        static BUILT_IN: OnceLock<Arc<Catalogue>> = OnceLock::new();
        let parse = || {
            let mut catalogue = Self::default();
            for (_, text) in DATA {
                // tests/kinds.rs sees to it that nothing is complained of.
                catalogue.learn(text);
            }
            Arc::new(catalogue)
        };
        Arc::clone(BUILT_IN.get_or_init(parse))
    }

    /// Adds the entries of a rules file; of two entries with one name the later wins. Answers what was refused.
    pub fn learn(&mut self, text: &str) -> Vec<Complaint> {
        let mut complaints = Vec::new();
        for (line, entry) in entries(text) {
            match toml::from_str::<File>(entry) {
                Ok(file) => {
                    let groups = file.group.into_iter().map(Words::of_group);
                    for words in file.tool.into_iter().chain(groups) {
                        match words.fault() {
                            Some(why) => complaints.push(Complaint { line, why: clean(&why) }),
                            None => self.add(words),
                        }
                    }
                }
                Err(error) => {
                    let before = error.span().and_then(|span| entry.get(..span.start)).unwrap_or_default();
                    complaints.push(Complaint { line: line + before.matches('\n').count(), why: one_line(error.message()) });
                }
            }
        }
        complaints
    }

    fn add(&mut self, words: Words) {
        let words = Arc::new(words);
        for (name, called) in words.names() {
            let index = self.all.len();
            self.all.push(Tool { name: called.to_owned(), role: words.role, words: Arc::clone(&words) });
            if name.len() > COMM && name.is_char_boundary(COMM) {
                self.by_cut_name.insert(name[..COMM].to_owned(), index);
            }
            self.by_name.insert(name.to_owned(), index);
        }
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

    /// How many names are known.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// The text cut before each `[[…]]`, with the line each piece begins in: what is wrong with an entry stays with it.
fn entries(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let (mut start, mut first) = (0, 1);
    let mut at = 0;
    for (line, words) in (1..).zip(text.split_inclusive('\n')) {
        if words.trim_start().starts_with("[[") && at > start {
            pieces.push((first, &text[start..at]));
            (start, first) = (at, line);
        }
        at += words.len();
    }
    pieces.push((first, &text[start..]));
    pieces
}

/// The parser's own words, on one line and without the list of all fields there are. It quotes the file, which may hold anything.
fn one_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let known = if line.starts_with("unknown field") { line.split(", expected").next() } else { None };
    clean(known.unwrap_or(line))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::kind::tools::{Doing, Role};

    #[test]
    fn versions_and_platforms_do_not_hide_a_tool() {
        let catalogue = Catalogue::built_in();
        for (name, tool) in [
            ("restic_0.16.4_linux_amd64", "restic"),
            ("borg-linuxold64", "borg"),
            ("duplicacy_linux_x64_3.2.3", "duplicacy"),
            ("php-fpm8.2", "php-fpm"),
            ("BackupPC_dump", "backuppc_dump"),
            ("partclone.xfs", "partclone"),
            ("pg_backupcluste", "pg_backupcluster"),
        ] {
            assert_eq!(catalogue.find(name).map(|tool| tool.name.as_str()), Some(tool), "{name}");
        }
        assert!(catalogue.find("tart").is_none());
    }

    #[test]
    fn the_first_word_that_is_no_options_value_decides() {
        let catalogue = Catalogue::built_in();
        let doing = |name: &str, line: &str| {
            let args: Vec<&str> = line.split(' ').collect();
            catalogue.find(name).and_then(|tool| tool.words.doing(&args)).map(|(doing, _)| doing)
        };
        assert_eq!(doing("restic", "-r /srv/r --tag backup forget --prune"), Some(Doing::Batch));
        assert_eq!(doing("restic", "--quiet backup /srv"), Some(Doing::Backup));
        assert_eq!(doing("kopia", "snapshot list"), Some(Doing::Quiet));
        assert_eq!(doing("kopia", "--config-file=x snapshot create /srv"), Some(Doing::Backup));
        assert_eq!(doing("burp", "-a b"), Some(Doing::Backup));
        assert_eq!(doing("sqlite3", "app.db .BACKUP x"), Some(Doing::Backup));
    }

    #[test]
    fn a_later_entry_wins_and_a_bad_one_leaves_the_others_alone() {
        let text = "# mine\n\n[[tool]]\nnames = [\"nightsafe\"]\nrole = \"backup\"\n\n\
                    [[tool]]\nnames = [\"x\"]\nrole = \"bakcup\"\n\n\
                    [[tool]]\nnames = [\"Y\"]\nrole = \"batch\"\n\n\
                    [[group]]\nrole = \"batch\"\nnames = [\"tar\"]\n\n\
                    [[tool]]\nnames = [\"z\"\nrole = \"batch\"\n";
        let mut catalogue = (*Catalogue::built_in()).clone();
        let known = catalogue.len();
        let complaints = catalogue.learn(text);
        assert_eq!(complaints.iter().map(|complaint| complaint.line).collect::<Vec<_>>(), [9, 11, 21], "{complaints:?}");
        assert!(complaints[0].why.contains("bakcup"), "{complaints:?}");
        assert_eq!(catalogue.find("nightsafe").map(|tool| tool.role), Some(Role::Backup));
        assert_eq!(catalogue.find("tar").map(|tool| tool.role), Some(Role::Batch), "the later one wins");
        assert_eq!(catalogue.len(), known + 1);
    }
}
