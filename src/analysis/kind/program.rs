//! Which program a process really runs: through interpreters, wrappers and `sh -c`, and through titles that processes give
//! themselves.
//!
//! Text in, words out; what the words mean is for `rules`. Tested in place.

use super::ProcessShape;
use crate::analysis::interpreter::{Given, SHELLS, given, stem};

/// Arguments looked at. A command line can be 2 MB; what matters stands in front.
const ARGS: usize = 96;

/// The program of a process and its arguments.
#[derive(Clone, Debug, Default)]
pub struct Program<'a> {
    /// Last component of the program or script: `restic`, `nightly.sh`, `http.server`.
    pub name: &'a str,
    /// The whole path, where one was given.
    pub path: &'a str,
    /// What it was given.
    pub args: Vec<&'a str>,
    /// A script, or a shell that was given a line.
    pub script: bool,
    /// A wrapper that stays and has this one as a child, once it has started it: `flock`, `timeout`.
    pub wrapper: Option<&'a str>,
    /// The line of `sh -c`.
    pub line: Option<&'a str>,
    /// A container engine, a shell or an interpreter without anything to run.
    pub bare: bool,
    /// It is a shell.
    pub shell: bool,
}

impl Program<'_> {
    /// Whether it was started to stay, and work when it is asked or its hour comes.
    pub fn is_told_to_stay(&self) -> bool {
        let first = self.args.first().is_some_and(|arg| matches!(*arg, "serve" | "daemon" | "--service" | "-daemon"));
        first || self.listens() || self.args.iter().any(|arg| matches!(*arg, "--daemon" | "--daemonize" | "--daemonise"))
    }

    /// Whether it was told where clients find it: `--listen`, `-http.listen=:80`, `--bind`, `--server.port 8501`.
    pub fn listens(&self) -> bool {
        self.args.iter().filter(|arg| arg.starts_with('-')).any(|arg| {
            let option = arg.split('=').next().unwrap_or(arg);
            let mut words = option.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
            let serves = |word: &str| matches!(word, "http" | "https" | "web" | "server");
            match (words.next(), words.next()) {
                (Some("listen" | "bind"), _) | (_, Some("listen" | "bind")) => true,
                (Some(one), Some("port" | "addr" | "address")) => serves(one),
                _ => false,
            }
        })
    }
}

/// A program that starts another one.
struct Wrapper {
    name: &'static str,
    /// Short options that take a value.
    values: &'static str,
    /// Words of its own before the command.
    words: usize,
    /// Stays as the parent.
    stays: bool,
}

const fn wrapper(name: &'static str, values: &'static str, words: usize, stays: bool) -> Wrapper {
    Wrapper { name, values, words, stays }
}

const WRAPPERS: [Wrapper; 52] = [
    wrapper("nice", "n", 0, false),
    wrapper("ionice", "cnt", 0, false),
    wrapper("env", "uCS", 0, false),
    wrapper("timeout", "ks", 1, true),
    wrapper("flock", "wE", 1, true),
    wrapper("sudo", "ughpCrtTD", 0, true),
    wrapper("doas", "uC", 0, true),
    wrapper("runuser", "ugG", 0, true),
    wrapper("systemd-inhibit", "", 0, true),
    wrapper("systemd-run", "upEM", 0, true),
    wrapper("chrt", "TPD", 1, false),
    wrapper("setsid", "", 0, false),
    wrapper("nohup", "", 0, false),
    wrapper("cpuwatch", "", 1, true),
    wrapper("envdir", "", 1, false),
    wrapper("envuidgid", "", 1, false),
    wrapper("setuidgid", "", 1, false),
    wrapper("setpriv", "", 0, false),
    wrapper("stdbuf", "ioe", 0, false),
    wrapper("time", "fo", 0, true),
    wrapper("taskset", "", 1, false),
    wrapper("numactl", "CNmi", 0, false),
    wrapper("cgexec", "g", 0, false),
    wrapper("chroot", "", 1, false),
    wrapper("cronic", "", 0, true),
    wrapper("chronic", "", 0, true),
    wrapper("lckdo", "", 1, true),
    wrapper("run-one", "", 0, true),
    wrapper("setlock", "", 1, false),
    wrapper("softlimit", "", 0, false),
    wrapper("cpulimit", "l", 0, true),
    wrapper("trickle", "udswt", 0, false),
    wrapper("xargs", "IndPLs", 0, true),
    wrapper("lxc-usernsexec", "m", 0, true),
    wrapper("nsenter", "tSG", 0, true),
    wrapper("unshare", "", 0, true),
    wrapper("dumb-init", "", 0, true),
    wrapper("tini", "", 0, true),
    wrapper("docker-init", "", 0, true),
    wrapper("catatonit", "", 0, true),
    wrapper("eatmydata", "", 0, false),
    wrapper("nocache", "", 0, false),
    wrapper("proxychains", "f", 0, false),
    wrapper("proxychains4", "f", 0, false),
    wrapper("prlimit", "", 0, false),
    wrapper("ts", "", 0, true),
    wrapper("cronitor", "", 1, true),
    wrapper("gosu", "", 1, false),
    wrapper("su-exec", "", 1, false),
    wrapper("npx", "p", 0, true),
    wrapper("bunx", "", 0, true),
    wrapper("uvx", "", 0, true),
];

