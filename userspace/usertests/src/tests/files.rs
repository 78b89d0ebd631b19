//! Regular files: creating, reading, writing, offsets, sizes, times, permissions.

use super::family;
use crate::calls::{self, content, fstat, lseek, make, open, pread, pwrite, read, stat_of, write};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use lemma_rt::general::{
    __NR_fadvise64, __NR_preadv, __NR_pwritev, __NR_sendfile, AT_FDCWD, O_APPEND, O_CREAT,
    O_DIRECTORY, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, SEEK_CUR, SEEK_DATA, SEEK_END,
    SEEK_HOLE, SEEK_SET, timespec,
};

family!("files":
    create_and_read, exclusive, truncate_on_open, append, offsets, seek_errors, data_and_holes,
    positioned,
    sparse, truncation, unlinked_but_open, two_openings, large, modes, permissions, times,
    access_modes, sync_calls, zero_length, vectors, odd_sizes, stat_fields,
    vectors_at, sent, advice, set_id_bits
);

fn create_and_read() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(write(fd, b"hello"), Ok(5));
    equal!(lseek(fd, 0, SEEK_SET), Ok(0));
    let mut buffer = [0; 10];
    equal!(read(fd, &mut buffer), Ok(5));
    equal!(&buffer[..5], b"hello");
    equal!(read(fd, &mut buffer), Ok(0));
    ok!(calls::close(fd));
    fails!(calls::close(fd), BADF);
    equal!(ok!(content(c"a")), b"hello");
    fails!(open(c"missing", O_RDONLY, 0), NOENT);
    Ok(())
}

fn exclusive() -> Outcome {
    ok!(calls::close(ok!(open(c"a", O_WRONLY | O_CREAT | O_EXCL, 0o600))));
    fails!(open(c"a", O_WRONLY | O_CREAT | O_EXCL, 0o600), EXIST);
    ok!(calls::symlink(c"nowhere", c"dangling"));
    fails!(open(c"dangling", O_WRONLY | O_CREAT | O_EXCL, 0o600), EXIST);
    // Without O_EXCL, the link's target is made.
    ok!(calls::close(ok!(open(c"dangling", O_WRONLY | O_CREAT, 0o600))));
    ok!(stat_of(c"nowhere"));
    Ok(())
}

fn truncate_on_open() -> Outcome {
    ok!(make(c"a", b"something long"));
    let fd = ok!(open(c"a", O_WRONLY | O_TRUNC, 0));
    equal!(ok!(fstat(fd)).st_size, 0);
    equal!(write(fd, b"x"), Ok(1));
    equal!(ok!(content(c"a")), b"x");
    Ok(())
}

fn append() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT | O_APPEND, 0o644));
    equal!(write(fd, b"one"), Ok(3));
    equal!(lseek(fd, 0, SEEK_SET), Ok(0));
    equal!(write(fd, b"two"), Ok(3));
    equal!(lseek(fd, 0, SEEK_CUR), Ok(6));
    let other = ok!(open(c"a", O_WRONLY | O_APPEND, 0));
    equal!(write(other, b"three"), Ok(5));
    equal!(write(fd, b"!"), Ok(1));
    equal!(ok!(content(c"a")), b"onetwothree!");
    Ok(())
}

fn offsets() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDONLY, 0));
    equal!(lseek(fd, 4, SEEK_SET), Ok(4));
    equal!(lseek(fd, -1, SEEK_CUR), Ok(3));
    equal!(lseek(fd, -2, SEEK_END), Ok(8));
    let mut buffer = [0; 4];
    equal!(read(fd, &mut buffer), Ok(2));
    equal!(&buffer[..2], b"89");
    equal!(lseek(fd, 100, SEEK_SET), Ok(100));
    equal!(read(fd, &mut buffer), Ok(0));
    Ok(())
}

fn seek_errors() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDONLY, 0));
    fails!(lseek(fd, -1, SEEK_SET), INVAL);
    fails!(lseek(fd, -11, SEEK_END), INVAL);
    fails!(lseek(fd, 0, 77), INVAL);
    fails!(lseek(99, 0, SEEK_SET), BADF);
    equal!(lseek(fd, 0, SEEK_CUR), Ok(0));
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(lseek(ends[0], 0, SEEK_CUR), SPIPE);
    Ok(())
}

