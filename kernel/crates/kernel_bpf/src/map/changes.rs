//! Who may still change a map by system calls: [`Changes`], from open by way of frozen to
//! settled, and [`Writer`], a mapping of the map's pages that can be written.
//!
//! A map with a writer cannot be frozen, and a frozen one gets no writer; nor does one that
//! programs may only read, so that what the verifier takes for constant has no other way in.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, Ordering};

use super::error::MapError;
use super::object::Map;

/// They can no longer begin to change it.
const FROZEN: u32 = 1;
/// Those that had begun are done.
const SETTLED: u32 = 2;
/// While neither is so, the rest of the number counts the writers, in steps of this.
const WRITER: u32 = 4;

/// What system calls may do to a map's contents.
pub(super) struct Changes(AtomicU32);

impl Changes {
    /// They may change the map.
    pub(super) const fn open() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(super) fn freeze(&self) -> Result<(), MapError> {
        let swap = self.0.compare_exchange(0, FROZEN, Ordering::AcqRel, Ordering::Acquire);
        swap.map(|_| ()).map_err(|_| MapError::Busy)
    }

    pub(super) fn settle(&self) {
        let _ = self.0.compare_exchange(FROZEN, SETTLED, Ordering::AcqRel, Ordering::Acquire);
    }

    #[inline]
    pub(super) fn are_over(&self) -> bool {
        !self.0.load(Ordering::Acquire).is_multiple_of(WRITER)
    }

    /// Whether the last of them has ended too.
    pub(super) fn are_settled(&self) -> bool {
        self.0.load(Ordering::Acquire) == SETTLED
    }

    fn add_writer(&self) -> Result<(), MapError> {
        let added = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            if now.is_multiple_of(WRITER) { now.checked_add(WRITER) } else { None }
        });
        added.map(|_| ()).map_err(|_| MapError::Forbidden)
    }

    fn remove_writer(&self) {
        self.0.fetch_sub(WRITER, Ordering::AcqRel);
    }
}

/// Keeps a map from being frozen: somebody can write its pages.
pub struct Writer(Arc<Map>);

impl Writer {
    /// A further writer of `map`.
    ///
    /// # Errors
    /// [`MapError::Forbidden`] when the map is frozen.
    pub fn of(map: &Arc<Map>) -> Result<Self, MapError> {
        map.changes().add_writer()?;
        Ok(Self(Arc::clone(map)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.changes().remove_writer();
    }
}
