//! The hash of keys: keyed by a random seed, so that nobody who does not know it can make
//! many keys fall together.
//!
//! Each word of the key is mixed by a 64 by 64 bit multiplication whose halves are folded,
//! which costs one multiplication a word.

use crate::memory::partial_word;

/// A hash function with its seed.
#[derive(Clone, Copy)]
pub(super) struct KeyedHash {
    state: u64,
    multiplier: u64,
}

impl KeyedHash {
    /// The function of a seed.
    pub(super) const fn new(seed: u64) -> Self {
        // The digits of pi, so that a seed of zero hashes too; odd, so that no key can cancel
        // the multiplier.
        Self {
            state: seed ^ 0x243f_6a88_85a3_08d3,
            multiplier: seed.rotate_left(32) ^ 0xa409_3822_299f_31d1 | 1,
        }
    }

    #[inline(always)]
    fn mix(&self, state: u64, word: u64) -> u64 {
        let product = u128::from(state ^ word) * u128::from(self.multiplier);
        (product as u64) ^ ((product >> 64) as u64)
    }

    /// 64 bits of hash of a key of one word.
    #[inline(always)]
    pub(super) fn word(&self, word: u64) -> u64 {
        self.mix(self.state, word)
    }

    /// 64 bits of hash of a key of any length.
    #[inline]
    pub(super) fn full(&self, key: &[u8]) -> u64 {
        let (whole, rest) = key.as_chunks::<8>();
        if let ([chunk], []) = (whole, rest) {
            return self.word(u64::from_ne_bytes(*chunk));
        }
        let mut state = self.state;
        for chunk in whole {
            state = self.mix(state, u64::from_ne_bytes(*chunk)) ^ self.multiplier;
        }
        if !rest.is_empty() {
            state = self.mix(state, partial_word(rest));
        }
        state
    }
}
