//! VirtIO devices on PCI (Virtual I/O Device 1.2, section 4.1).
//!
//! What the crate's transport does not do stands here: pointing a queue's interrupt at an MSI-X
//! entry, or at the wired line where there is no MSI-X.

use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};

use super::{Interrupts, KernelHal, Ordered, Origin};
use crate::arch::{Arch, Architecture, IrqHandler, PhysAddr};
use crate::driver::pci::{self, Address, Device};

const VENDOR: u16 = 0x1af4;
/// PCI device identifiers from here on are 0x1040 + the device's type; 0x1000 to 0x103f are
/// transitional ones (section 4.1.2).
const FIRST_DEVICE: u16 = 0x1000;
const LAST_DEVICE: u16 = 0x107f;

/// The capability of a structure in a base address (section 4.1.4): identifier, next, length,
/// kind; then the base address register, an offset into it and a length.
const VENDOR_SPECIFIC: u8 = 0x09;
const COMMON: u32 = 1;
/// The structures that the transport maps: common, notifications, ISR, the device's own.
const MAPPED: core::ops::RangeInclusive<u32> = 1..=4;
/// No device's structure is longer; one that claims it is damaged or hostile.
const LONGEST_STRUCTURE: u32 = 1 << 20;

/// Configuration space, in the crate's words.
struct Configuration;

fn address(of: DeviceFunction) -> Address {
    Address { bus: of.bus, slot: of.device, function: of.function }
}

impl ConfigurationAccess for Configuration {
    fn read_word(&self, of: DeviceFunction, offset: u8) -> u32 {
        pci::read(address(of), u16::from(offset))
    }

    fn write_word(&mut self, of: DeviceFunction, offset: u8, value: u32) {
        pci::write(address(of), u16::from(offset), value);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// A structure that a device says it has.
struct Structure {
    kind: u32,
    bar: u8,
    offset: u32,
    length: u32,
}

fn structures(device: &Device) -> impl Iterator<Item = Structure> {
    let address = device.address;
    device.capabilities().filter(|capability| capability.id == VENDOR_SPECIFIC).map(
        move |capability| Structure {
            kind: pci::read(address, capability.offset) >> 24,
            bar: pci::read(address, capability.offset + 4) as u8,
            offset: pci::read(address, capability.offset + 8),
            length: pci::read(address, capability.offset + 12),
        },
    )
}

/// Whether what the transport will map is where a device may be: the crate maps what it is told.
fn is_plausible(device: &Device) -> bool {
    structures(device).filter(|structure| MAPPED.contains(&structure.kind)).all(|structure| {
        let start = device.bar(structure.bar).map(|bar| bar.0);
        let end = start.and_then(|start| {
            start.checked_add(u64::from(structure.offset) + u64::from(structure.length))
        });
        end.is_some() && structure.length <= LONGEST_STRUCTURE
    })
}

/// Points the interrupt of `queue` at `handler`; messages are preferred (section 4.1.5.1.2).
pub(super) fn connect_queue(device: &Device, queue: u16, handler: IrqHandler) -> Interrupts {
    match message_register(device) {
        Some(common) if device.enable_msix(0, handler).is_ok() => {
            const QUEUE_SELECT: usize = 0x16;
            const QUEUE_MSIX_VECTOR: usize = 0x1a;
            let vector = (common + QUEUE_MSIX_VECTOR) as *mut u16;
            // SAFETY: `message_register` mapped the common configuration structure, and the
            // transport is not used meanwhile.
            let accepted = unsafe {
                ((common + QUEUE_SELECT) as *mut u16).write_volatile(queue);
                vector.write_volatile(0);
                vector.read_volatile() == 0
            };
            if accepted { Interrupts::Messages } else { Interrupts::None }
        }
        _ => match device.interrupt_line() {
            Some(line) if Arch::irq_line(line, handler).is_ok() => Interrupts::Line,
            _ => Interrupts::None,
        },
    }
}

/// Maps the common configuration structure once more, for the register that the crate hides.
fn message_register(device: &Device) -> Option<usize> {
    const SIZE: usize = 0x38;
    let common = structures(device).find(|structure| structure.kind == COMMON)?;
    let start = device.bar(common.bar)?;
    Arch::map_device(PhysAddr(start.0 + u64::from(common.offset)), SIZE).ok()
}

/// Starts every device that has a driver.
pub(super) fn init() {
    let candidates = pci::devices().iter().filter(|device| {
        device.vendor == VENDOR && (FIRST_DEVICE..=LAST_DEVICE).contains(&device.device)
    });
    for device in candidates {
        let Address { bus, slot, function } = device.address;
        if !is_plausible(device) {
            log::error!("virtio {bus:02x}:{slot:02x}.{function}: its structures are nowhere");
            continue;
        }
        let mut root = PciRoot::new(Configuration);
        let at = DeviceFunction { bus, device: slot, function };
        device.enable();
        match PciTransport::new::<KernelHal, _>(&mut root, at) {
            Ok(transport) => super::start(&Origin::Pci(*device), Ordered::new(transport)),
            Err(error) => log::warn!("virtio {bus:02x}:{slot:02x}.{function}: {error}"),
        }
    }
}
