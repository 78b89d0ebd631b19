//! Helpers about packets: reading, writing and checksumming bytes of one, and moving its ends.
//!
//! A program's context is a [`PacketContext`](crate::context::PacketContext) here, whatever its
//! type: its fields lie as user space declares them, and behind them the words of [`behind`].
//! A packet can grow as far as its owner has left room. There are no sockets and devices: what
//! looks for one finds none, as on a machine without a network.

use core::ops::{Deref, DerefMut};
use core::ptr;

use super::bytes;
use super::call::{EFAULT, EINVAL, Environment, map, memory, memory_mut};
use super::checksum;
use crate::context::{BEHIND, ETHERNET, WORDS, behind, skb};

/// Linux's ENOTSUPP and ENOMEM, negated.
const ENOTSUPP: u64 = -524i64 as u64;
const ENOMEM: u64 = -12i64 as u64;
/// What owns a packet of no socket (Linux: `overflowuid`).
const NOBODY: u64 = 65_534;
/// Ethernet types of VLAN tags, and the bytes of one (IEEE 802.1Q, 802.1ad).
const VLAN: [u16; 2] = [0x8100, 0x88a8];
const VLAN_BYTES: usize = 4;
/// Where the tag stands: behind both addresses.
const ADDRESSES: usize = 12;

/// A context that has a packet, whichever structure it is: the words behind.
struct Packet<'a> {
    words: &'a mut [u64],
}

impl<'a> Packet<'a> {
    /// # Safety
    /// `address` is a [`PacketContext`](crate::context::PacketContext), the context of a running
    /// program.
    unsafe fn at(address: u64) -> Self {
        let start = ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: as the caller promises: it is aligned and has these words; the program is inside
        // of this call.
        Self { words: unsafe { core::slice::from_raw_parts_mut(start, WORDS) } }
    }

    fn behind(&self, index: usize) -> usize {
        self.words.get(BEHIND / 8 + index).map_or(0, |word| *word as usize)
    }

    fn set_behind(&mut self, index: usize, address: usize) {
        if let Some(word) = self.words.get_mut(BEHIND / 8 + index) {
            *word = address as u64;
        }
    }

    fn len(&self) -> usize {
        self.behind(behind::END).saturating_sub(self.behind(behind::DATA))
    }

    /// The packet's bytes.
    fn data(&mut self) -> &mut [u8] {
        // SAFETY: the ends lie in the memory that the context was made for, and only move in
        // it; the program is inside of this call.
        unsafe { memory_mut(self.behind(behind::DATA) as u64, self.len()) }
    }

    /// `length` bytes from `offset` on, counted from the packet's start.
    fn range(&mut self, offset: u64, length: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(offset).ok()?;
        self.data().get_mut(start..start.checked_add(length)?)
    }

    /// The same by its address, for who names memory that may be the packet's too.
    fn part(&mut self, offset: u64, length: usize) -> Option<*mut u8> {
        self.range(offset, length).map(<[u8]>::as_mut_ptr)
    }

    /// Bytes before what the network layer begins with.
    fn link_bytes(&self) -> usize {
        self.behind(behind::NETWORK).saturating_sub(self.behind(behind::DATA))
    }

    /// Moves the packet's ends, as far as there is room. What is new is zero.
    fn resize(&mut self, front: i64, back: i64) -> Option<()> {
        let (data, end) = (self.behind(behind::DATA), self.behind(behind::END));
        let to = |address: usize, by: i64| address.checked_add_signed(isize::try_from(by).ok()?);
        let (new_data, new_end) = (to(data, front.checked_neg()?)?, to(end, back)?);
        if new_data < self.behind(behind::START)
            || new_end > self.behind(behind::LIMIT)
            || new_data > new_end
        {
            return None;
        }
        self.set_behind(behind::DATA, new_data);
        self.set_behind(behind::END, new_end);
        let fresh_front = data.saturating_sub(new_data);
        let fresh_back = new_end.saturating_sub(end.max(new_data));
        let length = self.len();
        let bytes = self.data();
        bytes.get_mut(..fresh_front.min(length))?.fill(0);
        bytes.get_mut(length.saturating_sub(fresh_back)..)?.fill(0);
        Some(())
    }
}

