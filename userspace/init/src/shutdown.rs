//! The end: everything else is stopped, what is in memory goes to disk, the machine goes off.
//!
//! `poweroff` and `reboot` ask for it by a signal, the same ones that other small inits use:
//! SIGUSR2 for power-off, SIGTERM for a restart. Until the machine ends, power-off may still be
//! asked for, and wins: what should be off is not started again.

use crate::mounts;
use core::sync::atomic::{AtomicI32, Ordering};
use lemma_rt::general::{
    LINUX_REBOOT_CMD_POWER_OFF, LINUX_REBOOT_CMD_RESTART, SIG_BLOCK, SIG_UNBLOCK, SIGCHLD, SIGKILL,
    SIGTERM, SIGUSR2, WNOHANG,
};
use lemma_rt::rustix::fs::sync;
use lemma_rt::rustix::thread::{Timespec, nanosleep};
use lemma_rt::{Errno, eprintln, error_text, signal, sys};

/// The signal that asked for the end; 0 if none did.
static REQUEST: AtomicI32 = AtomicI32::new(0);

/// How long programs have to end after SIGTERM.
const GRACE_MILLISECONDS: usize = 1000;

/// Requests, and that a child has ended.
const SIGNALS: [u32; 3] = [SIGTERM, SIGUSR2, SIGCHLD];

fn set_of(signals: &[u32]) -> u64 {
    signals.iter().fold(0, |set, number| set | 1 << (number - 1))
}

extern "C" fn remember(number: i32) {
    match number as u32 {
        SIGUSR2 => REQUEST.store(number, Ordering::Relaxed),
        SIGTERM => {
            let _ = REQUEST.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// From now on, requests and ends of children wait for [`wait_for_signal`].
pub(crate) fn listen() {
    let _ = signal::set_mask(SIG_BLOCK as usize, set_of(&SIGNALS));
    for number in SIGNALS {
        // SAFETY: the handler stores to an atomic, no more.
        let _ = unsafe { signal::set_handler(number as i32, remember as *const () as usize, 0, 0) };
    }
}

/// For a child of init: signals have their usual effect again.
pub(crate) fn stop_listening() {
    for number in SIGNALS {
        let _ = signal::reset(number as i32);
    }
    let _ = signal::set_mask(SIG_UNBLOCK as usize, set_of(&SIGNALS));
}

/// Waits for a request or the end of a child, however long ago it was.
pub(crate) fn wait_for_signal() {
    signal::suspend(0);
}

/// The signal that asked for the end, if one did.
pub(crate) fn requested() -> Option<u32> {
    match REQUEST.load(Ordering::Relaxed) {
        0 => None,
        number => Some(number as u32),
    }
}

/// Ends the machine with `status`.
pub(crate) fn finish(status: i32) -> ! {
    // Nobody waits for signals any more.
    let _ = signal::set_mask(SIG_UNBLOCK as usize, set_of(&[SIGUSR2]));
    let _ = sys::kill(-1, SIGTERM as i32);
    if !all_gone_within(GRACE_MILLISECONDS) {
        let _ = sys::kill(-1, SIGKILL as i32);
        all_gone_within(GRACE_MILLISECONDS);
    }
    sync();
    mounts::unmount_all();
    sync();
    let command = match requested() {
        Some(SIGTERM) => LINUX_REBOOT_CMD_RESTART,
        _ => LINUX_REBOOT_CMD_POWER_OFF,
    };
    let error = sys::reboot(command, status);
    eprintln!("init: reboot: {}; the machine may be turned off", error_text(error));
    loop {
        let _ = nanosleep(&Timespec { tv_sec: 3600, tv_nsec: 0 });
    }
}

/// Reaps until no child is left; `false` if some are after the time.
fn all_gone_within(milliseconds: usize) -> bool {
    for _ in 0..milliseconds / 10 {
        loop {
            match sys::wait(-1, WNOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                Err(_) => return true,
            }
        }
        let _ = nanosleep(&Timespec { tv_sec: 0, tv_nsec: 10_000_000 });
    }
    false
}
