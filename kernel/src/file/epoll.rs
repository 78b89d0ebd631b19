//! Event polls (`epoll(7)`): a set of open files, each with what is waited for.
//!
//! The set does not follow its files: each look asks them all. An edge-triggered file is told of
//! again when something has happened at it since, however ready it was all the time
//! ([`File::activity`]).
//!
//! An event poll may be in the set of another one that is in no set itself; Linux allows five such
//! levels.
//!
//! **Locks.** A set's lock is held while its files are asked; of two, that of the outer event poll
//! is taken first. A file may be closed by another task while it is asked; then it ends when the
//! locks are free again.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Bound::{Excluded, Included, Unbounded};
use core::sync::atomic::{AtomicBool, Ordering};

use kernel_sync::TaskLock;
use kernel_vfs::{File, OpenFile, OpenFlags, Readiness};

use super::poll;
use crate::mem::OutOfMemory;
use crate::mem::memapi::may_allocate;

/// What is told of without being asked for.
const ALWAYS: u32 = (Readiness::ERROR.bits() | Readiness::HANG_UP.bits()) as u32;
/// The events, as against what says how to tell of them.
const EVENTS: u32 = 0xffff;
/// `EPOLLEXCLUSIVE`, `EPOLLWAKEUP`, `EPOLLONESHOT`, `EPOLLET`.
const EXCLUSIVE: u32 = 1 << 28;
const WAKE_UP: u32 = 1 << 29;
const ONE_SHOT: u32 = 1 << 30;
const EDGE: u32 = 1 << 31;
/// What may be combined with `EXCLUSIVE`.
const WITH_EXCLUSIVE: u32 = ALWAYS
    | Readiness::READ.bits() as u32
    | Readiness::WRITE.bits() as u32
    | EXCLUSIVE
    | WAKE_UP
    | EDGE;

/// Memory that an entry of a set takes, about.
const ENTRY_BYTES: usize = 256;

/// Why a set cannot be changed so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpollError {
    Exists,
    NotFound,
    Invalid,
    /// Event polls in event polls.
    Nested,
    OutOfMemory,
}

impl From<OutOfMemory> for EpollError {
    fn from(_: OutOfMemory) -> Self {
        Self::OutOfMemory
    }
}

/// What is waited for at a file, and what the user is told then: `struct epoll_event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    pub events: u32,
    pub data: u64,
}

/// A descriptor, and the address of the description that it named when it was added.
type Key = (u32, usize);

struct Entry {
    file: Weak<OpenFile>,
    interest: Interest,
    /// What `activity` was when this was last told of; `None` before that.
    told: Option<u64>,
    /// It is to be told of once, and has been.
    spent: bool,
}

/// What a look has found.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    key: Key,
    /// The events, and the user's data.
    pub found: Interest,
}

#[derive(Default)]
struct Set {
    entries: BTreeMap<Key, Entry>,
    /// The file that was told of last: those behind it are next.
    last: Key,
    /// How often the set was changed.
    changes: u64,
}

/// An event poll.
#[derive(Default)]
pub struct EventPoll {
    set: TaskLock<Set>,
    /// It has been in another one's set; it has had another one in its own.
    inside: AtomicBool,
    outside: AtomicBool,
}

/// Files that are being asked: kept until all locks are free.
type Kept = Vec<Arc<OpenFile>>;

impl Entry {
    /// What is waited for.
    fn wanted(&self) -> u32 {
        (self.interest.events | ALWAYS) & EVENTS
    }

    /// What has happened at the file; nothing if it is closed.
    fn activity(&self, kept: &mut Kept) -> Option<u64> {
        let open = self.file.upgrade()?;
        let activity = match open.file().downcast_ref::<EventPoll>() {
            Some(inner) => Some(inner.activity_keeping(kept)),
            None => open.file().activity(Readiness::from_bits_truncate(self.wanted() as u16)),
        };
        kept.push(open);
        activity
    }

    /// What is found at the file, and its `activity`; nothing if it is closed.
    fn ask(&self, kept: &mut Kept) -> Option<(u32, u64)> {
        // In this order: what happens meanwhile is seen by the next look.
        let activity = self.activity(kept)?;
        let open = self.file.upgrade()?;
        let ready = match open.file().downcast_ref::<EventPoll>() {
            Some(inner) => inner.readiness_keeping(kept),
            None => open.file().readiness(),
        };
        kept.push(open);
        Some((u32::from(ready.events()) & self.wanted(), activity))
    }

    /// What is to be told of the file now, and its `activity`.
    fn news(&self, kept: &mut Kept) -> Option<(u32, u64)> {
        if self.spent {
            return None;
        }
        let (found, activity) = self.ask(kept)?;
        let old = self.interest.events & EDGE != 0 && self.told == Some(activity);
        (found != 0 && !old).then_some((found, activity))
    }
}

