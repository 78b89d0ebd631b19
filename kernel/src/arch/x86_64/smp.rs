//! The other CPUs: starting them, interrupting them, stopping them.
//!
//! A CPU is started as the Intel SDM has it (vol. 3, section 9.4.4: INIT, then start-up
//! interrupts). It begins in real mode in a page below 1 MiB, where [`start`] has put a copy of
//! the trampoline below with what the CPU needs to know, and comes through the boot page tables
//! to [`further_cpu`] in the kernel's own. One is started at a time; the first that does not come
//! ends the starting, so that the page is never changed under a late one.

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

use super::cpu::{self, CpuBlock};
use super::cpu::{FEATURES, has};
use super::layout::{DIRECT_MAP, image_to_phys};
use super::{acpi, irq, mmu, power, timer, trap, tsc_sync};
use crate::arch::cpu_set::numbers;
use crate::arch::image::linker_symbols;
use crate::arch::traits::{CpuStart, MAX_CPUS, PAGE_SIZE};
use crate::arch::{paging, secondary, up};

// Interrupt commands.
const NMI: u32 = 4 << 8;
const INIT: u32 = 5 << 8;
const START_UP: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;

const INIT_NS: u64 = 10_000_000;
const RETRY_NS: u64 = 200_000_000;

/// What the trampoline finds in its page, behind its code.
#[repr(C)]
struct Handed {
    /// Where the 32-bit and the 64-bit code are: offset and selector, for far jumps.
    far_32: (u32, u32),
    far_64: (u32, u32),
    /// The boot page tables, which map this page one to one.
    boot_root: u64,
    /// The address in the kernel's image to go on at, under the kernel's own tables.
    entry: u64,
    root: u64,
    stack_top: u64,
    further: u64,
}

// AT&T syntax, because LLVM's Intel syntax has no far jump. Addresses are counted from the page's
// beginning, which is in ebx.
global_asm!(
    r#"
    .section .rodata.trampoline, "a"
    .balign 16
    .code16
    .global trampoline_start
trampoline_start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movzwl %ax, %ebx
    shll $4, %ebx
    leal (trampoline_gdt - trampoline_start)(%ebx), %eax
    movl %eax, trampoline_gdt_pointer + 2 - trampoline_start
    lgdtl trampoline_gdt_pointer - trampoline_start
    movl %cr0, %eax
    orl $1, %eax                        // PE
    movl %eax, %cr0
    ljmpl *(handed - trampoline_start)

    .code32
    .global trampoline_32
trampoline_32:
    movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl %cr4, %eax
    orl $0x20, %eax                     // PAE
    movl %eax, %cr4
    movl (handed + 16 - trampoline_start)(%ebx), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              // EFER
    rdmsr
    orl $0x900, %eax                    // LME, NXE
    wrmsr
    movl %cr0, %eax
    andl $0x9fffffff, %eax              // caches on
    orl $0x80010001, %eax               // PG, WP, PE
    movl %eax, %cr0
    ljmpl *(handed + 8 - trampoline_start)(%ebx)

    .code64
    .global trampoline_64
trampoline_64:
    movl %ebx, %ebx
    jmpq *(handed + 24 - trampoline_start)(%rbx)

    .balign 8
trampoline_gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            // 0x08: 32-bit code
    .quad 0x00af9b000000ffff            // 0x10: 64-bit code
    .quad 0x00cf93000000ffff            // 0x18: data
trampoline_gdt_pointer:
    .short trampoline_gdt_pointer - trampoline_gdt - 1
    .long 0
    .balign 16
    .global trampoline_end
trampoline_end:
handed:

    .text
    .global further_cpu_entry
further_cpu_entry:
    movq (handed + 32 - trampoline_start)(%rbx), %rax
    movq (handed + 40 - trampoline_start)(%rbx), %rsp
    movq (handed + 48 - trampoline_start)(%rbx), %rdi
    movq %rax, %cr3
    xorl %ebp, %ebp
    call {further_cpu}
    ud2
    "#,
    further_cpu = sym further_cpu,
    options(att_syntax)
);

linker_symbols! {
    trampoline = trampoline_start;
    code_32 = trampoline_32;
    code_64 = trampoline_64;
    code_end = trampoline_end;
    entry = further_cpu_entry;
    boot_root = boot_pml4;
}

