//! Devices: found on PCI or known to the machine, driven by interrupts.
//!
//! [`block`] names the disks; [`uart`] is the serial console's device. [`init`] finds all of
//! them.

pub mod block;
pub mod pci;
pub mod uart;
pub mod virtio;

/// Finds and starts the devices. After the heap and `Arch::init_devices`, before the scheduler:
/// drivers poll until interrupts are on.
pub fn init() {
    pci::init();
    virtio::init();
    uart::init();
}
