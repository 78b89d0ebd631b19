//! `bpf(2)`, and what programs at system-call entry cost.

use crate::basic::{close, getppid};
use crate::measure::Bench;
use alloc::vec::Vec;
use bpf::attributes::Attributes;
use kernel_abi::bpf::{
    attach_type, command, map_create, map_elem, prog_attach, prog_load, raw_tracepoint, test_run,
};
use lemma_rt::{Result, println, sys};

/// Bytes of the union that are passed, as older programs have it.
const SIZE: usize = 128;

const HASH: u32 = 1;
const ARRAY: u32 = 2;
const SOCKET_FILTER: u32 = 1;
const RAW_TRACEPOINT: u32 = 17;
/// Lemma's own type of programs.
const HOOK: u32 = 0x4c00;

#[inline(always)]
fn call(command: u32, mut attributes: Attributes) -> Result<usize> {
    // SAFETY: the callers below keep alive what the attributes point to.
    unsafe { sys::bpf(command, attributes.bytes_mut(SIZE)) }
}

fn create(kind: u32, key: u32, value: u32, entries: u32) -> Result<usize> {
    call(
        command::MAP_CREATE,
        Attributes::new()
            .with(map_create::MAP_TYPE, kind)
            .with(map_create::KEY_SIZE, key)
            .with(map_create::VALUE_SIZE, value)
            .with(map_create::MAX_ENTRIES, entries),
    )
}

