//! Directories: making, listing, removing, renaming; the working directory.

use super::family;
use crate::calls::{self, chdir, getcwd, getdents64, make, mkdir, open, rename, rmdir, stat_of};
use crate::check::{Outcome, check, equal, fails, ok};
use alloc::collections::BTreeMap;
use alloc::ffi::CString;
use alloc::format;
use alloc::vec::Vec;
use lemma_rt::general::{
    AT_FDCWD, AT_REMOVEDIR, O_CREAT, O_DIRECTORY, O_RDONLY, O_WRONLY, SEEK_SET,
};

family!("directories":
    make_and_remove, listing, many_entries, small_buffers, rewind, working_directory,
    relative_to_descriptor, removed_working_directory, link_counts, rename_files,
    rename_directories, rename_errors, rename_flags, exchange, unlink_errors
);

fn c(text: alloc::string::String) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The names and types in a directory, read with a buffer of this size.
fn list(path: &core::ffi::CStr, size: usize) -> lemma_rt::Result<BTreeMap<Vec<u8>, u8>> {
    let fd = open(path, O_RDONLY | O_DIRECTORY, 0)?;
    let result = list_from(fd, size);
    calls::close(fd)?;
    result
}

fn list_from(fd: i32, size: usize) -> lemma_rt::Result<BTreeMap<Vec<u8>, u8>> {
    let mut found = BTreeMap::new();
    let mut buffer = alloc::vec![0; size];
    loop {
        let length = getdents64(fd, &mut buffer)?;
        if length == 0 {
            return Ok(found);
        }
        let mut rest = &buffer[..length];
        while rest.len() > 19 {
            let record = usize::from(u16::from_le_bytes([rest[16], rest[17]]));
            let name = rest[19..record].split(|&byte| byte == 0).next().unwrap_or(&[]);
            // Twice the same name, or a record that is not aligned, is a broken listing.
            if found.insert(name.to_vec(), rest[18]).is_some() || record % 8 != 0 {
                return Err(lemma_rt::Errno::IO);
            }
            rest = &rest[record..];
        }
    }
}

fn make_and_remove() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    fails!(mkdir(c"d", 0o755), EXIST);
    fails!(mkdir(c"missing/d", 0o755), NOENT);
    ok!(make(c"f", b""));
    fails!(mkdir(c"f", 0o755), EXIST);
    fails!(mkdir(c"f/d", 0o755), NOTDIR);
    fails!(mkdir(c"", 0o755), NOENT);
    fails!(mkdir(c"/", 0o755), EXIST);
    ok!(mkdir(c"d/e/", 0o755));
    fails!(rmdir(c"d"), NOTEMPTY);
    ok!(rmdir(c"d/e/"));
    ok!(rmdir(c"d"));
    fails!(rmdir(c"d"), NOENT);
    fails!(rmdir(c"f"), NOTDIR);
    fails!(rmdir(c"."), INVAL);
    Ok(())
}

fn listing() -> Outcome {
    ok!(make(c"file", b""));
    ok!(mkdir(c"directory", 0o755));
    ok!(calls::symlink(c"file", c"link"));
    let found = ok!(list(c".", 4096));
    let names: Vec<&[u8]> = found.keys().map(Vec::as_slice).collect();
    equal!(names, [&b"."[..], b"..", b"directory", b"file", b"link"]);
    // DT_UNKNOWN (0) would be allowed; a wrong type not.
    for (name, kind) in [(&b"file"[..], 8), (b"directory", 4), (b"link", 10), (b".", 4)] {
        check!([0, kind].contains(&found[name]), " for {}", lemma_rt::show(name));
    }
    let fd = ok!(open(c"file", O_RDONLY, 0));
    fails!(getdents64(fd, &mut [0; 512]), NOTDIR);
    fails!(getdents64(99, &mut [0; 512]), BADF);
    Ok(())
}

