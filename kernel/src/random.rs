//! Random numbers: ChaCha20 (the crate `rand_chacha`), keyed at the first use from the CPU's
//! random instruction, where it has one, and from the clocks. For `getrandom(2)`, the devices
//! `random` and `urandom`, and the kernel's own needs.
//!
//! Each request takes a new key from the stream first, so what was given out before cannot be
//! computed from what is in memory now.

use kernel_sync::SpinLock;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::arch::{Arch, Architecture};

static GENERATOR: SpinLock<Option<ChaCha20Rng>> = SpinLock::new(None);

/// Bytes made before the key is replaced at the latest.
const PIECE: usize = 256;

fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    for (index, chunk) in seed.chunks_exact_mut(8).enumerate() {
        let clock = Arch::now_ns() ^ Arch::boot_epoch_seconds().rotate_left(32);
        let mixed = clock.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(index as u32 * 16);
        let word = Arch::hardware_random().unwrap_or(0) ^ mixed;
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    seed
}

/// Fills `buffer`.
pub fn fill(buffer: &mut [u8]) {
    for piece in buffer.chunks_mut(PIECE) {
        let mut guard = GENERATOR.lock();
        let generator = guard.get_or_insert_with(|| ChaCha20Rng::from_seed(seed()));
        let mut key = [0; 32];
        generator.fill_bytes(&mut key);
        // Mixes in what the CPU has to offer now.
        if let Some(word) = Arch::hardware_random() {
            for (byte, more) in key.iter_mut().zip(word.to_ne_bytes()) {
                *byte ^= more;
            }
        }
        generator.fill_bytes(piece);
        *generator = ChaCha20Rng::from_seed(key);
    }
}

/// A random word.
pub fn word() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
