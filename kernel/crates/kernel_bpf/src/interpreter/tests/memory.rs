//! Loads, stores and atomics.

use alloc::vec;
use alloc::vec::Vec;

use super::arithmetic::expected_alu;
use super::{VALUES, WIDTHS, bits, cut, load, run, signed};
use crate::insn::{AluOp, AtomicOp, Insn, Operand, Reg, SignedSize, Size, Width};

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
                let mut insns = super::load(Reg::R3, stored).to_vec();
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
