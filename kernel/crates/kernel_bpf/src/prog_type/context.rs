//! The shape of a context's access rules.

/// What a program of some type receives in r1.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// As the C program names it.
    pub name: &'static str,
    /// In bytes.
    pub size: u32,
    pub rule: ContextRule,
}

/// Which accesses are allowed.
#[derive(Clone, Copy, Debug)]
pub enum ContextRule {
    /// Any aligned read at `start` or above; writes too where `writable`.
    Flat { start: u32, writable: bool },
    /// Only whole, aligned reads of 8 bytes, except in fields listed.
    Words(&'static [Field]),
    /// Only the fields listed.
    Fields(&'static [Field]),
    /// The arguments of the kernel function that the program is attached to, 8 bytes
    /// each, typed by the kernel's BTF.
    Arguments,
}

/// What a read of a field gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldKind {
    Scalar,
    /// Start of the packet.
    PacketData,
    /// End of the packet.
    PacketEnd,
    /// Start of the metadata before the packet.
    PacketMeta,
    /// A pointer to the common part of a socket, or null.
    SockCommonOrNull,
    /// A pointer to a full socket.
    Socket,
    /// A pointer to a full socket, or null.
    SocketOrNull,
    /// A pointer to the keys of the flow dissector.
    FlowKeys,
    /// A pointer to the buffer of a writable tracepoint.
    TraceBuffer,
    /// A pointer to a kernel object of this type.
    Btf(&'static str),
}

/// Which sizes of access a field allows; every access is aligned to its size in the
/// context and lies within the field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    None,
    /// Exactly this many bytes.
    Exact(u8),
    /// Any power of two up to this many bytes.
    UpTo(u8),
    /// As `UpTo`, from the field's first byte on only.
    Head(u8),
    /// Either of two sizes.
    Either(u8, u8),
}

impl Access {
    /// Whether `size` bytes at `within` the field may be accessed.
    #[must_use]
    pub const fn allows(self, within: u32, size: u32) -> bool {
        match self {
            Access::None => false,
            Access::Exact(exact) => size == exact as u32,
            Access::UpTo(max) => size <= max as u32,
            Access::Head(max) => within == 0 && size <= max as u32,
            Access::Either(one, other) => size == one as u32 || size == other as u32,
        }
    }
}

/// One field, or an array of equal ones.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub name: &'static str,
    /// In bytes from the start of the context.
    pub offset: u16,
    /// In bytes.
    pub size: u16,
    pub kind: FieldKind,
    pub read: Access,
    pub write: Access,
    /// Only programs of privileged loaders may use it.
    pub privileged: bool,
}

impl Field {
    /// A read-only number that may also be read in parts.
    #[must_use]
    pub const fn scalar(name: &'static str, offset: u16, size: u16) -> Field {
        Field {
            name,
            offset,
            size,
            kind: FieldKind::Scalar,
            read: Access::UpTo(size as u8),
            write: Access::None,
            privileged: false,
        }
    }

    /// A read-only number, or array of them, read only in whole elements.
    #[must_use]
    pub const fn whole(name: &'static str, offset: u16, size: u16, element: u8) -> Field {
        Field { read: Access::Exact(element), ..Field::scalar(name, offset, size) }
    }

    /// An 8-byte field that reads as a pointer.
    #[must_use]
    pub const fn address(name: &'static str, offset: u16, kind: FieldKind) -> Field {
        Field { kind, ..Field::whole(name, offset, 8, 8) }
    }

    /// A 4-byte field that reads as a pointer.
    #[must_use]
    pub const fn pointer(name: &'static str, offset: u16, kind: FieldKind) -> Field {
        Field { kind, ..Field::whole(name, offset, 4, 4) }
    }

    /// The same field, writable by whole elements of its greatest read size.
    #[must_use]
    pub const fn writable(self) -> Field {
        let whole = match self.read {
            Access::UpTo(size) | Access::Head(size) | Access::Exact(size) => Access::Exact(size),
            Access::Either(one, other) => Access::Either(one, other),
            Access::None => Access::None,
        };
        Field { write: whole, ..self }
    }

    /// The same field, for privileged loaders only.
    #[must_use]
    pub const fn privileged(self) -> Field {
        Field { privileged: true, ..self }
    }
}
