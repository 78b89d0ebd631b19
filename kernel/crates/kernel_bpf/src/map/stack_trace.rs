//! Stack traces (`BPF_MAP_TYPE_STACK_TRACE`): call stacks, each kept once and known by a small
//! number.
//!
//! A bucket holds the stack whose hash selects it: hash, number of frames, addresses. Programs
//! put stacks in (`bpf_get_stackid`); system calls read and delete them. `lock` guards the
//! buckets, interrupts off while it is held.

use core::sync::atomic::{AtomicU64, Ordering};

use kernel_sync::SpinLock;

use super::error::MapError;
use super::keyed_hash::KeyedHash;
use crate::memory::{Memory, Region, load_bytes};

/// Most frames of a stack (Linux: `sysctl kernel.perf_event_max_stack`).
pub const MAX_FRAMES: usize = 127;
/// Frames at the top that are left out (`BPF_F_SKIP_FIELD_MASK`).
pub const SKIP_MASK: u64 = 0xff;
/// The user's stack and not the kernel's (`BPF_F_USER_STACK`).
pub const USER_STACK: u64 = 1 << 8;
/// Compare hashes alone (`BPF_F_FAST_STACK_CMP`).
const FAST_COMPARE: u64 = 1 << 9;
/// Replace another stack that has the same number (`BPF_F_REUSE_STACKID`).
const REUSE: u64 = 1 << 10;
const FLAGS: u64 = SKIP_MASK | USER_STACK | FAST_COMPARE | REUSE;

// Words of a bucket: bit 32 of the first says that it is taken, the lower half is the hash.
const HASH: usize = 0;
const FRAMES: usize = 2;
const TAKEN: u64 = 1 << 32;

/// Stacks by number.
pub(super) struct StackTraces {
    region: Region,
    buckets: u32,
    /// Frames that a value has room for.
    depth: usize,
    hash: KeyedHash,
    lock: SpinLock<()>,
}

impl StackTraces {
    pub(super) fn words(entries: u32, value_bytes: usize) -> Option<usize> {
        let buckets = entries.checked_next_power_of_two()?;
        (buckets as usize).checked_mul(FRAMES + value_bytes / 8)
    }

    pub(super) fn new(
        memory: &'static dyn Memory,
        entries: u32,
        value_bytes: usize,
        seed: u64,
    ) -> Result<Self, MapError> {
        let words = Self::words(entries, value_bytes).ok_or(MapError::Full)?;
        Ok(Self {
            region: Region::new(memory, words, 64).ok_or(MapError::OutOfMemory)?,
            buckets: entries.checked_next_power_of_two().ok_or(MapError::Full)?,
            depth: value_bytes / 8,
            hash: KeyedHash::new(seed),
            lock: SpinLock::new(()),
        })
    }

    /// Frames that a value has room for.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    fn bucket(&self, id: u32) -> Option<&[AtomicU64]> {
        if id >= self.buckets {
            return None;
        }
        let words = FRAMES + self.depth;
        self.region.words().get(id as usize * words..)?.get(..words)
    }

    /// Keeps a stack and returns its number (`bpf_get_stackid`).
    pub(super) fn insert(&self, frames: &[u64], flags: u64) -> Result<u32, MapError> {
        if flags & !FLAGS != 0 {
            return Err(MapError::Invalid);
        }
        let frames = frames.get(..frames.len().min(self.depth)).unwrap_or_default();
        let hash = frames
            .iter()
            .fold(frames.len() as u64, |hash, &frame| self.hash.word(hash.rotate_left(17) ^ frame))
            as u32;
        let id = hash & (self.buckets - 1);
        let bucket = self.bucket(id).ok_or(MapError::Invalid)?;
        let [head, count, stored @ ..] = bucket else { return Err(MapError::Invalid) };
        let _guard = self.lock.lock();
        let old = head.load(Ordering::Relaxed);
        if old & TAKEN != 0 {
            let same_hash = old as u32 == hash;
            let same = same_hash
                && count.load(Ordering::Relaxed) == frames.len() as u64
                && stored.iter().zip(frames).all(|(a, b)| a.load(Ordering::Relaxed) == *b);
            if same || same_hash && flags & FAST_COMPARE != 0 {
                return Ok(id);
            }
            if flags & REUSE == 0 {
                return Err(MapError::Exists);
            }
        }
        for (index, word) in stored.iter().enumerate() {
            word.store(frames.get(index).copied().unwrap_or(0), Ordering::Relaxed);
        }
        count.store(frames.len() as u64, Ordering::Relaxed);
        head.store(TAKEN | u64::from(hash), Ordering::Relaxed);
        Ok(id)
    }

    fn is_taken(&self, id: u32) -> bool {
        self.bucket(id)
            .and_then(|bucket| bucket.get(HASH))
            .is_some_and(|head| head.load(Ordering::Relaxed) & TAKEN != 0)
    }

    /// Copies a stack out, zeros behind its last frame.
    pub(super) fn read(&self, id: u32, out: &mut [u8], remove: bool) -> Result<(), MapError> {
        let _guard = self.lock.lock();
        if !self.is_taken(id) {
            return Err(MapError::NotFound);
        }
        let bucket = self.bucket(id).ok_or(MapError::NotFound)?;
        let out = out.get_mut(..self.depth * 8).ok_or(MapError::Invalid)?;
        load_bytes(bucket.get(FRAMES..).unwrap_or_default(), out);
        if remove {
            bucket.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        Ok(())
    }

    /// Forgets a stack.
    pub(super) fn remove(&self, id: u32) -> Result<(), MapError> {
        if id >= self.buckets {
            return Err(MapError::Full);
        }
        let _guard = self.lock.lock();
        if !self.is_taken(id) {
            return Err(MapError::NotFound);
        }
        self.bucket(id).unwrap_or_default().iter().for_each(|w| w.store(0, Ordering::Relaxed));
        Ok(())
    }

    /// The next number that has a stack.
    pub(super) fn next(&self, id: Option<u32>) -> Result<u32, MapError> {
        let first = match id {
            Some(id) if id < self.buckets => id + 1,
            _ => 0,
        };
        (first..self.buckets).find(|&id| self.is_taken(id)).ok_or(MapError::NotFound)
    }

    /// How many stacks there are.
    pub(super) fn len(&self) -> u32 {
        (0..self.buckets).filter(|&id| self.is_taken(id)).count() as u32
    }
}
