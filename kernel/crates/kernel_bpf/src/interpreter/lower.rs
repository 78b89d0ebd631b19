//! From instructions to pre-decoded code: maps and helpers become addresses, jumps become
//! distances, pairs of instructions are fused (`fuse`), and what the proof shows to be dead
//! is left out.

#![forbid(unsafe_code)]

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::code::{Code, Op};
use super::fuse::{fuse, moves};
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};
use crate::map::{ArrayLookup, Map};
use crate::program::Program;
use crate::resolve::{Call, LoadError, MapTracker, Resolver};
use crate::trusted::Trust;
use crate::verifier::{BranchFact, Proof, RegSet};

/// Lowered code: ops with relative jumps, and what they point to.
pub(super) struct Lowered {
    pub(super) ops: Vec<Op>,
    /// For each op, the slot of its instruction.
    pub(super) slots: Vec<u32>,
    /// The array maps that lookups were inlined for; ops hold addresses of its entries.
    pub(super) arrays: Box<[ArrayLookup]>,
}

struct Lowering<'a> {
    resolver: Resolver<'a>,
    /// For each slot: something jumps or calls here.
    targets: Vec<bool>,
    /// For each slot, the registers that may be read from there on before they are written.
    live: Cow<'a, [RegSet]>,
    /// For each slot: the op that it starts with.
    positions: Vec<u32>,
    ops: Vec<Op>,
    /// For each op, the slot of its instruction.
    slots: Vec<u32>,
    /// The slot whose instruction is being lowered.
    slot: u32,
    /// Ops whose `offset` waits for a slot's position.
    patches: Vec<(usize, usize)>,
    /// First op of the current basic block: nothing before it may be fused with.
    block: usize,
    /// How many ops there were at the last slot that something jumps to: as many as there are,
    /// while nothing has been emitted since.
    entered: usize,
    maps: MapTracker,
}

/// Lowers a program; without a proof, nothing is left out, all of it is one function unless
/// called, and stack and helpers are as `trust` says.
pub(super) fn lower(
    program: &Program<Arc<Map>>,
    proof: Option<&Proof>,
    trust: &Trust,
) -> Result<Lowered, LoadError> {
    let count = program.insns.len();
    let resolver = Resolver::new(program, proof, trust);
    let targets = resolver.targets()?;
    let live = resolver.live();
    let mut lowering = Lowering {
        resolver,
        targets,
        live,
        positions: vec![0; count],
        ops: Vec::new(),
        slots: Vec::new(),
        slot: 0,
        patches: Vec::new(),
        block: 0,
        entered: 0,
        maps: MapTracker::default(),
    };
    lowering.ops.try_reserve(count).map_err(|_| LoadError::OutOfMemory)?;
    lowering.slots.try_reserve(count).map_err(|_| LoadError::OutOfMemory)?;
    lowering.emit_all()?;
    lowering.patch()?;
    let Lowering { ops, slots, resolver, .. } = lowering;
    Ok(Lowered { ops, slots, arrays: resolver.arrays })
}

