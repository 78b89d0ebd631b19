//! The command line: every option, explained where it is declared.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::build::Options;
use crate::compile::{KernelVariant, Profile};
use crate::display::Graphics;
use crate::firmware::{Attached, Firmware};
use crate::machine::{Arch, Virtio, parse_memory};

/// Builds Lemma and boots it in QEMU, with this terminal as its console.
///
/// Standard input goes to the shell on the guest's serial console; when it ends, the shell
/// ends, the guest shuts down, and the exit status is the shell's. On a terminal, ^A x ends
/// the guest at once. Other exit statuses: 101 the kernel panicked, 102 the guest ended
/// without a status or QEMU failed, 124 the time limit, 130 ^A x.
#[derive(Debug, Parser)]
#[command(name = "lemma", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of booting.
    #[command(subcommand)]
    pub command: Option<Task>,
    /// What to boot.
    #[command(flatten)]
    pub run: RunArguments,
}

/// What the orchestrator can do besides booting a shell.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Install what this machine lacks, and let rustup retry what it could not download
    Setup,
    /// Build everything, boot nothing
    Build(RunArguments),
    /// Write an image for a USB stick, a CD or an SD card, which real machines boot
    Image(ImageArguments),
    /// Measure in guest instructions, beside Linux's figures
    Bench(BenchArguments),
    /// Check the kernel and the user programs with clippy, warnings denied
    Clippy,
}

/// Options of a boot.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// The architecture of the guest
    #[arg(long, value_enum, default_value_t)]
    pub arch: Arch,
    /// The model of the guest's CPU, as QEMU names it [default: max]
    #[arg(long, value_name = "MODEL")]
    pub cpu: Option<String>,
    /// More of QEMU's `-machine`, such as gic-version=3, or another machine: microvm
    /// (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    pub machine: Vec<String>,
    /// The kernel's profile: cloud (heap memory, large limits) or embedded (static pools)
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// The number of CPUs of the guest, 1 to 64; on aarch64 to 8, with --machine gic-version=3
    /// to 64
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub smp: u32,
    /// The guest's memory, such as 32M or 1G
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = memory)]
    pub memory: u64,
    /// A disk image that keeps its changes (made when missing); otherwise the disk is fresh
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// Leave that disk's programs as they are; otherwise those of another build are replaced
    #[arg(long, requires = "disk")]
    pub keep_programs: bool,
    /// Let the boot loader load the disk into memory (-initrd) instead of attaching it
    #[arg(long, conflicts_with = "disk")]
    pub ram_disk: bool,
    /// How virtio devices are reached: on PCI where there is one, or in memory
    #[arg(long, value_enum, default_value_t)]
    pub virtio: Virtio,
    /// A machine without an entropy device
    #[arg(long)]
    pub no_entropy: bool,
    /// A display with a console on it, in a window, and a keyboard; this terminal works too
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "window")]
    pub graphics: Option<Graphics>,
    /// Let firmware boot what `image` writes, instead of QEMU the kernel
    #[arg(long, value_enum, value_name = "NAME", conflicts_with = "disk")]
    pub firmware: Option<Firmware>,
    /// How that is attached
    #[arg(long, value_enum, value_name = "AS", requires = "firmware", default_value_t)]
    pub medium: Attached,
    /// Words for the kernel's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Compile this BPF program and put it into /lib/bpf on the disk (repeatable)
    #[arg(long, value_name = "FILE.c")]
    pub bpf: Vec<PathBuf>,
    /// Put a file or a folder on the disk, into /root or at the path given (repeatable)
    #[arg(long, value_name = "HOST[:GUEST]")]
    pub copy: Vec<String>,
    /// Stop before the first instruction and wait for gdb; the command to attach is printed
    #[arg(long)]
    pub debug: bool,
    /// Count instructions: one nanosecond of the guest's clock for each, every run alike
    #[arg(long)]
    pub icount: bool,
    /// Build the kernel with optimisation (the default)
    #[arg(long, conflicts_with = "dev")]
    pub release: bool,
    /// Build the kernel without optimisation and with a development build's checks
    #[arg(long)]
    pub dev: bool,
    /// A kernel without hook call sites: it shows what they cost, and runs no BPF at hooks
    #[arg(long)]
    pub no_hooks: bool,
    /// Stop the guest after this time (exit status 124)
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// A program and its arguments that init runs instead of the shell
    #[arg(last = true, value_name = "PROGRAM")]
    pub program: Vec<String>,
}

/// Options of an image for real machines.
#[derive(Debug, Args)]
pub struct ImageArguments {
    /// The architecture of the machine
    #[arg(long, value_enum, default_value_t)]
    pub arch: Arch,
    /// Where to write it [default: lemma-ARCH.iso or lemma-ARCH.img in the build's folder]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The kernel's profile
    #[arg(long, value_enum, default_value_t)]
    pub profile: Profile,
    /// Words for the kernel's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Vec<String>,
    /// Compile this BPF program and put it into /lib/bpf on the disk (repeatable)
    #[arg(long, value_name = "FILE.c")]
    pub bpf: Vec<PathBuf>,
    /// Put a file or a folder on the disk, into /root or at the path given (repeatable)
    #[arg(long, value_name = "HOST[:GUEST]")]
    pub copy: Vec<String>,
}

