//! What systemd says of a job's unit: whether it brings it back, and what else starts it; and stopping it.
//!
//! Asked through `systemctl`, which is the interface that stays the same from version to version. Tested by `tests/act/units.rs` with a
//! made-up `systemctl`.

use std::time::Duration;

use rustix::process::geteuid;
use rustix::time::{ClockId, clock_gettime};

use super::run::{self, Variable};
use super::survey::Tools;
use crate::units::{clean, span};

/// For how long a question may take. systemd answers in milliseconds unless the host is very sick.
const ANSWER: Duration = Duration::from_secs(2);
/// For how long stopping may take before whoever asked is told that it goes on: systemd's own patience before SIGKILL is 90 s.
const STOP: Duration = Duration::from_secs(100);

/// Which service manager runs a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The host's.
    Host,
    /// That of the user with this number.
    User(u32),
}

impl Manager {
    /// Of `unit:/user.slice/user-1000.slice/user@1000.service/app.slice/backup.service` that of user 1000.
    pub fn of(job: &str) -> Self {
        // Only at the top: there is such a folder in a container too, and whoever has a control group of his own may make one. The
        // manager itself is a unit of the host's.
        let user = job.strip_prefix("unit:/user.slice/user-").and_then(|rest| {
            let (user, rest) = rest.split_once(".slice/user@")?;
            rest.strip_prefix(user)?.strip_prefix(".service/").and(user.parse().ok())
        });
        user.map_or(Self::Host, Self::User)
    }

    /// Whether this user may have it stop a unit.
    pub fn obeys(self, uid: u32) -> bool {
        uid == 0 || self == Self::User(uid)
    }

    /// How it is told, by this user, to stop a unit.
    pub fn command(self, unit: &str, uid: u32) -> String {
        // To a shell, a backslash is no letter of a name.
        let unit = if unit.contains('\\') { format!("'{}'", clean(unit)) } else { clean(unit) };
        [&["systemctl".to_owned()], &*self.options(uid), &["stop".to_owned(), unit]].concat().join(" ")
    }

    /// What leads `systemctl` there.
    fn options(self, uid: u32) -> Vec<String> {
        match self {
            Self::Host => Vec::new(),
            Self::User(user) if user == uid => vec!["--user".to_owned()],
            Self::User(user) => vec!["--user".to_owned(), "-M".to_owned(), format!("{user}@")],
        }
    }

    fn ask(self, arguments: &[&str], tools: &Tools, patience: Duration) -> Result<String, String> {
        let uid = geteuid().as_raw();
        let options = self.options(uid);
        let all: Vec<&str> = options.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        run::run_in(&self.environment(uid), "systemctl", &all, &tools.search, patience)
    }

    /// Where it listens, if it is this user's own. After `su` or `sudo -E` the environment names the one of who called.
    fn environment(self, uid: u32) -> Vec<Variable> {
        if self != Self::User(uid) {
            return Vec::new();
        }
        vec![("XDG_RUNTIME_DIR", Some(format!("/run/user/{uid}"))), ("DBUS_SESSION_BUS_ADDRESS", None)]
    }
}

/// Whether systemd would give a unit this name. Whoever has a control group of his own calls the folders in it what he likes, and the name is
/// told to be pasted into a shell.
pub fn is_name(unit: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
    !unit.starts_with('-') && unit.chars().all(is_letter)
}

/// What is asked of whoever starts a unit.
const TRIGGER: &str = "ActiveState,SubState,NextElapseUSecRealtime,NextElapseUSecMonotonic,TimersCalendar,TimersMonotonic";

/// What systemd says of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFacts {
    /// On what it starts the unit again by itself. `None`: never.
    pub restart: Option<String>,
    /// What else starts it, each a sentence.
    pub triggers: Vec<String>,
    /// Why it cannot be stopped by hand.
    pub why_not: Option<String>,
}

/// Asks for the unit of this job. What is not answered is not known.
pub fn ask(unit: &str, job: &str, tools: &Tools) -> UnitFacts {
    let facts = match the_jobs_own(unit, job, tools) {
        Ok(facts) => facts,
        Err(why) => return UnitFacts { why_not: Some(format!("{why}; end the job instead")), ..UnitFacts::default() },
    };
    let refuses = facts.first("RefuseManualStop") == Some("yes");
    UnitFacts {
        restart: facts.first("Restart").filter(|restart| *restart != "no").map(clean),
        triggers: triggers(&facts, Manager::of(job), tools),
        why_not: refuses.then(|| format!("{unit} refuses to be stopped by hand; end the job instead")),
    }
}

