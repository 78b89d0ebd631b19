//! [`Path`]: the instructions that led from the entry to the current one, the
//! checkpoints on the way, and what is derived by walking back along them.
//!
//! Exploration is depth-first, so the path is a stack: when an alternative is taken
//! up again, everything after the branch is cut off. A checkpoint that is cut off has
//! been explored completely.
//!
//! Two things are found out backwards. *Stack liveness*: a read of a slot marks it in
//! every checkpoint since the slot was last written; what is not marked need not be
//! compared. *Precision*: where the exact bounds of a number mattered (a branch that
//! was decided, an offset, a size), the numbers that it was computed from are marked
//! in the checkpoints; the others may be anything when states are compared. This is
//! the method of Linux's `mark_chain_precision`.

use alloc::vec::Vec;

use super::liveness::RegSet;
use super::refusal::{Refusal, room};
use super::state::MAX_FRAMES;
use crate::insn::{AtomicOp, Insn, Operand, Reg};

/// One executed instruction, packed: its slot (20 bits) and, when it moved a number
/// between a register and a stack slot, which one.
#[derive(Clone, Copy)]
pub(super) struct Entry(u32);

/// Positions of instructions must fit in a trace entry.
pub(super) const MAX_INSNS: usize = 1 << 20;

const HAS_SLOT: u32 = 1 << 20;
const WHOLE: u32 = 1 << 31;

impl Entry {
    pub(super) fn new(insn: usize) -> Entry {
        Entry(insn as u32 & 0xf_ffff)
    }

    pub(super) fn insn(self) -> usize {
        (self.0 & 0xf_ffff) as usize
    }

    fn set_slot(&mut self, frame: usize, slot: usize) {
        self.0 |= HAS_SLOT | (frame as u32) << 21 | (slot as u32) << 24;
    }

    /// A call that was taken as a whole: no frame of the function's is on the path.
    fn is_whole(self) -> bool {
        self.0 & WHOLE != 0
    }

    fn slot(self) -> Option<(usize, usize)> {
        (self.0 & HAS_SLOT != 0)
            .then_some(((self.0 >> 21 & 7) as usize, (self.0 >> 24 & 63) as usize))
    }
}

/// Where a number is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    Reg(u8, Reg),
    Slot(u8, u8),
}

/// Values narrowed together by one branch, at most this many.
pub(super) const MAX_LINKED: usize = 6;

#[derive(Clone, Copy)]
struct Linked {
    /// Position in the trace of the branch.
    position: u32,
    places: [Option<Place>; MAX_LINKED],
}

/// Ways back to loop heads on the path: position of the head's link, and the greatest
/// count of instructions to it.
pub(super) type Backs = Vec<(usize, u64)>;

/// Keeps the greatest count for each head.
pub(super) fn add_back(backs: &mut Backs, head: usize, cost: u64) {
    match backs.iter_mut().find(|(known, _)| *known == head) {
        Some((_, most)) => *most = (*most).max(cost),
        None => backs.push((head, cost)),
    }
}

/// A checkpoint on the path.
pub(super) struct Link {
    /// Which one; `None` when it was dropped.
    pub(super) checkpoint: Option<u32>,
    /// Length of the trace when it was made.
    pub(super) trace: u32,
    /// Instructions counted up to it.
    pub(super) cost: u64,
    /// Greatest count seen from it to an end so far.
    pub(super) bound: u64,
    /// Ways from it back to heads before it.
    pub(super) backs: Backs,
    /// For a head: the greatest count of one round, and how many rounds there may be.
    pub(super) round: u64,
    pub(super) rounds: u64,
    /// Slots written between the checkpoint before it and this one.
    written: [u64; MAX_FRAMES],
    /// Slots that were read later on; known to all links before this one.
    pub(super) live: [u64; MAX_FRAMES],
    /// Numbers that were followed back beyond this link already.
    followed: Places,
}

/// A point of the path to come back to.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    trace: usize,
    linked: usize,
    pub(super) chain: usize,
    cost: u64,
    written: [u64; MAX_FRAMES],
}

/// Registers and slots, per frame.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Places {
    pub(super) regs: [RegSet; MAX_FRAMES],
    pub(super) slots: [u64; MAX_FRAMES],
}

impl Places {
    fn is_empty(&self) -> bool {
        self.regs.iter().all(|&set| set == 0) && self.slots.iter().all(|&set| set == 0)
    }

