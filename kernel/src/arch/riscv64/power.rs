//! The end: exit status to QEMU, power-off, reset.
//!
//! Under QEMU with semihosting the status goes that way. Elsewhere the breakpoint that asks for
//! it traps, which is fixed up, and firmware (SBI) powers off; failing that, the CPU halts.

use core::arch::{asm, global_asm};

use super::asm::exception;
use super::sbi;
use crate::arch::{semihosting, up};

// a0: operation, a1: its parameter. The three instructions are the request, uncompressed and in
// one page ("RISC-V Semihosting", 2.1).
global_asm!(
    ".text",
    ".option push",
    ".option norvc",
    ".balign 16",
    ".global semihosting_call",
    "semihosting_call:",
    "slli zero, zero, 0x1f",
    "2: ebreak",
    "3: srai zero, zero, 7",
    "ret",
    ".option pop",
    exception!("2b", "3b", "3b", "{no_resolve}"),
    no_resolve = const crate::arch::fixup::Fixup::NO_RESOLVE,
);

unsafe extern "C" {
    /// A semihosting call; does nothing where there is none.
    pub(in crate::arch) fn semihosting_call(operation: usize, parameter: usize) -> usize;
}

/// Stops this CPU for ever.
pub(super) fn halt() -> ! {
    loop {
        // SAFETY: no interrupt is taken any more; waits.
        unsafe { asm!("csrci sstatus, 2", "csrw sie, zero", "wfi", options(nostack)) };
    }
}

/// Powers the machine off, with `status` as QEMU's.
pub(in crate::arch) fn off(status: u8) -> ! {
    super::smp::stop_others();
    up::before_end();
    semihosting::exit(status);
    sbi::reset(false);
    halt()
}

/// Ends QEMU as a panic does; elsewhere, stops so that the screen can be read.
pub(in crate::arch) fn abort() -> ! {
    semihosting::abort();
    halt()
}

/// Resets the machine.
pub(in crate::arch) fn reset() -> ! {
    super::smp::stop_others();
    up::before_end();
    sbi::reset(true);
    halt()
}
