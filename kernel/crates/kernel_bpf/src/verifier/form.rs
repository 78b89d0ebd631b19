//! What a move begins that is one operation of a machine: arithmetic with three operands, or a
//! rotation as compilers write one.

#![forbid(unsafe_code)]

use super::liveness::RegSet;
use super::shape::Mark;
use crate::insn::{AluOp, Insn, Operand, Reg, Width};

/// What compilers may do with an instruction and those behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Form {
    /// Nothing out of the ordinary.
    #[default]
    Plain,
    /// Leave it out: no path executes it.
    Unreached,
    /// Have the instruction behind it, which does arithmetic on the copy that this one makes, read
    /// what is copied instead.
    Copy,
    /// Make one rotation of four instructions: `copy = value`, a shift of one of both, one of the
    /// other in the opposite direction, and the or of both. The one that is not the result is not
    /// read later.
    Rotation4,
    /// The same of five: with another copy of the value, which is kept.
    Rotation5,
}

/// The form of the instruction at a slot. `marks` say where jumps lead, `live` which registers may
/// be read from each slot on: any, from those that it does not have.
pub(super) fn form(insns: &[Insn], slot: usize, marks: &[Mark], live: &[RegSet]) -> Form {
    let Some([first, behind @ ..]) = insns.get(slot..) else { return Form::Plain };
    let Insn::Mov { width: moved, dst: copy, src: Operand::Reg(value) } = *first else {
        return Form::Plain;
    };
    let Some(&Insn::Alu { width, dst, src, .. }) = behind.first() else { return Form::Plain };
    let alone = |last: usize| {
        let marks = marks.get(slot + 1..=last).unwrap_or_default();
        marks.iter().all(|mark| mark.targets == 0)
    };
    // Operations do not take the frame pointer.
    if value == Reg::R10 {
        return Form::Plain;
    }
    if let Some((other, length)) = rotation(moved, copy, value, behind) {
        let last = slot + length - 1;
        let read = live.get(last + 1).is_none_or(|live| live & 1 << other as u8 != 0);
        if !read && alone(last) {
            return if length == 4 { Form::Rotation4 } else { Form::Rotation5 };
        }
    }
    let narrows = moved == Width::W32 && width == Width::W64;
    if dst == copy && src != Operand::Reg(copy) && !narrows && alone(slot + 1) {
        return Form::Copy;
    }
    Form::Plain
}

