//! The system calls under test, each made exactly as named, with typed arguments.

use alloc::vec::Vec;
use core::ffi::CStr;
use core::ptr::null_mut;
use kernel_abi::perf::{ATTR_SIZE_FIRST, COUNT_SW_BPF_OUTPUT, TYPE_SOFTWARE, sample};
use lemma_rt::general::{self, AT_FDCWD, iovec, stat, timespec};
use lemma_rt::sys::{self, Status};
use lemma_rt::{Result, syscall};

/// What can be an argument.
trait Argument {
    fn raw(self) -> usize;
}

macro_rules! integers {
    ($($type:ty),*) => { $(
        impl Argument for $type {
            fn raw(self) -> usize {
                self as usize
            }
        }
    )* };
}
integers!(i32, u32, i64, u64, isize, usize);

impl Argument for &CStr {
    fn raw(self) -> usize {
        self.as_ptr() as usize
    }
}

impl<T> Argument for &T {
    fn raw(self) -> usize {
        core::ptr::from_ref(self) as usize
    }
}

impl<T> Argument for &mut T {
    fn raw(self) -> usize {
        core::ptr::from_mut(self) as usize
    }
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $number:ident;)*) => { $(
        pub(crate) fn $name($($argument: $type),*) -> Result<$result> {
            // SAFETY: the types hold what the kernel reads or writes, while the call takes.
            unsafe { syscall!(general::$number $(, Argument::raw($argument))*) }
                .map(|value| value as $result)
        }
    )* };
}

calls! {
    openat(directory: i32, path: &CStr, flags: u32, mode: u32) -> i32 = __NR_openat;
    close(fd: i32) -> usize = __NR_close;
    lseek(fd: i32, offset: i64, whence: u32) -> i64 = __NR_lseek;
    fstat_into(fd: i32, stat: &mut stat) -> usize = __NR_fstat;
    newfstatat(directory: i32, path: &CStr, stat: &mut stat, flags: u32) -> usize
        = __NR_newfstatat;
    dup(fd: i32) -> i32 = __NR_dup;
    dup3(from: i32, to: i32, flags: u32) -> i32 = __NR_dup3;
    fcntl(fd: i32, command: u32, argument: usize) -> i32 = __NR_fcntl;
    pipe2(ends: &mut [i32; 2], flags: u32) -> usize = __NR_pipe2;
    chdir(path: &CStr) -> usize = __NR_chdir;
    chroot(path: &CStr) -> usize = __NR_chroot;
    fchdir(fd: i32) -> usize = __NR_fchdir;
    mkdirat(directory: i32, path: &CStr, mode: u32) -> usize = __NR_mkdirat;
    mknodat(directory: i32, path: &CStr, mode: u32, device: u32) -> usize = __NR_mknodat;
    unlinkat(directory: i32, path: &CStr, flags: u32) -> usize = __NR_unlinkat;
    renameat2(from: i32, old: &CStr, to: i32, new: &CStr, flags: u32) -> usize
        = __NR_renameat2;
    linkat(from: i32, old: &CStr, to: i32, new: &CStr, flags: u32) -> usize = __NR_linkat;
    symlinkat(target: &CStr, directory: i32, path: &CStr) -> usize = __NR_symlinkat;
    fchmod(fd: i32, mode: u32) -> usize = __NR_fchmod;
    fchmodat(directory: i32, path: &CStr, mode: u32) -> usize = __NR_fchmodat;
    fchownat(directory: i32, path: &CStr, uid: u32, gid: u32, flags: u32) -> usize
        = __NR_fchownat;
    faccessat(directory: i32, path: &CStr, mode: u32) -> usize = __NR_faccessat;
    utimensat(directory: i32, path: &CStr, times: &[timespec; 2], flags: u32) -> usize
        = __NR_utimensat;
    ftruncate(fd: i32, length: i64) -> usize = __NR_ftruncate;
    truncate(path: &CStr, length: i64) -> usize = __NR_truncate;
    fsync(fd: i32) -> usize = __NR_fsync;
    fdatasync(fd: i32) -> usize = __NR_fdatasync;
    sync() -> usize = __NR_sync;
    umask(mask: u32) -> u32 = __NR_umask;
    ioctl(fd: i32, request: u32, argument: usize) -> usize = __NR_ioctl;
    getpid_call() -> i32 = __NR_getpid;
    getppid() -> i32 = __NR_getppid;
    gettid() -> i32 = __NR_gettid;
    getuid() -> u32 = __NR_getuid;
    geteuid() -> u32 = __NR_geteuid;
    getgid() -> u32 = __NR_getgid;
    getegid() -> u32 = __NR_getegid;
    setuid(uid: u32) -> usize = __NR_setuid;
    setgid(gid: u32) -> usize = __NR_setgid;
    getpgid(pid: i32) -> i32 = __NR_getpgid;
    setpgid(pid: i32, group: i32) -> usize = __NR_setpgid;
    getsid(pid: i32) -> i32 = __NR_getsid;
    setsid() -> i32 = __NR_setsid;
    sched_yield() -> usize = __NR_sched_yield;
    sched_getaffinity(tid: i32, length: usize, mask: &mut [u64; 16]) -> usize
        = __NR_sched_getaffinity;
    sched_setaffinity(tid: i32, length: usize, mask: &[u64; 16]) -> usize = __NR_sched_setaffinity;
    getcpu(cpu: &mut u32, node: &mut u32, unused: usize) -> usize = __NR_getcpu;
    nanosleep(time: &timespec, left: &mut timespec) -> usize = __NR_nanosleep;
    clock_nanosleep(clock: u32, flags: u32, time: &timespec, left: &mut timespec) -> usize
        = __NR_clock_nanosleep;
    clock_gettime(clock: u32, time: &mut timespec) -> usize = __NR_clock_gettime;
    clock_getres(clock: u32, time: &mut timespec) -> usize = __NR_clock_getres;
    tgkill(group: i32, thread: i32, signal: u32) -> usize = __NR_tgkill;
    rt_sigpending(set: &mut u64, size: usize) -> usize = __NR_rt_sigpending;
    rt_sigsuspend(set: &u64, size: usize) -> usize = __NR_rt_sigsuspend;
    brk(address: usize) -> usize = __NR_brk;
    munmap(address: usize, length: usize) -> usize = __NR_munmap;
    mprotect(address: usize, length: usize, protection: u32) -> usize = __NR_mprotect;
    madvise(address: usize, length: usize, advice: u32) -> usize = __NR_madvise;
    set_tid_address(tid: &mut i32) -> i32 = __NR_set_tid_address;
}

