//! The shape of a program's text, as compilers go by it: where jumps lead, which registers each
//! function names, what it does with its stack and with constants in loops, the ends of loops that
//! several ways share, and what moves begin.
//!
//! The verifier finds it once, when it has accepted a program, so that to compile one takes no
//! look at the whole of it first; in the embedded profile, where programs are interpreted, whoever
//! compiles one finds it. It is about the text, not about paths; but which ends of loops are
//! worth a note, and what is never reached, depends on what was proved.

#![forbid(unsafe_code)]

use alloc::vec::Vec;

use super::form::{Form, form};
use super::liveness::{RegSet, named};
use super::proof::{BranchFact, InsnFacts};
use super::stack_use::StackUse;
use crate::insn::{Imm64, Insn, Operand, Reg, Size, Width};

/// The shape of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    /// Of each slot.
    pub marks: Vec<Mark>,
    /// The functions, sorted; the main function is the first.
    pub functions: Vec<Outline>,
    /// The stack slots of all functions that could live in registers, function by function, those
    /// first that are used most.
    pub slots: Vec<StackSlot>,
    /// The constants that all functions use in loops, function by function.
    pub constants: Vec<LoopConstant>,
    /// Jumps and branches.
    pub jumps: usize,
}

/// What is told of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Mark {
    /// How many jumps lead here; [`Mark::MOST`] stands for more. Behind a tail one for each jump
    /// that leads back to the tail.
    pub targets: u8,
    /// How many of them come from here or from behind: of how many loops it is the head.
    pub loops: u8,
    /// Of a jump back to a tail, the tail's instructions with its branch; 0 of any other.
    pub tail: u8,
    /// What its instruction begins.
    pub form: Form,
}

impl Mark {
    /// As many jumps as are counted, or more.
    pub(crate) const MOST: u8 = u8::MAX;
}

/// A function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outline {
    /// First slot.
    pub start: u32,
    /// One past its last slot.
    pub end: u32,
    /// The registers that its instructions read or write, one bit each.
    pub registers: u16,
    /// It calls helpers or functions.
    pub calls: bool,
    /// Where its part of [`Shape::slots`] ends.
    pub slots_end: u32,
    /// Where its part of [`Shape::constants`] ends.
    pub constants_end: u32,
}

/// A stack slot of a function that computes no address in its stack, if all accesses to the slot
/// copy the same 4 or 8 bytes and none overlaps it in another way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StackSlot {
    /// From the frame pointer.
    pub offset: i16,
    /// What its uses come to, loops counted.
    pub weight: u32,
}

/// A use of a constant in a loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LoopConstant {
    /// The `ld_imm64`, or the branch that compares with it.
    pub slot: u32,
    /// What it comes to, loops counted.
    pub weight: u32,
}

/// What a use counts in each further loop, as a power of two.
const LOOP_BITS: u32 = 3;
/// Loops deeper than this count as this.
const DEEPEST: u32 = 4;
/// Instructions of a tail besides its branch.
const LONGEST_TAIL: usize = 4;

/// What a use counts in so many loops.
const fn weight(depth: u32) -> u32 {
    1 << (LOOP_BITS * if depth < DEEPEST { depth } else { DEEPEST })
}

impl Shape {
    /// The shape of a program whose functions begin at `starts`, sorted. `live` has for each slot
    /// the registers that may be read from there on (any, where it ends before); `facts`, what is
    /// proved of it, may be empty.
    /// Jumps out of the program count as none. `None`: no memory.
    pub(crate) fn of(
        insns: &[Insn],
        starts: &[u32],
        live: &[RegSet],
        facts: &[InsnFacts],
    ) -> Option<Shape> {
        let mut shape = Shape::default();
        shape.marks.try_reserve_exact(insns.len()).ok()?;
        shape.marks.resize(insns.len(), Mark::default());
        shape.functions.try_reserve_exact(starts.len()).ok()?;
        let ends = starts.iter().skip(1).copied().chain([insns.len() as u32]);
        for (&start, end) in starts.iter().zip(ends) {
            let body = insns.get(start as usize..end as usize).unwrap_or_default();
            let (registers, frame_address) = named(body);
            let outline = Outline { start, end, registers, ..Outline::default() };
            shape.function(insns, outline, !frame_address, facts)?;
        }
        // Now it is known where all jumps lead.
        for slot in 0..insns.len() {
            let reached = facts.get(slot).is_none_or(|facts| facts.reached);
            let form =
                if reached { form(insns, slot, &shape.marks, live) } else { Form::Unreached };
            if let Some(mark) = shape.marks.get_mut(slot) {
                mark.form = form;
            }
        }
        Some(shape)
    }

