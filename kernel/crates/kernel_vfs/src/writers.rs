//! A mount becomes read-only only when no file on it is open to be written, and as long as it is
//! read-only none is opened so.
//!
//! [`Writers`] counts them; who has a file open to be written holds a [`Writer`].

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sync::{Mutex, MutexGuard};

use crate::error::FsError;
use crate::mount::Mount;

/// Instead of a number: the mount is read-only.
const NONE_ALLOWED: u32 = u32::MAX;

/// How many files of a mount are open to be written.
pub(crate) struct Writers {
    count: AtomicU32,
    /// Held while a mount changes between read-only and not, until that has succeeded or failed.
    changing: Mutex<()>,
}

impl Writers {
    pub(crate) const fn new(allowed: bool) -> Self {
        Self {
            count: AtomicU32::new(if allowed { 0 } else { NONE_ALLOWED }),
            changing: Mutex::new(()),
        }
    }

    fn count_one(&self) -> bool {
        let one_more = |count| if count < NONE_ALLOWED - 1 { Some(count + 1) } else { None };
        self.count.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// For who changes whether there may be any.
    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock()
    }

    /// From now on none may be.
    ///
    /// # Errors
    /// `Busy` if there is one.
    pub(crate) fn forbid(&self, _lock: &MutexGuard<'_, ()>) -> Result<(), FsError> {
        match self.count.compare_exchange(0, NONE_ALLOWED, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) | Err(NONE_ALLOWED) => Ok(()),
            Err(_) => Err(FsError::Busy),
        }
    }

    /// From now on there may be some.
    pub(crate) fn allow(&self, _lock: &MutexGuard<'_, ()>) {
        // Fails if they are allowed already, and some are counted.
        let _ = self.count.compare_exchange(NONE_ALLOWED, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// A file of a mount is open to be written as long as this is held.
pub struct Writer {
    mount: Arc<Mount>,
}

impl Writer {
    /// # Errors
    /// `ReadOnly`.
    pub(crate) fn new(mount: &Arc<Mount>) -> Result<Self, FsError> {
        let writers = mount.writers();
        let counted = writers.count_one() || {
            // A remount that fails allows it again.
            let _changing = writers.lock();
            writers.count_one()
        };
        if counted { Ok(Self { mount: Arc::clone(mount) }) } else { Err(FsError::ReadOnly) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.mount.writers().count.fetch_sub(1, Ordering::AcqRel);
    }
}
