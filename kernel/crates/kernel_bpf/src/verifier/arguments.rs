//! Arguments of helpers: each register against what the declaration wants there.

use alloc::format;
use alloc::string::String;

use super::call::Arguments;
use super::explore::Verifier;
use super::fields::Accessor;
use super::memory::Access;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::value::{Kind, Value};
use crate::helper::proto::id;
use crate::helper::{Arg, HelperProto};
use crate::insn::Reg;
use crate::map::MapType;
use crate::map::bloom::MAX_FUNCTIONS;
use crate::prog_type::ProgType;

/// Linux's `BPF_MAX_VAR_SIZ`.
const MAX_SIZE: u64 = 1 << 29;

const ARGUMENT_REGS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

/// What a helper does with memory.
#[derive(Clone, Copy)]
struct Use {
    reads: bool,
    writes: bool,
}

const READS: Use = Use { reads: true, writes: false };
const WRITES: Use = Use { reads: false, writes: true };

impl Verifier<'_> {
    pub(super) fn check_arguments(&mut self, proto: &HelperProto) -> Result<Arguments, Refusal> {
        let mut found = Arguments::default();
        let mut before = Arg::Any;
        for (&arg, reg) in proto.args.iter().zip(ARGUMENT_REGS) {
            self.check_argument(proto, arg, before, reg, &mut found)?;
            before = arg;
        }
        Ok(found)
    }

    fn check_argument(
        &mut self,
        proto: &HelperProto,
        arg: Arg,
        before: Arg,
        reg: Reg,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let value = *self.read(reg)?;
        match arg {
            Arg::Any => {
                if value.is_pointer() && !self.env.privileged() {
                    return Err(self
                        .refuse(
                            Cause::PointerLeak,
                            format!("R{} leaks addr into helper function", reg as u8),
                        )
                        .register(reg));
                }
                Ok(())
            }
            Arg::Zero => {
                self.need_precise(reg);
                if value.is_zero() {
                    return Ok(());
                }
                Err(self
                    .refuse(
                        Cause::BadArgument,
                        format!(
                            "R{}: bpf_{} doesn't support non-zero flags",
                            reg as u8, proto.name
                        ),
                    )
                    .register(reg))
            }
            Arg::ConstMapPtr => match value.kind {
                Kind::MapPtr { map } if !value.nullable => {
                    if found.field_map.is_some_and(|timer| timer != map) {
                        return Err(self
                            .refuse(
                                Cause::MapMismatch,
                                "the timer pointer in R1 doesn't match the map pointer in R2"
                                    .into(),
                            )
                            .register(reg));
                    }
                    found.map = Some(map);
                    self.check_map_use(proto, found)
                }
                _ => Err(self.wrong_type(proto, reg, &value, "map_ptr")),
            },
            Arg::MapKey => {
                let size = self.map_size(proto, reg, found, true)?;
                // A word is in the helper's own cost.
                found.handles(u64::from(size.saturating_sub(8)));
                self.check_memory(proto, reg, &value, size, READS, false)?;
                // The other lookups find nothing for other reasons too.
                found.key_in_range =
                    proto.id == id::MAP_LOOKUP_ELEM && self.constant_key_in_range(&value, found);
                Ok(())
            }
            Arg::MapValueOrNull if value.is_zero() => self.null(reg),
            Arg::MapValue | Arg::MapValueOrNull => {
                let size = self.map_size(proto, reg, found, false)?;
                self.count_value(found, size);
                self.check_memory(proto, reg, &value, size, READS, false)
            }
            Arg::UninitMapValue => {
                let size = self.map_size(proto, reg, found, false)?;
                self.count_value(found, size);
                // A bloom filter is asked for the value that is there.
                let def = found.map.and_then(|map| self.env.map(map));
                let asked = def.is_some_and(|def| def.map_type == MapType::BloomFilter);
                self.check_memory(
                    proto,
                    reg,
                    &value,
                    size,
                    if asked { READS } else { WRITES },
                    false,
                )
            }
            Arg::OutU64 => {
                self.check_alignment(reg, &value, 0, 8, false)?;
                self.check_memory(proto, reg, &value, 8, WRITES, false)
            }
            // Checked with the size that follows.
            Arg::Mem | Arg::UninitMem => self.check_memory_type(proto, reg, &value),
            Arg::MemOrNull | Arg::UninitMemOrNull => {
                if value.is_zero() {
                    return self.null(reg);
                }
                self.check_memory_type(proto, reg, &value)
            }
            Arg::Size | Arg::SizeOrZero => self.check_size(proto, arg, before, reg, &value, found),
            Arg::ConstAllocSize => {
                let Some(size) = value.as_constant() else {
                    return Err(self
                        .refuse(
                            Cause::BadArgument,
                            format!(
                                "R{} is not a known constant: bpf_{} needs a fixed size",
                                reg as u8, proto.name
                            ),
                        )
                        .register(reg));
                };
                self.need_precise(reg);
                let size = u32::try_from(size).ok().filter(|&size| u64::from(size) < MAX_SIZE);
                let Some(size) = size else {
                    return Err(self
                        .refuse(Cause::BadArgument, format!("R{} is too large a size", reg as u8))
                        .register(reg));
                };
                found.allocate = Some(size);
                Ok(())
            }
            Arg::Ctx => {
                if value.kind != Kind::Ctx {
                    return Err(self.wrong_type(proto, reg, &value, "ctx"));
                }
                self.no_offset(reg, &value, "dereference of modified ctx ptr")
            }
            Arg::ReleaseRingbufMem => {
                if !matches!(value.kind, Kind::Memory { .. })
                    || value.nullable
                    || value.reference == 0
                {
                    return Err(self
                        .wrong_type(proto, reg, &value, "ringbuf_mem")
                        .hint("pass the pointer that bpf_ringbuf_reserve returned, after checking it for null"));
                }
                self.no_offset(reg, &value, "must have zero offset when passed to release func")?;
                found.released = value.reference;
                Ok(())
            }
            Arg::SockCommon => {
                self.check_socket_argument(proto, reg, &value)?;
                found.socket_reference = value.reference;
                Ok(())
            }
            Arg::ReleaseSock => {
                self.check_any_socket(proto, reg, &value)?;
                if value.reference == 0 {
                    return Err(self
                        .refuse(
                            Cause::Reference,
                            format!(
                                "R{} must be referenced when passed to release function",
                                reg as u8
                            ),
                        )
                        .register(reg));
                }
                found.released = value.reference;
                Ok(())
            }
            Arg::ConstStr => self.constant_string(reg, &value).map(|_| ()),
            Arg::Callback => match value.kind {
                Kind::Func { start } => {
                    found.callback = Some(start);
                    Ok(())
                }
                _ => Err(self.wrong_type(proto, reg, &value, "func")),
            },
            Arg::StackOrNull if value.is_zero() => self.null(reg),
            Arg::StackOrNull => match value.kind {
                Kind::Stack { .. } => Ok(()),
                _ => Err(self.wrong_type(proto, reg, &value, "fp")),
            },
            Arg::CtxOrNull if value.is_zero() => self.null(reg),
            Arg::CtxOrNull => {
                if value.kind != Kind::Ctx {
                    return Err(self.wrong_type(proto, reg, &value, "ctx"));
                }
                self.no_offset(reg, &value, "dereference of modified ctx ptr")
            }
            Arg::SockCommonOrNull if value.is_zero() => self.null(reg),
            Arg::SockCommonOrNull => self.check_socket_argument(proto, reg, &value),
            Arg::BtfSockCommon => {
                self.check_any_socket(proto, reg, &value)?;
                found.socket_reference = value.reference;
                Ok(())
            }
            Arg::BtfOrNull(_) if value.is_zero() => self.null(reg),
            Arg::Btf(name) | Arg::BtfOrNull(name) => {
                let Kind::Btf { id, trusted: true } = value.kind else {
                    return Err(self.wrong_type(proto, reg, &value, name));
                };
                if value.nullable || !self.begins_with(id, name) {
                    return Err(self.wrong_type(proto, reg, &value, name));
                }
                self.no_offset(reg, &value, "an object is passed as a whole")
            }
            Arg::OutU32 => {
                self.check_alignment(reg, &value, 0, 4, false)?;
                self.check_memory(proto, reg, &value, 4, WRITES, false)
            }
            Arg::FixedMem(size) => self.check_memory(proto, reg, &value, size, READS, false),
            Arg::MemInOut => self.check_memory_type(proto, reg, &value),
            Arg::SpinLock => self.lock_argument(proto, reg, &value),
            Arg::Timer => self.timer_argument(reg, &value, found),
            Arg::KptrField => self.kptr_argument(reg, &value, found),
            Arg::KptrValue => self.kptr_value_argument(reg, &value, found),
            Arg::UninitDynptr => self.new_dynptr_argument(reg, &value, found),
            Arg::Dynptr => self.dynptr_argument(reg, &value, false, found),
            Arg::ReleaseDynptr => self.dynptr_argument(reg, &value, true, found),
            // Only what lives as long as the program runs, and longer than the dynptr.
            Arg::DynptrMem => match value.kind {
                Kind::MapValue { .. } => self.check_memory_type(proto, reg, &value),
                _ => Err(self.wrong_type(proto, reg, &value, "map_value")),
            },
            Arg::PercpuBtf => Err(self
                .refuse(Cause::UnknownFunction, format!("bpf_{} is not supported", proto.name))
                .register(reg)),
        }
    }

    fn wrong_type(&self, proto: &HelperProto, reg: Reg, value: &Value, wanted: &str) -> Refusal {
        let or_null = if value.nullable { "_or_null" } else { "" };
        let refusal = self
            .refuse(
                if value.nullable { Cause::MayBeNull } else { Cause::BadArgument },
                format!(
                    "R{} type={}{or_null} expected={wanted} in the call of bpf_{}",
                    reg as u8,
                    self.kind_name(value),
                    proto.name
                ),
            )
            .register(reg);
        if value.nullable { refusal.hint("check the pointer for null first") } else { refusal }
    }

    fn no_offset(&self, reg: Reg, value: &Value, what: &str) -> Result<(), Refusal> {
        if value.offset == 0 && value.scalar.as_constant() == Some(0) {
            return Ok(());
        }
        Err(self
            .refuse(
                Cause::BadArgument,
                format!("R{} off={} disallowed: {what}", reg as u8, value.offset),
            )
            .register(reg))
    }

    /// A socket, also one of the kernel's own structures, which begin with the common part.
    fn check_any_socket(
        &self,
        proto: &HelperProto,
        reg: Reg,
        value: &Value,
    ) -> Result<(), Refusal> {
        match value.kind {
            Kind::Btf { id, trusted: true }
                if !value.nullable && self.begins_with(id, "sock_common") =>
            {
                self.no_offset(reg, value, "an object is passed as a whole")
            }
            _ => self.check_socket_argument(proto, reg, value),
        }
    }

    fn check_socket_argument(
        &self,
        proto: &HelperProto,
        reg: Reg,
        value: &Value,
    ) -> Result<(), Refusal> {
        let socket = matches!(value.kind, Kind::SockCommon | Kind::Socket | Kind::TcpSock);
        if !socket || value.nullable {
            return Err(self.wrong_type(proto, reg, value, "sock_common, sock, tcp_sock"));
        }
        self.no_offset(reg, value, "a socket is passed as a whole")
    }

    /// The helper copies a value of the map in the arguments, or a bloom filter computes each of
    /// its hashes over it.
    fn count_value(&self, found: &mut Arguments, size: u32) {
        let def = found.map.and_then(|map| self.env.map(map));
        let bloom = def.is_some_and(|def| def.map_type == MapType::BloomFilter);
        let times = if bloom { u64::from(MAX_FUNCTIONS) } else { 1 };
        found.handles(u64::from(size) * times);
    }

    /// The key or value size of the map in the arguments.
    fn map_size(
        &self,
        proto: &HelperProto,
        reg: Reg,
        found: &Arguments,
        key: bool,
    ) -> Result<u32, Refusal> {
        let def = found.map.and_then(|map| self.env.map(map));
        let Some(def) = def else {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("invalid map_ptr in the call of bpf_{}", proto.name),
                )
                .register(reg));
        };
        Ok(if key { def.key_size } else { def.value_size })
    }

    fn check_size(
        &mut self,
        proto: &HelperProto,
        arg: Arg,
        memory: Arg,
        reg: Reg,
        size: &Value,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let number = reg as u8;
        let Some(memory_reg) = (reg as u8).checked_sub(1).and_then(Reg::new) else {
            return Err(self.wrong_type(proto, reg, size, "size"));
        };
        if !size.is_scalar() {
            return Err(self.wrong_type(proto, reg, size, "scalar"));
        }
        let range = &size.scalar.r64;
        let refuse = |this: &Self, message: String| {
            Err(this.refuse(Cause::BadArgument, message).register(reg).hint(
                "bound the size on both sides, for instance `if (size > sizeof(buffer)) return 0;` with an unsigned size",
            ))
        };
        if range.smin < 0 {
            return refuse(self, format!("R{number} min value is negative: a size may not be"));
        }
        let zero_allowed = arg == Arg::SizeOrZero;
        if range.umin == 0 && !zero_allowed {
            return refuse(
                self,
                format!("R{number} invalid zero-sized read: u64=[{},{}]", range.umin, range.umax),
            );
        }
        if range.umax >= MAX_SIZE {
            return refuse(
                self,
                format!("R{number} unbounded memory access: the size has no upper bound"),
            );
        }
        let (most, exact) = (range.umax as u32, size.as_constant().is_some());
        let mut used = match memory {
            Arg::Mem | Arg::MemOrNull => READS,
            Arg::MemInOut | Arg::DynptrMem => Use { reads: true, writes: true },
            _ => WRITES,
        };
        // When fewer bytes may be written, the rest must hold something already.
        if !exact {
            used.reads = true;
        }
        let pointer = *self.state.reg(memory_reg);
        self.need_precise(reg);
        found.handles(u64::from(most));
        found.last_size = u64::from(most);
        self.check_memory(proto, memory_reg, &pointer, most, used, zero_allowed)
    }

    /// A number that is taken because it is null: no other may come here.
    fn null(&mut self, reg: Reg) -> Result<(), Refusal> {
        self.need_precise(reg);
        Ok(())
    }

    /// Whether a register points to memory at all.
    fn check_memory_type(
        &self,
        proto: &HelperProto,
        reg: Reg,
        value: &Value,
    ) -> Result<(), Refusal> {
        if is_memory(value) {
            return Ok(());
        }
        Err(self.wrong_type(proto, reg, value, "fp, pkt, pkt_meta, map_value, mem"))
    }

    /// Memory that a global function may read and write.
    pub(super) fn lend(&mut self, reg: Reg, value: &Value, size: u32) -> Result<(), Refusal> {
        if !is_memory(value) {
            return Err(self
                .refuse(
                    if value.nullable { Cause::MayBeNull } else { Cause::BadArgument },
                    format!(
                        "R{} type={} expected=mem: a global function takes {size} bytes there",
                        reg as u8,
                        self.kind_name(value)
                    ),
                )
                .register(reg));
        }
        let used = Use { reads: true, writes: true };
        self.use_memory(reg, value, size, used, false)
    }

    /// Memory of `size` bytes that the helper uses.
    fn check_memory(
        &mut self,
        proto: &HelperProto,
        reg: Reg,
        value: &Value,
        size: u32,
        used: Use,
        empty_allowed: bool,
    ) -> Result<(), Refusal> {
        if size == 0 && empty_allowed && value.is_zero() {
            return self.null(reg);
        }
        self.check_memory_type(proto, reg, value)?;
        let packet = matches!(value.kind, Kind::Packet | Kind::PacketMeta)
            // What a socket option's program sees there is plain memory.
            && self.env.prog_type != ProgType::CgroupSockopt;
        if packet && !takes_packet_memory(proto) {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("helper access to the packet is not allowed in bpf_{}", proto.name),
                )
                .register(reg));
        }
        self.use_memory(reg, value, size, used, empty_allowed)
    }

    fn use_memory(
        &mut self,
        reg: Reg,
        value: &Value,
        size: u32,
        used: Use,
        empty_allowed: bool,
    ) -> Result<(), Refusal> {
        match value.kind {
            Kind::Stack { frame } => {
                if size == 0 && !empty_allowed {
                    return Err(self.zero_sized(reg));
                }
                self.stack_argument(reg, value, frame, size, used.reads, used.writes)
            }
            Kind::Packet | Kind::PacketMeta => {
                if used.writes && !self.env.decl.packet_write {
                    return Err(self
                        .refuse(Cause::ReadOnly, "cannot write into packet".into())
                        .register(reg));
                }
                self.check_packet(reg, value, 0, size, empty_allowed)
            }
            _ => {
                if let Kind::MapValue { map } = value.kind {
                    self.check_fields(reg, map, value, 0, size, Accessor::Helper)?;
                }
                if size == 0 {
                    if empty_allowed {
                        return Ok(());
                    }
                    return Err(self.zero_sized(reg));
                }
                if used.reads {
                    self.check_access(reg, value, 0, size, Access::Read, None)?;
                }
                if used.writes {
                    self.check_access(reg, value, 0, size, Access::Write, None)?;
                }
                Ok(())
            }
        }
    }

    fn zero_sized(&self, reg: Reg) -> Refusal {
        self.refuse(Cause::BadArgument, format!("R{} invalid zero-sized read", reg as u8))
            .register(reg)
    }
}