    fn remove(&mut self, others: &Places) {
        for (set, other) in self.regs.iter_mut().zip(&others.regs) {
            *set &= !other;
        }
        for (set, other) in self.slots.iter_mut().zip(&others.slots) {
            *set &= !other;
        }
    }

    fn add_all(&mut self, others: &Places) {
        for (set, other) in self.regs.iter_mut().zip(&others.regs) {
            *set |= other;
        }
        for (set, other) in self.slots.iter_mut().zip(&others.slots) {
            *set |= other;
        }
    }

    pub(super) fn add(&mut self, place: Place) {
        match place {
            Place::Reg(frame, reg) => self.regs[frame as usize] |= 1 << reg as u8,
            Place::Slot(frame, slot) => self.slots[frame as usize] |= 1 << slot,
        }
    }

    fn has(&self, place: Place) -> bool {
        match place {
            Place::Reg(frame, reg) => self.regs[frame as usize] & (1 << reg as u8) != 0,
            Place::Slot(frame, slot) => self.slots[frame as usize] & (1 << slot) != 0,
        }
    }
}

impl Link {
    /// Notes a way back to a head; the link itself is at `position`.
    pub(super) fn comes_back(&mut self, position: usize, head: usize, cost: u64) {
        if head == position {
            self.round = self.round.max(cost);
        } else {
            add_back(&mut self.backs, head, cost);
        }
    }

    /// A head's rounds go into its bound, and before its ways back.
    pub(super) fn finish(&mut self) {
        let all = self.round.saturating_mul(self.rounds.max(1));
        self.bound = self.bound.saturating_add(all);
        for (_, cost) in &mut self.backs {
            *cost = cost.saturating_add(all);
        }
    }
}

#[derive(Default)]
pub(super) struct Path {
    trace: Vec<Entry>,
    linked: Vec<Linked>,
    pub(super) chain: Vec<Link>,
    /// Instructions counted so far.
    pub(super) cost: u64,
    /// Slots written since the last checkpoint.
    written: [u64; MAX_FRAMES],
    /// What was followed back lately, newest first: no need to do it again.
    recent: [Option<Recent>; RECENT],
}

/// Loops ask for the same numbers over and over; so many questions are remembered.
const RECENT: usize = 4;

#[derive(Clone, Copy)]
struct Recent {
    position: usize,
    frame: usize,
    places: Places,
}

impl Path {
    /// # Errors
    /// No memory.
    #[inline]
    pub(super) fn push(&mut self, insn: usize) -> Result<(), Refusal> {
        room(&mut self.trace)?;
        self.trace.push(Entry::new(insn));
        Ok(())
    }

