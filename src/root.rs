//! What is on the root disk, and how a disk that is kept gets the programs of a new build.
//!
//! [`contents`] lists all of a fresh disk, [`programs`] the part that is the build's own. A disk
//! says in `/etc/lemma-release` whose programs it has, so that [`open_kept`] can refuse one with
//! another architecture's and [`refresh`] can replace those of another build; what else is on it
//! belongs to its user. Neighbours: `image` reads and writes disks, `build` asks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use object::elf::{EM_AARCH64, EM_RISCV, EM_X86_64, Machine};

use crate::compile;
use crate::image::{self, Contents, LABEL};
use crate::machine::Arch;
use crate::workspace::{Workspace, say};

/// Where a disk says whose programs it has.
const RELEASE: &str = "/etc/lemma-release";

/// The first program.
const INIT: &str = "/sbin/init";

/// Programs, the examples' objects, and the names by which commands are called.
fn programs(workspace: &Workspace, arch: Arch) -> Result<Contents> {
    let mut contents = Contents::default();
    for program in compile::user_programs(workspace, arch)? {
        let place = match program.name.as_str() {
            "init" => INIT.to_owned(),
            // The program that the measurements start again and again.
            "hello" => "/hello".to_owned(),
            name => format!("/bin/{name}"),
        };
        contents.program(&place, fs::read(&program.path)?)?;
    }
    for object in compile::bpf_examples(workspace, arch)? {
        contents.copy(&format!("/lib/bpf/{}", object.name), &object.path)?;
    }
    // One binary, which goes by the name under which it is called.
    let names = fs::read_to_string(workspace.root().join("userspace/commands/names.txt"))?;
    for name in names.lines() {
        contents.link(&format!("/bin/{name}"), "commands")?;
    }
    Ok(contents)
}

/// What a disk says of these programs.
fn release(arch: Arch, programs: &Contents) -> String {
    format!("ARCHITECTURE={}\nPROGRAMS={:016x}\n", arch.name(), programs.fingerprint())
}

/// All that a fresh disk has.
pub(crate) fn contents(workspace: &Workspace, arch: Arch) -> Result<Contents> {
    let mut contents = programs(workspace, arch)?;
    contents.file(RELEASE, release(arch, &contents))?;
    for folder in
        ["/dev", "/proc", "/sys/fs/bpf", "/tmp", "/root", "/etc/bpf.d", "/mnt", "/lib/bpf"]
    {
        contents.folder(folder)?;
    }
    copy_tree(&mut contents, &workspace.root().join("userspace/root"), "")?;
    // Read and written by the measurements.
    contents.file("/mnt/data", (0..1_u32 << 18).flat_map(u32::to_le_bytes).collect::<Vec<_>>())?;
    Ok(contents)
}

/// Files that are on the disk as they stand in the repository, such as `/etc/motd`.
fn copy_tree(contents: &mut Contents, source: &Path, target: &str) -> Result<()> {
    if !source.is_dir() {
        return Ok(());
    }
    for entry in source.read_dir()? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a strange name")?;
        let place = format!("{target}/{name}");
        if path.is_dir() {
            copy_tree(contents, &path, &place)?;
        } else {
            contents.copy(&place, &path)?;
        }
    }
    Ok(())
}

/// Repairs a kept disk if it has to be; an error if this architecture cannot run its programs.
pub(crate) fn open_kept(workspace: &Workspace, disk: &Path, arch: Arch) -> Result<()> {
    if !disk.is_file() {
        bail!("--disk {} is not a file", disk.display());
    }
    if let Some(done) = image::repair(workspace, disk)? {
        say(format!("{} was in use when its machine stopped: {done}", disk.display()));
    }
    // The first program itself says so best: disks of early builds have nothing else.
    match architecture(&image::read_file(workspace, disk, INIT)?) {
        Some(found) if found != arch => bail!(
            "--disk {} has programs for {}, not for {}",
            disk.display(),
            found.name(),
            arch.name()
        ),
        _ => Ok(()),
    }
}

/// Whose code an executable has.
fn architecture(program: &[u8]) -> Option<Arch> {
    program.strip_prefix(b"\x7fELF")?;
    match Machine(u16::from_le_bytes(*program.get(18..)?.first_chunk()?)) {
        EM_X86_64 => Some(Arch::X86_64),
        EM_AARCH64 => Some(Arch::Aarch64),
        EM_RISCV => Some(Arch::Riscv64),
        _ => None,
    }
}

/// Gives a kept disk this build's programs, if it has another's; where somebody has put a file
/// in the place of a command's name, that stays. Disks that are not Lemma's are left alone.
pub(crate) fn refresh(workspace: &Workspace, disk: &Path, arch: Arch) -> Result<()> {
    let programs = programs(workspace, arch)?;
    let release = release(arch, &programs);
    let found = image::read_file(workspace, disk, RELEASE)?;
    if found == release.as_bytes() || (found.is_empty() && image::label(disk)? != LABEL) {
        return Ok(());
    }
    say(format!(
        "{} has another build's programs: replacing them (--keep-programs does not)",
        disk.display()
    ));
    image::add(workspace, disk, &programs)?;
    // Last: should this be interrupted, the next start does it again.
    let mut stamp = Contents::default();
    stamp.file(RELEASE, release)?;
    image::add(workspace, disk, &stamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_tell_for_what_they_are() {
        let program = |machine: u16| [&b"\x7fELF"[..], &[0; 14], &machine.to_le_bytes()].concat();
        for (machine, arch) in [(62, Arch::X86_64), (183, Arch::Aarch64), (243, Arch::Riscv64)] {
            assert_eq!(architecture(&program(machine)), Some(arch));
        }
        assert_eq!(architecture(&program(8)), None);
        for other in [&b""[..], b"\x7fELF", b"#!/bin/sh\n# a script of some length\n"] {
            assert_eq!(architecture(other), None);
        }
    }
}
