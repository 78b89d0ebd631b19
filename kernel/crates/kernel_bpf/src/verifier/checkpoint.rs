//! [`Checkpoints`]: states kept at prune points, to compare later ones with.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cell::Cell;

use super::liveness::RegSet;
use super::path::{Backs, Places, add_back};
use super::refusal::{Refusal, filled, room};
use super::state::{MAX_FRAMES, State};
use super::value::Value;

/// A state that was explored, or is being explored, from an instruction on.
pub(super) struct Checkpoint {
    /// Where it is.
    pub(super) insn: u32,
    pub(super) state: State,
    /// Slots of each frame that were read later on.
    pub(super) live_slots: [u64; MAX_FRAMES],
    /// Registers that a loop which goes through here leaves as they are: what comes out of it
    /// rests on them, so they are compared whether or not their bounds mattered so far.
    pub(super) exact: [RegSet; MAX_FRAMES],
    /// Every path from here has been followed to its end.
    pub(super) complete: bool,
    /// Greatest count of instructions from here to an end; final when complete.
    pub(super) bound: u64,
    /// Ways back to loop heads that are still on the path; they are not in the bound yet.
    pub(super) backs: Backs,
    /// Its position on the path while it is there.
    pub(super) link: usize,
    /// The register of the active frame that last told another state apart: it is compared
    /// first.
    pub(super) witness: Cell<u8>,
    hits: u32,
    misses: u32,
}

/// All checkpoints of one verification.
pub(super) struct Checkpoints {
    all: Vec<Option<Box<Checkpoint>>>,
    free: Vec<u32>,
    /// For each instruction, which of the lists is its own; `u32::MAX` for none.
    list_of: Vec<u32>,
    /// Those kept at one instruction each, oldest first.
    lists: Vec<Vec<u32>>,
    live: usize,
    limit: usize,
    /// Bytes that they take, and may take.
    pub(super) bytes: usize,
    most_bytes: usize,
    pub(super) total: u64,
    pub(super) peak: u64,
}

impl Checkpoints {
    pub(super) fn new(
        insns: usize,
        limit: usize,
        most_bytes: usize,
    ) -> Result<Checkpoints, Refusal> {
        Ok(Checkpoints {
            all: Vec::new(),
            free: Vec::new(),
            list_of: filled(u32::MAX, insns)?,
            lists: Vec::new(),
            live: 0,
            limit,
            bytes: 0,
            most_bytes,
            total: 0,
            peak: 0,
        })
    }

