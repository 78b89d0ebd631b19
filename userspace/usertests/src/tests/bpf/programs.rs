//! Programs: what is accepted and refused, and test runs.

use super::{
    ARRAY, EXIT, HASH, RAW_TRACEPOINT, SOCKET_FILTER, available, command_with, counting, create,
    instruction, load, load_with, new_map, not_supported, number, set,
};
use crate::calls;
use crate::check::{Outcome, check, equal, fails, ok, skip};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Kind, Map, NewMap, NewProgram};
use ::bpf::info::ProgramInfo;
use alloc::vec::Vec;
use kernel_abi::bpf::{command, prog_load};
use lemma_rt::Errno;
use lemma_rt::rustix::fd::{AsFd, AsRawFd};

const SK_MSG: u32 = 16;
const PROGRAM_ARRAY: u32 = 3;
/// `bpf_tail_call`.
const TAIL_CALL: i32 = 12;

pub(super) fn program_good() -> Outcome {
    available()?;
    ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let mut log = alloc::vec![0xff; 4096];
    ok!(load_with(SOCKET_FILTER, 0, &[set(0, 1), EXIT], &mut log));
    check!(log.contains(&0));
    Ok(())
}

pub(super) fn program_bad() -> Outcome {
    available()?;
    // Each is refused, and the log says something.
    let bad: [(&str, &[u64], Errno); 8] = [
        ("no exit", &[set(0, 0)], Errno::INVAL),
        ("uninitialised register", &[EXIT], Errno::ACCESS),
        ("unknown register", &[instruction(0xb7, 12, 0, 0), EXIT], Errno::INVAL),
        ("jump outside", &[instruction(0x05, 0, 5, 0), set(0, 0), EXIT], Errno::INVAL),
        ("stack too deep", &[instruction(0x7a, 10, -520, 1), set(0, 0), EXIT], Errno::ACCESS),
        ("write through a number", &[set(1, 0), instruction(0x7a, 1, 0, 1), EXIT], Errno::ACCESS),
        ("unknown helper", &[instruction(0x85, 0, 0, 99_999), EXIT], Errno::INVAL),
        ("endless loop", &[set(0, 0), instruction(0x05, 0, -1, 0), EXIT], Errno::INVAL),
    ];
    for (what, program, errno) in bad {
        let mut log = alloc::vec![0; 65536];
        match load_with(SOCKET_FILTER, 0, program, &mut log) {
            Ok(_) => check!(false, " {what} was accepted"),
            Err(error) => {
                // Kernels differ in which of the two they give.
                let fits = error == errno || error == Errno::INVAL || error == Errno::ACCESS;
                check!(fits, " {what}: {}", lemma_rt::error_text(error));
            }
        }
        check!(log.first() != Some(&0), " {what}: the log is empty");
        fails!(
            load_with(SOCKET_FILTER, 0, program, &mut []).map(drop).map_err(|_| Errno::INVAL),
            INVAL
        );
    }
    Ok(())
}

pub(super) fn program_errors() -> Outcome {
    available()?;
    let program = [set(0, 0), EXIT];
    let bytes: Vec<u8> = program.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    let attributes = || {
        Attributes::new()
            .with(prog_load::PROG_TYPE, SOCKET_FILTER)
            .with(prog_load::INSN_CNT, 2)
            .with_pointer(prog_load::INSNS, bytes.as_ptr())
            .with_pointer(prog_load::LICENSE, c"GPL".as_ptr())
    };
    let attempt = |attributes| command_with(command::PROG_LOAD, attributes, 128);
    ok!(calls::close(ok!(attempt(attributes())) as i32));
    fails!(attempt(attributes().with(prog_load::PROG_TYPE, 9999)), INVAL);
    fails!(attempt(attributes().with(prog_load::INSN_CNT, 0)), TOOBIG);
    fails!(attempt(attributes().with(prog_load::INSN_CNT, 2_000_000)), TOOBIG);
    fails!(attempt(attributes().with64(prog_load::INSNS, 8)), FAULT);
    fails!(attempt(attributes().with64(prog_load::LICENSE, 8)), FAULT);
    fails!(attempt(attributes().with(prog_load::PROG_FLAGS, 1 << 30)), INVAL);
    // A log needs a buffer, a size and a level.
    fails!(
        attempt(attributes().with(prog_load::LOG_LEVEL, 1).with(prog_load::LOG_SIZE, 100)),
        INVAL
    );
    fails!(attempt(attributes().with64(prog_load::LOG_BUF, 4096)), INVAL);
    // What does not fit is said to not fit.
    let mut small = [0u8; 1];
    let log = attributes()
        .with(prog_load::LOG_LEVEL, 1)
        .with(prog_load::LOG_SIZE, 1)
        .with_pointer(prog_load::LOG_BUF, small.as_mut_ptr());
    fails!(attempt(log), NOSPC);
    Ok(())
}