/// A packet in a `struct __sk_buff`.
struct Skb<'a>(Packet<'a>);

impl Skb<'_> {
    /// A 32-bit field by its offset.
    fn field(&self, offset: usize) -> u32 {
        let word = self.0.words.get(offset / 8).copied().unwrap_or_default().to_ne_bytes();
        let bytes = word.get(offset % 8..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn set_field(&mut self, offset: usize, value: u32) {
        if let Some(word) = self.0.words.get_mut(offset / 8) {
            let mut bytes = word.to_ne_bytes();
            if let Some(field) = bytes.get_mut(offset % 8..).and_then(<[u8]>::first_chunk_mut) {
                *field = value.to_ne_bytes();
            }
            *word = u64::from_ne_bytes(bytes);
        }
    }

    /// As [`Packet::resize`]. There is no metadata then.
    fn resize(&mut self, front: i64, back: i64) -> Option<()> {
        self.0.resize(front, back)?;
        let (data, length) = (self.0.behind(behind::DATA), self.0.len());
        self.0.set_behind(behind::META, data);
        self.set_field(skb::LEN, u32::try_from(length).unwrap_or(u32::MAX));
        Some(())
    }
}

impl<'a> Deref for Skb<'a> {
    type Target = Packet<'a>;

    fn deref(&self) -> &Packet<'a> {
        &self.0
    }
}

impl DerefMut for Skb<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// # Safety
/// As [`Packet::at`]: `address` is the context of a program that takes socket buffers.
unsafe fn skb<'a>(address: u64) -> Skb<'a> {
    // SAFETY: as the caller promises.
    Skb(unsafe { Packet::at(address) })
}

fn done(result: Option<()>, otherwise: u64) -> u64 {
    result.map_or(otherwise, |()| 0)
}

/// Memory that a program has named. It may be a part of the packet, so that no reference to it is
/// held.
#[derive(Clone, Copy)]
struct Named {
    start: *mut u8,
    length: usize,
}

impl Named {
    fn at(address: u64, length: u64) -> Self {
        let start = ptr::with_exposed_provenance_mut(address as usize);
        Self { start, length: length as u32 as usize }
    }

    /// Copies from a packet; zeroes what it cannot fill.
    ///
    /// # Safety
    /// It is writable; `source` is as long.
    unsafe fn load(self, source: Option<*const u8>) -> u64 {
        // SAFETY: as the caller promises; a copy of bytes may overlap.
        unsafe {
            match source {
                Some(source) => {
                    ptr::copy(source, self.start, self.length);
                    0
                }
                None => {
                    ptr::write_bytes(self.start, 0, self.length);
                    EFAULT
                }
            }
        }
    }

    /// Copies into a part of a packet, which is as long.
    ///
    /// # Safety
    /// It is readable.
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: as the caller promises; a copy of bytes may overlap.
        unsafe { ptr::copy(self.start, to, self.length) };
    }
}

/// Choosers among sockets call it too, whose context is no socket buffer.
pub(super) unsafe fn skb_load_bytes(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    let out = Named::at(r3, r4);
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { Packet::at(r1) };
    let source = packet.part(u64::from(r2 as u32), out.length);
    // SAFETY: the verifier proved that r3 points to r4 writable bytes.
    unsafe { out.load(source.map(<*mut u8>::cast_const)) }
}

pub(super) unsafe fn skb_load_bytes_relative(
    _: &Environment<'_>,
    [r1, r2, r3, r4, r5]: [u64; 5],
) -> u64 {
    let out = Named::at(r3, r4);
    // SAFETY: as in `skb_load_bytes`.
    let mut packet = unsafe { Packet::at(r1) };
    let (offset, link) = (u64::from(r2 as u32), packet.link_bytes());
    let source = match r5 as u32 {
        // The link layer's header; above it, it lies before the packet's start.
        0 if link > 0 => packet.part(offset, out.length),
        0 => {
            let header = packet.behind(behind::DATA).saturating_sub(ETHERNET);
            if header < packet.behind(behind::START) {
                None
            } else {
                let whole = ETHERNET + packet.len();
                // SAFETY: the packet's owner has left these bytes before it.
                let header = unsafe { memory_mut(header as u64, whole) };
                let part = (offset as usize)..(offset as usize).saturating_add(out.length);
                header.get_mut(part).map(<[u8]>::as_mut_ptr)
            }
        }
        1 => packet.part(offset + link as u64, out.length),
        _ => None,
    };
    // SAFETY: as in `skb_load_bytes`.
    unsafe { out.load(source.map(<*mut u8>::cast_const)) }
}

