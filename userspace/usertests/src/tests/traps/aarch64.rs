//! What AArch64 has of such instructions. There is no 32-bit mode to enter from here, and a user
//! cannot ask for single steps.

use super::Case;
use crate::check::{Outcome, skip};
use core::arch::asm;
use lemma_rt::general::{SIGBUS, SIGILL, SIGSEGV, SIGTRAP};

pub(super) const OTHER_MODES: &[Case] = &[];
pub(super) const STEPS: &[Case] = &[];

pub(super) const BREAKPOINTS: &[Case] =
    &[("brk", || run_brk(), &[SIGTRAP]), ("hlt", hlt, &[SIGILL]), ("udf", udf, &[SIGILL])];

const REFUSED: &[u32] = &[SIGILL];

pub(super) const PRIVILEGED: &[Case] = &[
    ("hlt #0xf000", semihosting, REFUSED),
    ("hvc", hvc, REFUSED),
    ("smc", smc, REFUSED),
    ("eret", eret, REFUSED),
    ("msr daifset", mask, REFUSED),
    ("msr spsel", stack_select, REFUSED),
    ("mrs sctlr_el1", read_control, REFUSED),
    ("msr ttbr0_el1", write_root, REFUSED),
    ("msr vbar_el1", write_vectors, REFUSED),
    ("msr tpidrro_el0", write_read_only, REFUSED),
    ("mrs tpidr_el1", read_block, REFUSED),
    ("msr cntv_ctl_el0", stop_timer, REFUSED),
    ("tlbi", tlbi, REFUSED),
    ("ic iallu", invalidate, REFUSED),
    ("at s1e1r", translate, REFUSED),
];

pub(super) const JUMPS: &[Case] = &[
    ("not canonical", jump_to_no_address, &[SIGSEGV, SIGBUS]),
    ("kernel", jump_into_kernel, &[SIGSEGV, SIGBUS]),
    ("misaligned", jump_between_instructions, &[SIGSEGV, SIGBUS]),
    ("no stack", || stackless(), &[SIGSEGV, SIGBUS]),
    ("misaligned stack", misaligned_stack, &[SIGSEGV, SIGBUS]),
];

fn run_brk() {
    // SAFETY: ends the process.
    unsafe { asm!("brk #1") };
}

macro_rules! instructions {
    ($($name:ident: $text:literal;)*) => { $(
        fn $name() {
            // SAFETY: not allowed in user mode: ends the process.
            unsafe { asm!($text, out("x0") _, out("x1") _) };
        }
    )* };
}
instructions! {
    hlt: "hlt #1";
    udf: "udf #1";
    semihosting: "mov x0, #0x20\nhlt #0xf000";
    // HVC and SMC, which assemblers know only with an extension.
    hvc: ".inst 0xd4000002";
    smc: ".inst 0xd4000003";
    eret: "eret";
    mask: "msr daifset, #2";
    stack_select: "msr spsel, #0";
    read_control: "mrs x0, sctlr_el1";
    write_root: "msr ttbr0_el1, xzr";
    write_vectors: "msr vbar_el1, xzr";
    write_read_only: "msr tpidrro_el0, xzr";
    read_block: "mrs x0, tpidr_el1";
    stop_timer: "msr cntv_ctl_el0, xzr";
    tlbi: "tlbi vmalle1";
    invalidate: "ic iallu";
    translate: "at s1e1r, x0";
}

fn jump_to_no_address() {
    // SAFETY: ends the process.
    unsafe { asm!("br {}", in(reg) 1usize << 63 | 1 << 62) };
}

fn jump_into_kernel() {
    // SAFETY: ends the process.
    unsafe { asm!("br {}", in(reg) 0xffff_ffff_8020_0000_usize) };
}

fn jump_between_instructions() {
    // SAFETY: ends the process.
    unsafe { asm!("adr x0, .", "add x0, x0, #2", "br x0", out("x0") _) };
}

/// A system call without a stack: the kernel has its own.
fn stackless() {
    // SAFETY: exits; the stack pointer is not used any more.
    unsafe {
        asm!("mov sp, {}", "svc #0", "udf #0", in(reg) 1usize << 63 | 1 << 62, in("x8") 94usize,
            in("x0") 0usize, options(noreturn));
    }
}

fn misaligned_stack() {
    // SAFETY: ends the process.
    unsafe { asm!("add sp, sp, #8", "ldr x0, [sp]", out("x0") _) };
}

pub(super) fn calls_by_interrupt() -> Outcome {
    skip!("this machine has one way in for system calls");
}
