//! GICv2 (IHI 0048): the CPUs' interface is in memory, at one address for all; the distributor
//! knows each CPU by a bit, so there are at most eight, and has each CPU's own interrupts.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::distributor::{self, CONTROL, LOWEST_MASK, get, map, set};
use crate::arch::aarch64::cpu;
use crate::arch::aarch64::platform::Registers;
use crate::arch::traits::MAX_CPUS;

// The distributor.
const TARGETS: usize = 0x800;
const SEND: usize = 0xf00;

// The CPU's interface.
const CPU_CONTROL: usize = 0x00;
const CPU_PRIORITY_MASK: usize = 0x04;
const CPU_ACKNOWLEDGE: usize = 0x0c;
const CPU_END: usize = 0x10;

/// The distributor has a bit for each.
pub(super) const MOST_CPUS: usize = 8;

static INTERFACE: AtomicUsize = AtomicUsize::new(0);
/// The bit of each CPU. 0 for one that has not set itself up.
static BITS: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

/// The bit by which the distributor knows this CPU: the targets of its own interrupts are itself.
fn own_bit(distributor: usize) -> u32 {
    // With one CPU only, the registers read as zero (IHI 0048, 4.3.12).
    let targets = (0..32).step_by(4).map(|own| get(distributor, TARGETS + own));
    match targets.fold(0, |all, some| all | some) {
        0 => 1,
        targets => (targets | targets >> 8 | targets >> 16 | targets >> 24) & 0xff,
    }
}

/// Sets distributor and boot CPU up.
pub(super) fn init(distributor: Registers, interface: Registers) -> Option<()> {
    let (base, interface) = (map(distributor)?, map(interface)?);
    set(base, CONTROL, 0);
    distributor::reset(base, false);
    let target = own_bit(base) * 0x0101_0101;
    for line in distributor::device_lines().step_by(4) {
        set(base, TARGETS + line, target);
    }
    set(base, CONTROL, 1);
    INTERFACE.store(interface, Ordering::Relaxed);
    distributor::set_base(base);
    init_cpu();
    Some(())
}

/// Sets up what this CPU has of its own.
pub(super) fn init_cpu() {
    let (base, interface) = (distributor::base(), INTERFACE.load(Ordering::Relaxed));
    if let Some(bit) = BITS.get(cpu::id()) {
        bit.store(own_bit(base), Ordering::Relaxed);
    }
    distributor::reset_own(base, false);
    set(interface, CPU_PRIORITY_MASK, LOWEST_MASK);
    set(interface, CPU_CONTROL, 1);
    distributor::enable_sent(base);
}

/// Has the interrupt of a device interrupt this CPU.
pub(super) fn route(number: usize, cpu: usize) {
    let Some(bit) = BITS.get(cpu) else { return };
    let (base, register, shift) = (distributor::base(), TARGETS + number / 4 * 4, number % 4 * 8);
    let others = get(base, register) & !(0xff << shift);
    set(base, register, others | bit.load(Ordering::Relaxed) << shift);
}

/// Sends interrupt `number`, below 16, to the CPU.
pub(super) fn send(cpu: usize, number: u32) {
    let Some(bit) = BITS.get(cpu) else { return };
    let target = bit.load(Ordering::Relaxed);
    set(distributor::base(), SEND, target << 16 | number);
}

/// Sends it to all others.
pub(super) fn send_to_others(number: u32) {
    const ALL_OTHERS: u32 = 1 << 24;
    set(distributor::base(), SEND, ALL_OTHERS | number);
}

/// Takes the pending interrupt with the highest priority: its number, and above bit 9 which CPU
/// sent it, if one did.
#[inline]
pub(super) fn acknowledge() -> u32 {
    get(INTERFACE.load(Ordering::Relaxed), CPU_ACKNOWLEDGE)
}

/// Ends what `acknowledge` has returned.
#[inline]
pub(super) fn end(taken: u32) {
    set(INTERFACE.load(Ordering::Relaxed), CPU_END, taken);
}
