//! What machines with a device tree take from it in the same way: the tree itself, the console's
//! place, the PCI host bridge, firmware's random words.

use alloc::vec::Vec;
use core::slice;

use kernel_boot::Loaded;
use kernel_fdt::{Device, DeviceTree, Interrupt, PciInterrupts, PciRoute, PciWindows};

use super::boot_info::{self, Found};
use super::machine::console;
use super::machine::layout::DIRECT_MAP;
use super::machine::platform::platform;
use super::paging::{self, map_firmware};
use super::traits::{BootInfo, IrqLine, MemoryKind, PciHost, PciWindow, PhysAddr, VirtioRegisters};

/// Bytes of physical memory, through the boot page tables' direct map.
///
/// # Safety
/// `[address, address + length)` is RAM that nobody writes, and mapped.
unsafe fn physical(address: u64, length: usize) -> &'static [u8] {
    // SAFETY: the caller's promise.
    unsafe { slice::from_raw_parts((DIRECT_MAP + address as usize) as *const u8, length) }
}

/// The bytes of the device tree at a physical address.
pub(super) fn bytes(address: u64) -> Option<&'static [u8]> {
    if !address.is_multiple_of(8) {
        return None;
    }
    // SAFETY: the boot protocol passes the address of a device tree, which lies in RAM, below a
    // boundary of 2 MiB, and which the memory map keeps from being used.
    let length = kernel_fdt::size(unsafe { physical(address, 8) })?;
    // SAFETY: as above; the length is the tree's own.
    Some(unsafe { physical(address, length) })
}

/// What the boot loader passed, by the tree at `address`, of `length` bytes, that it passed.
pub(super) fn boot_info(tree: &DeviceTree<'_>, address: u64, length: u64) -> &'static BootInfo {
    let found = Found {
        protocol: "a device tree",
        command_line: tree.command_line(),
        rsdp: None,
        ram_disk: tree.ram_disk().and_then(|(start, length)| Loaded::of(start, length)),
        device_tree: Some(PhysAddr(address)),
        framebuffer: None,
    };
    boot_info::keep(&found, |map| {
        map.add(address, length, MemoryKind::Kernel);
        tree.reserved(|start, length| {
            map.add(start, length, MemoryKind::Reserved);
        });
        tree.memory(|start, length| {
            map.add(start, length, MemoryKind::Usable);
        });
    })
}

/// The device tree, through a mapping of its own that lasts. After `init_paging`.
pub(super) fn read(address: Option<PhysAddr>) -> Option<DeviceTree<'static>> {
    let address = address?;
    let length = bytes(address.0)?.len();
    let start = map_firmware(address, length).ok()?;
    // SAFETY: just mapped, read-only, never unmapped; nobody writes the tree.
    DeviceTree::read(unsafe { slice::from_raw_parts(start as *const u8, length) })
}

/// See [`crate::arch::Architecture::init_paging`].
pub(super) fn init_paging(boot: &'static BootInfo) {
    // The device window moves: until the console's registers are in it, nothing is printed.
    let registers = console::registers(boot);
    console::moved(0);
    paging::init(boot);
    if let Some(base) = registers
        .and_then(|(start, length)| paging::map_device(PhysAddr(start), length as usize).ok())
    {
        console::moved(base);
    }
}

/// The interrupt line of the console's device.
pub(super) fn console_line() -> Option<IrqLine> {
    let interrupt = platform().console?;
    Some(IrqLine { number: interrupt.number, level: interrupt.level, active_low: false })
}

/// Firmware's random words; empty if it gave none.
pub(super) fn seed(tree: &DeviceTree<'_>) -> Vec<u64> {
    let seed = tree.property("/chosen", "rng-seed").unwrap_or_default();
    seed.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect()
}

