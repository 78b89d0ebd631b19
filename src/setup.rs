//! What this machine lacks, and how to get it.
//!
//! [`Tool`] names each host program that a build or a boot needs, and each piece of firmware, and
//! the Debian package that has it. [`require`] returns their paths, and has `apt` install what is
//! missing. When all is there it starts no other program.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt;
use crate::machine::Arch;
use crate::workspace::Workspace;

/// A host program, or a file, that comes from a Debian package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The machine emulator.
    QemuX86,
    /// The same for AArch64.
    QemuArm,
    /// The same for RISC-V.
    QemuRiscv,
    /// Runs user programs of AArch64 on this machine, for tests of the JIT.
    QemuUserArm,
    /// The same for RISC-V.
    QemuUserRiscv,
    /// The compiler of BPF programs.
    Clang,
    /// The linker, where the Rust toolchain has none of its own.
    Lld,
    /// Makes the root disk.
    Mke2fs,
    /// Adds files to an existing disk.
    Debugfs,
    /// Checks a disk.
    E2fsck,
    /// Puts GRUB together, the boot loader of PCs.
    GrubMkimage,
    /// GRUB's parts for a BIOS.
    GrubBios,
    /// GRUB's parts for UEFI.
    GrubUefi,
    /// Makes ISO images.
    Xorriso,
    /// Makes FAT file systems.
    Mformat,
    /// Makes folders on them.
    Mmd,
    /// Copies files to them.
    Mcopy,
    /// UEFI for QEMU's PCs.
    Ovmf,
    /// What it has stored at first.
    OvmfVariables,
    /// U-Boot for QEMU's AArch64 machine.
    UBootArm,
    /// The same for RISC-V, to be started by the machine-mode firmware that QEMU brings.
    UBootRiscv,
}

impl Tool {
    /// What `cargo run` needs for every architecture, beside the emulator.
    pub const ALL: [Self; 4] = [Self::Clang, Self::Mke2fs, Self::Debugfs, Self::E2fsck];

    /// What some tests need beside that; without it they say that they were left out.
    pub const FOR_TESTS: [Self; 14] = [
        Self::Lld,
        Self::QemuUserArm,
        Self::QemuUserRiscv,
        Self::GrubMkimage,
        Self::GrubBios,
        Self::GrubUefi,
        Self::Xorriso,
        Self::Mformat,
        Self::Mmd,
        Self::Mcopy,
        Self::Ovmf,
        Self::OvmfVariables,
        Self::UBootArm,
        Self::UBootRiscv,
    ];

    /// Where GRUB's parts for a BIOS are.
    pub const GRUB_BIOS: &'static str = "/usr/lib/grub/i386-pc";

    /// What makes bootable media for an architecture.
    #[must_use]
    pub const fn for_media(arch: Arch) -> &'static [Self] {
        match arch {
            Arch::X86_64 => &[
                Self::GrubMkimage,
                Self::GrubBios,
                Self::GrubUefi,
                Self::Xorriso,
                Self::Mformat,
                Self::Mmd,
                Self::Mcopy,
            ],
            Arch::Aarch64 | Arch::Riscv64 => &[Self::Mformat, Self::Mmd, Self::Mcopy],
        }
    }

    /// The program's name; the whole path of what is only a file.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::QemuX86 => "qemu-system-x86_64",
            Self::QemuArm => "qemu-system-aarch64",
            Self::QemuRiscv => "qemu-system-riscv64",
            Self::QemuUserArm => "qemu-aarch64",
            Self::QemuUserRiscv => "qemu-riscv64",
            Self::Clang => "clang",
            Self::Lld => "ld.lld",
            Self::Mke2fs => "mke2fs",
            Self::Debugfs => "debugfs",
            Self::E2fsck => "e2fsck",
            Self::GrubMkimage => "grub-mkimage",
            Self::GrubBios => "/usr/lib/grub/i386-pc/boot_hybrid.img",
            Self::GrubUefi => "/usr/lib/grub/x86_64-efi/kernel.img",
            Self::Xorriso => "xorriso",
            Self::Mformat => "mformat",
            Self::Mmd => "mmd",
            Self::Mcopy => "mcopy",
            Self::Ovmf => "/usr/share/OVMF/OVMF_CODE_4M.fd",
            Self::OvmfVariables => "/usr/share/OVMF/OVMF_VARS_4M.fd",
            Self::UBootArm => "/usr/lib/u-boot/qemu_arm64/u-boot.bin",
            Self::UBootRiscv => "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin",
        }
    }

    /// The Debian package that has it.
    #[must_use]
    pub const fn package(self) -> &'static str {
        match self {
            Self::QemuX86 => "qemu-system-x86",
            Self::QemuArm => "qemu-system-arm",
            Self::QemuRiscv => "qemu-system-misc",
            Self::QemuUserArm | Self::QemuUserRiscv => "qemu-user",
            Self::Clang => "clang",
            Self::Lld => "lld",
            Self::Mke2fs | Self::Debugfs | Self::E2fsck => "e2fsprogs",
            Self::GrubMkimage => "grub-common",
            Self::GrubBios => "grub-pc-bin",
            Self::GrubUefi => "grub-efi-amd64-bin",
            Self::Xorriso => "xorriso",
            Self::Mformat | Self::Mmd | Self::Mcopy => "mtools",
            Self::Ovmf | Self::OvmfVariables => "ovmf",
            Self::UBootArm | Self::UBootRiscv => "u-boot-qemu",
        }
    }

    /// Where the program or the file is, if it is installed. LLVM's programs count with a version
    /// suffix too (`clang-19`), the plain name first.
    #[must_use]
    pub fn find(self) -> Option<PathBuf> {
        let folders = search_path();
        match self {
            _ if self.program().starts_with('/') => {
                Some(PathBuf::from(self.program())).filter(|file| file.is_file())
            }
            Self::Clang | Self::Lld => find_versioned(self.program(), &folders),
            _ => find_in(self.program(), &folders),
        }
    }
}

