//! One CPU: its descriptor tables, its features and protections, its per-CPU block.
//!
//! In the kernel, the GS base points to this CPU's [`CpuBlock`]; the entry code (trap.rs,
//! syscall.rs) swaps it in and out. `init` on the boot CPU, or `init_further` on another, runs
//! before anything that could fault; before it, exceptions would reset the machine.

use alloc::boxed::Box;
use core::arch::asm;
use core::mem::offset_of;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use x86_64::PrivilegeLevel;
use x86_64::VirtAddr;
use x86_64::instructions::tables::{lgdt, load_tss};
use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};
use x86_64::registers::model_specific::Msr;
use x86_64::registers::segmentation::{CS, DS, ES, FS, GS, SS, Segment, SegmentSelector};
use x86_64::registers::xcontrol::{XCr0, XCr0Flags};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, DescriptorFlags};
use x86_64::structures::tss::TaskStateSegment;

use super::layout;
use crate::arch::image::boot_stack_guard;
use crate::arch::per_cpu::PerCpu;
use crate::arch::up;

// Linux's selectors, because programs see them. SYSRET demands the order user data, user code.
pub(super) const KERNEL_CODE: u16 = 0x10;
pub(super) const KERNEL_DATA: u16 = 0x18;
pub(super) const USER_DATA: u16 = 0x2b;
pub(super) const USER_CODE: u16 = 0x33;
/// What SYSRET reckons its selectors from. The descriptor, 32-bit code on Linux, is not there:
/// in 32-bit mode SYSCALL would enter the kernel by another door (AMD64 manual vol. 2, 6.1.1).
const USER_BASE: u16 = 0x23;
const TSS: u16 = 0x40;

const IST_STACK_SIZE: usize = 16 * 1024;
/// Interrupt stacks, by index in the TSS.
pub(super) const IST_DOUBLE_FAULT: u16 = 0;
pub(super) const IST_NMI: u16 = 1;
pub(super) const IST_MACHINE_CHECK: u16 = 2;
pub(super) const IST_DEBUG: u16 = 3;
const IST_COUNT: usize = 4;

const MSR_GS_BASE: u32 = 0xc000_0101;

/// A page that is unmapped, then a stack that overflows into it. The word at the stack's top
/// is the address of the CPU's block, for entries that cannot trust the GS base.
#[repr(C, align(4096))]
pub(super) struct GuardedStack {
    pub(super) guard: [u8; 4096],
    stack: [u8; IST_STACK_SIZE],
}

impl GuardedStack {
    const EMPTY: Self = Self { guard: [0; 4096], stack: [0; IST_STACK_SIZE] };
}

/// What one CPU owns. Reached through the GS base; fields are written by that CPU only.
#[repr(C)]
pub(super) struct CpuBlock {
    this: *const CpuBlock,
    /// Where the kernel stack of the running task begins: for `syscall`, which switches no stack.
    kernel_stack: usize,
    /// The user's stack pointer, for the three instructions until it is in the frame.
    user_stack: usize,
    /// What the kernel above stored here.
    local: *mut u8,
    id: usize,
    tss: TaskStateSegment,
    gdt: [u64; 10],
}

pub(super) const KERNEL_STACK: usize = offset_of!(CpuBlock, kernel_stack);
pub(super) const USER_STACK: usize = offset_of!(CpuBlock, user_stack);
const LOCAL: usize = offset_of!(CpuBlock, local);
pub(super) const ID: usize = offset_of!(CpuBlock, id);
/// `privilege_stack_table[0]` is 4 bytes into a TSS (Intel SDM vol. 3, figure 8-11).
const TSS_STACK: usize = offset_of!(CpuBlock, tss) + 4;

impl CpuBlock {
    const EMPTY: Self = Self {
        this: ptr::null(),
        kernel_stack: 0,
        user_stack: 0,
        local: ptr::null_mut(),
        id: 0,
        tss: TaskStateSegment::new(),
        gdt: [0; 10],
    };
}

static BOOT_BLOCK: PerCpu<CpuBlock> = PerCpu::new(CpuBlock::EMPTY);

#[unsafe(link_section = ".bss.stacks")]
static BOOT_STACKS: PerCpu<[GuardedStack; IST_COUNT]> =
    PerCpu::new([GuardedStack::EMPTY; IST_COUNT]);

