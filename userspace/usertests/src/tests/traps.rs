//! Ways into the kernel that no program needs: instructions and processor modes that a hostile
//! one may try. Each ends at most the process that tried it.

use super::family;
use crate::calls::in_child;
use crate::check::{Outcome, check, ok};
use lemma_rt::general::{SIGBUS, SIGILL, SIGSEGV, SIGTRAP};

family!("traps":
    compatibility_mode, breakpoints, single_step, privileged, bad_jumps
);

#[cfg(target_arch = "x86_64")]
mod instructions {
    use core::arch::{asm, naked_asm};

    /// `syscall` in 32-bit mode, into which the far jump changes where there is such a mode.
    /// Some CPUs have a second entry point for it.
    #[unsafe(naked)]
    pub(super) extern "C" fn compatibility_syscall() {
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
    pub(super) extern "C" fn compatibility_interrupt() {
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

    pub(super) fn int1() {
        // SAFETY: ends the process.
        unsafe { asm!(".byte 0xf1") };
    }

    pub(super) fn int3() {
        // SAFETY: ends the process.
        unsafe { asm!("int3") };
    }

    /// Sets the trap flag and makes a system call.
    pub(super) fn step_into_syscall() {
        // SAFETY: ends the process, by the trap after the call.
        unsafe {
            asm!("pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov eax, 39", "syscall",
                out("rax") _, out("rcx") _, out("r11") _);
        }
    }

    /// The same behind a load of SS, which holds the trap off for one instruction.
    pub(super) fn step_behind_stack_segment() {
        // SAFETY: ends the process.
        unsafe {
            asm!("mov ecx, ss", "pushfq", "or dword ptr [rsp], 0x100", "popfq", "mov ss, ecx",
                "syscall", inout("rax") 39usize => _, out("rcx") _, out("r11") _);
        }
    }

    macro_rules! instructions {
        ($($name:ident: $text:literal;)*) => { $(
            pub(super) fn $name() {
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

    pub(super) fn jump_to_no_address() {
        // SAFETY: ends the process.
        unsafe { asm!("jmp {}", in(reg) 1usize << 63 | 1 << 62) };
    }

    pub(super) fn jump_into_kernel() {
        // SAFETY: ends the process.
        unsafe { asm!("jmp {}", in(reg) 0xffff_ffff_8010_0000_usize) };
    }

    /// A system call without a stack: the kernel has its own.
    pub(super) fn stackless() {
        // SAFETY: exits; the stack pointer is not used any more.
        unsafe {
            asm!("mov rsp, {}", "syscall", "ud2", in(reg) 1usize << 63 | 1 << 62, in("eax") 231,
                in("edi") 0, options(noreturn));
        }
    }
}

/// Runs each in a child, which may end as it should: with a status of 0, or by one of `signals`.
fn each(what: &[(&str, fn())], signals: &[u32]) -> Outcome {
    for &(name, run) in what {
        let status = ok!(in_child(|| {
            run();
            0
        }));
        let expected = match status.signaled() {
            Some(signal) => signals.contains(&(signal as u32)),
            None => status.exited() == Some(0),
        };
        check!(expected, ": {name}: {status:?}");
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn compatibility_mode() -> Outcome {
    use instructions::{compatibility_interrupt, compatibility_syscall};
    let what: [(&str, fn()); 2] =
        [("syscall", || compatibility_syscall()), ("int 0x80", || compatibility_interrupt())];
    each(&what, &[SIGILL, SIGSEGV])
}

#[cfg(target_arch = "x86_64")]
fn breakpoints() -> Outcome {
    // `int1` is not documented everywhere.
    each(&[("int1", instructions::int1), ("int3", instructions::int3)], &[SIGTRAP, SIGILL])
}

#[cfg(target_arch = "x86_64")]
fn single_step() -> Outcome {
    use instructions::{step_behind_stack_segment, step_into_syscall};
    let what: [(&str, fn()); 2] =
        [("syscall", step_into_syscall), ("after mov ss", step_behind_stack_segment)];
    each(&what, &[SIGTRAP])
}

#[cfg(target_arch = "x86_64")]
fn privileged() -> Outcome {
    use instructions as i;
    let what: [(&str, fn()); 11] = [
        ("hlt", i::hlt),
        ("cli", i::cli),
        ("sysenter", i::sysenter),
        ("sysret", i::sysret),
        ("swapgs", i::swapgs),
        ("mov cr3", i::read_cr3),
        ("rdmsr", i::read_msr),
        ("in", i::port),
        ("clac", i::clac),
        ("int 8", i::double_fault_gate),
        ("int 0x30", i::device_gate),
    ];
    each(&what, &[SIGILL, SIGSEGV])
}

#[cfg(target_arch = "x86_64")]
fn bad_jumps() -> Outcome {
    use instructions::{jump_into_kernel, jump_to_no_address, stackless};
    let what: [(&str, fn()); 3] = [
        ("not canonical", jump_to_no_address),
        ("kernel", jump_into_kernel),
        ("no stack", || stackless()),
    ];
    each(&what, &[SIGSEGV, SIGBUS])
}
