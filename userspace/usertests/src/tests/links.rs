//! Hard and symbolic links.

use super::family;
use crate::calls::{self, content, link, lstat, make, open, readlink, stat_of, symlink, unlink};
use crate::check::{Outcome, equal, fails, ok};
use lemma_rt::general::{AT_FDCWD, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, O_NOFOLLOW, O_RDONLY};

family!("links": hard, hard_errors, symbolic, symbolic_long, loops, through_directories);

fn hard() -> Outcome {
    ok!(make(c"a", b"text"));
    ok!(link(c"a", c"b"));
    let (a, b) = (ok!(stat_of(c"a")), ok!(stat_of(c"b")));
    equal!(a.st_ino, b.st_ino);
    equal!(b.st_nlink, 2);
    ok!(make(c"b", b"more"));
    equal!(ok!(content(c"a")), b"more");
    ok!(unlink(c"a"));
    equal!(ok!(content(c"b")), b"more");
    equal!(ok!(stat_of(c"b")).st_nlink, 1);
    Ok(())
}

fn hard_errors() -> Outcome {
    ok!(make(c"a", b""));
    ok!(calls::mkdir(c"d", 0o755));
    fails!(link(c"a", c"a"), EXIST);
    fails!(link(c"missing", c"b"), NOENT);
    fails!(link(c"a", c"missing/b"), NOENT);
    fails!(link(c"d", c"e"), PERM);
    // A link to a symbolic link, or to its target.
    ok!(symlink(c"a", c"s"));
    ok!(link(c"s", c"t"));
    equal!(ok!(lstat(c"t")).st_mode & 0o170_000, 0o120_000);
    ok!(calls::linkat(AT_FDCWD, c"s", AT_FDCWD, c"u", AT_SYMLINK_FOLLOW));
    equal!(ok!(lstat(c"u")).st_mode & 0o170_000, 0o100_000);
    fails!(calls::linkat(AT_FDCWD, c"a", AT_FDCWD, c"v", AT_SYMLINK_NOFOLLOW), INVAL);
    Ok(())
}

fn symbolic() -> Outcome {
    ok!(make(c"a", b"text"));
    ok!(symlink(c"a", c"s"));
    equal!(ok!(content(c"s")), b"text");
    let stat = ok!(lstat(c"s"));
    equal!((stat.st_mode, stat.st_size), (0o120_777, 1));
    equal!(ok!(stat_of(c"s")).st_ino, ok!(stat_of(c"a")).st_ino);
    let mut buffer = [0; 8];
    equal!(readlink(c"s", &mut buffer), Ok(1));
    equal!(&buffer[..2], b"a\0");
    fails!(readlink(c"a", &mut buffer), INVAL);
    fails!(readlink(c"missing", &mut buffer), NOENT);
    fails!(readlink(c"s", &mut []), INVAL);
    fails!(symlink(c"x", c"s"), EXIST);
    fails!(symlink(c"", c"t"), NOENT);
    fails!(open(c"s", O_RDONLY | O_NOFOLLOW, 0), LOOP);
    // A target need not exist; its removal leaves the link.
    ok!(unlink(c"a"));
    fails!(content(c"s"), NOENT);
    ok!(lstat(c"s"));
    ok!(unlink(c"s"));
    Ok(())
}

/// Targets too long for the inode itself.
fn symbolic_long() -> Outcome {
    for length in [59, 60, 61, 100, 1000] {
        let target = alloc::vec![b'x'; length];
        let path = alloc::ffi::CString::new(target.clone()).unwrap_or_default();
        ok!(symlink(&path, c"s"));
        equal!(ok!(lstat(c"s")).st_size, length as i64);
        let mut buffer = [0; 2000];
        equal!(readlink(c"s", &mut buffer), Ok(length));
        equal!(&buffer[..length], target.as_slice());
        // A short buffer gets the beginning.
        equal!(readlink(c"s", &mut buffer[..10]), Ok(10));
        ok!(unlink(c"s"));
    }
    Ok(())
}

fn loops() -> Outcome {
    ok!(symlink(c"b", c"a"));
    ok!(symlink(c"a", c"b"));
    fails!(content(c"a"), LOOP);
    fails!(stat_of(c"a/x"), LOOP);
    ok!(symlink(c"self/x", c"self"));
    fails!(stat_of(c"self"), LOOP);
    // A chain of 30 is fine, one of 50 is taken for a loop.
    ok!(make(c"0", b"end"));
    for index in 1..=50 {
        let name =
            |number| alloc::ffi::CString::new(alloc::format!("{number}")).unwrap_or_default();
        ok!(symlink(&name(index - 1), &name(index)));
    }
    equal!(ok!(content(c"30")), b"end");
    fails!(content(c"50"), LOOP);
    Ok(())
}

fn through_directories() -> Outcome {
    ok!(calls::mkdir(c"d", 0o755));
    ok!(calls::mkdir(c"d/e", 0o755));
    ok!(make(c"d/f", b"f"));
    ok!(symlink(c"d/e", c"s"));
    ok!(make(c"s/g", b"g"));
    equal!(ok!(content(c"d/e/g")), b"g");
    // `..` after a link is the target's parent.
    equal!(ok!(content(c"s/../f")), b"f");
    // Relative targets start at the link's own directory.
    ok!(symlink(c"../f", c"d/e/up"));
    equal!(ok!(content(c"d/e/up")), b"f");
    // With a slash behind it, a link is its target.
    equal!(ok!(lstat(c"s/")).st_mode & 0o170_000, 0o040_000);
    equal!(ok!(lstat(c"s")).st_mode & 0o170_000, 0o120_000);
    Ok(())
}