/// The guard pages below the boot CPU's interrupt stacks.
pub(in crate::arch) fn guard_pages() -> impl Iterator<Item = usize> {
    let stacks = BOOT_STACKS.get() as usize;
    (0..IST_COUNT)
        .map(move |index| stacks + index * size_of::<GuardedStack>())
        .chain([boot_stack_guard()])
}

/// What every CPU can do, found once by `init` on the boot CPU.
pub(super) struct Features {
    pub(super) smep: AtomicBool,
    pub(super) smap: AtomicBool,
    pub(super) umip: AtomicBool,
    pub(super) fsgsbase: AtomicBool,
    pub(super) xsave: AtomicBool,
    pub(super) xsaveopt: AtomicBool,
    pub(super) huge_pages: AtomicBool,
    pub(super) x2apic: AtomicBool,
    pub(super) tsc_deadline: AtomicBool,
    /// The TSC can be set forward and back.
    pub(super) tsc_adjust: AtomicBool,
    /// The TSC counts at a constant rate: it says so, or a hypervisor provides it.
    pub(super) constant_tsc: AtomicBool,
    pub(super) rdrand: AtomicBool,
    pub(super) bmi2: AtomicBool,
    pub(super) rdseed: AtomicBool,
    /// Physical address bits.
    pub(super) physical_bits: AtomicU32,
}

pub(super) static FEATURES: Features = Features {
    smep: AtomicBool::new(false),
    smap: AtomicBool::new(false),
    umip: AtomicBool::new(false),
    fsgsbase: AtomicBool::new(false),
    xsave: AtomicBool::new(false),
    xsaveopt: AtomicBool::new(false),
    huge_pages: AtomicBool::new(false),
    x2apic: AtomicBool::new(false),
    tsc_deadline: AtomicBool::new(false),
    tsc_adjust: AtomicBool::new(false),
    constant_tsc: AtomicBool::new(false),
    rdrand: AtomicBool::new(false),
    bmi2: AtomicBool::new(false),
    rdseed: AtomicBool::new(false),
    physical_bits: AtomicU32::new(36),
};

/// A feature's flag.
#[inline]
pub(super) fn has(feature: &AtomicBool) -> bool {
    feature.load(Ordering::Relaxed)
}

/// Intel SDM vol. 2, CPUID.
fn find_features() {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    let set = |feature: &AtomicBool, word: u32, bit: u32| {
        feature.store(word & 1 << bit != 0, Ordering::Relaxed);
    };
    let basic = __cpuid(0).eax;
    let extended = __cpuid(0x8000_0000).eax;
    let f = &FEATURES;
    let one = __cpuid(1);
    set(&f.x2apic, one.ecx, 21);
    set(&f.tsc_deadline, one.ecx, 24);
    set(&f.xsave, one.ecx, 26);
    set(&f.rdrand, one.ecx, 30);
    let hypervisor = one.ecx & 1 << 31 != 0;
    if basic >= 7 {
        let seven = __cpuid_count(7, 0);
        set(&f.fsgsbase, seven.ebx, 0);
        set(&f.tsc_adjust, seven.ebx, 1);
        set(&f.smep, seven.ebx, 7);
        set(&f.bmi2, seven.ebx, 8);
        set(&f.rdseed, seven.ebx, 18);
        set(&f.smap, seven.ebx, 20);
        set(&f.umip, seven.ecx, 2);
    }
    if basic >= 13 && has(&f.xsave) {
        set(&f.xsaveopt, __cpuid_count(13, 1).eax, 0);
    }
    set(&f.huge_pages, __cpuid(0x8000_0001).edx, 26);
    let invariant = extended >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0;
    f.constant_tsc.store(invariant || hypervisor, Ordering::Relaxed);
    if extended >= 0x8000_0008 {
        f.physical_bits.store(__cpuid(0x8000_0008).eax & 0xff, Ordering::Relaxed);
    }
}

