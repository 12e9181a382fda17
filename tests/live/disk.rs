//! Disks that give less than is asked of them: loop devices, throttled or as they are.

use std::ffi::CStr;
use std::fs::{self, File};
use std::path::PathBuf;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::cpu::needs_quiet;
use super::stage::{Limit, Stage, Way, needs_root, retry, tool, wait_for_tasks};
use super::truth::Truth;

/// What a throttled disk gives, in bytes a second.
pub const SLOW: u64 = 8 << 20;
/// Workers of the site: each reads a page, rests for 10 ms and wants the next.
const WORKERS: usize = 24;
/// Bytes in an image, and in the file that is read.
const IMAGE: u64 = 256 << 20;
const DATA: u64 = 16 << 20;

/// A filesystem on a loop device.
pub struct Disk {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// `loop3`.
    pub device: String,
    /// `7:3`.
    pub number: String,
}

impl Disk {
    /// Mounts one, to be taken away with the stage.
    pub fn mounted(stage: &mut Stage, name: &str) -> Result<Self, String> {
        needs_root()?;
        let (image, point) = (stage.path(&format!("{name}.image")), stage.path(name));
        File::create(&image).unwrap().set_len(IMAGE).unwrap();
        fs::create_dir(&point).unwrap();
        let image = image.to_str().unwrap();
        tool("mkfs.ext4", &["-q", image])?;
        let path = tool("losetup", &["--find", "--show", image])?;
        stage.ground(Attached(path.clone()));
        let device = path.trim_start_matches("/dev/").to_owned();
        let none: Option<&CStr> = None;
        mount(&path, &point, "ext4", MountFlags::empty(), none).map_err(|error| format!("mount {path}: {error}"))?;
        stage.ground(Mounted(point.clone()));
        let number = fs::read_to_string(format!("/sys/block/{device}/dev")).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { mount: point, device, number: number.trim().to_owned() })
    }

    /// A file to read from, which is on the disk and not only in memory.
    fn data(&self) -> String {
        let path = self.mount.join("data");
        fs::write(&path, vec![1; DATA as usize]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        path.to_str().unwrap().to_owned()
    }
}

struct Attached(String);

impl Drop for Attached {
    fn drop(&mut self) {
        retry(|| tool("losetup", &["-d", &self.0]).is_ok());
    }
}

/// A mount, taken away when the last who used it is gone.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        if !retry(|| unmount(&self.0, UnmountFlags::empty()).is_ok()) {
            let _ = unmount(&self.0, UnmountFlags::DETACH);
        }
    }
}

fn workers(threads: usize, data: &str) -> [String; 5] {
    ["role=read", &threads.to_string(), data, "4096", "10000"].map(str::to_owned)
}

/// Reads a megabyte at a time, without a rest.
fn hogs(data: &str) -> [&str; 5] {
    ["role=read", "4", data, "1048576", "0"]
}

fn words(role: &[String; 5]) -> [&str; 5] {
    role.each_ref().map(String::as_str)
}

/// The outage: a site reads from a slow disk, and something else reads it all.
pub fn hog(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let data = disk.data();
    let limits = stage.limits("blkio", "io")?;
    let site = stage.serve("site-worker", &words(&workers(WORKERS, &data)))?;
    let hog = stage.play("reindex", &hogs(&data))?;
    stage.trouble(limits.disk(&disk.number, Way::Reads, SLOW)?);
    stage.go(site);
    stage.go(hog);
    wait_for_tasks(site, 'D', WORKERS * 2 / 3);
    Ok(Truth::contention("disk").on(&disk.device).through(hog).hurts(&[site]))
}

