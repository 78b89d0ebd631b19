//! The redistributors in a region of memory, one behind the other.

use crate::Affinity;

/// The type register (`GICR_TYPER`), of 64 bits, from a redistributor's start.
pub const TYPE_REGISTER: usize = 0x08;

/// Bytes of one of a redistributor's frames: the first has what concerns the CPU, the second the
/// CPU's own interrupts.
pub const FRAME_BYTES: usize = 0x1_0000;

/// Without interrupts of virtual machines (GICv3), and with them (GICv4).
const BYTES: usize = 2 * FRAME_BYTES;
const BYTES_WITH_VIRTUAL: usize = 4 * FRAME_BYTES;

const VIRTUAL: u64 = 1 << 1;
const LAST: u64 = 1 << 4;

/// The redistributors in a region of `length` bytes: whose each is, and its offset.
///
/// `stride` is the distance between two, where firmware says it; `kind_at(offset)` reads the type
/// register of the one at that offset. Nothing outside the region is read.
pub fn redistributors(
    length: usize,
    stride: Option<usize>,
    mut kind_at: impl FnMut(usize) -> u64,
) -> impl Iterator<Item = (Affinity, usize)> {
    let stride = stride.filter(|&stride| stride >= BYTES);
    let mut next = Some(0usize);
    core::iter::from_fn(move || {
        let offset = next.take().filter(|&offset| length.saturating_sub(offset) >= BYTES)?;
        let kind = kind_at(offset);
        if kind & LAST == 0 {
            let own = if kind & VIRTUAL == 0 { BYTES } else { BYTES_WITH_VIRTUAL };
            next = offset.checked_add(stride.unwrap_or(own));
        }
        Some((Affinity::of_redistributor(kind), offset))
    })
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::{LAST, VIRTUAL, redistributors};

    fn kind(affinity: u64, flags: u64) -> u64 {
        affinity << 32 | flags
    }

    /// The affinities and offsets found where `kinds` are; reading elsewhere fails the test.
    fn found(length: usize, stride: Option<usize>, kinds: &[(usize, u64)]) -> Vec<(u64, usize)> {
        let at = |offset| {
            let kind = kinds.iter().find(|&&(at, _)| at == offset);
            kind.map(|&(_, kind)| kind).unwrap_or_else(|| panic!("nothing is at {offset:#x}"))
        };
        redistributors(length, stride, at)
            .map(|(affinity, offset)| (affinity.register(), offset))
            .collect()
    }

    #[test]
    fn the_last_says_so() {
        let kinds = [(0, kind(0, 0)), (0x2_0000, kind(0x100, LAST))];
        assert_eq!(found(0x10_0000, None, &kinds), [(0, 0), (0x100, 0x2_0000)]);
    }

    #[test]
    fn the_region_ends() {
        let kinds = [(0, kind(0, 0)), (0x2_0000, kind(1, 0))];
        assert_eq!(found(0x4_0000, None, &kinds).len(), 2);
        assert_eq!(found(0x3_ffff, None, &kinds), [(0, 0)]);
        assert_eq!(found(0x1_ffff, None, &[]), []);
        assert_eq!(found(0, None, &[]), []);
    }

    #[test]
    fn those_with_virtual_interrupts_are_twice_as_long() {
        let kinds = [(0, kind(0, VIRTUAL)), (0x4_0000, kind(1, 0)), (0x6_0000, kind(2, LAST))];
        assert_eq!(found(0x10_0000, None, &kinds), [(0, 0), (1, 0x4_0000), (2, 0x6_0000)]);
    }

    #[test]
    fn firmware_may_say_how_far_apart_they_are() {
        let kinds = [(0, kind(0, VIRTUAL)), (0x8_0000, kind(1, LAST))];
        assert_eq!(found(0x10_0000, Some(0x8_0000), &kinds), [(0, 0), (1, 0x8_0000)]);
        assert_eq!(found(0x10_0000, Some(usize::MAX), &kinds), [(0, 0)]);
        // They cannot overlap.
        let kinds = [(0, kind(0, 0)), (0x2_0000, kind(1, LAST))];
        assert_eq!(found(0x10_0000, Some(0), &kinds).len(), 2);
    }
}
