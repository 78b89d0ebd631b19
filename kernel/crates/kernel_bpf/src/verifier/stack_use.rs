//! Which slots of a function's stack could live in registers.
//!
//! A slot can, when the function never computes an address in its stack and always accesses the
//! slot with the same size.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::shape::StackSlot;
use crate::insn::Size;

/// 4-byte pieces of a function's stack.
const PIECES: usize = 128;
/// A slot must be worth saving and restoring a register.
const LEAST: u32 = 3;
/// So many slots of a function are told of.
const MOST: usize = 16;

#[derive(Clone, Copy, Default)]
struct Piece {
    weight: u32,
    /// The size of the accesses that start here.
    size: Option<Size>,
    spoiled: bool,
}

/// What a function does with its stack.
#[derive(Default)]
pub(super) struct StackUse {
    /// Nothing while it does not access it.
    pieces: Option<[Piece; PIECES]>,
}

impl StackUse {
    /// Counts an access, as so much. `plain`: one that copies whole registers.
    pub(super) fn access(&mut self, offset: i16, size: Size, plain: bool, weight: u32) {
        let pieces = self.pieces.get_or_insert_with(|| [Piece::default(); PIECES]);
        access(pieces, i32::from(offset), size, plain, weight);
    }

    /// Appends the slots that could live in registers and are worth it, the best first, to
    /// `slots`. `None`: no memory.
    pub(super) fn choose(&self, slots: &mut Vec<StackSlot>) -> Option<()> {
        let Some(pieces) = &self.pieces else { return Some(()) };
        let known = slots.len();
        for (index, piece) in pieces.iter().enumerate() {
            if piece.size.is_none() || piece.spoiled || piece.weight < LEAST {
                continue;
            }
            let slot = StackSlot { offset: index as i16 * 4 - 512, weight: piece.weight };
            let own = slots.get(known..).unwrap_or_default();
            let better = own.iter().take_while(|held| held.weight >= slot.weight).count();
            slots.try_reserve(1).ok()?;
            slots.insert(known + better, slot);
            slots.truncate(known + MOST);
        }
        Some(())
    }
}

fn access(pieces: &mut [Piece; PIECES], offset: i32, size: Size, plain: bool, weight: u32) {
    // Slots that an access touches besides the one that starts where it does.
    let first = (offset + 512) >> 2;
    let piece = |index: i32| usize::try_from(index).ok().filter(|&index| index < PIECES);
    let Some(start) = piece(first) else { return };
    let plain = plain && offset % 4 == 0 && matches!(size, Size::W | Size::DW);
    let last = (offset + 512 + size.bytes() as i32 - 1) >> 2;
    if !plain || pieces[start].size.is_some_and(|known| known != size) {
        pieces[start].spoiled = true;
    }
    pieces[start].size = pieces[start].size.or(Some(size));
    pieces[start].weight = pieces[start].weight.saturating_add(weight);
    for index in first + 1..=last {
        let Some(index) = piece(index) else { continue };
        // What starts within this access overlaps it, and the other way round.
        if pieces[index].size.is_some() {
            pieces[start].spoiled = true;
        }
        pieces[index].spoiled = true;
    }
    // An earlier and wider access may reach to here: then this piece is spoiled already, and so
    // is what starts there.
    if pieces[start].spoiled
        && let Some(before) = piece(first - 1)
        && pieces[before].size == Some(Size::DW)
    {
        pieces[before].spoiled = true;
    }
}
