//! System calls that `rustix` does not have, or not exactly: processes, terminals, `bpf`,
//! `reboot`, and [`syscall!`](crate::syscall) for calls that must be made with raw arguments.

use crate::{Errno, Result};
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{CStr, c_char};
use core::ptr::null;
use linux_raw_sys::general::{
    __NR_bpf, __NR_clone, __NR_execve, __NR_exit_group, __NR_ioctl, __NR_kill, __NR_reboot,
    __NR_setsid, __NR_wait4, SIGCHLD, termios, winsize,
};

/// A system call with raw arguments, each cast to `usize`; gives `Result<usize>`. Unsafe, since
/// the call may write anywhere.
#[macro_export]
macro_rules! syscall {
    ($number:expr) => { $crate::syscall!(=> syscall0, $number) };
    ($number:expr, $a:expr) => { $crate::syscall!(=> syscall1, $number, $a) };
    ($number:expr, $a:expr, $b:expr) => { $crate::syscall!(=> syscall2, $number, $a, $b) };
    ($number:expr, $a:expr, $b:expr, $c:expr) => {
        $crate::syscall!(=> syscall3, $number, $a, $b, $c)
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr) => {
        $crate::syscall!(=> syscall4, $number, $a, $b, $c, $d)
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr) => {
        $crate::syscall!(=> syscall5, $number, $a, $b, $c, $d, $e)
    };
    ($number:expr, $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => {
        $crate::syscall!(=> syscall6, $number, $a, $b, $c, $d, $e, $f)
    };
    (=> $function:ident, $number:expr $(, $argument:expr)*) => {
        $crate::sys::check($crate::arch::$function($number as usize $(, $argument as usize)*))
    };
}

/// Turns the kernel's return value into a result: -4095 to -1 are errors.
#[inline(always)]
pub fn check(value: isize) -> Result<usize> {
    if (-4095..0).contains(&value) {
        Err(Errno::from_raw_os_error(-value as i32))
    } else {
        Ok(value as usize)
    }
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: ends the process.
        let _ = unsafe { syscall!(__NR_exit_group, status) };
    }
}

/// Makes a copy of this process; `None` in the copy, the copy's number in the caller.
pub fn fork() -> Result<Option<i32>> {
    // SAFETY: the copy has its own memory. These programs fork from their only thread.
    let pid = unsafe { syscall!(__NR_clone, SIGCHLD, 0usize, 0usize, 0usize, 0usize) }?;
    Ok((pid != 0).then_some(pid as i32))
}

/// Runs a program in this process; returns only if that fails.
pub fn execute(path: &CStr, arguments: &[CString], environment: &[CString]) -> Errno {
    let pointers = |strings: &[CString]| -> Vec<*const c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([null()]).collect()
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null and hold pointers to C strings.
    match unsafe { syscall!(__NR_execve, path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) }
    {
        Ok(_) => Errno::NOEXEC,
        Err(error) => error,
    }
}

/// How a child ended or changed state: the status word of `wait4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The exit status, if it exited.
    pub fn exited(self) -> Option<i32> {
        (self.0 & 0x7f == 0).then_some((self.0 >> 8) & 0xff)
    }
    /// The signal that killed it, if one did.
    pub fn signaled(self) -> Option<i32> {
        let signal = self.0 & 0x7f;
        (signal != 0 && signal != 0x7f).then_some(signal)
    }
    /// The signal that stopped it, if it is stopped.
    pub fn stopped(self) -> Option<i32> {
        (self.0 & 0xff == 0x7f).then_some((self.0 >> 8) & 0xff)
    }
    /// What a shell calls the status: the exit status, or 128 plus the signal.
    pub fn code(self) -> i32 {
        match (self.exited(), self.signaled()) {
            (Some(status), _) => status,
            (_, Some(signal)) => 128 + signal,
            _ => 128 + self.stopped().unwrap_or(0),
        }
    }
}

