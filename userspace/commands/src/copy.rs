//! `cp` and `mv`.

use crate::files::{is_directory, join, names_in, remove};
use crate::{Call, base};
use alloc::vec::Vec;
use lemma_rt::rustix::fs::{
    self, AtFlags, CWD, FileType, Mode, OFlags, Stat, lstat, open, readlink, rename, stat, symlink,
    unlinkat,
};
use lemma_rt::{Errno, eprintln, io, rustix, show};

/// Where each of the sources goes: into the last operand if that is a directory, else to it.
fn targets<'a>(call: &Call, operands: &[&'a [u8]]) -> Option<Vec<(&'a [u8], Vec<u8>)>> {
    let (last, sources) = operands.split_last()?;
    let into = stat(*last).is_ok_and(|stat| is_directory(&stat));
    if sources.is_empty() || (sources.len() > 1 && !into) {
        if sources.len() > 1 {
            call.fail(last, Errno::NOTDIR);
        }
        return None;
    }
    let target = |source: &&'a [u8]| {
        let name = source.strip_suffix(b"/").unwrap_or(source);
        (*source, if into { join(last, base(name)) } else { last.to_vec() })
    };
    Some(sources.iter().map(target).collect())
}

pub(crate) fn cp(call: &Call) -> i32 {
    let options = match call.options("rRa") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let recursive = options.has(b'r') || options.has(b'R') || options.has(b'a');
    let Some(targets) = targets(call, &options.operands) else { return call.usage() };
    targets
        .iter()
        .map(|(source, target)| match if recursive { lstat(*source) } else { stat(*source) } {
            Ok(from) if is_directory(&from) && !recursive => {
                eprintln!("cp: {}: is a directory; -r copies directories", show(source));
                1
            }
            Ok(from) => copy(call, source, &from, target),
            Err(error) => call.fail(source, error),
        })
        .max()
        .unwrap_or(0)
}

/// Copies a file, a link or a whole directory.
fn copy(call: &Call, source: &[u8], from: &Stat, target: &[u8]) -> i32 {
    match FileType::from_raw_mode(from.st_mode) {
        FileType::Symlink => {
            let result =
                readlink(source, Vec::new()).and_then(|text| symlink(text.as_c_str(), target));
            call.check(target, result)
        }
        FileType::Directory => {
            // Its own new copy must not be among what is copied.
            let names = match names_in(source) {
                Ok(names) => names,
                Err(error) => return call.fail(source, error),
            };
            match fs::mkdir(target, Mode::from(from.st_mode & 0o777 | 0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return call.fail(target, error),
            }
            let mut status = 0;
            for name in names {
                let (inner, to) = (join(source, &name), join(target, &name));
                status = status.max(match lstat(inner.as_slice()) {
                    Ok(stat) => copy(call, &inner, &stat, &to),
                    Err(error) => call.fail(&inner, error),
                });
            }
            status
        }
        _ => match copy_content(source, target, from) {
            Ok(()) => 0,
            Err((what, error)) => call.fail(what, error),
        },
    }
}

/// Copies what is in a file; the error names the path that it concerns.
fn copy_content<'a>(
    source: &'a [u8],
    target: &'a [u8],
    from: &Stat,
) -> core::result::Result<(), (&'a [u8], Errno)> {
    let of_source = |error| (source, error);
    let of_target = |error| (target, error);
    let input = open(source, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(of_source)?;
    if stat(target).is_ok_and(|to| to.st_ino == from.st_ino && to.st_dev == from.st_dev) {
        // Truncating the target would empty the source.
        return Err((target, Errno::EXIST));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
    let output = open(target, flags, Mode::from(from.st_mode & 0o777)).map_err(of_target)?;
    let mut buffer = alloc::vec![0; 32 << 10];
    loop {
        match rustix::io::read(&input, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                let bytes = buffer.get(..count).unwrap_or(&[]);
                io::write_all(&output, bytes).map_err(of_target)?;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(of_source(error)),
        }
    }
}

pub(crate) fn mv(call: &Call) -> i32 {
    let options = match call.options("f") {
        Ok(options) => options,
        Err(status) => return status,
    };
    let Some(targets) = targets(call, &options.operands) else { return call.usage() };
    targets
        .iter()
        .map(|(source, target)| match rename(*source, target.as_slice()) {
            Err(Errno::XDEV) => move_across(call, source, target),
            result => call.check(source, result),
        })
        .max()
        .unwrap_or(0)
}

/// To another file system: copies, and removes the source if all of it was copied.
fn move_across(call: &Call, source: &[u8], target: &[u8]) -> i32 {
    let from = match lstat(source) {
        Ok(from) => from,
        Err(error) => return call.fail(source, error),
    };
    if !is_directory(&from) {
        let _ = unlinkat(CWD, target, AtFlags::empty());
    }
    match copy(call, source, &from, target) {
        0 => remove(call, source, is_directory(&from)),
        status => status,
    }
}
