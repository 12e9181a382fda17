//! Which line of cron's tables started a job, and when that line is next due.
//!
//! The command of a line is compared with the command line of the job's root, which is the shell that cron started or what that
//! shell became. Reads files, so never on the way of a key. Tested in place.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use croner::Cron;
use jiff::Zoned;

use crate::action::Subject;
use crate::units::clean;

/// Longest table that is read, in bytes.
const BYTES: u64 = 1024 * 1024;

/// A line of a table.
struct Line {
    file: PathBuf,
    schedule: String,
    command: String,
}

/// `cron starts it again on Sun 29 Nov at 02:00 (/etc/cron.d/backup).` `None`: no line fits.
pub fn next_run(subject: &Subject, root: &Path) -> Option<String> {
    let user = subject.candidates.first().and_then(|root| root.user.clone());
    let commands: Vec<&str> = subject.candidates.iter().take(4).map(|candidate| candidate.command.as_str()).collect();
    let line = lines(root, user.as_deref()).into_iter().find(|line| commands.iter().any(|command| is_from(line, command)))?;
    let file = Path::new("/").join(line.file.strip_prefix(root).unwrap_or(&line.file));
    Some(format!("cron starts it again {} ({}).", when(&line.schedule, &Zoned::now())?, clean(&file.to_string_lossy())))
}

/// When a schedule is next due, in words.
fn when(schedule: &str, now: &Zoned) -> Option<String> {
    if schedule.eq_ignore_ascii_case("@reboot") {
        return Some("at the next boot".to_owned());
    }
    let next = Cron::from_str(schedule).ok()?.find_next_occurrence(now, false).ok()?;
    let day = if next.date() == now.date() { "today".to_owned() } else { next.strftime("on %a %-d %b").to_string() };
    Some(format!("{day} at {}", next.strftime("%H:%M")))
}

/// Whether the line started this: its command is part of the command line (`/bin/sh -c LINE`), or the script that it calls is.
fn is_from(line: &Line, command: &str) -> bool {
    if command.contains(&line.command) {
        return true;
    }
    let words =
        |text: &str| text.split_whitespace().map(|word| word.trim_matches(['"', '\'', ';', '(', ')']).to_owned()).collect();
    let (ran, asked): (Vec<String>, Vec<String>) = (words(command), words(&line.command));
    // `run-parts --report /etc/cron.daily`, and what runs is `/etc/cron.daily/backup`.
    let below = |path: &String| ran.iter().any(|ran| ran.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')));
    if asked.iter().any(|word| word.contains("run-parts")) {
        return asked.iter().filter(|word| word.starts_with('/')).any(below);
    }
    // A path of its own tells more than `/bin/sh` and `/dev/null`, which every line may have.
    let telling =
        |word: &&String| word.starts_with('/') && !["/bin/", "/usr/bin/", "/dev/"].iter().any(|usual| word.starts_with(usual));
    asked.iter().filter(telling).any(|word| ran.contains(word))
}

/// Every line of the tables that this user may read: the host's own, and the one of whoever the job belongs to.
fn lines(root: &Path, user: Option<&str>) -> Vec<Line> {
    let mut found = table(&root.join("etc/crontab"), true);
    let mut files: Vec<PathBuf> =
        fs::read_dir(root.join("etc/cron.d")).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.sort();
    found.extend(files.iter().flat_map(|file| table(file, true)));
    let user = user.filter(|user| !user.contains('/'));
    for folder in ["var/spool/cron/crontabs", "var/spool/cron"] {
        found.extend(user.iter().flat_map(|user| table(&root.join(folder).join(user), false)));
    }
    found
}

/// The lines of one table; those of the host's have a user before the command.
fn table(file: &Path, has_user: bool) -> Vec<Line> {
    if fs::metadata(file).map_or(true, |meta| !meta.is_file() || meta.len() > BYTES) {
        return Vec::new();
    }
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| parse(line, has_user, file)).collect()
}

