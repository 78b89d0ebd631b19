//! The other CPUs: firmware (PSCI) starts them at [`start`]'s word, they come through the boot
//! page tables to [`further_cpu`]; the interrupt controller carries what CPUs have to tell each
//! other. They tell each other by themselves what translations to forget (mmu.rs).

use alloc::boxed::Box;
use core::arch::{asm, global_asm};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use kernel_gic::Affinity;

use super::asm::read_register;
use super::boot::SYSTEM_CONTROL;
use super::cpu::{self, CpuBlock};
pub(in crate::arch) use super::mmu::flush_all as flush_kernel;
use super::platform::platform;
use super::{gic, irq, mmu, power, timer, trap};
use crate::arch::flat_image::image_to_phys;
use crate::arch::image::{dma_address, linker_symbols};
use crate::arch::secondary;
use crate::arch::traits::{CpuStart, MAX_CPUS};

/// TCR_EL1.EPD0: no walks through TTBR0.
const NO_USER_WALKS: u64 = 1 << 7;
/// Firmware does not lose a call.
const NEVER_NS: u64 = u64::MAX;

/// What a further CPU reads while its MMU is off, and what it needs to set itself up.
#[repr(C, align(64))]
struct Further {
    memory_types: u64,
    translation: u64,
    /// Maps the code that turns the MMU on one to one.
    boot_root: u64,
    kernel_root: u64,
    control: u64,
    stack_top: u64,
    /// This object's own address.
    this: u64,
    index: usize,
    block: *mut CpuBlock,
    start: CpuStart,
}

// x0: the physical address of a `Further`.
global_asm!(
    r#"
    .section .boot.text, "ax"
    .global further_cpu_entry
further_cpu_entry:
    mov x20, x0
    msr daifset, #0xf
    bl enter_level_1
    ldp x1, x2, [x20, #{memory_types}]
    ldp x3, x4, [x20, #{boot_root}]
    ldp x5, x6, [x20, #{control}]
    ldr x7, [x20, #{this}]
    msr mair_el1, x1
    msr tcr_el1, x2
    msr ttbr0_el1, x3
    msr ttbr1_el1, x4
    dsb sy
    isb
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x1, =1f
    msr sctlr_el1, x5
    isb
    br x1
1:  mov sp, x6
    mov x29, xzr
    mov x30, xzr
    mov x0, x7
    bl {further_cpu}
    brk #0
    .ltorg
    .text
    "#,
    memory_types = const offset_of!(Further, memory_types),
    boot_root = const offset_of!(Further, boot_root),
    control = const offset_of!(Further, control),
    this = const offset_of!(Further, this),
    further_cpu = sym further_cpu,
);

linker_symbols! {
    entry = further_cpu_entry;
    boot_root = boot_low_l0;
}

/// The further CPU with this index. The boot CPU asks.
fn further_affinity(index: usize) -> Option<Affinity> {
    let own = Affinity::of(read_register!("mpidr_el1"));
    let others = platform().cpus.iter().copied().filter(|&cpu| cpu != own && gic::reaches(cpu));
    others.take(gic::most_cpus() - 1).nth(index.checked_sub(1)?)
}

/// See [`crate::arch::Architecture::cpus_named`]; 0 if firmware names none.
pub(in crate::arch) fn named() -> usize {
    platform().cpus.len()
}

/// See [`crate::arch::Architecture::cpus_found`].
pub(in crate::arch) fn found() -> usize {
    if platform().firmware.is_none() {
        return 1;
    }
    (1..).take_while(|&index| further_affinity(index).is_some()).count() + 1
}

/// Writes lines of memory back, for a CPU that reads without caches.
fn clean(start: usize, length: usize) {
    let line = 4usize << (read_register!("ctr_el0") >> 16 & 15);
    for address in (start & !(line - 1)..start + length).step_by(line) {
        // SAFETY: cleans a line of the kernel's memory.
        unsafe {
            asm!("dc cvac, {}", in(reg) address, options(nostack, preserves_flags));
        }
    }
    // SAFETY: a barrier.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}

/// See [`crate::arch::Architecture::start_cpu`].
pub(in crate::arch) fn start(index: usize, start: CpuStart) -> bool {
    let Some(affinity) = further_affinity(index) else { return false };
    let further = Box::leak(Box::new(Further {
        memory_types: read_register!("mair_el1"),
        translation: read_register!("tcr_el1") & !NO_USER_WALKS,
        boot_root: image_to_phys(boot_root()),
        kernel_root: read_register!("ttbr1_el1"),
        control: SYSTEM_CONTROL,
        stack_top: start.stack_top as u64,
        this: 0,
        index,
        block: cpu::new_block(start.number),
        start,
    }));
    let address = core::ptr::from_ref(further) as usize;
    further.this = address as u64;
    let Some(argument) = dma_address(address) else { return false };
    clean(address, size_of::<Further>());
    secondary::call(index, NEVER_NS, |_| {
        power::start_cpu(affinity, image_to_phys(entry()), argument.0)
    })
}

/// The first code of a further CPU that is not assembly: on its own stack, under the kernel's
/// page tables, with the boot code's beside them.
extern "C" fn further_cpu(further: &'static Further) -> ! {
    if !secondary::come(further.index) {
        power::halt();
    }
    // SAFETY: `start` made the block for this CPU.
    unsafe { cpu::init_further(further.block) };
    trap::init();
    mmu::install_on_further_cpu();
    timer::stop();
    if !irq::init_cpu() {
        secondary::fail();
        power::halt();
    }
    secondary::arrive();
    (further.start.entry)(further.start.argument)
}

/// See [`crate::arch::Architecture::interrupt_cpu`].
pub(in crate::arch) fn interrupt(number: usize) {
    gic::send(number, irq::LOOK);
}

/// How often CPUs were asked to fetch instructions anew; up to which time each has done so.
static ASKED: AtomicU64 = AtomicU64::new(0);
static DONE: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Has every other CPU forget instructions that it has fetched, and waits for that: new code was
/// written where other code was, and the caches know it (Arm ARM, B2.2.5). IRQs on, no spin lock
/// held: two CPUs may ask each other.
pub(super) fn synchronise_others() {
    let asked = ASKED.fetch_add(1, Ordering::AcqRel) + 1;
    let others = || (0..secondary::online()).filter(|&number| number != cpu::id());
    others().for_each(interrupt);
    for done in others().filter_map(|number| DONE.get(number)) {
        while done.load(Ordering::Acquire) < asked {
            core::hint::spin_loop();
        }
    }
}

/// This CPU has been interrupted by another: what it runs from now on is fetched anew.
pub(super) fn synchronise() {
    let asked = ASKED.load(Ordering::Acquire);
    // SAFETY: a barrier.
    unsafe { asm!("isb", options(nostack, preserves_flags)) };
    if let Some(done) = DONE.get(cpu::id()) {
        done.store(asked, Ordering::Release);
    }
}

/// See [`crate::arch::Architecture::stop_others`]. Those with interrupts off do not stop.
pub(in crate::arch) fn stop_others() {
    if secondary::online() > 1 {
        gic::send_to_others(irq::STOP);
    }
}
