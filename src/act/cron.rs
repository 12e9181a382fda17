//! Which line of cron's or anacron's tables started a job, and when that line is next due.
//!
//! The command of a line is compared with the command line of the job's root, which is the shell that cron started or what that
//! shell became. Reads files, so never on the way of a key. Tested in place.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use croner::Cron;
use jiff::{Span, ToSpan, Zoned};

use crate::action::Subject;
use crate::units::clean;

/// Longest table that is read, in bytes.
const BYTES: u64 = 1024 * 1024;

/// Where anacron's table is, and anacron. The table may outlive the program, and then starts nothing.
const ANACRONTAB: &str = "etc/anacrontab";
const ANACRONS: [&str; 2] = ["usr/sbin/anacron", "usr/bin/anacron"];

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
    let started_it = |line: &Line| commands.iter().any(|command| is_from(line, command));
    let now = Zoned::now();
    let by_cron = lines(root, user.as_deref()).into_iter().find(started_it);
    let by_cron = by_cron.map(|line| ("cron", when(&line.schedule, &now), line.file));
    let by_anacron = || {
        let line = anacrons(root).into_iter().find(started_it)?;
        Some(("anacron", day_of_anacron(&line.schedule, &now), line.file))
    };
    let (who, when, file) = by_cron.or_else(by_anacron)?;
    let file = Path::new("/").join(file.strip_prefix(root).unwrap_or(&file));
    Some(format!("{who} starts it again {} ({}).", when?, clean(&file.to_string_lossy())))
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

