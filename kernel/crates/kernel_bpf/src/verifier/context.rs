//! Accesses to the context: the fields that the program's type lists, or the arguments of
//! the kernel function that it is attached to.

use alloc::format;

use super::explore::Verifier;
use super::memory::Access;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::value::{Kind, Value};
use crate::insn::Reg;
use crate::prog_type::context::{ContextRule, Field, FieldKind};

impl Verifier<'_> {
    /// What a checked load from the context gives.
    pub(super) fn context_value(
        &mut self,
        offset: i32,
        size: u32,
        signed: bool,
    ) -> Result<Value, Refusal> {
        if matches!(self.env.decl.context.rule, ContextRule::Arguments) {
            return self.argument_value(offset);
        }
        let field = self.context_field(offset, size, Access::Read);
        let kind = match field.map(|field| field.kind) {
            Some(FieldKind::PacketData) => Kind::Packet,
            Some(FieldKind::PacketEnd) => Kind::PacketEnd,
            Some(FieldKind::PacketMeta) => Kind::PacketMeta,
            Some(FieldKind::Socket) => Kind::Socket,
            Some(FieldKind::FlowKeys) => Kind::FlowKeys,
            Some(FieldKind::TraceBuffer) => Kind::TraceBuffer,
            Some(FieldKind::SockCommonOrNull) => {
                let id = self.new_id();
                let socket = Value::pointer(Kind::SockCommon);
                return Ok(Value { nullable: true, id, ..socket });
            }
            Some(FieldKind::SocketOrNull) => {
                let id = self.new_id();
                let socket = Value::pointer(Kind::Socket);
                return Ok(Value { nullable: true, id, ..socket });
            }
            Some(FieldKind::Btf(name)) => {
                Kind::Btf { id: self.kernel_struct(name)?, trusted: true }
            }
            Some(FieldKind::Scalar) | None => return Ok(Value::UNKNOWN),
        };
        if signed {
            return Err(self.refuse(
                Cause::ContextAccess,
                format!("invalid bpf_context access off={offset} size={size}: sign extension of a pointer"),
            ));
        }
        Ok(Value::pointer(kind))
    }

    /// The context field that an access falls into and that allows it.
    fn context_field(&self, offset: i32, size: u32, access: Access) -> Option<&'static Field> {
        let fields: &'static [Field] = match self.env.decl.context.rule {
            ContextRule::Fields(fields) | ContextRule::Words(fields) => fields,
            ContextRule::Flat { .. } | ContextRule::Arguments => return None,
        };
        let at = u32::try_from(offset).ok()?;
        fields.iter().find(|field| {
            let (start, length) = (u32::from(field.offset), u32::from(field.size));
            let inside = at >= start && at + size <= start + length;
            let rule = if access == Access::Read { field.read } else { field.write };
            inside && rule.allows(at - start, size)
        })
    }

    pub(super) fn check_context(
        &mut self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        access: Access,
    ) -> Result<(), Refusal> {
        if pointer.offset != 0 {
            return Err(self
                .refuse(
                    Cause::ContextAccess,
                    format!(
                        "dereference of modified ctx ptr R{} off={} disallowed",
                        base as u8, pointer.offset
                    ),
                )
                .register(base)
                .hint("put the offset into the access, as a structure field has it"));
        }
        if pointer.scalar.as_constant() != Some(0) {
            return Err(self
                .refuse(
                    Cause::ContextAccess,
                    format!("variable ctx access R{} disallowed", base as u8),
                )
                .register(base));
        }
        let context = self.env.decl.context;
        let end = i64::from(offset) + i64::from(size);
        let inside = offset >= 0 && end <= i64::from(context.size);
        let aligned = offset.rem_euclid(size as i32) == 0;
        let allowed = inside
            && aligned
            && match context.rule {
                ContextRule::Flat { start, writable } => {
                    (access == Access::Read || writable) && i64::from(offset) >= i64::from(start)
                }
                ContextRule::Arguments => {
                    access == Access::Read && self.argument_allowed(offset, size)
                }
                ContextRule::Words(_) | ContextRule::Fields(_) => {
                    let whole_word = matches!(context.rule, ContextRule::Words(_))
                        && access == Access::Read
                        && size == 8;
                    whole_word
                        || self
                            .context_field(offset, size, access)
                            .is_some_and(|field| !field.privileged || self.env.privileged())
                }
            };
        if !allowed {
            let why = if !inside {
                format!("{} has {} bytes", context.name, context.size)
            } else if !aligned {
                "the offset is not a multiple of the size".into()
            } else if access == Access::Write {
                format!("this part of {} is read-only", context.name)
            } else {
                format!("{} has no such field", context.name)
            };
            return Err(self
                .refuse(
                    Cause::ContextAccess,
                    format!("invalid bpf_context access off={offset} size={size}: {why}"),
                )
                .register(base));
        }
        self.proof.max_ctx_offset = self.proof.max_ctx_offset.max(end as u32);
        Ok(())
    }
}