/// The register besides that of the result, and the number of instructions, if `copy = value` and
/// what is behind it make a rotation.
fn rotation(moved: Width, copy: Reg, value: Reg, behind: &[Insn]) -> Option<(Reg, usize)> {
    let [Insn::Alu { width, op: one, dst: first, src: Operand::Imm(by) }, behind @ ..] = behind
    else {
        return None;
    };
    let copies = |moved: &Width| moved == width || *moved == Width::W64;
    let (other, behind, length) = match behind {
        [Insn::Mov { width, dst, src: Operand::Reg(src) }, behind @ ..]
            if *src == value && copies(width) && *first == copy =>
        {
            (*dst, behind, 5)
        }
        _ => (value, behind, 4),
    };
    let [
        Insn::Alu { width: again, op: two, dst: second, src: Operand::Imm(further) },
        Insn::Alu { width: joined, op: AluOp::Or, dst, src: Operand::Reg(from) },
        ..,
    ] = behind
    else {
        return None;
    };
    let bits = match width {
        Width::W32 => 32,
        Width::W64 => 64,
    };
    let both = |a: Reg, b: Reg| (a, b) == (copy, other) || (a, b) == (other, copy);
    // What is shifted first in its own register is not the value any more.
    let rotates = matches!((one, two), (AluOp::Lsh, AluOp::Rsh) | (AluOp::Rsh, AluOp::Lsh))
        && copy != value
        && width == again
        && width == joined
        && copies(&moved)
        && both(*first, *second)
        && both(*dst, *from)
        && *by > 0
        && *further > 0
        && by.checked_add(*further) == Some(bits);
    rotates.then_some((*from, length))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::asm::assemble;
    use crate::verifier::Shape;
    use crate::verifier::liveness::{live_registers, uses};

    /// The form of the first instruction.
    fn first(text: &str) -> Form {
        let insns = assemble(text).expect("text that assembles");
        let mut live = alloc::vec![0; insns.len()];
        live_registers(&insns, uses, &mut live);
        Shape::of(&insns, &[0], &live, &[]).expect("memory").marks[0].form
    }

    #[test]
    fn a_move_and_arithmetic_on_the_copy_are_one_operation() {
        for arithmetic in ["r2 += r3", "r2 *= 7", "w2 -= w3", "r2 s>>= 3"] {
            assert_eq!(first(&format!("r2 = r1\n {arithmetic}\n exit")), Form::Copy);
        }
        assert_eq!(first("w2 = w1\n w2 += 1\n exit"), Form::Copy);
        for other in [
            "r2 = r1\n r3 += r2\n exit",
            "r2 = r1\n r2 += r2\n exit",
            "r2 = r1\n r2 = r3\n exit",
            "r2 = r10\n r2 += -8\n exit",
            // The upper half of the copy is zero.
            "w2 = w1\n r2 += 1\n exit",
            "r2 = r1\n again: r2 += 1\n if r2 != 9 goto again\n exit",
        ] {
            assert_eq!(first(other), Form::Plain, "{other}");
        }
    }

    #[test]
    fn a_value_shifted_both_ways_and_put_together_is_rotated() {
        let four =
            |behind: &str| first(&format!("r2 = r1\n r2 <<= 3\n r1 >>= 61\n {behind}\n exit"));
        assert_eq!(four("r1 |= r2"), Form::Rotation4);
        assert_eq!(four("r2 |= r1"), Form::Rotation4);
        assert_eq!(first("r2 = r1\n r1 <<= 3\n r2 >>= 61\n r2 |= r1\n exit"), Form::Rotation4);
        assert_eq!(first("w2 = w1\n w2 >>= 31\n w1 <<= 1\n w1 |= w2\n exit"), Form::Rotation4);
        assert_eq!(first("r2 = r1\n w2 >>= 31\n w1 <<= 1\n w1 |= w2\n exit"), Form::Rotation4);
        // The other is read later; and by an entry between.
        assert_eq!(four("r1 |= r2\n r0 = r2"), Form::Copy);
        assert_eq!(four("again: r1 |= r2\n r2 = 0\n if r1 != 9 goto again"), Form::Copy);
        for other in [
            "r2 = r1\n r2 <<= 3\n r1 >>= 60\n r1 |= r2\n exit",
            "r2 = r1\n r2 <<= 3\n r1 s>>= 61\n r1 |= r2\n exit",
            "r2 = r1\n r2 <<= 3\n r1 <<= 61\n r1 |= r2\n exit",
            "r2 = r1\n r2 <<= 3\n r1 >>= 61\n r1 |= r3\n exit",
            "r2 = r1\n r2 <<= 3\n r1 >>= 61\n r1 ^= r2\n exit",
            "r2 = r1\n w2 <<= 3\n r1 >>= 61\n r1 |= r2\n exit",
            "r2 = r1\n r2 <<= 0\n r1 >>= 64\n r1 |= r2\n exit",
            "r2 = r1\n r2 <<= 64\n r1 >>= 0\n r1 |= r2\n exit",
            "r2 = r1\n w2 <<= 3\n r1 >>= 29\n w1 |= w2\n exit",
            "r2 = r1\n r2 <<= 3\n r1 >>= 61\n w1 |= w2\n exit",
            "r2 = r1\n r2 <<= 3\n r2 >>= 61\n r1 |= r2\n exit",
            "r1 = r1\n r1 <<= 3\n r1 >>= 61\n r1 |= r1\n exit",
        ] {
            assert_eq!(first(other), Form::Copy, "{other}");
        }
        // Two moves of 32 bits are no copies of 64.
        assert_eq!(first("w2 = w1\n r2 >>= 61\n r1 <<= 3\n r1 |= r2\n exit"), Form::Plain);
        let five = |text: &str| first(&format!("r2 = r1\n {text}\n exit"));
        assert_eq!(five("r2 <<= 3\n r3 = r1\n r3 >>= 61\n r3 |= r2"), Form::Rotation5);
        assert_eq!(five("r2 >>= 3\n r3 = r1\n r3 <<= 61\n r2 |= r3"), Form::Rotation5);
        // What is shifted first is overwritten by the second copy.
        assert_eq!(five("r3 <<= 3\n r3 = r1\n r2 >>= 61\n r3 |= r2"), Form::Plain);
        assert_eq!(five("r2 <<= 3\n r3 = r4\n r3 >>= 61\n r3 |= r2"), Form::Copy);
        assert_eq!(five("r2 <<= 3\n w3 = w1\n r3 >>= 61\n r3 |= r2"), Form::Copy);
        assert_eq!(five("r2 <<= 3\n r3 = r1\n r3 >>= 61\n r3 |= r2\n r0 = r2"), Form::Copy);
    }

    #[test]
    fn what_no_path_executes_is_to_be_left_out() {
        use crate::verifier::InsnFacts;

        let insns = assemble("r2 = r1\n r2 += 1\n exit").expect("text that assembles");
        let facts =
            [true, false, true].map(|reached| InsnFacts { reached, ..InsnFacts::default() });
        let shape = Shape::of(&insns, &[0], &[], &facts).expect("memory");
        assert_eq!(shape.marks[1].form, Form::Unreached);
        assert_eq!(shape.marks[2].form, Form::Plain);
    }
}