/// Turns on what protects the kernel from users and from itself.
fn protect() {
    let f = &FEATURES;
    let mut cr4 = Cr4Flags::PHYSICAL_ADDRESS_EXTENSION
        | Cr4Flags::PAGE_GLOBAL
        | Cr4Flags::OSFXSR
        | Cr4Flags::OSXMMEXCPT_ENABLE;
    cr4.set(Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION, has(&f.smep));
    cr4.set(Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION, has(&f.smap));
    cr4.set(Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION, has(&f.umip));
    cr4.set(Cr4Flags::FSGSBASE, has(&f.fsgsbase));
    cr4.set(Cr4Flags::OSXSAVE, has(&f.xsave));
    let cr0 = Cr0Flags::PROTECTED_MODE_ENABLE
        | Cr0Flags::MONITOR_COPROCESSOR
        | Cr0Flags::EXTENSION_TYPE
        | Cr0Flags::NUMERIC_ERROR
        | Cr0Flags::WRITE_PROTECT
        | Cr0Flags::PAGING;
    // SAFETY: these flags keep paging and long mode as they are; the kernel obeys what they
    // forbid (user memory is reached between STAC and CLAC only). NXE is supported by every
    // CPU in long mode that this kernel's page tables are for.
    unsafe {
        Cr0::write(cr0);
        Cr4::write(cr4);
        Efer::update(|efer| {
            efer.insert(EferFlags::NO_EXECUTE_ENABLE | EferFlags::SYSTEM_CALL_EXTENSIONS);
        });
    }
    if has(&f.xsave) {
        // x87, SSE and AVX where the CPU has it (CPUID leaf 13): what `FpState` has room for.
        let supported = core::arch::x86_64::__cpuid_count(13, 0).eax;
        let mut xcr0 = XCr0Flags::X87 | XCr0Flags::SSE;
        xcr0.set(XCr0Flags::AVX, supported & 4 != 0);
        // SAFETY: OSXSAVE is on, and the CPU supports these components.
        unsafe { XCr0::write(xcr0) };
    }
}

/// Blanks every STAC and CLAC on a CPU that does not know them. Runs under the boot page
/// tables, which still allow writing to text.
fn patch_smap_sites() {
    const NOP3: [u8; 3] = [0x0f, 0x1f, 0x00];
    let mut entry = layout::smap_sites_start();
    while entry < layout::smap_sites_end() {
        // SAFETY: the linker script gathers the addresses of three-byte instructions in this
        // range; nothing executes them yet, and CR0.WP is not in the way of a writable page.
        unsafe {
            let site = *(entry as *const usize) as *mut [u8; 3];
            site.write_volatile(NOP3);
        }
        entry += size_of::<usize>();
    }
}

fn load_tables(block: *mut CpuBlock) {
    let dpl3 = DescriptorFlags::DPL_RING_3;
    // SAFETY: `block` is this CPU's own and lives for ever.
    let block = unsafe { &mut *block };
    let Descriptor::SystemSegment(tss_low, tss_high) =
        // SAFETY: as above: the TSS lives for ever.
        (unsafe { Descriptor::tss_segment_unchecked(&raw const block.tss) })
    else {
        return;
    };
    block.gdt = [
        0,
        0,
        DescriptorFlags::KERNEL_CODE64.bits(),
        DescriptorFlags::KERNEL_DATA.bits(),
        0,
        (DescriptorFlags::USER_DATA | dpl3).bits(),
        (DescriptorFlags::USER_CODE64 | dpl3).bits(),
        0,
        tss_low,
        tss_high,
    ];
    let pointer = DescriptorTablePointer {
        limit: (size_of_val(&block.gdt) - 1) as u16,
        base: VirtAddr::from_ptr(block.gdt.as_ptr()),
    };
    let selector =
        |value: u16| SegmentSelector::new(value >> 3, PrivilegeLevel::from_u16(value & 3));
    // SAFETY: the table lives for ever and has each of these descriptors in its place.
    unsafe {
        lgdt(&pointer);
        CS::set_reg(selector(KERNEL_CODE));
        SS::set_reg(selector(KERNEL_DATA));
        DS::set_reg(SegmentSelector::NULL);
        ES::set_reg(SegmentSelector::NULL);
        FS::set_reg(SegmentSelector::NULL);
        GS::set_reg(SegmentSelector::NULL);
        load_tss(selector(TSS));
    }
}

/// Sets this (the boot) CPU up: features, protections, descriptor tables, per-CPU block.
pub(super) fn init() {
    find_features();
    if !has(&FEATURES.smap) {
        patch_smap_sites();
    }
    let stacks = BOOT_STACKS.get() as usize;
    let tops = core::array::from_fn(|index| stacks + (index + 1) * size_of::<GuardedStack>());
    // SAFETY: the boot CPU is alone; the block and the stacks are its own and stay.
    unsafe { set_up(BOOT_BLOCK.get(), tops) };
}

