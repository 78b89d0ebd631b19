//! One CPU: its features and protections, its per-CPU block.
//!
//! While the kernel runs, `tp` points to this CPU's [`CpuBlock`]; while users run, `sscratch`
//! does.

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use kernel_fdt::Hart;

use super::asm::{clear_csr, status, write_csr};
use crate::arch::per_cpu::PerCpu;
use crate::arch::traits::MAX_CPUS;

/// What one CPU owns. Fields are written by that CPU only, but for one.
#[repr(C)]
pub(super) struct CpuBlock {
    /// One past the end of the kernel stack of the running task.
    kernel_stack: usize,
    /// Where the entry code keeps a register meanwhile.
    scratch: usize,
    /// And another one.
    second_scratch: usize,
    /// Pages of the kernel have been mapped since this CPU last forgot what it knew of them; not
    /// zero if so. Written by all CPUs.
    new_pages: AtomicUsize,
    /// The running user's `tp`.
    thread_pointer: usize,
    /// When the timer is to interrupt, in nanoseconds.
    timer_deadline: usize,
    /// What the kernel above stored here.
    local: *mut u8,
    id: usize,
}

pub(super) const KERNEL_STACK: usize = offset_of!(CpuBlock, kernel_stack);
pub(super) const SCRATCH: usize = offset_of!(CpuBlock, scratch);
pub(super) const SECOND_SCRATCH: usize = offset_of!(CpuBlock, second_scratch);
pub(super) const NEW_PAGES: usize = offset_of!(CpuBlock, new_pages);
pub(super) const THREAD_POINTER: usize = offset_of!(CpuBlock, thread_pointer);
const TIMER_DEADLINE: usize = offset_of!(CpuBlock, timer_deadline);
const LOCAL: usize = offset_of!(CpuBlock, local);
pub(super) const ID: usize = offset_of!(CpuBlock, id);

impl CpuBlock {
    const fn new(id: usize) -> Self {
        Self {
            kernel_stack: 0,
            scratch: 0,
            second_scratch: 0,
            new_pages: AtomicUsize::new(0),
            thread_pointer: 0,
            timer_deadline: usize::MAX,
            local: ptr::null_mut(),
            id,
        }
    }
}

static BOOT_BLOCK: PerCpu<CpuBlock> = PerCpu::new(CpuBlock::new(0));

/// The block of each CPU that is set up.
static BLOCKS: [AtomicPtr<CpuBlock>; MAX_CPUS] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_CPUS];

/// The number by which firmware knows the CPU that started the kernel.
static BOOT_HART: AtomicUsize = AtomicUsize::new(0);

/// What the CPUs can do, as the device tree says.
pub(super) struct Features {
    /// Floating point, single and double.
    pub(super) floating: AtomicBool,
    /// A timer of the supervisor's own.
    pub(super) timer: AtomicBool,
    /// Additions of shifted numbers; rotations and the like.
    pub(super) zba: AtomicBool,
    pub(super) zbb: AtomicBool,
    /// What programs are told (`AT_HWCAP`).
    pub(super) capabilities: AtomicUsize,
}

pub(super) static FEATURES: Features = Features {
    floating: AtomicBool::new(false),
    timer: AtomicBool::new(false),
    zba: AtomicBool::new(false),
    zbb: AtomicBool::new(false),
    capabilities: AtomicUsize::new(0),
};

/// A feature's flag.
#[inline]
pub(super) fn has(feature: &AtomicBool) -> bool {
    feature.load(Ordering::Relaxed)
}

/// Remembers which hart this is. Called once, by the boot code.
pub(super) fn set_boot_hart(hart: usize) {
    BOOT_HART.store(hart, Ordering::Relaxed);
}

/// Which it is.
pub(super) fn boot_hart() -> usize {
    BOOT_HART.load(Ordering::Relaxed)
}

