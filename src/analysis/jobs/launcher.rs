//! Who starts jobs without being part of them: cron, sshd, interactive shells, container shims, supervisors.
//!
//! Pure. Tested through `analysis::jobs`.

use crate::analysis::kind::Launcher;
use crate::analysis::name::base;
use crate::analysis::table::Entry;
use crate::sample::{Identity, Process};

/// Shells, by the name the kernel gives them.
const SHELLS: [&str; 10] = ["sh", "bash", "dash", "ash", "zsh", "fish", "ksh", "mksh", "tcsh", "csh"];

/// Options of shells that take the next word.
const VALUED_OPTIONS: [&str; 7] = ["--init-file", "--rcfile", "-rcfile", "-o", "+o", "-O", "+O"];

/// Programs that stay as the parent of one command and belong to its job.
const WRAPPERS: [&str; 20] = [
    "sudo",
    "su",
    "doas",
    "runuser",
    "script",
    "nohup",
    "flock",
    "timeout",
    "setpriv",
    "chroot",
    "systemd-inhibi",
    "systemd-inhibit",
    "unshare",
    "env",
    "expect",
    "cpuwatch",
    "nice",
    "ionice",
    "chronic",
    "time",
];

/// Names of launchers, as the kernel cuts them, with what they are.
const LAUNCHERS: [(&str, Launcher); 34] = [
    ("cron", Launcher::Cron),
    ("crond", Launcher::Cron),
    ("CRON", Launcher::Cron),
    ("CROND", Launcher::Cron),
    ("anacron", Launcher::Cron),
    ("fcron", Launcher::Cron),
    ("run-parts", Launcher::Cron),
    ("atd", Launcher::At),
    ("systemd", Launcher::ServiceManager),
    ("init", Launcher::ServiceManager),
    ("sshd", Launcher::SshCommand),
    ("sshd-session", Launcher::SshCommand),
    ("dropbear", Launcher::SshCommand),
    ("login", Launcher::Shell),
    ("agetty", Launcher::Shell),
    ("tmux: server", Launcher::Shell),
    ("tmux: client", Launcher::Shell),
    ("screen", Launcher::Shell),
    ("SCREEN", Launcher::Shell),
    ("mosh-server", Launcher::Shell),
    ("containerd-shim", Launcher::ContainerEngine),
    ("conmon", Launcher::ContainerEngine),
    ("dockerd", Launcher::ContainerEngine),
    ("containerd", Launcher::ContainerEngine),
    ("docker-init", Launcher::ContainerEngine),
    ("tini", Launcher::ContainerEngine),
    ("dumb-init", Launcher::ContainerEngine),
    ("runc", Launcher::ContainerEngine),
    ("supervisord", Launcher::Supervisor),
    ("runsv", Launcher::Supervisor),
    ("runsvdir", Launcher::Supervisor),
    ("s6-supervise", Launcher::Supervisor),
    ("s6-svscan", Launcher::Supervisor),
    ("xinetd", Launcher::Supervisor),
];

/// Runners of CI jobs, as the kernel cuts their names.
const RUNNERS: [&str; 12] = [
    "Runner.Worker",
    "Runner.Listener",
    "Agent.Worker",
    "Agent.Listener",
    "gitlab-runner",
    "gitlab-runner-h",
    "act_runner",
    "forgejo-runner",
    "buildkite-agent",
    "woodpecker-agen",
    "drone-runner-ex",
    "drone-runner-do",
];

