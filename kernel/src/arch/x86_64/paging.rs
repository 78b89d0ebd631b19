//! The kernel's half of the address space.
//!
//! [`init`] builds the final kernel tables from the memory map: the image with text
//! read-execute, constants read-only and the rest not executable; the direct map of all RAM,
//! not executable, and read-only where it shows text and constants; no identity map, no page
//! below the stacks. Every user table shares this half by copying its top-level entries
//! (table.rs), so all of those exist from `init` on and are never replaced.
//!
//! Locking: [`KERNEL_TABLES`] serialises changes below the top level.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::SpinLock;
use x86_64::VirtAddr;
use x86_64::instructions::tlb;

use super::cpu::{self, FEATURES, has};
use super::entry::{Entry, Flags, index};
use super::layout::{
    DEVICE_END, DEVICE_START, DIRECT_MAP, KERNEL_BASE, KERNEL_MAP_END, KERNEL_MAP_START, data_end,
    data_start, image_to_phys, kernel_image, kernel_symbols, ksyms_start, rodata_end, rodata_start,
    text_end, text_start,
};
use crate::arch::traits::{
    BootInfo, CacheMode, MapError, MemoryKind, PAGE_SIZE, PhysAddr, Protection,
};
use crate::arch::up;

pub(super) const SIZE_2M: u64 = 2 << 20;
pub(super) const SIZE_1G: u64 = 1 << 30;
const SIZE_4K: u64 = PAGE_SIZE as u64;

/// The kernel's top-level table; user tables copy its upper half.
static ROOT: AtomicU64 = AtomicU64::new(0);

/// Guards the kernel's tables below the top level, and the next free device address.
static KERNEL_TABLES: SpinLock<KernelTables> = SpinLock::new(KernelTables { device: DEVICE_START });

struct KernelTables {
    device: usize,
}

/// The physical address of the kernel's own top-level table.
pub(super) fn root() -> u64 {
    ROOT.load(Ordering::Relaxed)
}

/// A page table at a physical address, through the direct map.
pub(super) fn table(address: u64) -> *mut [Entry; 512] {
    (DIRECT_MAP + address as usize) as *mut [Entry; 512]
}

/// A cleared frame for a table.
pub(super) fn new_table() -> Result<u64, MapError> {
    up::alloc_table_frame().map(|frame| frame.0).ok_or(MapError::OutOfMemory)
}

/// Finds the entry for `address` at `level` (1: 4 KiB, 2: 2 MiB, 3: 1 GiB), making tables.
///
/// # Safety
/// `root` is a page-table tree that nobody else changes meanwhile.
pub(super) unsafe fn entry_making(
    root: u64,
    address: usize,
    level: u32,
    table_flags: Flags,
) -> Result<*mut Entry, MapError> {
    let mut current = root;
    for step in (level + 1..=4).rev() {
        // SAFETY: `current` is a table of the tree; the index is below 512.
        let entry = unsafe { &mut (*table(current))[index(address, step)] };
        if !entry.is_present() {
            *entry = Entry::new(new_table()?, table_flags);
        } else if entry.is_huge() {
            return Err(MapError::AlreadyMapped);
        }
        current = entry.frame();
    }
    // SAFETY: as above.
    Ok(unsafe { &raw mut (*table(current))[index(address, level)] })
}

/// Finds the entry of a 4 KiB page, if its tables exist.
///
/// # Safety
/// As for `entry_making`.
pub(super) unsafe fn entry_finding(root: u64, address: usize) -> Option<*mut Entry> {
    let mut current = root;
    for level in (2..=4).rev() {
        // SAFETY: as in `entry_making`.
        let entry = unsafe { (*table(current))[index(address, level)] };
        if !entry.is_present() || entry.is_huge() {
            return None;
        }
        current = entry.frame();
    }
    // SAFETY: as in `entry_making`.
    Some(unsafe { &raw mut (*table(current))[index(address, 1)] })
}

/// The flags of a kernel page.
fn kernel_flags(protection: Protection, cache: CacheMode) -> Result<Flags, MapError> {
    if protection.contains(Protection::WRITE | Protection::EXECUTE) {
        return Err(MapError::WriteAndExecute);
    }
    if protection.contains(Protection::USER) {
        return Err(MapError::BadAddress);
    }
    let mut flags = Flags::PRESENT | Flags::GLOBAL | Flags::ACCESSED | Flags::DIRTY;
    flags.set(Flags::WRITABLE, protection.contains(Protection::WRITE));
    flags.set(Flags::NO_EXECUTE, !protection.contains(Protection::EXECUTE));
    if cache == CacheMode::Device {
        // The page-attribute table's entry 3 is "uncacheable" after reset.
        flags |= Flags::NO_CACHE | Flags::WRITE_THROUGH;
    }
    Ok(flags)
}

