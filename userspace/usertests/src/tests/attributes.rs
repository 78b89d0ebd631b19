//! What can be asked about files and their file systems, and some ways of reading and writing.

use super::family;
use crate::calls::{self, fstat, in_child, make, open, raw, stat_of};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use core::ffi::CStr;
use lemma_rt::general::{
    __NR_faccessat2, __NR_fallocate, __NR_fstatfs, __NR_preadv2, __NR_pwritev2, __NR_setresuid,
    __NR_statfs, __NR_statx, __NR_syncfs, AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW,
    O_DIRECTORY, O_RDONLY, O_RDWR, SEEK_CUR, SEEK_SET, iovec,
};
use lemma_rt::{Errno, Result};

family!("attributes":
    extended, extended_errors, file_systems, written_back, access, access_errors, allocation,
    vectors_anywhere
);

const HERE: usize = AT_FDCWD as usize;

fn extended_raw(directory: usize, path: &CStr, flags: u32, room: usize) -> Result<usize> {
    const BASIC: usize = 0x7ff;
    let path = path.as_ptr() as usize;
    raw(__NR_statx as usize, [directory, path, flags as usize, BASIC, room, 0])
}

/// `struct statx`, as words.
fn extended_of(directory: usize, path: &CStr, flags: u32) -> Result<[u64; 32]> {
    let mut words = [0u64; 32];
    extended_raw(directory, path, flags, words.as_mut_ptr() as usize)?;
    // SAFETY: the array lives; the kernel has written into it.
    Ok(unsafe { words.as_ptr().cast::<[u64; 32]>().read_volatile() })
}

/// It says what `stat` says.
fn extended() -> Outcome {
    ok!(make(c"a", b"hello"));
    ok!(calls::link(c"a", c"b"));
    ok!(calls::symlink(c"a", c"l"));
    let fd = ok!(open(c"a", O_RDONLY, 0));
    let stat = ok!(stat_of(c"a"));
    for found in [
        ok!(extended_of(HERE, c"a", 0)),
        ok!(extended_of(HERE, c"l", 0)),
        ok!(extended_of(fd as usize, c"", AT_EMPTY_PATH)),
    ] {
        // The mask of what is told has everything that was asked for.
        equal!(found[0] & 0x7ff, 0x7ff);
        equal!(found[2], 2 | u64::from(stat.st_uid) << 32);
        equal!(found[3] & 0xffff_ffff, u64::from(stat.st_gid));
        equal!((found[3] >> 32) as u16, stat.st_mode as u16);
        equal!(found[4], stat.st_ino);
        equal!(found[5], 5);
        equal!(found[6], stat.st_blocks as u64);
        // Changed, modified: seconds.
        equal!(found[12], stat.st_ctime as u64);
        equal!(found[14], stat.st_mtime as u64);
    }
    let link = ok!(extended_of(HERE, c"l", AT_SYMLINK_NOFOLLOW));
    equal!(link[3] >> 32 & 0o170_000, 0o120_000);
    equal!(link[5], 1);
    let null = ok!(extended_of(HERE, c"/dev/null", 0));
    equal!(null[16], 1 | 3 << 32);
    Ok(())
}

fn extended_errors() -> Outcome {
    fails!(extended_of(HERE, c"missing", 0), NOENT);
    fails!(extended_of(HERE, c"", 0), NOENT);
    fails!(extended_of(999, c"a", 0), BADF);
    fails!(extended_of(HERE, c".", 1 << 30), INVAL);
    // Both of two ways to ask a server.
    fails!(extended_of(HERE, c".", 0x6000), INVAL);
    fails!(extended_raw(HERE, c".", 0, 8), FAULT);
    fails!(raw(__NR_statx as usize, [HERE, 8, 0, 0x7ff, 8, 0]), FAULT);
    Ok(())
}