/// A block for a further CPU, for [`init_further`] on it.
pub(super) fn new_block(number: usize) -> *mut CpuBlock {
    Box::into_raw(Box::new(CpuBlock { id: number, ..CpuBlock::EMPTY }))
}

/// Sets this CPU, which is not the boot CPU, up. Its interrupt stacks are the quarters of one
/// that ends at `stack_top`, with a guard page below the whole.
///
/// # Safety
/// `block` is from [`new_block`], and it and the stack are for this CPU alone.
pub(super) unsafe fn init_further(block: *mut CpuBlock, stack_top: usize) {
    let part = up::STACK_BYTES / IST_COUNT;
    // SAFETY: the caller's promise.
    unsafe { set_up(block, core::array::from_fn(|index| stack_top - index * part)) };
}

/// # Safety
/// `block` and the stacks that end at `stack_tops` are this CPU's own, for good; nothing that
/// needs the per-CPU block has happened on it.
unsafe fn set_up(block: *mut CpuBlock, stack_tops: [usize; IST_COUNT]) {
    // SAFETY: the caller's promise; the word below each top is within the stack.
    unsafe {
        (*block).this = block;
        for (index, top) in stack_tops.into_iter().enumerate() {
            let slot = top - 16;
            (slot as *mut *mut CpuBlock).write(block);
            (*block).tss.interrupt_stack_table[index] = VirtAddr::new(slot as u64);
        }
    }
    load_tables(block);
    // SAFETY: the GS base is the kernel's own; nothing uses it before.
    unsafe { Msr::new(MSR_GS_BASE).write(block as u64) };
    protect();
    super::syscall::init();
}

/// See [`crate::arch::Architecture::hardware_capabilities`].
pub(in crate::arch) fn capabilities() -> usize {
    // Linux gives CPUID leaf 1, EDX.
    core::arch::x86_64::__cpuid(1).edx as usize
}

/// This CPU's number.
#[inline]
pub(in crate::arch) fn id() -> usize {
    let id: usize;
    // SAFETY: in the kernel, GS points to this CPU's block.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) id, offset = const ID,
            options(nostack, preserves_flags, readonly));
    }
    id
}

/// What `set_local` stored.
#[inline]
pub(in crate::arch) fn local() -> *mut u8 {
    let pointer: *mut u8;
    // SAFETY: as in `id`.
    unsafe {
        asm!("mov {}, gs:[{offset}]", out(reg) pointer, offset = const LOCAL,
            options(nostack, preserves_flags, readonly));
    }
    pointer
}

/// Stores a pointer for this CPU.
pub(in crate::arch) fn set_local(pointer: *mut u8) {
    // SAFETY: as in `id`; only this CPU writes the field.
    unsafe {
        asm!("mov gs:[{offset}], {}", in(reg) pointer, offset = const LOCAL,
            options(nostack, preserves_flags));
    }
}

/// Sets where this CPU enters the kernel, by `syscall` and by interrupts from user mode.
#[inline]
pub(in crate::arch) fn set_kernel_stack(top: usize) {
    // `syscall` switches to 8 below the top: with 21 words of frame, the stack is aligned.
    let entry_top = top - 8;
    // SAFETY: as in `id`; the fields are the CPU's entry stack pointers, and `top` is the top
    // of the stack of the task that this CPU runs from now on.
    unsafe {
        asm!("mov gs:[{entry}], {entry_top}", "mov gs:[{tss}], {top}", top = in(reg) top,
            entry_top = in(reg) entry_top,
            entry = const KERNEL_STACK, tss = const TSS_STACK,
            options(nostack, preserves_flags));
    }
}

/// Selectors for STAR: what SYSCALL and SYSRET derive theirs from.
pub(super) const STAR: u64 = (USER_BASE as u64) << 48 | (KERNEL_CODE as u64) << 32;

/// Resets the machine when nothing else does.
pub(super) fn triple_fault() -> ! {
    let pointer = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: without an IDT the breakpoint cannot be delivered, which resets the machine.
    unsafe {
        x86_64::instructions::tables::lidt(&pointer);
        asm!("int3", options(noreturn));
    }
}
