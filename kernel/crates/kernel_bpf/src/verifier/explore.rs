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

use super::callback::{Deferred, MAX_LOOPS, Round, every_number};
use super::cfg::Cfg;
use super::checkpoint::Checkpoints;
use super::compare::{self, IdMap, Rules};
use super::global::Prototype;
use super::liveness::{RegSet, live_over_call};
use super::objects::Attached;
use super::options::VerifyOptions;
use super::path::{Mark, Path, Place, Places};
use super::proof::{BranchFact, Claim, Proof, Region};
use super::refusal::Refusal;
use super::rejection::{Cause, PathStep};
use super::state::State;
use super::value::{INNER_MAP, Kind};
use crate::insn::{Insn, Reg};
use crate::map::{KernelPointer, MapDef, ValueFields};
use crate::prog_type::TypeDecl;

/// A map that the program refers to.
pub(super) struct MapInfo {
    pub(super) def: MapDef,
    pub(super) inner: Option<MapDef>,
    /// Locks and timers in its values.
    pub(super) fields: ValueFields,
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

    /// A map whose values' fields are known; not an inner one.
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
    step: Option<PathStep>,
    steps: usize,
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
    /// The first map seen at each tail call.
    pub(super) tail_call_maps: BTreeMap<usize, u32>,
    /// What unprivileged pointer arithmetic was seen to do at each instruction.
    pub(super) masked: BTreeMap<usize, (bool, bool, i64)>,
    /// Global functions, by subprogram.
    pub(super) globals: Vec<Option<Prototype>>,
    /// Whether a call may have moved the packet since this was cleared.
    pub(super) moved_packet: bool,
    /// Callbacks that run on their own later on, and those already queued.
    pub(super) deferred: Vec<Deferred>,
    pub(super) known_deferred: BTreeSet<Deferred>,
    /// The callbacks being explored, outermost first.
    pub(super) rounds: Vec<Round>,
    walk: Walk,
    /// Rooms for further walks.
    spare: Vec<Walk>,
    /// Branches on the way here.
    steps: Vec<PathStep>,
    ids: IdMap,
    next_id: u32,
    jumps: u64,
}

/// A loop's head is compared with this many of its own earlier states at most.
const HEAD_STATES: u32 = 64;

/// What a walk from one entry keeps: the program's, or a callback's within it.
struct Walk {
    checkpoints: Checkpoints,
    pending: Vec<Pending>,
    jumps_at_checkpoint: u64,
    processed_at_checkpoint: u64,
}

impl Walk {
    fn new(env: &Env<'_>) -> Walk {
        Walk {
            checkpoints: Checkpoints::new(env.insns.len(), env.options.max_states),
            pending: Vec::new(),
            jumps_at_checkpoint: 0,
            processed_at_checkpoint: 0,
        }
    }
}

impl<'a> Verifier<'a> {
    pub(super) fn new(env: Env<'a>) -> Verifier<'a> {
        let insns = env.insns.len();
        let facts = alloc::vec![super::proof::InsnFacts::default(); insns];
        let claimed = if env.options.record_claims { insns } else { 0 };
        let claims = alloc::vec![[Claim::Unused; 11]; claimed];
        let walk = Walk::new(&env);
        Verifier {
            env,
            state: State::entry(),
            pc: 0,
            path: Path::default(),
            proof: Proof { facts, claims, ..Proof::default() },
            log: String::new(),
            divisors: BTreeMap::new(),
            tail_call_maps: BTreeMap::new(),
            masked: BTreeMap::new(),
            globals: Vec::new(),
            moved_packet: false,
            deferred: Vec::new(),
            known_deferred: BTreeSet::new(),
            rounds: Vec::new(),
            walk,
            spare: Vec::new(),
            steps: Vec::new(),
            ids: IdMap::default(),
            next_id: 0,
            jumps: 0,
        }
    }

    pub(super) fn new_id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }

    /// The branches that led to the current instruction.
    pub(super) fn steps(&self) -> &[PathStep] {
        &self.steps
    }

    /// Follows every path.
    pub(super) fn run(&mut self) -> Result<(), Refusal> {
        self.proof.worst_case = self.walk()?;
        self.run_deferred()?;
        self.proof.total_states += self.walk.checkpoints.total;
        self.proof.peak_states = self.proof.peak_states.max(self.walk.checkpoints.peak);
        match self.env.budget {
            Some(budget) if self.proof.worst_case > budget => Err(Refusal::program(
                Cause::OverBudget,
                format!(
                    "the worst case is {} instructions, and the hook `{}` allows {budget}",
                    self.proof.worst_case, self.env.decl.name
                ),
            )
            .hint("lower the bounds of loops, or move work to user space")),
            _ => Ok(()),
        }
    }

