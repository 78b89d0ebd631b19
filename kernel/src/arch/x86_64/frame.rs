//! The registers saved on entry to the kernel.
//!
//! [`Frame`] has the layout of Linux's `struct pt_regs` for x86_64, so it can be handed to
//! signal frames and BPF contexts as it is. The entry code in trap.rs and syscall.rs pushes
//! it in this order.

use core::fmt;
use core::mem::offset_of;

use super::cpu::{USER_CODE, USER_DATA};
use super::layout::USER_END;
use crate::arch::traits::TrapFrame;

/// `struct pt_regs` (Linux, arch/x86/include/asm/ptrace.h).
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub(super) r15: usize,
    pub(super) r14: usize,
    pub(super) r13: usize,
    pub(super) r12: usize,
    pub(super) rbp: usize,
    pub(super) rbx: usize,
    pub(super) r11: usize,
    pub(super) r10: usize,
    pub(super) r9: usize,
    pub(super) r8: usize,
    pub(super) rax: usize,
    pub(super) rcx: usize,
    pub(super) rdx: usize,
    pub(super) rsi: usize,
    pub(super) rdi: usize,
    /// The system-call number; -1 after any other entry.
    pub(super) orig_rax: usize,
    pub(super) rip: usize,
    pub(super) cs: usize,
    pub(super) rflags: usize,
    pub(super) rsp: usize,
    pub(super) ss: usize,
}

pub(super) const ORIG_RAX: usize = offset_of!(Frame, orig_rax);
pub(super) const CS: usize = offset_of!(Frame, cs);

/// Interrupts on, and the bit that is always one.
const USER_RFLAGS: usize = 0x202;
/// What a user may choose: CF PF AF ZF SF TF DF OF RF AC ID (not IF, IOPL, NT, VM).
const USER_RFLAGS_MASK: usize = 0x0025_0dd5 & !(1 << 9);
/// An address to go on at in user mode. One that no user can have becomes one that faults in
/// user mode: SYSRET and IRET would fault in the kernel instead.
fn instruction_address(address: usize) -> usize {
    address.min(USER_END)
}

/// `syscall` and `int 0x80` are both two bytes long.
const SYSCALL_LENGTH: usize = 2;

/// As many registers are in a signal frame.
pub(super) const SAVED: usize = 18;

impl Frame {
    /// The registers in the order of `struct sigcontext`.
    #[inline]
    pub(super) fn saved(&self) -> [usize; SAVED] {
        [
            self.r8,
            self.r9,
            self.r10,
            self.r11,
            self.r12,
            self.r13,
            self.r14,
            self.r15,
            self.rdi,
            self.rsi,
            self.rbp,
            self.rbx,
            self.rdx,
            self.rax,
            self.rcx,
            self.rsp,
            self.rip,
            self.rflags,
        ]
    }

    /// Loads all registers as a user asks (`rt_sigreturn`): whatever the words are, the frame
    /// stays one that leads to user mode with interrupts on.
    #[inline]
    pub(super) fn set_saved(&mut self, registers: &[usize; SAVED]) {
        let &[
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            rflags,
        ] = registers;
        *self = Self {
            r15,
            r14,
            r13,
            r12,
            rbp,
            rbx,
            r11,
            r10,
            r9,
            r8,
            rax,
            rcx,
            rdx,
            rsi,
            rdi,
            orig_rax: usize::MAX,
            rip: instruction_address(rip),
            cs: USER_CODE as usize,
            rflags: rflags & USER_RFLAGS_MASK | USER_RFLAGS,
            rsp,
            ss: USER_DATA as usize,
        };
    }
}

impl TrapFrame for Frame {
    type Registers = [u64; 21];

    fn user(entry: usize, stack: usize) -> Self {
        Self {
            orig_rax: usize::MAX,
            rip: instruction_address(entry),
            cs: USER_CODE as usize,
            rflags: USER_RFLAGS,
            rsp: stack,
            ss: USER_DATA as usize,
            ..Self::default()
        }
    }

    #[inline]
    fn syscall(&self) -> (usize, [usize; 6]) {
        (self.orig_rax, [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9])
    }

    #[inline]
    fn set_return(&mut self, value: usize) {
        self.rax = value;
    }

    fn return_value(&self) -> usize {
        self.rax
    }

    #[inline]
    fn instruction_pointer(&self) -> usize {
        self.rip
    }

    fn set_instruction_pointer(&mut self, address: usize) {
        self.rip = instruction_address(address);
    }

    fn stack_pointer(&self) -> usize {
        self.rsp
    }

    fn set_stack_pointer(&mut self, address: usize) {
        self.rsp = address;
    }

    fn frame_pointer(&self) -> usize {
        self.rbp
    }

    fn set_argument(&mut self, index: usize, value: usize) {
        match index {
            0 => self.rdi = value,
            1 => self.rsi = value,
            2 => self.rdx = value,
            _ => {}
        }
    }

    fn in_syscall(&self) -> bool {
        self.orig_rax != usize::MAX
    }

    fn restart_syscall(&mut self, number: usize) {
        self.rax = number;
        self.rip = self.rip.wrapping_sub(SYSCALL_LENGTH);
    }

    fn pt_regs(&self) -> Self::Registers {
        [
            self.r15,
            self.r14,
            self.r13,
            self.r12,
            self.rbp,
            self.rbx,
            self.r11,
            self.r10,
            self.r9,
            self.r8,
            self.rax,
            self.rcx,
            self.rdx,
            self.rsi,
            self.rdi,
            self.orig_rax,
            self.rip,
            self.cs,
            self.rflags,
            self.rsp,
            self.ss,
        ]
        .map(|register| register as u64)
    }

    #[inline]
    fn from_user(&self) -> bool {
        self.cs & 3 != 0
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "rip {:#018x}  rsp {:#018x}  rflags {:#x}", self.rip, self.rsp, self.rflags)?;
        writeln!(out, "cs {:#x}  ss {:#x}  orig_rax {:#x}", self.cs, self.ss, self.orig_rax)?;
        writeln!(out, "rax {:016x} rbx {:016x} rcx {:016x}", self.rax, self.rbx, self.rcx)?;
        writeln!(out, "rdx {:016x} rsi {:016x} rdi {:016x}", self.rdx, self.rsi, self.rdi)?;
        writeln!(out, "rbp {:016x} r8  {:016x} r9  {:016x}", self.rbp, self.r8, self.r9)?;
        writeln!(out, "r10 {:016x} r11 {:016x} r12 {:016x}", self.r10, self.r11, self.r12)?;
        write!(out, "r13 {:016x} r14 {:016x} r15 {:016x}", self.r13, self.r14, self.r15)
    }
}
