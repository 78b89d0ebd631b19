//! What the device tree says of this machine, read once.

use alloc::vec::Vec;

use kernel_fdt::{Device, DeviceTree, Interrupt, PciInterrupts, PciRoute, PciWindows};
use kernel_sync::OnceCell;

use super::{boot, console};
use crate::arch::paging::map_firmware;
use crate::arch::traits::{IrqLine, PciHost, PciWindow, PhysAddr, VirtioRegisters};

/// A range of physical addresses: start and length.
pub(super) type Registers = (u64, u64);

/// The interrupt controller.
#[derive(Clone, Debug)]
pub(super) enum Controller {
    /// GICv2: distributor, CPU interface, and the frame that turns messages into interrupts.
    V2 { distributor: Registers, cpu: Registers, messages: Option<Registers> },
    /// GICv3 and later: distributor, and the regions with the CPUs' redistributors.
    V3 { distributor: Registers, redistributors: Vec<Registers> },
}

/// How firmware is called (Arm Power State Coordination Interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduit {
    Hypervisor,
    SecureMonitor,
}

/// Everything that the kernel takes from the tree after start-up.
#[derive(Debug, Default)]
pub(super) struct Platform {
    pub(super) controller: Option<Controller>,
    /// The virtual timer's interrupt.
    pub(super) timer: Option<Interrupt>,
    pub(super) console: Option<Interrupt>,
    /// A real-time clock (PL031).
    pub(super) clock: Option<Registers>,
    pub(super) firmware: Option<Conduit>,
    pub(super) pci: Vec<PciHost>,
    pub(super) pci_routes: Vec<PciRoute>,
    /// Which bits of a PCI slot's number the wiring looks at.
    pub(super) pci_slot_mask: u8,
    /// VirtIO devices with registers in memory.
    pub(super) virtio: Vec<VirtioRegisters>,
    /// The CPUs, as `MPIDR_EL1` and firmware name them.
    pub(super) cpus: Vec<u64>,
    /// Random bytes from firmware, as words.
    pub(super) seed: Vec<u64>,
}

static PLATFORM: OnceCell<Platform> = OnceCell::new();
static EMPTY: Platform = Platform {
    controller: None,
    timer: None,
    console: None,
    clock: None,
    firmware: None,
    pci: Vec::new(),
    pci_routes: Vec::new(),
    pci_slot_mask: 0,
    virtio: Vec::new(),
    cpus: Vec::new(),
    seed: Vec::new(),
};

/// What `init` found; nothing, before it.
pub(super) fn platform() -> &'static Platform {
    PLATFORM.get().unwrap_or(&EMPTY)
}

fn controller<'a>(tree: &DeviceTree<'a>) -> Option<(Controller, Device<'a>)> {
    if let Some(device) = tree.find(&["arm,gic-v3"]) {
        let mut registers = device.registers();
        let distributor = registers.next()?;
        let regions = device.property("#redistributor-regions");
        let regions = regions.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
        let redistributors = registers.take(regions.unwrap_or(1) as usize).collect();
        return Some((Controller::V3 { distributor, redistributors }, device));
    }
    let device = tree.find(&[
        "arm,cortex-a15-gic",
        "arm,gic-400",
        "arm,cortex-a7-gic",
        "arm,cortex-a9-gic",
    ])?;
    let mut registers = device.registers();
    let (distributor, cpu) = (registers.next()?, registers.next()?);
    let messages = tree.find(&["arm,gic-v2m-frame"]).and_then(|frame| frame.registers().next());
    Some((Controller::V2 { distributor, cpu, messages }, device))
}

fn read_pci(platform: &mut Platform, tree: &DeviceTree<'_>, controller: &Device<'_>) {
    let Some(bridge) = tree.find(&["pci-host-ecam-generic"]) else { return };
    let Some((start, length)) = bridge.registers().next() else { return };
    let buses = bridge.property("bus-range").and_then(|bytes| {
        let (first, last) = bytes.split_first_chunk::<4>()?;
        let last = last.first_chunk::<4>()?;
        Some((u32::from_be_bytes(*first) as u8, u32::from_be_bytes(*last) as u8))
    });
    let (first_bus, last_bus) = buses.unwrap_or((0, 255));
    // A megabyte of configuration space for each bus.
    let reachable = (length >> 20).saturating_sub(1).min(255) as u8;
    let window = PciWindows::of(&bridge)
        .find(|window| window.bus_address == window.cpu_address)
        .map(|window| PciWindow { start: PhysAddr(window.cpu_address), length: window.length });
    platform.pci.push(PciHost {
        configuration: Some(PhysAddr(start)),
        segment: 0,
        first_bus,
        last_bus: last_bus.min(first_bus.saturating_add(reachable)),
        unassigned: window,
    });
    let wires = PciInterrupts::of(&bridge, controller);
    platform.pci_slot_mask = wires.slot_mask;
    platform.pci_routes = wires.collect();
}

fn read_virtio(platform: &mut Platform, tree: &DeviceTree<'_>) {
    let _: Option<()> = tree.find_map(&["virtio,mmio"], |device| {
        let registers = device.registers().next();
        if let (Some((start, length)), Some(interrupt)) = (registers, device.interrupt(0)) {
            let Interrupt { number, level } = interrupt;
            platform.virtio.push(VirtioRegisters {
                start: PhysAddr(start),
                length,
                interrupt: IrqLine { number, level, active_low: false },
            });
        }
        None
    });
}

/// Reads the tree.
pub(super) fn init(address: Option<PhysAddr>) {
    let tree = address.and_then(|address| {
        let length = boot::device_tree_bytes(address.0)?.len();
        let start = map_firmware(address, length).ok()?;
        // SAFETY: just mapped, read-only, never unmapped; nobody writes the tree.
        DeviceTree::read(unsafe { core::slice::from_raw_parts(start as *const u8, length) })
    });
    let Some(tree) = tree else { return };
    let mut platform = Platform {
        // Secure, physical, virtual, and the hypervisor's: the third.
        timer: tree.find(&["arm,armv8-timer", "arm,armv7-timer"]).and_then(|t| t.interrupt(2)),
        console: console::device(&tree).and_then(|device| device.interrupt(0)),
        clock: tree.find(&["arm,pl031"]).and_then(|device| device.registers().next()),
        cpus: tree.cpus().collect(),
        ..Platform::default()
    };
    platform.firmware =
        tree.find(&["arm,psci-1.0", "arm,psci-0.2"]).and_then(|device| {
            match device.property("method")? {
                b"hvc\0" => Some(Conduit::Hypervisor),
                b"smc\0" => Some(Conduit::SecureMonitor),
                _ => None,
            }
        });
    let seed = tree.property("/chosen", "rng-seed").unwrap_or_default();
    platform.seed = seed.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)).collect();
    if let Some((controller, device)) = controller(&tree) {
        platform.controller = Some(controller);
        read_pci(&mut platform, &tree, &device);
    }
    read_virtio(&mut platform, &tree);
    log::debug!(
        "device tree: {:x?}, timer {:?}, console {:?}, PCI {:x?}",
        platform.controller,
        platform.timer,
        platform.console,
        platform.pci,
    );
    // Called once; a second set would change nothing.
    let _ = PLATFORM.set(platform);
}
