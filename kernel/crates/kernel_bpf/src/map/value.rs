//! Values with parts of their own: a spin lock or a timer inside a map's value.
//!
//! Such a part is never copied: an update leaves it as it is, and a lookup shows zeros in its
//! place (Linux: `copy_map_value`, `check_and_init_map_value`). With `BPF_F_LOCK` a value is
//! copied while its lock is held, so that it is copied whole.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_sync::irq;

use super::def::ValueFields;
use crate::memory::{halves, load_bytes, store_bytes};

/// Bytes of `struct bpf_spin_lock`.
const SPIN_LOCK: u32 = 4;
/// Bytes of `struct bpf_timer`.
const TIMER: u32 = 16;

/// Takes a spin lock in a value; the caller has turned interrupts off.
pub(crate) fn acquire(lock: &AtomicU32) {
    while lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        while lock.load(Ordering::Relaxed) != 0 {
            core::hint::spin_loop();
        }
    }
}

/// Gives it back.
pub(crate) fn release(lock: &AtomicU32) {
    lock.store(0, Ordering::Release);
}

impl ValueFields {
    /// The bytes that are not copied.
    fn holes(&self) -> impl Iterator<Item = Range<usize>> {
        let hole = |start: Option<u32>, size: u32| {
            start.map(|start| start as usize..start as usize + size as usize)
        };
        [hole(self.spin_lock, SPIN_LOCK), hole(self.timer, TIMER)].into_iter().flatten()
    }

    /// Copies `bytes` into a value.
    #[inline]
    pub(super) fn store(&self, words: &[AtomicU64], bytes: &[u8]) {
        if self.is_empty() {
            store_bytes(words, bytes);
            return;
        }
        for (index, (half, chunk)) in halves(words).iter().zip(bytes.chunks(4)).enumerate() {
            if self.holes().any(|hole| hole.contains(&(index * 4))) {
                continue;
            }
            let mut four = [0; 4];
            four.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            half.store(u32::from_ne_bytes(four), Ordering::Relaxed);
        }
    }

    /// Copies a value out.
    #[inline]
    pub(super) fn load(&self, words: &[AtomicU64], out: &mut [u8]) {
        load_bytes(words, out);
        if !self.is_empty() {
            for hole in self.holes() {
                if let Some(bytes) = out.get_mut(hole) {
                    bytes.fill(0);
                }
            }
        }
    }

    /// Runs `copy` with the value's lock held.
    pub(super) fn locked<R>(&self, words: &[AtomicU64], copy: impl FnOnce() -> R) -> R {
        let lock = self.spin_lock.and_then(|offset| halves(words).get(offset as usize / 4));
        let Some(lock) = lock else { return copy() };
        irq::without(|| {
            acquire(lock);
            let result = copy();
            release(lock);
            result
        })
    }
}
