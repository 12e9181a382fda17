//! What names and paths say by themselves: "backup" in a script's name, a target on a NAS, a date in a file's name.
//!
//! Words of several languages, cut at anything that is no letter or digit and where capitals begin. A word that takes it back
//! (`backup-check`, `backup_portal`) wins over the word itself.

use super::program::basename;
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
const MIDDLE: [&str; 12] =
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
const THINGS: [&str; 45] = [
    "alerts",
    "api",
    "browser",
    "catalog",
    "catalogue",
    "console",
    "dashboard",
    "deploy",
    "docs",
    "etl",
    "exporter",
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
    "status",
    "ui",
    "viewer",
    "watchdog",
    "website",
    "webui",
];
/// Words that make a directory, host or bucket a place for backups.
const PLACES: [&str; 24] = [
    "archive",
    "archives",
    "nas",
    "nas1",
    "offsite",
    "vault",
    "storagebox",
    "glacier",
    "coldline",
    "tape",
    "tapes",
    "borg",
    "restic",
    "kopia",
    "duplicity",
    "rsnapshot",
    "updraft",
    "retention",
    "dr",
    "bunker",
    "synology",
    "qnap",
    "truenas",
    "stor",
];
/// Words for a copy that somebody will work on.
const COPIES: [&str; 12] =
    ["staging", "stage", "dev", "test", "testing", "qa", "preview", "sandbox", "deploy", "release", "releases", "uat"];
const ARCHIVES: [&str; 47] = [
    ".tar",
    ".tgz",
    ".tbz",
    ".tbz2",
    ".txz",
    ".tzst",
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
    ".lz4",
    ".zip",
    ".7z",
    ".rar",
    ".sql",
    ".dump",
    ".dmp",
    ".bak",
    ".bkp",
    ".bkf",
    ".img",
    ".vbk",
    ".vib",
    ".vma",
    ".qcow2",
    ".cpio",
    ".dar",
    ".ldif",
    ".rdb",
    ".bundle",
    ".xbstream",
    ".pcl",
    ".fsa",
    ".sqfs",
    ".squashfs",
    ".archive",
    ".zpaq",
    ".lzo",
    ".gpg",
    ".enc",
    ".age",
    ".xfsdump",
    ".bson",
    ".partial",
    ".jpa",
    ".jps",
    ".wpress",
];

/// What a name says: how much for a backup (0 if nothing), and whether a word takes it back.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NameSays {
    /// For a backup.
    pub weight: f64,
    /// A word takes it back.
    pub cancelled: bool,
}

/// Reads a program's, script's or unit's name.
pub fn name_says(name: &str) -> NameSays {
    let mut says = NameSays::default();
    let (mut thing, mut other) = (false, false);
    for word in words(name).flat_map(unglued) {
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
            thing |= is_in(&THINGS, word);
            other |= work::of_word(word).is_some();
            continue;
        };
        thing = false;
        says.weight = says.weight.max(weight);
    }
    says.cancelled |= if says.weight > 0.0 { thing } else { other };
    says
}

/// `hdbbackupcheck` and `backupserver` are as good as written apart, where what is glued to the word takes it back.
fn unglued(word: &str) -> impl Iterator<Item = &str> {
    const BACKUP: &str = "backup";
    let at = word.to_ascii_lowercase().find(BACKUP).unwrap_or_default();
    let (before, rest) = word.split_at(at);
    let (glued, behind) = rest.split_at(BACKUP.len().min(rest.len()));
    let tells = |part: &str| is_in(&UNDOING, part) || is_in(&THINGS, part);
    let apart = contains_ignoring_case(glued, BACKUP) && (is_in(&UNDOING, before) || tells(behind));
    let parts = if apart { [before, glued, behind] } else { [word, "", ""] };
    parts.into_iter().filter(|part| !part.is_empty())
}

/// A word of a command line that asks for a backup.
pub fn says_backup(word: &str) -> bool {
    let says = name_says(word);
    says.weight > 0.35 && !says.cancelled
}

/// What a place that is written to says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PlaceSays {
    /// A directory, host or bucket for backups.
    pub place: f64,
    /// A date in its name.
    pub dated: f64,
    /// An archive by its name.
    pub archive: f64,
    /// Against: a copy to work on.
    pub copy: f64,
}

impl PlaceSays {
    /// All of it as one weight.
    pub fn weight(self) -> f64 {
        (1.0 - (1.0 - self.place) * (1.0 - self.dated) * (1.0 - self.archive)) * (1.0 - self.copy)
    }
}

