//! Pages of file data that can be read without a lock.
//!
//! A [`Page`] is shared by counting: a reader clones it under its file's lock and copies out of
//! it after letting go; a writer changes it in place only while nobody else holds it, and
//! otherwise puts a changed copy in its place. So readers need no lock while they copy to user
//! memory, which may sleep, and see each page as it was at one moment.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Deref;

use kernel_sync::TaskLock;

/// The bytes of one page or block; immutable while shared. They are apart from the count, so
/// that their memory is a whole page, or a whole object of another power of two.
#[derive(Clone)]
pub struct Page(Arc<Box<[u8]>>);

impl Deref for Page {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Page {
    fn from(bytes: &[u8]) -> Self {
        Self(Arc::new(bytes.into()))
    }
}

/// A page of zeros.
pub fn zeroed(length: usize) -> Page {
    Page(Arc::new(vec![0; length].into_boxed_slice()))
}

/// The bytes of `page` to change, copied first if somebody else is reading them.
pub fn make_mut(page: &mut Page) -> &mut [u8] {
    let bytes: &mut Box<[u8]> = Arc::make_mut(&mut page.0);
    bytes
}

/// Pages that are not in use, so that overwriting whole pages needs neither the allocator nor
/// zeroing.
pub struct PagePool {
    length: usize,
    pages: TaskLock<Vec<Page>>,
}

impl PagePool {
    const KEPT: usize = 8;

    /// A pool of pages of `length` bytes.
    pub fn new(length: usize) -> Self {
        Self { length, pages: TaskLock::new(Vec::with_capacity(Self::KEPT)) }
    }

    /// Bytes in each page.
    pub fn page_length(&self) -> usize {
        self.length
    }

    /// A page that nobody else holds. **Its contents are old data**, perhaps of another user:
    /// only what has been written over may be shown.
    pub fn take(&self) -> Page {
        let kept = self.pages.lock().pop();
        kept.unwrap_or_else(|| zeroed(self.length))
    }

    /// Gives back a page that is not used any more.
    pub fn give(&self, mut page: Page) {
        if page.len() != self.length || Arc::get_mut(&mut page.0).is_none() {
            return;
        }
        let mut pages = self.pages.lock();
        if pages.len() < Self::KEPT {
            pages.push(page);
        } else {
            drop(pages);
            drop(page);
        }
    }
}
