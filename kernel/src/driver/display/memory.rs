//! The picture's memory. The kernel and programs that have mapped it write it at once; the
//! display reads it whenever it likes. So it is never referred to, only copied from and to.

use kernel_console::{Canvas, Geometry};

use crate::arch::{PAGE_SIZE, PhysAddr};

/// Memory of a picture: contiguous, page-aligned, there for good.
#[derive(Debug)]
pub struct PixelMemory {
    geometry: Geometry,
    start: usize,
    physical: PhysAddr,
}

impl PixelMemory {
    /// # Safety
    /// `geometry.length()` bytes, rounded up to pages, are mapped at `start` and are at
    /// `physical`; both are page-aligned. Nobody refers to them by a reference, and they stay.
    pub(in crate::driver) unsafe fn new(
        geometry: Geometry,
        start: usize,
        physical: PhysAddr,
    ) -> Self {
        Self { geometry, start, physical }
    }

    /// How the picture is laid out.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of the picture.
    pub fn length(&self) -> usize {
        self.geometry.length()
    }

    /// Where it is for devices.
    pub(in crate::driver) fn physical(&self) -> PhysAddr {
        self.physical
    }

    /// The frame of the page at byte `offset`; `None` behind the end.
    pub fn frame(&self, offset: u64) -> Option<PhysAddr> {
        let inside = offset < self.length() as u64 && offset.is_multiple_of(PAGE_SIZE as u64);
        inside.then(|| PhysAddr(self.physical.0 + offset))
    }

    /// How many of `length` bytes from `offset` on are in the picture.
    fn clamp(&self, offset: usize, length: usize) -> usize {
        length.min(self.length().saturating_sub(offset))
    }

    /// Copies bytes into the picture; how many were inside.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> usize {
        let count = self.clamp(offset, bytes.len());
        if count > 0 {
            // SAFETY: inside the memory, which stays mapped and to which there are no
            // references (`new`).
            unsafe {
                let target = (self.start as *mut u8).add(offset);
                core::ptr::copy_nonoverlapping(bytes.as_ptr(), target, count);
            }
        }
        count
    }

    /// Copies bytes out of the picture; how many were inside.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> usize {
        let count = self.clamp(offset, bytes.len());
        if count > 0 {
            // SAFETY: as in `write`.
            unsafe {
                let source = (self.start as *const u8).add(offset);
                core::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), count);
            }
        }
        count
    }
}

impl Canvas for &PixelMemory {
    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn put(&mut self, x: u32, y: u32, pixels: &[u8]) {
        let geometry = &self.geometry;
        if x >= geometry.width || y >= geometry.height {
            return;
        }
        let room = (geometry.width - x) as usize * geometry.format.bytes();
        let inside = pixels.get(..room).unwrap_or(pixels);
        self.write(geometry.offset(x, y), inside);
    }
}
