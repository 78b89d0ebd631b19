//! Interrupts: of the timer, of other CPUs, and of devices. The devices' controller itself is in plic.rs, whose
//! numbers lines have here.

use super::asm::{clear_csr, write_csr};
use super::frame::Frame;
use super::{plic, smp, timer};
use crate::arch::handlers::Handlers;
use crate::arch::traits::{IrqError, IrqHandler, IrqLine, MessageInterrupt};
use crate::arch::up;

// Causes (`scause`), and bits of `sie` and `sip`.
const SOFTWARE: usize = 1;
const TIMER: usize = 5;
const EXTERNAL: usize = 9;

/// Lines that can have handlers: more than QEMU's controller and most boards' have.
const COUNT: usize = 256;

static HANDLERS: Handlers<COUNT> = Handlers::new();

/// Sets the controller up, everything masked but the timer.
pub(super) fn init() {
    plic::init();
    // SAFETY: the trap code is ready for each.
    unsafe { write_csr!("sie", 1usize << SOFTWARE | 1 << TIMER | 1 << EXTERNAL) };
}

/// What a further CPU, on which this runs, takes: devices' interrupts are the boot CPU's.
pub(super) fn init_cpu() {
    // SAFETY: the trap code is ready for each.
    unsafe { write_csr!("sie", 1usize << SOFTWARE | 1 << TIMER) };
}

/// See [`crate::arch::Architecture::irq_line`].
pub(in crate::arch) fn line(
    line: IrqLine,
    handler: IrqHandler,
    argument: usize,
) -> Result<(), IrqError> {
    if line.number == 0 || line.number >= plic::lines() {
        return Err(IrqError::NoSuchLine);
    }
    HANDLERS.add(line.number, handler, argument)?;
    plic::enable(line.number);
    Ok(())
}

/// See [`crate::arch::Architecture::irq_message`]. The controller has none.
pub(in crate::arch) fn message(_: IrqHandler, _: usize) -> Result<MessageInterrupt, IrqError> {
    Err(IrqError::Exhausted)
}

/// Handles an interrupt. Interrupts are off.
pub(super) fn handle(frame: &mut Frame, cause: usize) {
    match cause {
        TIMER => {
            if timer::expired() {
                up::timer_interrupt(frame);
            }
        }
        EXTERNAL => {
            while let Some(line) = plic::claim() {
                HANDLERS.run(line);
                plic::complete(line);
            }
        }
        SOFTWARE => {
            // SAFETY: takes the interrupt back.
            unsafe { clear_csr!("sip", 1usize << SOFTWARE) };
            smp::stop_if_told();
            up::other_cpu();
        }
        _ => log::error!("interrupt {cause}: nobody asked for it"),
    }
}
