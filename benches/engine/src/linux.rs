//! The host's Linux: `BPF_PROG_TEST_RUN` of the same program, where bpf(2) is allowed.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::measure::Contender;
use crate::programs::{Source, pattern};

const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const PROG_LOAD: i32 = 5;
const PROG_TEST_RUN: i32 = 10;
const PROG_TYPE_SCHED_CLS: u32 = 3;

/// `union bpf_attr`, with room to grow.
#[repr(C, align(8))]
struct Attributes([u8; 128]);

impl Attributes {
    fn new() -> Self {
        Self([0; 128])
    }

    fn u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, offset: usize, value: u64) -> Self {
        self.0[offset..offset + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn get(&self, offset: usize) -> u32 {
        self.0[offset..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn address(self, offset: usize, bytes: &[u8]) -> Self {
        self.u64(offset, bytes.as_ptr().expose_provenance() as u64)
    }
}

fn bpf(command: i32, attributes: &mut Attributes) -> Result<i32> {
    // SAFETY: the attributes are as long as said, and what they point to lives in the callers.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attributes.0.as_mut_ptr(), attributes.0.len())
    };
    if result < 0 {
        bail!("bpf(2): {}", io::Error::last_os_error());
    }
    Ok(i32::try_from(result)?)
}

fn new_file(command: i32, mut attributes: Attributes) -> Result<File> {
    let fd = bpf(command, &mut attributes)?;
    // SAFETY: bpf(2) has just opened it for this process.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// A program in the host's kernel, which measures it itself.
pub(crate) fn contender(source: &Source) -> Result<Contender> {
    let object = &source.verifiable;
    let mut files = Vec::new();
    for map in &object.maps {
        let def = map.def;
        let attributes = Attributes::new()
            .u32(0, def.map_type.number())
            .u32(4, def.key_size)
            .u32(8, def.value_size)
            .u32(12, def.max_entries)
            .u32(16, def.flags);
        let file = new_file(MAP_CREATE, attributes).context("BPF_MAP_CREATE")?;
        let (key, value) = ([0; 4], pattern());
        let mut attributes = Attributes::new()
            .u32(0, file.as_raw_fd().cast_unsigned())
            .address(8, &key)
            .address(16, &value);
        bpf(MAP_UPDATE_ELEM, &mut attributes).context("BPF_MAP_UPDATE_ELEM")?;
        files.push(file);
    }
    let mut program = object.programs.first().context("no program")?.clone();
    let fds: Vec<i32> = files.iter().map(AsRawFd::as_raw_fd).collect();
    program.patch_maps(&fds);
    let license = b"GPL\0";
    let attributes = Attributes::new()
        .u32(0, PROG_TYPE_SCHED_CLS)
        .u32(4, u32::try_from(program.insns.len() / 8)?)
        .address(8, &program.insns)
        .address(16, license);
    let loaded = new_file(PROG_LOAD, attributes).context("BPF_PROG_LOAD")?;
    let packet = vec![0u8; 64];
    let test_run = move |repeat: u32| -> Result<(u32, Duration)> {
        let _ = &files;
        let mut attributes = Attributes::new()
            .u32(0, loaded.as_raw_fd().cast_unsigned())
            .u32(8, u32::try_from(packet.len())?)
            .address(16, &packet)
            .u32(32, repeat);
        bpf(PROG_TEST_RUN, &mut attributes).context("BPF_PROG_TEST_RUN")?;
        // The kernel tells the average, in whole nanoseconds.
        let average = Duration::from_nanos(u64::from(attributes.get(36)));
        Ok((attributes.get(4), average * repeat))
    };
    test_run(1)?;
    let shared = Rc::new(test_run);
    let timed = Rc::clone(&shared);
    let run = move || shared(1).map_or(u64::MAX, |(result, _)| u64::from(result));
    Ok(Contender::new("linux", run)
        .with_clock(move |count| timed(count).map_or(Duration::ZERO, |(_, elapsed)| elapsed)))
}
