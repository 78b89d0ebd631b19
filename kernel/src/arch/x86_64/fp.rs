//! The floating-point state: of tasks that are not running, and in signal frames.

use core::arch::asm;

use super::asm::{allow_user_access, exception, forbid_user_access};
use super::cpu::{FEATURES, has};
use super::layout::USER_END;
use crate::arch::fixup::Fixup;

/// x87, SSE and AVX registers in XSAVE's standard format (Intel SDM vol. 1, section 13.4):
/// 512 bytes that FXSAVE knows too, a header of 64, and 256 for AVX.
#[derive(Clone)]
#[repr(C, align(64))]
pub struct FpState {
    area: [u8; FP_SIZE],
}

/// Where XSAVE's header begins: the components that are there, then zeros.
const HEADER: usize = 512;
const FP_SIZE: usize = HEADER + 64 + 256;
/// x87, SSE, AVX; the CPU ignores what XCR0 lacks.
const FP_COMPONENTS: u32 = 7;

impl FpState {
    /// What a new program has: everything zero, all exceptions masked, in the control word
    /// (byte 0) and in MXCSR (byte 24).
    const INITIAL: Self = {
        let mut area = [0; FP_SIZE];
        area[0] = 0x7f;
        area[1] = 0x03;
        area[24] = 0x80;
        area[25] = 0x1f;
        Self { area }
    };
}

impl Default for FpState {
    fn default() -> Self {
        Self::INITIAL
    }
}

impl AsRef<[u8]> for FpState {
    fn as_ref(&self) -> &[u8] {
        &self.area
    }
}

impl AsMut<[u8]> for FpState {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.area
    }
}

/// Saves the registers.
#[inline]
pub(in crate::arch) fn save_fp(state: &mut FpState) {
    let area = state.area.as_mut_ptr();
    // SAFETY: the area has the size and alignment that the instructions need; XSAVEOPT may
    // leave parts unwritten that are as the last XRSTOR from this area left them.
    unsafe {
        if has(&FEATURES.xsaveopt) {
            asm!("xsaveopt64 [{}]", in(reg) area, in("eax") FP_COMPONENTS, in("edx") 0,
                options(nostack));
        } else if has(&FEATURES.xsave) {
            asm!("xsave64 [{}]", in(reg) area, in("eax") FP_COMPONENTS, in("edx") 0,
                options(nostack));
        } else {
            asm!("fxsave64 [{}]", in(reg) area, options(nostack));
        }
    }
}

/// Loads the registers. Bytes that the CPU refuses (a signal frame can hold any) load the
/// initial state instead.
#[inline]
pub(in crate::arch) fn restore_fp(state: &FpState) {
    let refused: usize;
    let area = state.area.as_ptr();
    // SAFETY: the area has the size and alignment that the instructions need; a fault at them
    // is fixed up and reported.
    unsafe {
        if has(&FEATURES.xsave) {
            asm!(
                "xor {refused:e}, {refused:e}",
                "2: xrstor64 [{area}]",
                "3:",
                ".pushsection .text.unlikely, \"ax\"",
                "4: mov {refused:e}, 1",
                "jmp 3b",
                ".popsection",
                exception!("2b", "3b", "4b", "1"),
                area = in(reg) area, refused = out(reg) refused,
                in("eax") FP_COMPONENTS, in("edx") 0, options(nostack),
            );
        } else {
            asm!(
                "xor {refused:e}, {refused:e}",
                "2: fxrstor64 [{area}]",
                "3:",
                ".pushsection .text.unlikely, \"ax\"",
                "4: mov {refused:e}, 1",
                "jmp 3b",
                ".popsection",
                exception!("2b", "3b", "4b", "1"),
                area = in(reg) area, refused = out(reg) refused, options(nostack),
            );
        }
    }
    if refused != 0 {
        restore_fp(&FpState::INITIAL);
    }
}

/// Loads what a new program has.
pub(super) fn reset_fp() {
    restore_fp(&FpState::INITIAL);
}

/// Bytes of the registers in a signal frame. Behind XSAVE's area, and in the part of the first 512
/// bytes that the CPU leaves to software (`struct _fpx_sw_bytes`), stand marks by which user space
/// recognises it (Linux, uapi/asm/sigcontext.h); zeros where the CPU has no XSAVE, and its area is
/// 512 bytes.
pub(super) const FP_FRAME_SIZE: usize = FP_SIZE + 4;
/// `FP_XSTATE_MAGIC1` and `FP_XSTATE_MAGIC2`.
const MARK: u32 = 0x4650_5853;
const END_MARK: u32 = 0x4650_5845;