/// Keeps what the device tree says of a CPU.
pub(super) fn set_features(hart: &Hart<'_>) {
    // Linux tells programs of these, a bit for each (uapi/asm/hwcap.h).
    let letters = ["i", "m", "a", "f", "d", "c"];
    let word = letters
        .iter()
        .filter(|letter| hart.has(letter))
        .flat_map(|letter| letter.bytes())
        .fold(0, |word, letter| word | 1 << (letter - b'a'));
    FEATURES.capabilities.store(word, Ordering::Relaxed);
    for (flag, there) in [
        (&FEATURES.floating, hart.has("f") && hart.has("d")),
        (&FEATURES.timer, hart.has("sstc")),
        (&FEATURES.zba, hart.has("zba")),
        (&FEATURES.zbb, hart.has("zbb")),
    ] {
        flag.store(there, Ordering::Relaxed);
    }
}

/// Sets this (the boot) CPU up: protections, per-CPU block.
pub(super) fn init() {
    // SAFETY: the block is the boot CPU's own.
    unsafe { set_up(BOOT_BLOCK.get()) };
}

/// A block for a further CPU, for [`set_up`] on it.
pub(super) fn new_block(number: usize) -> *mut CpuBlock {
    Box::into_raw(Box::new(CpuBlock::new(number)))
}

/// Sets this CPU up.
///
/// # Safety
/// `block` is this CPU's own, for good.
pub(super) unsafe fn set_up(block: *mut CpuBlock) {
    let forbidden = status::USER_MEMORY | status::EXECUTABLE_READABLE | status::FLOATING;
    // SAFETY: the block is this CPU's own, and nobody else uses `tp`; what is switched off the
    // kernel does without, but for the copy functions, which switch it on.
    unsafe {
        asm!("mv tp, {}", in(reg) block, options(nostack, preserves_flags));
        clear_csr!("sstatus", forbidden);
        // Users may read the cycle, time and instruction counters.
        write_csr!("scounteren", 7usize);
    }
    if let Some(slot) = BLOCKS.get(id()) {
        slot.store(block, Ordering::Release);
    }
}

/// Tells all CPUs that pages of the kernel have been mapped.
pub(super) fn tell_of_new_pages() {
    for block in &BLOCKS {
        let block = block.load(Ordering::Acquire);
        if !block.is_null() {
            // SAFETY: a block lasts as long as the kernel; the field is atomic.
            unsafe { (*block).new_pages.store(1, Ordering::SeqCst) };
        }
    }
}

/// Reads a field of this CPU's block.
macro_rules! block_read {
    ($offset:expr) => {{
        let value: usize;
        // SAFETY: `tp` points to this CPU's block from `init` on.
        unsafe {
            asm!("ld {0}, {offset}(tp)", out(reg) value, offset = const $offset,
                options(nostack, preserves_flags, readonly));
        }
        value
    }};
}

/// Writes one.
macro_rules! block_write {
    ($offset:expr, $value:expr) => {
        // SAFETY: `tp` points to this CPU's block from `init` on; only this CPU writes it.
        unsafe {
            asm!("sd {0}, {offset}(tp)", in(reg) $value, offset = const $offset,
                options(nostack, preserves_flags));
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

/// Sets where the stack of the running task ends, on which this CPU enters the kernel.
#[inline]
pub(in crate::arch) fn set_kernel_stack(top: usize) {
    block_write!(KERNEL_STACK, top);
}

/// The user's `tp`.
#[inline]
pub(in crate::arch) fn thread_pointer() -> usize {
    block_read!(THREAD_POINTER)
}

/// Sets it.
#[inline]
pub(in crate::arch) fn set_thread_pointer(value: usize) {
    block_write!(THREAD_POINTER, value);
}

/// When this CPU's timer is to interrupt.
#[inline]
pub(super) fn timer_deadline() -> u64 {
    block_read!(TIMER_DEADLINE) as u64
}

/// Sets it.
#[inline]
pub(super) fn set_timer_deadline(nanos: u64) {
    block_write!(TIMER_DEADLINE, nanos);
}