/// `poll` with pairs of a descriptor and what is waited for; a negative time has no end.
pub(crate) fn poll(wanted: &mut [(i32, i16)], milliseconds: i64) -> Result<usize> {
    if let Some(legacy) = lemma_rt::arch::LEGACY_CALLS {
        let list = pollfds(wanted);
        let arguments = [list.as_ptr() as usize, list.len(), milliseconds as usize, 0, 0, 0];
        return raw(legacy.poll, arguments);
    }
    let (tv_sec, tv_nsec) = (milliseconds / 1000, milliseconds % 1000 * 1_000_000);
    let mut time = timespec { tv_sec, tv_nsec };
    ppoll(wanted, (milliseconds >= 0).then_some(&mut time), None)
}

/// `ppoll` with such pairs, a time, of which the rest comes back, and a signal mask.
pub(crate) fn ppoll(
    wanted: &mut [(i32, i16)],
    time: Option<&mut timespec>,
    mask: Option<u64>,
) -> Result<usize> {
    let list = pollfds(wanted);
    let time = time.map_or(0, |time| core::ptr::from_mut(time) as usize);
    let mask = mask.as_ref().map_or(0, |mask| core::ptr::from_ref(mask) as usize);
    ppoll_raw(list.as_ptr() as usize, list.len(), time, mask, 8)
}

/// `ppoll` as it is.
pub(crate) fn ppoll_raw(
    list: usize,
    count: usize,
    time: usize,
    mask: usize,
    set_bytes: usize,
) -> Result<usize> {
    raw(general::__NR_ppoll as usize, [list, count, time, mask, set_bytes, 0])
}