/// Maps `[address, address + length)` to `[frame, …)` with the largest pages that fit.
///
/// # Safety
/// `root` is a tree under construction, or its lock is held.
unsafe fn map_range(
    root: u64,
    address: usize,
    frame: u64,
    length: u64,
    flags: Flags,
) -> Result<(), MapError> {
    let (mut address, mut frame, mut length) = (address, frame, length);
    while length > 0 {
        let fits = |size: u64| (address as u64 | frame).is_multiple_of(size) && length >= size;
        let (level, size) = if has(&FEATURES.huge_pages) && fits(SIZE_1G) {
            (3, SIZE_1G)
        } else if fits(SIZE_2M) {
            (2, SIZE_2M)
        } else {
            (1, SIZE_4K)
        };
        let huge = if level > 1 { Flags::HUGE } else { Flags::empty() };
        // SAFETY: the caller's promise.
        let entry = unsafe { entry_making(root, address, level, Flags::KERNEL_TABLE)? };
        // SAFETY: the entry is in a table of the tree.
        unsafe { *entry = Entry::new(frame, flags | huge) };
        address += size as usize;
        frame += size;
        length -= size.min(length);
    }
    Ok(())
}

/// Cuts `[start, end)` at `at`, if that is inside.
fn split_at(start: u64, end: u64, at: u64) -> u64 {
    if start < at && at < end { at } else { end }
}

/// Maps RAM at the direct map: read-only where it shows the kernel's text and constants.
///
/// # Safety
/// As for `map_range`.
unsafe fn map_direct(root: u64, boot: &BootInfo) -> Result<(), MapError> {
    let read_write = kernel_flags(Protection::READ | Protection::WRITE, CacheMode::Normal)?;
    let read_only = kernel_flags(Protection::READ, CacheMode::Normal)?;
    let image = kernel_image();
    // Text, constants; then variables; then symbols.
    let constant = [
        image_to_phys(text_start())..image_to_phys(rodata_end()),
        image_to_phys(ksyms_start())..image.end,
    ];
    for region in boot.memory {
        if region.kind == MemoryKind::Reserved {
            continue;
        }
        let (mut start, region_end) = (region.start.0, region.start.0 + region.length);
        while start < region_end {
            let mut end = region_end;
            for range in &constant {
                end = split_at(start, end, range.start);
                end = split_at(start, end, range.end);
            }
            let flags = if constant.iter().any(|range| range.contains(&start)) {
                read_only
            } else {
                read_write
            };
            // SAFETY: the caller's promise.
            unsafe { map_range(root, DIRECT_MAP + start as usize, start, end - start, flags)? };
            start = end;
        }
    }
    Ok(())
}

/// Maps the kernel image, each part with its protection.
///
/// # Safety
/// As for `map_range`.
unsafe fn map_image(root: u64) -> Result<(), MapError> {
    let symbols_end = (ksyms_start() + kernel_symbols().len().max(16)).next_multiple_of(PAGE_SIZE);
    let parts = [
        (text_start(), text_end(), Protection::READ | Protection::EXECUTE),
        (rodata_start(), rodata_end(), Protection::READ),
        (data_start(), data_end(), Protection::READ | Protection::WRITE),
        (ksyms_start(), symbols_end, Protection::READ),
    ];
    for (start, end, protection) in parts {
        let flags = kernel_flags(protection, CacheMode::Normal)?;
        let length = (end - start) as u64;
        // SAFETY: the caller's promise.
        unsafe { map_range(root, start, image_to_phys(start), length, flags)? };
    }
    for guard in cpu::guard_pages() {
        // SAFETY: the caller's promise.
        if let Some(entry) = unsafe { entry_finding(root, guard) } {
            // SAFETY: the entry is in a table of the tree.
            unsafe { *entry = Entry::EMPTY };
        }
    }
    Ok(())
}

fn build(boot: &BootInfo) -> Result<u64, MapError> {
    let root = new_table()?;
    // SAFETY: the tree is under construction and nobody else knows it.
    unsafe {
        map_direct(root, boot)?;
        map_image(root)?;
        // The tables that later mappings go through, so that their top-level entry exists.
        for start in [KERNEL_BASE, KERNEL_MAP_START, DEVICE_START] {
            entry_making(root, start, 2, Flags::KERNEL_TABLE)?;
        }
    }
    Ok(root)
}