/// What systemd says of the unit, if it is the job: one in a container, or a folder in a control group of somebody's own, may bear the name of
/// another.
fn the_jobs_own(unit: &str, job: &str, tools: &Tools) -> Result<Properties, String> {
    if !is_name(unit) {
        return Err(misnamed(unit));
    }
    let manager = Manager::of(job);
    let facts = show(unit, manager, "LoadState,ControlGroup,Restart,TriggeredBy,RefuseManualStop", tools);
    let facts = facts.map_err(|why| match manager {
        Manager::User(user) if user != geteuid().as_raw() => {
            format!("{why} (systemd reaches another user's own units from version 248 on)")
        }
        _ => why,
    })?;
    match (facts.first("LoadState"), facts.first("ControlGroup")) {
        (Some("not-found"), _) => Err(format!("systemd knows no {unit}")),
        (_, None) => Err(format!("nothing runs in what systemd knows as {unit}")),
        (_, Some(group)) if job.strip_prefix("unit:") == Some(group) => Ok(facts),
        (_, Some(group)) => Err(format!("what systemd knows as {unit} is another one ({})", clean(group))),
    }
}

/// Why it is no unit.
pub fn misnamed(unit: &str) -> String {
    format!("{} is no name that systemd gives to a unit", clean(unit))
}

fn triggers(facts: &Properties, manager: Manager, tools: &Tools) -> Vec<String> {
    let by = facts.first("TriggeredBy").unwrap_or_default();
    by.split_whitespace().filter(|by| is_name(by)).filter_map(|by| trigger(by, manager, tools)).collect()
}

/// `nightly.timer starts it again at Sun 2026-11-29 02:00:00 UTC, unless that is stopped too: systemctl stop nightly.timer.` `None`: it
/// does not, for it is stopped already, or was for once.
fn trigger(unit: &str, manager: Manager, tools: &Tools) -> Option<String> {
    // Of one that gives no answer it is only known that it is there.
    let facts = show(unit, manager, TRIGGER, tools).unwrap_or_default();
    if matches!(facts.first("ActiveState"), Some("inactive" | "failed")) {
        return None;
    }
    let when = match unit.rsplit_once('.').map(|(_, kind)| kind) {
        Some("timer") => next(&facts, tools)?,
        Some("socket") => " when somebody connects".to_owned(),
        Some("path") => " when a file changes".to_owned(),
        _ => String::new(),
    };
    let remedy = manager.command(unit, geteuid().as_raw());
    Some(format!("{} starts it again{when}, unless that is stopped too: {remedy}.", clean(unit)))
}

/// When a timer is due. `None`: never again.
fn next(facts: &Properties, tools: &Tools) -> Option<String> {
    // While its unit runs, systemd does not say: it finds out when that has ended.
    let is_running = facts.first("SubState") == Some("running");
    let due = if is_running { by_settings(facts, tools) } else { by_answer(facts) };
    let is_over = is_running || facts.first("SubState") == Some("elapsed");
    (!(due.is_empty() && is_over)).then(|| due.join(" or"))
}

/// The times that systemd tells.
fn by_answer(facts: &Properties) -> Vec<String> {
    let date = facts.first("NextElapseUSecRealtime").map(|at| format!(" at {}", clean(at)));
    let left = facts.first("NextElapseUSecMonotonic").and_then(|up| seconds(up)?.checked_sub(since_boot()));
    date.into_iter().chain(left.map(|left| format!(" in {}", span(left as f64)))).collect()
}

/// The times that it is set to, from now on.
fn by_settings(facts: &Properties, tools: &Tools) -> Vec<String> {
    let dates = facts.all("TimersCalendar").filter_map(|timer| setting(timer, "OnCalendar"));
    let mut due: Vec<String> = dates.map(|dates| due_by(dates, tools)).collect();
    let spans = [("OnUnitActiveUSec", "its last start"), ("OnUnitInactiveUSec", "it has ended")];
    for (name, what) in spans {
        let spans = facts.all("TimersMonotonic").filter_map(|timer| setting(timer, name));
        due.extend(spans.map(|span| format!(" {} after {what}", clean(span))));
    }
    // The others count from boot, or from when the timer itself was started: that is over.
    due
}

/// `*-*-* 02:00:00` in `{ OnCalendar=*-*-* 02:00:00 ; next_elapse=… }`
fn setting<'a>(timer: &'a str, name: &str) -> Option<&'a str> {
    let value = timer.strip_prefix("{ ")?.strip_prefix(name)?.strip_prefix('=')?;
    value.split_once(" ;").map(|(value, _)| value)
}

