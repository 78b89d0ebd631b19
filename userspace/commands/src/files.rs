//! Making, removing and describing files: mkdir mkfifo rmdir rm ln touch chmod readlink stat.

use crate::Call;
use alloc::vec::Vec;
use commands::calendar::Moment;
use commands::format;
use lemma_rt::rustix::fs::{self, Stat};
use lemma_rt::rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, Timespec, Timestamps, UTIME_NOW, linkat, lstat,
    mknodat, open, symlink, unlinkat, utimensat,
};
use lemma_rt::{Errno, Result, println, show};

/// The names in a directory, `.` and `..` excepted, sorted.
pub(crate) fn names_in(directory: &[u8]) -> Result<Vec<Vec<u8>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(directory, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(8192);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort();
    Ok(names)
}

/// `directory/name`.
pub(crate) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let separator: &[u8] = if directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, separator, name].concat()
}

pub(crate) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(crate) fn mkdir(call: &Call) -> i32 {
    let options = match call.options("p") {
        Ok(options) if !options.operands.is_empty() => options,
        Ok(_) => return call.usage(),
        Err(status) => return status,
    };
    call.each(&options.operands, |path| {
        if !options.has(b'p') {
            return call.check(path, fs::mkdir(path, Mode::from(0o777)));
        }
        let ends = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        for end in ends.map(|(end, _)| end).chain([path.len()]) {
            let part = path.get(..end).unwrap_or(path);
            match fs::mkdir(part, Mode::from(0o777)) {
                Err(Errno::EXIST) if fs::stat(part).is_ok_and(|stat| is_directory(&stat)) => {}
                Err(error) => return call.fail(part, error),
                Ok(()) => {}
            }
        }
        0
    })
}

pub(crate) fn mkfifo(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    let make = |path: &[u8]| mknodat(CWD, path, FileType::Fifo, Mode::from(0o666), 0);
    call.each(&operands, |path| call.check(path, make(path)))
}

pub(crate) fn rmdir(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    call.each(&operands, |path| call.check(path, unlinkat(CWD, path, AtFlags::REMOVEDIR)))
}

pub(crate) fn rm(call: &Call) -> i32 {
    let options = match call.options("rRf") {
        Ok(options) if !options.operands.is_empty() || options.has(b'f') => options,
        Ok(_) => return call.usage(),
        Err(status) => return status,
    };
    let recursive = options.has(b'r') || options.has(b'R');
    call.each(&options.operands, |path| match lstat(path) {
        Err(Errno::NOENT) if options.has(b'f') => 0,
        Err(error) => call.fail(path, error),
        Ok(stat) if is_directory(&stat) && !recursive => call.fail(path, Errno::ISDIR),
        Ok(stat) => remove(call, path, is_directory(&stat)),
    })
}

/// Removes a file, or a directory with all that is in it.
pub(crate) fn remove(call: &Call, path: &[u8], directory: bool) -> i32 {
    if !directory {
        return call.check(path, unlinkat(CWD, path, AtFlags::empty()));
    }
    let names = match names_in(path) {
        Ok(names) => names,
        Err(error) => return call.fail(path, error),
    };
    for name in names {
        let inner = join(path, &name);
        let status = match lstat(inner.as_slice()) {
            Ok(stat) => remove(call, &inner, is_directory(&stat)),
            Err(error) => call.fail(&inner, error),
        };
        if status != 0 {
            return status;
        }
    }
    call.check(path, unlinkat(CWD, path, AtFlags::REMOVEDIR))
}

pub(crate) fn ln(call: &Call) -> i32 {
    let options = match call.options("sf") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let [target, link] = options.operands.as_slice() else { return call.usage() };
    let mut link = link.to_vec();
    if fs::stat(link.as_slice()).is_ok_and(|stat| is_directory(&stat)) {
        link = join(&link, crate::base(target));
    }
    if options.has(b'f') {
        let _ = unlinkat(CWD, link.as_slice(), AtFlags::empty());
    }
    let result = if options.has(b's') {
        symlink(*target, link.as_slice())
    } else {
        linkat(CWD, *target, CWD, link.as_slice(), AtFlags::empty())
    };
    call.check(&link, result)
}

pub(crate) fn touch(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now(), last_modification: now() };
    call.each(&operands, |path| {
        let result = match utimensat(CWD, path, &times, AtFlags::empty()) {
            Err(Errno::NOENT) => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
                open(path, flags, Mode::from(0o666)).map(drop)
            }
            result => result,
        };
        call.check(path, result)
    })
}

pub(crate) fn chmod(call: &Call) -> i32 {
    let [mode, files @ ..] = call.arguments.as_slice() else { return call.usage() };
    let mode = core::str::from_utf8(mode).ok().and_then(|text| u32::from_str_radix(text, 8).ok());
    match mode {
        Some(mode @ 0..=0o7777) if !files.is_empty() => {
            call.each(files, |path| call.check(path, fs::chmod(path, Mode::from(mode))))
        }
        _ => call.usage(),
    }
}

pub(crate) fn readlink(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    call.each(&operands, |path| match fs::readlink(path, Vec::new()) {
        Ok(target) => {
            println!("{}", show(target.as_bytes()));
            0
        }
        Err(error) => call.fail(path, error),
    })
}

pub(crate) fn stat(call: &Call) -> i32 {
    let operands = match call.operands(1..) {
        Ok(operands) => operands,
        Err(status) => return status,
    };
    call.each(&operands, |path| match lstat(path) {
        Ok(stat) => {
            describe(path, &stat);
            0
        }
        Err(error) => call.fail(path, error),
    })
}

fn describe(path: &[u8], stat: &Stat) {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile if stat.st_size == 0 => "regular empty file",
        FileType::RegularFile => "regular file",
        FileType::Directory => "directory",
        FileType::Symlink => "symbolic link",
        FileType::CharacterDevice => "character special file",
        FileType::BlockDevice => "block special file",
        FileType::Fifo => "fifo",
        _ => "unknown",
    };
    println!("  File: {}", show(path));
    println!(
        "  Size: {:<15} Blocks: {:<10} IO Block: {:<6} {kind}",
        stat.st_size, stat.st_blocks, stat.st_blksize
    );
    println!("Device: {:<15x} Inode: {:<11} Links: {}", stat.st_dev, stat.st_ino, stat.st_nlink);
    println!(
        "Access: ({:04o}/{})  Uid: {:5}   Gid: {:5}",
        stat.st_mode & 0o7777,
        format::mode(stat.st_mode),
        stat.st_uid,
        stat.st_gid
    );
    let time = |seconds: i64| Moment::from_epoch(seconds).formatted(b"%F %T UTC");
    println!("Access: {}", time(stat.st_atime));
    println!("Modify: {}", time(stat.st_mtime));
    println!("Change: {}", time(stat.st_ctime));
}