pub(super) unsafe fn skb_store_bytes(_: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    // To recompute the checksum, and to forget the hash.
    if r5 & !3 != 0 {
        return EINVAL;
    }
    let from = Named::at(r3, r4);
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    if r5 & 2 != 0 {
        packet.set_field(skb::HASH, 0);
    }
    let Some(to) = packet.part(u64::from(r2 as u32), from.length) else { return EFAULT };
    // SAFETY: the verifier proved that r3 points to r4 readable bytes.
    unsafe { from.store(to) };
    0
}

/// The checksum at an offset, and how it is to change by `from` and `to` of this many bytes.
fn replaced(packet: &mut Packet<'_>, offset: u64, [from, to]: [u64; 2], size: u64) -> Option<u16> {
    let field = packet.range(offset, 2)?;
    let sum = u16::from_ne_bytes(*field.first_chunk()?);
    Some(match size {
        0 => checksum::replace(sum, 0, to as u32),
        2 => checksum::replace(sum, u32::from(from as u16), u32::from(to as u16)),
        _ => checksum::replace(sum, from as u32, to as u32),
    })
}

pub(super) unsafe fn l3_csum_replace(_: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    let offset = u64::from(r2 as u32);
    if r5 & !0xf != 0 || !matches!(r5, 0 | 2 | 4) || r5 == 0 && r3 != 0 {
        return EINVAL;
    }
    if offset > 0xffff || offset & 1 != 0 {
        return EFAULT;
    }
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    let Some(sum) = replaced(&mut packet, offset, [r3, r4], r5) else { return EFAULT };
    packet.range(offset, 2).unwrap_or_default().copy_from_slice(&sum.to_ne_bytes());
    0
}

/// Of UDP 0 means that there is no checksum; one that comes to 0 is written as 0xffff.
const MARK_MANGLED_0: u64 = 0x20;
const MARK_ENFORCE: u64 = 0x40;

pub(super) unsafe fn l4_csum_replace(_: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    let (offset, size) = (u64::from(r2 as u32), r5 & 0xf);
    // A pseudo header (0x10) changes how hardware's sums are kept: there are none here.
    if r5 & !0x7f != 0 || !matches!(size, 0 | 2 | 4) || size == 0 && r3 != 0 {
        return EINVAL;
    }
    if offset > 0xffff || offset & 1 != 0 {
        return EFAULT;
    }
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    let Some(field) = packet.range(offset, 2) else { return EFAULT };
    let udp = r5 & MARK_MANGLED_0 != 0;
    if udp && r5 & MARK_ENFORCE == 0 && *field == [0, 0] {
        return 0;
    }
    let Some(mut sum) = replaced(&mut packet, offset, [r3, r4], size) else { return EFAULT };
    if udp && sum == 0 {
        sum = 0xffff;
    }
    packet.range(offset, 2).unwrap_or_default().copy_from_slice(&sum.to_ne_bytes());
    0
}

pub(super) unsafe fn csum_diff(_: &Environment<'_>, [r1, r2, r3, r4, r5]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved that r1 points to r2 and r3 to r4 readable bytes.
    let (from, to) = unsafe { (memory(r1, r2 as u32 as usize), memory(r3, r4 as u32 as usize)) };
    bytes::csum_diff(from, to, r5 as u32) as u64
}

/// No packet here has a sum that a device computed.
pub(super) unsafe fn csum_update(_: &Environment<'_>, _: [u64; 5]) -> u64 {
    ENOTSUPP
}

/// All of a packet is always in one piece.
pub(super) unsafe fn skb_pull_data(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let packet = unsafe { skb(r1) };
    if r2 as u32 as usize > packet.len() { ENOMEM } else { 0 }
}

