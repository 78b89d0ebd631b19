//! Which stack slots and constants of a function live in machine registers.
//!
//! A slot can, when the function never computes an address in its stack and always accesses the
//! slot with the same size. A constant can always; it is one that no instruction has room for,
//! such as the address of a map's value, and that a loop loads or, where comparisons take none,
//! compares with. Those that are used most, loops counted, get the registers that the function has
//! no other use for (`free`).

use super::Function;
use crate::insn::Size;
use crate::jit::emitter::Emitter;
use crate::jit::ir::Place;

/// 4-byte pieces of a function's stack.
const PIECES: usize = 128;
/// What an access counts in each further loop, as a power of two.
const LOOP_BITS: u32 = 3;
/// Loops deeper than this count as this.
const DEEPEST: u32 = 4;
/// A slot must be worth saving and restoring a register.
const LEAST: u32 = 3;
/// Different constants that are looked at: functions that have more use none of them often.
const MOST_CONSTANTS: usize = 8;
/// No machine has more registers to spare.
const MOST: usize = 16;

/// What of one function lives in registers.
#[derive(Clone, Copy, Default)]
pub(super) struct Promoted([Option<(What, Place)>; MOST]);

impl Promoted {
    /// The place of a slot.
    #[inline]
    pub(super) fn get(&self, offset: i32) -> Option<Place> {
        self.place(|what| matches!(what, What::Slot(at) if at == offset))
    }

    /// The place that holds a constant.
    #[inline]
    pub(super) fn holds(&self, value: u64) -> Option<Place> {
        self.place(|what| matches!(what, What::Constant(held) if held == value))
    }

    #[inline]
    fn place(&self, is: impl Fn(What) -> bool) -> Option<Place> {
        let mut all = self.0.iter().map_while(|one| *one);
        all.find(|&(what, _)| is(what)).map(|(_, place)| place)
    }

    /// The set of the places that it has given away.
    pub(super) fn places(&self) -> u32 {
        self.0.iter().map_while(|one| *one).fold(0, |places, (_, place)| places | place.bit())
    }

    /// A constant, with the place that is to hold it; the last number is one that is too great.
    pub(super) fn constant(&self, number: usize) -> Option<(u64, Place)> {
        let all = self.0.iter().map_while(|one| *one);
        let mut constants = all.filter_map(|(what, place)| match what {
            What::Constant(value) => Some((value, place)),
            What::Slot(_) => None,
        });
        constants.nth(number)
    }
}

#[derive(Clone, Copy, Default)]
struct Piece {
    weight: u32,
    /// The size of the accesses that start here.
    size: Option<Size>,
    spoiled: bool,
}

/// What may get a place, and what its uses count.
#[derive(Clone, Copy)]
struct Candidate {
    weight: u32,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// The stack slot with this offset.
    Slot(i32),
    Constant(u64),
}

/// What a function does with its stack and with constants, as `scan` finds it.
#[derive(Default)]
pub(super) struct Uses {
    /// Nothing while it does not access its stack.
    pieces: Option<[Piece; PIECES]>,
    /// With what their uses count.
    constants: [Option<(u64, u32)>; MOST_CONSTANTS],
}

/// Puts a candidate in its place among the best.
fn offer(best: &mut [Option<Candidate>], weight: u32, what: What) {
    let mut left = Some(Candidate { weight, what });
    for place in best {
        if place.is_none_or(|held| held.weight < left.map_or(0, |left| left.weight)) {
            core::mem::swap(place, &mut left);
        }
        if left.is_none() {
            break;
        }
    }
}

impl Uses {
    /// Counts an access to the stack, in so many loops. `plain`: one that copies whole registers.
    #[inline(always)]
    pub(super) fn access(&mut self, offset: i16, size: Size, plain: bool, depth: u32) {
        let (offset, weight) = (i32::from(offset), weight(depth));
        // As the accesses before, which is how most are.
        if plain
            && offset % 4 == 0
            && let Some(pieces) = &mut self.pieces
            && let Some(piece) = pieces.get_mut(((offset + 512) >> 2) as usize)
            && piece.size == Some(size)
            && !piece.spoiled
        {
            piece.weight = piece.weight.saturating_add(weight);
        } else {
            self.other_access(offset, size, plain, weight);
        }
    }

    /// An access that is not as those before.
    #[inline(never)]
    fn other_access(&mut self, offset: i32, size: Size, plain: bool, weight: u32) {
        let pieces = self.pieces.get_or_insert_with(|| [Piece::default(); PIECES]);
        access(pieces, offset, size, plain, weight);
    }

    /// Counts a use of a constant, in so many loops.
    pub(super) fn constant(&mut self, value: u64, depth: u32) {
        let weight = weight(depth);
        for place in &mut self.constants {
            match place {
                Some((known, sum)) if *known == value => *sum = sum.saturating_add(weight),
                Some(_) => continue,
                None => *place = Some((value, weight)),
            }
            break;
        }
    }

    /// Chooses what of the function gets a register; nothing if there is nothing to choose.
    pub(super) fn choose<E: Emitter>(&self, function: &Function) -> Option<Promoted> {
        if self.pieces.is_none() && self.constants[0].is_none() {
            return None;
        }
        let room = function.free::<E>().count();
        // The best so far, in order, no more than there is room for.
        let mut best = [None; MOST];
        let best = best.get_mut(..room).unwrap_or_default();
        if let Some(pieces) = &self.pieces
            && !function.frame_address
        {
            for (index, piece) in pieces.iter().enumerate() {
                if piece.size.is_some() && !piece.spoiled && piece.weight >= LEAST {
                    offer(best, piece.weight, What::Slot(index as i32 * 4 - 512));
                }
            }
        }
        for (value, weight) in self.constants.into_iter().flatten() {
            offer(best, weight, What::Constant(value));
        }
        best.first()?.as_ref()?;
        let mut promoted = Promoted::default();
        let free = function.free::<E>();
        for ((to, candidate), place) in promoted.0.iter_mut().zip(best.iter()).zip(free) {
            *to = candidate.map(|candidate: Candidate| (candidate.what, place));
        }
        Some(promoted)
    }
}

/// What a use counts in so many loops.
const fn weight(depth: u32) -> u32 {
    1 << (LOOP_BITS * if depth < DEEPEST { depth } else { DEEPEST })
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