    /// Memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.trace.len() * size_of::<Entry>()
            + self.linked.len() * size_of::<Linked>()
            + self.chain.len() * size_of::<Link>()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.trace
    }

    /// Says that the instruction being executed moved a value to or from a slot.
    pub(super) fn note_slot(&mut self, frame: usize, slot: usize) {
        if let Some(entry) = self.trace.last_mut() {
            entry.set_slot(frame, slot);
        }
    }

    /// Says that the call being executed is taken as a whole: what comes next is what follows
    /// it in the same frame.
    pub(super) fn note_whole_call(&mut self) {
        if let Some(entry) = self.trace.last_mut() {
            entry.0 |= WHOLE;
        }
    }

    /// Says that the branch being executed narrowed these together.
    pub(super) fn note_linked(&mut self, places: [Option<Place>; MAX_LINKED]) {
        let position = self.trace.len().saturating_sub(1) as u32;
        self.linked.push(Linked { position, places });
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            trace: self.trace.len(),
            linked: self.linked.len(),
            chain: self.chain.len(),
            cost: self.cost,
            written: self.written,
        }
    }

    /// Cuts the path off; the chain must already have been cut.
    pub(super) fn return_to(&mut self, mark: &Mark) {
        self.trace.truncate(mark.trace);
        for recent in &mut self.recent {
            // Where the path is cut, another checkpoint may come to stand, which a
            // question asked there has not seen.
            *recent = recent.filter(|recent| recent.position < mark.trace);
        }
        self.linked.truncate(mark.linked);
        self.cost = mark.cost;
        self.written = mark.written;
    }

    /// Puts a checkpoint on the path, before the next instruction.
    pub(super) fn checkpoint(&mut self, checkpoint: u32) {
        self.chain.push(Link {
            checkpoint: Some(checkpoint),
            trace: self.trace.len() as u32,
            cost: self.cost,
            bound: 0,
            backs: Vec::new(),
            round: 0,
            rounds: 0,
            written: self.written,
            live: [0; MAX_FRAMES],
            followed: Places::default(),
        });
        self.written = [0; MAX_FRAMES];
    }

    /// Says that `slots` of a frame were overwritten completely.
    pub(super) fn wrote(&mut self, frame: usize, slots: u64) {
        self.written[frame] |= slots;
    }

    /// Says that a frame has begun: nothing in it comes from before.
    pub(super) fn new_frame(&mut self, frame: usize) {
        self.written[frame] = u64::MAX;
    }

    /// Marks slots as read, in every checkpoint since they were written.
    pub(super) fn read(&mut self, frame: usize, slots: u64) {
        let mut slots = slots & !self.written[frame];
        for link in self.chain.iter_mut().rev() {
            // What was marked before was marked further up as well.
            slots &= !link.live[frame];
            if slots == 0 {
                return;
            }
            link.live[frame] |= slots;
            slots &= !link.written[frame];
        }
    }

    /// Says that from the link at this position on, every slot is read.
    pub(super) fn read_all_at(&mut self, position: usize) {
        for link in self.chain.iter_mut().take(position + 1) {
            link.live = [u64::MAX; MAX_FRAMES];
        }
    }

    /// Follows where the numbers in `places` came from, back from the position
    /// `from`, frame `frame` being active there. `at_checkpoint` marks numbers and
    /// takes away from the set what needs no more following. Returns false when it
    /// cannot tell: then everything must be marked.
    #[must_use]
    pub(super) fn trace_back(
        &mut self,
        insns: &[Insn],
        from: usize,
        frame: usize,
        places: Places,
        at_checkpoint: impl FnMut(u32, &mut Places),
    ) -> bool {
        let traced = self.follow(insns, from, frame, places, at_checkpoint);
        self.recent.rotate_right(1);
        self.recent[0] = Some(Recent { position: from, frame, places });
        traced
    }

    fn follow(
        &mut self,
        insns: &[Insn],
        from: usize,
        frame: usize,
        mut places: Places,
        mut at_checkpoint: impl FnMut(u32, &mut Places),
    ) -> bool {
        let mut position = from;
        let mut frame = frame;
        let mut linked = self.linked.len();
        let mut asked = last_asked(&self.recent, from);
        let mut chain = self.chain.iter_mut().rev();
        // Checkpoints after that point have nothing to do with it.
        let mut next = chain.next();
        while next.as_ref().is_some_and(|link| link.trace as usize > from) {
            next = chain.next();
        }
        loop {
            let link = next;
            next = chain.next();
            let start = link.as_ref().map_or(0, |link| link.trace as usize);
            while position > start {
                position -= 1;
                let Some(&entry) = self.trace.get(position) else { return false };
                while linked > 0 && self.linked[linked - 1].position as usize > position {
                    linked -= 1;
                }
                // Both operands of a branch may have copies.
                let groups = self.linked[..linked].iter().rev();
                let groups = groups.take_while(|group| group.position as usize == position);
                groups.clone().for_each(|group| spread(group, &mut places));
                if !step_back(insns, entry, &mut frame, &mut places) {
                    return false;
                }
                groups.for_each(|group| spread(group, &mut places));
                if position == asked {
                    for recent in self.recent.iter_mut().flatten() {
                        if recent.position == position && recent.frame == frame {
                            places.remove(&recent.places);
                            recent.places.add_all(&places);
                        }
                    }
                    asked = last_asked(&self.recent, position);
                }
                if places.regs[frame] == 0 && places.is_empty() {
                    return true;
                }
            }
            if places.is_empty() {
                return true;
            }
            match link {
                None => return true,
                Some(link) => {
                    places.remove(&link.followed);
                    if let Some(checkpoint) = link.checkpoint {
                        at_checkpoint(checkpoint, &mut places);
                    }
                    link.followed.add_all(&places);
                }
            }
        }
    }
}

/// The last position before `before` from which something was followed back lately.
fn last_asked(recent: &[Option<Recent>; RECENT], before: usize) -> usize {
    let positions = recent.iter().flatten().map(|recent| recent.position);
    positions.filter(|&position| position < before).max().unwrap_or(usize::MAX)
}

