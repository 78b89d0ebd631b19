//! File systems: mount umount df sync.

use crate::Call;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use commands::format::human;
use lemma_rt::rustix::fs::{StatFs, statfs};
use lemma_rt::rustix::mount::{self as calls, MountFlags, UnmountFlags};
use lemma_rt::{Result, eprintln, io, println, show};

/// A line of `/proc/mounts`.
struct Mounted {
    device: Vec<u8>,
    place: Vec<u8>,
    kind: Vec<u8>,
    options: Vec<u8>,
}

fn mounted() -> Result<Vec<Mounted>> {
    let table = io::read_file("/proc/mounts")?;
    let parse = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ').map(<[u8]>::to_vec);
        Some(Mounted {
            device: fields.next().filter(|device| !device.is_empty())?,
            place: fields.next()?,
            kind: fields.next()?,
            options: fields.next().unwrap_or_default(),
        })
    };
    Ok(table.split(|&byte| byte == b'\n').filter_map(parse).collect())
}

pub(crate) fn mount(call: &Call) -> i32 {
    let options = match call.options("t:o:") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let (device, place) = match options.operands.as_slice() {
        [] => return list(call),
        [place] if options.has(b'o') => (b"none".as_slice(), *place),
        [device, place] => (*device, *place),
        _ => return call.usage(),
    };
    let mut flags = MountFlags::empty();
    let mut data: Vec<&[u8]> = Vec::new();
    let mut remount = false;
    for option in options.value(b'o').unwrap_or(b"").split(|&byte| byte == b',') {
        match option {
            b"" | b"defaults" | b"rw" => {}
            b"ro" => flags |= MountFlags::RDONLY,
            b"nosuid" => flags |= MountFlags::NOSUID,
            b"nodev" => flags |= MountFlags::NODEV,
            b"noexec" => flags |= MountFlags::NOEXEC,
            b"noatime" => flags |= MountFlags::NOATIME,
            b"sync" => flags |= MountFlags::SYNCHRONOUS,
            b"remount" => remount = true,
            other => data.push(other),
        }
    }
    let result = if remount {
        calls::mount_remount(place, flags, c"")
    } else {
        let data = alloc::ffi::CString::new(data.join(&b',')).ok();
        let data = data.filter(|data| !data.is_empty());
        calls::mount(device, place, options.value(b't').unwrap_or(b"ext2"), flags, data.as_deref())
    };
    call.check(place, result)
}

fn list(call: &Call) -> i32 {
    match mounted() {
        Ok(table) => {
            for entry in table {
                println!(
                    "{} on {} type {} ({})",
                    show(&entry.device),
                    show(&entry.place),
                    show(&entry.kind),
                    show(&entry.options)
                );
            }
            0
        }
        Err(error) => call.fail(b"/proc/mounts", error),
    }
}

pub(crate) fn umount(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    call.each(&operands, |place| call.check(place, calls::unmount(place, UnmountFlags::empty())))
}

pub(crate) fn sync(call: &Call) -> i32 {
    if let Err(status) = call.operands(..1) {
        return status;
    }
    lemma_rt::rustix::fs::sync();
    0
}

pub(crate) fn df(call: &Call) -> i32 {
    let options = match call.options("hk") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let mut table = match mounted() {
        Ok(table) => table,
        Err(error) => return call.fail(b"/proc/mounts", error),
    };
    if !options.operands.is_empty() {
        let named = |place: &&[u8]| Mounted {
            device: table
                .iter()
                .filter(|entry| place.starts_with(&entry.place))
                .max_by_key(|entry| entry.place.len())
                .map_or_else(|| b"?".to_vec(), |entry| entry.device.clone()),
            place: place.to_vec(),
            kind: Vec::new(),
            options: Vec::new(),
        };
        table = options.operands.iter().map(named).collect();
    }
    let size = |blocks: u64, stat: &StatFs| {
        let bytes = blocks.saturating_mul(stat.f_bsize as u64);
        if options.has(b'h') { human(bytes) } else { format!("{}", bytes / 1024) }
    };
    let unit = if options.has(b'h') { "Size" } else { "1K-blocks" };
    println!(
        "{:<16} {unit:>9} {:>9} {:>9} {:>4} Mounted on",
        "Filesystem", "Used", "Available", "Use%"
    );
    let mut status = 0;
    for entry in &table {
        let stat = match statfs(entry.place.as_slice()) {
            Ok(stat) => stat,
            Err(error) => {
                status = call.fail(&entry.place, error);
                continue;
            }
        };
        // File systems without blocks hold no files of users, unless they were asked for.
        if stat.f_blocks == 0 && options.operands.is_empty() {
            continue;
        }
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        let all = used + stat.f_bavail;
        let share = match all {
            0 => String::from("-"),
            all => format!("{}%", (used * 100).div_ceil(all)),
        };
        println!(
            "{:<16} {:>9} {:>9} {:>9} {share:>4} {}",
            show(&entry.device),
            size(stat.f_blocks, &stat),
            size(used, &stat),
            size(stat.f_bavail, &stat),
            show(&entry.place)
        );
    }
    if table.is_empty() {
        eprintln!("df: nothing is mounted");
    }
    status
}