/// Reads a path, `host:path` or URL that something is written to.
pub fn place_says(target: &str) -> PlaceSays {
    let mut says = PlaceSays::default();
    // Logs are turned over, dated and packed where they lie.
    if target.starts_with("/var/log/") {
        return says;
    }
    for word in words(target) {
        if is_strong(word) || is_in(&PLACES, word) || is_in(&MIDDLE, word) || ends_with(word, "dumps") {
            says.place = 0.45;
        } else if is_in(&COPIES, word) {
            says.copy = 0.4;
        } else if word.len() == 8 && word.starts_with("20") && word.bytes().all(|b| b.is_ascii_digit()) {
            says.dated = 0.35;
        }
    }
    if ["/mnt/", "/media/", "/net/", "/nfs", "/cifs", "/volume1/", "/run/media/"].iter().any(|mount| target.contains(mount)) {
        says.place = says.place.max(0.3);
    }
    if let Some(device) = target.strip_prefix("/dev/") {
        says.copy = 0.0;
        if device.starts_with("nst") || device.starts_with("st") && device[2..].starts_with(|c: char| c.is_ascii_digit()) {
            // A tape.
            says.place = 0.45;
        }
    }
    if says.place > 0.4 {
        // A backup of the test host is a backup.
        says.copy = 0.0;
    }
    if is_dated(target) {
        says.dated = 0.35;
    }
    let name = target.rsplit('/').next().unwrap_or(target).to_ascii_lowercase();
    if ARCHIVES.iter().any(|ending| has_ending(&name, ending)) {
        says.archive = 0.2;
    }
    says
}

/// Whether this is a dump of a database, by its name, as it is written: nothing else makes such files.
pub fn is_dump(target: &str) -> bool {
    const DUMPS: [&str; 7] = [".sql", ".dump", ".dmp", ".bson", ".ldif", ".xbstream", ".pgdump"];
    let name = basename(target).to_ascii_lowercase();
    DUMPS.iter().any(|ending| has_ending(&name, ending))
}

/// Whether a name holds this ending, before others (`.sql.gz.part`) or not; `.sqlite` is no `.sql`.
fn has_ending(name: &str, ending: &str) -> bool {
    let ends = |at: usize| !name[at + ending.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
    name.match_indices(ending).any(|(at, _)| ends(at))
}

/// Whether a path is where hosts keep what they live from: what a backup reads.
pub fn is_live(path: &str) -> bool {
    const ROOTS: [&str; 16] = [
        "/etc",
        "/home",
        "/var",
        "/srv",
        "/root",
        "/opt",
        "/usr/local",
        "/data",
        "/boot",
        "/export",
        "/u01",
        "/mail",
        // Where volumes are mounted in containers.
        "/vol",
        "/volumes",
        "/source",
        "/shares",
    ];
    path == "/"
        || path == "." && path.len() > 1
        || ROOTS.iter().any(|root| path.strip_prefix(root).is_some_and(is_end_of_component))
}

fn is_end_of_component(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// Whether a path is what a build makes.
pub fn is_built(path: &str) -> bool {
    path.split('/').any(|part| {
        matches!(
            part,
            "dist" | "build" | "target" | "out" | "_site" | "node_modules" | "release" | "public" | "artifacts" | "bundle"
        )
    }) && !path.starts_with("/home")
}

/// Whether a path is an image that machines are made from: `/templates/deb12.qcow2`, `noble-cloudimg-amd64.img`.
pub fn is_template(path: &str) -> bool {
    const TEMPLATES: [&str; 8] =
        ["template", "templates", "tmpl", "golden", "cloudimg", "cloudimage", "genericcloud", "goldimage"];
    const IMAGES: [&str; 8] = [".qcow2", ".img", ".raw", ".vmdk", ".vdi", ".vhd", ".vhdx", ".iso"];
    let name = basename(path).to_ascii_lowercase();
    IMAGES.iter().any(|ending| has_ending(&name, ending)) && words(path).any(|word| is_in(&TEMPLATES, word))
}

/// `2024-05-11`, `2024_05`, `$(date +%F)`, `%Y`.
fn is_dated(text: &str) -> bool {
    if contains_ignoring_case(text, "$(date")
        || text.contains("`date")
        || text.contains("%F")
        || text.contains("%Y")
        || text.contains("{now")
    {
        return true;
    }
    text.as_bytes().windows(7).any(|w| {
        w.starts_with(b"20")
            && w[2].is_ascii_digit()
            && w[3].is_ascii_digit()
            && matches!(w[4], b'-' | b'_' | b'.')
            && w[5].is_ascii_digit()
            && w[6].is_ascii_digit()
    })
}

fn is_strong(word: &str) -> bool {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    contains_ignoring_case(word, "backup") || contains_ignoring_case(word, "bkup") || is_in(&STRONG, word)
}

fn is_in(list: &[&str], word: &str) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn ends_with(word: &str, end: &str) -> bool {
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
        for glued in ["hdbbackupcheck", "backupserver", "verifybackup", "pgbackupexporter", "BACKUPRESTORE"] {
            assert!(name_says(glued).cancelled, "{glued}");
        }
        for made in ["mysqlbackup", "backups", "backupninja", "serverbackup", "backupall"] {
            assert!(name_says(made).weight > 0.5 && !name_says(made).cancelled, "{made}");
        }
        assert!(name_says("cupboard").weight < 0.1);
    }

    #[test]
    fn a_dated_archive_on_a_nas_says_most() {
        let nas = place_says("/mnt/nas/site-2024-05-11.tar.gz").weight();
        let csv = place_says("/srv/reports/out.csv").weight();
        assert!(nas > 0.6 && csv < 0.01, "{nas} {csv}");
        assert!(place_says("backup@bk01.lan:/pool/").place > 0.4);
    }
}
