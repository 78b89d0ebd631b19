//! The signal frame: what a handler finds on its stack, and `rt_sigreturn` takes back.
//!
//! The layout is Linux's `struct rt_sigframe` (arch/arm64/kernel/signal.c): the `siginfo_t`, a
//! `ucontext` whose last part, 4096 bytes long, is a list of records
//! (arch/arm64/include/uapi/asm/sigcontext.h), of which the floating-point one is there; above
//! it a frame record, so that a debugger sees through the handler.

use core::mem::{MaybeUninit, offset_of};

use super::context::{VECTORS, load, store};
use super::frame::{Frame, GENERAL};
use crate::arch::signal_bytes::{bytes, room};
use crate::arch::traits::{SIGNAL_INFO_WORDS, SignalCall, SignalStack, TrapFrame};

/// See [`crate::arch::Architecture::SIGNAL_RETURN`].
// mov x8, #139 (rt_sigreturn); svc #0
pub(in crate::arch) const RETURN: &[u8] = &[0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];

/// `struct rt_sigframe`, with the records that are there.
#[repr(C, align(16))]
struct SignalFrame {
    info: [u64; SIGNAL_INFO_WORDS],
    rest_of_info: [u64; 16 - SIGNAL_INFO_WORDS],
    context: Context,
    /// What ends the list: a head of zeros.
    end: [u64; 2],
}

/// `struct ucontext`, with `struct sigcontext` in it, as far as a frame needs it.
#[repr(C, align(16))]
struct Context {
    flags: u64,
    link: u64,
    stack: [u64; 3],
    mask: u64,
    /// Room for a longer mask, and up to the next multiple of 16 bytes.
    room: [u64; 16],
    fault_address: u64,
    registers: [usize; GENERAL],
    sp: usize,
    pc: usize,
    pstate: usize,
    alignment: u64,
    /// The first record's head: magic number and length, 32 bits each.
    head: u64,
    /// Status and control, the vectors.
    status: MaybeUninit<[u8; 8]>,
    vectors: MaybeUninit<[u8; VECTORS]>,
}

/// `sigcontext.__reserved`: the room for records.
const RECORDS_SIZE: usize = 4096;
/// The whole, records that are not there included.
const SIZE: usize = offset_of!(SignalFrame, context) + offset_of!(Context, head) + RECORDS_SIZE;
const _: () = assert!(offset_of!(Context, head) == 464 && SIZE.is_multiple_of(16));
const _: () = assert!(size_of::<SignalFrame>() == 16 * 8 + 464 + 16 + VECTORS + 16);

/// `FPSIMD_MAGIC`, and the record's length.
const FP_MAGIC: u64 = 0x4650_8001;
const FP_SIZE: u64 = 16 + VECTORS as u64;
const FP_HEAD: u64 = FP_MAGIC | FP_SIZE << 32;

/// See [`crate::arch::Architecture::push_signal_frame`].
pub(in crate::arch) fn push(
    frame: &mut Frame,
    call: &SignalCall,
    write: &mut dyn FnMut(usize, &[u8]) -> bool,
) -> bool {
    let top = call.stack_top.unwrap_or(frame.sp) & !15;
    let record_at = top.wrapping_sub(16);
    let at = record_at.wrapping_sub(SIZE) & !15;

    let stack = &call.signal_stack;
    let mut signal_frame = SignalFrame {
        info: call.info,
        rest_of_info: [0; 16 - SIGNAL_INFO_WORDS],
        context: Context {
            flags: 0,
            link: 0,
            stack: [stack.start as u64, u64::from(stack.flags), stack.size as u64],
            mask: call.mask,
            room: [0; 16],
            fault_address: 0,
            registers: frame.registers,
            sp: frame.sp,
            pc: frame.pc,
            pstate: frame.pstate,
            alignment: 0,
            head: FP_HEAD,
            status: MaybeUninit::uninit(),
            vectors: MaybeUninit::uninit(),
        },
        end: [0; 2],
    };
    let Context { status, vectors, .. } = &mut signal_frame.context;
    // SAFETY: they are as long as what is stored.
    unsafe { store(vectors.as_mut_ptr().cast(), status.as_mut_ptr().cast()) };
    let [.., frame_pointer, link] = frame.registers;
    let record = [frame_pointer, link];
    // SAFETY: both are made of words that are initialised, the frame's last ones by `store`, and
    // fill their multiples of 16 bytes.
    let (record_bytes, frame_bytes) = unsafe { (bytes(&record), bytes(&signal_frame)) };
    if !write(record_at, record_bytes) || !write(at, frame_bytes) {
        return false;
    }
    let mut new = Frame::user(call.handler, at);
    // The handler's arguments: the signal, and the addresses of the two structures.
    let arguments = [call.signal as usize, at, at + offset_of!(SignalFrame, context)];
    for (index, argument) in arguments.into_iter().enumerate() {
        new.set_argument(index, argument);
    }
    let [.., new_frame_pointer, new_link] = &mut new.registers;
    (*new_frame_pointer, *new_link) = (record_at, call.restorer);
    *frame = new;
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
    let at = frame.sp.wrapping_add(offset_of!(SignalFrame, context));
    // Linux refuses a stack pointer that is not aligned.
    if !frame.sp.is_multiple_of(16) || !read(at, room(&mut context)) {
        return None;
    }
    // SAFETY: `read` has written all of it, by the caller's promise; any bytes are integers.
    let context = unsafe { context.assume_init_ref() };
    // Linux puts the floating-point record first, and so does `push`; without it, a frame is
    // no frame.
    if context.head != FP_HEAD {
        return None;
    }
    // SAFETY: they are as long as what is loaded, and were read.
    unsafe { load(context.vectors.as_ptr().cast(), context.status.as_ptr().cast()) };
    frame.set_user_registers(context.registers, context.sp, context.pc, context.pstate);
    let [start, flags, size] = context.stack;
    let stack = SignalStack { start: start as usize, flags: flags as u32, size: size as usize };
    Some((context.mask, stack))
}
