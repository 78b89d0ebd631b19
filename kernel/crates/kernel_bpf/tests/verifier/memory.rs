//! Memory: stack, map values, contexts, packets, and the arguments of helpers.

use kernel_bpf::asm::assemble;
use kernel_bpf::map::def::flags;
use kernel_bpf::map::{MapDef, MapRef, MapType};
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::prog_type::ProgType::{
    RawTracepoint as RawTp, SchedCls, SocketFilter, Tracepoint, Xdp,
};
use kernel_bpf::prog_type::perf_event::{
    AARCH64_REGISTERS, PerfEvent, RISCV64_REGISTERS, X86_64_REGISTERS,
};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, VerifyOptions, verify};

use crate::common::{accept, load, maps, refuse, refuse_with};

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
    // So does one on a number that is one more; where that is 0, the original is -1.
    refuse(
        RawTp,
        &indexed("r4 = r2\n r4 += 1\n if r4 > 63 goto out\n r3 += r2"),
        Cause::OutOfBounds,
    );
    accept(
        RawTp,
        &indexed("r4 = r2\n r4 += 1\n if r4 > 63 goto out\n if r4 == 0 goto out\n r3 += r2"),
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
    accept(Tracepoint, "r0 = *(u64 *)(r1 + 8184)\n exit");
    refuse(Tracepoint, "r0 = *(u64 *)(r1 + 8192)\n exit", Cause::ContextAccess);
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
fn the_context_of_a_perf_event_is_that_of_the_machine_it_is_for() {
    let machine = |perf_event| VerifyOptions { perf_event, ..VerifyOptions::cloud() };
    for (options, registers) in [
        (machine(PerfEvent::<X86_64_REGISTERS>::CONTEXT), 168),
        (machine(PerfEvent::<AARCH64_REGISTERS>::CONTEXT), 272),
        (machine(PerfEvent::<RISCV64_REGISTERS>::CONTEXT), 256),
    ] {
        let (last, period, end) = (registers - 8, registers, registers + 16);
        let whole = format!(
            "r0 = *(u64 *)(r1 + {last})\n r2 = *(u32 *)(r1 + {period})\n
             r3 = *(u64 *)(r1 + {})\n exit",
            period + 8
        );
        let proof = load(ProgType::PerfEvent, 0, &whole, &options).unwrap();
        assert_eq!(proof.max_ctx_offset, end);
        for outside in [format!("u32 *)(r1 + {last}"), format!("u64 *)(r1 + {end}")] {
            let text = format!("r0 = *({outside})\n exit");
            refuse_with(ProgType::PerfEvent, 0, &text, Cause::ContextAccess, &options);
        }
    }
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
        Cause::NotAPointer,
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

/// A map of 16 bytes that holds 1, 2, 3, … for good, or for now.
struct Numbers {
    frozen: bool,
    entries: u32,
}

impl MapRef for Numbers {
    fn def(&self) -> MapDef {
        let flags = flags::RDONLY_PROG;
        let (map_type, max_entries) = (MapType::Array, self.entries);
        MapDef { map_type, key_size: 4, value_size: 16, max_entries, flags }
    }
    fn read_frozen(&self, offset: u32, into: &mut [u8]) -> bool {
        for (byte, at) in into.iter_mut().zip(offset..) {
            *byte = at as u8 + 1;
        }
        self.frozen
    }
}

/// What a constant of the object says is known at each load that reads it.
#[test]
fn constants_are_loaded_once() {
    let constants_of = |entries, frozen, text: &str| {
        let maps = vec![Numbers { frozen, entries }, Numbers { frozen: false, entries }];
        let program = Program::new(assemble(text).unwrap(), RawTp, maps);
        verify(program, &VerifyOptions::cloud()).unwrap().proof().constants.clone()
    };
    let constants = |frozen, text: &str| constants_of(1, frozen, text);
    let text = "r2 = map[0][0]+4 ll\n r0 = *(u16 *)(r2 + 0)\n r3 = *(s8 *)(r2 + 1)\n exit";
    assert_eq!(constants(true, text), [(2, 0x0605), (3, 6)]);
    assert_eq!(constants(false, text), []);
    // Two paths that load from different places.
    let text = "r1 = *(u64 *)(r1 + 0)\n r2 = map[0][0]+0 ll\n if r1 == 0 goto l\n r2 += 8\n l: r0 = *(u8 *)(r2 + 0)\n exit";
    assert_eq!(constants(true, text), []);
    assert_eq!(constants(true, &text.replace("+= 8", "+= 0")), [(5, 1)]);
    let text = text.replace("r2 += 8", "r2 = map[1][0]+0 ll");
    assert_eq!(constants(true, &text), []);
    // And one from the stack.
    let stack = "*(u64 *)(r10 - 8) = 9\n r1 = *(u64 *)(r1 + 0)\n r2 = map[0][0]+0 ll
                 if r1 == 0 goto l\n r2 = r10\n r2 += -8\n l: r0 = *(u8 *)(r2 + 0)\n exit";
    assert_eq!(constants(true, stack), []);
    // Of several values nobody knows which one it is.
    let found = "*(u32 *)(r10 - 4) = 0\n r1 = map[0] ll\n r2 = r10\n r2 += -4\n call 1
                 if r0 == 0 goto out\n r0 = *(u8 *)(r0 + 2)\n out: r0 = 0\n exit";
    assert_eq!(constants_of(1, true, found), [(7, 3)]);
    assert_eq!(constants_of(2, true, found), []);
}

#[test]
fn atomics_are_aligned_whatever_the_memory() {
    for (offset, good) in [(0, true), (4, true), (3, false), (6, false)] {
        for op in ["lock *(u32 *)(r2 + OFF) += r3", "w3 = load_acquire((u32 *)(r2 + OFF))"] {
            let op = op.replace("OFF", &offset.to_string());
            let text = format!("r2 = map[6][0]+8 ll\n r3 = 1\n {op}\n r0 = 0\n exit");
            if good {
                accept(SocketFilter, &text);
            } else {
                refuse(SocketFilter, &text, Cause::Misaligned);
            }
        }
    }
    // Loads and stores may lie anywhere, unless the loader asks for more.
    accept(SocketFilter, "r2 = map[6][0]+8 ll\n r0 = *(u32 *)(r2 + 3)\n exit");
}

/// The program that a tail call goes to may move the packet, and so nothing is known of it where
/// the call does not succeed either (Linux 6.14).
#[test]
fn packets_are_forgotten_at_tail_calls() {
    let text = |call: &str, again: &str| {
        format!(
            "r6 = r1\n r7 = *(u32 *)(r6 + 0)\n r2 = *(u32 *)(r6 + 4)\n r3 = r7\n r3 += 4
             if r3 > r2 goto end\n {call} {again} r0 = *(u8 *)(r7 + 0)\n end: r0 = 2\n exit"
        )
    };
    let call = "r1 = r6\n r2 = map[5] ll\n r3 = 0\n call 12\n";
    let again = "r7 = *(u32 *)(r6 + 0)\n r2 = *(u32 *)(r6 + 4)\n r3 = r7\n r3 += 1
                 if r3 > r2 goto end\n";
    accept(Xdp, &text("", ""));
    accept(Xdp, &text(call, again));
    refuse(Xdp, &text(call, ""), Cause::NotAPointer);
}