pub(super) unsafe fn get_hash_recalc(_: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    if packet.field(skb::HASH) == 0 {
        let link = packet.link_bytes();
        let hash = checksum::flow_hash(packet.data().get(link..).unwrap_or_default());
        packet.set_field(skb::HASH, hash);
    }
    u64::from(packet.field(skb::HASH))
}

pub(super) unsafe fn set_hash(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    unsafe { skb(r1) }.set_field(skb::HASH, r2 as u32);
    0
}

pub(super) unsafe fn set_hash_invalid(env: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    unsafe { set_hash(env, [r1, 0, 0, 0, 0]) }
}

pub(super) unsafe fn skb_change_head(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    if r3 != 0 {
        return EINVAL;
    }
    // SAFETY: the verifier proved r1 the context.
    done(unsafe { skb(r1) }.resize(i64::from(r2 as u32), 0), EINVAL)
}

pub(super) unsafe fn skb_change_tail(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    let wanted = r2 as u32 as usize;
    if r3 != 0 || wanted < packet.link_bytes() {
        return EINVAL;
    }
    let by = wanted as i64 - packet.len() as i64;
    done(packet.resize(0, by), EINVAL)
}

/// Writes the tag that the context has into the packet, and gives the context another.
pub(super) unsafe fn skb_vlan_push(_: &Environment<'_>, [r1, r2, r3, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    if packet.field(skb::VLAN_PRESENT) != 0 {
        let tag =
            [packet.field(skb::VLAN_PROTO) as u16, (packet.field(skb::VLAN_TCI) as u16).to_be()];
        if packet.len() < ETHERNET || packet.resize(VLAN_BYTES as i64, 0).is_none() {
            return ENOMEM;
        }
        let data = packet.data();
        data.copy_within(VLAN_BYTES..VLAN_BYTES + ADDRESSES, 0);
        for (index, half) in tag.into_iter().enumerate() {
            let at = ADDRESSES + index * 2;
            data.get_mut(at..at + 2).unwrap_or_default().copy_from_slice(&half.to_ne_bytes());
        }
        packet.set_field(skb::PROTOCOL, packet.field(skb::VLAN_PROTO));
    }
    let protocol = u16::from_be(r2 as u16);
    let protocol = if VLAN.contains(&protocol) { protocol } else { VLAN[0] };
    packet.set_field(skb::VLAN_PRESENT, 1);
    packet.set_field(skb::VLAN_TCI, u32::from(r3 as u16));
    packet.set_field(skb::VLAN_PROTO, u32::from(protocol.to_be()));
    0
}

/// Takes the tag away that the context has, or the packet's outermost; the next one in the
/// packet goes into the context.
pub(super) unsafe fn skb_vlan_pop(_: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { skb(r1) };
    if packet.field(skb::VLAN_PRESENT) != 0 {
        packet.set_field(skb::VLAN_PRESENT, 0);
        packet.set_field(skb::VLAN_TCI, 0);
        packet.set_field(skb::VLAN_PROTO, 0);
    } else if take_tag(&mut packet).is_none() {
        return 0;
    }
    if let Some((protocol, tag)) = take_tag(&mut packet) {
        packet.set_field(skb::VLAN_PRESENT, 1);
        packet.set_field(skb::VLAN_TCI, u32::from(tag));
        packet.set_field(skb::VLAN_PROTO, u32::from(protocol));
    }
    0
}

/// Takes the outermost tag out of the packet: its type, in network order, and its number.
fn take_tag(packet: &mut Skb<'_>) -> Option<(u16, u16)> {
    let protocol = packet.field(skb::PROTOCOL) as u16;
    if !VLAN.contains(&u16::from_be(protocol)) || packet.len() < ETHERNET + VLAN_BYTES {
        return None;
    }
    let data = packet.data();
    let half = |data: &[u8], at: usize| {
        let bytes = data.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u16::from_ne_bytes(*bytes))
    };
    let (tag, inner) = (half(data, ETHERNET), half(data, ETHERNET + 2));
    data.copy_within(..ADDRESSES, VLAN_BYTES);
    packet.resize(-(VLAN_BYTES as i64), 0)?;
    packet.set_field(skb::PROTOCOL, u32::from(inner));
    Some((protocol, u16::from_be(tag)))
}

