//! Shape, control flow, references, functions, loaders and hooks, each with a program that
//! keeps the rule and one that breaks it.

use kernel_bpf::hook;
use kernel_bpf::insn::{Insn, Operand, Reg, Width};
use kernel_bpf::prog_type::ProgType::{self, RawTracepoint as RawTp, SocketFilter};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, VerifyOptions, verify};

use crate::common::{accept, load, maps, refuse, refuse_with};

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
}
/// Arenas do not exist, so nothing can be cast to or from their address space.
#[test]
fn casts_between_address_spaces_are_refused_with_the_reason() {
    let insns = vec![
        Insn::Mov { width: Width::W64, dst: Reg::R0, src: Operand::Imm(0) },
        Insn::AddrSpaceCast { dst: Reg::R0, src: Reg::R0, spaces: 1 },
        Insn::Exit,
    ];
    let refused = verify(Program::new(insns, RawTp, maps()), &VerifyOptions::cloud());
    let rejection = refused.map(|_| ()).unwrap_err();
    assert_eq!((rejection.cause, rejection.insn), (Cause::BadInstruction, Some(1)));
    assert!(rejection.to_string().contains("needs an arena"), "{rejection}");
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
        Cause::BadArgument,
    );
    refuse(
        RawTp,
        &format!(
            "{RESERVE} if r0 == 0 goto out\n r6 = r0\n r1 = r0\n r2 = 0\n call bpf_ringbuf_submit\n *(u64 *)(r6 + 0) = 1\n out: r0 = 0\n exit"
        ),
        Cause::NotAPointer,
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
    let endless = "r0 = 0\n l: r0 += 1\n if r0 != 0 goto l\n exit";
    let rejection = refuse(RawTp, endless, Cause::TooComplex);
    assert!(rejection.to_string().contains("1000000 instructions explored"), "{rejection}");
    let embedded = VerifyOptions::embedded();
    let rejection = refuse_with(RawTp, 0, endless, Cause::TooComplex, &embedded);
    let figures = [embedded.max_processed, embedded.max_memory as u64].map(|n| n.to_string());
    let text = rejection.to_string();
    assert!(figures.iter().any(|figure| text.contains(figure)), "{text}");
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
    // What was a pointer is still one for who must not see it.
    let kept = format!(
        "{RESERVE} if r0 == 0 goto out\n *(u64 *)(r10 - 8) = r0\n r1 = r0\n r2 = 0
         call bpf_ringbuf_submit\n r0 = *(u64 *)(r10 - 8)\n exit\n out: r0 = 0\n exit"
    );
    refuse(&kept, Cause::Uninitialised);
    // Half a pointer is one too.
    let half = "*(u64 *)(r10 - 16) = r1\n r2 = 0\n r3 = r10\n r3 += -12\n r4 = 8
                call bpf_skb_load_bytes\n r0 = *(u32 *)(r10 - 16)\n exit";
    refuse(half, Cause::PointerLeak);
    accept(SocketFilter, half);
    // The same is fine for a privileged loader.
    accept(SocketFilter, &kept);
    accept(
        SocketFilter,
        &kept.replace("r0 = *(u64 *)(r10 - 8)", "r0 = 1\n r1 = *(u64 *)(r10 - 8)"),
    );
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

/// The memory of the search is bounded, and a refusal says by how much.
#[test]
fn memory_is_bounded() {
    let text = "r6 = r1\n r7 = 0\n l: r1 = *(u64 *)(r6 + 0)\n if r1 == r7 goto +0\n r7 += 1\n if r7 < 1000 goto l\n r0 = 0\n exit";
    let usual = VerifyOptions::cloud();
    accept(RawTp, text);
    let small = VerifyOptions { max_memory: 60_000, ..usual };
    let rejection = refuse_with(RawTp, 0, text, Cause::TooComplex, &small);
    assert!(rejection.message.contains("60000 are allowed"), "{rejection}");
    // Without room for states nothing is pruned, and the bound is the same.
    let branches: String = (0..12)
        .map(|n| {
            format!("call bpf_get_prandom_u32\n if r0 == 7 goto l{n}\n r6 += 1\n l{n}: r7 = 0\n")
        })
        .collect();
    let text = format!("r6 = 0\n {branches} r0 = 0\n exit");
    let few = VerifyOptions { max_state_bytes: 0, ..usual };
    let (one, other) =
        (load(RawTp, 0, &text, &usual).unwrap(), load(RawTp, 0, &text, &few).unwrap());
    assert_eq!(one.worst_case, other.worst_case);
    assert!(other.processed > 2 * one.processed && other.total_states == 1);
}

#[test]
fn only_the_main_function_may_end_without_returning() {
    let call = "r2 = map[5] ll\n r3 = 0\n call bpf_tail_call\n";
    accept(SocketFilter, &format!("{call} r0 = 0\n exit"));
    let text = format!("call f\n exit\n f: {call} r0 = 0\n exit");
    refuse(SocketFilter, &text, Cause::BadInstruction);
    let text = "call f\n exit\n f: r6 = r1\n r0 = *(u8 *)skb[0]\n exit";
    refuse(SocketFilter, text, Cause::BadInstruction);
}
