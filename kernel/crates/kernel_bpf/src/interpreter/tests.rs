//! Every instruction, on boundary values, against results computed another way: in 128-bit
//! arithmetic, cut down afterwards, from the words of RFC 9669.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::Interpreter;
use crate::helper::mock::Mock;
use crate::helper::{Environment, Helper};
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};
use crate::map::Map;
use crate::profile::{CloudProfile, EmbeddedProfile, PhysicalProfile};
use crate::prog_type::ProgType;
use crate::program::Program;
use crate::trusted::Trust;
use crate::verifier::{Cause, verify};

pub(super) const VALUES: [u64; 18] = [
    0,
    1,
    2,
    7,
    31,
    32,
    63,
    64,
    0x7f,
    0x80,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0123_4567_89ab_cdef,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];
const IMMEDIATES: [i32; 9] = [0, 1, -1, 7, 31, 33, i32::MAX, i32::MIN, 0x1234_5678];
const WIDTHS: [Width; 2] = [Width::W32, Width::W64];

pub(super) fn load(dst: Reg, value: u64) -> [Insn; 2] {
    [Insn::LoadImm64 { dst, value: Imm64::Value(value) }, Insn::WideTail]
}

/// Runs a program on every engine, each with a copy of `memory` that is aligned to 8 bytes; all
/// must come to the same end.
pub(super) fn run(insns: Vec<Insn>, memory: &mut [u8]) -> u64 {
    let program: Program<Arc<Map>> = Program::new(insns, ProgType::RawTracepoint, vec![]);
    let trust = Trust::default();
    let on = |engine: &dyn Fn(&mut [u8]) -> u64| {
        let mut words = vec![0u64; memory.len().div_ceil(8)];
        let (_, bytes, _) = {
            // SAFETY: any bytes are a word.
            unsafe { words.align_to_mut::<u8>() }
        };
        bytes[..memory.len()].copy_from_slice(memory);
        let result = engine(&mut bytes[..memory.len()]);
        (result, bytes[..memory.len()].to_vec())
    };
    // SAFETY: the tests' programs keep to `memory` and to their stack.
    let cloud = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &trust) }.unwrap();
    let (result, after) = on(&|bytes| cloud.run(bytes, &Mock::default()).unwrap());
    #[cfg(feature = "host-jit")]
    for compiled in crate::jit::tests::compile_trusted(&program, &trust) {
        let outcome = on(&|bytes| compiled.run(bytes, &Mock::default()).unwrap());
        assert_eq!(outcome, (result, after.clone()), "compiled: {:?}", program.insns);
    }
    #[cfg(feature = "host-jit")]
    for (machine, there, bytes) in crate::jit::tests::emulated::run(&program, None, memory) {
        assert_eq!((there, &bytes), (result, &after), "{machine}: {:?}", program.insns);
    }
    memory.copy_from_slice(&after);
    result
}

/// Runs `body` with r3 and r4 set, and returns `result`. With `jump_between`, nothing in the
/// body can be fused with what is before it.
fn compute(a: u64, b: u64, body: &[Insn], result: Reg) -> u64 {
    let mut insns = Vec::new();
    insns.extend(load(Reg::R3, a));
    insns.extend(load(Reg::R4, b));
    insns.extend_from_slice(body);
    insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Reg(result) });
    insns.push(Insn::Exit);
    run(insns, &mut [0; 8])
}

fn bits(width: Width) -> u32 {
    if width == Width::W32 { 32 } else { 64 }
}

fn cut(value: i128, bits: u32) -> u64 {
    (value & ((1i128 << bits) - 1)) as u64
}

fn signed(value: u64, bits: u32) -> i128 {
    let value = i128::from(value) & ((1i128 << bits) - 1);
    if value >> (bits - 1) & 1 == 1 { value - (1i128 << bits) } else { value }
}

fn unsigned(value: u64, bits: u32) -> i128 {
    i128::from(value) & ((1i128 << bits) - 1)
}