/// There are no control groups, routes and sockets: a packet belongs to none.
pub(super) unsafe fn none(_: &Environment<'_>, _: [u64; 5]) -> u64 {
    0
}

/// The one value of a control group's storage: where programs are run outside of any group.
pub(super) unsafe fn get_local_storage(_: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 a map.
    unsafe { map(r1) }.value_address(&[0; 4], 0) as u64
}

/// There is one network namespace, the first, which Linux gives this number.
pub(super) unsafe fn get_netns_cookie(_: &Environment<'_>, _: [u64; 5]) -> u64 {
    1
}

pub(super) unsafe fn get_socket_uid(_: &Environment<'_>, _: [u64; 5]) -> u64 {
    NOBODY
}

pub(super) unsafe fn xdp_adjust_head(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { Packet::at(r1) };
    let by = i64::from(r2 as i32);
    let metadata = packet.behind(behind::DATA) as i64 - packet.behind(behind::META) as i64;
    let left = packet.len() as i64 - by;
    let room = packet.behind(behind::DATA) as i64 - packet.behind(behind::START) as i64;
    if left < ETHERNET as i64 || room + by < metadata {
        return EINVAL;
    }
    // The metadata moves along with the packet's start.
    let meta = packet.behind(behind::META);
    let Some(moved) = meta.checked_add_signed(by as isize) else { return EINVAL };
    // SAFETY: both lie within the packet's memory, checked above.
    unsafe {
        let from = ptr::with_exposed_provenance::<u8>(meta);
        ptr::copy(from, ptr::with_exposed_provenance_mut(moved), metadata as usize);
    }
    packet.set_behind(behind::DATA, (packet.behind(behind::DATA) as i64 + by) as usize);
    packet.set_behind(behind::META, moved);
    0
}

pub(super) unsafe fn xdp_adjust_meta(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { Packet::at(r1) };
    let by = i64::from(r2 as i32);
    let (data, start) = (packet.behind(behind::DATA) as i64, packet.behind(behind::START) as i64);
    let meta = packet.behind(behind::META) as i64 + by;
    let length = data - meta;
    // Linux: whole words, and less than 32 bytes or as much as a packet's shared tail allows.
    if meta < start || meta > data || length % 4 != 0 || length > 252 {
        return EINVAL;
    }
    packet.set_behind(behind::META, meta as usize);
    0
}

pub(super) unsafe fn xdp_adjust_tail(_: &Environment<'_>, [r1, r2, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    let mut packet = unsafe { Packet::at(r1) };
    let by = i64::from(r2 as i32);
    if packet.len() as i64 + by < ETHERNET as i64 {
        return EINVAL;
    }
    done(packet.resize(0, by), EINVAL)
}

pub(super) unsafe fn xdp_get_buff_len(_: &Environment<'_>, [r1, ..]: [u64; 5]) -> u64 {
    // SAFETY: the verifier proved r1 the context.
    unsafe { Packet::at(r1) }.len() as u64
}

pub(super) unsafe fn xdp_load_bytes(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    let out = Named::at(r3, r4);
    // SAFETY: as in `skb_load_bytes`.
    let mut packet = unsafe { Packet::at(r1) };
    match packet.part(u64::from(r2 as u32), out.length) {
        // SAFETY: as in `skb_load_bytes`.
        Some(source) => unsafe { out.load(Some(source.cast_const())) },
        None => EINVAL,
    }
}

pub(super) unsafe fn xdp_store_bytes(_: &Environment<'_>, [r1, r2, r3, r4, _]: [u64; 5]) -> u64 {
    let from = Named::at(r3, r4);
    // SAFETY: as in `skb_store_bytes`.
    let mut packet = unsafe { Packet::at(r1) };
    let Some(to) = packet.part(u64::from(r2 as u32), from.length) else { return EINVAL };
    // SAFETY: as in `skb_store_bytes`.
    unsafe { from.store(to) };
    0
}