fn data_and_holes() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDONLY, 0));
    equal!(lseek(fd, 3, SEEK_DATA), Ok(3));
    equal!(lseek(fd, 0, SEEK_CUR), Ok(3));
    equal!(lseek(fd, 3, SEEK_HOLE), Ok(10));
    equal!(lseek(fd, 0, SEEK_CUR), Ok(10));
    for whence in [SEEK_DATA, SEEK_HOLE] {
        fails!(lseek(fd, 10, whence), NXIO);
        fails!(lseek(fd, -1, whence), NXIO);
        fails!(lseek(90, 0, whence), BADF);
    }
    equal!(lseek(fd, 0, SEEK_CUR), Ok(10));
    Ok(())
}

fn positioned() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(pwrite(fd, b"abc", 5), Ok(3));
    equal!(lseek(fd, 0, SEEK_CUR), Ok(0));
    let mut buffer = [1; 8];
    equal!(pread(fd, &mut buffer, 0), Ok(8));
    equal!(&buffer, b"\0\0\0\0\0abc");
    equal!(pread(fd, &mut buffer, 6), Ok(2));
    equal!(pread(fd, &mut buffer, 8), Ok(0));
    fails!(pread(fd, &mut buffer, -1), INVAL);
    fails!(pwrite(fd, b"x", -1), INVAL);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(pread(ends[0], &mut buffer, 0), SPIPE);
    fails!(pwrite(ends[1], b"x", 0), SPIPE);
    Ok(())
}

fn sparse() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(lseek(fd, 300_000, SEEK_SET), Ok(300_000));
    equal!(write(fd, b"end"), Ok(3));
    let stat = ok!(fstat(fd));
    equal!(stat.st_size, 300_003);
    check!(stat.st_blocks < 300, " blocks are {}", stat.st_blocks);
    let mut buffer = [1; 4096];
    equal!(pread(fd, &mut buffer, 150_000), Ok(4096));
    check!(buffer.iter().all(|&byte| byte == 0));
    // Writing into the hole leaves what is around it.
    equal!(pwrite(fd, b"mid", 100_000), Ok(3));
    equal!(pread(fd, &mut buffer[..5], 99_999), Ok(5));
    equal!(&buffer[..5], b"\0mid\0");
    Ok(())
}

fn truncation() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    ok!(calls::ftruncate(fd, 4));
    equal!(ok!(content(c"a")), b"0123");
    // What was cut off does not come back.
    ok!(calls::ftruncate(fd, 8));
    equal!(ok!(content(c"a")), b"0123\0\0\0\0");
    ok!(calls::truncate(c"a", 2));
    equal!(ok!(fstat(fd)).st_size, 2);
    ok!(calls::ftruncate(fd, 100_000));
    equal!(ok!(content(c"a")).len(), 100_000);
    ok!(calls::ftruncate(fd, 0));
    fails!(calls::ftruncate(fd, -1), INVAL);
    let reader = ok!(open(c"a", O_RDONLY, 0));
    fails!(calls::ftruncate(reader, 0), INVAL);
    fails!(calls::truncate(c"missing", 0), NOENT);
    fails!(calls::truncate(c".", 0), ISDIR);
    fails!(calls::ftruncate(99, 0), BADF);
    Ok(())
}

fn unlinked_but_open() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    ok!(calls::unlink(c"a"));
    fails!(stat_of(c"a"), NOENT);
    equal!(ok!(fstat(fd)).st_nlink, 0);
    equal!(write(fd, &[7; 10_000]), Ok(10_000));
    let mut buffer = [0; 10_000];
    equal!(pread(fd, &mut buffer, 0), Ok(10_000));
    check!(buffer.iter().all(|&byte| byte == 7));
    // Another file of this name is another file.
    ok!(make(c"a", b"new"));
    equal!(ok!(fstat(fd)).st_size, 10_000);
    Ok(())
}