fn many_entries() -> Outcome {
    for index in 0..300 {
        ok!(make(&c(format!("a-file-with-a-name-{index}")), b""));
    }
    equal!(ok!(list(c".", 4096)).len(), 302);
    for index in (0..300).step_by(2) {
        ok!(calls::unlink(&c(format!("a-file-with-a-name-{index}"))));
    }
    let left = ok!(list(c".", 4096));
    equal!(left.len(), 152);
    check!(left.contains_key(&b"a-file-with-a-name-151"[..]));
    // The space of the removed names is used again.
    for index in 0..150 {
        ok!(make(&c(format!("another-file-named-{index}")), b""));
    }
    equal!(ok!(list(c".", 512)).len(), 302);
    Ok(())
}

fn small_buffers() -> Outcome {
    for index in 0..20 {
        ok!(make(&c(format!("{index}")), b""));
    }
    // Room for one entry at a time gives the same.
    equal!(ok!(list(c".", 32)), ok!(list(c".", 4096)));
    let fd = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0));
    fails!(getdents64(fd, &mut [0; 8]), INVAL);
    Ok(())
}

fn rewind() -> Outcome {
    ok!(make(c"a", b""));
    let fd = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0));
    let first = ok!(list_from(fd, 4096));
    equal!(ok!(list_from(fd, 4096)).len(), 0);
    equal!(calls::lseek(fd, 0, SEEK_SET), Ok(0));
    equal!(ok!(list_from(fd, 4096)), first);
    Ok(())
}

fn working_directory() -> Outcome {
    let mut buffer = [0; 4096];
    let start = ok!(getcwd(&mut buffer));
    let start = buffer[..start].to_vec();
    equal!(start.last(), Some(&0));
    ok!(mkdir(c"d", 0o755));
    ok!(chdir(c"d"));
    let length = ok!(getcwd(&mut buffer));
    equal!(&buffer[..length], [&start[..start.len() - 1], b"/d\0"].concat());
    fails!(getcwd(&mut [0; 3]), RANGE);
    ok!(chdir(c".."));
    let length = ok!(getcwd(&mut buffer));
    equal!(&buffer[..length], start);
    let fd = ok!(open(c"d", O_RDONLY | O_DIRECTORY, 0));
    ok!(calls::fchdir(fd));
    ok!(make(c"here", b""));
    ok!(chdir(c"/"));
    equal!(getcwd(&mut buffer), Ok(2));
    ok!(calls::fchdir(fd));
    ok!(stat_of(c"here"));
    fails!(chdir(c"here"), NOTDIR);
    fails!(chdir(c"missing"), NOENT);
    fails!(calls::fchdir(99), BADF);
    // A child's change is its own.
    let status = ok!(calls::in_child(|| i32::from(chdir(c"/").is_err())));
    equal!(status.code(), 0);
    ok!(stat_of(c"here"));
    Ok(())
}

fn relative_to_descriptor() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    let fd = ok!(open(c"d", O_RDONLY | O_DIRECTORY, 0));
    ok!(calls::close(ok!(calls::openat(fd, c"a", O_WRONLY | O_CREAT, 0o644))));
    ok!(stat_of(c"d/a"));
    ok!(calls::mkdirat(fd, c"e", 0o755));
    ok!(calls::renameat2(fd, c"a", fd, c"e/b", 0));
    ok!(stat_of(c"d/e/b"));
    ok!(calls::unlinkat(fd, c"e/b", 0));
    ok!(calls::unlinkat(fd, c"e", AT_REMOVEDIR));
    fails!(calls::openat(99, c"a", O_RDONLY, 0), BADF);
    // An absolute path does not look at the descriptor.
    ok!(calls::openat(99, c"/", O_RDONLY, 0));
    let file = ok!(calls::openat(fd, c"f", O_WRONLY | O_CREAT, 0o644));
    fails!(calls::openat(file, c"a", O_RDONLY, 0), NOTDIR);
    fails!(calls::unlinkat(fd, c"f", 1), INVAL);
    Ok(())
}

fn removed_working_directory() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    ok!(chdir(c"d"));
    ok!(rmdir(c"../d"));
    fails!(getcwd(&mut [0; 100]), NOENT);
    fails!(make(c"a", b""), NOENT);
    ok!(stat_of(c"."));
    fails!(list(c".", 512), NOENT);
    ok!(chdir(c"/"));
    Ok(())
}

