//! Which file systems belong where: `/etc/fstab`, or the table here if there is none.

use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::io::read_file;
use lemma_rt::rustix::fs::{Mode, mkdir};
use lemma_rt::rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use lemma_rt::{Errno, Result, eprintln, error_text, show};

/// What every system has, as lines of fstab(5): device, mount point, type.
const USUAL: &[u8] = b"\
dev     /dev            devtmpfs
proc    /proc           proc
bpf     /sys/fs/bpf     bpf
tmp     /tmp            tmpfs
";

/// Other names under which kernels have a file system, tried in turn.
const ALSO_CALLED: &[(&[u8], &[u8])] = &[(b"devtmpfs", b"devfs"), (b"devfs", b"devtmpfs")];

/// A line of the table.
struct Entry<'a> {
    device: &'a [u8],
    place: &'a [u8],
    kind: &'a [u8],
}

fn entries(table: &[u8]) -> impl DoubleEndedIterator<Item = Entry<'_>> {
    let parse = |line| {
        let mut fields = fields(line);
        let entry = Entry { device: fields.next()?, place: fields.next()?, kind: fields.next()? };
        (!entry.device.starts_with(b"#")).then_some(entry)
    };
    table.split(|&byte| byte == b'\n').filter_map(parse)
}

/// The blank-separated words of a line.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

fn table() -> Vec<u8> {
    read_file("/etc/fstab").unwrap_or_else(|_| USUAL.to_vec())
}

/// Mounts everything in the table but the root, which the kernel has mounted.
pub(crate) fn mount_all() {
    let table = table();
    for entry in entries(&table).filter(|entry| entry.place != b"/") {
        match mount_one(&entry) {
            // The kernel may have mounted it before it started us.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(error) => eprintln!(
                "init: mount {} on {}: {}",
                show(entry.kind),
                show(entry.place),
                error_text(error)
            ),
        }
    }
}

fn mount_one(entry: &Entry<'_>) -> Result<()> {
    make_directories(entry.place);
    let attempt = |kind: &[u8]| {
        mount(entry.device, entry.place, kind, MountFlags::empty(), None::<&core::ffi::CStr>)
    };
    match attempt(entry.kind) {
        Err(Errno::NODEV) => ALSO_CALLED
            .iter()
            .find(|(name, _)| *name == entry.kind)
            .map_or(Err(Errno::NODEV), |(_, other)| attempt(other)),
        result => result,
    }
}

/// Makes a mount point, as far as its file system lets us; `mount` reports what is missing.
fn make_directories(place: &[u8]) {
    for (position, _) in place.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
        let _ = mkdir(place.get(..position).unwrap_or(place), Mode::from(0o755));
    }
    let _ = mkdir(place, Mode::from(0o755));
}

/// Unmounts the table's file systems, last first, and leaves the root read-only.
pub(crate) fn unmount_all() {
    let table = table();
    for entry in entries(&table).rev().filter(|entry| entry.place != b"/") {
        // Not mounted, or the console is still open on it: both harmless.
        let _ = unmount(entry.place, UnmountFlags::empty());
    }
    let flags = lemma_rt::general::MS_REMOUNT | lemma_rt::general::MS_RDONLY;
    let root = CString::from(c"/");
    // SAFETY: strings end with NUL; the others are null, which a remount allows.
    let result = unsafe {
        lemma_rt::syscall!(
            lemma_rt::general::__NR_mount,
            core::ptr::null::<u8>(),
            root.as_ptr(),
            core::ptr::null::<u8>(),
            flags,
            core::ptr::null::<u8>()
        )
    };
    if let Err(error) = result {
        eprintln!("init: remount / read-only: {}", error_text(error));
    }
}
