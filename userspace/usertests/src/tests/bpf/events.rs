//! What programs see of events, and what helpers tell them there: the contexts of tracepoints and
//! of the timer, the memory of users, the CPU and the time.

use super::{
    ARRAY, EXIT, PER_CPU_ARRAY, RAW_TRACEPOINT, available, command_with, create, hooks_available,
    instruction, load, mappable_array, new_map, number, set,
};
use crate::calls::{self, raw};
use crate::check::{Outcome, check, equal, ok};
use crate::tests::cpus;
use ::bpf::attributes::Attributes;
use ::bpf::calls as commands;
use ::bpf::calls::Map;
use ::bpf::info::MapInfo;
use alloc::vec::Vec;
use core::ffi::CStr;
use kernel_abi::bpf::{attach_type, command, raw_tracepoint};
use lemma_rt::Errno;
use lemma_rt::general::{__NR_getsid, __NR_prctl, MAP_SHARED, O_RDWR, PROT_READ, PROT_WRITE};
use lemma_rt::rustix::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

const TRACEPOINT: u32 = 5;
const PERF_EVENT: u32 = 7;

/// Where `struct pt_regs`, as programs see it, has the first argument of a call and the next
/// instruction, and how long it is.
#[cfg(target_arch = "x86_64")]
const REGISTERS: (i16, i16, i16) = (112, 128, 168);
#[cfg(target_arch = "aarch64")]
const REGISTERS: (i16, i16, i16) = (0, 256, 272);
#[cfg(target_arch = "riscv64")]
const REGISTERS: (i16, i16, i16) = (80, 0, 256);

// Helpers.
const LOOKUP: i32 = 1;
const TIME: i32 = 5;
const RANDOM: i32 = 7;
const CPU: i32 = 8;
const IDENTITY: i32 = 14;
const NAME: i32 = 16;
const READ_USER: i32 = 112;
const READ_KERNEL: i32 = 113;
const READ_USER_TEXT: i32 = 114;
const READ_KERNEL_TEXT: i32 = 115;

const fn call(helper: i32) -> u64 {
    instruction(0x85, 0, 0, helper)
}

/// `to = from`.
const fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, from << 4 | to, 0, 0)
}

/// `to = *(u64 *)(from + offset)`.
const fn fetch(to: u8, from: u8, offset: i16) -> u64 {
    instruction(0x79, from << 4 | to, offset, 0)
}

/// `*(u64 *)(to + offset) = from`.
const fn store(to: u8, offset: i16, from: u8) -> u64 {
    instruction(0x7b, from << 4 | to, offset, 0)
}

/// `register += number`.
const fn add(register: u8, number: i32) -> u64 {
    instruction(0x07, register, 0, number)
}

/// `register = number`, of 64 bits.
const fn wide(register: u8, number: u64) -> [u64; 2] {
    [instruction(0x18, register, 0, number as i32), instruction(0, 0, 0, (number >> 32) as i32)]
}

/// `register = address of the array's value 0`.
fn value_of(register: u8, map: &OwnedFd) -> [u64; 2] {
    [instruction(0x18, 0x20 | register, 0, map.as_raw_fd()), 0]
}

/// An array with one value, of 16 words.
fn record() -> lemma_rt::Result<Map> {
    create(ARRAY, 4, 128, 1)
}

/// The words of the value.
fn words(map: &Map) -> lemma_rt::Result<Vec<u64>> {
    Ok(map.lookup(&[0; 4])?.chunks(8).map(number).collect())
}

/// A program that does something for this process only, if the context's second word is
/// `wanted`. In `body`, r6 is the context, and r9 the address of the map's value.
fn for_this_process(wanted: Option<i32>, map: &OwnedFd, body: &[u64]) -> Vec<u64> {
    let body = [&value_of(9, map), body].concat();
    let over = body.len() as i16;
    let mut program: Vec<u64> = [copy(6, 1), call(IDENTITY), instruction(0x77, 0, 0, 32)].into();
    let check = if wanted.is_some() { over + 2 } else { over };
    program.push(instruction(0x55, 0, check, calls::getpid()));
    if let Some(wanted) = wanted {
        program.extend([fetch(2, 6, 8), instruction(0x55, 2, over, wanted)]);
    }
    program.extend(body);
    program.extend([set(0, 0), EXIT]);
    program
}

/// Adds 1 to a word of the record.
fn count(word: i16) -> [u64; 2] {
    [set(1, 1), instruction(0xdb, 0x19, word * 8, 0)]
}