/// See [`crate::arch::Architecture::init_paging`].
#[expect(clippy::expect_used, reason = "start-up cannot go on without page tables")]
pub(super) fn init(boot: &BootInfo) {
    let root = build(boot).expect("no memory for the kernel's page tables");
    ROOT.store(root, Ordering::Relaxed);
    activate(root);
}

/// Makes a tree this CPU's address space.
pub(super) fn activate(root: u64) {
    // SAFETY: every root that gets here maps the kernel's half as it is mapped now.
    unsafe { core::arch::asm!("mov cr3, {}", in(reg) root, options(nostack, preserves_flags)) };
}

/// The root of this CPU's address space.
pub(super) fn active() -> u64 {
    let value: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe {
        core::arch::asm!("mov {}, cr3", out(reg) value,
            options(nostack, nomem, preserves_flags));
    }
    value & Entry::FRAME
}

/// Forgets one page's translation on this CPU.
pub(super) fn flush(page: usize) {
    tlb::flush(VirtAddr::new_truncate(page as u64));
}

/// See [`crate::arch::Architecture::map_kernel`].
pub(super) fn map_kernel(
    page: usize,
    frame: PhysAddr,
    protection: Protection,
    cache: CacheMode,
) -> Result<(), MapError> {
    if !page.is_multiple_of(PAGE_SIZE) || !(KERNEL_MAP_START..KERNEL_MAP_END).contains(&page) {
        return Err(MapError::BadAddress);
    }
    let flags = kernel_flags(protection, cache)?;
    let _guard = KERNEL_TABLES.lock();
    // SAFETY: the lock is held.
    let entry = unsafe { entry_making(root(), page, 1, Flags::KERNEL_TABLE)? };
    // SAFETY: the entry is in a table of the tree, whose lock is held.
    unsafe {
        if (*entry).is_present() {
            return Err(MapError::AlreadyMapped);
        }
        *entry = Entry::new(frame.0, flags);
    }
    Ok(())
}

/// See [`crate::arch::Architecture::unmap_kernel`].
pub(super) fn unmap_kernel(page: usize) -> Option<PhysAddr> {
    if !(KERNEL_MAP_START..KERNEL_MAP_END).contains(&page) {
        return None;
    }
    let _guard = KERNEL_TABLES.lock();
    // SAFETY: the lock is held.
    let entry = unsafe { entry_finding(root(), page)? };
    // SAFETY: the entry is in a table of the tree, whose lock is held.
    let old = unsafe { entry.replace(Entry::EMPTY) };
    if !old.is_present() {
        return None;
    }
    flush(page);
    Some(PhysAddr(old.frame()))
}

/// Maps physical pages in the device window, which are never unmapped.
fn map_window(
    start: PhysAddr,
    length: usize,
    protection: Protection,
    cache: CacheMode,
) -> Result<usize, MapError> {
    let offset = start.0 as usize % PAGE_SIZE;
    let frame = start.0 - offset as u64;
    let size = (offset + length).next_multiple_of(PAGE_SIZE);
    if length == 0 || start.0.checked_add(length as u64).is_none() {
        return Err(MapError::BadAddress);
    }
    let flags = kernel_flags(protection, cache)?;
    let mut tables = KERNEL_TABLES.lock();
    // Large pages, where the request is large.
    let alignment = if size as u64 >= SIZE_2M { SIZE_2M as usize } else { PAGE_SIZE };
    let page = tables.device.next_multiple_of(alignment) + frame as usize % alignment;
    let end = page.checked_add(size).filter(|&end| end <= DEVICE_END);
    let end = end.ok_or(MapError::OutOfMemory)?;
    // SAFETY: the lock is held.
    unsafe { map_range(root(), page, frame, size as u64, flags)? };
    tables.device = end;
    Ok(page + offset)
}

/// See [`crate::arch::Architecture::map_device`].
pub(super) fn map_device(start: PhysAddr, length: usize) -> Result<usize, MapError> {
    map_window(start, length, Protection::READ | Protection::WRITE, CacheMode::Device)
}

/// Maps tables that firmware left in memory, to be read.
pub(super) fn map_firmware(start: PhysAddr, length: usize) -> Result<usize, MapError> {
    map_window(start, length, Protection::READ, CacheMode::Normal)
}
