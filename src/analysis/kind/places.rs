//! What paths say by themselves: a target on a NAS, a date in a file's name, what a host lives from, what a build made.
//!
//! Pure text. Tested in place.

use super::program::basename;
use super::tools::contains_ignoring_case;
use super::words::{MIDDLE, ends_with, is_in, is_strong, words};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dated_archive_on_a_nas_says_most() {
        let nas = place_says("/mnt/nas/site-2024-05-11.tar.gz").weight();
        let csv = place_says("/srv/reports/out.csv").weight();
        assert!(nas > 0.6 && csv < 0.01, "{nas} {csv}");
        assert!(place_says("backup@bk01.lan:/pool/").place > 0.4);
    }
}
