//! Callbacks: functions of the program that a helper calls, any number of times up to a
//! bound (`bpf_loop`, `bpf_for_each_map_elem`, …), or once later on (timers).
//!
//! The function is walked as a whole within the call: from the state between two rounds,
//! every path to its return. The states that it returns with are joined ([`super::join`])
//! into the state between rounds, and it is walked again until nothing new comes out; what
//! holds then holds between any two rounds, and after the last. If that is too coarse for
//! the function, or would give up the bounds of what few rounds count, each round is walked
//! on its own.
//!
//! What the function does to its callers' stacks matters afterwards, so on its return all
//! numbers there count as read and as precise; and so do they before the call, which
//! backtracking does not look into. The cost of a call is that of the longest path through
//! the function, times the greatest number of rounds.

use alloc::format;

use super::call::Arguments;
use super::explore::{Flow, Verifier};
use super::global::GLOBAL;
use super::join::join;
use super::path::{Place, Places};
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::Scalar;
use super::state::{Callback, Frame, MAX_FRAMES, State};
use super::value::{Kind, Value};
use crate::helper::HelperProto;
use crate::helper::proto::id;
use crate::insn::Reg;

/// Linux's `BPF_MAX_LOOPS`.
pub(super) const MAX_LOOPS: u64 = 8 << 20;
/// As many rounds may be walked one by one.
const MAX_UNROLLED: u64 = 4096;
/// Rounds so few are walked one by one before bounds of numbers are given up.
const MAX_EXACT: u64 = 64;
/// What calling back and coming back counts, in instructions.
const ROUND_COST: u64 = 8;
/// Joins before bounds of numbers are given up.
const PATIENCE: u32 = 2;

/// A callback that runs on its own, later: first slot, and the map of its timer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Deferred {
    start: u32,
    map: u32,
}

/// What comes out of one walk of a callback.
#[derive(Default)]
pub(super) struct Round {
    /// Frames of its callers.
    frames: usize,
    /// The state when another round may follow.
    again: Option<State>,
    /// The state when none does.
    stop: Option<State>,
}

/// What a helper passes to a callback.
struct Entry {
    start: u32,
    subprogram: u32,
    arguments: [Value; 5],
    helper: i32,
}

