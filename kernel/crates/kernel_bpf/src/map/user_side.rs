//! What system calls do with elements of maps: they copy values out and in, and see every CPU's
//! value of a per-CPU map. A frozen map refuses changes. Operations that a type does not have are
//! refused with Linux's error.

use alloc::vec::Vec;

use super::error::{F_LOCK, MapError, UpdateMode};
use super::hash::Rows;
use super::object::{Map, Storage, index};

impl Map {
    /// Mode and lock of an update; a lock only where values have one.
    #[inline]
    pub(super) fn mode(&self, flags: u64) -> Result<(UpdateMode, bool), MapError> {
        let lock = flags & F_LOCK != 0;
        if lock && self.fields.spin_lock.is_none() {
            return Err(MapError::Invalid);
        }
        Ok((UpdateMode::from_flags(flags & !F_LOCK)?, lock))
    }

    /// Copies the value of `key` to `out`, which has `user_value_size` bytes
    /// (`BPF_MAP_LOOKUP_ELEM`). Of a queue or stack the next value, with an empty key; of a
    /// bloom filter whether the value in `out` was put in; of maps of programs and maps the
    /// number of what is there.
    ///
    /// # Errors
    /// No such key; a type without values.
    #[inline]
    pub fn lookup(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.lookup_with(key, out, 0)
    }

    /// As [`Map::lookup`], with flags: [`F_LOCK`] copies while the value's lock is held.
    ///
    /// # Errors
    /// As [`Map::lookup`]; [`MapError::Invalid`] for other flags, or without a lock.
    pub fn lookup_with(&self, key: &[u8], out: &mut [u8], flags: u64) -> Result<(), MapError> {
        let lock = flags == F_LOCK;
        if out.len() < self.value_bytes
            || flags & !F_LOCK != 0
            || lock && self.fields.spin_lock.is_none()
        {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Array(array) => array.read(index(key)?, out, lock)?,
            Storage::Hash(hash) => hash.read(key, out, lock)?,
            Storage::Trie(trie) => trie.read(key, out)?,
            Storage::Queue(queue) => queue.next(out, false)?,
            Storage::Bloom(bloom) => bloom.peek(out)?,
            Storage::Stacks(stacks) => stacks.read(index(key)?, out, false)?,
            Storage::Programs(programs) => {
                let id = programs.slots().get(index(key)?).map(|program| program.id());
                copy_id(id, out)?;
            }
            Storage::Maps(maps) => {
                copy_id(maps.get(index(key)?).map(|inner| inner.map.id()), out)?;
            }
            Storage::MapHash(maps) => copy_id(maps.get(key).map(|map| map.id()), out)?,
            Storage::Ring(_) | Storage::Events(_) | Storage::Tasks(_) => {
                return Err(MapError::NotSupported);
            }
        }
        // On a machine with one CPU its value is copied alone: the rounding up is left.
        if self.value_bytes > self.def.value_size as usize
            && self.value_bytes - (self.def.value_size as usize) < 8
            && let Some(padding) = out.get_mut(self.def.value_size as usize..self.value_bytes)
        {
            padding.fill(0);
        }
        Ok(())
    }

