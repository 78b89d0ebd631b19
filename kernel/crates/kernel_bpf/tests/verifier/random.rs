//! Random numbers for programs, the same on every run unless `LEMMA_FUZZ_SEED` says otherwise.

/// A sequence of numbers (xorshift64).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn from_environment() -> Random {
        let seed = std::env::var("LEMMA_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
        Random(seed.filter(|&seed| seed != 0).unwrap_or(0x2545_f491_4f6c_dd1d))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
