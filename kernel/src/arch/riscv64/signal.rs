//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/riscv/kernel/signal.c): the `siginfo_t`, and
//! a `ucontext` that ends with the registers, `struct user_regs_struct`, and the floating-point
//! state, `union __riscv_fp_state` (uapi/asm/sigcontext.h), behind which extensions would be
//! listed: none are.

use super::context::FpState;
use super::cpu;
use super::frame::{Frame, GENERAL, RETURN_ADDRESS, THREAD_POINTER};
use crate::arch::traits::{SignalCall, SignalStack, TrapFrame};

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
// li a7, 139 (rt_sigreturn); ecall
pub(in crate::arch) const RETURN: &[u8] = &[0x93, 0x08, 0xb0, 0x08, 0x73, 0x00, 0x00, 0x00];

// Offsets in the frame, in 64-bit words.
const UCONTEXT: usize = 16;
const STACK: usize = UCONTEXT + 2;
const MASK: usize = STACK + 3;
/// After the mask, room for a longer one; aligned to 16 bytes.
const PC: usize = UCONTEXT + 22;
const REGISTERS: usize = PC + 1;
const FLOATING: usize = REGISTERS + GENERAL;
const FLOATING_WORDS: usize = 66;
const WORDS: usize = FLOATING + FLOATING_WORDS;
/// The last word but one holds the extensions' `reserved`, which must be zero, above a register.
const RESERVED: usize = FLOATING + 64;

// `struct rt_sigframe` is a multiple of 16 bytes long.
const _: () = assert!(WORDS * 8 == 1088);

/// The words as the bytes that the user sees.
fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: integers have no padding; the length is theirs.
    unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// The same, to be written.
fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as in `bytes`, and any bytes are valid integers.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    fp: &FpState,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let top = call.stack_top.unwrap_or(frame.stack_pointer());
    let at = top.wrapping_sub(WORDS * 8) & !15;

    let mut words = [0u64; WORDS];
    let (info, context) = words.split_at_mut(UCONTEXT);
    info.copy_from_slice(&call.info);
    // From here on, offsets count from the context.
    let mut set = |index: usize, value: u64| {
        if let Some(word) = context.get_mut(index - UCONTEXT) {
            *word = value;
        }
    };
    set(STACK, call.signal_stack.start as u64);
    set(STACK + 1, u64::from(call.signal_stack.flags));
    set(STACK + 2, call.signal_stack.size as u64);
    set(MASK, call.mask);
    set(PC, frame.pc as u64);
    for (index, &register) in frame.registers.iter().enumerate() {
        set(REGISTERS + index, register as u64);
    }
    set(REGISTERS + THREAD_POINTER, cpu::thread_pointer() as u64);
    let floating = words.split_at_mut(FLOATING).1;
    for (to, from) in bytes_mut(floating).iter_mut().zip(fp.registers()) {
        *to = *from;
    }
    if !write(at, bytes(&words)) {
        return false;
    }
    // The handler's arguments: the signal, and the addresses of the two structures. The other
    // registers stay as they are: `gp` belongs to the program.
    let arguments = [call.signal as usize, at, at + UCONTEXT * 8];
    for (index, argument) in arguments.into_iter().enumerate() {
        frame.set_argument(index, argument);
    }
    frame.set_stack_pointer(at);
    frame.registers[RETURN_ADDRESS] = call.restorer;
    frame.pc = call.handler;
    true
}

/// See [`crate::arch::Architecture::pop_signal_frame`].
pub(in crate::arch) fn pop(
    frame: &mut Frame,
    fp: &mut FpState,
    read: &mut dyn FnMut(usize, &mut [u8]) -> bool,
) -> Option<(u64, SignalStack)> {
    let mut words = [0u64; WORDS];
    if !read(frame.stack_pointer(), bytes_mut(&mut words)) {
        return None;
    }
    // Linux demands the same: no extension is listed, and `reserved` is zero.
    if words[RESERVED] >> 32 != 0 || words[RESERVED + 1] != 0 {
        return None;
    }
    let registers: [usize; GENERAL] =
        core::array::from_fn(|index| words[REGISTERS + index] as usize);
    frame.set_user_registers(words[PC] as usize, registers);
    cpu::set_thread_pointer(registers[THREAD_POINTER]);
    let stack = SignalStack {
        start: words[STACK] as usize,
        flags: words[STACK + 1] as u32,
        size: words[STACK + 2] as usize,
    };
    fp.set_registers(bytes(words.split_at(FLOATING).1));
    Some((words[MASK], stack))
}
