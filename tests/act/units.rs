//! What systemd says, by a made-up `systemctl`: what brings a job back, and stopping its unit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::getuid;
use tempfile::TempDir;
use whytop::act::{Hand, Tools};
use whytop::action::{Action, Order, Report, Signal, Subject};

use super::actors::*;
use super::cgroup::{Group, or_skip};

/// What systemd 252 says of a timer whose service runs: when it is due is found out when that has ended.
const RUNNING: &str = "ActiveState=active\nSubState=running\nNextElapseUSecRealtime=\nNextElapseUSecMonotonic=infinity\n";
const NIGHTLY: &str = "TimersCalendar={ OnCalendar=*-*-* 02:00:00 ; next_elapse=Sat 2026-11-28 02:00:00 UTC }\n";

/// A service that a timer has started, under a systemd of these few lines. What it is asked is written into `asked`, and what it says of a
/// unit stands in a file of its name.
fn host(folder: &Path) -> Tools {
    let place = folder.display();
    let program = |name: &str, script: &str| {
        fs::write(folder.join(name), format!("#!/bin/sh\necho \"$*\" >>{place}/asked\n{script}")).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    program(
        "systemctl",
        &format!(
            "for unit; do :; done\ncase \"$*\" in\n\
             *show*) cat {place}/\"$unit\" 2>/dev/null || echo LoadState=not-found;;\n\
             *stop*nightly.service) mv {place}/due {place}/nightly.timer;;\n\
             *) echo 'Failed to stop x: Access denied' >&2; exit 1;;\nesac\n"
        ),
    );
    program("systemd-analyze", "echo 'Normalized form: *-*-* 02:00:00'; echo '    Next elapse: Sun 2026-11-29 02:00:00 UTC'\n");
    runs(folder, "/system.slice/nightly.service");
    says(folder, "nightly.timer", &format!("{RUNNING}{NIGHTLY}"));
    let due = "NextElapseUSecRealtime=Sun 2026-11-29 02:03:20 UTC\nNextElapseUSecMonotonic=0\n";
    says(folder, "due", &format!("ActiveState=active\nSubState=waiting\n{due}{NIGHTLY}"));
    let mut search = folder.as_os_str().to_owned();
    search.push(":/usr/bin:/bin");
    Tools { search, has_systemd: true, ..forgetful() }
}

/// What systemd says of this unit.
fn says(folder: &Path, unit: &str, text: &str) {
    fs::write(folder.join(unit), text).unwrap();
}

/// The unit runs in this group.
fn runs(folder: &Path, group: &str) {
    let facts = "Restart=on-failure\nTriggeredBy=nightly.timer\nRefuseManualStop=no\n";
    says(folder, group.rsplit('/').next().unwrap(), &format!("LoadState=loaded\nControlGroup={group}\n{facts}"));
}

fn unit(job: &Job, name: &str) -> Subject {
    unit_at(job, &format!("/system.slice/{name}"))
}

fn unit_at(job: &Job, group: &str) -> Subject {
    let unit = group.rsplit('/').next().map(str::to_owned);
    Subject { job: format!("unit:{group}"), unit, ..subject(&job.root()) }
}

/// A job on a made-up host of systemd's, and who acts there.
fn on_a_host() -> (TempDir, Job, Hands) {
    let folder = tempfile::tempdir().unwrap();
    let hands = Hands::new(host(folder.path()));
    (folder, Job::sleeper(), hands)
}

fn stopping(unit: &str) -> Action {
    Action::StopUnit { unit: unit.to_owned() }
}

#[test]
fn a_unit_is_stopped_by_its_manager_and_what_starts_it_again_is_said() {
    if !getuid().is_root() {
        return println!("skipped: only root may stop a unit of the host's");
    }
    let (folder, job, hands) = on_a_host();
    let nightly = unit(&job, "nightly.service");
    let of = hands.offers(&nightly);
    let stop = of.find(&stopping("nightly.service")).unwrap();
    assert_eq!(stop.does, "systemctl stop nightly.service, so that Restart=on-failure does not bring it back");
    assert_eq!(stop.why_not, None);
    let timer =
        "nightly.timer starts it again at Sun 2026-11-29 02:00:00 UTC, unless that is stopped too: systemctl stop nightly.timer.";
    assert_eq!(stop.beware, [timer]);
    let end = of.find(&Action::End(Signal::Terminate)).unwrap();
    assert_eq!(end.beware, ["nightly.service has Restart=on-failure: stop the unit instead.", timer]);

    let stopped = hands.act(&nightly, stopping("nightly.service"));
    // It is asked anew: a timer is due when its service has ended, and then with its random delay.
    let said = "nightly.service is stopped; nightly.timer starts it again at Sun 2026-11-29 02:03:20 UTC, unless that";
    assert!(stopped.worked() && stopped.to_string().starts_with(said), "{stopped}");
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(asked.contains("\nstop --no-ask-password -- nightly.service\n"), "{asked}");
}

const OF_USER_7: &str = "/user.slice/user-7.slice/user@7.service/app.slice/nightly.service";

#[test]
fn a_users_own_unit_is_stopped_by_his_own_manager() {
    if !getuid().is_root() {
        return println!("skipped: only root may stop another user's unit");
    }
    let (folder, job, hands) = on_a_host();
    runs(folder.path(), OF_USER_7);
    let theirs = unit_at(&job, OF_USER_7);
    let of = hands.offers(&theirs);
    let stop = of.find(&stopping("nightly.service")).unwrap();
    assert_eq!(stop.does, "systemctl --user -M 7@ stop nightly.service, so that Restart=on-failure does not bring it back");
    assert!(stop.beware[0].ends_with(": systemctl --user -M 7@ stop nightly.timer."), "{stop:?}");
    let stopped = hands.act(&theirs, stopping("nightly.service"));
    assert!(stopped.worked(), "{stopped}");
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(asked.contains("\n--user -M 7@ stop --no-ask-password -- nightly.service\n"), "{asked}");

    // As an older one says.
    fs::write(folder.path().join("systemctl"), "#!/bin/sh\necho 'Failed to connect to bus: No such file' >&2; exit 1\n").unwrap();
    let why_not = hands.offers(&theirs).find(&stopping("nightly.service")).unwrap().why_not.clone();
    let said = "systemctl says: Failed to connect to bus: No such file (systemd reaches another user's own units from version 248 on); \
                end the job instead";
    assert_eq!(why_not.as_deref(), Some(said));
}

/// A unit in a container, or a folder that somebody has made in a control group of his own, may be called as one of the host's is.
#[test]
fn a_namesake_of_the_jobs_unit_is_not_stopped_in_its_place() {
    let (folder, job, hands) = on_a_host();
    for elsewhere in [
        "/lxc.payload.web/system.slice/nightly.service",
        "/machine.slice/systemd-nspawn@web.service/payload/user.slice/user-7.slice/user@7.service/app.slice/nightly.service",
        "/system.slice/app.service/nightly.service",
    ] {
        let inside = unit_at(&job, elsewhere);
        let of = hands.offers(&inside);
        let offer = of.find(&stopping("nightly.service")).unwrap();
        let said = "what systemd knows as nightly.service is another one (/system.slice/nightly.service); end the job instead";
        assert_eq!(offer.why_not.as_deref(), Some(said), "{elsewhere}");
        assert_eq!(offer.does, "has the service manager stop nightly.service", "no command that would stop the other");
        assert_eq!(of.find(&Action::End(Signal::Terminate)).unwrap().beware, [""; 0], "nor does its timer start this one");
        let outcome = hands.act(&inside, stopping("nightly.service"));
        let said = if getuid().is_root() { said } else { "only root may: sudo whytop" };
        assert_eq!(outcome.error.as_deref(), Some(said), "{elsewhere}");
    }
    // That it has ended is no leave to stop whatever bears its name.
    says(folder.path(), "nightly.service", "LoadState=loaded\nControlGroup=\n");
    let why_not = hands.offers(&unit(&job, "nightly.service")).find(&stopping("nightly.service")).unwrap().why_not.clone();
    assert_eq!(why_not.as_deref(), Some("nothing runs in what systemd knows as nightly.service; end the job instead"));
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert!(!asked.contains("stop ") && !asked.contains("--user"), "{asked}");
}

/// What is told is pasted into a root's shell.
#[test]
fn what_no_unit_can_be_called_is_asked_of_nobody() {
    let (folder, job, hands) = on_a_host();
    for name in ["x;id .service", "--now.service", "$(id).scope"] {
        let named = unit_at(&job, &format!("/user.slice/user-7.slice/user@7.service/app.slice/{name}"));
        let said = format!("{name} is no name that systemd gives to a unit; end the job instead");
        let of = hands.offers(&named);
        let offer = of.find(&stopping(name)).unwrap();
        assert_eq!((offer.why_not.as_ref(), offer.does.contains("systemctl")), (Some(&said), false), "{offer:?}");
        assert_eq!(hands.act(&named, stopping(name)).error, Some(said));
    }
    assert!(!folder.path().join("asked").exists());
}

/// Plays whytop after `su`: says what is offered for the unit of this user's own manager.
pub fn print_own(folder: &str) {
    let tools = host(Path::new(folder));
    let uid = getuid().as_raw();
    let group = format!("/user.slice/user-{uid}.slice/user@{uid}.service/app.slice/nightly.service");
    runs(Path::new(folder), &group);
    let script = "#!/bin/sh\necho \"$XDG_RUNTIME_DIR ${DBUS_SESSION_BUS_ADDRESS-none}\" >>";
    for (unit, file) in [(&*group, "own"), ("/system.slice/nightly.service", "hosts")] {
        let systemctl = Path::new(folder).join("systemctl");
        fs::write(systemctl, format!("{script}{folder}/{file}\necho LoadState=loaded\n")).unwrap();
        let job = Job::sleeper();
        Hands::new(tools.clone()).offers(&unit_at(&job, unit));
    }
}

#[test]
fn a_users_own_manager_is_not_taken_from_the_environment_of_whoever_called() {
    let folder = tempfile::tempdir().unwrap();
    let mut whytop = role("own", folder.path().to_str().unwrap());
    whytop.env("XDG_RUNTIME_DIR", "/run/user/4242").env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/4242/bus");
    assert!(whytop.stdout(Stdio::null()).status().unwrap().success());
    let found = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(found("own"), format!("/run/user/{} none\n", getuid().as_raw()));
    assert_eq!(found("hosts"), "/run/user/4242 unix:path=/run/user/4242/bus\n", "no other command's business");
}

/// As systemd 252 shows them.
#[test]
fn a_timer_is_believed_that_it_starts_a_unit_again_only_if_it_does() {
    if !getuid().is_root() {
        return println!("skipped: only root may stop a unit of the host's");
    }
    let (folder, job, hands) = on_a_host();
    let nightly = unit(&job, "nightly.service");
    let said = |timer: &str| {
        says(folder.path(), "nightly.timer", timer);
        let of = hands.offers(&nightly);
        let beware = &of.find(&stopping("nightly.service")).unwrap().beware;
        beware
            .iter()
            .find_map(|text| Some(text.strip_prefix("nightly.timer starts it again")?.split_once(", unless")?.0.to_owned()))
    };
    let set_to = |settings: &str| {
        let settings = settings.lines().map(|setting| format!("TimersMonotonic={{ {setting} ; next_elapse=0 }}\n"));
        said(&format!("{RUNNING}{}", settings.collect::<String>()))
    };
    assert_eq!(set_to("OnUnitActiveUSec=1h\nOnBootUSec=1min").as_deref(), Some(" 1h after its last start"));
    assert_eq!(set_to("OnUnitInactiveUSec=1h 30min\nOnActiveUSec=1s").as_deref(), Some(" 1h 30min after it has ended"));
    // `systemd-run --on-active`, and a timer that was stopped before.
    assert_eq!(set_to("OnActiveUSec=1s"), None);
    assert_eq!(said("ActiveState=inactive\nSubState=dead\nNextElapseUSecRealtime=\nNextElapseUSecMonotonic=infinity\n"), None);
    assert_eq!(said("ActiveState=active\nSubState=elapsed\nNextElapseUSecRealtime=\nNextElapseUSecMonotonic=infinity\n"), None);
    let waiting = |due: &str| said(&format!("ActiveState=active\nSubState=waiting\nNextElapseUSecRealtime=\n{due}"));
    // Long after this host will have been started anew.
    let left = waiting("NextElapseUSecMonotonic=90y 1month 2d 1h 7min 50.417541s\n").unwrap();
    assert!(left.starts_with(" in 32") && left.ends_with(" h"), "{left}");
    assert_eq!(waiting("NextElapseUSecMonotonic=soon\n").as_deref(), Some(""));
    says(folder.path(), "systemd-analyze", "#!/bin/sh\nexit 1\n");
    assert_eq!(said(&format!("{RUNNING}{NIGHTLY}")).as_deref(), Some(" on *-*-* 02:00:00"));
}

#[test]
fn a_unit_that_cannot_be_stopped_says_what_to_do_instead() {
    let folder = tempfile::tempdir().unwrap();
    let job = Job::sleeper();
    let why_not = |tools: Tools, subject: &Subject| {
        let hands = Hands::new(tools);
        let action = Action::StopUnit { unit: subject.unit.clone().unwrap() };
        hands.offers(subject).find(&action).unwrap().why_not.clone().unwrap_or_default()
    };
    let nightly = unit(&job, "nightly.service");
    let without = Tools { has_systemd: false, ..host(folder.path()) };
    assert_eq!(why_not(without, &nightly), "systemd does not run here: end the job instead");
    if !getuid().is_root() {
        assert_eq!(why_not(host(folder.path()), &unit_at(&job, OF_USER_7)), "it is a unit of user 7's own: sudo whytop");
        assert_eq!(why_not(host(folder.path()), &nightly), "only root may: sudo systemctl stop nightly.service");
        return;
    }
    let unknown = unit(&job, "gone.service");
    assert_eq!(why_not(host(folder.path()), &unknown), "systemd knows no gone.service; end the job instead");
    let missing = Tools { search: "/nowhere".into(), ..host(folder.path()) };
    assert_eq!(why_not(missing, &nightly), "systemctl is not installed; end the job instead");
    let hands = Hands::new(host(folder.path()));
    runs(folder.path(), "/system.slice/other.service");
    let outcome = hands.act(&unit(&job, "other.service"), stopping("other.service"));
    assert_eq!(
        outcome.to_string(),
        "other.service is not stopped: systemctl says: Failed to stop x: Access denied; end the job instead"
    );
}

/// A manager that does not answer holds nobody up but the one who asked.
#[test]
fn a_manager_that_hangs_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let tools = host(folder.path());
    fs::write(folder.path().join("systemctl"), "#!/bin/sh\nexec sleep 60\n").unwrap();
    let job = Job::sleeper();
    let hands = Hands::new(tools);
    let nightly = unit(&job, "nightly.service");
    let aim = Hand::new(true).aim(&nightly);
    hands.worker.survey(nightly.clone(), aim);
    // Orders do not wait for it.
    let outcome = hands.act(&nightly, Action::End(Signal::Kill));
    assert_eq!(outcome.sent(), 1, "{outcome}");
    let of = hands.hear("all offers", |report| match report {
        Report::Offers(offers) if offers.complete => Some(offers),
        _ => None,
    });
    let stop = of.find(&stopping("nightly.service")).unwrap();
    if getuid().is_root() {
        assert_eq!(stop.why_not.as_deref(), Some("systemctl has not answered within 2 s; end the job instead"));
    }
}

