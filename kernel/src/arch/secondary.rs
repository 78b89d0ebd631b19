//! Starting the CPUs beside the boot CPU: what all machines do alike.
//!
//! The boot CPU calls one, by whatever firmware offers for it ([`call`]). One that comes asks whether
//! it is still awaited ([`come`]), sets up what the machine has for its number, and says that it is
//! ready ([`arrive`]). One that comes too late has to stop before it touches any of that: its number
//! may be another's.

use core::sync::atomic::{AtomicUsize, Ordering};

use super::{Arch, Architecture};

/// How long a CPU may take. One that is there takes milliseconds, unless the machine is emulated
/// by a busy one.
const PATIENCE_NS: u64 = 10_000_000_000;

const NOBODY: usize = 0;
/// The CPU that was waited for has come, and sets itself up.
const COMING: usize = usize::MAX;
/// It cannot set itself up.
const FAILED: usize = usize::MAX - 1;

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
        match AWAITED.load(Ordering::Acquire) {
            NOBODY => return true,
            FAILED => {
                AWAITED.store(NOBODY, Ordering::Relaxed);
                return false;
            }
            // It does not take long now, and is not called again.
            COMING => {
                Arch::relax();
                continue;
            }
            _ => {}
        }
        let late = passed > PATIENCE_NS;
        if late || (passed >= kicks as u64 * retry_ns && !kick(kicks)) {
            let given_up =
                AWAITED.compare_exchange(awaited, NOBODY, Ordering::AcqRel, Ordering::Acquire);
            if given_up.is_ok() {
                return false;
            }
            // It has come at the last moment.
            continue;
        }
        kicks = (passed / retry_ns.max(1)) as usize + 1;
        Arch::relax();
    }
}

/// Called by a further CPU when it has come, before it sets up anything that goes by its number:
/// whether it may, and is waited for until it calls [`arrive`] or [`fail`].
pub(super) fn come(index: usize) -> bool {
    AWAITED.compare_exchange(index + 1, COMING, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

/// Called by a further CPU that has come, when it is ready to run the kernel. It counts as online
/// from then on.
pub(super) fn arrive() {
    ONLINE.fetch_add(1, Ordering::Relaxed);
    AWAITED.store(NOBODY, Ordering::Release);
}

/// Called by a further CPU that has come: it cannot run the kernel.
#[cfg(target_arch = "aarch64")]
pub(super) fn fail() {
    AWAITED.store(FAILED, Ordering::Release);
}

/// Called by the boot CPU: the CPU that has just arrived does not run the kernel after all.
#[cfg(target_arch = "x86_64")]
pub(super) fn leave() {
    ONLINE.fetch_sub(1, Ordering::Relaxed);
}
