//! Which codes are of one kind: the order in which they are declared says so.

use super::super::code::Code;
use crate::insn::{AluOp, Width};

/// How many codes there are from one to another, with both.
fn count(first: Code, last: Code) -> u16 {
    last as u16 - first as u16 + 1
}

#[test]
fn kinds_have_the_codes_that_they_should() {
    let loads = [Code::Load8, Code::Load16, Code::Load32, Code::Load64];
    let signed = [Code::LoadSx8, Code::LoadSx16, Code::LoadSx32];
    let stores = [
        [Code::Store8Imm, Code::Store16Imm, Code::Store32Imm, Code::Store64Imm],
        [Code::Store8Reg, Code::Store16Reg, Code::Store32Reg, Code::Store64Reg],
    ];
    for code in loads.into_iter().chain(signed) {
        assert!(code.accesses_memory() && code.goes_from_src_to_dst(), "{code:?}");
    }
    for code in stores.into_iter().flatten() {
        assert!(code.accesses_memory() && !code.goes_from_src_to_dst(), "{code:?}");
    }
    assert_eq!(count(Code::Load8, Code::Store64Reg), 4 + 3 + 8);

    for op in AluOp::ALL {
        for (width, narrow) in [(Width::W64, false), (Width::W32, true)] {
            for immediate in [true, false] {
                let code = Code::alu(op, width, immediate);
                assert_eq!(code.has_two_registers(), !immediate, "{code:?}");
                assert_eq!(code.with_immediate().is_some(), !immediate, "{code:?}");
                assert_eq!(code.reads_lower_halves(), narrow, "{code:?}");
                assert!(code.goes_from_src_to_dst() && !code.accesses_memory(), "{code:?}");
            }
            let register = Code::alu(op, width, false);
            assert_eq!(register.with_immediate(), Some(Code::alu(op, width, true)));
        }
    }
    assert_eq!(count(Code::Add64Reg, Code::SMod64Reg), 13);
    assert_eq!(count(Code::Add32Reg, Code::SMod32Reg), 13);
    assert_eq!(count(Code::Add32Imm, Code::Mov32Reg), 2 * 14);

    for code in [Code::Mov64Imm, Code::Mov32Imm] {
        assert!(!code.goes_from_src_to_dst() && !code.reads_lower_halves(), "{code:?}");
    }
    for code in [Code::Mov64Reg, Code::Mov32Reg] {
        assert!(code.goes_from_src_to_dst() && !code.has_two_registers(), "{code:?}");
    }
    // Two negations, five sign extensions, three swaps and two truncations.
    for code in [Code::Neg64, Code::Sx32To64, Code::Swap16, Code::Zext32] {
        assert!(code.goes_from_src_to_dst() && !code.reads_lower_halves(), "{code:?}");
    }
    assert_eq!(count(Code::Add64Imm, Code::LoadSx32), 4 * 14 + 12 + 7);
}
