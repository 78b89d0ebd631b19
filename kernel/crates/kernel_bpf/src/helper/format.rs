//! Text from a template and numbers, as Linux's `bpf_bprintf_prepare` and `bstr_printf` make it.
//! What a template may hold is in [`super::template`].
//!
//! Arguments that are addresses of strings or of IP addresses are read first, into a buffer of a
//! fixed size; then the text is written. Nothing is written if there is an error, and nothing is
//! allocated.

#![forbid(unsafe_code)]

use core::fmt::{self, Write};

use super::services::{Fault, KernelServices};
use super::template::{Conversion, Kind, Layout, Piece, Template, is_good};

/// Most arguments of one call (Linux: `MAX_BPRINTF_VARARGS`).
pub(super) const MOST_ARGUMENTS: usize = 12;
/// Bytes of all strings together (Linux: `MAX_BPRINTF_BIN_ARGS`).
const STRING_BYTES: usize = 512;
/// An address that is not shown (Linux, before it has a key to hash addresses with).
const HIDDEN: &[u8] = b"(____ptrval____)";
/// Digits of an address.
const ADDRESS_DIGITS: u32 = 16;

/// Why there is no text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Error {
    /// The template is none, or has too many conversions (EINVAL).
    Invalid,
    /// The strings do not fit (ENOSPC).
    NoSpace,
}

