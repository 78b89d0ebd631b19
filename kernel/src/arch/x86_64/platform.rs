//! What the kernel above asks of this machine's devices: PCI as ACPI describes it ([`acpi`]), or
//! by ports ([`port`]).

use super::acpi;
pub(in crate::arch) use super::irq::pci_line;
pub(in crate::arch) use super::port::{pci_read as pci_port_read, pci_write as pci_port_write};
use crate::arch::traits::{PciHost, VirtioRegisters};

/// See [`crate::arch::Architecture::pci_hosts`].
pub(in crate::arch) fn pci_hosts() -> &'static [PciHost] {
    &acpi::platform().pci
}

/// See [`crate::arch::Architecture::virtio_registers`].
pub(in crate::arch) fn virtio_registers() -> &'static [VirtioRegisters] {
    // ACPI describes them in AML only; the command line names them.
    &[]
}
