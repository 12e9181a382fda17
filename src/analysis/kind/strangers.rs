//! What a program that nobody knows says of itself: by its name, its first words, and where it was told to write.
//!
//! Pure. Tested by tests/kinds.rs.

use super::ProcessShape;
use super::places::place_says;
use super::program::{Program, basename, commands};
use super::read::{Reading, shown};
use super::rules::Fact;
use super::tools::Doing;
use super::words::{NameSays, name_says, says_backup, words};

/// A program nobody knows was told to `backup`.
const TOLD_TO: f64 = 0.5;
/// A directory for backups, not the name, says it: `/opt/backup/run.sh`.
const LIES_IN: f64 = 0.25;
/// A volume is read that a program nobody knows was told of; who checks one does that too.
const READS_VOLUME: f64 = 0.4;

/// The same in two words that leave no doubt: `backup create`.
const ORDERED_TO: f64 = 0.7;
/// A worker says by its title that it makes one, and moves data.
const SAYS: f64 = 0.7;
/// A program that nobody knows listens to clients and moves next to nothing: it shows, or waits to be asked.
const LISTENS: f64 = -0.6;

/// What a program that is called after backups is told to do with those that are there.
const UNDOING_ORDERS: [&str; 16] = [
    "restore", "recover", "verify", "validate", "check", "list", "ls", "prune", "purge", "expire", "delete", "forget", "inspect",
    "status", "mount", "download",
];

/// What the name says of itself, without the ending of a script.
fn says_by_name(program: &Program) -> NameSays {
    let name = program.name;
    name_says(name.rsplit_once('.').map_or(name, |(stem, end)| if end.len() < 4 { stem } else { name }))
}

/// What serves, or is at rest, is the thing that is glued to its name: `backupserver`. What runs to its end and moves data backs it up.
pub fn take_for_the_thing(reading: &mut Reading<'_>) {
    if reading.tool.is_none() && says_by_name(&reading.program).glued {
        reading.facts = vec![only_deals(&reading.program)];
    }
}

fn only_deals(program: &Program) -> Fact {
    Fact { weight: -0.8, text: format!("{} only deals with backups, by its name", shown(program.name)) }
}

/// A program that nobody knows: its name and its first words.
pub fn read_stranger(reading: &mut Reading<'_>) {
    reading.open = true;
    let program = &reading.program;
    let mut says = says_by_name(program);
    // Whether it does is for whoever sees the whole job: a script's work is done by what it starts.
    says.cancelled &= !says.glued;
    // `backup_and_restore` does what it is told to.
    let told_both =
        words(program.name).any(|word| word == "and" || word == "or") && program.args.first().is_some_and(|arg| says_backup(arg));
    if says.cancelled && says.weight > 0.0 && !told_both {
        reading.facts.push(only_deals(program));
        reading.targets = outputs(program);
        return;
    }
    // `proxmox-backup-manager verify`, `gitaly-backup restore`.
    let order = program.args.iter().find(|arg| !arg.starts_with('-')).copied();
    if let Some(order) = order.filter(|order| says.weight > 0.0 && UNDOING_ORDERS.contains(order)) {
        reading.facts.push(Fact { weight: -0.8, text: format!("{} was told to {}", shown(program.name), shown(order)) });
        return;
    }
    if says.cancelled && !told_both {
        reading.facts.push(Fact { weight: -0.3, text: format!("{} does other work, by its name", shown(program.name)) });
    }
    if says.weight > 0.0 && !says.cancelled {
        let what = if program.script { "script" } else { "program" };
        reading.facts.push(Fact { weight: says.weight, text: format!("the {what} is called {}", shown(program.name)) });
    } else if let Some((directory, _)) = program.path.rsplit_once('/')
        && name_says(basename(directory)).weight > 0.5
        && !name_says(directory).cancelled
    {
        reading.facts.push(Fact { weight: LIES_IN, text: format!("the program lies in {}", shown(directory)) });
    }
    let told = program.args.iter().take(4).filter(|arg| arg.len() < 40 && !arg.contains('/')).find(|arg| {
        let word = arg.trim_start_matches('-');
        says_backup(word.split_once('=').map_or(word, |(word, _)| word))
    });
    if let Some(word) = told {
        let text = format!("{} was told to {}", shown(program.name), shown(word));
        if reading.pace.moves() && program.args.first() == Some(word) && program.args.get(1).is_some_and(|next| is_order(next)) {
            // It is at it now, whatever it stands below.
            reading.doing = Doing::Backup;
            reading.weight = ORDERED_TO;
            reading.text = text;
        } else {
            reading.facts.push(Fact { weight: TOLD_TO, text });
        }
    } else if let Some((word, weight)) = program.args.iter().filter(|arg| !arg.contains('/')).find_map(|arg| round_of(arg)) {
        reading.facts.push(Fact { weight, text: format!("{} makes a {word} round", shown(program.name)) });
    }
    if let Some(volume) = program.args.iter().find(|arg| is_volume(arg)).filter(|_| reading.pace.only_reads()) {
        reading.habits.push(Fact { weight: READS_VOLUME, text: format!("it reads the volume {}", shown(volume)) });
    }
    let speaks = reading.facts.iter().any(|fact| fact.weight > 0.0);
    if speaks && program.listens() && reading.pace.read.is_some() && !reading.pace.moves() && !reading.pace.held_up {
        reading.facts.push(Fact {
            weight: LISTENS,
            text: format!("{} listens to clients, and moves hardly any data", shown(program.name)),
        });
    }
    reading.targets = outputs(program);
    // From here to there: the last of several paths is where it goes.
    let mut paths = program.args.iter().copied().filter(|arg| arg.contains('/') && !arg.starts_with('-')).rev();
    if let (Some(last), Some(_)) = (paths.next(), paths.next())
        && place_says(last).place > 0.0
    {
        reading.targets.push(last);
    }
}

