//! The short name that people know a process by: the script rather than its interpreter, the program rather than its path.
//!
//! Pure text. Tested in place.

use crate::analysis::interpreter::{Given, SHELLS, given, stem};

/// Programs whose first argument that is no option is the program that matters.
const INTERPRETERS: [&str; 14] =
    ["sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "python", "perl", "ruby", "node", "php", "env", "Rscript"];

/// Words that stand before the command they run.
const PREFIXES: [&str; 15] = [
    "nice", "ionice", "env", "exec", "nohup", "setsid", "time", "timeout", "flock", "sudo", "chrt", "test", "do", "then", "else",
];

/// The name of a process by its command line, else by what the kernel calls it. Raw: clean it before it is shown.
pub fn display_name(comm: &str, argv: &[String]) -> String {
    let Some(first) = argv.first().filter(|first| !first.is_empty()) else { return comm.to_owned() };
    let program = base(first);
    if !is_interpreter(program) {
        // A title (`nginx: worker process`, `sshd: ann@pts/0`) is one argument with blanks: its first word is the name.
        let word = program.split([' ', ':']).next().unwrap_or(program);
        // So has a program started through one, or a title may be empty.
        return if is_number(word) { comm.to_owned() } else { word.to_owned() };
    }
    match given(program, argv) {
        Some(Given::Script(at)) => argv.get(at).map_or(program, |script| of_script(script, program)).to_owned(),
        Some(Given::Code(at)) if SHELLS.contains(&program) => {
            argv.get(at).map_or_else(|| program.to_owned(), |line| name_of_line(line, program))
        }
        Some(Given::Code(_) | Given::Nothing) | None => program.to_owned(),
    }
}

/// A script read through a descriptor (`/dev/fd/3`) has a number for a name.
fn of_script<'a>(script: &'a str, program: &'a str) -> &'a str {
    Some(base(script)).filter(|name| !is_number(name)).unwrap_or(program)
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// The first command of a shell line that does something: no `cd`, assignment, test or prefix.
fn name_of_line(line: &str, shell: &str) -> String {
    for command in line.split(['|', ';', '&', '\n', '(', ')', '{', '}']) {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        let first = words.iter().position(|word| {
            !word.is_empty()
                && !word.starts_with(['-', '$', '[', '<', '>', '!'])
                && !word.contains('=')
                && !is_number(word)
                && !PREFIXES.contains(&base(word))
                && !SHELLS.contains(&base(word))
        });
        let name = first.map(|at| {
            let program = base(words[at]);
            let behind = &words[at..];
            match given(program, behind).filter(|_| is_interpreter(program)) {
                Some(Given::Script(at)) => of_script(behind[at], program),
                _ => words[at],
            }
        });
        match name {
            Some("cd" | "set" | "export" | "ulimit" | "umask" | "sleep" | "trap" | "." | "source" | "if" | "while" | "for")
            | None => {}
            Some(_) if command.trim_start().starts_with("test ") => {}
            Some(name) => return base(name).to_owned(),
        }
    }
    shell.to_owned()
}

/// The last part of a path, without the dash of a login shell.
pub fn base(path: &str) -> &str {
    // Only a first word that looks like a path is cut at its slashes: titles may hold slashes of their own.
    let word_end = path.find(' ').unwrap_or(path.len());
    let start = path[..word_end].rfind('/').map_or(0, |slash| slash + 1);
    path[start..].trim_start_matches('-')
}

/// Whether the program runs scripts: `bash`, `python3.11`, `perl`.
pub fn is_interpreter(program: &str) -> bool {
    INTERPRETERS.contains(&stem(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(argv: &[&str]) -> String {
        display_name("comm", &argv.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_script_counts_and_not_its_interpreter() {
        assert_eq!(name(&["/bin/sh", "/usr/local/bin/nightly.sh", "/srv"]), "nightly.sh");
        assert_eq!(name(&["/usr/bin/python3.11", "-u", "/usr/bin/borg", "create"]), "borg");
        assert_eq!(name(&["python3", "-m", "http.server"]), "http.server");
        assert_eq!(name(&["perl", "-w", "/usr/bin/rsnapshot", "daily"]), "rsnapshot");
    }

    #[test]
    fn a_shell_line_is_named_by_its_first_real_command() {
        assert_eq!(name(&["/bin/sh", "-c", "cd / && FOO=1 nice -n 19 /opt/bin/dump-all --x | gzip"]), "dump-all");
        assert_eq!(name(&["sh", "-c", "/tmp/x/nightly.sh /srv /tmp"]), "nightly.sh");
        assert_eq!(
            name(&["bash", "-lc", "test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )"]),
            "run-parts"
        );
        assert_eq!(name(&["sh", "-c", "while :; do rsync -a /srv /mnt; sleep 60; done"]), "rsync");
        assert_eq!(name(&["sh", "-c", "cd /srv; python3 -W ignore /opt/x.py --all"]), "x.py");
        assert_eq!(name(&["sh", "-c", ""]), "sh");
    }

    #[test]
    fn code_and_what_options_are_given_are_no_names() {
        for (argv, named) in [
            (&["python3", "-c", "import time; time.sleep(20)"][..], "python3"),
            (&["/usr/bin/perl", "-e", "sleep 20"], "perl"),
            (&["/usr/bin/perl", "-lane", "print"], "perl"),
            (&["ruby", "-e", "sleep 20", "a"], "ruby"),
            (&["php", "-r", "sleep(20);"], "php"),
            (&["node", "--eval", "1"], "node"),
            (&["python3", "-", "/srv"], "python3"),
            (&["bash", "-s", "all"], "bash"),
            (&["python3", "-W", "ignore", "/opt/x.py"], "x.py"),
            (&["perl", "-I", "lib", "x.pl"], "x.pl"),
            (&["bash", "--noprofile", "--norc", "-eo", "pipefail", "/w/step.sh"], "step.sh"),
            (&["sh", "-c", "cd /; python3 -c 'import time'"], "python3"),
            (&["sh", "-c", "perl -e 'sleep 20' | gzip"], "perl"),
        ] {
            assert_eq!(name(argv), named, "{argv:?}");
        }
    }

    #[test]
    fn titles_login_shells_and_unknown_command_lines() {
        assert_eq!(name(&["nginx: worker process"]), "nginx");
        assert_eq!(name(&["sshd: ann@pts/0"]), "sshd");
        assert_eq!(name(&["-bash"]), "bash");
        assert_eq!(name(&["bash", "/dev/fd/63"]), "bash");
        assert_eq!(name(&[]), "comm");
        assert_eq!(name(&[""]), "comm");
    }
}
