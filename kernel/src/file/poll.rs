//! Waiting until one of several files is ready (`poll(2)`, `epoll(7)`).
//!
//! There is one queue for all who wait so. Whatever makes a file ready calls [`changed`], which
//! costs one load while nobody waits; then all look again. Few wait at a time, and what they wait
//! for is cheap to ask.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

use kernel_vfs::FsError;

use crate::mcore::WaitQueue;

static WAITERS: WaitQueue = WaitQueue::new();
static COUNT: AtomicUsize = AtomicUsize::new(0);
/// How often something has changed while somebody waited.
static CHANGES: AtomicU64 = AtomicU64::new(0);

/// Something has become readable or writable. Callable in interrupts.
#[inline]
pub fn changed() {
    // Who waits has counted itself before it looks: one of the two sees the other.
    fence(Ordering::SeqCst);
    if COUNT.load(Ordering::Relaxed) > 0 {
        CHANGES.fetch_add(1, Ordering::SeqCst);
        WAITERS.wake_all();
    }
}

/// Waits until `look` returns something, or until `deadline` on the scale of `now_ns`. `look` is
/// not called while the task is in a queue: it may wait for locks.
///
/// # Errors
/// `Interrupted` if a signal comes first.
pub fn wait<T>(
    mut look: impl FnMut() -> Option<T>,
    deadline: Option<u64>,
) -> Result<Option<T>, FsError> {
    COUNT.fetch_add(1, Ordering::SeqCst);
    let result = loop {
        let seen = CHANGES.load(Ordering::SeqCst);
        if let Some(found) = look() {
            break Ok(Some(found));
        }
        let news = || (CHANGES.load(Ordering::SeqCst) != seen).then_some(());
        let waited = match deadline {
            Some(deadline) => WAITERS.wait_deadline(news, deadline),
            None => WAITERS.wait_until(news).map(Some),
        };
        match waited {
            Ok(Some(())) => {}
            Ok(None) => break Ok(look()),
            Err(_) => break Err(FsError::Interrupted),
        }
    };
    COUNT.fetch_sub(1, Ordering::AcqRel);
    result
}
