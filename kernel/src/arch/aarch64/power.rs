//! The end: exit status to QEMU, power-off, reset.
//!
//! Under QEMU with semihosting the status goes that way. Elsewhere the instruction for it is
//! undefined, which is fixed up, and firmware (PSCI) powers off; failing that, the CPU halts.

use core::arch::{asm, global_asm};

use kernel_gic::Affinity;

use super::asm::exception;
use super::platform::{Conduit, platform};
use crate::arch::{semihosting, up};

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
        // SAFETY: masks everything and waits.
        unsafe { asm!("msr daifset, #0xf", "wfi", options(nostack)) };
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

/// Has firmware start a CPU at a physical address, with `argument` in x0, the MMU off; whether it
/// will.
pub(super) fn start_cpu(affinity: Affinity, entry: u64, argument: u64) -> bool {
    const SUCCESS: i64 = 0;
    firmware(CPU_ON, [affinity.register(), entry, argument]) == Some(SUCCESS)
}

/// Powers the machine off, with `status` as QEMU's.
pub(in crate::arch) fn off(status: u8) -> ! {
    super::smp::stop_others();
    up::before_end();
    semihosting::exit(status);
    firmware(SYSTEM_OFF, [0; 3]);
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
    firmware(SYSTEM_RESET, [0; 3]);
    halt()
}
