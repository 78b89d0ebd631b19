//! `bpf(2)`: the rules of its attributes, maps, programs, numbers, test runs, pins; and hooks,
//! which only Lemma has.

use super::family;
use crate::calls;
use crate::check::{Failure, Outcome, check, equal, fails, ok, skip};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Kind, Map, NewMap, NewProgram};
use ::bpf::info::{MapInfo, ProgramInfo};
use alloc::vec::Vec;
use kernel_abi::bpf::{
    attach_type, command, info, link_create, link_update, map_create, map_elem, prog_attach,
    prog_load, raw_tracepoint,
};
use lemma_rt::rustix::fd::{AsFd, AsRawFd, OwnedFd};
use lemma_rt::{Errno, sys};

family!("bpf":
    attribute_sizes, unknown_commands, map_creation, array, hash, hash_full, next_keys,
    per_cpu_array, frozen_map, ring_map, map_errors, program_good, program_bad, program_errors,
    test_runs, loops, map_from_program, information, numbers_iterate, wrong_descriptors, types,
    pins, raw_tracepoint, hook_attach, hook_replace, hook_decides, hook_errors, links, hook_pinned
);

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const PER_CPU_ARRAY: u32 = 6;
const RING: u32 = 27;
const SOCKET_FILTER: u32 = 1;
const RAW_TRACEPOINT: u32 = 17;
/// Lemma's own type of programs.
const HOOK: u32 = 0x4c00;

/// The tests need a kernel with `bpf(2)` that this user may use.
fn available() -> Outcome {
    match create(ARRAY, 4, 8, 1) {
        Ok(_) => Ok(()),
        Err(error @ (Errno::PERM | Errno::NOSYS)) => {
            skip!("bpf(2) is refused here: {}", lemma_rt::error_text(error))
        }
        Err(error) => Err(Failure::Differs(alloc::format!(
            "creating an array: {}",
            lemma_rt::error_text(error)
        ))),
    }
}

/// Only Lemma has hooks.
fn hooks_available() -> Outcome {
    available()?;
    match ::bpf::info::hooks() {
        Ok(_) => Ok(()),
        Err(_) => skip!("this kernel has no hooks"),
    }
}

fn new_map(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> NewMap<'static> {
    NewMap { kind, key_size, value_size, max_entries, name: "tested", ..NewMap::default() }
}

fn create(kind: u32, key: u32, value: u32, entries: u32) -> lemma_rt::Result<Map> {
    let fd = commands::create_map(&new_map(kind, key, value, entries))?;
    Ok(Map { fd, key_size: key as usize, value_size: value as usize })
}

/// A command with so many bytes of attributes, which may be more than the union has.
fn raw(number: u32, bytes: &mut [u8]) -> lemma_rt::Result<usize> {
    // SAFETY: the attributes hold no pointers, or such that must be refused.
    unsafe { sys::bpf(number, bytes) }
}

fn command_with(number: u32, mut attributes: Attributes, length: usize) -> lemma_rt::Result<usize> {
    raw(number, attributes.bytes_mut(length))
}

/// An instruction: opcode, registers (source above destination), offset, immediate.
const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    opcode as u64
        | (registers as u64) << 8
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

/// `r = immediate`.
const fn set(register: u8, immediate: i32) -> u64 {
    instruction(0xb7, register, 0, immediate)
}

const EXIT: u64 = instruction(0x95, 0, 0, 0);

fn load_with(
    kind: u32,
    expected: u32,
    program: &[u64],
    log: &mut [u8],
) -> lemma_rt::Result<OwnedFd> {
    let bytes: Vec<u8> = program.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    let new = NewProgram {
        kind,
        expected_attach_type: expected,
        name: "tested",
        instructions: &bytes,
        license: c"GPL",
        ..NewProgram::default()
    };
    commands::load_program(&new, log)
}

fn load(kind: u32, program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    load_with(kind, 0, program, &mut [])
}

/// A program for a hook of Lemma's.
fn load_hook(program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    load_with(HOOK, attach_type::SYS_ENTER, program, &mut [])
}

