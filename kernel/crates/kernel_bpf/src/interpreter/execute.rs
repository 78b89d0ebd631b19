//! The loop that runs pre-decoded code.
//!
//! There are no checks here that the verifier's proof makes needless: registers are read
//! when they are initialised, memory is accessed where it is known to be, jumps lead to
//! instructions, calls nest at most [`MAX_FRAMES`] deep. That is what [`function`]'s contract
//! says, and why this is one of the crate's few modules with `unsafe`. Arithmetic is exactly
//! that of RFC 9669, section 4. What ops of one kind have in common is in [`super::operations`].

use core::mem::MaybeUninit;
use core::ops::BitAnd;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
use core::{mem, ptr};

use super::code::{Code, Op, high, low};
use super::dispatch::{apart, dispatch};
use super::divide::{sdiv32, sdiv64, smod32, smod64};
use super::memory::{array_value, atomic, load, packet, store};
use super::operations::{
    acquire, address, alu, array_lookup, atomic, compare, fused_alu, fused_load, load, load_alu,
    packet, release, right, second, set_jump, shifted, shifts, step, store, unary,
};
use super::run::{MAX_FRAMES, Run, call_helper, call_register};
use crate::helper::callback::CallbackHelper;
use crate::map::TailEntry;

/// Most rounds of all `may_goto`s of a run together (Linux: `BPF_MAX_LOOPS`).
const MAY_GOTO_ROUNDS: u32 = 8 * 1024 * 1024;

/// What a subprogram's return restores: r6 to r10, and where to go on.
#[derive(Clone, Copy)]
struct Frame {
    saved: [MaybeUninit<u64>; 4],
    frame_pointer: u64,
    next: *const Op,
}

/// What a register holds, read on its own: two at once, as compilers like to copy them, would have
/// to wait until the stores of both have left the CPU's store buffer.
#[inline(always)]
fn one(register: &MaybeUninit<u64>) -> MaybeUninit<u64> {
    // SAFETY: a reference's place can be read.
    unsafe { ptr::from_ref(register).read_volatile() }
}