/// The program that this process runs.
pub fn program<'a>(process: &ProcessShape<'a>) -> Program<'a> {
    let Some(first) = process.argv.first().map(String::as_str).filter(|arg| !arg.is_empty()) else {
        // Hidden, or a kernel thread: what the kernel calls it, completed from the program file if that agrees.
        let whole =
            process.exe.map(|exe| basename(exe.trim_end_matches(" (deleted)"))).filter(|exe| exe.starts_with(process.comm));
        return Program { name: whole.unwrap_or(process.comm), ..Program::default() };
    };
    let alone = process.argv[1..].iter().all(String::is_empty);
    // `lsphp:/home/ann/index.php`
    if let Some(rest) = first.strip_prefix(process.comm).and_then(|rest| rest.strip_prefix(':'))
        && alone
        && !process.comm.is_empty()
        && !rest.contains(' ')
    {
        return Program { name: process.comm, path: process.comm, args: vec![rest], ..Program::default() };
    }
    if alone && first.contains(' ') && process.exe.is_none_or(|exe| exe != first) {
        return title(first);
    }
    let mut words: Vec<&'a str> = Vec::with_capacity(process.argv.len().min(ARGS));
    words.extend(process.argv.iter().take(ARGS).map(String::as_str));
    let found = unwrap(words);
    if found.bare
        && process.argv.len() == 1
        && !process.comm.is_empty()
        && !found.name.starts_with(process.comm)
        && first.starts_with('/')
    {
        // An interpreter whose arguments are hidden: a script that was started by its `#!` still gave the process its name.
        return Program { name: process.comm, script: true, ..Program::default() };
    }
    found
}

/// A title that a process gave itself: `postgres: walsender ann 10.0.0.2(4022) streaming 8F/5`.
fn title(text: &str) -> Program<'_> {
    let mut words = text.split_ascii_whitespace();
    let first = words.next().unwrap_or_default();
    let path = first.trim_end_matches(':');
    if first == path && path.starts_with('/') {
        // It wrote its own command line anew, and added to it what it is at.
        let all: Vec<&str> = text.split_ascii_whitespace().take(ARGS).collect();
        if let Some(Given::Script(_)) = given(basename(path), &all) {
            return unwrap(all);
        }
    }
    Program { name: basename(path), path, args: words.collect(), ..Program::default() }
}

/// The program in a list of words: past interpreters and wrappers.
pub fn unwrap(mut words: Vec<&str>) -> Program<'_> {
    let mut found = Program::default();
    // A wrapper in a wrapper in an interpreter is common, ten of them are an attack.
    for _ in 0..10 {
        let Some(&path) = words.first() else { break };
        found.path = path;
        found.name = basename(path).trim_start_matches('-');
        let name = found.name;
        if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
            let rest = past_wrapper(wrapper, &words);
            if rest >= words.len() {
                break;
            }
            if wrapper.stays {
                found.wrapper = Some(name);
            }
            if name == "flock" && words[rest] == "-c" && rest + 1 < words.len() {
                found.line = Some(words[rest + 1]);
                return found.into_line();
            }
            words.drain(..rest);
        } else if name == "su" {
            let Some(at) = words.iter().position(|word| matches!(*word, "-c" | "--command")) else { break };
            let Some(&line) = words.get(at + 1) else { break };
            found.wrapper = Some(name);
            found.line = Some(line);
            return found.into_line();
        } else if ENGINES.contains(&name) {
            let Some(rest) = past_exec(&words) else { break };
            words.drain(..rest);
        } else if let Some(given) = given(name, &words) {
            found.shell = SHELLS.contains(&name);
            let (Given::Script(at) | Given::Code(at)) = given else {
                found.bare = true;
                break;
            };
            if matches!(given, Given::Code(_)) {
                if let Some(line) = words.get(at).filter(|_| found.shell) {
                    found.line = Some(line);
                    return found.into_line();
                }
                // A program given on the command line has no name.
                found.bare = true;
                break;
            }
            found.script = true;
            words.drain(..at);
            if matches!(stem(name), "java" | "mono" | "dotnet") {
                found.path = words[0];
                found.name = basename(found.path);
                break;
            }
        } else {
            break;
        }
    }
    if !words.is_empty() {
        words.remove(0);
    }
    found.args = words;
    found
}

