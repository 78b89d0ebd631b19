//! One instruction on one state: which rule applies.

use alloc::format;

use super::explore::{Flow, Verifier};
use super::refusal::Refusal;
use super::rejection::Cause;
use super::scalar::Scalar;
use super::value::{Kind, Value};
use crate::insn::{Imm64, Insn, Operand, Reg, Size};

impl Verifier<'_> {
    pub(super) fn step(&mut self, insn: &Insn) -> Result<Flow, Refusal> {
        match *insn {
            Insn::Alu { width, op, dst, src } => self.alu(width, op, dst, src)?,
            Insn::Neg { width, dst } => self.neg(width, dst)?,
            Insn::Mov { width, dst, src } => self.mov(width, dst, src)?,
            Insn::MovSx { width, dst, src, from } => self.mov_sx(width, dst, src, from)?,
            Insn::ByteOrder { kind, dst, bits } => self.byte_order(kind, dst, bits)?,
            Insn::Load { size, dst, base, offset } => {
                self.load(dst, base, offset, size, false)?;
            }
            Insn::LoadSx { size, dst, base, offset } => {
                self.load(dst, base, offset, size.size(), true)?;
            }
            Insn::LoadAcquire { size, dst, base, offset } => {
                self.check_atomic_base(base, offset, size.bytes())?;
                self.load(dst, base, offset, size, false)?;
            }
            Insn::Store { size, base, offset, src } => self.store(base, offset, size, src)?,
            Insn::StoreRelease { size, base, offset, src } => {
                self.check_atomic_base(base, offset, size.bytes())?;
                self.store(base, offset, size, Operand::Reg(src))?;
            }
            Insn::Atomic { op, width, base, offset, src } => {
                self.atomic(op, width, base, offset, src)?;
            }
            Insn::LoadImm64 { dst, value } => self.load_imm64(dst, value)?,
            Insn::Jump { .. } => {
                let target = insn.jump_target(self.pc).and_then(|at| usize::try_from(at).ok());
                return target.map(Flow::Jump).ok_or_else(|| {
                    self.refuse(Cause::BadJump, "the jump leaves the program".into())
                });
            }
            Insn::Branch { width, cond, dst, src, offset } => {
                return self.branch(width, cond, dst, src, offset);
            }
            Insn::CallHelper { id } => return self.call_helper(id),
            Insn::CallLocal { offset } => return self.call_local(offset),
            Insn::Exit => return self.exit(),
            Insn::LoadAbs { size, .. } => self.legacy_load(size, None)?,
            Insn::LoadInd { size, src, .. } => self.legacy_load(size, Some(src))?,
            Insn::AddrSpaceCast { .. } => {
                return Err(self.refuse(
                    Cause::BadInstruction,
                    "addr_space_cast needs an arena, and the program has none".into(),
                ));
            }
            Insn::MayGoto { .. } => {
                let target = insn.jump_target(self.pc).and_then(|at| usize::try_from(at).ok());
                let Some(target) = target else {
                    return Err(self.refuse(Cause::BadJump, "the jump leaves the program".into()));
                };
                // The machine ends the loop at some time.
                let out = self.state.clone();
                self.both_ways(out, target)?;
                self.state.may_gotos = self.state.may_gotos.wrapping_add(1);
            }
            Insn::CallRegister { .. } => {
                return Err(self
                    .refuse(Cause::BadInstruction, "indirect calls are not allowed".into())
                    .hint("call the helper by its number"));
            }
            Insn::CallKfunc { id, .. } => return self.call_kfunc(id),
            Insn::WideTail => {
                return Err(self.refuse(
                    Cause::BadJump,
                    "the second half of a 16-byte load is no instruction".into(),
                ));
            }
        }
        Ok(Flow::Next)
    }

    /// Refuses to read a register that was never written.
    pub(super) fn read(&self, reg: Reg) -> Result<&Value, Refusal> {
        let value = self.state.reg(reg);
        if value.kind == Kind::Uninit {
            let number = reg as u8;
            let hint = if (1..=5).contains(&number) {
                "a call overwrites r1 to r5: keep values in r6 to r9"
            } else {
                "give the register a value on every path that leads here"
            };
            return Err(self
                .refuse(
                    Cause::Uninitialised,
                    format!("R{number} !read_ok: {reg} is read before it has a value"),
                )
                .register(reg)
                .hint(hint));
        }
        Ok(value)
    }

    /// Refuses to write to the frame pointer.
    pub(super) fn writable(&self, reg: Reg) -> Result<(), Refusal> {
        if reg == Reg::FP {
            return Err(self
                .refuse(Cause::FramePointer, "frame pointer is read only".into())
                .register(reg)
                .hint("copy r10 to another register first"));
        }
        Ok(())
    }

    fn load_imm64(&mut self, dst: Reg, value: Imm64) -> Result<(), Refusal> {
        self.writable(dst)?;
        let loaded = match value {
            Imm64::Value(x) => Value::constant(x),
            Imm64::MapIndex(map) => {
                self.use_map(map)?;
                Value::pointer(Kind::MapPtr { map })
            }
            Imm64::MapIndexValue { index, offset } => self.map_value_address(index, offset)?,
            Imm64::Func { offset } => {
                let target = self.pc as i64 + 1 + i64::from(offset);
                let start = u32::try_from(target).unwrap_or(u32::MAX);
                Value::pointer(Kind::Func { start })
            }
            Imm64::BtfId { id, .. } => {
                return Err(self.refuse(
                    Cause::UnknownFunction,
                    format!("there is no kernel variable with BTF id {id}"),
                ));
            }
            Imm64::MapFd(fd) | Imm64::MapFdValue { fd, .. } => {
                return Err(self.refuse(
                    Cause::MapMismatch,
                    format!("fd {fd} is not pointing to valid bpf_map"),
                ));
            }
        };
        self.state.set(dst, loaded);
        Ok(())
    }

    /// `BPF_LD_ABS` and `BPF_LD_IND`: read packet data through the socket buffer in r6.
    fn legacy_load(&mut self, size: Size, index: Option<Reg>) -> Result<(), Refusal> {
        use crate::prog_type::ProgType;
        let with_skb = matches!(
            self.env.prog_type,
            ProgType::SocketFilter | ProgType::SchedCls | ProgType::SchedAct
        );
        if !with_skb {
            return Err(self.refuse(
                Cause::BadInstruction,
                "BPF_LD_[ABS|IND] instructions not allowed for this program type".into(),
            ));
        }
        if !self.state.references.is_empty() {
            return Err(self.refuse(
                Cause::Reference,
                "BPF_LD_[ABS|IND] may end the program, and would lead to a reference leak".into(),
            ));
        }
        if self.state.lock.is_some() {
            return Err(self.refuse(
                Cause::Lock,
                "BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region".into(),
            ));
        }
        if self.within_callback() {
            return Err(self.refuse(
                Cause::BadInstruction,
                "BPF_LD_[ABS|IND] may end the function, and cannot be used within callback".into(),
            ));
        }
        let context = self.read(Reg::R6)?;
        let whole = context.offset == 0 && context.scalar.as_constant() == Some(0);
        if context.kind != Kind::Ctx || !whole {
            return Err(self
                .refuse(
                    Cause::BadArgument,
                    "at the time of BPF_LD_ABS|IND R6 != pointer to skb".into(),
                )
                .register(Reg::R6));
        }
        if let Some(index) = index {
            self.read(index)?;
            if self.state.reg(index).is_pointer() {
                return Err(self
                    .refuse(Cause::NotAPointer, "the index of BPF_LD_IND is a pointer".into())
                    .register(index));
            }
        }
        // Beyond the packet the function ends with 0; if it is the program, that path is shorter
        // than any.
        self.path.cost += 20;
        self.may_return(Value::constant(0))?;
        for reg in [Reg::R1, Reg::R2, Reg::R3, Reg::R4, Reg::R5] {
            self.state.set(reg, Value::UNINIT);
        }
        let scalar = match size {
            Size::B => Scalar::unsigned(0, 0xff),
            Size::H => Scalar::unsigned(0, 0xffff),
            _ => Scalar::unsigned(0, 0xffff_ffff),
        };
        self.state.set(Reg::R0, Value::scalar(scalar));
        Ok(())
    }
}