fn parse(line: &str, has_user: bool, file: &Path) -> Option<Line> {
    let line = line.trim();
    let starts_well = line.starts_with(|c: char| c.is_ascii_digit() || c == '*' || c == '@');
    let fields = if line.starts_with('@') { 1 } else { 5 };
    let mut rest = line;
    let mut taken = Vec::new();
    for _ in 0..fields + usize::from(has_user) {
        let (word, tail) = rest.split_once(char::is_whitespace)?;
        taken.push(word);
        rest = tail.trim_start();
    }
    taken.truncate(fields);
    (starts_well && !rest.is_empty()).then(|| Line { file: file.to_owned(), schedule: taken.join(" "), command: rest.to_owned() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::action::Candidate;
    use crate::units::ProcessId;

    fn subject(command: &str) -> Subject {
        let root = Candidate {
            id: ProcessId { pid: 7, start: 1 },
            name: "nightly.sh".to_owned(),
            command: command.to_owned(),
            user: Some("ann".to_owned()),
            kernel_thread: false,
        };
        Subject { candidates: vec![root], ..Subject::default() }
    }

    fn host() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write(
            "etc/crontab",
            "SHELL=/bin/sh\n# m h\n25 6 * * * root test -x /usr/sbin/anacron || run-parts --report /etc/cron.daily\n",
        );
        write(
            "etc/cron.d/backup",
            "0 2 * * * root /usr/local/bin/nightly.sh --full >/dev/null 2>&1\n@reboot root /opt/boot.sh\n",
        );
        write("var/spool/cron/crontabs/ann", "*/10 * * * * cd /srv && tar czf /tmp/x.tgz .\n");
        folder
    }

    fn file(command: &str) -> Option<String> {
        let host = host();
        let sentence = next_run(&subject(command), host.path())?;
        Some(sentence.split_once('(').unwrap().1.trim_end_matches(").").to_owned())
    }

    #[test]
    fn the_line_that_started_a_job_is_found() {
        let backup = Some("/etc/cron.d/backup".to_owned());
        assert_eq!(file("/bin/sh -c /usr/local/bin/nightly.sh --full >/dev/null 2>&1"), backup);
        assert_eq!(file("/bin/bash /usr/local/bin/nightly.sh --full"), backup);
        assert_eq!(file("/bin/sh -c cd /srv && tar czf /tmp/x.tgz ."), Some("/var/spool/cron/crontabs/ann".to_owned()));
        assert_eq!(file("/bin/sh /etc/cron.daily/dump"), Some("/etc/crontab".to_owned()));
        assert_eq!(file("/bin/sh -c /usr/local/bin/other.sh >/dev/null"), None);
        assert_eq!(file(""), None);
    }

    #[test]
    fn the_next_run_is_told_in_words() {
        let now: Zoned = "2026-11-28T14:27:00+00:00[UTC]".parse().unwrap();
        let said = |schedule: &str| when(schedule, &now);
        assert_eq!(said("0 2 * * *").as_deref(), Some("on Sun 29 Nov at 02:00"));
        assert_eq!(said("30 14 * * *").as_deref(), Some("today at 14:30"));
        assert_eq!(said("0 3 * * mon").as_deref(), Some("on Mon 30 Nov at 03:00"));
        assert_eq!(said("@daily").as_deref(), Some("on Sun 29 Nov at 00:00"));
        assert_eq!(said("@reboot").as_deref(), Some("at the next boot"));
        assert_eq!(said("61 2 * * *"), None);
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in r"(@[a-z]{0,8}|([0-9*/,-]{1,4} ){0,6}|[A-Z]{1,6}=)\PC{0,20}", any in r"\PC{0,60}", has_user: bool) {
            for text in [&line, &any] {
                let found = parse(text, has_user, Path::new("x"));
                if let Some(found) = found {
                    let _ = is_from(&found, &any);
                }
                let _ = when(text, &Zoned::now());
            }
        }
    }

    #[test]
    fn whatever_a_table_holds_it_is_read() {
        for line in ["", "@", "* * *", "0 2 * * *", "0 2 * * * root", "MAILTO=x y z a b c d", "\u{fffd}", "@daily root"] {
            assert!(parse(line, true, Path::new("x")).is_none(), "{line}");
        }
    }
}