    /// The slots at which functions begin, sorted, as calls tell.
    pub(crate) fn starts(insns: &[Insn]) -> Vec<u32> {
        let called = insns.iter().enumerate().filter_map(|(slot, insn)| match insn {
            Insn::CallLocal { offset } | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
                let start = u32::try_from(slot as i64 + 1 + i64::from(*offset)).ok()?;
                ((start as usize) < insns.len()).then_some(start)
            }
            _ => None,
        });
        let mut starts: Vec<u32> = [0].into_iter().chain(called).collect();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// The stack slots and the constants of the function with this index.
    pub(crate) fn of_function(&self, index: usize) -> (&[StackSlot], &[LoopConstant]) {
        let of = |index: usize| self.functions.get(index).copied().unwrap_or_default();
        let before = index.checked_sub(1).map(of).unwrap_or_default();
        let own = of(index);
        let slots = before.slots_end as usize..own.slots_end as usize;
        let constants = before.constants_end as usize..own.constants_end as usize;
        (
            self.slots.get(slots).unwrap_or_default(),
            self.constants.get(constants).unwrap_or_default(),
        )
    }

    /// Looks at one function, from its end to its start: jumps that lead back come before the loops
    /// that they close, so that it is known for each instruction in how many it lies.
    fn function(
        &mut self,
        insns: &[Insn],
        mut outline: Outline,
        slots_have_places: bool,
        facts: &[InsnFacts],
    ) -> Option<()> {
        let (start, end) = (outline.start as usize, outline.end as usize);
        let body = insns.get(start..end).unwrap_or_default();
        let (mut stack, mut depth, mut slot) = (StackUse::default(), 0u32, end);
        for insn in body.iter().rev() {
            slot -= 1;
            match *insn {
                Insn::Jump { .. } | Insn::Branch { .. } | Insn::MayGoto { .. } => {
                    self.jumps += 1;
                    depth += u32::from(self.jump(insns, slot, facts));
                    if depth > 0 && is_compared(insn) {
                        self.constant(slot, depth)?;
                    }
                }
                // The address of a map itself is for calls, which emitters shorten.
                Insn::LoadImm64 { value: Imm64::MapIndex(_) | Imm64::Func { .. }, .. } => {}
                Insn::LoadImm64 { .. } if depth > 0 => self.constant(slot, depth)?,
                Insn::Load { size, base: Reg::R10, offset, .. }
                | Insn::Store { size, base: Reg::R10, offset, .. } => {
                    stack.access(offset, size, true, weight(depth));
                }
                Insn::LoadSx { size, base: Reg::R10, offset, .. } => {
                    stack.access(offset, size.size(), false, weight(depth));
                }
                Insn::LoadAcquire { size, base: Reg::R10, offset, .. }
                | Insn::StoreRelease { size, base: Reg::R10, offset, .. } => {
                    stack.access(offset, size, false, weight(depth));
                }
                Insn::Atomic { base: Reg::R10, offset, .. } => {
                    stack.access(offset, Size::DW, false, weight(depth));
                }
                Insn::CallHelper { .. }
                | Insn::CallLocal { .. }
                | Insn::CallRegister { .. }
                | Insn::LoadAbs { .. }
                | Insn::LoadInd { .. } => outline.calls = true,
                _ => {}
            }
            if let Some(mark) = self.marks.get(slot) {
                depth = depth.wrapping_sub(u32::from(mark.loops));
            }
        }
        if slots_have_places {
            stack.choose(&mut self.slots)?;
        }
        outline.slots_end = self.slots.len() as u32;
        outline.constants_end = self.constants.len() as u32;
        self.functions.push(outline);
        Some(())
    }

