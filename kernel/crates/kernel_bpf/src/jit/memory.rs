//! Where machine code lives: memory that is first writable, then executable, never both.
//!
//! The embedder gives a [`CodeMemory`]: a kernel has pages for it, tools and tests map some.

use core::ops::Range;

/// A source of memory for machine code.
///
/// # Safety
/// What `install` returns is the address of memory that holds exactly what was written, may be
/// executed, and changes no more until it is released. While it was written it could not be
/// executed, and since it can be executed it cannot be written, through any address.
pub unsafe trait CodeMemory: Sync {
    /// Addresses that code may get: what lies within 2 GiB of all of them can be called in the
    /// shortest way.
    fn window(&self) -> Range<usize>;

    /// Allocates `size` bytes, lets `write` fill them, and seals them. `write` gets memory
    /// and the address at which it will be executed. Returns that address, or `None` when there
    /// is no memory. On machines whose instruction fetches do not see stores by themselves
    /// (AArch64: `dc cvau`, `ic ivau`; RISC-V: `fence.i` on every CPU) it sees to that.
    fn install(&self, size: usize, write: &mut dyn FnMut(&mut [u8], usize)) -> Option<usize>;

    /// Takes memory back.
    ///
    /// # Safety
    /// `install` returned `address` for this `size`, and nothing runs there any more.
    unsafe fn release(&self, address: usize, size: usize);
}

/// Machine code in memory, given back when it is dropped.
pub(super) struct InstalledCode {
    address: usize,
    size: usize,
    memory: &'static dyn CodeMemory,
}

impl InstalledCode {
    pub(super) fn new(
        memory: &'static dyn CodeMemory,
        size: usize,
        write: &mut dyn FnMut(&mut [u8], usize),
    ) -> Option<Self> {
        let address = memory.install(size, write)?;
        Some(Self { address, size, memory })
    }

    #[inline]
    pub(super) fn address(&self) -> usize {
        self.address
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }
}

impl Drop for InstalledCode {
    fn drop(&mut self) {
        // SAFETY: `install` gave it; who owned this had the only right to run it.
        unsafe { self.memory.release(self.address, self.size) };
    }
}
