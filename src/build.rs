//! From options to a machine that can be started: kernel, programs, disk, in order.
//!
//! [`Options`] is what may be chosen; [`Options::build`] compiles and assembles everything,
//! and gives the [`Machine`]. Neighbours: `cli` and `session` fill in the options;
//! `compile` and `image` do the work.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::compile::{self, KernelVariant, Profile};
use crate::display::{self, Graphics};
use crate::firmware::{Attached, Firmware};
use crate::image::{self, Contents, Geometry};
use crate::machine::{Arch, Disk, Machine, Picture, Start, Virtio};
use crate::media::Medium;
use crate::root;
use crate::setup::{self, Tool};
use crate::workspace::{Workspace, say};

/// What is built and booted.
#[derive(Clone, Debug)]
pub struct Options {
    /// The architecture of the guest.
    pub arch: Arch,
    /// The CPU's model, where not the usual one.
    pub cpu: Option<String>,
    /// More of QEMU's `-machine`.
    pub machine: Vec<String>,
    /// Which kernel.
    pub kernel: KernelVariant,
    /// The number of CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// A disk that keeps its changes.
    pub disk: Option<PathBuf>,
    /// Its programs stay as they are, even if another build's.
    pub keep_programs: bool,
    /// The disk is loaded into memory.
    pub ram_disk: bool,
    /// How virtio devices are reached.
    pub virtio: Virtio,
    /// Has an entropy device.
    pub entropy: bool,
    /// Has a display, whose picture is to go there.
    pub graphics: Option<Graphics>,
    /// Firmware boots all of it from a medium, attached so.
    pub firmware: Option<(Firmware, Attached)>,
    /// The machine is as real ones are, without a way to give a status.
    pub bare: bool,
    /// More words for the kernel's command line.
    pub append: Vec<String>,
    /// BPF programs to compile and put into `/lib/bpf`.
    pub bpf: Vec<PathBuf>,
    /// Files to put on the disk, each with its path there.
    pub copies: Vec<(PathBuf, String)>,
    /// Count instructions instead of following the host's clock.
    pub icount: bool,
    /// Wait for a debugger.
    pub debug: bool,
    /// What init runs instead of the shell.
    pub program: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            arch: Arch::default(),
            cpu: None,
            machine: Vec::new(),
            kernel: KernelVariant::default(),
            cpus: 1,
            memory_mib: 256,
            disk: None,
            keep_programs: false,
            ram_disk: false,
            virtio: Virtio::default(),
            entropy: true,
            graphics: None,
            firmware: None,
            bare: false,
            append: Vec::new(),
            bpf: Vec::new(),
            copies: Vec::new(),
            icount: false,
            debug: false,
            program: Vec::new(),
        }
    }
}

/// Somebody looks at the picture: the last words of a panic stay there for half a minute.
const PANIC: &str = "panic=30";

/// What has been compiled and assembled.
#[derive(Clone, Debug)]
struct Parts {
    kernel: compile::Kernel,
    command_line: String,
    disk: Disk,
}

/// A machine that can be started, and where its kernel's symbols are.
#[derive(Clone, Debug)]
pub struct Built {
    /// What QEMU is told.
    pub machine: Machine,
    /// The kernel with its debug information.
    pub symbols: PathBuf,
}