/// Runs a program of the raw tracepoint for as long as the link is open.
fn open(tracepoint: &CStr, program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    let program = load(RAW_TRACEPOINT, program)?;
    let attributes = Attributes::new()
        .with_pointer(raw_tracepoint::NAME, tracepoint.as_ptr())
        .with_fd(raw_tracepoint::PROG_FD, program.as_raw_fd());
    let link = command_with(command::RAW_TRACEPOINT_OPEN, attributes, 16)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(link as i32) })
}

/// A call that takes one argument and ignores the others.
const MARKED: u32 = __NR_getsid;

/// A raw tracepoint at entry sees the number, and through the registers the arguments.
pub(super) fn raw_enter() -> Outcome {
    available()?;
    let map = ok!(record());
    let mut body = Vec::from([fetch(7, 6, 8), store(9, 8, 7)]);
    // The first argument, from the registers that the first word names.
    body.extend([copy(1, 9), add(1, 16), set(2, 8), fetch(3, 6, 0), add(3, REGISTERS.0.into())]);
    body.extend([call(READ_KERNEL), store(9, 24, 0)]);
    body.extend(count(0));
    let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
    let _ = raw(MARKED as usize, [0x1234_5678_9abc, 2, 3, 4, 5, 6]);
    drop(link);
    equal!(ok!(words(&map))[..4], [1, u64::from(MARKED), 0x1234_5678_9abc, 0]);
    Ok(())
}

/// At return it sees the result: a count, and an error as a negative number.
pub(super) fn raw_exit() -> Outcome {
    available()?;
    let null = ok!(calls::open(c"/dev/null", O_RDWR, 0));
    let bytes = [0; 4321];
    for (result, run) in [
        (4321, &(|| calls::write(null, &bytes)) as &dyn Fn() -> lemma_rt::Result<usize>),
        (-(Errno::BADF.raw_os_error()), &|| calls::write(9999, &bytes)),
    ] {
        let map = ok!(record());
        let mut body = Vec::from([fetch(7, 6, 8), store(9, 8, 7)]);
        body.extend(count(0));
        let link = ok!(open(c"sys_exit", &for_this_process(Some(result), &map.fd, &body)));
        for _ in 0..5 {
            let _ = run();
        }
        drop(link);
        equal!(ok!(words(&map))[..2], [5, i64::from(result) as u64]);
    }
    Ok(())
}

/// Attaches for as long as the descriptor is open: on Linux that takes a perf event.
fn attach(kind: u32, hook: u32, program: &[u64]) -> lemma_rt::Result<OwnedFd> {
    let program = load(kind, program)?;
    commands::attach(program.as_fd(), hook, None)?;
    Ok(program)
}

/// The record of `raw_syscalls:sys_enter`: the number and six arguments.
pub(super) fn tracepoint_enter() -> Outcome {
    hooks_available()?;
    let map = ok!(record());
    let mut body = Vec::new();
    for word in 0..7 {
        body.extend([fetch(7, 6, 8 + word * 8), store(9, 8 + word * 8, 7)]);
    }
    body.extend(count(0));
    let program = for_this_process(Some(MARKED as i32), &map.fd, &body);
    let attached = ok!(attach(TRACEPOINT, attach_type::SYS_ENTER, &program));
    let arguments = [usize::MAX, 12, 1 << 40, 14, 15, 1 << 63];
    let _ = raw(MARKED as usize, arguments);
    drop(attached);
    let found = ok!(words(&map));
    equal!(found[..2], [1, u64::from(MARKED)]);
    equal!(found[2..8], arguments.map(|argument| argument as u64));
    Ok(())
}

/// The record of `raw_syscalls:sys_exit`: the number and the result.
pub(super) fn tracepoint_exit() -> Outcome {
    hooks_available()?;
    let map = ok!(record());
    let mut body = Vec::new();
    for word in 0..2 {
        body.extend([fetch(7, 6, 8 + word * 8), store(9, 8 + word * 8, 7)]);
    }
    body.extend(count(0));
    let program = for_this_process(Some(MARKED as i32), &map.fd, &body);
    let attached = ok!(attach(TRACEPOINT, attach_type::SYS_EXIT, &program));
    let session = ok!(raw(MARKED as usize, [0; 6])) as u64;
    equal!(ok!(words(&map))[..3], [1, u64::from(MARKED), session]);
    let _ = raw(MARKED as usize, [i32::MAX as usize, 0, 0, 0, 0, 0]);
    drop(attached);
    let error = -i64::from(Errno::SRCH.raw_os_error());
    equal!(ok!(words(&map))[..3], [2, u64::from(MARKED), error as u64]);
    Ok(())
}

