//! `riscv_flush_icache`, which only RISC-V has: what was written can be run.

use super::family;
use crate::calls::{self, raw};
use crate::check::{Outcome, equal, fails, ok};
use lemma_rt::general::{
    __NR_riscv_flush_icache, MAP_ANONYMOUS, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE,
};

family!("flush": written_code_runs, errors);

fn flush(flags: usize) -> lemma_rt::Result<usize> {
    raw(__NR_riscv_flush_icache as usize, [0, usize::MAX, flags, 0, 0, 0])
}

/// On every CPU, or on this one.
fn written_code_runs() -> Outcome {
    let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    let memory = ok!(calls::mmap(0, 4096, PROT_READ | PROT_WRITE, anonymous, -1, 0));
    for (flags, answer) in [(0, 42), (1, 43)] {
        ok!(calls::mprotect(memory, 4096, PROT_READ | PROT_WRITE));
        // li a0, answer; ret
        let code = [0x0000_0513 | (answer as u32) << 20, 0x0000_8067];
        for (offset, byte) in code.iter().flat_map(|word| word.to_le_bytes()).enumerate() {
            calls::poke(memory + offset, byte);
        }
        ok!(calls::mprotect(memory, 4096, PROT_READ | PROT_EXEC));
        equal!(flush(flags), Ok(0));
        // SAFETY: the two instructions are a function that returns a number.
        let run: extern "C" fn() -> usize = unsafe { core::mem::transmute(memory) };
        equal!(run(), answer);
    }
    Ok(())
}

fn errors() -> Outcome {
    fails!(flush(2), INVAL);
    fails!(flush(usize::MAX), INVAL);
    Ok(())
}
