//! Maps of an object: those declared in `.maps` by their BTF, those defined in `maps` by numbers,
//! as programs in Rust have them, and those that hold the global variables of `.rodata`, `.data`
//! and `.bss`.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::elf::File;
use super::{ObjectError, ObjectMap, Pinning, Slot};
use crate::btf::{Btf, Kind, Member, TypeId};
use crate::map::def::flags;
use crate::map::{MapDef, MapType};

/// The maps of an object, and where instructions find them.
pub(super) struct Maps {
    pub(super) maps: Vec<ObjectMap>,
    /// Sections of declarations by ELF index: the map at each offset.
    pub(super) declared: BTreeMap<usize, BTreeMap<u64, usize>>,
    /// Sections of variables by ELF index.
    pub(super) variables: BTreeMap<usize, usize>,
}

/// Collects all maps.
pub(super) fn collect(file: &File<'_>, types: Option<&Datasecs<'_>>) -> Result<Maps, ObjectError> {
    let mut maps = Maps { maps: Vec::new(), declared: BTreeMap::new(), variables: BTreeMap::new() };
    for (index, section) in file.sections.iter().enumerate() {
        if !section.loaded || section.code || section.size == 0 {
            continue;
        }
        let is = |prefix: &str| {
            section.name.strip_prefix(prefix).is_some_and(|r| r.is_empty() || r.starts_with('.'))
        };
        match section.name {
            "license" | "version" => continue,
            "maps" => {
                let offsets = defined(file, index, &mut maps.maps)?;
                maps.declared.insert(index, offsets);
            }
            ".maps" => {
                let types = types.ok_or_else(|| {
                    ObjectError::new(section.name, "needs BTF: compile with clang -g")
                })?;
                let offsets = declared(file, index, types, &mut maps.maps)?;
                maps.declared.insert(index, offsets);
            }
            _ if is(".rodata") || is(".data") || is(".bss") => {
                let constant = is(".rodata");
                let mut contents = section.data.to_vec();
                contents.resize(section.size, 0);
                maps.variables.insert(index, maps.maps.len());
                maps.maps.push(variables(section.name, contents, constant, types)?);
            }
            _ => {
                return Err(ObjectError::new(section.name, "unknown section name for data"));
            }
        }
        if section.name != ".maps"
            && let Some(relocation) = section.relocations.first()
        {
            let name = file.symbols.get(relocation.symbol).map_or("", |symbol| symbol.name);
            return Err(ObjectError::new(
                section.name,
                format!("an address in initialised data ({name}) is not supported"),
            ));
        }
    }
    Ok(maps)
}

/// The map behind a section of variables.
pub(super) fn variables(
    name: &str,
    contents: Vec<u8>,
    constant: bool,
    types: Option<&Datasecs<'_>>,
) -> Result<ObjectMap, ObjectError> {
    let value_size =
        u32::try_from(contents.len()).map_err(|_| ObjectError::new(name, "larger than 4 GiB"))?;
    let value_type = types.and_then(|types| types.of(name)).map_or(0, |(id, _)| id);
    Ok(ObjectMap {
        name: name.to_string(),
        def: MapDef {
            map_type: MapType::Array,
            key_size: 4,
            value_size,
            max_entries: 1,
            flags: if constant { flags::RDONLY_PROG } else { 0 },
        },
        pinning: Pinning::None,
        contents: Some(contents),
        freeze: constant,
        inner: None,
        slots: Vec::new(),
        map_extra: 0,
        key_type: 0,
        value_type,
    })
}

/// The BTF of the sections of variables, by their names.
pub(super) struct Datasecs<'b> {
    pub(super) btf: &'b Btf,
    by_name: BTreeMap<&'b str, TypeId>,
}

impl<'b> Datasecs<'b> {
    pub(super) fn new(btf: &'b Btf) -> Self {
        let mut by_name = BTreeMap::new();
        for (id, ty) in btf.iter() {
            if matches!(ty.kind, Kind::Datasec { .. }) {
                by_name.entry(btf.name(id)).or_insert(id);
            }
        }
        Self { btf, by_name }
    }

