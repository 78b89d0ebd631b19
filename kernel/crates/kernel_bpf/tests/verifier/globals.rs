//! Global functions: verified once from their prototype.

use kernel_bpf::asm::assemble;
use kernel_bpf::insn::Insn;
use kernel_bpf::prog_type::ProgType;
use kernel_bpf::program::{FuncInfo, Program};
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

use crate::common::maps;

/// `int f(struct bpf_raw_tracepoint_args *ctx, int n, struct pair *p)`, with `struct pair {
/// u64 a, b; }`; with `nonnull`, `p` may not be null. With `bad`, `p` points to nothing
/// that has a size.
fn btf(nonnull: bool, bad: bool) -> Vec<u8> {
    let strings = b"\0int\0pair\0a\0bpf_raw_tracepoint_args\0f\0arg:nonnull\0";
    let at = |name: &str| {
        let text = std::str::from_utf8(strings).unwrap();
        text.find(&format!("\0{name}\0")).unwrap() as u32 + 1
    };
    let pair = if bad { 0 } else { 2 };
    let mut words: Vec<u32> = [
        &[at("int"), 1 << 24, 4, 1 << 24 | 32][..], // 1 int
        &[at("pair"), 4 << 24 | 2, 16, at("a"), 3, 0, at("a"), 3, 64], // 2 struct pair
        &[at("int"), 1 << 24, 8, 64],               // 3 u64
        &[at("bpf_raw_tracepoint_args"), 4 << 24, 0], // 4
        &[0, 2 << 24, 4],                           // 5 its pointer
        &[0, 2 << 24, pair],                        // 6 struct pair *
        &[0, 13 << 24 | 3, 1, 0, 5, 0, 1, 0, 6],    // 7 the prototype
        &[at("f"), 12 << 24 | 1, 7],                // 8 f
    ]
    .concat();
    if nonnull {
        words.extend([at("arg:nonnull"), 17 << 24, 8, 2]);
    }
    let types: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (length, text) = (types.len() as u32, strings.len() as u32);
    let header = [0x0001_eb9f, 24, 0, length, length, text];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    bytes.extend(types);
    bytes.extend(strings);
    bytes
}

/// The function that is called last is the global one.
fn load(text: &str, btf: Vec<u8>, options: &VerifyOptions) -> Result<Proof, Box<Rejection>> {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let start = insns
        .iter()
        .enumerate()
        .rev()
        .find_map(|(slot, insn)| match insn {
            kernel_bpf::insn::Insn::CallLocal { offset } => Some(slot as i32 + 1 + offset),
            _ => None,
        })
        .unwrap();
    let mut program = Program::new(insns, ProgType::RawTracepoint, maps());
    program.gpl_compatible = true;
    let info = |insn, type_id, global| FuncInfo { insn, type_id, name: "f".into(), global };
    program.func_info = vec![info(0, 8, true), info(start as u32, 8, true)];
    program.btf = Some(btf.into());
    verify(program, options).map(|verified| verified.proof().clone())
}

fn accept(text: &str) -> Proof {
    load(text, btf(false, false), &VerifyOptions::cloud())
        .unwrap_or_else(|rejection| panic!("{text}\n{rejection}"))
}

fn refuse(text: &str, cause: Cause) -> Rejection {
    match load(text, btf(false, false), &VerifyOptions::cloud()) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(rejection) => {
            assert_eq!(rejection.cause, cause, "{text}\n{rejection}");
            *rejection
        }
    }
}

const CALL: &str = "r2 = 5\n r3 = r10\n r3 += -16\n call f\n r0 = 0\n exit\n";

