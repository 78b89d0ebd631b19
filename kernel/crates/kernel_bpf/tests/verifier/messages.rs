//! What a refusal and the log say.

use kernel_bpf::asm::assemble;
use kernel_bpf::prog_type::ProgType::RawTracepoint as RawTp;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, VerifyOptions, verify_with_log};

use crate::common::{maps, refuse};

/// A refusal names the place, the register and its state, and a hint.
#[test]
fn messages_say_what_is_wrong() {
    let rejection = refuse(
        RawTp,
        "r2 = *(u64 *)(r1 + 0)\n if r2 > 64 goto out\n r3 = map[6][0]+0 ll\n r3 += r2\n r0 = *(u8 *)(r3 + 0)\n out: r0 = 0\n exit",
        Cause::OutOfBounds,
    );
    let text = rejection.to_string();
    for part in [
        "refused at instruction 5: r0 = *(u8 *)(r3 + 0)",
        "R3 max value is outside of the allowed memory range: 1 bytes at offset up to 64 of 64 bytes",
        "r3 is a pointer to a value of map 6 (64 bytes), at offset 0 plus 0 to 64",
        "path: branch at 1 fell through",
        "hint: check the index",
    ] {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

/// The same facts in a form for tools.
#[test]
fn messages_come_as_json() {
    let rejection =
        refuse(RawTp, "r0 = 0\n if r1 == 0 goto l\n l: r0 = r2\n exit", Cause::Uninitialised);
    let json = rejection.to_json();
    for part in [
        "{\"cause\":\"uninitialised\",\"message\":\"R2 !read_ok",
        "\"insn\":2,\"disassembly\":\"r0 = r2\",\"register\":\"r2\"",
        "\"path\":[{\"insn\":1,\"taken\":false}],\"path_shortened\":false",
        "\"source\":null",
    ] {
        assert!(json.contains(part), "`{part}` is not in:\n{json}");
    }
}

/// The bits of `log_level` choose what is written.
#[test]
fn the_log_follows_its_level() {
    let text = "r2 = *(u64 *)(r1 + 0)\n r0 = 0\n if r2 == 5 goto l\n r0 = 1\n l: r2 = 0\n exit";
    let log = |log_level| {
        let program = Program::new(assemble(text).unwrap(), RawTp, maps());
        let options = VerifyOptions { log_level, ..VerifyOptions::cloud() };
        let mut log = String::new();
        verify_with_log(program, &options, &mut log).unwrap();
        log
    };
    assert_eq!(log(0), "");
    let one = log(1);
    assert!(one.contains("1: r0 = 0\n"), "{one}");
    assert!(one.contains("\nfrom 2 to 4: R0=0"), "{one}");
    assert!(!one.contains("processed"), "{one}");
    let two = log(2);
    assert!(two.contains("0: r2 = *(u64 *)(r1 + 0)  ; R1=ctx(+0)\n"), "{two}");
    assert!(two.contains("1: r0 = 0  ; R1=ctx(+0) R2=scalar()\n"), "{two}");
    let four = log(4);
    assert!(four.starts_with("processed 8 insns (limit 1000000)"), "{four}");
    assert_eq!(four.lines().count(), 1, "{four}");
    assert!(log(5).starts_with(&one) && log(5).ends_with(&four));
}

/// A state in the log says what is known, and no more.
#[test]
fn the_log_shows_what_is_known_of_numbers_and_slots() {
    let text = "r2 = *(u64 *)(r1 + 0)\n r2 &= 255\n *(u64 *)(r10 - 8) = r2\n *(u16 *)(r10 - 12) = 0
        *(u16 *)(r10 - 14) = r2\n r0 = 0\n exit";
    let program = Program::new(assemble(text).unwrap(), RawTp, maps());
    let options = VerifyOptions { log_level: 2, ..VerifyOptions::cloud() };
    let mut log = String::new();
    verify_with_log(program, &options, &mut log).unwrap();
    let byte =
        "scalar(smin=0,smax=255,smin32=0,smax32=255,umax=255,umax32=255,var_off=(0x0; 0xff))";
    let state = format!("5: r0 = 0  ; R1=ctx(+0) R2={byte} fp-8={byte} fp-16=??00mm??\n");
    assert!(log.contains(&state), "{log}");
}
