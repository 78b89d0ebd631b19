//! The system calls that are made: all that Lemma has, and some that it does not have, which must
//! return ENOSYS. `tests/documents.rs` compares this with the kernel's table.

use lemma_rt::general as nr;

#[cfg_attr(target_arch = "x86_64", path = "table/x86_64.rs")]
#[cfg_attr(target_arch = "aarch64", path = "table/aarch64.rs")]
#[cfg_attr(target_arch = "riscv64", path = "table/riscv64.rs")]
mod machine;

/// A system call under attack.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) number: usize,
    /// With some arguments it waits for something, or stops or ends its process.
    pub(super) may_sleep: bool,
}

/// They may take the worker's own code or stack away, or the time or memory that it needs.
const MAY_END: [&str; 9] =
    ["brk", "madvise", "mmap", "mprotect", "mremap", "munmap", "prctl", "prlimit64", "setrlimit"];

impl Call {
    /// With some arguments it ends its process.
    pub(super) fn may_end(&self) -> bool {
        self.may_sleep || MAY_END.contains(&self.name)
    }
}

const fn quick(name: &'static str, number: u32) -> Call {
    Call { name, number: number as usize, may_sleep: false }
}

const fn slow(name: &'static str, number: u32) -> Call {
    Call { name, number: number as usize, may_sleep: true }
}

/// How many there are on this machine.
pub(super) const COUNT: usize = EVERYWHERE.len() + machine::CALLS.len();

/// One of them; `index` is below [`COUNT`].
pub(super) fn nth(index: usize) -> &'static Call {
    EVERYWHERE.get(index).unwrap_or_else(|| &machine::CALLS[index - EVERYWHERE.len()])
}

/// `bpf(2)`, which may run a program for as long as it is told.
const BPF: Call = slow("bpf", nr::__NR_bpf);

/// The call that is also made with well-formed attributes.
pub(super) fn bpf() -> &'static Call {
    &BPF
}

