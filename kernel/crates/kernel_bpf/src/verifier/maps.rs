//! Which helper may be called with which type of map.

use alloc::format;

use super::call::Arguments;
use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::Byte;
use super::value::{INNER_MAP, Kind, Value};
use crate::helper::HelperProto;
use crate::helper::proto::id;
use crate::map::MapType;
use crate::map::def::flags;

/// Linux's `check_map_func_compatibility`, both directions in one table.
fn compatible(map: MapType, helper: i32) -> bool {
    use MapType as M;
    let only = |allowed: &[i32]| allowed.contains(&helper);
    let from_map = match map {
        M::ProgArray => only(&[id::TAIL_CALL]),
        M::PerfEventArray => only(&[
            id::PERF_EVENT_READ,
            id::PERF_EVENT_OUTPUT,
            id::PERF_EVENT_READ_VALUE,
            id::SKB_OUTPUT,
            id::XDP_OUTPUT,
        ]),
        M::Ringbuf => only(&[
            id::RINGBUF_OUTPUT,
            id::RINGBUF_RESERVE,
            id::RINGBUF_RESERVE_DYNPTR,
            id::RINGBUF_QUERY,
        ]),
        M::UserRingbuf => only(&[id::USER_RINGBUF_DRAIN]),
        M::StackTrace => only(&[id::GET_STACKID]),
        M::CgroupStorage | M::PercpuCgroupStorage => only(&[id::GET_LOCAL_STORAGE]),
        M::CgroupArray => only(&[id::SKB_UNDER_CGROUP, id::CURRENT_TASK_UNDER_CGROUP]),
        M::ReuseportSockarray => only(&[id::SK_SELECT_REUSEPORT]),
        M::StructOps | M::Arena => false,
        M::InodeStorage => only(&[id::INODE_STORAGE_GET, id::INODE_STORAGE_DELETE]),
        M::TaskStorage => only(&[id::TASK_STORAGE_GET, id::TASK_STORAGE_DELETE]),
        M::CgrpStorage => only(&[id::CGRP_STORAGE_GET, id::CGRP_STORAGE_DELETE]),
        M::ArrayOfMaps | M::HashOfMaps => only(&[id::MAP_LOOKUP_ELEM]),
        M::Devmap | M::DevmapHash => only(&[id::REDIRECT_MAP, id::MAP_LOOKUP_ELEM]),
        M::Cpumap => only(&[id::REDIRECT_MAP]),
        M::Xskmap => only(&[id::REDIRECT_MAP, id::MAP_LOOKUP_ELEM]),
        M::Sockmap => only(&[
            id::MAP_UPDATE_ELEM,
            id::MAP_DELETE_ELEM,
            id::MAP_LOOKUP_ELEM,
            id::SK_REDIRECT_MAP,
            id::SOCK_MAP_UPDATE,
            id::MSG_REDIRECT_MAP,
            id::SK_SELECT_REUSEPORT,
        ]),
        M::Sockhash => only(&[
            id::MAP_UPDATE_ELEM,
            id::MAP_DELETE_ELEM,
            id::MAP_LOOKUP_ELEM,
            id::SK_REDIRECT_HASH,
            id::SOCK_HASH_UPDATE,
            id::MSG_REDIRECT_HASH,
            id::SK_SELECT_REUSEPORT,
        ]),
        M::Queue | M::Stack => only(&[id::MAP_PEEK_ELEM, id::MAP_POP_ELEM, id::MAP_PUSH_ELEM]),
        M::BloomFilter => only(&[id::MAP_PEEK_ELEM, id::MAP_PUSH_ELEM]),
        M::SkStorage => only(&[id::SK_STORAGE_GET, id::SK_STORAGE_DELETE]),
        M::Hash
        | M::Array
        | M::PercpuHash
        | M::PercpuArray
        | M::LruHash
        | M::LruPercpuHash
        | M::LpmTrie => true,
    };
    let from_helper = match helper {
        id::TAIL_CALL => map == M::ProgArray,
        id::PERF_EVENT_READ
        | id::PERF_EVENT_OUTPUT
        | id::PERF_EVENT_READ_VALUE
        | id::SKB_OUTPUT
        | id::XDP_OUTPUT => map == M::PerfEventArray,
        id::RINGBUF_OUTPUT
        | id::RINGBUF_RESERVE
        | id::RINGBUF_RESERVE_DYNPTR
        | id::RINGBUF_QUERY => map == M::Ringbuf,
        id::USER_RINGBUF_DRAIN => map == M::UserRingbuf,
        id::SK_SELECT_REUSEPORT => {
            matches!(map, M::ReuseportSockarray | M::Sockmap | M::Sockhash)
        }
        id::SK_REDIRECT_MAP | id::MSG_REDIRECT_MAP | id::SOCK_MAP_UPDATE => map == M::Sockmap,
        id::SK_REDIRECT_HASH | id::MSG_REDIRECT_HASH | id::SOCK_HASH_UPDATE => map == M::Sockhash,
        id::SKB_UNDER_CGROUP | id::CURRENT_TASK_UNDER_CGROUP => map == M::CgroupArray,
        id::TASK_STORAGE_GET | id::TASK_STORAGE_DELETE => map == M::TaskStorage,
        id::INODE_STORAGE_GET | id::INODE_STORAGE_DELETE => map == M::InodeStorage,
        id::CGRP_STORAGE_GET | id::CGRP_STORAGE_DELETE => map == M::CgrpStorage,
        id::GET_STACKID => map == M::StackTrace,
        id::GET_LOCAL_STORAGE => matches!(map, M::CgroupStorage | M::PercpuCgroupStorage),
        id::REDIRECT_MAP => {
            matches!(map, M::Devmap | M::DevmapHash | M::Cpumap | M::Xskmap)
        }
        id::MAP_PEEK_ELEM => matches!(map, M::Queue | M::Stack | M::BloomFilter),
        id::MAP_PUSH_ELEM => matches!(map, M::Queue | M::Stack | M::BloomFilter),
        id::MAP_POP_ELEM => matches!(map, M::Queue | M::Stack),
        id::SK_STORAGE_GET | id::SK_STORAGE_DELETE => map == M::SkStorage,
        id::MAP_LOOKUP_PERCPU_ELEM => {
            matches!(map, M::PercpuArray | M::PercpuHash | M::LruPercpuHash)
        }
        id::FOR_EACH_MAP_ELEM => matches!(
            map,
            M::PercpuHash | M::PercpuArray | M::LruHash | M::LruPercpuHash | M::Hash | M::Array
        ),
        _ => true,
    };
    from_map && from_helper
}

