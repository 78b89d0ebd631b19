//! How many owners each frame has: the mappings that share it, or the one kernel structure
//! that holds it. Kept apart from the free lists so that sharing a frame takes no lock.

use core::sync::atomic::{AtomicU32, Ordering, fence};

/// Reference counts of numbered frames. A free frame counts 0.
pub struct FrameCounts<'a> {
    counts: &'a [AtomicU32],
}

/// What releasing a frame came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Others still own it.
    Shared,
    /// That was the last owner; the frame is to be given back.
    Last,
    /// The frame had no owner, or does not exist: an error of the caller.
    NotOwned,
}

impl<'a> FrameCounts<'a> {
    /// Counts kept in `counts`, which must be all zero.
    pub const fn new(counts: &'a [AtomicU32]) -> Self {
        Self { counts }
    }

    /// Gives a frame that has just been allocated its first owner.
    #[inline]
    pub fn first(&self, frame: usize) {
        if let Some(count) = self.counts.get(frame) {
            count.store(1, Ordering::Relaxed);
        }
    }

    /// Adds an owner. `false`, and nothing done, if the frame has none yet or has too many.
    #[inline]
    pub fn share(&self, frame: usize) -> bool {
        let Some(count) = self.counts.get(frame) else { return false };
        let before = count.fetch_add(1, Ordering::Relaxed);
        if before == 0 || before == u32::MAX {
            count.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Takes an owner away.
    #[inline]
    pub fn release(&self, frame: usize) -> Released {
        let Some(count) = self.counts.get(frame) else { return Released::NotOwned };
        match count.fetch_sub(1, Ordering::Release) {
            0 => {
                count.fetch_add(1, Ordering::Relaxed);
                Released::NotOwned
            }
            1 => {
                // What the other owners did to the frame is visible before it is reused.
                fence(Ordering::Acquire);
                Released::Last
            }
            _ => Released::Shared,
        }
    }

    /// Sets how many owners a frame has, for a caller who knows them all.
    #[inline]
    pub fn set(&self, frame: usize, owners: u32) {
        if let Some(count) = self.counts.get(frame) {
            count.store(owners, Ordering::Release);
        }
    }

    /// How many owners there are now. With 1, the asker being that one, it cannot change.
    #[inline]
    pub fn get(&self, frame: usize) -> u32 {
        self.counts.get(frame).map_or(0, |count| count.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameCounts, Released};
    use core::sync::atomic::AtomicU32;

    #[test]
    fn the_last_owner_is_told() {
        let counts = [const { AtomicU32::new(0) }; 3];
        let counts = FrameCounts::new(&counts);
        assert!(!counts.share(1), "a free frame cannot be shared");
        assert_eq!(counts.release(1), Released::NotOwned);
        counts.first(1);
        assert!(counts.share(1));
        assert_eq!(counts.get(1), 2);
        assert_eq!(counts.release(1), Released::Shared);
        assert_eq!(counts.release(1), Released::Last);
        assert_eq!(counts.release(1), Released::NotOwned);
        assert_eq!(counts.get(1), 0);
        counts.first(2);
        counts.set(2, 3);
        assert_eq!(counts.release(2), Released::Shared);
        assert_eq!(counts.get(2), 2);
        assert!(!counts.share(3));
        assert_eq!(counts.release(9), Released::NotOwned);
    }
}