/// `wait4`: waits for the child `pid`, or any with -1. `None` if `WNOHANG` found none ready.
pub fn wait(pid: i32, options: u32) -> Result<Option<(i32, Status)>> {
    let mut status = 0i32;
    // SAFETY: `status` is writable.
    let found =
        unsafe { syscall!(__NR_wait4, pid as isize, &raw mut status, options, null::<u8>()) }?;
    Ok((found != 0).then_some((found as i32, Status(status))))
}

/// Waits for one child to end, whatever signals arrive meanwhile.
pub fn wait_for(pid: i32) -> Result<Status> {
    loop {
        match wait(pid, 0) {
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Sends a signal; `pid` as `kill(2)` takes it (negative: a process group; -1: all).
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: touches no memory of this process.
    unsafe { syscall!(__NR_kill, pid as isize, signal) }.map(drop)
}

/// Starts a new session and makes this process its leader.
pub fn new_session() -> Result<()> {
    // SAFETY: touches no memory.
    unsafe { syscall!(__NR_setsid) }.map(drop)
}

/// `ioctl` with a pointer to a `T` that the kernel reads or fills.
fn ioctl<T>(fd: i32, request: u32, argument: *mut T) -> Result<usize> {
    // SAFETY: the callers below pair each request with its structure.
    unsafe { syscall!(__NR_ioctl, fd as isize, request, argument) }
}

/// The terminal's settings (`TCGETS`).
pub fn terminal_settings(fd: i32) -> Result<termios> {
    // SAFETY: plain integers.
    let mut settings: termios = unsafe { core::mem::zeroed() };
    ioctl(fd, linux_raw_sys::ioctl::TCGETS, &raw mut settings)?;
    Ok(settings)
}

/// Changes the terminal's settings after pending output has been sent (`TCSETSW`).
pub fn set_terminal(fd: i32, mut settings: termios) -> Result<()> {
    ioctl(fd, linux_raw_sys::ioctl::TCSETSW, &raw mut settings).map(drop)
}

/// Rows and columns of the terminal (`TIOCGWINSZ`); `None` where it does not know.
pub fn terminal_size(fd: i32) -> Option<(usize, usize)> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    ioctl(fd, linux_raw_sys::ioctl::TIOCGWINSZ, &raw mut size).ok()?;
    (size.ws_row > 0 && size.ws_col > 0)
        .then_some((usize::from(size.ws_row), usize::from(size.ws_col)))
}

/// Makes the terminal the controlling terminal of this session (`TIOCSCTTY`).
pub fn take_terminal(fd: i32) -> Result<()> {
    ioctl(fd, linux_raw_sys::ioctl::TIOCSCTTY, core::ptr::null_mut::<u8>()).map(drop)
}

/// Makes a process group the terminal's foreground group (`TIOCSPGRP`).
pub fn set_foreground(fd: i32, mut group: i32) -> Result<()> {
    ioctl(fd, linux_raw_sys::ioctl::TIOCSPGRP, &raw mut group).map(drop)
}

/// `bpf(2)`: `attributes` are the bytes of `union bpf_attr`.
///
/// # Safety
/// Pointers in the attributes are valid for what the command does with them.
pub unsafe fn bpf(command: u32, attributes: &mut [u8]) -> Result<usize> {
    // SAFETY: the slice is readable and writable; the rest is the caller's promise.
    unsafe { syscall!(__NR_bpf, command, attributes.as_mut_ptr(), attributes.len()) }
}

/// `reboot(2)` with both magic numbers and the given command. The last argument is Lemma's
/// extension: for `POWER_OFF`, its low byte is the machine's exit status. Linux ignores it.
pub fn reboot(command: u32, status: i32) -> Errno {
    // SAFETY: touches no memory of this process.
    match unsafe { syscall!(__NR_reboot, 0xfee1_deadu32, 672_274_793u32, command, status) } {
        Ok(_) => Errno::INVAL,
        Err(error) => error,
    }
}