impl Verifier<'_> {
    /// Records that the program uses a map.
    pub(super) fn use_map(&mut self, index: u32) -> Result<(), Refusal> {
        if self.env.map(index).is_none() {
            return Err(
                self.refuse(Cause::MapMismatch, format!("there is no map with index {index}"))
            );
        }
        self.check_map_fields(index)?;
        if let Err(at) = self.proof.maps.binary_search(&index) {
            self.proof.maps.insert(at, index);
        }
        Ok(())
    }

    pub(super) fn check_map_use(
        &self,
        proto: &HelperProto,
        arguments: &Arguments,
    ) -> Result<(), Refusal> {
        let Some(def) = arguments.map.and_then(|map| self.env.map(map)) else { return Ok(()) };
        if !compatible(def.map_type, proto.id) {
            return Err(self.refuse(
                Cause::MapMismatch,
                format!(
                    "cannot pass map_type {} ({}) into func bpf_{}#{}",
                    def.map_type.number(),
                    def.map_type.name(),
                    proto.name,
                    proto.id
                ),
            ));
        }
        let writes = matches!(
            proto.id,
            id::MAP_UPDATE_ELEM | id::MAP_DELETE_ELEM | id::MAP_PUSH_ELEM | id::MAP_POP_ELEM
        );
        if writes && !def.program_may_write() {
            return Err(self
                .refuse(Cause::ReadOnly, format!("write into map forbidden: bpf_{}", proto.name)));
        }
        // Lookups of what may only be written are allowed: the value is checked when
        // it is read.
        Ok(())
    }

    /// Greatest number of elements of a map. Maps inside of others may be larger than the one
    /// that stands for them, except arrays.
    pub(super) fn most_elements(&self, map: u32) -> u64 {
        let Some(def) = self.env.map(map) else { return 0 };
        let fixed = matches!(def.map_type, MapType::Array | MapType::PercpuArray)
            && def.flags & flags::INNER_MAP == 0;
        let known = map & INNER_MAP == 0 || fixed;
        u64::from(if known { def.max_entries } else { u32::MAX })
    }

    /// Whether the key on the stack is a constant index that an array has: then a
    /// lookup cannot fail.
    pub(super) fn constant_key_in_range(&mut self, key: &Value, arguments: &Arguments) -> bool {
        let Some(def) = arguments.map.and_then(|map| self.env.map(map)).copied() else {
            return false;
        };
        if !matches!(def.map_type, MapType::Array | MapType::PercpuArray)
            || def.key_size != 4
            || def.flags & flags::INNER_MAP != 0
        {
            return false;
        }
        let (Kind::Stack { frame }, Some(x)) = (key.kind, key.scalar.as_constant()) else {
            return false;
        };
        let at = i64::from(key.offset).saturating_add(x as i64);
        let Ok(offset) = i32::try_from(at) else { return false };
        if !(-512..0).contains(&offset) || offset % 4 != 0 {
            return false;
        }
        let below = (-offset - 1) as usize;
        let (index, byte) = (below / 8, 7 - below % 8);
        let slot = self.slot(frame, index);
        let bytes = slot.bytes.get(byte..byte + 4).unwrap_or(&[]);
        if bytes.len() == 4 && bytes.iter().all(|&byte| byte == Byte::Zero) {
            return def.max_entries > 0;
        }
        if byte == 0 && slot.spill_size() >= 4 && slot.value.is_scalar() {
            let Some(index_value) = slot.value.scalar.truncate(4).as_constant() else {
                return false;
            };
            if index_value < u64::from(def.max_entries) {
                let place = super::path::Place::Slot(frame, index as u8);
                self.need_precise_places(&[Some(place)]);
                return true;
            }
        }
        false
    }
}