#[inline(always)]
fn element<K, V>(command: u32, map: usize, key: &K, value: *const V) -> Result<usize> {
    call(
        command,
        Attributes::new()
            .with(map_elem::MAP_FD, map as u32)
            .with_pointer(map_elem::KEY, core::ptr::from_ref(key))
            .with_pointer(map_elem::VALUE, value),
    )
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

fn load(kind: u32, expected: u32, program: &[u64]) -> Result<usize> {
    call(
        command::PROG_LOAD,
        Attributes::new()
            .with(prog_load::PROG_TYPE, kind)
            .with(prog_load::INSN_CNT, program.len() as u32)
            .with_pointer(prog_load::INSNS, program.as_ptr())
            .with_pointer(prog_load::LICENSE, c"GPL".as_ptr())
            .with(prog_load::EXPECTED_ATTACH_TYPE, expected),
    )
}

fn test(program: usize, packet: &[u8], repeat: u32) -> Result<usize> {
    call(
        command::PROG_TEST_RUN,
        Attributes::new()
            .with(test_run::PROG_FD, program as u32)
            .with(test_run::DATA_SIZE_IN, packet.len() as u32)
            .with_pointer(test_run::DATA_IN, packet.as_ptr())
            .with(test_run::REPEAT, repeat),
    )
}

pub(crate) fn run(bench: &Bench) {
    /// A group of rows: its name for remarks, and what measures them.
    type Step = (&'static str, fn(&Bench) -> Result<()>);
    let steps: [Step; 4] = [
        ("bpf maps", maps),
        ("bpf programs", programs),
        ("getppid_rawtp", tracepoints),
        ("sys_enter_hook", hooks),
    ];
    for (name, step) in steps {
        if let Err(error) = step(bench) {
            bench.failed(name, error);
        }
    }
}

fn maps(bench: &Bench) -> Result<()> {
    let rows = [
        "bpf_array_lookup",
        "bpf_array_update",
        "bpf_hash_lookup",
        "bpf_hash_update_existing",
        "bpf_hash_insert_delete",
    ];
    if !bench.wants_any(&rows) {
        return Ok(());
    }
    let (lookup, update, delete) =
        (command::MAP_LOOKUP_ELEM, command::MAP_UPDATE_ELEM, command::MAP_DELETE_ELEM);
    let (array, hash) = (create(ARRAY, 4, 8, 64)?, create(HASH, 8, 8, 4096)?);
    let key = 3u32;
    let mut value = 1u64;
    let place = &raw mut value;
    bench.row("bpf_array_lookup", 1000, 5, |_| element(lookup, array, &key, place));
    bench.row("bpf_array_update", 1000, 5, |_| element(update, array, &key, place));
    for key in 0..1024u64 {
        element(update, hash, &key, place)?;
    }
    bench.row("bpf_hash_lookup", 1000, 5, |index| {
        element(lookup, hash, &(index as u64 & 1023), place)
    });
    bench.row("bpf_hash_update_existing", 1000, 5, |index| {
        element(update, hash, &(index as u64 & 1023), place)
    });
    bench.row("bpf_hash_insert_delete", 1000, 5, |index| {
        let key = 2000 + (index as u64 & 1023);
        element(update, hash, &key, place)?;
        element(delete, hash, &key, core::ptr::null::<u64>())
    });
    close(array)?;
    close(hash).map(drop)
}

/// Straight code of this length: `r0 += n` again and again.
fn straight(length: i32) -> Vec<u64> {
    let mut program = Vec::from([set(0, 0)]);
    program.extend((1..length - 1).map(|number| instruction(0x07, 0, 0, number)));
    program.push(EXIT);
    program
}

fn programs(bench: &Bench) -> Result<()> {
    let trivial = [set(0, 0), EXIT];
    bench.row("bpf_prog_load_2insn", 50, 3, |_| load(SOCKET_FILTER, 0, &trivial).and_then(close));
    if bench.wants("bpf_prog_load_4000insn") {
        let long = straight(4000);
        bench
            .row("bpf_prog_load_4000insn", 5, 3, |_| load(SOCKET_FILTER, 0, &long).and_then(close));
    }
    let packet = [0u8; 64];
    if bench.wants_any(&["bpf_test_run_1", "bpf_test_run_repeat1000"]) {
        let program = load(SOCKET_FILTER, 0, &trivial)?;
        bench.row("bpf_test_run_1", 500, 5, |_| test(program, &packet, 1));
        bench.row("bpf_test_run_repeat1000", 10, 5, |_| test(program, &packet, 1000));
        close(program)?;
    }
    if bench.wants("bpf_test_run_loop4000insn") {
        // r1 = 1000; do { r0 += r1; r0 ^= 5; r1 -= 1 } while (r1 != 0)
        let repeated = [
            set(0, 0),
            set(1, 1000),
            instruction(0x0f, 0x10, 0, 0),
            instruction(0xa7, 0, 0, 5),
            instruction(0x07, 1, 0, -1),
            instruction(0x55, 1, -4, 0),
            EXIT,
        ];
        let program = load(SOCKET_FILTER, 0, &repeated)?;
        bench.row("bpf_test_run_loop4000insn", 50, 5, |_| test(program, &packet, 1));
        close(program)?;
    }
    Ok(())
}

/// Opens a link from a raw tracepoint at system-call entry to a program.
fn trace(program: usize) -> Result<usize> {
    call(
        command::RAW_TRACEPOINT_OPEN,
        Attributes::new()
            .with_pointer(raw_tracepoint::NAME, c"sys_enter".as_ptr())
            .with(raw_tracepoint::PROG_FD, program as u32),
    )
}

fn tracepoints(bench: &Bench) -> Result<()> {
    if bench.wants("getppid_rawtp_nop") {
        let program = load(RAW_TRACEPOINT, 0, &[set(0, 0), EXIT])?;
        let link = trace(program)?;
        bench.row("getppid_rawtp_nop", 1000, 5, |_| getppid());
        close(link)?;
        close(program)?;
    }
    if bench.wants("getppid_rawtp_array_count") {
        let array = create(ARRAY, 4, 8, 64)?;
        // Key 3 on the stack, lookup, atomic addition of 1 if there is a value.
        let counting = [
            instruction(0x62, 10, -4, 3),
            instruction(0xbf, 0xa2, 0, 0),
            instruction(0x07, 2, 0, -4),
            instruction(0x18, 0x11, 0, array as i32),
            0,
            instruction(0x85, 0, 0, 1),
            instruction(0x15, 0, 2, 0),
            set(1, 1),
            instruction(0xdb, 0x10, 0, 0),
            set(0, 0),
            EXIT,
        ];
        let program = load(RAW_TRACEPOINT, 0, &counting)?;
        let link = trace(program)?;
        bench.row("getppid_rawtp_array_count", 1000, 5, |_| getppid());
        let mut value = 0u64;
        element(command::MAP_LOOKUP_ELEM, array, &3u32, &raw mut value)?;
        println!("# counted {value}");
        close(link)?;
        close(program)?;
        close(array)?;
    }
    Ok(())
}

/// The hook `sys_enter` with none, one and three programs that let everything pass.
fn hooks(bench: &Bench) -> Result<()> {
    let rows = [
        (0, "sys_enter_hook_0_programs"),
        (1, "sys_enter_hook_1_programs"),
        (3, "sys_enter_hook_3_programs"),
    ];
    let mut programs: Vec<usize> = Vec::new();
    for (count, name) in rows {
        if !bench.wants(name) {
            continue;
        }
        while programs.len() < count {
            let program = load(HOOK, attach_type::SYS_ENTER, &[set(0, 0), EXIT])?;
            programs.push(program);
            call(
                command::PROG_ATTACH,
                Attributes::new()
                    .with(prog_attach::ATTACH_BPF_FD, program as u32)
                    .with(prog_attach::ATTACH_TYPE, attach_type::SYS_ENTER),
            )?;
        }
        bench.row(name, 1000, 5, |_| getppid());
    }
    // Without a pin, programs go with their descriptors.
    for program in programs {
        close(program)?;
    }
    Ok(())
}
