//! Program types: contexts by attach type, results, and typed arguments of kernel functions.

use kernel_bpf::asm::assemble;
use kernel_bpf::btf::Btf;
use kernel_bpf::prog_type::{ProgType, attach, decl};
use kernel_bpf::program::Program;
use kernel_bpf::verifier::{Cause, Proof, Rejection, VerifyOptions, verify};

use crate::common::{accept_at, maps, refuse_with};

fn refuse_at(kind: ProgType, attach: u32, text: &str, cause: Cause) -> Rejection {
    refuse_with(kind, attach, text, cause, &VerifyOptions::cloud())
}

#[test]
fn addresses_of_sockets_follow_their_family() {
    use ProgType::CgroupSockAddr as Type;
    let (bind4, send6) = (attach::CGROUP_INET4_BIND, attach::CGROUP_UDP6_SENDMSG);
    accept_at(Type, bind4, "r0 = *(u32 *)(r1 + 4)\n *(u32 *)(r1 + 24) = 7\n r0 = 3\n exit");
    refuse_at(Type, bind4, "r0 = *(u32 *)(r1 + 8)\n r0 = 1\n exit", Cause::ContextAccess);
    refuse_at(Type, bind4, "r0 = 4\n exit", Cause::ReturnValue);
    // Eight bytes of an address at once, where they are aligned.
    accept_at(
        Type,
        send6,
        "r0 = *(u64 *)(r1 + 16)\n r2 = 0\n *(u64 *)(r1 + 48) = r2\n r0 = 1\n exit",
    );
    refuse_at(Type, send6, "r0 = *(u64 *)(r1 + 44)\n r0 = 1\n exit", Cause::ContextAccess);
    refuse_at(Type, send6, "*(u16 *)(r1 + 44) = 0\n r0 = 1\n exit", Cause::ContextAccess);
    // A name cannot be refused.
    refuse_at(Type, attach::CGROUP_INET4_GETPEERNAME, "r0 = 0\n exit", Cause::ReturnValue);
    // The socket is there.
    accept_at(Type, bind4, "r2 = *(u64 *)(r1 + 64)\n r0 = *(u32 *)(r2 + 4)\n r0 = 1\n exit");
    assert!(decl(Type, 3).is_none(), "an attach type of another program type");
}

#[test]
fn sockets_of_control_groups() {
    use ProgType::CgroupSock as Type;
    accept_at(Type, 0, "*(u32 *)(r1 + 16) = 5\n r0 = *(u16 *)(r1 + 48)\n r0 = 1\n exit");
    refuse_at(Type, 0, "r0 = *(u32 *)(r1 + 24)\n r0 = 1\n exit", Cause::ContextAccess);
    let bind = attach::CGROUP_INET4_POST_BIND;
    accept_at(Type, bind, "r0 = *(u8 *)(r1 + 25)\n r0 = 1\n exit");
    refuse_at(Type, bind, "r0 = *(u32 *)(r1 + 16)\n r0 = 1\n exit", Cause::ContextAccess);
    refuse_at(Type, bind, "r0 = *(u8 *)(r1 + 45)\n r0 = 1\n exit", Cause::ContextAccess);
    accept_at(ProgType::CgroupDevice, 0, "r0 = *(u16 *)(r1 + 2)\n r0 &= 1\n exit");
    refuse_at(
        ProgType::CgroupDevice,
        0,
        "r0 = *(u16 *)(r1 + 4)\n r0 = 1\n exit",
        Cause::ContextAccess,
    );
    accept_at(ProgType::CgroupSysctl, 0, "*(u32 *)(r1 + 4) = 1\n r0 = 1\n exit");
    refuse_at(
        ProgType::CgroupSysctl,
        0,
        "*(u32 *)(r1 + 0) = 1\n r0 = 1\n exit",
        Cause::ContextAccess,
    );
    let (get, set) = (attach::CGROUP_GETSOCKOPT, attach::CGROUP_SETSOCKOPT);
    accept_at(ProgType::CgroupSockopt, get, "*(u32 *)(r1 + 36) = 0\n r0 = 1\n exit");
    refuse_at(
        ProgType::CgroupSockopt,
        set,
        "*(u32 *)(r1 + 36) = 0\n r0 = 1\n exit",
        Cause::ContextAccess,
    );
    accept_at(
        ProgType::CgroupSockopt,
        set,
        "r2 = *(u64 *)(r1 + 8)\n r3 = *(u64 *)(r1 + 16)\n r4 = r2\n r4 += 4\n if r4 > r3 goto l\n *(u32 *)(r2 + 0) = 1\n l: r0 = 1\n exit",
    );
}