/// `struct pollfd`s.
fn pollfds(wanted: &[(i32, i16)]) -> Vec<u64> {
    let word = |&(fd, events): &(i32, i16)| u64::from(fd as u32) | u64::from(events as u16) << 32;
    wanted.iter().map(word).collect()
}

/// Opens in the current directory.
pub(crate) fn open(path: &CStr, flags: u32, mode: u32) -> Result<i32> {
    openat(AT_FDCWD, path, flags, mode)
}

pub(crate) fn mkdir(path: &CStr, mode: u32) -> Result<usize> {
    mkdirat(AT_FDCWD, path, mode)
}

pub(crate) fn unlink(path: &CStr) -> Result<usize> {
    unlinkat(AT_FDCWD, path, 0)
}

pub(crate) fn rmdir(path: &CStr) -> Result<usize> {
    unlinkat(AT_FDCWD, path, general::AT_REMOVEDIR)
}

pub(crate) fn rename(old: &CStr, new: &CStr) -> Result<usize> {
    renameat2(AT_FDCWD, old, AT_FDCWD, new, 0)
}

pub(crate) fn link(old: &CStr, new: &CStr) -> Result<usize> {
    linkat(AT_FDCWD, old, AT_FDCWD, new, 0)
}

pub(crate) fn symlink(target: &CStr, path: &CStr) -> Result<usize> {
    symlinkat(target, AT_FDCWD, path)
}

pub(crate) fn chmod(path: &CStr, mode: u32) -> Result<usize> {
    fchmodat(AT_FDCWD, path, mode)
}

/// `chmod` for a path that is not a C string yet.
pub(crate) fn chmod_path(path: &[u8], mode: u32) -> Result<usize> {
    match alloc::ffi::CString::new(path) {
        Ok(path) => chmod(&path, mode),
        Err(_) => Err(lemma_rt::Errno::NOENT),
    }
}

pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(general::__NR_read, fd, buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads the slice.
    unsafe { syscall!(general::__NR_write, fd, bytes.as_ptr(), bytes.len()) }
}

pub(crate) fn pread(fd: i32, buffer: &mut [u8], offset: i64) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(general::__NR_pread64, fd, buffer.as_mut_ptr(), buffer.len(), offset) }
}

pub(crate) fn pwrite(fd: i32, bytes: &[u8], offset: i64) -> Result<usize> {
    // SAFETY: the kernel reads the slice.
    unsafe { syscall!(general::__NR_pwrite64, fd, bytes.as_ptr(), bytes.len(), offset) }
}

/// `readv` or `writev`, by `number`.
pub(crate) fn vectored(number: u32, fd: i32, parts: &mut [&mut [u8]]) -> Result<usize> {
    let vectors: Vec<iovec> = parts
        .iter_mut()
        .map(|part| iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() as _ })
        .collect();
    // SAFETY: each vector is one of the mutable slices.
    unsafe { syscall!(number, fd, vectors.as_ptr(), vectors.len()) }
}

pub(crate) fn getdents64(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(general::__NR_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(general::__NR_getcwd, buffer.as_mut_ptr(), buffer.len()) }
}

pub(crate) fn getrandom(buffer: &mut [u8], flags: u32) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe { syscall!(general::__NR_getrandom, buffer.as_mut_ptr(), buffer.len(), flags) }
}

pub(crate) fn readlink(path: &CStr, buffer: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes at most the buffer's length.
    unsafe {
        syscall!(
            general::__NR_readlinkat,
            AT_FDCWD,
            path.as_ptr(),
            buffer.as_mut_ptr(),
            buffer.len()
        )
    }
}

/// An empty `stat`.
pub(crate) fn no_stat() -> stat {
    // SAFETY: plain integers.
    unsafe { core::mem::zeroed() }
}

pub(crate) fn fstat(fd: i32) -> Result<stat> {
    let mut found = no_stat();
    fstat_into(fd, &mut found).map(|_| found)
}

pub(crate) fn stat_of(path: &CStr) -> Result<stat> {
    let mut found = no_stat();
    newfstatat(AT_FDCWD, path, &mut found, 0).map(|_| found)
}

pub(crate) fn lstat(path: &CStr) -> Result<stat> {
    let mut found = no_stat();
    newfstatat(AT_FDCWD, path, &mut found, general::AT_SYMLINK_NOFOLLOW).map(|_| found)
}