impl ImageArguments {
    /// The options of the build, checked.
    pub fn options(&self) -> Result<Options> {
        Ok(Options {
            arch: self.arch,
            kernel: KernelVariant { profile: self.profile, ..KernelVariant::default() },
            append: self.append.clone(),
            bpf: self.bpf.clone(),
            copies: self.copy.iter().map(|text| parse_copy(text)).collect::<Result<_>>()?,
            ..Options::default()
        })
    }
}

/// Options of the measurements.
#[derive(Debug, Args)]
pub struct BenchArguments {
    /// The architecture of the guest: x86_64, aarch64, riscv64, or all of them
    #[arg(long, value_parser = architectures, default_value = "x86_64")]
    pub arch: Architectures,
    /// Write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Measure twice and fail unless both give the same
    #[arg(long)]
    pub twice: bool,
    /// Only rows whose names start with one of these
    #[arg(value_name = "ROW")]
    pub rows: Vec<String>,
}

/// One architecture or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architectures(pub Vec<Arch>);

fn architectures(text: &str) -> Result<Architectures, String> {
    match text {
        "all" => Ok(Architectures(Arch::ALL.to_vec())),
        _ => Arch::from_str(text, false).map(|arch| Architectures(vec![arch])),
    }
}

fn memory(text: &str) -> Result<u64, String> {
    parse_memory(text).map_err(|error| error.to_string())
}

impl RunArguments {
    /// The options of the build, checked.
    pub fn options(&self) -> Result<Options> {
        if self.icount && self.smp != 1 {
            bail!("--icount works with one CPU only (QEMU), not with --smp {}", self.smp);
        }
        Ok(Options {
            arch: self.arch,
            cpu: self.cpu.clone(),
            machine: self.machine.clone(),
            kernel: KernelVariant {
                profile: self.profile,
                hooks: !self.no_hooks,
                dev: self.dev && !self.release,
            },
            cpus: self.smp,
            memory_mib: self.memory,
            disk: self.disk.clone(),
            keep_programs: self.keep_programs,
            ram_disk: self.ram_disk,
            virtio: self.virtio,
            entropy: !self.no_entropy,
            graphics: self.graphics,
            firmware: self.firmware.map(|firmware| (firmware, self.medium)),
            bare: false,
            append: self.append.clone(),
            bpf: self.bpf.clone(),
            copies: self.copy.iter().map(|text| parse_copy(text)).collect::<Result<_>>()?,
            icount: self.icount,
            debug: self.debug,
            program: self.program.clone(),
        })
    }

    /// The time limit.
    #[must_use]
    pub fn time_limit(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

/// Reads `HOST` or `HOST:GUEST`. Without a guest path the file goes into `/root`.
fn parse_copy(text: &str) -> Result<(PathBuf, String)> {
    let (host, guest) = match text.split_once(':') {
        Some((host, guest)) => (PathBuf::from(host), Some(guest)),
        None => (PathBuf::from(text), None),
    };
    let name = || {
        let name = host.file_name().and_then(|name| name.to_str());
        name.with_context(|| format!("--copy {text}: no file name"))
    };
    let guest = match guest {
        None => format!("/root/{}", name()?),
        Some(folder) if folder.ends_with('/') => format!("{folder}{}", name()?),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) => bail!("--copy {text}: the guest's path `{path}` must start with /"),
    };
    Ok((host, guest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_explained() {
        Cli::command().debug_assert();
        let cli = Cli::command();
        let tasks: Vec<_> = cli.get_subcommands().collect();
        assert!(!tasks.is_empty());
        for command in tasks.into_iter().chain([&cli]) {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{name}: {} has no help", argument.get_id());
            }
        }
    }

    #[test]
    fn options_reach_the_build() {
        let cli = Cli::parse_from([
            "lemma",
            "--profile",
            "embedded",
            "--memory",
            "32M",
            "--smp",
            "2",
            "--dev",
            "--append",
            "a=b",
            "--copy",
            "x:/y",
            "--",
            "usertests",
            "-v",
        ]);
        let options = cli.run.options().unwrap();
        assert_eq!(options.kernel.profile, Profile::Embedded);
        assert!(options.kernel.dev && options.kernel.hooks);
        assert_eq!((options.memory_mib, options.cpus), (32, 2));
        assert_eq!(options.copies, [(PathBuf::from("x"), "/y".to_owned())]);
        assert_eq!(options.program, ["usertests", "-v"]);
    }

    #[test]
    fn unsupported_combinations_are_refused() {
        for words in [&["lemma", "--icount", "--smp", "2"][..], &["lemma", "--copy", "x:y"]] {
            assert!(Cli::parse_from(words).run.options().is_err(), "{words:?}");
        }
        for words in [
            &["lemma", "--dev", "--release"][..],
            &["lemma", "--smp", "many"],
            &["lemma", "--memory", "much"],
            &["lemma", "--arch", "z80"],
        ] {
            assert!(Cli::try_parse_from(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn measurements_run_on_one_architecture_or_on_all() {
        assert_eq!(architectures("riscv64").unwrap().0, [Arch::Riscv64]);
        assert_eq!(architectures("all").unwrap().0, Arch::ALL);
        assert!(architectures("z80").is_err());
    }

    #[test]
    fn copies_find_their_place() {
        let target = |text| parse_copy(text).unwrap().1;
        assert_eq!(target("dir/file"), "/root/file");
        assert_eq!(target("dir/file:/bin/"), "/bin/file");
        assert_eq!(target("dir/file:/etc/name"), "/etc/name");
        assert!(parse_copy("/").is_err());
    }
}