/// Those that every architecture's Linux has.
const EVERYWHERE: &[Call] = &[
    slow("read", nr::__NR_read),
    slow("write", nr::__NR_write),
    quick("close", nr::__NR_close),
    quick("fstat", nr::__NR_fstat),
    quick("lseek", nr::__NR_lseek),
    quick("mmap", nr::__NR_mmap),
    quick("mprotect", nr::__NR_mprotect),
    quick("munmap", nr::__NR_munmap),
    quick("brk", nr::__NR_brk),
    quick("rt_sigaction", nr::__NR_rt_sigaction),
    quick("rt_sigprocmask", nr::__NR_rt_sigprocmask),
    slow("rt_sigreturn", nr::__NR_rt_sigreturn),
    slow("ioctl", nr::__NR_ioctl),
    slow("pread64", nr::__NR_pread64),
    slow("pwrite64", nr::__NR_pwrite64),
    slow("readv", nr::__NR_readv),
    slow("writev", nr::__NR_writev),
    quick("madvise", nr::__NR_madvise),
    slow("sched_yield", nr::__NR_sched_yield),
    slow("nanosleep", nr::__NR_nanosleep),
    quick("getpid", nr::__NR_getpid),
    slow("clone", nr::__NR_clone),
    slow("execve", nr::__NR_execve),
    slow("exit", nr::__NR_exit),
    slow("exit_group", nr::__NR_exit_group),
    slow("wait4", nr::__NR_wait4),
    slow("kill", nr::__NR_kill),
    quick("uname", nr::__NR_uname),
    slow("fcntl", nr::__NR_fcntl),
    slow("fsync", nr::__NR_fsync),
    slow("fdatasync", nr::__NR_fdatasync),
    quick("truncate", nr::__NR_truncate),
    quick("ftruncate", nr::__NR_ftruncate),
    quick("getdents64", nr::__NR_getdents64),
    quick("getcwd", nr::__NR_getcwd),
    quick("chdir", nr::__NR_chdir),
    quick("fchdir", nr::__NR_fchdir),
    quick("chroot", nr::__NR_chroot),
    quick("fchmod", nr::__NR_fchmod),
    quick("fchown", nr::__NR_fchown),
    quick("umask", nr::__NR_umask),
    quick("getuid", nr::__NR_getuid),
    quick("getgid", nr::__NR_getgid),
    quick("setuid", nr::__NR_setuid),
    quick("setgid", nr::__NR_setgid),
    quick("geteuid", nr::__NR_geteuid),
    quick("getegid", nr::__NR_getegid),
    quick("setpgid", nr::__NR_setpgid),
    quick("getppid", nr::__NR_getppid),
    quick("getpgid", nr::__NR_getpgid),
    quick("setsid", nr::__NR_setsid),
    quick("getsid", nr::__NR_getsid),
    quick("rt_sigpending", nr::__NR_rt_sigpending),
    slow("rt_sigsuspend", nr::__NR_rt_sigsuspend),
    quick("sigaltstack", nr::__NR_sigaltstack),
    quick("statfs", nr::__NR_statfs),
    quick("fstatfs", nr::__NR_fstatfs),
    quick("prctl", nr::__NR_prctl),
    slow("sync", nr::__NR_sync),
    quick("reboot", nr::__NR_reboot),
    quick("mount", nr::__NR_mount),
    quick("umount2", nr::__NR_umount2),
    quick("gettid", nr::__NR_gettid),
    slow("futex", nr::__NR_futex),
    quick("sched_getaffinity", nr::__NR_sched_getaffinity),
    quick("sched_setaffinity", nr::__NR_sched_setaffinity),
    quick("set_tid_address", nr::__NR_set_tid_address),
    quick("clock_gettime", nr::__NR_clock_gettime),
    quick("clock_getres", nr::__NR_clock_getres),
    slow("clock_nanosleep", nr::__NR_clock_nanosleep),
    slow("tgkill", nr::__NR_tgkill),
    slow("tkill", nr::__NR_tkill),
    slow("openat", nr::__NR_openat),
    quick("mkdirat", nr::__NR_mkdirat),
    quick("mknodat", nr::__NR_mknodat),
    quick("fchownat", nr::__NR_fchownat),
    quick("newfstatat", nr::__NR_newfstatat),
    quick("unlinkat", nr::__NR_unlinkat),
    quick("renameat2", nr::__NR_renameat2),
    quick("linkat", nr::__NR_linkat),
    quick("symlinkat", nr::__NR_symlinkat),
    quick("readlinkat", nr::__NR_readlinkat),
    quick("fchmodat", nr::__NR_fchmodat),
    quick("faccessat", nr::__NR_faccessat),
    quick("faccessat2", nr::__NR_faccessat2),
    quick("utimensat", nr::__NR_utimensat),
    quick("dup", nr::__NR_dup),
    quick("dup3", nr::__NR_dup3),
    quick("pipe2", nr::__NR_pipe2),
    slow("ppoll", nr::__NR_ppoll),
    quick("getrandom", nr::__NR_getrandom),
    slow("bpf", nr::__NR_bpf),
    quick("sysinfo", nr::__NR_sysinfo),
    slow("syslog", nr::__NR_syslog),
    quick("gettimeofday", nr::__NR_gettimeofday),
    quick("getrusage", nr::__NR_getrusage),
    quick("times", nr::__NR_times),
    quick("prlimit64", nr::__NR_prlimit64),
    quick("set_robust_list", nr::__NR_set_robust_list),
    slow("setitimer", nr::__NR_setitimer),
    quick("getitimer", nr::__NR_getitimer),
    slow("preadv", nr::__NR_preadv),
    slow("pwritev", nr::__NR_pwritev),
    quick("epoll_create1", nr::__NR_epoll_create1),
    quick("epoll_ctl", nr::__NR_epoll_ctl),
    slow("epoll_pwait", nr::__NR_epoll_pwait),
    quick("eventfd2", nr::__NR_eventfd2),
    quick("perf_event_open", nr::__NR_perf_event_open),
    quick("memfd_create", nr::__NR_memfd_create),
    slow("sendfile", nr::__NR_sendfile),
    slow("splice", nr::__NR_splice),
    slow("copy_file_range", nr::__NR_copy_file_range),
    quick("socket", nr::__NR_socket),
    quick("socketpair", nr::__NR_socketpair),
    quick("statx", nr::__NR_statx),
    slow("openat2", nr::__NR_openat2),
    quick("close_range", nr::__NR_close_range),
    quick("getgroups", nr::__NR_getgroups),
    quick("setgroups", nr::__NR_setgroups),
    quick("setresuid", nr::__NR_setresuid),
    quick("setresgid", nr::__NR_setresgid),
    quick("mremap", nr::__NR_mremap),
    quick("mlock", nr::__NR_mlock),
    quick("msync", nr::__NR_msync),
    quick("mincore", nr::__NR_mincore),
    slow("pselect6", nr::__NR_pselect6),
    slow("flock", nr::__NR_flock),
    slow("rt_sigtimedwait", nr::__NR_rt_sigtimedwait),
    slow("sendto", nr::__NR_sendto),
    slow("recvfrom", nr::__NR_recvfrom),
    slow("sendmsg", nr::__NR_sendmsg),
    slow("recvmsg", nr::__NR_recvmsg),
    quick("getsockopt", nr::__NR_getsockopt),
    quick("getsockname", nr::__NR_getsockname),
    quick("getpeername", nr::__NR_getpeername),
    slow("shutdown", nr::__NR_shutdown),
    slow("rt_sigqueueinfo", nr::__NR_rt_sigqueueinfo),
    slow("rt_tgsigqueueinfo", nr::__NR_rt_tgsigqueueinfo),
    slow("preadv2", nr::__NR_preadv2),
    slow("pwritev2", nr::__NR_pwritev2),
    quick("setreuid", nr::__NR_setreuid),
    quick("setregid", nr::__NR_setregid),
    quick("fadvise64", nr::__NR_fadvise64),
    quick("fallocate", nr::__NR_fallocate),
    quick("getpriority", nr::__NR_getpriority),
    quick("setpriority", nr::__NR_setpriority),
    quick("sched_getscheduler", nr::__NR_sched_getscheduler),
    quick("sched_setscheduler", nr::__NR_sched_setscheduler),
    quick("sched_getparam", nr::__NR_sched_getparam),
    quick("sched_get_priority_max", nr::__NR_sched_get_priority_max),
    quick("sched_get_priority_min", nr::__NR_sched_get_priority_min),
    quick("clock_settime", nr::__NR_clock_settime),
    slow("epoll_pwait2", nr::__NR_epoll_pwait2),
    quick("getcpu", nr::__NR_getcpu),
    quick("getresgid", nr::__NR_getresgid),
    quick("getresuid", nr::__NR_getresuid),
    quick("getrlimit", nr::__NR_getrlimit),
    quick("get_robust_list", nr::__NR_get_robust_list),
    quick("munlock", nr::__NR_munlock),
    quick("sethostname", nr::__NR_sethostname),
    quick("setrlimit", nr::__NR_setrlimit),
    slow("syncfs", nr::__NR_syncfs),
    slow("waitid", nr::__NR_waitid),
];