/// Who is hit neither by a signal nor with his unit.
#[test]
fn a_unit_that_holds_whytop_is_not_stopped() {
    let (folder, job, hands) = on_a_host();
    let terminal = seen(std::os::unix::process::parent_id().cast_signed()).unwrap();
    let mut nightly = unit(&job, "nightly.service");
    nightly.candidates.push(candidate(&terminal));
    let outcome = hands.act(&nightly, stopping("nightly.service"));
    assert_eq!(outcome.error.as_deref(), Some("whytop runs in it, and would be stopped on the way"));
    assert!(!folder.path().join("asked").exists());
}

#[test]
fn who_else_is_in_a_unit_is_named_before_it_is_stopped() {
    let Some(group) = or_skip(Group::new("unit.service")) else { return };
    let name = group.0.file_name().unwrap().to_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let (job, dump) = (Job::sleeper(), Job::sleeper());
    group.take(&job);
    group.take(&dump);
    let hands = Hands::new(host(folder.path()));
    let of = hands.offers(&unit(&job, &name));
    let stop = of.find(&Action::StopUnit { unit: name.clone() }).unwrap();
    let said = format!("Not of this job, but in {name} too, and stopped with it: sleep {}.", dump.pid());
    assert!(stop.beware.contains(&said), "{stop:?}");
}

/// A service may take a minute and a half to stop.
#[test]
fn whoever_quits_does_not_wait_for_a_unit_to_stop() {
    if !getuid().is_root() {
        return println!("skipped: only root may stop a unit of the host's");
    }
    let (folder, job, hands) = on_a_host();
    let systemctl = fs::read_to_string(folder.path().join("systemctl")).unwrap();
    fs::write(folder.path().join("systemctl"), systemctl.replace("*stop*nightly.service) ", "*stop*) exec sleep 12; ")).unwrap();
    hands.order(&unit(&job, "nightly.service"), Order::whole(1, stopping("nightly.service")));
    let asked = || fs::read_to_string(folder.path().join("asked")).unwrap_or_default();
    until("it is asked", || asked().contains("stop --no-ask"));
    let begun = Instant::now();
    assert_eq!(hands.worker.finish().busy, ["stop nightly.service (nightly)"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
