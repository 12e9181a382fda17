//! What one process does: its program, what its words make of it, what it moves.
//!
//! Called for every new process, so it makes text only where there is something to tell.

use super::ProcessShape;
use super::catalogue::Catalogue;
use super::files::read_files;
use super::pace::Pace;
use super::places::place_says;
use super::program::{Program, basename, commands, program, unwrap};
use super::rules::{self, Fact};
use super::strangers::{outputs, read_stranger, read_title};
use super::tools::{Doing, Role, Tool};
use super::words::{name_says, says_backup, words};
use crate::units::clean;

/// A tool made for backups does what it is made for.
pub const BACKS_UP: f64 = 0.93;
/// A backup tool without any of its words.
const PROBABLY_BACKS_UP: f64 = 0.8;
/// A file comes from another host: anything from a log to a disk of a virtual machine.
const FETCHES: f64 = 0.2;
/// A database hands tables to another host, to a user whose name says what for.
const FOR_DUMPER: f64 = 0.6;
/// A server is asked for a copy of what it holds; it may be one that it drops again.
const ASKS: f64 = 0.6;
/// The program of a server was told to back up instead of serving.
const ORDERED: f64 = 0.8;
/// A tool made for backups has its orders from a file: most are for one, and who called the script something else knows better.
const ORDERS_UNSEEN: f64 = 0.55;
/// Batch work by its name or words.
const BATCH: f64 = 0.9;
/// An archiver or copier of which only the name can be seen reads and does not write: it packs, most likely.
const PACKS_UNSEEN: f64 = 0.3;

/// What a process does.
#[derive(Clone, Debug)]
pub struct Reading<'a> {
    /// Its program.
    pub program: Program<'a>,
    /// The tool, where it is known.
    pub tool: Option<&'a Tool>,
    /// What it does.
    pub doing: Doing,
    /// How much that says.
    pub weight: f64,
    /// In words; empty where there is nothing to tell.
    pub text: String,
    /// What else it says for or against a backup.
    pub facts: Vec<Fact>,
    /// What speaks for one, and is the habit of scanners, indexers and reports as well.
    pub habits: Vec<Fact>,
    /// It reads what lies in several places that the host lives from.
    pub gathers: bool,
    /// What it writes to.
    pub targets: Vec<&'a str>,
    /// Context may add to it: an archiver, a copier, a program nobody knows.
    pub open: bool,
    /// What it uses.
    pub pace: Pace,
}

impl Reading<'_> {
    /// The role of the tool, if it is known.
    pub fn role(&self) -> Option<Role> {
        self.tool.map(|tool| tool.role)
    }

    /// What people call it.
    pub fn called(&self) -> String {
        shown(self.tool.map_or(self.program.name, |tool| tool.name.as_str()))
    }
}

/// Text of a process, harmless and short.
pub fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}…", clean(&text[..cut])),
        None => clean(text),
    }
}

/// Reads a process.
pub fn read<'a>(process: &ProcessShape<'a>, known: &'a Catalogue) -> Reading<'a> {
    let leaf = process.leaf;
    let program = program(process);
    let mut reading = Reading {
        tool: None,
        doing: Doing::Unknown,
        weight: 0.0,
        text: String::new(),
        facts: Vec::new(),
        habits: Vec::new(),
        gathers: false,
        targets: Vec::new(),
        open: false,
        pace: Pace::of(process),
        program,
    };
    if reading.program.bare {
        if reading.program.shell {
            reading.tool = known.find("sh");
        } else {
            // A program from a pipe or from the command line has no name; what it does shows all the same.
            reading.open = true;
            read_files(&mut reading, process);
        }
        return reading;
    }
    if let Some(line) = reading.program.line {
        read_line(&mut reading, line, leaf, known);
        return reading;
    }
    if let (Some(wrapper), false) = (reading.program.wrapper, leaf) {
        // What it started is a child, and speaks for itself.
        reading.tool = known.find(wrapper);
        return reading;
    }
    reading.tool = find(&reading.program, process, known);
    if process.argv.len() == 1 && reading.role() == Some(Role::Client) && !process.files.writing.is_empty() {
        // A tool box whose arguments are hidden could be at anything: what it writes must tell.
        reading.tool = None;
    }
    if let Some(tool) = reading.tool {
        read_tool(&mut reading, tool, process, known);
    } else {
        read_stranger(&mut reading);
        read_title(&mut reading, process);
    }
    if reading.program.wrapper.is_some() && leaf {
        // It waits for a lock, or has not started it yet.
        reading.doing = if reading.doing == Doing::Backup { Doing::Quiet } else { reading.doing };
        reading.facts.clear();
    }
    read_files(&mut reading, process);
    reading
}