/// When these dates come next, by systemd's own reading of them, or else the dates as they stand.
fn due_by(dates: &str, tools: &Tools) -> String {
    let text = run::run("systemd-analyze", &["calendar", "--", dates], &tools.search, ANSWER).unwrap_or_default();
    let next = text.lines().find_map(|line| line.trim().strip_prefix("Next elapse: "));
    next.map_or_else(|| format!(" on {}", clean(dates)), |at| format!(" at {}", clean(at)))
}

/// The seconds of `1d 1h 7min 50.417541s`. `None`: one of the words is no span.
fn seconds(span: &str) -> Option<u64> {
    // As systemd counts: a year has 365.25 days, and a month is the twelfth of it.
    const UNITS: [(&str, f64); 9] = [
        ("y", 31_557_600.0),
        ("month", 2_629_800.0),
        ("w", 604_800.0),
        ("d", 86_400.0),
        ("h", 3600.0),
        ("min", 60.0),
        ("s", 1.0),
        ("ms", 1e-3),
        ("us", 1e-6),
    ];
    let seconds = |word: &str| {
        let (number, name) = word.split_at(word.find(|letter: char| letter.is_ascii_alphabetic())?);
        let (_, unit) = UNITS.iter().find(|(known, _)| *known == name)?;
        Some(number.parse::<f64>().ok()? * unit)
    };
    span.split_whitespace().map(seconds).sum::<Option<f64>>().map(|seconds| seconds as u64)
}

/// By the clock that timers go by: it stands while the host is suspended.
fn since_boot() -> u64 {
    clock_gettime(ClockId::Monotonic).tv_sec.cast_unsigned()
}

/// Properties of a unit: name and value, some more than once.
#[derive(Default)]
struct Properties(Vec<(String, String)>);

impl Properties {
    fn all(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `None`: not told, or empty.
    fn first(&self, name: &'static str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }
}

fn show(unit: &str, manager: Manager, properties: &str, tools: &Tools) -> Result<Properties, String> {
    // `--` keeps a unit whose name begins with a dash from being an option.
    let text = manager.ask(&["show", "--no-pager", "-p", properties, "--", unit], tools, ANSWER)?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(Properties(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()))
}

/// Stops the unit of this job, and answers what starts it again. Blocks until systemd says that it has stopped.
pub fn stop(unit: &str, job: &str, tools: &Tools) -> Result<Vec<String>, String> {
    the_jobs_own(unit, job, tools)?;
    let manager = Manager::of(job);
    manager.ask(&["stop", "--no-ask-password", "--", unit], tools, STOP)?;
    // A timer is due anew when its unit has ended.
    Ok(triggers(&show(unit, manager, "TriggeredBy", tools).unwrap_or_default(), manager, tools))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_own_units_are_told_from_the_hosts() {
        let of = Manager::of;
        assert_eq!(of("unit:/user.slice/user-7.slice/user@7.service/app.slice/b.service"), Manager::User(7));
        assert_eq!(of("unit:/user.slice/user-7.slice/user@7.service"), Manager::Host);
        assert_eq!(of("unit:/system.slice/nginx.service"), Manager::Host);
        assert_eq!(of("tree:12@77"), Manager::Host);
        for elsewhere in [
            "/machine.slice/systemd-nspawn@web.service/payload/user.slice/user-7.slice/user@7.service/app.slice/b.service",
            "/lxc.payload.web/user.slice/user-7.slice/user@7.service/app.slice/b.service",
            "/system.slice/a.service/user@7.service/b.service",
            "/user.slice/user-8.slice/user@7.service/app.slice/b.service",
        ] {
            assert_eq!(of(&format!("unit:{elsewhere}")), Manager::Host, "{elsewhere}");
        }
    }

    #[test]
    fn only_what_systemd_would_call_a_unit_is_one() {
        for name in ["nginx.service", "getty@tty1.service", r"systemd-fsck@dev-disk-by\x2duuid.service", "run-r1:f_2.scope"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["x;id .service", "-H.service", "a$(id).service", "ä.service", "a b.service", "a'b.service"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn each_manager_is_told_by_its_own_command() {
        assert_eq!(Manager::Host.command("a.timer", 0), "systemctl stop a.timer");
        assert_eq!(Manager::Host.command(r"a@b\x2dc.timer", 0), r"systemctl stop 'a@b\x2dc.timer'");
        assert_eq!(Manager::User(7).command("a.timer", 7), "systemctl --user stop a.timer");
        assert_eq!(Manager::User(7).command("a.timer", 0), "systemctl --user -M 7@ stop a.timer");
        assert_eq!([0, 7, 8].map(|uid| Manager::User(7).obeys(uid)), [true, true, false]);
        assert!(!Manager::Host.obeys(7));
    }
}
