//! The end: exit status to QEMU, power-off, reset.
//!
//! The status goes to I/O port 0xe9 (QEMU's `isa-debugcon`) and then to 0xf4 (QEMU's
//! `isa-debug-exit`, which ends QEMU with 2v + 1). On a machine without those, ACPI's S5
//! state powers off; failing that, the CPU halts.

use super::port::{inb, outb};
use crate::arch::up;

const STATUS_PORT: u16 = 0xe9;
const EXIT_PORT: u16 = 0xf4;
/// The largest status that a program can cause, so that a panic's differs from all of them.
const LARGEST_STATUS: u8 = 126;
/// The status of a kernel panic.
const PANIC_STATUS: u8 = 127;

/// Stops this CPU for ever.
pub(super) fn halt() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// Powers the machine off, with `status` as QEMU's.
pub(in crate::arch) fn off(status: u8) -> ! {
    super::smp::stop_others();
    up::before_end();
    outb(STATUS_PORT, status);
    outb(EXIT_PORT, status.min(LARGEST_STATUS));
    super::acpi::enter_s5();
    halt()
}

/// Ends QEMU as a panic does; elsewhere, stops so that the screen can be read.
pub(in crate::arch) fn abort() -> ! {
    outb(STATUS_PORT, PANIC_STATUS);
    outb(EXIT_PORT, PANIC_STATUS);
    halt()
}

/// Resets the machine: ACPI's reset register, the keyboard controller, the reset port, and
/// last a triple fault.
pub(in crate::arch) fn reset() -> ! {
    super::smp::stop_others();
    up::before_end();
    super::acpi::reset();
    for _ in 0..1000 {
        if inb(0x64) & 2 == 0 {
            break;
        }
    }
    outb(0x64, 0xfe);
    outb(0xcf9, 0x06);
    super::cpu::triple_fault()
}
