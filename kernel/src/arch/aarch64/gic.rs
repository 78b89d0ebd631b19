//! Arm's interrupt controllers: GICv2 (IHI 0048), with registers in memory, and GICv3
//! (IHI 0069), whose CPU interface is in system registers; and GICv2m, which turns the writes
//! of devices into interrupts. Devices interrupt the boot CPU, at one priority. What a CPU has of its
//! own is set up on it ([`init_cpu`]): its interface, and interrupts 0 to 31, of which the first 16
//! are those that CPUs send each other.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::asm::{read_register, write_register};
use super::cpu;
use super::platform::{Controller, Registers, platform};
use crate::arch::paging::map_device;
use crate::arch::traits::{MAX_CPUS, MessageInterrupt, PhysAddr};

// The distributor. Most of these have a bit, or a byte, for each interrupt.
const CONTROL: usize = 0x000;
const TYPE: usize = 0x004;
const GROUP: usize = 0x080;
const SET_ENABLE: usize = 0x100;
const CLEAR_ENABLE: usize = 0x180;
const PRIORITY: usize = 0x400;
const TARGETS: usize = 0x800;
const CONFIGURATION: usize = 0xc00;
const SEND: usize = 0xf00;
const ROUTER: usize = 0x6000;

// The GICv2's CPU interface.
const CPU_CONTROL: usize = 0x00;
const CPU_PRIORITY_MASK: usize = 0x04;
const CPU_ACKNOWLEDGE: usize = 0x0c;
const CPU_END: usize = 0x10;

// A GICv3 redistributor: a frame of its own, and one for the CPU's own interrupts.
const WAKE: usize = 0x14;
const REDISTRIBUTOR_TYPE: usize = 0x08;
const OWN_INTERRUPTS: usize = 0x1_0000;
const WAKE_SLEEP: u32 = 1 << 1;
const WAKE_CHILDREN_ASLEEP: u32 = 1 << 2;

/// The GICv2m frame: which interrupts it has; where devices write.
const MESSAGE_TYPE: usize = 0x008;
const MESSAGE_SET: u64 = 0x040;

/// Everything at one priority, below (so allowed by) the mask.
const ALL_PRIORITIES: u32 = 0xa0a0_a0a0;
const LOWEST_MASK: u32 = 0xff;
/// From here on numbers mean that nothing is pending.
const SPECIAL: u32 = 1020;

static DISTRIBUTOR: AtomicUsize = AtomicUsize::new(0);
/// The GICv2's CPU interface; 0: in system registers.
static CPU: AtomicUsize = AtomicUsize::new(0);
/// The GICv3's frame for this CPU's own interrupts; 0: the distributor has them.
static OWN: AtomicUsize = AtomicUsize::new(0);
static LINES: AtomicU32 = AtomicU32::new(0);
/// How a GICv2 names each CPU: a bit. 0 for one that it does not reach.
static V2_TARGETS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// One more than the highest interrupt of the distributor.
pub(super) fn lines() -> u32 {
    LINES.load(Ordering::Relaxed)
}

fn get(base: usize, register: usize) -> u32 {
    // SAFETY: the controller's registers, mapped by `init` and never unmapped.
    unsafe { ((base + register) as *const u32).read_volatile() }
}

fn set(base: usize, register: usize, value: u32) {
    // SAFETY: as in `get`; the kernel owns the controller.
    unsafe { ((base + register) as *mut u32).write_volatile(value) };
}

fn map((start, length): Registers) -> Option<usize> {
    match map_device(PhysAddr(start), length as usize) {
        Ok(base) => Some(base),
        Err(error) => {
            log::error!("interrupt controller at {start:#x}: cannot be mapped: {error:?}");
            None
        }
    }
}

/// Interrupts that devices cause by writing their number.
pub(super) struct Messages {
    address: u64,
    next: u32,
    end: u32,
}

impl Messages {
    /// The frame says which interrupts it has: the first and how many (Arm Server Base System
    /// Architecture, GICv2m).
    fn find(registers: Registers) -> Option<Self> {
        let kind = get(map(registers)?, MESSAGE_TYPE);
        let (first, count) = (kind >> 16 & 0x3ff, kind & 0x3ff);
        Some(Self { address: registers.0 + MESSAGE_SET, next: first, end: first + count })
    }

    /// One that nobody has yet: what the device writes, and its number.
    pub(super) fn take(&mut self) -> Option<(MessageInterrupt, u32)> {
        let number = self.next;
        if number >= self.end {
            return None;
        }
        self.next += 1;
        Some((MessageInterrupt { address: self.address, data: number }, number))
    }
}

