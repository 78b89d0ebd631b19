//! What the boot code found, copied out of the boot loader's memory to where it stays.

use core::cell::UnsafeCell;

use kernel_boot::{Loaded, MemoryMap};

use super::image::kernel_image;
use super::machine::layout::image_to_phys;
use super::traits::{BootInfo, Framebuffer, MemoryKind, MemoryRegion, PhysAddr, RamDisk};

const COMMAND_LINE_SIZE: usize = 4096;
const RSDP_SIZE: usize = 36;
const REGIONS: usize = 128;

/// What a boot protocol passed, as views of its own memory.
pub(super) struct Found<'a> {
    pub(super) protocol: &'static str,
    pub(super) command_line: &'a [u8],
    /// ACPI's root pointer itself.
    pub(super) rsdp: Option<&'a [u8]>,
    /// Where the RAM disk should be.
    pub(super) ram_disk: Option<Loaded>,
    /// Where the device tree is and stays.
    pub(super) device_tree: Option<PhysAddr>,
    pub(super) framebuffer: Option<Framebuffer>,
}

/// What outlives the boot loader's memory: everything that [`BootInfo`] refers to.
struct BootStorage {
    command_line: [u8; COMMAND_LINE_SIZE],
    rsdp: [u8; RSDP_SIZE],
    collected: MemoryMap,
    regions: [MemoryRegion; REGIONS],
    info: BootInfo,
}

struct BootCell(UnsafeCell<BootStorage>);

// SAFETY: written only by [`keep`], on one CPU before anything else runs; shared after.
unsafe impl Sync for BootCell {}

static STORAGE: BootCell = BootCell(UnsafeCell::new(BootStorage {
    command_line: [0; COMMAND_LINE_SIZE],
    rsdp: [0; RSDP_SIZE],
    collected: MemoryMap::new(),
    regions: [MemoryRegion { start: PhysAddr(0), length: 0, kind: MemoryKind::Reserved }; REGIONS],
    info: BootInfo {
        command_line: "",
        memory: &[],
        ram_disk: None,
        rsdp: None,
        device_tree: None,
        framebuffer: None,
        protocol: "unknown",
    },
}));

/// Copies as much as fits; returns how much that is.
fn copy(to: &mut [u8], from: &[u8]) -> usize {
    to.iter_mut().zip(from).map(|(to, from)| *to = *from).count()
}

/// Keeps what was found, with the memory map that `fill` adds to; the kernel's image is in it
/// already. Called once, on the boot CPU, before anything else runs.
pub(super) fn keep(found: &Found<'_>, fill: impl FnOnce(&mut MemoryMap)) -> &'static BootInfo {
    // SAFETY: runs once, before anything else; nobody else has a reference.
    let storage = unsafe { &mut *STORAGE.0.get() };
    let map = &mut storage.collected;
    let image = kernel_image();
    map.add(image.start, image.end - image.start, MemoryKind::Kernel);
    fill(map);
    // One that is not where it can be is left alone, and so is whatever is there.
    let ram_disk = found.ram_disk.filter(|disk| map.is_usable(disk.start, disk.length));
    if let Some(disk) = ram_disk {
        map.add(disk.start, disk.length, MemoryKind::Kernel);
    }
    let mut count = 0;
    map.for_each(|start, length, kind| {
        if let Some(slot) = storage.regions.get_mut(count) {
            *slot = MemoryRegion { start: PhysAddr(start), length, kind };
            count += 1;
        }
    });
    let length = copy(&mut storage.command_line, found.command_line);
    let rsdp = found.rsdp.map(|pointer| {
        copy(&mut storage.rsdp, pointer);
        PhysAddr(image_to_phys(storage.rsdp.as_ptr() as usize))
    });
    let command_line = storage.command_line.get(..length).unwrap_or(&[]);
    storage.info = BootInfo {
        command_line: core::str::from_utf8(command_line).unwrap_or("").trim(),
        ram_disk: ram_disk.map(|disk| RamDisk { start: PhysAddr(disk.start), length: disk.length }),
        memory: storage.regions.get(..count).unwrap_or(&[]),
        rsdp,
        device_tree: found.device_tree,
        framebuffer: found.framebuffer,
        protocol: found.protocol,
    };
    &storage.info
}
