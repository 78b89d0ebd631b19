//! Helpers about packets, sockets and sums, as far as there is something here for them.
//!
//! A packet is what the program's context points to. There are no sockets and no control
//! groups: a lookup finds none, so nothing is ever passed to what takes a socket.

use core::ptr;

use super::bytes;
use super::call::{EFAULT, EINVAL, Environment, Helper, memory, memory_mut};
use super::proto::id;
use crate::context::{SK_BUFF_HASH, SK_BUFF_POINTERS};

/// Linux's ENOTSUPP, which no user space knows.
const ENOTSUPP: u64 = -524i64 as u64;

/// The function of the helper with Linux's number, if it is one of these.
pub(super) fn implementation(number: i32) -> Option<Helper> {
    Some(match number {
        id::SKB_LOAD_BYTES => skb_load_bytes,
        id::CSUM_DIFF => csum_diff,
        id::CSUM_UPDATE => csum_update,
        id::GET_HASH_RECALC => get_hash_recalc,
        id::STRTOL => strtol,
        id::STRTOUL => strtoul,
        id::GET_CGROUP_CLASSID
        | id::SK_LOOKUP_TCP
        | id::SK_LOOKUP_UDP
        | id::SKC_LOOKUP_TCP
        | id::SK_FULLSOCK
        | id::TCP_SOCK
        | id::GET_LISTENER_SOCK
        | id::SKC_TO_TCP6_SOCK
        | id::SKC_TO_TCP_SOCK
        | id::SKC_TO_TCP_TIMEWAIT_SOCK
        | id::SKC_TO_TCP_REQUEST_SOCK
        | id::SKC_TO_UDP6_SOCK
        | id::SKC_TO_UNIX_SOCK
        | id::SKC_TO_MPTCP_SOCK => nothing,
        id::SK_RELEASE => sk_release,
        _ => return None,
    })
}

/// The packet of a `struct __sk_buff`.
///
/// # Safety
/// `context` is that of a running program whose context is a `struct __sk_buff`.
unsafe fn packet<'a>(context: u64) -> &'a [u8] {
    let word = |offset: usize| {
        let address = context as usize + SK_BUFF_POINTERS + offset;
        // SAFETY: the pointers lie behind the declared fields of every such context.
        unsafe { ptr::with_exposed_provenance::<u64>(address).read_unaligned() }
    };
    let (start, end) = (word(0), word(8));
    // SAFETY: they are the bounds of the packet that the context was made of.
    unsafe { memory(start, end.saturating_sub(start) as usize) }
}

/// Bytes of the packet, from an offset on; what is not there leaves zeros.
unsafe extern "C" fn skb_load_bytes(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    let (offset, length) = (r2 as u32 as usize, r4 as u32 as usize);
    // SAFETY: the verifier proved r1 the context and that r3 has room for r4 bytes.
    let (packet, out) = unsafe { (packet(r1), memory_mut(r3, length)) };
    match offset.checked_add(length).and_then(|end| packet.get(offset..end)) {
        Some(found) => {
            out.copy_from_slice(found);
            0
        }
        None => {
            out.fill(0);
            EFAULT
        }
    }
}

unsafe extern "C" fn csum_diff(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    r5: u64,
    _: &Environment<'_>,
) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 bytes and r3 to r4, or that there are
    // none.
    let (from, to) = unsafe { (memory(r1, r2 as u32 as usize), memory(r3, r4 as u32 as usize)) };
    bytes::csum_diff(from, to, r5 as u32) as u64
}

/// No packet here carries a sum of all of it.
unsafe extern "C" fn csum_update(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    ENOTSUPP
}

/// The packet's hash is what its context says.
unsafe extern "C" fn get_hash_recalc(
    r1: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    let address = r1 as usize + SK_BUFF_HASH;
    // SAFETY: the verifier proved r1 the context, a `struct __sk_buff`.
    u64::from(unsafe { ptr::with_exposed_provenance::<u32>(address).read_unaligned() })
}

unsafe extern "C" fn strtol(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 readable bytes, and r4 to eight
    // writable ones.
    let (text, out) = unsafe { (memory(r1, r2 as u32 as usize), memory_mut(r4, 8)) };
    match bytes::strtol(text, r3) {
        Ok((value, length)) => {
            out.copy_from_slice(&value.to_ne_bytes());
            length as u64
        }
        Err(error) => error as u64,
    }
}

unsafe extern "C" fn strtoul(
    r1: u64,
    r2: u64,
    r3: u64,
    r4: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    // SAFETY: as in `strtol`.
    let (text, out) = unsafe { (memory(r1, r2 as u32 as usize), memory_mut(r4, 8)) };
    match bytes::strtoul(text, r3) {
        Ok((value, length)) => {
            out.copy_from_slice(&value.to_ne_bytes());
            length as u64
        }
        Err(error) => error as u64,
    }
}

/// No socket, and the class of what is in no control group.
unsafe extern "C" fn nothing(_: u64, _: u64, _: u64, _: u64, _: u64, _: &Environment<'_>) -> u64 {
    0
}

unsafe extern "C" fn sk_release(
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &Environment<'_>,
) -> u64 {
    EINVAL
}
