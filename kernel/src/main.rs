//! The kernel's entry from each architecture's boot code.
#![no_std]
#![no_main]

use kernel::arch::BootInfo;

/// Called by the boot code of each architecture, on the boot CPU, with the MMU on, the
/// kernel in the upper half, a boot stack, and interrupts off. Never returns.
#[unsafe(no_mangle)]
extern "C" fn kernel_main(boot: &'static BootInfo) -> ! {
    kernel::init(boot)
}
