//! Keys and values as text: numbers by their size, or members by their types.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use kernel_bpf::btf::{Btf, Kind, TypeId};

/// Longer values without types are shown as bytes, cut to this many.
const MOST_BYTES: usize = 64;
/// Structures in structures, this deep.
const MOST_LEVELS: usize = 8;
/// Elements of an array that are shown.
const MOST_ELEMENTS: u32 = 64;

/// How bytes are to be understood.
#[derive(Clone, Copy)]
pub struct Shape<'a> {
    /// The types and the number of this one, if there are types.
    pub types: Option<(&'a Btf, TypeId)>,
    /// In bytes.
    pub size: usize,
}

/// An unsigned number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    let mut value = [0; 8];
    for (place, byte) in value.iter_mut().zip(bytes) {
        *place = *byte;
    }
    u64::from_le_bytes(value)
}

/// A number with its sign, from `size` bytes.
fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    (number(bytes) << unused) as i64 >> unused
}

/// Bytes as text.
pub fn text(bytes: &[u8], shape: Shape<'_>) -> String {
    if let Some((types, id)) = shape.types
        && let Some(text) = typed(bytes, types, id, 0)
    {
        return text;
    }
    match bytes.len() {
        1 | 2 | 4 | 8 => format!("{}", number(bytes)),
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> String {
    let shown: Vec<String> =
        bytes.iter().take(MOST_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let rest = if bytes.len() > MOST_BYTES { " ..." } else { "" };
    shown.join(" ") + rest
}

/// Bytes as text, by a type; `None` if the type does not fit them.
fn typed(bytes: &[u8], types: &Btf, id: TypeId, level: usize) -> Option<String> {
    const SIGNED: u8 = 1;
    const BOOL: u8 = 4;
    let (_, kind) = types.resolve(id)?;
    let within = |offset: usize, id: TypeId| {
        let size = types.size_of(id)? as usize;
        bytes.get(offset..offset.checked_add(size)?)
    };
    match kind {
        Kind::Int { size, encoding, .. } => {
            let bytes = bytes.get(..*size as usize)?;
            Some(match encoding {
                _ if bytes.len() > 8 => hex(bytes),
                encoding if encoding & BOOL != 0 => format!("{}", number(bytes) != 0),
                encoding if encoding & SIGNED != 0 => format!("{}", signed(bytes)),
                _ => format!("{}", number(bytes)),
            })
        }
        Kind::Ptr(_) => Some(format!("{:#x}", number(bytes.get(..8)?))),
        Kind::Enum { size, values, .. } => {
            let value = signed(bytes.get(..*size as usize)?) as i32;
            let known = values.iter().find(|(_, known)| *known == value);
            Some(match known.and_then(|(name, _)| types.string(*name)) {
                Some(name) => String::from(name),
                None => format!("{value}"),
            })
        }
        Kind::Enum64 { size, .. } => Some(format!("{}", number(bytes.get(..*size as usize)?))),
        Kind::Array { element, count, .. } => {
            let size = types.size_of(*element)? as usize;
            if size == 1 && is_text(bytes.get(..*count as usize)?) {
                let end = bytes.iter().position(|&byte| byte == 0)?;
                return Some(format!("\"{}\"", lemma_rt::show(bytes.get(..end)?)));
            }
            let mut parts = Vec::new();
            for index in 0..(*count).min(MOST_ELEMENTS) {
                let bytes = within(index as usize * size, *element)?;
                parts.push(typed(bytes, types, *element, level + 1)?);
            }
            let rest = if *count > MOST_ELEMENTS { ", ..." } else { "" };
            Some(format!("[{}{rest}]", parts.join(", ")))
        }
        Kind::Struct { members, .. } | Kind::Union { members, .. } if level < MOST_LEVELS => {
            let mut parts = Vec::new();
            for member in members {
                let name = types.string(member.name).unwrap_or("");
                let value = if member.bit_size > 0 {
                    let first = member.bit_offset as usize / 8;
                    let last = (member.bit_offset + member.bit_size - 1) as usize / 8;
                    let value = number(bytes.get(first..=last)?) >> (member.bit_offset % 8);
                    let mask = u64::MAX >> (64 - member.bit_size.min(64));
                    format!("{}", value & mask)
                } else {
                    let bytes = within(member.bit_offset as usize / 8, member.type_id)?;
                    typed(bytes, types, member.type_id, level + 1)?
                };
                parts.push(if name.is_empty() { value } else { format!("{name}: {value}") });
            }
            Some(format!("{{{}}}", parts.join(", ")))
        }
        Kind::Datasec { vars, .. } => {
            let mut parts = Vec::new();
            for variable in vars {
                let Kind::Var { type_id, .. } = types.get(variable.type_id)?.kind else {
                    return None;
                };
                let bytes = within(variable.offset as usize, type_id)?;
                let value = typed(bytes, types, type_id, level + 1)?;
                parts.push(format!("{}: {value}", types.name(variable.type_id)));
            }
            Some(format!("{{{}}}", parts.join(", ")))
        }
        _ => None,
    }
}

/// Characters, with a NUL and nothing but NULs behind it.
fn is_text(bytes: &[u8]) -> bool {
    let end = bytes.iter().position(|&byte| byte == 0);
    end.is_some_and(|end| {
        let (text, rest) = bytes.split_at(end);
        !text.is_empty()
            && text.iter().all(|byte| (0x20..0x7f).contains(byte))
            && rest.iter().all(|&byte| byte == 0)
    })
}

/// Where numbers go in a key or value: offsets and sizes, in the order of the members.
pub fn places(shape: Shape<'_>) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    if let Some((types, id)) = shape.types
        && collect(types, id, 0, 0, &mut places).is_some()
    {
        return places;
    }
    match shape.size {
        size @ (1 | 2 | 4 | 8) => [(0, size)].into(),
        size if size % 8 == 0 => (0..size / 8).map(|index| (index * 8, 8)).collect(),
        size => (0..size).map(|index| (index, 1)).collect(),
    }
}

fn collect(
    types: &Btf,
    id: TypeId,
    offset: usize,
    level: usize,
    places: &mut Vec<(usize, usize)>,
) -> Option<()> {
    let (_, kind) = types.resolve(id)?;
    match kind {
        Kind::Int { size, .. } | Kind::Enum { size, .. } | Kind::Enum64 { size, .. }
            if *size <= 8 =>
        {
            places.push((offset, *size as usize));
        }
        Kind::Ptr(_) => places.push((offset, 8)),
        Kind::Array { element, count, .. } if level < MOST_LEVELS => {
            let size = types.size_of(*element)? as usize;
            for index in 0..(*count).min(4096) as usize {
                collect(types, *element, offset + index * size, level + 1, places)?;
            }
        }
        Kind::Struct { members, .. } if level < MOST_LEVELS => {
            for member in members {
                if member.bit_size > 0 {
                    return None;
                }
                let offset = offset + member.bit_offset as usize / 8;
                collect(types, member.type_id, offset, level + 1, places)?;
            }
        }
        _ => return None,
    }
    Some(())
}

/// Reads a number: decimal, `0x…`, or negative.
pub fn parse_number(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    match text.strip_prefix('-') {
        Some(_) => text.parse::<i64>().ok().map(|value| value as u64),
        None => text.parse().ok(),
    }
}

/// Puts numbers into `size` bytes at these places; `None` if one does not fit.
pub fn encode(numbers: &[u64], places: &[(usize, usize)], size: usize) -> Option<Vec<u8>> {
    let mut bytes = alloc::vec![0; size];
    for (number, (offset, width)) in numbers.iter().zip(places) {
        let fits = *width >= 8
            || *number >> (8 * width) == 0
            || (*number as i64) < 0 && (*number as i64) >= -(1 << (8 * width - 1));
        if !fits {
            return None;
        }
        let value = number.to_le_bytes();
        bytes.get_mut(*offset..offset + width)?.copy_from_slice(value.get(..*width)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Shape, encode, parse_number, places, signed, text};

    fn plain(size: usize) -> Shape<'static> {
        Shape { types: None, size }
    }

    #[test]
    fn without_types() {
        assert_eq!(text(&[1, 2, 0, 0], plain(4)), "513");
        assert_eq!(text(&[255; 8], plain(8)), "18446744073709551615");
        assert_eq!(text(&[1, 2, 3], plain(3)), "01 02 03");
        assert!(text(&[0; 100], plain(100)).ends_with("00 ..."));
        assert_eq!(signed(&[0xfe, 0xff]), -2);
        assert_eq!(signed(&[2, 0]), 2);
    }

    #[test]
    fn numbers_find_their_places() {
        assert_eq!(places(plain(4)), [(0, 4)]);
        assert_eq!(places(plain(24)), [(0, 8), (8, 8), (16, 8)]);
        assert_eq!(places(plain(3)).len(), 3);
        assert_eq!(
            encode(&[1, 2], &[(0, 4), (8, 8)], 16).unwrap()[..12],
            [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]
        );
        assert_eq!(encode(&[256], &[(0, 1)], 1), None);
        assert_eq!(encode(&[-1i64 as u64], &[(0, 1)], 1), Some([255].into()));
        assert_eq!(encode(&[1], &[(8, 4)], 8), None);
    }

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(parse_number("0x1f"), Some(31));
        assert_eq!(parse_number("-1"), Some(u64::MAX));
        assert_eq!(parse_number("x"), None);
    }
}
