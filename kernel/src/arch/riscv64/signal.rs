//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/riscv/kernel/signal.c): the `siginfo_t`, and
//! a `ucontext` that ends with the registers, `struct user_regs_struct`, and the floating-point
//! state, `union __riscv_fp_state` (uapi/asm/sigcontext.h), behind which extensions would be
//! listed: none are.

use core::arch::global_asm;
use core::mem::{MaybeUninit, offset_of};

use super::asm::{exception, status};
use super::context::{enable_fp, is_on};
use super::cpu;
use super::frame::{Frame, GENERAL, RETURN_ADDRESS, THREAD_POINTER};
use super::layout::USER_END;
use crate::arch::fixup::Fixup;
use crate::arch::signal_bytes::{bytes, room};
use crate::arch::traits::{SIGNAL_INFO_WORDS, SignalCall, SignalStack, TrapFrame};

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
// li a7, 139 (rt_sigreturn); ecall
pub(in crate::arch) const RETURN: &[u8] = &[0x93, 0x08, 0xb0, 0x08, 0x73, 0x00, 0x00, 0x00];

/// `struct rt_sigframe` up to what [`save_context`] writes.
#[repr(C)]
struct Head {
    info: [u64; SIGNAL_INFO_WORDS],
    rest_of_info: [u64; 16 - SIGNAL_INFO_WORDS],
    flags: u64,
    link: u64,
    state: State,
}

/// `uc_stack` and `uc_sigmask` in `struct ucontext`.
#[repr(C)]
struct State {
    stack: [u64; 3],
    mask: u64,
}

/// `struct ucontext`, with `struct sigcontext` in it.
const CONTEXT: usize = offset_of!(Head, flags);
/// Behind the mask there is room for a longer one, up to a multiple of 16 bytes; then come `pc` and
/// the registers, the floating-point ones, room for longer ones, which stays as it is, and
/// two words of which the upper half of the first, the extensions' `reserved`, and the second are
/// zero. All counted from the context.
const ROOM: usize = size_of::<Head>() - CONTEXT;
const REGISTERS: usize = ROOM + 16 * 8;
const FLOATING: usize = REGISTERS + 8 * (1 + GENERAL);
const RESERVED: usize = FLOATING + 64 * 8;
const SIZE: usize = CONTEXT + RESERVED + 16;

// It is a multiple of 16 bytes long.
const _: () = assert!(SIZE == 1088);

// Both reach users' memory as the copy functions of user.rs do. a0: the context, a1: `pc` and the
// registers in a frame, a2: whether the floating-point unit is on; return 0 if it was done,
// `FAILED`, or, only while the unit is off, `NEEDS_UNIT`.
global_asm!(
    r#"
    .text
    .option push
    .option arch, +d

    .macro MOVE_REGISTERS to, to_at, from, from_at
    .irp number, 0, 4, 8, 12, 16, 20, 24, 28
    ld t0, (\from_at + 8 * \number)(\from)
    ld t1, (\from_at + 8 * \number + 8)(\from)
    ld t2, (\from_at + 8 * \number + 16)(\from)
    ld t3, (\from_at + 8 * \number + 24)(\from)
    sd t0, (\to_at + 8 * \number)(\to)
    sd t1, (\to_at + 8 * \number + 8)(\to)
    sd t2, (\to_at + 8 * \number + 16)(\to)
    sd t3, (\to_at + 8 * \number + 24)(\to)
    .endr
    .endm

    .macro EACH_FLOATING operation
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    \operation f\number, ({floating} + 8 * \number)(a0)
    .endr
    .irp number, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \operation f\number, ({floating} + 8 * \number)(a0)
    .endr
    .endm

    // An operation on the word of each of 33 registers, the control register last.
    .macro EACH_WORD operation
    .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16
    \operation \number
    .endr
    .irp number, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32
    \operation \number
    .endr
    .endm
    .macro CLEAR_WORD number
    sd zero, ({floating} + 8 * \number)(a0)
    .endm
    .macro GATHER_WORD number
    ld t0, ({floating} + 8 * \number)(a0)
    or t1, t1, t0
    .endm

    .balign 16
    .global save_context
save_context:
    li t6, {user}
    csrs sstatus, t6
1:  .irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    sd zero, ({room} + 8 * \number)(a0)
    .endr
    MOVE_REGISTERS a0, {registers}, a1, 0
    beqz a2, 3f
    EACH_FLOATING fsd
    csrr t0, fcsr
    sd t0, ({floating} + 8 * 32)(a0)
    j 4f
3:  EACH_WORD CLEAR_WORD
4:  sd zero, {reserved}(a0)
    sd zero, ({reserved} + 8)(a0)
2:  csrc sstatus, t6
    li a0, 0
    ret
5:  csrc sstatus, t6
    li a0, {failed}
    ret
    "#,
    exception!("1b", "2b", "5b", "{resolve}"),
    r#"

    .balign 16
    .global load_context
load_context:
    li t6, {user}
    csrs sstatus, t6
1:  ld t0, {reserved}(a0)
    ld t1, ({reserved} + 8)(a0)
    srli t0, t0, 32
    or t0, t0, t1
    bnez t0, 5f                         // Linux demands the same: no extension is listed
    MOVE_REGISTERS a1, 0, a0, {registers}
    beqz a2, 3f
    EACH_FLOATING fld
    lbu t0, ({floating} + 8 * 32)(a0)
2:  csrw fcsr, t0
    csrc sstatus, t6
    li a0, 0
    ret
3:  li t1, 0
    EACH_WORD GATHER_WORD
4:  csrc sstatus, t6
    snez a0, t1
    slli a0, a0, 1
    ret
5:  csrc sstatus, t6
    li a0, {failed}
    ret
    .option pop
    "#,
    exception!("1b", "2b", "5b", "{resolve}"),
    exception!("3b", "4b", "5b", "{resolve}"),
    user = const status::USER_MEMORY,
    room = const ROOM,
    registers = const REGISTERS,
    floating = const FLOATING,
    reserved = const RESERVED,
    failed = const FAILED,
    resolve = const Fixup::RESOLVE,
);