/// RFC 9669, section 4.1, in numbers without a width.
fn expected_alu(op: AluOp, a: u64, b: u64, bits: u32) -> u64 {
    let (ua, ub) = (unsigned(a, bits), unsigned(b, bits));
    let (sa, sb) = (signed(a, bits), signed(b, bits));
    let shift = ub as u32 % bits;
    let result = match op {
        AluOp::Add => ua + ub,
        AluOp::Sub => ua - ub,
        // The lower half of a product does not depend on the signs.
        AluOp::Mul => (0..bits).filter(|bit| ub >> bit & 1 == 1).fold(0, |sum, bit| {
            (sum + ((ua << bit) & ((1i128 << bits) - 1))) & ((1i128 << bits) - 1)
        }),
        AluOp::Div => {
            if ub == 0 {
                0
            } else {
                ua / ub
            }
        }
        AluOp::Mod => {
            if ub == 0 {
                ua
            } else {
                ua % ub
            }
        }
        AluOp::SDiv => {
            if sb == 0 {
                0
            } else {
                sa / sb
            }
        }
        AluOp::SMod => {
            if sb == 0 {
                sa
            } else {
                sa % sb
            }
        }
        AluOp::Or => ua | ub,
        AluOp::And => ua & ub,
        AluOp::Xor => ua ^ ub,
        AluOp::Lsh => (0..shift).fold(ua, |value, _| value * 2 % (1i128 << bits)),
        AluOp::Rsh => (0..shift).fold(ua, |value, _| value / 2),
        AluOp::Arsh => (0..shift).fold(sa, |value, _| value.div_euclid(2)),
    };
    cut(result, bits)
}

const ALU: [AluOp; 13] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Xor,
    AluOp::Arsh,
    AluOp::SDiv,
    AluOp::SMod,
];

#[test]
fn arithmetic_on_registers_and_immediates() {
    for op in ALU {
        for width in WIDTHS {
            for a in VALUES {
                for b in VALUES {
                    let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Reg(Reg::R4) };
                    let expected = expected_alu(op, a, b, bits(width));
                    let got = compute(a, b, &[insn], Reg::R3);
                    assert_eq!(got, expected, "{insn:?} {a:#x} {b:#x}");
                    assert_eq!(compute(a, b, &[insn], Reg::R4), b, "the source stays");
                }
                for imm in IMMEDIATES {
                    let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Imm(imm) };
                    let expected = expected_alu(op, a, i64::from(imm) as u64, bits(width));
                    assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
                }
            }
        }
    }
}

#[test]
fn a_register_combined_with_itself() {
    for op in ALU {
        for width in WIDTHS {
            for a in VALUES {
                let insn = Insn::Alu { width, op, dst: Reg::R3, src: Operand::Reg(Reg::R3) };
                let expected = expected_alu(op, a, a, bits(width));
                assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
            }
        }
    }
}

#[test]
fn moves_negations_and_extensions() {
    for a in VALUES {
        for width in WIDTHS {
            let n = bits(width);
            let mov = Insn::Mov { width, dst: Reg::R5, src: Operand::Reg(Reg::R3) };
            assert_eq!(compute(a, 0, &[mov], Reg::R5), cut(i128::from(a), n));
            let neg = Insn::Neg { width, dst: Reg::R3 };
            assert_eq!(compute(a, 0, &[neg], Reg::R3), cut(-i128::from(a), n));
            for (from, size) in [(SignedSize::B, 8), (SignedSize::H, 16), (SignedSize::W, 32)] {
                if size < n {
                    let extend = Insn::MovSx { width, dst: Reg::R5, src: Reg::R3, from };
                    let expected = cut(signed(a, size), n);
                    assert_eq!(compute(a, 0, &[extend], Reg::R5), expected, "{extend:?} {a:#x}");
                }
            }
        }
    }
    for imm in IMMEDIATES {
        for width in WIDTHS {
            let mov = Insn::Mov { width, dst: Reg::R3, src: Operand::Imm(imm) };
            assert_eq!(compute(5, 0, &[mov], Reg::R3), cut(i128::from(imm), bits(width)));
            // As the whole of a program, where it is fused with the exit.
            let all = vec![Insn::Mov { width, dst: Reg::R0, src: Operand::Imm(imm) }, Insn::Exit];
            assert_eq!(run(all, &mut []), cut(i128::from(imm), bits(width)));
        }
    }
}