/// The path of `tool`, after installing its package if need be.
pub fn require(workspace: &Workspace, tool: Tool) -> Result<PathBuf> {
    require_all(workspace, &[tool])?;
    tool.find().with_context(|| format!("{} is missing", tool.program()))
}

/// Makes sure that all of `tools` are there.
pub fn require_all(workspace: &Workspace, tools: &[Tool]) -> Result<()> {
    let missing = |tools: &[Tool]| -> Vec<&'static str> {
        let mut packages: Vec<_> =
            tools.iter().filter(|tool| tool.find().is_none()).map(|tool| tool.package()).collect();
        packages.sort_unstable();
        packages.dedup();
        packages
    };
    if missing(tools).is_empty() {
        return Ok(());
    }
    // Another run may be installing the same: wait for it, then look again.
    let _lock = workspace.lock("setup")?;
    let packages = missing(tools);
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(&packages)?;
    for tool in tools {
        if tool.find().is_none() {
            bail!("{} is still missing after installing {}", tool.program(), tool.package());
        }
    }
    Ok(())
}

/// `PATH`, then the system folders that an ordinary user's `PATH` leaves out.
fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from));
    folders
}

/// The first executable `name` in `folders`.
fn find_in(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| is_executable(path))
}

/// The program anywhere on the search path.
#[must_use]
pub fn find_program(name: &str) -> Option<PathBuf> {
    find_in(name, &search_path())
}

/// `name`, or the highest `name-N`.
fn find_versioned(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    if let Some(plain) = find_in(name, folders) {
        return Some(plain);
    }
    let prefix = format!("{name}-");
    let mut best: Option<(u32, PathBuf)> = None;
    for entry in folders.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
        let version = entry
            .file_name()
            .to_str()
            .and_then(|file| file.strip_prefix(&prefix)?.parse::<u32>().ok());
        if let Some(version) = version
            && best.as_ref().is_none_or(|(highest, _)| version > *highest)
            && is_executable(&entry.path())
        {
            best = Some((version, entry.path()));
        }
    }
    best.map(|(_, path)| path)
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::OpenOptionsExt;

    fn program(folder: &Path, name: &str, mode: u32) {
        std::fs::File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(mode)
            .open(folder.join(name))
            .unwrap();
    }

    #[test]
    fn the_plain_name_wins_then_the_highest_version() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_path_buf()];
        assert_eq!(find_versioned("clang", &folders), None);
        program(folder.path(), "clang-9", 0o755);
        program(folder.path(), "clang-19", 0o755);
        program(folder.path(), "clang-99", 0o644);
        program(folder.path(), "clang-format", 0o755);
        assert_eq!(find_versioned("clang", &folders), Some(folder.path().join("clang-19")));
        program(folder.path(), "clang", 0o755);
        assert_eq!(find_versioned("clang", &folders), Some(folder.path().join("clang")));
    }

    #[test]
    fn earlier_folders_win_and_unexecutable_files_do_not_count() {
        let first = tempfile::tempdir().unwrap();
        let second = tempfile::tempdir().unwrap();
        let folders = [first.path().to_path_buf(), second.path().to_path_buf()];
        program(first.path(), "tool", 0o644);
        program(second.path(), "tool", 0o755);
        assert_eq!(find_in("tool", &folders), Some(second.path().join("tool")));
        program(first.path(), "other", 0o755);
        program(second.path(), "other", 0o755);
        assert_eq!(find_in("other", &folders), Some(first.path().join("other")));
    }

    #[test]
    fn nothing_is_installed_when_nothing_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at(folder.path().to_path_buf(), folder.path().join("out")).unwrap();
        require_all(&workspace, &[]).unwrap();
        assert!(!folder.path().join("out/setup.lock").exists(), "no lock was taken");
    }
}
