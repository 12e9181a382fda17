//! What a command line asks for where a word list cannot say it: tar's letters, the direction of rsync and of uploads, where
//! dd reads.
//!
//! One function a rule: arguments in, [`Ruling`] out. Tested through tests/kinds.

mod archives;
mod copies;

use super::places::{is_built, is_live, is_template};
use super::tools::{Doing, Rule};
use super::words::name_says;
use archives::{cpio, dd, dump, image, tar, zip};
use copies::{cloud, cp, duplicity, rsync, transfer};

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
        let (mut live, mut built, mut template) = (None, None, None);
        for source in sources {
            if is_template(source) {
                template.get_or_insert(source);
            } else if is_live(source) && !is_built(source) {
                live.get_or_insert(source);
            } else if is_built(source) {
                built.get_or_insert(source);
            }
        }
        if let Some(path) = template {
            self.fact(FROM_TEMPLATE, format!("it reads an image that machines are made from: {path}"));
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
/// What is copied is there to be copied.
const FROM_TEMPLATE: f64 = -0.6;
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

/// What the program of a server was told to do instead of serving: `k3s etcd-snapshot save`, `influxd backup`, `ns-slapd db2archive`. An order
/// stands in front, among words of one kind; behind `run` or `worker` there are names.
pub fn order_of<'a>(args: &[&'a str]) -> Option<(Doing, &'a str)> {
    const SERVES: [&str; 10] = ["run", "serve", "server", "start", "worker", "agent", "daemon", "queue", "standalone", "node"];
    const LOOKS: [&str; 7] = ["list", "ls", "status", "show", "info", "inspect", "help"];
    const LONGEST: usize = 3;
    let is_word =
        |arg: &&&str| arg.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && !arg.starts_with('-');
    let orders: Vec<&str> = args.iter().take(LONGEST).take_while(is_word).copied().collect();
    let at = orders.iter().take_while(|order| !SERVES.contains(order)).position(|order| name_says(order).weight > 0.35)?;
    let behind = &orders[at..];
    if behind.iter().any(|order| LOOKS.contains(order)) {
        return Some((Doing::Quiet, orders[at]));
    }
    let undone = behind.iter().any(|order| name_says(order).cancelled);
    Some((if undone { Doing::Batch } else { Doing::Backup }, orders[at]))
}

/// Whether a cluster of short options (`-oav`) holds this letter.
fn has_letter(args: &[&str], letter: char) -> bool {
    args.iter().any(|arg| arg.starts_with('-') && !arg.starts_with("--") && arg[1..].contains(letter))
}

fn has(args: &[&str], options: &[&str]) -> bool {
    args.iter().any(|arg| options.contains(arg))
}
