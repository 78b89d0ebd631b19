//! Which places a function leaves free.

use super::Function;
use crate::jit::emitter::Emitter;
use crate::jit::ir::Place;

/// r1 to r5, and r6 to r9.
const ARGUMENTS: u32 = 0x3e;
const KEPT: u32 = 0x3c0;

/// The places of a number of the machine's further registers, from one on.
const fn extras(first: u8, count: u8) -> u32 {
    ((1 << count) - 1) << (Place::FIRST_EXTRA + first)
}

/// Sets of places of which those of the first are to be taken first.
#[derive(Clone, Copy)]
pub(super) struct Free([u32; 4]);

impl Function {
    /// The places that the function has no other use for, the cheapest first.
    pub(super) fn free<E: Emitter>(&self) -> Free {
        let unnamed = !u32::from(self.registers);
        let scratch = if self.calls { 0 } else { E::EXTRAS_SCRATCH };
        Free([
            unnamed & ARGUMENTS,
            extras(E::EXTRAS_KEPT, scratch),
            extras(0, E::EXTRAS_KEPT),
            unnamed & KEPT,
        ])
    }
}

impl Free {
    /// How many there are.
    pub(super) fn count(self) -> usize {
        self.0.iter().map(|set| set.count_ones() as usize).sum()
    }
}

impl Iterator for Free {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let set = self.0.iter_mut().find(|set| **set != 0)?;
        let place = Place::first_of(*set);
        *set &= *set - 1;
        Some(place)
    }
}