/// Linux's rule: what is behind the union that the kernel knows must be zero.
fn attribute_sizes() -> Outcome {
    available()?;
    let mut attributes = Attributes::new()
        .with(map_create::MAP_TYPE, ARRAY)
        .with(map_create::KEY_SIZE, 4)
        .with(map_create::VALUE_SIZE, 8)
        .with(map_create::MAX_ENTRIES, 1);
    // The shortest that says everything.
    let fd = ok!(raw(command::MAP_CREATE, attributes.bytes_mut(16)));
    ok!(calls::close(fd as i32));
    let mut long = alloc::vec![0; 4096];
    long[..128].copy_from_slice(attributes.bytes_mut(128));
    let fd = ok!(raw(command::MAP_CREATE, &mut long));
    ok!(calls::close(fd as i32));
    long[4095] = 1;
    fails!(raw(command::MAP_CREATE, &mut long), TOOBIG);
    long[4095] = 0;
    let mut longer = long.clone();
    longer.push(0);
    fails!(raw(command::MAP_CREATE, &mut longer), TOOBIG);
    // Inside the union, but behind the command's last field.
    long[100] = 1;
    fails!(raw(command::MAP_CREATE, &mut long), INVAL);
    let number = lemma_rt::general::__NR_bpf as usize;
    fails!(calls::raw(number, [0, 0, 128, 0, 0, 0]), FAULT);
    fails!(calls::raw(number, [0, usize::MAX - 64, 128, 0, 0, 0]), FAULT);
    fails!(calls::raw(number, [0, 0, u32::MAX as usize, 0, 0, 0]), TOOBIG);
    Ok(())
}

fn unknown_commands() -> Outcome {
    available()?;
    for number in [1000, u32::MAX, 1 << 31] {
        fails!(raw(number, &mut [0; 64]), INVAL);
    }
    Ok(())
}

fn map_creation() -> Outcome {
    available()?;
    fails!(create(ARRAY, 8, 8, 1), INVAL);
    fails!(create(ARRAY, 4, 0, 1), INVAL);
    fails!(create(ARRAY, 4, 8, 0), INVAL);
    fails!(create(HASH, 0, 8, 1), INVAL);
    fails!(create(HASH, 4, 8, 0), INVAL);
    fails!(create(9999, 4, 8, 1), INVAL);
    fails!(commands::create_map(&NewMap { flags: 1 << 30, ..new_map(ARRAY, 4, 8, 1) }), INVAL);
    // A name has no other characters than those of an identifier and a dot.
    let mut attributes = Attributes::new()
        .with(map_create::MAP_TYPE, ARRAY)
        .with(map_create::KEY_SIZE, 4)
        .with(map_create::VALUE_SIZE, 8)
        .with(map_create::MAX_ENTRIES, 1);
    attributes.bytes_mut(64)[map_create::MAP_NAME] = b'/';
    fails!(raw(command::MAP_CREATE, attributes.bytes_mut(64)), INVAL);
    Ok(())
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_ne_bytes)
}

fn array() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 4));
    let key = |index: u32| index.to_ne_bytes();
    for index in 0..4 {
        equal!(number(&ok!(map.lookup(&key(index)))), 0);
        ok!(map.update(&key(index), &u64::from(index + 10).to_ne_bytes(), 0));
    }
    for index in 0..4 {
        equal!(number(&ok!(map.lookup(&key(index)))), u64::from(index + 10));
    }
    fails!(map.lookup(&key(4)), NOENT);
    fails!(map.update(&key(4), &[0; 8], 0), TOOBIG);
    fails!(map.update(&key(0), &[0; 8], 1), EXIST);
    fails!(map.update(&key(0), &[0; 8], 99), INVAL);
    ok!(map.update(&key(0), &[0; 8], 2));
    fails!(map.delete(&key(0)), INVAL);
    Ok(())
}

fn hash() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 8, 16, 100));
    let key = |index: u64| index.to_ne_bytes();
    fails!(map.lookup(&key(1)), NOENT);
    fails!(map.delete(&key(1)), NOENT);
    fails!(map.update(&key(1), &[1; 16], 2), NOENT);
    ok!(map.update(&key(1), &[1; 16], 1));
    fails!(map.update(&key(1), &[2; 16], 1), EXIST);
    ok!(map.update(&key(1), &[3; 16], 2));
    equal!(ok!(map.lookup(&key(1))), [3; 16]);
    ok!(map.update(&key(1), &[4; 16], 0));
    equal!(ok!(map.lookup(&key(1))), [4; 16]);
    ok!(map.delete(&key(1)));
    fails!(map.lookup(&key(1)), NOENT);
    Ok(())
}