/// A server that has much to do and gets all it asks for, beside somebody who moves more on the same disk and is in nobody's way.
pub fn busy(stage: &mut Stage) -> Result<Truth, String> {
    needs_quiet()?;
    let disk = Disk::mounted(stage, "srv")?;
    let data = disk.data();
    let site = stage.serve("site-worker", &["role=read", "4", &data, "4096", "20000"])?;
    let mirror = stage.play("mirror", &["role=read", "1", &data, "262144", "20000"])?;
    stage.go(site);
    stage.go(mirror);
    let moved = || fs::read_to_string(format!("/sys/block/{}/stat", disk.device)).unwrap_or_default();
    let requests = || moved().split_whitespace().next().and_then(|reads| reads.parse::<u64>().ok()).unwrap_or_default();
    let before = requests();
    assert!(retry(|| requests() > before + 100), "it is busy");
    Ok(Truth::calm().aside(mirror).aside(site))
}

/// A job moves as much as it may, and another one as much as it likes: nobody takes anything from the first.
pub fn limit_of_its_own(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let data = disk.data();
    let mirror = stage.play("mirror", &["role=read", "1", &data, "1048576", "10000"])?;
    let limits = stage.limits("blkio", "io")?;
    let index = stage.serve("indexer", &["role=read", &WORKERS.to_string(), &data, "65536", "0"])?;
    stage.trouble(limits.disk(&disk.number, Way::Reads, SLOW)?);
    stage.go(mirror);
    stage.go(index);
    wait_for_tasks(index, 'D', WORKERS * 2 / 3);
    Ok(Truth::watch("disk").on(&disk.device).hurts(&[index]).aside(mirror).said("at the limit of".to_owned()))
}

/// The one that moves more is on a disk that nobody waits for.
pub fn two_hogs(stage: &mut Stage) -> Result<Truth, String> {
    let (near, far) = (Disk::mounted(stage, "srv")?, Disk::mounted(stage, "archive")?);
    let (data, other) = (near.data(), far.data());
    let limits = stage.limits("blkio", "io")?;
    let site = stage.serve("site-worker", &words(&workers(WORKERS, &data)))?;
    let hog = stage.play("reindex", &hogs(&data))?;
    let elsewhere = stage.play("transcode", &hogs(&other))?;
    stage.trouble(limits.disk(&near.number, Way::Reads, SLOW)?);
    stage.trouble(limits.disk(&far.number, Way::Reads, 4 * SLOW)?);
    stage.go(site);
    stage.go(elsewhere);
    stage.go(hog);
    wait_for_tasks(site, 'D', WORKERS * 2 / 3);
    wait_for_tasks(elsewhere, 'D', 2);
    Ok(Truth::contention("disk").on(&near.device).through(hog).hurts(&[site]).aside(elsewhere))
}

/// One process with as many threads as a Java server has.
pub fn two_hundred_threads(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let data = disk.data();
    let limits = stage.limits("blkio", "io")?;
    let server = stage.serve("java-server", &["role=read", "200", &data, "4096", "0"])?;
    let hog = stage.play("reindex", &hogs(&data))?;
    stage.trouble(limits.disk(&disk.number, Way::Reads, SLOW)?);
    stage.go(server);
    stage.go(hog);
    wait_for_tasks(server, 'D', 190);
    Ok(Truth::contention("disk").on(&disk.device).through(hog).hurts(&[server]).stuck(100))
}

/// A job that wants everything on the disk at once, and a service whose small writes wait for the same journal.
pub fn fsync_storm(stage: &mut Stage) -> Result<Truth, String> {
    let disk = Disk::mounted(stage, "srv")?;
    let folder = |name: &str| -> String {
        let path = disk.mount.join(name);
        fs::create_dir(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (queue, import) = (folder("queue"), folder("import"));
    let slow = match Limit::writes_of_all(&disk.number, SLOW)? {
        Some(limit) => limit,
        None => stage.limits("blkio", "io")?.disk(&disk.number, Way::Writes, SLOW)?,
    };
    stage.trouble(slow);
    let mail = stage.serve("mail-queue", &["role=sync", "8", &queue, "4096", "5000"])?;
    let storm = stage.play("importer", &["role=sync", "8", &import, "131072", "0"])?;
    stage.go(mail);
    stage.go(storm);
    wait_for_tasks(mail, 'D', 6);
    Ok(Truth::contention("disk").on(&disk.device).through(storm).hurts(&[mail]))
}
