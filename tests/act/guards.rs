//! What is refused, and what asks for a word first: services that listen, victims, picked processes, database backends.

use std::ffi::CString;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use whytop::act::{Hand, Tools};
use whytop::action::{Action, Candidate, Disk, Frozen, Offers, Order, Refusal, Signal, Subject};

use super::actors::*;

/// Listens where it is told to, writes the port into a file, and stays.
pub fn listen(argument: &str) {
    let (address, file) = argument.split_once(' ').unwrap();
    let listener = TcpListener::bind(address).unwrap();
    fs::write(file, listener.local_addr().unwrap().port().to_string()).unwrap();
    std::thread::sleep(super::LIFE);
}

/// A job that listens on a port of this address, and the port.
pub fn listener(address: &str) -> (Job, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("port");
    let job = Job::start(role("listen", &format!("{address} {}", file.display())).stdout(std::process::Stdio::null()));
    until("it listens", || fs::read_to_string(&file).is_ok_and(|port| !port.is_empty()));
    (job, fs::read_to_string(&file).unwrap())
}

fn why_not(offers: &Offers, action: &Action) -> Option<String> {
    offers.find(action).unwrap_or_else(|| panic!("{action} is not offered")).why_not.clone()
}

#[test]
fn a_service_that_listens_is_ended_with_a_typed_word_only() {
    let (mut job, port) = listener("0.0.0.0:0");
    let hands = Hands::new(forgetful());
    let subject = Subject { name: "shop".to_owned(), ..subject(&job.root()) };
    for action in [Action::End(Signal::Terminate), Action::Pause, Action::Prove { seconds: 1 }] {
        let outcome = hands.act(&subject, action);
        let error = format!("shop is a service that listens on port {port}: type shop to do it all the same");
        assert_eq!(outcome.error, Some(error));
        assert_eq!(outcome.sent(), 0);
        assert_ne!(state(job.pid()), 'T');
    }
    let wrong = Order { confirmed: Some("shap".to_owned()), ..Order::whole(1, Action::End(Signal::Kill)) };
    hands.order(&subject, wrong);
    assert!(!hands.outcome().worked());
    assert!(job.lives());

    // What halts nobody needs no word.
    assert!(hands.act(&subject, Action::Deprioritise).worked());
    let asked = hands.offers(&subject).confirmation.unwrap();
    assert_eq!(asked.word, "shop");
    hands.order(&subject, Order { confirmed: Some(asked.word), ..Order::whole(2, Action::End(Signal::Terminate)) });
    assert_eq!(hands.outcome().sent(), 1);
    job.child.wait().unwrap();
}

#[test]
fn a_backup_that_talks_to_itself_is_no_service() {
    let (mut job, _) = listener("127.0.0.1:0");
    let hands = Hands::new(forgetful());
    let service = subject(&job.root());
    assert!(hands.act(&service, Action::Pause).error.is_some_and(|error| error.contains("listens on port")));
    let backup = Subject { ends_by_itself: true, ..service };
    let outcome = hands.act(&backup, Action::End(Signal::Kill));
    assert_eq!(outcome.sent(), 1, "{outcome}");
    job.child.wait().unwrap();
}

#[test]
fn a_victim_is_ended_with_a_typed_word_only() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    let victim = Subject { is_victim: true, ..subject(&job.root()) };
    let outcome = hands.act(&victim, Action::End(Signal::Kill));
    let said =
        "SIGKILL not sent to nightly: nightly is one of those that wait, not the cause: type nightly to do it all the same";
    assert_eq!(outcome.to_string(), said);
    assert!(job.lives());
}

#[test]
fn a_name_that_cannot_be_typed_is_asked_for_by_its_number() {
    let job = Job::sleeper();
    let victim = Subject { is_victim: true, name: "a b\\x1b[31m".to_owned(), ..subject(&job.root()) };
    let aim = Hand::new(true).aim(&victim);
    assert_eq!(aim.offers.confirmation.unwrap().word, job.pid().to_string());
}

