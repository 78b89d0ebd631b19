//! [`Value`]: what is known about the content of a register or of a spilled slot.

use super::scalar::Scalar;

/// Marks the inner map of the map with the index in the low bits.
pub(super) const INNER_MAP: u32 = 1 << 31;

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Never written on this path.
    Uninit,
    Scalar,
    /// The program's context.
    Ctx,
    /// Into the stack frame with this number.
    Stack {
        frame: u8,
    },
    /// The address of a map itself; an index, possibly with [`INNER_MAP`].
    MapPtr {
        map: u32,
    },
    /// Into a value of a map.
    MapValue {
        map: u32,
    },
    /// Into a key of a map, which a callback was given.
    MapKey {
        map: u32,
    },
    /// Into the packet.
    Packet,
    /// Into the metadata before the packet.
    PacketMeta,
    /// One past the packet's last byte.
    PacketEnd,
    /// Into memory of this size that a helper returned.
    Memory {
        size: u32,
    },
    /// Into memory of this size that the caller of a global function lends.
    Lent {
        size: u32,
    },
    SockCommon,
    Socket,
    TcpSock,
    XdpSock,
    /// The keys of the flow dissector.
    FlowKeys,
    /// The buffer of a writable tracepoint.
    TraceBuffer,
    /// A kernel object of this type of the kernel's BTF. What was read out of another
    /// object is not `trusted`: it may be stale or null, so it can be read, with a
    /// fault caught, but not be handed to the kernel.
    Btf {
        id: u32,
        trusted: bool,
    },
    /// Half of a dynptr on the stack; of a slot only.
    DynptrSlot {
        first: bool,
        ringbuf: bool,
    },
    /// An iterator over numbers on the stack; of a slot only.
    IteratorSlot {
        drained: bool,
    },
    /// A subprogram of this program, by first slot.
    Func {
        start: u32,
    },
}

/// A register's content.
///
/// For pointers `scalar` is the variable part of the offset, to which `offset` is
/// added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Null is possible (pointers only).
    pub(super) nullable: bool,
    /// In a checkpoint: its exact bounds mattered for safety later on.
    pub(super) precise: bool,
    /// For packet pointers: bytes known to be there after the point that `offset`
    /// counts from.
    pub(super) range: u16,
    /// Fixed part of a pointer's offset. Of a number with an identity: how much more it is
    /// than the number that the identity stands for.
    pub(super) offset: i32,
    /// Values with the same id (not 0) are the same number but for their offsets, or the
    /// same null-or-pointer, or packet pointers with the same variable part.
    pub(super) id: u32,
    /// The reference that this pointer holds or depends on; 0 for none.
    pub(super) reference: u32,
    pub(super) scalar: Scalar,
}

impl Value {
    /// The identity of a pointer to some element of a map, on each path perhaps another.
    pub(super) const SOME_ELEMENT: u32 = u32::MAX;

    pub(super) const UNINIT: Value = Value {
        kind: Kind::Uninit,
        nullable: false,
        precise: false,
        range: 0,
        offset: 0,
        id: 0,
        reference: 0,
        scalar: Scalar::UNKNOWN,
    };

    pub(super) const UNKNOWN: Value = Value { kind: Kind::Scalar, ..Value::UNINIT };

    pub(super) const fn scalar(scalar: Scalar) -> Value {
        Value { scalar, ..Value::UNKNOWN }
    }

    pub(super) const fn constant(x: u64) -> Value {
        Value::scalar(Scalar::constant(x))
    }

    /// A pointer without offset.
    pub(super) const fn pointer(kind: Kind) -> Value {
        Value { kind, scalar: Scalar::constant(0), ..Value::UNINIT }
    }

    pub(super) const fn is_scalar(&self) -> bool {
        matches!(self.kind, Kind::Scalar)
    }

    pub(super) const fn is_pointer(&self) -> bool {
        !matches!(self.kind, Kind::Scalar | Kind::Uninit)
    }

    pub(super) const fn is_packet(&self) -> bool {
        matches!(self.kind, Kind::Packet | Kind::PacketMeta | Kind::PacketEnd)
    }

    /// The number, when it is a scalar and only one is possible.
    pub(super) const fn as_constant(&self) -> Option<u64> {
        if self.is_scalar() { self.scalar.as_constant() } else { None }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.as_constant() == Some(0)
    }
}
