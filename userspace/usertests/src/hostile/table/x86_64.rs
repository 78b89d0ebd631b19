//! System calls of x86_64: the older ones, instead of which later architectures have others.

use super::{Call, quick, slow};
use lemma_rt::general as nr;

/// Those beside the ones that are everywhere.
pub(super) const CALLS: &[Call] = &[
    quick("access", nr::__NR_access),
    slow("alarm", nr::__NR_alarm),
    quick("arch_prctl", nr::__NR_arch_prctl),
    quick("chmod", nr::__NR_chmod),
    quick("chown", nr::__NR_chown),
    slow("creat", nr::__NR_creat),
    quick("dup2", nr::__NR_dup2),
    quick("epoll_create", nr::__NR_epoll_create),
    slow("epoll_wait", nr::__NR_epoll_wait),
    quick("eventfd", nr::__NR_eventfd),
    slow("fork", nr::__NR_fork),
    quick("getpgrp", nr::__NR_getpgrp),
    quick("lchown", nr::__NR_lchown),
    quick("link", nr::__NR_link),
    quick("lstat", nr::__NR_lstat),
    quick("mkdir", nr::__NR_mkdir),
    quick("mknod", nr::__NR_mknod),
    slow("open", nr::__NR_open),
    slow("pause", nr::__NR_pause),
    quick("pipe", nr::__NR_pipe),
    slow("poll", nr::__NR_poll),
    quick("readlink", nr::__NR_readlink),
    quick("rename", nr::__NR_rename),
    quick("renameat", nr::__NR_renameat),
    quick("rmdir", nr::__NR_rmdir),
    slow("select", nr::__NR_select),
    quick("stat", nr::__NR_stat),
    quick("symlink", nr::__NR_symlink),
    quick("time", nr::__NR_time),
    quick("unlink", nr::__NR_unlink),
    slow("vfork", nr::__NR_vfork),
];
