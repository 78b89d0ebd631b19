//! What instructions refer to: where jumps lead, the addresses of maps and helpers, the pointers
//! that a packet's context hides behind its declared fields.
//!
//! [`Resolver`] is what the interpreter's pre-decoder and the compilers share; [`LoadError`] says
//! why a program, though it may be safe, cannot be made ready to run.

#![forbid(unsafe_code)]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt;

use crate::context::BEHIND;
use crate::helper::callback::{self, CallbackHelper};
use crate::helper::{self, Helper, proto::id};
use crate::insn::{Imm64, Insn, Operand, Reg, Size, Width};
use crate::map::{ArrayLookup, Map};
use crate::prog_type::context::{Context, ContextRule, FieldKind};
use crate::prog_type::{self, ProgType};
use crate::program::Program;
use crate::trusted::Trust;
use crate::verifier::{InsnFacts, Proof, RegSet, Region, Shape, Verified, live_registers, uses};

/// Whether a verified program can be run at all.
///
/// # Errors
/// What about it no engine can do.
pub(crate) fn check_runnable<M>(program: &Verified<Program<M>>) -> Result<(), LoadError> {
    if !program.get().prog_type.has_run_time() {
        let what = "programs of this type, which are verified only";
        return Err(LoadError::Unsupported { slot: 0, what });
    }
    // A kernel's own loads of such survive faults.
    match program.proof().object_load {
        Some(slot) => {
            let what = "a load from an object that only the kernel's types tell of";
            Err(LoadError::Unsupported { slot: slot as usize, what })
        }
        None => Ok(()),
    }
}