impl EventPoll {
    /// A new one, with an empty set.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn create() -> Result<Arc<OpenFile>, EpollError> {
        may_allocate(size_of::<Self>())?;
        Ok(OpenFile::new(Arc::new(Self::default()), None, OpenFlags::READ_WRITE))
    }

    /// Notes that `inner` comes into the set, if that is allowed.
    fn nest(&self, inner: &Self) -> Result<(), EpollError> {
        static NESTING: TaskLock<()> = TaskLock::new(());
        let _guard = NESTING.lock();
        let (inside, outside) = (&self.inside, &inner.outside);
        if core::ptr::eq(self, inner) {
            return Err(EpollError::Invalid);
        }
        if inside.load(Ordering::Relaxed) || outside.load(Ordering::Relaxed) {
            return Err(EpollError::Nested);
        }
        self.outside.store(true, Ordering::Relaxed);
        inner.inside.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Adds the file behind a descriptor (`EPOLL_CTL_ADD`), which can be waited for.
    ///
    /// # Errors
    /// If it is there already, or the flags do not go together.
    pub fn add(&self, fd: u32, file: &Arc<OpenFile>, wanted: Interest) -> Result<(), EpollError> {
        let inner = file.file().downcast_ref::<Self>();
        let exclusive = wanted.events & EXCLUSIVE != 0;
        if exclusive && (wanted.events & !WITH_EXCLUSIVE != 0 || inner.is_some()) {
            return Err(EpollError::Invalid);
        }
        may_allocate(ENTRY_BYTES)?;
        if let Some(inner) = inner {
            self.nest(inner)?;
        }
        let key = key(fd, file);
        let file = Arc::downgrade(file);
        let entry = Entry { file, interest: wanted, told: None, spent: false };
        {
            let mut set = self.set.lock();
            set.entries.retain(|_, entry| entry.file.strong_count() > 0);
            if set.entries.contains_key(&key) {
                return Err(EpollError::Exists);
            }
            set.entries.insert(key, entry);
            set.changes += 1;
        }
        poll::changed();
        Ok(())
    }

    /// Changes what is waited for at a file (`EPOLL_CTL_MOD`).
    ///
    /// # Errors
    /// If it is not there, or the flags do not go together.
    pub fn modify(&self, fd: u32, file: &Arc<OpenFile>, to: Interest) -> Result<(), EpollError> {
        {
            let mut set = self.set.lock();
            let entry = set.entries.get_mut(&key(fd, file)).ok_or(EpollError::NotFound)?;
            if (to.events | entry.interest.events) & EXCLUSIVE != 0 {
                return Err(EpollError::Invalid);
            }
            entry.interest = to;
            entry.told = None;
            entry.spent = false;
            set.changes += 1;
        }
        poll::changed();
        Ok(())
    }

    /// Takes a file out (`EPOLL_CTL_DEL`).
    ///
    /// # Errors
    /// If it is not there.
    pub fn remove(&self, fd: u32, file: &Arc<OpenFile>) -> Result<(), EpollError> {
        let mut set = self.set.lock();
        set.changes += 1;
        set.entries.remove(&key(fd, file)).map(drop).ok_or(EpollError::NotFound)
    }

    /// At most `most` events that are to be told of now; they count as told.
    pub fn take(&self, most: usize) -> Vec<Event> {
        let mut kept = Kept::new();
        let mut events = Vec::new();
        let mut set = self.set.lock();
        let Set { entries, last, .. } = &mut *set;
        let middle = *last;
        for part in [(Excluded(middle), Unbounded), (Unbounded, Included(middle))] {
            for (&key, entry) in entries.range_mut(part) {
                if events.len() == most {
                    break;
                }
                let Some((found, activity)) = entry.news(&mut kept) else { continue };
                entry.told = Some(activity);
                entry.spent = entry.interest.events & ONE_SHOT != 0;
                *last = key;
                let data = entry.interest.data;
                events.push(Event { key, found: Interest { events: found, data } });
            }
        }
        drop(set);
        events
    }

    /// Events that could not be told of are to be told of again.
    pub fn give_back(&self, events: &[Event]) {
        {
            let mut set = self.set.lock();
            for event in events {
                if let Some(entry) = set.entries.get_mut(&event.key) {
                    entry.told = None;
                    entry.spent = false;
                }
            }
        }
        poll::changed();
    }

    /// What has happened at its files, and to its set.
    fn activity_keeping(&self, kept: &mut Kept) -> u64 {
        let set = self.set.lock();
        let of_files = set.entries.values().filter_map(|entry| entry.activity(kept));
        let sum = of_files.fold(0, u64::wrapping_add);
        sum.wrapping_add(set.changes << 32)
    }

    fn readiness_keeping(&self, kept: &mut Kept) -> Readiness {
        let set = self.set.lock();
        let ready = set.entries.values().any(|entry| entry.news(kept).is_some());
        if ready { Readiness::READ } else { Readiness::empty() }
    }
}

fn key(fd: u32, file: &Arc<OpenFile>) -> Key {
    (fd, Arc::as_ptr(file) as usize)
}

impl File for EventPoll {
    fn readiness(&self) -> Readiness {
        let mut kept = Kept::new();
        self.readiness_keeping(&mut kept)
    }

    fn activity(&self, _what: Readiness) -> Option<u64> {
        let mut kept = Kept::new();
        Some(self.activity_keeping(&mut kept))
    }

    fn describe(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let set = self.set.lock();
        for ((fd, _), entry) in &set.entries {
            let Interest { events, data } = entry.interest;
            writeln!(out, "tfd: {fd:8} events: {:8x} data: {data:16x}", events | ALWAYS)?;
        }
        Ok(())
    }

    fn label(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        out.write_str("anon_inode:[eventpoll]")
    }
}
