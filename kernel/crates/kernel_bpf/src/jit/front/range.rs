//! How many bits the values of places have at most, for machines where it costs something to clear
//! the upper half of a 32-bit result.
//!
//! A forward analysis of what is true of any program: a byte that was loaded is below 2^8, a sum
//! has at most one bit more than its terms. With it a move or an operation on bits whose operands
//! have no more than 32 bits is one of 64, and two things are known later ([`Node::wide`]): which upper halves are zero at a
//! label, and which 32-bit results are below 2^31, so that extending them with the sign or with
//! zeros is the same.

use alloc::vec;
use alloc::vec::Vec;

use crate::insn::{AluOp, SignedSize, Size, SwapWidth, Width};
use crate::jit::ir::{Node, Op, PLACES, Place, Source};

/// More passes than any usual program needs.
pub(super) const MOST_PASSES: usize = 24;
/// What grows on its way round a loop grows to these, so that it comes to an end.
const STEPS: [u8; 6] = [8, 16, 24, 31, 32, 64];

/// For each place, the number of bits of its value at most.
#[derive(Clone, Copy)]
struct Bits([u8; PLACES]);

impl Bits {
    const UNKNOWN: Self = Self([64; PLACES]);

    fn of(&self, place: Place) -> u8 {
        self.0[place.index()]
    }

    fn source(&self, source: Source) -> u8 {
        match source {
            Source::Place(place) => self.of(place),
            // Extended with its sign.
            Source::Imm(..0) => 64,
            Source::Imm(imm) => bits(imm as u64),
        }
    }

    /// The places whose values have no more bits.
    fn within(&self, bits: u8) -> u32 {
        let fits = |(place, &most): (usize, &u8)| u32::from(most <= bits) << place;
        self.0.iter().enumerate().map(fits).sum()
    }

    /// Adds what is known on another way; says whether that is less.
    fn join(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (most, &other) in self.0.iter_mut().zip(&other.0) {
            if other > *most {
                *most = STEPS.into_iter().find(|&step| step >= other).unwrap_or(64);
                changed = true;
            }
        }
        changed
    }
}

fn bits(value: u64) -> u8 {
    (64 - value.leading_zeros()) as u8
}

/// Widens operations, and prepares [`Node::wide`] for `wide`: at a label it has the places whose
/// values have 32 bits at most; elsewhere all places but the one whose result is the same when it
/// is extended with its sign.
pub(super) fn analyse(nodes: &mut [Node], slots: usize) {
    let mut entries: Vec<Option<Bits>> = vec![None; slots];
    let mut passes = 0;
    while pass(nodes, &mut entries, false) {
        passes += 1;
        if passes == MOST_PASSES {
            return claim_nothing(nodes);
        }
    }
    pass(nodes, &mut entries, true);
}

/// Leaves nothing known at labels, where [`Node::wide`] is a claim, when finding out takes too
/// long.
fn claim_nothing(nodes: &mut [Node]) {
    for node in nodes.iter_mut().filter(|node| matches!(node.op, Op::Label)) {
        node.wide = 0;
    }
}

/// One pass; says whether something changed at a label. The last one writes what it knows.
fn pass(nodes: &mut [Node], entries: &mut [Option<Bits>], last: bool) -> bool {
    let mut changed = false;
    // Nothing: no way leads here.
    let mut here: Option<Bits> = None;
    for node in nodes {
        let mut goes_to = |slot: u32, bits: &Bits| match entries.get_mut(slot as usize) {
            Some(Some(entry)) => changed |= entry.join(bits),
            Some(entry) => {
                *entry = Some(*bits);
                changed = true;
            }
            None => {}
        };
        match (node.op, &mut here) {
            (Op::Enter { .. }, _) => here = Some(Bits::UNKNOWN),
            (Op::Label, _) => {
                if let Some(bits) = &here {
                    goes_to(node.slot, bits);
                }
                here = entries.get(node.slot as usize).copied().flatten();
                if last {
                    node.wide = here.map_or(0, |bits| bits.within(32));
                }
            }
            (Op::Branch { target, .. } | Op::MayGoto { target }, Some(bits)) => {
                goes_to(target, bits);
            }
            (Op::Jump { target, .. }, Some(bits)) => {
                goes_to(target, bits);
                here = None;
            }
            (Op::Exit, _) => here = None,
            (_, None) => {}
            (_, Some(bits)) => step(node, bits, last),
        }
    }
    changed
}

