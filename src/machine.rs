//! One description per machine: which QEMU, which devices, which flags.
//!
//! [`Machine`] is what a user may choose about the machine; [`Machine::command`] turns it
//! into QEMU's command line. Neighbours: `qemu` starts it; `cli` fills it in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::firmware::{Attached, Files, Firmware};
use crate::setup::Tool;

/// The CPU architecture of the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Arch {
    /// 64-bit x86.
    #[default]
    #[value(name = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    #[value(name = "aarch64")]
    Aarch64,
    /// 64-bit RISC-V.
    #[value(name = "riscv64")]
    Riscv64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Riscv64];

    /// Its name on the command line, in file names, and to `uname -m`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The emulator.
    #[must_use]
    pub const fn qemu(self) -> Tool {
        match self {
            Self::X86_64 => Tool::QemuX86,
            Self::Aarch64 => Tool::QemuArm,
            Self::Riscv64 => Tool::QemuRiscv,
        }
    }

    /// The emulator's CPU with the most features; older emulators of RISC-V have none of that
    /// name.
    const fn usual_cpu(self) -> &'static str {
        match self {
            Self::X86_64 | Self::Aarch64 => "max",
            Self::Riscv64 => "rv64",
        }
    }
}

/// How VirtIO devices are reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Virtio {
    /// On PCI; in memory on a machine without PCI.
    #[default]
    Auto,
    /// By registers in memory.
    Mmio,
    /// The same, as before VirtIO 1.0.
    MmioLegacy,
}

/// Where a machine's picture goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picture {
    /// Nowhere but into screenshots.
    Headless,
    /// Into a window, by this one of QEMU's backends.
    Window(String),
    /// To VNC clients on this host.
    Vnc,
}

impl Picture {
    /// Where VNC clients find it.
    pub const VNC: &'static str = "127.0.0.1:5900";

    /// QEMU's word for it.
    fn display(&self) -> &str {
        match self {
            Self::Headless => "none",
            Self::Window(backend) => backend,
            // Display 0 is port 5900.
            Self::Vnc => "vnc=127.0.0.1:0",
        }
    }
}

/// The root disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// Changes last until the guest ends; the file is only read.
    Fresh(PathBuf),
    /// Changes are kept in the file.
    Kept(PathBuf),
    /// The boot loader loads it into memory; changes last until the guest ends.
    Memory(PathBuf),
}

/// What the machine starts with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// QEMU loads the kernel itself.
    Kernel {
        /// The bootable image.
        image: PathBuf,
        /// The kernel's command line.
        command_line: String,
        /// The disk with the root file system.
        disk: Disk,
    },
    /// Firmware finds all of it on a medium, which is only read.
    Medium {
        /// What looks for it.
        firmware: Firmware,
        /// The medium's image.
        file: PathBuf,
        /// How it is attached.
        attached: Attached,
    },
}

/// QEMU's machine of an x86 without PCI.
const MICROVM: &str = "microvm";

/// As many CPUs as the kernel has room for (`arch::traits::MAX_CPUS`).
pub const MOST_CPUS: u32 = 64;

/// As many as Arm's older interrupt controller reaches, a bit of a byte each.
const MOST_CPUS_GICV2: u32 = 8;

/// What may be chosen about the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What it is.
    pub arch: Arch,
    /// The CPU's model, where not the usual one.
    pub cpu: Option<String>,
    /// More of QEMU's `-machine`, such as `gic-version=3`; the first may be another machine's
    /// name.
    pub options: Vec<String>,
    /// The number of CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// What it starts with.
    pub start: Start,
    /// As real machines are: without QEMU's devices for an exit status, and a reset starts it
    /// anew instead of ending it.
    pub bare: bool,
    /// How virtio devices are reached.
    pub virtio: Virtio,
    /// Has an entropy device.
    pub entropy: bool,
    /// Has a display, whose picture goes there.
    pub graphics: Option<Picture>,
    /// Count instructions: the guest's clock advances by one nanosecond for each.
    pub icount: bool,
    /// Wait for a debugger before the first instruction.
    pub debug: bool,
}

impl Machine {
    /// The name of QEMU's machine, and what may be chosen about it.
    fn kind(&self) -> (&str, &[String]) {
        if let Some((name, rest)) = self.options.split_first()
            && !name.contains('=')
        {
            return (name, rest);
        }
        let usual = match self.arch {
            Arch::X86_64 => "q35",
            Arch::Aarch64 | Arch::Riscv64 => "virt",
        };
        (usual, &self.options)
    }

