//! Filesystems that do not answer: frozen, or served by a daemon that stands still.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::disk::Disk;
use super::fuse;
use super::stage::{Stage, needs_root, retry, tool, wait_for_tasks};
use super::truth::Truth;

/// Those who wait for it.
const STUCK: usize = 8;

/// A snapshot that nobody takes back.
pub fn frozen(stage: &mut Stage) -> Result<Truth, String> {
    tool("fsfreeze", &["--version"])?;
    let disk = Disk::mounted(stage, "srv")?;
    let (point, file) = (disk.mount.to_str().unwrap(), disk.mount.join("log"));
    let shop = stage.serve("shop-server", &["role=append", &STUCK.to_string(), file.to_str().unwrap()])?;
    // It thaws when its input ends, whatever becomes of this test.
    let line = format!("fsfreeze -f {point}; echo done >{}; read end; fsfreeze -u {point}", mark(stage));
    let snapshot = stage.play("cron-job", &["role=exec", "/bin/sh", "-c", &line])?;
    stage.trouble(Frozen(point.to_owned()));
    stage.go(snapshot);
    assert!(retry(|| fs::metadata(mark(stage)).is_ok_and(|mark| mark.len() > 0)), "it freezes");
    stage.go(shop);
    wait_for_tasks(shop, 'D', STUCK);
    Ok(Truth::contention("frozen_filesystem").at(&disk.mount).through(snapshot).hurts(&[shop]).stuck(STUCK as u64))
}

fn mark(stage: &Stage) -> String {
    stage.path("mark").to_str().unwrap().to_owned()
}

struct Frozen(String);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = tool("fsfreeze", &["-u", &self.0]);
    }
}

/// A daemon that serves a filesystem, and is stopped.
pub fn stopped_daemon(stage: &mut Stage) -> Result<Truth, String> {
    needs_root()?;
    let point = stage.path("photos");
    fs::create_dir(&point).unwrap();
    stage.ground(fuse::Point(point.clone()));
    let daemon = stage.play("photofs", &["role=fuse", point.to_str().unwrap(), "fuse.photofs"])?;
    let file = point.join("file");
    let album = stage.serve("album-server", &["role=fetch", &STUCK.to_string(), file.to_str().unwrap()])?;
    let pid = Pid::from_raw(daemon).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    stage.trouble(Stopped(pid));
    wait_for_tasks(daemon, 'T', 1);
    stage.go(album);
    wait_for_tasks(album, 'D', STUCK);
    Ok(Truth::contention("network_filesystem").at(&point).through(daemon).hurts(&[album]).stuck(STUCK as u64))
}

struct Stopped(Pid);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}
