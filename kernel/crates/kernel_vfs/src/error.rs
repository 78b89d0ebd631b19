//! Why a file operation failed. The kernel's system-call layer turns each into an errno.

/// A failed file operation. Each variant names the `errno(3)` that users see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FsError {
    /// ENOENT: a component does not exist.
    NotFound,
    /// EACCES: the permission bits forbid it.
    PermissionDenied,
    /// EPERM: forbidden whatever the permission bits say.
    NotPermitted,
    /// EEXIST.
    Exists,
    /// ENOTDIR.
    NotDirectory,
    /// EISDIR.
    IsDirectory,
    /// ENOTEMPTY.
    NotEmpty,
    /// ENAMETOOLONG: a component over 255 bytes, or a path over 4095.
    NameTooLong,
    /// ELOOP: more than 40 symbolic links, or one where none is allowed.
    TooManySymlinks,
    /// EROFS.
    ReadOnly,
    /// ENOSPC.
    NoSpace,
    /// EFBIG.
    FileTooLarge,
    /// EMLINK.
    TooManyLinks,
    /// EBUSY.
    Busy,
    /// EXDEV: the two names are on different file systems.
    CrossDevice,
    /// EINVAL.
    InvalidArgument,
    /// EBADF.
    BadDescriptor,
    /// EMFILE: the process has no free descriptor.
    TooManyFiles,
    /// EFAULT: user memory is not accessible.
    Fault,
    /// EIO: the device failed.
    Io,
    /// EUCLEAN: what is on the disk cannot be true.
    Corrupted,
    /// EOPNOTSUPP: this file system cannot do that.
    NotSupported,
    /// ENOTTY: no such ioctl here.
    NotTerminal,
    /// ESPIPE.
    IllegalSeek,
    /// EPIPE, and SIGPIPE to the writer.
    BrokenPipe,
    /// EAGAIN: would wait, and the caller asked not to.
    WouldBlock,
    /// EINTR: a signal arrived before anything was done.
    Interrupted,
    /// ENODEV: no such file system type, or the object cannot do this kind of thing.
    NoDevice,
    /// ENXIO: nothing is behind this device node.
    NoSuchDevice,
    /// ENOTBLK: a block device is needed.
    NotBlockDevice,
    /// ENOMEM.
    OutOfMemory,
    /// EOVERFLOW: a value does not fit the type it has to be returned in.
    Overflow,
    /// ESTALE: the object is gone.
    Stale,
    /// ETXTBSY: the file is being executed.
    TextBusy,
    /// ERANGE: the caller's buffer is too small.
    Range,
}
