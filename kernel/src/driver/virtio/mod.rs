//! VirtIO devices on PCI, through the `virtio-drivers` crate's transport and queues.
//!
//! The crate is told here how this kernel allocates DMA memory and reaches configuration
//! space. What it does not do stands here too: pointing a queue's interrupt at an MSI-X
//! entry, or at the wired line where there is no MSI-X.

mod block;

use core::ptr::NonNull;

use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::PciTransport;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::{BufferDirection, Hal, PhysAddr as DmaAddress};

use super::pci::{self, Address, Device};
use crate::arch::{Arch, Architecture, IrqHandler, PAGE_SIZE, PhysAddr};
use crate::mem::phys;

const VENDOR: u16 = 0x1af4;
/// PCI device identifiers from here on are 0x1040 + the device's type; 0x1000 to 0x103f are
/// transitional ones (Virtual I/O Device 1.2, section 4.1.2).
const FIRST_DEVICE: u16 = 0x1000;
const LAST_DEVICE: u16 = 0x107f;

/// What `virtio-drivers` asks of the kernel.
pub(super) struct KernelHal;

/// The buddy order of a number of pages.
fn order(pages: usize) -> u8 {
    pages.max(1).next_power_of_two().trailing_zeros() as u8
}

// SAFETY: `dma_alloc` returns fresh, zeroed, page-aligned, physically contiguous frames through
// the direct map, which nobody else uses until `dma_dealloc`; `mmio_phys_to_virt` maps what it
// is asked for; the machines are cache-coherent and have no IOMMU, so sharing is naming.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _: BufferDirection) -> (DmaAddress, NonNull<u8>) {
        let Some(block) = phys::alloc_order(order(pages)) else {
            return (0, NonNull::dangling());
        };
        let pointer = phys::phys_to_virt(block) as *mut u8;
        // SAFETY: the frames are fresh and in the direct map.
        unsafe { pointer.write_bytes(0, pages * PAGE_SIZE) };
        (block.0, NonNull::new(pointer).unwrap_or(NonNull::dangling()))
    }

    unsafe fn dma_dealloc(address: DmaAddress, _: NonNull<u8>, pages: usize) -> i32 {
        phys::free_order(PhysAddr(address), order(pages));
        0
    }

    #[expect(clippy::expect_used, reason = "at start-up; the crate cannot be told of an error")]
    unsafe fn mmio_phys_to_virt(address: DmaAddress, size: usize) -> NonNull<u8> {
        let page = Arch::map_device(PhysAddr(address), size).expect("no room to map a device");
        NonNull::new(page as *mut u8).expect("a mapping at address zero")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _: BufferDirection) -> DmaAddress {
        let start = buffer.cast::<u8>().as_ptr() as usize;
        Arch::dma_address(start).map_or(0, |address| address.0)
    }

    unsafe fn unshare(_: DmaAddress, _: NonNull<[u8]>, _: BufferDirection) {}
}

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

/// How a device's queue interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupts {
    /// By messages.
    Messages,
    /// By a wired line, which has to be acknowledged at the device.
    Line,
    /// Not at all: it must be polled.
    None,
}

/// Points the interrupt of `queue` at `handler`. The queue has been set up; messages are
/// preferred (Virtual I/O Device 1.2, section 4.1.5.1.2).
fn connect_queue(device: &Device, queue: u16, handler: IrqHandler, argument: usize) -> Interrupts {
    match message_register(device) {
        Some(common) if device.enable_msix(0, handler, argument).is_ok() => {
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
            Some(line) if Arch::irq_line(line, handler, argument).is_ok() => Interrupts::Line,
            _ => Interrupts::None,
        },
    }
}

/// Maps the common configuration structure once more, for the register that the crate hides.
fn message_register(device: &Device) -> Option<usize> {
    const VENDOR_SPECIFIC: u8 = 0x09;
    const COMMON: u32 = 1;
    const SIZE: usize = 0x38;
    let capability = device.capabilities().find(|capability| {
        capability.id == VENDOR_SPECIFIC
            && pci::read(device.address, capability.offset) >> 24 == COMMON
    })?;
    let bar = pci::read(device.address, capability.offset + 4) as u8;
    let offset = pci::read(device.address, capability.offset + 8);
    let start = device.bar(bar)?;
    Arch::map_device(PhysAddr(start.0 + u64::from(offset)), SIZE).ok()
}

/// Starts every device that has a driver.
pub(super) fn init() {
    let candidates = pci::devices().iter().filter(|device| {
        device.vendor == VENDOR && (FIRST_DEVICE..=LAST_DEVICE).contains(&device.device)
    });
    for device in candidates {
        let Address { bus, slot, function } = device.address;
        let mut root = PciRoot::new(Configuration);
        let at = DeviceFunction { bus, device: slot, function };
        device.enable();
        let transport = match PciTransport::new::<KernelHal, _>(&mut root, at) {
            Ok(transport) => transport,
            Err(error) => {
                log::warn!("virtio {bus:02x}:{slot:02x}.{function}: {error}");
                continue;
            }
        };
        use virtio_drivers::transport::Transport;
        match transport.device_type() {
            DeviceType::Block => block::start(device, transport),
            other => {
                log::debug!("virtio {bus:02x}:{slot:02x}.{function}: no driver for {other:?}");
            }
        }
    }
}
