//! What x86_64 has of such instructions.

use super::Case;
use core::arch::{asm, naked_asm};
use lemma_rt::general::{SIGBUS, SIGILL, SIGSEGV, SIGTRAP};

pub(super) const OTHER_MODES: &[Case] = &[
    ("syscall", || compatibility_syscall(), &[SIGILL, SIGSEGV]),
    ("int 0x80", || compatibility_interrupt(), &[SIGILL, SIGSEGV]),
];

// `int1` is not documented everywhere.
pub(super) const BREAKPOINTS: &[Case] =
    &[("int1", int1, &[SIGTRAP, SIGILL]), ("int3", int3, &[SIGTRAP, SIGILL])];

pub(super) const STEPS: &[Case] = &[
    ("syscall", step_into_syscall, &[SIGTRAP]),
    ("after mov ss", step_behind_stack_segment, &[SIGTRAP]),
];

const REFUSED: &[u32] = &[SIGILL, SIGSEGV];

pub(super) const PRIVILEGED: &[Case] = &[
    ("hlt", hlt, REFUSED),
    ("cli", cli, REFUSED),
    ("sysenter", sysenter, REFUSED),
    ("sysret", sysret, REFUSED),
    ("swapgs", swapgs, REFUSED),
    ("mov cr3", read_cr3, REFUSED),
    ("rdmsr", read_msr, REFUSED),
    ("in", port, REFUSED),
    ("clac", clac, REFUSED),
    ("int 8", double_fault_gate, REFUSED),
    ("int 0x30", device_gate, REFUSED),
];

pub(super) const JUMPS: &[Case] = &[
    ("not canonical", jump_to_no_address, &[SIGSEGV, SIGBUS]),
    ("kernel", jump_into_kernel, &[SIGSEGV, SIGBUS]),
    ("no stack", || stackless(), &[SIGSEGV, SIGBUS]),
];

/// `syscall` in 32-bit mode, into which the far jump changes where there is such a mode.
/// Some CPUs have a second entry point for it.
#[unsafe(naked)]
extern "C" fn compatibility_syscall() {
    naked_asm!(
        "jmp fword ptr [rip + 3f]",
        ".code32",
        // No call has this number.
        "2: mov eax, 0xffff",
        "syscall",
        "ud2",
        ".code64",
        "3: .long 2b",
        ".short 0x23",
    )
}

/// The same with `int 0x80`.
#[unsafe(naked)]
extern "C" fn compatibility_interrupt() {
    naked_asm!(
        "jmp fword ptr [rip + 3f]",
        ".code32",
        "2: mov eax, 0xffff",
        "int 0x80",
        "ud2",
        ".code64",
        "3: .long 2b",
        ".short 0x23",
    )
}

fn int1() {
    // SAFETY: ends the process.
    unsafe { asm!(".byte 0xf1") };
}

fn int3() {
    // SAFETY: ends the process.
    unsafe { asm!("int3") };
}

/// Sets the trap flag and makes a system call.
fn step_into_syscall() {
    // SAFETY: ends the process, by the trap after the call.
    unsafe {
        asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov eax, 39", "syscall",
            out("rax") _, out("rcx") _, out("r11") _);
    }
}

/// The same behind a load of SS, which holds the trap off for one instruction.
fn step_behind_stack_segment() {
    // SAFETY: ends the process.
    unsafe {
        asm!("mov ecx, ss", "pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov ss, ecx",
            "syscall", inout("rax") 39usize => _, out("rcx") _, out("r11") _);
    }
}

macro_rules! instructions {
    ($($name:ident: $text:literal;)*) => { $(
        fn $name() {
            // SAFETY: not allowed in user mode: ends the process.
            unsafe { asm!($text, out("rax") _, out("rcx") _, out("rdx") _) };
        }
    )* };
}
instructions! {
    hlt: "hlt";
    cli: "cli";
    sysenter: "sysenter";
    sysret: "sysretq";
    swapgs: "swapgs";
    read_cr3: "mov rax, cr3";
    read_msr: "rdmsr";
    port: "in al, 0x60";
    clac: "clac";
    double_fault_gate: "int 8";
    device_gate: "int 0x30";
}

fn jump_to_no_address() {
    // SAFETY: ends the process.
    unsafe { asm!("jmp {}", in(reg) 1usize << 63 | 1 << 62) };
}

fn jump_into_kernel() {
    // SAFETY: ends the process.
    unsafe { asm!("jmp {}", in(reg) 0xffff_ffff_8010_0000_usize) };
}

/// A system call without a stack: the kernel has its own.
fn stackless() {
    // SAFETY: exits; the stack pointer is not used any more.
    unsafe {
        asm!("mov rsp, {}", "syscall", "ud2", in(reg) 1usize << 63 | 1 << 62, in("eax") 231,
            in("edi") 0, options(noreturn));
    }
}
