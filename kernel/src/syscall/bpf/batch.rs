//! Commands on many elements of a map at once.
//!
//! Hash maps go bucket by bucket, and a batch is the number of the next bucket; other maps go
//! key by key, and a batch is the last key. The caller gets how many elements there were in
//! `count`, with an error too, and `ENOENT` says that the map's end was reached. A batch is no
//! snapshot: what is inserted meanwhile may be missed.

use kernel_abi::Errno;
use kernel_abi::bpf::map_batch as attr;
use kernel_bpf::map::{F_LOCK, Map, MapType, Rows};

use super::map::{open, remove, set, with_bytes};
use super::{Request, SyscallResult, buffer};
use crate::bpf::map::LoadedMap;
use crate::mcore;
use crate::mem::user::{copy_from_user, copy_to_user};
use crate::syscall::errno::OrErrno;

/// After so many elements or buckets other tasks get their turn.
const BETWEEN_LOOKS: u32 = 1024;

/// Gives way now and then in the course of a batch.
///
/// # Errors
/// `EINTR` if the task has to end.
#[inline]
fn look(round: u32) -> Result<(), Errno> {
    if round % BETWEEN_LOOKS != BETWEEN_LOOKS - 1 {
        return Ok(());
    }
    if mcore::current().must_end() {
        return Err(Errno::EINTR);
    }
    mcore::yield_now();
    Ok(())
}

/// Most elements of a bucket that are copied at once, at first.
const BUCKET: u32 = 8;

/// What a batch command works on.
struct Batch<'a> {
    request: &'a Request,
    map: &'a LoadedMap,
    /// Elements that the caller has room for, or gives.
    count: u32,
    /// Each value's lock is to be held while it is copied (`BPF_F_LOCK`).
    lock: bool,
}

impl Batch<'_> {
    fn key_size(&self) -> usize {
        self.map.map.def().key_size as usize
    }

    fn value_size(&self) -> usize {
        self.map.map.user_value_size()
    }

    /// Where the caller keeps element `index` of an array of `size`-byte elements.
    fn element(&self, field: usize, index: u32, size: usize) -> Result<usize, Errno> {
        (index as usize)
            .checked_mul(size)
            .and_then(|offset| offset.checked_add(self.request.pointer(field)))
            .ok_or(Errno::EFAULT)
    }

    fn put_batch(&self, batch: &[u8]) -> Result<(), Errno> {
        Ok(copy_to_user(self.request.pointer(attr::OUT_BATCH), batch)?)
    }

    fn put_element(&self, index: u32, key: &[u8], value: &[u8]) -> Result<(), Errno> {
        copy_to_user(self.element(attr::KEYS, index, key.len())?, key)?;
        copy_to_user(self.element(attr::VALUES, index, value.len())?, value)?;
        Ok(())
    }

    /// Tells the caller how many elements there were.
    fn report(&self, done: u32, result: Result<(), Errno>) -> SyscallResult {
        self.request.write_u32(attr::COUNT, done)?;
        result.map(|()| 0)
    }
}

