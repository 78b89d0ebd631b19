//! Random numbers: ChaCha20 (the crate `rand_chacha`), for `getrandom(2)`, the devices `random`
//! and `urandom`, and the kernel's own needs.
//!
//! The key is seeded from the CPU's random instruction where it has one, from a VirtIO entropy
//! device where there is one, and from the clocks; each is mixed in, so that one bad source does
//! not spoil a good one. It is seeded anew every [`RESEED_NS`]. Each request takes a new key from
//! the stream first, so what was given out before cannot be computed from what is in memory now.
//!
//! On a machine with neither, [`init`] says so: numbers are made all the same.

use kernel_sync::SpinLock;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::arch::{Arch, Architecture};
use crate::driver::virtio::rng;

type Key = [u8; 32];

/// Bytes made before the key is replaced at the latest.
const PIECE: usize = 256;
/// How old a seed gets, as on Linux.
const RESEED_NS: u64 = 60_000_000_000;
/// How long start-up waits for the device, if the CPU has nothing.
const PATIENCE_NS: u64 = 100_000_000;

struct Generator {
    /// `None` before the first use.
    stream: Option<ChaCha20Rng>,
    seeded_at: u64,
    /// The device, if there is one, has given something.
    heard: bool,
}

static GENERATOR: SpinLock<Generator> =
    SpinLock::new(Generator { stream: None, seeded_at: 0, heard: false });

/// Which sources gave something.
#[derive(Clone, Copy, Debug, Default)]
struct Sources {
    cpu: bool,
    device: bool,
}

fn mix(key: &mut Key, bytes: &[u8]) {
    for (byte, more) in key.iter_mut().zip(bytes) {
        *byte ^= more;
    }
}

/// Mixes everything that the machine has to offer now into `key`. Does not wait.
fn gather(key: &mut Key) -> Sources {
    let mut sources = Sources::default();
    let mut before = None;
    for (index, chunk) in key.chunks_exact_mut(8).enumerate() {
        let clock = Arch::counter() ^ Arch::boot_epoch_seconds().rotate_left(32);
        let mut word = clock.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(index as u32 * 16);
        let random = Arch::hardware_random();
        // A CPU that always gives the same has a fault that some are known for.
        sources.cpu |= before.is_some() && random.is_some() && random != before;
        before = random;
        word ^= random.unwrap_or(0);
        for (byte, more) in chunk.iter_mut().zip(word.to_ne_bytes()) {
            *byte ^= more;
        }
    }
    let mut seed = [0; rng::SEED];
    sources.device = rng::take(&mut seed) > 0;
    mix(key, &seed);
    sources
}

impl Generator {
    /// Seeds it, keeping what it knew.
    fn seed(&mut self) -> Sources {
        let mut key = Key::default();
        if let Some(stream) = &mut self.stream {
            stream.fill_bytes(&mut key);
        }
        let sources = gather(&mut key);
        self.stream = Some(ChaCha20Rng::from_seed(key));
        self.seeded_at = Arch::now_ns();
        self.heard |= sources.device || !rng::is_there();
        sources
    }

    /// Fills at most [`PIECE`] bytes.
    fn fill(&mut self, piece: &mut [u8]) {
        let old = Arch::now_ns().saturating_sub(self.seeded_at) > RESEED_NS;
        if self.stream.is_none() || old || (!self.heard && rng::is_ready()) {
            self.seed();
        }
        let Some(stream) = &mut self.stream else { return };
        let mut key = Key::default();
        stream.fill_bytes(&mut key);
        // Costs little and makes each key independent of the last, where the CPU can.
        if let Some(word) = Arch::hardware_random() {
            mix(&mut key, &word.to_ne_bytes());
        }
        stream.fill_bytes(piece);
        *stream = ChaCha20Rng::from_seed(key);
    }
}

/// Seeds the generator, after the devices have been started. Waits for the device only if the
/// CPU has no random instruction, and not for long.
pub(crate) fn init() {
    let mut sources = GENERATOR.lock().seed();
    let deadline = Arch::now_ns() + PATIENCE_NS;
    while !sources.cpu && !sources.device && rng::is_there() && Arch::now_ns() < deadline {
        Arch::relax();
        sources.device = GENERATOR.lock().seed().device;
    }
    match (sources.cpu, sources.device || rng::is_there()) {
        (true, true) => log::debug!("random: seeded by the CPU and by a device"),
        (true, false) => log::debug!("random: seeded by the CPU"),
        (false, true) if sources.device => log::debug!("random: seeded by a device"),
        (false, true) => log::warn!("random: the entropy device is slow; numbers can be guessed"),
        (false, false) => log::warn!(
            "random: neither the CPU nor a device has random numbers: what is made of them here, \
             such as keys, can be guessed"
        ),
    }
}

/// Fills `buffer`.
pub fn fill(buffer: &mut [u8]) {
    for piece in buffer.chunks_mut(PIECE) {
        GENERATOR.lock().fill(piece);
    }
}

/// A random word.
pub fn word() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}
