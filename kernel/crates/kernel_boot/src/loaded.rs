//! What a boot loader loaded beside the kernel.

/// A range of physical memory that holds a module: for this kernel, its RAM disk. It is an
/// allegation until [`crate::MemoryMap::is_usable`] has confirmed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    pub start: u64,
    /// In bytes.
    pub length: u64,
}

impl Loaded {
    /// A range by its start and the first byte after it; `None` if it is empty.
    #[must_use]
    pub fn until(start: u64, end: u64) -> Option<Self> {
        Self::of(start, end.checked_sub(start)?)
    }

    /// A range by its start and its length; `None` if it is empty.
    #[must_use]
    pub fn of(start: u64, length: u64) -> Option<Self> {
        (length > 0).then_some(Self { start, length })
    }
}
