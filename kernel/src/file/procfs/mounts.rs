//! What is mounted where: `/proc/PID/mounts` and `mountinfo`.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use kernel_vfs::{Identity, Mount, MountFlags, MountRow, Walk, mount};

use super::super::VFS;
use super::process::root;

/// Calls `line` with each mount that the reader can reach, and where that sees it.
fn for_each(mut line: impl FnMut(&MountRow, &[u8])) {
    let Ok(root) = root() else { return };
    let list = mount::list(&VFS);
    let walk = Walk { vfs: &VFS, root: &root, identity: Identity::ROOT };
    for row in list {
        if let Some(path) = walk.path_of(&row.root) {
            line(&row, &path);
        }
    }
}

/// The flags, as options of `mount(8)`.
fn options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut options = String::from(access(mount));
    for (flag, name) in [
        (MountFlags::NO_SET_ID, ",nosuid"),
        (MountFlags::NO_DEVICES, ",nodev"),
        (MountFlags::NO_EXECUTE, ",noexec"),
        (MountFlags::NO_ATIME, ",noatime"),
    ] {
        if flags.contains(flag) {
            options.push_str(name);
        }
    }
    options
}

fn access(mount: &Mount) -> &'static str {
    if mount.read_only() { "ro" } else { "rw" }
}

/// `proc_pid_mounts(5)`.
pub(super) fn mounts() -> Vec<u8> {
    let mut out = Vec::new();
    for_each(|row, path| {
        escape(row.mount.source(), &mut out);
        out.push(b' ');
        escape(path, &mut out);
        let name = row.mount.file_system().name();
        out.extend_from_slice(format!(" {name} {} 0 0\n", options(&row.mount)).as_bytes());
    });
    out
}

/// `proc_pid_mountinfo(5)`. A mount's number is that of its device: no file system is mounted twice.
pub(super) fn mount_info() -> Vec<u8> {
    let mut out = Vec::new();
    for_each(|row, path| {
        let device = row.mount.device();
        let (major, minor) = (device >> 8, device & 0xff);
        let place = format!("{device} {} {major}:{minor} / ", row.parent);
        out.extend_from_slice(place.as_bytes());
        escape(path, &mut out);
        let name = row.mount.file_system().name();
        out.extend_from_slice(format!(" {} - {name} ", options(&row.mount)).as_bytes());
        escape(row.mount.source(), &mut out);
        out.extend_from_slice(format!(" {}\n", access(&row.mount)).as_bytes());
    });
    out
}

/// Writes a field: blanks and backslashes as octal.
fn escape(field: &[u8], out: &mut Vec<u8>) {
    for &byte in field {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' => {
                out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            }
            byte => out.push(byte),
        }
    }
}
