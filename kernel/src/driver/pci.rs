//! PCI: enumeration, configuration space, capabilities, MSI-X.
//!
//! Configuration space is reached through memory (ECAM) where the machine has it, else through
//! ports. Firmware has assigned the base addresses, or the machine says where devices may be
//! put, and they are assigned here, on the host bridge's own bus. Only buses that bridges lead to are
//! visited; each bus's megabyte of configuration space is mapped when it is first visited.

use alloc::vec::Vec;

use kernel_sync::{OnceCell, SpinLock};

use crate::arch::{Arch, Architecture, IrqError, IrqHandler, IrqLine, PciHost, PhysAddr};

// Configuration registers (PCI Local Bus Specification 3.0, section 6.1).
const COMMAND: u16 = 0x04;
const CLASS: u16 = 0x08;
const HEADER: u16 = 0x0c;
const BAR0: u16 = 0x10;
const BUSES: u16 = 0x18;
const CAPABILITIES: u16 = 0x34;
const INTERRUPT: u16 = 0x3c;

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_INTX: u32 = 1 << 10;
const STATUS_CAPABILITIES: u32 = 1 << (16 + 4);
const BRIDGE: u8 = 1;
const CLASS_BRIDGE_TO_PCI: u32 = 0x0604;
const CAPABILITY_MSIX: u8 = 0x11;
const BUS_SIZE: usize = 1 << 20;

/// Where a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    pub bus: u8,
    pub slot: u8,
    pub function: u8,
}

impl Address {
    fn device_function(self) -> u8 {
        self.slot << 3 | self.function & 7
    }
}

/// A function that was found.
#[derive(Clone, Copy, Debug)]
pub struct Device {
    pub address: Address,
    pub vendor: u16,
    pub device: u16,
    /// Class and subclass.
    pub class: u16,
}

/// A capability: its identifier, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    pub id: u8,
    pub offset: u16,
}

/// Why a device cannot interrupt by messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MsixError {
    /// The device has no such capability, or not that many entries.
    Unsupported,
    /// Its table cannot be reached.
    Table,
    /// No vector is left.
    Interrupt(IrqError),
}

/// The bus's number and where its configuration space is mapped.
type MappedBus = (u8, usize);

static BUSES_MAPPED: SpinLock<Vec<MappedBus>> = SpinLock::new(Vec::new());
static DEVICES: OnceCell<Vec<Device>> = OnceCell::new();

/// The host bridge of a bus.
fn host(bus: u8) -> Option<&'static PciHost> {
    Arch::pci_hosts().iter().find(|host| (host.first_bus..=host.last_bus).contains(&bus))
}

/// Where a register is mapped, on a machine with memory-mapped configuration.
fn register(start: PhysAddr, address: Address, offset: u16) -> Option<usize> {
    let mut buses = BUSES_MAPPED.lock();
    let base = match buses.iter().find(|(bus, _)| *bus == address.bus) {
        Some(&(_, base)) => base,
        None => {
            let start = PhysAddr(start.0 + (u64::from(address.bus) << 20));
            let base = Arch::map_device(start, BUS_SIZE).ok()?;
            buses.push((address.bus, base));
            base
        }
    };
    let function = usize::from(address.device_function()) << 12;
    Some(base + function + usize::from(offset & 0xffc))
}

/// Reads the 32-bit configuration register at `offset`; all ones if there is no such function.
pub fn read(address: Address, offset: u16) -> u32 {
    match host(address.bus).map(|host| host.configuration) {
        None => u32::MAX,
        Some(None) => Arch::pci_port_read(address.bus, address.device_function(), offset),
        Some(Some(start)) => match register(start, address, offset) {
            // SAFETY: within the bus's configuration space, mapped by `register`.
            Some(register) => unsafe { (register as *const u32).read_volatile() },
            None => u32::MAX,
        },
    }
}

