//! Contexts: [`PacketContext`] for programs that look at packets and sockets, and how large any
//! other has to be.

#![forbid(unsafe_code)]

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::Range;

use crate::prog_type::context::{Context, ContextRule, Field, FieldKind};
use crate::prog_type::{self, ProgType, cgroup, skb as skb_fields, stream};
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

/// Where the words of [`behind`] begin, in bytes: behind the largest structure, whichever it is.
pub(crate) const BEHIND: usize = 224;
/// Words of every context, with those behind.
pub(crate) const WORDS: usize = BEHIND / 8 + behind::WORDS;

/// What a context's pointer to a socket points to: there are no sockets here, but where Linux has
/// one for sure, programs need not ask. They can only read it. As large as `struct bpf_sock`.
static SOCKET: [u64; 10] = [0; 10];

/// The structures that have pointers to a packet or a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Structure {
    SkBuff,
    XdpMd,
    SkMsg,
    SkReuseport,
    SkLookup,
    SockOps,
    SockAddr,
    Sockopt,
}

impl Structure {
    /// What programs of a type get; `None` for a type whose context has no pointers, or such as
    /// nothing here makes.
    fn of(prog_type: ProgType) -> Option<Self> {
        match prog_type {
            ProgType::Xdp => Some(Self::XdpMd),
            ProgType::SocketFilter
            | ProgType::SchedCls
            | ProgType::SchedAct
            | ProgType::CgroupSkb
            | ProgType::SkSkb
            | ProgType::LwtIn
            | ProgType::LwtOut
            | ProgType::LwtXmit
            | ProgType::LwtSeg6Local => Some(Self::SkBuff),
            ProgType::SkMsg => Some(Self::SkMsg),
            ProgType::SkReuseport => Some(Self::SkReuseport),
            ProgType::SkLookup => Some(Self::SkLookup),
            ProgType::SockOps => Some(Self::SockOps),
            ProgType::CgroupSockAddr => Some(Self::SockAddr),
            ProgType::CgroupSockopt => Some(Self::Sockopt),
            _ => None,
        }
    }

    /// The structure as one of the types that get it declares it. Others may have fewer fields;
    /// where they have pointers, they are the same.
    const fn declared(self) -> &'static Context {
        match self {
            Self::SkBuff => &skb_fields::SCHED_CLS,
            Self::XdpMd => &skb_fields::XDP,
            Self::SkMsg => &stream::SK_MSG,
            Self::SkReuseport => &stream::SK_REUSEPORT,
            Self::SkLookup => &stream::SK_LOOKUP,
            Self::SockOps => &stream::SOCK_OPS,
            Self::SockAddr => &cgroup::SOCK_ADDR4,
            Self::Sockopt => &cgroup::GETSOCKOPT,
        }
    }

    /// The fields that are pointers.
    fn pointers(self) -> impl Iterator<Item = &'static Field> {
        let fields = match self.declared().rule {
            ContextRule::Fields(fields) => fields,
            _ => &[],
        };
        fields.iter().filter(|field| field.kind != FieldKind::Scalar)
    }

    /// Where the number of the packet's bytes stands.
    const fn length(self) -> Option<usize> {
        match self {
            Self::SkBuff => Some(skb::LEN),
            Self::SkMsg => Some(68),
            Self::SkReuseport => Some(16),
            Self::SockOps => Some(208),
            Self::Sockopt => Some(32),
            Self::XdpMd | Self::SkLookup | Self::SockAddr => None,
        }
    }
}

/// The structure that programs of a type get which look at packets or sockets (`struct __sk_buff`,
/// `struct xdp_md`, ...), with a packet.
///
/// The fields lie as user space declares them. Where `data`, `data_end` and `data_meta` have 32
/// bits there, loads of them are replaced, when a program is prepared, by loads of whole
/// pointers that lie behind the declared fields. Pointers to sockets that may be null are null;
/// what cannot be null points to a socket of zeros.
pub struct PacketContext<'a> {
    words: [u64; WORDS],
    structure: Structure,
    packet: PhantomData<&'a mut [u8]>,
}