    /// The section with this name.
    pub(super) fn of(&self, name: &str) -> Option<(TypeId, &'b Kind)> {
        let id = *self.by_name.get(name)?;
        self.btf.get(id).map(|ty| (id, &ty.kind))
    }
}

/// Reads `maps`: a map for each symbol, as numbers of 32 bits: type, size of the key and of the
/// value, entries, flags; then an identity that means nothing here, and how it is pinned
/// (`struct bpf_map_def`, which libbpf had before its first version and Aya still has).
fn defined(
    file: &File<'_>,
    index: usize,
    maps: &mut Vec<ObjectMap>,
) -> Result<BTreeMap<u64, usize>, ObjectError> {
    let data = file.sections.get(index).map_or(&[][..], |section| section.data);
    let mut offsets = BTreeMap::new();
    for symbol in file.symbols_of(index) {
        if symbol.is_section || symbol.name.is_empty() {
            continue;
        }
        let fail = |reason: String| ObjectError::new(symbol.name, reason);
        let start = usize::try_from(symbol.value).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(symbol.size).unwrap_or(usize::MAX));
        let words: Vec<u32> = data.get(start..end).map_or_else(Vec::new, |bytes| {
            bytes
                .chunks_exact(4)
                .filter_map(|word| Some(u32::from_le_bytes(word.try_into().ok()?)))
                .collect()
        });
        let [number, key_size, value_size, max_entries, map_flags, ref rest @ ..] = words[..]
        else {
            return Err(fail(String::from("a map is defined by five numbers or more")));
        };
        let pinning = match rest {
            [] | [_] | [_, 0] => Pinning::None,
            [_, 1] => Pinning::ByName,
            _ => return Err(fail(String::from("a map is defined by seven numbers at most"))),
        };
        let map_type = MapType::from_number(number)
            .ok_or_else(|| fail(format!("unknown map type {number}")))?;
        offsets.insert(symbol.value, maps.len());
        maps.push(ObjectMap {
            name: symbol.name.to_string(),
            def: MapDef { map_type, key_size, value_size, max_entries, flags: map_flags },
            pinning,
            contents: None,
            freeze: false,
            inner: None,
            slots: Vec::new(),
            map_extra: 0,
            key_type: 0,
            value_type: 0,
        });
    }
    Ok(offsets)
}

/// Reads `.maps`: one map for each variable.
fn declared(
    file: &File<'_>,
    index: usize,
    types: &Datasecs<'_>,
    maps: &mut Vec<ObjectMap>,
) -> Result<BTreeMap<u64, usize>, ObjectError> {
    let Some((_, Kind::Datasec { vars, .. })) = types.of(".maps") else {
        return Err(ObjectError::new(".maps", "BTF does not describe it: compile with clang -g"));
    };
    let btf = types.btf;
    let mut offsets = BTreeMap::new();
    let mut values = BTreeMap::new();
    for var in vars {
        let name = btf.name(var.type_id);
        let symbol = file
            .symbol(index, name)
            .filter(|_| !name.is_empty())
            .ok_or_else(|| ObjectError::new(name, "a map without a symbol"))?;
        let Some(Kind::Var { type_id, .. }) = btf.get(var.type_id).map(|ty| &ty.kind) else {
            return Err(ObjectError::new(name, "not a variable"));
        };
        let Some((_, Kind::Struct { members, .. })) = btf.resolve(*type_id) else {
            return Err(ObjectError::new(name, "a map is declared as a structure"));
        };
        offsets.insert(symbol.value, maps.len());
        maps.push(declaration(btf, name, members, true)?);
        let list = members.iter().find(|member| btf.string(member.name) == Some("values"));
        if let Some(list) = list {
            let start = symbol.value.saturating_add(u64::from(list.bit_offset / 8));
            values.insert(maps.len() - 1, start);
        }
    }
    initial_values(file, index, &offsets, &values, maps)?;
    Ok(offsets)
}