fn two_openings() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let one = ok!(open(c"a", O_RDWR, 0));
    let other = ok!(open(c"a", O_RDONLY, 0));
    let mut buffer = [0; 4];
    equal!(read(one, &mut buffer), Ok(4));
    equal!(read(other, &mut buffer), Ok(4));
    equal!(&buffer, b"0123");
    equal!(pwrite(one, b"xy", 4), Ok(2));
    equal!(read(other, &mut buffer), Ok(4));
    equal!(&buffer, b"xy67");
    Ok(())
}

/// Large enough for doubly indirect blocks on ext2 with 1 KiB blocks.
fn large() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    let mut block = [0u8; 4096];
    for index in 0..160u32 {
        block.fill(index as u8);
        equal!(write(fd, &block), Ok(4096));
    }
    equal!(ok!(fstat(fd)).st_size, 160 * 4096);
    for index in (0..160u32).rev() {
        equal!(pread(fd, &mut block, i64::from(index) * 4096), Ok(4096));
        check!(block.iter().all(|&byte| byte == index as u8), " in block {index}");
    }
    Ok(())
}

fn modes() -> Outcome {
    equal!(calls::umask(0o027), Ok(0o022));
    equal!(calls::umask(0o777), Ok(0o027));
    equal!(calls::umask(0o027), Ok(0o777));
    ok!(calls::close(ok!(open(c"a", O_WRONLY | O_CREAT, 0o666))));
    equal!(ok!(stat_of(c"a")).st_mode, 0o100_640);
    ok!(calls::mkdir(c"d", 0o777));
    equal!(ok!(stat_of(c"d")).st_mode, 0o040_750);
    ok!(calls::chmod(c"a", 0o4751));
    equal!(ok!(stat_of(c"a")).st_mode, 0o104_751);
    let fd = ok!(open(c"a", O_RDONLY, 0));
    ok!(calls::fchmod(fd, 0o400));
    equal!(ok!(stat_of(c"a")).st_mode, 0o100_400);
    fails!(calls::fchmod(99, 0o400), BADF);
    fails!(calls::chmod(c"missing", 0o400), NOENT);
    Ok(())
}

/// What someone who is not root may not do.
fn permissions() -> Outcome {
    if ok!(calls::geteuid()) != 0 {
        skip!("needs root, to become someone else");
    }
    ok!(make(c"secret", b"x"));
    ok!(calls::chmod(c"secret", 0o600));
    ok!(calls::mkdir(c"closed", 0o700));
    ok!(make(c"closed/a", b"x"));
    ok!(make(c"readable", b"x"));
    ok!(calls::mkdir(c"theirs", 0o755));
    ok!(calls::fchownat(AT_FDCWD, c"theirs", 1000, 1000, 0));
    equal!(ok!(stat_of(c"theirs")).st_uid, 1000);
    let status = ok!(calls::in_child(|| {
        let result = (|| -> Outcome {
            ok!(calls::setgid(1000));
            ok!(calls::setuid(1000));
            equal!(calls::geteuid(), Ok(1000));
            fails!(calls::setuid(0), PERM);
            fails!(open(c"secret", O_RDONLY, 0), ACCESS);
            fails!(open(c"closed/a", O_RDONLY, 0), ACCESS);
            fails!(stat_of(c"closed/a"), ACCESS);
            fails!(open(c"readable", O_WRONLY, 0), ACCESS);
            ok!(open(c"readable", O_RDONLY, 0));
            fails!(open(c"new", O_WRONLY | O_CREAT, 0o600), ACCESS);
            fails!(calls::unlink(c"readable"), ACCESS);
            fails!(calls::mkdir(c"new", 0o700), ACCESS);
            fails!(calls::chmod(c"readable", 0o777), PERM);
            ok!(make(c"theirs/mine", b"x"));
            equal!(ok!(stat_of(c"theirs/mine")).st_uid, 1000);
            ok!(calls::unlink(c"theirs/mine"));
            Ok(())
        })();
        match result {
            Ok(()) => 0,
            Err(failure) => {
                lemma_rt::eprintln!("{failure:?}");
                1
            }
        }
    }));
    equal!(status.exited(), Some(0));
    Ok(())
}

