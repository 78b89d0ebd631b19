//! The kernel before any user program: its self-tests, its last words, a repeatable clock.

use lemma::build::Options;
use lemma::compile::{KernelVariant, Profile};
use lemma::machine::Arch;
use lemma::qemu::Outcome;

use crate::guest::{boot_with, on_each_architecture};

on_each_architecture!(
    self_tests_pass,
    a_panic_tells_where_and_is_never_success,
    a_fault_in_a_program_tells_which_instruction_and_line,
    a_failure_in_a_system_call_tells_all_about_it,
    protection_is_enforced,
    counting_instructions_every_run_is_alike,
    every_kernel_variant_boots,
);

/// Boots with this on the command line, expects this outcome; returns what was printed.
fn boots_to(arch: Arch, words: &str, outcome: &Outcome) -> String {
    let options = Options { arch, append: vec![words.to_owned()], ..Options::default() };
    boot_with(options).finish(outcome)
}

fn self_tests_pass(arch: Arch) {
    for name in ["protection", "nofault", "fp", "memory", "clock", "disk"] {
        boots_to(arch, &format!("selftest={name}"), &Outcome::Exited(0));
    }
    boots_to(arch, "selftest=no-such-test", &Outcome::Exited(1));
    if arch == Arch::Riscv64 {
        boots_to(arch, "selftest=protection no4lvl", &Outcome::Exited(0));
    }
}

fn a_panic_tells_where_and_is_never_success(arch: Arch) {
    let console = boots_to(arch, "selftest=panic", &Outcome::Panicked);
    for words in ["KERNEL PANIC", "selftest.rs", "backtrace:", "kernel::init+0x", "kernel_main+"] {
        assert!(console.contains(words), "no {words:?} in:\n{console}");
    }
}

fn a_fault_in_a_program_tells_which_instruction_and_line(arch: Arch) {
    for engine in ["bpf_jit=1", "bpf_jit=0"] {
        let console =
            boots_to(arch, &format!("selftest=program-fault {engine}"), &Outcome::Panicked);
        let report = "program: 1 provoked (RawTracepoint), instruction 1 (provoked.bpf.c:21)\n";
        assert!(console.contains(report), "no {report:?} in:\n{console}");
    }
}

/// The rest of the line that begins so.
fn line<'a>(console: &'a str, start: &str) -> &'a str {
    let mut lines = console.lines().filter_map(|line| line.strip_prefix(start));
    let found = lines.next().unwrap_or_else(|| panic!("no {start:?} in:\n{console}"));
    assert_eq!(lines.next(), None, "{start:?} twice in:\n{console}");
    found
}

/// The kernel fails in a system call that `cat` makes, once in Rust and once in a BPF program: the
/// report tells the registers, the task, the system call, the program, and who called whom.
fn a_failure_in_a_system_call_tells_all_about_it(arch: Arch) {
    let (open, registers): (_, &[&str]) = match arch {
        Arch::X86_64 => (2, &["rip 0x", "rsp 0x", "rflags 0x", "rax ", "r15 "]),
        Arch::Aarch64 => (56, &["pc 0x", "sp 0x", "pstate 0x", "x0 ", "x29 "]),
        Arch::Riscv64 => (56, &["pc 0x", "status 0x", "ra ", "sp ", "a7 "]),
    };
    for (file, head, program, engine) in [
        ("panic", "provoked by the command line", "none", "bpf_jit=1"),
        ("program-fault", "page fault in kernel mode", "provoked", "bpf_jit=1"),
        ("program-fault", "page fault in kernel mode", "provoked", "bpf_jit=0"),
    ] {
        let console = boot_with(Options {
            arch,
            append: vec!["selftest=in-call".to_owned(), engine.to_owned()],
            program: vec!["cat".to_owned(), format!("/proc/selftest/{file}")],
            ..Options::default()
        })
        .finish(&Outcome::Panicked);
        let (_, report) = console.split_once("KERNEL PANIC on CPU 0: ").unwrap_or_default();
        assert!(report.starts_with(head), "not {head:?} in:\n{console}");
        for register in registers {
            assert!(report.contains(register), "no {register:?} in:\n{console}");
        }
        let words: Vec<&str> = line(report, "task: ").split(' ').collect();
        let [tid, "of", "process", pid, "(cat),", "in", "system", "call", call, "with", ..] =
            words.as_slice()
        else {
            panic!("{words:?} in:\n{console}");
        };
        assert_eq!(tid, pid, "{console}");
        assert!(tid.parse::<u32>().unwrap() > 1, "{console}");
        assert_eq!(call.parse(), Ok(open), "{console}");
        let running = line(report, "program: ");
        let (_, named) = running.split_once(' ').unwrap_or(("", running));
        let instruction = "provoked (RawTracepoint), instruction 1 (provoked.bpf.c:21)";
        assert_eq!(named, if program == "none" { "none" } else { instruction }, "{console}");
        let (_, calls) = report.split_once("backtrace:\n").unwrap_or_default();
        for words in ["kernel::file::procfs::", "kernel::syscall::descriptor::open"] {
            assert!(calls.contains(words), "no {words:?} in the backtrace of:\n{console}");
        }
        assert!(calls.contains("end of kernel panic"), "cut off:\n{console}");
    }
}