    /// An error unless such a machine may have so many CPUs.
    pub fn check_cpus(arch: Arch, options: &[String], cpus: u32) -> Result<()> {
        let mut versions = options
            .iter()
            .flat_map(|words| words.split(','))
            .filter_map(|word| word.strip_prefix("gic-version="));
        let (most, hint) = match (arch, versions.next_back()) {
            _ if options.first().is_some_and(|name| name == MICROVM) => {
                (1, " on a microvm, which names no others without ACPI")
            }
            (Arch::Aarch64, None | Some("2")) => {
                (MOST_CPUS_GICV2, " with a GICv2 (--machine gic-version=3 takes more)")
            }
            _ => (MOST_CPUS, ""),
        };
        if !(1..=most).contains(&cpus) {
            bail!("--smp {cpus}: {} has 1 to {most} CPUs{hint}", arch.name());
        }
        Ok(())
    }

    /// Whether it is the one without PCI.
    fn is_microvm(&self) -> bool {
        self.kind().0 == MICROVM
    }

    /// QEMU's arguments. `status` is the file that receives the guest's exit status; `monitor`
    /// is the socket where a machine with a display takes commands (QMP).
    pub fn arguments(&self, status: &Path, monitor: &Path) -> Result<Vec<OsString>> {
        let mut arguments = Arguments::default();
        let (name, options) = self.kind();
        let mut machine = vec![name];
        if self.is_microvm() {
            // Its ACPI tables describe devices by programs only; the command line names them, and
            // QEMU would put its own words behind those of init.
            machine.extend(["acpi=off", "auto-kernel-cmdline=off"]);
        }
        machine.extend(options.iter().map(String::as_str));
        arguments.pair("-machine", machine.join(","));
        arguments.pair("-cpu", self.cpu.as_deref().unwrap_or_else(|| self.arch.usual_cpu()));
        arguments.words(&["-nodefaults", "-no-user-config"]);
        arguments.pair("-display", self.graphics.as_ref().map_or("none", Picture::display));
        if !self.bare {
            // A triple fault ends the run instead of starting it again.
            arguments.words(&["-no-reboot"]);
        }
        if self.icount {
            if self.cpus != 1 {
                bail!("--icount works with one CPU only (QEMU), not with --smp {}", self.cpus);
            }
            arguments.words(&["-accel", "tcg", "-icount", "shift=0,sleep=off", "-seed", "1"]);
            arguments.words(&["-rtc", "base=2026-01-01,clock=vm"]);
        } else {
            arguments.words(&["-accel", "tcg"]);
        }
        arguments.pair("-smp", self.cpus.to_string());
        arguments.pair("-m", format!("{}M", self.memory_mib));
        let mut devices = Vec::new();
        match &self.start {
            Start::Kernel { image, disk, .. } => {
                arguments.pair("-kernel", image);
                if arguments.root_disk(disk)? {
                    devices.push(("virtio-blk", "drive=root"));
                }
            }
            Start::Medium { firmware, file, attached } => {
                arguments.firmware(firmware.files(self.arch)?)?;
                arguments.medium(file, *attached, self.arch)?;
            }
        }
        if self.entropy {
            devices.push(("virtio-rng", ""));
        }
        if self.graphics.is_some() {
            match (&self.start, self.arch) {
                // What a PC's firmware and boot loader show something on.
                (Start::Medium { .. }, Arch::X86_64) => arguments.pair("-device", "VGA"),
                _ => devices.push(("virtio-gpu", "")),
            }
            devices.push(("virtio-keyboard", ""));
            let mut socket = OsString::from("unix:");
            socket.push(option_value(monitor)?);
            socket.push(",server=on,wait=off");
            arguments.pair("-qmp", socket);
        }
        let mut words = self.add_virtio(&mut arguments, &devices)?;
        if let Start::Kernel { command_line, .. } = &self.start {
            words.push(command_line.clone());
            arguments.pair("-append", words.join(" "));
        }
        arguments.pair("-serial", "stdio");
        if !self.bare {
            arguments.status(status, self.arch)?;
        }
        if self.debug {
            arguments.words(&["-s", "-S"]);
        }
        Ok(arguments.0)
    }

