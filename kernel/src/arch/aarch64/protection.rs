//! What protects the kernel in this CPU's registers. The test of it is `arch/protection.rs`.

use super::asm::read_register;
use super::cpu::{FEATURES, has};
use super::entry::Entry;

/// The root of the kernel's tree.
pub(in crate::arch) fn root() -> u64 {
    read_register!("ttbr1_el1") & Entry::FRAME
}

/// What must not be, and whether it is.
pub(in crate::arch) fn missing() -> impl Iterator<Item = (&'static str, bool)> {
    const NO_USER_WALKS: u64 = 1 << 7;
    const SPAN: u64 = 1 << 23;
    const WRITE_IMPLIES_NO_EXECUTE: u64 = 1 << 19;
    let control = read_register!("sctlr_el1");
    let pan = has(&FEATURES.pan);
    log::info!("protection: PAN {pan}");
    // PSTATE.PAN, bit 22.
    let pan_is_on = !pan || read_register!("S3_0_C4_C2_3") & 1 << 22 != 0;
    [
        ("the user half is mapped", read_register!("tcr_el1") & NO_USER_WALKS == 0),
        ("WXN off", control & WRITE_IMPLIES_NO_EXECUTE == 0),
        ("PAN off", !pan_is_on),
        ("PAN is not set on entry", pan && control & SPAN != 0),
    ]
    .into_iter()
}