#[test]
fn byte_orders() {
    for a in VALUES {
        for (bits, count) in [(SwapWidth::B16, 2), (SwapWidth::B32, 4), (SwapWidth::B64, 8)] {
            let bytes = &a.to_le_bytes()[..count];
            let little = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let swapped = bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let native_is_little = cfg!(target_endian = "little");
            for (kind, expected) in [
                (ByteOrder::ToLittle, if native_is_little { little } else { swapped }),
                (ByteOrder::ToBig, if native_is_little { swapped } else { little }),
                (ByteOrder::Swap, swapped),
            ] {
                let insn = Insn::ByteOrder { kind, dst: Reg::R3, bits };
                assert_eq!(compute(a, 0, &[insn], Reg::R3), expected, "{insn:?} {a:#x}");
            }
        }
    }
}

fn holds(cond: Cond, a: u64, b: u64, bits: u32) -> bool {
    let (ua, ub) = (unsigned(a, bits), unsigned(b, bits));
    let (sa, sb) = (signed(a, bits), signed(b, bits));
    match cond {
        Cond::Eq => ua == ub,
        Cond::Ne => ua != ub,
        Cond::Gt => ua > ub,
        Cond::Ge => ua >= ub,
        Cond::Lt => ua < ub,
        Cond::Le => ua <= ub,
        Cond::Set => ua & ub != 0,
        Cond::Sgt => sa > sb,
        Cond::Sge => sa >= sb,
        Cond::Slt => sa < sb,
        Cond::Sle => sa <= sb,
    }
}

#[test]
fn comparisons_jump_when_they_hold() {
    let conds = [
        Cond::Eq,
        Cond::Gt,
        Cond::Ge,
        Cond::Set,
        Cond::Ne,
        Cond::Sgt,
        Cond::Sge,
        Cond::Lt,
        Cond::Le,
        Cond::Slt,
        Cond::Sle,
    ];
    let mov = |imm| Insn::Mov { width: Width::W64, dst: Reg::R5, src: Operand::Imm(imm) };
    for cond in conds {
        for width in WIDTHS {
            for a in VALUES {
                let jumps = |src, b| {
                    let branch = Insn::Branch { width, cond, dst: Reg::R3, src, offset: 1 };
                    let r5 = compute(a, b, &[mov(1), branch, mov(0)], Reg::R5);
                    assert!(r5 < 2);
                    r5 == 1
                };
                for b in VALUES {
                    let expected = holds(cond, a, b, bits(width));
                    assert_eq!(jumps(Operand::Reg(Reg::R4), b), expected, "{cond:?} {a:#x} {b:#x}");
                }
                for imm in IMMEDIATES {
                    let expected = holds(cond, a, i64::from(imm) as u64, bits(width));
                    assert_eq!(jumps(Operand::Imm(imm), 0), expected, "{cond:?} {a:#x} {imm:#x}");
                }
            }
        }
    }
}

