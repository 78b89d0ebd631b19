//! Programs whose contexts have pointers, to packets and to sockets. On every engine.

use alloc::vec;
use alloc::vec::Vec;

use super::{ENGINES, prepare};
use crate::asm::assemble;
use crate::helper::mock::Mock;
use crate::interpreter::PacketContext;
use crate::profile::{ActiveProfile, PhysicalProfile};
use crate::prog_type::{ProgType, attach};
use crate::program::Program;
use crate::verifier::verify;

/// No pointer lies there in any structure.
const NUMBER: usize = 60;

/// Runs a program on a message, after 32-bit fields of its context were set; returns r0, the
/// message, and the field at offset `read`.
fn run(
    (prog_type, attach_type): (ProgType, u32),
    text: &str,
    message: &[u8],
    fields: &[(usize, u32)],
    read: usize,
) -> (u64, Vec<u8>, Option<u32>) {
    let insns = assemble(text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    let mut program = Program::new(insns, prog_type, vec![]);
    (program.expected_attach_type, program.gpl_compatible) = (attach_type, true);
    let verified = verify(program, &ActiveProfile::verify_options());
    let verified = verified.unwrap_or_else(|rejection| panic!("{text}\n{rejection}"));
    let results = ENGINES.iter().map(|&engine| {
        let ready = prepare(&verified, engine).unwrap();
        let mut left = message.to_vec();
        let mut context = PacketContext::new(prog_type, &mut left).unwrap();
        for &(offset, value) in fields {
            context.set_u32(offset, value);
        }
        let result = ready.run_packet(&mut context, &Mock::default());
        let field = context.get_u32(read);
        assert_eq!(ready.run(&mut [0; 256], &Mock::default()), None, "not on plain bytes");
        (result.unwrap(), left, field)
    });
    let results: Vec<_> = results.collect();
    assert!(results.iter().all(|result| *result == results[0]), "{text}: {results:x?}");
    results.into_iter().next().unwrap()
}

/// Three bytes of the data, whose ends stand at offsets 0 and 8, and one that is written.
const SUM: &str = "r2 = *(u64 *)(r1 + 0)\n r3 = *(u64 *)(r1 + 8)\n r0 = 0\n r4 = r2\n r4 += 3
     if r4 > r3 goto short\n r0 = *(u8 *)(r2 + 0)\n r4 = *(u8 *)(r2 + 1)\n r0 += r4
     r4 = *(u8 *)(r2 + 2)\n r0 += r4\n";

#[test]
fn messages_are_read_and_written() {
    let kind = (ProgType::SkMsg, 0);
    let text = alloc::format!(
        "{SUM} *(u8 *)(r2 + 1) = 77\n r4 = *(u32 *)(r1 + 68)\n r4 <<= 32\n r0 |= r4\n short: exit"
    );
    let (result, left, _) = run(kind, &text, &[5, 6, 7, 8], &[], NUMBER);
    assert_eq!((result, left), (4 << 32 | 18, vec![5, 77, 7, 8]));
    assert_eq!(run(kind, &text, &[5, 6], &[], NUMBER).0, 0, "too short");
    assert_eq!(run(kind, &text, &[], &[], NUMBER).0, 0);
}

#[test]
fn choosers_among_sockets_read_packets() {
    let kind = (ProgType::SkReuseport, attach::SK_REUSEPORT_SELECT);
    let text = alloc::format!("{SUM} short: exit");
    assert_eq!(run(kind, &text, &[5, 6, 7, 8], &[], NUMBER).0, 18);
    // By the helper, which packets of other types have too.
    let text = "r6 = r1\n r2 = 1\n r3 = r10\n r3 += -8\n r4 = 2\n call bpf_skb_load_bytes
                r7 = r0\n r0 = *(u16 *)(r10 - 8)\n r0 += r7\n r2 = *(u32 *)(r6 + 16)\n r0 += r2
                exit";
    let expected = u64::from(u16::from_ne_bytes([6, 7])) + 4;
    assert_eq!(run(kind, text, &[5, 6, 7, 8], &[], NUMBER).0, expected);
}

#[test]
fn an_option_s_value_and_its_fields_are_read_and_written() {
    let text = "r2 = *(u64 *)(r1 + 8)\n r3 = *(u64 *)(r1 + 16)\n r4 = r2\n r4 += 2
                if r4 > r3 goto short\n *(u8 *)(r2 + 1) = 9\n r0 = 1\n *(u32 *)(r1 + 32) = r0
                r2 = *(u32 *)(r1 + 28)\n if r2 == 1234 goto +1\n short: r0 = 0\n exit";
    let kind = (ProgType::CgroupSockopt, attach::CGROUP_SETSOCKOPT);
    assert_eq!(run(kind, text, &[1, 2, 3], &[(28, 1234)], 32), (1, vec![1, 9, 3], Some(1)));
    assert_eq!(run(kind, text, &[1, 2, 3], &[], 32).0, 0);
    assert_eq!(run(kind, text, &[1], &[(28, 1234)], 32), (0, vec![1], Some(1)), "the length");
}

#[test]
fn addresses_are_read_and_changed() {
    let kind = (ProgType::CgroupSockAddr, attach::CGROUP_INET4_CONNECT);
    let text = "r2 = *(u32 *)(r1 + 4)\n r2 += 1\n *(u32 *)(r1 + 4) = r2\n r0 = 1\n exit";
    assert_eq!(run(kind, text, &[], &[(4, 41)], 4), (1, vec![], Some(42)));
}

/// What Linux says is always a socket can be read without a question: it reads as zeros. What may
/// be none is none, whatever the embedder writes there.
#[test]
fn sockets_are_zeros_or_null() {
    let forged = [0x6000, 0];
    let all = |offset| [(offset, forged[0]), (offset + 4, forged[1])];
    for (prog_type, attach_type, sk) in [
        (ProgType::SkMsg, 0, 72),
        (ProgType::SkReuseport, attach::SK_REUSEPORT_SELECT, 40),
        (ProgType::CgroupSockAddr, attach::CGROUP_INET4_CONNECT, 64),
        (ProgType::CgroupSockopt, attach::CGROUP_GETSOCKOPT, 0),
    ] {
        let text = alloc::format!(
            "r2 = *(u64 *)(r1 + {sk})\n r0 = *(u32 *)(r2 + 0)\n r3 = *(u32 *)(r2 + 76)\n r0 += r3
             r3 = *(u32 *)(r2 + 4)\n r0 += r3\n if r0 == 0 goto +1\n r0 = 1\n exit"
        );
        let (result, ..) = run((prog_type, attach_type), &text, &[1; 64], &all(sk), NUMBER);
        assert_eq!(result, 0, "{prog_type:?}");
    }
    for (prog_type, attach_type, sk) in [
        (ProgType::SchedCls, 0, 168),
        (ProgType::SkSkb, 0, 168),
        (ProgType::CgroupSkb, 0, 168),
        (ProgType::SkReuseport, attach::SK_REUSEPORT_SELECT, 48),
        (ProgType::SkLookup, attach::SK_LOOKUP, 0),
        (ProgType::SockOps, 0, 184),
    ] {
        let text = alloc::format!(
            "r2 = *(u64 *)(r1 + {sk})\n r0 = 0\n if r2 == 0 goto +2\n r0 = *(u32 *)(r2 + 4)
             r0 = 1\n exit"
        );
        let (result, ..) = run((prog_type, attach_type), &text, &[1; 64], &all(sk), NUMBER);
        assert_eq!(result, 0, "{prog_type:?}");
    }
}

#[test]
fn ends_of_data_are_not_to_be_forged() {
    let text = alloc::format!("{SUM} short: exit");
    // A beginning below the data, and an end above.
    for forged in [(0, 0), (4, 0), (8, u32::MAX), (12, u32::MAX)] {
        for kind in [(ProgType::SkMsg, 0), (ProgType::SkReuseport, attach::SK_REUSEPORT_SELECT)] {
            assert_eq!(run(kind, &text, &[5, 6], &[forged], NUMBER).0, 0, "{forged:?}");
        }
    }
}
