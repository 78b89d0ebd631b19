//! Devices: found on PCI or known to the machine, driven by interrupts; and the disk that the
//! boot loader loaded into memory.
//!
//! [`block`] names the disks; [`uart`] is the serial console's device. [`init`] finds all of
//! them.

pub mod block;
pub mod pci;
mod ram_disk;
pub mod uart;
pub mod virtio;

use crate::arch::BootInfo;

/// Finds and starts the devices. After the heap and `Arch::init_devices`, before the scheduler:
/// drivers poll until interrupts are on.
pub fn init(boot: &BootInfo) {
    if let Some(loaded) = boot.ram_disk {
        ram_disk::start(loaded);
    }
    pci::init();
    virtio::init();
    uart::init();
}
