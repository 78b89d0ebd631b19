//! Reading BTF: header, types, strings. What may refer to what is checked in `check`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::{
    Btf, BtfError, Kind, MAX_BYTES, MAX_TYPES, Member, NO_MEMORY, Param, SectionVar, Type, TypeId,
};

mod check;

const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;

/// Reads little-endian numbers and never past the end.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.position >= self.bytes.len()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let value = *self.bytes.get(self.position..)?.first_chunk()?;
        self.position += N;
        Some(value)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.position..self.position.checked_add(length)?)?;
        self.position += length;
        Some(taken)
    }
}

/// A part of `bytes` that a header names, relative to the header's end.
pub(super) fn section(bytes: &[u8], header: usize, offset: u32, length: u32) -> Option<&[u8]> {
    let start = header.checked_add(offset as usize)?;
    bytes.get(start..start.checked_add(length as usize)?)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Btf, BtfError> {
    let bad = |what| BtfError::new(0, what);
    if bytes.len() > MAX_BYTES {
        return Err(bad("larger than 16 MiB"));
    }
    let mut header = Reader::new(bytes);
    let magic = header.u16().ok_or(bad("no header"))?;
    if magic == MAGIC.swap_bytes() {
        return Err(bad("of the other byte order"));
    }
    if magic != MAGIC {
        return Err(bad("wrong magic number"));
    }
    // Version 1, no flags.
    if header.u16() != Some(1) {
        return Err(bad("unknown version or flags"));
    }
    let mut word = || header.u32().ok_or(bad("header cut short"));
    let [length, type_offset, type_length, string_offset, string_length] =
        [word()?, word()?, word()?, word()?, word()?];
    let length = length as usize;
    if length < HEADER || length > bytes.len() {
        return Err(bad("impossible header length"));
    }
    if bytes.get(HEADER..length).is_none_or(|rest| rest.iter().any(|&byte| byte != 0)) {
        return Err(bad("unknown header fields"));
    }
    if type_offset % 4 != 0 {
        return Err(bad("types are not aligned"));
    }
    let types =
        section(bytes, length, type_offset, type_length).ok_or(bad("types out of bounds"))?;
    let strings =
        section(bytes, length, string_offset, string_length).ok_or(bad("strings out of bounds"))?;
    if strings.first() != Some(&0) || strings.last() != Some(&0) {
        return Err(bad("strings do not begin and end with a zero"));
    }
    let base = length + type_offset as usize;
    let mut btf = Btf { types: Vec::new(), strings: Box::from(strings) };
    btf.types.push(Type { name: 0, kind: Kind::Void });
    let mut reader = Reader::new(types);
    while !reader.is_empty() {
        let id = btf.types.len() as TypeId;
        if btf.types.len() > MAX_TYPES {
            return Err(bad("too many types"));
        }
        btf.types.try_reserve(1).map_err(|_| bad(NO_MEMORY))?;
        let ty = read_type(&mut reader, base).unwrap_or(Err("cut short"));
        let ty = ty.map_err(|what| BtfError::new(id, what))?;
        if ty.name as usize >= strings.len() {
            return Err(BtfError::new(id, "name out of bounds"));
        }
        btf.types.push(ty);
    }
    check::references(&btf)?;
    check::nesting(&btf)?;
    Ok(btf)
}

/// Reads one type; `None` if the bytes end too early. `base`: where the types start in the
/// whole.
fn read_type(reader: &mut Reader<'_>, base: usize) -> Option<Result<Type, &'static str>> {
    let (name, info, word) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let (count, flag) = ((info & 0xffff) as usize, info >> 31 != 0);
    if info & 0x60ff_0000 != 0 {
        return Some(Err("reserved bits are set"));
    }
    let kind = match info >> 24 & 0x1f {
        1 => {
            let encoding = reader.u32()?;
            Kind::Int {
                size: word,
                bits: encoding as u8,
                offset: (encoding >> 16) as u8,
                encoding: (encoding >> 24 & 0xf) as u8,
            }
        }
        2 => Kind::Ptr(word),
        3 => Kind::Array { element: reader.u32()?, index: reader.u32()?, count: reader.u32()? },
        4 => Kind::Struct { size: word, members: members(reader, count, flag)? },
        5 => Kind::Union { size: word, members: members(reader, count, flag)? },
        6 => {
            let values = list(reader, count, 8, |r| Some((r.u32()?, r.u32()? as i32)))?;
            Kind::Enum { size: word, signed: flag, values }
        }
        7 => Kind::Fwd { union: flag },
        8 => Kind::Typedef(word),
        9 => Kind::Volatile(word),
        10 => Kind::Const(word),
        11 => Kind::Restrict(word),
        12 => Kind::Func { proto: word, linkage: count as u16 },
        13 => {
            let param = |r: &mut Reader<'_>| Some(Param { name: r.u32()?, type_id: r.u32()? });
            Kind::FuncProto { result: word, params: list(reader, count, 8, param)? }
        }
        14 => Kind::Var { type_id: word, linkage: reader.u32()? },
        15 => {
            let start = base + reader.position;
            let var = |r: &mut Reader<'_>| {
                let type_id = r.u32()?;
                let position = start + r.position;
                Some(SectionVar { type_id, offset: r.u32()?, size: r.u32()?, position })
            };
            // The size is the last word before the variables.
            Kind::Datasec { size: word, vars: list(reader, count, 12, var)?, position: start - 4 }
        }
        16 => Kind::Float { size: word },
        17 => Kind::DeclTag { type_id: word, component: reader.u32()? as i32 },
        18 => Kind::TypeTag(word),
        19 => {
            let value = |r: &mut Reader<'_>| {
                let (name, low, high) = (r.u32()?, r.u32()?, r.u32()?);
                Some((name, u64::from(high) << 32 | u64::from(low)))
            };
            Kind::Enum64 { size: word, signed: flag, values: list(reader, count, 12, value)? }
        }
        _ => return Some(Err("unknown kind")),
    };
    Some(Ok(Type { name, kind }))
}

/// Reads `count` records of `width` bytes. The bytes are there before anything is allocated;
/// without memory for the records they count as missing.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    count: usize,
    width: usize,
    read: impl Fn(&mut Reader<'a>) -> Option<T>,
) -> Option<Box<[T]>> {
    let mut records = Reader::new(reader.take(count * width)?);
    let mut list = Vec::new();
    list.try_reserve_exact(count).ok()?;
    for _ in 0..count {
        list.push(read(&mut records)?);
    }
    Some(list.into_boxed_slice())
}

fn members(reader: &mut Reader<'_>, count: usize, bit_fields: bool) -> Option<Box<[Member]>> {
    list(reader, count, 12, |r| {
        let (name, type_id, offset) = (r.u32()?, r.u32()?, r.u32()?);
        let (bit_offset, bit_size) =
            if bit_fields { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
        Some(Member { name, type_id, bit_offset, bit_size })
    })
}
