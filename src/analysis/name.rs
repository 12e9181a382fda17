//! The short name that people know a process by: the script rather than its interpreter, the program rather than its path.
//!
//! Pure text. Tested in place.

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
    let mut rest = argv.iter().skip(1).map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument {
            "-m" => return rest.next().map_or_else(|| program.to_owned(), str::to_owned),
            _ if is_command_option(program, argument) => {
                return rest.next().map_or_else(|| program.to_owned(), |line| name_of_line(line, program));
            }
            _ if argument.starts_with('-') => {}
            // A script read through a descriptor (`/dev/fd/3`) has a number for a name.
            script if is_number(base(script)) => return program.to_owned(),
            script => return base(script).to_owned(),
        }
    }
    program.to_owned()
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

/// `-c` of a shell, alone or with other letters (`-lc`, `-ec`).
fn is_command_option(program: &str, argument: &str) -> bool {
    program.ends_with("sh") && argument.starts_with('-') && !argument.starts_with("--") && argument.ends_with('c')
}

/// The first command of a shell line that does something: no `cd`, assignment, test or prefix.
fn name_of_line(line: &str, shell: &str) -> String {
    for command in line.split(['|', ';', '&', '\n', '(', ')', '{', '}']) {
        let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        let name = words.find(|word| {
            !word.is_empty()
                && !word.starts_with(['-', '$', '[', '<', '>', '!'])
                && !word.contains('=')
                && !is_number(word)
                && !PREFIXES.contains(&base(word))
                && !is_interpreter(base(word))
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
    let stem = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&stem)
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
        assert_eq!(name(&["sh", "-c", ""]), "sh");
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
