//! Advisory locks on files: those of a process on ranges of bytes, those of a description on
//! ranges (`fcntl(2)`), and those of a description on the whole (`flock(2)`).
//!
//! An owner that has ended (the last descriptor of a description, a process) holds nothing any more:
//! that is found out when somebody wants a lock, when a descriptor is closed, and from time to
//! time. A process that waits for a lock that another one holds looks again at least every
//! [`LOOK_AGAIN_NS`]. Processes that wait for each other are not found out (`EDEADLK`).

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicUsize, Ordering};

use kernel_sync::TaskLock;
use kernel_vfs::advisory::{Lock, LockList};
use kernel_vfs::{FdTable, FsError, Inode, OpenFile};

use crate::mcore::{self, WaitQueue};
use crate::mem::memapi::may_allocate;

const LOOK_AGAIN_NS: u64 = 20_000_000;
/// What a lock takes, with its share of the table.
const LOCK_BYTES: usize = 256;

/// Who holds a lock.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A process, by its descriptors: threads share its locks, children do not.
    Process(Weak<FdTable>),
    /// An open file description.
    Description(Weak<OpenFile>),
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Process(one), Self::Process(two)) => one.ptr_eq(two),
            (Self::Description(one), Self::Description(two)) => one.ptr_eq(two),
            _ => false,
        }
    }
}

impl Owner {
    fn lives(&self) -> bool {
        match self {
            Self::Process(files) => files.strong_count() > 0,
            Self::Description(file) => file.strong_count() > 0,
        }
    }
}

/// The two kinds of locks, which have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Of `fcntl`.
    Range,
    /// Of `flock`.
    Whole,
}

struct Entry {
    /// Kept, so that its address stays its own.
    inode: Arc<dyn Inode>,
    ranges: LockList<Owner>,
    wholes: LockList<Owner>,
}

impl Entry {
    fn list(&mut self, kind: Kind) -> &mut LockList<Owner> {
        match kind {
            Kind::Range => &mut self.ranges,
            Kind::Whole => &mut self.wholes,
        }
    }

    fn is_empty(&self) -> bool {
        self.ranges.is_empty() && self.wholes.is_empty()
    }
}

/// The locked files, by the address of their inode.
static TABLE: TaskLock<BTreeMap<usize, Entry>> = TaskLock::new(BTreeMap::new());
/// Files with locks, so that closing costs one load where there are none.
static LOCKED: AtomicUsize = AtomicUsize::new(0);
/// Where processes wait for locks.
static WAITERS: WaitQueue = WaitQueue::new();

fn key(inode: &Arc<dyn Inode>) -> usize {
    Arc::as_ptr(inode).cast::<()>() as usize
}

/// Does something with the locks of a file, those of ended owners gone.
fn with_list<R>(
    inode: &Arc<dyn Inode>,
    kind: Kind,
    with: impl FnOnce(&mut LockList<Owner>) -> R,
) -> R {
    let mut table = TABLE.lock();
    let entry = table.entry(key(inode)).or_insert_with(|| Entry {
        inode: Arc::clone(inode),
        ranges: LockList::default(),
        wholes: LockList::default(),
    });
    let list = entry.list(kind);
    list.retain_owners(Owner::lives);
    let result = with(list);
    let unused = if entry.is_empty() { table.remove(&key(inode)) } else { None };
    LOCKED.store(table.len(), Ordering::Release);
    drop(table);
    // The inode may end here: not under the lock.
    drop(unused);
    result
}

/// The lock of another owner that `wanted` conflicts with.
pub fn conflict(inode: &Arc<dyn Inode>, kind: Kind, wanted: &Lock<Owner>) -> Option<Lock<Owner>> {
    with_list(inode, kind, |list| list.conflict(wanted).cloned())
}

/// Locks, and waits for it if `waits` and another owner is in the way.
///
/// # Errors
/// `WouldBlock` if another owner is in the way, `Interrupted` if a signal ended the wait,
/// `OutOfMemory`.
pub fn lock(
    inode: &Arc<dyn Inode>,
    kind: Kind,
    wanted: &Lock<Owner>,
    waits: bool,
) -> Result<(), FsError> {
    may_allocate(LOCK_BYTES).map_err(|_| FsError::OutOfMemory)?;
    let take = || {
        with_list(inode, kind, |list| {
            let free = list.conflict(wanted).is_none();
            if free {
                list.lock(wanted.clone());
            }
            free
        })
        .then_some(())
    };
    if take().is_some() {
        // A lock that became a shared one may let others in.
        WAITERS.wake_all();
        return Ok(());
    }
    if !waits {
        return Err(FsError::WouldBlock);
    }
    loop {
        let deadline = mcore::now_ns().saturating_add(LOOK_AGAIN_NS);
        match WAITERS.wait_deadline(take, deadline) {
            Ok(Some(())) => return Ok(()),
            Ok(None) => {}
            Err(_) => return Err(FsError::Interrupted),
        }
    }
}

/// Takes an owner's locks off a range.
pub fn unlock(inode: &Arc<dyn Inode>, kind: Kind, owner: &Owner, start: u64, last: u64) {
    with_list(inode, kind, |list| list.unlock(owner, start, last));
    WAITERS.wake_all();
}

/// A process has closed a descriptor of `file`: its locks on ranges of it go, whatever descriptor
/// they were made by. Called when the description's reference is gone, or is `file` itself.
#[inline]
pub fn closed(files: &Arc<FdTable>, file: Arc<OpenFile>) {
    if LOCKED.load(Ordering::Acquire) > 0 {
        let inode = file.dentry().map(|dentry| Arc::clone(dentry.inode()));
        drop(file);
        closed_with_locks(files, inode);
    }
}

#[cold]
fn closed_with_locks(files: &Arc<FdTable>, inode: Option<Arc<dyn Inode>>) {
    if let Some(inode) = inode {
        let owner = Owner::Process(Arc::downgrade(files));
        with_list(&inode, Kind::Range, |list| list.unlock(&owner, 0, u64::MAX));
    }
    forget_ended();
    WAITERS.wake_all();
}

/// Forgets the locks of owners that have ended, and lets go of files without locks.
pub fn forget_ended() {
    if LOCKED.load(Ordering::Acquire) == 0 {
        return;
    }
    let mut table = TABLE.lock();
    for entry in table.values_mut() {
        entry.ranges.retain_owners(Owner::lives);
        entry.wholes.retain_owners(Owner::lives);
    }
    let unused = table.extract_if(.., |_, entry| entry.is_empty());
    let unused: alloc::vec::Vec<_> = unused.map(|(_, entry)| entry.inode).collect();
    LOCKED.store(table.len(), Ordering::Release);
    drop(table);
    drop(unused);
}
