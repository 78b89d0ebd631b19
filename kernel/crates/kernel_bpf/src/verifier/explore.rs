//! [`Verifier`]: follows every path, depth first, and prunes those that an earlier
//! one covers.
//!
//! The worst-case bound comes from the same walk. Each checkpoint on the path keeps
//! the greatest count of instructions seen from it to an end. A path that is pruned
//! ends there with the bound of the checkpoint that covers it, which is final,
//! because only completely explored checkpoints prune. When a checkpoint leaves the
//! path, its bound goes up into the one before it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::callback::{Deferred, Round};
use super::cfg::Cfg;
use super::checkpoint::Checkpoints;
use super::compare::IdMap;
use super::global::Prototype;
use super::liveness::RegSet;
use super::objects::Attached;
use super::options::VerifyOptions;
use super::path::{Mark, Path};
use super::proof::{BranchFact, Claim, InsnFacts, Proof, Region};
use super::refusal::{Refusal, filled, room};
use super::rejection::{Cause, PathStep};
use super::state::State;
use super::value::INNER_MAP;
use crate::insn::Insn;
use crate::map::{KernelPointer, MapDef, ValueFields};
use crate::prog_type::TypeDecl;

/// A map that the program refers to.
pub(super) struct MapInfo {
    pub(super) def: MapDef,
    pub(super) inner: Option<MapDef>,
    /// Locks and timers in its values.
    pub(super) fields: ValueFields,
    /// The same of the maps inside.
    pub(super) inner_fields: ValueFields,
    /// Kernel objects that its values point to.
    pub(super) pointers: Vec<KernelPointer>,
}

/// What does not change while paths are followed.
pub(super) struct Env<'a> {
    pub(super) insns: &'a [Insn],
    pub(super) options: &'a VerifyOptions,
    pub(super) decl: TypeDecl,
    pub(super) prog_type: crate::prog_type::ProgType,
    pub(super) gpl: bool,
    pub(super) maps: Vec<MapInfo>,
    /// Reads constants from a frozen map.
    pub(super) read_frozen: &'a dyn Fn(usize, u32, &mut [u8]) -> bool,
    pub(super) cfg: Cfg,
    pub(super) live: Vec<RegSet>,
    pub(super) budget: Option<u64>,
    pub(super) attached: Attached,
    pub(super) sleepable: bool,
}

impl Env<'_> {
    pub(super) fn privileged(&self) -> bool {
        !self.options.unprivileged
    }

    /// Locks and timers in a map's values, inner ones included.
    pub(super) fn fields(&self, map: u32) -> ValueFields {
        let info = self.maps.get((map & !INNER_MAP) as usize);
        info.map_or_else(ValueFields::default, |info| {
            if map & INNER_MAP != 0 { info.inner_fields } else { info.fields }
        })
    }

    /// A map that the program names; not an inner one.
    pub(super) fn map_info(&self, map: u32) -> Option<&MapInfo> {
        if map & INNER_MAP != 0 { None } else { self.maps.get(map as usize) }
    }

    /// The definition of a map, inner ones included.
    pub(super) fn map(&self, map: u32) -> Option<&MapDef> {
        let info = self.maps.get((map & !INNER_MAP) as usize)?;
        if map & INNER_MAP != 0 { info.inner.as_ref() } else { Some(&info.def) }
    }
}

/// What follows an instruction.
pub(super) enum Flow {
    Next,
    Jump(usize),
    /// The program ends here.
    End,
}

/// A branch not yet followed.
struct Pending {
    state: State,
    insn: usize,
    mark: Mark,
    /// Slot of the branch.
    from: u32,
    /// The slot of an exit that the way begins with: the branch has ended its function.
    exit: Option<usize>,
}

