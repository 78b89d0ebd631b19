//! Whether this CPU takes interrupts: RFLAGS.IF, which lets them through.

use core::arch::asm;

use kernel_sync::IrqState;

/// RFLAGS.IF.
const INTERRUPT_FLAG: usize = 1 << 9;

/// See [`crate::arch::Architecture::irq_enable`].
#[inline]
pub(in crate::arch) fn enable() {
    // The memory clobber keeps accesses on their side.
    // SAFETY: the kernel is ready for interrupts as soon as `init_cpu` has run.
    unsafe { asm!("sti", options(nostack)) };
}

/// See [`crate::arch::Architecture::irq_disable`].
#[inline]
pub(in crate::arch) fn disable() {
    // SAFETY: always sound.
    unsafe { asm!("cli", options(nostack)) };
}

#[inline]
fn flags() -> usize {
    let flags;
    // SAFETY: reads the flags through the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags, options(preserves_flags)) };
    flags
}

/// See [`crate::arch::Architecture::irq_save`].
#[inline]
pub(in crate::arch) fn save() -> IrqState {
    let state = IrqState(flags() & INTERRUPT_FLAG);
    disable();
    state
}

/// See [`crate::arch::Architecture::irq_restore`].
#[inline]
pub(in crate::arch) fn restore(state: IrqState) {
    if state.0 != 0 {
        enable();
    }
}

/// See [`crate::arch::Architecture::irqs_enabled`].
pub(in crate::arch) fn is_open() -> bool {
    flags() & INTERRUPT_FLAG != 0
}

/// See [`crate::arch::Architecture::wait_for_interrupt`].
pub(in crate::arch) fn wait() {
    // SAFETY: `sti` takes effect after the next instruction, so no interrupt is lost
    // between the two.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}
