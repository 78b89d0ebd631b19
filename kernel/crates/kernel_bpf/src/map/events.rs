//! Perf event arrays (`BPF_MAP_TYPE_PERF_EVENT_ARRAY`): where `bpf_perf_event_output` sends
//! records.
//!
//! The engine knows nothing of perf events: a slot holds an [`EventSink`] that the embedder
//! has put there, and a record goes to it as it is. (A [`PerfRing`](crate::perf_ring::PerfRing)
//! is what such a one may keep it in.) [`CURRENT_CPU`] selects the slot of the CPU that the
//! program runs on.

use super::error::MapError;

/// In place of an index: the running CPU's slot (`BPF_F_CURRENT_CPU`).
pub const CURRENT_CPU: u64 = 0xffff_ffff;
/// The part of the flags that is the index (`BPF_F_INDEX_MASK`).
const INDEX_MASK: u64 = 0xffff_ffff;

/// Takes what programs send: a perf event's buffer, or a test's.
pub trait EventSink: Send + Sync {
    /// Takes a record that a program on `cpu` sends. May be called in an interrupt: it does
    /// not sleep or take a lock that interrupted code may hold.
    ///
    /// # Errors
    /// [`MapError::NoSpace`] for a record without room, [`MapError::Full`] for one that is too
    /// long, [`MapError::Impossible`] for an event of another CPU.
    fn record(&self, cpu: usize, data: &[u8]) -> Result<(), MapError>;

    /// By which opening of the map it was put in: it goes when that one is closed
    /// ([`Map::remove_events_of`](super::Map::remove_events_of)).
    fn origin(&self) -> usize;
}

/// The slot that a program's flags select.
pub(super) fn index(flags: u64, cpu: usize) -> Result<u32, MapError> {
    if flags & !INDEX_MASK != 0 {
        return Err(MapError::Invalid);
    }
    Ok(if flags == CURRENT_CPU { cpu as u32 } else { flags as u32 })
}