#[test]
fn arguments_are_what_the_prototype_says() {
    let body = "f: r0 = *(u64 *)(r1 + 0)\n if r3 == 0 goto l\n r4 = *(u64 *)(r3 + 8)\n *(u64 *)(r3 + 0) = 1\n l: r0 = r2\n exit";
    accept(&format!("{CALL}{body}"));
    // The caller's number is not known inside, nor is the result outside.
    let index = "f: r4 = map[6][0]+0 ll\n r4 += r2\n r0 = *(u8 *)(r4 + 0)\n r0 = 0\n exit";
    refuse(&format!("{CALL}{index}"), Cause::PointerArithmetic);
    let used = "r6 = r1\n r2 = 5\n r3 = 0\n call f\n r4 = map[6][0]+0 ll\n r4 += r0\n r0 = *(u8 *)(r4 + 0)\n exit\n f: r0 = 3\n exit";
    refuse(used, Cause::PointerArithmetic);
    // Memory: of its size, and after a test for null.
    refuse(&format!("{CALL}f: r0 = *(u64 *)(r3 + 0)\n r0 = 0\n exit"), Cause::MayBeNull);
    let beyond = body.replace("r3 + 8", "r3 + 16");
    refuse(&format!("{CALL}{beyond}"), Cause::OutOfBounds);
    // The caller hands over just that.
    refuse(&format!("{}{body}", CALL.replace("r3 += -16", "r3 += -8")), Cause::OutOfBounds);
    refuse(&format!("{}{body}", CALL.replace("r2 = 5", "r2 = r10")), Cause::BadArgument);
    refuse(&format!("r1 = 0\n {CALL}{body}"), Cause::BadArgument);
    accept(&format!("{}{body}", CALL.replace("r3 = r10\n r3 += -16", "r3 = 0")));
    // What was on the stack there is a number now.
    let spilled = format!(
        "r6 = r1\n *(u64 *)(r10 - 16) = r1\n {}",
        CALL.replace("r0 = 0", "r1 = *(u64 *)(r10 - 16)\n r0 = *(u64 *)(r1 + 0)")
    );
    refuse(&format!("{spilled}{body}"), Cause::NotAPointer);
    refuse(&format!("{CALL}f: r0 = r1\n exit"), Cause::ReturnValue);
}

#[test]
fn memory_may_be_declared_not_null() {
    let text = format!("{CALL}f: r0 = *(u64 *)(r3 + 0)\n exit");
    let options = VerifyOptions::cloud();
    load(&text, btf(true, false), &options).unwrap();
    let null = text.replace("r3 = r10\n r3 += -16", "r3 = 0");
    assert_eq!(load(&null, btf(true, false), &options).unwrap_err().cause, Cause::BadArgument);
    let rejection = load(&text, btf(false, true), &options).unwrap_err();
    assert!(rejection.message.contains("parameter 3 points to nothing"), "{rejection}");
}

#[test]
fn the_work_does_not_grow_with_the_calls() {
    let branches: String = (0..8)
        .map(|bit| {
            format!(
                "r4 = r2\n r4 &= {}\n if r4 == 0 goto l{bit}\n r5 += {}\n l{bit}:\n",
                1 << bit,
                1 << bit
            )
        })
        .collect();
    let body = format!(
        "f: r5 = 0\n {branches} r4 = map[6][0]+0 ll\n r5 &= 31\n r4 += r5\n r0 = *(u8 *)(r4 + 0)\n exit"
    );
    let calls = |count: usize| {
        let call = "r1 = r6\n r2 = 5\n r3 = 0\n call f\n".repeat(count);
        accept(&format!("r6 = r1\n {call} r0 = 0\n exit\n {body}"))
    };
    let (one, ten) = (calls(1), calls(10));
    assert_eq!(ten.processed - one.processed, 9 * 4);
    assert_eq!(ten.worst_case - one.worst_case, 9 * (one.worst_case - 3));
    assert_eq!(ten.call_depth, 2);
    let own =
        "r6 = r1\n r2 = 0\n r3 = 0\n call f\n r0 = 0\n exit\n f: r2 = 1\n r3 = 0\n call f\n exit";
    refuse(own, Cause::StackDepth);
}

/// What a number is needed for is followed back through a function that calls a global one: the
/// registers of that function are not the caller's.
#[test]
fn a_call_of_a_global_function_leaves_no_frame() {
    let text = |number: u32| {
        format!(
            "r6 = r1\n r9 = map[6][0]+0 ll\n r8 = *(u64 *)(r1 + 0)
            r7 = {number}\n if r8 == 1 goto on\n r7 = 0
            on: r1 = r6\n call s\n r9 += r7\n r0 = *(u8 *)(r9 + 40)\n r0 = 0\n exit
            s: r7 = 5\n r2 = 5\n r3 = 0\n call f\n r0 = 0\n exit
            f: r0 = r2\n exit"
        )
    };
    let options = VerifyOptions { every_state: true, ..VerifyOptions::cloud() };
    load(&text(23), btf(false, false), &options).unwrap();
    let rejection = load(&text(24), btf(false, false), &options).unwrap_err();
    assert_eq!(rejection.cause, Cause::OutOfBounds, "{rejection}");
}