    /// Adds virtio devices; returns what the kernel's command line has to say of them.
    fn add_virtio(
        &self,
        arguments: &mut Arguments,
        devices: &[(&str, &str)],
    ) -> Result<Vec<String>> {
        let in_memory = self.is_microvm() || self.virtio != Virtio::Auto;
        if in_memory && !self.is_microvm() && self.arch == Arch::X86_64 {
            bail!(
                "only the machine `{MICROVM}` has virtio devices in memory (--machine {MICROVM})"
            );
        }
        if in_memory && self.virtio != Virtio::MmioLegacy {
            arguments.words(&["-global", "virtio-mmio.force-legacy=false"]);
        }
        let mut words = Vec::new();
        for (slot, (name, options)) in (0_u64..).zip(devices) {
            let kind = if in_memory { "device" } else { "pci" };
            let mut device = format!("{name}-{kind}");
            if !options.is_empty() {
                device.push(',');
                device.push_str(options);
            }
            if in_memory {
                device.push_str(&format!(",bus=virtio-mmio-bus.{slot}"));
            }
            arguments.pair("-device", device);
            if self.is_microvm() {
                // QEMU, hw/i386/microvm.c: 512 bytes for each, and interrupts from 5 on.
                let (address, interrupt) = (0xfeb0_0000 + 512 * slot, 5 + slot);
                words.push(format!("virtio_mmio.device=512@{address:#x}:{interrupt}"));
            }
        }
        Ok(words)
    }
}

/// A path inside a QEMU option list, where a comma is written twice.
fn option_value(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.replace(',', ",,")),
        None => bail!("{} is not UTF-8: QEMU cannot be told about it", path.display()),
    }
}

