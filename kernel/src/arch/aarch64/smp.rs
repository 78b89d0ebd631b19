//! The other CPUs: they are counted, and stay in the state in which firmware left them: off.

use super::platform::platform;

/// How many CPUs run the kernel.
pub(super) fn online() -> usize {
    1
}

/// Counts the CPUs.
pub(super) fn init() {
    let found = platform().cpus.max(1);
    if found > online() {
        log::warn!("smp: {found} CPUs found, {} in use: the others stay off", online());
    } else {
        log::info!("smp: {found} CPU");
    }
}
