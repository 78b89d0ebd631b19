//! Interrupts off on this CPU, for sections that no lock of this crate describes: locks that
//! lie in memory which programs own.

use crate::platform::{IrqState, platform};

/// Turns interrupts off and says how they were.
#[inline]
pub fn save() -> IrqState {
    (platform().irq_save)()
}

/// Puts interrupts back to how [`save`] found them, on the same CPU, last saved first.
#[inline]
pub fn restore(state: IrqState) {
    (platform().irq_restore)(state);
}

/// Runs `section` with interrupts off.
#[inline]
pub fn without<R>(section: impl FnOnce() -> R) -> R {
    let state = save();
    let result = section();
    restore(state);
    result
}