/// Atomics in a function fault on some machines where its caller's memory is not aligned.
#[test]
fn memory_for_atomics_is_aligned() {
    let call = |offset: i32| {
        format!(
            "*(u64 *)(r10 - 24) = 0\n *(u64 *)(r10 - 16) = 0\n *(u64 *)(r10 - 8) = 0\n r2 = 5
             r3 = map[6][0]+{offset} ll\n call f\n r0 = 0\n exit\n"
        )
    };
    let plain = "f: if r3 == 0 goto o\n r0 = *(u64 *)(r3 + 0)\n o: r0 = 0\n exit";
    let wide = "f: if r3 == 0 goto o\n r1 = 1\n lock *(u64 *)(r3 + 8) += r1\n o: r0 = 0\n exit";
    let narrow = "f: if r3 == 0 goto o\n w1 = load_acquire((u32 *)(r3 + 4))\n o: r0 = 0\n exit";
    for (offset, body, good) in [
        (1, plain, true),
        (8, wide, true),
        (4, wide, false),
        (1, wide, false),
        (4, narrow, true),
        (2, narrow, false),
    ] {
        let text = format!("{}{body}", call(offset));
        if good {
            accept(&text);
        } else {
            refuse(&text, Cause::Misaligned);
        }
    }
}

/// A walk of a function that moves the packet ends in another's refusal, which a walk of the rounds
/// one by one does without: the packet has moved all the same.
#[test]
fn a_packet_that_moved_on_a_way_that_was_given_up_has_moved() {
    let text = "r9 = r1\n r6 = *(u32 *)(r1 + 0)\n r7 = *(u32 *)(r1 + 4)\n r8 = r6\n r8 += 32
         if r8 > r7 goto out\n r1 = r9\n call g1\n r0 = *(u64 *)(r6 + 0)\n out: r0 = 2\n exit
         g1: r6 = r1\n r2 = 14\n call bpf_xdp_adjust_head\n *(u64 *)(r10 - 8) = 0\n r1 = 2
         r2 = func cb ll\n r3 = r10\n r3 += -8\n r4 = 0\n call bpf_loop\n r0 = 0\n exit
         g2: r0 = *(u64 *)(r1 + 0)\n exit
         cb: r3 = *(u64 *)(r2 + 0)\n r3 += 1\n *(u64 *)(r2 + 0) = r3\n if r3 > 100 goto bad
         r0 = 0\n exit\n bad: r1 = 0\n call g2\n r0 = 0\n exit";
    // `int f(struct xdp_md *)` for the program and g1, `int g(int)` for g2, and the callback's.
    let strings = b"\0int\0xdp_md\0f\0";
    let words = [
        &[1, 1 << 24, 4, 1 << 24 | 32][..], // 1 int
        &[5, 4 << 24, 24],                  // 2 struct xdp_md
        &[0, 2 << 24, 2],                   // 3 its pointer
        &[0, 13 << 24 | 1, 1, 0, 3],        // 4 a prototype
        &[12, 12 << 24 | 1, 4],             // 5 a global function
        &[0, 13 << 24 | 1, 1, 0, 1],        // 6 another prototype
        &[12, 12 << 24 | 1, 6],             // 7 a global function
        &[12, 12 << 24, 6],                 // 8 a static one
    ]
    .concat();
    let types: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let (length, size) = (types.len() as u32, strings.len() as u32);
    let header = [0x0001_eb9f, 24, 0, length, length, size];
    let mut btf: Vec<u8> = header.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    btf.extend(types);
    btf.extend(strings);
    let insns = assemble(text).unwrap();
    let after_exit = |number: usize| {
        let exits = insns.iter().enumerate().filter(|(_, insn)| matches!(insn, Insn::Exit));
        exits.map(|(slot, _)| slot as u32 + 1).nth(number).unwrap()
    };
    let starts = [(0, 5), (after_exit(0), 5), (after_exit(1), 7), (after_exit(2), 8)];
    let mut program = Program::new(insns, ProgType::Xdp, maps());
    program.func_info = starts
        .map(|(insn, type_id)| FuncInfo { insn, type_id, name: "f".into(), global: type_id != 8 })
        .into();
    program.btf = Some(btf.into());
    let rejection = verify(program, &VerifyOptions::cloud()).unwrap_err();
    assert_eq!(rejection.cause, Cause::NotAPointer, "{rejection}");
}
