//! Conditional jumps: which way they go, and what either way says about the operands.

use alloc::format;

use super::explore::{Flow, Verifier};
use super::path::{MAX_LINKED, Place};
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::{Scalar, alu as ops, cond as conds};
use super::state::State;
use super::value::{Kind, Value};
use crate::insn::{AluOp, Cond, Operand, Reg, Width};

/// Linux's `MAX_PACKET_OFF`.
const MAX_PACKET: u64 = 0xffff;

/// What a state gains on one side of a branch.
enum Gain {
    None,
    /// Null or not, by identity.
    Null {
        id: u32,
        is_null: bool,
    },
    /// So many bytes of the packet are there, from what `id` counts from.
    Packet {
        kind: Kind,
        id: u32,
        range: u16,
    },
}

impl Verifier<'_> {
    pub(super) fn branch(
        &mut self,
        width: Width,
        cond: Cond,
        dst: Reg,
        src: Operand,
        offset: i16,
    ) -> Result<Flow, Refusal> {
        let right = match src {
            Operand::Reg(src) => *self.read(src)?,
            Operand::Imm(imm) => Value::constant(i64::from(imm) as u64),
        };
        let left = *self.read(dst)?;
        let packets = left.is_packet() && right.is_packet();
        if let Operand::Reg(src) = src
            && !packets
            && right.is_pointer()
            && !self.env.privileged()
        {
            return Err(self.comparison_refused(src));
        }
        let target = usize::try_from(self.pc as i64 + 1 + i64::from(offset)).unwrap_or(usize::MAX);
        let next = self.pc + 1;

        if left.is_scalar() && right.is_scalar() {
            return self.branch_on_numbers(width, cond, (dst, &left), (src, &right), target);
        }
        // A valid pointer is not null, whatever it is.
        if width == Width::W64
            && matches!(cond, Cond::Eq | Cond::Ne)
            && left.is_pointer()
            && !left.nullable
            && right.is_zero()
            && never_null(&left)
        {
            if let Operand::Reg(src) = src {
                self.need_precise(src);
            }
            return self.go(cond == Cond::Ne, target, (dst, src));
        }
        let (taken, fallen) = self.pointer_gains(width, cond, (&left, dst), (&right, src))?;
        let mut other = self.state.clone();
        apply(&mut other, &taken);
        apply(&mut self.state, &fallen);
        self.both_ways(other, target)?;
        Ok(Flow::Jump(next))
    }

    fn comparison_refused(&self, reg: Reg) -> Refusal {
        self.refuse(
            Cause::PointerComparison,
            format!("R{} pointer comparison prohibited", reg as u8),
        )
        .register(reg)
    }

    /// Follows the only possible side. What an unprivileged program runs must also be
    /// safe when the processor guesses wrong and follows the other side for a while,
    /// with operands that it does not know.
    fn go(
        &mut self,
        taken: bool,
        target: usize,
        operands: (Reg, Operand),
    ) -> Result<Flow, Refusal> {
        if !self.env.privileged() {
            let mut guessed = self.state.clone();
            guessed.set(operands.0, Value::UNKNOWN);
            if let Operand::Reg(src) = operands.1 {
                guessed.set(src, Value::UNKNOWN);
            }
            let wrong = if taken { self.pc + 1 } else { target };
            self.push_branch(guessed, wrong)?;
        }
        self.note_branch(taken);
        Ok(Flow::Jump(if taken { target } else { self.pc + 1 }))
    }

    /// Follows the side that falls through, and keeps the other for later.
    pub(super) fn both_ways(&mut self, other: State, target: usize) -> Result<(), Refusal> {
        self.note_branch(true);
        self.note_branch(false);
        self.push_branch(other, target)
    }

    fn branch_on_numbers(
        &mut self,
        width: Width,
        cond: Cond,
        (dst, left): (Reg, &Value),
        (src, right): (Operand, &Value),
        target: usize,
    ) -> Result<Flow, Refusal> {
        let (mut left_taken, mut right_taken) = (left.scalar, right.scalar);
        let (mut left_fallen, mut right_fallen) = (left.scalar, right.scalar);
        let may_jump = conds::narrow(cond, width, true, &mut left_taken, &mut right_taken);
        let may_fall = conds::narrow(cond, width, false, &mut left_fallen, &mut right_fallen);
        let frame = self.state.depth() as u8;
        if may_jump != may_fall {
            // The decision rests on the bounds of both.
            let place = match src {
                Operand::Reg(src) => Some(Place::Reg(frame, src)),
                Operand::Imm(_) => None,
            };
            self.need_precise_places(&[Some(Place::Reg(frame, dst)), place]);
            return self.go(may_jump, target, (dst, src));
        }
        let src = match src {
            Operand::Reg(src) if src != dst => Some(src),
            _ => None,
        };
        let dst_group = self.linked(dst);
        let src_group = src.and_then(|src| self.linked(src));
        for group in [&dst_group, &src_group].into_iter().flatten() {
            self.path.note_linked(*group);
        }
        let mut other = self.state.clone();
        narrow_in(&mut other, dst, &dst_group, left_taken);
        narrow_in(&mut self.state, dst, &dst_group, left_fallen);
        if let Some(src) = src {
            narrow_in(&mut other, src, &src_group, right_taken);
            narrow_in(&mut self.state, src, &src_group, right_fallen);
        }
        self.both_ways(other, target)?;
        Ok(Flow::Jump(self.pc + 1))
    }

    /// The places of all values with the identity of a register's number, its own first, when
    /// there are several. Beyond the greatest number they lose it.
    fn linked(&mut self, reg: Reg) -> Option<[Option<Place>; MAX_LINKED]> {
        let id = self.state.reg(reg).id;
        if id == 0 {
            return None;
        }
        let own = Place::Reg(self.state.depth() as u8, reg);
        let mut group = [None; MAX_LINKED];
        group[0] = Some(own);
        let mut count = 1;
        for (number, frame) in self.state.frames.iter_mut().enumerate() {
            let mut note = |value: &mut Value, place: Place| {
                if value.id == id && value.is_scalar() && place != own {
                    match group.get_mut(count) {
                        Some(entry) => *entry = Some(place),
                        None => (value.id, value.offset) = (0, 0),
                    }
                    count += 1;
                }
            };
            for (value, reg) in frame.regs.iter_mut().zip(Reg::ALL) {
                note(value, Place::Reg(number as u8, reg));
            }
            for (index, slot) in frame.stack.iter_mut().enumerate() {
                if slot.is_spill() {
                    note(&mut slot.value, Place::Slot(number as u8, index as u8));
                }
            }
        }
        (count > 1).then_some(group)
    }

    /// What a comparison that involves a pointer tells on either side.
    fn pointer_gains(
        &mut self,
        width: Width,
        cond: Cond,
        (left, dst): (&Value, Reg),
        (right, src): (&Value, Operand),
    ) -> Result<(Gain, Gain), Refusal> {
        let equality = matches!(cond, Cond::Eq | Cond::Ne);
        if width == Width::W64 && equality {
            let jumps_if_equal = cond == Cond::Eq;
            if left.nullable && right.is_zero() && matches!(src, Operand::Imm(_)) {
                let null = |is_null| Gain::Null { id: left.id, is_null };
                return Ok((null(jumps_if_equal), null(!jumps_if_equal)));
            }
            // Equal to a valid pointer: not null.
            if left.is_pointer()
                && right.is_pointer()
                && left.nullable != right.nullable
                && !may_be_null_unmarked(left)
                && !may_be_null_unmarked(right)
            {
                let id = if left.nullable { left.id } else { right.id };
                let gain = Gain::Null { id, is_null: false };
                return Ok(if jumps_if_equal { (gain, Gain::None) } else { (Gain::None, gain) });
            }
        }
        if width == Width::W64
            && matches!(src, Operand::Reg(_))
            && let Some(gains) = packet_gains(cond, left, right)
        {
            return Ok(gains);
        }
        if left.is_pointer() && !self.env.privileged() {
            return Err(self.comparison_refused(dst));
        }
        Ok((Gain::None, Gain::None))
    }
}

