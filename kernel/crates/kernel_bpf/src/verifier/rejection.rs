//! [`Rejection`]: why a program was refused, for people and for tools.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::insn::Reg;

/// The kind of a refusal. Exactly one per refused program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Program type, attach type or loader do not fit together.
    ProgramType,
    /// Too many instructions, or none.
    ProgramSize,
    /// An instruction that this engine does not run, or with an operand out of range.
    BadInstruction,
    /// A jump out of the program, out of its function, or into a 16-byte load.
    BadJump,
    /// Execution can run past the last instruction of a function.
    FallsThrough,
    /// An instruction that no path can reach.
    Unreachable,
    /// A loop that was not shown to end.
    InfiniteLoop,
    /// More work than the verifier may do.
    TooComplex,
    /// There is no memory to verify it.
    OutOfMemory,
    /// The worst case exceeds the hook's budget.
    OverBudget,
    /// A register or stack slot is read before it was written.
    Uninitialised,
    /// A write to the frame pointer.
    FramePointer,
    /// Arithmetic that is not allowed on this pointer.
    PointerArithmetic,
    /// Comparison of pointers that is not allowed.
    PointerComparison,
    /// A number is used as an address.
    NotAPointer,
    /// A pointer that may be null is used.
    MayBeNull,
    /// An access outside the memory that a pointer may touch.
    OutOfBounds,
    /// An access that is not aligned.
    Misaligned,
    /// A write to what may only be read.
    ReadOnly,
    /// A read of what may only be written.
    WriteOnly,
    /// A field of the context that does not exist or may not be accessed so.
    ContextAccess,
    /// A pointer would become visible to user space.
    PointerLeak,
    /// A helper or kernel function that does not exist or is not allowed here.
    UnknownFunction,
    /// A helper for GPL-compatible programs only.
    Licence,
    /// An argument of a call is not what the function wants.
    BadArgument,
    /// A template for text that has other conversions than there are, or more than numbers.
    BadTemplate,
    /// A map that does not fit the call.
    MapMismatch,
    /// A reference is not released, or released twice.
    Reference,
    /// A spin lock is not given back, or what is not allowed under it.
    Lock,
    /// Too much stack, or too many frames.
    StackDepth,
    /// The return value is not what the hook allows.
    ReturnValue,
}

impl Cause {
    /// A short name for tools.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Cause::ProgramType => "program_type",
            Cause::ProgramSize => "program_size",
            Cause::BadInstruction => "bad_instruction",
            Cause::BadJump => "bad_jump",
            Cause::FallsThrough => "falls_through",
            Cause::Unreachable => "unreachable",
            Cause::InfiniteLoop => "infinite_loop",
            Cause::TooComplex => "too_complex",
            Cause::OutOfMemory => "out_of_memory",
            Cause::OverBudget => "over_budget",
            Cause::Uninitialised => "uninitialised",
            Cause::FramePointer => "frame_pointer",
            Cause::PointerArithmetic => "pointer_arithmetic",
            Cause::PointerComparison => "pointer_comparison",
            Cause::NotAPointer => "not_a_pointer",
            Cause::MayBeNull => "may_be_null",
            Cause::OutOfBounds => "out_of_bounds",
            Cause::Misaligned => "misaligned",
            Cause::ReadOnly => "read_only",
            Cause::WriteOnly => "write_only",
            Cause::ContextAccess => "context_access",
            Cause::PointerLeak => "pointer_leak",
            Cause::UnknownFunction => "unknown_function",
            Cause::Licence => "licence",
            Cause::BadArgument => "bad_argument",
            Cause::BadTemplate => "bad_template",
            Cause::MapMismatch => "map_mismatch",
            Cause::Reference => "reference",
            Cause::Lock => "lock",
            Cause::StackDepth => "stack_depth",
            Cause::ReturnValue => "return_value",
        }
    }
}

/// Where in the source an instruction comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceLine {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    pub text: Arc<str>,
}

/// One conditional branch on the way to the refused instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathStep {
    /// Slot of the branch.
    pub insn: u32,
    /// Whether it jumped.
    pub taken: bool,
}

/// Why a program was refused: one cause, where, and what to do about it.
///
/// `Display` writes the whole message, several lines, for a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    pub cause: Cause,
    /// Slot of the refused instruction, where one is to blame.
    pub insn: Option<u32>,
    /// The instruction as text.
    pub disassembly: Option<String>,
    /// The register to blame.
    pub register: Option<Reg>,
    /// The state of that register in words.
    pub register_state: Option<String>,
    /// One sentence.
    pub message: String,
    /// What usually helps.
    pub hint: Option<&'static str>,
    pub source: Option<SourceLine>,
    /// The last branches that led there, oldest first.
    pub path: Vec<PathStep>,
    /// Whether earlier branches were left out of `path`.
    pub path_shortened: bool,
    /// Instructions explored before the refusal.
    pub processed: u64,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.insn, &self.disassembly) {
            (Some(insn), Some(text)) => {
                writeln!(f, "refused at instruction {insn}: {text}")?;
            }
            (Some(insn), None) => writeln!(f, "refused at instruction {insn}")?,
            _ => writeln!(f, "refused")?,
        }
        writeln!(f, "  cause: {}", self.message)?;
        if let Some(source) = &self.source {
            write!(f, "  source: {}:{}", source.file, source.line)?;
            if source.column > 0 {
                write!(f, ":{}", source.column)?;
            }
            writeln!(f, "  {}", source.text.trim())?;
        }
        if let (Some(register), Some(state)) = (self.register, &self.register_state) {
            writeln!(f, "  {register} is {state}")?;
        }
        if !self.path.is_empty() {
            f.write_str("  path:")?;
            if self.path_shortened {
                f.write_str(" …")?;
            }
            for (position, step) in self.path.iter().enumerate() {
                let comma = if position == 0 { "" } else { "," };
                let how = if step.taken { "jumped" } else { "fell through" };
                write!(f, "{comma} branch at {} {how}", step.insn)?;
            }
            writeln!(f)?;
        }
        if let Some(hint) = self.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        Ok(())
    }
}

impl core::error::Error for Rejection {}
