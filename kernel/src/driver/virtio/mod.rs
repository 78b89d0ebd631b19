//! VirtIO devices, through the `virtio-drivers` crate's transports and queues.
//!
//! The crate is told here how this kernel allocates DMA memory and shares buffers, and
//! (`ordered.rs`) how accesses to memory and to registers are kept in order. Devices are
//! found on PCI (`pci.rs`) and in memory (`mmio.rs`); the drivers (`block.rs`, `gpu.rs`,
//! `input.rs`, `rng.rs`) do not know which, but for how a queue's interrupt is connected
//! ([`Origin::connect_queue`]).
//!
//! What a device says is an allegation: lengths, tokens and sizes are checked by who uses them.

mod block;
mod gpu;
mod input;
mod mmio;
mod ordered;
mod pci;
pub(crate) mod rng;

use core::ptr::NonNull;

use virtio_drivers::transport::{DeviceType, Transport};
use virtio_drivers::{BufferDirection, Hal, PhysAddr as DmaAddress};

use self::ordered::Ordered;
use super::pci::Device;
use crate::arch::{Arch, Architecture, IrqHandler, IrqLine, PAGE_SIZE, PhysAddr};
use crate::mem::phys;

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

/// Where a device was found.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Pci(Device),
    /// Registers in memory, and this interrupt.
    Memory(IrqLine),
}

impl Origin {
    /// Points the interrupt of `queue` at `handler`. The queue has been set up.
    fn connect_queue(&self, queue: u16, handler: IrqHandler) -> Interrupts {
        match self {
            Self::Pci(device) => pci::connect_queue(device, queue, handler),
            Self::Memory(line) => match Arch::irq_line(*line, handler) {
                Ok(()) => Interrupts::Line,
                Err(error) => {
                    log::warn!("virtio: interrupt {}: {error:?}", line.number);
                    Interrupts::None
                }
            },
        }
    }
}

/// Starts a device, if it has a driver.
fn start(origin: &Origin, transport: Ordered) {
    match transport.device_type() {
        DeviceType::Block => block::start(origin, transport),
        DeviceType::Input => input::start(origin, transport),
        DeviceType::GPU => gpu::start(origin, transport),
        DeviceType::EntropySource => rng::start(transport),
        other => log::debug!("virtio: no driver for {other:?}"),
    }
}

/// Starts every device that has a driver.
pub(super) fn init() {
    pci::init();
    mmio::init();
}
