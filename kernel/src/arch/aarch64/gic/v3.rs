//! GICv3 and later (IHI 0069): each CPU has its interface in system registers, and a
//! redistributor with its own interrupts; CPUs are known by their affinity.

use alloc::vec::Vec;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kernel_gic::{Affinity, FRAME_BYTES, TYPE_REGISTER, redistributors, signal_to_others};
use kernel_sync::OnceCell;

use super::distributor::{self, CONTROL, LOWEST_MASK, TYPE, get, map, set, wait_for_clear};
use crate::arch::aarch64::asm::{read_register, write_register};
use crate::arch::aarch64::cpu;
use crate::arch::aarch64::platform::Registers;
use crate::arch::traits::MAX_CPUS;

// The distributor.
const ROUTER: usize = 0x6000;
const GROUP_1: u32 = 1 << 1;
const AFFINITY_ROUTING: u32 = 1 << 4;
const TYPE_HAS_RANGES: u32 = 1 << 26;
/// A write to CONTROL or CLEAR_ENABLE has not taken effect everywhere.
const WRITE_PENDING: u32 = 1 << 31;

// A redistributor's first frame.
const WAKE: usize = 0x14;
const WAKE_SLEEP: u32 = 1 << 1;
const WAKE_CHILDREN_ASLEEP: u32 = 1 << 2;
const OWN_WRITE_PENDING: u32 = 1 << 3;

/// ICC_SRE_EL1: the interface is in system registers.
const USE_REGISTERS: u64 = 1;
/// ICC_CTLR_EL1.
const SENDS_TO_RANGES: u64 = 1 << 18;

struct Redistributor {
    affinity: Affinity,
    base: usize,
}

/// Of all CPUs, as they are found in memory.
static REDISTRIBUTORS: OnceCell<Vec<Redistributor>> = OnceCell::new();
/// The frame for each CPU's own interrupts. 0 for one that has not set itself up.
static OWN: [AtomicUsize; MAX_CPUS] = [const { AtomicUsize::new(0) }; MAX_CPUS];
/// The affinity of each CPU, as `Affinity::register` has it; of one that has set itself up.
static AFFINITIES: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

fn own_affinity() -> Affinity {
    Affinity::of(read_register!("mpidr_el1"))
}

fn find_redistributors(regions: &[Registers], stride: Option<u64>) -> Option<Vec<Redistributor>> {
    let stride = stride.map(|stride| stride as usize);
    let mut found = Vec::new();
    for &region in regions {
        let start = map(region)?;
        // SAFETY: within the region just mapped; the register has 64 bits.
        let kind_at =
            |offset| unsafe { ((start + offset + TYPE_REGISTER) as *const u64).read_volatile() };
        found.extend(
            redistributors(region.1 as usize, stride, kind_at)
                .map(|(affinity, offset)| Redistributor { affinity, base: start + offset }),
        );
    }
    Some(found)
}

fn redistributor(affinity: Affinity) -> Option<&'static Redistributor> {
    REDISTRIBUTORS.get()?.iter().find(|redistributor| redistributor.affinity == affinity)
}

/// Sets distributor and boot CPU up, which devices interrupt for the time being.
pub(super) fn init(
    distributor: Registers,
    regions: &[Registers],
    stride: Option<u64>,
) -> Option<()> {
    let base = map(distributor)?;
    // Called once; a second set would change nothing.
    let _ = REDISTRIBUTORS.set(find_redistributors(regions, stride)?);
    // Routers are there from when the distributor knows affinities; it may learn of them only
    // while it lets nothing through.
    for control in [0, AFFINITY_ROUTING] {
        set(base, CONTROL, control);
        wait_for_clear(base, CONTROL, WRITE_PENDING);
    }
    distributor::reset(base, true);
    wait_for_clear(base, CONTROL, WRITE_PENDING);
    for number in distributor::device_lines() {
        set_router(base, number, own_affinity().register());
    }
    set(base, CONTROL, AFFINITY_ROUTING | GROUP_1);
    distributor::set_base(base);
    init_cpu()
}

fn set_router(base: usize, number: usize, affinity: u64) {
    let router = (base + ROUTER + number * 8) as *mut u64;
    // SAFETY: as in `distributor::set`; these registers have 64 bits.
    unsafe { router.write_volatile(affinity) };
}

