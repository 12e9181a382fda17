//! What work is called that is no backup: `virus scan`, `package upgrade`, `restore`.
//!
//! The knowledge base says it for tools; else the words that a tool was given, or those of a script's name. Pure text.

use super::read::{Reading, shown};
use super::tools::{Doing, Role};
use super::words::words;

/// Words of commands and names, and the work they stand for. What is done with backups themselves is told by [`of`].
const WORK: [(&str, &str); 76] = [
    ("check", "check"),
    ("checks", "check"),
    ("verify", "check"),
    ("validate", "check"),
    ("fsck", "check"),
    ("verification", "check"),
    ("prune", "clean-up"),
    ("forget", "clean-up"),
    ("compact", "clean-up"),
    ("expire", "clean-up"),
    ("purge", "clean-up"),
    ("clean", "clean-up"),
    ("cleanup", "clean-up"),
    ("cleaner", "clean-up"),
    ("delete", "clean-up"),
    ("remove", "clean-up"),
    ("gc", "clean-up"),
    ("restore", "restore"),
    ("restores", "restore"),
    ("recover", "restore"),
    ("recovery", "restore"),
    ("extract", "unpacking"),
    ("extracts", "unpacking"),
    ("unpack", "unpacking"),
    ("unpacks", "unpacking"),
    ("receive", "file transfer"),
    ("receives", "file transfer"),
    ("moves", "file transfer"),
    ("parity", "parity"),
    ("download", "download"),
    ("downloads", "download"),
    ("deploy", "deployment"),
    ("deployment", "deployment"),
    ("release", "deployment"),
    ("build", "build"),
    ("compile", "build"),
    ("scrub", "scrub"),
    ("balance", "rebalancing"),
    ("resync", "resync"),
    ("virus", "virus scan"),
    ("malware", "virus scan"),
    ("antivirus", "virus scan"),
    ("scan", "scan"),
    ("scanner", "scan"),
    ("scans", "scan"),
    ("index", "indexing"),
    ("indexer", "indexing"),
    ("indexing", "indexing"),
    ("reindex", "indexing"),
    ("report", "report"),
    ("reports", "report"),
    ("reporting", "report"),
    ("statistics", "report"),
    ("etl", "data import"),
    ("import", "data import"),
    ("importer", "data import"),
    ("ingest", "data import"),
    ("load", "data import"),
    ("loader", "data import"),
    ("migrate", "migration"),
    ("migration", "migration"),
    ("vacuum", "database maintenance"),
    ("optimize", "database maintenance"),
    ("repair", "database maintenance"),
    ("defragment", "filesystem maintenance"),
    ("rotate", "log rotation"),
    ("logrotate", "log rotation"),
    ("transcode", "media conversion"),
    ("encode", "media conversion"),
    ("thumbnails", "media conversion"),
    ("thumbnailer", "media conversion"),
    ("thumbs", "media conversion"),
    ("resize", "media conversion"),
    ("refresh", "clone"),
    ("clone", "clone"),
    ("train", "training"),
];

/// The work that this word of a command or a name stands for.
pub fn of_word(word: &str) -> Option<&'static str> {
    WORK.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, work)| *work)
}

/// The work that a process does which makes no backup.
pub fn of(reading: &Reading) -> Option<String> {
    match (reading.doing, reading.role()) {
        // Nothing else says that it is a backup.
        (Doing::Backup, Some(Role::Archiver)) => return Some("packing".to_owned()),
        (Doing::Backup, Some(Role::Copier)) => return Some("file copy".to_owned()),
        (Doing::Backup, _) => return None,
        _ => {}
    }
    if let Some(work) = reading.tool.and_then(|tool| tool.words.work.as_deref()) {
        return Some(shown(work));
    }
    let told = words(&reading.text).chain(words(reading.program.name)).find_map(of_word)?;
    // What backup tools check and clean up is backups.
    let of_backups = matches!(reading.role(), Some(Role::Backup | Role::Agent)) && matches!(told, "check" | "clean-up");
    Some(if of_backups { format!("backup {told}") } else { told.to_owned() })
}
