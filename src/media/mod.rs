//! What firmware boots: an ISO image for PCs, a disk image for machines with U-Boot.
//!
//! A [`Medium`] holds the kernel, its command line, and the root file system, which the boot
//! loader loads into memory with the kernel. [`iso`] writes it for a BIOS or UEFI PC, as a CD or
//! a USB stick; [`board`] as a disk from which U-Boot starts Linux's kernel images. Neighbours:
//! `build` makes the parts; `machine` boots the result.

mod board;
mod iso;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::machine::Arch;
use crate::setup::{self, Tool};
use crate::workspace::{Workspace, fingerprint};

/// How many media of different contents are kept for another run.
const KEPT: usize = 4;

/// What a medium is made of.
#[derive(Clone, Debug)]
pub struct Medium {
    /// What it boots.
    pub arch: Arch,
    /// The bootable kernel image.
    pub kernel: PathBuf,
    /// An ext2 image, small enough for memory.
    pub root: PathBuf,
    /// The kernel's command line.
    pub command_line: String,
}

impl Medium {
    /// The ending of its file's name.
    #[must_use]
    pub const fn extension(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "iso",
            Arch::Aarch64 | Arch::Riscv64 => "img",
        }
    }

    /// What to do with it.
    #[must_use]
    pub const fn advice(arch: Arch) -> &'static str {
        match arch {
            Arch::X86_64 => "copy it to a whole USB stick (dd), or burn a CD",
            Arch::Aarch64 | Arch::Riscv64 => {
                "copy it to a whole SD card or USB stick (dd), for a board that starts U-Boot"
            }
        }
    }

    /// Writes it to `output`.
    pub fn write(&self, workspace: &Workspace, output: &Path) -> Result<()> {
        for word in self.command_line.split_ascii_whitespace() {
            if let Some(strange) = word.chars().find(|c| matches!(c, '\'' | '"' | '\\' | '$')) {
                bail!("`{word}`: boot loaders would change the character {strange}");
            }
        }
        setup::require_all(workspace, Tool::for_media(self.arch))?;
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
        let unfinished = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("cannot create {}", output.display()))?;
        match self.arch {
            Arch::X86_64 => iso::write(self, workspace, unfinished.path())?,
            Arch::Aarch64 | Arch::Riscv64 => board::write(self, workspace, unfinished.path())?,
        }
        unfinished.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        unfinished.persist(output).with_context(|| format!("cannot write {}", output.display()))?;
        Ok(())
    }

    /// The medium of these contents; made now unless there is one. Nobody may write to it.
    pub fn file(&self, workspace: &Workspace) -> Result<PathBuf> {
        let kernel = fs::read(&self.kernel)?;
        let root = self.root.to_string_lossy();
        let key = fingerprint(&[&kernel, root.as_bytes(), self.command_line.as_bytes()]);
        let extension = Self::extension(self.arch);
        let folder = self.arch.name();
        let path = workspace.output(format!("{folder}/media/{key:016x}.{extension}"))?;
        let _lock = workspace.lock(&format!("{folder}/media-make"))?;
        if !path.exists() {
            self.write(workspace, &path)?;
            if let Some(folder) = path.parent() {
                crate::image::remove_old(folder, extension, KEPT)?;
            }
        }
        Ok(path)
    }
}

/// Runs a tool; its own words are the error's.
fn run(workspace: &Workspace, tool: Tool, prepare: impl FnOnce(&mut Command)) -> Result<()> {
    let mut command = Command::new(setup::require(workspace, tool)?);
    prepare(&mut command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", tool.program()))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", tool.program(), message.trim().replace('\n', "; "));
    }
    Ok(())
}

/// An empty FAT file system from `offset` on in an image file, `size` bytes long.
struct Fat<'a> {
    workspace: &'a Workspace,
    /// As the tools name it: `FILE@@OFFSET`.
    place: String,
}

impl<'a> Fat<'a> {
    /// Makes one in a file that reaches as far. Both numbers are in bytes and multiples of 512.
    fn format(
        workspace: &'a Workspace,
        file: &Path,
        offset: u64,
        size: u64,
        label: &str,
    ) -> Result<Self> {
        let file = file.to_str().context("the image's name is not UTF-8")?;
        let fat = Self { workspace, place: format!("{file}@@{offset}") };
        run(workspace, Tool::Mformat, |command| {
            command.args(["-i", &fat.place, "-T", &(size / 512).to_string(), "-v", label, "::"]);
            // The serial number, so that equal contents give equal images.
            command.args(["-N", "4c454d4d"]);
        })?;
        Ok(fat)
    }

    fn folder(&self, path: &str) -> Result<()> {
        run(self.workspace, Tool::Mmd, |command| {
            command.args(["-i", &self.place, &format!("::{path}")]);
        })
    }

    fn copy(&self, source: &Path, path: &str) -> Result<()> {
        run(self.workspace, Tool::Mcopy, |command| {
            command.args(["-i", &self.place]).arg(source).arg(format!("::{path}"));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boot_loaders_would_change_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at(folder.path().to_path_buf(), folder.path().join("out")).unwrap();
        for word in ["a='b'", "x=$y", "back\\slash", "\"q\""] {
            let medium = Medium {
                arch: Arch::X86_64,
                kernel: "kernel".into(),
                root: "root".into(),
                command_line: format!("loglevel=3 {word}"),
            };
            let output = folder.path().join("output");
            let error = medium.write(&workspace, &output).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
            assert!(!output.exists());
        }
    }
}