#[test]
fn lookups_messages_and_streams() {
    let lookup = attach::SK_LOOKUP;
    // The socket may not be there; the port is two bytes, with padding.
    accept_at(
        ProgType::SkLookup,
        lookup,
        "r2 = *(u64 *)(r1 + 0)\n if r2 == 0 goto l\n r0 = *(u32 *)(r2 + 4)\n l: r0 = *(u32 *)(r1 + 36)\n r0 = *(u16 *)(r1 + 38)\n r0 = 1\n exit",
    );
    refuse_at(
        ProgType::SkLookup,
        lookup,
        "r2 = *(u64 *)(r1 + 0)\n r0 = *(u32 *)(r2 + 4)\n r0 = 1\n exit",
        Cause::MayBeNull,
    );
    refuse_at(ProgType::SkLookup, 0, "r0 = 1\n exit", Cause::ProgramType);
    let packet =
        "r2 = *(u64 *)(r1 + 0)\n r3 = *(u64 *)(r1 + 8)\n r4 = r2\n r4 += 1\n if r4 > r3 goto l\n";
    accept_at(ProgType::SkMsg, 0, &format!("{packet} *(u8 *)(r2 + 0) = 1\n l: r0 = 0\n exit"));
    refuse_at(
        ProgType::SkReuseport,
        0,
        &format!("{packet} *(u8 *)(r2 + 0) = 1\n l: r0 = 0\n exit"),
        Cause::ReadOnly,
    );
    accept_at(
        ProgType::SkReuseport,
        0,
        &format!("{packet} r0 = *(u8 *)(r2 + 0)\n l: r0 = *(u16 *)(r1 + 20)\n exit"),
    );
    refuse_at(ProgType::SkReuseport, 0, "r0 = *(u8 *)(r1 + 20)\n exit", Cause::ContextAccess);
    accept_at(ProgType::SkSkb, 0, "*(u32 *)(r1 + 44) = 1\n r0 = *(u32 *)(r1 + 132)\n exit");
    refuse_at(ProgType::SkSkb, 0, "r0 = *(u32 *)(r1 + 8)\n exit", Cause::ContextAccess);
    accept_at(
        ProgType::SockOps,
        0,
        "*(u32 *)(r1 + 4) = 1\n r0 = *(u64 *)(r1 + 168)\n r0 = 1\n exit",
    );
    refuse_at(ProgType::SockOps, 0, "*(u32 *)(r1 + 8) = 1\n r0 = 1\n exit", Cause::ContextAccess);
    accept_at(
        ProgType::FlowDissector,
        0,
        "r2 = *(u64 *)(r1 + 144)\n *(u16 *)(r2 + 54) = 1\n r0 = 0\n exit",
    );
    refuse_at(
        ProgType::FlowDissector,
        0,
        "r2 = *(u64 *)(r1 + 144)\n *(u16 *)(r2 + 56) = 1\n r0 = 0\n exit",
        Cause::OutOfBounds,
    );
    let buffer = "r2 = *(u64 *)(r1 + 0)\n";
    let proof = accept_at(
        ProgType::RawTracepointWritable,
        0,
        &format!("{buffer} *(u32 *)(r2 + 8) = 1\n r0 = 0\n exit"),
    );
    assert_eq!(proof.max_buffer_offset, 12);
    refuse_at(
        ProgType::RawTracepointWritable,
        0,
        &format!("{buffer} r3 = *(u8 *)(r1 + 8)\n r2 += r3\n r0 = *(u8 *)(r2 + 0)\n exit"),
        Cause::OutOfBounds,
    );
}

