//! Whether a CPU that has just started has the boot CPU's time: time-stamp counters that are the
//! clock of all must go together.
//!
//! Both read their counters in turn for a while ([`Comparison`], as Linux's `check_tsc_warp`). If
//! one is behind, the new CPU corrects its own, where it has a register for that
//! (`IA32_TSC_ADJUST`; Intel SDM vol. 3, section 18.17.3), and they try again. A CPU whose counter
//! stays wrong does not run the kernel.

use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_sync::counters::{Comparison, correction};
use x86_64::registers::model_specific::Msr;

use super::cpu::{FEATURES, has};
use super::timer;

const MSR_TSC_ADJUST: u32 = 0x3b;

/// How long counters are compared.
const WATCH_NS: u64 = 2_000_000;
const ATTEMPTS: usize = 5;

static COMPARISON: Comparison = Comparison::new();
/// How often one of the two CPUs has come to where it waits for the other.
static COME: AtomicUsize = AtomicUsize::new(0);

/// Which of the two CPUs this is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Boot,
    New,
}

/// The counter, read after all that comes before.
fn read() -> u64 {
    let (low, high): (u64, u64);
    // SAFETY: reads a counter.
    unsafe {
        asm!("lfence", "rdtsc", out("rax") low, out("rdx") high,
            options(nostack, preserves_flags));
    }
    high << 32 | low
}

/// Waits for the other CPU, the `meetings`th time.
fn meet(meetings: &mut usize) {
    *meetings += 1;
    COME.fetch_add(1, Ordering::AcqRel);
    while COME.load(Ordering::Acquire) < 2 * *meetings {
        core::hint::spin_loop();
    }
}

/// Prepares for the next CPU. Before it is called.
pub(super) fn prepare() {
    COME.store(0, Ordering::Relaxed);
    COMPARISON.reset();
}

/// On the boot CPU, when a new one has arrived: whether that has the same time.
pub(super) fn check_new_cpu() -> bool {
    check(Side::Boot)
}

/// On the new CPU: whether it has the boot CPU's time.
pub(super) fn check_this_cpu() -> bool {
    check(Side::New)
}

fn check(side: Side) -> bool {
    if !timer::tsc_is_clock() {
        return true;
    }
    let mut meetings = 0;
    for attempt in 1..=ATTEMPTS {
        meet(&mut meetings);
        let own = COMPARISON.watch(timer::tsc_ticks(WATCH_NS), read);
        meet(&mut meetings);
        let worst = COMPARISON.worst();
        if worst == 0 {
            return true;
        }
        if side == Side::Boot {
            log::warn!("TSC: {worst} ticks apart (attempt {attempt} of {ATTEMPTS})");
        }
        if !has(&FEATURES.tsc_adjust) {
            return false;
        }
        meet(&mut meetings);
        match side {
            Side::Boot => COMPARISON.reset(),
            Side::New => adjust(correction(own, worst)),
        }
    }
    false
}

/// Sets this CPU's counter forward, or back.
fn adjust(by: i64) {
    let mut register = Msr::new(MSR_TSC_ADJUST);
    // SAFETY: the CPU has the register; nothing on this CPU has used the counter for time yet.
    unsafe { register.write(register.read().wrapping_add_signed(by)) };
}
