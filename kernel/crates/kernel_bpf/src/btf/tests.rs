//! BTF made by hand, whole and damaged.

use super::ext::{Ext, func_info, func_records, line_info, line_records};
use super::{Btf, Kind};
use crate::map::{MapDef, MapType, ValueFields};
use alloc::vec::Vec;

/// Types and strings with a header around them.
fn blob(types: &[u32], strings: &[u8]) -> Vec<u8> {
    let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut bytes = 0x1_eb9f_u32.to_le_bytes().to_vec();
    for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

const fn info(kind: u32, count: u32) -> u32 {
    kind << 24 | count
}

/// 1 int, 2 int[3], 3 struct { int a; int b[3]; }, 4 typedef, 5 pointer, 6 prototype,
/// 7 function.
fn sample() -> Vec<u8> {
    let types: [&[u32]; 7] = [
        &[1, info(1, 0), 4, 32 | 1 << 24],
        &[0, info(3, 0), 0, 1, 1, 3],
        &[5, info(4, 2), 16, 7, 1, 0, 9, 2, 32],
        &[11, info(8, 0), 3],
        &[0, info(2, 0), 3],
        &[0, info(13, 1), 1, 7, 5],
        &[13, info(12, 1), 6],
    ];
    blob(&types.concat(), b"\0int\0s\0a\0b\0t\0f\0x.c\0return 1;\0")
}

#[test]
fn sizes_and_names_are_found() {
    let btf = Btf::parse(&sample()).unwrap();
    assert_eq!(btf.len(), 8);
    assert_eq!(btf.name(1), "int");
    assert_eq!(btf.size_of(2), Some(12));
    assert_eq!(btf.size_of(4), Some(16));
    assert_eq!(btf.size_of(5), Some(8));
    assert_eq!(btf.size_of(6), None);
    let resolved = btf.resolve(4);
    assert!(matches!(resolved, Some((3, Kind::Struct { members, .. })) if members.len() == 2));
}

#[test]
fn what_is_wrong_is_refused() {
    let refused = |types: &[u32], what: &str| {
        let error = Btf::parse(&blob(types, b"\0a\0")).unwrap_err();
        assert_eq!(error.what, what);
    };
    refused(&[0, info(2, 0), 9], "refers to a type that does not exist");
    refused(&[9, info(2, 0), 0], "name out of bounds");
    refused(&[0, info(8, 0), 1], "contains itself");
    refused(&[0, info(8, 0), 2, 0, info(9, 0), 1], "contains itself");
    refused(&[0, info(4, 1), 4, 0, 1, 0], "contains itself");
    refused(&[0, info(1, 0), 3, 24], "impossible integer");
    refused(&[0, info(30, 0), 0], "unknown kind");
    refused(&[0, info(12, 0), 0], "a function without a prototype");
    refused(&[0, info(4, 0xffff), 0], "cut short");
    refused(&[0, info(2, 0)], "cut short");
    refused(&[0, info(2, 0) | 1 << 29, 0], "reserved bits are set");
    let chain = (2..60).flat_map(|next| [0, info(9, 0), next]);
    let deep: Vec<u32> = chain.chain([0, info(2, 0), 0]).collect();
    refused(&deep, "nested too deeply");
    assert_eq!(Btf::parse(&blob(&[], b"a\0")).unwrap_err().type_id, 0);
    assert!(Btf::parse(&[]).is_err());
}

#[test]
fn a_structure_may_point_to_itself() {
    // struct s { struct s *next; }
    Btf::parse(&blob(&[1, info(4, 1), 8, 0, 2, 0, 0, info(2, 0), 1], b"\0s\0")).unwrap();
}

#[test]
fn damage_never_panics() {
    let whole = sample();
    let mut seed = 1u32;
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let at = (seed >> 8) as usize % bytes.len();
            bytes[at] = (seed >> 24) as u8;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            accepted += 1;
            for id in 0..btf.len() as u32 {
                let _ = (btf.size_of(id), btf.name(id), btf.resolve(id));
            }
        }
        let _ = Btf::parse(&bytes[..(seed % whole.len() as u32) as usize]);
        let _ = Ext::parse(&bytes);
    }
    assert!(accepted > 100);
}

