//! Which stack slots and constants of a function live in machine registers.
//!
//! Which slots can the shape of the program says ([`crate::verifier::Shape`]). A constant can
//! always; it is one that no instruction has room for, such as the address of a map's value, and
//! that a loop loads or, where comparisons take none, compares with. Those that are used most,
//! loops counted, get the registers that the function has no other use for (`free`).

use super::Function;
use crate::insn::{Insn, Operand};
use crate::jit::emitter::Emitter;
use crate::jit::ir::Place;
use crate::resolve::Resolver;
use crate::verifier::{LoopConstant, StackSlot};

/// Different constants that are looked at: functions that have more use none of them often.
const MOST_CONSTANTS: usize = 8;
/// So many get a place at most, whatever the machine has to spare.
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

/// The constants of a function's loops that no instruction has room for, with what their uses come
/// to.
#[derive(Default)]
struct Constants([Option<(u64, u32)>; MOST_CONSTANTS]);

impl Constants {
    /// Counts a use.
    fn add(&mut self, value: u64, weight: u32) {
        for place in &mut self.0 {
            match place {
                Some((known, sum)) if *known == value => *sum = sum.saturating_add(weight),
                Some(_) => continue,
                None => *place = Some((value, weight)),
            }
            break;
        }
    }

    /// Counts all uses that the machine has no better way for.
    fn count<E: Emitter>(&mut self, resolver: &Resolver<'_>, uses: &[LoopConstant]) {
        for used in uses {
            let slot = used.slot as usize;
            match resolver.program.insns.get(slot) {
                Some(&Insn::LoadImm64 { value, .. }) => {
                    let value = resolver.constant(slot, value).unwrap_or(0);
                    if i32::try_from(value as i64).is_err() {
                        self.add(value, used.weight);
                    }
                }
                Some(&Insn::Branch { src: Operand::Imm(imm), .. }) if E::COMPARES_PLACES => {
                    self.add(i64::from(imm) as u64, used.weight);
                }
                _ => {}
            }
        }
    }
}

impl Promoted {
    /// Chooses what of a function gets a register, from what the program's shape says.
    pub(super) fn choose<E: Emitter>(
        &mut self,
        resolver: &Resolver<'_>,
        function: &Function,
        (slots, uses): (&[StackSlot], &[LoopConstant]),
    ) {
        // It is large, and in most functions nothing.
        if self.0[0].is_some() {
            *self = Promoted::default();
        }
        let free = function.free::<E>();
        let slot = |slot: &StackSlot| What::Slot(i32::from(slot.offset));
        if uses.is_empty() {
            for ((to, own), place) in self.0.iter_mut().zip(slots).zip(free) {
                *to = Some((slot(own), place));
            }
            return;
        }
        // The best so far, in order, no more than there is room for.
        let mut best = [None; MOST];
        let best = best.get_mut(..free.count().min(MOST)).unwrap_or_default();
        for (to, own) in best.iter_mut().zip(slots) {
            *to = Some(Candidate { weight: own.weight, what: slot(own) });
        }
        let mut constants = Constants::default();
        constants.count::<E>(resolver, uses);
        for (value, weight) in constants.0.into_iter().map_while(|one| one) {
            offer(best, weight, What::Constant(value));
        }
        for ((to, candidate), place) in self.0.iter_mut().zip(best.iter()).zip(free) {
            *to = candidate.map(|candidate: Candidate| (candidate.what, place));
        }
    }
}
