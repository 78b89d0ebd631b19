//! Interrupts of devices: who handles which. The controller itself is in gic/.
//!
//! Interrupts are numbered as the controller numbers them: 16 to 31 are a CPU's own, devices'
//! begin at 32; those below 16 CPUs send each other.

use core::sync::atomic::{AtomicU32, Ordering};

use kernel_sync::SpinLock;

use super::frame::Frame;
use super::gic::{self, Messages};
use super::platform::platform;
use super::{power, smp, timer};
use crate::arch::interrupts::{Counts, Devices, EachInterrupt, Source};
use crate::arch::traits::{IrqError, IrqHandler, IrqLine, MessageInterrupt};
use crate::arch::{secondary, up};

/// Another CPU wants this one to look at its run queue and timer, and to fetch its instructions
/// anew.
pub(super) const LOOK: u32 = 0;
/// Another CPU wants this one to stop.
pub(super) const STOP: u32 = 1;

/// Interrupts that can have handlers: a GICv2m frame of QEMU's ends below.
const COUNT: usize = 288;
const FIRST_DEVICE: u32 = 32;

static DEVICES: Devices<COUNT> = Devices::new();

static TIMER_COUNTS: Counts = Counts::new();
static LOOK_COUNTS: Counts = Counts::new();

/// The timer's interrupt; 0 for none.
static TIMER: AtomicU32 = AtomicU32::new(0);

/// Messages that have not been given out.
static MESSAGES: SpinLock<Option<Messages>> = SpinLock::new(None);

/// Sets the controller up, everything masked but the timer.
pub(super) fn init() {
    *MESSAGES.lock() = gic::init();
    match platform().timer {
        Some(interrupt) => {
            TIMER.store(interrupt.number, Ordering::Relaxed);
            gic::enable(interrupt.number, interrupt.level);
        }
        None => log::error!("no timer in the device tree"),
    }
}

/// See [`crate::arch::Architecture::irq_line`].
pub(in crate::arch) fn line(line: IrqLine, handler: IrqHandler) -> Result<(), IrqError> {
    if line.number < FIRST_DEVICE || line.number >= gic::lines() {
        return Err(IrqError::NoSuchLine);
    }
    add(line.number, line.level, handler)?;
    Ok(())
}

/// See [`crate::arch::Architecture::irq_message`].
pub(in crate::arch) fn message(handler: IrqHandler) -> Result<MessageInterrupt, IrqError> {
    let (message, number) =
        MESSAGES.lock().as_mut().and_then(Messages::take).ok_or(IrqError::Exhausted)?;
    add(number, false, handler)?;
    Ok(message)
}

/// Gives an interrupt a handler; lets one that had none through, to the next CPU.
fn add(number: u32, level: bool, handler: IrqHandler) -> Result<(), IrqError> {
    if DEVICES.add(number, Source { controller: gic::name(), number, level }, handler)? {
        gic::route(number, secondary::next_for_device());
        gic::enable(number, level);
    }
    Ok(())
}

/// See [`crate::arch::Architecture::interrupts`].
pub(in crate::arch) fn list(each: EachInterrupt<'_>) {
    if let Some(timer) = platform().timer {
        let kind = if timer.level { "Level" } else { "Edge" };
        let what = format_args!("{} {:>3} {kind:<5}     arch_timer", gic::name(), timer.number);
        each(&timer.number, &TIMER_COUNTS, &what);
    }
    DEVICES.list(each);
    each(&"IPI0", &LOOK_COUNTS, &"Rescheduling interrupts");
}

/// Sets up what a further CPU, on which this runs, has of its own: its timer's interrupt. `false`
/// if it cannot be interrupted.
pub(super) fn init_cpu() -> bool {
    if !gic::init_cpu() {
        return false;
    }
    if let Some(interrupt) = platform().timer {
        gic::enable(interrupt.number, interrupt.level);
    }
    true
}

/// Runs the handlers of every interrupt that is pending. Interrupts are off.
pub(super) fn handle(frame: &mut Frame) {
    while let Some(taken) = gic::acknowledge() {
        let number = taken.number();
        if number == TIMER.load(Ordering::Relaxed) {
            // The timer asserts its line until it is told not to.
            timer::stop();
            gic::end(taken);
            TIMER_COUNTS.count();
            up::timer_interrupt(frame);
            continue;
        }
        match number {
            LOOK => {
                gic::end(taken);
                LOOK_COUNTS.count();
                smp::synchronise();
                up::other_cpu();
            }
            STOP => power::halt(),
            _ => {
                DEVICES.run(number);
                gic::end(taken);
            }
        }
    }
}
