//! Descriptors: duplication, flags, sharing over fork, the table's limits.

use super::family;
use crate::calls::{self, dup, dup3, fcntl, lseek, make, open, read, write};
use crate::check::{Outcome, check, equal, fails, ok};
use lemma_rt::general::{
    __NR_close_range, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FD_CLOEXEC,
    O_APPEND, O_CLOEXEC, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY, SEEK_CUR, SEEK_SET,
};

family!("descriptors":
    lowest_number, duplicates_share, dup3_rules, fork_shares_offset, close_on_exec_flag,
    status_flags, fcntl_errors, many_open, ranges_close
);

fn lowest_number() -> Outcome {
    ok!(make(c"a", b"x"));
    let one = ok!(open(c"a", O_RDONLY, 0));
    let two = ok!(open(c"a", O_RDONLY, 0));
    equal!(two, one + 1);
    ok!(calls::close(one));
    equal!(ok!(dup(two)), one);
    equal!(ok!(fcntl(two, F_DUPFD, 50)), 50);
    equal!(ok!(fcntl(two, F_DUPFD, 50)), 51);
    fails!(dup(99), BADF);
    fails!(dup(-1), BADF);
    Ok(())
}

fn duplicates_share() -> Outcome {
    ok!(make(c"a", b"0123456789"));
    let fd = ok!(open(c"a", O_RDWR, 0));
    let copy = ok!(dup(fd));
    equal!(lseek(fd, 5, SEEK_SET), Ok(5));
    let mut byte = [0];
    equal!(read(copy, &mut byte), Ok(1));
    equal!(&byte, b"5");
    ok!(fcntl(fd, F_SETFL, O_APPEND as usize));
    equal!(ok!(fcntl(copy, F_GETFL, 0)) as u32 & O_APPEND, O_APPEND);
    ok!(calls::close(fd));
    equal!(lseek(copy, 0, SEEK_CUR), Ok(6));
    Ok(())
}

fn dup3_rules() -> Outcome {
    ok!(make(c"a", b"a"));
    ok!(make(c"b", b"b"));
    let (one, two) = (ok!(open(c"a", O_RDONLY, 0)), ok!(open(c"b", O_RDONLY, 0)));
    equal!(ok!(dup3(one, two, O_CLOEXEC)), two);
    let mut byte = [0];
    equal!(read(two, &mut byte), Ok(1));
    equal!(&byte, b"a");
    equal!(fcntl(two, F_GETFD, 0), Ok(FD_CLOEXEC as i32));
    equal!(fcntl(one, F_GETFD, 0), Ok(0));
    fails!(dup3(one, one, 0), INVAL);
    fails!(dup3(one, two, 1), INVAL);
    fails!(dup3(99, two, 0), BADF);
    fails!(dup3(one, -1, 0), BADF);
    fails!(dup3(one, i32::MAX, 0), BADF);
    Ok(())
}

fn fork_shares_offset() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    equal!(write(fd, b"parent "), Ok(7));
    let status = ok!(calls::in_child(|| i32::from(write(fd, b"child ") != Ok(6))));
    equal!(status.code(), 0);
    equal!(lseek(fd, 0, SEEK_CUR), Ok(13));
    equal!(write(fd, b"parent"), Ok(6));
    equal!(ok!(calls::content(c"a")), b"parent child parent");
    // What the child closes, the parent keeps.
    let status = ok!(calls::in_child(|| i32::from(calls::close(fd).is_err())));
    equal!(status.code(), 0);
    equal!(lseek(fd, 0, SEEK_SET), Ok(0));
    Ok(())
}

