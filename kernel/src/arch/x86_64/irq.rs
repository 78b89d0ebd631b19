//! Interrupts of devices: local APIC, I/O APICs, and who handles which vector.
//!
//! | vectors | what |
//! |---|---|
//! | 0x20–0x2f | the legacy controllers, masked for ever; only spurious ones arrive |
//! | 0x30–0xef | devices, given out one by one (0x80 is the system call's) |
//! | 0xf0 | the timer |
//! | 0xf1, 0xf2 | other CPUs: look again, forget translations |
//! | 0xfe, 0xff | the local APIC's error and spurious interrupts |

use core::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use kernel_acpi::{Polarity, Trigger};
use kernel_sync::SpinLock;
use x86_64::registers::model_specific::Msr;

use super::acpi;
use super::cpu::{FEATURES, has};
use super::frame::Frame;
use super::port::outb;
use super::smp;
use super::trap::SYSCALL_VECTOR;
use crate::arch::interrupts::{Counts, Devices, EachInterrupt, Source};
use crate::arch::paging::map_device;
use crate::arch::traits::{IrqError, IrqHandler, IrqLine, MessageInterrupt, PhysAddr};
use crate::arch::{secondary, up};

const LEGACY_BASE: u8 = 0x20;
const FIRST_DEVICE: u8 = 0x30;
const LAST_DEVICE: u8 = 0xef;
pub(super) const TIMER_VECTOR: u8 = 0xf0;
/// Another CPU wants this one to look at its run queue and timer.
pub(super) const LOOK_VECTOR: u8 = 0xf1;
/// Another CPU wants this one to forget translations.
pub(super) const FLUSH_VECTOR: u8 = 0xf2;
const ERROR_VECTOR: u8 = 0xfe;
const SPURIOUS_VECTOR: u8 = 0xff;

// Local APIC registers (Intel SDM vol. 3, table 11-1).
const APIC_ID: u32 = 0x20;
const TASK_PRIORITY: u32 = 0x80;
const END_OF_INTERRUPT: u32 = 0xb0;
const SPURIOUS: u32 = 0xf0;
const COMMAND: u32 = 0x300;
const COMMAND_HIGH: u32 = 0x310;
pub(super) const LVT_TIMER: u32 = 0x320;
const LVT_LINT0: u32 = 0x350;
const LVT_LINT1: u32 = 0x360;
const LVT_ERROR: u32 = 0x370;
pub(super) const INITIAL_COUNT: u32 = 0x380;
pub(super) const CURRENT_COUNT: u32 = 0x390;
pub(super) const DIVIDE: u32 = 0x3e0;
const APIC_ENABLE: u32 = 1 << 8;
pub(super) const LVT_MASKED: u32 = 1 << 16;
const LVT_NMI: u32 = 4 << 8;

const MSR_APIC_BASE: u32 = 0x1b;
const MSR_X2APIC: u32 = 0x800;
const APIC_BASE_X2APIC: u64 = 1 << 10;
const APIC_BASE_ENABLE: u64 = 1 << 11;
const DEFAULT_LOCAL_APIC: u64 = 0xfee0_0000;

/// Where the local APIC is mapped; 0 in x2APIC mode.
static LOCAL_APIC: AtomicUsize = AtomicUsize::new(0);
/// The next vector to give out.
static NEXT_VECTOR: AtomicU8 = AtomicU8::new(FIRST_DEVICE);

/// By their vectors.
static DEVICES: Devices<256> = Devices::new();

static TIMER_COUNTS: Counts = Counts::new();
static LOOK_COUNTS: Counts = Counts::new();
static FLUSH_COUNTS: Counts = Counts::new();

/// Reads a local APIC register.
#[inline]
pub(super) fn apic_read(register: u32) -> u32 {
    match LOCAL_APIC.load(Ordering::Relaxed) {
        // SAFETY: the MSR exists in x2APIC mode.
        0 => (unsafe { Msr::new(MSR_X2APIC + (register >> 4)).read() }) as u32,
        // SAFETY: the page was mapped for this by `init`.
        base => unsafe { ((base + register as usize) as *const u32).read_volatile() },
    }
}

/// Writes a local APIC register.
#[inline]
pub(super) fn apic_write(register: u32, value: u32) {
    match LOCAL_APIC.load(Ordering::Relaxed) {
        // SAFETY: the MSR exists in x2APIC mode; the kernel owns the local APIC.
        0 => unsafe { Msr::new(MSR_X2APIC + (register >> 4)).write(u64::from(value)) },
        // SAFETY: the page was mapped for this by `init`.
        base => unsafe { ((base + register as usize) as *mut u32).write_volatile(value) },
    }
}

/// An I/O APIC (Intel 82093AA): an index and a data register.
struct IoApic {
    base: usize,
    first: u32,
    count: u32,
}

/// Guards the index registers.
static IO_APICS: SpinLock<alloc::vec::Vec<IoApic>> = SpinLock::new(alloc::vec::Vec::new());

