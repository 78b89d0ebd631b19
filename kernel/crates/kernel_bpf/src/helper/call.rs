//! What the helpers do, for the interpreter and for compiled code.
//!
//! [`implementation`] finds a helper's function by Linux's number. A helper gets the five
//! argument registers as they are; the verifier has proved that pointers among them point to
//! memory of the size that the declaration (`proto`) asks for, so this is one of the crate's
//! few modules with `unsafe`.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use kernel_sync::{IrqState, irq};

use super::callback;
use super::format;
use super::packet;
use super::proto::id;
use super::services::{Fault, KernelServices};
use super::task;
use super::text;
use crate::map::ringbuf::HEADER;
use crate::map::{MAX_TAIL_CALLS, Map, MapError, RingBuffer, TailEntry, stack_trace, value};

/// What the helper calls of one run have in common.
pub struct Environment<'a> {
    /// The kernel.
    pub services: &'a dyn KernelServices,
    /// Bytes of context that there are, whatever this program uses of them.
    context_bytes: usize,
    tail_calls: Cell<u32>,
    /// How many instructions tail calls may still add to the run's worst case.
    budget: Cell<u64>,
    /// Whether interrupts were on when the program took the one spin lock that it may hold.
    irq: Cell<Option<IrqState>>,
}

impl<'a> Environment<'a> {
    /// What a run of a program begins with. The programs that it reaches by tail calls may use
    /// `context_bytes` of its context, and `budget` instructions together in the worst case.
    #[inline]
    pub fn new(services: &'a dyn KernelServices, context_bytes: usize, budget: u64) -> Self {
        let (budget, tail_calls, irq) = (Cell::new(budget), Cell::new(0), Cell::new(None));
        Self { services, context_bytes, tail_calls, budget, irq }
    }

    /// Decides a tail call (`bpf_tail_call`): the entry of the program at `index` of the
    /// program array in `map`. `None` lets the caller go on: there is no such program, it needs
    /// more of the context than there is or more instructions than are left, or it would be
    /// the 34th in a row. `fits` says whether the engine has room for the entry.
    ///
    /// # Safety
    /// `map` is the address of a map that the running program holds, and the caller goes to
    /// the entry when it gets one.
    #[inline]
    pub(crate) unsafe fn tail_call(
        &self,
        map: u64,
        index: u64,
        fits: impl FnOnce(&TailEntry) -> bool,
    ) -> Option<&'a TailEntry> {
        // SAFETY: as the caller promises.
        let address = unsafe { self::map(map) }.tail_entry(index as u32);
        let calls = self.tail_calls.get();
        if address == 0 || calls >= MAX_TAIL_CALLS {
            return None;
        }
        // SAFETY: a slot's word is the address of a `TailTarget`, which begins with its entry
        // and lives until this CPU is quiet, that is, beyond this run.
        let entry = unsafe { &*ptr::with_exposed_provenance::<TailEntry>(address) };
        let budget = self.budget.get().checked_sub(entry.needs.worst_case)?;
        if entry.context_bytes > self.context_bytes || !fits(entry) {
            return None;
        }
        self.budget.set(budget);
        self.tail_calls.set(calls + 1);
        Some(entry)
    }
}

