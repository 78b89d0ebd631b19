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

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
pub(in crate::arch) const RETURN: &[u8] = &[];

/// Below the stack pointer a function may use this much without moving it (System V ABI for
/// AMD64, 3.2.2).
const RED_ZONE: usize = 128;

/// `ucontext.uc_flags`: an XSAVE area follows, and SS is saved and restored.
const UC_FLAGS: u64 = 1 | 2 | 4;

// Offsets in the frame, in 64-bit words.
const UCONTEXT: usize = 1;
const STACK: usize = UCONTEXT + 2;
const REGISTERS: usize = STACK + 3;
/// After 18 registers: selectors, error code, trap number, old mask, CR2, then this.
const FP_POINTER: usize = REGISTERS + 23;
const MASK: usize = REGISTERS + 32;
const INFO: usize = MASK + 1;
const WORDS: usize = INFO + 16;

/// The words as the bytes that the user sees.
fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: integers have no padding and any bytes are valid ones; the length is theirs.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// The registers in the order of `struct sigcontext`.
fn save(frame: &Frame) -> [usize; 18] {
    [
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
        frame.rdi,
        frame.rsi,
        frame.rbp,
        frame.rbx,
        frame.rdx,
        frame.rax,
        frame.rcx,
        frame.rsp,
        frame.rip,
        frame.rflags,
    ]
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    fp: &FpState,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let fp_bytes = fp.as_signal_frame();
    let top = call.stack_top.unwrap_or(frame.rsp.wrapping_sub(RED_ZONE));
    let fp_at = top.wrapping_sub(fp_bytes.len()) & !63;
    // As after a call: 8 below a multiple of 16.
    let at = (fp_at.wrapping_sub(WORDS * 8) & !15).wrapping_sub(8);

    let mut words = [0u64; WORDS];
    words[0] = call.restorer as u64;
    words[UCONTEXT] = UC_FLAGS;
    words[STACK] = call.signal_stack.start as u64;
    words[STACK + 1] = u64::from(call.signal_stack.flags);
    words[STACK + 2] = call.signal_stack.size as u64;
    for (to, from) in words[REGISTERS..].iter_mut().zip(save(frame)) {
        *to = from as u64;
    }
    words[REGISTERS + 18] = u64::from(USER_CODE) | u64::from(USER_DATA) << 48;
    words[REGISTERS + 21] = call.mask;
    words[FP_POINTER] = fp_at as u64;
    words[MASK] = call.mask;
    words[INFO..].copy_from_slice(&call.info);
    if !write(fp_at, fp_bytes) || !write(at, bytes_mut(&mut words)) {
        return false;
    }
    // The handler's arguments: the signal, and the addresses of the two structures.
    *frame = Frame {
        rdi: call.signal as usize,
        rsi: at + INFO * 8,
        rdx: at + UCONTEXT * 8,
        ..Frame::user(call.handler, at)
    };
    true
}

/// See [`crate::arch::Architecture::pop_signal_frame`].
pub(in crate::arch) fn pop(
    frame: &mut Frame,
    fp: &mut FpState,
    read: &mut dyn FnMut(usize, &mut [u8]) -> bool,
) -> Option<(u64, SignalStack)> {
    // The handler's return has taken the return address off. The information on the signal
    // is not read again.
    let at = frame.rsp.wrapping_sub(8);
    let mut words = [0u64; INFO];
    if !read(at, bytes_mut(&mut words)) {
        return None;
    }
    match words[FP_POINTER] as usize {
        0 => *fp = FpState::default(),
        fp_at => {
            if !read(fp_at, fp.as_mut()) || !fp.has_valid_header() {
                // It may be half read.
                *fp = FpState::default();
                return None;
            }
        }
    }
    let register = |index: usize| words[REGISTERS + index] as usize;
    let mut registers = [0; 21];
    // Where `pt_regs` has the registers of `struct sigcontext`.
    const PLACES: [usize; 18] = [9, 8, 7, 6, 3, 2, 1, 0, 14, 13, 4, 5, 12, 10, 11, 19, 16, 18];
    for (index, &place) in PLACES.iter().enumerate() {
        registers[place] = register(index) as u64;
    }
    frame.set_user_registers(&registers);
    let stack = SignalStack {
        start: words[STACK] as usize,
        flags: words[STACK + 1] as u32,
        size: words[STACK + 2] as usize,
    };
    Some((words[MASK], stack))
}