/// Why a program cannot be prepared to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// The helper is declared but not implemented here.
    NoSuchHelper { slot: usize, id: i32 },
    /// The instruction needs something that this engine does not have.
    Unsupported { slot: usize, what: &'static str },
    /// A jump out of the program; a verified program has none.
    BadJump { slot: usize },
    /// A program array of the program's holds programs of another kind.
    OtherPrograms,
    /// More stack or more instructions than the profile has.
    TooLarge,
    /// No memory for the prepared program.
    OutOfMemory,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchHelper { slot, id } => {
                let name = helper::by_id(*id).map_or("?", |proto| proto.name);
                write!(f, "instruction {slot}: helper {name}#{id} is not implemented")
            }
            Self::Unsupported { slot, what } => {
                write!(f, "instruction {slot}: {what} is not supported")
            }
            Self::BadJump { slot } => write!(f, "instruction {slot}: jump out of the program"),
            Self::OtherPrograms => {
                f.write_str("a program array holds programs of another type, hook or engine")
            }
            Self::TooLarge => f.write_str("the program is larger than the profile allows"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl core::error::Error for LoadError {}

/// What a helper call becomes.
pub(crate) enum Call {
    /// A lookup in the array map at this index of [`Resolver::arrays`].
    Array(usize),
    /// A call of the helper's function.
    Helper(Helper),
    /// A call of a helper that calls back into the program.
    Callback(CallbackHelper),
    /// A tail call.
    Tail,
}

/// Answers what a program's instructions refer to.
pub(crate) struct Resolver<'a> {
    pub(crate) program: &'a Program<Arc<Map>>,
    pub(crate) proof: Option<&'a Proof>,
    /// What stands in for the proof where there is none.
    pub(crate) trust: &'a Trust,
    /// The array maps whose lookups need no call. The prepared program keeps them: its code
    /// may hold addresses of entries.
    pub(crate) arrays: Box<[ArrayLookup]>,
    /// Once it was asked for: few instructions need it.
    context: OnceCell<Option<Context>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        program: &'a Program<Arc<Map>>,
        proof: Option<&'a Proof>,
        trust: &'a Trust,
    ) -> Self {
        // Most maps are arrays: room for all, so that the list is made once.
        let mut arrays = Vec::with_capacity(program.maps.len());
        arrays.extend(program.maps.iter().filter_map(|map| map.array_lookup()));
        let context = OnceCell::new();
        Self { program, proof, trust, arrays: arrays.into_boxed_slice(), context }
    }

    /// What programs of this type get as their context.
    fn context(&self) -> Option<Context> {
        *self.context.get_or_init(|| {
            let program = self.program;
            let decl = prog_type::decl(program.prog_type, program.expected_attach_type);
            decl.map(|decl| decl.context)
        })
    }

    /// The slot that an offset leads to.
    pub(crate) fn target(&self, slot: usize, offset: i64) -> Result<usize, LoadError> {
        usize::try_from(slot as i64 + 1 + offset)
            .ok()
            .filter(|&target| target < self.program.insns.len())
            .ok_or(LoadError::BadJump { slot })
    }

    /// For each slot, whether something jumps or calls there.
    pub(crate) fn targets(&self) -> Result<Vec<bool>, LoadError> {
        let mut targets = vec![false; self.program.insns.len()];
        for (slot, insn) in self.program.insns.iter().enumerate() {
            let offset = match insn {
                Insn::CallLocal { offset }
                | Insn::LoadImm64 { value: Imm64::Func { offset }, .. } => Some(i64::from(*offset)),
                _ => insn.jump_target(slot).map(|target| target - slot as i64 - 1),
            };
            if let Some(offset) = offset
                && let Some(mark) = targets.get_mut(self.target(slot, offset)?)
            {
                *mark = true;
            }
        }
        Ok(targets)
    }

    /// The stack of the function that a slot belongs to, in bytes.
    pub(crate) fn stack(&self, slot: usize) -> u32 {
        let Some(proof) = self.proof else { return self.trust.frame };
        let after = proof.subprograms.partition_point(|sub| sub.start as usize <= slot);
        let function = after.checked_sub(1).and_then(|index| proof.subprograms.get(index));
        function.map_or(0, |function| function.stack)
    }

    /// What is proved about a slot.
    #[inline]
    pub(crate) fn facts(&self, slot: usize) -> Option<&InsnFacts> {
        self.proof.and_then(|proof| proof.facts.get(slot))
    }

    /// For each slot, the registers that may be read from there on before they are written.
    pub(crate) fn live(&self) -> Cow<'a, [RegSet]> {
        if let Some(proof) = self.proof {
            return Cow::Borrowed(&proof.live);
        }
        // Helpers on trust read what any function may.
        let any_call = Insn::CallLocal { offset: 0 };
        let uses = |insn: &Insn| match insn {
            Insn::CallHelper { .. } => uses(&any_call),
            _ => uses(insn),
        };
        let mut live = vec![0; self.program.insns.len()];
        live_registers(&self.program.insns, uses, &mut live);
        Cow::Owned(live)
    }

    /// The number that the load at a slot always gives, because it is from a map that can never
    /// change.
    #[inline]
    pub(crate) fn loaded(&self, slot: usize) -> Option<u64> {
        let constants = self.proof.map_or(&[][..], |proof| &proof.constants);
        if constants.is_empty() {
            return None;
        }
        let at = constants.binary_search_by_key(&(slot as u32), |&(slot, _)| slot).ok()?;
        constants.get(at).map(|&(_, value)| value)
    }

    /// What compilers go by. `None`: no memory.
    pub(crate) fn shape(&self) -> Option<Cow<'a, Shape>> {
        let insns = &self.program.insns;
        let Some(proof) = self.proof else {
            return Shape::of(insns, &Shape::starts(insns), &self.live(), &[]).map(Cow::Owned);
        };
        if let Some(shape) = &proof.shape {
            return Some(Cow::Borrowed(shape));
        }
        let starts: Vec<u32> = proof.subprograms.iter().map(|own| own.start).collect();
        Shape::of(insns, &starts, &proof.live, &proof.facts).map(Cow::Owned)
    }

    /// What a load accesses: for a pointer field of a packet's context, the whole pointer, which
    /// lies behind the context.
    pub(crate) fn load(&self, slot: usize, size: Size, offset: i16) -> (Size, i32) {
        let plain = (size, i32::from(offset));
        if size != Size::W || self.facts(slot).is_none_or(|facts| facts.region != Region::Context) {
            return plain;
        }
        let Some(context) = self.context() else { return plain };
        let (ContextRule::Fields(fields) | ContextRule::Words(fields)) = context.rule else {
            return plain;
        };
        let field = fields.iter().find(|field| i32::from(field.offset) == i32::from(offset));
        let pointer = match field.map(|field| field.kind) {
            Some(FieldKind::PacketData) => 0,
            Some(FieldKind::PacketEnd) => 8,
            Some(FieldKind::PacketMeta) => 16,
            _ => return plain,
        };
        (Size::DW, BEHIND as i32 + pointer)
    }

    /// The 64 bits that an `ld_imm64` loads.
    pub(crate) fn constant(&self, slot: usize, value: Imm64) -> Result<u64, LoadError> {
        let unsupported = |what| LoadError::Unsupported { slot, what };
        let map = |index: u32| {
            self.program.maps.get(index as usize).ok_or(unsupported("a map that is not there"))
        };
        match value {
            Imm64::Value(value) => Ok(value),
            Imm64::MapIndex(index) => Ok(Arc::as_ptr(map(index)?).expose_provenance() as u64),
            Imm64::MapIndexValue { index, offset } => {
                let array = map(index)?.array_lookup();
                let array = array.ok_or(unsupported("the value of such a map"))?;
                Ok(array.base as u64 + u64::from(offset))
            }
            Imm64::MapFd(_) | Imm64::MapFdValue { .. } => Err(unsupported("a map descriptor")),
            Imm64::BtfId { .. } => Err(unsupported("a kernel variable")),
            Imm64::Func { .. } => Err(unsupported("a callback")),
        }
    }

    /// What a call of the helper `id` becomes, when r1 holds the map with index `map`.
    pub(crate) fn call(&self, slot: usize, id: i32, map: Option<u32>) -> Result<Call, LoadError> {
        if id == id::MAP_LOOKUP_ELEM
            && let Some(map) = map.and_then(|index| self.program.maps.get(index as usize))
        {
            if let Some(parts) = map.array_lookup()
                && let Some(index) = self.arrays.iter().position(|entry| entry.base == parts.base)
            {
                return Ok(Call::Array(index));
            }
            if let Some(function) = helper::quick_lookup(map) {
                return Ok(Call::Helper(function));
            }
        }
        if self.proof.is_some() || (self.trust.helpers)(id).is_none() {
            if id == id::TAIL_CALL {
                return Ok(Call::Tail);
            }
            if let Some(function) = callback::implementation(id) {
                return Ok(Call::Callback(function));
            }
        }
        let find = if self.proof.is_some() { helper::implementation } else { self.trust.helpers };
        let function = find(id).ok_or(LoadError::NoSuchHelper { slot, id })?;
        Ok(Call::Helper(function))
    }

    /// Where the context has the packet's start and end, for the legacy packet loads.
    pub(crate) fn packet_field(&self, slot: usize, size: Size) -> Result<i32, LoadError> {
        let unsupported = LoadError::Unsupported { slot, what: "packet access of this kind" };
        let packets = [ProgType::SocketFilter, ProgType::SchedCls, ProgType::SchedAct];
        if size == Size::DW || !packets.contains(&self.program.prog_type) {
            return Err(unsupported);
        }
        Ok(BEHIND as i32)
    }
}

