//! Constant templates of `bpf_snprintf`.

use kernel_bpf::asm::assemble;
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{MapDef, MapRef, MapType};
use kernel_bpf::prog_type::ProgType::RawTracepoint;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, VerifyOptions, verify};

/// A map of 64 bytes that hold a text for good, or can be written.
enum Map {
    Constant(&'static [u8]),
    Variable,
}

impl MapRef for Map {
    fn def(&self) -> MapDef {
        let flags = if matches!(self, Map::Constant(_)) { flags::RDONLY_PROG } else { 0 };
        MapDef { map_type: MapType::Array, key_size: 4, value_size: 64, max_entries: 1, flags }
    }
    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        let Map::Constant(text) = self else { return false };
        for (byte, at) in into.iter_mut().zip(offset as usize..) {
            *byte = text.get(at).copied().unwrap_or(0);
        }
        true
    }
}

/// What the verifier says of a call with this text at `offset`, after `size` has set r5.
fn verdict(text: &'static [u8], offset: u32, size: &str) -> Result<(), Cause> {
    let program = format!(
        "r6 = *(u64 *)(r1 + 0)\n {size}\n r1 = map[1][0]+0 ll\n r2 = 64\n r3 = map[0][0]+{offset} ll\n \
         r4 = map[1][0]+0 ll\n call bpf_snprintf\n r0 = 0\n exit"
    );
    let maps = vec![Map::Constant(text), Map::Variable];
    let mut program = Program::new(assemble(&program).unwrap(), RawTracepoint, maps);
    program.gpl_compatible = true;
    match verify(program, &VerifyOptions::cloud()) {
        Ok(_) => Ok(()),
        Err(rejection) => Err(rejection.cause),
    }
}

#[test]
fn templates_are_checked_when_a_program_is_loaded() {
    assert_eq!(verdict(b"%d and %s\0", 0, "r5 = 16"), Ok(()));
    assert_eq!(verdict(b"%d and %s\0", 0, "r5 = 24"), Ok(()), "more numbers than asked for");
    assert_eq!(verdict(b"%d and %s\0", 0, "r5 = 8"), Err(Cause::BadTemplate));
    assert_eq!(verdict(b"%d and %s\0", 7, "r5 = 8"), Ok(()));
    assert_eq!(verdict(b"%o\0", 0, "r5 = 8"), Err(Cause::BadTemplate));
    assert_eq!(verdict(b"%d\0", 0, "r5 = 12"), Err(Cause::BadTemplate));
    assert_eq!(verdict(&[b'x'; 64], 0, "r5 = 8"), Err(Cause::BadArgument), "no end");
}

/// The numbers that there are for certain count.
#[test]
fn the_number_of_arguments_may_differ_by_path() {
    let two_sizes = "r5 = 16\n if r6 == 0 goto l\n r5 = 24\n l:";
    assert_eq!(verdict(b"%d %d\0", 0, two_sizes), Ok(()));
    assert_eq!(verdict(b"%d %d %d\0", 0, two_sizes), Err(Cause::BadTemplate));
    assert_eq!(verdict(b"%d\0", 0, "r5 = r6\n r5 &= 8"), Err(Cause::BadTemplate));
    assert_eq!(verdict(b"%d\0", 0, "r5 = r6\n r5 &= 8\n r5 |= 16"), Ok(()));
}