/// Checks what all batch commands share, and runs one if the map's type has it.
fn run(
    request: &Request,
    (read, write): (bool, bool),
    has: impl FnOnce(&Map) -> bool,
    then: impl FnOnce(&Batch<'_>) -> SyscallResult,
) -> SyscallResult {
    request.ends_at(attr::END)?;
    let handle = request.object(attr::MAP_FD)?;
    let map = open(&handle, read, write)?;
    if !has(&map.map) {
        return Err(Errno::ENOTSUPP);
    }
    let flags = request.u64(attr::ELEM_FLAGS);
    let lock = flags & F_LOCK != 0;
    if flags & !F_LOCK != 0 {
        return Err(Errno::EINVAL);
    }
    map.map.check_lock(lock).or_errno()?;
    then(&Batch { request, map, count: request.u32(attr::COUNT), lock })
}

/// Whether a batch goes through the map key by key.
fn goes_by_key(map: &Map) -> bool {
    matches!(
        map.def().map_type,
        MapType::Array | MapType::PercpuArray | MapType::LpmTrie | MapType::ArrayOfMaps
    )
}

fn goes_by_bucket(map: &Map) -> bool {
    map.buckets().is_some()
}

/// `BPF_MAP_LOOKUP_BATCH`.
pub(super) fn lookup(request: &Request) -> SyscallResult {
    let has = |map: &Map| goes_by_key(map) || goes_by_bucket(map);
    run(request, (true, false), has, |batch| {
        if goes_by_key(&batch.map.map) { by_key(batch) } else { by_bucket(batch, false) }
    })
}

/// `BPF_MAP_LOOKUP_AND_DELETE_BATCH`.
pub(super) fn lookup_and_delete(request: &Request) -> SyscallResult {
    run(request, (true, true), goes_by_bucket, |batch| {
        let result = by_bucket(batch, true);
        batch.map.let_go();
        result
    })
}

/// Goes through a hash map's buckets, each whole.
fn by_bucket(batch: &Batch<'_>, remove: bool) -> SyscallResult {
    let map: &Map = &batch.map.map;
    let buckets = map.buckets().ok_or(Errno::ENOTSUPP)?;
    // No flag is defined; the other batches do not look.
    if batch.request.u64(attr::FLAGS) != 0 {
        return Err(Errno::EINVAL);
    }
    if batch.count == 0 {
        return Ok(0);
    }
    batch.report(0, Ok(()))?;
    let mut bucket = 0;
    if batch.request.pointer(attr::IN_BATCH) != 0 {
        let mut number = [0; 4];
        copy_from_user(&mut number, batch.request.pointer(attr::IN_BATCH))?;
        bucket = u32::from_ne_bytes(number);
    }
    if bucket >= buckets {
        return Err(Errno::ENOENT);
    }
    let (key_bytes, value_bytes) = (batch.key_size(), batch.value_size());
    let mut room = BUCKET;
    let (mut keys, mut values) = (buffers(room, key_bytes)?, buffers(room, value_bytes)?);
    let mut done = 0;
    let result = loop {
        if bucket == buckets {
            break Err(Errno::ENOENT);
        }
        look(bucket)?;
        let left = batch.count - done;
        let most = left.min(room);
        let mut into = Rows {
            room: most,
            keys: &mut keys,
            values: &mut values,
            key_bytes,
            value_bytes,
            remove,
            lock: batch.lock,
        };
        match batch.map.with(|map| map.bucket(bucket, &mut into)).or_errno() {
            Ok(found) => {
                let elements = keys.chunks_exact(key_bytes).zip(values.chunks_exact(value_bytes));
                for (index, (key, value)) in (done..done + found).zip(elements) {
                    batch.put_element(index, key, value)?;
                }
                done += found;
                bucket += 1;
            }
            Err(Errno::ENOSPC) if left > room => {
                room = room.saturating_mul(4).min(left);
                (keys, values) = (buffers(room, key_bytes)?, buffers(room, value_bytes)?);
            }
            Err(Errno::ENOSPC) if done != 0 => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    batch.put_batch(&bucket.to_ne_bytes())?;
    batch.report(done, result)
}

fn buffers(elements: u32, size: usize) -> Result<alloc::vec::Vec<u8>, Errno> {
    buffer((elements as usize).checked_mul(size).ok_or(Errno::ENOMEM)?)
}

/// Goes from key to key.
fn by_key(batch: &Batch<'_>) -> SyscallResult {
    let map = batch.map;
    let flags = if batch.lock { F_LOCK } else { 0 };
    if batch.count == 0 {
        return Ok(0);
    }
    batch.report(0, Ok(()))?;
    with_bytes(batch.key_size(), |last| {
        let mut begun = batch.request.pointer(attr::IN_BATCH) != 0;
        if begun {
            copy_from_user(last, batch.request.pointer(attr::IN_BATCH))?;
        }
        let mut done = 0;
        let result = with_bytes(batch.key_size(), |key| {
            with_bytes(batch.value_size(), |value| {
                for round in 0u32.. {
                    if done == batch.count {
                        break;
                    }
                    look(round)?;
                    let before = begun.then_some(&*last);
                    map.with(|map| map.next_key(before, key)).or_errno()?;
                    // A key that has gone meanwhile is passed over.
                    match map.with(|map| map.lookup_with(key, value, flags)).or_errno() {
                        Ok(()) => {
                            batch.put_element(done, key, value)?;
                            done += 1;
                        }
                        Err(Errno::ENOENT) => {}
                        Err(error) => return Err(error),
                    }
                    last.copy_from_slice(key);
                    begun = true;
                }
                Ok(())
            })
        });
        if let Err(error @ (Errno::EFAULT | Errno::EINTR)) = result {
            return Err(error);
        }
        if begun {
            batch.put_batch(last)?;
        }
        batch.report(done, result)
    })
}

/// `BPF_MAP_UPDATE_BATCH`.
pub(super) fn update(request: &Request) -> SyscallResult {
    run(
        request,
        (false, true),
        |map| goes_by_key(map) || goes_by_bucket(map),
        |batch| {
            let flags = if batch.lock { F_LOCK } else { 0 };
            each(batch, |index, key| {
                with_bytes(batch.value_size(), |value| {
                    copy_from_user(value, batch.element(attr::VALUES, index, value.len())?)?;
                    set(batch.map, key, value, flags)
                })
            })
        },
    )
}

/// `BPF_MAP_DELETE_BATCH`.
pub(super) fn delete(request: &Request) -> SyscallResult {
    let has = |map: &Map| goes_by_bucket(map) || map.def().map_type == MapType::LpmTrie;
    run(request, (false, true), has, |batch| each(batch, |_, key| remove(batch.map, key)))
}

/// Does something with each of the caller's keys, until one fails.
fn each(batch: &Batch<'_>, mut act: impl FnMut(u32, &[u8]) -> Result<(), Errno>) -> SyscallResult {
    if batch.count == 0 {
        return Ok(0);
    }
    let mut done = 0;
    let result = with_bytes(batch.key_size(), |key| {
        while done < batch.count {
            look(done)?;
            copy_from_user(key, batch.element(attr::KEYS, done, key.len())?)?;
            act(done, key)?;
            done += 1;
        }
        Ok(())
    });
    batch.report(done, result)
}
