//! Templates for text, as `bpf_snprintf`, `bpf_trace_printk` and `bpf_trace_vprintk` take them:
//! which conversions there are, and what may stand around them (Linux: `bpf_bprintf_prepare`).
//!
//! `%%`, `%c`, `%s`, `%d %i %u %x %X` with `l` or `ll` before the letter, and the pointers `%p %pK
//! %px %ps %pS %pB %pks %pus %pi4 %pI4 %pi6 %pI6`. Before all but the first may stand flags of
//! `-+ 0`, in any order, and a width.

#![forbid(unsafe_code)]

/// Greatest width; what is more counts as this (Linux: `FIELD_WIDTH_MAX`).
const MAX_WIDTH: u32 = (1 << 23) - 1;

/// No template: something that is not text, or a conversion that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Malformed;

/// A part of a template.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Piece {
    /// Stands for itself.
    Byte(u8),
    /// Stands for the next argument.
    Conversion(Conversion),
}

/// How an argument is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Conversion {
    pub(crate) layout: Layout,
    pub(crate) kind: Kind,
}

/// How a text is fitted into its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) left: bool,
    pub(crate) zeros: bool,
    pub(crate) plus: bool,
    pub(crate) space: bool,
    /// At least so many characters.
    pub(crate) width: Option<u32>,
}

/// What an argument is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Signed {
        long: bool,
    },
    Unsigned {
        long: bool,
    },
    Hex {
        long: bool,
        upper: bool,
    },
    Char,
    /// The address of a string, in whichever memory the address says.
    String,
    KernelString,
    UserString,
    /// An address that is not shown.
    Hidden,
    /// An address that is.
    Address,
    /// An address in code.
    Symbol,
    /// A return address.
    Caller,
    /// The address of an IP address of 4 or 16 bytes; `plain`: the pieces of the first padded
    /// with zeros, those of the second without colons.
    Ip {
        bytes: usize,
        plain: bool,
    },
}

/// The pieces of a template whose bytes `at` gives by their place; the first zero ends it. After
/// an error nothing more is to be asked.
pub(crate) struct Template<At> {
    at: At,
    place: usize,
}

impl<At: Fn(usize) -> u8> Template<At> {
    pub(crate) fn new(at: At) -> Self {
        Self { at, place: 0 }
    }

    fn peek(&self, ahead: usize) -> u8 {
        (self.at)(self.place + ahead)
    }

    fn conversion(&mut self) -> Result<Conversion, Malformed> {
        let mut layout = Layout::default();
        loop {
            match self.peek(0) {
                b'-' => layout.left = true,
                b'+' => layout.plus = true,
                b' ' => layout.space = true,
                b'0' => layout.zeros = true,
                _ => break,
            }
            self.place += 1;
        }
        while self.peek(0).is_ascii_digit() {
            let digit = u32::from(self.peek(0) - b'0');
            let width = layout.width.unwrap_or(0).saturating_mul(10).saturating_add(digit);
            layout.width = Some(width.min(MAX_WIDTH));
            self.place += 1;
        }
        let kind = match self.peek(0) {
            b'p' => self.pointer()?,
            b's' if ends(self.peek(1)) => Kind::String,
            b'c' => Kind::Char,
            _ => self.number()?,
        };
        self.place += 1;
        Ok(Conversion { layout, kind })
    }

    /// A number; the place is then that of its letter.
    fn number(&mut self) -> Result<Kind, Malformed> {
        let mut long = false;
        for _ in 0..2 {
            if self.peek(0) == b'l' {
                long = true;
                self.place += 1;
            }
        }
        Ok(match self.peek(0) {
            b'd' | b'i' => Kind::Signed { long },
            b'u' => Kind::Unsigned { long },
            b'x' => Kind::Hex { long, upper: false },
            b'X' => Kind::Hex { long, upper: true },
            _ => return Err(Malformed),
        })
    }

    /// A pointer; the place is then that of its last letter. Letters and digits that follow belong
    /// to it and say nothing, except where the end of a string must be seen.
    fn pointer(&mut self) -> Result<Kind, Malformed> {
        let (kind, letters) = match (self.peek(1), self.peek(2)) {
            (b'%', _) => return Err(Malformed),
            (b'K', _) => (Kind::Hidden, 1),
            (b'x', _) => (Kind::Address, 1),
            (b's' | b'S', _) => (Kind::Symbol, 1),
            (b'B', _) => (Kind::Caller, 1),
            (b'k', b's') if ends(self.peek(3)) => (Kind::KernelString, 2),
            (b'u', b's') if ends(self.peek(3)) => (Kind::UserString, 2),
            (letter @ (b'i' | b'I'), b'4') => (Kind::Ip { bytes: 4, plain: letter == b'i' }, 2),
            (letter @ (b'i' | b'I'), b'6') => (Kind::Ip { bytes: 16, plain: letter == b'i' }, 2),
            (next, _) if ends(next) => (Kind::Hidden, 0),
            _ => return Err(Malformed),
        };
        self.place += letters;
        while is_letter_or_digit(self.peek(1)) {
            self.place += 1;
        }
        Ok(kind)
    }
}

impl<At: Fn(usize) -> u8> Iterator for Template<At> {
    type Item = Result<Piece, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let byte = self.peek(0);
        if byte == 0 {
            return None;
        }
        self.place += 1;
        if byte != b'%' {
            let text = byte >= 0x80 || is_space(byte) || (b' '..=b'~').contains(&byte);
            return Some(if text { Ok(Piece::Byte(byte)) } else { Err(Malformed) });
        }
        if self.peek(0) == b'%' {
            self.place += 1;
            return Some(Ok(Piece::Byte(b'%')));
        }
        Some(self.conversion().map(Piece::Conversion))
    }
}

/// Whether a template is one, and has no more conversions than there are arguments.
pub(crate) fn is_good(at: impl Fn(usize) -> u8, arguments: usize) -> bool {
    let mut left = arguments;
    Template::new(at).all(|piece| match piece {
        Ok(Piece::Byte(_)) => true,
        Ok(Piece::Conversion(_)) => {
            let any = left > 0;
            left = left.saturating_sub(1);
            any
        }
        Err(Malformed) => false,
    })
}

/// Whether a conversion may end before this byte.
fn ends(byte: u8) -> bool {
    byte == 0 || is_space(byte) || is_punctuation(byte)
}

// Linux takes bytes for characters of ISO 8859-1 (`lib/ctype.c`).

fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

fn is_punctuation(byte: u8) -> bool {
    byte.is_ascii_punctuation() || matches!(byte, 0xa1..=0xbf | 0xd7 | 0xf7)
}

fn is_letter_or_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0xc0 && !is_punctuation(byte)
}
