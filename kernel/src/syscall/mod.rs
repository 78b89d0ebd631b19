//! System calls: one door, [`dispatch_syscall`], and one table behind it.
//!
//! The architecture's entry code (interrupt 0x80 or the fast instruction) saves the user's
//! registers and calls [`dispatch_syscall`] with interrupts on. A handler decodes its
//! arguments, validates them, and only then changes anything; it returns the value for the
//! user or an [`Errno`]. Handlers stand in one file per family beside this one. A number that
//! is not in the table returns `ENOSYS`.
//!
//! Around the handler stand the hooks `sys_enter` and `sys_exit` (`crate::bpf::events`): with
//! no program attached each costs one load and one predicted branch.

pub mod bpf;
pub mod descriptor;
pub mod directory;
pub mod epoll;
pub mod errno;
pub mod file;
pub mod futex;
pub mod identity;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod mount;
mod path;
pub mod perf;
pub mod poll;
pub mod process;
pub mod sched;
pub mod signal;
pub mod socket;
pub mod stat;
pub mod system;
pub mod time;
pub mod timer;
pub mod transfer;

use kernel_abi::Errno;
use kernel_abi::syscall::ABSENT;

use crate::arch::{Arch, Architecture, TrapFrame, numbers as nr};
#[cfg(feature = "hooks")]
use crate::bpf::events::{self, Decision};

/// The user's registers on this machine.
pub type Frame = <Arch as Architecture>::Frame;

/// What a handler returns: the value for the user, or why not.
pub type SyscallResult = Result<usize, Errno>;

/// How a handler is called.
#[derive(Clone, Copy)]
enum Handler {
    /// Not implemented: `ENOSYS`.
    Missing,
    /// Needs its arguments only.
    Plain(fn([usize; 6]) -> SyscallResult),
    /// Reads or changes the user's registers too (`fork`, `execve`, `rt_sigreturn`).
    WithFrame(fn(&mut Frame, [usize; 6]) -> SyscallResult),
}

/// One more than the highest number in the table.
const TABLE_SIZE: usize = 470;

/// Fills a line of the table, for a call that this machine's Linux has.
const fn set(table: &mut [Handler; TABLE_SIZE], number: usize, handler: Handler) {
    if number != ABSENT {
        table[number] = handler;
    }
}

/// One line per system call: its number, and who handles it.
macro_rules! table {
    (plain { $($plain:ident => $plain_handler:path,)* } with_frame { $($frame:ident => $frame_handler:path,)* }) => {{
        let mut table = [Handler::Missing; TABLE_SIZE];
        $(set(&mut table, nr::$plain, Handler::Plain($plain_handler));)*
        $(set(&mut table, nr::$frame, Handler::WithFrame($frame_handler));)*
        table
    }};
}