fn hash_full() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 50));
    for index in 0..50u32 {
        ok!(map.update(&index.to_ne_bytes(), &[index as u8; 8], 0));
    }
    fails!(map.update(&50u32.to_ne_bytes(), &[0; 8], 0), TOOBIG);
    ok!(map.update(&7u32.to_ne_bytes(), &[200; 8], 0));
    ok!(map.delete(&3u32.to_ne_bytes()));
    ok!(map.update(&50u32.to_ne_bytes(), &[50; 8], 0));
    equal!(ok!(map.lookup(&7u32.to_ne_bytes())), [200; 8]);
    equal!(ok!(map.lookup(&49u32.to_ne_bytes())), [49; 8]);
    Ok(())
}

fn next_keys() -> Outcome {
    available()?;
    let map = ok!(create(HASH, 4, 8, 100));
    fails!(map.next_key(None), NOENT);
    for index in 0..60u32 {
        ok!(map.update(&index.to_ne_bytes(), &[0; 8], 0));
    }
    let mut found = Vec::new();
    let mut key: Option<Vec<u8>> = None;
    loop {
        match map.next_key(key.as_deref()) {
            Ok(next) => {
                found.push(next.clone());
                key = Some(next);
            }
            Err(error) => {
                equal!(error, Errno::NOENT);
                break;
            }
        }
        check!(found.len() <= 60);
    }
    found.sort();
    found.dedup();
    equal!(found.len(), 60);
    // A key that is not there stands before the first.
    ok!(map.next_key(Some(&1000u32.to_ne_bytes())));
    let array = ok!(create(ARRAY, 4, 8, 2));
    equal!(ok!(array.next_key(None)), 0u32.to_ne_bytes());
    equal!(ok!(array.next_key(Some(&0u32.to_ne_bytes()))), 1u32.to_ne_bytes());
    fails!(array.next_key(Some(&1u32.to_ne_bytes())), NOENT);
    equal!(ok!(array.next_key(Some(&77u32.to_ne_bytes()))), 0u32.to_ne_bytes());
    Ok(())
}

fn per_cpu_array() -> Outcome {
    available()?;
    let fd = ok!(commands::create_map(&new_map(PER_CPU_ARRAY, 4, 8, 2)));
    let info = ok!(MapInfo::of(fd.as_fd()));
    let map = info.open(fd);
    let cpus = ::bpf::info::cpus();
    let mut value = alloc::vec![0; map.value_size];
    for cpu in 0..cpus {
        value[cpu * 8] = cpu as u8 + 1;
    }
    ok!(map.update(&[0; 4], &value, 0));
    let found = ok!(map.lookup(&[0; 4]));
    equal!(&found[..cpus * 8], &value[..cpus * 8]);
    check!(ok!(map.lookup(&1u32.to_ne_bytes()))[..cpus * 8].iter().all(|&byte| byte == 0));
    fails!(map.lookup(&2u32.to_ne_bytes()), NOENT);
    Ok(())
}

fn frozen_map() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    ok!(map.update(&[0; 4], &[5; 8], 0));
    ok!(map.freeze());
    fails!(map.update(&[0; 4], &[6; 8], 0), PERM);
    equal!(ok!(map.lookup(&[0; 4])), [5; 8]);
    fails!(map.freeze(), PERM);
    Ok(())
}

