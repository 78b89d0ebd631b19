//! Descriptors by number, as a shell needs them, which arranges 0, 1 and 2 for its children.
//! Elsewhere, `rustix`'s owned descriptors are the better choice.

use crate::{Result, syscall};
use core::ffi::CStr;
use linux_raw_sys::general::{
    __NR_close, __NR_dup3, __NR_fcntl, __NR_openat, __NR_pipe2, __NR_ppoll, AT_FDCWD,
    F_DUPFD_CLOEXEC, O_CLOEXEC, POLLIN, pollfd, timespec,
};

/// Opens a file.
pub fn open(path: &CStr, flags: u32, mode: u32) -> Result<i32> {
    // SAFETY: the path ends with NUL.
    unsafe { syscall!(__NR_openat, AT_FDCWD as isize, path.as_ptr(), flags, mode) }
        .map(|number| number as i32)
}

/// Closes a descriptor. Nothing in the program may own it.
pub fn close(number: i32) {
    // SAFETY: as the caller says.
    let _ = unsafe { syscall!(__NR_close, number as isize) };
}

/// Makes `to` name what `from` names. The same number twice is no error.
pub fn duplicate(from: i32, to: i32) -> Result<()> {
    if from == to {
        return Ok(());
    }
    // SAFETY: touches no memory.
    unsafe { syscall!(__NR_dup3, from as isize, to as isize, 0usize) }.map(drop)
}

/// A copy of a descriptor at 10 or above, closed by `execve`.
pub fn save(number: i32) -> Result<i32> {
    // SAFETY: touches no memory.
    unsafe { syscall!(__NR_fcntl, number as isize, F_DUPFD_CLOEXEC, 10usize) }
        .map(|number| number as i32)
}

/// A pipe, closed by `execve`: its reading and its writing end.
pub fn pipe() -> Result<(i32, i32)> {
    let mut ends = [0i32; 2];
    // SAFETY: the kernel fills two integers.
    unsafe { syscall!(__NR_pipe2, ends.as_mut_ptr(), O_CLOEXEC) }?;
    let [read, write] = ends;
    Ok((read, write))
}

/// Whether input waits to be read.
pub fn has_input(number: i32) -> bool {
    poll(number, 0)
}

/// Waits until there is input, at most for some milliseconds; whether there is.
pub fn wait_for_input(number: i32, milliseconds: i64) -> bool {
    poll(number, milliseconds)
}

fn poll(number: i32, milliseconds: i64) -> bool {
    let mut poll = pollfd { fd: number, events: POLLIN as i16, revents: 0 };
    let mut time =
        timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    // SAFETY: one entry, one time.
    let ready = unsafe {
        syscall!(__NR_ppoll, &raw mut poll, 1usize, &raw mut time, core::ptr::null::<u8>(), 8usize)
    };
    ready.is_ok() && poll.revents & POLLIN as i16 != 0
}