pub(super) fn test_runs() -> Outcome {
    available()?;
    let program = ok!(load(SOCKET_FILTER, &[set(0, 42), EXIT]));
    let packet = [0; 64];
    equal!(ok!(commands::test(program.as_fd(), &packet, &[], 1)).result, 42);
    equal!(ok!(commands::test(program.as_fd(), &packet, &[], 1000)).result, 42);
    // Shorter than an Ethernet header is no packet.
    fails!(commands::test(program.as_fd(), &[0; 4], &[], 1), INVAL);
    // r0 = context->len, which is what is behind the Ethernet header.
    let length = ok!(load(SOCKET_FILTER, &[instruction(0x61, 0x10, 0, 0), EXIT]));
    equal!(ok!(commands::test(length.as_fd(), &packet, &[], 1)).result, 50);
    let map = ok!(create(ARRAY, 4, 8, 1));
    fails!(commands::test(map.fd.as_fd(), &packet, &[], 1), INVAL);
    // There is no test run without a socket.
    let message = ok!(load(SK_MSG, &[set(0, 1), EXIT]));
    let result = commands::test(message.as_fd(), &packet, &[], 1);
    equal!(result.map(|ran| ran.result), Err(not_supported()));
    Ok(())
}

pub(super) fn loops() -> Outcome {
    available()?;
    // The sum of 1 to 100.
    let sum = [
        set(0, 0),
        set(1, 100),
        instruction(0x0f, 0x10, 0, 0),
        instruction(0x07, 1, 0, -1),
        instruction(0x55, 1, -3, 0),
        EXIT,
    ];
    let program = ok!(load(SOCKET_FILTER, &sum));
    equal!(ok!(commands::test(program.as_fd(), &[0; 64], &[], 1)).result, 5050);
    Ok(())
}

pub(super) fn map_from_program() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load(SOCKET_FILTER, &counting(map.fd.as_raw_fd())));
    for _ in 0..7 {
        ok!(commands::test(program.as_fd(), &[0; 64], &[], 1));
    }
    equal!(number(&ok!(map.lookup(&[0; 4]))), 7);
    // The program keeps the map.
    let info = ok!(ProgramInfo::of(program.as_fd()));
    equal!(info.maps.len(), 1);
    drop(map);
    ok!(commands::test(program.as_fd(), &[0; 64], &[], 1));
    let fd = ok!(commands::by_id(Kind::Map, info.maps[0]));
    let map = Map { fd, key_size: 4, value_size: 8 };
    equal!(number(&ok!(map.lookup(&[0; 4]))), 8);
    // Without the null check it is refused: in a hash the key may be missing.
    let hash = ok!(create(HASH, 4, 8, 1));
    let mut unchecked = counting(hash.fd.as_raw_fd());
    unchecked.remove(6);
    check!(load(SOCKET_FILTER, &unchecked).is_err());
    fails!(load(SOCKET_FILTER, &counting(99)), BADF);
    Ok(())
}

/// Text of a template, which is looked at when the program is loaded, and of three numbers.
pub(super) fn templates() -> Outcome {
    available()?;
    const TEXT: usize = 64;
    const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;
    let numbers = ok!(create(ARRAY, 4, 24, 1));
    let text = ok!(create(ARRAY, 4, TEXT as u32, 1));
    // r1 to r5: text, its size, template, numbers, their size.
    let snprintf = |template: &[u8], size: i32| {
        let flags = READ_ONLY_FOR_PROGRAMS;
        let fd = commands::create_map(&NewMap { flags, ..new_map(ARRAY, 4, TEXT as u32, 1) })?;
        let constant = Map { fd, key_size: 4, value_size: TEXT };
        let mut bytes = template.to_vec();
        bytes.resize(TEXT, 0);
        constant.update(&[0; 4], &bytes, 0)?;
        constant.freeze()?;
        let value = |register: u8, map: &Map| {
            [instruction(0x18, register | 0x20, 0, map.fd.as_raw_fd()), 0]
        };
        let program = [
            &value(1, &text)[..],
            &[set(2, 12)],
            &value(3, &constant),
            &value(4, &numbers),
            &[set(5, size), instruction(0x85, 0, 0, 165), EXIT],
        ];
        load(RAW_TRACEPOINT, &program.concat())
    };
    match snprintf(b"text", 0) {
        // Linux before 5.13.
        Err(Errno::INVAL) => skip!("this kernel has no bpf_snprintf"),
        other => drop(ok!(other)),
    }
    let given: [u64; 3] = [u64::MAX - 4, 300, 65];
    let given: Vec<u8> = given.iter().flat_map(|number| number.to_ne_bytes()).collect();
    ok!(numbers.update(&[0; 4], &given, 0));
    for (template, length, expected) in [
        ("%d %x|%c", 9, "-5 12c|A"),
        ("%4d|%04X|%-3c|", 15, "  -5|012C|A"),
        ("%lld%% %u", 8, "-5% 300"),
        ("%+u %pK", 28, "4294967291 "),
        ("%20d", 21, "           "),
        ("%pi4.%s", 17, "000.000.000"),
        ("none", 5, "none"),
    ] {
        let program = ok!(snprintf(template.as_bytes(), 24));
        equal!(ok!(commands::test(program.as_fd(), &[], &[0; 16], 0)).result, length);
        let found = ok!(text.lookup(&[0; 4]));
        let found = found.split(|byte| *byte == 0).next().unwrap_or_default();
        equal!(core::str::from_utf8(found), Ok(expected));
    }
    for bad in ["%o", "%#x", "%.3d", "%hd", "%d%d%d%d", "%", "%p1", "%sa", "\u{1}"] {
        fails!(snprintf(bad.as_bytes(), 24), INVAL);
    }
    fails!(snprintf(b"text", 12), INVAL);
    Ok(())
}

