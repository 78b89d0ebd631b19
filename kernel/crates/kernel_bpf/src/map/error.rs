//! Why a map operation is refused, with Linux's error for each.

use core::fmt;

/// Why a map cannot be created or an operation on it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// A size, flag or argument that no map of this type takes (EINVAL).
    Invalid,
    /// The key is not in the map (ENOENT).
    NotFound,
    /// `BPF_NOEXIST`, and the key is in the map (EEXIST).
    Exists,
    /// The map is full, or an array's index is beyond its end (E2BIG).
    Full,
    /// No memory, or every spare element waits for its last reader (ENOMEM).
    OutOfMemory,
    /// The map is frozen or not open for this access (EPERM).
    Forbidden,
    /// This type of map does not have this operation (Linux: ENOTSUPP, 524, which user
    /// space sees as it is).
    NotSupported,
    /// The ring buffer has no room for the record (EAGAIN).
    WouldBlock,
    /// The map is in use in a way that forbids this (EBUSY).
    Busy,
    /// What was asked for has no place: a full trie, a bucket larger than the buffer (ENOSPC).
    NoSpace,
    /// The operation makes no sense for this type of map (EOPNOTSUPP).
    Impossible,
}

impl MapError {
    /// Linux's error number, positive. Helpers return its negative to programs.
    #[must_use]
    pub const fn number(self) -> i32 {
        match self {
            MapError::Forbidden => 1,
            MapError::NotFound => 2,
            MapError::Full => 7,
            MapError::WouldBlock => 11,
            MapError::OutOfMemory => 12,
            MapError::Busy => 16,
            MapError::Exists => 17,
            MapError::Invalid => 22,
            MapError::NoSpace => 28,
            MapError::Impossible => 95,
            MapError::NotSupported => 524,
        }
    }
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MapError::Invalid => "invalid size, flag or argument for this type of map",
            MapError::NotFound => "no such key",
            MapError::Exists => "the key exists already",
            MapError::Full => "the map is full or the index is beyond its end",
            MapError::OutOfMemory => "out of memory",
            MapError::Forbidden => "the map does not allow this access",
            MapError::NotSupported => "this type of map does not have this operation",
            MapError::WouldBlock => "no room in the ring buffer",
            MapError::Busy => "the map is in use",
            MapError::NoSpace => "no space left in the map or the buffer",
            MapError::Impossible => "the operation makes no sense for this type of map",
        })
    }
}

impl core::error::Error for MapError {}

/// Copy the value while its spin lock is held (`BPF_F_LOCK`).
pub const F_LOCK: u64 = 4;

/// What an update does when the key exists, and when it does not (`BPF_ANY`,
/// `BPF_NOEXIST`, `BPF_EXIST`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpdateMode {
    Any,
    NoExist,
    Exist,
}

impl UpdateMode {
    /// From the flags of `BPF_MAP_UPDATE_ELEM` and `bpf_map_update_elem`, without
    /// [`F_LOCK`].
    ///
    /// # Errors
    /// [`MapError::Invalid`] for anything else.
    #[inline]
    pub const fn from_flags(flags: u64) -> Result<Self, MapError> {
        match flags {
            0 => Ok(Self::Any),
            1 => Ok(Self::NoExist),
            2 => Ok(Self::Exist),
            _ => Err(MapError::Invalid),
        }
    }
}
