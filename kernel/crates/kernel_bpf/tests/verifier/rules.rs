//! The rules, each with a program that keeps it and one that breaks it.

use kernel_bpf::asm::assemble;
use kernel_bpf::hook;
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{MapDef, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

/// Map 0 is an array of 4 values of 48 bytes, 1 a hash of 8-byte keys and values, 2 a
/// ring buffer, 3 read-only, 4 write-only, 5 an array of programs, 6 one array value
/// of 64 bytes.
fn maps() -> Vec<MapDef> {
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
    ]
}

fn load(
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

fn accept(kind: ProgType, text: &str) -> Proof {
    match load(kind, 0, text, &VerifyOptions::cloud()) {
        Ok(proof) => proof,
        Err(rejection) => panic!("{text}\n{rejection}"),
    }
}

fn refuse(kind: ProgType, text: &str, cause: Cause) -> Rejection {
    refuse_with(kind, 0, text, cause, &VerifyOptions::cloud())
}

fn refuse_with(
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

use ProgType::{RawTracepoint as RawTp, SchedCls, SocketFilter, Tracepoint, Xdp};

#[test]
fn registers_are_written_before_they_are_read() {
    accept(RawTp, "r0 = 0\n exit");
    let rejection = refuse(RawTp, "exit", Cause::Uninitialised);
    assert_eq!(rejection.insn, Some(0));
    refuse(RawTp, "r0 = r2\n exit", Cause::Uninitialised);
    // Calls overwrite r1 to r5.
    refuse(RawTp, "call bpf_ktime_get_ns\n r0 = r1\n exit", Cause::Uninitialised);
    // On one path only.
    refuse(
        RawTp,
        "r1 = *(u64 *)(r1 + 0)\n if r1 == 0 goto l\n r2 = 1\n l: r0 = r2\n exit",
        Cause::Uninitialised,
    );
    refuse(RawTp, "r10 = 5\n r0 = 0\n exit", Cause::FramePointer);
    refuse(RawTp, "r0 = 0\n r10 += 8\n exit", Cause::FramePointer);
}

#[test]
fn the_shape_is_checked_first() {
    refuse(RawTp, "goto +1\n exit", Cause::BadJump);
    refuse(RawTp, "if r1 == 0 goto +1\n r1 = 5 ll\n r0 = 0\n exit", Cause::BadJump);
    refuse(RawTp, "r0 = 0", Cause::FallsThrough);
    refuse(RawTp, "r0 = 0\n exit\n r0 = 1\n exit", Cause::Unreachable);
    refuse(RawTp, "l: goto l", Cause::InfiniteLoop);
    refuse(RawTp, "call pc+10\n exit", Cause::BadJump);
    // A function may not be jumped into.
    refuse(RawTp, "call f\n goto f\n f: r0 = 0\n exit", Cause::BadJump);
    let long = format!("{}exit", "r0 = 0\n".repeat(5000));
    accept(RawTp, &long);
    refuse_with(RawTp, 0, &long, Cause::ProgramSize, &VerifyOptions::embedded());
}

#[test]
fn operands_are_in_range() {
    refuse(RawTp, "r0 = 1\n r0 /= 0\n exit", Cause::BadInstruction);
    refuse(RawTp, "r0 = 1\n w0 %= 0\n exit", Cause::BadInstruction);
    refuse(RawTp, "r0 = 1\n r0 <<= 64\n exit", Cause::BadInstruction);
    refuse(RawTp, "r0 = 1\n w0 >>= 32\n exit", Cause::BadInstruction);
    accept(RawTp, "r0 = 1\n w0 >>= 31\n r0 s/= -1\n exit");
    refuse(RawTp, "r0 = 0\n may_goto +0\n exit", Cause::BadInstruction);
}

#[test]
fn the_stack_is_512_aligned_bytes() {
    accept(RawTp, "*(u64 *)(r10 - 512) = 1\n r0 = *(u64 *)(r10 - 512)\n exit");
    refuse(RawTp, "*(u64 *)(r10 - 520) = 1\n r0 = 0\n exit", Cause::OutOfBounds);
    refuse(RawTp, "*(u64 *)(r10 + 0) = 1\n r0 = 0\n exit", Cause::OutOfBounds);
    refuse(RawTp, "*(u32 *)(r10 - 6) = 1\n r0 = 0\n exit", Cause::Misaligned);
    refuse(
        RawTp,
        "r2 = r10\n r2 -= 8\n *(u64 *)(r2 + 0) = 1\n r0 = 0\n exit",
        Cause::PointerArithmetic,
    )
    .hint
    .unwrap();
    let proof = accept(RawTp, "*(u8 *)(r10 - 9) = 1\n r0 = 0\n exit");
    assert_eq!(proof.stack_depth, 16);
    // Uninitialised stack: for the privileged only.
    accept(SocketFilter, "r0 = *(u64 *)(r10 - 8)\n exit");
    let options = VerifyOptions::cloud().for_unprivileged();
    refuse_with(SocketFilter, 0, "r0 = *(u64 *)(r10 - 8)\n exit", Cause::Uninitialised, &options);
}

#[test]
fn spilled_values_come_back() {
    // A pointer survives, in whole.
    accept(RawTp, "*(u64 *)(r10 - 8) = r1\n r2 = *(u64 *)(r10 - 8)\n r0 = *(u64 *)(r2 + 0)\n exit");
    refuse(RawTp, "*(u64 *)(r10 - 8) = r1\n r0 = *(u32 *)(r10 - 8)\n exit", Cause::PointerLeak);
    refuse(RawTp, "*(u32 *)(r10 - 8) = r1\n r0 = 0\n exit", Cause::PointerLeak);
    // Bytes written over it make it a number.
    refuse(
        RawTp,
        "*(u64 *)(r10 - 8) = r1\n *(u8 *)(r10 - 8) = 0\n r2 = *(u64 *)(r10 - 8)\n r0 = *(u64 *)(r2 + 0)\n exit",
        Cause::NotAPointer,
    );
    // Bounds survive as well, and in parts.
    accept(
        RawTp,
        "r2 = *(u64 *)(r1 + 0)\n r2 &= 31\n *(u64 *)(r10 - 8) = r2\n r3 = *(u32 *)(r10 - 8)
         r4 = map[6][0]+0 ll\n r4 += r3\n r0 = *(u64 *)(r4 + 0)\n exit",
    );
    // Zero stays zero, byte by byte.
    accept(
        RawTp,
        "r2 = 0\n *(u8 *)(r10 - 3) = r2\n r3 = *(u8 *)(r10 - 3)
         r4 = map[3][0]+15 ll\n r4 += r3\n r0 = *(u8 *)(r4 + 0)\n exit",
    );
}

#[test]
fn numbers_are_no_addresses() {
    refuse(RawTp, "r1 = 4096\n r0 = *(u64 *)(r1 + 0)\n exit", Cause::NotAPointer);
    refuse(RawTp, "r2 = *(u64 *)(r1 + 0)\n r0 = *(u64 *)(r2 + 0)\n exit", Cause::NotAPointer);
    refuse(RawTp, "r1 = map[0] ll\n r0 = *(u64 *)(r1 + 0)\n exit", Cause::NotAPointer);
}

#[test]
fn pointers_move_by_bounded_amounts_only() {
    refuse(RawTp, "r1 *= 2\n r0 = 0\n exit", Cause::PointerArithmetic);
    refuse(RawTp, "r1 |= 2\n r0 = 0\n exit", Cause::PointerArithmetic);
    refuse(RawTp, "w1 += 2\n r0 = 0\n exit", Cause::PointerArithmetic);
    refuse(RawTp, "r1 += r10\n r0 = 0\n exit", Cause::PointerArithmetic);
    refuse(RawTp, "r2 = 5\n r2 -= r1\n r0 = 0\n exit", Cause::PointerArithmetic);
    refuse(
        RawTp,
        "r2 = *(u64 *)(r1 + 0)\n r3 = map[6][0]+0 ll\n r3 += r2\n r0 = 0\n exit",
        Cause::PointerArithmetic,
    );
    refuse(RawTp, "r1 += 1000000000\n r0 = 0\n exit", Cause::PointerArithmetic);
    accept(RawTp, "r0 = r10\n r0 -= r1\n exit");
    accept(RawTp, "r2 = 8\n r2 += r10\n *(u64 *)(r2 - 16) = 1\n r0 = 0\n exit");
}

/// Loads through `r3`, a pointer to 64 bytes, after `prepare` has moved it.
fn indexed(prepare: &str) -> String {
    format!(
        "r2 = *(u64 *)(r1 + 0)\n r3 = map[6][0]+0 ll\n {prepare}\n r0 = *(u8 *)(r3 + 0)\n out: r0 = 0\n exit"
    )
}

#[test]
fn indices_are_checked() {
    accept(RawTp, &indexed("r2 &= 63\n r3 += r2"));
    refuse(RawTp, &indexed("r2 &= 64\n r3 += r2"), Cause::OutOfBounds);
    accept(RawTp, &indexed("if r2 > 63 goto out\n r3 += r2"));
    refuse(RawTp, &indexed("if r2 > 64 goto out\n r3 += r2"), Cause::OutOfBounds);
    // Signed: below zero is before the value.
    refuse(RawTp, &indexed("if r2 s> 63 goto out\n r3 += r2"), Cause::PointerArithmetic);
    accept(RawTp, &indexed("if r2 s> 63 goto out\n if r2 s< 0 goto out\n r3 += r2"));
    // 32-bit checks bound the low half only.
    refuse(RawTp, &indexed("if w2 > 63 goto out\n r3 += r2"), Cause::PointerArithmetic);
    accept(RawTp, &indexed("w2 = w2\n if w2 > 63 goto out\n r3 += r2"));
    // A check on a copy holds for the original.
    accept(RawTp, &indexed("r4 = r2\n if r4 > 63 goto out\n r3 += r2"));
    refuse(
        RawTp,
        &indexed("r4 = r2\n r4 += 1\n if r4 > 63 goto out\n r3 += r2"),
        Cause::PointerArithmetic,
    );
    // Arithmetic on bounds.
    accept(RawTp, &indexed("r2 &= 7\n r2 *= 8\n r3 += r2"));
    accept(RawTp, &indexed("r2 &= 7\n r2 <<= 3\n r2 |= 7\n r3 += r2"));
    refuse(RawTp, &indexed("r2 &= 7\n r2 <<= 4\n r3 += r2"), Cause::OutOfBounds);
    accept(RawTp, &indexed("r2 %= 64\n r3 += r2"));
    accept(RawTp, &indexed("r2 >>= 58\n r3 += r2"));
    accept(RawTp, &indexed("r2 &= 63\n r3 += 63\n r3 -= r2"));
    refuse(RawTp, &indexed("r2 &= 63\n r3 -= r2"), Cause::OutOfBounds);
    // Between two registers.
    accept(
        RawTp,
        &indexed("r4 = *(u64 *)(r1 + 8)\n if r4 > 63 goto out\n if r2 > r4 goto out\n r3 += r2"),
    );
    // By the byte order.
    accept(RawTp, &indexed("r2 = be16 r2\n r2 &= 63\n r3 += r2"));
    // Sign extension of a byte may be negative.
    refuse(RawTp, &indexed("r2 = (s8)r2\n r2 &= 127\n r3 += r2"), Cause::OutOfBounds);
}

const LOOKUP: &str =
    "*(u64 *)(r10 - 8) = 0\n r2 = r10\n r2 += -8\n r1 = map[1] ll\n call bpf_map_lookup_elem\n";

#[test]
fn null_is_checked() {
    let rejection =
        refuse(RawTp, &format!("{LOOKUP} r0 = *(u64 *)(r0 + 0)\n exit"), Cause::MayBeNull);
    assert!(rejection.hint.unwrap().contains("null"));
    accept(
        RawTp,
        &format!("{LOOKUP} if r0 == 0 goto out\n r0 = *(u64 *)(r0 + 0)\n out: r0 = 0\n exit"),
    );
    accept(
        RawTp,
        &format!("{LOOKUP} if r0 != 0 goto l\n r0 = 0\n exit\n l: r0 = *(u64 *)(r0 + 0)\n exit"),
    );
    // A check on a copy, spilled or not.
    accept(
        RawTp,
        &format!(
            "{LOOKUP} r6 = r0\n if r0 == 0 goto out\n r0 = *(u64 *)(r6 + 0)\n out: r0 = 0\n exit"
        ),
    );
    accept(
        RawTp,
        &format!(
            "{LOOKUP} *(u64 *)(r10 - 16) = r0\n if r0 == 0 goto out\n r6 = *(u64 *)(r10 - 16)\n r0 = *(u64 *)(r6 + 0)\n out: r0 = 0\n exit"
        ),
    );
    // The wrong side.
    refuse(
        RawTp,
        &format!("{LOOKUP} if r0 != 0 goto out\n r0 = *(u64 *)(r0 + 0)\n out: r0 = 0\n exit"),
        Cause::NotAPointer,
    );
    refuse(
        RawTp,
        &format!("{LOOKUP} r0 += 1\n if r0 == 0 goto out\n out: r0 = 0\n exit"),
        Cause::MayBeNull,
    );
    refuse(
        RawTp,
        &format!("{LOOKUP} if r0 == 0 goto out\n r0 = *(u64 *)(r0 + 1)\n out: r0 = 0\n exit"),
        Cause::OutOfBounds,
    );
    // Another lookup is another pointer.
    refuse(
        RawTp,
        &format!(
            "{LOOKUP} r6 = r0\n {LOOKUP} if r0 == 0 goto out\n r0 = *(u64 *)(r6 + 0)\n out: r0 = 0\n exit"
        ),
        Cause::MayBeNull,
    );
    // An array has every constant index below its size.
    accept(
        RawTp,
        "*(u32 *)(r10 - 4) = 0\n r2 = r10\n r2 += -4\n r1 = map[0] ll\n call bpf_map_lookup_elem\n r0 = *(u64 *)(r0 + 40)\n exit",
    );
    refuse(
        RawTp,
        "*(u32 *)(r10 - 8) = 4\n r2 = r10\n r2 += -8\n r1 = map[0] ll\n call bpf_map_lookup_elem\n r0 = *(u64 *)(r0 + 40)\n exit",
        Cause::MayBeNull,
    );
}

#[test]
fn maps_have_directions() {
    accept(RawTp, "r1 = map[3][0]+0 ll\n r0 = *(u64 *)(r1 + 8)\n exit");
    refuse(RawTp, "r1 = map[3][0]+0 ll\n *(u64 *)(r1 + 8) = 1\n r0 = 0\n exit", Cause::ReadOnly);
    refuse(
        RawTp,
        "r1 = map[3][0]+0 ll\n r2 = 1\n lock *(u64 *)(r1 + 8) += r2\n r0 = 0\n exit",
        Cause::ReadOnly,
    );
    accept(RawTp, "r1 = map[4][0]+0 ll\n *(u64 *)(r1 + 8) = 1\n r0 = 0\n exit");
    refuse(RawTp, "r1 = map[4][0]+0 ll\n r0 = *(u64 *)(r1 + 8)\n exit", Cause::WriteOnly);
    refuse(RawTp, "r1 = map[3][0]+16 ll\n r0 = 0\n exit", Cause::OutOfBounds);
    refuse(RawTp, "r1 = map[1][0]+0 ll\n r0 = 0\n exit", Cause::MapMismatch);
    refuse(
        RawTp,
        "r1 = map[3] ll\n r2 = r10\n r2 += -4\n r3 = r10\n r3 += -24\n r4 = 0\n call bpf_map_update_elem\n r0 = 0\n exit",
        Cause::ReadOnly,
    );
    refuse(
        RawTp,
        "r1 = map[2] ll\n r2 = r10\n r2 += -8\n call bpf_map_lookup_elem\n r0 = 0\n exit",
        Cause::MapMismatch,
    );
}

#[test]
fn contexts_have_fields() {
    accept(SocketFilter, "r0 = *(u32 *)(r1 + 0)\n exit");
    accept(SocketFilter, "r0 = *(u8 *)(r1 + 16)\n *(u32 *)(r1 + 48) = 5\n exit");
    refuse(SocketFilter, "*(u32 *)(r1 + 0) = 5\n r0 = 0\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r0 = *(u32 *)(r1 + 76)\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r0 = *(u32 *)(r1 + 192)\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r0 = *(u64 *)(r1 + 0)\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r0 = *(u16 *)(r1 + 1)\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r0 = *(u32 *)(r1 - 4)\n exit", Cause::ContextAccess);
    refuse(SocketFilter, "r1 += 4\n r0 = *(u32 *)(r1 + 0)\n exit", Cause::ContextAccess);
    refuse(
        SocketFilter,
        "r2 = *(u32 *)(r1 + 0)\n r2 &= 4\n r1 += r2\n r0 = *(u32 *)(r1 + 0)\n exit",
        Cause::ContextAccess,
    );
    refuse(SocketFilter, "r0 = 1\n lock *(u32 *)(r1 + 48) += r0\n exit", Cause::BadArgument);

    assert_eq!(accept(Tracepoint, "r0 = *(u32 *)(r1 + 60)\n exit").max_ctx_offset, 64);
    accept(Tracepoint, "r0 = *(u64 *)(r1 + 2040)\n exit");
    refuse(Tracepoint, "r0 = *(u64 *)(r1 + 2048)\n exit", Cause::ContextAccess);
    refuse(Tracepoint, "r0 = *(u64 *)(r1 + 0)\n exit", Cause::ContextAccess);
    refuse(Tracepoint, "*(u64 *)(r1 + 16) = 1\n r0 = 0\n exit", Cause::ContextAccess);

    assert_eq!(accept(RawTp, "r0 = *(u64 *)(r1 + 8)\n exit").max_ctx_offset, 16);
    accept(
        ProgType::PerfEvent,
        "r0 = *(u64 *)(r1 + 160)\n r0 = *(u32 *)(r1 + 168)\n r0 = *(u64 *)(r1 + 176)\n exit",
    );
    refuse(ProgType::PerfEvent, "r0 = *(u32 *)(r1 + 160)\n exit", Cause::ContextAccess);
    refuse(ProgType::PerfEvent, "r0 = *(u64 *)(r1 + 184)\n exit", Cause::ContextAccess);
    accept(ProgType::Kprobe, "r0 = *(u64 *)(r1 + 160)\n exit");
    refuse(ProgType::Kprobe, "r0 = *(u64 *)(r1 + 168)\n exit", Cause::ContextAccess);
}

#[test]
fn packets_are_checked_against_their_end() {
    let packet = |check: &str| {
        format!(
            "r2 = *(u32 *)(r1 + 0)\n r3 = *(u32 *)(r1 + 4)\n r4 = r2\n r4 += 14\n {check}\n r0 = *(u8 *)(r2 + 13)\n exit\n out: r0 = 0\n exit"
        )
    };
    accept(Xdp, &packet("if r4 > r3 goto out"));
    accept(Xdp, &packet("if r3 < r4 goto out"));
    accept(Xdp, &packet("if r3 >= r4 goto ok\n goto out\n ok: r5 = 0"));
    refuse(Xdp, &packet("if r4 < r3 goto out"), Cause::OutOfBounds);
    refuse(Xdp, &packet("r5 = 0\n if r5 != 0 goto out"), Cause::OutOfBounds);
    refuse(Xdp, &packet("if r4 > r3 goto out\n r0 = *(u8 *)(r2 + 14)"), Cause::OutOfBounds);
    // A helper that moves the packet makes pointers stale.
    refuse(
        SchedCls,
        "r6 = r1\n r2 = *(u32 *)(r1 + 76)\n r3 = *(u32 *)(r1 + 80)\n r7 = r2\n r4 = r2\n r4 += 8\n if r4 > r3 goto out
         r1 = r6\n r2 = 8\n call bpf_skb_pull_data\n r0 = *(u8 *)(r7 + 0)\n exit\n out: r0 = 0\n exit",
        Cause::Uninitialised,
    );
    // Writing is for those types that may.
    accept(
        Xdp,
        "r2 = *(u32 *)(r1 + 0)\n r3 = *(u32 *)(r1 + 4)\n r4 = r2\n r4 += 2\n if r4 > r3 goto out\n *(u16 *)(r2 + 0) = 1\n out: r0 = 0\n exit",
    );
    refuse(
        ProgType::LwtIn,
        "r2 = *(u32 *)(r1 + 76)\n r3 = *(u32 *)(r1 + 80)\n r4 = r2\n r4 += 2\n if r4 > r3 goto out\n *(u16 *)(r2 + 0) = 1\n out: r0 = 0\n exit",
        Cause::ReadOnly,
    );
}

#[test]
fn arguments_of_helpers() {
    refuse(RawTp, "call 9999\n exit", Cause::UnknownFunction);
    refuse(RawTp, "call bpf_skb_load_bytes\n exit", Cause::UnknownFunction);
    refuse(RawTp, "r1 = 0\n r2 = r10\n call bpf_map_lookup_elem\n exit", Cause::BadArgument);
    refuse(RawTp, "r1 = map[1] ll\n r2 = 0\n call bpf_map_lookup_elem\n exit", Cause::BadArgument);
    // The key must lie within the stack.
    refuse(
        RawTp,
        "r1 = map[1] ll\n r2 = r10\n r2 += -4\n call bpf_map_lookup_elem\n exit",
        Cause::OutOfBounds,
    );
    let read = |size: &str| {
        format!(
            "r6 = *(u64 *)(r1 + 0)\n r1 = r10\n r1 += -16\n {size}\n r3 = r6\n call bpf_probe_read_kernel\n exit\n out: r0 = 0\n exit"
        )
    };
    accept(RawTp, &read("r2 = 16\n if r6 == 0 goto out"));
    refuse(RawTp, &read("r2 = 17\n if r6 == 0 goto out"), Cause::OutOfBounds);
    refuse(RawTp, &read("r2 = -1\n if r6 == 0 goto out"), Cause::BadArgument);
    refuse(RawTp, &read("r2 = r6\n if r6 == 0 goto out"), Cause::BadArgument);
    accept(RawTp, &read("r2 = r6\n if r2 > 16 goto out"));
    // GPL, and privilege.
    let insns = assemble("r1 = 0\n call bpf_get_current_task\n exit").unwrap();
    let rejection =
        verify(Program::new(insns, RawTp, maps()), &VerifyOptions::cloud()).unwrap_err();
    assert_eq!(rejection.cause, Cause::Licence);
    // A helper that the kernel lacks.
    let options = VerifyOptions { helper_available: Some(|id| id != 5), ..VerifyOptions::cloud() };
    refuse_with(RawTp, 0, "call bpf_ktime_get_ns\n exit", Cause::UnknownFunction, &options);
}

const RESERVE: &str = "r1 = map[2] ll\n r2 = 16\n r3 = 0\n call bpf_ringbuf_reserve\n";

#[test]
fn references_are_given_back() {
    accept(
        RawTp,
        &format!(
            "{RESERVE} if r0 == 0 goto out\n *(u64 *)(r0 + 8) = 1\n r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n out: r0 = 0\n exit"
        ),
    );
    accept(
        RawTp,
        &format!(
            "{RESERVE} r6 = r0\n if r6 == 0 goto out\n r1 = r6\n r2 = 0\n call bpf_ringbuf_discard\n out: r0 = 0\n exit"
        ),
    );
    refuse(RawTp, &format!("{RESERVE} r0 = 0\n exit"), Cause::Reference);
    refuse(RawTp, &format!("{RESERVE} if r0 == 0 goto out\n out: r0 = 0\n exit"), Cause::Reference);
    refuse(
        RawTp,
        &format!("{RESERVE} if r0 == 0 goto out\n *(u64 *)(r0 + 16) = 1\n out: r0 = 0\n exit"),
        Cause::OutOfBounds,
    );
    refuse(
        RawTp,
        &format!("{RESERVE} r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n r0 = 0\n exit"),
        Cause::MayBeNull,
    );
    // Twice, and after the end.
    refuse(
        RawTp,
        &format!(
            "{RESERVE} if r0 == 0 goto out\n r6 = r0\n r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n r1 = r6\n r2 = 0\n call bpf_ringbuf_submit\n out: r0 = 0\n exit"
        ),
        Cause::Uninitialised,
    );
    refuse(
        RawTp,
        &format!(
            "{RESERVE} if r0 == 0 goto out\n r6 = r0\n r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n *(u64 *)(r6 + 0) = 1\n out: r0 = 0\n exit"
        ),
        Cause::Uninitialised,
    );
    refuse(
        RawTp,
        &format!(
            "{RESERVE} if r0 == 0 goto out\n r0 += 8\n r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n out: r0 = 0\n exit"
        ),
        Cause::BadArgument,
    );
    refuse(
        RawTp,
        "r2 = *(u64 *)(r1 + 0)\n r1 = map[2] ll\n r3 = 0\n call bpf_ringbuf_reserve\n exit",
        Cause::BadArgument,
    );
    // One more per round: the loop never gives any back.
    refuse(
        RawTp,
        &format!("r7 = 0\n l: {RESERVE} r7 += 1\n if r7 < 3 goto l\n r0 = 0\n exit"),
        Cause::Reference,
    );
}

#[test]
fn loops_must_end() {
    let proof = accept(RawTp, "r0 = 0\n l: r0 += 1\n if r0 < 100 goto l\n exit");
    assert_eq!(proof.worst_case, 202);
    refuse(RawTp, "r0 = 0\n l: if r0 == 0 goto l\n exit", Cause::InfiniteLoop);
    refuse(RawTp, "l: call bpf_ktime_get_ns\n if r0 != 5 goto l\n exit", Cause::InfiniteLoop);
    refuse(RawTp, "r0 = 0\n l: r0 += 1\n if r0 != 0 goto l\n exit", Cause::TooComplex);
    // The bound may be unknown, if it is bounded.
    let proof = accept(
        RawTp,
        "r2 = *(u64 *)(r1 + 0)\n r2 &= 31\n r0 = 0\n l: if r0 >= r2 goto out\n r0 += 1\n goto l\n out: r0 = 0\n exit",
    );
    assert_eq!(proof.worst_case, 3 + 31 * 3 + 1 + 2);
    // Unprivileged programs have none at all.
    refuse_with(
        SocketFilter,
        0,
        "r0 = 0\n l: r0 += 1\n if r0 < 3 goto l\n exit",
        Cause::InfiniteLoop,
        &VerifyOptions::cloud().for_unprivileged(),
    );
}

#[test]
fn functions_have_frames() {
    let proof = accept(
        RawTp,
        "r1 = 5\n call f\n exit\n f: *(u64 *)(r10 - 8) = r1\n r0 = *(u64 *)(r10 - 8)\n exit",
    );
    assert_eq!((proof.worst_case, proof.stack_depth, proof.call_depth), (6, 16, 2));
    // r6 to r9 are the caller's; r1 to r5 are gone.
    accept(RawTp, "r6 = 1\n r1 = 0\n call f\n r0 = r6\n exit\n f: r0 = 0\n exit");
    refuse(RawTp, "r1 = 1\n call f\n r0 = r1\n exit\n f: r0 = 0\n exit", Cause::Uninitialised);
    refuse(RawTp, "r6 = 1\n call f\n exit\n f: r0 = r6\n exit", Cause::Uninitialised);
    refuse(RawTp, "call f\n exit\n f: exit", Cause::Uninitialised);
    // Pointers into the caller's stack go down, not up.
    accept(
        RawTp,
        "r1 = r10\n r1 += -8\n call f\n r0 = *(u64 *)(r10 - 8)\n exit\n f: *(u64 *)(r1 + 0) = 7\n r0 = 0\n exit",
    );
    refuse(
        RawTp,
        "call f\n r0 = *(u64 *)(r0 + 0)\n exit\n f: r0 = r10\n r0 += -8\n exit",
        Cause::PointerLeak,
    );
    refuse(
        RawTp,
        "r1 = r10\n r1 += -8\n call f\n exit\n f: r2 = r10\n *(u64 *)(r1 + 0) = r2\n r0 = 0\n exit",
        Cause::PointerLeak,
    );
    refuse(RawTp, "call f\n exit\n f: call f\n exit", Cause::StackDepth);
    refuse(
        RawTp,
        "*(u64 *)(r10 - 256) = 0\n call f\n exit\n f: *(u64 *)(r10 - 264) = 0\n r0 = 0\n exit",
        Cause::StackDepth,
    );
}

#[test]
fn unprivileged_programs_leak_no_addresses() {
    let options = VerifyOptions::cloud().for_unprivileged();
    let refuse = |text: &str, cause| refuse_with(SocketFilter, 0, text, cause, &options);
    refuse("r0 = r1\n exit", Cause::PointerLeak);
    refuse("r0 = r10\n r0 -= r1\n exit", Cause::PointerArithmetic);
    refuse("r2 = map[6][0]+0 ll\n *(u64 *)(r2 + 0) = r1\n r0 = 0\n exit", Cause::PointerLeak);
    refuse("r0 = 0\n lock *(u64 *)(r10 - 8) += r1\n exit", Cause::PointerLeak);
    refuse("r0 = 0\n if r1 > 5 goto +0\n exit", Cause::PointerComparison);
    refuse("r0 = 0\n if r1 == r10 goto +0\n exit", Cause::PointerComparison);
    refuse("w0 = w1\n exit", Cause::PointerLeak);
    refuse("r0 = 0\n call f\n exit\n f: exit", Cause::UnknownFunction);
    refuse(
        "r2 = *(u32 *)(r1 + 0)\n r2 &= 8\n r3 = r10\n r3 += r2\n r0 = 0\n exit",
        Cause::OutOfBounds,
    );
    // What the processor may guess must be safe too.
    refuse("r0 = 0\n if r0 == 0 goto +1\n r0 = r9\n exit", Cause::Uninitialised);
    refuse_with(RawTp, 0, "r0 = 0\n exit", Cause::ProgramType, &options);
    // The same is fine for a privileged loader.
    accept(RawTp, "r0 = r1\n exit");
    accept(RawTp, "r2 = map[6][0]+0 ll\n *(u64 *)(r2 + 0) = r1\n r0 = 0\n exit");
}

#[test]
fn hooks_have_results_budgets_and_helpers() {
    let cloud = VerifyOptions::cloud();
    let at = |attach, text: &str| load(ProgType::LemmaHook, attach, text, &cloud);
    let refuse = |attach, text: &str, cause, options: &VerifyOptions| {
        refuse_with(ProgType::LemmaHook, attach, text, cause, options)
    };
    at(hook::SYS_ENTER, "r0 = -1\n exit").unwrap();
    at(hook::SYS_ENTER, "w0 = -4095\n exit").unwrap();
    refuse(hook::SYS_ENTER, "r0 = 1\n exit", Cause::ReturnValue, &cloud);
    refuse(hook::SYS_ENTER, "r0 = -4096\n exit", Cause::ReturnValue, &cloud);
    refuse(hook::SYS_ENTER, "r0 = *(u64 *)(r1 + 0)\n exit", Cause::ReturnValue, &cloud);
    refuse(hook::SYS_ENTER, "r0 = r1\n exit", Cause::ReturnValue, &cloud);
    refuse(hook::TIMER, "r0 = -1\n exit", Cause::ReturnValue, &cloud);
    at(hook::TIMER, "r0 = *(u32 *)(r1 + 28)\n r0 = *(u64 *)(r1 + 0)\n r0 = 0\n exit").unwrap();
    refuse(hook::TIMER, "r0 = *(u64 *)(r1 + 32)\n r0 = 0\n exit", Cause::ContextAccess, &cloud);
    refuse(hook::TIMER, "*(u64 *)(r1 + 0) = 0\n r0 = 0\n exit", Cause::ContextAccess, &cloud);
    refuse(99, "r0 = 0\n exit", Cause::ProgramType, &cloud);
    // No user memory in an interrupt.
    let read = "r3 = 0\n r2 = 8\n r1 = r10\n r1 += -8\n call bpf_probe_read_user\n r0 = 0\n exit";
    at(hook::SYS_ENTER, read).unwrap();
    refuse(hook::TIMER, read, Cause::UnknownFunction, &cloud);
    // The budget, in the profile's figures.
    let rounds = |n| format!("r0 = 0\n l: r0 += 1\n if r0 < {n} goto l\n r0 = 0\n exit");
    at(hook::TIMER, &rounds(8000)).unwrap();
    let rejection = refuse(hook::TIMER, &rounds(9000), Cause::OverBudget, &cloud);
    assert!(
        rejection.message.contains("18003") && rejection.message.contains("16384"),
        "{rejection}"
    );
    refuse(hook::TIMER, &rounds(8000), Cause::OverBudget, &VerifyOptions::embedded());
}

#[test]
fn tail_calls_and_legacy_packet_access() {
    let proof =
        accept(SocketFilter, "r3 = 0\n r2 = map[5] ll\n call bpf_tail_call\n r0 = 0\n exit");
    assert!(proof.tail_calls);
    refuse(
        SocketFilter,
        "r3 = 0\n r2 = map[1] ll\n call bpf_tail_call\n r0 = 0\n exit",
        Cause::MapMismatch,
    );
    refuse(
        SocketFilter,
        "r3 = 0\n r2 = map[5] ll\n call bpf_tail_call\n exit",
        Cause::Uninitialised,
    );
    accept(SocketFilter, "r6 = r1\n r0 = *(u16 *)skb[12]\n exit");
    refuse(SocketFilter, "r0 = *(u16 *)skb[12]\n exit", Cause::Uninitialised);
    refuse(RawTp, "r6 = r1\n r0 = *(u16 *)skb[12]\n exit", Cause::BadInstruction);
}

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

/// States that differ only in numbers that do not matter are not explored again.
#[test]
fn pruning_converges() {
    let mut text = String::from("r9 = r1\n r7 = 0\n");
    for round in 0..40 {
        text += &format!(
            "r6 = *(u64 *)(r9 + 0)\n if r6 == {round} goto l{round}\n r7 += {round}\n l{round}: r8 = {round}\n"
        );
    }
    text += "r0 = r7\n exit";
    let proof = accept(RawTp, &text);
    assert!(proof.processed < 500, "{}", proof.processed);
    assert_eq!(proof.worst_case, 2 + 4 * 40 + 2);
    // Where it does matter, every combination counts.
    let text = text.replace(
        "r0 = r7\n exit",
        "r7 &= 4095\n r1 = map[6][0]+0 ll\n r1 += r7\n r0 = *(u8 *)(r1 + 0)\n exit",
    );
    refuse(RawTp, &text, Cause::OutOfBounds);
}