/// A program of the type of perf events sees the registers of what the timer has interrupted.
pub(super) fn perf_event() -> Outcome {
    hooks_available()?;
    const TICKS: u64 = 5;
    let fd = ok!(mappable_array());
    let memory = ok!(calls::mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.as_raw_fd(), 0));
    let (_, next, end) = REGISTERS;
    // The first ticks leave where they came: word 1 + number. Behind them, the period.
    let mut body = Vec::from([fetch(7, 9, 0), instruction(0x25, 7, 9, TICKS as i32 - 1)]);
    body.extend([fetch(8, 6, next), copy(2, 9), instruction(0x67, 7, 0, 3)]);
    body.extend([instruction(0x0f, 0x72, 0, 0), store(2, 8, 8)]);
    body.extend([fetch(8, 6, end), store(9, 8 * 8, 8)]);
    body.extend(count(0));
    let program = for_this_process(None, &fd, &body);
    let attached = ok!(attach(PERF_EVENT, attach_type::TIMER, &program));
    spin(memory, TICKS);
    drop(attached);
    let word = |index: usize| {
        let bytes: Vec<u8> = (0..8).map(|byte| calls::peek(memory + index * 8 + byte)).collect();
        number(&bytes)
    };
    equal!(word(0), TICKS);
    let code = spin as *const () as u64;
    let places: Vec<u64> = (1..=TICKS as usize).map(word).collect();
    check!(
        places.iter().any(|place| place.abs_diff(code) < 1 << 20),
        " at {places:x?}, none near {code:x}"
    );
    check!(word(8) > 0, " the period is {}", word(8));
    Ok(())
}

/// Waits in user mode until so much is counted.
#[inline(never)]
fn spin(memory: usize, ticks: u64) {
    while u64::from(calls::peek(memory)) < ticks {}
}