/// A kernel's BTF: `struct inner { int x; }`, `struct obj { u64 n; struct obj *next; struct
/// inner in[2]; }`, `int act(struct obj *o, int n)`, `void bpf_lsm_seen(struct obj *o)`,
/// `int bpf_lsm_may(struct obj *o)`.
fn kernel_btf() -> &'static Btf {
    let mut strings = vec![0u8];
    let mut types: Vec<u8> = Vec::new();
    let mut name = |text: &str| {
        let at = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let mut put =
        |words: &[u32]| words.iter().for_each(|word| types.extend_from_slice(&word.to_le_bytes()));
    let (int, long) = (name("int"), name("long"));
    let (inner, x, obj) = (name("inner"), name("x"), name("obj"));
    let (n, next, inside, o) = (name("n"), name("next"), name("in"), name("o"));
    let (act, seen, may) = (name("act"), name("bpf_lsm_seen"), name("bpf_lsm_may"));
    let info = |kind: u32, count: u32| kind << 24 | count;
    put(&[int, info(1, 0), 4, 1 << 24 | 32]); // 1
    put(&[long, info(1, 0), 8, 64]); // 2
    put(&[inner, info(4, 1), 4, x, 1, 0]); // 3
    put(&[obj, info(4, 3), 24, n, 2, 0, next, 5, 64, inside, 6, 128]); // 4
    put(&[0, info(2, 0), 4]); // 5: struct obj *
    put(&[0, info(3, 0), 0, 3, 1, 2]); // 6: struct inner[2]
    put(&[0, info(13, 2), 1, o, 5, n, 1]); // 7
    put(&[act, info(12, 1), 7]); // 8
    put(&[0, info(13, 1), 0, o, 5]); // 9
    put(&[seen, info(12, 1), 9]); // 10
    put(&[0, info(13, 1), 1, o, 5]); // 11
    put(&[may, info(12, 1), 11]); // 12
    let mut bytes = Vec::new();
    for word in [0x0001_eb9f, 24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
        bytes.extend_from_slice(&u32::to_le_bytes(word));
    }
    bytes.extend_from_slice(&types);
    bytes.extend_from_slice(&strings);
    Box::leak(Box::new(Btf::parse(&bytes).unwrap()))
}

const ACT: u32 = 8;
const LSM_SEEN: u32 = 10;
const LSM_MAY: u32 = 12;

fn typed(kind: ProgType, attach: u32, target: u32, text: &str) -> Result<Proof, Box<Rejection>> {
    let mut program = Program::new(assemble(text).unwrap(), kind, maps());
    program.expected_attach_type = attach;
    program.attach_btf_id = target;
    program.gpl_compatible = true;
    let options = VerifyOptions { kernel_btf: Some(kernel_btf()), ..VerifyOptions::cloud() };
    verify(program, &options).map(|verified| verified.proof().clone())
}

fn cause(result: Result<Proof, Box<Rejection>>) -> Cause {
    result.expect_err("it is refused").cause
}

