//! Single calls, devices, and files in memory.

use crate::measure::Bench;
use core::ffi::CStr;
use lemma_rt::general::{
    __NR_clock_gettime, __NR_close, __NR_getppid, __NR_newfstatat, __NR_openat, __NR_read,
    __NR_unlinkat, __NR_write, AT_FDCWD, CLOCK_MONOTONIC, O_CREAT, O_RDONLY, O_RDWR, O_TRUNC,
    O_WRONLY, stat, timespec,
};
use lemma_rt::{Result, syscall};

pub(crate) fn open(path: &CStr, flags: u32) -> Result<usize> {
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(__NR_openat, AT_FDCWD, path.as_ptr(), flags, 0o644) }
}

pub(crate) fn close(fd: usize) -> Result<usize> {
    // SAFETY: the descriptors of the measurements are owned by no one.
    unsafe { syscall!(__NR_close, fd) }
}

pub(crate) fn read(fd: usize, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(__NR_read, fd, buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn write(fd: usize, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads the slice.
    unsafe { syscall!(__NR_write, fd, bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn unlink(path: &CStr) -> Result<usize> {
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(__NR_unlinkat, AT_FDCWD, path.as_ptr(), 0) }
}

/// The shortest call there is.
#[inline(always)]
pub(crate) fn getppid() -> Result<usize> {
    // SAFETY: touches no memory.
    unsafe { syscall!(__NR_getppid) }
}

fn stat_into(path: &CStr, room: &mut stat) -> Result<usize> {
    // SAFETY: the path ends with NUL, the structure is the kernel's.
    unsafe { syscall!(__NR_newfstatat, AT_FDCWD, path.as_ptr(), core::ptr::from_mut(room), 0) }
}

/// Makes a file with one byte.
fn prepare(path: &CStr) {
    if let Ok(fd) = open(path, O_RDWR | O_CREAT | O_TRUNC) {
        let _ = write(fd, b"x");
        let _ = close(fd);
    }
}

pub(crate) fn run(bench: &Bench) {
    for directory in ["/tmp/a", "/tmp/a/b", "/tmp/a/b/c"] {
        let _ = lemma_rt::rustix::fs::mkdir(directory, 0o755.into());
    }
    prepare(c"/tmp/f");
    prepare(c"/tmp/a/b/c/f");
    let mut buffer = alloc::vec![1; 4096];

    bench.row("getppid", 2000, 5, |_| getppid());
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    bench.row("clock_gettime_syscall", 1000, 5, |_| {
        // SAFETY: the structure is the kernel's.
        unsafe { syscall!(__NR_clock_gettime, CLOCK_MONOTONIC, &raw mut time) }
    });
    match open(c"/dev/zero", O_RDONLY) {
        Ok(zero) => {
            bench.row("read1_devzero", 1000, 5, |_| read(zero, &mut buffer[..1]));
            bench.row("read4k_devzero", 500, 5, |_| read(zero, &mut buffer));
            let _ = close(zero);
        }
        Err(error) => bench.failed("/dev/zero", error),
    }
    match open(c"/dev/null", O_WRONLY) {
        Ok(null) => {
            bench.row("write1_devnull", 1000, 5, |_| write(null, &buffer[..1]));
            let _ = close(null);
        }
        Err(error) => bench.failed("/dev/null", error),
    }
    bench.row("open_close", 500, 5, |_| open(c"/tmp/f", O_RDONLY).and_then(close));
    bench.row("open_close_deep", 500, 5, |_| open(c"/tmp/a/b/c/f", O_RDONLY).and_then(close));
    // SAFETY: plain integers.
    let mut room: stat = unsafe { core::mem::zeroed() };
    bench.row("stat", 500, 5, |_| stat_into(c"/tmp/f", &mut room));
    bench.row("stat_deep", 500, 5, |_| stat_into(c"/tmp/a/b/c/f", &mut room));
    bench.row("stat_missing", 500, 5, |_| -> Result<()> {
        let _ = core::hint::black_box(stat_into(c"/tmp/nonexistent", &mut room));
        Ok(())
    });
    bench.row("create_unlink", 200, 5, |_| {
        open(c"/tmp/n", O_RDWR | O_CREAT | O_TRUNC).and_then(close)?;
        unlink(c"/tmp/n")
    });
}
