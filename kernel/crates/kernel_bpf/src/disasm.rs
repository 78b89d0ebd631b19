//! Instructions as text, in the syntax of LLVM and of Linux's verifier log:
//! `r1 = *(u32 *)(r10 - 4)`, `if w2 s> 7 goto +3`.
//!
//! [`crate::asm`] reads the same syntax back.

use core::fmt;

use crate::helper;
use crate::insn::{
    AluOp, AtomicOp, ByteOrder, Cond, Imm64, Insn, Operand, Reg, SignedSize, Size, Width,
};

/// A register as an operation of some width names it: `r1` or `w1`.
struct Named(Width, Reg);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = if self.0 == Width::W64 { 'r' } else { 'w' };
        write!(f, "{letter}{}", self.1 as u8)
    }
}

struct Src(Width, Operand);

impl fmt::Display for Src {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Operand::Reg(reg) => Named(self.0, reg).fmt(f),
            Operand::Imm(imm) => imm.fmt(f),
        }
    }
}

/// `(r10 - 4)`
struct Address(Reg, i16);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.1 < 0 { '-' } else { '+' };
        write!(f, "({} {sign} {})", self.0, self.1.unsigned_abs())
    }
}

fn unsigned(size: Size) -> &'static str {
    match size {
        Size::B => "u8",
        Size::H => "u16",
        Size::W => "u32",
        Size::DW => "u64",
    }
}

fn signed(size: SignedSize) -> &'static str {
    match size {
        SignedSize::B => "s8",
        SignedSize::H => "s16",
        SignedSize::W => "s32",
    }
}

fn operator(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::SDiv => "s/=",
        AluOp::Mod => "%=",
        AluOp::SMod => "s%=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Xor => "^=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Arsh => "s>>=",
    }
}

fn comparison(cond: Cond) -> &'static str {
    match cond {
        Cond::Eq => "==",
        Cond::Ne => "!=",
        Cond::Gt => ">",
        Cond::Ge => ">=",
        Cond::Lt => "<",
        Cond::Le => "<=",
        Cond::Set => "&",
        Cond::Sgt => "s>",
        Cond::Sge => "s>=",
        Cond::Slt => "s<",
        Cond::Sle => "s<=",
    }
}

fn atomic(
    f: &mut fmt::Formatter<'_>,
    op: AtomicOp,
    width: Width,
    at: &Address,
    src: Reg,
) -> fmt::Result {
    let (size, bits) = if width == Width::W64 { ("u64", "_64") } else { ("u32", "32_32") };
    let s = Named(width, src);
    let (name, symbol, fetch) = match op {
        AtomicOp::Add { fetch } => ("add", "+=", fetch),
        AtomicOp::Or { fetch } => ("or", "|=", fetch),
        AtomicOp::And { fetch } => ("and", "&=", fetch),
        AtomicOp::Xor { fetch } => ("xor", "^=", fetch),
        AtomicOp::Xchg => return write!(f, "{s} = xchg{bits}({at}, {s})", at = Inner(at)),
        AtomicOp::CmpXchg => {
            let r0 = Named(width, Reg::R0);
            return write!(f, "{r0} = cmpxchg{bits}({at}, {r0}, {s})", at = Inner(at));
        }
    };
    if fetch {
        write!(f, "{s} = atomic_fetch_{name}(({size} *){at}, {s})")
    } else {
        write!(f, "lock *({size} *){at} {symbol} {s}")
    }
}

/// `r10 - 8`, an address as one of several operands.
struct Inner<'a>(&'a Address);

impl fmt::Display for Inner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address(base, offset) = *self.0;
        let sign = if offset < 0 { '-' } else { '+' };
        write!(f, "{base} {sign} {}", offset.unsigned_abs())
    }
}

