//! The other CPUs: firmware (SBI) starts them at [`start`]'s word, where it started the first one; if
//! they are expected ([`expect`]), they come through the boot page tables to [`further_cpu`]. Not at an
//! entry of their own: OpenSBI before 1.3 tells a hart to start before it has noted where, and one
//! that looks just then goes where the first one went.
//!
//! Firmware's software interrupts carry what CPUs have to tell each other, and firmware makes them
//! forget translations (mmu.rs).

use alloc::boxed::Box;
use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use super::cpu::{self, CpuBlock};
pub(in crate::arch) use super::mmu::flush_all as flush_kernel;
use super::platform::platform;
use super::{irq, mmu, power, sbi, timer, trap};
use crate::arch::flat_image::image_to_phys;
use crate::arch::image::{dma_address, linker_symbols};
use crate::arch::paging::ROOT_LEVEL;
use crate::arch::secondary;
use crate::arch::traits::{CpuStart, MAX_CPUS};

/// Firmware does not lose a call.
const NEVER_NS: u64 = u64::MAX;

/// What a further CPU reads before it translates addresses, and what it needs to set itself up.
#[repr(C, align(64))]
struct Further {
    /// `satp` with the tree that maps the code that changes it one to one.
    boot_tables: usize,
    kernel_tables: usize,
    stack_top: usize,
    /// This object's own address.
    this: usize,
    hart: u64,
    index: usize,
    block: *mut CpuBlock,
    start: CpuStart,
}

/// Where a [`Further`] has the hart that it is for.
pub(super) const FURTHER_HART: usize = offset_of!(Further, hart);

// a0: the hart; a1: the physical address of a `Further`.
global_asm!(
    r#"
    .section .boot.text, "ax"
    .option push
    .option norelax
    .balign 4
    .global further_cpu_entry
further_cpu_entry:
    ld t0, {boot_tables}(a1)
    ld t1, {kernel_tables}(a1)
    ld sp, {stack_top}(a1)
    ld a0, {this}(a1)
    lla t2, 2f
    ld t2, 0(t2)
    sfence.vma
    csrw satp, t0
    sfence.vma
    jr t2
    .balign 8
2:  .quad 3f
3:  csrw satp, t1
    sfence.vma
    mv s0, zero
    mv ra, zero
    call {further_cpu}
    ebreak
    .option pop
    .text
    "#,
    boot_tables = const offset_of!(Further, boot_tables),
    kernel_tables = const offset_of!(Further, kernel_tables),
    stack_top = const offset_of!(Further, stack_top),
    this = const offset_of!(Further, this),
    further_cpu = sym further_cpu,
);

linker_symbols! {
    entry = boot_entry;
    boot_root = boot_root;
    expected = boot_expected;
}

/// Says which hart is being started, by the physical address of its [`Further`]; 0 for none. The boot
/// code looks.
fn expect(further: u64) {
    // SAFETY: a word of the boot code's, which is only accessed here and read there.
    let word = unsafe { AtomicU64::from_ptr(expected() as *mut u64) };
    word.store(further, Ordering::SeqCst);
}

/// The hart of each CPU that is online, but the boot CPU's.
static HARTS: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// All other CPUs have to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// The hart that a CPU is.
pub(super) fn hart(number: usize) -> Option<u64> {
    match number {
        0 => Some(cpu::boot_hart() as u64),
        _ => HARTS.get(number).map(|hart| hart.load(Ordering::Relaxed)),
    }
}

/// The further hart with this index.
fn further_hart(index: usize) -> Option<u64> {
    let own = cpu::boot_hart() as u64;
    let others = platform().harts.iter().copied().filter(|&hart| hart != own);
    others.take(MAX_CPUS - 1).nth(index.checked_sub(1)?)
}

/// See [`crate::arch::Architecture::cpus_named`]; 0 if firmware names none.
pub(in crate::arch) fn named() -> usize {
    platform().harts.len()
}

/// See [`crate::arch::Architecture::cpus_found`].
pub(in crate::arch) fn found() -> usize {
    (1..).take_while(|&index| further_hart(index).is_some()).count() + 1
}

/// See [`crate::arch::Architecture::start_cpu`].
pub(in crate::arch) fn start(index: usize, start: CpuStart) -> bool {
    let Some(hart) = further_hart(index) else { return false };
    let Some(slot) = HARTS.get(start.number) else { return false };
    slot.store(hart, Ordering::Relaxed);
    let further = Box::leak(Box::new(Further {
        boot_tables: mmu::tables(image_to_phys(boot_root()), ROOT_LEVEL),
        kernel_tables: mmu::kernel_tables(),
        stack_top: start.stack_top,
        this: 0,
        hart,
        index,
        block: cpu::new_block(start.number),
        start,
    }));
    let address = core::ptr::from_ref(further) as usize;
    further.this = address;
    let Some(argument) = dma_address(address) else { return false };
    expect(argument.0);
    let came =
        secondary::call(index, NEVER_NS, |_| sbi::start_hart(hart, image_to_phys(entry())).is_ok());
    expect(0);
    came
}

/// The first code of a further CPU that is not assembly: on its own stack, under the kernel's
/// page tables.
extern "C" fn further_cpu(further: &'static Further) -> ! {
    if !secondary::come(further.index) {
        power::halt();
    }
    // SAFETY: `start` made the block for this CPU.
    unsafe { cpu::set_up(further.block) };
    trap::init();
    timer::stop();
    irq::init_cpu();
    secondary::arrive();
    (further.start.entry)(further.start.argument)
}

/// See [`crate::arch::Architecture::interrupt_cpu`].
pub(in crate::arch) fn interrupt(number: usize) {
    // What was written before is seen by the other.
    fence(Ordering::SeqCst);
    if let Some(hart) = hart(number) {
        sbi::interrupt(hart);
    }
}

/// See [`crate::arch::Architecture::stop_others`]. Those with interrupts off do not stop.
pub(in crate::arch) fn stop_others() {
    if secondary::online() > 1 {
        STOP.store(true, Ordering::SeqCst);
        (0..secondary::online()).filter(|&number| number != cpu::id()).for_each(interrupt);
    }
}

/// Stops this CPU, which has been interrupted by another, if that is what the other wants.
pub(super) fn stop_if_told() {
    if STOP.load(Ordering::SeqCst) {
        power::halt();
    }
}
