//! Global functions: verified once, from their BTF prototype, and not at each call.
//!
//! What such a function may rely on is what its prototype says: numbers are anything, a
//! pointer to the context is the context, any other pointer is memory of its type's size,
//! or null. A call must hand over exactly that, and gets an unknown number back. So the
//! work does not grow with the number of calls.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::callback::Round;
use super::explore::Verifier;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::{Callback, Frame, State};
use super::value::{Kind, Value};
use crate::btf::{self, Btf, TypeId};
use crate::insn::Reg;
use crate::program::Program;

/// In place of a helper's number: the frame is a global function's.
pub(super) const GLOBAL: i32 = 0;

/// What a global function is given in one register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Parameter {
    Number,
    Context,
    Memory { size: u32, nullable: bool },
}

/// A global function.
#[derive(Clone, Debug)]
pub(super) struct Prototype {
    name: String,
    parameters: Vec<Parameter>,
    void: bool,
    /// Its cost, and whether it may move packet data; `None` before it was walked.
    known: Option<Known>,
    walking: bool,
}

/// The prototypes of the program's global functions, by subprogram: `None` for static ones.
/// The main program is not called, so it is none of them.
pub(super) fn prototypes<M>(
    program: &Program<M>,
    starts: &[u32],
    context: &str,
) -> Result<Vec<Option<Prototype>>, Refusal> {
    let mut found = alloc::vec![None; starts.len()];
    let Some(bytes) = program.btf.as_deref().filter(|_| !program.func_info.is_empty()) else {
        return Ok(found);
    };
    let Ok(btf) = Btf::parse(bytes) else { return Ok(found) };
    for info in program.func_info.iter().filter(|info| info.global && info.insn != 0) {
        let Ok(index) = starts.binary_search(&info.insn) else { continue };
        let prototype = read(&btf, info.type_id, context).map_err(|what| {
            Refusal::at(
                info.insn as usize,
                Cause::BadArgument,
                format!(
                    "the prototype of the global function {}() cannot be checked: {what}",
                    info.name
                ),
            )
            .hint(
                "make the function static, or give it numbers and pointers to types of known size",
            )
        })?;
        if let Some(entry) = found.get_mut(index) {
            *entry = Some(prototype);
        }
    }
    Ok(found)
}

fn read(btf: &Btf, func: TypeId, context: &str) -> Result<Prototype, String> {
    let proto = match btf.get(func).map(|ty| &ty.kind) {
        Some(btf::Kind::Func { proto, .. }) => btf.resolve(*proto),
        _ => None,
    };
    let Some((_, btf::Kind::FuncProto { result, params })) = proto else {
        return Err("it has no prototype".into());
    };
    let void = match btf.resolve(*result) {
        Some((_, btf::Kind::Void)) => true,
        Some((_, btf::Kind::Int { .. } | btf::Kind::Enum { .. } | btf::Kind::Enum64 { .. })) => {
            false
        }
        _ => return Err("it returns something else than a number".into()),
    };
    if params.len() > 5 {
        return Err("it has more than five parameters".into());
    }
    let tagged = |position: usize, tag: &str| {
        btf.iter().any(|(id, ty)| {
            matches!(ty.kind, btf::Kind::DeclTag { type_id, component }
                if type_id == func && component == position as i32)
                && btf.name(id) == tag
        })
    };
    let mut parameters = Vec::new();
    for (position, param) in params.iter().enumerate() {
        let parameter = match btf.resolve(param.type_id) {
            Some((
                _,
                btf::Kind::Int { .. } | btf::Kind::Enum { .. } | btf::Kind::Enum64 { .. },
            )) => Parameter::Number,
            Some((_, btf::Kind::Ptr(pointee))) => {
                let target = btf.resolve(*pointee);
                let name = target.map_or("", |(id, _)| btf.name(id));
                let own = context.strip_prefix("struct ").unwrap_or(context);
                if tagged(position, "arg:ctx") || (position == 0 && !name.is_empty() && name == own)
                {
                    Parameter::Context
                } else {
                    let size = btf.size_of(*pointee).filter(|&size| size > 0);
                    let Some(size) = size else {
                        return Err(format!(
                            "parameter {} points to nothing of known size",
                            position + 1
                        ));
                    };
                    let nullable = !tagged(position, "arg:nonnull");
                    Parameter::Memory { size, nullable }
                }
            }
            _ => return Err(format!("parameter {} is neither number nor pointer", position + 1)),
        };
        parameters.push(parameter);
    }
    Ok(Prototype { name: btf.name(func).into(), parameters, void, known: None, walking: false })
}

/// What a walk of a global function has found out.
#[derive(Clone, Copy, Default, Debug)]
struct Known {
    cost: u64,
    /// Whether it may move the packet.
    moves_packet: bool,
    /// The widest atomic access to memory that it is given, in bytes; 0 for none.
    atomic: u32,
}

const PARAMETER_REGS: [Reg; 5] = [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5];

