//! From the boot loader to `kernel_main`.
//!
//! One image, two boot protocols: PVH (an ELF note that QEMU's `-kernel` follows) and
//! multiboot2 (a header that GRUB follows). Both enter 32-bit protected mode with paging
//! off, so one trampoline serves both: it builds boot page tables (the first 4 GiB mapped
//! one to one and at the direct map, the first GiB at the kernel's base), enters long mode
//! and calls [`x86_64_boot`], which turns what the protocol passed into a [`BootInfo`].
//!
//! The boot page tables are replaced by `paging.rs`; further CPUs come through them too (smp.rs).

use core::arch::global_asm;
use core::slice;

use kernel_boot::pvh::{self, StartInfo};
use kernel_boot::{E820Table, Loaded, multiboot2, until_nul};

use super::layout::DIRECT_MAP;
use super::{console, smp};
use crate::arch::boot_info::{self, Found};
use crate::arch::traits::{BootInfo, Framebuffer, MemoryKind, PAGE_SIZE};

#[expect(improper_ctypes, reason = "both sides are Rust, of one build")]
unsafe extern "C" {
    /// In `main.rs`; declared, because a library cannot name its binary.
    fn kernel_main(boot: &'static BootInfo) -> !;
}

// The note: "ELF Notes for PVH", Xen's public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY (18) holds
// the physical address to enter at. The header: Multiboot2 Specification 2.0, section 3.1.
// AT&T syntax, because LLVM's Intel syntax has no far jump.
global_asm!(
    r#"
    .set KERNEL_BASE, 0xffffffff80000000
    .section .note.Xen, "a", @note
    .balign 4
    .long 4, 8, 18
    .asciz "Xen"
    .quad pvh_entry - KERNEL_BASE

    .section .boot.header, "a"
    .balign 8
multiboot2_header:
    .long 0xe85250d6, 0, multiboot2_header_end - multiboot2_header
    .long 0x100000000 - (0xe85250d6 + (multiboot2_header_end - multiboot2_header))
    .short 3, 0                         // where to enter
    .long 12, multiboot2_entry - KERNEL_BASE
    .balign 8
    .short 5, 1                         // a picture of any size, if there can be one
    .long 20, 0, 0, 32
    .balign 8
    .short 0, 0                         // the end
    .long 8
multiboot2_header_end:

    .section .boot.text, "ax"
    .code32
    .global pvh_entry
multiboot2_entry:
    movl $1, %edi
    jmp 1f
pvh_entry:
    xorl %edi, %edi
1:  cli
    cld
    movl %ebx, %esi                     // what the protocol passes
    movl $(boot_stack_top - KERNEL_BASE), %esp

    movl $0x80000000, %eax              // is there a long mode?
    cpuid
    cmpl $0x80000001, %eax
    jb no_long_mode
    movl $0x80000001, %eax
    cpuid
    btl $29, %edx
    jnc no_long_mode

    movl $(boot_page_directories - KERNEL_BASE), %edx
    movl $0x83, %eax                    // present, writable, 2 MiB
    movl $2048, %ecx
2:  movl %eax, (%edx)
    addl $0x200000, %eax
    addl $8, %edx
    decl %ecx
    jnz 2b
    movl $(boot_low_pdpt - KERNEL_BASE), %edx
    movl $(boot_page_directories - KERNEL_BASE + 3), %eax
    movl $4, %ecx
3:  movl %eax, (%edx)
    addl $0x1000, %eax
    addl $8, %edx
    decl %ecx
    jnz 3b
    movl $(boot_page_directories - KERNEL_BASE + 3), boot_high_pdpt - KERNEL_BASE + 510 * 8
    movl $(boot_low_pdpt - KERNEL_BASE + 3), boot_pml4 - KERNEL_BASE
    movl $(boot_low_pdpt - KERNEL_BASE + 3), boot_pml4 - KERNEL_BASE + 256 * 8
    movl $(boot_high_pdpt - KERNEL_BASE + 3), boot_pml4 - KERNEL_BASE + 511 * 8

    movl %cr4, %eax
    orl $0x20, %eax                     // PAE
    movl %eax, %cr4
    movl $(boot_pml4 - KERNEL_BASE), %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx              // EFER
    rdmsr
    orl $0x100, %eax                    // LME
    wrmsr
    movl %cr0, %eax
    orl $0x80010001, %eax               // PG, WP, PE
    movl %eax, %cr0
    lgdtl boot_gdt_pointer - KERNEL_BASE
    ljmpl $0x10, $(long_mode - KERNEL_BASE)

no_long_mode:
    movl $(no_long_mode_text - KERNEL_BASE), %esi
4:  movb (%esi), %al
    testb %al, %al
    jz 5f
    movw $0x3f8, %dx
    outb %al, %dx
    incl %esi
    jmp 4b
5:  hlt
    jmp 5b
no_long_mode_text:
    .asciz "Lemma needs a 64-bit CPU.\r\n"

    .balign 8
boot_gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff            // 0x10: 64-bit code
    .quad 0x00cf93000000ffff            // 0x18: data
boot_gdt_pointer:
    .short boot_gdt_pointer - boot_gdt - 1
    .long boot_gdt - KERNEL_BASE

    .code64
long_mode:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %ss
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movabsq $high_half, %rax
    jmpq *%rax
high_half:
    movq $boot_stack_top, %rsp
    movl %edi, %edi
    movl %esi, %esi
    xorl %ebp, %ebp
    call {boot}
    ud2

    .section .bss.stacks, "aw", @nobits
    .balign 4096
    .global boot_stack_guard
boot_stack_guard:
    .skip 4096
    .skip {stack_size}
    .global boot_stack_top
boot_stack_top:

    .section .bss.boot_tables, "aw", @nobits
    .balign 4096
    .global boot_pml4
boot_pml4: .skip 4096
boot_low_pdpt: .skip 4096
boot_high_pdpt: .skip 4096
boot_page_directories: .skip 4 * 4096
    .text
    "#,
    boot = sym x86_64_boot,
    stack_size = const BOOT_STACK_SIZE,
    options(att_syntax)
);

/// The stack on which start-up runs. Unoptimised code needs more.
pub(super) const BOOT_STACK_SIZE: usize =
    if cfg!(debug_assertions) { 128 * 1024 } else { 32 * 1024 };

/// The longest command line that is read.
const COMMAND_LINE_SIZE: usize = 4096;
const RSDP_SIZE: usize = 36;
const PAGE: u64 = PAGE_SIZE as u64;
const BIOS_DATA_END: u64 = 0x10000;
const REAL_MODE_END: u64 = 0x10_0000;

/// What a boot protocol said, as views of its own memory.
struct Passed {
    protocol: &'static str,
    command_line: &'static [u8],
    rsdp: Option<&'static [u8]>,
    memory: E820Table<'static>,
    ram_disk: Option<Loaded>,
    framebuffer: Option<Framebuffer>,
}

/// Bytes of physical memory, through the boot page tables' direct map.
///
/// # Safety
/// `[address, address + length)` is RAM below 4 GiB that nobody writes.
unsafe fn physical(address: u64, length: usize) -> &'static [u8] {
    // SAFETY: the boot page tables map the first 4 GiB there; the rest is the caller's.
    unsafe { slice::from_raw_parts((DIRECT_MAP + address as usize) as *const u8, length) }
}

