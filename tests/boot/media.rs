//! Where the system comes from: a disk that the boot loader loads into memory, and media that
//! firmware boots as it does on real machines.

use std::fs;
use std::process::Command;

use lemma::build::Options;
use lemma::display::Graphics;
use lemma::firmware::{Attached, Firmware};
use lemma::machine::Arch;
use lemma::qemu::Outcome;
use lemma::workspace::Workspace;

use crate::guest::{Boot, boot_with, on_each_architecture};
use crate::screen;
use crate::session::text;

on_each_architecture!(a_disk_in_memory_is_the_root);

fn a_disk_in_memory_is_the_root(arch: Arch) {
    let options = Options { arch, ram_disk: true, memory_mib: 64, ..Options::default() };
    let mut guest = boot_with(options);
    guest.prompt();
    let mounts = guest.succeed("mount");
    assert!(mounts.starts_with("/dev/ram0 on / type ext2 (rw)"), "{mounts}");
    guest.succeed("test -b /dev/ram0 && ! test -e /dev/vda");
    // What is written is on the disk, not only in the caches: the disk itself shows it.
    guest.succeed("echo kept > /root/file && sync");
    guest.fail("mount -t ext2 /dev/ram0 /mnt");
    let found = guest.succeed("cat /dev/ram0 | grep -c kept");
    assert_ne!(found.trim(), "0");
    guest.shut_down(0);
}

/// Lets firmware boot the medium, waits for the prompt, and looks whether all has come along.
fn boot_medium(arch: Arch, firmware: Firmware, attached: Attached, options: Options) -> Boot {
    let append = vec!["loglevel=3".to_owned()];
    let firmware = Some((firmware, attached));
    let mut guest = boot_with(Options { arch, firmware, append, ..options });
    guest.prompt();
    let mounts = guest.succeed("mount");
    assert!(mounts.starts_with("/dev/ram0 on / type ext2 (rw)"), "{mounts}");
    assert_eq!(guest.succeed("cat /proc/cmdline").trim(), "loglevel=3");
    let programs = guest.succeed("bpf list");
    assert!(programs.contains("syscount"), "{programs}");
    guest
}

/// On machines like real ones, the kernel resets the machine and turns it off by what firmware
/// says of it.
fn restart_and_power_off(mut guest: Boot) {
    guest.reboot();
    guest.session.send("poweroff\n").unwrap();
    guest.finish(&Outcome::PoweredOff);
}

fn bare() -> Options {
    Options { bare: true, ..Options::default() }
}

/// With a display, whose picture the boot loader sets up.
fn seen() -> Options {
    Options { graphics: Some(Graphics::None), ..Options::default() }
}

#[test]
fn a_bios_boots_the_medium() {
    let mut guest = boot_medium(Arch::X86_64, Firmware::Bios, Attached::Cd, seen());
    screen::the_boot_loader_s_picture_is_a_console(&mut guest);
    guest.shut_down(0);
    let usb = boot_medium(Arch::X86_64, Firmware::Bios, Attached::Usb, Options::default());
    usb.shut_down(0);
    restart_and_power_off(boot_medium(Arch::X86_64, Firmware::Bios, Attached::Disk, bare()));
}

/// The program itself, as `docs/real-machines.md` has it: what it writes is as large as what the
/// other tests boot (it has the time of its making in it), and small.
#[test]
fn the_image_command_writes_what_boots() {
    let lemma = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_lemma")).args(arguments).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let workspace = Workspace::locate().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image");
    let path = file.to_str().unwrap();
    for arch in Arch::ALL {
        let arguments =
            ["image", "--arch", arch.name(), "--output", path, "--append", "loglevel=3"];
        let (status, said) = lemma(&arguments);
        assert!(status == Some(0) && said.contains(path), "{said}");
        let append = vec!["loglevel=3".to_owned()];
        let (medium, _) =
            Options { arch, append, ..Options::default() }.medium(&workspace).unwrap();
        let booted = medium.file(&workspace).unwrap().metadata().unwrap().len();
        assert_eq!(file.metadata().unwrap().len(), booted, "{}", arch.name());
        if arch == Arch::X86_64 {
            let own = file.metadata().unwrap().len() - medium.root.metadata().unwrap().len();
            assert!(own < 5_000_000, "{own} bytes beside the root file system");
        }
    }
    fs::remove_file(&file).unwrap();
    let (status, said) = lemma(&["image", "--arch", "z80", "--output", path]);
    assert!(status == Some(2) && !file.exists(), "{said}");
    let first = said.lines().next().unwrap();
    assert!(first.starts_with("error: invalid value 'z80' for '--arch"), "{said}");
}

#[test]
fn uefi_boots_the_medium() {
    let mut guest = boot_medium(Arch::X86_64, Firmware::Uefi, Attached::Disk, seen());
    screen::the_boot_loader_s_picture_is_a_console(&mut guest);
    guest.session.send("exit 3\n").unwrap();
    guest.finish(&Outcome::Exited(3));
    restart_and_power_off(boot_medium(Arch::X86_64, Firmware::Uefi, Attached::Cd, bare()));
}

#[test]
fn u_boot_boots_the_medium_on_aarch64() {
    // With a level for hypervisors, at which U-Boot starts the kernel.
    let machine = vec!["virtualization=on".to_owned(), "gic-version=3".to_owned()];
    u_boot_boots_the_medium(Arch::Aarch64, Options { machine, ..bare() });
}

#[test]
fn u_boot_boots_the_medium_on_riscv64() {
    // Whichever CPU firmware starts U-Boot on; the others wait for the kernel.
    u_boot_boots_the_medium(Arch::Riscv64, Options { cpus: 4, ..bare() });
}

/// On QEMU's machine as it is, and on a bare one.
fn u_boot_boots_the_medium(arch: Arch, bare: Options) {
    let (firmware, attached) = (Firmware::UBoot, Attached::Disk);
    let mut guest = boot_medium(arch, firmware, attached, Options::default());
    guest.session.send("exit 3\n").unwrap();
    guest.finish(&Outcome::Exited(3));
    let lines = bare.cpus + 1;
    let mut guest = boot_medium(arch, firmware, attached, bare);
    assert_eq!(guest.succeed("grep -c cpu /proc/stat").trim(), lines.to_string());
    restart_and_power_off(guest);
}
