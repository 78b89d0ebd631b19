//! Instructions: what decodes is the same program when it is encoded, and as text.

#![no_main]

use kernel_bpf::asm::assemble;
use kernel_bpf::insn::{Imm64, Insn, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(insns) = decode(bytes) else { return };
    // Not the same bytes: Linux ignores a field or two, and so does the decoder.
    assert_eq!(decode(&encode(&insns)).as_ref(), Ok(&insns));
    let listed = insns.iter().filter(|insn| **insn != Insn::WideTail);
    let text: String = listed.map(|insn| format!("{insn}\n")).collect();
    // What has no syntax of its own: descriptors, kernel functions, casts.
    let spoken = insns.iter().all(|insn| {
        !matches!(
            insn,
            Insn::CallKfunc { .. }
                | Insn::AddrSpaceCast { .. }
                | Insn::LoadImm64 {
                    value: Imm64::MapFd(_)
                        | Imm64::MapFdValue { .. }
                        | Imm64::BtfId { .. }
                        | Imm64::Func { .. },
                    ..
                }
        )
    });
    match assemble(&text) {
        Ok(again) => assert!(again == insns || !spoken, "{text}"),
        Err(error) => assert!(!spoken, "{error}: {text}"),
    }
});
