//! The end: exit status to QEMU, power-off, reset.
//!
//! Under QEMU with semihosting (Arm's "Semihosting for AArch32 and AArch64"), the status is
//! written to the semihosting console, and QEMU then ends with 2v + 1, as its exit device on
//! PCs has it. Elsewhere the instruction is undefined, which is fixed up, and firmware (PSCI)
//! powers off; failing that, the CPU halts.

use core::arch::{asm, global_asm};

use super::asm::exception;
use super::platform::{Conduit, platform};
use crate::arch::up;

/// The largest status that a program can cause, so that a panic's differs from all of them.
const LARGEST_STATUS: u8 = 126;
/// The status of a kernel panic.
const PANIC_STATUS: u8 = 127;

const SEMIHOSTING_WRITE_CHARACTER: usize = 0x03;
const SEMIHOSTING_EXIT: usize = 0x20;
/// `ADP_Stopped_ApplicationExit`: with a status.
const APPLICATION_EXIT: u64 = 0x2_0026;

// Power State Coordination Interface 1.1, section 5.1.
const CPU_ON: u32 = 0xc400_0003;
const SYSTEM_OFF: u32 = 0x8400_0008;
const SYSTEM_RESET: u32 = 0x8400_0009;

// x0: operation, x1: its parameter.
global_asm!(
    ".text",
    ".global semihosting_call",
    "semihosting_call:",
    "2: hlt #0xf000",
    "3: ret",
    exception!("2b", "3b", "{no_resolve}"),
    no_resolve = const crate::arch::fixup::Fixup::NO_RESOLVE,
);

unsafe extern "C" {
    fn semihosting_call(operation: usize, parameter: usize) -> usize;
}

/// Stops this CPU for ever.
pub(super) fn halt() -> ! {
    loop {
        // SAFETY: masks everything and waits.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nostack)) };
    }
}

/// Ends QEMU; returns where there is none, or no semihosting.
fn end_qemu(status: u8) {
    let parameters = [APPLICATION_EXIT, 2 * u64::from(status.min(PANIC_STATUS)) + 1];
    // SAFETY: reads the parameters, and ends the machine or does nothing.
    unsafe { semihosting_call(SEMIHOSTING_EXIT, parameters.as_ptr() as usize) };
}

fn write_status(status: u8) {
    // SAFETY: reads the byte, and writes it to the semihosting console or does nothing.
    unsafe {
        semihosting_call(SEMIHOSTING_WRITE_CHARACTER, (&raw const status) as usize);
    }
}

/// Calls firmware; `None` if there is none.
fn firmware(function: u32, arguments: [u64; 3]) -> Option<i64> {
    let [one, two, three] = arguments;
    let mut result = u64::from(function);
    // SAFETY: the calls made here end the machine, start a CPU with what its caller made for it,
    // or return an error; they change no register that the convention does not name (Arm SMC
    // Calling Convention 1.1).
    unsafe {
        match platform().firmware? {
            Conduit::Hypervisor => {
                asm!("hvc #0", inout("x0") result, inout("x1") one => _, inout("x2") two => _,
                    inout("x3") three => _, clobber_abi("C"));
            }
            Conduit::SecureMonitor => {
                asm!("smc #0", inout("x0") result, inout("x1") one => _, inout("x2") two => _,
                    inout("x3") three => _, clobber_abi("C"));
            }
        }
    }
    Some(result as i64)
}

/// Has firmware start the CPU that `MPIDR_EL1` names so, at a physical address, with `argument`
/// in x0, the MMU off; whether it will.
pub(super) fn start_cpu(affinity: u64, entry: u64, argument: u64) -> bool {
    const SUCCESS: i64 = 0;
    firmware(CPU_ON, [affinity, entry, argument]) == Some(SUCCESS)
}

/// Powers the machine off, with `status` as QEMU's.
pub(super) fn off(status: u8) -> ! {
    super::smp::stop_others();
    up::before_end();
    write_status(status);
    end_qemu(status.min(LARGEST_STATUS));
    firmware(SYSTEM_OFF, [0; 3]);
    halt()
}

/// Ends QEMU as a panic does; elsewhere, stops so that the screen can be read.
pub(super) fn abort() -> ! {
    write_status(PANIC_STATUS);
    end_qemu(PANIC_STATUS);
    halt()
}

/// Resets the machine.
pub(super) fn reset() -> ! {
    super::smp::stop_others();
    up::before_end();
    firmware(SYSTEM_RESET, [0; 3]);
    halt()
}
