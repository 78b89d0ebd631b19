//! Every conversion from a subsystem's failure to the error number that Linux returns.
//!
//! Subsystems have their own small error types and know nothing of `errno`; this file is the
//! only place where the two meet, so that the mapping can be read as one table.

use kernel_abi::Errno;
use kernel_bpf::map::MapError;
use kernel_bpf::verifier::Cause;
use kernel_elf::ArgumentsError;
use kernel_vfs::FsError;

use crate::bpf::hooks::AttachError;
use crate::file::epoll::EpollError;
use crate::mcore::Interrupted;
use crate::mcore::mtask::exec::ExecError;
use crate::mcore::mtask::exit::WaitError;
use crate::mcore::mtask::family::GroupError;
use crate::mcore::mtask::fork::CloneError;
use crate::mcore::mtask::futex::FutexError;
use crate::mem::OutOfMemory;
use crate::mem::address_space::MemoryError;
use crate::mem::user::Fault;

/// A method, because neither type is this crate's.
pub trait ToErrno {
    fn to_errno(self) -> Errno;
}

/// The same for a whole result.
pub trait OrErrno<T> {
    fn or_errno(self) -> Result<T, Errno>;
}

impl<T, E: ToErrno> OrErrno<T> for Result<T, E> {
    #[inline]
    fn or_errno(self) -> Result<T, Errno> {
        self.map_err(ToErrno::to_errno)
    }
}

impl ToErrno for MapError {
    fn to_errno(self) -> Errno {
        match self {
            Self::Invalid => Errno::EINVAL,
            Self::NotFound => Errno::ENOENT,
            Self::Exists => Errno::EEXIST,
            Self::Full => Errno::E2BIG,
            Self::OutOfMemory => Errno::ENOMEM,
            Self::Forbidden => Errno::EPERM,
            Self::NotSupported => Errno::ENOTSUPP,
            Self::WouldBlock => Errno::EAGAIN,
            Self::Busy => Errno::EBUSY,
            Self::NoSpace => Errno::ENOSPC,
            Self::Impossible => Errno::EOPNOTSUPP,
        }
    }
}

impl ToErrno for AttachError {
    fn to_errno(self) -> Errno {
        match self {
            Self::NoSuchHook | Self::WrongType | Self::ContextTooShort => Errno::EINVAL,
            Self::NoSuchProgram | Self::NotAttached => Errno::ENOENT,
            Self::LinkDetached => Errno::ENOLINK,
            Self::NotDetachable => Errno::EOPNOTSUPP,
            Self::OverBudget | Self::Full => Errno::E2BIG,
            Self::AlreadyAttached => Errno::EEXIST,
            Self::NotExpected => Errno::EPERM,
            Self::OutOfMemory => Errno::ENOMEM,
        }
    }
}

/// What the verifier refuses is `EACCES` as a rule; `EINVAL` where the program is malformed, and
/// `E2BIG` where it is too much.
impl ToErrno for Cause {
    fn to_errno(self) -> Errno {
        match self {
            Self::ProgramType
            | Self::BadInstruction
            | Self::BadJump
            | Self::FallsThrough
            | Self::Unreachable
            | Self::InfiniteLoop
            | Self::UnknownFunction
            | Self::BadTemplate
            | Self::Licence => Errno::EINVAL,
            Self::OutOfMemory => Errno::ENOMEM,
            Self::ProgramSize | Self::TooComplex | Self::OverBudget => Errno::E2BIG,
            _ => Errno::EACCES,
        }
    }
}

