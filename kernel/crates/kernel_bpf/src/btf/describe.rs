//! [`kernel_types`]: the types that a kernel of ours shows its programs, as BTF.
//!
//! They are what an object's CO-RE relocations are resolved against: the contexts of Lemma's
//! hooks, as [`crate::hook`] declares them, and those of the tracepoints that Linux has too,
//! under Linux's names. Kernel objects have none here: nothing in them can be read.

use alloc::vec::Vec;

use super::TypeId;
use crate::hook::HOOKS;
use crate::prog_type::context::{Context, ContextRule};

/// Linux's numbers of the kinds that are needed here.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
}

/// Encodings of integers.
const UNSIGNED: u32 = 0;
const SIGNED: u32 = 1;

const HEADER_BYTES: usize = 24;

/// Types and strings under construction.
struct Writer {
    types: Vec<u32>,
    strings: Vec<u8>,
    last: TypeId,
}

/// A member: name, type, offset in bytes.
type Member<'a> = (&'a str, TypeId, u32);

impl Writer {
    fn string(&mut self, text: &str) -> u32 {
        let at = self.strings.len() as u32;
        self.strings.extend(text.bytes().chain([0]));
        at
    }

    fn head(&mut self, name: &str, kind: u32, count: usize, size: u32) -> TypeId {
        let name = if name.is_empty() { 0 } else { self.string(name) };
        self.types.extend([name, (kind << 24) | count as u32, size]);
        self.last += 1;
        self.last
    }

    fn int(&mut self, name: &str, bytes: u32, encoding: u32) -> TypeId {
        let id = self.head(name, kind::INT, 0, bytes);
        self.types.push((encoding << 24) | (bytes * 8));
        id
    }

    fn array(&mut self, element: TypeId, index: TypeId, count: u32) -> TypeId {
        let id = self.head("", kind::ARRAY, 0, 0);
        self.types.extend([element, index, count]);
        id
    }

    fn structure(&mut self, name: &str, bytes: u32, members: &[Member<'_>]) -> TypeId {
        let id = self.head(name, kind::STRUCT, members.len(), bytes);
        for (name, type_id, offset) in members {
            let name = self.string(name);
            self.types.extend([name, *type_id, offset * 8]);
        }
        id
    }

    fn finish(self) -> Vec<u8> {
        let types = self.types.len() as u32 * 4;
        // Magic, version and flags; then the lengths, and where each part begins.
        let header = [0x0001_eb9f, HEADER_BYTES as u32, 0, types, types, self.strings.len() as u32];
        let words = header.into_iter().chain(self.types);
        words.flat_map(u32::to_le_bytes).chain(self.strings).collect()
    }
}

/// The integers that members have.
struct Numbers {
    u8: TypeId,
    u16: TypeId,
    s32: TypeId,
    u32: TypeId,
    s64: TypeId,
    u64: TypeId,
}

/// BTF of what this kernel shows its programs.
#[must_use]
pub fn kernel_types() -> Vec<u8> {
    let mut writer = Writer { types: Vec::new(), strings: alloc::vec![0], last: 0 };
    let numbers = Numbers {
        u8: writer.int("unsigned char", 1, UNSIGNED),
        u16: writer.int("unsigned short", 2, UNSIGNED),
        s32: writer.int("int", 4, SIGNED),
        u32: writer.int("unsigned int", 4, UNSIGNED),
        s64: writer.int("long", 8, SIGNED),
        u64: writer.int("unsigned long", 8, UNSIGNED),
    };
    for hook in HOOKS {
        declared(&mut writer, &numbers, &hook.context);
    }
    tracepoints(&mut writer, &numbers);
    writer.finish()
}

/// A hook's context: its fields, those with an index in brackets as one array.
fn declared(writer: &mut Writer, numbers: &Numbers, context: &Context) {
    let ContextRule::Fields(fields) = context.rule else { return };
    let mut members: Vec<Member<'_>> = Vec::new();
    for field in fields {
        let type_id = match field.size {
            1 => numbers.u8,
            2 => numbers.u16,
            4 => numbers.u32,
            _ => numbers.u64,
        };
        let Some((name, _)) = field.name.split_once('[') else {
            members.push((field.name, type_id, field.offset.into()));
            continue;
        };
        if members.last().is_some_and(|(last, ..)| *last == name) {
            continue;
        }
        let same = |other: &str| other.split_once('[').is_some_and(|(other, _)| other == name);
        let count = fields.iter().filter(|other| same(other.name)).count() as u32;
        let array = writer.array(type_id, numbers.u32, count);
        members.push((name, array, field.offset.into()));
    }
    let name = context.name.strip_prefix("struct ").unwrap_or(context.name);
    writer.structure(name, context.size, &members);
}

/// The records of `raw_syscalls` and what a raw tracepoint gets, as Linux has them.
fn tracepoints(writer: &mut Writer, numbers: &Numbers) {
    let entry = [
        ("type", numbers.u16, 0),
        ("flags", numbers.u8, 2),
        ("preempt_count", numbers.u8, 3),
        ("pid", numbers.s32, 4),
    ];
    let entry = writer.structure("trace_entry", 8, &entry);
    let arguments = writer.array(numbers.u64, numbers.u32, 6);
    let rest = writer.array(numbers.u64, numbers.u32, 0);
    let enter = [("ent", entry, 0), ("id", numbers.s64, 8), ("args", arguments, 16)];
    writer.structure("trace_event_raw_sys_enter", 64, &enter);
    let exit = [("ent", entry, 0), ("id", numbers.s64, 8), ("ret", numbers.s64, 16)];
    writer.structure("trace_event_raw_sys_exit", 24, &exit);
    writer.structure("bpf_raw_tracepoint_args", 0, &[("args", rest, 0)]);
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::btf::{self, Btf, Kind, Type};

    /// A structure's members: name, offset and size in bytes.
    fn members_of(btf: &Btf, name: &str) -> Vec<(String, u32, u32)> {
        let found = btf
            .iter()
            .find(|(id, ty)| matches!(ty.kind, Kind::Struct { .. }) && btf.name(*id) == name);
        let Some((_, Type { kind: Kind::Struct { members, .. }, .. })) = found else {
            return Vec::new();
        };
        let text = |member: &btf::Member| {
            let name = btf.string(member.name).unwrap_or_default();
            (String::from(name), member.bit_offset / 8, btf.size_of(member.type_id).unwrap_or(0))
        };
        members.iter().map(text).collect()
    }

    #[test]
    fn every_hooks_context_is_there_as_it_is_declared() {
        let btf = Btf::parse(&kernel_types()).unwrap();
        for hook in HOOKS {
            let ContextRule::Fields(fields) = hook.context.rule else { continue };
            let name = hook.context.name.strip_prefix("struct ").unwrap();
            let members = members_of(&btf, name);
            for field in fields {
                let covered = members.iter().any(|(member, offset, size)| {
                    field.name.starts_with(member.as_str())
                        && (*offset..offset + size).contains(&field.offset.into())
                });
                assert!(covered, "{name}.{}", field.name);
            }
        }
        let enter = members_of(&btf, "lemma_sys_enter");
        let expected = [("nr", 0, 8), ("args", 8, 48), ("pid", 56, 4), ("tid", 60, 4)];
        assert_eq!(enter.len(), expected.len());
        for ((name, offset, size), expected) in enter.iter().zip(expected) {
            assert_eq!((name.as_str(), *offset, *size), expected);
        }
        let record = members_of(&btf, "trace_event_raw_sys_enter");
        assert_eq!(record[2], (String::from("args"), 16, 48));
    }
}