    /// Notes where the jump at a slot leads; whether it closes a loop. Loops beyond those that can
    /// be counted count as none.
    fn jump(&mut self, insns: &[Insn], slot: usize, facts: &[InsnFacts]) -> bool {
        let target = insns.get(slot).and_then(|insn| insn.jump_target(slot));
        let target = target.and_then(|target| usize::try_from(target).ok());
        let Some((target, mark)) = target.and_then(|at| Some((at, self.marks.get_mut(at)?))) else {
            return false;
        };
        mark.targets = mark.targets.saturating_add(1);
        if target > slot {
            return false;
        }
        let closes = mark.loops < u8::MAX;
        mark.loops += u8::from(closes);
        if matches!(insns.get(slot), Some(Insn::Jump { .. }))
            && let Some(length) = tail(insns, target, slot, facts)
            && let Some(behind) = self.marks.get_mut(target + usize::from(length))
        {
            behind.targets = behind.targets.saturating_add(1);
            if let Some(mark) = self.marks.get_mut(slot) {
                mark.tail = length;
            }
        }
        closes
    }

    fn constant(&mut self, slot: usize, depth: u32) -> Option<()> {
        self.constants.try_reserve(1).ok()?;
        self.constants.push(LoopConstant { slot: slot as u32, weight: weight(depth) });
        Some(())
    }
}

/// Whether a branch compares 64 bits with a constant other than zero.
fn is_compared(insn: &Insn) -> bool {
    matches!(
        *insn,
        Insn::Branch { width: Width::W64, dst, src: Operand::Imm(imm), .. }
            if dst != Reg::R10 && imm != 0
    )
}