/// Masks everything in the distributor and sets its lines to one priority and this CPU.
fn reset_distributor(base: usize, affinity: bool) {
    set(base, CONTROL, 0);
    let words = (get(base, TYPE) & 31) as usize + 1;
    let lines = (words * 32).min(SPECIAL as usize);
    LINES.store(lines as u32, Ordering::Relaxed);
    for word in 1..words {
        set(base, CLEAR_ENABLE + word * 4, u32::MAX);
        set(base, GROUP + word * 4, if affinity { u32::MAX } else { 0 });
    }
    for line in (32..lines).step_by(4) {
        set(base, PRIORITY + line, ALL_PRIORITIES);
        if !affinity {
            set(base, TARGETS + line, v2_target(base) * 0x0101_0101);
        }
    }
    if affinity {
        let target = this_affinity();
        for line in 32..lines {
            // SAFETY: as in `set`; these registers have 64 bits.
            unsafe { ((base + ROUTER + line * 8) as *mut u64).write_volatile(target) };
        }
    }
}

/// The bit by which a GICv2 knows this CPU: the targets of its own interrupts are itself.
fn v2_target(distributor: usize) -> u32 {
    // With one CPU only, the registers read as zero (IHI 0048, 4.3.12).
    let targets = (0..32).step_by(4).map(|own| get(distributor, TARGETS + own));
    match targets.fold(0, |all, some| all | some) {
        0 => 1,
        targets => (targets | targets >> 8 | targets >> 16 | targets >> 24) & 0xff,
    }
}

/// This CPU's place among the others, as routers and redistributors name it.
fn this_affinity() -> u64 {
    read_register!("mpidr_el1") & 0xff_00ff_ffff
}

fn init_v2(distributor: Registers, interface: Registers) -> Option<()> {
    let (base, interface) = (map(distributor)?, map(interface)?);
    reset_distributor(base, false);
    set(base, CONTROL, 1);
    CPU.store(interface, Ordering::Relaxed);
    DISTRIBUTOR.store(base, Ordering::Relaxed);
    init_v2_cpu();
    Some(())
}

/// This CPU's own part.
fn init_v2_cpu() {
    let (base, interface) = (DISTRIBUTOR.load(Ordering::Relaxed), CPU.load(Ordering::Relaxed));
    if let Some(target) = V2_TARGETS.get(cpu::id()) {
        target.store(v2_target(base), Ordering::Relaxed);
    }
    set(base, CLEAR_ENABLE, u32::MAX);
    for own in (0..32).step_by(4) {
        set(base, PRIORITY + own, ALL_PRIORITIES);
    }
    set(interface, CPU_PRIORITY_MASK, LOWEST_MASK);
    set(interface, CPU_CONTROL, 1);
    // Those that CPUs send; on some controllers they cannot be masked at all.
    set(base, SET_ENABLE, 0xffff);
}

/// Whether CPUs can interrupt each other, without which only the boot CPU is used.
pub(super) fn reaches_others() -> bool {
    CPU.load(Ordering::Relaxed) != 0
}

/// Sets up what a further CPU, on which this runs, has of its own.
pub(super) fn init_cpu() {
    init_v2_cpu();
}

/// Who is interrupted sees what this CPU wrote before.
fn publish() {
    // SAFETY: a barrier.
    unsafe { core::arch::asm!("dsb ishst", options(nostack, preserves_flags)) };
}

/// Sends interrupt `number`, below 16, to the CPU. What was written before is seen by it.
pub(super) fn send(cpu: usize, number: u32) {
    let Some(target) = V2_TARGETS.get(cpu) else { return };
    publish();
    let target = target.load(Ordering::Relaxed);
    set(DISTRIBUTOR.load(Ordering::Relaxed), SEND, target << 16 | number);
}

/// Sends it to all others. As `send`.
pub(super) fn send_to_others(number: u32) {
    const ALL_OTHERS: u32 = 1 << 24;
    if reaches_others() {
        publish();
        set(DISTRIBUTOR.load(Ordering::Relaxed), SEND, ALL_OTHERS | number);
    }
}

/// The redistributor of this CPU.
fn find_redistributor(regions: &[Registers]) -> Option<usize> {
    const LAST: u64 = 1 << 4;
    const VIRTUAL: u64 = 1 << 1;
    let wanted = this_affinity();
    let wanted = wanted & 0xff_ffff | wanted >> 8 & 0xff00_0000;
    for &region in regions {
        let base = map(region)?;
        let mut offset = 0;
        while offset < region.1 as usize {
            // SAFETY: within the region just mapped; the register has 64 bits.
            let kind =
                unsafe { ((base + offset + REDISTRIBUTOR_TYPE) as *const u64).read_volatile() };
            if kind >> 32 == wanted {
                return Some(base + offset);
            }
            if kind & LAST != 0 {
                break;
            }
            offset += if kind & VIRTUAL != 0 { 0x4_0000 } else { 0x2_0000 };
        }
    }
    None
}