pub(crate) fn getpid() -> i32 {
    getpid_call().unwrap_or(0)
}

/// `mmap`, without a file if `fd` is -1.
pub(crate) fn mmap(
    address: usize,
    length: usize,
    protection: u32,
    flags: u32,
    fd: i32,
    offset: usize,
) -> Result<usize> {
    // SAFETY: the tests map over nothing that Rust knows of: MAP_FIXED only on their own maps.
    unsafe { syscall!(general::__NR_mmap, address, length, protection, flags, fd as isize, offset) }
}

/// Private anonymous memory, readable and writable.
pub(crate) fn map(length: usize) -> Result<usize> {
    let protection = general::PROT_READ | general::PROT_WRITE;
    mmap(0, length, protection, general::MAP_PRIVATE | general::MAP_ANONYMOUS, -1, 0)
}

/// Shared anonymous memory, readable and writable.
pub(crate) fn map_shared(length: usize) -> Result<usize> {
    let protection = general::PROT_READ | general::PROT_WRITE;
    mmap(0, length, protection, general::MAP_SHARED | general::MAP_ANONYMOUS, -1, 0)
}

/// Reads a byte of memory that the test has mapped, or in a child that may die of it.
pub(crate) fn peek(address: usize) -> u8 {
    // SAFETY: as said; volatile, so the access happens.
    unsafe { (address as *const u8).read_volatile() }
}

/// Writes a byte of memory that the test has mapped, or in a child that may die of it.
pub(crate) fn poke(address: usize, value: u8) {
    // SAFETY: as said; volatile, so the access happens.
    unsafe { (address as *mut u8).write_volatile(value) }
}

/// Nanoseconds on the monotonic clock.
pub(crate) fn monotonic() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    match clock_gettime(general::CLOCK_MONOTONIC, &mut time) {
        Ok(_) => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        Err(_) => 0,
    }
}

/// Sleeps for some milliseconds.
pub(crate) fn pause_for(milliseconds: i64) {
    let time = timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    let mut left = timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = nanosleep(&time, &mut left);
}

/// Runs something in a child and waits for it.
pub(crate) fn in_child(run: impl FnOnce() -> i32) -> Result<Status> {
    match sys::fork()? {
        None => sys::exit(run()),
        Some(pid) => sys::wait_for(pid),
    }
}

/// Makes a file with this content.
pub(crate) fn make(path: &CStr, content: &[u8]) -> Result<()> {
    let fd = open(path, general::O_WRONLY | general::O_CREAT | general::O_TRUNC, 0o644)?;
    let result = lemma_rt::io::write_all(lemma_rt::io::descriptor(fd), content);
    close(fd)?;
    result
}

/// The content of a file.
pub(crate) fn content(path: &CStr) -> Result<Vec<u8>> {
    lemma_rt::io::read_file(path)
}

/// `wait4` with everything that can be passed.
pub(crate) fn wait4(pid: i32, status: &mut i32, options: u32) -> Result<i32> {
    // SAFETY: the status is writable; no usage is asked for.
    unsafe {
        syscall!(
            general::__NR_wait4,
            pid as isize,
            core::ptr::from_mut(status),
            options,
            null_mut::<u8>()
        )
    }
    .map(|pid| pid as i32)
}

/// A perf event of what programs send on CPU 0, with the programs' bytes in its records.
pub(crate) fn program_event() -> Result<i32> {
    let kind = u64::from(TYPE_SOFTWARE) | (ATTR_SIZE_FIRST as u64) << 32;
    let event = [kind, COUNT_SW_BPF_OUTPUT, 0, sample::RAW, 0, 0, 0, 0];
    let arguments = [event.as_ptr() as usize, usize::MAX, 0, usize::MAX, 0, 0];
    raw(general::__NR_perf_event_open as usize, arguments).map(|fd| fd as i32)
}

/// A call with raw arguments, for those that must fail: bad pointers, unknown numbers.
pub(crate) fn raw(number: usize, arguments: [usize; 6]) -> Result<usize> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the tests pass addresses that are theirs or that no one may write to.
    unsafe { syscall!(number, a, b, c, d, e, f) }
}
