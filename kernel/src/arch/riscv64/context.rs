//! Switching between tasks: callee-saved registers and stack, floating-point state.
//!
//! The floating-point unit is off until a task uses it: that traps, and [`enable_fp`] switches it
//! on, with all registers zero. From then on the task's registers are saved and loaded.

use core::arch::{asm, naked_asm};

use super::asm::{clear_csr, read_csr, set_csr, status};
use super::cpu::{FEATURES, has};
pub(in crate::arch) use super::cpu::{set_thread_pointer, thread_pointer};

/// s0 to s11, the return address, the stack pointer (RISC-V calling conventions; the kernel keeps
/// nothing in floating-point registers).
#[derive(Debug, Default)]
#[repr(C)]
pub struct Context {
    callee_saved: [usize; 12],
    return_address: usize,
    stack_pointer: usize,
}

/// See [`crate::arch::Architecture::new_context`].
pub(in crate::arch) fn new(
    stack_top: usize,
    entry: extern "C" fn(usize) -> !,
    argument: usize,
) -> Context {
    let mut callee_saved = [0; 12];
    callee_saved[1] = argument;
    callee_saved[2] = entry as usize;
    Context {
        callee_saved,
        return_address: start_task as *const () as usize,
        stack_pointer: stack_top & !15,
    }
}

/// The first code of a new task: s1 is its argument, s2 its entry; s0 ends its call chain.
#[unsafe(naked)]
extern "C" fn start_task() {
    naked_asm!("mv a0, s1", "jalr s2", "ebreak")
}

/// Saves the running task in `from` and continues `to`.
///
/// # Safety
/// As for [`crate::arch::Architecture::switch`].
#[unsafe(naked)]
pub(in crate::arch) unsafe extern "C" fn switch(from: *mut Context, to: *const Context) {
    naked_asm!(
        "sd s0, 0(a0)",
        "sd s1, 8(a0)",
        "sd s2, 16(a0)",
        "sd s3, 24(a0)",
        "sd s4, 32(a0)",
        "sd s5, 40(a0)",
        "sd s6, 48(a0)",
        "sd s7, 56(a0)",
        "sd s8, 64(a0)",
        "sd s9, 72(a0)",
        "sd s10, 80(a0)",
        "sd s11, 88(a0)",
        "sd ra, 96(a0)",
        "sd sp, 104(a0)",
        "ld s0, 0(a1)",
        "ld s1, 8(a1)",
        "ld s2, 16(a1)",
        "ld s3, 24(a1)",
        "ld s4, 32(a1)",
        "ld s5, 40(a1)",
        "ld s6, 48(a1)",
        "ld s7, 56(a1)",
        "ld s8, 64(a1)",
        "ld s9, 72(a1)",
        "ld s10, 80(a1)",
        "ld s11, 88(a1)",
        "ld ra, 96(a1)",
        "ld sp, 104(a1)",
        "ret",
    )
}

/// There is no other.
pub(in crate::arch) fn other_thread_pointer() -> Option<usize> {
    None
}

/// There is none to set.
pub(in crate::arch) fn set_other_thread_pointer(_: usize) {}

/// f0 to f31 and fcsr.
#[repr(C)]
struct FpRegisters {
    registers: [u64; 32],
    control: u64,
}

impl FpRegisters {
    /// What a new program has.
    const ZERO: Self = Self { registers: [0; 32], control: 0 };
}

const REGISTERS_SIZE: usize = size_of::<FpRegisters>();
/// Where it is noted whether they are anything but zero.
const USED: usize = REGISTERS_SIZE;
const FP_SIZE: usize = USED + 8;

/// [`FpRegisters`], and whether they are anything but zero. Zero is what a new program has.
#[derive(Clone)]
#[repr(C, align(8))]
pub struct FpState {
    area: [u8; FP_SIZE],
}

impl FpState {
    fn is_used(&self) -> bool {
        self.area[USED] != 0
    }
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

/// Whether the unit is on for the running task.
pub(super) fn is_on() -> bool {
    read_csr!("sstatus") & status::FLOATING != 0
}

fn switch_on() {
    // SAFETY: the kernel has no floating-point code but this file's.
    unsafe { set_csr!("sstatus", status::FLOATING_CLEAN) };
}

/// Switches the unit on for the running task, if it is off and there is one.
pub(super) fn enable_fp() -> bool {
    let enable = !is_on() && has(&FEATURES.floating);
    if enable {
        switch_on();
        load(&FpRegisters::ZERO);
    }
    enable
}

/// Saves the registers.
#[inline]
pub(in crate::arch) fn save_fp(state: &mut FpState) {
    if !is_on() {
        if state.is_used() {
            *state = FpState::default();
        }
        return;
    }
    // SAFETY: the area begins with the registers, and has their alignment.
    store(unsafe { &mut *state.area.as_mut_ptr().cast::<FpRegisters>() });
    state.area[USED] = 1;
}

/// Loads the registers.
#[inline]
pub(in crate::arch) fn restore_fp(state: &FpState) {
    if !state.is_used() || !has(&FEATURES.floating) {
        // SAFETY: the kernel has no floating-point code but this file's.
        unsafe { clear_csr!("sstatus", status::FLOATING) };
        return;
    }
    switch_on();
    // SAFETY: as in `save_fp`; any bytes are integers.
    load(unsafe { &*state.area.as_ptr().cast::<FpRegisters>() });
}

/// Stores the registers; the unit is on.
fn store(to: &mut FpRegisters) {
    // SAFETY: the unit is on; there is room for what is stored.
    unsafe {
        asm!(
            ".option push",
            ".option arch, +d",
            ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "fsd f\\number, (8 * \\number)({0})",
            ".endr",
            ".irp number, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "fsd f\\number, (8 * \\number)({0})",
            ".endr",
            "csrr {1}, fcsr",
            "sd {1}, 256({0})",
            ".option pop",
            in(reg) to, out(reg) _, options(nostack, preserves_flags),
        );
    }
}

/// Loads the registers; the unit is on. Control bits that are not there stay zero.
fn load(from: &FpRegisters) {
    // SAFETY: the unit is on; any bytes are valid registers, and of the control register only bits
    // are set that a user may choose.
    unsafe {
        asm!(
            ".option push",
            ".option arch, +d",
            ".irp number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
            "fld f\\number, (8 * \\number)({0})",
            ".endr",
            ".irp number, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
            "fld f\\number, (8 * \\number)({0})",
            ".endr",
            "lbu {1}, 256({0})",
            "csrw fcsr, {1}",
            ".option pop",
            in(reg) from, out(reg) _, options(nostack, preserves_flags),
        );
    }
}