fn times() -> Outcome {
    ok!(make(c"a", b"x"));
    let time = |seconds| timespec { tv_sec: seconds, tv_nsec: 0 };
    ok!(calls::utimensat(AT_FDCWD, c"a", &[time(1_000_000), time(2_000_000)], 0));
    let stat = ok!(stat_of(c"a"));
    equal!((stat.st_atime as i64, stat.st_mtime as i64), (1_000_000, 2_000_000));
    // Writing makes the file new.
    ok!(make(c"a", b"y"));
    check!(ok!(stat_of(c"a")).st_mtime as i64 > 2_000_000);
    fails!(calls::utimensat(AT_FDCWD, c"missing", &[time(0), time(0)], 0), NOENT);
    Ok(())
}

fn access_modes() -> Outcome {
    ok!(make(c"a", b"text"));
    let reader = ok!(open(c"a", O_RDONLY, 0));
    fails!(write(reader, b"x"), BADF);
    let writer = ok!(open(c"a", O_WRONLY, 0));
    fails!(read(writer, &mut [0]), BADF);
    let directory = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0));
    fails!(read(directory, &mut [0]), ISDIR);
    fails!(write(directory, b"x"), BADF);
    fails!(open(c".", O_WRONLY, 0), ISDIR);
    fails!(open(c".", O_RDWR, 0), ISDIR);
    fails!(open(c"a", O_RDONLY | O_DIRECTORY, 0), NOTDIR);
    fails!(open(c".", O_RDWR | O_CREAT, 0o600), ISDIR);
    Ok(())
}

fn sync_calls() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(write(fd, b"x"), Ok(1));
    ok!(calls::fsync(fd));
    ok!(calls::fdatasync(fd));
    ok!(calls::sync());
    fails!(calls::fsync(99), BADF);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(calls::fsync(ends[0]), INVAL);
    let directory = ok!(open(c".", O_RDONLY | O_DIRECTORY, 0));
    ok!(calls::fsync(directory));
    Ok(())
}

fn zero_length() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(write(fd, b""), Ok(0));
    equal!(ok!(fstat(fd)).st_size, 0);
    equal!(read(fd, &mut []), Ok(0));
    fails!(write(99, b""), BADF);
    fails!(read(99, &mut []), BADF);
    Ok(())
}

fn vectors() -> Outcome {
    use lemma_rt::general::{__NR_readv, __NR_writev};
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    let (mut one, mut two, mut three) = (*b"ab", [], *b"cde");
    equal!(calls::vectored(__NR_writev, fd, &mut [&mut one, &mut two, &mut three]), Ok(5));
    equal!(lseek(fd, 0, SEEK_SET), Ok(0));
    let (mut one, mut two) = ([0; 4], [9; 4]);
    equal!(calls::vectored(__NR_readv, fd, &mut [&mut one, &mut two]), Ok(5));
    equal!((&one, &two), (b"abcd", &[b'e', 9, 9, 9]));
    equal!(calls::vectored(__NR_readv, fd, &mut []), Ok(0));
    fails!(calls::raw(__NR_readv as usize, [fd as usize, 0x10000, 1025, 0, 0, 0]), INVAL);
    Ok(())
}

/// Writes of many sizes at odd offsets, against a copy in memory.
fn odd_sizes() -> Outcome {
    const SIZE: usize = 40_000;
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    let mut copy = alloc::vec![0u8; SIZE];
    let mut length = 0;
    let mut state = 12345u32;
    let mut next = |limit: usize| {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
        (state >> 8) as usize % limit
    };
    for round in 0..200usize {
        let offset = next(SIZE - 5000);
        let size = next(5000);
        let piece = alloc::vec![round as u8; size];
        equal!(pwrite(fd, &piece, offset as i64), Ok(size));
        copy[offset..offset + size].copy_from_slice(&piece);
        if size > 0 {
            length = length.max(offset + size);
        }
    }
    let found = ok!(content(c"a"));
    equal!(found.len(), length);
    check!(found == copy[..length]);
    Ok(())
}