impl fmt::Display for Insn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Insn::Alu { width, op, dst, src } => {
                write!(f, "{} {} {}", Named(width, dst), operator(op), Src(width, src))
            }
            Insn::Neg { width, dst } => {
                let dst = Named(width, dst);
                write!(f, "{dst} = -{dst}")
            }
            Insn::Mov { width, dst, src } => {
                write!(f, "{} = {}", Named(width, dst), Src(width, src))
            }
            Insn::MovSx { width, dst, src, from } => {
                write!(f, "{} = ({}){}", Named(width, dst), signed(from), Named(width, src))
            }
            Insn::AddrSpaceCast { dst, src, spaces } => {
                write!(f, "{dst} = addr_space_cast({src}, {}, {})", spaces >> 16, spaces & 0xffff)
            }
            Insn::ByteOrder { kind, dst, bits } => {
                let name = match kind {
                    ByteOrder::ToLittle => "le",
                    ByteOrder::ToBig => "be",
                    ByteOrder::Swap => "bswap",
                };
                write!(f, "{dst} = {name}{} {dst}", bits.bits())
            }
            Insn::Load { size, dst, base, offset } => {
                write!(f, "{dst} = *({} *){}", unsigned(size), Address(base, offset))
            }
            Insn::LoadSx { size, dst, base, offset } => {
                write!(f, "{dst} = *({} *){}", signed(size), Address(base, offset))
            }
            Insn::Store { size, base, offset, src } => {
                let address = Address(base, offset);
                write!(f, "*({} *){address} = {}", unsigned(size), Src(Width::W64, src))
            }
            Insn::Atomic { op, width, base, offset, src } => {
                atomic(f, op, width, &Address(base, offset), src)
            }
            Insn::LoadAcquire { size, dst, base, offset } => {
                write!(f, "{dst} = load_acquire(({} *){})", unsigned(size), Address(base, offset))
            }
            Insn::StoreRelease { size, base, offset, src } => {
                let address = Address(base, offset);
                write!(f, "store_release(({} *){address}, {src})", unsigned(size))
            }
            Insn::LoadImm64 { dst, value } => match value {
                Imm64::Value(x) => write!(f, "{dst} = {x:#x} ll"),
                Imm64::MapFd(fd) => write!(f, "{dst} = map[fd:{fd}] ll"),
                Imm64::MapFdValue { fd, offset } => {
                    write!(f, "{dst} = map[fd:{fd}][0]+{offset} ll")
                }
                Imm64::MapIndex(index) => write!(f, "{dst} = map[{index}] ll"),
                Imm64::MapIndexValue { index, offset } => {
                    write!(f, "{dst} = map[{index}][0]+{offset} ll")
                }
                Imm64::BtfId { id, .. } => write!(f, "{dst} = btf[{id}] ll"),
                Imm64::Func { offset } => write!(f, "{dst} = func[{offset:+}] ll"),
            },
            Insn::WideTail => f.write_str("(second half)"),
            Insn::Jump { offset, long: false } => write!(f, "goto {offset:+}"),
            Insn::Jump { offset, long: true } => write!(f, "gotol {offset:+}"),
            Insn::Branch { width, cond, dst, src, offset } => write!(
                f,
                "if {} {} {} goto {offset:+}",
                Named(width, dst),
                comparison(cond),
                Src(width, src)
            ),
            Insn::MayGoto { offset } => write!(f, "may_goto {offset:+}"),
            Insn::CallHelper { id } => match helper::by_id(id) {
                Some(helper) => write!(f, "call bpf_{}#{id}", helper.name),
                None => write!(f, "call {id}"),
            },
            Insn::CallLocal { offset } => write!(f, "call pc{offset:+}"),
            Insn::CallRegister { target } => write!(f, "callx {target}"),
            Insn::CallKfunc { id, .. } => write!(f, "call kfunc#{id}"),
            Insn::Exit => f.write_str("exit"),
            Insn::LoadAbs { size, imm } => write!(f, "r0 = *({} *)skb[{imm}]", unsigned(size)),
            Insn::LoadInd { size, src, imm } => {
                write!(f, "r0 = *({} *)skb[{src} + {imm}]", unsigned(size))
            }
        }
    }
}