fn ring_map() -> Outcome {
    available()?;
    let new = |entries| commands::create_map(&new_map(RING, 0, 0, entries));
    let fd = ok!(new(8192));
    fails!(new(5000), INVAL);
    fails!(new(0), INVAL);
    fails!(commands::create_map(&new_map(RING, 4, 0, 4096)), INVAL);
    let number = fd.as_raw_fd();
    // The consumer's page may be written, the others not.
    let shared = lemma_rt::general::MAP_SHARED;
    let consumer = ok!(calls::mmap(0, 4096, 3, shared, number, 0));
    calls::poke(consumer + 100, 1);
    fails!(calls::mmap(0, 4096, 3, shared, number, 4096), PERM);
    let data = ok!(calls::mmap(0, 4096 + 2 * 8192, 1, shared, number, 4096));
    equal!(calls::peek(data), 0);
    let status = ok!(calls::in_child(|| {
        calls::poke(data, 1);
        0
    }));
    equal!(status.signaled(), Some(11));
    // A record of a program arrives.
    let program = [
        set(2, 0x1234),
        instruction(0x7b, 0x2a, -8, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -8),
        instruction(0x18, 0x11, 0, number),
        0,
        set(3, 8),
        set(4, 0),
        instruction(0x85, 0, 0, 130),
        EXIT,
    ];
    let program = ok!(load(RAW_TRACEPOINT, &program));
    let info = ok!(MapInfo::of(fd.as_fd()));
    let mut ring = ok!(::bpf::ring::Ring::open(fd, &info));
    check!(ring.next_record().is_none());
    for _ in 0..2000 {
        equal!(ok!(commands::test(program.as_fd(), &[], &[0; 16], 0)).result, 0);
        equal!(ring.next_record(), Some(0x1234u64.to_ne_bytes().to_vec()));
        check!(ring.next_record().is_none());
    }
    // Full, it takes no more, and what is in it stays.
    let mut taken = 0;
    while ok!(commands::test(program.as_fd(), &[], &[0; 16], 0)).result == 0 {
        taken += 1;
        check!(taken <= 512);
    }
    check!(taken > 400, " {taken} records");
    for _ in 0..taken {
        equal!(ring.next_record(), Some(0x1234u64.to_ne_bytes().to_vec()));
    }
    check!(ring.next_record().is_none());
    Ok(())
}

fn map_errors() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let fd = map.fd.as_raw_fd();
    let lookup = |fd: i32, key: usize, value: usize| {
        let attributes = Attributes::new()
            .with_fd(map_elem::MAP_FD, fd)
            .with64(map_elem::KEY, key as u64)
            .with64(map_elem::VALUE, value as u64);
        command_with(command::MAP_LOOKUP_ELEM, attributes, 128)
    };
    let room = [0u64; 2];
    let good = room.as_ptr() as usize;
    fails!(lookup(99, good, good), BADF);
    fails!(lookup(-1, good, good), BADF);
    fails!(lookup(0, good, good), INVAL);
    for bad in [8, 1 << 63, usize::MAX - 1] {
        fails!(lookup(fd, bad, good), FAULT);
        fails!(lookup(fd, good, bad), FAULT);
    }
    equal!(lookup(fd, good, good), Ok(0));
    let attributes = Attributes::new().with_fd(map_elem::MAP_FD, fd).with(40, 1);
    fails!(command_with(command::MAP_LOOKUP_ELEM, attributes, 128), INVAL);
    Ok(())
}

fn program_good() -> Outcome {
    available()?;
    ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let mut log = alloc::vec![0xff; 4096];
    ok!(load_with(SOCKET_FILTER, 0, &[set(0, 1), EXIT], &mut log));
    check!(log.contains(&0));
    Ok(())
}

fn program_bad() -> Outcome {
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

fn program_errors() -> Outcome {
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

fn test_runs() -> Outcome {
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
    Ok(())
}

fn loops() -> Outcome {
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

/// Adds 1 to the value of key 0 in an array.
fn counting(map: i32) -> Vec<u64> {
    [
        instruction(0x62, 10, -4, 0),
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 2, 0, -4),
        instruction(0x18, 0x11, 0, map),
        0,
        instruction(0x85, 0, 0, 1),
        instruction(0x15, 0, 2, 0),
        set(1, 1),
        instruction(0xdb, 0x10, 0, 0),
        set(0, 0),
        EXIT,
    ]
    .into()
}

fn map_from_program() -> Outcome {
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

fn information() -> Outcome {
    available()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let found = ok!(ProgramInfo::of(fd.as_fd()));
    equal!((found.kind, found.name.as_str()), (SOCKET_FILTER, "tested"));
    check!(found.id > 0 && found.load_time > 0);
    // The same instructions have the same tag, others another.
    let same = ok!(ProgramInfo::of(ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT])).as_fd()));
    let other = ok!(ProgramInfo::of(ok!(load(SOCKET_FILTER, &[set(0, 1), EXIT])).as_fd()));
    check!(same.tag == found.tag && other.tag != found.tag);
    let map = ok!(create(HASH, 8, 24, 10));
    let found = ok!(MapInfo::of(map.fd.as_fd()));
    let sizes = (found.kind, found.key_size, found.value_size, found.max_entries);
    equal!(sizes, (HASH, 8, 24, 10));
    equal!(found.name.as_str(), "tested");
    // A longer structure than the kernel's must be zero behind it; a shorter one is filled.
    let ask = |room: &mut [u8]| {
        let attributes = Attributes::new()
            .with_fd(info::BPF_FD, map.fd.as_raw_fd())
            .with(info::INFO_LEN, room.len() as u32)
            .with_pointer(info::INFO, room.as_mut_ptr());
        command_with(command::OBJ_GET_INFO_BY_FD, attributes, info::END)
    };
    let mut room = alloc::vec![0; 1000];
    ok!(ask(&mut room));
    room[999] = 1;
    fails!(ask(&mut room), TOOBIG);
    let mut room = [0; 8];
    ok!(ask(&mut room));
    equal!(room[..4], HASH.to_ne_bytes());
    Ok(())
}