impl Program<'_> {
    /// A line for a shell: named after its first command that does something.
    fn into_line(mut self) -> Self {
        if let Some(line) = self.line {
            self.script = true;
            let first = commands(line).into_iter().next();
            let inner = first.map(|command| unwrap(command.words)).unwrap_or_default();
            self.path = inner.path;
            self.name = inner.name;
            self.args = inner.args;
        }
        self
    }
}

fn past_wrapper(wrapper: &Wrapper, words: &[&str]) -> usize {
    let mut at = 1;
    while let Some(word) = words.get(at) {
        if *word == "--" {
            at += 1;
            break;
        }
        if let Some(option) = word.strip_prefix('-').filter(|option| !option.is_empty()) {
            // `-n 19` takes a value, `-n19` and `--adjustment=19` hold it. `flock -c` is for the caller.
            if wrapper.name == "flock" && option == "c" {
                return at;
            }
            at += if option.len() == 1 && wrapper.values.contains(option) { 2 } else { 1 };
        } else if matches!(wrapper.name, "env" | "sudo") && word.contains('=') {
            at += 1;
        } else {
            break;
        }
    }
    at + wrapper.words
}

/// Programs that run commands in containers.
const ENGINES: [&str; 7] = ["docker", "podman", "nerdctl", "kubectl", "crictl", "lxc", "pct"];

/// Where the command stands behind `docker exec CONTAINER`, `docker run IMAGE` or `kubectl exec POD --`.
pub fn past_exec<T: AsRef<str>>(words: &[T]) -> Option<usize> {
    let word = |at: usize| words.get(at).map(AsRef::as_ref);
    let find = |wanted: &str| words.iter().position(|word| word.as_ref() == wanted).filter(|at| *at <= 3);
    if !ENGINES.contains(&basename(word(0)?)) {
        return None;
    }
    let Some(exec) = find("exec") else { return past_run(words, find("run")?) };
    let find = |wanted: &str| words.iter().position(|word| word.as_ref() == wanted);
    if let Some(dashes) = find("--") {
        return (dashes + 1 < words.len()).then_some(dashes + 1);
    }
    let mut at = exec + 1;
    while let Some(option) = word(at).filter(|word| word.starts_with('-')) {
        at += if matches!(option, "-e" | "-u" | "-w" | "--env" | "--user" | "--workdir" | "-n" | "-c") { 2 } else { 1 };
    }
    (at + 1 < words.len()).then_some(at + 1)
}

/// Where the command stands behind `run`, its options and the image.
fn past_run<T: AsRef<str>>(words: &[T], run: usize) -> Option<usize> {
    const PLAIN: [&str; 9] =
        ["--rm", "--init", "--privileged", "--read-only", "--detach", "--interactive", "--tty", "--no-deps", "--quiet"];
    let mut at = run + 1;
    while let Some(option) = words.get(at).map(AsRef::as_ref).filter(|word| word.starts_with('-')) {
        let letters = option.strip_prefix('-').is_some_and(|letters| letters.chars().all(|letter| "itdTPq".contains(letter)));
        at += if letters || option.contains('=') || PLAIN.contains(&option) { 1 } else { 2 };
    }
    (at + 1 < words.len()).then_some(at + 1)
}

/// A command of a shell line.
#[derive(Debug, Default, PartialEq)]
pub struct Command<'a> {
    /// Its words.
    pub words: Vec<&'a str>,
    /// What its output is redirected to.
    pub output: Option<&'a str>,
    /// It reads what the one before it writes.
    pub piped: bool,
}

/// The commands of a shell line that do something: no `cd`, `test`, `set`, `.`, `sleep`, assignments. Rough: enough for the lines
/// of crontabs and of programs that call `system(3)`.
pub fn commands(line: &str) -> Vec<Command<'_>> {
    const NOTHING: [&str; 24] = [
        "cd", "test", "[", "[[", "set", ".", "source", "export", "umask", "ulimit", "sleep", "echo", "true", ":", "trap", "wait",
        "fi", "done", "esac", "mkdir", "unset", "shopt", "date", "exit",
    ];
    let mut commands = Vec::new();
    let mut command = Command::default();
    let mut wants_output = false;
    for word in tokens(line) {
        match word {
            "|" | ";" | "&&" | "||" | "&" | "(" | ")" | "{" | "}" | "|&" | "!" => {
                push(&mut commands, &mut command, &NOTHING);
                command.piped = matches!(word, "|" | "|&");
            }
            ">" | ">>" | "1>" | ">|" => wants_output = true,
            "if" | "then" | "else" | "do" | "while" | "until" | "exec" | "command" | "time" if command.words.is_empty() => {}
            _ if wants_output => {
                command.output = Some(word);
                wants_output = false;
            }
            _ if command.words.is_empty() && word.split_once('=').is_some_and(|(name, _)| is_variable(name)) => {}
            _ => command.words.push(word),
        }
    }
    push(&mut commands, &mut command, &NOTHING);
    commands
}