/// What a program reads that is not there, and how it learns that it can not be the kernel's.
pub(super) fn wrong_reads() -> Outcome {
    available()?;
    let read = |helper: i32, size: i32, address: u64| {
        let (low, high) = (address as i32, (address >> 32) as i32);
        let program = [
            instruction(0x7a, 10, -8, 0x55),
            instruction(0xbf, 0xa1, 0, 0),
            instruction(0x07, 1, 0, -8),
            set(2, size),
            instruction(0x18, 3, 0, low),
            instruction(0, 0, 0, high),
            instruction(0x85, 0, 0, helper),
            EXIT,
        ];
        let program = load(RAW_TRACEPOINT, &program)?;
        commands::test(program.as_fd(), &[], &[0; 16], 0).map(|run| run.result as i32)
    };
    const FAULT: i32 = -14;
    const RANGE: i32 = -34;
    for (helper, of_user, of_kernel) in [
        (112, FAULT, FAULT), // probe_read_user
        (114, FAULT, FAULT), // probe_read_user_str
        (113, RANGE, FAULT), // probe_read_kernel
        (115, RANGE, FAULT), // probe_read_kernel_str
    ] {
        equal!((helper, read(helper, 8, 0)), (helper, Ok(of_user)));
        equal!((helper, read(helper, 8, 8)), (helper, Ok(of_user)));
        equal!((helper, read(helper, 8, u64::MAX - 0xff_ffff)), (helper, Ok(of_kernel)));
    }
    equal!(read(115, 0, 0), Ok(0));
    Ok(())
}

/// What a program's types say of its functions counts: one that returns a number may call another
/// program in its place. There are no more functions than Linux allows.
pub(super) fn function_types() -> Outcome {
    available()?;
    let targets = ok!(create(PROGRAM_ARRAY, 4, 4, 1));
    let code: Vec<u8> = [
        instruction(0x85, 0x10, 0, 1),
        EXIT,
        instruction(0x18, 0x12, 0, targets.fd.as_raw_fd()),
        0,
        set(3, 0),
        instruction(0x85, 0, 0, TAIL_CALL),
        set(0, 0),
        EXIT,
    ]
    .iter()
    .flat_map(|instruction: &u64| instruction.to_ne_bytes())
    .collect();
    // `int`, a function without parameters that returns one, and its name.
    let words = [
        0x0001_eb9f,
        24,
        0,
        40,
        40,
        8,
        1,
        1 << 24,
        4,
        1 << 24 | 32,
        0,
        13 << 24,
        1,
        5,
        12 << 24,
        2,
    ];
    let mut types: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    types.extend(b"\0int\0f\0\0");
    let types = ok!(commands::load_types(&types));
    let load = |instructions: &[u8], functions: &[[u32; 2]]| {
        let new = NewProgram {
            kind: RAW_TRACEPOINT,
            expected_attach_type: 0,
            name: "tested",
            instructions,
            license: c"GPL",
            types: Some(types.as_raw_fd()),
            functions,
            lines: &[],
        };
        commands::load_program(&new, &mut [])
    };
    ok!(load(&code, &[[0, 3], [2, 3]]));
    fails!(load(&code, &[]).map(drop), INVAL);
    let many: Vec<[u32; 2]> = (0..257).map(|insn| [insn, 3]).collect();
    let long: Vec<u8> = core::iter::repeat_n(set(0, 0), 300)
        .chain([EXIT])
        .flat_map(|instruction| instruction.to_ne_bytes())
        .collect();
    fails!(load(&long, &many).map(drop), INVAL);
    Ok(())
}