/// A helper's function: the registers r1 to r5, and what the call runs in, as compiled code
/// passes them.
///
/// # Safety
/// The arguments satisfy the helper's declaration: what must point to memory does.
pub type Helper = unsafe extern "C" fn(u64, u64, u64, u64, u64, &Environment<'_>) -> u64;

/// Linux's EFAULT, EINVAL and ERANGE, negated, as a program sees them.
pub(super) const EFAULT: u64 = -14i64 as u64;
pub(super) const EINVAL: u64 = -22i64 as u64;
const ERANGE: u64 = -34i64 as u64;

/// Makes [`implementation`] from the table of numbers and functions.
macro_rules! implementations {
    ($($($number:path)|+ => $function:path,)+) => {
        /// The function of the helper with Linux's number; `None` for one that is not implemented.
        #[must_use]
        pub fn implementation(number: i32) -> Option<Helper> {
            Some(match number {
                $($($number)|+ => {
                    unsafe extern "C" fn entry(
                        r1: u64,
                        r2: u64,
                        r3: u64,
                        r4: u64,
                        r5: u64,
                        env: &Environment<'_>,
                    ) -> u64 {
                        // SAFETY: the caller's promise is the function's.
                        unsafe { $function(env, [r1, r2, r3, r4, r5]) }
                    }
                    entry
                })+
                _ => return None,
            })
        }
    };
}

implementations! {
    id::MAP_LOOKUP_ELEM => map_lookup_elem,
    id::MAP_UPDATE_ELEM => map_update_elem,
    id::MAP_DELETE_ELEM => map_delete_elem,
    id::PROBE_READ => probe_read,
    id::PROBE_READ_KERNEL => probe_read_kernel,
    id::PROBE_READ_USER => probe_read_user,
    id::PROBE_READ_STR => probe_read_str,
    id::PROBE_READ_KERNEL_STR => probe_read_kernel_str,
    id::PROBE_READ_USER_STR => probe_read_user_str,
    id::KTIME_GET_NS | id::KTIME_GET_BOOT_NS | id::KTIME_GET_COARSE_NS => ktime_get_ns,
    id::TRACE_PRINTK => text::trace_printk,
    id::GET_PRANDOM_U32 => get_prandom_u32,
    id::GET_SMP_PROCESSOR_ID => get_smp_processor_id,
    id::GET_NUMA_NODE_ID => get_numa_node_id,
    id::GET_CURRENT_PID_TGID => get_current_pid_tgid,
    id::GET_CURRENT_UID_GID => get_current_uid_gid,
    id::GET_CURRENT_COMM => get_current_comm,
    id::JIFFIES64 => jiffies64,
    id::STRNCMP => strncmp,
    id::MAP_LOOKUP_PERCPU_ELEM => map_lookup_percpu_elem,
    id::MAP_PUSH_ELEM => map_push_elem,
    id::MAP_POP_ELEM => map_pop_elem,
    id::MAP_PEEK_ELEM => map_peek_elem,
    id::SPIN_LOCK => spin_lock,
    id::SPIN_UNLOCK => spin_unlock,
    id::PERF_EVENT_OUTPUT => perf_event_output,
    id::GET_STACKID => get_stackid,
    id::RINGBUF_OUTPUT => ringbuf_output,
    id::RINGBUF_RESERVE => ringbuf_reserve,
    id::RINGBUF_SUBMIT => ringbuf_submit,
    id::RINGBUF_DISCARD => ringbuf_discard,
    id::RINGBUF_QUERY => ringbuf_query,
    id::GET_CURRENT_TASK | id::GET_CURRENT_TASK_BTF => task::get_current_task,
    id::TASK_STORAGE_GET => task::task_storage_get,
    id::TASK_STORAGE_DELETE => task::task_storage_delete,
    id::GET_STACK => task::get_stack,
    id::TRACE_VPRINTK => text::trace_vprintk,
    id::SNPRINTF => text::snprintf,
    id::STRTOL => text::strtol,
    id::STRTOUL => text::strtoul,
    id::SKB_LOAD_BYTES => packet::skb_load_bytes,
    id::SKB_LOAD_BYTES_RELATIVE => packet::skb_load_bytes_relative,
    id::SKB_STORE_BYTES => packet::skb_store_bytes,
    id::L3_CSUM_REPLACE => packet::l3_csum_replace,
    id::L4_CSUM_REPLACE => packet::l4_csum_replace,
    id::CSUM_DIFF => packet::csum_diff,
    id::CSUM_UPDATE => packet::csum_update,
    id::SKB_PULL_DATA => packet::skb_pull_data,
    id::GET_HASH_RECALC => packet::get_hash_recalc,
    id::SET_HASH => packet::set_hash,
    id::SET_HASH_INVALID => packet::set_hash_invalid,
    id::SKB_CHANGE_HEAD => packet::skb_change_head,
    id::SKB_CHANGE_TAIL => packet::skb_change_tail,
    id::SKB_VLAN_PUSH => packet::skb_vlan_push,
    id::SKB_VLAN_POP => packet::skb_vlan_pop,
    id::GET_CGROUP_CLASSID | id::GET_ROUTE_REALM | id::GET_SOCKET_COOKIE => packet::none,
    id::SK_LOOKUP_TCP | id::SK_LOOKUP_UDP | id::SKC_LOOKUP_TCP | id::SK_RELEASE => packet::none,
    id::SKC_TO_TCP_SOCK | id::SKC_TO_TCP6_SOCK | id::SKC_TO_UDP6_SOCK => packet::none,
    id::SKC_TO_TCP_TIMEWAIT_SOCK | id::SKC_TO_TCP_REQUEST_SOCK => packet::none,
    id::SKC_TO_UNIX_SOCK | id::SKC_TO_MPTCP_SOCK => packet::none,
    id::SK_STORAGE_GET | id::SK_STORAGE_DELETE => packet::none,
    id::GET_LOCAL_STORAGE => packet::get_local_storage,
    id::SK_FULLSOCK | id::TCP_SOCK | id::GET_LISTENER_SOCK => packet::none,
    id::GET_SOCKET_UID => packet::get_socket_uid,
    id::XDP_ADJUST_HEAD => packet::xdp_adjust_head,
    id::XDP_ADJUST_META => packet::xdp_adjust_meta,
    id::XDP_ADJUST_TAIL => packet::xdp_adjust_tail,
    id::XDP_GET_BUFF_LEN => packet::xdp_get_buff_len,
    id::XDP_LOAD_BYTES => packet::xdp_load_bytes,
    id::XDP_STORE_BYTES => packet::xdp_store_bytes,
}

/// A lookup that is quicker than the general one, for a call that is known to be about `map`.
#[must_use]
pub fn quick_lookup(map: &Map) -> Option<Helper> {
    match map.def().key_size {
        4 if map.has_word_lookup() => Some(lookup_word::<u32>),
        8 if map.has_word_lookup() => Some(lookup_word::<u64>),
        _ => None,
    }
}

/// `bpf_map_lookup_elem` in a hash map with keys of this type.
unsafe extern "C" fn lookup_word<Key: Into<u64>>(
    r1: u64,
    r2: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    // SAFETY: the verifier proved r1 a map and r2 a key of its size, in any alignment.
    let (map, key) =
        unsafe { (map(r1), ptr::with_exposed_provenance::<Key>(r2 as usize).read_unaligned()) };
    map.word_address(key.into()) as u64
}

/// Whether a helper has an implementation.
#[must_use]
pub fn is_implemented(number: i32) -> bool {
    number == id::TAIL_CALL
        || implementation(number).is_some()
        || callback::implementation(number).is_some()
}

pub(super) fn error(error: MapError) -> u64 {
    i64::from(-error.number()) as u64
}

fn done(result: Result<(), MapError>) -> u64 {
    result.map_or_else(error, |()| 0)
}

/// The map whose address a program loaded.
///
/// # Safety
/// `address` is that of a map which the program holds.
#[inline]
pub(super) unsafe fn map<'a>(address: u64) -> &'a Map {
    // SAFETY: the address was made from a `&Map` when the program was prepared, and the
    // program keeps the map for as long as it can run.
    unsafe { &*ptr::with_exposed_provenance::<Map>(address as usize) }
}

/// Memory that a program lends for reading.
///
/// # Safety
/// `address` points to `length` readable bytes, or `length` is 0.
#[inline]
pub(super) unsafe fn memory<'a>(address: u64, length: usize) -> &'a [u8] {
    if length == 0 {
        return &[];
    }
    // SAFETY: as the caller promises; for a map's value another CPU may change the bytes
    // meanwhile, which can change what is copied, and nothing else.
    unsafe { core::slice::from_raw_parts(ptr::with_exposed_provenance(address as usize), length) }
}

/// Memory that a program lends for writing.
///
/// # Safety
/// `address` points to `length` writable bytes, or `length` is 0.
#[inline]
pub(super) unsafe fn memory_mut<'a>(address: u64, length: usize) -> &'a mut [u8] {
    if length == 0 {
        return &mut [];
    }
    // SAFETY: as in `memory`.
    unsafe {
        core::slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(address as usize), length)
    }
}

