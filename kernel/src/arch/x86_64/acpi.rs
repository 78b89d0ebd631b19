//! What firmware says of this PC: the ACPI tables, found, mapped, and read once.

use alloc::vec::Vec;

use kernel_acpi::{
    Fadt, GenericAddress, HEADER_SIZE, Hpet, Madt, MadtEntry, Mcfg, Polarity, Rsdp, Trigger,
    checksum_is_right, root_entries, signature_and_length, sleep_type_s5,
};
use kernel_sync::OnceCell;

use super::port::{inw, outb, outw};
use crate::arch::paging::{map_device, map_firmware};
use crate::arch::traits::{PciHost, PhysAddr};

/// No table of a PC is larger; a length above it is damage.
const LARGEST_TABLE: usize = 1 << 20;

/// An I/O interrupt controller.
#[derive(Clone, Copy, Debug)]
pub(super) struct IoApicInfo {
    pub(super) address: u32,
    pub(super) first_interrupt: u32,
}

/// How an ISA interrupt is wired.
#[derive(Clone, Copy, Debug)]
pub(super) struct IsaOverride {
    pub(super) isa: u8,
    pub(super) interrupt: u32,
    pub(super) polarity: Polarity,
    pub(super) trigger: Trigger,
}

/// Everything that the kernel takes from ACPI.
#[derive(Debug, Default)]
pub(super) struct Platform {
    pub(super) local_apic: Option<u64>,
    pub(super) io_apics: Vec<IoApicInfo>,
    pub(super) overrides: Vec<IsaOverride>,
    /// APIC identifiers of the CPUs that may be started.
    pub(super) cpus: Vec<u32>,
    pub(super) hpet: Option<u64>,
    pub(super) fadt: Option<Fadt>,
    sleep_types: Option<(u16, u16)>,
    /// The virtual addresses of registers in memory, for reset and for sleep.
    reset_register: Option<usize>,
    sleep_register: Option<usize>,
    pub(super) pci: Vec<PciHost>,
}

static PLATFORM: OnceCell<Platform> = OnceCell::new();
static EMPTY: Platform = Platform {
    local_apic: None,
    io_apics: Vec::new(),
    overrides: Vec::new(),
    cpus: Vec::new(),
    hpet: None,
    fadt: None,
    sleep_types: None,
    reset_register: None,
    sleep_register: None,
    pci: Vec::new(),
};

/// What `init` found; nothing, before it.
pub(super) fn platform() -> &'static Platform {
    PLATFORM.get().unwrap_or(&EMPTY)
}

/// Maps `length` bytes that firmware left at a physical address.
fn bytes_at(address: u64, length: usize) -> Option<&'static [u8]> {
    let start = map_firmware(PhysAddr(address), length).ok()?;
    // SAFETY: just mapped, read-only, never unmapped; firmware's tables are not written.
    Some(unsafe { core::slice::from_raw_parts(start as *const u8, length) })
}

/// Maps a whole table, whose header says how long it is.
fn table_at(address: u64) -> Option<([u8; 4], &'static [u8])> {
    let (signature, length) = signature_and_length(bytes_at(address, HEADER_SIZE)?)?;
    if !(HEADER_SIZE..=LARGEST_TABLE).contains(&length) {
        return None;
    }
    let table = bytes_at(address, length)?;
    if !checksum_is_right(table) {
        log::warn!("acpi: table {} has a wrong checksum", signature.escape_ascii());
    }
    Some((signature, table))
}

fn read_madt(platform: &mut Platform, table: &[u8]) {
    let Some(madt) = Madt::read(table) else { return };
    platform.local_apic = Some(u64::from(madt.local_apic));
    for entry in madt.entries() {
        match entry {
            MadtEntry::Cpu { apic_id, usable: true } => platform.cpus.push(apic_id),
            MadtEntry::Cpu { usable: false, .. } => {}
            MadtEntry::IoApic { address, first_interrupt } => {
                platform.io_apics.push(IoApicInfo { address, first_interrupt });
            }
            MadtEntry::Override { isa, interrupt, polarity, trigger } => {
                platform.overrides.push(IsaOverride { isa, interrupt, polarity, trigger });
            }
            MadtEntry::LocalApicAddress(address) => platform.local_apic = Some(address),
        }
    }
}

fn read_fadt(platform: &mut Platform, table: &[u8]) {
    let Some(fadt) = Fadt::read(table) else { return };
    platform.sleep_types = table_at(fadt.dsdt).and_then(|(_, dsdt)| sleep_type_s5(dsdt));
    let map = |register| match register {
        GenericAddress::Memory(address) => map_device(PhysAddr(address), 1).ok(),
        GenericAddress::Port(_) => None,
    };
    platform.reset_register = fadt.reset.and_then(|(register, _)| map(register));
    platform.sleep_register = fadt.sleep_control.and_then(map);
    platform.fadt = Some(fadt);
}