/// Writes the 32-bit configuration register at `offset`.
pub fn write(address: Address, offset: u16, value: u32) {
    match host(address.bus).map(|host| host.configuration) {
        None => {}
        Some(None) => {
            Arch::pci_port_write(address.bus, address.device_function(), offset, value);
        }
        Some(Some(start)) => {
            if let Some(register) = register(start, address, offset) {
                // SAFETY: within the bus's configuration space, mapped by `register`.
                unsafe { (register as *mut u32).write_volatile(value) };
            }
        }
    }
}

/// Reads one function's identity; its header's type too.
fn probe(address: Address) -> Option<(Device, u8)> {
    let identity = read(address, 0);
    if identity & 0xffff == 0xffff {
        return None;
    }
    let device = Device {
        address,
        vendor: identity as u16,
        device: (identity >> 16) as u16,
        class: (read(address, CLASS) >> 16) as u16,
    };
    Some((device, (read(address, HEADER) >> 16) as u8))
}

/// Adds every function of a bus, and of the buses behind its bridges, to `found`.
fn visit(bus: u8, found: &mut Vec<Device>) {
    const MULTIFUNCTION: u8 = 0x80;
    for slot in 0..32 {
        for function in 0..8 {
            let address = Address { bus, slot, function };
            let Some((device, header)) = probe(address) else {
                if function == 0 {
                    break;
                }
                continue;
            };
            found.push(device);
            if header & !MULTIFUNCTION == BRIDGE && u32::from(device.class) == CLASS_BRIDGE_TO_PCI {
                let secondary = (read(address, BUSES) >> 8) as u8;
                // Firmware numbers buses downward; anything else would be a loop.
                if secondary > bus {
                    visit(secondary, found);
                }
            }
            if function == 0 && header & MULTIFUNCTION == 0 {
                break;
            }
        }
    }
}

/// Whether a function's header is a device's, not a bridge's.
fn is_endpoint(device: &Device) -> bool {
    read(device.address, HEADER) >> 16 & 0x7f == 0
}

/// Gives every memory base-address register of a function a place in what is left of a window,
/// which begins at `next` (PCI 3.0, section 6.2.5.1). What finds no room stays at zero: absent.
fn assign(device: &Device, next: &mut u64, end: u64) {
    const IO: u32 = 1;
    const WIDE: u32 = 0b100;
    let mut offset = BAR0;
    while offset < BAR0 + 24 {
        let register = offset;
        write(device.address, register, u32::MAX);
        let mask = read(device.address, register);
        let wide = mask & (IO | 0b110) == WIDE;
        offset += if wide { 8 } else { 4 };
        write(device.address, register, 0);
        // Its lowest bit that can be set tells how long it is.
        let size = u64::from(mask & !0xf & (mask & !0xf).wrapping_neg());
        if mask & IO != 0 || size == 0 {
            continue;
        }
        let start = next.next_multiple_of(size);
        let fits = start.checked_add(size).is_some_and(|last| last <= end);
        let Some(low) = u32::try_from(start).ok().filter(|_| fits) else {
            log::warn!("pci: no room for {size:#x} bytes of {:?}", device.address);
            continue;
        };
        write(device.address, register, low);
        if wide {
            write(device.address, register + 4, 0);
        }
        *next = start + size;
    }
}

/// Enumerates every host bridge.
pub(super) fn init() {
    let mut found = Vec::new();
    for host in Arch::pci_hosts() {
        // Segments beyond the first need their own address type; no machine here has one.
        if host.segment == 0 {
            let first = found.len();
            visit(host.first_bus, &mut found);
            if let Some(window) = host.unassigned {
                let (mut next, end) = (window.start.0, window.start.0 + window.length);
                for device in found.iter().skip(first).filter(|device| is_endpoint(device)) {
                    assign(device, &mut next, end);
                }
            }
        }
    }
    for device in &found {
        let Address { bus, slot, function } = device.address;
        log::debug!(
            "pci {bus:02x}:{slot:02x}.{function}: {:04x}:{:04x} class {:04x}",
            device.vendor,
            device.device,
            device.class,
        );
    }
    // Called once.
    let _ = DEVICES.set(found);
}

