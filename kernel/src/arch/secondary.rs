//! Starting the CPUs beside the boot CPU: what all machines do alike.
//!
//! The boot CPU calls one, by whatever firmware offers for it ([`call`]), and waits until it has
//! set itself up and says so ([`arrive`]). One that comes too late finds that nobody waits for it
//! any more, and has to stop: its number may be another's.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Arch, Architecture};

/// How long a CPU may take. One that is there takes milliseconds, unless the machine is emulated
/// by a busy one.
const PATIENCE_NS: u64 = 10_000_000_000;

const NOBODY: usize = 0;

/// One more than the index of the CPU that is being waited for.
static AWAITED: AtomicUsize = AtomicUsize::new(NOBODY);

/// CPUs that run the kernel.
static ONLINE: AtomicUsize = AtomicUsize::new(1);

/// See [`Architecture::cpus_online`].
#[inline]
pub(super) fn online() -> usize {
    ONLINE.load(Ordering::Relaxed)
}

/// The CPU that the next device interrupts: each in turn of those that run the kernel now.
pub(super) fn next_for_device() -> usize {
    static DEVICES: AtomicUsize = AtomicUsize::new(0);
    DEVICES.fetch_add(1, Ordering::Relaxed) % online()
}

/// Has `kick` start the CPU with this index in firmware's list, and waits until it has arrived;
/// `false` if `kick` says that it cannot be started, or it does not come. `kick` is called again
/// with the number of calls so far, while the CPU does not come, at intervals of `retry_ns`.
pub(super) fn call(index: usize, retry_ns: u64, mut kick: impl FnMut(usize) -> bool) -> bool {
    let awaited = index + 1;
    AWAITED.store(awaited, Ordering::Release);
    let start = Arch::now_ns();
    let mut kicks = 0;
    loop {
        let passed = Arch::now_ns().saturating_sub(start);
        if AWAITED.load(Ordering::Acquire) == NOBODY {
            return true;
        }
        let late = passed > PATIENCE_NS;
        if late || (passed >= kicks as u64 * retry_ns && !kick(kicks)) {
            let given_up =
                AWAITED.compare_exchange(awaited, NOBODY, Ordering::AcqRel, Ordering::Acquire);
            // It may have come at the last moment.
            return given_up.is_err();
        }
        kicks = (passed / retry_ns.max(1)) as usize + 1;
        Arch::relax();
    }
}

/// Called by a further CPU when it is ready to run the kernel: whether it may. It counts as
/// online from then on.
pub(super) fn arrive(index: usize) -> bool {
    ONLINE.fetch_add(1, Ordering::Relaxed);
    let arrived =
        AWAITED.compare_exchange(index + 1, NOBODY, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if !arrived {
        ONLINE.fetch_sub(1, Ordering::Relaxed);
    }
    arrived
}

/// Called by the boot CPU: the CPU that has just arrived does not run the kernel after all.
#[cfg(target_arch = "x86_64")]
pub(super) fn leave() {
    ONLINE.fetch_sub(1, Ordering::Relaxed);
}
