//! What runs first on a machine that boots a medium.
//!
//! QEMU brings a BIOS for PCs; UEFI and U-Boot come from packages. Neighbours: `media` writes
//! what they boot; `machine` puts them into the machine.

use anyhow::{Result, bail};

use crate::machine::Arch;
use crate::setup::Tool;

/// What looks for something to boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Firmware {
    /// A PC's BIOS (SeaBIOS).
    Bios,
    /// A PC's UEFI (OVMF).
    Uefi,
    /// U-Boot, as boards have it.
    #[value(name = "u-boot")]
    UBoot,
}

/// Where firmware is, in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    /// QEMU has it.
    None,
    /// One file.
    Code(Tool),
    /// One file, which QEMU's own firmware starts.
    Second(Tool),
    /// Flash memory: the code, and what it has stored.
    Flash(Tool, Tool),
}

impl Firmware {
    /// Its files; an error for an architecture that does not have it.
    pub(crate) fn files(self, arch: Arch) -> Result<Files> {
        match (self, arch) {
            (Self::Bios, Arch::X86_64) => Ok(Files::None),
            (Self::Uefi, Arch::X86_64) => Ok(Files::Flash(Tool::Ovmf, Tool::OvmfVariables)),
            (Self::UBoot, Arch::Aarch64) => Ok(Files::Code(Tool::UBootArm)),
            (Self::UBoot, Arch::Riscv64) => Ok(Files::Second(Tool::UBootRiscv)),
            _ => bail!("there is no such firmware for {}", arch.name()),
        }
    }

    /// What has to be installed for it; an error for an architecture that does not have it.
    pub fn tools(self, arch: Arch) -> Result<Vec<Tool>> {
        Ok(match self.files(arch)? {
            Files::None => Vec::new(),
            Files::Code(code) | Files::Second(code) => vec![code],
            Files::Flash(code, stored) => vec![code, stored],
        })
    }
}

/// How a medium is attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Attached {
    /// As a hard disk.
    #[default]
    Disk,
    /// As a CD.
    Cd,
    /// As a USB stick.
    Usb,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_machine_has_firmware_and_not_that_of_others() {
        let all = [Firmware::Bios, Firmware::Uefi, Firmware::UBoot];
        for arch in Arch::ALL {
            assert!(all.into_iter().any(|firmware| firmware.tools(arch).is_ok()));
            assert!(all.into_iter().any(|firmware| firmware.tools(arch).is_err()));
        }
    }
}
