//! The other CPUs. Per-CPU structures are sized for them (`cpu::MAX_CPUS`); they are found and
//! counted, and stay in the state in which firmware left them: halted, waiting for a start-up
//! interrupt.

use super::{acpi, cpu};

/// How many CPUs run the kernel.
pub(super) fn online() -> usize {
    1
}

/// Counts the CPUs.
pub(super) fn init() {
    let found = acpi::platform().cpus.len().clamp(1, cpu::MAX_CPUS);
    if found > online() {
        log::warn!("smp: {found} CPUs found, {} in use: the others stay parked", online());
    } else {
        log::info!("smp: {found} CPU");
    }
}
