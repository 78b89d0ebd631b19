//! Text for `bpf_trace_printk`: a template with up to three numbers or strings, as Linux's
//! `bstr_printf` understands it (`%d %i %u %x %X %o %c %p %s %%` with `l`/`ll`/`h` lengths, flags
//! and width). Writes into a fixed buffer; nothing is allocated.

#![forbid(unsafe_code)]

use super::services::{Fault, KernelServices};

/// Longest line; what is longer is cut.
pub(super) const LINE_BYTES: usize = 512;

/// Copies a zero-terminated string from memory that may not be there: never reads past a
/// 64-byte block that it needs, so a string at the end of a mapping is readable. Returns the
/// length with the zero.
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
    while length < limit {
        let at = address.wrapping_add(length as u64);
        let step = (64 - (at % 64) as usize).min(limit - length);
        let Some(chunk) = out.get_mut(length..length + step) else { break };
        read(chunk, at)?;
        if let Some(end) = chunk.iter().position(|&byte| byte == 0) {
            return Ok(length + end + 1);
        }
        length += step;
    }
    if let Some(last) = out.last_mut() {
        *last = 0;
    }
    Ok(limit)
}

/// A line under construction.
struct Line<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl Line<'_> {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.buffer.get_mut(self.length) {
            *slot = byte;
            self.length += 1;
        }
    }

    fn pad(&mut self, count: usize, byte: u8) {
        for _ in 0..count.min(LINE_BYTES) {
            self.push(byte);
        }
    }
}

/// One conversion of a template.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
    /// 64-bit argument.
    long: bool,
    /// Argument cut to 16 or 8 bits.
    short: u8,
}

/// Formats a zero-terminated template. `None` if the template is not one that Linux takes.
pub(super) fn format(
    template: &[u8],
    arguments: &[u64],
    buffer: &mut [u8; LINE_BYTES],
    services: &dyn KernelServices,
) -> Option<usize> {
    let end = template.iter().position(|&byte| byte == 0)?;
    let mut rest = template.get(..end)?.iter().copied().peekable();
    let mut arguments = arguments.iter().copied();
    let mut line = Line { buffer, length: 0 };
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            if !(byte.is_ascii_graphic() || byte.is_ascii_whitespace() || byte >= 0x80) {
                return None;
            }
            line.push(byte);
            continue;
        }
        if rest.next_if_eq(&b'%').is_some() {
            line.push(b'%');
            continue;
        }
        let mut spec = Spec::default();
        while let Some(flag) = rest.next_if(|byte| b"-+ #0".contains(byte)) {
            match flag {
                b'-' => spec.left = true,
                b'+' => spec.plus = true,
                b' ' => spec.space = true,
                b'#' => spec.alternate = true,
                _ => spec.zero = true,
            }
        }
        spec.width = number(&mut rest);
        if rest.next_if_eq(&b'.').is_some() {
            spec.precision = Some(number(&mut rest));
        }
        let mut kind = rest.next()?;
        while kind == b'l' || kind == b'h' {
            if kind == b'l' {
                spec.long = true
            } else {
                spec.short += 1
            }
            kind = rest.next()?;
        }
        let argument = arguments.next()?;
        convert(&mut line, kind, &spec, argument, &mut rest, services)?;
    }
    Some(line.length)
}

fn number(rest: &mut core::iter::Peekable<impl Iterator<Item = u8>>) -> usize {
    let mut value = 0usize;
    while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
        value = (value * 10 + usize::from(digit - b'0')).min(LINE_BYTES);
    }
    value
}

