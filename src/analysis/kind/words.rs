//! What names say by themselves: "backup" in a script's or a unit's name. What paths say is for `places`.
//!
//! Words of several languages, cut at anything that is no letter or digit and where capitals begin. A word that takes it back
//! (`backup-check`, `backup_portal`) wins over the word itself.

use super::tools::contains_ignoring_case;
use super::work;

/// A name with an unmistakable word in it: `backup.sh`, `nightly-bkp`.
const NAMED_BACKUP: f64 = 0.62;
/// A name that says that data is dumped or a snapshot taken.
const NAMED_DUMP: f64 = 0.4;
/// A name that says less: `save`, `archive`, `offsite`.
const NAMED_SAVE: f64 = 0.25;
/// A name that only says that something is copied: `sync`.
const NAMED_COPY: f64 = 0.12;

const STRONG: [&str; 18] = [
    "bkp",
    "bkps",
    "bak",
    "bck",
    "bk",
    "bkup",
    "bup",
    "sauvegarde",
    "sauvegardes",
    "sicherung",
    "datensicherung",
    "respaldo",
    "respaldos",
    "copias",
    "zaloha",
    "yedek",
    "zfssnap",
    "backups",
];
pub const MIDDLE: [&str; 12] =
    ["dump", "dumps", "dumpall", "dumper", "snap", "snapshot", "snapshots", "snaps", "offsite", "pgdump", "sqldump", "dbdump"];
const WEAK: [&str; 17] = [
    "save",
    "saves",
    "saver",
    "archive",
    "archives",
    "archiver",
    "archiving",
    "arc",
    "mirror",
    "vault",
    "export",
    "nas",
    "offload",
    "replicate",
    "replica",
    "nightly",
    "dbsave",
];
const COPYING: [&str; 4] = ["sync", "copy", "copier", "transfer"];
/// What is done with backups that are there, and dumps of other things: wherever such a word stands, none is made.
const UNDOING: [&str; 49] = [
    "alert",
    "audit",
    "browse",
    "check",
    "checker",
    "checks",
    "clean",
    "cleaner",
    "cleanup",
    "clone",
    "compare",
    "coredump",
    "crashdump",
    "delete",
    "download",
    "downloads",
    "expire",
    "expiry",
    "extract",
    "heap",
    "heapdump",
    "inspect",
    "list",
    "mon",
    "monitor",
    "monitoring",
    "notify",
    "prepare",
    "prune",
    "purge",
    "recover",
    "recovery",
    "refresh",
    "remove",
    "restore",
    "restores",
    "rotate",
    "rotation",
    "tcpdump",
    "test",
    "threaddump",
    "unpack",
    "validate",
    "validator",
    "verification",
    "verifier",
    "verify",
    "view",
    "watch",
];
/// Things that are called after backups: behind the word they take it back (`backup_portal`), before it they are what is backed up
/// (`portal-backup`).
const THINGS: [&str; 50] = [
    "alerts",
    "api",
    "browser",
    "catalog",
    "catalogue",
    "console",
    "dashboard",
    "dashboards",
    "deploy",
    "docs",
    "etl",
    "exporter",
    "exporters",
    "frontend",
    "gui",
    "import",
    "index",
    "indexer",
    "load",
    "loader",
    "log",
    "logs",
    "mailer",
    "metrics",
    "migrate",
    "plugin",
    "portal",
    "proxy",
    "queue",
    "receiver",
    "reindex",
    "report",
    "reporter",
    "reporting",
    "reports",
    "retention",
    "scan",
    "scanner",
    "server",
    "stat",
    "stats",
    "statuspage",
    "statusboard",
    "status",
    "ui",
    "viewer",
    "visualizer",
    "watchdog",
    "website",
    "webui",
];
/// What only shows or hands out backups, where it is glued to the word: `backupboard`. Written apart it may be what is backed up.
const GLUED: [&str; 11] = ["board", "feed", "hub", "info", "overview", "page", "pages", "panel", "state", "tracker", "wall"];

/// What a name says: how much for a backup (0 if nothing), and whether a word takes it back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NameSays {
    /// For a backup.
    pub weight: f64,
    /// A word takes it back.
    pub cancelled: bool,
    /// Only a thing that is glued to the word does: `backupserver` is one, or backs it up.
    pub glued: bool,
}

