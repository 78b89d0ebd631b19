//! `chroot`: where absolute paths start and `..` ends.

use super::family;
use crate::calls::{self, content, in_child, make, mkdir, open};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use core::ffi::CStr;
use lemma_rt::Errno;
use lemma_rt::general::{AT_FDCWD, O_DIRECTORY, O_RDONLY};

family!("roots": another_root, errors);

/// What a process in another root finds; 0 if all is as it should be.
fn explore(outside: i32) -> Result<i32, Errno> {
    let number = |path: &CStr| calls::stat_of(path).map(|found| found.st_ino);
    let root = number(c"j")?;
    calls::chroot(c"j")?;
    // The working directory stays where it is, which has no path any more.
    let mut path = [0; 300];
    let length = calls::getcwd(&mut path)?;
    if !path.get(..length).is_some_and(|path| path.starts_with(b"(unreachable)/")) {
        return Ok(1);
    }
    if content(c"secret")? != b"secret" || content(c"/file")? != b"file" {
        return Ok(2);
    }
    for path in [c"/", c"/..", c"/../..", c"/d/../..", c"/d/up", c"/d/up/.."] {
        if number(path)? != root {
            return Ok(3);
        }
    }
    // A link starts at the new root, wherever it is; there is no way past it.
    if content(c"/link")? != b"file" || content(c"j/link")? != b"file" {
        return Ok(4);
    }
    for path in [c"/secret", c"/../secret", c"/d/up/../secret"] {
        if content(path) != Err(Errno::NOENT) {
            return Ok(5);
        }
    }
    // But for those who have something outside, as on Linux.
    if calls::openat(outside, c"secret", O_RDONLY, 0).is_err() {
        return Ok(6);
    }
    calls::chdir(c"/d")?;
    calls::chdir(c"../..")?;
    let length = calls::getcwd(&mut path)?;
    if path.get(..length) != Some(b"/\0") || number(c".")? != root {
        return Ok(7);
    }
    // It is inherited, and can be moved further down.
    let status = in_child(|| {
        let there = number(c"/") == Ok(root) && calls::chroot(c"d").is_ok();
        i32::from(!there || content(c"/deep") != Ok(b"deep".into()))
    })?;
    if status.code() != 0 || number(c"/")? != root {
        return Ok(8);
    }
    Ok(0)
}

fn another_root() -> Outcome {
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser has another root");
    }
    for directory in [c"j", c"j/d"] {
        ok!(mkdir(directory, 0o755));
    }
    ok!(make(c"secret", b"secret"));
    ok!(make(c"j/file", b"file"));
    ok!(make(c"j/d/deep", b"deep"));
    ok!(calls::symlink(c"/file", c"j/link"));
    ok!(calls::symlink(c"/..", c"j/d/up"));
    let outside = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0));
    let root = ok!(calls::stat_of(c"/")).st_ino;
    let status = ok!(in_child(|| explore(outside).unwrap_or(9)));
    equal!(status.code(), 0);
    equal!(ok!(calls::stat_of(c"/")).st_ino, root);
    Ok(())
}

fn errors() -> Outcome {
    fails!(calls::chroot(c"missing"), NOENT);
    ok!(make(c"f", b""));
    fails!(calls::chroot(c"f"), NOTDIR);
    fails!(calls::chroot(c""), NOENT);
    ok!(mkdir(c"d", 0o755));
    ok!(mkdir(c"closed", 0o600));
    let privileged = ok!(calls::geteuid()) == 0;
    if privileged {
        ok!(calls::fchownat(AT_FDCWD, c"closed", 1, 1, 0));
    }
    let status = ok!(in_child(|| {
        if privileged && calls::setuid(1).is_err() {
            return 1;
        }
        let refused = [calls::chroot(c"d"), calls::chroot(c"closed")];
        i32::from(refused != [Err(Errno::PERM), Err(Errno::ACCESS)]) * 2
    }));
    check!(status.code() == 0, "{}", status.code());
    Ok(())
}