fn convert(
    line: &mut Line<'_>,
    kind: u8,
    spec: &Spec,
    argument: u64,
    rest: &mut core::iter::Peekable<impl Iterator<Item = u8>>,
    services: &dyn KernelServices,
) -> Option<()> {
    let unsigned = match (spec.long, spec.short) {
        (true, _) => argument,
        (_, 0) => u64::from(argument as u32),
        (_, 1) => u64::from(argument as u16),
        _ => u64::from(argument as u8),
    };
    let signed = match (spec.long, spec.short) {
        (true, _) => argument as i64,
        (_, 0) => i64::from(argument as i32),
        (_, 1) => i64::from(argument as i16),
        _ => i64::from(argument as i8),
    };
    match kind {
        b'd' | b'i' => {
            let sign = match (signed < 0, spec.plus, spec.space) {
                (true, ..) => "-",
                (_, true, _) => "+",
                (.., true) => " ",
                _ => "",
            };
            integer(line, spec, signed.unsigned_abs(), 10, false, sign);
        }
        b'u' => integer(line, spec, unsigned, 10, false, ""),
        b'o' => integer(line, spec, unsigned, 8, false, ""),
        b'x' => integer(line, spec, unsigned, 16, false, if spec.alternate { "0x" } else { "" }),
        b'X' => integer(line, spec, unsigned, 16, true, if spec.alternate { "0X" } else { "" }),
        b'c' => text(line, spec, &[argument as u8]),
        b's' => string(line, spec, argument, None, services),
        b'p' => match rest.peek().copied() {
            // `%pks` and `%pus`: a string in kernel or user memory.
            Some(space @ (b'k' | b'u')) => {
                rest.next();
                rest.next_if_eq(&b's')?;
                string(line, spec, argument, Some(space == b'u'), services);
            }
            Some(b'x') => {
                rest.next();
                integer(line, spec, argument, 16, false, "");
            }
            Some(byte) if byte.is_ascii_alphanumeric() => return None,
            // Addresses are not shown to whoever reads the trace.
            _ => text(line, spec, if argument == 0 { b"(nil)" } else { b"(ptr)" }),
        },
        _ => return None,
    }
    Some(())
}

/// A string in the memory of the process or of the kernel; whose, the address says if the format
/// does not.
fn string(
    line: &mut Line<'_>,
    spec: &Spec,
    address: u64,
    user: Option<bool>,
    services: &dyn KernelServices,
) {
    let mut buffer = [0; 128];
    let copied = copy_string(&mut buffer, address, |out, at| match user {
        Some(true) => services.read_user(out, at),
        Some(false) => services.read_kernel(out, at),
        None => services.read_any(out, at),
    });
    match copied {
        Ok(length) => text(line, spec, buffer.get(..length - 1).unwrap_or_default()),
        Err(Fault) => text(line, spec, b"(fault)"),
    }
}

fn text(line: &mut Line<'_>, spec: &Spec, bytes: &[u8]) {
    let bytes = spec.precision.and_then(|limit| bytes.get(..limit)).unwrap_or(bytes);
    let fill = spec.width.saturating_sub(bytes.len());
    if !spec.left {
        line.pad(fill, b' ');
    }
    for byte in bytes {
        line.push(*byte);
    }
    if spec.left {
        line.pad(fill, b' ');
    }
}

fn integer(line: &mut Line<'_>, spec: &Spec, value: u64, base: u64, upper: bool, prefix: &str) {
    let mut digits = [0; 24];
    let mut count = 0;
    let mut value = value;
    let table = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
    for slot in digits.iter_mut().rev() {
        *slot = table.get((value % base) as usize).copied().unwrap_or(b'?');
        count += 1;
        value /= base;
        if value == 0 {
            break;
        }
    }
    let digits = digits.get(24 - count..).unwrap_or_default();
    let zeros = spec.precision.map_or(0, |least| least.saturating_sub(count));
    let fill = spec.width.saturating_sub(prefix.len() + zeros + count);
    let zero_fill = spec.zero && !spec.left && spec.precision.is_none();
    if !spec.left && !zero_fill {
        line.pad(fill, b' ');
    }
    for byte in prefix.bytes() {
        line.push(byte);
    }
    line.pad(zeros + if zero_fill { fill } else { 0 }, b'0');
    for byte in digits {
        line.push(*byte);
    }
    if spec.left {
        line.pad(fill, b' ');
    }
}
