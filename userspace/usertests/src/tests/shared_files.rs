//! Files that are mapped shared: what is stored there is the file's.

use super::family;
use crate::calls::{self, content, in_child, make, mmap, munmap, open, peek, poke, raw};
use crate::check::{Outcome, check, equal, fails, ok, skip};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use lemma_rt::general::{
    __NR_execve, __NR_fstatfs, __NR_futex, __NR_mount, __NR_msync, __NR_umount2, FUTEX_WAIT,
    FUTEX_WAKE, MAP_PRIVATE, MAP_SHARED, MS_RDONLY, MS_REMOUNT, MS_SYNC, O_CREAT, O_RDONLY, O_RDWR,
    O_WRONLY, PROT_READ, PROT_WRITE, SIGKILL, TMPFS_MAGIC, timespec,
};
use lemma_rt::{Errno, Result, sys};

family!("shared_files":
    one_page_for_all, outlives_its_maker, holes, cut_off, cut_and_grown, rights, times,
    into_and_out_of_itself, moved, private_ones, waited_for, none_is_lost, busy, full
);

const PAGE: usize = 4096;

/// Maps the file from its beginning on.
fn map(fd: i32, length: usize) -> Result<usize> {
    mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
}

fn sync(address: usize, length: usize) -> Result<usize> {
    raw(__NR_msync as usize, [address, length, MS_SYNC as usize, 0, 0, 0])
}

/// The signal of which a child dies that touches the byte.
fn death(address: usize, store: bool) -> Result<Option<i32>> {
    let status = in_child(|| {
        if store {
            poke(address, 1);
        }
        core::hint::black_box(peek(address));
        0
    });
    status.map(|status| status.signaled())
}

const BUS_ERROR: Result<Option<i32>> = Ok(Some(7));
const NONE: Result<Option<i32>> = Ok(None);

/// Two openings, two mappings, two processes, `read` and `write`: all see the same.
fn one_page_for_all() -> Outcome {
    ok!(make(c"f", &[1; 3 * PAGE]));
    let (one, two) = (ok!(open(c"f", O_RDWR, 0)), ok!(open(c"f", O_RDWR, 0)));
    let first = ok!(map(one, 3 * PAGE));
    let second = ok!(mmap(0, PAGE, PROT_READ, MAP_SHARED, two, PAGE));
    equal!(peek(second), 1);
    poke(first + PAGE, 2);
    equal!(peek(second), 2);
    let mut bytes = [0; 2];
    equal!(calls::pread(two, &mut bytes, PAGE as i64), Ok(2));
    equal!(bytes, [2, 1]);
    // A write of a whole page, and one of a few bytes over the edge of two.
    equal!(calls::pwrite(two, &[3; PAGE], PAGE as i64), Ok(PAGE));
    equal!((peek(first + PAGE - 1), peek(first + PAGE), peek(second + 9)), (1, 3, 3));
    equal!(calls::pwrite(one, &[4; 4], 2 * PAGE as i64 - 2), Ok(4));
    equal!((peek(second + PAGE - 1), peek(first + 2 * PAGE + 1)), (4, 4));
    equal!(peek(first + 2 * PAGE + 2), 1);
    let status = ok!(in_child(|| {
        poke(first, 5);
        i32::from(peek(second) != 3)
    }));
    equal!(status.code(), 0);
    equal!(peek(first), 5);
    equal!(ok!(content(c"f"))[..2], [5, 1]);
    for address in [first, second] {
        ok!(sync(address, PAGE));
    }
    // It is written again after it was written back.
    poke(first, 6);
    poke(first + PAGE, 7);
    equal!((ok!(content(c"f"))[0], peek(second)), (6, 7));
    Ok(())
}

/// Neither the descriptor nor the mapping nor the process has to be there any more.
fn outlives_its_maker() -> Outcome {
    ok!(make(c"f", &[1; PAGE + 100]));
    let status = ok!(in_child(|| {
        let Ok(fd) = open(c"f", O_RDWR, 0) else { return 1 };
        let Ok(memory) = map(fd, 2 * PAGE) else { return 2 };
        if calls::close(fd).is_err() {
            return 3;
        }
        poke(memory + 7, 7);
        poke(memory + PAGE + 99, 8);
        0
    }));
    equal!(status.code(), 0);
    let found = ok!(content(c"f"));
    equal!((found.len(), found[7], found[PAGE + 99]), (PAGE + 100, 7, 8));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, 2 * PAGE));
    equal!((peek(memory + 7), peek(memory + PAGE + 99)), (7, 8));
    poke(memory + 8, 9);
    ok!(munmap(memory, 2 * PAGE));
    equal!(ok!(content(c"f"))[8], 9);
    // An open file without a name keeps what was stored in it.
    let memory = ok!(map(fd, PAGE));
    ok!(calls::unlink(c"f"));
    poke(memory + 9, 10);
    ok!(munmap(memory, PAGE));
    let mut bytes = [0; 2];
    equal!(calls::pread(fd, &mut bytes, 8), Ok(2));
    equal!(bytes, [9, 10]);
    Ok(())
}

