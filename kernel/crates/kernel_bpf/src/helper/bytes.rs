//! Helpers that work on bytes alone, without asking the kernel: sums and numbers in text.

#![forbid(unsafe_code)]

/// Linux's EINVAL and ERANGE, negated.
const EINVAL: i64 = -22;
const ERANGE: i64 = -34;

/// `bpf_csum_diff`: the Internet checksum's sum (RFC 1071, in 16 bits and not inverted) of what
/// is there after `from` became `to`, given that of before.
pub(super) fn csum_diff(from: &[u8], to: &[u8], seed: u32) -> i64 {
    if !from.len().is_multiple_of(4) || !to.len().is_multiple_of(4) {
        return EINVAL;
    }
    // Taking away is adding the complement.
    let after = sum(to, u64::from(seed));
    let total = if from.is_empty() { after } else { after + u64::from(!fold32(sum(from, 0))) };
    let folded = fold32(total);
    let folded = (folded & 0xffff) + (folded >> 16);
    i64::from((folded & 0xffff) + (folded >> 16))
}

fn sum(bytes: &[u8], seed: u64) -> u64 {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().fold(seed, |sum, word| sum + u64::from(u32::from_ne_bytes(*word)))
}

/// Adds what overflowed to the low half.
const fn fold32(sum: u64) -> u32 {
    let once = (sum & 0xffff_ffff) + (sum >> 32);
    ((once & 0xffff_ffff) + (once >> 32)) as u32
}

/// The number at the start of a text: how many bytes it takes, its amount, and whether a minus
/// stands before it.
fn number(text: &[u8], flags: u64) -> Result<(usize, u64, bool), i64> {
    let base = match flags {
        0 | 8 | 10 | 16 => flags as u32,
        _ => return Err(EINVAL),
    };
    let space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let start = text.iter().position(|byte| !space(byte)).unwrap_or(text.len());
    let negative = text.get(start) == Some(&b'-');
    let mut at = start + usize::from(negative);
    let digit = |at: usize, base: u32| {
        text.get(at).and_then(|&byte| char::from(byte).to_digit(base)).map(u64::from)
    };
    let prefix = text.get(at) == Some(&b'0') && matches!(text.get(at + 1), Some(b'x' | b'X'));
    let base = match base {
        0 if prefix && digit(at + 2, 16).is_some() => 16,
        0 if text.get(at) == Some(&b'0') => 8,
        0 => 10,
        base => base,
    };
    if base == 16 && prefix {
        at += 2;
    }
    let first = at;
    let mut amount = 0u64;
    while let Some(next) = digit(at, base) {
        let more = amount.checked_mul(u64::from(base)).and_then(|more| more.checked_add(next));
        amount = more.ok_or(ERANGE)?;
        at += 1;
    }
    if at == first { Err(EINVAL) } else { Ok((at, amount, negative)) }
}

/// `bpf_strtol`: the number, and how many bytes it takes.
pub(super) fn strtol(text: &[u8], flags: u64) -> Result<(i64, i64), i64> {
    let (bytes, amount, negative) = number(text, flags)?;
    let value = if negative { 0i64.checked_sub_unsigned(amount) } else { amount.try_into().ok() };
    Ok((value.ok_or(ERANGE)?, bytes as i64))
}

/// `bpf_strtoul`: the number, and how many bytes it takes.
pub(super) fn strtoul(text: &[u8], flags: u64) -> Result<(u64, i64), i64> {
    let (bytes, amount, negative) = number(text, flags)?;
    if negative { Err(EINVAL) } else { Ok((amount, bytes as i64)) }
}

#[cfg(test)]
mod tests {
    use super::{EINVAL, ERANGE, csum_diff, strtol, strtoul};

    #[test]
    fn sums_are_those_of_the_internet_checksum() {
        // A header whose checksum is right sums to ffff with it, and to its complement without.
        let header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(csum_diff(&[], &header, 0), 0xffff);
        let mut without = header;
        without[10..12].fill(0);
        let sum = csum_diff(&[], &without, 0) as u16;
        assert_eq!((!sum).to_ne_bytes(), [0xb8, 0x61]);
        // Replacing a part is taking it away and adding the other.
        let mut other = without;
        other[12..16].copy_from_slice(&[10, 1, 2, 3]);
        let changed = csum_diff(&without[12..16], &other[12..16], u32::from(sum));
        assert_eq!(changed, csum_diff(&[], &other, 0));
        assert_eq!(csum_diff(&[28, 0, 0, 0], &[], 0) as u16, !28);
        assert_eq!(csum_diff(&[1, 2, 3], &[], 0), EINVAL);
    }

    #[test]
    fn numbers_are_read_as_linux_reads_them() {
        assert_eq!(strtoul(b" \t12 rest", 0), Ok((12, 4)));
        assert_eq!(strtoul(b"0x1fz", 0), Ok((0x1f, 4)));
        assert_eq!(strtoul(b"0x1f", 16), Ok((0x1f, 4)));
        assert_eq!(strtoul(b"0x", 0), Ok((0, 1)));
        assert_eq!(strtoul(b"0778", 0), Ok((0o77, 3)));
        assert_eq!(strtoul(b"18446744073709551615", 10), Ok((u64::MAX, 20)));
        assert_eq!(strtoul(b"18446744073709551616", 10), Err(ERANGE));
        assert_eq!(strtoul(b"-1", 0), Err(EINVAL));
        assert_eq!(strtol(b"-9223372036854775808", 0), Ok((i64::MIN, 20)));
        assert_eq!(strtol(b"9223372036854775808", 0), Err(ERANGE));
        assert_eq!(strtol(b"-017", 8), Ok((-15, 4)));
        for (text, flags) in [(&b""[..], 0), (b"  ", 0), (b"-", 0), (b"x", 16), (b"1", 2)] {
            assert_eq!(strtol(text, flags), Err(EINVAL));
        }
    }
}