/// How many instructions the tail at the slot `start` has, with its branch, where a jump at the
/// slot `from` behind it leads to one: a few operations on registers and a branch that goes both
/// ways.
fn tail(insns: &[Insn], start: usize, from: usize, facts: &[InsnFacts]) -> Option<u8> {
    let tail = insns.get(start..from)?;
    let plain = |insn: &&Insn| match insn {
        Insn::Alu { dst, .. } | Insn::Mov { dst, src: Operand::Imm(_), .. } => *dst != Reg::R10,
        Insn::Mov { dst, src: Operand::Reg(src), .. } => ![*dst, *src].contains(&Reg::R10),
        _ => false,
    };
    let length = tail.iter().take(LONGEST_TAIL).take_while(plain).count();
    let [Insn::Branch { offset, .. }, next, behind @ ..] = tail.get(length..)? else { return None };
    // What compilers may make a move under a condition, or a branch turned round.
    let combines = *offset == 0
        || match next {
            Insn::Mov { .. } => *offset == 1 || matches!(behind, [Insn::Jump { .. }, ..]),
            Insn::Jump { .. } => *offset == 1,
            _ => false,
        };
    // On the way to the tail, and one that was proved neither to jump always nor never.
    let reached = facts.get(from).is_none_or(|facts| facts.reached);
    let decides = facts.get(start + length).is_none_or(|facts| facts.branch == BranchFact::Both);
    (reached && decides && !combines).then_some(length as u8 + 1)
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::*;
    use crate::asm::assemble;

    fn shape(text: &str) -> Shape {
        let insns = assemble(text).expect("text that assembles");
        Shape::of(&insns, &Shape::starts(&insns), &[], &[]).expect("memory")
    }

    fn offsets(slots: &[StackSlot]) -> Vec<i16> {
        slots.iter().map(|slot| slot.offset).collect()
    }

    #[test]
    fn jumps_are_counted_where_they_lead() {
        let shape = shape(
            "head: r1 += 1
             if r1 == 3 goto out
             if r1 == 4 goto out
             inner: r2 += 1
             if r2 < 9 goto inner
             if r1 < 9 goto head
             out: r0 = 0
             exit",
        );
        let mark = |targets, loops| Mark { targets, loops, ..Mark::default() };
        let none = mark(0, 0);
        let (loops, out) = (mark(1, 1), mark(2, 0));
        assert_eq!(shape.marks, [loops, none, none, loops, none, none, out, none]);
        assert_eq!(shape.jumps, 4);
        // The last of them, at the slot 5, is in one loop, the first in one, that at 4 in two.
        let constants = shape.constants.iter().map(|used| (used.slot, used.weight));
        assert_eq!(constants.collect::<Vec<_>>(), [(5, 8), (4, 64), (2, 8), (1, 8)]);
    }

    #[test]
    fn a_jump_back_to_a_few_operations_and_a_branch_leads_to_a_tail() {
        let text = |between: &str| {
            format!(
                "r1 = 0
                 tail: r1 += 1
                 {between}
                 if r1 > 9 goto out
                 r0 += r1
                 if r0 == 7 goto other
                 goto tail
                 other: r0 = 1
                 goto tail
                 out: exit"
            )
        };
        let marks = shape(&text("r2 = r1")).marks;
        assert_eq!((marks[6].tail, marks[8].tail), (3, 3));
        // Behind the branch each copy leads on.
        assert_eq!(marks[4].targets, 2);
        for other in ["r2 = r10", "r2 = *(u64 *)(r1 + 0)", "r2 = 1\n r2 = 2\n r2 = 3\n r2 = 4"] {
            let marks = shape(&text(other)).marks;
            assert!(marks.iter().all(|mark| mark.tail == 0), "{other}");
        }
    }

    #[test]
    fn a_tail_ends_with_a_branch_that_stays_one() {
        let tails = |way: &str, next: &str| {
            let marks = shape(&format!(
                "tail: r1 += 1
                 if r1 > 9 goto {way}
                 {next}
                 over: r0 += r1
                 if r0 == 7 goto out
                 goto tail
                 out: exit"
            ))
            .marks;
            marks.iter().filter(|mark| mark.tail != 0).count()
        };
        assert_eq!(tails("over", "r2 += 3"), 1);
        assert_eq!(tails("out", "r2 = 3"), 1);
        // A move under a condition, a branch turned round, and one that leads nowhere else.
        assert_eq!(tails("over", "r2 = 3"), 0);
        assert_eq!(tails("out", "r2 = 3\n goto out"), 0);
        assert_eq!(tails("over", "goto out"), 0);
        assert_eq!(tails("next", "next: r2 += 3"), 0);
    }

    #[test]
    fn a_tail_is_none_where_its_branch_or_the_way_to_it_is_decided() {
        let insns = assemble(
            "tail: r1 += 1
             if r1 > 9 goto out
             r0 += r1
             goto tail
             out: exit",
        )
        .expect("text that assembles");
        let mut facts = [InsnFacts { reached: true, ..InsnFacts::default() }; 5];
        let mut tail = |branch, reached| {
            (facts[1].branch, facts[3].reached) = (branch, reached);
            Shape::of(&insns, &[0], &[], &facts).expect("memory").marks[3].tail
        };
        assert_eq!(tail(BranchFact::Both, true), 2);
        assert_eq!(tail(BranchFact::Both, false), 0);
        assert_eq!(tail(BranchFact::Always, true), 0);
        assert_eq!(tail(BranchFact::Never, true), 0);
    }

    #[test]
    fn functions_have_their_own_slots_and_constants() {
        let shape = shape(
            "*(u64 *)(r10 - 8) = r1
             *(u64 *)(r10 - 16) = r1
             r2 = *(u64 *)(r10 - 16)
             again: r3 = 0x1234567890 ll
             r4 = *(u64 *)(r10 - 16)
             r5 = *(u32 *)(r10 - 20)
             r2 += 1
             if r2 != 0 goto again
             call function
             exit
             function: *(u64 *)(r10 - 8) = r1
             r1 = *(u64 *)(r10 - 8)
             r0 = *(u64 *)(r10 - 8)
             exit",
        );
        let calls = shape.functions.iter().map(|own| (own.start, own.end, own.calls));
        assert_eq!(calls.collect::<Vec<_>>(), [(0, 11, true), (11, 15, false)]);
        let (slots, constants) = shape.of_function(0);
        // One access alone is not worth a register.
        assert_eq!(offsets(slots), [-16, -20]);
        assert_eq!((constants.len(), constants[0].slot), (1, 3));
        let (slots, constants) = shape.of_function(1);
        assert_eq!((offsets(slots), constants), ([-8].into(), &[][..]));
    }

    #[test]
    fn slots_that_are_accessed_in_two_ways_stay_in_memory() {
        let often = |access: &str| format!("{access}\n").repeat(3);
        let both = [often("*(u64 *)(r10 - 8) = r1"), often("*(u64 *)(r10 - 24) = r1")].concat();
        let slots = |text: &str| offsets(&shape(&format!("{text}\n exit")).slots);
        assert_eq!(slots(&format!("{both} r0 = *(u64 *)(r10 - 8)")), [-8, -24]);
        for overlap in [
            "r0 = *(u32 *)(r10 - 8)",
            "r0 = *(u32 *)(r10 - 4)",
            "r0 = *(u8 *)(r10 - 1)",
            "r0 = *(s32 *)(r10 - 8)",
            "r0 = *(u64 *)(r10 - 12)",
            "lock *(u64 *)(r10 - 8) += r1",
            "r0 = load_acquire((u64 *)(r10 - 8))",
            "store_release((u64 *)(r10 - 8), r1)",
        ] {
            // Whichever is looked at first.
            assert_eq!(slots(&format!("{both} {overlap}")), [-24], "{overlap}");
            assert_eq!(slots(&format!("{overlap}\n {both}")), [-24], "{overlap}");
        }
        assert!(slots(&format!("{both} r2 = r10")).is_empty());
        // Whole registers, or their lower halves.
        assert_eq!(slots(&often("*(u32 *)(r10 - 8) = r1")), [-8]);
        for other in ["*(u8 *)(r10 - 8) = r1", "*(u16 *)(r10 - 8) = r1", "*(u32 *)(r10 - 6) = r1"] {
            assert!(slots(&often(other)).is_empty(), "{other}");
        }
        let signed = [often("*(u32 *)(r10 - 8) = r1"), "r0 = *(s32 *)(r10 - 8)".into()].concat();
        assert!(slots(&signed).is_empty());
        // The best of many.
        let many: Vec<String> = (1..=20)
            .map(|at| format!("*(u64 *)(r10 - {}) = r1\n", 8 * at).repeat(3 + at))
            .collect();
        let best: Vec<i16> = (5..=20).rev().map(|at| -8 * at).collect();
        assert_eq!(slots(&many.concat()), best);
    }

    #[test]
    fn what_calls_is_noted() {
        let calls = |insn| {
            let insns = [insn, Insn::Exit];
            Shape::of(&insns, &[0], &[], &[]).expect("memory").functions[0].calls
        };
        assert!(calls(Insn::CallHelper { id: 7 }));
        assert!(calls(Insn::CallRegister { target: Reg::R1 }));
        assert!(calls(Insn::CallLocal { offset: 0 }));
        assert!(calls(Insn::LoadAbs { size: Size::H, imm: 12 }));
        assert!(calls(Insn::LoadInd { size: Size::B, src: Reg::R1, imm: 0 }));
        assert!(!calls(Insn::Neg { width: Width::W64, dst: Reg::R1 }));
    }

    #[test]
    fn functions_are_found_once_each_and_in_order() {
        let insns = assemble("call b\n call a\n call b\n exit\n a: exit\n b: exit").unwrap();
        assert_eq!(Shape::starts(&insns), [0, 4, 5]);
        // Beyond the program there is none.
        let call = |offset| [Insn::CallLocal { offset }, Insn::Exit];
        assert_eq!(Shape::starts(&call(0)), [0, 1]);
        assert_eq!(Shape::starts(&call(1)), [0]);
        assert_eq!(Shape::starts(&call(-9)), [0]);
    }

    #[test]
    fn constants_count_in_loops_only() {
        let text = "r3 = 0x1234567890 ll\n if r1 > 77 goto out\n head: r1 += 1
                    w4 = 5\n if w4 > 66 goto out\n if r1 > 0 goto out
                    if r1 < 55 goto head\n out: exit";
        let slots = shape(text).constants.iter().map(|used| used.slot).collect::<Vec<_>>();
        assert_eq!(slots, [7]);
    }
}
