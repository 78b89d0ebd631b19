//! CO-RE: programs compiled with one set of types, run with another.
#![expect(clippy::unwrap_used, reason = "a test fails loudly")]

mod common;

use std::sync::Arc;

use common::{Host, compile_text, create_maps, environment, tools::clang};
use kernel_bpf::btf::core_reloc::{Kernel, Relocation, Wanted};
use kernel_bpf::btf::{Btf, Kind, TypeId};
use kernel_bpf::interpreter::Interpreter;
use kernel_bpf::loader::Object;
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::verifier::verify;

/// The types that programs are compiled with.
const LOCAL: &str = r#"
#include "lemma.h"
char _license[] SEC("license") = "GPL";
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct inner { __u64 skip; __u64 deep; };
union either { __u64 number; char *text; };
enum color { RED = 1, GREEN = 2, BLUE___old = 3, GONE = 9 };
typedef struct { __u64 x; } named_t;
struct event {
    __u64 first;
    __u64 second;
    struct inner inner;
    __u64 list[4];
    unsigned low : 5;
    unsigned high : 20;
    int number;
    __u32 narrow;
    __u64 wide;
    union either *either;
    int gone;
    int other_type;
};
struct event___flavour { __u64 second; };
struct lost { int x; };
#pragma clang attribute pop
#define FIELD(kind, field) __builtin_preserve_field_info(((struct event *)0)->field, kind)
#define TYPE(kind, type) __builtin_preserve_type_info(*(type *)0, kind)
#define ID(kind, type) __builtin_btf_type_id(*(type *)0, kind)
#define VALUE(kind, type, value) __builtin_preserve_enum_value(*(type *)value, kind)
"#;

/// The same in another kernel: moved, renamed, nested without a name, of other sizes.
const KERNEL: &str = r#"
#include "lemma.h"
enum color { GREEN = 20, RED = -10, BLUE = 30 };
typedef struct { __u64 x, y; } named_t;
struct inner { __u64 deep; };
union either { __u64 number; char *text; };
struct event {
    __u64 added;
    struct { __u64 second; struct { __u32 more; __u32 number_before; }; };
    __u64 list[5];
    struct inner inner;
    unsigned long before : 7;
    unsigned long low : 5;
    unsigned long high : 40;
    unsigned number;
    __u64 narrow;
    __u32 wide;
    union either *either;
    struct inner other_type;
    __u64 first;
};
struct event *use_event; enum color use_color; named_t use_named; union either use_either;
"#;

fn kernel() -> Option<Btf> {
    let object = Object::parse(&compile_text(clang()?, KERNEL)).unwrap();
    Some(Btf::parse(object.btf.as_deref().unwrap()).unwrap())
}

fn object(body: &str) -> Object {
    let text = format!("{LOCAL}SEC(\"raw_tp/x\") __u64 f(void *ctx) {{ {body} }}\n");
    Object::parse(&compile_text(clang().unwrap(), &text)).unwrap()
}

/// Runs the program for the other kernel; the error is the verifier's, with what is missing.
fn run(kernel: &Btf, body: &str, context: &[u64]) -> Result<u64, String> {
    let mut object = object(body);
    let maps = create_maps(&object, &environment());
    let early = object.programs[0].to_program(&object, &maps, Arc::ptr_eq);
    assert!(early.is_err() || !object.needs_kernel_types());
    object.relocate(kernel).map_err(|error| error.to_string())?;
    let program = object.programs[0].to_program(&object, &maps, Arc::ptr_eq).unwrap();
    let verified = verify(program, &ActiveProfile::verify_options()).map_err(|rejection| {
        let missing = object.programs[0].missing_at(rejection.insn.unwrap_or(0) as usize);
        missing.map_or_else(|| rejection.to_string(), String::from)
    })?;
    let ready = Interpreter::<ActiveProfile>::new(&verified).unwrap();
    let mut bytes: Vec<u8> = context.iter().flat_map(|word| word.to_ne_bytes()).collect();
    bytes.resize(512, 0);
    Ok(ready.run(&mut bytes, &Host::default()).unwrap())
}

fn id(btf: &Btf, name: &str, structure: bool) -> TypeId {
    let is = |kind: &Kind| matches!(kind, Kind::Struct { .. }) == structure;
    btf.iter().find(|(id, ty)| btf.name(*id) == name && is(&ty.kind)).unwrap().0
}

