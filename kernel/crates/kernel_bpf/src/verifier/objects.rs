//! Kernel objects: sockets, whose fields are tables, and structures that the kernel's BTF
//! describes.
//!
//! A program gets the latter as arguments of the function that it is attached to, or from
//! helpers; those are *trusted*. Following a pointer member gives an object that is not:
//! it can be read (the load must survive a fault), but not be handed to the kernel.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::explore::Verifier;
use super::memory::Access;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::value::{Kind, Value};
use crate::btf::{self, Btf, TypeId};
use crate::insn::Reg;
use crate::prog_type::{Target, TypeDecl, socket};
use crate::program::Program;

/// An argument of the function that a program is attached to, or its result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Argument {
    /// A number, or a pointer to something without structure.
    Number,
    Object {
        id: TypeId,
        trusted: bool,
        nullable: bool,
    },
    /// What programs may not look at, such as a structure by value.
    Hidden,
}

/// What a program with typed arguments is attached to.
#[derive(Clone, Default, Debug)]
pub(super) struct Attached {
    /// The arguments, and behind them the result where the program may see it.
    pub(super) arguments: Vec<Argument>,
    /// The function returns nothing, so the program need not either.
    pub(super) void: bool,
}

fn refuse(message: String) -> Refusal {
    Refusal::program(Cause::ProgramType, message)
}

/// Finds what a program is attached to.
pub(super) fn attached<M>(
    program: &Program<M>,
    decl: &TypeDecl,
    kernel: Option<&Btf>,
) -> Result<Attached, Refusal> {
    let kind = program.prog_type.name();
    if decl.target == Target::None {
        if program.attach_btf_id != 0 {
            return Err(refuse(format!(
                "programs of type {kind} are attached to no kernel type, so attach_btf_id must be 0"
            )));
        }
        return Ok(Attached::default());
    }
    let id = program.attach_btf_id;
    if id == 0 {
        return Err(refuse(format!(
            "programs of type {kind} must provide btf_id: the kernel function or structure that they are for"
        ))
        .hint("name it in the section, for instance `fentry/do_unlinkat`"));
    }
    let Some(btf) = kernel else {
        return Err(refuse(format!(
            "attach_btf_id {id} of a program of type {kind} cannot be resolved: there is no kernel BTF here"
        )));
    };
    let wrong = |what: &str| refuse(format!("attach_btf_id {id} is not {what}"));
    let Some(ty) = btf.get(id) else { return Err(wrong("a type of the kernel's BTF")) };
    // The prototype, and how many arguments come before those that programs see.
    let (proto, hidden) = match (decl.target, &ty.kind) {
        (Target::RawTracepoint, btf::Kind::Typedef(pointer)) => {
            if !btf.name(id).starts_with("btf_trace_") {
                return Err(wrong("a tracepoint"));
            }
            match btf.resolve(*pointer) {
                Some((_, btf::Kind::Ptr(proto))) => (*proto, 1),
                _ => return Err(wrong("a tracepoint")),
            }
        }
        (Target::Operation, btf::Kind::Struct { members, .. }) => {
            let member = members.get(program.expected_attach_type as usize);
            let pointer = member.and_then(|member| btf.resolve(member.type_id));
            match pointer {
                Some((_, btf::Kind::Ptr(proto))) => (*proto, 0),
                _ => return Err(wrong("a structure with such an operation")),
            }
        }
        (
            Target::FunctionEntry
            | Target::FunctionExit
            | Target::FunctionResult
            | Target::SecurityHook
            | Target::Iterator,
            btf::Kind::Func { proto, .. },
        ) => {
            let name = btf.name(id);
            let prefix = match decl.target {
                Target::SecurityHook => "bpf_lsm_",
                Target::Iterator => "bpf_iter_",
                _ => "",
            };
            if !name.starts_with(prefix) {
                return Err(refuse(format!("{name} is not a function of {prefix}*")));
            }
            (*proto, 0)
        }
        _ => return Err(wrong("of the kind that the program type needs")),
    };
    let Some((_, btf::Kind::FuncProto { result, params })) = btf.resolve(proto) else {
        return Err(wrong("a function"));
    };
    let trusted = !matches!(
        decl.target,
        Target::FunctionEntry | Target::FunctionExit | Target::FunctionResult
    );
    let mut arguments: Vec<Argument> = params
        .iter()
        .skip(hidden)
        .map(|param| {
            let nullable = btf.string(param.name).is_some_and(|name| name.ends_with("__nullable"))
                // An iterator's last round has no object.
                || decl.target == Target::Iterator;
            argument(btf, param.type_id, trusted, nullable)
        })
        .collect();
    let void = matches!(btf.resolve(*result), Some((_, btf::Kind::Void)));
    let sees_result =
        matches!(decl.target, Target::FunctionExit | Target::FunctionResult | Target::SecurityHook);
    if sees_result && !void {
        arguments.push(argument(btf, *result, false, true));
    }
    Ok(Attached { arguments, void })
}

