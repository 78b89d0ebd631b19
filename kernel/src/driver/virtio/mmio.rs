//! VirtIO devices whose registers are in memory (Virtual I/O Device 1.2, section 4.2), modern
//! and legacy: those that firmware describes, and those that the command line does, as QEMU's
//! `microvm` adds them (`virtio_mmio.device=512@0xfeb00e00:12`).

use core::ptr::NonNull;

use kernel_boot::MmioDevice;
use virtio_drivers::transport::DeviceTypeError;
use virtio_drivers::transport::mmio::{MmioError, MmioTransport};

use super::{Ordered, Origin};
use crate::arch::{Arch, Architecture, IrqLine, PAGE_SIZE, PhysAddr, VirtioRegisters};
use crate::command_line::CommandLine;

/// Registers before a device's own configuration.
const HEADER: u64 = 0x100;
/// No device's registers are longer.
const LONGEST: u64 = 1 << 20;

/// The name of the command line's word.
const PARAMETER: &str = "virtio_mmio.device";

/// Devices that the command line describes. A wired interrupt stays asserted until the device
/// has been told, so it is one by level.
fn described() -> impl Iterator<Item = VirtioRegisters> {
    CommandLine::get().values(PARAMETER).filter_map(|value| {
        let Some(device) = MmioDevice::parse(value) else {
            log::warn!("{PARAMETER}={value}: not SIZE@ADDRESS:INTERRUPT");
            return None;
        };
        let interrupt = IrqLine { number: device.interrupt, level: true, active_low: false };
        Some(VirtioRegisters { start: PhysAddr(device.start), length: device.length, interrupt })
    })
}

/// Maps registers; `mapped` is the page that was mapped last, and where.
fn map(device: &VirtioRegisters, mapped: &mut Option<(u64, usize)>) -> Option<usize> {
    let (start, length) = (device.start.0, device.length);
    if !start.is_multiple_of(4) || !(HEADER..=LONGEST).contains(&length) {
        return None;
    }
    let offset = start % PAGE_SIZE as u64;
    // Machines have many of them side by side, most of them empty: one page holds several.
    if offset + length > PAGE_SIZE as u64 {
        return Arch::map_device(device.start, length as usize).ok();
    }
    let page = start - offset;
    let base = match *mapped {
        Some((same, base)) if same == page => base,
        _ => {
            let base = Arch::map_device(PhysAddr(page), PAGE_SIZE).ok()?;
            *mapped = Some((page, base));
            base
        }
    };
    Some(base + offset as usize)
}

/// Starts every device that has a driver.
pub(super) fn init() {
    let mut mapped = None;
    for device in Arch::virtio_registers().iter().copied().chain(described()) {
        let start = device.start.0;
        let header = map(&device, &mut mapped).and_then(|base| NonNull::new(base as *mut _));
        let Some(header) = header else {
            log::error!("virtio at {start:#x}: {} bytes of registers: not mapped", device.length);
            continue;
        };
        // SAFETY: the registers are mapped, aligned, and stay so; nobody else uses them.
        match unsafe { MmioTransport::new(header, device.length as usize) } {
            Ok(transport) => {
                super::start(&Origin::Memory(device.interrupt), Ordered::new(transport))
            }
            // A place without a device (section 4.2.2.2).
            Err(MmioError::InvalidDeviceID(DeviceTypeError::InvalidDeviceType(0))) => {}
            Err(error) => log::warn!("virtio at {start:#x}: {error}"),
        }
    }
}