/// The page that further CPUs start in; 0 for none.
static TRAMPOLINE: AtomicU64 = AtomicU64::new(0);
/// A CPU was called and has not come.
static GIVEN_UP: AtomicBool = AtomicBool::new(false);
static APIC_IDS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// What a further CPU needs to set itself up.
struct Further {
    index: usize,
    block: *mut CpuBlock,
    interrupt_stack_top: usize,
    start: CpuStart,
}

/// Sets a page aside that further CPUs can start in. Called by the boot code.
pub(super) fn set_trampoline(page: u64) {
    TRAMPOLINE.store(page, Ordering::Relaxed);
}

/// The APIC identifier of the further CPU with this index.
fn further_apic_id(index: usize) -> Option<u32> {
    let reachable = |&id: &u32| has(&FEATURES.x2apic) || id < 0xff;
    let own = APIC_IDS[0].load(Ordering::Relaxed);
    let others = acpi::platform().cpus.iter().copied().filter(reachable).filter(|&id| id != own);
    others.take(MAX_CPUS - 1).nth(index.checked_sub(1)?)
}

/// See [`crate::arch::Architecture::cpus_named`]; 0 if firmware names none.
pub(in crate::arch) fn named() -> usize {
    acpi::platform().cpus.len()
}

/// See [`crate::arch::Architecture::cpus_found`].
pub(in crate::arch) fn found() -> usize {
    (1..).take_while(|&index| further_apic_id(index).is_some()).count() + 1
}

/// Looks for the other CPUs.
pub(super) fn init() {
    APIC_IDS[0].store(irq::apic_id(), Ordering::Relaxed);
}

fn wait(nanoseconds: u64) {
    let start = timer::now_ns();
    while timer::now_ns().saturating_sub(start) < nanoseconds {
        core::hint::spin_loop();
    }
}

/// Writes the trampoline into its page.
fn prepare(page: u64, further: &'static Further) {
    let offset = |address: usize| (page as usize + (address - trampoline())) as u32;
    let handed = Handed {
        far_32: (offset(code_32()), 0x08),
        far_64: (offset(code_64()), 0x10),
        boot_root: image_to_phys(boot_root()),
        entry: entry() as u64,
        root: paging::root(),
        stack_top: further.start.stack_top as u64,
        further: core::ptr::from_ref(further) as u64,
    };
    let size = code_end() - trampoline();
    debug_assert!(size + size_of::<Handed>() <= PAGE_SIZE, "the trampoline fits into its page");
    let target = (DIRECT_MAP + page as usize) as *mut u8;
    // SAFETY: the page was set aside for this, the direct map shows it, and no CPU is using it;
    // the code and what follows it fit into it.
    unsafe {
        target.copy_from_nonoverlapping(trampoline() as *const u8, size);
        target.add(size).cast::<Handed>().write(handed);
    }
    fence(Ordering::SeqCst);
}

/// See [`crate::arch::Architecture::start_cpu`].
pub(in crate::arch) fn start(index: usize, start: CpuStart) -> bool {
    let page = TRAMPOLINE.load(Ordering::Relaxed);
    let (Some(id), Some(slot)) = (further_apic_id(index), APIC_IDS.get(start.number)) else {
        return false;
    };
    if page == 0 || GIVEN_UP.load(Ordering::Relaxed) {
        return false;
    }
    let Some(interrupt_stack_top) = up::new_stack() else { return false };
    tsc_sync::prepare();
    let block = cpu::new_block(start.number);
    let further = Further { index, block, interrupt_stack_top, start };
    prepare(page, alloc::boxed::Box::leak(alloc::boxed::Box::new(further)));
    slot.store(id, Ordering::Relaxed);
    let came = secondary::call(index, RETRY_NS, |kicks| {
        if kicks == 0 {
            irq::send(id, INIT | ASSERT);
            wait(INIT_NS);
        }
        // A second one, as the manual says, for CPUs that have missed the first.
        if kicks < 2 {
            irq::send(id, START_UP | ASSERT | (page / PAGE_SIZE as u64) as u32);
        }
        true
    });
    if !came {
        GIVEN_UP.store(true, Ordering::Relaxed);
        return false;
    }
    let agrees = tsc_sync::check_new_cpu();
    if !agrees {
        log::error!("CPU {index} has another time than the boot CPU");
        secondary::leave();
    }
    agrees
}

