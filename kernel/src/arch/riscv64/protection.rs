//! What protects the kernel in this CPU's registers. The test of it is `arch/protection.rs`.

use super::asm::{read_csr, status};
pub(in crate::arch) use super::mmu::active as root;

/// What must not be, and whether it is.
pub(in crate::arch) fn missing() -> impl Iterator<Item = (&'static str, bool)> {
    let now = read_csr!("sstatus");
    [("SUM on", now & status::USER_MEMORY != 0), ("MXR on", now & status::EXECUTABLE_READABLE != 0)]
        .into_iter()
}