fn init_v3(distributor: Registers, redistributors: &[Registers]) -> Option<()> {
    const GROUP_1: u32 = 1 << 1;
    const AFFINITY: u32 = 1 << 4;
    let base = map(distributor)?;
    let redistributor = find_redistributor(redistributors)?;
    reset_distributor(base, true);
    set(base, CONTROL, AFFINITY | GROUP_1);
    set(redistributor, WAKE, get(redistributor, WAKE) & !WAKE_SLEEP);
    let mut patience = 1_000_000u32;
    while get(redistributor, WAKE) & WAKE_CHILDREN_ASLEEP != 0 && patience > 0 {
        patience -= 1;
    }
    let own = redistributor + OWN_INTERRUPTS;
    set(own, CLEAR_ENABLE, u32::MAX);
    set(own, GROUP, u32::MAX);
    for line in (0..32).step_by(4) {
        set(own, PRIORITY + line, ALL_PRIORITIES);
    }
    let use_registers = read_register!("S3_0_C12_C12_5") | 1;
    // SAFETY: the registers of the CPU interface, which the kernel owns: their use is enabled
    // (SRE), the mask opened, group 1 let through.
    unsafe {
        write_register!("S3_0_C12_C12_5", use_registers);
        core::arch::asm!("isb", options(nostack, preserves_flags));
        write_register!("S3_0_C4_C6_0", u64::from(LOWEST_MASK));
        write_register!("S3_0_C12_C12_3", 0u64);
        write_register!("S3_0_C12_C12_7", 1u64);
        core::arch::asm!("isb", options(nostack, preserves_flags));
    }
    OWN.store(own, Ordering::Relaxed);
    DISTRIBUTOR.store(base, Ordering::Relaxed);
    Some(())
}

/// Sets the controller that the device tree names up, everything masked; what it has of
/// messages.
pub(super) fn init() -> Option<Messages> {
    match &platform().controller {
        Some(Controller::V2 { distributor, cpu, messages }) => {
            init_v2(*distributor, *cpu)?;
            log::info!("interrupt controller: GICv2, {} lines", lines());
            messages.and_then(Messages::find)
        }
        Some(Controller::V3 { distributor, redistributors }) => {
            init_v3(*distributor, redistributors)?;
            log::info!("interrupt controller: GICv3, {} lines", lines());
            None
        }
        None => {
            log::error!("no interrupt controller in the device tree that is known");
            None
        }
    }
}

/// Lets an interrupt through.
pub(super) fn enable(number: u32, level: bool) {
    let own = OWN.load(Ordering::Relaxed);
    let base = if number < 32 && own != 0 { own } else { DISTRIBUTOR.load(Ordering::Relaxed) };
    if base == 0 {
        return;
    }
    let number = number as usize;
    let (register, shift) = (CONFIGURATION + number / 16 * 4, number % 16 * 2 + 1);
    let edge = u32::from(!level) << shift;
    set(base, register, get(base, register) & !(1 << shift) | edge);
    set(base, SET_ENABLE + number / 32 * 4, 1 << (number % 32));
}

/// An interrupt that this CPU is dealing with, as the controller wrote it.
#[derive(Clone, Copy)]
pub(super) struct Taken(u32);

impl Taken {
    /// Its number.
    #[inline]
    pub(super) fn number(self) -> u32 {
        // In a GICv2 the upper bits tell which CPU sent it, if one did.
        if CPU.load(Ordering::Relaxed) == 0 { self.0 } else { self.0 & 0x3ff }
    }
}

/// Takes the pending interrupt with the highest priority.
#[inline]
pub(super) fn acknowledge() -> Option<Taken> {
    let taken = match CPU.load(Ordering::Relaxed) {
        0 if OWN.load(Ordering::Relaxed) == 0 => return None,
        0 => {
            let number = read_register!("S3_0_C12_C12_0") as u32;
            // SAFETY: a barrier: what the handler does comes after.
            unsafe { core::arch::asm!("dsb sy", options(nostack, preserves_flags)) };
            Taken(number)
        }
        cpu => Taken(get(cpu, CPU_ACKNOWLEDGE)),
    };
    (taken.number() < SPECIAL).then_some(taken)
}

/// The interrupt has been handled.
#[inline]
pub(super) fn end(taken: Taken) {
    match CPU.load(Ordering::Relaxed) {
        // SAFETY: ends an interrupt that `acknowledge` has returned.
        0 => unsafe {
            write_register!("S3_0_C12_C12_1", u64::from(taken.0));
            core::arch::asm!("isb", options(nostack, preserves_flags));
        },
        cpu => set(cpu, CPU_END, taken.0),
    }
}
