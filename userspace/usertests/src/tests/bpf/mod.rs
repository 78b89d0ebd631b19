//! `bpf(2)`: the rules of its attributes, maps, programs, numbers, test runs, pins; and hooks,
//! which only Lemma has. Here is what the tests share.

mod attributes;
mod events;
mod hooks;
mod limits;
mod map_flags;
mod map_kinds;
mod maps;
mod perf;
mod programs;

use crate::calls;
use crate::check::{Failure, Outcome, ok, skip};
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::{Map, NewMap, NewProgram};
use alloc::vec::Vec;
use kernel_abi::bpf::attach_type;
use lemma_rt::Errno;
use lemma_rt::rustix::fd::{AsFd, OwnedFd};
use lemma_rt::sys;

use super::family;
use attributes::{
    attribute_sizes, information, numbers_iterate, types, unknown_commands, wrong_descriptors,
};
use events::{
    name_and_random, on_each_cpu, perf_event, raw_enter, raw_exit, reads_kernel_text,
    reads_user_memory, time, tracepoint_enter, tracepoint_exit,
};
use hooks::{
    hook_attach, hook_decides, hook_errors, hook_pinned, hook_replace, links, pins, raw_tracepoint,
    reads_around_the_stack, value_replaced_often,
};
use limits::{a_million_types, growing_map, too_many_paths};
use map_flags::{batch_flags, map_flags};
use map_kinds::{
    batches, bloom_filter, hash_of_maps, keyless_errors, lpm_trie, lru_hash, map_of_maps,
    perf_events, program_array, program_array_holds, queue_and_stack, stack_traces, take_out,
};
use maps::{
    array, frozen_map, frozen_pages, hash, hash_full, map_creation, map_errors, mapped_array,
    mapped_ring, next_keys, per_cpu_array, ring_map, ring_wakes,
};
use perf::{
    event_errors, event_fields, event_holders, event_losses, event_pages, event_records,
    event_wakes,
};
use programs::{
    function_types, loops, map_from_program, program_bad, program_errors, program_good, templates,
    test_runs, wrong_reads,
};

family!("bpf":
    attribute_sizes, unknown_commands, information, numbers_iterate, wrong_descriptors, types, map_creation, array, hash, hash_full, next_keys, per_cpu_array, frozen_map, frozen_pages, ring_map, ring_wakes, mapped_ring, mapped_array, map_errors, lru_hash, lpm_trie, queue_and_stack, bloom_filter, keyless_errors, stack_traces, take_out, batches, batch_flags, map_flags, map_of_maps, hash_of_maps, program_array, program_array_holds, perf_events, event_errors, event_records, event_fields, event_losses, event_wakes, event_pages, event_holders, program_good, program_bad, program_errors, test_runs, loops, templates, wrong_reads, function_types, map_from_program, pins, raw_tracepoint, value_replaced_often, reads_around_the_stack, hook_attach, hook_replace, hook_decides, hook_errors, links, hook_pinned, raw_enter, raw_exit, tracepoint_enter, tracepoint_exit, perf_event, reads_user_memory, reads_kernel_text, on_each_cpu, time, name_and_random, a_million_types, too_many_paths, growing_map
);

pub(crate) const HASH: u32 = 1;
pub(crate) const ARRAY: u32 = 2;
pub(crate) const PERF_EVENT_ARRAY: u32 = 4;
pub(crate) const PER_CPU_ARRAY: u32 = 6;
pub(crate) const RING: u32 = 27;
pub(crate) const SOCKET_FILTER: u32 = 1;
pub(crate) const RAW_TRACEPOINT: u32 = 17;
/// Lemma's own type of programs.
pub(crate) const HOOK: u32 = 0x4c00;

/// The tests need a kernel with `bpf(2)` that this user may use.
pub(crate) fn available() -> Outcome {
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
pub(crate) fn hooks_available() -> Outcome {
    available()?;
    match ::bpf::info::hooks() {
        Ok(_) => Ok(()),
        Err(_) => skip!("this kernel has no hooks"),
    }
}

/// `ENOTSUPP`, which is not in POSIX: this type of map or program does not have the operation.
pub(super) fn not_supported() -> Errno {
    Errno::from_raw_os_error(524)
}

pub(crate) fn new_map(
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
) -> NewMap<'static> {
    NewMap { kind, key_size, value_size, max_entries, name: "tested", ..NewMap::default() }
}

pub(crate) fn create(kind: u32, key: u32, value: u32, entries: u32) -> lemma_rt::Result<Map> {
    let fd = commands::create_map(&new_map(kind, key, value, entries))?;
    Ok(Map { fd, key_size: key as usize, value_size: value as usize })
}

/// `BPF_F_MMAPABLE`.
pub(super) const MMAPABLE: u32 = 1 << 10;

/// An array of one page that can be mapped.
pub(super) fn mappable_array() -> lemma_rt::Result<OwnedFd> {
    commands::create_map(&NewMap { flags: MMAPABLE, ..new_map(ARRAY, 4, 4096, 1) })
}

/// A command with so many bytes of attributes, which may be more than the union has.
pub(super) fn raw(number: u32, bytes: &mut [u8]) -> lemma_rt::Result<usize> {
    // SAFETY: the attributes hold no pointers, or such that must be refused.
    unsafe { sys::bpf(number, bytes) }
}

pub(super) fn command_with(
    number: u32,
    mut attributes: Attributes,
    length: usize,
) -> lemma_rt::Result<usize> {
    raw(number, attributes.bytes_mut(length))
}

/// An instruction: opcode, registers (source above destination), offset, immediate.
pub(crate) const fn instruction(opcode: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    opcode as u64
        | (registers as u64) << 8
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

/// `r = immediate`.
pub(crate) const fn set(register: u8, immediate: i32) -> u64 {
    instruction(0xb7, register, 0, immediate)
}

pub(crate) const EXIT: u64 = instruction(0x95, 0, 0, 0);

pub(super) fn load_with(
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

pub(crate) fn load(kind: u32, program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    load_with(kind, 0, program, &mut [])
}

/// A program for a hook of Lemma's.
pub(crate) fn load_hook(program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    load_with(HOOK, attach_type::SYS_ENTER, program, &mut [])
}

pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(u64::MAX, u64::from_ne_bytes)
}

/// Adds 1 to the value of key 0 in an array.
pub(crate) fn counting(map: i32) -> Vec<u64> {
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

/// A path for a pin, if there is a BPF file system.
pub(super) fn pin_path() -> Result<alloc::ffi::CString, Failure> {
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