impl Verifier<'_> {
    /// A call of a global function.
    pub(super) fn call_global(&mut self, subprogram: u32, start: usize) -> Result<(), Refusal> {
        let index = subprogram as usize;
        let Some(prototype) = self.globals.get(index).cloned().flatten() else { return Ok(()) };
        let name = &prototype.name;
        if self.state.lock.is_some() {
            return Err(self.refuse(
                Cause::Lock,
                format!("global function calls are not allowed while holding a lock: {name}()"),
            ));
        }
        for (&parameter, reg) in prototype.parameters.iter().zip(PARAMETER_REGS) {
            let value = *self.read(reg)?;
            let number = reg as u8;
            let wrong = |this: &Self, wanted: &str| {
                Err(this
                    .refuse(
                        Cause::BadArgument,
                        format!(
                            "R{number} is not {wanted}, which the global function {name}() takes"
                        ),
                    )
                    .register(reg))
            };
            match parameter {
                Parameter::Number if !value.is_scalar() => return wrong(self, "a scalar"),
                Parameter::Number => {}
                Parameter::Context => {
                    let whole = value.offset == 0 && value.scalar.as_constant() == Some(0);
                    if value.kind != Kind::Ctx || !whole {
                        return wrong(self, "a pointer to the context");
                    }
                }
                Parameter::Memory { nullable: true, .. } if value.is_zero() => {
                    self.need_precise(reg);
                }
                Parameter::Memory { size, nullable } => {
                    // Null needs no memory; what is not null must be there.
                    let value = Value { nullable: value.nullable && !nullable, ..value };
                    self.lend(reg, &value, size)?;
                }
            }
        }
        let Known { cost, moves_packet, atomic } = self.walk_global(index, start)?;
        self.path.note_whole_call();
        let lent_packet = |(parameter, reg): (&Parameter, Reg)| {
            matches!(parameter, Parameter::Memory { .. }) && self.state.reg(reg).is_packet()
        };
        for (parameter, reg) in prototype.parameters.iter().zip(PARAMETER_REGS) {
            let value = *self.state.reg(reg);
            if atomic > 0 && matches!(parameter, Parameter::Memory { .. }) && value.is_pointer() {
                self.check_alignment(reg, &value, 0, atomic, true)?;
                if matches!(value.kind, Kind::Lent { .. }) {
                    self.lent_atomic = self.lent_atomic.max(atomic);
                }
            }
        }
        if moves_packet && prototype.parameters.iter().zip(PARAMETER_REGS).any(lent_packet) {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    format!(
                        "the global function {name}() may move the packet, so it cannot be given a pointer into it"
                    ),
                )
                .hint("make the function static"));
        }
        self.path.cost = self.path.cost.saturating_add(cost);
        super::call::scratch(self.state.frame_mut());
        let result = if prototype.void { Value::UNINIT } else { Value::UNKNOWN };
        self.state.set(Reg::R0, result);
        if moves_packet {
            self.forget_packet();
        }
        Ok(())
    }

    /// Walks a global function if nobody has.
    fn walk_global(&mut self, index: usize, start: usize) -> Result<Known, Refusal> {
        let Some(Some(prototype)) = self.globals.get_mut(index) else {
            return Ok(Known::default());
        };
        if let Some(known) = prototype.known {
            return Ok(known);
        }
        if prototype.walking {
            return Err(self
                .refuse(
                    Cause::StackDepth,
                    "a global function calls itself: the call stack is too deep".into(),
                )
                .hint("functions may nest eight deep and not call themselves"));
        }
        prototype.walking = true;
        let parameters = prototype.parameters.clone();
        let mut frame = Frame::new(0, 0, index as u32);
        frame.callback = Some(Callback { helper: GLOBAL });
        for (parameter, reg) in parameters.into_iter().zip(PARAMETER_REGS) {
            frame.regs[reg.index()] = match parameter {
                Parameter::Number => Value::UNKNOWN,
                Parameter::Context => Value::pointer(Kind::Ctx),
                Parameter::Memory { size, nullable } => {
                    let id = if nullable { self.new_id() } else { 0 };
                    Value { nullable, id, ..Value::pointer(Kind::Lent { size }) }
                }
            };
        }
        let state = State { frames: alloc::vec![frame], ..State::entry() };
        let moved = core::mem::replace(&mut self.moved_packet, false);
        let lent_atomic = core::mem::replace(&mut self.lent_atomic, 0);
        self.rounds.push(Round::default());
        let bound = self.walk_from(state, start);
        self.rounds.pop();
        let moves_packet = self.moved_packet;
        self.moved_packet |= moved;
        let atomic = core::mem::replace(&mut self.lent_atomic, lent_atomic);
        let known = Known { cost: bound?, moves_packet, atomic };
        if let Some(Some(prototype)) = self.globals.get_mut(index) {
            prototype.known = Some(known);
            prototype.walking = false;
        }
        Ok(known)
    }

    /// A global function returns.
    pub(super) fn check_global_result(&mut self) -> Result<(), Refusal> {
        let subprogram = self.state.frame().subprogram as usize;
        let void = self
            .globals
            .get(subprogram)
            .is_some_and(|global| global.as_ref().is_some_and(|prototype| prototype.void));
        if void {
            return Ok(());
        }
        if !self.read(Reg::R0)?.is_scalar() {
            return Err(self
                .refuse(
                    Cause::ReturnValue,
                    "At subprogram exit the register R0 is not a scalar value: a global function returns a number".into(),
                )
                .register(Reg::R0));
        }
        Ok(())
    }
}
