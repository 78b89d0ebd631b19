//! Named pipes: inodes that are no more than a place to meet.
//!
//! A file system keeps a [`Meeting`] in the inode. What is behind it, as long as somebody has it open,
//! is the kernel's, which installs who opens it.

use alloc::sync::{Arc, Weak};
use core::any::Any;

use kernel_sync::{OnceCell, TaskLock};

use crate::error::FsError;
use crate::file::File;
use crate::types::OpenFlags;

/// Opens what meets at an inode; waits for the other side as `fifo(7)` says.
pub type Opener = fn(&Meeting, OpenFlags) -> Result<Arc<dyn File>, FsError>;

static OPENER: OnceCell<Opener> = OnceCell::new();

/// Installs who opens named pipes. Later calls change nothing; without one they cannot be opened.
pub fn install(opener: Opener) {
    // A second one is refused: the first stays.
    let _ = OPENER.set(opener);
}

/// What those who have the inode open share.
#[derive(Default)]
pub struct Meeting(TaskLock<Option<Weak<dyn Any + Send + Sync>>>);

impl Meeting {
    /// Opens it.
    pub fn open(&self, flags: OpenFlags) -> Result<Arc<dyn File>, FsError> {
        OPENER.get().map_or(Err(FsError::NoSuchDevice), |opener| opener(self, flags))
    }

    /// What is shared now, or else what `make` gives.
    pub fn join<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<Arc<T>, FsError>,
    ) -> Result<Arc<T>, FsError> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let new = make()?;
        let mut place = self.0.lock();
        // Another may have been faster.
        let known = place.as_ref().and_then(Weak::upgrade).and_then(|known| known.downcast().ok());
        if known.is_none() {
            let weak: Weak<T> = Arc::downgrade(&new);
            *place = Some(weak);
        }
        drop(place);
        Ok(known.unwrap_or(new))
    }

    fn known<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let known = self.0.lock().as_ref().and_then(Weak::upgrade);
        known?.downcast().ok()
    }
}