/// The first code of a further CPU that is not assembly: on its own stack, under the kernel's
/// page tables.
extern "C" fn further_cpu(further: &'static Further) -> ! {
    if !secondary::come(further.index) {
        power::halt();
    }
    // SAFETY: `start` made both for this CPU.
    unsafe { cpu::init_further(further.block, further.interrupt_stack_top) };
    trap::load_idt();
    irq::enable_local_apic(irq::LVT_MASKED);
    timer::init_this_cpu();
    secondary::arrive();
    if !tsc_sync::check_this_cpu() {
        power::halt();
    }
    (further.start.entry)(further.start.argument)
}

pub(super) fn apic_id(number: usize) -> Option<u32> {
    APIC_IDS.get(number).map(|id| id.load(Ordering::Relaxed))
}

/// See [`crate::arch::Architecture::interrupt_cpu`].
pub(in crate::arch) fn interrupt(number: usize) {
    if let Some(id) = apic_id(number) {
        irq::send(id, ASSERT | u32::from(irq::LOOK_VECTOR));
    }
}

/// The other CPUs are to stop.
static STOP: AtomicBool = AtomicBool::new(false);

/// See [`crate::arch::Architecture::stop_others`]: by a non-maskable interrupt, so also those
/// with interrupts off. Each by its own name: a CPU that was never started may take one too, and
/// run what it finds at address 0.
pub(in crate::arch) fn stop_others() {
    let online = secondary::online();
    if online > 1 {
        STOP.store(true, Ordering::SeqCst);
        let own = irq::apic_id();
        for id in (0..online).filter_map(apic_id).filter(|&id| id != own) {
            irq::send(id, ASSERT | NMI);
        }
    }
}

/// In a non-maskable interrupt: stops this CPU if that was meant by it.
pub(super) fn stop_if_told() {
    if STOP.load(Ordering::SeqCst) {
        power::halt();
    }
}

/// How often a CPU was asked to forget translations, and which request it has fulfilled last.
struct Flush {
    asked: AtomicU64,
    done: AtomicU64,
    /// The kernel's translations too.
    all: AtomicBool,
}

static FLUSHES: [Flush; MAX_CPUS] = [const {
    Flush { asked: AtomicU64::new(0), done: AtomicU64::new(0), all: AtomicBool::new(false) }
}; MAX_CPUS];

/// Asks CPUs, a bit for each, and waits until they have done it. Interrupts are on: others may
/// be asking this CPU.
fn ask(cpus: u64, all: bool) {
    let ask_one = |number: usize| {
        let flush = FLUSHES.get(number)?;
        if all {
            flush.all.store(true, Ordering::Relaxed);
        }
        let ticket = flush.asked.fetch_add(1, Ordering::SeqCst) + 1;
        irq::send(apic_id(number)?, ASSERT | u32::from(irq::FLUSH_VECTOR));
        Some(ticket)
    };
    let mut tickets = [0; MAX_CPUS];
    for (number, slot) in numbers(cpus).zip(&mut tickets) {
        *slot = ask_one(number).unwrap_or(0);
    }
    for (number, ticket) in numbers(cpus).zip(tickets) {
        let Some(flush) = FLUSHES.get(number) else { continue };
        while flush.done.load(Ordering::Acquire) < ticket {
            core::hint::spin_loop();
        }
    }
}

/// Makes other CPUs forget users' translations.
pub(super) fn flush_others(cpus: u64) {
    ask(cpus, false);
}

/// See [`crate::arch::Architecture::flush_kernel`].
pub(in crate::arch) fn flush_kernel() {
    let online = secondary::online();
    let irq = kernel_sync::irq::save();
    mmu::flush_all();
    let this = cpu::id();
    kernel_sync::irq::restore(irq);
    let all = if online == MAX_CPUS { u64::MAX } else { (1 << online) - 1 };
    ask(all & !(1 << this), true);
}

/// Another CPU has asked this one to forget translations. Interrupts are off.
pub(super) fn flush_asked_for() {
    let Some(flush) = FLUSHES.get(cpu::id()) else { return };
    // What is asked for from here on is another interrupt's.
    let asked = flush.asked.load(Ordering::SeqCst);
    if flush.all.swap(false, Ordering::SeqCst) {
        mmu::flush_all();
    }
    if !up::leave_unused_space() {
        mmu::activate(mmu::active());
    }
    flush.done.store(asked, Ordering::Release);
}