/// Whether a pointer that is not marked as perhaps null may be null all the same: the kernel's
/// objects are only as sure as the kernel's types say.
fn may_be_null_unmarked(value: &Value) -> bool {
    matches!(value.kind, Kind::Btf { .. })
}

/// Whether a comparison of a valid pointer of this kind with null is decided, as Linux
/// decides it.
fn never_null(value: &Value) -> bool {
    matches!(
        value.kind,
        Kind::MapPtr { .. }
            | Kind::MapValue { .. }
            | Kind::Memory { .. }
            | Kind::Lent { .. }
            | Kind::SockCommon
            | Kind::Socket
            | Kind::TcpSock
    )
}

/// Gains of `left cond right` when one is a position in the packet and the other its
/// end, or one a position in the metadata and the other the packet's start: when it
/// jumps, and when it falls through.
fn packet_gains(cond: Cond, left: &Value, right: &Value) -> Option<(Gain, Gain)> {
    let start = |value: &Value| {
        value.kind == Kind::Packet && value.offset == 0 && value.scalar.as_constant() == Some(0)
    };
    let position_first = (left.kind == Kind::Packet && right.kind == Kind::PacketEnd)
        || (left.kind == Kind::PacketMeta && start(right));
    let position_second = (right.kind == Kind::Packet && left.kind == Kind::PacketEnd)
        || (right.kind == Kind::PacketMeta && start(left));
    let position = match (position_first, position_second) {
        (true, _) => left,
        (_, true) => right,
        _ => return None,
    };
    // In terms of `position cond end`.
    let cond = if position_first {
        cond
    } else {
        match cond {
            Cond::Gt => Cond::Lt,
            Cond::Lt => Cond::Gt,
            Cond::Ge => Cond::Le,
            Cond::Le => Cond::Ge,
            _ => return None,
        }
    };
    // Which side says that the position lies below the end, and whether strictly.
    let (when_taken, strictly) = match cond {
        Cond::Gt => (false, false),
        Cond::Ge => (false, true),
        Cond::Lt => (true, true),
        Cond::Le => (true, false),
        _ => return None,
    };
    let gain = reach(position, strictly);
    Some(if when_taken { (gain, Gain::None) } else { (Gain::None, gain) })
}