/// Helper, length, address, what it returns, and what is then where it reads to.
type Reading = (i32, i32, u64, u64, Option<&'static [u8]>);

/// Programs read the memory of the user, as far as it is there, and no other as if it were.
pub(super) fn reads_user_memory() -> Outcome {
    available()?;
    let memory = ok!(calls::map(2 * 4096));
    ok!(calls::munmap(memory + 4096, 4096));
    let end = memory + 4096;
    for (offset, byte) in b"sixteen letters\0".iter().enumerate() {
        calls::poke(memory + offset, *byte);
        calls::poke(end - 16 + offset, *byte | 0x20);
    }
    let fault = -i64::from(Errno::FAULT.raw_os_error()) as u64;
    let kernel = 0xffff_8000_0000_0000;
    let text: Option<&[u8]> = Some(b"sixteen letters\0");
    let nothing: Option<&[u8]> = Some(&[0; 16]);
    let cases: [Reading; 10] = [
        (READ_USER, 16, memory as u64, 0, text),
        (READ_USER, 16, end as u64 - 8, fault, nothing),
        (READ_USER, 16, end as u64, fault, nothing),
        (READ_USER, 16, 0, fault, nothing),
        (READ_USER, 16, kernel, fault, nothing),
        (READ_USER_TEXT, 32, memory as u64, 16, text),
        // Only what fits, ended.
        (READ_USER_TEXT, 8, memory as u64, 8, Some(b"sixteen\0")),
        (READ_USER_TEXT, 32, end as u64 - 16, fault, None),
        (READ_USER_TEXT, 16, end as u64, fault, None),
        (READ_USER_TEXT, 16, kernel, fault, None),
    ];
    for (helper, length, address, result, left) in cases {
        let map = ok!(record());
        ok!(map.update(&[0; 4], &[0xee; 128], 0));
        let mut body = Vec::from([copy(1, 9), add(1, 16), set(2, length)]);
        body.extend(wide(3, address));
        body.extend([call(helper), store(9, 0, 0)]);
        let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
        let _ = raw(MARKED as usize, [0; 6]);
        drop(link);
        let found = ok!(map.lookup(&[0; 4]));
        let returned = number(&found[..8]);
        check!(returned == result, ": helper {helper} at {address:x} gave {returned:x}");
        if let Some(left) = left {
            check!(found[16..16 + left.len()] == *left, ": helper {helper} left {found:x?}");
        }
        // Nothing behind the room.
        check!(found[16 + length as usize..].iter().all(|&byte| byte == 0xee), "{found:x?}");
    }
    Ok(())
}

/// The same for text in the kernel: here, in a map.
pub(super) fn reads_kernel_text() -> Outcome {
    available()?;
    let text = ok!(record());
    ok!(text.update(&[0; 4], b"in a map\0and behind", 0));
    let good = Vec::from(value_of(3, &text.fd));
    let bad = |address| Vec::from(wide(3, address));
    // No address, one that no memory has, one of the user's.
    for (source, expected) in
        [(good, 9), (bad(0), -1), (bad(1 << 63 | 1 << 62), -1), (bad(0x10_0000), -1)]
    {
        let map = ok!(record());
        let mut body = Vec::from([copy(1, 9), add(1, 16), set(2, 32)]);
        body.extend(source);
        body.extend([call(READ_KERNEL_TEXT), store(9, 0, 0)]);
        let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
        let _ = raw(MARKED as usize, [0; 6]);
        drop(link);
        let found = ok!(map.lookup(&[0; 4]));
        let returned = number(&found[..8]) as i64;
        check!(if expected < 0 { returned < 0 } else { returned == expected }, ": {returned}");
        if expected > 0 {
            equal!(&found[16..25], b"in a map\0");
            check!(found[25..].iter().all(|&byte| byte == 0), "{found:x?}");
        }
    }
    Ok(())
}

/// Helpers know the CPU, and a per-CPU array's value is that CPU's.
pub(super) fn on_each_cpu() -> Outcome {
    available()?;
    let fd = ok!(commands::create_map(&new_map(PER_CPU_ARRAY, 4, 8, 1)));
    let per_cpu = ok!(MapInfo::of(fd.as_fd())).open(fd);
    let map = ok!(record());
    let mut body = Vec::from([call(CPU), store(9, 0, 0)]);
    body.extend([instruction(0x62, 10, -4, 0), copy(2, 10), add(2, -4)]);
    body.extend([instruction(0x18, 0x11, 0, per_cpu.fd.as_raw_fd()), 0, call(LOOKUP)]);
    body.extend([instruction(0x15, 0, 3, 0), fetch(1, 0, 0), add(1, 1), store(0, 0, 1)]);
    let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
    let mut expected = alloc::vec![0; per_cpu.value_size / 8];
    for (round, cpu) in ok!(cpus::allowed()).into_iter().enumerate() {
        ok!(calls::sched_setaffinity(0, 128, &cpus::only(cpu)));
        for _ in 0..=round {
            let _ = raw(MARKED as usize, [0; 6]);
        }
        equal!(ok!(words(&map))[0], u64::from(cpu));
        expected[cpu as usize] = round as u64 + 1;
        let found: Vec<u64> = ok!(per_cpu.lookup(&[0; 4])).chunks(8).map(number).collect();
        equal!(found, expected);
    }
    drop(link);
    Ok(())
}

/// The time of programs is that of `CLOCK_MONOTONIC`.
pub(super) fn time() -> Outcome {
    available()?;
    let map = ok!(record());
    let body = [call(TIME), store(9, 0, 0)];
    let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
    for _ in 0..100 {
        let before = calls::monotonic();
        let _ = raw(MARKED as usize, [0; 6]);
        let after = calls::monotonic();
        let seen = ok!(words(&map))[0];
        check!((before..=after).contains(&seen), " {seen} ns, between {before} and {after}");
    }
    drop(link);
    Ok(())
}

/// The name of the task is what `prctl(2)` says, and random numbers differ.
pub(super) fn name_and_random() -> Outcome {
    available()?;
    const SET_NAME: usize = 15;
    const GET_NAME: usize = 16;
    let prctl =
        |option, name: *const u8| raw(__NR_prctl as usize, [option, name as usize, 0, 0, 0, 0]);
    ok!(prctl(SET_NAME, c"of one test".as_ptr().cast()));
    let mut name = [0xee; 16];
    ok!(prctl(GET_NAME, name.as_mut_ptr()));
    check!(name.starts_with(b"of one test\0"), " {name:x?}");
    let map = ok!(record());
    // What is behind a short name is overwritten, too.
    ok!(map.update(&[0; 4], &[0xee; 128], 0));
    let mut body = Vec::from([copy(1, 9), add(1, 32), set(2, 16), call(NAME), store(9, 0, 0)]);
    for word in 1..=2 {
        body.extend([call(RANDOM), store(9, word * 8, 0)]);
    }
    let link = ok!(open(c"sys_enter", &for_this_process(Some(MARKED as i32), &map.fd, &body)));
    let _ = raw(MARKED as usize, [0; 6]);
    drop(link);
    let found = ok!(map.lookup(&[0; 4]));
    equal!(number(&found[..8]), 0);
    equal!(found[32..48], name);
    check!(found[48..].iter().all(|&byte| byte == 0xee), "{found:x?}");
    let [one, other] = [8, 16].map(|at| number(&found[at..at + 8]));
    check!(one <= u64::from(u32::MAX) && other <= u64::from(u32::MAX), " {one:x}, {other:x}");
    check!(one != other, " {one:x} twice");
    Ok(())
}