impl IoApic {
    fn read(&self, register: u32) -> u32 {
        // SAFETY: the two registers were mapped by `init`; the lock on the list is held.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 0x10) as *const u32).read_volatile()
        }
    }

    fn write(&self, register: u32, value: u32) {
        // SAFETY: as in `read`.
        unsafe {
            (self.base as *mut u32).write_volatile(register);
            ((self.base + 0x10) as *mut u32).write_volatile(value);
        }
    }

    fn set(&self, pin: u32, low: u32, destination: u32) {
        self.write(0x11 + 2 * pin, destination << 24);
        self.write(0x10 + 2 * pin, low);
    }
}

/// Moves the legacy controllers (Intel 8259A) out of the exceptions' way and masks them.
fn mask_legacy() {
    for (port, value) in [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, LEGACY_BASE),
        (0xa1, LEGACY_BASE + 8),
        (0x21, 4),
        (0xa1, 2),
        (0x21, 1),
        (0xa1, 1),
        (0x21, 0xff),
        (0xa1, 0xff),
    ] {
        outb(port, value);
    }
}

/// Enables this CPU's local APIC, everything masked; `lint1` is what its second pin does.
pub(super) fn enable_local_apic(lint1: u32) {
    let mut base = Msr::new(MSR_APIC_BASE);
    // SAFETY: the MSR exists on every CPU with an APIC, so on every one in long mode.
    let value = unsafe { base.read() };
    if has(&FEATURES.x2apic) {
        // SAFETY: the CPU has x2APIC mode, and enabling it twice does nothing.
        unsafe { base.write(value | APIC_BASE_ENABLE | APIC_BASE_X2APIC) };
    } else {
        // SAFETY: enables the local APIC where it is.
        unsafe { base.write(value | APIC_BASE_ENABLE) };
    }
    apic_write(TASK_PRIORITY, 0);
    apic_write(LVT_TIMER, LVT_MASKED);
    apic_write(LVT_LINT0, LVT_MASKED);
    apic_write(LVT_LINT1, lint1);
    apic_write(LVT_ERROR, u32::from(ERROR_VECTOR));
    apic_write(SPURIOUS, APIC_ENABLE | u32::from(SPURIOUS_VECTOR));
}

/// Maps the local APIC, which is at the same address on each CPU.
fn map_local_apic() {
    if has(&FEATURES.x2apic) {
        return;
    }
    let address = acpi::platform().local_apic.unwrap_or(DEFAULT_LOCAL_APIC);
    match map_device(PhysAddr(address), 4096) {
        Ok(page) => LOCAL_APIC.store(page, Ordering::Relaxed),
        Err(error) => log::error!("local APIC: cannot be mapped: {error:?}"),
    }
}

/// This CPU's APIC identifier.
pub(super) fn apic_id() -> u32 {
    let id = apic_read(APIC_ID);
    if has(&FEATURES.x2apic) { id } else { id >> 24 }
}

/// Writes the interrupt command register (Intel SDM vol. 3, section 11.6.1). Callable anywhere.
pub(super) fn send(destination: u32, command: u32) {
    const PENDING: u32 = 1 << 12;
    if LOCAL_APIC.load(Ordering::Relaxed) == 0 {
        let value = u64::from(destination) << 32 | u64::from(command);
        // What was written before has to be seen by who is interrupted; this MSR does not wait.
        // SAFETY: a fence, and the MSR of x2APIC mode.
        unsafe {
            core::arch::asm!("mfence", "lfence", options(nostack, preserves_flags));
            Msr::new(MSR_X2APIC + (COMMAND >> 4)).write(value);
        }
        return;
    }
    // An interrupt between the two writes could send one of its own.
    let irq = kernel_sync::irq::save();
    while apic_read(COMMAND) & PENDING != 0 {
        core::hint::spin_loop();
    }
    apic_write(COMMAND_HIGH, destination << 24);
    apic_write(COMMAND, command);
    kernel_sync::irq::restore(irq);
}

/// Sets the controllers up, everything masked.
pub(super) fn init() {
    mask_legacy();
    map_local_apic();
    enable_local_apic(LVT_NMI);
    let mut list = IO_APICS.lock();
    for info in &acpi::platform().io_apics {
        let Ok(base) = map_device(PhysAddr(u64::from(info.address)), 0x20) else {
            log::error!("I/O APIC at {:#x}: cannot be mapped", info.address);
            continue;
        };
        let mut io_apic = IoApic { base, first: info.first_interrupt, count: 0 };
        let version = io_apic.read(1);
        if version == u32::MAX {
            log::warn!("I/O APIC at {:#x}: there is none", info.address);
            continue;
        }
        io_apic.count = (version >> 16 & 0xff) + 1;
        for pin in 0..io_apic.count {
            io_apic.set(pin, LVT_MASKED, 0);
        }
        list.push(io_apic);
    }
}

/// How an ISA interrupt reaches an I/O APIC.
pub(super) fn isa_line(isa: u8) -> IrqLine {
    let found = acpi::platform().overrides.iter().find(|other| other.isa == isa);
    match found {
        Some(wired) => IrqLine {
            number: wired.interrupt,
            level: wired.trigger == Trigger::Level,
            active_low: wired.polarity == Polarity::Low,
        },
        None => IrqLine { number: u32::from(isa), level: false, active_low: false },
    }
}

