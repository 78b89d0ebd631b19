//! The words of a line of assembly: registers, numbers, targets, addresses, signs of operators.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Target;
use super::lexer::{Token, tokens};
use crate::insn::{AluOp, Cond, Operand, Reg, SignedSize, Size, Width};

pub(super) type Result<T> = core::result::Result<T, String>;

/// A line that is being read.
pub(super) struct Parser<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    pub(super) at: usize,
}

/// The size in `(u32 *)`.
pub(super) enum MemorySize {
    Plain(Size),
    Signed(SignedSize),
}

pub(super) fn register(word: &str) -> Option<(Width, Reg)> {
    let width = match word.get(..1)? {
        "r" => Width::W64,
        "w" => Width::W32,
        _ => return None,
    };
    let number = word.get(1..)?;
    if number.len() > 1 && number.starts_with('0') {
        return None;
    }
    Some((width, Reg::new(number.parse().ok()?)?))
}

impl<'a> Parser<'a> {
    pub(super) fn new(line: &'a str) -> Result<Self> {
        Ok(Self { tokens: tokens(line)?, at: 0 })
    }

    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    pub(super) fn sign(&mut self, sign: &str) -> Result<()> {
        match self.next() {
            Some(Token::Sign(found)) if found == sign => Ok(()),
            Some(token) => Err(format!("`{sign}` expected, not `{token}`")),
            None => Err(format!("`{sign}` expected, not the end of the line")),
        }
    }

    pub(super) fn word(&mut self, word: &str) -> Result<()> {
        match self.next() {
            Some(Token::Word(found)) if found == word => Ok(()),
            Some(token) => Err(format!("`{word}` expected, not `{token}`")),
            None => Err(format!("`{word}` expected, not the end of the line")),
        }
    }

    pub(super) fn has_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if *found == sign);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn has_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if *found == word);
        if found {
            self.at += 1;
        }
        found
    }

    pub(super) fn register(&mut self) -> Result<(Width, Reg)> {
        match self.next() {
            Some(Token::Word(word)) => {
                register(word).ok_or_else(|| format!("`{word}` is not a register"))
            }
            Some(token) => Err(format!("a register expected, not `{token}`")),
            None => Err("a register expected, not the end of the line".to_string()),
        }
    }

    pub(super) fn register_of(&mut self, width: Width) -> Result<Reg> {
        match self.register()? {
            (found, reg) if found == width => Ok(reg),
            (_, reg) => Err(format!("register {} is of another width here", reg as u8)),
        }
    }

    pub(super) fn number(&mut self) -> Result<i128> {
        let negative = self.has_sign("-");
        if !negative {
            self.has_sign("+");
        }
        match self.next() {
            Some(Token::Number(x)) => Ok(if negative { -x } else { x }),
            Some(token) => Err(format!("a number expected, not `{token}`")),
            None => Err("a number expected, not the end of the line".to_string()),
        }
    }

    pub(super) fn immediate(&mut self) -> Result<i32> {
        let x = self.number()?;
        // Both readings of 32 bits are common.
        i32::try_from(x)
            .ok()
            .or_else(|| u32::try_from(x).ok().map(|x| x as i32))
            .ok_or_else(|| format!("{x} does not fit in 32 bits"))
    }

    pub(super) fn operand(&mut self, width: Width) -> Result<Operand> {
        if matches!(self.peek(), Some(Token::Word(_))) {
            return Ok(Operand::Reg(self.register_of(width)?));
        }
        Ok(Operand::Imm(self.immediate()?))
    }

    /// A label or an offset.
    pub(super) fn target(&mut self) -> Result<Option<Target>> {
        match self.peek() {
            Some(Token::Word(label)) => {
                let label = label.to_string();
                self.at += 1;
                Ok(Some(Target::Label(label)))
            }
            _ => {
                let offset = i64::try_from(self.number()?).map_err(|_| "too far".to_string())?;
                Ok(Some(Target::Offset(offset)))
            }
        }
    }

    /// `*(u32 *)(r10 - 4)`
    pub(super) fn memory(&mut self) -> Result<(MemorySize, Reg, i16)> {
        self.sign("*")?;
        self.cast_address()
    }

    /// `(u32 *)(r10 - 4)`
    pub(super) fn cast_address(&mut self) -> Result<(MemorySize, Reg, i16)> {
        let size = self.cast()?;
        self.sign("(")?;
        let (base, offset) = self.address()?;
        self.sign(")")?;
        Ok((size, base, offset))
    }

    /// `(u32 *)`
    pub(super) fn cast(&mut self) -> Result<MemorySize> {
        self.sign("(")?;
        let size = match self.next() {
            Some(Token::Word(word)) => memory_size(word),
            _ => None,
        }
        .ok_or("a type such as u32 expected")?;
        self.sign("*")?;
        self.sign(")")?;
        Ok(size)
    }

    /// `r10 - 4`
    pub(super) fn address(&mut self) -> Result<(Reg, i16)> {
        let base = self.register_of(Width::W64)?;
        let offset = i16::try_from(self.number()?).map_err(|_| "the offset is too large")?;
        Ok((base, offset))
    }
}

pub(super) fn memory_size(word: &str) -> Option<MemorySize> {
    Some(match word {
        "u8" => MemorySize::Plain(Size::B),
        "u16" => MemorySize::Plain(Size::H),
        "u32" => MemorySize::Plain(Size::W),
        "u64" => MemorySize::Plain(Size::DW),
        "s8" => MemorySize::Signed(SignedSize::B),
        "s16" => MemorySize::Signed(SignedSize::H),
        "s32" => MemorySize::Signed(SignedSize::W),
        _ => return None,
    })
}

pub(super) fn atomic_width(size: &MemorySize) -> Result<Width> {
    match size {
        MemorySize::Plain(Size::W) => Ok(Width::W32),
        MemorySize::Plain(Size::DW) => Ok(Width::W64),
        _ => Err("atomics are of 4 or 8 bytes".to_string()),
    }
}

pub(super) fn operator(sign: &str) -> Option<AluOp> {
    Some(match sign {
        "+=" => AluOp::Add,
        "-=" => AluOp::Sub,
        "*=" => AluOp::Mul,
        "/=" => AluOp::Div,
        "s/=" => AluOp::SDiv,
        "%=" => AluOp::Mod,
        "s%=" => AluOp::SMod,
        "|=" => AluOp::Or,
        "&=" => AluOp::And,
        "^=" => AluOp::Xor,
        "<<=" => AluOp::Lsh,
        ">>=" => AluOp::Rsh,
        "s>>=" => AluOp::Arsh,
        _ => return None,
    })
}

pub(super) fn comparison(sign: &str) -> Option<Cond> {
    Some(match sign {
        "==" => Cond::Eq,
        "!=" => Cond::Ne,
        ">" => Cond::Gt,
        ">=" => Cond::Ge,
        "<" => Cond::Lt,
        "<=" => Cond::Le,
        "&" => Cond::Set,
        "s>" => Cond::Sgt,
        "s>=" => Cond::Sge,
        "s<" => Cond::Slt,
        "s<=" => Cond::Sle,
        _ => return None,
    })
}
