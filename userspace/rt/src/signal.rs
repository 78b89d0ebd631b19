//! Signal dispositions and masks, and the signals' names.

use crate::{Result, arch, syscall};
use core::ptr::null_mut;
use linux_raw_sys::general::{__NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigsuspend};

/// `SIG_DFL`.
pub const DEFAULT: usize = 0;
/// `SIG_IGN`.
pub const IGNORE: usize = 1;

/// The names of the signals from 1 on, without SIG, as signal(7) has them.
pub const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The number of a signal given by number, 0 to 64, or by name, with or without SIG.
pub fn number(text: &[u8]) -> Option<i32> {
    let name = text.strip_prefix(b"SIG").unwrap_or(text);
    let place = NAMES.iter().position(|known| known.as_bytes() == name);
    let number = || core::str::from_utf8(text).ok()?.parse().ok();
    place
        .map_or_else(number, |place| Some(place as i32 + 1))
        .filter(|number| (0..=64).contains(number))
}

/// What `kill` was asked for: its options taken from its arguments, `-SIGNAL` or `-s SIGNAL` and
/// `--`; SIGTERM and everyone that is named. The error is a signal that there is not.
pub fn kill_arguments<'a, 'b>(
    arguments: &'b [&'a [u8]],
) -> core::result::Result<(i32, &'b [&'a [u8]]), &'a [u8]> {
    let (name, rest) = match arguments {
        [b"-s", name, rest @ ..] => (*name, rest),
        [b"--", ..] => (b"TERM".as_slice(), arguments),
        [[b'-', name @ ..], rest @ ..] if !name.is_empty() => (name, rest),
        all => (b"TERM".as_slice(), all),
    };
    let signal = number(name).ok_or(name)?;
    Ok((signal, rest.strip_prefix(&[b"--".as_slice()]).unwrap_or(rest)))
}

/// `rt_sigaction`: sets what happens on a signal. `handler` is [`DEFAULT`], [`IGNORE`], or the
/// address of an `extern "C" fn(i32)`, or of one with three arguments under `SA_SIGINFO`.
///
/// # Safety
/// A handler's code must be fit to run between any two instructions of the program.
pub unsafe fn set_handler(signal: i32, handler: usize, flags: usize, mask: u64) -> Result<()> {
    let action = arch::signal_action(handler, flags, mask);
    // SAFETY: the structure is the kernel's; sets of signals are eight bytes.
    unsafe { syscall!(__NR_rt_sigaction, signal, &raw const action, null_mut::<u8>(), 8usize) }
        .map(drop)
}

/// Ignores a signal.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: no code runs.
    unsafe { set_handler(signal, IGNORE, 0, 0) }
}

/// Gives a signal its default effect.
pub fn reset(signal: i32) -> Result<()> {
    // SAFETY: no code of this program runs.
    unsafe { set_handler(signal, DEFAULT, 0, 0) }
}

/// `rt_sigprocmask`: changes the set of blocked signals (bit n-1 is signal n), returns the old one.
/// `how`: `SIG_BLOCK` 0, `SIG_UNBLOCK` 1, `SIG_SETMASK` 2.
pub fn set_mask(how: usize, mask: u64) -> Result<u64> {
    let mut old = 0u64;
    // SAFETY: both sets are eight bytes.
    unsafe { syscall!(__NR_rt_sigprocmask, how, &raw const mask, &raw mut old, 8usize) }?;
    Ok(old)
}

/// `rt_sigsuspend`: waits, with this set of blocked signals, until a handler has run. A signal that
/// has been blocked until now and is pending counts, so none comes too early.
pub fn suspend(mask: u64) {
    // SAFETY: the set is eight bytes. The call always fails, with EINTR.
    let _ = unsafe { syscall!(__NR_rt_sigsuspend, &raw const mask, 8usize) };
}