/// The day on which anacron does it again: it counts from the day on which the run of now ends, and starts some time of that day.
fn day_of_anacron(period: &str, now: &Zoned) -> Option<String> {
    let next = match period {
        "@daily" => now.checked_add(1.day()).ok()?,
        "@weekly" => now.checked_add(7.days()).ok()?,
        "@monthly" => now.first_of_month().ok()?.checked_add(1.month()).ok()?,
        "@yearly" | "@annually" => now.first_of_year().ok()?.checked_add(1.year()).ok()?,
        days => now.checked_add(Span::new().try_days(days.parse::<i32>().ok()?).ok()?).ok()?,
    };
    Some(next.strftime("on %a %-d %b at the earliest").to_string())
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

/// Whether the line does nothing here: `test -x /usr/sbin/anacron || …` leaves it to a program that is there.
fn is_left_to_another(line: &Line, root: &Path) -> bool {
    let Some((condition, otherwise)) = line.command.split_once("||") else { return false };
    let words: Vec<&str> = condition.split_whitespace().collect();
    let (["test", "-x", path] | ["[", "-x", path, "]"]) = words[..] else { return false };
    // Its link may lead anywhere: that it is there is enough.
    !goes_on(otherwise) && fs::symlink_metadata(root.join(path.trim_start_matches('/'))).is_ok()
}

/// Whether commands follow the first one, or the first group of them: in `test -x FILE || exit 0; FILE` that is what the line is for.
fn goes_on(commands: &str) -> bool {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, letter) in commands.char_indices() {
        let rest = &commands[at..];
        match (letter, quote) {
            (_, Some(open)) => quote = quote.filter(|_| letter != open),
            ('"' | '\'', None) => quote = Some(letter),
            ('(' | '{', None) => depth += 1,
            (')' | '}', None) => depth = depth.saturating_sub(1),
            (';' | '&', None) if depth == 0 => {
                let next = rest.strip_prefix("&&").or(rest.strip_prefix(';')).unwrap_or_default().trim_start();
                if !next.is_empty() && !next.starts_with('#') {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Every line of anacron's table, where there is an anacron.
fn anacrons(root: &Path) -> Vec<Line> {
    if !ANACRONS.iter().any(|program| fs::symlink_metadata(root.join(program)).is_ok()) {
        return Vec::new();
    }
    let file = root.join(ANACRONTAB);
    // `1  5  cron.daily  run-parts --report /etc/cron.daily`: days, minutes to wait, a name, the command.
    let line = |line: &str| {
        let (mut rest, mut fields) = (line.trim(), Vec::new());
        for _ in 0..3 {
            let (word, tail) = rest.split_once(char::is_whitespace)?;
            fields.push(word);
            rest = tail.trim_start();
        }
        let is_due = fields[0].starts_with(|c: char| c.is_ascii_digit() || c == '@') && !rest.is_empty();
        is_due.then(|| Line { file: file.clone(), schedule: fields[0].to_owned(), command: rest.to_owned() })
    };
    read(&file).lines().filter_map(line).collect()
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
    found.retain(|line| !is_left_to_another(line, root));
    found
}

/// The lines of one table; those of the host's have a user before the command.
fn table(file: &Path, has_user: bool) -> Vec<Line> {
    read(file).lines().filter_map(|line| parse(line, has_user, file)).collect()
}

/// The text of a table; none of what is no file, or too long to be one.
fn read(file: &Path) -> String {
    let is_table = fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.len() <= BYTES);
    let text = if is_table { fs::read(file).unwrap_or_default() } else { Vec::new() };
    String::from_utf8_lossy(&text).into_owned()
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
    fn a_host_with_anacron_leaves_the_daily_work_to_it() {
        let host = host();
        let said = || next_run(&subject("/bin/sh /etc/cron.daily/dump"), host.path()).unwrap_or_default();
        fs::write(host.path().join(ANACRONTAB), "# days\nSHELL=/bin/sh\n1\t5\tcron.daily\trun-parts --report /etc/cron.daily\n")
            .unwrap();
        assert!(said().starts_with("cron starts it again "), "its table is a remainder: {}", said());
        fs::create_dir_all(host.path().join("usr/sbin")).unwrap();
        fs::write(host.path().join("usr/sbin/anacron"), "").unwrap();
        let by_anacron = said();
        assert!(by_anacron.starts_with("anacron starts it again on "), "{by_anacron}");
        assert!(by_anacron.ends_with(" at the earliest (/etc/anacrontab)."), "{by_anacron}");
        fs::remove_file(host.path().join(ANACRONTAB)).unwrap();
        assert_eq!(said(), "", "nobody starts it");

        let now: Zoned = "2026-11-28T14:27:00+00:00[UTC]".parse().unwrap();
        let day = |period: &str| day_of_anacron(period, &now);
        assert_eq!(day("1").as_deref(), Some("on Sun 29 Nov at the earliest"));
        assert_eq!(day("7").as_deref(), Some("on Sat 5 Dec at the earliest"));
        assert_eq!(day("@monthly").as_deref(), Some("on Tue 1 Dec at the earliest"));
        assert_eq!((day("soon"), day("2000000000")), (None, None));
    }

    #[test]
    fn a_line_that_only_looks_first_whether_its_program_is_there_is_left_to_nobody() {
        let host = host();
        let nightly = host.path().join("opt/nightly");
        fs::create_dir_all(nightly.parent().unwrap()).unwrap();
        fs::write(&nightly, "").unwrap();
        let found = |command: &str| {
            fs::write(host.path().join("etc/cron.d/guarded"), format!("0 2 * * * root {command}\n")).unwrap();
            next_run(&subject(&format!("/bin/sh -c {command}")), host.path()).is_some()
        };
        for guarded in [
            "test -x /opt/nightly || exit 0; /opt/nightly",
            "[ -x /opt/nightly ] || exit && /opt/nightly",
            "[ -x /opt/nightly ] || { echo 'no \"backup\";' >&2; exit 1; }; /opt/nightly",
            "test -x /opt/nightly || (logger none); /opt/nightly >/dev/null",
            "test -x /opt/none || /opt/other",
        ] {
            assert!(found(guarded), "{guarded}");
        }
        for left in [
            "test -x /opt/nightly || /opt/other --full >/dev/null 2>&1",
            "test -x /opt/nightly || ( cd / && /opt/other; /opt/third ) >/dev/null",
            "[ -x /opt/nightly ] || { cd / && /opt/other; }; # nightly does it",
            "[ -x /opt/nightly ] || /opt/other 'a; b' && ",
        ] {
            assert!(!found(left), "{left}");
        }
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
                    let _ = goes_on(&found.command);
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