impl ToErrno for FsError {
    fn to_errno(self) -> Errno {
        match self {
            Self::NotFound => Errno::ENOENT,
            Self::PermissionDenied => Errno::EACCES,
            Self::NotPermitted => Errno::EPERM,
            Self::Exists => Errno::EEXIST,
            Self::NotDirectory => Errno::ENOTDIR,
            Self::IsDirectory => Errno::EISDIR,
            Self::NotEmpty => Errno::ENOTEMPTY,
            Self::NameTooLong => Errno::ENAMETOOLONG,
            Self::TooManySymlinks => Errno::ELOOP,
            Self::ReadOnly => Errno::EROFS,
            Self::NoSpace => Errno::ENOSPC,
            Self::FileTooLarge => Errno::EFBIG,
            Self::TooManyLinks => Errno::EMLINK,
            Self::Busy => Errno::EBUSY,
            Self::CrossDevice => Errno::EXDEV,
            Self::InvalidArgument => Errno::EINVAL,
            Self::BadDescriptor => Errno::EBADF,
            Self::TooManyFiles => Errno::EMFILE,
            Self::Fault => Errno::EFAULT,
            Self::Io => Errno::EIO,
            Self::Corrupted => Errno::EUCLEAN,
            Self::NotSupported => Errno::EOPNOTSUPP,
            Self::NotTerminal => Errno::ENOTTY,
            Self::IllegalSeek => Errno::ESPIPE,
            Self::BrokenPipe => Errno::EPIPE,
            Self::WouldBlock => Errno::EAGAIN,
            Self::Interrupted => Errno::EINTR,
            Self::NoDevice => Errno::ENODEV,
            Self::NoSuchDevice => Errno::ENXIO,
            Self::NotBlockDevice => Errno::ENOTBLK,
            Self::OutOfMemory => Errno::ENOMEM,
            Self::Overflow => Errno::EOVERFLOW,
            Self::Stale => Errno::ESTALE,
            Self::TextBusy => Errno::ETXTBSY,
            Self::Range => Errno::ERANGE,
        }
    }
}

impl From<EpollError> for Errno {
    fn from(error: EpollError) -> Self {
        match error {
            EpollError::Exists => Self::EEXIST,
            EpollError::NotFound => Self::ENOENT,
            EpollError::Invalid => Self::EINVAL,
            EpollError::Nested => Self::ELOOP,
            EpollError::OutOfMemory => Self::ENOMEM,
        }
    }
}

impl From<Fault> for Errno {
    fn from(_: Fault) -> Self {
        Self::EFAULT
    }
}

impl From<OutOfMemory> for Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::ENOMEM
    }
}

impl From<Interrupted> for Errno {
    fn from(_: Interrupted) -> Self {
        Self::EINTR
    }
}

impl ToErrno for ArgumentsError {
    fn to_errno(self) -> Errno {
        match self {
            Self::TooBig => Errno::E2BIG,
            Self::OutOfMemory => Errno::ENOMEM,
        }
    }
}

impl From<MemoryError> for Errno {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::Invalid => Self::EINVAL,
            MemoryError::NoMemory => Self::ENOMEM,
            MemoryError::Exists => Self::EEXIST,
            MemoryError::Forbidden => Self::EACCES,
            MemoryError::NotPermitted => Self::EPERM,
            MemoryError::NotMapped => Self::EFAULT,
        }
    }
}

impl From<CloneError> for Errno {
    fn from(error: CloneError) -> Self {
        match error {
            CloneError::Invalid => Self::EINVAL,
            CloneError::OutOfMemory => Self::ENOMEM,
            CloneError::TooMany => Self::EAGAIN,
            CloneError::Ending => Self::EINTR,
        }
    }
}

impl From<ExecError> for Errno {
    fn from(error: ExecError) -> Self {
        match error {
            ExecError::File(FsError::TooManyLinks) => Self::ELOOP,
            ExecError::File(error) => error.to_errno(),
            ExecError::Format => Self::ENOEXEC,
            ExecError::WriteAndExecute => Self::EACCES,
            ExecError::TooBig => Self::E2BIG,
            ExecError::OutOfMemory => Self::ENOMEM,
            ExecError::Ending => Self::EINTR,
        }
    }
}

impl From<WaitError> for Errno {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::NoChild => Self::ECHILD,
            WaitError::Interrupted => Self::EINTR,
        }
    }
}

impl From<GroupError> for Errno {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::NotPermitted => Self::EPERM,
            GroupError::NoProcess => Self::ESRCH,
            GroupError::Executed => Self::EACCES,
        }
    }
}

impl From<FutexError> for Errno {
    fn from(error: FutexError) -> Self {
        match error {
            FutexError::Changed => Self::EAGAIN,
            FutexError::Interrupted => Self::EINTR,
            FutexError::TimedOut => Self::ETIMEDOUT,
            FutexError::Fault => Self::EFAULT,
            FutexError::Misaligned => Self::EINVAL,
        }
    }
}
