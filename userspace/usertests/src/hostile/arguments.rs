//! Arguments that no one means well with.

use crate::calls;
use lemma_rt::general::{MAP_ANONYMOUS, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE};

/// Numbers that are bad as addresses, lengths, descriptors or flags.
pub(super) const HOSTILE: [usize; 30] = [
    0,
    1,
    7,
    8,
    0xfff,
    0x1000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    // The end of what users have, on x86_64, AArch64 and RISC-V.
    0x3f_ffff_fff8,
    0x40_0000_0000,
    0x7fff_ffff_efff,
    0x7fff_ffff_f000,
    0x7fff_ffff_fff8,
    0x7fff_ffff_ffff,
    // Addresses that do not exist.
    0x8000_0000_0000,
    0x1234_5678_9abc_def0,
    1 << 62,
    i64::MAX as usize,
    1 << 63,
    0xffff_7fff_ffff_ffff,
    // The kernel's.
    0xffff_8000_0000_0000,
    0xffff_ffff_8000_0000,
    0xffff_ffff_8010_0000,
    0xffff_ffff_ffff_0000,
    0xffff_ffff_ffff_f000,
    usize::MAX - 7,
    usize::MAX - 1,
    usize::MAX,
];

/// How many calls of each system call are made systematically: each hostile number in each
/// place, with small numbers, hostile ones, and valid memory around it.
pub(super) const SYSTEMATIC: usize = 6 * HOSTILE.len() * 2;

/// One more than the descriptors that a worker has open.
const DESCRIPTORS: usize = 15;

/// Memory of a worker at which arguments point.
pub(super) struct Arguments {
    addresses: [usize; 16],
}

/// Paths: none of them leads out of the directory.
const PATHS: &[u8] = b"a\0d\0d/e\0d/../a\0l\0l/x\0missing\0\0.\0a/b\0";

impl Arguments {
    /// Maps the memory: two pages with data, one that is read-only, one without access.
    pub(super) fn new() -> Option<Self> {
        let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
        let base = calls::mmap(0, 5 * 4096, PROT_READ | PROT_WRITE, anonymous, -1, 0).ok()?;
        for offset in 0..3 * 4096 {
            calls::poke(base + offset, 0);
        }
        for (offset, byte) in PATHS.iter().enumerate() {
            calls::poke(base + offset, *byte);
        }
        // A path longer than any may be; and small numbers, as structures have them.
        for offset in 4096..2 * 4096 {
            calls::poke(base + offset, b'x');
        }
        for offset in 0..64 {
            calls::poke(base + 512 + offset * 8, offset as u8);
        }
        calls::mprotect(base + 2 * 4096, 4096, PROT_READ).ok()?;
        calls::mprotect(base + 3 * 4096, 4096, PROT_NONE).ok()?;
        calls::munmap(base + 4 * 4096, 4096).ok()?;
        Some(Self {
            addresses: [
                base,
                base + 2,
                base + 4,
                base + 8,
                base + 15,
                base + 26,
                base + 512,
                base + 520,
                base + 768,
                base + 1024,
                base + 4096,
                base + 8190,
                base + 2 * 4096 + 16,
                base + 3 * 4096 - 4,
                base + 3 * 4096,
                base + 4 * 4096 - 1,
            ],
        })
    }

    /// Where the pages end that can be written; the next one can be read.
    pub(super) fn writable_end(&self) -> usize {
        self.addresses[0] + 2 * 4096
    }

    /// One of the addresses.
    pub(super) fn address(&self, random: &mut Random) -> usize {
        self.addresses[random.below(self.addresses.len())]
    }
}

/// A sequence of numbers that depends on the seed and the call's index alone.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(index: u64, seed: u64) -> Self {
        Self((index ^ seed.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ value >> 31
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn address(random: &mut Random, own: Option<&Arguments>) -> usize {
    match own {
        Some(own) => own.address(random),
        None => 0x5555_5555_0000 + random.below(16),
    }
}

/// The arguments of a systematic call: number `round` of [`SYSTEMATIC`].
pub(super) fn systematic(round: usize, random: &mut Random, own: Option<&Arguments>) -> [usize; 6] {
    let (value, place, around) =
        (round % HOSTILE.len(), round / HOSTILE.len() % 6, round / HOSTILE.len() / 6);
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = match around {
            0 => random.below(DESCRIPTORS),
            _ => address(random, own),
        };
    }
    arguments[place] = HOSTILE[value];
    arguments
}

/// Random arguments: descriptors, addresses, sizes, flags, and hostile numbers among them.
pub(super) fn random(random: &mut Random, own: Option<&Arguments>) -> [usize; 6] {
    let mut arguments = [0; 6];
    for argument in &mut arguments {
        *argument = match random.below(10) {
            0 | 1 => random.below(DESCRIPTORS),
            2..=4 => address(random, own),
            5 => HOSTILE[random.below(HOSTILE.len())],
            6 => 1 << random.below(64),
            7 => random.below(5) * 4096,
            8 => random.below(1 << 16),
            _ => random.next() as usize,
        };
    }
    arguments
}