unsafe fn map_lookup_elem(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and r2 a key of its size.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    map.value_address(key, cpu_of(env, map)) as u64
}

unsafe fn map_lookup_percpu_elem(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `map_lookup_elem`.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    // Any number may come here, and a map has values for the CPUs that there are.
    let cpu = r3 as u32 as usize;
    if cpu < map.cpus() { map.value_address(key, cpu) as u64 } else { 0 }
}

unsafe fn map_update_elem(env: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map, r2 a key and r3 a value of its sizes.
    let (map, key, value) = unsafe {
        let map = map(r1);
        (map, memory(r2, map.def().key_size as usize), memory(r3, map.def().value_size as usize))
    };
    done(map.update_on(key, value, r4, cpu_of(env, map)))
}

unsafe fn map_delete_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `map_lookup_elem`.
    let (map, key) = unsafe { (map(r1), memory(r2, map(r1).def().key_size as usize)) };
    done(map.delete_from_program(key))
}

unsafe fn map_push_elem(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and r2 a value of its size.
    let (map, value) = unsafe { (map(r1), memory(r2, map(r1).def().value_size as usize)) };
    done(map.push(value, r3))
}

unsafe fn map_pop_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and that r2 has room for a value.
    let (map, out) = unsafe { (map(r1), memory_mut(r2, map(r1).def().value_size as usize)) };
    done(map.pop(out))
}

