//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/arm64/kernel/signal.c): the `siginfo_t`, a
//! `ucontext` whose last part, 4096 bytes long, is a list of records
//! (arch/arm64/include/uapi/asm/sigcontext.h), of which the floating-point one is there; above
//! it a frame record, so that a debugger sees through the handler.

use super::context::FpState;
use super::frame::{Frame, GENERAL};
use crate::arch::traits::{SignalCall, SignalStack, TrapFrame};

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
// mov x8, #139 (rt_sigreturn); svc #0
pub(in crate::arch) const RETURN: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

// Offsets in the frame, in 64-bit words.
const UCONTEXT: usize = 16;
const STACK: usize = UCONTEXT + 2;
const MASK: usize = STACK + 3;
/// After the mask, room for a longer one; aligned to 16 bytes.
const FAULT_ADDRESS: usize = UCONTEXT + 22;
const REGISTERS: usize = FAULT_ADDRESS + 1;
const SP: usize = REGISTERS + GENERAL;
const PC: usize = SP + 1;
const PSTATE: usize = PC + 1;
/// The records, aligned to 16 bytes.
const RECORDS: usize = PSTATE + 2;
const RECORDS_SIZE: usize = 4096;
/// A record's head: magic number and length, 32 bits each; then status and control; vectors.
const VECTORS: usize = RECORDS + 2;
/// What ends the list: a head of zeros.
const END: usize = VECTORS + 64;
const WORDS: usize = END + 2;
/// The whole, records that are not there included.
const SIZE: usize = RECORDS * 8 + RECORDS_SIZE;

/// `FPSIMD_MAGIC`, and the record's length.
const FP_MAGIC: u64 = 0x4650_8001;
const FP_SIZE: u64 = 528;
const FP_HEAD: u64 = FP_MAGIC | FP_SIZE << 32;

/// The words as the bytes that the user sees.
fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: integers have no padding and any bytes are valid ones; the length is theirs.
    unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    fp: &FpState,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let top = call.stack_top.unwrap_or(frame.sp) & !15;
    let record_at = top.wrapping_sub(16);
    let at = record_at.wrapping_sub(SIZE) & !15;

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
    for (index, &register) in frame.registers.iter().enumerate() {
        set(REGISTERS + index, register as u64);
    }
    set(SP, frame.sp as u64);
    set(PC, frame.pc as u64);
    set(PSTATE, frame.pstate as u64);
    set(RECORDS, FP_HEAD);
    let floating = words.split_at_mut(RECORDS + 1).1;
    let (status, vectors) = (fp.status_and_control(), fp.vectors());
    let (to_status, to_vectors) = bytes_mut(floating).split_at_mut(status.len());
    to_status.copy_from_slice(status);
    to_vectors.split_at_mut(vectors.len()).0.copy_from_slice(vectors);
    let [.., frame_pointer, link] = frame.registers;
    let mut record = [frame_pointer as u64, link as u64];
    if !write(record_at, bytes_mut(&mut record)) || !write(at, bytes_mut(&mut words)) {
        return false;
    }
    let mut new = Frame::user(call.handler, at);
    // The handler's arguments: the signal, and the addresses of the two structures.
    let arguments = [call.signal as usize, at, at + UCONTEXT * 8];
    for (index, argument) in arguments.into_iter().enumerate() {
        new.set_argument(index, argument);
    }
    let [.., new_frame_pointer, new_link] = &mut new.registers;
    (*new_frame_pointer, *new_link) = (record_at, call.restorer);
    *frame = new;
    true
}

/// See [`crate::arch::Architecture::pop_signal_frame`].
pub(in crate::arch) fn pop(
    frame: &mut Frame,
    fp: &mut FpState,
    read: &mut dyn FnMut(usize, &mut [u8]) -> bool,
) -> Option<(u64, SignalStack)> {
    let mut words = [0u64; END];
    // Linux refuses a stack pointer that is not aligned.
    if !frame.sp.is_multiple_of(16) || !read(frame.sp, bytes_mut(&mut words)) {
        return None;
    }
    // Linux puts the floating-point record first, and so does `push`; without it, a frame is
    // no frame.
    if words[RECORDS] != FP_HEAD {
        return None;
    }
    let registers = core::array::from_fn(|index| words[REGISTERS + index] as usize);
    let (sp, pc, pstate) = (words[SP] as usize, words[PC] as usize, words[PSTATE] as usize);
    frame.set_user_registers(registers, sp, pc, pstate);
    let stack = SignalStack {
        start: words[STACK] as usize,
        flags: words[STACK + 1] as u32,
        size: words[STACK + 2] as usize,
    };
    let mask = words[MASK];
    let floating = words.split_at_mut(RECORDS + 1).1;
    let (vectors, control) = fp.parts_mut();
    let (from_control, from_vectors) = bytes_mut(floating).split_at(control.len());
    control.copy_from_slice(from_control);
    vectors.copy_from_slice(from_vectors.split_at(vectors.len()).0);
    Some((mask, stack))
}
