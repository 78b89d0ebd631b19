//! Devices: found on PCI or known to the machine, driven by interrupts; and the disk that the
//! boot loader loaded into memory.
//!
//! [`block`] names the disks; [`uart`] is the serial console's device, [`display`] the picture
//! that may stand beside it. [`init`] finds all of them.

pub mod block;
pub mod display;
pub mod pci;
mod ram_disk;
pub mod uart;
pub mod virtio;

use crate::arch::BootInfo;

/// Finds and starts the devices. After the heap, `Arch::init_devices` and `mcore::init`, before
/// the first task runs: the boot CPU's interrupts are off, so drivers poll here. Those of the other
/// CPUs are on, and a device may interrupt one as soon as its driver has asked for that.
pub fn init(boot: &BootInfo) {
    if let Some(loaded) = boot.ram_disk {
        ram_disk::start(loaded);
    }
    pci::init();
    virtio::init();
    display::linear::init(boot);
    uart::init();
}
