//! A hybrid ISO image: a BIOS or UEFI PC boots it as a CD and, copied to one, from a USB stick.
//!
//! GRUB is on it twice, each time one file with all modules in it: as an El Torito boot image
//! for the BIOS, which the master boot record starts too, and as an EFI program on a FAT file
//! system, which is the second boot image and a partition. Both read `/boot/grub/grub.cfg`.
//! (`grub-mkrescue` does nearly the same, with a FAT file system of 2.8 MiB, an HFS+ one, and
//! modules one by one.)

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;

use super::{Fat, Medium, run};
use crate::setup::Tool;
use crate::workspace::Workspace;

/// GRUB's parts: what a menu needs, to find the medium, to load the kernel, the consoles, and a
/// few commands for a person at GRUB's prompt.
const MODULES: [&str; 18] = [
    "normal",
    "configfile",
    "search",
    "search_fs_file",
    "iso9660",
    "part_msdos",
    "part_gpt",
    "fat",
    "multiboot2",
    "serial",
    "terminal",
    "all_video",
    "minicmd",
    "ls",
    "echo",
    "test",
    "reboot",
    "halt",
];

/// What GRUB does first: find the medium.
const FIRST: &str = "search --set=root --file /boot/lemma\nset prefix=($root)/boot/grub\n";

/// The menu. Without a serial port GRUB stays on the screen and the keyboard.
fn menu(command_line: &str) -> String {
    let words: String =
        command_line.split_ascii_whitespace().map(|word| format!(" '{word}'")).collect();
    let entry = |title: &str, more: &str| {
        format!(
            "menuentry '{title}' {{\n  multiboot2 /boot/lemma{more}{words}\n  module2 /boot/root.img\n}}\n"
        )
    };
    format!(
        "set timeout=1\nif serial --unit=0 --speed=115200; then\n  \
         terminal_input console serial\n  terminal_output console serial\nfi\n{}{}",
        entry("Lemma", ""),
        entry("Lemma, telling more", " loglevel=4"),
    )
}

pub(super) fn write(medium: &Medium, workspace: &Workspace, output: &Path) -> Result<()> {
    let folder = tempfile::Builder::new().prefix("lemma-iso-").tempdir()?;
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("tree/boot/grub"))?;
    fs::copy(&medium.kernel, at("tree/boot/lemma"))?;
    fs::copy(&medium.root, at("tree/boot/root.img"))?;
    fs::write(at("tree/boot/grub/grub.cfg"), menu(&medium.command_line))?;
    fs::write(at("first.cfg"), FIRST)?;
    let grub = |format: &str, target: &Path, disk: &[&str]| {
        run(workspace, Tool::GrubMkimage, |command| {
            command.args(["-O", format, "-p", "/boot/grub", "-c"]).arg(at("first.cfg"));
            command.arg("-o").arg(target).args(disk).args(MODULES);
        })
    };
    grub("i386-pc-eltorito", &at("tree/boot/grub/bios.img"), &["biosdisk"])?;
    grub("x86_64-efi", &at("bootx64.efi"), &[])?;

    // Room for the file system itself, in whole tracks.
    const TRACK: u64 = 32 * 1024;
    let size = (at("bootx64.efi").metadata()?.len() + 2 * TRACK).next_multiple_of(TRACK);
    File::create(at("efi.img"))?.set_len(size)?;
    let fat = Fat::format(workspace, &at("efi.img"), 0, size, "LEMMA-EFI")?;
    fat.folder("/EFI")?;
    fat.folder("/EFI/BOOT")?;
    fat.copy(&at("bootx64.efi"), "/EFI/BOOT/BOOTX64.EFI")?;

    run(workspace, Tool::Xorriso, |command| {
        command.args(["-as", "mkisofs", "-quiet", "-volid", "LEMMA", "-R", "-J"]);
        command.args(["-b", "boot/grub/bios.img", "-no-emul-boot"]);
        command.args(["-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info"]);
        command.arg("--grub2-mbr").arg(format!("{}/boot_hybrid.img", Tool::GRUB_BIOS));
        command.args(["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::"]);
        command.args(["-no-emul-boot", "-append_partition", "2", "0xef"]).arg(at("efi.img"));
        command.args(["-partition_offset", "16", "-o"]).arg(output).arg(at("tree"));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_has_the_command_line() {
        let menu = menu("root=ram0 a;b -- sh");
        assert!(menu.contains("multiboot2 /boot/lemma 'root=ram0' 'a;b' '--' 'sh'\n"), "{menu}");
        assert!(menu.contains("multiboot2 /boot/lemma loglevel=4 'root=ram0'"), "{menu}");
    }
}
