//! Ways through all elements of a hash map: key after key, bucket after bucket, and for
//! programs (`bpf_for_each_map_elem`).
//!
//! None of them is a snapshot. A walk that follows links meets every key that is in the map
//! all the while, since an element that is unlinked keeps its link until nobody stands on it;
//! a key that comes or goes meanwhile may be met or missed, and one that is deleted and
//! inserted again may be met twice, as on Linux.

use core::sync::atomic::{AtomicU64, Ordering};

use super::{Found, Hash, KEY};
use crate::map::elements::LINK;
use crate::map::error::MapError;
use crate::memory::load_bytes;

/// Where elements are copied to, and how.
pub struct Rows<'a> {
    /// Elements that there is room for.
    pub room: u32,
    /// Keys and values, each in a row.
    pub keys: &'a mut [u8],
    pub values: &'a mut [u8],
    /// Bytes of a key, and of a value as system calls pass it.
    pub key_bytes: usize,
    pub value_bytes: usize,
    /// Take what is copied out of the map.
    pub remove: bool,
    /// Hold each value's lock while it is copied.
    pub lock: bool,
}

impl Hash {
    /// Writes the key after `key` in the order of the chains into `out`: the first one for
    /// `None` or a key that is not in the map.
    pub(in crate::map) fn next(&self, key: Option<&[u8]>, out: &mut [u8]) -> Result<(), MapError> {
        let mut bucket = 0;
        if let Some(key) = key {
            let key = self.checked_key(key)?;
            let hash = self.hash(key);
            if let Some(found) = self.find(hash, key) {
                let link = found.words.get(LINK).map_or(0, |link| link.load(Ordering::Acquire));
                if let Some(words) = (link as u32).checked_sub(1).and_then(|n| self.elements.get(n))
                {
                    return self.copy_key(words, out);
                }
                bucket = (hash & (self.shape.buckets - 1)) + 1;
            }
        }
        for head in self.heads.half_words().iter().skip(bucket as usize) {
            let first = head.load(Ordering::Acquire).checked_sub(1);
            if let Some(words) = first.and_then(|number| self.elements.get(number)) {
                return self.copy_key(words, out);
            }
        }
        Err(MapError::NotFound)
    }

    fn copy_key(&self, words: &[AtomicU64], out: &mut [u8]) -> Result<(), MapError> {
        let stored = words.get(KEY..).ok_or(MapError::NotFound)?;
        load_bytes(stored, out.get_mut(..self.shape.key_bytes).ok_or(MapError::Invalid)?);
        Ok(())
    }

    /// Copies all of one bucket's keys, one behind the other, and what `copy` makes of their values,
    /// and removes them if `remove`. Returns how many there were; copies and removes nothing and
    /// says [`MapError::NoSpace`] if there are more than there is room for.
    pub(in crate::map) fn bucket(
        &self,
        bucket: u32,
        remove: bool,
        into: &mut Rows<'_>,
        copy: impl Fn(&[AtomicU64], &mut [u8]) -> Result<(), MapError>,
    ) -> Result<u32, MapError> {
        let mut state = self.state.lock();
        let chain = || {
            let mut next = self.first_of(bucket);
            core::iter::from_fn(move || {
                let found = self.element(next)?;
                next = found.words.get(LINK)?.load(Ordering::Acquire) as u32;
                Some(found)
            })
        };
        let count = chain().count();
        if count > into.room as usize {
            return Err(MapError::NoSpace);
        }
        if into.key_bytes != self.shape.key_bytes || into.value_bytes == 0 {
            return Err(MapError::Invalid);
        }
        let keys = into.keys.chunks_exact_mut(into.key_bytes);
        let values = into.values.chunks_exact_mut(into.value_bytes);
        if keys.len() < count || values.len() < count {
            return Err(MapError::Invalid);
        }
        for (found, (key, value)) in chain().zip(keys.zip(values)) {
            self.copy_key(found.words, key)?;
            copy(found.words, value)?;
        }
        if remove {
            while let Some(found) = self.element(self.first_of(bucket)) {
                self.unlink(&mut state, bucket, found);
            }
        }
        Ok(count as u32)
    }

    /// How many buckets there are.
    pub(in crate::map) fn buckets(&self) -> u32 {
        self.shape.buckets
    }

    /// Shows every element to a program: `visit` gets the addresses of key and value (on
    /// `cpu`, of a per-CPU map) and says whether to go on; at most `limit` of them, however many
    /// come into the map meanwhile. Returns how many were visited. The CPU passes no quiescent
    /// state meanwhile.
    pub(in crate::map) fn each(
        &self,
        cpu: usize,
        limit: u64,
        mut visit: impl FnMut(usize, usize) -> bool,
    ) -> u64 {
        let cpu = if self.shape.cpus == 1 { 0 } else { cpu };
        let mut visited = 0;
        for bucket in 0..self.shape.buckets {
            let mut next = self.first_of(bucket);
            while let Some(found) = self.element(next) {
                let (Some(key), Some(value)) =
                    (found.words.get(KEY..), self.value(found.words, cpu))
                else {
                    break;
                };
                if visited == limit {
                    return visited;
                }
                visited += 1;
                let key = key.as_ptr().expose_provenance();
                if !visit(key, value.as_ptr().expose_provenance()) {
                    return visited;
                }
                next = found.words.get(LINK).map_or(0, |link| link.load(Ordering::Acquire)) as u32;
            }
        }
        visited
    }

    /// The first element of a bucket, plus one.
    fn first_of(&self, bucket: u32) -> u32 {
        self.head(bucket).map_or(0, |head| head.load(Ordering::Acquire))
    }

    fn element(&self, plus_one: u32) -> Option<Found<'_>> {
        let number = plus_one.checked_sub(1)?;
        Some(Found { number, words: self.elements.get(number)? })
    }
}
