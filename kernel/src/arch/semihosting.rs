//! The end under QEMU with semihosting (Arm's "Semihosting for AArch32 and AArch64", which
//! RISC-V's follows): the status is written to the semihosting console, and QEMU then ends with
//! 2v + 1, as its exit device on PCs has it. Elsewhere the calls do nothing.

use super::machine::power::semihosting_call;

/// The largest status that a program can cause, so that a panic's differs from all of them.
const LARGEST_STATUS: u8 = 126;
/// The status of a kernel panic.
const PANIC_STATUS: u8 = 127;

const WRITE_CHARACTER: usize = 0x03;
const EXIT: usize = 0x20;
/// `ADP_Stopped_ApplicationExit`: with a status.
const APPLICATION_EXIT: u64 = 0x2_0026;

fn write_status(status: u8) {
    // SAFETY: reads the byte, and writes it to the semihosting console or does nothing.
    unsafe { semihosting_call(WRITE_CHARACTER, (&raw const status) as usize) };
}

fn end(status: u8) {
    let parameters = [APPLICATION_EXIT, 2 * u64::from(status) + 1];
    // SAFETY: reads the parameters, and ends the machine or does nothing.
    unsafe { semihosting_call(EXIT, parameters.as_ptr() as usize) };
}

/// Ends QEMU with a program's status; returns where there is none, or no semihosting.
pub(super) fn exit(status: u8) {
    write_status(status);
    end(status.min(LARGEST_STATUS));
}

/// Ends QEMU as a panic does.
pub(super) fn abort() {
    write_status(PANIC_STATUS);
    end(PANIC_STATUS);
}
