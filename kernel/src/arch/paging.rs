//! The kernel's half of the address space.
//!
//! What an entry's bits mean and how the CPU is told of a tree stands in each machine's
//! `entry.rs` and `mmu.rs`; where things are, in its `layout.rs`.
//!
//! [`init`] builds the final kernel tables from the memory map: the image with text
//! read-execute, constants read-only and the rest not executable; the direct map of all RAM,
//! not executable, and read-only where it shows text, constants and compiled programs; no identity map, no page
//! below the stacks. User tables may share this half by copying its top-level entries
//! (table.rs), so all of those exist from `init` on and are never replaced.
//!
//! Locking: [`KERNEL_TABLES`] serialises changes below the top level.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::image::{
    data_end, data_start, kernel_image, kernel_symbols, ksyms_start, rodata_end, rodata_start,
    text_end, text_start,
};
use super::machine::layout::{
    DEVICE_END, DEVICE_START, DIRECT_MAP, KERNEL_BASE, KERNEL_MAP_END, KERNEL_MAP_START, LEVELS,
    image_to_phys,
};
use super::machine::{Entry, guard_pages, mmu};
use super::traits::{BootInfo, CacheMode, MapError, MemoryKind, PAGE_SIZE, PhysAddr, Protection};
use super::up;

/// The level of the kernel's root table; 1 is that of the tables that hold pages.
pub(super) const ROOT_LEVEL: u32 = LEVELS;
const SIZE_2M: u64 = 2 << 20;

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

/// Bytes that one entry of a table at `level` covers.
pub(super) const fn span(level: u32) -> usize {
    PAGE_SIZE << (9 * (level - 1))
}

/// The index of an address in a table of `level`.
#[inline]
pub(super) const fn index(address: usize, level: u32) -> usize {
    address >> (12 + 9 * (level - 1)) & 511
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
unsafe fn entry_making(root: u64, address: usize, level: u32) -> Result<*mut Entry, MapError> {
    let mut current = root;
    for step in (level + 1..=ROOT_LEVEL).rev() {
        // SAFETY: `current` is a table of the tree; the index is below 512.
        let entry = unsafe { &mut (*table(current))[index(address, step)] };
        if !entry.is_present() {
            *entry = Entry::kernel_table(new_table()?);
        } else if entry.is_huge() {
            return Err(MapError::AlreadyMapped);
        }
        current = entry.frame();
    }
    // SAFETY: as above.
    Ok(unsafe { &raw mut (*table(current))[index(address, level)] })
}

/// Finds the entry of a 4 KiB page, if its tables exist; `levels`: how many the tree has.
///
/// # Safety
/// As for `entry_making`.
#[inline]
pub(super) unsafe fn entry_finding(root: u64, levels: u32, address: usize) -> Option<*mut Entry> {
    let mut current = root;
    for level in (2..=levels).rev() {
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

/// Maps `[address, address + length)` to `[frame, …)` with the largest pages that fit.
///
/// # Safety
/// `root` is a tree under construction, or its lock is held.
unsafe fn map_range(
    root: u64,
    address: usize,
    frame: u64,
    length: u64,
    protection: Protection,
    cache: CacheMode,
) -> Result<(), MapError> {
    let (mut address, mut frame, mut length) = (address, frame, length);
    while length > 0 {
        let fits = |level: u32| {
            let size = span(level) as u64;
            mmu::has_blocks(level)
                && (address as u64 | frame).is_multiple_of(size)
                && length >= size
        };
        let level = [3, 2].into_iter().find(|&level| fits(level)).unwrap_or(1);
        let new = Entry::kernel(PhysAddr(frame), protection, cache, level > 1)?;
        // SAFETY: the caller's promise.
        let entry = unsafe { entry_making(root, address, level)? };
        // SAFETY: the entry is in a table of the tree.
        unsafe { *entry = new };
        address += span(level);
        frame += span(level) as u64;
        length -= (span(level) as u64).min(length);
    }
    mmu::mapped_kernel();
    Ok(())
}

/// Cuts `[start, end)` at `at`, if that is inside.
fn split_at(start: u64, end: u64, at: u64) -> u64 {
    if start < at && at < end { at } else { end }
}

/// Maps RAM at the direct map: read-only where it shows the kernel's text and constants, and
/// compiled programs.
///
/// # Safety
/// As for `map_range`.
unsafe fn map_direct(root: u64, boot: &BootInfo) -> Result<(), MapError> {
    let image = kernel_image();
    // Text, constants; then variables; then symbols.
    let constant = [
        image_to_phys(text_start())..image_to_phys(rodata_end()),
        image_to_phys(ksyms_start())..image.end,
        up::code_frames(),
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
            let protection = if constant.iter().any(|range| range.contains(&start)) {
                Protection::READ
            } else {
                Protection::READ | Protection::WRITE
            };
            let (address, length) = (DIRECT_MAP + start as usize, end - start);
            // SAFETY: the caller's promise.
            unsafe { map_range(root, address, start, length, protection, CacheMode::Normal)? };
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
        let (frame, length) = (image_to_phys(start), (end - start) as u64);
        // SAFETY: the caller's promise.
        unsafe { map_range(root, start, frame, length, protection, CacheMode::Normal)? };
    }
    for guard in guard_pages() {
        // SAFETY: the caller's promise.
        if let Some(entry) = unsafe { entry_finding(root, ROOT_LEVEL, guard) } {
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
            entry_making(root, start, 2)?;
        }
    }
    Ok(root)
}

/// See [`crate::arch::Architecture::init_paging`].
#[expect(clippy::expect_used, reason = "start-up cannot go on without page tables")]
pub(super) fn init(boot: &BootInfo) {
    let root = build(boot).expect("no memory for the kernel's page tables");
    ROOT.store(root, Ordering::Relaxed);
    mmu::install_kernel(root);
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
    let new = Entry::kernel(frame, protection, cache, false)?;
    if protection.contains(Protection::EXECUTE) {
        mmu::prepare_code(frame.0);
    }
    let _guard = KERNEL_TABLES.lock();
    // SAFETY: the lock is held.
    let entry = unsafe { entry_making(root(), page, 1)? };
    // SAFETY: the entry is in a table of the tree, whose lock is held.
    unsafe {
        if (*entry).is_present() {
            return Err(MapError::AlreadyMapped);
        }
        *entry = new;
    }
    mmu::mapped_kernel();
    Ok(())
}

/// See [`crate::arch::Architecture::unmap_kernel`].
pub(super) fn unmap_kernel(page: usize) -> Option<PhysAddr> {
    if !(KERNEL_MAP_START..KERNEL_MAP_END).contains(&page) {
        return None;
    }
    let _guard = KERNEL_TABLES.lock();
    // SAFETY: the lock is held.
    let entry = unsafe { entry_finding(root(), ROOT_LEVEL, page)? };
    // SAFETY: the entry is in a table of the tree, whose lock is held.
    let old = unsafe { entry.replace(Entry::EMPTY) };
    if !old.is_present() {
        return None;
    }
    mmu::flush(page);
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
    let mut tables = KERNEL_TABLES.lock();
    // Large pages, where the request is large.
    let alignment = if size as u64 >= SIZE_2M { SIZE_2M as usize } else { PAGE_SIZE };
    let page = tables.device.next_multiple_of(alignment) + frame as usize % alignment;
    let end = page.checked_add(size).filter(|&end| end <= DEVICE_END);
    let end = end.ok_or(MapError::OutOfMemory)?;
    // SAFETY: the lock is held.
    unsafe { map_range(root(), page, frame, size as u64, protection, cache)? };
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