/// Reads what QEMU's `-kernel` passes.
fn read_pvh(address: u64) -> Option<Passed> {
    // SAFETY: the protocol passes the address of the structure, below 4 GiB.
    let info = StartInfo::read(unsafe { physical(address, pvh::SIZE) })?;
    let size = info.memory_entries * pvh::MEMORY_STRIDE;
    // SAFETY: the protocol passes the addresses of its parts, in memory below 4 GiB; whatever
    // follows the command line and the root pointer there is RAM too.
    let (modules, command_line, rsdp, memory) = unsafe {
        (
            info.modules.map(|address| physical(address, pvh::MODULE_SIZE)),
            info.command_line.map(|address| physical(address, COMMAND_LINE_SIZE)),
            info.rsdp.map(|address| physical(address, RSDP_SIZE)),
            physical(info.memory, size),
        )
    };
    Some(Passed {
        protocol: "PVH",
        command_line: until_nul(command_line.unwrap_or(&[])),
        rsdp,
        memory: E820Table::new(memory, pvh::MEMORY_STRIDE),
        ram_disk: modules.and_then(pvh::module),
        framebuffer: None,
    })
}

/// Reads what GRUB passes.
fn read_multiboot2(address: u64) -> Option<Passed> {
    // SAFETY: the protocol passes the address of its information, which begins with its size.
    let size = multiboot2::size(unsafe { physical(address, 8) })?;
    // SAFETY: as above; `size` is the length of the whole.
    let info = multiboot2::Information::read(unsafe { physical(address, size) });
    Some(Passed {
        protocol: "multiboot2",
        command_line: info.command_line,
        rsdp: info.rsdp,
        memory: info.memory,
        ram_disk: info.module,
        framebuffer: info.framebuffer,
    })
}

/// A page that further CPUs can start in: the highest usable one below 1 MiB, which they reach in
/// real mode.
fn low_page(memory: &E820Table<'_>) -> Option<u64> {
    let pages = memory.entries().filter(|entry| entry.kind == MemoryKind::Usable).map(|entry| {
        let end = entry.start.saturating_add(entry.length).min(REAL_MODE_END);
        (entry.start, (end / PAGE * PAGE).saturating_sub(PAGE))
    });
    let pages = pages.filter(|&(start, page)| page >= start.max(BIOS_DATA_END));
    let is_free = |page: u64| {
        let touches = |start: u64, length: u64| start < page + PAGE && start + length > page;
        let mut taken = memory.entries().filter(|entry| entry.kind != MemoryKind::Usable);
        !taken.any(|entry| touches(entry.start, entry.length))
    };
    pages.map(|(_, page)| page).filter(|&page| is_free(page)).max()
}

/// Copies what the protocol passed to where it stays.
fn keep(passed: &Passed) -> &'static BootInfo {
    let found = Found {
        protocol: passed.protocol,
        command_line: passed.command_line,
        rsdp: passed.rsdp,
        ram_disk: passed.ram_disk,
        device_tree: None,
        framebuffer: passed.framebuffer,
    };
    boot_info::keep(&found, |map| {
        // The first pages hold the BIOS's data: never given out.
        map.add(0, BIOS_DATA_END, MemoryKind::Reserved);
        if let Some(page) = low_page(&passed.memory) {
            smp::set_trampoline(page);
            map.add(page, PAGE, MemoryKind::Kernel);
        }
        for entry in passed.memory.entries() {
            map.add(entry.start, entry.length, entry.kind);
        }
    })
}

/// Called by the trampoline, once, on the boot stack. `protocol`: 0 is PVH, 1 multiboot2.
extern "C" fn x86_64_boot(protocol: u32, information: u64) -> ! {
    console::init();
    let passed = match protocol {
        0 => read_pvh(information),
        _ => read_multiboot2(information),
    };
    let Some(passed) = passed else {
        console::write(b"Lemma: the boot loader passed no information that can be read.\r\n");
        super::power::halt();
    };
    let boot = keep(&passed);
    // SAFETY: defined in main.rs with this signature.
    unsafe { kernel_main(boot) }
}