/// Runs a program, or a callback of one, with these arguments in r1 to r5.
///
/// # Safety
/// As [`super::run::execute`]; `frame_pointer` is the upper end of stack that nothing uses, and
/// `outer` frames are in use already.
pub(super) unsafe fn function(
    start: *const Op,
    arguments: [u64; 5],
    frame_pointer: u64,
    outer: usize,
    run: &Run<'_>,
) -> u64 {
    let env = &run.env;
    // Not initialised: what is read was written before, and the rest would cost time.
    let mut registers = [MaybeUninit::<u64>::uninit(); 11];
    let mut frames = [const { MaybeUninit::<Frame>::uninit() }; MAX_FRAMES];
    let mut depth = 0usize;
    let mut pc = start;

    // A register that the program reads was written before, as the verifier proved; `fuse` leaves
    // out only what no op reads afterwards. r1 to r5, which calls read whether a helper declares
    // them or not, are written below.
    macro_rules! reg {
        ($number:expr) => {
            // SAFETY: `lower` puts register numbers below 11 only, and what is read was written,
            // as above.
            (unsafe { registers.get_unchecked($number as usize).assume_init() })
        };
    }
    macro_rules! set {
        ($number:expr, $value:expr) => {{
            let value: u64 = $value;
            // SAFETY: as in `reg`.
            unsafe { registers.get_unchecked_mut($number as usize).write(value) };
        }};
    }
    macro_rules! arguments {
        () => {
            [reg!(1), reg!(2), reg!(3), reg!(4), reg!(5)]
        };
    }
    // Helpers receive r1 to r5 whether they declare them or not.
    for (argument, value) in (1..).zip(arguments) {
        set!(argument, value);
    }
    set!(10, frame_pointer);

    loop {
        // SAFETY: verified code never runs over its end, and every jump leads to an op.
        let op = unsafe { &*pc };

        macro_rules! op {
            () => {
                op
            };
        }
        macro_rules! next {
            () => {{
                // SAFETY: as above: an op follows every op that does not jump or exit.
                pc = unsafe { pc.add(1) };
                apart();
            }};
        }
        macro_rules! jump {
            () => {{
                // SAFETY: as above; `lower` computed the distance of the target.
                pc = unsafe { pc.byte_offset(op.offset as isize) };
                apart();
            }};
        }
        macro_rules! leave {
            () => {{
                if depth == 0 {
                    return reg!(0);
                }
                depth -= 1;
                // SAFETY: `CallLocal` wrote this when it made the depth what it was.
                let frame = unsafe { frames.get_unchecked(depth).assume_init_ref() };
                registers[6] = one(&frame.saved[0]);
                registers[7] = one(&frame.saved[1]);
                registers[8] = one(&frame.saved[2]);
                registers[9] = one(&frame.saved[3]);
                set!(10, frame.frame_pointer);
                pc = frame.next;
            }};
        }
        macro_rules! branch {
            ($condition:expr) => {{ if $condition { jump!() } else { next!() } }};
        }

        dispatch! { op.code;
            // Arithmetic of 64 bits.
            [{
                Code::Add64Imm => alu!(64, imm, |a, b| a.wrapping_add(b)),
                Code::Sub64Imm => alu!(64, imm, |a, b| a.wrapping_sub(b)),
                Code::Mul64Imm => alu!(64, imm, |a, b| a.wrapping_mul(b)),
                Code::Div64Imm => alu!(64, imm, |a, b| a.checked_div(b).unwrap_or(0)),
                Code::Or64Imm => alu!(64, imm, |a, b| a | b),
                Code::And64Imm => alu!(64, imm, |a, b| a & b),
                Code::Lsh64Imm => alu!(64, imm, |a, b| a.wrapping_shl(b as u32)),
                Code::Rsh64Imm => alu!(64, imm, |a, b| a.wrapping_shr(b as u32)),
                Code::Mod64Imm => alu!(64, imm, |a, b| a.checked_rem(b).unwrap_or(a)),
                Code::Xor64Imm => alu!(64, imm, |a, b| a ^ b),
                Code::Arsh64Imm => alu!(64, imm, |a, b| (a as i64).wrapping_shr(b as u32) as u64),
                Code::SDiv64Imm => alu!(64, imm, |a, b| sdiv64(a, b)),
                Code::SMod64Imm => alu!(64, imm, |a, b| smod64(a, b)),
                Code::Mov64Imm => {
                    set!(op.dst, op.imm);
                    next!();
                },
            } {
                Code::Add64Reg => alu!(64, reg, |a, b| a.wrapping_add(b)),
                Code::Sub64Reg => alu!(64, reg, |a, b| a.wrapping_sub(b)),
                Code::Mul64Reg => alu!(64, reg, |a, b| a.wrapping_mul(b)),
                Code::Div64Reg => alu!(64, reg, |a, b| a.checked_div(b).unwrap_or(0)),
                Code::Or64Reg => alu!(64, reg, |a, b| a | b),
                Code::And64Reg => alu!(64, reg, |a, b| a & b),
                Code::Lsh64Reg => alu!(64, reg, |a, b| a.wrapping_shl(b as u32)),
                Code::Rsh64Reg => alu!(64, reg, |a, b| a.wrapping_shr(b as u32)),
                Code::Mod64Reg => alu!(64, reg, |a, b| a.checked_rem(b).unwrap_or(a)),
                Code::Xor64Reg => alu!(64, reg, |a, b| a ^ b),
                Code::Arsh64Reg => alu!(64, reg, |a, b| (a as i64).wrapping_shr(b as u32) as u64),
                Code::SDiv64Reg => alu!(64, reg, |a, b| sdiv64(a, b)),
                Code::SMod64Reg => alu!(64, reg, |a, b| smod64(a, b)),
                Code::Mov64Reg => {
                    set!(op.dst, reg!(op.src));
                    next!();
                },
            }]
            // Arithmetic of 32 bits.
            [{
                Code::Add32Imm => alu!(32, imm, |a, b| a.wrapping_add(b)),
                Code::Sub32Imm => alu!(32, imm, |a, b| a.wrapping_sub(b)),
                Code::Mul32Imm => alu!(32, imm, |a, b| a.wrapping_mul(b)),
                Code::Div32Imm => alu!(32, imm, |a, b| a.checked_div(b).unwrap_or(0)),
                Code::Or32Imm => alu!(32, imm, |a, b| a | b),
                Code::And32Imm => alu!(32, imm, |a, b| a & b),
                Code::Lsh32Imm => alu!(32, imm, |a, b| a.wrapping_shl(b)),
                Code::Rsh32Imm => alu!(32, imm, |a, b| a.wrapping_shr(b)),
                Code::Mod32Imm => alu!(32, imm, |a, b| a.checked_rem(b).unwrap_or(a)),
                Code::Xor32Imm => alu!(32, imm, |a, b| a ^ b),
                Code::Arsh32Imm => alu!(32, imm, |a, b| (a as i32).wrapping_shr(b) as u32),
                Code::SDiv32Imm => alu!(32, imm, |a, b| sdiv32(a, b)),
                Code::SMod32Imm => alu!(32, imm, |a, b| smod32(a, b)),
                Code::Mov32Imm => {
                    set!(op.dst, u64::from(op.imm as u32));
                    next!();
                },
            } {
                Code::Add32Reg => alu!(32, reg, |a, b| a.wrapping_add(b)),
                Code::Sub32Reg => alu!(32, reg, |a, b| a.wrapping_sub(b)),
                Code::Mul32Reg => alu!(32, reg, |a, b| a.wrapping_mul(b)),
                Code::Div32Reg => alu!(32, reg, |a, b| a.checked_div(b).unwrap_or(0)),
                Code::Or32Reg => alu!(32, reg, |a, b| a | b),
                Code::And32Reg => alu!(32, reg, |a, b| a & b),
                Code::Lsh32Reg => alu!(32, reg, |a, b| a.wrapping_shl(b)),
                Code::Rsh32Reg => alu!(32, reg, |a, b| a.wrapping_shr(b)),
                Code::Mod32Reg => alu!(32, reg, |a, b| a.checked_rem(b).unwrap_or(a)),
                Code::Xor32Reg => alu!(32, reg, |a, b| a ^ b),
                Code::Arsh32Reg => alu!(32, reg, |a, b| (a as i32).wrapping_shr(b) as u32),
                Code::SDiv32Reg => alu!(32, reg, |a, b| sdiv32(a, b)),
                Code::SMod32Reg => alu!(32, reg, |a, b| smod32(a, b)),
                Code::Mov32Reg => {
                    set!(op.dst, u64::from(reg!(op.src) as u32));
                    next!();
                },
            }]
            // On one register.
            [{
                Code::Neg64 => unary!(|a| a.wrapping_neg()),
                Code::Neg32 => unary!(|a| u64::from((a as u32).wrapping_neg())),
                Code::Sx8To64 => unary!(|a| a as i8 as u64),
                Code::Sx16To64 => unary!(|a| a as i16 as u64),
                Code::Sx32To64 => unary!(|a| a as i32 as u64),
                Code::Sx8To32 => unary!(|a| u64::from(a as i8 as u32)),
                Code::Sx16To32 => unary!(|a| u64::from(a as i16 as u32)),
                Code::Swap16 => unary!(|a| u64::from((a as u16).swap_bytes())),
                Code::Swap32 => unary!(|a| u64::from((a as u32).swap_bytes())),
                Code::Swap64 => unary!(|a| a.swap_bytes()),
                Code::Zext16 => unary!(|a| u64::from(a as u16)),
                Code::Zext32 => unary!(|a| u64::from(a as u32)),
            }]
            // Memory.
            [{
                Code::Load8 => load!(u8, u8),
                Code::Load16 => load!(u16, u16),
                Code::Load32 => load!(u32, u32),
                Code::Load64 => load!(u64, u64),
                Code::LoadSx8 => load!(u8, i8),
                Code::LoadSx16 => load!(u16, i16),
                Code::LoadSx32 => load!(u32, i32),
                Code::Store8Imm => store!(u8, op.imm),
                Code::Store16Imm => store!(u16, op.imm),
                Code::Store32Imm => store!(u32, op.imm),
                Code::Store64Imm => store!(u64, op.imm),
                Code::Store8Reg => store!(u8, reg!(op.src)),
                Code::Store16Reg => store!(u16, reg!(op.src)),
                Code::Store32Reg => store!(u32, reg!(op.src)),
                Code::Store64Reg => store!(u64, reg!(op.src)),
            } {
                Code::AtomicAdd32 => atomic!(AtomicU32, u32, fetch_add),
                Code::AtomicOr32 => atomic!(AtomicU32, u32, fetch_or),
                Code::AtomicAnd32 => atomic!(AtomicU32, u32, fetch_and),
                Code::AtomicXor32 => atomic!(AtomicU32, u32, fetch_xor),
                Code::AtomicAddF32 => atomic!(AtomicU32, u32, fetch_add, fetch),
                Code::AtomicOrF32 => atomic!(AtomicU32, u32, fetch_or, fetch),
                Code::AtomicAndF32 => atomic!(AtomicU32, u32, fetch_and, fetch),
                Code::AtomicXorF32 => atomic!(AtomicU32, u32, fetch_xor, fetch),
                Code::AtomicXchg32 => atomic!(AtomicU32, u32, swap, fetch),
                Code::AtomicCmpXchg32 => atomic!(AtomicU32, u32, compare and exchange),
            } {
                Code::AtomicAdd64 => atomic!(AtomicU64, u64, fetch_add),
                Code::AtomicOr64 => atomic!(AtomicU64, u64, fetch_or),
                Code::AtomicAnd64 => atomic!(AtomicU64, u64, fetch_and),
                Code::AtomicXor64 => atomic!(AtomicU64, u64, fetch_xor),
                Code::AtomicAddF64 => atomic!(AtomicU64, u64, fetch_add, fetch),
                Code::AtomicOrF64 => atomic!(AtomicU64, u64, fetch_or, fetch),
                Code::AtomicAndF64 => atomic!(AtomicU64, u64, fetch_and, fetch),
                Code::AtomicXorF64 => atomic!(AtomicU64, u64, fetch_xor, fetch),
                Code::AtomicXchg64 => atomic!(AtomicU64, u64, swap, fetch),
                Code::AtomicCmpXchg64 => atomic!(AtomicU64, u64, compare and exchange),
            } {
                Code::Acquire8 => acquire!(AtomicU8),
                Code::Acquire16 => acquire!(AtomicU16),
                Code::Acquire32 => acquire!(AtomicU32),
                Code::Acquire64 => acquire!(AtomicU64),
                Code::Release8 => release!(AtomicU8, u8),
                Code::Release16 => release!(AtomicU16, u16),
                Code::Release32 => release!(AtomicU32, u32),
                Code::Release64 => release!(AtomicU64, u64),
            }]
            // Jumps.
            [{
                Code::Jump => jump!(),
                Code::MayGoto => {
                    let rounds = run.may_goto.get() + 1;
                    run.may_goto.set(rounds.min(MAY_GOTO_ROUNDS));
                    branch!(rounds > MAY_GOTO_ROUNDS)
                },
            } {
                Code::JEq64Imm => compare!(64, imm, |a, b| a == b),
                Code::JGt64Imm => compare!(64, imm, |a, b| a > b),
                Code::JGe64Imm => compare!(64, imm, |a, b| a >= b),
                Code::JSet64Imm => compare!(64, imm, |a, b| a & b != 0),
                Code::JNe64Imm => compare!(64, imm, |a, b| a != b),
            } {
                Code::JSgt64Imm => compare!(64, imm, |a, b| (a as i64) > b as i64),
                Code::JSge64Imm => compare!(64, imm, |a, b| a as i64 >= b as i64),
                Code::JLt64Imm => compare!(64, imm, |a, b| a < b),
                Code::JLe64Imm => compare!(64, imm, |a, b| a <= b),
                Code::JSlt64Imm => compare!(64, imm, |a, b| (a as i64) < b as i64),
                Code::JSle64Imm => compare!(64, imm, |a, b| a as i64 <= b as i64),
            } {
                Code::JEq64Reg => compare!(64, reg, |a, b| a == b),
                Code::JGt64Reg => compare!(64, reg, |a, b| a > b),
                Code::JGe64Reg => compare!(64, reg, |a, b| a >= b),
                Code::JSet64Reg => compare!(64, reg, |a, b| a & b != 0),
                Code::JNe64Reg => compare!(64, reg, |a, b| a != b),
            } {
                Code::JSgt64Reg => compare!(64, reg, |a, b| (a as i64) > b as i64),
                Code::JSge64Reg => compare!(64, reg, |a, b| a as i64 >= b as i64),
                Code::JLt64Reg => compare!(64, reg, |a, b| a < b),
                Code::JLe64Reg => compare!(64, reg, |a, b| a <= b),
                Code::JSlt64Reg => compare!(64, reg, |a, b| (a as i64) < b as i64),
                Code::JSle64Reg => compare!(64, reg, |a, b| a as i64 <= b as i64),
            } {
                Code::JEq32Imm => compare!(32, imm, |a, b| a == b),
                Code::JGt32Imm => compare!(32, imm, |a, b| a > b),
                Code::JGe32Imm => compare!(32, imm, |a, b| a >= b),
                Code::JSet32Imm => compare!(32, imm, |a, b| a & b != 0),
                Code::JNe32Imm => compare!(32, imm, |a, b| a != b),
            } {
                Code::JSgt32Imm => compare!(32, imm, |a, b| (a as i32) > b as i32),
                Code::JSge32Imm => compare!(32, imm, |a, b| a as i32 >= b as i32),
                Code::JLt32Imm => compare!(32, imm, |a, b| a < b),
                Code::JLe32Imm => compare!(32, imm, |a, b| a <= b),
                Code::JSlt32Imm => compare!(32, imm, |a, b| (a as i32) < b as i32),
                Code::JSle32Imm => compare!(32, imm, |a, b| a as i32 <= b as i32),
            } {
                Code::JEq32Reg => compare!(32, reg, |a, b| a == b),
                Code::JGt32Reg => compare!(32, reg, |a, b| a > b),
                Code::JGe32Reg => compare!(32, reg, |a, b| a >= b),
                Code::JSet32Reg => compare!(32, reg, |a, b| a & b != 0),
                Code::JNe32Reg => compare!(32, reg, |a, b| a != b),
            } {
                Code::JSgt32Reg => compare!(32, reg, |a, b| (a as i32) > b as i32),
                Code::JSge32Reg => compare!(32, reg, |a, b| a as i32 >= b as i32),
                Code::JLt32Reg => compare!(32, reg, |a, b| a < b),
                Code::JLe32Reg => compare!(32, reg, |a, b| a <= b),
                Code::JSlt32Reg => compare!(32, reg, |a, b| (a as i32) < b as i32),
                Code::JSle32Reg => compare!(32, reg, |a, b| a as i32 <= b as i32),
            }]
            // Calls, and what only some programs have.
            [{
                Code::CallHelper => {
                    let arguments = arguments!();
                    // SAFETY: `lower` put the address there; the verifier proved the arguments.
                    set!(0, unsafe { call_helper(op.imm, arguments, env) });
                    next!();
                },
                Code::CallRegister => {
                    let arguments = arguments!();
                    let number = reg!(op.src) as i32;
                    // SAFETY: only programs on trust have this op.
                    set!(0, unsafe { call_register(op.imm, number, arguments, env) });
                    next!();
                },
                Code::CallCallback => {
                    let function_pointer = ptr::with_exposed_provenance::<()>(op.imm as usize);
                    // SAFETY: `lower` put such a helper's function here.
                    let helper =
                        unsafe { mem::transmute::<*const (), CallbackHelper>(function_pointer) };
                    let arguments = arguments!();
                    let callback = ptr::with_exposed_provenance::<Op>(reg!(2) as usize);
                    let below = reg!(10).wrapping_sub(op.offset as u64);
                    let mut call = |arguments: [u64; 5]| {
                        // SAFETY: r2 has the address of a callback's first op, as the verifier
                        // proved; it counted the callback's frames and stack with the caller's.
                        unsafe { function(callback, arguments, below, outer + depth + 1, run) }
                    };
                    // SAFETY: the verifier proved that the arguments are what it declares.
                    let result = unsafe { helper(env, arguments, &mut call) };
                    set!(0, result);
                    next!();
                },
                Code::FunctionAddress => {
                    // SAFETY: as in `jump`: `lower` computed the distance of an op.
                    let target = unsafe { pc.byte_offset(op.offset as isize) };
                    set!(op.dst, target.expose_provenance() as u64);
                    next!();
                },
                Code::TailCall => {
                    let room = reg!(10).wrapping_sub(run.stack);
                    let fits = |entry: &TailEntry| {
                        u64::from(entry.needs.stack_depth) <= room
                            && outer + depth + entry.needs.call_depth as usize <= MAX_FRAMES
                    };
                    let (map, index) = (reg!(2), reg!(3));
                    // SAFETY: the verifier proved that r2 has a program array of the program's,
                    // whose entries are the interpreter's, and r1 its context.
                    match unsafe { env.tail_call(map, index, fits) } {
                        Some(entry) => pc = ptr::with_exposed_provenance::<Op>(entry.code),
                        None => next!(),
                    }
                },
                Code::CallLocal => {
                    // SAFETY: an op follows a call.
                    let next = unsafe { pc.add(1) };
                    let saved = [6, 7, 8, 9].map(|register: usize| one(&registers[register]));
                    let frame = Frame { saved, frame_pointer: reg!(10), next };
                    // SAFETY: the verifier proved that calls nest less than MAX_FRAMES deep.
                    unsafe { frames.get_unchecked_mut(depth).write(frame) };
                    depth += 1;
                    set!(10, frame.frame_pointer.wrapping_sub(op.imm));
                    jump!();
                },
                Code::ArrayLookup => {
                    array_lookup!(0);
                    next!();
                },
                Code::PercpuArrayLookup => {
                    array_lookup!(env.services.cpu_id());
                    next!();
                },
                Code::Exit => leave!(),
                Code::PacketAbs8 => packet!(u8, op.imm),
                Code::PacketAbs16 => packet!(u16, op.imm),
                Code::PacketAbs32 => packet!(u32, op.imm),
                Code::PacketInd8 => packet!(u8, reg!(op.src).wrapping_add(op.imm)),
                Code::PacketInd16 => packet!(u16, reg!(op.src).wrapping_add(op.imm)),
                Code::PacketInd32 => packet!(u32, reg!(op.src).wrapping_add(op.imm)),
            }]
            // Fused.
            [{
                Code::ExitImm => {
                    set!(0, op.imm);
                    leave!();
                },
                Code::Moves => {
                    let (first, second) = (reg!(op.src), op.imm);
                    set!(op.dst, first);
                    set!(op.offset, reg!(second));
                    next!();
                },
                Code::LshRsh64 => {
                    unary!(|a| a.wrapping_shl(op.imm as u32).wrapping_shr((op.imm >> 32) as u32))
                },
                Code::LshArsh64 => unary!(|a| {
                    let shifted = a.wrapping_shl(op.imm as u32) as i64;
                    shifted.wrapping_shr((op.imm >> 32) as u32) as u64
                }),
                Code::ShiftsRL64 => shifts!(u64, wrapping_shr, wrapping_shl),
                Code::ShiftsLR64 => shifts!(u64, wrapping_shl, wrapping_shr),
                Code::ShiftsRL32 => shifts!(u32, wrapping_shr, wrapping_shl),
                Code::ShiftsLR32 => shifts!(u32, wrapping_shl, wrapping_shr),
                Code::Rotate64 => unary!(|a| a.rotate_left(op.imm as u32)),
                Code::Rotate32 => unary!(|a| u64::from((a as u32).rotate_left(op.imm as u32))),
                Code::LshAdd64 => shifted!(u64, wrapping_shl, |a, b| a.wrapping_add(b)),
                Code::LshOr64 => shifted!(u64, wrapping_shl, |a, b| a | b),
                Code::LshXor64 => shifted!(u64, wrapping_shl, |a, b| a ^ b),
                Code::RshXor64 => shifted!(u64, wrapping_shr, |a, b| a ^ b),
                Code::LshOr32 => shifted!(u32, wrapping_shl, |a, b| a | b),
            }]
            // Fused with an access to memory.
            [{
                Code::Load8At => load!(u8, u8, at),
                Code::Load16At => load!(u16, u16, at),
                Code::Load32At => load!(u32, u32, at),
                Code::Load64At => load!(u64, u64, at),
                Code::Load8Far => load!(u8, u8, far),
                Code::Load16Far => load!(u16, u16, far),
                Code::Load32Far => load!(u32, u32, far),
                Code::Load64Far => load!(u64, u64, far),
            } {
                Code::Load8Add64 => load_alu!(u8, u64, |a, b| a.wrapping_add(b)),
                Code::Load16Add64 => load_alu!(u16, u64, |a, b| a.wrapping_add(b)),
                Code::Load32Add64 => load_alu!(u32, u64, |a, b| a.wrapping_add(b)),
                Code::Load64Add64 => load_alu!(u64, u64, |a, b| a.wrapping_add(b)),
                Code::Load32Add32 => load_alu!(u32, u32, |a, b| a.wrapping_add(b)),
                Code::Load8Xor64 => load_alu!(u8, u64, |a, b| a ^ b),
                Code::Load64Xor64 => load_alu!(u64, u64, |a, b| a ^ b),
                Code::Load8Xor32 => load_alu!(u8, u32, |a, b| a ^ b),
                Code::Load32Xor32 => load_alu!(u32, u32, |a, b| a ^ b),
            } {
                Code::Store8At => store!(u8, reg!(op.src), at),
                Code::Store16At => store!(u16, reg!(op.src), at),
                Code::Store32At => store!(u32, reg!(op.src), at),
                Code::Store64At => store!(u64, reg!(op.src), at),
                Code::Store8Far => store!(u8, reg!(op.src), far),
                Code::Store16Far => store!(u16, reg!(op.src), far),
                Code::Store32Far => store!(u32, reg!(op.src), far),
                Code::Store64Far => store!(u64, reg!(op.src), far),
            }]
            // Fused with a jump.
            [{
                Code::AddJEq64 => fused_alu!(64, wrapping_add, |a, b| a == b),
                Code::AddJNe64 => fused_alu!(64, wrapping_add, |a, b| a != b),
                Code::AddJGt64 => fused_alu!(64, wrapping_add, |a, b| a > b),
                Code::AddJLt64 => fused_alu!(64, wrapping_add, |a, b| a < b),
                Code::AddJEq32 => fused_alu!(32, wrapping_add, |a, b| a == b),
                Code::AddJNe32 => fused_alu!(32, wrapping_add, |a, b| a != b),
                Code::AddJGt32 => fused_alu!(32, wrapping_add, |a, b| a > b),
                Code::AddJLt32 => fused_alu!(32, wrapping_add, |a, b| a < b),
            } {
                Code::AndJEq => fused_alu!(64, bitand, |a, b| a == b),
                Code::AndJNe => fused_alu!(64, bitand, |a, b| a != b),
                Code::AndJGt => fused_alu!(64, bitand, |a, b| a > b),
                Code::AndJLt => fused_alu!(64, bitand, |a, b| a < b),
                Code::StepJEq => step!(|a, b| a == b),
                Code::StepJNe => step!(|a, b| a != b),
                Code::StepJGt => step!(|a, b| a > b),
                Code::StepJLt => step!(|a, b| a < b),
            } {
                Code::Load8JEq => fused_load!(u8, |a, b| a == b),
                Code::Load8JNe => fused_load!(u8, |a, b| a != b),
                Code::Load16JEq => fused_load!(u16, |a, b| a == b),
                Code::Load16JNe => fused_load!(u16, |a, b| a != b),
                Code::Load32JEq => fused_load!(u32, |a, b| a == b),
                Code::Load32JNe => fused_load!(u32, |a, b| a != b),
                Code::Load64JEq => fused_load!(u64, |a, b| a == b),
                Code::Load64JNe => fused_load!(u64, |a, b| a != b),
            } {
                Code::SetJEq64 => set_jump!(u64, |a, b| a == b),
                Code::SetJNe64 => set_jump!(u64, |a, b| a != b),
                Code::SetJGt64 => set_jump!(u64, |a, b| a > b),
                Code::SetJLt64 => set_jump!(u64, |a, b| a < b),
                Code::SetJSgt64 => set_jump!(i64, |a, b| a > b),
                Code::SetJSlt64 => set_jump!(i64, |a, b| a < b),
            } {
                Code::SetJEq32 => set_jump!(u32, |a, b| a == b),
                Code::SetJNe32 => set_jump!(u32, |a, b| a != b),
                Code::SetJGt32 => set_jump!(u32, |a, b| a > b),
                Code::SetJLt32 => set_jump!(u32, |a, b| a < b),
                Code::SetJSgt32 => set_jump!(i32, |a, b| a > b),
                Code::SetJSlt32 => set_jump!(i32, |a, b| a < b),
                Code::SetJump => {
                    set!(op.dst, op.imm);
                    jump!();
                },
            } {
                Code::ArrayLookupJEq => {
                    let value = array_lookup!(0);
                    branch!(value == 0)
                },
            }]
        }
    }
}
