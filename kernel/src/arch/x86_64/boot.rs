//! From the boot loader to `kernel_main`.
//!
//! One image, two boot protocols: PVH (an ELF note that QEMU's `-kernel` follows) and
//! multiboot2 (a header that GRUB follows). Both enter 32-bit protected mode with paging
//! off, so one trampoline serves both: it builds boot page tables (the first 4 GiB mapped
//! one to one and at the direct map, the first GiB at the kernel's base), enters long mode
//! and calls [`x86_64_boot`], which turns what the protocol passed into a [`BootInfo`].
//!
//! The boot page tables are replaced by `paging.rs`.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::slice;

use super::console;
use super::layout::{DIRECT_MAP, kernel_image};
use crate::arch::memory_map::MemoryMap;
use crate::arch::traits::{BootInfo, MemoryKind, MemoryRegion, PhysAddr};

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

/// The stack on which start-up runs.
pub(super) const BOOT_STACK_SIZE: usize = 32 * 1024;

const COMMAND_LINE_SIZE: usize = 4096;
const RSDP_SIZE: usize = 36;
const REGIONS: usize = 128;

/// What outlives the boot loader's memory: everything that [`BootInfo`] refers to.
struct BootStorage {
    command_line: [u8; COMMAND_LINE_SIZE],
    rsdp: [u8; RSDP_SIZE],
    collected: MemoryMap,
    regions: [MemoryRegion; REGIONS],
    info: BootInfo,
}

struct BootCell(UnsafeCell<BootStorage>);

// SAFETY: written only by `x86_64_boot`, on one CPU before anything else runs; shared after.
unsafe impl Sync for BootCell {}

static STORAGE: BootCell = BootCell(UnsafeCell::new(BootStorage {
    command_line: [0; COMMAND_LINE_SIZE],
    rsdp: [0; RSDP_SIZE],
    collected: MemoryMap::new(),
    regions: [MemoryRegion { start: PhysAddr(0), length: 0, kind: MemoryKind::Reserved }; REGIONS],
    info: BootInfo {
        command_line: "",
        memory: &[],
        rsdp: None,
        device_tree: None,
        protocol: "unknown",
    },
}));

/// What a boot protocol said, as views of its own memory.
struct Passed {
    protocol: &'static str,
    command_line: &'static [u8],
    rsdp: Option<u64>,
    /// (start, length, e820 type)
    memory: MemoryTable,
}

/// A firmware memory map: entries of `stride` bytes that begin {u64 start, u64 length, u32 type}.
struct MemoryTable {
    bytes: &'static [u8],
    stride: usize,
}

/// Bytes of physical memory, through the boot page tables' direct map.
///
/// # Safety
/// `[address, address + length)` is RAM below 4 GiB that nobody writes.
unsafe fn physical(address: u64, length: usize) -> &'static [u8] {
    // SAFETY: the boot page tables map the first 4 GiB there; the rest is the caller's.
    unsafe { slice::from_raw_parts((DIRECT_MAP + address as usize) as *const u8, length) }
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let word = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    let word = bytes.get(offset..offset.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().ok()?))
}

/// Up to the first NUL.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or(&[])
}

/// Reads Xen's `struct hvm_start_info` (public/arch-x86/hvm/start_info.h).
fn read_pvh(address: u64) -> Option<Passed> {
    const MAGIC: u32 = 0x336e_c578;
    // SAFETY: the PVH protocol passes the address of the structure, below 4 GiB.
    let info = unsafe { physical(address, 56) };
    if u32_at(info, 0)? != MAGIC || u32_at(info, 4)? < 1 {
        return None;
    }
    let command_line = match u64_at(info, 24)? {
        0 => &[][..],
        // SAFETY: the protocol passes a NUL-terminated string in low memory.
        address => until_nul(unsafe { physical(address, COMMAND_LINE_SIZE) }),
    };
    let entries = u32_at(info, 48)? as usize;
    // SAFETY: the protocol passes the address and the number of entries of 24 bytes.
    let bytes = unsafe { physical(u64_at(info, 40)?, entries * 24) };
    Some(Passed {
        protocol: "PVH",
        command_line,
        rsdp: u64_at(info, 32).filter(|&address| address != 0),
        memory: MemoryTable { bytes, stride: 24 },
    })
}