/// What both calls say of the file system of the current directory.
fn file_systems() -> Outcome {
    let fd = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0)) as usize;
    let (mut one, mut other) = ([0u64; 15], [0u64; 15]);
    let room = |words: &mut [u64; 15]| words.as_mut_ptr() as usize;
    let path = c".".as_ptr() as usize;
    ok!(raw(__NR_statfs as usize, [path, room(&mut one), 0, 0, 0, 0]));
    ok!(raw(__NR_fstatfs as usize, [fd, room(&mut other), 0, 0, 0, 0]));
    let [kind, block, blocks, free, available, files, free_files, ..] = one;
    equal!((kind, block, blocks), (other[0], other[1], other[2]));
    check!(kind != 0 && block >= 512 && block.is_power_of_two(), " {one:x?}");
    check!(blocks >= free && free >= available && files >= free_files, " {one:x?}");
    // Longest name.
    equal!(one[8], 255);
    let missing = c"missing".as_ptr() as usize;
    fails!(raw(__NR_statfs as usize, [missing, room(&mut one), 0, 0, 0, 0]), NOENT);
    fails!(raw(__NR_statfs as usize, [path, 8, 0, 0, 0, 0]), FAULT);
    fails!(raw(__NR_fstatfs as usize, [999, room(&mut one), 0, 0, 0, 0]), BADF);
    fails!(raw(__NR_fstatfs as usize, [fd, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

fn written_back() -> Outcome {
    ok!(make(c"a", b"hello"));
    let fd = ok!(open(c"a", O_RDONLY, 0)) as usize;
    equal!(raw(__NR_syncfs as usize, [fd, 0, 0, 0, 0, 0]), Ok(0));
    fails!(raw(__NR_syncfs as usize, [999, 0, 0, 0, 0, 0]), BADF);
    equal!(ok!(calls::content(c"a")), b"hello");
    Ok(())
}

fn may(path: &CStr, mode: usize, flags: u32) -> Result<usize> {
    raw(__NR_faccessat2 as usize, [HERE, path.as_ptr() as usize, mode, flags as usize, 0, 0])
}

/// The real user counts, or, if that is asked for, the effective one.
fn access() -> Outcome {
    const READ: usize = 4;
    const EXECUTE: usize = 1;
    ok!(make(c"a", b""));
    ok!(calls::symlink(c"missing", c"l"));
    fails!(may(c"l", 0, 0), NOENT);
    ok!(may(c"l", 0, AT_SYMLINK_NOFOLLOW));
    ok!(calls::chmod(c"a", 0o600));
    ok!(may(c"a", READ, 0));
    fails!(may(c"a", EXECUTE, 0), ACCESS);
    if calls::getuid() != Ok(0) {
        skip!("only the superuser becomes another user");
    }
    ok!(calls::fchownat(AT_FDCWD, c"a", 1000, 1000, 0));
    let status = ok!(in_child(|| {
        let changed = raw(__NR_setresuid as usize, [1000, 1001, 1000, 0, 0, 0]);
        let real = may(c"a", READ, 0);
        let effective = may(c"a", READ, AT_EACCESS);
        i32::from(changed.is_err() || real != Ok(0) || effective != Err(Errno::ACCESS))
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

fn access_errors() -> Outcome {
    fails!(may(c"missing", 0, 0), NOENT);
    fails!(may(c".", 8, 0), INVAL);
    fails!(may(c".", 0, 1 << 30), INVAL);
    fails!(raw(__NR_faccessat2 as usize, [HERE, 8, 0, 0, 0, 0]), FAULT);
    Ok(())
}

/// Room is made, or it is said that this file system does not; and what is wrong is told first.
fn allocation() -> Outcome {
    ok!(make(c"a", b"hello"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    let allocate = |fd: i32, offset: i64, length: i64| {
        raw(__NR_fallocate as usize, [fd as usize, 0, offset as usize, length as usize, 0, 0])
    };
    match allocate(fd, 0, 10_000) {
        Ok(_) => equal!(ok!(fstat(fd)).st_size, 10_000),
        Err(error) => {
            equal!(error, Errno::OPNOTSUPP);
            equal!(ok!(fstat(fd)).st_size, 5);
        }
    }
    equal!(&ok!(calls::content(c"a"))[..5], b"hello");
    fails!(allocate(fd, 0, 0), INVAL);
    fails!(allocate(fd, -1, 10), INVAL);
    fails!(allocate(999, 0, 10), BADF);
    fails!(allocate(ok!(open(c"a", O_RDONLY, 0)), 0, 10), BADF);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(allocate(ends[1], 0, 10), SPIPE);
    Ok(())
}

/// `preadv2` and `pwritev2`: at a place, or where the file is with -1.
fn vectors_anywhere() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    let transfer = |number: u32, parts: &[&mut [u8]], offset: i64, flags: usize| {
        let part = |part: &&mut [u8]| iovec {
            iov_base: part.as_ptr().cast_mut().cast(),
            iov_len: part.len() as _,
        };
        let vectors: alloc::vec::Vec<iovec> = parts.iter().map(part).collect();
        let (list, count) = (vectors.as_ptr() as usize, vectors.len());
        raw(number as usize, [fd as usize, list, count, offset as usize, 0, flags])
    };
    let (mut one, mut other) = ([0; 3], [0; 4]);
    equal!(transfer(__NR_preadv2, &[&mut one, &mut other], 2, 0), Ok(7));
    equal!((&one, &other), (b"234", b"5678"));
    equal!(calls::lseek(fd, 0, SEEK_CUR), Ok(0));
    equal!(transfer(__NR_preadv2, &[&mut one], -1, 0), Ok(3));
    equal!(&one, b"012");
    equal!(calls::lseek(fd, 0, SEEK_CUR), Ok(3));
    equal!(transfer(__NR_pwritev2, &[&mut [b'a'], &mut [b'b', b'c']], 6, 0), Ok(3));
    equal!(transfer(__NR_pwritev2, &[&mut [b'd']], -1, 0), Ok(1));
    equal!(ok!(calls::content(c"a")), b"012d45abc9");
    equal!(calls::lseek(fd, 0, SEEK_SET), Ok(0));
    for number in [__NR_preadv2, __NR_pwritev2] {
        fails!(transfer(number, &[&mut [0]], 0, 1 << 30), OPNOTSUPP);
        fails!(transfer(number, &[&mut [0]], -2, 0), INVAL);
        fails!(raw(number as usize, [999, 0, 0, 0, 0, 0]), BADF);
        fails!(raw(number as usize, [fd as usize, 8, 1, 0, 0, 0]), FAULT);
    }
    Ok(())
}