fn push<'a>(commands: &mut Vec<Command<'a>>, command: &mut Command<'a>, nothing: &[&str]) {
    let done = std::mem::take(command);
    if done.words.first().is_some_and(|first| !nothing.contains(first)) {
        commands.push(done);
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Words and operators of a line; quoted words without their quotes, redirections of other streams dropped.
fn tokens(line: &str) -> Vec<&str> {
    let bytes = line.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() && out.len() < ARGS {
        match bytes[at] {
            b' ' | b'\t' | b'\n' => at += 1,
            b'2' if line[at..].starts_with("2>") => {
                at += 2;
                while at < bytes.len() && matches!(bytes[at], b'>' | b'&' | b' ') {
                    at += 1;
                }
                at = end_of_word(bytes, at);
            }
            b'|' | b'&' | b'>' | b'<' => {
                let len = if bytes.get(at + 1) == Some(&bytes[at]) || line[at..].starts_with(">|") { 2 } else { 1 };
                if bytes[at] != b'<' {
                    out.push(&line[at..at + len]);
                }
                at += len;
            }
            b';' | b'(' | b')' => {
                out.push(&line[at..=at]);
                at += 1;
            }
            quote @ (b'\'' | b'"') => {
                let start = at + 1;
                let end = line[start..].find(char::from(quote)).map_or(bytes.len(), |len| start + len);
                out.push(&line[start..end]);
                at = end + 1;
            }
            _ => {
                let end = end_of_word(bytes, at);
                out.push(&line[at..end]);
                at = end;
            }
        }
    }
    out
}

/// Where the word that starts here ends: `$(...)` and quotes inside it belong to it.
fn end_of_word(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    while at < bytes.len() {
        let b = bytes[at];
        match quote {
            Some(open) if b == open => quote = None,
            Some(_) => {}
            None => match b {
                b'\'' | b'"' | b'`' => quote = Some(b),
                b'(' if at > 0 && bytes[at - 1] == b'$' || depth > 0 => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b' ' | b'\t' | b'\n' | b'|' | b'&' | b'>' | b'<' | b';' | b'(' | b')' if depth == 0 => break,
                _ => {}
            },
        }
        at += 1;
    }
    at
}

/// The last component of a path.
pub fn basename(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(line: &str) -> String {
        let found = unwrap(tokens(line));
        std::iter::once(found.name).chain(found.args).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn programs_are_found_behind_interpreters_and_wrappers() {
        for (line, program) in [
            ("/usr/bin/python3 -I /usr/bin/borg create r::a", "borg create r::a"),
            ("python3 -m http.server 80", "http.server 80"),
            ("nice -n 19 ionice -c2 -n7 /opt/x/restic backup /", "restic backup /"),
            ("/bin/bash -ue /srv/x.sh a", "x.sh a"),
            ("java -Xmx1g -cp a:b org.x.Main dump", "org.x.Main dump"),
            ("java -jar /opt/a.jar serve", "a.jar serve"),
            ("sudo -u ann FOO=1 tar c /etc", "tar c /etc"),
            ("flock -n /run/l rsync -a /srv n:/b", "rsync -a /srv n:/b"),
            ("docker exec -u root -it db mysqldump shop", "mysqldump shop"),
            ("kubectl -n x exec pod -- pg_dump app", "pg_dump app"),
            ("docker run --rm -v db:/v -v /mnt/nas:/out alpine tar czf /out/v.tgz /v", "tar czf /out/v.tgz /v"),
            ("/usr/bin/perl -w -T /usr/bin/rsnapshot daily", "rsnapshot daily"),
            ("timeout -k 5 3600 sh -c 'cd / && zip -r x y'", "zip -r x y"),
            ("su postgres -c 'pg_dumpall | gzip'", "pg_dumpall"),
        ] {
            assert_eq!(named(line), program, "{line}");
        }
    }

    #[test]
    fn a_line_falls_into_its_commands() {
        let found = commands("cd ~ && X=1 tar c a 2>/dev/null | gzip -9 > /backup/db-$(date +%F).gz; rm -f 'o l d'");
        let shown: Vec<(String, Option<&str>)> = found.iter().map(|c| (c.words.join(" "), c.output)).collect();
        assert_eq!(
            shown,
            [("tar c a".into(), None), ("gzip -9".into(), Some("/backup/db-$(date +%F).gz")), ("rm -f o l d".into(), None)]
        );
    }
}
