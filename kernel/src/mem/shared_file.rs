//! Shared mappings of files: frames for their pages, and taking them back. What they mean is said
//! in [`kernel_vfs::mapped`].

use alloc::sync::Arc;
use core::ops::Range;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use kernel_vfs::FsError;
use kernel_vfs::mapped::{self, Machine, Mapped, Mapping, Revoked, SharedPage};

use super::address_space::{AddressSpace, Inner};
use super::backing::Backing;
use super::fault;
use super::phys;
use crate::arch::{PAGE_SIZE, PageTable, PhysAddr, Protection};

/// A part of a file, mapped shared.
#[derive(Clone)]
pub struct SharedFile {
    pub mapping: Arc<Mapping>,
    /// Where in the file the region starts; a multiple of the page size.
    pub offset: u64,
}

/// Makes shared mappings of files possible. Called once, at start-up.
pub fn install() {
    mapped::install(Machine { new_page, revoke });
}

/// A frame that is the kernel's as long as there is a handle to it; mappings own nothing.
struct FramePage(PhysAddr);

fn new_page() -> Result<Arc<dyn SharedPage>, FsError> {
    let frame = phys::alloc_user_frame().ok_or(FsError::OutOfMemory)?;
    phys::zero(frame);
    Ok(Arc::new(FramePage(frame)))
}

const WORD: usize = size_of::<u64>();

impl FramePage {
    /// The frame's words. Users change them at any time, which atomics may.
    fn words(&self) -> &[AtomicU64] {
        let start = phys::phys_to_virt(self.0) as *const AtomicU64;
        // SAFETY: the frame is RAM in the direct map, aligned, and stays ours as long as `self` does;
        // the kernel reaches its bytes by atomics only.
        unsafe { core::slice::from_raw_parts(start, PAGE_SIZE / WORD) }
    }

    /// The frame's bytes; for what is no whole word.
    fn bytes(&self) -> &[AtomicU8] {
        let start = phys::phys_to_virt(self.0) as *const AtomicU8;
        // SAFETY: as in `words`.
        unsafe { core::slice::from_raw_parts(start, PAGE_SIZE) }
    }
}

impl SharedPage for FramePage {
    fn frame(&self) -> u64 {
        self.0.0
    }

    fn read(&self, at: usize, target: &mut [u8]) {
        if at.is_multiple_of(WORD) {
            let words = self.words().get(at / WORD..).unwrap_or(&[]);
            let (whole, rest) = target.as_chunks_mut::<WORD>();
            for (target, word) in whole.iter_mut().zip(words) {
                *target = word.load(Ordering::Relaxed).to_ne_bytes();
            }
            let bytes = self.bytes().get(at + whole.len() * WORD..).unwrap_or(&[]);
            return copy_out(rest, bytes);
        }
        copy_out(target, self.bytes().get(at..).unwrap_or(&[]));
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        if at.is_multiple_of(WORD) {
            let words = self.words().get(at / WORD..).unwrap_or(&[]);
            let (whole, rest) = bytes.as_chunks::<WORD>();
            for (source, word) in whole.iter().zip(words) {
                word.store(u64::from_ne_bytes(*source), Ordering::Relaxed);
            }
            return copy_in(self.bytes().get(at + whole.len() * WORD..).unwrap_or(&[]), rest);
        }
        copy_in(self.bytes().get(at..).unwrap_or(&[]), bytes);
    }
}

fn copy_out(target: &mut [u8], source: &[AtomicU8]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target = source.load(Ordering::Relaxed);
    }
}

fn copy_in(target: &[AtomicU8], source: &[u8]) {
    for (target, source) in target.iter().zip(source) {
        target.store(*source, Ordering::Relaxed);
    }
}

impl Drop for FramePage {
    fn drop(&mut self) {
        phys::release(self.0);
    }
}

/// Takes pages of a file away from every address space. One that comes to exist meanwhile begins
/// without any.
fn revoke(file: &Mapped, pages: Range<u64>, what: Revoked) {
    fault::each_space(&mut |space| space.revoke(file, &pages, what));
}

impl AddressSpace {
    fn revoke(&self, file: &Mapped, pages: &Range<u64>, what: Revoked) {
        let Inner { regions, table, .. } = &mut *self.inner.lock();
        for region in regions.iter() {
            let Backing::SharedFile(shared) = &region.backing else { continue };
            if !shared.mapping.is_of(file) {
                continue;
            }
            let place = |page: u64| {
                let bytes = page.saturating_mul(PAGE_SIZE as u64).saturating_sub(shared.offset);
                region.start + (bytes.min(region.length() as u64) as usize)
            };
            let (start, end) = (place(pages.start), place(pages.end));
            match what {
                Revoked::All => self.take_away(table, &region.backing, start, end),
                Revoked::Writing => {
                    table.for_each(start, end, &self.cpus, &mut |_, mapping| {
                        Some(mapping.protection - Protection::WRITE)
                    });
                }
            }
        }
    }
}