#[test]
fn picked_processes_are_hit_and_nobody_else() {
    let mut job = Job::script("sleep 600 & sleep 601 & (sleep 602 & wait) & wait", &[]);
    until("all are there", || tree(job.pid()).iter().filter(|seen| seen.name == "sleep").count() == 3);
    let members = job.members();
    let sleeper = members.iter().find(|member| member.name == "sleep").unwrap().id;
    let hands = Hands::new(forgetful());
    let order = Order { only: Some(vec![sleeper]), ..Order::whole(1, Action::End(Signal::Kill)) };
    hands.order(&subject(&members), order);
    let outcome = hands.outcome();
    assert_eq!(hit_ids(&outcome), [sleeper], "{outcome}");
    until("it is gone", || !lives(sleeper));
    assert!(members.iter().all(|member| member.id == sleeper || lives(member.id)));

    // The shell between them: its child is not hit with it.
    let shell = members.iter().find(|member| member.name == "sh" && member.id.pid != job.pid()).unwrap().id;
    hands.order(&subject(&members), Order { only: Some(vec![shell]), ..Order::whole(2, Action::End(Signal::Kill)) });
    assert_eq!(hit_ids(&hands.outcome()), [shell]);
    until("it is gone", || !lives(shell));
    assert_eq!(members.iter().filter(|member| lives(member.id)).count(), members.len() - 2);
}

/// A shell that the kernel calls `postgres`, with a child of that name. By a link: a copy may still be open to be written in what
/// another test is just starting, and cannot be run then.
fn postgres() -> (Job, Candidate) {
    let folder = tempfile::tempdir().unwrap();
    let postgres = folder.path().join("postgres");
    symlink("/bin/sh", &postgres).unwrap();
    let script = "(read -r line </dev/zero; :) & wait";
    let mut job = Job::start(Command::new(&postgres).args(["-c", script]));
    until("the backend is there", || tree(job.pid()).iter().filter(|seen| seen.name == "postgres").count() == 2);
    let backend = job.members().remove(1);
    (job, backend)
}

#[test]
fn a_database_backend_is_never_hit() {
    let (job, backend) = postgres();
    // Its command line may be one that nobody could read.
    for command in ["", "[postgres]", "postgres: app shop 10.0.0.7(51234) COPY"] {
        let target = Candidate { command: command.to_owned(), ..backend.clone() };
        assert_eq!(refusal(target.clone()), Some(Refusal::Backend), "{command}");
        let outcome = send(&[target], Signal::Kill);
        let said = format!(
            "SIGKILL not sent to nightly; postgres {} is a database backend: its server ends it (SELECT pg_terminate_backend)",
            backend.id.pid
        );
        assert_eq!(outcome.to_string(), said);
    }
    assert!(lives(backend.id));
    // One whose server is gone says so itself.
    let orphan = Candidate { command: "postgres: app shop [local] idle".to_owned(), ..job.root().remove(0) };
    assert_eq!(refusal(orphan), Some(Refusal::Backend));
    assert_eq!(refusal(job.root().remove(0)), None, "the server is its own");
}

#[test]
fn whoever_only_calls_itself_a_database_backend_is_none() {
    let mut job = Job::sleeper();
    let target = Candidate { command: "postgres: not one".to_owned(), ..job.root().remove(0) };
    assert_eq!(send(&[target], Signal::Kill).sent(), 1);
    job.child.wait().unwrap();
}

/// Nobody had seen the backend before; its server is ended all the same.
#[test]
fn a_backend_that_was_born_meanwhile_is_left_to_its_server() {
    let (job, backend) = postgres();
    let (server, backend) = (job.id(), backend.id);
    let outcome = send(&job.root(), Signal::Kill);
    assert_eq!(hit_ids(&outcome), [server], "{outcome}");
    assert!(lives(backend), "{outcome}");
}

#[test]
fn each_offer_says_what_it_would_do_here_or_why_it_cannot() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    let disks = [("sda", "none"), ("sdb", "bfq")]
        .map(|(name, scheduler)| Disk { name: name.to_owned(), scheduler: Some(scheduler.to_owned()) });
    let plain = Subject { disks: Some(disks.to_vec()), ..subject(&job.root()) };
    let of = hands.offers(&plain);
    assert_eq!(why_not(&of, &Action::End(Signal::Terminate)), None);
    assert_eq!(why_not(&of, &Action::Prove { seconds: 10 }), None);
    assert_eq!(why_not(&of, &Action::Resume).as_deref(), Some("it is not paused"));
    assert_eq!(why_not(&of, &Action::Undo).as_deref(), Some("whytop has done nothing to it that can be put back"));
    let thaw = why_not(&of, &Action::Thaw { mount: String::new() }).unwrap();
    assert_eq!(thaw, "no filesystem is frozen, as far as anybody waits for one");
    let hidden = Subject { frozen: Frozen { elsewhere: true, ..Frozen::default() }, ..plain.clone() };
    let thaw = why_not(&hands.offers(&hidden), &Action::Thaw { mount: String::new() }).unwrap();
    assert!(
        thaw.contains(if rustix::process::geteuid().is_root() { "fsfreeze --unfreeze MOUNT thaws it" } else { "sudo whytop" }),
        "{thaw}"
    );
    let stop = why_not(&of, &Action::StopUnit { unit: String::new() }).unwrap();
    assert_eq!(stop, "it is no unit of a service manager: end it instead");
    let slow = of.find(&Action::Deprioritise).unwrap();
    assert_eq!(slow.does, "niceness 19 and the idle I/O class for all threads of 1 process");
    assert!(slow.beware.contains(&"sda has the scheduler none: the I/O class has no effect there.".to_owned()), "{slow:?}");
    assert!(!slow.beware.iter().any(|text| text.contains("sdb")), "{slow:?}");
    assert_eq!(of.confirmation, None);

    hands.act(&plain, Action::Pause);
    until("it has stopped", || state(job.pid()) == 'T');
    let of = hands.offers(&plain);
    assert_eq!(why_not(&of, &Action::Pause).as_deref(), Some("it is paused already: let it go on first"));
    assert_eq!(why_not(&of, &Action::Resume), None);
    assert_eq!(why_not(&of, &Action::Undo), None);
}