fn link_counts() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    // Some file systems do not count subdirectories, and say 1.
    let count = || stat_of(c"d").map(|stat| stat.st_nlink);
    let before = ok!(count());
    check!(before == 2 || before == 1);
    ok!(mkdir(c"d/e", 0o755));
    if before == 2 {
        equal!(ok!(count()), 3);
    }
    equal!(ok!(stat_of(c"d/e/..")).st_ino, ok!(stat_of(c"d")).st_ino);
    ok!(rmdir(c"d/e"));
    equal!(ok!(count()), before);
    Ok(())
}

fn rename_files() -> Outcome {
    ok!(make(c"a", b"a"));
    ok!(make(c"b", b"b"));
    let inode = ok!(stat_of(c"a")).st_ino;
    ok!(rename(c"a", c"b"));
    fails!(stat_of(c"a"), NOENT);
    equal!(ok!(calls::content(c"b")), b"a");
    equal!(ok!(stat_of(c"b")).st_ino, inode);
    ok!(rename(c"b", c"b"));
    // Two names of one file: nothing happens.
    ok!(calls::link(c"b", c"c"));
    ok!(rename(c"b", c"c"));
    ok!(stat_of(c"b"));
    // A file that is replaced while it is open lives on.
    ok!(make(c"new", b"new"));
    let fd = ok!(open(c"c", O_RDONLY, 0));
    ok!(rename(c"new", c"c"));
    let mut byte = [0];
    equal!(calls::read(fd, &mut byte), Ok(1));
    equal!(&byte, b"a");
    // Links themselves are renamed.
    ok!(calls::symlink(c"nowhere", c"l"));
    ok!(rename(c"l", c"m"));
    ok!(calls::lstat(c"m"));
    Ok(())
}

fn rename_directories() -> Outcome {
    ok!(mkdir(c"a", 0o755));
    ok!(make(c"a/f", b"f"));
    ok!(mkdir(c"b", 0o755));
    ok!(rename(c"a", c"b/a"));
    equal!(ok!(calls::content(c"b/a/f")), b"f");
    equal!(ok!(stat_of(c"b/a/..")).st_ino, ok!(stat_of(c"b")).st_ino);
    ok!(mkdir(c"empty", 0o755));
    ok!(rename(c"b/a", c"empty"));
    ok!(stat_of(c"empty/f"));
    // The path of someone who is inside changes.
    ok!(chdir(c"empty"));
    ok!(rename(c"../empty", c"../moved"));
    let mut buffer = [0; 4096];
    let length = ok!(getcwd(&mut buffer));
    check!(buffer[..length].ends_with(b"/moved\0"));
    Ok(())
}

fn rename_errors() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    ok!(mkdir(c"d/e", 0o755));
    ok!(mkdir(c"full", 0o755));
    ok!(make(c"full/f", b""));
    ok!(make(c"f", b""));
    fails!(rename(c"missing", c"x"), NOENT);
    fails!(rename(c"f", c"missing/x"), NOENT);
    fails!(rename(c"f", c"d"), ISDIR);
    fails!(rename(c"d", c"f"), NOTDIR);
    fails!(rename(c"d", c"full"), NOTEMPTY);
    fails!(rename(c"d", c"d/e/x"), INVAL);
    fails!(rename(c"d", c"d/x"), INVAL);
    fails!(rename(c"d/e", c"d"), NOTEMPTY);
    fails!(rename(c".", c"x"), BUSY);
    fails!(rename(c"f/", c"x"), NOTDIR);
    fails!(rename(c"f", c"f/x"), NOTDIR);
    fails!(rename(c"", c"x"), NOENT);
    ok!(rename(c"d", c"dd/"));
    Ok(())
}

