//! A disk image for machines whose firmware is U-Boot: one FAT partition, with the kernel as a
//! Linux image, the root file system, and `extlinux.conf`, which tells U-Boot of both.
//!
//! The partition begins at 16 MiB, behind the place where many boards expect their firmware on
//! an SD card. U-Boot hands on the device tree that it has.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::{Fat, Medium};
use crate::workspace::Workspace;

const MIB: u64 = 1 << 20;
const PARTITION_START: u64 = 16 * MIB;
const SECTOR: u64 = 512;
/// A FAT16 file system is at least so large.
const SMALLEST: u64 = 16 * MIB;

/// A master boot record with one active FAT16 partition, from sector `start` on.
fn partition_table(start: u32, sectors: u32) -> [u8; SECTOR as usize] {
    const ACTIVE: u8 = 0x80;
    const FAT16_LBA: u8 = 0x0e;
    /// "Use the sector numbers."
    const NO_GEOMETRY: [u8; 3] = [0xfe, 0xff, 0xff];
    let mut record = [0; SECTOR as usize];
    let entry = [
        &[ACTIVE][..],
        &NO_GEOMETRY,
        &[FAT16_LBA],
        &NO_GEOMETRY,
        &start.to_le_bytes(),
        &sectors.to_le_bytes(),
    ]
    .concat();
    record[446..462].copy_from_slice(&entry);
    record[510..].copy_from_slice(&[0x55, 0xaa]);
    record
}

/// See U-Boot's `doc/develop/distro.rst`.
fn configuration(command_line: &str) -> String {
    let append = match command_line {
        "" => String::new(),
        words => format!("  append {words}\n"),
    };
    format!("default lemma\nlabel lemma\n  kernel /Image\n  initrd /root.img\n{append}")
}

pub(super) fn write(medium: &Medium, workspace: &Workspace, output: &Path) -> Result<()> {
    let content = medium.kernel.metadata()?.len() + medium.root.metadata()?.len();
    let size = (content + 2 * MIB).max(SMALLEST).next_multiple_of(MIB);
    let mut file =
        File::create(output).with_context(|| format!("cannot create {}", output.display()))?;
    file.set_len(PARTITION_START + size)?;
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).context("the image is too large");
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&partition_table(sectors(PARTITION_START)?, sectors(size)?))?;
    drop(file);
    let folder = tempfile::Builder::new().prefix("lemma-board-").tempdir()?;
    let list = folder.path().join("extlinux.conf");
    fs::write(&list, configuration(&medium.command_line))?;
    let fat = Fat::format(workspace, output, PARTITION_START, size, "LEMMA")?;
    fat.folder("/extlinux")?;
    fat.copy(&list, "/extlinux/extlinux.conf")?;
    fat.copy(&medium.kernel, "/Image")?;
    fat.copy(&medium.root, "/root.img")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_is_where_it_says() {
        let record = partition_table(0x8000, 0x1234);
        assert_eq!(record[446], 0x80);
        assert_eq!(record[450], 0x0e);
        assert_eq!(record[454..462], [0, 0x80, 0, 0, 0x34, 0x12, 0, 0]);
        assert_eq!(record[510..], [0x55, 0xaa]);
    }

    #[test]
    fn the_configuration_has_the_command_line() {
        assert!(configuration("a=b -- sh").ends_with("  append a=b -- sh\n"));
        assert!(!configuration("").contains("append"));
    }
}