impl<'a> PacketContext<'a> {
    /// A context of programs of `prog_type` for a packet that cannot grow; its length is set, all
    /// other numbers are zero. `None` for a type whose context is plain bytes, or is not made here.
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
        let length = memory.get(range.clone())?.len();
        // The link layer's header is a part of what these see.
        let link = matches!(prog_type, ProgType::SchedCls | ProgType::SchedAct | ProgType::Xdp);
        let mut context = Self { words: [0; WORDS], structure, packet: PhantomData };
        let whole = memory.as_mut_ptr_range();
        let (start, limit) = (whole.start.expose_provenance(), whole.end.expose_provenance());
        let (data, end) = (start + range.start, start + range.end);
        let network = if link { data + ETHERNET.min(length) } else { data };
        for (index, address) in [data, end, data, start, limit, network].into_iter().enumerate() {
            context.set_word(BEHIND + index * 8, address);
        }
        for field in structure.pointers() {
            let address = match field.kind {
                // What has 32 bits is loaded from behind.
                _ if field.size != 8 => continue,
                FieldKind::PacketData | FieldKind::PacketMeta => data,
                FieldKind::PacketEnd => end,
                FieldKind::Socket => SOCKET.as_ptr().expose_provenance(),
                FieldKind::Scalar | FieldKind::SockCommonOrNull | FieldKind::SocketOrNull => 0,
                FieldKind::FlowKeys | FieldKind::TraceBuffer | FieldKind::Btf(_) => return None,
            };
            context.set_word(usize::from(field.offset), address);
        }
        if let Some(offset) = structure.length() {
            context.set_u32(offset, u32::try_from(length).unwrap_or(u32::MAX));
        }
        Some(context)
    }

    fn set_word(&mut self, offset: usize, address: usize) {
        if let Some(word) = self.words.get_mut(offset / 8) {
            *word = address as u64;
        }
    }

    /// The context as it would be if the memory that it was made with lay at `address`: for
    /// programs that run in another address space. `None` if there are pointers among the
    /// declared fields.
    #[must_use]
    pub fn moved_to(&self, address: u64) -> Option<Vec<u64>> {
        let null = [FieldKind::SockCommonOrNull, FieldKind::SocketOrNull];
        if self.structure.pointers().any(|field| field.size == 8 && !null.contains(&field.kind)) {
            return None;
        }
        let (declared, addresses) = self.words.split_at(BEHIND / 8);
        let start = addresses.get(behind::START).copied().unwrap_or(0);
        let moved = addresses.iter().map(|word| word.wrapping_sub(start).wrapping_add(address));
        Some(declared.iter().copied().chain(moved).collect())
    }

    /// Where the packet lies now in the memory that the context was made with.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        let behind =
            |index: usize| self.words.get(BEHIND / 8 + index).map_or(0, |word| *word as usize);
        let start = behind(behind::START);
        behind(behind::DATA).saturating_sub(start)..behind(behind::END).saturating_sub(start)
    }

    /// Whether there is a number at this offset, and no pointer.
    fn is_number(&self, offset: usize) -> bool {
        let pointer = self.structure.pointers().any(|field| {
            let start = usize::from(field.offset);
            offset < start + usize::from(field.size) && start < offset.saturating_add(4)
        });
        !pointer && offset < self.structure.declared().size as usize
    }

    /// Sets a 32-bit field by its offset in the structure, a multiple of 4. Ignored outside, and
    /// where a pointer is: only this module makes those.
    pub fn set_u32(&mut self, offset: usize, value: u32) {
        if !self.is_number(offset) {
            return;
        }
        if let Some(word) = self.words.get_mut(offset / 8) {
            let mut bytes = word.to_ne_bytes();
            if let Some(field) = bytes.get_mut(offset % 8..).and_then(<[u8]>::first_chunk_mut) {
                *field = value.to_ne_bytes();
            }
            *word = u64::from_ne_bytes(bytes);
        }
    }

    /// A 32-bit field by its offset in the structure, a multiple of 4; `None` outside, and where a
    /// pointer is.
    #[must_use]
    pub fn get_u32(&self, offset: usize) -> Option<u32> {
        let word = self.words.get(offset / 8).filter(|_| self.is_number(offset))?;
        let bytes = word.to_ne_bytes();
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
        if has_pointers(program.get()) {
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

/// Whether a program's context has pointers.
fn has_pointers<M>(program: &Program<M>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::{BEHIND, PacketContext, Structure, WORDS};
    use crate::prog_type::context::{ContextRule, FieldKind};
    use crate::prog_type::{self, ProgType};

    /// Wherever a type's context has a pointer, the structure that its programs get has it too,
    /// and one that is made.
    #[test]
    fn structures_have_the_pointers_of_every_type_that_gets_them() {
        let mut seen = 0;
        for prog_type in ProgType::ALL {
            for decl in (0..64).filter_map(|attach| prog_type::decl(prog_type, attach)) {
                let (Some(structure), ContextRule::Fields(fields)) =
                    (Structure::of(prog_type), decl.context.rule)
                else {
                    continue;
                };
                assert_eq!(decl.context.name, structure.declared().name);
                assert_eq!(decl.context.size, structure.declared().size);
                assert!(decl.context.size as usize <= BEHIND);
                for field in fields.iter().filter(|field| field.kind != FieldKind::Scalar) {
                    let made = structure.pointers().any(|own| {
                        (own.offset, own.size, own.kind) == (field.offset, field.size, field.kind)
                    });
                    assert!(made, "{prog_type:?}: {}", field.name);
                    seen += 1;
                }
            }
        }
        assert!(seen > 100, "{seen} pointers");
    }

    /// What the embedder sets are numbers of the structure, wherever it tries.
    #[test]
    fn pointers_stay() {
        for prog_type in ProgType::ALL {
            let mut packet = [0; 40];
            let Some(mut context) = PacketContext::new(prog_type, &mut packet) else { continue };
            let before = context.words;
            for offset in (0..8 * WORDS + 8).chain([usize::MAX - 3, usize::MAX]) {
                context.set_u32(offset, 0x4141_4141);
            }
            let size = context.structure.declared().size as usize;
            let mut set = 0;
            for (index, (before, after)) in before.into_iter().zip(context.words).enumerate() {
                let bytes = before.to_ne_bytes().into_iter().zip(after.to_ne_bytes());
                for (offset, (before, after)) in (index * 8..).zip(bytes) {
                    let pointer = context.structure.pointers().any(|field| {
                        let start = usize::from(field.offset);
                        (start..start + usize::from(field.size)).contains(&offset)
                    });
                    assert!(
                        before == after || offset < size && !pointer,
                        "{prog_type:?}: {offset}"
                    );
                    set += usize::from(before != after);
                    let number = context.get_u32(offset / 4 * 4).is_some();
                    assert_eq!(number, offset < size && !pointer, "{prog_type:?}: {offset}");
                }
            }
            assert!(set >= 12, "{prog_type:?}: {set} bytes set");
        }
    }

    #[test]
    fn the_length_stands_in_a_number_of_its_structure() {
        use Structure::{SkBuff, SkMsg, SkReuseport, SockOps, Sockopt};
        for (structure, name) in [
            (SkBuff, "len"),
            (SkMsg, "size"),
            (SkReuseport, "len"),
            (SockOps, "skb_len"),
            (Sockopt, "optlen"),
        ] {
            let ContextRule::Fields(fields) = structure.declared().rule else { panic!() };
            let field = fields.iter().find(|field| field.name == name).unwrap();
            assert_eq!(structure.length(), Some(usize::from(field.offset)), "{name}");
        }
    }
}