/// Copies a zero-terminated string from memory that may not be there: never reads past a
/// 64-byte block that it needs, so a string at the end of a mapping is readable. What is behind
/// the zero does not come along. Returns the length with the zero.
///
/// # Errors
/// Memory that is not there before the string ends.
pub(super) fn copy_string(
    out: &mut [u8],
    address: u64,
    mut read: impl FnMut(&mut [u8], u64) -> Result<(), Fault>,
) -> Result<usize, Fault> {
    let limit = out.len();
    let mut length = 0;
    let mut block = [0; 64];
    while length < limit {
        let at = address.wrapping_add(length as u64);
        let step = (64 - (at % 64) as usize).min(limit - length);
        let Some(chunk) = block.get_mut(..step) else { break };
        read(chunk, at)?;
        let end = chunk.iter().position(|&byte| byte == 0);
        let count = end.map_or(step, |end| end + 1);
        let room = out.get_mut(length..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(chunk.iter().take(count)) {
            *to = *from;
        }
        if end.is_some() {
            return Ok(length + count);
        }
        length += step;
    }
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
    Ok(limit)
}

/// Writes the text of a template, whose bytes `at` gives by their place up to a zero, to `out`, cut
/// where that ends, with a zero behind it. Returns the length of the whole text.
///
/// # Errors
/// As [`Error`] says; then `out` is as it was.
pub(super) fn format(
    at: impl Fn(usize) -> u8,
    arguments: &[u64],
    out: &mut [u8],
    services: &dyn KernelServices,
) -> Result<u64, Error> {
    if !is_good(&at, arguments.len()) {
        return Err(Error::Invalid);
    }
    let mut texts = Texts { bytes: [0; STRING_BYTES], used: 0 };
    let mut words = [0; MOST_ARGUMENTS];
    let conversions = Template::new(&at).filter_map(|piece| match piece {
        Ok(Piece::Conversion(Conversion { kind, .. })) => Some(kind),
        _ => None,
    });
    for ((kind, argument), word) in conversions.zip(arguments).zip(&mut words) {
        *word = texts.prepare(kind, *argument, services)?;
    }
    let mut line = Line { out, length: 0 };
    let mut words = words.into_iter();
    for piece in Template::new(&at).flatten() {
        match piece {
            Piece::Byte(byte) => line.pad(1, byte),
            Piece::Conversion(Conversion { layout, kind }) => {
                line.convert(kind, &layout, words.next().unwrap_or(0), &texts);
            }
        }
    }
    Ok(line.end())
}

/// What the arguments point to, one zero-terminated text behind the other.
struct Texts {
    bytes: [u8; STRING_BYTES],
    used: usize,
}

impl Texts {
    /// What is to be known of an argument when the text is written: itself, or where its text
    /// begins.
    fn prepare(
        &mut self,
        kind: Kind,
        argument: u64,
        services: &dyn KernelServices,
    ) -> Result<u64, Error> {
        let begin = self.used as u64;
        match kind {
            Kind::String => self.string(|out, at| services.read_any(out, at), argument)?,
            Kind::UserString => self.string(|out, at| services.read_user(out, at), argument)?,
            Kind::KernelString => self.string(|out, at| services.read_kernel(out, at), argument)?,
            Kind::Ip { bytes, plain } => {
                // Linux: of what cannot be read, zeros.
                let mut address = [0; 16];
                let part = address.get_mut(..bytes).ok_or(Error::Invalid)?;
                if services.read_kernel(part, argument).is_err() {
                    part.fill(0);
                }
                self.ip_address(part, plain).map_err(|_| Error::NoSpace)?;
            }
            Kind::Symbol | Kind::Caller => {
                // No names are known here: as Linux shows an address without one.
                write!(self, "{argument:#x}\0").map_err(|_| Error::NoSpace)?;
            }
            _ => return Ok(argument),
        }
        Ok(begin)
    }

    /// A string; what does not fit is cut, and one that cannot be read is empty.
    fn string(
        &mut self,
        read: impl FnMut(&mut [u8], u64) -> Result<(), Fault>,
        address: u64,
    ) -> Result<(), Error> {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        let Some(first) = room.first_mut() else { return Err(Error::NoSpace) };
        *first = 0;
        self.used += copy_string(room, address, read).unwrap_or_else(|Fault| {
            room.fill(0);
            1
        });
        Ok(())
    }

    fn ip_address(&mut self, address: &[u8], plain: bool) -> fmt::Result {
        if let [a, b, c, d] = address {
            return match plain {
                true => write!(self, "{a:03}.{b:03}.{c:03}.{d:03}\0"),
                false => write!(self, "{a}.{b}.{c}.{d}\0"),
            };
        }
        for (place, [high, low]) in address.as_chunks().0.iter().enumerate() {
            let colon = if place == 0 || plain { "" } else { ":" };
            write!(self, "{colon}{high:02x}{low:02x}")?;
        }
        self.write_str("\0")
    }

    fn text_at(&self, begin: u64) -> &[u8] {
        let rest = usize::try_from(begin).ok().and_then(|begin| self.bytes.get(begin..));
        rest.and_then(|rest| rest.split(|&byte| byte == 0).next()).unwrap_or_default()
    }
}

impl Write for Texts {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.used + text.len();
        let place = self.bytes.get_mut(self.used..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

/// A line under construction, which may be longer than its place.
struct Line<'a> {
    out: &'a mut [u8],
    length: u64,
}

impl Line<'_> {
    fn put(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.pad(1, byte);
        }
    }

    fn pad(&mut self, count: u32, byte: u8) {
        let from = usize::try_from(self.length).unwrap_or(usize::MAX);
        let rest = self.out.get_mut(from..).unwrap_or_default();
        rest.iter_mut().take(count as usize).for_each(|place| *place = byte);
        self.length += u64::from(count);
    }

    /// Puts a zero behind the text, or in the last place. Returns the text's length.
    fn end(self) -> u64 {
        let last = self.out.len().saturating_sub(1);
        let place = usize::try_from(self.length).map_or(last, |length| length.min(last));
        if let Some(place) = self.out.get_mut(place) {
            *place = 0;
        }
        self.length
    }

    fn convert(&mut self, kind: Kind, layout: &Layout, word: u64, texts: &Texts) {
        match kind {
            Kind::Signed { long } => {
                let number = if long { word as i64 } else { i64::from(word as i32) };
                let sign: &[u8] = match (number < 0, layout.plus, layout.space) {
                    (true, ..) => b"-",
                    (_, true, _) => b"+",
                    (.., true) => b" ",
                    _ => b"",
                };
                self.number(layout, sign, number.unsigned_abs(), Digits::Decimal);
            }
            Kind::Unsigned { long } => {
                self.number(layout, b"", cut(word, long), Digits::Decimal);
            }
            Kind::Hex { long, upper } => {
                let digits = if upper { Digits::UpperHex } else { Digits::LowerHex };
                self.number(layout, b"", cut(word, long), digits);
            }
            Kind::Char => self.text(layout, &[word as u8]),
            Kind::String | Kind::Symbol => self.text(layout, texts.text_at(word)),
            // Linux pads none of these.
            Kind::KernelString | Kind::UserString | Kind::Caller | Kind::Ip { .. } => {
                self.put(texts.text_at(word));
            }
            Kind::Hidden if !is_null_or_error(word) => {
                self.text(&Layout { width: Some(ADDRESS_DIGITS), ..*layout }, HIDDEN);
            }
            Kind::Hidden | Kind::Address => {
                let whole = Layout { zeros: true, width: Some(ADDRESS_DIGITS), ..*layout };
                let layout = if layout.width.is_none() { &whole } else { layout };
                self.number(layout, b"", word, Digits::LowerHex);
            }
        }
    }

    fn text(&mut self, layout: &Layout, bytes: &[u8]) {
        let fill = layout.width.unwrap_or(0).saturating_sub(bytes.len() as u32);
        if !layout.left {
            self.pad(fill, b' ');
        }
        self.put(bytes);
        if layout.left {
            self.pad(fill, b' ');
        }
    }

    fn number(&mut self, layout: &Layout, sign: &[u8], number: u64, digits: Digits) {
        let mut text = [0; 20];
        let mut count = 0;
        let mut left = number;
        let (base, alphabet) = digits.parts();
        for slot in text.iter_mut().rev() {
            *slot = alphabet.get((left % base) as usize).copied().unwrap_or(b'?');
            count += 1;
            left /= base;
            if left == 0 {
                break;
            }
        }
        let text = text.get(text.len() - count..).unwrap_or_default();
        let fill = layout.width.unwrap_or(0).saturating_sub((sign.len() + count) as u32);
        let zeros = layout.zeros && !layout.left;
        if !zeros && !layout.left {
            self.pad(fill, b' ');
        }
        self.put(sign);
        if zeros {
            self.pad(fill, b'0');
        }
        self.put(text);
        if layout.left {
            self.pad(fill, b' ');
        }
    }
}

/// How numbers are written.
#[derive(Clone, Copy)]
enum Digits {
    Decimal,
    LowerHex,
    UpperHex,
}

impl Digits {
    /// The base, and its digits.
    const fn parts(self) -> (u64, &'static [u8]) {
        match self {
            Self::Decimal => (10, b"0123456789"),
            Self::LowerHex => (16, b"0123456789abcdef"),
            Self::UpperHex => (16, b"0123456789ABCDEF"),
        }
    }
}

/// An argument of 64 or 32 bits.
fn cut(word: u64, long: bool) -> u64 {
    if long { word } else { u64::from(word as u32) }
}

/// What Linux shows as it is: no address, or the negative of an error number.
fn is_null_or_error(word: u64) -> bool {
    const MAX_ERRNO: u64 = 4095;
    word == 0 || word >= MAX_ERRNO.wrapping_neg()
}
