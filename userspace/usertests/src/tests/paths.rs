//! How paths are resolved, and which are refused.

use super::family;
use crate::calls::{self, make, open, stat_of};
use crate::check::{Outcome, equal, fails, ok};
use alloc::ffi::CString;
use alloc::vec::Vec;
use lemma_rt::general::{__NR_openat, AT_FDCWD, O_CREAT, O_RDONLY, O_WRONLY};

family!("paths": dots, slashes, too_long, not_a_directory, bad_addresses, accessible);

fn long(length: usize) -> CString {
    CString::new(alloc::vec![b'n'; length]).unwrap_or_default()
}

fn dots() -> Outcome {
    ok!(calls::mkdir(c"d", 0o755));
    ok!(make(c"f", b""));
    let inode = ok!(stat_of(c"f")).st_ino;
    for path in [c"./f", c"d/../f", c"././d/./../f", c"d/.././d/../f"] {
        equal!(ok!(stat_of(path)).st_ino, inode);
    }
    equal!(ok!(stat_of(c"/..")).st_ino, ok!(stat_of(c"/")).st_ino);
    equal!(ok!(stat_of(c"/../../..")).st_ino, ok!(stat_of(c"/")).st_ino);
    fails!(stat_of(c"missing/.."), NOENT);
    Ok(())
}

fn slashes() -> Outcome {
    ok!(calls::mkdir(c"d", 0o755));
    ok!(make(c"d/f", b""));
    ok!(stat_of(c"d///f"));
    ok!(stat_of(c"d//"));
    ok!(stat_of(c"///"));
    fails!(stat_of(c"d/f/"), NOTDIR);
    fails!(stat_of(c""), NOENT);
    fails!(open(c"new/", O_WRONLY | O_CREAT, 0o600), ISDIR);
    fails!(open(c"", O_RDONLY, 0), NOENT);
    Ok(())
}

fn too_long() -> Outcome {
    ok!(make(&long(255), b"x"));
    ok!(stat_of(&long(255)));
    fails!(make(&long(256), b""), NAMETOOLONG);
    fails!(stat_of(&long(256)), NAMETOOLONG);
    fails!(calls::mkdir(&long(300), 0o755), NAMETOOLONG);
    fails!(calls::rename(&long(255), &long(256)), NAMETOOLONG);
    // A path is at most 4095 bytes and its NUL.
    let path = |length: usize| {
        let mut path: Vec<u8> = b"./".repeat(length / 2);
        path.resize(length, b'/');
        CString::new(path).unwrap_or_default()
    };
    ok!(stat_of(&path(4095)));
    fails!(stat_of(&path(4096)), NAMETOOLONG);
    fails!(stat_of(&path(10_000)), NAMETOOLONG);
    Ok(())
}

fn not_a_directory() -> Outcome {
    ok!(make(c"f", b""));
    fails!(stat_of(c"f/x"), NOTDIR);
    fails!(stat_of(c"f/."), NOTDIR);
    fails!(stat_of(c"f/.."), NOTDIR);
    fails!(open(c"f/x", O_WRONLY | O_CREAT, 0o600), NOTDIR);
    Ok(())
}

fn bad_addresses() -> Outcome {
    let opened =
        |address: usize| calls::raw(__NR_openat as usize, [AT_FDCWD as usize, address, 0, 0, 0, 0]);
    fails!(opened(0), FAULT);
    fails!(opened(8), FAULT);
    fails!(opened(usize::MAX - 4), FAULT);
    fails!(opened(1 << 63), FAULT);
    // A path that runs into memory that is not there.
    let page = ok!(calls::map(8192));
    ok!(calls::munmap(page + 4096, 4096));
    for offset in 4000..4096 {
        calls::poke(page + offset, b'x');
    }
    fails!(opened(page + 4000), FAULT);
    calls::poke(page + 4095, 0);
    fails!(opened(page + 4000), NOENT);
    Ok(())
}

fn accessible() -> Outcome {
    ok!(make(c"f", b""));
    ok!(calls::chmod(c"f", 0o644));
    ok!(calls::faccessat(AT_FDCWD, c"f", 0));
    ok!(calls::faccessat(AT_FDCWD, c"f", 4));
    // Even root may not execute what no one may.
    fails!(calls::faccessat(AT_FDCWD, c"f", 1), ACCESS);
    ok!(calls::chmod(c"f", 0o744));
    ok!(calls::faccessat(AT_FDCWD, c"f", 1));
    fails!(calls::faccessat(AT_FDCWD, c"missing", 0), NOENT);
    fails!(calls::faccessat(AT_FDCWD, c"f", 8), INVAL);
    Ok(())
}