const FAILED: usize = 1;
/// The frame has floating-point registers that are not zero. The others are loaded.
const NEEDS_UNIT: usize = 2;

unsafe extern "C" {
    fn save_context(context: usize, registers: *const usize, unit_is_on: bool) -> usize;
    fn load_context(context: usize, registers: *mut usize, unit_is_on: bool) -> usize;
}

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let top = call.stack_top.unwrap_or(frame.stack_pointer());
    let at = top.wrapping_sub(SIZE) & !15;
    let stack = &call.signal_stack;
    let stack = [stack.start as u64, u64::from(stack.flags), stack.size as u64];
    let head = Head {
        info: call.info,
        rest_of_info: [0; 16 - SIGNAL_INFO_WORDS],
        flags: 0,
        link: 0,
        state: State { stack, mask: call.mask },
    };
    // SAFETY: it is made of initialised 64-bit words only.
    if !write(at, unsafe { bytes(&head) }) || at > USER_END - SIZE {
        return false;
    }
    frame.registers[THREAD_POINTER] = cpu::thread_pointer();
    // SAFETY: the context is the user's, and a fault at it is fixed up; `pc` and the registers
    // begin the frame.
    let saved = unsafe { save_context(at + CONTEXT, frame.user_registers_mut(), is_on()) };
    if saved == FAILED {
        return false;
    }
    // The handler's arguments: the signal, and the addresses of the two structures. The other
    // registers stay as they are: `gp` belongs to the program.
    let arguments = [call.signal as usize, at, at + CONTEXT];
    for (index, argument) in arguments.into_iter().enumerate() {
        frame.set_argument(index, argument);
    }
    frame.set_stack_pointer(at);
    frame.registers[RETURN_ADDRESS] = call.restorer;
    frame.pc = call.handler;
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
    let at = frame.stack_pointer();
    let mut state = MaybeUninit::<State>::uninit();
    if !read(at.wrapping_add(offset_of!(Head, state)), room(&mut state)) || at > USER_END - SIZE {
        return None;
    }
    // SAFETY: `read` has written all of it, by the caller's promise; any bytes are integers.
    let state = unsafe { state.assume_init_ref() };
    let registers = frame.user_registers_mut();
    // SAFETY: as in `push`; any words are registers.
    let mut loaded = unsafe { load_context(at + CONTEXT, registers, is_on()) };
    if loaded == NEEDS_UNIT && enable_fp() {
        // SAFETY: as above.
        loaded = unsafe { load_context(at + CONTEXT, registers, true) };
    }
    frame.make_users();
    if loaded == FAILED {
        return None;
    }
    cpu::set_thread_pointer(frame.registers[THREAD_POINTER]);
    let [start, flags, size] = state.stack;
    let stack = SignalStack { start: start as usize, flags: flags as u32, size: size as usize };
    Some((state.mask, stack))
}
