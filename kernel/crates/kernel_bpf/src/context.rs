//! Contexts: [`PacketContext`] for programs that look at packets, and how large any other has to
//! be.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

use crate::prog_type::context::{ContextRule, FieldKind};
use crate::prog_type::{self, ProgType};
use crate::program::Program;
use crate::verifier::Verified;

/// Bytes of an Ethernet header.
pub(crate) const ETHERNET: usize = 14;

/// Offsets of fields of `struct __sk_buff`.
pub(crate) mod skb {
    pub(crate) const LEN: usize = 0;
    /// In network order.
    pub(crate) const PROTOCOL: usize = 16;
    pub(crate) const VLAN_PRESENT: usize = 20;
    pub(crate) const VLAN_TCI: usize = 24;
    /// In network order.
    pub(crate) const VLAN_PROTO: usize = 28;
    pub(crate) const HASH: usize = 68;
}

/// Words behind the structure: addresses.
pub(crate) mod behind {
    /// Of the packet's first byte.
    pub(crate) const DATA: usize = 0;
    /// Behind its last.
    pub(crate) const END: usize = 1;
    /// Of the metadata before it.
    pub(crate) const META: usize = 2;
    /// Of the memory that the packet may grow into.
    pub(crate) const START: usize = 3;
    /// Behind that.
    pub(crate) const LIMIT: usize = 4;
    /// Of what the network layer begins with.
    pub(crate) const NETWORK: usize = 5;
    pub(crate) const WORDS: usize = 6;
}

/// Words of the largest context (`struct __sk_buff`), and behind it.
const WORDS: usize = 192 / 8 + behind::WORDS;

/// The structures that have pointers to a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Structure {
    SkBuff,
    XdpMd,
}

impl Structure {
    /// What programs of a type get; `None` for a type that takes no packets.
    fn of(prog_type: ProgType) -> Option<Self> {
        match prog_type {
            ProgType::Xdp => Some(Self::XdpMd),
            ProgType::SocketFilter
            | ProgType::SchedCls
            | ProgType::SchedAct
            | ProgType::CgroupSkb
            | ProgType::LwtIn
            | ProgType::LwtOut
            | ProgType::LwtXmit
            | ProgType::LwtSeg6Local => Some(Self::SkBuff),
            _ => None,
        }
    }

    /// Bytes of the declared fields.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::SkBuff => 192,
            Self::XdpMd => 24,
        }
    }
}

/// `struct __sk_buff` or `struct xdp_md` with a packet.
///
/// The fields lie as user space declares them; `data`, `data_end` and `data_meta` have 32 bits
/// there, so loads of them are replaced, when a program is prepared, by loads of whole
/// pointers that lie behind the declared fields.
pub struct PacketContext<'a> {
    words: [u64; WORDS],
    structure: Structure,
    packet: PhantomData<&'a mut [u8]>,
}

impl<'a> PacketContext<'a> {
    /// A context of programs of `prog_type` for a packet that cannot grow; `len` is set, all
    /// other fields are zero. `None` for a type that takes no packets.
    #[must_use]
    pub fn new(prog_type: ProgType, packet: &'a mut [u8]) -> Option<Self> {
        let length = packet.len();
        Self::with_room(prog_type, packet, 0..length)
    }

    /// As [`PacketContext::new`], for the packet at `range` of `memory`, which helpers may let
    /// grow into the rest of it. `None`, too, for a range that is not there.
    #[must_use]
    pub fn with_room(
        prog_type: ProgType,
        memory: &'a mut [u8],
        range: Range<usize>,
    ) -> Option<Self> {
        let structure = Structure::of(prog_type)?;
        let size = structure.bytes();
        let packet = memory.get_mut(range.clone())?;
        let length = packet.len();
        // The link layer's header is a part of what these see.
        let link = matches!(prog_type, ProgType::SchedCls | ProgType::SchedAct | ProgType::Xdp);
        let mut context = Self { words: [0; WORDS], structure, packet: PhantomData };
        let whole = memory.as_mut_ptr_range();
        let (start, limit) = (whole.start.expose_provenance(), whole.end.expose_provenance());
        let (data, end) = (start + range.start, start + range.end);
        let network = if link { data + ETHERNET.min(length) } else { data };
        for (index, address) in [data, end, data, start, limit, network].into_iter().enumerate() {
            if let Some(word) = context.words.get_mut(size / 8 + index) {
                *word = address as u64;
            }
        }
        if structure == Structure::SkBuff {
            context.set_u32(skb::LEN, u32::try_from(length).unwrap_or(u32::MAX));
        }
        Some(context)
    }

