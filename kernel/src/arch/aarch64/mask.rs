//! Whether this CPU takes interrupts: PSTATE.I, which masks them.

use core::arch::asm;

use kernel_sync::IrqState;

use super::asm::read_register;

/// DAIF.I.
const MASKED: u64 = 1 << 7;

/// See [`crate::arch::Architecture::irq_enable`].
#[inline]
pub(in crate::arch) fn enable() {
    // The memory clobber keeps accesses on their side.
    // SAFETY: the kernel is ready for interrupts as soon as `init_cpu` has run.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// See [`crate::arch::Architecture::irq_disable`].
#[inline]
pub(in crate::arch) fn disable() {
    // SAFETY: always sound.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
}

/// See [`crate::arch::Architecture::irq_save`].
#[inline]
pub(in crate::arch) fn save() -> IrqState {
    let state = IrqState((read_register!("daif") & MASKED) as usize);
    disable();
    state
}

/// See [`crate::arch::Architecture::irq_restore`].
#[inline]
pub(in crate::arch) fn restore(state: IrqState) {
    if state.0 == 0 {
        enable();
    }
}

/// See [`crate::arch::Architecture::irqs_enabled`].
pub(in crate::arch) fn is_open() -> bool {
    read_register!("daif") & MASKED == 0
}

/// See [`crate::arch::Architecture::wait_for_interrupt`].
pub(in crate::arch) fn wait() {
    // SAFETY: a masked interrupt ends the wait too, so none is lost; it is taken when it is
    // unmasked for a moment.
    unsafe {
        asm!("dsb sy", "wfi", "msr daifclr, #2", "isb", "msr daifset, #2", options(nostack));
    }
}
