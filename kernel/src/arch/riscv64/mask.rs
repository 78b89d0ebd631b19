//! Whether this CPU takes interrupts: `sstatus.SIE`, which lets them through.

use core::arch::asm;

use kernel_sync::IrqState;

use super::asm::{read_csr, status};

/// See [`crate::arch::Architecture::irq_enable`].
#[inline]
pub(in crate::arch) fn enable() {
    // The memory clobber keeps accesses on their side.
    // SAFETY: the kernel is ready for interrupts as soon as `init_cpu` has run.
    unsafe { asm!("csrsi sstatus, {}", const status::INTERRUPTS, options(nostack)) };
}

/// See [`crate::arch::Architecture::irq_disable`].
#[inline]
pub(in crate::arch) fn disable() {
    // SAFETY: always sound.
    unsafe { asm!("csrci sstatus, {}", const status::INTERRUPTS, options(nostack)) };
}

/// See [`crate::arch::Architecture::irq_save`].
#[inline]
pub(in crate::arch) fn save() -> IrqState {
    let state;
    // SAFETY: always sound. The memory clobber keeps accesses on their side.
    unsafe {
        asm!("csrrci {}, sstatus, {}", out(reg) state, const status::INTERRUPTS,
            options(nostack));
    }
    IrqState(state)
}

/// See [`crate::arch::Architecture::irq_restore`].
#[inline]
pub(in crate::arch) fn restore(state: IrqState) {
    if state.0 & status::INTERRUPTS != 0 {
        enable();
    }
}

/// See [`crate::arch::Architecture::irqs_enabled`].
pub(in crate::arch) fn is_open() -> bool {
    read_csr!("sstatus") & status::INTERRUPTS != 0
}

/// See [`crate::arch::Architecture::wait_for_interrupt`].
pub(in crate::arch) fn wait() {
    // SAFETY: a masked interrupt ends the wait too, so none is lost; it is taken when it is
    // unmasked for a moment.
    unsafe {
        asm!("wfi", "csrsi sstatus, {0}", "csrci sstatus, {0}",
            const status::INTERRUPTS, options(nostack));
    }
}
