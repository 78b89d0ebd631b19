//! What each instruction becomes.

use super::Front;
use super::simplify::invert;
use crate::helper::{self, proto::id};
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, Imm64, Insn, Operand, Reg, SignedSize, Size, SwapWidth, Width,
};
use crate::jit::Clock;
use crate::jit::calls;
use crate::jit::emitter::Emitter;
use crate::jit::ir::{Mem, Op, Place, Source};
use crate::resolve::{Call, LoadError};
use crate::verifier::{BranchFact, Form};

impl<E: Emitter> Front<'_, E> {
    /// Lowers one instruction, which is of some form; `main`: of the main function.
    #[inline(always)]
    pub(super) fn insn(&mut self, insn: &Insn, form: Form, main: bool) -> Result<(), LoadError> {
        match *insn {
            Insn::Alu { width, op, dst, src } => {
                let from = Place::of(self.moved.take().unwrap_or(dst));
                let dst = Place::of(dst);
                match self.alu_source(op, width, from, src) {
                    Source::Imm(imm) => self.alu_constant(width, op, dst, from, imm),
                    Source::Place(b) => self.alu_places(width, op, dst, from, b),
                }
            }
            Insn::Neg { width, dst } => {
                let dst = Place::of(dst);
                self.push(Op::Negate { width, dst, src: self.known.operand(dst, width) });
            }
            Insn::Mov { width, dst, src: Operand::Imm(imm) } => {
                let value = match width {
                    Width::W64 => i64::from(imm) as u64,
                    Width::W32 => u64::from(imm as u32),
                };
                self.constant(Place::of(dst), value);
            }
            Insn::Mov { width, dst, src: Operand::Reg(src) } => match form {
                Form::Copy => self.moved = Some(src),
                Form::Rotation4 => self.rotation(src, 4),
                Form::Rotation5 => self.rotation(src, 5),
                _ => self.copy(width, Place::of(dst), Place::of(src)),
            },
            Insn::MovSx { width, dst, src, from } => {
                let src = self.place(Place::of(src), Width::W32);
                self.push(Op::SignExtend { width, dst: Place::of(dst), src, from });
            }
            Insn::ByteOrder { kind, dst, bits } => self.byte_order(kind, Place::of(dst), bits),
            Insn::Load { size, dst, base, offset } => {
                if base == Reg::FP
                    && let Some(place) = self.promoted.get(i32::from(offset))
                {
                    // A privileged program may read what it never wrote: of half a register, half.
                    let width = if size == Size::DW { Width::W64 } else { Width::W32 };
                    self.copy(width, Place::of(dst), place);
                    return Ok(());
                }
                if let Some(value) = self.resolver.loaded(self.slot) {
                    self.constant(Place::of(dst), value);
                    return Ok(());
                }
                let (size, offset) = self.resolver.load(self.slot, size, offset);
                let mem = self.memory(base, offset, size);
                let dst = Place::of(dst);
                self.push(Op::Load { size, signed: false, acquire: false, dst, mem });
            }
            Insn::LoadSx { size, dst, base, offset } => {
                let (size, dst) = (size.size(), Place::of(dst));
                if let Some(value) = self.resolver.loaded(self.slot) {
                    self.constant(dst, value);
                    return Ok(());
                }
                let mem = self.memory(base, i32::from(offset), size);
                self.push(Op::Load { size, signed: true, acquire: false, dst, mem });
            }
            Insn::LoadAcquire { size, dst, base, offset } => {
                let mem = self.plain_memory(base, i32::from(offset), size);
                let dst = Place::of(dst);
                self.push(Op::Load { size, signed: false, acquire: true, dst, mem });
            }
            Insn::Store { size, base, offset, src } => {
                let offset = i32::from(offset);
                let width = if size == Size::DW { Width::W64 } else { Width::W32 };
                if base == Reg::FP
                    && let Some(place) = self.promoted.get(offset)
                {
                    return self.store_promoted(width, place, src);
                }
                let src = self.source(src, width);
                let mem = self.memory(base, offset, size);
                self.push(Op::Store { size, release: false, mem, src });
            }
            Insn::StoreRelease { size, base, offset, src } => {
                let src = self.source(Operand::Reg(src), Width::W64);
                let mem = self.plain_memory(base, i32::from(offset), size);
                self.push(Op::Store { size, release: true, mem, src });
            }
            Insn::Atomic { op, width, base, offset, src } => {
                let size = if width == Width::W64 { Size::DW } else { Size::W };
                let mem = self.plain_memory(base, i32::from(offset), size);
                // What is fetched goes into the register itself.
                let src = match op {
                    AtomicOp::CmpXchg => self.place(Place::of(src), width),
                    _ if op.fetched_into(src).is_some() => Place::of(src),
                    _ => self.place(Place::of(src), width),
                };
                self.push(Op::Atomic { op, width, mem, src });
            }
            Insn::LoadImm64 { dst, value: Imm64::Func { offset } } => {
                let function = self.callee(offset)?;
                self.push(Op::FunctionAddress { dst: Place::of(dst), function });
            }
            Insn::LoadImm64 { dst, value } => {
                // The first one: `function` asks only while one is held.
                if let Imm64::MapIndex(_) = value {
                    self.maps.follow(insn);
                }
                let value = self.resolver.constant(self.slot, value)?;
                match self.promoted.holds(value) {
                    Some(place) => self.copy(Width::W64, Place::of(dst), place),
                    None => self.constant(Place::of(dst), value),
                }
            }
            Insn::WideTail => {}
            Insn::Jump { offset, .. } => self.goto(i64::from(offset))?,
            Insn::Branch { .. } => self.branch(insn)?,
            Insn::MayGoto { offset } => {
                let target = self.target(i64::from(offset))?;
                self.push(Op::MayGoto { target });
            }
            Insn::CallHelper { id } => self.call_helper(id)?,
            Insn::CallLocal { offset } => {
                let function = self.callee(offset)?;
                self.push(Op::CallLocal { function });
            }
            Insn::Exit => self.push(Op::Exit),
            Insn::LoadAbs { size, imm } => self.load_packet(size, None, imm, main)?,
            Insn::LoadInd { size, src, imm } => self.load_packet(size, Some(src), imm, main)?,
            Insn::AddrSpaceCast { .. } => {
                return Err(self.unsupported("a cast between address spaces"));
            }
            Insn::CallKfunc { .. } => return Err(self.unsupported("a call of a kernel function")),
            Insn::CallRegister { target } => self.call_register(target)?,
        }
        Ok(())
    }

    fn branch(&mut self, insn: &Insn) -> Result<(), LoadError> {
        let Insn::Branch { width, cond, dst, src, offset } = *insn else { return Ok(()) };
        match self.resolver.facts(self.slot).map(|facts| facts.branch) {
            Some(BranchFact::Never) => return Ok(()),
            Some(BranchFact::Always) => return self.branch_always(i64::from(offset)),
            _ => {}
        }
        if offset == 0 {
            return self.target(0).map(drop);
        }
        if self.may_select() && self.select(insn)? {
            return Ok(());
        }
        let target = self.target(i64::from(offset))?;
        let a = self.place(Place::of(dst), width);
        let held = match src {
            Operand::Imm(imm) if E::COMPARES_PLACES && width == Width::W64 => {
                self.promoted.holds(i64::from(imm) as u64)
            }
            _ => None,
        };
        let b = match (held, src) {
            (Some(place), _) => Source::Place(place),
            // The frame pointer is in the temporary place, which blinding would want.
            (None, Operand::Imm(imm)) if dst == Reg::R10 => Source::Imm(imm),
            (None, src) => self.source(src, width),
        };
        self.push(Op::Branch { width, cond, a, b, target });
        if offset < 0 {
            self.unroll(target);
        }
        Ok(())
    }

    /// A branch that always jumps; not over what is left out.
    fn branch_always(&mut self, offset: i64) -> Result<(), LoadError> {
        let proved = self.resolver.proof.map_or(&[][..], |proof| &proof.facts);
        let over = proved.get(self.slot + 1..).unwrap_or_default();
        let mut over = over.iter().take(usize::try_from(offset).unwrap_or(0));
        if offset < 0 || over.any(|facts| facts.reached) { self.jump(offset) } else { Ok(()) }
    }

    /// Whether the divisor of the instruction is proved not to be zero.
    #[inline(never)]
    pub(super) fn divisor_is_nonzero(&self) -> bool {
        self.resolver.facts(self.slot).is_some_and(|facts| facts.divisor_nonzero)
    }

    /// A place as an operand: what it is a copy of; the frame pointer, which operations do not
    /// take, by way of the temporary place.
    #[inline]
    fn place(&mut self, place: Place, width: Width) -> Place {
        if place == Place::FRAME {
            return self.frame_address();
        }
        self.known.operand(place, width)
    }

    /// The frame pointer in the temporary place.
    #[inline(never)]
    fn frame_address(&mut self) -> Place {
        let (dst, src) = (Place::TEMPORARY, Place::FRAME);
        self.push(Op::Move { width: Width::W64, dst, src });
        dst
    }

    pub(super) fn source(&mut self, operand: Operand, width: Width) -> Source {
        match operand {
            Operand::Reg(register) => Source::Place(self.place(Place::of(register), width)),
            Operand::Imm(imm) => self.immediate(imm),
        }
    }

    /// `dst = src`, if that changes anything.
    pub(super) fn copy(&mut self, width: Width, dst: Place, src: Place) {
        if width == Width::W32 && src == Place::FRAME {
            // Operations take half of an address from a register only.
            let src = self.frame_address();
            return self.push(Op::Move { width, dst, src });
        }
        if width == Width::W32 && !self.known.is_narrow(src) {
            let src = self.known.low(src);
            return self.push(Op::Move { width: Width::W32, dst, src });
        }
        let src = self.known.wide(src);
        if src != dst {
            self.push(Op::Move { width: Width::W64, dst, src });
        }
    }

    fn memory(&self, base: Reg, offset: i32, size: Size) -> Mem {
        let can = |mem: &Mem| E::addresses(mem, size);
        self.known.memory(Mem::at(Place::of(base), offset), can)
    }

    /// Memory without an index.
    fn plain_memory(&self, base: Reg, offset: i32, size: Size) -> Mem {
        let plain = |mem: &Mem| mem.index.is_none() && E::addresses(mem, size);
        self.known.memory(Mem::at(Place::of(base), offset), plain)
    }

    fn store_promoted(
        &mut self,
        width: Width,
        place: Place,
        src: Operand,
    ) -> Result<(), LoadError> {
        match src {
            Operand::Reg(src) => self.copy(width, place, Place::of(src)),
            Operand::Imm(imm) => {
                let value = match width {
                    Width::W64 => i64::from(imm) as u64,
                    Width::W32 => u64::from(imm as u32),
                };
                self.constant(place, value);
            }
        }
        Ok(())
    }

    fn byte_order(&mut self, kind: ByteOrder, dst: Place, bits: SwapWidth) {
        // Every machine that there is an emitter for is little-endian.
        if kind != ByteOrder::ToLittle {
            return self.push(Op::Swap { dst, src: self.known.wide(dst), bits });
        }
        match bits {
            SwapWidth::B16 => {
                let src = self.known.low(dst);
                self.push(Op::Truncate { dst, src, size: SignedSize::H });
            }
            SwapWidth::B32 => self.copy(Width::W32, dst, dst),
            SwapWidth::B64 => {}
        }
    }

    /// Goes to a slot. A branch over this jump is turned round instead.
    pub(super) fn jump(&mut self, offset: i64) -> Result<(), LoadError> {
        let target = self.target(offset)?;
        if offset == 0 {
            return Ok(());
        }
        if let Some(&Op::Branch { width, cond, a, b, target: over }) = self.last()
            && over as usize == self.slot + 1
            && let Some(cond) = invert(cond)
        {
            self.nodes.pop();
            self.push(Op::Branch { width, cond, a, b, target });
            return Ok(());
        }
        self.push(Op::Jump { target, tail: None });
        Ok(())
    }

    fn call_helper(&mut self, number: i32) -> Result<(), LoadError> {
        let trusted = self.resolver.proof.is_none();
        if number == id::GET_SMP_PROCESSOR_ID && !trusted && self.intrinsics.cpu_id.is_some() {
            self.push(Op::CpuId);
            return Ok(());
        }
        if matches!(number, id::KTIME_GET_NS | id::KTIME_GET_BOOT_NS)
            && !trusted
            && let Some(clock) = self.intrinsics.ktime
        {
            self.push(match clock {
                Clock::Function(function) => {
                    Op::Call { function: function as *const () as usize, arguments: 0 }
                }
                Clock::Counter { factor } => Op::Clock { factor },
            });
            return Ok(());
        }
        let function = match self.resolver.call(self.slot, number, self.maps.get(Reg::R1))? {
            Call::Array(index) => {
                let percpu = self.resolver.arrays.get(index).is_some_and(|a| a.cpu_stride != 0);
                if !percpu || self.intrinsics.cpu_id.is_some() {
                    self.push(Op::Lookup { array: index as u32 });
                    return Ok(());
                }
                let function = helper::implementation(number);
                function.ok_or(LoadError::NoSuchHelper { slot: self.slot, id: number })?
                    as *const ()
            }
            Call::Helper(function) => function as *const (),
            Call::Callback(helper) => {
                self.note(0, helper as *const ());
                calls::call_back as *const ()
            }
            Call::Tail => {
                self.push(Op::TailCall { function: calls::tail_call as *const () as usize });
                return Ok(());
            }
        };
        let declared = if trusted { None } else { helper::by_id(number) };
        let arguments = declared.map_or(5, |proto| proto.registers() as u8);
        self.push(Op::Call { function: function as usize, arguments });
        Ok(())
    }

    /// Tells the function that is called next an address. r0 is free before calls.
    fn note(&mut self, index: u8, address: *const ()) {
        let value = address.expose_provenance() as u64;
        self.push(Op::Constant { dst: Place::R0, value });
        self.push(Op::Note { index, src: Place::R0 });
    }

    /// Calls the helper whose number a register holds; only programs on trust do.
    fn call_register(&mut self, target: Reg) -> Result<(), LoadError> {
        if self.resolver.proof.is_some() {
            return Err(self.unsupported("a call by register"));
        }
        self.push(Op::Note { index: 1, src: self.known.wide(Place::of(target)) });
        let trust = self.resolver.trust;
        self.note(0, trust.helpers as *const ());
        let own = calls::call_register as *const () as usize;
        let function = trust.call_register.unwrap_or(own);
        self.push(Op::Call { function, arguments: 5 });
        Ok(())
    }

    /// The legacy packet loads: a call; beyond the packet the program ends with 0
    /// (`Documentation/networking/filter`).
    fn load_packet(
        &mut self,
        size: Size,
        index: Option<Reg>,
        imm: i32,
        main: bool,
    ) -> Result<(), LoadError> {
        if !main {
            return Err(self.unsupported("packet access of this kind in a subprogram"));
        }
        let field = self.resolver.packet_field(self.slot, size)?;
        match index {
            Some(register) => {
                let (width, a) = (Width::W32, self.known.low(Place::of(register)));
                let b = self.immediate(imm);
                let (op, dst) = (AluOp::Add, Place::R2);
                self.push(Op::Alu { width, op, dst, a, b, nonzero: false });
            }
            None => self.constant(Place::R2, u64::from(imm as u32)),
        }
        self.push(Op::Move { width: Width::W64, dst: Place::R1, src: Place::R6 });
        let value = u64::from(size.bytes()) << 32 | field as u64;
        self.push(Op::Constant { dst: Place::R3, value });
        self.push(Op::Call { function: calls::load_packet as *const () as usize, arguments: 3 });
        self.push(Op::LeaveIfNegative);
        Ok(())
    }
}