pub(super) struct Verifier<'a> {
    pub(super) env: Env<'a>,
    pub(super) state: State,
    pub(super) pc: usize,
    pub(super) path: Path,
    pub(super) proof: Proof,
    pub(super) log: String,
    /// Whether each division by a register was never by zero so far.
    divisors: BTreeMap<usize, bool>,
    /// What each load from a map's value gave so far; `None` for what is not one number.
    pub(super) loaded: BTreeMap<usize, Option<u64>>,
    /// The first map seen at each tail call.
    pub(super) tail_call_maps: BTreeMap<usize, u32>,
    /// What unprivileged pointer arithmetic was seen to do at each instruction.
    pub(super) masked: BTreeMap<usize, (bool, bool, i64)>,
    /// Global functions, by subprogram.
    pub(super) globals: Vec<Option<Prototype>>,
    /// Whether a call may have moved the packet since this was cleared.
    pub(super) moved_packet: bool,
    /// The widest atomic access to memory that the global function being walked was given.
    pub(super) lent_atomic: u32,
    /// Callbacks that run on their own later on, and those already queued.
    pub(super) deferred: Vec<Deferred>,
    pub(super) known_deferred: BTreeSet<Deferred>,
    /// Which functions' helper calls were seen to call which functions back.
    pub(super) callbacks: BTreeSet<(u32, u32)>,
    /// The callbacks being explored, outermost first.
    pub(super) rounds: Vec<Round>,
    pub(super) walk: Walk,
    /// Memory of the walks around this one, and of what is known of the program's shape.
    outer_bytes: usize,
    /// Rooms for further walks.
    spare: Vec<Walk>,
    /// Branches on the way to the walk that is going on, within others.
    outer_steps: Vec<PathStep>,
    pub(super) ids: IdMap,
    next_id: u32,
    pub(super) jumps: u64,
}

/// What is kept for each slot of a program besides the search: its function, whether states
/// are compared there and where they are listed, its live registers, and what is found out.
const BYTES_PER_SLOT: usize =
    2 * size_of::<u32>() + size_of::<bool>() + size_of::<RegSet>() + size_of::<InsnFacts>();

/// Branches kept in a rejection's path.
const PATH_STEPS: usize = 8;

/// What a walk from one entry keeps: the program's, or a callback's within it.
pub(super) struct Walk {
    pub(super) checkpoints: Checkpoints,
    pending: Vec<Pending>,
    pending_bytes: usize,
    pub(super) jumps_at_checkpoint: u64,
    pub(super) processed_at_checkpoint: u64,
}

impl Walk {
    fn new(env: &Env<'_>) -> Result<Walk, Refusal> {
        Ok(Walk {
            checkpoints: Checkpoints::new(
                env.insns.len(),
                env.options.max_states,
                env.options.max_state_bytes,
            )?,
            pending: Vec::new(),
            pending_bytes: 0,
            jumps_at_checkpoint: 0,
            processed_at_checkpoint: 0,
        })
    }
}

impl Walk {
    fn bytes(&self) -> usize {
        self.checkpoints.bytes + self.pending_bytes
    }
}