impl Lowering<'_> {
    fn emit_all(&mut self) -> Result<(), LoadError> {
        let program = self.resolver.program;
        for (slot, insn) in program.insns.iter().enumerate() {
            self.slot = u32::try_from(slot).map_err(|_| LoadError::TooLarge)?;
            if self.targets.get(slot).copied().unwrap_or(false) {
                self.start_block();
                self.entered = self.ops.len();
            }
            if let Some(at) = self.positions.get_mut(slot) {
                *at = u32::try_from(self.ops.len()).map_err(|_| LoadError::TooLarge)?;
            }
            let facts = self.resolver.facts(slot).copied();
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
            self.maps.follow(insn);
            if insn.jump_target(slot).is_some() || matches!(insn, Insn::Exit) {
                self.start_block();
            }
        }
        Ok(())
    }

    fn start_block(&mut self) {
        self.join_moves();
        self.block = self.ops.len();
        self.maps.forget();
    }

    /// Appends an op, fused with what precedes it in its block where that is possible; `live` are
    /// the registers that may be read after it.
    fn push(&mut self, op: Op, live: RegSet) -> usize {
        let (mut op, mut slot) = (op, self.slot);
        while self.ops.len() > self.block
            && let Some(fused) = self.ops.last().and_then(|last| fuse(last, &op, live))
        {
            self.ops.pop();
            // What can go wrong in the machine is the part that accesses memory.
            let before = self.slots.pop().unwrap_or(slot);
            if !op.code.accesses_memory() {
                slot = before;
            }
            op = fused;
        }
        self.join_moves();
        self.ops.push(op);
        self.slots.push(slot);
        self.ops.len() - 1
    }

    /// Makes one op of the last two, if both are moves: nothing else came of them.
    fn join_moves(&mut self) {
        if let Some([.., first, second]) = self.ops.get(self.block..)
            && let Some(both) = moves(first, second)
        {
            self.ops.truncate(self.ops.len() - 2);
            self.slots.pop();
            self.ops.push(both);
        }
    }

    fn jump(&mut self, slot: usize, op: Op, offset: i64) -> Result<(), LoadError> {
        let target = self.resolver.target(slot, offset)?;
        if op.code == Code::Jump && self.falls_through(slot, target) {
            return Ok(());
        }
        // A branch over this jump is turned round instead, if nothing else leads to the jump.
        if op.code == Code::Jump
            && self.entered != self.ops.len()
            && let Some(branch) = self.patches.last_mut()
            && branch.0 + 1 == self.ops.len()
            && branch.1 == slot + 1
            && let Some(last) = self.ops.last_mut()
            && let Some(inverse) = last.code.inverse()
        {
            last.code = inverse;
            branch.1 = target;
            return Ok(());
        }
        // Where it leads, any may be read.
        let at = self.push(op, RegSet::MAX);
        self.patches.push((at, target));
        Ok(())
    }

    /// Whether what is left of the code between a jump and its target is nothing.
    fn falls_through(&self, slot: usize, target: usize) -> bool {
        let dead = |between| self.resolver.facts(between).is_some_and(|facts| !facts.reached);
        target > slot && (slot + 1..target).all(dead)
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
                // The same in either width, and more can be fused with one of them.
                Operand::Imm(imm) if alu == AluOp::And && imm >= 0 => {
                    op(Code::And64Imm, dst as u8, dst as u8, imm)
                }
                Operand::Imm(imm) => op(Code::alu(alu, width, true), dst as u8, dst as u8, imm),
                Operand::Reg(src) => {
                    let offset = i32::from(src as u8);
                    Op { offset, ..op(Code::alu(alu, width, false), dst as u8, dst as u8, 0) }
                }
            },
            Insn::Neg { width: Width::W64, dst } => op(Code::Neg64, dst as u8, dst as u8, 0),
            Insn::Neg { width: Width::W32, dst } => op(Code::Neg32, dst as u8, dst as u8, 0),
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
            Insn::ByteOrder { kind, dst, bits } => match byte_order(kind, bits) {
                Some(code) => op(code, dst as u8, dst as u8, 0),
                None => return Ok(()),
            },
            Insn::Load { size, dst, base, offset } => match self.resolver.loaded(slot) {
                Some(value) => constant(dst, value),
                None => self.load(slot, size, dst, base, offset),
            },
            Insn::LoadSx { size, dst, base, offset } => match self.resolver.loaded(slot) {
                Some(value) => constant(dst, value),
                None => {
                    let code = match size {
                        SignedSize::B => Code::LoadSx8,
                        SignedSize::H => Code::LoadSx16,
                        SignedSize::W => Code::LoadSx32,
                    };
                    at(op(code, dst as u8, base as u8, 0), offset)
                }
            },
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
            Insn::LoadImm64 { dst, value: Imm64::Func { offset } } => {
                let address = op(Code::FunctionAddress, dst as u8, 0, 0);
                return self.jump(slot, address, i64::from(offset));
            }
            Insn::LoadImm64 { dst, value } => constant(dst, self.resolver.constant(slot, value)?),
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
                let stack = self.resolver.stack(slot);
                let call = Op { imm: u64::from(stack), ..op(Code::CallLocal, 0, 0, 0) };
                return self.jump(slot, call, i64::from(offset));
            }
            Insn::Exit => op(Code::Exit, 0, 0, 0),
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
        let live = self.live.get(slot + insn.slots()).copied().unwrap_or(RegSet::MAX);
        self.push(op, live);
        Ok(())
    }

    /// A load, of what the context really has at that place.
    fn load(&self, slot: usize, size: Size, dst: Reg, base: Reg, offset: i16) -> Op {
        let (size, offset) = self.resolver.load(slot, size, offset);
        let code = by_size(size, [Code::Load8, Code::Load16, Code::Load32, Code::Load64]);
        Op { offset, ..op(code, dst as u8, base as u8, 0) }
    }

    fn call_helper(&self, slot: usize, id: i32) -> Result<Op, LoadError> {
        match self.resolver.call(slot, id, self.maps.get(Reg::R1))? {
            Call::Array(index) => {
                let array = self.resolver.arrays.get(index);
                let array = array.ok_or(LoadError::NoSuchHelper { slot, id })?;
                let code =
                    if array.cpu_stride == 0 { Code::ArrayLookup } else { Code::PercpuArrayLookup };
                let address = core::ptr::from_ref(array).expose_provenance() as u64;
                Ok(Op { imm: address, ..op(code, 0, 0, 0) })
            }
            Call::Helper(function) => {
                let address = (function as *const ()).expose_provenance() as u64;
                Ok(Op { imm: address, ..op(Code::CallHelper, 0, 0, 0) })
            }
            Call::Callback(function) => {
                let stack = self.resolver.stack(slot);
                let address = (function as *const ()).expose_provenance() as u64;
                let offset = i32::try_from(stack).map_err(|_| LoadError::TooLarge)?;
                Ok(Op { imm: address, offset, ..op(Code::CallCallback, 0, 0, 0) })
            }
            Call::Tail => Ok(op(Code::TailCall, 0, 0, 0)),
        }
    }

    /// A helper that only the running program knows: its function is looked up then.
    fn call_register(&self, slot: usize, target: Reg) -> Result<Op, LoadError> {
        if self.resolver.proof.is_some() {
            return Err(LoadError::Unsupported { slot, what: "a call by register" });
        }
        let find = (self.resolver.trust.helpers as *const ()).expose_provenance() as u64;
        Ok(Op { imm: find, ..op(Code::CallRegister, 0, target as u8, 0) })
    }

    fn packet(
        &self,
        slot: usize,
        size: Size,
        index: Option<Reg>,
        imm: i32,
    ) -> Result<Op, LoadError> {
        let offset = self.resolver.packet_field(slot, size)?;
        let code = match (size, index) {
            (Size::B, None) => Code::PacketAbs8,
            (Size::H, None) => Code::PacketAbs16,
            (_, None) => Code::PacketAbs32,
            (Size::B, Some(_)) => Code::PacketInd8,
            (Size::H, Some(_)) => Code::PacketInd16,
            (_, Some(_)) => Code::PacketInd32,
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

/// `dst = value`
fn constant(dst: Reg, value: u64) -> Op {
    Op { imm: value, ..op(Code::Mov64Imm, dst as u8, 0, 0) }
}

fn by_size(size: Size, [b, h, w, dw]: [Code; 4]) -> Code {
    match size {
        Size::B => b,
        Size::H => h,
        Size::W => w,
        Size::DW => dw,
    }
}

/// Byte orders, on this machine; `None` where nothing is to do.
fn byte_order(kind: ByteOrder, bits: SwapWidth) -> Option<Code> {
    let native = match kind {
        ByteOrder::ToLittle => cfg!(target_endian = "little"),
        ByteOrder::ToBig => cfg!(target_endian = "big"),
        ByteOrder::Swap => false,
    };
    match (bits, native) {
        (SwapWidth::B16, true) => Some(Code::Zext16),
        (SwapWidth::B32, true) => Some(Code::Zext32),
        (SwapWidth::B64, true) => None,
        (SwapWidth::B16, false) => Some(Code::Swap16),
        (SwapWidth::B32, false) => Some(Code::Swap32),
        (SwapWidth::B64, false) => Some(Code::Swap64),
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
