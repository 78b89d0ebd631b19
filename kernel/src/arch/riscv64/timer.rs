//! Time: the monotonic clock, this CPU's one-shot timer, and the date at start-up.
//!
//! The clock is the time register, which counts at the rate that the device tree says. The timer
//! is the supervisor's own (Sstc) where there is one, and firmware's elsewhere.
//!
//! The timer cannot be turned off, only set far ahead, and it is never set further than
//! [`FURTHEST_NS`]; an interrupt before the deadline only sets it again. A QEMU that counts
//! instructions (`-icount`, without sleep) goes to the next timer at once when all CPUs wait, and
//! firmware leaves its own at the end of time: a CPU that waited for a disk without a nearer one
//! would be there, and QEMU, whose clock has overflowed, would run no further instruction.

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::asm::{exception, write_csr};
use super::cpu::{self, FEATURES, has};
use super::platform::platform;
use super::sbi;
use crate::arch::paging::map_device;
use crate::arch::ticks::Rate;
use crate::arch::traits::PhysAddr;

const NANOS: u64 = 1_000_000_000;
/// What QEMU's time register runs at, where the device tree does not say.
const USUAL_HERTZ: u64 = 10_000_000;
/// How far ahead the timer is set at most.
const FURTHEST_NS: u64 = NANOS;

static RATE: Rate = Rate::new();
/// Seconds since 1970 when the clock read 0.
static EPOCH: AtomicU64 = AtomicU64::new(0);
/// The supervisor's own timer works.
static OWN_TIMER: AtomicBool = AtomicBool::new(false);

// Sets `stimecmp` to a0; returns whether that can be done: firmware may not allow it.
global_asm!(
    ".text",
    ".global try_own_timer",
    "try_own_timer:",
    "2: csrw 0x14d, a0",
    "li a0, 1",
    "ret",
    "3: li a0, 0",
    "ret",
    exception!("2b", "3b", "3b", "{no_resolve}"),
    no_resolve = const crate::arch::fixup::Fixup::NO_RESOLVE,
);

unsafe extern "C" {
    fn try_own_timer(ticks: u64) -> usize;
}

/// What a tick of the clock is worth: nanoseconds, times 2^32.
pub(super) fn factor() -> u64 {
    RATE.factor()
}

/// See [`crate::arch::Architecture::counter`].
#[inline]
pub(in crate::arch) fn counter() -> u64 {
    let ticks;
    // SAFETY: reads a counter.
    unsafe { asm!("rdtime {}", out(reg) ticks, options(nostack, preserves_flags)) };
    ticks
}

/// See [`crate::arch::Architecture::counter_ns`].
#[inline]
pub(in crate::arch) fn counter_ns(ticks: u64) -> u64 {
    RATE.to_nanos(ticks)
}

/// See [`crate::arch::Architecture::now_ns`].
#[inline]
pub(in crate::arch) fn now_ns() -> u64 {
    RATE.to_nanos(counter())
}

/// Starts the clock and the timer.
pub(super) fn init() {
    let hertz = platform().hertz.unwrap_or(USUAL_HERTZ);
    RATE.set(hertz);
    // SAFETY: sets the timer, which is the kernel's, or does nothing.
    let own = has(&FEATURES.timer) && unsafe { try_own_timer(u64::MAX) } != 0;
    OWN_TIMER.store(own, Ordering::Relaxed);
    stop();
    EPOCH.store(read_date().saturating_sub(now_ns() / NANOS), Ordering::Relaxed);
    let timer = if own { "Sstc" } else { "SBI" };
    log::info!("clock: time register ({} kHz), timer by {timer}", hertz / 1000);
}

/// The date, in seconds since 1970: that of Goldfish's clock, which counts nanoseconds; reading
/// the lower half keeps the upper. 0 without one.
fn read_date() -> u64 {
    let Some((start, _)) = platform().clock else { return 0 };
    match map_device(PhysAddr(start), 8) {
        Ok(registers) => {
            let registers = registers as *const u32;
            // SAFETY: both registers were just mapped.
            let (low, high) =
                unsafe { (registers.read_volatile(), registers.add(1).read_volatile()) };
            (u64::from(high) << 32 | u64::from(low)) / NANOS
        }
        Err(_) => 0,
    }
}

fn set_ticks(ticks: u64) {
    if OWN_TIMER.load(Ordering::Relaxed) {
        // SAFETY: the timer is the kernel's.
        unsafe { write_csr!("0x14d", ticks) };
    } else {
        sbi::set_timer(ticks);
    }
}

/// No interrupt of the timer, that anyone is told of, until it is set.
pub(super) fn stop() {
    set(u64::MAX);
}

/// See [`crate::arch::Architecture::set_timer`].
pub(in crate::arch) fn set(deadline_ns: u64) {
    cpu::set_timer_deadline(deadline_ns);
    let now = counter();
    let furthest = RATE.to_nanos(now).saturating_add(FURTHEST_NS);
    set_ticks(RATE.tick_at(deadline_ns.min(furthest), now));
}

/// The timer has interrupted, and does so until it is set again: whether for its deadline, which
/// there is none of from now on.
pub(super) fn expired() -> bool {
    let deadline = cpu::timer_deadline();
    let reached = deadline <= now_ns();
    set(if reached { u64::MAX } else { deadline });
    reached
}

/// See [`crate::arch::Architecture::boot_epoch_seconds`].
pub(in crate::arch) fn boot_epoch_seconds() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// See [`crate::arch::Architecture::hardware_random`]: firmware's words, each once.
pub(in crate::arch) fn hardware_random() -> Option<u64> {
    static GIVEN: AtomicUsize = AtomicUsize::new(0);
    platform().seed.get(GIVEN.fetch_add(1, Ordering::Relaxed)).copied()
}