/// The same pairs with and without a jump target between them: fused and not fused.
#[test]
fn a_fused_pair_does_what_its_parts_do() {
    let alu = |op, imm| Insn::Alu { width: Width::W64, op, dst: Reg::R3, src: Operand::Imm(imm) };
    let copy = Insn::Mov { width: Width::W64, dst: Reg::R3, src: Operand::Reg(Reg::R4) };
    let load = |size, offset| Insn::Load { size, dst: Reg::R3, base: Reg::R1, offset };
    let branch = |width, cond, imm| Insn::Branch {
        width,
        cond,
        dst: Reg::R3,
        src: Operand::Imm(imm),
        // Over the next instruction.
        offset: 1,
    };
    let mark =
        Insn::Alu { width: Width::W64, op: AluOp::Xor, dst: Reg::R3, src: Operand::Imm(0x55) };
    let mut pairs: Vec<[Insn; 2]> = vec![
        [copy, alu(AluOp::Add, -8)],
        [alu(AluOp::Add, i32::MAX), alu(AluOp::Add, i32::MAX)],
        [alu(AluOp::Lsh, 32), alu(AluOp::Rsh, 32)],
        [alu(AluOp::Lsh, 32), alu(AluOp::Arsh, 32)],
        [alu(AluOp::Lsh, 48), alu(AluOp::Rsh, 50)],
        [alu(AluOp::Lsh, 0), alu(AluOp::Rsh, 63)],
        [alu(AluOp::Lsh, 56), alu(AluOp::Arsh, 56)],
    ];
    for cond in [Cond::Eq, Cond::Ne, Cond::Gt, Cond::Lt, Cond::Sgt] {
        for imm in [0, 1, -1, 0x7f] {
            for width in WIDTHS {
                pairs.push([alu(AluOp::Add, -1), branch(width, cond, imm)]);
                pairs.push([alu(AluOp::And, 0x81), branch(width, cond, imm)]);
                for size in [Size::B, Size::H, Size::W, Size::DW] {
                    pairs.push([load(size, 4), branch(width, cond, imm)]);
                }
            }
        }
    }
    let mut fused = 0;
    for [first, second] in pairs {
        for a in VALUES {
            for byte in [0, 1, 0x7f, 0xff] {
                let run_with = |separate: bool| {
                    let mut insns: Vec<Insn> = Vec::new();
                    insns.extend(super::tests::load(Reg::R3, a));
                    insns.extend(super::tests::load(Reg::R4, a ^ 0x5a5a));
                    let zero = Insn::Mov { width: Width::W64, dst: Reg::R5, src: Operand::Imm(0) };
                    insns.push(zero);
                    insns.push(first);
                    insns.push(second);
                    insns.push(mark);
                    let result = Operand::Reg(Reg::R3);
                    insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: result });
                    if separate {
                        // Never taken, but it leads between the two.
                        insns.push(Insn::Branch {
                            width: Width::W64,
                            cond: Cond::Ne,
                            dst: Reg::R5,
                            src: Operand::Imm(0),
                            offset: -4,
                        });
                    }
                    insns.push(Insn::Exit);
                    let program: Program<Arc<Map>> =
                        Program::new(insns, ProgType::RawTracepoint, vec![]);
                    // SAFETY: loads are within the 16 bytes of context.
                    let ready = unsafe {
                        Interpreter::<EmbeddedProfile>::new_trusted(&program, &Trust::default())
                    };
                    let ready = ready.unwrap();
                    let result = ready.run(&mut [byte; 16], &Mock::default()).unwrap();
                    assert_eq!(run(program.insns, &mut [byte; 16]), result);
                    (result, ready.operations())
                };
                let (together, short) = run_with(false);
                let (apart, long) = run_with(true);
                assert_eq!(together, apart, "{first:?} {second:?} {a:#x} {byte}");
                fused += usize::from(short + 1 < long);
            }
        }
    }
    assert!(fused > 1000, "pairs are fused at all: {fused}");
}

#[test]
fn loads_and_stores_of_every_size() {
    let memory: Vec<u8> = (0x78..0x98).collect();
    for offset in [0i16, 1, 5, 8, 23] {
        for (size, signed_size) in [
            (Size::B, Some(SignedSize::B)),
            (Size::H, Some(SignedSize::H)),
            (Size::W, Some(SignedSize::W)),
            (Size::DW, None),
        ] {
            let width = size.bytes() as usize;
            let place = offset as usize..offset as usize + width;
            let mut raw = [0; 8];
            raw[..width].copy_from_slice(&memory[place.clone()]);
            let value = u64::from_le_bytes(raw);
            let load = Insn::Load { size, dst: Reg::R0, base: Reg::R1, offset };
            assert_eq!(run(vec![load, Insn::Exit], &mut memory.clone()), value);
            if let Some(size) = signed_size {
                let load = Insn::LoadSx { size, dst: Reg::R0, base: Reg::R1, offset };
                let expected = cut(signed(value, width as u32 * 8), 64);
                assert_eq!(run(vec![load, Insn::Exit], &mut memory.clone()), expected);
            }
            for (src, stored) in
                [(Operand::Reg(Reg::R3), 0x0123_4567_89ab_cdef), (Operand::Imm(-2), -2i64 as u64)]
            {
                let mut insns = super::tests::load(Reg::R3, stored).to_vec();
                insns.push(Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(0) });
                insns.push(Insn::Store { size, base: Reg::R1, offset, src });
                insns.push(Insn::Exit);
                let mut changed = memory.clone();
                run(insns, &mut changed);
                let mut expected = memory.clone();
                expected[place.clone()].copy_from_slice(&stored.to_le_bytes()[..width]);
                assert_eq!(changed, expected, "{size:?} {src:?}");
            }
        }
    }
}

