//! From instructions to pre-decoded code: maps and helpers become addresses, jumps become
//! distances, pairs of instructions are fused (`fuse`), and what the proof shows to be dead
//! is left out.

#![forbid(unsafe_code)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use super::code::{Code, Op};
use super::fuse::fuse;
use crate::helper::{self, proto::id};
use crate::insn::{
    AtomicOp, ByteOrder, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};
use crate::map::{ArrayLookup, Map};
use crate::prog_type::context::{ContextRule, FieldKind};
use crate::prog_type::{self, ProgType};
use crate::program::Program;
use crate::trusted::Trust;
use crate::verifier::{BranchFact, Proof, Region};

/// Why a program cannot be prepared to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// The helper is declared but not implemented here.
    NoSuchHelper { slot: usize, id: i32 },
    /// The instruction needs something that this engine does not have.
    Unsupported { slot: usize, what: &'static str },
    /// A jump out of the program; a verified program has none.
    BadJump { slot: usize },
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
            Self::TooLarge => f.write_str("the program is larger than the profile allows"),
            Self::OutOfMemory => f.write_str("out of memory"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Lowered code: ops with relative jumps, and what they point to.
pub(super) struct Lowered {
    pub(super) ops: Vec<Op>,
    /// The array maps that lookups were inlined for; ops hold addresses of its entries.
    pub(super) arrays: Box<[ArrayLookup]>,
}

struct Lowering<'a> {
    program: &'a Program<Arc<Map>>,
    proof: Option<&'a Proof>,
    trust: &'a Trust,
    arrays: Box<[ArrayLookup]>,
    /// For each slot: something jumps or calls here.
    targets: Vec<bool>,
    /// For each slot: the op that it starts with.
    positions: Vec<u32>,
    ops: Vec<Op>,
    /// Ops whose `offset` waits for a slot's position.
    patches: Vec<(usize, usize)>,
    /// First op of the current basic block: nothing before it may be fused with.
    block: usize,
    /// Which registers hold the address of which map, within the basic block.
    maps: [Option<u32>; 11],
}

/// Lowers a program; without a proof, nothing is left out, all of it is one function unless
/// called, and stack and helpers are as `trust` says.
pub(super) fn lower(
    program: &Program<Arc<Map>>,
    proof: Option<&Proof>,
    trust: &Trust,
) -> Result<Lowered, LoadError> {
    let count = program.insns.len();
    let arrays: Box<[ArrayLookup]> =
        program.maps.iter().filter_map(|map| map.array_lookup()).collect();
    let mut lowering = Lowering {
        program,
        proof,
        trust,
        arrays,
        targets: vec![false; count],
        positions: vec![0; count],
        ops: Vec::new(),
        patches: Vec::new(),
        block: 0,
        maps: [None; 11],
    };
    lowering.ops.try_reserve(count).map_err(|_| LoadError::OutOfMemory)?;
    lowering.find_targets()?;
    lowering.emit_all()?;
    lowering.patch()?;
    Ok(Lowered { ops: lowering.ops, arrays: lowering.arrays })
}

impl Lowering<'_> {
    fn target_of(&self, slot: usize, offset: i64) -> Result<usize, LoadError> {
        usize::try_from(slot as i64 + 1 + offset)
            .ok()
            .filter(|&target| target < self.program.insns.len())
            .ok_or(LoadError::BadJump { slot })
    }

    fn find_targets(&mut self) -> Result<(), LoadError> {
        for (slot, insn) in self.program.insns.iter().enumerate() {
            let offset = match insn {
                Insn::CallLocal { offset } => Some(i64::from(*offset)),
                _ => insn.jump_target(slot).map(|target| target - slot as i64 - 1),
            };
            if let Some(offset) = offset {
                let target = self.target_of(slot, offset)?;
                if let Some(mark) = self.targets.get_mut(target) {
                    *mark = true;
                }
            }
        }
        Ok(())
    }

    /// The function that a slot belongs to: whether it is the main one, and its stack.
    fn function(&self, slot: usize) -> (bool, u32) {
        let Some(proof) = self.proof else {
            // Without a proof: code that lies behind a call's target is a subprogram.
            let called = self.program.insns.iter().enumerate().any(|(at, insn)| match insn {
                Insn::CallLocal { offset } => {
                    self.target_of(at, i64::from(*offset)).is_ok_and(|start| start <= slot)
                }
                _ => false,
            });
            return (!called, self.trust.frame);
        };
        let after = proof.subprograms.partition_point(|sub| sub.start as usize <= slot);
        let stack = after.checked_sub(1).and_then(|index| proof.subprograms.get(index));
        (after <= 1, stack.map_or(0, |sub| sub.stack))
    }

    fn emit_all(&mut self) -> Result<(), LoadError> {
        let program = self.program;
        for (slot, insn) in program.insns.iter().enumerate() {
            let position = u32::try_from(self.ops.len()).map_err(|_| LoadError::TooLarge)?;
            if let Some(at) = self.positions.get_mut(slot) {
                *at = position;
            }
            if self.targets.get(slot).copied().unwrap_or(false) {
                self.start_block();
            }
            let facts = self.proof.and_then(|proof| proof.facts.get(slot));
            if matches!(insn, Insn::WideTail) || facts.is_some_and(|facts| !facts.reached) {
                continue;
            }
            match (insn, facts.map(|facts| facts.branch)) {
                (Insn::Branch { .. }, Some(BranchFact::Never)) => continue,
                (Insn::Branch { offset, .. }, Some(BranchFact::Always)) => {
                    self.jump(slot, op(Code::Jump, 0, 0, 0), i64::from(*offset))?;
                }
                _ => self.emit(slot, insn)?,
            }
            self.track_maps(insn);
            if insn.jump_target(slot).is_some() || matches!(insn, Insn::Exit) {
                self.start_block();
            }
        }
        Ok(())
    }

    fn start_block(&mut self) {
        self.block = self.ops.len();
        self.maps = [None; 11];
    }

    /// Follows map addresses through loads and moves, to know which map a call is about.
    fn track_maps(&mut self, insn: &Insn) {
        let (register, map) = match *insn {
            Insn::LoadImm64 { dst, value: Imm64::MapIndex(index) } => (dst, Some(index)),
            Insn::Mov { width: Width::W64, dst, src: Operand::Reg(src) } => {
                (dst, self.maps.get(src.index()).copied().flatten())
            }
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
            Insn::LoadAbs { .. } | Insn::LoadInd { .. } => {
                self.maps = [None; 11];
                return;
            }
            _ => return,
        };
        if let Some(known) = self.maps.get_mut(register.index()) {
            *known = map;
        }
    }

    /// Appends an op, fused with what precedes it in its block where that is possible.
    fn push(&mut self, op: Op) -> usize {
        let mut op = op;
        while self.ops.len() > self.block
            && let Some(fused) = self.ops.last().and_then(|last| fuse(last, &op))
        {
            self.ops.pop();
            op = fused;
        }
        self.ops.push(op);
        self.ops.len() - 1
    }

    fn jump(&mut self, slot: usize, op: Op, offset: i64) -> Result<(), LoadError> {
        let target = self.target_of(slot, offset)?;
        let at = self.push(op);
        self.patches.push((at, target));
        Ok(())
    }

    fn patch(&mut self) -> Result<(), LoadError> {
        for &(at, target) in &self.patches {
            let position = self.positions.get(target).copied().unwrap_or(0);
            let distance = (i64::from(position) - at as i64) * size_of::<Op>() as i64;
            let distance = i32::try_from(distance).map_err(|_| LoadError::TooLarge)?;
            if let Some(op) = self.ops.get_mut(at) {
                op.offset = distance;
            }
        }
        Ok(())
    }

    fn emit(&mut self, slot: usize, insn: &Insn) -> Result<(), LoadError> {
        let op = match *insn {
            Insn::Alu { width, op: alu, dst, src } => match src {
                Operand::Imm(imm) => op(Code::alu(alu, width, true), dst as u8, 0, imm),
                Operand::Reg(src) => op(Code::alu(alu, width, false), dst as u8, src as u8, 0),
            },
            Insn::Neg { width: Width::W64, dst } => op(Code::Neg64, dst as u8, 0, 0),
            Insn::Neg { width: Width::W32, dst } => op(Code::Neg32, dst as u8, 0, 0),
            Insn::Mov { width, dst, src } => {
                let (immediate, register) = match width {
                    Width::W64 => (Code::Mov64Imm, Code::Mov64Reg),
                    Width::W32 => (Code::Mov32Imm, Code::Mov32Reg),
                };
                match src {
                    Operand::Imm(imm) => op(immediate, dst as u8, 0, imm),
                    Operand::Reg(src) => op(register, dst as u8, src as u8, 0),
                }
            }
            Insn::MovSx { width, dst, src, from } => {
                let code = match (width, from) {
                    (Width::W64, SignedSize::B) => Code::Sx8To64,
                    (Width::W64, SignedSize::H) => Code::Sx16To64,
                    (Width::W64, SignedSize::W) => Code::Sx32To64,
                    (Width::W32, SignedSize::B) => Code::Sx8To32,
                    (Width::W32, SignedSize::H) => Code::Sx16To32,
                    (Width::W32, SignedSize::W) => Code::Mov32Reg,
                };
                op(code, dst as u8, src as u8, 0)
            }
            Insn::ByteOrder { kind, dst, bits } => op(byte_order(kind, bits), dst as u8, 0, 0),
            Insn::Load { size, dst, base, offset } => self.load(slot, size, dst, base, offset),
            Insn::LoadSx { size, dst, base, offset } => {
                let code = match size {
                    SignedSize::B => Code::LoadSx8,
                    SignedSize::H => Code::LoadSx16,
                    SignedSize::W => Code::LoadSx32,
                };
                at(op(code, dst as u8, base as u8, 0), offset)
            }
            Insn::Store { size, base, offset, src: Operand::Imm(imm) } => {
                let code = by_size(
                    size,
                    [Code::Store8Imm, Code::Store16Imm, Code::Store32Imm, Code::Store64Imm],
                );
                at(op(code, base as u8, 0, imm), offset)
            }
            Insn::Store { size, base, offset, src: Operand::Reg(src) } => {
                let code = by_size(
                    size,
                    [Code::Store8Reg, Code::Store16Reg, Code::Store32Reg, Code::Store64Reg],
                );
                at(op(code, base as u8, src as u8, 0), offset)
            }
            Insn::Atomic { op: atomic_op, width, base, offset, src } => {
                at(op(atomic(atomic_op, width), base as u8, src as u8, 0), offset)
            }
            Insn::LoadAcquire { size, dst, base, offset } => {
                let code = by_size(
                    size,
                    [Code::Acquire8, Code::Acquire16, Code::Acquire32, Code::Acquire64],
                );
                at(op(code, dst as u8, base as u8, 0), offset)
            }
            Insn::StoreRelease { size, base, offset, src } => {
                let code = by_size(
                    size,
                    [Code::Release8, Code::Release16, Code::Release32, Code::Release64],
                );
                at(op(code, base as u8, src as u8, 0), offset)
            }
            Insn::LoadImm64 { dst, value } => {
                Op { imm: self.constant(slot, value)?, ..op(Code::Mov64Imm, dst as u8, 0, 0) }
            }
            Insn::Jump { offset, .. } => {
                return self.jump(slot, op(Code::Jump, 0, 0, 0), i64::from(offset));
            }
            Insn::Branch { width, cond, dst, src, offset } => {
                let branch = match src {
                    Operand::Imm(imm) => op(Code::branch(cond, width, true), dst as u8, 0, imm),
                    Operand::Reg(src) => {
                        op(Code::branch(cond, width, false), dst as u8, src as u8, 0)
                    }
                };
                return self.jump(slot, branch, i64::from(offset));
            }
            Insn::MayGoto { offset } => {
                return self.jump(slot, op(Code::MayGoto, 0, 0, 0), i64::from(offset));
            }
            Insn::CallHelper { id } => self.call_helper(slot, id)?,
            Insn::CallRegister { target } => self.call_register(slot, target)?,
            Insn::CallLocal { offset } => {
                let (_, stack) = self.function(slot);
                let call = Op { imm: u64::from(stack), ..op(Code::CallLocal, 0, 0, 0) };
                return self.jump(slot, call, i64::from(offset));
            }
            Insn::Exit => {
                let (main, _) = self.function(slot);
                op(if main { Code::Exit } else { Code::Return }, 0, 0, 0)
            }
            Insn::LoadAbs { size, imm } => self.packet(slot, size, None, imm)?,
            Insn::LoadInd { size, src, imm } => self.packet(slot, size, Some(src), imm)?,
            Insn::AddrSpaceCast { .. } => {
                return Err(LoadError::Unsupported { slot, what: "a cast between address spaces" });
            }
            Insn::CallKfunc { .. } => {
                return Err(LoadError::Unsupported { slot, what: "a call of a kernel function" });
            }
            Insn::WideTail => return Ok(()),
        };
        self.push(op);
        Ok(())
    }

    /// A load; of a pointer field of a packet's context, the whole pointer, which lies behind
    /// the context.
    fn load(&self, slot: usize, size: Size, dst: Reg, base: Reg, offset: i16) -> Op {
        let code = by_size(size, [Code::Load8, Code::Load16, Code::Load32, Code::Load64]);
        let plain = at(op(code, dst as u8, base as u8, 0), offset);
        let region = self.proof.and_then(|proof| proof.facts.get(slot)).map(|facts| facts.region);
        if region != Some(Region::Context) || size != Size::W {
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
        Op { code: Code::Load64, offset: context.size as i32 + pointer, ..plain }
    }

    fn context(&self) -> Option<prog_type::context::Context> {
        prog_type::decl(self.program.prog_type, self.program.expected_attach_type)
            .map(|decl| decl.context)
    }

    fn constant(&self, slot: usize, value: Imm64) -> Result<u64, LoadError> {
        let map = |index: u32| {
            let map = self.program.maps.get(index as usize);
            map.ok_or(LoadError::Unsupported { slot, what: "a map that is not there" })
        };
        match value {
            Imm64::Value(value) => Ok(value),
            Imm64::MapIndex(index) => Ok(Arc::as_ptr(map(index)?).expose_provenance() as u64),
            Imm64::MapIndexValue { index, offset } => {
                let array = map(index)?.array_lookup();
                let array = array
                    .ok_or(LoadError::Unsupported { slot, what: "the value of such a map" })?;
                Ok(array.base as u64 + u64::from(offset))
            }
            Imm64::MapFd(_) | Imm64::MapFdValue { .. } => {
                Err(LoadError::Unsupported { slot, what: "a map descriptor" })
            }
            Imm64::BtfId { .. } => Err(LoadError::Unsupported { slot, what: "a kernel variable" }),
            Imm64::Func { .. } => Err(LoadError::Unsupported { slot, what: "a callback" }),
        }
    }

    fn call_helper(&self, slot: usize, id: i32) -> Result<Op, LoadError> {
        let map = self.maps.get(1).copied().flatten();
        let map = map.and_then(|index| self.program.maps.get(index as usize));
        if id == id::MAP_LOOKUP_ELEM
            && let Some(map) = map
            && let Some(parts) = map.array_lookup()
            && let Some(entry) = self.arrays.iter().find(|entry| entry.base == parts.base)
        {
            let code =
                if parts.cpu_stride == 0 { Code::ArrayLookup } else { Code::PercpuArrayLookup };
            let address = core::ptr::from_ref(entry).expose_provenance() as u64;
            return Ok(Op { imm: address, ..op(code, 0, 0, 0) });
        }
        let function = (self.trust.helpers)(id).ok_or(LoadError::NoSuchHelper { slot, id })?;
        let address = (function as *const ()).expose_provenance() as u64;
        Ok(Op { imm: address, ..op(Code::CallHelper, 0, 0, 0) })
    }

    /// A helper that only the running program knows: its function is looked up then.
    fn call_register(&self, slot: usize, target: Reg) -> Result<Op, LoadError> {
        if self.proof.is_some() {
            return Err(LoadError::Unsupported { slot, what: "a call by register" });
        }
        let find = (self.trust.helpers as *const ()).expose_provenance() as u64;
        Ok(Op { imm: find, ..op(Code::CallRegister, 0, target as u8, 0) })
    }

    fn packet(
        &self,
        slot: usize,
        size: Size,
        index: Option<Reg>,
        imm: i32,
    ) -> Result<Op, LoadError> {
        let unsupported = LoadError::Unsupported { slot, what: "packet access of this kind" };
        let packets = [ProgType::SocketFilter, ProgType::SchedCls, ProgType::SchedAct];
        let context = self.context().filter(|_| packets.contains(&self.program.prog_type));
        let offset = context.ok_or(unsupported)?.size as i32;
        let code = match (size, index) {
            (Size::B, None) => Code::PacketAbs8,
            (Size::H, None) => Code::PacketAbs16,
            (Size::W, None) => Code::PacketAbs32,
            (Size::B, Some(_)) => Code::PacketInd8,
            (Size::H, Some(_)) => Code::PacketInd16,
            (Size::W, Some(_)) => Code::PacketInd32,
            (Size::DW, _) => return Err(unsupported),
        };
        Ok(Op { offset, ..op(code, 0, index.map_or(0, |register| register as u8), imm) })
    }
}

fn op(code: Code, dst: u8, src: u8, imm: i32) -> Op {
    Op { code, dst, src, offset: 0, imm: i64::from(imm) as u64 }
}

fn at(op: Op, offset: i16) -> Op {
    Op { offset: i32::from(offset), ..op }
}

fn by_size(size: Size, [b, h, w, dw]: [Code; 4]) -> Code {
    match size {
        Size::B => b,
        Size::H => h,
        Size::W => w,
        Size::DW => dw,
    }
}

/// Byte orders, on this machine.
fn byte_order(kind: ByteOrder, bits: SwapWidth) -> Code {
    let native = match kind {
        ByteOrder::ToLittle => cfg!(target_endian = "little"),
        ByteOrder::ToBig => cfg!(target_endian = "big"),
        ByteOrder::Swap => false,
    };
    match (bits, native) {
        (SwapWidth::B16, true) => Code::Zext16,
        (SwapWidth::B32, true) => Code::Zext32,
        (SwapWidth::B64, true) => Code::Nop,
        (SwapWidth::B16, false) => Code::Swap16,
        (SwapWidth::B32, false) => Code::Swap32,
        (SwapWidth::B64, false) => Code::Swap64,
    }
}

fn atomic(op: AtomicOp, width: Width) -> Code {
    let wide = width == Width::W64;
    let pick = |w32, w64| if wide { w64 } else { w32 };
    match op {
        AtomicOp::Add { fetch: false } => pick(Code::AtomicAdd32, Code::AtomicAdd64),
        AtomicOp::Or { fetch: false } => pick(Code::AtomicOr32, Code::AtomicOr64),
        AtomicOp::And { fetch: false } => pick(Code::AtomicAnd32, Code::AtomicAnd64),
        AtomicOp::Xor { fetch: false } => pick(Code::AtomicXor32, Code::AtomicXor64),
        AtomicOp::Add { fetch: true } => pick(Code::AtomicAddF32, Code::AtomicAddF64),
        AtomicOp::Or { fetch: true } => pick(Code::AtomicOrF32, Code::AtomicOrF64),
        AtomicOp::And { fetch: true } => pick(Code::AtomicAndF32, Code::AtomicAndF64),
        AtomicOp::Xor { fetch: true } => pick(Code::AtomicXorF32, Code::AtomicXorF64),
        AtomicOp::Xchg => pick(Code::AtomicXchg32, Code::AtomicXchg64),
        AtomicOp::CmpXchg => pick(Code::AtomicCmpXchg32, Code::AtomicCmpXchg64),
    }
}
