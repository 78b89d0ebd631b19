//! [`FdTable`]: a process's descriptors. Threads share one; `fork` copies it.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_sync::TaskLock;

use crate::error::FsError;
use crate::open_file::OpenFile;

/// Descriptors a process may have (`RLIMIT_NOFILE`).
pub const DESCRIPTOR_LIMIT: u32 = 1024;

struct Slot {
    file: Arc<OpenFile>,
    close_on_exec: bool,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    /// No descriptor below this one is free.
    lowest: usize,
}

/// A table of descriptors.
#[derive(Default)]
pub struct FdTable {
    inner: TaskLock<Slots>,
    /// How many are open; may lag for a moment while another thread opens or closes.
    open: AtomicUsize,
}

impl FdTable {
    pub fn new() -> Self {
        Self::default()
    }

    /// The description behind `fd`.
    #[inline]
    pub fn get(&self, fd: u32) -> Result<Arc<OpenFile>, FsError> {
        match self.inner.lock().slots.get(fd as usize) {
            Some(Some(slot)) => Ok(Arc::clone(&slot.file)),
            _ => Err(FsError::BadDescriptor),
        }
    }

    /// Fails if the table is full: to be asked before something is created that a descriptor
    /// shall name.
    #[inline]
    pub fn check_room(&self) -> Result<(), FsError> {
        if self.open.load(Ordering::Relaxed) < DESCRIPTOR_LIMIT as usize {
            Ok(())
        } else {
            Err(FsError::TooManyFiles)
        }
    }

    /// Gives `file` the lowest free descriptor.
    #[inline]
    pub fn install(&self, file: Arc<OpenFile>, close_on_exec: bool) -> Result<u32, FsError> {
        self.install_from(0, file, close_on_exec)
    }

    /// Gives `file` the lowest free descriptor that is not below `minimum` (`F_DUPFD`).
    pub fn install_from(
        &self,
        minimum: u32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<u32, FsError> {
        if minimum >= DESCRIPTOR_LIMIT {
            return Err(FsError::InvalidArgument);
        }
        let mut inner = self.inner.lock();
        let minimum = minimum as usize;
        let mut fd = minimum.max(inner.lowest);
        while inner.slots.get(fd).is_some_and(Option::is_some) {
            fd += 1;
        }
        if fd >= DESCRIPTOR_LIMIT as usize {
            // Dropped by the caller's frame, after the lock.
            drop(inner);
            return Err(FsError::TooManyFiles);
        }
        while inner.slots.len() <= fd {
            inner.slots.push(None);
        }
        if let Some(slot) = inner.slots.get_mut(fd) {
            *slot = Some(Slot { file, close_on_exec });
        }
        if minimum <= inner.lowest {
            inner.lowest = fd + 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(fd as u32)
    }

    /// Makes `fd` name `file`, and returns what it named before (`dup2`, `dup3`). A descriptor
    /// beyond the limit is `BadDescriptor`.
    pub fn replace(
        &self,
        fd: u32,
        file: Arc<OpenFile>,
        close_on_exec: bool,
    ) -> Result<Option<Arc<OpenFile>>, FsError> {
        if fd >= DESCRIPTOR_LIMIT {
            return Err(FsError::BadDescriptor);
        }
        let mut inner = self.inner.lock();
        while inner.slots.len() <= fd as usize {
            inner.slots.push(None);
        }
        let Some(slot) = inner.slots.get_mut(fd as usize) else {
            return Err(FsError::BadDescriptor);
        };
        let before = slot.replace(Slot { file, close_on_exec }).map(|slot| slot.file);
        if before.is_none() {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        Ok(before)
    }

    /// Takes `fd` out of the table. The caller drops the description, which may end it.
    #[inline]
    pub fn remove(&self, fd: u32) -> Result<Arc<OpenFile>, FsError> {
        let mut inner = self.inner.lock();
        let slot = inner.slots.get_mut(fd as usize).and_then(Option::take);
        let slot = slot.ok_or(FsError::BadDescriptor)?;
        inner.lowest = inner.lowest.min(fd as usize);
        self.open.fetch_sub(1, Ordering::Relaxed);
        Ok(slot.file)
    }

    /// `FD_CLOEXEC` of `fd`.
    pub fn close_on_exec(&self, fd: u32) -> Result<bool, FsError> {
        match self.inner.lock().slots.get(fd as usize) {
            Some(Some(slot)) => Ok(slot.close_on_exec),
            _ => Err(FsError::BadDescriptor),
        }
    }

    pub fn set_close_on_exec(&self, fd: u32, value: bool) -> Result<(), FsError> {
        match self.inner.lock().slots.get_mut(fd as usize) {
            Some(Some(slot)) => {
                slot.close_on_exec = value;
                Ok(())
            }
            _ => Err(FsError::BadDescriptor),
        }
    }

    /// A copy for `fork`: the same descriptions under the same numbers.
    pub fn fork(&self) -> Self {
        let inner = self.inner.lock();
        let slots = inner
            .slots
            .iter()
            .map(|slot| {
                slot.as_ref().map(|slot| Slot {
                    file: Arc::clone(&slot.file),
                    close_on_exec: slot.close_on_exec,
                })
            })
            .collect();
        let open = AtomicUsize::new(self.open.load(Ordering::Relaxed));
        Self { inner: TaskLock::new(Slots { slots, lowest: inner.lowest }), open }
    }

    /// Closes what is marked close-on-exec, for `execve`.
    pub fn close_for_exec(&self) {
        self.close_where(|slot| slot.close_on_exec);
    }

    /// Closes everything, for the end of a process.
    pub fn close_all(&self) {
        self.close_where(|_| true);
    }

    fn close_where(&self, select: impl Fn(&Slot) -> bool) {
        let mut closed = Vec::new();
        let mut inner = self.inner.lock();
        for fd in (0..inner.slots.len()).rev() {
            let Some(slot) = inner.slots.get_mut(fd) else { break };
            if slot.as_ref().is_some_and(&select) {
                closed.extend(slot.take());
                inner.lowest = inner.lowest.min(fd);
                self.open.fetch_sub(1, Ordering::Relaxed);
            }
        }
        // The last use of a description may run a file's own clean-up: not under the lock.
        drop(inner);
    }

    /// The open descriptors, ascending.
    pub fn list(&self) -> Vec<u32> {
        let inner = self.inner.lock();
        (0u32..).zip(&inner.slots).filter(|(_, slot)| slot.is_some()).map(|(fd, _)| fd).collect()
    }
}