#[test]
fn atomics_of_both_widths_with_and_without_fetch() {
    let plain = |fetch| {
        [
            (AtomicOp::Add { fetch }, AluOp::Add),
            (AtomicOp::Or { fetch }, AluOp::Or),
            (AtomicOp::And { fetch }, AluOp::And),
            (AtomicOp::Xor { fetch }, AluOp::Xor),
        ]
    };
    for width in WIDTHS {
        let n = bits(width);
        let run_one = |op, old: u64, source: u64, r0: u64| {
            let mut insns = Vec::new();
            insns.extend(load(Reg::R3, source));
            insns.extend(load(Reg::R0, r0));
            insns.push(Insn::Atomic { op, width, base: Reg::R1, offset: 8, src: Reg::R3 });
            // What the registers hold afterwards goes to memory.
            for (src, offset) in [(Reg::R3, 16), (Reg::R0, 24)] {
                let src = Operand::Reg(src);
                insns.push(Insn::Store { size: Size::DW, base: Reg::R1, offset, src });
            }
            insns.push(Insn::Exit);
            let mut words = [0xaaaa_aaaa_aaaa_aaaa, old, 0, 0].map(u64::to_le_bytes).concat();
            run(insns, &mut words);
            let word = |index: usize| {
                u64::from_le_bytes(words[index * 8..index * 8 + 8].try_into().unwrap())
            };
            assert_eq!(word(0), 0xaaaa_aaaa_aaaa_aaaa);
            (word(1), word(2), word(3))
        };
        let mask = if n == 32 { 0xffff_ffff } else { u64::MAX };
        let merge = |old: u64, new: u64| old & !mask | new & mask;
        for old in VALUES {
            for source in VALUES {
                for fetch in [false, true] {
                    for (op, alu) in plain(fetch) {
                        let new = expected_alu(alu, old, source, n);
                        let r3 = if fetch { old & mask } else { source };
                        let expected = (merge(old, new), r3, 5);
                        assert_eq!(run_one(op, old, source, 5), expected, "{op:?} {width:?}");
                    }
                }
                let expected = (merge(old, source), old & mask, 5);
                assert_eq!(run_one(AtomicOp::Xchg, old, source, 5), expected);
                for r0 in [old, old ^ 1, old ^ 0x100_0000_0000] {
                    let equal = (r0 ^ old) & mask == 0;
                    let new = if equal { merge(old, source) } else { old };
                    let expected = (new, source, old & mask);
                    assert_eq!(run_one(AtomicOp::CmpXchg, old, source, r0), expected);
                }
            }
        }
    }
}

#[test]
fn acquiring_loads_and_releasing_stores() {
    for (size, mask) in
        [(Size::B, 0xff), (Size::H, 0xffff), (Size::W, 0xffff_ffff), (Size::DW, u64::MAX)]
    {
        let mut insns = load(Reg::R3, 0xfedc_ba98_7654_3210).to_vec();
        insns.push(Insn::StoreRelease { size, base: Reg::R1, offset: 8, src: Reg::R3 });
        insns.push(Insn::LoadAcquire { size, dst: Reg::R0, base: Reg::R1, offset: 8 });
        insns.push(Insn::Exit);
        let mut bytes = [0xff; 24];
        let result = run(insns, &mut bytes);
        let memory = [0, 8, 16].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
        assert_eq!(result, 0xfedc_ba98_7654_3210 & mask);
        assert_eq!(memory, [u64::MAX, !mask | 0xfedc_ba98_7654_3210 & mask, u64::MAX]);
    }
}