#[test]
fn records_are_checked_against_the_program_and_the_types() {
    let btf = Btf::parse(&sample()).unwrap();
    let words = |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|w| w.to_le_bytes()).collect() };
    let functions = func_records(&words(&[0, 7, 3, 7]), 8).unwrap();
    let infos = func_info(&btf, &functions, 4).unwrap();
    assert_eq!((&*infos[1].name, infos[1].insn, infos[1].global), ("f", 3, true));
    assert!(func_info(&btf, &functions, 3).is_err(), "beyond the program");
    assert!(func_info(&btf, &func_records(&words(&[0, 1]), 8).unwrap(), 4).is_err());
    assert!(func_records(&words(&[0, 1]), 7).is_err());
    assert!(func_records(&words(&[0, 1, 2]), 8).is_err());
    let lines = line_records(&words(&[0, 15, 19, 3 << 10 | 5, 2, 15, 19, 4 << 10]), 16).unwrap();
    let infos = line_info(&btf, &lines, 4).unwrap();
    assert_eq!((&*infos[0].file, infos[0].line, infos[0].column), ("x.c", 3, 5));
    assert_eq!(&*infos[1].text, "return 1;");
    assert!(line_info(&btf, &lines, 2).is_err());
    let reversed: Vec<_> = lines.iter().rev().copied().collect();
    assert!(line_info(&btf, &reversed, 4).is_err());
    assert!(line_info(&btf, &line_records(&words(&[0, 999, 0, 0]), 16).unwrap(), 4).is_err());
}

#[test]
fn locks_and_timers_in_values_are_found() {
    // 1 int, 2 struct bpf_spin_lock, 3 long, 4 struct bpf_timer, 5 struct value
    let types = |second: u32, offset: u32| {
        let types: [&[u32]; 6] = [
            &[1, info(1, 0), 4, 32],
            &[5, info(4, 1), 4, 1, 1, 0],
            &[0, info(1, 0), 8, 64],
            &[19, info(4, 2), 16, 1, 3, 0, 1, 3, 64],
            &[29, info(4, 3), 40, 1, 1, 0, 1, 2, offset, 1, second, 64],
            &[29, info(8, 0), 5],
        ];
        blob(&types.concat(), b"\0int\0bpf_spin_lock\0bpf_timer\0v\0")
    };
    let fields = |bytes: &[u8], id| Btf::parse(bytes).unwrap().value_fields(id);
    let both = ValueFields { spin_lock: Some(4), timer: Some(8) };
    assert_eq!(fields(&types(4, 32), 5), Ok(both));
    assert_eq!(fields(&types(4, 32), 6), Ok(both));
    assert_eq!(fields(&types(4, 32), 1), Ok(ValueFields::default()));
    let btf = Btf::parse(&types(4, 32)).unwrap();
    let map = |key_size, value_size| MapDef {
        map_type: MapType::Hash,
        key_size,
        value_size,
        max_entries: 1,
        flags: 0,
    };
    assert!(btf.describes(&map(4, 40), 1, 6) && btf.describes(&map(9, 40), 0, 5));
    assert!(!btf.describes(&map(4, 36), 1, 5), "a value shorter than its type");
    assert!(!btf.describes(&map(8, 40), 1, 5), "a key longer than its type");
    assert!(!btf.describes(&map(4, 40), 1, 0) && !btf.describes(&map(4, 40), 1, 99));
    assert!(fields(&types(2, 32), 5).is_err(), "two locks");
    assert!(fields(&types(4, 16), 5).is_err(), "not aligned");
}