fn new_vector() -> Result<u8, IrqError> {
    let next = |vector: u8| match vector {
        LAST_DEVICE.. => None,
        vector if vector + 1 == SYSCALL_VECTOR => Some(vector + 2),
        vector => Some(vector + 1),
    };
    NEXT_VECTOR
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
        .map_err(|_| IrqError::Exhausted)
}

/// The APIC identifier of the CPU that the next device interrupts; of the boot CPU, if it has more
/// than the eight bits that lines and messages have for it.
fn next_destination() -> u32 {
    let id = smp::apic_id(secondary::next_for_device()).filter(|&id| id < 0xff);
    id.or_else(|| smp::apic_id(0)).unwrap_or(0) & 0xff
}

/// See [`crate::arch::Architecture::irq_line`].
pub(in crate::arch) fn line(line: IrqLine, handler: IrqHandler) -> Result<(), IrqError> {
    let list = IO_APICS.lock();
    let found = list
        .iter()
        .find(|io_apic| (io_apic.first..io_apic.first + io_apic.count).contains(&line.number));
    let io_apic = found.ok_or(IrqError::NoSuchLine)?;
    let pin = line.number - io_apic.first;
    let source = Source { controller: "IO-APIC", number: line.number, level: line.level };
    let current = io_apic.read(0x10 + 2 * pin);
    if current & LVT_MASKED == 0 {
        // In use: share its vector.
        return DEVICES.add(current & 0xff, source, handler).map(drop);
    }
    let vector = new_vector()?;
    DEVICES.add(u32::from(vector), source, handler)?;
    let low = u32::from(vector) | u32::from(line.active_low) << 13 | u32::from(line.level) << 15;
    io_apic.set(pin, low, next_destination());
    Ok(())
}

/// See [`crate::arch::Architecture::irq_message`] (Intel SDM vol. 3, section 11.11).
pub(in crate::arch) fn message(handler: IrqHandler) -> Result<MessageInterrupt, IrqError> {
    let vector = new_vector()?;
    // The vectors of devices begin behind the numbers of lines that machines have.
    let source = Source { controller: "PCI-MSI", number: u32::from(vector), level: false };
    DEVICES.add(u32::from(vector), source, handler)?;
    let destination = u64::from(next_destination()) << 12;
    Ok(MessageInterrupt { address: DEFAULT_LOCAL_APIC | destination, data: u32::from(vector) })
}

/// See [`crate::arch::Architecture::interrupts`].
pub(in crate::arch) fn list(each: EachInterrupt<'_>) {
    DEVICES.list(each);
    each(&"LOC", &TIMER_COUNTS, &"Local timer interrupts");
    each(&"RES", &LOOK_COUNTS, &"Rescheduling interrupts");
    each(&"TLB", &FLUSH_COUNTS, &"TLB shootdowns");
}

/// Runs the handlers of a vector. Interrupts are off.
pub(super) fn handle(vector: u8, frame: &mut Frame) {
    match vector {
        TIMER_VECTOR => {
            apic_write(END_OF_INTERRUPT, 0);
            TIMER_COUNTS.count();
            up::timer_interrupt(frame);
        }
        LOOK_VECTOR => {
            apic_write(END_OF_INTERRUPT, 0);
            LOOK_COUNTS.count();
            up::other_cpu();
        }
        FLUSH_VECTOR => {
            apic_write(END_OF_INTERRUPT, 0);
            FLUSH_COUNTS.count();
            smp::flush_asked_for();
        }
        // Not acknowledged: none is in service (SDM vol. 3, section 11.9).
        SPURIOUS_VECTOR => {}
        LEGACY_BASE..FIRST_DEVICE => {}
        ERROR_VECTOR => {
            apic_write(END_OF_INTERRUPT, 0);
            log::error!("local APIC: error interrupt");
        }
        _ => {
            DEVICES.run(u32::from(vector));
            apic_write(END_OF_INTERRUPT, 0);
        }
    }
}

/// How a PCI function's interrupt pin (0 is INTA) reaches an I/O APIC. Without AML, two wirings
/// are known: Q35's (ICH9 routes pins of slots below 25 to interrupts 20 to 23) and the PIIX's,
/// where firmware has programmed the legacy number that the line register tells.
pub(in crate::arch) fn pci_line(bus: u8, slot: u8, pin: u8, line_register: u8) -> Option<IrqLine> {
    let has_memory_configuration =
        acpi::platform().pci.iter().any(|host| host.configuration.is_some());
    if has_memory_configuration && bus == 0 {
        let group = if slot < 25 { 20 } else { 16 };
        let number = group + (u32::from(slot) + u32::from(pin)) % 4;
        return Some(IrqLine { number, level: true, active_low: false });
    }
    (1..=15).contains(&line_register).then(|| {
        let wired = isa_line(line_register);
        IrqLine { level: true, ..wired }
    })
}