/// When one of a group matters, all do.
fn spread(group: &Linked, places: &mut Places) {
    let members = group.places.iter().flatten();
    if members.clone().any(|&place| places.has(place)) {
        for &place in members {
            places.add(place);
        }
    }
}

fn step_back(insns: &[Insn], entry: Entry, frame: &mut usize, places: &mut Places) -> bool {
    let Some(insn) = insns.get(entry.insn()) else { return false };
    let f = *frame;
    let has = |places: &Places, reg: Reg| places.regs[f] & (1 << reg as u8) != 0;
    let add = |places: &mut Places, reg: Reg| places.regs[f] |= 1 << reg as u8;
    let clear = |places: &mut Places, reg: Reg| places.regs[f] &= !(1 << reg as u8);
    match *insn {
        Insn::Alu { dst, src, .. } => {
            if has(places, dst)
                && let Operand::Reg(src) = src
            {
                add(places, src);
            }
        }
        Insn::Neg { .. } | Insn::ByteOrder { .. } => {}
        Insn::Mov { dst, src, .. } => {
            if has(places, dst) {
                clear(places, dst);
                if let Operand::Reg(src) = src {
                    add(places, src);
                }
            }
        }
        Insn::MovSx { dst, src, .. } | Insn::AddrSpaceCast { dst, src, .. } => {
            if has(places, dst) {
                clear(places, dst);
                add(places, src);
            }
        }
        Insn::Load { dst, .. } | Insn::LoadSx { dst, .. } | Insn::LoadAcquire { dst, .. } => {
            if has(places, dst) {
                clear(places, dst);
                if let Some((frame, slot)) = entry.slot() {
                    places.slots[frame] |= 1 << slot;
                }
            }
        }
        Insn::Store { src, .. } => store_back(entry, src, f, places),
        Insn::StoreRelease { src, .. } => store_back(entry, Operand::Reg(src), f, places),
        Insn::Atomic { op, src, .. } => {
            let fetched = AtomicOp::fetched_into(op, src);
            let wanted = fetched.is_some_and(|reg| has(places, reg));
            if let Some(reg) = fetched {
                clear(places, reg);
            }
            if let Some((frame, slot)) = entry.slot() {
                places.slots[frame] &= !(1 << slot);
                if wanted {
                    places.slots[frame] |= 1 << slot;
                }
            }
        }
        Insn::LoadImm64 { dst, .. } => clear(places, dst),
        Insn::Branch { dst, src, .. } => {
            if let Operand::Reg(src) = src
                && (has(places, dst) || has(places, src))
            {
                add(places, dst);
                add(places, src);
            }
        }
        Insn::CallLocal { .. } if !entry.is_whole() => {
            // Backwards, this leaves the callee: its arguments are the caller's.
            let Some(caller) = f.checked_sub(1) else { return false };
            let wanted = core::mem::take(&mut places.regs[f]);
            if wanted & !0x3e != 0 || places.slots[f] != 0 {
                return false;
            }
            places.regs[caller] |= wanted;
            *frame = caller;
        }
        Insn::CallLocal { .. }
        | Insn::CallHelper { .. }
        | Insn::CallRegister { .. }
        | Insn::CallKfunc { .. } => {
            // r1 to r5 are not readable after a call, r0 is a new number.
            if places.regs[f] & 0x3e != 0 {
                return false;
            }
            clear(places, Reg::R0);
        }
        Insn::Exit => {
            // Backwards, this enters the callee: its r0 is the caller's.
            let callee = f + 1;
            if callee >= MAX_FRAMES || places.regs[f] & 0x3e != 0 {
                return false;
            }
            if has(places, Reg::R0) {
                clear(places, Reg::R0);
                places.regs[callee] |= 1;
            }
            *frame = callee;
        }
        Insn::LoadAbs { .. } | Insn::LoadInd { .. } => clear(places, Reg::R0),
        Insn::WideTail | Insn::Jump { .. } | Insn::MayGoto { .. } => {}
    }
    true
}

fn store_back(entry: Entry, src: Operand, frame: usize, places: &mut Places) {
    let Some((in_frame, slot)) = entry.slot() else { return };
    if places.slots[in_frame] & (1 << slot) == 0 {
        return;
    }
    places.slots[in_frame] &= !(1 << slot);
    if let Operand::Reg(src) = src {
        places.regs[frame] |= 1 << src as u8;
    }
}