/// All functions.
pub fn devices() -> &'static [Device] {
    DEVICES.get().map_or(&[], Vec::as_slice)
}

impl Device {
    /// Lets the device answer at its memory addresses and do DMA.
    pub fn enable(&self) {
        let command = read(self.address, COMMAND) & 0xffff;
        write(self.address, COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
    }

    /// The capabilities.
    pub fn capabilities(&self) -> impl Iterator<Item = Capability> {
        let address = self.address;
        let first = if read(address, COMMAND) & STATUS_CAPABILITIES != 0 {
            read(address, CAPABILITIES) as u8 & !3
        } else {
            0
        };
        let mut next = first;
        // No more fit into 256 bytes: a damaged list is no endless loop.
        (0..48).map_while(move |_| {
            let offset = u16::from(next);
            if offset < 0x40 {
                return None;
            }
            let word = read(address, offset);
            next = (word >> 8) as u8 & !3;
            Some(Capability { id: word as u8, offset })
        })
    }

    /// The address in a memory base-address register.
    pub fn bar(&self, index: u8) -> Option<PhysAddr> {
        const IO: u32 = 1;
        const WIDE: u32 = 0b100;
        if index > 5 {
            return None;
        }
        let offset = BAR0 + 4 * u16::from(index);
        let low = read(self.address, offset);
        if low & IO != 0 {
            return None;
        }
        let high = match low & 0b110 {
            WIDE if index < 5 => read(self.address, offset + 4),
            WIDE => return None,
            _ => 0,
        };
        let start = u64::from(high) << 32 | u64::from(low & !0xf);
        (start != 0).then_some(PhysAddr(start))
    }

    /// The line of the interrupt pin, if it has one and the wiring is known.
    pub fn interrupt_line(&self) -> Option<IrqLine> {
        let word = read(self.address, INTERRUPT);
        let pin = (word >> 8) as u8;
        let pin = pin.checked_sub(1).filter(|&pin| pin < 4)?;
        Arch::pci_line(self.address.bus, self.address.slot, pin, word as u8)
    }

    /// Makes entry `entry` of the MSI-X table call `handler`, and turns MSI-X on
    /// (PCI 3.0, section 6.8.2).
    pub fn enable_msix(&self, entry: u16, handler: IrqHandler) -> Result<(), MsixError> {
        const ENABLE: u32 = 1 << 31;
        const FUNCTION_MASK: u32 = 1 << 30;
        let capability = self
            .capabilities()
            .find(|capability| capability.id == CAPABILITY_MSIX)
            .ok_or(MsixError::Unsupported)?;
        let control = read(self.address, capability.offset);
        if u32::from(entry) > control >> 16 & 0x7ff {
            return Err(MsixError::Unsupported);
        }
        let place = read(self.address, capability.offset + 4);
        let bar = self.bar((place & 7) as u8).ok_or(MsixError::Table)?;
        let start = PhysAddr(bar.0 + u64::from(place & !7) + u64::from(entry) * 16);
        let table = Arch::map_device(start, 16).map_err(|_| MsixError::Table)? as *mut u32;
        let message = Arch::irq_message(handler).map_err(MsixError::Interrupt)?;
        let words = [message.address as u32, (message.address >> 32) as u32, message.data, 0];
        for (index, word) in words.into_iter().enumerate() {
            // SAFETY: the entry of four words was just mapped.
            unsafe { table.add(index).write_volatile(word) };
        }
        let command = read(self.address, COMMAND) & 0xffff;
        write(self.address, COMMAND, command | COMMAND_NO_INTX);
        write(self.address, capability.offset, control & !FUNCTION_MASK | ENABLE);
        Ok(())
    }
}
