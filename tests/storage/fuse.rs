//! The least FUSE daemon that has a file to open (include/uapi/linux/fuse.h): one regular file, `file`, of a megabyte of zeros.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

const SIZE: u64 = 1 << 20;
const LOOKUP: u32 = 1;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const INIT: u32 = 26;
const NOT_IMPLEMENTED: i32 = -38;

/// A place where a daemon will mount; unmounted with this, and who waits for the daemon waits no longer.
pub struct Point(pub PathBuf);

impl Drop for Point {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::FORCE | UnmountFlags::DETACH);
    }
}

/// Mounts a filesystem of this kind (`fuse`, `fuse.NAME`) and says whether that worked, then answers for good.
pub fn serve(point: &Path, kind: &str, mounted: impl FnOnce(Result<(), String>)) {
    let connect = || -> Result<File, String> {
        let device =
            OpenOptions::new().read(true).write(true).open("/dev/fuse").map_err(|error| format!("/dev/fuse: {error}"))?;
        let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let data = CString::new(data).expect("no zero");
        mount("silent", point, kind, MountFlags::empty(), data.as_c_str()).map_err(|error| format!("mount: {error}"))?;
        Ok(device)
    };
    let mut device = match connect() {
        Ok(device) => device,
        Err(why) => return mounted(Err(why)),
    };
    mounted(Ok(()));
    let mut request = vec![0; 1 << 18];
    while let Ok(length) = device.read(&mut request) {
        let request = &request[..length];
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("four bytes"));
        let (code, node) = (word(4), word(16));
        let (error, body) = match code {
            // Version 7.31, reads that nobody waits for in the call (as every daemon of today has them), writes of a page.
            INIT => (0, [7, 31, 1 << 17, 1, 0, 4096, 1, 0].map(u32::to_le_bytes).concat()),
            LOOKUP => (0, [&2_u64.to_le_bytes()[..], &[0; 32], &attributes(2)].concat()),
            GETATTR => (0, [&[0; 16][..], &attributes(node)].concat()),
            OPEN => (0, vec![0; 16]),
            READ => (0, vec![0; (word(64) as usize).min(SIZE as usize)]),
            _ => (NOT_IMPLEMENTED, Vec::new()),
        };
        // As long as this version's answer is.
        let body = if code == INIT { [&body[..], &[0; 32]].concat() } else { body };
        let head = [&(16 + body.len() as u32).to_le_bytes()[..], &i32::to_le_bytes(error), &request[8..16]].concat();
        // What nobody waits for any more cannot be answered.
        let _ = device.write(&[head, body].concat());
    }
}

/// `struct fuse_attr`: the directory is node 1, the file node 2.
fn attributes(node: u32) -> Vec<u8> {
    let (mode, size) = if node == 1 { (0o40_755, 0) } else { (0o100_644, SIZE) };
    let longs = [u64::from(node), size, size / 512, 0, 0, 0].map(u64::to_le_bytes).concat();
    let words = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
    [longs, words].concat()
}
