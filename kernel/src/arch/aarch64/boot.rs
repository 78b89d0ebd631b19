//! From the boot loader to `kernel_main`.
//!
//! The image begins with the header of Linux's boot protocol for AArch64
//! (`Documentation/arch/arm64/booting.rst`), so QEMU's `-kernel` and U-Boot's `booti` start it:
//! at exception level 2 or 1, MMU off, with the device tree's address in x0. The trampoline
//! comes down to level 1, builds boot page tables (the memory it runs in one to one, the image
//! at the kernel's base, and of the direct map the gigabytes that hold image and device tree),
//! turns the MMU on, clears `.bss` and calls [`aarch64_boot`], which reads the device tree.
//!
//! The boot page tables are replaced by `paging.rs`; further CPUs come through them too (smp.rs).

use core::arch::global_asm;

use kernel_fdt::DeviceTree;

use super::console;
use super::entry::{Entry, Flags};
use super::layout::DEVICE_START;
use crate::arch::image::linker_symbols;
use crate::arch::paging::{index, span};
use crate::arch::traits::BootInfo;
use crate::arch::{device_tree, flat_image};

#[expect(improper_ctypes, reason = "both sides are Rust, of one build")]
unsafe extern "C" {
    /// In `main.rs`; declared, because a library cannot name its binary.
    fn kernel_main(boot: &'static BootInfo) -> !;
}

/// MAIR_EL1: entry type 0 is ordinary memory, written back; type 1 device registers, whose
/// writes may be acknowledged early.
const MEMORY_TYPES: u64 = 0x04ff;
/// TCR_EL1: 48 bits and 4 KiB pages for both halves, walks through the caches, inner shareable.
const TRANSLATION: u64 =
    16 | 1 << 8 | 1 << 10 | 3 << 12 | 16 << 16 | 1 << 24 | 1 << 26 | 3 << 28 | 2 << 30;
/// SCTLR_EL1: MMU, caches, alignment of stack pointers at both levels; users may clean caches,
/// read their types, clear cache lines, and wait; PSTATE.PAN is set on entry (SPAN clear); and
/// the bits that are one on CPUs without the feature behind them.
pub(super) const SYSTEM_CONTROL: u64 = 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 11
    | 1 << 12
    | 1 << 14
    | 1 << 15
    | 1 << 16
    | 1 << 18
    | 1 << 20
    | 1 << 22
    | 1 << 26
    | 1 << 28
    | 1 << 29;
/// The same before the MMU is on.
const SYSTEM_CONTROL_OFF: u64 = 1 << 11 | 1 << 20 | 1 << 22 | 1 << 23 | 1 << 28 | 1 << 29;

/// A block of ordinary memory.
const BLOCK: u64 = Flags::VALID.bits() | Flags::INNER_SHAREABLE.bits() | Flags::ACCESSED.bits();
const TABLE: u64 = Flags::VALID.bits() | Flags::TABLE.bits();

// The header's size field is filled by the build, which knows how long the image has become.
global_asm!(
    r#"
    .section .boot.header, "ax"
    .global image_header
image_header:
    b boot_entry
    .long 0
    .quad 0x200000                      // from a multiple of 2 MiB
image_size:
    .quad 0
    .quad 2                             // little-endian, 4 KiB pages
    .quad 0, 0, 0
    .ascii "ARM\x64"
    .long 0

    .section .boot.text, "ax"
boot_entry:
    mov x20, x0                         // the device tree
    msr daifset, #0xf
    bl enter_level_1

    adrp x21, image_header              // where the image was loaded
    // One to one: the gigabyte that this runs in.
    adrp x0, boot_low_l0
    adrp x1, boot_low_l1
    orr x2, x1, #{table}
    str x2, [x0]
    ubfx x3, x21, #30, #9
    lsl x4, x3, #30
    mov x5, #{block}
    orr x4, x4, x5
    str x4, [x1, x3, lsl #3]
    lsr x6, x21, #39                    // beyond the first 512 GiB: another entry of the root
    cbz x6, 4f
    str xzr, [x0]
    str x2, [x0, x6, lsl #3]
4:  // The direct map: the gigabytes of image and device tree.
    adrp x7, boot_high_l0
    adrp x8, boot_direct_l1
    orr x2, x8, #{table}
    str x2, [x7, #(256 * 8)]
    str x4, [x8, x3, lsl #3]
    lsr x3, x20, #30
    lsl x4, x3, #30
    orr x4, x4, x5
    and x3, x3, #511
    str x4, [x8, x3, lsl #3]
    // The image.
    adrp x9, boot_high_l1
    orr x2, x9, #{table}
    str x2, [x7, #(511 * 8)]
    adrp x10, boot_image_l2
    orr x2, x10, #{table}
    str x2, [x9, #(510 * 8)]
    adrp x11, boot_device_l2
    orr x2, x11, #{table}
    str x2, [x9, #(511 * 8)]
    adr x12, image_size
    ldr x12, [x12]
    add x12, x12, #0x200000
    lsr x12, x12, #21                   // how many blocks
    orr x4, x21, x5
    add x10, x10, #8                    // the image begins 2 MiB above the base
5:  str x4, [x10], #8
    add x4, x4, #0x200000
    subs x12, x12, #1
    b.ne 5b

    ldr x2, ={types}
    msr mair_el1, x2
    ldr x2, ={translation}
    mrs x3, id_aa64mmfr0_el1            // as many physical address bits as there are, to 48
    and x3, x3, #15
    cmp x3, #5
    mov x4, #5
    csel x3, x3, x4, ls
    orr x2, x2, x3, lsl #32
    msr tcr_el1, x2
    msr ttbr0_el1, x0
    msr ttbr1_el1, x7
    dsb sy
    isb
    tlbi vmalle1
    ic iallu
    dsb sy
    isb
    ldr x2, ={control}
    msr sctlr_el1, x2
    isb
    ldr x2, =6f
    br x2
    // The symbols were loaded where `.bss` is: moves them behind it, the last bytes first.
6:  adrp x2, __bss_start
    adrp x3, __ksyms_start
    ldr x4, [x2, #8]                    // how long they are
    cbz x4, 8f                          // an ELF file was loaded: they are there
    add x4, x4, #15
    and x4, x4, #~15
    add x5, x2, x4
    add x6, x3, x4
7:  ldp x7, x8, [x5, #-16]!
    stp x7, x8, [x6, #-16]!
    cmp x5, x2
    b.ne 7b
8:  .rept 4
    stp xzr, xzr, [x2], #16
    .endr
    cmp x2, x3
    b.lo 8b

    ldr x2, =boot_stack_top
    mov sp, x2
    mov x29, xzr
    mov x30, xzr
    mov x0, x20
    mov x1, x21
    bl {boot}
    brk #0

    // Returns at exception level 1, from there or from level 2. Leaves x1 to x29 as they are.
    .global enter_level_1
enter_level_1:
    mrs x0, CurrentEL
    cmp x0, #(2 << 2)
    b.ne 3f
    mov x0, #(1 << 31)                  // HCR_EL2.RW: level 1 is 64-bit
    msr hcr_el2, x0
    mrs x0, cnthctl_el2                 // timers are level 1's
    orr x0, x0, #3
    msr cnthctl_el2, x0
    msr cntvoff_el2, xzr
    mov x0, #0x33ff                     // floating point does not trap
    msr cptr_el2, x0
    msr hstr_el2, xzr
    msr vttbr_el2, xzr
    mrs x0, midr_el1
    msr vpidr_el2, x0
    mrs x0, mpidr_el1
    msr vmpidr_el2, x0
    mrs x0, id_aa64pfr0_el1             // system registers of the interrupt controller
    ubfx x0, x0, #24, #4
    cbz x0, 2f
    mrs x0, S3_4_C12_C9_5               // ICC_SRE_EL2
    orr x0, x0, #1
    orr x0, x0, #8
    msr S3_4_C12_C9_5, x0
    isb
    msr S3_4_C12_C11_0, xzr             // ICH_HCR_EL2
2:  ldr x0, ={control_off}
    msr sctlr_el1, x0
    mov x0, #0x3c5                      // level 1, its own stack pointer, all masked
    msr spsr_el2, x0
    msr elr_el2, x30
    eret
3:  ret

    .ltorg

    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .global boot_stack_guard
boot_stack_guard:
    .skip 4096
    .skip {stack_size}
    .global boot_stack_top
boot_stack_top:

    // Not in `.bss`, which is cleared while they are in use.
    .section .data.boot_tables, "aw"
    .balign 4096
    .global boot_low_l0
boot_low_l0: .skip 4096
boot_low_l1: .skip 4096
boot_high_l0: .skip 4096
boot_high_l1: .skip 4096
    .global boot_direct_l1
boot_direct_l1: .skip 4096
boot_image_l2: .skip 4096
    .global boot_device_l2
boot_device_l2: .skip 4096
    .text
    "#,
    boot = sym aarch64_boot,
    stack_size = const BOOT_STACK_SIZE,
    table = const TABLE,
    block = const BLOCK,
    types = const MEMORY_TYPES,
    translation = const TRANSLATION,
    control = const SYSTEM_CONTROL,
    control_off = const SYSTEM_CONTROL_OFF,
);

linker_symbols! {
    direct_table = boot_direct_l1;
    device_table = boot_device_l2;
}

/// The stack on which start-up runs. Unoptimised code needs more.
pub(super) const BOOT_STACK_SIZE: usize =
    if cfg!(debug_assertions) { 128 * 1024 } else { 32 * 1024 };

/// Fills an entry of one of the boot page tables, which was empty or the same.
fn set_boot_entry(table: usize, index: usize, value: u64) {
    // SAFETY: on the boot CPU, before anything else runs; the tables are this file's own and
    // the index is below 512.
    unsafe {
        (table as *mut u64).add(index % 512).write_volatile(value);
        core::arch::asm!("dsb ishst", "isb", options(nostack, preserves_flags));
    }
}

/// Makes the gigabytes from `start` to `end` reachable through the direct map.
fn map_boot_memory(start: u64, end: u64) {
    let size = span(3) as u64;
    let mut block = start / size * size;
    while block < end.min(512 * size) {
        set_boot_entry(direct_table(), index(block as usize, 3), block | BLOCK);
        block += size;
    }
}

/// Maps the 2 MiB around device registers where the device window begins; where they are then.
fn map_boot_device(address: u64) -> usize {
    let size = span(2) as u64;
    let never = Flags::PRIVILEGED_NO_EXECUTE | Flags::USER_NO_EXECUTE;
    let flags = (Flags::VALID | Flags::ACCESSED | Flags::DEVICE | never).bits();
    let block = address / size * size;
    set_boot_entry(device_table(), index(DEVICE_START, 2), block | flags);
    DEVICE_START + (address % size) as usize
}

/// Called by the trampoline, once, on the boot stack.
extern "C" fn aarch64_boot(tree_at: u64, loaded_at: u64) -> ! {
    flat_image::set_loaded_at(loaded_at);
    let tree = device_tree::bytes(tree_at).and_then(|bytes| {
        map_boot_memory(tree_at, tree_at + bytes.len() as u64);
        Some((DeviceTree::read(bytes)?, bytes.len() as u64))
    });
    let Some((tree, tree_length)) = tree else {
        // Nothing is known of this machine, not even how to say so.
        super::power::halt();
    };
    let registers = console::device(&tree).and_then(|device| device.registers().next());
    if let Some((address, _)) = registers {
        console::init(map_boot_device(address));
    }
    tree.memory(|start, length| map_boot_memory(start, start.saturating_add(length)));
    let boot = device_tree::boot_info(&tree, tree_at, tree_length);
    // SAFETY: defined in main.rs with this signature.
    unsafe { kernel_main(boot) }
}

// Entries are eight bytes, as the trampoline has them.
const _: () = assert!(size_of::<Entry>() == 8);