/// What the declarations put into maps of maps and programs: addresses in `values`.
fn initial_values(
    file: &File<'_>,
    index: usize,
    offsets: &BTreeMap<u64, usize>,
    values: &BTreeMap<usize, u64>,
    maps: &mut [ObjectMap],
) -> Result<(), ObjectError> {
    /// Bytes of an address.
    const POINTER: u64 = 8;
    let relocations = file.sections.get(index).map(|section| section.relocations.as_slice());
    for relocation in relocations.unwrap_or_default() {
        let fail = |reason| Err(ObjectError::new(".maps", reason));
        let owner = offsets.range(..=relocation.offset).next_back().map(|(_, map)| *map);
        let owner = owner.and_then(|map| Some((map, *values.get(&map)?)));
        let Some((map, start)) = owner else {
            return fail("an address in a declaration that has no values");
        };
        let Some(slot) = relocation.offset.checked_sub(start).map(|bytes| bytes / POINTER) else {
            return fail("an address before the values");
        };
        let Some(symbol) = file.symbols.get(relocation.symbol) else { return fail("no symbol") };
        let value = if symbol.section == Some(index) {
            match offsets.get(&symbol.value) {
                Some(inner) => Slot::Map(*inner),
                None => return fail("an address that is no map's"),
            }
        } else if symbol.function && symbol.section.is_some() {
            Slot::Program(symbol.name.to_string())
        } else {
            return fail("an address of neither a map nor a program");
        };
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        if let Some(map) = maps.get_mut(map) {
            map.slots.push((slot, value));
            // Without a size of its own a map is as large as what is in it.
            if map.def.max_entries == 0 {
                map.def.max_entries = slot.saturating_add(1);
            }
        }
    }
    Ok(())
}

/// Reads one declaration: `__uint(name, number)` is a pointer to an array of that many
/// elements, `__type(name, type)` a pointer to the type.
///
/// `__array(values, type)` is an array of pointers to maps of that declaration, or to functions
/// of that type; `outer` says that the map itself is not such an inner one.
fn declaration(
    btf: &Btf,
    name: &str,
    members: &[Member],
    outer: bool,
) -> Result<ObjectMap, ObjectError> {
    let fail = |reason: String| ObjectError::new(name, reason);
    let mut map_type = None;
    let (mut key, mut value) = (Side::default(), Side::default());
    let (mut max_entries, mut map_flags, mut pinning) = (0, 0, Pinning::None);
    let (mut map_extra, mut inner) = (0, None);
    for member in members {
        let field = btf.string(member.name).unwrap_or("");
        let number = || {
            number(btf, member.type_id)
                .ok_or_else(|| fail(format!("{field} is not declared with __uint")))
        };
        let pointee = || match btf.resolve(member.type_id) {
            Some((_, Kind::Ptr(pointee))) => btf
                .size_of(*pointee)
                .map(|size| (*pointee, size))
                .ok_or_else(|| fail(format!("{field} has no size"))),
            _ => Err(fail(format!("{field} is not declared with __type"))),
        };
        match field {
            "type" => {
                let number = number()?;
                let known = MapType::from_number(number);
                map_type = Some(known.ok_or_else(|| fail(format!("unknown map type {number}")))?);
            }
            "key" => key.typed(pointee()?).map_err(|()| fail(mismatch("key")))?,
            "value" => value.typed(pointee()?).map_err(|()| fail(mismatch("value")))?,
            "key_size" => key.sized(number()?).map_err(|()| fail(mismatch("key")))?,
            "value_size" => value.sized(number()?).map_err(|()| fail(mismatch("value")))?,
            "max_entries" => max_entries = number()?,
            "map_flags" => map_flags = number()?,
            "numa_node" => {}
            "pinning" => {
                pinning = match number()? {
                    0 => Pinning::None,
                    1 => Pinning::ByName,
                    other => return Err(fail(format!("unknown pinning {other}"))),
                };
            }
            "map_extra" => map_extra = number()?,
            "values" if outer => inner = inside(btf, name, member)?,
            other => return Err(fail(format!("unknown attribute {other}"))),
        }
    }
    let map_type = map_type.ok_or_else(|| fail(String::from("the map has no type")))?;
    let nests = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
    if nests || map_type == MapType::ProgArray {
        // What user space puts in are descriptors.
        key.size.get_or_insert(4);
        value.size.get_or_insert(4);
    }
    if inner.is_some() && !nests {
        return Err(fail(String::from("only maps of maps have maps inside")));
    }
    Ok(ObjectMap {
        name: name.to_string(),
        def: MapDef {
            map_type,
            key_size: key.size.unwrap_or(0),
            value_size: value.size.unwrap_or(0),
            max_entries,
            flags: map_flags,
        },
        pinning,
        contents: None,
        freeze: false,
        inner,
        slots: Vec::new(),
        map_extra: map_extra.into(),
        key_type: key.type_id,
        value_type: value.type_id,
    })
}

