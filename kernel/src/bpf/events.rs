//! What happens at the hooks: the events, the contexts that programs see of them, and the call
//! sites for the rest of the kernel.
//!
//! A program sees an event in the shape that its type has on Linux, or, for Lemma's own type,
//! in the shape that the hook declares (`kernel_bpf::hook`). Contexts are built on the stack,
//! as words, when a program of that kind is about to run.

use kernel_bpf::hook;
use kernel_bpf::prog_type::perf_event::{PerfEvent, PerfEventContext};

use super::hooks::{HOOKS, Hook};
use super::program::{ContextKind, ProgramCode};
use super::{BpfManager, host};
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

/// Something that happened. Each kind is a type of its own, so that each hook has a loop of its
/// own, which makes of the registers only what the attached programs look at.
pub(in crate::bpf) trait Event {
    /// Runs one program for this event, in the shape that its type wants.
    fn deliver(&self, program: &ProgramCode) -> Decision;
}

/// A timer interrupt of this CPU.
struct TimerEvent<'a> {
    frame: &'a Frame,
    now_ns: u64,
    deadline_ns: u64,
    period_ns: u64,
}

/// A system call that is about to run.
struct SysEnter<'a> {
    frame: &'a Frame,
}

/// A system call that has run.
struct SysExit<'a> {
    frame: &'a Frame,
    number: usize,
    result: usize,
}

/// What a program decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Pass,
    /// Do not; return this (negative error number) instead.
    Refuse(usize),
}

impl Event for SysEnter<'_> {
    #[inline(always)]
    fn deliver(&self, program: &ProgramCode) -> Decision {
        match program.context_kind() {
            ContextKind::RawTracepoint => {
                program.run(&mut [frame_address(self.frame), self.frame.syscall().0 as u64]);
                Decision::Pass
            }
            ContextKind::Hook => self.decide(program),
            ContextKind::Tracepoint => self.trace(program),
            // `check_hook` lets no other kind through.
            _ => Decision::Pass,
        }
    }
}

impl SysEnter<'_> {
    /// Runs a program of Lemma's own type. Apart, as the next, so that the arguments are only
    /// taken out of the frame where they are wanted.
    #[inline(never)]
    fn decide(&self, program: &ProgramCode) -> Decision {
        let (number, args) = self.frame.syscall();
        let [a, b, c, d, e, f] = args.map(|argument| argument as u64);
        let mut context = [number as u64, a, b, c, d, e, f, identity_word()];
        refusal(program.run(&mut context))
    }

    /// Runs a tracepoint's program.
    #[inline(never)]
    fn trace(&self, program: &ProgramCode) -> Decision {
        let (number, args) = self.frame.syscall();
        let [a, b, c, d, e, f] = args.map(|argument| argument as u64);
        program.run(&mut [0, number as u64, a, b, c, d, e, f]);
        Decision::Pass
    }
}

impl Event for SysExit<'_> {
    #[inline(always)]
    fn deliver(&self, program: &ProgramCode) -> Decision {
        let (number, result) = (self.number as u64, self.result as u64);
        match program.context_kind() {
            ContextKind::RawTracepoint => program.run(&mut [frame_address(self.frame), result]),
            ContextKind::Hook => program.run(&mut [number, result, identity_word()]),
            ContextKind::Tracepoint => program.run(&mut [0, number, result]),
            // `check_hook` lets no other kind through.
            _ => None,
        };
        Decision::Pass
    }
}

impl Event for TimerEvent<'_> {
    fn deliver(&self, program: &ProgramCode) -> Decision {
        match program.context_kind() {
            ContextKind::Hook => {
                let cpu = Arch::cpu_id() as u64;
                let user = u64::from(self.frame.from_user());
                let Self { now_ns, deadline_ns, period_ns, .. } = *self;
                program.run(&mut [now_ns, deadline_ns, period_ns, cpu | user << 32]);
            }
            ContextKind::PerfEvent => {
                let mut context = [0; PERF_EVENT_WORDS];
                let registers = self.frame.pt_regs();
                for (word, register) in context.iter_mut().zip(registers.iter()) {
                    *word = *register;
                }
                context[PERF_EVENT_WORDS - 2] = self.period_ns;
                program.run(&mut context);
            }
            // `check_hook` lets no other kind through.
            _ => {}
        }
        Decision::Pass
    }
}

type Registers = <Frame as TrapFrame>::Registers;
/// `struct bpf_perf_event_data`: the registers, the sample period, an address.
const PERF_EVENT_WORDS: usize = size_of::<Registers>() / 8 + 2;
/// The same, as the verifier lets programs read it.
pub const PERF_EVENT: PerfEventContext = PerfEvent::<{ size_of::<Registers>() }>::CONTEXT;

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

/// Apart, so that what it needs of the stack costs nothing where there is no program.
#[inline(never)]
fn run_sys_enter(frame: &Frame) -> Decision {
    let _reading = mcore::reading();
    BpfManager::execute_hooks(hook::SYS_ENTER, &SysEnter { frame })
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
    let _reading = mcore::reading();
    BpfManager::execute_hooks(hook::SYS_EXIT, &SysExit { frame, number, result });
}

/// Called in the timer interrupt, with the time that it was due.
#[inline]
pub fn timer(frame: &Frame, now_ns: u64, deadline_ns: u64, period_ns: u64) {
    if TIMER.active() {
        let _reading = mcore::reading_in_interrupt();
        let event = TimerEvent { frame, now_ns, deadline_ns, period_ns };
        BpfManager::execute_hooks(hook::TIMER, &event);
    }
}
