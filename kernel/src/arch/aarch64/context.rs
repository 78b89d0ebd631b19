//! Switching between tasks: callee-saved registers and stack, floating-point state, thread
//! pointer.

use core::arch::{asm, naked_asm};

use super::asm::{read_register, write_register};

/// x19 to x29, the link register, the stack pointer (Procedure Call Standard for the Arm 64-bit
/// Architecture, 6.1.1; the kernel keeps nothing in floating-point registers).
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    callee_saved: [usize; 11],
    link: usize,
    stack_pointer: usize,
}

/// See [`crate::arch::Architecture::new_context`].
pub(in crate::arch) fn new(
    stack_top: usize,
    entry: extern "C" fn(usize) -> !,
    argument: usize,
) -> Context {
    let mut callee_saved = [0; 11];
    callee_saved[0] = argument;
    callee_saved[1] = entry as usize;
    Context { callee_saved, link: start_task as *const () as usize, stack_pointer: stack_top & !15 }
}

/// The first code of a new task: x19 is its argument, x20 its entry.
#[unsafe(naked)]
extern "C" fn start_task() {
    naked_asm!("mov x0, x19", "mov x29, xzr", "blr x20", "brk #0")
}

/// There is no other.
pub(in crate::arch) fn other_thread_pointer() -> Option<usize> {
    None
}

/// There is none to set.
pub(in crate::arch) fn set_other_thread_pointer(_: usize) {}

/// Saves the running task in `from` and continues `to`.
///
/// # Safety
/// As for [`crate::arch::Architecture::switch`].
#[unsafe(naked)]
pub(in crate::arch) unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    naked_asm!(
        "stp x19, x20, [x0, #0]",
        "stp x21, x22, [x0, #16]",
        "stp x23, x24, [x0, #32]",
        "stp x25, x26, [x0, #48]",
        "stp x27, x28, [x0, #64]",
        "stp x29, x30, [x0, #80]",
        "mov x9, sp",
        "str x9, [x0, #96]",
        "ldp x19, x20, [x1, #0]",
        "ldp x21, x22, [x1, #16]",
        "ldp x23, x24, [x1, #32]",
        "ldp x25, x26, [x1, #48]",
        "ldp x27, x28, [x1, #64]",
        "ldp x29, x30, [x1, #80]",
        "ldr x9, [x1, #96]",
        "mov sp, x9",
        "ret",
    )
}

/// The user's thread pointer.
#[inline]
pub(in crate::arch) fn thread_pointer() -> usize {
    read_register!("tpidr_el0") as usize
}

/// Sets it.
#[inline]
pub(in crate::arch) fn set_thread_pointer(value: usize) {
    // SAFETY: the register is the user's; the kernel does not use it.
    unsafe { write_register!("tpidr_el0", value) };
}

/// Bytes of the vector registers.
pub(super) const VECTORS: usize = 32 * 16;
/// Where status and control are behind them, four bytes each.
const STATUS: usize = VECTORS;
const FP_SIZE: usize = STATUS + 8 + 8;

/// FPCR bits that a user may choose: rounding, flushing to zero, default NaN, alternative half
/// precision, and the exceptions that trap.
const CONTROL_BITS: u32 = 0x07c8_9f00;

/// V0 to V31, FPSR, FPCR. Zero is what a new program has.
#[derive(Clone)]
#[repr(C, align(16))]
pub struct FpState {
    area: [u8; FP_SIZE],
}

impl Default for FpState {
    fn default() -> Self {
        Self { area: [0; FP_SIZE] }
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
    // SAFETY: the area has room for what is stored, and its alignment.
    unsafe { store(area, area.add(STATUS)) };
}

/// Loads the registers.
#[inline]
pub(in crate::arch) fn restore_fp(state: &FpState) {
    let area = state.area.as_ptr();
    // SAFETY: the area holds what is loaded.
    unsafe { load(area, area.add(STATUS)) };
}

/// Stores the vector registers, and elsewhere FPSR and FPCR.
///
/// # Safety
/// There is room for [`VECTORS`] bytes and for 8.
pub(super) unsafe fn store(vectors: *mut u8, status: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            "stp q0, q1, [{vectors}, #0]",
            "stp q2, q3, [{vectors}, #32]",
            "stp q4, q5, [{vectors}, #64]",
            "stp q6, q7, [{vectors}, #96]",
            "stp q8, q9, [{vectors}, #128]",
            "stp q10, q11, [{vectors}, #160]",
            "stp q12, q13, [{vectors}, #192]",
            "stp q14, q15, [{vectors}, #224]",
            "stp q16, q17, [{vectors}, #256]",
            "stp q18, q19, [{vectors}, #288]",
            "stp q20, q21, [{vectors}, #320]",
            "stp q22, q23, [{vectors}, #352]",
            "stp q24, q25, [{vectors}, #384]",
            "stp q26, q27, [{vectors}, #416]",
            "stp q28, q29, [{vectors}, #448]",
            "stp q30, q31, [{vectors}, #480]",
            "mrs {0}, fpsr",
            "mrs {1}, fpcr",
            "stp {0:w}, {1:w}, [{status}]",
            ".arch_extension nosimd",
            ".arch_extension nofp",
            out(reg) _, out(reg) _, vectors = in(reg) vectors, status = in(reg) status,
            options(nostack, preserves_flags),
        );
    }
}

/// Loads what [`store`] stores. Control bits that are not a user's stay zero.
///
/// # Safety
/// There are so many bytes; any are valid vectors and status.
pub(super) unsafe fn load(vectors: *const u8, status: *const u8) {
    // SAFETY: the caller's promise; the control bits are a user's.
    unsafe {
        asm!(
            ".arch_extension fp",
            ".arch_extension simd",
            "ldp q0, q1, [{vectors}, #0]",
            "ldp q2, q3, [{vectors}, #32]",
            "ldp q4, q5, [{vectors}, #64]",
            "ldp q6, q7, [{vectors}, #96]",
            "ldp q8, q9, [{vectors}, #128]",
            "ldp q10, q11, [{vectors}, #160]",
            "ldp q12, q13, [{vectors}, #192]",
            "ldp q14, q15, [{vectors}, #224]",
            "ldp q16, q17, [{vectors}, #256]",
            "ldp q18, q19, [{vectors}, #288]",
            "ldp q20, q21, [{vectors}, #320]",
            "ldp q22, q23, [{vectors}, #352]",
            "ldp q24, q25, [{vectors}, #384]",
            "ldp q26, q27, [{vectors}, #416]",
            "ldp q28, q29, [{vectors}, #448]",
            "ldp q30, q31, [{vectors}, #480]",
            "ldp {0:w}, {1:w}, [{status}]",
            "and {1:w}, {1:w}, {mask:w}",
            "msr fpsr, {0}",
            "msr fpcr, {1}",
            ".arch_extension nosimd",
            ".arch_extension nofp",
            out(reg) _, out(reg) _, vectors = in(reg) vectors, status = in(reg) status,
            mask = in(reg) CONTROL_BITS, options(nostack, preserves_flags),
        );
    }
}