static TABLE: [Handler; TABLE_SIZE] = table! {
    plain {
        ACCESS => stat::access,
        ALARM => timer::alarm,
        ARCH_PRCTL => process::arch_prctl,
        BPF => bpf::sys_bpf,
        BRK => memory::brk,
        CHDIR => directory::chdir,
        CHMOD => stat::chmod,
        CHOWN => stat::chown,
        CHROOT => directory::chroot,
        CLOCK_GETRES => time::clock_getres,
        CLOCK_GETTIME => time::clock_gettime,
        CLOCK_NANOSLEEP => time::clock_nanosleep,
        CLOCK_SETTIME => time::clock_settime,
        CLOSE => descriptor::close,
        CLOSE_RANGE => descriptor::close_range,
        CREAT => descriptor::creat,
        DUP => descriptor::dup,
        DUP2 => descriptor::dup2,
        DUP3 => descriptor::dup3,
        EPOLL_CREATE => epoll::epoll_create,
        EPOLL_CREATE1 => epoll::epoll_create1,
        EPOLL_CTL => epoll::epoll_ctl,
        EPOLL_PWAIT => epoll::epoll_pwait,
        EPOLL_PWAIT2 => epoll::epoll_pwait2,
        EPOLL_WAIT => epoll::epoll_wait,
        EVENTFD => descriptor::eventfd,
        EVENTFD2 => descriptor::eventfd2,
        EXIT => process::exit,
        EXIT_GROUP => process::exit_group,
        FACCESSAT => stat::faccessat,
        FACCESSAT2 => stat::faccessat2,
        FADVISE64 => transfer::fadvise64,
        FALLOCATE => transfer::fallocate,
        FCHDIR => directory::fchdir,
        FCHMOD => stat::fchmod,
        FCHMODAT => stat::fchmodat,
        FCHOWN => stat::fchown,
        FCHOWNAT => stat::fchownat,
        FCNTL => descriptor::fcntl,
        FDATASYNC => file::fdatasync,
        FLOCK => lock::flock,
        FSTAT => stat::fstat,
        FSTATFS => stat::fstatfs,
        FSYNC => file::fsync,
        FTRUNCATE => stat::ftruncate,
        FUTEX => futex::futex,
        GETCPU => sched::getcpu,
        GETCWD => directory::getcwd,
        GETDENTS64 => directory::getdents64,
        GETEGID => identity::getegid,
        GETEUID => identity::geteuid,
        GETGID => identity::getgid,
        GETGROUPS => identity::getgroups,
        GETITIMER => timer::getitimer,
        GETPEERNAME => socket::getpeername,
        GETPGID => process::getpgid,
        GETPGRP => process::getpgrp,
        GETPID => process::getpid,
        GETPPID => process::getppid,
        GETPRIORITY => sched::getpriority,
        GETRANDOM => system::getrandom,
        GETRESGID => identity::getresgid,
        GETRESUID => identity::getresuid,
        GETRLIMIT => limits::getrlimit,
        GETRUSAGE => process::getrusage,
        GETSID => process::getsid,
        GETSOCKNAME => socket::getsockname,
        GETSOCKOPT => socket::getsockopt,
        GETTID => process::gettid,
        GETTIMEOFDAY => time::gettimeofday,
        GETUID => identity::getuid,
        GET_ROBUST_LIST => process::get_robust_list,
        IOCTL => descriptor::ioctl,
        KILL => signal::kill,
        LCHOWN => stat::lchown,
        LINK => directory::link,
        LINKAT => directory::linkat,
        LSEEK => file::lseek,
        LSTAT => stat::lstat,
        MADVISE => memory::madvise,
        MKDIR => directory::mkdir,
        MKDIRAT => directory::mkdirat,
        MKNOD => directory::mknod,
        MKNODAT => directory::mknodat,
        MLOCK => memory::mlock,
        MMAP => memory::mmap,
        MOUNT => mount::mount,
        MPROTECT => memory::mprotect,
        MREMAP => memory::mremap,
        MSYNC => memory::msync,
        MUNLOCK => memory::mlock,
        MUNMAP => memory::munmap,
        NANOSLEEP => time::nanosleep,
        NEWFSTATAT => stat::newfstatat,
        OPEN => descriptor::open,
        OPENAT => descriptor::openat,
        PAUSE => signal::pause,
        PERF_EVENT_OPEN => perf::perf_event_open,
        PIPE => descriptor::pipe,
        PIPE2 => descriptor::pipe2,
        POLL => poll::poll,
        PPOLL => poll::ppoll,
        PRCTL => process::prctl,
        PREAD64 => file::pread64,
        PREADV => file::preadv,
        PREADV2 => file::preadv2,
        PRLIMIT64 => limits::prlimit64,
        PSELECT6 => poll::pselect6,
        PWRITE64 => file::pwrite64,
        PWRITEV => file::pwritev,
        PWRITEV2 => file::pwritev2,
        READ => file::read,
        READLINK => directory::readlink,
        READLINKAT => directory::readlinkat,
        READV => file::readv,
        REBOOT => system::reboot,
        RECVFROM => socket::recvfrom,
        RECVMSG => socket::recvmsg,
        RENAME => directory::rename,
        RENAMEAT => directory::renameat,
        RENAMEAT2 => directory::renameat2,
        RISCV_FLUSH_ICACHE => memory::riscv_flush_icache,
        RMDIR => directory::rmdir,
        RT_SIGACTION => signal::rt_sigaction,
        RT_SIGPENDING => signal::rt_sigpending,
        RT_SIGPROCMASK => signal::rt_sigprocmask,
        RT_SIGQUEUEINFO => signal::rt_sigqueueinfo,
        RT_SIGSUSPEND => signal::rt_sigsuspend,
        RT_SIGTIMEDWAIT => signal::rt_sigtimedwait,
        RT_TGSIGQUEUEINFO => signal::rt_tgsigqueueinfo,
        SCHED_GETAFFINITY => sched::sched_getaffinity,
        SCHED_GETPARAM => sched::sched_getparam,
        SCHED_GETSCHEDULER => sched::sched_getscheduler,
        SCHED_GET_PRIORITY_MAX => sched::sched_get_priority_max,
        SCHED_GET_PRIORITY_MIN => sched::sched_get_priority_min,
        SCHED_SETAFFINITY => sched::sched_setaffinity,
        SCHED_SETSCHEDULER => sched::sched_setscheduler,
        SCHED_YIELD => sched::sched_yield,
        SELECT => poll::select,
        SENDFILE => transfer::sendfile,
        SENDMSG => socket::sendmsg,
        SENDTO => socket::sendto,
        SETGID => identity::setgid,
        SETGROUPS => identity::setgroups,
        SETHOSTNAME => system::sethostname,
        SETITIMER => timer::setitimer,
        SETPGID => process::setpgid,
        SETPRIORITY => sched::setpriority,
        SETREGID => identity::setregid,
        SETRESGID => identity::setresgid,
        SETRESUID => identity::setresuid,
        SETREUID => identity::setreuid,
        SETRLIMIT => limits::setrlimit,
        SETSID => process::setsid,
        SETUID => identity::setuid,
        SET_ROBUST_LIST => process::set_robust_list,
        SET_TID_ADDRESS => process::set_tid_address,
        SHUTDOWN => socket::shutdown,
        SOCKET => socket::socket,
        SOCKETPAIR => socket::socketpair,
        STAT => stat::stat,
        STATFS => stat::statfs,
        STATX => stat::statx,
        SYMLINK => directory::symlink,
        SYMLINKAT => directory::symlinkat,
        SYNC => file::sync,
        SYNCFS => file::syncfs,
        SYSINFO => system::sysinfo,
        SYSLOG => system::syslog,
        TGKILL => signal::tgkill,
        TIME => time::time,
        TIMES => time::times,
        TKILL => signal::tkill,
        TRUNCATE => stat::truncate,
        UMASK => stat::umask,
        UMOUNT2 => mount::umount2,
        UNAME => system::uname,
        UNLINK => directory::unlink,
        UNLINKAT => directory::unlinkat,
        UTIMENSAT => stat::utimensat,
        WAIT4 => process::wait4,
        WAITID => process::waitid,
        WRITE => file::write,
        WRITEV => file::writev,
    }
    with_frame {
        CLONE => process::clone,
        EXECVE => process::execve,
        FORK => process::fork,
        RT_SIGRETURN => signal::rt_sigreturn,
        SIGALTSTACK => signal::sigaltstack,
        VFORK => process::vfork,
    }
};

/// Runs the system call that `frame` asks for and leaves its result in `frame`.
///
/// Interrupts are on; the caller is a user task on its own kernel stack. Inlined into the one
/// function of the architecture that calls it: the hottest path of the kernel.
#[inline(always)]
pub fn dispatch_syscall(frame: &mut Frame) {
    let (number, args) = frame.syscall();
    #[cfg(feature = "hooks")]
    if let Decision::Refuse(answer) = events::sys_enter(frame) {
        frame.set_return(answer);
        events::sys_exit(frame, number, answer);
        return;
    }
    let result = match TABLE.get(number) {
        Some(Handler::Plain(handler)) => handler(args),
        Some(Handler::WithFrame(handler)) => handler(frame, args),
        Some(Handler::Missing) | None => Err(Errno::ENOSYS),
    };
    let result = result.unwrap_or_else(Errno::to_return_value);
    frame.set_return(result);
    #[cfg(feature = "hooks")]
    events::sys_exit(frame, number, result);
}
