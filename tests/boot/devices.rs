//! Devices that are found where the machine says: VirtIO on PCI and in memory, sources of
//! randomness that are there or not.

use lemma::build::Options;
use lemma::machine::{Arch, Virtio};
use lemma::qemu::Outcome;

use crate::guest::boot_with;

/// Boots to the prompt on devices with registers in memory; the disk is read, written and
/// interrupts. A request whose interrupt does not come would never end.
fn works_in_memory(arch: Arch, machine: &[&str], virtio: Virtio) {
    let machine = machine.iter().map(|&word| word.to_owned()).collect();
    let mut guest = boot_with(Options { arch, machine, virtio, ..Options::default() });
    let log = guest.prompt();
    assert!(log.contains("interrupts by Line"), "{log}");
    guest.succeed("cat /mnt/data > /root/copy");
    guest.succeed("sync");
    guest.succeed("cat /root/copy > /dev/null");
    guest.shut_down(0);
}

#[test]
fn x86_64_finds_virtio_on_the_command_line() {
    for virtio in [Virtio::Mmio, Virtio::MmioLegacy] {
        works_in_memory(Arch::X86_64, &["microvm"], virtio);
    }
}

#[test]
fn aarch64_finds_virtio_in_the_device_tree() {
    for virtio in [Virtio::Mmio, Virtio::MmioLegacy] {
        works_in_memory(Arch::Aarch64, &[], virtio);
    }
    works_in_memory(Arch::Aarch64, &["gic-version=3"], Virtio::Mmio);
}

#[test]
fn riscv64_finds_virtio_in_the_device_tree() {
    for virtio in [Virtio::Mmio, Virtio::MmioLegacy] {
        works_in_memory(Arch::Riscv64, &[], virtio);
    }
}

#[test]
fn random_numbers_come_from_what_there_is_and_a_lack_is_told() {
    const LACK: &str = "can be guessed";
    for (cpu, entropy, words) in [
        ("max", true, "seeded by the CPU and by a device"),
        ("max", false, "seeded by the CPU\n"),
        ("qemu64", true, "seeded by a device"),
        ("qemu64", false, LACK),
    ] {
        let options = Options {
            cpu: Some(cpu.to_owned()),
            entropy,
            append: vec!["loglevel=debug".to_owned(), "selftest=random".to_owned()],
            ..Options::default()
        };
        let console = boot_with(options).finish(&Outcome::Exited(0));
        assert!(console.contains(words), "no {words:?} on {cpu}:\n{console}");
        assert_eq!(console.contains(LACK), words == LACK, "{console}");
    }
}

/// Firmware's words count as the CPU's where it has no instruction.
#[test]
fn random_numbers_come_from_the_device_on_each_architecture() {
    for arch in [Arch::Aarch64, Arch::Riscv64] {
        for (entropy, words) in
            [(true, "seeded by the CPU and by a device"), (false, "seeded by the CPU\n")]
        {
            let append = ["loglevel=debug", "selftest=random"].map(str::to_owned).into();
            let options = Options { arch, entropy, append, ..Options::default() };
            let console = boot_with(options).finish(&Outcome::Exited(0));
            assert!(console.contains(words), "no {words:?} on {}:\n{console}", arch.name());
        }
    }
}

/// Words on the command line that are no devices, or name one that is not there, do no harm.
#[test]
fn devices_that_are_not_there_are_not_used() {
    let values = ["512@0xfeb00e00:12", "512@0:5", "64@0xfeb00000:5", "1G@0x1000:5", "nonsense"];
    let mut append: Vec<String> = values.map(|value| format!("virtio_mmio.device={value}")).into();
    append.extend(["loglevel=debug", "selftest=disk"].map(str::to_owned));
    let console = boot_with(Options { append, ..Options::default() }).finish(&Outcome::Exited(0));
    assert!(console.contains("virtio"), "{console}");
}
