//! Mounts: read-only and back, busy ones.

use super::family;
use crate::calls::{self, content, make, open, write};
use crate::check::{Outcome, equal, fails, ok, skip};
use core::ffi::CStr;
use lemma_rt::Errno;
use lemma_rt::general::{
    __NR_mount, __NR_umount2, MS_RDONLY, MS_REMOUNT, O_CREAT, O_PATH, O_RDONLY, O_RDWR, O_TRUNC,
    O_WRONLY,
};

family!("mounts": read_only, busy);

fn mount(place: &CStr, flags: u32) -> lemma_rt::Result<usize> {
    let (source, kind) = (c"none".as_ptr() as usize, c"tmpfs".as_ptr() as usize);
    calls::raw(__NR_mount as usize, [source, place.as_ptr() as usize, kind, flags as usize, 0, 0])
}

fn unmount(place: &CStr) -> lemma_rt::Result<usize> {
    calls::raw(__NR_umount2 as usize, [place.as_ptr() as usize, 0, 0, 0, 0, 0])
}

/// Runs `test` where a fresh tmpfs is mounted on `m`, and unmounts that.
fn on_mount(test: fn() -> Outcome) -> Outcome {
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser mounts");
    }
    ok!(calls::mkdir(c"m", 0o755));
    match mount(c"m", 0) {
        Err(Errno::PERM) => skip!("this system lets nobody mount"),
        result => ok!(result),
    };
    let outcome = test();
    let unmounted = unmount(c"m");
    outcome?;
    ok!(unmounted);
    Ok(())
}

fn read_only() -> Outcome {
    on_mount(|| {
        ok!(make(c"m/file", b"text"));
        let writer = ok!(open(c"m/file", O_WRONLY, 0));
        fails!(mount(c"m", MS_REMOUNT | MS_RDONLY), BUSY);
        equal!(write(writer, b"TEXT"), Ok(4));
        ok!(calls::close(writer));
        // Readers, and who only names a file, are in nobody's way.
        let reader = ok!(open(c"m/file", O_RDONLY, 0));
        let name = ok!(open(c"m/file", O_PATH, 0));
        ok!(mount(c"m", MS_REMOUNT | MS_RDONLY));
        for flags in [O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_CREAT] {
            fails!(open(c"m/file", flags, 0o644), ROFS);
        }
        fails!(open(c"m/new", O_WRONLY | O_CREAT, 0o644), ROFS);
        fails!(calls::mkdir(c"m/d", 0o755), ROFS);
        fails!(calls::unlink(c"m/file"), ROFS);
        fails!(calls::rename(c"m/file", c"m/g"), ROFS);
        fails!(calls::link(c"m/file", c"m/g"), ROFS);
        fails!(calls::chmod(c"m/file", 0o600), ROFS);
        fails!(calls::truncate(c"m/file", 0), ROFS);
        equal!(ok!(content(c"m/file")), b"TEXT");
        ok!(calls::close(reader));
        ok!(calls::close(name));
        ok!(mount(c"m", MS_REMOUNT));
        ok!(make(c"m/file", b"again"));
        Ok(())
    })
}

fn busy() -> Outcome {
    on_mount(|| {
        ok!(make(c"m/file", b"text"));
        let held = ok!(open(c"m/file", O_RDONLY, 0));
        fails!(unmount(c"m"), BUSY);
        ok!(calls::unlink(c"m/file"));
        fails!(unmount(c"m"), BUSY);
        ok!(calls::close(held));
        ok!(calls::chdir(c"m"));
        fails!(unmount(c"../m"), BUSY);
        ok!(calls::chdir(c".."));
        Ok(())
    })
}
