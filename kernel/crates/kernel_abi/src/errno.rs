//! Error numbers, with Linux's values and texts (`errno(3)`).

/// Why a system call failed. The discriminant is Linux's number, the same on all
/// architectures that Lemma runs on. As wide as a register, so that a system call's
/// `Result<usize, Errno>` is returned in two of them, not through memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum Errno {
    /// Operation not permitted.
    EPERM = 1,
    /// No such file or directory.
    ENOENT = 2,
    /// No such process.
    ESRCH = 3,
    /// Interrupted system call.
    EINTR = 4,
    /// Input/output error.
    EIO = 5,
    /// No such device or address.
    ENXIO = 6,
    /// Argument list too long.
    E2BIG = 7,
    /// Exec format error.
    ENOEXEC = 8,
    /// Bad file descriptor.
    EBADF = 9,
    /// No child processes.
    ECHILD = 10,
    /// Resource temporarily unavailable.
    EAGAIN = 11,
    /// Cannot allocate memory.
    ENOMEM = 12,
    /// Permission denied.
    EACCES = 13,
    /// Bad address.
    EFAULT = 14,
    /// Block device required.
    ENOTBLK = 15,
    /// Device or resource busy.
    EBUSY = 16,
    /// File exists.
    EEXIST = 17,
    /// Invalid cross-device link.
    EXDEV = 18,
    /// No such device.
    ENODEV = 19,
    /// Not a directory.
    ENOTDIR = 20,
    /// Is a directory.
    EISDIR = 21,
    /// Invalid argument.
    EINVAL = 22,
    /// Too many open files in system.
    ENFILE = 23,
    /// Too many open files.
    EMFILE = 24,
    /// Inappropriate ioctl for device.
    ENOTTY = 25,
    /// Text file busy.
    ETXTBSY = 26,
    /// File too large.
    EFBIG = 27,
    /// No space left on device.
    ENOSPC = 28,
    /// Illegal seek.
    ESPIPE = 29,
    /// Read-only file system.
    EROFS = 30,
    /// Too many links.
    EMLINK = 31,
    /// Broken pipe.
    EPIPE = 32,
    /// Numerical argument out of domain.
    EDOM = 33,
    /// Numerical result out of range.
    ERANGE = 34,
    /// Resource deadlock avoided.
    EDEADLK = 35,
    /// File name too long.
    ENAMETOOLONG = 36,
    /// Function not implemented.
    ENOSYS = 38,
    /// Directory not empty.
    ENOTEMPTY = 39,
    /// Too many levels of symbolic links.
    ELOOP = 40,
    /// No data available.
    ENODATA = 61,
    /// Link has been severed.
    ENOLINK = 67,
    /// Bad message.
    EBADMSG = 74,
    /// Value too large for defined data type.
    EOVERFLOW = 75,
    /// Structure needs cleaning.
    EUCLEAN = 117,
    /// Operation not supported.
    EOPNOTSUPP = 95,
    /// Socket operation on non-socket.
    ENOTSOCK = 88,
    /// Message too long.
    EMSGSIZE = 90,
    /// Protocol not available.
    ENOPROTOOPT = 92,
    /// Protocol not supported.
    EPROTONOSUPPORT = 93,
    /// Socket type not supported.
    ESOCKTNOSUPPORT = 94,
    /// Address family not supported by protocol.
    EAFNOSUPPORT = 97,
    /// Transport endpoint is already connected.
    EISCONN = 106,
    /// Connection timed out.
    ETIMEDOUT = 110,
    /// Operation already in progress.
    EALREADY = 114,
    /// Stale file handle.
    ESTALE = 116,
    /// Operation canceled.
    ECANCELED = 125,
    /// Operation is not supported. Not in `errno(3)`: Linux's BPF lets this internal number out.
    ENOTSUPP = 524,
}