fn holes() -> Outcome {
    let fd = ok!(open(c"f", O_RDWR | O_CREAT, 0o600));
    ok!(calls::ftruncate(fd, 40 * PAGE as i64));
    let memory = ok!(map(fd, 40 * PAGE));
    for page in 0..40 {
        equal!(peek(memory + page * PAGE), 0);
    }
    for page in (0..40).step_by(3) {
        poke(memory + page * PAGE + page, page as u8 + 1);
    }
    ok!(calls::fsync(fd));
    let found = ok!(content(c"f"));
    for (index, &byte) in found.iter().enumerate() {
        let (page, at) = (index / PAGE, index % PAGE);
        let stored = page % 3 == 0 && page == at;
        equal!(byte, if stored { page as u8 + 1 } else { 0 });
    }
    check!(ok!(calls::fstat(fd)).st_blocks >= 14 * 8);
    Ok(())
}

/// There is no page beyond the end, also if there was one.
fn cut_off() -> Outcome {
    ok!(make(c"f", &[1; 3 * PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, 4 * PAGE));
    for page in 0..3 {
        poke(memory + page * PAGE, 2);
    }
    for store in [false, true] {
        equal!(death(memory + 3 * PAGE, store), BUS_ERROR);
        equal!(death(memory + 2 * PAGE, store), NONE);
    }
    ok!(calls::ftruncate(fd, PAGE as i64 + 1));
    for store in [false, true] {
        equal!(death(memory + 2 * PAGE, store), BUS_ERROR);
        equal!(death(memory + PAGE, store), NONE);
    }
    // For the kernel, too.
    let read = |address: usize| raw(READ, [fd as usize, address, 1, 0, 0, 0]);
    fails!(read(memory + 2 * PAGE), FAULT);
    equal!(read(memory + PAGE), Ok(1));
    Ok(())
}

const READ: usize = lemma_rt::general::__NR_read as usize;

/// What was cut off reads as zeros when the file grows again, wherever it is looked at.
fn cut_and_grown() -> Outcome {
    ok!(make(c"f", &[1; 3 * PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, 3 * PAGE));
    for page in 0..3 {
        poke(memory + page * PAGE + 4000, 2);
    }
    ok!(calls::ftruncate(fd, 100));
    ok!(calls::ftruncate(fd, 3 * PAGE as i64));
    equal!((peek(memory + 99), peek(memory + 100)), (1, 0));
    for page in 0..3 {
        equal!(peek(memory + page * PAGE + 4000), 0);
        // In the last page that was left, behind what its blocks were.
        poke(memory + page * PAGE + 4001, 3);
    }
    ok!(calls::fsync(fd));
    let found = ok!(content(c"f"));
    for page in 0..3 {
        equal!(found[page * PAGE + 4000..page * PAGE + 4003], [0, 3, 0]);
    }
    Ok(())
}

fn rights() -> Outcome {
    const BOTH: u32 = PROT_READ | PROT_WRITE;
    ok!(make(c"f", &[1; PAGE]));
    let reader = ok!(open(c"f", O_RDONLY, 0));
    fails!(map(reader, PAGE), ACCESS);
    let memory = ok!(mmap(0, PAGE, PROT_READ, MAP_SHARED, reader, 0));
    fails!(calls::mprotect(memory, PAGE, BOTH), ACCESS);
    let writer = ok!(open(c"f", O_WRONLY, 0));
    fails!(map(writer, PAGE), ACCESS);
    fails!(mmap(0, PAGE, PROT_WRITE, MAP_SHARED, writer, 0), ACCESS);
    ok!(calls::close(writer));
    // What may be written can be made so later.
    let fd = ok!(open(c"f", O_RDWR, 0));
    let other = ok!(mmap(0, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    equal!(peek(other), 1);
    ok!(calls::mprotect(other, PAGE, BOTH));
    poke(other, 2);
    equal!((peek(memory), ok!(content(c"f"))[0]), (2, 2));
    ok!(calls::mprotect(other, PAGE, PROT_READ));
    let status = ok!(in_child(|| {
        poke(other, 3);
        0
    }));
    equal!(status.signaled(), Some(11));
    ok!(calls::mprotect(other, PAGE, BOTH));
    poke(other, 4);
    equal!(peek(memory), 4);
    // A file that is mapped to be written is not run.
    ok!(calls::close(fd));
    ok!(calls::chmod(c"f", 0o755));
    let words = [0usize];
    let arguments = [c"f".as_ptr() as usize, words.as_ptr() as usize, words.as_ptr() as usize];
    let [path, argv, envp] = arguments;
    let run = || raw(__NR_execve as usize, [path, argv, envp, 0, 0, 0]);
    match run() {
        // Linux 6.11 and 6.12 allow it, and find no program.
        Err(Errno::TXTBSY | Errno::NOEXEC) => {}
        other => fails!(other, TXTBSY),
    }
    ok!(munmap(other, PAGE));
    fails!(run(), NOEXEC);
    Ok(())
}

/// A store is a change of the file, also after one was written back; which tmpfs never does.
fn times() -> Outcome {
    ok!(make(c"f", &[1; PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, PAGE));
    let mut about = [0u64; 16];
    let place = about.as_mut_ptr() as usize;
    ok!(raw(__NR_fstatfs as usize, [fd as usize, place, 0, 0, 0, 0]));
    let stores = if about[0] == u64::from(TMPFS_MAGIC) { 1 } else { 3 };
    for value in 2..2 + stores {
        let old = timespec { tv_sec: 1000, tv_nsec: 0 };
        ok!(calls::utimensat(lemma_rt::general::AT_FDCWD, c"f", &[old, old], 0));
        equal!(ok!(calls::fstat(fd)).st_mtime, 1000);
        poke(memory, value);
        ok!(sync(memory, PAGE));
        check!(ok!(calls::fstat(fd)).st_mtime > 1000);
    }
    Ok(())
}

/// Reads and writes between a file and its own mapping.
fn into_and_out_of_itself() -> Outcome {
    let mut text = [0; 2 * PAGE];
    for (index, byte) in text.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    ok!(make(c"f", &text));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let length = 2 * PAGE;
    let fresh = || map(fd, length);
    // No page is there yet: each is brought in under way.
    let memory = ok!(fresh());
    let (at, size) = (memory + PAGE, PAGE);
    let pread = lemma_rt::general::__NR_pread64 as usize;
    let pwrite = lemma_rt::general::__NR_pwrite64 as usize;
    equal!(raw(pread, [fd as usize, at, size, 0, 0, 0]), Ok(PAGE));
    equal!(ok!(content(c"f"))[PAGE..], text[..PAGE]);
    let memory = ok!(fresh());
    equal!(raw(pwrite, [fd as usize, memory + 1, size, 0, 0, 0]), Ok(PAGE));
    equal!(ok!(content(c"f"))[..PAGE - 1], text[1..PAGE]);
    // The file grows by what is in it.
    let memory = ok!(fresh());
    equal!(raw(pwrite, [fd as usize, memory, length, length, 0, 0]), Ok(length));
    let found = ok!(content(c"f"));
    equal!(found[..length], found[length..]);
    Ok(())
}

/// A mapping can be moved, and grown over more of the file.
fn moved() -> Outcome {
    ok!(make(c"f", &[1; 3 * PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, PAGE));
    poke(memory, 2);
    let flags = lemma_rt::general::MREMAP_MAYMOVE as usize;
    let remap = lemma_rt::general::__NR_mremap as usize;
    let moved = ok!(raw(remap, [memory, PAGE, 3 * PAGE, flags, 0, 0]));
    equal!(peek(moved), 2);
    poke(moved, 3);
    poke(moved + 2 * PAGE, 4);
    let found = ok!(content(c"f"));
    equal!((found[0], found[2 * PAGE]), (3, 4));
    Ok(())
}

/// A private mapping shows what the file holds when it is first touched.
fn private_ones() -> Outcome {
    ok!(make(c"f", &[1; PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, PAGE));
    poke(memory, 2);
    let private = ok!(mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    equal!(peek(private), 2);
    poke(private, 3);
    equal!(peek(memory), 2);
    Ok(())
}

/// Processes that map the same file at different places wait for each other there.
fn waited_for() -> Outcome {
    ok!(make(c"f", &[0; PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let futex = |address: usize, operation: u32, value: usize| {
        raw(__NR_futex as usize, [address, operation as usize, value, 0, 0, 0])
    };
    let memory = ok!(map(fd, PAGE));
    let status = ok!(in_child(|| {
        let Ok(other) = map(fd, PAGE) else { return 1 };
        let Ok(child) = sys::fork() else { return 2 };
        if child.is_none() {
            let _ = futex(other + 64, FUTEX_WAIT, 0);
            sys::exit(0);
        }
        // Until it waits, nobody is woken.
        while futex(memory + 64, FUTEX_WAKE, 1) == Ok(0) {
            calls::pause_for(1);
        }
        child.map_or(3, |child| sys::wait_for(child).map_or(4, |status| status.code()))
    }));
    equal!(status.code(), 0);
    Ok(())
}

/// Pages that are stored to while they are written back: the last store counts.
fn none_is_lost() -> Outcome {
    const PAGES: usize = 6;
    ok!(make(c"f", &[0; PAGES * PAGE]));
    let fd = ok!(open(c"f", O_RDWR, 0));
    let memory = ok!(map(fd, PAGES * PAGE));
    let rounds = ok!(crate::shared::Shared::<AtomicU64>::new());
    let Some(child) = ok!(sys::fork()) else {
        for round in 1.. {
            for page in 0..PAGES {
                // SAFETY: mapped, aligned, and shared as a number that is changed atomically.
                let word = unsafe { &*((memory + page * PAGE) as *const AtomicU32) };
                word.fetch_add(1, Ordering::Relaxed);
            }
            rounds.get().store(round, Ordering::Release);
        }
        sys::exit(0)
    };
    let mut seen = [0; PAGES];
    for round in 0..30u64 {
        ok!(if round % 2 == 0 { calls::fsync(fd) } else { sync(memory, PAGES * PAGE) });
        let before = rounds.get().load(Ordering::Acquire) as u32;
        let found = ok!(content(c"f"));
        for (page, seen) in seen.iter_mut().enumerate() {
            let bytes = &found[page * PAGE..page * PAGE + 4];
            let value = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            check!(value >= before && value >= *seen, "page {page}: {value} after {before}");
            *seen = value;
        }
        while rounds.get().load(Ordering::Acquire) < 3 * round {
            calls::pause_for(1);
        }
    }
    ok!(sys::kill(child, SIGKILL as i32));
    ok!(sys::wait_for(child));
    ok!(calls::fsync(fd));
    let found = ok!(content(c"f"));
    for page in 0..PAGES {
        equal!(found[page * PAGE], peek(memory + page * PAGE));
        equal!(found[page * PAGE + 1], peek(memory + page * PAGE + 1));
    }
    Ok(())
}

/// Runs `test` where a tmpfs of eight pages is mounted on `m`, and unmounts that.
fn on_small_mount(test: fn() -> Outcome) -> Outcome {
    if calls::geteuid() != Ok(0) {
        skip!("only the superuser mounts");
    }
    ok!(calls::mkdir(c"m", 0o755));
    let options = [c"none", c"m", c"tmpfs", c"size=32k"].map(|word| word.as_ptr() as usize);
    let [source, place, kind, size] = options;
    match raw(__NR_mount as usize, [source, place, kind, 0, size, 0]) {
        Err(Errno::PERM) => skip!("this system lets nobody mount"),
        result => ok!(result),
    };
    let outcome = test();
    let unmounted = raw(__NR_umount2 as usize, [place, 0, 0, 0, 0, 0]);
    outcome?;
    ok!(unmounted);
    Ok(())
}

/// As long as it is mapped to be written, its file system stays so.
fn busy() -> Outcome {
    on_small_mount(|| {
        ok!(make(c"m/f", &[1; PAGE]));
        let fd = ok!(open(c"m/f", O_RDWR, 0));
        let memory = ok!(map(fd, PAGE));
        ok!(calls::close(fd));
        let remount = || {
            let place = c"m".as_ptr() as usize;
            let flags = (MS_REMOUNT | MS_RDONLY) as usize;
            raw(__NR_mount as usize, [place, place, place, flags, 0, 0])
        };
        fails!(remount(), BUSY);
        fails!(raw(__NR_umount2 as usize, [c"m".as_ptr() as usize, 0, 0, 0, 0, 0]), BUSY);
        poke(memory, 2);
        ok!(munmap(memory, PAGE));
        ok!(remount());
        equal!(ok!(content(c"m/f"))[0], 2);
        Ok(())
    })
}

/// A hole that gets no place cannot be stored to; what has one can.
fn full() -> Outcome {
    on_small_mount(|| {
        let fd = ok!(open(c"m/f", O_RDWR | O_CREAT, 0o600));
        ok!(calls::ftruncate(fd, 16 * PAGE as i64));
        let memory = ok!(map(fd, 16 * PAGE));
        poke(memory, 1);
        let status = ok!(in_child(|| {
            for page in 0..16 {
                poke(memory + page * PAGE, 2);
            }
            0
        }));
        equal!(status.signaled(), Some(7));
        equal!(peek(memory), 2);
        ok!(munmap(memory, 16 * PAGE));
        ok!(calls::close(fd));
        equal!(ok!(content(c"m/f"))[0], 2);
        Ok(())
    })
}
