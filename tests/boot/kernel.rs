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
        let report = "program: 1 (RawTracepoint), instruction 1 (provoked.bpf.c:21)";
        assert!(console.contains(report), "no {report:?} in:\n{console}");
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
