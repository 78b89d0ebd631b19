//! What the helpers do, for the interpreter and for compiled code.
//!
//! [`implementation`] finds a helper's function by Linux's number. A helper gets the five
//! argument registers as they are; the verifier has proved that pointers among them point to
//! memory of the size that the declaration (`proto`) asks for, so this is one of the crate's
//! few modules with `unsafe`.

use core::cell::Cell;
use core::ptr;

use kernel_sync::IrqState;

use super::callback;
use super::maps;
use super::packet;
use super::proto::id;
use super::reads;
use super::rings;
use super::services::KernelServices;
use super::task;
use super::text;
use crate::map::{MAX_TAIL_CALLS, Map, MapError, TailEntry};

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
    pub(super) irq: Cell<Option<IrqState>>,
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
pub(super) const ERANGE: u64 = -34i64 as u64;

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
    id::MAP_LOOKUP_ELEM => maps::map_lookup_elem,
    id::MAP_UPDATE_ELEM => maps::map_update_elem,
    id::MAP_DELETE_ELEM => maps::map_delete_elem,
    id::PROBE_READ => reads::probe_read,
    id::PROBE_READ_KERNEL => reads::probe_read_kernel,
    id::PROBE_READ_USER => reads::probe_read_user,
    id::PROBE_READ_STR => reads::probe_read_str,
    id::PROBE_READ_KERNEL_STR => reads::probe_read_kernel_str,
    id::PROBE_READ_USER_STR => reads::probe_read_user_str,
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
    id::MAP_LOOKUP_PERCPU_ELEM => maps::map_lookup_percpu_elem,
    id::MAP_PUSH_ELEM => maps::map_push_elem,
    id::MAP_POP_ELEM => maps::map_pop_elem,
    id::MAP_PEEK_ELEM => maps::map_peek_elem,
    id::SPIN_LOCK => maps::spin_lock,
    id::SPIN_UNLOCK => maps::spin_unlock,
    id::PERF_EVENT_OUTPUT => maps::perf_event_output,
    id::GET_STACKID => maps::get_stackid,
    id::RINGBUF_OUTPUT => rings::ringbuf_output,
    id::RINGBUF_RESERVE => rings::ringbuf_reserve,
    id::RINGBUF_SUBMIT => rings::ringbuf_submit,
    id::RINGBUF_DISCARD => rings::ringbuf_discard,
    id::RINGBUF_QUERY => rings::ringbuf_query,
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
    id::GET_NETNS_COOKIE => packet::get_netns_cookie,
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

pub(super) fn done(result: Result<(), MapError>) -> u64 {
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
