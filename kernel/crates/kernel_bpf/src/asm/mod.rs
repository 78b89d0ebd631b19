//! Text to instructions: the syntax of LLVM's BPF assembler, as [`crate::disasm`]
//! writes it, plus labels.
//!
//! ```
//! let insns = kernel_bpf::asm::assemble(
//!     "r0 = 0
//!      if r1 == 0 goto out      ; forward to a label
//!      r0 = *(u32 *)(r1 + 4)
//!      out: exit",
//! )
//! .unwrap();
//! assert_eq!(insns.len(), 4);
//! ```
//!
//! One instruction a line; `;` and `//` begin comments. Jumps and calls name a label
//! or give an offset (`+3`); helpers are called by name (`call bpf_ktime_get_ns`) or
//! number. Maps are named by index: `r1 = map[0] ll`, `r1 = map[0][0]+8 ll`. Functions are named as
//! jumps are: `r1 = func f ll`, `r1 = func[+3] ll`.

mod lexer;
mod line;
mod words;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::insn::{Imm64, Insn};

/// Why text is not a program, and in which line (from 1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmError {
    pub line: usize,
    pub message: String,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl core::error::Error for AsmError {}

/// Where a jump or call leads.
pub(super) enum Target {
    Offset(i64),
    Label(String),
}

/// An instruction whose offset may still be missing.
pub(super) struct Parsed {
    pub(super) insn: Insn,
    pub(super) target: Option<Target>,
}

/// Assembles a program; one entry per slot, as [`fn@crate::insn::decode`] gives.
///
/// # Errors
/// The first line that is not an instruction, or a label that is not there.
pub fn assemble(text: &str) -> Result<Vec<Insn>, AsmError> {
    let mut labels = BTreeMap::new();
    let mut insns: Vec<(usize, Parsed)> = Vec::new();
    let mut slots = 0usize;
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let fail = |message: String| AsmError { line: number, message };
        let mut rest = strip_comment(line).trim();
        while let Some((label, after)) = split_label(rest) {
            if labels.insert(label.to_string(), slots).is_some() {
                return Err(fail(format!("the label `{label}` is there twice")));
            }
            rest = after.trim();
        }
        if rest.is_empty() {
            continue;
        }
        let parsed = line::parse(rest).map_err(fail)?;
        slots += parsed.insn.slots();
        insns.push((number, parsed));
    }
    let mut program = Vec::with_capacity(slots);
    for (number, parsed) in insns {
        let fail = |message: String| AsmError { line: number, message };
        let mut insn = parsed.insn;
        if let Some(target) = parsed.target {
            let offset = match target {
                Target::Offset(offset) => offset,
                Target::Label(label) => {
                    let Some(&at) = labels.get(&label) else {
                        return Err(fail(format!("there is no label `{label}`")));
                    };
                    at as i64 - program.len() as i64 - 1
                }
            };
            if !set_offset(&mut insn, offset) {
                return Err(fail(format!("{offset} is too far")));
            }
        }
        program.push(insn);
        if insn.slots() == 2 {
            program.push(Insn::WideTail);
        }
    }
    Ok(program)
}