impl<'a> Verifier<'a> {
    pub(super) fn new(env: Env<'a>) -> Result<Verifier<'a>, Refusal> {
        let insns = env.insns.len();
        let facts = filled(InsnFacts::default(), insns)?;
        let claimed = if env.options.record_claims { insns } else { 0 };
        let claims = filled([Claim::Unused; 11], claimed)?;
        let walk = Walk::new(&env)?;
        let outer_bytes = insns * BYTES_PER_SLOT;
        Ok(Verifier {
            env,
            state: State::entry(),
            pc: 0,
            path: Path::default(),
            proof: Proof { facts, claims, ..Proof::default() },
            log: String::new(),
            divisors: BTreeMap::new(),
            loaded: BTreeMap::new(),
            tail_call_maps: BTreeMap::new(),
            masked: BTreeMap::new(),
            globals: Vec::new(),
            moved_packet: false,
            lent_atomic: 0,
            deferred: Vec::new(),
            known_deferred: BTreeSet::new(),
            callbacks: BTreeSet::new(),
            rounds: Vec::new(),
            walk,
            outer_bytes,
            spare: Vec::new(),
            outer_steps: Vec::new(),
            ids: IdMap::default(),
            next_id: 0,
            jumps: 0,
        })
    }

    pub(super) fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// The last branches that led to the current instruction, oldest first, and whether
    /// there were more.
    pub(super) fn steps(&self) -> (Vec<PathStep>, bool) {
        let entries = self.path.entries();
        let mut next = self.pc;
        let mut steps = Vec::new();
        let mut more = false;
        for (position, entry) in entries.iter().enumerate().rev() {
            let slot = entry.insn();
            let insn = self.env.insns.get(slot);
            let undecided = position + 1 == entries.len() && slot == self.pc;
            if let Some(insn @ (Insn::Branch { .. } | Insn::MayGoto { .. })) = insn
                && !undecided
            {
                if steps.len() == PATH_STEPS {
                    more = true;
                    break;
                }
                let target = insn.jump_target(slot);
                let taken = next != slot + 1 && target == i64::try_from(next).ok();
                steps.push(PathStep { insn: slot as u32, taken });
            }
            next = slot;
        }
        let room = PATH_STEPS - steps.len();
        let outer = &self.outer_steps;
        more |= outer.len() > room;
        steps.extend(outer.iter().rev().take(room).copied());
        steps.reverse();
        (steps, more)
    }

    /// Follows every path.
    pub(super) fn run(&mut self) -> Result<(), Refusal> {
        self.proof.worst_case = self.walk()?;
        self.run_deferred()?;
        // Not where another path loads from memory of another kind.
        let of_maps = |slot: usize| {
            self.proof.facts.get(slot).is_some_and(|facts| facts.region == Region::MapValue)
        };
        let known = self.loaded.iter().filter(|&(&slot, _)| of_maps(slot));
        self.proof.constants = known.filter_map(|(&slot, x)| Some((slot as u32, (*x)?))).collect();
        self.proof.total_states += self.walk.checkpoints.total;
        self.proof.peak_states = self.proof.peak_states.max(self.walk.checkpoints.peak);
        // What a timer calls runs in the place of the hook.
        let deferred = self.proof.deferred.iter().map(|&(_, cost)| cost);
        let most = deferred.fold(self.proof.worst_case, u64::max);
        match self.env.budget {
            Some(budget) if most > budget => Err(Refusal::program(
                Cause::OverBudget,
                format!(
                    "the worst case is {most} instructions, and the hook `{}` allows {budget}",
                    self.env.decl.name
                ),
            )
            .hint("lower the bounds of loops, or move work to user space")),
            _ => Ok(()),
        }
    }

    /// Follows every path from another entry, and comes back to where it was; the bound.
    /// What the walk ends with is collected by [`Verifier::rounds`].
    pub(super) fn walk_from(&mut self, state: State, pc: usize) -> Result<u64, Refusal> {
        let walk = match self.spare.pop() {
            Some(walk) => walk,
            None => Walk::new(&self.env)?,
        };
        let steps = self.outer_steps.len();
        let (before, _) = self.steps();
        self.outer_steps.extend(before);
        let outer = self.outer_bytes;
        self.outer_bytes += self.walk.bytes() + self.path.bytes();
        let walk = core::mem::replace(&mut self.walk, walk);
        let path = core::mem::take(&mut self.path);
        let state = core::mem::replace(&mut self.state, state);
        let pc = core::mem::replace(&mut self.pc, pc);
        let bound = self.walk().map_err(|refusal| self.remember(refusal));
        self.outer_steps.truncate(steps);
        self.pc = pc;
        self.state = state;
        self.path = path;
        let mut done = core::mem::replace(&mut self.walk, walk);
        self.proof.total_states += core::mem::take(&mut done.checkpoints.total);
        self.proof.peak_states = self.proof.peak_states.max(done.checkpoints.peak);
        done.checkpoints.clear();
        done.pending.clear();
        done.pending_bytes = 0;
        self.outer_bytes = outer;
        self.spare.push(done);
        bound
    }

    /// Follows every path from here; the greatest count of instructions of any.
    fn walk(&mut self) -> Result<u64, Refusal> {
        // The first checkpoint collects the bound of the whole.
        self.add_checkpoint()?;
        let insns = self.env.insns;
        let mut entered = false;
        loop {
            // The entry has just got its checkpoint.
            if entered && self.env.cfg.prune_point[self.pc] && self.visit()? {
                if !self.take_up()? {
                    break;
                }
                continue;
            }
            let Some(insn) = insns.get(self.pc) else {
                return Err(self.refuse(Cause::BadJump, "execution leaves the program".into()));
            };
            entered = true;
            self.proof.processed += 1;
            if self.proof.processed > self.env.options.max_processed {
                let limit = self.env.options.max_processed;
                return Err(self
                    .refuse(
                        Cause::TooComplex,
                        format!(
                            "BPF program is too large. More than {limit} instructions explored"
                        ),
                    )
                    .hint("bound loops tightly, and split the program or move code to functions"));
            }
            self.path.cost += 1;
            self.path.push(self.pc)?;
            self.proof.facts[self.pc].reached = true;
            if self.logging() {
                self.log_step(insn);
            }
            if self.env.options.record_claims {
                self.record_claims();
            }
            match self.step(insn)? {
                Flow::Next => self.pc += insn.slots(),
                Flow::Jump(to) => {
                    self.jumps += 1;
                    self.pc = to;
                }
                Flow::End => {
                    self.end_path(0);
                    if !self.take_up()? {
                        break;
                    }
                }
            }
        }
        self.cut_chain(1);
        let whole = self.path.chain.first_mut().map(|link| {
            link.finish();
            link.bound
        });
        Ok(whole.unwrap_or(0))
    }

    /// Counts a conditional branch and keeps the side that is not followed now.
    pub(super) fn push_branch(&mut self, state: State, insn: usize) -> Result<(), Refusal> {
        self.push_way(state, insn, None)
    }

    /// Keeps a way from here for later, with an exit before it if one is named.
    pub(super) fn push_way(
        &mut self,
        state: State,
        insn: usize,
        exit: Option<usize>,
    ) -> Result<(), Refusal> {
        if self.walk.pending.len() > self.env.options.max_pending {
            return Err(self.refuse(
                Cause::TooComplex,
                format!("the sequence of {} jumps is too complex", self.walk.pending.len()),
            ));
        }
        self.walk.pending_bytes += size_of::<Pending>() + state.bytes();
        self.check_memory_used()?;
        let mark = self.path.mark();
        let from = self.pc as u32;
        room(&mut self.walk.pending)?;
        self.walk.pending.push(Pending { state, insn, mark, from, exit });
        Ok(())
    }

    /// Refuses when the search has outgrown its memory.
    pub(super) fn check_memory_used(&self) -> Result<(), Refusal> {
        let own = self.walk.bytes() + self.path.bytes();
        let used = self.outer_bytes + own;
        let most = self.env.options.max_memory;
        if used <= most {
            return Ok(());
        }
        Err(self
            .refuse(
                Cause::TooComplex,
                format!("BPF program is too large. Its paths take {used} bytes of memory to explore, and {most} are allowed"),
            )
            .hint("bound loops tightly, and split the program or move code to functions"))
    }

    pub(super) fn note_branch(&mut self, taken: bool) {
        self.jumps += 1;
        let fact = &mut self.proof.facts[self.pc].branch;
        *fact = match (*fact, taken) {
            (BranchFact::None | BranchFact::Always, true) => BranchFact::Always,
            (BranchFact::None | BranchFact::Never, false) => BranchFact::Never,
            _ => BranchFact::Both,
        };
    }

    pub(super) fn note_nonzero_divisor(&mut self, nonzero: bool) {
        let all = self.divisors.entry(self.pc).or_insert(true);
        *all &= nonzero;
        self.proof.facts[self.pc].divisor_nonzero = *all;
    }

    /// Notes the kind of memory that the current instruction accesses. Accesses to the
    /// context and to kernel objects may be translated, so such an instruction may do
    /// nothing else.
    pub(super) fn note_region(&mut self, region: Region) -> Result<(), Refusal> {
        let before = self.proof.facts[self.pc].region;
        if before == region {
            return Ok(());
        }
        let translated = |region| matches!(region, Region::Context | Region::Object);
        if before != Region::None && (translated(before) || translated(region)) {
            return Err(self.refuse(
                Cause::NotAPointer,
                "same insn cannot be used with different pointers: on one path to the context or a kernel object, on another to other memory".into(),
            ));
        }
        let mixed = before != Region::None;
        self.proof.facts[self.pc].region = if mixed { Region::Mixed } else { region };
        Ok(())
    }

    /// Takes up the last branch not followed; false when there is none.
    fn take_up(&mut self) -> Result<bool, Refusal> {
        let Some(pending) = self.walk.pending.pop() else { return Ok(false) };
        let bytes = size_of::<Pending>() + pending.state.bytes();
        self.walk.pending_bytes = self.walk.pending_bytes.saturating_sub(bytes);
        self.cut_chain(pending.mark.chain);
        self.path.return_to(&pending.mark);
        if let Some(exit) = pending.exit {
            self.path.push(exit)?;
        }
        self.state = pending.state;
        self.pc = pending.insn;
        self.log_taken_up(pending.from);
        Ok(true)
    }

    /// A refusal at the current instruction.
    pub(super) fn refuse(&self, cause: Cause, message: String) -> Refusal {
        Refusal::at(self.pc, cause, message)
    }
}