fn argument(btf: &Btf, id: TypeId, trusted: bool, nullable: bool) -> Argument {
    match btf.resolve(id) {
        Some((
            _,
            btf::Kind::Int { size, .. }
            | btf::Kind::Enum { size, .. }
            | btf::Kind::Enum64 { size, .. },
        )) if *size <= 8 => Argument::Number,
        Some((_, btf::Kind::Ptr(pointee))) => match btf.resolve(*pointee) {
            Some((id, btf::Kind::Struct { .. } | btf::Kind::Union { .. })) => {
                Argument::Object { id, trusted, nullable }
            }
            Some(_) => Argument::Number,
            None => Argument::Hidden,
        },
        _ => Argument::Hidden,
    }
}

/// What a load of `size` bytes at `offset` of a structure gives: a number, or an object
/// that is not trusted.
fn member(btf: &Btf, id: TypeId, offset: u32, size: u32) -> Result<Option<TypeId>, String> {
    let (mut id, mut offset) = (id, offset);
    // Types are not nested deeper than this (`btf::parse` checks it).
    for _ in 0..64 {
        let end = u64::from(offset) + u64::from(size);
        match btf.resolve(id).map(|(id, kind)| (id, kind.clone())) {
            Some((
                own,
                btf::Kind::Struct { size: whole, members }
                | btf::Kind::Union { size: whole, members },
            )) => {
                if end > u64::from(whole) {
                    return Err(format!(
                        "access beyond struct {} at off {offset} size {size}",
                        btf.name(own)
                    ));
                }
                let found = members.iter().find_map(|member| {
                    let start = member.bit_offset / 8;
                    let bytes = if member.bit_size != 0 {
                        (member.bit_offset % 8 + member.bit_size).div_ceil(8)
                    } else {
                        btf.size_of(member.type_id)?
                    };
                    let inside = offset >= start
                        && end
                            <= u64::from(start)
                                + u64::from(bytes.max(u32::from(member.bit_size != 0) * size));
                    inside.then_some((member, start))
                });
                let Some((found, start)) = found else {
                    return Err(format!(
                        "cannot access {size} bytes at off {offset} of struct {}: no member is there",
                        btf.name(own)
                    ));
                };
                if found.bit_size != 0 {
                    return Ok(None);
                }
                offset -= start;
                id = found.type_id;
            }
            Some((_, btf::Kind::Array { element, .. })) => {
                let bytes = btf.size_of(element).unwrap_or(0);
                if bytes == 0 {
                    return Err(format!("cannot access an array of nothing at off {offset}"));
                }
                offset %= bytes;
                id = element;
            }
            Some((_, btf::Kind::Ptr(pointee))) => {
                if offset != 0 || size != 8 {
                    return Ok(None);
                }
                return Ok(match btf.resolve(pointee) {
                    Some((id, btf::Kind::Struct { .. } | btf::Kind::Union { .. })) => Some(id),
                    _ => None,
                });
            }
            Some(_) => return Ok(None),
            None => return Err(format!("type {id} cannot be followed")),
        }
    }
    Err(format!("type {id} is nested too deeply"))
}

