//! From the boot loader to `kernel_main`.
//!
//! The image begins with the header of Linux's boot protocol for RISC-V
//! (`Documentation/arch/riscv/boot-image-header.rst`), so QEMU's `-kernel` and U-Boot's `booti`
//! start it: on one hart, whichever it is, in supervisor mode, address translation off, with the
//! hart's number in a0 and the device tree's address in a1. The trampoline builds boot page
//! tables (the memory it runs in one to one, the image at the kernel's base, and of the direct
//! map the gigabytes that hold image and device tree), turns translation on, clears `.bss` and
//! calls [`riscv_boot`], which reads the device tree.
//!
//! The boot page tables are replaced by `paging.rs`.

use core::arch::global_asm;

use kernel_fdt::DeviceTree;

use super::entry::{Entry, Flags};
use super::layout::{DEVICE_START, DIRECT_MAP, DIRECT_MAP_END};
use super::{console, cpu, mmu, smp};
use crate::arch::image::linker_symbols;
use crate::arch::paging::{ROOT_LEVEL, index, span};
use crate::arch::traits::BootInfo;
use crate::arch::{device_tree, flat_image};

#[expect(improper_ctypes, reason = "both sides are Rust, of one build")]
unsafe extern "C" {
    /// In `main.rs`; declared, because a library cannot name its binary.
    fn kernel_main(boot: &'static BootInfo) -> !;
}

/// Ordinary memory of any kind: the boot code runs in it, reads it and writes it.
const MEMORY: usize = (Flags::VALID.bits()
    | Flags::READ.bits()
    | Flags::WRITE.bits()
    | Flags::EXECUTE.bits()
    | Flags::ACCESSED.bits()
    | Flags::DIRTY.bits()) as usize;
const TABLE: usize = Flags::VALID.bits() as usize;

// The header's size field is filled by the build, which knows how long the image has become.
global_asm!(
    r#"
    .section .boot.header, "ax"
    .option push
    .option norvc
    .option norelax
    .global image_header
image_header:
    j boot_entry
    .word 0
    .quad 0x200000                      // from a multiple of 2 MiB
image_size:
    .quad 0
    .quad 0                             // little-endian
    .word 2                             // the header's version: 0.2
    .word 0
    .quad 0
    .ascii "RISCV\0\0\0"
    .ascii "RSC\x05"
    .word 0
    .option pop

    .section .boot.text, "ax"
    .option push
    .option norelax
    .option arch, +a
    .global boot_entry
boot_entry:
    csrw sie, zero
    csrw sip, zero
    li t0, {status}                     // interrupts and floating point off
    csrc sstatus, t0
    // Only the first hart starts the kernel.
    lla t0, boot_turns
    li t1, 1
    amoadd.w.aqrl t1, t1, (t0)
    bnez t1, boot_further
    mv s0, a0                           // this hart
    mv s1, a1                           // the device tree
    lla s2, image_header                // where the image was loaded
    lla s3, boot_root
    // One to one and in the direct map: the gigabytes of the image and of the device tree.
    srli t0, s2, 30
    slli t1, t0, 28                     // the page number, where entries have it
    ori t1, t1, {memory}
    slli t0, t0, 3
    add t0, t0, s3
    sd t1, 0(t0)
    li t2, {direct}
    add t0, t0, t2
    sd t1, 0(t0)
    srli t0, s1, 30
    slli t1, t0, 28
    ori t1, t1, {memory}
    slli t0, t0, 3
    add t0, t0, s3
    add t0, t0, t2
    sd t1, 0(t0)
    // The image, and the window for devices.
    li t2, {image}
    add t0, s3, t2
    lla t3, boot_image_l2
    srli t1, t3, 2
    ori t1, t1, {table}
    sd t1, 0(t0)
    lla t1, boot_device_l2
    srli t1, t1, 2
    ori t1, t1, {table}
    sd t1, 8(t0)
    lla t0, image_size
    ld t0, 0(t0)
    li t1, 0x1fffff
    add t0, t0, t1
    srli t0, t0, 21                     // how many pages of 2 MiB
    srli t1, s2, 2
    ori t1, t1, {memory}
    li t2, 0x80000                      // 2 MiB, as entries have it
    addi t3, t3, 8                      // the image begins 2 MiB above the base
1:  sd t1, 0(t3)
    add t1, t1, t2
    addi t3, t3, 8
    addi t0, t0, -1
    bnez t0, 1b

    srli t0, s3, 12
    li t1, {mode}
    or t0, t0, t1
    lla t1, 3f
    ld t1, 0(t1)
    sfence.vma
    csrw satp, t0
    sfence.vma
    jr t1
    .balign 8
3:  .quad 2f
    // The symbols were loaded where `.bss` is: moves them behind it, the last bytes first.
2:  lla t0, __bss_start
    lla t1, __ksyms_start
    ld t2, 8(t0)                        // how long they are
    addi t2, t2, 7
    andi t2, t2, -8
    add t3, t0, t2
    add t4, t1, t2
    beqz t2, 5f                         // an ELF file was loaded: they are there
4:  addi t3, t3, -8
    addi t4, t4, -8
    ld t5, 0(t3)
    sd t5, 0(t4)
    bne t3, t0, 4b
5:  .rept 8
    sd zero, 0(t0)
    addi t0, t0, 8
    .endr
    bltu t0, t1, 5b

    lla sp, boot_stack_top
    mv a0, s0
    mv a1, s1
    mv a2, s2
    mv s0, zero
    mv ra, zero
    call {boot}
    ebreak

    // A hart that comes here after the first goes on in smp.rs, if it is the one that is expected.
boot_further:
    fence rw, rw
    lla t0, boot_expected
    ld a1, 0(t0)
    beqz a1, 6f
    ld t1, {expected_hart}(a1)
    bne t1, a0, 6f
    j further_cpu_entry
6:  wfi
    j 6b
    .option pop

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
    .balign 8
    .global boot_expected
boot_expected: .quad 0
boot_turns: .word 0
    .balign 4096
    .global boot_root
boot_root: .skip 4096
boot_image_l2: .skip 4096
    .global boot_device_l2
boot_device_l2: .skip 4096
    .text
    "#,
    boot = sym riscv_boot,
    expected_hart = const smp::FURTHER_HART,
    stack_size = const BOOT_STACK_SIZE,
    table = const TABLE,
    memory = const MEMORY,
    direct = const index(DIRECT_MAP, ROOT_LEVEL) * 8,
    image = const index(super::layout::KERNEL_BASE, ROOT_LEVEL) * 8,
    mode = const mmu::mode(ROOT_LEVEL),
    status = const super::asm::status::INTERRUPTS | super::asm::status::FLOATING,
);

linker_symbols! {
    root_table = boot_root;
    device_table = boot_device_l2;
}

/// The stack on which start-up runs. Unoptimised code needs more.
pub(super) const BOOT_STACK_SIZE: usize =
    if cfg!(debug_assertions) { 128 * 1024 } else { 32 * 1024 };

/// Fills an entry of one of the boot page tables, which was empty or the same.
fn set_boot_entry(table: usize, index: usize, value: Entry) {
    // SAFETY: on the boot CPU, before anything else runs; the tables are this file's own and
    // the index is below 512.
    unsafe { (table as *mut Entry).add(index % 512).write_volatile(value) };
    mmu::mapped_kernel();
}

/// Makes the gigabytes from `start` to `end` reachable through the direct map.
fn map_boot_memory(start: u64, end: u64) {
    let size = span(ROOT_LEVEL) as u64;
    let flags = Flags::VALID | Flags::READ | Flags::WRITE | Flags::ACCESSED | Flags::DIRTY;
    let mut block = start / size * size;
    while block < end.min((DIRECT_MAP_END - DIRECT_MAP) as u64) {
        let index = index(DIRECT_MAP + block as usize, ROOT_LEVEL);
        set_boot_entry(root_table(), index, Entry::new(block, flags));
        block += size;
    }
}

/// Maps the 2 MiB around device registers where the device window begins; where they are then.
fn map_boot_device(address: u64) -> usize {
    let size = span(2) as u64;
    let flags = Flags::VALID | Flags::READ | Flags::WRITE | Flags::ACCESSED | Flags::DIRTY;
    let block = address / size * size;
    set_boot_entry(device_table(), index(DEVICE_START, 2), Entry::new(block, flags));
    DEVICE_START + (address % size) as usize
}

/// Called by the trampoline, once, on the boot stack.
extern "C" fn riscv_boot(hart: usize, tree_at: u64, loaded_at: u64) -> ! {
    flat_image::set_loaded_at(loaded_at);
    cpu::set_boot_hart(hart);
    let tree = device_tree::bytes(tree_at).and_then(|bytes| {
        map_boot_memory(tree_at, tree_at + bytes.len() as u64);
        Some((DeviceTree::read(bytes)?, bytes.len() as u64))
    });
    let Some((tree, tree_length)) = tree else {
        // Nothing is known of this machine, not even how to say so.
        super::power::halt();
    };
    if let Some(device) = console::device(&tree)
        && let Some((address, _)) = device.registers().next()
    {
        console::init(&device, map_boot_device(address));
    }
    tree.memory(|start, length| map_boot_memory(start, start.saturating_add(length)));
    let boot = device_tree::boot_info(&tree, tree_at, tree_length);
    // SAFETY: defined in main.rs with this signature.
    unsafe { kernel_main(boot) }
}

// Entries are eight bytes, as the trampoline has them.
const _: () = assert!(size_of::<Entry>() == 8);