#[test]
fn whoever_froze_a_filesystem_is_not_paused() {
    let job = Job::sleeper();
    let hands = Hands::new(forgetful());
    let frozen = Frozen { mounts: vec!["/srv".to_owned()], elsewhere: false, by_it: true };
    let freezer = Subject { frozen, ..subject(&job.root()) };
    let outcome = hands.act(&freezer, Action::Pause);
    let said = "nightly is not paused: it froze /srv and would keep it frozen: thaw it first";
    assert_eq!(outcome.to_string(), said);
    assert_ne!(state(job.pid()), 'T');
    // Nobody would be left to thaw it.
    let killed = hands.act(&freezer, Action::End(Signal::Kill));
    let said = "nightly froze /srv and would leave it frozen: thaw it first: type nightly to do it all the same";
    assert_eq!(killed.error.as_deref(), Some(said));
    assert!(job.lives());
    let of = hands.offers(&freezer);
    assert!(of.confirmation_for(&Action::StopUnit { unit: "nightly.service".to_owned() }).is_some());
    let end = of.find(&Action::End(Signal::Terminate)).unwrap();
    assert!(end.beware.contains(&"It froze /srv: thaw it first, or it may stay frozen.".to_owned()), "{end:?}");
    assert!(of.find(&Action::Thaw { mount: "/srv".to_owned() }).is_some());
}

/// A filesystem whose daemon never answers: whoever asks it for anything waits, until it goes with this.
struct Mute {
    folder: tempfile::TempDir,
    _device: fs::File,
}

impl Mute {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let device = fs::File::options().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| format!("/dev/fuse: {error}"))?;
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let data = CString::new(data).unwrap();
        mount("mute", folder.path(), "fuse", MountFlags::empty(), data.as_c_str()).map_err(|error| format!("mount: {error}"))?;
        Ok(Self { folder, _device: device })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = unmount(self.folder.path(), UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

#[test]
fn a_folder_that_hangs_keeps_no_signal_from_the_job() {
    let mute = match Mute::new() {
        Ok(mute) => mute,
        Err(why) => return println!("skipped: {why}"),
    };
    let mut job = Job::sleeper();
    let mut search = mute.path().into_os_string();
    search.push(":/usr/bin:/bin");
    let hands = Hands::new(Tools { search, ..forgetful() });
    let frozen = Frozen { mounts: vec!["/srv".to_owned()], ..Frozen::default() };
    let subject = Subject { frozen, ..subject(&job.root()) };
    let outcome = hands.act(&subject, Action::End(Signal::Kill));
    assert_eq!(outcome.sent(), 1, "{outcome}");
    job.child.wait().unwrap();
}

/// The watchdog lies on the folder that hangs: the proof waits for it, and nobody else does.
#[test]
fn a_proof_that_does_not_start_keeps_no_signal_from_the_job() {
    let mute = match Mute::new() {
        Ok(mute) => mute,
        Err(why) => return println!("skipped: {why}"),
    };
    let mut job = Job::sleeper();
    let hands = Hands::new(Tools { own: mute.path().join("whytop"), ..forgetful() });
    let subject = subject(&job.root());
    hands.order(&subject, Order::whole(1, Action::Prove { seconds: 10 }));
    hands.order(&subject, Order::whole(2, Action::End(Signal::Kill)));
    let outcome = hands.outcome();
    assert_eq!((outcome.ticket, outcome.sent()), (2, 1), "{outcome}");
    job.child.wait().unwrap();
    drop(mute);
}