impl Errno {
    /// Every error number that Lemma returns.
    pub const ALL: &[Self] = &[
        Self::EPERM,
        Self::ENOENT,
        Self::ESRCH,
        Self::EINTR,
        Self::EIO,
        Self::ENXIO,
        Self::E2BIG,
        Self::ENOEXEC,
        Self::EBADF,
        Self::ECHILD,
        Self::EAGAIN,
        Self::ENOMEM,
        Self::EACCES,
        Self::EFAULT,
        Self::ENOTBLK,
        Self::EBUSY,
        Self::EEXIST,
        Self::EXDEV,
        Self::ENODEV,
        Self::ENOTDIR,
        Self::EISDIR,
        Self::EINVAL,
        Self::ENFILE,
        Self::EMFILE,
        Self::ENOTTY,
        Self::ETXTBSY,
        Self::EFBIG,
        Self::ENOSPC,
        Self::ESPIPE,
        Self::EROFS,
        Self::EMLINK,
        Self::EPIPE,
        Self::EDOM,
        Self::ERANGE,
        Self::EDEADLK,
        Self::ENAMETOOLONG,
        Self::ENOSYS,
        Self::ENOTEMPTY,
        Self::ELOOP,
        Self::ENODATA,
        Self::ENOLINK,
        Self::EBADMSG,
        Self::EOVERFLOW,
        Self::EUCLEAN,
        Self::EOPNOTSUPP,
        Self::ENOTSOCK,
        Self::EMSGSIZE,
        Self::ENOPROTOOPT,
        Self::EPROTONOSUPPORT,
        Self::ESOCKTNOSUPPORT,
        Self::EAFNOSUPPORT,
        Self::EISCONN,
        Self::ETIMEDOUT,
        Self::EALREADY,
        Self::ESTALE,
        Self::ECANCELED,
        Self::ENOTSUPP,
    ];

    /// The number, positive.
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The value that a system call returns for this error: the negated number.
    pub const fn to_return_value(self) -> usize {
        (-(self as i32) as isize) as usize
    }

    /// The error with this positive number.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|errno| errno.number() == number)
    }

    /// The text that `strerror(3)` gives.
    pub const fn message(self) -> &'static str {
        match self {
            Self::EPERM => "Operation not permitted",
            Self::ENOENT => "No such file or directory",
            Self::ESRCH => "No such process",
            Self::EINTR => "Interrupted system call",
            Self::EIO => "Input/output error",
            Self::ENXIO => "No such device or address",
            Self::E2BIG => "Argument list too long",
            Self::ENOEXEC => "Exec format error",
            Self::EBADF => "Bad file descriptor",
            Self::ECHILD => "No child processes",
            Self::EAGAIN => "Resource temporarily unavailable",
            Self::ENOMEM => "Cannot allocate memory",
            Self::EACCES => "Permission denied",
            Self::EFAULT => "Bad address",
            Self::ENOTBLK => "Block device required",
            Self::EBUSY => "Device or resource busy",
            Self::EEXIST => "File exists",
            Self::EXDEV => "Invalid cross-device link",
            Self::ENODEV => "No such device",
            Self::ENOTDIR => "Not a directory",
            Self::EISDIR => "Is a directory",
            Self::EINVAL => "Invalid argument",
            Self::ENFILE => "Too many open files in system",
            Self::EMFILE => "Too many open files",
            Self::ENOTTY => "Inappropriate ioctl for device",
            Self::ETXTBSY => "Text file busy",
            Self::EFBIG => "File too large",
            Self::ENOSPC => "No space left on device",
            Self::ESPIPE => "Illegal seek",
            Self::EROFS => "Read-only file system",
            Self::EMLINK => "Too many links",
            Self::EPIPE => "Broken pipe",
            Self::EDOM => "Numerical argument out of domain",
            Self::ERANGE => "Numerical result out of range",
            Self::EDEADLK => "Resource deadlock avoided",
            Self::ENAMETOOLONG => "File name too long",
            Self::ENOSYS => "Function not implemented",
            Self::ENOTEMPTY => "Directory not empty",
            Self::ELOOP => "Too many levels of symbolic links",
            Self::ENODATA => "No data available",
            Self::ENOLINK => "Link has been severed",
            Self::EBADMSG => "Bad message",
            Self::EOVERFLOW => "Value too large for defined data type",
            Self::EUCLEAN => "Structure needs cleaning",
            Self::EOPNOTSUPP => "Operation not supported",
            Self::ENOTSOCK => "Socket operation on non-socket",
            Self::EMSGSIZE => "Message too long",
            Self::ENOPROTOOPT => "Protocol not available",
            Self::EPROTONOSUPPORT => "Protocol not supported",
            Self::ESOCKTNOSUPPORT => "Socket type not supported",
            Self::EAFNOSUPPORT => "Address family not supported by protocol",
            Self::EISCONN => "Transport endpoint is already connected",
            Self::ETIMEDOUT => "Connection timed out",
            Self::EALREADY => "Operation already in progress",
            Self::ESTALE => "Stale file handle",
            Self::ECANCELED => "Operation canceled",
            Self::ENOTSUPP => "Unknown error 524",
        }
    }
}

impl core::fmt::Display for Errno {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::Errno;

    #[test]
    fn numbers_round_trip() {
        for &errno in Errno::ALL {
            assert_eq!(Errno::from_number(errno.number()), Some(errno));
        }
        assert_eq!(Errno::from_number(0), None);
        assert_eq!(Errno::ENOENT.to_return_value() as isize, -2);
    }
}