/// Follows map addresses through loads and moves of a basic block, to know which map a call is
/// about.
#[derive(Default)]
pub(crate) struct MapTracker {
    maps: [Option<u32>; 11],
    /// Whether any register is known, so that most instructions cost one test.
    any: bool,
}

impl MapTracker {
    /// A new block begins: nothing is known.
    #[inline]
    pub(crate) fn forget(&mut self) {
        if self.any {
            *self = Self::default();
        }
    }

    /// Whether a register holds the address of a map.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        self.any
    }

    /// The index of the map whose address a register holds.
    #[inline]
    pub(crate) fn get(&self, register: Reg) -> Option<u32> {
        self.maps.get(register.index()).copied().flatten()
    }

    /// The effect of an instruction.
    #[inline]
    pub(crate) fn follow(&mut self, insn: &Insn) {
        if self.any || matches!(insn, Insn::LoadImm64 { value: Imm64::MapIndex(_), .. }) {
            self.apply(insn);
        }
    }

    fn apply(&mut self, insn: &Insn) {
        let (register, map) = match *insn {
            Insn::LoadImm64 { dst, value: Imm64::MapIndex(index) } => (dst, Some(index)),
            Insn::Mov { width: Width::W64, dst, src: Operand::Reg(src) } => (dst, self.get(src)),
            Insn::CallHelper { .. }
            | Insn::CallRegister { .. }
            | Insn::CallLocal { .. }
            | Insn::CallKfunc { .. } => {
                for scratch in self.maps.iter_mut().take(6) {
                    *scratch = None;
                }
                return;
            }
            Insn::Alu { dst, .. }
            | Insn::Neg { dst, .. }
            | Insn::Mov { dst, .. }
            | Insn::MovSx { dst, .. }
            | Insn::AddrSpaceCast { dst, .. }
            | Insn::ByteOrder { dst, .. }
            | Insn::Load { dst, .. }
            | Insn::LoadSx { dst, .. }
            | Insn::LoadAcquire { dst, .. }
            | Insn::LoadImm64 { dst, .. } => (dst, None),
            Insn::Atomic { op, src, .. } => match op.fetched_into(src) {
                Some(register) => (register, None),
                None => return,
            },
            Insn::LoadAbs { .. } | Insn::LoadInd { .. } => return self.forget(),
            _ => return,
        };
        if let Some(known) = self.maps.get_mut(register.index()) {
            *known = map;
            self.any |= map.is_some();
        }
    }
}
