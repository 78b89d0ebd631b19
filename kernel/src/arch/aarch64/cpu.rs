//! One CPU: its features and protections, its per-CPU block.
//!
//! TPIDR_EL1 points to this CPU's [`CpuBlock`], in the kernel and while users run: they can
//! neither read nor write it.

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::asm::{read_register, write_register};
use crate::arch::per_cpu::PerCpu;

/// What one CPU owns. Fields are written by that CPU only.
#[repr(C)]
pub(super) struct CpuBlock {
    /// One past the end of the kernel stack of the running task.
    kernel_stack: usize,
    /// What the kernel above stored here.
    local: *mut u8,
    id: usize,
}

pub(super) const KERNEL_STACK: usize = offset_of!(CpuBlock, kernel_stack);
const LOCAL: usize = offset_of!(CpuBlock, local);
pub(super) const ID: usize = offset_of!(CpuBlock, id);

static BOOT_BLOCK: PerCpu<CpuBlock> =
    PerCpu::new(CpuBlock { kernel_stack: 0, local: ptr::null_mut(), id: 0 });

/// What every CPU can do, found once by `init` on the boot CPU.
pub(super) struct Features {
    /// The kernel's loads and stores do not reach users' pages (Armv8.1).
    pub(super) pan: AtomicBool,
    /// Atomic instructions (Armv8.1).
    pub(super) lse: AtomicBool,
    /// Random numbers (Armv8.5).
    pub(super) rng: AtomicBool,
    /// What programs are told (`AT_HWCAP`).
    pub(super) capabilities: AtomicUsize,
}

pub(super) static FEATURES: Features = Features {
    pan: AtomicBool::new(false),
    lse: AtomicBool::new(false),
    rng: AtomicBool::new(false),
    capabilities: AtomicUsize::new(0),
};

/// A feature's flag.
#[inline]
pub(super) fn has(feature: &AtomicBool) -> bool {
    feature.load(Ordering::Relaxed)
}

/// The field of four bits at `shift`.
fn field(register: u64, shift: u32) -> u64 {
    register >> shift & 15
}

/// Linux's bits (uapi/asm/hwcap.h) for what the identification registers say.
fn find_features() {
    let instructions = read_register!("id_aa64isar0_el1");
    let features = read_register!("id_aa64pfr0_el1");
    let memory = read_register!("id_aa64mmfr1_el1");
    FEATURES.pan.store(field(memory, 20) != 0, Ordering::Relaxed);
    FEATURES.lse.store(field(instructions, 20) >= 2, Ordering::Relaxed);
    FEATURES.rng.store(field(instructions, 60) != 0, Ordering::Relaxed);
    // 15 says that there is none; 1 that there is half precision too.
    let unit = |shift| matches!(field(features, shift), 0 | 1);
    let half = |shift| field(features, shift) == 1;
    let capabilities = [
        (unit(16), 0),
        (unit(20), 1),
        (field(instructions, 4) >= 1, 3),
        (field(instructions, 4) >= 2, 4),
        (field(instructions, 8) >= 1, 5),
        (field(instructions, 12) >= 1, 6),
        (field(instructions, 16) >= 1, 7),
        (field(instructions, 20) >= 2, 8),
        (half(16), 9),
        (half(20), 10),
    ];
    let word = capabilities.iter().fold(0, |word, &(there, bit)| word | usize::from(there) << bit);
    FEATURES.capabilities.store(word, Ordering::Relaxed);
}

/// Sets this (the boot) CPU up: features, protections, per-CPU block.
pub(super) fn init() {
    find_features();
    // SAFETY: the block is the boot CPU's own.
    unsafe { set_up(BOOT_BLOCK.get()) };
}

/// A block for a further CPU, for [`init_further`] on it.
pub(super) fn new_block(number: usize) -> *mut CpuBlock {
    Box::into_raw(Box::new(CpuBlock { kernel_stack: 0, local: ptr::null_mut(), id: number }))
}

/// Sets this CPU, which is not the boot CPU, up.
///
/// # Safety
/// `block` is from [`new_block`] and for this CPU alone.
pub(super) unsafe fn init_further(block: *mut CpuBlock) {
    // SAFETY: the caller's promise.
    unsafe { set_up(block) };
}

/// # Safety
/// `block` is this CPU's own, for good.
unsafe fn set_up(block: *mut CpuBlock) {
    let has_counters = !matches!(field(read_register!("id_aa64dfr0_el1"), 8), 0 | 15);
    // SAFETY: the block is this CPU's own; the other registers hold no state yet, and what they
    // forbid the kernel obeys (users' memory is reached as user.rs does it).
    unsafe {
        write_register!("tpidr_el1", block);
        // Floating point traps for nobody; vectors of variable length for all.
        write_register!("cpacr_el1", 3u64 << 20);
        // Users may read the virtual counter.
        write_register!("cntkctl_el1", 1u64 << 1);
        // No debugging, no single steps, no performance counters for users.
        write_register!("mdscr_el1", 0u64);
        if has_counters {
            write_register!("pmuserenr_el0", 0u64);
        }
        write_register!("tpidrro_el0", 0u64);
        asm!("isb", options(nostack, preserves_flags));
        if has(&FEATURES.pan) {
            // MSR PAN, #1, which assemblers know from Armv8.1 on.
            asm!(".inst 0xd500419f", options(nostack, preserves_flags));
        }
    }
}

/// Reads a field of this CPU's block.
macro_rules! block_read {
    ($offset:expr) => {{
        let value: usize;
        // SAFETY: TPIDR_EL1 points to this CPU's block from `init` on.
        unsafe {
            asm!("mrs {0}, tpidr_el1", "ldr {0}, [{0}, #{offset}]", out(reg) value,
                offset = const $offset, options(nostack, preserves_flags, readonly));
        }
        value
    }};
}

/// Writes one.
macro_rules! block_write {
    ($offset:expr, $value:expr) => {
        // SAFETY: TPIDR_EL1 points to this CPU's block from `init` on; only this CPU writes it.
        unsafe {
            asm!("mrs {0}, tpidr_el1", "str {1}, [{0}, #{offset}]", out(reg) _, in(reg) $value,
                offset = const $offset, options(nostack, preserves_flags));
        }
    };
}

/// See [`crate::arch::Architecture::hardware_capabilities`].
pub(in crate::arch) fn capabilities() -> usize {
    FEATURES.capabilities.load(Ordering::Relaxed)
}

/// This CPU's number.
#[inline]
pub(in crate::arch) fn id() -> usize {
    block_read!(ID)
}

/// What `set_local` stored.
#[inline]
pub(in crate::arch) fn local() -> *mut u8 {
    block_read!(LOCAL) as *mut u8
}

/// Stores a pointer for this CPU.
pub(in crate::arch) fn set_local(pointer: *mut u8) {
    block_write!(LOCAL, pointer);
}

/// Where the stack of the running task ends, on which this CPU enters the kernel.
pub(super) fn kernel_stack() -> usize {
    block_read!(KERNEL_STACK)
}

/// Sets it.
#[inline]
pub(in crate::arch) fn set_kernel_stack(top: usize) {
    block_write!(KERNEL_STACK, top);
}