fn find<'a>(program: &Program, process: &ProcessShape, known: &'a Catalogue) -> Option<&'a Tool> {
    let named = known.find(program.name);
    // `cron.php` is no cron: a script is not the server that it is called after.
    let named =
        named.filter(|tool| !(program.script && tool.role == Role::Server && !tool.name.eq_ignore_ascii_case(program.name)));
    named.or_else(|| {
        // A script's interpreter and a link's target say nothing new; a program that gave itself another name does.
        let exe = process.exe.filter(|_| !program.script).map(|exe| basename(exe.trim_end_matches(" (deleted)")))?;
        known.find(exe).filter(|tool| !matches!(tool.role, Role::Shell | Role::Viewer | Role::Helper))
    })
}

fn read_tool<'a>(reading: &mut Reading<'a>, tool: &'a Tool, process: &ProcessShape, known: &'a Catalogue) {
    let words = &*tool.words;
    let args = &reading.program.args;
    let by_words = words.doing(args);
    let weight = words.weight.unwrap_or(BACKS_UP);
    let called = tool.name.as_str();
    // One that a script started does what it was started for.
    let waits = process.leaf && process.parent == 1 && words.may_serve() && !words.conducts && !reading.pace.works();
    let stays = by_words.is_none() && reading.program.is_told_to_stay();
    if tool.role == Role::Backup && (stays || args.is_empty() && (words.otherwise == Some(Doing::Quiet) || waits)) {
        // Its arguments are hidden, or it has none: whether it works must do.
        reading.doing = Doing::Agent;
    } else if let Some((doing, word)) = by_words {
        reading.doing = doing;
        reading.weight = if doing == Doing::Backup { weight } else { BATCH };
        if !matches!(doing, Doing::Quiet | Doing::Agent) {
            reading.text = format!("{} runs with '{word}'", clean(called));
        }
    } else if let Some(word) = words.hidden_orders(args) {
        reading.doing = Doing::Backup;
        reading.weight = ORDERS_UNSEEN;
        reading.open = true;
        reading.text = format!("{} runs with '{word}', and what for is not seen", clean(called));
    } else if let Some(rule) = words.rule {
        let ruling = rules::apply(rule, reading.program.name, args);
        reading.doing = ruling.doing;
        reading.weight = ruling.weight;
        reading.open = ruling.open;
        if !matches!(ruling.doing, Doing::Quiet | Doing::Unknown) {
            reading.text = format!("{} {}", clean(called), ruling.text);
        }
        let packs = tool.role == Role::Archiver && reading.pace.shrinks();
        // Who has not even a name there is on its way into a program or out of it: nothing is hidden, it is not there.
        let hidden = args.is_empty() && !process.argv.is_empty();
        if hidden && (packs || matches!(tool.role, Role::Archiver | Role::Copier) && reading.pace.only_reads()) {
            reading.doing = Doing::Backup;
            reading.open = true;
            reading.weight = PACKS_UNSEEN;
            reading.text = format!("{} reads more than it writes; its arguments are hidden", clean(called));
        }
        reading.facts = ruling.facts;
        reading.targets = ruling.targets;
        if words.otherwise.is_some() || tool.role == Role::Viewer && reading.doing != Doing::Backup {
            reading.doing = words.otherwise.unwrap_or(Doing::Quiet);
        }
    } else if words.mover && reading.pace.stores && reading.pace.works() {
        reading.doing = Doing::Batch;
        reading.weight = BATCH;
        reading.text = format!("{} only writes: it receives what others send", clean(called));
    } else {
        reading.doing = words.otherwise.unwrap_or(match tool.role {
            Role::Backup => Doing::Backup,
            Role::Agent => Doing::Agent,
            Role::Batch => Doing::Batch,
            Role::Viewer => Doing::Quiet,
            _ => Doing::Unknown,
        });
        reading.weight = match reading.doing {
            Doing::Backup if words.has_backup_words() => PROBABLY_BACKS_UP.min(weight),
            Doing::Backup => weight,
            _ => BATCH,
        };
        if matches!(reading.doing, Doing::Backup | Doing::Batch) {
            reading.text = format!("{} runs", clean(called));
        }
    }
    // What gave itself a title told of its clients, not of its orders.
    if words.orders
        && reading.doing == Doing::Unknown
        && process.argv.len() > 1
        && let Some((doing, order)) = rules::order_of(&reading.program.args)
    {
        reading.doing = doing;
        reading.weight = if doing == Doing::Backup { ORDERED } else { BATCH };
        reading.text = format!("{} runs with '{}'", clean(called), shown(order));
    }
    if matches!(tool.role, Role::Helper | Role::Client) && reading.targets.is_empty() {
        reading.targets = outputs(&reading.program);
    }
    if tool.name == "postgres" {
        read_postgres(reading);
    }
    if tool.name == "ssh" {
        read_ssh(reading, known);
    }
    if tool.name == "curl"
        && let Some(url) = asks_for_backup(&reading.program.args)
    {
        reading.tool = known.find("server-snapshot");
        reading.doing = Doing::Backup;
        reading.weight = ASKS;
        reading.open = false;
        reading.text = format!("curl asks a server of this host for a backup: {}", shown(url));
    }
    if reading.doing == Doing::Backup && !reading.open {
        let target = reading.program.args.iter().rev().find(|arg| arg.contains('/') && place_says(arg).place > 0.2).copied();
        if let Some(target) = target {
            reading.facts.push(Fact { weight: 0.2, text: format!("argument names a backup target: {}", shown(target)) });
        }
    }
}

