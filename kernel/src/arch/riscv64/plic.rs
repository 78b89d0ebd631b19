//! The platform-level interrupt controller (RISC-V PLIC specification 1.0): devices' lines, each
//! to one CPU, at one priority.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::platform::{Controller, platform};
use super::{cpu, smp};
use crate::arch::paging::map_device;
use crate::arch::traits::{MAX_CPUS, PhysAddr};

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
/// One more than each CPU's context; 0 for a CPU without any.
static CONTEXTS: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];

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
    let Some(Controller { registers: (start, length), lines, .. }) = &platform().controller else {
        log::error!("no interrupt controller in the device tree that is known");
        return;
    };
    let base = match map_device(PhysAddr(*start), *length as usize) {
        Ok(base) => base,
        Err(error) => {
            log::error!("interrupt controller at {start:#x}: cannot be mapped: {error:?}");
            return;
        }
    };
    BASE.store(base, Ordering::Relaxed);
    LINES.store(*lines, Ordering::Relaxed);
    init_cpu();
    log::info!("interrupt controller: PLIC, {} lines", lines.saturating_sub(1));
}

/// Sets up what the controller has for this CPU, everything masked.
pub(super) fn init_cpu() {
    let Some(controller) = &platform().controller else { return };
    let hart = smp::hart(cpu::id());
    let found = controller.contexts.iter().find(|(number, _)| Some(*number) == hart);
    let (Some(&(_, context)), Some(own), 1..) = (found, CONTEXTS.get(cpu::id()), lines()) else {
        return;
    };
    for word in 0..lines().div_ceil(32) as usize {
        set(ENABLE + context * ENABLE_STRIDE + word * 4, 0);
    }
    set(THRESHOLD + context * CONTEXT_STRIDE, 0);
    own.store(context + 1, Ordering::Relaxed);
}

/// The context of a CPU that has one.
#[inline]
fn context(cpu: usize) -> Option<usize> {
    CONTEXTS.get(cpu)?.load(Ordering::Relaxed).checked_sub(1)
}

/// Lets a line through, which is below `lines`: to this CPU, or to the boot CPU if the controller
/// does not know it.
pub(super) fn enable(line: u32, cpu: usize) {
    let Some(context) = context(cpu).or_else(|| context(0)) else { return };
    set(PRIORITY + line as usize * 4, 1);
    let register = ENABLE + context * ENABLE_STRIDE + line as usize / 32 * 4;
    set(register, get(register) | 1 << (line % 32));
}

/// Takes the pending line of this CPU's with the highest priority.
#[inline]
pub(super) fn claim() -> Option<u32> {
    let line = get(CLAIM + context(cpu::id())? * CONTEXT_STRIDE);
    (line != 0).then_some(line)
}

/// The interrupt of the line has been handled, on this CPU.
#[inline]
pub(super) fn complete(line: u32) {
    if let Some(context) = context(cpu::id()) {
        set(CLAIM + context * CONTEXT_STRIDE, line);
    }
}