fn numbers_iterate() -> Outcome {
    available()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let id = ok!(ProgramInfo::of(fd.as_fd())).id;
    check!(ok!(commands::ids(Kind::Program)).contains(&id));
    let again = ok!(commands::by_id(Kind::Program, id));
    equal!(ok!(ProgramInfo::of(again.as_fd())).id, id);
    drop((fd, again));
    // Kernels may take a moment to forget.
    let mut tries = 0;
    while commands::by_id(Kind::Program, id).is_ok() && tries < 1000 {
        calls::pause_for(1);
        tries += 1;
    }
    fails!(commands::by_id(Kind::Program, id), NOENT);
    fails!(commands::next_id(Kind::Program, 1 << 30), NOENT);
    fails!(commands::next_id(Kind::Program, u32::MAX - 1), INVAL);
    fails!(commands::by_id(Kind::Map, u32::MAX - 1), NOENT);
    Ok(())
}

fn wrong_descriptors() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    let as_map = Map { fd: program, key_size: 4, value_size: 8 };
    fails!(as_map.lookup(&[0; 4]), INVAL);
    // BPF objects are not files to read.
    fails!(calls::read(map.fd.as_raw_fd(), &mut [0; 8]), INVAL);
    // They survive a fork.
    let status = ok!(calls::in_child(|| i32::from(map.update(&[0; 4], &[9; 8], 0).is_err())));
    equal!(status.code(), 0);
    equal!(ok!(map.lookup(&[0; 4])), [9; 8]);
    Ok(())
}

/// The smallest types there are: one unsigned int.
fn types() -> Outcome {
    available()?;
    let mut types = Vec::new();
    let header: [u32; 5] = [24, 0, 16, 16, 5];
    types.extend(0xeb9fu16.to_le_bytes());
    types.extend([1, 0]);
    for word in header {
        types.extend(word.to_le_bytes());
    }
    for word in [1u32, 1 << 24, 4, 32] {
        types.extend(word.to_le_bytes());
    }
    types.extend(b"\0int\0");
    let fd = ok!(commands::load_types(&types));
    let new = NewMap { types: Some((fd.as_raw_fd(), 1, 1)), ..new_map(ARRAY, 4, 4, 1) };
    let map = ok!(commands::create_map(&new));
    let found = ok!(MapInfo::of(map.as_fd()));
    check!(found.types > 0);
    equal!((found.key_type, found.value_type), (1, 1));
    equal!(ok!(::bpf::info::types(found.types)), types);
    let mut spoilt = types.clone();
    spoilt[0] = 0;
    fails!(commands::load_types(&spoilt), INVAL);
    fails!(commands::load_types(&types[..30]), INVAL);
    Ok(())
}

/// A path for a pin, if there is a BPF file system.
fn pin_path() -> Result<alloc::ffi::CString, Failure> {
    let path = alloc::format!("{}/usertests_{}", ::bpf::PINS, calls::getpid());
    let path = alloc::ffi::CString::new(path).unwrap_or_default();
    let probe = load(SOCKET_FILTER, &[set(0, 0), EXIT]);
    let pinned = probe.and_then(|fd| commands::pin(&path, fd.as_fd()));
    match pinned {
        Ok(()) => {
            ok!(calls::unlink(&path));
            Ok(path)
        }
        Err(error) => {
            skip!("nothing can be pinned in {}: {}", ::bpf::PINS, lemma_rt::error_text(error))
        }
    }
}

