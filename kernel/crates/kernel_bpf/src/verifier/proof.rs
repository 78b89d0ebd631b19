//! [`Verified`], which only the verifier makes, and the [`Proof`] that it carries.

use alloc::vec::Vec;

use super::scalar::Scalar;
use super::shape::Shape;

/// What the verifier found out about an accepted program.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Greatest number of instructions that any run executes: loops and callees
    /// counted, helpers at their declared cost.
    pub worst_case: u64,
    /// Greatest stack use in bytes over all call chains.
    pub stack_depth: u32,
    /// Greatest number of frames at once, the main program's included.
    pub call_depth: u32,
    /// Instructions explored.
    pub processed: u64,
    /// States kept in all, and at most at one instruction.
    pub total_states: u64,
    pub peak_states: u64,
    /// Numbers of the helpers that may be called, sorted.
    pub helpers: Vec<i32>,
    /// Indices into the program's maps of those used, sorted.
    pub maps: Vec<u32>,
    /// One more than the highest byte of the context that is accessed; 0 when none
    /// is. To be compared with the size of the event at attach.
    pub max_ctx_offset: u32,
    /// Whether the program calls `bpf_tail_call`.
    pub tail_calls: bool,
    /// One more than the highest byte of a writable tracepoint's buffer that is accessed.
    pub max_buffer_offset: u32,
    /// Whether it may write to packet data.
    pub writes_packet: bool,
    /// The slot of a load from an object that is known by the kernel's types only. It may fault,
    /// so engines run no such program.
    pub object_load: Option<u32>,
    /// Callbacks that run on their own, later: first slot, and their worst case.
    pub deferred: Vec<(u32, u64)>,
    /// What is proved about each slot.
    pub facts: Vec<InsnFacts>,
    /// For each slot, one bit for each register of the frame that may be read from there on
    /// before it is written.
    pub live: Vec<u16>,
    /// Loads whose result is the same number on all paths, because they are from a map that
    /// can never change: slot and what the register holds then; sorted by slot.
    pub constants: Vec<(u32, u64)>,
    /// Functions of the program, by first slot.
    pub subprograms: Vec<Subprogram>,
    /// What compilers go by; nothing where programs are not usually compiled.
    pub(crate) shape: Option<Shape>,
    /// What the registers of the active frame hold before each slot, over all paths;
    /// empty unless `record_claims` asked for it.
    pub claims: Vec<[Claim; 11]>,
}

/// What is claimed of a register before an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Claim {
    /// No path gets here with the register in use.
    #[default]
    Unused,
    /// It always holds a number of this set.
    Number(Scalar),
    /// It always holds a pointer.
    Pointer,
    /// Anything: different things on different paths.
    Any,
}

impl Claim {
    /// What holds when either does.
    #[must_use]
    pub fn or(self, other: Claim) -> Claim {
        match (self, other) {
            (Claim::Unused, claim) | (claim, Claim::Unused) => claim,
            (Claim::Number(a), Claim::Number(b)) => Claim::Number(a.union(&b)),
            (Claim::Pointer, Claim::Pointer) => Claim::Pointer,
            _ => Claim::Any,
        }
    }
}

/// A function of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subprogram {
    /// First slot.
    pub start: u32,
    /// One past its last slot.
    pub end: u32,
    /// Bytes of its own stack frame that it uses, a multiple of 8.
    pub stack: u32,
}

/// Which kind of memory an instruction accesses, when it is the same on all paths.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Region {
    /// The instruction accesses no memory, or was not reached.
    #[default]
    None,
    Stack,
    Context,
    MapValue,
    Packet,
    /// Memory of known size that a helper returned.
    Memory,
    /// A kernel object.
    Object,
    /// Different kinds on different paths.
    Mixed,
}

/// What is proved about one instruction on all paths; a JIT or interpreter may rely
/// on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InsnFacts {
    /// Some path executes it. What no path reaches may be left out.
    pub reached: bool,
    /// The memory it accesses.
    pub region: Region,
    /// Its divisor is a register and is never zero.
    pub divisor_nonzero: bool,
    /// A conditional branch that always jumps, or never does.
    pub branch: BranchFact,
}

/// Which ways a conditional branch was seen to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BranchFact {
    /// Not a branch, or not reached.
    #[default]
    None,
    Always,
    Never,
    Both,
}

/// A value that the verifier has accepted.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    value: T,
    proof: Proof,
}

impl<T> Verified<T> {
    pub(in crate::verifier) fn new(value: T, proof: Proof) -> Self {
        Self { value, proof }
    }

    /// What was accepted.
    #[must_use]
    pub fn get(&self) -> &T {
        &self.value
    }

    /// What was found out about it.
    #[must_use]
    pub fn proof(&self) -> &Proof {
        &self.proof
    }
}

impl<T> core::ops::Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