/// Whether a user can have a signal frame's registers there, where the CPU takes them.
fn is_fp_frame(at: usize) -> bool {
    at <= USER_END - FP_FRAME_SIZE && at.is_multiple_of(64)
}

/// Saves the registers in a user's memory as a signal frame has them; `false` if it is not there.
/// May sleep.
pub(super) fn save_fp_to_user(at: usize) -> bool {
    if !is_fp_frame(at) {
        return false;
    }
    let failed: usize;
    // SAFETY: it is the user's memory; a fault at it is resolved, or else fixed up. XSAVE changes
    // bits of the header's first word, which is written before.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            allow_user_access!(),
            "2:",
            // What the CPU leaves to software, behind what the marks need.
            "mov qword ptr [{at} + 488], {failed}",
            "mov qword ptr [{at} + 496], {failed}",
            "mov qword ptr [{at} + 504], {failed}",
            // The header.
            "mov qword ptr [{at} + 512], {failed}",
            "mov qword ptr [{at} + 520], {failed}",
            "mov qword ptr [{at} + 528], {failed}",
            "mov qword ptr [{at} + 536], {failed}",
            "mov qword ptr [{at} + 544], {failed}",
            "mov qword ptr [{at} + 552], {failed}",
            "mov qword ptr [{at} + 560], {failed}",
            "mov qword ptr [{at} + 568], {failed}",
            "test {xsave}, {xsave}",
            "jz 5f",
            // The mark, the length with the end mark, the components, the length.
            "mov dword ptr [{at} + 464], {mark}",
            "mov dword ptr [{at} + 468], {size} + 4",
            "mov qword ptr [{at} + 472], {components}",
            "mov qword ptr [{at} + 480], {size}",
            "mov dword ptr [{at} + {size}], {end_mark}",
            "xsave64 [{at}]",
            "jmp 3f",
            "5: mov qword ptr [{at} + 464], {failed}",
            "mov qword ptr [{at} + 472], {failed}",
            "mov qword ptr [{at} + 480], {failed}",
            "fxsave64 [{at}]",
            "3:",
            forbid_user_access!(),
            ".pushsection .text.unlikely, \"ax\"",
            "4: mov {failed:e}, 1",
            "jmp 3b",
            ".popsection",
            exception!("2b", "3b", "4b", "{resolve}"),
            at = in(reg) at,
            failed = out(reg) failed,
            xsave = in(reg_byte) u8::from(has(&FEATURES.xsave)),
            mark = const MARK,
            size = const FP_SIZE,
            end_mark = const END_MARK,
            components = const FP_COMPONENTS,
            resolve = const Fixup::RESOLVE,
            in("eax") FP_COMPONENTS,
            in("edx") 0,
            options(nostack),
        );
    }
    failed == 0
}

/// Loads the registers from a user's memory, where a signal frame has them; `false` if it is not
/// there or holds what the CPU refuses: then they are as in a new program. May sleep.
pub(super) fn restore_fp_from_user(at: usize) -> bool {
    if !is_fp_frame(at) {
        return false;
    }
    let failed: usize;
    // SAFETY: it is the user's memory; a fault at it is resolved, or else fixed up, as is one for
    // what is in it. The CPU loads nothing but the user's registers.
    unsafe {
        asm!(
            "xor {failed:e}, {failed:e}",
            allow_user_access!(),
            "test {xsave}, {xsave}",
            "jz 5f",
            "2: xrstor64 [{at}]",
            "jmp 3f",
            "5: fxrstor64 [{at}]",
            "3:",
            forbid_user_access!(),
            ".pushsection .text.unlikely, \"ax\"",
            "4: mov {failed:e}, 1",
            "jmp 3b",
            ".popsection",
            exception!("2b", "3b", "4b", "{resolve}"),
            at = in(reg) at,
            failed = out(reg) failed,
            xsave = in(reg_byte) u8::from(has(&FEATURES.xsave)),
            resolve = const Fixup::RESOLVE,
            in("eax") FP_COMPONENTS,
            in("edx") 0,
            options(nostack),
        );
    }
    if failed != 0 {
        reset_fp();
    }
    failed == 0
}