    /// Follows every path from another entry, and comes back to where it was; the bound.
    /// What the walk ends with is collected by [`Verifier::rounds`].
    pub(super) fn walk_from(&mut self, state: State, pc: usize) -> Result<u64, Refusal> {
        let walk = self.spare.pop().unwrap_or_else(|| Walk::new(&self.env));
        let walk = core::mem::replace(&mut self.walk, walk);
        let path = core::mem::take(&mut self.path);
        let state = core::mem::replace(&mut self.state, state);
        let pc = core::mem::replace(&mut self.pc, pc);
        let steps = self.steps.len();
        let bound = self.walk().map_err(|refusal| self.remember(refusal));
        self.steps.truncate(steps);
        self.pc = pc;
        self.state = state;
        self.path = path;
        let mut done = core::mem::replace(&mut self.walk, walk);
        self.proof.total_states += core::mem::take(&mut done.checkpoints.total);
        self.proof.peak_states = self.proof.peak_states.max(done.checkpoints.peak);
        done.checkpoints.clear();
        done.pending.clear();
        self.spare.push(done);
        bound
    }

    /// Follows every path from here; the greatest count of instructions of any.
    fn walk(&mut self) -> Result<u64, Refusal> {
        // The first checkpoint collects the bound of the whole.
        self.add_checkpoint();
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
            self.path.push(self.pc);
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
        Ok(self.path.chain.first().map_or(0, |link| link.bound))
    }

    /// Counts a conditional branch and keeps the side that is not followed now.
    pub(super) fn push_branch(
        &mut self,
        state: State,
        insn: usize,
        step: PathStep,
    ) -> Result<(), Refusal> {
        if self.walk.pending.len() > self.env.options.max_pending {
            return Err(self.refuse(
                Cause::TooComplex,
                format!("the sequence of {} jumps is too complex", self.walk.pending.len()),
            ));
        }
        let mark = self.path.mark();
        let steps = self.steps.len();
        self.walk.pending.push(Pending { state, insn, mark, step: Some(step), steps });
        Ok(())
    }

    /// Notes a branch that is followed.
    pub(super) fn push_step(&mut self, step: PathStep) {
        self.steps.push(step);
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
        self.cut_chain(pending.mark.chain);
        self.path.return_to(&pending.mark);
        self.state = pending.state;
        self.pc = pending.insn;
        self.steps.truncate(pending.steps);
        self.steps.extend(pending.step);
        self.log_taken_up(pending.step.map(|step| step.insn));
        Ok(true)
    }

    /// The path ends after `rest` more instructions.
    fn end_path(&mut self, rest: u64) {
        let total = self.path.cost.saturating_add(rest);
        if let Some(link) = self.path.chain.last_mut() {
            link.bound = link.bound.max(total.saturating_sub(link.cost));
        }
    }

    /// Checkpoints beyond the first `keep` of the path are explored completely.
    fn cut_chain(&mut self, keep: usize) {
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
    fn visit(&mut self) -> Result<bool, Refusal> {
        let pc = self.pc;
        let processed = self.proof.processed;
        let far = self.jumps - self.walk.jumps_at_checkpoint >= 2
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
                if compare::covers(old, state, live, rules, &mut self.ids) {
                    found = Some((id, old.bound));
                    break;
                }
            } else if head.is_some() {
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
        if add
            && self.add_checkpoint()
            && let (Some(rounds), Some(link)) = (head, self.path.chain.last_mut())
        {
            link.rounds = rounds;
        }
        Ok(false)
    }

    /// The state lies within that of a loop's head which is still being explored: another
    /// round adds nothing. All of both states mattered to find that out.
    fn close_loop(&mut self, id: u32, head: usize) {
        self.log_safe();
        let here = self.path.entries().len();
        for frame in 0..self.state.frames.len() {
            self.read_slots(frame, u64::MAX);
        }
        self.path.read_all_at(head);
        let now = every_number(&self.state);
        self.trace_precision(now, here);
        if let Some(old) = self.walk.checkpoints.get(id)
            && let Some(link) = self.path.chain.get(head)
        {
            let (then, from) = (every_number(&old.state), link.trace as usize);
            self.trace_precision(then, from);
        }
        self.walk.checkpoints.mark_all_precise(id);
        self.end_at_head(head, 0);
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
    fn record_claims(&mut self) {
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
    fn add_checkpoint(&mut self) -> bool {
        self.walk.jumps_at_checkpoint = self.jumps;
        self.walk.processed_at_checkpoint = self.proof.processed;
        let link = self.path.chain.len();
        let added = self.walk.checkpoints.add(self.pc, &self.state, link);
        if let Some(id) = added {
            self.path.checkpoint(id);
        }
        added.is_some()
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
        let mut places = self.walk.checkpoints.precise_places(id);
        for (frame, slots) in live_slots.into_iter().enumerate() {
            places.slots[frame] &= slots;
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

    /// A refusal at the current instruction.
    pub(super) fn refuse(&self, cause: Cause, message: String) -> Refusal {
        Refusal::at(self.pc, cause, message)
    }
}
