//! The registers saved on entry to the kernel.
//!
//! [`Frame`] begins as Linux's `struct user_pt_regs` for AArch64, as BPF programs and signal
//! frames have it. The entry code in trap.rs stores it in this order.

use core::fmt;

use crate::arch::traits::TrapFrame;

/// General registers.
pub(super) const GENERAL: usize = 31;

/// `struct user_pt_regs` (Linux, arch/arm64/include/uapi/asm/ptrace.h), then what restarting
/// a system call needs.
#[repr(C)]
#[derive(Clone, Debug, Default)]
pub struct Frame {
    pub(super) registers: [usize; GENERAL],
    pub(super) sp: usize,
    pub(super) pc: usize,
    pub(super) pstate: usize,
    /// The first argument of the system call, which its result replaces.
    pub(super) first_argument: usize,
    /// The system-call number; -1 after any other entry.
    pub(super) number: usize,
}

pub(super) const SIZE: usize = size_of::<Frame>();
// The stack pointer stays aligned.
const _: () = assert!(SIZE == 288 && SIZE.is_multiple_of(16));

/// PSTATE.M and the bit that says 32-bit: zero in user mode.
const MODE: usize = 0x1f;
/// PSTATE.I.
pub(super) const IRQ_MASKED: usize = 1 << 7;
/// What a user may choose: N Z C V, and DIT and SSBS, which no privilege depends on.
const USER_PSTATE: usize = 0xf000_0000 | 1 << 24 | 1 << 12;
/// `svc` is four bytes long.
const SYSCALL_LENGTH: usize = 4;
/// The register that holds the system call's number.
const NUMBER: usize = 8;
const FRAME_POINTER: usize = 29;

impl Frame {
    /// Loads all registers as a user asks (`rt_sigreturn`): whatever the words are, the frame
    /// stays one that leads to user mode with interrupts on.
    pub(super) fn set_user_registers(
        &mut self,
        registers: [usize; GENERAL],
        sp: usize,
        pc: usize,
        pstate: usize,
    ) {
        let pstate = pstate & USER_PSTATE;
        *self = Self { registers, sp, pc, pstate, first_argument: 0, number: usize::MAX };
    }
}

impl TrapFrame for Frame {
    type Registers = [u64; GENERAL + 3];

    fn user(entry: usize, stack: usize) -> Self {
        Self { sp: stack, pc: entry, number: usize::MAX, ..Self::default() }
    }

    #[inline]
    fn syscall(&self) -> (usize, [usize; 6]) {
        let [_, second, third, fourth, fifth, sixth, ..] = self.registers;
        (self.number, [self.first_argument, second, third, fourth, fifth, sixth])
    }

    #[inline]
    fn set_return(&mut self, value: usize) {
        self.registers[0] = value;
    }

    fn return_value(&self) -> usize {
        self.registers[0]
    }

    #[inline]
    fn instruction_pointer(&self) -> usize {
        self.pc
    }

    fn set_instruction_pointer(&mut self, address: usize) {
        self.pc = address;
    }

    fn stack_pointer(&self) -> usize {
        self.sp
    }

    fn set_stack_pointer(&mut self, address: usize) {
        self.sp = address;
    }

    fn frame_pointer(&self) -> usize {
        self.registers[FRAME_POINTER]
    }

    fn set_argument(&mut self, index: usize, value: usize) {
        if let Some(register) = self.registers.get_mut(index).filter(|_| index < 3) {
            *register = value;
        }
    }

    fn in_syscall(&self) -> bool {
        self.number != usize::MAX
    }

    fn restart_syscall(&mut self, number: usize) {
        self.registers[0] = self.first_argument;
        self.registers[NUMBER] = number;
        self.pc = self.pc.wrapping_sub(SYSCALL_LENGTH);
    }

    fn pt_regs(&self) -> Self::Registers {
        let mut words = [0; GENERAL + 3];
        let rest = [self.sp, self.pc, self.pstate];
        for (word, register) in words.iter_mut().zip(self.registers.iter().chain(&rest)) {
            *word = *register as u64;
        }
        words
    }

    #[inline]
    fn from_user(&self) -> bool {
        self.pstate & MODE == 0
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "pc {:#018x}  sp {:#018x}  pstate {:#x}", self.pc, self.sp, self.pstate)?;
        for (index, register) in self.registers.iter().enumerate() {
            let end = if index % 3 == 2 { "\n" } else { " " };
            write!(out, "x{index:<2} {register:016x}{end}")?;
        }
        write!(out, "system call {}", self.number as isize)
    }
}
