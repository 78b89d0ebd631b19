//! Objects on the stack: dynptrs and iterators, and kernel functions.

use std::sync::Arc;

use kernel_bpf::asm::assemble;
use kernel_bpf::btf::Btf;
use kernel_bpf::interpreter::{Interpreter, LoadError};
use kernel_bpf::map::Map;
use kernel_bpf::profile::{ActiveProfile, PhysicalProfile};
use kernel_bpf::prog_type::ProgType::RawTracepoint as RawTp;
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

use crate::common::{accept, maps, refuse};

const RESERVE: &str =
    "r1 = map[2] ll\n r2 = 32\n r3 = 0\n r4 = r10\n r4 += -16\n call bpf_ringbuf_reserve_dynptr\n";
const SUBMIT: &str = "r1 = r10\n r1 += -16\n r2 = 0\n call bpf_ringbuf_submit_dynptr\n";
const DATA: &str = "r1 = r10\n r1 += -16\n r2 = 0\n r3 = 8\n call bpf_dynptr_data\n";
const FROM_MAP: &str =
    "r1 = map[6][0]+0 ll\n r2 = 64\n r3 = 0\n r4 = r10\n r4 += -16\n call bpf_dynptr_from_mem\n";

#[test]
fn records_by_dynptr_are_given_back() {
    accept(RawTp, &format!("{RESERVE}{SUBMIT} r0 = 0\n exit"));
    refuse(RawTp, &format!("{RESERVE} r0 = 0\n exit"), Cause::Reference);
    // Also when the reservation failed; once only.
    refuse(
        RawTp,
        &format!("{RESERVE} if r0 == 0 goto l\n {SUBMIT} l: r0 = 0\n exit"),
        Cause::Reference,
    );
    refuse(RawTp, &format!("{RESERVE}{SUBMIT}{SUBMIT} r0 = 0\n exit"), Cause::BadArgument);
    refuse(RawTp, &format!("{RESERVE}{RESERVE}{SUBMIT} r0 = 0\n exit"), Cause::Reference);
    refuse(
        RawTp,
        &format!("{RESERVE} *(u64 *)(r10 - 16) = 0\n {SUBMIT} r0 = 0\n exit"),
        Cause::Reference,
    );
    refuse(
        RawTp,
        &format!("{RESERVE} r6 = *(u64 *)(r10 - 8)\n {SUBMIT} r0 = 0\n exit"),
        Cause::OutOfBounds,
    );
    let elsewhere = SUBMIT.replace("-16", "-24");
    refuse(RawTp, &format!("{RESERVE}{elsewhere} r0 = 0\n exit"), Cause::BadArgument);
    // A dynptr over other memory is nobody's to give back.
    refuse(RawTp, &format!("{FROM_MAP}{SUBMIT} r0 = 0\n exit"), Cause::Reference);
}

#[test]
fn slices_live_as_long_as_their_dynptr() {
    let slice = format!("{RESERVE}{DATA} if r0 == 0 goto l\n r6 = r0\n");
    accept(RawTp, &format!("{slice} *(u64 *)(r6 + 0) = 1\n l: {SUBMIT} r0 = 0\n exit"));
    refuse(
        RawTp,
        &format!("{slice} *(u64 *)(r6 + 1) = 1\n l: {SUBMIT} r0 = 0\n exit"),
        Cause::OutOfBounds,
    );
    refuse(
        RawTp,
        &format!(
            "{slice}{SUBMIT} *(u64 *)(r6 + 0) = 1\n r0 = 0\n exit\n l: {SUBMIT} r0 = 0\n exit"
        ),
        Cause::NotAPointer,
    );
    refuse(
        RawTp,
        &format!("{RESERVE}{DATA} *(u64 *)(r0 + 0) = 1\n {SUBMIT} r0 = 0\n exit"),
        Cause::MayBeNull,
    );
    // The same over memory of a map, which is overwritten at will.
    let slice = format!("{FROM_MAP}{DATA} if r0 == 0 goto l\n");
    accept(
        RawTp,
        &format!("{slice} r6 = *(u64 *)(r0 + 0)\n *(u64 *)(r10 - 8) = 0\n l: r0 = 0\n exit"),
    );
    refuse(
        RawTp,
        &format!("{slice} *(u64 *)(r10 - 8) = 0\n r6 = *(u64 *)(r0 + 0)\n l: r0 = 0\n exit"),
        Cause::NotAPointer,
    );
    refuse(
        RawTp,
        &format!("{} r0 = 0\n exit", FROM_MAP.replace("r2 = 64", "r2 = 65")),
        Cause::OutOfBounds,
    );
    refuse(
        RawTp,
        &format!("{} r0 = 0\n exit", FROM_MAP.replace("map[6][0]+0 ll", "r10\n r1 += -80")),
        Cause::BadArgument,
    );
}

