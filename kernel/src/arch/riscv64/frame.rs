//! The registers saved on entry to the kernel.
//!
//! [`Frame`] is Linux's `struct pt_regs` for RISC-V (arch/riscv/include/asm/ptrace.h), which
//! begins as its `struct user_regs_struct`, as BPF programs and signal frames have it. The entry
//! code in trap.rs stores it in this order.

use core::fmt;
use core::mem::offset_of;

use super::asm::status::{FROM_KERNEL, PREVIOUS_INTERRUPTS};
use crate::arch::traits::TrapFrame;

/// Registers x1 to x31.
pub(super) const GENERAL: usize = 31;

#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub(super) pc: usize,
    /// x1 to x31: ra, sp, gp, tp, t0 to t2, s0, s1, a0 to a7, s2 to s11, t3 to t6.
    pub(super) registers: [usize; GENERAL],
    pub(super) status: usize,
    /// What was accessed, or the instruction that is illegal.
    pub(super) value: usize,
    pub(super) cause: usize,
    /// The first argument of the system call, which its result replaces.
    pub(super) first_argument: usize,
}

pub(super) const SIZE: usize = size_of::<Frame>();
// The stack pointer stays aligned.
const _: () = assert!(SIZE == 288 && SIZE.is_multiple_of(16));

/// The cause of a system call; and the one that frames have for which there was none.
pub(super) const SYSTEM_CALL: usize = 8;
const NO_CAUSE: usize = usize::MAX;
/// `ecall` is four bytes long.
const SYSCALL_LENGTH: usize = 4;

// Places in `registers`.
pub(super) const RETURN_ADDRESS: usize = 0;
pub(super) const STACK_POINTER: usize = 1;
pub(super) const THREAD_POINTER: usize = 3;
const FRAME_POINTER: usize = 7;
/// a0, and a7, the system call's number.
const ARGUMENT: usize = 9;
const NUMBER: usize = 16;

impl Frame {
    /// `pc` and x1 to x31, to be read and written as a row.
    pub(super) fn user_registers_mut(&mut self) -> *mut usize {
        const { assert!(offset_of!(Self, pc) == 0 && offset_of!(Self, registers) == 8) };
        core::ptr::from_mut(self).cast()
    }

    /// Whatever `pc` and the registers were set to, as a user asks (`rt_sigreturn`): the frame is one
    /// that leads to user mode with interrupts on, and of no system call.
    pub(super) fn make_users(&mut self) {
        (self.status, self.cause) = (PREVIOUS_INTERRUPTS, NO_CAUSE);
        (self.value, self.first_argument) = (0, 0);
    }
}

impl TrapFrame for Frame {
    type Registers = [u64; GENERAL + 1];

    fn user(entry: usize, stack: usize) -> Self {
        let mut frame = Self { pc: entry, ..Self::default() };
        frame.registers[STACK_POINTER] = stack;
        frame.make_users();
        frame
    }

    #[inline]
    fn syscall(&self) -> (usize, [usize; 6]) {
        let registers = &self.registers;
        let arguments = [
            self.first_argument,
            registers[ARGUMENT + 1],
            registers[ARGUMENT + 2],
            registers[ARGUMENT + 3],
            registers[ARGUMENT + 4],
            registers[ARGUMENT + 5],
        ];
        (registers[NUMBER], arguments)
    }

    #[inline]
    fn set_return(&mut self, value: usize) {
        self.registers[ARGUMENT] = value;
    }

    fn return_value(&self) -> usize {
        self.registers[ARGUMENT]
    }

    #[inline]
    fn instruction_pointer(&self) -> usize {
        self.pc
    }

    fn set_instruction_pointer(&mut self, address: usize) {
        self.pc = address;
    }

    fn stack_pointer(&self) -> usize {
        self.registers[STACK_POINTER]
    }

    fn set_stack_pointer(&mut self, address: usize) {
        self.registers[STACK_POINTER] = address;
    }

    fn frame_pointer(&self) -> usize {
        self.registers[FRAME_POINTER]
    }

    fn set_argument(&mut self, index: usize, value: usize) {
        if let Some(register) = self.registers.get_mut(ARGUMENT + index).filter(|_| index < 3) {
            *register = value;
        }
    }

    fn in_syscall(&self) -> bool {
        self.cause == SYSTEM_CALL
    }

    fn restart_syscall(&mut self, number: usize) {
        self.registers[ARGUMENT] = self.first_argument;
        self.registers[NUMBER] = number;
        self.pc = self.pc.wrapping_sub(SYSCALL_LENGTH);
    }

    fn pt_regs(&self) -> Self::Registers {
        let mut words = [0; GENERAL + 1];
        let registers = core::iter::once(&self.pc).chain(&self.registers);
        for (word, register) in words.iter_mut().zip(registers) {
            *word = *register as u64;
        }
        words
    }

    #[inline]
    fn from_user(&self) -> bool {
        self.status & FROM_KERNEL == 0
    }
}

/// The calling convention's names of x1 to x31.
const NAMES: [&str; GENERAL] = [
    "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6",
    "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
];

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pc, status, cause, value, .. } = self;
        writeln!(out, "pc {pc:#018x}  status {status:#x}  cause {cause:#x}  value {value:#x}")?;
        for (index, (name, register)) in NAMES.iter().zip(&self.registers).enumerate() {
            let end = if index % 3 == 2 { "\n" } else { " " };
            write!(out, "{name:<3} {register:016x}{end}")?;
        }
        Ok(())
    }
}