/// A backend's title tells what it does for its client.
fn read_postgres(reading: &mut Reading<'_>) {
    let args = &reading.program.args;
    if let Some(at) = args.iter().position(|arg| *arg == "sending")
        && args.get(at + 1) == Some(&"backup")
        && args.contains(&"walsender")
    {
        reading.doing = Doing::Backup;
        reading.weight = BACKS_UP;
        reading.text = "a backend of postgres is sending a base backup".into();
    }
    let from_here = |client: &str| ["[local]", "127.", "::1", "localhost"].iter().any(|here| client.starts_with(here));
    if let Some(at) = args.iter().position(|arg| *arg == "COPY").filter(|at| *at >= 3 && reading.pace.only_reads())
        && let (Some(user), Some(client)) = (args.get(at - 3), args.get(at - 1).filter(|client| !from_here(client)))
        && says_backup(user)
    {
        reading.doing = Doing::Backup;
        reading.weight = FOR_DUMPER;
        reading.text = format!("a backend of postgres copies tables out for {} of {}", shown(user), shown(client));
    }
}

/// The address on this host by which `curl` asks a server for a snapshot or a backup: `PUT localhost:9200/_snapshot/nightly/1`. The server
/// works then, and the client waits. Not where somebody is only told of one (`/metrics/job/backup`, `/webhook/backup`).
fn asks_for_backup<'a>(args: &[&'a str]) -> Option<&'a str> {
    const SENDS: [&str; 8] = ["PUT", "POST", "-XPUT", "-XPOST", "--request=PUT", "--request=POST", "-d", "--data"];
    const ASKED: [&str; 4] = ["snapshot", "snapshots", "backup", "backups"];
    const TOLD: [&str; 8] = ["metrics", "hook", "hooks", "webhook", "webhooks", "ping", "notify", "job"];
    let url = args.iter().copied().find(|arg| {
        let address = arg.split_once("://").map_or(*arg, |(_, address)| address);
        let host = address.split(['/', ':']).next().unwrap_or_default();
        address.contains('/') && (host == "localhost" || host.starts_with("127.") || address.starts_with("[::1]"))
    })?;
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let asked = path.split('/').any(|part| ASKED.contains(&part.trim_matches('_'))) && args.iter().any(|arg| SENDS.contains(arg));
    let told = words(path).any(|word| TOLD.contains(&word)) || name_says(path).cancelled;
    (asked && !told || query.split('&').any(|part| part == "command=backup")).then_some(url)
}

