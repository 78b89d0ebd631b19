//! One line of assembly: a recursive-descent parser over its tokens, which [`super::words`] reads.

use alloc::format;
use alloc::string::ToString;

use super::lexer::Token;
use super::words::{
    MemorySize, Parser, Result, atomic_width, comparison, memory_size, operator, register,
};
use super::{Parsed, Target};
use crate::helper::table;
use crate::insn::{AtomicOp, ByteOrder, Imm64, Insn, Operand, Reg, SwapWidth, Width};

pub(super) fn parse(line: &str) -> Result<Parsed> {
    let mut parser = Parser::new(line)?;
    let parsed = parser.instruction()?;
    match parser.peek() {
        None => Ok(parsed),
        Some(token) => Err(format!("`{token}` is one too many")),
    }
}

fn plain(insn: Insn) -> Result<Parsed> {
    Ok(Parsed { insn, target: None })
}

impl Parser<'_> {
    fn instruction(&mut self) -> Result<Parsed> {
        match self.peek() {
            Some(Token::Sign("*")) => {
                let (size, base, offset) = self.memory()?;
                let MemorySize::Plain(size) = size else {
                    return Err("a store has no sign".to_string());
                };
                self.sign("=")?;
                let src = self.operand(Width::W64)?;
                plain(Insn::Store { size, base, offset, src })
            }
            Some(Token::Word("exit")) => {
                self.at += 1;
                plain(Insn::Exit)
            }
            Some(Token::Word("goto")) => self.jump(Insn::Jump { offset: 0, long: false }),
            Some(Token::Word("gotol")) => self.jump(Insn::Jump { offset: 0, long: true }),
            Some(Token::Word("callx")) => {
                self.at += 1;
                plain(Insn::CallRegister { target: self.register_of(Width::W64)? })
            }
            Some(Token::Word("may_goto")) => self.jump(Insn::MayGoto { offset: 0 }),
            Some(Token::Word("if")) => self.branch(),
            Some(Token::Word("call")) => self.call(),
            Some(Token::Word("lock")) => self.lock(),
            Some(Token::Word("store_release")) => {
                self.at += 1;
                self.sign("(")?;
                let (size, base, offset) = self.cast_address()?;
                let MemorySize::Plain(size) = size else {
                    return Err("a store has no sign".to_string());
                };
                self.sign(",")?;
                let (_, src) = self.register()?;
                self.sign(")")?;
                plain(Insn::StoreRelease { size, base, offset, src })
            }
            _ => self.assignment(),
        }
    }

    fn jump(&mut self, insn: Insn) -> Result<Parsed> {
        self.at += 1;
        Ok(Parsed { insn, target: self.target()? })
    }

    fn branch(&mut self) -> Result<Parsed> {
        self.at += 1;
        let (width, dst) = self.register()?;
        let cond = match self.next() {
            Some(Token::Sign(sign)) => comparison(sign),
            _ => None,
        }
        .ok_or("a comparison expected")?;
        let src = self.operand(width)?;
        self.word("goto")?;
        let target = self.target()?;
        Ok(Parsed { insn: Insn::Branch { width, cond, dst, src, offset: 0 }, target })
    }

    fn call(&mut self) -> Result<Parsed> {
        self.at += 1;
        if self.has_word("pc") {
            let offset = i32::try_from(self.number()?).map_err(|_| "too far")?;
            return plain(Insn::CallLocal { offset });
        }
        if self.has_word("kfunc") {
            self.sign("#")?;
            let id = i32::try_from(self.number()?).map_err(|_| "no function has such a number")?;
            return plain(Insn::CallKfunc { id, btf: 0 });
        }
        if matches!(self.peek(), Some(Token::Number(_) | Token::Sign("-"))) {
            let id = i32::try_from(self.number()?).map_err(|_| "no helper has such a number")?;
            return plain(Insn::CallHelper { id });
        }
        match self.next() {
            Some(Token::Word(word)) => {
                let Some(name) = word.strip_prefix("bpf_") else {
                    let target = Some(Target::Label(word.to_string()));
                    return Ok(Parsed { insn: Insn::CallLocal { offset: 0 }, target });
                };
                let helper = table::all().find(|helper| helper.name == name);
                let helper = helper.ok_or_else(|| format!("there is no helper `{word}`"))?;
                if self.has_sign("#") {
                    self.number()?;
                }
                plain(Insn::CallHelper { id: helper.id })
            }
            _ => Err("a helper or a label expected".to_string()),
        }
    }

    /// `lock *(u64 *)(r1 + 8) += r2`
    fn lock(&mut self) -> Result<Parsed> {
        self.at += 1;
        let (size, base, offset) = self.memory()?;
        let width = atomic_width(&size)?;
        let op = match self.next() {
            Some(Token::Sign("+=")) => AtomicOp::Add { fetch: false },
            Some(Token::Sign("|=")) => AtomicOp::Or { fetch: false },
            Some(Token::Sign("&=")) => AtomicOp::And { fetch: false },
            Some(Token::Sign("^=")) => AtomicOp::Xor { fetch: false },
            _ => return Err("`+=`, `|=`, `&=` or `^=` expected".to_string()),
        };
        let (_, src) = self.register()?;
        plain(Insn::Atomic { op, width, base, offset, src })
    }

    fn assignment(&mut self) -> Result<Parsed> {
        let (width, dst) = self.register()?;
        let sign = match self.next() {
            Some(Token::Sign(sign)) => sign,
            _ => return Err("an assignment expected".to_string()),
        };
        if let Some(op) = operator(sign) {
            let src = self.operand(width)?;
            return plain(Insn::Alu { width, op, dst, src });
        }
        if sign != "=" {
            return Err(format!("`{sign}` is not an assignment"));
        }
        let word = match self.peek() {
            Some(Token::Word(word)) => *word,
            Some(Token::Sign("*")) => return self.load(dst),
            Some(Token::Sign("(")) => {
                self.at += 1;
                let from = match self.next() {
                    Some(Token::Word(word)) => memory_size(word),
                    _ => None,
                };
                let Some(MemorySize::Signed(from)) = from else {
                    return Err("a signed type expected".to_string());
                };
                self.sign(")")?;
                let src = self.register_of(width)?;
                return plain(Insn::MovSx { width, dst, src, from });
            }
            Some(Token::Sign("-"))
                if matches!(self.tokens.get(self.at + 1), Some(Token::Word(_))) =>
            {
                self.at += 1;
                let src = self.register_of(width)?;
                if src != dst {
                    return Err("negation is in place".to_string());
                }
                return plain(Insn::Neg { width, dst });
            }
            _ => {
                let x = self.number()?;
                if self.has_word("ll") {
                    let value = u64::try_from(x).or_else(|_| i64::try_from(x).map(|x| x as u64));
                    let value = value.map_err(|_| "the number does not fit in 64 bits")?;
                    return plain(Insn::LoadImm64 { dst, value: Imm64::Value(value) });
                }
                self.at -= if matches!(
                    self.tokens.get(self.at.wrapping_sub(2)),
                    Some(Token::Sign("-" | "+"))
                ) {
                    2
                } else {
                    1
                };
                let imm = self.immediate()?;
                return plain(Insn::Mov { width, dst, src: Operand::Imm(imm) });
            }
        };
        if register(word).is_some() {
            let src = self.register_of(width)?;
            return plain(Insn::Mov { width, dst, src: Operand::Reg(src) });
        }
        self.at += 1;
        self.operation(width, dst, word)
    }

    /// `name …` after `dst =`.
    fn operation(&mut self, width: Width, dst: Reg, name: &str) -> Result<Parsed> {
        let swap =
            [("le", ByteOrder::ToLittle), ("be", ByteOrder::ToBig), ("bswap", ByteOrder::Swap)]
                .into_iter()
                .find_map(|(prefix, kind)| {
                    let bits = match name.strip_prefix(prefix)? {
                        "16" => SwapWidth::B16,
                        "32" => SwapWidth::B32,
                        "64" => SwapWidth::B64,
                        _ => return None,
                    };
                    Some((kind, bits))
                });
        if let Some((kind, bits)) = swap {
            if self.register()?.1 != dst {
                return Err("a byte swap is in place".to_string());
            }
            return plain(Insn::ByteOrder { kind, dst, bits });
        }
        if let Some(op) = name.strip_prefix("atomic_fetch_") {
            let op = match op {
                "add" => AtomicOp::Add { fetch: true },
                "or" => AtomicOp::Or { fetch: true },
                "and" => AtomicOp::And { fetch: true },
                "xor" => AtomicOp::Xor { fetch: true },
                _ => return Err(format!("`{name}` is no atomic operation")),
            };
            self.sign("(")?;
            let (_, base, offset) = self.cast_address()?;
            self.sign(",")?;
            let src = self.register_of(width)?;
            self.sign(")")?;
            return plain(Insn::Atomic { op, width, base, offset, src });
        }
        match name {
            "xchg_64" | "xchg32_32" | "cmpxchg_64" | "cmpxchg32_32" => {
                self.sign("(")?;
                let (base, offset) = self.address()?;
                self.sign(",")?;
                let op = if name.starts_with("cmp") {
                    self.register_of(width)?;
                    self.sign(",")?;
                    AtomicOp::CmpXchg
                } else {
                    AtomicOp::Xchg
                };
                let src = self.register_of(width)?;
                self.sign(")")?;
                plain(Insn::Atomic { op, width, base, offset, src })
            }
            "load_acquire" => {
                self.sign("(")?;
                let (size, base, offset) = self.cast_address()?;
                self.sign(")")?;
                let MemorySize::Plain(size) = size else {
                    return Err("load_acquire has no sign".to_string());
                };
                plain(Insn::LoadAcquire { size, dst, base, offset })
            }
            "map" => {
                let value = self.map()?;
                self.word("ll")?;
                plain(Insn::LoadImm64 { dst, value })
            }
            "btf" => {
                self.sign("[")?;
                let id = i32::try_from(self.number()?).map_err(|_| "no such type")?;
                self.sign("]")?;
                self.word("ll")?;
                plain(Insn::LoadImm64 { dst, value: Imm64::BtfId { id, btf_fd: 0 } })
            }
            "func" => {
                let brackets = self.has_sign("[");
                let target = self.target()?;
                if brackets {
                    self.sign("]")?;
                }
                self.word("ll")?;
                let value = Imm64::Func { offset: 0 };
                Ok(Parsed { insn: Insn::LoadImm64 { dst, value }, target })
            }
            _ => Err(format!("`{name}` is no operation")),
        }
    }

    /// `[1]` or `[fd:5]` after `map`, and `[0]+8` for an address in its first value.
    fn map(&mut self) -> Result<Imm64> {
        self.sign("[")?;
        let by_descriptor = self.has_word("fd");
        if by_descriptor {
            self.sign(":")?;
        }
        let number = self.number()?;
        let index = u32::try_from(number).map_err(|_| "no such map");
        let fd = i32::try_from(number).map_err(|_| "no such descriptor");
        self.sign("]")?;
        if !self.has_sign("[") {
            return Ok(if by_descriptor { Imm64::MapFd(fd?) } else { Imm64::MapIndex(index?) });
        }
        self.number()?;
        self.sign("]")?;
        let offset = u32::try_from(self.number()?).map_err(|_| "no such offset")?;
        Ok(match by_descriptor {
            true => Imm64::MapFdValue { fd: fd?, offset },
            false => Imm64::MapIndexValue { index: index?, offset },
        })
    }

    /// `*(u32 *)(r1 + 4)` or `*(u16 *)skb[12]` after `dst =`.
    fn load(&mut self, dst: Reg) -> Result<Parsed> {
        self.sign("*")?;
        let size = self.cast()?;
        if self.has_word("skb") {
            let MemorySize::Plain(size) = size else {
                return Err("packet access has no sign".to_string());
            };
            if dst != Reg::R0 {
                return Err("packet access loads into r0".to_string());
            }
            self.sign("[")?;
            let index = matches!(self.peek(), Some(Token::Word(_)));
            let insn = if index {
                let src = self.register_of(Width::W64)?;
                self.sign("+")?;
                Insn::LoadInd { size, src, imm: self.immediate()? }
            } else {
                Insn::LoadAbs { size, imm: self.immediate()? }
            };
            self.sign("]")?;
            return plain(insn);
        }
        self.sign("(")?;
        let (base, offset) = self.address()?;
        self.sign(")")?;
        plain(match size {
            MemorySize::Plain(size) => Insn::Load { size, dst, base, offset },
            MemorySize::Signed(size) => Insn::LoadSx { size, dst, base, offset },
        })
    }
}