impl Verifier<'_> {
    /// Walks the callback of a call, and leaves the state that holds after it; the cost of
    /// all rounds.
    pub(super) fn call_back(
        &mut self,
        proto: &HelperProto,
        arguments: &Arguments,
    ) -> Result<u64, Refusal> {
        let Some(start) = arguments.callback else { return Ok(0) };
        let Some(subprogram) = self.env.cfg.subprogram_at(start as usize) else {
            return Err(self.refuse(Cause::BadJump, "the callback is no function".into()));
        };
        if proto.id == id::TIMER_SET_CALLBACK {
            let deferred = Deferred { start, map: arguments.field_map.unwrap_or(0) };
            if self.known_deferred.insert(deferred) {
                self.deferred.push(deferred);
            }
            return Ok(0);
        }
        self.callbacks.insert((self.state.frame().subprogram, subprogram));
        let depth = self.state.frames.len();
        if depth >= MAX_FRAMES {
            return Err(self.refuse(
                Cause::StackDepth,
                format!("the call stack of {} frames is too deep", depth + 1),
            ));
        }
        self.proof.call_depth = self.proof.call_depth.max(depth as u32 + 1);
        let (most, arguments) = self.callback_arguments(proto, arguments)?;
        let entry = Entry { start, subprogram, arguments, helper: proto.id };
        self.everything_matters();
        if most == 0 {
            return Ok(0);
        }
        // What few rounds count is followed before bounds are given up for it, unless that takes
        // much of the work that is allowed.
        let few = most <= MAX_EXACT && self.rounds.is_empty();
        let mut cost = self.walk_until_stable(&entry, most, !few);
        if cost.is_err() && most <= MAX_UNROLLED {
            let effort = if few { self.env.options.max_processed / 4 } else { u64::MAX };
            cost = self.walk_each_round(&entry, most, effort);
        }
        // What a rule refuses of one round, it refuses of any.
        if few && matches!(&cost, Err(refusal) if refusal.cause == Cause::TooComplex) {
            cost = self.walk_until_stable(&entry, most, true);
        }
        cost
    }

    /// Greatest number of rounds, and the callback's arguments.
    fn callback_arguments(
        &mut self,
        proto: &HelperProto,
        arguments: &Arguments,
    ) -> Result<(u64, [Value; 5]), Refusal> {
        let none = Value::UNINIT;
        let map = arguments.map.unwrap_or(0);
        Ok(match proto.id {
            id::LOOP => {
                let rounds = *self.state.reg(Reg::R1);
                // More than the greatest number, and none is done.
                let asked = if rounds.is_scalar() { rounds.scalar.r32.umax } else { MAX_LOOPS };
                let most = asked.min(MAX_LOOPS);
                let index = Scalar::unsigned(0, most.saturating_sub(1));
                let context = *self.state.reg(Reg::R3);
                (most, [Value::scalar(index), context, none, none, none])
            }
            id::FOR_EACH_MAP_ELEM => {
                let most = self.most_elements(map);
                let context = *self.state.reg(Reg::R3);
                let key = Value::pointer(Kind::MapKey { map });
                let value = self.fresh_value(map);
                (most, [Value::pointer(Kind::MapPtr { map }), key, value, context, none])
            }
            id::FIND_VMA => {
                let context = *self.state.reg(Reg::R4);
                let task = *self.state.reg(Reg::R1);
                let vma = self.kernel_struct("vm_area_struct")?;
                let vma = Value::pointer(Kind::Btf { id: vma, trusted: true });
                (1, [task, vma, context, none, none])
            }
            _ => {
                return Err(self.refuse(
                    Cause::UnknownFunction,
                    format!("bpf_{}: its callback is not known", proto.name),
                ));
            }
        })
    }

    /// A pointer to some value of a map, not null.
    pub(super) fn fresh_value(&mut self, map: u32) -> Value {
        // Which element it belongs to is a matter of identity: a lock is one element's.
        let id = self.new_id();
        Value { id, ..Value::pointer(Kind::MapValue { map }) }
    }

    /// Joins what comes out of the callback into what it starts from, until that holds.
    /// Bounds of numbers are given up for that where it takes long, if they may be.
    fn walk_until_stable(
        &mut self,
        entry: &Entry,
        most: u64,
        widens: bool,
    ) -> Result<u64, Refusal> {
        let mut between = self.state.clone();
        let mut joins = 0;
        loop {
            let (round, bound) = self.walk_round(entry, &between)?;
            let mut next = between.clone();
            if let Some(again) = &round.again {
                join(&mut next, again, joins >= PATIENCE)
                    .map_err(|what| self.refuse(Cause::Reference, what))?;
            }
            if next == between {
                if let Some(stop) = &round.stop {
                    join(&mut next, stop, false)
                        .map_err(|what| self.refuse(Cause::Reference, what))?;
                }
                self.state = next;
                return Ok(bound.saturating_add(ROUND_COST).saturating_mul(most));
            }
            between = next;
            joins += 1;
            if joins == PATIENCE && !widens {
                let what = format!("each of {most} rounds of the callback finds other numbers");
                return Err(self.refuse(Cause::TooComplex, what));
            }
        }
    }

    /// Walks round after round, each from what comes out of the one before.
    /// Gives up when that takes more than `effort` instructions.
    fn walk_each_round(&mut self, entry: &Entry, most: u64, effort: u64) -> Result<u64, Refusal> {
        let end = self.proof.processed.saturating_add(effort);
        let mut between = self.state.clone();
        // None at all is possible as well.
        let mut after = between.clone();
        let mut cost = 0u64;
        for _ in 0..most {
            if self.proof.processed > end {
                let what = format!("{most} rounds of the callback are too much to follow each");
                return Err(self.refuse(Cause::TooComplex, what));
            }
            let (out, bound) = self.walk_round(entry, &between)?;
            cost = cost.saturating_add(bound).saturating_add(ROUND_COST);
            for state in [&out.again, &out.stop].into_iter().flatten() {
                join(&mut after, state, false)
                    .map_err(|what| self.refuse(Cause::Reference, what))?;
            }
            match out.again {
                Some(again) => between = again,
                None => break,
            }
        }
        self.state = after;
        Ok(cost)
    }

    /// One walk through the callback, from a state of its callers.
    fn walk_round(&mut self, entry: &Entry, from: &State) -> Result<(Round, u64), Refusal> {
        let mut state = from.clone();
        let depth = state.frames.len();
        let mut frame = Frame::new(depth, self.pc as u32, entry.subprogram);
        let mut arguments = entry.arguments;
        let mut key_of_round = 0;
        if entry.helper == id::FOR_EACH_MAP_ELEM {
            // Each round has another element.
            let [_, key, value, ..] = &mut arguments;
            key_of_round = self.new_id();
            (key.id, value.id) = (key_of_round, self.new_id());
        }
        for (reg, value) in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5].into_iter().zip(arguments)
        {
            frame.regs[reg.index()] = value;
        }
        frame.callback = Some(Callback { helper: entry.helper });
        state.frames.push(frame);
        self.rounds.push(Round { frames: depth, again: None, stop: None });
        let bound = self.walk_from(state, entry.start as usize);
        let mut round = self.rounds.pop().unwrap_or_default();
        // The key lies where the helper has it, as long as the round lasts.
        for state in [&mut round.again, &mut round.stop].into_iter().flatten() {
            state.for_each_value(|value| {
                if matches!(value.kind, Kind::MapKey { .. }) && value.id == key_of_round {
                    *value = Value::UNINIT;
                }
            });
        }
        Ok((round, bound?))
    }

    /// Walks callbacks that run on their own.
    pub(super) fn run_deferred(&mut self) -> Result<(), Refusal> {
        while let Some(deferred) = self.deferred.pop() {
            let Deferred { start, map } = deferred;
            let subprogram = self.env.cfg.subprogram_at(start as usize).unwrap_or(0);
            let mut frame = Frame::new(0, 0, subprogram);
            frame.callback = Some(Callback { helper: id::TIMER_SET_CALLBACK });
            frame.regs[Reg::R1.index()] = Value::pointer(Kind::MapPtr { map });
            frame.regs[Reg::R2.index()] = Value::pointer(Kind::MapKey { map });
            frame.regs[Reg::R3.index()] = self.fresh_value(map);
            let state = State { frames: alloc::vec![frame], ..State::entry() };
            self.rounds.push(Round::default());
            let bound = self.walk_from(state, start as usize);
            self.rounds.pop();
            self.proof.deferred.push((start, bound?));
        }
        Ok(())
    }

    /// The callback in the active frame returns.
    pub(super) fn return_from_callback(&mut self, callback: Callback) -> Result<Flow, Refusal> {
        let global = callback.helper == GLOBAL;
        if global {
            self.check_global_result()?;
        } else {
            self.check_callback_result(callback)?;
        }
        let result = *self.state.reg(Reg::R0);
        let depth = self.state.depth() as u32;
        if let Some(reference) = self.state.references.iter().find(|held| held.frame >= depth) {
            return Err(self.refuse(
                Cause::Reference,
                format!(
                    "Unreleased reference id={} alloc_insn={}: the function does not give back what it acquired",
                    reference.id, reference.insn
                ),
            ));
        }
        if self.state.lock.is_some() {
            return Err(self.refuse(
                Cause::Lock,
                "bpf_spin_unlock is missing: the function returns with the lock held".into(),
            ));
        }
        if global {
            return Ok(Flow::End);
        }
        self.everything_matters();
        self.leave_frame();
        let stops = result.as_constant() == Some(1);
        let state = &self.state;
        let Some(round) = self.rounds.last_mut() else { return Ok(Flow::End) };
        if round.frames == 0 {
            return Ok(Flow::End);
        }
        let outcome = if stops { &mut round.stop } else { &mut round.again };
        match outcome {
            Some(joined) => {
                if let Err(what) = join(joined, state, false) {
                    return Err(self.refuse(Cause::Reference, what));
                }
            }
            None => *outcome = Some(state.clone()),
        }
        Ok(Flow::End)
    }

    /// r0 where a callback returns.
    fn check_callback_result(&mut self, callback: Callback) -> Result<(), Refusal> {
        let result = *self.read(Reg::R0)?;
        self.need_precise(Reg::R0);
        let (min, max) = if callback.helper == id::TIMER_SET_CALLBACK { (0, 0) } else { (0, 1) };
        let range = result.scalar.r64;
        if !result.is_scalar() || range.smin < min || range.smax > max {
            return Err(self
                .refuse(
                    Cause::ReturnValue,
                    format!(
                        "At callback return the register R0 has smin={} smax={} should have been in [{min}, {max}]",
                        range.smin, range.smax
                    ),
                )
                .register(Reg::R0)
                .hint("a callback returns 0 to go on and 1 to stop"));
        }
        Ok(())
    }

    /// Every number of every frame below the active one, and in its argument registers,
    /// counts as precise, and every slot as read.
    fn everything_matters(&mut self) {
        let depth = self.state.depth();
        let mut places = every_number(&self.state);
        // The callers' registers stay as they are.
        for regs in places.regs.iter_mut().take(depth) {
            *regs = 0;
        }
        for frame in 0..=depth {
            self.read_slots(frame, u64::MAX);
        }
        self.trace_precision(places, self.path.entries().len().saturating_sub(1));
    }
}

/// The places of all numbers of a state.
pub(super) fn every_number(state: &State) -> Places {
    let mut places = Places::default();
    for (number, frame) in state.frames.iter().enumerate() {
        for (reg, value) in Reg::ALL.into_iter().zip(&frame.regs) {
            if value.is_scalar() {
                places.add(Place::Reg(number as u8, reg));
            }
        }
        for (index, slot) in frame.stack.iter().enumerate() {
            if slot.is_spill() && slot.value.is_scalar() {
                places.add(Place::Slot(number as u8, index as u8));
            }
        }
    }
    places
}
