//! Interrupts: of the timer, of other CPUs, and of devices. The devices' controller itself is in plic.rs, whose
//! numbers lines have here.

use super::asm::{clear_csr, write_csr};
use super::frame::Frame;
use super::{plic, smp, timer};
use crate::arch::interrupts::{Counts, Devices, EachInterrupt, Source};
use crate::arch::traits::{IrqError, IrqHandler, IrqLine, MessageInterrupt};
use crate::arch::{secondary, up};

// Causes (`scause`), and bits of `sie` and `sip`.
const SOFTWARE: usize = 1;
const TIMER: usize = 5;
const EXTERNAL: usize = 9;

/// Lines that can have handlers: more than QEMU's controller and most boards' have.
const COUNT: usize = 256;

static DEVICES: Devices<COUNT> = Devices::new();

static TIMER_COUNTS: Counts = Counts::new();
static SOFTWARE_COUNTS: Counts = Counts::new();

/// Sets the controller up, everything masked but the timer.
pub(super) fn init() {
    plic::init();
    // SAFETY: the trap code is ready for each.
    unsafe { write_csr!("sie", 1usize << SOFTWARE | 1 << TIMER | 1 << EXTERNAL) };
}

/// What a further CPU, on which this runs, takes; devices' interrupts if the controller knows it.
pub(super) fn init_cpu() {
    plic::init_cpu();
    // SAFETY: the trap code is ready for each.
    unsafe { write_csr!("sie", 1usize << SOFTWARE | 1 << TIMER | 1 << EXTERNAL) };
}

/// See [`crate::arch::Architecture::irq_line`].
pub(in crate::arch) fn line(line: IrqLine, handler: IrqHandler) -> Result<(), IrqError> {
    if line.number == 0 || line.number >= plic::lines() {
        return Err(IrqError::NoSuchLine);
    }
    let IrqLine { number, level, .. } = line;
    if DEVICES.add(number, Source { controller: "RISC-V PLIC", number, level }, handler)? {
        plic::enable(number, secondary::next_for_device());
    }
    Ok(())
}

/// See [`crate::arch::Architecture::irq_message`]. The controller has none.
pub(in crate::arch) fn message(_: IrqHandler) -> Result<MessageInterrupt, IrqError> {
    Err(IrqError::Exhausted)
}

/// See [`crate::arch::Architecture::interrupts`].
pub(in crate::arch) fn list(each: EachInterrupt<'_>) {
    let timer = format_args!("RISC-V INTC {TIMER:>3} Edge      riscv-timer");
    each(&TIMER, &TIMER_COUNTS, &timer);
    DEVICES.list(each);
    each(&"IPI0", &SOFTWARE_COUNTS, &"Rescheduling interrupts");
}

/// Handles an interrupt. Interrupts are off.
pub(super) fn handle(frame: &mut Frame, cause: usize) {
    match cause {
        TIMER => {
            TIMER_COUNTS.count();
            if timer::expired() {
                up::timer_interrupt(frame);
            }
        }
        EXTERNAL => {
            while let Some(line) = plic::claim() {
                DEVICES.run(line);
                plic::complete(line);
            }
        }
        SOFTWARE => {
            SOFTWARE_COUNTS.count();
            // SAFETY: takes the interrupt back.
            unsafe { clear_csr!("sip", 1usize << SOFTWARE) };
            smp::stop_if_told();
            up::other_cpu();
        }
        _ => log::error!("interrupt {cause}: nobody asked for it"),
    }
}
