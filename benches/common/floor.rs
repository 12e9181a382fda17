//! The least that a sweep of all tasks can cost: the same reads of the same host, and nothing done with what they give.
//!
//! [`BareFiles`] reads `schedstat` files kept open, as the `/proc` tier does; [`BareIterator`] reads the kernel's task iterator.

use std::{fs, io::Read, os::fd::OwnedFd};

use anyhow::{Context, Result};
use aya::{Btf, Ebpf, EbpfLoader, programs::Iter};
use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::pread,
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};

const OBJECT: &[u8] = include_bytes!("../../src/kernel/bpf/tasks.bpf.o");

/// CPU time of this thread, in nanoseconds.
pub fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// `schedstat` of every process that was there at the start.
pub struct BareFiles {
    files: Vec<OwnedFd>,
    buffer: Vec<u8>,
}

impl BareFiles {
    /// Opens them. Fails where so many files may not be open at once.
    pub fn open() -> Result<Self> {
        let maximum = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
        let mut files = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            if !name.to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            let path = format!("/proc/{}/schedstat", name.to_string_lossy());
            match openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
                Ok(file) => files.push(file),
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error).context("open a schedstat file of every process"),
            }
        }
        Ok(Self { files, buffer: vec![0; 4096] })
    }

    /// Nanoseconds of CPU for one read of all of them.
    pub fn read(&mut self) -> u64 {
        let start = cpu();
        for file in &self.files {
            // Whoever ended since is an error, and costs a call all the same.
            let _ = pread(file, &mut self.buffer[..], 0);
        }
        cpu() - start
    }
}

/// The iterator with nothing around it.
pub struct BareIterator {
    ebpf: Ebpf,
    buffer: Vec<u8>,
}

impl BareIterator {
    /// Loads the program, and reads once so that what is set up at the first time is.
    pub fn load() -> Result<Self> {
        let types = Btf::from_sys_fs()?;
        let mut ebpf = EbpfLoader::new().btf(Some(&types)).load(OBJECT)?;
        program(&mut ebpf)?.load("task", &types)?;
        let mut bare = Self { ebpf, buffer: vec![0; 32 * 1024] };
        bare.read()?;
        Ok(bare)
    }

    /// Nanoseconds of CPU for one read of all tasks.
    pub fn read(&mut self) -> Result<u64> {
        let start = cpu();
        let program = program(&mut self.ebpf)?;
        let link = program.attach()?;
        let mut file = program.take_link(link)?.into_file()?;
        while file.read(&mut self.buffer)? > 0 {}
        drop(file);
        Ok(cpu() - start)
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Iter> {
    Ok(ebpf.program_mut("tasks").context("the object has no program")?.try_into()?)
}