/// VirtIO devices with registers in memory, and their interrupts, which are `controller`'s.
pub(super) fn virtio(tree: &DeviceTree<'_>, controller: &Device<'_>) -> Vec<VirtioRegisters> {
    let mut found = Vec::new();
    let _: Option<()> = tree.find_map(&["virtio,mmio"], |device| {
        let registers = device.registers().next();
        let interrupt = device.interrupt_at(0, controller);
        if let (Some((start, length)), Some(Interrupt { number, level })) = (registers, interrupt) {
            found.push(VirtioRegisters {
                start: PhysAddr(start),
                length,
                interrupt: IrqLine { number, level, active_low: false },
            });
        }
        None
    });
    found
}

/// PCI as the tree describes it.
#[derive(Debug, Default)]
pub(super) struct Pci {
    pub(super) hosts: Vec<PciHost>,
    routes: Vec<PciRoute>,
    /// Which bits of a slot's number the wiring looks at.
    slot_mask: u8,
}

impl Pci {
    /// Nothing.
    pub(super) const EMPTY: Self = Self { hosts: Vec::new(), routes: Vec::new(), slot_mask: 0 };

    /// The host bridge whose interrupts are wired to `controller`.
    pub(super) fn read(tree: &DeviceTree<'_>, controller: &Device<'_>) -> Option<Self> {
        let bridge = tree.find(&["pci-host-ecam-generic"])?;
        let (start, length) = bridge.registers().next()?;
        let buses = bridge.property("bus-range").and_then(|bytes| {
            let (first, last) = bytes.split_first_chunk::<4>()?;
            let last = last.first_chunk::<4>()?;
            Some((u32::from_be_bytes(*first) as u8, u32::from_be_bytes(*last) as u8))
        });
        let (first_bus, last_bus) = buses.unwrap_or((0, 255));
        // A megabyte of configuration space for each bus.
        let reachable = (length >> 20).saturating_sub(1).min(255) as u8;
        let unassigned = PciWindows::of(&bridge)
            .find(|window| window.bus_address == window.cpu_address)
            .map(|window| PciWindow { start: PhysAddr(window.cpu_address), length: window.length });
        let host = PciHost {
            configuration: Some(PhysAddr(start)),
            segment: 0,
            first_bus,
            last_bus: last_bus.min(first_bus.saturating_add(reachable)),
            unassigned,
        };
        let wires = PciInterrupts::of(&bridge, controller);
        let slot_mask = wires.slot_mask;
        Some(Self { hosts: Vec::from([host]), routes: wires.collect(), slot_mask })
    }

    /// See [`crate::arch::Architecture::pci_line`].
    pub(super) fn line(&self, bus: u8, slot: u8, pin: u8) -> Option<IrqLine> {
        // Pins behind bridges are wired through the bridges' own.
        if bus != 0 {
            return None;
        }
        let slot = slot & self.slot_mask;
        let route = self.routes.iter().find(|route| route.slot == slot && route.pin == pin)?;
        let interrupt = route.interrupt;
        Some(IrqLine { number: interrupt.number, level: interrupt.level, active_low: false })
    }
}

/// See [`crate::arch::Architecture::pci_hosts`].
pub(super) fn pci_hosts() -> &'static [PciHost] {
    &platform().pci.hosts
}

/// See [`crate::arch::Architecture::pci_line`].
pub(super) fn pci_line(bus: u8, slot: u8, pin: u8, _: u8) -> Option<IrqLine> {
    platform().pci.line(bus, slot, pin)
}

/// See [`crate::arch::Architecture::pci_port_read`]. No machine here has it.
pub(super) fn pci_port_read(_: u8, _: u8, _: u16) -> u32 {
    u32::MAX
}

/// See [`crate::arch::Architecture::pci_port_write`].
pub(super) fn pci_port_write(_: u8, _: u8, _: u16, _: u32) {}

/// See [`crate::arch::Architecture::virtio_registers`].
pub(super) fn virtio_registers() -> &'static [VirtioRegisters] {
    &platform().virtio
}
