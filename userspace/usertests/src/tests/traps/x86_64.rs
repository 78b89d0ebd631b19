//! What x86_64 has of such instructions.

use super::Case;
use crate::calls::{self, in_child};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use core::arch::{asm, naked_asm};
use lemma_rt::general::{__NR_getpid, __NR_mmap, __NR_read, __NR_write};
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

/// A system call by interrupt 0x80: number and arguments where `syscall` has them. Every register
/// but rax stays as it was, rcx and r11 too.
fn by_interrupt(number: usize, arguments: [usize; 6]) -> lemma_rt::Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    let (mut result, mut rcx, mut r11) = (number, 0x1234_5678_9abc_def0_usize, usize::MAX - 1);
    let kept = (rcx, r11);
    // SAFETY: as for `calls::raw`; Linux changes r8 to r11.
    unsafe {
        asm!("int 0x80", inlateout("rax") result, in("rdi") a, in("rsi") b, in("rdx") c,
            inlateout("r10") d => _, inlateout("r8") e => _, inlateout("r9") f => _,
            inlateout("rcx") rcx, inlateout("r11") r11);
    }
    if (rcx, r11) != kept {
        return Err(lemma_rt::Errno::ILSEQ);
    }
    lemma_rt::sys::check(result as isize)
}

/// Lemma has the numbers, the registers and the width of `syscall` there; Linux those of i386.
pub(super) fn calls_by_interrupt() -> Outcome {
    /// `getpid`; with 64-bit numbers, `writev` to a descriptor that there is not.
    const I386_GETPID: usize = 20;
    let status = ok!(in_child(|| {
        let found = by_interrupt(I386_GETPID, [usize::MAX, 0, 0, 0, 0, 0]);
        i32::from(found != Err(lemma_rt::Errno::BADF))
    }));
    if status.exited() != Some(0) {
        skip!("interrupt 0x80 is not for 64-bit calls here");
    }
    let own = calls::getpid() as usize;
    equal!(by_interrupt(__NR_getpid as usize, [0; 6]), Ok(own));
    fails!(by_interrupt(100_000, [0; 6]), NOSYS);
    fails!(by_interrupt(usize::MAX, [0; 6]), NOSYS);
    // All six arguments, and addresses of more than 32 bits.
    let memory = ok!(by_interrupt(__NR_mmap as usize, [0, 4096, 3, 0x22, usize::MAX, 0]));
    check!(memory > u32::MAX as usize, " mapped at {memory:x}");
    for (offset, byte) in b"by interrupt".iter().enumerate() {
        calls::poke(memory + offset, *byte);
    }
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let [read, write] = ends.map(|end| end as usize);
    equal!(by_interrupt(__NR_write as usize, [write, memory, 12, 0, 0, 0]), Ok(12));
    let mut buffer = [0; 16];
    let room = buffer.as_mut_ptr() as usize;
    equal!(by_interrupt(__NR_read as usize, [read, room, 16, 0, 0, 0]), Ok(12));
    equal!(&buffer[..12], b"by interrupt");
    fails!(by_interrupt(__NR_write as usize, [write, 8, 12, 0, 0, 0]), FAULT);
    Ok(())
}
