//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/x86/include/asm/sigframe.h): the return
//! address, a `ucontext` with the registers, the `siginfo_t`; above it the floating-point
//! state, aligned to 64 bytes, with the marks by which user space recognises an XSAVE area
//! (arch/x86/include/uapi/asm/sigcontext.h).

use super::context::FpState;
use super::cpu::{USER_CODE, USER_DATA};
use super::frame::Frame;
use crate::arch::traits::{SignalCall, SignalStack, TrapFrame};

/// Below the stack pointer a function may use this much without moving it (System V ABI for
/// AMD64, 3.2.2).
const RED_ZONE: usize = 128;

/// `ucontext.uc_flags`: an XSAVE area follows, and SS is saved and restored.
const UC_FLAGS: u64 = 1 | 2 | 4;
/// `FP_XSTATE_MAGIC1` and `FP_XSTATE_MAGIC2`.
const MAGIC_1: u32 = 0x4650_5853;
const MAGIC_2: u32 = 0x4650_5845;
/// Where the first is, in the part of the FXSAVE area that is left to software.
const SOFTWARE_AREA: usize = 464;
/// x87, SSE, AVX.
const COMPONENTS: u64 = 7;

// Offsets in the frame, in 64-bit words.
const UCONTEXT: usize = 1;
const STACK: usize = UCONTEXT + 2;
const REGISTERS: usize = STACK + 3;
/// After 18 registers: selectors, error code, trap number, old mask, CR2, then this.
const FP_POINTER: usize = REGISTERS + 23;
const MASK: usize = REGISTERS + 32;
const INFO: usize = MASK + 1;
const WORDS: usize = INFO + 16;

/// The indices in `TrapFrame::pt_regs` of the registers in the order of `struct sigcontext`:
/// r8 to r15, di, si, bp, bx, dx, ax, cx, sp, ip, flags.
const ORDER: [usize; 18] = [9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, 19, 16, 18];

fn bytes_of(words: &[u64; WORDS]) -> [u8; WORDS * 8] {
    let mut bytes = [0; WORDS * 8];
    for (to, from) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    bytes
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(super) fn push(
    frame: &mut Frame,
    fp: &FpState,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let fp_bytes = fp.as_ref();
    let top = call.stack_top.unwrap_or(frame.rsp.wrapping_sub(RED_ZONE));
    let fp_at = top.wrapping_sub(fp_bytes.len() + 4) & !63;
    // As after a call: 8 below a multiple of 16.
    let at = (fp_at.wrapping_sub(WORDS * 8) & !15).wrapping_sub(8);

    let mut software = [0u8; 20];
    let (magic, rest) = software.split_at_mut(4);
    magic.copy_from_slice(&MAGIC_1.to_le_bytes());
    let (extended, rest) = rest.split_at_mut(4);
    extended.copy_from_slice(&(fp_bytes.len() as u32 + 4).to_le_bytes());
    let (components, size) = rest.split_at_mut(8);
    components.copy_from_slice(&COMPONENTS.to_le_bytes());
    size.copy_from_slice(&(fp_bytes.len() as u32).to_le_bytes());

    let mut words = [0u64; WORDS];
    words[0] = call.restorer as u64;
    words[UCONTEXT] = UC_FLAGS;
    words[STACK] = call.signal_stack.start as u64;
    words[STACK + 1] = u64::from(call.signal_stack.flags);
    words[STACK + 2] = call.signal_stack.size as u64;
    let registers = frame.pt_regs();
    for (to, &from) in words[REGISTERS..].iter_mut().zip(&ORDER) {
        *to = registers[from];
    }
    words[REGISTERS + 18] = u64::from(USER_CODE) | u64::from(USER_DATA) << 48;
    words[REGISTERS + 21] = call.mask;
    words[FP_POINTER] = fp_at as u64;
    words[MASK] = call.mask;
    for (to, from) in words[INFO..].iter_mut().zip(call.info.chunks_exact(8)) {
        *to = from.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }

    let written = write(fp_at, fp_bytes)
        && write(fp_at + SOFTWARE_AREA, &software)
        && write(fp_at + fp_bytes.len(), &MAGIC_2.to_le_bytes())
        && write(at, &bytes_of(&words));
    if !written {
        return false;
    }
    let mut registers = [0; 21];
    // The handler's arguments: the signal, and the addresses of the two structures.
    registers[14] = u64::from(call.signal);
    registers[13] = (at + INFO * 8) as u64;
    registers[12] = (at + UCONTEXT * 8) as u64;
    registers[16] = call.handler as u64;
    registers[19] = at as u64;
    frame.set_user_registers(&registers);
    true
}

/// See [`crate::arch::Architecture::pop_signal_frame`].
pub(super) fn pop(
    frame: &mut Frame,
    fp: &mut FpState,
    read: &mut dyn FnMut(usize, &mut [u8]) -> bool,
) -> Option<(u64, SignalStack)> {
    // The handler's return has taken the return address off.
    let at = frame.rsp.wrapping_sub(8);
    let mut bytes = [0; WORDS * 8];
    if !read(at, &mut bytes) {
        return None;
    }
    let mut words = [0u64; WORDS];
    for (to, from) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *to = from.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    }
    match words[FP_POINTER] as usize {
        0 => *fp = FpState::default(),
        fp_at if read(fp_at, fp.as_mut()) => {}
        _ => return None,
    }
    let mut registers = [0; 21];
    for (&to, from) in ORDER.iter().zip(&words[REGISTERS..]) {
        registers[to] = *from;
    }
    frame.set_user_registers(&registers);
    let stack = SignalStack {
        start: words[STACK] as usize,
        flags: words[STACK + 1] as u32,
        size: words[STACK + 2] as usize,
    };
    Some((words[MASK], stack))
}