/// What `ssh` has another host send here: `ssh db 'pg_dump shop' | zstd > /pool/shop.zst`.
fn read_ssh<'a>(reading: &mut Reading<'a>, known: &'a Catalogue) {
    const VALUES: &str = "bBcDeEFIiJLlmOopQRSWw";
    let args = &reading.program.args;
    let mut at = 0;
    while let Some(option) = args.get(at).filter(|arg| arg.starts_with('-')) {
        at += if option.len() == 2 && VALUES.contains(&option[1..]) { 2 } else { 1 };
    }
    // Behind the host; one argument or many, with a shell there in any case.
    let line = args.get(at + 1..).unwrap_or_default().join(" ");
    for command in commands(&line).into_iter().filter(|command| command.output.is_none()) {
        let inner = unwrap(command.words);
        let path = inner.args.iter().find(|arg| arg.contains('/'));
        let writes = inner.args.iter().any(|arg| arg.starts_with("of="));
        if let ("cat" | "dd", Some(path)) = (inner.name, path.filter(|_| !writes)) {
            reading.doing = Doing::Backup;
            reading.weight = FETCHES;
            reading.open = true;
            reading.text = format!("ssh fetches {} from another host", shown(path));
            return;
        }
        let Some(tool) = known.find(inner.name) else { continue };
        let (doing, weight) = match (tool.words.doing(&inner.args), tool.words.rule) {
            (Some((doing, _)), _) => (doing, BACKS_UP),
            (None, Some(_)) if tool.role == Role::Copier => continue,
            (None, Some(rule)) => {
                let ruling = rules::apply(rule, inner.name, &inner.args);
                (ruling.doing, ruling.weight)
            }
            (None, None) if tool.role == Role::Backup => (tool.words.otherwise.unwrap_or(Doing::Backup), BACKS_UP),
            (None, None) => continue,
        };
        if doing == Doing::Backup {
            reading.doing = doing;
            reading.weight = weight.min(tool.words.weight.unwrap_or(BACKS_UP));
            reading.open = tool.role == Role::Archiver;
            reading.text = format!("ssh has another host run {}", clean(&tool.name));
            reading.tool = Some(tool);
            // The host is where it comes from.
            reading.targets.clear();
            return;
        }
    }
}

/// The line of `sh -c`: with children it only says where the output goes; alone it speaks for what it is about to do.
fn read_line<'a>(reading: &mut Reading<'a>, line: &'a str, leaf: bool, known: &'a Catalogue) {
    reading.tool = known.find("sh");
    let sinks = commands(line).into_iter().filter(|command| command.piped);
    let sinks: Vec<&str> = sinks.map(|command| unwrap(command.words).name).collect();
    for command in commands(line) {
        reading.targets.extend(command.output.filter(|output| !output.starts_with("/dev/") && !output.starts_with('&')));
        if !leaf {
            continue;
        }
        let inner = unwrap(command.words);
        if inner.wrapper.is_some() {
            continue;
        }
        let Some(tool) = known.find(inner.name) else { continue };
        if tool.words.sinks.iter().any(|sink| sinks.contains(&sink.as_str())) {
            continue;
        }
        let doing = tool.words.doing(&inner.args).map(|(doing, _)| doing);
        if reading.doing == Doing::Unknown
            && (doing == Some(Doing::Backup) || doing.is_none() && tool.role == Role::Backup && tool.words.otherwise.is_none())
        {
            reading.doing = Doing::Backup;
            reading.weight = 0.6;
            reading.text = format!("a shell is to run {}", clean(&tool.name));
        }
    }
}