    /// Forgets all states, and keeps the room.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.free.clear();
        self.lists.iter_mut().for_each(Vec::clear);
        self.live = 0;
        self.bytes = 0;
    }

    fn list(&self, insn: usize) -> &[u32] {
        let list = self.list_of.get(insn).and_then(|&list| self.lists.get(list as usize));
        list.map_or(&[], Vec::as_slice)
    }

    fn list_mut(&mut self, insn: usize) -> Option<&mut Vec<u32>> {
        let list = self.list_of.get_mut(insn)?;
        if *list == u32::MAX {
            *list = self.lists.len() as u32;
            self.lists.push(Vec::new());
        }
        self.lists.get_mut(*list as usize)
    }

    /// Number of those kept at an instruction.
    pub(super) fn count(&self, insn: usize) -> usize {
        self.list(insn).len()
    }

    /// The one at this position of an instruction's list, oldest first.
    pub(super) fn nth(&self, insn: usize, position: usize) -> Option<(u32, &Checkpoint)> {
        let id = *self.list(insn).get(position)?;
        Some((id, self.get(id)?))
    }

    pub(super) fn get(&self, id: u32) -> Option<&Checkpoint> {
        self.all.get(id as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: u32) -> Option<&mut Checkpoint> {
        self.all.get_mut(id as usize)?.as_deref_mut()
    }

    /// Keeps a state. `None` when there is no room: then nothing is kept, which costs
    /// time and not soundness. There is always room for the first of a walk.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn add(
        &mut self,
        insn: usize,
        state: &State,
        link: usize,
    ) -> Result<Option<u32>, Refusal> {
        let bytes = size_of::<Checkpoint>() + state.bytes();
        let full = self.live >= self.limit || self.bytes + bytes > self.most_bytes;
        if full && self.live > 0 {
            return Ok(None);
        }
        room(&mut self.all)?;
        self.bytes += bytes;
        let checkpoint = Box::new(Checkpoint {
            insn: insn as u32,
            state: state.clone(),
            link,
            live_slots: [0; MAX_FRAMES],
            exact: [0; MAX_FRAMES],
            complete: false,
            bound: 0,
            backs: Backs::new(),
            witness: Cell::new(u8::MAX),
            hits: 0,
            misses: 0,
        });
        let id = match self.free.pop() {
            Some(id) => {
                self.all[id as usize] = Some(checkpoint);
                id
            }
            None => {
                self.all.push(Some(checkpoint));
                (self.all.len() - 1) as u32
            }
        };
        let Some(list) = self.list_mut(insn) else { return Ok(None) };
        room(list)?;
        list.push(id);
        let kept = list.len() as u64;
        self.live += 1;
        self.total += 1;
        self.peak = self.peak.max(kept);
        Ok(Some(id))
    }

    /// The loop head at this position of the path is done: ways back to it go on with what
    /// it costs from there, and with its own ways back.
    pub(super) fn resolve(&mut self, head: usize, bound: u64, on: &Backs) {
        for checkpoint in self.all.iter_mut().flatten() {
            let Some(at) = checkpoint.backs.iter().position(|(known, _)| *known == head) else {
                continue;
            };
            let (_, cost) = checkpoint.backs.swap_remove(at);
            checkpoint.bound = checkpoint.bound.max(cost.saturating_add(bound));
            for &(further, more) in on {
                add_back(&mut checkpoint.backs, further, cost.saturating_add(more));
            }
        }
    }

    pub(super) fn hit(&mut self, id: u32) {
        if let Some(checkpoint) = self.get_mut(id) {
            checkpoint.hits += 1;
        }
    }

    /// Counts a comparison in vain; returns true when the checkpoint has become
    /// unlikely to be of use.
    pub(super) fn miss(&mut self, id: u32) -> bool {
        self.get_mut(id).is_some_and(|checkpoint| {
            checkpoint.misses += 1;
            checkpoint.misses > checkpoint.hits * 3 + 3
        })
    }

    /// Drops one. It must not be on the path any more, or its link there be cleared.
    pub(super) fn drop(&mut self, insn: usize, id: u32) {
        if let Some(entry) = self.all.get_mut(id as usize)
            && let Some(dropped) = entry.take()
        {
            let bytes = size_of::<Checkpoint>() + dropped.state.bytes();
            self.bytes = self.bytes.saturating_sub(bytes);
            if let Some(list) = self.list_mut(insn) {
                list.retain(|&other| other != id);
            }
            self.free.push(id);
            self.live -= 1;
        }
    }

    /// Marks as precise the numbers that `places` names, and takes away those that
    /// need no more following.
    pub(super) fn mark_precise(&mut self, id: u32, places: &mut Places) {
        let Some(checkpoint) = self.get_mut(id) else { return };
        let mark = |value: &mut Value| {
            let follow = value.is_scalar() && !value.precise;
            value.precise |= follow;
            follow
        };
        for (number, frame) in checkpoint.state.frames.iter_mut().enumerate() {
            let regs = places.regs[number];
            for (index, value) in frame.regs.iter_mut().enumerate() {
                if regs & (1 << index) != 0 && !mark(value) {
                    places.regs[number] &= !(1 << index);
                }
            }
            let slots = places.slots[number];
            if slots == 0 {
                continue;
            }
            for index in 0..64 {
                if slots & (1 << index) == 0 {
                    continue;
                }
                let slot = frame.stack.get_mut(index).filter(|slot| slot.is_spill());
                if !slot.is_some_and(|slot| mark(&mut slot.value)) {
                    places.slots[number] &= !(1 << index);
                }
            }
        }
    }

    /// Marks every number as precise.
    pub(super) fn mark_all_precise(&mut self, id: u32) {
        let Some(checkpoint) = self.get_mut(id) else { return };
        checkpoint.state.for_each_value(|value| value.precise = true);
    }

    /// Numbers that are marked in a checkpoint, among the live ones.
    pub(super) fn precise_places(&self, id: u32) -> Places {
        let mut places = Places::default();
        let Some(checkpoint) = self.get(id) else { return places };
        for (number, frame) in checkpoint.state.frames.iter().enumerate() {
            for (index, value) in frame.regs.iter().enumerate() {
                let exact = checkpoint.exact[number] & (1 << index) != 0;
                if value.is_scalar() && (value.precise || exact) {
                    places.regs[number] |= 1 << index;
                }
            }
            for (index, slot) in frame.stack.iter().enumerate() {
                if slot.is_spill() && slot.value.is_scalar() && slot.value.precise {
                    places.slots[number] |= 1 << index;
                }
            }
        }
        places
    }
}