unsafe fn map_peek_elem(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `map_pop_elem`; for a bloom filter the value is initialised.
    let (map, out) = unsafe { (map(r1), memory_mut(r2, map(r1).def().value_size as usize)) };
    done(map.peek(out))
}

/// The lock at an address.
///
/// # Safety
/// `address` is that of a `struct bpf_spin_lock` in a map's value.
unsafe fn lock_at<'a>(address: u64) -> &'a AtomicU32 {
    // SAFETY: as the caller promises; it is aligned, and accessed as an atomic by everybody.
    unsafe { &*ptr::with_exposed_provenance::<AtomicU32>(address as usize) }
}

/// Interrupts stay off until the lock is given back: a program in an interrupt may want it.
unsafe fn spin_lock(env: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    let state = irq::save();
    // SAFETY: the verifier proved r1 a lock, and that the program holds no other.
    value::acquire(unsafe { lock_at(r1) });
    env.irq.set(Some(state));
    0
}

unsafe fn spin_unlock(env: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the lock that the program holds.
    value::release(unsafe { lock_at(r1) });
    if let Some(state) = env.irq.take() {
        irq::restore(state);
    }
    0
}

unsafe fn perf_event_output(env: &Environment<'_>, [_, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r2 a map and that r4 points to r5 readable bytes.
    let (map, data) = unsafe { (map(r2), memory(r4, r5 as usize)) };
    done(map.output(r3, env.services.cpu_id(), data))
}

unsafe fn get_stackid(env: &Environment<'_>, [_, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r2 a map.
    let map = unsafe { map(r2) };
    let Some(depth) = map.stack_depth() else { return EINVAL };
    let mut frames = [0; stack_trace::MAX_FRAMES];
    let Some(frames) = frames.get_mut(..depth) else { return EINVAL };
    let (skip, user) = (r3 & stack_trace::SKIP_MASK, r3 & stack_trace::USER_STACK != 0);
    let Some(found) = env.services.stack_trace(user, skip as usize, frames) else {
        return EFAULT;
    };
    let frames = frames.get(..found).unwrap_or_default();
    map.keep_stack(frames, r3).map_or_else(error, u64::from)
}

#[inline]
fn cpu_of(env: &Environment<'_>, map: &Map) -> usize {
    if map.is_per_cpu() { env.services.cpu_id() } else { 0 }
}

/// How a read has failed that was, or may have been, of the kernel's memory (Linux:
/// `copy_from_kernel_nofault`).
fn kernel_fault(env: &Environment<'_>, address: u64) -> u64 {
    if env.services.is_kernel(address) { EFAULT } else { ERANGE }
}

fn any_fault(env: &Environment<'_>, address: u64) -> u64 {
    if env.services.is_user(address) { EFAULT } else { kernel_fault(env, address) }
}

unsafe fn probe_read(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 writable bytes.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_any(out, r3), || any_fault(env, r3))
}

unsafe fn probe_read_str(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    let read = |out: &mut [u8], address| env.services.read_any(out, address);
    read_string(out, r3, read, || any_fault(env, r3))
}

unsafe fn probe_read_kernel(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 writable bytes.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_kernel(out, r3), || kernel_fault(env, r3))
}

unsafe fn probe_read_user(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_or_zero(out, |out| env.services.read_user(out, r3), || EFAULT)
}

/// Linux zeroes what it could not fill.
fn read_or_zero(
    out: &mut [u8],
    read: impl FnOnce(&mut [u8]) -> Result<(), Fault>,
    fault: impl FnOnce() -> u64,
) -> u64 {
    if read(out).is_ok() {
        return 0;
    }
    out.fill(0);
    fault()
}

unsafe fn probe_read_kernel_str(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    let read = |out: &mut [u8], address| env.services.read_kernel(out, address);
    read_string(out, r3, read, || kernel_fault(env, r3))
}

unsafe fn probe_read_user_str(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as usize) };
    read_string(out, r3, |out, address| env.services.read_user(out, address), || EFAULT)
}

/// Copies up to and with the terminating zero; returns the length with it. What is longer is
/// cut and terminated.
fn read_string(
    out: &mut [u8],
    address: u64,
    read: impl FnMut(&mut [u8], u64) -> Result<(), Fault>,
    fault: impl FnOnce() -> u64,
) -> u64 {
    if out.is_empty() {
        return 0;
    }
    match format::copy_string(out, address, read) {
        Ok(length) => length as u64,
        Err(Fault) => {
            out.fill(0);
            fault()
        }
    }
}

