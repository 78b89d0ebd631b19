//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/x86/include/asm/sigframe.h): the return
//! address, a `ucontext` with the registers, the `siginfo_t`; above it the floating-point
//! state, aligned to 64 bytes, with the marks by which user space recognises an XSAVE area
//! (arch/x86/include/uapi/asm/sigcontext.h).

use core::mem::{MaybeUninit, offset_of};

use super::cpu::{USER_CODE, USER_DATA};
use super::fp::{FP_FRAME_SIZE, reset_fp, restore_fp_from_user, save_fp_to_user};
use super::frame::{Frame, SAVED};
use crate::arch::signal_bytes::{bytes, room};
use crate::arch::traits::{SIGNAL_INFO_WORDS, SignalCall, SignalStack, TrapFrame};

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
pub(in crate::arch) const RETURN: &[u8] = &[];

/// Below the stack pointer a function may use this much without moving it (System V ABI for
/// AMD64, 3.2.2).
const RED_ZONE: usize = 128;

/// `ucontext.uc_flags`: an XSAVE area follows, and SS is saved and restored.
const UC_FLAGS: u64 = 1 | 2 | 4;

/// `struct rt_sigframe`.
#[repr(C)]
struct SignalFrame {
    restorer: u64,
    context: Context,
    info: [u64; SIGNAL_INFO_WORDS],
    rest_of_info: [u64; 16 - SIGNAL_INFO_WORDS],
}

/// `struct ucontext`, with `struct sigcontext` in it.
#[repr(C)]
struct Context {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    registers: [usize; SAVED],
    selectors: u64,
    error: u64,
    trap: u64,
    old_mask: u64,
    fault_address: u64,
    fp: u64,
    reserved: [u64; 8],
    mask: u64,
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let top = call.stack_top.unwrap_or(frame.rsp.wrapping_sub(RED_ZONE));
    let fp = top.wrapping_sub(FP_FRAME_SIZE) & !63;
    // As after a call: 8 below a multiple of 16.
    let at = (fp.wrapping_sub(size_of::<SignalFrame>()) & !15).wrapping_sub(8);
    let stack = &call.signal_stack;
    let signal_frame = SignalFrame {
        restorer: call.restorer as u64,
        context: Context {
            flags: UC_FLAGS,
            link: 0,
            stack: [stack.start as u64, u64::from(stack.flags), stack.size as u64],
            registers: frame.saved(),
            selectors: u64::from(USER_CODE) | u64::from(USER_DATA) << 48,
            error: 0,
            trap: 0,
            old_mask: call.mask,
            fault_address: 0,
            fp: fp as u64,
            reserved: [0; 8],
            mask: call.mask,
        },
        info: call.info,
        rest_of_info: [0; 16 - SIGNAL_INFO_WORDS],
    };
    // SAFETY: it is made of initialised 64-bit words only.
    if !write(at, unsafe { bytes(&signal_frame) }) || !save_fp_to_user(fp) {
        return false;
    }
    // As on Linux, a handler does not begin with what it interrupts: no other rounding, no full
    // x87 stack.
    reset_fp();
    // The handler's arguments: the signal, and the addresses of the two structures.
    *frame = Frame {
        rdi: call.signal as usize,
        rsi: at + offset_of!(SignalFrame, info),
        rdx: at + offset_of!(SignalFrame, context),
        ..Frame::user(call.handler, at)
    };
    true
}

/// See [`crate::arch::Architecture::pop_signal_frame`].
///
/// # Safety
/// As there.
pub(in crate::arch) unsafe fn pop(
    frame: &mut Frame,
    read: &mut dyn FnMut(usize, &mut [MaybeUninit<u8>]) -> bool,
) -> Option<(u64, SignalStack)> {
    let mut context = MaybeUninit::<Context>::uninit();
    // The handler's return has taken the return address off.
    if !read(frame.rsp, room(&mut context)) {
        return None;
    }
    // SAFETY: `read` has written all of it, by the caller's promise; any bytes are integers.
    let context = unsafe { context.assume_init_ref() };
    match context.fp as usize {
        0 => reset_fp(),
        fp if restore_fp_from_user(fp) => {}
        _ => return None,
    }
    frame.set_saved(&context.registers);
    let [start, flags, size] = context.stack;
    let stack = SignalStack { start: start as usize, flags: flags as u32, size: size as usize };
    Some((context.mask, stack))
}
