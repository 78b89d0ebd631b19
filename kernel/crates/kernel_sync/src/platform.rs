//! What the locks ask of the machine below them, and where it is installed.
//!
//! [`install`] is called once, by the boot CPU, before interrupts are enabled and before
//! a second thread exists; until then the host's defaults apply, which are correct for a
//! single thread with interrupts off.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Whether interrupts were enabled, as [`Platform::irq_save`] found it. Opaque to the locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqState(pub usize);

/// The services of a machine that the locks are built on.
pub struct Platform {
    /// Disables interrupts on this CPU and returns what they were.
    pub irq_save: fn() -> IrqState,
    /// Puts interrupts back to what `irq_save` returned.
    pub irq_restore: fn(IrqState),
    /// Sleeps until woken for `word`, unless `word` no longer holds `expected`; may return
    /// without a reason, as a futex may.
    pub wait: fn(word: &AtomicU32, expected: u32),
    /// Wakes at least one sleeper on `word`, if there is any.
    pub wake: fn(word: &AtomicU32),
}

fn host_save() -> IrqState {
    IrqState(0)
}

fn host_restore(_: IrqState) {}

fn host_wait(_: &AtomicU32, _: u32) {
    core::hint::spin_loop();
}

fn host_wake(_: &AtomicU32) {}

static HOST: Platform =
    Platform { irq_save: host_save, irq_restore: host_restore, wait: host_wait, wake: host_wake };

static PLATFORM: AtomicPtr<Platform> = AtomicPtr::new(core::ptr::null_mut());

/// Makes `platform` the one that every lock uses from now on.
pub fn install(platform: &'static Platform) {
    PLATFORM.store(core::ptr::from_ref(platform).cast_mut(), Ordering::Release);
}

#[inline]
pub(crate) fn platform() -> &'static Platform {
    let pointer = PLATFORM.load(Ordering::Acquire);
    // SAFETY: the pointer is null or was made from a `&'static Platform` in `install`,
    // and nobody ever writes through it.
    unsafe { pointer.as_ref() }.unwrap_or(&HOST)
}
