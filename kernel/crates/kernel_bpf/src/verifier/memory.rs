//! Loads, stores and atomics: which memory a pointer may touch, and how.

use alloc::format;

use super::explore::Verifier;
use super::fields::Accessor;
use super::pointer::MAX_OFFSET;
use super::proof::Region;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::range::Range;
use super::value::{Kind, Value};
use crate::insn::{AtomicOp, Operand, Reg, Size, Width};
use crate::map::MapType;
use crate::prog_type::stream;

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

const BOUND_HINT: &str = "check the index or pointer against the size before the access";

impl Verifier<'_> {
    pub(super) fn load(
        &mut self,
        dst: Reg,
        base: Reg,
        offset: i16,
        size: Size,
        signed: bool,
    ) -> Result<(), Refusal> {
        let pointer = *self.read(base)?;
        self.writable(dst)?;
        let offset = i32::from(offset);
        self.check_alignment(base, &pointer, offset, size.bytes(), false)?;
        let loaded = if let Kind::Stack { frame } = pointer.kind {
            self.note_region(Region::Stack)?;
            let value = self.stack_read(base, &pointer, frame, offset, size.bytes(), true)?;
            value.unwrap_or(Value::UNKNOWN)
        } else {
            self.check_access(base, &pointer, offset, size.bytes(), Access::Read, None)?;
            let mut kptr = None;
            if let Kind::MapValue { map } = pointer.kind {
                let field =
                    self.check_fields(base, map, &pointer, offset, size.bytes(), Accessor::Load)?;
                kptr = field.map(|index| (map, index));
            }
            match kptr {
                Some((map, index)) => self.loaded_kptr(map, index)?,
                None => self.loaded_value(&pointer, offset, size.bytes(), signed)?,
            }
        };
        let mut loaded = loaded;
        if loaded.is_scalar() && size != Size::DW {
            let scalar = if signed {
                loaded.scalar.sign_extend(size.bits())
            } else {
                loaded.scalar.truncate(size.bytes())
            };
            if scalar != loaded.scalar {
                (loaded.id, loaded.offset) = (0, 0);
            }
            loaded.scalar = scalar;
        }
        if matches!(pointer.kind, Kind::MapValue { .. }) {
            // States are compared with exact pointers, so no path that was pruned loads
            // from elsewhere.
            let x = loaded.as_constant();
            let known = self.loaded.entry(self.pc).or_insert(x);
            if *known != x {
                *known = None;
            }
        }
        self.state.set(dst, loaded);
        Ok(())
    }

    /// What a checked load from other memory than the stack gives.
    fn loaded_value(
        &mut self,
        pointer: &Value,
        offset: i32,
        size: u32,
        signed: bool,
    ) -> Result<Value, Refusal> {
        match pointer.kind {
            Kind::Ctx => self.context_value(offset, size, signed),
            Kind::MapValue { map } => Ok(self.frozen_value(map, pointer, offset, size)),
            Kind::Btf { id, .. } => self.object_field(id, pointer, offset, size),
            _ => Ok(Value::UNKNOWN),
        }
    }

    /// A constant from a map that can never change.
    fn frozen_value(&self, map: u32, pointer: &Value, offset: i32, size: u32) -> Value {
        let known = pointer.scalar.as_constant().and_then(|x| {
            let at = i64::from(pointer.offset) + i64::from(offset) + x as i64;
            let mut bytes = [0u8; 8];
            let into = bytes.get_mut(..size as usize)?;
            let at = u32::try_from(at).ok()?;
            (self.env.read_frozen)(map as usize, at, into).then(|| u64::from_le_bytes(bytes))
        });
        known.map_or(Value::UNKNOWN, Value::constant)
    }

    pub(super) fn store(
        &mut self,
        base: Reg,
        offset: i16,
        size: Size,
        src: Operand,
    ) -> Result<(), Refusal> {
        if let Operand::Reg(src) = src {
            self.read(src)?;
        }
        let pointer = *self.read(base)?;
        let offset = i32::from(offset);
        self.check_alignment(base, &pointer, offset, size.bytes(), false)?;
        if let Kind::Stack { frame } = pointer.kind {
            self.note_region(Region::Stack)?;
            return self.stack_write(base, &pointer, frame, offset, size.bytes(), src);
        }
        let stored = match src {
            Operand::Reg(src) => Some(src),
            Operand::Imm(_) => None,
        };
        if pointer.kind == Kind::Ctx && stored.is_none() && self.env.options.unprivileged {
            return Err(self
                .refuse(
                    Cause::ContextAccess,
                    format!("BPF_ST stores into R{} ctx is not allowed", base as u8),
                )
                .register(base));
        }
        self.check_access(base, &pointer, offset, size.bytes(), Access::Write, stored)?;
        if let Kind::MapValue { map } = pointer.kind {
            self.check_fields(base, map, &pointer, offset, size.bytes(), Accessor::Store(src))?;
        }
        Ok(())
    }

    /// Atomics are aligned always, and have no meaning on memory that is translated or
    /// copied.
    pub(super) fn check_atomic_base(
        &mut self,
        base: Reg,
        offset: i16,
        size: u32,
    ) -> Result<(), Refusal> {
        let value = *self.read(base)?;
        if matches!(value.kind, Kind::Lent { .. }) {
            // It is as much aligned as the caller's memory.
            self.lent_atomic = self.lent_atomic.max(size);
        }
        let what = match value.kind {
            Kind::Ctx => "ctx",
            Kind::Packet | Kind::PacketMeta | Kind::PacketEnd => "pkt",
            Kind::SockCommon | Kind::Socket | Kind::TcpSock | Kind::XdpSock => "sock",
            Kind::FlowKeys => "flow_keys",
            Kind::Btf { .. } => "a kernel object",
            _ => return self.check_alignment(base, &value, i32::from(offset), size, true),
        };
        Err(self
            .refuse(
                Cause::BadArgument,
                format!("BPF_ATOMIC stores into R{} {what} is not allowed", base as u8),
            )
            .register(base))
    }

    pub(super) fn atomic(
        &mut self,
        op: AtomicOp,
        width: Width,
        base: Reg,
        offset: i16,
        src: Reg,
    ) -> Result<(), Refusal> {
        self.read(src)?;
        let pointer = *self.read(base)?;
        if op == AtomicOp::CmpXchg {
            self.read(Reg::R0)?;
            self.no_pointer_in_memory(Reg::R0, "mem")?;
        }
        self.no_pointer_in_memory(src, "mem")?;
        let size = if width == Width::W32 { 4 } else { 8 };
        self.check_atomic_base(base, offset, size)?;
        let fetched = op.fetched_into(src);
        if let Some(reg) = fetched {
            self.writable(reg)?;
        }
        let offset = i32::from(offset);
        let mut old = Value::UNKNOWN;
        if let Kind::Stack { frame } = pointer.kind {
            self.note_region(Region::Stack)?;
            // An address must not reach the register as a number.
            self.stack_read(base, &pointer, frame, offset, size, false)?;
            let wanted = fetched.is_some();
            let read = self.stack_read(base, &pointer, frame, offset, size, wanted)?;
            old = read.unwrap_or(Value::UNKNOWN);
            self.stack_clobber(base, &pointer, frame, offset, size)?;
        } else {
            self.check_access(base, &pointer, offset, size, Access::Read, None)?;
            self.check_access(base, &pointer, offset, size, Access::Write, None)?;
            if let Kind::MapValue { map } = pointer.kind {
                self.check_fields(base, map, &pointer, offset, size, Accessor::Atomic)?;
            }
        }
        if let Some(reg) = fetched {
            if old.is_scalar() && size < 8 {
                old = Value::scalar(old.scalar.truncate(size));
            }
            self.state.set(reg, old);
        }
        Ok(())
    }

    /// Unprivileged programs may not put addresses where user space can read them.
    pub(super) fn no_pointer_in_memory(&self, reg: Reg, into: &str) -> Result<(), Refusal> {
        if !self.env.privileged() && self.state.reg(reg).is_pointer() {
            return Err(self
                .refuse(Cause::PointerLeak, format!("R{} leaks addr into {into}", reg as u8))
                .register(reg)
                .hint("store a number, not an address"));
        }
        Ok(())
    }

    /// Stack accesses and `always` those of atomics are aligned; others when the loader
    /// asks for it.
    pub(super) fn check_alignment(
        &self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        always: bool,
    ) -> Result<(), Refusal> {
        let stack = matches!(pointer.kind, Kind::Stack { .. });
        let asked = (always || self.env.options.strict_alignment) && pointer.is_pointer();
        if size == 1 || !(stack || asked) {
            return Ok(());
        }
        // Packets start two bytes after a word boundary on some machines.
        let bias = if pointer.is_packet() { 2 } else { 0 };
        let fixed = i64::from(pointer.offset) + i64::from(offset) + bias;
        let at = pointer.scalar.bits.add(super::scalar::tnum::Tnum::constant(fixed as u64));
        if (at.value | at.mask) & u64::from(size - 1) == 0 {
            return Ok(());
        }
        let what = if stack { "stack" } else { self.kind_name(pointer) };
        Err(self
            .refuse(Cause::Misaligned, format!("misaligned {what} access off {fixed} size {size}"))
            .register(base)
            .hint("the offset must be a multiple of the access size"))
    }

    /// Whether `size` bytes at `offset` from a pointer, not into the stack, may be
    /// accessed.
    pub(super) fn check_access(
        &mut self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        access: Access,
        stored: Option<Reg>,
    ) -> Result<(), Refusal> {
        if pointer.nullable {
            return Err(self
                .refuse(
                    Cause::MayBeNull,
                    format!(
                        "R{} invalid mem access '{}_or_null': the pointer may be null",
                        base as u8,
                        self.kind_name(pointer)
                    ),
                )
                .register(base)
                .hint("check the pointer for null first"));
        }
        let leaks = |this: &Self, into: &str| {
            stored.map_or(Ok(()), |stored| this.no_pointer_in_memory(stored, into))
        };
        match pointer.kind {
            Kind::MapValue { map } => {
                if access == Access::Write {
                    leaks(self, "map")?;
                }
                self.check_map_direction(base, map, access)?;
                let size_of_value = self.env.map(map).map_or(0, |def| def.value_size);
                self.note_region(Region::MapValue)?;
                self.check_extent(base, pointer, offset, size, size_of_value, false)
            }
            Kind::MapKey { map } => {
                if access == Access::Write {
                    return Err(self
                        .refuse(
                            Cause::ReadOnly,
                            format!("write to change key R{} not allowed", base as u8),
                        )
                        .register(base));
                }
                let size_of_key = self.env.map(map).map_or(0, |def| def.key_size);
                self.note_region(Region::Memory)?;
                self.check_extent(base, pointer, offset, size, size_of_key, false)
            }
            Kind::Memory { size: extent } => {
                if access == Access::Write {
                    leaks(self, "mem")?;
                }
                self.note_region(Region::Memory)?;
                self.check_extent(base, pointer, offset, size, extent, false)
            }
            Kind::Lent { size: extent } => {
                if access == Access::Write {
                    leaks(self, "mem")?;
                    if self.is_number_of_iterator(pointer) {
                        return Err(self
                            .refuse(Cause::ReadOnly, "cannot write into rdonly_mem".into())
                            .register(base)
                            .hint("the iterator counts with it; copy the number"));
                    }
                }
                // It lies wherever the caller has it.
                self.note_region(Region::Mixed)?;
                self.check_extent(base, pointer, offset, size, extent, false)
            }
            Kind::Ctx => {
                if access == Access::Write {
                    leaks(self, "ctx")?;
                }
                self.note_region(Region::Context)?;
                self.check_context(base, pointer, offset, size, access)
            }
            Kind::Packet | Kind::PacketMeta => {
                if access == Access::Write {
                    if !self.env.decl.packet_write {
                        return Err(self
                            .refuse(Cause::ReadOnly, "cannot write into packet".into())
                            .register(base));
                    }
                    leaks(self, "packet")?;
                    self.proof.writes_packet = true;
                }
                self.note_region(Region::Packet)?;
                self.check_packet(base, pointer, offset, size, false)
            }
            Kind::SockCommon | Kind::Socket | Kind::TcpSock | Kind::XdpSock => {
                self.note_region(Region::Object)?;
                self.check_socket(base, pointer, offset, size, access)
            }
            Kind::FlowKeys => {
                if access == Access::Write {
                    leaks(self, "flow keys")?;
                }
                self.note_region(Region::Object)?;
                self.check_extent(base, pointer, offset, size, stream::FLOW_KEYS_SIZE, false)
            }
            Kind::TraceBuffer => {
                self.note_region(Region::Object)?;
                self.check_trace_buffer(base, pointer, offset, size)
            }
            Kind::Btf { id, .. } => {
                self.note_region(Region::Object)?;
                self.proof.object_load.get_or_insert(self.pc as u32);
                self.check_object(base, id, pointer, offset, size, access)
            }
            Kind::Scalar => Err(self
                .refuse(
                    Cause::NotAPointer,
                    format!(
                        "R{} invalid mem access 'scalar': a number is used as an address",
                        base as u8
                    ),
                )
                .register(base)
                .hint(
                    "read kernel or user memory with bpf_probe_read_kernel or bpf_probe_read_user",
                )),
            _ => Err(self
                .refuse(
                    Cause::NotAPointer,
                    format!("R{} invalid mem access '{}'", base as u8, self.kind_name(pointer)),
                )
                .register(base)),
        }
    }

    fn check_map_direction(&self, base: Reg, map: u32, access: Access) -> Result<(), Refusal> {
        let Some(def) = self.env.map(map) else { return Ok(()) };
        match access {
            Access::Write if !def.program_may_write() => Err(self
                .refuse(
                    Cause::ReadOnly,
                    format!("write into map forbidden, value_size={}", def.value_size),
                )
                .register(base)
                .hint("the map (or .rodata) is read-only for programs")),
            Access::Read if !def.program_may_read() => Err(self
                .refuse(
                    Cause::WriteOnly,
                    format!("read from map forbidden, value_size={}", def.value_size),
                )
                .register(base)),
            _ => Ok(()),
        }
    }

    /// Whether `size` bytes from the pointer on lie within memory of `extent` bytes.
    pub(super) fn check_extent(
        &self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        extent: u32,
        empty_allowed: bool,
    ) -> Result<(), Refusal> {
        let number = base as u8;
        let fixed = i64::from(pointer.offset) + i64::from(offset);
        let Range { smin, smax, .. } = pointer.scalar.r64;
        let refuse =
            |message| Err(self.refuse(Cause::OutOfBounds, message).register(base).hint(BOUND_HINT));
        let fits = |at: i64| {
            at >= 0 && (size > 0 || empty_allowed) && at + i64::from(size) <= i64::from(extent)
        };
        if let Some(x) = pointer.scalar.as_constant() {
            let at = fixed.saturating_add(x as i64);
            if at.saturating_add(i64::from(size)) < i64::MAX && fits(at) {
                return Ok(());
            }
            let what = self.kind_name(pointer);
            return refuse(format!(
                "invalid access to {what}: {size} bytes at offset {at}, and it has {extent} bytes (value_size={extent} off={at} size={size})"
            ));
        }
        if smin < 0 && (smin <= -MAX_OFFSET || smin + fixed < 0) {
            return refuse(format!(
                "R{number} min value is negative: the offset may be as low as {}",
                smin.saturating_add(fixed)
            ));
        }
        if smin >= MAX_OFFSET || !fits(smin + fixed) {
            return refuse(format!(
                "R{number} min value is outside of the allowed memory range: offset {} of {extent} bytes",
                smin.saturating_add(fixed)
            ));
        }
        if smax >= MAX_OFFSET {
            return refuse(format!(
                "R{number} unbounded memory access: the offset has no upper bound"
            ));
        }
        if !fits(smax + fixed) {
            return refuse(format!(
                "R{number} max value is outside of the allowed memory range: {size} bytes at offset up to {} of {extent} bytes",
                smax + fixed
            ));
        }
        Ok(())
    }

    pub(super) fn check_packet(
        &self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        empty_allowed: bool,
    ) -> Result<(), Refusal> {
        let number = base as u8;
        if pointer.scalar.r64.smin < 0 {
            return Err(self
                .refuse(
                    Cause::OutOfBounds,
                    format!(
                        "R{number} min value is negative: the packet offset may be before its start"
                    ),
                )
                .register(base));
        }
        let at = i64::from(pointer.offset) + i64::from(offset);
        let end = at + i64::from(size);
        if at < 0 || end > i64::from(pointer.range) || (size == 0 && !empty_allowed) {
            return Err(self
                .refuse(
                    Cause::OutOfBounds,
                    format!(
                        "invalid access to packet, off={at} size={size}, R{number}(id={},off={},r={}): {} bytes are known to be there",
                        pointer.id, pointer.offset, pointer.range, pointer.range
                    ),
                )
                .register(base)
                .hint("compare the pointer plus the size with data_end first"));
        }
        Ok(())
    }

    /// The address of an array map's value, as `.data` and `.rodata` are reached.
    pub(super) fn map_value_address(&mut self, index: u32, offset: u32) -> Result<Value, Refusal> {
        self.use_map(index)?;
        let Some(def) = self.env.map(index).copied() else { return Ok(Value::UNKNOWN) };
        if def.map_type != MapType::Array || def.max_entries != 1 {
            return Err(self.refuse(
                Cause::MapMismatch,
                format!(
                    "direct access to a value needs an array map with one entry, and this is {} with {}",
                    def.map_type.name(),
                    def.max_entries
                ),
            ));
        }
        if offset >= def.value_size {
            return Err(self.refuse(
                Cause::OutOfBounds,
                format!(
                    "invalid access to map value pointer, value_size={} off={offset}",
                    def.value_size
                ),
            ));
        }
        let offset = i32::try_from(offset).unwrap_or(i32::MAX);
        Ok(Value { offset, ..Value::pointer(Kind::MapValue { map: index }) })
    }
}