    /// Sets the value of `key` (`BPF_MAP_UPDATE_ELEM`); puts a value into a queue, stack or
    /// bloom filter, with an empty key. What maps of programs, maps and events hold is set by
    /// [`Map::set_program`], [`Map::set_map`] and [`Map::set_event`].
    ///
    /// # Errors
    /// Flags that forbid it, a full map, a frozen map, a type without values.
    #[inline]
    pub fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), MapError> {
        self.writable()?;
        self.check_lock(flags & F_LOCK != 0)?;
        if value.len() < self.value_bytes {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Array(array) => {
                let (mode, lock) = self.mode(flags)?;
                array.write(index(key)?, value, mode, lock)
            }
            Storage::Hash(hash) => {
                let (mode, lock) = self.mode(flags)?;
                hash.write(key, value, mode, lock, None)
            }
            Storage::Trie(trie) => trie.write(key, value, UpdateMode::from_flags(flags)?),
            Storage::Queue(queue) => queue.push(value, flags),
            Storage::Bloom(bloom) => bloom.push(value, flags),
            Storage::Stacks(_) => Err(MapError::Invalid),
            Storage::Ring(_)
            | Storage::Events(_)
            | Storage::Programs(_)
            | Storage::Maps(_)
            | Storage::MapHash(_)
            | Storage::Tasks(_) => Err(MapError::NotSupported),
        }
    }

    /// Removes `key` (`BPF_MAP_DELETE_ELEM`).
    ///
    /// # Errors
    /// No such key; a frozen map; arrays, whose keys always exist.
    #[inline]
    pub fn delete(&self, key: &[u8]) -> Result<(), MapError> {
        self.writable()?;
        self.remove(key)
    }

    /// Copies the value of `key` to `out` and removes the key; takes the next value out of a
    /// queue or stack (`BPF_MAP_LOOKUP_AND_DELETE_ELEM`).
    ///
    /// # Errors
    /// As for lookup and delete.
    pub fn lookup_and_delete(&self, key: &[u8], out: &mut [u8]) -> Result<(), MapError> {
        self.lookup_and_delete_with(key, out, 0)
    }

    /// The same with flags: [`F_LOCK`] for values with a lock.
    ///
    /// # Errors
    /// As for lookup and delete.
    pub fn lookup_and_delete_with(
        &self,
        key: &[u8],
        out: &mut [u8],
        flags: u64,
    ) -> Result<(), MapError> {
        self.writable()?;
        let lock = flags & F_LOCK != 0;
        if out.len() < self.value_bytes
            || flags & !F_LOCK != 0
            || lock && self.fields.spin_lock.is_none()
        {
            return Err(MapError::Invalid);
        }
        match &self.storage {
            Storage::Hash(hash) => hash.take_out(key, out, lock),
            Storage::Queue(queue) => queue.next(out, true),
            Storage::Stacks(stacks) => stacks.read(index(key)?, out, true),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Copies the key that follows `key` to `out`; the first one for `None` and for a key
    /// that is not in the map (`BPF_MAP_GET_NEXT_KEY`).
    ///
    /// # Errors
    /// [`MapError::NotFound`] after the last key; a type without keys.
    pub fn next_key(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        let number = || key.map(index).transpose();
        let next = match &self.storage {
            Storage::Array(_) | Storage::Programs(_) | Storage::Events(_) | Storage::Maps(_) => {
                self.next_index(number()?)?
            }
            Storage::Stacks(stacks) => stacks.next(number()?)?,
            Storage::Hash(hash) => return hash.next(key, out),
            Storage::MapHash(maps) => return maps.hash().next(key, out),
            Storage::Trie(trie) => return trie.next(key, out),
            Storage::Queue(_) => return Err(MapError::Invalid),
            Storage::Bloom(_) => return Err(MapError::Impossible),
            Storage::Ring(_) | Storage::Tasks(_) => return Err(MapError::NotSupported),
        };
        *out.first_chunk_mut().ok_or(MapError::Invalid)? = next.to_ne_bytes();
        Ok(())
    }

    /// The index after `index`; the first for none or one that is out of range.
    fn next_index(&self, index: Option<u32>) -> Result<u32, MapError> {
        match index {
            Some(index) if index < self.def.max_entries => {
                let next = index + 1;
                if next < self.def.max_entries { Ok(next) } else { Err(MapError::NotFound) }
            }
            _ => Ok(0),
        }
    }

    /// Removes a key, whoever asks.
    #[inline]
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), MapError> {
        match &self.storage {
            Storage::Array(_) | Storage::Queue(_) => Err(MapError::Invalid),
            Storage::Hash(hash) => hash.remove(key),
            Storage::Trie(trie) => trie.remove(key),
            Storage::Stacks(stacks) => stacks.remove(index(key)?),
            Storage::Programs(programs) => emptied(programs.slots().set(index(key)?, None)),
            Storage::Events(events) => emptied(events.set(index(key)?, None)),
            Storage::Maps(maps) => emptied(maps.set(index(key)?, None)),
            Storage::MapHash(maps) => maps.remove(key),
            Storage::Bloom(_) => Err(MapError::Impossible),
            Storage::Ring(_) | Storage::Tasks(_) => Err(MapError::NotSupported),
        }
    }

    /// How many buckets a hash map has; `None` for other types.
    #[must_use]
    pub fn buckets(&self) -> Option<u32> {
        match &self.storage {
            Storage::Hash(hash) => Some(hash.buckets()),
            Storage::MapHash(maps) => Some(maps.hash().buckets()),
            _ => None,
        }
    }

    /// Copies a bucket's keys and values out, and removes them if `into` says so
    /// (`BPF_MAP_LOOKUP_BATCH`). Returns how many there were. The values of a map of maps are its
    /// maps' numbers.
    ///
    /// # Errors
    /// [`MapError::NoSpace`], and nothing is done, if there are more than there is room for; a
    /// frozen map, if anything is to be removed; a lock where values have none; a map that is no
    /// hash map.
    pub fn bucket(&self, bucket: u32, into: &mut Rows<'_>) -> Result<u32, MapError> {
        if into.remove {
            self.writable()?;
        }
        let lock = into.lock;
        self.check_lock(lock)?;
        match &self.storage {
            Storage::Hash(hash) => hash.bucket(bucket, into.remove, into, |words, value| {
                hash.copy_locked(words, value, lock)
            }),
            Storage::MapHash(maps) => maps.bucket(bucket, into),
            _ => Err(MapError::NotSupported),
        }
    }

    /// Whether values have a lock, if one is to be held.
    ///
    /// # Errors
    /// [`MapError::Invalid`] if they have none.
    pub fn check_lock(&self, lock: bool) -> Result<(), MapError> {
        if lock && self.fields.spin_lock.is_none() { Err(MapError::Invalid) } else { Ok(()) }
    }

    /// Every key, for listings and tests. Not a snapshot: keys may come and go meanwhile.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut next = alloc::vec![0; self.def.key_size as usize];
        while keys.len() <= self.def.max_entries as usize
            && self.next_key(keys.last().map(Vec::as_slice), &mut next).is_ok()
        {
            keys.push(next.clone());
        }
        keys
    }
}

/// Whether a slot that was emptied had something in it.
fn emptied(existed: Result<bool, MapError>) -> Result<(), MapError> {
    if existed? { Ok(()) } else { Err(MapError::NotFound) }
}

pub(super) fn copy_id(id: Option<u32>, out: &mut [u8]) -> Result<(), MapError> {
    let id = id.ok_or(MapError::NotFound)?;
    *out.first_chunk_mut().ok_or(MapError::Invalid)? = id.to_ne_bytes();
    Ok(())
}
