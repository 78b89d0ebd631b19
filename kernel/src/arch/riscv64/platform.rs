//! What the device tree says of this machine, read once.

use alloc::vec::Vec;

use kernel_fdt::{Device, DeviceTree, Interrupt};
use kernel_sync::OnceCell;

use super::{console, cpu};
use crate::arch::device_tree::{self, Pci};
pub(in crate::arch) use crate::arch::device_tree::{
    pci_hosts, pci_line, pci_port_read, pci_port_write, virtio_registers,
};
use crate::arch::traits::{PhysAddr, VirtioRegisters};

/// A range of physical addresses: start and length.
pub(super) type Registers = (u64, u64);

/// The interrupt controller of devices.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) registers: Registers,
    /// One more than the highest line.
    pub(super) lines: u32,
    /// Which of its contexts interrupts a hart in supervisor mode: the hart's number and the
    /// context's. The boot hart has one.
    pub(super) contexts: Vec<(u64, usize)>,
}

/// Everything that the kernel takes from the tree after start-up.
#[derive(Debug, Default)]
pub(in crate::arch) struct Platform {
    pub(super) controller: Option<Controller>,
    /// The rate of the time register.
    pub(super) hertz: Option<u64>,
    pub(in crate::arch) console: Option<Interrupt>,
    /// A real-time clock (Goldfish's).
    pub(super) clock: Option<Registers>,
    pub(in crate::arch) pci: Pci,
    /// VirtIO devices with registers in memory.
    pub(in crate::arch) virtio: Vec<VirtioRegisters>,
    /// The numbers by which firmware knows the CPUs.
    pub(super) harts: Vec<u64>,
    /// Random bytes from firmware, as words.
    pub(super) seed: Vec<u64>,
}

static PLATFORM: OnceCell<Platform> = OnceCell::new();
static EMPTY: Platform = Platform {
    controller: None,
    hertz: None,
    console: None,
    clock: None,
    pci: Pci::EMPTY,
    virtio: Vec::new(),
    harts: Vec::new(),
    seed: Vec::new(),
};

/// What `init` found; nothing, before it.
pub(in crate::arch) fn platform() -> &'static Platform {
    PLATFORM.get().unwrap_or(&EMPTY)
}

/// The context whose interrupts are supervisor mode's on this hart.
fn context(tree: &DeviceTree<'_>, controller: &Device<'_>, hart: u64) -> Option<usize> {
    /// A hart's interrupt from outside, in supervisor mode.
    const SUPERVISOR_EXTERNAL: u32 = 9;
    let wanted = tree.harts().find(|other| other.number == hart)?.controller?;
    controller.wires().position(|wire| wire == (wanted, SUPERVISOR_EXTERNAL))
}

fn controller<'a>(tree: &DeviceTree<'a>, hart: u64) -> Option<(Controller, Device<'a>)> {
    let device = tree.find(&["sifive,plic-1.0.0", "riscv,plic0", "thead,c900-plic"])?;
    let registers = device.registers().next()?;
    let highest = device.property("riscv,ndev")?.first_chunk().copied().map(u32::from_be_bytes)?;
    context(tree, &device, hart)?;
    let contexts = tree
        .harts()
        .filter_map(|hart| Some((hart.number, context(tree, &device, hart.number)?)))
        .collect();
    // A line has a word of priority in the first page, and a bit for each context.
    let lines = highest.min(1023) + 1;
    Some((Controller { registers, lines, contexts }, device))
}

/// Reads the tree.
pub(super) fn init(address: Option<PhysAddr>) {
    let Some(tree) = device_tree::read(address) else { return };
    let boot_hart = cpu::boot_hart() as u64;
    if let Some(hart) = tree.harts().find(|hart| hart.number == boot_hart) {
        cpu::set_features(&hart);
    }
    let mut platform = Platform {
        hertz: tree.time_hertz(),
        clock: tree.find(&["google,goldfish-rtc"]).and_then(|device| device.registers().next()),
        harts: tree.harts().map(|hart| hart.number).collect(),
        seed: device_tree::seed(&tree),
        ..Platform::default()
    };
    if let Some((controller, device)) = controller(&tree, boot_hart) {
        platform.controller = Some(controller);
        platform.pci = Pci::read(&tree, &device).unwrap_or_default();
        platform.virtio = device_tree::virtio(&tree, &device);
        platform.console =
            console::device(&tree).and_then(|console| console.interrupt_at(0, &device));
    }
    log::debug!(
        "device tree: hart {boot_hart} of {:?}, {:x?}, console {:?}, PCI {:x?}",
        platform.harts,
        platform.controller,
        platform.console,
        platform.pci.hosts,
    );
    // Called once; a second set would change nothing.
    let _ = PLATFORM.set(platform);
}