/// What the maps inside look like; `None` where functions are inside.
fn inside(btf: &Btf, name: &str, member: &Member) -> Result<Option<MapDef>, ObjectError> {
    let fail = |reason: &str| ObjectError::new(name, reason);
    let Some((_, Kind::Array { element, .. })) = btf.resolve(member.type_id) else {
        return Err(fail("values are not declared with __array"));
    };
    let Some((_, Kind::Ptr(pointee))) = btf.resolve(*element) else {
        return Err(fail("values are not pointers"));
    };
    match btf.resolve(*pointee) {
        Some((_, Kind::Struct { members, .. })) => {
            declaration(btf, name, members, false).map(|inner| Some(inner.def))
        }
        Some((_, Kind::FuncProto { .. })) => Ok(None),
        _ => Err(fail("values are neither maps nor functions")),
    }
}

/// Key or value: declared by type, by size, or by both if they agree.
#[derive(Default)]
struct Side {
    size: Option<u32>,
    type_id: TypeId,
}

impl Side {
    fn sized(&mut self, size: u32) -> Result<(), ()> {
        if self.size.is_some_and(|known| known != size) {
            return Err(());
        }
        self.size = Some(size);
        Ok(())
    }

    fn typed(&mut self, (type_id, size): (TypeId, u32)) -> Result<(), ()> {
        self.type_id = type_id;
        self.sized(size)
    }
}

fn mismatch(side: &str) -> String {
    format!("type and size of the {side} differ")
}

/// The number in `int (*name)[number]`.
fn number(btf: &Btf, id: TypeId) -> Option<u32> {
    let (_, Kind::Ptr(pointee)) = btf.resolve(id)? else { return None };
    match btf.resolve(*pointee)? {
        (_, Kind::Array { count, .. }) => Some(*count),
        _ => None,
    }
}

/// BTF for the kernel: clang leaves sizes of sections and offsets of variables to the linker,
/// and Linux refuses them unfilled.
pub(super) fn complete_btf(file: &File<'_>, btf: &Btf, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut store = |position: usize, value: u32| {
        if let Some(word) = bytes.get_mut(position..).and_then(<[u8]>::first_chunk_mut) {
            *word = value.to_le_bytes();
        }
    };
    for (id, ty) in btf.iter() {
        let Kind::Datasec { vars, position, .. } = &ty.kind else { continue };
        let name = btf.name(id);
        let Some(index) = file.index_of(name) else { continue };
        let size = file.sections.get(index).map_or(0, |section| section.size);
        store(*position, u32::try_from(size).unwrap_or(u32::MAX));
        let mut offsets = vec![];
        for var in vars {
            let var_name = btf.name(var.type_id);
            if let Some(symbol) = file.symbol(index, var_name) {
                offsets.push((var.position, symbol.value));
            }
        }
        for (position, value) in offsets {
            store(position, u32::try_from(value).unwrap_or(u32::MAX));
        }
    }
    bytes
}
