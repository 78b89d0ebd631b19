//! Arm's interrupt controllers.
//!
//! | file | what |
//! |---|---|
//! | [`distributor`] | lets interrupts of devices through: what both versions have alike |
//! | [`v2`] | GICv2: CPUs have their interface in memory |
//! | [`v3`] | GICv3: CPUs have their interface in system registers, and a redistributor each |
//! | [`messages`] | GICv2m: devices interrupt by writing |
//!
//! Each device interrupts one CPU ([`route`]), all at one priority. What a CPU has of its own is set
//! up on it ([`init_cpu`]): its interface, and interrupts 0 to 31, of which the first 16 are those
//! that CPUs send each other ([`send`]).

mod distributor;
mod messages;
mod v2;
mod v3;

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering};

use kernel_gic::Affinity;

pub(super) use self::distributor::lines;
use self::distributor::{OWN, SPECIAL};
pub(super) use self::messages::Messages;
use super::platform::{Controller, platform};
use crate::arch::traits::MAX_CPUS;

/// The version that is set up.
static VERSION: AtomicU8 = AtomicU8::new(NONE);
const NONE: u8 = 0;
const V2: u8 = 2;
const V3: u8 = 3;

#[inline]
fn version() -> u8 {
    VERSION.load(Ordering::Relaxed)
}

/// The controller's name.
pub(super) fn name() -> &'static str {
    match version() {
        V2 => "GICv2",
        V3 => "GICv3",
        _ => "no GIC",
    }
}

/// Sets the controller that the device tree names up, everything masked; what it has of
/// messages.
pub(super) fn init() -> Option<Messages> {
    let (version, messages) = match &platform().controller {
        Some(Controller::V2 { distributor, cpu, messages }) => {
            v2::init(*distributor, *cpu)?;
            (V2, messages.and_then(Messages::find))
        }
        Some(Controller::V3 { distributor, redistributors, stride }) => {
            v3::init(*distributor, redistributors, *stride)?;
            (V3, None)
        }
        None => {
            log::error!("no interrupt controller in the device tree that is known");
            return None;
        }
    };
    VERSION.store(version, Ordering::Relaxed);
    log::info!("interrupt controller: GICv{version}, {} lines", lines());
    messages
}

/// Sets up what a further CPU, on which this runs, has of its own; `false` if it cannot be
/// interrupted.
pub(super) fn init_cpu() -> bool {
    match version() {
        V2 => v2::init_cpu(),
        V3 => return v3::init_cpu().is_some(),
        _ => return false,
    }
    true
}

/// Whether the CPU with this affinity can interrupt others and be interrupted, without which it is
/// not used.
pub(super) fn reaches(affinity: Affinity) -> bool {
    match version() {
        V2 => true,
        V3 => v3::reaches(affinity),
        _ => false,
    }
}

/// How many CPUs can be interrupted.
pub(super) fn most_cpus() -> usize {
    if version() == V2 { v2::MOST_CPUS } else { MAX_CPUS }
}

/// Who is interrupted sees what this CPU wrote before.
fn publish() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
}

/// Sends interrupt `number`, below 16, to the CPU. What was written before is seen by it.
pub(super) fn send(cpu: usize, number: u32) {
    publish();
    match version() {
        V2 => v2::send(cpu, number),
        V3 => v3::send(cpu, number),
        _ => {}
    }
}

/// Sends it to all others. As `send`.
pub(super) fn send_to_others(number: u32) {
    publish();
    match version() {
        V2 => v2::send_to_others(number),
        V3 => v3::send_to_others(number),
        _ => {}
    }
}

/// Has the interrupt of a device interrupt this CPU, which has set itself up. By one CPU at a time.
pub(super) fn route(number: u32, cpu: usize) {
    match version() {
        V2 => v2::route(number as usize, cpu),
        V3 => v3::route(number as usize, cpu),
        _ => {}
    }
}

/// Lets an interrupt through; one below 32 on this CPU.
pub(super) fn enable(number: u32, level: bool) {
    let own = number < OWN && version() == V3;
    let base = if own { v3::own() } else { distributor::base() };
    if base != 0 {
        distributor::enable(base, number, level);
    }
}

/// An interrupt that this CPU is dealing with, as the controller wrote it.
#[derive(Clone, Copy)]
pub(super) struct Taken(u32);

impl Taken {
    /// Its number. A GICv2 has more in the bits above; in a GICv3 nothing that needs them is ever
    /// let through.
    #[inline]
    pub(super) fn number(self) -> u32 {
        self.0 & 0x3ff
    }
}

/// Takes the pending interrupt with the highest priority.
#[inline]
pub(super) fn acknowledge() -> Option<Taken> {
    let taken = Taken(match version() {
        V2 => v2::acknowledge(),
        V3 => v3::acknowledge(),
        _ => return None,
    });
    (taken.number() < SPECIAL).then_some(taken)
}

/// The interrupt has been handled.
#[inline]
pub(super) fn end(taken: Taken) {
    match version() {
        V2 => v2::end(taken.0),
        V3 => v3::end(taken.0),
        _ => {}
    }
}
