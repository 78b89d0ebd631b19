//! The embedded profile keeps to what a small machine has.

use std::fs;

use lemma::build::Options;
use lemma::compile::{self, KernelVariant, Profile};
use lemma::machine::Arch;
use lemma::qemu::Outcome;
use lemma::workspace::Workspace;
use object::Endianness;
use object::elf::PT_LOAD;
use object::read::elf::{ElfFile64, ProgramHeader};

use crate::guest::{boot_with, on_each_architecture};
use crate::{bpf, smp, usertests};

on_each_architecture!(
    the_kernel_is_below_2_mib,
    programs_run_in_16_mib,
    the_embedded_profile_does_what_the_other_does,
    the_embedded_profile_does_so_on_four_cpus,
    its_panic_names_functions,
);

fn kernel() -> KernelVariant {
    KernelVariant { profile: Profile::Embedded, ..KernelVariant::default() }
}

fn options(arch: Arch) -> Options {
    Options { arch, kernel: kernel(), memory_mib: 16, ..Options::default() }
}

/// What is booted, symbols included; and what the linker has made of code and data.
fn the_kernel_is_below_2_mib(arch: Arch) {
    const LIMIT: u64 = 2 << 20;
    let workspace = Workspace::locate().unwrap();
    let built = compile::kernel(&workspace, arch, kernel()).unwrap();
    let image = built.image.metadata().unwrap().len();
    let linked = fs::read(&built.linked).unwrap();
    let linked = ElfFile64::<Endianness>::parse(&*linked).unwrap();
    let endian = linked.endian();
    let loaded = linked.elf_program_headers().iter();
    let loaded = loaded.filter(|header| header.p_type(endian) == PT_LOAD);
    let loaded: u64 = loaded.map(|header| header.p_filesz(endian)).sum();
    assert!(image < LIMIT && loaded < LIMIT, "image: {image} bytes, loaded: {loaded} bytes");
    assert!(loaded > 0 && image > loaded, "image: {image} bytes, loaded: {loaded} bytes");
}

fn programs_run_in_16_mib(arch: Arch) {
    let mut guest = boot_with(options(arch));
    let banner = guest.prompt();
    assert!(banner.contains("syscount has counted"), "no program at work in: {banner}");
    let list = guest.succeed("bpf list");
    assert!(list.contains("syscount") && list.contains("sys_enter"), "{list}");
    bpf::runs_on(&mut guest, "interpreter");
    assert!(guest.succeed("ls /bin | cat").contains("usertests"));
    guest.shut_down(0);
}

fn the_embedded_profile_does_what_the_other_does(arch: Arch) {
    does_what_the_other_does(arch, 1);
}

fn the_embedded_profile_does_so_on_four_cpus(arch: Arch) {
    does_what_the_other_does(arch, 4);
}

/// The user programs' tests, and the examples.
fn does_what_the_other_does(arch: Arch, cpus: u32) {
    // Once with the least that a RISC-V machine has for users: the addresses of Sv39.
    let narrow = arch == Arch::Riscv64 && cpus > 1;
    let append = narrow.then(|| "no4lvl".to_owned()).into_iter().collect();
    // And once with the other of Arm's interrupt controllers.
    let gicv3 = arch == Arch::Aarch64 && cpus > 1;
    let machine = gicv3.then(|| smp::GICV3.to_owned()).into_iter().collect();
    let options = Options { arch, kernel: kernel(), cpus, append, machine, ..Options::default() };
    let mut guest = boot_with(options);
    guest.prompt();
    if arch == Arch::Riscv64 {
        let mode = format!("mmu\t\t: {}", if narrow { "sv39" } else { "sv48" });
        let cpuinfo = guest.succeed("cat /proc/cpuinfo");
        assert_eq!(cpuinfo.matches(&mode).count() as u32, cpus, "{cpuinfo}");
    }
    // The tests' files are on the disk with one CPU, as they are with four in the other profile.
    let place = if cpus == 1 { "--dir /root" } else { "" };
    usertests::pass(&mut guest, arch, cpus, place);
    bpf::examples(guest, arch);
}

fn its_panic_names_functions(arch: Arch) {
    let append = vec!["selftest=panic".to_owned()];
    let console = boot_with(Options { append, ..options(arch) }).finish(&Outcome::Panicked);
    for words in ["KERNEL PANIC", "selftest.rs", "backtrace:", "kernel::init+0x", "kernel_main+"] {
        assert!(console.contains(words), "no {words:?} in:\n{console}");
    }
}
