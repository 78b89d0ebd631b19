//! What the tests of the rules share: maps, and programs that must be accepted or refused.

use kernel_bpf::asm::assemble;
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{MapDef, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

/// Map 0 is an array of 4 values of 48 bytes, 1 a hash of 8-byte keys and values, 2 a
/// ring buffer, 3 read-only, 4 write-only, 5 an array of programs, 6 one array value
/// of 64 bytes, 7 a per-CPU array of 4 values of 8 bytes, 8 a task storage, 9 a bloom filter.
pub(crate) fn maps() -> Vec<MapDef> {
    let def = |map_type, key_size, value_size, max_entries, flags| MapDef {
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
    };
    vec![
        def(MapType::Array, 4, 48, 4, 0),
        def(MapType::Hash, 8, 8, 16, 0),
        def(MapType::Ringbuf, 0, 0, 4096, 0),
        def(MapType::Array, 4, 16, 1, flags::RDONLY_PROG),
        def(MapType::Array, 4, 16, 1, flags::WRONLY_PROG),
        def(MapType::ProgArray, 4, 4, 4, 0),
        def(MapType::Array, 4, 64, 1, 0),
        def(MapType::PercpuArray, 4, 8, 4, 0),
        def(MapType::TaskStorage, 4, 8, 0, flags::NO_PREALLOC),
        def(MapType::BloomFilter, 0, 8, 16, 0),
    ]
}

pub(crate) fn load(
    kind: ProgType,
    attach: u32,
    text: &str,
    options: &VerifyOptions,
) -> Result<Proof, Box<Rejection>> {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut program = Program::new(insns, kind, maps());
    program.expected_attach_type = attach;
    program.gpl_compatible = true;
    verify(program, options).map(|verified| verified.proof().clone())
}

pub(crate) fn accept(kind: ProgType, text: &str) -> Proof {
    accept_at(kind, 0, text)
}

pub(crate) fn accept_at(kind: ProgType, attach: u32, text: &str) -> Proof {
    match load(kind, attach, text, &VerifyOptions::cloud()) {
        Ok(proof) => proof,
        Err(rejection) => panic!("{text}\n{rejection}"),
    }
}

pub(crate) fn refuse(kind: ProgType, text: &str, cause: Cause) -> Rejection {
    refuse_with(kind, 0, text, cause, &VerifyOptions::cloud())
}

pub(crate) fn refuse_with(
    kind: ProgType,
    attach: u32,
    text: &str,
    cause: Cause,
    options: &VerifyOptions,
) -> Rejection {
    match load(kind, attach, text, options) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(rejection) => {
            assert_eq!(rejection.cause, cause, "{text}\n{rejection}");
            *rejection
        }
    }
}