#[test]
fn dynptrs_are_read_and_written_through() {
    let read = "r1 = r10\n r1 += -32\n r2 = 8\n r3 = r10\n r3 += -16\n r4 = 0\n r5 = 0\n call bpf_dynptr_read\n";
    let write = "r1 = r10\n r1 += -16\n r2 = 0\n r3 = r10\n r3 += -32\n r4 = 8\n r5 = 0\n call bpf_dynptr_write\n";
    accept(RawTp, &format!("{FROM_MAP}{read}{write} r0 = *(u64 *)(r10 - 32)\n exit"));
    refuse(RawTp, &format!("{read} r0 = 0\n exit"), Cause::BadArgument);
    refuse(
        RawTp,
        &format!("{FROM_MAP}{} r0 = 0\n exit", read.replace("r3 += -16", "r3 += -8")),
        Cause::BadArgument,
    );
    // Reading into the dynptr itself destroys it; into one that is held, it may not.
    refuse(
        RawTp,
        &format!("{RESERVE}{} {SUBMIT} r0 = 0\n exit", read.replace("r1 += -32", "r1 += -16")),
        Cause::Reference,
    );
}

/// A kernel's BTF with functions of these names, numbered from 2 on in steps of one.
fn kernel(names: &[&str]) -> &'static Btf {
    let mut strings = vec![0u8];
    let mut words: Vec<u32> = vec![0, 13 << 24, 0];
    for name in names {
        words.extend([strings.len() as u32, 12 << 24 | 1, 1]);
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let number = names.len() as u32 + 3;
    words.extend([strings.len() as u32, 4 << 24 | 1, 8, 0, number, 0]);
    strings.extend_from_slice(b"task_struct\0");
    words.extend([strings.len() as u32, 1 << 24, 8, 64]);
    strings.extend_from_slice(b"long\0");
    let length = words.len() as u32 * 4;
    let header = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32];
    let mut bytes: Vec<u8> =
        header.iter().chain(&words).flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(strings);
    Box::leak(Box::new(Btf::parse(&bytes).unwrap()))
}