fn reach(position: &Value, strictly: bool) -> Gain {
    let most = position.scalar.r64.umax;
    let Ok(offset) = u64::try_from(position.offset) else { return Gain::None };
    if (offset == 0 && strictly) || most > MAX_PACKET || most + offset > MAX_PACKET {
        return Gain::None;
    }
    let range = (offset + u64::from(strictly)).min(MAX_PACKET) as u16;
    Gain::Packet { kind: position.kind, id: position.id, range }
}

fn narrow_in(
    state: &mut State,
    reg: Reg,
    group: &Option<[Option<Place>; MAX_LINKED]>,
    scalar: Scalar,
) {
    let known = state.reg_mut(reg);
    known.scalar = scalar;
    let from = i64::from(known.offset);
    for place in group.iter().flatten().flatten() {
        let value = match *place {
            Place::Reg(frame, reg) => {
                state.frames.get_mut(frame as usize).map(|frame| &mut frame.regs[reg.index()])
            }
            Place::Slot(frame, slot) => state
                .frames
                .get_mut(frame as usize)
                .and_then(|frame| frame.stack.get_mut(slot as usize))
                .map(|slot| &mut slot.value),
        };
        if let Some(value) = value {
            let moved = i64::from(value.offset) - from;
            value.scalar = if moved == 0 {
                scalar
            } else {
                let moved = Scalar::constant(moved as u64);
                ops::alu(AluOp::Add, Width::W64, &scalar, &moved)
            };
        }
    }
}

fn apply(state: &mut State, gain: &Gain) {
    match *gain {
        Gain::None => {}
        Gain::Null { id, is_null } => {
            let mut held = 0;
            state.for_each_value(|value| {
                if value.id != id || !value.nullable {
                    return;
                }
                if is_null {
                    if value.reference == id {
                        held = id;
                    }
                    *value = Value::constant(0);
                } else {
                    value.nullable = false;
                    // Which element it is matters to a lock in it.
                    if !matches!(value.kind, Kind::MapValue { .. }) {
                        value.id = 0;
                    }
                }
            });
            // What was never acquired need not be released.
            if is_null && held != 0 {
                state.references.retain(|reference| reference.id != held);
            }
        }
        Gain::Packet { kind, id, range } => state.for_each_value(|value| {
            if value.kind == kind && value.id == id {
                value.range = value.range.max(range);
            }
        }),
    }
}