/// Reads a program's, script's or unit's name.
pub fn name_says(name: &str) -> NameSays {
    let mut says = NameSays::default();
    let (mut thing, mut stuck, mut other) = (false, false, false);
    for (word, glued) in words(name).flat_map(unglued) {
        let weight = if is_in(&UNDOING, word) {
            says.cancelled = true;
            other |= work::of_word(word).is_some();
            continue;
        } else if is_strong(word) {
            NAMED_BACKUP
        } else if is_in(&MIDDLE, word) || (word.len() > 5 && (ends_with(word, "dump") || ends_with(word, "snap"))) {
            NAMED_DUMP
        } else if is_in(&WEAK, word) {
            NAMED_SAVE
        } else if is_in(&COPYING, word) {
            NAMED_COPY
        } else {
            thing |= !glued && is_in(&THINGS, word);
            stuck |= glued && (is_in(&THINGS, word) || is_in(&GLUED, word));
            other |= work::of_word(word).is_some();
            continue;
        };
        (thing, stuck) = (false, false);
        says.weight = says.weight.max(weight);
    }
    says.cancelled |= if says.weight > 0.0 { thing } else { other };
    says.glued = stuck && !says.cancelled;
    says.cancelled |= stuck;
    says
}

/// `hdbbackupcheck` and `backupserver` are as good as written apart, where what is glued to the word takes it back.
fn unglued(word: &str) -> impl Iterator<Item = (&str, bool)> {
    const BACKUP: &str = "backup";
    // All of it is ASCII, so it begins and ends between characters.
    let at = word.as_bytes().windows(BACKUP.len()).position(|part| part.eq_ignore_ascii_case(BACKUP.as_bytes()));
    let (before, rest) = word.split_at(at.unwrap_or(word.len()));
    let (glued, behind) = rest.split_at(BACKUP.len().min(rest.len()));
    let tells = |part: &str| is_in(&UNDOING, part) || is_in(&THINGS, part) || is_in(&GLUED, part);
    let apart = at.is_some() && (is_in(&UNDOING, before) || tells(behind));
    let parts = if apart { [(before, false), (glued, false), (behind, true)] } else { [(word, false), ("", false), ("", false)] };
    parts.into_iter().filter(|(part, _)| !part.is_empty())
}

/// A word of a command line that asks for a backup.
pub fn says_backup(word: &str) -> bool {
    let says = name_says(word);
    says.weight > 0.35 && !says.cancelled
}

pub fn is_strong(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    contains_ignoring_case(word, "backup") || contains_ignoring_case(word, "bkup") || is_in(&STRONG, word)
}

pub fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

pub fn ends_with(word: &str, end: &str) -> bool {
    word.len() >= end.len() && word.as_bytes()[word.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

/// The words of a name: cut at what is no letter or digit, and before a capital that follows a small letter.
pub fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).flat_map(|part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let bytes = rest.as_bytes();
            let cut = (1..bytes.len()).find(|&i| bytes[i].is_ascii_uppercase() && bytes[i - 1].is_ascii_lowercase());
            let (word, more) = rest.split_at(cut.unwrap_or(rest.len()));
            rest = more;
            Some(word)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_takes_it_back_wins() {
        assert!(name_says("nightly-backup.sh").weight > 0.5);
        assert!(name_says("dbBackup").weight > 0.5);
        assert!(name_says("mysqldump-all").weight > 0.3);
        assert!(name_says("backup-check.sh").cancelled);
        assert!(name_says("backup_portal").cancelled);
        assert!(name_says("restore-backup").cancelled);
        assert!(!name_says("portal-backup.sh").cancelled);
        for glued in [
            "hdbbackupcheck",
            "backupserver",
            "verifybackup",
            "pgbackupexporter",
            "BACKUPRESTORE",
            "backupboard",
            "backuppanel",
            "backup-statuspage",
        ] {
            assert!(name_says(glued).cancelled, "{glued}");
        }
        for made in
            ["mysqlbackup", "backups", "backupninja", "serverbackup", "backupall", "boardbackup", "backup-panel", "backupweb"]
        {
            assert!(name_says(made).weight > 0.5 && !name_says(made).cancelled, "{made}");
        }
        assert!(name_says("cupboard").weight < 0.1);
    }
}
