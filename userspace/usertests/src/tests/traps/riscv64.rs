//! What RISC-V has of such instructions. There is no 32-bit mode to enter from here, a user cannot
//! ask for single steps, and no jump is misaligned: instructions are two bytes long or more, and
//! an address's last bit is dropped.

use super::Case;
use crate::check::{Outcome, skip};
use core::arch::asm;
use lemma_rt::general::{SIGBUS, SIGILL, SIGSEGV, SIGTRAP};

pub(super) const OTHER_MODES: &[Case] = &[];
pub(super) const STEPS: &[Case] = &[];

pub(super) const BREAKPOINTS: &[Case] = &[
    ("ebreak", ebreak, &[SIGTRAP]),
    ("unimp", unimp, &[SIGILL]),
    ("all ones", all_ones, &[SIGILL]),
    ("a request of semihosting", semihosting, &[SIGTRAP]),
];

const REFUSED: &[u32] = &[SIGILL];

pub(super) const PRIVILEGED: &[Case] = &[
    ("sret", sret, REFUSED),
    ("mret", mret, REFUSED),
    ("sfence.vma", fence, REFUSED),
    ("csrr sstatus", read_status, REFUSED),
    ("csrs sstatus", open_memory, REFUSED),
    ("csrw satp", write_root, REFUSED),
    ("csrw stvec", write_vector, REFUSED),
    ("csrr sscratch", read_scratch, REFUSED),
    ("csrw sie", mask, REFUSED),
    ("csrw stimecmp", stop_timer, REFUSED),
    ("csrr mhartid", read_hart, REFUSED),
    ("csrw time", write_time, REFUSED),
];

pub(super) const JUMPS: &[Case] = &[
    ("not canonical", jump_to_no_address, &[SIGSEGV, SIGBUS]),
    ("kernel", jump_into_kernel, &[SIGSEGV, SIGBUS]),
    ("no stack", || stackless(), &[SIGSEGV, SIGBUS]),
];

macro_rules! instructions {
    ($($name:ident: $text:literal;)*) => { $(
        fn $name() {
            // SAFETY: not allowed in user mode, or a breakpoint: ends the process.
            unsafe { asm!($text, out("a0") _, out("a1") _) };
        }
    )* };
}
instructions! {
    ebreak: "ebreak";
    unimp: "unimp";
    all_ones: ".word 0xffffffff";
    // The last error, which changes nothing.
    semihosting: ".option push\n.option norvc\n.balign 16\nli a0, 0x13\nnop\nnop\nnop\n\
                  slli zero, zero, 0x1f\nebreak\nsrai zero, zero, 7\n.option pop";
    sret: "sret";
    mret: "mret";
    fence: "sfence.vma";
    read_status: "csrr a0, sstatus";
    open_memory: "li a0, 0x40000\ncsrs sstatus, a0";
    write_root: "csrw satp, zero";
    write_vector: "csrw stvec, zero";
    read_scratch: "csrr a0, sscratch";
    mask: "csrw sie, zero";
    stop_timer: "csrw 0x14d, zero";
    read_hart: "csrr a0, mhartid";
    write_time: "csrw time, zero";
}

fn jump_to_no_address() {
    // SAFETY: ends the process.
    unsafe { asm!("jr {}", in(reg) 1usize << 63 | 1 << 62) };
}

fn jump_into_kernel() {
    // SAFETY: ends the process.
    unsafe { asm!("jr {}", in(reg) 0xffff_ffff_8020_0000_usize) };
}

/// A system call without a stack: the kernel has its own.
fn stackless() {
    // SAFETY: exits; the stack pointer is not used any more.
    unsafe {
        asm!("mv sp, {}", "ecall", "unimp", in(reg) 1usize << 63 | 1 << 62, in("a7") 94usize,
            in("a0") 0usize, options(noreturn));
    }
}

pub(super) fn calls_by_interrupt() -> Outcome {
    skip!("this machine has one way in for system calls");
}
