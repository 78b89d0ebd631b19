//! [`LockList`]: the advisory locks on one file (`fcntl(2)`, "Advisory record locking"; `flock(2)`).
//!
//! A lock covers a range of bytes and is shared or exclusive. One owner's locks never conflict with
//! each other: a new one takes the place of what it covers of the old ones.

use alloc::vec::Vec;

/// A lock on the bytes from `start` to `last`, inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock<O> {
    pub owner: O,
    pub exclusive: bool,
    pub start: u64,
    pub last: u64,
    /// The process that asked for it, for `F_GETLK`.
    pub pid: i32,
}

/// The locks on one file, in no order.
#[derive(Debug)]
pub struct LockList<O> {
    locks: Vec<Lock<O>>,
}

impl<O> Default for LockList<O> {
    fn default() -> Self {
        Self { locks: Vec::new() }
    }
}

impl<O: Clone + PartialEq> LockList<O> {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.locks.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.locks.len()
    }

    /// The first byte's lock of another owner that `wanted` conflicts with.
    pub fn conflict(&self, wanted: &Lock<O>) -> Option<&Lock<O>> {
        let conflicts = |lock: &&Lock<O>| {
            lock.owner != wanted.owner
                && (lock.exclusive || wanted.exclusive)
                && lock.start <= wanted.last
                && wanted.start <= lock.last
        };
        self.locks.iter().filter(conflicts).min_by_key(|lock| lock.start)
    }

    /// Takes the owner's locks off the bytes from `start` to `last`.
    pub fn unlock(&mut self, owner: &O, start: u64, last: u64) {
        let mut rest = Vec::new();
        self.locks.retain_mut(|lock| {
            if lock.owner != *owner || lock.start > last || lock.last < start {
                return true;
            }
            if lock.last > last {
                rest.push(Lock { start: last + 1, ..lock.clone() });
            }
            if lock.start < start {
                lock.last = start - 1;
                return true;
            }
            false
        });
        self.locks.append(&mut rest);
    }

    /// Adds a lock that conflicts with no other owner's, in place of what it covers of its owner's.
    pub fn lock(&mut self, mut new: Lock<O>) {
        self.unlock(&new.owner, new.start, new.last);
        // Neighbours of one kind become one.
        self.locks.retain(|lock| {
            let touches = lock.last.checked_add(1) == Some(new.start)
                || new.last.checked_add(1) == Some(lock.start);
            let joins = lock.owner == new.owner && lock.exclusive == new.exclusive && touches;
            if joins {
                new.start = new.start.min(lock.start);
                new.last = new.last.max(lock.last);
            }
            !joins
        });
        self.locks.push(new);
    }

    /// Keeps only the locks of some owners; whether any went.
    pub fn retain_owners(&mut self, mut keep: impl FnMut(&O) -> bool) -> bool {
        let before = self.locks.len();
        self.locks.retain(|lock| keep(&lock.owner));
        self.locks.len() < before
    }
}

#[cfg(test)]
mod tests {
    use std::string::String;

    use super::{Lock, LockList};

    fn lock(owner: u32, exclusive: bool, start: u64, last: u64) -> Lock<u32> {
        Lock { owner, exclusive, start, last, pid: 0 }
    }

    /// What each owner holds at each of the first bytes, byte by byte.
    fn map(list: &LockList<u32>, owner: u32) -> String {
        let at = |byte: u64| {
            let held =
                |lock: &&Lock<u32>| lock.owner == owner && lock.start <= byte && byte <= lock.last;
            let mut found = list.locks.iter().filter(held);
            let letter = found.next().map_or('.', |lock| if lock.exclusive { 'X' } else { 's' });
            assert!(found.next().is_none(), "two locks of one owner at {byte}: {list:?}");
            letter
        };
        (0..10).map(at).collect()
    }

    #[test]
    fn new_locks_take_the_place_of_old_ones() {
        let mut list = LockList::default();
        list.lock(lock(1, false, 0, 9));
        list.lock(lock(1, true, 3, 5));
        assert_eq!(map(&list, 1), "sssXXXssss");
        list.unlock(&1, 4, 7);
        assert_eq!(map(&list, 1), "sssX....ss");
        list.lock(lock(1, true, 0, u64::MAX));
        assert_eq!((map(&list, 1).as_str(), list.len()), ("XXXXXXXXXX", 1));
        list.unlock(&2, 0, u64::MAX);
        assert_eq!(list.len(), 1);
        list.unlock(&1, 1, u64::MAX);
        assert_eq!(map(&list, 1), "X.........");
    }

    #[test]
    fn neighbours_of_one_kind_become_one() {
        let mut list = LockList::default();
        list.lock(lock(1, false, 0, 2));
        list.lock(lock(1, false, 6, 8));
        list.lock(lock(2, false, 3, 5));
        list.lock(lock(1, false, 3, 5));
        assert_eq!((map(&list, 1).as_str(), list.len()), ("sssssssss.", 2));
        list.lock(lock(1, true, 9, 9));
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn only_other_owners_conflict_and_only_where_one_is_exclusive() {
        let mut list = LockList::default();
        list.lock(lock(1, false, 2, 4));
        list.lock(lock(1, true, 7, 7));
        assert_eq!(list.conflict(&lock(1, true, 0, 9)), None);
        assert_eq!(list.conflict(&lock(2, false, 0, 6)), None);
        assert_eq!(list.conflict(&lock(2, true, 0, 1)), None);
        assert_eq!(list.conflict(&lock(2, true, 0, 9)).map(|lock| lock.start), Some(2));
        assert_eq!(list.conflict(&lock(2, false, 4, 9)).map(|lock| lock.start), Some(7));
        assert!(list.retain_owners(|&owner| owner != 1));
        assert!(list.is_empty());
    }

    #[test]
    fn random_changes_agree_with_a_byte_map() {
        let mut list = LockList::default();
        let mut model = [['.'; 10]; 2];
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..2000 {
            let (a, b) = (random(10), random(10));
            let (start, last) = (a.min(b), a.max(b));
            let owner = random(2) as u32;
            let kind = ['.', 's', 'X'][random(3) as usize];
            match kind {
                '.' => list.unlock(&owner, start, last),
                kind => {
                    let new = lock(owner, kind == 'X', start, last);
                    let other = &model[1 - owner as usize][start as usize..=last as usize];
                    let free = other.iter().all(|&held| held == '.' || (held, kind) == ('s', 's'));
                    assert_eq!(list.conflict(&new).is_none(), free, "{new:?} in {list:?}");
                    if !free {
                        continue;
                    }
                    list.lock(new);
                }
            }
            model[owner as usize][start as usize..=last as usize].fill(kind);
            for (owner, model) in (0..).zip(&model) {
                assert_eq!(map(&list, owner), model.iter().collect::<String>());
            }
        }
    }
}