fn strip_comment(line: &str) -> &str {
    let end = line.find(';').into_iter().chain(line.find("//")).min();
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

/// `name: rest`
fn split_label(line: &str) -> Option<(&str, &str)> {
    let (label, rest) = line.split_once(':')?;
    let valid = !label.is_empty()
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !label.starts_with(|c: char| c.is_ascii_digit());
    valid.then_some((label, rest))
}

fn set_offset(insn: &mut Insn, to: i64) -> bool {
    match insn {
        Insn::Jump { offset, long: true } | Insn::CallLocal { offset } => {
            i32::try_from(to).map(|to| *offset = to).is_ok()
        }
        Insn::Jump { offset, long: false } => {
            i16::try_from(to).map(|to| *offset = i32::from(to)).is_ok()
        }
        Insn::Branch { offset, .. } | Insn::MayGoto { offset } => {
            i16::try_from(to).map(|to| *offset = to).is_ok()
        }
        Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => {
            i32::try_from(to).map(|to| *offset = to).is_ok()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::assemble;
    use crate::insn::{Imm64, Insn, Reg, decode, encode};
    use std::string::ToString;

    /// What the disassembler writes, the assembler reads back.
    #[test]
    fn round_trip() {
        let text = "r1 = 5
            w2 = -7
            r3 = r1
            w4 = w3
            r1 = 0x123456789abcdef0 ll
            r1 = map[2] ll
            r1 = map[1][0]+16 ll
            r1 = map[fd:3] ll
            r1 = map[fd:3][0]+8 ll
            r1 = btf[7] ll
            r1 = func[+9] ll
            r1 = func[-1] ll
            call kfunc#12
            r1 += r2
            w1 s/= w2
            r1 s%= 3
            r5 <<= 3
            w5 s>>= 1
            r1 = -r1
            w9 = -w9
            r1 = be16 r1
            r2 = le32 r2
            r3 = bswap64 r3
            r1 = (s8)r2
            w1 = (s16)w2
            r1 = (s32)r2
            r1 = *(u32 *)(r10 - 4)
            r1 = *(s16 *)(r2 + 0)
            *(u8 *)(r10 - 1) = 7
            *(u64 *)(r10 - 16) = r6
            lock *(u64 *)(r1 + 8) += r2
            lock *(u32 *)(r1 + 8) ^= w2
            r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
            w2 = atomic_fetch_or((u32 *)(r1 + 0), w2)
            r2 = xchg_64(r1 + 8, r2)
            w0 = cmpxchg32_32(r1 - 8, w0, w2)
            r1 = load_acquire((u16 *)(r2 + 2))
            store_release((u32 *)(r10 - 4), r1)
            goto +0
            gotol -1
            if r1 == 0 goto +2
            if w1 s>= w2 goto -3
            if r1 & 8 goto +0
            may_goto +1
            callx r2
            call bpf_map_lookup_elem#1
            call 9999
            call -7
            call pc+1
            r0 = *(u16 *)skb[12]
            r0 = *(u8 *)skb[r7 + -3]
            exit";
        let insns = assemble(text).unwrap();
        for (line, insn) in text.lines().zip(insns.iter().filter(|insn| **insn != Insn::WideTail)) {
            assert_eq!(insn.to_string(), line.trim());
        }
        assert_eq!(decode(&encode(&insns)).unwrap(), insns);
    }

    #[test]
    fn labels_and_errors() {
        let insns = assemble(
            "loop: r1 += 1 // count
             if r1 < 10 goto loop
             call f
             goto end
             f: r0 = 0
             end: exit",
        )
        .unwrap();
        assert_eq!(insns[1].jump_target(1), Some(0));
        assert_eq!(insns[2], Insn::CallLocal { offset: 1 });
        let places =
            ["r1 = func+1 ll\n exit", "r1 = func[+1] ll\n exit", "r1 = func f ll\n f: exit"];
        let loads = places.map(|text| assemble(text).unwrap()[0]);
        let func = |offset| Insn::LoadImm64 { dst: Reg::R1, value: Imm64::Func { offset } };
        assert_eq!(loads, [func(1), func(1), func(1)]);
        assert_eq!(insns[3].jump_target(3), Some(5));
        assert_eq!(assemble("r0 = 0\n r11 = 0").unwrap_err().line, 2);
        assert_eq!(assemble("goto nowhere").unwrap_err().message, "there is no label `nowhere`");
        for wrong in [
            "r1 =",
            "exit now",
            "r1 = w2",
            "if r1 = 2 goto +1",
            "*(u32 *)(r1 + 4)",
            "call bpf_no_such",
        ] {
            assert!(assemble(wrong).is_err(), "{wrong}");
        }
    }
}