fn stat_fields() -> Outcome {
    ok!(make(c"a", &[0; 5000]));
    let stat = ok!(stat_of(c"a"));
    equal!(stat.st_size, 5000);
    equal!(stat.st_nlink, 1);
    equal!(stat.st_uid, ok!(calls::geteuid()));
    check!(stat.st_ino != 0);
    check!(stat.st_blksize >= 512);
    check!(stat.st_blocks as i64 * 512 >= 5000, " blocks are {}", stat.st_blocks);
    equal!(ok!(stat_of(c".")).st_dev, stat.st_dev);
    let mut empty_path = calls::no_stat();
    let fd = ok!(open(c"a", O_RDONLY, 0));
    let flags = lemma_rt::general::AT_EMPTY_PATH;
    ok!(calls::newfstatat(fd, c"", &mut empty_path, flags));
    equal!(empty_path.st_ino, stat.st_ino);
    fails!(calls::newfstatat(fd, c"", &mut empty_path, 0), NOENT);
    fails!(calls::newfstatat(fd, c"x", &mut empty_path, 0), NOTDIR);
    fails!(calls::newfstatat(AT_FDCWD, c"a", &mut empty_path, 1 << 30), INVAL);
    fails!(calls::fstat(99), BADF);
    Ok(())
}

fn vectors_at() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    let (mut one, mut two) = (*b"abc", *b"defg");
    let vectors = [[one.as_mut_ptr() as usize, one.len()], [two.as_mut_ptr() as usize, two.len()]];
    let call = |number: u32, offset: i64| {
        let list = vectors.as_ptr() as usize;
        calls::raw(number as usize, [fd as usize, list, 2, offset as usize, 0, 0])
    };
    equal!(call(__NR_pwritev, 2), Ok(7));
    equal!(ok!(content(c"a")), b"\0\0abcdefg");
    equal!(call(__NR_preadv, 4), Ok(5));
    equal!(lseek(fd, 0, SEEK_CUR), Ok(0));
    fails!(call(__NR_preadv, -1), INVAL);
    // Read after the call, so that the compiler knows of the change.
    let pointers = (one.as_ptr(), two.as_ptr());
    // SAFETY: the arrays live; the kernel has written into them.
    let found =
        unsafe { (pointers.0.cast::<[u8; 3]>().read_volatile(), pointers.1.read_volatile()) };
    equal!(found, (*b"cde", b'f'));
    Ok(())
}

fn sent() -> Outcome {
    let text: alloc::vec::Vec<u8> = (0..50_000u32).map(|n| (n / 7) as u8).collect();
    ok!(make(c"from", &text));
    let from = ok!(open(c"from", O_RDONLY, 0));
    let to = ok!(open(c"to", O_RDWR | O_CREAT, 0o644));
    let send = |offset: usize, count: usize| {
        calls::raw(__NR_sendfile as usize, [to as usize, from as usize, offset, count, 0, 0])
    };
    equal!(send(0, 20_000), Ok(20_000));
    equal!(lseek(from, 0, SEEK_CUR), Ok(20_000));
    equal!(send(0, 1_000_000), Ok(30_000));
    equal!(send(0, 10), Ok(0));
    check!(ok!(content(c"to")) == text);
    // With an offset, the description's own stays.
    let mut offset = 49_990u64;
    equal!(send(core::ptr::from_mut(&mut offset) as usize, 100), Ok(10));
    equal!(lseek(from, 0, SEEK_CUR), Ok(50_000));
    fails!(send(1, 10), FAULT);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    let backwards = [to as usize, from as usize, 0, 10, 0, 0];
    let mut start = 0u64;
    let to_pipe =
        [ends[1] as usize, from as usize, core::ptr::from_mut(&mut start) as usize, 5, 0, 0];
    equal!(calls::raw(__NR_sendfile as usize, to_pipe), Ok(5));
    equal!(calls::raw(__NR_sendfile as usize, backwards), Ok(0));
    let read_only = [from as usize, to as usize, 0, 10, 0, 0];
    fails!(calls::raw(__NR_sendfile as usize, read_only), BADF);
    Ok(())
}