#[test]
fn calls_keep_r6_to_r9_and_give_each_frame_its_stack() {
    let mov = |dst, imm| Insn::Mov { width: Width::W64, dst, src: Operand::Imm(imm) };
    let add =
        |dst, src| Insn::Alu { width: Width::W64, op: AluOp::Add, dst, src: Operand::Reg(src) };
    let store =
        |imm| Insn::Store { size: Size::DW, base: Reg::FP, offset: -8, src: Operand::Imm(imm) };
    let reload = |dst| Insn::Load { size: Size::DW, dst, base: Reg::FP, offset: -8 };
    // main: r6 = 1, slot = 10, r0 = f(); r0 += r6 + slot
    // f: r6 = 100, slot = 1000, r0 = g(); r0 += r6 + slot
    // g: r6 = 10000, slot = 100000, r0 = slot
    let insns = vec![
        mov(Reg::R6, 1),
        store(10),
        Insn::CallLocal { offset: 4 },
        reload(Reg::R1),
        add(Reg::R0, Reg::R1),
        add(Reg::R0, Reg::R6),
        Insn::Exit,
        mov(Reg::R6, 100),
        store(1000),
        Insn::CallLocal { offset: 4 },
        reload(Reg::R1),
        add(Reg::R0, Reg::R1),
        add(Reg::R0, Reg::R6),
        Insn::Exit,
        mov(Reg::R6, 10_000),
        store(100_000),
        reload(Reg::R0),
        Insn::Exit,
    ];
    assert_eq!(run(insns, &mut []), 101_111);
}

#[test]
fn loops_and_long_jumps() {
    let insns = vec![
        Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(0) },
        Insn::Mov { width: Width::W64, dst: Reg::R1, src: Operand::Imm(1000) },
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R0, src: Operand::Reg(Reg::R1) },
        Insn::Alu { width: Width::W64, op: AluOp::Add, dst: Reg::R1, src: Operand::Imm(-1) },
        Insn::Branch {
            width: Width::W64,
            cond: Cond::Ne,
            dst: Reg::R1,
            src: Operand::Imm(0),
            offset: -3,
        },
        Insn::Jump { offset: 1, long: true },
        Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(-1) },
        Insn::Exit,
    ];
    assert_eq!(run(insns, &mut []), 500_500);
}

#[test]
fn a_context_that_is_too_small_is_refused_and_a_bad_jump_is_an_error() {
    let program: Program<Arc<Map>> =
        Program::new(vec![Insn::Jump { offset: 5, long: false }], ProgType::Kprobe, vec![]);
    // SAFETY: it cannot be prepared, so it does not run.
    let refused = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default()) };
    assert_eq!(refused.err(), Some(super::LoadError::BadJump { slot: 0 }));
    let program: Program<Arc<Map>> =
        Program::new(vec![Insn::CallHelper { id: 9999 }, Insn::Exit], ProgType::Kprobe, vec![]);
    // SAFETY: as above.
    let refused = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &Trust::default()) };
    assert_eq!(refused.err(), Some(super::LoadError::NoSuchHelper { slot: 0, id: 9999 }));
}

#[test]
fn a_call_by_register_finds_its_helper_when_it_runs() {
    unsafe extern "C" fn twice(
        first: u64,
        _: u64,
        _: u64,
        _: u64,
        _: u64,
        _: &Environment<'_>,
    ) -> u64 {
        first * 2
    }
    let trust = Trust { helpers: |id| (id == 77).then_some(twice as Helper), ..Trust::default() };
    for (number, expected) in [(77, 42), (78, -22i64 as u64)] {
        let insns = vec![
            Insn::Mov { width: Width::W64, dst: Reg::R1, src: Operand::Imm(21) },
            Insn::Mov { width: Width::W64, dst: Reg::R7, src: Operand::Imm(number) },
            Insn::CallRegister { target: Reg::R7 },
            Insn::Exit,
        ];
        let program: Program<Arc<Map>> = Program::new(insns, ProgType::Kprobe, vec![]);
        // SAFETY: the helper takes anything, and the program accesses no memory.
        let ready = unsafe { Interpreter::<CloudProfile>::new_trusted(&program, &trust) };
        assert_eq!(ready.unwrap().run(&mut [], &Mock::default()), Some(expected));
        let refused = verify(program, &CloudProfile::verify_options()).err().unwrap();
        assert_eq!(refused.cause, Cause::BadInstruction);
    }
}