#[test]
fn arguments_of_functions_are_typed() {
    use ProgType::Tracing;
    let (entry, exit) = (attach::TRACE_FENTRY, attach::TRACE_FEXIT);
    // o->next->in[1].x
    let walk =
        "r2 = *(u64 *)(r1 + 0)\n r2 = *(u64 *)(r2 + 8)\n r0 = *(u32 *)(r2 + 20)\n r0 = 0\n exit";
    typed(Tracing, entry, ACT, walk).unwrap();
    let wrong = |text: &str| cause(typed(Tracing, entry, ACT, text));
    assert_eq!(
        wrong("r2 = *(u64 *)(r1 + 0)\n r0 = *(u64 *)(r2 + 20)\n r0 = 0\n exit"),
        Cause::OutOfBounds
    );
    assert_eq!(
        wrong("r2 = *(u64 *)(r1 + 0)\n r0 = *(u32 *)(r2 + 24)\n r0 = 0\n exit"),
        Cause::OutOfBounds
    );
    assert_eq!(
        wrong("r2 = *(u64 *)(r1 + 0)\n *(u32 *)(r2 + 0) = 1\n r0 = 0\n exit"),
        Cause::ReadOnly
    );
    assert_eq!(wrong("r2 = *(u32 *)(r1 + 0)\n r0 = 0\n exit"), Cause::ContextAccess);
    // The result is there on return only; its entry programs return 0.
    assert_eq!(wrong("r0 = *(u64 *)(r1 + 16)\n r0 = 0\n exit"), Cause::ContextAccess);
    assert_eq!(wrong("r0 = 1\n exit"), Cause::ReturnValue);
    typed(Tracing, exit, ACT, "r0 = *(u64 *)(r1 + 16)\n r0 = 0\n exit").unwrap();
    // Numbers may be anything, also in a result that is replaced.
    typed(Tracing, attach::MODIFY_RETURN, ACT, "r0 = *(u64 *)(r1 + 8)\n exit").unwrap();
}

#[test]
fn security_hooks_answer_with_errors() {
    use ProgType::Lsm;
    let mac = attach::LSM_MAC;
    typed(Lsm, mac, LSM_MAY, "r2 = *(u64 *)(r1 + 0)\n r0 = *(u64 *)(r2 + 0)\n r0 = -13\n exit")
        .unwrap();
    assert_eq!(cause(typed(Lsm, mac, LSM_MAY, "r0 = 1\n exit")), Cause::ReturnValue);
    // Nobody looks at the answer of a hook without result.
    typed(Lsm, mac, LSM_SEEN, "r0 = 5\n exit").unwrap();
    assert_eq!(cause(typed(Lsm, mac, ACT, "r0 = 0\n exit")), Cause::ProgramType);
    assert_eq!(cause(typed(Lsm, mac, 0, "r0 = 0\n exit")), Cause::ProgramType);
    assert_eq!(cause(typed(Lsm, mac, 1000, "r0 = 0\n exit")), Cause::ProgramType);
    // Without the kernel's BTF it cannot be judged, and says so.
    let mut program = Program::new(assemble("r0 = 0\n exit").unwrap(), Lsm, maps());
    (program.expected_attach_type, program.attach_btf_id) = (mac, LSM_MAY);
    let rejection = verify(program, &VerifyOptions::cloud()).unwrap_err();
    assert!(rejection.message.contains("there is no kernel BTF"), "{rejection}");
}

#[test]
fn sleeping_is_for_programs_that_may() {
    let sleepy = "r1 = r10\n r1 += -8\n r2 = 8\n r3 = 0\n call bpf_copy_from_user\n r0 = 0\n exit";
    let load = |kind, sleepable, text: &str| {
        let mut program = Program::new(assemble(text).unwrap(), kind, maps());
        program.sleepable = sleepable;
        program.gpl_compatible = true;
        verify(program, &VerifyOptions::cloud()).map(|verified| verified.proof().clone())
    };
    load(ProgType::Syscall, true, sleepy).unwrap();
    load(ProgType::Syscall, true, "*(u64 *)(r1 + 64) = 1\n r0 = 7\n exit").unwrap();
    assert_eq!(cause(load(ProgType::Syscall, false, "r0 = 0\n exit")), Cause::ProgramType);
    load(ProgType::Kprobe, true, sleepy).unwrap();
    assert_eq!(cause(load(ProgType::Kprobe, false, sleepy)), Cause::UnknownFunction);
    assert_eq!(cause(load(ProgType::Xdp, true, "r0 = 0\n exit")), Cause::ProgramType);
    assert_eq!(cause(load(ProgType::Ext, false, "r0 = 0\n exit")), Cause::ProgramType);
}
