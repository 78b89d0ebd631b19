//! What happens at the hooks: the events, the contexts that programs see of them, and the call
//! sites for the rest of the kernel.
//!
//! A program sees an event in the shape that its type has on Linux, or, for Lemma's own type,
//! in the shape that the hook declares (`kernel_bpf::hook`). Contexts are built on the stack,
//! as words, when a program of that kind is about to run.

use super::hooks::{HOOKS, Hook};
use super::host;
use super::program::{ContextKind, ProgramCode};
use crate::arch::{Arch, Architecture, TrapFrame};
use crate::mcore;
use crate::syscall::Frame;

/// Positions in [`HOOKS`], which are in the order of the attach types.
const TIMER: &Hook = &HOOKS[0];
const SYS_ENTER: &Hook = &HOOKS[1];
const SYS_EXIT: &Hook = &HOOKS[2];

/// Bytes of the record that a tracepoint program sees at `raw_syscalls:sys_enter`.
pub const TRACEPOINT_ENTER_SIZE: u32 = 64;
/// The same at `raw_syscalls:sys_exit`.
pub const TRACEPOINT_EXIT_SIZE: u32 = 24;

/// Something that happened.
pub enum Event<'a> {
    /// A timer interrupt of this CPU.
    Timer { frame: &'a Frame, now_ns: u64, deadline_ns: u64, period_ns: u64 },
    /// A system call that is about to run.
    SysEnter { frame: &'a Frame, number: usize, args: &'a [usize; 6] },
    /// A system call that has run.
    SysExit { frame: &'a Frame, number: usize, result: usize },
}

/// What a program decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Pass,
    /// Do not; return this (negative error number) instead.
    Refuse(usize),
}

impl Event<'_> {
    /// Runs one program for this event, in the shape that its type wants.
    #[inline]
    pub(super) fn deliver(&self, program: &ProgramCode) -> Decision {
        match (self, program.context_kind()) {
            (Self::SysEnter { number, args, .. }, ContextKind::Hook) => {
                let mut context = [
                    *number as u64,
                    args[0] as u64,
                    args[1] as u64,
                    args[2] as u64,
                    args[3] as u64,
                    args[4] as u64,
                    args[5] as u64,
                    identity_word(),
                ];
                refusal(program.run(&mut context))
            }
            (Self::SysEnter { frame, number, .. }, ContextKind::RawTracepoint) => {
                program.run(&mut [frame_address(frame), *number as u64]);
                Decision::Pass
            }
            (Self::SysEnter { number, args, .. }, ContextKind::Tracepoint) => {
                program.run(&mut [
                    0,
                    *number as u64,
                    args[0] as u64,
                    args[1] as u64,
                    args[2] as u64,
                    args[3] as u64,
                    args[4] as u64,
                    args[5] as u64,
                ]);
                Decision::Pass
            }
            (Self::SysExit { number, result, .. }, ContextKind::Hook) => {
                program.run(&mut [*number as u64, *result as u64, identity_word()]);
                Decision::Pass
            }
            (Self::SysExit { frame, result, .. }, ContextKind::RawTracepoint) => {
                program.run(&mut [frame_address(frame), *result as u64]);
                Decision::Pass
            }
            (Self::SysExit { number, result, .. }, ContextKind::Tracepoint) => {
                program.run(&mut [0, *number as u64, *result as u64]);
                Decision::Pass
            }
            (Self::Timer { frame, now_ns, deadline_ns, period_ns }, ContextKind::Hook) => {
                let cpu = Arch::cpu_id() as u64;
                let user = u64::from(frame.from_user());
                program.run(&mut [*now_ns, *deadline_ns, *period_ns, cpu | user << 32]);
                Decision::Pass
            }
            (Self::Timer { frame, period_ns, .. }, ContextKind::PerfEvent) => {
                let mut context = [0; PERF_EVENT_WORDS];
                let registers = frame.pt_regs();
                for (word, register) in context.iter_mut().zip(registers.as_ref()) {
                    *word = *register;
                }
                context[PERF_EVENT_WORDS - 2] = *period_ns;
                program.run(&mut context);
                Decision::Pass
            }
            // `check_hook` lets no other pair through.
            _ => Decision::Pass,
        }
    }
}

/// `struct bpf_perf_event_data`: the registers, the sample period, an address.
const PERF_EVENT_WORDS: usize = 23;

/// The process and the thread, as two 32-bit fields in memory order.
#[inline]
fn identity_word() -> u64 {
    let (pid, tid) = host::current_ids();
    u64::from(pid) | u64::from(tid) << 32
}

#[inline]
fn frame_address(frame: &Frame) -> u64 {
    core::ptr::from_ref(frame) as u64
}

/// A program's answer at `sys_enter`, a C `int` in the low half of r0. The verifier has proved that it is between -4095 and 0;
/// what is not is treated as the hook's default, letting the call pass.
#[inline]
fn refusal(answer: Option<u64>) -> Decision {
    match answer.map(|answer| answer as i32) {
        Some(answer) if (-4095..0).contains(&answer) => Decision::Refuse(answer as isize as usize),
        _ => Decision::Pass,
    }
}

/// Called when a system call enters, before its handler. `Refuse` carries what the user gets
/// instead.
#[inline(always)]
pub fn sys_enter(frame: &Frame) -> Decision {
    if SYS_ENTER.active() { run_sys_enter(frame) } else { Decision::Pass }
}

/// Apart, so that the event, which is in memory, costs nothing where there is no program.
#[inline(never)]
fn run_sys_enter(frame: &Frame) -> Decision {
    let (number, args) = frame.syscall();
    let decision = SYS_ENTER.run(&Event::SysEnter { frame, number, args: &args });
    // A task, outside every hook again: what the programs took out of maps can be used anew.
    super::quiesce();
    decision
}

/// Called when a system call has its result, before the user gets it.
#[inline(always)]
pub fn sys_exit(frame: &Frame, number: usize, result: usize) {
    if SYS_EXIT.active() {
        run_sys_exit(frame, number, result);
    }
}

#[inline(never)]
fn run_sys_exit(frame: &Frame, number: usize, result: usize) {
    SYS_EXIT.run(&Event::SysExit { frame, number, result });
    super::quiesce();
}

/// Called in the timer interrupt, with the time that it was due.
#[inline]
pub fn timer(frame: &Frame, now_ns: u64, deadline_ns: u64, period_ns: u64) {
    if TIMER.active() {
        TIMER.run(&Event::Timer { frame, now_ns, deadline_ns, period_ns });
        // Threads of the kernel run no programs; anything else may have been interrupted in one.
        if frame.from_user() || mcore::try_current().is_none_or(|task| task.is_kernel()) {
            super::quiesce();
        }
    }
}