/// Whether this is a runner that Java runs: an agent of Jenkins, `TeamCity`, Bamboo or `GoCD`.
fn runs_jobs(argv: &[String]) -> bool {
    const JARS: [&str; 3] = ["remoting.jar", "swarm-client.jar", "agent-bootstrapper.jar"];
    // Other programs have a jar of that name: whose agent it is must be said.
    const PLAIN: [&str; 2] = ["agent.jar", "slave.jar"];
    const OWNERS: [&str; 7] = ["jenkins", "hudson", "teamcity", "bamboo", "gocd", "go-agent", "-jnlpurl"];
    const CLASSES: [&str; 3] = ["jetbrains.buildServer.agent.AgentMain", "hudson.remoting.Launcher", "hudson.remoting.jnlp.Main"];
    let is_owned = || argv.iter().map(|arg| arg.to_ascii_lowercase()).any(|arg| OWNERS.iter().any(|owner| arg.contains(owner)));
    let is_jar = |jar: &str| JARS.contains(&jar) || PLAIN.contains(&jar) && is_owned();
    let runs_jar = || argv.windows(2).any(|pair| pair[0] == "-jar" && is_jar(base(&pair[1])));
    let runs_class = || argv.iter().any(|arg| CLASSES.contains(&arg.as_str()));
    argv.first().is_some_and(|program| base(program) == "java") && (runs_jar() || runs_class())
}

/// What this process launches as, if it does not belong to what it starts.
pub fn launcher(process: &Process, identity: Option<&Identity>) -> Option<Launcher> {
    let comm = process.comm.as_str();
    if process.id.pid == 1 {
        return Some(Launcher::ServiceManager);
    }
    if let Some((_, launcher)) = LAUNCHERS.iter().find(|(name, _)| *name == comm) {
        return Some(*launcher);
    }
    if comm.starts_with("PM2") || comm.starts_with("supervis") {
        return Some(Launcher::Supervisor);
    }
    if RUNNERS.contains(&comm) || identity.is_some_and(|identity| runs_jobs(&identity.argv)) {
        return Some(Launcher::Automation);
    }
    is_interactive_shell(process, identity).then_some(Launcher::Shell)
}

/// A shell without script and `-c`: somebody types into it, or a script comes through a pipe.
fn is_interactive_shell(process: &Process, identity: Option<&Identity>) -> bool {
    if !SHELLS.contains(&process.comm.as_str()) || process.forked_only {
        return false;
    }
    let Some(identity) = identity else {
        // Until the command line is known: a session's first process on a terminal is most likely one.
        return process.tty != 0 && process.session == process.id.pid;
    };
    let Some((first, options)) = identity.argv.split_first() else { return false };
    let mut words = options.iter();
    while let Some(word) = words.next() {
        if VALUED_OPTIONS.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with(['-', '+']) || is_command_option(word) {
            return false;
        }
    }
    // `/bin/sh` without a terminal, of which no more can be seen, runs a script: nobody types into it. Nor into the `sh` that `at` feeds.
    let bare = process.tty == 0 && (first.starts_with('/') || first == "sh");
    first.starts_with('-') || SHELLS.contains(&base(first)) && !bare
}

/// `-c`, alone or among other letters: `-lc`, `-ec`.
fn is_command_option(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    letters.len() <= 4 && letters.contains('c') && letters.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// A program that stays as the parent of one command.
pub fn is_wrapper(comm: &str) -> bool {
    WRAPPERS.contains(&comm)
}

/// A shell, by the kernel's name for it.
pub fn is_shell(comm: &str) -> bool {
    SHELLS.contains(&comm)
}

/// What to call the one that started a job: `cron (root)`, `ssh (ann)`, `bash on pts/3 (ann)`.
pub fn describe(parent: &Entry) -> String {
    let user = parent.member.user.as_deref().map(|user| format!(" ({user})")).unwrap_or_default();
    let terminal = terminal_name(parent.process.tty).map(|name| format!(" on {name}")).unwrap_or_default();
    match parent.standing.launcher {
        Some(Launcher::Cron) => format!("cron{user}"),
        Some(Launcher::At) => format!("at{user}"),
        Some(Launcher::SshCommand) => format!("ssh{user}"),
        _ => format!("{}{terminal}{user}", parent.member.name),
    }
}

/// `pts/3` for a terminal's device number (`proc(5)`, `tty_nr`: minor in bits 31 to 20 and 7 to 0, major in 15 to 8).
fn terminal_name(device: i32) -> Option<String> {
    let device = device as u32;
    let (major, minor) = ((device >> 8) & 0xff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        4 if minor < 64 => Some(format!("tty{minor}")),
        _ => None,
    }
}