fn rename_flags() -> Outcome {
    use lemma_rt::general::RENAME_NOREPLACE;
    ok!(make(c"a", b"a"));
    ok!(make(c"b", b"b"));
    let renamed = |old, new, flags| calls::renameat2(AT_FDCWD, old, AT_FDCWD, new, flags);
    fails!(renamed(c"a", c"b", RENAME_NOREPLACE), EXIST);
    ok!(renamed(c"a", c"c", RENAME_NOREPLACE));
    ok!(renamed(c"c", c"b", 0));
    equal!(ok!(calls::content(c"b")), b"a");
    fails!(renamed(c"b", c"x", 1 << 20), INVAL);
    Ok(())
}

/// Two names of whatever kind change places.
fn exchange() -> Outcome {
    use lemma_rt::general::{RENAME_EXCHANGE, RENAME_NOREPLACE};
    let exchanged = |one, two| calls::renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE);
    ok!(make(c"a", b"a"));
    ok!(make(c"b", b"b"));
    ok!(exchanged(c"a", c"b"));
    equal!((ok!(calls::content(c"a")), ok!(calls::content(c"b"))), (b"b".into(), b"a".into()));
    // A file and a directory that is not empty, which takes its `..` along.
    ok!(mkdir(c"d", 0o755));
    ok!(mkdir(c"d/e", 0o755));
    ok!(make(c"d/e/f", b"f"));
    let links = |path| calls::stat_of(path).map(|found| found.st_nlink);
    let before = ok!(links(c"."));
    equal!(links(c"d"), Ok(3));
    ok!(exchanged(c"a", c"d/e"));
    equal!((links(c"."), links(c"d")), (Ok(before + 1), Ok(2)));
    equal!((ok!(calls::content(c"d/e")), ok!(calls::content(c"a/f"))), (b"b".into(), b"f".into()));
    equal!(ok!(calls::stat_of(c"a/..")).st_ino, ok!(calls::stat_of(c".")).st_ino);
    // An open file and a working directory stay what they are.
    let fd = ok!(open(c"b", O_RDONLY, 0));
    ok!(exchanged(c"b", c"d/e"));
    let mut byte = [0];
    equal!(calls::read(fd, &mut byte), Ok(1));
    equal!(&byte, b"a");
    ok!(calls::chdir(c"a"));
    ok!(exchanged(c"../a", c"../d"));
    equal!(ok!(calls::content(c"f")), b"f");
    let mut path = [0; 300];
    let length = ok!(calls::getcwd(&mut path));
    check!(path[..length].ends_with(b"/d\0"));
    ok!(calls::chdir(c".."));
    ok!(calls::symlink(c"nowhere", c"l"));
    ok!(exchanged(c"l", c"b"));
    equal!(ok!(calls::content(c"l")), b"b");
    // Onto itself, by whatever name.
    ok!(calls::link(c"l", c"m"));
    ok!(exchanged(c"l", c"m"));
    ok!(exchanged(c"l", c"l"));
    fails!(exchanged(c"l", c"missing"), NOENT);
    fails!(exchanged(c"missing", c"l"), NOENT);
    fails!(exchanged(c"l/", c"m"), NOTDIR);
    fails!(exchanged(c"l", c"m/"), NOTDIR);
    fails!(exchanged(c"d", c"d/f"), INVAL);
    fails!(exchanged(c"d/f", c"d"), INVAL);
    fails!(exchanged(c".", c"l"), BUSY);
    fails!(exchanged(c"l", c".."), BUSY);
    let both = RENAME_EXCHANGE | RENAME_NOREPLACE;
    fails!(calls::renameat2(AT_FDCWD, c"l", AT_FDCWD, c"m", both), INVAL);
    Ok(())
}

fn unlink_errors() -> Outcome {
    ok!(mkdir(c"d", 0o755));
    fails!(calls::unlink(c"missing"), NOENT);
    fails!(calls::unlink(c"d"), ISDIR);
    ok!(make(c"f", b""));
    fails!(calls::unlink(c"f/x"), NOTDIR);
    fails!(calls::unlink(c"f/"), NOTDIR);
    fails!(calls::unlink(c""), NOENT);
    ok!(calls::unlink(c"f"));
    fails!(calls::unlink(c"f"), NOENT);
    Ok(())
}