fn pins() -> Outcome {
    available()?;
    let path = pin_path()?;
    let fd = ok!(load(SOCKET_FILTER, &[set(0, 5), EXIT]));
    let id = ok!(ProgramInfo::of(fd.as_fd())).id;
    ok!(commands::pin(&path, fd.as_fd()));
    fails!(commands::pin(&path, fd.as_fd()), EXIST);
    drop(fd);
    let again = ok!(commands::pinned(&path));
    equal!(ok!(ProgramInfo::of(again.as_fd())).id, id);
    equal!(ok!(commands::test(again.as_fd(), &[0; 64], &[], 1)).result, 5);
    ok!(calls::unlink(&path));
    fails!(commands::pinned(&path), NOENT);
    let map = ok!(create(ARRAY, 4, 8, 1));
    ok!(commands::pin(&path, map.fd.as_fd()));
    ok!(calls::unlink(&path));
    // Elsewhere nothing can be pinned, and what is no pin cannot be got.
    fails!(commands::pin(c"pin", map.fd.as_fd()), PERM);
    ok!(calls::make(c"file", b""));
    fails!(commands::pinned(c"file"), ACCESS);
    fails!(commands::pinned(c"missing"), NOENT);
    Ok(())
}

fn raw_tracepoint() -> Outcome {
    available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load(RAW_TRACEPOINT, &counting(map.fd.as_raw_fd())));
    let open = |name: &core::ffi::CStr, program: &OwnedFd| {
        let attributes = Attributes::new()
            .with_pointer(raw_tracepoint::NAME, name.as_ptr())
            .with_fd(raw_tracepoint::PROG_FD, program.as_raw_fd());
        command_with(command::RAW_TRACEPOINT_OPEN, attributes, 16)
    };
    let link = ok!(open(c"sys_enter", &program));
    for _ in 0..100 {
        ok!(calls::getppid());
    }
    let counted = number(&ok!(map.lookup(&[0; 4])));
    check!(counted >= 100, " {counted} calls were counted");
    ok!(calls::close(link as i32));
    let before = number(&ok!(map.lookup(&[0; 4])));
    for _ in 0..100 {
        ok!(calls::getppid());
    }
    // Others may still be on their way; nothing counts for long.
    calls::pause_for(20);
    let after = number(&ok!(map.lookup(&[0; 4])));
    check!(after < before + 100, " {before} became {after}");
    fails!(open(c"no_such_tracepoint", &program), NOENT);
    let other = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    fails!(open(c"sys_enter", &other), INVAL);
    Ok(())
}

fn attach(fd: &OwnedFd) -> lemma_rt::Result<()> {
    commands::attach(fd.as_fd(), attach_type::SYS_ENTER, None)
}

fn detach(fd: &OwnedFd) -> lemma_rt::Result<()> {
    commands::detach(fd.as_fd(), attach_type::SYS_ENTER)
}

/// How many calls a program that counts has seen while we made a hundred.
fn counted(map: &Map) -> lemma_rt::Result<u64> {
    let before = number(&map.lookup(&[0; 4])?);
    for _ in 0..100 {
        calls::getppid()?;
    }
    Ok(number(&map.lookup(&[0; 4])?) - before)
}

fn hook_attach() -> Outcome {
    hooks_available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load_hook(&counting(map.fd.as_raw_fd())));
    equal!(counted(&map), Ok(0));
    ok!(attach(&program));
    check!(ok!(counted(&map)) >= 100);
    fails!(attach(&program), EXIST);
    let info = ok!(ProgramInfo::of(program.as_fd()));
    check!(info.runs >= 100 && info.worst_case.is_some());
    equal!(info.hooks, ["sys_enter"]);
    ok!(detach(&program));
    equal!(counted(&map), Ok(0));
    fails!(detach(&program), NOENT);
    // A program that is not pinned goes with its last descriptor.
    ok!(attach(&program));
    drop(program);
    equal!(counted(&map), Ok(0));
    Ok(())
}

/// In a replacement no event is lost: the two programs' counts add up.
fn hook_replace() -> Outcome {
    hooks_available()?;
    let maps = [ok!(create(ARRAY, 4, 8, 1)), ok!(create(ARRAY, 4, 8, 1))];
    let [one, other] = &maps;
    let old = ok!(load_hook(&counting(one.fd.as_raw_fd())));
    let new = ok!(load_hook(&counting(other.fd.as_raw_fd())));
    ok!(attach(&old));
    let attach_new = || commands::attach(new.as_fd(), attach_type::SYS_ENTER, Some(old.as_fd()));
    ok!(attach_new());
    equal!(counted(one), Ok(0));
    check!(ok!(counted(other)) >= 100);
    fails!(attach_new(), EXIST);
    ok!(detach(&new));
    // What is not attached cannot be replaced.
    fails!(attach_new(), NOENT);
    Ok(())
}

