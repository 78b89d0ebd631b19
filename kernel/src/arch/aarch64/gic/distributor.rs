//! The distributor: which interrupts of devices are let through, and to whom. It is one for all
//! CPUs, and has most of its registers alike in GICv2 and GICv3; a GICv3 redistributor has them
//! too, for one CPU's own interrupts.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::arch::aarch64::platform::Registers;
use crate::arch::paging::map_device;
use crate::arch::traits::PhysAddr;

// Most of these have a bit, or a byte, for each interrupt.
pub(super) const CONTROL: usize = 0x000;
pub(super) const TYPE: usize = 0x004;
const GROUP: usize = 0x080;
const SET_ENABLE: usize = 0x100;
const CLEAR_ENABLE: usize = 0x180;
const PRIORITY: usize = 0x400;
const CONFIGURATION: usize = 0xc00;

/// Everything at one priority, below (so allowed by) the mask of each CPU's interface.
const ALL_PRIORITIES: u32 = 0xa0a0_a0a0;
pub(super) const LOWEST_MASK: u32 = 0xff;
/// From here on numbers mean that nothing is pending.
pub(super) const SPECIAL: u32 = 1020;
/// Interrupts below are a CPU's own.
pub(super) const OWN: u32 = 32;

static DISTRIBUTOR: AtomicUsize = AtomicUsize::new(0);
static LINES: AtomicU32 = AtomicU32::new(0);

/// Where the distributor's registers are; 0 before [`set_base`].
pub(super) fn base() -> usize {
    DISTRIBUTOR.load(Ordering::Relaxed)
}

/// Everything is set up.
pub(super) fn set_base(base: usize) {
    DISTRIBUTOR.store(base, Ordering::Relaxed);
}

/// One more than its highest interrupt.
pub(in crate::arch::aarch64) fn lines() -> u32 {
    LINES.load(Ordering::Relaxed)
}

/// Reads a register of the controller's.
pub(super) fn get(base: usize, register: usize) -> u32 {
    // SAFETY: the controller's registers, mapped by `map` and never unmapped.
    unsafe { ((base + register) as *const u32).read_volatile() }
}

/// Writes one.
pub(super) fn set(base: usize, register: usize, value: u32) {
    // SAFETY: as in `get`; the kernel owns the controller.
    unsafe { ((base + register) as *mut u32).write_volatile(value) };
}

/// Where registers of the controller's are, mapped.
pub(super) fn map((start, length): Registers) -> Option<usize> {
    match map_device(PhysAddr(start), length as usize) {
        Ok(base) => Some(base),
        Err(error) => {
            log::error!("interrupt controller at {start:#x}: cannot be mapped: {error:?}");
            None
        }
    }
}

/// Waits until a register has none of these bits; `false` if it keeps them.
pub(super) fn wait_for_clear(base: usize, register: usize, bits: u32) -> bool {
    const PATIENCE: u32 = 1_000_000;
    (0..PATIENCE).any(|_| get(base, register) & bits == 0)
}

/// The numbers of the distributor's interrupts of devices.
pub(super) fn device_lines() -> core::ops::Range<usize> {
    OWN as usize..lines() as usize
}

/// Masks every interrupt of devices and sets all to one priority; `group_1` says in which group.
pub(super) fn reset(base: usize, group_1: bool) {
    let words = (get(base, TYPE) & 31) as usize + 1;
    LINES.store((words as u32 * 32).min(SPECIAL), Ordering::Relaxed);
    for word in 1..words {
        reset_word(base, word, group_1);
    }
    for line in device_lines().step_by(4) {
        set(base, PRIORITY + line, ALL_PRIORITIES);
    }
}

/// The same for a CPU's own, where `base` has them.
pub(super) fn reset_own(base: usize, group_1: bool) {
    reset_word(base, 0, group_1);
    for own in (0..OWN as usize).step_by(4) {
        set(base, PRIORITY + own, ALL_PRIORITIES);
    }
}

fn reset_word(base: usize, word: usize, group_1: bool) {
    set(base, CLEAR_ENABLE + word * 4, u32::MAX);
    set(base, GROUP + word * 4, if group_1 { u32::MAX } else { 0 });
}

/// Lets the interrupts through that CPUs send. On some controllers they cannot be masked at all.
pub(super) fn enable_sent(base: usize) {
    set(base, SET_ENABLE, 0xffff);
}

/// Lets an interrupt through.
pub(super) fn enable(base: usize, number: u32, level: bool) {
    let number = number as usize;
    let (register, shift) = (CONFIGURATION + number / 16 * 4, number % 16 * 2 + 1);
    let edge = u32::from(!level) << shift;
    set(base, register, get(base, register) & !(1 << shift) | edge);
    set(base, SET_ENABLE + number / 32 * 4, 1 << (number % 32));
}
