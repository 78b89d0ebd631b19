//! The platform-level interrupt controller (RISC-V PLIC specification 1.0): devices' lines, all
//! of them to the boot CPU, at one priority.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::platform::{Controller, platform};
use crate::arch::paging::map_device;
use crate::arch::traits::PhysAddr;

// A word for each line.
const PRIORITY: usize = 0;
// For each context, a bit for each line.
const ENABLE: usize = 0x2000;
const ENABLE_STRIDE: usize = 0x80;
// For each context.
const THRESHOLD: usize = 0x20_0000;
const CLAIM: usize = 0x20_0004;
const CONTEXT_STRIDE: usize = 0x1000;

static BASE: AtomicUsize = AtomicUsize::new(0);
static LINES: AtomicU32 = AtomicU32::new(0);
/// The boot CPU's context.
static CONTEXT: AtomicUsize = AtomicUsize::new(0);

/// One more than the highest line.
pub(super) fn lines() -> u32 {
    LINES.load(Ordering::Relaxed)
}

fn get(register: usize) -> u32 {
    // SAFETY: the controller's registers, mapped by `init` and never unmapped.
    unsafe { ((BASE.load(Ordering::Relaxed) + register) as *const u32).read_volatile() }
}

fn set(register: usize, value: u32) {
    // SAFETY: as in `get`; the kernel owns the controller.
    unsafe { ((BASE.load(Ordering::Relaxed) + register) as *mut u32).write_volatile(value) };
}

/// Sets the controller up, everything masked.
pub(super) fn init() {
    let Some(Controller { registers: (start, length), lines, context }) = platform().controller
    else {
        log::error!("no interrupt controller in the device tree that is known");
        return;
    };
    let base = match map_device(PhysAddr(start), length as usize) {
        Ok(base) => base,
        Err(error) => {
            log::error!("interrupt controller at {start:#x}: cannot be mapped: {error:?}");
            return;
        }
    };
    BASE.store(base, Ordering::Relaxed);
    CONTEXT.store(context, Ordering::Relaxed);
    LINES.store(lines, Ordering::Relaxed);
    for word in 0..lines.div_ceil(32) as usize {
        set(ENABLE + context * ENABLE_STRIDE + word * 4, 0);
    }
    set(THRESHOLD + context * CONTEXT_STRIDE, 0);
    log::info!("interrupt controller: PLIC, {} lines", lines.saturating_sub(1));
}

/// Lets a line through, which is below `lines`.
pub(super) fn enable(line: u32) {
    set(PRIORITY + line as usize * 4, 1);
    let context = CONTEXT.load(Ordering::Relaxed);
    let register = ENABLE + context * ENABLE_STRIDE + line as usize / 32 * 4;
    set(register, get(register) | 1 << (line % 32));
}

/// Takes the pending line with the highest priority.
#[inline]
pub(super) fn claim() -> Option<u32> {
    if lines() == 0 {
        return None;
    }
    let line = get(CLAIM + CONTEXT.load(Ordering::Relaxed) * CONTEXT_STRIDE);
    (line != 0).then_some(line)
}

/// The line's interrupt has been handled.
#[inline]
pub(super) fn complete(line: u32) {
    set(CLAIM + CONTEXT.load(Ordering::Relaxed) * CONTEXT_STRIDE, line);
}