/// The effect of an operation.
fn step(node: &mut Node, bits: &mut Bits, last: bool) {
    let result = result(&node.op, bits);
    if last {
        match &mut node.op {
            Op::Move { width: width @ Width::W32, src, .. } if bits.of(*src) <= 32 => {
                *width = Width::W64;
            }
            Op::Alu {
                width: width @ Width::W32,
                op: AluOp::And | AluOp::Or | AluOp::Xor,
                a,
                b,
                ..
            } if bits.of(*a) <= 32 && bits.source(*b) <= 32 => {
                *width = Width::W64;
            }
            Op::Alu { width: Width::W32, op, dst, .. }
                if result <= 31 && !matches!(op, AluOp::And | AluOp::Or | AluOp::Xor) =>
            {
                node.wide = !dst.bit();
            }
            _ => {}
        }
    }
    let mut written = node.writes;
    while written != 0 {
        bits.0[written.trailing_zeros() as usize % PLACES] = result;
        written &= written - 1;
    }
}

/// The bits of what an operation writes, at most.
fn result(op: &Op, known: &Bits) -> u8 {
    match *op {
        Op::Move { width, src, .. } => known.of(src).min(all(width)),
        Op::Constant { value, .. } => bits(value),
        Op::Alu { width, op, a, b, .. } => {
            let most = all(width);
            let (left, right) = (known.of(a).min(most), known.source(b).min(most));
            let by = match b {
                Source::Imm(by) => Some(by as u8),
                Source::Place(_) => None,
            };
            let result = match (op, by) {
                (AluOp::Add, _) => left.max(right) + 1,
                (AluOp::Mul, _) => left.saturating_add(right),
                (AluOp::And, _) => left.min(right),
                (AluOp::Or | AluOp::Xor, _) => left.max(right),
                (AluOp::Lsh, Some(by)) => left.saturating_add(by),
                (AluOp::Rsh, Some(by)) => left.saturating_sub(by),
                // The sign is a zero.
                (AluOp::Arsh, Some(by)) if left < most => left.saturating_sub(by),
                (AluOp::Arsh, None) if left < most => left,
                (AluOp::Rsh, None) | (AluOp::Div, _) => left,
                // By a zero in a place it is the dividend.
                (AluOp::Mod, Some(_)) => left.min(right),
                (AluOp::Mod, None) => left,
                _ => most,
            };
            result.min(most)
        }
        Op::SignExtend { width, src, from, .. } => {
            let sign = match from {
                SignedSize::B => 8,
                SignedSize::H => 16,
                SignedSize::W => 32,
            };
            if known.of(src) < sign { known.of(src) } else { all(width) }
        }
        Op::Truncate { src, size, .. } => known.of(src).min(match size {
            SignedSize::B => 8,
            SignedSize::H => 16,
            SignedSize::W => 32,
        }),
        Op::Swap { bits: SwapWidth::B16, .. } => 16,
        Op::Swap { bits: SwapWidth::B32, .. } => 32,
        Op::Negate { width, .. } | Op::Rotate { width, .. } => all(width),
        Op::Load { size, signed: false, .. } => match size {
            Size::B => 8,
            Size::H => 16,
            Size::W => 32,
            Size::DW => 64,
        },
        Op::Atomic { width, .. } => all(width),
        _ => 64,
    }
}

const fn all(width: Width) -> u8 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}