/// What stands behind `backup` where that is what is to be done: `backup create`, `backup now`.
fn is_order(word: &str) -> bool {
    const ORDERS: [&str; 14] = [
        "create",
        "run",
        "start",
        "now",
        "take",
        "make",
        "save",
        "perform",
        "execute",
        "push",
        "upload",
        "full",
        "incremental",
        "incr",
    ];
    ORDERS.contains(&word)
}

/// The title that a server's worker gave itself: `pgmoneta: backup/primary`, `resque-2: Processing backup since 1699`.
pub fn read_title(reading: &mut Reading<'_>, process: &ProcessShape<'_>) {
    const DEEP: usize = 2;
    let Some((_, title)) = title_of(process) else { return };
    let mut told = title.split([' ', '/', ':']).filter(|word| !word.is_empty()).take(DEEP);
    if let Some(word) = told.find(|word| says_backup(word)).filter(|_| reading.pace.moves()) {
        reading.doing = Doing::Backup;
        reading.weight = SAYS;
        reading.open = false;
        reading.text = format!("{} says of itself that it is at '{}'", shown(reading.program.name), shown(word));
    }
}

/// The name and the rest of a title.
pub fn title_of<'a>(process: &ProcessShape<'a>) -> Option<(&'a str, &'a str)> {
    let (first, rest) = process.argv.split_first()?;
    first.split_once(": ").filter(|_| rest.iter().all(String::is_empty))
}

/// A logical volume by its path: `/dev/vg0/mail`.
fn is_volume(path: &str) -> bool {
    const OTHERS: [&str; 12] = ["block", "bus", "char", "cpu", "disk", "dri", "fd", "input", "net", "pts", "shm", "snd"];
    path.strip_prefix("/dev/")
        .and_then(|rest| rest.split_once('/'))
        .is_some_and(|(group, volume)| !volume.is_empty() && volume != "control" && !OTHERS.contains(&group))
}

/// Backups go in rounds: a full one, then increments; other work at most has its hour.
fn round_of(arg: &str) -> Option<(&str, f64)> {
    words(arg).find_map(|word| match word.to_ascii_lowercase().as_str() {
        "incremental" | "incr" | "differential" => Some((word, 0.35)),
        "full" | "hourly" | "daily" | "nightly" | "weekly" | "monthly" => Some((word, 0.12)),
        _ => None,
    })
}

/// Paths behind options for output, and what a remote shell writes to.
pub fn outputs<'a>(program: &Program<'a>) -> Vec<&'a str> {
    const OUTPUTS: [&str; 17] = [
        "-o",
        "-O",
        "-f",
        "-r",
        "--output",
        "--out",
        "--file",
        "--result-file",
        "--target",
        "--target-dir",
        "--to-path",
        "--dest",
        "--destination",
        "--outdir",
        "--output-dir",
        "--targetdir",
        "--backup-dir",
    ];
    let mut found = Vec::new();
    let mut wants = false;
    for arg in program.args.iter().copied() {
        if std::mem::take(&mut wants) || arg.contains("://") {
            found.push(arg);
        } else if let Some((option, value)) = arg.split_once('=') {
            if OUTPUTS.contains(&option) || option == "of" {
                found.push(value);
            }
        } else {
            wants = OUTPUTS.contains(&arg) || arg == ">";
        }
    }
    if matches!(program.name, "ssh" | "socat" | "nc" | "ncat") {
        // The host, and the command there, which may be one argument or many.
        for arg in &program.args {
            if let Some(command) = commands(arg).into_iter().find(|command| command.output.is_some()) {
                found.extend(command.output);
            } else if !arg.starts_with('-') {
                found.push(arg.strip_prefix("of=").unwrap_or(arg));
            }
        }
    }
    found
}
