//! I/O ports. Safe functions: a port write can confuse a device, and a device could be made
//! to write memory, so only drivers of the named device use them.

use kernel_sync::SpinLock;
use x86_64::instructions::port::Port;

macro_rules! port_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a port.
        #[inline]
        pub(crate) fn $read(port: u16) -> $type {
            // SAFETY: reading a port of the caller's own device has no effect on memory.
            unsafe { Port::new(port).read() }
        }

        /// Writes a port.
        #[inline]
        pub(crate) fn $write(port: u16, value: $type) {
            // SAFETY: the callers program only the devices they drive, never for DMA to
            // memory that is not theirs.
            unsafe { Port::new(port).write(value) }
        }
    };
}

port_access!(inb, outb, u8);
port_access!(inw, outw, u16);
port_access!(inl, outl, u32);

/// Guards the two registers of PCI's configuration mechanism 1 (PCI 3.0, section 3.2.2.3.2).
static CONFIGURATION: SpinLock<()> = SpinLock::new(());
const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

fn pci_address(bus: u8, device_function: u8, offset: u16) -> u32 {
    1 << 31 | u32::from(bus) << 16 | u32::from(device_function) << 8 | u32::from(offset) & 0xfc
}

/// Reads a PCI configuration register.
pub(in crate::arch) fn pci_read(bus: u8, device_function: u8, offset: u16) -> u32 {
    let _guard = CONFIGURATION.lock();
    outl(CONFIG_ADDRESS, pci_address(bus, device_function, offset));
    inl(CONFIG_DATA)
}

/// Writes a PCI configuration register.
pub(in crate::arch) fn pci_write(bus: u8, device_function: u8, offset: u16, value: u32) {
    let _guard = CONFIGURATION.lock();
    outl(CONFIG_ADDRESS, pci_address(bus, device_function, offset));
    outl(CONFIG_DATA, value);
}
