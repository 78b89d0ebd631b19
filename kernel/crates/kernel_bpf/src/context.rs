//! Contexts: [`PacketContext`] for programs that look at packets, and how large any other has to
//! be.

#![forbid(unsafe_code)]

use core::marker::PhantomData;

use crate::prog_type::context::{ContextRule, FieldKind};
use crate::prog_type::{self, ProgType};
use crate::program::Program;
use crate::verifier::Verified;

/// Words of the largest context (`struct __sk_buff`), and of the three pointers behind it.
const WORDS: usize = (192 + 24) / 8;

/// Where the addresses of the packet's start and end lie in the context of a `struct __sk_buff`,
/// and its field `hash`.
pub(crate) const SK_BUFF_POINTERS: usize = Structure::SkBuff.bytes();
pub(crate) const SK_BUFF_HASH: usize = 68;

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
            | ProgType::LwtXmit => Some(Self::SkBuff),
            _ => None,
        }
    }

    const fn bytes(self) -> usize {
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
    /// A context of programs of `prog_type` for a packet; `len` is set, all other fields are
    /// zero. `None` for a type that takes no packets.
    #[must_use]
    pub fn new(prog_type: ProgType, packet: &'a mut [u8]) -> Option<Self> {
        let structure = Structure::of(prog_type)?;
        let size = structure.bytes();
        let mut context = Self { words: [0; WORDS], structure, packet: PhantomData };
        let range = packet.as_mut_ptr_range();
        let (start, end) = (range.start.expose_provenance(), range.end.expose_provenance());
        for (index, address) in [start, end, start].into_iter().enumerate() {
            if let Some(word) = context.words.get_mut(size / 8 + index) {
                *word = address as u64;
            }
        }
        if structure == Structure::SkBuff {
            context.set_u32(0, u32::try_from(packet.len()).unwrap_or(u32::MAX));
        }
        Some(context)
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