impl Built {
    /// The command that attaches a debugger to the machine, for a shell. Debian's `gdb` knows
    /// the architecture that it runs on, `gdb-multiarch` all.
    #[must_use]
    pub fn debugger(&self) -> String {
        let own = self.machine.arch.name() == std::env::consts::ARCH;
        let gdb = if own { "gdb" } else { "gdb-multiarch" };
        let symbols = quoted(&self.symbols.display().to_string());
        format!("{gdb} {symbols} -ex 'target remote localhost:1234'")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Options {
    /// Compiles what has changed and assembles the machine.
    pub fn build(&self, workspace: &Workspace) -> Result<Built> {
        // What cannot work says so before minutes of compiling.
        Machine::check_cpus(self.arch, &self.machine, self.cpus)?;
        if let Some((firmware, _)) = self.firmware {
            setup::require_all(workspace, &firmware.tools(self.arch)?)?;
        }
        setup::require(workspace, self.arch.qemu())?;
        let graphics = match self.graphics {
            Some(wish) => Some(display::picture(workspace, self.arch, wish)?),
            None => None,
        };
        let mut options = self.clone();
        if graphics.as_ref().is_some_and(|picture| *picture != Picture::Headless) {
            options.append.insert(0, PANIC.to_owned());
        }
        let symbols;
        let start = match self.firmware {
            None => {
                let Parts { kernel, command_line, disk } = options.parts(workspace)?;
                symbols = kernel.linked;
                Start::Kernel { image: kernel.image, command_line, disk }
            }
            Some((firmware, attached)) => {
                let (medium, linked) = options.medium(workspace)?;
                symbols = linked;
                Start::Medium { firmware, file: medium.file(workspace)?, attached }
            }
        };
        let machine = Machine {
            arch: self.arch,
            cpu: self.cpu.clone(),
            options: self.machine.clone(),
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            start,
            bare: self.bare,
            virtio: self.virtio,
            entropy: self.entropy,
            graphics,
            icount: self.icount,
            debug: self.debug,
        };
        Ok(Built { machine, symbols })
    }

    /// Compiles what has changed; what a medium is to have on it, and the kernel's symbols.
    pub fn medium(&self, workspace: &Workspace) -> Result<(Medium, PathBuf)> {
        let options = Self { ram_disk: true, disk: None, ..self.clone() };
        let Parts { kernel, command_line, disk } = options.parts(workspace)?;
        let (Disk::Memory(root) | Disk::Fresh(root) | Disk::Kept(root)) = disk;
        Ok((Medium { arch: self.arch, kernel: kernel.image, root, command_line }, kernel.linked))
    }

    fn parts(&self, workspace: &Workspace) -> Result<Parts> {
        let command_line = self.command_line()?;
        if let Some(missing) = self
            .bpf
            .iter()
            .chain(self.copies.iter().map(|(source, _)| source))
            .find(|file| !file.is_file() && (self.bpf.contains(file) || !file.is_dir()))
        {
            bail!("no such file: {}", missing.display());
        }
        setup::require_all(workspace, &Tool::ALL)?;
        if let Some(kept) = self.disk.as_ref().filter(|disk| disk.exists()) {
            root::open_kept(workspace, kept, self.arch)?;
        }
        let mut added = Contents::default();
        for (source, target) in &self.copies {
            add_tree(&mut added, source, target)?;
        }
        for source in &self.bpf {
            let object = compile::bpf_object(workspace, self.arch, source)?;
            added.copy(&format!("/lib/bpf/{}", object.name), &object.path)?;
        }
        let kernel = compile::kernel(workspace, self.arch, self.kernel)?;
        let disk = self.prepare_disk(workspace, &added)?;
        Ok(Parts { kernel, command_line, disk })
    }

    fn command_line(&self) -> Result<String> {
        let mut words = self.append.clone();
        if !self.program.is_empty() {
            words.push("--".to_owned());
            for word in &self.program {
                if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c == '"') {
                    bail!(
                        "`{word}`: a word for the guest cannot be empty or have blanks or quotes; use sh with a file (--copy)"
                    );
                }
                words.push(word.clone());
            }
        }
        let line = words.join(" ");
        // The length that every architecture's boot protocol carries.
        if line.len() > 1023 {
            bail!("the kernel's command line is too long: {} characters of 1023", line.len());
        }
        Ok(line)
    }

    /// A fresh disk is an image with all that was added; a kept one is written into.
    fn prepare_disk(&self, workspace: &Workspace, added: &Contents) -> Result<Disk> {
        let Some(kept) = &self.disk else {
            let disk = self.fresh_disk(workspace, added)?;
            return Ok(if self.ram_disk { Disk::Memory(disk) } else { Disk::Fresh(disk) });
        };
        if kept.exists() {
            if !self.keep_programs {
                root::refresh(workspace, kept, self.arch)?;
            }
            image::add(workspace, kept, added)?;
        } else {
            let fresh = self.fresh_disk(workspace, added)?;
            say(format!("making {}", kept.display()));
            copy_sparse(&fresh, kept)?;
        }
        Ok(Disk::Kept(kept.clone()))
    }

    fn fresh_disk(&self, workspace: &Workspace, added: &Contents) -> Result<PathBuf> {
        let mut contents = root::contents(workspace, self.arch)?;
        contents.extend(added);
        let geometry =
            if self.ram_disk { in_memory(&contents) } else { geometry(self.kernel.profile) };
        image::root_disk(workspace, &contents, geometry)
    }
}

const fn geometry(profile: Profile) -> Geometry {
    match profile {
        Profile::Cloud => Geometry { size_mib: 64, block_size: 4096 },
        Profile::Embedded => Geometry { size_mib: 16, block_size: 1024 },
    }
}

/// A disk that memory has to hold: as large as it must be, with some room.
fn in_memory(contents: &Contents) -> Geometry {
    const ROOM_MIB: u64 = 8;
    let size_mib = (contents.size() >> 20) + ROOM_MIB;
    let size_mib = u32::try_from(size_mib.next_multiple_of(4)).unwrap_or(u32::MAX);
    Geometry { size_mib, block_size: 1024 }
}

/// Adds a file, or a folder's files with those in its folders, to what goes on the disk.
fn add_tree(added: &mut Contents, source: &Path, target: &str) -> Result<()> {
    if !source.is_dir() {
        return added.copy(target, source);
    }
    let entries = source.read_dir().with_context(|| format!("cannot read {}", source.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{}: a strange name", path.display()))?;
        add_tree(added, &path, &format!("{}/{name}", target.trim_end_matches('/')))?;
    }
    Ok(())
}

/// Copies an image without writing its zeros.
pub fn copy_sparse(source: &Path, target: &Path) -> Result<()> {
    use std::io::{Read, Seek, SeekFrom, Write};
    let mut from = fs::File::open(source)?;
    let mut to =
        fs::File::create(target).with_context(|| format!("cannot create {}", target.display()))?;
    let mut block = vec![0_u8; 1 << 16];
    let mut length = 0;
    loop {
        let count = from.read(&mut block)?;
        let Some(part) = block.get(..count).filter(|part| !part.is_empty()) else { break };
        if part.iter().all(|byte| *byte == 0) {
            to.seek(SeekFrom::Current(i64::try_from(count)?))?;
        } else {
            to.write_all(part)?;
        }
        length += count as u64;
    }
    to.set_len(length)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_carries_the_program() {
        let options = Options {
            append: vec!["loglevel=7".to_owned()],
            program: vec!["usertests".to_owned(), "-v".to_owned()],
            ..Options::default()
        };
        assert_eq!(options.command_line().unwrap(), "loglevel=7 -- usertests -v");
    }

    #[test]
    fn words_that_would_change_are_refused() {
        for word in ["two words", "", "a\tb", "\""] {
            let options = Options { program: vec![word.to_owned()], ..Options::default() };
            assert!(options.command_line().is_err(), "{word}");
        }
        let long = Options { append: vec!["x".repeat(1024)], ..Options::default() };
        assert!(long.command_line().unwrap_err().to_string().contains("too long"));
    }

    #[test]
    fn the_debugger_s_command_works_in_a_shell() {
        let symbols = "/a b/it's $(here)/kernel.elf";
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf %s {}", quoted(symbols))])
            .output()
            .unwrap();
        assert_eq!(output.stdout, symbols.as_bytes());
        assert_eq!(quoted("/usr/kernel-cloud.elf"), "/usr/kernel-cloud.elf");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn sparse_copies_are_equal() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = vec![0_u8; 300_000];
        content[70_000] = 1;
        content[299_999] = 2;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for content in [content, vec![0; 200_000], vec![]] {
            fs::write(&from, &content).unwrap();
            copy_sparse(&from, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), content);
        }
    }

    #[test]
    fn folders_are_copied_with_what_is_in_them() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().join("top");
        fs::create_dir_all(top.join("inner/empty")).unwrap();
        fs::write(top.join("one"), "1").unwrap();
        fs::write(top.join("inner/two"), "2").unwrap();
        let mut added = Contents::default();
        add_tree(&mut added, &top, "/root/top").unwrap();
        add_tree(&mut added, &top.join("one"), "/etc/one").unwrap();
        let mut expected = Contents::default();
        for (path, content) in
            [("/root/top/inner/two", "2"), ("/root/top/one", "1"), ("/etc/one", "1")]
        {
            expected.file(path, content).unwrap();
        }
        assert_eq!(added, expected);
    }

    #[test]
    fn missing_files_are_named_before_anything_is_built() {
        let folder = tempfile::tempdir().unwrap();
        let workspace =
            Workspace::at(folder.path().to_path_buf(), folder.path().join("out")).unwrap();
        let options = Options { bpf: vec!["/no/such.c".into()], ..Options::default() };
        let message = options.build(&workspace).unwrap_err().to_string();
        assert_eq!(message, "no such file: /no/such.c");
    }
}