fn close_on_exec_flag() -> Outcome {
    let fd = ok!(open(c"a", O_WRONLY | O_CREAT | O_CLOEXEC, 0o644));
    equal!(fcntl(fd, F_GETFD, 0), Ok(FD_CLOEXEC as i32));
    ok!(fcntl(fd, F_SETFD, 0));
    equal!(fcntl(fd, F_GETFD, 0), Ok(0));
    ok!(fcntl(fd, F_SETFD, FD_CLOEXEC as usize));
    // A copy does not inherit it.
    equal!(fcntl(ok!(dup(fd)), F_GETFD, 0), Ok(0));
    equal!(fcntl(ok!(fcntl(fd, F_DUPFD_CLOEXEC, 0)), F_GETFD, 0), Ok(FD_CLOEXEC as i32));
    Ok(())
}

fn status_flags() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT | O_APPEND, 0o644));
    let flags = ok!(fcntl(fd, F_GETFL, 0)) as u32;
    equal!(flags & (0o3 | O_APPEND | O_NONBLOCK | O_CREAT), O_RDWR | O_APPEND);
    // The access mode cannot be changed; other flags can.
    ok!(fcntl(fd, F_SETFL, (O_WRONLY | O_NONBLOCK) as usize));
    let flags = ok!(fcntl(fd, F_GETFL, 0)) as u32;
    equal!(flags & (0o3 | O_APPEND | O_NONBLOCK), O_RDWR | O_NONBLOCK);
    Ok(())
}

fn fcntl_errors() -> Outcome {
    let fd = ok!(open(c"a", O_RDWR | O_CREAT, 0o644));
    fails!(fcntl(99, F_GETFD, 0), BADF);
    fails!(fcntl(-1, F_GETFL, 0), BADF);
    fails!(fcntl(fd, 9999, 0), INVAL);
    fails!(fcntl(fd, F_DUPFD, usize::MAX), INVAL);
    fails!(fcntl(fd, F_DUPFD, 1 << 30), INVAL);
    Ok(())
}

fn many_open() -> Outcome {
    ok!(make(c"a", b"x"));
    let mut opened = alloc::vec::Vec::new();
    for _ in 0..200 {
        opened.push(ok!(open(c"a", O_RDONLY, 0)));
    }
    let mut sorted = opened.clone();
    sorted.dedup();
    equal!(sorted.len(), 200);
    for fd in &opened {
        let mut byte = [0];
        equal!(read(*fd, &mut byte), Ok(1));
    }
    for fd in opened {
        ok!(calls::close(fd));
    }
    // Without a limit on descriptors, memory would be the limit: there is one.
    let mut last = Ok(0);
    for _ in 0..2_000_000 {
        last = open(c"a", O_RDONLY, 0);
        if last.is_err() {
            break;
        }
    }
    fails!(last, MFILE);
    check!(calls::close(3).is_ok());
    ok!(open(c"a", O_RDONLY, 0));
    Ok(())
}

fn ranges_close() -> Outcome {
    const CLOSE_ON_EXEC: usize = 4;
    ok!(make(c"a", b"x"));
    let file = ok!(open(c"a", O_RDONLY, 0));
    for fd in 20..30 {
        equal!(ok!(dup3(file, fd, 0)), fd);
    }
    let close = |first: usize, last: usize, flags: usize| {
        calls::raw(__NR_close_range as usize, [first, last, flags, 0, 0, 0])
    };
    equal!(close(22, 24, 0), Ok(0));
    for fd in 20..30 {
        equal!(fcntl(fd, F_GETFD, 0).is_ok(), !(22..=24).contains(&fd));
    }
    equal!(close(28, u32::MAX as usize, CLOSE_ON_EXEC), Ok(0));
    equal!(fcntl(27, F_GETFD, 0), Ok(0));
    equal!(fcntl(28, F_GETFD, 0), Ok(FD_CLOEXEC as i32));
    equal!(close(25, u32::MAX as usize, 0), Ok(0));
    fails!(fcntl(29, F_GETFD, 0), BADF);
    fails!(close(3, 2, 0), INVAL);
    fails!(close(3, 4, 1), INVAL);
    Ok(())
}
