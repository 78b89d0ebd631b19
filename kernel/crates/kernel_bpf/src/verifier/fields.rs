//! Parts of map values that have rules of their own: spin locks, timers and pointers to
//! kernel objects. They are reached through helpers; loads and stores must leave locks and
//! timers alone, and treat a kernel pointer as a whole.

use alloc::format;
use alloc::string::String;

use super::call::Arguments;
use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::Lock;
use super::value::{INNER_MAP, Kind, Value};
use crate::helper::HelperProto;
use crate::helper::proto::id;
use crate::insn::{Operand, Reg};
use crate::map::KernelPointer;
use crate::prog_type::ProgType;

/// Bytes of `struct bpf_spin_lock`.
const SPIN_LOCK: u32 = 4;
/// Bytes of `struct bpf_timer`.
const TIMER: u32 = 16;
/// Bytes of a kernel pointer.
const POINTER: u32 = 8;

/// Who accesses a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accessor {
    Load,
    Store(Operand),
    Atomic,
    Helper,
}

impl Verifier<'_> {
    /// Whether programs of this type may use a map with such values.
    pub(super) fn check_map_fields(&self, map: u32) -> Result<(), Refusal> {
        let Some(info) = self.env.map_info(map) else { return Ok(()) };
        let tracing = matches!(
            self.env.prog_type,
            ProgType::Kprobe
                | ProgType::Tracepoint
                | ProgType::PerfEvent
                | ProgType::RawTracepoint
                | ProgType::RawTracepointWritable
        );
        let refuse = |message: &str| Err(self.refuse(Cause::MapMismatch, message.into()));
        if info.fields.spin_lock.is_some() {
            if self.env.prog_type == ProgType::SocketFilter {
                return refuse("socket filter progs cannot use bpf_spin_lock yet");
            }
            if tracing {
                return refuse("tracing progs cannot use bpf_spin_lock yet");
            }
        }
        if info.fields.timer.is_some() && tracing {
            return refuse("tracing progs cannot use bpf_timer yet");
        }
        Ok(())
    }

    /// Checks an access to a map's value against its fields; a kernel pointer, when it is
    /// one that is accessed.
    pub(super) fn check_fields(
        &mut self,
        base: Reg,
        map: u32,
        pointer: &Value,
        offset: i32,
        size: u32,
        accessor: Accessor,
    ) -> Result<Option<usize>, Refusal> {
        let fields = self.env.fields(map);
        let pointers = self.env.map_info(map).map_or(&[][..], |info| &info.pointers);
        if fields.is_empty() && pointers.is_empty() {
            return Ok(None);
        }
        let fixed = i64::from(pointer.offset) + i64::from(offset);
        let range = &pointer.scalar.r64;
        let (low, high) = match pointer.scalar.as_constant() {
            Some(x) => (x as i64, x as i64),
            None => (range.smin, range.smax),
        };
        let low = low.saturating_add(fixed);
        let high = high.saturating_add(fixed).saturating_add(i64::from(size));
        let touches = |at: u32, bytes: u32| low < i64::from(at + bytes) && i64::from(at) < high;
        let refuse = |message: String| Err(self.refuse(Cause::OutOfBounds, message).register(base));
        if fields.spin_lock.is_some_and(|at| touches(at, SPIN_LOCK)) {
            return refuse("bpf_spin_lock cannot be accessed directly by load/store".into());
        }
        if fields.timer.is_some_and(|at| touches(at, TIMER)) {
            return refuse("bpf_timer cannot be accessed directly by load/store".into());
        }
        let Some(index) = pointers.iter().position(|field| touches(field.offset, POINTER)) else {
            return Ok(None);
        };
        let field = &pointers[index];
        if accessor == Accessor::Helper {
            return refuse("kptr cannot be accessed indirectly by helper".into());
        }
        if accessor == Accessor::Atomic {
            return refuse("kptr in map can only be accessed by plain loads and stores".into());
        }
        if pointer.scalar.as_constant().is_none() {
            return refuse("kptr access cannot have variable offset".into());
        }
        if low != i64::from(field.offset) {
            return refuse(format!("kptr access misaligned expected={} off={low}", field.offset));
        }
        if size != POINTER {
            return refuse("kptr access size must be 8 bytes".into());
        }
        let (referenced, offset) = (field.referenced, field.offset);
        match accessor {
            Accessor::Store(_) if referenced => {
                refuse("store to referenced kptr disallowed".into())
            }
            Accessor::Store(Operand::Imm(imm)) if imm != 0 => {
                refuse(format!("BPF_ST imm must be 0 when storing to kptr at off={offset}"))
            }
            Accessor::Store(Operand::Reg(src)) => {
                let value = *self.state.reg(src);
                if value.is_zero() {
                    self.need_precise(src);
                } else {
                    self.check_kptr_match(src, &value, map, index, false)?;
                }
                Ok(Some(index))
            }
            _ => Ok(Some(index)),
        }
    }

    /// What a load of a kernel pointer gives: it may be gone at any time.
    pub(super) fn loaded_kptr(&mut self, map: u32, index: usize) -> Result<Value, Refusal> {
        let id = self.kptr_type(map, index)?;
        let identity = self.new_id();
        let pointer = Value::pointer(Kind::Btf { id, trusted: false });
        Ok(Value { nullable: true, id: identity, ..pointer })
    }

    fn kptr(&self, map: u32, index: usize) -> Result<&KernelPointer, Refusal> {
        let field = self.env.map_info(map).and_then(|info| info.pointers.get(index));
        field.ok_or_else(|| self.refuse(Cause::MapMismatch, "the map has no such kptr".into()))
    }

    /// The type that a kernel pointer of a map points to.
    fn kptr_type(&self, map: u32, index: usize) -> Result<u32, Refusal> {
        let name = &self.kptr(map, index)?.target;
        self.returned_struct(name)
    }

    fn check_kptr_match(
        &self,
        reg: Reg,
        value: &Value,
        map: u32,
        index: usize,
        trusted_only: bool,
    ) -> Result<(), Refusal> {
        let wanted = self.kptr_type(map, index)?;
        let name = &self.kptr(map, index)?.target;
        let matching = match value.kind {
            Kind::Btf { id, trusted } => id == wanted && (trusted || !trusted_only),
            _ => false,
        };
        let whole = value.offset == 0 && value.scalar.as_constant() == Some(0);
        if matching && whole {
            return Ok(());
        }
        Err(self
            .refuse(
                Cause::BadArgument,
                format!(
                    "invalid kptr access, R{} type={} off={} expected=ptr_{name}",
                    reg as u8,
                    self.kind_name(value),
                    value.offset
                ),
            )
            .register(reg))
    }

    /// The map of a field that an argument points to, and where in the value.
    fn field_argument(&self, reg: Reg, value: &Value, what: &str) -> Result<(u32, i64), Refusal> {
        let number = reg as u8;
        let Kind::MapValue { map } = value.kind else {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("R{number} type={} expected=map_value", self.kind_name(value)),
                )
                .register(reg));
        };
        if value.nullable {
            return Err(self
                .refuse(
                    Cause::MayBeNull,
                    format!("R{number} type=map_value_or_null expected=map_value"),
                )
                .register(reg)
                .hint("check the pointer for null first"));
        }
        let Some(x) = value.scalar.as_constant() else {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!("R{number} doesn't have constant offset. {what} has to be at the constant offset"),
                )
                .register(reg));
        };
        Ok((map, i64::from(value.offset).saturating_add(x as i64)))
    }

    fn check_field_at(
        &self,
        reg: Reg,
        at: i64,
        field: Option<u32>,
        what: &str,
    ) -> Result<(), Refusal> {
        let message = match field {
            None => format!("the map's value has no struct {what}: its BTF must say so"),
            Some(offset) if i64::from(offset) != at => {
                format!("off {at} doesn't point to 'struct {what}' that is at {offset}")
            }
            Some(_) => return Ok(()),
        };
        Err(self.refuse(Cause::BadArgument, message).register(reg))
    }

    /// `bpf_spin_lock` and `bpf_spin_unlock`.
    pub(super) fn lock_argument(
        &mut self,
        proto: &HelperProto,
        reg: Reg,
        value: &Value,
    ) -> Result<(), Refusal> {
        let (map, at) = self.field_argument(reg, value, "bpf_spin_lock")?;
        let field = self.env.fields(map).spin_lock;
        self.check_field_at(reg, at, field, "bpf_spin_lock")?;
        if value.id == Value::SOME_ELEMENT {
            return Err(self
                .refuse(
                    Cause::Lock,
                    "which element's bpf_spin_lock it is differs from round to round of a callback"
                        .into(),
                )
                .register(reg));
        }
        let lock = Lock { map, id: value.id };
        let refuse = |message: &str| Err(self.refuse(Cause::Lock, message.into()).register(reg));
        if proto.id == id::SPIN_LOCK {
            if self.state.lock.is_some() {
                return refuse("Locking two bpf_spin_locks are not allowed");
            }
            self.state.lock = Some(lock);
        } else {
            match self.state.lock {
                None => return refuse("bpf_spin_unlock without taking a lock"),
                Some(held) if held != lock => {
                    return refuse("bpf_spin_unlock of different lock");
                }
                Some(_) => self.state.lock = None,
            }
        }
        Ok(())
    }

    /// A timer, and afterwards the map that it must lie in.
    pub(super) fn timer_argument(
        &self,
        reg: Reg,
        value: &Value,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let (map, at) = self.field_argument(reg, value, "bpf_timer")?;
        let field = self.env.fields(map).timer;
        self.check_field_at(reg, at, field, "bpf_timer")?;
        if map & INNER_MAP != 0 {
            return Err(self
                .refuse(
                    Cause::MapMismatch,
                    "timers in maps inside of maps are not supported: which map it is cannot be told".into(),
                )
                .register(reg));
        }
        found.field_map = Some(map);
        Ok(())
    }

    /// The field of `bpf_kptr_xchg`.
    pub(super) fn kptr_argument(
        &self,
        reg: Reg,
        value: &Value,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        let (map, at) = self.field_argument(reg, value, "kptr")?;
        let fields = self.env.map_info(map).map_or(&[][..], |info| &info.pointers);
        let refuse = |message: String| Err(self.refuse(Cause::BadArgument, message).register(reg));
        let Some(index) = fields.iter().position(|field| i64::from(field.offset) == at) else {
            return refuse(format!("off={at} doesn't point to kptr"));
        };
        if !fields[index].referenced {
            return refuse(format!("off={at} kptr isn't referenced kptr"));
        }
        found.kptr = Some((map, index));
        Ok(())
    }

    /// What goes into the field: null, or an object that the program holds.
    pub(super) fn kptr_value_argument(
        &mut self,
        reg: Reg,
        value: &Value,
        found: &mut Arguments,
    ) -> Result<(), Refusal> {
        if value.is_zero() {
            self.need_precise(reg);
            return Ok(());
        }
        let Some((map, index)) = found.kptr else { return Ok(()) };
        if value.nullable || value.reference == 0 {
            return Err(self
                .refuse(
                    Cause::Reference,
                    format!("R{} must be referenced when passed to release function", reg as u8),
                )
                .register(reg));
        }
        self.check_kptr_match(reg, value, map, index, true)?;
        found.released = value.reference;
        Ok(())
    }

    /// What was in the field.
    pub(super) fn kptr_out(&mut self, arguments: &Arguments) -> Result<Value, Refusal> {
        let (map, index) = arguments.kptr.unwrap_or((u32::MAX, 0));
        let id = self.kptr_type(map, index)?;
        self.acquired(Kind::Btf { id, trusted: true })
    }
}
