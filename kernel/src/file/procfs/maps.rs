//! `/proc/PID/maps`.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use kernel_mem::Rights;
use kernel_vfs::FsError;

use super::process::{path_text, root};
use crate::mcore::Process;
use crate::mem::backing::Backing;

/// `proc_pid_maps(5)`.
pub(super) fn maps(process: &Process) -> Result<Vec<u8>, FsError> {
    let Some(space) = process.space() else { return Ok(Vec::new()) };
    let root = root()?;
    // Files are named after the address space has been let go of.
    let mut rows = Vec::new();
    space.for_each_region(|region| {
        let file = match &region.backing {
            Backing::File(backing) => Some((Arc::clone(&backing.file), backing.offset)),
            Backing::SharedFile(shared) => Some((Arc::clone(shared.mapping.file()), shared.offset)),
            Backing::Object { file, offset, .. } => Some((Arc::clone(file), *offset)),
            Backing::Anonymous | Backing::Unreserved | Backing::Shared { .. } => None,
        };
        let private = region.backing.is_private();
        rows.push((region.start, region.end, region.rights, private, region.grows_down, file));
    });
    let mut out = Vec::new();
    for (start, end, rights, private, stack, file) in rows {
        let letter = |right, letter| if rights.contains(right) { letter } else { '-' };
        let inode = file.as_ref().and_then(|(file, _)| file.metadata().ok());
        let line = format!(
            "{start:08x}-{end:08x} {}{}{}{} {:08x} 00:{:02x} {} ",
            letter(Rights::READ, 'r'),
            letter(Rights::WRITE, 'w'),
            letter(Rights::EXECUTE, 'x'),
            if private { 'p' } else { 's' },
            file.as_ref().map_or(0, |(_, offset)| *offset),
            file.as_ref().and_then(|(file, _)| file.dentry()).map_or(0, |d| d.mount().device()),
            inode.map_or(0, |metadata| metadata.inode),
        );
        out.extend_from_slice(line.as_bytes());
        if let Some(dentry) = file.as_ref().and_then(|(file, _)| file.dentry()) {
            out.extend_from_slice(&path_text(&root, dentry));
        } else if stack {
            out.extend_from_slice(b"[stack]");
        }
        out.push(b'\n');
    }
    Ok(out)
}