/// Has the interrupt of a device interrupt this CPU.
pub(super) fn route(number: usize, cpu: usize) {
    if let Some(affinity) = AFFINITIES.get(cpu) {
        set_router(distributor::base(), number, affinity.load(Ordering::Relaxed));
    }
}

/// Sets up what this CPU has of its own; `None` if it has not what it needs.
pub(super) fn init_cpu() -> Option<()> {
    let affinity = own_affinity();
    let Some(redistributor) = redistributor(affinity) else {
        log::error!("interrupt controller: no redistributor for CPU {:#x}", affinity.register());
        return None;
    };
    let base = redistributor.base;
    set(base, WAKE, get(base, WAKE) & !WAKE_SLEEP);
    if !wait_for_clear(base, WAKE, WAKE_CHILDREN_ASLEEP) {
        log::error!("interrupt controller: CPU {:#x} does not wake", affinity.register());
        return None;
    }
    let own = base + FRAME_BYTES;
    distributor::reset_own(own, true);
    wait_for_clear(base, CONTROL, OWN_WRITE_PENDING);
    distributor::enable_sent(own);
    init_interface()?;
    let id = cpu::id();
    AFFINITIES.get(id)?.store(affinity.register(), Ordering::Relaxed);
    OWN.get(id)?.store(own, Ordering::Release);
    Some(())
}

/// Sets this CPU's interface up.
fn init_interface() -> Option<()> {
    let use_registers = read_register!("icc_sre_el1") | USE_REGISTERS;
    // SAFETY: the interface is the kernel's.
    unsafe {
        write_register!("icc_sre_el1", use_registers);
        asm!("isb", options(nostack, preserves_flags));
    }
    if read_register!("icc_sre_el1") & USE_REGISTERS == 0 {
        log::error!("interrupt controller: firmware keeps its system registers to itself");
        return None;
    }
    // SAFETY: as above: the mask is opened, priorities are not grouped, one write ends an
    // interrupt, group 1 is let through.
    unsafe {
        write_register!("icc_pmr_el1", u64::from(LOWEST_MASK));
        write_register!("icc_bpr1_el1", 0u64);
        write_register!("icc_ctlr_el1", 0u64);
        write_register!("icc_igrpen1_el1", 1u64);
        asm!("isb", options(nostack, preserves_flags));
    }
    Some(())
}

/// Whether a CPU can take interrupts and this one can send it some. After `init`.
pub(super) fn reaches(affinity: Affinity) -> bool {
    let in_range = || {
        let sends = read_register!("icc_ctlr_el1") & SENDS_TO_RANGES != 0;
        sends && get(distributor::base(), TYPE) & TYPE_HAS_RANGES != 0
    };
    redistributor(affinity).is_some() && (!affinity.needs_range() || in_range())
}

/// Where this CPU's own interrupts are let through; 0 before `init_cpu`.
pub(super) fn own() -> usize {
    OWN.get(cpu::id()).map_or(0, |own| own.load(Ordering::Relaxed))
}

fn signal(value: u64) {
    // SAFETY: only interrupts CPUs, which expect it. The barrier makes it happen now.
    unsafe {
        write_register!("icc_sgi1r_el1", value);
        asm!("isb", options(nostack, preserves_flags));
    }
}

/// Sends interrupt `number`, below 16, to the CPU.
pub(super) fn send(cpu: usize, number: u32) {
    let (Some(own), Some(affinity)) = (OWN.get(cpu), AFFINITIES.get(cpu)) else { return };
    if own.load(Ordering::Acquire) != 0 {
        signal(Affinity::of(affinity.load(Ordering::Relaxed)).signal(number));
    }
}

/// Sends it to all others.
pub(super) fn send_to_others(number: u32) {
    signal(signal_to_others(number));
}

/// Takes the pending interrupt with the highest priority.
#[inline]
pub(super) fn acknowledge() -> u32 {
    let number = read_register!("icc_iar1_el1") as u32;
    // SAFETY: a barrier: what the handler does comes after.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
    number
}

/// Ends what `acknowledge` has returned.
#[inline]
pub(super) fn end(taken: u32) {
    // SAFETY: ends an interrupt that `acknowledge` has returned.
    unsafe {
        write_register!("icc_eoir1_el1", u64::from(taken));
        asm!("isb", options(nostack, preserves_flags));
    }
}