impl Verifier<'_> {
    /// The kernel's structure of a name, for a pointer that a helper returns. Without the
    /// kernel's BTF it stands for itself: it can be handed on, but nothing in it be read.
    pub(super) fn returned_struct(&self, name: &str) -> Result<TypeId, Refusal> {
        if self.env.options.kernel_btf.is_none()
            && let Some(index) = self.opaque().position(|known| known == name)
        {
            return Ok(OPAQUE | index as u32);
        }
        self.kernel_struct(name)
    }

    /// Structures that are known by name only: kinds of sockets, the task, and what maps point
    /// to.
    fn opaque(&self) -> impl Iterator<Item = &str> {
        let targets = self.env.maps.iter().flat_map(|map| &map.pointers);
        OPAQUE_SOCKETS.into_iter().chain([TASK]).chain(targets.map(|field| &*field.target))
    }

    /// The kernel's structure of a name.
    pub(super) fn kernel_struct(&self, name: &str) -> Result<TypeId, Refusal> {
        let found = self.env.options.kernel_btf.and_then(|btf| {
            btf.iter().find(|(id, ty)| {
                matches!(ty.kind, btf::Kind::Struct { .. } | btf::Kind::Union { .. })
                    && btf.name(*id) == name
            })
        });
        found.map(|(id, _)| id).ok_or_else(|| {
            self.refuse(
                Cause::UnknownFunction,
                format!("struct {name} is needed from the kernel's BTF, which does not have it"),
            )
        })
    }

    /// Whether a structure is the one of this name, or begins with it.
    pub(super) fn begins_with(&self, id: TypeId, name: &str) -> bool {
        if id & OPAQUE != 0 {
            let index = (id & !OPAQUE) as usize;
            return self.opaque().nth(index) == Some(name)
                || (name == "sock_common" && index < OPAQUE_SOCKETS.len());
        }
        let Some(btf) = self.env.options.kernel_btf else { return false };
        let mut id = id;
        for _ in 0..64 {
            if btf.name(id) == name {
                return true;
            }
            let first = match btf.resolve(id) {
                Some((_, btf::Kind::Struct { members, .. })) => members.first().copied(),
                _ => None,
            };
            match first.filter(|member| member.bit_offset == 0 && member.bit_size == 0) {
                Some(member) => match btf.resolve(member.type_id) {
                    Some((next, btf::Kind::Struct { .. })) => id = next,
                    _ => return false,
                },
                None => return false,
            }
        }
        false
    }

    fn argument_at(&self, offset: i32) -> Option<Argument> {
        let index = usize::try_from(offset).ok()? / 8;
        self.env.attached.arguments.get(index).copied()
    }

    /// Whether an argument may be read: objects whole only.
    pub(super) fn argument_allowed(&self, offset: i32, size: u32) -> bool {
        match self.argument_at(offset) {
            Some(Argument::Number) => offset % 8 + size as i32 <= 8,
            Some(Argument::Object { .. }) => offset % 8 == 0 && size == 8,
            Some(Argument::Hidden) | None => false,
        }
    }

    pub(super) fn argument_value(&mut self, offset: i32) -> Result<Value, Refusal> {
        Ok(match self.argument_at(offset) {
            Some(Argument::Object { id, trusted, nullable }) => {
                let pointer = Value::pointer(Kind::Btf { id, trusted });
                // What is not trusted may be null at any time, and is read all the same.
                if nullable && trusted {
                    Value { nullable, id: self.new_id(), ..pointer }
                } else {
                    pointer
                }
            }
            _ => Value::UNKNOWN,
        })
    }

    pub(super) fn check_object(
        &self,
        base: Reg,
        id: TypeId,
        pointer: &Value,
        offset: i32,
        size: u32,
        access: Access,
    ) -> Result<(), Refusal> {
        let name = self.env.options.kernel_btf.map_or("", |btf| btf.name(id));
        let number = base as u8;
        if access == Access::Write {
            return Err(self
                .refuse(
                    Cause::ReadOnly,
                    format!("R{number}: only read is supported of struct {name}"),
                )
                .register(base));
        }
        self.object_member(id, pointer, offset, size).map(|_| ()).map_err(|message| {
            self.refuse(Cause::OutOfBounds, format!("R{number} {message}")).register(base)
        })
    }

    fn object_member(
        &self,
        id: TypeId,
        pointer: &Value,
        offset: i32,
        size: u32,
    ) -> Result<Option<TypeId>, String> {
        if pointer.scalar.as_constant() != Some(0) {
            return Err("variable offset into a kernel object".into());
        }
        let at = i64::from(pointer.offset) + i64::from(offset);
        let Ok(at) = u32::try_from(at) else {
            return Err(format!("invalid negative access: off={at}"));
        };
        let Some(btf) = self.env.options.kernel_btf else {
            return Err("there is no kernel BTF here".into());
        };
        member(btf, id, at, size)
    }

    /// What a checked load from an object gives.
    pub(super) fn object_field(
        &self,
        id: TypeId,
        pointer: &Value,
        offset: i32,
        size: u32,
    ) -> Result<Value, Refusal> {
        Ok(match self.object_member(id, pointer, offset, size) {
            Ok(Some(id)) => Value::pointer(Kind::Btf { id, trusted: false }),
            _ => Value::UNKNOWN,
        })
    }

    /// The buffer's size is known at attach only, so its greatest use is recorded.
    pub(super) fn check_trace_buffer(
        &mut self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
    ) -> Result<(), Refusal> {
        let number = base as u8;
        let refuse = |this: &Self, message: String| {
            Err(this.refuse(Cause::OutOfBounds, message).register(base))
        };
        if pointer.scalar.as_constant() != Some(0) {
            return refuse(self, format!("R{number} invalid variable buffer offset: off={offset}"));
        }
        let at = i64::from(pointer.offset) + i64::from(offset);
        if at < 0 || at + i64::from(size) > i64::from(MAX_BUFFER) {
            return refuse(
                self,
                format!("R{number} invalid tracepoint buffer access: off={at} size={size}"),
            );
        }
        let end = at as u32 + size;
        self.proof.max_buffer_offset = self.proof.max_buffer_offset.max(end);
        Ok(())
    }

    pub(super) fn check_socket(
        &self,
        base: Reg,
        pointer: &Value,
        offset: i32,
        size: u32,
        access: Access,
    ) -> Result<(), Refusal> {
        let kind = self.kind_name(pointer);
        if access == Access::Write {
            return Err(self
                .refuse(Cause::ReadOnly, format!("R{} cannot write into {kind}", base as u8))
                .register(base));
        }
        let fields = match pointer.kind {
            Kind::Socket => socket::SOCK,
            Kind::TcpSock => socket::TCP_SOCK,
            Kind::XdpSock => socket::XDP_SOCK,
            _ => socket::SOCK_COMMON,
        };
        let at = i64::from(pointer.offset) + i64::from(offset);
        let known = pointer.scalar.as_constant() == Some(0);
        let allowed = known
            && at >= 0
            && at % i64::from(size) == 0
            && fields.iter().any(|field| {
                let (start, length) = (i64::from(field.offset), i64::from(field.size));
                at >= start
                    && at + i64::from(size) <= start + length
                    && field.read.allows((at - start) as u32, size)
            });
        if allowed {
            return Ok(());
        }
        Err(self
            .refuse(
                Cause::OutOfBounds,
                format!("R{} invalid {kind} access off={at} size={size}", base as u8),
            )
            .register(base))
    }
}

/// The kernel's structure of a task.
const TASK: &str = "task_struct";

/// Marks a structure that is known by name only: a position in `Verifier::opaque`.
const OPAQUE: u32 = 1 << 31;

/// Kinds of sockets that helpers return; each begins with a `sock_common`.
const OPAQUE_SOCKETS: [&str; 7] = [
    "tcp6_sock",
    "tcp_sock",
    "tcp_timewait_sock",
    "tcp_request_sock",
    "udp6_sock",
    "unix_sock",
    "mptcp_sock",
];

/// No tracepoint has a larger buffer.
const MAX_BUFFER: u32 = 1 << 16;
