//! What protects the kernel in this CPU's registers. The test of it is `arch/protection.rs`.

use x86_64::registers::control::{Cr0, Cr0Flags, Cr4, Cr4Flags, Efer, EferFlags};

use super::cpu::{FEATURES, has};
pub(in crate::arch) use super::mmu::active as root;

/// What must not be, and whether it is.
pub(in crate::arch) fn missing() -> impl Iterator<Item = (&'static str, bool)> {
    let (smep, smap, umip) = (has(&FEATURES.smep), has(&FEATURES.smap), has(&FEATURES.umip));
    log::info!("protection: SMEP {smep}, SMAP {smap}, UMIP {umip}");
    let cr4 = Cr4::read();
    let off = |present: bool, flag: Cr4Flags| present && !cr4.contains(flag);
    [
        ("EFER.NXE off", !Efer::read().contains(EferFlags::NO_EXECUTE_ENABLE)),
        ("CR0.WP off", !Cr0::read().contains(Cr0Flags::WRITE_PROTECT)),
        ("SMEP off", off(smep, Cr4Flags::SUPERVISOR_MODE_EXECUTION_PROTECTION)),
        ("SMAP off", off(smap, Cr4Flags::SUPERVISOR_MODE_ACCESS_PREVENTION)),
        ("UMIP off", off(umip, Cr4Flags::USER_MODE_INSTRUCTION_PREVENTION)),
    ]
    .into_iter()
}