fn protection_is_enforced(arch: Arch) {
    // How the machine names its program counter, and says that a page forbids an access: to read
    // it, and to run it.
    let (pc, read, run) = match arch {
        Arch::X86_64 => ("rip 0x", "0x1", "0x11"),
        Arch::Aarch64 => ("pc 0x", "0x9600000f", "0x8600000f"),
        Arch::Riscv64 => ("pc 0x", "0xd", "0xc"),
    };
    let console = boots_to(arch, "selftest=write-text", &Outcome::Panicked);
    for words in ["page fault in kernel mode", pc, "kernel::selftest::"] {
        assert!(console.contains(words), "no {words:?} in:\n{console}");
    }
    // The kernel reads and runs nothing of users', but through the copy functions.
    for (test, error) in [("read-user", read), ("run-user", run)] {
        let error = format!("error code {error}\n");
        let console = boots_to(arch, &format!("selftest={test}"), &Outcome::Panicked);
        assert!(console.contains(&error), "no {error:?} in:\n{console}");
    }
    let console = boots_to(arch, "selftest=stack-overflow", &Outcome::Panicked);
    assert!(console.contains("stack overflow"), "{console}");
}

fn counting_instructions_every_run_is_alike(arch: Arch) {
    let run = || {
        let append = vec!["selftest=clock".to_owned()];
        // When an entropy device answers, the host decides.
        boot_with(Options { arch, icount: true, entropy: false, append, ..Options::default() })
            .finish(&Outcome::Exited(0))
    };
    assert_eq!(run(), run());
}

/// The embedded profile everywhere; the others, which differ above the machine's layer, on one:
/// building a kernel takes longest of all.
fn every_kernel_variant_boots(arch: Arch) {
    let mut variants =
        vec![KernelVariant { profile: Profile::Embedded, ..KernelVariant::default() }];
    if arch == Arch::default() {
        variants.push(KernelVariant { dev: true, ..KernelVariant::default() });
        variants.push(KernelVariant { hooks: false, ..KernelVariant::default() });
    }
    for kernel in variants {
        let append = vec!["selftest=protection".to_owned()];
        boot_with(Options { arch, kernel, append, ..Options::default() })
            .finish(&Outcome::Exited(0));
    }
}

/// Each interrupt controller and each exception level that firmware may start the kernel at, on
/// an old CPU and on one with everything.
#[test]
fn aarch64_boots_on_each_kind_of_machine() {
    for cpu in ["cortex-a72", "max"] {
        for controller in ["gic-version=2", "gic-version=3"] {
            for level in ["virtualization=off", "virtualization=on"] {
                let options = Options {
                    arch: Arch::Aarch64,
                    cpu: Some(cpu.to_owned()),
                    machine: vec![controller.to_owned(), level.to_owned()],
                    ..Options::default()
                };
                let append = vec!["selftest=protection".to_owned()];
                boot_with(Options { append, ..options.clone() }).finish(&Outcome::Exited(0));
                // Firmware is called by another instruction where there is a hypervisor's level: to
                // start CPUs, to reset the machine, to turn it off.
                let mut guest = boot_with(Options { bare: true, cpus: 2, ..options });
                let console = guest.prompt();
                assert!(console.contains("2 of 2 CPUs at work"), "{console}");
                guest.reboot();
                assert_eq!(guest.succeed("echo again | cat").trim(), "again");
                guest.session.send("poweroff\n").unwrap();
                guest.finish(&Outcome::PoweredOff);
            }
        }
    }
}