#[test]
fn every_kind_of_relocation_gives_the_kernels_numbers() {
    let Some(kernel) = kernel() else { return };
    for (expression, expected) in [
        ("FIELD(0, second)", 8),
        ("FIELD(0, inner.deep)", 64),
        ("FIELD(0, list[2])", 40),
        ("FIELD(1, list)", 40),
        ("FIELD(1, narrow)", 8),
        ("FIELD(2, second)", 1),
        ("FIELD(2, gone)", 0),
        ("FIELD(2, other_type)", 0),
        ("FIELD(2, inner.skip)", 0),
        ("FIELD(3, number)", 0),
        ("FIELD(3, narrow)", 0),
        // `high`: bits 12 to 52 of the word at 72.
        ("FIELD(0, high)", 72),
        ("FIELD(1, high)", 8),
        ("FIELD(4, high)", 64 - 52),
        ("FIELD(5, high)", 64 - 40),
        ("FIELD(4, low)", 64 - 12),
        ("FIELD(5, low)", 64 - 5),
        ("FIELD(4, number)", 32),
        ("TYPE(0, struct event)", 1),
        ("TYPE(0, struct event___flavour)", 1),
        ("TYPE(0, struct lost)", 0),
        ("TYPE(1, struct lost)", 0),
        ("TYPE(1, struct inner)", 8),
        ("TYPE(1, named_t)", 16),
        ("ID(1, struct event)", id(&kernel, "event", true).into()),
        ("ID(1, struct lost)", 0),
        ("VALUE(0, enum color, RED)", 1),
        ("VALUE(1, enum color, RED)", -10i64 as u64),
        ("VALUE(1, enum color, GREEN)", 20),
        ("VALUE(1, enum color, BLUE___old)", 30),
        ("VALUE(0, enum color, GONE)", 0),
    ] {
        let result = run(&kernel, &format!("return {expression};"), &[]);
        assert_eq!(result, Ok(expected), "{expression}");
    }
    let own = object("return ID(0, struct event);");
    let types = Btf::parse(own.btf.as_deref().unwrap()).unwrap();
    let local = run(&kernel, "return ID(0, struct event);", &[]).unwrap();
    assert_eq!(local, u64::from(id(&types, "event", true)));
}

#[test]
fn loads_read_the_field_where_this_kernel_has_it() {
    let Some(kernel) = kernel() else { return };
    let context: Vec<u64> = (0..32).map(|word| word * 100).collect();
    for (body, expected) in [
        ("return ((struct event *)ctx)->second;", 100),
        ("return ((struct event *)ctx)->inner.deep;", 800),
        ("return ((struct event *)ctx)->list[3];", 600),
        ("return ((struct event___flavour *)ctx)->second;", 100),
        // Wider here than where the program was compiled.
        ("return ((struct event *)ctx)->narrow;", 1100),
    ] {
        assert_eq!(run(&kernel, body, &context), Ok(expected), "{body}");
    }
}

#[test]
fn what_the_kernel_lacks_is_named_when_it_is_reached() {
    let Some(kernel) = kernel() else { return };
    for (body, missing) in [
        ("return ((struct event *)ctx)->gone;", "this kernel has no struct event.gone"),
        ("return ((struct event *)ctx)->inner.skip;", "no struct event.inner.skip"),
        ("return ((struct lost *)ctx)->x;", "no struct lost.x"),
        ("return VALUE(1, enum color, GONE);", "no enum color.GONE"),
        ("return FIELD(1, gone);", "no struct event.gone"),
    ] {
        let error = run(&kernel, body, &[]).unwrap_err();
        assert!(error.contains(missing), "{body}\n{error}");
    }
    // A program that asks first is not refused.
    let guarded = "struct event *e = ctx; return FIELD(2, gone) ? e->gone : e->second;";
    assert_eq!(run(&kernel, guarded, &[0, 55]), Ok(55));
}

#[test]
fn types_match_by_what_they_hold() {
    let Some(kernel) = kernel() else { return };
    let own =
        object("return TYPE(0, struct event) + TYPE(0, union either) + TYPE(0, struct inner);");
    let local = Btf::parse(own.btf.as_deref().unwrap()).unwrap();
    let index = Kernel::new(&kernel);
    let matches = |type_id| {
        let relocation = Relocation { type_id, path: "0", wanted: Wanted::TypeMatches };
        index.resolve(&local, &relocation).unwrap().value
    };
    assert_eq!(matches(id(&local, "either", false)), 1);
    assert_eq!(matches(id(&local, "event", true)), 0, "members are missing");
    assert_eq!(matches(id(&local, "inner", true)), 0, "`skip` is missing");
    for (path, wanted) in [
        ("", Wanted::FieldByteOffset),
        ("0:99", Wanted::FieldByteOffset),
        ("0:x", Wanted::FieldByteOffset),
        ("0:0:0", Wanted::FieldByteOffset),
        ("1", Wanted::TypeExists),
        ("0:3:4", Wanted::FieldExists),
        ("4294967295:18446744073709551615", Wanted::FieldExists),
    ] {
        let relocation = Relocation { type_id: id(&local, "event", true), path, wanted };
        assert!(index.resolve(&local, &relocation).is_err(), "{path}");
    }
}

/// Damaged types and records: an error or an object, never a panic.
#[test]
fn damaged_relocations_are_errors() {
    let (Some(kernel), Some(clang)) = (kernel(), clang()) else { return };
    let body = "struct event *e = ctx; return e->list[FIELD(2, high)] + VALUE(1, enum color, RED);";
    let text = format!("{LOCAL}SEC(\"raw_tp/x\") __u64 f(void *ctx) {{ {body} }}\n");
    let whole = compile_text(clang, &text);
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |limit: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 11) as usize % limit
    };
    let (mut relocated, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut bytes = whole.clone();
        for _ in 0..1 + next(3) {
            let at = next(whole.len());
            bytes[at] = next(256) as u8;
        }
        if let Ok(mut object) = Object::parse(&bytes) {
            match object.relocate(&kernel) {
                Ok(()) => relocated += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(relocated > 100 && refused > 10, "{relocated} {refused}");
}