/// Reads `256`, `256M` or `1G`; the answer is in MiB.
pub fn parse_memory(text: &str) -> Result<u64> {
    const UNITS: [(char, u64, u64); 4] =
        [('K', 1, 1024), ('M', 1, 1), ('G', 1024, 1), ('T', 1 << 20, 1)];
    let last = text.chars().last().map(|last| last.to_ascii_uppercase());
    let unit = UNITS.into_iter().find(|(letter, ..)| Some(*letter) == last);
    let (digits, factor, divisor) = match unit {
        Some((_, factor, divisor)) => (text.get(..text.len() - 1), factor, divisor),
        None => (Some(text), 1, 1),
    };
    let number = digits.and_then(|digits| digits.parse::<u64>().ok());
    match number.map(|number| number.saturating_mul(factor) / divisor) {
        Some(size @ 8..=1_048_576) => Ok(size),
        Some(_) => bail!("memory is between 8M and 1024G"),
        None => bail!("`{text}` is not a size such as 256M or 1G"),
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }

    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }

    /// A drive for a device to use.
    fn drive(&mut self, id: &str, file: &Path, more: &str) -> Result<()> {
        let file = option_value(file)?;
        self.pair("-drive", format!("if=none,id={id},format=raw,{more},file={file}"));
        Ok(())
    }

    /// `false` if the disk needs no device.
    fn root_disk(&mut self, disk: &Disk) -> Result<bool> {
        match disk {
            Disk::Fresh(file) => self.drive("root", file, "snapshot=on")?,
            Disk::Kept(file) => self.drive("root", file, "snapshot=off")?,
            Disk::Memory(file) => {
                self.pair("-initrd", file);
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn firmware(&mut self, files: Files) -> Result<()> {
        let path = |tool: Tool| tool.find().with_context(|| format!("no {}", tool.program()));
        match files {
            Files::None => {}
            Files::Code(code) => self.pair("-bios", path(code)?),
            Files::Second(code) => self.pair("-kernel", path(code)?),
            Files::Flash(code, stored) => {
                for (unit, file, how) in [(0, code, "readonly=on"), (1, stored, "snapshot=on")] {
                    let file = option_value(&path(file)?)?;
                    let drive = format!("if=pflash,format=raw,unit={unit},{how},file={file}");
                    self.pair("-drive", drive);
                }
            }
        }
        Ok(())
    }

    fn medium(&mut self, file: &Path, attached: Attached, arch: Arch) -> Result<()> {
        let more = if attached == Attached::Cd { "media=cdrom,readonly=on" } else { "snapshot=on" };
        self.drive("medium", file, more)?;
        match (attached, arch) {
            (Attached::Disk, Arch::X86_64) => self.pair("-device", "ide-hd,drive=medium"),
            (Attached::Disk, _) => self.pair("-device", "virtio-blk-pci,drive=medium"),
            (Attached::Cd, Arch::X86_64) => self.pair("-device", "ide-cd,drive=medium"),
            (Attached::Cd, _) => bail!("only PCs boot CDs"),
            (Attached::Usb, _) => {
                self.pair("-device", "qemu-xhci");
                self.pair("-device", "usb-storage,drive=medium");
            }
        }
        Ok(())
    }

    /// The guest's last words: a status byte of its own, then QEMU's exit.
    fn status(&mut self, file: &Path, arch: Arch) -> Result<()> {
        self.pair("-chardev", format!("file,id=status,path={}", option_value(file)?));
        match arch {
            Arch::X86_64 => {
                self.pair("-device", "isa-debugcon,iobase=0xe9,chardev=status");
                self.pair("-device", "isa-debug-exit,iobase=0xf4,iosize=4");
            }
            // The same through semihosting, which only the kernel may use.
            Arch::Aarch64 | Arch::Riscv64 => {
                self.pair("-semihosting-config", "enable=on,target=native,chardev=status");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            arch: Arch::X86_64,
            cpu: None,
            options: Vec::new(),
            cpus: 1,
            memory_mib: 256,
            start: start(Disk::Fresh("root.img".into())),
            bare: false,
            virtio: Virtio::Auto,
            entropy: true,
            graphics: None,
            icount: false,
            debug: false,
        }
    }

    fn start(disk: Disk) -> Start {
        Start::Kernel { image: "kernel.img".into(), command_line: "a b -- c".to_owned(), disk }
    }

    fn joined(machine: &Machine) -> String {
        let words = machine.arguments(Path::new("/tmp/status"), Path::new("/tmp/qmp")).unwrap();
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn memory_sizes() {
        assert_eq!(parse_memory("256").unwrap(), 256);
        assert_eq!(parse_memory("32M").unwrap(), 32);
        assert_eq!(parse_memory("2g").unwrap(), 2048);
        assert_eq!(parse_memory("1T").unwrap(), 1 << 20);
        assert_eq!(parse_memory("65536K").unwrap(), 64);
        for text in ["512K", "2T", "99999999999999999T"] {
            let message = parse_memory(text).unwrap_err().to_string();
            assert_eq!(message, "memory is between 8M and 1024G", "{text}");
        }
        for wrong in ["", "M", "-1", "1X", "0", "7M", "99999999G", "18446744073709551615G"] {
            assert!(parse_memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fresh_disk_is_not_written() {
        assert!(joined(&machine()).contains("snapshot=on,file=root.img"));
        let kept = Machine { start: start(Disk::Kept("my,disk.img".into())), ..machine() };
        assert!(joined(&kept).contains("snapshot=off,file=my,,disk.img"));
    }

    #[test]
    fn a_disk_in_memory_is_no_device() {
        let words = joined(&Machine { start: start(Disk::Memory("root.img".into())), ..machine() });
        assert!(words.contains("-initrd root.img"), "{words}");
        assert!(!words.contains("virtio-blk"), "{words}");
    }

    #[test]
    fn firmware_boots_a_medium_that_is_not_written() {
        let boot = |attached| {
            let firmware = Firmware::Bios;
            let start = Start::Medium { firmware, file: "a.iso".into(), attached };
            joined(&Machine { start, ..machine() })
        };
        let words = boot(Attached::Cd);
        assert!(words.contains("media=cdrom,readonly=on,file=a.iso"), "{words}");
        assert!(!words.contains("-kernel") && !words.contains("-append"), "{words}");
        let words = boot(Attached::Usb);
        assert!(words.contains("snapshot=on,file=a.iso"), "{words}");
    }

    #[test]
    fn a_bare_machine_has_nothing_of_qemu_s() {
        let words = joined(&Machine { bare: true, ..machine() });
        assert!(!words.contains("isa-debug") && !words.contains("-no-reboot"), "{words}");
    }

    #[test]
    fn the_cpu_and_the_machine_can_be_chosen() {
        let arm = Machine { arch: Arch::Aarch64, ..machine() };
        assert!(joined(&arm).contains("-machine virt -cpu max"));
        let older = Machine {
            cpu: Some("cortex-a72".to_owned()),
            options: vec!["gic-version=3".to_owned()],
            ..arm
        };
        assert!(joined(&older).contains("-machine virt,gic-version=3 -cpu cortex-a72"));
    }

    #[test]
    fn virtio_devices_are_on_pci_or_in_memory() {
        assert!(joined(&machine()).contains("-device virtio-rng-pci -append a b -- c"));
        assert!(!joined(&Machine { entropy: false, ..machine() }).contains("rng"));
        let arm = Machine { arch: Arch::Aarch64, virtio: Virtio::Mmio, ..machine() };
        let line = joined(&arm);
        assert!(line.contains("-global virtio-mmio.force-legacy=false"), "{line}");
        assert!(line.contains("virtio-blk-device,drive=root,bus=virtio-mmio-bus.0"), "{line}");
        let legacy = Machine { virtio: Virtio::MmioLegacy, ..arm };
        assert!(!joined(&legacy).contains("force-legacy"));
        let micro = Machine { options: vec!["microvm".to_owned()], ..machine() };
        let line = joined(&micro);
        assert!(line.contains("-machine microvm,acpi=off,auto-kernel-cmdline=off "), "{line}");
        let words = "virtio_mmio.device=512@0xfeb00000:5 virtio_mmio.device=512@0xfeb00200:6";
        assert!(line.contains(&format!("-append {words} a b -- c")), "{line}");
        let none = Machine { virtio: Virtio::Mmio, ..machine() };
        assert!(none.arguments(Path::new("s"), Path::new("q")).is_err());
    }

    #[test]
    fn a_display_is_there_only_when_asked_for() {
        let line = joined(&machine());
        assert!(line.contains("-display none") && !line.contains("gpu") && !line.contains("qmp"));
        let headless = Machine { graphics: Some(Picture::Headless), ..machine() };
        let line = joined(&headless);
        assert!(line.contains("-display none"), "{line}");
        assert!(line.contains("-qmp unix:/tmp/qmp,server=on,wait=off"), "{line}");
        assert!(line.contains("-device virtio-gpu-pci -device virtio-keyboard-pci"), "{line}");
        let window = Machine { graphics: Some(Picture::Window("gtk".to_owned())), ..machine() };
        assert!(joined(&window).contains("-display gtk"));
        let vnc = Machine { graphics: Some(Picture::Vnc), ..machine() };
        assert!(joined(&vnc).contains("-display vnc=127.0.0.1:0"));
    }

    #[test]
    fn a_pc_with_firmware_has_a_display_that_firmware_knows() {
        let (firmware, attached) = (Firmware::Bios, Attached::Disk);
        let start = Start::Medium { firmware, file: "m".into(), attached };
        let line = joined(&Machine { start, graphics: Some(Picture::Headless), ..machine() });
        assert!(line.contains("-device VGA") && !line.contains("virtio-gpu"), "{line}");
        assert!(line.contains("-device virtio-keyboard-pci"), "{line}");
    }

    #[test]
    fn the_number_of_cpus_has_bounds_of_the_machine_s() {
        let check = |arch, words: &[&str], cpus| {
            let options: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            Machine::check_cpus(arch, &options, cpus).map_err(|error| error.to_string())
        };
        for (arch, words, most) in [
            (Arch::X86_64, &[][..], 64),
            (Arch::X86_64, &["microvm"], 1),
            (Arch::Riscv64, &[], 64),
            (Arch::Aarch64, &[], 8),
            (Arch::Aarch64, &["gic-version=2"], 8),
            (Arch::Aarch64, &["virtualization=on", "gic-version=3"], 64),
        ] {
            assert_eq!(check(arch, words, 1), Ok(()));
            assert_eq!(check(arch, words, most), Ok(()));
            for wrong in [0, most + 1, u32::MAX] {
                let message = check(arch, words, wrong).unwrap_err();
                let says = format!("--smp {wrong}: {} has 1 to {most} CPUs", arch.name());
                assert!(message.starts_with(&says) && !message.contains('\n'), "{message}");
            }
        }
    }

    #[test]
    fn counting_instructions_needs_one_cpu() {
        let counted = Machine { icount: true, ..machine() };
        assert!(joined(&counted).contains("-icount shift=0,sleep=off -seed 1"));
        let two = Machine { cpus: 2, ..counted };
        assert!(two.arguments(Path::new("s"), Path::new("q")).is_err());
    }

    #[test]
    fn a_debugger_is_waited_for_only_when_asked() {
        assert!(!joined(&machine()).contains(" -S"));
        assert!(joined(&Machine { debug: true, ..machine() }).ends_with("-s -S"));
    }
}