unsafe fn ktime_get_ns(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.ktime_ns()
}

unsafe fn jiffies64(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.jiffies()
}

unsafe fn get_prandom_u32(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    u64::from(env.services.random_u32())
}

unsafe fn get_smp_processor_id(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.cpu_id() as u64
}

unsafe fn get_numa_node_id(_: &Environment<'_>, _: [u64; 5]) -> u64 {
    // One node.
    0
}

unsafe fn get_current_pid_tgid(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.current_pid_tgid()
}

unsafe fn get_current_uid_gid(env: &Environment<'_>, _: [u64; 5]) -> u64 {
    env.services.current_uid_gid()
}

unsafe fn get_current_comm(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as in `probe_read_kernel`.
    let out = unsafe { memory_mut(r1, r2 as u32 as usize) };
    let mut name = [0; 16];
    env.services.current_comm(&mut name);
    out.fill(0);
    for (to, from) in out.iter_mut().zip(name) {
        *to = from;
    }
    if let Some(last) = out.last_mut() {
        *last = 0;
        return 0;
    }
    EINVAL
}

unsafe fn strncmp(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 readable bytes, and r3 to a
    // zero-terminated string in a map that cannot change.
    let (one, other) = unsafe {
        let other = core::ffi::CStr::from_ptr(ptr::with_exposed_provenance(r3 as usize));
        (memory(r1, r2 as u32 as usize), other.to_bytes_with_nul())
    };
    for (a, b) in one.iter().zip(other) {
        if a != b {
            return i64::from(i32::from(*a) - i32::from(*b)) as u64;
        }
        if *a == 0 {
            break;
        }
    }
    0
}

unsafe fn ringbuf_output(env: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map and that r2 points to r3 readable bytes.
    let (map, data) = unsafe { (map(r1), memory(r2, r3 as usize)) };
    if r4 & !3 != 0 {
        return EINVAL;
    }
    let Some(ring) = map.ring() else { return EINVAL };
    match ring.output(data, r4) {
        Ok(wake) => {
            if wake {
                env.services.ring_ready(map);
            }
            0
        }
        // Linux has one answer for every record that finds no room.
        Err(_) => {
            no_room(env, map, ring);
            error(MapError::WouldBlock)
        }
    }
}

/// Tells the consumer of a gap that must be passed before there is room.
#[cold]
fn no_room(env: &Environment<'_>, map: &Map, ring: &RingBuffer) {
    if ring.left_a_gap() {
        env.services.ring_ready(map);
    }
}

unsafe fn ringbuf_reserve(env: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    if r3 != 0 {
        return 0;
    }
    // SAFETY: the verifier proved r1 a map.
    let map = unsafe { map(r1) };
    let Some(ring) = map.ring() else { return 0 };
    ring.set_owner(r1);
    match ring.reserve(r2) {
        Ok(record) => ring.address(record) as u64,
        Err(_) => {
            no_room(env, map, ring);
            0
        }
    }
}

unsafe fn ringbuf_submit(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a record that was reserved and is not committed.
    unsafe { commit(env, r1, r2, false) }
}

unsafe fn ringbuf_discard(env: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: as above.
    unsafe { commit(env, r1, r2, true) }
}

/// # Safety
/// `record` was reserved, in this run, and is not committed.
unsafe fn commit(env: &Environment<'_>, record: u64, flags: u64, discard: bool) -> u64 {
    let word = |address: usize| ptr::with_exposed_provenance::<AtomicU64>(address);
    // SAFETY: as the caller promises; neither programs nor users can write a record's header.
    let header = unsafe { &*word(record as usize - HEADER) }.load(Ordering::Relaxed);
    // SAFETY: so far before the record its ring begins.
    let owner = unsafe { &*word(RingBuffer::owner_address(record as usize, header)) };
    // SAFETY: `ringbuf_reserve` noted the map, which stays until this CPU is quiet.
    let map = unsafe { map(owner.load(Ordering::Relaxed)) };
    if let Some(ring) = map.ring()
        && let Some(record) = ring.record_at(record as usize)
        && ring.commit(record, discard, flags)
    {
        env.services.ring_ready(map);
    }
    0
}

unsafe fn ringbuf_query(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map.
    (unsafe { map(r1) }).ring().map_or(0, |ring| ring.query(r2))
}