/// A program answers one chosen call of this process with an error; everything else passes.
fn hook_decides() -> Outcome {
    hooks_available()?;
    let me = calls::getpid();
    let getsid = lemma_rt::general::__NR_getsid as i32;
    // r0 = 0; if (nr == getsid && pid == me) r0 = -EDOM
    let deciding = [
        set(0, 0),
        instruction(0x79, 0x12, 0, 0),
        instruction(0x55, 2, 3, getsid),
        instruction(0x61, 0x12, 56, 0),
        instruction(0x55, 2, 1, me),
        set(0, -33),
        EXIT,
    ];
    let program = ok!(load_hook(&deciding));
    ok!(calls::getsid(0));
    ok!(attach(&program));
    fails!(calls::getsid(0), DOM);
    ok!(calls::getpgid(0));
    // A child is another process.
    let status = ok!(calls::in_child(|| i32::from(calls::getsid(0).is_err())));
    equal!(status.code(), 0);
    ok!(detach(&program));
    ok!(calls::getsid(0));
    // An answer that is no error number is not even loaded.
    check!(load_hook(&[set(0, 5), EXIT]).is_err());
    check!(load_hook(&[set(0, -5000), EXIT]).is_err());
    Ok(())
}

fn hook_errors() -> Outcome {
    hooks_available()?;
    let program = ok!(load_hook(&[set(0, 0), EXIT]));
    for wrong in [attach_type::TIMER, attach_type::SYS_EXIT, 0, 77] {
        fails!(commands::attach(program.as_fd(), wrong, None), INVAL);
    }
    let filter = ok!(load(SOCKET_FILTER, &[set(0, 0), EXIT]));
    fails!(attach(&filter), INVAL);
    let attributes = Attributes::new()
        .with_fd(prog_attach::ATTACH_BPF_FD, program.as_raw_fd())
        .with(prog_attach::ATTACH_TYPE, attach_type::SYS_ENTER)
        .with(prog_attach::ATTACH_FLAGS, 1 << 20);
    fails!(command_with(command::PROG_ATTACH, attributes, prog_attach::END), INVAL);
    // A worst case over the hook's budget is refused when it is attached.
    let long = [
        set(0, 0),
        set(1, 200_000),
        instruction(0x07, 1, 0, -1),
        instruction(0x55, 1, -2, 0),
        EXIT,
    ];
    if let Ok(long) = load_hook(&long) {
        fails!(attach(&long), TOOBIG);
    }
    Ok(())
}

fn links() -> Outcome {
    hooks_available()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let program = ok!(load_hook(&counting(map.fd.as_raw_fd())));
    let attributes = Attributes::new()
        .with_fd(link_create::PROG_FD, program.as_raw_fd())
        .with(link_create::ATTACH_TYPE, attach_type::SYS_ENTER);
    let link = ok!(command_with(command::LINK_CREATE, attributes, link_create::END)) as u32;
    drop(program);
    check!(ok!(counted(&map)) >= 100);
    let other = ok!(create(ARRAY, 4, 8, 1));
    let new = ok!(load_hook(&counting(other.fd.as_raw_fd())));
    let attributes = Attributes::new()
        .with(link_update::LINK_FD, link)
        .with_fd(link_update::NEW_PROG_FD, new.as_raw_fd());
    ok!(command_with(command::LINK_UPDATE, attributes, link_update::END));
    equal!(counted(&map), Ok(0));
    check!(ok!(counted(&other)) >= 100);
    ok!(calls::close(link as i32));
    equal!(counted(&other), Ok(0));
    Ok(())
}

/// Attached and pinned, a program outlives its loader.
fn hook_pinned() -> Outcome {
    hooks_available()?;
    let path = pin_path()?;
    let map = ok!(create(ARRAY, 4, 8, 1));
    let status = ok!(calls::in_child(|| {
        let work = || -> lemma_rt::Result<()> {
            let program = load_hook(&counting(map.fd.as_raw_fd()))?;
            attach(&program)?;
            commands::pin(&path, program.as_fd())
        };
        i32::from(work().is_err())
    }));
    equal!(status.code(), 0);
    check!(ok!(counted(&map)) >= 100);
    ok!(calls::unlink(&path));
    equal!(counted(&map), Ok(0));
    Ok(())
}
