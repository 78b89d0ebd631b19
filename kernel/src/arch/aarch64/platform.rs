//! What the device tree says of this machine, read once.

use alloc::vec::Vec;

use kernel_fdt::{Device, DeviceTree, Interrupt};
use kernel_gic::Affinity;
use kernel_sync::OnceCell;

use super::console;
use crate::arch::device_tree::{self, Pci};
pub(in crate::arch) use crate::arch::device_tree::{
    pci_hosts, pci_line, pci_port_read, pci_port_write, virtio_registers,
};
use crate::arch::traits::{PhysAddr, VirtioRegisters};

/// A range of physical addresses: start and length.
pub(super) type Registers = (u64, u64);

/// The interrupt controller.
#[derive(Clone, Debug)]
pub(super) enum Controller {
    /// GICv2: distributor, CPU interface, and the frame that turns messages into interrupts.
    V2 { distributor: Registers, cpu: Registers, messages: Option<Registers> },
    /// GICv3 and later: distributor, and the regions with the CPUs' redistributors; how far apart
    /// these are, where that is not usual.
    V3 { distributor: Registers, redistributors: Vec<Registers>, stride: Option<u64> },
}

/// How firmware is called (Arm Power State Coordination Interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduit {
    Hypervisor,
    SecureMonitor,
}

/// Everything that the kernel takes from the tree after start-up.
#[derive(Debug, Default)]
pub(in crate::arch) struct Platform {
    pub(super) controller: Option<Controller>,
    /// The virtual timer's interrupt.
    pub(super) timer: Option<Interrupt>,
    pub(in crate::arch) console: Option<Interrupt>,
    /// A real-time clock (PL031).
    pub(super) clock: Option<Registers>,
    pub(super) firmware: Option<Conduit>,
    pub(in crate::arch) pci: Pci,
    /// VirtIO devices with registers in memory.
    pub(in crate::arch) virtio: Vec<VirtioRegisters>,
    pub(super) cpus: Vec<Affinity>,
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
    pci: Pci::EMPTY,
    virtio: Vec::new(),
    cpus: Vec::new(),
    seed: Vec::new(),
};

/// What `init` found; nothing, before it.
pub(in crate::arch) fn platform() -> &'static Platform {
    PLATFORM.get().unwrap_or(&EMPTY)
}

fn controller<'a>(tree: &DeviceTree<'a>) -> Option<(Controller, Device<'a>)> {
    if let Some(device) = tree.find(&["arm,gic-v3"]) {
        let mut registers = device.registers();
        let distributor = registers.next()?;
        let regions = device.property("#redistributor-regions");
        let regions = regions.and_then(|bytes| Some(u32::from_be_bytes(bytes.try_into().ok()?)));
        let redistributors = registers.take(regions.unwrap_or(1) as usize).collect();
        let stride = device.property("redistributor-stride");
        let stride = stride.and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        return Some((Controller::V3 { distributor, redistributors, stride }, device));
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

/// Reads the tree.
pub(super) fn init(address: Option<PhysAddr>) {
    let Some(tree) = device_tree::read(address) else { return };
    let mut platform = Platform {
        // Secure, physical, virtual, and the hypervisor's: the third.
        timer: tree.find(&["arm,armv8-timer", "arm,armv7-timer"]).and_then(|t| t.interrupt(2)),
        console: console::device(&tree).and_then(|device| device.interrupt(0)),
        clock: tree.find(&["arm,pl031"]).and_then(|device| device.registers().next()),
        cpus: tree.cpus().map(Affinity::of).collect(),
        seed: device_tree::seed(&tree),
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
    if let Some((controller, device)) = controller(&tree) {
        platform.controller = Some(controller);
        platform.pci = Pci::read(&tree, &device).unwrap_or_default();
        platform.virtio = device_tree::virtio(&tree, &device);
    }
    log::debug!(
        "device tree: {:x?}, timer {:?}, console {:?}, PCI {:x?}",
        platform.controller,
        platform.timer,
        platform.console,
        platform.pci.hosts,
    );
    // Called once; a second set would change nothing.
    let _ = PLATFORM.set(platform);
}