    /// The context as it would be if the memory that it was made with lay at `address`: for
    /// programs that run in another address space.
    #[must_use]
    pub fn moved_to(&self, address: u64) -> Vec<u64> {
        let (declared, addresses) = self.words.split_at(self.structure.bytes() / 8);
        let start = addresses.get(behind::START).copied().unwrap_or(0);
        let moved = addresses.iter().map(|word| word.wrapping_sub(start).wrapping_add(address));
        declared.iter().copied().chain(moved.take(behind::WORDS)).collect()
    }

    /// Where the packet lies now in the memory that the context was made with.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let behind = |index: usize| {
            self.words.get(self.structure.bytes() / 8 + index).map_or(0, |word| *word as usize)
        };
        let start = behind(behind::START);
        behind(behind::DATA).saturating_sub(start)..behind(behind::END).saturating_sub(start)
    }

    /// Sets a 32-bit field by its offset in the structure, a multiple of 4; ignored outside.
    pub fn set_u32(&mut self, offset: usize, value: u32) {
        // The pointers behind the structure are not to be set.
        if offset < self.structure.bytes()
            && let Some(word) = self.words.get_mut(offset / 8)
        {
            let mut bytes = word.to_ne_bytes();
            if let Some(field) = bytes.get_mut(offset % 8..).and_then(<[u8]>::first_chunk_mut) {
                *field = value.to_ne_bytes();
            }
            *word = u64::from_ne_bytes(bytes);
        }
    }

    /// A 32-bit field by its offset in the structure, a multiple of 4.
    #[must_use]
    pub fn get_u32(&self, offset: usize) -> Option<u32> {
        let bytes = self.words.get(offset / 8)?.to_ne_bytes();
        bytes.get(offset % 8..)?.first_chunk().map(|field| u32::from_ne_bytes(*field))
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }
}

/// What a program may be run with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ContextSize {
    /// As many bytes, or more.
    Bytes(usize),
    /// A packet in this structure.
    Packet(Structure),
    /// Pointers to objects, which nothing here makes.
    Objects,
    /// Whatever the caller says: nobody verified the program.
    #[cfg(any(test, feature = "trusted-programs"))]
    Unknown,
}

impl ContextSize {
    /// What a program was proved to access.
    pub(crate) fn of<M>(program: &Verified<Program<M>>) -> Self {
        if takes_packet(program.get()) {
            return Structure::of(program.prog_type).map_or(Self::Objects, Self::Packet);
        }
        Self::Bytes(program.proof().max_ctx_offset as usize)
    }

    /// In bytes; 0 for a packet's context, which is always whole.
    pub(crate) fn least(self) -> usize {
        if let Self::Bytes(least) = self { least } else { 0 }
    }

    /// Whether the program may be run with these bytes.
    #[inline]
    pub(crate) fn allows(self, context: &[u8]) -> bool {
        match self {
            Self::Bytes(least) => context.len() >= least,
            Self::Packet(_) | Self::Objects => false,
            #[cfg(any(test, feature = "trusted-programs"))]
            Self::Unknown => true,
        }
    }

    /// Whether the program may be run with this packet.
    #[inline]
    pub(crate) fn takes(self, context: &PacketContext<'_>) -> bool {
        match self {
            Self::Packet(structure) => structure == context.structure,
            Self::Bytes(_) | Self::Objects => false,
            #[cfg(any(test, feature = "trusted-programs"))]
            Self::Unknown => true,
        }
    }
}

/// Whether a program's context has pointers to a packet.
fn takes_packet<M>(program: &Program<M>) -> bool {
    let decl = prog_type::decl(program.prog_type, program.expected_attach_type);
    decl.is_none_or(|decl| match decl.context.rule {
        ContextRule::Flat { .. } => false,
        ContextRule::Words(_) => false,
        ContextRule::Arguments => true,
        ContextRule::Fields(fields) => {
            decl.context.name == "struct __sk_buff"
                || fields.iter().any(|field| field.kind != FieldKind::Scalar)
        }
    })
}
