//! Waiting until one of several files is ready (`poll(2)`).
//!
//! There is one queue for all who wait so. Whatever makes a file ready calls [`changed`], which
//! costs one load while nobody waits; then all look again. Few wait at a time, and what they wait
//! for is cheap to ask.

use core::sync::atomic::{AtomicUsize, Ordering, fence};

use kernel_vfs::FsError;

use crate::mcore::WaitQueue;

static WAITERS: WaitQueue = WaitQueue::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Something has become readable or writable. Callable in interrupts.
#[inline]
pub fn changed() {
    // Who waits has counted itself before it looks: one of the two sees the other.
    fence(Ordering::SeqCst);
    if COUNT.load(Ordering::Relaxed) > 0 {
        WAITERS.wake_all();
    }
}

/// Waits until `ready` returns something, or until `deadline` on the scale of `now_ns`.
///
/// # Errors
/// `Interrupted` if a signal comes first.
pub fn wait<T>(
    ready: impl FnMut() -> Option<T>,
    deadline: Option<u64>,
) -> Result<Option<T>, FsError> {
    COUNT.fetch_add(1, Ordering::SeqCst);
    let result = match deadline {
        Some(deadline) => WAITERS.wait_deadline(ready, deadline),
        None => WAITERS.wait_until(ready).map(Some),
    };
    COUNT.fetch_sub(1, Ordering::AcqRel);
    result.map_err(|_| FsError::Interrupted)
}
