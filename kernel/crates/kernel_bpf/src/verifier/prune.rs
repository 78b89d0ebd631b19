//! Pruning: where a path is covered by an earlier one, and what follows from that for the
//! bound, for liveness and for precision.
//!
//! A checkpoint that was explored completely covers what lies within it. The head of a loop
//! that the machine bounds also covers a later state of its own, while it is still being
//! explored: another round adds nothing. The cost of a round is noted there and multiplied
//! when the head is done ([`super::path::Link::finish`]).

use alloc::format;
use alloc::vec::Vec;

use super::callback::{MAX_LOOPS, every_number};
use super::compare::{self, Rules};
use super::explore::Verifier;
use super::liveness::{RegSet, SCRATCHED, live_over_call, uses};
use super::path::{Link, Place, Places};
use super::proof::Claim;
use super::refusal::Refusal;
use super::rejection::Cause;
use super::state::State;
use super::value::Kind;
use crate::insn::{Insn, Reg};

/// A loop's head is compared with this many of its own earlier states at most.
const HEAD_STATES: u32 = 64;

impl Verifier<'_> {
    /// The path ends after `rest` more instructions.
    pub(super) fn end_path(&mut self, rest: u64) {
        let total = self.path.cost.saturating_add(rest);
        if let Some(link) = self.path.chain.last_mut() {
            link.bound = link.bound.max(total.saturating_sub(link.cost));
        }
    }

    /// Checkpoints beyond the first `keep` of the path are explored completely.
    pub(super) fn cut_chain(&mut self, keep: usize) {
        while self.path.chain.len() > keep {
            let Some(mut link) = self.path.chain.pop() else { return };
            link.finish();
            let position = self.path.chain.len();
            if let Some(above) = self.path.chain.last_mut() {
                let way = link.cost - above.cost;
                above.bound = above.bound.max(link.bound.saturating_add(way));
                for &(head, cost) in &link.backs {
                    above.comes_back(position - 1, head, cost.saturating_add(way));
                }
            }
            if link.round > 0 {
                self.walk.checkpoints.resolve(position, link.bound, &link.backs);
            }
            if let Some(id) = link.checkpoint
                && let Some(checkpoint) = self.walk.checkpoints.get_mut(id)
            {
                checkpoint.complete = true;
                checkpoint.bound = link.bound;
                checkpoint.backs = link.backs;
                checkpoint.live_slots = link.live;
            }
        }
    }

    /// The path goes back to a loop's head after `rest` more instructions.
    fn end_at_head(&mut self, head: usize, rest: u64) {
        let total = self.path.cost.saturating_add(rest);
        let position = self.path.chain.len().saturating_sub(1);
        if let Some(link) = self.path.chain.last_mut() {
            let cost = total.saturating_sub(link.cost);
            link.comes_back(position, head, cost);
        }
    }

    fn rules(&self) -> Rules {
        Rules { uninit_stack: self.env.privileged(), all_precise: self.env.options.record_claims }
    }

    /// At a prune point: true when an earlier exploration covers this path.
    pub(super) fn visit(&mut self) -> Result<bool, Refusal> {
        let pc = self.pc;
        let processed = self.proof.processed;
        let far = self.env.options.every_state
            || self.jumps - self.walk.jumps_at_checkpoint >= 2
                && processed - self.walk.processed_at_checkpoint >= 8;
        let very_far = self.jumps - self.walk.jumps_at_checkpoint >= 20
            || processed - self.walk.processed_at_checkpoint >= 100;
        let head = self.rounds_at(pc);
        let mut add = far || head.is_some();
        let (mut widened, mut compared) = (false, 0);
        let rules = self.rules();
        let mut position = self.walk.checkpoints.count(pc);
        let mut stale: Vec<u32> = Vec::new();
        let mut found = None;
        while position > 0 {
            position -= 1;
            let Some((id, old)) = self.walk.checkpoints.nth(pc, position) else { continue };
            if old.complete {
                let (env, state) = (&self.env, &self.state);
                let live = |frame: usize| match state.frames.get(frame + 1) {
                    None => env.live[pc],
                    Some(callee) => live_over_call(&env.live, env.insns, callee.call_site as usize),
                };
                if compare::covers(old, state, live, rules, &mut self.ids)
                    && old.backs.iter().all(|&(head, _)| self.went_round_since(head))
                {
                    found = Some((id, old.bound));
                    break;
                }
            } else if head.is_some() && self.went_round(pc, &old.state) {
                compared += 1;
                if compared > HEAD_STATES {
                    continue;
                }
                let (env, state) = (&self.env, &self.state);
                let live = |frame: usize| match state.frames.get(frame + 1) {
                    None => env.live[pc],
                    Some(callee) => live_over_call(&env.live, env.insns, callee.call_site as usize),
                };
                let uninit = rules.uninit_stack;
                if compare::lies_within(&old.state, state, live, uninit, &mut self.ids) {
                    let link = old.link;
                    self.close_loop(id, link);
                    return Ok(true);
                }
                if !widened && compare::same_shape(&old.state, &self.state) {
                    compare::widen(&old.state, &mut self.state);
                    widened = true;
                    // It may lie within this or an earlier one now.
                    position += 1;
                }
                continue;
            } else {
                if compare::unchanged(&old.state, &self.state, &mut self.ids) {
                    return Err(self
                        .refuse(
                            Cause::InfiniteLoop,
                            format!("infinite loop detected at insn {pc}: a round changes nothing that could end it"),
                        )
                        .hint("count the rounds, and leave the loop at a constant"));
                }
                // Rounds of a loop seldom cover each other: keep few of them.
                if !very_far {
                    add = false;
                }
            }
            // Only states that would be kept in its place count against it.
            if add && self.walk.checkpoints.miss(id) {
                stale.push(id);
            }
        }
        for id in stale {
            self.drop_checkpoint(pc, id);
        }
        if let Some((id, bound)) = found {
            self.log_safe();
            self.walk.checkpoints.hit(id);
            self.inherit(id);
            self.end_path(bound);
            let backs = self.walk.checkpoints.get(id).map(|old| old.backs.clone());
            for (head, cost) in backs.unwrap_or_default() {
                self.end_at_head(head, cost);
            }
            return Ok(true);
        }
        if add {
            self.add_checkpoint()?;
        }
        Ok(false)
    }

    /// The state lies within that of a loop's head which is still being explored: another
    /// round adds nothing. All of both states mattered to find that out, but for registers that
    /// nothing has written since: whatever they held at the head, they hold no more now. A path that
    /// comes into the loop between the two may hold something else there.
    fn close_loop(&mut self, id: u32, head: usize) {
        self.log_safe();
        let here = self.path.entries().len();
        for frame in 0..self.state.frames.len() {
            self.read_slots(frame, u64::MAX);
        }
        self.path.read_all_at(head);
        let since = self.path.chain.get(head).map_or(0, |link| link.trace as usize);
        let mattered = |state: &State, written: RegSet| {
            let mut places = every_number(state);
            if let Some(last) = places.regs.get_mut(state.frames.len() - 1) {
                *last &= written;
            }
            places
        };
        let written = self.written_since(since);
        self.trace_precision(mattered(&self.state, written), here);
        if let Some(old) = self.walk.checkpoints.get(id) {
            let mut then = mattered(&old.state, written);
            self.trace_precision(then, since);
            self.walk.checkpoints.mark_precise(id, &mut then);
        }
        let frame = self.state.frames.len() - 1;
        for link in self.path.chain.get(head + 1..).unwrap_or_default() {
            if let Some(checkpoint) =
                link.checkpoint.and_then(|id| self.walk.checkpoints.get_mut(id))
            {
                checkpoint.exact[frame] |= !written;
            }
        }
        self.end_at_head(head, 0);
    }

    /// Registers that an instruction of the path from this position on has written, in whichever
    /// frame. Those that calls overwrite are taken as written.
    fn written_since(&self, position: usize) -> RegSet {
        let entries = self.path.entries().get(position..).unwrap_or_default();
        let insns = entries.iter().filter_map(|entry| self.env.insns.get(entry.insn()));
        insns.fold(SCRATCHED, |written, insn| written | uses(insn).1)
    }

    /// Whether the path has used up something of what bounds a loop since its head, which is at
    /// this position of the chain.
    fn went_round_since(&self, head: usize) -> bool {
        let id = self.path.chain.get(head).and_then(|link| link.checkpoint);
        let old = id.and_then(|id| self.walk.checkpoints.get(id));
        old.is_some_and(|old| self.went_round(old.insn as usize, &old.state))
    }

    /// Whether something of what bounds the loop whose head is at `pc` was used up since the state
    /// `old` there: a `may_goto` has gone on, or the iterator that the head asks, and no other in
    /// its place, has given a number. A way back without that can be gone for ever.
    fn went_round(&self, pc: usize, old: &State) -> bool {
        match self.env.insns.get(pc) {
            Some(Insn::MayGoto { .. }) => old.may_gotos != self.state.may_gotos,
            _ => old.numbers != self.state.numbers && same_iterator(old, &self.state),
        }
    }

    /// How often a loop whose head is here may go round, when the machine bounds it.
    fn rounds_at(&self, pc: usize) -> Option<u64> {
        match self.env.insns.get(pc)? {
            Insn::MayGoto { .. } => Some(MAX_LOOPS),
            Insn::CallKfunc { id, .. } if self.asks_iterator(*id) => self.iterator_rounds(),
            _ => None,
        }
    }

    /// Adds what is known here to what was known here on other paths. Registers that
    /// are not read any more are left out: pruning does not compare them.
    pub(super) fn record_claims(&mut self) {
        let live = self.env.live[self.pc];
        let frame = self.state.frame();
        for (index, (claim, value)) in
            self.proof.claims[self.pc].iter_mut().zip(&frame.regs).enumerate()
        {
            if live & (1 << index) == 0 {
                continue;
            }
            *claim = claim.or(match value.kind {
                Kind::Uninit => Claim::Any,
                Kind::Scalar => Claim::Number(value.scalar),
                // Null is a number too.
                _ if value.nullable => Claim::Any,
                _ => Claim::Pointer,
            });
        }
    }

    /// Keeps the state, if there is room.
    pub(super) fn add_checkpoint(&mut self) -> Result<(), Refusal> {
        self.check_memory_used()?;
        self.walk.jumps_at_checkpoint = self.jumps;
        self.walk.processed_at_checkpoint = self.proof.processed;
        let link = self.path.chain.len();
        // What a long path remembers of its checkpoints must leave room for the rest.
        if link > 0 && link * size_of::<Link>() > self.env.options.max_memory / 4 {
            return Ok(());
        }
        let rounds = self.rounds_at(self.pc);
        let added = self.walk.checkpoints.add(self.pc, &self.state, link)?;
        if let Some(id) = added {
            self.path.checkpoint(id);
            if let (Some(rounds), Some(link)) = (rounds, self.path.chain.last_mut()) {
                link.rounds = rounds;
            }
        }
        Ok(())
    }

    fn drop_checkpoint(&mut self, insn: usize, id: u32) {
        let position =
            self.walk.checkpoints.get(id).filter(|old| !old.complete).map(|old| old.link);
        // Its link stays on the path, for the bound.
        if let Some(link) = position.and_then(|at| self.path.chain.get_mut(at)) {
            link.checkpoint = None;
        }
        self.walk.checkpoints.drop(insn, id);
    }

    /// What a covering checkpoint needs, this path needs too.
    fn inherit(&mut self, id: u32) {
        let Some(old) = self.walk.checkpoints.get(id) else { return };
        let live_slots = old.live_slots;
        let zeros = compare::zeros_from_spills(&old.state, &self.state);
        let mut places = self.walk.checkpoints.precise_places(id);
        for (frame, slots) in live_slots.into_iter().enumerate() {
            places.slots[frame] = (places.slots[frame] | zeros[frame]) & slots;
            self.read_slots(frame, slots);
        }
        for frame in 0..self.state.frames.len() {
            let live = match self.state.frames.get(frame + 1) {
                None => self.env.live[self.pc],
                Some(callee) => {
                    live_over_call(&self.env.live, self.env.insns, callee.call_site as usize)
                }
            };
            places.regs[frame] &= live;
        }
        self.trace_precision(places, self.path.entries().len());
    }

    /// Says that slots of a frame are read.
    pub(super) fn read_slots(&mut self, frame: usize, slots: u64) {
        self.path.read(frame, slots);
    }

    /// Says that the exact bounds of a register matter before the current instruction.
    pub(super) fn need_precise(&mut self, reg: Reg) {
        if self.state.reg(reg).is_scalar() {
            let frame = self.state.depth() as u8;
            self.need_precise_places(&[Some(Place::Reg(frame, reg))]);
        }
    }

    pub(super) fn need_precise_places(&mut self, wanted: &[Option<Place>]) {
        let mut places = Places::default();
        for &place in wanted.iter().flatten() {
            places.add(place);
        }
        // The last entry is the current instruction, which has not run yet.
        self.trace_precision(places, self.path.entries().len().saturating_sub(1));
    }

    pub(super) fn trace_precision(&mut self, places: Places, from: usize) {
        if self.env.options.record_claims {
            return;
        }
        let frame = self.state.depth();
        let checkpoints = &mut self.walk.checkpoints;
        let traced = self.path.trace_back(self.env.insns, from, frame, places, |id, places| {
            checkpoints.mark_precise(id, places);
        });
        if !traced {
            for link in &self.path.chain {
                if let Some(id) = link.checkpoint {
                    self.walk.checkpoints.mark_all_precise(id);
                }
            }
        }
    }
}

/// Whether the iterator that r1 points to in `old` is the same in `new`, and not at its end.
fn same_iterator(old: &State, new: &State) -> bool {
    let Some(asked) = old.frames.last().map(|frame| &frame.regs[Reg::R1.index()]) else {
        return false;
    };
    let (Kind::Stack { frame }, Some(variable)) = (asked.kind, asked.scalar.as_constant()) else {
        return false;
    };
    let at = i64::from(asked.offset).wrapping_add(variable as i64);
    let Ok(index) = usize::try_from(-at / 8 - 1) else { return false };
    let reference = |state: &State| {
        let slot = state.frames.get(frame as usize)?.stack.get(index)?;
        let active = slot.value.kind == Kind::IteratorSlot { drained: false };
        active.then_some(slot.value.reference)
    };
    reference(old).is_some_and(|old| reference(new) == Some(old))
}