/// Reads the tags of Multiboot2 Specification 2.0, section 3.6.
fn read_multiboot2(address: u64) -> Option<Passed> {
    // SAFETY: the protocol passes the address of its information, which begins with its size.
    let size = u32_at(unsafe { physical(address, 8) }, 0)? as usize;
    // SAFETY: as above; `size` is the length of the whole structure.
    let info = unsafe { physical(address, size) };
    let mut passed = Passed {
        protocol: "multiboot2",
        command_line: &[],
        rsdp: None,
        memory: MemoryTable { bytes: &[], stride: 24 },
    };
    let mut offset = 8;
    while let (Some(kind), Some(length)) = (u32_at(info, offset), u32_at(info, offset + 4)) {
        let tag = info.get(offset..offset + length as usize)?;
        match kind {
            0 => break,
            1 => passed.command_line = until_nul(tag.get(8..)?),
            6 => {
                passed.memory =
                    MemoryTable { bytes: tag.get(16..)?, stride: u32_at(tag, 8)? as usize };
            }
            // A copy of the ACPI root pointer, version 1 or 2; the newer one comes later.
            14 | 15 => passed.rsdp = Some(address + offset as u64 + 8),
            _ => {}
        }
        offset += (length as usize).next_multiple_of(8);
        if length < 8 {
            break;
        }
    }
    Some(passed)
}

/// The types of the BIOS function INT 15h, AX=E820h (ACPI Specification 6.5, section 15).
fn memory_kind(e820: u32) -> MemoryKind {
    match e820 {
        1 => MemoryKind::Usable,
        3 => MemoryKind::AcpiReclaimable,
        _ => MemoryKind::Reserved,
    }
}

/// Copies what the protocol passed to where it stays.
fn keep(storage: &'static mut BootStorage, passed: &Passed) -> &'static BootInfo {
    let map = &mut storage.collected;
    // The first pages hold the BIOS's data and are where further CPUs start: never given out.
    map.add(0, 0x10000, MemoryKind::Reserved);
    let image = kernel_image();
    map.add(image.start, image.end - image.start, MemoryKind::Kernel);
    for entry in passed.memory.bytes.chunks_exact(passed.memory.stride.max(20)) {
        if let (Some(start), Some(length), Some(kind)) =
            (u64_at(entry, 0), u64_at(entry, 8), u32_at(entry, 16))
        {
            map.add(start, length, memory_kind(kind));
        }
    }
    let regions = map.normalize(&mut storage.regions);

    let length = passed.command_line.len().min(COMMAND_LINE_SIZE);
    if let (Some(to), Some(from)) =
        (storage.command_line.get_mut(..length), passed.command_line.get(..length))
    {
        to.copy_from_slice(from);
    }
    let rsdp = passed.rsdp.map(|address| {
        // SAFETY: the protocol passes the address of a root pointer in RAM; the bytes after a
        // version-1 pointer are readable too and are not interpreted.
        storage.rsdp.copy_from_slice(unsafe { physical(address, RSDP_SIZE) });
        PhysAddr(super::layout::image_to_phys(storage.rsdp.as_ptr() as usize))
    });
    let command_line = storage.command_line.get(..length).unwrap_or(&[]);
    storage.info = BootInfo {
        command_line: core::str::from_utf8(command_line).unwrap_or("").trim(),
        memory: storage.regions.get(..regions).unwrap_or(&[]),
        rsdp,
        device_tree: None,
        protocol: passed.protocol,
    };
    &storage.info
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
    // SAFETY: runs once, before anything else; nobody else has a reference.
    let storage = unsafe { &mut *STORAGE.0.get() };
    let boot = keep(storage, &passed);
    // SAFETY: defined in main.rs with this signature.
    unsafe { kernel_main(boot) }
}
