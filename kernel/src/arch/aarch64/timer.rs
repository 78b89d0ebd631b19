//! Time: the monotonic clock, this CPU's one-shot timer, and the date at start-up.
//!
//! Both are the generic timer's virtual counter and timer (Arm Architecture Reference Manual,
//! D11), which count at the rate that CNTFRQ_EL0 says.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::asm::{read_register, write_register};
use super::cpu::{FEATURES, has};
use super::platform::platform;
use crate::arch::paging::map_device;
use crate::arch::ticks::Rate;
use crate::arch::traits::PhysAddr;

const NANOS: u64 = 1_000_000_000;
/// What QEMU's and many boards' counters run at, where firmware has not said.
const USUAL_HERTZ: u64 = 62_500_000;
const ENABLE: u64 = 1;

static RATE: Rate = Rate::new();
/// Seconds since 1970 when the clock read 0.
static EPOCH: AtomicU64 = AtomicU64::new(0);

#[inline]
fn ticks() -> u64 {
    let ticks;
    // SAFETY: reads a counter; the barrier keeps it from being read early.
    unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack)) };
    ticks
}

/// See [`crate::arch::Architecture::now_ns`].
#[inline]
pub(in crate::arch) fn now_ns() -> u64 {
    RATE.to_nanos(ticks())
}

/// What a tick of the clock is worth: nanoseconds, times 2^32.
pub(super) fn factor() -> u64 {
    RATE.factor()
}

/// See [`crate::arch::Architecture::counter`].
#[inline]
pub(in crate::arch) fn counter() -> u64 {
    read_register!("cntvct_el0")
}

/// See [`crate::arch::Architecture::counter_ns`].
pub(in crate::arch) fn counter_ns(ticks: u64) -> u64 {
    RATE.to_nanos(ticks)
}

/// Starts the clock and the timer.
pub(super) fn init() {
    let hertz = match read_register!("cntfrq_el0") & 0xffff_ffff {
        0 => USUAL_HERTZ,
        hertz => hertz,
    };
    RATE.set(hertz);
    stop();
    EPOCH.store(read_date().saturating_sub(now_ns() / NANOS), Ordering::Relaxed);
    log::info!("clock: generic timer ({}.{:03} MHz)", hertz / 1_000_000, hertz / 1000 % 1000);
}

/// The date, in seconds since 1970: the PL031's data register. 0 without one.
fn read_date() -> u64 {
    let Some((start, _)) = platform().clock else { return 0 };
    match map_device(PhysAddr(start), 4) {
        // SAFETY: the register was just mapped.
        Ok(register) => u64::from(unsafe { (register as *const u32).read_volatile() }),
        Err(_) => 0,
    }
}

/// No interrupt of the timer until it is set.
pub(super) fn stop() {
    // SAFETY: the timer is the kernel's.
    unsafe { write_register!("cntv_ctl_el0", 0u64) };
}

/// See [`crate::arch::Architecture::set_timer`].
pub(in crate::arch) fn set(deadline_ns: u64) {
    if deadline_ns == u64::MAX {
        return stop();
    }
    // Not before the clock has reached the deadline.
    let ticks = RATE.tick_at(deadline_ns, counter());
    // SAFETY: the timer is the kernel's.
    unsafe {
        write_register!("cntv_cval_el0", ticks);
        write_register!("cntv_ctl_el0", ENABLE);
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// See [`crate::arch::Architecture::boot_epoch_seconds`].
pub(in crate::arch) fn boot_epoch_seconds() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// See [`crate::arch::Architecture::hardware_random`]: the CPU's instruction where it has one,
/// else firmware's words, each once.
pub(in crate::arch) fn hardware_random() -> Option<u64> {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    if !has(&FEATURES.rng) {
        return platform().seed.get(GIVEN.fetch_add(1, Ordering::Relaxed)).copied();
    }
    for _ in 0..10 {
        let (value, good): (u64, u64);
        // SAFETY: the CPU has the register RNDR; reading it sets Z if it had nothing to give.
        unsafe {
            asm!("mrs {}, S3_3_C2_C4_0", "cset {}, ne", out(reg) value, out(reg) good,
                options(nomem, nostack));
        }
        if good != 0 {
            return Some(value);
        }
    }
    None
}