fn with_kernel(text: &str) -> Result<Proof, Box<Rejection>> {
    let names = [
        "bpf_iter_num_new",
        "bpf_iter_num_next",
        "bpf_iter_num_destroy",
        "bpf_task_from_pid",
        "bpf_task_release",
        "panic",
    ];
    let text = text
        .replace("call new", "call kfunc#2")
        .replace("call next", "call kfunc#3")
        .replace("call destroy", "call kfunc#4")
        .replace("call from_pid", "call kfunc#5")
        .replace("call release", "call kfunc#6")
        .replace("call panic", "call kfunc#7");
    let insns = assemble(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut program = Program::new(insns, RawTp, maps());
    program.gpl_compatible = true;
    let options = VerifyOptions { kernel_btf: Some(kernel(&names)), ..VerifyOptions::cloud() };
    verify(program, &options).map(|verified| verified.proof().clone())
}

fn cause(text: &str) -> Cause {
    match with_kernel(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(rejection) => rejection.cause,
    }
}

/// `for (i = 0; i < 100; i++) body`, the number in r6.
fn numbers(body: &str) -> String {
    format!(
        "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 100\n call new\n l: r1 = r10\n r1 += -8\n call next\n \
         if r0 == 0 goto out\n r6 = *(u32 *)(r0 + 0)\n {body}\n goto l\n \
         out: r1 = r10\n r1 += -8\n call destroy\n r0 = 0\n exit"
    )
}

#[test]
fn loops_over_numbers_converge() {
    let proof = with_kernel(&numbers("r7 = r6")).unwrap();
    assert!(proof.processed < 60, "{}", proof.processed);
    // A hundred rounds of seven instructions and what asking costs.
    assert!((1700..1900).contains(&proof.worst_case), "{}", proof.worst_case);
    // The number is unknown to the verifier: check it.
    let body = "r2 = map[6][0]+0 ll\n r2 += r6\n *(u8 *)(r2 + 0) = 1";
    assert_eq!(cause(&numbers(body)), Cause::OutOfBounds);
    with_kernel(&numbers(&format!("if r6 > 63 goto l\n {body}"))).unwrap();
    // What it counts on its own and decides by is followed round by round.
    let count =
        "r8 += 1\n r2 = map[6][0]+0 ll\n if r8 > 63 goto out\n r2 += r8\n *(u8 *)(r2 + 0) = 1";
    with_kernel(&format!("r8 = 0\n {}", numbers(count))).unwrap();
}

/// The way back to the head uses up no number: the iterator is at its end, or is another.
#[test]
fn loops_over_numbers_end() {
    let new = "r1 = r10\n r1 += -8\n r2 = 0\n r3 = 10\n call new\n";
    let next = "r1 = r10\n r1 += -8\n call next\n";
    let drained = format!("{new} l: {next} goto l");
    assert_eq!(cause(&drained), Cause::InfiniteLoop);
    let again = format!(
        "{new} l: {next} if r0 == 0 goto again\n goto l\n again: r1 = r10\n r1 += -8\n call destroy
         {new} goto l"
    );
    assert_eq!(cause(&again), Cause::InfiniteLoop);
    // The number is the iterator's own state.
    assert_eq!(cause(&numbers("*(u32 *)(r0 + 0) = 0")), Cause::ReadOnly);
}

#[test]
fn iterators_are_made_and_destroyed() {
    let whole = numbers("r7 = r6");
    assert_eq!(cause(&whole.replace("call destroy", "r0 = 0")), Cause::Reference);
    assert_eq!(cause(&whole.replace("call new", "r0 = 0")), Cause::BadArgument);
    assert_eq!(cause(&numbers("*(u64 *)(r10 - 8) = 0")), Cause::Reference);
    assert_eq!(cause(&numbers("r7 = *(u64 *)(r10 - 8)")), Cause::OutOfBounds);
    assert_eq!(
        cause(&whole.replace("if r0 == 0 goto out", "if r0 == 1 goto out")),
        Cause::NotAPointer
    );
}

#[test]
fn kernel_functions_are_those_of_the_table() {
    let get = "r1 = 1\n call from_pid\n if r0 == 0 goto out\n r1 = r0\n";
    with_kernel(&format!("{get} call release\n out: r0 = 0\n exit")).unwrap();
    assert_eq!(cause(&format!("{get} out: r0 = 0\n exit")), Cause::Reference);
    let unchecked = "r1 = 1\n call from_pid\n r1 = r0\n call release\n r0 = 0\n exit";
    assert_eq!(cause(unchecked), Cause::MayBeNull);
    assert_eq!(
        cause(&format!("r6 = r1\n {get} r1 = r6\n call release\n out: r0 = 0\n exit")),
        Cause::BadArgument
    );
    assert_eq!(cause("call panic\n r0 = 0\n exit"), Cause::UnknownFunction);
    // Without the kernel's BTF there is none.
    refuse(RawTp, "call kfunc#2\n r0 = 0\n exit", Cause::UnknownFunction);
}

/// A kernel's object may be null though its type does not say so, and what equals it then too.
#[test]
fn a_kernel_object_proves_no_pointer_valid() {
    let lookup = "*(u64 *)(r10 - 8) = 7\n r1 = map[1] ll\n r2 = r10\n r2 += -8\n call 1\n";
    let compared = |other: &str, compare: &str| {
        format!("{other} r6 = r0\n {lookup} {compare} r1 = *(u64 *)(r0 + 0)\n out: r0 = 0\n exit")
    };
    let (task, value) = ("call bpf_get_current_task_btf\n", "r0 = map[6][0]+0 ll\n");
    for compare in [
        "if r0 != r6 goto out\n",
        "if r6 != r0 goto out\n",
        "if r0 == r6 goto +1\n goto out\n",
        "if r6 == r0 goto +1\n goto out\n",
    ] {
        refuse(RawTp, &compared(task, compare), Cause::MayBeNull);
        accept(RawTp, &compared(value, compare));
    }
}

/// A load from an object that is known by the kernel's types only may fault, which no engine
/// survives.
#[test]
fn programs_that_load_from_kernel_objects_are_verified_only() {
    let ready = |text: &str| {
        let program: Program<Arc<Map>> = Program::new(assemble(text).unwrap(), RawTp, vec![]);
        let program = Program { gpl_compatible: true, ..program };
        let options =
            VerifyOptions { kernel_btf: Some(kernel(&[])), ..ActiveProfile::verify_options() };
        let verified = verify(program, &options).unwrap_or_else(|error| panic!("{error}"));
        Interpreter::<ActiveProfile>::new(&verified).map(drop)
    };
    ready("call bpf_get_current_task_btf\n r0 = 0\n exit").unwrap();
    let error = ready("r6 = 0\n call bpf_get_current_task_btf\n r0 = *(u64 *)(r0 + 0)\n exit");
    assert!(matches!(error, Err(LoadError::Unsupported { slot: 2, .. })), "{error:?}");
}