fn advice() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    let advise = |fd: i32, advice: usize| {
        calls::raw(__NR_fadvise64 as usize, [fd as usize, 0, 0, advice, 0, 0])
    };
    equal!(advise(fd, 1), Ok(0));
    fails!(advise(fd, 99), INVAL);
    fails!(advise(99, 0), BADF);
    let mut ends = [0; 2];
    ok!(calls::pipe2(&mut ends, 0));
    fails!(advise(ends[0], 0), SPIPE);
    Ok(())
}

/// Who changes a set-user-ID or set-group-ID program takes these bits off it, but for the superuser.
fn set_id_bits() -> Outcome {
    if ok!(calls::geteuid()) != 0 {
        skip!("needs root, to become someone else");
    }
    const ALL: u32 = 0o6777;
    // Without the group's execute bit, the set-group-ID bit means something else.
    const NO_GROUP: u32 = 0o6767;
    let prepare = |mode: u32| -> Outcome {
        ok!(make(c"a", b"0123456789"));
        ok!(calls::fchownat(AT_FDCWD, c"a", 1000, 1000, 0));
        ok!(calls::chmod(c"a", mode));
        Ok(())
    };
    let change = |how: &str| -> Outcome {
        let flags = if how == "opening" { O_WRONLY | O_TRUNC } else { O_WRONLY };
        let fd = ok!(open(c"a", flags, 0));
        match how {
            "opening" => {}
            "write" => equal!(write(fd, b"x"), Ok(1)),
            "pwrite" => equal!(pwrite(fd, b"x", 3), Ok(1)),
            "writev" => {
                let number = lemma_rt::general::__NR_writev;
                equal!(calls::vectored(number, fd, &mut [&mut [1]]), Ok(1));
            }
            "sendfile" => {
                let from = ok!(open(c"from", O_RDONLY, 0));
                let arguments = [fd as usize, from as usize, 0, 2, 0, 0];
                equal!(calls::raw(__NR_sendfile as usize, arguments), Ok(2));
            }
            "ftruncate" => drop(ok!(calls::ftruncate(fd, 3))),
            "truncate" => drop(ok!(calls::truncate(c"a", 3))),
            "nothing" => equal!(write(fd, b""), Ok(0)),
            _ => check!(false, " {how}"),
        }
        Ok(())
    };
    ok!(make(c"from", b"text"));
    let ways =
        ["opening", "write", "pwrite", "writev", "sendfile", "ftruncate", "truncate", "nothing"];
    for how in ways {
        for (mode, of_owner, of_other) in
            [(ALL, 0o777, 0o777), (NO_GROUP, 0o2767, 0o767), (0o2777, 0o777, 0o777)]
        {
            for (user, left) in [(0, mode), (1000, of_owner), (1001, of_other)] {
                prepare(mode)?;
                let status = ok!(calls::in_child(|| {
                    let become_user =
                        user == 0 || calls::setgid(user).is_ok() && calls::setuid(user).is_ok();
                    match change(how) {
                        Ok(()) if become_user => 0,
                        Ok(()) => 2,
                        Err(failure) => {
                            lemma_rt::eprintln!("{failure:?}");
                            1
                        }
                    }
                }));
                equal!(status.exited(), Some(0));
                let left = if how == "nothing" { mode } else { left };
                let found = ok!(stat_of(c"a")).st_mode & 0o7777;
                check!(found == left, " {how} by {user}: {mode:o} became {found:o}, not {left:o}");
            }
        }
    }
    // A change of owner takes them off whoever makes it, and not off a directory.
    for (mode, left) in [(ALL, 0o777), (NO_GROUP, 0o2767)] {
        prepare(mode)?;
        ok!(calls::fchownat(AT_FDCWD, c"a", 1001, u32::MAX, 0));
        equal!(ok!(stat_of(c"a")).st_mode & 0o7777, left);
    }
    ok!(calls::mkdir(c"d", 0o755));
    ok!(calls::chmod(c"d", ALL));
    ok!(calls::fchownat(AT_FDCWD, c"d", 1001, u32::MAX, 0));
    equal!(ok!(stat_of(c"d")).st_mode & 0o7777, ALL);
    Ok(())
}
