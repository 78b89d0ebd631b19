//! Memory management that needs no hardware: which physical frames are free, who shares
//! them, and what lies where in an address space.
//!
//! | module | holds | used by |
//! |---|---|---|
//! | [`buddy`] | the free blocks of physical memory | the kernel's `mem/phys.rs` |
//! | [`count`] | how many mappings share each frame | `mem/phys.rs`, copy-on-write |
//! | [`magazine`] | a few free frames at hand, in front of the buddy allocator | `mem/phys.rs` |
//! | [`region`] | the regions of one address space | `mem/address_space.rs` |
//!
//! Nothing here touches the memory it manages: frames are numbers, addresses are integers.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::expect_used)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod buddy;
pub mod count;
pub mod magazine;
pub mod region;

pub use buddy::{BlockError, Buddy, FrameInfo, MAX_ORDER, Statistics};
pub use count::FrameCounts;
pub use magazine::Magazine;
pub use region::{Backing, Region, RegionError, Regions, Rights};

/// Bytes in a page and in a frame.
pub const PAGE_SIZE: usize = 4096;

/// `value` rounded up to a page boundary, or `None` if that does not fit.
pub const fn page_align_up(value: usize) -> Option<usize> {
    match value.checked_add(PAGE_SIZE - 1) {
        Some(sum) => Some(sum & !(PAGE_SIZE - 1)),
        None => None,
    }
}

/// `value` rounded down to a page boundary.
pub const fn page_align_down(value: usize) -> usize {
    value & !(PAGE_SIZE - 1)
}