/// Helpers that read memory only as bytes and may be given the packet itself.
fn takes_packet_memory(proto: &HelperProto) -> bool {
    matches!(
        proto.id,
        id::MAP_LOOKUP_ELEM
            | id::MAP_UPDATE_ELEM
            | id::MAP_DELETE_ELEM
            | id::MAP_PUSH_ELEM
            | id::MAP_POP_ELEM
            | id::MAP_PEEK_ELEM
            | id::MAP_LOOKUP_PERCPU_ELEM
            | id::CSUM_DIFF
            | id::SK_LOOKUP_TCP
            | id::SK_LOOKUP_UDP
            | id::SKC_LOOKUP_TCP
            | id::TCP_CHECK_SYNCOOKIE
            | id::TCP_GEN_SYNCOOKIE
            | id::TCP_RAW_GEN_SYNCOOKIE_IPV4
            | id::TCP_RAW_GEN_SYNCOOKIE_IPV6
            | id::TCP_RAW_CHECK_SYNCOOKIE_IPV4
            | id::TCP_RAW_CHECK_SYNCOOKIE_IPV6
    )
}

/// Whether a value points to memory, for certain.
fn is_memory(value: &Value) -> bool {
    let memory = matches!(
        value.kind,
        Kind::Stack { .. }
            | Kind::MapValue { .. }
            | Kind::MapKey { .. }
            | Kind::Lent { .. }
            | Kind::Memory { .. }
            | Kind::Packet
            | Kind::PacketMeta
    );
    memory && !value.nullable
}