/// Reads the tables. Without a root pointer, the machine counts as a plain PC with legacy
/// devices only.
pub(super) fn init(rsdp: Option<PhysAddr>) {
    let mut platform = Platform::default();
    let root = rsdp
        .and_then(|address| bytes_at(address.0, 36))
        .and_then(Rsdp::read)
        .and_then(|rsdp| Some((table_at(rsdp.root_table)?.1, rsdp.extended)));
    match root {
        None => {
            log::warn!("acpi: no usable root table");
            // Where a PC without tables has it (MultiProcessor Specification 1.4, section 5).
            platform.io_apics.push(IoApicInfo { address: 0xfec0_0000, first_interrupt: 0 });
        }
        Some((root, extended)) => {
            for (signature, table) in root_entries(root, extended).filter_map(table_at) {
                match &signature {
                    b"APIC" => read_madt(&mut platform, table),
                    b"FACP" => read_fadt(&mut platform, table),
                    b"HPET" => platform.hpet = Hpet::read(table).map(|hpet| hpet.address),
                    b"MCFG" => {
                        platform.pci.extend(Mcfg::read(table).entries().map(|entry| PciHost {
                            configuration: Some(PhysAddr(entry.address)),
                            segment: entry.segment,
                            first_bus: entry.first_bus,
                            last_bus: entry.last_bus,
                            unassigned: None,
                        }))
                    }
                    _ => {}
                }
            }
        }
    }
    if platform.pci.is_empty() {
        platform.pci.push(PciHost {
            configuration: None,
            segment: 0,
            first_bus: 0,
            last_bus: 255,
            unassigned: None,
        });
    }
    log::debug!("acpi: {platform:?}");
    // Called once; a second set would change nothing.
    let _ = PLATFORM.set(platform);
}

/// Writes a register of one byte; `mapped` is where it is, if it is in memory.
fn write_register(register: GenericAddress, mapped: Option<usize>, value: u8) {
    match (register, mapped) {
        (GenericAddress::Port(port), _) => outb(port, value),
        (GenericAddress::Memory(_), Some(address)) => {
            // SAFETY: the register was mapped by `read_fadt` and is a byte wide.
            unsafe { (address as *mut u8).write_volatile(value) };
        }
        (GenericAddress::Memory(_), None) => {}
    }
}

/// Makes firmware leave the power-management registers to us (section 4.8.2.5, SCI_EN), which a
/// BIOS does only when asked.
fn take_over(fadt: &Fadt) {
    const ENABLED: u16 = 1;
    /// How often the answer is looked for: a port takes about a microsecond.
    const PATIENCE: u32 = 3_000_000;
    let Some((port, value)) = fadt.enable else { return };
    if inw(fadt.pm1a_control) & ENABLED == 0 {
        outb(port, value);
        let _ = (0..PATIENCE).find(|_| inw(fadt.pm1a_control) & ENABLED != 0);
    }
}

/// Powers the machine off, if ACPI says how. Returns if it does not, or the machine takes its
/// time.
pub(super) fn enter_s5() {
    // Section 4.8.3.2: SLP_TYP is bits 10 to 12, SLP_EN bit 13. Section 4.8.3.7: bits 2 to 4, 5.
    const TYPE: u16 = 7 << 10;
    const ENABLE: u16 = 1 << 13;
    const REDUCED_ENABLE: u8 = 1 << 5;
    let platform = platform();
    let (Some(fadt), Some((a, b))) = (platform.fadt, platform.sleep_types) else { return };
    if let Some(register) = fadt.sleep_control {
        let kind = (a as u8 & 7) << 2;
        return write_register(register, platform.sleep_register, kind | REDUCED_ENABLE);
    }
    if fadt.pm1a_control == 0 {
        return;
    }
    take_over(&fadt);
    for (register, kind) in [(fadt.pm1a_control, a), (fadt.pm1b_control, b)] {
        if register != 0 {
            let others = inw(register) & !(TYPE | ENABLE);
            outw(register, others | kind << 10 & TYPE | ENABLE);
        }
    }
}

/// Resets the machine, if ACPI says how.
pub(super) fn reset() {
    let platform = platform();
    if let Some((register, value)) = platform.fadt.and_then(|fadt| fadt.reset) {
        write_register(register, platform.reset_register, value);
    }
}
