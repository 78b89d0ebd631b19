//! Which stack slots of a function live in machine registers.
//!
//! A slot can, when the function never computes an address in its stack and always accesses the
//! slot with the same size. Those that are used most, loops counted, get the registers that the
//! function has no other use for.

use alloc::vec::Vec;

use super::scan::Span;
use crate::insn::{Insn, Operand, Reg, Size};
use crate::jit::ir::Place;

/// 4-byte pieces of a function's stack.
const PIECES: usize = 128;
/// What an access counts in each further loop.
const LOOP: u32 = 8;
/// A slot must be worth saving and restoring a register.
const LEAST: u32 = 3;

/// The slots of one function that live in registers.
#[derive(Default)]
pub(super) struct Promoted {
    slots: Vec<(i32, Size, Place)>,
}

impl Promoted {
    /// The place of a slot.
    #[inline]
    pub(super) fn get(&self, offset: i32) -> Option<Place> {
        let found = self.slots.iter().find(|(at, ..)| *at == offset);
        found.map(|&(_, _, place)| place)
    }
}

#[derive(Clone, Copy, Default)]
struct Piece {
    weight: u32,
    /// The size of the accesses that start here.
    size: Option<Size>,
    spoiled: bool,
}

/// Chooses slots of the function `span` for the places `free`, the best first.
pub(super) fn choose(insns: &[Insn], span: &Span, depth: &[u8], free: &[Place]) -> Promoted {
    let mut pieces = [Piece::default(); PIECES];
    let body = insns.get(span.start..span.end).unwrap_or_default();
    for (index, insn) in body.iter().enumerate() {
        let (size, offset, plain) = match *insn {
            Insn::Load { size, base: Reg::R10, offset, .. } => (size, offset, true),
            Insn::Store { size, base: Reg::R10, offset, src } => {
                if src == Operand::Reg(Reg::R10) {
                    return Promoted::default();
                }
                (size, offset, true)
            }
            Insn::LoadSx { size, base: Reg::R10, offset, .. } => (size.size(), offset, false),
            Insn::LoadAcquire { size, base: Reg::R10, offset, .. }
            | Insn::StoreRelease { size, base: Reg::R10, offset, .. } => (size, offset, false),
            Insn::Atomic { base: Reg::R10, offset, .. } => (Size::DW, offset, false),
            _ if mentions_frame(insn) => return Promoted::default(),
            _ => continue,
        };
        let weight = LOOP.pow(u32::from(depth.get(span.start + index).copied().unwrap_or(0)));
        access(&mut pieces, i32::from(offset), size, plain, weight);
    }
    let mut slots: Vec<(u32, i32, Size)> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        if let Some(size) = piece.size
            && !piece.spoiled
            && piece.weight >= LEAST
        {
            slots.push((piece.weight, index as i32 * 4 - 512, size));
        }
    }
    slots.sort_unstable_by_key(|&(weight, ..)| core::cmp::Reverse(weight));
    let slots =
        slots.into_iter().zip(free).map(|((_, offset, size), &place)| (offset, size, place));
    Promoted { slots: slots.collect() }
}

fn access(pieces: &mut [Piece; PIECES], offset: i32, size: Size, plain: bool, weight: u32) {
    let plain = plain && matches!(size, Size::W | Size::DW) && offset % 4 == 0;
    // Slots that an access touches besides the one that starts where it does.
    let first = (offset + 512).div_euclid(4);
    let last = (offset + 512 + size.bytes() as i32 - 1).div_euclid(4);
    let piece = |index: i32| usize::try_from(index).ok().filter(|&index| index < PIECES);
    let Some(start) = piece(first) else { return };
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

/// Whether an instruction that is no access to the stack uses the frame pointer.
fn mentions_frame(insn: &Insn) -> bool {
    let frame = |src: &Operand| *src == Operand::Reg(Reg::R10);
    match insn {
        Insn::Alu { src, .. } | Insn::Mov { src, .. } => frame(src),
        Insn::Store { src, .. } => frame(src),
        Insn::Branch { dst, src, .. } => *dst == Reg::R10 || frame(src),
        Insn::MovSx { src, .. }
        | Insn::AddrSpaceCast { src, .. }
        | Insn::Atomic { src, .. }
        | Insn::StoreRelease { src, .. }
        | Insn::LoadInd { src, .. } => *src == Reg::R10,
        Insn::CallRegister { target } => *target == Reg::R10,
        _ => false,
    }
}
